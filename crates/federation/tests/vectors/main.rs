//! The vectors of `docs/vectors/membership.json`, `metastore.json` and `protocols.json`: made here from the code and compared with what is committed. The second
//! implementation beside them is run by `cargo test -p jsfs-objects vectors`, which checks every file of that folder.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod metastore;
mod protocols;

use jsfs_federation::blockstore::{Placement, Site};
use jsfs_federation::membership::{
    Certificate, Credential, MembershipError, Revocation, Revocations, Role, Roles, Terms, Ticket,
    TicketSecret,
};
use jsfs_objects::key::SigningKey;
use jsfs_store::BlockId;
use serde_json::{Value, json};
use std::path::Path;

/// 2026-11-23T12:00:00Z.
const NOW: u64 = 1_795_435_200_000;

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(fill: u8) -> SigningKey {
    SigningKey::from_secret(&[fill; 32])
}

fn terms(peer: &SigningKey, roles: Roles) -> Terms {
    Terms {
        federation: key(1).public(),
        peer: peer.public(),
        roles,
        space: if roles.contains(Role::Store) { 250 } else { 0 },
        from_ms: NOW - 1_000,
        expires_ms: NOW + 1_000,
        epoch: 2,
        issuer: peer.public(),
    }
}

fn sign(terms: Terms, by: &SigningKey) -> Certificate {
    Certificate::sign(terms, by).unwrap()
}

fn judged(why: &str, credential: &Credential, peer: &SigningKey, now_ms: u64, revoked_epoch: u64) -> Value {
    let federation = key(1);
    let mut revoked = Revocations::default();
    if revoked_epoch > 0 {
        let revocation = Revocation::sign(federation.public(), peer.public(), revoked_epoch, &federation);
        revoked.add(revocation, federation.public(), None, None).unwrap();
    }
    let verdict = match credential.verify(federation.public(), peer.public(), &revoked, now_ms) {
        Ok(_) => "member",
        Err(MembershipError::Federation) => "federation",
        Err(MembershipError::Peer) => "peer",
        Err(MembershipError::Signature) => "signature",
        Err(MembershipError::Early) => "early",
        Err(MembershipError::Expired) => "expired",
        Err(MembershipError::Revoked) => "revoked",
        Err(other) => panic!("{why}: {other}"),
    };
    json!({
        "why": why, "credential": hex(credential.encode()), "federation": hex(federation.public().as_bytes()),
        "peer": hex(peer.public().as_bytes()), "now_ms": now_ms, "revoked_epoch": revoked_epoch, "verdict": verdict,
    })
}

fn credentials() -> Vec<Value> {
    let (authority, admin, member, full) = (key(1), key(4), key(2), Roles::FULL);
    let direct = Credential { certificate: sign(terms(&member, full), &authority), issuer: None };
    let named = sign(terms(&admin, Roles::default().with(Role::Admin)), &authority);
    let through = Credential { certificate: sign(terms(&member, full), &admin), issuer: Some(named.clone()) };
    let unnamed = Credential { issuer: Some(sign(terms(&admin, full), &authority)), ..through.clone() };
    let alone = Credential { issuer: None, ..through.clone() };
    let superfluous = Credential { issuer: Some(named), ..direct.clone() };
    let elsewhere = Terms { federation: key(9).public(), ..terms(&member, full) };
    let foreign = Credential { certificate: sign(elsewhere, &key(9)), issuer: None };
    let mut damaged = direct.encode();
    let at = damaged.len() - 10;
    damaged[at] ^= 1;
    let damaged = Credential::decode(&damaged).unwrap();
    vec![
        judged("signed by the authority", &direct, &member, NOW, 0),
        judged("signed by an admin", &through, &member, NOW, 0),
        judged("a minute early", &direct, &member, NOW - 61_000, 0),
        judged("more than a minute early", &direct, &member, NOW - 61_001, 0),
        judged("expired", &direct, &member, NOW + 1_000, 0),
        judged("an earlier epoch was revoked", &direct, &member, NOW, 1),
        judged("its epoch was revoked", &direct, &member, NOW, 2),
        judged("presented by another", &direct, &admin, NOW, 0),
        judged("the issuer is no admin", &unnamed, &member, NOW, 0),
        judged("the issuer's certificate is missing", &alone, &member, NOW, 0),
        judged("an issuer beside the authority", &superfluous, &member, NOW, 0),
        judged("another federation", &foreign, &member, NOW, 0),
        judged("a bit of the signature turned", &damaged, &member, NOW, 0),
    ]
}

