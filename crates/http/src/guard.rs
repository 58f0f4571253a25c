//! The socket as hyper sees it: keeps the marks of [`Watch`], ends reads and writes of a doomed connection, explains what
//! hyper refuses without asking us, and lingers so that a client reads its answer.
//!
//! Invariants: bytes of an answer of ours pass unchanged. Bytes are replaced only where hyper answers a head that it could
//! not read: no request is being worked on then, so they cannot be part of an object. A connection is closed only after
//! the client has closed its side, or a moment has passed: closing earlier would reset it and lose the answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::headers;
use crate::leaving::{Asking, Carrier, INTERIM, Step};
use crate::problem::{Kind, Problem};
use crate::request_id::RequestId;
use crate::watch::{Doom, Phase, Watch};

/// What a client may still send after its last answer.
const LINGER_BYTES: usize = 1024 * 1024;

/// A request line longer than this is what makes a head too large: no address needs half as much.
const LINE_BYTES_MAX: usize = 24 * 1024;

/// How long the first line of a head is, as far as it is here.
#[derive(Clone, Copy, Default)]
struct Line {
    bytes: usize,
    ended: bool,
}

impl Line {
    fn add(&mut self, new: &[u8]) {
        if !self.ended {
            let end = new.iter().position(|byte| *byte == b'\n');
            self.bytes += end.unwrap_or(new.len());
            self.ended = end.is_some();
        }
    }
}

/// A socket with its marks.
pub(crate) struct Guard<S> {
    socket: S,
    watch: Arc<Watch>,
    /// What is sent before anything of hyper's: our own answer in place of it, or what asks whether the client is there.
    instead: Bytes,
    asking: Option<Asking>,
    line: Line,
    lingered: usize,
    told: bool,
}

impl<S: Carrier> Guard<S> {
    pub(crate) fn new(socket: S, watch: Arc<Watch>) -> Self {
        let (instead, line) = (Bytes::new(), Line::default());
        Self { socket, watch, instead, asking: None, line, lingered: 0, told: false }
    }

    /// The error that ends a doomed connection. A client that was slow with a head is told so.
    fn doomed(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
        let why = match self.watch.doom() {
            Doom::None => return None,
            Doom::Idle => "rested too long",
            Doom::Room => "made room for another",
            Doom::Head => "head too slow",
            Doom::Body => "body too slow",
            Doom::Answer => "answer taken too slowly",
            Doom::Request => "request too long",
            Doom::Gone => "client gone",
        };
        if self.watch.doom() == Doom::Head && self.watch.has_received() && !self.told {
            let problem = Problem::new(
                Kind::RequestTimeout,
                "the head of the request did not arrive in time; send it at once",
            );
            // Nobody waits for this: what the socket does not take now is not said.
            let _ = Pin::new(&mut self.socket).poll_write(cx, &as_http(&problem));
            self.told = true;
        }
        Some(io::Error::new(io::ErrorKind::TimedOut, why))
    }

    /// Waits until a client that has closed its side is known to be gone. For ever where it is not asked.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.watch.may_ask_client() {
                self.asking = None;
                return Poll::Pending;
            }
            let step = ready!(self.asking.get_or_insert_with(Asking::begin).poll_step(cx));
            if self.socket.has_failed() {
                return Poll::Ready(());
            }
            if step == Step::Ask {
                self.instead = Bytes::from_static(INTERIM);
            }
            // What the socket does not take now goes out at the next look, or before the answer.
            if let Poll::Ready(Err(_)) = self.send_instead(cx) {
                return Poll::Ready(());
            }
            let _ = Pin::new(&mut self.socket).poll_flush(cx);
        }
    }

    /// Sends what stands instead of hyper's answer.
    fn send_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.instead.has_remaining() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.instead))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.advance(sent);
        }
        Poll::Ready(Ok(()))
    }

    fn count(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(bytes)) => self.watch.sent(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.watch.sent(0),
        }
    }
}

impl<S: Carrier> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.doomed(cx) {
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        let room = buf.remaining();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        match &read {
            Poll::Ready(Ok(())) => {
                let new = &buf.filled()[before..];
                if new.is_empty() && room > 0 && self.watch.keeps_closing() {
                    self.watch.register(cx.waker());
                    ready!(self.poll_gone(cx));
                    self.watch.end(Doom::Gone);
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                if !new.is_empty() {
                    // Bodies are measured too, and do no harm: the next head begins from rest.
                    if self.watch.phase() == Phase::Idle {
                        self.line = Line::default();
                    }
                    self.line.add(new);
                    self.watch.received(new.len());
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.watch.register(cx.waker()),
        }
        read
    }
}

impl<S: Carrier> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if matches!(self.watch.doom(), Doom::Answer | Doom::Request | Doom::Gone) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if !self.watch.is_working()
            && let Some(problem) = explain(bytes, self.line.bytes > LINE_BYTES_MAX)
        {
            self.instead = as_http(&problem);
            self.watch.left_unread();
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.send_instead(cx))?;
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.count(&written);
        if written.is_pending() {
            self.watch.register(cx.waker());
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.watch.is_working() || self.watch.doom() != Doom::None {
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &**slice);
            return self.poll_write(cx, first);
        }
        ready!(self.send_instead(cx))?;
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.count(&written);
        if written.is_pending() {
            self.watch.register(cx.waker());
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send_instead(cx))?;
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.watch.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send_instead(cx))?;
        if self.watch.phase() != Phase::Lingering {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.watch.linger();
        }
        if !self.watch.must_linger() {
            return Poll::Ready(Ok(()));
        }
        let mut space = [0_u8; 4096];
        // Closing under a client that has more to send would reset the connection, whatever was read before: then it is held, not read.
        while self.lingered < LINGER_BYTES && self.watch.doom() == Doom::None {
            let mut buf = ReadBuf::new(&mut space);
            let Poll::Ready(read) = Pin::new(&mut self.socket).poll_read(cx, &mut buf) else { break };
            if read.is_err() || buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.lingered += buf.filled().len();
        }
        self.watch.register(cx.waker());
        if self.watch.doom() == Doom::None { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

/// What hyper means by an answer of its own. It writes one in a single piece, with an empty body.
fn explain(bytes: &[u8], line_is_long: bool) -> Option<Problem> {
    let status = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
    Some(match status {
        b"400" => Problem::malformed(
            "the head of the request is not HTTP/1.1; check the request line, the header fields, the content length and the transfer coding",
        ),
        // Hyper counts the head as a whole; its first line tells whether the target is what is too long.
        b"431" if line_is_long => target_too_long(),
        b"414" => target_too_long(),
        b"431" => Problem::new(
            Kind::HeadTooLarge,
            "the head of the request is larger than this node takes; send fewer or shorter header fields",
        ),
        _ => return None,
    })
}

fn target_too_long() -> Problem {
    Problem::new(
        Kind::AddressTooLong,
        "the target of the request is longer than this node takes; an address has at most 4,096 bytes",
    )
}

/// A problem as the bytes of a whole HTTP/1.1 answer that ends its connection.
pub(crate) fn as_http(problem: &Problem) -> Bytes {
    let id = RequestId::new();
    let mut response = problem.response();
    id.mark(response.headers_mut());
    tracing::debug!(request = id.as_str(), status = problem.status().as_u16(), "refused before it was read");
    let json = problem.json();
    let mut text = format!(
        "HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: {}\r\n{}",
        response.status(),
        json.len(),
        headers::as_text()
    );
    for (name, value) in response.headers().iter().filter(|(name, _)| *name != "connection") {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), &json].concat().into()
}
