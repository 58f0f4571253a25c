//! Check: reads every byte of a store that nobody has open, and says what is wrong and where.
//!
//! Packs first: headers, chain, descriptions, blocks, gaps and the zeros at the end. Then an index is rebuilt beside the real one; what it lacks are blocks that
//! entries need and no pack has. Last, the real index is brought up to date in memory and compared with it row by row. Nothing is changed.

use crate::{
    backend::Backend,
    error::OpenError,
    finding::{Finding, Opening},
    id::BlockId,
    index::{Index, IndexError},
    keeping::Role,
    options::OpenOptions,
    params::Parameters,
    read::Reading,
    recover::{REBUILD_ROWS, Recovery, apply_frame, index_failed, purge_spent, wipe},
    rows::{BLOCK, BlockRow, CHUNK, ENTRY, KeyRow, Mark, PACK, PackRow, TOMBSTONE, TagRow},
    scan::{Scan, read_packs},
    store::{lock, temporary_path},
    view::Layer,
    walk::Depth,
};
use bytes::Bytes;
use std::{
    collections::{HashMap, HashSet},
    io,
    ops::Bound,
    path::Path,
    sync::Arc,
};

/// At most this many findings are listed; the rest is counted.
const FINDINGS_MAX: usize = 10_000;

/// What a check read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong, in the order of locations, packs and offsets. Empty: everything is as it was written.
    pub findings: Vec<Finding>,
    /// Findings beyond those listed.
    pub more: u64,
    /// Packs read.
    pub packs: u64,
    /// Frames read.
    pub frames: u64,
    /// Blocks found.
    pub blocks: u64,
    /// Live entries found.
    pub entries: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Whether there was an index to compare.
    pub is_index_compared: bool,
}

impl Report {
    /// Nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, location: &str, pack: u64, offset: u64, what: String) {
        if self.findings.len() >= FINDINGS_MAX {
            self.more += 1;
            return;
        }
        self.findings.push(Finding { location: location.to_owned(), pack, offset, what, repaired: false });
    }
}

/// Checks a store. Takes its lock, and blocks while every byte is read.
pub fn check(options: &OpenOptions) -> Result<Report, OpenError> {
    let backends = &options.locations;
    let _locks = backends.iter().map(|backend| lock(backend.as_ref())).collect::<Result<Vec<_>, _>>()?;
    let mut report = Report::default();
    for (number, backend) in backends.iter().enumerate().filter(|(_, backend)| backend.is_missing()) {
        let what = format!("location {number} is missing: mount its disk, then check again");
        report.find(&backend.describe(), 0, 0, what);
    }
    if !report.is_clean() {
        return Ok(report);
    }
    let mut parameters = Vec::new();
    let mut scans = Vec::new();
    for backend in backends {
        let Some(found) = Parameters::read(backend.as_ref())? else {
            report.find(&backend.describe(), 0, 0, "there is no store.json".to_owned());
            return Ok(report);
        };
        scans.push(read_packs(backend.as_ref(), &found)?);
        parameters.push(found);
    }
    let store_id = parameters[0].store_id;
    let current = options.index.as_ref().filter(|path| path.exists());
    let current = current.map(|path| Index::open(path, false));
    let known = Known::read(current.as_ref());
    let beside = match &options.index {
        Some(path) => path.with_extension("check"),
        None => temporary_path()?,
    };
    wipe(&beside)?;
    let rebuilt = Index::open(&beside, true).map_err(|error| index_failed(&beside, &error))?;
    let rebuilt = Reading::new(backends.clone(), rebuilt);
    read_all(&rebuilt, &mut scans, store_id, &known, &mut report, &beside)?;
    let recovery = Recovery {
        backends: backends.clone(),
        parameters,
        scans,
        roles: vec![Role::Active; backends.len()],
        ignored_from: u64::MAX,
        opening: Opening::default(),
        pack_max: 0,
    };
    judge(recovery, &known, &mut report);
    let first = backends[0].describe();
    let compared = check_rows(&rebuilt, &first, &mut report);
    compared.map_err(|error| index_failed(&beside, &error))?;
    if let Some(current) = current {
        compare_index(current, &known, &rebuilt, store_id, &first, &mut report);
    }
    report.findings.sort();
    report.findings.dedup();
    Ok(report)
}

