//! A member that keeps nothing for others reads more than its cache may hold: what is kept stays within `cache.size`, what is used stays, and what went
//! comes again as it was.

use crate::blocks::count;
use crate::records::{HOST, ask, metric};
use crate::support::{Place, founded, soon};
use jsfs_testkit::random::Random;

const MIB: u64 = 1 << 20;

/// What the cache may hold.
const SIZE: u64 = 3 * MIB;

/// Objects, six times as much in all.
const OBJECTS: u64 = 24;
const OBJECT: usize = 3 << 18;

/// What packs hold on the disk.
fn disk_use(place: &Place) -> u64 {
    metric(place, "jsfs_store_used_bytes{").expect("a node has packs")
}

fn body(number: u64) -> Vec<u8> {
    Random::seeded(number).bytes(OBJECT)
}

#[test]
fn what_is_read_through_a_member_stays_within_its_cache_and_comes_again_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let first = founded(home.path());
    let reader = |name: &str, size: &str| {
        let place = Place::with(home.path(), name, &[&format!("cache.size={size}"), "cache.memory=0"]);
        place.run(&["join", &first.ticket(&["--role", "gateway"])]);
        place
    };
    let (small, none) = (reader("small", "3MiB"), reader("none", "0"));
    soon("all see all", || [&first, &small, &none].iter().all(|place| place.connected().len() == 3));
    first.run(&["namespace", "add", HOST, "--public"]);
    let key = first.setup.root_key();
    for number in 0..OBJECTS {
        assert_eq!(
            ask(&first, "PUT", &format!("/{number}"), Some(&key), &body(number)).0,
            201,
            "{}",
            first.log()
        );
    }
    let read = |place: &Place, number: u64| {
        let (status, read) = ask(place, "GET", &format!("/{number}"), None, &[]);
        assert!(status == 200 && read == body(number), "{number}: {status}\n{}", place.log());
    };
    let before = disk_use(&small);
    for round in 0..2 {
        for number in 1..OBJECTS {
            read(&small, number);
            // What is read again and again stays.
            let fetched = count(&small, "fetched");
            read(&small, 0);
            if number > 1 {
                assert_eq!(count(&small, "fetched"), fetched, "in round {round} after {number}");
            }
            let cached = count(&small, "cached_bytes");
            assert!((SIZE / 2..=SIZE).contains(&cached) || number < 4, "{cached} bytes after {number}");
        }
        let raw = disk_use(&small).saturating_sub(before);
        small.run(&["gc"]);
        let taken = disk_use(&small).saturating_sub(before);
        eprintln!("{raw} bytes on the disk, {taken} after a collection");
        assert!(taken <= SIZE + MIB / 2, "{taken} bytes on the disk, of which {SIZE} may be cached");
        assert!(taken >= SIZE / 2, "{taken} bytes on the disk: the cache is there");
    }
    let fetched = count(&small, "fetched_bytes");
    assert!(fetched > 30 * MIB, "{fetched} bytes: what went came again");

    // Without room it is read all the same, and nothing is kept.
    let before = disk_use(&none);
    for number in (0..4).chain(0..4) {
        read(&none, number);
    }
    assert_eq!(count(&none, "cached_bytes"), 0);
    let taken = disk_use(&none).saturating_sub(before);
    assert!(taken < MIB / 2, "{taken} bytes on the disk");
}
