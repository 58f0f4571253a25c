//! Whose turn it is with an unfinished upload: one request at a time, and the newest takes over.
//!
//! A connection can be dead for minutes before this side notices. So a request that comes for an upload on which another one still works interrupts
//! that one, which puts away what it has and ends; then it is the newcomer's turn. This only keeps two requests of this process from disturbing each
//! other: what makes sure that not both of them can win is the condition of their commits.

use super::UploadId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// How long a request waits for the one before to put away what it has.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The uploads that requests of this process work on or wait for.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<UploadId, Place>>);

struct Place {
    gate: Arc<tokio::sync::Mutex<()>>,
    /// Tells whoever has the turn to end.
    interrupt: CancellationToken,
    /// Requests that have the turn or wait for it.
    requests: usize,
}

/// A request at an upload: waiting, then at work. Dropping it lets the next one in.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    id: UploadId,
    interrupt: CancellationToken,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Interrupts whoever works on the upload and waits for the end of that; none where it does not end in time.
    pub(crate) async fn take(self: &Arc<Self>, id: UploadId) -> Option<Turn> {
        let (gate, mut turn) = self.enter(id);
        turn.held = Some(tokio::time::timeout(WAIT_MAX, gate.lock_owned()).await.ok()?);
        self.change(id, |place| place.interrupt = turn.interrupt.clone());
        Some(turn)
    }

    fn enter(self: &Arc<Self>, id: UploadId) -> (Arc<tokio::sync::Mutex<()>>, Turn) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(id).or_insert_with(|| Place {
            gate: Arc::default(),
            interrupt: CancellationToken::new(),
            requests: 0,
        });
        place.requests += 1;
        place.interrupt.cancel();
        let turn = Turn { turns: Arc::clone(self), id, interrupt: CancellationToken::new(), held: None };
        (Arc::clone(&place.gate), turn)
    }

    fn change(&self, id: UploadId, change: impl FnOnce(&mut Place)) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get_mut(&id) {
            change(place);
            if place.requests == 0 {
                places.remove(&id);
            }
        }
    }
}

impl Turn {
    /// Returns when another request wants to go on with the upload.
    pub(crate) async fn interrupted(&self) {
        self.interrupt.cancelled().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.held = None;
        self.turns.change(self.id, |place| place.requests -= 1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Turns, UploadId};
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_interrupts_and_waits_and_nothing_is_left_behind() {
        let turns = Arc::new(Turns::default());
        let id = UploadId([7; 16]);
        let first = turns.take(id).await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        let next = Arc::clone(&turns);
        waiting.spawn(async move { next.take(id).await.is_some() });
        first.interrupted().await;
        assert!(waiting.try_join_next().is_none(), "two at once");
        drop(first);
        assert!(waiting.join_next().await.unwrap().unwrap());
        let stuck = turns.take(id).await.unwrap();
        assert!(turns.take(id).await.is_none(), "waiting has an end");
        drop(stuck);
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
