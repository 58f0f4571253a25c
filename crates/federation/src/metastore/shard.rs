//! Shards: where a large group lists its entries.
//!
//! A group is listed at its own home until that is **cut**, because a member that keeps it has as many entries as one home is to have. Then what is filed under a locator
//! that begins with a certain digit lies at a home of its own, a shard, which can be cut in turn. Homes of shards follow from the group and the locator, so any
//! member checks without knowing more that a record belongs where it lies. That a home is cut is never taken back.

use super::{Home, Version};
use jsfs_objects::read_key::{Group, Locator};

/// How often a group can be cut: the first three digits of locators say where their records are listed.
pub const DEPTH_MAX: u8 = 3;

/// A part of every group: the locators that begin with these digits of four bits. They are in order of their locators, what is cut before its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    /// The digits, from the highest bit on; zeros follow.
    digits: u16,
    depth: u8,
}

impl Shard {
    /// The whole group.
    pub const WHOLE: Self = Self { digits: 0, depth: 0 };

    /// The shard of so many digits that a locator belongs to.
    pub fn of(locator: &Locator, depth: u8) -> Self {
        let depth = depth.min(DEPTH_MAX);
        let [first, second, ..] = *locator.as_bytes();
        let digits = u16::from_be_bytes([first, second]);
        Self { digits: digits & !rest(depth), depth }
    }

    /// Of a group, the shard whose home this is, as far as it can have this locator.
    pub fn at(home: &Home, group: Group, locator: &Locator) -> Option<Self> {
        (0..=DEPTH_MAX).map(|depth| Self::of(locator, depth)).find(|shard| shard.home(group) == *home)
    }

    /// How many digits there are.
    pub fn depth(self) -> u8 {
        self.depth
    }

    /// Its home in a group.
    pub fn home(self, group: Group) -> Home {
        if self.depth == 0 {
            return group.into();
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"jsfs/v1/shard").update(group.as_bytes());
        hasher.update(&[self.depth]).update(&self.digits.to_be_bytes());
        Home::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The shard with one digit more that a locator belongs to; none where there are as many as there can be.
    pub fn below(self, locator: &Locator) -> Option<Self> {
        (self.depth < DEPTH_MAX).then(|| Self::of(locator, self.depth + 1))
    }

    /// What it is cut into; nothing where it cannot be.
    pub fn parts(self) -> impl Iterator<Item = Self> {
        let depth = self.depth + 1;
        let parts = if self.depth < DEPTH_MAX { 0..16 } else { 0..0 };
        parts.map(move |digit: u16| Self { digits: self.digits | digit << (16 - 4 * depth), depth })
    }

    /// Whether a locator belongs to it.
    pub fn contains(self, locator: &Locator) -> bool {
        Self::of(locator, self.depth) == self
    }

    /// The last locator that can belong to it.
    pub fn last(self) -> Locator {
        let mut bytes = [0xff; 32];
        bytes[..2].copy_from_slice(&(self.digits | rest(self.depth)).to_be_bytes());
        Locator::from_bytes(bytes)
    }

    /// The last locator that can be before it; none before the first.
    pub fn before(self) -> Option<Locator> {
        let mut bytes = [0xff; 32];
        bytes[..2].copy_from_slice(&self.digits.checked_sub(1)?.to_be_bytes());
        Some(Locator::from_bytes(bytes))
    }
}

/// The bits that so many digits leave open.
fn rest(depth: u8) -> u16 {
    u16::MAX.checked_shr(4 * u32::from(depth)).unwrap_or(0)
}

impl Version {
    /// Whether a home is where its group lists it, cut or not.
    pub fn is_listed_at(&self, home: &Home) -> bool {
        let record = self.record();
        Shard::at(home, record.group, &record.locator).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, Group, Home, Locator, Shard};

    fn locator(number: u32) -> Locator {
        Locator::from_bytes(*blake3::hash(&number.to_be_bytes()).as_bytes())
    }

    #[test]
    fn the_parts_of_a_shard_are_in_order_and_have_each_locator_of_it_once() {
        let mut shards = vec![Shard::WHOLE];
        for depth in 1..=DEPTH_MAX {
            let parts: Vec<Shard> = shards.iter().flat_map(|shard| shard.parts()).collect();
            assert_eq!(parts.len(), 16 * shards.len());
            assert!(parts.is_sorted_by(|one, next| one < next && next.before() == Some(one.last())));
            assert_eq!((parts[0].before(), parts[parts.len() - 1].last()), (None, Shard::WHOLE.last()));
            for number in 0..100 {
                let locator = locator(number);
                let having: Vec<_> = parts.iter().filter(|part| part.contains(&locator)).collect();
                assert_eq!(having, [&Shard::of(&locator, depth)]);
                let above = Shard::of(&locator, depth - 1);
                assert_eq!(above.below(&locator), Some(*having[0]));
                assert!(above < *having[0] && above.parts().any(|part| part == *having[0]));
            }
            shards = parts;
        }
        assert_eq!(shards[7].parts().count(), 0);
        assert_eq!(shards[7].below(&locator(1)), None);
    }

    #[test]
    fn a_home_belongs_to_one_group_and_to_locators_with_its_digits() {
        let (group, other) = (Group::from_bytes([1; 32]), Group::from_bytes([2; 32]));
        let (here, elsewhere) = (Locator::from_bytes([0x5a; 32]), Locator::from_bytes([0x5b; 32]));
        for depth in 0..=DEPTH_MAX {
            let home = Shard::of(&here, depth).home(group);
            assert_eq!(Shard::at(&home, group, &here), Some(Shard::of(&here, depth)));
            assert_eq!(Shard::at(&home, other, &here), None);
            assert_eq!(Shard::at(&home, group, &elsewhere).is_some(), depth < 2);
        }
        assert_eq!(Shard::WHOLE.home(group), Home::from(group));
    }
}
