//! Opening: from whatever lies in the locations to a store that can go on.
//!
//! Decides between a torn tail, which is cut off, and damage, which makes the store read-only, by the highest `durable` number that any
//! whole frame or the index carries (decision 0002). Cutting can be interrupted at any point and is then done again. The index is used if the frame that it
//! names last is found exactly; on any doubt it is rebuilt.

use crate::{
    backend::Backend,
    error::OpenError,
    finding::{Cut, Finding, Opening},
    frame::{Kind, PACK_HEADER},
    index::{self, Index, IndexError},
    keeping::Role,
    log::LocationLog,
    params::Parameters,
    read::Reading,
    rows::{Mark, PackRow, TOMBSTONE, Tip},
    scan::{PackInfo, Scan, TailFrame, read_packs},
    store::temporary_path,
    view::{Layer, View},
    walk::{Depth, Frame, Walk, list_of},
};
use std::{io, ops::Bound, path::Path, sync::Arc};

/// Rows that a rebuild gathers before it hands them to the index.
pub(crate) const REBUILD_ROWS: usize = 20_000;
/// Most bytes of a torn tail that are kept.
const CUT_MAX: u64 = 64 << 20;

/// A store that is ready to be used.
pub(crate) struct Recovered {
    pub(crate) reading: Reading,
    pub(crate) logs: Vec<LocationLog>,
    pub(crate) mark: Mark,
    pub(crate) opening: Opening,
}

/// The index as it was found.
#[derive(Default)]
struct Found {
    index: Option<Index>,
    mark: Option<Mark>,
    /// Why it cannot be used as it is.
    doubt: Option<String>,
    /// It is this store's and sound, but knows frames that the packs do not have.
    is_ahead: bool,
}

impl Found {
    fn doubted(index: Option<Index>, doubt: String) -> Self {
        Self { index, doubt: Some(doubt), ..Self::default() }
    }
}

pub(crate) struct Recovery {
    pub(crate) backends: Vec<Arc<dyn Backend>>,
    pub(crate) parameters: Vec<Parameters>,
    pub(crate) scans: Vec<Scan>,
    /// Where a location is missing nothing is written, nothing is cut off, and it is not asked for what it should have.
    pub(crate) roles: Vec<Role>,
    /// Frames from this number on do not count. They are cut off, unless a location is missing.
    pub(crate) ignored_from: u64,
    pub(crate) opening: Opening,
    pub(crate) pack_max: u64,
}

/// Opens what lies in the locations, which are locked.
pub(crate) fn recover(
    backends: Vec<Arc<dyn Backend>>,
    parameters: Vec<Parameters>,
    roles: Vec<Role>,
    index_path: &Path,
    is_temporary: bool,
    pack_max: u64,
) -> Result<Recovered, OpenError> {
    let mut scans = Vec::new();
    for ((backend, parameters), role) in backends.iter().zip(&parameters).zip(&roles) {
        scans.push(match role {
            Role::Active => read_packs(backend.as_ref(), parameters)?,
            Role::Missing => Scan::empty(),
        });
    }
    let opening = Opening::default();
    let mut recovery =
        Recovery { backends, parameters, scans, roles, ignored_from: u64::MAX, opening, pack_max };
    let is_degraded = recovery.is_degraded();
    if !is_degraded {
        recovery.remove_unfinished()?;
    }
    let Found { index, mark, doubt, is_ahead } = recovery.open_index(index_path, is_temporary)?;
    let durable = mark.as_ref().map_or(0, |mark| mark.durable);
    let usable = mark.as_ref().filter(|_| doubt.is_none());
    recovery.scan(usable)?;
    recovery.judge(durable, usable)?;
    let is_damaged = !recovery.opening.damage.is_empty();
    match (index, &mark) {
        (Some(index), mark) if doubt.is_none() => {
            if is_damaged || is_degraded {
                index.keep_in_memory();
            }
            recovery.finish(index, mark.as_ref(), index_path)
        }
        // Rebuilt from what is left it would give older versions of what the packs have lost.
        (Some(index), Some(mark)) if is_damaged && is_ahead => {
            index.keep_in_memory();
            recovery.finish(index, Some(mark), index_path)
        }
        (index, _) => {
            drop(index);
            recovery.opening.rebuilt = doubt;
            // Damage leaves the old index alone: its mark is evidence.
            let beside = index_path.with_extension("damaged");
            let keeps_old = is_damaged || is_degraded;
            let path = if keeps_old { &beside } else { index_path };
            let index = open_empty(path, is_temporary || keeps_old)?;
            recovery.finish(index, None, index_path)
        }
    }
}

