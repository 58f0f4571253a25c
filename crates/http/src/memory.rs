//! Memory of answers on their way: what a client has not taken yet counts until it has, whoever holds it meanwhile.
//!
//! Invariant: who waits for memory holds none of it, so those that have some need nobody but their clients to go on. Short answers are not counted: the
//! number of requests bounds them.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted by.
const UNIT_BYTES: u64 = 64 * 1024;

/// A piece of an object, and what is decoded to make it, is no longer.
pub(crate) const PIECE_BYTES_MAX: u64 = 1024 * 1024;

/// The memory that there is.
#[derive(Debug)]
pub(crate) struct Memory {
    free: Arc<Semaphore>,
    units: u32,
}

/// Memory that was taken for what is still to be made.
#[derive(Debug)]
pub(crate) struct Taken(Option<OwnedSemaphorePermit>);

/// Bytes that count for as long as anybody has some of them.
struct Counted {
    bytes: Bytes,
    _memory: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        let free = Semaphore::new((units as usize).min(Semaphore::MAX_PERMITS));
        Self { free: Arc::new(free), units }
    }

    /// What so many bytes need: nothing where they are few, and never more than there is.
    fn needed(&self, bytes: u64) -> u32 {
        if bytes <= UNIT_BYTES {
            return 0;
        }
        u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.units)
    }

    /// Takes memory that is free.
    pub(crate) fn take_now(&self, bytes: u64) -> Option<Taken> {
        match self.needed(bytes) {
            0 => Some(Taken(None)),
            units => Arc::clone(&self.free).try_acquire_many_owned(units).ok().map(|held| Taken(Some(held))),
        }
    }

    /// Waits for memory, in the order of asking.
    pub(crate) async fn take(&self, bytes: u64) -> Taken {
        match self.needed(bytes) {
            0 => Taken(None),
            // Closed it never is.
            units => Taken(Arc::clone(&self.free).acquire_many_owned(units).await.ok()),
        }
    }

    /// What is taken now.
    pub(crate) fn taken_bytes(&self) -> u64 {
        (self.units as usize).saturating_sub(self.free.available_permits()) as u64 * UNIT_BYTES
    }
}

impl Taken {
    /// The bytes that it was taken for. What was taken beyond them is given back.
    pub(crate) fn keep(self, bytes: Bytes) -> Bytes {
        let Some(mut held) = self.0 else { return bytes };
        let needed = usize::try_from((bytes.len() as u64).div_ceil(UNIT_BYTES)).unwrap_or(usize::MAX);
        drop(held.split(held.num_permits().saturating_sub(needed)));
        Bytes::from_owner(Counted { bytes, _memory: held })
    }
}

#[cfg(test)]
mod tests {
    use super::{Memory, UNIT_BYTES};
    use bytes::Bytes;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn bytes_count_until_the_last_of_them_is_gone() {
        let memory = Memory::new(8 * UNIT_BYTES);
        let taken = memory.take_now(6 * UNIT_BYTES).expect("free");
        assert_eq!(memory.taken_bytes(), 6 * UNIT_BYTES);
        let mut bytes = taken.keep(Bytes::from(vec![7; 200_000]));
        assert_eq!(memory.taken_bytes(), 4 * UNIT_BYTES, "what was too much is given back");
        let rest = bytes.split_off(199_999);
        drop(bytes);
        assert_eq!((rest[0], memory.taken_bytes()), (7, 4 * UNIT_BYTES), "one byte keeps all of them");
        drop(rest);
        assert_eq!(memory.taken_bytes(), 0);
    }

    #[tokio::test]
    async fn who_comes_too_late_waits_and_what_is_short_does_not() {
        let memory = Memory::new(8 * UNIT_BYTES);
        let all = memory.take(100 * UNIT_BYTES).await;
        assert_eq!(memory.taken_bytes(), 8 * UNIT_BYTES, "nobody takes more than there is");
        assert!(memory.take_now(2 * UNIT_BYTES).is_none());
        let mut waiting = Box::pin(memory.take(2 * UNIT_BYTES));
        assert!((&mut waiting).now_or_never().is_none());
        assert!(memory.take_now(UNIT_BYTES).is_some(), "short answers are not counted");
        drop(all);
        let _held = waiting.await;
        assert_eq!(memory.taken_bytes(), 2 * UNIT_BYTES);
    }
}
