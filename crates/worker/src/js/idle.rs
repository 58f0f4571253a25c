//! Instances between runs.
//!
//! Making an instance and taking its first write to every page costs some twenty times what a small program needs. So an instance that ended well is
//! not thrown away: every page that is its own is given back the bytes that a fresh instance of the program has there, before anything else
//! runs in it. The engine's only other state is its stack pointer, which is set as well; an instance whose memory grew is dropped, as a
//! memory cannot shrink. What one run leaves is gone when it has ended, not when the next begins.
//! The instance that a program was prepared in is kept the same way for its first run.

use super::{Base, Image, Vm, written};
use crate::{Program, hold};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Instances that are kept.
const IDLE_MAX: usize = 32;
/// Of these, those whose program was only stored: what stores many programs takes nothing from what runs.
const FRESH_MAX: usize = 4;
/// Pages that an idle instance may keep to itself.
const PAGES_MAX: usize = 512;
/// How long one is kept unused.
const REST: Duration = Duration::from_secs(10);

struct Idle {
    vm: Vm,
    program: Arc<Program>,
    /// Whether the program has not run in it yet.
    is_fresh: bool,
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
        // While there are few, each program rather gets one of its own.
        let other = if idle.len() < IDLE_MAX / 2 { None } else { idle.pop_front() };
        drop(idle);
        let mut vm = other?.vm;
        reset(base, image, &mut vm).then_some(vm)
    }

    /// Keeps an instance whose run has ended well.
    pub(crate) fn put(&self, base: &Base, program: Arc<Program>, image: &Image, vm: Vm) {
        self.keep(base, program, image, vm, false);
    }

    /// Keeps the instance that a program was prepared in for its first run.
    pub(crate) fn put_fresh(&self, base: &Base, program: Arc<Program>, image: &Image, vm: Vm) {
        self.keep(base, program, image, vm, true);
    }

    fn keep(&self, base: &Base, program: Arc<Program>, image: &Image, mut vm: Vm, is_fresh: bool) {
        if !reset(base, image, &mut vm) {
            return;
        }
        let mut idle = hold(&self.0);
        let fresh = idle.iter().filter(|one| one.is_fresh).count();
        let gone = match is_fresh && fresh >= FRESH_MAX {
            true => idle.iter().position(|one| one.is_fresh).and_then(|oldest| idle.remove(oldest)),
            false if idle.len() < IDLE_MAX => None,
            // One that runs makes room for no other that does not.
            false if is_fresh => return,
            false => idle.pop_front(),
        };
        idle.push_back(Idle { vm, program, is_fresh, since: Instant::now() });
        drop(idle);
        drop(gone);
    }

    /// Drops those that nobody has used for some time. Answers whether none is left.
    pub(crate) fn sweep(&self) -> bool {
        let mut idle = hold(&self.0);
        let rested = idle.iter().take_while(|one| one.since.elapsed() > REST).count();
        let gone: Vec<Idle> = idle.drain(..rested).collect();
        let is_empty = idle.is_empty();
        drop(idle);
        drop(gone);
        is_empty
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Out, UNBOUNDED, engine, guest, js};
    use std::os::unix::net::UnixStream;

    /// An engine that says what it has to say to nobody.
    struct Stage {
        base: Base,
        out: Arc<Out>,
        _node: UnixStream,
    }

    impl Stage {
        fn new() -> Stage {
            written::open();
            let (ours, node) = UnixStream::pair().unwrap();
            let out = Arc::new(Out::new(ours));
            let (base, _) = Base::make(&engine(8).unwrap(), guest(&out, 0, UNBOUNDED, None)).unwrap();
            Stage { base, out, _node: node }
        }

        fn image(&self, source: &str) -> Image {
            let mut guest = guest(&self.out, 0, UNBOUNDED, None);
            guest.is_still = true;
            js::prepare(&self.base, guest, "a.js", "http://localhost/a.js", source, Arc::default())
                .unwrap()
                .unwrap()
                .0
        }

        fn fresh(&self, image: &Image) -> Vm {
            let mut vm = self.base.instance(guest(&self.out, 0, UNBOUNDED, None)).unwrap();
            image.pages.restore(&mut vm).unwrap();
            vm
        }
    }

    fn memory_of(vm: &mut Vm) -> &[u8] {
        vm.exports.memory.data(&vm.store)
    }

    fn run(vm: &mut Vm, text: &str) {
        let exports = Arc::clone(&vm.exports);
        let value = js::eval(&exports, &mut vm.store, text, "test", 0).unwrap();
        assert!(exports.caught(&mut vm.store, value).unwrap().is_ok(), "{text}");
    }

    fn state(vm: &mut Vm) -> (Vec<u8>, Option<i32>) {
        let stack_pointer = vm.exports.stack_pointer.get(&mut vm.store).i32();
        (vm.exports.memory.data(&vm.store).to_vec(), stack_pointer)
    }

    #[test]
    fn an_instance_that_ran_becomes_byte_for_byte_a_fresh_one() {
        let stage = Stage::new();
        let one = stage.image("export default { fetch() {} }; globalThis.table = new Array(20000).fill(7);");
        let other = stage.image("export default { fetch() {} }; globalThis.text = 'x'.repeat(300000);");
        let busy = "globalThis.left = 'marker'.repeat(1000); Array.prototype.map = null; Object.freeze(Math);
          for (let i = 0; i < 2000; i++) globalThis['k' + i] = { i };";
        let mut vm = stage.fresh(&one);
        if written::pages(vm.exports.memory.data(&vm.store), usize::MAX).is_none() {
            return eprintln!("skipped: this kernel does not tell which pages were written");
        }
        for image in [&one, &other, &one, &one] {
            run(&mut vm, busy);
            assert!(reset(&stage.base, image, &mut vm));
            let is_fresh = state(&mut vm) == state(&mut stage.fresh(image));
            assert!(is_fresh, "something of the run is left");
        }
        run(&mut vm, "globalThis.large = new Uint8Array(16 << 20)");
        assert!(!reset(&stage.base, &one, &mut vm), "a memory that grew is not used again");
        run(&mut vm, "1");
        let mut vm = stage.fresh(&one);
        run(&mut vm, "globalThis.wide = new Uint8Array(3 << 20).fill(1)");
        assert!(!reset(&stage.base, &one, &mut vm), "nor one that would keep much");
    }

    #[test]
    fn what_was_only_stored_has_few_instances_and_takes_none_from_what_runs() {
        let stage = Stage::new();
        let image = stage.image("export default { fetch() {} };");
        if written::pages(memory_of(&mut stage.fresh(&image)), usize::MAX).is_none() {
            return eprintln!("skipped: this kernel does not tell which pages were written");
        }
        let instances = Instances::default();
        let program = || Arc::new(Program::JavaScript(image.clone()));
        let ran = program();
        instances.put(&stage.base, Arc::clone(&ran), &image, stage.fresh(&image));
        let stored: Vec<_> = std::iter::repeat_with(program).take(FRESH_MAX + 1).collect();
        for program in &stored {
            instances.put_fresh(&stage.base, Arc::clone(program), &image, stage.fresh(&image));
        }
        let has = |program| instances.take(&stage.base, program, &image).is_some();
        assert!(has(&ran));
        assert!(!has(&stored[0]), "the oldest made room");
        assert!(stored[1..].iter().all(has));
    }
}
