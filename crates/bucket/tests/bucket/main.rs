//! A store over a bucket: in memory, where each request can fail, and on a real server behind a network that fails.
#![allow(clippy::unwrap_used, reason = "a test program throughout")]

mod depot;
mod memory;
mod s3;
mod support;
