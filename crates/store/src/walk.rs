//! Reads the frames of a pack one after the other, trusting nothing.

use crate::{
    backend::PackFile,
    block,
    frame::{
        BlockHead, Description, FRAME_HEADER, FRAME_MAGIC, FrameHeader, PACK_HEADER, align,
        unpack_description,
    },
    id::BlockId,
    rows::Place,
};
use bytes::{Bytes, BytesMut};
use std::{io, sync::Arc};

/// Bytes that are read at once.
const WINDOW: usize = 1 << 20;
/// The same where payloads are skipped.
const SMALL_WINDOW: usize = 64 << 10;

const ZEROS: [u8; 4_096] = [0; 4_096];

/// What comes next in a pack.
pub(crate) enum Step {
    Frame(Box<Frame>),
    /// Nothing but zeros follows.
    End,
    Bad(Bad),
}

/// A frame that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) offset: u64,
    pub(crate) what: &'static str,
    /// Where the next frame begins, when the header of the bad one is whole.
    pub(crate) next: Option<u64>,
    /// The header, when it is whole.
    pub(crate) header: Option<FrameHeader>,
}

/// A frame whose header and description are whole; `payload` is checked if that was asked for.
pub(crate) struct Frame {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) header: FrameHeader,
    pub(crate) chain: [u8; 32],
    pub(crate) description: Description,
    /// Empty unless payloads are read.
    pub(crate) payload: Bytes,
}

/// How much of a frame is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Headers and descriptions.
    Descriptions,
    /// Every byte: blocks against their ids, gaps for zeros.
    Everything,
}

/// Walks one pack.
pub(crate) struct Walk {
    file: Arc<dyn PackFile>,
    store_id: [u8; 16],
    depth: Depth,
    length: u64,
    at: u64,
    window: Bytes,
    window_at: u64,
}

impl Walk {
    pub(crate) fn new(
        file: Arc<dyn PackFile>,
        store_id: [u8; 16],
        depth: Depth,
        from: u64,
    ) -> io::Result<Self> {
        let length = file.len()?;
        Ok(Self {
            file,
            store_id,
            depth,
            length,
            at: from.max(PACK_HEADER),
            window: Bytes::new(),
            window_at: 0,
        })
    }

