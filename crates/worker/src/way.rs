//! Making way: a run that has computed for long goes on with what nobody else wants of the processors.
//!
//! All runs have threads of the same priority, so a short one beside endless loops would wait for as many time slices as there are loops. The
//! kernel lets a thread of `SCHED_IDLE` run only where no other wants to, and interrupts it at once when one does: a loop then costs
//! its neighbours nothing but warm caches. Priority does not come back, so the thread takes no other run (`pool`).
//!
//! What compiles has a lower priority than runs; but others wait for the end of its slice all the same, so its slices are short. Those of runs are not: with
//! many at once, each would take as long as all.

use super::{cpu_time, gate, pool};
use std::{
    cell::Cell,
    io,
    time::{Duration, Instant},
};

/// CPU time that a run may use before it makes way. It is looked at every few milliseconds, so that most runs end unnoticed.
pub(crate) const BURST: Duration = Duration::from_millis(2);
/// CPU time that loading a program may take before that. Many are loaded in turn, and each thread that makes way has to be made anew.
pub(crate) const BURST_LOADING: Duration = Duration::from_secs(1);
/// The part of its whole time that it may use besides: what lasts and computes a little now and then stays as quick as it was.
const SHARE: u32 = 64;

/// How long a thread goes on when one that is more urgent wants to run: the least that the kernel takes. Its own choice is some 3 ms, as long as several
/// short requests.
const SLICE: Duration = Duration::from_micros(100);

thread_local! {
    static IS_MADE: Cell<bool> = const { Cell::new(false) };
}

/// What a run has used, as its thread counts it.
pub(crate) struct Account {
    burst: Duration,
    began: Instant,
    began_cpu: Duration,
}

impl Account {
    /// Of a run that begins on the calling thread.
    pub(crate) fn new(burst: Duration) -> Self {
        Self { burst, began: Instant::now(), began_cpu: cpu_time() }
    }

    /// CPU time that it has used.
    pub(crate) fn used(&self) -> Duration {
        cpu_time().saturating_sub(self.began_cpu)
    }

    /// Makes way if so much was used that others come first. Called often while it computes.
    pub(crate) fn settle(&self, used: Duration) {
        if used > self.burst + self.began.elapsed() / SHARE {
            make_way();
        }
    }
}

/// From now on the run of the calling thread gets what nobody else wants; also called before work of ours for it that takes long and cannot be
/// interrupted. Where the kernel refuses, all stays as it was.
pub(crate) fn make_way() {
    if pool::is_of_one() && take_policy(libc::SCHED_IDLE).is_ok() {
        pool::leave();
        gate::leave();
        mark();
    }
}

/// Whether the calling thread has made way.
pub(crate) fn is_made() -> bool {
    IS_MADE.get()
}

pub(crate) fn mark() {
    IS_MADE.set(true);
}

#[allow(unsafe_code, reason = "a call of the kernel that no library here offers")]
pub(crate) fn take_policy(policy: i32) -> io::Result<()> {
    // `struct sched_param` of the kernel: a priority, which these policies do not have.
    let priority: libc::c_int = 0;
    // SAFETY: the kernel reads one number, which lives as long as the call; 0 is the calling thread.
    let set = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `struct sched_attr` of the kernel, as far as it goes back.
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// The calling thread has short slices from now on. Kernels before 6.12 accept that and change nothing.
#[allow(unsafe_code, reason = "a call of the kernel that no library here offers")]
pub(crate) fn take_short_slices() -> io::Result<()> {
    let attributes = Attributes {
        size: size_of::<Attributes>().try_into().map_err(io::Error::other)?,
        policy: libc::SCHED_OTHER.cast_unsigned(),
        flags: 0,
        nice: rustix::process::getpriority_process(None)?,
        priority: 0,
        runtime_ns: SLICE.as_nanos().try_into().map_err(io::Error::other)?,
        deadline_ns: 0,
        period_ns: 0,
    };
    // SAFETY: the kernel reads as many bytes as `size` says, which live as long as the call; 0 is the calling thread.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_short_slices() {
        let slice = || {
            let text = std::fs::read_to_string("/proc/thread-self/sched").ok()?;
            let line = text.lines().find(|line| line.starts_with("se.slice"))?;
            line.rsplit(' ').next()?.parse::<u64>().ok()
        };
        let taken = move || take_short_slices().map(|()| slice());
        match std::thread::spawn(taken).join().unwrap().unwrap() {
            Some(slice) => assert_eq!(slice, 100_000),
            None => eprintln!("skipped: this kernel does not tell how long slices are"),
        }
    }
}
