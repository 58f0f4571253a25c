//! Locks for keys, as many as there may ever be: two keys that share a lock wait for each other without need.

use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Locks in all.
const GATES: usize = 256;

/// The locks.
pub(crate) struct Gates(Vec<Arc<Mutex<()>>>);

/// Nobody else has any of these keys until it is dropped.
pub(crate) type Turns = Vec<OwnedMutexGuard<()>>;

impl Default for Gates {
    fn default() -> Self {
        Self((0..GATES).map(|_| Arc::default()).collect())
    }
}

impl Gates {
    /// Waits until nobody else has one of these keys.
    pub(crate) async fn turns_of<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Turns {
        // In one order for all, so that nobody waits for somebody who waits.
        let places: BTreeSet<usize> =
            keys.map(|key| usize::from(blake3::hash(key).as_bytes()[0]) % GATES).collect();
        let mut held = Vec::with_capacity(places.len());
        for place in places {
            held.push(Arc::clone(&self.0[place]).lock_owned().await);
        }
        held
    }
}
