//! What callers see of an object version: its opened properties, its version list entry, its blocks.

use crate::{address::Address, key::Owner};
use data_encoding::HEXLOWER;
use std::{collections::BTreeMap, fmt};

/// A strong validator of an object's bytes, 16 bytes; displays as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag(pub [u8; 16]);

impl fmt::Display for ETag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In one piece: each answer has one.
        let mut text = [0; 32];
        let encoded = HEXLOWER.encode_mut_str(&self.0, &mut text);
        out.write_str(encoded)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ETag({self})")
    }
}

/// The properties of one version of an object.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Where it is.
    pub address: Address,
    /// Which version, counted from 1.
    pub version: u64,
    /// Whether reading it needs a credential.
    pub private: bool,
    /// Whether it is a program.
    pub executable: bool,
    /// The media type that it is served with.
    pub content_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its validator.
    pub etag: ETag,
    /// The SHA-256 of its bytes, where the whole was seen at once (not after an append).
    pub sha256: Option<[u8; 32]>,
    /// When its first version was made, ms since 1970.
    pub created_ms: u64,
    /// When this version was made, ms since 1970.
    pub modified_ms: u64,
    /// Who owns it.
    pub owner: Owner,
    /// What clients attached: name → value, both text that means nothing here.
    pub properties: BTreeMap<String, String>,
}

/// One line of a version list.
#[derive(Clone, Debug)]
pub struct VersionInfo {
    /// Which version.
    pub version: u64,
    /// When it was made, ms since 1970.
    pub modified_ms: u64,
    /// Whether it is a deletion.
    pub deleted: bool,
    /// Whether reading it needs a credential; nothing for a deletion, in which there is nothing to read.
    pub private: Option<bool>,
    /// Its properties; absent for a deletion, and for a version that does not open with the key presented.
    pub metadata: Option<Metadata>,
}

/// One block that an object's bytes are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// The block's id in hexadecimal.
    pub hash: String,
    /// How many of the object's bytes it holds.
    pub size: u64,
}
