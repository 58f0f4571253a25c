//! The store: what callers hold, and the threads behind it.

use crate::{
    backend::{Backend, LockGuard},
    buffers::Lent,
    chunk::Chunker,
    commit::{Commit, Committed, Entry, NewBlock, check_blocks},
    committer::{Committer, Request},
    compact::{Background, Collectable, CompactError, Compacted, Compactor, Damaged},
    copies::{Filled, Filler, Filling},
    error::{CommitError, OpenError, ReadError, WriteError},
    finding::Opening,
    id::{BlockId, Table, Tag},
    keeping::{Keeping, Role},
    location::Location,
    log::PACK_MAX,
    options::OpenOptions,
    params::{Chunking, Parameters},
    placing::parameters,
    read::{FoundChunk, Reading},
    recover::{Recovered, recover},
    rows::{ENTRY, KeyRow, prefixed},
    stamp::Stamp,
    status::Status,
    sync::hold,
    task::{Observer, Unobserved},
    verify::{Verification, Verified, Verifier, VerifyError},
};
use bytes::Bytes;
use std::{
    io,
    ops::{Bound, RangeBounds},
    path::PathBuf,
    sync::{Arc, Mutex, TryLockError},
    thread,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Requests that may wait for the committer.
const QUEUE: usize = 1_024;
/// KiB of requests that may wait for the committer.
const QUEUE_KIB: u32 = 64 << 10;
/// The floor of free space unless one is given: this share of the disk, and at most so much.
const FLOOR_SHARE: u64 = 32;
const FLOOR_MAX: u64 = 1 << 30;
/// Packs are closed before they would take more than this share of the disk: only closed packs can be compacted.
const PACK_SHARE: u64 = 16;
const PACK_MIN: u64 = 1 << 20;
/// How often whoever waits for compaction in the background looks whether to go on.
const COMPACTOR_POLL: std::time::Duration = std::time::Duration::from_millis(20);

/// Bounds that the operator may choose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) floor: u64,
    pub(crate) is_synced: bool,
}

/// A store. Clones are the same store; it closes when the last one is dropped or [`Store::close`] is called.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// The locations, exchangeable. [`Reading::locations`] are the same.
    pub(crate) places: Vec<Arc<Location>>,
    pub(crate) requests: mpsc::Sender<Request>,
    room: Arc<Semaphore>,
    pub(crate) reading: Arc<Reading>,
    pub(crate) status: Arc<Status>,
    pub(crate) floor: u64,
    pub(crate) parameters: Vec<Parameters>,
    opening: Opening,
    pub(crate) compactor: Arc<Mutex<Compactor>>,
    pub(crate) filler: Arc<Mutex<Filler>>,
    /// Packs that compaction leaves alone.
    damaged: Damaged,
    /// Held by whoever changes closed packs in place, or copies them to another directory.
    pub(crate) in_place: Mutex<()>,
    threads: Mutex<Threads>,
}

