//! Blocks in more than one location: kept there, read from there, and made where they are lacking.

use crate::{
    driver::fast_dir,
    support::{commit, commit_with, delete, keys, put, quiet, run, sample_block, value},
};
use jsfs_store::{
    BlockId, CommitError, Filled, NewBlock, OpenOptions, Store, WriteError,
    backend::{Backend, Fault, Faulty, Operation},
    check,
};
use std::sync::Arc;
use std::{io::ErrorKind, path::Path};

fn options(disks: &[Faulty], copies: usize, index: &Path) -> OpenOptions {
    let disks = disks.iter().map(|disk| Arc::new(disk.clone()) as Arc<dyn Backend>).collect();
    quiet(OpenOptions::new(disks)).index(index.join("index")).copies(copies)
}

fn disks(count: usize) -> Vec<Faulty> {
    (0..count).map(|at| Faulty::new(1 << 24).named(&format!("disk {at}"))).collect()
}

fn store_some(store: &Store, range: std::ops::Range<u64>) -> Vec<NewBlock> {
    let blocks: Vec<NewBlock> = range.map(|seed| sample_block(seed, 3_000)).collect();
    for block in &blocks {
        commit_with(store, vec![put(block.id.as_bytes(), "v", &[block.id])], vec![block.clone()]).unwrap();
    }
    blocks
}

/// Whether the stored bytes lie in a pack of this disk.
fn lies_on(disk: &Faulty, block: &NewBlock) -> bool {
    disk.packs().unwrap().iter().any(|pack| place_on(disk, *pack, block).is_some())
}

fn place_on(disk: &Faulty, pack: u64, block: &NewBlock) -> Option<u64> {
    let needle = &block.bytes[100..164];
    disk.pack_bytes(pack).windows(64).position(|part| part == needle).map(|at| at as u64)
}

fn holders(disks: &[Faulty], block: &NewBlock) -> usize {
    disks.iter().filter(|disk| lies_on(disk, block)).count()
}

#[test]
fn each_block_lies_in_as_many_locations_as_there_are_to_be_copies() {
    for (count, copies) in [(2, 1), (2, 2), (3, 2), (3, 3)] {
        let (disks, index) = (disks(count), fast_dir());
        let store = Store::open(options(&disks, copies, index.path())).unwrap();
        let ahead = sample_block(99, 3_000);
        let pins = run(store.append(vec![ahead.clone()])).unwrap();
        let mut blocks = store_some(&store, 0..12);
        commit_with(&store, vec![put("ahead", "v", &[ahead.id])], Vec::new()).unwrap();
        drop(pins);
        blocks.push(ahead);
        for block in &blocks {
            assert_eq!(holders(&disks, block), copies, "{count} disks, {copies} copies");
        }
        assert_eq!(store.make_copies().unwrap(), Filled::default());
        assert_eq!(store.trouble(), None);
        store.close().unwrap();
        let report = check(&options(&disks, copies, index.path())).unwrap();
        assert!(report.is_clean() && report.is_index_compared, "{:#?}", report.findings);
    }
}

#[test]
fn more_copies_than_locations_are_refused() {
    let (disks, index) = (disks(2), fast_dir());
    for copies in [0, 3] {
        let error = Store::open(options(&disks, copies, index.path())).unwrap_err();
        assert!(error.to_string().contains("storage.copies"), "{error}");
    }
}

#[test]
fn a_damaged_copy_is_passed_over_and_told() {
    for damaged in 0..2 {
        let (disks, index) = (disks(2), fast_dir());
        let store = Store::open(options(&disks, 2, index.path())).unwrap();
        let block = store_some(&store, 0..1).remove(0);
        disks[damaged].flip_bit(1, place_on(&disks[damaged], 1, &block).unwrap(), 3);
        assert_eq!(store.block(&block.id).unwrap(), block.bytes);
        // The second copy is read only where the first is bad.
        assert_eq!(store.trouble().is_some(), damaged == 0, "{:?}", store.trouble());
        disks[1 - damaged].flip_bit(1, place_on(&disks[1 - damaged], 1, &block).unwrap(), 3);
        store.block(&block.id).unwrap_err();
        assert!(store.trouble().unwrap().contains("damage"));
    }
}

#[test]
fn a_location_that_cannot_be_read_is_passed_over_and_told() {
    let (disks, index) = (disks(2), fast_dir());
    let store = Store::open(options(&disks, 2, index.path())).unwrap();
    let blocks = store_some(&store, 0..5);
    disks[0].inject(Fault { operation: Operation::Read, after: 0, times: 1_000, error: ErrorKind::Other });
    for block in &blocks {
        assert_eq!(store.block(&block.id).unwrap(), block.bytes);
    }
    assert!(store.trouble().unwrap().contains("disk 0"), "{:?}", store.trouble());
}

