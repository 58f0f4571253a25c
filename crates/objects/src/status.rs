//! What the holder of the root key sees of a node's state.

use crate::{
    Objects,
    error::ReadError,
    grant::{Grant, Root},
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
    /// The store underneath.
    pub store: serde_json::Value,
}

impl Objects {
    /// The state of the node.
    pub async fn status(&self, grant: &Grant<Root>) -> Result<Status, ReadError> {
        let namespaces = self.namespaces(grant).await?;
        let store = self.store().stats()?;
        Ok(Status {
            uptime_s: self.clock().now_ms().saturating_sub(self.opened_ms()) / 1_000,
            namespaces: namespaces.len() as u64,
            objects: namespaces.iter().map(|namespace| namespace.objects).sum(),
            logical_bytes: namespaces.iter().map(|namespace| namespace.bytes).sum(),
            store: serde_json::to_value(store).unwrap_or_default(),
        })
    }
}
