//! The vectors of what nodes say to each other, in `docs/vectors/protocols.json`.

use super::{NOW, hex, key, sign, terms};
use jsfs_federation::blockstore::{Bitmap, BlockAnswer, BlockRequest, Piece, refused_piece};
use jsfs_federation::membership::{
    Announcement, Answer, Charter, Credential, Dismissal, Hello, Item, Request, Revocation, Role, Roles,
    Roster, TicketSecret,
};
use jsfs_federation::wire::{ErrorCode, frame};
use jsfs_objects::cbor::Cbor;
use jsfs_store::BlockId;
use serde_json::{Value, json};

fn member() -> Credential {
    Credential { certificate: sign(terms(&key(2), Roles::FULL), &key(1)), issuer: None }
}

fn admin() -> Credential {
    let roles = Roles::default().with(Role::Admin);
    Credential { certificate: sign(terms(&key(4), roles), &key(1)), issuer: None }
}

fn announcement() -> Announcement {
    let addresses = vec!["/ip4/192.0.2.1/tcp/7303".into(), "/dns/node.example/tcp/7303".into()];
    Announcement::sign(key(1).public(), NOW, addresses, &key(2)).unwrap()
}

fn charter() -> Charter {
    Charter::sign(NOW, "home", 3, &key(1)).unwrap()
}

fn dismissal() -> Dismissal {
    let revocation = Revocation::sign(key(1).public(), key(2).public(), 2, &key(4));
    Dismissal { revocation, admin: Some(admin()), target: Some(member()) }
}

fn items() -> Vec<Item> {
    vec![
        Item::Charter(charter()),
        Item::Member(member()),
        Item::Member(admin()),
        Item::Announcement(announcement()),
        Item::Dismissal(Box::new(dismissal())),
    ]
}

fn described(item: &Item) -> Value {
    let bytes = item.encode();
    let (federation, peer) = (hex(key(1).public().as_bytes()), hex(key(2).public().as_bytes()));
    let value = match item {
        Item::Member(credential) => json!({"kind": "member", "credential": hex(credential.encode())}),
        Item::Announcement(announcement) => json!({
            "kind": "announcement", "federation": federation, "peer": peer, "sequence": NOW, "addresses": announcement.addresses(),
        }),
        Item::Charter(_) => {
            json!({"kind": "charter", "federation": federation, "sequence": NOW, "name": "home", "replicas": 3})
        }
        Item::Dismissal(dismissal) => json!({
            "kind": "dismissal", "revocation": hex(dismissal.revocation.encode()), "admin": hex(admin().encode()), "target": hex(member().encode()),
        }),
    };
    json!({"encoding": hex(&bytes), "mark": hex(Item::mark(&bytes)), "value": value})
}

fn roster() -> Value {
    let mut roster = Roster::new(key(1).public());
    for item in items() {
        roster.add(item, NOW).unwrap();
    }
    let encodings: Vec<String> = roster.items().map(hex).collect();
    json!({"items": encodings, "digest": hex(roster.digest())})
}

fn membership() -> Vec<Value> {
    let hello = Hello { credential: member(), announcement: Some(announcement()), digest: [7; 32] };
    let silent = Hello { announcement: None, ..hello.clone() };
    let items = vec![Item::Charter(charter()).encode(), Item::Member(member()).encode()];
    let marks = vec![[1; 8], [2; 8]];
    let hello_value = |hello: &Hello| {
        let announcement = hello.announcement.as_ref().map(|one| hex(one.to_bytes()));
        json!({"kind": "hello", "credential": hex(hello.credential.encode()), "announcement": announcement, "digest": hex(hello.digest)})
    };
    let texts = |items: &[Vec<u8>]| items.iter().map(hex).collect::<Vec<_>>();
    let secret = TicketSecret::from_bytes([8; 32]);
    let requests = [
        (hello_value(&hello), Request::Hello(hello.clone())),
        (hello_value(&silent), Request::Hello(silent)),
        (json!({"kind": "join", "secret": hex([8; 32])}), Request::Join { secret }),
        (
            json!({"kind": "sync", "marks": texts(&[vec![1; 8], vec![2; 8]])}),
            Request::Sync { marks: marks.clone() },
        ),
        (json!({"kind": "tell", "items": texts(&items)}), Request::Tell { items: items.clone() }),
    ];
    let answers = [
        (json!({"kind": "refused", "code": 3}), Answer::Refused(ErrorCode::NotMember.number())),
        (hello_value(&hello), Answer::Hello(hello)),
        (json!({"kind": "welcome", "credential": hex(member().encode())}), Answer::Welcome(member())),
        (
            json!({"kind": "difference", "items": texts(&items), "wanted": texts(&[vec![1; 8], vec![2; 8]]), "more": false}),
            Answer::Difference { items, wanted: marks, more: false },
        ),
        (json!({"kind": "heard", "new": 2}), Answer::Heard { new: 2 }),
    ];
    let requests = requests.into_iter().map(|(value, request)| {
        let bytes = request.to_bytes();
        assert_eq!(Request::from_bytes(&bytes).unwrap(), request);
        json!({"side": "request", "encoding": hex(bytes), "value": value})
    });
    let answers = answers.into_iter().map(|(value, answer)| {
        let bytes = answer.to_bytes();
        assert_eq!(Answer::from_bytes(&bytes).unwrap(), answer);
        json!({"side": "answer", "encoding": hex(bytes), "value": value})
    });
    requests.chain(answers).collect()
}

