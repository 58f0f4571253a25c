//! The bytes of pack headers, frame headers and descriptions (`docs/storage.md`). Pure encoding and decoding; nothing here reads a file.
//!
//! Every decoder takes bytes that anyone may have damaged: it checks every length before it trusts it, and never allocates more than it was given.

use crate::{
    id::{BlockId, Table, Tag},
    params::{Chunking, Parameters},
};
use bytes::Bytes;

/// Bytes of a pack header.
pub(crate) const PACK_HEADER: u64 = 128;
/// Bytes of a frame header.
pub(crate) const FRAME_HEADER: u64 = 128;
/// Bytes of a commit without blocks and operations, and of its description.
pub(crate) const EMPTY_FRAME: u64 = FRAME_HEADER + EMPTY_DESCRIPTION as u64;
const EMPTY_DESCRIPTION: u32 = 8;
/// The magic at the beginning of each frame.
pub(crate) const FRAME_MAGIC: &[u8; 8] = b"JSFSFRM1";
/// The format of packs that this program writes, and the newest that it reads.
pub(crate) const PACK_FORMAT: u32 = 1;
/// Longest key, in bytes.
pub const KEY_MAX: usize = 8_192;
/// Longest value, in bytes.
pub const VALUE_MAX: usize = 1 << 20;
/// Most references of one entry.
pub const REFERENCES_MAX: usize = 2_048;
/// Longest stored form of a block, in bytes.
pub const BLOCK_MAX: usize = (1 << 20) + 1_024;
/// Longest description, in bytes.
pub(crate) const DESCRIPTION_MAX: usize = 64 << 20;
/// Descriptions shorter than this are stored as they are: those of a few operations on small entries.
const PACKED_FROM: usize = 512;
/// The level at which descriptions are compressed: every commit waits for it.
const PACKED_LEVEL: i32 = 1;
/// Longest payload that a reader accepts, in bytes.
pub(crate) const PAYLOAD_MAX: u64 = 256 << 20;

const PACK_MAGIC: &[u8; 8] = b"JSFSPACK";

/// The next multiple of eight: where a frame may start.
pub(crate) const fn align(offset: u64) -> u64 {
    offset.next_multiple_of(8)
}

/// What a pack says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackHeader {
    pub(crate) location: u32,
    pub(crate) store_id: [u8; 16],
    pub(crate) number: u64,
    /// Sequence number of the last frame written to this location before this pack.
    pub(crate) before: u64,
    pub(crate) chunking: Chunking,
}

/// Why a pack header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadPackHeader {
    /// Not all of it is there, or its hash is wrong.
    NotWhole,
    /// A later version wrote it.
    Newer(u32),
}

impl PackHeader {
    pub(crate) fn encode(&self) -> [u8; 128] {
        let mut bytes = [0; 128];
        bytes[0..8].copy_from_slice(PACK_MAGIC);
        bytes[8..12].copy_from_slice(&PACK_FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.location.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.store_id);
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.before.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.chunking.min.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.chunking.avg.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.chunking.max.to_le_bytes());
        let hash = blake3::hash(&bytes[..96]);
        bytes[96..].copy_from_slice(hash.as_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadPackHeader> {
        if bytes.len() != 128
            || &bytes[..8] != PACK_MAGIC
            || blake3::hash(&bytes[..96]).as_bytes() != &bytes[96..]
        {
            return Err(BadPackHeader::NotWhole);
        }
        let format = le32(&bytes[8..]);
        if format > PACK_FORMAT {
            return Err(BadPackHeader::Newer(format));
        }
        let mut store_id = [0; 16];
        store_id.copy_from_slice(&bytes[16..32]);
        Ok(Self {
            location: le32(&bytes[12..]),
            store_id,
            number: le64(&bytes[32..]),
            before: le64(&bytes[40..]),
            chunking: Chunking { min: le32(&bytes[48..]), avg: le32(&bytes[52..]), max: le32(&bytes[56..]) },
        })
    }

    /// Whether it names this store and place.
    pub(crate) fn belongs(&self, parameters: &Parameters, number: u64) -> bool {
        self.store_id == parameters.store_id && self.location == parameters.location && self.number == number
    }
}

/// Why a frame was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Blocks of an upload that is under way.
    Data = 1,
    /// Operations, with the last blocks that they need.
    Commit = 2,
    /// What compaction carried over.
    Moved = 3,
}

