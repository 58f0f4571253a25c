//! What answers are made of: heads without their records, slots, entries.

use super::super::Mark;
use super::{MARKS_TOLD, TOLD_MAX};
use jsfs_objects::cbor::{Cbor, FormatError, Reader, Writer};
use jsfs_objects::key::Owner;
use jsfs_objects::read_key::Locator;
use jsfs_objects::record::{ENVELOPE_BYTES_MAX, Kind, RecordHash};

/// A head, without its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The record's hash.
    pub hash: RecordHash,
    /// Whose it is.
    pub owner: Owner,
    /// Its epoch.
    pub epoch: u64,
    /// Its version.
    pub version: u64,
    /// Its hybrid time.
    pub time: u64,
    /// What it is about.
    pub kind: Kind,
}

/// What a member keeps of a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Envelopes: heads first.
    pub envelopes: Vec<Vec<u8>>,
    /// The newest marks.
    pub marks: Vec<Mark>,
}

/// What a member keeps of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// What it is filed under.
    pub locator: Locator,
    /// Heads, each with its envelope unless that is large.
    pub heads: Vec<(Summary, Option<Vec<u8>>)>,
    /// The newest marks.
    pub marks: Vec<Mark>,
}

pub(super) fn read_envelope(input: &mut Reader<'_>) -> Result<Vec<u8>, FormatError> {
    input.bytes("an envelope", ENVELOPE_BYTES_MAX).map(<[u8]>::to_vec)
}

fn write_marks(out: &mut Writer, marks: &[Mark]) {
    out.array(marks.len());
    for mark in marks {
        out.bytes(mark);
    }
}

fn read_marks(input: &mut Reader<'_>) -> Result<Vec<Mark>, FormatError> {
    input.list("marks", MARKS_TOLD, |input| input.fixed("a mark"))
}

impl Cbor for Summary {
    const NAME: &'static str = "a summary of a record";
    const BYTES_MAX: usize = 128;

    fn write(&self, out: &mut Writer) {
        let kind = match self.kind {
            Kind::Object => 1,
            Kind::Directory => 2,
            Kind::Tombstone => 3,
        };
        out.array(6).bytes(&self.hash).bytes(self.owner.as_bytes());
        out.uint(self.epoch).uint(self.version).uint(self.time).uint(kind);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 6)?;
        Ok(Self {
            hash: input.fixed(Self::NAME)?,
            owner: Owner::from_bytes(input.fixed(Self::NAME)?),
            epoch: input.uint(Self::NAME)?,
            version: input.uint(Self::NAME)?,
            time: input.uint(Self::NAME)?,
            kind: match input.uint(Self::NAME)? {
                1 => Kind::Object,
                2 => Kind::Directory,
                3 => Kind::Tombstone,
                _ => return Err(FormatError::Malformed { what: Self::NAME }),
            },
        })
    }
}

pub(super) fn write_found(out: &mut Writer, found: &Found) {
    out.array(2).array(found.envelopes.len());
    for envelope in &found.envelopes {
        out.bytes(envelope);
    }
    write_marks(out, &found.marks);
}

pub(super) fn read_found(input: &mut Reader<'_>) -> Result<Found, FormatError> {
    input.tuple("a slot", 2)?;
    Ok(Found { envelopes: input.list("envelopes", TOLD_MAX, read_envelope)?, marks: read_marks(input)? })
}

pub(super) fn write_listing(out: &mut Writer, entry: &Listing) {
    out.array(3).bytes(entry.locator.as_bytes()).array(entry.heads.len());
    for (summary, envelope) in &entry.heads {
        out.array(2).nested(summary);
        match envelope {
            Some(envelope) => out.bytes(envelope),
            None => out.null(),
        };
    }
    write_marks(out, &entry.marks);
}

pub(super) fn read_listing(input: &mut Reader<'_>) -> Result<Listing, FormatError> {
    input.tuple("an entry", 3)?;
    let locator = Locator::from_bytes(input.fixed("a locator")?);
    let heads = input.list("heads", TOLD_MAX, |input| {
        input.tuple("a head", 2)?;
        let summary = Summary::read(input)?;
        Ok((summary, if input.null() { None } else { Some(read_envelope(input)?) }))
    })?;
    Ok(Listing { locator, heads, marks: read_marks(input)? })
}

pub(super) fn write_summaries(out: &mut Writer, summaries: &[Summary]) {
    out.array(summaries.len());
    for summary in summaries {
        out.nested(summary);
    }
}

pub(super) fn read_summaries(input: &mut Reader<'_>) -> Result<Vec<Summary>, FormatError> {
    input.list("heads", TOLD_MAX, Summary::read)
}
