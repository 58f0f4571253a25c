//! Placing blocks: each goes to the members that every node computes, and to the next where one of them does not answer.
//!
//! New blocks are sent. Of blocks that were here before, the members are told to keep them, and only those that a member does not have are sent. Who
//! does not move for a while is not waited for alone: the next is asked as well, and whoever keeps a block counts, however late.

mod board;
mod memory;

pub(super) use memory::Memory;

use super::{BLOCK_TIME, BlockClient, Blocks, answer, locked};
use crate::error::PeerError;
use crate::frames::StreamError;
use board::Board;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::io::AsyncWriteExt;
use futures_util::stream::FuturesUnordered;
use jsfs_federation::blockstore::{BLOCK_IDS_MAX, BLOCKS_SENT_MAX, BlockAnswer, BlockRequest, REPLICAS_MAX};
use jsfs_federation::membership::PeerId;
use jsfs_federation::wire;
use jsfs_store::BlockId;
use libp2p::swarm::Stream;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of blocks that go to a peer with one request.
const BATCH_BYTES: usize = 8 << 20;

/// Blocks that are read from the disk for one request.
const READ_MAX: usize = 8;

/// How long a member that did not move in time is asked after all others.
const LATE_TIME: Duration = Duration::from_secs(10);

/// Bytes after which a block that is being sent counts as moving.
const MOVE_BYTES: usize = 64 << 10;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// How many members should keep each block.
    pub wanted: usize,
    /// Blocks that fewer keep.
    pub short: usize,
    /// Copies that had to be sent.
    pub sent: usize,
}

/// A block on its way to its keepers.
struct Placing {
    block: BlockId,
    /// None where it is read when somebody does not have it.
    bytes: Option<Bytes>,
    /// Who may keep it, the best first.
    keepers: Vec<PeerId>,
}

/// One member that is being asked to keep some of the blocks.
struct Asking<'a> {
    client: &'a BlockClient,
    peer: PeerId,
    /// Its number on the board.
    number: usize,
    board: &'a Mutex<Board>,
    all: &'a [Placing],
    lease_s: u64,
    source: &'a dyn Blocks,
}

impl BlockClient {
    /// Has blocks that are on this node kept by the members that keep them: they are on their disks when this answers. New ones are sent; others cost
    /// nothing where it is remembered that they were placed.
    pub(crate) async fn place(
        &self,
        new: Vec<(BlockId, Bytes)>,
        others: Vec<BlockId>,
        lease_s: u64,
        source: &dyn Blocks,
    ) -> Placed {
        let mut blocks: Vec<_> = new.into_iter().map(|(id, bytes)| (id, Some(bytes))).collect();
        if let Some(known) = self.known() {
            let mut placed = locked(&self.placed);
            placed.belongs_to(&known.placement, known.replicas);
            blocks.extend(others.into_iter().filter(|id| !placed.has(id)).map(|id| (id, None)));
        }
        self.settle(blocks, lease_s, source, |id| locked(&self.placed).note(id)).await
    }

    /// Has blocks that are on this node kept longer by the members that keep them, and sends them to those that do not have them.
    pub(crate) async fn renew(&self, ids: Vec<BlockId>, lease_s: u64, source: &dyn Blocks) -> Placed {
        // So many that those which are written now would be forgotten for them.
        self.settle(ids.into_iter().map(|id| (id, None)).collect(), lease_s, source, |_| {}).await
    }

    async fn settle(
        &self,
        blocks: Vec<(BlockId, Option<Bytes>)>,
        lease_s: u64,
        source: &dyn Blocks,
        is_placed: impl Fn(BlockId),
    ) -> Placed {
        let mut told = Placed { wanted: 1, short: 0, sent: 0 };
        let Some(known) = self.known().filter(|_| !blocks.is_empty()) else { return told };
        let me = self.hub.me;
        let all: Vec<Placing> = blocks
            .into_iter()
            .map(|(block, bytes)| Placing { block, bytes, keepers: known.placement.of(&block, REPLICAS_MAX) })
            .collect();
        told.wanted = known.replicas.min(all[0].keepers.len()).max(1);
        // Whoever is among the keepers of a block that it has keeps it already.
        let keeps = |one: &Placing| one.keepers.iter().take(known.replicas).any(|peer| *peer == me);
        let board = Mutex::new(Board::new(told.wanted, all.iter().map(keeps)));
        self.ask_all(&all, &board, lease_s, source).await;
        let board = locked(&board);
        told.sent = board.sent;
        for (at, one) in all.iter().enumerate() {
            match board.is_kept(at) {
                true => is_placed(one.block),
                false => told.short += 1,
            }
        }
        self.counts.short.fetch_add(told.short as u64, Ordering::Relaxed);
        told
    }