    /// The next frame; the position stays where it is unless that is whole.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        let start = self.at;
        let bad = |what, next, header| Ok(Step::Bad(Bad { offset: start, what, next, header }));
        let head = self.read(start, FRAME_HEADER)?;
        let Some(header) = FrameHeader::decode(&head) else {
            if self.is_zero_from(start)? {
                return Ok(Step::End);
            }
            return bad("a frame header", None, None);
        };
        let body = start + FRAME_HEADER;
        let description_bytes = self.read(body, header.description.into())?;
        if description_bytes.len() < header.description as usize
            || !FrameHeader::verify(&head, &self.store_id, &description_bytes)
        {
            return bad("a frame header or description", None, None);
        }
        let end = start + header.frame_length();
        let unpacked = unpack_description(description_bytes, header.unpacked);
        let Some(description) = unpacked.and_then(|bytes| Description::decode(&bytes)) else {
            return bad("a description", Some(end), Some(header));
        };
        if description.payload() != header.payload {
            return bad("the lengths in a description", Some(end), Some(header));
        }
        if end > self.length {
            return bad("a frame that goes on past the end of the pack", None, Some(header));
        }
        let mut payload = Bytes::new();
        if self.depth == Depth::Everything {
            let payload_at = body + u64::from(header.description);
            let gap_at = payload_at + header.payload;
            payload = self.read(payload_at, header.payload)?;
            if let Some(what) = bad_block(&description, &payload) {
                return bad(what, Some(end), Some(header));
            }
            if self.read(gap_at, end - gap_at)?.iter().any(|byte| *byte != 0) {
                return bad("the gap after a frame", Some(end), Some(header));
            }
        }
        self.at = end;
        let chain = *blake3::hash(&head).as_bytes();
        Ok(Step::Frame(Box::new(Frame { start, end, header, chain, description, payload })))
    }

    /// Where the next step begins.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// Goes on at another offset.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        self.at = offset;
    }

    /// The next offset from `from` on at which a whole frame header lies.
    pub(crate) fn find_frame(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut at = align(from);
        while at + FRAME_HEADER <= self.length {
            let window = self.read(at, (self.length - at).min(WINDOW as u64))?;
            let mut starts = (0..window.len().saturating_sub(7)).step_by(8);
            let Some(found) = starts.find(|start| window[*start..].starts_with(FRAME_MAGIC)) else {
                at += window.len() as u64 / 8 * 8;
                continue;
            };
            let offset = at + found as u64;
            let head = self.read(offset, FRAME_HEADER)?;
            if let Some(header) = FrameHeader::decode(&head) {
                let description = self.read(offset + FRAME_HEADER, header.description.into())?;
                if FrameHeader::verify(&head, &self.store_id, &description) {
                    return Ok(Some(offset));
                }
            }
            at = offset + 8;
        }
        Ok(None)
    }

    /// The first byte from `from` on that is not zero.
    pub(crate) fn first_non_zero(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut at = from;
        while at < self.length {
            let window = self.read(at, (self.length - at).min(WINDOW as u64))?;
            if window.is_empty() {
                break;
            }
            // Whole runs at once: what was allocated ahead is up to 16 MiB.
            let is_not_zero = |run: &&[u8]| **run != ZEROS[..run.len()];
            if let Some(run) = window.chunks(ZEROS.len()).position(|run| is_not_zero(&run)) {
                let run = run * ZEROS.len();
                let position = window[run..].iter().position(|byte| *byte != 0).unwrap_or(0);
                return Ok(Some(at + (run + position) as u64));
            }
            at += window.len() as u64;
        }
        Ok(None)
    }

    fn is_zero_from(&mut self, from: u64) -> io::Result<bool> {
        Ok(self.first_non_zero(from)?.is_none())
    }

    /// Bytes of the pack; fewer where it ends.
    fn read(&mut self, offset: u64, length: u64) -> io::Result<Bytes> {
        let length = usize::try_from(length.min(self.length.saturating_sub(offset))).unwrap_or(0);
        let window_end = self.window_at + self.window.len() as u64;
        if offset < self.window_at || offset + length as u64 > window_end {
            let ahead = if self.depth == Depth::Everything { WINDOW } else { SMALL_WINDOW };
            let wanted =
                length.max(ahead).min(usize::try_from(self.length.saturating_sub(offset)).unwrap_or(0));
            let mut buffer = BytesMut::zeroed(wanted);
            let count = self.file.read_at(&mut buffer, offset)?;
            buffer.truncate(count);
            self.window = buffer.freeze();
            self.window_at = offset;
        }
        let from = usize::try_from(offset - self.window_at).unwrap_or(0);
        Ok(self.window.slice(from..(from + length).min(self.window.len())))
    }
}

/// What is wrong with the first block that is not what its id says.
fn bad_block(description: &Description, payload: &Bytes) -> Option<&'static str> {
    let mut at = 0;
    for head in &description.blocks {
        let end = at + head.len as usize;
        let Some(stored) = payload.get(at..end) else { return Some("a payload that is not all there") };
        if BlockId::of(stored) != head.id {
            return Some("a block");
        }
        at = end;
    }
    None
}

impl Frame {
    /// The blocks with their places. Their bytes are empty unless payloads are read.
    pub(crate) fn blocks(&self, location: u8, pack: u64) -> impl Iterator<Item = (&BlockHead, Place, Bytes)> {
        let base = self.start + FRAME_HEADER + u64::from(self.header.description);
        let mut at = 0usize;
        self.description.blocks.iter().map(move |head| {
            let end = at + head.len as usize;
            let bytes = if self.payload.is_empty() { Bytes::new() } else { self.payload.slice(at..end) };
            let offset = base + at as u64;
            at = end;
            (head, Place::of(head, location, pack, offset), bytes)
        })
    }
}

/// The ids in a list block, for a block whose bytes may have to be read first.
pub(crate) fn list_of(file: &dyn PackFile, place: &Place, bytes: &Bytes) -> io::Result<Option<Vec<BlockId>>> {
    if !bytes.is_empty() {
        return Ok(crate::view::list_ids(bytes));
    }
    let mut head = [0; 2];
    let count = file.read_at(&mut head, place.offset)?;
    if count < 2 || !matches!(block::split(&head), Ok((block::Kind::List, _))) {
        return Ok(None);
    }
    let mut stored = vec![0; place.len as usize];
    file.read_at(&mut stored, place.offset)?;
    Ok(crate::view::list_ids(&stored))
}
