//! Admission: what a node that invites keeps of its invitations, and whom it lets in on them.
//!
//! An invitation is good for one peer. That peer may present it again, because the answer can be lost on the way; nobody else can. Only a
//! digest of the secret is kept, so what lies on a disk lets nobody in.

use super::{Certificate, FederationId, MembershipError, PeerId, Roles, Terms, TicketSecret};
use jsfs_objects::key::SigningKey;
use std::collections::BTreeMap;

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
    /// Who has used it.
    pub used_by: Option<PeerId>,
}

/// The invitations of one node that may invite.
#[derive(Clone, Debug, Default)]
pub struct Admission(BTreeMap<[u8; 32], Invitation>);

impl Admission {
    /// Opens an invitation; those that have expired are forgotten.
    pub fn invite(
        &mut self,
        secret: &TicketSecret,
        invitation: Invitation,
        now_ms: u64,
    ) -> Result<(), MembershipError> {
        self.0.retain(|_, open| now_ms < open.expires_ms);
        if self.0.len() >= INVITATIONS_MAX {
            return Err(MembershipError::TooMany);
        }
        self.0.insert(secret.digest(), Invitation { used_by: None, ..invitation });
        Ok(())
    }

    /// Every invitation with the digest of its secret, for keeping them.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8; 32], &Invitation)> {
        self.0.iter()
    }

    /// The invitations that were kept.
    pub fn restore(kept: impl IntoIterator<Item = ([u8; 32], Invitation)>) -> Self {
        Self(kept.into_iter().take(INVITATIONS_MAX).collect())
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
        let open = self.0.get_mut(&secret.digest()).filter(|open| now_ms < open.expires_ms);
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
        Ok(certificate)
    }
}
