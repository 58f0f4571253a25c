//! Placing blocks: each goes to the members that every node computes, and to the next where one of them does not answer.
//!
//! New blocks are sent. Of blocks that were placed before, the members are told to keep them longer, and only those that a member does not have are sent.

use super::{BLOCK_TIME, BlockClient, Blocks, answer};
use crate::error::PeerError;
use crate::frames;
use bytes::Bytes;
use jsfs_federation::blockstore::{BLOCK_IDS_MAX, BLOCKS_SENT_MAX, BlockAnswer, BlockRequest, REPLICAS_MAX};
use jsfs_federation::membership::PeerId;
use jsfs_store::BlockId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// Bytes of blocks that go to a peer with one request.
const BATCH_BYTES: usize = 8 << 20;

/// Blocks that are read from the disk for one request.
const READ_MAX: usize = 8;

/// Rounds in which members that failed are replaced by the next.
const ROUNDS_MAX: usize = 4;

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
    /// How many do.
    kept: usize,
    tried: BTreeSet<PeerId>,
}

impl BlockClient {
    /// Hands blocks that are on this node to the members that keep them; they are on their disks when this answers.
    pub(crate) async fn place(&self, blocks: Vec<(BlockId, Bytes)>, lease_s: u64) -> Placed {
        self.settle(blocks.into_iter().map(|(id, bytes)| (id, Some(bytes))).collect(), lease_s, None).await
    }

    /// Has blocks that are on this node kept longer by the members that keep them, and sends them to those that do not have them.
    pub(crate) async fn renew(&self, ids: Vec<BlockId>, lease_s: u64, source: &dyn Blocks) -> Placed {
        self.settle(ids.into_iter().map(|id| (id, None)).collect(), lease_s, Some(source)).await
    }

    async fn settle(
        &self,
        blocks: Vec<(BlockId, Option<Bytes>)>,
        lease_s: u64,
        source: Option<&dyn Blocks>,
    ) -> Placed {
        let mut told = Placed { wanted: 1, short: 0, sent: 0 };
        let Some(known) = self.known() else { return told };
        let me = self.hub.me;
        let mut placing: Vec<Placing> = blocks
            .into_iter()
            .map(|(block, bytes)| {
                let keepers = known.placement.of(&block, REPLICAS_MAX);
                // Whoever is among the keepers of a block that it has keeps it already.
                let kept = usize::from(keepers.iter().take(known.replicas).any(|peer| *peer == me));
                Placing { block, bytes, keepers, kept, tried: BTreeSet::from([me]) }
            })
            .collect();
        let sites = placing.first().map_or(0, |one| one.keepers.len());
        told.wanted = known.replicas.min(sites).max(1);
        for _ in 0..ROUNDS_MAX {
            let by_peer = self.next_round(&mut placing, told.wanted);
            if by_peer.is_empty() {
                break;
            }
            let now = &placing;
            let asking =
                by_peer.iter().map(|(peer, which)| self.settle_at(peer, now, which, lease_s, source));
            for (kept, sent) in futures_util::future::join_all(asking).await {
                told.sent += sent;
                kept.into_iter().for_each(|at| placing[at].kept += 1);
            }
        }
        told.short = placing.iter().filter(|one| one.kept < told.wanted).count();
        self.counts.short.fetch_add(told.short as u64, Ordering::Relaxed);
        told
    }

    /// Who is asked next to keep which blocks.
    fn next_round(&self, placing: &mut [Placing], wanted: usize) -> BTreeMap<PeerId, Vec<usize>> {
        let mut by_peer: BTreeMap<PeerId, Vec<usize>> = BTreeMap::new();
        for (at, one) in placing.iter_mut().enumerate() {
            let next = one.keepers.iter().filter(|peer| !one.tried.contains(peer));
            let next = next.filter(|peer| self.load(peer).is_some());
            let next: Vec<PeerId> = next.take(wanted.saturating_sub(one.kept)).copied().collect();
            for peer in next {
                one.tried.insert(peer);
                by_peer.entry(peer).or_default().push(at);
            }
        }
        by_peer
    }

