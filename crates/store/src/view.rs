//! Rows as they will be once everything written so far is in the index: layers of changed rows over the index, and the rules by which
//! frames change them.
//!
//! The same rules serve the committer, replay after a crash, and rebuilding from nothing; so what a rebuild yields is what running yielded. They
//! rest on one primitive each for an operation and a block *seen* in a pack, and one each for a copy that compaction *drops*.

use crate::{
    block,
    frame::{BlockHead, Change, Operation},
    id::{BlockId, Tag},
    index::{Index, IndexError, RowChange},
    log::Planned,
    rows::{
        BLOCK, BlockRow, CHUNK, Copies, ENTRY, KeyRow, PackRow, Place, Put, TOMBSTONE, TagRow, counted,
        pack_key, prefixed,
    },
};
use std::collections::{HashMap, hash_map::Entry};

/// What the index has for a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Indexed {
    Nothing,
    Entry,
    Tombstone,
}

/// Changed rows. `None` as a value: there is no such row.
#[derive(Default)]
pub(crate) struct Layer {
    keys: HashMap<Vec<u8>, (Indexed, Option<KeyRow>)>,
    blocks: HashMap<BlockId, Option<BlockRow>>,
    tags: HashMap<Tag, Option<TagRow>>,
    packs: HashMap<(u8, u64), Option<PackRow>>,
    /// What lists contain that were stored since the last sync.
    lists: HashMap<BlockId, Vec<BlockId>>,
}

impl Layer {
    /// Lays another layer's changes over this one's.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.blocks.extend(other.blocks);
        self.tags.extend(other.tags);
        self.packs.extend(other.packs);
        self.lists.extend(other.lists);
    }

    /// The rows for the index.
    pub(crate) fn into_changes(self) -> Vec<RowChange> {
        let mut changes =
            Vec::with_capacity(self.keys.len() + self.blocks.len() + self.tags.len() + self.packs.len());
        for (key, (indexed, row)) in self.keys {
            let now = match &row {
                None => Indexed::Nothing,
                Some(row) if row.put.is_some() => Indexed::Entry,
                Some(_) => Indexed::Tombstone,
            };
            if indexed != now && indexed != Indexed::Nothing {
                changes.push((prefixed(indexed.prefix(), &key), None));
            }
            if let Some(row) = row {
                changes.push((prefixed(now.prefix(), &key), Some(row.encode())));
            }
        }
        for (id, row) in self.blocks {
            changes.push((prefixed(BLOCK, id.as_bytes()), row.map(|row| row.encode())));
        }
        for (tag, row) in self.tags {
            changes.push((prefixed(CHUNK, &tag), row.map(|row| row.encode())));
        }
        for ((location, number), row) in self.packs {
            changes.push((pack_key(location, number).to_vec(), row.map(PackRow::encode)));
        }
        changes
    }

    /// The blocks that are in this layer and have a place.
    pub(crate) fn placed_blocks(&self) -> impl Iterator<Item = (BlockId, &BlockRow)> {
        self.blocks
            .iter()
            .filter_map(|(id, row)| Some((*id, row.as_ref()?)))
            .filter(|(_, row)| !row.places.is_empty())
    }

    /// The tags that are in this layer.
    pub(crate) fn found_tags(&self) -> impl Iterator<Item = (Tag, &TagRow)> {
        self.tags.iter().filter_map(|(tag, row)| Some((*tag, row.as_ref()?)))
    }

    /// Removes the row of a pack.
    pub(crate) fn forget_pack(&mut self, location: u8, number: u64) {
        self.packs.insert((location, number), None);
    }

    /// How many rows it holds.
    pub(crate) fn len(&self) -> usize {
        self.keys.len() + self.blocks.len() + self.tags.len() + self.packs.len()
    }
}

impl Indexed {
    const fn prefix(self) -> u8 {
        match self {
            Self::Tombstone => TOMBSTONE,
            Self::Nothing | Self::Entry => ENTRY,
        }
    }
}

/// Reads the ids in a list block from its pack.
pub(crate) type ReadList<'a> = &'a dyn Fn(&BlockId, &BlockRow) -> Option<Vec<BlockId>>;