/// What ends with the store, in this order: background compaction and copying, then the committer, then the locks.
#[derive(Default)]
struct Threads {
    background: Option<Background>,
    filling: Option<Filling>,
    committer: Option<thread::JoinHandle<()>>,
    locks: Vec<LockGuard>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("opening", &self.inner.opening).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a store, creating it if there is none. Blocks while packs are read.
    pub fn open(options: OpenOptions) -> Result<Self, OpenError> {
        let mut locks = Vec::new();
        let mut options = options;
        let mut missing = Vec::new();
        for (number, backend) in options.locations.iter().enumerate() {
            if backend.is_missing() {
                let place = backend.describe();
                if !options.is_degraded {
                    return Err(OpenError::MissingLocation { number, place });
                }
                missing.push(place);
            }
        }
        let is_root = |root: &Arc<dyn Backend>| {
            options.locations.iter().all(|location| location.describe() != root.describe())
        };
        for backend in options.root.iter().filter(|root| is_root(root)).chain(&options.locations) {
            locks.push(lock(backend.as_ref())?);
        }
        let places: Vec<Arc<Location>> =
            options.locations.iter().map(|backend| Arc::new(Location::new(backend.clone()))).collect();
        options.locations = places.iter().map(|place| place.clone() as Arc<dyn Backend>).collect();
        let locations = options.locations.len();
        if options.copies == 0 || options.copies > locations {
            return Err(OpenError::Copies { copies: options.copies, locations });
        }
        let (parameters, is_new) = parameters(&options)?;
        let is_temporary = options.index.is_none();
        let index = match &options.index {
            Some(path) => path.clone(),
            None => temporary_path()?,
        };
        let roles: Vec<Role> = places
            .iter()
            .map(|place| if place.current().is_missing() { Role::Missing } else { Role::Active })
            .collect();
        let recovered = recover(
            options.locations.clone(),
            parameters.clone(),
            roles.clone(),
            &index,
            is_temporary,
            pack_max(&options),
        )?;
        let Recovered { mut reading, logs, mark, mut opening } = recovered;
        reading.keeping = Keeping::new(options.copies, roles);
        opening.is_new = is_new;
        let limits = Limits { floor: floor(&options), is_synced: options.is_synced };
        let status = Arc::new(Status::default());
        if let Some(why) = options.read_only {
            status.only_read(why);
        }
        if !missing.is_empty() {
            let places = missing.join(", ");
            status.refuse_writes(format!(
                "opened without {places}, which is missing: blocks are read from their other copies, and those that have none fail"
            ));
        }
        if let Some(finding) = opening.damage.first() {
            status.refuse_writes(format!("acknowledged data is damaged: {finding}"));
        }
        let reading = Arc::new(reading);
        let committer = Committer::new(reading.clone(), status.clone(), limits, logs, &mark);
        let (requests, queue) = mpsc::channel(QUEUE);
        let spawned =
            thread::Builder::new().name("jsfs-commit".to_owned()).spawn(move || committer.run(queue));
        let committer = spawned.map_err(|error| OpenError::io("start a thread", "this process", error))?;
        let store_id = parameters[0].store_id;
        let compactor = Compactor::new(reading.clone(), status.clone(), requests.clone(), store_id);
        let damaged = compactor.damaged.clone();
        let compactor = Arc::new(Mutex::new(compactor));
        let background = Background::start(options.compaction, limits.floor, compactor.clone())
            .map_err(|error| OpenError::io("start a thread", "this process", error))?;
        let filler = Filler::new(reading.clone(), status.clone(), requests.clone(), store_id);
        let filler = Arc::new(Mutex::new(filler));
        let is_wanted =
            options.copies > 1 && options.compaction.every.is_some() && status.read_only().is_none();
        let filling = is_wanted.then(|| Filling::start(filler.clone(), options.compaction.bytes_per_second));
        let filling =
            filling.transpose().map_err(|error| OpenError::io("start a thread", "this process", error))?;
        let inner = Inner {
            places,
            requests,
            room: Arc::new(Semaphore::new(QUEUE_KIB as usize)),
            reading,
            status,
            floor: limits.floor,
            parameters,
            opening,
            compactor,
            filler,
            damaged,
            in_place: Mutex::default(),
            threads: Mutex::new(Threads {
                background: Some(background),
                filling,
                committer: Some(committer),
                locks,
            }),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What opening found and did.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.inner.opening
    }

    /// Why the store takes no writes, if so.
    #[must_use]
    pub fn read_only(&self) -> Option<String> {
        self.inner.status.read_only()
    }

    /// How content is cut into chunks here.
    #[must_use]
    pub fn chunking(&self) -> Chunking {
        self.inner.parameters[0].chunking
    }

    /// How many copies of a block are kept, each in a location of its own.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.inner.reading.keeping.copies()
    }

    /// A chunker with the store's parameters.
    #[must_use]
    pub fn chunker(&self) -> Chunker {
        Chunker::new(self.inner.parameters[0].chunking)
    }

