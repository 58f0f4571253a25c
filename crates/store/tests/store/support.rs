//! Short words for what most tests do.

use bytes::Bytes;
use jsfs_store::{
    BlockId, ChunkTag, Commit, CommitError, Committed, Compaction, Entry, Expect, NewBlock, Op, OpenOptions,
    Store, Table, block,
};
use std::future::Future;

pub(crate) const T: Table = Table(7);

/// Runs a future to its end.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// No background work unless a test asks for it, and no floor.
pub(crate) fn quiet(options: OpenOptions) -> OpenOptions {
    options.floor(0).compaction(Compaction { dead_share: 0.5, bytes_per_second: 0, every: None })
}

pub(crate) fn open(options: OpenOptions) -> Store {
    Store::open(quiet(options)).unwrap()
}

pub(crate) fn open_at(path: &std::path::Path) -> Store {
    open(OpenOptions::directory(path, &[]).unwrap())
}

/// Bytes that differ for each seed and do not compress.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A clear block with noise in it and one tag.
pub(crate) fn sample_block(seed: u64, length: usize) -> NewBlock {
    let plain = noise(seed, length);
    let tag = ChunkTag {
        tag: *blake3::hash(&plain).as_bytes(),
        offset: 0,
        len: u32::try_from(length).unwrap(),
        extra: vec![1, 2, 3],
    };
    NewBlock::new(block::encode_clear(&plain, block::LEVEL).unwrap(), vec![tag])
}

/// A clear block of three chunks with a tag each, and a tag by which what is like it is found.
pub(crate) fn sample_group(seed: u64, length: usize) -> NewBlock {
    let plain = noise(seed, length);
    let mut offset = 0;
    let chunks = [length / 3, length / 4, length - length / 3 - length / 4].map(|length| {
        let tag = chunk_tag(&plain[offset..offset + length], offset);
        offset += length;
        tag
    });
    let alike =
        ChunkTag { tag: *blake3::hash(&seed.to_le_bytes()).as_bytes(), offset: 0, len: 0, extra: Vec::new() };
    let mut tags = Vec::from(chunks);
    tags.push(alike);
    tags.sort_by_key(|tag| (tag.offset, tag.tag));
    NewBlock::new(block::encode_clear(&plain, block::LEVEL).unwrap(), tags)
}

fn chunk_tag(chunk: &[u8], offset: usize) -> ChunkTag {
    ChunkTag {
        tag: *blake3::hash(chunk).as_bytes(),
        offset: u32::try_from(offset).unwrap(),
        len: u32::try_from(chunk.len()).unwrap(),
        extra: Vec::new(),
    }
}

/// A delta, with one tag, of a block that holds the noise of this seed and length; and what it holds.
pub(crate) fn sample_delta(base: &NewBlock, seed: u64, length: usize) -> (NewBlock, Vec<u8>) {
    let mut plain = noise(seed, length);
    plain.extend_from_slice(b"and more");
    let mut stored = block::delta_header(block::Kind::Delta, &base.id).to_vec();
    block::encode_delta_into(&plain, &noise(seed, length), block::LEVEL, &mut stored).unwrap();
    (NewBlock::new(stored.into(), vec![chunk_tag(&plain, 0)]), plain)
}

pub(crate) fn list_block(level: u8, ids: &[BlockId]) -> NewBlock {
    NewBlock::new(block::encode_list(level, ids).unwrap(), Vec::new())
}

pub(crate) fn put(key: impl AsRef<[u8]>, value: impl Into<Bytes>, references: &[BlockId]) -> Op {
    Op::Put { table: T, key: key.as_ref().to_vec(), value: value.into(), references: references.to_vec() }
}

pub(crate) fn delete(key: impl AsRef<[u8]>) -> Op {
    Op::Delete { table: T, key: key.as_ref().to_vec() }
}

pub(crate) fn expect(key: impl AsRef<[u8]>, sequence: u64) -> Expect {
    Expect::Sequence { table: T, key: key.as_ref().to_vec(), sequence }
}

pub(crate) fn commit(store: &Store, ops: Vec<Op>) -> Result<Committed, CommitError> {
    run(store.commit(Commit { ops, ..Commit::default() }))
}

pub(crate) fn commit_with(
    store: &Store,
    ops: Vec<Op>,
    blocks: Vec<NewBlock>,
) -> Result<Committed, CommitError> {
    run(store.commit(Commit { ops, blocks, ..Commit::default() }))
}

pub(crate) fn get(store: &Store, key: impl AsRef<[u8]>) -> Option<Entry> {
    store.get(T, key.as_ref()).unwrap()
}

pub(crate) fn value(store: &Store, key: impl AsRef<[u8]>) -> Option<Bytes> {
    get(store, key).map(|entry| entry.value)
}

pub(crate) fn keys(store: &Store) -> Vec<Vec<u8>> {
    store.scan(T, ..).map(|row| row.unwrap().0).collect()
}
