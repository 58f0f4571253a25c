//! Records: one encoding for one meaning, and none for what makes no sense.

use crate::cbor;
use crate::samples::{
    NOW_MS, address, bare, content, directory, keys, private_object, public_object, random,
};
use jsfs_objects::FormatError;
use jsfs_objects::clock::HybridTime;
use jsfs_objects::manifest::Manifest;
use jsfs_objects::read_key::{Group, Locator, ReadKey};
use jsfs_objects::record::{
    Content, Create, Delegation, HOSTS_MAX, Kind, PLACE_EPOCHS_MAX, PlaceRoot, Policy, RECORD_BLOCKS_MAX,
    REVOCATIONS_MAX, Record, Revocation,
};
use jsfs_store::BlockId;
use proptest::prelude::*;

fn policy() -> Policy {
    Policy {
        private: Some(false),
        create: Some(Create::Anyone),
        quota: Some(1 << 40),
        retention: Some((30, 100)),
        hosts: Some(vec!["api.example.org".into()]),
        revoked: vec![Revocation { jti: "abc".into(), expires_s: NOW_MS / 1_000 }],
    }
}

/// One record of every shape.
fn samples() -> Vec<(&'static str, Record)> {
    let (owner, from) = (keys(1), keys(2));
    let file = address("/com.example/a/f.txt");
    let top = address("/com.example/a/");
    let root = ReadKey::generate(&random(3));
    let delegation =
        Delegation::sign(&from, Locator::public(&top), owner.owner(), 2, HybridTime::from_ms(NOW_MS));
    let older = PlaceRoot { epoch: 1, wrapped: root.wrap_older(&ReadKey::generate(&random(4))) };
    let handed = Record {
        epoch: 2,
        version: 7,
        predecessor: Some([9; 32]),
        place: Some(vec![PlaceRoot { epoch: 2, wrapped: owner.wrap_root(&root) }, older]),
        delegation: Some(delegation),
        policy: Some(policy()),
        ..bare(Kind::Directory, &top, &owner)
    };
    vec![
        ("public object", public_object(&file, &owner)),
        ("private object", private_object(&file, &owner, &root.child("f.txt"))),
        ("directory", directory(&top, &owner, &root)),
        ("directory that was handed over", handed),
        (
            "directory with an empty policy",
            Record { policy: Some(Policy::default()), ..bare(Kind::Directory, &top, &owner) },
        ),
        (
            "tombstone",
            Record { version: 2, predecessor: Some([1; 32]), ..bare(Kind::Tombstone, &file, &owner) },
        ),
        ("purged", Record { version: 3, purged: true, ..bare(Kind::Tombstone, &file, &owner) }),
    ]
}

#[test]
fn a_record_reads_back_as_itself() {
    for (what, record) in samples() {
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Ok(record.clone()), "{what}");
        assert_eq!(record.hash(), *blake3::hash(&bytes).as_bytes(), "{what}");
    }
}

#[test]
fn only_the_deterministic_encoding_of_a_record_is_read() {
    for (what, record) in samples() {
        let bytes = record.encode();
        for (deviation, other) in cbor::deviations(&bytes) {
            if let Ok(read) = Record::decode(&other) {
                assert!(deviation.contains("ItemMissing") && read != record, "{what}: {deviation}");
            }
        }
    }
}

#[test]
fn fields_with_their_default_are_left_out() {
    let uint = |argument| cbor::Item::Head { major: 0, argument };
    let cases = [
        (9, cbor::Item::Array(Vec::new())),
        (12, cbor::Item::Array(Vec::new())),
        (15, cbor::Item::Head { major: 7, argument: 20 }),
        (8, cbor::Item::Head { major: 7, argument: 22 }),
    ];
    let owner = keys(1);
    let record = bare(Kind::Tombstone, &address("/com.example/f"), &owner);
    for (key, value) in cases {
        let cbor::Item::Map(mut pairs) = cbor::parse(&record.encode()) else { panic!("a map") };
        pairs.push((uint(key), value));
        assert!(Record::decode(&cbor::write(&cbor::Item::Map(pairs))).is_err(), "{key}");
    }
    let directory = Record {
        policy: Some(Policy::default()),
        ..bare(Kind::Directory, &address("/com.example/a/"), &owner)
    };
    let cbor::Item::Map(mut pairs) = cbor::parse(&directory.encode()) else { panic!("a map") };
    let empty = vec![(uint(6), cbor::Item::Array(Vec::new()))];
    pairs.last_mut().unwrap().1 = cbor::Item::Map(empty);
    assert!(Record::decode(&cbor::write(&cbor::Item::Map(pairs))).is_err());
}

