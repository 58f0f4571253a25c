//! What the holder of the root key sees of a node's state.

use crate::{
    Objects,
    error::ReadError,
    grant::{Grant, Root},
    scrub::ScrubStatus,
};
use serde::Serialize;

/// The state of a node.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// How long the node has been running, s.
    pub uptime_s: u64,
    /// How many namespaces it has.
    pub namespaces: u64,
    /// How many objects they have.
    pub objects: u64,
    /// Bytes of objects, old versions included, before deduplication and compression.
    pub logical_bytes: u64,
    /// Directories that changed hands and are being sealed under their new key.
    pub resealing: u64,
    /// Entries that could not be sealed again since the node was started, because nobody's key opens them; the log names them.
    pub unreadable: u64,
    /// The scrub, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrub: Option<ScrubStatus>,
    /// The store underneath.
    pub store: serde_json::Value,
}

impl Objects {
    /// What is wrong with the node's store, if anything. For the node's owner: it may name what is on the disk.
    pub fn trouble(&self) -> Option<String> {
        self.store().trouble().or_else(|| self.scrub_trouble())
    }

    /// The state of the node.
    pub async fn status(&self, _grant: &Grant<Root>) -> Result<Status, ReadError> {
        self.figures().await
    }

    /// The same for the node's operator, who needs no key to look at a machine of his own; it names nothing that is stored.
    pub async fn figures(&self) -> Result<Status, ReadError> {
        let namespaces = self.every_namespace()?;
        let store = self.store().stats()?;
        let (resealing, unreadable) = self.resealing_state();
        Ok(Status {
            uptime_s: self.clock().now_ms().saturating_sub(self.opened_ms()) / 1_000,
            namespaces: namespaces.len() as u64,
            objects: namespaces.iter().map(|namespace| namespace.objects).sum(),
            logical_bytes: namespaces.iter().map(|namespace| namespace.bytes).sum(),
            resealing,
            unreadable,
            scrub: self.scrub_status(),
            store: serde_json::to_value(store).unwrap_or_default(),
        })
    }
}
