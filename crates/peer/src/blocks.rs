//! Blocks over streams: serving those that are here, fetching those that are not, and placing new ones where they belong.
//!
//! What a peer sends is believed when its hash is its name. Blocks that are being sent or received at once are bounded, so memory is, however many
//! members ask.

mod fetch;
mod place;
mod serve;

pub use fetch::BlockCounts;
pub use place::Placed;
pub(crate) use serve::BlockService;

use crate::error::PeerError;
use crate::frames::{self, StreamError};
use crate::hub::Hub;
use crate::idle::Idle;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use jsfs_federation::blockstore::{
    BLOCK_FRAME_BYTES_MAX, BLOCK_MESSAGE_BYTES_MAX, BLOCKSTORE_PROTOCOL, BlockAnswer, BlockRequest, Patience,
    Piece, Placement,
};
use jsfs_federation::membership::{Charter, PeerId};
use jsfs_federation::wire::ErrorCode;
use jsfs_objects::cbor::Cbor;
use jsfs_store::BlockId;
use libp2p::swarm::Stream;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Time for one message or block to go or come.
const BLOCK_TIME: Duration = Duration::from_secs(10);

/// Streams to one peer that are kept for the next question.
const IDLE_MAX: usize = 8;

/// Peers that are remembered as liars.
const BANNED_MAX: usize = 1_024;

/// How long nothing is asked of a liar.
const BAN_TIME: Duration = Duration::from_secs(600);

/// How long a placement is taken for current, unless members changed.
const PLACEMENT_TIME: Duration = Duration::from_secs(5);

/// What keeps blocks on this node.
pub trait Blocks: Send + Sync {
    /// Which of these are here.
    fn have(&self, ids: Vec<BlockId>) -> BoxFuture<'_, Vec<bool>>;
    /// One, verified; none if it is not here or damaged.
    fn get(&self, id: BlockId) -> BoxFuture<'_, Option<Bytes>>;
    /// Keeps verified blocks for a peer until its lease ends; they are on the disk when this answers.
    fn keep(&self, peer: PeerId, blocks: Vec<(BlockId, Bytes)>, lease_s: u64) -> Kept<'_, ()>;
    /// Keeps those of these that are here; says which.
    fn pin(&self, peer: PeerId, ids: Vec<BlockId>, lease_s: u64) -> Kept<'_, Vec<bool>>;
    /// Keeps these no more for a peer; says for which it did.
    fn unpin(&self, peer: PeerId, ids: Vec<BlockId>) -> Kept<'_, Vec<bool>>;
}

/// What keeping comes to.
pub type Kept<'a, T> = BoxFuture<'a, Result<T, ErrorCode>>;

/// This node's way to the blocks of others.
pub(crate) struct BlockClient {
    hub: Arc<Hub>,
    idle: Idle,
    asked: Mutex<BTreeMap<PeerId, u64>>,
    banned: Mutex<BTreeMap<PeerId, Instant>>,
    /// Members that did not move in time when they were to keep blocks, and until when they are asked last.
    late: Mutex<BTreeMap<PeerId, Instant>>,
    placed: Mutex<place::Memory>,
    placement: Mutex<Option<Known>>,
    patience: Patience,
    begun: Instant,
    pub(crate) counts: Counts,
}

/// A placement with what it was computed from.
#[derive(Clone)]
struct Known {
    version: u64,
    at: Instant,
    placement: Arc<Placement>,
    replicas: usize,
}

/// What was moved.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    fetched: AtomicU64,
    fetched_bytes: AtomicU64,
    placed: AtomicU64,
    placed_bytes: AtomicU64,
    questions: AtomicU64,
    lies: AtomicU64,
    short: AtomicU64,
}

