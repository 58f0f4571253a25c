//! Whether the store takes writes, and figures that everybody may look at while it is used.

use crate::sync::{own, share};
use std::{
    sync::{Arc, Mutex, RwLock, atomic::AtomicU64},
    thread,
};

/// Whether the store takes writes, and figures that the committer keeps.
#[derive(Default)]
pub(crate) struct Status {
    read_only: RwLock<Option<String>>,
    pub(crate) sequence: AtomicU64,
    pub(crate) durable: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) commits: AtomicU64,
    /// Blocks and entries known to have fewer copies than they are to have.
    pub(crate) lacking: AtomicU64,
    /// The packs that are being written, by location.
    pub(crate) active: Mutex<Vec<u64>>,
}

impl Status {
    pub(crate) fn read_only(&self) -> Option<String> {
        share(&self.read_only).clone()
    }

    /// Takes no writes from the beginning, as it should be.
    pub(crate) fn only_read(&self, why: &str) {
        *own(&self.read_only) = Some(why.to_owned());
    }

    pub(crate) fn refuse_writes(&self, why: String) {
        tracing::error!(why, "the store takes no more writes");
        own(&self.read_only).get_or_insert(why);
    }
}

/// Tells when the thread that writes has ended by a panic: nobody else would.
pub(crate) struct Alarm(pub(crate) Arc<Status>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.refuse_writes("the thread that writes has failed; restart the node".to_owned());
        }
    }
}
