//! What can go wrong in the object layer, narrowly: one enum per question that a caller asks.

use crate::address::Address;
use std::{sync::Arc, time::Duration};
use thiserror::Error;

/// A failure of the store underneath: damage, or the operating system's refusal.
#[derive(Clone, Debug, Error)]
pub enum StorageError {
    /// Reading failed.
    #[error("the store could not be read: {0}")]
    Read(Arc<jsfs_store::ReadError>),
    /// Writing failed.
    #[error("the store could not be written: {0}")]
    Write(String),
    /// Something kept in the store does not decode or does not verify.
    #[error("the record of {address} is damaged ({what}); run `jsfs check` on the stopped node")]
    Record {
        /// Whose record.
        address: Address,
        /// What is wrong with it.
        what: String,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

impl From<jsfs_store::ReadError> for StorageError {
    fn from(error: jsfs_store::ReadError) -> Self {
        StorageError::Read(Arc::new(error))
    }
}

/// What can be done about a record that its owner cannot open.
const UNREADABLE: &str = "does not open with this key, because it was sealed under another; replace it, delete it, or restore a version before it";

/// Why a request is refused before anything is touched.
#[derive(Clone, Debug, Error)]
pub enum Refusal {
    /// Nothing is there, or nothing that this caller may know of: one answer for both.
    #[error("nothing is there, or it is private and the request has no credential that opens it")]
    Hidden {
        /// What is wrong with the credential presented, if anything.
        note: Option<String>,
    },
    /// A change needs the owner's key or a token.
    #[error("this needs the access key that owns the address, or a token made with it")]
    Unauthenticated {
        /// What is wrong with the credential presented, if anything.
        note: Option<String>,
    },
    /// A good token that does not reach this far.
    #[error("the token is good for this address but does not allow this; it needs {needs}")]
    Forbidden {
        /// The method that is missing, or `an access key`.
        needs: &'static str,
    },
    /// The root key's holder named a namespace that is not on this node.
    #[error("there is no namespace {name} on this node; {}", next_step(.name, .meant.as_ref()))]
    NoNamespace {
        /// Its host name.
        name: String,
        /// The namespace that is on this node and has that name the other way round.
        meant: Option<Address>,
    },
    /// What is asked for would change something in a ROM, or run it.
    #[error(
        "this lies in a ROM, of which everything is read and nothing is changed, followed or run; `jsfs import` brings what is in it into a node"
    )]
    Mounted,
    /// Too many ask at once for what takes long.
    #[error("{what}")]
    Busy {
        /// What it is, and what to do.
        what: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// Too few other nodes answer for it to be sure what is there.
    #[error(
        "too few nodes of the federation answer to say what is there; try again, or look at `jsfs federation members`"
    )]
    Unsettled {
        /// When to try again.
        retry_after: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What to do about a namespace that is not there.
fn next_step(name: &str, meant: Option<&Address>) -> String {
    match meant {
        None => format!("`jsfs namespace add {name}` makes it"),
        Some(meant) => format!(
            "an address begins with the host name the other way round, so that of {} is {meant}",
            meant.to_url_host()
        ),
    }
}

impl Refusal {
    /// Whether it says nothing of the request or its credentials, but of the node.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Refusal::Busy { .. } | Refusal::Unsettled { .. } | Refusal::Storage(_))
    }
}

/// Why something could not be read.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// Nothing is there.
    #[error("there is nothing at {address}")]
    Absent {
        /// Where.
        address: Address,
    },
    /// It was there and every version was forgotten on request.
    #[error("{address} was purged")]
    Purged {
        /// Where.
        address: Address,
    },
    /// The object is there, that version is not.
    #[error(
        "{address} has no version {version}; `jsfs versions {address}`, or GET with ?versions, lists those that are kept"
    )]
    VersionAbsent {
        /// Where.
        address: Address,
        /// The version asked for.
        version: u64,
    },
    /// It is being sealed again under a new key.
    #[error("{address} is being sealed under its new key; try again shortly")]
    Resealing {
        /// Where.
        address: Address,
    },
    /// It was sealed under a key to which the owner's does not lead.
    #[error("{address} {what}", what = UNREADABLE)]
    Unreadable {
        /// Where.
        address: Address,
    },
    /// A cursor or limit that this node did not make.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
    },
    /// The caller's authority does not reach it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why something could not be changed. Nothing was.
