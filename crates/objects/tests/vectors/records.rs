//! Vectors of records: every kind, content in the clear and sealed, places, delegations, policies, and what is no record.

use crate::manifests::{described, small};
use crate::{NOW_MS, hex, key, number, unhex};
use jsfs_objects::address::Address;
use jsfs_objects::clock::{HybridTime, SeededRandom};
use jsfs_objects::key::{Keys, Seed};
use jsfs_objects::manifest::Manifest;
use jsfs_objects::read_key::{Group, Locator, ReadKey};
use jsfs_objects::record::{Content, Create, Delegation, Kind, PlaceRoot, Policy, Record, Revocation};
use jsfs_store::BlockId;
use serde_json::{Map, Value, json};

pub(crate) fn owner() -> Keys {
    Seed::from_bytes(key(1)).keys()
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse_exact(text).unwrap()
}

pub(crate) fn bare(kind: Kind, at: &Address) -> Record {
    Record {
        kind,
        locator: Locator::public(at),
        group: Group::listing(at),
        owner: owner().owner(),
        epoch: 1,
        version: 1,
        time: HybridTime(HybridTime::from_ms(NOW_MS).0 + 3),
        predecessor: None,
        blocks: Vec::new(),
        content: None,
        sealed: None,
        place: None,
        delegation: None,
        policy: None,
        purged: false,
    }
}

fn content(at: &Address, manifest: Manifest) -> Content {
    Content {
        address: at.clone(),
        size: manifest.length(),
        content_type: "text/plain; charset=utf-8".into(),
        etag: key(20),
        created_ms: NOW_MS - 86_400_000,
        modified_ms: NOW_MS,
        executable: true,
        sha256: Some(key(21)),
        manifest,
        properties: Default::default(),
    }
}

pub(crate) fn public_object(at: &Address) -> Record {
    let blocks = vec![BlockId::from_bytes(key(1)), BlockId::from_bytes(key(2))];
    Record { blocks, content: Some(content(at, small(false))), ..bare(Kind::Object, at) }
}

pub(crate) fn private_object(at: &Address, read_key: &ReadKey) -> Record {
    let group = ReadKey::from_bytes(key(7)).group();
    let blocks = vec![BlockId::from_bytes(key(1))];
    let mut record = Record { locator: read_key.locator(), group, blocks, ..bare(Kind::Object, at) };
    record.seal(&content(at, small(true)), read_key, &SeededRandom::new(5));
    record
}

pub(crate) fn handed_over(at: &Address) -> Record {
    let former = Seed::from_bytes(key(2)).keys();
    let (newest, older) = (ReadKey::from_bytes(key(30)), ReadKey::from_bytes(key(60)));
    let time = HybridTime::from_ms(NOW_MS);
    Record {
        epoch: 2,
        version: 300,
        predecessor: Some(key(99)),
        place: Some(vec![
            PlaceRoot { epoch: 2, wrapped: owner().wrap_root(&newest) },
            PlaceRoot { epoch: 1, wrapped: newest.wrap_older(&older) },
        ]),
        delegation: Some(Delegation::sign(&former, Locator::public(at), owner().owner(), 2, time)),
        policy: Some(Policy {
            private: Some(false),
            create: Some(Create::Anyone),
            quota: Some(1 << 40),
            retention: Some((30, 100)),
            hosts: Some(vec!["api.example.org".into(), "b.example.org".into()]),
            revoked: vec![Revocation { jti: "token-1".into(), expires_s: NOW_MS / 1_000 }],
        }),
        ..bare(Kind::Directory, at)
    }
}

fn described_content(content: &Content) -> Value {
    let mut fields = json!({
        "address": content.address,
        "size": number(content.size),
        "content_type": content.content_type,
        "etag": hex(content.etag),
        "created_ms": number(content.created_ms),
        "modified_ms": number(content.modified_ms),
        "executable": content.executable,
        "manifest": described(&content.manifest),
    });
    if let Some(sha256) = content.sha256 {
        fields["sha256"] = hex(sha256).into();
    }
    fields
}

