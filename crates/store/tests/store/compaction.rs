//! Compaction frees what nobody needs, and nothing else.

use crate::{
    driver::fast_dir,
    support::{T, commit, commit_with, delete, keys, list_block, open, put, quiet, run, sample_block, value},
};
use jsfs_store::{
    Commit, CommitError, Compaction, NewBlock, OpenOptions, Store,
    backend::{Backend, Faulty, Memory},
    check,
};
use std::{path::Path, sync::Arc, time::Duration};

fn options(disk: &Arc<dyn Backend>, index: &Path) -> OpenOptions {
    quiet(OpenOptions::new(vec![disk.clone()])).index(index.join("index"))
}

fn used(store: &Store) -> u64 {
    store.stats().unwrap().locations.iter().map(|location| location.used).sum()
}

#[test]
fn dead_packs_go_and_what_lives_stays() {
    let disk: Arc<dyn Backend> = Arc::new(Memory::new(1 << 30));
    let index = fast_dir();
    let store = Store::open(options(&disk, index.path()).pack_max(1 << 20)).unwrap();
    for n in 0..100u64 {
        let block = sample_block(n, 50_000);
        commit_with(&store, vec![put(n.to_be_bytes(), "v", &[block.id])], vec![block]).unwrap();
    }
    for n in (0..100u64).filter(|n| n % 10 != 0) {
        commit(&store, vec![delete(n.to_be_bytes())]).unwrap();
    }
    run(store.settle()).unwrap();
    let before = used(&store);
    let done = store.compact(0.5).unwrap();
    assert!(done.packs >= 4 && done.damaged == 0, "{done:?}");
    let after = used(&store);
    assert!(after < before / 4, "{before} to {after}");
    assert_eq!(store.compact(0.5).unwrap().packs, 0, "once is enough");
    for n in 0..100u64 {
        let block = sample_block(n, 50_000);
        assert_eq!(store.block(&block.id).is_ok(), n % 10 == 0);
        assert_eq!(store.find_chunk(&block.tags[0].tag).unwrap().is_some(), n % 10 == 0);
    }
    store.close().unwrap();
    assert!(check(&options(&disk, index.path())).unwrap().is_clean());
}

#[test]
fn a_deleted_entry_does_not_come_back_from_an_older_pack() {
    let disk: Arc<dyn Backend> = Arc::new(Memory::new(1 << 30));
    let index = fast_dir();
    let store = Store::open(options(&disk, index.path())).unwrap();
    commit(&store, vec![put("ghost", "boo", &[]), put("kept", vec![7; 100_000], &[])]).unwrap();
    run(store.settle()).unwrap();
    commit(&store, vec![delete("ghost"), put("filler", vec![1; 1_000], &[])]).unwrap();
    commit(&store, vec![delete("filler")]).unwrap();
    run(store.settle()).unwrap();
    // Only the newer pack, which holds the tombstone, is mostly dead.
    assert_eq!(store.compact(0.5).unwrap().packs, 1);
    store.close().unwrap();
    std::fs::remove_dir_all(index.path().join("index")).unwrap();
    let store = Store::open(options(&disk, index.path())).unwrap();
    assert_eq!(keys(&store), [b"kept"]);
    // Once the old put is gone the tombstone goes too.
    commit(&store, vec![put("kept", "small", &[])]).unwrap();
    run(store.settle()).unwrap();
    for _ in 0..3 {
        store.compact(0.2).unwrap();
        run(store.settle()).unwrap();
    }
    assert!(used(&store) < 1_000, "{}", used(&store));
    store.close().unwrap();
    std::fs::remove_dir_all(index.path().join("index")).unwrap();
    let store = Store::open(options(&disk, index.path())).unwrap();
    assert_eq!(keys(&store), [b"kept"]);
    assert_eq!(value(&store, "kept").unwrap(), "small");
}

