//! Accepts connections, hands requests to their handler, and ends both in good order.
//!
//! Tasks: one per listener, one per certificate, one that watches the connections, one per connection; all belong to one tracker. At shutdown
//! listeners close first, resting connections at once, running requests get `shutdown_time_max` and are cut then. A request whose
//! connection ends is dropped where it awaits: what it has not committed is not stored. A handler that panics answers 500.
//! A connection that becomes a socket goes on in the task that served its requests.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::{Arriving, Body, Held};
use crate::connections::{Full, Place};
use crate::counters::{Counters, RETRY_AFTER_S};
use crate::gate::Permit;
use crate::guard::{Guard, as_http};
use crate::headers;
use crate::leaving::Client;
use crate::limits::{BadLimit, Limits};
use crate::listener::Listener;
use crate::metrics::MetricsOnly;
use crate::multiplexed;
use crate::problem::Problem;
use crate::request::Secured;
use crate::request_id::RequestId;
use crate::tls::{self, Tls, Wire};
use crate::tus;
use crate::watch::Watch;

pub use crate::counters::Load;

/// An answer in the making.
pub(crate) type Answer = BoxFuture<'static, Response<Body>>;

/// Answers one request.
pub(crate) type Handler = Arc<dyn Fn(Parts, Arriving) -> Answer + Send + Sync>;

/// Answers one request at once, or not at all.
pub(crate) type Quick = Arc<dyn Fn(&Request<Incoming>) -> Option<Response<Body>> + Send + Sync>;

/// How many bytes of answers wait for a client, per connection.
const WRITE_BUFFER_BYTES: usize = 512 * 1024;

/// What all connections share.
pub(crate) struct Shared {
    quick: Quick,
    handler: Handler,
    pub(crate) counters: Counters,
}

/// A front door that is ready to be opened.
pub struct Server {
    shared: Arc<Shared>,
}

/// Looks at a running server and changes its limits.
#[derive(Clone)]
pub struct Handle {
    counters: Counters,
}

impl Handle {
    /// Changes the limits. Those of connections hold for new ones; all others at once.
    ///
    /// # Errors
    /// Names the bound that cannot work; the old ones stay.
    pub fn set_limits(&self, limits: Limits) -> Result<(), BadLimit> {
        self.counters.set_limits(limits)
    }

    /// What goes on now.
    #[must_use]
    pub fn load(&self) -> Load {
        self.counters.load()
    }
}

impl Server {
    pub(crate) fn with_handler(quick: Quick, handler: Handler, counters: Counters) -> Self {
        Self { shared: Arc::new(Shared { quick, handler, counters }) }
    }

    /// A handle that outlives [`Server::run`]'s taking of the server.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { counters: self.shared.counters.clone() }
    }

    /// Serves until `shutdown` is cancelled and every connection has ended.
    pub async fn run(self, listeners: Vec<Listener>, shutdown: CancellationToken) {
        let tracker = TaskTracker::new();
        let cut = CancellationToken::new();
        for listener in listeners {
            if let Some(tls) = listener.tls.clone() {
                let stopped = shutdown.clone();
                tracker.spawn(async move { stopped.run_until_cancelled(tls.keep_fresh()).await });
            }
            let stop = Stop { shutdown: shutdown.clone(), cut: cut.clone() };
            tracker.spawn(accept(Arc::clone(&self.shared), listener, tracker.clone(), stop));
        }
        tracker.spawn(watch(Arc::clone(&self.shared), cut.clone()));
        shutdown.cancelled().await;
        self.shared.counters.stop();
        let deadline = self.shared.counters.limits().shutdown_time_max;
        let connections = Arc::clone(self.shared.counters.connections());
        let ended = async {
            while connections.len() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(deadline, ended).await.is_err() {
            tracing::warn!(connections = connections.len(), "requests did not end in time and were cut");
        }
        cut.cancel();
        tracker.close();
        tracker.wait().await;
    }
}

/// The two stages of an end: no new requests, then no running ones.
#[derive(Clone)]
pub(crate) struct Stop {
    pub(crate) shutdown: CancellationToken,
    pub(crate) cut: CancellationToken,
}