fn described_policy(policy: &Policy) -> Value {
    let mut fields = Map::new();
    let mut note = |name: &str, value: Option<Value>| value.map(|value| fields.insert(name.into(), value));
    note("private", policy.private.map(Value::from));
    note(
        "create",
        policy.create.map(|create| if create == Create::Anyone { "anyone" } else { "owner" }.into()),
    );
    note("quota", policy.quota.map(number));
    note("retention", policy.retention.map(|(days, versions)| json!([number(days), number(versions)])));
    note("hosts", policy.hosts.clone().map(Value::from));
    let revoked = policy.revoked.iter().map(|revoked| json!([revoked.jti, number(revoked.expires_s)]));
    note("revoked", (!policy.revoked.is_empty()).then(|| revoked.collect()));
    fields.into()
}

fn described_record(record: &Record) -> Value {
    let mut fields = json!({
        "kind": match record.kind { Kind::Object => 1, Kind::Directory => 2, Kind::Tombstone => 3 },
        "locator": hex(record.locator.as_bytes()),
        "group": hex(record.group.as_bytes()),
        "owner": record.owner,
        "epoch": number(record.epoch),
        "version": number(record.version),
        "time_ms": number(record.time.ms()),
        "time_counter": record.time.counter(),
    });
    let mut note = |name: &str, value: Option<Value>| value.map(|value| fields[name] = value);
    note("predecessor", record.predecessor.map(|hash| hex(hash).into()));
    let blocks = record.blocks.iter().map(|block| hex(block.as_bytes()));
    note("blocks", (!record.blocks.is_empty()).then(|| blocks.collect()));
    note("content", record.content.as_ref().map(described_content));
    note("sealed", record.sealed.as_ref().map(|sealed| hex(sealed).into()));
    let root = |root: &PlaceRoot| json!({"epoch": number(root.epoch), "wrapped": hex(root.wrapped)});
    note("place", record.place.as_ref().map(|place| place.iter().map(root).collect()));
    note(
        "delegation",
        record.delegation.as_ref().map(|delegation| {
            assert!(delegation.verifies());
            json!({
                "place": hex(delegation.place().as_bytes()),
                "from": delegation.from(),
                "to": delegation.to(),
                "epoch": number(delegation.epoch()),
                "time_ms": number(delegation.time().ms()),
                "time_counter": delegation.time().counter(),
            })
        }),
    );
    note("policy", record.policy.as_ref().map(described_policy));
    note("purged", record.purged.then(|| true.into()));
    fields
}

fn valid(record: &Record, read_key: Option<&ReadKey>) -> Value {
    let bytes = record.encode();
    assert_eq!(Record::decode(&bytes).as_ref(), Ok(record));
    let mut vector =
        json!({"encoding": hex(&bytes), "hash": hex(record.hash()), "record": described_record(record)});
    if let Some(read_key) = read_key {
        let content = record.open(read_key).unwrap();
        vector["read_key"] = hex(read_key.expose()).into();
        vector["opened"] = described_content(&content);
        vector["opened_encoding"] = hex(&*content.encode()).into();
    }
    vector
}

