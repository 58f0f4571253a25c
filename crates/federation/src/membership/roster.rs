//! The roster: what one node knows of the whole federation, as a set of signed statements that merges in any order.
//!
//! Of each member the credential of the greatest epoch and the latest announcement, the latest charter, and every dismissal that counts for
//! something. Which of two statements stays is decided by what they say, so nodes that heard the same in any order know the same.
//! Signatures are checked once, when a statement comes in; who is a member *now* is asked each time, by clock and dismissals. Reachability is
//! what this node sees of others; it is told and never handed on.

use super::{
    Announcement, Certificate, Charter, Credential, Dismissal, FederationId, Item, Mark, MembershipError,
    PeerId, Revocations, Role, SKEW_MS_MAX, Terms,
};
use crate::blockstore::{Placement, Site};
use std::collections::{BTreeMap, BTreeSet};

/// The most members that are kept, those whose certificates were taken back included. An eighth of a message's 2 MiB is left by their marks.
pub const MEMBERS_MAX: usize = 16_384;

/// The most dismissals that are kept.
pub const DISMISSALS_MAX: usize = 16_384;

/// Which statement it is; of two about the same the greater rank stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Charter,
    Member(PeerId),
    Announcement(PeerId),
    /// Peer, issuer and the epoch of the issuer's certificate.
    Dismissal(PeerId, PeerId, Option<u64>),
}

#[derive(Clone, Debug)]
struct Kept {
    rank: u64,
    item: Item,
    bytes: Vec<u8>,
}

/// What a node knows of its federation.
#[derive(Clone, Debug)]
pub struct Roster {
    federation: FederationId,
    kept: BTreeMap<Subject, Kept>,
    marks: BTreeMap<Mark, Subject>,
    revocations: Revocations,
    members: usize,
    dismissals: usize,
    reachable: BTreeSet<PeerId>,
    version: u64,
}

/// What two rosters lack of each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Statements that the other lacks, members before what is said of them.
    pub theirs: Vec<Vec<u8>>,
    /// Marks of statements that are lacking here.
    pub ours: Vec<Mark>,
}

impl Roster {
    /// Of a federation of which nothing is known yet.
    pub fn new(federation: FederationId) -> Self {
        Self {
            federation,
            kept: BTreeMap::new(),
            marks: BTreeMap::new(),
            revocations: Revocations::default(),
            members: 0,
            dismissals: 0,
            reachable: BTreeSet::new(),
            version: 0,
        }
    }

    /// Which federation it is.
    pub fn federation(&self) -> FederationId {
        self.federation
    }

    /// Grows with every change of who is a member, where it answers or whether it does.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Takes in a statement that was kept: one that was good once, also if its time is over now.
    ///
    /// # Errors
    /// As those of [`Roster::add`].
    pub fn restore(&mut self, item: Item, now_ms: u64) -> Result<bool, MembershipError> {
        let then_ms = match &item {
            Item::Member(credential) => credential.certificate.terms().from_ms,
            _ => now_ms,
        };
        self.add(item, then_ms)
    }

    /// Takes in a statement, and answers whether it told anything new.
    ///
    /// # Errors
    /// Why it is not to be believed; [`MembershipError::Expired`] for a credential whose time is over; [`MembershipError::TooMany`].
    pub fn add(&mut self, item: Item, now_ms: u64) -> Result<bool, MembershipError> {
        match &item {
            Item::Member(credential) => {
                let terms = *credential.certificate.terms();
                credential.verify(self.federation, terms.peer, &Revocations::default(), now_ms)?;
                self.keep(Subject::Member(terms.peer), terms.epoch, item)
            }
            Item::Announcement(announcement) => {
                let (peer, sequence) = (announcement.peer(), announcement.sequence());
                if !self.kept.contains_key(&Subject::Member(peer)) {
                    return Err(MembershipError::Peer);
                }
                self.check_sequence(sequence, announcement.is_good(self.federation), now_ms)?;
                self.keep(Subject::Announcement(peer), sequence, item)
            }
            Item::Charter(charter) => {
                self.check_sequence(charter.sequence(), charter.is_good(self.federation), now_ms)?;
                self.keep(Subject::Charter, charter.sequence(), item)
            }
            Item::Dismissal(dismissal) => self.dismiss(dismissal),
        }
    }

    /// One signed ahead of its time would keep later ones out.
    fn check_sequence(&self, sequence: u64, is_good: bool, now_ms: u64) -> Result<(), MembershipError> {
        if !is_good {
            return Err(MembershipError::Signature);
        }
        if sequence > now_ms.saturating_add(SKEW_MS_MAX) {
            return Err(MembershipError::Early);
        }
        Ok(())
    }

