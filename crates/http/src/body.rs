//! Bodies: what an answer streams out, and what a request streams in.
//!
//! Invariants: an answer's body knows its length, and one that breaks off ends the connection, so a client never takes a
//! part for the whole; memory does not grow with the length of either. Dropping an answer's body gives back all that the
//! request held. A request's body that is cut off, too long or too slow is an error for its handler, which stores nothing.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::connections::StreamPlace;
use crate::gate::Places;
use crate::live;
use crate::problem::{Kind, Problem};
use crate::request_id::RequestId;
use crate::watch::{Doom, Watch};

/// What of an answer is handed over at a time where requests share a connection.
const SLICE_BYTES: usize = 32 * 1024;

/// Why an answer broke off. The cause is in the log.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off: {0}")]
pub struct BrokenOff(pub String);

/// Pieces of an answer, made as they are asked for.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, BrokenOff>> + Send>>;

/// The body of an answer.
pub struct Body {
    content: Content,
    /// What of a piece is still to be handed over, where requests share a connection.
    rest: Bytes,
    /// Given back when the last byte is handed over.
    held: Option<Held>,
}

/// What a request holds until its answer is handed over or given up.
pub(crate) struct Held {
    pub(crate) watch: Arc<Watch>,
    pub(crate) places: Places,
    /// Where the request shares its connection with others.
    pub(crate) stream: Option<StreamPlace>,
    /// By which the log names the request, if its answer can break off.
    pub(crate) id: Option<RequestId>,
}

impl Held {
    pub(crate) fn new(watch: Arc<Watch>, stream: Option<StreamPlace>) -> Self {
        Self { watch, places: Places::default(), stream, id: None }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.watch.answered();
    }
}

enum Content {
    Full(Bytes),
    Pieces {
        pieces: Pieces,
        left: Option<u64>,
    },
    /// Pieces for as long as the client listens.
    Lasting(Pieces),
}

impl Body {
    /// No byte.
    #[must_use]
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// These bytes.
    #[must_use]
    pub fn full(bytes: Bytes) -> Self {
        Self { content: Content::Full(bytes), rest: Bytes::new(), held: None }
    }

    /// `length` bytes that come piece by piece.
    pub(crate) fn pieces(pieces: Pieces, length: u64) -> Self {
        Self { content: Content::Pieces { pieces, left: Some(length) }, rest: Bytes::new(), held: None }
    }

    /// Pieces that end where they end.
    pub(crate) fn of_unknown_length(pieces: Pieces) -> Self {
        Self { content: Content::Pieces { pieces, left: None }, rest: Bytes::new(), held: None }
    }

    /// Pieces for as long as the client listens: such an answer is not counted among the requests that are being answered.
    pub(crate) fn lasting(pieces: Pieces) -> Self {
        Self { content: Content::Lasting(pieces), rest: Bytes::new(), held: None }
    }

    /// The length in bytes, where it is known beforehand.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        let left = match &self.content {
            Content::Full(bytes) => Some(bytes.len() as u64),
            Content::Pieces { left, .. } => *left,
            Content::Lasting(_) => None,
        };
        left.map(|left| left + self.rest.len() as u64)
    }

    /// Keeps what the request holds until the body was handed over or dropped.
    pub(crate) fn holding(mut self, mut held: Held) -> Self {
        if matches!(self.content, Content::Lasting(_)) {
            held.places = Places::default();
        }
        self.held = Some(held);
        self
    }
}