#[test]
fn raising_copies_makes_those_that_are_lacking() {
    let (disks, index) = (disks(3), fast_dir());
    let store = Store::open(options(&disks, 1, index.path())).unwrap();
    let mut blocks = store_some(&store, 0..20);
    let gone = sample_block(500, 3_000);
    commit_with(&store, vec![put("gone", "v", &[gone.id])], vec![gone.clone()]).unwrap();
    commit(&store, vec![delete("gone")]).unwrap();
    store.close().unwrap();

    let store = Store::open(options(&disks, 2, index.path())).unwrap();
    // A hit on a block with one copy would leave its object with one.
    assert!(store.find_chunk(&blocks[0].tags[0].tag).unwrap().is_none());
    let again = blocks[3].clone();
    store.block(&again.id).expect("what was read counts as sound");
    commit_with(&store, vec![put("again", "v", &[again.id])], vec![again.clone()]).unwrap();
    assert_eq!(holders(&disks, &again), 2, "stored again, it gets its copies at once");
    let made = store.make_copies().unwrap();
    assert!(made.blocks == 19 && made.unreadable == 0, "{made:?}");
    assert_eq!(store.make_copies().unwrap(), Filled::default());
    blocks.iter().for_each(|block| assert_eq!(holders(&disks, block), 2));
    assert_eq!(holders(&disks, &gone), 1, "what nobody needs is not copied");
    assert!(store.find_chunk(&blocks[0].tags[0].tag).unwrap().is_some());

    // Compaction keeps both, and nothing is compacted again and again for its copies.
    for key in keys(&store).iter().take(10) {
        commit(&store, vec![delete(key)]).unwrap();
    }
    let mut rounds = Vec::new();
    loop {
        run(store.settle()).unwrap();
        let done = store.compact(0.3).unwrap();
        if done.packs == 0 {
            break;
        }
        rounds.push(done.carried);
        assert!(rounds.len() < 3, "what was compacted is compacted again: {rounds:?}");
    }
    // A second round takes at most a pack that is so small that its frames' heads weigh as much as what is in them.
    assert!(rounds[0] > 60_000 && rounds[1..].iter().sum::<u64>() < 3_000, "{rounds:?}");
    assert_eq!(store.make_copies().unwrap(), Filled::default());
    blocks.retain(|block| value(&store, block.id.as_bytes()).is_some());
    assert!(blocks.len() >= 9);
    blocks.iter().for_each(|block| assert_eq!(holders(&disks, block), 2));
    store.close().unwrap();
    let report = check(&options(&disks, 2, index.path())).unwrap();
    assert!(report.is_clean() && report.is_index_compared, "{:#?}", report.findings);
}

