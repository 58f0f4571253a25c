//! Who belongs to the federation: certificates, revocations, tickets and the rules that tell members from strangers.
//!
//! A federation is its **authority**, an Ed25519 key. A member holds a certificate for its own key, signed by the authority or by an admin
//! that the authority named; nobody else is one. Rules are functions of what they are given: certificate, revocations and time. Revocations
//! are a union that merges in any order, and what was revoked comes back only by a certificate of a greater epoch.

mod admission;
mod certificate;
mod item;
mod message;
mod revocation;
mod roster;
mod ticket;

pub use admission::{Admission, INVITATIONS_MAX, Invitation};
pub use certificate::{CERTIFICATE_BYTES_MAX, Certificate, Credential, Role, Roles, SPACE_MAX, Terms};
pub use item::{
    Announcement, CHARTER_REPLICAS_MAX, Charter, Dismissal, ITEM_BYTES_MAX, Item, Mark, NAME_BYTES_MAX,
};
pub use message::{
    Answer, Hello, MEMBERSHIP_PROTOCOL, MESSAGE_BYTES_MAX, MESSAGE_ITEMS_BYTES, MESSAGE_ITEMS_MAX, Request,
    STRANGER_BYTES_MAX,
};
pub use revocation::{REVOCATIONS_MAX, Revocation, Revocations};
pub use roster::{DISMISSALS_MAX, Difference, MEMBERS_MAX, Roster};
pub use ticket::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, TICKET_PREFIX, Ticket, TicketError, TicketSecret};

use jsfs_objects::cbor::FormatError;
use jsfs_objects::key::PublicKey;
use thiserror::Error;

/// Who a node is: the public half of its identity, which the transport proves.
pub type PeerId = PublicKey;

/// The authority's public key, by which a federation is known.
pub type FederationId = PublicKey;

/// How far the clocks of members may differ.
pub const SKEW_MS_MAX: u64 = 60_000;

/// Why somebody is not a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MembershipError {
    /// What was presented is not a certificate.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It belongs to another federation.
    #[error("the certificate is one of another federation")]
    Federation,
    /// It is for another peer than the one that presents it.
    #[error("the certificate is not for the peer that presented it")]
    Peer,
    /// Nobody who may has signed it.
    #[error("the certificate was signed neither by the federation's authority nor by an admin of it")]
    Signature,
    /// Its time has not come.
    #[error("the certificate is not valid yet; are the clocks right?")]
    Early,
    /// Its time is over.
    #[error("the certificate has expired; ask for a new one")]
    Expired,
    /// It was taken back.
    #[error("the certificate was revoked; a new invitation is needed")]
    Revoked,
    /// The ticket was used by another, has expired or never was.
    #[error("the ticket is not good any more; ask for a new one")]
    Ticket,
    /// As many invitations, or revocations, as are kept.
    #[error(
        "no more invitations or revocations are kept than {INVITATIONS_MAX} and {REVOCATIONS_MAX}; wait until some have expired"
    )]
    TooMany,
}
