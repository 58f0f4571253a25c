//! Chunks on their way into blocks: found, or stored as deltas of what is like them, or in groups.
//!
//! Chunks are worked on as many at a time as a piece of the body has. Those that follow each other and are like the same block become one delta; the rest
//! of public chunks are grouped, so that they compress better and take fewer descriptions. Private chunks that others may find by their content stand alone:
//! who may open a block sees all of it (`docs/security.md`).
//!
//! A piece is looked up ([`Worker::plan`]), its blocks are made ([`Maker::make`]), and they are noted ([`Worker::settle`]). The first and the last are done
//! piece by piece in the order of the body; blocks of several pieces are made at once. What a piece has in common with one whose blocks are being made, it finds when it is noted.

use super::{COMPRESSION_LEVEL, Sealing, Worker, encode_block, unfit};
use crate::{
    Objects,
    error::{StorageError, WriteError},
    manifest::{ChunkPlace, Extent},
    read,
    seal::{self, BlockKey},
    similar::{FEATURES_FROM_BYTES, Near, Neighbour, features},
};
use bytes::Bytes;
use jsfs_store::{BlockId, ChunkTag, NewBlock, Pin, Tag, block, chunk::Chunks};
use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// Plaintext of a block of several chunks.
const GROUP_BYTES: usize = 256 << 10;

/// Bases whose plaintext is kept at hand.
const BASES_KEPT: usize = 4;

/// What a delta costs beside its bytes: its base stands in the block, in the record and among the references of the record's entry.
const DELTA_COSTS: usize = 100;

/// A delta is stored if it takes at most so many hundredths of what its content takes without. What is like a poor delta finds nothing to be a delta of, so
/// poor ones are dear (decision 0022).
const LIKE: usize = 50;
const GUESSED: usize = 20;

/// A piece of which is known what is stored already.
pub(super) struct Plan {
    bytes: Bytes,
    /// Of the body so far.
    size: u64,
    order: Vec<Found>,
    fresh: Vec<Fresh>,
    /// What blocks that were found are deltas of.
    bases: Vec<BlockId>,
}

/// A piece whose blocks are made.
#[derive(Default)]
pub(super) struct Made {
    order: Vec<Found>,
    extents: Vec<([u8; 32], Extent)>,
    bases: Vec<BlockId>,
    pins: Vec<Pin>,
    blocks: Vec<NewBlock>,
}

/// Where a chunk of the piece lies.
enum Found {
    There(Extent),
    /// In a block that is being made, of this piece or of one before it.
    Coming([u8; 32]),
}

/// A chunk that is not stored yet.
struct Fresh {
    hash: [u8; 32],
    /// Where it lies in the piece.
    at: Range<usize>,
    is_compressible: bool,
    features: Vec<Tag>,
    base: Option<Base>,
}

/// What a chunk may be a delta of.
#[derive(Clone)]
struct Base {
    block: BlockId,
    key: Option<BlockKey>,
    /// How small the delta must be.
    hundredths: usize,
}

impl Worker {
    /// Finds or makes the blocks of chunks that follow each other, and notes them in the manifest.
    pub(crate) fn place(&mut self, chunks: Chunks) -> Result<(), WriteError> {
        let plan = self.plan(chunks)?;
        let made = self.maker.make(plan)?;
        self.settle(made)
    }

