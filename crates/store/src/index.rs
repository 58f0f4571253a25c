//! The derived index: an LSM tree (the one inside fjall) without a journal, because the packs are the journal.
//!
//! Rows are written to a memtable; a maintenance thread flushes it to tables and compacts those. Each batch carries the [`Mark`], and a memtable
//! is only ever changed between batches, so whatever survives a crash is the state after some batch, and its mark says which one. What came after
//! it is replayed from the packs. Nothing here is ever the only copy of anything.
//!
//! When the disk is full a flush fails and is tried again; meanwhile memtables pile up to a bound, after which [`Index::pressure`] tells the
//! committer to refuse writes. Reads are not disturbed.

use crate::rows::{
    BLOCK, BlockRow, CHUNK, ENTRY, KeyRow, MARK, Mark, PACK, PackRow, TOMBSTONE, TagRow, pack_key, prefixed,
};
use crate::{
    id::{BlockId, Tag},
    stamp::Stamps,
    sync::{hold, share},
};
use bytes::Bytes;
use lsm_tree::{
    AbstractTree, AnyTree, Cache, Config, DescriptorTable, Guard, SequenceNumberCounter, compaction::Leveled,
};
use std::{
    collections::HashSet,
    fs, io,
    ops::Bound,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// A memtable is flushed when it has grown to at most this many bytes.
const MEMTABLE_MAX: u64 = 8 << 20;
/// On a small disk memtables are smaller: what one flush needs must fit below the floor of free space.
const MEMTABLE_MIN: u64 = 512 << 10;
const MEMTABLE_SHARE: u64 = 64;
/// Writes are refused while this many memtables wait for a disk that is full.
const SEALED_MAX: usize = 4;
const CACHE_BYTES: u64 = 24 << 20;
const FILES_MAX: usize = 64;
const TABLE_BYTES: u64 = 32 << 20;
/// A failed flush is tried again after this time.
const RETRY: Duration = Duration::from_millis(500);

/// Why the index failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct IndexError(pub(crate) String);

/// Said of a disk without room, which is nobody's damage.
const NO_ROOM: &str = "no space left on the disk of the index";

impl From<lsm_tree::Error> for IndexError {
    fn from(error: lsm_tree::Error) -> Self {
        match error {
            lsm_tree::Error::Io(error) => error.into(),
            error => Self(format!("{error:?}")),
        }
    }
}

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self(NO_ROOM.to_owned()),
            _ => Self(error.to_string()),
        }
    }
}

fn malformed() -> IndexError {
    IndexError("a row is malformed".to_owned())
}

/// Whether the index can take more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    None,
    /// Flushing is behind; wait a little.
    Wait,
    /// Flushing fails; the reason.
    Stuck(String),
}

/// One change of a row: its key, and its new value unless it goes.
pub(crate) type RowChange = (Vec<u8>, Option<Vec<u8>>);

/// The index of one store.
pub(crate) struct Index {
    pub(crate) stamps: Stamps,
    shared: Arc<Shared>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    /// Removed with the index when it was only for this process.
    temporary: Option<PathBuf>,
}

struct Shared {
    tree: AnyTree,
    path: PathBuf,
    memtable_bytes: u64,
    sequence: SequenceNumberCounter,
    /// Rows below this number are seen by readers: those of a batch all at once.
    visible: AtomicU64,
    /// Held shared while a reader takes hold of what it reads, so that the number below which old versions may go is no reader's.
    reading: RwLock<()>,
    work: Mutex<Work>,
    changed: Condvar,
    doubted: Mutex<Option<String>>,
}

#[derive(Default)]
struct Work {
    is_wanted: bool,
    is_closing: bool,
    is_memory_only: bool,
    /// Attempts to write that have ended, and why the last one failed.
    attempts: u64,
    failure: Option<String>,
}

