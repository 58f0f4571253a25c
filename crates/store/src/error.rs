//! What can go wrong, for callers: opening, reading and writing fail in different ways and are told apart.

use crate::{
    block::BlockError,
    id::{BlockId, Table},
};
use std::io;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{place} is in use by another process; stop that one or use another data directory")]
    InUse {
        /// The location.
        place: String,
    },
    /// The operating system refuses access.
    #[error(
        "no permission to {action} in {place}; run jsfs as the owner of that directory or change its owner"
    )]
    Permission {
        /// What was tried.
        action: &'static str,
        /// The location.
        place: String,
    },
    /// A later version wrote it.
    #[error(
        "{place} has format {found}, written by {writer}; this program knows format {known}: upgrade jsfs to open it"
    )]
    Newer {
        /// The location.
        place: String,
        /// The format found.
        found: u32,
        /// The newest format that is known.
        known: u32,
        /// What wrote it.
        writer: String,
    },
    /// `store.json` cannot be used.
    #[error(
        "store.json in {place} is damaged ({what}); restore it from a backup or from a pack header, as docs/storage.md says"
    )]
    BadParameters {
        /// The location.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// Packs without `store.json`.
    #[error(
        "store.json is missing in {place}; put this line into it, as the pack headers have it: {restore}"
    )]
    MissingParameters {
        /// The location.
        place: String,
        /// What the file must say.
        restore: String,
    },
    /// A location that belongs elsewhere, or a number of locations that is not the store's.
    #[error(
        "{place} is not location {wanted} of this store: {found}; give all of the store's locations in their order"
    )]
    WrongLocation {
        /// The location.
        place: String,
        /// The number it should have.
        wanted: u32,
        /// What it is.
        found: String,
    },
    /// A disk that is not there.
    #[error(
        "location {number} of this store is missing in {place}: mount its disk and start again, or read what lies elsewhere with `jsfs serve --degraded`"
    )]
    MissingLocation {
        /// Its number; 0 is the data directory.
        number: usize,
        /// Where it should be.
        place: String,
    },
    /// A directory to which a location was to be moved.
    #[error(
        "{place} holds an unfinished move of {from}, which still counts: name {from} in the configuration"
    )]
    UnfinishedMove {
        /// The directory that was named.
        place: String,
        /// What was to be moved there.
        from: String,
    },
    /// More copies than there are locations to keep them in.
    #[error(
        "storage.copies is {copies}, but the store has {locations} locations; choose from 1 to {locations}, or add locations first"
    )]
    Copies {
        /// What was asked for.
        copies: usize,
        /// How many locations there are.
        locations: usize,
    },
    /// The index can neither be used nor be rebuilt.
    #[error(
        "cannot open or rebuild the index in {place}: {what}; make room on its disk, or remove the directory"
    )]
    Index {
        /// The directory of the index.
        place: String,
        /// What went wrong.
        what: String,
    },
    /// The disk says no.
    #[error("cannot {action} in {place}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The location.
        place: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(action: &'static str, place: &str, source: io::Error) -> Self {
        let place = place.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission { action, place },
            _ => Self::Io { action, place, source },
        }
    }
}

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such block.
    #[error("block {0} is not in this store")]
    NotFound(BlockId),
    /// Every copy of it is damaged.
    #[error("block {id} is damaged at {at}; run jsfs check and restore it from a backup or a peer")]
    Damaged {
        /// The block.
        id: BlockId,
        /// Where its bytes were read.
        at: String,
    },
    /// The index failed.
    #[error("cannot read the index: {0}; it is rebuilt at the next start")]
    Index(String),
    /// The disk says no.
    #[error("cannot read {at}: {source}")]
    Io {
        /// What was read.
        at: String,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Why blocks were not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// Not enough room, or below the floor of free space.
    #[error("no space left for new blocks; free some or lower storage.floor")]
    NoSpace,
    /// The store was opened with damage, or lost its disk.
    #[error("the store takes no writes: {0}")]
    ReadOnly(String),
    /// Beyond a limit of the format.
    #[error("{0} is larger than the store takes")]
    TooLarge(&'static str),
    /// Not what it claims to be.
    #[error("block {id} cannot be stored: {what}")]
    BadBlock {
        /// The block.
        id: BlockId,
        /// Why.
        what: BlockError,
    },
    /// Tags that do not fit the format.
    #[error("block {0} has more tags, or longer extras, than the format holds")]
    BadTags(BlockId),
    /// Writing failed; nothing of it remains.
    #[error("cannot write: {0}")]
    Io(String),
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a commit was refused. A refused commit leaves no trace.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// An entry was not as expected.
    #[error("an entry of table {} changed meanwhile; read it again and retry", table.0)]
    Conflict {
        /// Its table.
        table: Table,
        /// Its key.
        key: Vec<u8>,
        /// The sequence number that it has; 0 when it is absent.
        found: u64,
    },
    /// A counter would have passed its ceiling.
    #[error("a counter of table {} would pass its limit of {at_most}", table.0)]
    Exceeded {
        /// Its table.
        table: Table,
        /// Its key.
        key: Vec<u8>,
        /// What it holds.
        current: u64,
        /// What it may hold.
        at_most: u64,
    },
    /// An entry would refer to a block that is not there (any more).
    #[error("block {0} is not in this store; store it again and retry")]
    MissingBlock(BlockId),
    /// The commit makes no sense.
    #[error("malformed commit: {0}")]
    Invalid(&'static str),
    /// As for blocks alone.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl CommitError {
    /// Whether it was refused for lack of room.
    #[must_use]
    pub const fn is_no_space(&self) -> bool {
        matches!(self, Self::Write(WriteError::NoSpace))
    }
}
