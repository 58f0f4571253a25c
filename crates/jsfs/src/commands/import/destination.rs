//! The node that an old pool is brought to: its namespaces, the keys of old objects, and one object's way in.
//!
//! An object comes in by one request, which makes it with owner and times or not at all, and never replaces anything: a run that was killed
//! is run again. Memory: the names of namespaces, at most [`KEYS_MAX`] stretched keys, and for each object under way a few pieces.

use super::content::{self, Damage, Sum};
use super::pool::{Inode, OldKey, Pool};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use jsfs_client::{AccessKey, Address, Client, Credential, Error, NamespaceChange, Source, Version, Write};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OnceCell, Semaphore, mpsc};

/// Objects up to this size are read before anything is sent.
const SMALL_BYTES: u64 = 1 << 20;
/// Stretched keys that are remembered.
const KEYS_MAX: usize = 1_024;
/// Keys that are stretched at the same time, each with 19 MiB.
const STRETCHING: usize = 2;
/// Pieces of a large object between reading and sending.
const PIECES: usize = 4;

type KeyCell = Arc<OnceCell<AccessKey>>;

/// The node.
pub(super) struct Destination {
    client: Client,
    dry_run: bool,
    namespaces: tokio::sync::Mutex<HashMap<String, Existence>>,
    open: bool,
    keys: Mutex<HashMap<[u8; 32], KeyCell>>,
    stretching: Semaphore,
}

/// Whether a namespace was there before this run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existence {
    Before,
    Since,
}

/// What is at an address already.
pub(super) enum There {
    /// Nothing that the credential may know of.
    Nothing,
    /// This very object, brought in before; whether it was changed or deleted since.
    Itself {
        /// Words for the report.
        since: Option<&'static str>,
    },
    /// Something else.
    Another,
}

/// Why an object did not come in.
pub(super) enum Failure {
    /// The pool is damaged.
    Damage(Damage),
    /// The node refused it.
    Refused(Box<Error>),
    /// Nothing can go on: the node is gone, or full.
    Stop(Box<Error>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match &error {
            Error::Unreachable { .. } | Error::Stalled { .. } => Failure::Stop(Box::new(error)),
            Error::Refused { problem, .. } if problem.status == 507 => Failure::Stop(Box::new(error)),
            _ => Failure::Refused(Box::new(error)),
        }
    }
}

impl Destination {
    pub(super) fn new(client: Client, known: Vec<String>, dry_run: bool, open: bool) -> Destination {
        let known = known.into_iter().map(|name| (name, Existence::Before)).collect();
        Destination {
            client,
            dry_run,
            namespaces: tokio::sync::Mutex::new(known),
            open,
            keys: Mutex::default(),
            stretching: Semaphore::new(STRETCHING),
        }
    }

    /// Makes the namespace of an address where it is not there; says whether anything can be in it already.
    pub(super) async fn namespace(&self, address: &Address) -> Result<bool, Failure> {
        let mut namespaces = self.namespaces.lock().await;
        let name = address.namespace();
        if let Some(existence) = namespaces.get(name) {
            return Ok(*existence == Existence::Before);
        }
        if !self.dry_run {
            let root = Address::of_host(&address.host()).map_err(Error::from)?;
            let private = self.open.then_some(false);
            let (_, new) = self
                .client
                .add_namespace(&root, &NamespaceChange { private, ..NamespaceChange::default() })
                .await?;
            if new && self.open {
                self.client.patch(&root, &serde_json::json!({ "create": "anyone" })).await?;
            }
            if !new {
                namespaces.insert(name.to_owned(), Existence::Before);
                return Ok(true);
            }
        }
        namespaces.insert(name.to_owned(), Existence::Since);
        Ok(false)
    }

    /// The key that an object belongs to, stretched once for each namespace.
    pub(super) async fn key(&self, key: &OldKey, address: &Address) -> Option<AccessKey> {
        let OldKey::Chosen(text) = key else { return None };
        if let Ok(key) = AccessKey::parse(text) {
            return Some(key);
        }
        let id = {
            let mut id = [0; 32];
            let both = zeroize::Zeroizing::new(format!("{}\0{}", address.namespace(), text.as_str()));
            id.copy_from_slice(digest(&SHA256, both.as_bytes()).as_ref());
            id
        };
        let cell = {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            if keys.len() >= KEYS_MAX && !keys.contains_key(&id) {
                keys.clear();
            }
            Arc::clone(keys.entry(id).or_default())
        };
        let (text, namespace) = (text.clone(), address.namespace().to_owned());
        let stretched = cell.get_or_try_init(|| async {
            let _permit = self.stretching.acquire().await.map_err(|_| ())?;
            let key = tokio::task::spawn_blocking(move || AccessKey::stretch(&text, &namespace)).await;
            key.map_err(|_| ())?.map_err(|_| ())
        });
        stretched.await.ok().cloned()
    }

