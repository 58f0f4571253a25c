//! Full disks and disks that fail.

use crate::{
    driver::fast_dir,
    support::{T, commit, commit_with, delete, get, keys, noise, put, quiet, run, sample_block, value},
};
use jsfs_store::{
    Commit, CommitError, Compaction, OpenOptions, ReadError, Store, WriteError,
    backend::{Backend, Fault, Faulty, Loss, Operation},
    check,
};
use std::{io::ErrorKind, path::Path, sync::Arc, time::Duration};

fn options(disks: &[&Faulty], index: &Path) -> OpenOptions {
    let disks = disks.iter().map(|disk| Arc::new((*disk).clone()) as Arc<dyn Backend>).collect();
    quiet(OpenOptions::new(disks)).index(index.join("index"))
}

fn is_full(result: &Result<jsfs_store::Committed, CommitError>) -> bool {
    matches!(result, Err(CommitError::Write(WriteError::NoSpace)))
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_recovers_by_itself() {
    let disk = Faulty::new(8 << 20);
    let index = fast_dir();
    let compaction = Compaction { every: Some(Duration::from_millis(20)), ..Compaction::default() };
    let backend: Arc<dyn Backend> = Arc::new(disk.clone());
    let store =
        Store::open(OpenOptions::new(vec![backend]).index(index.path().join("index")).compaction(compaction))
            .unwrap();
    let mut stored = 0u64;
    let full = loop {
        let block = sample_block(stored, 100_000);
        let result = commit_with(&store, vec![put(stored.to_be_bytes(), "v", &[block.id])], vec![block]);
        if result.is_err() {
            break result;
        }
        stored += 1;
    };
    assert!(is_full(&full), "{full:?}");
    assert!(stored > 70, "{stored} blocks fit");
    assert!(matches!(run(store.append(vec![sample_block(9_999, 100_000)])), Err(WriteError::NoSpace)));
    for n in 0..stored {
        assert!(store.block(&sample_block(n, 100_000).id).is_ok());
    }
    // Deletes go on within the floor, and what they free comes back without a restart.
    for n in 0..stored / 2 {
        commit(&store, vec![delete(n.to_be_bytes())]).unwrap();
    }
    let mut tries = 0;
    while {
        let block = sample_block(10_000, 100_000);
        is_full(&commit_with(&store, vec![put("new", "v", &[block.id])], vec![block]))
    } {
        tries += 1;
        assert!(tries < 500, "space does not come back: {:?}", store.stats());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(store.block(&sample_block(stored - 1, 100_000).id).is_ok());
    store.close().unwrap();
    let report = check(&options(&[&disk], index.path())).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[test]
fn a_write_that_does_not_fit_fails_alone_and_leaves_no_trace() {
    let disk = Faulty::new(1 << 20);
    let index = fast_dir();
    let store = Store::open(options(&[&disk], index.path())).unwrap();
    commit(&store, vec![put("a", "1", &[])]).unwrap();
    let pins = run(store.append(vec![sample_block(1, 1_000)])).unwrap();
    disk.set_total(40_000);
    // Metadata alone is not refused for the floor: the disk itself says no.
    let refused = commit(&store, vec![put("b", noise(1, 60_000), &[]), put("a", "2", &[])]);
    assert!(is_full(&refused), "{refused:?}");
    assert_eq!(value(&store, "a").unwrap(), "1");
    assert_eq!(get(&store, "b"), None);
    assert_eq!(store.block(&sample_block(1, 1_000).id).unwrap(), sample_block(1, 1_000).bytes);
    // What was appended before is still good for a commit.
    run(store.commit(Commit { ops: vec![put("c", "3", &[pins[0].block()])], pins, ..Commit::default() }))
        .unwrap();
    disk.set_total(1 << 20);
    commit(&store, vec![put("b", noise(1, 60_000), &[])]).unwrap();
    store.close().unwrap();
    let report = check(&options(&[&disk], index.path())).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[test]
fn an_index_that_cannot_be_written_stops_writes_until_it_can() {
    let disk = Faulty::new(1 << 30);
    let index = fast_dir();
    let store = Store::open(options(&[&disk], index.path())).unwrap();
    let tables = index.path().join("index/tables");
    let away = index.path().join("index/away");
    std::fs::rename(&tables, &away).unwrap();
    let mut written = 0u64;
    let refused = loop {
        match commit(&store, vec![put(written.to_be_bytes(), vec![1; 1 << 20], &[])]) {
            Ok(_) => written += 1,
            refused => break refused,
        }
        assert!(written < 200, "memory is not bounded");
    };
    assert!(is_full(&refused), "{refused:?}");
    assert_eq!(keys(&store).len() as u64, written, "reads go on, also of what is not flushed");
    assert_eq!(value(&store, (written - 1).to_be_bytes()).unwrap().len(), 1 << 20);
    std::fs::rename(&away, &tables).unwrap();
    let mut tries = 0;
    while commit(&store, vec![put("after", "1", &[])]).is_err() {
        tries += 1;
        assert!(tries < 200);
        std::thread::sleep(Duration::from_millis(20));
    }
    store.close().unwrap();
    let store = Store::open(options(&[&disk], index.path())).unwrap();
    assert_eq!(keys(&store).len() as u64, written + 1);
}

/// A sync fails once: the commit is refused, and is nowhere, now or after a power loss.
fn fail_a_sync(disks: usize, copies: usize, failing: usize) {
    let first = Faulty::new(1 << 24);
    let mut all = vec![first.clone()];
    all.extend((1..disks).map(|_| Faulty::new(1 << 24).beside(&first)));
    let index = fast_dir();
    let store = Store::open(options(&all.iter().collect::<Vec<_>>(), index.path()).copies(copies)).unwrap();
    commit(&store, vec![put("a", "1", &[])]).unwrap();
    all[failing].inject(Fault { operation: Operation::Sync, after: 0, times: 1, error: ErrorKind::Other });
    let block = sample_block(1, 5_000);
    let refused =
        commit_with(&store, vec![put("a", "2", &[]), put("b", "2", &[block.id])], vec![block.clone()])
            .unwrap_err();
    assert!(matches!(refused, CommitError::Write(WriteError::Io(_))), "{refused}");
    assert_eq!(keys(&store), [b"a"]);
    assert!(store.block(&block.id).is_err());
    let check_fork = |expected: &[&str], acknowledged: bool| {
        for loss in [Loss::Dropped, Loss::Kept, Loss::Torn, Loss::Reordered] {
            for seed in 0..5 {
                let base = all[0].after_power_loss(loss, seed);
                let mut after = vec![base.clone()];
                after
                    .extend(all[1..].iter().map(|disk| disk.after_power_loss(loss, seed + 99).beside(&base)));
                let index = fast_dir();
                let store =
                    Store::open(options(&after.iter().collect::<Vec<_>>(), index.path()).copies(copies))
                        .unwrap();
                assert_eq!(store.opening().damage, [], "{loss:?} {seed}");
                let found: Vec<_> =
                    keys(&store).into_iter().map(|key| String::from_utf8(key).unwrap()).collect();
                assert_eq!(found, expected, "{loss:?} {seed} {acknowledged}");
                assert_eq!(value(&store, "a").unwrap(), "1");
            }
        }
    };
    check_fork(&["a"], false);
    commit_with(&store, vec![put("c", "3", &[block.id])], vec![block.clone()]).unwrap();
    check_fork(&["a", "c"], true);
    assert_eq!(store.block(&block.id).unwrap(), block.bytes);
    store.close().unwrap();
    let report = check(&options(&all.iter().collect::<Vec<_>>(), index.path()).copies(copies)).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[test]
fn a_failed_sync_takes_its_commit_back_for_good() {
    fail_a_sync(1, 1, 0);
}

#[test]
fn a_failed_sync_of_one_of_two_disks_takes_its_commit_back_for_good() {
    fail_a_sync(2, 1, 0);
    fail_a_sync(2, 1, 1);
}

#[test]
fn a_failed_sync_of_one_copy_takes_the_commit_back_for_good() {
    for (disks, failing) in [(2, 0), (2, 1), (3, 0), (3, 2)] {
        fail_a_sync(disks, 2, failing);
    }
}

#[test]
fn a_failed_write_is_an_error_and_no_more() {
    let disk = Faulty::new(1 << 24);
    let index = fast_dir();
    let store = Store::open(options(&[&disk], index.path())).unwrap();
    commit(&store, vec![put("a", "1", &[])]).unwrap();
    disk.inject(Fault { operation: Operation::Write, after: 0, times: 1, error: ErrorKind::Other });
    assert!(matches!(commit(&store, vec![put("a", "2", &[])]), Err(CommitError::Write(WriteError::Io(_)))));
    assert_eq!(value(&store, "a").unwrap(), "1");
    commit(&store, vec![put("a", "3", &[])]).unwrap();
    store.close().unwrap();
    assert!(check(&options(&[&disk], index.path())).unwrap().is_clean());
}

#[test]
fn a_pack_that_cannot_be_created_is_tried_again() {
    let disk = Faulty::new(1 << 24);
    let index = fast_dir();
    let store = Store::open(options(&[&disk], index.path()).pack_max(10_000)).unwrap();
    disk.inject(Fault { operation: Operation::Create, after: 1, times: 2, error: ErrorKind::StorageFull });
    let results: Vec<bool> =
        (0..20u8).map(|n| commit(&store, vec![put([n], noise(n.into(), 2_000), &[])]).is_ok()).collect();
    assert_eq!(results.iter().filter(|is_ok| !**is_ok).count(), 2, "{results:?}");
    assert!(results[19]);
    store.close().unwrap();
    let store = Store::open(options(&[&disk], index.path())).unwrap();
    assert_eq!(keys(&store).len(), 18);
}

#[test]
fn a_read_that_fails_is_an_error_and_the_next_one_is_not() {
    let disk = Faulty::new(1 << 24);
    let index = fast_dir();
    let store = Store::open(options(&[&disk], index.path())).unwrap();
    let block = sample_block(1, 1_000);
    commit_with(&store, vec![put("a", "1", &[block.id])], vec![block.clone()]).unwrap();
    disk.inject(Fault { operation: Operation::Read, after: 0, times: 1, error: ErrorKind::Other });
    let error = store.block(&block.id).unwrap_err();
    assert!(matches!(error, ReadError::Io { .. }), "{error}");
    assert!(error.to_string().contains("000000000001.pack"), "{error}");
    assert_eq!(store.block(&block.id).unwrap(), block.bytes);
}

#[test]
fn without_syncs_a_power_loss_takes_only_the_last_commits() {
    let disk = Faulty::new(1 << 24);
    let index = fast_dir();
    let store = Store::open(options(&[&disk], index.path()).synced(false)).unwrap();
    for n in 0..20u8 {
        commit(&store, vec![put([n], vec![n; 300], &[])]).unwrap();
    }
    for loss in [Loss::Dropped, Loss::Torn, Loss::Reordered] {
        for seed in 0..10 {
            let after = disk.after_power_loss(loss, seed);
            let kept = fast_dir();
            let store = Store::open(options(&[&after], kept.path()).synced(false)).unwrap();
            assert_eq!(store.opening().damage, []);
            let found = keys(&store);
            let expected: Vec<Vec<u8>> = (0..20).take(found.len()).map(|n| vec![n]).collect();
            assert_eq!(found, expected, "a prefix of the commits");
            commit(&store, vec![put("more", "x", &[])]).unwrap();
        }
    }
    store.close().unwrap();
    let after = disk.after_power_loss(Loss::Dropped, 0);
    assert_eq!(keys(&Store::open(options(&[&after], index.path())).unwrap()).len(), 20, "closing syncs");
}

#[test]
fn of_two_disks_the_emptier_takes_the_blocks_and_both_take_the_entries() {
    let (small, large) = (Faulty::new(1 << 20), Faulty::new(10 << 20));
    let index = fast_dir();
    let store = Store::open(options(&[&small, &large], index.path())).unwrap();
    for n in 0..20u64 {
        let block = sample_block(n, 100_000);
        commit_with(&store, vec![put(n.to_be_bytes(), "v", &[block.id])], vec![block]).unwrap();
    }
    let stats = store.stats().unwrap();
    assert!(stats.locations[0].used < 20_000 && stats.locations[1].used > 2_000_000, "{stats:?}");
    assert_eq!(store.scan(T, ..).count(), 20);
}
