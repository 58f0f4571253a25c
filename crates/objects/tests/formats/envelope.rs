//! Envelopes: what is believed was written by who may, accepted when it may, and is exactly what was written.

use crate::cbor;
use crate::samples::{
    NOW_MS, NOW_S, address, bare, bit_flips, directory, keys, node, private_object, public_object, random,
};
use jsfs_objects::FormatError;
use jsfs_objects::clock::HybridTime;
use jsfs_objects::key::Keys;
use jsfs_objects::read_key::{Locator, ReadKey};
use jsfs_objects::record::{AHEAD_MS_MAX, Delegation, Envelope, EnvelopeError, Kind, Record, SignKey};
use jsfs_objects::token::{Method, Methods, Mint, Token, TokenError};
use proptest::prelude::*;

fn token(by: &Keys, subject: &str, methods: &[Method]) -> Token {
    let mint = Mint {
        subject: address(subject),
        methods: methods.iter().copied().collect::<Methods>(),
        expires_s: NOW_S + 100,
        not_before_s: Some(NOW_S - 100),
        read: None,
    };
    mint.sign(by, &random(50)).unwrap()
}

fn seal(record: &Record, key: SignKey<'_>) -> Envelope {
    Envelope::sign(record, key).unwrap().countersigned(&node(), NOW_MS)
}

/// What is left after a trip over the wire.
fn verify(envelope: &Envelope) -> Result<Record, EnvelopeError> {
    Envelope::decode(&envelope.encode())?.verify(NOW_MS).map(|verified| verified.record)
}

#[test]
fn what_an_owner_signed_and_a_node_accepted_is_believed() {
    let owner = keys(1);
    let file = address("/com.example/a/f.txt");
    let root = ReadKey::generate(&random(3));
    let records = [
        public_object(&file, &owner),
        private_object(&file, &owner, &root),
        directory(&address("/com.example/a/"), &owner, &root),
        Record { purged: true, ..bare(Kind::Tombstone, &file, &owner) },
    ];
    for record in records {
        let envelope = seal(&record, SignKey::Owner(&owner));
        assert_eq!(verify(&envelope), Ok(record.clone()));
        assert_eq!(envelope.record(), Ok(record.clone()));
        assert_eq!(envelope.record_hash(), record.hash());
        assert_eq!((envelope.node(), envelope.accepted_ms()), (node().public(), NOW_MS));
        assert!(envelope.verify(NOW_MS).unwrap().covers(&address("/org.other/x")), "owners need no prefix");
        assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    }
}

#[test]
fn what_somebody_else_signed_is_not_believed() {
    let record = public_object(&address("/com.example/f"), &keys(1));
    assert_eq!(verify(&seal(&record, SignKey::Owner(&keys(2)))), Err(EnvelopeError::Signature));
    let stranger = token(&keys(2), "/com.example/", &[Method::Put]);
    assert_eq!(verify(&seal(&record, SignKey::Token(&stranger))), Err(EnvelopeError::Signature));
}

#[test]
fn no_bit_of_an_envelope_can_be_turned() {
    let owner = keys(1);
    let file = address("/com.example/f");
    let token = token(&owner, "/com.example/", &[Method::Put, Method::Delete]);
    for key in [SignKey::Owner(&owner), SignKey::Token(&token)] {
        let envelope = seal(&bare(Kind::Tombstone, &file, &owner), key);
        for damaged in bit_flips(&envelope.encode()) {
            let verified = Envelope::decode(&damaged)
                .map_err(EnvelopeError::from)
                .and_then(|read| read.verify(NOW_MS).map(|_| ()));
            assert!(verified.is_err());
        }
    }
}

#[test]
fn parts_of_two_envelopes_do_not_make_a_third() {
    let owner = keys(1);
    let old = bare(Kind::Tombstone, &address("/com.example/f"), &owner);
    let new = Record { version: 2, ..old.clone() };
    let token = token(&owner, "/com.example/", &[Method::Delete]);
    let envelopes = [
        seal(&old, SignKey::Owner(&owner)),
        seal(&new, SignKey::Owner(&owner)),
        seal(&new, SignKey::Token(&token)),
        Envelope::sign(&new, SignKey::Owner(&owner)).unwrap().countersigned(&node(), NOW_MS + 1),
    ];
    let parts = envelopes.each_ref().map(|envelope| match cbor::parse(&envelope.encode()) {
        cbor::Item::Array(parts) => parts,
        other => panic!("{other:?}"),
    });
    for one in &parts {
        for two in &parts {
            for at in 1..5 {
                let mut mixed = one.clone();
                mixed[at] = two[at].clone();
                let bytes = cbor::write(&cbor::Item::Array(mixed));
                let known = envelopes.iter().any(|envelope| envelope.encode() == bytes);
                let read = Envelope::decode(&bytes).unwrap();
                assert_eq!(read.verify(NOW_MS).is_ok(), known, "part {at}");
            }
        }
    }
}

