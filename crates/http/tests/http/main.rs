//! The front door over real sockets, with the real object layer below it.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod asyncapi;
mod browsers;
mod directories;
mod floods;
mod holes;
mod interface;
mod limits;
mod live;
mod maintenance;
mod metrics;
mod node;
mod openapi;
mod opening;
mod outsiders;
mod problems;
mod raw;
mod reading;
mod schema;
mod socket;
mod sse;
mod stranger;
mod tls;
mod uploads;
mod verbs;