#[test]
fn what_contradicts_itself_is_no_record() {
    let owner = keys(1);
    let (file, top) = (address("/com.example/a/f.txt"), address("/com.example/a/"));
    let root = ReadKey::generate(&random(3));
    let object = public_object(&file, &owner);
    let place = directory(&top, &owner, &root);
    let delegation = |to: u64, epoch| {
        Some(Delegation::sign(
            &keys(2),
            Locator::public(&top),
            keys(to).owner(),
            epoch,
            HybridTime::from_ms(1),
        ))
    };
    let roots = |epochs: &[u64]| {
        Some(epochs.iter().map(|epoch| PlaceRoot { epoch: *epoch, wrapped: [0; 40] }).collect())
    };
    let cases = [
        ("no epoch", Record { epoch: 0, ..object.clone() }),
        ("no version", Record { version: 0, ..object.clone() }),
        ("no content", Record { content: None, ..object.clone() }),
        ("content twice", Record { sealed: Some(vec![0; 60]), ..object.clone() }),
        ("a policy of an object", Record { policy: Some(policy()), ..object.clone() }),
        ("a purged object", Record { purged: true, ..object.clone() }),
        ("a purged directory", Record { purged: true, ..place.clone() }),
        ("content of a directory", Record { content: Some(content(&file, false)), ..place.clone() }),
        ("blocks of a tombstone", Record { kind: Kind::Tombstone, content: None, ..object.clone() }),
        (
            "another address",
            Record { locator: Locator::public(&address("/com.example/a/g.txt")), ..object.clone() },
        ),
        ("another directory", Record { group: Group::public(&address("/com.example/b/")), ..object.clone() }),
        ("another epoch", Record { epoch: 2, ..place.clone() }),
        ("no root", Record { place: roots(&[]), ..place.clone() }),
        ("roots out of order", Record { epoch: 2, place: roots(&[2, 3]), ..place.clone() }),
        ("a root twice", Record { epoch: 2, place: roots(&[2, 1, 1]), ..place.clone() }),
        ("a delegation to another", Record { delegation: delegation(3, 1), ..place.clone() }),
        ("a delegation of a later epoch", Record { delegation: delegation(1, 2), ..place.clone() }),
    ];
    assert!(Record { delegation: delegation(1, 1), ..place }.check().is_ok());
    for (what, record) in cases {
        assert!(record.check().is_err(), "{what}");
        assert!(Record::decode(&record.encode()).is_err(), "{what}");
    }
}

