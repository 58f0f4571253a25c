//! Work that takes long is done a little at a time: so much at once, and so many wait for their turn. Who comes beyond that, or has waited for too long, is told to
//! come back.
//!
//! Invariants: a turn goes with the work, not with whoever waits for it, so work that nobody waits for any more counts until it has ended; who waits and
//! is dropped waits no longer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many wait.
const WAITING_MAX: usize = 64;

/// For how long anybody waits.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(5);

/// Whose turn it is.
#[derive(Debug)]
pub(crate) struct Turns {
    at_once: Arc<Semaphore>,
    waiting: Semaphore,
}

/// One turn, over when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(#[allow(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Turns {
    pub(crate) fn new(at_once: usize) -> Self {
        Turns { at_once: Arc::new(Semaphore::new(at_once)), waiting: Semaphore::new(WAITING_MAX) }
    }

    /// Waits for a turn. None where too many wait already, or for too long.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        if let Ok(permit) = Arc::clone(&self.at_once).try_acquire_owned() {
            return Some(Turn(permit));
        }
        let _place = self.waiting.try_acquire().ok()?;
        let permit = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.at_once).acquire_owned()).await;
        Some(Turn(permit.ok()?.ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::{Turns, WAIT_MAX, WAITING_MAX};
    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use std::sync::Arc;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn so_many_at_once_so_many_wait_and_the_rest_is_told_at_once() {
        let turns = Arc::new(Turns::new(1));
        let first = turns.turn().await.expect("the first");
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(turns.turn())).collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none(), "it waits");
        }
        assert!(turns.turn().now_or_never().expect("told at once").is_none());
        // Who goes makes room for another.
        drop(waiting.pop());
        let mut late = Box::pin(turns.turn());
        assert!((&mut late).now_or_never().is_none(), "it waits");
        drop(first);
        let second = waiting.remove(0).await.expect("the next in order");
        let began = Instant::now();
        waiting.push(late);
        assert!(join_all(waiting).await.iter().all(Option::is_none));
        assert_eq!(began.elapsed(), WAIT_MAX);
        drop(second);
    }
}