    fn dismiss(&mut self, dismissal: &Dismissal) -> Result<bool, MembershipError> {
        let (peer, issuer) = (dismissal.revocation.peer(), dismissal.revocation.issuer());
        // What is not needed is not let in: nobody has signed it, so anybody could change it.
        let needed = (issuer != self.federation && issuer != peer, issuer != self.federation);
        if (dismissal.admin.is_some(), dismissal.target.is_some()) != needed {
            return Err(MembershipError::Signature);
        }
        let target = match &dismissal.target {
            None => None,
            Some(target) => {
                // What was true once is enough: it shows that the peer was no admin.
                let from_ms = target.certificate.terms().from_ms;
                Some(target.verify(self.federation, peer, &Revocations::default(), from_ms)?)
            }
        };
        let Dismissal { revocation, admin, .. } = dismissal.clone();
        let by_admin = admin.as_ref().map(|admin| admin.certificate.terms().epoch);
        let subject = Subject::Dismissal(peer, issuer, by_admin);
        if self.dismissals >= DISMISSALS_MAX && !self.kept.contains_key(&subject) {
            return Err(MembershipError::TooMany);
        }
        let epoch = revocation.epoch();
        let told = self.revocations.add(revocation, self.federation, admin.as_ref(), target.as_ref())?;
        let kept = self.keep(subject, epoch, Item::Dismissal(Box::new(dismissal.clone())))?;
        Ok(told || kept)
    }

    /// Keeps the statement of the greater rank; of equal ranks that of the greater bytes.
    fn keep(&mut self, subject: Subject, rank: u64, item: Item) -> Result<bool, MembershipError> {
        let bytes = item.encode();
        match self.kept.get(&subject) {
            Some(held) if (held.rank, &held.bytes) >= (rank, &bytes) => return Ok(false),
            Some(held) => {
                self.marks.remove(&Item::mark(&held.bytes));
            }
            None => {
                let (count, most) = match subject {
                    Subject::Member(_) => (&mut self.members, MEMBERS_MAX),
                    Subject::Dismissal(..) => (&mut self.dismissals, DISMISSALS_MAX),
                    _ => (&mut 0, 1),
                };
                if *count >= most {
                    return Err(MembershipError::TooMany);
                }
                *count += 1;
            }
        }
        self.marks.insert(Item::mark(&bytes), subject);
        self.kept.insert(subject, Kept { rank, item, bytes });
        self.version += 1;
        Ok(true)
    }

    /// Forgets members whose time is over, with what they said; answers whether there were any. Nobody is forgotten where `me` is over: it and others may have
    /// been renewed meanwhile.
    pub fn forget_expired(&mut self, me: &PeerId, now_ms: u64) -> bool {
        if self.terms(me, now_ms) == Err(MembershipError::Expired) {
            return false;
        }
        let over: Vec<PeerId> = self
            .all_members()
            .map(|credential| credential.certificate.terms())
            .filter(|terms| now_ms >= terms.expires_ms)
            .map(|terms| terms.peer)
            .collect();
        for peer in &over {
            for subject in [Subject::Member(*peer), Subject::Announcement(*peer)] {
                if let Some(kept) = self.kept.remove(&subject) {
                    self.marks.remove(&Item::mark(&kept.bytes));
                }
            }
            self.members -= 1;
            self.reachable.remove(peer);
            self.version += 1;
        }
        !over.is_empty()
    }

    /// The terms of a member as of now.
    ///
    /// # Errors
    /// Why it is none.
    pub fn terms(&self, peer: &PeerId, now_ms: u64) -> Result<Terms, MembershipError> {
        let credential = self.credential(peer).ok_or(MembershipError::Peer)?;
        let holds = |certificate: &Certificate| {
            let terms = certificate.terms();
            if now_ms >= terms.expires_ms {
                return Err(MembershipError::Expired);
            }
            if self.revocations.covers(&terms.peer, terms.epoch) {
                return Err(MembershipError::Revoked);
            }
            Ok(*terms)
        };
        if let Some(issuer) = &credential.issuer {
            holds(issuer)?;
        }
        holds(&credential.certificate)
    }

    /// Whether a peer is a member with a role, now.
    pub fn has_role(&self, peer: &PeerId, role: Role, now_ms: u64) -> bool {
        self.terms(peer, now_ms).is_ok_and(|terms| terms.roles.contains(role))
    }

    /// What a member presents, whether or not it still counts.
    pub fn credential(&self, peer: &PeerId) -> Option<&Credential> {
        match &self.kept.get(&Subject::Member(*peer))?.item {
            Item::Member(credential) => Some(credential),
            _ => None,
        }
    }