/// The 128 bytes before a frame's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: Kind,
    pub(crate) sequence: u64,
    pub(crate) durable: u64,
    /// Bytes of the description as it is stored.
    pub(crate) description: u32,
    /// Bytes of the description, where it is stored as a zstd frame; else 0.
    pub(crate) unpacked: u32,
    pub(crate) payload: u64,
    pub(crate) before: u64,
    pub(crate) chain: [u8; 32],
}

impl FrameHeader {
    /// The header's bytes; its hash covers the store's id and the description too.
    pub(crate) fn encode(&self, store_id: &[u8; 16], description: &[u8]) -> [u8; 128] {
        let mut bytes = [0; 128];
        bytes[0..8].copy_from_slice(FRAME_MAGIC);
        bytes[8] = self.kind as u8;
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.description.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.unpacked.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.payload.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.before.to_le_bytes());
        bytes[64..96].copy_from_slice(&self.chain);
        let hash = frame_hash(store_id, &bytes[..96], description);
        bytes[96..].copy_from_slice(&hash);
        bytes
    }

    /// Reads the fields without checking the hash, which needs the description: see [`FrameHeader::verify`].
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 128 || &bytes[..8] != FRAME_MAGIC {
            return None;
        }
        let zero = |range: std::ops::Range<usize>| bytes[range].iter().all(|byte| *byte == 0);
        if !zero(9..16) || !zero(48..56) {
            return None;
        }
        let kind = match bytes[8] {
            1 => Kind::Data,
            2 => Kind::Commit,
            3 => Kind::Moved,
            _ => return None,
        };
        let mut chain = [0; 32];
        chain.copy_from_slice(&bytes[64..96]);
        let header = Self {
            kind,
            sequence: le64(&bytes[16..]),
            durable: le64(&bytes[24..]),
            description: le32(&bytes[32..]),
            unpacked: le32(&bytes[36..]),
            payload: le64(&bytes[40..]),
            before: le64(&bytes[56..]),
            chain,
        };
        let longest = header.description.max(header.unpacked) as usize;
        (longest <= DESCRIPTION_MAX && header.payload <= PAYLOAD_MAX).then_some(header)
    }

    /// Bytes that the description takes less than it has.
    pub(crate) const fn saved(&self) -> u64 {
        self.unpacked.saturating_sub(self.description) as u64
    }

    /// Whether these header bytes and this description are what was written.
    pub(crate) fn verify(bytes: &[u8], store_id: &[u8; 16], description: &[u8]) -> bool {
        bytes.len() == 128 && frame_hash(store_id, &bytes[..96], description) == bytes[96..]
    }

    /// Whether it changes nothing: it only says what was synced before it.
    pub(crate) fn is_empty(&self) -> bool {
        self.kind == Kind::Commit && self.description == EMPTY_DESCRIPTION && self.payload == 0
    }

    /// Bytes of the whole frame, with the gap after it.
    pub(crate) fn frame_length(&self) -> u64 {
        align(FRAME_HEADER + u64::from(self.description) + self.payload)
    }
}

/// A description as it is stored, and how long it is if that is not as it is: what it says twice or more often is stored once.
pub(crate) fn pack_description(encoded: Vec<u8>) -> (Vec<u8>, u32) {
    let mut packed = Vec::with_capacity(encoded.len());
    let is_worth_it =
        encoded.len() >= PACKED_FROM && crate::block::compress(&encoded, PACKED_LEVEL, &mut packed);
    match u32::try_from(encoded.len()) {
        Ok(length) if is_worth_it => (packed, length),
        _ => (encoded, 0),
    }
}

/// A description that was stored so. Never allocates more than the length that is stated.
pub(crate) fn unpack_description(stored: Bytes, unpacked: u32) -> Option<Bytes> {
    if unpacked == 0 {
        return Some(stored);
    }
    crate::block::decompress(&stored, unpacked as usize).ok()
}

fn frame_hash(store_id: &[u8; 16], header: &[u8], description: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(store_id).update(header).update(description);
    *hasher.finalize().as_bytes()
}

/// A chunk in a block, as deduplication knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkTag {
    /// What is looked up.
    pub tag: Tag,
    /// Where the chunk begins in the block's plaintext.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
    /// Up to 255 bytes for the caller: the wrapped key of a private block.
    pub extra: Vec<u8>,
}

/// What a description says about one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockHead {
    pub(crate) id: BlockId,
    pub(crate) len: u32,
    pub(crate) tags: Vec<ChunkTag>,
}

