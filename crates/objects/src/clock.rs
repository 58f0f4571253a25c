//! Time and randomness, handed in rather than taken, so that tests and simulations repeat exactly.
//!
//! Nothing else in the workspace reads the system's clock or its random source. Hybrid times never repeat and never go back
//! within one [`HybridClock`], whatever the system's clock does; a node that restarts passes the newest time it has stored to
//! [`HybridClock::observe`].

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of wall-clock time.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Seconds since 1970, as tokens count.
    fn now_s(&self) -> u64 {
        self.now_ms() / 1_000
    }
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that may")]
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until it is told otherwise.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `ms` milliseconds since 1970.
    pub fn starting_at(ms: u64) -> Self {
        Self(AtomicU64::new(ms))
    }

    /// Moves to `ms` milliseconds since 1970, forwards or back.
    pub fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::SeqCst);
    }

    /// Moves `ms` milliseconds forwards.
    pub fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A source of random bytes fit for keys.
pub trait Random: Send + Sync {
    /// Fills the whole buffer. Does not return without having done so.
    fn fill(&self, buffer: &mut [u8]);
}

impl dyn Random + '_ {
    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        // There is no safe way on: keys made from anything else would be guessable.
        aws_lc_rs::rand::fill(buffer).expect("the operating system gives random bytes");
    }
}

/// Random bytes that follow from a seed. For tests, vectors and simulations only.
pub struct SeededRandom(Mutex<blake3::OutputReader>);

impl SeededRandom {
    /// The stream of the given seed.
    pub fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("jsfs seeded random for tests");
        hasher.update(&seed.to_be_bytes());
        Self(Mutex::new(hasher.finalize_xof()))
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(buffer);
    }
}

/// A hybrid logical time: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HybridTime(pub u64);

impl HybridTime {
    /// The first time of a millisecond.
    pub fn from_ms(ms: u64) -> Self {
        Self(ms.saturating_mul(1 << 16))
    }

    /// Milliseconds since 1970.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The counter within the millisecond.
    pub fn counter(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

/// Gives out hybrid times, each greater than every one before it and every one observed.
pub struct HybridClock {
    clock: Arc<dyn Clock>,
    last: AtomicU64,
}

impl HybridClock {
    /// A hybrid clock over a wall clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, last: AtomicU64::new(0) }
    }

    /// The next time: the wall clock's, or one past the last where the wall clock has not moved on.
    pub fn tick(&self) -> HybridTime {
        let wall = HybridTime::from_ms(self.clock.now_ms()).0;
        let next = |last: u64| wall.max(last.saturating_add(1));
        let last = self.last.update(Ordering::SeqCst, Ordering::SeqCst, next);
        HybridTime(next(last))
    }

    /// Takes note of a time seen elsewhere: later ticks are greater. The caller has refused times that are too far ahead.
    pub fn observe(&self, seen: HybridTime) {
        self.last.fetch_max(seen.0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Clock, HybridClock, HybridTime, ManualClock, Random, SeededRandom, SystemClock, SystemRandom,
    };
    use std::sync::Arc;

    #[test]
    fn hybrid_times_grow_while_the_clock_stands_still_or_goes_back() {
        let wall = Arc::new(ManualClock::starting_at(5_000));
        let clock = HybridClock::new(wall.clone());
        let first = clock.tick();
        assert_eq!((first.ms(), first.counter()), (5_000, 0));
        let second = clock.tick();
        assert_eq!((second.ms(), second.counter()), (5_000, 1));
        wall.set(1_000);
        assert!(clock.tick() > second);
        wall.set(6_000);
        assert_eq!(clock.tick(), HybridTime::from_ms(6_000));
    }

    #[test]
    fn hybrid_times_pass_what_was_observed_and_carry_into_the_millisecond() {
        let clock = HybridClock::new(Arc::new(ManualClock::starting_at(5_000)));
        clock.observe(HybridTime((9_000 << 16) | 0xffff));
        assert_eq!(clock.tick(), HybridTime::from_ms(9_001));
        clock.observe(HybridTime::from_ms(1));
        assert!(clock.tick() > HybridTime::from_ms(9_001));
    }

    #[test]
    fn hybrid_times_of_many_threads_never_repeat() {
        let clock = HybridClock::new(Arc::new(ManualClock::starting_at(1)));
        let mut times: Vec<HybridTime> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1_000).map(|_| clock.tick()).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        times.sort();
        times.dedup();
        assert_eq!(times.len(), 4_000);
    }

    #[test]
    fn seeded_random_repeats_and_differs_by_seed() {
        let (one, same, other): (&dyn Random, &dyn Random, &dyn Random) =
            (&SeededRandom::new(1), &SeededRandom::new(1), &SeededRandom::new(2));
        let first = one.bytes::<32>();
        assert_eq!(first, same.bytes::<32>());
        assert_ne!(first, other.bytes::<32>());
        assert_ne!(first, one.bytes::<32>());
    }

    #[test]
    fn the_system_sources_answer() {
        assert!(SystemClock.now_ms() > 1_700_000_000_000);
        let random: &dyn Random = &SystemRandom;
        assert_ne!(random.bytes::<32>(), random.bytes::<32>());
    }
}