    /// Looks up chunks that follow each other.
    pub(super) fn plan(&mut self, chunks: Chunks) -> Result<Plan, WriteError> {
        let Chunks { bytes, lengths } = chunks;
        let (size, order, fresh) = (self.size, Vec::with_capacity(lengths.len()), Vec::new());
        let mut plan = Plan { bytes, size, order, fresh, bases: Vec::new() };
        // The block that the chunk before lies in, or is a delta of.
        let mut beside: Option<Base> = None;
        let mut end = 0;
        for length in lengths {
            let at = end..end + length;
            end = at.end;
            let chunk = &plan.bytes[at.clone()];
            let hash = *blake3::hash(chunk).as_bytes();
            if self.coming.contains(&hash) {
                plan.order.push(Found::Coming(hash));
                continue;
            }
            let there = match self.seen.get(&hash) {
                Some(extent) => Some(extent.clone()),
                None => self.find(&hash, length, &mut plan.bases)?,
            };
            if let Some(extent) = there {
                let Extent { block, key, .. } = &extent;
                let is_public = self.maker.near.secret.is_none();
                beside = is_public.then(|| Base { block: *block, key: key.clone(), hundredths: GUESSED });
                plan.order.push(Found::There(extent));
                continue;
            }
            let new = self.examine(hash, chunk, at, beside.take())?;
            beside = new.base.clone().map(|base| Base { hundredths: GUESSED, ..base });
            self.coming.insert(hash);
            plan.order.push(Found::Coming(hash));
            plan.fresh.push(new);
        }
        Ok(plan)
    }

    /// Notes in the manifest where the chunks of the next piece lie.
    pub(super) fn settle(&mut self, made: Made) -> Result<(), WriteError> {
        let Made { order, extents, bases, pins, blocks } = made;
        for (hash, extent) in extents {
            self.coming.remove(&hash);
            self.seen.insert(hash, extent);
        }
        bases.into_iter().for_each(|base| self.blocks.note_base(base));
        self.blocks.pins.extend(pins);
        self.blocks.fresh.extend(blocks);
        // What comes with this piece or came with those before it is among the last that were seen.
        let places = order.into_iter().map(|found| match found {
            Found::There(extent) => Some(extent),
            Found::Coming(hash) => self.seen.get(&hash).cloned(),
        });
        let places = places.collect::<Option<Vec<Extent>>>();
        let places = places.ok_or_else(|| StorageError::Write("a chunk of the body was lost".into()))?;
        for extent in joined(places) {
            self.blocks.note(extent.block, extent.length());
            self.adopt(extent)?;
        }
        Ok(())
    }

    /// Looks a chunk up among the blocks that this author may share.
    fn find(
        &mut self,
        hash: &[u8; 32],
        length: usize,
        bases: &mut Vec<BlockId>,
    ) -> Result<Option<Extent>, WriteError> {
        let Maker { objects, sealing, near, .. } = &*self.maker;
        let store = objects.store();
        let (found, key) = match sealing {
            Sealing::Public => (store.find_chunk(hash)?, None),
            Sealing::Private(convergence) => {
                // Those that tell more than the chunk are found by whoever writes in the same directory.
                let secrets = [Some(&**convergence), near.secret.as_ref()];
                let mut hit = (None, None);
                for secret in secrets.into_iter().flatten() {
                    let Some(found) = store.find_chunk(&secret.tag(hash))? else { continue };
                    let Some(key) = secret.unwrap(hash, &found.extra) else { continue };
                    hit = (Some(found), Some(key));
                    break;
                }
                hit
            }
        };
        let Some(found) = found.filter(|found| found.len as usize == length) else { return Ok(None) };
        self.blocks.pins.push(found.pin);
        if let Some(base) = found.base {
            bases.push(base.block());
            self.blocks.pins.push(base);
        }
        let chunk = ChunkPlace { offset: found.offset, length: found.len, hash: *hash };
        Ok(Some(Extent { block: found.block, key, chunks: vec![chunk] }))
    }

    /// A chunk that is not stored, with what it may be a delta of.
    fn examine(
        &mut self,
        hash: [u8; 32],
        bytes: &[u8],
        at: Range<usize>,
        beside: Option<Base>,
    ) -> Result<Fresh, WriteError> {
        let is_compressible = block::is_compressible(bytes);
        let mut new = Fresh { hash, at, is_compressible, features: Vec::new(), base: None };
        if !is_compressible {
            return Ok(new);
        }
        let Maker { objects, near, .. } = &*self.maker;
        if bytes.len() < FEATURES_FROM_BYTES {
            new.base = beside.or_else(|| {
                let Neighbour { block, key } = objects.neighbours().find(near)?;
                Some(Base { block, key, hundredths: LIKE })
            });
            return Ok(new);
        }
        new.features = features(bytes).iter().map(|feature| near.tag(feature)).collect();
        if let Some(pin) = objects.store().find_most(&new.features, 1)? {
            new.base = self.maker.like(&pin)?;
            self.blocks.pins.extend(new.base.is_some().then_some(pin));
        }
        new.base = new.base.or(beside);
        Ok(new)
    }
}

