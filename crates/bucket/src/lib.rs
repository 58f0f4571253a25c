//! A location of a store whose full packs lie in S3-compatible object storage.
//!
//! The location is a directory like any other, and a [`Bucket`] beside it. What is written goes to the directory and is synced there, so a write costs what
//! it costs on a disk and needs no network. A pack that is full is uploaded; when the bucket has all of it, that is noted in `bucket.json`, and the file in
//! the directory goes. From then on the pack is read in pieces, which are kept in `cache/` within a bound.
//!
//! | question | where |
//! |---|---|
//! | the directory and the bucket as one location | `location` |
//! | what is asked of the bucket, and how long it may take | `remote` |
//! | which packs are where, across crashes | `record` |
//! | pieces that were read | `pieces` |
//! | uploading and removing, in the background | `transfer` |
//! | backups, which have nothing to do with the above | `depot` |
//!
//! A crash at any moment leaves a pack in the directory, in the bucket, or in both; never in neither. Whoever loses the directory loses what was not uploaded: the last two packs and those that waited.

mod depot;
mod location;
mod pieces;
mod record;
mod remote;
mod transfer;

pub use depot::{DepotOptions, depot_over, open_depot};
pub use location::{Bucket, Options};
pub use record::{RECORD, is_used};
pub use remote::{Keys, PATIENCE, Place, PlaceError};

/// Why a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The settings do not name a bucket that can be asked.
    #[error(
        "the bucket {bucket} cannot be used: {reason}; look at storage.bucket, storage.bucket_endpoint and the AWS_ variables of the environment"
    )]
    Unusable {
        /// Which.
        bucket: String,
        /// Why.
        reason: String,
    },
    /// The bucket did not answer, or refused.
    #[error("the bucket {bucket} cannot be asked: {source}; look at its address, its keys and the network")]
    Unreachable {
        /// Which.
        bucket: String,
        /// What it said.
        source: std::io::Error,
    },
    /// A backup is under way.
    #[error(
        "another backup is being written to {bucket}; wait for its end, or for a quarter of an hour where it was cut off"
    )]
    Written {
        /// Where.
        bucket: String,
    },
    /// Another store has it.
    #[error("the bucket {bucket} has the packs of another store; name another prefix in storage.bucket")]
    Taken {
        /// Which.
        bucket: String,
    },
    /// It has a store that is not in the directory, and nobody said that it is to be taken up.
    #[error(
        "the bucket {bucket} has a store, and {place} has none; name another prefix in storage.bucket, or, if the directory was lost and its node runs nowhere, start once with --from-bucket"
    )]
    Held {
        /// Which.
        bucket: String,
        /// The directory.
        place: String,
    },
    /// The directory cannot be used.
    #[error("cannot use {place}: {source}")]
    Directory {
        /// Which.
        place: String,
        /// Why.
        source: std::io::Error,
    },
}
