//! Formats of earlier versions: a store, a backup and a ROM that were made with each stay readable, and a store goes on from there.
//!
//! `fixtures/store-1` was made by this test itself: `JSFS_MAKE_FIXTURE=DIR cargo test --test earlier_formats` makes the same with the program as it is then, into a new directory. A format that
//! changes gets a directory of its own; those that are there are never made again.

#![allow(clippy::unwrap_used, missing_docs)]

use jsfs_testkit::{
    http::{Answer, Client, Request},
    node::{Node, Setup},
    random::Random,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn ask(node: &Node, request: Request) -> Answer {
    Client::new(node.address()).send(&request).unwrap()
}

fn run(setup: &Setup, arguments: &[&str]) -> Output {
    let output =
        setup.command().args(arguments).args(["--json", "--data"]).arg(setup.data()).output().unwrap();
    assert!(output.status.success(), "{arguments:?} {output:?}");
    output
}

/// Long enough for several chunks, half of it noise.
fn long() -> Vec<u8> {
    let text = "what repeats itself is stored once. ".repeat(2_000);
    [&Random::seeded(1).bytes(60_000)[..], text.as_bytes()].concat()
}

/// What the fixtures hold.
fn make(place: &Path) {
    fs::create_dir_all(place).unwrap();
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &place.join("data"));
    let node = setup.start();
    let key = setup.root_key();
    let put = |target: &str, bytes: &[u8]| {
        let answer = ask(&node, Request::new("PUT", target).bearer(&key).body(bytes));
        assert!([200, 201].contains(&answer.status), "{target}: {}", answer.text());
    };
    put("/public.txt?private=false", b"for everybody");
    put("/private.txt", b"for the owner");
    put("/long.bin", &long());
    put("/versions.txt", b"first");
    put("/versions.txt", b"second");
    put("/deleted.txt", b"gone");
    assert_eq!(ask(&node, Request::new("DELETE", "/deleted.txt").bearer(&key)).status, 204);
    run(&setup, &["namespace", "add", "example.com", "--public", "--quota", "1GiB"]);
    put("/.com.example/page.html", b"<h1>page</h1>");
    run(&setup, &["export", "/com.example/", "/localhost/private.txt", place.join("rom").to_str().unwrap()]);
    let backup = place.join("made.jsfsbackup");
    run(&setup, &["backup", backup.to_str().unwrap(), "--with-root-key"]);
    fs::rename(backup, place.join("backup.jsfsbackup")).unwrap();
    assert!(node.stop().success());
    for derived in ["index", "cut", "lock", "node.url"] {
        let path = place.join("data").join(derived);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

/// Everything is there as it was.
fn check(node: &Node, key: &str) {
    let get = |target: &str| ask(node, Request::new("GET", target).bearer(key));
    assert_eq!(ask(node, Request::new("GET", "/public.txt")).text(), "for everybody");
    assert_eq!(get("/private.txt").text(), "for the owner");
    assert_eq!(ask(node, Request::new("GET", "/private.txt")).status, 404);
    assert!(get("/long.bin").body == long());
    assert_eq!(get("/versions.txt").text(), "second");
    assert_eq!(get("/versions.txt?version=1").text(), "first");
    assert_eq!(get("/deleted.txt").status, 404);
    assert_eq!(get("/deleted.txt?version=1").text(), "gone");
    assert_eq!(ask(node, Request::new("GET", "/.com.example/page.html")).text(), "<h1>page</h1>");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_store_a_backup_and_a_rom_of_format_1_are_read_and_the_store_goes_on() {
    if let Some(place) = std::env::var_os("JSFS_MAKE_FIXTURE") {
        return make(Path::new(&place));
    }
    let kept = fixture("store-1");
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    copy(&kept.join("data"), &data);
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &data);
    let key = setup.root_key();
    let checked = setup.check();
    assert!(checked.status.success(), "{checked:?}");
    let node = setup.start();
    check(&node, &key);
    let request = Request::new("PUT", "/versions.txt").bearer(&key).body(b"third");
    assert_eq!(ask(&node, request).status, 200);
    assert!(node.stop().success());
    let node = setup.start();
    for (version, text) in [("?version=1", "first"), ("?version=2", "second"), ("", "third")] {
        let target = format!("/versions.txt{version}");
        assert_eq!(ask(&node, Request::new("GET", &target).bearer(&key)).text(), text);
    }
    assert!(node.stop().success());
    assert!(setup.check().status.success());

    let restored = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &home.path().join("restored"));
    let backup = kept.join("backup.jsfsbackup");
    let mut command = restored.command();
    let output = command.arg("restore").arg(&backup).arg(restored.data()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let node = restored.start();
    check(&node, &key);
    assert!(node.stop().success());

    let mounting = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &home.path().join("mounting"));
    let node = mounting.set(&format!("rom.mount={}", kept.join("rom").display())).start();
    assert_eq!(ask(&node, Request::new("GET", "/.com.example/page.html")).text(), "<h1>page</h1>");
    assert_eq!(ask(&node, Request::new("GET", "/private.txt").bearer(&key)).text(), "for the owner");
    assert!(node.stop().success());
}
