//! One module per group of commands.

pub(crate) mod backup;
pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod dev;
mod federation;
mod gc;
mod get;
mod import;
pub(crate) mod key;
mod list;
mod location;
mod namespace;
mod objects;
mod open;
mod process;
mod program;
mod put;
pub(crate) mod restore;
mod rom;
mod share;
pub(crate) mod shell;
mod stats;
mod sync;
mod tree;
mod versions;
mod watch;

use crate::cli::{Command, Key};
use crate::exit::Usage;
use crate::session::Session;

/// Runs a command that speaks to a node.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Put(arguments) => put::run(session, &arguments).await,
        Command::Get(arguments) => get::get(session, &arguments).await,
        Command::Cat(arguments) => get::cat(session, &arguments).await,
        Command::Ls(arguments) => list::ls(session, &arguments).await,
        Command::Stat(arguments) => list::stat(session, &arguments).await,
        Command::Rm(arguments) => objects::remove(session, &arguments, false).await,
        Command::Purge(arguments) => objects::remove(session, &arguments, true).await,
        Command::Mv(arguments) => objects::relocate(session, &arguments, true).await,
        Command::Cp(arguments) => objects::relocate(session, &arguments, false).await,
        Command::Versions(arguments) => versions::list(session, &arguments).await,
        Command::RestoreVersion(arguments) => versions::restore(session, &arguments).await,
        Command::ImportJsfs4(arguments) => import::run(session, &arguments).await,
        Command::Sync(arguments) => sync::run(session, &arguments).await,
        Command::Watch(arguments) => watch::run(session, &arguments).await,
        Command::Run(arguments) => program::run(session, &arguments).await,
        Command::Logs(arguments) => program::logs(session, &arguments).await,
        Command::Ps(arguments) => process::list(session, arguments.all).await,
        Command::Attach(arguments) => process::attach(session, &arguments).await,
        Command::Stop(arguments) => process::stop(session, &arguments).await,
        Command::Checkpoint(arguments) => process::checkpoint(session, &arguments).await,
        Command::Open(arguments) => open::open(session, &arguments).await,
        Command::Share(arguments) => share::share(session, &arguments).await,
        Command::Revoke(arguments) => share::revoke(session, &arguments).await,
        Command::Key(Key::Show { namespace }) => key::show(session, &namespace),
        Command::Key(Key::Export { output }) => key::export(session, output.as_deref()),
        Command::Key(Key::Replace { address, to_file, output }) => {
            key::replace(session, &address, to_file.as_deref(), output.as_deref()).await
        }
        Command::Backup(arguments) => backup::run(session, &arguments).await,
        Command::Gc(arguments) => gc::run(session, &arguments).await,
        Command::Export(arguments) => rom::export(session, &arguments).await,
        Command::Import(arguments) => rom::import(session, &arguments).await,
        Command::Stats => stats::run(session).await,
        Command::Federation(command) => federation::run(session, &command).await,
        Command::Join(arguments) => federation::join(session, &arguments).await,
        Command::MoveLocation(arguments) => location::relocate(session, &arguments).await,
        Command::Namespace(command) => namespace::run(session, &command).await,
        Command::Serve(_)
        | Command::Worker
        | Command::Config(_)
        | Command::Check(_)
        | Command::Restore(_)
        | Command::Completions { .. }
        | Command::Manual { .. }
        | Command::New(_)
        | Command::Dev(_)
        | Command::Key(Key::New { .. }) => Err(Usage("this command does not speak to a node".into()).into()),
    }
}
