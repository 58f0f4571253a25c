//! What of the metastore is known here to be as it was read: homes that enough replicas watch for this node.
//!
//! A home is **observed** once as many replicas hold a lease for it as meet every acknowledged write. What is read after that is **fresh** until one of them says that
//! something changed, the connection to one of those that are needed ends, members change, or the lease does. A restart forgets all of it, which costs reading again.

use jsfs_federation::membership::PeerId;
use jsfs_federation::metastore::{Home, LEASE_MS_MAX};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Homes that are observed at a time: a member keeps 4,096 leases of one other.
const HOMES_MAX: usize = 3_500;

/// A lease counts for less here than at who gave it, since clocks begin at different times.
const LEASE_TIME: Duration = Duration::from_millis(LEASE_MS_MAX - 5_000);

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
    /// Those that tell.
    peers: Vec<PeerId>,
    needed: usize,
    until: Instant,
    members: u64,
    versions: bool,
    entries: bool,
}

impl Lease {
    fn holds(&self) -> bool {
        self.needed > 0 && self.peers.len() >= self.needed && self.until > Instant::now()
    }

    fn is_broken(&mut self) {
        self.needed = 0;
        (self.versions, self.entries) = (false, false);
    }
}

/// The homes that are observed.
#[derive(Debug)]
pub(crate) struct Leases {
    homes: Mutex<(Ticket, HashMap<Home, Lease>)>,
    stale: watch::Sender<u64>,
}

impl Default for Leases {
    fn default() -> Self {
        Self { homes: Mutex::default(), stale: watch::channel(0).0 }
    }
}

impl Leases {
    fn locked(&self) -> MutexGuard<'_, (Ticket, HashMap<Home, Lease>)> {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_fresh(&self, home: &Home, reading: Reading) -> bool {
        self.locked().1.get(home).is_some_and(|lease| {
            lease.holds()
                && match reading {
                    Reading::Versions => lease.versions,
                    Reading::Entries => lease.entries,
                }
        })
    }

    /// The ticket of a home that is observed already by as many as are needed.
    pub(crate) fn ticket(&self, home: &Home, needed: usize) -> Option<Ticket> {
        let homes = self.locked();
        homes.1.get(home).filter(|lease| lease.holds() && lease.needed >= needed).map(|lease| lease.ticket)
    }

    /// Begins to observe; none where as many are as may be.
    pub(crate) fn begin(&self, home: Home, members: u64) -> Option<Ticket> {
        let mut homes = self.locked();
        homes.0 += 1;
        let ticket = homes.0;
        if homes.1.len() >= HOMES_MAX && !homes.1.contains_key(&home) {
            let now = Instant::now();
            // What is over here is over at those that gave it a moment later.
            homes.1.retain(|_, lease| lease.until + 2 * (LEASE_TIME / 100) > now);
            if homes.1.len() >= HOMES_MAX {
                return None;
            }
        }
        let until = Instant::now() + LEASE_TIME;
        let lease =
            Lease { ticket, peers: Vec::new(), needed: 0, until, members, versions: false, entries: false };
        homes.1.insert(home, lease);
        Some(ticket)
    }

    /// Takes note of who tells. None where they are too few, or something has changed meanwhile.
    pub(crate) fn granted(
        &self,
        home: &Home,
        ticket: Ticket,
        peers: Vec<PeerId>,
        needed: usize,
    ) -> Option<Ticket> {
        let mut homes = self.locked();
        let lease = homes.1.get_mut(home).filter(|lease| lease.ticket == ticket)?;
        (lease.peers, lease.needed) = (peers, needed);
        lease.holds().then_some(ticket)
    }

    pub(crate) fn settle(&self, home: &Home, ticket: Ticket, reading: Reading) {
        let mut homes = self.locked();
        if let Some(lease) = homes.1.get_mut(home).filter(|lease| lease.ticket == ticket && lease.holds()) {
            match reading {
                Reading::Versions => lease.versions = true,
                Reading::Entries => lease.entries = true,
            }
        }
    }

    /// Something changed at a home.
    pub(crate) fn changed(&self, home: &Home) {
        if let Some(lease) = self.locked().1.get_mut(home) {
            // Whoever is reading now has a ticket that counts no more.
            lease.ticket = 0;
            lease.is_broken();
        }
        self.stale.send_modify(|count| *count += 1);
    }

    /// A member is connected no more: it tells nothing.
    pub(crate) fn lost(&self, gone: impl Fn(&PeerId) -> bool) {
        let mut broken = false;
        for lease in self.locked().1.values_mut() {
            let before = lease.holds();
            lease.peers.retain(|peer| !gone(peer));
            if before && !lease.holds() {
                lease.is_broken();
                broken = true;
            }
        }
        if broken {
            self.stale.send_modify(|count| *count += 1);
        }
    }

    /// Records are placed at others now.
    pub(crate) fn members_changed(&self, members: u64) {
        for lease in self.locked().1.values_mut().filter(|lease| lease.members != members) {
            lease.is_broken();
        }
        self.stale.send_modify(|count| *count += 1);
    }

    pub(crate) fn stale(&self) -> watch::Receiver<u64> {
        self.stale.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::{Leases, Reading};
    use jsfs_federation::membership::PeerId;
    use jsfs_federation::metastore::Home;

    #[test]
    fn what_was_read_is_fresh_until_somebody_says_otherwise_or_cannot() {
        let (leases, home) = (Leases::default(), Home::from_bytes([7; 32]));
        let peer = |number| PeerId::from_bytes([number; 32]);
        let observe = |peers: Vec<PeerId>| {
            let ticket = leases.begin(home, 1)?;
            leases.granted(&home, ticket, peers, 2)
        };
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
}