/// An empty index, in the place of whatever was there. Where the disk is full it lies elsewhere for as long as this process runs, so that what is
/// stored can be read and room can be made; the next opening puts it back.
fn open_empty(path: &Path, is_temporary: bool) -> Result<Index, OpenError> {
    wipe(path)?;
    match Index::open(path, is_temporary) {
        Ok(index) => Ok(index),
        Err(error) => {
            let elsewhere = temporary_path()?;
            tracing::warn!(%error, place = %elsewhere.display(), "the index is kept elsewhere until the next start");
            Index::open(&elsewhere, true).map_err(|_| index_failed(path, &error))
        }
    }
}

impl Recovery {
    fn store_id(&self) -> [u8; 16] {
        self.parameters[0].store_id
    }

    fn locations(&self) -> impl Iterator<Item = (u8, &Arc<dyn Backend>, &Scan)> {
        (0u8..).zip(self.backends.iter().zip(&self.scans)).map(|(at, (backend, scan))| (at, backend, scan))
    }

    fn is_degraded(&self) -> bool {
        self.roles.contains(&Role::Missing)
    }

    fn is_missing(&self, location: u8) -> bool {
        self.roles.get(usize::from(location)) == Some(&Role::Missing)
    }

    fn remove_unfinished(&mut self) -> Result<(), OpenError> {
        for (_, backend, scan) in self.locations() {
            for number in &scan.unfinished {
                let removed = backend.remove_pack(*number).and_then(|()| backend.sync_packs());
                removed.map_err(|error| {
                    OpenError::io("remove an unfinished pack", &backend.describe(), error)
                })?;
            }
        }
        Ok(())
    }

    fn open_index(&mut self, path: &Path, is_temporary: bool) -> Result<Found, OpenError> {
        let index = match Index::open(path, is_temporary) {
            Ok(index) => index,
            Err(error) => return Ok(Found::doubted(None, format!("it does not open: {error}"))),
        };
        let mark = match index.mark() {
            Ok(Some(mark)) => mark,
            Ok(None) if self.scans.iter().all(|scan| scan.packs.is_empty()) => {
                return Ok(Found { index: Some(index), ..Found::default() });
            }
            Ok(None) => {
                let why = "it was never finished, or an earlier version made it";
                return Ok(Found::doubted(Some(index), why.to_owned()));
            }
            Err(error) => return Ok(Found::doubted(Some(index), error.to_string())),
        };
        if mark.store_id != self.store_id() || mark.tips.len() != self.backends.len() {
            return Ok(Found::doubted(Some(index), "it is another store's".to_owned()));
        }
        let mut doubt = None;
        for ((at, backend, scan), tip) in self.locations().zip(&mark.tips) {
            if self.is_missing(at) {
                continue;
            }
            let found = scan.has(tip, self.store_id());
            if !found.map_err(|error| OpenError::io("read the packs", &backend.describe(), error))? {
                doubt = Some(format!("frame {}, the last that it knows, is not in the packs", tip.sequence));
            }
        }
        let is_ahead = doubt.is_some();
        match self.compare_packs(&index, &mark) {
            Ok(None) => Ok(Found { index: Some(index), mark: Some(mark), doubt, is_ahead }),
            Ok(doubt) => Ok(Found { index: Some(index), mark: Some(mark), doubt, is_ahead: false }),
            Err(error) => {
                let doubt = Some(error.to_string());
                Ok(Found { index: Some(index), mark: Some(mark), doubt, is_ahead: false })
            }
        }
    }

