//! The reading end: open packs, verified blocks, and rows that are written but not yet in the index.
//!
//! Readers never wait for the committer. A reader looks at the pending rows first and at the index second; the committer fills the index first and
//! clears the pending rows second, so nothing is ever in neither. When compaction removes a pack between look-up and read, the look-up is repeated.

use crate::{
    backend::{Backend, PackFile},
    block::base_of,
    buffers::{BLOCKS, Lent},
    error::ReadError,
    health::Met,
    id::{BlockId, Tag},
    index::{Index, IndexError},
    keeping::{Keeping, Role},
    pins::{Pin, Pins},
    rows::{BlockRow, Place, TagRow},
    sync::{hold, own, share},
    view::list_ids,
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, RwLock},
};

/// Most packs that are kept open for reading.
const OPEN_MAX: usize = 96;
/// Half of the ids that are remembered as verified by this process.
const VERIFIED_HALF: usize = 32_768;
/// How often a look-up is repeated when compaction was faster.
const TRIES: usize = 4;

impl From<IndexError> for ReadError {
    fn from(error: IndexError) -> Self {
        Self::Index(error.0)
    }
}

/// A chunk that is stored already.
#[derive(Clone, Debug)]
pub struct FoundChunk {
    /// The block that has it.
    pub block: BlockId,
    /// Where it begins in the block's plaintext.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
    /// What the caller stored with the tag.
    pub extra: Vec<u8>,
    /// Keeps the block until a commit refers to it.
    pub pin: Pin,
    /// Where the block is a delta: keeps its base, to which the commit must refer as well.
    pub base: Option<Pin>,
}

/// Everything that reading needs.
pub(crate) struct Reading {
    pub(crate) locations: Vec<Arc<dyn Backend>>,
    pub(crate) index: Index,
    pub(crate) pins: Arc<Pins>,
    pub(crate) verified: Verified,
    pub(crate) damage: Met,
    pub(crate) keeping: Keeping,
    pending: RwLock<Pending>,
    open: Mutex<OpenPacks>,
}

/// Blocks and tags of data frames that no sync has covered yet.
#[derive(Default)]
struct Pending {
    blocks: HashMap<BlockId, BlockRow>,
    tags: HashMap<Tag, TagRow>,
}

#[derive(Default)]
struct OpenPacks {
    packs: HashMap<(u8, u64), (Arc<dyn PackFile>, u64)>,
    clock: u64,
}

impl Reading {
    pub(crate) fn new(locations: Vec<Arc<dyn Backend>>, index: Index) -> Self {
        let keeping = Keeping::new(1, vec![Role::Active; locations.len()]);
        Self {
            keeping,
            locations,
            index,
            pins: Arc::default(),
            verified: Verified::default(),
            damage: Met::default(),
            pending: RwLock::default(),
            open: Mutex::default(),
        }
    }

    /// Lets readers see these rows before they are in the index.
    pub(crate) fn publish(&self, blocks: Vec<(BlockId, BlockRow)>, tags: Vec<(Tag, TagRow)>) {
        let mut pending = own(&self.pending);
        pending.blocks.extend(blocks);
        pending.tags.extend(tags);
    }

    /// The pending rows are in the index, or were taken back.
    pub(crate) fn clear_pending(&self) {
        *own(&self.pending) = Pending::default();
    }

    pub(crate) fn row(&self, id: &BlockId) -> Result<Option<BlockRow>, IndexError> {
        let pending = share(&self.pending).blocks.get(id).cloned();
        match pending {
            Some(row) => Ok(Some(row)),
            None => self.index.block(id),
        }
    }

    /// The stored bytes of a block, verified.
    pub(crate) fn block(&self, id: &BlockId) -> Result<Bytes, ReadError> {
        for _ in 0..TRIES {
            let row = self.row(id)?.filter(|row| !row.places.is_empty()).ok_or(ReadError::NotFound(*id))?;
            match self.block_at(id, &row.places) {
                Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                result => return result,
            }
        }
        let row = self.row(id)?.ok_or(ReadError::NotFound(*id))?;
        self.block_at(id, &row.places).inspect_err(|error| {
            // No compaction is as fast as that: the pack is gone.
            if matches!(error, ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound) {
                tracing::error!(%error, "a block's pack is missing");
                self.damage.note(error);
            }
        })
    }

