//! A backup of the whole node, sent piece by piece to whoever holds the root key.
//!
//! The node needs no key for it: private objects stay sealed. Its own key, without which a restored node cannot open what it keeps of programs and
//! processes, goes along wrapped under the root key. The packs are held until the last piece was taken or nobody takes any more; few pieces wait, so
//! memory is bounded. One backup at a time, because each holds packs that compaction would free.

use crate::{
    Objects,
    crypto::{Secret, Wrapped},
    error::StorageError,
    grant::{Access, Grant, Root},
    key::{Keys, Seed},
    maintenance::{MaintenanceError, Place},
    seal::Unopened,
};
use bytes::Bytes;
use jsfs_store::{Sink, SnapshotError, backup::Ask};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Pieces that wait for their reader.
const PIECES_MAX: usize = 8;
/// What the node's key is wrapped under follows from the root key and this.
const LABEL: &str = "jsfs backup node key 1";

/// The longest request for a backup, in bytes.
pub const BACKUP_ASK_MAX: u64 = jsfs_store::backup::ASK_MAX as u64;

/// What a node adds to a backup of its store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackupNote {
    /// Whose key the root key is.
    pub root_owner: String,
    /// The seed of the node's key, wrapped under the root key, in hex. Nothing where the node was not told it.
    pub node_key: Option<String>,
}

/// A backup on its way. Dropping it ends the work at its next piece.
pub struct Backup {
    pieces: mpsc::Receiver<Result<Bytes, StorageError>>,
}

impl Backup {
    /// The next piece; nothing after the last, or after an error.
    pub async fn next(&mut self) -> Option<Result<Bytes, StorageError>> {
        self.pieces.recv().await
    }
}

impl BackupNote {
    fn of(root: &Keys, seed: Option<&Seed>) -> Self {
        let wrap = |seed: &Seed| {
            let wrapped = wrapping(root).wrap(&Secret::new(*seed.expose()));
            wrapped.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        Self { root_owner: root.owner().to_string(), node_key: seed.map(wrap) }
    }

    /// The seed of the node's key, for who has the root key; none where the backup has no node key.
    ///
    /// # Errors
    /// It is another root key, or the note was changed.
    pub fn node_seed(&self, root: &Keys) -> Result<Option<Seed>, Unopened> {
        let Some(text) = &self.node_key else { return Ok(None) };
        let digits = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let wrapped: Option<Vec<u8>> = (0..text.len()).step_by(2).map(digits).collect();
        let wrapped: Wrapped = wrapped.and_then(|bytes| bytes.try_into().ok()).ok_or(Unopened)?;
        let seed = wrapping(root).unwrap(&wrapped).ok_or(Unopened)?;
        Ok(Some(Seed::from_bytes(*seed.expose())))
    }
}

fn wrapping(root: &Keys) -> Secret {
    Secret::new(*root.wrapping().expose()).hkdf(&[], LABEL)
}

impl Objects {
    /// Tells what the node's key is made of, so that backups can have it, wrapped.
    pub fn keep_node_seed(&self, seed: Seed) {
        // A second one is the same.
        let _ = self.0.node_seed.set(seed);
    }

    /// Begins to send the state of the node: what is not in the asker's destination; everything where `ask` is empty.
    ///
    /// # Errors
    /// One is under way, or `ask` is no such request.
    pub fn backup(&self, grant: &Grant<Root>, ask: &Bytes) -> Result<Backup, MaintenanceError> {
        let invalid = |what: &str| MaintenanceError::Invalid { what: what.to_owned() };
        let ask = match ask.is_empty() {
            true => Ask::default(),
            false => Ask::decode(ask).ok_or_else(|| invalid("the body is no request for a backup"))?,
        };
        let Access::Owner(root) = &grant.held.access else {
            return Err(invalid("a backup is asked for with the root key itself, not with a token"));
        };
        let note = BackupNote::of(root, self.0.node_seed.get());
        let note = serde_json::to_vec(&note).unwrap_or_default();
        let store = self.store().clone();
        self.send(grant, "backup", move |sink| store.snapshot()?.send(&ask, Some(&note), sink))
    }

    /// Runs what sends pieces on a thread of its own, one of each kind at a time. The grant says that whoever asks may.
    pub(crate) fn send(
        &self,
        _grant: &Grant<Root>,
        kind: &'static str,
        work: impl FnOnce(Sink<'_>) -> Result<(), SnapshotError> + Send + 'static,
    ) -> Result<Backup, MaintenanceError> {
        let place = Place::take(kind, &self.0.maintaining)?;
        let stop = self.0.stop.clone();
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        self.0.tasks.spawn_blocking(move || {
            let mut sink =
                |bytes: Vec<u8>| !stop.is_cancelled() && sender.blocking_send(Ok(bytes.into())).is_ok();
            let sent = work(&mut sink);
            drop(place);
            let failure = match sent {
                Ok(()) => return,
                Err(SnapshotError::Left) => StorageError::Stopping,
                Err(SnapshotError::Read(error)) => {
                    tracing::error!(%error, kind, "broke off");
                    error.into()
                }
            };
            // Whoever has left needs no reason.
            let _ = sender.blocking_send(Err(failure));
        });
        Ok(Backup { pieces })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_the_root_key_opens_the_node_key() {
        let (root, node, other) = ([1, 2, 3]).map(|byte| Seed::from_bytes([byte; 32])).into();
        let note = BackupNote::of(&root.keys(), Some(&node));
        assert_eq!(note.node_seed(&root.keys()).unwrap().unwrap(), node);
        assert!(note.node_seed(&other.keys()).is_err());
        let text = serde_json::to_string(&note).unwrap();
        let hex: String = node.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!text.contains(&hex));
        let cut = BackupNote { node_key: note.node_key.map(|text| text[2..].to_owned()), ..note };
        assert!(cut.node_seed(&root.keys()).is_err());
        assert!(BackupNote { node_key: None, ..cut }.node_seed(&other.keys()).unwrap().is_none());
    }
}
