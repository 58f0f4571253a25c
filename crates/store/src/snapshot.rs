//! A snapshot: the store as of one commit, sent as the items of a backup while writing goes on.
//!
//! Entries come from one moment of the index, so their state is exactly that of the last commit in it. Blocks are read from the packs in their order;
//! those packs are held, so that compaction neither drops nor moves anything in them, until the snapshot is dropped. Memory does not grow with the store.
//!
//! Which blocks are new: a block that is live now and has been so since a frame before the destination's state was live in that state, and is there. The
//! index changes while blocks are read; a block that was live in the snapshot is still told, because a row says when its block last came or ceased to
//! live. At worst a block is sent that nobody needs.

use crate::{
    backup::{Ask, FORMAT, Head, HeadTip, Item, Kind, encode_block, encode_rows, push_row},
    error::ReadError,
    frame::{Change, FRAME_HEADER, Operation, PACK_HEADER},
    id::{BlockId, Table},
    index::Rows,
    pins::Hold,
    read::Reading,
    rows::{BlockRow, KeyRow, Mark, Place},
    store::Store,
    walk::{Depth, Frame, Step, Walk},
};
use bytes::Bytes;
use std::{collections::BTreeMap, io, sync::Arc};

/// The mean size of a chunk of entries, and the largest before one more entry.
const ROWS_MEAN: u32 = 64 << 10;
const ROWS_MAX: usize = 1 << 20;
/// How often the receiver is told that blocks are being looked for.
const TELL_EVERY: u64 = 1 << 20;

/// Takes items; false when nobody wants them any more.
pub type Sink<'a> = &'a mut dyn FnMut(Vec<u8>) -> bool;

/// Why a snapshot was not sent to its end.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The receiver has left.
    #[error("whoever asked for the snapshot has left")]
    Left,
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<crate::index::IndexError> for SnapshotError {
    fn from(error: crate::index::IndexError) -> Self {
        Self::Read(error.into())
    }
}

/// The store as of one commit.
pub struct Snapshot {
    reading: Arc<Reading>,
    mark: Mark,
    head: Head,
    entries: Rows,
    blocks: Rows,
    /// Where the packs end.
    packs: BTreeMap<(u8, u64), u64>,
    _hold: Hold,
}

impl Store {
    /// Takes hold of the state that all commits answered so far have made. Packs stay as they are until it is dropped.
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        let reading = self.inner.reading.clone();
        // First everything is held, so that nothing goes away between looking and holding.
        let hold = reading.pins.hold();
        let frozen = reading.index.freeze()?;
        let mark = frozen.mark.unwrap_or_else(|| Mark {
            store_id: self.inner.parameters[0].store_id,
            sequence: 0,
            durable: 0,
            tips: Vec::new(),
        });
        let mut last = vec![0; reading.locations.len()];
        for (location, number, _) in &frozen.packs {
            if let Some(last) = last.get_mut(usize::from(*location)) {
                *last = (*last).max(*number);
            }
        }
        hold.only_up_to(last);
        let chunking = self.chunking();
        let head = Head {
            format: FORMAT,
            store: Head::name_store(&mark.store_id),
            sequence: mark.sequence,
            after: 0,
            chunking: [chunking.min, chunking.avg, chunking.max],
            tips: mark.tips.iter().map(HeadTip::of).collect(),
        };
        let packs =
            frozen.packs.iter().map(|(location, number, row)| ((*location, *number), row.end)).collect();
        Ok(Snapshot {
            reading,
            mark,
            head,
            entries: frozen.entries,
            blocks: frozen.blocks,
            packs,
            _hold: hold,
        })
    }
}

