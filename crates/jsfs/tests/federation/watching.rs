//! Whoever watches one node hears what changed through any other, over a socket as over an event stream, and misses nothing while it is cut off.

use crate::records::{HOST, Watch, ask, together};
use crate::support::{Place, SOON};
use jsfs_client::{Change, Client, Credential, Event, NodeUrl, Reference};
use jsfs_testkit::http::{Client as Http, Request};
use jsfs_testkit::proxy::Proxy;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const TOP: &str = "/example.shared/d/";

fn address(place: &Place) -> SocketAddr {
    place.node.as_ref().unwrap().address()
}

/// A watch of a directory over a socket, which connects again by itself.
struct Socket {
    changes: Receiver<Change>,
    /// The entity tag of each object, as far as it was told.
    state: BTreeMap<String, String>,
    cursor: String,
}

impl Socket {
    fn begin(runtime: &Runtime, node: SocketAddr, key: Option<&str>, since: Option<&str>) -> Socket {
        let node: NodeUrl = format!("http://{node}").parse().unwrap();
        let client = Client::new(node, key.map(|key| Credential::parse(key).unwrap())).unwrap();
        let mut watch = client.watch(&Reference::parse(TOP).unwrap().address, since.map(str::to_owned));
        let (sender, changes) = sync_channel(1_000);
        runtime.spawn(async move {
            while let Ok(change) = watch.next().await
                && sender.send(change).is_ok()
            {}
        });
        let mut socket = Socket { changes, state: BTreeMap::new(), cursor: String::new() };
        match socket.next() {
            Change::Begun { cursor } => socket.cursor = cursor,
            other => panic!("not the beginning of a watch: {other:?}"),
        }
        socket
    }

    fn next(&mut self) -> Change {
        self.changes.recv_timeout(SOON).expect("something is told")
    }

    /// The next event, which counts in the state.
    fn event(&mut self) -> Event {
        let Change::Event(event) = self.next() else { panic!("the log reaches back") };
        self.cursor.clone_from(&event.cursor);
        match (event.kind.as_str(), &event.etag) {
            ("deleted", _) => drop(self.state.remove(&event.address)),
            (_, Some(etag)) => drop(self.state.insert(event.address.clone(), etag.clone())),
            _ => {}
        }
        *event
    }

    /// Waits until this is told of this address; what comes before it counts as well.
    fn until(&mut self, kind: &str, path: &str) -> Event {
        let begun = Instant::now();
        let mut told = Vec::new();
        while begun.elapsed() < SOON {
            let event = self.event();
            if event.kind == kind && event.address == format!("{TOP}{path}") {
                return event;
            }
            told.push(format!("{} {}", event.kind, event.address));
        }
        panic!("{path} is not {kind} in {told:?}")
    }

    fn is_silent(&mut self) -> bool {
        self.changes.recv_timeout(Duration::from_millis(500)).is_err()
    }
}

