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

/// Why work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// Too many wait already, or for too long.
    Crowded,
    /// The node stops.
    Stopping,
}

impl Turns {
    pub(crate) fn new(at_once: usize) -> Self {
        Turns { at_once: Arc::new(Semaphore::new(at_once)), waiting: Semaphore::new(WAITING_MAX) }
    }

    /// Does something when its turn has come, on a thread that may block.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoTurn> {
        let turn = self.turn().await.ok_or(NoTurn::Crowded)?;
        let working = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        working.await.map_err(|_| NoTurn::Stopping)
    }

    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(turn) = Arc::clone(&self.at_once).try_acquire_owned() {
            return Some(turn);
        }
        let _place = self.waiting.try_acquire().ok()?;
        let turn = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.at_once).acquire_owned()).await;
        turn.ok()?.ok()
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

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_has_its_turn_until_it_has_ended() {
        let turns = Turns::new(1);
        let (go_on, waits) = std::sync::mpsc::sync_channel::<()>(1);
        let mut abandoned = Box::pin(turns.run(move || waits.recv()));
        assert!((&mut abandoned).now_or_never().is_none(), "it is under way");
        drop(abandoned);
        let mut next = Box::pin(turns.run(|| 7));
        assert!((&mut next).now_or_never().is_none(), "it waits");
        go_on.send(()).expect("it works on");
        assert_eq!(next.await, Ok(7));
    }
}
