//! Maintenance of a real node by the command line: check and gc while it runs, and what they say of damage; and a node without one of its disks.

#![allow(clippy::unwrap_used, missing_docs)]

use jsfs_testkit::{
    http::{Client, Request},
    node::{Node, Setup},
    random::Random,
};
use std::os::unix::fs::FileExt;

#[test]
fn a_node_that_runs_is_checked_and_frees_space_and_damage_is_named() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &data);
    let node = setup.start();
    let run = |arguments: &[&str]| {
        setup.command().args(arguments).args(["--json", "--data"]).arg(&data).output().unwrap()
    };
    let file = home.path().join("file");
    let noise: Vec<u8> =
        (0..200_000_u32).map(|at| u8::try_from(at.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    std::fs::write(&file, &noise).unwrap();
    assert!(run(&["put", file.to_str().unwrap(), "kept"]).status.success());
    assert!(run(&["namespace", "add", "example.com"]).status.success());
    let checked = run(&["check", "--online"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let freed = run(&["gc", "--dry-run"]);
    assert!(freed.status.success(), "{freed:?}");
    let stats = run(&["stats"]);
    assert!(stats.status.success(), "{stats:?}");
    let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).unwrap();
    let objects =
        stats["by_namespace"].as_array().unwrap().iter().map(|one| one["objects"].as_u64().unwrap());
    assert_eq!((&stats["logical"], objects.collect::<Vec<_>>()), (&200_000.into(), vec![0, 1]), "{stats}");
    let shown = setup.command().args(["stats", "--data"]).arg(&data).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for wanted in ["NAMESPACE", "localhost ", "  logical ", "whose objects take that:", "com.example "] {
        assert!(shown.contains(wanted), "{wanted:?} in {shown}");
    }
    // 200,000 bytes that do not compress: in the row of the namespace and in that of all, in each of the first four columns of sizes.
    let sizes = shown.lines().filter(|line| line.matches("195.31 KiB").count() >= 3);
    assert!(sizes.count() == 2, "{shown}");
    assert!(shown.contains(&"#".repeat(40)), "{shown}");
    let pack =
        std::fs::File::options().read(true).write(true).open(data.join("packs/000000000001.pack")).unwrap();
    let mut byte = [0];
    pack.read_exact_at(&mut byte, 60_000).unwrap();
    pack.write_all_at(&[byte[0] ^ 1], 60_000).unwrap();
    let damaged = run(&["check", "--online"]);
    assert_eq!(damaged.status.code(), Some(1), "{damaged:?}");
    let said: serde_json::Value = serde_json::from_slice(&damaged.stdout).unwrap();
    assert_eq!(said["findings"][0]["pack"], 1, "{said}");
    node.kill();
    assert_eq!(run(&["check", "--online"]).status.code(), Some(2));
}

#[test]
fn a_node_without_one_of_its_disks_is_read_where_that_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let disks = [home.path().join("disk1"), home.path().join("disk2")];
    let locations = format!("storage.locations={}:{}", disks[0].display(), disks[1].display());
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &data).set(&locations).set("storage.copies=2");
    let command = |node: &Node, arguments: &[&str]| {
        let mut command = setup.command();
        command.env("JSFS_NODE", format!("http://{}", node.address()));
        command.env("JSFS_ACCESS_KEY", setup.root_key()).args(arguments).output().unwrap()
    };
    let node = setup.start();
    // Long enough, and different enough, that each disk gets some.
    let contents: Vec<Vec<u8>> =
        (0..6_u8).map(|seed| Random::seeded(u64::from(seed)).bytes(300_000)).collect();
    for (at, content) in contents.iter().enumerate() {
        let file = home.path().join("file");
        std::fs::write(&file, content).unwrap();
        let put = command(&node, &["put", file.to_str().unwrap(), &format!("file{at}")]);
        assert!(put.status.success(), "{put:?}");
    }
    assert!(node.stop().success());

    std::fs::remove_dir_all(&disks[1]).unwrap();
    let mut refused = setup.command();
    refused.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--set",
        &locations,
        "--set",
        "storage.copies=2",
        "--data",
    ]);
    let refused = refused.arg(&data).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains(disks[1].to_str().unwrap()) && said.contains("jsfs serve --degraded"), "{said}");
    assert!(!disks[1].join("store.json").exists(), "nothing is made in its place");

    let node = setup.clone().flag("--degraded").start();
    for (at, content) in contents.iter().enumerate() {
        let got = command(&node, &["get", &format!("file{at}"), "-"]);
        assert!(got.status.success() && got.stdout == *content, "{at}: {}", got.status);
    }
    let key = setup.root_key();
    let request = Request::new("PUT", "/localhost/new").bearer(&key).body(b"new");
    let answer = Client::new(node.address()).send(&request).unwrap();
    let why = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 503, "{why}");
    assert!(why.contains("disk2") && why.contains("missing"), "{why}");
    assert!(node.stop().success());
    assert!(!disks[1].exists(), "a degraded node writes nothing");
}

