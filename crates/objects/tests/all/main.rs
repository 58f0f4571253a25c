//! What the object layer promises, against a real store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod bytes;
mod deltas;
mod derived;
mod drop_box;
mod elsewhere;
mod feed;
mod handover;
mod listing;
mod model;
mod parts;
mod remembered;
mod retention;
mod rom;
mod scrub;
mod timing;
mod tree;
mod unfinished;
mod unreadable;
mod versions;
mod world;
