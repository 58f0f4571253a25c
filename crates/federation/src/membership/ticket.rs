//! Tickets: one line of text with which a node finds the federation and is let in once.
//!
//! A ticket is a secret: it prints only through [`Ticket::to_text`]. Its checksum finds typing errors before anybody is asked.

use super::FederationId;
use jsfs_objects::cbor::{Cbor, FormatError, Reader, Writer, required};
use jsfs_objects::clock::Random;
use jsfs_objects::key::PublicKey;
use std::fmt;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// What the text of every ticket begins with.
pub const TICKET_PREFIX: &str = "jsfs-ticket_";

/// The most addresses in a ticket.
pub const ADDRESSES_MAX: usize = 8;

/// The longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;

const TEXT_BYTES_MAX: usize = 4_096;
const CHECKSUM_BYTES: usize = 4;

/// Why a text is no ticket. No message contains any part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TicketError {
    /// It does not look like one.
    #[error("a ticket begins with `{TICKET_PREFIX}`; copy the whole line")]
    Prefix,
    /// A character that base58 does not have, or too many.
    #[error("the ticket is too long or has a character that tickets do not; copy the whole line again")]
    Text,
    /// A typing error, or a part is missing.
    #[error("the ticket's checksum does not match: a part is missing or wrong; copy the whole line again")]
    Checksum,
    /// Intact, but not a ticket of this version.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// What proves that its bearer was invited. Wiped on drop, compared in constant time, not printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TicketSecret([u8; 32]);

impl TicketSecret {
    /// 256 random bits.
    pub fn generate(random: &dyn Random) -> Self {
        Self(random.bytes())
    }

    /// A secret from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for presenting them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// What an inviting node keeps of it: BLAKE3 of a label and the secret.
    pub fn digest(&self) -> [u8; 32] {
        *blake3::Hasher::new().update(b"jsfs/v1/invitation").update(&self.0).finalize().as_bytes()
    }
}

impl PartialEq for TicketSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TicketSecret {}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TicketSecret(secret)")
    }
}

/// An invitation on its way to the node that it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The federation, so that the node knows whom to believe.
    pub federation: FederationId,
    /// What lets it in, once.
    pub secret: TicketSecret,
    /// Where members answer, at least one.
    pub addresses: Vec<String>,
    /// Until when it is good, ms since 1970.
    pub expires_ms: u64,
}

impl Ticket {
    /// Reads a ticket; white space around it does not matter.
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        let encoded = text.strip_prefix(TICKET_PREFIX).ok_or(TicketError::Prefix)?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(TicketError::Text);
        }
        let bytes = Zeroizing::new(bs58::decode(encoded).into_vec().map_err(|_| TicketError::Text)?);
        let body = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(TicketError::Checksum)?;
        let (body, checksum) = bytes.split_at(body);
        if checksum_of(body) != checksum {
            return Err(TicketError::Checksum);
        }
        Ok(Self::from_bytes(body)?)
    }

    /// The line of text, for showing to whoever invites.
    pub fn to_text(&self) -> Result<Zeroizing<String>, FormatError> {
        self.check()?;
        let mut bytes = Zeroizing::new(self.to_bytes());
        let checksum = checksum_of(&bytes);
        bytes.extend_from_slice(&checksum);
        Ok(Zeroizing::new(format!("{TICKET_PREFIX}{}", bs58::encode(&*bytes).into_string())))
    }

    fn check(&self) -> Result<(), FormatError> {
        let plain = |address: &String| {
            let length = (1..=ADDRESS_BYTES_MAX).contains(&address.len());
            length && address.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !(1..=ADDRESSES_MAX).contains(&self.addresses.len()) {
            return Err(FormatError::Contradiction { what: "a ticket has 1 to 8 addresses" });
        }
        if !self.addresses.iter().all(plain) {
            return Err(FormatError::Contradiction {
                what: "a ticket's address is not 1 to 256 visible ASCII characters",
            });
        }
        Ok(())
    }
}

fn checksum_of(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = blake3::Hasher::new().update(b"jsfs/v1/ticket").update(body).finalize();
    std::array::from_fn(|index| hash.as_bytes()[index])
}

impl Cbor for Ticket {
    const NAME: &'static str = "a ticket";
    const BYTES_MAX: usize = TEXT_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        out.map(4);
        out.uint(1).bytes(self.federation.as_bytes());
        out.uint(2).bytes(self.secret.expose());
        out.uint(3).array(self.addresses.len());
        for address in &self.addresses {
            out.text(address);
        }
        out.uint(4).uint(self.expires_ms);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (mut federation, mut secret, mut addresses, mut expires) = (None, None, None, None);
        input.map(Self::NAME, |input, key| {
            match key {
                1 => federation = Some(input.fixed("a ticket's federation")?),
                2 => secret = Some(input.fixed("a ticket's secret")?),
                3 => {
                    addresses = Some(input.list("a ticket's addresses", ADDRESSES_MAX, |input| {
                        input.text("a ticket's address", ADDRESS_BYTES_MAX).map(str::to_owned)
                    })?);
                }
                4 => expires = Some(input.uint("a ticket's expiry")?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let ticket = Self {
            federation: PublicKey::from_bytes(required(federation, "a ticket's federation")?),
            secret: TicketSecret::from_bytes(required(secret, "a ticket's secret")?),
            addresses: required(addresses, "a ticket's addresses")?,
            expires_ms: required(expires, "a ticket's expiry")?,
        };
        ticket.check()?;
        Ok(ticket)
    }
}
