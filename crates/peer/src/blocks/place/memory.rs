//! Blocks that are known to be on as many members as should keep them, so that a write which needs them again asks nobody.
//!
//! Bounded in number and time: what was placed and is not renewed, because nothing that is shared needs it any more, is forgotten long before its
//! leases end. Forgetting costs one question to each member.

use jsfs_federation::blockstore::Placement;
use jsfs_store::BlockId;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Blocks of a generation; two are kept.
const BLOCKS_MAX: usize = 65_536;

/// How long a generation takes in blocks.
const GENERATION_TIME: Duration = Duration::from_secs(86_400);

/// What is remembered, for one placement.
pub(in crate::blocks) struct Memory {
    placement: Option<(Arc<Placement>, usize)>,
    young: HashSet<BlockId>,
    old: HashSet<BlockId>,
    since: Instant,
}

impl Memory {
    pub(in crate::blocks) fn new() -> Self {
        Self { placement: None, young: HashSet::new(), old: HashSet::new(), since: Instant::now() }
    }

    /// Forgets everything when blocks belong elsewhere than before.
    pub(super) fn belongs_to(&mut self, placement: &Arc<Placement>, replicas: usize) {
        let is_same = self.placement.as_ref().is_some_and(|(known, count)| {
            *count == replicas && (Arc::ptr_eq(known, placement) || known == placement)
        });
        if !is_same {
            self.placement = Some((Arc::clone(placement), replicas));
            self.young.clear();
            self.old.clear();
        }
        if self.since.elapsed() >= GENERATION_TIME {
            self.turn();
        }
    }

    pub(super) fn has(&self, id: &BlockId) -> bool {
        self.young.contains(id) || self.old.contains(id)
    }

    pub(super) fn note(&mut self, id: BlockId) {
        if self.young.len() >= BLOCKS_MAX {
            self.turn();
        }
        self.young.insert(id);
    }

    fn turn(&mut self) {
        self.old = std::mem::take(&mut self.young);
        self.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCKS_MAX, Memory};
    use jsfs_federation::blockstore::{Placement, Site};
    use jsfs_federation::membership::PeerId;
    use jsfs_store::BlockId;
    use std::sync::Arc;

    fn placement(count: u8) -> Arc<Placement> {
        let site = |number| Site { peer: PeerId::from_bytes([number; 32]), space: 1 };
        Arc::new(Placement::new((0..count).map(site)))
    }

    fn block(number: usize) -> BlockId {
        BlockId::of(&number.to_le_bytes())
    }

    #[test]
    fn what_was_placed_is_remembered_for_these_members_and_within_bounds() {
        let mut memory = Memory::new();
        memory.belongs_to(&placement(3), 3);
        memory.note(block(0));
        memory.belongs_to(&placement(3), 3);
        assert!(memory.has(&block(0)));
        memory.belongs_to(&placement(4), 3);
        assert!(!memory.has(&block(0)), "a fourth keeps some of them");
        memory.note(block(0));
        memory.belongs_to(&placement(4), 2);
        assert!(!memory.has(&block(0)), "as many as are wanted now");
        (0..=2 * BLOCKS_MAX).for_each(|number| memory.note(block(number)));
        assert!(!memory.has(&block(0)) && memory.has(&block(2 * BLOCKS_MAX)));
        assert!(memory.young.len() + memory.old.len() <= 2 * BLOCKS_MAX);
    }
}