impl Body {
    /// The next slice of what is to come: how fast a client takes an answer shows only where it is handed over little by little.
    fn poll_slice(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.rest.is_empty() {
            let Some(frame) = ready!(self.content.poll_frame(cx)?) else { return Poll::Ready(None) };
            self.rest = frame.into_data().unwrap_or_default();
        }
        let slice = self.rest.split_to(self.rest.len().min(SLICE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let stream = self.held.as_ref().and_then(|held| held.stream.as_ref()).map(StreamPlace::watch);
        if let Some(watch) = &stream {
            watch.asked_for_more();
        }
        let frame = match stream.is_some() {
            true => self.poll_slice(cx),
            false => self.content.poll_frame(cx),
        };
        if let (Some(watch), Poll::Ready(Some(Ok(frame)))) = (&stream, &frame) {
            watch.handed_over(frame.data_ref().map_or(0, Bytes::len));
        }
        if let Poll::Ready(Some(Err(error))) = &frame {
            let id = self.held.as_ref().and_then(|held| held.id.as_ref());
            tracing::error!(request = id.map(RequestId::as_str), "{error}");
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.length() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Content {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self {
            Content::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Pieces { left: Some(0), .. } => Poll::Ready(None),
            Content::Lasting(pieces) => match ready!(pieces.as_mut().poll_next(cx)) {
                Some(Ok(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Err(error)) => broken(&error.0),
                None => Poll::Ready(None),
            },
            Content::Pieces { pieces, left } => match (ready!(pieces.as_mut().poll_next(cx)), left) {
                (Some(Ok(bytes)), None) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                (Some(Ok(bytes)), Some(left)) if bytes.len() as u64 <= *left => {
                    *left -= bytes.len() as u64;
                    Poll::Ready(Some(Ok(Frame::data(bytes))))
                }
                (Some(Ok(_)), Some(_)) => broken("more bytes than announced"),
                (Some(Err(error)), _) => broken(&error.0),
                (None, None) => Poll::Ready(None),
                (None, Some(_)) => broken("fewer bytes than announced"),
            },
        }
    }
}

fn broken(why: &str) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
    Poll::Ready(Some(Err(BrokenOff(why.to_owned()))))
}

/// Where the bytes of a request come from.
enum Source {
    /// A request of its own. Taken out only when the body is dropped.
    Http { incoming: Option<Incoming>, watch: Arc<Watch>, is_stream: bool },
    /// A stream of a socket.
    Stream { incoming: live::Incoming, watch: Arc<Watch> },
    /// A call of a socket.
    Bytes(Bytes),
    /// A program of this node.
    Program { pieces: jsfs_exec::BodyStream, length: Option<u64> },
}

/// The body of a request, with its bounds.
pub(crate) struct Arriving {
    source: Source,
    bytes_max: u64,
    read: u64,
    asked_for: bool,
    ended: bool,
    rest: Option<Arc<Rest>>,
}

/// What a handler has left of a request's body.
#[derive(Default)]
pub(crate) struct Rest {
    /// The body, and whether the client was told to send it.
    left: Mutex<Option<(Incoming, bool)>>,
}

/// As much of an unwanted body is read so that its connection can be used again.
const REST_BYTES_MAX: u64 = 64 * 1024;

/// For so long an answer waits for the rest of a body that nobody wants.
const REST_TIME_MAX: Duration = Duration::from_millis(500);

impl Rest {
    /// Reads a short rest. Says whether the connection is at the beginning of the next request then.
    ///
    /// A client that waits for `100 Continue` is not told to go on for nothing.
    pub(crate) async fn is_drained(&self, watch: &Watch, waits_for_continue: bool) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((mut incoming, asked_for)) = left else { return true };
        let announced = incoming.size_hint().exact();
        if (waits_for_continue && !asked_for) || announced.is_some_and(|length| length > REST_BYTES_MAX) {
            return false;
        }
        let drain = async {
            let mut read = 0;
            while let Some(frame) = incoming.frame().await {
                let Ok(frame) = frame else { return false };
                read += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
                if read > REST_BYTES_MAX {
                    return false;
                }
            }
            true
        };
        watch.wait_for_body(true);
        let drained = tokio::time::timeout(REST_TIME_MAX, drain).await.unwrap_or(false);
        watch.wait_for_body(false);
        drained
    }
}

impl Arriving {
    pub(crate) fn new(incoming: Incoming, held: &Held, bytes_max: u64) -> Self {
        let ended = incoming.is_end_stream();
        let rest = (!ended).then(Arc::default);
        let (watch, is_stream) = (Arc::clone(&held.watch), held.stream.is_some());
        let source = Source::Http { incoming: Some(incoming), watch, is_stream };
        Self { source, bytes_max, read: 0, asked_for: false, ended, rest }
    }

    /// A body that comes in a stream of a socket.
    pub(crate) fn from_stream(incoming: live::Incoming, watch: Arc<Watch>, bytes_max: u64) -> Self {
        let source = Source::Stream { incoming, watch };
        Self { source, bytes_max, read: 0, asked_for: false, ended: false, rest: None }
    }

    /// A body that came in a call of a socket.
    pub(crate) fn from_bytes(bytes: Bytes, bytes_max: u64) -> Self {
        let source = Source::Bytes(bytes);
        Self { source, bytes_max, read: 0, asked_for: false, ended: false, rest: None }
    }

    /// A body that a program sends.
    pub(crate) fn from_program(pieces: jsfs_exec::BodyStream, length: Option<u64>, bytes_max: u64) -> Self {
        let source = Source::Program { pieces, length };
        Self { source, bytes_max, read: 0, asked_for: false, ended: false, rest: None }
    }

    /// No body.
    pub(crate) fn nothing() -> Self {
        let source = Source::Bytes(Bytes::new());
        Self { source, bytes_max: 0, read: 0, asked_for: false, ended: true, rest: None }
    }

    /// Where the body goes when the handler has had enough of it; nothing where there is none.
    pub(crate) fn rest(&self) -> Option<Arc<Rest>> {
        self.rest.clone()
    }

    /// The length that the client announced, where it did.
    pub(crate) fn announced(&self) -> Option<u64> {
        match &self.source {
            Source::Http { incoming, .. } => {
                incoming.as_ref().and_then(|incoming| incoming.size_hint().exact())
            }
            Source::Stream { .. } => None,
            Source::Bytes(bytes) => Some(bytes.len() as u64),
            Source::Program { length, .. } => *length,
        }
    }

    /// Another bound than the one for objects.
    pub(crate) fn at_most(mut self, bytes_max: u64) -> Self {
        self.bytes_max = self.bytes_max.min(bytes_max);
        self
    }

    /// Refuses what announces itself as too long, before a byte of it is asked for.
    pub(crate) fn check_announced(&self) -> Result<(), Problem> {
        match self.announced() {
            Some(length) if length > self.bytes_max => Err(self.too_large()),
            _ => Ok(()),
        }
    }

    /// The next piece; nothing at the end. The first call lets hyper send `100 Continue`.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.ended {
            return Ok(None);
        }
        let Some(bytes) = self.source.next(&mut self.asked_for).await.inspect_err(|_| self.ended = true)?
        else {
            self.ended = true;
            return Ok(None);
        };
        self.read += bytes.len() as u64;
        if self.read > self.bytes_max {
            return Err(self.too_large().closing());
        }
        Ok(Some(bytes))
    }

    /// The whole of a short body.
    pub(crate) async fn collect(&mut self) -> Result<Vec<u8>, Problem> {
        self.check_announced()?;
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    /// Whether there is any body.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.source {
            Source::Http { .. } => self.rest.is_none(),
            Source::Stream { .. } => false,
            Source::Bytes(bytes) => bytes.is_empty(),
            Source::Program { .. } => false,
        }
    }

