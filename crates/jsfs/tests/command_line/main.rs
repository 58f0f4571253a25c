//! The command line end to end: the real program against a real node, as a user or a script would run it.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod hostile;
mod keys;
mod live;
mod objects;
mod processes;
mod programs;
mod serve;
mod share;
mod support;
mod sync;
mod texts;
