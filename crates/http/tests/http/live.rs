//! The interface over WebSockets: the same answers as over HTTP, changes as they happen, and bounds for everything.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::node::Node;
use crate::socket::Socket;
use jsfs_http::Limits;
use jsfs_http::live::frame::{CREDIT_BYTES, Frame, PAYLOAD_BYTES_MAX};
use jsfs_testkit::http::Request;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Bytes, Message};

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut state = 88_172_645_463_325_252_u64;
    for byte in &mut bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[4];
    }
    bytes
}

#[test]
fn the_whole_interface_is_there_over_one_connection() {
    let node = Node::start();
    let mut socket = Socket::open(&node, "/dir/");
    let made = socket.call("put", json!({"path": "a.txt", "text": "one", "private": false}));
    assert_eq!(
        (&made["status"], &made["version"], &made["address"]),
        (&201.into(), &1.into(), &"/localhost/dir/a.txt".into())
    );
    assert_eq!(node.get("/dir/a.txt").text(), "one");
    let again =
        socket.call("put", json!({"path": "/dir/a.txt", "base64": "dHdv", "content_type": "text/x-two"}));
    assert_eq!((&again["status"], &again["version"]), (&200.into(), &2.into()));
    let got = socket.call("get", json!({"path": "a.txt", "inline": true}));
    assert_eq!(
        (&got["text"], &got["type"], &got["size"], &got["private"]),
        (&"two".into(), &"text/x-two".into(), &3.into(), &false.into())
    );
    assert_eq!(got["etag"], again["etag"]);
    assert_eq!(got["sha256"], again["sha256"]);
    let head = socket.call("head", json!({"path": "a.txt"}));
    assert_eq!((&head["size"], &head["version"], &head["stream"]), (&3.into(), &2.into(), &Value::Null));
    let part = socket.call("get", json!({"path": "a.txt", "range": "1-", "inline": true}));
    assert_eq!((&part["text"], &part["status"], &part["file_size"]), (&"wo".into(), &206.into(), &3.into()));
    let same = socket.call("get", json!({"path": "a.txt", "if_none_match": again["etag"]}));
    assert_eq!((&same["status"], &same["stream"]), (&304.into(), &Value::Null));
    let old = socket.call("get", json!({"path": "a.txt", "version": 1, "inline": true}));
    assert_eq!(old["text"], "one");
    assert_eq!(socket.call("versions", json!({"path": "a.txt"}))["versions"].as_array().unwrap().len(), 2);
    socket.call("append", json!({"path": "a.txt", "text": "!"}));
    assert_eq!(node.get("/dir/a.txt").text(), "two!");
    socket.call("patch", json!({"path": "a.txt", "properties": {"content_type": "text/plain"}}));
    assert_eq!(node.get("/dir/a.txt").header("content-type"), Some("text/plain"));
    socket.call("copy", json!({"path": "a.txt", "destination": "b c.txt"}));
    assert_eq!(node.get("/dir/b%20c.txt").text(), "two!");
    assert_eq!(
        socket.refused("copy", json!({"path": "a.txt", "destination": "b c.txt", "overwrite": false})),
        412
    );
    socket.call("move", json!({"path": "b c.txt", "destination": "../c.txt"}));
    assert_eq!((node.get("/dir/b%20c.txt").status, node.get("/c.txt").text().as_str()), (404, "two!"));
    socket.call("restore", json!({"path": "a.txt", "version": 1}));
    assert_eq!(node.get("/dir/a.txt").text(), "one");
    let names = socket.call("list", json!({"path": "/", "recursive": true}));
    let names: Vec<_> =
        names["entries"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["c.txt", "dir/a.txt"]);
    assert_eq!(socket.call("properties", json!({"path": "./"}))["private"], true);
    socket.call("delete", json!({"path": "a.txt", "purge": true}));
    assert_eq!(socket.refused("get", json!({"path": "a.txt"})), 410);
    assert_eq!(socket.call("ping", json!({})), json!({}));
}

