//! A parcel: some entries of a store and the blocks that they need, as items, in an order in which they can be taken up one after the other: each block
//! before the first entry that needs it. What a ROM is made of, and what is sent of one.
//!
//! Memory is bounded: of blocks that were sent only the latest are remembered, so that one may come twice, which is harmless. The packs are held until the
//! parcel is dropped.

use crate::{
    backup::{BadItem, Item, Kind, decode_block, decode_rows, encode_block, encode_rows, push_row},
    commit::{Entry, NewBlock},
    error::ReadError,
    frame::{BlockHead, Change, Operation},
    id::{BlockId, Table},
    pins::Hold,
    read::Reading,
    snapshot::{Sink, SnapshotError},
    store::Store,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::HashSet,
    io,
    sync::{Arc, atomic::Ordering},
};

/// The format of parcels that this program makes, and the newest that it reads.
pub const PARCEL_FORMAT: u32 = 2;
/// Half of the blocks that are remembered as sent.
const SENT_HALF: usize = 262_144;
/// Bytes of entries after which they are sent.
const ROWS_BYTES: usize = 256 << 10;

/// What a parcel begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParcelHead {
    /// The format of what follows.
    pub format: u32,
    /// No entry in it has a higher sequence number.
    pub sequence: u64,
    /// How content is cut: minimum, average and maximum.
    pub chunking: [u32; 3],
    /// What the layer above says of it.
    pub about: Value,
}

/// An entry in a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParcelEntry {
    /// Its table.
    pub table: Table,
    /// Its key.
    pub key: Bytes,
    /// The blocks that it needs.
    pub references: Vec<BlockId>,
    /// Its value.
    pub value: Bytes,
}

/// A parcel that is being sent.
pub struct Parcel<'s> {
    reading: Arc<Reading>,
    sink: Sink<'s>,
    /// What entries that came later count as: no number exceeds that of the head.
    sequence: u64,
    sent: [HashSet<BlockId>; 2],
    chunk: Vec<u8>,
    entries: u64,
    blocks: u64,
    _hold: Hold,
}

impl Store {
    /// Begins a parcel. `about` is what the layer above says of it.
    pub fn parcel<'s>(&self, about: Value, sink: Sink<'s>) -> Result<Parcel<'s>, SnapshotError> {
        let reading = self.inner.reading.clone();
        let chunking = self.chunking();
        let head = ParcelHead {
            format: PARCEL_FORMAT,
            sequence: self.inner.status.sequence.load(Ordering::Relaxed),
            chunking: [chunking.min, chunking.avg, chunking.max],
            about,
        };
        let held = reading.pins.hold();
        let (sent, chunk) = (<[HashSet<BlockId>; 2]>::default(), Vec::new());
        let sequence = head.sequence;
        let mut parcel = Parcel { reading, sink, sequence, sent, chunk, entries: 0, blocks: 0, _hold: held };
        parcel.item(Kind::Head, &[&serde_json::to_vec(&head).unwrap_or_default()])?;
        Ok(parcel)
    }
}

impl Parcel<'_> {
    /// Sends an entry, after the blocks that it needs. Blocks.
    pub fn entry(&mut self, table: Table, key: &[u8], entry: Entry) -> Result<(), SnapshotError> {
        self.blocks(&entry.references)?;
        let change = Change::Put { references: entry.references, value: entry.value };
        let (sequence, index, key) =
            (entry.sequence.min(self.sequence), entry.index, Bytes::copy_from_slice(key));
        push_row(&mut self.chunk, &Operation { sequence, index, table, key, change });
        self.entries += 1;
        if self.chunk.len() >= ROWS_BYTES { self.flush() } else { Ok(()) }
    }

    /// Sends the rest, and how much it was.
    pub fn end(mut self) -> Result<(), SnapshotError> {
        self.flush()?;
        let counts = [self.entries, self.blocks].map(u64::to_le_bytes).concat();
        self.item(Kind::End, &[&counts])
    }

    /// Sends blocks, and what they list before them.
    fn blocks(&mut self, ids: &[BlockId]) -> Result<(), SnapshotError> {
        for id in ids {
            if self.sent.iter().any(|generation| generation.contains(id)) {
                continue;
            }
            let stored = self.reading.block(id)?;
            if let Some(listed) = crate::view::list_ids(&stored) {
                self.blocks(&listed)?;
            }
            let len = u32::try_from(stored.len()).unwrap_or(u32::MAX);
            self.bytes(encode_block(&BlockHead { id: *id, len, tags: Vec::new() }, &stored))?;
            self.blocks += 1;
            self.sent[0].insert(*id);
            if self.sent[0].len() >= SENT_HALF {
                self.sent[1] = std::mem::take(&mut self.sent[0]);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SnapshotError> {
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.is_empty() {
            return Ok(());
        }
        let failed = |source: io::Error| ReadError::Io { at: "a chunk of entries".to_owned(), source };
        let (_, body) = encode_rows(&chunk).map_err(failed)?;
        self.item(Kind::Rows, &[&body])
    }

    fn item(&mut self, kind: Kind, parts: &[&[u8]]) -> Result<(), SnapshotError> {
        self.bytes(Item::encode(kind, parts))
    }

    fn bytes(&mut self, item: Vec<u8>) -> Result<(), SnapshotError> {
        if (self.sink)(item) { Ok(()) } else { Err(SnapshotError::Left) }
    }
}

impl ParcelHead {
    /// The head in an item.
    pub fn of(item: &Item) -> Result<Self, BadItem> {
        let head: Self =
            serde_json::from_slice(&item.body).map_err(|_| BadItem("the head of a parcel is damaged"))?;
        match head.format {
            1..=PARCEL_FORMAT => Ok(head),
            _ => Err(BadItem("the parcel has a format that this program does not know; upgrade jsfs")),
        }
    }
}

/// The block in an item, verified.
pub fn parcel_block(item: &Item) -> Result<NewBlock, BadItem> {
    let (head, stored) = decode_block(&item.body)?;
    Ok(NewBlock { id: head.id, bytes: stored, tags: head.tags })
}

/// The entries in an item.
pub fn parcel_entries(item: &Item) -> Result<Vec<ParcelEntry>, BadItem> {
    let (_, rows) = decode_rows(&item.body)?;
    let entries = rows.into_iter().map(|row| match row.0.change {
        Change::Put { references, value } => {
            Ok(ParcelEntry { table: row.0.table, key: row.0.key, references, value })
        }
        Change::Delete => Err(BadItem("a parcel has an entry that is none")),
    });
    entries.collect()
}

/// How many entries and blocks a parcel has, as its last item says.
pub fn parcel_counts(item: &Item) -> Result<(u64, u64), BadItem> {
    let bad = BadItem("the end of a parcel is damaged");
    let (Some(entries), Some(blocks)) = (item.body.first_chunk::<8>(), item.body.get(8..16)) else {
        return Err(bad);
    };
    let blocks: [u8; 8] = blocks.try_into().map_err(|_| bad)?;
    Ok((u64::from_le_bytes(*entries), u64::from_le_bytes(blocks)))
}
