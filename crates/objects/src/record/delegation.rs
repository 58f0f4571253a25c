//! Delegations: the signed proof that an owner handed a place over.

use super::Record;
use crate::cbor::{Cbor, FormatError, Reader, Writer, required};
use crate::clock::HybridTime;
use crate::key::{Keys, Owner, Signature, SigningKey};
use crate::read_key::Locator;

/// What one owner handed to another, signed by the one who gave it away. It proves nothing once a greater epoch was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    terms: Terms,
    signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Terms {
    place: Locator,
    from: Owner,
    to: Owner,
    epoch: u64,
    time: HybridTime,
}

impl Delegation {
    /// Hands a place over. `from` are the present owner's keys, `epoch` is the new one.
    pub fn sign(from: &Keys, place: Locator, to: Owner, epoch: u64, time: HybridTime) -> Self {
        Self::sign_by(from.signing(), place, to, epoch, time)
    }

    /// The same by a key that owns nothing: that of a federation, or of one of its admins, which grants a namespace.
    pub fn sign_by(from: &SigningKey, place: Locator, to: Owner, epoch: u64, time: HybridTime) -> Self {
        let terms = Terms { place, from: from.public().into(), to, epoch, time };
        let signature = from.sign(&terms.message());
        Self { terms, signature }
    }

    /// The locator of the place.
    pub fn place(&self) -> Locator {
        self.terms.place
    }

    /// Who handed it over.
    pub fn from(&self) -> Owner {
        self.terms.from
    }

    /// Who owns it since.
    pub fn to(&self) -> Owner {
        self.terms.to
    }

    /// The epoch that began with it.
    pub fn epoch(&self) -> u64 {
        self.terms.epoch
    }

    /// When it was signed.
    pub fn time(&self) -> HybridTime {
        self.terms.time
    }

    /// Whether the former owner signed it.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.terms.from.key().verifies(&self.terms.message(), &self.signature)
    }

    /// Whether it can stand in a record: about its owner, and of its epoch or an earlier one.
    pub(super) fn fits(&self, record: &Record) -> bool {
        self.terms.to == record.owner && self.terms.epoch <= record.epoch
    }
}

impl Terms {
    fn message(&self) -> Vec<u8> {
        [b"jsfs/v1/delegation".as_slice(), &self.to_bytes()].concat()
    }
}

impl Cbor for Terms {
    const NAME: &'static str = "a delegation";
    const BYTES_MAX: usize = 256;

    fn write(&self, out: &mut Writer) {
        out.map(5);
        out.uint(1).bytes(self.place.as_bytes());
        out.uint(2).bytes(self.from.as_bytes());
        out.uint(3).bytes(self.to.as_bytes());
        out.uint(4).uint(self.epoch);
        out.uint(5).uint(self.time.0);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (mut place, mut from, mut to, mut epoch, mut time) = (None, None, None, None, None);
        input.map(Self::NAME, |input, key| {
            match key {
                1 => place = Some(input.fixed("a delegation's place")?),
                2 => from = Some(input.fixed("a delegation's giver")?),
                3 => to = Some(input.fixed("a delegation's taker")?),
                4 => epoch = Some(input.uint("a delegation's epoch")?),
                5 => time = Some(input.uint("a delegation's time")?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Self {
            place: Locator::from_bytes(required(place, "a delegation's place")?),
            from: Owner::from_bytes(required(from, "a delegation's giver")?),
            to: Owner::from_bytes(required(to, "a delegation's taker")?),
            epoch: required(epoch, "a delegation's epoch")?,
            time: HybridTime(required(time, "a delegation's time")?),
        })
    }
}

impl Cbor for Delegation {
    const NAME: &'static str = "a delegation";
    const BYTES_MAX: usize = 512;

    fn write(&self, out: &mut Writer) {
        out.array(2).bytes(&self.terms.to_bytes()).bytes(&self.signature);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 2)?;
        let terms = Terms::from_bytes(input.bytes(Self::NAME, Terms::BYTES_MAX)?)?;
        Ok(Self { terms, signature: input.fixed("a delegation's signature")? })
    }
}
