//! Reading: one slot, or a page of a group, from as many replicas as a settled read needs, and one more whenever one takes long.

use super::super::{CHAIN_MAX, Home, Listing, Request, Response, Slot, Version};
use super::merge::Merge;
use super::{Entry, Failure, Listed, Outcome, Step, Tag, Written};
use crate::membership::PeerId;
use jsfs_objects::read_key::{Group, Locator};
use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

/// Asking for what is there, asking for what was there, and repairing.
const PLAIN: Tag = 0;
const CHAIN: Tag = 1;
const REPAIR: Tag = 2;

/// Bytes of envelopes in one repair.
const REPAIR_BYTES_MAX: usize = 1 << 20;

/// Entries of a page that are repaired at once.
const REPAIRS_MAX: usize = 16;

/// Which replicas were asked, and which answered.
#[derive(Debug, Default)]
struct Asking {
    /// To be asked before others.
    first: Vec<PeerId>,
    /// Not asked yet, best last.
    left: Vec<PeerId>,
    waiting: usize,
    settled: usize,
    hedge_at: u64,
    until_ms: u64,
}

impl Asking {
    fn begin(&mut self, step: &mut Step<'_>, home: &Home, request: impl Fn() -> Request) {
        self.left = step.replicas(home);
        self.left.sort_by_key(|peer| !self.first.contains(peer));
        self.left.reverse();
        self.until_ms = step.now_ms + step.timing.operation_ms;
        self.hedge_at = step.now_ms + step.timing.hedge_ms;
        for _ in 0..step.quorum().read {
            self.ask_next(step, &request);
        }
    }

    fn ask_next(&mut self, step: &mut Step<'_>, request: impl Fn() -> Request) {
        if let Some(peer) = self.left.pop() {
            self.waiting += 1;
            step.send(peer, PLAIN, request());
        }
    }

    /// Whether as many have answered as are needed, or can.
    fn is_over(&self, step: &Step<'_>) -> bool {
        self.is_settled(step) || (self.waiting == 0 && self.left.is_empty()) || step.now_ms >= self.until_ms
    }

    fn is_settled(&self, step: &Step<'_>) -> bool {
        self.settled >= step.quorum().read
    }

    fn tick(&mut self, step: &mut Step<'_>, request: impl Fn() -> Request) {
        if step.now_ms >= self.hedge_at {
            self.hedge_at = step.now_ms + step.timing.hedge_ms;
            if !self.is_settled(step) {
                self.ask_next(step, request);
            }
        }
    }

    fn wakes_at(&self) -> u64 {
        if self.left.is_empty() { self.until_ms } else { self.hedge_at.min(self.until_ms) }
    }
}

/// Reading what is under one locator.
#[derive(Debug)]
pub(super) struct SlotRead {
    locator: Locator,
    /// How many followed versions each replica is asked for.
    past: u64,
    merge: Merge,
    asking: Asking,
    /// Answers about the past that are waited for; none before they are asked for.
    chains: Option<usize>,
    suspects: Vec<PeerId>,
    /// Whether this read tells a writer what was in its way.
    is_conflict: bool,
    done: bool,
}

impl SlotRead {
    pub(super) fn new(locator: Locator) -> Self {
        Self {
            locator,
            past: 0,
            merge: Merge::new(locator.into(), locator),
            asking: Asking::default(),
            chains: None,
            suspects: Vec::new(),
            is_conflict: false,
            done: false,
        }
    }

    /// A read that brings what was followed as well.
    pub(super) fn with_past(locator: Locator) -> Self {
        Self { past: CHAIN_MAX, ..Self::new(locator) }
    }

    /// A read that ends as the conflict of a write. Those who said that there is one are asked first: nobody else need have heard of what is in the way yet.
    pub(super) fn for_conflict(locator: Locator, first: Vec<PeerId>) -> Self {
        let asking = Asking { first, ..Asking::default() };
        Self { is_conflict: true, asking, ..Self::new(locator) }
    }

    fn request(locator: Locator, chain: u64) -> Request {
        Request::Fetch { locators: vec![locator], chain }
    }

    pub(super) fn begin(&mut self, step: &mut Step<'_>) {
        for seen in step.recent.of(&self.locator) {
            self.merge.know(seen);
        }
        let (locator, past) = (self.locator, self.past);
        self.asking.begin(step, &locator.into(), || Self::request(locator, past));
        self.advance(step);
    }

