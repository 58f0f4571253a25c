//! Records: what is signed about one version of an object, or about a directory.
//!
//! A record says in the clear what a node needs to keep, count and check it without any key, and seals the rest for private objects.
//! Encodings are deterministic; [`Record::decode`] and [`Record::check`] refuse combinations of fields that the format does not have, so
//! what they let through needs no second look. Signatures are the business of [`Envelope`].

mod content;
mod delegation;
mod envelope;
mod policy;

pub use content::{CONTENT_TYPE_BYTES_MAX, Content, PROPERTIES_BYTES_MAX, PROPERTIES_MAX};
pub use delegation::Delegation;
pub use envelope::{AHEAD_MS_MAX, ENVELOPE_BYTES_MAX, Envelope, EnvelopeError, SignKey, Signed, Verified};
pub use policy::{Create, HOST_BYTES_MAX, HOSTS_MAX, Policy, REVOCATIONS_MAX, Revocation};

use crate::cbor::{Cbor, FormatError, Reader, Writer, required};
use crate::clock::{HybridTime, Random};
use crate::crypto::{Wrapped, blake3};
use crate::key::Owner;
use crate::read_key::{Group, Locator, ReadKey};
use crate::seal::{ContentBinding, SEALED_CONTENT_OVERHEAD, open_content, seal_content};
use jsfs_store::BlockId;

/// The largest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 512 * 1_024;

/// A record names at most this many blocks; more go into list blocks.
pub const RECORD_BLOCKS_MAX: usize = 1_024;

const _: () = assert!(
    RECORD_BLOCKS_MAX <= jsfs_store::REFERENCES_MAX && RECORD_BLOCKS_MAX == jsfs_store::block::LIST_MAX
);

/// The most epochs that a place keeps roots of.
pub const PLACE_EPOCHS_MAX: usize = 64;

/// BLAKE3 of a record's bytes.
pub type RecordHash = [u8; 32];

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A version of an object.
    Object,
    /// A directory that names an owner or has a policy.
    Directory,
    /// A version that says: deleted.
    Tombstone,
}

/// The wrapped read root of one epoch of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceRoot {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The root: the newest epoch's wrapped for the owner, an older one's under the newest root.
    pub wrapped: Wrapped,
}

/// One version of an object, one state of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub kind: Kind,
    /// What it is filed under.
    pub locator: Locator,
    /// The group in which its directory lists it.
    pub group: Group,
    /// Whose it is.
    pub owner: Owner,
    /// The epoch of the place that it belongs to, from 1.
    pub epoch: u64,
    /// The version, from 1.
    pub version: u64,
    /// When it was made.
    pub time: HybridTime,
    /// The hash of the record before it.
    pub predecessor: Option<RecordHash>,
    /// The blocks that the version needs, or lists of them.
    pub blocks: Vec<BlockId>,
    /// What describes the bytes of a public object.
    pub content: Option<Content>,
    /// The same of a private object, sealed under its read key.
    pub sealed: Option<Vec<u8>>,
    /// The read roots, newest first, where this names an owner.
    pub place: Option<Vec<PlaceRoot>>,
    /// The proof that the place was handed over.
    pub delegation: Option<Delegation>,
    /// The rules of a directory.
    pub policy: Option<Policy>,
    /// Whether a tombstone stands for earlier versions too.
    pub purged: bool,
}