/// Makes blocks of one body, on as many threads at once as call it.
pub(super) struct Maker {
    pub(super) objects: Objects,
    pub(super) sealing: Sealing,
    pub(super) near: Near,
    /// Bases that were read last, and what they hold.
    bases: Mutex<VecDeque<(BlockId, Bytes)>>,
}

/// A piece whose blocks are being made.
struct Making<'plan> {
    maker: &'plan Maker,
    plan: &'plan Plan,
    made: Made,
}

impl Maker {
    pub(super) fn new(objects: &Objects, sealing: Sealing, near: Near) -> Self {
        Maker { objects: objects.clone(), sealing, near, bases: Mutex::default() }
    }

    /// Makes the blocks of a piece.
    pub(super) fn make(&self, mut plan: Plan) -> Result<Made, WriteError> {
        let (order, bases) = (std::mem::take(&mut plan.order), std::mem::take(&mut plan.bases));
        let made = Made { order, bases, ..Made::default() };
        let mut making = Making { maker: self, plan: &plan, made };
        let extents = making.make(&plan.fresh)?;
        making.made.extents = plan.fresh.iter().map(|new| new.hash).zip(extents).collect();
        Ok(making.made)
    }

    /// The block that has features in common with a chunk, where this author can open it.
    fn like(&self, pin: &Pin) -> Result<Option<Base>, WriteError> {
        let block = pin.block();
        let key = match &self.near.secret {
            None => None,
            Some(secret) => {
                let of = Near::key_of(&block);
                let extra = self.objects.store().extra(&secret.tag(&of))?;
                let Some(key) = extra.and_then(|extra| secret.unwrap(&of, &extra)) else { return Ok(None) };
                Some(key)
            }
        };
        Ok(Some(Base { block, key, hundredths: LIKE }))
    }

    /// What a base holds; nothing if it is gone, or no block that a delta may rest on.
    fn base(&self, base: &Base) -> Option<Bytes> {
        let bases = || self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = bases().iter().find(|(block, _)| *block == base.block).map(|(_, plain)| plain.clone());
        if kept.is_some() {
            return kept;
        }
        let stored = self.objects.store().block(&base.block).ok()?;
        let plain = read::decode(&stored, base.key.as_ref()).ok()?;
        let mut bases = bases();
        bases.push_front((base.block, plain.clone()));
        bases.truncate(BASES_KEPT);
        Some(plain)
    }
}

