//! Many nodes in one thread, in virtual time: what happens when, and what the network does to messages.
//!
//! Everything follows from the seed: the same seed gives the same run, event by event. Nothing here knows what the nodes are.

use crate::random::Random;
use std::collections::{BTreeMap, BTreeSet};

/// Events in order of their virtual time; of equal times, in the order in which they were put.
#[derive(Debug)]
pub struct Schedule<E> {
    now_ms: u64,
    next: u64,
    events: BTreeMap<(u64, u64), E>,
}

impl<E> Schedule<E> {
    /// Begins at a time.
    pub fn starting_at(now_ms: u64) -> Self {
        Self { now_ms, next: 0, events: BTreeMap::new() }
    }

    /// The virtual time, ms since 1970.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Lets something happen, at the earliest now.
    pub fn at(&mut self, ms: u64, event: E) {
        self.events.insert((ms.max(self.now_ms), self.next), event);
        self.next += 1;
    }

    /// Goes on to the next event, if it is not after `until_ms`; else only the time goes on.
    pub fn next(&mut self, until_ms: u64) -> Option<E> {
        match self.events.first_key_value() {
            Some(((ms, _), _)) if *ms <= until_ms => {
                let ((ms, _), event) = self.events.pop_first()?;
                self.now_ms = ms;
                Some(event)
            }
            _ => {
                self.now_ms = self.now_ms.max(until_ms);
                None
            }
        }
    }
}

/// What the network does to messages between numbered nodes.
#[derive(Clone, Debug)]
pub struct Links {
    /// Messages lost in a thousand.
    pub lost_permille: u64,
    /// Messages that come twice in a thousand.
    pub doubled_permille: u64,
    /// The shortest way, ms.
    pub delay_ms_min: u64,
    /// The longest usual way, ms.
    pub delay_ms_max: u64,
    /// Messages in a thousand that take up to fifty times as long.
    pub late_permille: u64,
    /// Nodes that are cut off from all that are not in here.
    cut: BTreeSet<usize>,
    /// Nodes that are down.
    down: BTreeSet<usize>,
}

impl Links {
    /// A network that loses nothing and takes 1 to 20 ms.
    pub fn calm() -> Self {
        Self {
            lost_permille: 0,
            doubled_permille: 0,
            delay_ms_min: 1,
            delay_ms_max: 20,
            late_permille: 0,
            cut: BTreeSet::new(),
            down: BTreeSet::new(),
        }
    }

    /// Cuts these nodes off from the others; nobody is cut off any more where there are none.
    pub fn cut(&mut self, nodes: impl IntoIterator<Item = usize>) {
        self.cut = nodes.into_iter().collect();
    }

    /// Takes a node down or up.
    pub fn set_down(&mut self, node: usize, down: bool) {
        if down {
            self.down.insert(node)
        } else {
            self.down.remove(&node)
        };
    }

    /// Whether a node is down.
    pub fn is_down(&self, node: usize) -> bool {
        self.down.contains(&node)
    }

    /// Whether messages pass between two nodes.
    pub fn passes(&self, one: usize, other: usize) -> bool {
        !self.is_down(one) && !self.is_down(other) && self.cut.contains(&one) == self.cut.contains(&other)
    }

    /// How long each copy of a message is on its way, ms; none if it is lost.
    pub fn delays(&self, from: usize, to: usize, random: &mut Random) -> Vec<u64> {
        if from == to {
            return vec![0];
        }
        if !self.passes(from, to) || random.within(0..1_000) < self.lost_permille {
            return Vec::new();
        }
        let copies = 1 + u64::from(random.within(0..1_000) < self.doubled_permille);
        let mut way = || {
            let usual = random.within(self.delay_ms_min..self.delay_ms_max + 1);
            if random.within(0..1_000) < self.late_permille { usual * random.within(2..50) } else { usual }
        };
        (0..copies).map(|_| way()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Links, Random, Schedule};

    #[test]
    fn events_come_in_order_of_time_and_of_being_put() {
        let mut schedule = Schedule::starting_at(10);
        schedule.at(30, 'c');
        schedule.at(5, 'a');
        schedule.at(30, 'd');
        schedule.at(20, 'b');
        let order: String = std::iter::from_fn(|| schedule.next(30)).collect();
        assert_eq!((order.as_str(), schedule.now_ms()), ("abcd", 30));
    }

    #[test]
    fn nothing_passes_a_cut_or_a_node_that_is_down() {
        let (mut links, mut random) = (Links::calm(), Random::seeded(1));
        links.cut([1, 2]);
        links.set_down(4, true);
        let mut passes = |from, to| !links.delays(from, to, &mut random).is_empty();
        assert!(passes(1, 2) && passes(0, 3) && passes(1, 1));
        assert!(!passes(0, 1) && !passes(2, 3) && !passes(0, 4));
    }
}
