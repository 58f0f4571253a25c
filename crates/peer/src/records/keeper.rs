//! The task that owns this node's part of the metastore: client, server and comparer over one shelf.
//!
//! It waits for nobody: what takes time is a task of its own that tells it the outcome. What changed the shelf is committed one commit at a time; answers and
//! outcomes leave in order when the commit that they rest on has taken place. Where a commit fails, everything that waits for it is dropped without an
//! answer and the shelf is opened anew, so nobody was told of what is not on the disk. While the node is in no federation nothing is done.

use super::{Ask, Input, Origin, Records, Standing};
use crate::error::PeerError;
use crate::hub::Hub;
use jsfs_federation::membership::{PeerId, Role};
use jsfs_federation::metastore::{
    Action, Client, Home, Keeper, Limits, Members, OpId, Outcome, Pace, Quorum, Request, Response, Server,
    Shelf, ShelfError, StoreShelf, Timing, Written,
};
use jsfs_federation::wire::ErrorCode;
use jsfs_store::Store;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How often members are looked at although nobody said that they changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often copies that are out of reach are counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// How long whoever stores something waits for those who watch it.
const NOTICE_TIME: Duration = Duration::from_millis(500);

/// Operations that wait for their replicas.
const WAITING_MAX: usize = 4_096;

/// Notes that are read at a time.
const NOTES: usize = 256;

/// What the task is made of.
pub(crate) struct Setup {
    pub(crate) store: Store,
    /// How long a member may be out of reach until others keep what it kept.
    pub(crate) away_after: Duration,
    pub(crate) limits: Limits,
}

/// What is done when the shelf's changes before it are on the disk.
enum Deferred {
    /// An answer to a member.
    Answer(oneshot::Sender<Response>, Response),
    /// An answer of this node to its own client.
    Own(u64, Response),
    /// The end of an operation.
    Done(OpId, Outcome),
}

struct Waiting {
    applied: u64,
    what: Deferred,
    /// Who is to hear of it first.
    notices: BTreeSet<(PeerId, Home)>,
}

struct State {
    hub: Arc<Hub>,
    records: Arc<Records>,
    setup: Setup,
    members: Arc<Members>,
    version: Option<u64>,
    /// When members were looked at.
    looked: Instant,
    /// Since when members have been out of reach.
    missing: HashMap<PeerId, Instant>,
    client: Client,
    server: Server<StoreShelf>,
    keeper: Keeper,
    asked: BTreeMap<OpId, oneshot::Sender<Outcome>>,
    deferred: VecDeque<Waiting>,
    committed: u64,
    committing: bool,
    /// Copies that lie with members out of reach, and when they were counted.
    out_of_reach: (u64, Instant),
}

