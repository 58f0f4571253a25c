//! Records over streams: what the metastore's state machines ask of other members is sent, and what others ask is answered.
//!
//! One task (`keeper`) owns the state machines and the shelf; everything else sends it something and waits. Nothing is answered before what it
//! rests on is on the disk. A member that holds a lease on a home has heard of a change there, or half a second has passed, before whoever made it hears that it
//! was stored: so what was acknowledged anywhere is not read past from memory here. Requests on their way, leases and what waits are bounded; what is cut off by a
//! stop was not acknowledged.

mod keeper;
mod leases;
mod streams;

pub(crate) use keeper::{Setup, run};
pub use leases::{Reading, Ticket};
pub(crate) use streams::RecordService;

use crate::error::PeerError;
use crate::hub::Hub;
use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use jsfs_federation::membership::{PeerId, Role};
use jsfs_federation::metastore::{
    CHANGED_MAX, Home, LEASE_MS_MAX, Members, Outcome, Quorum, Repaired, Request, Response, Shard, Writing,
    Written,
};
use jsfs_federation::wire::ErrorCode;
use jsfs_objects::read_key::{Group, Locator};
use leases::{Leases, Told};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use streams::Wires;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// What waits for the keeper.
const INBOX_MAX: usize = 1_024;

/// Names that are asked for with one request of a listing.
const PAGE: u64 = 500;

/// How long members are waited for that are to tell of changes, while they are too few, and others when they are enough.
const WATCH_TIME: Duration = Duration::from_secs(1);
const WATCH_MORE_TIME: Duration = Duration::from_millis(150);

/// Homes that one group is observed at; one with more is read whenever it is asked for.
const SHARDS_MAX: usize = 1_024;

/// Shards that are observed at the same time.
const SHARDS_AT_ONCE: usize = 16;

/// What the keeper is told.
pub(crate) enum Input {
    /// To ask the replicas.
    Ask(Ask, oneshot::Sender<Outcome>),
    /// What a member asks this one.
    Request(PeerId, Box<Request>, oneshot::Sender<Response>),
    /// What came of a request, or nothing.
    Answer(Origin, u64, Option<Box<Response>>),
    /// A commit has taken place, or not.
    Committed(u64, Result<(), String>),
}

/// Whose request it was.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    Client,
    Keeper,
}

/// What this node wants of the metastore.
pub(crate) enum Ask {
    Fetch(Locator, bool),
    List(Group, Option<Locator>),
    Store(Box<Writing>),
}

/// What was asked, answered and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Requests that went to other members.
    pub asked: u64,
    /// Bytes of requests and answers, both ways.
    pub bytes: u64,
    /// Those of them that went into comparing and repairing, as far as this node began it.
    pub repair_bytes: u64,
    /// Those of them that answered others.
    pub answered_bytes: u64,
    /// Requests of other members.
    pub answered: u64,
    /// Reads that too few replicas answered for it to be sure that nothing acknowledged is missing.
    pub unsettled: u64,
    /// Writes that are kept until enough replicas have them.
    pub kept: u64,
    /// Writes of this node that still wait for enough replicas.
    pub waiting: u64,
    /// Copies of versions kept here that lie with members out of reach, when that was last looked at.
    pub out_of_reach: u64,
    /// Members that are still to be compared with in this round.
    pub to_compare: u64,
    /// What comparing and handing on moved.
    pub repaired: Repaired,
    /// Whether this member has heard from all others since members changed.
    pub settled: bool,
}

/// How the records of a member stand.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) waiting: u64,
    pub(crate) out_of_reach: u64,
    pub(crate) to_compare: u64,
    pub(crate) repaired: Repaired,
    pub(crate) settled: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) asked: AtomicU64,
    pub(crate) used_bytes: AtomicU64,
    pub(crate) repair_bytes: AtomicU64,
    pub(crate) answered_bytes: AtomicU64,
    pub(crate) answered: AtomicU64,
    pub(crate) unsettled: AtomicU64,
    pub(crate) kept: AtomicU64,
}

/// A home that is observed from now on.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Which observation it is.
    pub ticket: Ticket,
    /// What has changed since its entries were read last; none if that is not known.
    pub changed: Option<Vec<Locator>>,
}

/// This node's way to the records of its federation.
pub struct Records {
    hub: Arc<Hub>,
    inbox: mpsc::Sender<Input>,
    pub(crate) wires: Wires,
    pub(crate) leases: Leases,
    pub(crate) members: Mutex<Arc<Members>>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) standing: Mutex<Standing>,
}

