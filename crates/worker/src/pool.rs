//! Threads for runs: as many as run at once, up to a bound; beyond it runs wait their turn.
//!
//! A thread that makes way for others (`way`) leaves the pool with the run that it has: priority does not come back, so no other run may inherit
//! what is left of it.

use super::hold;
use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

type Work = Box<dyn FnOnce() + Send>;

/// How long a thread without work is kept.
const REST: Duration = Duration::from_secs(10);

thread_local! {
    /// The pool that the calling thread counts in.
    static POOL: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// The calling thread takes no other work than what it does now, and another may take its place. Nothing where it is of no pool.
pub(crate) fn leave() {
    if let Some(pool) = POOL.take() {
        hold(&pool.state).threads -= 1;
    }
}

/// Whether the calling thread is of a pool.
pub(crate) fn is_of_one() -> bool {
    POOL.with_borrow(Option::is_some)
}

/// The threads, and what waits for them.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads_max: usize,
    stack_bytes: usize,
    /// What each thread does first.
    begin: fn(),
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
    pub(crate) fn new(threads_max: usize, stack_bytes: usize, begin: fn()) -> Self {
        Self { shared: Arc::default(), threads_max: threads_max.max(1), stack_bytes, begin }
    }

    /// Has a thread do this. The node admits no more runs at once than the bound, so what waits is bounded too.
    pub(crate) fn run(&self, work: Work) {
        let mut state = hold(&self.shared.state);
        state.waiting.push_back(work);
        if state.idle >= state.waiting.len() {
            drop(state);
            self.shared.changed.notify_one();
            return;
        }
        self.grow(state);
    }

    /// Has a thread do what waits though nobody is idle: the place of one that has left is free. Called by a thread that has never made way, whose
    /// priority the new one begins with.
    pub(crate) fn tend(&self) {
        let state = hold(&self.shared.state);
        if state.idle < state.waiting.len() {
            self.grow(state);
        }
    }

    /// Whether there is no thread.
    pub(crate) fn is_empty(&self) -> bool {
        hold(&self.shared.state).threads == 0
    }

    fn grow(&self, mut state: MutexGuard<'_, State>) {
        if state.threads >= self.threads_max {
            return;
        }
        state.threads += 1;
        drop(state);
        let (shared, begin) = (Arc::clone(&self.shared), self.begin);
        let thread = thread::Builder::new().name("run".to_owned()).stack_size(self.stack_bytes);
        if thread.spawn(move || shared.serve(begin)).is_err() {
            hold(&self.shared.state).threads -= 1;
        }
    }
}

impl Shared {
    fn serve(self: Arc<Self>, begin: fn()) {
        begin();
        POOL.set(Some(Arc::clone(&self)));
        let mut state = hold(&self.state);
        loop {
            if let Some(work) = state.waiting.pop_front() {
                drop(state);
                work();
                if !is_of_one() {
                    return;
                }
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

#[cfg(test)]
mod tests {
    use super::{Pool, is_of_one, leave};
    use std::{
        sync::mpsc::{Receiver, sync_channel},
        thread::{self, ThreadId},
        time::Duration,
    };

    const SOON: Duration = Duration::from_secs(10);

    /// Has the pool tell who does its work, after `work`.
    fn who(pool: &Pool, work: impl FnOnce() + Send + 'static) -> Receiver<ThreadId> {
        let (sender, receiver) = sync_channel(1);
        pool.run(Box::new(move || {
            work();
            sender.send(thread::current().id()).unwrap();
        }));
        receiver
    }

    #[test]
    fn a_thread_that_has_left_ends_with_its_work_and_another_takes_its_place_at_once() {
        let pool = Pool::new(1, 256 << 10, || ());
        let (end, ends) = sync_channel(1);
        let (left, has_left) = sync_channel(1);
        let first = who(&pool, move || {
            assert!(is_of_one());
            leave();
            assert!(!is_of_one());
            left.send(()).unwrap();
            ends.recv().unwrap();
        });
        has_left.recv_timeout(SOON).unwrap();
        let second = who(&pool, || ()).recv_timeout(SOON).unwrap();
        end.send(()).unwrap();
        assert_ne!(first.recv_timeout(SOON).unwrap(), second);
        assert_eq!(who(&pool, || ()).recv_timeout(SOON).unwrap(), second, "who has not left goes on");
    }

    #[test]
    fn what_waited_while_all_were_at_work_is_done_when_one_leaves() {
        let pool = Pool::new(1, 256 << 10, || ());
        let (go, goes) = sync_channel(1);
        let (end, ends) = sync_channel(1);
        let (left, has_left) = sync_channel(1);
        let first = who(&pool, move || {
            goes.recv().unwrap();
            leave();
            left.send(()).unwrap();
            ends.recv().unwrap();
        });
        let second = who(&pool, || ());
        go.send(()).unwrap();
        has_left.recv_timeout(SOON).unwrap();
        pool.tend();
        second.recv_timeout(SOON).unwrap();
        end.send(()).unwrap();
        first.recv_timeout(SOON).unwrap();
    }
}