#[test]
fn pinned_blocks_outlive_compaction_and_unpinned_ones_do_not() {
    let store = open(OpenOptions::memory(64 << 20));
    let (pinned, loose) = (sample_block(1, 10_000), sample_block(2, 10_000));
    let pins = run(store.append(vec![pinned.clone()])).unwrap();
    drop(run(store.append(vec![loose.clone()])).unwrap());
    run(store.settle()).unwrap();
    store.compact(0.0).unwrap();
    assert_eq!(store.block(&pinned.id).unwrap(), pinned.bytes);
    assert!(store.block(&loose.id).is_err());
    let refused = commit(&store, vec![put("a", "1", &[loose.id])]).unwrap_err();
    assert!(matches!(refused, CommitError::MissingBlock(_)));
    run(store.commit(Commit { ops: vec![put("a", "1", &[pinned.id])], pins, ..Commit::default() })).unwrap();
    run(store.settle()).unwrap();
    store.compact(0.0).unwrap();
    assert_eq!(store.block(&pinned.id).unwrap(), pinned.bytes);
    // What is found by its tag is pinned by that.
    commit(&store, vec![delete("a")]).unwrap();
    let found = store.find_chunk(&pinned.tags[0].tag).unwrap().unwrap();
    run(store.settle()).unwrap();
    store.compact(0.0).unwrap();
    assert!(store.block(&pinned.id).is_ok());
    drop(found);
    run(store.settle()).unwrap();
    store.compact(0.0).unwrap();
    assert!(store.block(&pinned.id).is_err());
}

#[test]
fn lists_keep_what_they_list_and_let_go_of_it() {
    let disk: Arc<dyn Backend> = Arc::new(Memory::new(1 << 30));
    let index = fast_dir();
    let store = Store::open(options(&disk, index.path())).unwrap();
    let data: Vec<NewBlock> = (0..6).map(|n| sample_block(n, 5_000)).collect();
    let ids: Vec<_> = data.iter().map(|block| block.id).collect();
    let lower = [list_block(0, &ids[..4]), list_block(0, &ids[2..])];
    let upper = list_block(1, &[lower[0].id, lower[1].id]);
    let blocks = [&data[..], &lower, std::slice::from_ref(&upper)].concat();
    commit_with(&store, vec![put("all", "1", &[upper.id])], blocks).unwrap();
    commit(&store, vec![put("half", "1", &[lower[0].id])]).unwrap();
    let here = |store: &Store| ids.iter().map(|id| store.block(id).is_ok()).collect::<Vec<_>>();
    let collect = |store: &Store| {
        run(store.settle()).unwrap();
        store.compact(0.0).unwrap();
    };
    collect(&store);
    assert_eq!(here(&store), [true; 6]);
    store.close().unwrap();
    std::fs::remove_dir_all(index.path().join("index")).unwrap();
    let store = Store::open(options(&disk, index.path())).unwrap();
    commit(&store, vec![delete("all")]).unwrap();
    collect(&store);
    assert_eq!(here(&store), [true, true, true, true, false, false]);
    assert!(store.block(&upper.id).is_err());
    commit(&store, vec![delete("half")]).unwrap();
    collect(&store);
    assert_eq!(here(&store), [false; 6]);
    store.close().unwrap();
    let report = check(&options(&disk, index.path())).unwrap();
    assert!(report.is_clean() && report.is_index_compared, "{:#?}", report.findings);
}

