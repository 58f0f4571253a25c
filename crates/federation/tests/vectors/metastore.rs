//! The vectors of the metastore, in `docs/vectors/metastore.json`.

use super::{hex, key};
use jsfs_federation::metastore::{
    Compared, Cursor, DEPTH_MAX, Found, Home, Listing, Member, Members, Range, Request, Response, Row, Shard,
    Summary, fingerprint,
};
use jsfs_objects::cbor::Cbor;
use jsfs_objects::key::Owner;
use jsfs_objects::read_key::{Group, Locator};
use jsfs_objects::record::Kind;
use serde_json::{Value, json};

fn locator(fill: u8) -> Locator {
    Locator::from_bytes([fill; 32])
}

fn id(fill: u8) -> String {
    hex([fill; 32])
}

fn row(fill: u8) -> Row {
    Row { home: Home::from_bytes([fill; 32]), locator: locator(fill + 1), hash: [fill + 2; 32] }
}

fn row_text(fill: u8) -> String {
    [fill, fill + 1, fill + 2].map(id).concat()
}

fn range(from: u8, until: Option<u8>) -> Range {
    Range { from: [from; 96], until: until.map(|until| [until; 96]), fingerprint: [9; 32] }
}

fn range_value(from: u8, until: Option<u8>) -> Value {
    json!([hex([from; 96]), until.map(|until| hex([until; 96])), id(9)])
}

fn summary(kind: Kind) -> Summary {
    Summary { hash: [1; 32], owner: Owner::from_bytes([2; 32]), epoch: 3, version: 24, time: 65_536, kind }
}

fn summary_value(kind: u64) -> Value {
    json!([id(1), id(2), 3, 24, 65_536, kind])
}

fn requests() -> Vec<(Request, Value)> {
    let home = Home::from_bytes([1; 32]);
    let store = |hold| Request::Store { home, envelopes: vec![vec![5, 6], vec![7]], hold };
    let hold = |expected| Request::Hold {
        locator: locator(1),
        owner: Owner::from_bytes([2; 32]),
        expected,
        id: [4; 16],
        ms: 8_000,
    };
    vec![
        (store(None), json!([1, id(1), ["0506", "07"], null])),
        (store(Some([4; 16])), json!([1, id(1), ["0506", "07"], hex([4; 16])])),
        (
            Request::Fetch { locators: vec![locator(1), locator(2)], chain: 32 },
            json!([2, [id(1), id(2)], 32]),
        ),
        (Request::List { home, after: None, limit: 1_000 }, json!([3, id(1), null, 1_000])),
        (Request::List { home, after: Some(locator(9)), limit: 10 }, json!([3, id(1), id(9), 10])),
        (Request::Head { locators: vec![locator(1)] }, json!([4, [id(1)]])),
        (hold(None), json!([5, id(1), id(2), null, hex([4; 16]), 8_000])),
        (hold(Some([3; 32])), json!([5, id(1), id(2), id(3), hex([4; 16]), 8_000])),
        (Request::Release { locator: locator(1), id: [4; 16] }, json!([6, id(1), hex([4; 16])])),
        (
            Request::Compare { ranges: vec![range(0, None), range(0, Some(7))] },
            json!([7, [range_value(0, None), range_value(0, Some(7))]]),
        ),
        (Request::Pull { rows: vec![row(1), row(2)] }, json!([8, [row_text(1), row_text(2)]])),
        (Request::Past { rows: vec![row(1)] }, json!([9, [row_text(1)]])),
        (Request::Watch { home, cursor: None, lease_ms: 0 }, json!([10, id(1), null, 0])),
        (
            Request::Watch { home, cursor: Some(Cursor { life: 2, next: 300 }), lease_ms: 60_000 },
            json!([10, id(1), [2, 300], 60_000]),
        ),
        (Request::Notice { home }, json!([11, id(1)])),
        (Request::Cut { home }, json!([12, id(1)])),
    ]
}

