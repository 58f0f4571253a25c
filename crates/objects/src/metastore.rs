//! Records of other nodes: the seam to the federation's metastore, and keeping what is here in step with it.
//!
//! In a federation the metastore is what holds; tables of this node are what it has read of it and written to it. Before authority is decided, what
//! decides is **refreshed** (`refresh`): the directories above, and the object or the names below. What is found is judged again by whoever knows the
//! address, and **adopted** (`adopt`) in one commit, as if it had been written here: so listings, watchers, versions and quotas need no second way.
//! A change is **published** (`publish`) before it is committed here. A crash between the two leaves a version that nobody was told of and that the next
//! refresh adopts. Names of private objects are sealed under a key that the name itself leads to; `names` is how they are found by who may list.
//!
//! Only namespaces that were made in a federation are shared; others stay this node's own.

mod adopt;
mod directories;
mod listing;
mod names;
mod publish;
mod refresh;

pub(crate) use adopt::shared;
pub(crate) use directories::names_directory;
pub(crate) use names::Named;

use crate::{
    Objects, RemoteAnswer,
    address::{Address, LOCALHOST},
    chain::DirectoryState,
    error::StorageError,
    gates::{Gates, Turns},
    read_key::{Group, Locator},
    record::RecordHash,
    tables,
};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

/// What is kept under one locator.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    /// Envelopes that nothing follows, the one that every node serves first.
    pub heads: Vec<Vec<u8>>,
    /// Envelopes that something follows, as far as they were asked for.
    pub past: Vec<Vec<u8>>,
    /// Whether so many members answered that nothing acknowledged is missing.
    pub settled: bool,
}

/// One entry of a group.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is filed under.
    pub locator: Locator,
    /// As for [`Versions`].
    pub heads: Vec<Vec<u8>>,
    /// Whether more is to be fetched by its locator.
    pub incomplete: bool,
}

/// A page of a group, in order of locators.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// What is listed there.
    pub entries: Vec<Entry>,
    /// Where the next page begins.
    pub next: Option<Locator>,
    /// As for [`Versions`].
    pub settled: bool,
}

/// A record to be stored.
#[derive(Clone, Debug)]
pub struct Storing {
    /// The signed envelope.
    pub envelope: Vec<u8>,
    /// The envelope that it was made from, under the same locator.
    pub before: Option<Vec<u8>>,
    /// Store only if what is served of its owner has this hash, or there is nothing.
    pub condition: Option<Option<RecordHash>>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub enum StoredAs {
    /// As many members have it as an acknowledged write needs.
    Settled,
    /// It is kept by this node, and by so many of so many, and completed later.
    Kept {
        /// Members that have it.
        replicas: usize,
        /// Members that should.
        of: usize,
    },
    /// The condition did not hold; this is there.
    Conflict(Versions),
    /// Try again later.
    Busy,
    /// Never.
    Refused(String),
}

/// What is known of a home that is observed from now on.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Which observation it is.
    pub ticket: u64,
    /// What has changed since its entries were read last; none if that is not known.
    pub changed: Option<Vec<Locator>>,
}

/// The records of the federation, as far as reading and writing objects needs them. What it answers has been checked by all that can be checked without a key.
pub trait Metastore: Send + Sync {
    /// Whether the node is in a federation.
    fn is_together(&self) -> bool;
    /// Whether this node's key may grant namespaces.
    fn grants(&self) -> bool;
    /// What is under a locator; none if nobody answered.
    fn versions(&self, locator: Locator, past: bool) -> RemoteAnswer<'_, Option<Versions>>;
    /// A page of a group from after a locator; none if nobody answered.
    fn entries(&self, group: Group, after: Option<Locator>) -> RemoteAnswer<'_, Option<Entries>>;
    /// Stores a record.
    fn store(&self, storing: Storing) -> RemoteAnswer<'_, StoredAs>;
    /// Whether what was read last of a locator's versions, or a group's entries, is still so.
    fn is_fresh(&self, home: [u8; 32], entries: bool) -> bool;
    /// Has this node told of changes of a locator's versions, or a group's entries, from now on; none if it will not be.
    fn observe(&self, home: [u8; 32], entries: bool) -> RemoteAnswer<'_, Option<Observed>>;
    /// Says that all that was there when it was observed has been read: under the number that it was observed with.
    fn settle(&self, home: [u8; 32], ticket: u64, entries: bool);
    /// Says that what was read of it is not so any more.
    fn distrust(&self, home: [u8; 32]);
    /// Woken when something that was observed changed.
    fn stale(&self) -> tokio::sync::watch::Receiver<u64>;
}

/// What is remembered beside the store.
#[derive(Default)]
pub(crate) struct Shared {
    metastore: OnceLock<Arc<dyn Metastore>>,
    gates: Gates,
    /// Whose turn it is to read a group.
    reading: Gates,
    pub(crate) directories: directories::Directories,
}

tokio::task_local! {
    static KEPT: Arc<AtomicBool>;
}

/// Carries a request out, and says whether some change of it was only kept here, until enough other nodes have it.
pub async fn noting_kept<F: Future>(work: F) -> (F::Output, bool) {
    let kept = Arc::new(AtomicBool::new(false));
    let output = KEPT.scope(Arc::clone(&kept), work).await;
    (output, kept.load(Ordering::Relaxed))
}

fn note_kept() {
    let _ = KEPT.try_with(|kept| kept.store(true, Ordering::Relaxed));
}

impl Objects {
    /// Sets where records of other nodes are. Once, before requests are served.
    pub fn set_metastore(&self, metastore: Arc<dyn Metastore>) {
        let _ = self.shared().metastore.set(metastore);
    }

    /// The records of other nodes, where there are any.
    pub(crate) fn metastore(&self) -> Option<&Arc<dyn Metastore>> {
        self.shared().metastore.get().filter(|metastore| metastore.is_together())
    }

    /// The same for a namespace that is shared.
    pub(crate) fn metastore_of(&self, namespace: &str) -> Result<Option<&Arc<dyn Metastore>>, StorageError> {
        match self.metastore() {
            Some(metastore) if self.is_shared(namespace)? => Ok(Some(metastore)),
            _ => Ok(None),
        }
    }

    /// Whether a namespace of this node is the federation's.
    pub(crate) fn is_shared(&self, namespace: &str) -> Result<bool, StorageError> {
        Ok(self.store().get(tables::SHARED, namespace.as_bytes())?.is_some())
    }

    /// Whether other nodes may have something at an address: its namespace is shared, or not known here.
    fn may_be_shared(&self, address: &Address) -> Result<bool, StorageError> {
        if address.namespace() == LOCALHOST {
            return Ok(false);
        }
        let is_unknown = DirectoryState::load(self, &address.namespace_directory())?.is_none();
        Ok(is_unknown || self.is_shared(address.namespace())?)
    }

    /// Waits until nobody else publishes or adopts at these keys.
    async fn turns_of<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Turns {
        self.shared().gates.turns_of(keys).await
    }
}
