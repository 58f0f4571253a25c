//! A member that asks: fetching, listing and storing at the replicas of a home, with quorums, hedged requests and repair.
//!
//! An operation starts with a call and ends with [`Action::Done`]; in between the node hands in answers ([`Client::answered`]), failures
//! ([`Client::failed`]) and the time ([`Client::tick`], at the latest at [`Client::wakes_at`]). What an operation learns after it was done
//! still repairs replicas that were behind. Nothing that comes from a replica is believed unjudged, and nothing older than what this node has
//! seen takes its place: the newest versions seen are remembered within a bound.
//!
//! A write that finds too few replicas in time is kept: its note is durable ([`Action::Keep`]) before the caller hears of it, and the client
//! goes on with it, after a restart as well ([`Client::resume`]), until enough replicas have it.

mod alarms;
mod list;
mod merge;
mod outbox;
mod places;
mod read;
mod recent;
mod write;

use super::{Change, Home, Members, Quorum, Request, Response, Slot, Summary, Version};
use crate::membership::PeerId;
use crate::wire::ErrorCode;
use alarms::Alarms;
use jsfs_objects::clock::Random;
use jsfs_objects::read_key::{Group, Locator};
use jsfs_objects::record::RecordHash;
use list::ListRead;
use outbox::Outbox;
use read::SlotRead;
use recent::Recent;
use std::collections::HashMap;
use std::sync::Arc;
use write::Write;

/// Operations at a time; further ones are refused as busy.
const OPERATIONS_MAX: usize = 4_096;

/// How long things are waited for, in ms.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Until another replica is asked as well.
    pub hedge_ms: u64,
    /// Until a request counts as lost.
    pub request_ms: u64,
    /// Until an operation ends with what it has.
    pub operation_ms: u64,
    /// How long a hold lasts: longer than an operation.
    pub hold_ms: u64,
    /// Until a kept write is tried again; doubled each time, up to a minute.
    pub retry_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { hedge_ms: 150, request_ms: 800, operation_ms: 3_000, hold_ms: 8_000, retry_ms: 2_000 }
    }
}

/// An operation.
pub type OpId = u64;

/// A request on its way.
pub type RequestId = u64;

/// What the node has to do, in this order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Make these changes of this node's shelf durable.
    Keep(Vec<Change>),
    /// Send a request. An answer that comes much later is handed in all the same.
    Send {
        /// What the answer is handed in with.
        id: RequestId,
        /// To whom; this node itself among them.
        to: PeerId,
        /// What.
        request: Request,
    },
    /// Tell the caller.
    Done {
        /// Which operation.
        op: OpId,
        /// What became of it.
        outcome: Outcome,
    },
}

/// A write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writing {
    /// The envelope to store.
    pub envelope: Vec<u8>,
    /// The envelope of the record that it is made from, if there is one. Where that lay in another group, its replicas hear of it.
    pub before: Option<Vec<u8>>,
    /// Store only if what is served of this owner is the record with this hash, or nothing.
    pub condition: Option<Option<RecordHash>>,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// As many replicas as an acknowledged write needs have it.
    Settled,
    /// It is kept here and by so many of so many replicas, and is completed later.
    Kept {
        /// Replicas that have it, at the home where they are fewest.
        replicas: usize,
        /// As many as are needed.
        of: usize,
    },
    /// The condition did not hold; this is there.
    Conflict(Box<Slot>),
    /// Refused, and nothing is kept.
    Refused(ErrorCode),
}

/// One name in a listing.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What its record is filed under.
    pub locator: Locator,
    /// What is kept of it in this group.
    pub slot: Slot,
    /// Heads too large for a page: to be fetched.
    pub large: Vec<Summary>,
}

/// A page.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Entries in order of locators, deleted ones left out.
    pub entries: Vec<Entry>,
    /// Where the next page begins; none if this is the last.
    pub next: Option<Locator>,
    /// Whether enough replicas answered for nothing acknowledged to be missing.
    pub settled: bool,
}

