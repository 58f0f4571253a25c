//! Blocks are on as many nodes as they should be before a write is answered, come back from there, and are copied again when a node is gone.

use crate::support::{Place, founded, soon};
use jsfs_testkit::http::{Client, Request};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes that do not compress.
pub(crate) fn noise(length: u32) -> Vec<u8> {
    (0..length)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0] ^ (at >> 7).to_le_bytes()[0])
        .collect()
}

pub(crate) fn blocks(place: &Place) -> Value {
    place.status()["blocks"].clone()
}

pub(crate) fn count(place: &Place, what: &str) -> u64 {
    blocks(place)[what].as_u64().unwrap()
}

pub(crate) fn get(place: &Place, path: &str) -> (u16, Vec<u8>) {
    let mut client = Client::new(place.node.as_ref().unwrap().address());
    let answer = client.send(&Request::new("GET", path).header("Host", "shared.example")).unwrap();
    (answer.status, answer.body)
}

pub(crate) fn put(place: &Place, path: &str, body: &[u8]) -> u16 {
    let key = place.setup.root_key();
    let request = Request::new("PUT", path).header("Host", "shared.example").bearer(&key).body(body);
    Client::new(place.node.as_ref().unwrap().address()).send(&request).unwrap().status
}

/// Turns bits all over the packs of a node.
pub(crate) fn damage(data: &Path) {
    for pack in fs::read_dir(data.join("packs")).unwrap() {
        let file = fs::File::options().read(true).write(true).open(pack.unwrap().path()).unwrap();
        let length = file.metadata().unwrap().len();
        for at in (40_000..length.saturating_sub(40_000)).step_by(10_000) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        }
    }
}

fn four(home: &Path) -> Vec<Place> {
    let mut places = vec![founded(home)];
    for number in 1..4 {
        let place = Place::with(home, &format!("n{number}"), &["federation.settle_time=1s"]);
        place.run(&["join", &places[0].ticket(&["--space", "1"])]);
        places.push(place);
    }
    soon("all see all", || places.iter().all(|place| place.connected().len() == 4));
    places
}

#[test]
fn a_write_is_on_its_replicas_before_it_is_answered_and_comes_back_from_there() {
    let home = tempfile::tempdir().unwrap();
    let mut places = four(home.path());
    places[1].run(&["namespace", "add", "shared.example", "--public"]);
    let body = noise(3_000_000);
    assert_eq!(put(&places[1], "/file", &body), 201);
    let told = blocks(&places[1]);
    let (placed, bytes) = (told["placed"].as_u64().unwrap(), told["placed_bytes"].as_u64().unwrap());
    assert_eq!(told["short"], 0, "{told}");
    // Three copies of each block: two elsewhere where this node is one of its keepers, else three.
    assert!((6_000_000..12_000_000).contains(&bytes), "{told}");
    let leased: u64 = [0, 2, 3].iter().map(|at| blocks(&places[*at])["leased_bytes"].as_u64().unwrap()).sum();
    assert!(leased >= bytes, "{leased} bytes are on the disks of others, {bytes} were sent");
    assert_eq!(put(&places[1], "/file", &body), 200);
    assert_eq!(count(&places[1], "placed"), placed, "what is known is not sent again");
    // What is of this machine alone stays here.
    let local = home.path().join("local");
    fs::write(&local, noise(500_000)).unwrap();
    places[1].run(&["put", local.to_str().unwrap(), "local"]);
    assert_eq!(count(&places[1], "placed"), placed);
    // The writer's disk goes bad, and one of the others is gone.
    places[3].kill();
    damage(places[1].setup.data());
    let (status, read) = get(&places[1], "/file");
    assert_eq!(status, 200);
    assert!(read == body, "the bytes are those that were written");
    let fetched = count(&places[1], "fetched");
    assert!(fetched > 0, "{}", blocks(&places[1]));
}

#[test]
fn copies_that_are_gone_with_a_member_are_made_again_and_one_without_the_role_keeps_none() {
    let home = tempfile::tempdir().unwrap();
    let places = four(home.path());
    let idle = Place::new(home.path(), "idle");
    idle.run(&["join", &places[0].ticket(&["--role", "gateway"])]);
    soon("five are connected", || places[1].connected().len() == 5);
    places[1].run(&["namespace", "add", "shared.example"]);
    assert_eq!(put(&places[1], "/file", &noise(2_000_000)), 201);
    let leased = |place: &Place| blocks(place)["leased_bytes"].as_u64().unwrap();
    assert_eq!(leased(&idle), 0);
    let gone = leased(&places[2]);
    assert!(gone > 0);
    let before = leased(&places[0]) + leased(&places[3]);
    places[0].run(&["federation", "revoke", &places[2].peer()]);
    // Three copies on three nodes: each has everything now.
    soon("what it kept is elsewhere", || leased(&places[0]).min(leased(&places[3])) >= 2_000_000);
    assert!(leased(&places[0]) + leased(&places[3]) > before);
    assert_eq!(leased(&idle), 0);
}
