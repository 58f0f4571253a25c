//! Pins keep blocks from being collected while somebody relies on them without an entry that refers to them.
//!
//! Collecting is a race with pinning: compaction first marks the blocks that it is about to drop as dying, which fails if one is pinned, then changes
//! the index. A pin of a dying block is refused, and whoever asked stores the chunk afresh.

use crate::{id::BlockId, sync::hold};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex},
};

/// Keeps one block from being collected until it is dropped.
pub struct Pin {
    id: BlockId,
    pins: Arc<Pins>,
}

impl Pin {
    /// The block.
    #[must_use]
    pub const fn block(&self) -> BlockId {
        self.id
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({})", self.id)
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        *hold(&self.pins.table).pinned.entry(self.id).or_default() += 1;
        Self { id: self.id, pins: self.pins.clone() }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut table = hold(&self.pins.table);
        if let Some(count) = table.pinned.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                table.pinned.remove(&self.id);
            }
        }
    }
}

/// All pins of a store.
#[derive(Default)]
pub(crate) struct Pins {
    table: Mutex<PinTable>,
}

#[derive(Default)]
struct PinTable {
    pinned: HashMap<BlockId, u32>,
    dying: HashSet<BlockId>,
}

impl Pins {
    /// Pins a block; `None` when it is being collected.
    pub(crate) fn pin(self: &Arc<Self>, id: BlockId) -> Option<Pin> {
        let mut table = hold(&self.table);
        if table.dying.contains(&id) {
            return None;
        }
        *table.pinned.entry(id).or_default() += 1;
        Some(Pin { id, pins: self.clone() })
    }

    /// Marks a block as being collected, unless it is pinned.
    pub(crate) fn condemn(&self, id: BlockId) -> bool {
        let mut table = hold(&self.table);
        !table.pinned.contains_key(&id) && {
            table.dying.insert(id);
            true
        }
    }

    /// The condemned are gone, or spared: the index says which.
    pub(crate) fn end_condemning(&self) {
        hold(&self.table).dying.clear();
    }

    /// Every pinned block.
    pub(crate) fn all(&self) -> Vec<BlockId> {
        hold(&self.table).pinned.keys().copied().collect()
    }
}
