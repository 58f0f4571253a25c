//! What members tell each other of the federation: signed statements, each true by itself and in any order.
//!
//! A credential says who is a member, an announcement where it answers, a charter what the federation is called and how it keeps blocks, a
//! dismissal that somebody is a member no more. Whoever hands one on need not be believed: each is signed by whom it is to be believed.

use super::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, CERTIFICATE_BYTES_MAX, Credential, FederationId, PeerId, Revocation,
};
use jsfs_objects::cbor::{Cbor, FormatError, Reader, Writer, required};
use jsfs_objects::key::{PublicKey, Signature, SigningKey};

/// The largest item, in bytes.
pub const ITEM_BYTES_MAX: usize = 4_096;

/// The longest name of a federation, in bytes.
pub const NAME_BYTES_MAX: usize = 63;

/// The most replicas of blocks that a charter can ask for.
pub const CHARTER_REPLICAS_MAX: u64 = 16;

const ANNOUNCEMENT_LABEL: &[u8] = b"jsfs/v1/announcement";
const CHARTER_LABEL: &[u8] = b"jsfs/v1/charter";
const ITEM_LABEL: &[u8] = b"jsfs/v1/roster-item";

/// By which an item is known in a summary: the first 8 bytes of BLAKE3 of a label and its bytes.
pub type Mark = [u8; 8];

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "few are held at once; the roster keeps most of them in the largest form"
)]
pub enum Item {
    /// Somebody is a member.
    Member(Credential),
    /// Where a member answers.
    Announcement(Announcement),
    /// What the federation is called and how it keeps blocks.
    Charter(Charter),
    /// Somebody is a member no more.
    Dismissal(Box<Dismissal>),
}

/// Where a member answers, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    body: AnnouncementBody,
    signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct AnnouncementBody {
    federation: FederationId,
    peer: PeerId,
    sequence: u64,
    addresses: Vec<String>,
}

/// What holds for the whole federation, in the authority's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charter {
    body: CharterBody,
    signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct CharterBody {
    federation: FederationId,
    sequence: u64,
    name: String,
    replicas: u64,
}

/// A revocation with what shows that its issuer may: nothing where that is the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dismissal {
    /// The statement.
    pub revocation: Revocation,
    /// The admin who made it.
    pub admin: Option<Credential>,
    /// The member that it takes back.
    pub target: Option<Credential>,
}