    /// What is at an address, as the object's own key or the run's sees it.
    pub(super) async fn there(
        &self,
        address: &Address,
        key: Option<&AccessKey>,
        inode: &Inode,
        modified: &str,
    ) -> Result<There, Failure> {
        let own = key.map(|key| self.client.with_credential(Some(Credential::Key(key.clone()))));
        let mut seen = There::Nothing;
        for client in own.iter().chain([&self.client]) {
            match client.versions(address).await {
                Ok(versions) => match judge(&versions, inode, modified) {
                    There::Nothing => {}
                    There::Another => seen = There::Another,
                    itself => return Ok(itself),
                },
                Err(error) if matches!(error.status(), Some(401 | 403 | 404 | 410)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(seen)
    }

    /// Brings an object in. In a dry run it is only read.
    pub(super) async fn bring(
        &self,
        pool: &Arc<Pool>,
        inode: &Arc<Inode>,
        address: &Address,
        write: Write,
    ) -> Result<Sum, Failure> {
        if self.dry_run {
            return blocking(pool, inode, |_| Ok(())).await;
        }
        let is_small = inode.size.is_some_and(|size| size <= SMALL_BYTES);
        if is_small {
            let bytes = Arc::new(Mutex::new(Vec::new()));
            let gathered = Arc::clone(&bytes);
            let sum = blocking(pool, inode, move |piece| {
                gathered.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(piece);
                Ok(())
            })
            .await?;
            let bytes = std::mem::take(&mut *bytes.lock().unwrap_or_else(PoisonError::into_inner));
            let stored = self.client.put(address, Source::Bytes(bytes.into()), write).await?;
            return same(sum, &stored, address);
        }
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(PIECES);
        let body = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        });
        let source = Source::Reader(Box::new(tokio_util::io::StreamReader::new(Box::pin(body))));
        let reading = async {
            let cut = sender.clone();
            let read = blocking(pool, inode, move |piece| {
                sender
                    .blocking_send(Ok(Bytes::copy_from_slice(piece)))
                    .map_err(|_| io::Error::other("the node took no more"))
            })
            .await;
            if read.is_err() {
                // Cuts the body off, so that nothing of it is stored.
                let _ = cut.send(Err(io::Error::other("the pool is damaged"))).await;
            }
            read
        };
        let (read, stored) = tokio::join!(reading, self.client.put(address, source, write));
        match (read, stored) {
            (Ok(sum), Ok(stored)) => same(sum, &stored, address),
            (Err(Failure::Damage(Damage::Sink(_))), Err(error)) | (Ok(_), Err(error)) => Err(error.into()),
            (Err(failure), _) => Err(failure),
        }
    }
}

/// Reads an object on a thread that may wait.
async fn blocking(
    pool: &Arc<Pool>,
    inode: &Arc<Inode>,
    sink: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
) -> Result<Sum, Failure> {
    let (pool, inode) = (Arc::clone(pool), Arc::clone(inode));
    match tokio::task::spawn_blocking(move || content::read(&pool, &inode, sink)).await {
        Ok(read) => read.map_err(Failure::Damage),
        Err(error) => Err(Failure::Damage(Damage::Sink(io::Error::other(error)))),
    }
}

/// What the node stored is what was read.
fn same(sum: Sum, stored: &jsfs_client::Metadata, address: &Address) -> Result<Sum, Failure> {
    let told = stored.other.get("sha256").and_then(|sha256| sha256.as_str());
    if stored.file_size == sum.size && told.is_none_or(|told| told == super::hex(&sum.sha256)) {
        return Ok(sum);
    }
    Err(Failure::from(Error::Damaged {
        subject: address.to_string(),
        reason: "the node stored other bytes than were sent".into(),
    }))
}

/// Whether the old object is one of these versions.
fn judge(versions: &[Version], inode: &Inode, modified: &str) -> There {
    let is_it = |version: &&Version| {
        version.modified == modified
            && (inode.size.is_none() || version.file_size == inode.size)
            && !version.deleted
    };
    let Some(newest) = versions.iter().max_by_key(|version| version.version) else { return There::Nothing };
    let Some(found) = versions.iter().find(is_it) else { return There::Another };
    let since = if newest.deleted {
        Some("it was brought in before, and deleted on the node since")
    } else if newest.version != found.version {
        Some("it was brought in before, and changed on the node since")
    } else {
        None
    };
    There::Itself { since }
}
