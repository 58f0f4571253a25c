//! The allocator, and giving back to the system what it keeps for later.
//!
//! It keeps memory that was freed, and gives it back when it is next asked for some: a process that has worked and then rests keeps what its busiest
//! moment took. So whoever notices that it rests says so.

use std::convert::Infallible;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Has this process, and those that it starts, do without transparent huge pages: buffers of bodies come and go, and for each piece that is touched anew
/// the kernel would clear 2 MiB. Where it cannot be said, all works as well, with more memory.
pub(crate) fn use_small_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// How often the node looks whether it rests.
const LOOK: Duration = Duration::from_secs(5);
/// CPU time between two looks of a node that works; one that rests takes a few milliseconds.
const WORK: Duration = Duration::from_millis(100);

/// After so many looks the threads that did the work have ended, which wait for more for ten seconds.
const THREADS_END: u32 = 4;

/// Gives back what this thread and those that have ended keep, and what is free between all threads.
#[allow(unsafe_code, reason = "the allocator's own function, which its crate does not offer")]
pub(crate) fn give_back() {
    unsafe extern "C" {
        fn mi_collect(force: bool);
    }
    // SAFETY: `void mi_collect(bool force)` of the allocator that this program is linked with; it may be called at any time from any thread.
    unsafe { mi_collect(true) }
}

/// Gives back what work took once it has ended, for as long as this is polled: at once, and when threads that waited for more of it have ended too. `rest`
/// is called before.
pub(crate) async fn give_back_at_rest(rest: impl Fn()) -> Infallible {
    let (mut before, mut quiet) = (cpu_time(), 0_u32);
    loop {
        tokio::time::sleep(LOOK).await;
        let works = cpu_time().saturating_sub(before) > WORK;
        quiet = if works { 0 } else { quiet.saturating_add(1) };
        if quiet == 1 || quiet == THREADS_END {
            rest();
            give_back();
        }
        // What giving back takes is not work.
        before = cpu_time();
    }
}

/// CPU time of the process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
