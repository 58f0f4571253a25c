//! Revocations: signed statements that a member is one no more.
//!
//! The set of them is a union, so it merges in any order, and what follows from it follows from the set alone. What an admin signed,
//! certificates and revocations alike, counts as long as the admin was not revoked: taking a rogue admin away undoes what it did. Only the authority
//! revokes admins, so nothing goes in circles. The authority brings a member back by a certificate of a greater epoch.

use super::{Credential, FederationId, MembershipError, PeerId, Role, Terms};
use jsfs_objects::cbor::{Cbor, FormatError, Reader, Writer, required};
use jsfs_objects::key::{PublicKey, Signature, SigningKey};
use std::collections::BTreeMap;

/// The most peers that a node remembers as revoked.
pub const REVOCATIONS_MAX: usize = 65_536;

const LABEL: &[u8] = b"jsfs/v1/revocation";

/// Every certificate of a peer up to an epoch counts no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    body: Body,
    signature: Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Body {
    federation: FederationId,
    peer: PeerId,
    epoch: u64,
    issuer: PublicKey,
}

impl Revocation {
    /// Revokes what `peer` holds up to `epoch`.
    pub fn sign(federation: FederationId, peer: PeerId, epoch: u64, issuer: &SigningKey) -> Self {
        let body = Body { federation, peer, epoch, issuer: issuer.public() };
        Self { body, signature: issuer.sign(&body.message()) }
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    /// Reads a revocation, without looking at its signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::from_bytes(bytes)
    }

    /// Whose certificates it takes back.
    pub fn peer(&self) -> PeerId {
        self.body.peer
    }

    /// Up to which epoch.
    pub fn epoch(&self) -> u64 {
        self.body.epoch
    }

    /// Who signed it.
    pub fn issuer(&self) -> PublicKey {
        self.body.issuer
    }

    /// The epoch of the admin who signed it, none if the authority or the peer itself did. `target` are the revoked member's terms: an admin revokes no
    /// admins and nothing ahead of time, so it needs them; they are those of the same peer.
    fn verify(
        &self,
        federation: FederationId,
        admin: Option<&Credential>,
        target: Option<&Terms>,
    ) -> Result<Option<u64>, MembershipError> {
        let Body { issuer, peer, epoch, .. } = self.body;
        if self.body.federation != federation {
            return Err(MembershipError::Federation);
        }
        if !issuer.verifies(&self.body.message(), &self.signature) {
            return Err(MembershipError::Signature);
        }
        if issuer == federation {
            return Ok(None);
        }
        // Whoever leaves says so itself, of certificates that there are.
        let own = |target: &Terms| target.peer == peer && epoch <= target.epoch;
        if issuer == peer {
            return if target.is_some_and(own) { Ok(None) } else { Err(MembershipError::Signature) };
        }
        let admin = admin.ok_or(MembershipError::Signature)?;
        // Whether the admin was revoked is asked whenever the set is, and what it signed outlives its certificate.
        let from_ms = admin.certificate.terms().from_ms;
        let admin = admin.verify(federation, issuer, &Revocations::default(), from_ms)?;
        let beneath = target.is_some_and(|target| {
            target.peer == peer && epoch <= target.epoch && !target.roles.contains(Role::Admin)
        });
        if admin.roles.contains(Role::Admin) && beneath {
            Ok(Some(admin.epoch))
        } else {
            Err(MembershipError::Signature)
        }
    }
}

impl Body {
    fn message(&self) -> Vec<u8> {
        [LABEL, &self.to_bytes()].concat()
    }
}

/// What a node knows of revoked peers: of each peer, issuer and certificate of the issuer the revocation of the greatest epoch.
#[derive(Clone, Debug, Default)]
pub struct Revocations(BTreeMap<(PeerId, PublicKey, Option<u64>), Known>);

#[derive(Clone, Debug)]
struct Known {
    revocation: Revocation,
    /// The epoch of the admin who signed; none for the authority and for who left by itself.
    admin: Option<u64>,
}

