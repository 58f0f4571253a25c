//! Stamps: whether an entry may have changed since it was looked at, without looking again.
//!
//! Every change of an entry moves a counter before a reader can see the change, so who keeps what was made of an entry keeps its stamp too and asks
//! for it first. Entries share counters by their hash: a stamp that is out of date may only mean that another entry changed.

use crate::rows::ENTRY;
use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
};

/// Counters, 8 bytes each. More of them only let more of what is kept outlive a burst of writes.
const COUNTERS: usize = 1 << 15;

/// When an entry was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    counter: u32,
    count: u64,
}

/// The counters of one index.
pub(crate) struct Stamps {
    hasher: RandomState,
    counters: Box<[AtomicU64]>,
    /// Changes that have moved their counters and are not all visible yet.
    applying: AtomicUsize,
}

impl Default for Stamps {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            applying: AtomicUsize::new(0),
        }
    }
}

impl Stamps {
    fn counter(&self, key: &[u8]) -> u32 {
        // The remainder is below 2^15.
        u32::try_from(self.hasher.hash_one(key) % COUNTERS as u64).unwrap_or(0)
    }

    /// A stamp for an entry that is about to be read; none while changes become visible, when what is read may be either.
    pub(crate) fn stamp(&self, key: &[u8]) -> Option<Stamp> {
        let counter = self.counter(key);
        // In this order: a change that moved the counter before this look is either still under way or seen by whoever reads after it.
        let count = self.counters[counter as usize].load(SeqCst);
        (self.applying.load(SeqCst) == 0).then_some(Stamp { counter, count })
    }

    /// Whether the entry is as it was.
    pub(crate) fn is_current(&self, stamp: Stamp) -> bool {
        self.counters[stamp.counter as usize].load(SeqCst) == stamp.count
    }

    /// Entries among these rows change from here until the answer is dropped.
    pub(crate) fn begin<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Applying<'_> {
        self.applying.fetch_add(1, SeqCst);
        for key in keys.filter(|key| key.first() == Some(&ENTRY)) {
            self.counters[self.counter(key) as usize].fetch_add(1, SeqCst);
        }
        Applying(self)
    }
}

/// Changes that become visible.
pub(crate) struct Applying<'s>(&'s Stamps);

impl Drop for Applying<'_> {
    fn drop(&mut self) {
        self.0.applying.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::{ENTRY, Stamps};

    #[test]
    fn a_stamp_ends_before_its_entry_changes_and_none_is_given_meanwhile() {
        let stamps = Stamps::default();
        let keys: [&[u8]; 2] = [&[ENTRY, 1], &[b'b', 1]];
        let before = keys.map(|key| stamps.stamp(key).expect("nothing changes"));
        let applying = stamps.begin(keys.into_iter());
        assert!(!stamps.is_current(before[0]), "the entry may be another at any moment");
        assert!(stamps.is_current(before[1]), "blocks have no stamps");
        assert_eq!(stamps.stamp(keys[0]), None, "a reader could still see the old one");
        drop(applying);
        let after = stamps.stamp(keys[0]).expect("nothing changes");
        assert!(stamps.is_current(after) && after != before[0]);
    }
}
