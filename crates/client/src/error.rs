//! What can go wrong between this program and a node, with the node's own words where it gave any.

use crate::address::AddressError;
use crate::key::KeyError;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// An RFC 9457 problem detail, as the node sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// URI of the kind of problem; `about:blank` where the status says it all.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// The kind of problem in words.
    #[serde(default)]
    pub title: String,
    /// HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What is wrong with this request and what to do.
    #[serde(default)]
    pub detail: String,
    /// Where in a text the fault is, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column in that line, from 1; in a WebAssembly module the byte, with line 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection to the node.
    #[error("cannot reach the node at {node}: {reason}")]
    Unreachable {
        /// Its URL.
        node: String,
        /// What the system said.
        reason: String,
    },
    /// Neither bytes nor an answer for a long time.
    #[error("the node at {node} did not answer for {} s while working on {subject}; try again", .after.as_secs())]
    Stalled {
        /// Its URL.
        node: String,
        /// The address concerned.
        subject: String,
        /// How long this program waited.
        after: Duration,
    },
    /// The connection broke in the middle; whether a write was done is not known.
    #[error("the connection to {node} broke while working on {subject}: {reason}; try again")]
    Broken {
        /// Its URL.
        node: String,
        /// The address concerned.
        subject: String,
        /// What the system said.
        reason: String,
    },
    /// The node answered with an error.
    #[error("{}", refused(.subject, .problem))]
    Refused {
        /// The address concerned.
        subject: String,
        /// What the node said.
        problem: Problem,
        /// Whether the request carried a key or token.
        credential: bool,
    },
    /// The answer is not what the interface promises.
    #[error("{subject}: the node's answer makes no sense: {reason}; is {node} a JSFS node of this version?")]
    Unexpected {
        /// Its URL.
        node: String,
        /// The address concerned.
        subject: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The bytes received are not those that were promised.
    #[error("{subject}: {reason}; nothing was kept of it, try again")]
    Damaged {
        /// The address concerned.
        subject: String,
        /// What differs.
        reason: String,
    },
    /// A local file could not be read, or changed while it was being sent.
    #[error("cannot read {}: {reason}", .path.display())]
    Source {
        /// The file, `-` for standard input.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// An address that cannot be.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A credential that cannot be.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Error {
    /// The HTTP status, where the node answered with an error.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Refused { problem, .. } => Some(problem.status),
            _ => None,
        }
    }
}

/// What was refused, named once: most details name it themselves.
fn refused(subject: &str, problem: &Problem) -> String {
    let words = describe(problem);
    if problem.detail.contains(subject) { words } else { format!("{subject}: {words}") }
}

/// The problem's detail, or what is known where the node gave none.
fn describe(problem: &Problem) -> String {
    let words = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
    match words.is_empty() {
        true => format!("the node answered with status {}", problem.status),
        false => format!("{words} (status {})", problem.status),
    }
}
