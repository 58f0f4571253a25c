//! Rows of the index: what is known about a key, a block, a tag and a pack, and how that is written down.
//!
//! The index is derived, so this format may change at any time: [`INDEX_FORMAT`] then changes with it and the index is rebuilt.

use crate::{
    frame::{BlockHead, Reader, operation_len, put_len},
    id::BlockId,
};
use bytes::{BufMut, Bytes};

/// Version of everything in this file.
pub(crate) const INDEX_FORMAT: u8 = 5;

/// First byte of the index keys of entries, tombstones, blocks, tags ("chunks"), packs and the mark.
pub(crate) const ENTRY: u8 = b'e';
pub(crate) const TOMBSTONE: u8 = b't';
pub(crate) const BLOCK: u8 = b'b';
pub(crate) const CHUNK: u8 = b'c';
pub(crate) const PACK: u8 = b'p';
pub(crate) const MARK: u8 = b'm';

/// The copies of a key's operations in one location.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copies {
    /// The pack that holds the current operation; 0 when none does.
    pub(crate) pack: u64,
    /// Puts of the key that are in packs but no longer current, or not the copy that counts.
    pub(crate) stale: u32,
}

/// The current operation of a key. `put` is `None` for a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRow {
    pub(crate) sequence: u64,
    pub(crate) index: u32,
    pub(crate) copies: Vec<Copies>,
    pub(crate) put: Option<Put>,
}

/// What a live entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Put {
    pub(crate) references: Vec<BlockId>,
    pub(crate) value: Bytes,
}

impl KeyRow {
    /// The order of operations: with equal keys the higher wins.
    pub(crate) const fn order(&self) -> (u64, u32) {
        (self.sequence, self.index)
    }

    /// Bytes that its operation takes in a description. `key` is without the table.
    pub(crate) fn operation_len(&self, key: usize) -> u64 {
        operation_len(key) + self.put.as_ref().map_or(0, |put| put_len(put.references.len(), put.value.len()))
    }

    /// A tombstone that hides nothing: no put of its key is left in any pack.
    pub(crate) fn is_spent(&self) -> bool {
        self.put.is_none() && self.copies.iter().all(|copies| copies.stale == 0)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.put_u64_le(self.sequence);
        out.put_u32_le(self.index);
        out.put_u8(u8::try_from(self.copies.len()).unwrap_or(u8::MAX));
        for copies in &self.copies {
            out.put_u64_le(copies.pack);
            out.put_u32_le(copies.stale);
        }
        if let Some(put) = &self.put {
            out.put_u16_le(u16::try_from(put.references.len()).unwrap_or(u16::MAX));
            for id in &put.references {
                out.extend_from_slice(id.as_bytes());
            }
            out.extend_from_slice(&put.value);
        }
        out
    }

    pub(crate) fn decode(bytes: &Bytes, is_put: bool) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let (sequence, index, count) = (reader.u64()?, reader.u32()?, reader.u8()?);
        let mut copies = Vec::with_capacity(count.into());
        for _ in 0..count {
            copies.push(Copies { pack: reader.u64()?, stale: reader.u32()? });
        }
        let put = if is_put {
            let count = reader.u16()?;
            let mut references = Vec::with_capacity(count.into());
            for _ in 0..count {
                references.push(BlockId::from_bytes(reader.array()?));
            }
            Some(Put { references, value: reader.rest() })
        } else {
            None
        };
        Some(Self { sequence, index, copies, put })
    }
}

/// Where the bytes of a block lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) location: u8,
    pub(crate) pack: u64,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    /// Bytes that the block takes in its frame's description.
    pub(crate) head: u32,
    /// Bytes of the chunks in it before they were compressed, as its tags say there; 0 where it has none.
    pub(crate) plain: u32,
}

impl Place {
    /// The place of a block that is described so and begins at this offset.
    pub(crate) fn of(head: &BlockHead, location: u8, pack: u64, offset: u64) -> Self {
        let plain = head.tags.iter().fold(0u32, |sum, tag| sum.saturating_add(tag.len));
        Self { location, pack, offset, len: head.len, head: head.encoded_len(), plain }
    }

    /// Where the block ends.
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }

    /// Bytes of the pack that live and die with the block.
    pub(crate) fn weight(&self) -> u64 {
        u64::from(self.len) + u64::from(self.head)
    }
}

/// A block: how often it is referred to and where it lies, in order. In each location the first place is the copy that counts as live there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockRow {
    pub(crate) references: u64,
    pub(crate) is_list: bool,
    /// For a list: what it lists has been counted.
    pub(crate) is_counted: bool,
    /// The frame that made it live, or that ended that. A frame in between two snapshots that both have the block live is never named here unless it was
    /// dead meanwhile; after a rebuild it may be a later one.
    pub(crate) since: u64,
    pub(crate) places: Vec<Place>,
}

/// The copies that count: of places in order, the first in each location.
pub(crate) fn counted(places: &[Place]) -> impl Iterator<Item = Place> {
    let is_first = |at: usize| at == 0 || places[at - 1].location != places[at].location;
    (0..places.len()).filter(move |at| is_first(*at)).map(|at| places[at])
}

impl BlockRow {
    /// Bytes of its chunks before they were compressed. Where no copy says so (it came without tags, or holds no chunk) as many as it takes itself.
    pub(crate) fn plain(&self) -> u64 {
        let known = self.places.iter().map(|place| place.plain).max().filter(|plain| *plain > 0);
        known.map_or(self.compressed(), u64::from)
    }

