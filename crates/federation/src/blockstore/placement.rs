//! Placement: which members keep a block, computed by every node alike from the certificates alone.
//!
//! Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights by logarithms after Schindelhauer and Schomaker 2005): each member
//! draws a lot for each block, and the best lots keep it. A member that comes takes only what it keeps itself, one that goes leaves only
//! what it kept, and a share follows from the space. All in whole numbers, so that no two machines or languages ever differ.

use crate::membership::{PeerId, Role, SPACE_MAX, Terms};
use jsfs_store::BlockId;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The most replicas that anybody can ask for.
pub const REPLICAS_MAX: usize = 16;

/// Bits after the point of the logarithm.
const FRACTION_BITS: u32 = 32;

// A logarithm has at most 64 × 2³² + 1 steps and is multiplied by a space: the product is far below 2¹²⁸.
const _: () = assert!(SPACE_MAX <= 1 << 24);

/// A member that keeps blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Who it is.
    pub peer: PeerId,
    /// How much it is counted on for, in GiB, at least 1.
    pub space: u64,
}

impl Site {
    /// The site that a verified member is; none if it keeps no blocks.
    pub fn of(terms: &Terms) -> Option<Self> {
        let keeps = terms.roles.contains(Role::Store) && terms.space > 0;
        keeps.then_some(Self { peer: terms.peer, space: terms.space })
    }
}

/// What a site drew for a block: the greater the space, the better on average.
#[derive(Clone, Copy, Debug)]
struct Lot {
    /// −log₂ of the draw, so 0 is best.
    cost: u64,
    site: Site,
}

/// Where blocks lie among some sites.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement(Vec<Site>);

impl Placement {
    /// Among these. Of a peer that comes twice the last counts; without space there is no site.
    pub fn new(sites: impl IntoIterator<Item = Site>) -> Self {
        let by_peer: BTreeMap<_, _> =
            sites.into_iter().filter(|site| site.space > 0).map(|site| (site.peer, site)).collect();
        Self(by_peer.into_values().collect())
    }

    /// The members that keep a block, best first: `replicas` of them, or all where there are fewer. Who looks further when these do not answer asks for more.
    pub fn of(&self, block: &BlockId, replicas: usize) -> Vec<PeerId> {
        let mut lots: Vec<Lot> = self.0.iter().map(|site| Lot::draw(*site, block)).collect();
        let wanted = replicas.min(REPLICAS_MAX).min(lots.len());
        if wanted == 0 {
            return Vec::new();
        }
        if wanted < lots.len() {
            lots.select_nth_unstable_by(wanted - 1, Lot::before);
            lots.truncate(wanted);
        }
        lots.sort_unstable_by(Lot::before);
        lots.into_iter().map(|lot| lot.site.peer).collect()
    }
}

impl Lot {
    fn draw(site: Site, block: &BlockId) -> Self {
        let hash = blake3::Hasher::new()
            .update(b"jsfs/v1/placement")
            .update(block.as_bytes())
            .update(site.peer.as_bytes())
            .finalize();
        let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        Self { cost: cost(u64::from_be_bytes(first)), site }
    }

    /// cost₁ / space₁ against cost₂ / space₂, without dividing; the peer decides between equals.
    fn before(&self, other: &Self) -> Ordering {
        let mine = u128::from(self.cost) * u128::from(other.site.space);
        let theirs = u128::from(other.cost) * u128::from(self.site.space);
        mine.cmp(&theirs).then_with(|| self.site.peer.cmp(&other.site.peer))
    }
}

/// 64 − log₂(draw + 1) with [`FRACTION_BITS`] bits after the point, rounded up: the logarithm is found bit by bit, by squaring.
fn cost(draw: u64) -> u64 {
    let value = u128::from(draw) + 1;
    let whole = value.ilog2();
    // The mantissa, 1 ≤ m < 2, with 63 bits after the point.
    let mut mantissa = if whole > 63 { value >> (whole - 63) } else { value << (63 - whole) };
    let mut log = u64::from(whole);
    for _ in 0..FRACTION_BITS {
        mantissa = (mantissa * mantissa) >> 63;
        let bit = mantissa >> 64;
        log = (log << 1) | u64::from(bit != 0);
        mantissa >>= bit;
    }
    (64 << FRACTION_BITS) - log
}

