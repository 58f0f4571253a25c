//! Comparing what two members both keep: by fingerprints of ranges of rows, halved in sixteen until the rows themselves are few.
//!
//! Only rows of homes that both are replicas of count, which each computes for itself. Marks are a member's own and are not compared; what
//! one has dropped because something followed it, it says is past (`past` in the messages), and the other believes two who say so.

use super::placement::Members;
use super::{Home, Quorum, Row, Shelf, ShelfError};
use crate::membership::PeerId;
use jsfs_objects::cbor::{Cbor, FormatError, Reader, Writer};
use std::collections::HashMap;

/// Ranges in one message, and parts that a range is cut into.
pub const RANGES_MAX: usize = 16;

/// Ranges with no more rows than this are told row by row.
pub const ROWS_TOLD_MAX: usize = 64;

/// Rows that are read off the shelf at a time.
const STEP: usize = 1_024;

/// BLAKE3 of the names of rows, in order.
pub type Fingerprint = [u8; 32];

/// The name of a row, as bounds have it.
pub type Bound = [u8; Row::BYTES];

/// A run of rows and what they come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first name that belongs to it.
    pub from: Bound,
    /// The first name past it; none if it goes to the end.
    pub until: Option<Bound>,
    /// What the rows in it come to.
    pub fingerprint: Fingerprint,
}

/// What a member says of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The same rows.
    Same,
    /// Other rows: these are the parts of the range.
    Parts(Vec<Range>),
    /// Other rows: these, at most [`ROWS_TOLD_MAX`].
    Rows(Vec<Row>),
}

/// Whether both are replicas of a home.
fn is_common(home: &Home, one: &PeerId, other: &PeerId, members: &Members, replicas: usize) -> bool {
    let order = members.order(home);
    let best = &order[..replicas.min(order.len())];
    best.contains(one) && best.contains(other)
}

/// The rows of a range that two members both keep.
pub(super) fn common_rows(
    shelf: &impl Shelf,
    (from, until): (&Bound, Option<&Bound>),
    (one, other): (&PeerId, &PeerId),
    members: &Members,
    quorum: Quorum,
) -> Result<Vec<Row>, ShelfError> {
    let replicas = quorum.among(members.keepers()).replicas;
    let mut common = Vec::new();
    let mut last: Option<(Home, bool)> = None;
    each_row(shelf, from, until, |row| {
        let keep = match last {
            Some((home, keep)) if home == row.home => keep,
            _ => is_common(&row.home, one, other, members, replicas),
        };
        last = Some((row.home, keep));
        if keep {
            common.push(row);
        }
    })?;
    Ok(common)
}

/// The rows that two members both keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    pub(super) fingerprint: Fingerprint,
    pub(super) rows: u64,
}

/// What the rows that a member keeps in common with each other one come to, found in one run over the shelf.
pub(super) fn all_fingerprints(
    shelf: &impl Shelf,
    me: &PeerId,
    members: &Members,
    quorum: Quorum,
) -> Result<HashMap<PeerId, Common>, ShelfError> {
    let replicas = quorum.among(members.keepers()).replicas;
    let mut found: HashMap<PeerId, (blake3::Hasher, u64)> = HashMap::new();
    each_row(shelf, &Row::FIRST, None, |row| {
        let order = members.order(&row.home);
        let best = &order[..replicas.min(order.len())];
        if best.contains(me) {
            for peer in best.iter().filter(|peer| *peer != me) {
                let (hasher, rows) = found.entry(*peer).or_default();
                hasher.update(&row.to_bytes());
                *rows += 1;
            }
        }
    })?;
    let common =
        |(hasher, rows): (blake3::Hasher, u64)| Common { fingerprint: *hasher.finalize().as_bytes(), rows };
    Ok(found.into_iter().map(|(peer, found)| (peer, common(found))).collect())
}

