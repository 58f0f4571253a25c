//! `jsfs completions` and `jsfs manual`: what shells and `man` know of the commands, made of the same table as `--help`.

use crate::cli::Cli;
use crate::exit::Exit;
use crate::output::Output;
use anyhow::Context;
use clap::CommandFactory;
use std::path::Path;

/// Prints a script for a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "jsfs", &mut script);
    crate::output::write_bytes(&script)?;
    Ok(Exit::Done)
}

/// Writes `jsfs.1`, `jsfs-put.1` and so on into a directory.
pub(crate) fn manual(directory: &Path, output: Output) -> anyhow::Result<Exit> {
    let failed = || format!("cannot write manual pages into {}", directory.display());
    std::fs::create_dir_all(directory).with_context(failed)?;
    clap_mangen::generate_to(Cli::command(), directory).with_context(failed)?;
    output.done(&format!("manual pages are in {}", directory.display()))?;
    Ok(Exit::Done)
}
