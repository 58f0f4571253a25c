//! Decides requests: checks expectations, turns operations into puts and deletes, chooses locations, plans frames, and records what they change.
//!
//! Everything here happens in memory. A request that is refused has changed neither the view nor what is planned.

use crate::{
    block,
    commit::{Commit, Expect, NewBlock, Op, blocks_weight},
    committer::{Committer, index_error},
    error::{CommitError, WriteError},
    frame::{BlockHead, Change, Kind, Operation},
    id::{BlockId, Table},
    index::IndexError,
    log::{FramePlan, Planned},
    moving::{Carry, Fill},
    pins::Pin,
    rows::{Place, prefixed},
    view::{Layer, View, list_ids},
};
use bytes::Bytes;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
};

/// Operations of at most this many bytes are taken below the floor of free space.
const SMALL: u64 = 64 << 10;

pub(crate) struct Decide<'c, 'v> {
    committer: &'c mut Committer,
    view: View<'v>,
    /// Blocks of this batch: just hashed, so a second copy is not needed.
    fresh: HashSet<BlockId>,
    /// Free bytes of each location, less what this batch takes.
    free: Vec<u64>,
    held: Vec<Pin>,
    /// The index failed half-way through a request, so nothing that was planned may be written.
    broken: Option<WriteError>,
}

impl From<IndexError> for CommitError {
    fn from(error: IndexError) -> Self {
        Self::Write(index_error(&error))
    }
}

impl From<IndexError> for WriteError {
    fn from(error: IndexError) -> Self {
        index_error(&error)
    }
}

impl<'c, 'v> Decide<'c, 'v> {
    pub(crate) fn new(committer: &'c mut Committer, view: View<'v>) -> Self {
        let free =
            committer.logs.iter().map(|log| log.backend().space().map_or(0, |space| space.free)).collect();
        Self { committer, view, fresh: HashSet::new(), free, held: Vec::new(), broken: None }
    }

    /// The changed rows, the pins to be held until they are in the index, and why nothing may be written, if so.
    pub(crate) fn finish(self) -> (Layer, Vec<Pin>, Option<WriteError>) {
        (self.view.top, self.held, self.broken)
    }

    /// Plans a data frame for the blocks that are not here yet, and pins all of them.
    pub(crate) fn append(&mut self, blocks: Vec<NewBlock>) -> Result<Vec<Pin>, WriteError> {
        let ids: Vec<BlockId> = blocks.iter().map(|block| block.id).collect();
        let missing = self.missing(blocks)?;
        if !missing.is_empty() {
            let placed = self.place(missing)?;
            self.plan(Kind::Data, placed, &[])?;
        }
        let pins = &self.committer.reading.pins;
        ids.into_iter().map(|id| pins.pin(id).ok_or(WriteError::Closed)).collect()
    }

    /// Plans a commit frame; answers its sequence number.
    pub(crate) fn commit(&mut self, commit: Commit) -> Result<u64, CommitError> {
        self.check_expectations(&commit.expect)?;
        let sequence = self.committer.sequence + 1;
        let operations = self.resolve(commit.ops, sequence)?;
        self.check_references(&operations, &commit.blocks)?;
        let blocks = self.missing(commit.blocks)?;
        self.held.extend(commit.pins);
        if operations.is_empty() && blocks.is_empty() {
            return Ok(self.committer.sequence);
        }
        let bytes: u64 = operations.iter().map(Operation::encoded_len).sum();
        if bytes > SMALL && self.is_below_floor() {
            return Err(WriteError::NoSpace.into());
        }
        let placed = self.place(blocks)?;
        self.plan(Kind::Commit, placed, &operations)?;
        Ok(sequence)
    }

    fn check_expectations(&mut self, expect: &[Expect]) -> Result<(), CommitError> {
        for Expect::Sequence { table, key, sequence } in expect {
            let row = self.view.key(&prefixed(table.0, key))?;
            let found = row.filter(|row| row.put.is_some()).map_or(0, |row| row.sequence);
            if found != *sequence {
                return Err(CommitError::Conflict { table: *table, key: key.clone(), found });
            }
        }
        Ok(())
    }

