//! Places for what goes on at the same time, so many and no more.
//!
//! Invariant: a place is given back when its permit is dropped, however that comes about.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what goes on at the same time.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    inside: AtomicUsize,
}

/// A place inside a [`Gate`]; given back on drop.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Gate>);

impl Gate {
    /// Enters where fewer than `max` are inside.
    pub(crate) fn enter(self: &Arc<Self>, max: usize) -> Option<Permit> {
        self.inside
            .fetch_update(Relaxed, Relaxed, |inside| (inside < max).then_some(inside + 1))
            .is_ok()
            .then(|| Permit(Arc::clone(self)))
    }

    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Relaxed);
    }
}