    /// Has a peer keep some of the blocks; answers which it does, and how many had to be sent.
    async fn settle_at(
        &self,
        peer: &PeerId,
        all: &[Placing],
        which: &[usize],
        lease_s: u64,
        source: Option<&dyn Blocks>,
    ) -> (Vec<usize>, usize) {
        let (mut kept, mut sent) = (Vec::new(), 0);
        let Some(source) = source else {
            let stored = self.send_all(peer, all, which, lease_s).await;
            sent += stored.len();
            return (stored, sent);
        };
        for some in which.chunks(BLOCK_IDS_MAX) {
            let ids = some.iter().map(|at| all[*at].block).collect();
            let pinned = match self.pin(peer, ids, lease_s).await {
                Ok(pinned) => pinned,
                Err(error) => {
                    tracing::debug!(%peer, %error, "blocks could not be pinned");
                    break;
                }
            };
            let (there, missing): (Vec<_>, Vec<_>) = some.iter().zip(pinned).partition(|(_, there)| *there);
            kept.extend(there.into_iter().map(|(at, _)| *at));
            for few in missing.chunks(READ_MAX) {
                let mut read = Vec::new();
                let mut places = Vec::new();
                for (at, _) in few {
                    let block = all[**at].block;
                    let Some(bytes) = source.get(block).await else { continue };
                    places.push(**at);
                    let (keepers, tried) = (Vec::new(), BTreeSet::new());
                    read.push(Placing { block, bytes: Some(bytes), keepers, kept: 0, tried });
                }
                let which: Vec<usize> = (0..read.len()).collect();
                let stored = self.send_all(peer, &read, &which, lease_s).await;
                sent += stored.len();
                kept.extend(stored.into_iter().map(|at| places[at]));
            }
        }
        (kept, sent)
    }

    /// Sends some of the blocks to a peer; answers which of them it keeps.
    async fn send_all(&self, peer: &PeerId, all: &[Placing], which: &[usize], lease_s: u64) -> Vec<usize> {
        let mut kept = Vec::new();
        let mut rest = which;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fit = rest.iter().take(BLOCKS_SENT_MAX).take_while(|at| {
                bytes += all[**at].bytes.as_ref().map_or(0, Bytes::len);
                bytes <= BATCH_BYTES
            });
            let (batch, after) = rest.split_at(fit.count().max(1));
            rest = after;
            match self.send(peer, all, batch, lease_s).await {
                Ok(stored) => kept.extend(stored),
                Err(error) => {
                    tracing::debug!(%peer, %error, "blocks could not be placed");
                    break;
                }
            }
        }
        kept
    }

    async fn send(
        &self,
        peer: &PeerId,
        all: &[Placing],
        batch: &[usize],
        lease_s: u64,
    ) -> Result<Vec<usize>, PeerError> {
        let _busy = self.busy(*peer);
        let ids = batch.iter().map(|at| all[*at].block).collect();
        let mut stream = self.begin(peer, &BlockRequest::Put { ids, lease_s }).await?;
        for at in batch {
            let bytes = all[*at].bytes.as_deref().unwrap_or_default();
            frames::send(&mut stream, bytes, BLOCK_TIME).await?;
        }
        let BlockAnswer::Kept(codes) = answer(&mut stream).await? else {
            return Err(PeerError::Protocol { what: "an answer to another request".to_owned() });
        };
        if codes.len() != batch.len() {
            return Err(PeerError::Protocol { what: "an answer for another number of blocks".to_owned() });
        }
        self.idle.keep(*peer, stream);
        let kept: Vec<usize> =
            batch.iter().zip(codes).filter(|(_, code)| *code == 0).map(|(at, _)| *at).collect();
        let bytes: usize = kept.iter().map(|at| all[*at].bytes.as_ref().map_or(0, Bytes::len)).sum();
        self.counts.placed.fetch_add(kept.len() as u64, Ordering::Relaxed);
        self.counts.placed_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(kept)
    }

    /// Which of these blocks a peer keeps from now on.
    async fn pin(&self, peer: &PeerId, ids: Vec<BlockId>, lease_s: u64) -> Result<Vec<bool>, PeerError> {
        let count = ids.len();
        match self.ask(peer, &BlockRequest::Pin { ids, lease_s }).await? {
            BlockAnswer::Marked(bitmap) => bitmap
                .bits(count)
                .ok_or_else(|| PeerError::Protocol { what: "a bitmap of another length".to_owned() }),
            _ => Err(PeerError::Protocol { what: "an answer to another request".to_owned() }),
        }
    }
}
