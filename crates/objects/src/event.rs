//! The durable change log: one line for each accepted change of a namespace, in commit order, addressed by cursors.
//!
//! A line says what happened where; sizes, types and validators are read from the version itself when the line is delivered, with the
//! reader's own authority, so that the log holds nothing sealed.

use crate::{address::Address, error::StorageError};
use minicbor::{Decode, Encode};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum EventKind {
    /// An object came to be.
    #[n(0)]
    Created,
    /// An object got a new version or new properties.
    #[n(1)]
    Updated,
    /// An object was deleted.
    #[n(2)]
    Deleted,
    /// An object came from another address.
    #[n(3)]
    Moved,
    /// An owner or policy changed.
    #[n(4)]
    Access,
}

/// One line of the change log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Where.
    pub address: Address,
    /// Where it came from, for moves.
    pub from: Option<Address>,
    /// The version that came to be; 0 for a directory.
    pub version: u64,
    /// When, ms since 1970.
    pub time_ms: u64,
    /// Whether everyone may know of it: what came to be, or what was deleted, was public.
    pub public: bool,
    /// Whether what was there before was public: who can read it no more must hear that it went.
    pub was_public: bool,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Line {
    #[n(1)]
    kind: EventKind,
    #[n(2)]
    address: String,
    #[n(3)]
    from: Option<String>,
    #[n(4)]
    version: u64,
    #[n(5)]
    time_ms: u64,
    #[n(6)]
    public: bool,
    #[n(7)]
    #[cbor(default)]
    was_public: bool,
}

impl Event {
    /// Who may do what below a directory has changed.
    pub(crate) fn access(directory: &Address, time_ms: u64) -> Event {
        Event {
            kind: EventKind::Access,
            address: directory.clone(),
            from: None,
            version: 0,
            time_ms,
            public: false,
            was_public: false,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let line = Line {
            kind: self.kind,
            address: self.address.to_string(),
            from: self.from.as_ref().map(ToString::to_string),
            version: self.version,
            time_ms: self.time_ms,
            public: self.public,
            was_public: self.was_public,
        };
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail.
        let _ = minicbor::encode(&line, &mut bytes);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Event, StorageError> {
        let damaged =
            |what: String| StorageError::Write(format!("a line of the change log does not decode: {what}"));
        let line: Line = minicbor::decode(bytes).map_err(|error| damaged(error.to_string()))?;
        let address = |text: &str| Address::parse_exact(text).map_err(|error| damaged(error.to_string()));
        Ok(Event {
            kind: line.kind,
            address: address(&line.address)?,
            from: line.from.as_deref().map(address).transpose()?,
            version: line.version,
            time_ms: line.time_ms,
            public: line.public,
            was_public: line.was_public,
        })
    }
}
