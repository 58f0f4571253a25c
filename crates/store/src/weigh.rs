//! Where the space of a store goes: what its blocks hold, what they take, and what of that is whose.
//!
//! A block that several things refer to is shared among them in equal parts, so that parts add up to the whole and nothing has to be remembered: memory does
//! not grow with the store. Looks at the index while writing goes on; each figure is of its own moment.

use crate::{
    block::LIST_LEVEL_MAX,
    error::ReadError,
    id::BlockId,
    index::Rows,
    read::Reading,
    rows::{BLOCK, BlockRow, counted},
    store::Store,
    task::Observer,
};
use std::ops::Bound;

/// Lists are followed so deep, which is as deep as they can be.
const LEVELS_MAX: u8 = LIST_LEVEL_MAX + 1;
/// Rows between two looks whether to go on.
const LOOK_EVERY: u64 = 1 << 10;

/// What all blocks take that something refers to. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// How many they are, lists included.
    pub blocks: u64,
    /// What those hold that are no lists, before it was compressed; what says nothing of that counts as long as it is stored.
    pub unique: u64,
    /// What those take, each once.
    pub compressed: u64,
    /// What all take in all places, their descriptions included.
    pub stored: u64,
}

/// What something takes of the blocks that it refers to, in bytes: its part of each figure of [`Weights`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// Of what they hold.
    pub unique: f64,
    /// Of what they take, each once.
    pub compressed: f64,
    /// Of what they take in all places.
    pub stored: f64,
    /// Lists among them that cannot be read: what they list is in nobody's share.
    pub unreadable: u64,
}

impl std::ops::AddAssign for Share {
    fn add_assign(&mut self, other: Self) {
        self.unique += other.unique;
        self.compressed += other.compressed;
        self.stored += other.stored;
        self.unreadable += other.unreadable;
    }
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
    /// Weighs everything. Blocks, for as long as it takes to read the index's rows of blocks.
    pub fn weigh(&self, observer: &dyn Observer) -> Result<Weights, WeighError> {
        let reading = &*self.inner.reading;
        let mut all = Weights::default();
        for (at, row) in (0_u64..).zip(rows(reading, BLOCK)) {
            go_on(at, observer)?;
            let (_, value) = row.map_err(ReadError::from)?;
            let row = BlockRow::decode(&value).ok_or_else(malformed)?;
            if row.references == 0 {
                continue;
            }
            all.blocks += 1;
            all.stored += weight(&row);
            if !row.is_list {
                all.unique += row.plain();
                all.compressed += row.compressed();
            }
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
        if !row.is_list {
            share.unique += part * as_float(row.plain());
            share.compressed += part * as_float(row.compressed());
        } else if levels > 0 {
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
