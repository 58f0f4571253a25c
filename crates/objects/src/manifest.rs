//! Manifests: which chunks of which blocks an object's bytes are made of.
//!
//! A manifest is a tree whose root lies in the record and whose pages lie in blocks of their own, so that neither appending nor
//! reading a range costs the whole. A page holds at most [`PAGE_BYTES_MAX`]; its items come in the order of the bytes. What a page says
//! is checked against the item that led to it: level and length must agree, so a damaged or swapped page is found before it misleads.

mod build;
mod cursor;

pub use build::{Builder, NewPage, Resume};
pub use cursor::{Cursor, LocatedExtent, Piece, Step};

use crate::cbor::{Cbor, FormatError, Reader, Writer};
use crate::seal::BlockKey;
use jsfs_store::{BlockId, block};

/// The largest page, in bytes of its encoding; the root is not larger either.
pub const PAGE_BYTES_MAX: usize = 64 * 1_024;

/// The highest level: far more than any object can need, and a bound for who reads one that is hostile.
pub const LEVEL_MAX: u8 = 8;

/// The longest plaintext of a block.
pub const BLOCK_PLAINTEXT_BYTES_MAX: u32 = 1 << 20;

const _: () = assert!(
    BLOCK_PLAINTEXT_BYTES_MAX as usize == block::PLAINTEXT_MAX && PAGE_BYTES_MAX <= block::PLAINTEXT_MAX
);

/// Where one chunk lies in the plaintext of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    /// First byte.
    pub offset: u32,
    /// Number of bytes, at least one.
    pub length: u32,
    /// BLAKE3 of the chunk.
    pub hash: [u8; 32],
}

/// Chunks of one block that follow each other in the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The block.
    pub block: BlockId,
    /// What opens the block; none for a clear one.
    pub key: Option<BlockKey>,
    /// The chunks, in the order of the object's bytes; at least one.
    pub chunks: Vec<ChunkPlace>,
}

impl Extent {
    /// How many bytes of the object it holds.
    pub fn length(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.length)).sum()
    }
}

/// Where a page lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRef {
    /// The block whose plaintext the page is.
    pub block: BlockId,
    /// What opens the block; none for a clear one.
    pub key: Option<BlockKey>,
    /// How many bytes of the object lie below the page, at least one.
    pub length: u64,
}

/// What a manifest or page consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items {
    /// Level 0.
    Extents(Vec<Extent>),
    /// Higher levels.
    Pages(Vec<PageRef>),
}

/// The root of an object's manifest, or a page of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    level: u8,
    length: u64,
    items: Items,
}

impl Manifest {
    /// The manifest of an empty object.
    pub fn empty() -> Self {
        Self { level: 0, length: 0, items: Items::Extents(Vec::new()) }
    }

    /// Its height above the extents.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// How many bytes of the object lie below it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What it consists of.
    pub fn items(&self) -> &Items {
        &self.items
    }

    /// Its encoding: the plaintext of a page's block.
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    /// Reads the encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::from_bytes(bytes)
    }

    /// Reads a page and checks that it is what the item that leads to it promises.
    pub fn decode_page(bytes: &[u8], level: u8, length: u64) -> Result<Self, FormatError> {
        let page = Self::from_bytes(bytes)?;
        if page.level != level || page.length != length {
            return Err(FormatError::Contradiction {
                what: "a manifest page is not the one that it is taken for",
            });
        }
        Ok(page)
    }

    fn with_items(level: u8, items: Items) -> Result<Self, FormatError> {
        let overflow = FormatError::Contradiction { what: "a manifest is longer than any object" };
        let length = match &items {
            Items::Extents(extents) => checked_sum(extents.iter().map(Extent::length)),
            Items::Pages(pages) => checked_sum(pages.iter().map(|page| page.length)),
        };
        match length.ok_or(overflow)? {
            0 if level > 0 => Err(FormatError::Malformed { what: "a manifest's level without pages" }),
            length => Ok(Self { level, length, items }),
        }
    }
}

