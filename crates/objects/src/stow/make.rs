//! Chunks on their way into blocks: found, or stored as deltas of what is like them, or in groups.
//!
//! Chunks are worked on as many at a time as a piece of the body has. Those that follow each other and are like the same block become one delta; the rest
//! of public chunks are grouped, so that they compress better and take fewer descriptions. Private chunks that others may find by their content stand alone:
//! who may open a block sees all of it (`docs/security.md`).

use super::{COMPRESSION_LEVEL, Sealing, Worker, encode_block, unfit};
use crate::{
    error::WriteError,
    manifest::{ChunkPlace, Extent},
    read,
    seal::{self, BlockKey},
    similar::{FEATURES_FROM_BYTES, Near, Neighbour, features},
};
use bytes::Bytes;
use jsfs_store::{BlockId, ChunkTag, NewBlock, Pin, Tag, block};
use std::collections::HashMap;

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

/// A chunk that is not stored yet.
struct Fresh<'chunk> {
    hash: [u8; 32],
    bytes: &'chunk [u8],
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

/// Where a chunk of the piece lies.
enum Found {
    There(Extent),
    /// The chunk with this number among those that are not stored yet.
    Fresh(usize),
}

impl Worker {
    /// Finds or makes the blocks of chunks that follow each other, and notes them in the manifest.
    pub(crate) fn place(&mut self, chunks: &[Bytes]) -> Result<(), WriteError> {
        let (mut found, mut fresh) = (Vec::with_capacity(chunks.len()), Vec::<Fresh<'_>>::new());
        let mut coming: HashMap<[u8; 32], usize> = HashMap::new();
        // The block that the chunk before lies in, or is a delta of.
        let mut beside: Option<Base> = None;
        for chunk in chunks {
            let hash = *blake3::hash(chunk).as_bytes();
            if let Some(at) = coming.get(&hash) {
                found.push(Found::Fresh(*at));
                continue;
            }
            let there = match self.seen.get(&hash) {
                Some(extent) => Some(extent.clone()),
                None => self.find(&hash, chunk.len())?,
            };
            if let Some(extent) = there {
                let Extent { block, key, .. } = &extent;
                beside = self.near.secret.is_none().then(|| Base {
                    block: *block,
                    key: key.clone(),
                    hundredths: GUESSED,
                });
                found.push(Found::There(extent));
                continue;
            }
            let new = self.examine(hash, chunk, beside.take())?;
            beside = new.base.clone().map(|base| Base { hundredths: GUESSED, ..base });
            coming.insert(hash, fresh.len());
            found.push(Found::Fresh(fresh.len()));
            fresh.push(new);
        }
        let made = self.make(&fresh)?;
        for (hash, at) in coming {
            self.seen.insert(hash, made[at].clone());
        }
        let extents = found.into_iter().map(|found| match found {
            Found::There(extent) => extent,
            Found::Fresh(at) => made[at].clone(),
        });
        for extent in joined(extents) {
            self.blocks.note(extent.block, extent.length());
            self.adopt(extent)?;
        }
        Ok(())
    }

    /// Looks a chunk up among the blocks that this author may share.
    fn find(&mut self, hash: &[u8; 32], length: usize) -> Result<Option<Extent>, WriteError> {
        let store = self.objects.store();
        let (found, key) = match &self.sealing {
            Sealing::Public => (store.find_chunk(hash)?, None),
            Sealing::Private(convergence) => {
                // Those that tell more than the chunk are found by whoever writes in the same directory.
                let secrets = [Some(&**convergence), self.near.secret.as_ref()];
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
            self.blocks.note_base(base.block());
            self.blocks.pins.push(base);
        }
        let chunk = ChunkPlace { offset: found.offset, length: found.len, hash: *hash };
        Ok(Some(Extent { block: found.block, key, chunks: vec![chunk] }))
    }

    /// A chunk that is not stored, with what it may be a delta of.
    fn examine<'chunk>(
        &mut self,
        hash: [u8; 32],
        bytes: &'chunk [u8],
        beside: Option<Base>,
    ) -> Result<Fresh<'chunk>, WriteError> {
        let is_compressible = block::is_compressible(bytes);
        let mut new = Fresh { hash, bytes, is_compressible, features: Vec::new(), base: None };
        if !is_compressible {
            return Ok(new);
        }
        if bytes.len() < FEATURES_FROM_BYTES {
            new.base = beside.or_else(|| {
                let Neighbour { block, key } = self.objects.neighbours().find(&self.near)?;
                Some(Base { block, key, hundredths: LIKE })
            });
            return Ok(new);
        }
        new.features = features(bytes).iter().map(|feature| self.near.tag(feature)).collect();
        new.base = match self.objects.store().find_most(&new.features, 1)? {
            Some(pin) => self.like(pin)?,
            None => None,
        };
        new.base = new.base.or(beside);
        Ok(new)
    }

