//! What can go wrong between nodes, worded for whoever asked this one.

use crate::driver::TransportError;
use crate::frames::StreamError;
use crate::streams::OpenError;
use jsfs_federation::membership::{MembershipError, TicketError};
use jsfs_federation::wire::ErrorCode;
use jsfs_objects::FormatError;
use std::io;
use thiserror::Error;

/// Why something with other nodes did not work.
#[derive(Debug, Error)]
pub enum PeerError {
    /// Needs a federation.
    #[error(
        "this node is in no federation; found one with `jsfs federation create NAME`, or join one with `jsfs join TICKET`"
    )]
    Alone,
    /// Is in one already.
    #[error("this node is in the federation {name}; leave it first with `jsfs federation leave`")]
    Together {
        /// What it is called.
        name: String,
    },
    /// May not.
    #[error("this node is no admin of the federation; ask one that is")]
    NoAdmin,
    /// Nobody could use the ticket.
    #[error(
        "this node does not listen for others; start it with --set federation.listen=/ip4/ADDRESS/tcp/PORT"
    )]
    NotListening,
    /// The founder stays.
    #[error(
        "this node holds the key of the federation, and there are other members; revoke them first, or nobody could be invited any more"
    )]
    Founder,
    /// Of whom nothing is known.
    #[error("there is no member {peer}; `jsfs federation members` lists them")]
    NoMember {
        /// What was asked for.
        peer: String,
    },
    /// Not among the members, by what they showed.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// Not a ticket.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// Something that the formats do not permit.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Does not answer.
    #[error("the peer cannot be reached: {why}")]
    Unreachable {
        /// What was tried.
        why: String,
    },
    /// Answered with a refusal.
    #[error("the peer refused: {}", told(*code))]
    Refused {
        /// Its reason.
        code: ErrorCode,
    },
    /// Answered with what makes no sense.
    #[error("the peer answered with what the protocol does not permit: {what}")]
    Protocol {
        /// What.
        what: String,
    },
    /// The connection broke.
    #[error("{0}")]
    Broken(String),
    /// The file that keeps the federation.
    #[error("what is known of the federation cannot be kept in {path}: {error}")]
    Keep {
        /// Where.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The file that keeps the federation is damaged.
    #[error("{path} is damaged: {what}; restore it, or remove it and join again")]
    Damaged {
        /// Which.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The transport.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
}

/// A code in words.
fn told(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Unknown => "it does not know this kind of request",
        ErrorCode::Malformed => "it found the message malformed",
        ErrorCode::NotMember => {
            "it does not let this node in; the ticket or certificate has expired, was used by another or was taken back"
        }
        ErrorCode::Role => "it does not have the role that the request needs",
        ErrorCode::Busy => "it is busy; try again later",
        ErrorCode::Full => "it has no room",
        ErrorCode::Signature => "a signature is not good",
        ErrorCode::Misfiled => "a record is filed wrongly",
        ErrorCode::Ahead => "a time is ahead of its clock; are the clocks right?",
        ErrorCode::Damaged => "the bytes do not have the hash that they are named by",
        ErrorCode::Absent => "it does not have it",
        ErrorCode::Conflict => "what it has is not what the condition said",
    }
}

impl From<OpenError> for PeerError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Refused => Self::Refused { code: ErrorCode::NotMember },
            OpenError::Busy => Self::Refused { code: ErrorCode::Busy },
            error => Self::Unreachable { why: error.to_string() },
        }
    }
}

impl From<StreamError> for PeerError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Frame(error) => Self::Protocol { what: error.to_string() },
            error => Self::Broken(error.to_string()),
        }
    }
}