#[test]
fn a_call_is_refused_as_its_request_would_be() {
    let node = Node::start();
    node.put_private("/secret", b"x");
    node.put("/open", b"y");
    let mut stranger = Socket::stranger(&node, "/");
    for (method, params) in [
        ("get", json!({"path": "secret"})),
        ("get", json!({"path": "absent"})),
        ("head", json!({"path": "secret"})),
        ("versions", json!({"path": "secret"})),
    ] {
        assert_eq!(stranger.refused(method, params.clone()), 404, "{method} {params}");
    }
    for (method, params) in [
        ("put", json!({"path": "open", "text": "z"})),
        ("put", json!({"path": "new", "text": "z"})),
        ("patch", json!({"path": "open", "properties": {}})),
        ("delete", json!({"path": "secret"})),
        ("move", json!({"path": "open", "destination": "o2"})),
    ] {
        assert_eq!(stranger.refused(method, params.clone()), 401, "{method} {params}");
    }
    let id = stranger.begin("get", json!({"path": "absent"}));
    let request = &stranger.answer(id)["error"]["data"]["id"];
    assert_eq!(request.as_str().map(str::len), Some(16), "what the log names it by");
    assert_eq!(stranger.call("get", json!({"path": "open", "inline": true}))["text"], "y");
    // The credential of one call is not the connection's.
    let own = stranger.call("get", json!({"path": "secret", "inline": true, "access_key": node.key}));
    assert_eq!(own["text"], "x");
    assert_eq!(stranger.refused("get", json!({"path": "secret"})), 404);
    assert_eq!(stranger.refused("authenticate", json!({"access_key": "jsfs_mistyped"})), 401);
    assert_eq!(stranger.call("authenticate", json!({"access_key": node.key}))["credentials"], 1);
    assert_eq!(stranger.call("get", json!({"path": "secret", "inline": true}))["text"], "x");
}

#[test]
fn bodies_flow_in_streams_side_by_side() {
    let node = Node::start();
    let mut socket = Socket::open(&node, "/");
    let bytes = noise(3_000_000);
    let id = socket.begin("put", json!({"path": "big", "stream": 1, "private": false}));
    let (mut sent, mut credit) = (0, CREDIT_BYTES as usize);
    while sent < bytes.len() {
        let count = credit.min(bytes.len() - sent).min(PAYLOAD_BYTES_MAX);
        if count == 0 {
            let (1, Frame::Credit(more)) = socket.frame() else { panic!("no credit") };
            credit += more as usize;
            continue;
        }
        socket.send_frame(1, &Frame::Data(Bytes::copy_from_slice(&bytes[sent..sent + count])));
        (sent, credit) = (sent + count, credit - count);
    }
    socket.send_frame(1, &Frame::End(Bytes::new()));
    assert_eq!(socket.answer(id)["result"]["file_size"], 3_000_000);
    socket.frames.clear();
    assert!(node.get("/big").body == bytes);
    let got = socket.call("get", json!({"path": "big"}));
    let number = u32::try_from(got["stream"].as_u64().unwrap()).unwrap();
    assert_eq!((number % 2, &got["size"]), (0, &3_000_000.into()));
    assert!(socket.body(number) == bytes);
}

#[test]
fn a_consumer_that_stands_still_delays_nobody_else() {
    let node = Node::start();
    node.put("/big", &noise(5_000_000));
    let mut socket = Socket::open(&node, "/");
    let stalled = socket.call("get", json!({"path": "big"}))["stream"].as_u64().unwrap();
    for number in 0..100 {
        let path = format!("n{number}");
        socket.call("put", json!({"path": path, "text": "x"}));
    }
    let other = socket.call("get", json!({"path": "big", "range": "0-2999999"}))["stream"].as_u64().unwrap();
    let mut got = 0;
    let mut held = 0;
    while got < 3_000_000 {
        match socket.frame() {
            (of, Frame::Data(bytes)) if u64::from(of) == other => {
                got += bytes.len();
                socket.send_frame(of, &Frame::Credit(u32::try_from(bytes.len()).unwrap()));
            }
            (of, Frame::Data(bytes)) if u64::from(of) == stalled => held += bytes.len(),
            (of, frame) => panic!("{of} {frame:?}"),
        }
    }
    assert_eq!(held, CREDIT_BYTES as usize, "the stalled one got its credit and not a byte more");
    // What nobody wants any more ends at once.
    socket.send_frame(u32::try_from(stalled).unwrap(), &Frame::Error(Bytes::new()));
    assert_eq!(socket.call("ping", json!({})), json!({}));
}

