//! The promises of the frozen formats (`docs/formats.md`), one module for each source file, hostile input included.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod address;
mod cbor;
mod envelope;
mod key;
mod manifest;
mod read_key;
mod record;
mod samples;
mod seal;
mod token;