impl Snapshot {
    /// Every commit up to this number is in it.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.head.sequence
    }

    /// Sends what is not in the asker's destination. Blocks.
    pub fn send(mut self, ask: &Ask, note: Option<&[u8]>, sink: Sink<'_>) -> Result<(), SnapshotError> {
        let nothing = Ask::default();
        let ask = if self.follows(ask)? { ask } else { &nothing };
        self.head.after = ask.after;
        let mut out = Sending { sink, rows: 0, blocks: 0 };
        out.item(Kind::Head, &[&serde_json::to_vec(&self.head).unwrap_or_default()])?;
        if let Some(note) = note {
            out.item(Kind::Note, &[note])?;
        }
        self.send_rows(ask, &mut out)?;
        let wanted = self.find_blocks(ask.after, &mut out)?;
        for (location, number) in wanted.keys() {
            self.send_pack(*location, *number, ask.after, &wanted, &mut out)?;
        }
        let counts = [out.rows, out.blocks].map(u64::to_le_bytes).concat();
        out.item(Kind::End, &[&counts])
    }

    /// Whether this store's history leads from the state that the asker has to this one: a copy that went its own way has other frames under the same numbers.
    fn follows(&self, ask: &Ask) -> Result<bool, SnapshotError> {
        if ask.after == 0 || ask.store != self.head.store || ask.after > self.head.sequence {
            return Ok(false);
        }
        for (location, tip) in (0u8..).zip(&ask.tips) {
            // Where compaction has taken the frame away nothing can be compared.
            if tip.start == 0 || !self.packs.contains_key(&(location, tip.pack)) {
                continue;
            }
            let file = match self.reading.pack(location, tip.pack) {
                Ok(file) => file,
                // Compaction was about to end with it when the index was frozen.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(_) => return Ok(false),
            };
            let walk = Walk::new(file, self.mark.store_id, Depth::Descriptions, tip.start);
            let is_same = match walk.and_then(|mut walk| walk.step()) {
                Ok(Step::Frame(frame)) => {
                    let found = crate::rows::Tip { chain: frame.chain, ..crate::rows::Tip::default() };
                    frame.header.sequence == tip.sequence && HeadTip::of(&found).chain == tip.chain
                }
                _ => false,
            };
            if !is_same {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All entries in the order of their keys, in chunks that are cut after keys whose hash says so: a change changes the chunk that it lies in and no other.
    fn send_rows(&mut self, ask: &Ask, out: &mut Sending<'_>) -> Result<(), SnapshotError> {
        let mut chunk = Vec::new();
        for row in self.entries.by_ref() {
            let (key, value) = row?;
            let row = KeyRow::decode(&value, true)
                .and_then(|row| row.put.map(|put| (row.sequence, row.index, put)));
            let Some((sequence, index, put)) = row.filter(|_| key.len() > 2) else {
                return Err(ReadError::Index("a row is malformed".to_owned()).into());
            };
            let change = Change::Put { references: put.references, value: put.value };
            let before = chunk.len();
            push_row(
                &mut chunk,
                &Operation { sequence, index, table: Table(key[1]), key: key.slice(2..), change },
            );
            let length = (chunk.len() - before) as u64;
            let hash = blake3::hash(&key);
            let draw = hash.as_bytes().first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            if u64::from(draw) < (length << 32) / u64::from(ROWS_MEAN) || chunk.len() >= ROWS_MAX {
                out.rows(&std::mem::take(&mut chunk), ask)?;
            }
        }
        if chunk.is_empty() { Ok(()) } else { out.rows(&chunk, ask) }
    }

    /// The packs with blocks that the asker needs, and how many are in each.
    fn find_blocks(
        &mut self,
        after: u64,
        out: &mut Sending<'_>,
    ) -> Result<BTreeMap<(u8, u64), u64>, SnapshotError> {
        let mut wanted: BTreeMap<(u8, u64), u64> = BTreeMap::new();
        let (mut seen, mut blocks, mut bytes) = (0u64, 0u64, 0u64);
        while let Some(row) = self.blocks.next() {
            let (key, value) = row?;
            seen += 1;
            if seen.is_multiple_of(TELL_EVERY) {
                out.size(blocks, bytes)?;
            }
            let row = BlockRow::decode(&value);
            let row = row.ok_or_else(|| ReadError::Index("a row is malformed".to_owned()))?;
            if row.references == 0 || row.since <= after {
                continue;
            }
            let Some(place) = self.source(&row) else {
                let id = key.get(1..).and_then(|id| id.try_into().ok()).map(BlockId::from_bytes);
                out.damage(&id.map_or_else(String::new, |id| self.why_unreadable(id, &row)))?;
                continue;
            };
            *wanted.entry((place.location, place.pack)).or_default() += 1;
            blocks += 1;
            bytes += place.weight();
        }
        out.size(blocks, bytes)?;
        Ok(wanted)
    }

    fn send_pack(
        &self,
        location: u8,
        number: u64,
        after: u64,
        wanted: &BTreeMap<(u8, u64), u64>,
        out: &mut Sending<'_>,
    ) -> Result<(), SnapshotError> {
        let end = self.packs.get(&(location, number)).copied().unwrap_or(0);
        let at = |offset| crate::read::describe_at(&self.reading.locations, location, number, offset);
        let failed = |source| SnapshotError::Read(ReadError::Io { at: at(0), source });
        let file = self.reading.pack(location, number).map_err(failed)?;
        let mut walk =
            Walk::new(file.clone(), self.mark.store_id, Depth::Descriptions, PACK_HEADER).map_err(failed)?;
        loop {
            match walk.step().map_err(failed)? {
                Step::Frame(frame) if frame.start < end => {
                    self.send_frame(location, number, &frame, after, wanted, out)?;
                }
                Step::Bad(bad) if bad.offset < end => {
                    out.damage(&format!("{} is damaged at {}", bad.what, at(bad.offset)))?;
                    let next = match bad.next {
                        Some(next) => Some(next),
                        None => walk.find_frame(bad.offset + FRAME_HEADER).map_err(failed)?,
                    };
                    match next {
                        Some(next) => walk.skip_to(next),
                        None => return Ok(()),
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    fn send_frame(
        &self,
        location: u8,
        number: u64,
        frame: &Frame,
        after: u64,
        wanted: &BTreeMap<(u8, u64), u64>,
        out: &mut Sending<'_>,
    ) -> Result<(), SnapshotError> {
        for (head, place, _) in frame.blocks(location, number) {
            let Some(row) = self.reading.row(&head.id)? else { continue };
            let was_live = row.references > 0 || row.since > self.head.sequence;
            if row.since <= after || !was_live || self.comes_from_elsewhere(&row, &place, wanted) {
                continue;
            }
            match self.read(&head.id, &place) {
                Ok(stored) => {
                    out.blocks += 1;
                    out.bytes(encode_block(head, &stored))?;
                }
                Err(error) => out.damage(&error.to_string())?,
            }
        }
        Ok(())
    }

    /// The copy that is read: the first in a location that is there.
    fn source<'r>(&self, row: &'r BlockRow) -> Option<&'r Place> {
        row.places.iter().find(|place| self.reading.keeping.takes(place.location))
    }

    fn why_unreadable(&self, id: BlockId, row: &BlockRow) -> String {
        match row.places.first() {
            Some(place) => format!(
                "block {id} lies only in a location that is missing: {}",
                self.reading.describe(place)
            ),
            None => ReadError::NotFound(id).to_string(),
        }
    }

    /// Of several copies that will be read only the first is sent.
    fn comes_from_elsewhere(&self, row: &BlockRow, place: &Place, wanted: &BTreeMap<(u8, u64), u64>) -> bool {
        let Some(first) = self.source(row).filter(|first| *first != place) else { return false };
        let pack = (first.location, first.pack);
        wanted.contains_key(&pack) && self.packs.get(&pack).is_some_and(|end| first.end() <= *end)
    }

    /// A block from this place, or from another copy where that is damaged.
    fn read(&self, id: &BlockId, place: &Place) -> Result<Bytes, ReadError> {
        match self.reading.block_at(id, std::slice::from_ref(place)) {
            Ok(stored) => Ok(stored),
            Err(error) => self.reading.block(id).map_err(|_| error),
        }
    }
}

/// Items on their way.
struct Sending<'a> {
    sink: Sink<'a>,
    rows: u64,
    blocks: u64,
}

impl Sending<'_> {
    fn bytes(&mut self, item: Vec<u8>) -> Result<(), SnapshotError> {
        if (self.sink)(item) { Ok(()) } else { Err(SnapshotError::Left) }
    }

    fn item(&mut self, kind: Kind, parts: &[&[u8]]) -> Result<(), SnapshotError> {
        self.bytes(Item::encode(kind, parts))
    }

    fn rows(&mut self, plain: &[u8], ask: &Ask) -> Result<(), SnapshotError> {
        self.rows += 1;
        let id = *blake3::hash(plain).as_bytes();
        if ask.known.contains(&id) {
            return self.item(Kind::Same, &[&id]);
        }
        let (_, body) = encode_rows(plain)
            .map_err(|source: io::Error| ReadError::Io { at: "a chunk of entries".to_owned(), source })?;
        self.item(Kind::Rows, &[&body])
    }

    fn damage(&mut self, what: &str) -> Result<(), SnapshotError> {
        self.item(Kind::Damage, &[what.as_bytes()])
    }

    fn size(&mut self, blocks: u64, bytes: u64) -> Result<(), SnapshotError> {
        let counts = [blocks, bytes].map(u64::to_le_bytes).concat();
        self.item(Kind::Size, &[&counts])
    }
}
