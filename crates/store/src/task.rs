//! Long work on a store as whoever asked for it sees it: how far it is, what it has found, and whether it goes on.
//!
//! Work asks [`Observer::is_stopped`] between steps, each of which leaves the store whole; so to stop it is never to leave something half-done.

use crate::finding::Finding;

/// Watches work that takes long.
pub trait Observer: Send + Sync {
    /// So many bytes of so many are done. Called often.
    fn progress(&self, done: u64, total: u64);

    /// Something was found.
    fn found(&self, finding: &Finding);

    /// Whether the work is to end at the next step.
    fn is_stopped(&self) -> bool;
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn progress(&self, _done: u64, _total: u64) {}

    fn found(&self, _finding: &Finding) {}

    fn is_stopped(&self) -> bool {
        false
    }
}