/// Dooms connections that wait too long.
async fn watch(shared: Arc<Shared>, cut: CancellationToken) {
    loop {
        let limits = shared.counters.limits();
        tokio::select! {
            () = cut.cancelled() => return,
            () = tokio::time::sleep(limits.tick()) => shared.counters.connections().judge(&limits),
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: Listener, tracker: TaskTracker, stop: Stop) {
    loop {
        let accepted = tokio::select! {
            () = stop.shutdown.cancelled() => return,
            accepted = listener.socket.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        match shared.counters.connections().enter(peer.ip(), &shared.counters.limits()) {
            Ok(place) => {
                let door = Door {
                    shared: Arc::clone(&shared),
                    tls: listener.tls.clone(),
                    metrics_only: listener.metrics_only,
                    stop: stop.clone(),
                    tracker: tracker.clone(),
                };
                drop(tracker.spawn(serve(door, socket, place)));
            }
            // Under TLS there is nobody to explain it to before a handshake, which costs more than a refusal may.
            Err(_) if listener.tls.is_some() => {}
            Err(full) => {
                // Best effort: the refusal itself must not become a way to hold this loop.
                let _ = refuse(socket, full);
            }
        }
    }
}

/// Some errors concern one connection that is gone already; the others (no descriptors, no memory) pass only with time.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        tracing::error!("cannot accept a connection, trying again in 100 ms: {error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn refuse(socket: TcpStream, full: Full) -> io::Result<()> {
    let problem = match full {
        Full::Address => Problem::too_many_requests(
            "this address has too many connections to this node; close some or use them again",
            RETRY_AFTER_S,
        ),
        Full::All => Problem::unavailable(
            "this node has no room for another connection; try again later",
            RETRY_AFTER_S,
        ),
    };
    // Still non-blocking: this writes at once or not at all.
    let mut socket = socket.into_std()?;
    socket.write_all(&as_http(&problem))?;
    socket.shutdown(Shutdown::Write)?;
    socket.read(&mut [0; 4096]).map(drop)
}

/// What a connection came in by.
struct Door {
    shared: Arc<Shared>,
    tls: Option<Tls>,
    metrics_only: bool,
    stop: Stop,
    tracker: TaskTracker,
}

async fn serve(door: Door, socket: TcpStream, place: Place) {
    let Door { shared, tls, metrics_only, stop, tracker } = door;
    // Answers are written in whole pieces: waiting to fill a packet only delays their last one.
    let _ = socket.set_nodelay(true);
    let wire = match tls {
        None => Either::Left(socket),
        Some(tls) => match shake_hands(&shared, &tls, socket, &place, &stop).await {
            Some(wire) => wire,
            None => return,
        },
    };
    if tls::speaks_http2(&wire) {
        return Box::pin(multiplexed::serve(shared, wire, &place, &stop, tracker)).await;
    }
    let continuing = Continuing::default();
    let requests = Requests {
        shared,
        watch: Arc::clone(&place.watch),
        continuing: continuing.clone(),
        is_secured: matches!(wire, Either::Right(_)),
        metrics_only,
    };
    // Boxed, so that a connection that becomes a socket keeps no room for requests.
    Box::pin(serve_requests(requests, wire, &stop)).await;
    let (continuation, _place) = std::mem::take(&mut *continuing.hold());
    if let Some(go_on) = continuation {
        let Stop { shutdown, cut } = stop;
        go_on(Ending { shutdown, cut, watch: Arc::clone(&place.watch) }).await;
    }
}

/// The handshake of TLS, in the time that the head of a request has. Nothing where it fails: there is no way to say why.
async fn shake_hands(
    shared: &Shared,
    tls: &Tls,
    socket: TcpStream,
    place: &Place,
    stop: &Stop,
) -> Option<Wire> {
    let time_max = shared.counters.limits().head_time_max;
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(time_max, tls.accept(socket)) => shaken,
        () = place.watch.doomed() => return None,
        () = stop.shutdown.cancelled() => return None,
    };
    match shaken {
        Ok(Ok(stream)) => Some(Either::Right(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!("no TLS with a client: {error}");
            None
        }
        Err(_) => None,
    }
}

async fn serve_requests(requests: Requests, wire: Wire, stop: &Stop) {
    let limits = requests.shared.counters.limits();
    let io = TokioIo::new(Guard::new(wire, Arc::clone(&requests.watch)));
    let connection = http1::Builder::new()
        .max_headers(limits.header_fields_max)
        .max_header_size(limits.head_bytes_max)
        .max_buf_size(WRITE_BUFFER_BYTES.max(limits.head_bytes_max))
        .header_read_timeout(None)
        .serve_connection(io, requests)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut told = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!("connection ended: {error}");
                }
                return;
            }
            () = stop.shutdown.cancelled(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            () = stop.cut.cancelled() => return,
        }
    }
}

/// What a connection goes on with after its last request, in the task that served it.
type Continuation = Box<dyn FnOnce(Ending) -> BoxFuture<'static, ()> + Send>;

/// Where a handshake leaves what the connection goes on with, and its place.
#[derive(Clone, Default)]
pub(crate) struct Continuing(Arc<Mutex<(Option<Continuation>, Option<Permit>)>>);