fn checked_sum(mut lengths: impl Iterator<Item = u64>) -> Option<u64> {
    lengths.try_fold(0_u64, u64::checked_add)
}

impl Cbor for Manifest {
    const NAME: &'static str = "a manifest";
    const BYTES_MAX: usize = PAGE_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        out.array(2).uint(self.level.into());
        match &self.items {
            Items::Extents(extents) => {
                out.array(extents.len());
                extents.iter().for_each(|extent| write_extent(out, extent));
            }
            Items::Pages(pages) => {
                out.array(pages.len());
                pages.iter().for_each(|page| write_page_ref(out, page));
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 2)?;
        let level = u8::try_from(input.uint("a manifest's level")?)
            .ok()
            .filter(|level| *level <= LEVEL_MAX)
            .ok_or(FormatError::TooLarge { what: "a manifest's level", limit: LEVEL_MAX.into() })?;
        let items = if level == 0 {
            Items::Extents(input.list("a manifest's extents", PAGE_BYTES_MAX, read_extent)?)
        } else {
            Items::Pages(input.list("a manifest's pages", PAGE_BYTES_MAX, read_page_ref)?)
        };
        Self::with_items(level, items)
    }
}

fn write_place(out: &mut Writer, block: &BlockId, key: Option<&BlockKey>) {
    out.array(3).bytes(block.as_bytes());
    match key {
        Some(key) => out.bytes(key.expose()),
        None => out.null(),
    };
}

fn read_place(input: &mut Reader<'_>) -> Result<(BlockId, Option<BlockKey>), FormatError> {
    input.tuple("a manifest's item", 3)?;
    let block = BlockId::from_bytes(input.fixed("a block id")?);
    let key = if input.null() { None } else { Some(BlockKey::from_bytes(input.fixed("a block key")?)) };
    Ok((block, key))
}

fn write_extent(out: &mut Writer, extent: &Extent) {
    write_place(out, &extent.block, extent.key.as_ref());
    out.array(extent.chunks.len());
    for chunk in &extent.chunks {
        out.array(3).uint(chunk.offset.into()).uint(chunk.length.into()).bytes(&chunk.hash);
    }
}

fn read_extent(input: &mut Reader<'_>) -> Result<Extent, FormatError> {
    let (block, key) = read_place(input)?;
    let chunks = input.list("an extent's chunks", PAGE_BYTES_MAX, read_chunk)?;
    if chunks.is_empty() {
        return Err(FormatError::Malformed { what: "an extent without chunks" });
    }
    Ok(Extent { block, key, chunks })
}

fn read_chunk(input: &mut Reader<'_>) -> Result<ChunkPlace, FormatError> {
    input.tuple("a chunk", 3)?;
    let (offset, length) = (input.uint("a chunk's offset")?, input.uint("a chunk's length")?);
    let end = offset.checked_add(length).filter(|end| length > 0 && *end <= BLOCK_PLAINTEXT_BYTES_MAX.into());
    match (end, u32::try_from(offset), u32::try_from(length)) {
        (Some(_), Ok(offset), Ok(length)) => {
            Ok(ChunkPlace { offset, length, hash: input.fixed("a chunk's hash")? })
        }
        _ => Err(FormatError::Contradiction { what: "a chunk does not lie within a block" }),
    }
}

fn write_page_ref(out: &mut Writer, page: &PageRef) {
    write_place(out, &page.block, page.key.as_ref());
    out.uint(page.length);
}

fn read_page_ref(input: &mut Reader<'_>) -> Result<PageRef, FormatError> {
    let (block, key) = read_place(input)?;
    match input.uint("a page's length")? {
        0 => Err(FormatError::Malformed { what: "a page without bytes below it" }),
        length => Ok(PageRef { block, key, length }),
    }
}
