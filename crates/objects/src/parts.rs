//! An object in parts that are worked on side by side.
//!
//! Parts end where chunks end whose content says so, so that an edit changes the parts around it and no others. Ends are then moved to the next beginning
//! of a record. What a part is known by is made of the chunks that it covers (and of the keys of their blocks, where they are private), so finding out that a part is
//! known reads no content; nor does finding the records, once it was done.

use crate::{
    Derived, Object,
    crypto::blake3,
    error::{ReadError, StorageError},
    read::Body,
    seal::BlockKey,
};
use bytes::Bytes;
use jsfs_store::BlockId;
use std::{collections::VecDeque, ops::Range};

/// Where records end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// After each line feed.
    Lines,
    /// Anywhere.
    None,
}

/// A part of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its bytes.
    pub range: Range<u64>,
    /// The same content has the same; of private content nobody else can tell it.
    pub identity: [u8; 32],
}

/// Parts that an object is cut into, about.
const PARTS: u64 = 512;
/// What parts aim at.
const AVERAGE_MIN: u64 = 256 << 10;
const AVERAGE_MAX: u64 = 16 << 20;
/// What chunks aim at: one in so many ends a part.
const CHUNK: u64 = 64 << 10;

const IDENTITY: &[u8] = b"jsfs part 1";
const CHUNK_IDENTITY: &[u8] = b"jsfs chunk 1";
const FIRST_LINE: &[u8] = b"jsfs first line 1";

/// A chunk of an object.
#[derive(Clone)]
struct Chunk {
    start: u64,
    length: u32,
    /// Where it lies in its block's plaintext.
    offset: u32,
    block: BlockId,
    key: Option<BlockKey>,
    hash: [u8; 32],
}

/// Where a chunk ends that ends a part.
struct Cut {
    at: u64,
    /// The chunk after it, unless that is the end: there the next record begins, nearly always.
    next: Option<Chunk>,
}

/// The chunks of an object from some byte on.
struct Chunks {
    body: Body,
    range: Range<u64>,
    queue: VecDeque<Chunk>,
}

