//! Messages of `/jsfs/metastore/2` (docs/protocols/metastore.md): each an array that begins with the number of its kind, of at most
//! [`MESSAGE_BYTES_MAX`]. A decoder refuses whatever the encoder does not make.

mod parts;

pub use parts::{Found, Listing, Summary};

use super::compare::{Compared, RANGES_MAX, ROWS_TOLD_MAX, Range, read_rows, write_rows};
use super::watch::{CHANGED_MAX, Cursor};
use super::{Home, Row};
use crate::wire::ErrorCode;
use jsfs_objects::cbor::{Cbor, FormatError, Reader, Writer};
use jsfs_objects::key::Owner;
use jsfs_objects::read_key::Locator;
use jsfs_objects::record::{ENVELOPE_BYTES_MAX, RecordHash};
use parts::{
    read_envelope, read_found, read_listing, read_summaries, write_found, write_listing, write_summaries,
};

/// The largest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 2 << 20;

/// Envelopes in an answer take no more than this, one is always answered.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Envelopes in one `store`: what goes before, and the one that it is about.
pub(super) const STORE_MAX: usize = 16;

/// Locators in one `fetch` or `head`.
pub const LOCATORS_MAX: usize = 64;

/// Followed versions that a `fetch` can ask for.
pub const CHAIN_MAX: u64 = 32;

/// Entries in one page.
pub const LIST_MAX: u64 = 1_000;

/// Marks that come with a slot.
pub(super) const MARKS_TOLD: usize = 64;

/// Envelopes that come with a slot in one answer.
pub(super) const TOLD_MAX: usize = 512;

const _: () = assert!(
    ANSWER_BYTES_MAX + ENVELOPE_BYTES_MAX + (64 << 10) <= MESSAGE_BYTES_MAX
        && LOCATORS_MAX * (MARKS_TOLD * 9 + 16) <= 64 << 10,
    "an answer fits into a message"
);

/// What names a hold: random, so that nobody else can use it.
pub type HoldId = [u8; 16];

/// What a member asks of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Keep these at a home, in this order: each is filed there by its locator or group, or follows one that is. Under a hold, the last is stored only while the hold lasts.
    Store {
        /// Where.
        home: Home,
        /// Envelopes, earlier ones first.
        envelopes: Vec<Vec<u8>>,
        /// The hold that this is stored under.
        hold: Option<HoldId>,
    },
    /// The versions under these locators.
    Fetch {
        /// Which.
        locators: Vec<Locator>,
        /// How many followed versions of each.
        chain: u64,
    },
    /// The entries at a home, in order of locators.
    List {
        /// Where.
        home: Home,
        /// After this locator.
        after: Option<Locator>,
        /// At most so many.
        limit: u64,
    },
    /// What the heads under these locators are, without the records.
    Head {
        /// Which.
        locators: Vec<Locator>,
    },
    /// Let nobody else hold this slot, if what is served there of this owner is what was expected.
    Hold {
        /// Which slot.
        locator: Locator,
        /// Whose versions.
        owner: Owner,
        /// The record that is served; none if there is none.
        expected: Option<RecordHash>,
        /// What the hold will be called.
        id: HoldId,
        /// For how long, ms.
        ms: u64,
    },
    /// The hold is not needed any more.
    Release {
        /// Which slot.
        locator: Locator,
        /// Which hold.
        id: HoldId,
    },
    /// Say of each of these ranges of rows that both keep whether you have the same.
    Compare {
        /// Which, 1 to 16.
        ranges: Vec<Range>,
    },
    /// Give these rows.
    Pull {
        /// Which, 1 to 64.
        rows: Vec<Row>,
    },
    /// Something follows these here, and they are dropped.
    Past {
        /// Which, 1 to 64.
        rows: Vec<Row>,
    },
    /// Tell what changed at a home since a cursor, and for a while that something did.
    Watch {
        /// Where.
        home: Home,
        /// What is known; none to begin now.
        cursor: Option<Cursor>,
        /// For how long to be told, ms; 0 for not any more.
        lease_ms: u64,
    },
    /// Something changed at a home that the receiver watches.
    Notice {
        /// Where.
        home: Home,
    },
    /// A home is cut: what its group lists there lies at homes of its parts.
    Cut {
        /// Which.
        home: Home,
    },
}