/// Runs over the rows of a range, marks left out.
pub(super) fn each_row(
    shelf: &impl Shelf,
    from: &Bound,
    until: Option<&Bound>,
    mut take: impl FnMut(Row),
) -> Result<(), ShelfError> {
    let mut from = *from;
    loop {
        let rows = shelf.rows(&from, until, STEP)?;
        let Some(last) = rows.last().map(|row| row.to_bytes()) else { return Ok(()) };
        let full = rows.len() == STEP;
        rows.into_iter().filter(|row| !row.is_marks()).for_each(&mut take);
        match after(&last) {
            Some(next) if full => from = next,
            _ => return Ok(()),
        }
    }
}

/// The next name after one.
pub(super) fn after(name: &Bound) -> Option<Bound> {
    let mut next = *name;
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(next);
        }
    }
    None
}

/// What rows come to.
pub fn fingerprint(rows: &[Row]) -> Fingerprint {
    let mut hasher = blake3::Hasher::new();
    rows.iter().for_each(|row| {
        hasher.update(&row.to_bytes());
    });
    *hasher.finalize().as_bytes()
}

/// What to say of a range in which one has these rows.
pub(super) fn compare(range: &Range, rows: Vec<Row>) -> Compared {
    if fingerprint(&rows) == range.fingerprint {
        return Compared::Same;
    }
    if rows.len() <= ROWS_TOLD_MAX {
        return Compared::Rows(rows);
    }
    let size = rows.len().div_ceil(RANGES_MAX);
    let chunks: Vec<&[Row]> = rows.chunks(size).collect();
    let starts: Vec<Bound> = chunks.iter().map(|chunk| chunk[0].to_bytes()).collect();
    let part = |(at, chunk): (usize, &&[Row])| Range {
        from: if at == 0 { range.from } else { starts[at] },
        until: starts.get(at + 1).copied().or(range.until),
        fingerprint: fingerprint(chunk),
    };
    Compared::Parts(chunks.iter().enumerate().map(part).collect())
}

impl Cbor for Range {
    const NAME: &'static str = "a range of rows";
    const BYTES_MAX: usize = 256;

    fn write(&self, out: &mut Writer) {
        out.array(3).bytes(&self.from);
        match &self.until {
            Some(until) => out.bytes(until),
            None => out.null(),
        };
        out.bytes(&self.fingerprint);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 3)?;
        let from = input.fixed(Self::NAME)?;
        let until = if input.null() { None } else { Some(input.fixed(Self::NAME)?) };
        Ok(Self { from, until, fingerprint: input.fixed(Self::NAME)? })
    }
}

impl Cbor for Compared {
    const NAME: &'static str = "a comparison";
    const BYTES_MAX: usize = 8_192;

    fn write(&self, out: &mut Writer) {
        match self {
            Compared::Same => {
                out.array(1).uint(0);
            }
            Compared::Parts(parts) => {
                out.array(2).uint(1).array(parts.len());
                parts.iter().for_each(|part| {
                    out.nested(part);
                });
            }
            Compared::Rows(rows) => {
                out.array(2).uint(2);
                write_rows(out, rows);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let what = Self::NAME;
        match super::message::kind(input, what)? {
            (0, 0) => Ok(Compared::Same),
            (1, 1) => Ok(Compared::Parts(input.list(what, RANGES_MAX, Range::read)?)),
            (2, 1) => Ok(Compared::Rows(read_rows(input)?)),
            _ => Err(FormatError::Malformed { what }),
        }
    }
}

pub(super) fn write_rows(out: &mut Writer, rows: &[Row]) {
    out.array(rows.len());
    for row in rows {
        out.bytes(&row.to_bytes());
    }
}

pub(super) fn read_rows(input: &mut Reader<'_>) -> Result<Vec<Row>, FormatError> {
    let what = "names of rows";
    input.list(what, ROWS_TOLD_MAX, |input| input.fixed(what).map(|bytes| Row::from_bytes(&bytes)))
}
