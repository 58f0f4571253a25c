//! Vectors of envelopes: signed by owners and tokens, accepted by a node, and what is not to be believed.

use crate::records::{address, bare, handed_over, owner, private_object, public_object};
use crate::{NOW_MS, NOW_S, hex, key, unhex};
use jsfs_objects::clock::{HybridTime, SeededRandom};
use jsfs_objects::key::{Keys, Seed, SigningKey};
use jsfs_objects::read_key::ReadKey;
use jsfs_objects::record::{Envelope, EnvelopeError, Kind, Record, SignKey};
use jsfs_objects::token::{Method, Mint, Token};
use serde_json::{Value, json};

fn node() -> SigningKey {
    SigningKey::from_secret(&key(200))
}

fn token(by: &Keys, subject: &str, methods: &[Method]) -> Token {
    let mint = Mint {
        subject: address(subject),
        methods: methods.iter().copied().collect(),
        expires_s: NOW_S + 100,
        not_before_s: Some(NOW_S - 100),
        read: None,
    };
    mint.sign(by, &SeededRandom::new(6)).unwrap()
}

fn sealed(record: &Record, by: SignKey<'_>, accepted_ms: u64) -> String {
    hex(Envelope::sign(record, by).unwrap().countersigned(&node(), accepted_ms).encode())
}

fn valid(encoding: String, now_ms: u64) -> Value {
    let envelope = Envelope::decode(&unhex(&encoding)).unwrap();
    let verified = envelope.verify(now_ms).unwrap();
    json!({
        "encoding": encoding,
        "now_ms": now_ms,
        "record": hex(verified.record.encode()),
        "record_hash": hex(envelope.record_hash()),
        "token": verified.token.map(|token| token.public_text().to_owned()),
        "node": hex(envelope.node().as_bytes()),
        "accepted_ms": envelope.accepted_ms(),
    })
}

fn invalid(why: &str, encoding: String, now_ms: u64) -> Value {
    let verified =
        Envelope::decode(&unhex(&encoding)).map_err(EnvelopeError::from).and_then(|read| read.verify(now_ms));
    let error = match verified.unwrap_err() {
        EnvelopeError::Format(_) => "format",
        EnvelopeError::Signature => "signature",
        EnvelopeError::Countersignature => "countersignature",
        EnvelopeError::Delegation => "delegation",
        EnvelopeError::Token(_) => "token",
        EnvelopeError::BeyondTokens { .. } => "beyond tokens",
        EnvelopeError::Ahead { .. } => "ahead",
        EnvelopeError::NoKey => panic!("{why}: signing was not the point"),
    };
    json!({"why": why, "encoding": encoding, "now_ms": now_ms, "error": error})
}

/// The encoding with one bit turned, counted in bytes from the end.
fn damaged(encoding: &str, from_end: usize) -> String {
    let mut bytes = unhex(encoding);
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    hex(bytes)
}

pub(crate) fn vectors() -> Value {
    let (owner, stranger) = (owner(), Seed::from_bytes(key(3)).keys());
    let (file, top) = (address("/com.example/a/ü.txt"), address("/com.example/a/"));
    let object = public_object(&file);
    let private = private_object(&file, &ReadKey::from_bytes(key(7)).child("ü.txt"));
    let tombstone = bare(Kind::Tombstone, &file);
    let put = token(&owner, "/com.example/a/", &[Method::Get, Method::Put]);
    let delete = token(&owner, "/com.example/a/ü.txt", &[Method::Delete]);
    let elsewhere = token(&owner, "/com.example/b/", &[Method::Put]);
    let strangers = token(&stranger, "/com.example/", &[Method::Put]);
    let by = SignKey::Owner(&owner);
    let good = sealed(&tombstone, by, NOW_MS);
    let future = Record { time: HybridTime::from_ms(NOW_MS + 60_001), ..tombstone.clone() };
    let purged = Record { purged: true, ..tombstone.clone() };
    let mut forged = handed_over(&top).encode();
    let signature_at = forged.windows(2).rposition(|two| two == [0x58, 0x40]).unwrap() + 2;
    forged[signature_at] ^= 1;
    let forged = Record::decode(&forged).unwrap();
    // The head of an envelope: an array of five, version 1, a byte string of two length bytes.
    let newer = good.replacen("8501", "8502", 1);
    json!({
        "valid": [
            valid(good.clone(), NOW_MS),
            valid(sealed(&object, by, NOW_MS), NOW_MS),
            valid(sealed(&handed_over(&top), by, NOW_MS), NOW_MS),
            valid(sealed(&purged, by, NOW_MS), NOW_MS),
            valid(sealed(&object, SignKey::Token(&put), NOW_MS), NOW_MS),
            valid(sealed(&private, SignKey::Token(&put), NOW_MS), NOW_MS),
            valid(sealed(&tombstone, SignKey::Token(&delete), NOW_MS), NOW_MS + 1_000_000_000),
            valid(sealed(&tombstone, by, NOW_MS), NOW_MS - 60_000),
        ],
        "invalid": [
            invalid("another version", newer, NOW_MS),
            invalid("a byte after the end", format!("{good}00"), NOW_MS),
            invalid("a record that is no record", good.replacen("a70103", "a70104", 1), NOW_MS),
            invalid("a record that was changed", good.replacen("a7010302", "a7010202", 1), NOW_MS),
            invalid("a countersignature that was changed", damaged(&good, 1), NOW_MS),
            invalid("a time of acceptance that was changed", damaged(&good, 64 + 2 + 1), NOW_MS),
            invalid("another node", damaged(&good, 64 + 2 + 9 + 1), NOW_MS),
            invalid("signed by a stranger", sealed(&object, SignKey::Owner(&stranger), NOW_MS), NOW_MS),
            invalid("a stranger's token", sealed(&object, SignKey::Token(&strangers), NOW_MS), NOW_MS),
            invalid("a token without PUT", sealed(&object, SignKey::Token(&delete), NOW_MS), NOW_MS),
            invalid("a token without DELETE", sealed(&tombstone, SignKey::Token(&put), NOW_MS), NOW_MS),
            invalid("a token for another directory", sealed(&object, SignKey::Token(&elsewhere), NOW_MS), NOW_MS),
            invalid("accepted after the token", sealed(&object, SignKey::Token(&put), NOW_MS + 100_000), NOW_MS + 100_000),
            invalid("accepted before the token", sealed(&object, SignKey::Token(&put), NOW_MS - 100_001), NOW_MS),
            invalid("a directory by token", sealed(&handed_over(&top), SignKey::Token(&put), NOW_MS), NOW_MS),
            invalid("a purge by token", sealed(&purged, SignKey::Token(&delete), NOW_MS), NOW_MS),
            invalid("a delegation that was changed", sealed(&forged, by, NOW_MS), NOW_MS),
            invalid("a record ahead of the reader", sealed(&tombstone, by, NOW_MS), NOW_MS - 60_001),
            invalid("a record ahead of its acceptance", sealed(&future, by, NOW_MS), NOW_MS + 1_000_000),
        ],
    })
}
