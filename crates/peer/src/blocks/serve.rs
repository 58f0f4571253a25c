//! Serving blocks to members.

use super::{BLOCK_TIME, Blocks};
use crate::Service;
use crate::frames::{self, StreamError};
use crate::hub::Hub;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::io::AsyncWriteExt;
use jsfs_federation::blockstore::{
    BLOCK_FRAME_BYTES_MAX, BLOCK_MESSAGE_BYTES_MAX, BLOCKSTORE_PROTOCOL, Bitmap, BlockAnswer, BlockRequest,
    PIECE_BLOCK, code_byte, refused_piece,
};
use jsfs_federation::membership::{PeerId, Role};
use jsfs_federation::wire::{self, ErrorCode};
use jsfs_objects::cbor::Cbor;
use jsfs_store::BlockId;
use libp2p::swarm::Stream;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Blocks that are in memory at once because members ask for them or send them.
const TRANSFERS_MAX: usize = 64;

/// How long a stream may rest between requests.
const IDLE_TIME: Duration = Duration::from_secs(300);

/// Bytes of blocks that are kept with one commit.
const BATCH_BYTES: usize = 4 << 20;

/// Who may ask for blocks and have them kept: whoever reads, keeps or runs something.
const ASKERS: [Role; 4] = [Role::Gateway, Role::Meta, Role::Store, Role::Proc];

/// The service.
pub(crate) struct BlockService {
    blocks: Arc<dyn Blocks>,
    /// Set once the hub is there, which owns this.
    hub: OnceLock<Weak<Hub>>,
    transfers: Arc<Semaphore>,
}

impl BlockService {
    pub(crate) fn new(blocks: Arc<dyn Blocks>) -> Self {
        Self { blocks, hub: OnceLock::new(), transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)) }
    }

    /// Tells it whom to ask about members.
    pub(crate) fn belongs_to(&self, hub: &Arc<Hub>) {
        let _ = self.hub.set(Arc::downgrade(hub));
    }
}

impl Service for BlockService {
    fn protocol(&self) -> &'static str {
        BLOCKSTORE_PROTOCOL
    }

    fn serve(&self, peer: PeerId, stream: Stream) -> BoxFuture<'static, ()> {
        let hub = self.hub.get().and_then(Weak::upgrade);
        let (blocks, transfers) = (Arc::clone(&self.blocks), Arc::clone(&self.transfers));
        Box::pin(async move {
            let Some(hub) = hub else { return };
            let mut serving = Serving { hub, blocks, transfers, peer, stream };
            if let Err(error) = serving.run().await {
                tracing::debug!(%peer, %error, "a stream of blocks ended");
            }
        })
    }
}

struct Serving {
    hub: Arc<Hub>,
    blocks: Arc<dyn Blocks>,
    transfers: Arc<Semaphore>,
    peer: PeerId,
    stream: Stream,
}

impl Serving {
    async fn run(&mut self) -> Result<(), StreamError> {
        loop {
            let message = frames::receive(&mut self.stream, BLOCK_MESSAGE_BYTES_MAX, IDLE_TIME).await?;
            let Some(message) = message else { return Ok(()) };
            let Ok(request) = BlockRequest::from_bytes(&message) else {
                return self.refuse(ErrorCode::Malformed).await;
            };
            if !self.hub.is_member(&self.peer) {
                return self.refuse(ErrorCode::NotMember).await;
            }
            if !ASKERS.iter().any(|role| self.hub.has_role(&self.peer, *role)) {
                return self.refuse(ErrorCode::Role).await;
            }
            match request {
                BlockRequest::Have { ids } => {
                    let have = self.blocks.have(ids).await;
                    self.answer(&BlockAnswer::Marked(Bitmap::of(&have))).await?;
                }
                BlockRequest::Get { ids } => self.get(&ids).await?,
                BlockRequest::Put { ids, lease_s } => self.put(&ids, lease_s).await?,
                BlockRequest::Pin { ids, lease_s } => {
                    let kept = self.blocks.pin(self.peer, ids, lease_s).await;
                    self.marked(kept).await?;
                }
                BlockRequest::Unpin { ids } => {
                    let freed = self.blocks.unpin(self.peer, ids).await;
                    self.marked(freed).await?;
                }
            }
        }
    }

