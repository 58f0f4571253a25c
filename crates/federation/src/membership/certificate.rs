//! Certificates: what the authority, or an admin that it named, says of a member.
//!
//! A certificate alone proves nothing about an issuer who is not the authority: a [`Credential`] carries the issuer's own certificate beside
//! it, and the chain ends there, because only the authority makes admins.

use super::{FederationId, MembershipError, PeerId, Revocations, SKEW_MS_MAX};
use jsfs_objects::cbor::{Cbor, FormatError, Reader, Writer, required};
use jsfs_objects::key::{PublicKey, Signature, SigningKey};

/// The largest certificate, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 512;

/// The greatest space that a certificate grants, in GiB.
pub const SPACE_MAX: u64 = 1 << 24;

const LABEL: &[u8] = b"jsfs/v1/certificate";

/// What a member does for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers over HTTP.
    Gateway,
    /// Keeps records.
    Meta,
    /// Keeps blocks.
    Store,
    /// Runs programs.
    Proc,
    /// Invites and revokes others.
    Admin,
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u64);

impl Role {
    const ALL: [Role; 5] = [Role::Gateway, Role::Meta, Role::Store, Role::Proc, Role::Admin];

    fn bit(self) -> u64 {
        match self {
            Role::Gateway => 1,
            Role::Meta => 2,
            Role::Store => 4,
            Role::Proc => 8,
            Role::Admin => 16,
        }
    }
}

impl Roles {
    /// All that a full node does.
    pub const FULL: Roles = Roles(15);

    /// The set of the bits, if each of them means a role.
    pub fn from_bits(bits: u64) -> Option<Self> {
        let known = Role::ALL.into_iter().fold(0, |known, role| known | role.bit());
        (bits & !known == 0).then_some(Self(bits))
    }

    /// One bit for each role.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether a role is among them.
    pub fn contains(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// These and one more.
    #[must_use]
    pub fn with(self, role: Role) -> Self {
        Self(self.0 | role.bit())
    }
}

/// What a certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The federation.
    pub federation: FederationId,
    /// The member.
    pub peer: PeerId,
    /// What it may do.
    pub roles: Roles,
    /// How much it is counted on to keep, in GiB: the weight by which blocks are placed.
    pub space: u64,
    /// From when on it holds, ms since 1970.
    pub from_ms: u64,
    /// Until when, ms since 1970.
    pub expires_ms: u64,
    /// Greater than that of every earlier certificate of the peer, from 1.
    pub epoch: u64,
    /// Who signed.
    pub issuer: PublicKey,
}

/// Signed terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    terms: Terms,
    signature: Signature,
}

/// What a member presents: its certificate, and that of the admin who signed it where the authority did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The member's own.
    pub certificate: Certificate,
    /// The admin's.
    pub issuer: Option<Certificate>,
}

impl Terms {
    fn message(&self) -> Vec<u8> {
        [LABEL, &self.to_bytes()].concat()
    }

    fn check(&self) -> Result<(), FormatError> {
        let rules = [
            (self.epoch > 0, "a certificate's epochs count from 1"),
            (self.from_ms < self.expires_ms, "a certificate ends before it begins"),
            (self.space <= SPACE_MAX, "a certificate grants more space than there can be"),
            (
                self.roles.contains(Role::Store) || self.space == 0,
                "a certificate grants space to a peer that keeps no blocks",
            ),
            (
                !self.roles.contains(Role::Admin) || self.issuer == self.federation,
                "an admin was not named by the authority",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(FormatError::Contradiction { what }),
            None => Ok(()),
        }
    }
}

impl Certificate {
    /// Signs what a member is given. The issuer of the terms is the key that signs.
    pub fn sign(terms: Terms, issuer: &SigningKey) -> Result<Self, FormatError> {
        let terms = Terms { issuer: issuer.public(), ..terms };
        terms.check()?;
        Ok(Self { terms, signature: issuer.sign(&terms.message()) })
    }

    /// What it says. Not to be believed before [`Credential::verify`].
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    /// Reads a certificate, without looking at its signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::from_bytes(bytes)
    }

