//! `/jsfs/membership/1`: what nodes say to each other about who is a member.
//!
//! Whoever opens a stream sends requests, and gets one answer to each, in order. A stranger may say [`Request::Hello`], which shows a credential, or
//! [`Request::Join`], which shows the secret of a ticket, and nothing else.

use super::{
    Announcement, Credential, ITEM_BYTES_MAX, Item, MEMBERS_MAX, Mark, MembershipError, TicketSecret,
};
use crate::wire::ErrorCode;
use jsfs_objects::cbor::{Cbor, FormatError, Reader, Writer};

/// The name of the protocol.
pub const MEMBERSHIP_PROTOCOL: &str = "/jsfs/membership/1";

/// The longest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The longest message that a stranger may send.
pub const STRANGER_BYTES_MAX: usize = 8 << 10;

/// The most items in one message.
pub const MESSAGE_ITEMS_MAX: usize = 256;

/// Items are added to a message until it has this many bytes.
pub const MESSAGE_ITEMS_BYTES: usize = 512 << 10;

/// The most marks: those of a full roster, its dismissals included.
const MARKS_MAX: usize = 3 * MEMBERS_MAX + 1;

// A summary and as many items as go into one message fit beside each other.
const _: () = assert!(MARKS_MAX * 8 + MESSAGE_ITEMS_BYTES + ITEM_BYTES_MAX < MESSAGE_BYTES_MAX);

/// What whoever opened the stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one is held at a time")]
pub enum Request {
    /// Who it is and how much it knows.
    Hello(Hello),
    /// Asks to be let in.
    Join {
        /// The ticket's secret.
        secret: TicketSecret,
    },
    /// Which items it knows, in ascending order of marks.
    Sync {
        /// Their marks.
        marks: Vec<Mark>,
    },
    /// Items that the other may not know.
    Tell {
        /// Their bytes.
        items: Vec<Vec<u8>>,
    },
}

/// Who a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What makes it one.
    pub credential: Credential,
    /// Where it answers.
    pub announcement: Option<Announcement>,
    /// The digest of its roster.
    pub digest: [u8; 32],
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No: the number of an [`ErrorCode`].
    Refused(u64),
    /// To a hello: who the other is.
    Hello(Hello),
    /// To a join: what makes the joiner a member.
    Welcome(Credential),
    /// To a sync: some or all of what the asker lacks, and the marks of what it has and the other lacks.
    Difference {
        /// Items that the asker lacks.
        items: Vec<Vec<u8>>,
        /// What is wanted of the asker.
        wanted: Vec<Mark>,
        /// Whether the asker lacks more than that.
        more: bool,
    },
    /// To a tell: how many of the items were new.
    Heard {
        /// That many.
        new: u64,
    },
}

impl Answer {
    /// The refusal that an error is told as.
    pub fn refusing(error: MembershipError) -> Self {
        let code = match error {
            MembershipError::Format(_) => ErrorCode::Malformed,
            MembershipError::Signature => ErrorCode::Signature,
            MembershipError::Early => ErrorCode::Ahead,
            MembershipError::TooMany => ErrorCode::Full,
            MembershipError::Federation
            | MembershipError::Peer
            | MembershipError::Expired
            | MembershipError::Revoked
            | MembershipError::Ticket => ErrorCode::NotMember,
        };
        Self::Refused(code.number())
    }

    /// As many of the items as go into one message.
    pub fn difference(mut items: Vec<Vec<u8>>, wanted: Vec<Mark>) -> Self {
        let fit = fitting(&items);
        let more = fit < items.len();
        items.truncate(fit);
        Self::Difference { items, wanted, more }
    }
}

impl Request {
    /// Items cut into as many requests as it takes.
    pub fn tell(items: Vec<Vec<u8>>) -> Vec<Self> {
        let mut rest = items;
        let mut requests = Vec::new();
        while !rest.is_empty() {
            let after = rest.split_off(fitting(&rest));
            requests.push(Self::Tell { items: rest });
            rest = after;
        }
        requests
    }
}

