//! Backups in a bucket, over object storage in memory: what a place of backups has to do, and that one writes at a time.

use crate::memory::Flaky;
use jsfs_bucket::{BucketError, Place, depot_over};
use jsfs_store::backup::depot::Depot;
use object_store::memory::InMemory;
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

const STALE: Duration = Duration::from_secs(900);

fn open(store: &Arc<InMemory>, is_written: bool, stale: Duration) -> Result<Box<dyn Depot>, BucketError> {
    depot_over(store.clone(), &Place::parse("s3://backups/node").unwrap(), is_written, stale)
}

#[test]
fn names_are_put_whole_listed_read_in_parts_and_removed() {
    let store = Arc::new(InMemory::new());
    let mut depot = open(&store, true, STALE).unwrap();
    depot.put("segment-1", b"0123456789").unwrap();
    depot.put("snapshot-1", b"").unwrap();
    assert_eq!(depot.list().unwrap(), ["segment-1", "snapshot-1"]);
    for (offset, length, wanted) in
        [(0, u64::MAX, "0123456789"), (3, 4, "3456"), (8, 9, "89"), (10, 1, ""), (99, 1, "")]
    {
        assert_eq!(depot.get("segment-1", offset, length).unwrap(), wanted.as_bytes());
    }
    // The same again is a try whose answer was lost; something else is not.
    depot.put("segment-1", b"0123456789").unwrap();
    assert_eq!(depot.put("segment-1", b"other").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    depot.remove("segment-1").unwrap();
    assert_eq!(depot.get("segment-1", 0, 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    drop(depot);
    let mut reader = open(&store, false, STALE).unwrap();
    assert_eq!(reader.list().unwrap(), ["snapshot-1"]);
    assert!(reader.put("x", b"x").is_err());
    // The writer has let go.
    open(&store, true, STALE).unwrap();
}

#[test]
fn one_writes_at_a_time_and_one_who_was_taken_over_makes_nothing_count() {
    let store = Arc::new(InMemory::new());
    let mut first = open(&store, true, STALE).unwrap();
    first.put("segment-1", b"1").unwrap();
    assert!(matches!(open(&store, true, STALE), Err(BucketError::Written { .. })));
    let mut second = open(&store, true, Duration::ZERO).unwrap();
    let error = first.put("snapshot-1", b"1").unwrap_err();
    assert!(error.to_string().contains("taken over"), "{error}");
    second.put("snapshot-1", b"2").unwrap();
    drop(first);
    assert!(
        matches!(open(&store, true, STALE), Err(BucketError::Written { .. })),
        "the lock is the second's"
    );
    drop(second);
    open(&store, true, STALE).unwrap();
}

#[test]
fn a_lock_does_not_age_while_its_backup_goes_on() {
    let store = Arc::new(InMemory::new());
    let stale = Duration::from_secs(3);
    let mut first = open(&store, true, stale).unwrap();
    let begun = Instant::now();
    for number in 1.. {
        first.put(&format!("segment-{number}"), b"1").unwrap();
        if begun.elapsed() > stale + Duration::from_millis(500) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(matches!(open(&store, true, stale), Err(BucketError::Written { .. })));
    first.put("snapshot-1", b"1").unwrap();
}

#[test]
fn a_lock_whose_first_answer_was_lost_is_the_writers_own() {
    let store = Arc::new(Flaky::new());
    let place = Place::parse("s3://backups/node").unwrap();
    store.lose_an_answer();
    let mut first = depot_over(store.clone(), &place, true, STALE).unwrap();
    assert!(matches!(depot_over(store.clone(), &place, true, STALE), Err(BucketError::Written { .. })));
    store.lose_an_answer();
    first.put("snapshot-1", b"1").unwrap();
}
