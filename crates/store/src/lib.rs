//! Bytes at rest: chunks, blocks, packs (the log), derived index, collection and check. No names, keys or sockets.

mod id;

pub use id::{BlockId, Table, Tag};
