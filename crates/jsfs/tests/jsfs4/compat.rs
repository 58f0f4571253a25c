//! `compat.jsfs4`: what old clients need is there, and what was a hole in JSFS 4 stays closed for them too. Numbers are those of
//! `crates/http/tests/http/holes.rs`, which shows the same without the setting, and where what has nothing to do with it is shown.

use crate::support::{Home, sha1};
use jsfs_testkit::http::{Answer, Request, send_raw};
use std::path::Path;

const KEY: &str = "a key that a person chose";

fn home() -> Home {
    let home = Home::with(&["compat.jsfs4=true", "log.level=trace"]);
    add(&home, "example.com");
    home
}

fn add(home: &Home, host: &str) {
    let made = home.command(&["namespace", "add", host, "--jsfs4"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn at<'r>(method: &'r str, path: &'r str) -> Request<'r> {
    Request::new(method, path).header("Host", "example.com")
}

/// Stores a private text under [`KEY`].
fn private(home: &Home, path: &str) {
    let request = at("POST", path).header("X-Access-Key", KEY).header("X-Private", "true");
    let answer = home.ask(&request.header("Content-Type", "text/css").body(b"secret"));
    assert_eq!((answer.status, &answer.json()["access_key"]), (200, &KEY.into()), "{}", answer.text());
}

fn with_token(home: &Home, method: &str, path: &str, token: &str) -> Answer {
    home.ask(&at(method, path).header("X-Access-Token", token).body(if method == "GET" {
        b""
    } else {
        b"by token"
    }))
}

fn token(method: &str) -> String {
    sha1(format!("{KEY}{method}").as_bytes())
}

#[test]
fn no_request_ends_the_node_and_odd_ones_are_answered() {
    let home = home();
    let address = home.node.address();
    // 1, 2, 5: each of these ended the process.
    for (bytes, status) in [
        ("GET /x HTTP/1.0\r\n\r\n", 404),
        ("GET http://?x HTTP/1.1\r\nHost: example.com\r\n\r\n", 400),
        ("GET http://[zz/ HTTP/1.1\r\nHost: example.com\r\n\r\n", 400),
        (
            "POST /x?access_key=a&access_key=b HTTP/1.1\r\nHost: example.com\r\nX-Encrypted: true\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
    ] {
        assert_eq!(send_raw(address, bytes.as_bytes()).unwrap().status, status, "{bytes}");
    }
    // 3, 4, 21: sounds that lie, and that were stored twice over.
    let mut lying = b"RIFF\x24\x00\x00\x00WAVEfmt \xff\xff\xff\xff\x01\x00\x01\x00".to_vec();
    lying.resize(2 << 20, 0);
    for (path, body) in [("/twelve", b"RIFFxxxxWAVE".as_slice()), ("/lying", &lying)] {
        let written = home.ask(&at("POST", path).body(body)).json();
        assert_eq!((&written["file_size"], &written["media_type"]), (&body.len().into(), &"unknown".into()));
        assert!(home.ask(&at("GET", path)).body == body);
        assert_eq!(home.ask(&at("HEAD", path)).header("x-media-type"), Some("unknown"));
    }
    assert_eq!(home.ask(&Request::new("GET", "/.jsfs/status")).status, 200);
}

#[test]
fn no_key_follows_from_an_address() {
    // 7
    let home = home();
    let made = home.ask(&at("POST", "/x").header("X-Private", "true").body(b"x")).json();
    let default = sha1(b"/com.example/x");
    assert_eq!(made["fingerprint"], default.as_str());
    let key = made["access_key"].as_str().unwrap();
    assert!(key.starts_with("jsfs_") && key != default);
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        assert_eq!(home.ask(&at(method, "/x").header("X-Access-Key", &default)).status, 401, "{method}");
        let token = sha1(format!("{default}{method}").as_bytes());
        assert_eq!(with_token(&home, method, "/x", &token).status, 401, "{method}");
    }
    assert_eq!(home.ask(&at("GET", "/x").header("X-Access-Key", key)).text(), "x");
    assert_eq!(home.ask(&at("DELETE", "/x").header("X-Access-Key", key)).status, 204);
}

#[test]
fn tokens_of_old_open_what_they_opened_and_own_nothing() {
    let home = home();
    private(&home, "/t");
    let ends = |method: &str, end: &str| sha1(format!("{KEY}{method}{end}").as_bytes());
    let expiring = |token: &str, end: &str| {
        home.ask(&at("GET", "/t").header("X-Access-Token", token).header("X-Expires", end)).status
    };
    assert_eq!(with_token(&home, "GET", "/t", &token("GET")).text(), "secret");
    assert_eq!(with_token(&home, "HEAD", "/t", &token("HEAD")).status, 200);
    assert_eq!(expiring(&ends("GET", "4102444800000"), "4102444800000"), 200);
    assert_eq!(expiring(&ends("GET", "1000000000000"), "1000000000000"), 401, "it is over");
    // 14: another end, another verb, padding, capitals.
    assert_eq!(expiring(&ends("GET", "1000000000000"), "4102444800000"), 401);
    assert_eq!(expiring(&ends("GET", "4102444800000x"), "4102444800000x"), 401);
    for wrong in [
        token("PUT"),
        token("GET").to_uppercase(),
        "x".repeat(40),
        String::new(),
        ends("GET", "4102444800000"),
    ] {
        assert_eq!(with_token(&home, "GET", "/t", &wrong).status, 401, "{wrong}");
    }
    // 8: a token changes bytes, and no key, alone or beside a wrong key.
    let written = with_token(&home, "PUT", "/t", &token("PUT"));
    assert_eq!((written.status, written.json().get("access_key")), (200, None), "{}", written.text());
    let beside =
        at("PUT", "/t").header("X-Access-Token", &token("PUT")).header("X-Access-Key", "mine").body(b"again");
    let beside = home.ask(&beside);
    assert_eq!((beside.status, beside.json().get("access_key")), (200, None));
    assert_eq!(home.ask(&at("GET", "/t").header("X-Access-Key", "mine")).status, 401);
    assert_eq!(home.ask(&at("GET", "/t").header("X-Access-Key", KEY)).text(), "again");
    assert_eq!(with_token(&home, "DELETE", "/t", &token("DELETE")).status, 401);
    // 11: any token at all was enough for what was new. Whoever creates, owns; nobody else's is opened by that.
    assert_eq!(with_token(&home, "PUT", "/t", "garbage").status, 401);
    // Elsewhere than in a drop box they are nothing.
    let root = home.setup.root_key();
    assert_eq!(home.ask(&Request::new("PUT", "/own").bearer(&root).body(b"x")).status, 201);
    let at_home =
        |credential: &str| home.ask(&Request::new("GET", "/own").header("X-Access-Token", credential)).status;
    assert_eq!(at_home(&sha1(format!("{root}GET").as_bytes())), 404);
}

#[test]
fn what_is_private_stays_private() {
    let home = home();
    // 9: a replacement without the flag and the type.
    private(&home, "/p");
    let replaced = home.ask(&at("PUT", "/p").header("X-Access-Key", KEY).body(b"2")).json();
    assert_eq!((&replaced["private"], &replaced["content_type"]), (&true.into(), &"text/css".into()));
    // 10: HEAD tells no more than GET.
    for method in ["GET", "HEAD"] {
        let answer = home.ask(&at(method, "/p"));
        assert_eq!(
            (answer.status, answer.header("content-type"), answer.header("content-length")),
            (401, None, Some("0"))
        );
        assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("x-media") || name == "etag"));
    }
    // 12: what was asked to be encrypted.
    let stored =
        home.ask(&at("POST", "/e").header("X-Access-Key", KEY).header("X-Encrypted", "true").body(b"x"));
    assert_eq!(stored.json()["private"], true);
    assert_eq!(home.ask(&at("GET", "/e")).status, 401);
    assert_eq!(home.ask(&at("GET", "/e").header("X-Access-Key", KEY)).text(), "x");
}

#[test]
fn types_and_namespaces_are_guarded() {
    let home = home();
    // 15, 26
    for bad in ["a%0d%0ab", "%E4%B8%AD", "x"] {
        assert_eq!(home.ask(&at("POST", &format!("/c?content_type={bad}")).body(b"x")).status, 400, "{bad}");
    }
    let page = home.ask(&at("POST", "/page").header("Content-Type", "text/html").body(b"<script>"));
    assert_eq!(page.status, 200);
    let read = home.ask(&Request::new("GET", "/.com.example/page").header("Host", "other.net"));
    assert_eq!(read.header("x-content-type-options"), Some("nosniff"));
    assert!(read.header("content-security-policy").unwrap().contains("sandbox"));
    // A namespace is made by whoever runs the node, and not by a request.
    for host in ["nobody.net", "localhost"] {
        let answer = home.ask(&Request::new("POST", "/x").header("Host", host).body(b"x"));
        assert_eq!(answer.status, 401, "{host}");
    }
    // What is not a drop box is what it was.
    let root = home.setup.root_key();
    let stored = home.ask(&Request::new("PUT", "/own").bearer(&root).body(b"x"));
    assert_eq!((stored.status, &stored.json()["private"]), (201, &true.into()));
    assert_eq!(home.ask(&Request::new("GET", "/own")).status, 404);
}

fn holds(directory: &Path, needle: &[u8]) -> bool {
    let files = walkdir::WalkDir::new(directory)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file());
    let mut files = files.map(|entry| std::fs::read(entry.path()).unwrap());
    files.any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
}