impl Index {
    /// Opens or creates the index in a directory that nobody else uses.
    pub(crate) fn open(path: &Path, is_temporary: bool) -> Result<Self, IndexError> {
        if doubt_path(path).exists() {
            return Err(IndexError("a read found it damaged".to_owned()));
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        // An earlier version left it open to everybody; there are names in it.
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        let sequence = SequenceNumberCounter::default();
        let visible = SequenceNumberCounter::default();
        let config = Config::new(path, sequence.clone(), visible)
            .use_cache(Arc::new(Cache::with_capacity_bytes(CACHE_BYTES)))
            .use_descriptor_table(Some(Arc::new(DescriptorTable::new(FILES_MAX))));
        // The engine asserts in places what a damaged file can violate; the index is only derived, so that counts as damage too.
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        let tree = opened.map_err(|_| IndexError("its files are inconsistent".to_owned()))??;
        let next = tree.get_highest_seqno().map_or(1, |highest| highest + 1);
        sequence.fetch_max(next);
        let shared = Arc::new(Shared {
            tree,
            path: path.to_owned(),
            memtable_bytes: memtable_bytes(path),
            visible: AtomicU64::new(next),
            sequence,
            reading: RwLock::default(),
            work: Mutex::default(),
            changed: Condvar::new(),
            doubted: Mutex::default(),
        });
        let worker = shared.clone();
        let thread = thread::Builder::new()
            .name("jsfs-index".to_owned())
            .spawn(move || worker.maintain())
            .map_err(|error| IndexError(error.to_string()))?;
        let temporary = is_temporary.then(|| path.to_owned());
        Ok(Self { stamps: Stamps::default(), shared, thread: Mutex::new(Some(thread)), temporary })
    }

    /// Applies changes and the mark at once: no reader sees a part of them. Answers the number of the change.
    pub(crate) fn apply(&self, changes: Vec<RowChange>, mark: Option<&Mark>) -> u64 {
        let shared = &self.shared;
        let sequence = shared.sequence.next();
        let _applying = self.stamps.begin(changes.iter().map(|(key, _)| key.as_slice()));
        for (key, value) in changes {
            match value {
                Some(value) => shared.tree.insert(Bytes::from(key), Bytes::from(value), sequence),
                None => shared.tree.remove(Bytes::from(key), sequence),
            };
        }
        if let Some(mark) = mark {
            shared.tree.insert(Bytes::from_static(&[MARK]), Bytes::from(mark.encode()), sequence);
        }
        shared.visible.store(sequence + 1, Ordering::Release);
        if shared.tree.active_memtable().size() >= shared.memtable_bytes {
            self.start_flush();
        }
        sequence
    }

    /// From now on nothing is written to tables. For a store that takes no writes.
    pub(crate) fn keep_in_memory(&self) {
        hold(&self.shared.work).is_memory_only = true;
    }

    /// Has the maintenance thread write everything applied so far to tables. Only between batches.
    pub(crate) fn start_flush(&self) {
        if hold(&self.shared.work).is_memory_only {
            return;
        }
        self.shared.tree.rotate_memtable();
        hold(&self.shared.work).is_wanted = true;
        self.shared.changed.notify_all();
    }

    /// Writes everything applied so far to tables and waits for that. Only between batches.
    pub(crate) fn flush(&self) -> Result<(), IndexError> {
        let attempts = hold(&self.shared.work).attempts;
        self.start_flush();
        loop {
            let work = hold(&self.shared.work);
            if self.shared.tree.sealed_memtable_count() == 0 || work.is_memory_only {
                return Ok(());
            }
            if let Some(failure) = work.failure.as_ref().filter(|_| work.attempts > attempts + 1) {
                return Err(IndexError(failure.clone()));
            }
            drop(self.shared.changed.wait_timeout(work, Duration::from_millis(20)));
        }
    }

    /// Waits until a change is on disk, which a flush that was started writes.
    pub(crate) fn wait_persisted(&self, number: u64) -> Result<(), IndexError> {
        let attempts = hold(&self.shared.work).attempts;
        loop {
            let work = hold(&self.shared.work);
            let persisted = self.shared.tree.get_highest_persisted_seqno();
            if work.is_memory_only || persisted.is_some_and(|persisted| persisted >= number) {
                return Ok(());
            }
            if let Some(failure) = work.failure.as_ref().filter(|_| work.attempts > attempts + 1) {
                return Err(IndexError(failure.clone()));
            }
            if work.is_closing {
                return Err(IndexError("it is being closed".to_owned()));
            }
            drop(self.shared.changed.wait_timeout(work, Duration::from_millis(20)));
        }
    }

    /// Whether more may be applied.
    pub(crate) fn pressure(&self) -> Pressure {
        if self.shared.tree.sealed_memtable_count() < SEALED_MAX {
            return Pressure::None;
        }
        match &hold(&self.shared.work).failure {
            Some(failure) => Pressure::Stuck(failure.clone()),
            None => Pressure::Wait,
        }
    }

    /// What a read has found wrong with it, if anything.
    pub(crate) fn doubted(&self) -> Option<String> {
        hold(&self.shared.doubted).clone()
    }

    /// Has it rebuilt at the next opening.
    pub(crate) fn doubt(&self, why: &str) {
        tracing::error!(why, "the index is rebuilt at the next start");
        let _ = fs::write(doubt_path(&self.shared.path), b"");
        hold(&self.shared.doubted).get_or_insert_with(|| why.to_owned());
    }

    /// Lets the maintenance thread keep up with whoever fills the index at once.
    pub(crate) fn wait(&self) {
        while self.pressure() == Pressure::Wait {
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Bytes on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.shared.tree.disk_space()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, IndexError> {
        let value = {
            let _reading = share(&self.shared.reading);
            self.shared.tree.get(key, self.shared.visible.load(Ordering::Acquire))
        };
        let value = value.map_err(|error| self.shared.doubt(error))?;
        Ok(value.map(Bytes::from))
    }

    /// The row of a live entry.
    pub(crate) fn entry(&self, key: &[u8]) -> Result<Option<KeyRow>, IndexError> {
        let value = self.get(&prefixed(ENTRY, key))?;
        value.map(|value| KeyRow::decode(&value, true).ok_or_else(malformed)).transpose()
    }

    /// The row of a tombstone.
    pub(crate) fn tombstone(&self, key: &[u8]) -> Result<Option<KeyRow>, IndexError> {
        let value = self.get(&prefixed(TOMBSTONE, key))?;
        value.map(|value| KeyRow::decode(&value, false).ok_or_else(malformed)).transpose()
    }

    /// The row of a block.
    pub(crate) fn block(&self, id: &BlockId) -> Result<Option<BlockRow>, IndexError> {
        let value = self.get(&prefixed(BLOCK, id.as_bytes()))?;
        value.map(|value| BlockRow::decode(&value).ok_or_else(malformed)).transpose()
    }

    /// The row of a tag.
    pub(crate) fn tag(&self, tag: &Tag) -> Result<Option<TagRow>, IndexError> {
        let value = self.get(&prefixed(CHUNK, tag))?;
        value.map(|value| TagRow::decode(&value).ok_or_else(malformed)).transpose()
    }

    /// The row of a pack.
    pub(crate) fn pack(&self, location: u8, number: u64) -> Result<Option<PackRow>, IndexError> {
        let value = self.get(&pack_key(location, number))?;
        value.map(|value| PackRow::decode(&value).ok_or_else(malformed)).transpose()
    }

    /// All packs, by location and number.
    pub(crate) fn packs(&self) -> Result<Vec<(u8, u64, PackRow)>, IndexError> {
        self.scan(Bound::Included(vec![PACK]), Bound::Excluded(vec![PACK + 1])).map(pack_row).collect()
    }

    /// How far the index has followed the packs; `None` when it never finished.
    pub(crate) fn mark(&self) -> Result<Option<Mark>, IndexError> {
        Ok(self.get(&[MARK])?.and_then(|value| Mark::decode(&value)))
    }

    /// A snapshot of the rows between two index keys.
    pub(crate) fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Rows {
        let _reading = share(&self.shared.reading);
        let visible = self.shared.visible.load(Ordering::Acquire);
        Rows {
            rows: self.shared.tree.range::<Vec<u8>, _>((from, to), visible, None),
            shared: self.shared.clone(),
        }
    }

    /// The mark, and the rows of entries, blocks and packs, all as of one moment.
    pub(crate) fn freeze(&self) -> Result<Frozen, IndexError> {
        let shared = &self.shared;
        let _reading = share(&shared.reading);
        let visible = shared.visible.load(Ordering::Acquire);
        let rows = |prefix: u8| {
            let range = (Bound::Included(vec![prefix]), Bound::Excluded(vec![prefix + 1]));
            Rows { rows: shared.tree.range::<Vec<u8>, _>(range, visible, None), shared: shared.clone() }
        };
        let (entries, blocks, packs) = (rows(ENTRY), rows(BLOCK), rows(PACK));
        let mark = shared.tree.get([MARK], visible).map_err(|error| shared.doubt(error))?;
        let mark = mark.and_then(|value| Mark::decode(&Bytes::from(value)));
        Ok(Frozen { mark, entries, blocks, packs: packs.map(pack_row).collect::<Result<_, _>>()? })
    }

    /// Ends the maintenance thread. What was not flushed is replayed at the next opening.
    pub(crate) fn close(&self) {
        hold(&self.shared.work).is_closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = hold(&self.thread).take() {
            // A panic there has been reported by the panic hook; nothing is lost by it.
            let _ = thread.join();
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.close();
        if let Some(path) = &self.temporary {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// The index as of one moment.
pub(crate) struct Frozen {
    pub(crate) mark: Option<Mark>,
    pub(crate) entries: Rows,
    pub(crate) blocks: Rows,
    pub(crate) packs: Vec<(u8, u64, PackRow)>,
}

fn pack_row(row: Result<(Bytes, Bytes), IndexError>) -> Result<(u8, u64, PackRow), IndexError> {
    let (key, value) = row?;
    let number = key.get(2..).and_then(|digits| digits.try_into().ok()).map(u64::from_be_bytes);
    let row = PackRow::decode(&value).ok_or_else(malformed)?;
    Ok((key[1], number.ok_or_else(malformed)?, row))
}

/// Rows of a snapshot, from both ends.
pub(crate) struct Rows {
    rows: Box<dyn DoubleEndedIterator<Item = lsm_tree::IterGuardImpl> + Send>,
    shared: Arc<Shared>,
}

impl Rows {
    fn open(&self, guard: lsm_tree::IterGuardImpl) -> Result<(Bytes, Bytes), IndexError> {
        let (key, value) = guard.into_inner().map_err(|error| self.shared.doubt(error))?;
        Ok((key.into(), value.into()))
    }
}

impl Iterator for Rows {
    type Item = Result<(Bytes, Bytes), IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        Some(self.open(row))
    }
}

impl DoubleEndedIterator for Rows {
    fn next_back(&mut self) -> Option<Self::Item> {
        let row = self.rows.next_back()?;
        Some(self.open(row))
    }
}

/// Has an index that nobody has open rebuilt at the next opening.
pub(crate) fn doubt_at(path: &Path) -> io::Result<()> {
    fs::write(doubt_path(path), b"")
}

/// A file beside the index that has it rebuilt at the next opening.
fn doubt_path(path: &Path) -> PathBuf {
    path.with_extension("doubt")
}

/// Removes an index, whatever state it is in.
pub(crate) fn wipe(path: &Path) -> io::Result<()> {
    let missing_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    missing_is_fine(fs::remove_dir_all(path))?;
    missing_is_fine(fs::remove_file(doubt_path(path)))
}

fn memtable_bytes(path: &Path) -> u64 {
    let total = rustix::fs::statvfs(path).map_or(u64::MAX, |stat| stat.f_blocks * stat.f_frsize);
    (total / MEMTABLE_SHARE).clamp(MEMTABLE_MIN, MEMTABLE_MAX)
}

impl Shared {
    /// Notes that a read failed, unless the disk is to blame.
    fn doubt(&self, error: lsm_tree::Error) -> IndexError {
        if !matches!(error, lsm_tree::Error::Io(_)) {
            tracing::error!(?error, "the index is damaged; it is rebuilt at the next start");
            let _ = fs::write(doubt_path(&self.path), b"");
            hold(&self.doubted).get_or_insert_with(|| format!("{error:?}"));
        }
        error.into()
    }

    /// Flushes and compacts until the index is closed.
    fn maintain(&self) {
        loop {
            let mut work = hold(&self.work);
            while !work.is_wanted && !work.is_closing {
                work = if work.failure.is_some() {
                    let (mut work, _) = self
                        .changed
                        .wait_timeout(work, RETRY)
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    work.is_wanted = true;
                    work
                } else {
                    self.changed.wait(work).unwrap_or_else(std::sync::PoisonError::into_inner)
                };
            }
            if work.is_closing {
                return;
            }
            work.is_wanted = false;
            drop(work);
            let result = self.flush_and_compact();
            let mut work = hold(&self.work);
            if let Err(error) = &result {
                tracing::warn!(%error, "the index could not be written; trying again");
            }
            work.attempts += 1;
            work.failure = result.err().map(|error| error.to_string());
            drop(work);
            self.changed.notify_all();
        }
    }

    fn flush_and_compact(&self) -> Result<(), IndexError> {
        let first_new = self.tree.get_next_table_id();
        let result = catch_unwind(AssertUnwindSafe(|| self.flush_and_compact_inner()));
        let result = result.unwrap_or_else(|_| Err(IndexError("its maintenance failed".to_owned())));
        if result.is_err() {
            self.remove_leftovers(first_new);
        }
        result
    }

    fn flush_and_compact_inner(&self) -> Result<(), IndexError> {
        while self.tree.sealed_memtable_count() > 0 {
            let lock = self.tree.get_flush_lock();
            self.tree.flush(&lock, self.oldest_needed())?;
            drop(lock);
            self.changed.notify_all();
        }
        let strategy = Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES));
        loop {
            let before = self.tree.current_version().id();
            self.tree.compact(strategy.clone(), self.oldest_needed())?;
            let is_flush_due = self.tree.sealed_memtable_count() > 0;
            if is_flush_due || hold(&self.work).is_closing {
                return Ok(());
            }
            // (Not by the next table's number: asking for that takes it.)
            if self.tree.current_version().id() == before {
                return Ok(());
            }
        }
    }

    /// Versions of rows that are older than the newest one below this number are seen by nobody.
    fn oldest_needed(&self) -> u64 {
        let _no_reader = self.reading.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.visible.load(Ordering::Acquire).saturating_sub(1)
    }

    /// Removes what a failed flush or compaction left behind, which would otherwise add up while the disk is full.
    fn remove_leftovers(&self, first_new: u64) {
        let version = self.tree.current_version();
        let known: HashSet<u64> = version.iter_tables().map(lsm_tree::Table::id).collect();
        let Ok(directory) = fs::read_dir(self.path.join("tables")) else { return };
        for file in directory.flatten() {
            let id = file.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
            if id.is_some_and(|id| id >= first_new && !known.contains(&id)) {
                let _ = fs::remove_file(file.path());
            }
        }
    }
}
