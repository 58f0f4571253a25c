//! Bodies: what an answer streams out, and what a request streams in.
//!
//! Invariants: an answer's body knows its length, and one that breaks off ends the connection, so a client never takes a
//! part for the whole; memory does not grow with the length of either. Dropping an answer's body gives back all that the
//! request held. A request's body that is cut off, too long or too slow is an error for its handler, which stores nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::connections::{Doom, Permit, Watch};
use crate::problem::{Kind, Problem};

/// Why an answer broke off. The cause is in the log.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off: {0}")]
pub struct BrokenOff(pub String);

/// Pieces of an answer, made as they are asked for.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, BrokenOff>> + Send>>;

/// The body of an answer.
pub struct Body {
    content: Content,
    /// Given back when the last byte is handed over.
    held: Option<Held>,
}

/// What a request holds until its answer is handed over or given up.
pub(crate) struct Held {
    pub(crate) watch: Arc<Watch>,
    pub(crate) permits: [Option<Permit>; 2],
}

impl Drop for Held {
    fn drop(&mut self) {
        self.watch.answered();
    }
}

enum Content {
    Full(Bytes),
    Pieces { pieces: Pieces, left: u64 },
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
        Self { content: Content::Full(bytes), held: None }
    }

    /// `length` bytes that come piece by piece.
    pub(crate) fn pieces(pieces: Pieces, length: u64) -> Self {
        Self { content: Content::Pieces { pieces, left: length }, held: None }
    }

    /// The length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match &self.content {
            Content::Full(bytes) => bytes.len() as u64,
            Content::Pieces { left, .. } => *left,
        }
    }

    /// Keeps what the request holds until the body was handed over or dropped.
    pub(crate) fn holding(mut self, held: Held) -> Self {
        self.held = Some(held);
        self
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut self.content {
            Content::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Pieces { left: 0, .. } => Poll::Ready(None),
            Content::Pieces { pieces, left } => match ready!(pieces.as_mut().poll_next(cx)) {
                Some(Ok(bytes)) if bytes.len() as u64 <= *left => {
                    *left -= bytes.len() as u64;
                    Poll::Ready(Some(Ok(Frame::data(bytes))))
                }
                Some(Ok(_)) => broken("more bytes than announced"),
                Some(Err(error)) => broken(&error.0),
                None => broken("fewer bytes than announced"),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length())
    }
}

fn broken(why: &str) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
    tracing::error!("an answer broke off: {why}");
    Poll::Ready(Some(Err(BrokenOff(why.to_owned()))))
}

/// The body of a request, with its bounds.
pub(crate) struct Arriving {
    incoming: Incoming,
    watch: Arc<Watch>,
    bytes_max: u64,
    read: u64,
}

impl Arriving {
    pub(crate) fn new(incoming: Incoming, watch: Arc<Watch>, bytes_max: u64) -> Self {
        Self { incoming, watch, bytes_max, read: 0 }
    }

    /// The length that the client announced, where it did.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
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
        loop {
            self.watch.wait_for_body(true);
            let frame = self.incoming.frame().await;
            self.watch.wait_for_body(false);
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|_| self.cut_off())?;
            // Trailers say nothing that is stored.
            let Ok(bytes) = frame.into_data() else { continue };
            self.read += bytes.len() as u64;
            if self.read > self.bytes_max {
                return Err(self.too_large());
            }
            return Ok(Some(bytes));
        }
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
        self.incoming.is_end_stream()
    }

    fn too_large(&self) -> Problem {
        let detail =
            format!("the body is longer than the {} bytes that this node takes here", self.bytes_max);
        Problem::new(Kind::TooLarge, detail).closing()
    }

    fn cut_off(&self) -> Problem {
        match self.watch.doom() {
            Doom::Body | Doom::Request => Problem::new(
                Kind::RequestTimeout,
                "the body came too slowly and nothing was stored; send it again",
            )
            .closing(),
            _ => Problem::malformed(
                "the body was cut off or its framing is broken, and nothing was stored; send it again",
            )
            .closing(),
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.incoming.is_end_stream() {
            self.watch.left_unread();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, BrokenOff, Held};
    use crate::connections::{Gate, Watch};
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
        let held = Held { watch: Arc::new(Watch::new()), permits: [Some(permit), None] };
        let body = Body::full(Bytes::from_static(b"x")).holding(held);
        assert!(gate.enter(1).is_none());
        drop(body);
        assert!(gate.enter(1).is_some());
    }
}
