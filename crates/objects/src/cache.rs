//! What reads remember, bounded by `Settings::memory_bytes`: directories, records and small bodies, decoded and verified.
//!
//! A directory or record is used only while its stamp says that the entry is as it was when it was read (`jsfs_store::Stamp`), which ends before a
//! change can be seen; so what was replaced, deleted, made private or revoked is never served from here. Authority is decided for each request
//! anew, on these. Records of private objects are kept apart from those that everybody may read: a refusal looks at the latter alone, so that how
//! long it takes does not tell which of them are there. Bodies are kept by the hash of their record, which nobody can have two of, and only whole and verified.

use crate::{address::Address, chain::Above, record::RecordHash, tables::Stored};
use bytes::Bytes;
use jsfs_store::{Stamp, Store};
use quick_cache::{Weighter, sync};
use std::sync::Arc;

/// The largest body that is kept.
pub(crate) const BODY_MAX: u64 = 64 << 10;

/// What an entry takes beside what it says of itself.
const ENTRY_BYTES: u64 = 512;

/// What is decoded takes so many times its encoding.
const DECODED: u64 = 4;

/// Shares of the bound: bodies take half, records three eighths, directories the rest.
const SHARES: u64 = 8;

#[derive(Clone)]
pub(crate) struct Weigh;

impl Weighter<Address, Arc<Above>> for Weigh {
    fn weight(&self, address: &Address, above: &Arc<Above>) -> u64 {
        ENTRY_BYTES + address.as_str().len() as u64 + DECODED * above.bytes
    }
}

impl Weighter<(Address, bool), Current> for Weigh {
    fn weight(&self, (address, _): &(Address, bool), current: &Current) -> u64 {
        ENTRY_BYTES + address.as_str().len() as u64 + DECODED * current.stored.value.len() as u64
    }
}

impl Weighter<RecordHash, Bytes> for Weigh {
    fn weight(&self, _: &RecordHash, body: &Bytes) -> u64 {
        ENTRY_BYTES + body.len() as u64
    }
}

/// A record with the stamp of its entry.
#[derive(Clone)]
pub(crate) struct Current {
    stored: Arc<Stored>,
    stamp: Stamp,
}

/// The three memories of one object layer.
pub(crate) struct Memory {
    directories: sync::Cache<Address, Arc<Above>, Weigh>,
    /// By address, and whether it is private.
    records: sync::Cache<(Address, bool), Current, Weigh>,
    bodies: sync::Cache<RecordHash, Bytes, Weigh>,
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Self {
        let share = bytes / SHARES;
        // The number of entries only sizes tables, which grow.
        let entries =
            |bytes: u64| usize::try_from(bytes / (8 * ENTRY_BYTES)).unwrap_or(usize::MAX).min(1 << 14);
        let (directories, records, bodies) = (share, 3 * share, 4 * share);
        Self {
            directories: sync::Cache::with_weighter(entries(directories), directories, Weigh),
            records: sync::Cache::with_weighter(entries(records), records, Weigh),
            bodies: sync::Cache::with_weighter(entries(bodies), bodies, Weigh),
        }
    }

    /// What lies above everything in a directory, if none of it has changed.
    pub(crate) fn above(&self, store: &Store, directory: &Address) -> Option<Arc<Above>> {
        self.directories
            .get(directory)
            .filter(|above| above.stamps.iter().all(|stamp| store.is_current(*stamp)))
    }

    pub(crate) fn keep_above(&self, directory: Address, above: &Arc<Above>) {
        // One stamp for each directory, or something was changing while it was read.
        if above.stamps.len() == above.seen.len() {
            self.directories.insert(directory, Arc::clone(above));
        }
    }

    /// The newest version at an address, if it is private, or if it is not, and has not changed.
    pub(crate) fn record(&self, store: &Store, address: &Address, is_private: bool) -> Option<Arc<Stored>> {
        let current = self.records.get(&(address.clone(), is_private))?;
        store.is_current(current.stamp).then_some(current.stored)
    }

    pub(crate) fn keep_record(&self, address: Address, stored: &Arc<Stored>, stamp: Option<Stamp>) {
        if let Some(stamp) = stamp {
            let is_private = !stored.is_public();
            self.records.insert((address, is_private), Current { stored: Arc::clone(stored), stamp });
        }
    }

    /// All bytes of the version that a record is of.
    pub(crate) fn body(&self, record: &RecordHash) -> Option<Bytes> {
        self.bodies.get(record)
    }

    pub(crate) fn keep_body(&self, record: RecordHash, body: &Bytes) {
        self.bodies.insert(record, body.clone());
    }

    /// Forgets bytes of all objects: some were purged.
    pub(crate) fn forget_bodies(&self) {
        self.bodies.clear();
    }

    /// How much is kept, as it is weighed.
    #[cfg(test)]
    fn bytes(&self) -> u64 {
        self.directories.weight() + self.records.weight() + self.bodies.weight()
    }
}