impl BlockHead {
    /// Bytes that it takes in a description.
    pub(crate) fn encoded_len(&self) -> u32 {
        head_len(&self.tags)
    }
}

/// Bytes that a block with these tags takes in a description.
pub(crate) fn head_len(tags: &[ChunkTag]) -> u32 {
    let tags: usize = tags.iter().map(|tag| 41 + tag.extra.len()).sum();
    u32::try_from(38 + tags).unwrap_or(u32::MAX)
}

/// A put or a delete, with the place in the order of all operations that it had when it was first written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) sequence: u64,
    pub(crate) index: u32,
    pub(crate) table: Table,
    pub(crate) key: Bytes,
    pub(crate) change: Change,
}

/// What an operation does to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Put { references: Vec<BlockId>, value: Bytes },
    Delete,
}

impl Operation {
    /// Bytes that it takes in a description.
    pub(crate) fn encoded_len(&self) -> u64 {
        let change = match &self.change {
            Change::Put { references, value } => put_len(references.len(), value.len()),
            Change::Delete => 0,
        };
        operation_len(self.key.len()) + change
    }
}

/// Bytes of an operation without what a put adds.
pub(crate) const fn operation_len(key: usize) -> u64 {
    16 + key as u64
}

/// Bytes that a put adds to its operation.
pub(crate) const fn put_len(references: usize, value: usize) -> u64 {
    2 + 32 * references as u64 + 4 + value as u64
}

/// The part of a frame between header and payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) blocks: Vec<BlockHead>,
    pub(crate) operations: Vec<Operation>,
}

impl Description {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        push32(&mut out, self.blocks.len());
        for block in &self.blocks {
            encode_head(&mut out, block);
        }
        push32(&mut out, self.operations.len());
        for operation in &self.operations {
            encode_operation(&mut out, operation);
        }
        out
    }

    /// Parses a description whose hash was checked. The byte strings are slices of `bytes`.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let mut description = Self::default();
        for _ in 0..reader.u32()? {
            description.blocks.push(decode_head(&mut reader)?);
        }
        for _ in 0..reader.u32()? {
            description.operations.push(decode_operation(&mut reader)?);
        }
        (reader.at == bytes.len()).then_some(description)
    }

    /// Bytes of payload that belong to the blocks.
    pub(crate) fn payload(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.len)).sum()
    }
}

pub(crate) fn encode_head(out: &mut Vec<u8>, block: &BlockHead) {
    out.extend_from_slice(block.id.as_bytes());
    out.extend_from_slice(&block.len.to_le_bytes());
    push16(out, block.tags.len());
    for tag in &block.tags {
        out.extend_from_slice(&tag.tag);
        out.extend_from_slice(&tag.offset.to_le_bytes());
        out.extend_from_slice(&tag.len.to_le_bytes());
        out.push(u8::try_from(tag.extra.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&tag.extra);
    }
}

pub(crate) fn decode_head(reader: &mut Reader<'_>) -> Option<BlockHead> {
    let id = BlockId::from_bytes(reader.array()?);
    let len = reader.u32()?;
    let count = reader.u16()?;
    let mut tags = Vec::new();
    for _ in 0..count {
        let (tag, offset, len, extra) = (reader.array()?, reader.u32()?, reader.u32()?, reader.u8()?);
        tags.push(ChunkTag { tag, offset, len, extra: reader.take(extra.into())?.to_vec() });
    }
    Some(BlockHead { id, len, tags })
}

pub(crate) fn encode_operation(out: &mut Vec<u8>, operation: &Operation) {
    let put = match &operation.change {
        Change::Put { references, value } => Some((references, value)),
        Change::Delete => None,
    };
    out.push(if put.is_some() { 1 } else { 2 });
    out.extend_from_slice(&operation.sequence.to_le_bytes());
    out.extend_from_slice(&operation.index.to_le_bytes());
    out.push(operation.table.0);
    push16(out, operation.key.len());
    out.extend_from_slice(&operation.key);
    if let Some((references, value)) = put {
        push16(out, references.len());
        for id in references {
            out.extend_from_slice(id.as_bytes());
        }
        push32(out, value.len());
        out.extend_from_slice(value);
    }
}

pub(crate) fn decode_operation(reader: &mut Reader<'_>) -> Option<Operation> {
    let (kind, sequence, index) = (reader.u8()?, reader.u64()?, reader.u32()?);
    let table = Table(reader.u8()?);
    let key = reader.u16()?;
    let key = reader.take(key.into())?;
    let change = match kind {
        1 => {
            let count = reader.u16()?;
            let mut references = Vec::new();
            for _ in 0..count {
                references.push(BlockId::from_bytes(reader.array()?));
            }
            let length = reader.u32()?;
            Change::Put { references, value: reader.take(length as usize)? }
        }
        2 => Change::Delete,
        _ => return None,
    };
    Some(Operation { sequence, index, table, key, change })
}

/// Takes fields off the front of bytes, or nothing when they are not all there.
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a Bytes,
    pub(crate) at: usize,
}

