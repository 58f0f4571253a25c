//! The binary: command line, configuration, wiring and shutdown.
//!
//! Invariants: `serve`, `check`, `config`, `backup` and `restore` link the server's crates (the latter two know what a backup is); every other command speaks HTTP
//! through `jsfs-client` only. A command
//! that is interrupted drops its work: uploads that were cut off store nothing, files that were not complete are not there.

mod allocator;
mod check;
mod cli;
mod commands;
mod config;
mod exit;
mod locations;
mod maintenance;
mod memory;
mod output;
mod progress;
mod serve;
mod session;

use clap::Parser;
use cli::{Cli, Command};
use exit::Exit;
use output::Output;
use session::Session;
use std::process::ExitCode;

/// Status of a program that was interrupted, by convention.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    allocator::use_small_pages();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let output = Output { json: cli.printing.json, quiet: cli.printing.quiet };
    if let Some(Command::Worker) = cli.command {
        return match jsfs_worker::run(allocator::give_back) {
            Ok(()) => Exit::Done.into(),
            Err(error) => {
                output.warn(&format!("the worker of programs ends: {error}"));
                Exit::Failed.into()
            }
        };
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output.warn(&format!("cannot start: {error}"));
            return Exit::CouldNotRun.into();
        }
    };
    let code = runtime.block_on(run(cli, output));
    // Reads of standard input cannot be cancelled; do not wait for them.
    runtime.shutdown_background();
    code
}

/// A command line that cannot be meant, help or version. Errors are JSON where that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && json {
        let message = error.render().to_string();
        let message = message.trim_start_matches("error: ").trim_end().to_owned();
        let report = output::Report { message, hint: None, status: None, exit: Exit::CouldNotRun as u8 };
        Output { json, quiet: false }.error(&report);
    } else if error.print().is_err() {
        return Exit::Failed.into();
    }
    if error.use_stderr() { Exit::CouldNotRun.into() } else { Exit::Done.into() }
}

async fn run(cli: Cli, output: Output) -> ExitCode {
    let Cli { connection, command, .. } = cli;
    let command = match command.unwrap_or_else(|| Command::Serve(cli::Serve::default())) {
        Command::Serve(arguments) => {
            return finish(serve::run(&connection, &arguments, output).await, output);
        }
        Command::Config(command) => {
            return finish(commands::config::run(&connection, &command, output), output);
        }
        Command::Backup(arguments) if arguments.verify || arguments.list => {
            return finish(commands::backup::look(&arguments, output), output);
        }
        Command::Restore(arguments) => {
            return finish(commands::restore::run(&connection, &arguments, output), output);
        }
        Command::Check(arguments) => {
            return finish(check::run(&connection, &arguments, output).await, output);
        }
        Command::Completions { shell } => return finish(commands::shell::completions(shell), output),
        Command::Manual { directory } => return finish(commands::shell::manual(&directory, output), output),
        Command::Key(cli::Key::New { output: file }) => {
            return finish(commands::key::new(file.as_deref(), output), output);
        }
        Command::New(arguments) => return finish(commands::create::run(&arguments, output), output),
        Command::Dev(arguments) => return finish(commands::dev::run(&arguments, output).await, output),
        command => command,
    };
    let session = match Session::find(&connection, output) {
        Ok(session) => session,
        Err(error) => return finish(Err(error), output),
    };
    tokio::select! {
        result = commands::run(&session, command) => {
            let result = result.and_then(|()| Ok(output::flush()?));
            match result {
                Ok(()) => Exit::Done.into(),
                Err(error) if output::is_closed_pipe(&error) => Exit::Done.into(),
                Err(error) => {
                    output.error(&session.report(&error));
                    exit::code(&error).into()
                }
            }
        }
        _ = tokio::signal::ctrl_c() => ExitCode::from(INTERRUPTED),
    }
}

/// The end of a command that does not speak to a node.
fn finish(result: anyhow::Result<Exit>, output: Output) -> ExitCode {
    match result.and_then(|exit| Ok((exit, output::flush()?))) {
        Ok((exit, ())) => exit.into(),
        Err(error) if output::is_closed_pipe(&error) => Exit::Done.into(),
        Err(error) => {
            output.error(&session::plain_report(&error));
            exit::code(&error).into()
        }
    }
}
