//! Pins keep blocks from being collected while somebody relies on them without an entry that refers to them.
//!
//! Collecting is a race with pinning: compaction first marks the blocks that it is about to drop as dying, which fails if one is pinned, then changes
//! the index. A pin of a dying block is refused, and whoever asked stores the chunk afresh.
//!
//! A [`Hold`] keeps whole packs, for whoever reads the store as it was at one moment: while there is one, no block is dropped and no held pack removed.

use crate::{id::BlockId, sync::hold};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
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
    /// By number: for each location the newest pack that is held; empty for all of them.
    holds: BTreeMap<u64, Vec<u64>>,
    last_hold: u64,
}

/// Keeps packs, and every block that is in them, until it is dropped.
pub(crate) struct Hold {
    number: u64,
    pins: Arc<Pins>,
}

impl Hold {
    /// From now on only packs up to these, by location, are held.
    pub(crate) fn only_up_to(&self, packs: Vec<u64>) {
        hold(&self.pins.table).holds.insert(self.number, packs);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        hold(&self.pins.table).holds.remove(&self.number);
    }
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
        table.holds.is_empty() && !table.pinned.contains_key(&id) && {
            table.dying.insert(id);
            true
        }
    }

    /// The condemned are gone, or spared: the index says which.
    pub(crate) fn end_condemning(&self) {
        hold(&self.table).dying.clear();
    }

    /// Holds every pack that is there now.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        let mut table = hold(&self.table);
        table.last_hold += 1;
        let number = table.last_hold;
        table.holds.insert(number, Vec::new());
        Hold { number, pins: self.clone() }
    }

    /// Whether somebody reads a pack as it is.
    pub(crate) fn is_held(&self, location: u8, pack: u64) -> bool {
        hold(&self.table).is_held(location, pack)
    }

    /// Does something to a pack that nobody holds; nobody begins to meanwhile.
    pub(crate) fn unless_held<T>(&self, location: u8, pack: u64, work: impl FnOnce() -> T) -> Option<T> {
        let table = hold(&self.table);
        (!table.is_held(location, pack)).then(work)
    }

    /// Every pinned block.
    pub(crate) fn all(&self) -> Vec<BlockId> {
        hold(&self.table).pinned.keys().copied().collect()
    }
}

impl PinTable {
    fn is_held(&self, location: u8, pack: u64) -> bool {
        let holds = |packs: &Vec<u64>| {
            packs.is_empty() || packs.get(usize::from(location)).is_some_and(|last| pack <= *last)
        };
        self.holds.values().any(holds)
    }
}
