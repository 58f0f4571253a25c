//! The single door to data: names, authority, read, write, directories, versions and events.
//!
//! Every operation that touches data takes a [`Grant`], which only [`Objects::authorize`] makes: a forgotten check does not compile. A change
//! is one commit of the store, conditional on everything that it rested on (the version before, every directory above), and is tried
//! again when something of that changed meanwhile; so a crash or a cancelled request leaves either the whole change or nothing.
//!
//! | question | where |
//! |---|---|
//! | what is an address, a key, a token, a record | `address`, `key`, `token`, `record` and the other formats of `docs/formats.md` |
//! | who may | `authority` (the rule), `credentials` (what is presented), `chain` (who owns), `grant` (the answer) |
//! | reading | `read` (`cache` for what is remembered), `parts` (to be worked on side by side), `list`, `feed` (following changes; `tail` is what all who follow share) |
//! | writing | `write` (`stow` for the bytes, `author` for the record, `commit` for the entry), `append`, `unfinished`, `change`, `delete`, `copy` |
//! | whose an object is that names an owner itself | `owned` |
//! | what was attached to a program | `program` |
//! | what can be computed again | `derived` |
//! | what is kept of a process, and effects that happen once | `process`, `once` |
//! | maintenance while the node runs; by itself; backups of it | `maintenance`, `scrub`, `backup` |
//! | parts of a node in a file | `rom` |
//! | blocks of other nodes | `remote` |
//! | records of other nodes | `metastore` |
//! | administering | `namespace`, `policy`, `share`, `handover`, `reseal`, `retention` |

pub mod address;
mod append;
mod author;
pub mod authority;
mod backup;
mod cache;
pub mod cbor;
mod chain;
mod change;
pub mod clock;
mod commit;
mod copy;
mod credentials;
mod crypto;
mod delete;
mod derived;
mod error;
mod event;
mod feed;
mod gates;
mod grant;
mod handover;
pub mod jsfs4;
pub mod key;
mod list;
mod maintenance;
pub mod manifest;
mod metadata;
mod metastore;
mod namespace;
mod once;
mod owned;
mod parts;
mod policy;
mod process;
mod program;
mod read;
pub mod read_key;
mod recent;
pub mod record;
mod remote;
mod reseal;
mod retention;
mod rom;
mod scrub;
pub mod seal;
mod share;
mod similar;
mod status;
mod stow;
mod tables;
mod tail;
pub mod token;
mod tree;
mod turns;
mod unfinished;
mod write;

pub use backup::{BACKUP_ASK_MAX, Backup, BackupNote};
pub use cbor::FormatError;
pub use change::PropertyChange;
pub use copy::{Expected, Moved};
pub use credentials::Credentials;
pub use crypto::{WRAPPED_BYTES, Wrapped};
pub use derived::{DERIVED_MAX, Derived};
pub use error::{ReadError, Refusal, StorageError, WriteError};
pub use event::EventKind;
pub use feed::{Cursor, News, Notice, Properties, Watching};
pub use grant::{Delete, Execute, Grant, Holder, List, Manage, Purge, Read, Root, Verb, Watch, Write};
pub use list::{ListEntry, ListOptions, Listed, Listing, PAGE_MAX};
pub use maintenance::{Collecting, Line, Maintenance, MaintenanceError, Relocation};
pub use metadata::{BlockInfo, ETag, Metadata, VersionInfo};
pub use metastore::{Entries, Entry, Metastore, Observed, StoredAs, Storing, Versions, noting_kept};
pub use namespace::{NamespaceInfo, NamespaceOptions};
pub use once::{Done, Effect};
pub use parts::{Part, Records};
pub use policy::{DirectoryInfo, PolicyChange, RETENTION_DAYS_MAX, RETENTION_VERSIONS_MAX};
pub use process::{PIECE_MAX, ProcessChange, ProcessId};
pub use program::{Attachment, ENV_BYTES_MAX, GRANTS_MAX, HOSTS_MAX};
pub use read::{Body, Object};
pub use remote::{BlocksFrom, LeaseError, Lessee, Remote, RemoteAnswer};
pub use retention::Swept;
pub use rom::{ROM_ROOTS_MAX, RomImport, RomImported, send_rom};
pub use scrub::{ScrubError, ScrubPass, ScrubStatus, Scrubbing};
pub use share::MintedToken;
pub use status::Status;
pub use unfinished::{Resumed, UNFINISHED_MAX, Unfinished, UploadId};
pub use write::{Precondition, Upload, WriteOptions, Written};