    /// Reads an entry.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        let row = self.inner.reading.index.entry(&prefixed(table.0, key))?;
        Ok(row.and_then(entry))
    }

    /// As [`Store::get`], with a stamp that says later whether the entry may have changed; none while something becomes visible.
    pub fn get_stamped(&self, table: Table, key: &[u8]) -> Result<(Option<Entry>, Option<Stamp>), ReadError> {
        let key = prefixed(ENTRY, &prefixed(table.0, key));
        let index = &self.inner.reading.index;
        let stamp = index.stamps.stamp(&key);
        Ok((index.entry(&key[1..])?.and_then(entry), stamp))
    }

    /// Whether the entry that was read with this stamp is still the same.
    #[must_use]
    pub fn is_current(&self, stamp: Stamp) -> bool {
        self.inner.reading.index.stamps.is_current(stamp)
    }

    /// The entries of a table whose keys lie in a range, as they are now: later commits do not show. Goes from both ends.
    pub fn scan(&self, table: Table, range: impl RangeBounds<Vec<u8>>) -> Scan {
        let key = |key: &Vec<u8>| [&[ENTRY, table.0], &key[..]].concat();
        let from = match range.start_bound() {
            Bound::Included(start) => Bound::Included(key(start)),
            Bound::Excluded(start) => Bound::Excluded(key(start)),
            Bound::Unbounded => Bound::Included(vec![ENTRY, table.0]),
        };
        let to = match range.end_bound() {
            Bound::Included(end) => Bound::Included(key(end)),
            Bound::Excluded(end) => Bound::Excluded(key(end)),
            Bound::Unbounded => {
                Bound::Excluded(table.0.checked_add(1).map_or(vec![ENTRY + 1], |next| vec![ENTRY, next]))
            }
        };
        let (Bound::Included(first) | Bound::Excluded(first)) = &from else { return Scan(None) };
        let (Bound::Included(last) | Bound::Excluded(last)) = &to else { return Scan(None) };
        if first > last
            || (first == last && !matches!((&from, &to), (Bound::Included(_), Bound::Included(_))))
        {
            return Scan(None);
        }
        Scan(Some(self.inner.reading.index.scan(from, to)))
    }

    /// The stored bytes of a block, verified against its id. Blocks while the disk is read.
    pub fn block(&self, id: &BlockId) -> Result<Bytes, ReadError> {
        self.inner.reading.block(id)
    }

    /// As [`Store::block`], but `None` where the block's bytes would have to be waited for. (The index may still be read from the disk; it is small and cached.)
    pub fn block_now(&self, id: &BlockId) -> Result<Option<Bytes>, ReadError> {
        self.inner.reading.block_now(id)
    }

    /// As [`Store::block_now`], but not compared with the id: for whoever opens a sealed block, which finds damage by itself and asks for the block
    /// in the usual way then.
    pub fn unverified_now(&self, id: &BlockId) -> Result<Option<Lent>, ReadError> {
        self.inner.reading.unverified_now(id)
    }

    /// Whether the block is here.
    pub fn has_block(&self, id: &BlockId) -> Result<bool, ReadError> {
        Ok(self.inner.reading.row(id)?.is_some_and(|row| !row.places.is_empty()))
    }

    /// Pins a block that is here, so that it stays until the pin is dropped.
    pub fn pin(&self, id: &BlockId) -> Result<Option<crate::Pin>, ReadError> {
        let Some(pin) = self.inner.reading.pins.pin(*id) else { return Ok(None) };
        Ok(self.has_block(id)?.then_some(pin))
    }

    /// Looks a chunk up. A hit is a block that this process has verified, pinned. Blocks while the disk is read.
    pub fn find_chunk(&self, tag: &Tag) -> Result<Option<FoundChunk>, ReadError> {
        self.inner.reading.find_chunk(tag)
    }

    /// The block that most of these tags lead to, verified by this process and pinned, if at least so many do. Blocks while the disk is read.
    pub fn find_most(&self, tags: &[Tag], least: usize) -> Result<Option<crate::Pin>, ReadError> {
        self.inner.reading.find_most(tags, least)
    }

    /// What was stored with a tag, whatever became of the block.
    pub fn extra(&self, tag: &Tag) -> Result<Option<Vec<u8>>, ReadError> {
        self.inner.reading.extra(tag)
    }

    /// Stores blocks ahead of the commit that will refer to them. They are durable only with that commit, and kept only while the pins are held.
    /// Waits while too much is queued.
    pub async fn append(&self, blocks: Vec<NewBlock>) -> Result<Vec<crate::Pin>, WriteError> {
        check_blocks(&blocks)?;
        let permit = self.room(crate::commit::blocks_weight(&blocks)).await?;
        let (reply, answer) = oneshot::channel();
        self.request(Request::Append { blocks, reply, permit }).await?;
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// Makes changes, all or none. When this returns they are durable. A caller that stops waiting has not called the commit off.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        commit.check()?;
        let permit = self.room(commit.weight()).await?;
        let (reply, answer) = oneshot::channel();
        self.request(Request::Commit { commit, reply, permit }).await?;
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// Syncs everything appended, writes the index to disk and begins new packs, so that compaction may look at all that was written before.
    pub async fn settle(&self) -> Result<(), WriteError> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Settle { roll: true, reply }).await?;
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// Compacts every pack of which more than `dead_share` is dead, now and as fast as the disk. The packs being written are not touched:
    /// see [`Store::settle`]. Blocks.
    pub fn compact(&self, dead_share: f64) -> Result<Compacted, CompactError> {
        hold(&self.inner.compactor).run(dead_share, 0, &Unobserved)
    }

    /// As [`Store::compact`], but closes the packs being written where they are worth it, tells how far it is, and can be called off. Blocks, also
    /// while compaction in the background is at a pack.
    pub fn collect(&self, dead_share: f64, observer: &dyn Observer) -> Result<Compacted, CompactError> {
        loop {
            match self.inner.compactor.try_lock() {
                Ok(mut compactor) => return compactor.collect(dead_share, observer),
                Err(TryLockError::Poisoned(poisoned)) => {
                    return poisoned.into_inner().collect(dead_share, observer);
                }
                Err(TryLockError::WouldBlock) if observer.is_stopped() => {
                    return Err(CompactError::CalledOff);
                }
                Err(TryLockError::WouldBlock) => thread::sleep(COMPACTOR_POLL),
            }
        }
    }

    /// What [`Store::collect`] would do now. Blocks as that does.
    pub fn collectable(&self, dead_share: f64) -> Result<Collectable, CompactError> {
        hold(&self.inner.compactor).collectable(dead_share)
    }

    /// Reads every byte of the packs and compares the index with them, while writing and compaction go on; with
    /// [`Verification::is_repairing`] puts right what can be, and waits for a location that is being moved. Blocks.
    pub fn verify(&self, how: Verification, observer: &dyn Observer) -> Result<Verified, VerifyError> {
        let Inner { reading, parameters, damaged, in_place, .. } = &*self.inner;
        let mut alone = None;
        while how.is_repairing && alone.is_none() {
            match in_place.try_lock() {
                Ok(held) => alone = Some(held),
                Err(TryLockError::Poisoned(poisoned)) => alone = Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if observer.is_stopped() => return Err(VerifyError::CalledOff),
                Err(TryLockError::WouldBlock) => thread::sleep(COMPACTOR_POLL),
            }
        }
        let ended = Verifier::new(reading, parameters, how, observer).run();
        if let Err(VerifyError::Index(why)) = &ended {
            reading.index.doubt(why);
        }
        let done = ended?;
        if done.repaired > 0 {
            hold(damaged).clear();
        }
        if done.damaged > 0 {
            reading.damage.note(&format_args!("a check has found {} things that stay damaged", done.damaged));
        }
        Ok(done)
    }

    /// Has the index rebuilt from the packs at the next opening.
    pub fn doubt_index(&self, why: &str) {
        self.inner.reading.index.doubt(why);
    }

    /// Makes the copies that blocks and entries lack, now and as fast as the disk. Blocks. The store does this by itself, slowly, after it was opened.
    pub fn make_copies(&self) -> Result<Filled, CompactError> {
        hold(&self.inner.filler).run(0)
    }

    /// Ends the store: what was committed is durable anyway; this writes the index so that the next opening is quick, and unlocks the directory.
    /// Blocks. Later calls of any clone fail.
    pub fn close(self) -> Result<(), WriteError> {
        self.inner.close()
    }

    async fn room(&self, bytes: u64) -> Result<OwnedSemaphorePermit, WriteError> {
        let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).clamp(1, QUEUE_KIB);
        self.inner.room.clone().acquire_many_owned(kib).await.map_err(|_| WriteError::Closed)
    }

    pub(crate) async fn request(&self, request: Request) -> Result<(), WriteError> {
        self.inner.requests.send(request).await.map_err(|_| WriteError::Closed)
    }
}