#[test]
fn a_token_writes_what_it_grants_where_it_reaches() {
    let owner = keys(1);
    let file = address("/com.example/a/f.txt");
    let root = ReadKey::generate(&random(3));
    let (public, private) = (public_object(&file, &owner), private_object(&file, &owner, &root));
    let tombstone = bare(Kind::Tombstone, &file, &owner);
    let put = token(&owner, "/com.example/a/", &[Method::Put]);
    let delete = token(&owner, "/com.example/a/", &[Method::Delete]);
    for (record, key) in [(&public, &put), (&private, &put), (&tombstone, &delete)] {
        let envelope = seal(record, SignKey::Token(key));
        assert_eq!(verify(&envelope).as_ref(), Ok(record));
        let verified = envelope.verify(NOW_MS).unwrap();
        assert!(verified.covers(&file) && !verified.covers(&address("/com.example/b")));
        assert!(verified.token.unwrap().sign_key().is_none(), "the fourth part goes nowhere");
        assert!(
            !String::from_utf8_lossy(&envelope.encode()).contains(key.to_text().rsplit_once('.').unwrap().1)
        );
    }
    let lacks = |method| Err(EnvelopeError::Token(TokenError::Method { method }));
    assert_eq!(verify(&seal(&tombstone, SignKey::Token(&put))), lacks(Method::Delete));
    assert_eq!(verify(&seal(&public, SignKey::Token(&delete))), lacks(Method::Put));
    let elsewhere = token(&owner, "/com.example/b/", &[Method::Put]);
    assert!(matches!(
        verify(&seal(&public, SignKey::Token(&elsewhere))),
        Err(EnvelopeError::Token(TokenError::Address { .. }))
    ));
}

#[test]
fn only_keys_change_directories_and_purge() {
    let owner = keys(1);
    let all = token(&owner, "/com.example/", &[Method::Put, Method::Delete]);
    let top = directory(&address("/com.example/a/"), &owner, &ReadKey::generate(&random(3)));
    let purged = Record { purged: true, ..bare(Kind::Tombstone, &address("/com.example/f"), &owner) };
    for record in [top, purged] {
        assert!(matches!(
            verify(&seal(&record, SignKey::Token(&all))),
            Err(EnvelopeError::BeyondTokens { .. })
        ));
        assert!(verify(&seal(&record, SignKey::Owner(&owner))).is_ok());
    }
}

#[test]
fn what_was_accepted_while_the_token_lived_stays_valid_after_it() {
    let owner = keys(1);
    let token = token(&owner, "/com.example/", &[Method::Put]);
    let record = Record { time: HybridTime::from_ms(0), ..public_object(&address("/com.example/f"), &owner) };
    let at = |accepted_s: u64| {
        let signed = Envelope::sign(&record, SignKey::Token(&token)).unwrap();
        signed.countersigned(&node(), accepted_s * 1_000).verify(NOW_MS + 10_000_000_000).map(|_| ())
    };
    assert_eq!(at(NOW_S), Ok(()));
    assert_eq!(at(NOW_S + 99), Ok(()));
    assert_eq!(at(NOW_S - 100), Ok(()));
    assert_eq!(at(NOW_S + 100), Err(EnvelopeError::Token(TokenError::Expired { expires_s: NOW_S + 100 })));
    assert_eq!(at(NOW_S - 101), Err(EnvelopeError::Token(TokenError::NotYetValid { from_s: NOW_S - 100 })));
}

#[test]
fn what_comes_from_the_future_is_refused() {
    let owner = keys(1);
    let at = |time_ms, accepted_ms, now_ms| {
        let record = Record {
            time: HybridTime::from_ms(time_ms),
            ..bare(Kind::Tombstone, &address("/com.example/f"), &owner)
        };
        let signed = Envelope::sign(&record, SignKey::Owner(&owner)).unwrap();
        signed.countersigned(&node(), accepted_ms).verify(now_ms).map(|_| ())
    };
    let limit = AHEAD_MS_MAX;
    assert_eq!(at(NOW_MS + limit, NOW_MS, NOW_MS), Ok(()));
    assert_eq!(at(NOW_MS + limit + 1, NOW_MS, NOW_MS), Err(EnvelopeError::Ahead { ms: limit + 1 }));
    assert_eq!(at(NOW_MS, NOW_MS + limit, NOW_MS), Ok(()));
    assert_eq!(at(NOW_MS, NOW_MS + limit + 1, NOW_MS), Err(EnvelopeError::Ahead { ms: limit + 1 }));
    assert_eq!(at(0, 0, NOW_MS), Ok(()), "the past is no reason to refuse");
    // A time ahead of its own acceptance does not become true by waiting.
    assert_eq!(
        at(NOW_MS + limit + 1, NOW_MS, NOW_MS + 10 * limit),
        Err(EnvelopeError::Ahead { ms: limit + 1 })
    );
    assert!(at(u64::MAX >> 16, u64::MAX, 0).is_err());
}

