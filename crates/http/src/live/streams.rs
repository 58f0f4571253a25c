//! Bodies over a socket: many side by side, each under its own credit.
//!
//! Invariants: a body that stands still holds up no other and keeps at most its credit in memory; a client that sends more than it was granted is
//! cut off; a stream that nothing moves in for `progress_time` is over. Dropping either end ends the stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{Notify, Semaphore};
use tokio_tungstenite::tungstenite::Message;

use super::frame::{CREDIT_BYTES, Frame, PAYLOAD_BYTES_MAX};
use super::outbox::{Outbox, Over};
use crate::body::Body;
use crate::problem::{Kind, Problem};

/// What the node takes of an upload before it has worked on any of it, in bytes: the credit that every sender has, and a grant at once. Enough
/// for a fast connection over a long way.
const WINDOW_BYTES: u32 = 4 * CREDIT_BYTES;

/// Credit goes out in pieces of at least so many bytes.
const GRANT_BYTES_MIN: u32 = CREDIT_BYTES / 2;

/// Credit beyond this is a mistake.
const CREDIT_BYTES_MAX: usize = 1 << 40;

/// The streams of one connection.
#[derive(Default)]
pub(crate) struct Streams(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Bodies that come in.
    uploads: HashMap<u32, Upload>,
    /// Bodies that go out.
    downloads: HashMap<u32, Arc<Semaphore>>,
    /// The greatest number of the client's so far.
    last_upload: u32,
    /// The greatest number of ours so far.
    last_download: u32,
}

struct Upload {
    arrived: Arc<Arrived>,
    /// What the client may still send.
    credit: u32,
}

/// What has come of a body and was not worked on yet: as many bytes as the credit at most, however small the messages are.
#[derive(Default)]
struct Arrived {
    gathered: Mutex<Gathered>,
    more: Notify,
}

#[derive(Default)]
struct Gathered {
    bytes: BytesMut,
    end: Option<End>,
}

/// How a body ended.
#[derive(Clone, Copy)]
enum End {
    Whole,
    GivenUp,
}

impl Arrived {
    fn hold(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, bytes: &[u8], end: Option<End>) {
        let mut gathered = self.hold();
        gathered.bytes.extend_from_slice(bytes);
        gathered.end = end;
        drop(gathered);
        self.more.notify_one();
    }
}

/// Why a client is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Overdrawn {
    #[error("more bytes than the credit of the stream")]
    Credit,
    #[error("a number of a stream that is used already, or was never announced")]
    Number,
}

impl Streams {
    fn hold(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can be left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a number that the client has chosen for a body of its own.
    pub(crate) fn announce(
        self: &Arc<Self>,
        number: u32,
        out: Outbox,
        progress_time: Duration,
    ) -> Result<Incoming, Overdrawn> {
        let mut inner = self.hold();
        if number <= inner.last_upload {
            return Err(Overdrawn::Number);
        }
        inner.last_upload = number;
        let arrived = Arc::<Arrived>::default();
        inner.uploads.insert(number, Upload { arrived: Arc::clone(&arrived), credit: CREDIT_BYTES });
        drop(inner);
        let streams = Arc::clone(self);
        let owed = WINDOW_BYTES - CREDIT_BYTES;
        Ok(Incoming { number, streams, arrived, out, progress_time, owed })
    }

    /// Takes a message for a stream. Messages for one that is over are ignored.
    pub(crate) fn take(&self, number: u32, frame: Frame) -> Result<(), Overdrawn> {
        let mut inner = self.hold();
        if number.is_multiple_of(2) {
            return inner.take_for_download(number, &frame);
        }
        if number > inner.last_upload {
            return Err(Overdrawn::Number);
        }
        let (bytes, end) = match frame {
            Frame::Data(bytes) => (bytes, None),
            Frame::End(bytes) => (bytes, Some(End::Whole)),
            Frame::Error(_) => (Bytes::new(), Some(End::GivenUp)),
            // Only receivers give credit.
            Frame::Credit(_) => return Ok(()),
        };
        let Some(upload) = inner.uploads.get_mut(&number) else { return Ok(()) };
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        upload.credit = upload.credit.checked_sub(count).ok_or(Overdrawn::Credit)?;
        upload.arrived.take(&bytes, end);
        if end.is_some() {
            inner.uploads.remove(&number);
        }
        Ok(())
    }

    fn grant(&self, number: u32, bytes: u32) {
        if let Some(upload) = self.hold().uploads.get_mut(&number) {
            upload.credit = upload.credit.saturating_add(bytes);
        }
    }

    /// A stream for a body that goes out.
    pub(crate) fn open(self: &Arc<Self>) -> Outgoing {
        let mut inner = self.hold();
        inner.last_download += 2;
        let number = inner.last_download;
        let credit = Arc::new(Semaphore::new(CREDIT_BYTES as usize));
        inner.downloads.insert(number, Arc::clone(&credit));
        drop(inner);
        Outgoing { number, streams: Arc::clone(self), credit }
    }
}

impl Inner {
    fn take_for_download(&mut self, number: u32, frame: &Frame) -> Result<(), Overdrawn> {
        if number > self.last_download {
            return Err(Overdrawn::Number);
        }
        let Some(credit) = self.downloads.get(&number) else { return Ok(()) };
        match frame {
            Frame::Credit(bytes) if credit.available_permits() + *bytes as usize <= CREDIT_BYTES_MAX => {
                credit.add_permits(*bytes as usize);
            }
            Frame::Credit(_) => return Err(Overdrawn::Credit),
            // The client wants no more of it.
            Frame::Error(_) => credit.close(),
            Frame::Data(_) | Frame::End(_) => {}
        }
        Ok(())
    }
}

/// A body that comes in.
pub(crate) struct Incoming {
    number: u32,
    streams: Arc<Streams>,
    arrived: Arc<Arrived>,
    /// Where credit goes out.
    out: Outbox,
    progress_time: Duration,
    /// Bytes that were worked on and not yet granted again.
    owed: u32,
}

/// Why a body did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutOff {
    /// The client gave it up, or the connection ended.
    GivenUp,
    /// Nothing came for too long.
    TooSlow,
}