    fn too_large(&self) -> Problem {
        let detail =
            format!("the body is longer than the {} bytes that this node takes here", self.bytes_max);
        Problem::new(Kind::TooLarge, detail)
    }
}

impl Source {
    async fn next(&mut self, asked_for: &mut bool) -> Result<Option<Bytes>, Problem> {
        match self {
            Source::Http { incoming: None, .. } => Ok(None),
            Source::Http { incoming: Some(incoming), watch, is_stream } => loop {
                *asked_for = true;
                watch.wait_for_body(true);
                let frame = incoming.frame().await;
                watch.wait_for_body(false);
                match frame {
                    None => return Ok(None),
                    Some(Err(_)) => {
                        return Err(cut_off(matches!(watch.doom(), Doom::Body | Doom::Request)).closing());
                    }
                    // Trailers say nothing that is stored.
                    Some(Ok(frame)) => {
                        if let Ok(bytes) = frame.into_data() {
                            if *is_stream {
                                watch.received(bytes.len());
                            }
                            return Ok(Some(bytes));
                        }
                    }
                }
            },
            Source::Stream { incoming, watch } => {
                watch.wait_for_body(true);
                let next = incoming.next().await;
                watch.wait_for_body(false);
                let bytes = next.map_err(|why| cut_off(why == live::CutOff::TooSlow))?;
                watch.received(bytes.as_ref().map_or(0, Bytes::len));
                Ok(bytes)
            }
            Source::Bytes(bytes) => Ok(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
            Source::Program { pieces, .. } => pieces.next().await.transpose().map_err(|_| cut_off(false)),
        }
    }
}

fn cut_off(too_slow: bool) -> Problem {
    if too_slow {
        let detail = "the body came too slowly and nothing was stored; send it again";
        return Problem::new(Kind::RequestTimeout, detail);
    }
    Problem::malformed("the body was cut off or its framing is broken, and nothing was stored; send it again")
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let Source::Http { incoming, .. } = &mut self.source else { return };
        if let (false, Some(rest), Some(incoming)) = (self.ended, &self.rest, incoming.take()) {
            *rest.left.lock().unwrap_or_else(PoisonError::into_inner) = Some((incoming, self.asked_for));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, BrokenOff, Held, HttpBody, SLICE_BYTES};
    use crate::connections::Connections;
    use crate::gate::Gate;
    use crate::watch::Watch;
    use bytes::Bytes;
    use futures_util::stream;
    use http_body_util::BodyExt;
    use std::sync::Arc;

    fn of(pieces: Vec<Result<&'static str, BrokenOff>>, length: u64) -> Body {
        let pieces = pieces.into_iter().map(|piece| piece.map(|text| Bytes::from_static(text.as_bytes())));
        Body::pieces(Box::pin(stream::iter(pieces)), length)
    }

    #[tokio::test]
    async fn a_body_is_as_long_as_announced_or_an_error() {
        let whole = of(vec![Ok("ab"), Ok("c")], 3).collect().await.expect("whole").to_bytes();
        assert_eq!(whole, "abc");
        assert!(of(vec![Ok("ab")], 3).collect().await.is_err());
        assert!(of(vec![Ok("ab"), Ok("cd")], 3).collect().await.is_err());
        assert!(of(vec![Ok("ab"), Err(BrokenOff("x".into()))], 3).collect().await.is_err());
    }

    #[tokio::test]
    async fn what_a_body_holds_is_given_back_with_it() {
        let gate = Arc::new(Gate::default());
        let permit = gate.enter(1).expect("room");
        let mut held = Held::new(Arc::new(Watch::new()), None);
        held.places.request = Some(permit);
        let body = Body::full(Bytes::from_static(b"x")).holding(held);
        assert!(gate.enter(1).is_none());
        drop(body);
        assert!(gate.enter(1).is_some());
    }

    #[tokio::test]
    async fn where_requests_share_a_connection_an_answer_is_handed_over_little_by_little() {
        let connections = Arc::new(Connections::default());
        let place = connections.begin_call(None);
        let watch = place.watch();
        let pieces = stream::iter([Ok(Bytes::from(vec![1; 100_000])), Ok(Bytes::from_static(b"end"))]);
        let mut body = Body::pieces(Box::pin(pieces), 100_003).holding(Held::new(watch, Some(place)));
        let (mut lengths, mut left) = (Vec::new(), Vec::new());
        while !body.is_end_stream() {
            let frame = body.frame().await.expect("more").expect("no error");
            lengths.push(frame.into_data().expect("bytes").len());
            left.push(body.size_hint().exact().expect("a length"));
        }
        assert_eq!(lengths, [SLICE_BYTES, SLICE_BYTES, SLICE_BYTES, 100_000 - 3 * SLICE_BYTES, 3]);
        assert_eq!(left, [67_235, 34_467, 1_699, 3, 0]);
    }
}