/// A question that is under way; its end makes the peer less busy.
struct Busy<'c> {
    client: &'c BlockClient,
    peer: PeerId,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut asked = locked(&self.client.asked);
        if let Some(count) = asked.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                asked.remove(&self.peer);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BlockClient {
    pub(crate) fn new(hub: Arc<Hub>, patience: Patience) -> Self {
        Self {
            hub,
            idle: Idle::new(IDLE_MAX),
            asked: Mutex::default(),
            banned: Mutex::default(),
            late: Mutex::default(),
            placed: Mutex::new(place::Memory::new()),
            placement: Mutex::default(),
            patience,
            begun: Instant::now(),
            counts: Counts::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Where blocks lie, and how many members keep each; none where the node is alone.
    fn known(&self) -> Option<Known> {
        let now_ms = self.hub.now_ms();
        let mut held = locked(&self.placement);
        let known = self.hub.with(|federation| {
            let roster = &federation.roster;
            match held.as_ref() {
                Some(known) if known.version == roster.version() && known.at.elapsed() < PLACEMENT_TIME => {
                    known.clone()
                }
                _ => Known {
                    version: roster.version(),
                    at: Instant::now(),
                    placement: Arc::new(roster.placement(now_ms)),
                    replicas: roster.charter().map_or(1, Charter::replicas),
                },
            }
        });
        let known = known.ok()?;
        *held = Some(known.clone());
        Some(known)
    }

    /// How busy a peer is; none where it is not to be asked. Who is not connected comes after who is.
    fn load(&self, peer: &PeerId) -> Option<u64> {
        const UNCONNECTED: u64 = 1 << 20;
        if *peer == self.hub.me || self.is_banned(peer) {
            return None;
        }
        let (is_reachable, has_address) = self
            .hub
            .with(|federation| {
                (federation.roster.is_reachable(peer), !federation.roster.addresses(peer).is_empty())
            })
            .ok()?;
        let asked = locked(&self.asked).get(peer).copied().unwrap_or(0);
        match (is_reachable, has_address) {
            (true, _) => Some(asked),
            (false, true) => Some(asked + UNCONNECTED),
            (false, false) => None,
        }
    }

    fn is_banned(&self, peer: &PeerId) -> bool {
        locked(&self.banned).get(peer).is_some_and(|until| *until > Instant::now())
    }

    /// A peer sent what it was not asked for: it is reported, dropped, and not asked for a while.
    async fn ban(&self, peer: PeerId, block: BlockId) {
        self.counts.lies.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%peer, %block, "a member sent other bytes than those of the block; it is not asked again for ten minutes");
        {
            let mut banned = locked(&self.banned);
            let now = Instant::now();
            banned.retain(|_, until| *until > now);
            if banned.len() < BANNED_MAX {
                banned.insert(peer, now + BAN_TIME);
            }
        }
        self.idle.forget(|kept| *kept == peer);
        self.hub.close(&peer).await;
    }

    fn busy(&self, peer: PeerId) -> Busy<'_> {
        *locked(&self.asked).entry(peer).or_default() += 1;
        self.counts.questions.fetch_add(1, Ordering::Relaxed);
        Busy { client: self, peer }
    }

    /// Sends a request over a new stream.
    async fn begin(&self, peer: &PeerId, request: &BlockRequest) -> Result<Stream, PeerError> {
        let mut stream = self.hub.open(peer, BLOCKSTORE_PROTOCOL).await?;
        frames::send(&mut stream, &request.to_bytes(), BLOCK_TIME).await?;
        Ok(stream)
    }

    /// Asks for one answer that is no block.
    async fn ask(&self, peer: &PeerId, request: &BlockRequest) -> Result<BlockAnswer, PeerError> {
        let _busy = self.busy(*peer);
        let mut stream = self.begin(peer, request).await?;
        let answer = answer(&mut stream).await?;
        self.idle.keep(*peer, stream);
        Ok(answer)
    }

    /// The bytes that a peer sends for a block, whatever they are. A stream that was kept may have ended meanwhile, which costs a second try.
    async fn get_from(&self, peer: &PeerId, block: BlockId) -> Result<Bytes, PeerError> {
        let _busy = self.busy(*peer);
        if let Some(stream) = self.idle.take(peer)
            && let Ok(piece) = self.get_over(peer, stream, block).await
        {
            return piece;
        }
        let stream = self.hub.open(peer, BLOCKSTORE_PROTOCOL).await?;
        self.get_over(peer, stream, block).await?
    }

    /// An answer of the peer, or that the stream is of no use any more.
    async fn get_over(
        &self,
        peer: &PeerId,
        mut stream: Stream,
        block: BlockId,
    ) -> Result<Result<Bytes, PeerError>, StreamError> {
        let request = BlockRequest::Get { ids: vec![block] };
        frames::send(&mut stream, &request.to_bytes(), BLOCK_TIME).await?;
        let frame = frames::receive(&mut stream, BLOCK_FRAME_BYTES_MAX, BLOCK_TIME).await?;
        let frame = frame.ok_or(StreamError::Ended)?;
        let refused = match Piece::decode(&frame) {
            Ok(Piece::Block(_)) => None,
            Ok(Piece::Refused(number)) => Some(number),
            Err(error) => return Ok(Err(error.into())),
        };
        self.idle.keep(*peer, stream);
        Ok(match refused {
            Some(number) => Err(refusal(number)),
            None => Ok(Bytes::from(frame).slice(1..)),
        })
    }
}

async fn answer(stream: &mut Stream) -> Result<BlockAnswer, PeerError> {
    let answer = frames::receive(stream, BLOCK_MESSAGE_BYTES_MAX, BLOCK_TIME).await?;
    let answer = BlockAnswer::from_bytes(&answer.ok_or(StreamError::Ended)?)?;
    match answer {
        BlockAnswer::Refused(number) => Err(refusal(number)),
        answer => Ok(answer),
    }
}

fn refusal(number: u64) -> PeerError {
    PeerError::Refused { code: ErrorCode::from_number(number).unwrap_or(ErrorCode::Unknown) }
}
