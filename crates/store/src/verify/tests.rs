//! Rows of the index that are altered or removed under a store in use are found by verifying, each kind for itself; a row that was only changing is not.

use super::{Verification, Verified, VerifyError};
use crate::{
    BlockId, Commit, Compaction, Finding, NewBlock, Observer, Op, OpenOptions, Store, Table, block,
    rows::{BLOCK, BlockRow, ENTRY, KeyRow, PACK, TOMBSTONE, pack_key, prefixed},
};
use bytes::Bytes;
use std::sync::Mutex;

const T: Table = Table(7);

/// Keeps what was found, and does something once, when the first bytes have been read.
struct Heard<'a> {
    findings: Mutex<Vec<String>>,
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send + 'a>>>,
}

impl Observer for Heard<'_> {
    fn progress(&self, done: u64, _: u64) {
        if done > 0
            && let Some(meanwhile) = self.meanwhile.lock().unwrap().take()
        {
            meanwhile();
        }
    }

    fn found(&self, finding: &Finding) {
        self.findings.lock().unwrap().push(finding.what.clone());
    }

    fn is_stopped(&self) -> bool {
        false
    }
}

fn verify(store: &Store, meanwhile: Option<Box<dyn FnOnce() + Send + '_>>) -> (Verified, Vec<String>) {
    let heard = Heard { findings: Mutex::default(), meanwhile: Mutex::new(meanwhile) };
    let done = store.verify(Verification::default(), &heard).unwrap();
    (done, heard.findings.into_inner().unwrap())
}

fn commit(store: &Store, op: Op, blocks: Vec<NewBlock>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.commit(Commit { ops: vec![op], blocks, ..Commit::default() })).unwrap();
}

/// A store of several packs: entries with a block each, then one that is deleted again.
fn filled() -> (Store, Vec<BlockId>) {
    let options = OpenOptions::memory(16 << 20).floor(0).pack_max(64 << 10);
    let options = options.compaction(Compaction { dead_share: 0.5, bytes_per_second: 0, every: None });
    let store = Store::open(options).unwrap();
    let mut ids = Vec::new();
    for n in 0..40u8 {
        let mut plain = vec![0; 4_000];
        blake3::Hasher::new().update(&[n]).finalize_xof().fill(&mut plain);
        let block = NewBlock::new(block::encode_clear(&plain, block::LEVEL).unwrap(), Vec::new());
        let references = vec![block.id];
        ids.push(block.id);
        commit(
            &store,
            Op::Put { table: T, key: vec![n], value: Bytes::from(vec![n; 8]), references },
            vec![block],
        );
    }
    let gone = Op::Put { table: T, key: b"gone".to_vec(), value: Bytes::new(), references: Vec::new() };
    commit(&store, gone, Vec::new());
    commit(&store, Op::Delete { table: T, key: b"gone".to_vec() }, Vec::new());
    (store, ids)
}

fn set(store: &Store, key: Vec<u8>, value: Option<Vec<u8>>) {
    store.inner.reading.index.apply(vec![(key, value)], None);
}

/// Puts another row in the place of one, expects verifying to find it in these words, and puts the row back.
fn differs(store: &Store, key: Vec<u8>, was: Vec<u8>, other: Option<Vec<u8>>, words: &str) {
    assert_ne!(Some(&was), other.as_ref());
    set(store, key.clone(), other);
    let (done, findings) = verify(store, None);
    assert!(done.damaged > 0 && findings.iter().any(|what| what.contains(words)), "{words}: {findings:#?}");
    set(store, key, Some(was));
    let (done, findings) = verify(store, None);
    assert_eq!((done.damaged, done.index_differs), (0, 0), "{words}: {findings:#?}");
}

/// A row that is none ends verifying with the word that the index is damaged.
fn malformed(store: &Store, key: Vec<u8>) {
    set(store, key, Some(vec![9]));
    let done = store.verify(Verification::default(), &crate::Unobserved);
    assert!(matches!(&done, Err(VerifyError::Index(why)) if why.contains("malformed")), "{done:?}");
    assert!(store.inner.reading.index.doubted().is_some(), "it is not rebuilt at the next start");
}

