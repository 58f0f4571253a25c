//! Streams whose last answer has come whole, kept a while for the next question to the same member.
//!
//! Invariant: what is kept is bounded for each member, and nobody is given a stream that has rested for long: the other side may have ended it. It
//! may have all the same, so who takes one is ready to open another.

use jsfs_federation::membership::PeerId;
use libp2p::swarm::Stream;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a stream is kept: less than the other side lets it rest.
const IDLE_TIME: Duration = Duration::from_secs(60);

type Streams = BTreeMap<PeerId, Vec<(Stream, Instant)>>;

/// Streams that rest.
pub(crate) struct Idle {
    streams: Mutex<Streams>,
    each_max: usize,
}

impl Idle {
    /// At most so many for each member.
    pub(crate) fn new(each_max: usize) -> Self {
        Self { streams: Mutex::default(), each_max }
    }

    fn hold(&self) -> MutexGuard<'_, Streams> {
        // Nothing in here can be left half done by a panic.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream that was used a moment ago.
    pub(crate) fn take(&self, peer: &PeerId) -> Option<Stream> {
        let mut held = self.hold();
        let streams = held.get_mut(peer)?;
        streams.retain(|(_, since)| since.elapsed() < IDLE_TIME);
        let found = streams.pop().map(|(stream, _)| stream);
        if streams.is_empty() {
            held.remove(peer);
        }
        found
    }

    /// Keeps a stream for the next question.
    pub(crate) fn keep(&self, peer: PeerId, stream: Stream) {
        let mut held = self.hold();
        let streams = held.entry(peer).or_default();
        if streams.len() < self.each_max {
            streams.push((stream, Instant::now()));
        }
    }

    /// Streams to whoever is gone are of no use.
    pub(crate) fn forget(&self, gone: impl Fn(&PeerId) -> bool) {
        self.hold().retain(|peer, _| !gone(peer));
    }
}
