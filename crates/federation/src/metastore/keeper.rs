//! Keeping replicas the same: comparing with the other members from time to time, and passing on what belongs to others when members change.
//!
//! A **round** compares this member with every other, a few at a time (`session`). After a change of members a round begins at once; until it
//! has met everybody, answers for homes that are new here do not count as settled. At the same time what the change made somebody else's
//! is handed to them by the best replica that was there before, without comparing (`handing`), and what is not this member's any more is dropped when
//! enough of its replicas have it. A crash loses nothing but the progress: the next round begins anew, unsettled where it was.

mod handing;
mod session;

use super::{
    CHAIN_MAX, Home, Members, Request, RequestId, Response, Row, Server, Shelf, ShelfError, Slot, Version,
};
use crate::membership::PeerId;
use handing::{Handing, Step};
use session::Session;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// How often and how fast replicas are compared.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From the beginning of a round to the next, ms.
    pub round_ms: u64,
    /// From a change of members to the round that follows, ms: what is handed on arrives meanwhile.
    pub pause_ms: u64,
    /// Until a request counts as lost, ms.
    pub request_ms: u64,
    /// Until a member that did not answer is asked again while this one is not settled, ms.
    pub retry_ms: u64,
    /// Members that are compared with at a time.
    pub sessions: usize,
    /// Slots that are handed on at a time.
    pub handing: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            round_ms: 600_000,
            pause_ms: 3_000,
            request_ms: 3_000,
            retry_ms: 2_000,
            sessions: 8,
            handing: 32,
        }
    }
}

/// A request of the keeper, to be answered with [`Keeper::answered`] or [`Keeper::failed`].
#[derive(Clone, Debug)]
pub struct Asked {
    /// What the answer is handed in with; the keeper's ids are its own.
    pub id: RequestId,
    /// To whom, never this node itself.
    pub to: PeerId,
    /// What.
    pub request: Request,
}

/// What replicas of this member lack or had too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Rows taken from others.
    pub pulled: u64,
    /// Rows given to others.
    pub pushed: u64,
    /// Slots dropped because they are others' now.
    pub dropped: u64,
}

#[derive(Clone, Copy, Debug)]
enum For {
    Session,
    Handing(u64, Home),
    Doubt(Row),
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    to: PeerId,
    what: For,
    until_ms: u64,
}

/// Requests on their way.
#[derive(Debug, Default)]
struct Post {
    next: RequestId,
    pending: BTreeMap<RequestId, Pending>,
    asked: Vec<Asked>,
}

impl Post {
    fn send(&mut self, to: PeerId, what: For, request: Request, until_ms: u64) {
        let id = self.next;
        self.next += 1;
        self.pending.insert(id, Pending { to, what, until_ms });
        self.asked.push(Asked { id, to, request });
    }
}

/// What keeps the replicas of one member the same as the others'.
#[derive(Debug)]
pub struct Keeper {
    pace: Pace,
    /// Members still to be met in this round.
    queue: VecDeque<PeerId>,
    sessions: BTreeMap<PeerId, Session>,
    /// Members that did not answer in this round.
    missed: BTreeSet<PeerId>,
    handing: VecDeque<Handing>,
    round_at: u64,
    /// When those that were missed are tried again.
    retry_at: Option<u64>,
    /// Whether everybody has to be met before this member is settled.
    unsettled: bool,
    /// Whether the members changed since the last round began.
    changed: bool,
    post: Post,
    repaired: Repaired,
}