impl Records {
    pub(crate) fn new(hub: Arc<Hub>) -> (Arc<Self>, mpsc::Receiver<Input>) {
        let (inbox, receiver) = mpsc::channel(INBOX_MAX);
        let counts = Arc::new(Counts::default());
        let records = Arc::new(Self {
            wires: Wires::new(Arc::clone(&hub), Arc::clone(&counts)),
            hub,
            inbox,
            leases: Leases::default(),
            members: Mutex::default(),
            counts,
            standing: Mutex::default(),
        });
        (records, receiver)
    }

    pub(crate) fn inbox(&self) -> &mpsc::Sender<Input> {
        &self.inbox
    }

    pub(crate) fn members(&self) -> Arc<Members> {
        Arc::clone(&self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_members(&self, members: Arc<Members>) {
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    async fn ask(&self, ask: Ask) -> Outcome {
        let (reply, answer) = oneshot::channel();
        if self.inbox.send(Input::Ask(ask, reply)).await.is_err() {
            return Outcome::Unreached;
        }
        // The keeper drops what it cannot finish: its disk failed, or the node stops.
        answer.await.unwrap_or(Outcome::Unreached)
    }

    fn note_settled(&self, settled: bool) {
        if !settled {
            self.counts.unsettled.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What is under a locator; with what was followed, where `past`.
    pub async fn fetch(&self, locator: Locator, past: bool) -> Outcome {
        let outcome = self.ask(Ask::Fetch(locator, past)).await;
        self.note_settled(matches!(outcome, Outcome::Fetched { settled: true, .. }));
        outcome
    }

    /// A page of what is listed in a group, from after a locator.
    pub async fn list(&self, group: Group, after: Option<Locator>) -> Outcome {
        let outcome = self.ask(Ask::List(group, after)).await;
        self.note_settled(matches!(&outcome, Outcome::Listed(listed) if listed.settled));
        outcome
    }

    /// Stores a record.
    pub async fn store(&self, writing: Writing) -> Written {
        match self.ask(Ask::Store(Box::new(writing))).await {
            Outcome::Written(written) => written,
            _ => Written::Refused(ErrorCode::Busy),
        }
    }

    /// Whether this node's key may grant namespaces.
    pub fn grants(&self) -> bool {
        self.hub.has_role(&self.hub.me, Role::Admin)
    }

    /// Whether what was read of a home is as it was: nothing changed since, as far as those say that would know.
    pub fn is_fresh(&self, home: Home, reading: Reading) -> bool {
        self.leases.is_fresh(&home, reading)
    }

    /// Has the replicas tell this node when something changes at a home from now on, or where a group is cut at those of its shards as well; none where too few of them do.
    /// Of a group that was read before, as many as are needed say what has changed since, if they can.
    pub async fn observe(&self, home: Home, reading: Reading) -> Option<Observation> {
        match reading {
            Reading::Versions => {
                let (ticket, told) = self.observe_one(home).await?;
                Some(Observation { ticket, changed: told.changed })
            }
            Reading::Entries => self.observe_group(home).await,
        }
    }

    async fn observe_group(&self, home: Home) -> Option<Observation> {
        let group = Group::from_bytes(*home.as_bytes());
        let (mut homes, mut next) = (Vec::new(), vec![Shard::WHOLE]);
        let mut changed = Some(BTreeSet::new());
        while !next.is_empty() {
            if homes.len() + next.len() > SHARDS_MAX {
                return None;
            }
            let observed = stream::iter(next).map(|shard| async move {
                let home = shard.home(group);
                (shard, home, self.observe_one(home).await)
            });
            let observed: Vec<_> = observed.buffered(SHARDS_AT_ONCE).collect().await;
            next = Vec::new();
            for (shard, home, one) in observed {
                let (ticket, told) = one?;
                homes.push((home, ticket));
                changed = changed.zip(told.changed).map(|(mut all, more)| {
                    all.extend(more);
                    all
                });
                next.extend(told.cut.then(|| shard.parts()).into_iter().flatten());
            }
        }
        let (_, ticket) = homes.remove(0);
        let ticket = self.leases.bind(&home, ticket, homes)?;
        let changed = changed.filter(|all| all.len() < CHANGED_MAX);
        Some(Observation { ticket, changed: changed.map(|all| all.into_iter().collect()) })
    }

    async fn observe_one(&self, home: Home) -> Option<(Ticket, Told)> {
        let members = self.members();
        let quorum = Quorum::DEFAULT.among(members.keepers());
        let needed = quorum.replicas + 1 - quorum.write;
        let replicas: Vec<PeerId> = members.order(&home).iter().take(quorum.replicas).copied().collect();
        if let Some(observed) = self.leases.ticket(&home, needed) {
            return Some(observed);
        }
        let read = self.leases.read_until(&home, members.id());
        let ticket = self.leases.begin(home, members.id());
        let asked = replicas.into_iter().map(|peer| {
            let since = read.iter().find(|(other, _)| *other == peer).map(|(_, cursor)| *cursor);
            async move {
                let request = Request::Watch { home, cursor: since, lease_ms: LEASE_MS_MAX };
                let Ok(Response::Changes { cursor, gap, locators, cut }) = self.request(peer, request).await
                else {
                    return None;
                };
                let is_all = since.is_some() && !gap && locators.len() < CHANGED_MAX;
                Some(((peer, cursor), (is_all.then_some(locators), cut)))
            }
        });
        let answers = enough(asked.collect(), needed).await;
        let (peers, answers): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
        let (changed, cut): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
        let goes_on = changed.iter().flatten().count() >= needed;
        let changed: BTreeSet<Locator> = changed.into_iter().flatten().flatten().collect();
        let told = Told { changed: goes_on.then(|| changed.into_iter().collect()), cut: cut.contains(&true) };
        let ticket = self.leases.granted(&home, ticket, peers, needed, told.clone())?;
        Some((ticket, told))
    }

    /// Says that a home was read after it was observed, and all that was found is here.
    pub fn settle(&self, home: Home, ticket: Ticket, reading: Reading) {
        self.leases.settle(&home, ticket, reading);
    }

    /// Says that what was read of a home is not so any more.
    pub fn distrust(&self, home: Home) {
        self.leases.distrust(&home);
    }

    /// Woken when something changed at a home that is observed.
    pub fn stale(&self) -> tokio::sync::watch::Receiver<u64> {
        self.leases.stale()
    }

    /// Asks one member, this one included.
    async fn request(&self, peer: PeerId, request: Request) -> Result<Response, PeerError> {
        if peer != self.hub.me {
            return self.wires.ask(Origin::Client, &peer, &request).await;
        }
        let (reply, answer) = oneshot::channel();
        let input = Input::Request(peer, Box::new(request), reply);
        self.inbox.send(input).await.map_err(|_| PeerError::Stopping)?;
        answer.await.map_err(|_| PeerError::Stopping)
    }

    /// What was done since the start.
    pub fn counts(&self) -> RecordCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (repair_bytes, answered_bytes) =
            (count(&self.counts.repair_bytes), count(&self.counts.answered_bytes));
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        RecordCounts {
            asked: count(&self.counts.asked),
            bytes: count(&self.counts.used_bytes) + repair_bytes + answered_bytes,
            repair_bytes,
            answered_bytes,
            answered: count(&self.counts.answered),
            unsettled: count(&self.counts.unsettled),
            kept: count(&self.counts.kept),
            waiting: standing.waiting,
            out_of_reach: standing.out_of_reach,
            to_compare: standing.to_compare,
            repaired: standing.repaired,
            settled: standing.settled,
        }
    }
}

/// Those that come in time: when there are as many as are needed, who is slow or silent is not waited for.
async fn enough<P>(mut asked: FuturesUnordered<impl Future<Output = Option<P>>>, needed: usize) -> Vec<P> {
    let mut told = Vec::new();
    let mut until = Instant::now() + WATCH_TIME;
    while let Ok(Some(answer)) = timeout_at(until, asked.next()).await {
        let before = told.len();
        told.extend(answer);
        if before < needed && told.len() >= needed {
            until = until.min(Instant::now() + WATCH_MORE_TIME);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::{WATCH_MORE_TIME, WATCH_TIME, enough};
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    async fn told(after_ms: &[u64], needed: usize) -> (usize, Duration) {
        let begun = Instant::now();
        let asked = after_ms.iter().map(|ms| async move {
            sleep(Duration::from_millis(*ms)).await;
            Some(())
        });
        (enough(asked.collect(), needed).await.len(), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_not_waited_for_when_there_are_enough() {
        const NEVER: u64 = 100_000;
        assert_eq!(told(&[10, 20, 30], 2).await, (3, Duration::from_millis(30)));
        assert_eq!(told(&[10, 20, NEVER], 2).await, (2, Duration::from_millis(20) + WATCH_MORE_TIME));
        assert_eq!(told(&[10, NEVER, NEVER], 2).await, (1, WATCH_TIME));
    }
}
