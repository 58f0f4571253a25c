//! The promises of the store, tried on real parts.

#![allow(clippy::unwrap_used, missing_docs)]

mod backends;
mod basics;
mod driver;
mod model;
mod support;
