//! Slow clients, floods, and the end of a server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::node::Node;
use crate::socket::Socket;
use jsfs_http::Limits;
use jsfs_testkit::http::{Client, Request};
use serde_json::json;

fn quick() -> Limits {
    Limits {
        head_time_max: Duration::from_millis(300),
        idle_time_max: Duration::from_millis(600),
        progress_time: Duration::from_millis(400),
        ..Limits::default()
    }
}

fn connect(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// What comes until the node closes, and after how long it did.
fn until_closed(mut stream: TcpStream) -> (String, Duration) {
    let began = Instant::now();
    let mut answer = Vec::new();
    // A reset is an end as well.
    drop(stream.read_to_end(&mut answer));
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

#[test]
fn a_head_that_trickles_in_is_given_up() {
    let node = Node::with(quick());
    let mut stream = connect(&node);
    let mut writer = stream.try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        for byte in
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: 0123456789012345678901234567890123456789".iter()
        {
            if writer.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    stream.flush().unwrap();
    let (answer, took) = until_closed(stream);
    trickle.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    // Who says nothing at all is not answered.
    let (answer, took) = until_closed(connect(&node));
    assert_eq!(answer, "");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_connection_that_rests_too_long_is_closed() {
    let node = Node::with(quick());
    let mut stream = connect(&node);
    stream.write_all(b"GET /.jsfs/status HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (answer, took) = until_closed(stream);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_body_that_stalls_is_answered_and_stores_nothing() {
    let node = Node::with(quick());
    let mut stream = connect(&node);
    write!(stream, "PUT /stall HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 100000\r\n\r\nsome", node.key).unwrap();
    let (answer, took) = until_closed(stream);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(node.ask(&node.own("GET", "/stall")).status, 404);
}

#[test]
fn an_answer_that_nobody_takes_is_given_up() {
    let node = Node::with(quick());
    node.put("/large", &vec![7; 30_000_000]);
    let mut stream = connect(&node);
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(node.handle.load().requests, 0, "the request gave back what it held");
    let (answer, _) = until_closed(stream);
    assert!(answer.len() < 30_000_000);
}

#[test]
fn a_steady_client_is_never_cut_off_by_these() {
    let node = Node::with(quick());
    let body = vec![1; 400_000];
    let mut stream = connect(&node);
    write!(stream, "PUT /steady HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nX-Private: false\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", node.key, body.len()).unwrap();
    for piece in body.chunks(20_000) {
        stream.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    let (answer, _) = until_closed(stream);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(node.get("/steady").body.len(), body.len());
}

#[test]
fn a_body_longer_than_allowed_is_refused() {
    let node = Node::with(Limits { body_bytes_max: 10_000, ..Limits::default() });
    assert_eq!(node.ask(&node.own("PUT", "/fits").body(&[0; 10_000])).status, 201);
    assert_eq!(node.ask(&node.own("PUT", "/not").body(&[0; 10_001])).status, 413);
    // A stranger hears nothing of limits.
    assert_eq!(node.ask(&Request::new("PUT", "/not").body(&[0; 10_001])).status, 401);
    let mut stream = connect(&node);
    write!(stream, "PUT /not HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\n", node.key).unwrap();
    for _ in 0..11 {
        write!(stream, "400\r\n{}\r\n", "x".repeat(1_024)).unwrap();
    }
    let (answer, _) = until_closed(stream);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(node.ask(&node.own("GET", "/not")).status, 404);
}

#[test]
fn a_full_node_says_so_and_recovers() {
    let node = Node::with(Limits { requests_max: 2, uploads_max: 1, ..Limits::default() });
    let begin = || {
        let mut stream = connect(&node);
        write!(
            stream,
            "PUT /u HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 70000\r\n\r\nhe",
            node.key
        )
        .unwrap();
        stream
    };
    let wait = |requests| {
        while node.handle.load().requests != requests {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let mut first = begin();
    wait(1);
    let long = [b'x'; 70_000];
    assert_eq!(node.ask(&node.own("PUT", "/other").body(&long)).status, 503, "one upload at a time");
    assert_eq!(
        node.ask(&node.own("PUT", "/short").body(b"x")).status,
        201,
        "a short body needs no such place"
    );
    assert_eq!(node.get("/.jsfs/status").status, 200, "reading goes on");
    first.write_all(&long[2..]).unwrap();
    let mut status = [0; 12];
    first.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 201");
    wait(0);
    assert_eq!(node.ask(&node.own("PUT", "/other").body(&long)).status, 201);
}

#[test]
fn a_new_connection_takes_the_place_of_a_resting_one() {
    let node = Node::with(Limits { connections_max: 3, ..Limits::default() });
    let mut clients: Vec<_> = (0..3).map(|_| Client::new(node.address)).collect();
    for client in &mut clients {
        client.send(&Request::new("GET", "/.jsfs/status")).unwrap();
    }
    assert_eq!(node.get("/.jsfs/status").status, 200);
    // Where none rests, the new one is told to come back.
    let busy: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = connect(&node);
            write!(
                stream,
                "PUT /b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 70000\r\n\r\n",
                node.key
            )
            .unwrap();
            while node.handle.load().uploads == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
            stream
        })
        .collect();
    while node.handle.load().uploads < 3 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let answer = Client::new(node.address).send(&Request::new("GET", "/.jsfs/status")).unwrap();
    assert_eq!((answer.status, answer.header("connection")), (503, Some("close")));
    drop(busy);
}

#[test]
fn connections_that_say_nothing_do_not_shut_others_out() {
    let node = Node::with(Limits { connections_max: 4, ..Limits::default() });
    let silent: Vec<_> = (0..4).map(|_| connect(&node)).collect();
    while node.handle.load().connections < 4 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    let ask = || Client::new(node.address).send(&Request::new("GET", "/.jsfs/status"));
    while !ask().is_ok_and(|answer| answer.status == 200) {
        assert!(began.elapsed() < Duration::from_secs(10), "before the time for a head is over");
        std::thread::sleep(Duration::from_millis(20));
    }
    // The one that had come first.
    let (answer, _) = until_closed(silent.into_iter().next().unwrap());
    assert_eq!(answer, "");
}

/// A client that asks for much and takes nothing, one that sends too little of a body.
fn slow(node: &Node, request: &str) -> TcpStream {
    let mut stream = connect(node);
    write!(stream, "{request} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 500000\r\n\r\nsome", node.key).unwrap();
    stream
}

#[test]
fn slow_clients_make_room_for_others_long_before_they_are_too_slow() {
    let limits =
        Limits { requests_max: 3, uploads_max: 2, progress_time: Duration::from_secs(16), ..quick() };
    let node = Node::with(Limits { head_time_max: Duration::from_secs(1), ..limits });
    node.put("/large", &vec![7; 30_000_000]);
    let mut reader = connect(&node);
    reader.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let uploads: Vec<_> = (0..2).map(|number| slow(&node, &format!("PUT /slow-{number}"))).collect();
    while node.handle.load().uploads < 2 || node.handle.load().requests < 3 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    while node.ask(&node.own("PUT", "/quick").body(&[b'x'; 70_000])).status != 201 {
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", node.handle.load());
        std::thread::sleep(Duration::from_millis(20));
    }
    let told: Vec<_> = uploads.into_iter().map(|stream| until_closed(stream).0).collect();
    assert!(told.iter().any(|answer| answer.starts_with("HTTP/1.1 408")), "{told:?}");
}

#[test]
fn a_body_that_nobody_wants_has_no_place_among_the_uploads() {
    let node = Node::with(Limits { uploads_max: 1, ..Limits::default() });
    let mut stranger = connect(&node);
    stranger.write_all(b"PUT /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    // The answer waits half a second for the body that was announced.
    let began = Instant::now();
    while node.handle.load().requests < 1 || node.handle.load().uploads > 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "it keeps its place");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(node.ask(&node.own("PUT", "/y").body(&[b'y'; 70_000])).status, 201);
    let (answer, _) = until_closed(stranger);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[test]
fn readers_that_take_nothing_keep_no_more_memory_than_they_may() {
    let limits =
        Limits { answer_bytes_max: 16 << 20, progress_time: Duration::from_secs(8), ..Limits::default() };
    let node = Node::with(Limits { head_time_max: Duration::from_secs(1), ..limits });
    let noise = |at: u32| u8::try_from(at.wrapping_mul(at | 1).wrapping_mul(2_654_435_761) >> 24).unwrap();
    let large: Vec<u8> = (0..30_000_000).map(noise).collect();
    node.put("/large", &large);
    node.put("/small", b"small");
    let readers: Vec<_> = (0..40)
        .map(|_| {
            let mut reader = connect(&node);
            reader.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            reader
        })
        .collect();
    let began = Instant::now();
    while node.handle.load().answer_bytes < 15 << 20 {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", node.handle.load());
        std::thread::sleep(Duration::from_millis(1));
    }
    // What is short needs none of it; whoever wants more waits, and gets it as soon as others are known to be slow.
    assert_eq!(node.get("/small").body, b"small");
    assert!(node.get("/large").body == large);
    assert!(node.handle.load().answer_bytes <= 16 << 20);
    drop(readers);
}

#[test]
fn sockets_leave_room_for_requests() {
    let node = Node::with(Limits { connections_max: 8, ..Limits::default() });
    let mut sockets: Vec<_> = (0..7).map(|_| Socket::stranger(&node, "/")).collect();
    assert_eq!(Socket::with(&node, "/", &[]).err(), Some(503));
    let events = Request::new("GET", "/").header("Accept", "text/event-stream");
    assert_eq!(node.ask(&events.bearer(&node.key)).status, 503);
    // Those that were refused give their place back when their connections are closed.
    let began = Instant::now();
    while node.get("/.jsfs/status").status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "there is no room for a request");
        std::thread::sleep(Duration::from_millis(5));
    }
    sockets.pop();
    let began = Instant::now();
    while Socket::with(&node, "/", &[]).is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "its place is not given back");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_slow_call_of_a_socket_makes_room() {
    let limits = Limits { uploads_max: 1, progress_time: Duration::from_secs(16), ..quick() };
    let node = Node::with(Limits { head_time_max: Duration::from_secs(1), ..limits });
    let mut socket = Socket::open(&node, "/");
    let id = socket.begin("put", json!({ "path": "/slow", "stream": 1 }));
    while node.handle.load().uploads < 1 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    while node.ask(&node.own("PUT", "/quick").body(b"x")).status != 201 {
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", node.handle.load());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(socket.answer(id)["error"]["code"], 408);
}

#[test]
fn limits_change_while_the_server_runs() {
    let node = Node::start();
    node.handle.set_limits(Limits { body_bytes_max: 10, ..Limits::default() }).unwrap();
    assert_eq!(node.ask(&node.own("PUT", "/x").body(&[0; 11])).status, 413);
    assert!(node.handle.set_limits(Limits { requests_max: 0, ..Limits::default() }).is_err());
    assert_eq!(node.ask(&node.own("PUT", "/x").body(&[0; 11])).status, 413, "the old ones stay");
}

#[test]
fn a_server_that_stops_finishes_what_runs_and_takes_nothing_new() {
    let node = Node::start();
    let mut resting = connect(&node);
    resting.write_all(b"GET /.jsfs/status HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut begun = connect(&node);
    write!(
        begun,
        "PUT /last HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 70000\r\n\r\nhe",
        node.key
    )
    .unwrap();
    while node.handle.load().uploads == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    node.begin_stop();
    let (_, took) = until_closed(resting);
    assert!(took < Duration::from_secs(10), "{took:?}");
    let refused = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        TcpStream::connect(node.address).is_err()
    });
    assert!(refused, "nothing new is taken");
    begun.write_all(&[b'x'; 69_998]).unwrap();
    let (answer, _) = until_closed(begun);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let began = Instant::now();
    node.stop();
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_server_that_stops_waits_only_so_long() {
    let node = Node::with(Limits { shutdown_time_max: Duration::from_millis(300), ..Limits::default() });
    let mut begun = connect(&node);
    write!(
        begun,
        "PUT /never HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 70000\r\n\r\nhe",
        node.key
    )
    .unwrap();
    while node.handle.load().uploads == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    node.stop();
    assert!(began.elapsed() < Duration::from_secs(10));
}
