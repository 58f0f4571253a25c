//! Deltas: found by their chunks with what they rest on, or not at all; and blocks that are found by what is like them.

use crate::support::{commit, commit_with, delete, noise, open, put, run, sample_block, sample_delta};
use jsfs_store::{BlockId, ChunkTag, NewBlock, OpenOptions, Store, Tag, backend::Memory, block};
use std::sync::Arc;

fn store() -> Store {
    open(OpenOptions::new(vec![Arc::new(Memory::new(1 << 30))]))
}

fn tagged(tag: Tag, len: u32) -> ChunkTag {
    ChunkTag { tag, offset: 0, len, extra: Vec::new() }
}

fn collect(store: &Store) {
    run(store.settle()).unwrap();
    store.compact(0.0).unwrap();
}

#[test]
fn a_delta_is_found_with_its_base_pinned_and_not_at_all_without_it() {
    let store = store();
    let base = sample_block(1, 50_000);
    let (delta, plain) = sample_delta(&base, 1, 50_000);
    assert!(delta.bytes.len() < 200);
    let needs = [delta.id, base.id];
    commit_with(&store, vec![put("a", "1", &needs)], vec![base.clone(), delta.clone()]).unwrap();
    let found = store.find_chunk(&delta.tags[0].tag).unwrap().unwrap();
    assert_eq!(found.base.as_ref().map(jsfs_store::Pin::block), Some(base.id));
    assert!(store.find_chunk(&base.tags[0].tag).unwrap().unwrap().base.is_none());
    let stored = store.block(&delta.id).unwrap();
    assert_eq!(block::decode_clear_delta(&stored, &noise(1, 50_000)).unwrap(), plain);

    // What was found stays, both of it, although nothing refers to it any more.
    commit(&store, vec![delete("a")]).unwrap();
    collect(&store);
    assert!(store.block(&delta.id).is_ok() && store.block(&base.id).is_ok());
    drop(found);

    // A delta that is kept without its base is of no use to anybody.
    commit(&store, vec![put("b", "1", &[delta.id])]).unwrap();
    collect(&store);
    assert!(store.block(&delta.id).is_ok() && store.block(&base.id).is_err());
    assert!(store.find_chunk(&delta.tags[0].tag).unwrap().is_none());
}

#[test]
fn a_delta_is_found_with_its_base_after_a_restart_and_after_compaction() {
    let disk = Arc::new(Memory::new(1 << 30));
    let index = tempfile::tempdir().unwrap();
    let opened = || open(OpenOptions::new(vec![disk.clone()]).index(index.path()));
    let store = opened();
    let base = sample_block(2, 50_000);
    let (delta, _) = sample_delta(&base, 2, 50_000);
    let blocks = vec![base.clone(), delta.clone(), sample_block(3, 200_000)];
    let ops = vec![put("a", "1", &[delta.id, base.id]), put("b", "1", &[blocks[2].id])];
    commit_with(&store, ops, blocks).unwrap();
    commit(&store, vec![delete("b")]).unwrap();
    collect(&store);
    store.close().unwrap();
    let store = opened();
    let found = store.find_chunk(&delta.tags[0].tag).unwrap().unwrap();
    assert_eq!(found.base.map(|pin| pin.block()), Some(base.id));
}

#[test]
fn the_block_is_found_to_which_most_tags_lead() {
    let store = store();
    let tags: Vec<Tag> = (0..6).map(|at| [at; 32]).collect();
    let blocks: Vec<NewBlock> = [(1, &tags[..2]), (2, &tags[2..5]), (3, &tags[5..])]
        .into_iter()
        .map(|(seed, tags)| {
            let tags = tags.iter().map(|tag| tagged(*tag, 0)).collect();
            NewBlock { tags, ..sample_block(seed, 1_000) }
        })
        .collect();
    let ids: Vec<BlockId> = blocks.iter().map(|block| block.id).collect();
    commit_with(&store, vec![put("a", "1", &ids)], blocks).unwrap();
    let most = |tags: &[Tag], least| store.find_most(tags, least).unwrap().map(|pin| pin.block());
    assert_eq!(most(&tags, 1), Some(ids[1]));
    assert_eq!(most(&tags, 3), Some(ids[1]));
    assert_eq!(most(&tags, 4), None);
    assert_eq!(most(&[tags[5], tags[0]], 1), Some(ids[2]), "of equals the first");
    assert_eq!(most(&[[9; 32]], 1), None);
    commit(&store, vec![delete("a")]).unwrap();
    collect(&store);
    assert_eq!(most(&tags, 1), None, "tags go with their block");
}
