//! Programs that are ready to run in this worker's memory, within a bound: what is not here the node sends again.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Bytes of prepared programs that are kept in memory.
const PROGRAMS_BYTES: usize = 256 << 20;
/// Programs kept from their preparation to their first run: of many that rest this holds only the last.
const FRESH_MAX: usize = 4;

type Id = [u8; 32];

struct Loaded<P> {
    program: Arc<P>,
    weight: usize,
    used: u64,
}

/// Programs that were loaded, the least lately used of which go when they grow too many.
pub(crate) struct Programs<P> {
    loaded: HashMap<Id, Loaded<P>>,
    /// Those that were prepared last, and when. What has not run since goes when others follow.
    fresh: VecDeque<(Id, u64)>,
    bytes: usize,
    clock: u64,
}

impl<P> Default for Programs<P> {
    fn default() -> Self {
        Self { loaded: HashMap::new(), fresh: VecDeque::new(), bytes: 0, clock: 0 }
    }
}

impl<P> Programs<P> {
    pub(crate) fn get(&mut self, id: &Id) -> Option<Arc<P>> {
        self.clock += 1;
        let loaded = self.loaded.get_mut(id)?;
        loaded.used = self.clock;
        Some(Arc::clone(&loaded.program))
    }

    /// Keeps a program that takes so many bytes.
    pub(crate) fn insert(&mut self, id: Id, program: P, weight: usize) -> Arc<P> {
        self.clock += 1;
        self.remove(&id);
        self.bytes += weight;
        let program = Arc::new(program);
        self.loaded.insert(id, Loaded { program: Arc::clone(&program), weight, used: self.clock });
        while self.bytes > PROGRAMS_BYTES && self.loaded.len() > 1 {
            let oldest = self.loaded.iter().min_by_key(|(_, loaded)| loaded.used).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            self.remove(&oldest);
        }
        program
    }

    /// Keeps what was just prepared for its first run.
    pub(crate) fn insert_fresh(&mut self, id: Id, program: P, weight: usize) -> Arc<P> {
        if let Some(loaded) = self.loaded.get(&id) {
            return Arc::clone(&loaded.program);
        }
        let program = self.insert(id, program, weight);
        self.fresh.push_back((id, self.clock));
        if self.fresh.len() > FRESH_MAX
            && let Some((oldest, since)) = self.fresh.pop_front()
            && self.loaded.get(&oldest).is_some_and(|loaded| loaded.used == since)
        {
            self.remove(&oldest);
        }
        program
    }

    fn remove(&mut self, id: &Id) {
        if let Some(gone) = self.loaded.remove(id) {
            self.bytes -= gone.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FRESH_MAX, PROGRAMS_BYTES, Programs};

    #[test]
    fn what_was_prepared_waits_for_its_first_run_and_makes_room_for_others() {
        let mut programs = Programs::default();
        let id = |number: u8| [number; 32];
        for number in 0..=u8::try_from(FRESH_MAX).unwrap() {
            programs.insert_fresh(id(number), number, 1);
            // The second has run, and stays.
            assert_eq!(programs.get(&id(1)).as_deref(), (number > 0).then_some(&1));
        }
        assert!(programs.get(&id(0)).is_none());
        for number in 10..20 {
            programs.insert_fresh(id(number), number, 1);
        }
        assert_eq!(programs.get(&id(1)).as_deref(), Some(&1));
        assert_eq!((programs.loaded.len(), programs.bytes), (FRESH_MAX + 1, FRESH_MAX + 1));
        programs.insert(id(30), 30, PROGRAMS_BYTES);
        assert_eq!((programs.loaded.len(), programs.bytes), (1, PROGRAMS_BYTES));
    }
}