    /// As [`Reading::block`], from these places: the first whose bytes are right.
    pub(crate) fn block_at(&self, id: &BlockId, places: &[Place]) -> Result<Bytes, ReadError> {
        let mut failure = ReadError::NotFound(*id);
        for place in places {
            match self.read_place(place) {
                Ok(bytes) if BlockId::of(&bytes) == *id => {
                    self.verified.insert(*id, base_of(&bytes));
                    return Ok(bytes);
                }
                Ok(_) => {
                    self.verified.remove(id);
                    failure = ReadError::Damaged { id: *id, at: self.describe(place) };
                    tracing::error!(error = %failure, "a block is damaged");
                    self.damage.note(&failure);
                }
                Err(source) => {
                    // Not found is told by whoever looks again: compaction may have moved it.
                    // That a location is missing was told at the start.
                    let is_failure =
                        !matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotConnected);
                    failure = ReadError::Io { at: self.describe(place), source };
                    if is_failure {
                        tracing::error!(error = %failure, "a block cannot be read here");
                        self.damage.note(&failure);
                    }
                }
            }
        }
        Err(failure)
    }

    /// The stored bytes if no disk needs to be waited for.
    pub(crate) fn block_now(&self, id: &BlockId) -> Result<Option<Bytes>, ReadError> {
        // Whatever is wrong, the waiting way finds out.
        Ok(self.unverified_now(id)?.filter(|bytes| BlockId::of(bytes) == *id).map(Bytes::from))
    }

    /// What lies where the block should, if no disk needs to be waited for.
    pub(crate) fn unverified_now(&self, id: &BlockId) -> Result<Option<Lent>, ReadError> {
        let row = self.row(id)?.filter(|row| !row.places.is_empty()).ok_or(ReadError::NotFound(*id))?;
        let place = row.places[0];
        let key = (place.location, place.pack);
        let Some(file) = hold(&self.open).get(key) else { return Ok(None) };
        let mut bytes = BLOCKS.stale(place.len as usize);
        match file.read_now_at(&mut bytes, place.offset) {
            Ok(Some(count)) if count == bytes.len() => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }

    fn read_place(&self, place: &Place) -> io::Result<Bytes> {
        let file = self.pack(place.location, place.pack)?;
        let mut bytes = BLOCKS.stale(place.len as usize);
        if file.read_at(&mut bytes, place.offset)? < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes.into())
    }

    /// An open pack.
    pub(crate) fn pack(&self, location: u8, number: u64) -> io::Result<Arc<dyn PackFile>> {
        let key = (location, number);
        if let Some(file) = hold(&self.open).get(key) {
            return Ok(file);
        }
        let backend = self.locations.get(usize::from(location)).ok_or(io::ErrorKind::NotFound)?;
        let file = backend.open_pack(number)?;
        hold(&self.open).insert(key, file.clone());
        Ok(file)
    }

    /// Lets go of a pack that was removed. Whoever reads from it now goes on.
    pub(crate) fn forget_pack(&self, location: u8, number: u64) {
        hold(&self.open).packs.remove(&(location, number));
    }

    /// Lets go of all packs of a location that was moved.
    pub(crate) fn forget_location(&self, location: u8) {
        hold(&self.open).packs.retain(|(at, _), _| *at != location);
    }

    /// Looks a tag up. A hit was verified by this process, and is pinned, with what it is a delta of.
    pub(crate) fn find_chunk(&self, tag: &Tag) -> Result<Option<FoundChunk>, ReadError> {
        let Some(row) = self.tag(tag)? else { return Ok(None) };
        let Some(pin) = self.pin_sound(&row.block)? else { return Ok(None) };
        let base = match self.verified.base(&row.block) {
            None => return Ok(None),
            Some(None) => None,
            Some(Some(base)) => match self.pin_sound(&base)? {
                Some(pin) => Some(pin),
                None => return Ok(None),
            },
        };
        let TagRow { block, offset, len, extra } = row;
        Ok(Some(FoundChunk { block, offset, len, extra, pin, base }))
    }

    /// The block that most of these tags lead to, pinned, if so many do as are asked for; of equals that of the first.
    pub(crate) fn find_most(&self, tags: &[Tag], least: usize) -> Result<Option<Pin>, ReadError> {
        let mut votes: Vec<(BlockId, usize)> = Vec::new();
        for tag in tags {
            let Some(row) = self.tag(tag)? else { continue };
            match votes.iter_mut().find(|(block, _)| *block == row.block) {
                Some((_, count)) => *count += 1,
                None => votes.push((row.block, 1)),
            }
        }
        // The last of the greatest is what `max_by_key` gives.
        let most = votes.into_iter().rev().max_by_key(|(_, count)| *count);
        match most.filter(|(_, count)| *count >= least) {
            Some((block, _)) => self.pin_sound(&block),
            None => Ok(None),
        }
    }

    /// What is stored with a tag.
    pub(crate) fn extra(&self, tag: &Tag) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.tag(tag)?.map(|row| row.extra))
    }

    fn tag(&self, tag: &Tag) -> Result<Option<TagRow>, IndexError> {
        let pending = share(&self.pending).tags.get(tag).cloned();
        match pending {
            Some(row) => Ok(Some(row)),
            None => self.index.tag(tag),
        }
    }

    /// Pins a block that has all its copies and that this process has verified; else none.
    fn pin_sound(&self, id: &BlockId) -> Result<Option<Pin>, ReadError> {
        let Some(pin) = self.pins.pin(*id) else { return Ok(None) };
        // Only now: a block that is found from here on stays.
        let places = self.row(id)?.map_or_else(Vec::new, |row| row.places);
        // One with fewer copies than it is to have is stored afresh, which adds them.
        if places.is_empty() || !self.keeping.is_enough(&places) {
            return Ok(None);
        }
        if !self.verified.contains(id) {
            match self.block(id) {
                Ok(_) => {}
                // A hit must not inherit damage: the caller stores the chunk afresh.
                Err(ReadError::Damaged { .. } | ReadError::NotFound(_) | ReadError::Io { .. }) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(pin))
    }

    /// The ids in a list block that is in a pack.
    pub(crate) fn read_list(&self, id: &BlockId, row: &BlockRow) -> Option<Vec<BlockId>> {
        let bytes = self.block_at(id, &row.places);
        let bytes = bytes.inspect_err(
            |error| tracing::error!(%error, "a list block cannot be read; what it lists is kept"),
        );
        list_ids(&bytes.ok()?)
    }

    pub(crate) fn describe(&self, place: &Place) -> String {
        describe_at(&self.locations, place.location, place.pack, place.offset)
    }
}

