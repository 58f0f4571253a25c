//! The writing end of one location: its active pack, the chain of its frames, and going back to where a batch began.
//!
//! Only the committer writes. A frame is planned first ([`LocationLog::plan`]), which fixes where its blocks will lie, and all planned frames are written with
//! one call. Until [`LocationLog::sync`] returns nothing of it counts; [`LocationLog::roll_back`] takes it off the file again.

use crate::{
    backend::{Backend, PackFile},
    frame::{
        BlockHead, Description, FRAME_HEADER, FrameHeader, Kind, Operation, PACK_HEADER, PackHeader, align,
        pack_description,
    },
    params::Parameters,
    rows::Tip,
};
use bytes::Bytes;
use std::{io, sync::Arc};

/// A pack is closed before it would grow past this.
pub(crate) const PACK_MAX: u64 = 128 << 20;
/// Most bytes that are allocated ahead at once, and the share of the free space that they are bounded by.
const ALLOCATE_MAX: u64 = 16 << 20;
const ALLOCATE_SHARE: u64 = 64;

/// The frames of one location, from the last one on.
pub(crate) struct LocationLog {
    backend: Arc<dyn Backend>,
    parameters: Parameters,
    pack_max: u64,
    active: Option<Active>,
    /// The last frame written, and where its pack was synced last.
    tip: Tip,
    synced: Tip,
    last_pack: u64,
    planned: Vec<Part>,
    planned_from: Tip,
}

struct Active {
    number: u64,
    file: Arc<dyn PackFile>,
    allocated: u64,
}

enum Part {
    Own(Vec<u8>),
    Shared(Bytes),
}

/// A frame to be written.
pub(crate) struct FramePlan<'a> {
    pub(crate) kind: Kind,
    pub(crate) sequence: u64,
    pub(crate) durable: u64,
    pub(crate) blocks: Vec<(BlockHead, Bytes)>,
    pub(crate) operations: &'a [Operation],
}

/// Where a planned frame's blocks will lie.
pub(crate) struct Planned {
    pub(crate) pack: u64,
    pub(crate) end: u64,
    pub(crate) offsets: Vec<u64>,
    /// Bytes that its description takes less than it has.
    pub(crate) saved: u64,
}