impl Incoming {
    /// The next bytes; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, CutOff> {
        self.grant().await;
        loop {
            let (bytes, end) = {
                let mut gathered = self.arrived.hold();
                (gathered.bytes.split().freeze(), gathered.end)
            };
            match end {
                Some(End::GivenUp) => return Err(CutOff::GivenUp),
                _ if !bytes.is_empty() => {
                    self.owed = self.owed.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                    return Ok(Some(bytes));
                }
                Some(End::Whole) => return Ok(None),
                None => {}
            }
            let more = tokio::time::timeout(self.progress_time, self.arrived.more.notified()).await;
            more.map_err(|_| CutOff::TooSlow)?;
        }
    }

    async fn grant(&mut self) {
        if self.owed >= GRANT_BYTES_MIN {
            let bytes = std::mem::take(&mut self.owed);
            self.streams.grant(self.number, bytes);
            // Where the connection is over there is nobody to grant to.
            let _ = self.out.message(Message::Binary(Frame::Credit(bytes).encode(self.number))).await;
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.streams.hold().uploads.remove(&self.number);
    }
}

/// A body that goes out.
pub(crate) struct Outgoing {
    pub(crate) number: u32,
    streams: Arc<Streams>,
    credit: Arc<Semaphore>,
}

/// Nothing more can be sent: the client does not want it, or the connection is over.
struct Unwanted;