#[test]
fn a_row_of_a_block_that_differs_from_the_packs_is_found() {
    let (store, ids) = filled();
    let key = prefixed(BLOCK, ids[3].as_bytes());
    let row = store.inner.reading.index.block(&ids[3]).unwrap().unwrap();
    let was = row.encode();
    let altered = |change: fn(&mut BlockRow)| {
        let mut row = row.clone();
        change(&mut row);
        Some(row.encode())
    };
    let lacks = "the index does not know that block";
    differs(&store, key.clone(), was.clone(), None, lacks);
    differs(&store, key.clone(), was.clone(), altered(|row| row.places.clear()), lacks);
    differs(&store, key.clone(), was.clone(), altered(|row| row.places[0].len -= 1), lacks);
    let elsewhere = "the index says that block";
    differs(&store, key.clone(), was.clone(), altered(|row| row.places[0].offset += 8), elsewhere);
    differs(
        &store,
        key.clone(),
        was.clone(),
        altered(|row| row.places.push(crate::rows::Place { offset: 128, ..row.places[0] })),
        elsewhere,
    );
    differs(&store, key.clone(), was, None, "which is in no pack");
    malformed(&store, key);
}

#[test]
fn a_row_of_an_entry_that_differs_from_the_packs_is_found() {
    let (store, ids) = filled();
    let name = prefixed(7, &[5]);
    let key = prefixed(ENTRY, &name);
    let row = store.inner.reading.index.entry(&name).unwrap().unwrap();
    let was = row.encode();
    let altered = |change: &dyn Fn(&mut KeyRow)| {
        let mut row = row.clone();
        change(&mut row);
        Some(row.encode())
    };
    let lacks = "the index lacks an entry of table 7";
    differs(&store, key.clone(), was.clone(), None, lacks);
    differs(&store, key.clone(), was.clone(), altered(&|row| row.sequence -= 1), lacks);
    let not_here = "is not in this pack, where the index says that it is";
    differs(&store, key.clone(), was.clone(), altered(&|row| row.index += 1), not_here);
    differs(&store, key.clone(), was.clone(), altered(&|row| row.copies[0].pack += 1), not_here);
    let other = "with another content";
    let value = altered(&|row| row.put.as_mut().unwrap().value = Bytes::from_static(b"other"));
    differs(&store, key.clone(), was.clone(), value, other);
    let references = altered(&|row| row.put.as_mut().unwrap().references = vec![ids[6]]);
    differs(&store, key.clone(), was, references, other);
    malformed(&store, key);
}

#[test]
fn a_row_of_a_tombstone_that_differs_from_the_packs_is_found() {
    let (store, _) = filled();
    let name = prefixed(7, b"gone");
    let key = prefixed(TOMBSTONE, &name);
    let row = store.inner.reading.index.tombstone(&name).unwrap().unwrap();
    let was = row.encode();
    let later = KeyRow { sequence: row.sequence + 9, ..row.clone() };
    differs(&store, key.clone(), was.clone(), Some(later.encode()), "is not in this pack");
    // The put that it hid is what the packs have last of that key.
    differs(&store, key.clone(), was, None, "the index lacks");
    malformed(&store, key);
}

#[test]
fn a_row_of_a_pack_that_is_gone_is_found() {
    let (store, _) = filled();
    let row = store.inner.reading.index.pack(0, 1).unwrap().unwrap();
    let key = prefixed(PACK, &pack_key(0, 1)[1..]);
    differs(&store, key.clone(), row.encode(), None, "the index does not know this pack");
    let longer = crate::rows::PackRow { end: row.end + (1 << 20), ..row };
    differs(&store, key, row.encode(), Some(longer.encode()), "this pack is shorter than");
}

#[test]
fn a_row_that_is_right_when_it_is_looked_at_again_is_no_finding() {
    let (store, ids) = filled();
    let key = prefixed(BLOCK, ids[0].as_bytes());
    let was = store.inner.reading.index.block(&ids[0]).unwrap().unwrap().encode();
    set(&store, key.clone(), None);
    let (done, findings) = verify(&store, Some(Box::new(|| set(&store, key, Some(was)))));
    assert_eq!((done.damaged, done.index_differs), (0, 0), "{findings:#?}");
}
