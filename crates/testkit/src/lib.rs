//! Development only: a real node to start, kill and talk to, and the randomness that such tests use.
//!
//! Everything here uses real parts: the real binary, real files, real sockets. Nothing of this crate is linked into what
//! users run.

pub mod cargo;
pub mod http;
pub mod node;
pub mod random;
