//! The location: a directory for what is being written, and a bucket for packs that are full.
//!
//! Reading a pack that is in the bucket waits for the network, so it is never done where nobody may wait ([`PackFile::read_now_at`] finds nothing). A pack that is open
//! while it is uploaded goes on being read, from the bucket.

use crate::{
    BucketError, Keys, Place,
    pieces::{PIECE, Pieces},
    record::{Full, HEAD, Record},
    remote::{PART, Remote},
    transfer,
};
use jsfs_store::backend::{Backend, Directory, LockGuard, PackFile, Space, pack_name, pack_number};
use object_store::ObjectStore;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, Weak},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use url::Url;

/// The file that says which store it is.
const STORE: &str = "store.json";

/// Pieces that are fetched with one request where a pack is read from piece to piece.
const AHEAD: u64 = 16;

/// Packs whose reading is remembered for that.
const READINGS_MAX: usize = 1_024;

/// Where a location is.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory.
    pub directory: PathBuf,
    /// The bucket, and the prefix in it that is this location's alone.
    pub place: Place,
    /// Who has it, where that is not Amazon.
    pub endpoint: Option<Url>,
    /// The region.
    pub region: String,
    /// The keys, where they are not those of the environment (`AWS_ACCESS_KEY_ID`, …).
    pub keys: Option<Keys>,
    /// Bytes of packs in the bucket that are kept in the directory too.
    pub cache: u64,
    /// How long a request that fails is tried again.
    pub patience: Duration,
    /// Whether a store that the bucket has is taken up into an empty directory. Whoever says so says that no other node has it.
    pub takes_up: bool,
}

/// A location whose full packs lie in a bucket.
#[derive(Debug)]
pub struct Bucket {
    shared: Arc<Shared>,
    transfer: Option<JoinHandle<()>>,
}

/// What the location, its open packs and the transfer have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) directory: Directory,
    pub(crate) remote: Remote,
    pub(crate) pieces: Pieces,
    /// Held while the record is replaced, or files of packs go.
    writing: Mutex<()>,
    state: Mutex<State>,
    /// Told when there is something to do for the transfer, and when a piece was fetched.
    pub(crate) changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) record: Record,
    open: HashMap<u64, Weak<Pack>>,
    /// The pack with the highest number.
    pub(crate) newest: u64,
    /// Where who reads a pack in order would go on.
    next: HashMap<u64, u64>,
    fetching: HashSet<(u64, u64)>,
    /// When the store removed a pack that the bucket has: who had it open may still read it for a while.
    pub(crate) removed: HashMap<u64, Instant>,
    /// Why the last attempt to upload or remove a pack failed.
    pub(crate) trouble: Option<String>,
    pub(crate) is_closed: bool,
}

impl Bucket {
    /// Opens the location. The bucket is asked only at the first time, or when the directory was lost.
    ///
    /// # Errors
    /// When the directory or the bucket cannot be used, or belong to different stores.
    pub fn open(options: &Options) -> Result<Self, BucketError> {
        let (endpoint, keys) = (options.endpoint.as_ref(), options.keys.as_ref());
        let remote = Remote::connect(&options.place, endpoint, &options.region, keys, options.patience)?;
        Self::of(options, remote)
    }

    /// The same in any object store.
    ///
    /// # Errors
    /// As [`Bucket::open`].
    pub fn open_in(options: &Options, store: Arc<dyn ObjectStore>) -> Result<Self, BucketError> {
        let remote = Remote::with(Arc::clone(&store), store, &options.place).map_err(|error| {
            BucketError::Unusable { bucket: options.place.to_string(), reason: error.to_string() }
        })?;
        Self::of(options, remote)
    }

    fn of(options: &Options, remote: Remote) -> Result<Self, BucketError> {
        let place = options.directory.display().to_string();
        let local = |source| BucketError::Directory { place: place.clone(), source };
        let directory = Directory::open(&options.directory).map_err(local)?;
        let pieces = Pieces::open(&options.directory.join("cache"), options.cache).map_err(local)?;
        let record = record(&directory, &remote, options.takes_up)?;
        let newest = directory.packs().map_err(local)?.last().copied().unwrap_or_default();
        let state = Mutex::new(State { record, newest, ..State::default() });
        let shared =
            Shared { directory, remote, pieces, writing: Mutex::default(), state, changed: Condvar::new() };
        let shared = Arc::new(shared);
        let transfer = transfer::begin(Arc::clone(&shared)).map_err(local)?;
        Ok(Self { shared, transfer: Some(transfer) })
    }

