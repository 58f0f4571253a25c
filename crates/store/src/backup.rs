//! Backups: the state of a store as of one commit, sent by a [`Snapshot`](crate::Snapshot), kept in an [`Archive`] and made a store again by [`restore`].
//!
//! `docs/storage.md` has every byte. A backup is a list of chunks of entries, cut where the entries' keys say so, and of immutable segments with those
//! chunks and with blocks. What is new since an earlier backup follows from sequence numbers alone: chunks that did not change have the same id, and the
//! index says of each block since when it has been live. Compaction changes neither.

mod archive;
mod ask;
pub mod depot;
mod item;
mod manifest;
mod restore;
mod verify;

pub use archive::{Archive, Writer, Written};
pub use ask::{ASK_MAX, Ask};
pub use item::{BadItem, Decoder, Item, Kind, Row, decode_rows, read_all};
pub use manifest::{About, Head, Manifest};
pub use restore::{Restored, UNFINISHED, restore};

pub(crate) use item::{decode_block, encode_block, encode_rows, push_row};
pub(crate) use manifest::{FORMAT, HeadTip};
pub(crate) use restore::Restoring;

use crate::error::OpenError;
use std::io;

/// Why a backup cannot be made, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The disk says no.
    #[error("cannot read or write {place}: {source}")]
    Io {
        /// What.
        place: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Not what was written.
    #[error("{place} is damaged: {what}")]
    Damaged {
        /// What.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// Something else is there.
    #[error("{place} holds {name} and no backup; choose an empty or a new place")]
    Foreign {
        /// The destination.
        place: String,
        /// What is in it.
        name: String,
    },
    /// One store for each destination.
    #[error("{place} holds backups of another store ({store}…); choose another place")]
    OtherStore {
        /// The destination.
        place: String,
        /// The store whose backups are there.
        store: String,
    },
    /// The node sent something that is no backup.
    #[error("the node sent no usable backup: {0}")]
    Sent(String),
    /// There is no such backup.
    #[error("there is no backup {wanted}; there are {there}")]
    NoSuch {
        /// Which was asked for.
        wanted: String,
        /// Which there are.
        there: String,
    },
    /// The directory is not empty.
    #[error("{0} is not empty; name a new or an empty directory")]
    NotEmpty(String),
    /// The store cannot be made.
    #[error(transparent)]
    Store(#[from] OpenError),
}

impl BackupError {
    pub(crate) fn io(place: &str, source: io::Error) -> Self {
        Self::Io { place: place.to_owned(), source }
    }
}