    /// Asks members until each block has enough that keep it, or nobody is left who moves.
    async fn ask_all(&self, all: &[Placing], board: &Mutex<Board>, lease_s: u64, source: &dyn Blocks) {
        let hedge = Duration::from_millis(self.patience.keep_ms);
        let silent = Duration::from_millis(self.patience.silent_ms);
        let mut asking = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            let late = locked(board).late(now, hedge);
            for peer in late {
                tracing::debug!(%peer, "a member does not answer in time; the next is asked to keep the blocks as well");
                locked(&self.late).insert(peer, now + LATE_TIME);
            }
            let candidates = |at: usize| self.candidates(&all[at].keepers);
            // Who was late a moment ago gets no more than the time to ask another.
            let patience = |peer: &PeerId| if self.is_late(peer) { hedge } else { silent };
            let begun = locked(board).begin(now, candidates, patience);
            for (number, peer, which) in begun {
                let ask = Asking { client: self, peer, number, board, all, lease_s, source };
                asking.push(async move {
                    let ended = ask.run(&which).await;
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "blocks could not be placed");
                    }
                    number
                });
            }
            let until = locked(board).until(now, hedge);
            let Some(until) = until else { return };
            if let Ok(Some(number)) = tokio::time::timeout_at(until, asking.next()).await {
                locked(board).ended(number);
            }
        }
    }

    /// Who may be asked to keep a block, the best first; those that were late a moment ago come last.
    fn candidates(&self, keepers: &[PeerId]) -> Vec<PeerId> {
        let keepers = keepers.iter().filter(|peer| self.load(peer).is_some());
        let (late, prompt): (Vec<PeerId>, Vec<PeerId>) = keepers.partition(|peer| self.is_late(peer));
        prompt.into_iter().chain(late).collect()
    }

    fn is_late(&self, peer: &PeerId) -> bool {
        locked(&self.late).get(peer).is_some_and(|until| *until > Instant::now())
    }
}

impl Asking<'_> {
    /// Asks about blocks that the peer may have, then sends those that are new.
    async fn run(&self, which: &[usize]) -> Result<(), PeerError> {
        let (new, others): (Vec<usize>, Vec<usize>) =
            which.iter().partition(|at| self.all[**at].bytes.is_some());
        for some in others.chunks(BLOCK_IDS_MAX) {
            let pinned = self.pin(some).await?;
            let (there, missing): (Vec<_>, Vec<_>) = some.iter().zip(pinned).partition(|(_, there)| *there);
            self.keeps(&there.into_iter().map(|(at, _)| *at).collect::<Vec<_>>());
            for few in missing.chunks(READ_MAX) {
                let mut read = Vec::new();
                for (at, _) in few {
                    let bytes = self.source.get(self.all[**at].block).await;
                    read.extend(bytes.map(|bytes| (**at, bytes)));
                }
                self.send_all(&read).await?;
            }
        }
        let new = new.into_iter().filter_map(|at| Some((at, self.all[at].bytes.clone()?)));
        self.send_all(&new.collect::<Vec<_>>()).await
    }

    fn keeps(&self, which: &[usize]) {
        locked(self.board).keeps(self.number, which);
        locked(&self.client.late).remove(&self.peer);
    }

    /// Sends blocks, as many as go with one request at a time.
    async fn send_all(&self, blocks: &[(usize, Bytes)]) -> Result<(), PeerError> {
        let mut rest = blocks;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fit = rest.iter().take(BLOCKS_SENT_MAX).take_while(|(_, block)| {
                bytes += block.len();
                bytes <= BATCH_BYTES
            });
            let (batch, after) = rest.split_at(fit.count().max(1));
            rest = after;
            self.send(batch).await?;
        }
        Ok(())
    }

    async fn send(&self, batch: &[(usize, Bytes)]) -> Result<(), PeerError> {
        let client = self.client;
        let _busy = client.busy(self.peer);
        let ids = batch.iter().map(|(at, _)| self.all[*at].block).collect();
        let mut stream = client.begin(&self.peer, &BlockRequest::Put { ids, lease_s: self.lease_s }).await?;
        for (_, bytes) in batch {
            self.send_block(&mut stream, bytes).await?;
        }
        let BlockAnswer::Kept(codes) = answer(&mut stream).await? else {
            return Err(PeerError::Protocol { what: "an answer to another request".to_owned() });
        };
        if codes.len() != batch.len() {
            return Err(PeerError::Protocol { what: "an answer for another number of blocks".to_owned() });
        }
        client.idle.keep(self.peer, stream);
        let kept = batch.iter().zip(codes).filter(|(_, code)| *code == 0).map(|(block, _)| block);
        let (places, sizes): (Vec<usize>, Vec<usize>) = kept.map(|(at, bytes)| (*at, bytes.len())).unzip();
        client.counts.placed.fetch_add(places.len() as u64, Ordering::Relaxed);
        client.counts.placed_bytes.fetch_add(sizes.iter().sum::<usize>() as u64, Ordering::Relaxed);
        locked(self.board).sent += places.len();
        self.keeps(&places);
        Ok(())
    }

    /// A block as a frame, in pieces, so that a slow line is told from one that is dead.
    async fn send_block(&self, stream: &mut Stream, bytes: &Bytes) -> Result<(), StreamError> {
        let head = wire::length(bytes.len());
        for piece in [&head[..]].into_iter().chain(bytes.chunks(MOVE_BYTES)) {
            let sending = tokio::time::timeout(BLOCK_TIME, stream.write_all(piece));
            sending.await.map_err(|_| StreamError::Silent(BLOCK_TIME))??;
            locked(self.board).moved(self.number);
        }
        let flushing = tokio::time::timeout(BLOCK_TIME, stream.flush());
        Ok(flushing.await.map_err(|_| StreamError::Silent(BLOCK_TIME))??)
    }

    /// Which of these blocks the peer keeps from now on.
    async fn pin(&self, which: &[usize]) -> Result<Vec<bool>, PeerError> {
        let ids = which.iter().map(|at| self.all[*at].block).collect();
        match self.client.ask(&self.peer, &BlockRequest::Pin { ids, lease_s: self.lease_s }).await? {
            BlockAnswer::Marked(bitmap) => bitmap
                .bits(which.len())
                .ok_or_else(|| PeerError::Protocol { what: "a bitmap of another length".to_owned() }),
            _ => Err(PeerError::Protocol { what: "an answer to another request".to_owned() }),
        }
    }
}