    fn holds(
        &self,
        federation: FederationId,
        revoked: &Revocations,
        now_ms: u64,
    ) -> Result<(), MembershipError> {
        let terms = &self.terms;
        if terms.federation != federation {
            return Err(MembershipError::Federation);
        }
        if !terms.issuer.verifies(&terms.message(), &self.signature) {
            return Err(MembershipError::Signature);
        }
        if now_ms.saturating_add(SKEW_MS_MAX) < terms.from_ms {
            return Err(MembershipError::Early);
        }
        if now_ms >= terms.expires_ms {
            return Err(MembershipError::Expired);
        }
        if revoked.covers(&terms.peer, terms.epoch) {
            return Err(MembershipError::Revoked);
        }
        Ok(())
    }
}

impl Credential {
    /// The terms of the member `peer`, which the transport has proved the other side to be; or why it is none.
    pub fn verify(
        &self,
        federation: FederationId,
        peer: PeerId,
        revoked: &Revocations,
        now_ms: u64,
    ) -> Result<Terms, MembershipError> {
        let terms = self.certificate.terms;
        if terms.peer != peer {
            return Err(MembershipError::Peer);
        }
        self.certificate.holds(federation, revoked, now_ms)?;
        if terms.issuer == federation {
            return if self.issuer.is_none() { Ok(terms) } else { Err(MembershipError::Signature) };
        }
        let issuer = self.issuer.as_ref().ok_or(MembershipError::Signature)?;
        let named = issuer.terms.issuer == federation && issuer.terms.roles.contains(Role::Admin);
        if issuer.terms.peer != terms.issuer || !named {
            return Err(MembershipError::Signature);
        }
        issuer.holds(federation, revoked, now_ms)?;
        Ok(terms)
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    /// Reads a credential, without looking at signatures.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::from_bytes(bytes)
    }
}

impl Cbor for Terms {
    const NAME: &'static str = "a certificate";
    const BYTES_MAX: usize = 256;

    fn write(&self, out: &mut Writer) {
        out.map(8);
        out.uint(1).bytes(self.federation.as_bytes());
        out.uint(2).bytes(self.peer.as_bytes());
        out.uint(3).uint(self.roles.bits());
        out.uint(4).uint(self.space);
        out.uint(5).uint(self.from_ms);
        out.uint(6).uint(self.expires_ms);
        out.uint(7).uint(self.epoch);
        out.uint(8).bytes(self.issuer.as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut keys: [Option<[u8; 32]>; 3] = [None; 3];
        let mut numbers: [Option<u64>; 5] = [None; 5];
        input.map(Self::NAME, |input, key| {
            match key {
                1 => keys[0] = Some(input.fixed("a certificate's federation")?),
                2 => keys[1] = Some(input.fixed("a certificate's peer")?),
                8 => keys[2] = Some(input.fixed("a certificate's issuer")?),
                3..=7 => {
                    let at = usize::try_from(key - 3).unwrap_or_default();
                    numbers[at] = Some(input.uint(Self::NAME)?);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let key = |at: usize| required(keys[at], Self::NAME).map(PublicKey::from_bytes);
        let number = |at: usize| required(numbers[at], Self::NAME);
        let roles = Roles::from_bits(number(0)?);
        let terms = Self {
            federation: key(0)?,
            peer: key(1)?,
            roles: required(roles, "a certificate's roles")?,
            space: number(1)?,
            from_ms: number(2)?,
            expires_ms: number(3)?,
            epoch: number(4)?,
            issuer: key(2)?,
        };
        terms.check()?;
        Ok(terms)
    }
}

impl Cbor for Certificate {
    const NAME: &'static str = "a certificate";
    const BYTES_MAX: usize = CERTIFICATE_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        out.array(2).bytes(&self.terms.to_bytes()).bytes(&self.signature);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 2)?;
        let terms = Terms::from_bytes(input.bytes(Self::NAME, Terms::BYTES_MAX)?)?;
        Ok(Self { terms, signature: input.fixed("a certificate's signature")? })
    }
}

impl Cbor for Credential {
    const NAME: &'static str = "a credential";
    const BYTES_MAX: usize = 2 * CERTIFICATE_BYTES_MAX + 16;

    fn write(&self, out: &mut Writer) {
        out.array(2).nested(&self.certificate);
        match &self.issuer {
            Some(issuer) => out.nested(issuer),
            None => out.null(),
        };
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 2)?;
        let certificate = Certificate::read(input)?;
        let issuer = if input.null() { None } else { Some(Certificate::read(input)?) };
        Ok(Self { certificate, issuer })
    }
}