    /// Bytes that one copy of it takes.
    pub(crate) fn compressed(&self) -> u64 {
        self.places.first().map_or(0, |place| u64::from(place.len))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(18 + 29 * self.places.len());
        out.put_u8(u8::from(self.is_list) | u8::from(self.is_counted) << 1);
        out.put_u64_le(self.references);
        out.put_u64_le(self.since);
        for place in &self.places {
            out.put_u8(place.location);
            out.put_u64_le(place.pack);
            out.put_u64_le(place.offset);
            out.put_u32_le(place.len);
            out.put_u32_le(place.head);
            out.put_u32_le(place.plain);
        }
        out
    }

    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let (flags, references, since) = (reader.u8()?, reader.u64()?, reader.u64()?);
        let mut places = Vec::with_capacity(1);
        while reader.at < bytes.len() {
            let (location, pack, offset) = (reader.u8()?, reader.u64()?, reader.u64()?);
            let (len, head, plain) = (reader.u32()?, reader.u32()?, reader.u32()?);
            places.push(Place { location, pack, offset, len, head, plain });
        }
        Some(Self { references, is_list: flags & 1 != 0, is_counted: flags & 2 != 0, since, places })
    }
}

/// Where the chunk with a tag is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TagRow {
    pub(crate) block: BlockId,
    pub(crate) offset: u32,
    pub(crate) len: u32,
    pub(crate) extra: Vec<u8>,
}

impl TagRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40 + self.extra.len());
        out.extend_from_slice(self.block.as_bytes());
        out.put_u32_le(self.offset);
        out.put_u32_le(self.len);
        out.extend_from_slice(&self.extra);
        out
    }

    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let (block, offset, len) = (BlockId::from_bytes(reader.array()?), reader.u32()?, reader.u32()?);
        Some(Self { block, offset, len, extra: reader.rest().to_vec() })
    }
}

/// What a pack holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackRow {
    /// Where its last frame ends.
    pub(crate) end: u64,
    /// Bytes of blocks that are referred to and of current operations.
    pub(crate) live: u64,
    /// Frames before this offset were compacted: nothing in the index leads there.
    pub(crate) done: u64,
    /// Bytes that its descriptions take less than they have; what lives is counted as it would be with them.
    pub(crate) saved: u64,
}

impl PackRow {
    /// About how many bytes of the pack `counted` are.
    pub(crate) fn on_disk(&self, counted: u64) -> u64 {
        let share = u128::from(counted) * u128::from(self.end) / u128::from((self.end + self.saved).max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.put_u64_le(self.end);
        out.put_u64_le(self.live);
        out.put_u64_le(self.done);
        out.put_u64_le(self.saved);
        out
    }

    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        Some(Self { end: reader.u64()?, live: reader.u64()?, done: reader.u64()?, saved: reader.u64()? })
    }
}

/// The last frame of one location that the index contains, or the header of its first pack when there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The pack; 0 when the location has none.
    pub(crate) pack: u64,
    /// Where the frame starts; 0 when the chain is that of the pack's header.
    pub(crate) start: u64,
    /// Where it ends: the next frame starts here.
    pub(crate) end: u64,
    /// Its sequence number.
    pub(crate) sequence: u64,
    /// Hash of its header.
    pub(crate) chain: [u8; 32],
}

/// How far the index has followed the packs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) store_id: [u8; 16],
    /// The last frame of the store.
    pub(crate) sequence: u64,
    /// Every frame up to this number was synced.
    pub(crate) durable: u64,
    pub(crate) tips: Vec<Tip>,
}

impl Mark {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(34 + 64 * self.tips.len());
        out.put_u8(INDEX_FORMAT);
        out.extend_from_slice(&self.store_id);
        out.put_u64_le(self.sequence);
        out.put_u64_le(self.durable);
        for tip in &self.tips {
            out.put_u64_le(tip.pack);
            out.put_u64_le(tip.start);
            out.put_u64_le(tip.end);
            out.put_u64_le(tip.sequence);
            out.extend_from_slice(&tip.chain);
        }
        out
    }

    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let format = reader.u8()?;
        let (store_id, sequence, durable) = (reader.array()?, reader.u64()?, reader.u64()?);
        let mut tips = Vec::new();
        while reader.at < bytes.len() {
            let (pack, start, end, sequence) = (reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?);
            tips.push(Tip { pack, start, end, sequence, chain: reader.array()? });
        }
        (format == INDEX_FORMAT).then_some(Self { store_id, sequence, durable, tips })
    }
}

/// The index key of an entry or tombstone. `key` begins with the table.
pub(crate) fn prefixed(prefix: u8, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(prefix);
    out.extend_from_slice(key);
    out
}

/// The index key of a pack.
pub(crate) fn pack_key(location: u8, number: u64) -> [u8; 10] {
    let mut key = [PACK, location, 0, 0, 0, 0, 0, 0, 0, 0];
    key[2..].copy_from_slice(&number.to_be_bytes());
    key
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{INDEX_FORMAT, Mark, Tip};

    #[test]
    fn a_mark_of_an_earlier_format_is_none_so_that_its_index_is_built_anew() {
        for locations in [1, 2] {
            let mark =
                Mark { store_id: [7; 16], sequence: 9, durable: 8, tips: vec![Tip::default(); locations] };
            let mut bytes = mark.encode();
            assert_eq!(Mark::decode(&bytes.clone().into()), Some(mark));
            for format in 0..INDEX_FORMAT {
                bytes[0] = format;
                assert_eq!(Mark::decode(&bytes.clone().into()), None, "{format}");
            }
        }
    }
}
