//! What waits for one run: a bounded queue that its thread sleeps on.

use super::hold;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Messages that may wait.
const WAITING_MAX: usize = 1_024;

/// Both ends of the queue. Clones share it.
pub(crate) struct Inbox<T>(Arc<(Mutex<VecDeque<T>>, Condvar)>);

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Inbox<T> {
    /// Puts a message in, if there is room.
    pub(crate) fn put(&self, message: T) -> bool {
        let (queue, changed) = &*self.0;
        let mut queue = hold(queue);
        let has_room = queue.len() < WAITING_MAX;
        if has_room {
            queue.push_back(message);
            changed.notify_one();
        }
        has_room
    }

    /// The next message; none if none comes in time.
    pub(crate) fn next(&self, wait: Duration) -> Option<T> {
        let (queue, changed) = &*self.0;
        let waiting = changed.wait_timeout_while(hold(queue), wait, |queue| queue.is_empty());
        let (mut queue, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_in_order_and_no_more_than_there_is_room_for() {
        let inbox = Inbox::default();
        let taken = (0..2_000).filter(|number| inbox.put(*number)).count();
        assert_eq!(taken, WAITING_MAX);
        assert_eq!(inbox.next(Duration::ZERO), Some(0));
        assert_eq!(inbox.next(Duration::ZERO), Some(1));
        let empty = Inbox::<u8>::default();
        assert_eq!(empty.next(Duration::from_millis(1)), None);
        let other = empty.clone();
        let waiting = std::thread::spawn(move || other.next(Duration::from_secs(60)));
        assert!(empty.put(7));
        assert_eq!(waiting.join().unwrap(), Some(7));
    }
}
