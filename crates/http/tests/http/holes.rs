//! The holes of JSFS 4 stay closed: one row for each that is known, with the proof or where it is.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::node::Node;
use jsfs_store::backend::{Fault, Operation};
use jsfs_testkit::http::{Client, Request, send_raw};

enum Proof {
    /// Shown here.
    Here(fn()),
    /// Shown by the tests of this file, which need what the front door does not see.
    There(&'static str),
    /// There is nothing of the kind any more; why.
    Gone(&'static str),
}

use Proof::{Gone, Here, There};

const HOLES: &[(u32, &str, Proof)] = &[
    (1, "a request of HTTP/1.0 without a host ended the process", Here(odd_requests_are_answered)),
    (2, "an absolute target without a valid host ended the process", Here(odd_requests_are_answered)),
    (3, "twelve bytes that begin like a WAV file ended the process", Here(sound_files_are_only_bytes)),
    (4, "a WAV file whose inner lengths lie ended the process", Here(sound_files_are_only_bytes)),
    (5, "a repeated key together with `encrypted` ended the process", Here(odd_requests_are_answered)),
    (6, "reading a damaged block ended the process", Here(damage_is_never_served)),
    (
        7,
        "an object stored without a key belonged to who knew its address",
        Here(no_key_follows_from_an_address),
    ),
    (8, "a token for writing made its holder the owner", Here(a_token_for_writing_owns_nothing)),
    (9, "replacing a private object made it public and dropped its type", Here(a_replacement_stays_private)),
    (10, "HEAD told of private objects", Here(head_tells_no_more_than_get)),
    (11, "any token at all replaced the key that was demanded", Here(a_token_must_prove_something)),
    (12, "`encrypted` objects were served in the clear to anybody", Here(what_is_private_is_not_served)),
    (13, "valid credentials were written to the log", Here(the_log_holds_no_secret)),
    (
        14,
        "tokens were not bound to an address and could not be revoked",
        Here(a_token_is_good_for_its_address_until_revoked),
    ),
    (
        15,
        "any type was stored and sniffed, and anybody wrote into any namespace",
        Here(types_and_namespaces_are_guarded),
    ),
    (16, "nothing had a limit", There("crates/http/tests/http/limits.rs")),
    (17, "a missing block was served as a short or spliced answer", Here(damage_is_never_served)),
    (18, "blocks were never verified", Here(damage_is_never_served)),
    (19, "half a block counted as a duplicate for ever", There("crates/store/tests/store/model.rs")),
    (20, "a compressed block that had moved was never found", Gone("blocks have no files of their own")),
    (21, "sound files were stored twice over or with no size", Here(sound_files_are_only_bytes)),
    (22, "a read during a write found nothing", Here(a_read_during_writes_always_finds_something)),
    (
        23,
        "an object with torn metadata was free for the next comer",
        There("crates/store/tests/store/model.rs"),
    ),
    (24, "a read could bring back what was deleted", Here(reading_changes_nothing)),
    (25, "a store that failed left the client without an answer", Here(a_failing_disk_is_an_answer)),
    (
        26,
        "a type that is no header made an object unreadable for ever",
        Here(types_and_namespaces_are_guarded),
    ),
    (27, "deleting freed nothing", There("crates/store/src/compact.rs")),
    (28, "two blocks with one SHA-1 were one block", Gone("blocks are named by BLAKE3")),
    (29, "each download that was broken off leaked a descriptor", Here(broken_downloads_leak_nothing)),
    (30, "reading looked for files that are not there", Gone("blocks have no files of their own")),
    (31, "nothing was ever synced", There("crates/store/tests/store/model.rs")),
];

#[test]
fn every_known_hole_is_closed() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let numbers: Vec<_> = HOLES.iter().map(|(number, _, _)| *number).collect();
    assert_eq!(numbers, (1..=31).collect::<Vec<_>>(), "each once");
    let mut shown: Vec<fn()> = Vec::new();
    for (number, words, proof) in HOLES {
        match proof {
            Here(test) if shown.iter().any(|before| std::ptr::fn_addr_eq(*before, *test)) => {}
            Here(test) => {
                println!("{number}: {words}");
                test();
                shown.push(*test);
            }
            There(file) => assert!(repository.join(file).is_file(), "{number}: {file} is not there"),
            Gone(why) => assert!(!why.is_empty()),
        }
    }
}

fn odd_requests_are_answered() {
    let node = Node::start();
    for (bytes, status) in [
        ("GET /x HTTP/1.0\r\n\r\n", 404),
        ("GET http://?x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://[zz/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (
            "PUT /x?access_key=a&access_key=b HTTP/1.1\r\nHost: a\r\nX-Encrypted: true\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
    ] {
        assert_eq!(send_raw(node.address, bytes.as_bytes()).unwrap().status, status, "{bytes}");
    }
    assert_eq!(node.get("/.jsfs/status").status, 200);
}

/// A RIFF header with the given inner lengths, and some sound.
fn wave(channels: u16, bits: u16, format_bytes: u32, data_bytes: u32, sound: &[u8]) -> Vec<u8> {
    let mut file = b"RIFF\x24\x00\x00\x00WAVEfmt ".to_vec();
    file.extend(format_bytes.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(44_100_u32.to_le_bytes());
    file.extend(176_400_u32.to_le_bytes());
    file.extend((channels * bits / 8).to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data");
    file.extend(data_bytes.to_le_bytes());
    file.extend_from_slice(sound);
    file
}

fn sound_files_are_only_bytes() {
    let node = Node::start();
    let silence = vec![0; 3 << 20];
    for (at, file) in [
        b"RIFFxxxxWAVE".to_vec(),
        wave(2, 16, u32::MAX, 4, b"abcd"),
        wave(1, 16, 16, 5_000, &[1; 5_000]),
        wave(2, 24, 16, 5_000, &[2; 5_000]),
        wave(2, 8, 16, 1, &[]),
        wave(1, 16, 16, 3 << 20, &silence),
    ]
    .iter()
    .enumerate()
    {
        let target = format!("/sound/{at}.wav");
        assert_eq!(node.put(&target, file).json()["file_size"], file.len());
        let read = node.get(&target);
        assert_eq!(read.header("content-length"), Some(&*file.len().to_string()));
        assert!(read.body == *file, "{target}");
    }
}

fn damage_is_never_served() {
    let (node, disk) = Node::faulty();
    let body: Vec<u8> =
        (0..400_000_u32).map(|at| u8::try_from(at.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    node.put("/damaged", &body);
    let length = disk.pack_bytes(1).len().max(disk.pack_bytes(0).len()) as u64;
    let (mut whole, mut refused) = (0, 0);
    for offset in (0..length).step_by(20_011) {
        for pack in [0, 1] {
            disk.flip_bit(pack, offset, 3);
        }
        match Client::new(node.address).send(&Request::new("GET", "/damaged")) {
            Ok(answer) if answer.status == 200 => {
                assert!(answer.body == body, "damage at {offset} was served");
                whole += 1;
            }
            Ok(answer) => {
                assert_eq!(answer.status, 500, "{}", answer.text());
                assert_eq!(answer.json()["id"].as_str(), answer.header("x-request-id"));
                refused += 1;
            }
            // Found after the head had gone out: the connection ends before the promised length.
            Err(_) => refused += 1,
        }
        let stranger = node.ask(&Request::new("PUT", "/damaged").body(b"mine now"));
        assert!([401, 500].contains(&stranger.status), "{}", stranger.text());
        for pack in [0, 1] {
            disk.flip_bit(pack, offset, 3);
        }
    }
    assert!(refused > 5, "{refused} refused, {whole} whole: the damage was not where the object is");
    assert!(node.get("/damaged").body == body, "the disk is healthy again");
}

fn no_key_follows_from_an_address() {
    let node = Node::start();
    let target = "/default";
    assert_eq!(node.ask(&Request::new("PUT", target).body(b"x")).status, 401, "no object without a key");
    node.put_private(target, b"x");
    // SHA-1 of the address, and of the address with the method: the default key and token of old.
    for credential in ["69cc4e83b62cc1db5d9347c270ad63ade8357ebd", "2a1108ad9febce39867dc4db118ecce19317a0ad"]
    {
        for name in ["X-Access-Key", "X-Access-Token"] {
            assert_eq!(node.ask(&Request::new("GET", target).header(name, credential)).status, 404);
            assert_eq!(node.ask(&Request::new("DELETE", target).header(name, credential)).status, 401);
        }
    }
}

fn token(node: &Node, address: &str, methods: &str) -> String {
    let body = format!(r#"{{"address":"{address}","methods":[{methods}]}}"#);
    let made = node.ask(&node.own("POST", "/.jsfs/tokens").body(body.as_bytes()));
    made.json()["token"].as_str().unwrap().to_owned()
}

fn a_token_for_writing_owns_nothing() {
    let node = Node::start();
    node.put_private("/mine", b"before");
    let owner = node.put_private("/mine", b"before").json()["owner"].clone();
    let writes = token(&node, "/localhost/mine", r#""PUT""#);
    let with = |method, target| Request::new(method, target).header("X-Access-Token", &writes);
    let written = node.ask(&with("PUT", "/mine").header("X-Access-Key", "my own").body(b"after"));
    assert_eq!((written.status, written.json()["owner"] == owner), (200, true), "{}", written.text());
    assert!(written.json().get("access_key").is_none());
    assert_eq!(node.ask(&Request::new("GET", "/mine").bearer("my own")).status, 404);
    assert_eq!(node.ask(&node.own("GET", "/mine")).text(), "after");
    assert_eq!(node.ask(&with("PATCH", "/mine?replacement_access_key=my+own").body(b"")).status, 403);
    let taken = node.ask(&with("PUT", "/mine?replacement_access_key=my+own").body(b"x"));
    assert_eq!(taken.status, 403, "{}", taken.text());
    assert_eq!(node.ask(&with("DELETE", "/mine")).status, 403);
    assert_eq!(node.ask(&node.own("GET", "/mine")).text(), "after");
}

fn a_replacement_stays_private() {
    let node = Node::start();
    node.ask(
        &node.own("PUT", "/p").header("X-Private", "true").header("Content-Type", "text/css").body(b"1"),
    );
    let json = node.ask(&node.own("PUT", "/p").body(b"2")).json();
    assert_eq!((&json["private"], &json["content_type"]), (&true.into(), &"text/css".into()));
    assert_eq!(node.get("/p").status, 404);
}

fn head_tells_no_more_than_get() {
    let node = Node::start();
    node.put_private("/secret.wav", &wave(2, 16, 16, 4, b"abcd"));
    let head = node.ask(&Request::new("HEAD", "/secret.wav"));
    let absent = node.ask(&Request::new("HEAD", "/absent.wav"));
    let without_date = |answer: jsfs_testkit::http::Answer| {
        answer.headers.into_iter().filter(|(name, _)| name != "date").collect::<Vec<_>>()
    };
    assert_eq!((head.status, absent.status), (404, 404));
    assert_eq!(without_date(head), without_date(absent));
}

fn a_token_must_prove_something() {
    let node = Node::start();
    for garbage in ["x", "eyJh.eyJi.c", "da39a3ee5e6b4b0d3255bfef95601890afd80709"] {
        assert_eq!(
            node.ask(&Request::new("PUT", "/new").header("X-Access-Token", garbage).body(b"x")).status,
            401
        );
    }
    // One key opens what it owns and nothing else.
    node.add_namespace("com.example");
    let body = br#"{"owner_key":"the key of another"}"#;
    assert_eq!(node.ask(&node.own("PUT", "/.jsfs/namespaces/org.other").body(body)).status, 201);
    let other = |method, target| Request::new(method, target).bearer("the key of another").body(b"x");
    assert_eq!(node.ask(&other("PUT", "/.org.other/x")).status, 201);
    assert_eq!(node.ask(&other("PUT", "/.com.example/x")).status, 401);
    assert_eq!(node.ask(&other("PUT", "/x")).status, 401);
}

fn what_is_private_is_not_served() {
    let node = Node::start();
    let stored = node.ask(&node.own("PUT", "/e").header("X-Encrypted", "true").body(b"secret"));
    assert_eq!(stored.json()["private"], true, "the default, whatever else was asked for");
    for target in ["/e", "/e?version=1", "/e?versions", "/e?encrypted=false"] {
        assert_eq!(node.get(target).status, 404, "{target}");
    }
}

/// What `tracing` is given, as text.
struct Log(Arc<Mutex<String>>);

impl tracing::field::Visit for Log {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.lock().unwrap().push_str(&format!("{field}={value:?} "));
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut Log(Arc::clone(&self.0)));
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut Log(Arc::clone(&self.0)));
    }
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Log(Arc::clone(&self.0)));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

fn the_log_holds_no_secret() {
    let log = Arc::new(Mutex::new(String::new()));
    tracing::subscriber::set_global_default(Log(Arc::clone(&log))).unwrap();
    let node = Node::start();
    node.put_private("/logged-object", b"x");
    let reads = token(&node, "/localhost/logged-object", r#""GET""#);
    let key = node.key.clone();
    for target in [
        format!("/logged-object?access_key={key}"),
        format!("/logged-object?access_token={reads}"),
        "/logged-object?access_key=a-wrong-secret".into(),
        format!("/logged-object?access_key={key}x"),
        format!("/logged-object?access_token={reads}x"),
    ] {
        node.get(&target);
    }
    for credential in [&*key, &reads, "a-wrong-secret"] {
        node.ask(&Request::new("PUT", "/logged-object").bearer(credential).body(b"x"));
        node.ask(&Request::new("PATCH", "/logged-object").header("X-Replacement-Access-Key", credential));
    }
    let text = log.lock().unwrap().clone();
    assert!(text.contains("/logged-object"), "something is logged at all: {text}");
    let secret_part = reads.rsplit('.').next().unwrap();
    for secret in [&*key, &reads, secret_part, "a-wrong-secret"] {
        assert!(!text.contains(secret), "a secret is in the log");
    }
}

fn a_token_is_good_for_its_address_until_revoked() {
    let node = Node::start();
    node.put_private("/t/a", b"a");
    node.put_private("/t/b", b"b");
    let reads = token(&node, "/localhost/t/a", r#""GET""#);
    let read = |target: &str, token: &str| {
        node.ask(&Request::new("GET", target).header("X-Access-Token", token)).status
    };
    assert_eq!((read("/t/a", &reads), read("/t/b", &reads)), (200, 404));
    let mut parts: Vec<_> = reads.split('.').map(str::to_owned).collect();
    parts[1] = parts[1].replacen('A', "B", 1) + "x";
    assert_eq!(read("/t/a", &parts.join(".")), 404, "altered claims");
    assert_eq!(
        node.ask(&Request::new("PUT", "/t/a").header("X-Access-Token", &reads).body(b"x")).status,
        403
    );
    let body = format!(r#"{{"address":"/localhost/t/","token":"{reads}"}}"#);
    assert_eq!(node.ask(&node.own("POST", "/.jsfs/revocations").body(body.as_bytes())).status, 204);
    assert_eq!(read("/t/a", &reads), 404, "revoked");
}

fn types_and_namespaces_are_guarded() {
    let node = Node::start();
    for kind in ["text/html%0d%0aX-Injected:%20yes", "text/%C3%A9", "x", "%00/x", ""] {
        let target = format!("/typed?content_type={kind}");
        assert_eq!(node.ask(&node.own("PUT", &target).body(b"x")).status, 400, "{kind}");
    }
    assert_eq!(node.ask(&node.own("GET", "/typed")).status, 404, "nothing was stored");
    node.put("/page.html", b"<script>");
    assert_eq!(node.get("/page.html").header("x-content-type-options"), Some("nosniff"));
    node.add_namespace("com.victim");
    node.put("/.com.victim/page.html", b"<script>");
    assert_eq!(node.get("/.com.victim/page.html").header("content-security-policy"), Some("sandbox"));
    for request in
        [Request::new("PUT", "/.com.victim/x"), Request::new("PUT", "/x").header("Host", "victim.com")]
    {
        assert_eq!(node.ask(&request.body(b"x")).status, 401);
    }
}

fn a_read_during_writes_always_finds_something() {
    let node = Node::start();
    node.put("/race", &[0; 1_000]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..60_u8 {
                node.put("/race", &[round; 1_000]);
            }
        });
        for _ in 0..100 {
            let read = node.get("/race");
            assert_eq!(read.status, 200, "{}", read.text());
        }
    });
}

fn reading_changes_nothing() {
    let node = Node::start();
    node.put("/r", b"1");
    node.put("/r", b"2");
    let before = node.get("/r?versions").text();
    for target in ["/r", "/r?version=1", "/r?versions", "/"] {
        node.get(target);
    }
    assert_eq!(node.get("/r?versions").text(), before);
    assert_eq!(node.ask(&node.own("DELETE", "/r")).status, 204);
    for target in ["/r", "/r?version=1", "/r?versions"] {
        node.get(target);
    }
    assert_eq!(node.get("/r").status, 404);
}

fn a_failing_disk_is_an_answer() {
    let (node, disk) = Node::faulty();
    node.put("/kept", b"kept");
    disk.set_total(1 << 20);
    let full = node.ask(&node.own("PUT", "/big").body(&[9; 2 << 20]));
    assert_eq!(full.status, 507, "{}", full.text());
    assert_eq!(node.get("/kept").text(), "kept", "reading goes on");
    disk.set_total(1 << 30);
    node.put("/after", b"room again");
    disk.inject(Fault { operation: Operation::Write, after: 0, times: 1, error: std::io::ErrorKind::Other });
    let failed = node.ask(&node.own("PUT", "/failed").body(b"x"));
    assert!(failed.status == 201 || failed.status >= 500, "{} {}", failed.status, failed.text());
    assert_eq!(node.get("/kept").text(), "kept");
}

fn broken_downloads_leak_nothing() {
    let node = Node::start();
    node.put("/large", &vec![3; 8 << 20]);
    for _ in 0..30 {
        let mut stream = TcpStream::connect(node.address).unwrap();
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 100]).unwrap();
    }
    let settled = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let load = node.handle.load();
        load.requests == 0 && load.connections == 0 && waiting_to_close(node.address.port()) == 0
    });
    assert!(settled, "{:?}, {} sockets", node.handle.load(), waiting_to_close(node.address.port()));
}

/// Sockets of a server's port whose client has gone and that nobody has closed.
fn waiting_to_close(port: u16) -> usize {
    const CLOSE_WAIT: &str = "08";
    let local = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields
        .filter(|fields| {
            fields.get(1).is_some_and(|at| at.ends_with(&local)) && fields.get(3) == Some(&CLOSE_WAIT)
        })
        .count()
}