#[test]
fn keys_are_kept_sealed_and_outlive_a_restart() {
    let home = home();
    private(&home, "/k");
    // 13: neither the log nor, in the clear, the disk has it.
    assert!(home.node.log_text().contains("/k"), "something is logged at all");
    let expected = token("GET");
    for secret in [KEY, &*expected] {
        assert!(!home.node.log_text().contains(secret));
        assert!(!holds(home.setup.data(), secret.as_bytes()));
    }
    assert!(holds(home.setup.data(), b"/com.example/"), "the search finds what is there");
    let Home { directory, setup, node } = home;
    node.kill();
    let node = setup.start();
    let home = Home { directory, setup, node };
    assert_eq!(with_token(&home, "GET", "/k", &token("GET")).text(), "secret");
    let Home { directory, setup, node } = home;
    node.kill();
    // Without the setting there is nothing of it.
    let off = jsfs_testkit::node::Setup::new(env!("CARGO_BIN_EXE_jsfs"), setup.data());
    let node = off.start();
    let home = Home { directory, setup: off, node };
    assert_eq!(with_token(&home, "GET", "/k", &token("GET")).status, 404);
    assert_eq!(home.ask(&at("GET", "/k").header("X-Access-Key", KEY)).text(), "secret");
}

#[test]
fn new_programs_are_answered_as_new_ones_in_the_same_place() {
    let home = home();
    private(&home, "/n");
    let listed = home.command(&["ls", "/com.example/", "--json"]).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let stranger = home.ask(&at("GET", "/n").header("Api-Version", "5"));
    assert_eq!(stranger.status, 404);
    let bearer = home.ask(&at("PUT", "/n").bearer(KEY).body(b"new")).json();
    assert_eq!(bearer["version"], 2);
    // What comes in by import is there for old clients.
    let mut made = crate::pool::Made::new(&home.path("pool"));
    made.add(&crate::pool::Old {
        key: Some(KEY),
        private: true,
        ..crate::pool::Old::new("/org.old/x", b"old")
    });
    let ran = home.import(&made.locations, &["--jsfs4"]);
    assert_eq!((ran.code, ran.sums()), (0, (1, 0, 0)), "{}", ran.err);
    let old = |name: &str, value: &str| {
        home.ask(&Request::new("GET", "/x").header("Host", "old.org").header(name, value))
    };
    assert_eq!(old("X-Access-Token", &token("GET")).status, 401, "the node has not seen the key yet");
    assert_eq!(old("X-Access-Key", KEY).text(), "old");
    assert_eq!(old("X-Access-Token", &token("GET")).text(), "old");
    assert_eq!(home.import(&made.locations, &["--jsfs4"]).sums(), (0, 1, 0));
}