    /// Turns operations into puts and deletes. Deletes of what is not there are left out.
    fn resolve(&mut self, ops: Vec<Op>, sequence: u64) -> Result<Vec<Operation>, CommitError> {
        // What earlier operations of this commit made of a key: its value, or nothing.
        let mut changed: HashMap<(Table, Vec<u8>), Option<Bytes>> = HashMap::new();
        let mut operations = Vec::with_capacity(ops.len());
        for op in ops {
            let (table, key, change) = match op {
                Op::Put { table, key, value, references } => (table, key, Change::Put { references, value }),
                Op::Delete { table, key } => {
                    if self.value(&changed, table, &key)?.is_none() {
                        continue;
                    }
                    (table, key, Change::Delete)
                }
                Op::Add { table, key, delta, at_most } => {
                    let current = self.value(&changed, table, &key)?;
                    let value = add(table, &key, current, delta, at_most)?;
                    (table, key, Change::Put { references: Vec::new(), value })
                }
                Op::Append { table, mut prefix, value } => {
                    let index = u32::try_from(operations.len()).unwrap_or(u32::MAX);
                    prefix.extend_from_slice(&sequence.to_be_bytes());
                    prefix.extend_from_slice(&index.to_be_bytes());
                    (table, prefix, Change::Put { references: Vec::new(), value })
                }
            };
            let value = match &change {
                Change::Put { value, .. } => Some(value.clone()),
                Change::Delete => None,
            };
            changed.insert((table, key.clone()), value);
            let index = u32::try_from(operations.len()).unwrap_or(u32::MAX);
            operations.push(Operation { sequence, index, table, key: key.into(), change });
        }
        Ok(operations)
    }

    fn value(
        &mut self,
        changed: &HashMap<(Table, Vec<u8>), Option<Bytes>>,
        table: Table,
        key: &[u8],
    ) -> Result<Option<Bytes>, IndexError> {
        // Most commits touch a key once; looking the owned key up is cheaper than keeping a second map.
        if let Some(value) = changed.get(&(table, key.to_vec())) {
            return Ok(value.clone());
        }
        let row = self.view.key(&prefixed(table.0, key))?;
        Ok(row.and_then(|row| row.put.as_ref()).map(|put| put.value.clone()))
    }

    /// Every block that will be referred to is here, or comes with the commit; so is what new lists list.
    fn check_references(&mut self, operations: &[Operation], blocks: &[NewBlock]) -> Result<(), CommitError> {
        let mut coming: HashMap<BlockId, Option<Vec<BlockId>>> = HashMap::new();
        for block in blocks {
            coming.insert(block.id, list_ids(&block.bytes));
        }
        let mut seen = HashSet::new();
        let mut work: Vec<BlockId> = Vec::new();
        for operation in operations {
            if let Change::Put { references, .. } = &operation.change {
                work.extend(references);
            }
        }
        while let Some(id) = work.pop() {
            if !seen.insert(id) {
                continue;
            }
            if let Some(list) = coming.get(&id) {
                work.extend(list.iter().flatten());
                continue;
            }
            let row = self.view.block(&id)?.clone().filter(|row| !row.places.is_empty());
            let row = row.ok_or(CommitError::MissingBlock(id))?;
            // What a list in use lists was checked when it came into use.
            if row.is_list && row.references == 0 {
                work.extend(self.view.list(&id, &row).ok_or(CommitError::MissingBlock(id))?);
            }
        }
        Ok(())
    }

    /// The blocks of which not enough verified copies are here yet, each once, with the locations that have one.
    fn missing(&mut self, blocks: Vec<NewBlock>) -> Result<Vec<(NewBlock, Vec<u8>)>, IndexError> {
        let mut missing = Vec::with_capacity(blocks.len());
        let mut taken = HashSet::new();
        for block in blocks {
            let keeping = &self.committer.reading.keeping;
            let is_sound =
                self.fresh.contains(&block.id) || self.committer.reading.verified.contains(&block.id);
            let held = match self.view.block(&block.id)? {
                Some(row) if is_sound => keeping.kept(&row.places),
                _ => Vec::new(),
            };
            if held.len() < keeping.copies() && taken.insert(block.id) {
                missing.push((block, held));
            }
        }
        Ok(missing)
    }

    fn is_below_floor(&self) -> bool {
        self.free.iter().any(|free| *free < self.committer.limits.floor)
    }

    /// Chooses locations for the copies that blocks lack. Those that lack the same lie together.
    fn place(&mut self, missing: Vec<(NewBlock, Vec<u8>)>) -> Result<Placed, WriteError> {
        let copies = self.committer.reading.keeping.copies();
        let mut alike: BTreeMap<Vec<u8>, Vec<NewBlock>> = BTreeMap::new();
        for (block, held) in missing {
            alike.entry(held).or_default().push(block);
        }
        let mut placed = Placed::new(self.committer.logs.len());
        // Nothing is taken from the free space unless all of them fit.
        let mut free = self.free.clone();
        for (held, blocks) in alike {
            let chosen = self.choose(&mut free, blocks_weight(&blocks), copies - held.len(), &held)?;
            blocks.into_iter().for_each(|block| placed.add(block, &chosen));
        }
        self.free = free;
        Ok(placed)
    }

