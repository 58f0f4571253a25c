//! Bytes that no proper client sends, and connections that end early.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::node::{Node, check_every_answer};
use jsfs_testkit::http::{Client, Request, send_raw};

fn connect(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Everything that comes back until the node closes.
fn dialogue(node: &Node, bytes: &[u8]) -> String {
    let mut stream = connect(node);
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn malformed_requests_get_a_problem_and_the_node_lives_on() {
    let node = Node::start();
    let long_line = format!("GET /{} HTTP/1.1\r\nHost: a.com\r\n\r\n", "x".repeat(40_000));
    let longer_line = format!("GET /{} HTTP/1.1\r\nHost: a.com\r\n\r\n", "x".repeat(80_000));
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: a.com\r\n\r\n", "x".repeat(5_000));
    let long_header = format!("GET / HTTP/1.1\r\nHost: a.com\r\nX-Long: {}\r\n\r\n", "x".repeat(40_000));
    let many_headers = format!("GET / HTTP/1.1\r\nHost: a.com\r\n{}\r\n", "A: b\r\n".repeat(200));
    let table: &[(&[u8], u16)] = &[
        (b"\r\n\r\nnonsense\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a.com\r\nHost: a.com\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", 400),
        (b"GET / HTTP/3.7\r\nHost: a.com\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost a.com\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a.com\r\n folded: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a.com\r\nBad Name: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a.com\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: a.com\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: a.com\r\n\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\nHost: a.com\r\n\r\n", 400),
        (b"GET /%c3%28 HTTP/1.1\r\nHost: a.com\r\n\r\n", 400),
        (b"GET http://?x HTTP/1.1\r\nHost: a.com\r\n\r\n", 400),
        (b"GET http://[zz/ HTTP/1.1\r\nHost: a.com\r\n\r\n", 400),
        (b"GET http://[::1 HTTP/1.1\r\nHost: a.com\r\n\r\n", 400),
        (b"GET http:/// HTTP/1.1\r\nHost: a.com\r\n\r\n", 400),
        (b"GET a.com:80 HTTP/1.1\r\nHost: a.com\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a.com\r\n\r\n", 400),
        (b"GET https://a.com/ HTTP/1.1\r\nHost: a.com\r\n\r\n", 421),
        (b"CONNECT a.com:80 HTTP/1.1\r\nHost: a.com:80\r\n\r\n", 405),
        (b"PUT /x HTTP/1.1\r\nHost: a.com\r\nContent-Length: -1\r\n\r\n", 400),
        (b"PUT /x HTTP/1.1\r\nHost: a.com\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"PUT /x HTTP/1.1\r\nHost: a.com\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (b"PUT /x HTTP/1.1\r\nHost: a.com\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"PUT /x HTTP/1.1\r\nHost: a.com\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"GET /x HTTP/1.1\r\nHost: a.com\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: [::1]:99999\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a.com:65536\r\n\r\n", 400),
        (b"PUT /x HTTP/1.0\r\nHost: a.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a.com\r\nExpect: a-pony\r\n\r\n", 417),
        (long_line.as_bytes(), 414),
        (longer_line.as_bytes(), 414),
        (long_path.as_bytes(), 414),
        (long_header.as_bytes(), 431),
        (many_headers.as_bytes(), 431),
    ];
    for (bytes, status) in table {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
        let answer = send_raw(node.address, bytes).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(answer.status, *status, "{shown}: {}", answer.text());
        check_every_answer(&answer);
        assert!(!answer.body.is_empty(), "{shown}: a problem says what is wrong");
    }
    assert_eq!(node.get("/.jsfs/status").status, 200);
}

#[test]
fn http_1_0_needs_no_host() {
    let node = Node::start();
    node.put("/old", b"old");
    let answer = dialogue(&node, b"GET /old HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nold"), "{answer}");
}

#[test]
fn the_targets_host_wins_where_the_target_is_absolute() {
    let node = Node::start();
    node.add_namespace("example.target");
    node.ask(
        &node.own("PUT", "/n").header("Host", "target.example").header("X-Private", "false").body(b"target"),
    );
    let answer =
        send_raw(node.address, b"GET http://target.example/n HTTP/1.1\r\nHost: other.example\r\n\r\n")
            .unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "target"));
}

