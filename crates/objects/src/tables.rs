//! Where the object layer keeps its metadata in the store: tables, keys, and the value of an object's entry.
//!
//! | table | key | value |
//! |---|---|---|
//! | current | address | entry of the newest version, a tombstone where it was deleted |
//! | version | address, 0, version (u64) | entry of an older version |
//! | directory | address of a directory | envelope of its record |
//! | event | namespace, 0, sequence (u64), index (u32) | one line of the change log |
//! | usage | address of a directory | bytes kept below it, old versions and unfinished uploads included (u64, little-endian) |
//! | live | address of a directory | bytes of the newest versions and unfinished uploads below it (u64, little-endian) |
//! | count | address of a directory | objects below it (u64, little-endian) |
//! | public | address | nothing: the newest version there is a public object |
//! | upload | id (16 bytes) | line of an unfinished upload, or of one that was finished a short time ago (`unfinished`) |
//! | unfinished | address of a namespace | number of unfinished uploads in it (u64, little-endian) |
//! | owned | owner (32 bytes), address | nothing: the newest version there names this owner itself |
//! | program | address | what is attached to the program there, sealed under a key of the node's (`program`) |
//! | derived | kind, hash | what can be computed again, sealed (`derived`) |
//! | derived use | as derived | bytes that it counts for and ms since 1970 of its last use (u64 each, little-endian); 0 (one byte): bytes in all |
//! | process | id (16 bytes) | what a process is, sealed under a key of the node's; refers to the blocks of its image (`process`) |
//! | process mark | id, call (u32), request of that call (u8) | what an effect of a process came to, sealed (`once`) |
//! | process output | id, byte (u64) | what a process wrote from that byte on, sealed |
//! | lease | block (32 bytes), peer (32 bytes) | bytes that it counts for and ms since 1970 until when the block is kept for that peer (u64 each, little-endian); 0 (one byte): bytes in all (`remote`) |
//! | cached | block (32 bytes) | bytes that it counts for and ms since 1970 when it was fetched (u64 each, little-endian); 0 (one byte): bytes in all (`remote`) |
//! | scrub | 0 (one byte) | how far the scrub has come and what it has found, JSON (`scrub`) |
//! | shared | namespace | nothing: it is the federation's (`metastore`) |
//! | named | address, 0, 1 if private (u8), epoch (u64) | nothing: other nodes can learn this name (`metastore/names`) |
//! | process input | id, number (u64) | what was sent to a process and not taken yet, sealed |
//!
//! Numbers in keys are big-endian, so that they sort. Addresses never contain a zero byte. An **entry** is one byte 1, the size of the
//! object's plaintext (u64, little-endian), then the envelope of `docs/formats.md`. The size stands outside because quotas and retention must
//! be kept by whoever deletes a sealed object without being able to open it.

use crate::{
    address::Address,
    error::StorageError,
    key::Owner,
    read::Shown,
    record::{Envelope, Kind, Record},
};
use bytes::Bytes;
use jsfs_store::Table;
use std::sync::OnceLock;

pub(crate) const CURRENT: Table = Table(1);
pub(crate) const VERSION: Table = Table(2);
pub(crate) const DIRECTORY: Table = Table(3);
pub(crate) const EVENT: Table = Table(4);
pub(crate) const USAGE: Table = Table(5);
pub(crate) const LIVE: Table = Table(6);
pub(crate) const COUNT: Table = Table(7);
pub(crate) const PUBLIC: Table = Table(8);
pub(crate) const UPLOAD: Table = Table(9);
pub(crate) const UNFINISHED: Table = Table(10);
pub(crate) const OWNED: Table = Table(11);
pub(crate) const PROGRAM: Table = Table(12);
pub(crate) const DERIVED: Table = Table(13);
pub(crate) const DERIVED_USE: Table = Table(14);
pub(crate) const PROCESS: Table = Table(16);
pub(crate) const PROCESS_MARK: Table = Table(17);
pub(crate) const PROCESS_OUTPUT: Table = Table(18);
pub(crate) const PROCESS_INPUT: Table = Table(19);
pub(crate) const OLD_KEY: Table = Table(20);
pub(crate) const LEASE: Table = Table(21);
pub(crate) const CACHED: Table = Table(22);
pub(crate) const SCRUB: Table = Table(23);

/// The one key of the scrub.
pub(crate) const SCRUB_KEY: &[u8] = &[0];
pub(crate) const SHARED: Table = Table(24);
pub(crate) const NAMED: Table = Table(25);

/// The key that says that every object is in the table of objects by owner; owners have 32 bytes.
pub(crate) const OWNED_COMPLETE: &[u8] = &[0];

