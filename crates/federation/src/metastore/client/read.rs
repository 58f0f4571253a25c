//! Reading one slot from as many replicas as a settled read needs, and one more whenever one takes long.

use super::super::{CHAIN_MAX, Home, Request, Response, Slot, Version};
use super::merge::Merge;
use super::{Failure, Outcome, Step, Tag, Written};
use crate::membership::PeerId;
use jsfs_objects::read_key::Locator;

/// Asking for what is there, asking for what was there, and repairing.
const PLAIN: Tag = 0;
const CHAIN: Tag = 1;
const REPAIR: Tag = 2;

/// Bytes of envelopes in one repair.
const REPAIR_BYTES_MAX: usize = 1 << 20;

/// Which replicas were asked, and which answered.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// What the answers come with.
    tag: Tag,
    /// To be asked before others.
    first: Vec<PeerId>,
    /// Not asked yet, best last.
    left: Vec<PeerId>,
    pub(super) waiting: usize,
    pub(super) settled: usize,
    hedge_at: u64,
    until_ms: u64,
}

impl Asking {
    /// One whose answers come with a tag.
    pub(super) fn tagged(tag: Tag) -> Self {
        Self { tag, ..Self::default() }
    }

    pub(super) fn begin(&mut self, step: &mut Step<'_>, home: &Home, request: impl Fn() -> Request) {
        self.left = step.replicas(home);
        self.left.sort_by_key(|peer| !self.first.contains(peer));
        self.left.reverse();
        self.until_ms = step.now_ms + step.timing.operation_ms;
        self.hedge_at = step.now_ms + step.timing.hedge_ms;
        for _ in 0..step.quorum().read {
            self.ask_next(step, &request);
        }
    }

    pub(super) fn ask_next(&mut self, step: &mut Step<'_>, request: impl Fn() -> Request) {
        if let Some(peer) = self.left.pop() {
            self.waiting += 1;
            step.send(peer, self.tag, request());
        }
    }

    /// Whether as many have answered as are needed, or can.
    pub(super) fn is_over(&self, step: &Step<'_>) -> bool {
        self.is_settled(step) || (self.waiting == 0 && self.left.is_empty()) || step.now_ms >= self.until_ms
    }

    pub(super) fn is_settled(&self, step: &Step<'_>) -> bool {
        self.settled >= step.quorum().read
    }

    pub(super) fn tick(&mut self, step: &mut Step<'_>, request: impl Fn() -> Request) {
        if step.now_ms >= self.hedge_at {
            self.hedge_at = step.now_ms + step.timing.hedge_ms;
            if !self.is_settled(step) {
                self.ask_next(step, request);
            }
        }
    }

    pub(super) fn wakes_at(&self) -> u64 {
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
        let asking = Asking { first, tag: PLAIN, ..Asking::default() };
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
                if self.merge.hear(
                    (self.locator.into(), peer),
                    envelopes,
                    &found[0].marks,
                    step.members,
                    step.now_ms,
                ) {
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
        for (home, peer, lacking) in self.merge.take_lacking(&slot) {
            step.send(peer, REPAIR, repair_of(home, &lacking));
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

/// Gives a replica what it lacks.
pub(super) fn repair_of(home: Home, lacking: &[Version]) -> Request {
    let mut bytes = 0;
    let fitting = lacking.iter().take(super::super::message::STORE_MAX).take_while(|version| {
        bytes += version.bytes().len();
        bytes <= REPAIR_BYTES_MAX
    });
    Request::Store { home, envelopes: fitting.map(|version| version.bytes().to_vec()).collect(), hold: None }
}
