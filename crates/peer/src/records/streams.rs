//! `/jsfs/metastore/2` over streams: one request and its answer after another on each.

use super::{Counts, Input, Origin};
use crate::Service;
use crate::error::PeerError;
use crate::frames::{self, StreamError};
use crate::hub::Hub;
use crate::idle::Idle;
use futures_util::future::BoxFuture;
use jsfs_federation::membership::PeerId;
use jsfs_federation::metastore::{MESSAGE_BYTES_MAX, PROTOCOL, Request, Response};
use jsfs_federation::wire::ErrorCode;
use jsfs_objects::cbor::Cbor;
use libp2p::swarm::Stream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Time for one message to go or come.
const MESSAGE_TIME: Duration = Duration::from_secs(5);

/// How long a stream may rest between requests.
const REST_TIME: Duration = Duration::from_secs(300);

/// Streams to one peer that are kept.
const IDLE_MAX: usize = 16;

/// Requests on their way at once.
pub(super) const ASKED_MAX: usize = 1_024;

/// Streams to other members, and what is asked over them.
pub(crate) struct Wires {
    hub: Arc<Hub>,
    idle: Idle,
    places: Semaphore,
    counts: Arc<Counts>,
}

impl Wires {
    pub(crate) fn new(hub: Arc<Hub>, counts: Arc<Counts>) -> Self {
        Self { hub, idle: Idle::new(IDLE_MAX), places: Semaphore::new(ASKED_MAX), counts }
    }

    /// Asks a member. A stream that was kept may have ended meanwhile, which costs a second try: every request may come twice.
    pub(crate) async fn ask(
        &self,
        origin: Origin,
        peer: &PeerId,
        request: &Request,
    ) -> Result<Response, PeerError> {
        let _place = self.places.acquire().await.map_err(|_| PeerError::Stopping)?;
        self.counts.asked.fetch_add(1, Ordering::Relaxed);
        let message = request.to_bytes();
        if let Some(stream) = self.idle.take(peer)
            && let Ok(answer) = self.ask_over(origin, peer, stream, &message).await
        {
            return Ok(answer);
        }
        let opening = self.hub.open(peer, PROTOCOL);
        let stream = tokio::time::timeout(MESSAGE_TIME, opening).await;
        let stream = stream.map_err(|_| StreamError::Silent(MESSAGE_TIME))??;
        self.ask_over(origin, peer, stream, &message).await
    }

    async fn ask_over(
        &self,
        origin: Origin,
        peer: &PeerId,
        mut stream: Stream,
        message: &[u8],
    ) -> Result<Response, PeerError> {
        frames::send(&mut stream, message, MESSAGE_TIME).await?;
        let answer = frames::receive(&mut stream, MESSAGE_BYTES_MAX, MESSAGE_TIME).await?;
        let answer = answer.ok_or(StreamError::Ended)?;
        let bytes = match origin {
            Origin::Client => &self.counts.used_bytes,
            Origin::Keeper => &self.counts.repair_bytes,
        };
        bytes.fetch_add((message.len() + answer.len()) as u64, Ordering::Relaxed);
        let answer = Response::from_bytes(&answer)?;
        self.idle.keep(*peer, stream);
        Ok(answer)
    }

    /// Streams to whoever is gone are of no use.
    pub(crate) fn forget(&self, gone: impl Fn(&PeerId) -> bool) {
        self.idle.forget(gone);
    }
}

/// What answers other members.
#[derive(Default)]
pub(crate) struct RecordService {
    /// Set once the keeper is there.
    keeper: OnceLock<(mpsc::WeakSender<Input>, Arc<Counts>)>,
}

impl RecordService {
    pub(crate) fn belongs_to(&self, inbox: &mpsc::Sender<Input>, counts: &Arc<Counts>) {
        let _ = self.keeper.set((inbox.downgrade(), Arc::clone(counts)));
    }
}

impl Service for RecordService {
    fn protocol(&self) -> &'static str {
        PROTOCOL
    }

    fn serve(&self, peer: PeerId, stream: Stream) -> BoxFuture<'static, ()> {
        let keeper = self.keeper.get().cloned();
        Box::pin(async move {
            let Some((inbox, counts)) = keeper else { return };
            if let Err(error) = serve(peer, stream, &inbox, &counts).await {
                tracing::debug!(%peer, %error, "a stream of records ended");
            }
        })
    }
}

async fn serve(
    peer: PeerId,
    mut stream: Stream,
    inbox: &mpsc::WeakSender<Input>,
    counts: &Counts,
) -> Result<(), StreamError> {
    loop {
        let message = frames::receive(&mut stream, MESSAGE_BYTES_MAX, REST_TIME).await?;
        let Some(message) = message else { return Ok(()) };
        counts.answered.fetch_add(1, Ordering::Relaxed);
        let answer = match Request::from_bytes(&message) {
            Err(_) => Response::refused(ErrorCode::Malformed),
            Ok(request) => {
                let (reply, answer) = oneshot::channel();
                let Some(inbox) = inbox.upgrade() else { return Ok(()) };
                if inbox.send(Input::Request(peer, Box::new(request), reply)).await.is_err() {
                    return Ok(());
                }
                drop(inbox);
                answer.await.unwrap_or_else(|_| Response::refused(ErrorCode::Busy))
            }
        };
        let answer = answer.to_bytes();
        counts.answered_bytes.fetch_add((message.len() + answer.len()) as u64, Ordering::Relaxed);
        frames::send(&mut stream, &answer, MESSAGE_TIME).await?;
    }
}