impl Making<'_> {
    /// Makes blocks of chunks; says where each lies.
    fn make(&mut self, fresh: &[Fresh]) -> Result<Vec<Extent>, WriteError> {
        let mut made: Vec<Option<Extent>> = fresh.iter().map(|_| None).collect();
        let mut alone = Vec::new();
        let mut at = 0;
        while at < fresh.len() {
            let base = fresh[at].base.as_ref();
            let alike =
                |new: &&Fresh| new.base.as_ref().map(|base| base.block) == base.map(|base| base.block);
            let run = first(&fresh[at..], alike);
            let deltas = match base {
                Some(base) => self.delta(&fresh[at..at + run], base)?,
                None => None,
            };
            match deltas {
                Some(extents) => {
                    for (slot, extent) in made[at..].iter_mut().zip(extents) {
                        *slot = Some(extent);
                    }
                }
                None => alone.extend(at..at + run),
            }
            at += run;
        }
        let may_group = self.maker.near.secret.is_none();
        let mut rest = &alone[..];
        while let Some(one) = rest.first() {
            let news: Vec<&Fresh> = rest.iter().map(|at| &fresh[*at]).collect();
            let is_alike = |new: &&&Fresh| new.is_compressible == fresh[*one].is_compressible;
            let count = if may_group { first(&news, is_alike) } else { 1 };
            for (at, extent) in rest[..count].iter().zip(self.whole(&news[..count])?) {
                made[*at] = Some(extent);
            }
            rest = &rest[count..];
        }
        Ok(made.into_iter().flatten().collect())
    }

    /// Stores chunks as one delta, if that is worth it.
    fn delta(&mut self, fresh: &[Fresh], base: &Base) -> Result<Option<Vec<Extent>>, WriteError> {
        let Some(plain) = self.maker.base(base) else { return Ok(None) };
        let content = self.bytes(fresh.iter());
        let hundredths = fresh.iter().filter_map(|new| new.base.as_ref()).map(|base| base.hundredths).max();
        let mut stored = block::delta_header(block::Kind::Delta, &base.block).to_vec();
        stored.reserve(content.len() / 8);
        if let Some(key) = &base.key {
            stored.extend_from_slice(key.expose());
        }
        block::encode_delta_into(&content, &plain, COMPRESSION_LEVEL, &mut stored).map_err(unfit)?;
        let cost = stored.len() + DELTA_COSTS;
        let without = block::encode_body(&content, COMPRESSION_LEVEL).map_err(unfit)?.len();
        if cost * 100 > without * hundredths.unwrap_or(GUESSED) {
            return Ok(None);
        }
        // A pin that was taken before the block was collected keeps it; one that comes too late is none.
        let objects = &self.maker.objects;
        let Some(pin) = objects.store().pin(&base.block)? else { return Ok(None) };
        self.made.pins.push(pin);
        self.made.bases.push(base.block);
        let key = base.key.as_ref().map(|_| BlockKey::generate(objects.random()));
        if let Some(key) = &key {
            seal::seal_delta_in_place(key, &base.block, &mut stored);
        }
        let is_whole = content.len() as u64 == self.plan.size;
        if is_whole && content.len() < FEATURES_FROM_BYTES {
            let neighbour = Neighbour { block: base.block, key: base.key.clone() };
            objects.neighbours().insert(&self.maker.near, neighbour);
        }
        let fresh: Vec<&Fresh> = fresh.iter().collect();
        self.store(stored.into(), key, &fresh, true).map(Some)
    }

    /// Stores chunks in a block of their own.
    fn whole(&mut self, fresh: &[&Fresh]) -> Result<Vec<Extent>, WriteError> {
        let plain = self.bytes(fresh.iter().copied());
        let Maker { objects, sealing, near, .. } = self.maker;
        let (bytes, key) = encode_block(objects, sealing, &plain)?;
        let extents = self.store(bytes, key, fresh, false)?;
        let is_whole = plain.len() as u64 == self.plan.size;
        if is_whole && plain.len() < FEATURES_FROM_BYTES && fresh.iter().all(|new| new.is_compressible) {
            let Extent { block, key, .. } = &extents[0];
            objects.neighbours().insert(near, Neighbour { block: *block, key: key.clone() });
        }
        Ok(extents)
    }

    /// Adds a block of these chunks to those that are to be stored.
    fn store(
        &mut self,
        bytes: Bytes,
        key: Option<BlockKey>,
        fresh: &[&Fresh],
        is_delta: bool,
    ) -> Result<Vec<Extent>, WriteError> {
        let id = BlockId::of(&bytes);
        let (mut tags, mut extents, mut offset) = (Vec::new(), Vec::with_capacity(fresh.len()), 0);
        for new in fresh {
            // Chunks have at most 1 MiB.
            let length = u32::try_from(new.at.len()).unwrap_or(u32::MAX);
            tags.push(self.chunk_tag(&new.hash, key.as_ref(), offset, length, is_delta));
            let chunk = ChunkPlace { offset, length, hash: new.hash };
            extents.push(Extent { block: id, key: key.clone(), chunks: vec![chunk] });
            offset += length;
        }
        if !is_delta {
            self.tag_alike(fresh, &id, key.as_ref(), &mut tags)?;
        }
        // In the order in which a damaged description is put together again.
        tags.sort_by_key(|tag| (tag.offset, tag.tag));
        self.made.blocks.push(NewBlock { id, bytes, tags });
        Ok(extents)
    }

    /// Tags by which what is like these chunks finds their block, and where that is private its key.
    fn tag_alike(
        &self,
        fresh: &[&Fresh],
        id: &BlockId,
        key: Option<&BlockKey>,
        tags: &mut Vec<ChunkTag>,
    ) -> Result<(), WriteError> {
        let mut alike: Vec<Tag> = fresh.iter().flat_map(|new| &new.features).copied().collect();
        alike.sort_unstable();
        alike.dedup();
        for tag in &alike {
            // Of two blocks the one that was first keeps its tags, so that the index still tells what its description said.
            if self.maker.objects.store().extra(tag)?.is_none() {
                tags.push(ChunkTag { tag: *tag, offset: 0, len: 0, extra: Vec::new() });
            }
        }
        if let (false, Some(secret), Some(key)) = (alike.is_empty(), &self.maker.near.secret, key) {
            let of = Near::key_of(id);
            tags.push(ChunkTag {
                tag: secret.tag(&of),
                offset: 0,
                len: 0,
                extra: secret.wrap(&of, key).to_vec(),
            });
        }
        Ok(())
    }

    /// The bytes of chunks that come one after the other; a copy only where others lie between them.
    fn bytes<'new>(&self, fresh: impl Iterator<Item = &'new Fresh> + Clone) -> Bytes {
        let piece = &self.plan.bytes;
        let (mut next, mut is_split) = (None, false);
        for new in fresh.clone() {
            is_split |= next.is_some_and(|next| next != new.at.start);
            next = Some(new.at.end);
        }
        match fresh.clone().next() {
            Some(first) if !is_split => piece.slice(first.at.start..next.unwrap_or(first.at.end)),
            _ => fresh.map(|new| &piece[new.at.clone()]).collect::<Vec<_>>().concat().into(),
        }
    }

    fn chunk_tag(
        &self,
        hash: &[u8; 32],
        key: Option<&BlockKey>,
        offset: u32,
        len: u32,
        is_delta: bool,
    ) -> ChunkTag {
        let (tag, extra) = match (&self.maker.sealing, key) {
            (Sealing::Private(convergence), Some(key)) => {
                let secret = self.maker.near.secret.as_ref().filter(|_| is_delta).unwrap_or(convergence);
                (secret.tag(hash), secret.wrap(hash, key).to_vec())
            }
            _ => (*hash, Vec::new()),
        };
        ChunkTag { tag, offset, len, extra }
    }
}

/// How many of these, the first always among them, are of a kind and fit into one block.
fn first<'new, N: std::borrow::Borrow<Fresh>>(news: &'new [N], is_alike: impl Fn(&&'new N) -> bool) -> usize {
    let mut bytes = 0;
    let fits = |new: &&N| {
        bytes += (**new).borrow().at.len();
        bytes <= GROUP_BYTES
    };
    news.iter().take_while(is_alike).take_while(fits).count().max(1)
}

/// Extents whose chunks follow each other in one block become one.
fn joined(extents: Vec<Extent>) -> Vec<Extent> {
    let mut joined: Vec<Extent> = Vec::new();
    for extent in extents {
        match joined.last_mut() {
            Some(last) if last.block == extent.block && ends_at(last) == starts_at(&extent) => {
                last.chunks.extend(extent.chunks);
            }
            _ => joined.push(extent),
        }
    }
    joined
}

fn starts_at(extent: &Extent) -> Option<u32> {
    extent.chunks.first().map(|chunk| chunk.offset)
}

fn ends_at(extent: &Extent) -> Option<u32> {
    extent.chunks.last().map(|chunk| chunk.offset + chunk.length)
}