fn contradictions() -> Vec<(&'static str, Record)> {
    let (file, top) = (address("/com.example/a/f.txt"), address("/com.example/a/"));
    let object = public_object(&file);
    let tombstone = bare(Kind::Tombstone, &file);
    let wrapped = [0; 40];
    vec![
        ("no epoch", Record { epoch: 0, ..tombstone.clone() }),
        ("no version", Record { version: 0, ..tombstone.clone() }),
        ("an object without content", Record { content: None, ..object.clone() }),
        ("content twice", Record { sealed: Some(vec![0; 48]), ..object.clone() }),
        ("a tombstone with content", Record { kind: Kind::Tombstone, blocks: Vec::new(), ..object.clone() }),
        ("a tombstone with blocks", Record { blocks: object.blocks.clone(), ..tombstone.clone() }),
        ("an object with a policy", Record { policy: Some(Policy::default()), ..object.clone() }),
        ("an object that is purged", Record { purged: true, ..object.clone() }),
        ("a locator of another address", Record { locator: Locator::public(&top), ..object.clone() }),
        ("a group of another directory", Record { group: Group::listing(&top), ..object }),
        ("a place without roots", Record { place: Some(Vec::new()), ..bare(Kind::Directory, &top) }),
        (
            "a place of another epoch",
            Record { place: Some(vec![PlaceRoot { epoch: 2, wrapped }]), ..bare(Kind::Directory, &top) },
        ),
        (
            "a place whose epochs ascend",
            Record {
                place: Some(vec![PlaceRoot { epoch: 1, wrapped }, PlaceRoot { epoch: 2, wrapped }]),
                ..bare(Kind::Directory, &top)
            },
        ),
        ("a delegation of a later epoch", Record { epoch: 1, place: None, ..handed_over(&top) }),
    ]
}

pub(crate) fn vectors() -> Value {
    let (file, top) = (address("/com.example/a/ü.txt"), address("/com.example/a/"));
    let read_key = ReadKey::from_bytes(key(7)).child("ü.txt");
    let private = private_object(&file, &read_key);
    let empty = Content {
        size: 0,
        content_type: String::new(),
        executable: false,
        sha256: None,
        ..content(&file, Manifest::empty())
    };
    let empty = Record { content: Some(empty), ..bare(Kind::Object, &file) };
    let tombstone = Record { version: 24, predecessor: Some(private.hash()), ..bare(Kind::Tombstone, &file) };
    let namespace =
        Record { policy: Some(Policy::default()), ..bare(Kind::Directory, &address("/com.example/")) };
    let shut = Policy {
        hosts: Some(Vec::new()),
        create: Some(Create::Owner),
        quota: Some(u64::MAX),
        ..Policy::default()
    };
    let mut invalid: Vec<(&str, String)> =
        contradictions().into_iter().map(|(why, record)| (why, hex(record.encode()))).collect();
    let good = hex(tombstone.encode());
    let shortest = hex(bare(Kind::Tombstone, &file).encode());
    invalid.extend([
        ("a kind that does not exist", good.replacen("a80103", "a80104", 1)),
        ("keys out of order", format!("a7{}0103", &shortest[6..])),
        ("a key twice", format!("a8{}0707", &shortest[2..])),
        ("an unknown key", format!("a8{}1001", &shortest[2..])),
        ("purged: false", format!("a8{}0ff4", &shortest[2..])),
        ("an empty list of blocks", format!("a8{}0980", &shortest[2..])),
        ("a field that is missing", format!("a6{}", &shortest[6..])),
        ("a number in a longer form", good.replacen("a80103", "a8011803", 1)),
        ("a byte after the end", format!("{good}00")),
    ]);
    let invalid = invalid.into_iter().map(|(why, encoding)| {
        assert!(Record::decode(&unhex(&encoding)).is_err(), "{why}");
        json!({"why": why, "encoding": encoding})
    });
    let moved = Record { version: 2, ..private.clone() };
    assert!(moved.open(&read_key).is_err());
    json!({
        "valid": [
            valid(&public_object(&file), None),
            valid(&empty, None),
            valid(&private, Some(&read_key)),
            valid(&handed_over(&top), None),
            valid(&namespace, None),
            valid(&Record { policy: Some(shut), ..bare(Kind::Directory, &top) }, None),
            valid(&tombstone, None),
            valid(&Record { purged: true, ..tombstone.clone() }, None),
        ],
        "invalid": invalid.collect::<Vec<_>>(),
        "unopened": [
            {"why": "sealed in another version", "encoding": hex(moved.encode()), "read_key": hex(read_key.expose())},
            {"why": "another read key", "encoding": hex(private.encode()), "read_key": hex(read_key.child("x").expose())},
        ],
    })
}
