//! Reads the packs of one location at opening: how far they are valid, and what lies beyond.
//!
//! A scan changes nothing; [`crate::recover`] decides with the scans of all locations.

use crate::{
    backend::{Backend, PackFile},
    error::OpenError,
    frame::{BadPackHeader, FrameHeader, Kind, PACK_FORMAT, PACK_HEADER, PackHeader},
    params::Parameters,
    rows::Tip,
    walk::{Bad, Depth, Frame, Step, Walk},
};
use std::{io, sync::Arc};

/// Frames that may not be durable are few; beyond this many the list is pruned.
const TAIL_PRUNE: usize = 65_536;

/// A pack whose header is whole.
pub(crate) struct PackInfo {
    pub(crate) number: u64,
    pub(crate) before: u64,
    pub(crate) chain: [u8; 32],
    pub(crate) length: u64,
    pub(crate) file: Arc<dyn PackFile>,
}

/// A frame that later ones have not shown to be durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailFrame {
    pub(crate) sequence: u64,
    pub(crate) kind: Kind,
    /// Where the valid part would end if this frame were cut off.
    pub(crate) before: Tip,
}

/// What one location holds.
pub(crate) struct Scan {
    pub(crate) packs: Vec<PackInfo>,
    /// The last valid frame before anything bad.
    pub(crate) tip: Tip,
    /// The last frames: all that later ones have not shown to be durable, and at least one commit that they have.
    pub(crate) tail: Vec<TailFrame>,
    /// The highest durable number in any whole header.
    pub(crate) durable: u64,
    /// The first thing that is not as it should be, and the pack it is in.
    pub(crate) bad: Option<(u64, Bad)>,
    /// Everything bad, where reading was resumed after it.
    pub(crate) all_bad: Vec<(u64, Bad)>,
    /// What abandoned packs still hold after their end: pack and end.
    pub(crate) residues: Vec<(u64, u64)>,
    /// Files that were never finished.
    pub(crate) unfinished: Vec<u64>,
    pub(crate) frames: u64,
}

/// Reads the headers of all packs of a location.
pub(crate) fn read_packs(backend: &dyn Backend, parameters: &Parameters) -> Result<Scan, OpenError> {
    let place = backend.describe();
    let io = |error| OpenError::io("read the packs", &place, error);
    let mut scan = Scan::empty();
    let numbers = backend.packs().map_err(io)?;
    let newest = numbers.last().copied();
    for number in numbers {
        let file = backend.open_pack(number).map_err(io)?;
        let length = file.len().map_err(io)?;
        let mut bytes = [0; 128];
        let count = file.read_at(&mut bytes, 0).map_err(io)?;
        let header = match PackHeader::decode(&bytes[..count]) {
            Ok(header) if header.belongs(parameters, number) => header,
            Ok(_) => {
                scan.note_bad(number, 0, "the header of another store's or location's pack");
                continue;
            }
            Err(BadPackHeader::Newer(found)) => {
                let writer = "a later version of jsfs".to_owned();
                return Err(OpenError::Newer { place, found, known: PACK_FORMAT, writer });
            }
            Err(BadPackHeader::NotWhole) => {
                let walk = Walk::new(file.clone(), parameters.store_id, Depth::Descriptions, 0);
                let mut walk = walk.map_err(io)?;
                if Some(number) == newest && walk.find_frame(0).map_err(io)?.is_none() {
                    scan.unfinished.push(number);
                } else {
                    scan.note_bad(number, 0, "the header of a pack");
                    scan.packs.extend(without_header(file, parameters, number, length).map_err(io)?);
                }
                continue;
            }
        };
        let chain = *blake3::hash(&bytes).as_bytes();
        scan.packs.push(PackInfo { number, before: header.before, chain, length, file });
    }
    Ok(scan)
}

/// A pack whose header is lost can still be read: the header says nothing that its name, `store.json` and its first frame do not.
fn without_header(
    file: Arc<dyn PackFile>,
    parameters: &Parameters,
    number: u64,
    length: u64,
) -> io::Result<Option<PackInfo>> {
    let mut walk = Walk::new(file.clone(), parameters.store_id, Depth::Descriptions, PACK_HEADER)?;
    let Step::Frame(first) = walk.step()? else { return Ok(None) };
    let &Parameters { location, store_id, chunking, .. } = parameters;
    let before = first.header.before;
    let header = PackHeader { location, store_id, number, before, chunking };
    let chain = *blake3::hash(&header.encode()).as_bytes();
    Ok(Some(PackInfo { number, before, chain, length, file }))
}

/// Where a frame was found: its pack, and whether something bad lies before it.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&PackInfo, Frame, bool) -> io::Result<()>;

impl Scan {
    pub(crate) fn empty() -> Self {
        Self {
            packs: Vec::new(),
            tip: Tip::default(),
            tail: Vec::new(),
            durable: 0,
            bad: None,
            all_bad: Vec::new(),
            residues: Vec::new(),
            unfinished: Vec::new(),
            frames: 0,
        }
    }

    fn note_bad(&mut self, pack: u64, offset: u64, what: &'static str) {
        let bad = Bad { offset, what, next: None, header: None };
        self.bad.get_or_insert((pack, bad.clone()));
        self.all_bad.push((pack, bad));
    }