/// What a node lists below the directory: entity tags by address.
fn listed(place: &Place, key: &str) -> BTreeMap<String, String> {
    let (status, body) = ask(place, "GET", "/d/?recursive=true", Some(key), &[]);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let listing: Value = serde_json::from_slice(&body).unwrap();
    let entries = listing["entries"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    entries.map(|entry| (format!("{TOP}{}", text(&entry["name"])), text(&entry["etag"]))).collect()
}

fn put(place: &Place, path: &str, key: &str, body: &str, status: u16) {
    let answered = ask(place, "PUT", path, Some(key), body.as_bytes());
    assert_eq!(answered.0, status, "{}\n{}", String::from_utf8_lossy(&answered.1), place.log());
}

fn delete(place: &Place, path: &str, key: &str) {
    assert_eq!(ask(place, "DELETE", path, Some(key), &[]).0, 204, "{}", place.log());
}

fn rename(place: &Place, from: &str, to: &str, key: &str) {
    let request = Request::new("MOVE", from).header("Host", HOST).bearer(key).header("Destination", to);
    assert_eq!(Http::new(address(place)).send(&request).unwrap().status, 201, "{}", place.log());
}

#[test]
fn a_change_through_one_node_reaches_sockets_and_streams_on_every_other() {
    let home = tempfile::tempdir().unwrap();
    let (places, key) = together(home.path(), 3);
    let [a, b, c] = &places[..] else { panic!("three nodes") };
    put(a, "/d/one", &key, "one", 201);
    let runtime = Runtime::new().unwrap();
    let (to_b, by_b) = Proxy::start(address(b)).unwrap();
    let mut at_b = Socket::begin(&runtime, by_b, Some(&key), Some("0"));
    let mut at_c = Socket::begin(&runtime, address(c), Some(&key), Some("0"));
    let mut stranger = Socket::begin(&runtime, address(c), None, None);
    let mut stream = Watch::begin(b, "/d/", &key);
    // What was there before anybody asked there is told too, since the log from its beginning was asked for.
    at_b.until("created", "one");
    at_c.until("created", "one");

    put(a, "/d/two", &key, "two", 201);
    for socket in [&mut at_b, &mut at_c] {
        let event = socket.until("created", "two");
        let told = (event.version, event.private, event.size, event.content_type.is_some());
        assert_eq!(told, (Some(1), Some(true), Some(3), true));
    }
    stream.until("/d/two");
    put(a, "/d/two", &key, "again", 200);
    put(a, "/d/below/it/deep", &key, "deep", 201);
    delete(a, "/d/one", &key);
    rename(a, "/d/two", "/d/three", &key);
    for socket in [&mut at_b, &mut at_c] {
        // In whatever order: what several changes made is brought together.
        let begun = Instant::now();
        while socket.state != listed(a, &key) {
            assert!(begun.elapsed() < SOON, "{:?}\n{}", socket.state, b.log());
            socket.event();
        }
    }
    assert_eq!(
        at_b.state.keys().collect::<Vec<_>>(),
        [&format!("{TOP}below/it/deep"), &format!("{TOP}three")]
    );

    // Whichever node it was changed through, and the stranger hears of what is public alone.
    put(b, "/d/by-b?private=false", &key, "b", 201);
    put(c, "/d/by-c", &key, "c", 201);
    at_c.until("created", "by-b");
    at_b.until("created", "by-c");
    let event = stranger.until("created", "by-b");
    assert_eq!(event.private, Some(false));
    delete(a, "/d/by-b", &key);
    stranger.until("deleted", "by-b");
    at_c.until("deleted", "by-b");
    at_b.until("deleted", "by-b");
    stream.until("\"deleted\"");
    assert!(stranger.is_silent(), "what is private is nobody else's");

    // Cut off while all kinds of changes are made, it goes on where it was.
    assert!(to_b.shut(), "the socket was open");
    put(a, "/d/three", &key, "third", 200);
    put(a, "/d/away", &key, "away", 201);
    delete(a, "/d/by-c", &key);
    rename(a, "/d/below/it/deep", "/d/moved", &key);
    put(c, "/d/through-c", &key, "c", 201);
    to_b.open();
    let wanted = listed(c, &key);
    let begun = Instant::now();
    while at_b.state != wanted {
        assert!(begun.elapsed() < SOON, "{:?} is not {wanted:?}", at_b.state);
        at_b.event();
    }
    assert_eq!(wanted, listed(a, &key));
    assert_eq!(wanted.len(), 4, "{wanted:?}");
    assert!(to_b.opened() > 1);

    // Each node has a log of its own: with the cursor of another it is told to list again, and goes on from there.
    let mut moved_on = Socket::begin(&runtime, address(c), Some(&key), Some(&at_b.cursor));
    let reset = moved_on.next();
    assert!(matches!(reset, Change::Reset { .. }), "{reset:?}");
    put(a, "/d/last", &key, "last", 201);
    moved_on.until("created", "last");
    runtime.shutdown_background();
}
