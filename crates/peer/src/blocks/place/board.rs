//! What is known of blocks that are being placed: who was asked to keep which, who does, and whom nobody waits for any more.

use jsfs_federation::membership::PeerId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// A block, by its number.
#[derive(Default)]
struct State {
    kept: usize,
    /// Members that are counted on to keep it soon.
    awaited: usize,
    tried: BTreeSet<PeerId>,
}

/// A member that was asked to keep some blocks.
struct Asked {
    peer: PeerId,
    /// Those that it does not keep yet.
    open: BTreeSet<usize>,
    moved: Instant,
    /// How long it may stand still before nobody waits for it.
    patience: Duration,
    is_awaited: bool,
    has_ended: bool,
}

/// A question to a member: its number, who it is, and which blocks.
pub(super) type Question = (usize, PeerId, Vec<usize>);

pub(super) struct Board {
    wanted: usize,
    blocks: Vec<State>,
    asked: Vec<Asked>,
    /// Copies that had to be sent.
    pub(super) sent: usize,
}

impl Board {
    /// So many are wanted of each block; of these this node keeps one or not.
    pub(super) fn new(wanted: usize, kept_here: impl Iterator<Item = bool>) -> Self {
        let blocks = kept_here.map(|is_kept| State { kept: usize::from(is_kept), ..State::default() });
        Self { wanted, blocks: blocks.collect(), asked: Vec::new(), sent: 0 }
    }

    pub(super) fn is_kept(&self, at: usize) -> bool {
        self.blocks[at].kept >= self.wanted
    }

    /// Whom to ask now, so that each block has as many that keep it or are counted on as are wanted.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        candidates: impl Fn(usize) -> Vec<PeerId>,
        patience: impl Fn(&PeerId) -> Duration,
    ) -> Vec<Question> {
        let mut by_peer: BTreeMap<PeerId, Vec<usize>> = BTreeMap::new();
        for (at, state) in self.blocks.iter_mut().enumerate() {
            let lacking = self.wanted.saturating_sub(state.kept + state.awaited);
            if lacking == 0 {
                continue;
            }
            let mut untried = candidates(at);
            untried.retain(|peer| !state.tried.contains(peer));
            for peer in untried.into_iter().take(lacking) {
                state.tried.insert(peer);
                state.awaited += 1;
                by_peer.entry(peer).or_default().push(at);
            }
        }
        let ask = |(peer, which): (PeerId, Vec<usize>)| {
            let (open, patience) = (which.iter().copied().collect(), patience(&peer));
            let number = self.asked.len();
            self.asked.push(Asked { peer, open, moved: now, patience, is_awaited: true, has_ended: false });
            (number, peer, which)
        };
        by_peer.into_iter().map(ask).collect()
    }

    /// A member has taken something in, or said something.
    pub(super) fn moved(&mut self, number: usize) {
        self.asked[number].moved = Instant::now();
    }

    /// A member keeps these.
    pub(super) fn keeps(&mut self, number: usize, which: &[usize]) {
        let asked = &mut self.asked[number];
        asked.moved = Instant::now();
        for at in which.iter().filter(|at| asked.open.remove(at)) {
            self.blocks[*at].kept += 1;
            self.blocks[*at].awaited -= usize::from(asked.is_awaited);
        }
    }

    /// Nothing more comes of a question.
    pub(super) fn ended(&mut self, number: usize) {
        self.asked[number].has_ended = true;
        self.count_out(number);
    }

    /// Who has stood still for too long, and is not counted on from now on.
    pub(super) fn late(&mut self, now: Instant, hedge: Duration) -> Vec<PeerId> {
        let mut late = Vec::new();
        for number in 0..self.asked.len() {
            let asked = &self.asked[number];
            if asked.is_awaited && now >= asked.moved + hedge {
                late.push(asked.peer);
                self.count_out(number);
            }
        }
        late
    }

    fn count_out(&mut self, number: usize) {
        let asked = &mut self.asked[number];
        if std::mem::take(&mut asked.is_awaited) {
            asked.open.iter().for_each(|at| self.blocks[*at].awaited -= 1);
        }
    }

    /// Until when to wait for whoever may still keep a block that too few keep; nothing where there is nobody.
    pub(super) fn until(&self, now: Instant, hedge: Duration) -> Option<Instant> {
        let of_use = |asked: &&Asked| !asked.has_ended && asked.open.iter().any(|at| !self.is_kept(*at));
        let until = self.asked.iter().filter(of_use).filter_map(|asked| {
            let until = asked.moved + if asked.is_awaited { hedge } else { asked.patience };
            (asked.is_awaited || until > now).then_some(until)
        });
        until.min()
    }
}

#[cfg(test)]
mod tests {
    use super::Board;
    use jsfs_federation::membership::PeerId;
    use std::time::Duration;
    use tokio::time::Instant;

    const HEDGE: Duration = Duration::from_secs(1);
    const SILENT: Duration = Duration::from_secs(5);

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    fn all(_: usize) -> Vec<PeerId> {
        (1..=4).map(peer).collect()
    }

    #[test]
    fn who_stands_still_is_not_waited_for_alone_and_counts_when_it_comes_all_the_same() {
        let now = Instant::now();
        let mut board = Board::new(3, [true].into_iter());
        let begun = board.begin(now, all, |_| SILENT);
        assert_eq!(begun, [(0, peer(1), vec![0]), (1, peer(2), vec![0])]);
        assert!(board.begin(now, all, |_| SILENT).is_empty(), "two are counted on");
        board.keeps(0, &[0]);
        board.ended(0);
        assert!(board.late(now, HEDGE).is_empty());
        assert_eq!(board.late(now + HEDGE, HEDGE), [peer(2)]);
        assert_eq!(board.begin(now + HEDGE, all, |_| SILENT), [(2, peer(3), vec![0])]);
        assert_eq!(board.until(now + HEDGE, HEDGE), Some(now + HEDGE * 2));
        board.keeps(1, &[0]);
        assert!(board.is_kept(0) && board.until(now + HEDGE, HEDGE).is_none(), "the late one was quicker");
    }

    #[test]
    fn whoever_is_silent_is_given_up_when_nobody_else_is_left() {
        let now = Instant::now();
        let mut board = Board::new(2, [true, true].into_iter());
        let one = |_: usize| vec![peer(1)];
        assert_eq!(board.begin(now, one, |_| SILENT), [(0, peer(1), vec![0, 1])]);
        board.keeps(0, &[1]);
        let moved = board.asked[0].moved;
        assert_eq!(board.late(moved + HEDGE, HEDGE), [peer(1)]);
        assert!(board.begin(moved + HEDGE, one, |_| SILENT).is_empty(), "nobody is asked twice");
        assert_eq!(board.until(moved + HEDGE, HEDGE), Some(moved + SILENT));
        assert_eq!(board.until(moved + SILENT, HEDGE), None);
        assert!(!board.is_kept(0) && board.is_kept(1));
    }

    #[test]
    fn a_question_that_fails_passes_its_blocks_on_at_once() {
        let now = Instant::now();
        let mut board = Board::new(1, [false, false].into_iter());
        assert_eq!(board.begin(now, all, |_| SILENT), [(0, peer(1), vec![0, 1])]);
        board.keeps(0, &[0]);
        board.ended(0);
        assert_eq!(board.begin(now, all, |_| SILENT), [(1, peer(2), vec![1])]);
    }
}
