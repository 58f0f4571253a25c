//! Whether a client that has closed its side is still there.
//!
//! Closing one side is legal: such a client has nothing more to say and waits for its answer. One that is gone closes its side just the same,
//! and nothing tells them apart but what becomes of bytes that are sent to them: the system of one that is gone answers with a reset. HTTP/1.1 has bytes that
//! may be sent before any answer and say nothing, the interim answer 100, which a client discards that did not ask for it (RFC 9110 §15.2.1).
//! So whoever has closed its side, and whose answer takes longer than most, is sent one.
//!
//! Only runs of programs ask, because they wait long and are of use to nobody else. A write whose client has left is rather finished.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::either::Either;

use crate::tls::Wire;
use crate::watch::Watch;

/// What a client is sent that may be gone.
pub(crate) const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Most answers are there before anybody is asked.
const GRACE: Duration = Duration::from_millis(50);
/// When the socket is looked at after that, for the first time; then after twice as long, and so on.
const LOOK: Duration = Duration::from_millis(5);
/// A client that was there may leave later, and nothing tells: after so long it is asked again.
const AGAIN: Duration = Duration::from_secs(5);

/// A connection's socket, whatever lies between.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;

    /// Whether the other end has broken the connection. The end of what it sends does not say so, and hides it from whoever reads.
    fn has_failed(&self) -> bool {
        !matches!(self.tcp().take_error(), Ok(None))
    }
}

impl Carrier for Wire {
    fn tcp(&self) -> &TcpStream {
        match self {
            Either::Left(tcp) => tcp,
            Either::Right(tls) => tls.get_ref().0,
        }
    }
}

/// The client of a request over HTTP/1.1, for whoever is of use to it alone.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) Arc<Watch>);

impl Client {
    /// From now on the request ends soon after its client has gone.
    pub(crate) fn end_with_it(&self) {
        self.0.ask_client();
    }
}

/// What is to be done at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Ask,
    Look,
}

/// When a client is asked and looked at.
pub(crate) struct Asking {
    timer: Pin<Box<Sleep>>,
    pause: Duration,
    is_asked: bool,
}

impl Asking {
    pub(crate) fn begin() -> Self {
        Self { timer: Box::pin(sleep(GRACE)), pause: GRACE, is_asked: false }
    }

    pub(crate) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        ready!(self.timer.as_mut().poll(cx));
        let step = if self.is_asked && self.pause < AGAIN { Step::Look } else { Step::Ask };
        self.pause = if step == Step::Ask { LOOK } else { (self.pause * 2).min(AGAIN) };
        self.is_asked = true;
        self.timer.as_mut().reset(Instant::now() + self.pause);
        Poll::Ready(step)
    }
}

#[cfg(test)]
mod tests {
    use super::{AGAIN, Asking, GRACE, Step};
    use std::future::poll_fn;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_client_is_asked_after_a_moment_looked_at_more_and_more_seldom_and_asked_again() {
        let began = Instant::now();
        let mut asking = Asking::begin();
        let mut asked = Vec::new();
        let mut looks = 0;
        while asked.len() < 3 {
            match poll_fn(|cx| asking.poll_step(cx)).await {
                Step::Ask => asked.push(began.elapsed()),
                Step::Look => looks += 1,
            }
        }
        assert_eq!(asked[0], GRACE);
        for pair in asked.windows(2) {
            assert!((AGAIN..AGAIN * 3).contains(&(pair[1] - pair[0])), "{asked:?}");
        }
        assert!(looks < 30, "{looks}");
    }
}
