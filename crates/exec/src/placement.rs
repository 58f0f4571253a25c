//! Where a run takes place. One node has one place: here.

use crate::{Answer, Begin, Exec, RunError};
use futures_util::future::BoxFuture;

/// Finds a place for a run, and has it run there.
pub trait Placement: Send + Sync {
    /// Runs it, and answers what it came to.
    fn run(&self, begin: Begin) -> BoxFuture<'_, Result<Answer, RunError>>;
}

/// The node's own worker.
pub struct Here(pub Exec);

impl Placement for Here {
    fn run(&self, begin: Begin) -> BoxFuture<'_, Result<Answer, RunError>> {
        Box::pin(self.0.fetch(begin))
    }
}