#[test]
fn what_is_lacking_is_made_in_the_background_after_opening() {
    let (disks, index) = (disks(2), fast_dir());
    let store = Store::open(options(&disks, 1, index.path())).unwrap();
    let blocks = store_some(&store, 0..20);
    store.close().unwrap();
    let compaction = jsfs_store::Compaction { bytes_per_second: 0, ..Default::default() };
    let _store = Store::open(options(&disks, 2, index.path()).compaction(compaction)).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !blocks.iter().all(|block| holders(&disks, block) == 2) {
        assert!(std::time::Instant::now() < end, "no copies are made");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn what_is_lacking_and_damaged_is_made_from_the_copy_that_is_whole() {
    let (disks, index) = (disks(3), fast_dir());
    let store = Store::open(options(&disks, 2, index.path())).unwrap();
    let block = store_some(&store, 0..1).remove(0);
    store.close().unwrap();
    let first = disks.iter().find(|disk| lies_on(disk, &block)).unwrap();
    let at = place_on(first, 1, &block).unwrap();
    let store = Store::open(options(&disks, 3, index.path())).unwrap();
    first.flip_bit(1, at, 0);
    assert_eq!(store.make_copies().unwrap().unreadable, 0);
    first.flip_bit(1, at, 0);
    assert_eq!(holders(&disks, &block), 3);
}

#[test]
fn surplus_copies_go_when_their_packs_are_compacted() {
    let (disks, index) = (disks(2), fast_dir());
    let store = Store::open(options(&disks, 2, index.path())).unwrap();
    let blocks = store_some(&store, 0..10);
    store.close().unwrap();
    let store = Store::open(options(&disks, 1, index.path())).unwrap();
    for block in &blocks[..8] {
        commit(&store, vec![delete(block.id.as_bytes())]).unwrap();
    }
    run(store.settle()).unwrap();
    store.compact(0.2).unwrap();
    for block in &blocks[8..] {
        assert_eq!(store.block(&block.id).unwrap(), block.bytes);
        assert_eq!(holders(&disks, block), 1);
    }
}

#[test]
fn with_a_full_location_copies_go_to_the_others_or_are_refused() {
    let index = fast_dir();
    let mut three = disks(2);
    three.push(Faulty::new(40_000).named("the small one"));
    let store = Store::open(options(&three, 2, index.path()).floor(20_000)).unwrap();
    let blocks = store_some(&store, 0..20);
    blocks.iter().for_each(|block| assert_eq!(holders(&three[..2], block), 2));
    assert_eq!(store.trouble(), None, "there is room for both copies");
    store.close().unwrap();

    let index = fast_dir();
    let two = [Faulty::new(1 << 24), Faulty::new(60_000).named("the small one")];
    let store = Store::open(options(&two, 2, index.path()).floor(20_000)).unwrap();
    let mut stored = Vec::new();
    let refused = loop {
        let block = sample_block(stored.len() as u64, 3_000);
        match commit_with(&store, vec![put(block.id.as_bytes(), "v", &[block.id])], vec![block.clone()]) {
            Ok(_) => stored.push(block),
            Err(error) => break error,
        }
    };
    assert!(refused.is_no_space() && stored.len() > 3, "{refused:?} after {}", stored.len());
    let free = two[1].space().unwrap().free;
    assert!(free >= 20_000, "{free} bytes are left of the floor");
    // Not where only some of the next block's copies would find room: then they lie on both disks or on none.
    stored.iter().for_each(|block| assert_eq!(holders(&two, block), 2));
    let next = sample_block(stored.len() as u64, 3_000);
    assert_eq!(holders(&two, &next), 0);
    two[1].set_total(1 << 24);
    commit_with(&store, vec![put("more", "v", &[next.id])], vec![next.clone()]).unwrap();
    assert_eq!(holders(&two, &next), 2);
    two[1].set_total(70_000);
    let trouble = store.trouble().unwrap();
    assert!(trouble.contains("the small one") && trouble.contains("2 copies"), "{trouble}");
}

/// A disk goes away for good while blocks are being written, at each of its changes.
#[test]
fn a_location_that_disappears_stops_writes_by_name_and_takes_no_copy_with_it() {
    for count in [2, 3] {
        for at in 0..14 {
            let (disks, index) = (disks(count), fast_dir());
            let store = Store::open(options(&disks, 2, index.path())).unwrap();
            let mut blocks = store_some(&store, 0..3);
            // Disks of machines of their own: the others go on.
            disks[1].cut_power_at(at);
            let mut refused = None;
            for seed in 10..40 {
                let block = sample_block(seed, 3_000);
                let ops = vec![put(block.id.as_bytes(), "v", &[block.id])];
                match commit_with(&store, ops, vec![block.clone()]) {
                    Ok(_) => blocks.push(block),
                    Err(error) => {
                        refused.get_or_insert(error);
                    }
                }
            }
            let refused = refused.expect("metadata can no longer be kept in every location");
            assert!(
                matches!(&refused, CommitError::Write(WriteError::Io(why) | WriteError::ReadOnly(why)) if why.contains("disk 1")),
                "{refused}"
            );
            assert_eq!(keys(&store).len(), blocks.len(), "what was refused left no trace");
            // Whatever was acknowledged has two copies, so one of them is left.
            for block in &blocks {
                assert_eq!(store.block(&block.id).unwrap(), block.bytes, "{count} disks, change {at}");
            }
            let last = commit(&store, vec![put("last", "v", &[])]).unwrap_err().to_string();
            assert!(last.contains("disk 1"), "{last}");
        }
    }
}

#[test]
fn a_block_in_one_commit_may_lack_copies_and_another_all_of_them() {
    let (disks, index) = (disks(3), fast_dir());
    let store = Store::open(options(&disks, 1, index.path())).unwrap();
    let old = store_some(&store, 0..2);
    store.close().unwrap();
    let store = Store::open(options(&disks, 3, index.path())).unwrap();
    // Read, so that the copies there count as sound.
    store.block(&old[0].id).unwrap();
    let new = sample_block(77, 2_000);
    let ids: Vec<BlockId> = vec![old[0].id, old[1].id, new.id];
    let blocks = vec![old[0].clone(), old[1].clone(), new.clone()];
    commit_with(&store, vec![put("all", "v", &ids)], blocks.clone()).unwrap();
    blocks.iter().for_each(|block| assert_eq!(holders(&disks, block), 3));
    store.close().unwrap();
    let report = check(&options(&disks, 3, index.path())).unwrap();
    assert!(report.is_clean() && report.is_index_compared, "{:#?}", report.findings);
}
