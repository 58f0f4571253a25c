//! Read keys, and what follows from them: keys further down, locators, groups, the convergence secret.
//!
//! A read key opens what is below it and nothing beside or above it. Labels begin with `/`, which no name does, so no derived value is
//! ever the read key of something with an unlucky name.

use crate::address::Address;
use crate::clock::Random;
use crate::crypto::{Secret, Wrapped, blake3};
use crate::seal::{BlockKey, Unopened};
use std::fmt;

/// Opens a directory and all below it, or one object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadKey(pub(crate) Secret);

impl ReadKey {
    /// A random read root, for a new place or epoch.
    pub fn generate(random: &dyn Random) -> Self {
        Self::from_bytes(random.bytes())
    }

    /// A read key from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The secret bytes, for handing on in a token.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// The read key of a child of this directory; the name of a directory ends in `/`.
    pub fn child(&self, name: &str) -> ReadKey {
        ReadKey(Secret::new(self.0.hmac(&[name.as_bytes()])))
    }

    /// The read key of `to`, where this is the read key of `from`; none if `to` is not `from` or below it.
    pub fn descend(&self, from: &Address, to: &Address) -> Option<ReadKey> {
        if !to.starts_with(from) {
            return None;
        }
        let below = &to.as_str()[from.as_str().len()..];
        Some(below.split_inclusive('/').fold(self.clone(), |key, name| key.child(name)))
    }

    /// Where a private object with this read key is filed.
    pub fn locator(&self) -> Locator {
        Locator(self.0.hmac(&[b"/locator"]))
    }

    /// The group of the private children of a directory with this read key.
    pub fn group(&self) -> Group {
        Group(self.0.hmac(&[b"/directory"]))
    }

    /// What a token says of this key in the open, so that its bearer cannot put another in its place.
    pub fn commitment(&self) -> [u8; 32] {
        self.0.hmac(&[b"/token"])
    }

    /// Wraps an earlier epoch's read root under this newer one.
    pub fn wrap_older(&self, older: &ReadKey) -> Wrapped {
        self.0.wrap(&older.0)
    }

    /// An earlier epoch's read root that was wrapped under this one.
    pub fn unwrap_older(&self, wrapped: &Wrapped) -> Result<ReadKey, Unopened> {
        self.0.unwrap(wrapped).map(ReadKey).ok_or(Unopened)
    }

    /// The secret that keys deduplication within the tree below.
    pub fn convergence(&self) -> Convergence {
        Convergence(self.0.hkdf(&[], "jsfs/v1/convergence"))
    }
}

/// What a record is filed under, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locator([u8; 32]);

impl Locator {
    /// The locator of a public object or of a directory's record.
    pub fn public(address: &Address) -> Self {
        Self(blake3(&[address.as_str().as_bytes()]))
    }

    /// A locator from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What the records of a directory's children have in common, 32 bytes: one value for public children, another for private ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group([u8; 32]);

impl Group {
    /// The group of the public children of a directory, records of directories among them.
    pub fn public(directory: &Address) -> Self {
        Self(blake3(&[directory.as_str().as_bytes()]))
    }

    /// The group in which the public record of an address is listed: its directory's; for namespaces, which have none, that of `/`.
    pub fn listing(address: &Address) -> Self {
        match address.parent() {
            Some(directory) => Self::public(&directory),
            None => Self(blake3(&[b"/"])),
        }
    }

    /// A group from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Lets chunks of one tree be recognised and opened again by those who may read it, and by nobody else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Convergence(Secret);

impl Convergence {
    /// The deduplication tag of a private chunk, from the hash of its plaintext. The tag of a public chunk is that hash itself.
    pub fn tag(&self, plaintext_hash: &[u8; 32]) -> [u8; 32] {
        self.0.hmac(&[b"tag", plaintext_hash])
    }

    /// Wraps the key of the block that a chunk lies in, to be stored beside the chunk's tag.
    pub fn wrap(&self, plaintext_hash: &[u8; 32], key: &BlockKey) -> Wrapped {
        self.wrapping(plaintext_hash).wrap(&key.0)
    }

    /// The key of the block that a chunk lies in; none if it was wrapped for another tree or chunk, or is damaged.
    pub fn unwrap(&self, plaintext_hash: &[u8; 32], wrapped: &[u8]) -> Option<BlockKey> {
        self.wrapping(plaintext_hash).unwrap(wrapped.try_into().ok()?).map(BlockKey)
    }

    /// The same for one directory: for blocks that tell more than the chunk that was looked for, because they hold several or are deltas.
    pub fn of_directory(&self, directory: &Address) -> Convergence {
        Convergence(Secret::new(self.0.hmac(&[b"directory", directory.as_str().as_bytes()])))
    }

    /// The secret bytes, for test vectors.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    fn wrapping(&self, plaintext_hash: &[u8; 32]) -> Secret {
        Secret::new(self.0.hmac(&[b"key", plaintext_hash]))
    }
}

macro_rules! show_as_hex {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }
    )*};
}

show_as_hex!(Locator, Group);