/// A layer being filled, over another layer and the index.
pub(crate) struct View<'a> {
    pub(crate) top: Layer,
    under: Option<&'a Layer>,
    index: &'a Index,
    read_list: ReadList<'a>,
    locations: usize,
    /// While rebuilding, an operation may be seen after a later one, so spent tombstones stay until the end.
    keeps_spent: bool,
    /// The frame that is being applied.
    now: u64,
    /// What rows said of blocks that this frame found live and left dead.
    ended: HashMap<BlockId, u64>,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        index: &'a Index,
        under: Option<&'a Layer>,
        locations: usize,
        read_list: ReadList<'a>,
    ) -> Self {
        let (top, ended) = (Layer::default(), HashMap::new());
        Self { top, under, index, read_list, locations, keeps_spent: false, now: u64::MAX, ended }
    }

    /// What follows belongs to this frame.
    pub(crate) fn at_frame(&mut self, sequence: u64) {
        self.now = sequence;
        self.ended.clear();
    }

    pub(crate) fn keep_spent_tombstones(mut self) -> Self {
        self.keeps_spent = true;
        self
    }

    /// The current operation of a key (which begins with its table).
    pub(crate) fn key(&mut self, key: &[u8]) -> Result<Option<&mut KeyRow>, IndexError> {
        if !self.top.keys.contains_key(key) {
            let row = match self.under.and_then(|under| under.keys.get(key)) {
                Some(row) => row.clone(),
                None => match self.index.entry(key)? {
                    Some(row) => (Indexed::Entry, Some(row)),
                    None => match self.index.tombstone(key)? {
                        Some(row) => (Indexed::Tombstone, Some(row)),
                        None => (Indexed::Nothing, None),
                    },
                },
            };
            self.top.keys.insert(key.to_vec(), row);
        }
        Ok(self.top.keys.get_mut(key).and_then(|(_, row)| row.as_mut()))
    }

    fn set_key(&mut self, key: &[u8], row: Option<KeyRow>) -> Result<(), IndexError> {
        self.key(key)?;
        if let Some(slot) = self.top.keys.get_mut(key) {
            slot.1 = row;
        }
        Ok(())
    }

    /// The row of a block.
    pub(crate) fn block(&mut self, id: &BlockId) -> Result<&mut Option<BlockRow>, IndexError> {
        if !self.top.blocks.contains_key(id) {
            let row = match self.under.and_then(|under| under.blocks.get(id)) {
                Some(row) => row.clone(),
                None => self.index.block(id)?,
            };
            self.top.blocks.insert(*id, row);
        }
        Ok(self.top.blocks.entry(*id).or_default())
    }

    /// The row of a tag.
    pub(crate) fn tag(&mut self, tag: &Tag) -> Result<Option<TagRow>, IndexError> {
        if let Some(row) = self.top.tags.get(tag) {
            return Ok(row.clone());
        }
        match self.under.and_then(|under| under.tags.get(tag)) {
            Some(row) => Ok(row.clone()),
            None => self.index.tag(tag),
        }
    }

    /// A frame was planned at the end of a pack.
    pub(crate) fn end_pack(&mut self, location: u8, planned: &Planned) -> Result<(), IndexError> {
        let row = self.pack(location, planned.pack)?;
        row.end = planned.end;
        row.saved += planned.saved;
        Ok(())
    }

    /// The row of a pack.
    pub(crate) fn pack(&mut self, location: u8, number: u64) -> Result<&mut PackRow, IndexError> {
        let key = (location, number);
        if !self.top.packs.contains_key(&key) {
            let row = match self.under.and_then(|under| under.packs.get(&key)) {
                Some(row) => *row,
                None => self.index.pack(location, number)?,
            };
            self.top.packs.insert(key, row);
        }
        Ok(self.top.packs.entry(key).or_default().get_or_insert_default())
    }

    fn add_live(&mut self, location: u8, pack: u64, bytes: u64) -> Result<(), IndexError> {
        self.pack(location, pack)?.live += bytes;
        Ok(())
    }

    fn sub_live(&mut self, location: u8, pack: u64, bytes: u64) -> Result<(), IndexError> {
        let row = self.pack(location, pack)?;
        row.live = row.live.saturating_sub(bytes);
        Ok(())
    }

    /// An operation was found, or is being written, in a pack.
    pub(crate) fn see_operation(
        &mut self,
        location: u8,
        pack: u64,
        operation: &Operation,
    ) -> Result<(), IndexError> {
        let key = prefixed(operation.table.0, &operation.key);
        let at = usize::from(location);
        let bytes = operation.encoded_len();
        let order = (operation.sequence, operation.index);
        let current = self.key(&key)?.map(|row| row.order());
        if current.is_none_or(|current| current < order) {
            self.replace_current(&key, operation)?;
        }
        let Some(row) = self.key(&key)? else { return Ok(()) };
        let is_current = row.order() == order;
        let is_put = matches!(operation.change, Change::Put { .. });
        let copies = &mut row.copies[at];
        let old_pack = copies.pack;
        // Of two copies of the current operation the one in the newer pack counts, and the other is stale.
        copies.stale += u32::from(is_put && (!is_current || old_pack != 0));
        if !is_current || old_pack > pack {
            return Ok(());
        }
        copies.pack = pack;
        if old_pack != 0 {
            self.sub_live(location, old_pack, bytes)?;
        }
        self.add_live(location, pack, bytes)
    }

    /// Makes an operation current that has no copies yet; what was current becomes stale wherever it lies.
    fn replace_current(&mut self, key: &[u8], operation: &Operation) -> Result<(), IndexError> {
        let old = self.key(key)?.cloned();
        let mut copies = vec![Copies::default(); self.locations];
        if let Some(old) = &old {
            let bytes = old.operation_len(key.len() - 1);
            for (location, (new, old_copies)) in (0u8..).zip(copies.iter_mut().zip(&old.copies)) {
                new.stale = old_copies.stale + u32::from(old_copies.pack != 0 && old.put.is_some());
                if old_copies.pack != 0 {
                    self.sub_live(location, old_copies.pack, bytes)?;
                }
            }
        }
        let put = match &operation.change {
            Change::Put { references, value } => {
                Some(Put { references: references.clone(), value: value.clone() })
            }
            Change::Delete => None,
        };
        // The new references first, so that what both need never looks dead.
        for id in put.iter().flat_map(|put| &put.references) {
            self.refer(id)?;
        }
        let row = KeyRow { sequence: operation.sequence, index: operation.index, copies, put };
        self.set_key(key, Some(row))?;
        for id in old.iter().filter_map(|old| old.put.as_ref()).flat_map(|put| &put.references) {
            self.unrefer(id)?;
        }
        Ok(())
    }

    /// Compaction leaves an operation behind that is not current there.
    pub(crate) fn drop_operation(&mut self, location: u8, operation: &Operation) -> Result<(), IndexError> {
        let key = prefixed(operation.table.0, &operation.key);
        if matches!(operation.change, Change::Delete) {
            return Ok(());
        }
        if let Some(row) = self.key(&key)? {
            let copies = &mut row.copies[usize::from(location)];
            copies.stale = copies.stale.saturating_sub(1);
            self.purge_if_spent(&key)?;
        }
        Ok(())
    }

    /// Forgets a tombstone that hides nothing.
    pub(crate) fn purge_if_spent(&mut self, key: &[u8]) -> Result<(), IndexError> {
        if self.keeps_spent {
            return Ok(());
        }
        let Some(row) = self.key(key)?.filter(|row| row.is_spent()).cloned() else { return Ok(()) };
        let bytes = row.operation_len(key.len() - 1);
        for (location, copies) in (0u8..).zip(&row.copies) {
            if copies.pack != 0 {
                self.sub_live(location, copies.pack, bytes)?;
            }
        }
        self.set_key(key, None)
    }

    /// A block was found, or is being written, in a pack. `list` has the ids in a list block.
    pub(crate) fn see_block(
        &mut self,
        place: Place,
        head: &BlockHead,
        list: Option<Vec<BlockId>>,
    ) -> Result<(), IndexError> {
        let row = self.block(&head.id)?.get_or_insert_default();
        row.is_list = list.is_some();
        if row.places.contains(&place) {
            return Ok(());
        }
        let counts_now = row.references > 0 && row.is_list && !row.is_counted;
        row.is_counted |= counts_now;
        self.change_places(&head.id, |places| places.push(place))?;
        for tag in &head.tags {
            let row = TagRow { block: head.id, offset: tag.offset, len: tag.len, extra: tag.extra.clone() };
            self.top.tags.insert(tag.tag, Some(row));
        }
        if let Some(ids) = list {
            if counts_now {
                for id in &ids {
                    self.refer(id)?;
                }
            }
            self.top.lists.insert(head.id, ids);
        }
        Ok(())
    }

    /// Changes where copies of a block lie. They are kept in order, and the first in each location counts as live, whatever happened in which order.
    fn change_places(
        &mut self,
        id: &BlockId,
        change: impl FnOnce(&mut Vec<Place>),
    ) -> Result<(), IndexError> {
        let Some(row) = self.block(id)?.as_mut() else { return Ok(()) };
        let before: Vec<Place> = counted(&row.places).collect();
        change(&mut row.places);
        row.places.sort_unstable();
        if row.references == 0 {
            return Ok(());
        }
        let after: Vec<Place> = counted(&row.places).collect();
        self.count(&before, Self::sub_live)?;
        self.count(&after, Self::add_live)
    }

    /// Adds to, or takes from, what lives in the packs of these copies.
    fn count(
        &mut self,
        places: &[Place],
        change: impl Fn(&mut Self, u8, u64, u64) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        places.iter().try_for_each(|place| change(self, place.location, place.pack, place.weight()))
    }

    /// A live block was carried from one place to another.
    pub(crate) fn move_block(&mut self, id: &BlockId, from: Place, to: Place) -> Result<(), IndexError> {
        self.change_places(id, |places| {
            places.retain(|place| *place != from);
            places.push(to);
        })
    }

    /// Compaction leaves a copy of a block behind. With its last copy the block and its tags go.
    pub(crate) fn drop_block(&mut self, head: &BlockHead, from: Place) -> Result<(), IndexError> {
        self.change_places(&head.id, |places| places.retain(|place| *place != from))?;
        let slot = self.block(&head.id)?;
        if slot.as_ref().is_none_or(|row| !row.places.is_empty()) {
            return Ok(());
        }
        if slot.as_ref().is_some_and(|row| row.references == 0) {
            *slot = None;
        }
        for tag in &head.tags {
            if self.tag(&tag.tag)?.is_some_and(|row| row.block == head.id) {
                self.top.tags.insert(tag.tag, None);
            }
        }
        Ok(())
    }

    /// One more reference to a block, and through lists to what they list.
    fn refer(&mut self, id: &BlockId) -> Result<(), IndexError> {
        let now = self.now;
        let mut work = vec![*id];
        while let Some(id) = work.pop() {
            let row = self.block(&id)?.get_or_insert_default();
            row.references += 1;
            if row.references > 1 {
                continue;
            }
            row.since = now;
            if let Entry::Occupied(ended) = self.ended.entry(id) {
                // Within one frame nobody has seen it dead.
                let since = ended.remove();
                if let Some(row) = self.block(&id)?.as_mut() {
                    row.since = since;
                }
            }
            let Some(row) = self.block(&id)?.as_ref() else { continue };
            if row.places.is_empty() {
                continue;
            }
            let row = row.clone();
            self.count(&counted(&row.places).collect::<Vec<_>>(), Self::add_live)?;
            if row.is_list && !row.is_counted {
                let Some(ids) = self.list(&id, &row) else { continue };
                if let Some(row) = self.block(&id)?.as_mut() {
                    row.is_counted = true;
                }
                work.extend(ids);
            }
        }
        Ok(())
    }

    /// One reference less.
    fn unrefer(&mut self, id: &BlockId) -> Result<(), IndexError> {
        let now = self.now;
        let mut work = vec![*id];
        while let Some(id) = work.pop() {
            let slot = self.block(&id)?;
            let Some(row) = slot.as_mut() else { continue };
            row.references = row.references.saturating_sub(1);
            if row.references > 0 {
                continue;
            }
            let since = std::mem::replace(&mut row.since, now);
            let row = row.clone();
            self.ended.insert(id, since);
            if row.places.is_empty() {
                *self.block(&id)? = None;
                continue;
            }
            self.count(&counted(&row.places).collect::<Vec<_>>(), Self::sub_live)?;
            if row.is_list && row.is_counted {
                let Some(ids) = self.list(&id, &row) else { continue };
                if let Some(row) = self.block(&id)?.as_mut() {
                    row.is_counted = false;
                }
                work.extend(ids);
            }
        }
        Ok(())
    }

    /// The ids in a list block; `None` when it cannot be read, which keeps what it lists.
    pub(crate) fn list(&self, id: &BlockId, row: &BlockRow) -> Option<Vec<BlockId>> {
        let fresh = self.top.lists.get(id).or_else(|| self.under.and_then(|under| under.lists.get(id)));
        fresh.cloned().or_else(|| (self.read_list)(id, row))
    }
}

/// The ids in stored bytes if they are a list block.
pub(crate) fn list_ids(stored: &[u8]) -> Option<Vec<BlockId>> {
    block::decode_list(stored).ok().map(|(_, ids)| ids)
}