    /// The block that has features in common with a chunk, where this author can open it.
    fn like(&mut self, pin: Pin) -> Result<Option<Base>, WriteError> {
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
        self.blocks.pins.push(pin);
        Ok(Some(Base { block, key, hundredths: LIKE }))
    }

    /// Makes blocks of chunks; says where each lies.
    fn make(&mut self, fresh: &[Fresh<'_>]) -> Result<Vec<Extent>, WriteError> {
        let mut made: Vec<Option<Extent>> = fresh.iter().map(|_| None).collect();
        let mut alone = Vec::new();
        let mut at = 0;
        while at < fresh.len() {
            let base = fresh[at].base.as_ref();
            let alike =
                |new: &&Fresh<'_>| new.base.as_ref().map(|base| base.block) == base.map(|base| base.block);
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
        let may_group = self.near.secret.is_none();
        let mut rest = &alone[..];
        while let Some(one) = rest.first() {
            let news: Vec<&Fresh<'_>> = rest.iter().map(|at| &fresh[*at]).collect();
            let is_alike = |new: &&&Fresh<'_>| new.is_compressible == fresh[*one].is_compressible;
            let count = if may_group { first(&news, is_alike) } else { 1 };
            for (at, extent) in rest[..count].iter().zip(self.whole(&news[..count])?) {
                made[*at] = Some(extent);
            }
            rest = &rest[count..];
        }
        Ok(made.into_iter().flatten().collect())
    }

    /// Stores chunks as one delta, if that is worth it.
    fn delta(&mut self, fresh: &[Fresh<'_>], base: &Base) -> Result<Option<Vec<Extent>>, WriteError> {
        let Some(plain) = self.base(base) else { return Ok(None) };
        let content = joined_bytes(fresh.iter());
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
        let Some(pin) = self.objects.store().pin(&base.block)? else { return Ok(None) };
        self.blocks.pins.push(pin);
        self.blocks.note_base(base.block);
        let key = base.key.as_ref().map(|_| BlockKey::generate(self.objects.random()));
        if let Some(key) = &key {
            seal::seal_delta_in_place(key, &base.block, &mut stored);
        }
        let is_whole = content.len() as u64 == self.size;
        if is_whole && content.len() < FEATURES_FROM_BYTES {
            self.objects
                .neighbours()
                .insert(&self.near, Neighbour { block: base.block, key: base.key.clone() });
        }
        let fresh: Vec<&Fresh<'_>> = fresh.iter().collect();
        self.store(stored.into(), key, &fresh, true).map(Some)
    }

    /// What a base holds; nothing if it is gone, or no block that a delta may rest on.
    fn base(&mut self, base: &Base) -> Option<Bytes> {
        if let Some((_, plain)) = self.bases.iter().find(|(block, _)| *block == base.block) {
            return Some(plain.clone());
        }
        let stored = self.objects.store().block(&base.block).ok()?;
        let plain = read::decode(&stored, base.key.as_ref()).ok()?;
        self.bases.push_front((base.block, plain.clone()));
        self.bases.truncate(BASES_KEPT);
        Some(plain)
    }

    /// Stores chunks in a block of their own.
    fn whole(&mut self, fresh: &[&Fresh<'_>]) -> Result<Vec<Extent>, WriteError> {
        let content;
        let plain = match fresh {
            [one] => one.bytes,
            many => {
                content = joined_bytes(many.iter().copied());
                &content
            }
        };
        let (bytes, key) = encode_block(&self.objects, &self.sealing, plain)?;
        let extents = self.store(bytes, key, fresh, false)?;
        let is_whole = plain.len() as u64 == self.size;
        if is_whole && plain.len() < FEATURES_FROM_BYTES && fresh.iter().all(|new| new.is_compressible) {
            let Extent { block, key, .. } = &extents[0];
            self.objects.neighbours().insert(&self.near, Neighbour { block: *block, key: key.clone() });
        }
        Ok(extents)
    }

    /// Adds a block of these chunks to those that are to be stored.
    fn store(
        &mut self,
        bytes: Bytes,
        key: Option<BlockKey>,
        fresh: &[&Fresh<'_>],
        is_delta: bool,
    ) -> Result<Vec<Extent>, WriteError> {
        let id = BlockId::of(&bytes);
        let (mut tags, mut extents, mut offset) = (Vec::new(), Vec::with_capacity(fresh.len()), 0);
        for new in fresh {
            // Chunks have at most 1 MiB.
            let length = u32::try_from(new.bytes.len()).unwrap_or(u32::MAX);
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
        self.blocks.fresh.push(NewBlock { id, bytes, tags });
        Ok(extents)
    }

    /// Tags by which what is like these chunks finds their block, and where that is private its key.
    fn tag_alike(
        &self,
        fresh: &[&Fresh<'_>],
        id: &BlockId,
        key: Option<&BlockKey>,
        tags: &mut Vec<ChunkTag>,
    ) -> Result<(), WriteError> {
        let mut alike: Vec<Tag> = fresh.iter().flat_map(|new| &new.features).copied().collect();
        alike.sort_unstable();
        alike.dedup();
        for tag in &alike {
            // Of two blocks the one that was first keeps its tags, so that the index still tells what its description said.
            if self.objects.store().extra(tag)?.is_none() {
                tags.push(ChunkTag { tag: *tag, offset: 0, len: 0, extra: Vec::new() });
            }
        }
        if let (false, Some(secret), Some(key)) = (alike.is_empty(), &self.near.secret, key) {
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

    fn chunk_tag(
        &self,
        hash: &[u8; 32],
        key: Option<&BlockKey>,
        offset: u32,
        len: u32,
        is_delta: bool,
    ) -> ChunkTag {
        let (tag, extra) = match (&self.sealing, key) {
            (Sealing::Private(convergence), Some(key)) => {
                let secret = self.near.secret.as_ref().filter(|_| is_delta).unwrap_or(convergence);
                (secret.tag(hash), secret.wrap(hash, key).to_vec())
            }
            _ => (*hash, Vec::new()),
        };
        ChunkTag { tag, offset, len, extra }
    }
}

/// The bytes of chunks that follow each other.
fn joined_bytes<'new>(fresh: impl Iterator<Item = &'new Fresh<'new>>) -> Vec<u8> {
    fresh.map(|new| new.bytes).collect::<Vec<_>>().concat()
}

/// How many of these, the first always among them, are of a kind and fit into one block.
fn first<'new, N>(news: &'new [N], is_alike: impl Fn(&&'new N) -> bool) -> usize
where
    N: std::borrow::Borrow<Fresh<'new>>,
{
    let mut bytes = 0;
    let fits = |new: &&N| {
        bytes += (**new).borrow().bytes.len();
        bytes <= GROUP_BYTES
    };
    news.iter().take_while(is_alike).take_while(fits).count().max(1)
}

/// Extents whose chunks follow each other in one block become one.
fn joined(extents: impl Iterator<Item = Extent>) -> Vec<Extent> {
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
