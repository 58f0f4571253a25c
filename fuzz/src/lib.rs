//! What several fuzz targets share: a small store in memory, its pack's bytes, and opening a store from changed bytes.

use bytes::Bytes;
use jsfs_store::backend::{Backend, Memory};
use jsfs_store::{BlockId, Commit, NewBlock, Op, OpenOptions, Store, Table, block};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The table of every entry in the store.
pub const TABLE: Table = Table(1);

/// Room for the store and for what opening adds.
const MEMORY: u64 = 64 << 20;

/// A store as it lies on a disk, with what it holds.
pub struct Pristine {
    /// `store.json`.
    pub parameters: Vec<u8>,
    /// The store's id, which every frame's hash covers.
    pub store_id: [u8; 16],
    /// The number and the bytes of its pack.
    pub pack: (u64, Vec<u8>),
    /// Every value that an entry ever had, by key.
    pub history: BTreeMap<Vec<u8>, Vec<Bytes>>,
    /// Every block.
    pub blocks: BTreeMap<BlockId, Bytes>,
}

impl Pristine {
    /// The store, made once per process.
    pub fn get() -> &'static Pristine {
        static PRISTINE: OnceLock<Pristine> = OnceLock::new();
        PRISTINE.get_or_init(make)
    }

    /// Where each frame begins, and where the last one ends.
    pub fn frames(&self) -> Vec<usize> {
        let bytes = &self.pack.1;
        let mut starts = vec![128];
        loop {
            let start = starts[starts.len() - 1];
            let Some(header) = bytes.get(start..start + 128).filter(|header| header.starts_with(b"JSFSFRM1"))
            else {
                return starts;
            };
            let description = u32::from_le_bytes(header[32..36].try_into().expect("four bytes")) as usize;
            let payload = u64::from_le_bytes(header[40..48].try_into().expect("eight bytes")) as usize;
            starts.push((start + 128 + description + payload).next_multiple_of(8));
        }
    }

    /// Opens a store whose pack has these bytes. What it holds must be what was once stored, or nothing; never anything else.
    pub fn open_with(&self, pack: &[u8], may_hold_more: bool) {
        let memory = Memory::new(MEMORY);
        memory.write_file("store.json", &self.parameters).expect("memory takes it");
        let file = memory.create_pack(self.pack.0).expect("the number is free");
        file.write_at(&[pack], 0).expect("memory takes it");
        let Ok(store) = Store::open(OpenOptions::new(vec![Arc::new(memory)]).floor(0)) else { return };
        for (key, values) in &self.history {
            if let Ok(Some(entry)) = store.get(TABLE, key) {
                assert!(
                    may_hold_more || values.contains(&entry.value),
                    "an entry has a value that nobody stored"
                );
            }
        }
        for (id, bytes) in &self.blocks {
            if let Ok(found) = store.block(id) {
                assert!(found == bytes, "a block has bytes that are not its own");
            }
        }
        let all = store.scan(TABLE, ..).count();
        assert!(may_hold_more || all <= self.history.len(), "there are entries that nobody stored");
        store.close().expect("a store in memory closes");
    }
}

fn make() -> Pristine {
    let memory = Memory::new(MEMORY);
    let open =
        || Store::open(OpenOptions::new(vec![Arc::new(memory.clone())]).floor(0)).expect("a new store opens");
    let store = open();
    let mut history: BTreeMap<Vec<u8>, Vec<Bytes>> = BTreeMap::new();
    let mut blocks = BTreeMap::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for number in 0..12_u8 {
        let stored = block::encode_clear(&vec![number; 100 + usize::from(number) * 40], block::LEVEL)
            .expect("small enough");
        let new = NewBlock::new(stored.clone(), Vec::new());
        let (id, key, value) = (new.id, vec![b'k', number % 5], Bytes::from(vec![number; 20]));
        blocks.insert(id, stored);
        history.entry(key.clone()).or_default().push(value.clone());
        let op = Op::Put { table: TABLE, key, value, references: vec![id] };
        let commit = Commit { ops: vec![op], blocks: vec![new], ..Commit::default() };
        runtime.block_on(store.commit(commit)).expect("a commit");
    }
    let delete = Op::Delete { table: TABLE, key: vec![b'k', 0] };
    runtime.block_on(store.commit(Commit { ops: vec![delete], ..Commit::default() })).expect("a commit");
    store.close().expect("it closes");

    let parameters = memory.read_file("store.json").expect("memory reads").expect("it is there");
    let number = *memory.packs().expect("memory lists").first().expect("one pack");
    let file = memory.open_pack(number).expect("it is there");
    let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("a small pack")];
    file.read_at(&mut bytes, 0).expect("memory reads");
    let store_id = bytes[16..32].try_into().expect("sixteen bytes");
    Pristine { parameters, store_id, pack: (number, bytes), history, blocks }
}