/// What became of an operation.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// What is there.
    Fetched {
        /// The versions.
        slot: Box<Slot>,
        /// Whether enough replicas answered for nothing acknowledged to be missing.
        settled: bool,
        /// Members that sent what cannot be believed.
        suspects: Vec<PeerId>,
    },
    /// A page of a listing.
    Listed(Listed),
    /// A write's end.
    Written(Written),
    /// No replica answered.
    Unreached,
    /// A write that was kept was refused by so many replicas, for what cannot change, that it will never have enough: it is not kept any more.
    Dropped {
        /// Under what.
        locator: Locator,
        /// Which version.
        hash: RecordHash,
        /// Why.
        code: ErrorCode,
    },
    /// A write that was kept has enough replicas now.
    Completed {
        /// Under what.
        locator: Locator,
        /// Which version.
        hash: RecordHash,
    },
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// It did not come in time, or the connection failed.
    Lost,
}

/// What a request was for, within its operation.
type Tag = usize;

#[derive(Debug)]
enum Operation {
    Slot(SlotRead),
    List(ListRead),
    Write(Box<Write>),
}

impl Operation {
    fn is_done(&self) -> bool {
        match self {
            Operation::Slot(read) => read.is_done(),
            Operation::List(read) => read.is_done(),
            Operation::Write(write) => write.is_done(),
        }
    }

    fn wakes_at(&self) -> Option<u64> {
        match self {
            Operation::Slot(read) => read.wakes_at(),
            Operation::List(read) => read.wakes_at(),
            Operation::Write(write) => write.wakes_at(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    op: OpId,
    tag: Tag,
    to: PeerId,
}

/// What an operation needs while it takes a step.
struct Step<'a> {
    me: PeerId,
    quorum: Quorum,
    timing: Timing,
    members: &'a Members,
    now_ms: u64,
    random: &'a dyn Random,
    op: OpId,
    recent: &'a mut Recent,
    out: &'a mut Outgoing,
}

/// Requests on their way, and what is to be done.
#[derive(Debug, Default)]
struct Outgoing {
    next: RequestId,
    pending: HashMap<RequestId, Pending>,
    /// When each of them counts as lost.
    until: Alarms<RequestId>,
    /// How many of them an operation waits for, if any.
    awaited: HashMap<OpId, usize>,
    actions: Vec<Action>,
}

impl Outgoing {
    fn send(&mut self, pending: Pending, until_ms: u64, request: Request) {
        let id = self.next;
        self.next += 1;
        self.pending.insert(id, pending);
        self.until.set(id, Some(until_ms));
        *self.awaited.entry(pending.op).or_default() += 1;
        self.actions.push(Action::Send { id, to: pending.to, request });
    }

    fn take(&mut self, id: RequestId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.until.set(id, None);
        if let Some(awaited) = self.awaited.get_mut(&pending.op) {
            *awaited -= 1;
            if *awaited == 0 {
                self.awaited.remove(&pending.op);
            }
        }
        Some(pending)
    }
}

impl Step<'_> {
    fn send(&mut self, to: PeerId, tag: Tag, request: Request) {
        let until_ms = self.now_ms + self.timing.request_ms;
        self.out.send(Pending { op: self.op, tag, to }, until_ms, request);
    }

    fn keep(&mut self, changes: Vec<Change>) {
        self.out.actions.push(Action::Keep(changes));
    }

    fn done(&mut self, outcome: Outcome) {
        self.out.actions.push(Action::Done { op: self.op, outcome });
    }

    /// The replicas of a home, those first that are likely to answer soonest: this node, then the connected ones.
    fn replicas(&self, home: &Home) -> Vec<PeerId> {
        let quorum = self.quorum();
        let mut peers: Vec<_> = self.members.order(home).iter().take(quorum.replicas).copied().collect();
        peers.sort_by_key(|peer| (*peer != self.me, !self.is_reachable(peer)));
        peers
    }

    fn is_reachable(&self, peer: &PeerId) -> bool {
        *peer == self.me || self.members.is_reachable(peer)
    }

    fn quorum(&self) -> Quorum {
        self.quorum.among(self.members.keepers())
    }
}

/// Asks the replicas, on behalf of one node.
pub struct Client {
    me: PeerId,
    quorum: Quorum,
    timing: Timing,
    random: Arc<dyn Random>,
    next_op: OpId,
    operations: HashMap<OpId, Operation>,
    /// When each of them has something to do although nothing came.
    alarms: Alarms<OpId>,
    /// Which members operations were looked at with.
    members: Option<u64>,
    recent: Recent,
    outbox: Outbox,
    out: Outgoing,
}

impl Client {
    /// The client of the node `me`.
    pub fn new(me: PeerId, quorum: Quorum, timing: Timing, random: Arc<dyn Random>) -> Self {
        Self {
            me,
            quorum,
            timing,
            random,
            next_op: 1,
            operations: HashMap::new(),
            alarms: Alarms::default(),
            members: None,
            recent: Recent::default(),
            outbox: Outbox::default(),
            out: Outgoing::default(),
        }
    }

