//! What membership promises: who is let in, who is not, and that revoking is final in whatever order it becomes known.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use jsfs_federation::membership::{
    Admission, Certificate, Credential, Dismissal, Invitation, Item, MembershipError, PeerId, Revocation,
    Revocations, Role, Roles, Roster, Terms, Ticket, TicketError, TicketSecret,
};
use jsfs_objects::key::SigningKey;

const NOW: u64 = 1_795_435_200_000;

fn key(fill: u8) -> SigningKey {
    SigningKey::from_secret(&[fill; 32])
}

fn terms(peer: &SigningKey, roles: Roles, epoch: u64) -> Terms {
    Terms {
        federation: key(1).public(),
        peer: peer.public(),
        roles,
        space: 0,
        from_ms: NOW,
        expires_ms: NOW + 1_000_000,
        epoch,
        issuer: peer.public(),
    }
}

fn credential(peer: &SigningKey, roles: Roles, epoch: u64) -> Credential {
    Credential { certificate: Certificate::sign(terms(peer, roles, epoch), &key(1)).unwrap(), issuer: None }
}

fn meta() -> Roles {
    Roles::default().with(Role::Meta)
}

fn invited(peer: &SigningKey, admin: &SigningKey, issuer: Certificate) -> Credential {
    Credential {
        certificate: Certificate::sign(terms(peer, meta(), 1), admin).unwrap(),
        issuer: Some(issuer),
    }
}

#[test]
fn a_member_is_whom_the_authority_signed_and_nobody_else() {
    let (authority, member, none) = (key(1).public(), key(2), Revocations::default());
    let good = credential(&member, meta(), 1);
    let told = good.verify(authority, member.public(), &none, NOW).unwrap();
    assert!(told.roles.contains(Role::Meta) && !told.roles.contains(Role::Store));
    let at = |federation, peer: &SigningKey, now| good.verify(federation, peer.public(), &none, now);
    assert_eq!(at(authority, &key(3), NOW), Err(MembershipError::Peer));
    assert_eq!(at(key(9).public(), &member, NOW), Err(MembershipError::Federation));
    assert_eq!(at(authority, &member, NOW + 1_000_000), Err(MembershipError::Expired));
    assert_eq!(at(authority, &member, NOW - 60_001), Err(MembershipError::Early));
    assert!(at(authority, &member, NOW - 60_000).is_ok(), "clocks may differ by a minute");
    let by_itself = Credential {
        certificate: Certificate::sign(terms(&member, meta(), 1), &member).unwrap(),
        issuer: None,
    };
    assert_eq!(by_itself.verify(authority, member.public(), &none, NOW), Err(MembershipError::Signature));
    let mut bytes = good.encode();
    let signature = bytes.len() - 10;
    bytes[signature] ^= 1;
    let damaged = Credential::decode(&bytes).unwrap();
    assert_eq!(damaged.verify(authority, member.public(), &none, NOW), Err(MembershipError::Signature));
}

#[test]
fn an_admin_lets_members_in_and_no_admins() {
    let (authority, admin, member) = (key(1).public(), key(4), key(2));
    let none = Revocations::default();
    let named = credential(&admin, meta().with(Role::Admin), 1).certificate;
    assert!(invited(&member, &admin, named.clone()).verify(authority, member.public(), &none, NOW).is_ok());
    assert!(Certificate::sign(terms(&member, meta().with(Role::Admin), 1), &admin).is_err());
    let plain = credential(&admin, meta(), 1).certificate;
    let refused = |credential: Credential| credential.verify(authority, member.public(), &none, NOW);
    assert_eq!(refused(invited(&member, &admin, plain)), Err(MembershipError::Signature));
    assert_eq!(refused(invited(&member, &key(5), named.clone())), Err(MembershipError::Signature));
    let beside = Credential { issuer: Some(named), ..credential(&member, meta(), 1) };
    assert_eq!(refused(beside), Err(MembershipError::Signature));
}

#[test]
fn revocations_merge_in_any_order_and_a_greater_epoch_comes_back() {
    let (authority, member) = (key(1), key(2));
    let revoke = |epoch| Revocation::sign(authority.public(), member.public(), epoch, &authority);
    let merged = |order: &[u64]| {
        let mut set = Revocations::default();
        for epoch in order {
            set.add(revoke(*epoch), authority.public(), None, None).unwrap();
        }
        let state =
            |epoch| credential(&member, meta(), epoch).verify(authority.public(), member.public(), &set, NOW);
        [state(1), state(2), state(3), state(4)].map(|state| state.map(|_| ()))
    };
    let revoked = Err(MembershipError::Revoked);
    assert_eq!(merged(&[1, 3, 2]), [revoked, revoked, revoked, Ok(())]);
    assert_eq!(merged(&[3, 2, 1]), merged(&[1, 2, 3]));
    let mut set = Revocations::default();
    assert_eq!(set.add(revoke(2), authority.public(), None, None), Ok(true));
    assert_eq!(set.add(revoke(1), authority.public(), None, None), Ok(false), "nothing new");
}