#[test]
fn writes_and_reads_go_on_during_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let compaction =
        Compaction { dead_share: 0.05, bytes_per_second: 0, every: Some(Duration::from_millis(1)) };
    let options = || OpenOptions::directory(dir.path(), &[]).unwrap().floor(0).pack_max(256 << 10);
    let store = Store::open(options().compaction(compaction)).unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let writers: Vec<_> = (0..4u64)
        .map(|writer| {
            let store = store.clone();
            runtime.spawn(async move {
                for n in 0..150u64 {
                    let block = sample_block(writer * 1_000 + n, 4_000);
                    let key = [writer.to_be_bytes(), (n % 10).to_be_bytes()].concat();
                    let ops = vec![put(&key, n.to_string(), &[block.id])];
                    store
                        .commit(Commit { ops, blocks: vec![block.clone()], ..Commit::default() })
                        .await
                        .unwrap();
                    assert_eq!(store.block(&block.id).unwrap(), block.bytes);
                    let entry = store.get(T, &key).unwrap().unwrap();
                    assert_eq!(entry.value, n.to_string());
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| runtime.block_on(writer).unwrap());
    let written = std::fs::read_dir(dir.path().join("packs")).unwrap().count() as u64;
    let stats = store.stats().unwrap();
    assert!(stats.locations[0].used < 1_500_000, "{stats:?}, {written} files");
    for writer in 0..4u64 {
        for n in 140..150u64 {
            assert!(store.block(&sample_block(writer * 1_000 + n, 4_000).id).is_ok());
        }
    }
    store.close().unwrap();
    let report = check(&options()).unwrap();
    assert!(report.is_clean() && report.is_index_compared, "{:#?}", report.findings);
}

#[test]
fn a_damaged_pack_stays_where_it_is() {
    let disk = Faulty::new(1 << 30);
    let backend: Arc<dyn Backend> = Arc::new(disk.clone());
    let index = fast_dir();
    let store = Store::open(options(&backend, index.path())).unwrap();
    let (kept, dead) = (sample_block(1, 5_000), sample_block(2, 50_000));
    commit_with(
        &store,
        vec![put("kept", "1", &[kept.id]), put("dead", "1", &[dead.id])],
        vec![kept.clone(), dead],
    )
    .unwrap();
    commit(&store, vec![delete("dead")]).unwrap();
    run(store.settle()).unwrap();
    let at =
        disk.pack_bytes(1).windows(64).position(|window| window == &kept.bytes[100..164]).unwrap() as u64;
    disk.flip_bit(1, at, 0);
    let done = store.compact(0.5).unwrap();
    assert_eq!((done.packs, done.damaged), (0, 1));
    assert!(backend.packs().unwrap().contains(&1));
    disk.flip_bit(1, at, 0);
    assert_eq!(store.block(&kept.id).unwrap(), kept.bytes);
}

#[test]
fn of_two_copies_of_a_block_compaction_keeps_one() {
    let disk: Arc<dyn Backend> = Arc::new(Memory::new(1 << 30));
    let index = fast_dir();
    let block = sample_block(1, 50_000);
    for key in ["a", "b", "c"] {
        // A store that has not verified the block since it was opened stores it again.
        let store = Store::open(options(&disk, index.path())).unwrap();
        commit_with(&store, vec![put(key, "1", &[block.id])], vec![block.clone()]).unwrap();
    }
    let store = Store::open(options(&disk, index.path())).unwrap();
    assert!(used(&store) > 150_000);
    run(store.settle()).unwrap();
    assert_eq!(store.compact(0.5).unwrap().packs, 1);
    assert!(used(&store) < 60_000, "{}", used(&store));
    run(store.settle()).unwrap();
    assert_eq!(store.compact(0.05).unwrap().packs, 0, "nothing is left to gain");
    assert_eq!(store.block(&block.id).unwrap(), block.bytes);
    store.close().unwrap();
    assert!(check(&options(&disk, index.path())).unwrap().is_clean());
}

/// Compaction carries a pack in parts of a megabyte, so it may be stopped in the middle of a frame, as by a full disk or a stop of the node.
#[test]
fn a_compaction_that_stopped_inside_a_frame_leaves_an_index_that_equals_the_packs() {
    let disk: Arc<dyn Backend> = Arc::new(Memory::new(1 << 30));
    let index = fast_dir();
    let store = Store::open(options(&disk, index.path())).unwrap();
    let frame = |round: u64| {
        let blocks: Vec<NewBlock> = (0..30).map(|n| sample_block(round * 100 + n, 50_000)).collect();
        let ids: Vec<_> = blocks.iter().map(|block| block.id).collect();
        commit_with(&store, vec![put([1], "live", &ids[..12]), put([2], "dead", &ids[12..])], blocks)
            .unwrap();
        ids
    };
    let first = frame(1);
    let second = frame(2);
    commit(&store, vec![delete([2])]).unwrap();
    store.close().unwrap();
    for _ in 0..3 {
        let slow = Compaction {
            dead_share: 0.1,
            bytes_per_second: 1_000_000,
            every: Some(Duration::from_millis(5)),
        };
        let store = Store::open(options(&disk, index.path()).compaction(slow)).unwrap();
        run(store.settle()).unwrap();
        let begin = store.stats().unwrap().sequence;
        let since = std::time::Instant::now();
        while store.stats().unwrap().sequence == begin && since.elapsed().as_secs() < 10 {
            std::thread::sleep(Duration::from_millis(5));
        }
        store.close().unwrap();
        let report = check(&options(&disk, index.path())).unwrap();
        assert!(report.is_clean() && report.is_index_compared, "{:#?}", report.findings);
    }
    let store = Store::open(options(&disk, index.path())).unwrap();
    store.compact(0.1).unwrap();
    assert!(second[..12].iter().all(|id| store.block(id).is_ok()));
    assert!(first.iter().chain(&second[12..]).all(|id| store.block(id).is_err()));
    store.close().unwrap();
    let report = check(&options(&disk, index.path())).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}
