//! Which connections there are, what each is waiting for, and since when; closes those that wait too long.
//!
//! Invariants: a connection is counted from its acceptance until its last byte; one task looks at all of them every tick,
//! so a request sets no timer; the marks are atomics that the connection's own task writes and the watching task reads,
//! so a mark may be a tick late but never blocks a request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::limits::Limits;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Between requests.
    Idle,
    /// Some of a request's head is here.
    Head,
    /// A request is worked on or answered.
    Work,
    /// All is said; what the client still sends is thrown away.
    Lingering,
    /// The connection has become a socket, which looks after itself but for what the client does not take.
    Socket,
    /// The connection carries several requests, each with marks of its own.
    Streams,
}

/// Why a connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Doom {
    /// It need not.
    None,
    /// It rested too long, or another one needed its place.
    Idle,
    /// The head of a request took too long.
    Head,
    /// The body of a request came too slowly.
    Body,
    /// The answer was taken too slowly.
    Answer,
    /// The request took too long in all.
    Request,
    /// The client closed its side long ago and has had nothing of an answer.
    Gone,
}

/// The marks of one connection, or of one request where a connection carries several.
#[derive(Debug)]
pub(crate) struct Watch {
    started: Instant,
    phase: AtomicU8,
    /// Milliseconds after `started` at which the phase began.
    since_ms: AtomicU64,
    /// The answer's body has been handed over; what remains is to flush it.
    answered: AtomicBool,
    /// The client may still be sending what nobody wants.
    unread: AtomicBool,
    /// The request's body is waited for.
    wants_body: AtomicBool,
    /// The client takes no more bytes for the moment.
    write_blocked: AtomicBool,
    /// Something of the answer to the request at work has been sent.
    answering: AtomicBool,
    /// The client closed its side while the request was worked on, at `left_ms`.
    left: AtomicBool,
    left_ms: AtomicU64,
    /// Whether it has left is asked rather than guessed.
    asks: AtomicBool,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    doom: AtomicU8,
    waker: AtomicWaker,
    /// Requests that share this connection now.
    streams: AtomicUsize,
    /// Written by the watching task only: when the current stretch of waiting began and the bytes moved until then.
    wait_since_ms: AtomicU64,
    wait_bytes: AtomicU64,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            phase: AtomicU8::new(Phase::Head as u8),
            since_ms: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            wants_body: AtomicBool::new(false),
            write_blocked: AtomicBool::new(false),
            answering: AtomicBool::new(false),
            left: AtomicBool::new(false),
            left_ms: AtomicU64::new(0),
            asks: AtomicBool::new(false),
            read_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            doom: AtomicU8::new(Doom::None as u8),
            waker: AtomicWaker::new(),
            streams: AtomicUsize::new(0),
            wait_since_ms: AtomicU64::new(0),
            wait_bytes: AtomicU64::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn enter(&self, phase: Phase) {
        self.since_ms.store(self.now_ms(), Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Work,
            3 => Phase::Lingering,
            4 => Phase::Socket,
            _ => Phase::Streams,
        }
    }

