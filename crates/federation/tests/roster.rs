//! What the roster promises: nodes that heard the same in any order know the same, and nobody gets in or out by what others hand on.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use jsfs_federation::membership::{
    Announcement, Certificate, Charter, Credential, Dismissal, Item, MembershipError, Revocation, Role,
    Roles, Roster, Terms,
};
use jsfs_objects::key::SigningKey;
use proptest::prelude::{Just, Strategy};
use proptest::{prop_assert_eq, proptest};
use std::collections::BTreeSet;

const NOW: u64 = 1_795_435_200_000;
const LATER: u64 = NOW + 1_000_000;

fn key(fill: u8) -> SigningKey {
    SigningKey::from_secret(&[fill; 32])
}

fn certificate(peer: u8, roles: Roles, epoch: u64, issuer: u8) -> Certificate {
    let terms = Terms {
        federation: key(1).public(),
        peer: key(peer).public(),
        roles,
        space: if roles.contains(Role::Store) { 10 } else { 0 },
        from_ms: NOW,
        expires_ms: LATER,
        epoch,
        issuer: key(issuer).public(),
    };
    Certificate::sign(terms, &key(issuer)).unwrap()
}

fn member(peer: u8, epoch: u64) -> Credential {
    Credential { certificate: certificate(peer, Roles::FULL, epoch, 1), issuer: None }
}

fn admin() -> Credential {
    Credential { certificate: certificate(4, Roles::FULL.with(Role::Admin), 1, 1), issuer: None }
}

fn by_admin(peer: u8) -> Credential {
    Credential { certificate: certificate(peer, Roles::FULL, 1, 4), issuer: Some(admin().certificate) }
}

fn announced(peer: u8, sequence: u64) -> Item {
    let address = format!("/ip4/127.0.0.1/tcp/{}", 1_000 + sequence - NOW);
    Item::Announcement(Announcement::sign(key(1).public(), sequence, vec![address], &key(peer)).unwrap())
}

fn dismissed(peer: u8, epoch: u64, issuer: u8, target: Option<Credential>) -> Item {
    let revocation = Revocation::sign(key(1).public(), key(peer).public(), epoch, &key(issuer));
    let admin = (issuer == 4).then(admin);
    Item::Dismissal(Box::new(Dismissal { revocation, admin, target }))
}

/// Everything that happens in a small federation.
fn all() -> Vec<Item> {
    vec![
        Item::Charter(Charter::sign(NOW, "home", 3, &key(1)).unwrap()),
        Item::Charter(Charter::sign(NOW + 1, "home-2", 2, &key(1)).unwrap()),
        Item::Member(member(2, 1)),
        Item::Member(member(2, 2)),
        Item::Member(member(3, 1)),
        Item::Member(admin()),
        Item::Member(by_admin(5)),
        announced(2, NOW),
        announced(2, NOW + 7),
        announced(3, NOW),
        dismissed(2, 1, 1, None),
        dismissed(3, 1, 4, Some(member(3, 1))),
        dismissed(5, 1, 5, Some(by_admin(5))),
    ]
}