/// What the real index says about the packs.
#[derive(Default)]
struct Known {
    mark: Option<Mark>,
    /// How far compaction has come with each pack.
    done: HashMap<(u8, u64), u64>,
    packs: HashSet<(u8, u64)>,
}

impl Known {
    fn read(index: Option<&Result<Index, IndexError>>) -> Self {
        let Some(Ok(index)) = index else { return Self::default() };
        let mark = index.mark().ok().flatten();
        let packs = index.packs().unwrap_or_default();
        let done = packs
            .iter()
            .filter(|(.., row)| row.done > 0)
            .map(|(location, number, row)| ((*location, *number), row.done));
        let kept = packs
            .iter()
            .filter(|(.., row)| !row.is_forgotten())
            .map(|(location, number, _)| (*location, *number));
        Self { mark, done: done.collect(), packs: kept.collect() }
    }
}

/// Reads every byte and fills the rebuilt index.
fn read_all(
    rebuilt: &Reading,
    scans: &mut [Scan],
    store_id: [u8; 16],
    known: &Known,
    report: &mut Report,
    path: &Path,
) -> Result<(), OpenError> {
    let locations = rebuilt.locations.len();
    let mut layer = Layer::default();
    for (location, scan) in (0u8..).zip(scans) {
        let backend = &rebuilt.locations[usize::from(location)];
        report.packs += scan.packs.len() as u64;
        report.bytes += scan.packs.iter().map(|pack| pack.length).sum::<u64>();
        let mut failure = None;
        let walked = scan.walk(None, store_id, Depth::Everything, &mut |pack, frame, _| {
            report.frames += 1;
            // What compaction has left behind is read, but the index does not lead there.
            let done = known.done.get(&(location, pack.number)).copied().unwrap_or(0);
            if frame.end <= done {
                return Ok(());
            }
            let applied = apply_frame(rebuilt, &mut layer, locations, Some(0), location, pack, &frame, done);
            if layer.len() >= REBUILD_ROWS {
                rebuilt.index.apply(std::mem::take(&mut layer).into_changes(), None);
                rebuilt.index.wait();
            }
            applied.map_err(|error| {
                let text = error.to_string();
                failure = Some(error);
                io::Error::other(text)
            })
        });
        walked.map_err(|error| match &failure {
            Some(error) => index_failed(path, error),
            None => OpenError::io("read the packs", &backend.describe(), error),
        })?;
    }
    rebuilt.index.apply(layer.into_changes(), None);
    purge_spent(rebuilt, locations).map_err(|error| index_failed(path, &error))
}

/// Names what is bad in the packs, and packs and frames that are not there at all.
fn judge(mut recovery: Recovery, known: &Known, report: &mut Report) {
    let index_durable = known.mark.as_ref().map_or(0, |mark| mark.durable);
    let durable = recovery.scans.iter().map(|scan| scan.durable).fold(index_durable, u64::max);
    let losses = recovery.find_acknowledged_losses(durable, 0);
    recovery.report_damage(&losses);
    for finding in recovery.opening.damage {
        report.find(&finding.location, finding.pack, finding.offset, finding.what);
    }
    for (location, number) in &known.packs {
        let Some(scan) = recovery.scans.get(usize::from(*location)) else { continue };
        let is_there = scan.packs.iter().any(|pack| pack.number == *number);
        let is_named = scan.all_bad.iter().any(|(pack, _)| pack == number);
        if !is_there && !is_named {
            let place = recovery.backends[usize::from(*location)].describe();
            report.find(&place, *number, 0, "this pack is missing".to_owned());
        }
    }
}