    /// The locations with most free space, each of them above the floor with these bytes; none of `held`.
    fn choose(&self, free: &mut [u64], bytes: u64, count: usize, held: &[u8]) -> Result<Vec<u8>, WriteError> {
        let mut chosen = self.committer.reading.keeping.active();
        chosen.retain(|at| !held.contains(at));
        chosen.sort_by_key(|at| Reverse((free[usize::from(*at)], *at)));
        chosen.truncate(count);
        if chosen.len() < count {
            return Err(WriteError::NoSpace);
        }
        for at in &chosen {
            let free = &mut free[usize::from(*at)];
            let left = free.checked_sub(bytes).filter(|left| *left >= self.committer.limits.floor);
            *free = left.ok_or(WriteError::NoSpace)?;
        }
        Ok(chosen)
    }

    /// Plans the frames of one request and records what they change.
    fn plan(&mut self, kind: Kind, placed: Placed, operations: &[Operation]) -> Result<(), IndexError> {
        let result = self.plan_frames(kind, placed, operations);
        if let Err(error) = &result {
            self.broken = Some(index_error(error));
        }
        result
    }

    /// Frames of one sequence number: a commit in every location, blocks where they were placed.
    fn plan_frames(
        &mut self,
        kind: Kind,
        placed: Placed,
        operations: &[Operation],
    ) -> Result<(), IndexError> {
        self.committer.sequence += 1;
        let (sequence, durable) = (self.committer.sequence, self.committer.durable);
        self.view.at_frame(sequence);
        for (at, blocks) in (0u8..).zip(placed.at) {
            let log = &mut self.committer.logs[usize::from(at)];
            if kind != Kind::Commit && blocks.is_empty() {
                continue;
            }
            let leads: Vec<_> =
                blocks.iter().map(|(_, bytes)| (list_of(bytes), block::base_of(bytes))).collect();
            let heads: Vec<BlockHead> = blocks.iter().map(|(head, _)| head.clone()).collect();
            let planned = log.plan(FramePlan { kind, sequence, durable, blocks, operations });
            self.view.end_pack(at, &planned)?;
            self.see_blocks(at, &planned, &heads, leads)?;
        }
        // Operations after blocks: what they refer to is known then.
        for at in 0u8..=u8::MAX {
            let Some(log) = self.committer.logs.get(usize::from(at)) else { break };
            let pack = log.tip().pack;
            for operation in operations {
                self.view.see_operation(at, pack, operation)?;
            }
        }
        Ok(())
    }

    fn see_blocks(
        &mut self,
        location: u8,
        planned: &Planned,
        heads: &[BlockHead],
        leads: Vec<(Option<Vec<BlockId>>, Option<BlockId>)>,
    ) -> Result<(), IndexError> {
        for ((head, offset), (list, base)) in heads.iter().zip(&planned.offsets).zip(leads) {
            let place = Place::of(head, location, planned.pack, *offset);
            self.view.see_block(place, head, list)?;
            self.fresh.insert(head.id);
            self.committer.reading.verified.insert(head.id, base);
        }
        Ok(())
    }

    /// Plans moved frames with the copies that these blocks and operations lack. Answers the bytes of the frames.
    pub(crate) fn fill(&mut self, fill: Fill) -> Result<u64, WriteError> {
        let mut missing = Vec::new();
        for (head, bytes) in fill.blocks {
            let Some(row) = self.view.block(&head.id)?.clone() else { continue };
            let held = self.committer.reading.keeping.kept(&row.places);
            if row.references > 0 && held.len() < self.committer.reading.keeping.copies() {
                missing.push((NewBlock { id: head.id, bytes, tags: head.tags }, held));
            }
        }
        let placed = self.place(missing)?;
        let mut written = 0;
        for (at, blocks) in (0u8..).zip(placed.at) {
            let mut lacking = Vec::new();
            for operation in fill.operations.iter().filter(|_| self.committer.reading.keeping.takes(at)) {
                let row = self.view.key(&prefixed(operation.table.0, &operation.key))?;
                let order = (operation.sequence, operation.index);
                if row.is_some_and(|row| row.order() == order && row.copies[usize::from(at)].pack == 0) {
                    lacking.push(operation.clone());
                }
            }
            if blocks.is_empty() && lacking.is_empty() {
                continue;
            }
            let leads: Vec<_> =
                blocks.iter().map(|(_, bytes)| (list_of(bytes), block::base_of(bytes))).collect();
            let heads: Vec<BlockHead> = blocks.iter().map(|(head, _)| head.clone()).collect();
            self.committer.sequence += 1;
            let (sequence, durable) = (self.committer.sequence, self.committer.durable);
            self.view.at_frame(sequence);
            let log = &mut self.committer.logs[usize::from(at)];
            let from = log.tip().end;
            let plan = FramePlan { kind: Kind::Moved, sequence, durable, blocks, operations: &lacking };
            let planned = log.plan(plan);
            written += planned.end - from;
            self.view.end_pack(at, &planned)?;
            self.see_blocks(at, &planned, &heads, leads)?;
            for operation in &lacking {
                self.view.see_operation(at, planned.pack, operation)?;
            }
        }
        Ok(written)
    }