/// What a member answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// No, with the number of an error code.
    Refused(u64),
    /// They are kept; of each whether something follows it already.
    Stored(Vec<bool>),
    /// What is kept under the first of the locators asked for, as many as fit.
    Versions {
        /// Whether this member has heard from the others since the members changed.
        settled: bool,
        /// In the order asked for.
        found: Vec<Found>,
    },
    /// A page.
    Page {
        /// As above.
        settled: bool,
        /// Entries, in order.
        entries: Vec<Listing>,
        /// Whether there are more after the last.
        more: bool,
        /// Whether the home is cut: others are at its parts.
        cut: bool,
    },
    /// Heads.
    Heads {
        /// As above.
        settled: bool,
        /// In the order asked for.
        found: Vec<Vec<Summary>>,
    },
    /// The slot is held.
    Held,
    /// What is served is something else: these are the heads.
    Conflict(Vec<Summary>),
    /// The hold is gone.
    Released,
    /// What is said of each range.
    Compared(Vec<Compared>),
    /// Envelopes, in the order asked for, as many as fit; none for a row that is not here.
    Pulled(Vec<Option<Vec<u8>>>),
    /// It is noted.
    Noted,
    /// What changed.
    Changes {
        /// Where to go on.
        cursor: Cursor,
        /// Whether changes were forgotten, or are of an earlier life: list anew.
        gap: bool,
        /// Under which locators, at most 1,024; there may be more if the cursor is not at the end.
        locators: Vec<Locator>,
        /// Whether the home is cut: its parts are to be watched as well.
        cut: bool,
    },
    /// The home is cut: entries are stored at its parts.
    Elsewhere,
}

impl Response {
    /// A refusal.
    #[must_use]
    pub fn refused(code: ErrorCode) -> Self {
        Response::Refused(code.number())
    }

    /// Why this refuses, if it does; a number that is not known counts as [`ErrorCode::Unknown`].
    #[must_use]
    pub fn refusal(&self) -> Option<ErrorCode> {
        match self {
            Response::Refused(number) => Some(ErrorCode::from_number(*number).unwrap_or(ErrorCode::Unknown)),
            _ => None,
        }
    }
}

/// Takes the head of an array, the number that it begins with, and how many items follow.
pub(super) fn kind(input: &mut Reader<'_>, what: &'static str) -> Result<(u64, usize), FormatError> {
    let items = input.array(what, 8)?;
    let following = items.checked_sub(1).ok_or(FormatError::Malformed { what })?;
    Ok((input.uint(what)?, following))
}

fn hash32(input: &mut Reader<'_>, what: &'static str) -> Result<Option<[u8; 32]>, FormatError> {
    if input.null() { Ok(None) } else { input.fixed(what).map(Some) }
}

fn write_hash(out: &mut Writer, hash: Option<&[u8; 32]>) {
    match hash {
        Some(hash) => out.bytes(hash),
        None => out.null(),
    };
}

fn write_locators(out: &mut Writer, locators: &[Locator]) {
    out.array(locators.len());
    for locator in locators {
        out.bytes(locator.as_bytes());
    }
}

fn read_locators(input: &mut Reader<'_>) -> Result<Vec<Locator>, FormatError> {
    let what = "the locators asked for";
    let locators = input.list(what, LOCATORS_MAX, |input| input.fixed(what).map(Locator::from_bytes))?;
    if locators.is_empty() { Err(FormatError::Malformed { what }) } else { Ok(locators) }
}

