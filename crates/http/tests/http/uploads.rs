//! Resumable uploads by tus 1.0, over real sockets: what is kept, what is refused, and what a stranger hears.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::node::Node;
use jsfs_http::Limits;
use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::random::Random;

const PIECE: (&str, &str) = ("Content-Type", "application/offset+octet-stream");

fn noise(seed: u64, length: usize) -> Vec<u8> {
    Random::seeded(seed).bytes(length)
}

impl Node {
    fn tus<'a>(&self, method: &'a str, target: &'a str) -> Request<'a> {
        self.own(method, target).header("Tus-Resumable", "1.0.0")
    }

    /// Begins an upload; answers where it is.
    fn begin(&self, target: &str, length: usize) -> String {
        let request = self.tus("POST", target).header("Upload-Length", &length.to_string());
        let answer = self.ask(&request);
        assert_eq!((answer.status, answer.header("upload-offset")), (201, Some("0")), "{}", answer.text());
        assert!(answer.header("upload-expires").unwrap().ends_with("GMT"));
        assert_eq!(answer.header("tus-resumable"), Some("1.0.0"));
        answer.header("location").unwrap().to_owned()
    }

    fn piece(&self, location: &str, offset: usize, bytes: &[u8]) -> Answer {
        let request = self.tus("PATCH", location).header(PIECE.0, PIECE.1);
        self.ask(&request.header("Upload-Offset", &offset.to_string()).body(bytes))
    }

    fn offset(&self, location: &str) -> usize {
        let answer = self.ask(&self.tus("HEAD", location));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.header("upload-offset").unwrap().parse().unwrap()
    }

    /// A PATCH whose head and first bytes are sent, and no more.
    fn half_a_piece(&self, location: &str, offset: usize, announced: usize, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(self.head_of_a_piece(location, offset, announced).as_bytes()).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    }

    fn head_of_a_piece(&self, location: &str, offset: usize, announced: usize) -> String {
        format!(
            "PATCH {location} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n{}: {}\r\nUpload-Offset: {offset}\r\nContent-Length: {announced}\r\n\r\n",
            self.key, PIECE.0, PIECE.1
        )
    }