    /// Packs that are full and not yet in the bucket.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.waiting().map_or(0, |waiting| waiting.len())
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.shared.hold().is_closed = true;
        self.shared.changed.notify_all();
        self.shared.remote.close();
        if let Some(transfer) = self.transfer.take() {
            let _ = transfer.join();
        }
    }
}

/// What is known of the packs. Without a record the bucket tells: it is empty, this store's, or another's.
fn record(directory: &Directory, remote: &Remote, takes_up: bool) -> Result<Record, BucketError> {
    let local = |source| BucketError::Directory { place: directory.describe(), source };
    let unreachable = |source| BucketError::Unreachable { bucket: remote.called().to_owned(), source };
    if let Some(record) = Record::read(directory).map_err(local)? {
        if record.bucket == remote.called() {
            return Ok(record);
        }
        if !record.packs.is_empty() {
            let reason = format!("packs of {} lie in {}", directory.describe(), record.bucket);
            return Err(BucketError::Unusable { bucket: remote.called().to_owned(), reason });
        }
    }
    let mut record = Record::new(remote.called());
    let here = directory.read_file(STORE).map_err(local)?;
    let there = remote.read(STORE).map_err(unreachable)?;
    match (here, there) {
        (Some(here), None) => claim(remote, &here)?,
        (Some(here), Some(there)) if is_same(&here, &there) => {
            record.packs = packs(remote).map_err(unreachable)?
        }
        (Some(_), Some(_)) => return Err(BucketError::Taken { bucket: remote.called().to_owned() }),
        (None, Some(_)) if !takes_up => {
            let (bucket, place) = (remote.called().to_owned(), directory.describe());
            return Err(BucketError::Held { bucket, place });
        }
        // The directory was lost. The last pack comes back, because what is written goes on in it.
        (None, Some(there)) => {
            record.packs = packs(remote).map_err(unreachable)?;
            if let Some((number, last)) = record.packs.pop_last() {
                tracing::info!(
                    bucket = remote.called(),
                    pack = number,
                    "the directory has no store; taking it up from the bucket"
                );
                fetch(directory, remote, number, last.length).map_err(unreachable)?;
                record.started.insert(number);
            }
            record.write(directory).map_err(local)?;
            directory.write_file(STORE, &there).map_err(local)?;
        }
        // The store that is made here takes the bucket when it says who it is.
        (None, None) => return Ok(record),
    }
    record.write(directory).map_err(local)?;
    Ok(record)
}

fn claim(remote: &Remote, store: &[u8]) -> Result<(), BucketError> {
    match remote.create(STORE, store.to_vec().into()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let there = remote.read(STORE);
            let there = there
                .map_err(|source| BucketError::Unreachable { bucket: remote.called().to_owned(), source })?;
            let is_own = there.is_some_and(|there| is_same(store, &there));
            is_own.then_some(()).ok_or_else(|| BucketError::Taken { bucket: remote.called().to_owned() })
        }
        Err(source) => Err(BucketError::Unreachable { bucket: remote.called().to_owned(), source }),
    }
}

/// Whether two files say that they are the same location of the same store.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let who = |bytes: &[u8]| {
        let json: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        Some((json.get("store_id")?.clone(), json.get("location")?.clone()))
    };
    who(one).is_some() && who(one) == who(other)
}

fn packs(remote: &Remote) -> io::Result<BTreeMap<u64, Full>> {
    let mut packs = BTreeMap::new();
    for (name, length) in remote.list()? {
        let Some(number) = pack_number(&name) else { continue };
        packs.insert(number, Full::new(length, &remote.range(&name, 0..HEAD.min(length))?));
    }
    Ok(packs)
}

fn fetch(directory: &Directory, remote: &Remote, number: u64, length: u64) -> io::Result<()> {
    let file = directory.create_pack(number)?;
    let mut at = 0;
    while at < length {
        let end = length.min(at + PART as u64);
        file.write_at(&[&remote.range(&pack_name(number), at..end)?], at)?;
        at = end;
    }
    file.sync()?;
    directory.sync_packs()
}

