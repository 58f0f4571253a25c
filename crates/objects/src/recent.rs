//! What was seen lately, by hash: two generations, of which the older is forgotten when the younger is full.

use std::collections::HashMap;

/// Remembers from `half` up to twice as many values.
pub(crate) struct Recent<V> {
    half: usize,
    younger: HashMap<[u8; 32], V>,
    older: HashMap<[u8; 32], V>,
}

impl<V> Recent<V> {
    pub(crate) fn new(half: usize) -> Self {
        Self { half, younger: HashMap::new(), older: HashMap::new() }
    }

    pub(crate) fn get(&self, hash: &[u8; 32]) -> Option<&V> {
        self.younger.get(hash).or_else(|| self.older.get(hash))
    }

    pub(crate) fn insert(&mut self, hash: [u8; 32], value: V) {
        self.younger.insert(hash, value);
        if self.younger.len() >= self.half {
            self.older = std::mem::take(&mut self.younger);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn the_last_are_remembered_and_no_more_than_twice_half() {
        let mut recent = Recent::new(10);
        let hash = |number: u8| [number; 32];
        for number in 0..100 {
            recent.insert(hash(number), number);
            for before in number.saturating_sub(9)..=number {
                assert_eq!(recent.get(&hash(before)), Some(&before), "after {number}");
            }
        }
        assert!((0..=80).all(|number| recent.get(&hash(number)).is_none()));
        recent.insert(hash(99), 7);
        assert_eq!(recent.get(&hash(99)), Some(&7), "the younger counts");
    }
}