    /// Bytes came in.
    pub(crate) fn received(&self, bytes: usize) {
        self.read_bytes.fetch_add(bytes as u64, Relaxed);
        if self.phase() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// Whether the client has said anything yet.
    pub(crate) fn has_received(&self) -> bool {
        self.read_bytes.load(Relaxed) > 0
    }

    /// Bytes went out (0: the client takes none).
    pub(crate) fn sent(&self, bytes: usize) {
        self.written_bytes.fetch_add(bytes as u64, Relaxed);
        if bytes > 0 {
            self.answering.store(true, Relaxed);
        }
        self.write_blocked.store(bytes == 0, Relaxed);
    }

    /// A request was read and goes to its handler.
    pub(crate) fn begin_work(&self) {
        self.answered.store(false, Relaxed);
        self.answering.store(false, Relaxed);
        self.left.store(false, Relaxed);
        self.asks.store(false, Relaxed);
        self.enter(Phase::Work);
    }

    /// The last request was answered, and the connection is a socket from now on.
    pub(crate) fn begin_socket(&self) {
        self.enter(Phase::Socket);
    }

    /// The whole answer was handed to hyper.
    pub(crate) fn answered(&self) {
        self.answered.store(true, Relaxed);
    }

    /// Everything written so far has left.
    pub(crate) fn flushed(&self) {
        if self.phase() == Phase::Work && self.answered.load(Relaxed) {
            self.write_blocked.store(false, Relaxed);
            self.enter(Phase::Idle);
            // What was kept from hyper meanwhile.
            if self.left.load(Relaxed) {
                self.waker.wake();
            }
        }
    }

    /// Whether an answer of ours may still be on its way out.
    pub(crate) fn is_working(&self) -> bool {
        matches!(self.phase(), Phase::Work | Phase::Socket)
    }

    /// A request was answered before all of it was read.
    pub(crate) fn left_unread(&self) {
        self.unread.store(true, Relaxed);
    }

    /// Whether closing now would reset the connection under a client that is still sending.
    pub(crate) fn must_linger(&self) -> bool {
        self.unread.load(Relaxed)
    }

    pub(crate) fn linger(&self) {
        self.enter(Phase::Lingering);
    }

    /// The client has closed its side. Answers whether that is kept from hyper, which would end the request at once: a client that only says
    /// that it has no more to say still waits for its answer. Whoever waits for its body is told.
    pub(crate) fn keeps_closing(&self) -> bool {
        if self.phase() != Phase::Work || self.wants_body.load(Relaxed) {
            return false;
        }
        if !self.left.swap(true, Relaxed) {
            self.left_ms.store(self.now_ms(), Relaxed);
        }
        true
    }

    /// Whoever answers is of use to this client alone.
    pub(crate) fn ask_client(&self) {
        self.asks.store(true, Relaxed);
        self.waker.wake();
    }

    /// Whether the client may be asked if it is there: what is sent for that must come before an answer.
    pub(crate) fn may_ask_client(&self) -> bool {
        self.asks.load(Relaxed) && self.phase() == Phase::Work && !self.answering.load(Relaxed)
    }

    /// Nothing was sent for so long after the client closed its side that it rather is gone.
    fn is_gone(&self, now_ms: u64) -> bool {
        self.left.load(Relaxed)
            && !self.asks.load(Relaxed)
            && !self.answering.load(Relaxed)
            && Duration::from_millis(now_ms.saturating_sub(self.left_ms.load(Relaxed))) > GONE_TIME
    }

    /// The handler waits for the request's body, or no longer.
    pub(crate) fn wait_for_body(&self, waits: bool) {
        self.wants_body.store(waits, Relaxed);
    }

    /// To be woken when doomed.
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// Waits until there is a reason to end. One task at a time.
    pub(crate) async fn doomed(&self) {
        std::future::poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.doom() == Doom::None { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// A piece of an answer was handed over: until the next is asked for, the client is who is waited for.
    pub(crate) fn handed_over(&self, bytes: usize) {
        self.sent(bytes);
        self.write_blocked.store(true, Relaxed);
    }

    /// The next piece of an answer is asked for.
    pub(crate) fn asked_for_more(&self) {
        self.write_blocked.store(false, Relaxed);
    }

    pub(crate) fn doom(&self) -> Doom {
        match self.doom.load(Relaxed) {
            0 => Doom::None,
            1 => Doom::Idle,
            2 => Doom::Head,
            3 => Doom::Body,
            4 => Doom::Answer,
            5 => Doom::Request,
            _ => Doom::Gone,
        }
    }

    pub(crate) fn end(&self, why: Doom) {
        if self.doom() == Doom::None {
            self.doom.store(why as u8, Relaxed);
            self.waker.wake();
        }
    }

    /// Looks at the marks and dooms the connection where it has waited too long.
    pub(crate) fn judge(&self, limits: &Limits) {
        let now_ms = self.now_ms();
        let age = Duration::from_millis(now_ms.saturating_sub(self.since_ms.load(Relaxed)));
        match self.phase() {
            Phase::Idle if age > limits.idle_time_max => self.end(Doom::Idle),
            Phase::Head if age > limits.head_time_max => self.end(Doom::Head),
            Phase::Lingering if age > LINGER_TIME => self.end(Doom::Idle),
            Phase::Work if age > limits.request_time_max => self.end(Doom::Request),
            Phase::Work if self.is_gone(now_ms) => self.end(Doom::Gone),
            Phase::Work | Phase::Socket => self.judge_progress(now_ms, limits),
            Phase::Idle | Phase::Head | Phase::Lingering | Phase::Streams => {}
        }
    }

    fn judge_progress(&self, now_ms: u64, limits: &Limits) {
        let write_blocked = self.write_blocked.load(Relaxed);
        let bytes = self.read_bytes.load(Relaxed) + self.written_bytes.load(Relaxed);
        let waited = Duration::from_millis(now_ms.saturating_sub(self.wait_since_ms.load(Relaxed)));
        let moved = bytes.saturating_sub(self.wait_bytes.load(Relaxed));
        let waiting = write_blocked || self.wants_body.load(Relaxed);
        if waiting && moved < limits.progress_bytes_min {
            if waited > limits.progress_time {
                self.end(if write_blocked { Doom::Answer } else { Doom::Body });
            }
        } else {
            self.wait_since_ms.store(now_ms, Relaxed);
            self.wait_bytes.store(bytes, Relaxed);
        }
    }
}

/// How long a client may go on sending after its last answer.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// How long a client that has closed its side is waited for before the first byte of an answer.
const GONE_TIME: Duration = Duration::from_secs(5);

/// All connections of a server.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    watches: HashMap<u64, Arc<Watch>>,
    /// Requests that share a connection with others.
    streams: HashMap<u64, Arc<Watch>>,
    per_address: HashMap<IpAddr, usize>,
}

/// One request of a connection that carries several; the connection rests when the last is dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace {
    connections: Arc<Connections>,
    id: u64,
    connection: Arc<Watch>,
    watch: Arc<Watch>,
}

impl StreamPlace {
    pub(crate) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        // Under the lock, so that a request that begins meanwhile does not find its connection at rest.
        let mut inner = self.connections.lock();
        inner.streams.remove(&self.id);
        if self.connection.streams.fetch_sub(1, Relaxed) == 1 {
            self.connection.enter(Phase::Idle);
        }
    }
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// This address has too many.
    Address,
    /// There are too many in all and each is at work.
    All,
}