    pub(super) fn resolved(
        &mut self,
        step: &mut Step<'_>,
        peer: PeerId,
        tag: Tag,
        result: Result<Response, Failure>,
    ) {
        match tag {
            PLAIN => self.asking.waiting -= 1,
            CHAIN => self.chains = self.chains.map(|waiting| waiting.saturating_sub(1)),
            _ => return,
        }
        let settled = match result {
            Ok(Response::Versions { settled, found }) if found.len() == 1 => {
                let envelopes = found[0].envelopes.iter().map(Vec::as_slice);
                if self.merge.hear(peer, envelopes, &found[0].marks, step.members, step.now_ms) {
                    Some(settled)
                } else {
                    self.suspects.push(peer);
                    None
                }
            }
            _ => None,
        };
        if tag == PLAIN {
            self.asking.settled += usize::from(settled == Some(true));
            if settled != Some(true) && !self.done {
                let (locator, past) = (self.locator, self.past);
                self.asking.ask_next(step, || Self::request(locator, past));
            }
        }
        if self.done { self.repair(step) } else { self.advance(step) }
    }

    fn advance(&mut self, step: &mut Step<'_>) {
        if self.done || !self.asking.is_over(step) {
            return;
        }
        let slot = self.slot(step);
        match self.chains {
            None if self.merge.is_doubtful(&slot) && step.now_ms < self.asking.until_ms => {
                let peers = self.merge.peers();
                self.chains = Some(peers.len());
                for peer in peers {
                    step.send(peer, CHAIN, Self::request(self.locator, CHAIN_MAX));
                }
            }
            Some(waiting) if waiting > 0 && step.now_ms < self.asking.until_ms => {}
            _ => self.finish(step, slot),
        }
    }

    fn slot(&self, step: &Step<'_>) -> Slot {
        self.merge.slot(step.members, step.quorum().read)
    }

    fn finish(&mut self, step: &mut Step<'_>, slot: Slot) {
        self.done = true;
        step.recent.see_all(self.locator, slot.heads().into_iter().cloned().collect());
        self.repair(step);
        let settled = self.asking.is_settled(step);
        let nobody = self.merge.peers().is_empty() && slot.versions().is_empty();
        step.done(match (self.is_conflict, nobody) {
            (true, _) => Outcome::Written(Written::Conflict(Box::new(slot))),
            (false, true) => Outcome::Unreached,
            (false, false) => {
                Outcome::Fetched { slot: Box::new(slot), settled, suspects: self.suspects.clone() }
            }
        });
    }

    /// Gives the replicas that answered what they lack.
    fn repair(&mut self, step: &mut Step<'_>) {
        let slot = self.slot(step);
        for (peer, lacking) in self.merge.take_lacking(&slot) {
            step.send(peer, REPAIR, repair_of(self.locator.into(), &lacking));
        }
    }

    pub(super) fn tick(&mut self, step: &mut Step<'_>) {
        if self.done {
            return;
        }
        let (locator, past) = (self.locator, self.past);
        self.asking.tick(step, || Self::request(locator, past));
        self.advance(step);
    }

    pub(super) fn wakes_at(&self) -> Option<u64> {
        (!self.done).then(|| self.asking.wakes_at())
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }
}

fn repair_of(home: Home, lacking: &[Version]) -> Request {
    let mut bytes = 0;
    let fitting = lacking.iter().take(super::super::message::STORE_MAX).take_while(|version| {
        bytes += version.bytes().len();
        bytes <= REPAIR_BYTES_MAX
    });
    Request::Store { home, envelopes: fitting.map(|version| version.bytes().to_vec()).collect(), hold: None }
}

#[derive(Debug)]
struct Page {
    peer: PeerId,
    entries: Vec<Listing>,
    more: bool,
}

/// Reading a page of a group.
#[derive(Debug)]
pub(super) struct ListRead {
    home: Home,
    after: Option<Locator>,
    limit: u64,
    asking: Asking,
    pages: Vec<Page>,
    done: bool,
}

impl ListRead {
    pub(super) fn new(home: Home, after: Option<Locator>, limit: u64) -> Self {
        let limit = limit.clamp(1, super::super::LIST_MAX);
        Self { home, after, limit, asking: Asking::default(), pages: Vec::new(), done: false }
    }

    fn request(home: Home, after: Option<Locator>, limit: u64) -> Request {
        Request::List { home, after, limit }
    }

    pub(super) fn begin(&mut self, step: &mut Step<'_>) {
        let (home, after, limit) = (self.home, self.after, self.limit);
        self.asking.begin(step, &home, || Self::request(home, after, limit));
        self.advance(step);
    }

