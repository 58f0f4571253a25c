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

/// The places that one request has. It gives back each when it needs it no longer, and all with the last byte of its answer.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Among all requests.
    pub(crate) request: Option<Permit>,
    /// Among those that store a body.
    pub(crate) upload: Option<Permit>,
    /// Among those of its address.
    pub(crate) origin: Option<Permit>,
}

impl Gate {
    /// Enters where fewer than `max` are inside.
    pub(crate) fn enter(self: &Arc<Self>, max: usize) -> Option<Permit> {
        self.inside
            .fetch_update(Relaxed, Relaxed, |inside| (inside < max).then_some(inside + 1))
            .is_ok()
            .then(|| Permit(Arc::clone(self)))
    }

    /// Enters in place of somebody who leaves in a moment.
    pub(crate) fn enter_for_another(self: &Arc<Self>) -> Permit {
        self.inside.fetch_add(1, Relaxed);
        Permit(Arc::clone(self))
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