#[test]
fn an_upload_that_is_given_up_or_refused_stores_nothing() {
    let node = Node::start();
    let mut socket = Socket::open(&node, "/");
    let id = socket.begin("put", json!({"path": "half", "stream": 1}));
    socket.send_frame(1, &Frame::Data(Bytes::from_static(b"some")));
    socket.send_frame(1, &Frame::Error(Bytes::new()));
    assert_eq!(socket.answer(id)["error"]["code"], 400);
    assert_eq!(socket.refused("get", json!({"path": "half"})), 404);
    let mut stranger = Socket::stranger(&node, "/");
    let id = stranger.begin("put", json!({"path": "mine", "stream": 1}));
    assert_eq!(stranger.answer(id)["error"]["code"], 401);
    // What was on its way is thrown away.
    stranger.send_frame(1, &Frame::Data(Bytes::from(vec![0; 60_000])));
    stranger.send_frame(1, &Frame::End(Bytes::new()));
    assert_eq!(stranger.call("ping", json!({})), json!({}));
}

#[test]
fn changes_arrive_in_order_and_a_watch_resumes_where_it_was() {
    let node = Node::start();
    let mut socket = Socket::open(&node, "/d/");
    let begun = socket.call("watch", json!({"path": ""}));
    assert_eq!(begun["watch"], "w1");
    node.put("/d/a", b"1");
    node.put_private("/d/b", b"22");
    node.put("/elsewhere", b"3");
    assert_eq!(node.ask(&node.own("DELETE", "/d/a")).status, 204);
    let events: Vec<Value> = (0..3).map(|_| socket.event()).collect();
    let told: Vec<_> =
        events.iter().map(|e| (e["kind"].as_str().unwrap(), e["address"].as_str().unwrap())).collect();
    assert_eq!(
        told,
        [("created", "/localhost/d/a"), ("created", "/localhost/d/b"), ("deleted", "/localhost/d/a")]
    );
    let second = &events[1];
    assert_eq!(
        (&second["size"], &second["private"], &second["version"], &second["watch"]),
        (&2.into(), &true.into(), &1.into(), &"w1".into())
    );
    assert!(second["etag"].is_string() && second["time"].as_str().unwrap().ends_with('Z'));
    drop(socket);
    node.put("/d/c", b"4");
    let mut back = Socket::open(&node, "/");
    back.call("watch", json!({"path": "d/", "since": events[1]["cursor"]}));
    assert_eq!(back.event()["kind"], "deleted");
    assert_eq!(back.event()["address"], "/localhost/d/c");
    assert_eq!(back.call("unwatch", json!({"watch": "w1"})), json!({}));
    assert_eq!(back.refused("unwatch", json!({"watch": "w1"})), 404);
    node.put("/d/e", b"5");
    assert_eq!(back.call("ping", json!({})), json!({}));
    assert!(back.notifications.is_empty(), "{:?}", back.notifications);
    back.call("watch", json!({"path": "d/", "since": "ffffffffff-0-00000000"}));
    let reset = back.notification();
    assert_eq!((&reset["method"], &reset["params"]["watch"]), (&"reset".into(), &"w2".into()));
    node.put("/d/f", b"6");
    assert_eq!(back.event()["address"], "/localhost/d/f");
    assert_eq!(back.refused("watch", json!({"path": "d/", "since": "yesterday"})), 400);
}

