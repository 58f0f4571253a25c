//! Verifying a store that is in use: every byte of every pack, and the index against what the packs say, while writing and compaction go on.
//!
//! What a pack's row calls its end was synced, and is never changed below it: so what is read there is either as it was written or damaged, whatever happens
//! meanwhile. What the index says of it does change. Therefore whatever looks wrong between a pack and the index is looked at again afterwards, first the row
//! and then how far compaction has come with the pack; only what is wrong then too is a finding. A pack that compaction has removed meanwhile has none.
//!
//! Memory is bounded: what was found in packs is remembered as numbers, and compared with the index's rows as soon as there are many.

mod rows;
#[cfg(test)]
mod tests;

use crate::{
    backend::PackFile,
    finding::Finding,
    frame::{Change, FRAME_HEADER, Operation, PACK_HEADER, PackHeader},
    id::BlockId,
    index::IndexError,
    mend::{Gap, Mender},
    params::Parameters,
    read::Reading,
    rows::{KeyRow, PackRow, Place, prefixed},
    task::Observer,
    walk::{Bad, Depth, Frame, Step, Walk},
};
use bytes::Bytes;
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// So many things found in packs are remembered before the index's rows are compared with them.
const GROUP_MAX: usize = 2 << 20;
/// Suspicions that one pack may give before they are looked at.
const SUSPECTS_MAX: usize = 4_096;
/// Damaged blocks whose entries are looked for.
const DAMAGED_MAX: usize = 4_096;
/// Longest sleep between two looks whether to go on.
const NAP: Duration = Duration::from_millis(50);

/// A pack of a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct PackPlace {
    /// The location, from 0.
    pub location: u8,
    /// Its pack.
    pub pack: u64,
}

/// How a store is verified.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verification {
    /// Begin with this pack, or the first after it; `None`: with the first.
    pub from: Option<PackPlace>,
    /// End after so many packs; 0 for all.
    pub packs_max: usize,
    /// Bytes that are read per second; 0 for as fast as the disk.
    pub bytes_per_second: u64,
    /// Put right what can be.
    pub is_repairing: bool,
}

/// What verifying has read and found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Packs read.
    pub packs: u64,
    /// Frames read.
    pub frames: u64,
    /// Blocks read.
    pub blocks: u64,
    /// Entries whose references were followed; none where it began or ended in the middle.
    pub entries: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong and stays so.
    pub damaged: u64,
    /// What was wrong and was put right.
    pub repaired: u64,
    /// Differences between index and packs among what is wrong.
    pub index_differs: u64,
    /// The pack to go on with; `None` at the end.
    pub next: Option<PackPlace>,
}

/// Why verifying ended early.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Whoever asked for it has called it off.
    #[error("called off")]
    CalledOff,
    /// The index cannot be read.
    #[error("cannot read the index: {0}; it is rebuilt at the next start")]
    Index(String),
}

impl From<IndexError> for VerifyError {
    fn from(error: IndexError) -> Self {
        Self::Index(error.0)
    }
}

/// Something that may be wrong between a pack and the index.
enum Suspect {
    Operation { offset: u64, end: u64, key: Vec<u8>, order: (u64, u32) },
    Block { id: BlockId, place: Place },
}

/// What the index has of an operation.
enum Known {
    Yes,
    Lacking,
    Otherwise,
}

pub(crate) struct Verifier<'a> {
    reading: &'a Reading,
    parameters: &'a [Parameters],
    how: Verification,
    observer: &'a dyn Observer,
    done: Verified,
    total: u64,
    /// Hashes of what was found in the packs of the group, and how far those were read.
    found: HashSet<u64>,
    group: HashMap<PackPlace, u64>,
    damaged: HashSet<BlockId>,
    started: Instant,
}

impl<'a> Verifier<'a> {
    pub(crate) fn new(
        reading: &'a Reading,
        parameters: &'a [Parameters],
        how: Verification,
        observer: &'a dyn Observer,
    ) -> Self {
        Self {
            reading,
            parameters,
            how,
            observer,
            done: Verified::default(),
            total: 0,
            found: HashSet::new(),
            group: HashMap::new(),
            damaged: HashSet::new(),
            started: Instant::now(),
        }
    }