#[test]
fn sizes_are_bounded() {
    let owner = keys(1);
    let (file, top) = (address("/com.example/a/f.txt"), address("/com.example/a/"));
    let object =
        |count| Record { blocks: vec![BlockId::from_bytes([1; 32]); count], ..public_object(&file, &owner) };
    assert!(Record::decode(&object(RECORD_BLOCKS_MAX).encode()).is_ok());
    assert!(Record::decode(&object(RECORD_BLOCKS_MAX + 1).encode()).is_err());
    let sealed = |length| Record { content: None, sealed: Some(vec![0; length]), ..object(1) };
    assert!(Record::decode(&sealed(60_000).encode()).is_ok());
    assert!(Record::decode(&sealed(100_000).encode()).is_err());
    assert!(Record::decode(&sealed(1 << 20).encode()).is_err());
    let roots = |count: usize| {
        let epochs = (1..=count as u64).rev();
        let place = epochs.map(|epoch| PlaceRoot { epoch, wrapped: [0; 40] }).collect();
        Record { epoch: count as u64, place: Some(place), ..bare(Kind::Directory, &top, &owner) }
    };
    assert!(Record::decode(&roots(PLACE_EPOCHS_MAX).encode()).is_ok());
    assert!(Record::decode(&roots(PLACE_EPOCHS_MAX + 1).encode()).is_err());
    let ruled = |policy| Record { policy: Some(policy), ..bare(Kind::Directory, &top, &owner) };
    let hosts = |count, length| Policy { hosts: Some(vec!["h".repeat(length); count]), ..Policy::default() };
    assert!(Record::decode(&ruled(hosts(HOSTS_MAX, 253)).encode()).is_ok());
    assert!(Record::decode(&ruled(hosts(HOSTS_MAX + 1, 1)).encode()).is_err());
    assert!(Record::decode(&ruled(hosts(1, 254)).encode()).is_err());
    let revoked = |count, length: usize| {
        let revocation = Revocation { jti: "j".repeat(length), expires_s: u64::MAX };
        Policy { revoked: vec![revocation; count], ..Policy::default() }
    };
    assert!(Record::decode(&ruled(revoked(REVOCATIONS_MAX, 64)).encode()).is_ok());
    assert!(Record::decode(&ruled(revoked(REVOCATIONS_MAX + 1, 1)).encode()).is_err());
    assert!(Record::decode(&ruled(revoked(1, 65)).encode()).is_err());
    let typed = |length: usize| Content { content_type: "t".repeat(length), ..content(&file, false) };
    assert!(Content::decode(&typed(1_024).encode()).is_ok());
    assert!(Content::decode(&typed(1_025).encode()).is_err());
}

#[test]
fn content_is_consistent() {
    let file = address("/com.example/a/f.txt");
    let good = content(&file, true);
    assert_eq!(Content::decode(&good.encode()), Ok(good.clone()));
    let empty = Content { size: 0, manifest: Manifest::empty(), sha256: None, ..good.clone() };
    assert_eq!(Content::decode(&empty.encode()), Ok(empty));
    assert!(Content::decode(&Content { size: 1, ..good.clone() }.encode()).is_err());
    assert!(
        Content::decode(&Content { address: address("/com.example/a/"), ..good.clone() }.encode()).is_err()
    );
    for (deviation, other) in cbor::deviations(&good.encode()) {
        assert!(Content::decode(&other).is_err(), "{deviation}");
    }
    for text in [
        "/com.example/../a",
        "/COM.example/a",
        "/com.example",
        "a",
        "/com.example/.jsfs/a",
        "/com.example/a\n",
    ] {
        let cbor::Item::Map(mut pairs) = cbor::parse(&good.encode()) else { panic!("a map") };
        pairs[0].1 = cbor::Item::Bytes { major: 3, bytes: text.as_bytes().to_vec() };
        assert!(Content::decode(&cbor::write(&cbor::Item::Map(pairs))).is_err(), "{text}");
    }
}

#[test]
fn sealed_content_opens_with_the_objects_read_key_in_its_own_record_only() {
    let owner = keys(1);
    let file = address("/com.example/a/f.txt");
    let key = ReadKey::generate(&random(3));
    let record = private_object(&file, &owner, &key);
    assert!(record.is_private());
    assert_eq!(record.open(&key), Ok(content(&file, true)));
    assert!(record.open(&key.child("x")).is_err());
    assert!(Record { version: 2, ..record.clone() }.open(&key).is_err());
    assert!(Record { owner: keys(2).owner(), ..record.clone() }.open(&key).is_err());
    assert!(public_object(&file, &owner).open(&key).is_err());
    // Sealed under a key that its locator does not belong to: whoever looks it up would be misled.
    let mut misfiled = Record { locator: Locator::from_bytes([1; 32]), ..record };
    misfiled.seal(&content(&file, true), &key, &random(1));
    assert!(misfiled.open(&key).is_err());
}

