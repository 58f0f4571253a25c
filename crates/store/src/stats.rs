//! Figures about a store.

use crate::{
    error::ReadError,
    store::{Inner, Store},
};
use std::sync::atomic::Ordering;

/// Figures about a store at one moment. Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// The number of the last frame.
    pub sequence: u64,
    /// Every frame up to this number is synced.
    pub durable: u64,
    /// Commits since opening.
    pub commits: u64,
    /// Syncs since opening; fewer than commits when those come together.
    pub syncs: u64,
    /// Size of the index on disk.
    pub index_bytes: u64,
    /// What each location holds.
    pub locations: Vec<LocationStats>,
}

/// Figures about one location.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LocationStats {
    /// Its directory.
    pub place: String,
    /// Packs with frames in them.
    pub packs: u64,
    /// What the packs hold.
    pub used: u64,
    /// What of that is blocks that entries need and current operations.
    pub live: u64,
    /// What may still be written there.
    pub free: u64,
    /// The size of the disk.
    pub total: u64,
}

impl Store {
    /// Figures about the store now. Reads the index's rows of packs.
    pub fn stats(&self) -> Result<Stats, ReadError> {
        let Inner { reading, status, .. } = &*self.inner;
        let mut locations = Vec::new();
        for backend in &reading.locations {
            let space = backend.space();
            let space = space.map_err(|source| ReadError::Io { at: backend.describe(), source })?;
            let (free, total) = (space.free, space.total);
            locations.push(LocationStats {
                place: backend.describe(),
                free,
                total,
                ..LocationStats::default()
            });
        }
        for (location, _, row) in reading.index.packs()? {
            if let Some(stats) = locations.get_mut(usize::from(location)) {
                stats.packs += 1;
                stats.used += row.end;
                stats.live += row.on_disk(row.live);
            }
        }
        Ok(Stats {
            sequence: status.sequence.load(Ordering::Relaxed),
            durable: status.durable.load(Ordering::Relaxed),
            commits: status.commits.load(Ordering::Relaxed),
            syncs: status.syncs.load(Ordering::Relaxed),
            index_bytes: reading.index.disk_bytes(),
            locations,
        })
    }
}