/// How many of the items go into one message; at least one.
fn fitting(items: &[Vec<u8>]) -> usize {
    let mut bytes = 0;
    let fit = items.iter().take(MESSAGE_ITEMS_MAX).take_while(|item| {
        bytes += item.len();
        bytes <= MESSAGE_ITEMS_BYTES
    });
    fit.count().max(1).min(items.len())
}

fn write_items(items: &[Vec<u8>], out: &mut Writer) {
    out.array(items.len());
    for item in items {
        out.bytes(item);
    }
}

fn read_items(input: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, FormatError> {
    input.list(Item::NAME, MESSAGE_ITEMS_MAX, |input| {
        input.bytes(Item::NAME, ITEM_BYTES_MAX).map(<[u8]>::to_vec)
    })
}

fn write_marks(marks: &[Mark], out: &mut Writer) {
    out.bytes(&marks.concat());
}

/// Marks in ascending order, none twice.
fn read_marks(input: &mut Reader<'_>) -> Result<Vec<Mark>, FormatError> {
    const WHAT: &str = "a list of marks";
    let (marks, rest) = input.bytes(WHAT, MARKS_MAX * 8)?.as_chunks::<8>();
    if !rest.is_empty() || !marks.is_sorted_by(|one, next| one < next) {
        return Err(FormatError::Malformed { what: WHAT });
    }
    Ok(marks.to_vec())
}

impl Cbor for Hello {
    const NAME: &'static str = "a hello";
    const BYTES_MAX: usize = STRANGER_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        out.array(3).nested(&self.credential);
        match &self.announcement {
            Some(announcement) => out.nested(announcement),
            None => out.null(),
        };
        out.bytes(&self.digest);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 3)?;
        let credential = Credential::read(input)?;
        let announcement = if input.null() { None } else { Some(Announcement::read(input)?) };
        Ok(Self { credential, announcement, digest: input.fixed("a roster's digest")? })
    }
}

impl Cbor for Request {
    const NAME: &'static str = "a request about membership";
    const BYTES_MAX: usize = MESSAGE_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        out.array(2);
        match self {
            Request::Hello(hello) => {
                out.uint(1).nested(hello);
            }
            Request::Join { secret } => {
                out.uint(2).bytes(secret.expose());
            }
            Request::Sync { marks } => write_marks(marks, out.uint(3)),
            Request::Tell { items } => write_items(items, out.uint(4)),
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 2)?;
        match input.uint(Self::NAME)? {
            1 => Hello::read(input).map(Request::Hello),
            2 => Ok(Request::Join { secret: TicketSecret::from_bytes(input.fixed("a ticket's secret")?) }),
            3 => Ok(Request::Sync { marks: read_marks(input)? }),
            4 => Ok(Request::Tell { items: read_items(input)? }),
            _ => Err(FormatError::Malformed { what: Self::NAME }),
        }
    }
}

impl Cbor for Answer {
    const NAME: &'static str = "an answer about membership";
    const BYTES_MAX: usize = MESSAGE_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        match self {
            Answer::Refused(number) => {
                out.array(2).uint(0).uint(*number);
            }
            Answer::Hello(hello) => {
                out.array(2).uint(1).nested(hello);
            }
            Answer::Welcome(credential) => {
                out.array(2).uint(2).nested(credential);
            }
            Answer::Difference { items, wanted, more } => {
                out.array(4).uint(3);
                write_items(items, out);
                write_marks(wanted, out);
                out.bool(*more);
            }
            Answer::Heard { new } => {
                out.array(2).uint(4).uint(*new);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let length = input.array(Self::NAME, 4)?;
        let kind = input.uint(Self::NAME)?;
        if length != if kind == 3 { 4 } else { 2 } {
            return Err(FormatError::Malformed { what: Self::NAME });
        }
        match kind {
            0 => Ok(Answer::Refused(input.uint("an error code")?)),
            1 => Hello::read(input).map(Answer::Hello),
            2 => Credential::read(input).map(Answer::Welcome),
            3 => Ok(Answer::Difference {
                items: read_items(input)?,
                wanted: read_marks(input)?,
                more: input.bool(Self::NAME)?,
            }),
            4 => Ok(Answer::Heard { new: input.uint(Self::NAME)? }),
            _ => Err(FormatError::Malformed { what: Self::NAME }),
        }
    }
}