#[test]
fn epoch_then_version_then_time_say_which_record_is_newer() {
    let owner = keys(1);
    let record = |epoch, version, time| Record {
        epoch,
        version,
        time: HybridTime(time),
        ..bare(Kind::Tombstone, &address("/com.example/f"), &owner)
    };
    let order = [record(1, 1, 5), record(1, 1, 6), record(1, 2, 1), record(2, 1, 0), record(2, 2, 0)];
    for (index, older) in order.iter().enumerate() {
        assert!(!older.is_newer_than(older));
        for newer in &order[index + 1..] {
            assert!(newer.is_newer_than(older) && !older.is_newer_than(newer));
        }
    }
}

#[test]
fn a_delegation_is_the_former_owners_word_and_nobody_elses() {
    let (from, to) = (keys(1), keys(2));
    let place = Locator::public(&address("/com.example/a/"));
    let delegation = Delegation::sign(&from, place, to.owner(), 4, HybridTime::from_ms(NOW_MS));
    assert!(delegation.verifies());
    assert_eq!((delegation.from(), delegation.to()), (from.owner(), to.owner()));
    assert_eq!((delegation.place(), delegation.epoch(), delegation.time().ms()), (place, 4, NOW_MS));
    let record = Record {
        epoch: 4,
        delegation: Some(delegation),
        ..bare(Kind::Directory, &address("/com.example/a/"), &to)
    };
    let good = record.encode();
    let at = good.windows(2).position(|two| two == [13, 0x82]).unwrap();
    for index in at + 2..good.len() {
        let mut damaged = good.clone();
        damaged[index] ^= 1;
        let read = Record::decode(&damaged);
        assert!(
            !read.is_ok_and(|read| read.delegation.is_some_and(|delegation| delegation.verifies())),
            "{index}"
        );
    }
}

#[test]
fn an_unknown_version_says_so_and_other_errors_name_the_structure() {
    assert_eq!(Record::decode(&[]).unwrap_err().to_string(), "a record is malformed");
    let unordered = FormatError::NotDeterministic { what: "a record" };
    assert_eq!(unordered.to_string(), "a record is not deterministic CBOR");
}

fn policies() -> impl Strategy<Value = Policy> {
    let hosts = proptest::option::of(proptest::collection::vec("[a-z.é]{0,20}", 0..5));
    let revoked = proptest::collection::vec(("[a-z0-9]{1,10}", any::<u64>()), 0..5);
    let fields = (
        any::<Option<bool>>(),
        any::<Option<bool>>(),
        any::<Option<u64>>(),
        any::<Option<(u64, u64)>>(),
        hosts,
        revoked,
    );
    fields.prop_map(|(private, create, quota, retention, hosts, revoked)| Policy {
        private,
        create: create.map(|anyone| if anyone { Create::Anyone } else { Create::Owner }),
        quota,
        retention,
        hosts,
        revoked: revoked.into_iter().map(|(jti, expires_s)| Revocation { jti, expires_s }).collect(),
    })
}

proptest! {
    #[test]
    fn any_directory_record_reads_back_as_itself(
        policy in proptest::option::of(policies()),
        (epoch, version, time) in (1..u64::MAX, 1..u64::MAX, any::<u64>()),
        predecessor: Option<[u8; 32]>,
    ) {
        let record = Record {
            epoch,
            version,
            time: HybridTime(time),
            predecessor,
            policy,
            ..bare(Kind::Directory, &address("/com.example/a/"), &keys(1))
        };
        prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Record::decode(&bytes);
        let _ = Content::decode(&bytes);
        let _ = Manifest::decode(&bytes);
    }

    #[test]
    fn damaged_records_are_refused_or_read_back_the_same(which in 0_usize..7, damage in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4)) {
        let mut bytes = samples()[which].1.encode();
        for (at, byte) in damage {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(record.encode(), bytes);
        }
    }
}
