//! Processes on a real node: they go on by themselves, outlive workers and nodes, change everything once, and are there for nobody else.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program throughout")]

mod again;
mod authority;
mod kills;
mod life;
mod socket;
mod support;