#[test]
fn events_of_private_objects_reach_only_those_who_may_read_them() {
    let node = Node::start();
    let share = |address: &str, methods: &Value| {
        let body = json!({"address": address, "methods": methods, "expires_in": 3600}).to_string();
        let made = node.ask(&node.own("POST", "/.jsfs/tokens").body(body.as_bytes()));
        (made.json()["token"].as_str().unwrap().to_owned(), made.json()["jti"].as_str().unwrap().to_owned())
    };
    let (token, jti) = share("/localhost/d/", &json!(["WATCH"]));
    let (reads, _) = share("/localhost/d/", &json!(["GET"]));
    let mut stranger = Socket::stranger(&node, "/");
    let mut guest = Socket::stranger(&node, "/");
    let mut owner = Socket::open(&node, "/");
    stranger.call("watch", json!({"path": "d/"}));
    guest.call("watch", json!({"path": "d/", "access_token": token}));
    owner.call("watch", json!({"path": "d/"}));
    assert_eq!(stranger.refused("watch", json!({"path": "d/secret"})), 404);
    assert_eq!(stranger.refused("watch", json!({"path": "d/secret", "access_token": reads})), 403);
    node.put_private("/d/secret", b"1");
    node.put("/d/open", b"1");
    assert_eq!(stranger.event()["address"], "/localhost/d/open");
    assert_eq!(guest.event()["address"], "/localhost/d/secret");
    assert_eq!(owner.event()["address"], "/localhost/d/secret");
    let revoke = json!({"address": "/localhost/d/", "jti": jti}).to_string();
    assert_eq!(node.ask(&node.own("POST", "/.jsfs/revocations").body(revoke.as_bytes())).status, 204);
    node.put_private("/d/secret", b"2");
    assert_eq!(guest.event()["address"], "/localhost/d/open");
    let ended = guest.notification();
    assert_eq!(
        (&ended["method"], &ended["params"]["error"]["status"]),
        (&"ended".into(), &401.into()),
        "{ended}"
    );
    let other = jsfs_objects::key::Seed::generate(&jsfs_objects::clock::SystemRandom).to_text().to_string();
    let body = json!({"replacement_access_key": other}).to_string();
    assert_eq!(node.ask(&node.own("PATCH", "/d/").body(body.as_bytes())).status, 204);
    assert_eq!(node.ask(&Request::new("PUT", "/d/secret").bearer(&other).body(b"3")).status, 200);
    let mut seen = Vec::new();
    let ended = loop {
        let next = owner.notification();
        if next["method"] == "ended" {
            break next;
        }
        seen.push(next["params"]["version"].clone());
    };
    assert_eq!(ended["params"]["error"]["status"], 401);
    assert!(!seen.contains(&json!(3)), "{seen:?}");
    assert_eq!(stranger.call("ping", json!({})), json!({}));
    assert!(stranger.notifications.is_empty(), "{:?}", stranger.notifications);
}