impl Record {
    /// Its bytes, which are what is signed and hashed.
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    /// Reads and checks a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let record = Self::from_bytes(bytes)?;
        record.check()?;
        Ok(record)
    }

    /// The same of an entry of this node's own.
    pub(crate) fn decode_kept(bytes: &[u8]) -> Result<Self, FormatError> {
        let record = Self::from_kept(bytes)?;
        record.check()?;
        Ok(record)
    }

    /// The hash that its successor names.
    pub fn hash(&self) -> RecordHash {
        blake3(&[&self.to_bytes()])
    }

    /// Whether this takes the place of another record under the same locator: by epoch, then version, then time.
    pub fn is_newer_than(&self, other: &Record) -> bool {
        (self.epoch, self.version, self.time) > (other.epoch, other.version, other.time)
    }

    /// Whether what it describes is sealed.
    pub fn is_private(&self) -> bool {
        self.sealed.is_some()
    }

    /// What sealed content is bound to.
    pub fn binding(&self) -> ContentBinding {
        ContentBinding { locator: self.locator, owner: self.owner, epoch: self.epoch, version: self.version }
    }

    /// Seals content into this record. Locator, owner, epoch and version must be set already.
    pub fn seal(&mut self, content: &Content, read_key: &ReadKey, random: &dyn Random) {
        self.content = None;
        self.sealed = Some(seal_content(read_key, &self.binding(), &content.encode(), random));
    }

    /// The sealed content, opened with the object's read key. The caller compares the address in it with the one that was asked for.
    pub fn open(&self, read_key: &ReadKey) -> Result<Content, FormatError> {
        let what = "the record's seal does not open with this read key";
        let sealed = self.sealed.as_ref().filter(|_| read_key.locator() == self.locator);
        let opened = sealed.and_then(|sealed| open_content(read_key, &self.binding(), sealed).ok());
        Content::decode(&opened.ok_or(FormatError::Contradiction { what })?)
    }

    /// Refuses what no record may be.
    pub fn check(&self) -> Result<(), FormatError> {
        let object = self.kind == Kind::Object;
        let contents = u8::from(self.content.is_some()) + u8::from(self.sealed.is_some());
        let newest = self.place.as_ref().map(|roots| roots.first().map(|root| root.epoch));
        let rules = [
            (self.epoch > 0 && self.version > 0, "a record's epochs and versions count from 1"),
            (contents == u8::from(object), "a record of an object has content once, others have none"),
            (object || self.blocks.is_empty(), "only a record of an object names blocks"),
            (self.policy.is_none() || self.kind == Kind::Directory, "only a directory has a policy"),
            (!self.purged || self.kind == Kind::Tombstone, "only a tombstone says that versions were purged"),
            (
                newest.is_none_or(|newest| newest == Some(self.epoch)),
                "a place's newest epoch is not that of its record",
            ),
            (
                self.place.as_ref().is_none_or(|roots| descend(roots)),
                "a place's epochs do not go from newest to oldest",
            ),
            (
                self.delegation.as_ref().is_none_or(|delegation| delegation.fits(self)),
                "a delegation is not about the owner and epoch of its record",
            ),
            (
                self.content.as_ref().is_none_or(|content| {
                    Locator::public(&content.address) == self.locator
                        && Group::listing(&content.address) == self.group
                }),
                "a public record is filed under another address than its own",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(FormatError::Contradiction { what }),
            None => Ok(()),
        }
    }
}

fn descend(roots: &[PlaceRoot]) -> bool {
    roots.is_sorted_by(|newer, older| newer.epoch > older.epoch)
}

impl Cbor for Record {
    const NAME: &'static str = "a record";
    const BYTES_MAX: usize = RECORD_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        let optional = [
            self.predecessor.is_some(),
            !self.blocks.is_empty(),
            self.content.is_some(),
            self.sealed.is_some(),
            self.place.is_some(),
            self.delegation.is_some(),
            self.policy.is_some(),
            self.purged,
        ];
        out.map(7 + optional.into_iter().filter(|present| *present).count());
        out.uint(1).uint(self.kind.number());
        out.uint(2).bytes(self.locator.as_bytes());
        out.uint(3).bytes(self.group.as_bytes());
        out.uint(4).bytes(self.owner.as_bytes());
        out.uint(5).uint(self.epoch);
        out.uint(6).uint(self.version);
        out.uint(7).uint(self.time.0);
        if let Some(predecessor) = &self.predecessor {
            out.uint(8).bytes(predecessor);
        }
        if !self.blocks.is_empty() {
            out.uint(9).array(self.blocks.len());
            self.blocks.iter().for_each(|block| {
                out.bytes(block.as_bytes());
            });
        }
        if let Some(content) = &self.content {
            out.uint(10).nested(content);
        }
        if let Some(sealed) = &self.sealed {
            out.uint(11).bytes(sealed);
        }
        if let Some(place) = &self.place {
            out.uint(12).array(place.len());
            place.iter().for_each(|root| {
                out.array(2).uint(root.epoch).bytes(&root.wrapped);
            });
        }
        if let Some(delegation) = &self.delegation {
            out.uint(13).nested(delegation);
        }
        if let Some(policy) = &self.policy {
            out.uint(14).nested(policy);
        }
        if self.purged {
            out.uint(15).bool(true);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut fields = Fields::default();
        input.map(Self::NAME, |input, key| fields.read(input, key))?;
        Ok(Record {
            kind: required(fields.kind, "a record's kind")?,
            locator: Locator::from_bytes(required(fields.locator, "a record's locator")?),
            group: Group::from_bytes(required(fields.group, "a record's group")?),
            owner: Owner::from_bytes(required(fields.owner, "a record's owner")?),
            epoch: required(fields.epoch, "a record's epoch")?,
            version: required(fields.version, "a record's version")?,
            time: HybridTime(required(fields.time, "a record's time")?),
            predecessor: fields.predecessor,
            blocks: fields.blocks,
            content: fields.content,
            sealed: fields.sealed,
            place: fields.place,
            delegation: fields.delegation,
            policy: fields.policy,
            purged: fields.purged,
        })
    }
}