    /// Asking interrupts whoever still reads, so this gives the node a moment for what is on its way.
    fn wait_for_offset(&self, location: &str, wanted: usize) {
        std::thread::sleep(Duration::from_millis(500));
        let since = Instant::now();
        while self.offset(location) != wanted {
            assert!(since.elapsed() < Duration::from_secs(10), "{} of {wanted}", self.offset(location));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn an_upload_in_pieces_becomes_the_object_with_its_last_byte() {
    let node = Node::start();
    let bytes = noise(1, 700_000);
    let location = node.begin("/up/a.txt?private=true", bytes.len());
    assert!(location.starts_with("/.jsfs/uploads/") && location.len() == 47, "{location}");
    assert_eq!(node.ask(&node.own("GET", "/up/a.txt")).status, 404);
    let answer = node.piece(&location, 0, &bytes[..300_000]);
    assert_eq!((answer.status, answer.header("upload-offset")), (204, Some("300000")), "{}", answer.text());
    let head = node.ask(&node.tus("HEAD", &location));
    assert_eq!(
        (head.header("upload-offset"), head.header("upload-length")),
        (Some("300000"), Some("700000"))
    );
    let answer = node.piece(&location, 300_000, &bytes[300_000..]);
    assert_eq!((answer.status, answer.header("upload-offset")), (204, Some("700000")), "{}", answer.text());
    assert_eq!(answer.header("content-location"), Some("/up/a.txt"));
    assert_eq!(answer.header("x-version"), Some("1"));
    let read = node.ask(&node.own("GET", "/up/a.txt"));
    assert!(read.body == bytes);
    assert_eq!(read.header("etag"), answer.header("etag"));
    assert_eq!(read.header("content-type"), Some("text/plain; charset=utf-8"), "by its name");
    assert!(read.header("repr-digest").unwrap().starts_with("sha-256=:"), "sync compares by it");
    assert_eq!(node.get("/up/a.txt").status, 404, "private as asked");
    // Whoever never heard the last answer asks, and hears that all is there.
    let head = node.ask(&node.tus("HEAD", &location));
    assert_eq!((head.status, head.header("upload-offset")), (200, Some("700000")));
    assert_eq!((head.header("content-location"), head.header("x-version")), (Some("/up/a.txt"), Some("1")));
    assert_eq!(node.piece(&location, 700_000, b"more").status, 409);
}

#[test]
fn a_piece_that_is_cut_off_keeps_what_arrived() {
    let node = Node::start();
    let bytes = noise(2, 500_000);
    let location = node.begin("/cut", bytes.len());
    // Half closed: the client still hears how far it came.
    let mut stream = node.half_a_piece(&location, 0, 500_000, &bytes[..123_456]);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("stands at 123456"), "{answer}");
    assert_eq!(node.offset(&location), 123_456);
    // Gone without a word.
    drop(node.half_a_piece(&location, 123_456, 376_544, &bytes[123_456..200_000]));
    node.wait_for_offset(&location, 200_000);
    // Silent, but never closed: whoever asks takes over, and nothing that arrived is lost.
    let silent = node.half_a_piece(&location, 200_000, 300_000, &bytes[200_000..450_000]);
    std::thread::sleep(Duration::from_millis(300));
    let since = Instant::now();
    assert_eq!(node.offset(&location), 450_000);
    assert!(since.elapsed() < Duration::from_secs(5), "not by the patience with silent clients");
    drop(silent);
    assert_eq!(node.piece(&location, 450_000, &bytes[450_000..]).status, 204);
    assert!(node.ask(&node.own("GET", "/cut")).body == bytes);
}

#[test]
fn a_reset_connection_keeps_what_arrived() {
    let node = Node::start();
    let bytes = noise(3, 400_000);
    let location = node.begin("/reset", bytes.len());
    let mut stream = TcpStream::connect(node.address).unwrap();
    // An answer that is never read makes closing send RST, as a crashed machine does when it is back.
    stream.write_all(b"GET /.jsfs/status HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.write_all(node.head_of_a_piece(&location, 0, 400_000).as_bytes()).unwrap();
    stream.write_all(&bytes[..250_000]).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    drop(stream);
    node.wait_for_offset(&location, 250_000);
    assert_eq!(node.piece(&location, 250_000, &bytes[250_000..]).status, 204);
    assert!(node.ask(&node.own("GET", "/reset")).body == bytes);
}

#[test]
fn a_wrong_offset_changes_nothing_and_is_told_the_right_one() {
    let node = Node::start();
    let location = node.begin("/o", 10);
    assert_eq!(node.piece(&location, 0, b"01234").status, 204);
    for wrong in [0, 4, 6, 10] {
        let answer = node.piece(&location, wrong, b"xxxxx");
        assert_eq!(answer.status, 409);
        assert!(answer.text().contains("stands at 5"), "{}", answer.text());
    }
    let beyond = node.piece(&location, 5, b"567890123");
    assert_eq!(beyond.status, 413, "{}", beyond.text());
    assert_eq!(node.offset(&location), 5);
    assert_eq!(node.piece(&location, 5, b"56789").status, 204);
    assert_eq!(node.ask(&node.own("GET", "/o")).text(), "0123456789");
}

#[test]
fn of_two_writers_at_once_one_loses() {
    let node = Node::start();
    let bytes = noise(4, 200_000);
    let location = node.begin("/race", bytes.len());
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let ask = || node.piece(&location, 0, &bytes).status;
        let both = [scope.spawn(ask), scope.spawn(ask)];
        both.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let won = answers.iter().filter(|status| **status == 204).count();
    assert!(won <= 1, "{answers:?}");
    if won == 0 {
        let offset = node.offset(&location);
        assert_eq!(node.piece(&location, offset, &bytes[offset..]).status, 204);
    }
    assert!(node.ask(&node.own("GET", "/race")).body == bytes);
    assert_eq!(node.ask(&node.own("GET", "/race")).header("x-version"), Some("1"));
}

#[test]
fn a_stranger_hears_of_an_upload_what_everybody_hears_of_none() {
    let node = Node::start();
    let location = node.begin("/mine", 10);
    node.piece(&location, 0, b"01234");
    let absent = "/.jsfs/uploads/00000000000000000000000000000000";
    for method in ["HEAD", "PATCH", "DELETE"] {
        let ask = |target: &str, credential: Option<&str>| {
            let mut request = Request::new(method, target).header("Tus-Resumable", "1.0.0");
            if method == "PATCH" {
                request = request.header(PIECE.0, PIECE.1).header("Upload-Offset", "5").body(b"56789");
            }
            let mut answer = node.ask(&match credential {
                Some(credential) => request.bearer(credential),
                None => request,
            });
            answer.headers.retain(|(name, _)| name != "date");
            (answer.status, answer.headers, answer.body)
        };
        let nothing = ask(absent, Some(&node.key));
        assert_eq!(nothing.0, 404, "{method}");
        for credential in [None, Some("jsfs_nonsense"), Some("a typed key of somebody else")] {
            assert_eq!(ask(&location, credential), nothing, "{method} {credential:?}");
            assert_eq!(ask(absent, credential), nothing, "{method} {credential:?}");
        }
    }
    let created = node
        .ask(&Request::new("POST", "/mine2").header("Tus-Resumable", "1.0.0").header("Upload-Length", "3"));
    assert_eq!(created.status, 401);
    assert_eq!(node.offset(&location), 5, "nothing of that changed anything");
}

#[test]
fn another_version_of_the_protocol_is_told_this_one() {
    let node = Node::start();
    let location = node.begin("/v", 3);
    for (method, target) in
        [("POST", "/v"), ("HEAD", location.as_str()), ("PATCH", &location), ("DELETE", &location)]
    {
        for version in [None, Some("0.2.2")] {
            let request = node.own(method, target).header("Upload-Length", "3").header(PIECE.0, PIECE.1);
            let answer = node.ask(&match version {
                Some(version) => request.header("Tus-Resumable", version),
                None => request,
            });
            assert_eq!((answer.status, answer.header("tus-version")), (412, Some("1.0.0")), "{method}");
        }
    }
    assert_eq!(node.ask(&node.own("GET", "/v")).status, 404, "no empty object by mistake");
    for target in ["/v", "/v/", "*", location.as_str()] {
        let answer = node.ask(&Request::new("OPTIONS", target));
        assert_eq!((answer.status, answer.header("tus-version")), (204, Some("1.0.0")), "{target}");
        assert_eq!(answer.header("tus-max-size"), Some("1099511627776"));
        let extensions = answer.header("tus-extension").unwrap();
        for extension in
            ["creation", "creation-with-upload", "creation-defer-length", "expiration", "termination"]
        {
            assert!(extensions.split(',').any(|known| known == extension), "{extension}");
        }
        for header in
            ["Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Defer-Length"]
        {
            assert!(answer.header("access-control-allow-headers").unwrap().contains(header), "{header}");
        }
        for header in
            ["Location", "Upload-Offset", "Upload-Length", "Upload-Expires", "Tus-Version", "Tus-Resumable"]
        {
            assert!(answer.header("access-control-expose-headers").unwrap().contains(header), "{header}");
        }
    }
}

#[test]
fn an_upload_can_begin_with_bytes_end_at_once_or_learn_its_length_later() {
    let node = Node::start();
    // All of it in the first request.
    let request = node.tus("POST", "/at-once").header("Upload-Length", "5").header(PIECE.0, PIECE.1);
    let answer = node.ask(&request.header("X-Private", "false").body(b"hello"));
    assert_eq!((answer.status, answer.header("upload-offset")), (201, Some("5")), "{}", answer.text());
    assert_eq!(answer.header("content-location"), Some("/at-once"));
    assert_eq!(node.get("/at-once").text(), "hello");
    // Nothing at all.
    let answer = node.ask(&node.tus("POST", "/nothing").header("Upload-Length", "0"));
    assert_eq!((answer.status, answer.header("upload-offset")), (201, Some("0")));
    assert_eq!(node.ask(&node.own("GET", "/nothing")).header("content-length"), Some("0"));
    // A part, then the rest, and the length in between.
    let request = node.tus("POST", "/later").header("Upload-Defer-Length", "1").header(PIECE.0, PIECE.1);
    let answer = node.ask(&request.body(b"one "));
    assert_eq!((answer.status, answer.header("upload-offset")), (201, Some("4")));
    let location = answer.header("location").unwrap().to_owned();
    let head = node.ask(&node.tus("HEAD", &location));
    assert_eq!((head.header("upload-defer-length"), head.header("upload-length")), (Some("1"), None));
    assert_eq!(node.piece(&location, 4, b"two").header("upload-offset"), Some("7"));
    let request = node.tus("PATCH", &location).header(PIECE.0, PIECE.1).header("Upload-Offset", "7");
    assert_eq!(node.ask(&request.clone().header("Upload-Length", "3")).status, 400);
    let answer = node.ask(&request.header("Upload-Length", "7"));
    assert_eq!((answer.status, answer.header("x-version")), (204, Some("1")));
    assert_eq!(node.ask(&node.own("GET", "/later")).text(), "one two");
}

#[test]
fn what_a_put_refuses_is_refused_before_a_byte_is_sent() {
    let node = Node::with(Limits { body_bytes_max: 1_000, ..Limits::default() });
    node.put("/there", b"x");
    assert_eq!(node.ask(&node.own("PATCH", "/small/").body(br#"{"quota":10}"#)).status, 204);
    let refused = |target: &str, headers: &[(&str, &str)]| {
        let mut request = node.tus("POST", target);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        node.ask(&request).status
    };
    let length = ("Upload-Length", "20");
    assert_eq!(refused("/a", &[]), 400);
    assert_eq!(refused("/a", &[("Upload-Length", "-1")]), 400);
    assert_eq!(refused("/a", &[("Upload-Length", "+1")]), 400);
    assert_eq!(refused("/a", &[length, ("Upload-Defer-Length", "1")]), 400);
    assert_eq!(refused("/a", &[("Upload-Defer-Length", "0")]), 400);
    assert_eq!(refused("/a", &[length, ("Upload-Metadata", "filetype %%")]), 400);
    assert_eq!(refused("/a", &[length, ("Upload-Metadata", "filetype bm9uc2Vuc2U=")]), 400);
    assert_eq!(refused("/a?private=x", &[length]), 400);
    assert_eq!(refused("/a", &[length, ("X-Replacement-Access-Key", &node.key)]), 400);
    assert_eq!(refused("/there", &[length, ("If-None-Match", "*")]), 412);
    assert_eq!(refused("/there", &[length, ("If-Match", "\"x\"")]), 412);
    assert_eq!(refused("/a", &[("Upload-Length", "1001")]), 413);
    assert_eq!(refused("/a?executable=1", &[length]), 501);
    assert_eq!(refused("/small/a", &[length]), 507);
    assert_eq!(refused("/dir/", &[length]), 405);
    let location = node.begin("/b", 5);
    let plain = node.tus("PATCH", &location).header("Upload-Offset", "0").body(b"hello");
    assert_eq!(node.ask(&plain).status, 415);
    assert_eq!(node.ask(&node.tus("PATCH", &location).header(PIECE.0, PIECE.1).body(b"hello")).status, 400);
    let with_bytes = node.tus("POST", "/c").header("Upload-Length", "5").body(b"hello");
    assert_eq!(node.ask(&with_bytes).status, 415);
}

#[test]
fn conditions_of_the_beginning_hold_at_the_end_and_a_full_quota_ends_it() {
    let node = Node::start();
    let first = node.put("/c", b"one");
    let request = node.tus("POST", "/c").header("Upload-Length", "3");
    let answer = node.ask(&request.header("If-Match", first.header("etag").unwrap()));
    let location = answer.header("location").unwrap().to_owned();
    node.put("/c", b"two");
    assert_eq!(node.piece(&location, 0, b"new").status, 412);
    assert_eq!(node.get("/c").text(), "two");

    assert_eq!(node.ask(&node.own("PATCH", "/q/").body(br#"{"quota":1000}"#)).status, 204);
    let answer = node.ask(&node.tus("POST", "/q/a").header("Upload-Defer-Length", "1"));
    let location = answer.header("location").unwrap().to_owned();
    assert_eq!(node.piece(&location, 0, &[7; 900]).status, 204);
    assert_eq!(node.piece(&location, 900, &[7; 200]).status, 507);
    assert_eq!(node.offset(&location), 900);
    assert_eq!(node.ask(&node.own("PUT", "/q/b").body(&[7; 200])).status, 507, "what is uploaded counts");
    assert_eq!(node.ask(&node.tus("DELETE", &location)).status, 204);
    assert_eq!(node.ask(&node.tus("HEAD", &location)).status, 404);
    assert_eq!(node.ask(&node.own("PUT", "/q/b").body(&[7; 200])).status, 201, "and no longer");
}

#[test]
fn metadata_names_the_type_and_a_browser_can_go_by_post() {
    let node = Node::start();
    let metadata = "filename cGljdHVyZS5wbmc=,filetype aW1hZ2UvcG5n";
    let request = node.tus("POST", "/m").header("Upload-Length", "3").header("Upload-Metadata", metadata);
    let answer = node.ask(&request.header("X-Private", "0"));
    let location = answer.header("location").unwrap().to_owned();
    let by_post = |method: &str| {
        node.tus("POST", &location).header("X-HTTP-Method-Override", method).header(PIECE.0, PIECE.1)
    };
    assert_eq!(node.ask(&by_post("PATCH").header("Upload-Offset", "0").body(b"png")).status, 204);
    assert_eq!(node.get("/m").header("content-type"), Some("image/png"));
    assert_eq!(node.ask(&by_post("GET")).status, 405);
    assert_eq!(node.ask(&node.tus("POST", &location)).status, 405);
    let named =
        node.tus("POST", "/n").header("Upload-Length", "0").header("Upload-Metadata", "name YS5jc3M=");
    assert_eq!(node.ask(&named).status, 201);
    assert_eq!(node.ask(&node.own("GET", "/n")).header("content-type"), Some("text/css; charset=utf-8"));
}

#[test]
fn whoever_prefers_it_gets_the_answer_of_a_put() {
    let node = Node::start();
    let location = node.begin("/full?private=0", 3);
    let request = node.tus("PATCH", &location).header(PIECE.0, PIECE.1).header("Upload-Offset", "0");
    let answer = node.ask(&request.header("Prefer", "return=representation").body(b"abc"));
    assert_eq!((answer.status, answer.header("upload-offset")), (201, Some("3")));
    let metadata = answer.json();
    assert_eq!(
        (metadata["file_size"].as_u64(), metadata["address"].as_str()),
        (Some(3), Some("/localhost/full"))
    );
    assert_eq!(metadata["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn a_full_disk_refuses_a_piece_and_keeps_what_was_there() {
    let (node, disk) = Node::faulty();
    let bytes = noise(5, 600_000);
    let location = node.begin("/disk", bytes.len());
    assert_eq!(node.piece(&location, 0, &bytes[..300_000]).status, 204);
    disk.set_total(1 << 20);
    assert_eq!(node.piece(&location, 300_000, &bytes[300_000..500_000]).status, 507);
    disk.set_total(1 << 30);
    assert_eq!(node.offset(&location), 300_000);
    assert_eq!(node.piece(&location, 300_000, &bytes[300_000..]).status, 204);
    assert!(node.ask(&node.own("GET", "/disk")).body == bytes);
}

#[test]
fn one_connection_carries_a_whole_upload() {
    let node = Node::start();
    let location = node.begin("/keep", 6);
    let mut client = Client::new(node.address);
    for (offset, bytes) in [("0", b"ab"), ("2", b"cd"), ("4", b"ef")] {
        let request = node.tus("PATCH", &location).header(PIECE.0, PIECE.1).header("Upload-Offset", offset);
        let answer = client.send(&request.body(bytes)).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (204, None));
    }
    assert_eq!(node.ask(&node.own("GET", "/keep")).text(), "abcdef");
}
