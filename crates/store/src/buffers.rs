//! Large buffers that are used again: a few, however many threads fill and empty them.
//!
//! An allocator keeps what was freed for the thread that freed it, and bodies pass through many threads; and what is used again needs neither be cleared
//! nor be asked of the system.

use crate::sync::hold;
use bytes::Bytes;
use std::{
    ops::{Deref, DerefMut},
    sync::Mutex,
};

/// Stored blocks of the largest group of chunks.
pub static BLOCKS: Buffers = Buffers::new((256 << 10) + 128, 32);

/// What is shorter than so many quarters of a buffer has one of its own.
const QUARTERS_MIN: usize = 3;

/// Buffers of one size, of which some are kept while they are free.
#[derive(Debug)]
pub struct Buffers {
    size: usize,
    kept_max: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

/// Bytes in a buffer that is used again when they are dropped.
#[derive(Debug)]
pub struct Lent {
    buffer: Vec<u8>,
    length: usize,
    to: &'static Buffers,
}

impl Buffers {
    /// None yet.
    #[must_use]
    pub const fn new(size: usize, kept_max: usize) -> Self {
        Self { size, kept_max, free: Mutex::new(Vec::new()) }
    }

    /// An empty buffer, to be filled and then [lent](Buffers::lend).
    pub fn take(&self) -> Vec<u8> {
        let mut buffer = self.any();
        buffer.clear();
        buffer
    }

    /// What lies in the buffer, until it is dropped.
    pub fn lend(&'static self, buffer: Vec<u8>) -> Lent {
        Lent { length: buffer.len(), buffer, to: self }
    }

    /// So many bytes to be overwritten: what is in them is what was in the buffer before.
    pub fn stale(&'static self, length: usize) -> Lent {
        let is_fitting = length <= self.size && length >= self.size / 4 * QUARTERS_MIN;
        let mut buffer = if is_fitting { self.any() } else { Vec::new() };
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        Lent { buffer, length, to: self }
    }

    /// Lets go of those that are free.
    pub fn give_back(&self) {
        hold(&self.free).clear();
    }

    fn any(&self) -> Vec<u8> {
        let free = hold(&self.free).pop();
        free.unwrap_or_else(|| Vec::with_capacity(self.size))
    }

    /// How many are free.
    #[cfg(test)]
    fn count(&self) -> usize {
        hold(&self.free).len()
    }
}

impl Deref for Lent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.length]
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Lent> for Bytes {
    fn from(lent: Lent) -> Self {
        Self::from_owner(lent)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // A buffer of another size was none of these, or has grown.
        if self.buffer.capacity() == self.to.size {
            let mut free = hold(&self.to.free);
            if free.len() < self.to.kept_max {
                free.push(std::mem::take(&mut self.buffer));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_no_more_are_kept_than_may_be() {
        static TWO: Buffers = Buffers::new(1_000, 2);
        let lent: Vec<Lent> = (0..3).map(|_| TWO.stale(900)).collect();
        let places: Vec<_> = lent.iter().map(|one| one.as_ptr()).collect();
        drop(lent.into_iter().map(Bytes::from).collect::<Vec<_>>());
        assert_eq!(TWO.count(), 2);
        let again = TWO.take();
        assert!(again.is_empty() && again.capacity() == 1_000 && places.contains(&again.as_ptr()));
        drop(TWO.lend(again));
        assert_eq!(TWO.count(), 2);
        TWO.give_back();
        assert_eq!(TWO.count(), 0);
    }

    #[test]
    fn what_is_of_another_size_is_not_kept() {
        static ONE: Buffers = Buffers::new(1_000, 1);
        for length in [0, 1, 749, 1_001, 5_000] {
            assert_eq!(Bytes::from(ONE.stale(length)).len(), length);
            assert_eq!(ONE.count(), 0, "{length} bytes");
        }
        let mut grown = ONE.take();
        grown.resize(2_000, 7);
        drop(ONE.lend(grown));
        assert_eq!(ONE.count(), 0);
        assert_eq!(ONE.stale(800).len(), 800);
        assert_eq!((ONE.count(), ONE.stale(999).len(), ONE.stale(750).len()), (1, 999, 750));
    }
}