#[test]
fn a_connection_serves_on_after_a_refusal() {
    let node = Node::start();
    node.put("/k", b"kept");
    let mut client = Client::new(node.address);
    for (request, status) in [
        (Request::new("GET", "/absent"), 404),
        (Request::new("GET", "/%zz"), 400),
        (Request::new("PUT", "/k").body(b"small"), 401),
        (Request::new("BREW", "/k"), 405),
        (Request::new("GET", "/k").header("Range", "bytes=99-"), 416),
        (Request::new("HEAD", "/k"), 200),
        (Request::new("GET", "/k").header("If-None-Match", "*"), 304),
        (Request::new("OPTIONS", "/k"), 204),
        (Request::new("GET", "/k"), 200),
    ] {
        let answer = client.send(&request).unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("connection"), None, "{status} keeps the connection");
    }
    assert_eq!(node.handle.load().connections, 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let node = Node::start();
    node.put("/1", b"first");
    node.put("/2", b"second");
    let answer = dialogue(
        &node,
        b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /absent HTTP/1.1\r\nHost: localhost\r\n\r\nGET /2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    let order = ["first", "404 Not Found", "second"].map(|text| answer.find(text).unwrap());
    assert!(order.is_sorted(), "{answer}");
}

#[test]
fn a_client_that_closes_its_side_still_gets_its_answer() {
    let node = Node::start();
    node.put("/half", b"answer");
    let mut stream = connect(&node);
    stream.write_all(b"GET /half HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("answer"), "{answer}");
}

#[test]
fn a_client_that_waits_is_told_to_go_on_only_if_it_may() {
    let node = Node::start();
    let head = |credential: &str| {
        format!(
            "PUT /c HTTP/1.1\r\nHost: localhost\r\n{credential}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
    };
    let mut stream = connect(&node);
    stream.write_all(head("").as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401", "authority comes before the body");

    let mut stream = connect(&node);
    stream.write_all(head(&format!("Authorization: Bearer {}\r\n", node.key)).as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 201");
    assert_eq!(node.ask(&node.own("GET", "/c")).text(), "hello");
}

#[test]
fn a_body_that_is_cut_off_or_badly_framed_stores_nothing() {
    let node = Node::start();
    node.put("/cut", b"before");
    let key = &node.key;
    for (head, body) in [
        ("Content-Length: 10", "short"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", "zz\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhelloworld\r\n0\r\n\r\n"),
    ] {
        let mut stream = connect(&node);
        write!(
            stream,
            "PUT /cut HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n{head}\r\n\r\n{body}"
        )
        .unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{head} {body:?}: {answer}");
        assert_eq!(node.get("/cut").text(), "before");
    }
    // Gone without a word.
    let mut stream = connect(&node);
    write!(
        stream,
        "PUT /cut HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: 10\r\n\r\nhal"
    )
    .unwrap();
    drop(stream);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(node.get("/cut").text(), "before");
}

#[test]
fn a_chunked_body_is_stored_whole() {
    let node = Node::start();
    let key = &node.key;
    let request = format!(
        "PUT /chunks HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nTransfer-Encoding: chunked\r\nX-Private: 0\r\n\r\n5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nTrailer: ignored\r\n\r\n"
    );
    let answer = send_raw(node.address, request.as_bytes()).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(node.get("/chunks").text(), "hello, world");
}

#[test]
fn a_refused_upload_still_hears_why() {
    // The node answers before the body has come; closing at once would reset the connection and lose the answer.
    let node = Node::start();
    for _ in 0..20 {
        let body = vec![0; 600_000];
        let answer = Client::new(node.address).send(&Request::new("PUT", "/big").body(&body)).unwrap();
        assert_eq!(answer.status, 401);
    }
}

#[test]
fn a_client_that_sends_much_before_it_listens_hears_why_too() {
    let node = Node::start();
    let mut stream = connect(&node);
    write!(stream, "PUT /big HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n").unwrap();
    // As much as the connection takes of it.
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    let full = loop {
        match stream.write(&[0; 65_536]) {
            Ok(more) => sent += more,
            Err(error) => break error,
        }
    };
    assert!(matches!(full.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "after {sent} bytes: {full}");
    assert!(sent > 1_500_000, "the node did not read on: {sent} bytes");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    // It is not held for longer than a client needs.
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    assert!((0..1_000).any(|_| stream.write_all(&[0; 65_536]).is_err()), "the connection stayed");
}

#[test]
fn both_framings_at_once_end_the_connection() {
    // RFC 9112 §6.3: a front proxy may have read it otherwise.
    let node = Node::start();
    let key = &node.key;
    let answer = dialogue(
        &node,
        format!("PUT /smuggled HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /second HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes(),
    );
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[test]
fn bytes_under_a_transfer_coding_that_is_not_understood_are_never_stored() {
    let node = Node::start();
    node.put("/coded", b"before");
    let key = &node.key;
    for (coding, status) in [
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: GZIP\r\nTransfer-Encoding: chunked", 501),
        ("Transfer-Encoding: x-made-up , chunked", 501),
        ("Transfer-Encoding: identity, chunked", 501),
        ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: Chunked", 200),
        ("Transfer-Encoding: , chunked", 200),
    ] {
        let head = format!(
            "PUT /coded HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n{coding}\r\n\r\n"
        );
        let answer = send_raw(node.address, format!("{head}5\r\nhello\r\n0\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(answer.status, status, "{coding}: {}", answer.text());
        let stored = if status == 200 { "hello" } else { "before" };
        assert_eq!(node.get("/coded").text(), stored, "{coding}");
        // Where the next request would begin is not certain.
        assert_eq!(answer.header("connection") == Some("close"), status != 200, "{coding}");
        node.put("/coded", b"before");
    }
    // It is refused before the body is asked for.
    let mut stream = connect(&node);
    write!(stream, "PUT /coded HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nExpect: 100-continue\r\nTransfer-Encoding: gzip, chunked\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 501");
}