    async fn marked(&mut self, marked: Result<Vec<bool>, ErrorCode>) -> Result<(), StreamError> {
        let answer = marked.map_or_else(
            |code| BlockAnswer::Refused(code.number()),
            |bits| BlockAnswer::Marked(Bitmap::of(&bits)),
        );
        self.answer(&answer).await
    }

    async fn answer(&mut self, answer: &BlockAnswer) -> Result<(), StreamError> {
        frames::send(&mut self.stream, &answer.to_bytes(), BLOCK_TIME).await
    }

    /// The last word on a stream.
    async fn refuse(&mut self, code: ErrorCode) -> Result<(), StreamError> {
        self.answer(&BlockAnswer::Refused(code.number())).await?;
        Ok(self.stream.close().await?)
    }

    async fn get(&mut self, ids: &[BlockId]) -> Result<(), StreamError> {
        for id in ids {
            let _place = Arc::clone(&self.transfers).acquire_owned().await;
            match self.blocks.get(*id).await {
                Some(bytes) => self.send(&bytes).await?,
                None => {
                    let refused = refused_piece(ErrorCode::Absent);
                    frames::send(&mut self.stream, &refused, BLOCK_TIME).await?;
                }
            }
        }
        Ok(())
    }

    /// A block as a frame, without copying it.
    async fn send(&mut self, bytes: &Bytes) -> Result<(), StreamError> {
        let mut head = wire::length(bytes.len() + 1);
        head.push(PIECE_BLOCK);
        let sending = async {
            self.stream.write_all(&head).await?;
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(BLOCK_TIME, sending).await.map_err(|_| StreamError::Silent(BLOCK_TIME))??;
        Ok(())
    }

    /// Takes blocks in as they come, and keeps several with one commit. What cannot be kept is received all the same, so that the stream stays in step.
    async fn put(&mut self, ids: &[BlockId], lease_s: u64) -> Result<(), StreamError> {
        let may = self.hub.has_role(&self.hub.me, Role::Store);
        let mut codes = vec![if may { 0 } else { code_byte(ErrorCode::Role) }; ids.len()];
        let mut batch: Vec<(usize, BlockId, Bytes)> = Vec::new();
        let mut bytes = 0;
        for (at, id) in ids.iter().enumerate() {
            let _place = Arc::clone(&self.transfers).acquire_owned().await;
            let frame = frames::receive(&mut self.stream, BLOCK_FRAME_BYTES_MAX, BLOCK_TIME).await?;
            let block = Bytes::from(frame.ok_or(StreamError::Ended)?);
            if BlockId::of(&block) != *id {
                codes[at] = code_byte(ErrorCode::Damaged);
            } else if codes[at] == 0 {
                bytes += block.len();
                batch.push((at, *id, block));
            }
            if bytes >= BATCH_BYTES {
                keep(&*self.blocks, self.peer, std::mem::take(&mut batch), lease_s, &mut codes).await;
                bytes = 0;
            }
        }
        keep(&*self.blocks, self.peer, batch, lease_s, &mut codes).await;
        self.answer(&BlockAnswer::Kept(codes)).await
    }
}

/// Keeps a batch; the codes of its blocks say what became of them.
async fn keep(
    blocks: &dyn Blocks,
    peer: PeerId,
    batch: Vec<(usize, BlockId, Bytes)>,
    lease_s: u64,
    codes: &mut [u8],
) {
    if batch.is_empty() {
        return;
    }
    let places: Vec<usize> = batch.iter().map(|(at, ..)| *at).collect();
    let batch = batch.into_iter().map(|(_, id, bytes)| (id, bytes)).collect();
    if let Err(code) = blocks.keep(peer, batch, lease_s).await {
        places.into_iter().for_each(|at| codes[at] = code_byte(code));
    }
}