impl Item {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    /// Reads an item, without looking at signatures.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::from_bytes(bytes)
    }

    /// The mark of an item's bytes.
    pub fn mark(bytes: &[u8]) -> Mark {
        let hash = blake3::Hasher::new().update(ITEM_LABEL).update(bytes).finalize();
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

impl Announcement {
    /// Says where the owner of a key answers. A greater sequence (ms since 1970 will do) takes the place of a smaller.
    pub fn sign(
        federation: FederationId,
        sequence: u64,
        addresses: Vec<String>,
        key: &SigningKey,
    ) -> Result<Self, FormatError> {
        let body = AnnouncementBody { federation, peer: key.public(), sequence, addresses };
        body.check()?;
        let signature = key.sign(&[ANNOUNCEMENT_LABEL, &body.to_bytes()].concat());
        Ok(Self { body, signature })
    }

    /// Who says it.
    pub fn peer(&self) -> PeerId {
        self.body.peer
    }

    /// Its place among the member's announcements.
    pub fn sequence(&self) -> u64 {
        self.body.sequence
    }

    /// Where it answers; none where others cannot reach it.
    pub fn addresses(&self) -> &[String] {
        &self.body.addresses
    }

    /// Whether it is one of this federation and whoever it names has said it.
    pub fn is_good(&self, federation: FederationId) -> bool {
        let message = [ANNOUNCEMENT_LABEL, &self.body.to_bytes()].concat();
        self.body.federation == federation && self.body.peer.verifies(&message, &self.signature)
    }
}

impl AnnouncementBody {
    fn check(&self) -> Result<(), FormatError> {
        let plain = |address: &String| {
            let length = (1..=ADDRESS_BYTES_MAX).contains(&address.len());
            length && address.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if self.addresses.len() <= ADDRESSES_MAX && self.addresses.iter().all(plain) {
            return Ok(());
        }
        Err(FormatError::Contradiction {
            what: "an announcement has at most 8 addresses of 1 to 256 visible ASCII characters",
        })
    }
}

impl Charter {
    /// Names the federation of an authority and says how many replicas blocks have.
    pub fn sign(
        sequence: u64,
        name: &str,
        replicas: u64,
        authority: &SigningKey,
    ) -> Result<Self, FormatError> {
        let body = CharterBody { federation: authority.public(), sequence, name: name.to_owned(), replicas };
        body.check()?;
        let signature = authority.sign(&[CHARTER_LABEL, &body.to_bytes()].concat());
        Ok(Self { body, signature })
    }

    /// What the federation is called.
    pub fn name(&self) -> &str {
        &self.body.name
    }

    /// How many members keep each block.
    pub fn replicas(&self) -> usize {
        usize::try_from(self.body.replicas).unwrap_or(1)
    }

    /// Its place among the charters of the federation.
    pub fn sequence(&self) -> u64 {
        self.body.sequence
    }

    /// Whether the authority of this federation has said it.
    pub fn is_good(&self, federation: FederationId) -> bool {
        let message = [CHARTER_LABEL, &self.body.to_bytes()].concat();
        self.body.federation == federation && federation.verifies(&message, &self.signature)
    }
}

impl CharterBody {
    fn check(&self) -> Result<(), FormatError> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
        let rules = [
            (
                (1..=NAME_BYTES_MAX).contains(&self.name.len()) && self.name.bytes().all(letter),
                "a federation's name has 1 to 63 of a-z, 0-9, `-`, `.` and `_`",
            ),
            ((1..=CHARTER_REPLICAS_MAX).contains(&self.replicas), "blocks have 1 to 16 replicas"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(FormatError::Contradiction { what }),
            None => Ok(()),
        }
    }
}

impl Cbor for AnnouncementBody {
    const NAME: &'static str = "an announcement";
    const BYTES_MAX: usize = 128 + ADDRESSES_MAX * (ADDRESS_BYTES_MAX + 4);

    fn write(&self, out: &mut Writer) {
        out.map(4);
        out.uint(1).bytes(self.federation.as_bytes());
        out.uint(2).bytes(self.peer.as_bytes());
        out.uint(3).uint(self.sequence);
        out.uint(4).array(self.addresses.len());
        for address in &self.addresses {
            out.text(address);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (mut federation, mut peer, mut sequence, mut addresses) = (None, None, None, None);
        input.map(Self::NAME, |input, key| {
            match key {
                1 => federation = Some(input.fixed(Self::NAME)?),
                2 => peer = Some(input.fixed(Self::NAME)?),
                3 => sequence = Some(input.uint(Self::NAME)?),
                4 => {
                    addresses = Some(input.list(Self::NAME, ADDRESSES_MAX, |input| {
                        input.text("an announcement's address", ADDRESS_BYTES_MAX).map(str::to_owned)
                    })?);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let body = Self {
            federation: PublicKey::from_bytes(required(federation, Self::NAME)?),
            peer: PublicKey::from_bytes(required(peer, Self::NAME)?),
            sequence: required(sequence, Self::NAME)?,
            addresses: required(addresses, Self::NAME)?,
        };
        body.check()?;
        Ok(body)
    }
}

impl Cbor for CharterBody {
    const NAME: &'static str = "a charter";
    const BYTES_MAX: usize = 192;

    fn write(&self, out: &mut Writer) {
        out.map(4);
        out.uint(1).bytes(self.federation.as_bytes());
        out.uint(2).uint(self.sequence);
        out.uint(3).text(&self.name);
        out.uint(4).uint(self.replicas);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (mut federation, mut sequence, mut name, mut replicas) = (None, None, None, None);
        input.map(Self::NAME, |input, key| {
            match key {
                1 => federation = Some(input.fixed(Self::NAME)?),
                2 => sequence = Some(input.uint(Self::NAME)?),
                3 => name = Some(input.text(Self::NAME, NAME_BYTES_MAX)?.to_owned()),
                4 => replicas = Some(input.uint(Self::NAME)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let body = Self {
            federation: PublicKey::from_bytes(required(federation, Self::NAME)?),
            sequence: required(sequence, Self::NAME)?,
            name: required(name, Self::NAME)?,
            replicas: required(replicas, Self::NAME)?,
        };
        body.check()?;
        Ok(body)
    }
}

/// [body (byte string), signature]: what is signed stays as it was.
fn write_signed(body: &impl Cbor, signature: &Signature, out: &mut Writer) {
    out.array(2).bytes(&body.to_bytes()).bytes(signature);
}

fn read_signed<B: Cbor>(input: &mut Reader<'_>) -> Result<(B, Signature), FormatError> {
    input.tuple(B::NAME, 2)?;
    let body = B::from_bytes(input.bytes(B::NAME, B::BYTES_MAX)?)?;
    Ok((body, input.fixed(B::NAME)?))
}

impl Cbor for Announcement {
    const NAME: &'static str = "an announcement";
    const BYTES_MAX: usize = AnnouncementBody::BYTES_MAX + 80;

    fn write(&self, out: &mut Writer) {
        write_signed(&self.body, &self.signature, out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (body, signature) = read_signed(input)?;
        Ok(Self { body, signature })
    }
}

impl Cbor for Charter {
    const NAME: &'static str = "a charter";
    const BYTES_MAX: usize = CharterBody::BYTES_MAX + 80;

    fn write(&self, out: &mut Writer) {
        write_signed(&self.body, &self.signature, out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (body, signature) = read_signed(input)?;
        Ok(Self { body, signature })
    }
}

/// A value or null.
fn write_optional(value: Option<&impl Cbor>, out: &mut Writer) {
    match value {
        Some(value) => out.nested(value),
        None => out.null(),
    };
}

fn read_optional<T: Cbor>(input: &mut Reader<'_>) -> Result<Option<T>, FormatError> {
    if input.null() { Ok(None) } else { T::read(input).map(Some) }
}

impl Cbor for Dismissal {
    const NAME: &'static str = "a dismissal";
    const BYTES_MAX: usize = 320 + 4 * CERTIFICATE_BYTES_MAX + 64;

    fn write(&self, out: &mut Writer) {
        out.array(3).nested(&self.revocation);
        write_optional(self.admin.as_ref(), out);
        write_optional(self.target.as_ref(), out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 3)?;
        Ok(Self {
            revocation: Revocation::read(input)?,
            admin: read_optional(input)?,
            target: read_optional(input)?,
        })
    }
}

impl Cbor for Item {
    const NAME: &'static str = "an item of the roster";
    const BYTES_MAX: usize = ITEM_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        out.array(2);
        match self {
            Item::Member(credential) => out.uint(1).nested(credential),
            Item::Announcement(announcement) => out.uint(2).nested(announcement),
            Item::Charter(charter) => out.uint(3).nested(charter),
            Item::Dismissal(dismissal) => out.uint(4).nested(&**dismissal),
        };
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 2)?;
        match input.uint(Self::NAME)? {
            1 => Credential::read(input).map(Item::Member),
            2 => Announcement::read(input).map(Item::Announcement),
            3 => Charter::read(input).map(Item::Charter),
            4 => Dismissal::read(input).map(Box::new).map(Item::Dismissal),
            _ => Err(FormatError::Malformed { what: Self::NAME }),
        }
    }
}