/// How a place in a pack is named for people.
pub(crate) fn describe_at(locations: &[Arc<dyn Backend>], location: u8, pack: u64, offset: u64) -> String {
    let place = locations.get(usize::from(location)).map_or_else(String::new, |backend| backend.describe());
    format!("{place}/packs/{} at offset {offset}", crate::backend::pack_name(pack))
}

impl OpenPacks {
    fn get(&mut self, key: (u8, u64)) -> Option<Arc<dyn PackFile>> {
        self.clock += 1;
        let (file, used) = self.packs.get_mut(&key)?;
        *used = self.clock;
        Some(file.clone())
    }

    fn insert(&mut self, key: (u8, u64), file: Arc<dyn PackFile>) {
        if self.packs.len() >= OPEN_MAX {
            let oldest = self.packs.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            oldest.and_then(|key| self.packs.remove(&key));
        }
        self.packs.insert(key, (file, self.clock));
    }
}

/// A bounded memory of blocks whose bytes this process has hashed, and of what they are deltas of: two generations, of which the older is forgotten when
/// the younger is full.
#[derive(Default)]
pub(crate) struct Verified(Mutex<[HashMap<BlockId, Option<BlockId>>; 2]>);

impl Verified {
    pub(crate) fn insert(&self, id: BlockId, base: Option<BlockId>) {
        let mut generations = hold(&self.0);
        generations[0].insert(id, base);
        if generations[0].len() >= VERIFIED_HALF {
            generations[1] = std::mem::take(&mut generations[0]);
        }
    }

    pub(crate) fn contains(&self, id: &BlockId) -> bool {
        self.base(id).is_some()
    }

    /// What a block that was verified is a delta of.
    pub(crate) fn base(&self, id: &BlockId) -> Option<Option<BlockId>> {
        hold(&self.0).iter().find_map(|generation| generation.get(id)).copied()
    }

    pub(crate) fn remove(&self, id: &BlockId) {
        for generation in hold(&self.0).iter_mut() {
            generation.remove(id);
        }
    }
}
