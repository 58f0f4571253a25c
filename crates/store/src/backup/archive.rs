//! A destination with its backups: finding them, adding one, thinning them, reading all of it.
//!
//! A backup counts from the moment its manifest is there; until then what was written for it is left over, and removed by the next one. Segments
//! are never changed. Memory: one segment, and the list of chunks of entries of one or two backups.

use crate::backup::{
    Ask, BackupError,
    depot::Depot,
    item::{Item, Kind, RowsId, decode_block, decode_rows},
    manifest::{About, FORMAT, Head, Manifest, RowsRef, SegmentRef},
};
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap, HashSet};

/// A segment is put when it has grown to this many bytes.
const SEGMENT_MAX: usize = 16 << 20;
const SEGMENT_MAGIC: &[u8; 8] = b"JSFSSEG1";
pub(crate) const SEGMENT_HEAD: usize = 72;
const SNAPSHOT: &str = "snapshot-";
const SEGMENT: &str = "segment-";

/// A destination.
pub struct Archive {
    depot: Box<dyn Depot>,
    /// The numbers of its backups, ascending, and of its segments.
    pub(crate) snapshots: Vec<u64>,
    segments: BTreeSet<u64>,
}

/// What a backup did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Written {
    /// Its number in this destination.
    pub number: u64,
    /// Every commit up to this one is in it.
    pub sequence: u64,
    /// Whether it holds everything itself, because nothing before could be built on.
    pub is_full: bool,
    /// Bytes that were written.
    pub bytes: u64,
    /// Blocks that were written.
    pub blocks: u64,
    /// Chunks of entries that were written, and that were there already.
    pub chunks: u64,
    /// Chunks of entries that were there already.
    pub chunks_kept: u64,
    /// What could not be read.
    pub damage: Vec<String>,
}

pub(crate) fn segment_name(number: u64) -> String {
    format!("{SEGMENT}{number:010}")
}

pub(crate) fn snapshot_name(number: u64) -> String {
    format!("{SNAPSHOT}{number:010}")
}

fn number_of(name: &str, prefix: &str) -> Option<u64> {
    name.strip_prefix(prefix).filter(|digits| digits.len() == 10)?.parse().ok()
}

impl Archive {
    /// Finds what is there.
    pub fn open(depot: Box<dyn Depot>) -> Result<Self, BackupError> {
        let names = depot.list().map_err(|error| BackupError::io(&depot.describe(), error))?;
        let numbers = |prefix| names.iter().filter_map(move |name| number_of(name, prefix));
        let (mut snapshots, segments): (Vec<u64>, _) =
            (numbers(SNAPSHOT).collect(), numbers(SEGMENT).collect());
        snapshots.sort_unstable();
        let is_strange = |name: &&String| number_of(name, SNAPSHOT).or(number_of(name, SEGMENT)).is_none();
        if let Some(strange) = names.iter().find(is_strange).filter(|_| snapshots.is_empty()) {
            return Err(BackupError::Foreign { place: depot.describe(), name: strange.clone() });
        }
        Ok(Self { depot, snapshots, segments })
    }

    /// The numbers of its backups, oldest first.
    #[must_use]
    pub fn numbers(&self) -> &[u64] {
        &self.snapshots
    }

    /// What a backup says of itself.
    pub fn about(&self, number: u64) -> Result<About, BackupError> {
        Ok(self.manifest(number)?.about)
    }

    fn io(&self, name: &str, error: std::io::Error) -> BackupError {
        BackupError::io(&format!("{}/{name}", self.depot.describe()), error)
    }

    pub(crate) fn damaged(&self, name: &str, what: impl std::fmt::Display) -> BackupError {
        BackupError::Damaged { place: format!("{}/{name}", self.depot.describe()), what: what.to_string() }
    }

    pub(crate) fn manifest(&self, number: u64) -> Result<Manifest, BackupError> {
        if !self.snapshots.contains(&number) {
            let there: Vec<String> = self.snapshots.iter().map(ToString::to_string).collect();
            return Err(BackupError::NoSuch { wanted: number.to_string(), there: there.join(", ") });
        }
        let name = snapshot_name(number);
        let bytes = self.depot.get(&name, 0, u64::MAX).map_err(|error| self.io(&name, error))?;
        Manifest::decode(&bytes).map_err(|what| self.damaged(&name, what))
    }