/// Runs until it is dropped.
pub(crate) async fn run(
    hub: Arc<Hub>,
    records: Arc<Records>,
    setup: Setup,
    mut inbox: mpsc::Receiver<Input>,
) {
    let mut changes = hub.changes();
    let mut state = loop {
        match State::open(&hub, &records, &setup) {
            Ok(state) => break state,
            Err(error) => {
                tracing::error!(%error, "the records of the federation cannot be opened");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    };
    loop {
        let wake = tokio::time::sleep(state.rest());
        let input = tokio::select! {
            input = inbox.recv() => match input {
                Some(input) => Some(input),
                None => return,
            },
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                None
            }
            () = wake => None,
        };
        if let Err(error) = state.take(input) {
            tracing::error!(%error, "the records of the federation could not be read or written; they are opened anew");
            match State::open(&hub, &records, &setup) {
                Ok(fresh) => state = fresh,
                Err(error) => {
                    tracing::error!(%error, "the records of the federation cannot be opened");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }
}

impl State {
    fn open(hub: &Arc<Hub>, records: &Arc<Records>, setup: &Setup) -> Result<Self, ShelfError> {
        let shelf = StoreShelf::new(setup.store.clone());
        let mut client = Client::new(hub.me, Quorum::DEFAULT, Timing::default(), Arc::clone(&hub.random));
        let mut after = Vec::new();
        loop {
            let notes = shelf.notes(Client::OUTBOX, &after, NOTES)?;
            let Some((last, _)) = notes.last() else { break };
            after.clone_from(last);
            client.resume(notes.into_iter().map(|(_, note)| note), hub.now_ms());
        }
        let server = Server::new(hub.me, shelf, Quorum::DEFAULT, setup.limits)?;
        Ok(Self {
            hub: Arc::clone(hub),
            records: Arc::clone(records),
            setup: Setup { store: setup.store.clone(), ..*setup },
            members: Arc::default(),
            version: None,
            looked: Instant::now(),
            missing: HashMap::new(),
            client,
            server,
            keeper: Keeper::new(Pace::default()),
            asked: BTreeMap::new(),
            deferred: VecDeque::new(),
            committed: 0,
            committing: false,
            out_of_reach: (0, Instant::now()),
        })
    }

    /// Until something is due.
    fn rest(&self) -> Duration {
        if self.version.is_none() {
            return LOOK_EVERY;
        }
        let due = self.client.wakes_at().map_or(self.keeper.wakes_at(), |at| at.min(self.keeper.wakes_at()));
        Duration::from_millis(due.saturating_sub(self.hub.now_ms())).min(LOOK_EVERY)
    }

    fn take(&mut self, input: Option<Input>) -> Result<(), ShelfError> {
        self.look()?;
        let now_ms = self.hub.now_ms();
        match input {
            Some(Input::Ask(ask, reply)) => self.ask(ask, reply, now_ms),
            Some(Input::Request(from, request, reply)) => self.answer(from, &request, reply, now_ms)?,
            Some(Input::Answer(Origin::Client, id, answer)) => match answer {
                Some(answer) => self.client.answered(id, *answer, &self.members, now_ms),
                None => self.client.failed(id, &self.members, now_ms),
            },
            Some(Input::Answer(Origin::Keeper, id, answer)) => match answer {
                Some(answer) => {
                    self.keeper.answered(id, &answer, &mut self.server, &self.members, now_ms)?;
                }
                None => self.keeper.failed(id, &mut self.server, &self.members, now_ms)?,
            },
            Some(Input::Committed(number, Ok(()))) => {
                self.server.shelf_mut().committed(number);
                (self.committed, self.committing) = (number, false);
            }
            Some(Input::Committed(_, Err(error))) => return Err(ShelfError::Storage(error)),
            None => self.count_out_of_reach()?,
        }
        if self.version.is_some() {
            self.client.tick(&self.members, now_ms);
            self.keeper.tick(&mut self.server, &self.members, now_ms)?;
        }
        self.carry_out(now_ms)
    }

    /// Looks at who is a member, and in reach.
    fn look(&mut self) -> Result<(), ShelfError> {
        // Beside what is told, only time changes them.
        if self.version.is_some() && self.looked.elapsed() < LOOK_EVERY {
            let version = self.hub.with(|federation| federation.roster.version());
            if version.ok() == self.version {
                return Ok(());
            }
        }
        self.looked = Instant::now();
        let (me, now_ms) = (self.hub.me, self.hub.now_ms());
        let (missing, away_after) = (&mut self.missing, self.setup.away_after);
        let found = self.hub.with(|federation| {
            federation.roster.set_reachable(me, true);
            let roster = &federation.roster;
            let absent: BTreeSet<PeerId> = roster
                .members(now_ms)
                .map(|terms| terms.peer)
                .filter(|peer| *peer != me && !roster.is_reachable(peer))
                .collect();
            missing.retain(|peer, _| absent.contains(peer));
            for peer in &absent {
                missing.entry(*peer).or_insert_with(Instant::now);
            }
            let away = |peer: &PeerId| missing.get(peer).is_some_and(|since| since.elapsed() >= away_after);
            (roster.version(), Members::of_roster(roster, [], away, now_ms))
        });
        let Ok((version, members)) = found else {
            self.version = None;
            if self.members.keepers() > 0 {
                self.members = Arc::default();
                self.records.set_members(Arc::default());
            }
            return Ok(());
        };
        let is_first = self.version.is_none();
        self.version = Some(version);
        if members.is_like(&self.members) && !is_first {
            return Ok(());
        }
        let (earlier, members) = (Arc::clone(&self.members), Arc::new(members));
        self.members = Arc::clone(&members);
        self.records.set_members(Arc::clone(&members));
        let gone = |peer: &PeerId| *peer != me && !members.is_reachable(peer);
        self.records.leases.lost(gone);
        self.records.wires.forget(gone);
        if earlier.id() != members.id() {
            self.records.leases.members_changed(members.id());
            // Whoever is the first keeps all that there is.
            if earlier.keepers() == 0 && members.keeping() == [me] {
                self.server.set_settled()?;
                self.keeper = Keeper::resting(Pace::default(), now_ms);
                return Ok(());
            }
            // What a restart finds as it left it has not changed.
            if earlier.keepers() > 0 || !self.server.is_settled(&Home::from_bytes([0; 32])) {
                self.keeper.members_changed(&mut self.server, &earlier, &members, now_ms)?;
            }
        }
        Ok(())
    }

    fn ask(&mut self, ask: Ask, reply: oneshot::Sender<Outcome>, now_ms: u64) {
        if self.version.is_none() || self.asked.len() >= WAITING_MAX {
            let busy = match ask {
                Ask::Store(_) => Outcome::Written(Written::Refused(ErrorCode::Busy)),
                _ => Outcome::Unreached,
            };
            let _ = reply.send(busy);
            return;
        }
        let members = &self.members;
        let op = match ask {
            Ask::Fetch(locator, false) => self.client.fetch(locator, members, now_ms),
            Ask::Fetch(locator, true) => self.client.fetch_past(locator, members, now_ms),
            Ask::List(group, after) => self.client.list(group, after, super::PAGE, members, now_ms),
            Ask::Store(writing) => self.client.store(*writing, members, now_ms),
        };
        self.asked.insert(op, reply);
    }

    fn answer(
        &mut self,
        from: PeerId,
        request: &Request,
        reply: oneshot::Sender<Response>,
        now_ms: u64,
    ) -> Result<(), ShelfError> {
        if let Request::Notice { home } = request {
            self.records.leases.changed(home);
            let _ = reply.send(Response::Noted);
            return Ok(());
        }
        let is_meta = self.hub.has_role(&self.hub.me, Role::Meta) && self.version.is_some();
        let response = if is_meta {
            self.server.handle(&from, request, &self.members, now_ms)?
        } else {
            Response::refused(ErrorCode::Role)
        };
        self.defer(Deferred::Answer(reply, response), now_ms);
        Ok(())
    }

    /// Has something done when all that was changed until now is on the disk, and whoever watches it has heard.
    fn defer(&mut self, what: Deferred, now_ms: u64) {
        let applied = self.server.shelf().applied();
        let notices = self.server.take_notices(now_ms);
        self.deferred.push_back(Waiting { applied, what, notices });
    }

    fn carry_out(&mut self, now_ms: u64) -> Result<(), ShelfError> {
        loop {
            let (actions, asked) = (self.client.actions(), self.keeper.asked());
            if actions.is_empty() && asked.is_empty() && !self.release(now_ms) {
                break;
            }
            for action in actions {
                match action {
                    Action::Keep(changes) => self.server.shelf_mut().apply(changes)?,
                    Action::Send { id, to, request } if to == self.hub.me => {
                        let response = self.server.handle(&to, &request, &self.members, now_ms)?;
                        self.defer(Deferred::Own(id, response), now_ms);
                    }
                    Action::Send { id, to, request } => self.send(Origin::Client, id, to, request),
                    Action::Done { op, outcome } => self.defer(Deferred::Done(op, outcome), now_ms),
                }
            }
            for asked in asked {
                self.send(Origin::Keeper, asked.id, asked.to, asked.request);
            }
        }
        self.tell_standing();
        // What comparing brought is news to whoever watches, but nobody waits for it.
        let notices = self.server.take_notices(now_ms);
        if !notices.is_empty() {
            let records = Arc::clone(&self.records);
            self.hub.spawn(async move { tell(&records, notices).await });
        }
        self.commit();
        Ok(())
    }

    /// That nobody is out of reach is seen at once; what is with those who are, now and then.
    fn count_out_of_reach(&mut self) -> Result<(), ShelfError> {
        let (count, counted) = self.out_of_reach;
        let all_here = self.members.keeping().iter().all(|peer| self.members.is_reachable(peer));
        if (count > 0 && all_here) || counted.elapsed() >= COUNT_EVERY {
            self.out_of_reach = (self.server.out_of_reach(&self.members)?, Instant::now());
        }
        Ok(())
    }

    fn tell_standing(&self) {
        let is_member = self.version.is_some();
        let standing = Standing {
            waiting: self.client.kept() as u64,
            out_of_reach: self.out_of_reach.0,
            to_compare: if is_member { self.keeper.left() as u64 } else { 0 },
            repaired: self.keeper.repaired(),
            settled: is_member && self.server.is_all_settled(),
        };
        *self.records.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    fn send(&self, origin: Origin, id: u64, to: PeerId, request: Request) {
        let records = Arc::clone(&self.records);
        self.hub.spawn(async move {
            let answer = match records.wires.ask(origin, &to, &request).await {
                Ok(answer) => Some(Box::new(answer)),
                Err(error) => {
                    tracing::debug!(peer = %to, %error, "a member did not answer for records");
                    None
                }
            };
            let _ = records.inbox().send(Input::Answer(origin, id, answer)).await;
        });
    }

    /// Does what waited for the last commit; says whether there was any.
    fn release(&mut self, now_ms: u64) -> bool {
        let mut any = false;
        while self.deferred.front().is_some_and(|next| next.applied <= self.committed)
            && let Some(Waiting { what, notices, .. }) = self.deferred.pop_front()
        {
            any = true;
            if notices.is_empty() {
                self.finish(what, now_ms);
            } else {
                let records = Arc::clone(&self.records);
                self.hub.spawn(async move {
                    tell(&records, notices).await;
                    match what {
                        Deferred::Answer(reply, response) => {
                            let _ = reply.send(response);
                        }
                        Deferred::Own(id, response) => {
                            let answer = Input::Answer(Origin::Client, id, Some(Box::new(response)));
                            let _ = records.inbox().send(answer).await;
                        }
                        Deferred::Done(..) => {}
                    }
                });
            }
        }
        any
    }

    fn finish(&mut self, what: Deferred, now_ms: u64) {
        match what {
            Deferred::Answer(reply, response) => {
                let _ = reply.send(response);
            }
            Deferred::Own(id, response) => self.client.answered(id, response, &self.members, now_ms),
            Deferred::Done(op, outcome) => {
                match &outcome {
                    Outcome::Written(Written::Kept { replicas, of }) => {
                        self.records.counts.kept.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(replicas, of, "a record is kept here until enough members have it");
                    }
                    Outcome::Dropped { code, .. } => {
                        tracing::error!(?code, "a record that was kept here is refused by the others");
                    }
                    Outcome::Completed { .. } => {
                        tracing::info!("a record that was kept here is on enough members now")
                    }
                    _ => {}
                }
                if let Some(reply) = self.asked.remove(&op) {
                    let _ = reply.send(outcome);
                }
            }
        }
    }

    fn commit(&mut self) {
        if self.committing {
            return;
        }
        let Some((commit, number)) = self.server.shelf_mut().take_commit() else { return };
        self.committing = true;
        let (store, records) = (self.setup.store.clone(), Arc::clone(&self.records));
        self.hub.spawn(async move {
            let done = store.commit(commit).await.map(|_| ()).map_err(|error| error.to_string());
            let _ = records.inbox().send(Input::Committed(number, done)).await;
        });
    }
}

/// Tells those who watch, at the same time and for a bounded time.
async fn tell(records: &Arc<Records>, notices: BTreeSet<(PeerId, Home)>) {
    let me = records.hub.me;
    let told = notices.into_iter().map(|(peer, home)| async move {
        if peer == me {
            records.leases.changed(&home);
            return Ok(());
        }
        let request = Request::Notice { home };
        tokio::time::timeout(NOTICE_TIME, records.wires.ask(Origin::Client, &peer, &request))
            .await
            .map_err(|_| PeerError::Stopping)?
            .map(|_| ())
    });
    for outcome in futures_util::future::join_all(told).await {
        if let Err(error) = outcome {
            tracing::debug!(%error, "a member that watches did not hear of a change");
        }
    }
}
