//! Mending packs in place, and only with what is proven to be bit for bit what was written: a block by its id, a frame by the chain of the frame after
//! it (which hashes its header, which hashes its description), a pack header by its own hash, a gap because it is zeros.
//!
//! Nothing else changes: no row, no frame. So a mending that is interrupted leaves what was damaged damaged, and it may happen while packs are written, read and compacted.

use crate::{
    backend::PackFile,
    frame::{
        BlockHead, ChunkTag, Description, FRAME_HEADER, FrameHeader, Kind, Operation, PACK_HEADER,
        PackHeader, align, pack_description,
    },
    id::BlockId,
    index::IndexError,
    params::Parameters,
    read::Reading,
    rows::{BLOCK, BlockRow, CHUNK, Place, TagRow},
    verify::PackPlace,
    walk::{Depth, Frame, Step, Walk},
};
use std::{collections::HashMap, io, ops::Bound, sync::Arc};

/// Where a frame is damaged: what lies before and after.
#[derive(Clone, Copy)]
pub(crate) struct Gap {
    /// Sequence number and header's hash of the frame before, where it is in the same pack and whole.
    pub(crate) last: Option<(u64, [u8; 32])>,
    /// Where the next whole frame begins.
    pub(crate) next: Option<u64>,
    /// Where the pack's last frame ends.
    pub(crate) end: u64,
}

/// What the lost frame must be.
struct Wanted {
    sequence: u64,
    /// The hash of its header.
    chain: [u8; 32],
    length: u64,
    before: (u64, [u8; 32]),
    /// What the frames around it say was durable.
    durable: Vec<u64>,
}

impl Wanted {
    /// What a frame of `length` bytes must be that lies between the one `before` and that of `next`.
    fn between(before: (u64, [u8; 32]), length: u64, next: &FrameHeader) -> Self {
        let durable = durable_between(before.0, next.durable);
        Self { sequence: next.before, chain: next.chain, length, before, durable }
    }
}

pub(crate) struct Mender<'a> {
    reading: &'a Reading,
    parameters: &'a [Parameters],
    place: PackPlace,
}

impl<'a> Mender<'a> {
    pub(crate) fn new(reading: &'a Reading, parameters: &'a [Parameters], place: PackPlace) -> Self {
        Self { reading, parameters, place }
    }

    fn store_id(&self) -> [u8; 16] {
        self.parameters[0].store_id
    }

    /// Writes and syncs; what cannot be written is not mended.
    fn write(&self, file: &dyn PackFile, parts: &[&[u8]], offset: u64) -> bool {
        let written = file.write_at(parts, offset).and_then(|()| file.sync());
        written
            .inspect_err(|error| {
                let at = crate::read::describe_at(
                    &self.reading.locations,
                    self.place.location,
                    self.place.pack,
                    offset,
                );
                tracing::error!(%error, at, "damage could not be repaired");
            })
            .is_ok()
    }

    /// The pack's header: it says nothing that the file's name, `store.json` and the first frame do not.
    pub(crate) fn header(&self, file: &dyn PackFile) -> bool {
        let Some(parameters) = self.parameters.get(usize::from(self.place.location)) else { return false };
        let Ok(file_again) = self.open(self.place) else { return false };
        let Some(first) = self.first_frame(file_again) else { return false };
        let header = PackHeader {
            location: parameters.location,
            store_id: parameters.store_id,
            number: self.place.pack,
            before: first.header.before,
            chunking: parameters.chunking,
        };
        self.write(file, &[&header.encode()], 0)
    }

    /// A block, from any other place that has it.
    pub(crate) fn block(&self, file: &dyn PackFile, id: &BlockId, at: &Place) -> bool {
        let row = self.reading.row(id).ok().flatten().unwrap_or_default();
        let others: Vec<Place> = row.places.into_iter().filter(|place| place != at).collect();
        let Ok(bytes) = self.reading.block_at(id, &others) else { return false };
        bytes.len() == at.len as usize && self.write(file, &[&bytes], at.offset)
    }

    /// Zeros up to `end`.
    pub(crate) fn zeros(&self, file: &dyn PackFile, from: u64, end: u64) -> bool {
        let zeros = vec![0; usize::try_from(end.saturating_sub(from)).unwrap_or(0)];
        zeros.len() < 8 && self.write(file, &[&zeros], from)
    }