    /// A whole segment, checked against its hash.
    pub(crate) fn segment(&self, segment: &SegmentRef) -> Result<Bytes, BackupError> {
        let name = segment_name(segment.number);
        let bytes = self.depot.get(&name, 0, u64::MAX).map_err(|error| self.io(&name, error))?;
        if bytes.len() as u64 != segment.length || *blake3::hash(&bytes).as_bytes() != segment.hash {
            return Err(self.damaged(&name, "its bytes are not those that were written"));
        }
        Ok(bytes.into())
    }

    /// The items of a segment that is not whole, as far as each is: what is bad is skipped.
    pub(crate) fn salvage(&self, number: u64) -> Result<Bytes, BackupError> {
        let name = segment_name(number);
        Ok(self.depot.get(&name, 0, u64::MAX).map_err(|error| self.io(&name, error))?.into())
    }

    /// Bytes of everything that a backup consists of.
    pub fn size(&self, number: u64) -> Result<u64, BackupError> {
        Ok(self.manifest(number)?.segments.iter().map(|segment| segment.length).sum())
    }

    /// One item of a segment: its kind and its body of this length.
    pub(crate) fn item(&self, segment: u64, offset: u64, length: u32) -> Result<(Kind, Bytes), BackupError> {
        let name = segment_name(segment);
        let length = crate::backup::item::ITEM_HEADER as u64 + u64::from(length);
        let bytes = self.depot.get(&name, offset, length).map_err(|error| self.io(&name, error))?;
        match Item::decode(&bytes) {
            Ok(Some((kind, whole))) if whole == bytes.len() => {
                Ok((kind, Bytes::from(bytes).slice(crate::backup::item::ITEM_HEADER..)))
            }
            _ => Err(self.damaged(&name, format!("an item at byte {offset}"))),
        }
    }

    /// The store whose backups are here.
    fn store(&self) -> Option<String> {
        self.snapshots.iter().rev().find_map(|number| Some(self.manifest(*number).ok()?.about.head.store))
    }

    /// The rows of a chunk.
    pub(crate) fn rows(&self, rows: &RowsRef) -> Result<Vec<crate::backup::Row>, BackupError> {
        let name = segment_name(rows.segment);
        let bytes =
            self.depot.get(&name, rows.offset, rows.length.into()).map_err(|error| self.io(&name, error))?;
        let bad = |what: &str| self.damaged(&name, format!("{what} at byte {}", rows.offset));
        match Item::decode(&bytes).map_err(|error| bad(error.0))? {
            Some((Kind::Rows, length)) if length == bytes.len() => {}
            _ => return Err(bad("a chunk of entries")),
        }
        let body = Bytes::from(bytes).slice(crate::backup::item::ITEM_HEADER..);
        let (id, found) = decode_rows(&body).map_err(|error| bad(error.0))?;
        if id != rows.id { Err(bad("another chunk of entries")) } else { Ok(found) }
    }

