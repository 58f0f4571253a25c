//! When something is due: for each of many a time, the earliest first.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// Times of things, each of which has one or none.
#[derive(Debug)]
pub(super) struct Alarms<K> {
    at: HashMap<K, u64>,
    order: BTreeSet<(u64, K)>,
}

impl<K> Default for Alarms<K> {
    fn default() -> Self {
        Self { at: HashMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Copy + Ord + Hash> Alarms<K> {
    /// Sets the time of something, or takes it away.
    pub(super) fn set(&mut self, what: K, at_ms: Option<u64>) {
        let before = match at_ms {
            Some(at_ms) => self.at.insert(what, at_ms),
            None => self.at.remove(&what),
        };
        if before == at_ms {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, what));
        }
        self.order.extend(at_ms.map(|at_ms| (at_ms, what)));
    }

    /// How many have a time.
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// What has been due for the longest, at most so many, in its own order. It stays due until its time is set anew.
    pub(super) fn due(&self, now_ms: u64, limit: usize) -> Vec<K> {
        let due = self.order.iter().take_while(|(at_ms, _)| *at_ms <= now_ms).take(limit);
        let mut due: Vec<K> = due.map(|(_, what)| *what).collect();
        due.sort_unstable();
        due
    }

    /// The earliest time.
    pub(super) fn first(&self) -> Option<u64> {
        self.order.first().map(|(at_ms, _)| *at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::Alarms;

    #[test]
    fn each_thing_has_one_time_and_what_is_due_is_found_without_the_rest() {
        let mut alarms = Alarms::default();
        for (what, at_ms) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
            alarms.set(what, Some(at_ms));
        }
        assert_eq!((alarms.first(), alarms.due(9, 9)), (Some(10), vec![]));
        assert_eq!((alarms.due(30, 9), alarms.due(30, 2)), (vec![1, 2, 3], vec![2, 3]));
        alarms.set(2, None);
        alarms.set(3, Some(50));
        assert_eq!((alarms.first(), alarms.due(30, 9)), (Some(30), vec![1]));
        alarms.set(1, Some(30));
        assert_eq!((alarms.order.len(), alarms.len()), (3, 3));
    }
}