    pub(crate) fn run(mut self) -> Result<Verified, VerifyError> {
        let packs = self.reading.index.packs()?;
        let packs = packs.into_iter().filter(|(.., row)| !row.is_forgotten());
        let mut packs: Vec<_> =
            packs.map(|(location, pack, row)| (PackPlace { location, pack }, row.end)).collect();
        packs.retain(|(place, _)| self.how.from.is_none_or(|from| *place >= from));
        self.total = packs.iter().map(|(_, end)| end).sum();
        let is_whole = self.how.from.is_none() && self.how.packs_max == 0;
        let most = if self.how.packs_max == 0 { usize::MAX } else { self.how.packs_max };
        for (at, (place, _)) in packs.iter().enumerate() {
            if at == most {
                self.done.next = Some(*place);
                break;
            }
            self.pack(*place)?;
            if self.found.len() >= GROUP_MAX {
                self.compare_group()?;
            }
        }
        self.compare_group()?;
        if is_whole {
            self.find_unknown_packs()?;
            self.follow_references()?;
        }
        self.name_entries()?;
        self.observer.progress(self.done.bytes, self.done.bytes.max(self.total));
        Ok(self.done)
    }

    fn report(&mut self, place: PackPlace, offset: u64, what: String, repaired: bool) {
        let location = self.reading.locations.get(usize::from(place.location));
        let location = location.map_or_else(String::new, |backend| backend.describe());
        let finding = Finding { location, pack: place.pack, offset, what, repaired };
        match repaired {
            true => {
                tracing::warn!(%finding, "damage was repaired");
                self.done.repaired += 1;
            }
            false => {
                tracing::error!(%finding, "damage");
                self.done.damaged += 1;
            }
        }
        self.observer.found(&finding);
    }

    fn differ(&mut self, place: PackPlace, offset: u64, what: String) {
        self.done.index_differs += 1;
        self.report(place, offset, what, false);
    }

    /// The pack's row, unless compaction has finished with the pack.
    fn row(&self, place: PackPlace) -> Result<Option<PackRow>, IndexError> {
        let row = self.reading.index.pack(place.location, place.pack)?;
        Ok(row.filter(|row| !row.is_forgotten()))
    }

    /// Reads one pack.
    fn pack(&mut self, place: PackPlace) -> Result<(), VerifyError> {
        let Some(row) = self.row(place)? else { return Ok(()) };
        let backend = self.reading.locations[usize::from(place.location)].clone();
        let file = match backend.open_pack(place.pack) {
            Ok(file) => file,
            Err(error) => {
                if self.row(place)?.is_some() {
                    self.report(place, 0, format!("this pack cannot be opened: {error}"), false);
                }
                return Ok(());
            }
        };
        self.done.packs += 1;
        let mender = Mender::new(self.reading, self.parameters, place);
        if file.len().is_ok_and(|length| length < row.end) {
            let what = format!("this pack is shorter than the {} bytes that were written to it", row.end);
            self.report(place, file.len().unwrap_or(0), what, false);
        }
        self.header(place, file.as_ref(), &mender);
        let before = self.done.bytes;
        let mut suspects = Vec::new();
        let walked = self.frames(place, &file, row.end, &mender, &mut suspects);
        self.done.bytes = before + row.end;
        match walked {
            Ok(()) => {}
            Err(Broken::Verify(error)) => return Err(error),
            Err(Broken::Io(error)) => {
                self.report(place, 0, format!("this pack cannot be read: {error}"), false)
            }
        }
        self.look_again(place, suspects)?;
        self.group.insert(place, row.end);
        Ok(())
    }

    fn header(&mut self, place: PackPlace, file: &dyn PackFile, mender: &Mender<'_>) {
        let mut bytes = [0; 128];
        let count = file.read_at(&mut bytes, 0).unwrap_or(0);
        let parameters = &self.parameters[usize::from(place.location)];
        let decoded = PackHeader::decode(&bytes[..count]);
        if !decoded.is_ok_and(|header| header.belongs(parameters, place.pack)) {
            let repaired = self.how.is_repairing && mender.header(file);
            self.report(place, 0, "the header of this pack is damaged".to_owned(), repaired);
        }
    }

