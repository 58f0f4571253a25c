//! From what the object layer says to what the client hears: the table of statuses for its errors.
//!
//! Invariant: what a caller may not know of reads exactly like what is not there.

use jsfs_objects::{ReadError, Refusal, StorageError, WriteError};

use crate::problem::{Kind, Problem};

/// After how many seconds something that passes by itself is worth another try.
const SHORTLY_S: u64 = 1;

/// After how many seconds a store that takes no writes may take them again.
const LATER_S: u64 = 30;

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Stopping => Self::unavailable("the node is stopping; try again shortly", SHORTLY_S),
            other => Self::internal(&other),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        let noted = |note: Option<String>| match note {
            Some(note) => format!("{text}; {note}"),
            None => text.clone(),
        };
        match refusal {
            Refusal::Hidden { note } => Self::new(Kind::NotFound, noted(note)),
            Refusal::Unauthenticated { note } => Self::new(Kind::Unauthorized, noted(note)),
            Refusal::Forbidden { .. } | Refusal::Mounted => Self::new(Kind::Forbidden, text),
            Refusal::NoNamespace { .. } => Self::new(Kind::NotFound, text),
            Refusal::Busy { retry_after, .. } | Refusal::Unsettled { retry_after } => {
                Self::unavailable(text, retry_after.as_secs())
            }
            Refusal::Storage(error) => error.into(),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let text = error.to_string();
        match error {
            ReadError::Absent { .. } | ReadError::VersionAbsent { .. } => Self::new(Kind::NotFound, text),
            ReadError::Purged { .. } => Self::new(Kind::Gone, text),
            ReadError::Resealing { .. } => Self::unavailable(text, SHORTLY_S),
            ReadError::Unreadable { .. } => Self::new(Kind::Conflict, text),
            ReadError::Invalid { .. } => Self::malformed(text),
            ReadError::Refused(refusal) => refusal.into(),
            ReadError::Storage(error) => error.into(),
        }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        let text = error.to_string();
        match error {
            WriteError::Absent { .. } | WriteError::VersionAbsent { .. } => Self::new(Kind::NotFound, text),
            WriteError::Purged { .. } => Self::new(Kind::Gone, text),
            WriteError::Precondition { .. } => Self::new(Kind::PreconditionFailed, text),
            WriteError::Conflict { .. } | WriteError::Blocked { .. } => Self::new(Kind::Conflict, text),
            WriteError::NoUpload => Self::new(Kind::NotFound, text),
            WriteError::Offset { .. } => Self::new(Kind::Conflict, text),
            WriteError::TooManyUploads { .. } => Self::too_many_requests(text, LATER_S),
            WriteError::Quota { .. } | WriteError::NoSpace => Self::new(Kind::InsufficientStorage, text),
            WriteError::TooLarge { .. } => Self::new(Kind::TooLarge, text),
            WriteError::IsDirectory { .. } | WriteError::Invalid { .. } => Self::malformed(text),
            WriteError::Refused(refusal) => refusal.into(),
            WriteError::ReadOnly { .. } => Self::unavailable(text, LATER_S),
            WriteError::Storage(error) => error.into(),
        }
    }
}