fn malformed() -> Vec<Value> {
    let good = Credential { certificate: sign(terms(&key(2), Roles::FULL), &key(1)), issuer: None }.encode();
    let trailing = [&good[..], &[0]].concat();
    let cut = good[..good.len() - 1].to_vec();
    // The map of eight terms says nine.
    let mut counted = good.clone();
    let at = counted.iter().position(|byte| *byte == 0xa8).unwrap();
    counted[at] = 0xa9;
    let wrong = [("bytes after the end", trailing), ("cut short", cut), ("one field too few", counted)];
    wrong
        .into_iter()
        .map(|(why, bytes)| {
            assert!(Credential::decode(&bytes).is_err(), "{why}");
            json!({"why": why, "credential": hex(bytes)})
        })
        .collect()
}

fn tickets() -> Vec<Value> {
    let ticket = Ticket {
        federation: key(1).public(),
        secret: TicketSecret::from_bytes([8; 32]),
        addresses: vec!["/ip4/192.0.2.1/tcp/7303".into(), "/ip6/2001:db8::1/udp/7303/quic-v1".into()],
        expires_ms: NOW,
    };
    let text = ticket.to_text().unwrap();
    assert_eq!(Ticket::parse(&text).unwrap(), ticket);
    vec![json!({
        "text": *text, "federation": hex(ticket.federation.as_bytes()), "secret": hex(ticket.secret.expose()),
        "addresses": ticket.addresses, "expires_ms": NOW, "digest": hex(ticket.secret.digest()),
    })]
}

fn revocations() -> Vec<Value> {
    let revocation = Revocation::sign(key(1).public(), key(2).public(), 3, &key(1));
    vec![json!({
        "encoding": hex(revocation.encode()), "federation": hex(key(1).public().as_bytes()),
        "peer": hex(key(2).public().as_bytes()), "epoch": 3, "issuer": hex(key(1).public().as_bytes()),
    })]
}

fn placement() -> Vec<Value> {
    let site = |number: u8| Site { peer: key(number).public(), space: u64::from(number) * u64::from(number) };
    let sites: Vec<Site> = (1..=12).map(site).collect();
    let described: Vec<Value> =
        sites.iter().map(|site| json!({"peer": hex(site.peer.as_bytes()), "space": site.space})).collect();
    let placement = Placement::new(sites);
    let block = |number: u8| {
        let block = BlockId::of(&[number]);
        let order: Vec<String> = placement.of(&block, 12).iter().map(|peer| hex(peer.as_bytes())).collect();
        json!({"sites": described, "block": hex(block.as_bytes()), "order": order})
    };
    (0..4).map(block).collect()
}

#[test]
fn vectors_of_membership_are_what_the_code_makes() {
    let vectors = json!({
        "credentials": credentials(), "malformed": malformed(), "placement": placement(),"revocations": revocations(), "tickets": tickets(),
    });
    compare("membership.json", &vectors);
}

#[test]
fn vectors_of_the_protocols_are_what_the_code_makes() {
    compare("protocols.json", &protocols::vectors());
}

#[test]
fn vectors_of_the_metastore_are_what_the_code_makes() {
    compare("metastore.json", &metastore::vectors());
}

fn compare(name: &str, vectors: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vectors").join(name);
    let text = format!("{}\n", serde_json::to_string_pretty(vectors).unwrap());
    if std::env::var_os("JSFS_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "docs/vectors/{name} is not what the code makes: a frozen format has changed. If that is meant, run \
         JSFS_WRITE_VECTORS=1 cargo test -p jsfs-federation --test vectors"
    );
}
