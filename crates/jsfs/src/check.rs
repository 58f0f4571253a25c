//! `jsfs check`.
use crate::cli::{Check, Connection};
use crate::exit::{CouldNotRun, Exit};
use crate::output::Output;

pub(crate) fn run(_connection: &Connection, _arguments: &Check, _output: Output) -> anyhow::Result<Exit> {
    Err(CouldNotRun("the store is not part of this build yet".into()).into())
}