fn blockstore() -> Vec<Value> {
    let ids: Vec<BlockId> = (0..10_u8).map(|number| BlockId::of(&[number])).collect();
    let texts: Vec<String> = ids.iter().map(|id| hex(id.as_bytes())).collect();
    let named = |kind: &str| json!({"kind": kind, "ids": texts});
    let leased = |kind: &str| json!({"kind": kind, "ids": texts, "lease_s": 3_600});
    let requests = [
        (named("have"), BlockRequest::Have { ids: ids.clone() }),
        (named("get"), BlockRequest::Get { ids: ids.clone() }),
        (leased("put"), BlockRequest::Put { ids: ids.clone(), lease_s: 3_600 }),
        (leased("pin"), BlockRequest::Pin { ids: ids.clone(), lease_s: 3_600 }),
        (named("unpin"), BlockRequest::Unpin { ids }),
    ];
    let bits = [true, false, true, true, false, false, false, false, false, true];
    let answers = [
        (json!({"kind": "refused", "code": 4}), BlockAnswer::Refused(ErrorCode::Role.number())),
        (json!({"kind": "marked", "bits": bits}), BlockAnswer::Marked(Bitmap::of(&bits))),
        (json!({"kind": "kept", "codes": [0, 10, 6]}), BlockAnswer::Kept(vec![0, 10, 6])),
    ];
    let requests = requests.into_iter().map(|(value, request)| {
        let bytes = request.to_bytes();
        assert_eq!(BlockRequest::from_bytes(&bytes).unwrap(), request);
        json!({"side": "request", "encoding": hex(bytes), "value": value})
    });
    let answers = answers.into_iter().map(|(value, answer)| {
        let bytes = answer.to_bytes();
        assert_eq!(BlockAnswer::from_bytes(&bytes).unwrap(), answer);
        json!({"side": "answer", "encoding": hex(bytes), "value": value})
    });
    let refused = refused_piece(ErrorCode::Absent);
    assert_eq!(Piece::decode(&refused).unwrap(), Piece::Refused(11));
    assert_eq!(Piece::decode(&[0, 9]).unwrap(), Piece::Block(&[9_u8][..]));
    let pieces = [
        json!({"side": "piece", "encoding": hex(refused), "value": {"kind": "refused", "code": 11}}),
        json!({"side": "piece", "encoding": "0009", "value": {"kind": "block", "bytes": "09"}}),
    ];
    requests.chain(answers).chain(pieces).collect()
}

/// What no node may take for a message.
fn malformed() -> Vec<Value> {
    let sync = |marks: &[[u8; 8]]| Request::Sync { marks: marks.to_vec() }.to_bytes();
    let ids = |count: usize| vec![BlockId::of(b"x"); count];
    let membership = [
        ("marks that do not ascend", sync(&[[2; 8], [1; 8]])),
        ("a mark twice", sync(&[[1; 8], [1; 8]])),
        ("an unknown kind", vec![0x82, 0x09, 0x00]),
        ("bytes after the end", [sync(&[[1; 8]]), vec![0]].concat()),
    ];
    let blockstore = [
        ("no blocks", BlockRequest::Have { ids: Vec::new() }.to_bytes()),
        ("more blocks than are sent at once", BlockRequest::Get { ids: ids(65) }.to_bytes()),
        ("no lease", BlockRequest::Put { ids: ids(1), lease_s: 0 }.to_bytes()),
        ("a lease of more than 90 days", BlockRequest::Pin { ids: ids(1), lease_s: 7_776_001 }.to_bytes()),
        ("half an id", vec![0x82, 0x01, 0x41, 0x00]),
    ];
    let mut found = Vec::new();
    for (why, bytes) in membership {
        assert!(Request::from_bytes(&bytes).is_err(), "{why}");
        found.push(json!({"protocol": "membership", "why": why, "encoding": hex(bytes)}));
    }
    for (why, bytes) in blockstore {
        assert!(BlockRequest::from_bytes(&bytes).is_err(), "{why}");
        found.push(json!({"protocol": "blockstore", "why": why, "encoding": hex(bytes)}));
    }
    found
}

fn frames() -> Vec<Value> {
    let one = |length: usize| {
        let framed = frame(&vec![7; length]);
        json!({"length": length, "head": hex(&framed[..framed.len() - length])})
    };
    [0, 1, 127, 128, 16_383, 16_384, 1_049_601].map(one).to_vec()
}

/// All of them.
pub(crate) fn vectors() -> Value {
    json!({
        "blockstore": blockstore(), "frames": frames(), "items": items().iter().map(described).collect::<Vec<_>>(), "malformed": malformed(),
        "membership": membership(), "rosters": [roster()],
    })
}
