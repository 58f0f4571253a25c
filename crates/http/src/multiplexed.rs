//! HTTP/2: many requests on one connection, each with marks and an end of its own.
//!
//! Invariants: a request that waits too long for its client is reset alone, the others go on; the connection as a whole is judged only
//! while it has no request; what one connection may have at work is bounded, and all of it counts in the node's own bounds.
//!
//! Tasks: one per request, of the server's tracker. A request whose stream the client resets, or whose connection ends, is dropped where it awaits.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::task::TaskTracker;

use crate::body::{Body, Held};
use crate::connections::Place;
use crate::server::{Shared, Stop, answer_held};
use crate::tls::Wire;
use crate::watch::{Doom, Watch};

/// Requests of one connection at the same time.
const REQUESTS_MAX: u32 = 128;

/// Bytes of request bodies that one connection may send ahead.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes of an answer that wait for the client, beyond the piece in hand.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// After so long without a sign of life the client is asked for one, and it has as long to answer.
const PING_TIME: Duration = Duration::from_secs(30);

/// How long a connection that was told to end may take to say so.
const PARTING_TIME_MAX: Duration = Duration::from_secs(2);

/// The same where another connection has its place.
const ROOM_TIME_MAX: Duration = Duration::from_millis(50);

/// Serves the requests of one connection until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, wire: Wire, place: &Place, stop: &Stop, tracker: TaskTracker) {
    let limits = shared.counters.limits();
    let begun = Begun::default();
    let watch = Arc::clone(&place.watch);
    let service = Requests { shared, connection: Arc::clone(&watch), begun: begun.clone() };
    let connection = http2::Builder::new(Streams { tracker, begun })
        .timer(TokioTimer::new())
        .max_concurrent_streams(REQUESTS_MAX)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(PING_TIME)
        .keep_alive_timeout(PING_TIME)
        .serve_connection(TokioIo::new(wire), service);
    let mut connection = pin!(connection);
    let mut parting = pin!(async {
        tokio::select! {
            () = stop.shutdown.cancelled() => {}
            () = watch.doomed() => {}
        }
    });
    tokio::select! {
        result = connection.as_mut() => return ended(result),
        () = &mut parting => connection.as_mut().graceful_shutdown(),
    }
    let doomed = async {
        watch.doomed().await;
        // Its place is somebody else's already.
        let time = if watch.doom() == Doom::Room { ROOM_TIME_MAX } else { PARTING_TIME_MAX };
        tokio::time::sleep(time).await;
    };
    tokio::select! {
        result = connection => ended(result),
        () = doomed => {}
        () = stop.cut.cancelled() => {}
    }
}

fn ended(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!("connection ended: {error}");
    }
}

/// The marks of the request that was read last, until its task is made.
type Begun = Arc<Mutex<Option<Arc<Watch>>>>;

/// Makes the tasks of a connection: one per request, which ends when the request's marks say so.
#[derive(Clone)]
struct Streams {
    tracker: TaskTracker,
    begun: Begun,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        // The task is made in the same breath in which its request was handed over.
        let watch = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.tracker.spawn(async move {
            match watch {
                // Dropping what serves the request resets its stream.
                Some(watch) => tokio::select! {
                    () = future => {}
                    () = watch.doomed() => {}
                },
                None => future.await,
            }
        });
    }
}

/// The requests of one connection.
struct Requests {
    shared: Arc<Shared>,
    connection: Arc<Watch>,
    begun: Begun,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let stream = self.shared.counters.begin_stream(&self.connection);
        let watch = stream.watch();
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&watch));
        request.extensions_mut().insert(crate::request::Secured);
        let held = Held::new(watch, Some(stream));
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let mut response = answer_held(&shared, held, request).await;
            // HTTP/2 knows no such header (RFC 9113 §8.2.2): a stream ends by itself.
            response.headers_mut().remove(CONNECTION);
            Ok(response)
        })
    }
}
