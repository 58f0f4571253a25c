//! What of the metastore is known here to be as it was read: homes that enough replicas watch for this node.
//!
//! A home is **observed** once as many replicas hold a lease for it as meet every acknowledged write. What is read after that is **fresh** until one of them says that
//! something changed, the connection to one of those that are needed ends, members change, or the lease does. A restart forgets all of it, which costs reading again.
//!
//! What was read of a group is remembered by the cursors of those that told: whoever observes it again asks them for what has changed, and reads that alone. All of it is
//! read from time to time all the same: what only few replicas had when it was read, and more have since, can have come to one that was not asked.
//!
//! A group that is cut is observed as its home and those of its shards, and is fresh as long as all of them are.
//!
//! Homes that are observed are bounded. The oldest makes room, as it does at the members that gave the lease: these keep more of a member's than it has itself, by as
//! many as can be on their way at once, so none that counts here is over there.

use super::streams::ASKED_MAX;
use jsfs_federation::membership::PeerId;
use jsfs_federation::metastore::{Cursor, Home, LEASE_MS_MAX, LEASES_OF_ONE_MAX};
use jsfs_objects::read_key::Locator;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Homes that are observed at a time.
const HOMES_MAX: usize = 3_000;

const _: () = assert!(HOMES_MAX + ASKED_MAX < LEASES_OF_ONE_MAX);

/// A lease counts for less here than at who gave it, since clocks begin at different times.
const LEASE_TIME: Duration = Duration::from_millis(LEASE_MS_MAX - 5_000);

/// Homes of groups of which it is remembered how far they were read.
const READ_MAX: usize = HOMES_MAX;

/// How long that counts after all of a group was read.
const READ_TIME: Duration = Duration::from_millis(LEASE_MS_MAX);

/// An observation that was begun; what is read before it ends is not marked by it.
pub type Ticket = u64;

/// What was read of a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The versions under it as a locator.
    Versions,
    /// The entries of it as a group.
    Entries,
}

#[derive(Debug)]
struct Lease {
    ticket: Ticket,
    /// Those that tell, and where their logs were when it began.
    peers: Vec<(PeerId, Cursor)>,
    needed: usize,
    until: Instant,
    members: u64,
    /// When all of it was read, or begun to be.
    read_at: Instant,
    versions: bool,
    entries: bool,
    told: Told,
    /// Of a group that is cut, the homes of its shards, and how they are observed.
    shards: Vec<(Home, Ticket)>,
}

/// What those that tell of a home said when that began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// What has changed since its entries were read last; none if that is not known.
    pub(crate) changed: Option<Vec<Locator>>,
    /// Whether it is cut.
    pub(crate) cut: bool,
}

impl Lease {
    fn holds(&self) -> bool {
        self.needed > 0 && self.peers.len() >= self.needed && self.until > Instant::now()
    }
}

/// How far a group was read.
#[derive(Debug)]
struct Read {
    cursors: Vec<(PeerId, Cursor)>,
    at: Instant,
    members: u64,
}

/// Homes, and in which order they were taken.
#[derive(Debug, Default)]
struct Observed {
    last: Ticket,
    leases: HashMap<Home, Lease>,
    order: BTreeMap<Ticket, Home>,
    read: HashMap<Home, Read>,
}

impl Observed {
    fn insert(&mut self, home: Home, members: u64) -> Ticket {
        self.remove(&home);
        if self.order.len() >= HOMES_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.leases.remove(&oldest);
        }
        self.last += 1;
        let (ticket, now) = (self.last, Instant::now());
        self.order.insert(ticket, home);
        let lease = Lease {
            ticket,
            peers: Vec::new(),
            needed: 0,
            until: now + LEASE_TIME,
            members,
            read_at: now,
            versions: false,
            entries: false,
            told: Told::default(),
            shards: Vec::new(),
        };
        self.leases.insert(home, lease);
        ticket
    }

    /// Remembers how far a group was read.
    fn keep_read(&mut self, home: Home, read: Read) {
        if self.read.len() >= READ_MAX && !self.read.contains_key(&home) {
            self.read.retain(|_, read| read.at.elapsed() < READ_TIME);
            if let Some(any) = self.read.keys().next().copied().filter(|_| self.read.len() >= READ_MAX) {
                self.read.remove(&any);
            }
        }
        self.read.insert(home, read);
    }

    /// All that a group lists at a home has been read.
    fn settle_entries(&mut self, home: Home, ticket: Ticket) {
        let lease = self.leases.get_mut(&home);
        let Some(lease) = lease.filter(|lease| lease.ticket == ticket && lease.holds()) else { return };
        lease.entries = true;
        lease.told.changed = Some(Vec::new());
        let (cursors, at, members) = (lease.peers.clone(), lease.read_at, lease.members);
        self.keep_read(home, Read { cursors, at, members });
    }

    fn remove(&mut self, home: &Home) {
        if let Some(lease) = self.leases.remove(home) {
            self.order.remove(&lease.ticket);
        }
    }

    /// Forgets those that are so; says whether there were any.
    fn remove_all(&mut self, is_over: impl Fn(&Lease) -> bool) -> bool {
        let over = self.leases.iter().filter(|(_, lease)| is_over(lease));
        let over: Vec<Home> = over.map(|(home, _)| *home).collect();
        over.iter().for_each(|home| self.remove(home));
        !over.is_empty()
    }
}

