//! The second wall: what the process itself may do, whatever happens in it.
//!
//! The sandbox of WebAssembly is the first wall. This one stands where that has a hole: a program that has taken over the whole process finds one
//! socket, to the node, and memory and threads of its own. It can open no file, make no socket, start no program, signal or inspect no
//! other process. Every part is attempted and none is required, because kernels differ; [`Walls`] tells the node which parts stand, and the
//! node logs it. All parts are put up while the process has one thread, so that every later thread inherits them.

mod calls;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use std::{fmt, fs, io};

/// Descriptors that the worker may have open: the socket, what each loaded module keeps in memory, and some to spare.
const DESCRIPTORS_MAX: u64 = 512;
/// Largest file that may be written. There are none, but the images of modules are kept in files without a name, in memory.
const FILE_MAX: u64 = 1 << 30;

/// How much more politely than the node the worker asks for the processor, and than its programs what compiles; and the most that can be asked.
const NICER: i32 = 5;
const NICEST: i32 = 19;

/// Which parts of the wall stand, and why others do not.
#[derive(Debug, Default)]
pub(crate) struct Walls(Vec<(&'static str, Result<(), String>)>);

impl Walls {
    fn note<E: fmt::Display>(&mut self, part: &'static str, result: Result<(), E>) {
        self.0.push((part, result.map_err(|error| error.to_string())));
    }
}

impl fmt::Display for Walls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (part, result)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            match result {
                Ok(()) => write!(f, "{separator}{part}")?,
                Err(why) => write!(f, "{separator}without {part} ({why})")?,
            }
        }
        Ok(())
    }
}

/// First of all, before the process has anything open but its three standard descriptors.
///
/// # Errors
/// When the process cannot be bound to the life of the node: a worker that nobody ends must not begin.
pub(crate) fn before_engine() -> io::Result<Walls> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut walls = Walls::default();
    close_inherited();
    walls.note("no new privileges", rustix::thread::set_no_new_privs(true));
    walls.note("limits", limits());
    Ok(walls)
}

/// Once the engine has opened what it needs, and before anything of a program is here: no files, sockets or programs from now on.
pub(crate) fn after_engine(walls: &mut Walls) {
    // Without short slices neighbours wait longer, and nothing else.
    rayon::broadcast(|_| drop(crate::way::take_short_slices()));
    // Not earlier: a process that cannot be dumped may not open its own files in /proc either.
    walls.note("no dumps", rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable));
    walls.note("landlock", no_files());
    walls.note("seccomp", calls::restrict(nice()));
}

/// Before programs run: endless loops on every thread must not keep the node from answering anybody else, and compiling nobody's programs from
/// running. The threads that compile are here by now; those that run programs begin with this thread's priority.
pub(crate) fn before_runs(walls: &mut Walls) {
    let [running, compiling] = nice();
    let take = |nice| rustix::process::setpriority_process(None, nice);
    let compile = rayon::broadcast(|_| take(compiling)).into_iter().fold(Ok(()), Result::and);
    walls.note("lower priority", compile.and_then(|()| take(running)));
}

/// First of all on a thread that loads programs: it counts as one that compiles.
pub(crate) fn before_loading() {
    let [compiling, _] = nice();
    // Where that is refused it runs as programs do.
    let _ = rustix::process::setpriority_process(None, compiling);
}

/// How politely threads that run programs are to ask for the processor, and those that compile.
/// Of the calling thread: what it has now, one step on and two.
fn nice() -> [i32; 2] {
    let now = rustix::process::getpriority_process(None).unwrap_or(0);
    [1, 2].map(|steps| (now + steps * NICER).min(NICEST))
}

/// Closes what the node inherited and handed on unawares. What it opens itself is closed by the kernel when the worker starts.
fn close_inherited() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> =
        open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The one through which the list was read is closed already.
        let _ = nix::unistd::close(descriptor);
    }
}

/// Bounds that hold for the process as a whole. There is none for its threads: the system counts those of one user together, the node's
/// too, so a bound could stop the node; the pool bounds them. Nor for its address space: the engine reserves far more than it uses.
fn limits() -> io::Result<()> {
    let bounds = [
        (Resource::Core, 0),
        (Resource::Nofile, DESCRIPTORS_MAX),
        (Resource::Fsize, FILE_MAX),
        (Resource::Msgqueue, 0),
    ];
    for (resource, bound) in bounds {
        let maximum = rustix::process::getrlimit(resource).maximum;
        let bound = Some(maximum.map_or(bound, |maximum| maximum.min(bound)));
        rustix::process::setrlimit(resource, Rlimit { current: bound, maximum: bound })?;
    }
    Ok(())
}

/// Landlock without a single rule: whatever it knows to forbid is forbidden.
fn no_files() -> Result<(), String> {
    let abi = ABI::V6;
    let restricted = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|error| error.to_string())?;
    match restricted.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err("the kernel has none".to_owned()),
    }
}

#[cfg(test)]
mod tests;
