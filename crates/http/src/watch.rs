//! What one connection, or one request of those that share one, is waiting for, and since when.
//!
//! Invariant: the marks are atomics that the connection's own task writes and the watching task reads, so a mark may be a tick late but never blocks
//! a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::gate::Gate;
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
    /// It rested too long.
    Idle,
    /// Another one needed its place.
    Room,
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
    /// Requests of the address that it comes from; none where those are not counted.
    origin: Option<Arc<Gate>>,
    phase: AtomicU8,
    /// Milliseconds after `started` at which the phase began.
    since_ms: AtomicU64,
    /// The answer's body has been handed over; what remains is to flush it.
    answered: AtomicBool,
    /// The client may still be sending what nobody wants.
    unread: AtomicBool,
    /// The request's body is waited for.
    wants_body: AtomicBool,
    /// It has a place among those that store a body.
    stores: AtomicBool,
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
        Self::of(None)
    }

    /// The same for what comes from an address whose requests are counted.
    pub(crate) fn of(origin: Option<Arc<Gate>>) -> Self {
        Self {
            started: Instant::now(),
            origin,
            phase: AtomicU8::new(Phase::Head as u8),
            since_ms: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            wants_body: AtomicBool::new(false),
            stores: AtomicBool::new(false),
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

    pub(crate) fn origin(&self) -> Option<&Arc<Gate>> {
        self.origin.as_ref()
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
        self.stores.store(false, Relaxed);
        self.enter(Phase::Work);
    }

    /// The request has a place among those that store a body, or no longer.
    pub(crate) fn keeps_upload(&self, keeps: bool) {
        self.stores.store(keeps, Relaxed);
    }

    /// A request begins on a connection that carries several.
    pub(crate) fn begin_stream(&self) {
        if self.streams.fetch_add(1, Relaxed) == 0 {
            self.enter(Phase::Streams);
        }
    }

    /// One of them has ended.
    pub(crate) fn end_stream(&self) {
        if self.streams.fetch_sub(1, Relaxed) == 1 {
            self.enter(Phase::Idle);
        }
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
            2 => Doom::Room,
            3 => Doom::Head,
            4 => Doom::Body,
            5 => Doom::Answer,
            6 => Doom::Request,
            _ => Doom::Gone,
        }
    }

    pub(crate) fn end(&self, why: Doom) {
        if self.doom() == Doom::None {
            self.doom.store(why as u8, Relaxed);
            self.waker.wake();
        }
    }

    /// Looks at the marks and dooms the connection where it has waited too long. Says why, where it has done so now.
    pub(crate) fn judge(&self, limits: &Limits) -> Option<Doom> {
        let now_ms = self.now_ms();
        let age = Duration::from_millis(now_ms.saturating_sub(self.since_ms.load(Relaxed)));
        let why = match self.phase() {
            Phase::Idle => (age > limits.idle_time_max).then_some(Doom::Idle),
            Phase::Head => (age > limits.head_time_max).then_some(Doom::Head),
            Phase::Lingering => (age > LINGER_TIME).then_some(Doom::Idle),
            Phase::Work if age > limits.request_time_max => Some(Doom::Request),
            Phase::Work if self.is_gone(now_ms) => Some(Doom::Gone),
            Phase::Work | Phase::Socket => {
                let is_too_slow = self.waits(now_ms, limits) > limits.progress_time;
                is_too_slow.then(|| self.what_is_slow())
            }
            Phase::Streams => None,
        }?;
        let is_new = self.doom() == Doom::None;
        self.end(why);
        is_new.then_some(why)
    }

    /// Where the connection is of no use to anybody now: since when, in milliseconds after it began, and for how long. One that has said nothing for a moment is
    /// of as little use as one that rests.
    pub(crate) fn spared(&self) -> Option<(u64, Duration)> {
        let since_ms = self.since_ms.load(Relaxed);
        let time = Duration::from_millis(self.now_ms().saturating_sub(since_ms));
        let is_spared = match self.phase() {
            Phase::Idle | Phase::Lingering => true,
            Phase::Head => time > HEAD_GRACE,
            Phase::Work | Phase::Socket | Phase::Streams => false,
        };
        (is_spared && self.doom() == Doom::None).then_some((since_ms, time))
    }

    /// Where the request waits for a client that is slow: since when, and for how long. With `stores`, only one that has a place among those that store a body.
    pub(crate) fn slow(&self, stores: bool, limits: &Limits) -> Option<(u64, Duration)> {
        let waits_for_body = self.wants_body.load(Relaxed);
        let waits = match stores {
            true => waits_for_body && self.stores.load(Relaxed),
            false => waits_for_body || self.write_blocked.load(Relaxed),
        };
        let since_ms = self.wait_since_ms.load(Relaxed);
        let time = Duration::from_millis(self.now_ms().saturating_sub(since_ms));
        let is_slow = waits && time > limits.slow_time() && self.phase() == Phase::Work;
        (is_slow && self.doom() == Doom::None).then_some((since_ms, time))
    }

    /// What the client does slowly.
    pub(crate) fn what_is_slow(&self) -> Doom {
        if self.write_blocked.load(Relaxed) { Doom::Answer } else { Doom::Body }
    }

    /// For how long the client has been waited for and has moved too little. To be asked once a tick, by one task.
    pub(crate) fn note_progress(&self, limits: &Limits) {
        self.waits(self.now_ms(), limits);
    }

    fn waits(&self, now_ms: u64, limits: &Limits) -> Duration {
        let waiting = self.write_blocked.load(Relaxed) || self.wants_body.load(Relaxed);
        let bytes = self.read_bytes.load(Relaxed) + self.written_bytes.load(Relaxed);
        let moved = bytes.saturating_sub(self.wait_bytes.load(Relaxed));
        if waiting && moved < limits.progress_bytes_min {
            return Duration::from_millis(now_ms.saturating_sub(self.wait_since_ms.load(Relaxed)));
        }
        self.wait_since_ms.store(now_ms, Relaxed);
        self.wait_bytes.store(bytes, Relaxed);
        Duration::ZERO
    }
}

/// For so long after it began a connection is not asked to make room before it has sent a head.
const HEAD_GRACE: Duration = Duration::from_millis(250);

/// How long a client may go on sending after its last answer.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// How long a client that has closed its side is waited for before the first byte of an answer.
const GONE_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::{Doom, Watch};
    use crate::limits::Limits;
    use std::time::Duration;

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
