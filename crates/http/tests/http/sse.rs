//! Server-Sent Events: the feed of a watch as a plain answer.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::node::Node;
use jsfs_http::Limits;
use serde_json::Value;

/// An open stream of events.
struct Events {
    reader: BufReader<TcpStream>,
    head: String,
}

/// One message: its type, id and data.
#[derive(Debug, Default)]
struct Received {
    event: String,
    id: String,
    data: Value,
}

impl Events {
    fn open(node: &Node, target: &str, headers: &str) -> Events {
        let mut stream = TcpStream::connect(node.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head =
            format!("GET {target} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        Events { reader, head: head.to_lowercase() }
    }

    fn own(node: &Node, target: &str) -> Events {
        Events::open(node, target, &format!("authorization: Bearer {}\r\n", node.key))
    }

    /// The next line of the body that is none of the chunked coding's.
    fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let is_size = line.ends_with("\r\n");
            if !is_size {
                return Some(line.trim_end_matches('\n').to_owned());
            }
            if line == "0\r\n" {
                return None;
            }
        }
    }

    fn next(&mut self) -> Option<Received> {
        let mut received = Received::default();
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("event", event)) => event.clone_into(&mut received.event),
                Some(("id", id)) => id.clone_into(&mut received.id),
                Some(("data", data)) => received.data = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() && !received.data.is_null() => {
                    if received.event.is_empty() {
                        crate::asyncapi::check_schema("Event", &received.data);
                    }
                    return Some(received);
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_stream_begins_with_the_next_change_and_resumes_after_the_last_one_seen() {
    let node = Node::start();
    node.put("/d/before", b"1");
    let mut events = Events::own(&node, "/d/");
    assert!(
        events.head.starts_with("http/1.1 200") && events.head.contains("content-type: text/event-stream")
    );
    assert!(events.line().unwrap().starts_with(": watching /localhost/d/"));
    let beginning = events.line().unwrap().strip_prefix("id: ").unwrap().to_owned();
    node.put("/d/a", b"1");
    node.put_private("/d/b", b"22");
    let first = events.next().unwrap();
    assert_eq!((&first.data["address"], first.event.as_str()), (&"/localhost/d/a".into(), ""));
    assert_eq!(first.data["cursor"], first.id);
    assert_eq!(events.next().unwrap().data["size"], 2);
    let key = &node.key;
    let resume = format!("authorization: Bearer {key}\r\nlast-event-id: {}\r\n", first.id);
    let early = format!("authorization: Bearer {key}\r\nlast-event-id: {beginning}\r\n");
    let mut early = Events::open(&node, "/d/", &early);
    assert_eq!(early.next().unwrap().data["address"], "/localhost/d/a", "also before the first change");
    // What a browser has seen last counts more than the URL that it repeats.
    let mut resumed = Events::open(&node, "/d/?since=0", &resume);
    assert_eq!(resumed.next().unwrap().data["address"], "/localhost/d/b");
    let mut all = Events::own(&node, "/d/?since=0");
    assert_eq!(all.next().unwrap().data["address"], "/localhost/d/before");
    let mut lost = Events::own(&node, "/d/?since=ffffffff-0-00000000");
    assert_eq!(lost.next().unwrap().event, "reset");
}

#[test]
fn a_stranger_gets_events_of_public_objects_and_no_stream_of_hidden_ones() {
    let node = Node::start();
    node.put_private("/secret", b"1");
    assert!(Events::open(&node, "/secret", "").head.starts_with("http/1.1 404"));
    assert!(Events::open(&node, "/absent", "").head.starts_with("http/1.1 404"));
    assert!(Events::open(&node, "/?since=x", "").head.starts_with("http/1.1 400"));
    let mut events = Events::open(&node, "/", "");
    node.put_private("/secret", b"2");
    node.put("/open", b"3");
    assert_eq!(events.next().unwrap().data["address"], "/localhost/open");
}

#[test]
fn streams_hold_no_place_among_requests_and_are_bounded_among_themselves() {
    let node = Node::with(Limits { requests_max: 2, uploads_max: 1, watches_max: 5, ..Limits::default() });
    let open: Vec<Events> = (0..5).map(|_| Events::open(&node, "/", "")).collect();
    assert!(open.iter().all(|events| events.head.starts_with("http/1.1 200")));
    let refused = Events::open(&node, "/", "");
    assert!(
        refused.head.starts_with("http/1.1 503") && refused.head.contains("retry-after:"),
        "{}",
        refused.head
    );
    node.put("/still", b"served");
    drop(open);
    let begin = Instant::now();
    while node.handle.load().watches > 0 {
        assert!(begin.elapsed() < Duration::from_secs(5), "places are given back");
        node.put("/touch", begin.elapsed().as_nanos().to_string().as_bytes());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_stream_ends_when_the_node_stops() {
    let node = Node::start();
    let mut events = Events::open(&node, "/", "");
    events.line().unwrap();
    let begin = Instant::now();
    node.stop();
    assert!(events.next().is_none());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}