impl Reader<'_> {
    pub(crate) fn take(&mut self, count: usize) -> Option<Bytes> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len())?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let end = self.at.checked_add(N).filter(|end| *end <= self.bytes.len())?;
        let array = self.bytes[self.at..end].try_into().ok()?;
        self.at = end;
        Some(array)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.at..);
        self.at = self.bytes.len();
        rest
    }
}

fn le32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn le64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Lengths are checked against the limits before anything is encoded; a length beyond them is a bug that must not reach a pack.
#[expect(clippy::expect_used, reason = "lengths were checked against the limits of the format")]
fn push16(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u16::try_from(length).expect("a length within the limits").to_le_bytes());
}

#[expect(clippy::expect_used, reason = "lengths were checked against the limits of the format")]
fn push32(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).expect("a length within the limits").to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Description {
        let tag = ChunkTag { tag: [7; 32], offset: 1, len: 2, extra: vec![9; 40] };
        let id = BlockId::of(b"x");
        let put = Change::Put { references: vec![id, id], value: Bytes::from_static(b"value") };
        let operation = |change| Operation {
            sequence: 5,
            index: 1,
            table: Table(3),
            key: Bytes::from_static(b"key"),
            change,
        };
        Description {
            blocks: vec![BlockHead { id, len: 1, tags: vec![tag] }],
            operations: vec![operation(put), operation(Change::Delete)],
        }
    }

    #[test]
    fn a_description_comes_back_and_its_lengths_are_as_said() {
        let description = sample();
        let bytes = Bytes::from(description.encode());
        assert_eq!(Description::decode(&bytes).unwrap(), description);
        let blocks: u64 = description.blocks.iter().map(|block| u64::from(block.encoded_len())).sum();
        let operations: u64 = description.operations.iter().map(Operation::encoded_len).sum();
        assert_eq!(bytes.len() as u64, 8 + blocks + operations);
    }

    #[test]
    fn a_description_cut_anywhere_is_refused() {
        let bytes = Bytes::from(sample().encode());
        for end in 0..bytes.len() {
            assert_eq!(Description::decode(&bytes.slice(..end)), None, "cut at {end}");
        }
    }

    #[test]
    fn a_description_that_repeats_itself_is_stored_shorter_and_comes_back() {
        let short = sample().encode();
        assert_eq!(pack_description(short.clone()), (short, 0));
        let description =
            Description { operations: vec![sample().operations[0].clone(); 20], ..Description::default() };
        let encoded = description.encode();
        let (packed, unpacked) = pack_description(encoded.clone());
        assert!(packed.len() < encoded.len() / 4 && unpacked as usize == encoded.len());
        let packed = Bytes::from(packed);
        assert_eq!(unpack_description(packed.clone(), unpacked).unwrap(), encoded);
        for wrong in [1, unpacked - 1, unpacked + 1] {
            assert_eq!(unpack_description(packed.clone(), wrong), None, "{wrong}");
        }
        let mut noise = vec![0; 2_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(pack_description(noise.clone()), (noise, 0));
    }

    #[test]
    fn a_header_with_any_bit_flipped_is_refused() {
        let header = FrameHeader {
            kind: Kind::Commit,
            sequence: 9,
            durable: 8,
            description: 3,
            unpacked: 7,
            payload: 0,
            before: 8,
            chain: [1; 32],
        };
        let good = header.encode(&[5; 16], b"abc");
        assert_eq!(FrameHeader::decode(&good).unwrap(), header);
        assert!(FrameHeader::verify(&good, &[5; 16], b"abc"));
        assert!(!FrameHeader::verify(&good, &[6; 16], b"abc"), "a frame of another store");
        for bit in 0..1024 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(
                FrameHeader::decode(&bad).is_none() || !FrameHeader::verify(&bad, &[5; 16], b"abc"),
                "bit {bit}"
            );
        }
    }
}