    /// Whether the index knows the packs that are there. A pack that it knows and that is gone, or shorter than what it knows of it, is damage;
    /// one that it does not know is doubt.
    fn compare_packs(&mut self, index: &Index, mark: &Mark) -> Result<Option<String>, IndexError> {
        let rows = index.packs()?;
        let mut lost = Vec::new();
        let mut forgotten = Layer::default();
        let is_degraded = self.is_degraded();
        let roles = self.roles.clone();
        for (location, number, row) in &rows {
            if roles.get(usize::from(*location)) == Some(&Role::Missing) {
                continue;
            }
            let Some(scan) = self.scans.get_mut(usize::from(*location)) else { continue };
            let found = scan.packs.iter().find(|pack| pack.number == *number).map(|pack| pack.length);
            let is_there = found.is_some();
            // Where nobody waits for the disk, a power loss may shorten the pack that is being written.
            let is_synced = mark.durable >= mark.sequence
                || mark.tips.get(usize::from(*location)).is_some_and(|tip| *number < tip.pack);
            if row.is_forgotten() && is_degraded {
                continue;
            }
            if row.is_forgotten() {
                // Compaction was interrupted between taking it out of the index and removing the file.
                if is_there {
                    let backend = &self.backends[usize::from(*location)];
                    let _ = backend.remove_pack(*number).and_then(|()| backend.sync_packs());
                    scan.packs.retain(|pack| pack.number != *number);
                }
                forgotten.forget_pack(*location, *number);
            } else if !is_there && scan.all_bad.iter().all(|(pack, _)| pack != number) {
                lost.push((*location, *number, 0, "this pack is missing".to_owned()));
            } else if let Some(length) = found.filter(|length| *length < row.end && is_synced) {
                let what = format!("this pack is shorter than the {} bytes that were written to it", row.end);
                lost.push((*location, *number, length, what));
            }
        }
        if forgotten.len() > 0 {
            index.apply(forgotten.into_changes(), Some(mark));
        }
        for (location, number, offset, what) in lost {
            self.find_damage(location, number, offset, what);
        }
        for ((location, _, scan), tip) in self.locations().zip(&mark.tips) {
            let known = |pack: &PackInfo| {
                rows.iter().any(|(at, number, _)| *at == location && *number == pack.number)
            };
            let unknown = scan
                .packs
                .iter()
                .find(|pack| pack.number < tip.pack && pack.length > PACK_HEADER && !known(pack));
            if let Some(pack) = unknown {
                return Ok(Some(format!("it does not know pack {}", pack.number)));
            }
        }
        Ok(None)
    }

    /// Reads everything after the mark, or everything.
    fn scan(&mut self, mark: Option<&Mark>) -> Result<(), OpenError> {
        let store_id = self.store_id();
        for (at, (backend, scan)) in self.backends.iter().zip(&mut self.scans).enumerate() {
            let from = mark.and_then(|mark| mark.tips.get(at)).copied();
            let walked = scan.walk(from, store_id, Depth::Everything, &mut |_, _, _| Ok(()));
            walked.map_err(|error| OpenError::io("read the packs", &backend.describe(), error))?;
            self.opening.replayed += scan.frames;
        }
        Ok(())
    }

    /// Finds out what was acknowledged, and cuts off or reports the rest.
    fn judge(&mut self, index_durable: u64, mark: Option<&Mark>) -> Result<(), OpenError> {
        let durable = self.scans.iter().map(|scan| scan.durable).fold(index_durable, u64::max);
        let losses = self.find_acknowledged_losses(durable, mark.map_or(0, |mark| mark.sequence));
        // A header is synced before the first frame is written, so no power loss takes it away.
        let lost_header = self.scans.iter().flat_map(|scan| &scan.all_bad).any(|(_, bad)| bad.offset == 0);
        if lost_header || !losses.is_empty() {
            self.report_damage(&losses);
            return Ok(());
        }
        if !self.opening.damage.is_empty() {
            return Ok(());
        }
        let first_lost = self.first_lost(durable, mark);
        if self.is_degraded() {
            self.ignored_from = first_lost;
            return Ok(());
        }
        for at in 0..self.scans.len() {
            self.cut(at, first_lost)?;
        }
        Ok(())
    }

    /// The lowest number after `durable` that is lost: in no location, or a commit that is not everywhere. One more than the last when nothing is.
    fn first_lost(&self, durable: u64, mark: Option<&Mark>) -> u64 {
        let known = mark.map_or(0, |mark| mark.sequence);
        let expected = self.roles.iter().filter(|role| **role == Role::Active).count();
        let highest = self.scans.iter().map(|scan| scan.tip.sequence).max().unwrap_or(0);
        let mut sequence = durable.max(known) + 1;
        loop {
            let mut holders = 0;
            let mut is_commit = false;
            for scan in &self.scans {
                if let Ok(found) = scan.tail.binary_search_by_key(&sequence, |frame| frame.sequence) {
                    holders += 1;
                    is_commit |= scan.tail[found].kind == Kind::Commit;
                }
            }
            // A frame that no location has may lie in one that is missing.
            let is_gone = holders == 0 && !(self.is_degraded() && sequence < highest);
            if is_gone || (is_commit && holders < expected) {
                return sequence;
            }
            sequence += 1;
        }
    }