/// One place among the connections; given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    id: u64,
    address: Option<IpAddr>,
    pub(crate) watch: Arc<Watch>,
}

impl Connections {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing in here can be left half done by a panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a connection from `address`.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Result<Place, Full> {
        let address = counted(address);
        let mut inner = self.lock();
        if inner.watches.len() >= limits.connections_max && !inner.evict() {
            return Err(Full::All);
        }
        if let Some(address) = address {
            let count = inner.per_address.entry(address).or_default();
            if *count >= limits.connections_per_address_max {
                return Err(Full::Address);
            }
            *count += 1;
        }
        let id = inner.next;
        inner.next += 1;
        let watch = Arc::new(Watch::new());
        inner.watches.insert(id, Arc::clone(&watch));
        Ok(Place { connections: Arc::clone(self), id, address, watch })
    }

    /// Dooms every connection that has waited too long.
    pub(crate) fn judge(&self, limits: &Limits) {
        let inner = self.lock();
        for watch in inner.watches.values().chain(inner.streams.values()) {
            watch.judge(limits);
        }
    }

    /// Takes a place for a request that shares its connection.
    pub(crate) fn begin_stream(self: &Arc<Self>, connection: &Arc<Watch>) -> StreamPlace {
        let watch = Arc::new(Watch::new());
        watch.begin_work();
        let mut inner = self.lock();
        let id = inner.next;
        inner.next += 1;
        inner.streams.insert(id, Arc::clone(&watch));
        if connection.streams.fetch_add(1, Relaxed) == 0 {
            connection.enter(Phase::Streams);
        }
        StreamPlace { connections: Arc::clone(self), id, connection: Arc::clone(connection), watch }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().watches.len()
    }
}

impl Inner {
    /// Makes room by ending the connection that has rested longest. Its place is free for the new one at once; the task
    /// that ends takes a moment longer.
    fn evict(&mut self) -> bool {
        let rests = |watch: &Watch| matches!(watch.phase(), Phase::Idle | Phase::Lingering);
        let oldest = self
            .watches
            .iter()
            .filter(|(_, watch)| rests(watch) && watch.doom() == Doom::None)
            .max_by_key(|(_, watch)| watch.now_ms().saturating_sub(watch.since_ms.load(Relaxed)))
            .map(|(id, _)| *id);
        let Some(watch) = oldest.and_then(|id| self.watches.remove(&id)) else { return false };
        watch.end(Doom::Idle);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.connections.lock();
        inner.watches.remove(&self.id);
        let Some(address) = self.address else { return };
        if let Some(count) = inner.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                inner.per_address.remove(&address);
            }
        }
    }
}

