//! Who makes room: a list of those that can be spared, made now and then and used up one by one.
//!
//! Invariant: however many need a place, at most a twentieth of the time is spent looking for whom to spare.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// So many times as long as a look took nobody looks again.
const PAUSES: u32 = 20;

/// One that can be spared, and since when it has been of no use (in milliseconds of its own).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spared {
    pub(crate) id: u64,
    pub(crate) since_ms: u64,
    /// For how long now.
    pub(crate) time: Duration,
}

/// Those that can be spared, the most useless first.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    found: VecDeque<Spared>,
    next_look: Option<Instant>,
}

impl Spare {
    /// The next one. `holds` says whether one that was found is still as it was then, `look` finds all that can be spared now.
    pub(crate) fn next(
        &mut self,
        holds: impl Fn(&Spared) -> bool,
        look: impl FnOnce() -> Vec<Spared>,
    ) -> Option<u64> {
        if let Some(id) = self.pop(&holds) {
            return Some(id);
        }
        let began = Instant::now();
        if self.next_look.is_some_and(|next| began < next) {
            return None;
        }
        let mut found = look();
        found.sort_unstable_by_key(|spared| Reverse(spared.time));
        self.found = found.into();
        self.next_look = Some(Instant::now() + began.elapsed() * PAUSES);
        self.pop(&holds)
    }

    fn pop(&mut self, holds: &impl Fn(&Spared) -> bool) -> Option<u64> {
        std::iter::from_fn(|| self.found.pop_front()).find(holds).map(|spared| spared.id)
    }
}

#[cfg(test)]
mod tests {
    use super::{Spare, Spared};
    use std::cell::Cell;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_most_useless_go_first_and_a_crowd_costs_one_look() {
        let looks = Cell::new(0);
        let mut spare = Spare::default();
        let mut next = |useful_again: u64| {
            let look = || {
                looks.set(looks.get() + 1);
                (0..7).map(|id| Spared { id, since_ms: 0, time: Duration::from_secs(id) }).collect()
            };
            spare.next(|spared| spared.id != useful_again, look)
        };
        let order: Vec<_> = (0..6).map(|_| next(3)).collect();
        assert_eq!(order, [6, 5, 4, 2, 1, 0].map(Some));
        assert_eq!(looks.get(), 1);
        assert_eq!(next(3), Some(6));
        assert_eq!(looks.get(), 2);
    }

    #[tokio::test]
    async fn where_a_look_takes_long_nobody_looks_again_for_longer() {
        let mut spare = Spare::default();
        let mut look = |takes: Duration| {
            let looked = Cell::new(false);
            let nobody = spare.next(
                |_| true,
                || {
                    looked.set(true);
                    std::thread::sleep(takes);
                    Vec::new()
                },
            );
            assert_eq!(nobody, None);
            looked.get()
        };
        assert!(look(Duration::from_secs(1)));
        assert!(!look(Duration::ZERO), "for twenty seconds");
    }
}
