//! WebAssembly programs on a real node: core modules as CGI programs, components that handle requests, and what happens to those that are
//! not what they should be.
//!
//! The small ones are written here as text. Those that need a compiler are skipped where its target is not installed.
#![allow(clippy::unwrap_used, reason = "a test program throughout")]

use jsfs_testkit::cargo::built;
use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::node::{Node, Setup};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A node that bounds its programs narrowly, with its client and key.
struct World {
    node: Node,
    client: Client,
    key: String,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        World::with_output("1MiB")
    }

    fn with_output(bytes: &str) -> World {
        World::with(&[format!("programs.output={bytes}")])
    }

    /// Its operator lets programs reach this host.
    fn letting(host: &str) -> World {
        World::with(&["programs.output=1MiB".to_owned(), format!("programs.private_hosts={host}")])
    }

    fn with(settings: &[String]) -> World {
        let directory = tempfile::tempdir().unwrap();
        let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &directory.path().join("data"))
            .set("programs.cpu_ms=300")
            .set("programs.wall_ms=15000");
        let setup = settings.iter().fold(setup, |setup, setting| setup.set(setting));
        let node = setup.start();
        let client = Client::new(node.address());
        World { key: setup.root_key(), node, client, _directory: directory }
    }

    fn store(&mut self, path: &str, program: &[u8]) -> Answer {
        let target = format!("{path}?executable=true&private=false");
        self.client.send(&Request::new("PUT", &target).bearer(&self.key).body(program)).unwrap()
    }

    /// Stores a program and runs it with GET.
    fn run(&mut self, text: &str) -> Answer {
        let stored = self.store("/p.wasm", &wat::parse_str(text).unwrap());
        assert_eq!(stored.status, 201, "{}", stored.text());
        let answer = self.client.send(&Request::new("GET", "/p.wasm?a=b")).unwrap();
        let deleted = self.client.send(&Request::new("DELETE", "/p.wasm").bearer(&self.key)).unwrap();
        assert!(matches!(deleted.status, 200 | 204), "{}", deleted.text());
        answer
    }
}

/// A command whose `_start` is this, with `write` (address, length) to standard output, and this in memory at 100.
fn command(memory: &str, start: &str) -> String {
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 2)
          (data (i32.const 100) "{memory}")
          (func $write (param $at i32) (param $length i32)
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $length))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
          (func (export "_start") {start}))"#
    )
}

