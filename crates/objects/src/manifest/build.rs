//! Builds manifests from a stream of extents, holding one unfinished page per level; or takes one up again to append to it.
//!
//! Finished pages go to the caller, who makes blocks of them and says where. Pages that an append does not touch are referred to as
//! they are. Dropping a builder half-way leaves nothing but blocks that nothing refers to.

use super::{
    BlockKey, Extent, Items, LEVEL_MAX, Manifest, PAGE_BYTES_MAX, PageRef, write_extent, write_page_ref,
};
use crate::cbor::{FormatError, Writer};
use jsfs_store::BlockId;

/// Roots with more than this are put into pages, so that records stay small.
const INLINE_BYTES_MAX: usize = 8 * 1_024;

/// What a page has beside its items: two array heads and the level.
const PAGE_HEAD_BYTES_MAX: usize = 16;

/// Extents of more chunks are split, so that every extent fits a page.
const EXTENT_CHUNKS_MAX: usize = 128;

const _: () = assert!(EXTENT_CHUNKS_MAX * 48 + 80 <= INLINE_BYTES_MAX && INLINE_BYTES_MAX <= PAGE_BYTES_MAX);

/// A finished page, to be stored as the plaintext of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPage {
    /// The page's level: what it holds are extents for level 0, pages of the level below otherwise.
    pub level: u8,
    /// The plaintext, at most [`PAGE_BYTES_MAX`].
    pub bytes: Vec<u8>,
    /// How many bytes of the object lie below it.
    pub length: u64,
}

/// The unfinished page of one level.
#[derive(Clone)]
struct Level {
    items: Items,
    /// Bytes of the encoded items.
    bytes: usize,
    length: u64,
    /// Where it was taken from, while it is unchanged.
    unchanged: Option<PageRef>,
}

impl Level {
    fn new(level: usize) -> Self {
        let items = if level == 0 { Items::Extents(Vec::new()) } else { Items::Pages(Vec::new()) };
        Self { items, bytes: 0, length: 0, unchanged: None }
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }
}

enum Item {
    Extent(Extent),
    Page(PageRef),
}

impl Item {
    fn encoded_bytes(&self) -> usize {
        let mut out = Writer::new();
        match self {
            Item::Extent(extent) => write_extent(&mut out, extent),
            Item::Page(page) => write_page_ref(&mut out, page),
        }
        out.into_bytes().len()
    }

    fn length(&self) -> u64 {
        match self {
            Item::Extent(extent) => extent.length(),
            Item::Page(page) => page.length,
        }
    }
}

/// Makes a manifest from extents in the order of the object's bytes.
#[derive(Clone, Default)]
pub struct Builder {
    levels: Vec<Level>,
}

impl Builder {
    /// A builder for a new object.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes the extents so far hold.
    pub fn length(&self) -> u64 {
        self.levels.iter().map(|level| level.length).sum()
    }

    /// Adds an extent. `store` is called for each page that this finishes (most often none) and answers where it put it.
    pub fn push<E>(
        &mut self,
        extent: Extent,
        store: &mut impl FnMut(NewPage) -> Result<(BlockId, Option<BlockKey>), E>,
    ) -> Result<(), E> {
        for chunks in extent.chunks.chunks(EXTENT_CHUNKS_MAX) {
            let part = Extent { block: extent.block, key: extent.key.clone(), chunks: chunks.to_vec() };
            self.add(0, Item::Extent(part), store)?;
        }
        Ok(())
    }

    /// Stores what is unfinished and gives the root.
    pub fn finish<E>(
        mut self,
        store: &mut impl FnMut(NewPage) -> Result<(BlockId, Option<BlockKey>), E>,
    ) -> Result<Manifest, E> {
        for level in 0.. {
            let Some(here) = self.levels.get(level) else { break };
            let topmost = self.levels[level + 1..].iter().all(Level::is_empty);
            if topmost && here.bytes <= INLINE_BYTES_MAX {
                let top = self.levels.swap_remove(level);
                return Ok(Manifest { level: level_number(level), length: top.length, items: top.items });
            }
            self.close(level, store)?;
        }
        Ok(Manifest::empty())
    }

    fn add<E>(
        &mut self,
        level: usize,
        item: Item,
        store: &mut impl FnMut(NewPage) -> Result<(BlockId, Option<BlockKey>), E>,
    ) -> Result<(), E> {
        let bytes = item.encoded_bytes();
        if self.levels.len() <= level {
            self.levels.push(Level::new(level));
        }
        if self.levels[level].bytes + bytes + PAGE_HEAD_BYTES_MAX > PAGE_BYTES_MAX {
            self.close(level, store)?;
        }
        let here = &mut self.levels[level];
        here.bytes += bytes;
        here.length += item.length();
        here.unchanged = None;
        match (&mut here.items, item) {
            (Items::Extents(extents), Item::Extent(extent)) => extents.push(extent),
            (Items::Pages(pages), Item::Page(page)) => pages.push(page),
            _ => debug_assert!(false, "extents belong to level 0 and pages to the others"),
        }
        Ok(())
    }

