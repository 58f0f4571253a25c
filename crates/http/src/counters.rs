//! What is counted and bounded, shared by all connections and whoever answers their requests.
//!
//! Invariant: who is beyond a bound is told so at once or in a few seconds; where a bound is reached, those who use their places least make room.

use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::connections::{Connections, Full, StreamPlace, Tally};
use crate::gate::{Gate, Permit, Places};
use crate::limits::{BadLimit, Limits};
use crate::memory::{Memory, Taken};
use crate::problem::Problem;
use crate::watch::Watch;

/// After how many seconds to come back when the node is full.
pub(crate) const RETRY_AFTER_S: u64 = 2;

/// For so long the beginning of an answer waits for memory.
const MEMORY_WAIT_MAX: Duration = Duration::from_secs(5);

/// How often whoever waits for memory has a slow client make room.
const ROOM_EVERY: Duration = Duration::from_millis(50);

/// What is counted and bounded, shared by all connections and their handler.
#[derive(Clone)]
pub(crate) struct Counters {
    limits: Arc<RwLock<Arc<Limits>>>,
    connections: Arc<Connections>,
    requests: Arc<Gate>,
    uploads: Arc<Gate>,
    encoders: Arc<Gate>,
    watches: Arc<Gate>,
    lasting: Arc<Gate>,
    memory: Arc<Memory>,
    waiting_for_memory: Arc<Gate>,
    stopping: CancellationToken,
}

impl Counters {
    pub(crate) fn new(limits: Limits) -> Result<Self, BadLimit> {
        limits.check()?;
        Ok(Self {
            memory: Arc::new(Memory::new(limits.answer_bytes_max)),
            waiting_for_memory: Arc::default(),
            limits: Arc::new(RwLock::new(Arc::new(limits))),
            connections: Arc::default(),
            requests: Arc::default(),
            uploads: Arc::default(),
            encoders: Arc::default(),
            watches: Arc::default(),
            lasting: Arc::default(),
            stopping: CancellationToken::new(),
        })
    }

    /// Changes the limits.
    ///
    /// # Errors
    /// Names the bound that cannot work; the old ones stay.
    pub(crate) fn set_limits(&self, limits: Limits) -> Result<(), BadLimit> {
        limits.check()?;
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(limits);
        Ok(())
    }

    /// All connections.
    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    pub(crate) fn limits(&self) -> Arc<Limits> {
        // The lock is held for a copy only: a panic cannot leave it half done.
        Arc::clone(&self.limits.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Content codings at work.
    pub(crate) fn encoders(&self) -> &Arc<Gate> {
        &self.encoders
    }

    /// A place among the watches, where there is one.
    pub(crate) fn enter_watches(&self) -> Option<Permit> {
        self.watches.enter(self.limits().watches_max)
    }

    /// Places among the requests, among those of the same address, and among those that store a body. Where there are too many, whoever has the slowest client
    /// makes room.
    pub(crate) fn admit(&self, stores: bool, origin: Option<&Arc<Gate>>) -> Result<Places, Problem> {
        let limits = self.limits();
        let enter = |gate: &Arc<Gate>, max, stores| {
            gate.enter(max).or_else(|| {
                let has_room = self.connections.make_room_for_request(stores, &limits);
                has_room.then(|| gate.enter_for_another())
            })
        };
        let mut places = Places::default();
        if let Some(origin) = origin {
            places.origin = origin.enter(limits.requests_per_address_max);
            if places.origin.is_none() {
                self.connections.refused_request(Full::Address);
                let detail = "this node is answering as many requests of this address as it takes at a time; wait for one";
                return Err(Problem::too_many_requests(detail, RETRY_AFTER_S));
            }
        }
        places.request = enter(&self.requests, limits.requests_max, false);
        places.upload = if stores { enter(&self.uploads, limits.uploads_max, true) } else { None };
        if places.request.is_none() || (stores && places.upload.is_none()) {
            self.connections.refused_request(Full::All);
            let detail = "this node is working on as many requests as it takes at a time; try again later";
            return Err(Problem::unavailable(detail, RETRY_AFTER_S));
        }
        Ok(places)
    }

    /// Memory for an answer, or its first piece. Where there is none, the slowest clients make room.
    pub(crate) async fn memory(&self, bytes: u64) -> Result<Taken, Problem> {
        if let Some(taken) = self.memory.take_now(bytes) {
            return Ok(taken);
        }
        let full = || {
            let detail = "answers that wait for their clients take as much memory as this node gives them; try again later";
            Problem::unavailable(detail, RETRY_AFTER_S)
        };
        let limits = self.limits();
        let _place = self.waiting_for_memory.enter(limits.requests_max / 8).ok_or_else(full)?;
        tokio::time::timeout(MEMORY_WAIT_MAX, self.next_memory(bytes)).await.map_err(|_| full())
    }

    /// Memory for another piece of an answer that has begun.
    pub(crate) async fn next_memory(&self, bytes: u64) -> Taken {
        let mut taking = pin!(self.memory.take(bytes));
        let limits = self.limits();
        loop {
            match tokio::time::timeout(ROOM_EVERY, &mut taking).await {
                Ok(taken) => return taken,
                Err(_) => self.connections.make_room_for_request(false, &limits),
            };
        }
    }

    /// Memory that is free.
    pub(crate) fn memory_now(&self, bytes: u64) -> Option<Taken> {
        self.memory.take_now(bytes)
    }

    /// Whether there is room for what is a courtesy.
    pub(crate) fn has_room(&self) -> bool {
        self.requests.inside() <= self.limits().requests_max / 2
    }

    /// A place for a connection that lasts as long as its client likes. An eighth of all is for the others, which make room for each other.
    ///
    /// # Errors
    /// 503 where there is none.
    pub(crate) fn enter_lasting(&self) -> Result<Permit, Problem> {
        let all = self.limits().connections_max;
        self.lasting.enter((all - all / 8).max(1)).ok_or_else(|| {
            let detail =
                "this node has as many sockets and streams of events as it takes at a time; try again later";
            Problem::unavailable(detail, RETRY_AFTER_S)
        })
    }

    /// A place for a request that shares its connection.
    pub(crate) fn begin_stream(&self, connection: &Arc<Watch>) -> StreamPlace {
        self.connections.begin_stream(connection)
    }

    /// A place for a call of a socket.
    pub(crate) fn begin_call(&self, origin: Option<&Arc<Gate>>) -> StreamPlace {
        self.connections.begin_call(origin)
    }

    /// What has become of connections and requests.
    pub(crate) fn tally(&self) -> Tally {
        self.connections.tally()
    }

    /// Ends answers that last as long as the client listens.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
    }

    /// Cancelled when the node stops: answers that last as long as the client listens end then.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    pub(crate) fn load(&self) -> Load {
        Load {
            connections: self.connections.len(),
            requests: self.requests.inside(),
            uploads: self.uploads.inside(),
            watches: self.watches.inside(),
            answer_bytes: self.memory.taken_bytes(),
        }
    }
}

/// What goes on at the front door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Load {
    /// Open connections.
    pub connections: usize,
    /// Requests being worked on or answered.
    pub requests: usize,
    /// Those of them that bring a body.
    pub uploads: usize,
    /// Watches, by sockets and as Server-Sent Events.
    pub watches: usize,
    /// Memory of answers that wait for their clients.
    pub answer_bytes: u64,
}