/// What connections are counted by: nothing for loopback, one /64 for IPv6.
fn counted(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V4(address) => Some(IpAddr::V4(address)),
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            Some(IpAddr::V6(segments.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Connections, Doom, Full, Watch};
    use crate::limits::Limits;
    use std::sync::Arc;
    use std::time::Duration;

    fn limits() -> Limits {
        Limits { connections_max: 5, connections_per_address_max: 2, ..Limits::default() }
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let connections = Arc::new(Connections::default());
        let enter = |address: &str| connections.enter(address.parse().expect("an address"), &limits());
        let first = enter("192.0.2.1").expect("a place");
        let _second = enter("::ffff:192.0.2.1").expect("a place");
        assert_eq!(enter("192.0.2.1").err(), Some(Full::Address));
        let _other = enter("2001:db8::1").expect("a place");
        let _same_64 = enter("2001:db8::ffff:2").expect("a place");
        assert_eq!(enter("2001:db8::3").err(), Some(Full::Address));
        drop(first);
        assert!(enter("192.0.2.1").is_ok());
    }

    #[test]
    fn loopback_is_bounded_by_the_whole_only() {
        let connections = Arc::new(Connections::default());
        let enter = || connections.enter("127.0.0.1".parse().expect("an address"), &limits());
        let places: Vec<_> = (0..5).map(|_| enter().expect("a place")).collect();
        assert_eq!(enter().err(), Some(Full::All));
        drop(places);
        assert_eq!(connections.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_node_gives_up_its_most_idle_connection_and_never_a_busy_one() {
        let connections = Arc::new(Connections::default());
        let enter = || connections.enter("127.0.0.1".parse().expect("an address"), &limits());
        let places: Vec<_> = (0..5).map(|_| enter().expect("a place")).collect();
        for place in &places {
            place.watch.begin_work();
        }
        for at in [3, 1] {
            places[at].watch.answered();
            places[at].watch.flushed();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let _sixth = enter().expect("a place");
        assert_eq!(places[3].watch.doom(), Doom::Idle);
        assert_eq!(places[1].watch.doom(), Doom::None);
    }

    async fn doom_after(prepare: impl Fn(&Watch), seconds: u64, each: impl Fn(&Watch)) -> Doom {
        let watch = Watch::new();
        prepare(&watch);
        for _ in 0..seconds {
            tokio::time::advance(Duration::from_secs(1)).await;
            each(&watch);
            watch.judge(&Limits::default());
        }
        watch.doom()
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_of_waiting_has_its_end() {
        let nothing = |_: &Watch| ();
        let idle = |watch: &Watch| {
            watch.begin_work();
            watch.answered();
            watch.flushed();
        };
        let upload = |watch: &Watch| {
            watch.begin_work();
            watch.wait_for_body(true);
        };
        let download = |watch: &Watch| {
            watch.begin_work();
            watch.sent(0);
        };
        assert_eq!(doom_after(nothing, 15, nothing).await, Doom::None);
        assert_eq!(doom_after(nothing, 17, nothing).await, Doom::Head);
        assert_eq!(doom_after(idle, 75, nothing).await, Doom::None);
        assert_eq!(doom_after(idle, 77, nothing).await, Doom::Idle);
        assert_eq!(doom_after(upload, 30, nothing).await, Doom::None);
        assert_eq!(doom_after(upload, 33, nothing).await, Doom::Body);
        assert_eq!(doom_after(upload, 60, |watch| watch.received(100)).await, Doom::Body);
        assert_eq!(doom_after(upload, 300, |watch| watch.received(1_000)).await, Doom::None);
        assert_eq!(doom_after(download, 33, nothing).await, Doom::Answer);
        // A slow disk is not the client's fault.
        assert_eq!(doom_after(Watch::begin_work, 300, nothing).await, Doom::None);
        assert_eq!(doom_after(Watch::begin_work, 86_402, nothing).await, Doom::Request);
        let left = |watch: &Watch| {
            watch.begin_work();
            assert!(watch.keeps_closing());
        };
        assert_eq!(doom_after(left, 5, nothing).await, Doom::None);
        assert_eq!(doom_after(left, 7, nothing).await, Doom::Gone);
        // Half of an answer: it is being read, or the next write fails.
        assert_eq!(doom_after(left, 300, |watch| watch.sent(1)).await, Doom::None);
        assert_eq!(doom_after(Watch::linger, 4, nothing).await, Doom::Idle);
        assert_eq!(doom_after(Watch::begin_socket, 1_000_000, nothing).await, Doom::None);
        let stalled = |watch: &Watch| {
            watch.begin_socket();
            watch.sent(0);
        };
        assert_eq!(doom_after(stalled, 33, nothing).await, Doom::Answer);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickled_head_is_not_saved_by_its_trickle() {
        let idle = |watch: &Watch| {
            watch.begin_work();
            watch.answered();
            watch.flushed();
        };
        assert_eq!(doom_after(idle, 20, |watch| watch.received(1)).await, Doom::Head);
    }
}