#[test]
fn every_malformed_message_has_its_documented_answer() {
    let node = Node::with(Limits { json_bytes_max: 4096, ..Limits::default() });
    let answered = |text: &str| {
        let mut socket = Socket::open(&node, "/");
        socket.send_text(text);
        let Message::Text(answer) = socket.inner.read().unwrap() else { panic!("no answer to {text}") };
        let answer: Value = serde_json::from_str(answer.as_str()).unwrap();
        assert_eq!(answer["error"]["data"]["status"], 400, "{answer}");
        (answer["id"].clone(), answer["error"]["code"].as_i64().unwrap())
    };
    assert_eq!(answered("{"), (Value::Null, -32_700));
    assert_eq!(answered("[1]"), (Value::Null, -32_600));
    assert_eq!(answered(r#"{"jsonrpc":"2.0","id":"x","method":"format"}"#), (json!("x"), -32_601));
    assert_eq!(answered(r#"{"jsonrpc":"2.0","id":-4,"method":"get","params":{}}"#), (json!(-4), -32_602));
    let closed = |message: Message| {
        let mut socket = Socket::open(&node, "/");
        // A message that is too long may be refused before all of it was sent.
        let _ = socket.inner.send(message);
        socket.closed().0
    };
    let frame = |number, frame: &Frame| Message::Binary(frame.encode(number));
    assert_eq!(closed(Message::Binary(Bytes::from_static(b"abc"))), 1002);
    assert_eq!(closed(Message::Binary(Bytes::from_static(&[1, 0, 0, 0, 9]))), 1002);
    assert_eq!(closed(frame(7, &Frame::Data(Bytes::from_static(b"x")))), 1008);
    assert_eq!(closed(frame(2, &Frame::Credit(1))), 1008);
    assert_eq!(closed(Message::text("x".repeat(4097))), 1009);
    assert_eq!(closed(Message::Binary(vec![0; PAYLOAD_BYTES_MAX + 6].into())), 1009);
    assert_eq!(closed(Message::text("x".repeat(1 << 20))), 1009);
    let mut socket = Socket::open(&node, "/");
    socket.begin("put", json!({"path": "a", "stream": 5}));
    socket.begin("put", json!({"path": "b", "stream": 3}));
    assert_eq!(socket.closed().0, 1008, "a number that is not greater than the one before");
    assert!((0..10).any(|_| is_cut_off_beyond_its_credit(&node)), "more than the credit");
}

/// Sends faster than nearly any node stores. Says whether the node closed for it; if not, all that was sent was granted.
fn is_cut_off_beyond_its_credit(node: &Node) -> bool {
    const PIECES: usize = 2_000;
    let mut socket = Socket::open(node, "/");
    socket.begin("put", json!({"path": "a", "stream": 1}));
    let piece = Message::Binary(Frame::Data(noise(PAYLOAD_BYTES_MAX).into()).encode(1));
    // It may have closed already.
    let sent = (0..PIECES).take_while(|_| socket.inner.send(piece.clone()).is_ok()).count();
    let mut granted = CREDIT_BYTES as usize;
    while sent < PIECES || granted < PIECES * PAYLOAD_BYTES_MAX {
        match socket.inner.read().unwrap() {
            Message::Binary(bytes) => {
                let (_, Frame::Credit(more)) = Frame::decode(bytes).unwrap() else { panic!("not credit") };
                granted += more as usize;
            }
            Message::Close(Some(close)) => {
                assert_eq!(u16::from(close.code), 1008);
                return true;
            }
            other => panic!("{other:?}"),
        }
    }
    false
}

#[test]
fn what_is_no_frame_of_rfc_6455_closes_the_connection() {
    use std::io::Write;
    let node = Node::start();
    // Reserved bits, an unmasked frame, a control frame that is too long, an opcode that does not exist, text that is no UTF-8.
    let cases: [(&[u8], u16); 5] = [
        (&[0xf1, 0x80, 0, 0, 0, 0], 1002),
        (&[0x81, 0x01, b'x'], 1002),
        (&[0x89, 0xfe, 0x00, 0x7e, 0, 0, 0, 0], 1002),
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),
        (&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xff], 1007),
    ];
    for (bytes, code) in cases {
        let mut socket = Socket::open(&node, "/");
        // With room for the payload that a head promises.
        socket.inner.get_mut().write_all(&[bytes, &[0; 126]].concat()).unwrap();
        assert_eq!(socket.closed().0, code, "{bytes:x?}");
    }
}

#[test]
fn calls_watches_and_their_bodies_are_bounded() {
    let limits = Limits { socket_calls_max: 2, socket_watches_max: 2, watches_max: 3, ..Limits::default() };
    let node = Node::with(limits);
    let mut socket = Socket::open(&node, "/");
    for number in [1, 3] {
        socket.begin("put", json!({"path": format!("p{number}"), "stream": number}));
    }
    assert_eq!(socket.refused("get", json!({"path": "x"})), 429);
    assert_eq!(socket.call("ping", json!({})), json!({}));
    for _ in 0..2 {
        socket.call("watch", json!({"path": "/"}));
    }
    assert_eq!(socket.refused("watch", json!({"path": "/"})), 429);
    let mut other = Socket::open(&node, "/");
    other.call("watch", json!({"path": "/"}));
    assert_eq!(other.refused("watch", json!({"path": "/"})), 503);
    assert_eq!(node.handle.load().watches, 3);
    drop((socket, other));
    let begin = Instant::now();
    while node.handle.load() != jsfs_http::Load::default() {
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", node.handle.load());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_upload_in_which_nothing_moves_is_over_and_the_connection_is_not() {
    let node = Node::with(Limits { progress_time: Duration::from_millis(300), ..Limits::default() });
    let mut socket = Socket::open(&node, "/");
    let id = socket.begin("put", json!({"path": "slow", "stream": 1}));
    assert_eq!(socket.answer(id)["error"]["code"], 408);
    assert_eq!(socket.call("ping", json!({})), json!({}));
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_and_costs_bounded_memory() {
    let limits = Limits {
        progress_time: Duration::from_millis(500),
        head_time_max: Duration::from_millis(500),
        ..Limits::default()
    };
    let node = Node::with(limits);
    node.put("/big", &noise(2_000_000));
    let mut socket = Socket::open(&node, "/");
    for _ in 0..20 {
        let id = socket.begin("get", json!({"path": "big", "range": "0-1"}));
        let stream = socket.answer(id)["result"]["stream"].as_u64().unwrap();
        let _ = socket.body(u32::try_from(stream).unwrap());
    }
    for _ in 0..60 {
        let id = socket.begin("get", json!({"path": "big"}));
        socket.send_frame(u32::try_from(id).unwrap() * 2, &Frame::Credit(2_000_000));
    }
    let begin = Instant::now();
    while node.handle.load().connections > 0 {
        assert!(begin.elapsed() < Duration::from_secs(10), "still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn handshakes_are_refused_as_requests_are() {
    let node = Node::start();
    let refused = |path: &str, headers: &[(&str, &str)]| Socket::with(&node, path, headers).err();
    assert_eq!(refused("/", &[("sec-websocket-version", "12")]), Some(400));
    assert_eq!(refused("/", &[("sec-websocket-protocol", "mqtt")]), Some(400));
    assert_eq!(refused("/%00", &[]), Some(400));
    assert_eq!(refused("/.jsfs/status", &[]), Some(400));
    let (_, response) = Socket::handshake(&node, "/a", &[("sec-websocket-protocol", "x, jsfs.v1")]).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "jsfs.v1");
    let mut mistyped = Socket::with(&node, "/", &[("authorization", "Bearer jsfs_mistyped")]).unwrap();
    assert_eq!(mistyped.closed().0, 4401);
    let origin = [("origin", "http://evil.example"), ("authorization", &*format!("Bearer {}", node.key))];
    assert_eq!(Socket::with(&node, "/", &origin).unwrap().closed().0, 4403);
    let own = [("origin", "http://localhost"), ("authorization", &*format!("Bearer {}", node.key))];
    let mut own = Socket::with(&node, "/", &own).unwrap();
    assert_eq!(own.call("ping", json!({})), json!({}));
    let by_query = Socket::with(&node, &format!("/?access_key={}", node.key), &[]);
    node.put_private("/s", b"1");
    assert_eq!(by_query.unwrap().call("get", json!({"path": "s", "inline": true}))["text"], "1");
}

#[test]
fn a_node_that_stops_says_so_after_the_calls_under_way() {
    let node = Node::start();
    let mut idle = Socket::open(&node, "/");
    idle.call("watch", json!({"path": "/"}));
    let mut busy = Socket::open(&node, "/");
    let id = busy.begin("put", json!({"path": "last", "stream": 1}));
    busy.send_frame(1, &Frame::Data(Bytes::from_static(b"the last ")));
    assert_eq!(busy.call("ping", json!({})), json!({}));
    node.begin_stop();
    let (code, reason) = idle.closed();
    assert_eq!((code, reason.contains("retry in 1 s")), (1001, true), "{reason}");
    busy.send_frame(1, &Frame::End(Bytes::from_static(b"words")));
    assert_eq!(busy.answer(id)["result"]["file_size"], 14);
    assert_eq!(busy.closed().0, 1001);
    let begin = Instant::now();
    node.stop();
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_flood_of_calls_leaves_the_node_healthy() {
    let node = Node::start();
    let flood = {
        let mut socket = Socket::open(&node, "/");
        std::thread::spawn(move || {
            for number in 0..5_000 {
                let text =
                    json!({"jsonrpc": "2.0", "id": number, "method": "get", "params": {"path": "none"}});
                if socket.inner.send(Message::text(text.to_string())).is_err() {
                    return 0;
                }
            }
            let mut answers = 0;
            while answers < 5_000 {
                answers += usize::from(matches!(socket.inner.read(), Ok(Message::Text(_))));
            }
            answers
        })
    };
    for _ in 0..50 {
        let begin = Instant::now();
        assert_eq!(node.get("/none").status, 404);
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(flood.join().unwrap(), 5_000, "every call is answered, refused ones too");
    let _ = TcpStream::connect(node.address).unwrap();
}