    /// Locations that lack something numbered at or below `durable`. Up to `known`, which the index has, nothing was read here and nothing is in question.
    pub(crate) fn find_acknowledged_losses(&self, durable: u64, known: u64) -> Vec<u8> {
        let highest = self.scans.iter().map(|scan| scan.tip.sequence).fold(known, u64::max);
        // The last commit that every location must have.
        let is_acknowledged = |frame: &&TailFrame| frame.kind == Kind::Commit && frame.sequence <= durable;
        let last_commits = self.scans.iter().filter_map(|scan| scan.tail.iter().rfind(is_acknowledged));
        let last_commits = last_commits.map(|frame| frame.sequence);
        let last_commit = last_commits.max().unwrap_or(0);
        let mut losses = Vec::new();
        for (at, _, scan) in self.locations().filter(|(at, ..)| !self.is_missing(*at)) {
            let lacks_commit = scan.tip.sequence < last_commit;
            let from = scan.tip.sequence.max(known) + 1;
            let lacks_own = scan.bad.is_some() && from <= durable && self.may_have_lost(scan, from, durable);
            if lacks_commit || lacks_own || (highest < durable && !self.is_degraded()) {
                losses.push(at);
            }
        }
        losses
    }

    /// Whether a location with something bad in it may lack a frame in this range, because no other location has them all.
    fn may_have_lost(&self, scan: &Scan, from: u64, durable: u64) -> bool {
        let others: Vec<&Scan> = self.scans.iter().filter(|other| !std::ptr::eq(*other, scan)).collect();
        let mut sequences = from..=durable;
        !sequences.all(|sequence| {
            let holds = |other: &&&Scan| {
                let found = other.tail.binary_search_by_key(&sequence, |frame| frame.sequence);
                found.is_ok_and(|found| other.tail[found].kind != Kind::Commit)
            };
            others.iter().any(|other| holds(&other))
        })
    }

    pub(crate) fn report_damage(&mut self, losses: &[u8]) {
        let mut found = Vec::new();
        for (location, _, scan) in self.locations() {
            for (pack, bad) in &scan.all_bad {
                found.push((location, *pack, bad.offset, format!("{} is damaged", bad.what)));
            }
            if scan.all_bad.is_empty() && losses.contains(&location) {
                let what = "frames that were acknowledged are missing from here on".to_owned();
                found.push((location, scan.tip.pack, scan.tip.end, what));
            }
        }
        for (location, pack, offset, what) in found {
            self.find_damage(location, pack, offset, what);
        }
    }

    fn find_damage(&mut self, location: u8, pack: u64, offset: u64, what: String) {
        let location = self.backends[usize::from(location)].describe();
        self.opening.damage.push(Finding { location, pack, offset, what, repaired: false });
    }

    /// Cuts off what is numbered `first_lost` and higher, and what is bad, after keeping a copy.
    fn cut(&mut self, at: usize, first_lost: u64) -> Result<(), OpenError> {
        let scan = &mut self.scans[at];
        let backend = &self.backends[at];
        if let Some(frame) = scan.tail.iter().find(|frame| frame.sequence >= first_lost) {
            scan.tip = frame.before;
        }
        let mut ends: Vec<(u64, u64)> = scan.residues.clone();
        if scan.tip.pack != 0 {
            ends.push((scan.tip.pack, scan.tip.end));
        }
        for pack in scan.packs.iter().filter(|pack| pack.number > scan.tip.pack) {
            ends.push((pack.number, 0));
        }
        let cut = || -> io::Result<Vec<Cut>> {
            let mut cuts = Vec::new();
            // From the end on, so that an interrupted cut leaves a tail and no hole.
            for (number, end) in ends.into_iter().rev() {
                cuts.extend(cut_pack(backend.as_ref(), scan, number, end)?);
            }
            backend.sync_packs()?;
            Ok(cuts)
        };
        let cuts = cut().map_err(|error| OpenError::io("cut off a torn tail", &backend.describe(), error))?;
        scan.packs.retain(|pack| pack.number <= scan.tip.pack);
        for cut in &cuts {
            tracing::warn!(?cut, "a torn tail was cut off; it is kept in cut/");
        }
        self.opening.cuts.extend(cuts);
        Ok(())
    }

