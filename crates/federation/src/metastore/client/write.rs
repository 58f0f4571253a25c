//! Writing: at the replicas of the locator, of the group, and of the group that an object left.
//!
//! Where a group is cut (`places`), the write goes on to the shard.
//!
//! Without a condition all are asked at once. With one, the writer first holds as many replicas of the locator as an acknowledged write needs,
//! each of which looks at the condition; two writers cannot hold as many at the same time, and who comes later finds what the first has
//! stored. Then it stores under the hold, and last where directories are listed. Where too few replicas can be reached for anything to be
//! sure, what those say that can be reached counts, and the write is kept.

use super::super::message::Request;
use super::super::{Change, HoldId, Home, Response, Version};
use super::outbox::KeptWrite;
use super::places::Places;
use super::read::SlotRead;
use super::{Client, Failure, Outcome, Step, Tag, Written};
use crate::membership::PeerId;
use crate::wire::ErrorCode;
use jsfs_objects::cbor::Cbor;
use jsfs_objects::read_key::Locator;
use jsfs_objects::record::RecordHash;

/// The most that a writer waits until it tries again to hold what another holds.
const BACKOFF_MS_MAX: u64 = 120;

/// Tags: holds are numbered from here on by attempt, stores by target below it.
const HOLD: Tag = 1 << 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Asking replicas to hold the slot.
    Holding,
    /// Waiting until the hold is tried again.
    Backing { until_ms: u64 },
    /// Storing where the hold is.
    Held,
    /// Storing everywhere.
    Storing,
}

/// One write.
#[derive(Debug)]
pub(super) struct Write {
    version: Version,
    before: Option<Version>,
    condition: Option<Option<RecordHash>>,
    places: Places,
    phase: Phase,
    attempt: Tag,
    hold: HoldId,
    holding: Vec<(PeerId, Held)>,
    until_ms: u64,
    /// Whether enough replicas have stored it under its hold: no other write under the same condition can.
    won: bool,
    done: bool,
    /// Whether it was kept before: nobody waits for it.
    pub(super) kept: Option<u64>,
    /// What the outbox has to do about it.
    note: Option<Note>,
    conflict: Option<Box<SlotRead>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Asked,
    Yes,
    Busy,
    Conflict,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Keep,
    Forget,
    Later,
}

impl Write {
    pub(super) fn new(
        version: Version,
        before: Option<Version>,
        condition: Option<Option<RecordHash>>,
    ) -> Self {
        Self {
            version,
            before,
            condition,
            places: Places::default(),
            phase: Phase::Storing,
            attempt: 0,
            hold: [0; 16],
            holding: Vec::new(),
            until_ms: 0,
            won: false,
            done: false,
            kept: None,
            note: None,
            conflict: None,
        }
    }

    pub(super) fn begin(&mut self, step: &mut Step<'_>) {
        self.until_ms = step.now_ms + step.timing.operation_ms;
        let (locator, group) = (self.locator(), self.version.record().group);
        self.places.add(locator.into(), None, step);
        let left = self.before.as_ref().map(|before| before.record().group);
        for group in [Some(group), left].into_iter().flatten() {
            self.places.add_group(group, &locator, step);
        }
        if self.condition.is_some() {
            self.try_to_hold(step);
        } else {
            self.advance(step);
        }
    }

    fn locator(&self) -> Locator {
        self.version.locator()
    }

    fn try_to_hold(&mut self, step: &mut Step<'_>) {
        self.phase = Phase::Holding;
        self.attempt += 1;
        self.hold = step.random.bytes();
        let locator = self.locator();
        let (reachable, lost): (Vec<_>, Vec<_>) =
            step.replicas(&locator.into()).into_iter().partition(|peer| step.is_reachable(peer));
        self.holding = lost.into_iter().map(|peer| (peer, Held::Lost)).collect();
        for peer in reachable {
            self.holding.push((peer, Held::Asked));
            let request = Request::Hold {
                locator,
                owner: self.version.owner(),
                expected: self.condition.flatten(),
                id: self.hold,
                ms: step.timing.hold_ms,
            };
            step.send(peer, HOLD + self.attempt, request);
        }
        self.advance(step);
    }

    pub(super) fn resolved(
        &mut self,
        step: &mut Step<'_>,
        peer: PeerId,
        tag: Tag,
        result: Result<Response, Failure>,
    ) {
        if let Some(read) = &mut self.conflict {
            read.resolved(step, peer, tag, result);
            self.done = read.is_done();
            return;
        }
        if tag >= HOLD {
            self.hold_answered(step, peer, tag, &result);
        } else {
            self.places.answered(step, tag, &result);
        }
        self.advance(step);
    }