fn answers() -> Vec<(Response, Value)> {
    let found = Found { envelopes: vec![vec![5, 6]], marks: vec![[8; 8]] };
    let entry = Listing {
        locator: locator(1),
        heads: vec![(summary(Kind::Object), Some(vec![5])), (summary(Kind::Directory), None)],
        marks: vec![[8; 8]],
    };
    let entry_value = json!([id(1), [[summary_value(1), "05"], [summary_value(2), null]], [hex([8; 8])]]);
    vec![
        (Response::Refused(12), json!([0, 12])),
        (Response::Refused(4_000), json!([0, 4_000])),
        (Response::Stored(vec![true, false]), json!([1, [true, false]])),
        (
            Response::Versions { settled: true, found: vec![found, Found::default()] },
            json!([2, true, [[["0506"], [hex([8; 8])]], [[], []]]]),
        ),
        (
            Response::Page { settled: false, entries: vec![entry], more: true, cut: false },
            json!([3, false, [entry_value], true, false]),
        ),
        (
            Response::Page { settled: true, entries: Vec::new(), more: false, cut: true },
            json!([3, true, [], false, true]),
        ),
        (
            Response::Heads { settled: true, found: vec![vec![summary(Kind::Tombstone)], Vec::new()] },
            json!([4, true, [[summary_value(3)], []]]),
        ),
        (Response::Held, json!([5])),
        (Response::Conflict(vec![summary(Kind::Object)]), json!([6, [summary_value(1)]])),
        (Response::Released, json!([7])),
        (
            Response::Compared(vec![
                Compared::Same,
                Compared::Parts(vec![range(0, Some(7)), range(7, None)]),
                Compared::Rows(vec![row(1)]),
            ]),
            json!([8, [[0], [1, [range_value(0, Some(7)), range_value(7, None)]], [2, [row_text(1)]]]]),
        ),
        (Response::Pulled(vec![Some(vec![5, 6]), None]), json!([9, ["0506", null]])),
        (Response::Noted, json!([10])),
        (
            Response::Changes {
                cursor: Cursor { life: 2, next: 301 },
                gap: false,
                locators: vec![locator(1)],
                cut: true,
            },
            json!([11, [2, 301], false, [id(1)], true]),
        ),
        (Response::Elsewhere, json!([12])),
    ]
}

fn malformed() -> Vec<Value> {
    let bad = [
        ("a kind that there is not", json!("request"), vec![0x82, 0x18, 0x63, 0x00]),
        ("no locators", json!("request"), Request::Fetch { locators: Vec::new(), chain: 0 }.to_bytes()),
        (
            "a chain of 33",
            json!("request"),
            Request::Fetch { locators: vec![locator(1)], chain: 33 }.to_bytes(),
        ),
        ("too many entries", json!("request"), {
            Request::List { home: Home::from_bytes([1; 32]), after: None, limit: 1_001 }.to_bytes()
        }),
        ("no envelope", json!("request"), {
            Request::Store { home: Home::from_bytes([1; 32]), envelopes: Vec::new(), hold: None }.to_bytes()
        }),
        ("65 rows", json!("request"), Request::Pull { rows: vec![row(1); 65] }.to_bytes()),
        ("an item too many", json!("answer"), vec![0x82, 0x05, 0x00]),
        ("a number not in its shortest form", json!("answer"), vec![0x82, 0x00, 0x18, 0x0c]),
    ];
    bad.into_iter()
        .map(|(why, side, bytes)| {
            let refused = if side == "request" {
                Request::from_bytes(&bytes).is_err()
            } else {
                Response::from_bytes(&bytes).is_err()
            };
            assert!(refused, "{why}");
            json!({"why": why, "side": side, "encoding": hex(bytes)})
        })
        .collect()
}

fn homes() -> Vec<Value> {
    let peers: Vec<_> = (1..=20).map(|number| key(number).public()).collect();
    let member = |peer: &_| Member { peer: *peer, keeps: true, reachable: true };
    let members = Members::new(peers.iter().map(member), [], []);
    let order = |fill: u8| {
        let home = Home::from_bytes([fill; 32]);
        let best: Vec<String> = members.order(&home)[..5].iter().map(|peer| hex(peer.as_bytes())).collect();
        let peers: Vec<String> = peers.iter().map(|peer| hex(peer.as_bytes())).collect();
        json!({"home": id(fill), "members": peers, "replicas": best})
    };
    [1, 2, 3].map(order).to_vec()
}

/// A group, a locator, and the home at which it is listed with so many digits.
fn shards() -> Vec<Value> {
    let (group, locator) = (Group::from_bytes([1; 32]), Locator::from_bytes([0x5a; 32]));
    let shard = |depth| {
        let home = Shard::of(&locator, depth).home(group);
        json!({"group": id(1), "locator": id(0x5a), "digits": depth, "home": hex(home.as_bytes())})
    };
    (0..=DEPTH_MAX).map(shard).collect()
}

/// All of them.
pub(crate) fn vectors() -> Value {
    let mut messages = Vec::new();
    for (request, value) in requests() {
        assert_eq!(Request::from_bytes(&request.to_bytes()).unwrap(), request);
        messages.push(json!({"side": "request", "value": value, "encoding": hex(request.to_bytes())}));
    }
    for (answer, value) in answers() {
        assert_eq!(Response::from_bytes(&answer.to_bytes()).unwrap(), answer);
        messages.push(json!({"side": "answer", "value": value, "encoding": hex(answer.to_bytes())}));
    }
    let rows = [row(1), row(2), row(3)];
    let fingerprints = [0, 1, 3].map(|count: usize| {
        let names: Vec<String> = rows[..count].iter().map(|row| hex(row.to_bytes())).collect();
        json!({"rows": names, "fingerprint": hex(fingerprint(&rows[..count]))})
    });
    json!({
        "fingerprints": fingerprints,
        "homes": homes(),
        "malformed": malformed(),
        "messages": messages,
        "shards": shards(),
    })
}