    /// Brings what the mark does not cover into the index.
    fn finish(mut self, index: Index, mark: Option<&Mark>, path: &Path) -> Result<Recovered, OpenError> {
        let failed = |error: &IndexError| index_failed(path, error);
        let reading = Reading::new(self.backends.clone(), index);
        let mut layer = Layer::default();
        let mut frames = 0;
        let is_rebuild = mark.is_none();
        let rebuilt_to = is_rebuild.then(|| self.mark(None).sequence);
        for at in 0..self.scans.len() {
            let from = mark.and_then(|mark| mark.tips.get(at)).copied();
            if let Some(from) = &from {
                let is_there = self.scans[at].has(from, self.store_id());
                // What follows the last frame that the index knows is gone with that frame.
                if !is_there.is_ok_and(|is_there| is_there) {
                    continue;
                }
            }
            let location = u8::try_from(at).unwrap_or(u8::MAX);
            let tip = self.scans[at].tip;
            let locations = self.backends.len();
            let store_id = self.store_id();
            let mut failure = None;
            let ignored_from = self.ignored_from;
            let walked = self.scans[at].walk(from, store_id, Depth::Descriptions, &mut |pack, frame, _| {
                if frame.header.sequence >= ignored_from {
                    return Ok(());
                }
                frames += 1;
                let applied =
                    apply_frame(&reading, &mut layer, locations, rebuilt_to, location, pack, &frame, 0);
                if layer.len() >= REBUILD_ROWS {
                    // Without a mark, so that an interrupted rebuild begins anew; replay keeps to one batch.
                    if is_rebuild {
                        reading.index.apply(std::mem::take(&mut layer).into_changes(), None);
                        reading.index.wait();
                    }
                }
                applied
                    .inspect_err(|error| failure = Some(error.clone()))
                    .map_err(|error| io::Error::other(error.0))
            });
            let describe = self.backends[at].describe();
            walked.map_err(|error| match &failure {
                Some(error) => failed(error),
                None => OpenError::io("read the packs", &describe, error),
            })?;
            self.scans[at].tip = tip;
        }
        if is_rebuild {
            reading.index.apply(std::mem::take(&mut layer).into_changes(), None);
            purge_spent(&reading, self.backends.len()).map_err(|error| failed(&error))?;
        }
        let mark = self.mark(mark);
        let is_sound = self.opening.damage.is_empty() && !self.is_degraded();
        if is_sound {
            reading.index.apply(layer.into_changes(), Some(&mark));
            if is_rebuild
                && frames > 0
                && let Err(error) = reading.index.flush()
            {
                tracing::warn!(%error, "the index stays in memory until it can be written");
            }
        } else {
            // Without a mark, and only in memory or in a temporary index: the next opening finds everything as this one did.
            reading.index.apply(layer.into_changes(), None);
        }
        let logs = self.logs()?;
        Ok(Recovered { reading, logs, mark, opening: self.opening })
    }

    fn mark(&self, old: Option<&Mark>) -> Mark {
        let tips: Vec<Tip> = self.scans.iter().map(|scan| scan.tip).collect();
        let sequence =
            tips.iter().map(|tip| tip.sequence).chain(old.map(|mark| mark.sequence)).max().unwrap_or(0);
        let durable =
            self.scans.iter().map(|scan| scan.durable).chain(old.map(|mark| mark.durable)).max().unwrap_or(0);
        Mark { store_id: self.store_id(), sequence, durable, tips }
    }

    fn logs(&self) -> Result<Vec<LocationLog>, OpenError> {
        let mut logs = Vec::new();
        for ((_, backend, scan), parameters) in self.locations().zip(&self.parameters) {
            let last = scan.packs.last().map_or(0, |pack| pack.number);
            let log = LocationLog::new(backend.clone(), parameters.clone(), self.pack_max, scan.tip, last);
            logs.push(
                log.map_err(|error| OpenError::io("open the newest pack", &backend.describe(), error))?,
            );
        }
        Ok(logs)
    }
}

