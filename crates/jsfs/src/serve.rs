//! `jsfs serve`.
use crate::cli::{Connection, Serve};
use crate::exit::{CouldNotRun, Exit};
use crate::output::Output;

pub(crate) async fn run(
    _connection: &Connection,
    _arguments: &Serve,
    _output: Output,
) -> anyhow::Result<Exit> {
    Err(CouldNotRun("the server is not part of this build yet".into()).into())
}
