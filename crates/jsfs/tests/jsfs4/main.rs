//! Coming from JSFS 4: old pools are imported, old clients are answered. `JSFS_JSFS4_OBJECTS` sets the size of the generated pool.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod compat;
mod differences;
mod import;
mod pool;
mod replay;
mod support;