impl Shared {
    pub(crate) fn hold(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the record, on the disk first.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Record)) -> io::Result<()> {
        let mut record = self.hold().record.clone();
        change(&mut record);
        record.write(&self.directory)?;
        self.hold().record = record;
        Ok(())
    }

    /// Whoever holds this is the only one who changes the record and removes files.
    pub(crate) fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The packs that are full and in the directory alone. The last but one may yet be written to, should the last turn out to be the beginning of nothing.
    pub(crate) fn waiting(&self) -> io::Result<Vec<u64>> {
        let here = self.directory.packs()?;
        let state = self.hold();
        let is_full = |number: &u64| number + 2 <= state.newest && !state.record.packs.contains_key(number);
        Ok(here.into_iter().filter(is_full).collect())
    }

    /// Has a pack read from the bucket from now on, and removes its file.
    pub(crate) fn let_go(&self, number: u64) -> io::Result<()> {
        let state = self.hold();
        let removed = self.directory.remove_pack(number);
        let pack = state.open.get(&number).and_then(Weak::upgrade);
        if let (Some(pack), Some(full)) = (pack, state.record.packs.get(&number)) {
            *pack.lies.write().unwrap_or_else(PoisonError::into_inner) = Lies::There(full.clone());
        }
        drop(state);
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn read(&self, number: u64, length: u64, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() && offset + (done as u64) < length {
            let at = offset + done as u64;
            let piece = self.piece(number, at / PIECE, length)?;
            let from = usize::try_from(at % PIECE).unwrap_or(usize::MAX);
            let found =
                piece.get(from..).filter(|rest| !rest.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
            let count = found.len().min(buffer.len() - done);
            buffer[done..done + count].copy_from_slice(&found[..count]);
            done += count;
        }
        Ok(done)
    }

    /// A piece, kept or fetched; who comes while it is being fetched waits for it.
    fn piece(&self, number: u64, piece: u64, length: u64) -> io::Result<Vec<u8>> {
        let key = (number, piece);
        loop {
            if let Some(kept) = self.pieces.get(key) {
                return Ok(kept);
            }
            let mut state = self.hold();
            if state.fetching.insert(key) {
                break;
            }
            while state.fetching.contains(&key) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let fetched = self.fetch(number, piece, length);
        self.hold().fetching.remove(&key);
        self.changed.notify_all();
        fetched
    }

    fn fetch(&self, number: u64, piece: u64, length: u64) -> io::Result<Vec<u8>> {
        let count = {
            let mut state = self.hold();
            if state.next.len() >= READINGS_MAX {
                state.next.clear();
            }
            let count = if state.next.get(&number) == Some(&piece) { AHEAD } else { 1 };
            state.next.insert(number, piece + count);
            count
        };
        let range = piece * PIECE..length.min((piece + count) * PIECE);
        let bytes = self.remote.range(&pack_name(number), range);
        // Should it have been too much for a slow line, the next attempt asks for less.
        let bytes = bytes.inspect_err(|_| {
            self.hold().next.remove(&number);
        })?;
        for (at, part) in (piece..).zip(bytes.chunks(usize::try_from(PIECE).unwrap_or(usize::MAX))) {
            self.pieces.put((number, at), part);
        }
        Ok(bytes[..bytes.len().min(usize::try_from(PIECE).unwrap_or(usize::MAX))].to_vec())
    }
}

impl Backend for Bucket {
    fn describe(&self) -> String {
        self.shared.directory.describe()
    }

    fn lock(&self) -> io::Result<LockGuard> {
        self.shared.directory.lock()
    }

    fn read_file(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.shared.directory.read_file(name)
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if name == STORE {
            claim(&self.shared.remote, bytes).map_err(io::Error::other)?;
            let _writing = self.shared.writing();
            self.shared.note(|_| ())?;
        }
        self.shared.directory.write_file(name, bytes)
    }

    fn keep_cut(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.shared.directory.keep_cut(name, bytes)
    }

    fn packs(&self) -> io::Result<Vec<u64>> {
        let mut numbers: BTreeSet<u64> = self.shared.directory.packs()?.into_iter().collect();
        numbers.extend(self.shared.hold().record.packs.keys());
        Ok(numbers.into_iter().collect())
    }

    fn create_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        let mut state = self.shared.hold();
        if state.record.packs.contains_key(&number) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = self.shared.directory.create_pack(number)?;
        state.newest = state.newest.max(number);
        let pack = Pack::new(&self.shared, &mut state, number, Lies::Here(file));
        self.shared.changed.notify_all();
        Ok(pack)
    }

    fn open_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        let mut state = self.shared.hold();
        if let Some(pack) = state.open.get(&number).and_then(Weak::upgrade) {
            return Ok(pack);
        }
        let full = state.record.packs.get(&number).cloned();
        let lies = match (self.shared.directory.open_pack(number), full) {
            (Ok(file), _) => Lies::Here(file),
            (Err(error), Some(full)) if error.kind() == io::ErrorKind::NotFound => Lies::There(full),
            (Err(error), _) => return Err(error),
        };
        Ok(Pack::new(&self.shared, &mut state, number, lies))
    }

    fn remove_pack(&self, number: u64) -> io::Result<()> {
        let _writing = self.shared.writing();
        let is_there = {
            let record = &self.shared.hold().record;
            record.packs.contains_key(&number) || record.started.contains(&number)
        };
        if is_there {
            self.shared.note(|record| {
                record.packs.remove(&number);
                record.started.remove(&number);
                record.removed.insert(number);
            })?;
        }
        self.shared.pieces.forget(number);
        let removed = self.shared.directory.remove_pack(number);
        let mut state = self.shared.hold();
        state.open.remove(&number);
        if is_there {
            state.removed.insert(number, Instant::now());
        }
        drop(state);
        self.shared.changed.notify_all();
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_there => Ok(()),
            other => other,
        }
    }

    fn sync_packs(&self) -> io::Result<()> {
        self.shared.directory.sync_packs()
    }

    fn space(&self) -> io::Result<Space> {
        self.shared.directory.space()
    }

    fn is_fixed(&self) -> bool {
        true
    }

    fn trouble(&self) -> Option<String> {
        let trouble = self.shared.hold().trouble.clone()?;
        Some(format!("{} packs wait for the bucket: {trouble}", self.waiting()))
    }
}