#[cfg(test)]
mod tests {
    use super::{FRACTION_BITS, Placement, Site, cost};
    use crate::membership::PeerId;
    use jsfs_store::BlockId;
    use std::collections::BTreeMap;

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    fn sites(numbers: impl Iterator<Item = u8>, space: u64) -> Vec<Site> {
        numbers.map(|number| Site { peer: peer(number), space }).collect()
    }

    fn blocks(count: u32) -> impl Iterator<Item = BlockId> {
        (0..count).map(|number| BlockId::of(&number.to_be_bytes()))
    }

    #[test]
    #[allow(clippy::cast_precision_loss, reason = "eight digits are compared")]
    fn the_logarithm_is_that_of_real_numbers() {
        assert_eq!(cost(u64::MAX), 0);
        assert_eq!(cost(0), 64 << FRACTION_BITS);
        assert_eq!(cost((1 << 63) - 1), 1 << FRACTION_BITS);
        for shift in 0..64 {
            let draw = 0x9e37_79b9_7f4a_7c15_u64 >> shift;
            let real = 64.0 - (draw as f64 + 1.0).log2();
            let ours = cost(draw) as f64 / f64::from(1 << 16) / f64::from(1 << 16);
            assert!((ours - real).abs() < 1e-8, "{draw}: {ours} and {real}");
        }
    }

    #[test]
    fn a_member_that_goes_leaves_what_it_kept_and_nothing_else_moves() {
        let before = Placement::new(sites(1..=20, 10));
        let after = Placement::new(sites((1..=20).filter(|number| *number != 7), 10));
        let mut left = 0;
        for block in blocks(2_000) {
            let (old, new) = (before.of(&block, 3), after.of(&block, 3));
            let kept: Vec<_> = old.iter().copied().filter(|kept| *kept != peer(7)).collect();
            if kept.len() == 3 {
                assert_eq!(old, new);
            } else {
                left += 1;
                assert_eq!(kept, new[..2], "the other two keep it");
                assert_eq!(new[2], before.of(&block, 4)[3], "and the next takes it");
            }
        }
        assert!((200..400).contains(&left), "3 of 20 blocks lay there: {left}");
    }

    #[test]
    fn more_space_takes_blocks_over_and_moves_none_between_others() {
        let small = sites(1..=10, 10);
        let mut large = small.clone();
        large[3].space = 30;
        let (before, after) = (Placement::new(small), Placement::new(large));
        for block in blocks(2_000) {
            let (old, new) = (before.of(&block, 3), after.of(&block, 3));
            assert!(new.iter().all(|kept| old.contains(kept) || *kept == peer(4)));
        }
    }

    #[test]
    fn shares_follow_space() {
        let placement = Placement::new(
            [1, 2, 4, 8, 16].map(|space| Site { peer: peer(u8::try_from(space).unwrap()), space }),
        );
        let mut shares: BTreeMap<PeerId, u32> = BTreeMap::new();
        let count = 31_000;
        for block in blocks(count) {
            *shares.entry(placement.of(&block, 1)[0]).or_default() += 1;
        }
        for space in [1, 2, 4, 8, 16_u8] {
            let expected = count / 31 * u32::from(space);
            let share = shares[&peer(space)];
            assert!(share.abs_diff(expected) < expected / 6, "{space}: {share}, expected {expected}");
        }
    }

    #[test]
    fn few_members_keep_everything_and_none_is_named_twice() {
        let block = BlockId::of(b"block");
        assert!(Placement::default().of(&block, 3).is_empty());
        assert!(Placement::new(sites(1..=3, 0)).of(&block, 3).is_empty());
        assert!(Placement::new(sites(1..=3, 5)).of(&block, 0).is_empty());
        let twice = sites(1..=2, 5).into_iter().chain(sites(1..=2, 9));
        assert_eq!(Placement::new(twice).of(&block, 3).len(), 2);
        let many = Placement::new(sites(1..=40, 5));
        assert_eq!(many.of(&block, 100).len(), super::REPLICAS_MAX);
        assert_eq!(many.of(&block, 3), many.of(&block, 8)[..3]);
    }
}
