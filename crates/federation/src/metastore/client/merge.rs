//! What several replicas say of one slot, put together. Of a group that is cut, they can be replicas of several homes.
//!
//! Versions are a union. Of a version that one replica still shows as a head and that others have dropped, nothing shows in what the others
//! send that it is past; there the marks of two of them are believed, so that no single member can hide a version.

use super::super::slot::mark;
use super::super::{Added, Home, Mark, Members, Slot, Version};
use crate::membership::PeerId;
use jsfs_objects::read_key::Locator;
use jsfs_objects::record::RecordHash;
use std::collections::BTreeSet;

/// Replicas whose marks are believed together.
const WITNESSES: usize = 2;

/// What one replica said.
#[derive(Clone, Debug)]
struct Said {
    home: Home,
    peer: PeerId,
    versions: Vec<RecordHash>,
    marks: Vec<Mark>,
}

/// The union of what replicas said.
#[derive(Clone, Debug)]
pub(super) struct Merge {
    home: Home,
    locator: Locator,
    versions: Vec<Version>,
    said: Vec<Said>,
}

impl Merge {
    pub(super) fn new(home: Home, locator: Locator) -> Self {
        Self { home, locator, versions: Vec::new(), said: Vec::new() }
    }

    /// Adds what this node knows itself.
    pub(super) fn know(&mut self, version: &Version) {
        if version.locator() == self.locator && !self.versions.contains(version) {
            self.versions.push(version.clone());
        }
    }

    /// Adds what a replica said. False if any of it cannot be believed; then none of it is.
    pub(super) fn hear<'b>(
        &mut self,
        (home, peer): (Home, PeerId),
        envelopes: impl Iterator<Item = &'b [u8]>,
        marks: &[Mark],
        members: &Members,
        now_ms: u64,
    ) -> bool {
        let mut heard = Vec::new();
        for bytes in envelopes {
            let known = self.versions.iter().find(|known| known.bytes() == bytes).cloned();
            match known.map_or_else(|| Version::judge(bytes, members, now_ms), Ok) {
                Ok(version) if version.locator() == self.locator => heard.push(version),
                _ => return false,
            }
        }
        let versions = heard.iter().map(Version::hash).collect();
        heard.iter().for_each(|version| self.know(version));
        self.said.retain(|said| (said.home, said.peer) != (home, peer));
        self.said.push(Said { home, peer, versions, marks: marks.to_vec() });
        true
    }

    /// The slot that follows from it.
    pub(super) fn slot(&self, members: &Members, read: usize) -> Slot {
        let mut slot = Slot::empty(self.home, self.locator);
        let mut waiting: Vec<&Version> = self.versions.iter().collect();
        // A namespace's records join those that show who was given it, in whatever order they came.
        loop {
            let (ready, others): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|version| version.may_join(slot.versions(), members));
            if ready.is_empty() {
                break;
            }
            for version in ready {
                let added = slot.add(version.clone());
                debug_assert!(added != Added::Known);
            }
            waiting = others;
        }
        for version in &self.versions {
            let mark = mark(&version.hash(), &version.owner());
            let telling = self.said.iter().filter(|said| said.marks.contains(&mark));
            let witnesses: BTreeSet<PeerId> = telling.map(|said| said.peer).collect();
            if witnesses.len() >= WITNESSES.min(read) {
                slot.mark_past(version);
            }
        }
        slot
    }

    /// Whether there are two heads of one owner that some replica does not both know: its past would tell.
    pub(super) fn is_doubtful(&self, slot: &Slot) -> bool {
        let heads = slot.heads();
        let twice =
            heads.iter().any(|head| heads.iter().filter(|other| other.owner() == head.owner()).count() > 1);
        let knows_all = |said: &Said| heads.iter().all(|head| said.versions.contains(&head.hash()));
        twice && !self.said.iter().all(knows_all)
    }

    /// Who said something.
    pub(super) fn peers(&self) -> Vec<PeerId> {
        self.said.iter().map(|said| said.peer).collect()
    }

    /// What each replica that answered lacks of the heads; once told, it counts as given.
    pub(super) fn take_lacking(&mut self, slot: &Slot) -> Vec<(Home, PeerId, Vec<Version>)> {
        let heads = slot.heads();
        let mut lacking = Vec::new();
        for said in &mut self.said {
            let lacks: Vec<Version> = heads
                .iter()
                .filter(|head| !said.versions.contains(&head.hash()))
                .map(|head| (*head).clone())
                .collect();
            said.versions.extend(lacks.iter().map(Version::hash));
            if !lacks.is_empty() {
                lacking.push((said.home, said.peer, lacks));
            }
        }
        lacking
    }
}
