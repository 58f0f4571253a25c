//! Preparing a program, and driving one run of it to its end.
//!
//! A run is calls into the engine, each until its stack is empty and its jobs are done, and between them waiting for what it began. It never
//! waits with something on its stack, so an image of it can be taken at every such moment.

use super::{
    Base, Ctx, Guest, Image, Pages, Vm,
    base::{Held, eval},
    host::{LINE_MAX, clipped, is_out_of_memory},
    value::{OutOfMemory, Ptr, Thrown},
};
use crate::{
    Inbound, cpu_time,
    inbox::Inbox,
    limiter::Limiter,
    way::{Account, BURST, BURST_LOADING},
};
use bytes::Bytes;
use jsfs_exec::wire::{Bound, Fault, Handler, Level, Outcome, ToNode};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use wasmtime::{Result, UpdateDeadline, format_err};

/// Bytes that a run allocates before garbage is collected.
const GC_BYTES: u32 = 4 << 20;
/// Largest image of a run: what one frame carries.
const CHECKPOINT_MAX: usize = 88 << 20;
/// Flags of `qjs_eval`: an ECMAScript module.
const MODULE: u32 = 1;
/// What the state of a promise is called.
const REJECTED: i32 = 2;
const FULFILLED: i32 = 1;

/// Why the sandbox ended a call.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Stop {
    #[error("CPU time")]
    Cpu,
    #[error("wall time")]
    Wall,
    #[error("cancelled")]
    Cancelled,
}

impl Vm {
    /// From now on a call ends when the run's time is over or nobody wants its answer.
    fn arm(&mut self, cancelled: Arc<AtomicBool>, burst: Duration) {
        let account = Account::new(burst);
        self.store.epoch_deadline_callback(move |context| {
            let guest = &context.data().guest;
            let bounds = guest.bounds;
            if cancelled.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled.into());
            }
            let used = account.used();
            if used > Duration::from_millis(bounds.cpu_ms) {
                return Err(Stop::Cpu.into());
            }
            if !guest.takes_events && guest.bounded_since.elapsed() > Duration::from_millis(bounds.wall_ms) {
                return Err(Stop::Wall.into());
            }
            account.settle(used);
            Ok(UpdateDeadline::Continue(1))
        });
        self.store.set_epoch_deadline(1);
    }

    /// For another run, with as much memory as that may have.
    fn given(mut self, guest: Guest) -> Result<Vm> {
        let memory = self.exports.memory.data_size(&self.store);
        let memory_max = usize::try_from(guest.bounds.memory_bytes).unwrap_or(usize::MAX);
        if memory > memory_max {
            return Err(OutOfMemory.into());
        }
        let ctx = self.store.data_mut();
        ctx.limits = Limiter::holding(memory, memory_max);
        ctx.guest = guest;
        Ok(self)
    }

    fn guest(&mut self) -> &mut Guest {
        &mut self.store.data_mut().guest
    }

    /// Calls a function of the runtime. What it throws is a fault of ours or of the program's; the caller knows.
    fn call(
        &mut self,
        held: &Held,
        function: Ptr,
        arguments: &[Ptr],
    ) -> Result<std::result::Result<Ptr, Thrown>> {
        let exports = self.exports.clone();
        let value = exports.invoke(&mut self.store, function, held.runtime, arguments)?;
        exports.caught(&mut self.store, value)
    }

    /// Calls a function whose value nobody needs; what it throws goes to the log.
    fn tell(&mut self, held: &Held, function: Ptr, arguments: &[Ptr]) -> Result<()> {
        match self.call(held, function, arguments)? {
            Ok(value) => self.exports.clone().free_value.call(&mut self.store, value),
            Err(thrown) => {
                self.log_thrown(&thrown);
                Ok(())
            }
        }
    }

    fn log_thrown(&mut self, thrown: &Thrown) {
        let text = format!("{}: {}\n{}", thrown.name, thrown.message, thrown.stack);
        let guest = self.guest();
        let run = guest.run;
        let room = usize::try_from(guest.log_left).unwrap_or(usize::MAX).min(LINE_MAX);
        let text = clipped(text, room);
        if text.is_empty() {
            return;
        }
        guest.log_left = guest.log_left.saturating_sub(text.len() as u64 + 1);
        guest.out.send(&ToNode::Log { run, level: Level::Error, text }, &[]);
    }

    /// Runs what promises have put off, until nothing is left to run.
    fn run_jobs(&mut self, held: &Held) -> Result<()> {
        let exports = self.exports.clone();
        loop {
            match exports.execute_pending_job.call(&mut self.store, ())? {
                1.. => continue,
                0 => {}
                _ => {
                    let exception = exports.get_exception.call(&mut self.store, ())?;
                    let thrown = exports.describe(&mut self.store, exception)?;
                    exports.free_value.call(&mut self.store, exception)?;
                    self.log_thrown(&thrown);
                    continue;
                }
            }
            let rejections = std::mem::take(&mut self.guest().rejections);
            if rejections.is_empty() {
                return Ok(());
            }
            for (promise, reason, is_handled) in rejections {
                let is_handled = exports.boolean(&mut self.store, is_handled)?;
                self.tell(held, held.rejection, &[promise, reason, is_handled])?;
            }
            // What is still unhandled now is told to the program, which may begin something.
            self.tell(held, held.rejections, &[])?;
        }
    }
}