impl Revocations {
    /// Whether a peer's certificate of this epoch was revoked, by the authority or by somebody who still is an admin.
    pub fn covers(&self, peer: &PeerId, epoch: u64) -> bool {
        self.of(peer, epoch).any(|known| match known.admin {
            None => true,
            Some(admin) => !self.of(&known.revocation.body.issuer, admin).any(|above| above.admin.is_none()),
        })
    }

    fn of(&self, peer: &PeerId, epoch: u64) -> impl Iterator<Item = &Known> {
        let (first, last) = (PublicKey::from_bytes([0; 32]), PublicKey::from_bytes([0xff; 32]));
        let known =
            self.0.range((*peer, first, None)..=(*peer, last, Some(u64::MAX))).map(|(_, known)| known);
        known.filter(move |known| epoch <= known.revocation.body.epoch)
    }

    /// Takes in a revocation, and answers whether it told anything new. For one that the authority did not sign, `admin` is the credential
    /// of its issuer and `target` the terms of the revoked member.
    pub fn add(
        &mut self,
        revocation: Revocation,
        federation: FederationId,
        admin: Option<&Credential>,
        target: Option<&Terms>,
    ) -> Result<bool, MembershipError> {
        let admin = revocation.verify(federation, admin, target)?;
        let Body { peer, epoch, issuer, .. } = revocation.body;
        let held = self.0.get(&(peer, issuer, admin));
        if held.is_some_and(|held| held.revocation.body.epoch >= epoch) {
            return Ok(false);
        }
        if self.0.len() >= REVOCATIONS_MAX && held.is_none() {
            return Err(MembershipError::TooMany);
        }
        self.0.insert((peer, issuer, admin), Known { revocation, admin });
        Ok(true)
    }

    /// The greatest epoch up to which anything of a peer was ever revoked; 0 if nothing was.
    pub fn epoch(&self, peer: &PeerId) -> u64 {
        self.of(peer, 0).map(|known| known.revocation.body.epoch).max().unwrap_or(0)
    }

    /// All of them, to be handed on.
    pub fn iter(&self) -> impl Iterator<Item = &Revocation> {
        self.0.values().map(|known| &known.revocation)
    }
}

impl Cbor for Body {
    const NAME: &'static str = "a revocation";
    const BYTES_MAX: usize = 192;

    fn write(&self, out: &mut Writer) {
        out.map(4);
        out.uint(1).bytes(self.federation.as_bytes());
        out.uint(2).bytes(self.peer.as_bytes());
        out.uint(3).uint(self.epoch);
        out.uint(4).bytes(self.issuer.as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (mut federation, mut peer, mut epoch, mut issuer) = (None, None, None, None);
        input.map(Self::NAME, |input, key| {
            match key {
                1 => federation = Some(input.fixed("a revocation's federation")?),
                2 => peer = Some(input.fixed("a revocation's peer")?),
                3 => epoch = Some(input.uint("a revocation's epoch")?),
                4 => issuer = Some(input.fixed("a revocation's issuer")?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Self {
            federation: PublicKey::from_bytes(required(federation, "a revocation's federation")?),
            peer: PublicKey::from_bytes(required(peer, "a revocation's peer")?),
            epoch: required(epoch, "a revocation's epoch")?,
            issuer: PublicKey::from_bytes(required(issuer, "a revocation's issuer")?),
        })
    }
}

impl Cbor for Revocation {
    const NAME: &'static str = "a revocation";
    const BYTES_MAX: usize = 320;

    fn write(&self, out: &mut Writer) {
        out.array(2).bytes(&self.body.to_bytes()).bytes(&self.signature);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 2)?;
        let body = Body::from_bytes(input.bytes(Self::NAME, Body::BYTES_MAX)?)?;
        Ok(Self { body, signature: input.fixed("a revocation's signature")? })
    }
}