#[derive(Default)]
struct Fields {
    kind: Option<Kind>,
    locator: Option<[u8; 32]>,
    group: Option<[u8; 32]>,
    owner: Option<[u8; 32]>,
    epoch: Option<u64>,
    version: Option<u64>,
    time: Option<u64>,
    predecessor: Option<RecordHash>,
    blocks: Vec<BlockId>,
    content: Option<Content>,
    sealed: Option<Vec<u8>>,
    place: Option<Vec<PlaceRoot>>,
    delegation: Option<Delegation>,
    policy: Option<Policy>,
    purged: bool,
}

impl Fields {
    /// Takes one field; the comparison of encodings finds those that come twice, out of order or with a value that is to be left out.
    fn read(&mut self, input: &mut Reader<'_>, key: u64) -> Result<bool, FormatError> {
        match key {
            1 => self.kind = Some(Kind::from_number(input.uint("a record's kind")?)?),
            2 => self.locator = Some(input.fixed("a record's locator")?),
            3 => self.group = Some(input.fixed("a record's group")?),
            4 => self.owner = Some(input.fixed("a record's owner")?),
            5 => self.epoch = Some(input.uint("a record's epoch")?),
            6 => self.version = Some(input.uint("a record's version")?),
            7 => self.time = Some(input.uint("a record's time")?),
            8 => self.predecessor = Some(input.fixed("a record's predecessor")?),
            9 => {
                self.blocks = input.list("a record's blocks", RECORD_BLOCKS_MAX, |input| {
                    input.fixed("a block id").map(BlockId::from_bytes)
                })?;
            }
            10 => self.content = Some(Content::read(input)?),
            11 => {
                let limit = Content::BYTES_MAX + SEALED_CONTENT_OVERHEAD;
                self.sealed = Some(input.bytes("a record's sealed content", limit)?.to_vec());
            }
            12 => self.place = Some(input.list("a place", PLACE_EPOCHS_MAX, read_root)?),
            13 => self.delegation = Some(Delegation::read(input)?),
            14 => self.policy = Some(Policy::read(input)?),
            15 => self.purged = input.bool("a record's purged mark")?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn read_root(input: &mut Reader<'_>) -> Result<PlaceRoot, FormatError> {
    input.tuple("a place's epoch", 2)?;
    Ok(PlaceRoot { epoch: input.uint("a place's epoch")?, wrapped: input.fixed("a wrapped read root")? })
}

impl Kind {
    fn number(self) -> u64 {
        match self {
            Kind::Object => 1,
            Kind::Directory => 2,
            Kind::Tombstone => 3,
        }
    }

    fn from_number(number: u64) -> Result<Self, FormatError> {
        match number {
            1 => Ok(Kind::Object),
            2 => Ok(Kind::Directory),
            3 => Ok(Kind::Tombstone),
            _ => Err(FormatError::Malformed { what: "a record's kind" }),
        }
    }
}
