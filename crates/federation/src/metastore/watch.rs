//! Watching a home: what changed since a cursor, and a word when there is something new.
//!
//! A member numbers the changes of its slots and remembers the last ones, in memory. A cursor names the life of the member's log and a number
//! in it; one of another life, or of a change that is forgotten, is answered with a gap, after which the watcher lists anew. So a watcher misses
//! nothing without being told. Leases only make it quick: one ends when its holder is told that something changed, or at its time. Of more than one member may
//! have, its oldest ends, as it does at the holder; where all are too many, none is given, and the holder is told so.

use super::Home;
use crate::membership::PeerId;
use jsfs_objects::read_key::Locator;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Changes that are remembered.
const CHANGES_MAX: usize = 65_536;

/// Leases at a time.
const LEASES_MAX: usize = 65_536;

/// Leases of one member at a time: those that it asked for last.
pub const LEASES_OF_ONE_MAX: usize = 4_096;

/// How often those that are over are looked for while there are as many as may be, ms.
const SWEEP_MS: u64 = 1_000;

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
    /// Its number among all that were given.
    given: u64,
}

/// A member's log and who watches it.
#[derive(Debug, Default)]
pub(super) struct Watched {
    life: u64,
    /// The number of the first change that is remembered.
    first: u64,
    changes: VecDeque<(Home, Locator)>,
    leases: BTreeMap<(Home, PeerId), Lease>,
    /// Those of each member, oldest first.
    held: HashMap<PeerId, BTreeMap<u64, Home>>,
    given: u64,
    swept_ms: u64,
    /// Whom to tell, and until when.
    notices: BTreeMap<(PeerId, Home), u64>,
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
        self.wake(home);
    }

    /// Tells those who watch a home that it is not as it was.
    pub(super) fn wake(&mut self, home: Home) {
        let (least, most) = (PeerId::from_bytes([0; 32]), PeerId::from_bytes([0xff; 32]));
        let holders = self.leases.range((home, least)..=(home, most)).map(|((_, peer), _)| *peer);
        for peer in holders.collect::<Vec<_>>() {
            if let Some(lease) = self.end(peer, home) {
                self.notices.insert((peer, home), lease.until_ms);
            }
        }
    }

    /// What changed at a home since a cursor: where to go on, whether something is missing, and under which locators. None if a lease is asked for that there is
    /// no room for.
    pub(super) fn watch(
        &mut self,
        peer: PeerId,
        home: Home,
        cursor: Option<Cursor>,
        lease_ms: u64,
        now_ms: u64,
    ) -> Option<(Cursor, bool, Vec<Locator>)> {
        self.notices.remove(&(peer, home));
        self.end(peer, home);
        if lease_ms > 0 && !self.lease(peer, home, now_ms, lease_ms.min(LEASE_MS_MAX)) {
            return None;
        }
        Some(self.since(home, cursor))
    }

    fn since(&self, home: Home, cursor: Option<Cursor>) -> (Cursor, bool, Vec<Locator>) {
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

    fn lease(&mut self, peer: PeerId, home: Home, now_ms: u64, lease_ms: u64) -> bool {
        let held = self.held.get(&peer);
        if let Some((_, oldest)) =
            held.filter(|held| held.len() >= LEASES_OF_ONE_MAX).and_then(BTreeMap::first_key_value)
        {
            self.end(peer, *oldest);
        } else if self.leases.len() >= LEASES_MAX {
            self.sweep(now_ms);
            if self.leases.len() >= LEASES_MAX {
                return false;
            }
        }
        self.given += 1;
        self.held.entry(peer).or_default().insert(self.given, home);
        self.leases.insert((home, peer), Lease { until_ms: now_ms + lease_ms, given: self.given });
        true
    }

    fn end(&mut self, peer: PeerId, home: Home) -> Option<Lease> {
        let lease = self.leases.remove(&(home, peer))?;
        if let Some(held) = self.held.get_mut(&peer) {
            held.remove(&lease.given);
            if held.is_empty() {
                self.held.remove(&peer);
            }
        }
        Some(lease)
    }

    fn sweep(&mut self, now_ms: u64) {
        if now_ms < self.swept_ms + SWEEP_MS {
            return;
        }
        self.swept_ms = now_ms;
        let over = self.leases.iter().filter(|(_, lease)| lease.until_ms <= now_ms);
        for (home, peer) in over.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.end(peer, home);
        }
    }

    /// Whom to tell that something changed where.
    pub(super) fn take_notices(&mut self, now_ms: u64) -> BTreeSet<(PeerId, Home)> {
        let notices = std::mem::take(&mut self.notices).into_iter();
        notices.filter(|(_, until_ms)| *until_ms > now_ms).map(|(whom, _)| whom).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        CHANGED_MAX, CHANGES_MAX, Cursor, Home, LEASES_MAX, LEASES_OF_ONE_MAX, Locator, PeerId, Watched,
    };

    fn locator(number: u32) -> Locator {
        Locator::from_bytes(*blake3::hash(&number.to_be_bytes()).as_bytes())
    }

    #[test]
    fn a_watcher_misses_nothing_or_is_told_of_a_gap() {
        let (peer, home, other) =
            (PeerId::from_bytes([1; 32]), Home::from_bytes([2; 32]), Home::from_bytes([3; 32]));
        let mut watched = Watched::new(7);
        watched.changed(home, locator(0));
        let (cursor, gap, changed) = watched.watch(peer, home, None, 1_000, 0).unwrap();
        assert!(!gap && changed.is_empty(), "a watch begins now");
        watched.changed(other, locator(1));
        assert!(watched.take_notices(1).is_empty());
        watched.changed(home, locator(2));
        watched.changed(home, locator(2));
        assert_eq!(watched.take_notices(1).into_iter().collect::<Vec<_>>(), [(peer, home)]);
        watched.changed(home, locator(3));
        assert!(watched.take_notices(1).is_empty(), "once until it asks");
        let (next, gap, mut changed) = watched.watch(peer, home, Some(cursor), 1_000, 2).unwrap();
        changed.sort_unstable();
        let mut expected = vec![locator(2), locator(3)];
        expected.sort_unstable();
        assert_eq!((gap, changed), (false, expected));
        assert!(watched.watch(peer, home, Some(next), 1_000, 3).unwrap().2.is_empty());
        watched.changed(home, locator(3));
        assert!(watched.take_notices(1_003).is_empty(), "the lease is over");
        assert!(watched.watch(peer, home, Some(Cursor { life: 6, ..next }), 0, 3).unwrap().1, "another life");
        watched.changed(home, locator(4));
        assert!(watched.take_notices(1).is_empty(), "the lease was given up");
        for number in 0..=u32::try_from(CHANGES_MAX).unwrap() {
            watched.changed(home, locator(number));
        }
        assert!(watched.watch(peer, home, Some(next), 0, 6).unwrap().1, "forgotten changes are a gap");
    }

    #[test]
    fn many_changes_come_in_several_answers() {
        let (peer, home) = (PeerId::from_bytes([1; 32]), Home::from_bytes([2; 32]));
        let mut watched = Watched::new(1);
        let (mut cursor, ..) = watched.watch(peer, home, None, 0, 0).unwrap();
        for number in 0..3_000 {
            watched.changed(home, locator(number));
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let (next, gap, changed) = watched.watch(peer, home, Some(cursor), 0, 0).unwrap();
            assert!(!gap && changed.len() <= CHANGED_MAX);
            seen.extend(changed);
            cursor = next;
        }
        assert_eq!(seen.len(), 3_000);
    }

    #[test]
    fn who_was_told_or_has_more_than_it_may_makes_room_and_nobody_believes_in_a_lease_that_there_is_not() {
        let peer = |number: usize| PeerId::from_bytes(*blake3::hash(&number.to_be_bytes()).as_bytes());
        let home = |number: usize| Home::from_bytes(*blake3::hash(&number.to_be_bytes()).as_bytes());
        let told = |watched: &mut Watched, at: usize| {
            watched.changed(home(at), locator(0));
            !watched.take_notices(1).is_empty()
        };
        let mut watched = Watched::new(1);
        let one = peer(0);
        // Many that are told of take no place.
        for number in 0..2 * LEASES_OF_ONE_MAX {
            assert!(watched.watch(one, home(number), None, 1_000, 0).is_some());
            assert!(told(&mut watched, number), "{number}");
        }
        assert_eq!((watched.leases.len(), watched.held.len()), (0, 0));
        // Of those that nothing happens to, the newest stay.
        for number in 0..LEASES_OF_ONE_MAX + 10 {
            assert!(watched.watch(one, home(number), None, 1_000, 0).is_some());
        }
        assert!(!told(&mut watched, 0) && !told(&mut watched, 9));
        assert!(told(&mut watched, 10) && told(&mut watched, LEASES_OF_ONE_MAX + 9));
        // With all that there may be, who comes is told that it has none, until others are over.
        let others = LEASES_MAX / LEASES_OF_ONE_MAX;
        for number in 0..others * LEASES_OF_ONE_MAX {
            watched.watch(peer(1 + number % others), home(number), None, 1_000, 0);
        }
        assert_eq!(watched.leases.len(), LEASES_MAX);
        assert_eq!(watched.watch(peer(others + 1), home(0), None, 1_000, 500), None);
        assert!(watched.watch(peer(others + 1), home(0), None, 0, 500).is_some(), "to ask is free");
        assert!(watched.watch(peer(others + 1), home(0), None, 1_000, 1_500).is_some());
    }
}