#[test]
fn an_admin_revokes_members_only_and_takes_those_it_let_in_along() {
    let (authority, admin, member) = (key(1), key(4), key(2));
    let federation = authority.public();
    let admins = credential(&admin, meta().with(Role::Admin), 1);
    let by = |issuer: &SigningKey, peer: &SigningKey| Revocation::sign(federation, peer.public(), 1, issuer);
    let told = |peer: &SigningKey, roles| Some(terms(peer, roles, 1));
    let mut set = Revocations::default();
    let mut add =
        |revocation, target: Option<Terms>| set.add(revocation, federation, Some(&admins), target.as_ref());
    let refused = Err(MembershipError::Signature);
    assert_eq!(add(by(&admin, &key(5)), told(&key(5), meta().with(Role::Admin))), refused);
    assert_eq!(add(by(&admin, &member), None), refused, "it could be an admin");
    assert_eq!(add(by(&admin, &key(5)), told(&member, meta())), refused, "terms of somebody else");
    assert_eq!(add(by(&key(6), &member), told(&member, meta())), Err(MembershipError::Peer));
    let ahead = Revocation::sign(federation, member.public(), 2, &admin);
    assert_eq!(add(ahead, told(&member, meta())), refused, "only what there is");
    assert_eq!(add(by(&admin, &member), told(&member, meta())), Ok(true));
    assert_eq!(add(by(&authority, &admin), None), Ok(true));
    let other = invited(&key(7), &admin, admins.certificate);
    assert_eq!(other.verify(federation, key(7).public(), &set, NOW), Err(MembershipError::Revoked));
}

#[test]
fn what_a_revoked_admin_revoked_counts_no_more_in_whatever_order_it_becomes_known() {
    let (authority, admin, member) = (key(1), key(4), key(2));
    let federation = authority.public();
    let admins = credential(&admin, meta().with(Role::Admin), 1);
    let theirs = Revocation::sign(federation, member.public(), 1, &admin);
    let ours = Revocation::sign(federation, admin.public(), 1, &authority);
    let target = terms(&member, meta(), 1);
    for order in [[&theirs, &ours], [&ours, &theirs]] {
        let mut set = Revocations::default();
        for revocation in order {
            assert_eq!(set.add(revocation.clone(), federation, Some(&admins), Some(&target)), Ok(true));
        }
        assert_eq!(set.iter().count(), 2);
        assert!(set.covers(&admin.public(), 1) && !set.covers(&member.public(), 1));
    }
    let mut alone = Revocations::default();
    alone.add(theirs, federation, Some(&admins), Some(&target)).unwrap();
    assert!(alone.covers(&member.public(), 1));
}

fn ticket() -> Ticket {
    Ticket {
        federation: key(1).public(),
        secret: TicketSecret::from_bytes([8; 32]),
        addresses: vec!["/ip4/192.0.2.1/tcp/7303".into(), "/dns/node.example/tcp/7303".into()],
        expires_ms: NOW,
    }
}

