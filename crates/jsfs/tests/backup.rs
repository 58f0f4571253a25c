//! Backups of a real node by the command line: made while it writes, restored elsewhere, made again, cut off, damaged, and given the wrong place.

#![allow(clippy::unwrap_used, missing_docs)]

use jsfs_testkit::{
    http::{Client, Request},
    node::{Node, Setup},
    random::Random,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

struct Place {
    home: tempfile::TempDir,
    setup: Setup,
}

impl Place {
    fn new() -> Place {
        let home = tempfile::tempdir().unwrap();
        let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &home.path().join("data"));
        Place { home, setup }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.setup.command();
        command.args(arguments).args(["--json", "--data"]).arg(self.setup.data());
        command
    }

    /// What a command that succeeds says.
    fn said(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn put(node: &Node, key: &str, name: &str, body: &[u8]) -> u16 {
    let target = format!("/{name}");
    let request = Request::new("PUT", &target).bearer(key).body(body);
    Client::new(node.address()).send(&request).unwrap().status
}

fn get(node: &Node, key: Option<&str>, name: &str) -> (u16, Vec<u8>) {
    let target = format!("/{name}");
    let request = Request::new("GET", &target);
    let request = if let Some(key) = key { request.bearer(key) } else { request };
    let answer = Client::new(node.address()).send(&request).unwrap();
    (answer.status, answer.body)
}

/// The last number that was written under each name, as a node has it.
fn state(node: &Node, key: &str) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for name in (0..8).map(|at| format!("w/{at}")) {
        let (status, body) = get(node, Some(key), &name);
        if status == 200 {
            let text = String::from_utf8(body).unwrap();
            all.insert(name, text.split(' ').next().unwrap().parse().unwrap());
        }
    }
    all
}

/// One writer counts through its names, so a state is a prefix of what it wrote: no number may be there without those before it.
fn assert_prefix(state: &BTreeMap<String, u64>) -> u64 {
    let last = state.values().copied().max().unwrap();
    for (name, number) in state {
        let at: u64 = name[2..].parse().unwrap();
        let newest = (0..=last).rev().find(|number| number % 8 == at).unwrap();
        assert_eq!(*number, newest, "{name} with the last at {last}: {state:?}");
    }
    last
}

#[test]
fn a_backup_while_a_writer_writes_is_one_state_and_a_node_on_what_was_restored_serves_it() {
    let place = Place::new();
    let node = place.setup.start();
    let key = place.setup.root_key();
    assert_eq!(put(&node, &key, "private", b"nobody else's"), 201);
    let public = Request::new("PUT", "/public?private=false").bearer(&key).body(b"for all");
    assert_eq!(Client::new(node.address()).send(&public).unwrap().status, 201);
    let program = "export default { fetch(request, env) { return new Response(env.COLOUR) } }";
    fs::write(place.path("p.js"), program).unwrap();
    let (file, destination) = (place.path("p.js"), place.path("backup"));
    place.said(&["put", file.to_str().unwrap(), "p.js", "--executable", "--env", "COLOUR=blue", "--public"]);
    let content = Random::seeded(5).bytes(6_000_000);
    assert_eq!(put(&node, &key, "large", &content), 201);

    let is_over = AtomicBool::new(false);
    let (first, second) = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0_u64.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let body = format!("{number} {}", "x".repeat(3_000));
                assert!(put(&node, &key, &format!("w/{}", number % 8), body.as_bytes()) < 300);
            }
        });
        while state(&node, &key).len() < 8 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let before = state(&node, &key).values().copied().max().unwrap();
        let first = place.said(&["backup", destination.to_str().unwrap()]);
        let second = place.said(&["backup", destination.to_str().unwrap(), "--with-root-key"]);
        is_over.store(true, Ordering::Relaxed);
        ((first, before), second)
    });
    let (first, before) = first;
    assert!(first["is_full"] == true && second["is_full"] == false);
    let bytes = |said: &Value| said["bytes"].as_u64().unwrap();
    assert!(bytes(&first) > 6_000_000 && bytes(&second) < 1_000_000, "{first} {second}");
    assert!(first["root_key"] == false && second["root_key"] == true);
    // What a stranger finds in the first one.
    let kept: Vec<u8> = fs::read_dir(&destination)
        .unwrap()
        .flat_map(|file| {
            let file = file.unwrap().path();
            if file.ends_with("snapshot-0000000002") { Vec::new() } else { fs::read(file).unwrap() }
        })
        .collect();
    for secret in [&b"nobody else's"[..], key.as_bytes(), b"blue"] {
        assert!(
            !kept.windows(secret.len()).any(|part| part == secret),
            "{}",
            String::from_utf8_lossy(secret)
        );
    }

    // Quiet now: the same again costs next to nothing.
    let third = place.said(&["backup", destination.to_str().unwrap()]);
    let fourth = place.said(&["backup", destination.to_str().unwrap()]);
    eprintln!(
        "bytes written: {} full, {} while writing went on, {} the rest, {} nothing new",
        bytes(&first),
        bytes(&second),
        bytes(&third),
        bytes(&fourth)
    );
    assert!(fourth["blocks"] == 0 && bytes(&fourth) < 4_000, "{fourth}");
    assert_eq!(place.said(&["backup", destination.to_str().unwrap(), "--list"]).as_array().unwrap().len(), 4);
    assert_eq!(place.said(&["backup", destination.to_str().unwrap(), "--verify"])["clean"], true);
    let now = state(&node, &key);
    assert!(node.stop().success());

    for (number, is_given) in [(1, true), (2, false), (4, true)] {
        let directory = place.path(&format!("restored{number}"));
        let key_file = place.setup.data().join("root.key");
        let number_text = number.to_string();
        let mut arguments = vec![
            "restore",
            destination.to_str().unwrap(),
            directory.to_str().unwrap(),
            "--number",
            &number_text,
        ];
        if is_given {
            arguments.extend(["--key-file", key_file.to_str().unwrap()]);
        }
        let restored = place.said(&arguments);
        assert!(restored["root_key"] == true && restored["node_key"] == true, "{restored}");
        let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &directory);
        assert_eq!(setup.root_key(), key);
        assert_eq!(setup.check().status.code(), Some(0));
        let node = setup.start();
        let there = state(&node, &key);
        let last = assert_prefix(&there);
        match number {
            1 => assert!(last >= before, "{last} is older than what was answered before, {before}"),
            4 => assert_eq!(there, now),
            _ => {}
        }
        assert_eq!(get(&node, Some(&key), "private"), (200, b"nobody else's".to_vec()));
        assert_eq!(get(&node, None, "private").0, 404);
        assert_eq!(get(&node, None, "public"), (200, b"for all".to_vec()));
        assert_eq!(get(&node, Some(&key), "large"), (200, content.clone()));
        assert_eq!(
            get(&node, None, "p.js"),
            (200, b"blue".to_vec()),
            "what was attached opens with the node's key"
        );
        assert_eq!(put(&node, &key, "after", b"goes on"), 201);
        assert!(node.stop().success());
    }
}

