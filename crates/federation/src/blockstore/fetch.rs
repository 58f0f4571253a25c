//! Fetching one block from those that may have it: whom to ask, when to ask another as well, and what to believe.
//!
//! The best candidate is asked first. One that has not answered after a while is not waited for alone: the next is asked as well, and the first good
//! answer counts. One that answers with other bytes than those that were asked for has lied, which costs it more than this block; one that says
//! that it does not have the block, or cannot be reached, costs a question. The fetch ends when nobody is left.

use crate::membership::PeerId;
use jsfs_store::BlockId;

/// The most members that are asked for a block before it is given up.
pub const CANDIDATES_MAX: usize = 8;

/// How long things may take, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// After this time the next is asked as well.
    pub hedge_ms: u64,
    /// After this time nobody is waited for any more.
    pub silent_ms: u64,
    /// After this time without a move of a member that is to keep a block, the next is asked as well. Longer than for reading: it waits for a disk, and
    /// a second copy costs the block itself.
    pub keep_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { hedge_ms: 150, silent_ms: 5_000, keep_ms: 1_000 }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchStep {
    /// Ask this member, and come back with what happens, or at once for the next step.
    Ask(PeerId),
    /// Nothing until that time, ms, unless somebody answers.
    Wait {
        /// Until then.
        until_ms: u64,
    },
    /// Nobody is left; the block is not to be had now.
    GiveUp,
}

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the block.
    Good,
    /// It is something else: whoever sent it lies, or has lost it and does not know.
    Lie,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Untried,
    Asked { at_ms: u64 },
    Failed,
}

/// One block on its way.
#[derive(Clone, Debug)]
pub struct Fetch {
    block: BlockId,
    candidates: Vec<(PeerId, State)>,
    patience: Patience,
}

impl Fetch {
    /// From these members, the best first.
    pub fn new(block: BlockId, candidates: impl IntoIterator<Item = PeerId>, patience: Patience) -> Self {
        let candidates = candidates.into_iter().take(CANDIDATES_MAX);
        Self { block, candidates: candidates.map(|peer| (peer, State::Untried)).collect(), patience }
    }

    /// What to do now.
    pub fn step(&mut self, now_ms: u64) -> FetchStep {
        let patience = self.patience;
        for (_, state) in &mut self.candidates {
            if matches!(state, State::Asked { at_ms } if now_ms >= *at_ms + patience.silent_ms) {
                *state = State::Failed;
            }
        }
        let latest = self.candidates.iter().filter_map(|(_, state)| match state {
            State::Asked { at_ms } => Some(*at_ms),
            _ => None,
        });
        let latest = latest.max();
        let untried = self.candidates.iter_mut().find(|(_, state)| *state == State::Untried);
        match (latest, untried) {
            (None, None) => FetchStep::GiveUp,
            (Some(at_ms), Some(_)) if now_ms < at_ms + patience.hedge_ms => {
                FetchStep::Wait { until_ms: at_ms + patience.hedge_ms }
            }
            (_, Some((peer, state))) => {
                *state = State::Asked { at_ms: now_ms };
                FetchStep::Ask(*peer)
            }
            (Some(_), None) => {
                let first = self.candidates.iter().filter_map(|(_, state)| match state {
                    State::Asked { at_ms } => Some(*at_ms + patience.silent_ms),
                    _ => None,
                });
                FetchStep::Wait { until_ms: first.min().unwrap_or(now_ms) }
            }
        }
    }

    /// A member sent bytes. After [`Verdict::Good`] the fetch is over.
    pub fn came(&mut self, peer: &PeerId, bytes: &[u8]) -> Verdict {
        if BlockId::of(bytes) == self.block {
            return Verdict::Good;
        }
        self.failed(peer);
        Verdict::Lie
    }

    /// A member cannot be reached, or does not have the block.
    pub fn failed(&mut self, peer: &PeerId) {
        if let Some((_, state)) = self.candidates.iter_mut().find(|(candidate, _)| candidate == peer) {
            *state = State::Failed;
        }
    }

    /// How many were asked so far.
    pub fn asked(&self) -> usize {
        self.candidates.iter().filter(|(_, state)| *state != State::Untried).count()
    }
}