    fn all_members(&self) -> impl Iterator<Item = &Credential> {
        self.kept.values().filter_map(|kept| match &kept.item {
            Item::Member(credential) => Some(credential),
            _ => None,
        })
    }

    /// The members as of now, in the order of their ids.
    pub fn members(&self, now_ms: u64) -> impl Iterator<Item = Terms> {
        self.all_members()
            .filter_map(move |credential| self.terms(&credential.certificate.terms().peer, now_ms).ok())
    }

    /// Whom `me` is to be connected to: the members, and all that ever were where `me` is none, as they may tell it that it is one again.
    pub fn companions(&self, me: &PeerId, now_ms: u64) -> Vec<PeerId> {
        let is_member = self.terms(me, now_ms).is_ok();
        let peers = self.all_members().map(|credential| credential.certificate.terms().peer);
        peers.filter(|peer| peer != me && (!is_member || self.terms(peer, now_ms).is_ok())).collect()
    }

    /// The members that have a role, in the order of their ids.
    pub fn with_role(&self, role: Role, now_ms: u64) -> impl Iterator<Item = PeerId> {
        self.members(now_ms).filter(move |terms| terms.roles.contains(role)).map(|terms| terms.peer)
    }

    /// Where blocks lie, as of now.
    pub fn placement(&self, now_ms: u64) -> Placement {
        Placement::new(self.members(now_ms).filter_map(|terms| Site::of(&terms)))
    }

    /// What the authority said of the federation as a whole.
    pub fn charter(&self) -> Option<&Charter> {
        match &self.kept.get(&Subject::Charter)?.item {
            Item::Charter(charter) => Some(charter),
            _ => None,
        }
    }

    /// What a member last said of where it answers.
    pub fn announcement(&self, peer: &PeerId) -> Option<&Announcement> {
        match &self.kept.get(&Subject::Announcement(*peer))?.item {
            Item::Announcement(announcement) => Some(announcement),
            _ => None,
        }
    }

    /// Where a member answers.
    pub fn addresses(&self, peer: &PeerId) -> &[String] {
        self.announcement(peer).map_or(&[], Announcement::addresses)
    }

    /// An epoch that is greater than that of everything known of a peer.
    pub fn next_epoch(&self, peer: &PeerId) -> u64 {
        let certified = self.credential(peer).map_or(0, |credential| credential.certificate.terms().epoch);
        certified.max(self.revocations.epoch(peer)).saturating_add(1)
    }

    /// What was revoked.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Notes whether a peer answers.
    pub fn set_reachable(&mut self, peer: PeerId, is_reachable: bool) {
        let changed = if is_reachable { self.reachable.insert(peer) } else { self.reachable.remove(&peer) };
        self.version += u64::from(changed);
    }

    /// Whether a peer answered when it was last asked.
    pub fn is_reachable(&self, peer: &PeerId) -> bool {
        self.reachable.contains(peer)
    }

    /// The members that answer, in the order of their ids.
    pub fn reachable(&self, now_ms: u64) -> impl Iterator<Item = PeerId> {
        self.reachable.iter().copied().filter(move |peer| self.terms(peer, now_ms).is_ok())
    }

    /// Every statement's bytes, members before what is said of them.
    pub fn items(&self) -> impl Iterator<Item = &[u8]> {
        self.kept.values().map(|kept| kept.bytes.as_slice())
    }

    /// The marks of every statement, in ascending order.
    pub fn summary(&self) -> impl Iterator<Item = Mark> {
        self.marks.keys().copied()
    }

    /// A hash of the summary: rosters that have the same one know the same.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"jsfs/v1/roster");
        for mark in self.marks.keys() {
            hasher.update(mark);
        }
        *hasher.finalize().as_bytes()
    }

    /// What this roster and one with that summary lack of each other.
    pub fn difference(&self, summary: &BTreeSet<Mark>) -> Difference {
        let lacking = |kept: &&Kept| !summary.contains(&Item::mark(&kept.bytes));
        Difference {
            theirs: self.kept.values().filter(lacking).map(|kept| kept.bytes.clone()).collect(),
            ours: summary.iter().filter(|mark| !self.marks.contains_key(*mark)).copied().collect(),
        }
    }

    /// The statements of these marks, as far as they are here.
    pub fn wanted<'m>(&self, marks: impl Iterator<Item = &'m Mark>) -> Vec<Vec<u8>> {
        let mut subjects: Vec<Subject> = marks.filter_map(|mark| self.marks.get(mark)).copied().collect();
        subjects.sort_unstable();
        subjects.iter().filter_map(|subject| self.kept.get(subject)).map(|kept| kept.bytes.clone()).collect()
    }
}