#[test]
fn a_disk_is_drained_and_a_location_moved_while_the_node_writes_and_a_move_that_was_killed_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let (disk, new) = (home.path().join("disk"), home.path().join("new"));
    let locations = format!("storage.locations={}", disk.display());
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &data).set(&locations);
    let node = setup.start();
    let command = |arguments: &[&str]| {
        let mut command = setup.command();
        command.args(arguments).args(["--json", "--data"]).arg(&data);
        command
    };
    let run = |arguments: &[&str]| command(arguments).output().unwrap();
    let file = home.path().join("file");
    let content = Random::seeded(1).bytes(40_000_000);
    std::fs::write(&file, &content).unwrap();
    assert!(run(&["put", file.to_str().unwrap(), "before"]).status.success());

    let (from, to) = (disk.to_str().unwrap(), new.to_str().unwrap());
    for (wrong, code, says) in [
        (vec!["move-location", to], 1, "is no location"),
        (vec!["move-location", from, data.to_str().unwrap()], 5, "holds"),
        (vec!["move-location", from, home.path().to_str().unwrap()], 5, "name an empty directory"),
    ] {
        let refused = run(&wrong);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
    }

    // The node is killed on the way: the old directory counts, and the same command goes on. A move that was over before the kill
    // reached it is followed by another, from where the packs are now.
    let mut node = Some(node);
    let mut places = (1..=10).map(|number| home.path().join(format!("new{number}")));
    let (mut from, mut to) = (disk.clone(), new.clone());
    let moved = loop {
        let movement = ["move-location", from.to_str().unwrap(), to.to_str().unwrap()];
        let kill = || node.take().unwrap().kill();
        kill_on_its_way(command(&movement), &to.join("packs/000000000001.pack"), kill);
        node = Some(setup.start());
        assert!(run(&["put", file.to_str().unwrap(), "between"]).status.success());
        let moved = run(&movement);
        if !String::from_utf8_lossy(&moved.stderr).contains("is no location") {
            break moved;
        }
        from =
            std::mem::replace(&mut to, places.next().expect("one move that is not over before it is killed"));
    };
    let node = node.unwrap();
    assert!(moved.status.success(), "{moved:?}");
    let said: serde_json::Value = serde_json::from_slice(&moved.stdout).unwrap();
    // How much of the file lies on which disk is the node's affair.
    assert!(said["bytes"].as_u64().unwrap() > 1 << 20 && said["left"] == 0, "{said}");
    assert_eq!(std::fs::read_dir(from.join("packs")).unwrap().count(), 0, "the disk is empty");
    let read = |name: &str| run(&["cat", name]).stdout == content;
    assert!(read("before") && read("between"));

    // Off its disk, to where there is room.
    let drained = run(&["move-location", to.to_str().unwrap()]);
    assert!(drained.status.success(), "{drained:?}");
    assert!(data.join("location-1/packs/000000000001.pack").exists());
    assert!(run(&["put", file.to_str().unwrap(), "after"]).status.success());
    assert!(read("before") && read("after"));
    assert_eq!(run(&["check", "--online"]).status.code(), Some(0));
    assert!(node.stop().success());
    // The configuration still names the first directory.
    let node = setup.start();
    assert!(read("before") && read("after"));
    assert!(node.stop().success());
    assert_eq!(run(&["check", "--set", &locations]).status.code(), Some(0));
}

/// Starts a move and has the node killed once it has written a part of a pack, or has ended.
fn kill_on_its_way(mut movement: std::process::Command, pack: &std::path::Path, kill: impl FnOnce()) {
    let mut running =
        movement.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    while running.try_wait().unwrap().is_none()
        && !std::fs::metadata(pack).is_ok_and(|pack| pack.len() > 1 << 20)
    {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    kill();
    assert!(running.wait().unwrap().code().is_some());
}
