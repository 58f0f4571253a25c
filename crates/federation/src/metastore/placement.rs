//! Which members keep what lies at a home: rendezvous hashing over the members with the role meta, each of equal weight.
//!
//! Every node computes it from the list of members alone. A member that comes takes only what it keeps itself; one that goes leaves only what
//! it kept. Orders are remembered, within a bound, because each costs a hash per member.

use super::Home;
use crate::membership::{PeerId, Role, Roster};
use jsfs_objects::key::Owner;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The most replicas that anybody can ask for.
pub const HOME_REPLICAS_MAX: usize = 16;

/// Orders that are remembered.
const ORDERS_MAX: usize = 65_536;

/// How many were made in this process, and one.
static MADE: AtomicU64 = AtomicU64::new(1);

/// What the metastore needs to know of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub peer: PeerId,
    /// Whether records are placed at it: it has the role meta and has not been away for longer than is waited for.
    pub keeps: bool,
    /// Whether it is connected, as far as is known here.
    pub reachable: bool,
}

/// The members as one node knows them. A new one is made when something changes.
#[derive(Debug, Default)]
pub struct Members {
    peers: BTreeMap<PeerId, Member>,
    keeping: Vec<PeerId>,
    former: BTreeSet<PeerId>,
    granting: BTreeSet<Owner>,
    /// What the list of those that keep comes to.
    id: u64,
    serial: u64,
    orders: Mutex<HashMap<Home, Arc<[PeerId]>>>,
}

impl Members {
    /// These members; `former` ones, who left without having been revoked, still vouch for the time of what they accepted; `granting` are the
    /// keys whose holders may make namespaces: the authority's, and admins'.
    pub fn new(
        members: impl IntoIterator<Item = Member>,
        former: impl IntoIterator<Item = PeerId>,
        granting: impl IntoIterator<Item = Owner>,
    ) -> Self {
        let peers: BTreeMap<_, _> = members.into_iter().map(|member| (member.peer, member)).collect();
        let keeping: Vec<_> =
            peers.values().filter(|member| member.keeps).map(|member| member.peer).collect();
        let mut hasher = blake3::Hasher::new();
        keeping.iter().for_each(|peer| {
            hasher.update(peer.as_bytes());
        });
        let id = u64::from_be_bytes(hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default());
        Self {
            peers,
            keeping,
            former: former.into_iter().collect(),
            granting: granting.into_iter().collect(),
            id,
            serial: MADE.fetch_add(1, Ordering::Relaxed),
            orders: Mutex::default(),
        }
    }

    /// The members that a roster knows now. `away` says which have been out of reach for so long that others take their place.
    pub fn of_roster(
        roster: &Roster,
        former: impl IntoIterator<Item = PeerId>,
        away: impl Fn(&PeerId) -> bool,
        now_ms: u64,
    ) -> Self {
        let terms: Vec<_> = roster.members(now_ms).collect();
        let admins = terms.iter().filter(|terms| terms.roles.contains(Role::Admin));
        let granting = admins.map(|terms| terms.peer).chain([roster.federation()]).map(Owner::from);
        let members = terms.iter().map(|terms| Member {
            peer: terms.peer,
            keeps: terms.roles.contains(Role::Meta) && !away(&terms.peer),
            reachable: roster.is_reachable(&terms.peer),
        });
        Self::new(members, former, granting.collect::<Vec<_>>())
    }

    /// What stands for the list of those that keep records: another list has another.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What tells this from every other one that was made, connections included; 0 where there are none.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether this says the same as another, connections included.
    pub fn is_like(&self, other: &Members) -> bool {
        self.id == other.id
            && self.peers == other.peers
            && self.former == other.former
            && self.granting == other.granting
    }

    /// How many members keep records.
    pub fn keepers(&self) -> usize {
        self.keeping.len()
    }

    /// The members that keep records, in order of their bytes.
    pub fn keeping(&self) -> &[PeerId] {
        &self.keeping
    }

    /// Whether this is a member.
    pub fn is_member(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Whether this member is connected.
    pub fn is_reachable(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|member| member.reachable)
    }

    /// Whether the word of this peer for the time when it accepted a record counts.
    pub fn vouches(&self, peer: &PeerId) -> bool {
        self.is_member(peer) || self.former.contains(peer)
    }

    /// Whether the holder of this key may make namespaces.
    pub fn grants(&self, owner: &Owner) -> bool {
        self.granting.contains(owner)
    }

    /// The members that keep what lies at a home, best first: as many as anybody may ask for, or all where there are fewer.
    pub fn order(&self, home: &Home) -> Arc<[PeerId]> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(order) = orders.get(home) {
            return Arc::clone(order);
        }
        if orders.len() >= ORDERS_MAX {
            orders.clear();
        }
        let order: Arc<[PeerId]> = best(&self.keeping, home).into();
        orders.insert(*home, Arc::clone(&order));
        order
    }

    /// Where a peer stands in the order of a home, from 0; none if it is not among the best.
    pub fn rank(&self, home: &Home, peer: &PeerId) -> Option<usize> {
        self.order(home).iter().position(|candidate| candidate == peer)
    }
}

/// The greatest draws win; of equal ones the lesser peer.
fn best(peers: &[PeerId], home: &Home) -> Vec<PeerId> {
    let mut lots: Vec<_> = peers.iter().map(|peer| (Reverse(draw(home, peer)), *peer)).collect();
    let wanted = HOME_REPLICAS_MAX.min(lots.len());
    if wanted < lots.len() {
        lots.select_nth_unstable(wanted);
        lots.truncate(wanted);
    }
    lots.sort_unstable();
    lots.into_iter().map(|(_, peer)| peer).collect()
}

fn draw(home: &Home, peer: &PeerId) -> u64 {
    let hash = blake3::Hasher::new()
        .update(b"jsfs/v1/home")
        .update(home.as_bytes())
        .update(peer.as_bytes())
        .finalize();
    u64::from_be_bytes(hash.as_bytes().first_chunk().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Home, Member, Members};
    use crate::membership::PeerId;

    fn members(numbers: impl Iterator<Item = u8>) -> Members {
        let member = |number| Member { peer: PeerId::from_bytes([number; 32]), keeps: true, reachable: true };
        Members::new(numbers.map(member), [], [])
    }

    #[test]
    fn a_member_that_goes_leaves_only_what_it_kept_and_shares_are_even() {
        let (all, fewer) = (members(1..=20), members(2..=20));
        let gone = PeerId::from_bytes([1; 32]);
        let mut kept = 0;
        for number in 0..1_000_u32 {
            let home = Home::from_bytes(*blake3::hash(&number.to_be_bytes()).as_bytes());
            let (before, after) = (all.order(&home), fewer.order(&home));
            let stay: Vec<_> = before[..5].iter().filter(|peer| **peer != gone).copied().collect();
            assert_eq!(after[..stay.len()], stay[..]);
            kept += usize::from(before[..5].contains(&gone));
        }
        assert!((200..300).contains(&kept), "a twentieth of 5,000 replicas, not {kept}");
    }
}