fn know(items: &[Item]) -> Roster {
    let mut roster = Roster::new(key(1).public());
    // Of whom nothing is known, nothing is kept; it is handed on again.
    for _ in 0..2 {
        for item in items {
            match roster.add(item.clone(), NOW) {
                Ok(_) | Err(MembershipError::Peer) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    roster
}

proptest! {
    #[test]
    fn nodes_that_heard_the_same_in_any_order_know_the_same(order in Just(all()).prop_shuffle()) {
        let (straight, shuffled) = (know(&all()), know(&order));
        prop_assert_eq!(straight.digest(), shuffled.digest());
        prop_assert_eq!(
            straight.items().collect::<Vec<_>>(),
            shuffled.items().collect::<Vec<_>>()
        );
        let ids = |roster: &Roster| roster.members(NOW).map(|terms| terms.peer).collect::<Vec<_>>();
        prop_assert_eq!(ids(&straight), ids(&shuffled));
    }
}

#[test]
fn the_latest_of_each_counts_and_who_was_dismissed_is_no_member() {
    let roster = know(&all());
    assert_eq!(roster.charter().unwrap().name(), "home-2");
    assert_eq!(roster.addresses(&key(2).public()), ["/ip4/127.0.0.1/tcp/1007"]);
    let standing = |peer| roster.terms(&key(peer).public(), NOW).map(|terms| terms.epoch);
    assert_eq!(standing(2), Ok(2), "epoch 1 was revoked, 2 was not");
    assert_eq!(standing(3), Err(MembershipError::Revoked));
    assert_eq!(standing(4), Ok(1));
    assert_eq!(standing(5), Err(MembershipError::Revoked), "it left");
    assert_eq!(standing(9), Err(MembershipError::Peer));
    assert_eq!(roster.members(NOW).count(), 2);
    assert_eq!(roster.placement(NOW).of(&jsfs_store::BlockId::of(b"x"), 9).len(), 2);
    assert_eq!(roster.next_epoch(&key(2).public()), 3);
    assert_eq!(roster.next_epoch(&key(9).public()), 1);
    assert_eq!(roster.members(LATER).count(), 0, "certificates end");
}

#[test]
fn revoking_an_admin_takes_along_whom_it_let_in_and_undoes_what_it_dismissed() {
    let mut roster = know(&all());
    roster.add(Item::Member(by_admin(6)), NOW).unwrap();
    assert!(roster.terms(&key(6).public(), NOW).is_ok());
    assert!(roster.add(dismissed(4, 1, 1, None), NOW).unwrap());
    assert_eq!(roster.terms(&key(6).public(), NOW), Err(MembershipError::Revoked));
    assert!(roster.terms(&key(3).public(), NOW).is_ok());
}

#[test]
fn what_nobody_who_may_has_signed_is_refused() {
    let mut roster = know(&all());
    let before = roster.digest();
    let forged_member =
        Item::Member(Credential { certificate: certificate(7, Roles::FULL, 1, 7), issuer: None });
    let stranger = Item::Announcement(Announcement::sign(key(9).public(), NOW, vec![], &key(2)).unwrap());
    let charter = Charter::sign(NOW + 9, "theirs", 1, &key(4)).unwrap();
    let ahead = announced(2, NOW + 60_001);
    for (item, error) in [
        (forged_member, MembershipError::Signature),
        (stranger, MembershipError::Signature),
        (Item::Charter(charter), MembershipError::Signature),
        (ahead, MembershipError::Early),
        (announced(9, NOW), MembershipError::Peer),
        (dismissed(4, 1, 2, Some(admin())), MembershipError::Signature),
        (dismissed(2, 2, 4, None), MembershipError::Signature),
        (dismissed(2, 2, 1, Some(member(2, 2))), MembershipError::Signature),
        (dismissed(2, 3, 2, Some(member(2, 2))), MembershipError::Signature),
    ] {
        assert_eq!(roster.add(item.clone(), NOW), Err(error), "{item:?}");
    }
    assert_eq!(roster.add(Item::Member(member(8, 1)), LATER), Err(MembershipError::Expired));
    assert_eq!(roster.digest(), before);
}

#[test]
fn two_rosters_tell_each_other_what_the_other_lacks_and_nothing_else() {
    let (mut left, mut right) = (know(&all()[..7]), know(&all()));
    let summary: BTreeSet<_> = left.summary().collect();
    let difference = right.difference(&summary);
    let wanted = left.wanted(difference.ours.iter());
    let taken = |roster: &mut Roster, items: &[Vec<u8>]| {
        items.iter().filter(|item| roster.add(Item::decode(item).unwrap(), NOW).unwrap()).count()
    };
    assert!(taken(&mut left, &difference.theirs) > 0);
    taken(&mut right, &wanted);
    assert_eq!(left.digest(), right.digest());
    let summary: BTreeSet<_> = left.summary().collect();
    assert_eq!(right.difference(&summary), jsfs_federation::membership::Difference::default());
}

#[test]
fn members_whose_time_is_over_are_forgotten() {
    let mut roster = know(&all());
    roster.set_reachable(key(2).public(), true);
    assert!(!roster.forget_expired(&key(2).public(), LATER - 1) && roster.is_reachable(&key(2).public()));
    let companions = |now_ms| roster.companions(&key(2).public(), now_ms);
    assert_eq!(companions(NOW), [key(4).public()], "the others were dismissed");
    assert!(
        !roster.clone().forget_expired(&key(2).public(), LATER),
        "its own time is over, and renewals may be under way"
    );
    assert_eq!(companions(LATER).len(), 3, "they may know better");
    assert!(roster.forget_expired(&key(9).public(), LATER));
    assert!(roster.credential(&key(2).public()).is_none() && !roster.is_reachable(&key(2).public()));
    // Charter and dismissals stay: a certificate of a revoked epoch must not come back.
    assert_eq!(roster.items().count(), 4);
    assert_eq!(roster.next_epoch(&key(3).public()), 2);
}