impl Inner {
    /// Another directory that is locked until the store is closed.
    pub(crate) fn keep_locked(&self, lock: LockGuard) {
        hold(&self.threads).locks.push(lock);
    }

    fn close(&self) -> Result<(), WriteError> {
        let mut threads = hold(&self.threads);
        if let Some(background) = threads.background.take() {
            background.stop();
        }
        if let Some(filling) = threads.filling.take() {
            filling.stop();
        }
        self.room.close();
        let mut result = Ok(());
        if let Some(committer) = threads.committer.take() {
            let (reply, mut answer) = oneshot::channel();
            // Not `blocking_send`: the store may be dropped inside a runtime.
            let mut request = Request::Close { reply };
            while let Err(mpsc::error::TrySendError::Full(back)) = self.requests.try_send(request) {
                request = back;
                thread::sleep(std::time::Duration::from_millis(1));
            }
            let joined = committer.join();
            result = answer.try_recv().unwrap_or(Err(WriteError::Closed));
            if joined.is_err() {
                result = Err(WriteError::Io("the committer panicked".to_owned()));
            }
        }
        self.reading.index.close();
        threads.locks.clear();
        result
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the store was not closed cleanly; the next opening reads more");
        }
    }
}

/// Entries of a range, as of one moment.
pub struct Scan(Option<crate::index::Rows>);

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Entry), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.as_mut()?.next().map(scanned)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.as_mut()?.next_back().map(scanned)
    }
}