#[derive(Clone, Debug, Error)]
pub enum WriteError {
    /// Nothing is there to change.
    #[error("there is nothing at {address}")]
    Absent {
        /// Where.
        address: Address,
    },
    /// It was purged; there is nothing left to change.
    #[error("{address} was purged")]
    Purged {
        /// Where.
        address: Address,
    },
    /// The version asked for is not kept.
    #[error(
        "{address} has no version {version}; `jsfs versions {address}`, or GET with ?versions, lists those that are kept"
    )]
    VersionAbsent {
        /// Where.
        address: Address,
        /// The version asked for.
        version: u64,
    },
    /// A condition of the request does not hold.
    #[error("{address} does not meet the request's condition (If-Match, If-None-Match or a date)")]
    Precondition {
        /// Where.
        address: Address,
    },
    /// Others changed it at the same time, again and again.
    #[error("{address} kept changing while this was being written; try again")]
    Conflict {
        /// Where.
        address: Address,
    },
    /// An object stands in the way of what was asked for.
    #[error("{address} is in the way: it {what}")]
    Blocked {
        /// Which object.
        address: Address,
        /// What it is or does, and what can be done about it.
        what: &'static str,
    },
    /// The quota of a directory above would be passed.
    #[error("the quota of {directory} ({limit} bytes, kept versions included) would be passed")]
    Quota {
        /// Whose quota.
        directory: Address,
        /// How many bytes it allows.
        limit: u64,
    },
    /// There is no unfinished upload of that id that the caller may go on with: absent, ended, expired and hidden are one answer.
    #[error(
        "there is no such upload, or it was given up, or it expired; begin it again with POST at the object's address"
    )]
    NoUpload,
    /// The upload stands elsewhere than the caller believes.
    #[error("the upload stands at {offset}; ask with HEAD and go on from there")]
    Offset {
        /// How many bytes of it are kept.
        offset: u64,
    },
    /// A namespace has as many unfinished uploads as it may.
    #[error(
        "the namespace has {limit} unfinished uploads, as many as it may; finish or delete some, or wait until they expire"
    )]
    TooManyUploads {
        /// How many it may have.
        limit: u64,
    },
    /// The disk is full but for its reserve.
    #[error("the node's disk is full; deleting or purging objects frees space")]
    NoSpace,
    /// More objects or bytes than one request may touch.
    #[error("{what}")]
    TooLarge {
        /// What is too large, and the limit.
        what: String,
    },
    /// The address names a directory where an object is needed.
    #[error("{address} ends in `/`, so it names a directory; an object needs a name")]
    IsDirectory {
        /// Where.
        address: Address,
    },
    /// A value that cannot be meant.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
    },
    /// The caller's authority does not reach it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store was opened read-only, or refuses writes after damage.
    #[error("the store takes no writes: {what}")]
    ReadOnly {
        /// Why.
        what: String,
    },
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<ReadError> for WriteError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Absent { address } => WriteError::Absent { address },
            ReadError::Purged { address } => WriteError::Purged { address },
            ReadError::VersionAbsent { address, version } => WriteError::VersionAbsent { address, version },
            ReadError::Resealing { address } => WriteError::Conflict { address },
            ReadError::Unreadable { address } => WriteError::Blocked { address, what: UNREADABLE },
            ReadError::Invalid { what } => WriteError::Invalid { what },
            // What a read hides a change asks a credential for.
            ReadError::Refused(Refusal::Hidden { note }) => Refusal::Unauthenticated { note }.into(),
            ReadError::Refused(refusal) => WriteError::Refused(refusal),
            ReadError::Storage(error) => WriteError::Storage(error),
        }
    }
}

impl WriteError {
    /// The same for something that a change only reads: what is hidden stays hidden.
    pub(crate) fn of_source(error: ReadError) -> Self {
        match error {
            ReadError::Refused(refusal) => refusal.into(),
            error => error.into(),
        }
    }
}

impl From<jsfs_store::ReadError> for ReadError {
    fn from(error: jsfs_store::ReadError) -> Self {
        ReadError::Storage(error.into())
    }
}

impl From<jsfs_store::ReadError> for WriteError {
    fn from(error: jsfs_store::ReadError) -> Self {
        WriteError::Storage(error.into())
    }
}

impl From<jsfs_store::ReadError> for Refusal {
    fn from(error: jsfs_store::ReadError) -> Self {
        Refusal::Storage(error.into())
    }
}