impl Cbor for Request {
    const NAME: &'static str = "a request to the metastore";
    const BYTES_MAX: usize = MESSAGE_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        match self {
            Request::Store { home, envelopes, hold } => {
                out.array(4).uint(1).bytes(home.as_bytes()).array(envelopes.len());
                for envelope in envelopes {
                    out.bytes(envelope);
                }
                match hold {
                    Some(id) => out.bytes(id),
                    None => out.null(),
                };
            }
            Request::Fetch { locators, chain } => {
                out.array(3).uint(2);
                write_locators(out, locators);
                out.uint(*chain);
            }
            Request::List { home, after, limit } => {
                out.array(4).uint(3).bytes(home.as_bytes());
                write_hash(out, after.as_ref().map(Locator::as_bytes));
                out.uint(*limit);
            }
            Request::Head { locators } => {
                out.array(2).uint(4);
                write_locators(out, locators);
            }
            Request::Hold { locator, owner, expected, id, ms } => {
                out.array(6).uint(5).bytes(locator.as_bytes()).bytes(owner.as_bytes());
                write_hash(out, expected.as_ref());
                out.bytes(id).uint(*ms);
            }
            Request::Release { locator, id } => {
                out.array(3).uint(6).bytes(locator.as_bytes()).bytes(id);
            }
            Request::Compare { ranges } => {
                out.array(2).uint(7).array(ranges.len());
                for range in ranges {
                    out.nested(range);
                }
            }
            Request::Pull { rows } => {
                out.array(2).uint(8);
                write_rows(out, rows);
            }
            Request::Past { rows } => {
                out.array(2).uint(9);
                write_rows(out, rows);
            }
            Request::Watch { home, cursor, lease_ms } => {
                out.array(4).uint(10).bytes(home.as_bytes());
                match cursor {
                    Some(cursor) => out.array(2).uint(cursor.life).uint(cursor.next),
                    None => out.null(),
                };
                out.uint(*lease_ms);
            }
            Request::Notice { home } => {
                out.array(2).uint(11).bytes(home.as_bytes());
            }
            Request::Cut { home } => {
                out.array(2).uint(12).bytes(home.as_bytes());
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let what = Self::NAME;
        match kind(input, what)? {
            (1, 3) => {
                let home = Home::from_bytes(input.fixed("a home")?);
                let envelopes = input.list("envelopes", STORE_MAX, read_envelope)?;
                let hold = if input.null() { None } else { Some(input.fixed("a hold")?) };
                if envelopes.is_empty() {
                    return Err(FormatError::Malformed { what });
                }
                Ok(Request::Store { home, envelopes, hold })
            }
            (2, 2) => {
                let locators = read_locators(input)?;
                Ok(Request::Fetch { locators, chain: bounded(input, CHAIN_MAX)? })
            }
            (3, 3) => {
                let home = Home::from_bytes(input.fixed("a home")?);
                let after = hash32(input, "a locator")?.map(Locator::from_bytes);
                Ok(Request::List { home, after, limit: bounded(input, LIST_MAX)? })
            }
            (4, 1) => Ok(Request::Head { locators: read_locators(input)? }),
            (5, 5) => Ok(Request::Hold {
                locator: Locator::from_bytes(input.fixed("a locator")?),
                owner: Owner::from_bytes(input.fixed("an owner")?),
                expected: hash32(input, "the hash of a record")?,
                id: input.fixed("a hold")?,
                ms: input.uint("the time of a hold")?,
            }),
            (6, 2) => Ok(Request::Release {
                locator: Locator::from_bytes(input.fixed("a locator")?),
                id: input.fixed("a hold")?,
            }),
            (7, 1) => Ok(Request::Compare { ranges: some(input.list("ranges", RANGES_MAX, Range::read)?)? }),
            (8, 1) => Ok(Request::Pull { rows: some(read_rows(input)?)? }),
            (9, 1) => Ok(Request::Past { rows: some(read_rows(input)?)? }),
            (10, 3) => Ok(Request::Watch {
                home: Home::from_bytes(input.fixed("a home")?),
                cursor: if input.null() { None } else { Some(read_cursor(input)?) },
                lease_ms: input.uint("the time of a lease")?,
            }),
            (11, 1) => Ok(Request::Notice { home: Home::from_bytes(input.fixed("a home")?) }),
            (12, 1) => Ok(Request::Cut { home: Home::from_bytes(input.fixed("a home")?) }),
            _ => Err(FormatError::Malformed { what }),
        }
    }
}

fn read_cursor(input: &mut Reader<'_>) -> Result<Cursor, FormatError> {
    let what = "a cursor";
    input.tuple(what, 2)?;
    Ok(Cursor { life: input.uint(what)?, next: input.uint(what)? })
}

fn some<T>(items: Vec<T>) -> Result<Vec<T>, FormatError> {
    if items.is_empty() { Err(FormatError::Malformed { what: Request::NAME }) } else { Ok(items) }
}

fn bounded(input: &mut Reader<'_>, limit: u64) -> Result<u64, FormatError> {
    let what = "how many are asked for";
    let number = input.uint(what)?;
    if number <= limit { Ok(number) } else { Err(FormatError::Malformed { what }) }
}

impl Cbor for Response {
    const NAME: &'static str = "an answer of the metastore";
    const BYTES_MAX: usize = MESSAGE_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        match self {
            Response::Refused(number) => {
                out.array(2).uint(0).uint(*number);
            }
            Response::Stored(behind) => {
                out.array(2).uint(1).array(behind.len());
                for behind in behind {
                    out.bool(*behind);
                }
            }
            Response::Versions { settled, found } => {
                out.array(3).uint(2).bool(*settled).array(found.len());
                found.iter().for_each(|found| write_found(out, found));
            }
            Response::Page { settled, entries, more, cut } => {
                out.array(5).uint(3).bool(*settled).array(entries.len());
                entries.iter().for_each(|entry| write_listing(out, entry));
                out.bool(*more).bool(*cut);
            }
            Response::Heads { settled, found } => {
                out.array(3).uint(4).bool(*settled).array(found.len());
                found.iter().for_each(|found| write_summaries(out, found));
            }
            Response::Held => {
                out.array(1).uint(5);
            }
            Response::Conflict(heads) => {
                out.array(2).uint(6);
                write_summaries(out, heads);
            }
            Response::Released => {
                out.array(1).uint(7);
            }
            Response::Compared(said) => {
                out.array(2).uint(8).array(said.len());
                for said in said {
                    out.nested(said);
                }
            }
            Response::Pulled(envelopes) => {
                out.array(2).uint(9).array(envelopes.len());
                for envelope in envelopes {
                    match envelope {
                        Some(envelope) => out.bytes(envelope),
                        None => out.null(),
                    };
                }
            }
            Response::Noted => {
                out.array(1).uint(10);
            }
            Response::Changes { cursor, gap, locators, cut } => {
                out.array(5).uint(11).array(2).uint(cursor.life).uint(cursor.next).bool(*gap);
                write_locators(out, locators);
                out.bool(*cut);
            }
            Response::Elsewhere => {
                out.array(1).uint(12);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let what = Self::NAME;
        Ok(match kind(input, what)? {
            (0, 1) => Response::Refused(input.uint("an error code")?),
            (1, 1) => Response::Stored(input.list(what, STORE_MAX, |input| input.bool(what))?),
            (2, 2) => Response::Versions {
                settled: input.bool(what)?,
                found: input.list(what, LOCATORS_MAX, read_found)?,
            },
            (3, 4) => Response::Page {
                settled: input.bool(what)?,
                entries: input.list(what, page_max(), read_listing)?,
                more: input.bool(what)?,
                cut: input.bool(what)?,
            },
            (4, 2) => Response::Heads {
                settled: input.bool(what)?,
                found: input.list(what, LOCATORS_MAX, read_summaries)?,
            },
            (5, 0) => Response::Held,
            (6, 1) => Response::Conflict(read_summaries(input)?),
            (7, 0) => Response::Released,
            (8, 1) => Response::Compared(input.list(what, RANGES_MAX, Compared::read)?),
            (9, 1) => Response::Pulled(input.list(what, ROWS_TOLD_MAX, |input| {
                if input.null() { Ok(None) } else { read_envelope(input).map(Some) }
            })?),
            (10, 0) => Response::Noted,
            (11, 4) => Response::Changes {
                cursor: read_cursor(input)?,
                gap: input.bool(what)?,
                locators: input
                    .list(what, CHANGED_MAX, |input| input.fixed(what).map(Locator::from_bytes))?,
                cut: input.bool(what)?,
            },
            (12, 0) => Response::Elsewhere,
            _ => return Err(FormatError::Malformed { what }),
        })
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a constant of 1,000")]
const fn page_max() -> usize {
    LIST_MAX as usize
}