impl Object {
    /// The object in parts, none of which is empty; nothing if there are more than `most`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn parts(&self, records: Records, most: usize) -> Result<Option<Vec<Part>>, ReadError> {
        let size = self.metadata.size;
        let Some(cuts) = self.cuts(most).await? else { return Ok(None) };
        let mut ends: Vec<u64> = Vec::new();
        let mut from = 0;
        for cut in cuts {
            // The record that begins last before a cut belongs to the part before it, and may reach past the next cuts.
            let end = match records {
                _ if cut.at < from => continue,
                Records::None => cut.at,
                Records::Lines => self.after_line(&cut).await?,
            };
            from = end;
            if ends.last() != Some(&end) && end < size {
                ends.push(end);
            }
        }
        if size > 0 {
            ends.push(size);
        }
        self.identified(&ends).await.map(Some)
    }

    /// Where chunks end that end parts.
    async fn cuts(&self, most: usize) -> Result<Option<Vec<Cut>>, ReadError> {
        let average = (self.metadata.size / PARTS).next_power_of_two().clamp(AVERAGE_MIN, AVERAGE_MAX);
        let mask = average / CHUNK - 1;
        let mut cuts: Vec<Cut> = Vec::new();
        let mut from = 0;
        let mut chunks = Chunks::of(self, 0);
        while let Some(chunk) = chunks.next().await? {
            if let Some(before) = cuts.last_mut().filter(|cut| cut.at == chunk.start) {
                before.next = Some(chunk.clone());
            }
            let end = chunk.start + u64::from(chunk.length);
            let length = end - from;
            if (length >= average / 4 && chunk.says() & mask == 0) || length >= average * 4 {
                if cuts.len() == most {
                    return Ok(None);
                }
                cuts.push(Cut { at: end, next: None });
                from = end;
            }
        }
        Ok(Some(cuts))
    }

    /// The end of the line that begins last before or at the beginning of a chunk: where the first record after it begins.
    async fn after_line(&self, cut: &Cut) -> Result<u64, ReadError> {
        let Some(next) = &cut.next else { return Ok(self.metadata.size) };
        if let Some(at) = self.first_line(next).await? {
            return Ok(next.start + u64::from(at));
        }
        let mut chunks = Chunks::of(self, next.start + u64::from(next.length));
        while let Some(chunk) = chunks.next().await? {
            if let Some(at) = self.first_line(&chunk).await? {
                return Ok(chunk.start + u64::from(at));
            }
        }
        Ok(self.metadata.size)
    }

    /// Where in a chunk its first line ends.
    async fn first_line(&self, chunk: &Chunk) -> Result<Option<u32>, ReadError> {
        let objects = self.objects();
        let key = blake3(&[FIRST_LINE, &chunk.identity()]);
        let known = objects.derived(Derived::Result, &key).await;
        if let Some(known) = known.and_then(|bytes| Some(u32::from_le_bytes(bytes.as_ref().try_into().ok()?)))
        {
            return Ok((known > 0).then_some(known));
        }
        let plain = objects.plaintext(chunk.block, chunk.key.clone()).await?;
        let (from, to) = (chunk.offset as usize, chunk.offset as usize + chunk.length as usize);
        let damaged = || StorageError::Record {
            address: self.metadata.address.clone(),
            what: "a chunk lies outside its block".to_owned(),
        };
        let bytes = plain.get(from..to).ok_or_else(damaged)?;
        let at = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let at = u32::try_from(at).map_err(|_| damaged())?;
        objects.keep_derived(Derived::Result, &key, Bytes::copy_from_slice(&at.to_le_bytes())).await;
        Ok((at > 0).then_some(at))
    }

    /// The parts that end there.
    async fn identified(&self, ends: &[u64]) -> Result<Vec<Part>, ReadError> {
        let mut parts = Vec::with_capacity(ends.len());
        let mut chunks = Chunks::of(self, 0);
        let mut current = chunks.next().await?;
        let mut from = 0;
        for &end in ends {
            let mut hasher = blake3::Hasher::new();
            hasher.update(IDENTITY);
            while let Some(chunk) = &current {
                let chunk_end = chunk.start + u64::from(chunk.length);
                hasher.update(&chunk.identity());
                hasher.update(&from.max(chunk.start).saturating_sub(chunk.start).to_le_bytes());
                hasher.update(&end.min(chunk_end).saturating_sub(chunk.start).to_le_bytes());
                if chunk_end > end {
                    break;
                }
                current = chunks.next().await?;
                if chunk_end == end {
                    break;
                }
            }
            parts.push(Part { range: from..end, identity: *hasher.finalize().as_bytes() });
            from = end;
        }
        Ok(parts)
    }
}

impl Chunk {
    fn identity(&self) -> [u8; 32] {
        let key = self.key.as_ref().map_or(&[][..], |key| key.expose());
        blake3(&[CHUNK_IDENTITY, &self.length.to_le_bytes(), &self.hash, key])
    }

    /// A number that its content says, whoever has it.
    fn says(&self) -> u64 {
        self.hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

impl Chunks {
    /// From the beginning of a chunk on.
    fn of(object: &Object, from: u64) -> Chunks {
        let range = from..object.metadata.size;
        Chunks { body: object.body(range.clone()), range, queue: VecDeque::new() }
    }

    async fn next(&mut self) -> Result<Option<Chunk>, ReadError> {
        while self.queue.is_empty() {
            let Some(located) = self.body.extent().await? else { return Ok(None) };
            let (block, key) = (located.extent.block, &located.extent.key);
            self.queue.extend(located.pieces(self.range.clone()).map(|piece| Chunk {
                start: piece.start,
                length: piece.chunk.length,
                offset: piece.chunk.offset,
                block,
                key: key.clone(),
                hash: piece.chunk.hash,
            }));
        }
        Ok(self.queue.pop_front())
    }
}