fn scanned(row: Result<(Bytes, Bytes), crate::index::IndexError>) -> Result<(Vec<u8>, Entry), ReadError> {
    let (key, value) = row?;
    let row = KeyRow::decode(&value, true).and_then(entry);
    let entry = row.ok_or_else(|| ReadError::Index("a row is malformed".to_owned()))?;
    Ok((key[2..].to_vec(), entry))
}

fn entry(row: KeyRow) -> Option<Entry> {
    let put = row.put?;
    Some(Entry { sequence: row.sequence, index: row.index, references: put.references, value: put.value })
}

pub(crate) fn lock(backend: &dyn Backend) -> Result<LockGuard, OpenError> {
    let place = backend.describe();
    backend.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse { place },
        _ => OpenError::io("lock the directory", &place, error),
    })
}

pub(crate) fn random_id() -> Result<[u8; 16], OpenError> {
    let mut id = [0; 16];
    let filled = rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty());
    match filled {
        Ok(16) => Ok(id),
        Ok(_) => Err(OpenError::io("draw random bytes", "this machine", io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(OpenError::io("draw random bytes", "this machine", error.into())),
    }
}

pub(crate) fn temporary_path() -> Result<PathBuf, OpenError> {
    let id: String = random_id()?.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(std::env::temp_dir().join(format!("jsfs-index-{id}")))
}

fn pack_max(options: &OpenOptions) -> u64 {
    let total = |backend: &Arc<dyn Backend>| backend.space().map_or(u64::MAX, |space| space.total);
    let smallest = options.locations.iter().map(total).min().unwrap_or(u64::MAX);
    options.pack_max.unwrap_or_else(|| (smallest / PACK_SHARE).clamp(PACK_MIN, PACK_MAX))
}

fn floor(options: &OpenOptions) -> u64 {
    let of = |backend: &Arc<dyn Backend>| {
        backend.space().map_or(0, |space| (space.total / FLOOR_SHARE).min(FLOOR_MAX))
    };
    options.floor.unwrap_or_else(|| options.locations.iter().map(of).max().unwrap_or(0))
}
