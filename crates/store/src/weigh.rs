//! Where the space of a store goes: what its chunks take, what its blocks take, and what of that is whose.
//!
//! A block that several things refer to is shared among them in equal parts, so that parts add up to the whole and nothing has to be remembered: memory does
//! not grow with the store. Looks at the index while writing goes on; each figure is of its own moment.

use crate::{
    block::LIST_LEVEL_MAX,
    error::ReadError,
    id::BlockId,
    index::Rows,
    read::Reading,
    rows::{BLOCK, BlockRow, CHUNK, TagRow, counted},
    store::Store,
    task::Observer,
};
use std::ops::Bound;

/// Lists are followed so deep, which is as deep as they can be.
const LEVELS_MAX: u8 = LIST_LEVEL_MAX + 1;
/// Rows between two looks whether to go on.
const LOOK_EVERY: u64 = 1 << 10;

/// What all chunks and blocks take that something refers to. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// Chunks that differ from each other.
    pub chunks: u64,
    /// What they are long.
    pub unique: u64,
    /// What the blocks that hold them take, each once.
    pub compressed: u64,
    /// All blocks, also those without chunks.
    pub blocks: u64,
    /// What they take in all places, their descriptions included.
    pub stored: u64,
}

/// What something takes of the blocks that it refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// Its part of what they take in all places, in bytes.
    pub stored: f64,
    /// Lists among them that cannot be read: what they list is in nobody's share.
    pub unreadable: u64,
}

/// Why weighing ended early.
#[derive(Debug, thiserror::Error)]
pub enum WeighError {
    /// Whoever asked for it has called it off.
    #[error("called off")]
    CalledOff,
    /// The index cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Store {
    /// Weighs everything. Blocks, for as long as it takes to read the index's rows of blocks and chunks.
    pub fn weigh(&self, observer: &dyn Observer) -> Result<Weights, WeighError> {
        let reading = &*self.inner.reading;
        let mut all = Weights::default();
        for (at, row) in (0_u64..).zip(rows(reading, BLOCK)) {
            go_on(at, observer)?;
            let (_, value) = row.map_err(ReadError::from)?;
            let row = BlockRow::decode(&value).ok_or_else(malformed)?;
            if row.references > 0 {
                all.blocks += 1;
                all.stored += weight(&row);
            }
        }
        for (at, row) in (0_u64..).zip(rows(reading, CHUNK)) {
            go_on(at, observer)?;
            let (_, value) = row.map_err(ReadError::from)?;
            let chunk = TagRow::decode(&value).ok_or_else(malformed)?;
            let block = reading.row(&chunk.block).map_err(ReadError::from)?;
            let Some(block) = block.filter(|block| block.references > 0) else { continue };
            all.chunks += 1;
            all.unique += u64::from(chunk.len);
            all.compressed += block.places.first().map_or(0, |place| u64::from(place.len));
        }
        Ok(all)
    }

    /// The share of something that refers to these blocks, each as often as it stands here. Blocks: lists are read.
    pub fn share(&self, references: &[BlockId]) -> Result<Share, ReadError> {
        let mut share = Share::default();
        add(&self.inner.reading, references, 1.0, LEVELS_MAX, &mut share)?;
        Ok(share)
    }
}

/// Adds such a part of each of the blocks, and of what they list.
fn add(
    reading: &Reading,
    ids: &[BlockId],
    part: f64,
    levels: u8,
    share: &mut Share,
) -> Result<(), ReadError> {
    for id in ids {
        // Gone meanwhile: the entry was replaced after it was read.
        let Some(row) = reading.row(id)?.filter(|row| row.references > 0) else { continue };
        let part = part / as_float(row.references);
        share.stored += part * as_float(weight(&row));
        if row.is_list && levels > 0 {
            match reading.read_list(id, &row) {
                Some(listed) => add(reading, &listed, part, levels - 1, share)?,
                None => share.unreadable += 1,
            }
        }
    }
    Ok(())
}

/// What a block takes in all locations.
fn weight(row: &BlockRow) -> u64 {
    counted(&row.places).map(|place| place.weight()).sum()
}

#[allow(clippy::cast_precision_loss)] // Exact up to 8 PiB, and beyond good enough for a share.
fn as_float(number: u64) -> f64 {
    number as f64
}

fn rows(reading: &Reading, prefix: u8) -> Rows {
    reading.index.scan(Bound::Included(vec![prefix]), Bound::Excluded(vec![prefix + 1]))
}

fn malformed() -> ReadError {
    ReadError::Index("a row is malformed".to_owned())
}

fn go_on(at: u64, observer: &dyn Observer) -> Result<(), WeighError> {
    if at.is_multiple_of(LOOK_EVERY) && observer.is_stopped() {
        return Err(WeighError::CalledOff);
    }
    Ok(())
}