const ENTRY_FORMAT: u8 = 1;

/// A decoded entry of the current or version table.
#[derive(Clone)]
pub(crate) struct Stored {
    /// Plaintext bytes of the object.
    pub(crate) size: u64,
    /// The signed record.
    pub(crate) record: Record,
    /// The hash of the record's bytes: what a successor names.
    pub(crate) hash: [u8; 32],
    /// The store's sequence number of the entry, for conditional commits.
    pub(crate) sequence: u64,
    /// The value as it is kept, for moving it unchanged.
    pub(crate) value: Bytes,
    /// The blocks that the entry keeps here: all that it needs, or none where another node wrote it.
    pub(crate) held: Vec<jsfs_store::BlockId>,
    /// The blocks that it needs, or lists of them.
    pub(crate) references: Vec<jsfs_store::BlockId>,
    /// What readers are shown, once somebody was.
    pub(crate) shown: OnceLock<Shown>,
}

impl Stored {
    /// Whether it is an object that anyone may read.
    pub(crate) fn is_public(&self) -> bool {
        self.record.kind == Kind::Object && !self.record.is_private()
    }

    /// Whether opening it needs a read key.
    pub(crate) fn is_sealed(&self) -> bool {
        self.record.is_private()
    }

    pub(crate) fn decode(address: &Address, entry: jsfs_store::Entry) -> Result<Self, StorageError> {
        let damaged = |what: &str| StorageError::Record { address: address.clone(), what: what.to_owned() };
        let (&format, rest) = entry.value.split_first().ok_or_else(|| damaged("it is empty"))?;
        if format != ENTRY_FORMAT {
            return Err(damaged("it was written by a newer version"));
        }
        let (size, envelope) = rest.split_first_chunk::<8>().ok_or_else(|| damaged("it is cut short"))?;
        let (envelope, record) =
            Envelope::decode_kept(envelope).map_err(|error| damaged(&error.to_string()))?;
        // What came from another node keeps nothing here; what it needs, its record says.
        let held = entry.references;
        let references = if held.is_empty() { record.blocks.clone() } else { held.clone() };
        Ok(Stored {
            size: u64::from_le_bytes(*size),
            hash: envelope.record_hash(),
            record,
            sequence: entry.sequence,
            held,
            references,
            value: entry.value,
            shown: OnceLock::new(),
        })
    }
}

/// The blocks that the record of an entry names; none if it does not decode.
pub(crate) fn blocks_of(value: &[u8]) -> Vec<jsfs_store::BlockId> {
    let envelope = value.get(9..).and_then(|envelope| Envelope::decode(envelope).ok());
    envelope.and_then(|envelope| envelope.record().ok()).map(|record| record.blocks).unwrap_or_default()
}

pub(crate) fn entry_value(size: u64, envelope: &Envelope) -> Vec<u8> {
    let envelope = envelope.encode();
    let mut value = Vec::with_capacity(9 + envelope.len());
    value.push(ENTRY_FORMAT);
    value.extend_from_slice(&size.to_le_bytes());
    value.extend_from_slice(&envelope);
    value
}

pub(crate) fn address_key(address: &Address) -> Vec<u8> {
    address.as_str().as_bytes().to_vec()
}

pub(crate) fn version_key(address: &Address, version: u64) -> Vec<u8> {
    let mut key = version_prefix(address);
    key.extend_from_slice(&version.to_be_bytes());
    key
}

pub(crate) fn version_prefix(address: &Address) -> Vec<u8> {
    let mut key = address_key(address);
    key.push(0);
    key
}

/// Splits a key of the version table.
pub(crate) fn split_version_key(key: &[u8]) -> Option<(&str, u64)> {
    let (address, version) = key.split_last_chunk::<8>()?;
    let address = address.strip_suffix(&[0])?;
    Some((std::str::from_utf8(address).ok()?, u64::from_be_bytes(*version)))
}

pub(crate) fn owned_key(owner: Owner, address: &str) -> Vec<u8> {
    [owner.as_bytes().as_slice(), address.as_bytes()].concat()
}

pub(crate) fn event_prefix(namespace: &str) -> Vec<u8> {
    let mut key = namespace.as_bytes().to_vec();
    key.push(0);
    key
}

/// The range of keys that begin with `prefix`.
pub(crate) fn prefix_range(prefix: Vec<u8>) -> std::ops::Range<Vec<u8>> {
    let end = after_prefix(&prefix);
    prefix..end
}

/// The smallest key greater than every key that begins with `prefix`.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX; 8_193]
}

pub(crate) fn counter(value: &[u8]) -> u64 {
    value.try_into().map_or(0, u64::from_le_bytes)
}