    /// Takes up the writes that were kept when the node stopped: the notes of its shelf that begin with [`Client::OUTBOX`].
    pub fn resume(&mut self, notes: impl IntoIterator<Item = Vec<u8>>, now_ms: u64) {
        for note in notes {
            if let Some(version) = self.outbox.resume(&note, now_ms) {
                self.recent.keep(&version);
            }
        }
    }

    /// What the names of the notes of kept writes begin with.
    pub const OUTBOX: &'static [u8] = b"outbox/";

    /// How many writes are kept until they have enough replicas.
    pub fn kept(&self) -> usize {
        self.outbox.len()
    }

    /// Fetches what is under a locator.
    pub fn fetch(&mut self, locator: Locator, members: &Members, now_ms: u64) -> OpId {
        self.begin(Operation::Slot(SlotRead::new(locator)), members, now_ms)
    }

    /// The same with followed versions, as many as are told ([`CHAIN_MAX`](super::CHAIN_MAX)).
    pub fn fetch_past(&mut self, locator: Locator, members: &Members, now_ms: u64) -> OpId {
        self.begin(Operation::Slot(SlotRead::with_past(locator)), members, now_ms)
    }

    /// Lists a group from after a locator, at most so many entries.
    pub fn list(
        &mut self,
        group: Group,
        after: Option<Locator>,
        limit: u64,
        members: &Members,
        now_ms: u64,
    ) -> OpId {
        self.begin(Operation::List(ListRead::new(group, after, limit)), members, now_ms)
    }

    /// Stores a record. An envelope that is not good is refused here already.
    pub fn store(&mut self, writing: Writing, members: &Members, now_ms: u64) -> OpId {
        let judged = Version::judge(&writing.envelope, members, now_ms);
        let before =
            writing.before.as_deref().map(|bytes| Version::judge(bytes, members, now_ms)).transpose();
        match (judged, before) {
            (Ok(version), Ok(before)) if self.outbox.has_room() => {
                let write = Write::new(version, before, writing.condition);
                self.begin(Operation::Write(Box::new(write)), members, now_ms)
            }
            (Ok(_), Ok(_)) => self.refuse(ErrorCode::Busy),
            (Err(code), _) | (_, Err(code)) => self.refuse(code),
        }
    }

    fn refuse(&mut self, code: ErrorCode) -> OpId {
        let op = self.next_op;
        self.next_op += 1;
        let outcome = Outcome::Written(Written::Refused(code));
        self.out.actions.push(Action::Done { op, outcome });
        op
    }