    /// Header and description of a frame, from what the other locations and the index know of it.
    pub(crate) fn frame(&self, file: &dyn PackFile, offset: u64, gap: Gap) -> Result<bool, IndexError> {
        let Some(wanted) = self.wanted(offset, gap)? else { return Ok(false) };
        let elsewhere = self.elsewhere(wanted.sequence);
        let heads = self.heads(offset, offset + wanted.length, elsewhere.as_deref())?;
        let empty: &[Operation] = &[];
        let operations = elsewhere.as_ref().map_or(empty, |frame| &frame.description.operations);
        let theirs = elsewhere.as_ref().map(|frame| frame.description.blocks.clone()).unwrap_or_default();
        let mut durable = wanted.durable.clone();
        durable.extend(elsewhere.as_ref().map(|frame| frame.header.durable));
        let written = [Vec::new(), heads, theirs].into_iter().flat_map(|blocks| {
            let description = Description { blocks, operations: operations.to_vec() };
            let payload = description.payload();
            let encoded = description.encode();
            let (packed, unpacked) = pack_description(encoded.clone());
            [(packed, unpacked, payload), (encoded, 0, payload)]
        });
        for (encoded, unpacked, payload) in written {
            if align(FRAME_HEADER + encoded.len() as u64 + payload) != wanted.length {
                continue;
            }
            for durable in &durable {
                for kind in [Kind::Commit, Kind::Data, Kind::Moved] {
                    let header = FrameHeader {
                        kind,
                        sequence: wanted.sequence,
                        durable: *durable,
                        description: u32::try_from(encoded.len()).unwrap_or(u32::MAX),
                        unpacked,
                        payload,
                        before: wanted.before.0,
                        chain: wanted.before.1,
                    };
                    let header = header.encode(&self.store_id(), &encoded);
                    if *blake3::hash(&header).as_bytes() == wanted.chain {
                        return Ok(self.write(file, &[&header, &encoded], offset));
                    }
                }
            }
        }
        Ok(false)
    }

    /// What the frames around a damaged one say about it.
    fn wanted(&self, offset: u64, gap: Gap) -> Result<Option<Wanted>, IndexError> {
        let is_first = offset == PACK_HEADER;
        let before = match gap.last {
            Some(last) => Some(last),
            None if is_first => self.last_of_pack_before(),
            None => None,
        };
        let Some(before) = before else { return Ok(None) };
        let next = match gap.next.filter(|next| *next < gap.end) {
            Some(next) => self.open(self.place).ok().and_then(|file| self.frame_at(file, next)),
            None => None,
        };
        if let Some(next) = next {
            return Ok(Some(Wanted::between(before, next.start - offset, &next.header)));
        }
        let length = gap.end.saturating_sub(offset);
        let follower = PackPlace { pack: self.place.pack + 1, ..self.place };
        if let Some(next) = self.open(follower).ok().and_then(|file| self.first_frame(file)) {
            return Ok(Some(Wanted::between(before, length, &next.header)));
        }
        let mark = self.reading.index.mark()?;
        let tip = mark.and_then(|mark| mark.tips.get(usize::from(self.place.location)).copied());
        let tip = tip.filter(|tip| tip.pack == self.place.pack && tip.start == offset);
        Ok(tip.map(|tip| Wanted {
            sequence: tip.sequence,
            chain: tip.chain,
            length: tip.end - offset,
            before,
            durable: durable_between(before.0, tip.sequence - 1),
        }))
    }

    /// The commit of this number in another location.
    fn elsewhere(&self, sequence: u64) -> Option<Box<Frame>> {
        (0u8..)
            .zip(&self.reading.locations)
            .filter(|(location, _)| *location != self.place.location)
            .find_map(|(location, backend)| {
                // From the newest pack down to the one that begins before it: moved and data frames share the numbers.
                let packs = backend.packs().ok()?;
                packs.into_iter().rev().find_map(|pack| {
                    let file = self.open(PackPlace { location, pack }).ok()?;
                    let first = self.first_frame(file.clone())?;
                    (first.header.sequence <= sequence).then(|| self.find(file, sequence)).flatten()
                })
            })
    }

    fn find(&self, file: Arc<dyn PackFile>, sequence: u64) -> Option<Box<Frame>> {
        let mut walk = Walk::new(file, self.store_id(), Depth::Descriptions, PACK_HEADER).ok()?;
        loop {
            match walk.step().ok()? {
                Step::Frame(frame) if frame.header.sequence == sequence => return Some(frame),
                Step::Frame(frame) if frame.header.sequence > sequence => return None,
                Step::Frame(_) => {}
                Step::End => return None,
                Step::Bad(bad) => match bad.next {
                    Some(next) => walk.skip_to(next),
                    None => {
                        let next = walk.find_frame(bad.offset + 8).ok()??;
                        walk.skip_to(next);
                    }
                },
            }
        }
    }

