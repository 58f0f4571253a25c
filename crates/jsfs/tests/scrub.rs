//! The scrub of a real node finds damage by itself: what another copy has it puts right, what none has it tells, also after a restart.

#![allow(clippy::unwrap_used, missing_docs)]

use jsfs_testkit::{
    http::{Client, Request},
    node::{Node, Setup},
    random::Random,
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn status(setup: &Setup, node: &Node) -> Value {
    let request = Request::new("GET", "/.jsfs/status").bearer(&setup.root_key());
    let answer = Client::new(node.address()).send(&request).unwrap();
    serde_json::from_slice(&answer.body).unwrap()
}

/// Whether this pass of the scrub, or the one before, has something to tell of this kind.
fn counts(said: &Value, what: &str) -> bool {
    let scrub = &said["node"]["scrub"];
    ["pass", "last"].iter().any(|pass| scrub[pass][what].as_u64() > Some(0))
}

fn put(setup: &Setup, node: &Node, content: &[u8]) {
    let key = setup.root_key();
    let request = Request::new("PUT", "/x?private=false").bearer(&key).body(content);
    assert_eq!(Client::new(node.address()).send(&request).unwrap().status, 201);
}

/// Changes a byte in the middle of a content, and says where and what it was.
fn flip(pack: &Path, content: &[u8]) -> (u64, u8) {
    let middle = &content[content.len() / 2..][..64];
    let bytes = fs::read(pack).unwrap();
    let at = bytes.windows(64).position(|window| window == middle).unwrap();
    write(pack, at as u64, bytes[at] ^ 1);
    (at as u64, bytes[at])
}

fn write(pack: &Path, at: u64, byte: u8) {
    fs::File::options().write(true).open(pack).unwrap().write_all_at(&[byte], at).unwrap();
}

fn read(pack: &Path, at: u64) -> u8 {
    let mut byte = [0];
    fs::File::open(pack).unwrap().read_exact_at(&mut byte, at).unwrap();
    byte[0]
}

#[test]
fn damage_is_put_right_from_another_copy_before_anybody_reads_it() {
    let home = tempfile::tempdir().unwrap();
    let (data, disk) = (home.path().join("data"), home.path().join("disk"));
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &data)
        .set(&format!("storage.locations={}", disk.display()))
        .set("storage.copies=2")
        .set("storage.scrub=1s");
    let node = setup.start();
    let content = Random::seeded(7).bytes(100_000);
    put(&setup, &node, &content);
    let pack = disk.join("packs/000000000001.pack");
    let (at, was) = flip(&pack, &content);
    until("the block is as it was", || (read(&pack, at) == was).then_some(()));
    let said = until("a pass that ends after it", || {
        let said = status(&setup, &node);
        counts(&said, "repaired").then_some(said)
    });
    assert_eq!(said["status"], "ok", "{said}");
    let checked = setup.command().args(["check", "--online", "--data"]).arg(&data).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    assert!(node.stop().success());
}

#[test]
fn damage_without_another_copy_is_told_until_a_check_finds_everything_clean() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &data);
    let node = setup.clone().set("storage.scrub=1s").start();
    let content = Random::seeded(8).bytes(100_000);
    put(&setup, &node, &content);
    let pack = data.join("packs/000000000001.pack");
    let (at, was) = flip(&pack, &content);
    until("the scrub has found it", || {
        let said = status(&setup, &node);
        (counts(&said, "damaged") && said["status"] == "degraded").then_some(())
    });
    assert!(node.stop().success());

    let node = setup.clone().set("storage.scrub=3650d").start();
    let said = status(&setup, &node);
    assert_eq!(said["status"], "degraded", "{said}");
    assert!(said["reason"].as_str().unwrap().contains("the scrub has found damage"), "{said}");
    write(&pack, at, was);
    let checked = setup.command().args(["check", "--online", "--data"]).arg(&data).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let said = status(&setup, &node);
    assert_eq!(said["status"], "ok", "{said}");
    assert!(node.stop().success());
    let node = setup.clone().set("storage.scrub=3650d").start();
    assert_eq!(status(&setup, &node)["status"], "ok");
    assert!(node.stop().success());
}