/// An open pack.
#[derive(Debug)]
struct Pack {
    number: u64,
    shared: Arc<Shared>,
    lies: RwLock<Lies>,
}

/// Where a pack lies. What is known of one in the bucket is kept here, because whoever has it open goes on reading when the store removes it.
#[derive(Clone, Debug)]
enum Lies {
    Here(Arc<dyn PackFile>),
    There(Full),
}

impl Pack {
    fn new(shared: &Arc<Shared>, state: &mut State, number: u64, lies: Lies) -> Arc<Self> {
        state.open.retain(|_, pack| pack.strong_count() > 0);
        let pack = Arc::new(Pack { number, shared: Arc::clone(shared), lies: RwLock::new(lies) });
        state.open.insert(number, Arc::downgrade(&pack));
        pack
    }

    fn lies(&self) -> Lies {
        self.lies.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn written(&self) -> io::Result<Arc<dyn PackFile>> {
        match self.lies() {
            Lies::Here(file) => Ok(file),
            Lies::There(_) => {
                let what = format!("pack {} is full and lies in the bucket", self.number);
                Err(io::Error::new(io::ErrorKind::Unsupported, what))
            }
        }
    }
}

impl PackFile for Pack {
    fn len(&self) -> io::Result<u64> {
        match self.lies() {
            Lies::Here(file) => file.len(),
            Lies::There(full) => Ok(full.length),
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.lies() {
            Lies::Here(file) => file.read_at(buffer, offset),
            Lies::There(full) if offset + buffer.len() as u64 <= HEAD => {
                let head = full.head();
                match usize::try_from(offset).ok().and_then(|at| head.get(at..at + buffer.len())) {
                    Some(known) => buffer.copy_from_slice(known),
                    None => return self.shared.read(self.number, full.length, buffer, offset),
                }
                Ok(buffer.len())
            }
            Lies::There(full) => self.shared.read(self.number, full.length, buffer, offset),
        }
    }

    fn read_now_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        match self.lies() {
            Lies::Here(file) => file.read_now_at(buffer, offset),
            Lies::There(_) => Ok(None),
        }
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        self.written()?.write_at(parts, offset)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.written()?.allocate(length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.written()?.truncate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.written()?.sync()
    }
}