use address::Address;
use clock::{Clock, HybridClock, HybridTime, Random};
use key::{Keys, Seed, SigningKey};
use std::{
    collections::HashSet,
    future::Future,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tail::Tails;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use turns::Turns;

/// Access keys whose derived keys are remembered, so that a request does not derive them again.
const KEYS_REMEMBERED: usize = 1_024;

/// Typed keys that are stretched at the same time: each takes 19 MiB and a core for some milliseconds.
const STRETCHED_AT_ONCE: usize = 1;

/// Listings that are made at the same time: the other half of the processors is for everything else.
fn half_of_the_processors() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}

/// What holds where no directory says otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many days an old version is kept.
    pub versions_days: u64,
    /// How many old versions of an object are kept.
    pub versions_count: u64,
    /// Old versions of a namespace may always take this many bytes, however little live data there is.
    pub versions_bytes_min: u64,
    /// How many days lines of the change log are kept.
    pub events_days: u64,
    /// How many hours an unfinished upload is kept after its last byte.
    pub uploads_hours: u64,
    /// How many bytes what can be computed again may take; the least lately used goes first.
    pub derived_bytes: u64,
    /// How many bytes blocks that were fetched from other nodes may take; the least lately used goes first.
    pub cache_bytes: u64,
    /// How many bytes of memory what reads remember may take: records, directories, short bodies.
    pub memory_bytes: u64,
    /// Whether clients of JSFS 4 are answered in drop boxes as they were.
    pub jsfs4: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            versions_days: 30,
            versions_count: 100,
            versions_bytes_min: 1 << 30,
            events_days: 30,
            uploads_hours: 24,
            derived_bytes: 1 << 30,
            cache_bytes: 1 << 30,
            memory_bytes: 64 << 20,
            jsfs4: false,
        }
    }
}

/// What the object layer is made of.
pub struct OpenOptions {
    /// The store underneath.
    pub store: jsfs_store::Store,
    /// The node's own identity: it countersigns what it accepts.
    pub node_key: SigningKey,
    /// The key that owns namespace `localhost` and grants namespaces, needed when the store is new.
    pub root_key: Option<Seed>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// What holds where no directory says otherwise.
    pub settings: Settings,
}

/// The object layer of one node. Clones share it.
#[derive(Clone)]
pub struct Objects(Arc<Inner>);

struct Inner {
    store: jsfs_store::Store,
    node_key: SigningKey,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    hybrid: HybridClock,
    settings: Settings,
    keys: quick_cache::sync::Cache<[u8; 32], Arc<Keys>>,
    memory: cache::Memory,
    stretching: Turns,
    listing: Turns,
    places: Arc<Semaphore>,
    resealing: Mutex<HashSet<Address>>,
    maintaining: maintenance::UnderWay,
    node_seed: OnceLock<Seed>,
    turns: Arc<unfinished::Turns>,
    uses: derived::Uses,
    neighbours: similar::Neighbours,
    elsewhere: remote::Elsewhere,
    shared: metastore::Shared,
    left_sealed: AtomicU64,
    owned_is_complete: owned::IsComplete,
    tails: Tails,
    scrub: scrub::Scrub,
    mounted: OnceLock<Vec<rom::Mounted>>,
    authority: AtomicU64,
    tasks: TaskTracker,
    stop: CancellationToken,
    opened_ms: u64,
}

impl Objects {
    /// Opens the object layer; a new store gets its namespace `localhost`.
    pub async fn open(options: OpenOptions) -> Result<Objects, WriteError> {
        let OpenOptions { store, node_key, root_key, clock, random, settings } = options;
        let objects = Objects(Arc::new(Inner {
            hybrid: HybridClock::new(Arc::clone(&clock)),
            keys: quick_cache::sync::Cache::new(KEYS_REMEMBERED),
            memory: cache::Memory::new(settings.memory_bytes),
            stretching: Turns::new(STRETCHED_AT_ONCE),
            listing: Turns::new(half_of_the_processors()),
            places: stow::places(),
            resealing: Mutex::default(),
            maintaining: maintenance::UnderWay::default(),
            node_seed: OnceLock::new(),
            turns: Arc::default(),
            uses: derived::Uses::default(),
            neighbours: similar::Neighbours::default(),
            elsewhere: remote::Elsewhere::default(),
            shared: metastore::Shared::default(),
            left_sealed: AtomicU64::new(0),
            owned_is_complete: owned::IsComplete::default(),
            tails: Tails::default(),
            scrub: scrub::Scrub::default(),
            mounted: OnceLock::new(),
            authority: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            opened_ms: clock.now_ms(),
            store,
            node_key,
            clock,
            random,
            settings,
        }));
        objects.catch_up_with_own_past()?;
        objects.complete_owned().await?;
        if let Some(seed) = root_key {
            objects.found(Arc::new(seed.keys())).await?;
        }
        Ok(objects)
    }