    fn hold_answered(
        &mut self,
        step: &mut Step<'_>,
        peer: PeerId,
        tag: Tag,
        result: &Result<Response, Failure>,
    ) {
        let held = match result {
            Ok(Response::Held) => Held::Yes,
            Ok(Response::Conflict(_)) => Held::Conflict,
            Ok(answer) if answer.refusal() == Some(ErrorCode::Busy) => Held::Busy,
            _ => Held::Lost,
        };
        // What comes of an earlier attempt runs out by itself.
        if tag != HOLD + self.attempt {
            return;
        }
        if let Some(entry) = self.holding.iter_mut().find(|(asked, _)| *asked == peer) {
            entry.1 = held;
        }
        if held == Held::Yes && self.phase != Phase::Holding {
            step.send(peer, Tag::MAX, Request::Release { locator: self.locator(), id: self.hold });
        }
    }

    fn advance(&mut self, step: &mut Step<'_>) {
        if self.done && self.phase != Phase::Storing {
            return;
        }
        match self.phase {
            Phase::Holding => self.advance_holding(step),
            Phase::Backing { until_ms } if step.now_ms >= until_ms && !self.done => self.try_to_hold(step),
            Phase::Backing { .. } => {}
            Phase::Held => self.advance_held(step),
            Phase::Storing => self.advance_storing(step),
        }
    }

    fn advance_holding(&mut self, step: &mut Step<'_>) {
        let count = |wanted: Held| self.holding.iter().filter(|(_, held)| *held == wanted).count();
        let needed = step.quorum().write;
        let late = step.now_ms >= self.until_ms;
        if count(Held::Yes) >= needed {
            return self.store_held(step);
        }
        // As long as those that have not answered can still make it enough, they are waited for.
        if count(Held::Yes) + count(Held::Asked) >= needed && !late {
            return;
        }
        // Those that would show in which part of a network this is.
        if count(Held::Asked) > 0 && count(Held::Conflict) + count(Held::Busy) == 0 && !late {
            return;
        }
        if count(Held::Conflict) > 0 {
            self.release(step);
            return self.tell_conflict(step);
        }
        if count(Held::Busy) > 0 {
            self.release(step);
            if late {
                return self.end(step, Written::Refused(ErrorCode::Busy));
            }
            let wait = u64::from_be_bytes(step.random.bytes()) % BACKOFF_MS_MAX;
            self.phase = Phase::Backing { until_ms: step.now_ms + 1 + wait };
            return;
        }
        self.store_held(step);
    }

    fn release(&mut self, step: &mut Step<'_>) {
        let holders: Vec<PeerId> =
            self.holding.iter().filter(|(_, held)| *held == Held::Yes).map(|(peer, _)| *peer).collect();
        for peer in holders {
            step.send(peer, Tag::MAX, Request::Release { locator: self.locator(), id: self.hold });
        }
    }

    fn tell_conflict(&mut self, step: &mut Step<'_>) {
        let told = self.holding.iter().filter(|(_, held)| *held == Held::Conflict).map(|(peer, _)| *peer);
        let mut read = Box::new(SlotRead::for_conflict(self.locator(), told.collect()));
        read.begin(step);
        self.done = read.is_done();
        self.conflict = Some(read);
    }

    fn store_held(&mut self, step: &mut Step<'_>) {
        self.phase = Phase::Held;
        let home = Home::from(self.locator());
        for (peer, held) in &self.holding {
            if let Some(target) = self.places.target(&home, peer) {
                target.holds = *held == Held::Yes;
            }
        }
        self.advance_held(step);
    }

    /// Stores where the hold is, until as many as are needed have it; then everywhere.
    fn advance_held(&mut self, step: &mut Step<'_>) {
        let home = Home::from(self.locator());
        self.send_due(step, true);
        let needed = step.quorum().write;
        let has_come = self.places.stored(&home) >= needed;
        let can_come = self.places.can_store_held(&home) >= needed;
        if has_come || !can_come || step.now_ms >= self.until_ms {
            if self.places.stored(&home) == 0 && !can_come && self.was_held(needed) {
                // The hold ran out before anything was stored under it.
                return self.end(step, Written::Refused(ErrorCode::Busy));
            }
            self.won = has_come;
            self.phase = Phase::Storing;
            self.advance_storing(step);
        }
    }

