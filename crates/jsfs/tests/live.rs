//! Nothing is missed: a client whose connection is cut at random while others change things ends with exactly the node's state, and has heard of
//! every change at least once and in order.
//!
//! `JSFS_LIVE_CUTS` and `JSFS_LIVE_CHANGES` set how often and how much (1,000 and 20,000 are the long run). The node is killed and started again in
//! the middle.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test program throughout")]

use jsfs_client::{Address, Change, Client, Credential, Event, NodeUrl, Reference};
use jsfs_testkit::http::{Client as Http, Request};
use jsfs_testkit::node::Setup;
use jsfs_testkit::proxy::Proxy;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The mean time between two cuts.
const BETWEEN_CUTS: Duration = Duration::from_millis(100);

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Writes, overwrites and deletes; the last change is the marker `done`.
fn change(node: SocketAddr, key: &str, writer: usize, changes: usize, pause: Duration) {
    let mut http = Http::new(node);
    for number in 0..changes {
        let target = format!("/t/{writer}/{}", number * 7 % 48);
        let body = format!("{writer} {number}");
        let method = if number % 5 == 4 { "DELETE" } else { "PUT" };
        // The node is away for a moment: what was not answered is tried again.
        loop {
            let request = Request::new(method, &target).bearer(key).body(body.as_bytes());
            match http.send(&request) {
                Ok(answer) if matches!(answer.status, 200 | 201 | 204 | 404) => break,
                Ok(answer) if answer.status == 503 => {}
                Ok(answer) => panic!("{method} {target}: {} {}", answer.status, answer.text()),
                Err(_) => http = Http::new(node),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(pause);
    }
}

fn apply(state: &mut BTreeMap<String, String>, event: &Event) {
    match event.kind.as_str() {
        "deleted" => drop(state.remove(&event.address)),
        // A version that is gone by now is followed by the event that tells so.
        _ => drop(event.etag.clone().map(|etag| state.insert(event.address.clone(), etag))),
    }
}

fn client(node: SocketAddr, key: &str) -> Client {
    let node: NodeUrl = format!("http://{node}").parse().unwrap();
    Client::new(node, Some(Credential::parse(key).unwrap())).unwrap()
}

/// Follows the tree until the marker comes.
async fn follow(
    client: Client,
    top: Address,
    since: Option<String>,
    begun: impl FnOnce() + Send,
) -> Vec<Event> {
    let mut changes = client.watch(&top, since);
    let mut begun = Some(begun);
    let mut events = Vec::new();
    loop {
        match changes.next().await.unwrap() {
            Change::Begun { .. } => {
                if let Some(begun) = begun.take() {
                    begun();
                }
            }
            Change::Event(event) if event.address.ends_with("/done") => return events,
            Change::Event(event) => events.push(*event),
            Change::Reset { cursor } => panic!("the log reaches back, but was reset to {cursor}"),
        }
    }
}

#[test]
fn a_client_that_is_cut_off_again_and_again_misses_nothing() {
    let (cuts, changes) = (setting("JSFS_LIVE_CUTS", 25), setting("JSFS_LIVE_CHANGES", 1_000));
    let writers = 4;
    // The changes go on for about as long as the cuts do.
    let pause = (BETWEEN_CUTS * 2).mul_f64(cuts as f64 / (changes / writers) as f64);
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data")).set("log.level=error");
    let node = setup.start();
    let (address, key) = (node.address(), setup.root_key());
    let setup = setup.port(address.port());
    let (proxy, proxied) = Proxy::start(address).unwrap();
    let top = Reference::parse("/localhost/t/").unwrap().address;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (begun, ready) = std::sync::mpsc::sync_channel(1);
    let following =
        runtime.spawn(follow(client(proxied, &key), top.clone(), None, move || begun.send(()).unwrap()));
    ready.recv_timeout(Duration::from_secs(30)).expect("the watch begins");

    let finished = AtomicBool::new(false);
    let made = std::thread::scope(|scope| {
        let cutter = scope.spawn(|| {
            let mut made = 0;
            while made < cuts && !(finished.load(Ordering::Relaxed) && made >= cuts / 2) {
                // Long enough for a handshake most times, short enough to hit one sometimes.
                std::thread::sleep(BETWEEN_CUTS.mul_f64(0.2 + (made % 9) as f64 / 5.0));
                made += usize::from(proxy.cut());
            }
            made
        });
        let restarting = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            node.kill();
            setup.start()
        });
        let work: Vec<_> = (0..writers)
            .map(|writer| {
                scope.spawn({
                    let key = &key;
                    move || change(address, key, writer, changes / writers, pause)
                })
            })
            .collect();
        work.into_iter().for_each(|writer| writer.join().unwrap());
        finished.store(true, Ordering::Relaxed);
        let made = cutter.join().unwrap();
        (made, restarting.join().unwrap())
    });
    let (made, node) = made;
    let mut http = Http::new(address);
    let done = http.send(&Request::new("PUT", "/t/done").bearer(&key).body(b"done")).unwrap();
    assert_eq!(done.status, 201, "{}", done.text());

    let seen = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), following).await });
    let seen = seen.expect("the marker comes").unwrap();
    let log = runtime.block_on(follow(client(address, &key), top, Some("0".to_owned()), || ()));
    let cursors = |events: &[Event]| events.iter().map(|event| event.cursor.clone()).collect::<Vec<_>>();
    assert_eq!(cursors(&seen), cursors(&log), "every change of the log, in its order");
    let mut state = BTreeMap::new();
    seen.iter().for_each(|event| apply(&mut state, event));
    let listing =
        http.send(&Request::new("GET", "/t/?recursive=true&limit=10000").bearer(&key)).unwrap().json();
    let there: BTreeMap<String, String> = listing["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["name"] != "done")
        .map(|entry| {
            (
                format!("/localhost/t/{}", entry["name"].as_str().unwrap()),
                entry["etag"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(state, there, "the state of the node");
    eprintln!(
        "{} changes, {made} cuts, {} connections: every change seen, in order, and the same state",
        log.len(),
        proxy.opened()
    );
    assert!(made >= cuts / 2, "the connection was cut often enough");
    drop(node);
}
