//! Instances between runs.
//!
//! Making an instance and taking its first write to every page costs some twenty times what a small program needs. So an instance that ended well is
//! not thrown away: every page that is its own is given back the bytes that a fresh instance of the program has there, before anything else
//! runs in it. The engine's only other state is its stack pointer, which is set as well; an instance whose memory grew is dropped, as a
//! memory cannot shrink. What one run leaves is gone when it has ended, not when the next begins.

use super::{Base, Image, Vm, written};
use crate::{Program, hold};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Instances that are kept.
const IDLE_MAX: usize = 32;
/// Pages that an idle instance may keep to itself.
const PAGES_MAX: usize = 1_024;
/// How long one is kept unused.
const REST: Duration = Duration::from_secs(10);

struct Idle {
    vm: Vm,
    program: Arc<Program>,
    since: Instant,
}

/// The instances that are idle, those used last at the end.
#[derive(Default)]
pub(crate) struct Instances(Mutex<VecDeque<Idle>>);

impl Instances {
    /// An idle instance that is what a fresh one of this program is. Rather one that ran it before.
    pub(crate) fn take(&self, base: &Base, program: &Arc<Program>, image: &Image) -> Option<Vm> {
        let mut idle = hold(&self.0);
        let same = idle.iter().rposition(|one| Arc::ptr_eq(&one.program, program));
        if let Some(at) = same {
            return idle.remove(at).map(|one| one.vm);
        }
        let other = if idle.len() < IDLE_MAX / 2 { None } else { idle.pop_front() };
        drop(idle);
        let mut vm = other?.vm;
        reset(base, image, &mut vm).then_some(vm)
    }

    /// Keeps an instance whose run has ended well.
    pub(crate) fn put(&self, base: &Base, program: Arc<Program>, image: &Image, mut vm: Vm) {
        if reset(base, image, &mut vm) {
            let mut idle = hold(&self.0);
            let gone = if idle.len() < IDLE_MAX { None } else { idle.pop_front() };
            idle.push_back(Idle { vm, program, since: Instant::now() });
            drop(idle);
            drop(gone);
        }
    }

    /// Drops those that nobody has used for some time.
    pub(crate) fn sweep(&self) {
        let mut idle = hold(&self.0);
        let rested = idle.iter().take_while(|one| one.since.elapsed() > REST).count();
        let gone: Vec<Idle> = idle.drain(..rested).collect();
        drop(idle);
        drop(gone);
    }
}

fn reset(base: &Base, image: &Image, vm: &mut Vm) -> bool {
    let memory = vm.exports.memory.data(&vm.store);
    if memory.len() != image.pages.memory_bytes().max(base.memory_bytes()) {
        return false;
    }
    let Some(written) = written::pages(memory, PAGES_MAX) else { return false };
    image.pages.reset(vm, base, &written).is_ok()
}
