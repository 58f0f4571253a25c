//! Sockets whose clients send much and take little.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::node::Node;
use crate::socket::Socket;
use jsfs_http::Limits;
use serde_json::{Value, json};

/// A directory whose listing is about half a megabyte long.
fn fill(node: &Node) {
    let long = "name".repeat(50);
    for number in 0..1_000 {
        node.put(&format!("/wide/{long}-{number:04}"), b"x");
    }
}

#[test]
fn a_long_answer_comes_as_one_message_and_is_what_http_answers() {
    let node = Node::start();
    fill(&node);
    let mut socket = Socket::open(&node, "/");
    let listed = socket.call("list", json!({ "path": "/wide/", "limit": 10_000 }));
    let got: Value = serde_json::from_str(&node.get("/wide/?limit=10000").text()).unwrap();
    assert_eq!(listed, got);
    assert_eq!(listed["entries"].as_array().unwrap().len(), 1_000);
    assert_eq!(socket.call("ping", json!({})), json!({}));
}

#[test]
fn answers_that_nobody_takes_keep_their_places_until_others_want_them() {
    let limits = Limits {
        requests_max: 4,
        uploads_max: 4,
        progress_time: Duration::from_secs(4),
        ..Limits::default()
    };
    let node = Node::with(Limits { head_time_max: Duration::from_secs(2), ..limits });
    fill(&node);
    let mut sockets: Vec<_> = (0..3).map(|_| Socket::open(&node, "/")).collect();
    let mut full_since = None;
    let began = Instant::now();
    // The system takes the first of them for the clients.
    while full_since.is_none_or(|since: Instant| since.elapsed() < Duration::from_millis(300)) {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing waits: {:?}", node.handle.load());
        if node.handle.load().requests < 4 {
            for socket in &mut sockets {
                socket.begin("list", json!({ "path": "/wide/", "limit": 10_000 }));
            }
            full_since = None;
        } else {
            full_since.get_or_insert_with(Instant::now);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(node.handle.load().requests, 4);
    let began = Instant::now();
    while node.get("/.jsfs/status").status != 200 {
        assert!(began.elapsed() < Duration::from_secs(30), "they make no room: {:?}", node.handle.load());
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(sockets);
    let began = Instant::now();
    while node.handle.load() != jsfs_http::Load::default() {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", node.handle.load());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn one_connection_leaves_places_for_others() {
    let node = Node::with(Limits { requests_max: 16, uploads_max: 16, ..Limits::default() });
    let mut socket = Socket::open(&node, "/");
    let begin =
        |number| socket.begin("put", json!({ "path": format!("slow-{number}"), "stream": 2 * number + 1 }));
    let ids: Vec<_> = (0..40).map(begin).collect();
    // Half of all are looked at before each.
    for id in &ids[9..] {
        assert_eq!(socket.answer(*id)["error"]["code"], 429);
    }
    assert_eq!(node.handle.load().requests, 9);
    assert_eq!(node.put("/quick", b"x").status, 201);
    let mut other = Socket::open(&node, "/");
    assert_eq!(other.refused("get", json!({ "path": "absent" })), 404);
}

#[test]
fn who_does_not_take_what_is_answered_is_not_read_from() {
    let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[7; 125]].concat();
    let junk = [&[0x81, 0x80 | 1, 0, 0, 0, 0][..], b"{"].concat();
    for message in [ping, junk] {
        let node = Node::start();
        let mut socket = Socket::open(&node, "/");
        let stream = socket.inner.get_mut();
        stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let piece = message.repeat(65_536 / message.len());
        // More than the buffers of both sides, and of what a node could take in two seconds.
        let mut sent = 0;
        let end = loop {
            assert!(sent < 100 << 20, "everything was read");
            match stream.write(&piece[sent % message.len()..]) {
                Ok(more) => sent += more,
                Err(error) => break error,
            }
        };
        assert!(matches!(end.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{end}");
        // It goes on as soon as the answers are taken.
        let mut answers = stream.try_clone().unwrap();
        let taking = std::thread::spawn(move || {
            let mut space = vec![0; 1 << 20];
            while answers.read(&mut space).is_ok_and(|taken| taken > 0) {}
        });
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&piece[sent % message.len()..]).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
        taking.join().unwrap();
    }
}
