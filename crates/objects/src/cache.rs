//! What reads remember, bounded by `Settings::memory_bytes`: directories, records and short bodies, decoded and verified.
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
pub(crate) const BODY_MAX: u64 = 1 << 20;

/// A body no longer than this is kept when it is read at first; a longer one when it is read again, which few are.
const AT_ONCE_MAX: u64 = 64 << 10;

/// How many bodies there is room for at first. Few, so that the cache has few parts and the longest body fits into each.
const BODIES: usize = 128;

/// Longer bodies that were read once lately.
const ONCE: usize = 4_096;

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
    once: sync::Cache<RecordHash, ()>,
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
            bodies: sync::Cache::with_weighter(BODIES, bodies, Weigh),
            once: sync::Cache::new(ONCE),
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

    /// Whether a body that is not here is worth being read whole to be kept.
    pub(crate) fn wants_body(&self, record: &RecordHash, length: u64) -> bool {
        length <= AT_ONCE_MAX || self.once.remove(record).is_some() || {
            self.once.insert(*record, ());
            false
        }
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

#[cfg(test)]
mod tests {
    use super::{BODY_MAX, Memory};
    use bytes::Bytes;

    #[test]
    fn a_long_body_is_kept_when_it_is_asked_for_again() {
        let memory = Memory::new(16 << 20);
        let asked = [(); 3].map(|()| memory.wants_body(&[1; 32], BODY_MAX));
        assert_eq!(asked, [false, true, false]);
        assert!(memory.wants_body(&[2; 32], 1_000));
    }

    #[test]
    fn bodies_take_no_more_than_their_share() {
        let memory = Memory::new(16 << 20);
        let body = Bytes::from(vec![1; usize::try_from(BODY_MAX).unwrap_or(0)]);
        for number in 0..100_u32 {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&number.to_le_bytes());
            memory.keep_body(hash, &body);
            assert!(memory.bytes() <= 8 << 20);
        }
        assert!(memory.bytes() > 2 << 20, "most of it is used");
        memory.forget_bodies();
        assert_eq!(memory.bytes(), 0);
    }
}