    /// Reads the frames of a pack up to `end`.
    fn frames(
        &mut self,
        place: PackPlace,
        file: &Arc<dyn PackFile>,
        end: u64,
        mender: &Mender<'_>,
        suspects: &mut Vec<Suspect>,
    ) -> Result<(), Broken> {
        let store_id = self.parameters[0].store_id;
        let mut walk = Walk::new(file.clone(), store_id, Depth::Everything, PACK_HEADER)?;
        let mut last: Option<(u64, [u8; 32])> = None;
        // Where something was mended last: what is still bad there then stays so.
        let mut mended = None;
        let before = self.done.bytes;
        loop {
            self.pace()?;
            match walk.step()? {
                Step::Frame(frame) if frame.start >= end => return Ok(()),
                Step::Frame(frame) => {
                    let continues = last.is_none_or(|(sequence, chain)| {
                        frame.header.before == sequence && frame.header.chain == chain
                    });
                    if !continues {
                        let what = "a frame does not continue the chain".to_owned();
                        self.report(place, frame.start, what, false);
                    }
                    last = Some((frame.header.sequence, frame.chain));
                    self.frame(place, &frame, suspects)?;
                    self.done.bytes = before + frame.end;
                    if suspects.len() >= SUSPECTS_MAX {
                        let all = std::mem::take(suspects);
                        self.look_again(place, all)?;
                    }
                }
                Step::End if walk.at() >= end => return Ok(()),
                Step::Bad(bad) if bad.offset >= end => return Ok(()),
                step => {
                    let at = walk.at();
                    let bad = match step {
                        Step::Bad(bad) => bad,
                        _ => Bad { offset: at, what: "a frame that is zeros now", next: None, header: None },
                    };
                    let next = match bad.next {
                        Some(next) => Some(next),
                        None => walk.find_frame(bad.offset + 8)?,
                    };
                    if mended != Some(bad.offset) {
                        mended = Some(bad.offset);
                        if self.bad(place, file, &bad, Gap { last, next, end }, mender)? {
                            walk = Walk::new(file.clone(), store_id, Depth::Everything, bad.offset)?;
                            continue;
                        }
                    }
                    // A frame whose description is whole still tells what it holds.
                    last = match bad.next.is_some().then(|| self.described(file, bad.offset)).flatten() {
                        Some(frame) => {
                            let told = (frame.header.sequence, frame.chain);
                            self.frame(place, &frame, suspects)?;
                            Some(told)
                        }
                        None => None,
                    };
                    match next.filter(|next| *next < end) {
                        Some(next) => walk.skip_to(next),
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    fn described(&self, file: &Arc<dyn PackFile>, offset: u64) -> Option<Box<Frame>> {
        let store_id = self.parameters[0].store_id;
        let mut walk = Walk::new(file.clone(), store_id, Depth::Descriptions, offset).ok()?;
        match walk.step() {
            Ok(Step::Frame(frame)) => Some(frame),
            _ => None,
        }
    }

    /// Names what is bad, and mends it where that is asked for. True when the place is to be read again.
    fn bad(
        &mut self,
        place: PackPlace,
        file: &Arc<dyn PackFile>,
        bad: &Bad,
        gap: Gap,
        mender: &Mender<'_>,
    ) -> Result<bool, VerifyError> {
        let Some(frame) = self.described(file, bad.offset) else {
            let repaired = self.how.is_repairing && mender.frame(file.as_ref(), bad.offset, gap)?;
            self.report(place, bad.offset, format!("{} is damaged", bad.what), repaired);
            return Ok(repaired);
        };
        let mut changed = false;
        let mut found = false;
        for (head, at, _) in frame.blocks(place.location, place.pack) {
            let mut bytes = vec![0; at.len as usize];
            let count = file.read_at(&mut bytes, at.offset);
            if count.is_ok_and(|count| count == bytes.len()) && BlockId::of(&bytes) == head.id {
                continue;
            }
            found = true;
            let repaired = self.how.is_repairing && mender.block(file.as_ref(), &head.id, &at);
            changed |= repaired;
            if !repaired && self.damaged.len() < DAMAGED_MAX {
                self.damaged.insert(head.id);
            }
            self.report(place, at.offset, format!("block {} is damaged", head.id), repaired);
        }
        let gap_at = frame.start + FRAME_HEADER + u64::from(frame.header.description) + frame.header.payload;
        let mut zeros = vec![0; usize::try_from(frame.end - gap_at).unwrap_or(0)];
        let count = file.read_at(&mut zeros, gap_at).unwrap_or(0);
        if zeros[..count].iter().any(|byte| *byte != 0) {
            found = true;
            let repaired = self.how.is_repairing && mender.zeros(file.as_ref(), gap_at, frame.end);
            changed |= repaired;
            self.report(place, gap_at, "the gap after a frame is damaged".to_owned(), repaired);
        }
        if !found {
            self.report(place, bad.offset, format!("{} is damaged", bad.what), false);
        }
        Ok(changed)
    }

    /// Compares what a frame holds with the index.
    fn frame(
        &mut self,
        place: PackPlace,
        frame: &Frame,
        suspects: &mut Vec<Suspect>,
    ) -> Result<(), VerifyError> {
        self.done.frames += 1;
        for (head, at, _) in frame.blocks(place.location, place.pack) {
            self.done.blocks += 1;
            self.found.insert(block_mark(&head.id, &at));
            if self.reading.row(&head.id)?.is_none_or(|row| !row.places.contains(&at)) {
                suspects.push(Suspect::Block { id: head.id, place: at });
            }
        }
        for operation in &frame.description.operations {
            let key = prefixed(operation.table.0, &operation.key);
            let order = (operation.sequence, operation.index);
            self.found.insert(operation_mark(place, &key, order));
            match self.is_known(&key, order, operation)? {
                Known::Yes => {}
                Known::Lacking => {
                    suspects.push(Suspect::Operation { offset: frame.start, end: frame.end, key, order });
                }
                Known::Otherwise => {
                    // Rows of one operation never change what they hold: there is nothing to look at again.
                    let what = format!("the index has {} with another content", name(&key));
                    self.differ(place, frame.start, what);
                }
            }
        }
        Ok(())
    }

    /// Whether the index has this operation as it is here, or a later one of its key.
    fn is_known(&self, key: &[u8], order: (u64, u32), operation: &Operation) -> Result<Known, IndexError> {
        let row = self.current(key)?;
        Ok(match (row, &operation.change) {
            // A delete may have been forgotten with everything that it hid.
            (None, Change::Delete) => Known::Yes,
            (None, Change::Put { .. }) => Known::Lacking,
            (Some(row), _) if row.order() < order => Known::Lacking,
            (Some(row), _) if row.order() > order => Known::Yes,
            (Some(KeyRow { put: Some(put), .. }), Change::Put { references, value })
                if put.references == *references && put.value == *value =>
            {
                Known::Yes
            }
            (Some(KeyRow { put: None, .. }), Change::Delete) => Known::Yes,
            (Some(_), _) => Known::Otherwise,
        })
    }

    fn current(&self, key: &[u8]) -> Result<Option<KeyRow>, IndexError> {
        match self.reading.index.entry(key)? {
            Some(row) => Ok(Some(row)),
            None => match self.reading.index.tombstone(key)? {
                Some(row) => Ok(Some(row)),
                // Between the two looks a tombstone may have become an entry.
                None => self.reading.index.entry(key),
            },
        }
    }

    /// Looks at suspicions again: the row first, then how far compaction has come with the pack.
    fn look_again(&mut self, place: PackPlace, suspects: Vec<Suspect>) -> Result<(), VerifyError> {
        for suspect in suspects {
            let (offset, end, what) = match suspect {
                Suspect::Block { id, place: at } => {
                    if self.reading.row(&id)?.is_some_and(|row| row.places.contains(&at)) {
                        continue;
                    }
                    (at.offset, at.end(), format!("the index does not know that block {id} lies here"))
                }
                Suspect::Operation { offset, end, key, order } => {
                    if self.current(&key)?.is_some_and(|row| row.order() >= order) {
                        continue;
                    }
                    (offset, end, format!("the index lacks {}", name(&key)))
                }
            };
            if self.row(place)?.is_some_and(|row| row.done < end) {
                self.differ(place, offset, what);
            }
        }
        Ok(())
    }

    fn go_on(&self, at: usize) -> Result<(), VerifyError> {
        match at.is_multiple_of(1_024) && self.observer.is_stopped() {
            true => Err(VerifyError::CalledOff),
            false => Ok(()),
        }
    }

    /// Tells how far it is, and waits where it is too fast.
    fn pace(&self) -> Result<(), VerifyError> {
        self.observer.progress(self.done.bytes, self.total);
        loop {
            if self.observer.is_stopped() {
                return Err(VerifyError::CalledOff);
            }
            if self.how.bytes_per_second == 0 {
                return Ok(());
            }
            let due = Duration::from_secs_f64(self.done.bytes as f64 / self.how.bytes_per_second as f64);
            let early = due.saturating_sub(self.started.elapsed());
            if early.is_zero() {
                return Ok(());
            }
            thread::sleep(early.min(NAP));
        }
    }
}

/// Stands for no pack in particular.
const FIRST: PackPlace = PackPlace { location: 0, pack: 0 };

enum Broken {
    Verify(VerifyError),
    Io(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<VerifyError> for Broken {
    fn from(error: VerifyError) -> Self {
        Self::Verify(error)
    }
}

fn block_mark(id: &BlockId, place: &Place) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(id.as_bytes()).update(&[place.location]);
    hasher.update(&place.pack.to_le_bytes()).update(&place.offset.to_le_bytes());
    first_8(&hasher)
}

fn operation_mark(place: PackPlace, key: &[u8], order: (u64, u32)) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"operation").update(&[place.location]).update(&place.pack.to_le_bytes());
    hasher.update(&order.0.to_le_bytes()).update(&order.1.to_le_bytes()).update(key);
    first_8(&hasher)
}

fn first_8(hasher: &blake3::Hasher) -> u64 {
    hasher.finalize().as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn id_of(key: &Bytes) -> Option<BlockId> {
    key.get(1..).and_then(|id| id.try_into().ok()).map(BlockId::from_bytes)
}

/// An entry for people: its table, and its key with readable bytes as they are.
fn name(key: &[u8]) -> String {
    let (table, key) = key.split_first().unwrap_or((&0, &[]));
    format!("an entry of table {table}, {},", key.escape_ascii())
}
