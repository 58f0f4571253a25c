//! `bucket.json`: which packs the bucket has, and which of it are still to be removed. Written whole, so that a crash leaves the old or the new.
//!
//! It is written before and after an upload, and before the file goes; before a pack is removed from the bucket, and after. So it never names a pack that is not
//! there, and a node can start, and knows all its packs, while the bucket cannot be reached.

use crate::BucketError;
use jsfs_store::backend::{Backend, Directory};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

/// The name of the file.
pub const RECORD: &str = "bucket.json";

const FORMAT: u32 = 1;

/// What it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    format: u32,
    /// Where the packs lie.
    pub(crate) bucket: String,
    /// What is known of each, by its number.
    pub(crate) packs: BTreeMap<u64, Full>,
    /// Those that may be there, whole or not, because an upload began.
    pub(crate) started: BTreeSet<u64>,
    /// Those that are to be removed from the bucket.
    pub(crate) removed: BTreeSet<u64>,
}

/// A pack in the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Full {
    pub(crate) length: u64,
    /// What it begins with, in hex digits: a store reads the beginning of each of its packs when it is opened.
    head: String,
}

/// Bytes of a pack's beginning that are kept in the record.
pub(crate) const HEAD: u64 = 128;

impl Full {
    pub(crate) fn new(length: u64, head: &[u8]) -> Self {
        Self { length, head: head.iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    pub(crate) fn head(&self) -> Vec<u8> {
        let byte =
            |at: usize| self.head.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        (0..self.head.len()).step_by(2).map_while(byte).collect()
    }
}

impl Record {
    pub(crate) fn new(bucket: &str) -> Self {
        Self { format: FORMAT, bucket: bucket.to_owned(), ..Self::default() }
    }

    pub(crate) fn read(directory: &Directory) -> io::Result<Option<Self>> {
        let Some(bytes) = directory.read_file(RECORD)? else { return Ok(None) };
        let unreadable =
            |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("{RECORD}: {what}"));
        let record: Self = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        if record.format != FORMAT {
            return Err(unreadable(format!(
                "it has format {}, and this program knows {FORMAT}",
                record.format
            )));
        }
        Ok(Some(record))
    }

    pub(crate) fn write(&self, directory: &Directory) -> io::Result<()> {
        directory.write_file(RECORD, &serde_json::to_vec(self).map_err(io::Error::other)?)
    }
}

/// The bucket that has packs of the store in this directory, if one has.
///
/// # Errors
/// When the record cannot be read.
pub fn is_used(directory: &Path) -> Result<Option<String>, BucketError> {
    let read = Record::read(&Directory::existing(directory));
    let record =
        read.map_err(|source| BucketError::Directory { place: directory.display().to_string(), source })?;
    Ok(record.filter(|record| !record.packs.is_empty()).map(|record| record.bucket))
}