    /// Begins a backup that builds on the newest one, or on none.
    pub fn begin(&mut self, is_full: bool) -> Result<Writer<'_>, BackupError> {
        let parent = match self.snapshots.last() {
            // What could not be read then may have been mended since, and would not be sent again.
            Some(number) if !is_full => {
                Some(self.manifest(*number)?).filter(|parent| parent.about.damage.is_empty())
            }
            _ => None,
        };
        self.remove_leftovers()?;
        let store = self.store();
        let next = self.segments.last().map_or(1, |last| last + 1);
        let known =
            parent.iter().flat_map(|parent| parent.rows.iter().map(|rows| (rows.id, *rows))).collect();
        Ok(Writer {
            archive: self,
            parent,
            store,
            head: None,
            known,
            segments: Vec::new(),
            rows: Vec::new(),
            buffer: Vec::new(),
            next,
            note: serde_json::Value::Null,
            written: Written::default(),
        })
    }

    /// Removes segments that no backup names: an interrupted one left them. Not where a manifest cannot be read: they may be its.
    fn remove_leftovers(&mut self) -> Result<(), BackupError> {
        let mut named = HashSet::new();
        for number in &self.snapshots {
            let Ok(manifest) = self.manifest(*number) else { return Ok(()) };
            named.extend(manifest.segments.iter().map(|segment| segment.number));
        }
        for number in self.segments.clone().into_iter().filter(|number| !named.contains(number)) {
            let name = segment_name(number);
            self.depot.remove(&name).map_err(|error| self.io(&name, error))?;
            self.segments.remove(&number);
        }
        Ok(())
    }

    /// Forgets all backups but the newest `keep`, and the segments that only those needed.
    pub fn thin(&mut self, keep: usize) -> Result<usize, BackupError> {
        let gone = self.snapshots.len().saturating_sub(keep.max(1));
        for number in self.snapshots.drain(..gone).collect::<Vec<_>>() {
            let name = snapshot_name(number);
            self.depot.remove(&name).map_err(|error| self.io(&name, error))?;
        }
        self.remove_leftovers()?;
        Ok(gone)
    }
}

/// The items of a segment: kind, place, body.
pub(crate) fn items(
    segment: &Bytes,
) -> impl Iterator<Item = Result<(Kind, usize, Bytes), crate::backup::BadItem>> {
    let (segment, mut at) = (segment.clone(), SEGMENT_HEAD);
    std::iter::from_fn(move || {
        let rest = segment.get(at..).filter(|rest| !rest.is_empty())?;
        match Item::decode(rest) {
            Ok(Some((kind, length))) => {
                let body = segment.slice(at + crate::backup::item::ITEM_HEADER..at + length);
                let item = (kind, at, body);
                at += length;
                Some(Ok(item))
            }
            Ok(None) => {
                at = segment.len();
                Some(Err(crate::backup::BadItem("an item that is cut off")))
            }
            Err(error) => {
                at = segment.len();
                Some(Err(error))
            }
        }
    })
}

/// A backup that is being made. Dropped before [`Writer::take`] has said that it is complete, it is none.
pub struct Writer<'a> {
    archive: &'a mut Archive,
    parent: Option<Manifest>,
    /// The store whose backups are there already.
    store: Option<String>,
    head: Option<Head>,
    known: HashMap<RowsId, RowsRef>,
    segments: Vec<SegmentRef>,
    rows: Vec<RowsRef>,
    buffer: Vec<u8>,
    next: u64,
    note: serde_json::Value,
    written: Written,
}

