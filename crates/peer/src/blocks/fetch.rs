//! Fetching blocks: the rules are `federation`'s, the streams and the clock are here.

use super::{BlockClient, Counts};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jsfs_federation::blockstore::{CANDIDATES_MAX, Fetch, FetchStep, REPLICAS_MAX, Verdict, order};
use jsfs_store::BlockId;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What was moved since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCounts {
    /// Blocks that were fetched from others.
    pub fetched: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
    /// Copies that others took.
    pub placed: u64,
    /// Their bytes.
    pub placed_bytes: u64,
    /// Questions that were asked of others about blocks.
    pub questions: u64,
    /// Answers with other bytes than those asked for.
    pub lies: u64,
    /// Blocks for which fewer members were found than should keep them.
    pub short: u64,
}

impl Counts {
    pub(crate) fn told(&self) -> BlockCounts {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        BlockCounts {
            fetched: count(&self.fetched),
            fetched_bytes: count(&self.fetched_bytes),
            placed: count(&self.placed),
            placed_bytes: count(&self.placed_bytes),
            questions: count(&self.questions),
            lies: count(&self.lies),
            short: count(&self.short),
        }
    }
}

impl BlockClient {
    /// A block from whoever has it, verified; none if it is not to be had now. Dropping this ends every question.
    pub(crate) async fn fetch(&self, block: BlockId) -> Option<Bytes> {
        let known = self.known()?;
        let keepers = known.placement.of(&block, REPLICAS_MAX);
        let mut candidates = order(&keepers, known.replicas, |peer| self.load(peer));
        candidates.truncate(CANDIDATES_MAX);
        let mut fetch = Fetch::new(block, candidates, self.patience);
        let mut asked = FuturesUnordered::new();
        loop {
            match fetch.step(self.now_ms()) {
                FetchStep::GiveUp => return None,
                FetchStep::Ask(peer) => {
                    asked.push(async move { (peer, self.get_from(&peer, block).await) });
                    continue;
                }
                FetchStep::Wait { until_ms } => {
                    let wait = Duration::from_millis(until_ms.saturating_sub(self.now_ms()).max(1));
                    let Ok(Some((peer, answer))) = tokio::time::timeout(wait, asked.next()).await else {
                        continue;
                    };
                    match answer {
                        Ok(bytes) if fetch.came(&peer, &bytes) == Verdict::Good => {
                            self.counts.fetched.fetch_add(1, Ordering::Relaxed);
                            self.counts.fetched_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                            return Some(bytes);
                        }
                        Ok(_) => self.ban(peer, block).await,
                        Err(error) => {
                            tracing::debug!(%peer, %block, %error, "a block did not come");
                            fetch.failed(&peer);
                        }
                    }
                }
            }
        }
    }
}