    fn was_held(&self, needed: usize) -> bool {
        self.holding.iter().filter(|(_, held)| *held == Held::Yes).count() >= needed
    }

    fn advance_storing(&mut self, step: &mut Step<'_>) {
        self.places.go_on(&self.locator(), step);
        self.send_due(step, false);
        let needed = step.quorum().write;
        let fewest = self.places.fewest();
        if self.done {
            return;
        }
        let is_sure = self.condition.is_none() || self.won;
        if fewest >= needed && is_sure {
            step.recent.see(&self.version);
            self.note = Some(Note::Forget);
            return self.end(step, Written::Settled);
        }
        if let Some(code) = self.places.refusal(step) {
            self.note = Some(Note::Forget);
            return self.end(step, Written::Refused(code));
        }
        if fewest >= needed || step.now_ms >= self.until_ms || !self.places.is_waiting(step) {
            step.recent.see(&self.version);
            self.note = Some(if self.kept.is_some() { Note::Later } else { Note::Keep });
            self.end(step, Written::Kept { replicas: fewest, of: needed });
        }
    }

    /// Sends what is due, or of that only what is stored where the hold is.
    fn send_due(&mut self, step: &mut Step<'_>, held_only: bool) {
        if step.now_ms >= self.until_ms {
            return;
        }
        let home_of_hold = Home::from(self.locator());
        let hold = self.hold;
        let is_held = self.phase == Phase::Held;
        let envelopes: Vec<Vec<u8>> =
            self.before.iter().chain([&self.version]).map(|version| version.bytes().to_vec()).collect();
        let (version, before) = (&self.version, self.before.is_some());
        self.places.send_due(
            step,
            |target| !held_only || (target.home == home_of_hold && target.holds),
            |target| {
                let held = is_held && target.holds && target.home == home_of_hold;
                // What went before shows why the record is told of where it has left, and how a namespace came to its owner.
                let has_left = target.home != home_of_hold && !version.is_listed_at(&target.home);
                let skip = usize::from(before && !has_left && !version.is_namespace());
                let envelopes = envelopes[skip..].to_vec();
                Request::Store { home: target.home, envelopes, hold: held.then_some(hold) }
            },
        );
    }

    fn end(&mut self, step: &mut Step<'_>, written: Written) {
        self.done = true;
        match (self.kept, written) {
            (None, written) if self.note == Some(Note::Keep) => {
                // The outbox's note comes first.
                self.holding.clear();
                step.keep(vec![Change::Note(self.note_name(), Some(self.to_note()))]);
                step.done(Outcome::Written(written));
            }
            (None, written) => step.done(Outcome::Written(written)),
            (Some(_), Written::Settled) => {
                step.done(Outcome::Completed { locator: self.locator(), hash: self.version.hash() });
            }
            (Some(_), Written::Refused(code)) => {
                let (locator, hash) = (self.locator(), self.version.hash());
                step.done(Outcome::Dropped { locator, hash, code });
            }
            (Some(_), _) => {}
        }
    }

    /// What the outbox has to do about it; asked for once.
    pub(super) fn take_note(&mut self) -> Option<Note> {
        self.note.take()
    }

    pub(super) fn version(&self) -> &Version {
        &self.version
    }

    pub(super) fn before(&self) -> Option<&Version> {
        self.before.as_ref()
    }

    pub(super) fn note_name(&self) -> Vec<u8> {
        [Client::OUTBOX, self.locator().as_bytes(), &self.version.hash()].concat()
    }

    fn to_note(&self) -> Vec<u8> {
        let envelope = self.version.bytes().to_vec();
        // A note is one value of a store. Where both do not fit, a group that the record has left does not hear of it.
        let fits = |before: &&Version| before.bytes().len() + envelope.len() + 16 <= jsfs_store::VALUE_MAX;
        let before = self.before.as_ref().filter(fits).map(|before| before.bytes().to_vec());
        KeptWrite { envelope, before }.to_bytes()
    }

    pub(super) fn tick(&mut self, step: &mut Step<'_>) {
        if let Some(read) = &mut self.conflict {
            read.tick(step);
            self.done = read.is_done();
            return;
        }
        self.advance(step);
    }

    pub(super) fn wakes_at(&self) -> Option<u64> {
        if let Some(read) = &self.conflict {
            return read.wakes_at();
        }
        if self.done {
            return None;
        }
        let backing = match self.phase {
            Phase::Backing { until_ms } => Some(until_ms),
            _ => None,
        };
        self.places.wakes_at().into_iter().chain(backing).chain([self.until_ms]).min()
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }
}
