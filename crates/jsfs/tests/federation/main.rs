//! A federation of real nodes over loopback, by the command line and HTTP. `JSFS_FEDERATION_NODES` sets how many nodes join (default 5).

#![allow(clippy::unwrap_used, missing_docs)]

mod acknowledged;
mod blocks;
mod cache;
mod foreign;
mod membership;
mod network;
mod privacy;
mod records;
mod support;
mod watching;