impl Continuing {
    fn hold(&self) -> MutexGuard<'_, (Option<Continuation>, Option<Permit>)> {
        // Nothing in here can be left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn with(&self, continuation: Continuation) {
        self.hold().0 = Some(continuation);
    }

    pub(crate) fn keep(&self, place: Permit) {
        self.hold().1 = Some(place);
    }
}

/// What ends a connection that has become something else than one of requests.
pub(crate) struct Ending {
    /// No new work.
    pub(crate) shutdown: CancellationToken,
    /// No work at all.
    pub(crate) cut: CancellationToken,
    /// The connection's marks.
    pub(crate) watch: Arc<Watch>,
}

/// The requests of one connection.
struct Requests {
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    continuing: Continuing,
    is_secured: bool,
    metrics_only: bool,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = future::Either<
        future::Ready<Result<Response<Body>, Infallible>>,
        BoxFuture<'static, Result<Response<Body>, Infallible>>,
    >;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.watch.begin_work();
        let mut held = Held::new(Arc::clone(&self.watch), None);
        if !self.metrics_only
            && let Some(response) = (self.shared.quick)(&request)
            && let Ok(places) = self.shared.counters.admit(false, self.watch.origin())
        {
            held.places = places;
            return future::Either::Left(future::ready(Ok(response.map(|body| body.holding(held)))));
        }
        if request.headers().contains_key(UPGRADE) {
            request.extensions_mut().insert(self.continuing.clone());
        }
        if self.is_secured {
            request.extensions_mut().insert(Secured);
        }
        // Before that version there are no interim answers.
        if request.version() == Version::HTTP_11 {
            request.extensions_mut().insert(Client(Arc::clone(&self.watch)));
        }
        if self.metrics_only {
            request.extensions_mut().insert(MetricsOnly);
        }
        let shared = Arc::clone(&self.shared);
        future::Either::Right(Box::pin(async move { Ok(answer_held(&shared, held, request).await) }))
    }
}

/// Answers one request, which gives back what it holds with the last byte of its answer.
pub(crate) async fn answer_held(
    shared: &Shared,
    mut held: Held,
    request: Request<Incoming>,
) -> Response<Body> {
    let limits = shared.counters.limits();
    let (parts, incoming) = request.into_parts();
    let id = RequestId::of(&parts.headers);
    held.id = Some(id.clone());
    let is_head = parts.method == Method::HEAD;
    let waits_for_continue = parts.headers.contains_key(EXPECT);
    let arriving = Arriving::new(incoming, &held, limits.body_bytes_max);
    // What is left of a body concerns the next request only where that comes on the same stream.
    let rest = arriving.rest().filter(|_| held.stream.is_none());
    let mut response = match shared.counters.admit(stores(&parts, &arriving), held.watch.origin()) {
        Ok(places) => {
            held.watch.keeps_upload(places.upload.is_some());
            held.places = places;
            let response = id.clone().of_all(catch((shared.handler)(parts, arriving))).await;
            // The body is stored, or never will be.
            held.watch.keeps_upload(false);
            held.places.upload = None;
            response
        }
        Err(full) => {
            drop(arriving);
            full.response()
        }
    };
    headers::finish(response.headers_mut());
    id.mark(response.headers_mut());
    let closes = response.headers().contains_key(CONNECTION);
    if let Some(rest) = rest
        && (closes || !shared.counters.has_room() || !rest.is_drained(&held.watch, waits_for_continue).await)
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        held.watch.left_unread();
    }
    if is_head {
        strip(&mut response);
    }
    response.map(|body| body.holding(held))
}

/// A body of so many bytes takes no more memory than any request does.
const SHORT_BYTES: u64 = 64 * 1024;

/// Whether a request brings a body to be stored for which there must be room.
pub(crate) fn stores(parts: &Parts, body: &Arriving) -> bool {
    let is_short = body.announced().is_some_and(|length| length <= SHORT_BYTES);
    (matches!(parts.method, Method::PUT | Method::POST) && !is_short || tus::is_piece(parts))
        && !body.is_empty()
}

/// A handler that panics answers 500.
pub(crate) async fn catch(handling: impl Future<Output = Response<Body>>) -> Response<Body> {
    let handled = AssertUnwindSafe(handling).catch_unwind().await;
    handled.unwrap_or_else(|panic| Problem::internal(&panic_text(&*panic)).response())
}

/// The answer to HEAD is the one to GET without its body (RFC 9110 §9.3.2).
fn strip(response: &mut Response<Body>) {
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !bodiless && let Some(length) = response.body().length() {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = Body::empty();
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a handler panicked: {}", text.unwrap_or_default())
}
