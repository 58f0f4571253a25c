//! The system calls that the worker may make.
//!
//! What is not listed fails with EPERM rather than ending the process: libraries try calls that they can do without (how many processors a control
//! group has, where memory lies), and a worker that dies takes the runs of others along. What nobody tries by mistake, such as starting a
//! program or inspecting another process, ends it at once: then it is no longer ours. `clone3` hides its flags in memory, where a
//! filter cannot look, so it "does not exist" and the C library uses `clone`, whose flags are checked.

use libc::c_long;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// Calls allowed with whatever arguments: they reach nothing but the process's own memory, threads, clocks and open descriptors.
const ALLOWED: &[c_long] = &[
    // The socket, the images of modules, standard error.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_shutdown,
    libc::SYS_ppoll,
    // Memory, which the engine maps, protects and resets for every run. Code is compiled here, so pages may become executable.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
    // Threads.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Traps of WebAssembly come as signals of the process to itself.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
];

/// Calls that only somebody makes who has taken the process over.
const FATAL: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_bpf,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_mount,
    libc::SYS_pivot_root,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
];

/// Flags of a thread, as opposed to a process.
const THREAD: u64 = (libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND).unsigned_abs() as u64;
/// Flags that would put a new thread into namespaces of its own.
const NAMESPACES: u64 = 0x7e02_0080;
/// `PAGEMAP_SCAN`: which pages a run wrote to.
const PAGEMAP_SCAN: u64 = 0xc060_6610;
/// `PR_SET_NAME` and `PR_SET_VMA`: names of threads and of memory, for whoever looks from outside.
const NAMES: [u64; 2] = [15, 0x5356_4d41];
/// What may be asked of a descriptor. Not its owner (`F_SETOWN`), to whom the kernel would send signals in our name.
const DESCRIPTOR_COMMANDS: [i32; 7] = [
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_ADD_SEALS,
    libc::F_GET_SEALS,
];

/// From now on, for every thread: these calls and no others. `nice` are the priorities that a thread may take.
pub(super) fn restrict(nice: [i32; 2]) -> Result<(), Error> {
    // The kernel asks all filters and takes the strictest answer. The list comes last, because it does not allow to add another.
    for filter in [fatal()?, no_clone3()?, allow_list(nice)?] {
        seccompiler::apply_filter_all_threads(&filter)?;
    }
    Ok(())
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    other: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, Error> {
    let machine = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, other, listed, machine)?.try_into()?)
}

fn allow_list(nice: [i32; 2]) -> Result<BpfProgram, Error> {
    use SeccompCmpOp::{Eq, MaskedEq};
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    let mut when = |call: c_long, alternatives: Vec<SeccompRule>| drop(rules.insert(call, alternatives));
    let thread = [condition(0, MaskedEq(THREAD), THREAD)?, condition(0, MaskedEq(NAMESPACES), 0)?];
    when(libc::SYS_clone, vec![SeccompRule::new(thread.into())?]);
    // Decided by the filter for it.
    when(libc::SYS_clone3, Vec::new());
    when(libc::SYS_ioctl, vec![rule(1, Eq, PAGEMAP_SCAN)?]);
    when(libc::SYS_prctl, NAMES.iter().map(|name| rule(0, Eq, *name)).collect::<Result<_, _>>()?);
    let commands = DESCRIPTOR_COMMANDS.iter().map(|command| rule(1, Eq, u64::from(command.unsigned_abs())));
    when(libc::SYS_fcntl, commands.collect::<Result<_, _>>()?);
    // A socket that is connected needs no address, and another may not be given. No message may carry descriptors: `sendmsg` is not here.
    when(libc::SYS_sendto, vec![whole_rule(4, 0)?]);
    when(libc::SYS_recvfrom, vec![whole_rule(4, 0)?]);
    // How politely the calling thread asks for the processor: down, and never up.
    let itself =
        || Ok::<_, Error>(vec![condition(0, Eq, u64::from(libc::PRIO_PROCESS))?, condition(1, Eq, 0)?]);
    when(libc::SYS_getpriority, vec![SeccompRule::new(itself()?)?]);
    let lower = nice.map(|nice| {
        let lower = condition(2, Eq, u64::from(nice.cast_unsigned()))?;
        Ok(SeccompRule::new([itself()?, vec![lower]].concat())?)
    });
    when(libc::SYS_setpriority, lower.into_iter().collect::<Result<_, Error>>()?);
    // That it gets what nobody else wants, which is further down. There is no way back: that would be another policy.
    let idle = [condition(0, Eq, 0)?, condition(1, Eq, u64::from(libc::SCHED_IDLE.unsigned_abs()))?];
    when(libc::SYS_sched_setscheduler, vec![SeccompRule::new(idle.into())?]);
    // Limits of this process only, which go down and never up.
    when(libc::SYS_prlimit64, vec![rule(0, Eq, 0)?]);
    // `abort` signals the process itself.
    when(libc::SYS_tgkill, vec![rule(0, Eq, u64::from(std::process::id()))?]);
    compile(rules, errno(libc::EPERM), SeccompAction::Allow)
}

fn no_clone3() -> Result<BpfProgram, Error> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    compile(rules, SeccompAction::Allow, errno(libc::ENOSYS))
}

fn fatal() -> Result<BpfProgram, Error> {
    let rules = FATAL.iter().map(|call| (*call, Vec::new())).collect();
    compile(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}

fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

/// A condition on the lower half of an argument, which is all of it where the kernel takes an `int`.
fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, Error> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?)
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    Ok(SeccompRule::new(vec![condition(argument, operator, value)?])?)
}

/// A rule on the whole of an argument, for addresses.
fn whole_rule(argument: u8, value: u64) -> Result<SeccompRule, Error> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}
