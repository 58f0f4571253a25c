//! Development only: a real node to start, kill and talk to, the randomness that such tests use, and virtual time and network for simulations.
//!
//! A node is a real one: the real binary, real files, real sockets. Nothing of this crate is linked into what
//! users run.

pub mod cargo;
pub mod http;
pub mod network;
pub mod node;
pub mod proxy;
pub mod random;
pub mod s3;
pub mod simulation;