/// The homes that are observed.
#[derive(Debug)]
pub(crate) struct Leases {
    observed: Mutex<Observed>,
    stale: watch::Sender<u64>,
}

impl Default for Leases {
    fn default() -> Self {
        Self { observed: Mutex::default(), stale: watch::channel(0).0 }
    }
}

impl Leases {
    fn locked(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_fresh(&self, home: &Home, reading: Reading) -> bool {
        let observed = self.locked();
        let lease = observed.leases.get(home).filter(|lease| lease.holds());
        lease.is_some_and(|lease| match reading {
            Reading::Versions => lease.versions,
            Reading::Entries => {
                let mut shards =
                    lease.shards.iter().map(|(home, ticket)| (observed.leases.get(home), ticket));
                lease.entries
                    && shards.all(|(shard, ticket)| {
                        shard.is_some_and(|shard| shard.ticket == *ticket && shard.holds() && shard.entries)
                    })
            }
        })
    }

    /// The ticket of a home that is observed already by as many as are needed, and what they told.
    pub(crate) fn ticket(&self, home: &Home, needed: usize) -> Option<(Ticket, Told)> {
        let observed = self.locked();
        let lease = observed.leases.get(home).filter(|lease| lease.holds() && lease.needed >= needed);
        lease.map(|lease| (lease.ticket, lease.told.clone()))
    }

    /// Takes note that a group is fresh only as long as these shards are. None where something has changed meanwhile. Who reads a group sees to it that nobody else does
    /// until it is settled.
    pub(crate) fn bind(&self, home: &Home, ticket: Ticket, shards: Vec<(Home, Ticket)>) -> Option<Ticket> {
        let mut observed = self.locked();
        let lease = observed.leases.get_mut(home).filter(|lease| lease.ticket == ticket)?;
        lease.shards = shards;
        Some(ticket)
    }

    /// Begins to observe. The leases are asked for next, so that they come to be everywhere in about this order.
    pub(crate) fn begin(&self, home: Home, members: u64) -> Ticket {
        self.locked().insert(home, members)
    }

    /// Up to where a group was read, at each of those that told then.
    pub(crate) fn read_until(&self, home: &Home, members: u64) -> Vec<(PeerId, Cursor)> {
        let observed = self.locked();
        let read =
            observed.read.get(home).filter(|read| read.members == members && read.at.elapsed() < READ_TIME);
        read.map(|read| read.cursors.clone()).unwrap_or_default()
    }

    /// Takes note of who tells, and whether they have told what changed since it was read. None where they are too few, or something has changed meanwhile.
    pub(crate) fn granted(
        &self,
        home: &Home,
        ticket: Ticket,
        peers: Vec<(PeerId, Cursor)>,
        needed: usize,
        told: Told,
    ) -> Option<Ticket> {
        let mut observed = self.locked();
        let read_at = observed.read.get(home).map(|read| read.at).filter(|_| told.changed.is_some());
        let lease = observed.leases.get_mut(home).filter(|lease| lease.ticket == ticket)?;
        (lease.peers, lease.needed, lease.told) = (peers, needed, told);
        lease.read_at = read_at.unwrap_or(lease.read_at);
        lease.holds().then_some(ticket)
    }

    pub(crate) fn settle(&self, home: &Home, ticket: Ticket, reading: Reading) {
        let mut observed = self.locked();
        let lease = observed.leases.get_mut(home);
        let Some(lease) = lease.filter(|lease| lease.ticket == ticket && lease.holds()) else { return };
        match reading {
            Reading::Versions => lease.versions = true,
            Reading::Entries => {
                let shards = lease.shards.clone();
                for (home, ticket) in shards.into_iter().chain([(*home, ticket)]) {
                    observed.settle_entries(home, ticket);
                }
            }
        }
    }

    /// What is known of a home is not to be believed, nor of its shards.
    pub(crate) fn distrust(&self, home: &Home) {
        let mut observed = self.locked();
        let shards = observed.leases.get(home).map(|lease| lease.shards.clone()).unwrap_or_default();
        shards.iter().for_each(|(shard, _)| observed.remove(shard));
        drop(observed);
        self.changed(home);
    }

    /// Something changed at a home. Whoever is reading it now has a ticket that counts no more.
    pub(crate) fn changed(&self, home: &Home) {
        self.locked().remove(home);
        self.stale.send_modify(|count| *count += 1);
    }

    /// A member is connected no more: it tells nothing.
    pub(crate) fn lost(&self, gone: impl Fn(&PeerId) -> bool) {
        let mut observed = self.locked();
        for lease in observed.leases.values_mut() {
            lease.peers.retain(|(peer, _)| !gone(peer));
        }
        let broken = observed.remove_all(|lease| lease.needed > 0 && !lease.holds());
        drop(observed);
        if broken {
            self.stale.send_modify(|count| *count += 1);
        }
    }

    /// Records are placed at others now.
    pub(crate) fn members_changed(&self, members: u64) {
        self.locked().remove_all(|lease| lease.members != members);
        self.stale.send_modify(|count| *count += 1);
    }

    pub(crate) fn stale(&self) -> watch::Receiver<u64> {
        self.stale.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, HOMES_MAX, Leases, READ_TIME, Reading, Told};
    use jsfs_federation::membership::PeerId;
    use jsfs_federation::metastore::Home;
    use std::time::Duration;

    const HERE: Cursor = Cursor { life: 1, next: 7 };

    /// What is told of a home of which nothing was known.
    fn anew() -> Told {
        Told::default()
    }

    /// What is told of one where nothing has changed since it was read.
    fn the_same() -> Told {
        Told { changed: Some(Vec::new()), cut: false }
    }

    fn told(peers: Vec<PeerId>) -> Vec<(PeerId, Cursor)> {
        peers.into_iter().map(|peer| (peer, HERE)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn how_far_a_group_was_read_outlasts_its_lease_but_not_its_members_nor_its_time() {
        let (leases, home, peer) =
            (Leases::default(), Home::from_bytes([7; 32]), PeerId::from_bytes([1; 32]));
        let read = |goes_on| {
            let ticket = leases.begin(home, 1);
            assert!(
                leases
                    .granted(&home, ticket, told(vec![peer]), 1, if goes_on { the_same() } else { anew() })
                    .is_some()
            );
            leases.settle(&home, ticket, Reading::Entries);
        };
        assert_eq!(leases.read_until(&home, 1), []);
        read(false);
        leases.changed(&home);
        assert!(!leases.is_fresh(&home, Reading::Entries));
        assert_eq!(leases.read_until(&home, 1), [(peer, HERE)]);
        assert_eq!(leases.read_until(&home, 2), [], "others keep it now");
        // However often it is read on, all of it is read again after a time.
        tokio::time::advance(READ_TIME / 2).await;
        read(true);
        tokio::time::advance(READ_TIME / 2 - Duration::from_secs(1)).await;
        assert_eq!(leases.read_until(&home, 1), [(peer, HERE)]);
        read(true);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(leases.read_until(&home, 1), []);
        read(false);
        assert_eq!(leases.read_until(&home, 1), [(peer, HERE)]);
        // Versions say nothing of what lies in a group.
        let other = Home::from_bytes([8; 32]);
        let ticket = leases.begin(other, 1);
        assert!(leases.granted(&other, ticket, told(vec![peer]), 1, anew()).is_some());
        leases.settle(&other, ticket, Reading::Versions);
        assert_eq!(leases.read_until(&other, 1), []);
    }

    #[test]
    fn what_was_read_is_fresh_until_somebody_says_otherwise_or_cannot() {
        let (leases, home) = (Leases::default(), Home::from_bytes([7; 32]));
        let peer = |number| PeerId::from_bytes([number; 32]);
        let observe =
            |peers: Vec<PeerId>| leases.granted(&home, leases.begin(home, 1), told(peers), 2, anew());
        assert_eq!(observe(vec![peer(1)]), None, "too few");
        let ticket = observe(vec![peer(1), peer(2)]).unwrap_or_default();
        assert!(!leases.is_fresh(&home, Reading::Versions), "not read yet");
        leases.settle(&home, ticket, Reading::Versions);
        assert!(leases.is_fresh(&home, Reading::Versions) && !leases.is_fresh(&home, Reading::Entries));
        leases.changed(&home);
        assert!(!leases.is_fresh(&home, Reading::Versions));
        leases.settle(&home, ticket, Reading::Versions);
        assert!(!leases.is_fresh(&home, Reading::Versions), "what was read before the change");
        let ticket = observe(vec![peer(1), peer(2), peer(3)]).unwrap_or_default();
        leases.settle(&home, ticket, Reading::Entries);
        leases.lost(|gone| *gone == peer(3));
        assert!(leases.is_fresh(&home, Reading::Entries), "two are enough");
        leases.lost(|gone| *gone == peer(1));
        assert!(!leases.is_fresh(&home, Reading::Entries));
        let ticket = observe(vec![peer(1), peer(2)]).unwrap_or_default();
        leases.settle(&home, ticket, Reading::Entries);
        leases.members_changed(2);
        assert!(!leases.is_fresh(&home, Reading::Entries));
    }

    #[test]
    fn a_group_that_is_cut_is_fresh_as_long_as_all_of_its_shards_are() {
        let (leases, peer) = (Leases::default(), PeerId::from_bytes([1; 32]));
        let [whole, shard, other] = [7, 8, 9].map(|number| Home::from_bytes([number; 32]));
        let observe = |home: Home| {
            leases.granted(&home, leases.begin(home, 1), told(vec![peer]), 1, anew()).unwrap_or_default()
        };
        let [ticket, first, second] = [whole, shard, other].map(observe);
        let fresh = |home: &Home| leases.is_fresh(home, Reading::Entries);
        assert!(leases.bind(&whole, ticket, vec![(shard, first), (other, second)]).is_some());
        assert!(!fresh(&whole));
        leases.settle(&whole, ticket, Reading::Entries);
        assert!(fresh(&whole) && fresh(&shard) && fresh(&other));
        leases.changed(&shard);
        assert!(!fresh(&whole) && !fresh(&shard) && fresh(&other), "something is new in one of them");
        assert_eq!(leases.read_until(&shard, 1), [(peer, HERE)]);
        let first = observe(shard);
        leases.settle(&shard, first, Reading::Entries);
        assert!(!fresh(&whole), "the group was not read with it");
        assert!(leases.bind(&whole, ticket, vec![(shard, first), (other, second)]).is_some());
        leases.settle(&whole, ticket, Reading::Entries);
        assert!(fresh(&whole));
        leases.distrust(&whole);
        assert!(!fresh(&whole) && !fresh(&shard) && !fresh(&other));
        assert!(leases.bind(&whole, ticket, Vec::new()).is_none());
    }

    #[test]
    fn however_much_is_read_and_written_what_was_read_last_is_fresh() {
        let (leases, peer) = (Leases::default(), PeerId::from_bytes([1; 32]));
        let home = |number: usize| Home::from_bytes(*blake3::hash(&number.to_be_bytes()).as_bytes());
        let read = |number| {
            let ticket = leases.begin(home(number), 1);
            assert!(leases.granted(&home(number), ticket, told(vec![peer]), 1, anew()).is_some());
            leases.settle(&home(number), ticket, Reading::Versions);
            assert!(leases.is_fresh(&home(number), Reading::Versions), "{number}");
        };
        for number in 0..2 * HOMES_MAX {
            read(number);
        }
        let fresh = |range: std::ops::Range<usize>| {
            range.filter(|number| leases.is_fresh(&home(*number), Reading::Versions)).count()
        };
        assert_eq!((fresh(0..HOMES_MAX), fresh(HOMES_MAX..2 * HOMES_MAX)), (0, HOMES_MAX));
        // What changed takes no place.
        (0..HOMES_MAX).for_each(|number| {
            read(number);
            leases.changed(&home(number));
        });
        let observed = leases.locked();
        assert_eq!((observed.leases.len(), observed.order.len()), (HOMES_MAX - 1, HOMES_MAX - 1));
    }
}