#[test]
fn what_a_command_writes_is_the_answer() {
    let mut world = World::new();
    let answer = world.run(&command("hello", "(call $write (i32.const 100) (i32.const 5))"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let head = r"Status: 418 Teapot\r\nContent-Type: text/html\r\nX-A: b\r\n\r\n<p>";
    let answer = world.run(&command(head, "(call $write (i32.const 100) (i32.const 60))"));
    assert_eq!(answer.status, 418, "{}", answer.text());
    assert_eq!((answer.header("content-type"), answer.header("x-a")), (Some("text/html"), Some("b")));
    assert!(answer.text().starts_with("<p>"), "{}", answer.text());
    let answer = world.run(&command("", ""));
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
}

#[test]
fn a_command_that_fails_is_an_internal_error_with_an_id() {
    let mut world = World::new();
    for start in ["(call $exit (i32.const 3))", "unreachable", "(drop (i32.load (i32.const -1)))"] {
        let answer = world.run(&command("", start));
        assert_eq!(answer.status, 500, "{start}: {}", answer.text());
        assert!(answer.json()["id"].is_string(), "{start}: {}", answer.text());
    }
    let answer = world
        .run(&command("partly", "(call $write (i32.const 100) (i32.const 6)) (call $exit (i32.const 3))"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "partly"));
}

/// The status with which a run ends, and the limit that the answer names.
type Ended = (u16, &'static str);
/// How an endless loop ends: what computes for long gets what nobody else wants, and on a busy machine that may be too little to use up its CPU time.
const ENDLESS: &[Ended] = &[(503, "programs.cpu_ms"), (504, "programs.wall_ms")];

#[test]
fn what_goes_past_a_bound_is_ended_and_the_bound_named() {
    let mut world = World::with_output("32KiB");
    let bombs: [(&str, &[Ended]); 3] = [
        ("(loop (br 0))", ENDLESS),
        (
            "(if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then unreachable))",
            &[(507, "programs.memory")],
        ),
        ("(loop (call $write (i32.const 100) (i32.const 10000)) (br 0))", &[(507, "programs.output")]),
    ];
    for (start, ends) in bombs {
        let answer = world.run(&command("", start));
        let is_named = |(status, limit): &Ended| answer.status == *status && answer.text().contains(limit);
        assert!(ends.iter().any(is_named), "{start}: {} {}", answer.status, answer.text());
    }
    // Recursion without end is an error of the program, not of the node.
    let deep = r#"(module (memory (export "memory") 1) (func $f (export "_start") (call $f)))"#;
    assert_eq!(world.run(deep).status, 500);
    let well = world.run(&command("still here", "(call $write (i32.const 100) (i32.const 10))"));
    assert_eq!(well.text(), "still here");
}

#[test]
fn what_cannot_run_is_not_stored() {
    let mut world = World::new();
    let body = wat::parse_str("(module (func (export \"_start\")))").unwrap();
    let broken = [&body[..], &[1, 2, 3]].concat();
    let answer = world.store("/broken.wasm", &broken);
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("at byte"), "{}", answer.text());
    let unknown =
        wat::parse_str(r#"(module (import "env" "dlopen" (func)) (func (export "_start")))"#).unwrap();
    let answer = world.store("/unknown.wasm", &unknown);
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("env::dlopen"), "{}", answer.text());
    let answer = world.store("/library.wasm", &wat::parse_str("(module)").unwrap());
    assert!(answer.status == 422 && answer.text().contains("_start"), "{}", answer.text());
    let unknown = wat::parse_str(r#"(component (import "other:thing/it" (instance)))"#).unwrap();
    let answer = world.store("/component.wasm", &unknown);
    assert_eq!(answer.status, 422, "{}", answer.text());
    let answer = world.store("/empty.wasm", &wat::parse_str("(component)").unwrap());
    assert!(
        answer.status == 422 && answer.text().contains("wasi:http/incoming-handler"),
        "{}",
        answer.text()
    );
    let many = format!("(module (func (export \"_start\")) (func {}))", "(local i64)".repeat(30_000));
    let answer = world.store("/locals.wasm", &wat::parse_str(many).unwrap());
    assert!(answer.status == 422 && answer.text().contains("locals"), "{}", answer.text());
    for path in ["/broken.wasm", "/unknown.wasm", "/locals.wasm"] {
        assert_eq!(world.client.send(&Request::new("GET", path)).unwrap().status, 404);
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A PNG of this size, of one colour, made without a library: one stored block of deflate for each row.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut rows = vec![0x78, 0x01];
    let (mut a, mut b) = (1_u32, 0_u32);
    for row in 0..height {
        let bytes: Vec<u8> = std::iter::once(0).chain((0..width * 3).map(|_| 0x7f)).collect();
        for byte in &bytes {
            a = (a + u32::from(*byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        let length = u16::try_from(bytes.len()).unwrap();
        rows.push(u8::from(row + 1 == height));
        rows.extend_from_slice(&length.to_le_bytes());
        rows.extend_from_slice(&(!length).to_le_bytes());
        rows.extend_from_slice(&bytes);
    }
    rows.extend_from_slice(&(b << 16 | a).to_be_bytes());
    let mut head = [width.to_be_bytes(), height.to_be_bytes()].concat();
    head.extend_from_slice(&[8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, data) in [(b"IHDR", head), (b"IDAT", rows), (b"IEND", Vec::new())] {
        png.extend_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
        let chunk = [&name[..], &data].concat();
        png.extend_from_slice(&chunk);
        png.extend_from_slice(&crc(&chunk).to_be_bytes());
    }
    png
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// The width and height that a PNG says it has.
fn size(png: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn the_thumbnail_example_makes_thumbnails() {
    let Some(program) = built(&repository().join("examples/thumbnails"), "wasm32-wasip1", "thumbnails.wasm")
    else {
        return;
    };
    let mut world = World::new();
    let stored = world.store("/thumbnails.wasm", &program);
    assert_eq!(stored.status, 201, "{}", stored.text());
    let photo = png(640, 480);
    let answer = world.client.send(&Request::new("POST", "/thumbnails.wasm?width=160").body(&photo)).unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/png")), "{}", answer.text());
    assert_eq!(size(&answer.body), (160, 120));
    let answer = world.client.send(&Request::new("POST", "/thumbnails.wasm").body(b"no image")).unwrap();
    assert!(answer.status == 400 && answer.text().contains("send a PNG"), "{}", answer.text());
}

#[test]
fn a_rust_command_sees_the_request_and_streams_its_answer() {
    let guest = repository().join("crates/jsfs/tests/guests/command");
    let mut world = World::new();
    for (target, file) in [("wasm32-wasip1", "command.wasm"), ("wasm32-wasip2", "command.wasm")] {
        let Some(program) = built(&guest, target, file) else { continue };
        let stored = world.store(&format!("/{target}.wasm"), &program);
        assert_eq!(stored.status, 201, "{}", stored.text());
        let path = format!("/{target}.wasm");
        let target = format!("{path}?do=show&access_token=secret");
        let request = Request::new("POST", &target).header("X-Thing", "a");
        let key = world.key.clone();
        let answer = world.client.send(&request.bearer(&key).body(b"the body")).unwrap();
        let text = answer.text();
        assert_eq!(answer.status, 200, "{text}");
        for line in [
            "REQUEST_METHOD=POST",
            "QUERY_STRING=do=show",
            "CONTENT_LENGTH=8",
            "HTTP_X_THING=a",
            "JSFS_CALLER=owner",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in {text}");
        }
        assert!(text.contains(&format!("\narguments: [{:?}]\n", &path[1..])), "{text}");
        assert!(text.ends_with("the body"), "{text}");
        assert!(!text.contains(&key) && !text.contains("secret"), "{text}");
        // Nothing of the machine.
        assert!(
            !text.contains("\nPATH=") && text.contains("files: none") && text.contains("sockets: none"),
            "{text}"
        );
        let answer = world.client.send(&Request::new("GET", &format!("{path}?do=much"))).unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 900_000));
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        let answer = world.client.send(&Request::new("GET", &format!("{path}?do=sleep"))).unwrap();
        assert_eq!(answer.status, 504, "{}", answer.text());
        let large = vec![b'x'; 900_000];
        let answer =
            world.client.send(&Request::new("POST", &format!("{path}?do=count")).body(&large)).unwrap();
        assert_eq!(answer.text(), "900000");
    }
    drop(world.node);
}

#[test]
fn a_component_handles_requests_and_reaches_its_own_node() {
    let guest = repository().join("crates/jsfs/tests/guests/proxy");
    let Some(program) = built(&guest, "wasm32-wasip2", "proxy.wasm") else { return };
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = elsewhere.local_addr().unwrap().to_string();
    let mut world = World::letting(&host);
    let stored = world.store("/proxy.wasm", &program);
    assert_eq!(stored.status, 201, "{}", stored.text());
    let key = world.key.clone();
    let put = Request::new("PUT", "/data.txt?private=false").bearer(&key).body(b"from the store");
    assert_eq!(world.client.send(&put).unwrap().status, 201);
    let mut get = |query: &str, body: &[u8]| {
        let method = if body.is_empty() { "GET" } else { "POST" };
        world.client.send(&Request::new(method, &format!("/proxy.wasm?{query}")).body(body)).unwrap()
    };
    let answer = get("hello", b"");
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.header("x-made-by")),
        (201, "hello", Some("wasm"))
    );
    assert_eq!(get("echo", b"there and back").text(), "there and back");
    assert_eq!(get("fetch=/data.txt", b"").text(), "200 from the store");
    assert!(get("fetch=/none.txt", b"").text().starts_with("404 "));
    // No host outside is reached that the owner has not named, and no more often than a run may ask.
    assert_eq!(get(&format!("outside={host}"), b"").text(), "refused");
    assert_eq!(get("often", b"").text(), "50");
    assert_eq!(get("panic", b"").status, 500);
    let looped = get("loop", b"").status;
    assert!(ENDLESS.iter().any(|(status, _)| *status == looped), "{looped}");
    let named = Request::new("PATCH", "/proxy.wasm").bearer(&key).header("X-Hosts", &host).body(b"{}");
    assert!(world.client.send(&named).unwrap().status < 300);
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = elsewhere.accept().unwrap();
        // The head of the request first: an answer that comes before it is none.
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let answer = world.client.send(&Request::new("GET", &format!("/proxy.wasm?outside={host}"))).unwrap();
    assert_eq!(answer.text(), "reached");
    answering.join().unwrap();
}

#[test]
fn what_was_compiled_is_there_for_the_first_request_and_is_not_made_again() {
    let mut world = World::with(&["log.level=debug".to_owned()]);
    let sent = |world: &World| world.node.log_text().matches("a program goes to the worker").count();
    for number in 0..8 {
        let text = command(&format!("well {number}"), "(call $write (i32.const 100) (i32.const 4))");
        let stored = world.store(&format!("/{number}.wasm"), &wat::parse_str(text).unwrap());
        assert_eq!(stored.status, 201, "{}", stored.text());
    }
    let ask = |world: &mut World, number: u8| {
        let answer = world.client.send(&Request::new("GET", &format!("/{number}.wasm"))).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "well"));
    };
    ask(&mut world, 7);
    assert_eq!(sent(&world), 0, "{}", world.node.log_text());
    // Of many that nobody asked for the worker keeps the last, and has the others sent.
    ask(&mut world, 0);
    assert_eq!(sent(&world), 1, "{}", world.node.log_text());
    ask(&mut world, 0);
    assert_eq!(sent(&world), 1);
}