/// Evaluates a program and takes its image; answers with it the instance that it was taken of. `Err` of the inner result: it is no program.
pub(crate) fn prepare(
    base: &Base,
    guest: Guest,
    name: &str,
    base_url: &str,
    source: &str,
    cancelled: Arc<AtomicBool>,
) -> Result<std::result::Result<(Image, Vm), Fault>> {
    let mut vm = base.instance(guest)?;
    vm.arm(cancelled, BURST_LOADING);
    match evaluated(&mut vm, base, name, base_url, source) {
        Ok(Ok(handlers)) => {
            let exports = vm.exports.clone();
            exports.run_gc.call(&mut vm.store, ())?;
            // Most runs are over before collecting would pay.
            exports.set_gc_threshold.call(&mut vm.store, GC_BYTES)?;
            let pages = Pages::of(&mut vm, base)?;
            let image = Image {
                base: base.hash(),
                handlers,
                pending: BTreeSet::new(),
                timers: Vec::new(),
                takes_events: false,
                has_answered: false,
                elapsed_ms: 0,
                pages,
            };
            Ok(Ok((image, vm)))
        }
        Ok(Err(thrown)) => Ok(Err(fault(&thrown, name))),
        Err(error) => {
            let why = match error.downcast_ref::<Stop>() {
                Some(Stop::Cpu) => {
                    "loading it took more CPU time than it may; the limit is programs.load_cpu_ms".to_owned()
                }
                Some(stop) => format!("loading it took more {stop} than a run may have"),
                None if is_out_of_memory(&error) || vm.store.data().limits.is_denied() => {
                    "loading it took more memory than a run may have".to_owned()
                }
                None => format!("the engine cannot load it: {}", error.root_cause()),
            };
            Ok(Err(Fault { message: why, position: None }))
        }
    }
}

fn evaluated(
    vm: &mut Vm,
    base: &Base,
    name: &str,
    base_url: &str,
    source: &str,
) -> Result<std::result::Result<Vec<String>, Thrown>> {
    let held = base.held().clone();
    let exports = vm.exports.clone();
    let url = exports.string(&mut vm.store, base_url)?;
    vm.tell(&held, held.prepare, &[url])?;
    if !is_module(source) {
        let text = exports.string(&mut vm.store, source)?;
        return handlers(vm, &held, held.script, text);
    }
    let promise = eval(&exports, &mut vm.store, source, name, MODULE)?;
    let promise = match exports.caught(&mut vm.store, promise)? {
        Ok(promise) => promise,
        Err(thrown) => return Ok(Err(thrown)),
    };
    vm.run_jobs(&held)?;
    let state = exports.promise_state.call(&mut vm.store, promise)?;
    let result = exports.promise_result.call(&mut vm.store, promise)?;
    exports.free_value.call(&mut vm.store, promise)?;
    match state {
        FULFILLED => handlers(vm, &held, held.loaded, result),
        REJECTED => Ok(Err(exports.describe(&mut vm.store, result)?)),
        _ => Ok(Err(Thrown {
            name: "TypeError".into(),
            message: "it awaits something while it is loaded that never comes then; await it in a handler"
                .into(),
            stack: String::new(),
        })),
    }
}

