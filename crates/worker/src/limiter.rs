//! How much memory an instance may have, and whether it asked for more.

use wasmtime::{ResourceLimiter, Result};

/// Most elements of a table; the engine's own has some hundred.
const TABLE_MAX: usize = 100_000;

/// Counts what an instance takes, over all of its memories.
pub(crate) struct Limiter {
    memory_max: usize,
    memory: usize,
    denied: bool,
}

impl Limiter {
    pub(crate) fn new(memory_max: usize) -> Self {
        Self { memory_max, memory: 0, denied: false }
    }

    /// Of an instance that has so much already.
    pub(crate) fn holding(memory: usize, memory_max: usize) -> Self {
        Self { memory_max, memory, denied: false }
    }

    /// Whether it asked for more than it may have.
    pub(crate) fn is_denied(&self) -> bool {
        self.denied
    }

    /// Bytes of memory that it has: never less than before, as memories only grow.
    pub(crate) fn most(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let memory = self.memory.saturating_add(desired.saturating_sub(current));
        let allowed = memory <= self.memory_max;
        self.denied |= !allowed;
        if allowed {
            self.memory = memory;
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        Ok(desired <= TABLE_MAX)
    }
}