/// Keeps a copy of what lies after `end` in a pack and cuts it off; `end` 0 removes the pack.
fn cut_pack(backend: &dyn Backend, scan: &Scan, number: u64, end: u64) -> io::Result<Option<Cut>> {
    let Some(pack) = scan.packs.iter().find(|pack| pack.number == number) else { return Ok(None) };
    let from = if end == 0 { PACK_HEADER } else { end };
    let mut walk = Walk::new(pack.file.clone(), [0; 16], Depth::Descriptions, 0)?;
    let Some(first) = walk.first_non_zero(from)? else {
        if end == 0 {
            backend.remove_pack(number)?;
        }
        return Ok(None);
    };
    let mut bytes = vec![0; usize::try_from((pack.length - from).min(CUT_MAX)).unwrap_or(0)];
    let count = pack.file.read_at(&mut bytes, from)?;
    let used = bytes[..count].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(used);
    tracing::debug!(number, first, "keeping a torn tail");
    match backend.keep_cut(&format!("{number:012}-{from}.cut"), &bytes) {
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            tracing::warn!(pack = number, "the disk is full: a torn tail is cut off without a copy of it");
        }
        kept => kept?,
    }
    if end == 0 {
        backend.remove_pack(number)?;
    } else {
        pack.file.truncate(end)?;
        pack.file.sync()?;
    }
    Ok(Some(Cut { location: backend.describe(), pack: number, offset: from, bytes: used as u64 }))
}

/// Applies one frame by the rules that running applies, but for blocks that compaction has carried: those before `done`. A rebuild says how far it goes.
#[expect(clippy::too_many_arguments, reason = "a frame, its place, and what it is applied to")]
pub(crate) fn apply_frame(
    reading: &Reading,
    layer: &mut Layer,
    locations: usize,
    rebuilt_to: Option<u64>,
    location: u8,
    pack: &PackInfo,
    frame: &Frame,
    done: u64,
) -> Result<(), IndexError> {
    let read_list = |id: &_, row: &_| reading.read_list(id, row);
    let under = std::mem::take(layer);
    let mut view = View::new(&reading.index, Some(&under), locations, &read_list);
    if rebuilt_to.is_some() {
        view = view.keep_spent_tombstones();
    }
    // Out of order nobody can tell what was live at which time: a rebuild says of everything that it became live just now.
    view.at_frame(rebuilt_to.unwrap_or(frame.header.sequence));
    for (head, place, bytes) in frame.blocks(location, pack.number).filter(|(_, place, _)| place.end() > done)
    {
        let list =
            list_of(pack.file.as_ref(), &place, &bytes).map_err(|error| IndexError(error.to_string()))?;
        view.see_block(place, head, list)?;
    }
    for operation in &frame.description.operations {
        view.see_operation(location, pack.number, operation)?;
    }
    let row = view.pack(location, pack.number)?;
    row.end = row.end.max(frame.end);
    row.saved += frame.header.saved();
    let top = view.top;
    *layer = under;
    layer.absorb(top);
    Ok(())
}

/// After a rebuild: tombstones that hide nothing go.
pub(crate) fn purge_spent(reading: &Reading, locations: usize) -> Result<(), IndexError> {
    let read_list = |id: &_, row: &_| reading.read_list(id, row);
    let mut spent = View::new(&reading.index, None, locations, &read_list);
    for row in reading.index.scan(Bound::Included(vec![TOMBSTONE]), Bound::Excluded(vec![TOMBSTONE + 1])) {
        let (key, _) = row?;
        spent.purge_if_spent(&key[1..])?;
        if spent.top.len() >= REBUILD_ROWS {
            reading.index.apply(std::mem::take(&mut spent.top).into_changes(), None);
        }
    }
    reading.index.apply(spent.top.into_changes(), None);
    Ok(())
}

pub(crate) fn wipe(path: &Path) -> Result<(), OpenError> {
    index::wipe(path)
        .map_err(|error| OpenError::io("remove the old index", &path.display().to_string(), error))
}

pub(crate) fn index_failed(path: &Path, error: &IndexError) -> OpenError {
    OpenError::Index { place: path.display().to_string(), what: error.to_string() }
}

impl PackRow {
    /// Compaction has taken it out of the index and is about to remove the file.
    pub(crate) const fn is_forgotten(&self) -> bool {
        self.done == u64::MAX
    }
}
