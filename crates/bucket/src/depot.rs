//! Backups in a bucket: each name of a backup is an object below the prefix.
//!
//! A bucket has no lock, so whoever writes makes an object `lock` that nobody may have made, and writes it anew while the backup goes on. One that was not written for a
//! quarter of an hour, by the bucket's own clock, was left by a writer that died: it is taken over. Before a backup counts its writer looks whether the lock is still
//! its own, so that one that was asleep for so long makes nothing count whose parts another has cleared away.
//!
//! An object is there whole or not at all. Waits for the network in every call.

use crate::{BucketError, Keys, Place, remote::Remote};
use bytes::Bytes;
use jsfs_store::backup::depot::Depot;
use object_store::ObjectStore;
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use url::Url;

/// The object that says that somebody writes.
const LOCK: &str = "lock";
/// The object by whose time the age of a lock is told.
const NOW: &str = "now";
/// A lock of this age was left behind.
const STALE: Duration = Duration::from_secs(900);
/// The lock is written anew so many times within that age.
const RENEWALS: u32 = 15;
/// What makes a backup count has a name that begins so.
const COUNTS: &str = "snapshot-";

/// Where backups lie in object storage.
#[derive(Clone, Debug)]
pub struct DepotOptions {
    /// The bucket, and the prefix in it.
    pub place: Place,
    /// Who has it, where that is not Amazon.
    pub endpoint: Option<Url>,
    /// The region.
    pub region: String,
    /// The keys, where they are not those of the environment.
    pub keys: Option<Keys>,
    /// How long a request that fails is tried again.
    pub patience: Duration,
}

struct InBucket {
    remote: Remote,
    lock: Option<Lock>,
}

struct Lock {
    own: Bytes,
    renewed: Instant,
    /// It is written anew after this time.
    renew: Duration,
}

/// Opens a place of backups, to read it or to be the one who writes there.
///
/// # Errors
/// [`BucketError`]; another backup is being written there.
pub fn open_depot(options: &DepotOptions, is_written: bool) -> Result<Box<dyn Depot>, BucketError> {
    let DepotOptions { place, endpoint, region, keys, patience } = options;
    let remote = Remote::connect(place, endpoint.as_ref(), region, keys.as_ref(), *patience)?;
    Ok(Box::new(InBucket::open(remote, is_written, STALE)?))
}

/// The same over any object store; locks of that age were left behind.
///
/// # Errors
/// As [`open_depot`].
pub fn depot_over(
    store: Arc<dyn ObjectStore>,
    place: &Place,
    is_written: bool,
    stale: Duration,
) -> Result<Box<dyn Depot>, BucketError> {
    let unusable =
        |error: io::Error| BucketError::Unusable { bucket: place.to_string(), reason: error.to_string() };
    let remote = Remote::with(Arc::clone(&store), store, place).map_err(unusable)?;
    Ok(Box::new(InBucket::open(remote, is_written, stale)?))
}

impl InBucket {
    fn open(remote: Remote, is_written: bool, stale: Duration) -> Result<Self, BucketError> {
        let bucket = remote.called().to_owned();
        let lock = match is_written {
            true => Some(Lock::take(&remote, stale).map_err(|source| match source.kind() {
                io::ErrorKind::WouldBlock => BucketError::Written { bucket },
                _ => BucketError::Unreachable { bucket, source },
            })?),
            false => None,
        };
        Ok(Self { remote, lock })
    }
}

impl Lock {
    fn take(remote: &Remote, stale: Duration) -> io::Result<Self> {
        let word = || RandomState::new().build_hasher().finish();
        // The standard library seeds its hashers at random.
        let own = Bytes::from(format!("{:016x}{:016x}", word(), word()));
        let lock = Self { own, renewed: Instant::now(), renew: stale / RENEWALS };
        if lock.make(remote)? {
            return Ok(lock);
        }
        let left = remote.read(LOCK)?;
        if remote.age_of(LOCK, NOW)?.is_some_and(|age| age < stale) || remote.read(LOCK)? != left {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        tracing::warn!(place = remote.called(), "a backup that was cut off had left its lock");
        remote.remove(LOCK)?;
        // Of several who find it stale one is first.
        if lock.make(remote)? { Ok(lock) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Makes the object; false where another's is there.
    fn make(&self, remote: &Remote) -> io::Result<bool> {
        match remote.create(LOCK, self.own.clone()) {
            // An earlier try of this one may have arrived, and its answer not.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.is_own(remote),
            made => made.map(|()| true),
        }
    }

    fn is_own(&self, remote: &Remote) -> io::Result<bool> {
        Ok(remote.read(LOCK)?.is_some_and(|kept| kept == self.own))
    }

    fn renew(&mut self, remote: &Remote) -> io::Result<()> {
        if !self.is_own(remote)? {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "another backup has taken over, because this one had stood still for long; run it again",
            ));
        }
        remote.replace(LOCK, self.own.clone())?;
        self.renewed = Instant::now();
        Ok(())
    }
}

impl Depot for InBucket {
    fn describe(&self) -> String {
        self.remote.called().to_owned()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = self.remote.list()?.into_iter().map(|(name, _)| name).collect();
        names.retain(|name| name != LOCK && name != NOW);
        names.sort_unstable();
        Ok(names)
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let Some(lock) = &mut self.lock else { return Err(io::ErrorKind::PermissionDenied.into()) };
        if lock.renewed.elapsed() >= lock.renew || name.starts_with(COUNTS) {
            lock.renew(&self.remote)?;
        }
        let bytes = Bytes::copy_from_slice(bytes);
        match self.remote.create(name, bytes.clone()) {
            // An earlier try of this one has arrived, and its answer has not.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if self.remote.read(name)? == Some(bytes) { Ok(()) } else { Err(error) }
            }
            put => put,
        }
    }

    fn get(&self, name: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let there = self.remote.size(name)?;
        let offset = offset.min(there);
        let length = length.min(there - offset);
        if length == 0 {
            return Ok(Vec::new());
        }
        Ok(self.remote.range(name, offset..offset + length)?.to_vec())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.remote.remove(name)
    }
}

impl Drop for InBucket {
    fn drop(&mut self) {
        if let Some(lock) = &self.lock
            && lock.is_own(&self.remote).unwrap_or(false)
            && let Err(error) = self.remote.remove(LOCK).and_then(|()| self.remote.remove(NOW))
        {
            tracing::warn!(%error, "the lock of the backup could not be removed; it counts for a quarter of an hour");
        }
    }
}
