//! Admission: what a node that invites keeps of its invitations, whom it lets in on them, and whose certificates it renews.
//!
//! An invitation is good for one peer. That peer may present it again, because the answer can be lost on the way; nobody else can. Only a
//! digest of the secret is kept, so what lies on a disk lets nobody in.
//!
//! A certificate that is renewed keeps its epoch: what takes it back takes back its renewals too, also those of an issuer that has not heard yet.

use super::{
    Certificate, Credential, FederationId, MembershipError, PeerId, Roles, Roster, Terms, TicketSecret,
};
use jsfs_objects::key::SigningKey;
use std::collections::{BTreeMap, BTreeSet};

/// The most invitations that are open at once.
pub const INVITATIONS_MAX: usize = 4_096;

/// What a bearer of a ticket will be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The roles.
    pub roles: Roles,
    /// The space in GiB.
    pub space: u64,
    /// Until when the ticket is good, ms since 1970.
    pub expires_ms: u64,
    /// How long the certificate will hold, ms.
    pub certificate_ms: u64,
    /// Whether it is renewed before it ends, for as long as the bearer is a member.
    pub is_renewed: bool,
    /// Who has used it.
    pub used_by: Option<PeerId>,
}

/// The invitations of one node that may invite, and the members whose certificates it renews.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    open: BTreeMap<[u8; 32], Invitation>,
    renewed: BTreeSet<PeerId>,
}

impl Admission {
    /// Opens an invitation; those that have expired are forgotten.
    pub fn invite(
        &mut self,
        secret: &TicketSecret,
        invitation: Invitation,
        now_ms: u64,
    ) -> Result<(), MembershipError> {
        self.open.retain(|_, open| now_ms < open.expires_ms);
        if self.open.len() >= INVITATIONS_MAX {
            return Err(MembershipError::TooMany);
        }
        self.open.insert(secret.digest(), Invitation { used_by: None, ..invitation });
        Ok(())
    }

    /// Every invitation with the digest of its secret, for keeping them.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8; 32], &Invitation)> {
        self.open.iter()
    }

    /// The members whose certificates this node renews, for keeping them.
    pub fn renewed(&self) -> impl Iterator<Item = &PeerId> {
        self.renewed.iter()
    }

    /// Renews the certificate of a member from now on.
    pub fn keep_renewed(&mut self, peer: PeerId) {
        self.renewed.insert(peer);
    }

    /// What was kept.
    pub fn restore(
        open: impl IntoIterator<Item = ([u8; 32], Invitation)>,
        renewed: impl IntoIterator<Item = PeerId>,
    ) -> Self {
        Self {
            open: open.into_iter().take(INVITATIONS_MAX).collect(),
            renewed: renewed.into_iter().collect(),
        }
    }

    /// Lets a peer in whom the transport has proved. `epoch` is greater than that of every certificate and revocation of that peer.
    pub fn admit(
        &mut self,
        secret: &TicketSecret,
        peer: PeerId,
        epoch: u64,
        (federation, issuer): (FederationId, &SigningKey),
        now_ms: u64,
    ) -> Result<Certificate, MembershipError> {
        let open = self.open.get_mut(&secret.digest()).filter(|open| now_ms < open.expires_ms);
        let open = open
            .filter(|open| open.used_by.is_none_or(|user| user == peer))
            .ok_or(MembershipError::Ticket)?;
        let terms = Terms {
            federation,
            peer,
            roles: open.roles,
            space: open.space,
            from_ms: now_ms,
            expires_ms: now_ms.saturating_add(open.certificate_ms),
            epoch,
            issuer: issuer.public(),
        };
        let certificate = Certificate::sign(terms, issuer)?;
        open.used_by = Some(peer);
        if open.is_renewed {
            self.renewed.insert(peer);
        } else {
            self.renewed.remove(&peer);
        }
        Ok(certificate)
    }

    /// The credentials that this issuer renews now: of the members that it let in and that are members still, those of which less than a third of
    /// the time is left, where a new one at least doubles that. `issuer` is the certificate of the admin that signs, none for the authority: where
    /// it ends earlier than what it signs, so does that.
    pub fn renew(
        &mut self,
        roster: &Roster,
        (key, issuer): (&SigningKey, Option<&Certificate>),
        now_ms: u64,
    ) -> Result<Vec<Credential>, MembershipError> {
        let mut renewed = Vec::new();
        // Who was revoked, or whose time is over, comes back by a ticket only.
        self.renewed.retain(|peer| roster.terms(peer, now_ms).is_ok());
        for peer in &self.renewed {
            let Some(held) = roster.credential(peer) else { continue };
            let terms = *held.certificate.terms();
            if terms.issuer != key.public() || now_ms <= terms.from_ms {
                continue;
            }
            let length = terms.expires_ms - terms.from_ms;
            let end = |issuer: Option<&Certificate>, own_ms: u64| {
                issuer.map_or(own_ms, |issuer| issuer.terms().expires_ms.min(own_ms))
            };
            let left = end(held.issuer.as_ref(), terms.expires_ms).saturating_sub(now_ms);
            let expires_ms = now_ms.saturating_add(length);
            if left >= length / 3 || end(issuer, expires_ms).saturating_sub(now_ms) < left.saturating_mul(2) {
                continue;
            }
            let certificate = Certificate::sign(Terms { from_ms: now_ms, expires_ms, ..terms }, key)?;
            renewed.push(Credential { certificate, issuer: issuer.cloned() });
        }
        Ok(renewed)
    }
}
