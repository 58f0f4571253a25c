//! Effects that happen once: a process asks for a change, may be lost before it hears of it, and asks again.
//!
//! The commit that makes the change also puts a **marker** under the process and the number of its call, with what the call is answered. Whoever
//! asks again finds the marker and is answered from it. A call that changed nothing leaves no marker and is simply made again. The mark travels with
//! the task that carries the request out, so every commit of it carries the marker and none can forget it.

use crate::{
    ETag, Metadata, Objects, ProcessId,
    address::Address,
    error::{ReadError, StorageError},
    process, tables,
};
use jsfs_store::Op;
use serde::{Deserialize, Serialize};
use std::future::Future;

/// One effect of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Whose.
    pub process: ProcessId,
    /// The number of its call.
    pub call: u32,
    /// Which request of that call, where it was redirected.
    pub hop: u8,
    /// What is asked for, of a process whose calls are not known by their number.
    pub request: Option<[u8; 16]>,
}

/// What a change that took place is answered with.
#[derive(Clone, Debug)]
pub struct Done {
    /// The version that it made, if it made one.
    pub metadata: Option<Metadata>,
    /// Whether nothing was there before.
    pub created: bool,
    /// The access key that it made, in a drop box.
    pub new_key: Option<String>,
}

tokio::task_local! {
    static EFFECT: Effect;
}

impl Objects {
    /// Carries a request out as this effect.
    pub async fn once<F: Future>(&self, effect: Effect, work: F) -> F::Output {
        EFFECT.scope(effect, work).await
    }

    /// What the effect came to, if it took place.
    ///
    /// # Errors
    /// When the store cannot be read, or what is there does not open.
    pub fn done(&self, effect: Effect) -> Result<Option<Done>, ReadError> {
        let key = key(effect);
        let Some(entry) = self.store().get(tables::PROCESS_MARK, &key)? else { return Ok(None) };
        let clear = self.open_process_row(&key, &entry.value)?;
        let marker: Marker = serde_json::from_slice(&clear).map_err(|_| damaged())?;
        marker.done().map(Some)
    }

    /// The marker that goes into the commit of the effect under way, if there is one.
    pub(crate) fn marker(&self, done: Option<&Done>) -> Result<Option<Op>, StorageError> {
        let Ok(effect) = EFFECT.try_with(|effect| *effect) else { return Ok(None) };
        let marker = Marker::of(done);
        let clear = serde_json::to_vec(&marker).map_err(|error| StorageError::Write(error.to_string()))?;
        let key = key(effect);
        let value = self.seal_process_row(&key, &clear).into();
        Ok(Some(Op::Put { table: tables::PROCESS_MARK, key, value, references: Vec::new() }))
    }
}

fn key(effect: Effect) -> Vec<u8> {
    let mut key = process::call_prefix(effect.process, effect.call);
    key.extend_from_slice(effect.request.as_ref().map_or(&[], |request| &request[..]));
    key.push(effect.hop);
    key
}

fn damaged() -> StorageError {
    StorageError::Write("what a process has done does not decode; stop the process".to_owned())
}

/// A marker as it is kept: JSON, sealed.
#[derive(Default, Serialize, Deserialize)]
struct Marker {
    version: Option<Version>,
    created: bool,
    new_key: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Version {
    address: String,
    version: u64,
    private: bool,
    executable: bool,
    content_type: String,
    size: u64,
    etag: [u8; 16],
    sha256: Option<[u8; 32]>,
    created_ms: u64,
    modified_ms: u64,
    owner: [u8; 32],
}

impl Marker {
    fn of(done: Option<&Done>) -> Self {
        let Some(done) = done else { return Self::default() };
        let version = done.metadata.as_ref().map(|metadata| Version {
            address: metadata.address.as_str().to_owned(),
            version: metadata.version,
            private: metadata.private,
            executable: metadata.executable,
            content_type: metadata.content_type.clone(),
            size: metadata.size,
            etag: metadata.etag.0,
            sha256: metadata.sha256,
            created_ms: metadata.created_ms,
            modified_ms: metadata.modified_ms,
            owner: *metadata.owner.as_bytes(),
        });
        Self { version, created: done.created, new_key: done.new_key.clone() }
    }

    fn done(self) -> Result<Done, ReadError> {
        let metadata = match self.version {
            None => None,
            Some(kept) => Some(Metadata {
                address: Address::parse(&kept.address).map_err(|_| damaged())?,
                version: kept.version,
                private: kept.private,
                executable: kept.executable,
                content_type: kept.content_type,
                size: kept.size,
                etag: ETag(kept.etag),
                sha256: kept.sha256,
                created_ms: kept.created_ms,
                modified_ms: kept.modified_ms,
                owner: crate::key::Owner::from_bytes(kept.owner),
                // No answer to a write tells them.
                properties: std::collections::BTreeMap::new(),
            }),
        };
        Ok(Done { metadata, created: self.created, new_key: self.new_key })
    }
}
