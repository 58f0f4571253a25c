//! Where the space of a node goes: of each namespace, of what else is kept, and of the whole.
//!
//! One pass over the index's rows of blocks, and one over the entries that refer to blocks. A block that several entries need is shared among them
//! in equal parts, so nothing is remembered from one entry to the next, and a namespace is told as soon as it is counted: memory does not grow with the store.
//! Writing goes on meanwhile; each figure is of its own moment.

use super::{Maintenance, MaintenanceError, Teller};
use crate::{
    Objects,
    address::Address,
    error::StorageError,
    grant::{Grant, Root},
    tables,
};
use jsfs_store::{Observer, Share, Store, Table, WeighError};
use serde_json::{Value, json};

/// Entries between two looks whether to go on.
const LOOK_EVERY: usize = 256;

/// What is kept besides objects: its name, and its tables.
const BESIDES: [(&str, &[Table]); 3] = [
    ("uploads", &[tables::UPLOAD]),
    (
        "programs",
        &[
            tables::PROGRAM,
            tables::DERIVED,
            tables::PROCESS,
            tables::PROCESS_MARK,
            tables::PROCESS_OUTPUT,
            tables::PROCESS_INPUT,
        ],
    ),
    ("other_nodes", &[tables::LEASE, tables::CACHED]),
];

/// What a run of entries comes to.
#[derive(Clone, Copy, Default)]
struct Sum {
    entries: u64,
    /// Plaintext bytes of objects.
    logical: u64,
    share: Share,
}

impl Sum {
    fn add(&mut self, logical: u64, share: Share) {
        self.entries += 1;
        self.logical = self.logical.saturating_add(logical);
        self.share += share;
    }

    fn absorb(&mut self, other: Sum) {
        self.entries += other.entries;
        self.logical = self.logical.saturating_add(other.logical);
        self.share += other.share;
    }
}

impl Objects {
    /// Says where the space goes. Each namespace is told as a finding.
    ///
    /// # Errors
    /// [`MaintenanceError::UnderWay`].
    pub fn weigh(&self, grant: &Grant<Root>) -> Result<Maintenance, MaintenanceError> {
        let objects = self.clone();
        self.maintain(grant, "stats", move |teller| weigh(&objects, teller))
    }
}

fn weigh(objects: &Objects, teller: &Teller) -> Result<Value, MaintenanceError> {
    let store = objects.store();
    let weights = store.weigh(teller).map_err(|error| match error {
        WeighError::CalledOff => StorageError::Stopping,
        WeighError::Read(error) => error.into(),
    })?;
    let mut work = Work { store, teller, total: weights.stored, done: 0.0 };
    let (mut all, mut current, mut versions) = (Sum::default(), 0, 0);
    let (mut namespaces, mut count) = (0_u64, 0);
    for directory in objects.namespace_directories()? {
        let newest = work.entries(tables::CURRENT, Some(&directory), logical)?;
        let older = work.entries(tables::VERSION, Some(&directory), logical)?;
        let objects = objects.counter(tables::COUNT, &directory)?;
        let mut both = newest;
        both.absorb(older);
        teller.finding(json!({
            "namespace": directory.namespace(), "objects": objects, "versions": older.entries, "logical": both.logical, "current": newest.logical,
            "unique": whole(both.share.unique), "compressed": whole(both.share.compressed), "stored": whole(both.share.stored),
        }));
        current += newest.logical;
        versions += older.entries;
        namespaces += 1;
        count += objects;
        all.absorb(both);
    }
    let mut besides = serde_json::Map::new();
    let mut told = all;
    for (name, of) in BESIDES {
        let mut sum = Sum::default();
        for table in of {
            sum.absorb(work.entries(*table, None, |_| 0)?);
        }
        besides.insert(name.to_owned(), whole(sum.share.stored).into());
        told.absorb(sum);
    }
    besides.insert("rest".to_owned(), weights.stored.saturating_sub(whole(told.share.stored)).into());
    let stats = store.stats().map_err(StorageError::from)?;
    let used: u64 = stats.locations.iter().map(|location| location.used).sum();
    let live: u64 = stats.locations.iter().map(|location| location.live).sum();
    let metadata = live.saturating_sub(weights.stored);
    Ok(json!({
        "namespaces": namespaces, "objects": count, "versions": versions, "logical": all.logical, "current": current,
        "unique": weights.unique, "compressed": weights.compressed, "blocks": weights.blocks,
        "stored": used + stats.index_bytes, "unreadable": told.share.unreadable,
        "of_objects": { "unique": whole(all.share.unique), "compressed": whole(all.share.compressed), "stored": whole(all.share.stored) },
        "disk": {
            "objects": whole(all.share.stored), "besides": besides, "records": metadata, "dead": used.saturating_sub(live), "index": stats.index_bytes,
        },
        "locations": stats.locations,
    }))
}

/// A pass over entries.
struct Work<'a> {
    store: &'a Store,
    teller: &'a Teller,
    total: u64,
    done: f64,
}

impl Work<'_> {
    /// Adds up the entries of a table, all or those below a namespace.
    fn entries(
        &mut self,
        table: Table,
        below: Option<&Address>,
        logical: impl Fn(&[u8]) -> u64,
    ) -> Result<Sum, StorageError> {
        let entries = match below {
            Some(directory) => self.store.scan(table, tables::prefix_range(tables::address_key(directory))),
            None => self.store.scan(table, ..),
        };
        let mut sum = Sum::default();
        for (at, item) in entries.enumerate() {
            if at.is_multiple_of(LOOK_EVERY) && self.teller.is_stopped() {
                return Err(StorageError::Stopping);
            }
            let (_, entry) = item?;
            let share = self.store.share(&entry.references)?;
            sum.add(logical(&entry.value), share);
            self.done += share.stored;
            self.teller.progress(whole(self.done).min(self.total), self.total);
        }
        Ok(sum)
    }
}

/// The size in the value of an object's entry; a tombstone has none.
fn logical(value: &[u8]) -> u64 {
    value.get(1..9).map_or(0, tables::counter)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A share is neither negative nor beyond what a disk holds.
fn whole(bytes: f64) -> u64 {
    bytes.round() as u64
}
