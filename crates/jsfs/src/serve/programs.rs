//! Settings of programs, from those of the node.

use crate::config::Settings;
use jsfs_exec::{Bounds, Command};

/// Programs as this node runs them: the worker is this very program.
pub(crate) fn settings(_settings: &Settings) -> anyhow::Result<jsfs_exec::Settings> {
    let program = std::env::current_exe()?;
    let request = Bounds {
        cpu_ms: 1_000,
        wall_ms: 30_000,
        memory_bytes: 64 << 20,
        output_bytes: 64 << 20,
        requests: 50,
        log_bytes: 64 << 10,
    };
    let prepare = Bounds { cpu_ms: 10_000, wall_ms: 30_000, ..request };
    Ok(jsfs_exec::Settings {
        command: Command { program, arguments: vec!["worker".into()] },
        runs_max: 64,
        request,
        prepare,
    })
}