    /// Makes a page of what is unfinished at a level, and an item of it at the next.
    fn close<E>(
        &mut self,
        level: usize,
        store: &mut impl FnMut(NewPage) -> Result<(BlockId, Option<BlockKey>), E>,
    ) -> Result<(), E> {
        let done = std::mem::replace(&mut self.levels[level], Level::new(level));
        if done.is_empty() {
            return Ok(());
        }
        let page = match done.unchanged {
            Some(page) => page,
            None => {
                let page = Manifest { level: level_number(level), length: done.length, items: done.items };
                let (block, key) =
                    store(NewPage { level: page.level, bytes: page.encode(), length: page.length })?;
                PageRef { block, key, length: page.length }
            }
        };
        self.add(level + 1, Item::Page(page), store)
    }
}

/// Level numbers are small: each level divides the number of items by hundreds, so that [`LEVEL_MAX`] is out of reach of any object.
fn level_number(level: usize) -> u8 {
    debug_assert!(level <= LEVEL_MAX.into());
    u8::try_from(level).unwrap_or(LEVEL_MAX)
}

/// Takes a manifest up again to replace everything after its first bytes, by loading the pages along its edge.
///
/// While [`Resume::need`] names a page, load it and [`Resume::supply`] it; then [`Resume::builder`] goes on from there.
pub struct Resume {
    builder: Builder,
    keep: u64,
    need: Option<(u8, PageRef)>,
}

impl Resume {
    /// Begins to take up a manifest, of which the first `keep` bytes stay. They must end where a chunk ends.
    pub fn new(manifest: Manifest, keep: u64) -> Result<Self, FormatError> {
        if keep > manifest.length {
            return Err(FormatError::Contradiction { what: "more bytes are to be kept than the object has" });
        }
        let levels = (0..=usize::from(manifest.level)).map(Level::new).collect();
        let mut resume = Self { builder: Builder { levels }, keep, need: None };
        resume.take(manifest, None)?;
        Ok(resume)
    }

    /// The page that is needed next, if any.
    pub fn need(&self) -> Option<&PageRef> {
        self.need.as_ref().map(|(_, page)| page)
    }

    /// Hands over the plaintext of the page that [`Resume::need`] names.
    pub fn supply(&mut self, page: &[u8]) -> Result<(), FormatError> {
        let Some((level, expected)) = self.need.take() else {
            return Err(FormatError::Contradiction { what: "no manifest page was asked for" });
        };
        self.take(Manifest::decode_page(page, level, expected.length)?, Some(expected))
    }

    /// The builder, once no page is needed any more.
    pub fn builder(self) -> Result<Builder, FormatError> {
        match self.need {
            None => Ok(self.builder),
            Some(_) => Err(FormatError::Contradiction { what: "a manifest page is still needed" }),
        }
    }

    /// The same builder, which makes every page along the edge anew: none of those that were loaded stays in use.
    pub fn builder_afresh(self) -> Result<Builder, FormatError> {
        let mut builder = self.builder()?;
        builder.levels.iter_mut().for_each(|level| level.unchanged = None);
        Ok(builder)
    }

    /// All in one, where pages can be loaded in place.
    pub fn with<E: From<FormatError>>(
        manifest: Manifest,
        keep: u64,
        load: &mut impl FnMut(&PageRef) -> Result<Vec<u8>, E>,
    ) -> Result<Builder, E> {
        let mut resume = Self::new(manifest, keep)?;
        while let Some(page) = resume.need() {
            let bytes = load(page)?;
            resume.supply(&bytes)?;
        }
        Ok(resume.builder()?)
    }

    /// Keeps the items of one page that are kept whole, and asks for the page that the edge runs through.
    fn take(&mut self, page: Manifest, source: Option<PageRef>) -> Result<(), FormatError> {
        let here = usize::from(page.level);
        let whole = page.length == self.keep;
        match page.items {
            Items::Extents(extents) => {
                for mut extent in extents {
                    self.trim(&mut extent)?;
                    if !extent.chunks.is_empty() {
                        self.keep_item(0, Item::Extent(extent));
                    }
                }
            }
            Items::Pages(pages) => {
                for child in pages {
                    if self.keep > child.length {
                        self.keep_item(here, Item::Page(child));
                    } else if self.keep > 0 {
                        self.need = Some((page.level - 1, child));
                        break;
                    }
                }
            }
        }
        if here == 0 && whole {
            self.builder.levels[0].unchanged = source;
        }
        Ok(())
    }

    fn trim(&mut self, extent: &mut Extent) -> Result<(), FormatError> {
        let mut kept = 0;
        for chunk in &extent.chunks {
            match u64::from(chunk.length) {
                _ if self.keep == 0 => break,
                length if length <= self.keep => {
                    self.keep -= length;
                    kept += 1;
                }
                _ => {
                    return Err(FormatError::Contradiction {
                        what: "the bytes to be kept do not end where a chunk ends",
                    });
                }
            }
        }
        extent.chunks.truncate(kept);
        Ok(())
    }

    fn keep_item(&mut self, level: usize, item: Item) {
        if let Item::Page(page) = &item {
            self.keep -= page.length;
        }
        let here = &mut self.builder.levels[level];
        here.bytes += item.encoded_bytes();
        here.length += item.length();
        match (&mut here.items, item) {
            (Items::Extents(extents), Item::Extent(extent)) => extents.push(extent),
            (Items::Pages(pages), Item::Page(page)) => pages.push(page),
            _ => debug_assert!(false, "extents belong to level 0 and pages to the others"),
        }
    }
}
