//! The promises of the store, tried on real parts.

#![allow(clippy::unwrap_used, missing_docs)]

mod basics;
mod support;