    /// Waits for background work to stop. The store is closed by whoever opened it.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.close_roms().await;
    }

    /// The node's time, ms since 1970.
    pub fn now_ms(&self) -> u64 {
        self.clock().now_ms()
    }

    pub(crate) fn store(&self) -> &jsfs_store::Store {
        &self.0.store
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// Random bytes that nobody can guess.
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        self.random().bytes()
    }

    pub(crate) fn random(&self) -> &dyn Random {
        &*self.0.random
    }

    pub(crate) fn hybrid_time(&self) -> HybridTime {
        self.0.hybrid.tick()
    }

    pub(crate) fn observe(&self, time: HybridTime) {
        self.0.hybrid.observe(time);
    }

    pub(crate) fn node_key(&self) -> &SigningKey {
        &self.0.node_key
    }

    pub(crate) fn key_cache(&self) -> &quick_cache::sync::Cache<[u8; 32], Arc<Keys>> {
        &self.0.keys
    }

    pub(crate) fn stretching(&self) -> &Turns {
        &self.0.stretching
    }

    pub(crate) fn listing(&self) -> &Turns {
        &self.0.listing
    }

    /// Lets go of memory that is kept for the next work.
    pub fn rest(&self) {
        stow::rest();
    }

    /// Places for pieces of bodies at work.
    pub(crate) fn places(&self) -> &Arc<Semaphore> {
        &self.0.places
    }

    pub(crate) fn memory(&self) -> &cache::Memory {
        &self.0.memory
    }

    /// Whose turn it is with each unfinished upload.
    pub(crate) fn turns(&self) -> &Arc<unfinished::Turns> {
        &self.0.turns
    }

    /// When which derived value was used.
    pub(crate) fn uses(&self) -> &derived::Uses {
        &self.0.uses
    }

    /// Blocks that small objects near each other may be deltas of.
    pub(crate) fn neighbours(&self) -> &similar::Neighbours {
        &self.0.neighbours
    }

    /// Other nodes.
    pub(crate) fn elsewhere(&self) -> &remote::Elsewhere {
        &self.0.elsewhere
    }

    /// Records of other nodes.
    pub(crate) fn shared(&self) -> &metastore::Shared {
        &self.0.shared
    }

    pub(crate) fn opened_ms(&self) -> u64 {
        self.0.opened_ms
    }

    pub(crate) fn scrub_state(&self) -> &scrub::Scrub {
        &self.0.scrub
    }

    /// Cancelled when the node stops.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.stop
    }

    pub(crate) fn tails(&self) -> &Tails {
        &self.0.tails
    }

    /// Changes with everything that can change who may do what.
    pub(crate) fn authority_generation(&self) -> u64 {
        self.0.authority.load(Ordering::SeqCst)
    }

    pub(crate) fn authority_changed(&self) {
        self.0.authority.fetch_add(1, Ordering::SeqCst);
    }

    /// Runs something in the background until it is done or the node stops.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.0.stop.clone();
        self.0.tasks.spawn(async move {
            stop.run_until_cancelled(work).await;
        });
    }

    /// Runs something that its caller waits for, or leaves to end by itself.
    pub(crate) fn task<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.0.tasks.spawn(work)
    }

    /// As [`Objects::task`], on a thread that may block.
    pub(crate) fn task_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.0.tasks.spawn_blocking(work)
    }

    pub(crate) fn owned_is_complete(&self) -> &owned::IsComplete {
        &self.0.owned_is_complete
    }

    /// Notes that an entry could not be sealed again: whoever wrote it sealed it under a key to which its owner's does not lead.
    pub(crate) fn leave_sealed(&self, address: &Address) {
        self.0.left_sealed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%address, "a record does not open with its owner's key and is left as it is; replace or delete the object");
    }

    /// Directories that are being sealed again, and entries that had to be left.
    pub(crate) fn resealing_state(&self) -> (u64, u64) {
        let under_way = self.0.resealing.lock().unwrap_or_else(PoisonError::into_inner).len();
        (under_way as u64, self.0.left_sealed.load(Ordering::Relaxed))
    }

    /// Notes that a directory is being sealed again; false if it is already.
    pub(crate) fn begin_resealing(&self, directory: &Address) -> bool {
        self.0.resealing.lock().unwrap_or_else(PoisonError::into_inner).insert(directory.clone())
    }

    pub(crate) fn end_resealing(&self, directory: &Address) {
        self.0.resealing.lock().unwrap_or_else(PoisonError::into_inner).remove(directory);
    }
}