    pub(super) fn resolved(
        &mut self,
        step: &mut Step<'_>,
        peer: PeerId,
        tag: Tag,
        result: Result<Response, Failure>,
    ) {
        if tag != PLAIN {
            return;
        }
        self.asking.waiting -= 1;
        match result {
            Ok(Response::Page { settled, entries, more }) if self.is_in_order(&entries, more) => {
                self.asking.settled += usize::from(settled);
                self.pages.push(Page { peer, entries, more });
            }
            _ if !self.done => {
                let (home, after, limit) = (self.home, self.after, self.limit);
                self.asking.ask_next(step, || Self::request(home, after, limit));
            }
            _ => {}
        }
        self.advance(step);
    }

    /// Whether the entries ascend from what was asked for. A page that says there is more has something that the next can begin after.
    fn is_in_order(&self, entries: &[Listing], more: bool) -> bool {
        let after = entries.first().is_none_or(|first| self.after.is_none_or(|after| first.locator > after));
        let ascends = entries.is_sorted_by(|one, next| one.locator < next.locator);
        after && ascends && !(more && entries.is_empty())
    }

    fn advance(&mut self, step: &mut Step<'_>) {
        if self.done || !self.asking.is_over(step) {
            return;
        }
        self.done = true;
        if self.pages.is_empty() {
            return step.done(Outcome::Unreached);
        }
        // What lies beyond the shortest page was not heard of by all.
        let ends = self.pages.iter().filter(|page| page.more).filter_map(|page| page.entries.last());
        let end = ends.map(|entry| entry.locator).min();
        let mut merges = self.merge(step, end);
        let read = step.quorum().read;
        let mut entries = Vec::new();
        let mut repaired = 0;
        for (locator, (merge, large)) in &mut merges {
            let slot = merge.slot(step.members, read);
            for (peer, lacking) in merge.take_lacking(&slot) {
                if repaired < REPAIRS_MAX {
                    repaired += 1;
                    step.send(peer, REPAIR, repair_of(self.home, &lacking));
                }
            }
            let is_here = |head: &&Version| head.rank().0 && Home::from(head.record().group) == self.home;
            if !large.is_empty() || slot.heads().iter().any(is_here) {
                entries.push(Entry { locator: *locator, slot, large: std::mem::take(large) });
            }
        }
        step.done(Outcome::Listed(Listed { entries, next: end, settled: self.asking.is_settled(step) }));
    }

    fn merge(&self, step: &Step<'_>, end: Option<Locator>) -> Merges {
        let mut merges = Merges::new();
        let within = (
            self.after.map_or(Bound::Unbounded, Bound::Excluded),
            end.map_or(Bound::Unbounded, Bound::Included),
        );
        let group = Group::from_bytes(*self.home.as_bytes());
        for version in step.recent.of_group(group, within) {
            let locator = version.locator();
            let (merge, _) =
                merges.entry(locator).or_insert_with(|| (Merge::new(self.home, locator), Vec::new()));
            merge.know(version);
        }
        for locator in self.pages.iter().flat_map(|page| page.entries.iter().map(|entry| entry.locator)) {
            if within.contains(&locator) {
                merges.entry(locator).or_insert_with(|| (Merge::new(self.home, locator), Vec::new()));
            }
        }
        for page in &self.pages {
            let mut listed: BTreeMap<_, _> =
                page.entries.iter().map(|entry| (entry.locator, entry)).collect();
            for (locator, (merge, large)) in &mut merges {
                let Some(entry) = listed.remove(locator) else {
                    merge.hear(page.peer, std::iter::empty(), &[], step.members, step.now_ms);
                    continue;
                };
                for (summary, _) in entry.heads.iter().filter(|(_, envelope)| envelope.is_none()) {
                    if !large.contains(summary) {
                        large.push(*summary);
                    }
                }
                let envelopes = entry.heads.iter().filter_map(|(_, envelope)| envelope.as_deref());
                merge.hear(page.peer, envelopes, &entry.marks, step.members, step.now_ms);
            }
        }
        merges
    }

    pub(super) fn tick(&mut self, step: &mut Step<'_>) {
        if self.done {
            return;
        }
        let (home, after, limit) = (self.home, self.after, self.limit);
        self.asking.tick(step, || Self::request(home, after, limit));
        self.advance(step);
    }

    pub(super) fn wakes_at(&self) -> Option<u64> {
        (!self.done).then(|| self.asking.wakes_at())
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }
}

/// What replicas said of each entry, and what of it was too large for a page.
type Merges = BTreeMap<Locator, (Merge, Vec<super::Summary>)>;