/// Whether a text is a module: whether the word `export` or `import` occurs in it. A script of JSFS-SX has neither.
fn is_module(source: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.');
    ["export", "import"].iter().any(|word| {
        source.match_indices(word).any(|(at, _)| {
            let bytes = source.as_bytes();
            let before = at.checked_sub(1).map(|at| bytes[at]);
            let after = bytes.get(at + word.len()).copied();
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
    })
}

fn handlers(
    vm: &mut Vm,
    held: &Held,
    function: Ptr,
    argument: Ptr,
) -> Result<std::result::Result<Vec<String>, Thrown>> {
    let value = match vm.call(held, function, &[argument])? {
        Ok(value) => value,
        Err(thrown) => return Ok(Err(thrown)),
    };
    let exports = vm.exports.clone();
    let json = exports.text_of(&mut vm.store, value)?;
    exports.free_value.call(&mut vm.store, value)?;
    let handlers: Vec<String> = serde_json::from_str(&json)?;
    if handlers.is_empty() {
        return Ok(Err(Thrown {
            name: "TypeError".into(),
            message: "it exports no handler; write export default { fetch(request) { … } }".into(),
            stack: String::new(),
        }));
    }
    Ok(Ok(handlers))
}

/// Where in the program's own text something was thrown: the first place of the stack that names it.
fn fault(thrown: &Thrown, name: &str) -> Fault {
    let position = thrown.stack.lines().find_map(|line| {
        let (_, rest) = line.split_once(name)?;
        let mut numbers = rest.trim_start_matches(':').split(|c: char| !c.is_ascii_digit());
        let line = numbers.next()?.parse().ok()?;
        Some((line, numbers.next().and_then(|column| column.parse().ok()).unwrap_or(1)))
    });
    Fault { message: format!("{}: {}", thrown.name, thrown.message), position }
}

/// An image belongs to another version of the engine.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the image belongs to another version of the engine")]
pub(crate) struct OtherEngine;

/// How a run begins.
pub(crate) enum Begin {
    /// With a handler.
    Handler { handler: Handler, params: String, bytes: Option<Bytes> },
    /// Where an image left off.
    Resumed,
}

/// One run under way.
pub(crate) struct Running {
    vm: Vm,
    held: Held,
    base: Base,
    inbox: Inbox<Inbound>,
    cancelled: Arc<AtomicBool>,
    began_cpu: Duration,
}

impl Running {
    /// A run in an idle instance of the image, or a fresh one. `guest` has the run's bounds.
    pub(crate) fn new(
        base: &Base,
        image: &Image,
        idle: Option<Vm>,
        mut guest: Guest,
        inbox: Inbox<Inbound>,
        cancelled: Arc<AtomicBool>,
    ) -> Result<Running> {
        if image.base != base.hash() {
            return Err(OtherEngine.into());
        }
        let began_cpu = cpu_time();
        guest.pending.clone_from(&image.pending);
        guest.takes_events = image.takes_events;
        guest.has_answered = image.has_answered;
        guest.went_before = Duration::from_millis(image.elapsed_ms);
        for (made, (id, left_ms)) in (0..).zip(&image.timers) {
            guest.timers.insert((Instant::now() + Duration::from_millis(*left_ms), made), *id);
            guest.timers_made = made + 1;
        }
        let mut vm = match idle {
            Some(vm) => vm.given(guest)?,
            None => {
                let mut vm = base.instance(guest)?;
                image.pages.restore(&mut vm)?;
                vm
            }
        };
        vm.arm(Arc::clone(&cancelled), BURST);
        Ok(Running { vm, held: base.held().clone(), base: base.clone(), inbox, cancelled, began_cpu })
    }

    /// Runs it to its end. Gives the instance back if it ended well.
    pub(crate) fn drive(mut self, begin: Begin) -> Option<Vm> {
        let ended = self.begin(begin).and_then(|()| self.go_on());
        let outcome = ended.unwrap_or_else(|error| self.outcome_of(&error));
        let cpu = cpu_time().saturating_sub(self.began_cpu);
        let held = self.vm.guest().held.take();
        let ctx = self.vm.store.data();
        let is_done = matches!(outcome, Outcome::Done);
        let exceeded = ctx.guest.exceeded && is_done;
        let ended = ToNode::Ended {
            run: ctx.guest.run,
            outcome: if exceeded { Outcome::Exceeded(Bound::Memory) } else { outcome },
            cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
            memory_bytes: self.vm.exports.memory.data_size(&self.vm.store) as u64,
        };
        let held = held.iter().map(|(message, bytes)| (message, &**bytes));
        ctx.guest.out.send_all(held.chain([(&ended, &[][..])]));
        is_done.then_some(self.vm)
    }

    fn outcome_of(&self, error: &wasmtime::Error) -> Outcome {
        let ctx = self.vm.store.data();
        match error.downcast_ref::<Stop>() {
            Some(Stop::Cpu) => Outcome::Exceeded(Bound::Cpu),
            Some(Stop::Wall) => Outcome::Exceeded(Bound::Wall),
            Some(Stop::Cancelled) => Outcome::Cancelled,
            None if ctx.guest.output_left == 0 || ctx.guest.exceeded => Outcome::Exceeded(Bound::Output),
            None if is_out_of_memory(error) || ctx.limits.is_denied() => Outcome::Exceeded(Bound::Memory),
            None => Outcome::Trapped(error.root_cause().to_string()),
        }
    }

    fn begin(&mut self, begin: Begin) -> Result<()> {
        let exports = self.vm.exports.clone();
        let mut seed = [0; 32];
        if !self.vm.guest().is_still {
            getrandom::fill(&mut seed).map_err(|error| format_err!("no randomness: {error}"))?;
        }
        let seed = exports.buffer(&mut self.vm.store, &seed)?;
        self.vm.tell(&self.held, self.held.restored, &[seed])?;
        self.vm.guest().is_process =
            matches!(begin, Begin::Resumed | Begin::Handler { handler: Handler::Main, .. });
        if let Begin::Handler { handler, params, bytes } = begin {
            // It goes on until it has ended by itself: what it waits for may come from outside.
            self.vm.guest().takes_events = handler == Handler::Main;
            let name = exports.string(&mut self.vm.store, handler.name())?;
            let params = exports.string(&mut self.vm.store, &params)?;
            let bytes = exports.buffer_or_undefined(&mut self.vm.store, bytes.as_deref())?;
            self.vm.tell(&self.held, self.held.run, &[name, params, bytes])?;
        }
        self.vm.run_jobs(&self.held)
    }

    fn go_on(&mut self) -> Result<Outcome> {
        loop {
            let wall = Duration::from_millis(self.vm.guest().bounds.wall_ms);
            let guest = self.vm.guest();
            if guest.is_done {
                return Ok(Outcome::Done);
            }
            let waits = guest.takes_events || !guest.pending.is_empty() || !guest.timers.is_empty();
            if !waits {
                return Ok(if guest.has_answered { Outcome::Done } else { Outcome::Stuck });
            }
            let now = Instant::now();
            let timer = guest.timers.first_key_value().map(|((end, _), _)| *end);
            if timer.is_some_and(|end| end <= now) {
                self.fire()?;
                continue;
            }
            let deadline = (!guest.takes_events).then(|| guest.bounded_since + wall);
            let until = [timer, deadline].into_iter().flatten().min();
            let wait = until.map_or(Duration::from_secs(3_600), |until| until.saturating_duration_since(now));
            self.tell_of_rest();
            match self.inbox.next(wait) {
                Some(message) => self.take(message)?,
                None => {
                    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        return Ok(Outcome::Exceeded(Bound::Wall));
                    }
                }
            }
        }
    }

    /// Tells the node once when a process waits for nothing but input.
    fn tell_of_rest(&mut self) {
        let guest = self.vm.guest();
        let rests = guest.is_process && guest.pending.is_empty() && guest.timers.is_empty();
        if rests && !guest.rests {
            guest.out.send(&ToNode::Idle { run: guest.run }, &[]);
        }
        guest.rests = rests;
    }

    /// The first timer's time has come.
    fn fire(&mut self) -> Result<()> {
        let Some((_, id)) = self.vm.guest().timers.pop_first() else { return Ok(()) };
        self.settle(id, true, None, None)
    }

    fn take(&mut self, message: Inbound) -> Result<()> {
        // A checkpoint wakes nobody.
        self.vm.guest().rests &= matches!(message, Inbound::Checkpoint);
        match message {
            Inbound::Settle { id, ok, json, bytes } => {
                // What is no longer waited for may have ended meanwhile.
                if !self.vm.guest().pending.remove(&id) {
                    return Ok(());
                }
                self.settle(id, ok, json.as_deref(), bytes.as_ref())
            }
            Inbound::Event { event, params, bytes } => {
                let is_last = event == "socketClose";
                let exports = self.vm.exports.clone();
                let event = exports.string(&mut self.vm.store, &event)?;
                let params = exports.string(&mut self.vm.store, &params)?;
                let bytes = exports.buffer_or_undefined(&mut self.vm.store, bytes.as_deref())?;
                self.vm.tell(&self.held, self.held.event, &[event, params, bytes])?;
                self.vm.run_jobs(&self.held)?;
                let guest = self.vm.guest();
                if is_last {
                    // Nothing comes any more, so what is left to do has an end like that of any other run.
                    guest.takes_events = false;
                    guest.bounded_since = Instant::now();
                }
                guest.out.send(&ToNode::Taken { run: guest.run }, &[]);
                Ok(())
            }
            Inbound::Checkpoint => self.checkpoint(),
            Inbound::Cancel => {
                self.cancelled.store(true, Ordering::Relaxed);
                Err(Stop::Cancelled.into())
            }
        }
    }

    fn settle(&mut self, id: u32, ok: bool, json: Option<&str>, bytes: Option<&Bytes>) -> Result<()> {
        let exports = self.vm.exports.clone();
        let id = exports.new_number.call(&mut self.vm.store, f64::from(id))?;
        let ok = exports.boolean(&mut self.vm.store, ok)?;
        let json = exports.string_or_undefined(&mut self.vm.store, json)?;
        let bytes = exports.buffer_or_undefined(&mut self.vm.store, bytes.map(|bytes| &bytes[..]))?;
        self.vm.tell(&self.held, self.held.settle, &[id, ok, json, bytes])?;
        self.vm.run_jobs(&self.held)
    }

    fn checkpoint(&mut self) -> Result<()> {
        let pages = Pages::of(&mut self.vm, &self.base)?;
        let now = Instant::now();
        let guest = self.vm.guest();
        let timers = guest.timers.iter().map(|((end, _), id)| {
            let left = end.saturating_duration_since(now).as_millis();
            (*id, u64::try_from(left).unwrap_or(u64::MAX))
        });
        let image = Image {
            base: self.base.hash(),
            handlers: Vec::new(),
            pending: guest.pending.clone(),
            timers: timers.collect(),
            takes_events: guest.takes_events,
            has_answered: guest.has_answered,
            elapsed_ms: u64::try_from(guest.elapsed().as_millis()).unwrap_or(u64::MAX),
            pages,
        };
        let pending = guest.pending.iter().copied().collect();
        let (run, out) = (guest.run, Arc::clone(&guest.out));
        let cpu = cpu_time().saturating_sub(self.began_cpu);
        let cpu_us = u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
        let memory_bytes = self.vm.exports.memory.data_size(&self.vm.store) as u64;
        let (bytes, pieces) = image.in_pieces()?;
        if bytes.len() > CHECKPOINT_MAX {
            return Err(format_err!(
                "its memory is too large for a checkpoint; {CHECKPOINT_MAX} bytes is the most"
            ));
        }
        out.send(&ToNode::Image { run, pending, base: image.base, pieces, cpu_us, memory_bytes }, &bytes);
        Ok(())
    }
}

impl Ctx {
    /// Whether the instance asked for more memory than it may have.
    pub(crate) fn is_short(&self) -> bool {
        self.limits.is_denied()
    }
}

#[cfg(test)]
mod tests {
    use super::is_module;

    #[test]
    fn a_module_is_told_from_a_script() {
        assert!(is_module("export default { fetch() {} }"));
        assert!(is_module("const a = 1; export{a}"));
        assert!(!is_module("x_out = x_in + reexport + exported + a.export"));
    }
}
