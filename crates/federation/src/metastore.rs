//! The metastore: signed records, kept by the members nearest to what they are filed under and merged without being understood.
//!
//! A record lies at two **homes**: its locator, where its versions are, and its group, where its directory is listed; what a large group lists lies at
//! homes of its shards (`shard`). A home is 32 bytes, and the best few members for it (`placement`) keep what lies there. What lies under one locator at one home is a **slot** (`slot`): a set that
//! only grows by merging, so that no order of arrival matters. Everything that a member takes in is judged first (`version`).
//!
//! # How it is used
//!
//! A node has one [`Server`], which answers the requests of other members over a [`Shelf`], and one [`Client`], which asks them. Neither
//! waits: the node hands in what came and what time it is, and carries out the [`Action`]s that come back. What the object layer calls:
//!
//! * [`Client::fetch`]`(locator)` → [`Outcome::Fetched`]: the heads, whether `settled` (as many replicas answered as make it sure that
//!   nothing acknowledged is missing). [`Slot::served`] picks the version that every node picks.
//! * [`Client::list`]`(group, after, limit)` → [`Outcome::Listed`]: one page of entries in order of locators.
//! * [`Client::store`]`(writing)` → [`Outcome::Written`]: settled, or kept by so many of so many and completed later, or a conflict with what
//!   is there now, if a condition was given.
//!
//! An action [`Action::Send`] to the node itself goes to its own server without a network. A server's answer goes out only when what the
//! server changed on its shelf is durable; [`Action::Keep`] is durable before the outcomes behind it are told. A crash loses requests on the way and
//! holds, which expire; never what was answered.

mod client;
mod compare;
mod keeper;
mod message;
mod placement;
mod server;
mod shard;
mod shelf;
mod slot;
mod store_shelf;
mod version;
mod watch;

pub use client::{Action, Client, Entry, Listed, OpId, Outcome, RequestId, Timing, Writing, Written};
pub use compare::{Bound, Compared, Fingerprint, RANGES_MAX, ROWS_TOLD_MAX, Range, fingerprint};
pub use keeper::{Asked, Keeper, Pace, Repaired};
pub use message::{
    CHAIN_MAX, Found, HoldId, LIST_MAX, LOCATORS_MAX, Listing, MESSAGE_BYTES_MAX, Request, Response, Summary,
};
pub use placement::{HOME_REPLICAS_MAX, Member, Members};
pub use server::{Limits, Server};
pub use shard::{DEPTH_MAX, Shard};
pub use shelf::{Change, Content, MemoryShelf, Note, Row, Shelf, ShelfError};
pub use slot::{Added, HEADS_MAX, Mark, OWNERS_MAX, Slot};
pub use store_shelf::{NOTES, ROWS, StoreShelf};
pub use version::Version;
pub use watch::{CHANGED_MAX, Cursor, LEASE_MS_MAX, LEASES_OF_ONE_MAX};

use jsfs_objects::read_key::{Group, Locator};

/// The name of the protocol.
pub const PROTOCOL: &str = "/jsfs/metastore/2";

/// What says which members keep something: a locator, or a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Home([u8; 32]);

impl Home {
    /// A home from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<Locator> for Home {
    fn from(locator: Locator) -> Self {
        Self(*locator.as_bytes())
    }
}

impl From<Group> for Home {
    fn from(group: Group) -> Self {
        Self(*group.as_bytes())
    }
}

impl std::fmt::Debug for Home {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Home({:02x}{:02x}{:02x}…)", self.0[0], self.0[1], self.0[2])
    }
}

/// How many members keep a record, must have taken a write, and must have answered a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Members that keep it.
    pub replicas: usize,
    /// Members that have taken a write that is acknowledged.
    pub write: usize,
    /// Members that have answered a read that is settled.
    pub read: usize,
}

impl Quorum {
    /// Five, three and three.
    pub const DEFAULT: Self = Self { replicas: 5, write: 3, read: 3 };

    /// What of it there can be among so few members. A settled read meets every acknowledged write, and two acknowledged writes each other,
    /// in the smaller one as well.
    #[must_use]
    pub fn among(self, members: usize) -> Self {
        let replicas = self.replicas.min(members).clamp(1, HOME_REPLICAS_MAX);
        let write = self.write.max(replicas / 2 + 1).min(replicas);
        if replicas == self.replicas {
            return Self { replicas, write, read: self.read.max(replicas + 1 - write).min(replicas) };
        }
        let write = write.min(replicas / 2 + 1);
        Self { replicas, write, read: replicas + 1 - write }
    }
}

#[cfg(test)]
mod tests {
    use super::Quorum;

    #[test]
    fn reads_meet_writes_and_writes_each_other_however_few_members_there_are() {
        for members in 1..12 {
            let Quorum { replicas, write, read } = Quorum::DEFAULT.among(members);
            assert!(replicas <= members && write <= replicas && read <= replicas, "{members}");
            assert!(write + read > replicas && 2 * write > replicas, "{members}");
        }
        assert_eq!(Quorum::DEFAULT.among(5), Quorum::DEFAULT);
        assert_eq!(Quorum::DEFAULT.among(3), Quorum { replicas: 3, write: 2, read: 2 });
    }
}
