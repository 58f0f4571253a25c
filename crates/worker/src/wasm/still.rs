//! Clocks and randomness of a run that must come to the same each time: the one stand still, and the other is the same.

use std::time::Duration;
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// Bytes of "randomness", over and over: a hash table needs a seed, and not one that nobody knows.
const BYTES: [u8; 16] = *b"jsfs: no chances";

struct Still;

impl HostWallClock for Still {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for Still {
    fn resolution(&self) -> u64 {
        1_000_000_000
    }

    fn now(&self) -> u64 {
        0
    }
}

/// Takes away what differs from one run to the next.
pub(super) fn make(wasi: &mut WasiCtxBuilder) {
    wasi.wall_clock(Still)
        .monotonic_clock(Still)
        .secure_random(Deterministic::new(BYTES.to_vec()))
        .insecure_random(Deterministic::new(BYTES.to_vec()))
        .insecure_random_seed(0);
}
