//! Walks a manifest over a range of bytes, holding one page per level.
//!
//! The cursor does no input or output: it says which page it needs, and goes on once it is handed over. So the same walk serves
//! callers that block, callers that wait, and callers that ask another node.

use super::{ChunkPlace, Extent, Items, Manifest, PageRef};
use crate::cbor::FormatError;
use std::ops::Range;

/// An extent and where it begins in the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedExtent {
    /// The object's byte that the extent begins with.
    pub start: u64,
    /// The extent.
    pub extent: Extent,
}

/// A chunk, or the part of one, that a range covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The whole chunk.
    pub chunk: ChunkPlace,
    /// Which bytes of the block's plaintext are wanted: within the chunk.
    pub wanted: Range<u32>,
    /// The object's byte that they begin with.
    pub start: u64,
}

impl LocatedExtent {
    /// The parts of the extent that a range of the object covers, in order.
    pub fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Piece> {
        let mut start = self.start;
        self.extent.chunks.iter().filter_map(move |chunk| {
            let begin = start;
            start += u64::from(chunk.length);
            let wanted = range.start.max(begin)..range.end.min(start);
            let within = |at: u64| chunk.offset + u32::try_from(at - begin).unwrap_or(chunk.length);
            (wanted.start < wanted.end).then(|| Piece {
                chunk: *chunk,
                wanted: within(wanted.start)..within(wanted.end),
                start: wanted.start,
            })
        })
    }
}

/// What a cursor answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Load this page, [`Cursor::supply`] it, and step again.
    Page(PageRef),
    /// The next extent that the range touches.
    Extent(LocatedExtent),
    /// The range is covered.
    Done,
}

struct Frame {
    page: Manifest,
    next: usize,
    /// The object's byte that the next item begins with.
    position: u64,
}

/// A walk over the extents that a range of bytes touches.
pub struct Cursor {
    range: Range<u64>,
    frames: Vec<Frame>,
    need: Option<PageRef>,
}

impl Cursor {
    /// A walk over a range; what lies past the end of the object is left out.
    pub fn new(manifest: Manifest, range: Range<u64>) -> Self {
        Self { range, frames: vec![Frame { page: manifest, next: 0, position: 0 }], need: None }
    }

    /// Goes on to the next extent, or to a page that has to be loaded first. Repeats the page until it is supplied.
    pub fn step(&mut self) -> Step {
        if let Some(page) = &self.need {
            return Step::Page(page.clone());
        }
        while let Some(frame) = self.frames.last_mut() {
            if frame.position >= self.range.end || self.range.is_empty() {
                break;
            }
            let (start, index) = (frame.position, frame.next);
            frame.next += 1;
            match &frame.page.items {
                Items::Extents(extents) => {
                    let Some(extent) = extents.get(index) else {
                        self.frames.pop();
                        continue;
                    };
                    frame.position += extent.length();
                    if frame.position > self.range.start {
                        return Step::Extent(LocatedExtent { start, extent: extent.clone() });
                    }
                }
                Items::Pages(pages) => {
                    let Some(page) = pages.get(index) else {
                        self.frames.pop();
                        continue;
                    };
                    frame.position += page.length;
                    if frame.position > self.range.start {
                        self.need = Some(page.clone());
                        return Step::Page(page.clone());
                    }
                }
            }
        }
        self.frames.clear();
        Step::Done
    }

    /// Hands over the plaintext of the page that was asked for.
    pub fn supply(&mut self, page: &[u8]) -> Result<(), FormatError> {
        let (Some(expected), Some(parent)) = (self.need.take(), self.frames.last()) else {
            return Err(FormatError::Contradiction { what: "no manifest page was asked for" });
        };
        let position = parent.position - expected.length;
        let page = Manifest::decode_page(page, parent.page.level - 1, expected.length)?;
        self.frames.push(Frame { page, next: 0, position });
        Ok(())
    }

    /// The next extent, where pages can be loaded in place.
    pub fn next_with<E: From<FormatError>>(
        &mut self,
        load: &mut impl FnMut(&PageRef) -> Result<Vec<u8>, E>,
    ) -> Result<Option<LocatedExtent>, E> {
        loop {
            match self.step() {
                Step::Page(page) => self.supply(&load(&page)?)?,
                Step::Extent(extent) => return Ok(Some(extent)),
                Step::Done => return Ok(None),
            }
        }
    }
}