    fn begin(&mut self, operation: Operation, members: &Members, now_ms: u64) -> OpId {
        let op = self.next_op;
        if self.operations.len() >= OPERATIONS_MAX {
            return match operation {
                Operation::Write(_) => self.refuse(ErrorCode::Busy),
                _ => {
                    self.next_op += 1;
                    self.out.actions.push(Action::Done { op, outcome: Outcome::Unreached });
                    op
                }
            };
        }
        self.next_op += 1;
        self.operations.insert(op, operation);
        self.step(op, members, now_ms, |operation, step| match operation {
            Operation::Slot(read) => read.begin(step),
            Operation::List(read) => read.begin(step),
            Operation::Write(write) => write.begin(step),
        });
        op
    }

    /// Hands in an answer.
    pub fn answered(&mut self, id: RequestId, response: Response, members: &Members, now_ms: u64) {
        self.resolve(id, Ok(response), members, now_ms);
    }

    /// Says that a request could not be sent, or that its connection failed.
    pub fn failed(&mut self, id: RequestId, members: &Members, now_ms: u64) {
        self.resolve(id, Err(Failure::Lost), members, now_ms);
    }

    fn resolve(&mut self, id: RequestId, result: Result<Response, Failure>, members: &Members, now_ms: u64) {
        let Some(Pending { op, tag, to }) = self.out.take(id) else { return };
        self.step(op, members, now_ms, |operation, step| match operation {
            Operation::Slot(read) => read.resolved(step, to, tag, result),
            Operation::List(read) => read.resolved(step, to, tag, result),
            Operation::Write(write) => write.resolved(step, to, tag, result),
        });
    }

    /// Lets the time pass. It looks at what is due, and at all operations where members are others than before.
    pub fn tick(&mut self, members: &Members, now_ms: u64) {
        for id in self.out.until.due(now_ms, usize::MAX) {
            self.resolve(id, Err(Failure::Lost), members, now_ms);
        }
        let ops = if self.members.replace(members.serial()) == Some(members.serial()) {
            self.alarms.due(now_ms, usize::MAX)
        } else {
            let mut all: Vec<_> = self.operations.keys().copied().collect();
            all.sort_unstable();
            all
        };
        for op in ops {
            self.step(op, members, now_ms, |operation, step| match operation {
                Operation::Slot(read) => read.tick(step),
                Operation::List(read) => read.tick(step),
                Operation::Write(write) => write.tick(step),
            });
        }
        let room = OPERATIONS_MAX.saturating_sub(self.operations.len());
        for write in self.outbox.due(now_ms, self.timing.retry_ms, room) {
            self.begin(Operation::Write(Box::new(write)), members, now_ms);
        }
    }

    /// When [`Client::tick`] is due; none if nothing is waited for.
    pub fn wakes_at(&self) -> Option<u64> {
        let kept = self.outbox.wakes_at().filter(|_| self.operations.len() < OPERATIONS_MAX);
        [self.out.until.first(), self.alarms.first(), kept].into_iter().flatten().min()
    }

    /// What is to be done now.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out.actions)
    }

    /// Lets an operation take a step, and forgets it when it waits for nothing any more.
    fn step(
        &mut self,
        op: OpId,
        members: &Members,
        now_ms: u64,
        take: impl FnOnce(&mut Operation, &mut Step<'_>),
    ) {
        let Some(mut operation) = self.operations.remove(&op) else { return };
        let mut step = Step {
            me: self.me,
            quorum: self.quorum,
            timing: self.timing,
            members,
            now_ms,
            random: &*self.random,
            op,
            recent: &mut self.recent,
            out: &mut self.out,
        };
        take(&mut operation, &mut step);
        if let Operation::Write(write) = &mut operation {
            self.outbox.take_note(write, &mut step);
        }
        let is_over = operation.is_done() && !self.out.awaited.contains_key(&op);
        self.alarms.set(op, operation.wakes_at().filter(|_| !is_over));
        if !is_over {
            self.operations.insert(op, operation);
        }
    }
}