    /// Plans a moved frame for what lives in a part of a pack, and leaves the rest behind. Answers the bytes of the frame.
    pub(crate) fn carry(&mut self, carry: Carry) -> Result<u64, WriteError> {
        let at = usize::from(carry.location);
        let mut pairs = Vec::new();
        let mut origins = Vec::new();
        for block in carry.blocks {
            let Some(row) = self.view.block(&block.head.id)?.clone() else { continue };
            if !row.places.contains(&block.from) {
                continue;
            }
            let pins = &self.committer.reading.pins;
            let is_needed = row.references > 0 || !pins.condemn(block.head.id);
            // Of two copies in the part one is left behind first, and then the other is the only one.
            let may_go = block.is_redundant
                && self.committer.reading.keeping.is_enough_without(&row.places, &block.from);
            if is_needed && !may_go {
                origins.push((block.head.clone(), block.from));
                pairs.push((block.head, block.bytes));
            } else {
                self.view.drop_block(&block.head, block.from)?;
            }
        }
        let mut live = Vec::new();
        for operation in carry.operations {
            let order = (operation.sequence, operation.index);
            let row = self.view.key(&prefixed(operation.table.0, &operation.key))?;
            if row.is_some_and(|row| row.order() == order && row.copies[at].pack == carry.pack) {
                live.push(operation);
            } else {
                self.view.drop_operation(carry.location, &operation)?;
            }
        }
        let mut bytes = 0;
        if !pairs.is_empty() || !live.is_empty() {
            self.committer.sequence += 1;
            let (sequence, durable) = (self.committer.sequence, self.committer.durable);
            let log = &mut self.committer.logs[at];
            let from = log.tip().end;
            let plan = FramePlan { kind: Kind::Moved, sequence, durable, blocks: pairs, operations: &live };
            let planned = log.plan(plan);
            bytes = planned.end - from;
            self.view.end_pack(carry.location, &planned)?;
            for ((head, from), offset) in origins.iter().zip(&planned.offsets) {
                let to = Place::of(head, carry.location, planned.pack, *offset);
                self.view.move_block(&head.id, *from, to)?;
            }
            for operation in &live {
                // Seen in the new pack it becomes stale in the old one, where it is then left behind.
                self.view.see_operation(carry.location, planned.pack, operation)?;
                self.view.drop_operation(carry.location, operation)?;
            }
        }
        self.view.pack(carry.location, carry.pack)?.done = carry.done;
        Ok(bytes)
    }
}

/// Blocks, by the locations that they go to.
struct Placed {
    at: Vec<Vec<(BlockHead, Bytes)>>,
}

impl Placed {
    fn new(locations: usize) -> Self {
        Self { at: vec![Vec::new(); locations] }
    }

    fn add(&mut self, block: NewBlock, chosen: &[u8]) {
        let len = u32::try_from(block.bytes.len()).unwrap_or(u32::MAX);
        let head = BlockHead { id: block.id, len, tags: block.tags };
        for at in chosen {
            self.at[usize::from(*at)].push((head.clone(), block.bytes.clone()));
        }
    }
}

/// The ids in these stored bytes if they are a list.
fn list_of(bytes: &Bytes) -> Option<Vec<BlockId>> {
    matches!(block::split(bytes), Ok((block::Kind::List, _))).then(|| list_ids(bytes)).flatten()
}

/// The new value of a counter.
fn add(
    table: Table,
    key: &[u8],
    current: Option<Bytes>,
    delta: i64,
    at_most: Option<u64>,
) -> Result<Bytes, CommitError> {
    let current = match current {
        None => 0,
        Some(bytes) => match <[u8; 8]>::try_from(&bytes[..]) {
            Ok(bytes) => u64::from_le_bytes(bytes),
            Err(_) => return Err(CommitError::Invalid("adding to an entry that is no counter")),
        },
    };
    let sum = current.saturating_add_signed(delta);
    if let Some(at_most) = at_most.filter(|at_most| delta > 0 && sum > *at_most) {
        return Err(CommitError::Exceeded { table, key: key.to_vec(), current, at_most });
    }
    Ok(Bytes::copy_from_slice(&sum.to_le_bytes()))
}
