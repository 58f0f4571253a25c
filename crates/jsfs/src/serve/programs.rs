//! Settings of programs, from those of the node.

use crate::config::Settings;
use jsfs_exec::{Bounds, Command};

/// The time of loading a program, at least: more than of a request, because it happens once for each version.
const LOAD_WALL_MS_MIN: u64 = 30_000;
/// The same as so many times its CPU time: several are loaded at once, and imports are read meanwhile.
const LOAD_WALL: u64 = 3;

/// Time in all of one run of `map` or `reduce`, as so many times its CPU time: several run at once, and wait for the disk.
const PART_WALL: u64 = 20;
/// The most memory of a process: what one checkpoint holds.
const PROCESS_MEMORY_MAX: u64 = 80 << 20;
/// A process has no bound of time: as long as a token can be good, in ms.
const PROCESS_WALL_MS: u64 = 10 * 365 * 86_400_000;

/// Programs as this node runs them: the worker is this very program.
pub(crate) fn settings(settings: &Settings) -> anyhow::Result<jsfs_exec::Settings> {
    let programs = &settings.programs;
    let request = Bounds {
        cpu_ms: programs.cpu_ms,
        wall_ms: programs.wall_ms,
        memory_bytes: programs.memory,
        output_bytes: programs.output,
        requests: programs.requests,
        log_bytes: programs.log,
    };
    let prepare = Bounds {
        cpu_ms: programs.load_cpu_ms,
        wall_ms: request.wall_ms.max(LOAD_WALL_MS_MIN).max(programs.load_cpu_ms.saturating_mul(LOAD_WALL)),
        ..request
    };
    let part = Bounds {
        cpu_ms: programs.part_cpu_ms,
        wall_ms: request.wall_ms.max(programs.part_cpu_ms.saturating_mul(PART_WALL)),
        ..request
    };
    let process = Bounds {
        cpu_ms: programs.process_cpu_ms,
        wall_ms: PROCESS_WALL_MS,
        memory_bytes: programs.memory.min(PROCESS_MEMORY_MAX),
        // What it writes is bounded by what is kept of it, and so is its log.
        output_bytes: u64::MAX,
        requests: u32::MAX,
        log_bytes: u64::MAX,
    };
    Ok(jsfs_exec::Settings {
        command: Command { program: std::env::current_exe()?, arguments: vec!["worker".into()] },
        runs_max: programs.runs,
        sockets_max: programs.sockets,
        request,
        part,
        prepare,
        processes_max: programs.processes,
        processes_each_max: programs.processes_each,
        process_crashes: programs.process_crashes,
        process,
        process_output: programs.process_output,
        checkpoint_every: programs.checkpoint,
        outside: programs.outside,
        private_hosts: programs.private_hosts.clone(),
    })
}
