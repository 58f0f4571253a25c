//! Seeded randomness for tests: the same seed gives the same run, and every run prints its seed.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// A small generator (SplitMix64, Steele, Lea and Flood 2014). Not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator that `seed` names.
    pub fn seeded(seed: u64) -> Random {
        Random(seed)
    }

    /// A seed for this run: `JSFS_SEED` where it is set, so that a failed run can be repeated, else a new one.
    pub fn seed_of_this_run() -> u64 {
        let given = std::env::var("JSFS_SEED").ok().and_then(|text| text.parse().ok());
        given.unwrap_or_else(|| RandomState::new().hash_one(0_u64))
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in the range, which must not be empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.bits() % (range.end - range.start)
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    /// `length` bytes that do not compress.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.bits().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let (mut one, mut two) = (Random::seeded(7), Random::seeded(7));
        assert_eq!(one.bytes(33), two.bytes(33));
        assert_ne!(Random::seeded(8).bits(), Random::seeded(7).bits());
        assert!((0..1_000).all(|_| (3..9).contains(&one.within(3..9))));
    }
}
