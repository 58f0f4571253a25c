//! Watching a home: what changed since a cursor, and a word when there is something new.
//!
//! A member numbers the changes of its slots and remembers the last ones, in memory. A cursor names the life of the member's log and a number
//! in it; one of another life, or of a change that is forgotten, is answered with a gap, after which the watcher lists anew. So a watcher misses
//! nothing without being told. Leases only make it quick: while one lasts, its holder is told once that something changed, until it asks again.

use super::Home;
use crate::membership::PeerId;
use jsfs_objects::read_key::Locator;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Changes that are remembered.
const CHANGES_MAX: usize = 65_536;

/// Leases at a time, and those of one member.
const LEASES_MAX: usize = 65_536;
const LEASES_OF_ONE_MAX: usize = 4_096;

/// The longest lease, ms.
pub const LEASE_MS_MAX: u64 = 600_000;

/// Locators in one answer.
pub const CHANGED_MAX: usize = 1_024;

/// A place in a member's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which log: another after each start of the member.
    pub life: u64,
    /// Changes before this number were told.
    pub next: u64,
}

#[derive(Debug)]
struct Lease {
    until_ms: u64,
    /// Whether its holder was told of something that it has not asked for yet.
    told: bool,
}

/// A member's log and who watches it.
#[derive(Debug, Default)]
pub(super) struct Watched {
    life: u64,
    /// The number of the first change that is remembered.
    first: u64,
    changes: VecDeque<(Home, Locator)>,
    leases: BTreeMap<(Home, PeerId), Lease>,
    notices: BTreeSet<(PeerId, Home)>,
}

impl Watched {
    pub(super) fn new(life: u64) -> Self {
        Self { life, ..Self::default() }
    }

    /// Takes note of a change.
    pub(super) fn changed(&mut self, home: Home, locator: Locator) {
        self.changes.push_back((home, locator));
        if self.changes.len() > CHANGES_MAX {
            self.changes.pop_front();
            self.first += 1;
        }
        let (least, most) = (PeerId::from_bytes([0; 32]), PeerId::from_bytes([0xff; 32]));
        for ((_, peer), lease) in self.leases.range_mut((home, least)..=(home, most)) {
            if !lease.told {
                lease.told = true;
                self.notices.insert((*peer, home));
            }
        }
    }

    /// What changed at a home since a cursor: where to go on, whether something is missing, and under which locators. Takes a lease, if there is
    /// room for one.
    pub(super) fn watch(
        &mut self,
        peer: PeerId,
        home: Home,
        cursor: Option<Cursor>,
        lease_ms: u64,
        now_ms: u64,
    ) -> (Cursor, bool, Vec<Locator>) {
        self.lease(peer, home, now_ms, lease_ms.min(LEASE_MS_MAX));
        let end = self.first + self.changes.len() as u64;
        let here = Cursor { life: self.life, next: end };
        let Some(cursor) = cursor else { return (here, false, Vec::new()) };
        if cursor.life != self.life || cursor.next < self.first || cursor.next > end {
            return (here, true, Vec::new());
        }
        let mut changed = BTreeSet::new();
        let skip = usize::try_from(cursor.next - self.first).unwrap_or(usize::MAX);
        for (at, (changed_home, locator)) in self.changes.iter().enumerate().skip(skip) {
            if *changed_home == home {
                if changed.len() >= CHANGED_MAX && !changed.contains(locator) {
                    let next = self.first + at as u64;
                    return (Cursor { life: self.life, next }, false, changed.into_iter().collect());
                }
                changed.insert(*locator);
            }
        }
        (here, false, changed.into_iter().collect())
    }

    fn lease(&mut self, peer: PeerId, home: Home, now_ms: u64, lease_ms: u64) {
        self.notices.remove(&(peer, home));
        if lease_ms == 0 {
            self.leases.remove(&(home, peer));
            return;
        }
        if !self.leases.contains_key(&(home, peer)) {
            if self.leases.len() >= LEASES_MAX {
                self.leases.retain(|_, lease| lease.until_ms > now_ms);
            }
            let own = self.leases.keys().filter(|(_, holder)| *holder == peer).count();
            if self.leases.len() >= LEASES_MAX || own >= LEASES_OF_ONE_MAX {
                return;
            }
        }
        self.leases.insert((home, peer), Lease { until_ms: now_ms + lease_ms, told: false });
    }

    /// Whom to tell that something changed where.
    pub(super) fn take_notices(&mut self, now_ms: u64) -> BTreeSet<(PeerId, Home)> {
        let mut notices = std::mem::take(&mut self.notices);
        notices.retain(|(peer, home)| {
            self.leases.get(&(*home, *peer)).is_some_and(|lease| lease.until_ms > now_ms)
        });
        notices
    }
}

#[cfg(test)]
mod tests {
    use super::{CHANGED_MAX, CHANGES_MAX, Cursor, Home, Locator, PeerId, Watched};

    fn locator(number: u32) -> Locator {
        Locator::from_bytes(*blake3::hash(&number.to_be_bytes()).as_bytes())
    }

    #[test]
    fn a_watcher_misses_nothing_or_is_told_of_a_gap() {
        let (peer, home, other) =
            (PeerId::from_bytes([1; 32]), Home::from_bytes([2; 32]), Home::from_bytes([3; 32]));
        let mut watched = Watched::new(7);
        watched.changed(home, locator(0));
        let (cursor, gap, changed) = watched.watch(peer, home, None, 1_000, 0);
        assert!(!gap && changed.is_empty(), "a watch begins now");
        watched.changed(other, locator(1));
        assert!(watched.take_notices(1).is_empty());
        watched.changed(home, locator(2));
        watched.changed(home, locator(2));
        assert_eq!(watched.take_notices(1).into_iter().collect::<Vec<_>>(), [(peer, home)]);
        watched.changed(home, locator(3));
        assert!(watched.take_notices(1).is_empty(), "once until it asks");
        let (next, gap, mut changed) = watched.watch(peer, home, Some(cursor), 1_000, 2);
        changed.sort_unstable();
        let mut expected = vec![locator(2), locator(3)];
        expected.sort_unstable();
        assert_eq!((gap, changed), (false, expected));
        assert!(watched.watch(peer, home, Some(next), 1_000, 3).2.is_empty());
        watched.changed(home, locator(3));
        assert!(watched.take_notices(1_003).is_empty(), "the lease is over");
        assert!(watched.watch(peer, home, Some(Cursor { life: 6, ..next }), 0, 3).1, "another life");
        watched.changed(home, locator(4));
        assert!(watched.take_notices(1).is_empty(), "the lease was given up");
        for number in 0..=u32::try_from(CHANGES_MAX).unwrap() {
            watched.changed(home, locator(number));
        }
        assert!(watched.watch(peer, home, Some(next), 0, 6).1, "forgotten changes are a gap");
    }

    #[test]
    fn many_changes_come_in_several_answers() {
        let (peer, home) = (PeerId::from_bytes([1; 32]), Home::from_bytes([2; 32]));
        let mut watched = Watched::new(1);
        let (mut cursor, ..) = watched.watch(peer, home, None, 0, 0);
        for number in 0..3_000 {
            watched.changed(home, locator(number));
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let (next, gap, changed) = watched.watch(peer, home, Some(cursor), 0, 0);
            assert!(!gap && changed.len() <= CHANGED_MAX);
            seen.extend(changed);
            cursor = next;
        }
        assert_eq!(seen.len(), 3_000);
    }
}