impl Keeper {
    /// For a server that was just made. Its first round begins with the first tick.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            queue: VecDeque::new(),
            sessions: BTreeMap::new(),
            missed: BTreeSet::new(),
            handing: VecDeque::new(),
            round_at: 0,
            retry_at: None,
            unsettled: true,
            changed: true,
            post: Post::default(),
            repaired: Repaired::default(),
        }
    }

    /// For a server that lacks nothing: the first round comes when it would have come.
    pub fn resting(pace: Pace, now_ms: u64) -> Self {
        Self { round_at: now_ms + pace.round_ms, unsettled: false, changed: false, ..Self::new(pace) }
    }

    /// What was repaired so far.
    pub fn repaired(&self) -> Repaired {
        self.repaired
    }

    /// Members that are still to be met, or were missed, in this round.
    pub fn left(&self) -> usize {
        self.queue.len() + self.sessions.len() + self.missed.len() + usize::from(self.changed)
    }

    /// Takes note that the list of members that keep records changed, and hands on what that made others'.
    pub fn members_changed<S: Shelf>(
        &mut self,
        server: &mut Server<S>,
        earlier: &Arc<Members>,
        members: &Members,
        now_ms: u64,
    ) -> Result<(), ShelfError> {
        if earlier.id() == members.id() {
            return Ok(());
        }
        server.set_changed(earlier)?;
        self.unsettled = true;
        self.handing.push_back(Handing::after(Arc::clone(earlier)));
        self.changed = true;
        self.queue.clear();
        self.missed.clear();
        self.round_at = now_ms + self.pace.pause_ms;
        self.tick(server, members, now_ms)
    }

    fn begin_round<S: Shelf>(
        &mut self,
        server: &mut Server<S>,
        members: &Members,
        now_ms: u64,
    ) -> Result<(), ShelfError> {
        let me = server.me();
        // Each begins with those after itself, so that not all meet the same one first.
        let (before, after): (Vec<_>, Vec<_>) =
            members.keeping().iter().filter(|peer| **peer != me).copied().partition(|peer| *peer < me);
        self.queue = after.into_iter().chain(before).collect();
        self.missed.clear();
        self.changed = false;
        self.retry_at = None;
        self.round_at = now_ms + self.pace.round_ms;
        if self.handing.is_empty() {
            self.handing.push_back(Handing::of_strays());
        }
        server.look_for_doubts()
    }

    /// Lets the time pass.
    pub fn tick<S: Shelf>(
        &mut self,
        server: &mut Server<S>,
        members: &Members,
        now_ms: u64,
    ) -> Result<(), ShelfError> {
        let late = self.post.pending.iter().filter(|(_, pending)| pending.until_ms <= now_ms);
        let late: Vec<_> = late.map(|(id, _)| *id).collect();
        for id in late {
            self.failed(id, server, members, now_ms)?;
        }
        if now_ms >= self.round_at {
            self.begin_round(server, members, now_ms)?;
        }
        if self.retry_at.take_if(|at| *at <= now_ms).is_some() {
            self.queue.extend(std::mem::take(&mut self.missed));
        }
        self.go_on(server, members, now_ms)
    }

    fn go_on<S: Shelf>(
        &mut self,
        server: &mut Server<S>,
        members: &Members,
        now_ms: u64,
    ) -> Result<(), ShelfError> {
        while self.sessions.len() < self.pace.sessions
            && let Some(peer) = self.queue.pop_front()
        {
            if !members.is_reachable(&peer) {
                self.missed.insert(peer);
            } else if let Entry::Vacant(entry) = self.sessions.entry(peer) {
                entry.insert(Session::begin(server, peer, members)?);
                self.ask(peer, server, now_ms)?;
            }
        }
        self.handing.extend(server.take_cuts().iter().map(Handing::of_home));
        let at_once = self.pace.handing;
        if self.hand(server, members, now_ms, |handing, step| handing.go_on(at_once, step))? == Some(true) {
            self.handing.pop_front();
        }
        self.look_up(server, members, now_ms)?;
        if self.unsettled && !self.changed && self.queue.is_empty() && self.sessions.is_empty() {
            if self.missed.is_empty() {
                self.unsettled = false;
                server.set_settled()?;
            } else if self.retry_at.is_none() {
                self.retry_at = Some(now_ms + self.pace.retry_ms);
            }
        }
        Ok(())
    }

    /// An entry that one other says is past, and that nothing here follows: the versions at its locator's home tell.
    fn look_up<S: Shelf>(
        &mut self,
        server: &mut Server<S>,
        members: &Members,
        now_ms: u64,
    ) -> Result<(), ShelfError> {
        for row in server.take_doubts() {
            let home = Home::from(row.locator);
            let here = Slot::load(server.shelf(), home, row.locator)?;
            server.resolve_doubt(&row, here.versions(), members, now_ms)?;
            let order = members.order(&home);
            let others = order.iter().filter(|peer| **peer != server.me() && members.is_reachable(peer));
            for peer in others.take(server.quorum().among(members.keepers()).read) {
                let request = Request::Fetch { locators: vec![row.locator], chain: CHAIN_MAX };
                self.post.send(*peer, For::Doubt(row), request, now_ms + self.pace.request_ms);
            }
        }
        Ok(())
    }

    /// Sends the next request of a session, or ends it.
    fn ask<S: Shelf>(&mut self, peer: PeerId, server: &mut Server<S>, now_ms: u64) -> Result<(), ShelfError> {
        let Some(session) = self.sessions.get_mut(&peer) else { return Ok(()) };
        match session.next(server)? {
            Some(request) => {
                self.post.send(peer, For::Session, request, now_ms + self.pace.request_ms);
            }
            None => {
                self.repaired.pulled += session.pulled;
                self.repaired.pushed += session.pushed;
                self.sessions.remove(&peer);
            }
        }
        Ok(())
    }

    /// Hands in an answer.
    pub fn answered<S: Shelf>(
        &mut self,
        id: RequestId,
        response: &Response,
        server: &mut Server<S>,
        members: &Members,
        now_ms: u64,
    ) -> Result<(), ShelfError> {
        let Some(Pending { to, what, .. }) = self.post.pending.remove(&id) else { return Ok(()) };
        match what {
            For::Session => {
                let good = match self.sessions.get_mut(&to) {
                    Some(session) => session.answered(response, server, members, now_ms)?,
                    None => true,
                };
                if good { self.ask(to, server, now_ms)? } else { self.miss(to) }
            }
            For::Doubt(row) => {
                let Response::Versions { found, .. } = response else { return Ok(()) };
                let envelopes = found.iter().flat_map(|found| &found.envelopes);
                let judged = envelopes.map(|bytes| Version::judge(bytes, members, now_ms));
                let versions: Vec<_> = judged.filter_map(Result::ok).collect();
                server.resolve_doubt(&row, &versions, members, now_ms)?;
            }
            For::Handing(job, home) => {
                self.repaired.pushed += u64::from(matches!(response, Response::Stored(_)));
                self.hand(server, members, now_ms, |handing, step| {
                    handing.handed((job, home), to, Some(response), step)
                })?;
            }
        }
        self.go_on(server, members, now_ms)
    }

    /// Says that a request could not be sent, or that its connection failed.
    pub fn failed<S: Shelf>(
        &mut self,
        id: RequestId,
        server: &mut Server<S>,
        members: &Members,
        now_ms: u64,
    ) -> Result<(), ShelfError> {
        let Some(Pending { to, what, .. }) = self.post.pending.remove(&id) else { return Ok(()) };
        match what {
            For::Session => self.miss(to),
            For::Doubt(_) => {}
            For::Handing(job, home) => {
                self.hand(server, members, now_ms, |handing, step| {
                    handing.handed((job, home), to, None, step)
                })?;
            }
        }
        self.go_on(server, members, now_ms)
    }

    fn miss(&mut self, peer: PeerId) {
        self.sessions.remove(&peer);
        self.missed.insert(peer);
    }

    /// Lets what is being handed on take a step.
    fn hand<S: Shelf, T>(
        &mut self,
        server: &mut Server<S>,
        members: &Members,
        now_ms: u64,
        take: impl FnOnce(&mut Handing, &mut Step<'_, S>) -> Result<T, ShelfError>,
    ) -> Result<Option<T>, ShelfError> {
        let Some(handing) = self.handing.front_mut() else { return Ok(None) };
        let (post, until_ms) = (&mut self.post, now_ms + self.pace.request_ms);
        let mut send = |to, (job, home), request| post.send(to, For::Handing(job, home), request, until_ms);
        let taken = take(handing, &mut Step { server, members, now_ms, send: &mut send })?;
        self.repaired.dropped += std::mem::take(&mut handing.dropped);
        Ok(Some(taken))
    }

    /// When [`Keeper::tick`] is due.
    pub fn wakes_at(&self) -> u64 {
        let requests = self.post.pending.values().map(|pending| pending.until_ms);
        requests.chain(self.retry_at).fold(self.round_at, u64::min)
    }

    /// What is to be sent now.
    pub fn asked(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.post.asked)
    }
}