#[test]
fn a_delegation_that_the_former_owner_did_not_sign_is_found_out() {
    let (owner, former, thief) = (keys(1), keys(2), keys(3));
    let top = address("/com.example/a/");
    let good =
        Delegation::sign(&former, Locator::public(&top), owner.owner(), 1, HybridTime::from_ms(NOW_MS));
    let forged =
        Delegation::sign(&thief, Locator::public(&top), owner.owner(), 1, HybridTime::from_ms(NOW_MS));
    let record = Record { delegation: Some(good), ..bare(Kind::Directory, &top, &owner) };
    assert!(verify(&seal(&record, SignKey::Owner(&owner))).is_ok());
    // The thief's signature under the former owner's name.
    let bytes = record.encode();
    let at = bytes.len() - 64;
    let other = Record { delegation: Some(forged), ..record }.encode();
    let spliced = Record::decode(&[&bytes[..at], &other[at..]].concat()).unwrap();
    assert_eq!(verify(&seal(&spliced, SignKey::Owner(&owner))), Err(EnvelopeError::Delegation));
}

#[test]
fn what_is_no_record_is_not_signed_and_a_token_without_its_fourth_part_signs_nothing() {
    let owner = keys(1);
    let record = public_object(&address("/com.example/f"), &owner);
    let wrong = Record { purged: true, ..record.clone() };
    assert!(matches!(Envelope::sign(&wrong, SignKey::Owner(&owner)), Err(EnvelopeError::Format(_))));
    let token = token(&owner, "/com.example/", &[Method::Put]);
    let public = Token::parse(token.public_text()).unwrap();
    assert_eq!(Envelope::sign(&record, SignKey::Token(&public)), Err(EnvelopeError::NoKey));
}

#[test]
fn only_the_deterministic_encoding_of_an_envelope_is_read() {
    let owner = keys(1);
    let token = token(&owner, "/com.example/", &[Method::Put]);
    let record = public_object(&address("/com.example/f"), &owner);
    for envelope in [seal(&record, SignKey::Owner(&owner)), seal(&record, SignKey::Token(&token))] {
        for (deviation, other) in cbor::deviations(&envelope.encode()) {
            assert!(Envelope::decode(&other).is_err(), "{deviation}");
        }
        let mut newer = envelope.encode();
        newer[1] = 2;
        assert_eq!(Envelope::decode(&newer), Err(FormatError::Version { what: "an envelope", version: 2 }));
        // Not deterministic inside the byte string that holds the record.
        let cbor::Item::Array(parts) = cbor::parse(&envelope.encode()) else { panic!("an array") };
        let cbor::Item::Bytes { bytes, .. } = &parts[1] else { panic!("bytes") };
        for (deviation, inner) in cbor::deviations(bytes).into_iter().step_by(7) {
            let mut parts = parts.clone();
            parts[1] = cbor::Item::Bytes { major: 2, bytes: inner };
            let read = Envelope::decode(&cbor::write(&cbor::Item::Array(parts)));
            assert!(read.is_err() || read.is_ok_and(|read| read.verify(NOW_MS).is_err()), "{deviation}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_envelope_and_never_panic(bytes: Vec<u8>) {
        prop_assert!(Envelope::decode(&bytes).is_err());
    }

    #[test]
    fn damaged_envelopes_never_verify(damage in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4), by_token: bool) {
        let owner = keys(1);
        let token = token(&owner, "/com.example/", &[Method::Put]);
        let key = if by_token { SignKey::Token(&token) } else { SignKey::Owner(&owner) };
        let good = seal(&public_object(&address("/com.example/f"), &owner), key).encode();
        let mut bytes = good.clone();
        for (at, byte) in damage {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        let verified = Envelope::decode(&bytes).is_ok_and(|read| read.verify(NOW_MS).is_ok());
        prop_assert_eq!(verified, bytes == good);
    }
}