#[test]
fn a_ticket_is_one_line_and_every_typing_error_is_found() {
    let text = ticket().to_text().unwrap();
    assert!(text.starts_with("jsfs-ticket_") && !text.contains(char::is_whitespace));
    assert_eq!(Ticket::parse(&format!("  {}\n", *text)).unwrap(), ticket());
    for at in "jsfs-ticket_".len()..text.len() {
        let mut wrong = text.as_bytes().to_vec();
        wrong[at] = if wrong[at] == b'2' { b'3' } else { b'2' };
        assert!(Ticket::parse(std::str::from_utf8(&wrong).unwrap()).is_err(), "character {at}");
        assert!(Ticket::parse(&text[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(Ticket::parse("jsfs_abc"), Err(TicketError::Prefix));
    assert!(Ticket { addresses: vec![], ..ticket() }.to_text().is_err());
    assert!(Ticket { addresses: vec!["two words".into()], ..ticket() }.to_text().is_err());
    let shown = format!("{:?}", ticket());
    assert!(shown.contains("(secret)") && !shown.contains("8, 8"), "{shown}");
}

#[test]
fn a_ticket_lets_one_peer_in_however_often_it_asks() {
    let (admin, mut admission) = (key(1), Admission::default());
    let secret = TicketSecret::from_bytes([8; 32]);
    let invitation = Invitation {
        roles: Roles::FULL,
        space: 100,
        expires_ms: NOW + 1_000,
        certificate_ms: 5_000,
        is_renewed: false,
        used_by: None,
    };
    admission.invite(&secret, invitation, NOW).unwrap();
    let mut admit = |secret: &TicketSecret, peer: &SigningKey, now| {
        admission.admit(secret, peer.public(), 1, (admin.public(), &admin), now)
    };
    assert_eq!(admit(&TicketSecret::from_bytes([9; 32]), &key(2), NOW), Err(MembershipError::Ticket));
    let certificate = admit(&secret, &key(2), NOW).unwrap();
    let presented = Credential { certificate, issuer: None };
    let told = presented.verify(admin.public(), key(2).public(), &Revocations::default(), NOW).unwrap();
    assert_eq!((told.space, told.expires_ms), (100, NOW + 5_000));
    assert!(admit(&secret, &key(2), NOW + 1).is_ok(), "the first answer may have been lost");
    assert_eq!(admit(&secret, &key(3), NOW + 1), Err(MembershipError::Ticket));
    assert_eq!(admit(&secret, &key(2), NOW + 1_000), Err(MembershipError::Ticket));
}

/// A node that holds these keys, with what it knows.
struct Signing {
    key: SigningKey,
    certificate: Option<Certificate>,
    admission: Admission,
}

impl Signing {
    fn admit(&mut self, roster: &mut Roster, peer: u8, roles: Roles, is_renewed: bool) {
        let secret = TicketSecret::from_bytes([peer; 32]);
        let (expires_ms, certificate_ms, used_by) = (NOW + 1_000, 9_000, None);
        let invitation = Invitation { roles, space: 0, expires_ms, certificate_ms, is_renewed, used_by };
        self.admission.invite(&secret, invitation, NOW).unwrap();
        let by = (key(1).public(), &self.key);
        let epoch = roster.next_epoch(&key(peer).public());
        let certificate = self.admission.admit(&secret, key(peer).public(), epoch, by, NOW).unwrap();
        roster.add(Item::Member(Credential { certificate, issuer: self.certificate.clone() }), NOW).unwrap();
    }

    fn renew(&mut self, roster: &mut Roster, now_ms: u64) -> Vec<PeerId> {
        let renewed = self.admission.renew(roster, (&self.key, self.certificate.as_ref()), now_ms).unwrap();
        let peers = renewed.iter().map(|credential| credential.certificate.terms().peer).collect();
        for credential in renewed {
            assert!(
                roster.add(Item::Member(credential), now_ms).unwrap(),
                "a renewal takes the place of the last"
            );
        }
        peers
    }
}

#[test]
fn certificates_are_renewed_in_their_last_third_but_of_who_was_revoked_or_is_to_go() {
    let mut roster = Roster::new(key(1).public());
    let mut authority = Signing { key: key(1), certificate: None, admission: Admission::default() };
    let admins = meta().with(Role::Admin);
    authority.admit(&mut roster, 4, admins, true);
    authority.admit(&mut roster, 5, meta(), true);
    authority.admit(&mut roster, 6, meta(), false);
    let credential = roster.credential(&key(4).public()).unwrap().certificate.clone();
    let mut admin = Signing { key: key(4), certificate: Some(credential), admission: Admission::default() };
    admin.admit(&mut roster, 7, meta(), true);
    assert_eq!(authority.renew(&mut roster, NOW + 6_000), []);
    let revocation = Revocation::sign(key(1).public(), key(5).public(), 1, &key(1));
    let heard = roster.clone();
    let dismissal = Dismissal { revocation, admin: None, target: None };
    roster.add(Item::Dismissal(Box::new(dismissal.clone())), NOW).unwrap();
    // What the admin signs ends with the admin's certificate, so that comes first.
    assert_eq!(admin.renew(&mut roster, NOW + 6_001), []);
    assert_eq!(authority.renew(&mut roster, NOW + 6_001), [key(4).public()]);
    admin.certificate = Some(roster.credential(&key(4).public()).unwrap().certificate.clone());
    assert_eq!(admin.renew(&mut roster, NOW + 6_001), [key(7).public()]);
    assert_eq!(authority.renew(&mut roster, NOW + 6_002), [], "once is enough");
    let holds = |peer: u8| roster.terms(&key(peer).public(), NOW + 9_000).is_ok();
    assert_eq!([4, 5, 6, 7].map(holds), [true, false, false, true]);
    // One that has not heard of the revocation brings nobody back.
    let mut heard = heard;
    let mut deaf = Signing { key: key(1), certificate: None, admission: authority.admission.clone() };
    deaf.admission.keep_renewed(key(5).public());
    assert!(deaf.renew(&mut heard, NOW + 6_001).contains(&key(5).public()));
    heard.add(Item::Dismissal(Box::new(dismissal)), NOW + 6_002).unwrap();
    assert_eq!(heard.terms(&key(5).public(), NOW + 6_002), Err(MembershipError::Revoked));
}