    /// The blocks that the index places in this stretch of the pack, as a description has them.
    fn heads(&self, from: u64, to: u64, elsewhere: Option<&Frame>) -> Result<Vec<BlockHead>, IndexError> {
        let index = &self.reading.index;
        let mut found: Vec<(u64, BlockHead)> = Vec::new();
        for row in index.scan(Bound::Included(vec![BLOCK]), Bound::Excluded(vec![BLOCK + 1])) {
            let (key, value) = row?;
            let id = key.get(1..).and_then(|id| id.try_into().ok()).map(BlockId::from_bytes);
            let (Some(id), Some(row)) = (id, BlockRow::decode(&value)) else { continue };
            let here = |place: &&Place| {
                let PackPlace { location, pack } = self.place;
                place.location == location && place.pack == pack && (from..to).contains(&place.offset)
            };
            if let Some(place) = row.places.iter().find(here) {
                found.push((place.offset, BlockHead { id, len: place.len, tags: Vec::new() }));
            }
        }
        found.sort_unstable_by_key(|(offset, _)| *offset);
        let mut tags: HashMap<BlockId, Vec<ChunkTag>> = HashMap::new();
        if !found.is_empty() {
            for row in index.scan(Bound::Included(vec![CHUNK]), Bound::Excluded(vec![CHUNK + 1])) {
                let (key, value) = row?;
                let tag = key.get(1..).and_then(|tag| tag.try_into().ok());
                let (Some(tag), Some(row)) = (tag, TagRow::decode(&value)) else { continue };
                if found.iter().any(|(_, head)| head.id == row.block) {
                    let chunk = ChunkTag { tag, offset: row.offset, len: row.len, extra: row.extra };
                    tags.entry(row.block).or_default().push(chunk);
                }
            }
        }
        let known = elsewhere.map_or(&[][..], |frame| &frame.description.blocks);
        let head = |(_, mut head): (u64, BlockHead)| {
            let same = known.iter().find(|known| known.id == head.id);
            head.tags = match same {
                Some(same) => same.tags.clone(),
                None => tags.remove(&head.id).unwrap_or_default(),
            };
            head.tags.sort_by_key(|tag| (tag.offset, tag.tag));
            head
        };
        Ok(found.into_iter().map(head).collect())
    }

    /// Number and header's hash of the last frame before this pack.
    fn last_of_pack_before(&self) -> Option<(u64, [u8; 32])> {
        if self.place.pack == 1 {
            let mut bytes = [0; 128];
            self.open(self.place).ok()?.read_at(&mut bytes, 0).ok()?;
            let header = PackHeader::decode(&bytes).ok()?;
            return Some((header.before, *blake3::hash(&bytes).as_bytes()));
        }
        let file = self.open(PackPlace { pack: self.place.pack - 1, ..self.place }).ok()?;
        let mut walk = Walk::new(file, self.store_id(), Depth::Descriptions, PACK_HEADER).ok()?;
        let mut last = None;
        loop {
            match walk.step().ok()? {
                Step::Frame(frame) => last = Some((frame.header.sequence, frame.chain)),
                Step::End => return last,
                Step::Bad(bad) => {
                    last = None;
                    let next = walk_on(&mut walk, bad.next, bad.offset).ok()??;
                    walk.skip_to(next);
                }
            }
        }
    }

    fn open(&self, place: PackPlace) -> io::Result<Arc<dyn PackFile>> {
        let backend = self.reading.locations.get(usize::from(place.location));
        backend.ok_or(io::ErrorKind::NotFound)?.open_pack(place.pack)
    }

    fn first_frame(&self, file: Arc<dyn PackFile>) -> Option<Box<Frame>> {
        self.frame_at(file, PACK_HEADER)
    }

    fn frame_at(&self, file: Arc<dyn PackFile>, offset: u64) -> Option<Box<Frame>> {
        let mut walk = Walk::new(file, self.store_id(), Depth::Descriptions, offset).ok()?;
        match walk.step().ok()? {
            Step::Frame(frame) => Some(frame),
            _ => None,
        }
    }
}

fn walk_on(walk: &mut Walk, next: Option<u64>, offset: u64) -> io::Result<Option<u64>> {
    match next {
        Some(next) => Ok(Some(next)),
        None => walk.find_frame(offset + 8),
    }
}

/// What a frame may have called durable: something from what was before it up to what the next one says; few differ in practice.
fn durable_between(before: u64, next: u64) -> Vec<u64> {
    let first = next.saturating_sub(DURABLE_TRIED).max(before.saturating_sub(DURABLE_TRIED));
    (first..=next.max(before)).rev().take(512).collect()
}

/// Numbers that are tried for what a frame called durable.
const DURABLE_TRIED: u64 = 256;
