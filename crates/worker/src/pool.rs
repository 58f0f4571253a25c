//! Threads for runs: as many as run at once, up to a bound; beyond it runs wait their turn.

use super::hold;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

type Work = Box<dyn FnOnce() + Send>;

/// How long a thread without work is kept.
const REST: Duration = Duration::from_secs(10);

/// The threads, and what waits for them.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads_max: usize,
    stack_bytes: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    threads: usize,
    idle: usize,
}

impl Pool {
    pub(crate) fn new(threads_max: usize, stack_bytes: usize) -> Self {
        Self { shared: Arc::default(), threads_max: threads_max.max(1), stack_bytes }
    }

    /// Has a thread do this. The node admits no more runs at once than the bound, so what waits is bounded too.
    pub(crate) fn run(&self, work: Work) {
        let mut state = hold(&self.shared.state);
        state.waiting.push_back(work);
        if state.idle >= state.waiting.len() || state.threads >= self.threads_max {
            drop(state);
            self.shared.changed.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("run".to_owned()).stack_size(self.stack_bytes);
        if thread.spawn(move || shared.serve()).is_err() {
            hold(&self.shared.state).threads -= 1;
        }
    }
}

impl Shared {
    fn serve(&self) {
        let mut state = hold(&self.state);
        loop {
            if let Some(work) = state.waiting.pop_front() {
                drop(state);
                work();
                state = hold(&self.state);
                continue;
            }
            state.idle += 1;
            let (again, timeout) =
                self.changed.wait_timeout(state, REST).unwrap_or_else(PoisonError::into_inner);
            state = again;
            state.idle -= 1;
            if timeout.timed_out() && state.waiting.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}