impl LocationLog {
    /// Goes on after `tip`. `last_pack` is the highest number that was ever used.
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        parameters: Parameters,
        pack_max: u64,
        tip: Tip,
        last_pack: u64,
    ) -> io::Result<Self> {
        let mut active = None;
        if tip.pack != 0 && tip.pack == last_pack {
            let file = backend.open_pack(tip.pack)?;
            let allocated = file.len()?;
            active = Some(Active { number: tip.pack, file, allocated });
        }
        Ok(Self {
            backend,
            parameters,
            pack_max,
            active,
            tip,
            synced: tip,
            last_pack,
            planned: Vec::new(),
            planned_from: tip,
        })
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// An error of this location, with its name in it.
    pub(crate) fn named(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.backend.describe()))
    }

    pub(crate) const fn tip(&self) -> Tip {
        self.tip
    }

    /// The pack that is being written; 0 when there is none.
    pub(crate) fn active_pack(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.number)
    }

    /// The highest number that a pack of this location has had.
    pub(crate) const fn last_pack(&self) -> u64 {
        self.last_pack
    }

    /// Whether `bytes` more still fit into the active pack.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.active.is_some() && (self.tip.end + bytes <= self.pack_max || self.tip.end <= PACK_HEADER)
    }

    /// Whether the last frame changes nothing.
    pub(crate) fn ends_with_empty_frame(&self) -> io::Result<bool> {
        let mut header = [0; 128];
        let Some(active) = self.active.as_ref().filter(|_| self.tip.start != 0) else { return Ok(false) };
        let count = active.file.read_at(&mut header, self.tip.start)?;
        Ok(FrameHeader::decode(&header[..count]).is_some_and(|header| header.is_empty()))
    }

    /// Whether frames were written that are not synced.
    pub(crate) fn is_dirty(&self) -> bool {
        self.tip != self.synced
    }

    /// Closes the active pack, if any. Everything must be synced.
    pub(crate) fn seal(&mut self) -> io::Result<()> {
        if let Some(active) = &self.active {
            active.file.truncate(self.tip.end)?;
            active.file.sync()?;
            self.active = None;
        }
        Ok(())
    }

    /// Closes the active pack, if any, and begins the next. Everything must be synced.
    pub(crate) fn roll(&mut self) -> io::Result<()> {
        self.seal()?;
        let number = self.last_pack + 1;
        let header = PackHeader {
            location: self.parameters.location,
            store_id: self.parameters.store_id,
            number,
            before: self.tip.sequence,
            chunking: self.parameters.chunking,
        };
        let bytes = header.encode();
        let file = self.backend.create_pack(number)?;
        let written =
            file.write_at(&[&bytes], 0).and_then(|()| file.sync()).and_then(|()| self.backend.sync_packs());
        if let Err(error) = written {
            // What remains of it is an interrupted creation; should even that fail, the next opening removes it.
            if self.backend.remove_pack(number).is_err() {
                self.last_pack = number;
            }
            return Err(error);
        }
        self.last_pack = number;
        self.active = Some(Active { number, file, allocated: PACK_HEADER });
        let is_first = self.tip.pack == 0;
        let chain = if is_first { *blake3::hash(&bytes).as_bytes() } else { self.tip.chain };
        self.tip = Tip { pack: number, start: 0, end: PACK_HEADER, sequence: self.tip.sequence, chain };
        self.synced = self.tip;
        Ok(())
    }

    /// Adds a frame to what [`LocationLog::write`] will write.
    pub(crate) fn plan(&mut self, plan: FramePlan<'_>) -> Planned {
        if self.planned.is_empty() {
            self.planned_from = self.tip;
        }
        let (heads, payload): (Vec<_>, Vec<_>) = plan.blocks.into_iter().unzip();
        let description = Description { blocks: heads, operations: plan.operations.to_vec() };
        let (encoded, unpacked) = pack_description(description.encode());
        let header = FrameHeader {
            unpacked,
            kind: plan.kind,
            sequence: plan.sequence,
            durable: plan.durable,
            description: u32::try_from(encoded.len()).unwrap_or(u32::MAX),
            payload: description.payload(),
            before: self.tip.sequence,
            chain: self.tip.chain,
        };
        let start = self.tip.end;
        let header_bytes = header.encode(&self.parameters.store_id, &encoded);
        let mut own = Vec::with_capacity(header_bytes.len() + encoded.len() + 8);
        own.extend_from_slice(&header_bytes);
        own.extend_from_slice(&encoded);
        self.planned.push(Part::Own(own));
        let mut at = start + FRAME_HEADER + encoded.len() as u64;
        let mut offsets = Vec::with_capacity(payload.len());
        for bytes in payload {
            offsets.push(at);
            at += bytes.len() as u64;
            self.planned.push(Part::Shared(bytes));
        }
        let end = align(at);
        self.planned.push(Part::Own(vec![0; usize::try_from(end - at).unwrap_or(0)]));
        let chain = *blake3::hash(&header_bytes).as_bytes();
        self.tip = Tip { pack: self.tip.pack, start, end, sequence: plan.sequence, chain };
        Planned { pack: self.tip.pack, end, offsets, saved: header.saved() }
    }

    /// Writes everything planned. On failure nothing of it remains planned; see [`LocationLog::roll_back`].
    pub(crate) fn write(&mut self) -> io::Result<()> {
        let parts = std::mem::take(&mut self.planned);
        if parts.is_empty() {
            return Ok(());
        }
        let from = self.planned_from.end;
        let Some(active) = &mut self.active else { return Err(io::ErrorKind::NotFound.into()) };
        if self.tip.end > active.allocated {
            let free = self.backend.space()?.free;
            let ahead = (free / ALLOCATE_SHARE).min(ALLOCATE_MAX);
            let length = (self.tip.end + ahead).min(self.pack_max.max(self.tip.end));
            // Only to write faster; without it the file grows as it is written.
            if active.file.allocate(length).is_ok() {
                active.allocated = length;
            }
        }
        let slices: Vec<&[u8]> = parts.iter().map(Part::bytes).filter(|bytes| !bytes.is_empty()).collect();
        active.file.write_at(&slices, from)?;
        active.allocated = active.allocated.max(self.tip.end);
        Ok(())
    }

    /// Forgets planned frames that were not written.
    pub(crate) fn unplan(&mut self) {
        if !self.planned.is_empty() {
            self.planned.clear();
            self.tip = self.planned_from;
        }
    }

    /// Makes everything written durable, or only counts it as that where the operator chose so.
    pub(crate) fn sync(&mut self, is_synced: bool) -> io::Result<()> {
        if let Some(active) = self.active.as_ref().filter(|_| is_synced) {
            active.file.sync()?;
        }
        self.synced = self.tip;
        Ok(())
    }

    /// Cuts off what was written after `to`, which lies in the active pack, durably.
    pub(crate) fn roll_back(&mut self, to: Tip) -> io::Result<()> {
        self.planned.clear();
        if let Some(active) = &mut self.active
            && active.number == to.pack
        {
            active.file.truncate(to.end)?;
            active.allocated = to.end;
            active.file.sync()?;
        }
        self.tip = to;
        self.synced = to;
        Ok(())
    }

    /// After a failed sync: cuts off what was not synced and never touches the file again. The header of the next pack tells where this one ends.
    pub(crate) fn abandon(&mut self) -> io::Result<()> {
        self.planned.clear();
        self.tip = self.synced;
        if let Some(active) = self.active.take() {
            // The file may be beyond help; the next pack's header decides.
            let _ = active.file.truncate(self.tip.end);
        }
        self.roll()
    }

    /// Where the location was synced last.
    pub(crate) const fn synced(&self) -> Tip {
        self.synced
    }

    /// Gives back what was allocated ahead.
    pub(crate) fn trim(&mut self) -> io::Result<()> {
        if let Some(active) = &mut self.active
            && active.allocated > self.tip.end
        {
            active.file.truncate(self.tip.end)?;
            active.file.sync()?;
            active.allocated = self.tip.end;
        }
        Ok(())
    }
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}