impl Outgoing {
    /// Sends a body to its end, as fast as the client grants, and waits until all of it was written.
    pub(crate) async fn send(&self, body: &mut Body, out: &Outbox, progress_time: Duration) {
        while let Some(frame) = body.frame().await {
            let sent = match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(bytes)) => self.send_bytes(bytes, out, progress_time).await,
                Ok(Err(_trailers)) => Ok(()),
                Err(_) => {
                    let detail = "the body broke off; the node's log tells why";
                    return self.fail(&Problem::new(Kind::Internal, detail), out).await;
                }
            };
            match sent {
                Ok(()) => {}
                Err(None) => return,
                Err(Some(problem)) => return self.fail(&problem, out).await,
            }
        }
        let _ = out.message_to_the_end(Message::Binary(Frame::End(Bytes::new()).encode(self.number))).await;
    }

    async fn send_bytes(
        &self,
        mut bytes: Bytes,
        out: &Outbox,
        progress_time: Duration,
    ) -> Result<(), Option<Problem>> {
        while !bytes.is_empty() {
            let granted = tokio::time::timeout(progress_time, self.take(bytes.len())).await;
            let count = granted
                .map_err(|_| {
                    let detail = "the stream stood still for too long; ask for the range that is missing";
                    Some(Problem::new(Kind::RequestTimeout, detail))
                })?
                .map_err(|Unwanted| None)?;
            let message = Message::Binary(Frame::Data(bytes.split_to(count)).encode(self.number));
            out.message(message).await.map_err(|Over| None)?;
        }
        Ok(())
    }

    /// Waits for credit and takes as much as there is, up to one message.
    async fn take(&self, wanted: usize) -> Result<usize, Unwanted> {
        self.credit.acquire().await.map_err(|_| Unwanted)?.forget();
        let more = self.credit.available_permits().min(wanted.min(PAYLOAD_BYTES_MAX) - 1);
        let taken = match u32::try_from(more).ok().and_then(|more| self.credit.try_acquire_many(more).ok()) {
            Some(permits) => {
                permits.forget();
                more
            }
            None => 0,
        };
        Ok(1 + taken)
    }

    /// Says why there is no more of it.
    pub(crate) async fn fail(&self, problem: &Problem, out: &Outbox) {
        let _ =
            out.message_to_the_end(Message::Binary(Frame::Error(problem.json()).encode(self.number))).await;
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.streams.hold().downloads.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::{CREDIT_BYTES, CutOff, Frame, Overdrawn, Streams, WINDOW_BYTES};
    use crate::body::Body;
    use crate::live::outbox::{Queues, outboxes};
    use bytes::Bytes;
    use futures_util::FutureExt;
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(30);

    fn data(bytes: usize) -> Frame {
        Frame::Data(vec![7; bytes].into())
    }

    fn next(out: &mut Queues) -> Option<(u32, Frame)> {
        Some(Frame::decode(out.take_message()?.into_data()).expect("a frame"))
    }

    #[tokio::test]
    async fn an_upload_gets_credit_for_what_was_worked_on() {
        let streams = Arc::new(Streams::default());
        let (out, _pieces, mut sent) = outboxes();
        let mut upload = streams.announce(1, out, SOON).expect("a stream");
        for _ in 0..4 {
            streams.take(1, data(65_536)).expect("within the credit");
        }
        assert_eq!(streams.take(1, data(1)), Err(Overdrawn::Credit));
        assert_eq!(upload.next().await.expect("whole").map(|bytes| bytes.len()), Some(4 * 65_536));
        assert_eq!(next(&mut sent), Some((1, Frame::Credit(WINDOW_BYTES - CREDIT_BYTES))));
        // Messages without a byte cost nothing and are nothing.
        for _ in 0..1_000 {
            streams.take(1, Frame::Data(Bytes::new())).expect("within the credit");
        }
        streams.take(1, Frame::End(Bytes::from_static(b"x"))).expect("within the credit");
        assert_eq!(upload.next().await, Ok(Some(Bytes::from_static(b"x"))));
        assert_eq!(upload.next().await, Ok(None));
        assert_eq!(
            streams.take(1, data(9_999_999)),
            Ok(()),
            "what comes for a stream that is over is ignored"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_is_given_up_or_stands_still_is_cut_off() {
        let streams = Arc::new(Streams::default());
        let (out, _pieces, _sent) = outboxes();
        let mut one = streams.announce(1, out.clone(), SOON).expect("a stream");
        streams.take(1, Frame::Error(Bytes::new())).expect("known");
        assert_eq!(one.next().await, Err(CutOff::GivenUp));
        let mut two = streams.announce(3, out.clone(), SOON).expect("a stream");
        assert_eq!(two.next().await, Err(CutOff::TooSlow));
        assert_eq!(streams.announce(3, out.clone(), SOON).err(), Some(Overdrawn::Number));
        assert_eq!(streams.take(5, data(1)), Err(Overdrawn::Number));
        assert_eq!(streams.take(2, Frame::Credit(1)), Err(Overdrawn::Number));
    }

    #[tokio::test]
    async fn a_download_stops_where_its_credit_ends_and_goes_on_with_more() {
        let streams = Arc::new(Streams::default());
        let (out, _pieces, mut sent) = outboxes();
        let stream = streams.open();
        let number = stream.number;
        let bytes = Bytes::from(vec![1; CREDIT_BYTES as usize + 10]);
        let mut sending = tokio::task::JoinSet::new();
        sending.spawn(async move { stream.send(&mut Body::full(bytes), &out, SOON).await });
        tokio::task::yield_now().await;
        let mut got = 0;
        while got < CREDIT_BYTES as usize {
            let Some((of, Frame::Data(bytes))) = next(&mut sent) else { panic!("no data after {got}") };
            assert_eq!(of, number);
            got += bytes.len();
        }
        tokio::task::yield_now().await;
        assert_eq!(next(&mut sent), None);
        streams.take(number, Frame::Credit(4)).expect("ours");
        streams.take(number, Frame::Credit(6)).expect("ours");
        tokio::task::yield_now().await;
        assert!(matches!(next(&mut sent), Some((_, Frame::Data(bytes))) if bytes.len() == 10));
        assert!(!sending.is_empty(), "it waits until all was written");
        assert_eq!(next(&mut sent), Some((number, Frame::End(Bytes::new()))));
        sending.join_all().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_download_that_nobody_takes_or_wants_is_over() {
        let streams = Arc::new(Streams::default());
        let (out, _pieces, mut sent) = outboxes();
        let bytes = Bytes::from(vec![1; 2 * CREDIT_BYTES as usize]);
        let stream = streams.open();
        streams.take(stream.number, Frame::Error(Bytes::new())).expect("ours");
        stream.send(&mut Body::full(bytes.clone()), &out, SOON).await;
        assert_eq!(next(&mut sent), None, "not a byte of what is unwanted");
        let stalled = streams.open();
        let mut body = Body::full(bytes);
        let mut sending = pin!(stalled.send(&mut body, &out, SOON));
        let mut last = None;
        while (&mut sending).now_or_never().is_none() {
            tokio::time::advance(SOON / 2).await;
            while let Some((_, frame)) = next(&mut sent) {
                last = Some(frame);
            }
        }
        assert!(matches!(last, Some(Frame::Error(problem)) if problem.starts_with(b"{")));
    }
}
