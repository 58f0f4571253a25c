//! Frames and error codes, the same in every protocol of the federation.
//!
//! A frame is the length of a message as an unsigned varint, then the message. Lengths are checked before anything is kept, so whoever
//! sends nonsense makes the receiver hold no more than it had sent, and never more than the protocol's limit. Errors are numbers: the
//! receiver words them.

use thiserror::Error;

/// A length takes at most this many bytes, which is enough for 256 MiB.
const LENGTH_BYTES_MAX: usize = 4;

/// Why a stream cannot be read on. The connection is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A length that is not in its shortest form, or takes too many bytes.
    #[error(
        "the length of a frame is not an unsigned varint of at most {LENGTH_BYTES_MAX} bytes in its shortest form"
    )]
    Length,
    /// More than the protocol allows.
    #[error("a frame of {length} bytes is longer than the protocol allows ({limit})")]
    TooLong {
        /// Its length.
        length: usize,
        /// The greatest allowed.
        limit: usize,
    },
}

/// A message as it is sent. It is not longer than its protocol's limit, which encoding saw to.
#[must_use]
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut out = length(message.len());
    out.extend_from_slice(message);
    out
}

/// What stands before a message of so many bytes.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "seven bits are left")]
pub fn length(message: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(LENGTH_BYTES_MAX + 1);
    let mut rest = message;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
    out
}

/// Cuts messages out of a stream that comes in pieces of any size.
#[derive(Debug)]
pub struct Deframer {
    limit: usize,
    bytes: Vec<u8>,
    failed: Option<FrameError>,
}

impl Deframer {
    /// For a protocol whose messages have at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: Vec::new(), failed: None }
    }

    /// Takes in what came. The caller takes messages out until there are none before it pushes more, so no more than one message and one
    /// piece are held.
    pub fn push(&mut self, piece: &[u8]) {
        if self.failed.is_none() {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// The next whole message; none until more has come. An error stays.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.cut().inspect_err(|error| {
                self.failed = Some(*error);
                self.bytes = Vec::new();
            }),
        }
    }

    fn cut(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let Some((length, head)) = read_length(&self.bytes)? else { return Ok(None) };
        if length > self.limit {
            return Err(FrameError::TooLong { length, limit: self.limit });
        }
        if self.bytes.len() < head + length {
            return Ok(None);
        }
        let rest = self.bytes.split_off(head + length);
        let mut message = std::mem::replace(&mut self.bytes, rest);
        message.drain(..head);
        Ok(Some(message))
    }
}

/// A length and how many bytes it took; none if it is cut short.
fn read_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(LENGTH_BYTES_MAX).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let shortest = index == 0 || *byte != 0;
            return if shortest { Ok(Some((value, index + 1))) } else { Err(FrameError::Length) };
        }
    }
    if bytes.len() >= LENGTH_BYTES_MAX { Err(FrameError::Length) } else { Ok(None) }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal,)*) => {
        /// Why a request was refused. Numbers never change their meaning; one that is not known counts as [`ErrorCode::Unknown`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode { $($(#[doc = $doc])+ $name,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name),*];

            /// Its number on the wire.
            #[must_use]
            pub fn number(self) -> u64 {
                match self { $(ErrorCode::$name => $number),* }
            }

            /// The code that a number means; none for a number that this version does not have.
            #[must_use]
            pub fn from_number(number: u64) -> Option<Self> {
                match number { $($number => Some(ErrorCode::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// A kind of request that the receiver does not know.
    Unknown = 1,
    /// A message that is not what the protocol prescribes.
    Malformed = 2,
    /// The sender is no member, or is one no more.
    NotMember = 3,
    /// The receiver does not have the role that the request needs.
    Role = 4,
    /// Too much at once: ask again later.
    Busy = 5,
    /// There is no room, or the quota is used up.
    Full = 6,
    /// A signature, or what it is to prove, is not good.
    Signature = 7,
    /// A record filed under something else than its locator or its group.
    Misfiled = 8,
    /// A time too far ahead of the receiver's.
    Ahead = 9,
    /// Bytes that do not have the hash that they are named by.
    Damaged = 10,
    /// The receiver does not have it.
    Absent = 11,
    /// What is there is not what the condition said.
    Conflict = 12,
}

#[cfg(test)]
mod tests {
    use super::{Deframer, ErrorCode, FrameError, frame};

    #[test]
    fn messages_come_out_of_pieces_of_any_size_as_they_went_in() {
        let messages: Vec<Vec<u8>> = [0, 1, 127, 128, 129, 16_383, 16_384, 70_000]
            .into_iter()
            .map(|length| (0..length).map(|at| (at % 251) as u8).collect())
            .collect();
        let stream: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
        for piece in [1, 2, 3, 127, 128, 1_000, stream.len()] {
            let mut deframer = Deframer::new(70_000);
            let mut found = Vec::new();
            for part in stream.chunks(piece) {
                deframer.push(part);
                while let Some(message) = deframer.take().unwrap() {
                    found.push(message);
                }
            }
            assert!(found == messages, "pieces of {piece}");
        }
    }

    #[test]
    fn lengths_that_are_too_great_or_not_shortest_are_refused_before_anything_is_kept() {
        let refused = |bytes: &[u8]| {
            let mut deframer = Deframer::new(1_000);
            deframer.push(bytes);
            let error = deframer.take().unwrap_err();
            deframer.push(&frame(b"after"));
            assert_eq!(deframer.take(), Err(error), "an error stays");
            error
        };
        assert_eq!(refused(&[0xe9, 0x07]), FrameError::TooLong { length: 1_001, limit: 1_000 });
        assert_eq!(refused(&[0x80, 0x00]), FrameError::Length);
        assert_eq!(refused(&[0xff, 0xff, 0xff, 0xff]), FrameError::Length);
        let mut short = Deframer::new(1_000);
        short.push(&[0x80]);
        assert_eq!(short.take(), Ok(None));
    }

    #[test]
    fn every_code_has_a_number_of_its_own() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
        }
        assert_eq!(ErrorCode::from_number(0), None);
        assert_eq!(ErrorCode::from_number(99), None);
    }
}
