//! Deterministic CBOR (RFC 8949 §4.2), the encoding of everything that is signed or sealed.
//!
//! A decoder refuses every encoding but the one that the encoder gives: what was decoded is encoded again and compared. So equal values
//! have equal bytes and hashes, and nothing can be smuggled past a signature. Lengths are bounded before anything is allocated.
//!
//! Open to `federation`, whose certificates and messages are encoded the same way. What is kept in records has checked decoders of its own
//! ([`crate::record::Record::decode`]), which are to be used instead of [`Cbor::from_bytes`].

use minicbor::{Decoder, Encoder, data::Type};
use thiserror::Error;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// Not the structure that the format prescribes.
    #[error("{what} is malformed")]
    Malformed {
        /// The structure or field.
        what: &'static str,
    },
    /// The right values, but not encoded in the one permitted way.
    #[error("{what} is not deterministic CBOR")]
    NotDeterministic {
        /// The structure.
        what: &'static str,
    },
    /// More or longer than the format permits.
    #[error("{what} is larger than the format permits ({limit})")]
    TooLarge {
        /// The structure or field.
        what: &'static str,
        /// The greatest size permitted.
        limit: usize,
    },
    /// Each field may be right, but they contradict each other.
    #[error("{what}")]
    Contradiction {
        /// Which contradiction.
        what: &'static str,
    },
    /// Made by a later version of the format.
    #[error("{what} has version {version}, which this program does not know; a newer one is needed")]
    Version {
        /// The structure.
        what: &'static str,
        /// Its version.
        version: u64,
    },
}

/// A value with exactly one encoding.
pub trait Cbor: Sized {
    /// What error messages call it.
    const NAME: &'static str;
    /// The most bytes that its encoding may have.
    const BYTES_MAX: usize;

    /// Appends its encoding.
    fn write(&self, out: &mut Writer);
    /// Takes its structure off the input.
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError>;

    /// Its one encoding.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.into_bytes()
    }

    /// Reads a value that was encoded in the one permitted way.
    fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let value = Self::from_kept(bytes)?;
        if value.to_bytes() != bytes {
            return Err(FormatError::NotDeterministic { what: Self::NAME });
        }
        Ok(value)
    }

    /// Reads what was encoded here, or was read with [`Cbor::from_bytes`] before it was kept: how it is encoded is not looked at again.
    fn from_kept(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(FormatError::TooLarge { what: Self::NAME, limit: Self::BYTES_MAX });
        }
        let mut input = Reader(Decoder::new(bytes));
        let value = Self::read(&mut input)?;
        if input.0.position() != bytes.len() {
            return Err(FormatError::NotDeterministic { what: Self::NAME });
        }
        Ok(value)
    }
}

/// Appends items to a buffer.
pub struct Writer(Encoder<Vec<u8>>);

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self(Encoder::new(Vec::new()))
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_writer()
    }

    /// The head of an array; its items follow.
    pub fn array(&mut self, length: usize) -> &mut Self {
        self.item(|out| out.array(length as u64).is_ok())
    }

    /// The head of a map; its keys and values follow.
    pub fn map(&mut self, length: usize) -> &mut Self {
        self.item(|out| out.map(length as u64).is_ok())
    }

    /// A number.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.item(|out| out.u64(value).is_ok())
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.item(|out| out.bytes(value).is_ok())
    }

    /// A text.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.item(|out| out.str(value).is_ok())
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.item(|out| out.bool(value).is_ok())
    }

    /// A null.
    pub fn null(&mut self) -> &mut Self {
        self.item(|out| out.null().is_ok())
    }

    /// A value of another type.
    pub fn nested(&mut self, value: &impl Cbor) -> &mut Self {
        value.write(self);
        self
    }

    fn item(&mut self, write: impl FnOnce(&mut Encoder<Vec<u8>>) -> bool) -> &mut Self {
        let written = write(&mut self.0);
        debug_assert!(written, "writing to a vector cannot fail");
        self
    }
}

/// Takes items off bytes. `what` names the field for the error message.
pub struct Reader<'b>(Decoder<'b>);

impl<'b> Reader<'b> {
    /// A number.
    pub fn uint(&mut self, what: &'static str) -> Result<u64, FormatError> {
        self.0.u64().map_err(|_| FormatError::Malformed { what })
    }

    /// A truth value.
    pub fn bool(&mut self, what: &'static str) -> Result<bool, FormatError> {
        self.0.bool().map_err(|_| FormatError::Malformed { what })
    }

    /// A byte string of at most `limit` bytes.
    pub fn bytes(&mut self, what: &'static str, limit: usize) -> Result<&'b [u8], FormatError> {
        match self.0.bytes() {
            Ok(bytes) if bytes.len() > limit => Err(FormatError::TooLarge { what, limit }),
            Ok(bytes) => Ok(bytes),
            Err(_) => Err(FormatError::Malformed { what }),
        }
    }

    /// A byte string of exactly `N` bytes.
    pub fn fixed<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], FormatError> {
        self.bytes(what, N)?.try_into().map_err(|_| FormatError::Malformed { what })
    }

    /// A text of at most `limit` bytes.
    pub fn text(&mut self, what: &'static str, limit: usize) -> Result<&'b str, FormatError> {
        match self.0.str() {
            Ok(text) if text.len() > limit => Err(FormatError::TooLarge { what, limit }),
            Ok(text) => Ok(text),
            Err(_) => Err(FormatError::Malformed { what }),
        }
    }

    /// Takes a null, if one comes next.
    pub fn null(&mut self) -> bool {
        matches!(self.0.datatype(), Ok(Type::Null)) && self.0.null().is_ok()
    }

    /// The length of an array with at most `limit` items.
    pub fn array(&mut self, what: &'static str, limit: usize) -> Result<usize, FormatError> {
        length(self.0.array(), what, limit)
    }

    /// An array of exactly `length` items.
    pub fn tuple(&mut self, what: &'static str, length: usize) -> Result<(), FormatError> {
        if self.array(what, length)? == length { Ok(()) } else { Err(FormatError::Malformed { what }) }
    }

    /// An array of at most `limit` items, each taken by `item`.
    pub fn list<T>(
        &mut self,
        what: &'static str,
        limit: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Vec<T>, FormatError> {
        let length = self.array(what, limit)?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// A map from small numbers. `field` takes the value of the key it is given, and answers whether it knows the key.
    pub fn map(
        &mut self,
        what: &'static str,
        mut field: impl FnMut(&mut Self, u64) -> Result<bool, FormatError>,
    ) -> Result<(), FormatError> {
        for _ in 0..length(self.0.map(), what, 64)? {
            let key = self.uint(what)?;
            if !field(self, key)? {
                return Err(FormatError::Malformed { what });
            }
        }
        Ok(())
    }
}

fn length(
    read: Result<Option<u64>, minicbor::decode::Error>,
    what: &'static str,
    limit: usize,
) -> Result<usize, FormatError> {
    let length = read.ok().flatten().ok_or(FormatError::Malformed { what })?;
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= limit)
        .ok_or(FormatError::TooLarge { what, limit })
}

/// The value of a field that must be there.
pub fn required<T>(value: Option<T>, what: &'static str) -> Result<T, FormatError> {
    value.ok_or(FormatError::Malformed { what })
}