impl Writer<'_> {
    /// What to ask the node for.
    #[must_use]
    pub fn ask(&self) -> Ask {
        Ask::since(self.parent.as_ref())
    }

    /// Adds what the node said; answers what was done when that was the end.
    pub fn take(
        &mut self,
        item: &Item,
        now_ms: u64,
        note: impl FnOnce(&mut serde_json::Value),
    ) -> Result<Option<Written>, BackupError> {
        let bad = |what: &str| BackupError::Sent(what.to_owned());
        match item.kind {
            Kind::Head if self.head.is_none() => self.begin(&item.body)?,
            _ if self.head.is_none() => return Err(bad("it does not begin with its head")),
            Kind::Head => return Err(bad("it has a second head")),
            Kind::Rows => {
                let (id, _) = decode_rows(&item.body).map_err(|error| bad(error.0))?;
                let (offset, length) = self.push(item)?;
                let rows = RowsRef { id, segment: self.next, offset, length };
                self.rows.push(rows);
                self.written.chunks += 1;
            }
            Kind::Same => {
                let id: Option<RowsId> = item.body[..].try_into().ok();
                let rows = id.and_then(|id| self.known.get(&id)).copied();
                self.rows.push(rows.ok_or_else(|| bad("it refers to entries that are not here"))?);
                self.written.chunks_kept += 1;
            }
            Kind::Block => {
                decode_block(&item.body).map_err(|error| bad(error.0))?;
                self.push(item)?;
                self.written.blocks += 1;
            }
            Kind::Damage => self.written.damage.push(String::from_utf8_lossy(&item.body).into_owned()),
            Kind::Note => {
                self.note = serde_json::from_slice(&item.body).map_err(|_| bad("its note is no JSON"))?
            }
            Kind::Size => {}
            Kind::End => {
                let counts = [self.written.chunks + self.written.chunks_kept, self.written.blocks];
                if item.body[..] != counts.map(u64::to_le_bytes).concat() {
                    return Err(bad("something is missing in it"));
                }
                note(&mut self.note);
                return self.finish(now_ms).map(Some);
            }
        }
        Ok(None)
    }

    fn begin(&mut self, body: &Bytes) -> Result<(), BackupError> {
        let bad = |what: &str| BackupError::Sent(what.to_owned());
        let head: Head = serde_json::from_slice(body).map_err(|_| bad("its head cannot be read"))?;
        if head.format != FORMAT || head.store_id().is_none() {
            return Err(bad("it is of another version; use the same version of jsfs here and there"));
        }
        if let Some(other) = self.store.as_ref().filter(|store| **store != head.store) {
            let place = self.archive.depot.describe();
            return Err(BackupError::OtherStore {
                place,
                store: other.get(..8).unwrap_or_default().to_owned(),
            });
        }
        match self.parent.take() {
            Some(parent) if head.after == parent.about.head.sequence => self.segments = parent.segments,
            _ if head.after == 0 => {
                self.written.is_full = true;
                self.known.clear();
            }
            _ => return Err(bad("it follows a state that is not here")),
        }
        self.written.sequence = head.sequence;
        self.head = Some(head);
        Ok(())
    }

    /// Adds an item to the segment; answers where it lies.
    fn push(&mut self, item: &Item) -> Result<(u64, u32), BackupError> {
        if self.buffer.len() >= SEGMENT_MAX {
            self.put_segment()?;
        }
        if self.buffer.is_empty() {
            let store = self.head.as_ref().and_then(Head::store_id).unwrap_or_default();
            self.buffer.extend_from_slice(SEGMENT_MAGIC);
            self.buffer.extend_from_slice(&FORMAT.to_le_bytes());
            self.buffer.extend_from_slice(&[0; 4]);
            self.buffer.extend_from_slice(&store);
            self.buffer.extend_from_slice(&self.next.to_le_bytes());
            let hash = blake3::hash(&self.buffer);
            self.buffer.extend_from_slice(hash.as_bytes());
        }
        let offset = self.buffer.len() as u64;
        let bytes = Item::encode(item.kind, &[&item.body]);
        self.buffer.extend_from_slice(&bytes);
        Ok((offset, u32::try_from(bytes.len()).unwrap_or(u32::MAX)))
    }

    fn put_segment(&mut self) -> Result<(), BackupError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.buffer);
        self.put(&segment_name(self.next), &bytes)?;
        self.archive.segments.insert(self.next);
        let hash = *blake3::hash(&bytes).as_bytes();
        self.segments.push(SegmentRef { number: self.next, length: bytes.len() as u64, hash });
        self.next += 1;
        Ok(())
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        self.written.bytes += bytes.len() as u64;
        self.archive.depot.put(name, bytes).map_err(|error| self.archive.io(name, error))
    }

    fn finish(&mut self, created_ms: u64) -> Result<Written, BackupError> {
        self.put_segment()?;
        let number = self.archive.snapshots.last().map_or(1, |last| last + 1);
        self.written.number = number;
        let about = About {
            format: FORMAT,
            number,
            created_ms,
            head: self.head.take().unwrap_or_default(),
            note: std::mem::take(&mut self.note),
            damage: self.written.damage.clone(),
        };
        let (segments, rows) = (std::mem::take(&mut self.segments), std::mem::take(&mut self.rows));
        let manifest = Manifest { about, segments, rows };
        self.put(&snapshot_name(number), &manifest.encode())?;
        self.archive.snapshots.push(number);
        Ok(std::mem::take(&mut self.written))
    }
}