/// The order in which to ask: of the members that keep the block those with the least to do first, so that reading is spread over replicas; then the
/// others, in the order of placement. `load` says how much is being asked of a member now; who is absent from it is not to be asked.
pub fn order(keepers: &[PeerId], replicas: usize, load: impl Fn(&PeerId) -> Option<u64>) -> Vec<PeerId> {
    let (first, rest) = keepers.split_at(replicas.min(keepers.len()));
    let mut first: Vec<(u64, PeerId)> =
        first.iter().filter_map(|peer| load(peer).map(|load| (load, *peer))).collect();
    // A stable sort: among equals placement decides.
    first.sort_by_key(|(load, _)| *load);
    let rest = rest.iter().copied().filter(|peer| load(peer).is_some());
    first.into_iter().map(|(_, peer)| peer).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::{Fetch, FetchStep, Patience, Verdict, order};
    use crate::membership::PeerId;
    use jsfs_store::BlockId;

    const PATIENCE: Patience = Patience { hedge_ms: 100, silent_ms: 1_000, keep_ms: 1_000 };

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    fn fetch(count: u8) -> Fetch {
        Fetch::new(BlockId::of(b"block"), (1..=count).map(peer), PATIENCE)
    }

    #[test]
    fn a_quick_peer_is_the_only_one_that_is_asked() {
        let mut fetch = fetch(3);
        assert_eq!(fetch.step(0), FetchStep::Ask(peer(1)));
        assert_eq!(fetch.step(0), FetchStep::Wait { until_ms: 100 });
        assert_eq!(fetch.came(&peer(1), b"block"), Verdict::Good);
        assert_eq!(fetch.asked(), 1);
    }

    #[test]
    fn a_slow_peer_costs_the_time_to_ask_another_and_a_second_question() {
        let mut fetch = fetch(3);
        fetch.step(0);
        assert_eq!(fetch.step(99), FetchStep::Wait { until_ms: 100 });
        assert_eq!(fetch.step(100), FetchStep::Ask(peer(2)));
        assert_eq!(fetch.step(100), FetchStep::Wait { until_ms: 200 });
        assert_eq!(fetch.came(&peer(1), b"block"), Verdict::Good, "the slow one may still be first");
        assert_eq!(fetch.asked(), 2);
    }

    #[test]
    fn a_liar_and_one_that_does_not_have_it_are_passed_over_at_once() {
        let mut fetch = fetch(3);
        fetch.step(0);
        assert_eq!(fetch.came(&peer(1), b"another"), Verdict::Lie);
        assert_eq!(fetch.step(1), FetchStep::Ask(peer(2)));
        fetch.failed(&peer(2));
        assert_eq!(fetch.step(2), FetchStep::Ask(peer(3)));
        fetch.failed(&peer(3));
        assert_eq!(fetch.step(3), FetchStep::GiveUp);
    }

    #[test]
    fn silent_peers_are_waited_for_until_their_time_is_over_and_no_longer() {
        let mut fetch = fetch(2);
        fetch.step(0);
        assert_eq!(fetch.step(100), FetchStep::Ask(peer(2)));
        assert_eq!(fetch.step(100), FetchStep::Wait { until_ms: 1_000 });
        assert_eq!(fetch.step(1_000), FetchStep::Wait { until_ms: 1_100 });
        assert_eq!(fetch.step(1_100), FetchStep::GiveUp);
        assert_eq!(Fetch::new(BlockId::of(b"x"), [], PATIENCE).step(0), FetchStep::GiveUp);
    }

    #[test]
    fn reading_is_spread_over_replicas_and_the_unreachable_are_left_out() {
        let keepers = [peer(1), peer(2), peer(3), peer(4)];
        let load = |busy: u8| {
            move |peer_asked: &PeerId| {
                Some(u64::from(*peer_asked == peer(busy))).filter(|_| *peer_asked != peer(3))
            }
        };
        assert_eq!(order(&keepers, 2, load(9)), [peer(1), peer(2), peer(4)]);
        assert_eq!(order(&keepers, 2, load(1)), [peer(2), peer(1), peer(4)]);
        assert_eq!(order(&[], 2, load(1)), []);
    }
}
