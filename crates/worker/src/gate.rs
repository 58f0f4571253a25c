//! Loading programs takes turns: half the processors do it, and the rest are for what runs.
//!
//! Each program that is stored is evaluated once, and whoever stores it waits. With as many at once as there are clients that store, every run would
//! wait for as many time slices. Whoever waits for the source of an import, or has computed for so long
//! that it makes way for others (`way`), lets the next one in.

use super::hold;
use std::{
    cell::RefCell,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

thread_local! {
    /// The gate that the calling thread went through.
    static PASSED: RefCell<Option<Arc<Gate>>> = const { RefCell::new(None) };
}

/// So many places, and who waits for one.
pub(crate) struct Gate {
    free: Mutex<usize>,
    changed: Condvar,
}

/// A place. It is free again when this is dropped, if it was not left before.
#[must_use]
pub(crate) struct Place(());

impl Gate {
    pub(crate) fn new(places: usize) -> Self {
        Self { free: Mutex::new(places.max(1)), changed: Condvar::new() }
    }

    /// Waits for a place.
    pub(crate) fn enter(self: &Arc<Self>) -> Place {
        self.wait();
        Place(())
    }

    fn wait(self: &Arc<Self>) {
        let waiting = self.changed.wait_while(hold(&self.free), |free| *free == 0);
        *waiting.unwrap_or_else(PoisonError::into_inner) -= 1;
        PASSED.set(Some(Arc::clone(self)));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        leave();
    }
}

/// The calling thread's place, if it has one, is free.
pub(crate) fn leave() {
    if let Some(gate) = PASSED.take() {
        *hold(&gate.free) += 1;
        gate.changed.notify_one();
    }
}

/// Waits for something without the place that the calling thread has, if it has one.
pub(crate) fn outside<T>(wait: impl FnOnce() -> T) -> T {
    let gate = PASSED.with_borrow(Option::clone);
    leave();
    let came = wait();
    if let Some(gate) = gate {
        gate.wait();
    }
    came
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc::sync_channel, thread, time::Duration};

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn one_is_inside_at_a_time_unless_it_waits_or_has_left() {
        let gate = Arc::new(Gate::new(1));
        let (entered, enters) = sync_channel(1);
        let other = || {
            let (gate, entered) = (Arc::clone(&gate), entered.clone());
            thread::spawn(move || {
                let _place = gate.enter();
                entered.send(()).unwrap();
            })
        };
        let place = gate.enter();
        let second = other();
        assert!(enters.recv_timeout(Duration::from_millis(50)).is_err(), "it is taken");
        outside(|| enters.recv_timeout(SOON).unwrap());
        second.join().unwrap();
        leave();
        other().join().unwrap();
        enters.recv_timeout(SOON).unwrap();
        // What was left is not given back twice.
        drop(place);
        assert_eq!(*hold(&gate.free), 1);
        outside(|| ());
        assert_eq!(*hold(&gate.free), 1, "who was not inside does not go in");
    }
}