/// Every reference and list leads to a block.
fn check_rows(rebuilt: &Reading, place: &str, report: &mut Report) -> Result<(), IndexError> {
    let mut missing = HashSet::new();
    for row in all(&rebuilt.index, BLOCK) {
        let (key, value) = row?;
        let Some((id, row)) = id_of(&key).zip(BlockRow::decode(&value)) else { continue };
        report.blocks += u64::from(!row.places.is_empty());
        if row.references > 0 && row.places.is_empty() {
            missing.insert(id);
            report.find(place, 0, 0, format!("block {id}, which is referred to, is in no pack"));
        }
        if row.references > 0 && row.is_list && !row.is_counted {
            report.find(place, 0, 0, format!("list block {id} cannot be read"));
        }
    }
    for row in all(&rebuilt.index, ENTRY) {
        let (key, value) = row?;
        report.entries += 1;
        let Some(put) = KeyRow::decode(&value, true).and_then(|row| row.put) else { continue };
        for id in put.references.iter().filter(|id| missing.contains(*id)) {
            report.find(
                place,
                0,
                0,
                format!(
                    "an entry of table {} needs block {id}, which is in no pack: {}",
                    key[1],
                    name(&key[2..])
                ),
            );
        }
    }
    Ok(())
}

/// Compares the real index with the rebuilt one.
fn compare_index(
    current: Result<Index, IndexError>,
    known: &Known,
    rebuilt: &Reading,
    store_id: [u8; 16],
    place: &str,
    report: &mut Report,
) {
    let what = match (current, &known.mark) {
        // Nothing was ever flushed to it, as before the first clean end: nothing to compare.
        (Ok(_), None) => return,
        (Err(error), _) => format!("the index does not open ({error}); it is rebuilt at the next start"),
        (Ok(current), Some(mark)) => match follow(current, mark, &rebuilt.locations, store_id) {
            Ok(Some(current)) => {
                report.is_index_compared = true;
                match compare_rows(&current.index, &rebuilt.index, place, report) {
                    Ok(()) => return,
                    Err(error) => {
                        format!("the index cannot be read ({error}); it is rebuilt at the next start")
                    }
                }
            }
            Ok(None) => "the index does not match the packs; it is rebuilt at the next start".to_owned(),
            Err(error) => format!("the index cannot follow the packs: {error}"),
        },
    };
    // An index that is merely behind damaged packs is no finding of its own.
    report.find(place, 0, 0, what);
}

/// Replays into the index, in memory only, what its mark does not cover. `None` when its mark is not in the packs.
fn follow(
    index: Index,
    mark: &Mark,
    backends: &[Arc<dyn Backend>],
    store_id: [u8; 16],
) -> Result<Option<Reading>, io::Error> {
    index.keep_in_memory();
    let reading = Reading::new(backends.to_vec(), index);
    let mut layer = Layer::default();
    for (location, backend) in (0u8..).zip(backends) {
        let Ok(Some(parameters)) = Parameters::read(backend.as_ref()) else { return Ok(None) };
        let Ok(mut scan) = read_packs(backend.as_ref(), &parameters) else { return Ok(None) };
        let Some(tip) = mark.tips.get(usize::from(location)) else { return Ok(None) };
        if mark.store_id != store_id || !scan.has(tip, store_id)? {
            return Ok(None);
        }
        scan.walk(Some(*tip), store_id, Depth::Descriptions, &mut |pack, frame, _| {
            apply_frame(&reading, &mut layer, backends.len(), None, location, pack, &frame, 0)
                .map_err(|error| io::Error::other(error.0))
        })?;
    }
    reading.index.apply(layer.into_changes(), None);
    Ok(Some(reading))
}