#[test]
fn backups_that_are_cut_off_damaged_foreign_or_restored_over_something_are_told_apart() {
    let place = Place::new();
    let node = place.setup.start();
    let key = place.setup.root_key();
    let content = Random::seeded(6).bytes(50_000_000);
    assert_eq!(put(&node, &key, "large", &content), 201);
    for name in ["backup", "one.jsfsbackup"] {
        let destination = place.path(name);
        let to = destination.to_str().unwrap();
        // Killed on its way: nothing of it counts, and it is made again.
        let mut killed = place.command(&["backup", to]).stdout(Stdio::null()).spawn().unwrap();
        while !has_begun(&destination) {
            assert!(killed.try_wait().unwrap().is_none(), "it ended before it could be killed");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        killed.kill().unwrap();
        killed.wait().unwrap();
        let restored = place.path(&format!("{name}-none"));
        assert_eq!(place.run(&["restore", to, restored.to_str().unwrap()]).status.code(), Some(3));
        assert!(!restored.exists());
        // The node notices at its next piece that nobody takes any more.
        let mut made = place.run(&["backup", to]);
        while made.status.code() == Some(5) {
            made = place.run(&["backup", to]);
        }
        assert!(made.status.success(), "{made:?}");
        assert_eq!(place.said(&["backup", to, "--verify"])["clean"], true);
        assert_eq!(put(&node, &key, "small", name.as_bytes()) / 100, 2);
        let next = place.said(&["backup", to]);
        assert!(next["is_full"] == false && next["bytes"].as_u64().unwrap() < 20_000, "{next}");

        // Somewhere in what was stored a bit is wrong.
        let victim =
            if destination.is_dir() { destination.join("segment-0000000002") } else { destination.clone() };
        let mut bytes = fs::read(&victim).unwrap();
        bytes[20_000_000 % (16 << 20)] ^= 4;
        fs::write(&victim, &bytes).unwrap();
        let verified = place.run(&["backup", to, "--verify"]);
        let said: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!(verified.status.code(), Some(1));
        assert!(said["findings"][0].as_str().unwrap().contains("segment-"), "{said}");
        let directory = place.path(&format!("{name}-restored"));
        let at = directory.to_str().unwrap();
        let refused = place.run(&["restore", to, at]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("segment-"), "{refused:?}");
        assert!(!directory.join("store.json").exists());
        let partly = place.run(&["restore", to, at, "--damaged"]);
        assert_eq!(partly.status.code(), Some(1), "{partly:?}");
        assert!(directory.join("store.json").exists());
        // A directory that holds something is not restored over.
        assert_eq!(place.run(&["restore", to, at]).status.code(), Some(5));
        // A full backup puts it right.
        assert_eq!(place.said(&["backup", to, "--full", "--keep", "1"])["forgotten"], 2);
        assert_eq!(place.said(&["backup", to, "--verify"])["clean"], true);
    }
    let stranger = Place::new();
    let other = stranger.setup.start();
    let to = place.path("backup");
    for full in [None, Some("--full")] {
        let mut arguments = vec!["backup", to.to_str().unwrap()];
        arguments.extend(full);
        let refused = stranger.run(&arguments);
        assert_eq!(refused.status.code(), Some(5), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("another store"), "{refused:?}");
    }
    assert_eq!(
        stranger.run(&["backup", stranger.setup.data().to_str().unwrap()]).status.code(),
        Some(5),
        "a data directory"
    );
    let wrong_key = stranger.setup.data().join("root.key");
    let at = place.path("never");
    let refused = place.run(&[
        "restore",
        to.to_str().unwrap(),
        at.to_str().unwrap(),
        "--key-file",
        wrong_key.to_str().unwrap(),
    ]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(!at.exists());
    // Without any key it is restored all the same: names, permissions and sealed contents.
    let restored = place.said(&["restore", to.to_str().unwrap(), at.to_str().unwrap()]);
    assert!(restored["root_key"] == false && restored["node_key"] == false);
    drop((node, other));
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &at);
    let node = setup.start();
    assert_eq!(get(&node, Some(&key), "large"), (200, content));
    assert_eq!(get(&node, None, "large").0, 404);
}

/// Whether a first segment is there, or a file has grown to one.
fn has_begun(destination: &Path) -> bool {
    let is_segment = |entry: fs::DirEntry| entry.file_name().to_string_lossy() == "segment-0000000001";
    match fs::metadata(destination) {
        Ok(metadata) if metadata.is_dir() => fs::read_dir(destination).unwrap().flatten().any(is_segment),
        Ok(metadata) => metadata.len() > 16 << 20,
        Err(_) => false,
    }
}