    /// Whether the frame that the index names last lies exactly where it says.
    pub(crate) fn has(&self, tip: &Tip, store_id: [u8; 16]) -> io::Result<bool> {
        if tip.pack == 0 {
            return Ok(self.packs.is_empty());
        }
        let Some(pack) = self.packs.iter().find(|pack| pack.number == tip.pack) else { return Ok(false) };
        if tip.start == 0 {
            return Ok(tip.end == PACK_HEADER && pack.before == tip.sequence);
        }
        let mut walk = Walk::new(pack.file.clone(), store_id, Depth::Descriptions, tip.start)?;
        let Step::Frame(frame) = walk.step()? else { return Ok(false) };
        Ok(frame.end == tip.end && frame.header.sequence == tip.sequence && frame.chain == tip.chain)
    }

    /// Walks all frames after `from`, or all there are, and shows each to `visit`. Goes on after anything bad, for what can still be read.
    pub(crate) fn walk(
        &mut self,
        from: Option<Tip>,
        store_id: [u8; 16],
        depth: Depth,
        visit: Visit<'_>,
    ) -> io::Result<()> {
        let packs = std::mem::take(&mut self.packs);
        self.tip = from.unwrap_or_default();
        // The chain is unknown where compaction has removed what came before.
        let mut chain = from.map(|tip| tip.chain);
        for (at, pack) in packs.iter().enumerate() {
            if from.is_some_and(|tip| pack.number < tip.pack) {
                continue;
            }
            let next = packs.get(at + 1).filter(|next| next.number == pack.number + 1);
            let follows = at > 0 && packs[at - 1].number + 1 == pack.number;
            let mut start = PACK_HEADER;
            if from.is_some_and(|tip| pack.number == tip.pack) {
                start = self.tip.end;
            } else {
                if !follows {
                    chain = (pack.number == 1).then_some(pack.chain);
                } else if pack.before != self.tip.sequence && self.bad.is_none() {
                    self.note_bad(packs[at - 1].number, self.tip.end, "frames that are missing at the end");
                }
                if self.bad.is_none() {
                    let chain = chain.unwrap_or_default();
                    self.tip =
                        Tip { pack: pack.number, start: 0, end: PACK_HEADER, sequence: pack.before, chain };
                }
            }
            self.walk_pack(pack, next, start, &mut chain, store_id, depth, visit)?;
        }
        self.packs = packs;
        Ok(())
    }

    /// Forgets frames at the beginning of the tail that say nothing any more.
    fn prune(&mut self) {
        let is_durable_commit =
            |frame: &TailFrame| frame.kind == Kind::Commit && frame.sequence <= self.durable;
        let keep = self.tail.iter().rposition(is_durable_commit);
        self.tail.drain(..keep.unwrap_or(0));
    }

    #[expect(clippy::too_many_arguments, reason = "one loop, cut out of its only caller")]
    fn walk_pack(
        &mut self,
        pack: &PackInfo,
        next: Option<&PackInfo>,
        start: u64,
        chain: &mut Option<[u8; 32]>,
        store_id: [u8; 16],
        depth: Depth,
        visit: Visit<'_>,
    ) -> io::Result<()> {
        let mut walk = Walk::new(pack.file.clone(), store_id, depth, start)?;
        loop {
            let step = walk.step()?;
            let is_complete = next.is_some_and(|next| self.bad.is_none() && next.before == self.tip.sequence);
            let bad = match step {
                Step::End => return Ok(()),
                Step::Frame(_) | Step::Bad(_) if is_complete => {
                    // A failed sync ended this pack here; what comes after was taken back.
                    self.residues.push((pack.number, self.tip.end));
                    return Ok(());
                }
                Step::Frame(frame) if self.bad.is_some() => {
                    self.durable = self.durable.max(frame.header.durable);
                    visit(pack, *frame, true)?;
                    continue;
                }
                Step::Frame(frame) if self.continues(&frame.header, *chain) => {
                    self.accept(pack, &frame);
                    *chain = Some(frame.chain);
                    visit(pack, *frame, false)?;
                    continue;
                }
                Step::Frame(frame) => {
                    self.durable = self.durable.max(frame.header.durable);
                    let bad = Bad {
                        offset: frame.start,
                        what: "a frame that does not continue the chain",
                        next: Some(frame.end),
                        header: Some(frame.header.clone()),
                    };
                    visit(pack, *frame, true)?;
                    bad
                }
                Step::Bad(bad) => bad,
            };
            self.durable = self.durable.max(bad.header.as_ref().map_or(0, |header| header.durable));
            self.bad.get_or_insert((pack.number, bad.clone()));
            let resume = match bad.next {
                Some(next) => Some(next),
                None => walk.find_frame(bad.offset + 8)?,
            };
            self.all_bad.push((pack.number, bad));
            match resume {
                Some(resume) => walk.skip_to(resume),
                None => return Ok(()),
            }
        }
    }

    fn continues(&self, header: &FrameHeader, chain: Option<[u8; 32]>) -> bool {
        header.before == self.tip.sequence
            && header.sequence > self.tip.sequence
            && header.durable < header.sequence
            && chain.is_none_or(|chain| chain == header.chain)
    }

    fn accept(&mut self, pack: &PackInfo, frame: &Frame) {
        let header = &frame.header;
        self.frames += 1;
        self.durable = self.durable.max(header.durable);
        self.tail.push(TailFrame { sequence: header.sequence, kind: header.kind, before: self.tip });
        if self.tail.len() > TAIL_PRUNE {
            self.prune();
        }
        self.tip = Tip {
            pack: pack.number,
            start: frame.start,
            end: frame.end,
            sequence: header.sequence,
            chain: frame.chain,
        };
    }
}