/// Walks both indexes side by side.
fn compare_rows(
    current: &Index,
    rebuilt: &Index,
    place: &str,
    report: &mut Report,
) -> Result<(), IndexError> {
    for prefix in [ENTRY, TOMBSTONE, BLOCK, CHUNK, PACK] {
        let mut left = all(current, prefix);
        let mut right = all(rebuilt, prefix);
        let (mut l, mut r) = (left.next().transpose()?, right.next().transpose()?);
        loop {
            let order = match (&l, &r) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((l, _)), Some((r, _))) => l.cmp(r),
            };
            match order {
                std::cmp::Ordering::Less => {
                    if let Some((key, _)) =
                        l.as_ref().filter(|(key, value)| !may_differ(key, Some(value), None))
                    {
                        report.find(
                            place,
                            0,
                            0,
                            format!("the index has {}, which the packs do not have", describe(key)),
                        );
                    }
                    l = left.next().transpose()?;
                }
                std::cmp::Ordering::Greater => {
                    if let Some((key, _)) =
                        r.as_ref().filter(|(key, value)| !may_differ(key, None, Some(value)))
                    {
                        report.find(place, 0, 0, format!("the index lacks {}", describe(key)));
                    }
                    r = right.next().transpose()?;
                }
                std::cmp::Ordering::Equal => {
                    if let (Some((key, l)), Some((_, r))) = (&l, &r)
                        && l != r
                        && !may_differ(key, Some(l), Some(r))
                    {
                        let rows = rows_text(key[0], l, r);
                        report.find(
                            place,
                            0,
                            0,
                            format!("the index differs from the packs in {}: {rows}", describe(key)),
                        );
                    }
                    l = left.next().transpose()?;
                    r = right.next().transpose()?;
                }
            }
        }
    }
    Ok(())
}

/// Differences that come from the order in which things happened and mean nothing: which of several blocks with the same chunk a tag names; how
/// far compaction has come with a pack; since when a block has been live.
fn may_differ(key: &[u8], current: Option<&Bytes>, rebuilt: Option<&Bytes>) -> bool {
    match key[0] {
        CHUNK => true,
        BLOCK => {
            let row = |bytes: Option<&Bytes>| {
                bytes.and_then(BlockRow::decode).map(|row| BlockRow { since: 0, ..row })
            };
            row(current) == row(rebuilt)
        }
        PACK => {
            let row = |bytes: Option<&Bytes>| bytes.and_then(PackRow::decode).unwrap_or_default();
            let (current, rebuilt) = (row(current), row(rebuilt));
            current.is_forgotten()
                || (current.live == rebuilt.live && (current.end == rebuilt.end || current.done > 0))
        }
        _ => false,
    }
}

fn rows_text(prefix: u8, current: &Bytes, rebuilt: &Bytes) -> String {
    match prefix {
        ENTRY | TOMBSTONE => {
            let row = |bytes| {
                KeyRow::decode(bytes, prefix == ENTRY).map(|row| (row.sequence, row.index, row.copies))
            };
            format!("{:?} and {:?}", row(current), row(rebuilt))
        }
        BLOCK => format!("{:?} and {:?}", BlockRow::decode(current), BlockRow::decode(rebuilt)),
        PACK => format!("{:?} and {:?}", PackRow::decode(current), PackRow::decode(rebuilt)),
        _ => format!("{:?} and {:?}", TagRow::decode(current), TagRow::decode(rebuilt)),
    }
}

fn all(index: &Index, prefix: u8) -> crate::index::Rows {
    index.scan(Bound::Included(vec![prefix]), Bound::Excluded(vec![prefix + 1]))
}

fn id_of(key: &[u8]) -> Option<BlockId> {
    key.get(1..).and_then(|id| id.try_into().ok()).map(BlockId::from_bytes)
}

fn describe(key: &[u8]) -> String {
    match key[0] {
        ENTRY => format!("an entry of table {}: {}", key[1], name(&key[2..])),
        TOMBSTONE => format!("a tombstone of table {}: {}", key[1], name(&key[2..])),
        BLOCK => id_of(key).map_or_else(String::new, |id| format!("block {id}")),
        PACK => format!(
            "pack {} of location {}",
            key.get(2..).map_or(0, |digits| digits.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte))),
            key[1]
        ),
        _ => "a tag".to_owned(),
    }
}

/// A key for people: readable bytes as they are.
fn name(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}
