//! The promises of the store, tried on real parts.

#![allow(clippy::unwrap_used, missing_docs)]

mod backends;
mod backup;
mod backup_disks;
mod basics;
mod compaction;
mod copies;
mod damage;
mod deltas;
mod disks;
mod driver;
mod faults;
mod health;
mod maintenance;
mod model;
mod rom;
mod support;
mod weighing;
