//! What is written through one node is read, listed, versioned, watched and deleted through every other, whichever two of five are gone.

use crate::blocks;
use crate::support::{Place, SOON, founded, soon};
use jsfs_testkit::http::{Client, Request};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

pub(crate) const HOST: &str = "shared.example";

/// A request with a credential, or without one.
pub(crate) fn ask(
    place: &Place,
    method: &'static str,
    path: &str,
    key: Option<&str>,
    body: &[u8],
) -> (u16, Vec<u8>) {
    let request = Request::new(method, path).header("Host", HOST);
    let request = key.into_iter().fold(request, |request, key| request.bearer(key));
    let request = if body.is_empty() { request } else { request.body(body) };
    let answer = Client::new(place.node.as_ref().unwrap().address()).send(&request).unwrap();
    (answer.status, answer.body)
}

fn get(place: &Place, path: &str, key: &str) -> (u16, String) {
    let (status, body) = ask(place, "GET", path, Some(key), &[]);
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn put(place: &Place, path: &str, key: &str, body: &str) -> u16 {
    ask(place, "PUT", path, Some(key), body.as_bytes()).0
}

pub(crate) fn names(place: &Place, path: &str, key: Option<&str>) -> Vec<String> {
    let (status, body) = ask(place, "GET", path, key, &[]);
    assert_eq!(status, 200, "{path}: {}\n{}", String::from_utf8_lossy(&body), place.log());
    let listed: Value = serde_json::from_slice(&body).unwrap();
    let entries = listed["entries"].as_array().unwrap_or_else(|| panic!("{listed}"));
    entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

/// Everything that this node has asked others since its start.
fn asked(place: &Place) -> (u64, u64) {
    let status = place.status();
    let count = |of: &str, what: &str| status[of][what].as_u64().unwrap();
    (count("records", "asked") + count("blocks", "questions"), count("records", "bytes"))
}

/// What a node tells whoever watches something.
pub(crate) struct Watch(BufReader<TcpStream>);

impl Watch {
    pub(crate) fn begin(place: &Place, path: &str, key: &str) -> Watch {
        let mut stream = TcpStream::connect(place.node.as_ref().unwrap().address()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\nAccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut watch = Watch(BufReader::new(stream));
        watch.until("200 OK");
        watch
    }

    /// Waits for a line with this in it.
    pub(crate) fn until(&mut self, wanted: &str) {
        let begun = Instant::now();
        let mut told = String::new();
        while begun.elapsed() < SOON {
            let mut line = String::new();
            let read = self.0.read_line(&mut line);
            assert!(matches!(read, Ok(1..)), "no {wanted} in {told}: {read:?}");
            if line.contains(wanted) {
                return;
            }
            told.push_str(&line);
        }
        panic!("no {wanted} in {told}");
    }
}

/// So many nodes that see each other, and the key of a namespace that the first made.
pub(crate) fn together(home: &Path, count: usize) -> (Vec<Place>, String) {
    let mut places = vec![founded(home)];
    for number in 1..count {
        // Two that start again at once find each other where they were.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let listen = format!("federation.listen=/ip4/127.0.0.1/tcp/{port}");
        let place = Place::with(home, &format!("n{number}"), &[&listen]);
        place.run(&["join", &places[0].ticket(&["--space", "1"])]);
        places.push(place);
    }
    let begun = Instant::now();
    while !places.iter().all(|place| place.connected().len() == count) {
        std::thread::sleep(Duration::from_millis(50));
        let told = || places.iter().map(|place| format!("{:?}\n{}", place.connected(), place.log()));
        assert!(begun.elapsed() < SOON, "not all see all:\n{}", told().collect::<Vec<_>>().join("\n\n"));
    }
    soon("all have heard from all", || {
        places.iter().all(|place| place.status()["records"]["settled"] == true)
    });
    places[0].run(&["namespace", "add", HOST]);
    let key = places[0].setup.root_key();
    (places, key)
}

#[test]
fn what_one_node_was_given_another_serves_lists_and_deletes() {
    let home = tempfile::tempdir().unwrap();
    let (places, key) = together(home.path(), 2);
    let (first, second) = (&places[0], &places[1]);
    assert_eq!(put(first, "/a/b/hello", &key, "hello"), 201, "{}", first.log());
    // Before anything of it was asked for there: what a listing says is not what was read before.
    assert_eq!(names(second, "/", Some(&key)), ["a/"], "{}", second.log());
    assert_eq!(names(second, "/a/", Some(&key)), ["b/"]);
    assert_eq!(ask(first, "PUT", "/open/page?private=false", Some(&key), b"seen").0, 201);
    assert_eq!(names(second, "/open/", None), ["page"]);
    assert_eq!(names(second, "/", None), ["open/"], "a stranger sees what is public");
    assert_eq!(get(second, "/a/b/hello", &key), (200, "hello".to_owned()), "{}", second.log());
    assert_eq!(ask(second, "GET", "/a/b/hello", None, &[]).0, 404, "private by default");
    assert_eq!(get(second, "/a/b/other", &key).0, 404);
    assert_eq!(names(second, "/a/b/", Some(&key)), ["hello"]);
    assert_eq!(names(second, "/", Some(&key)), ["a/", "open/"]);

    assert_eq!(put(second, "/a/b/hello", &key, "again"), 200, "{}", second.log());
    assert_eq!(get(first, "/a/b/hello", &key), (200, "again".to_owned()), "{}", first.log());
    assert_eq!(ask(first, "DELETE", "/a/b/hello", Some(&key), &[]).0, 204);
    assert_eq!(get(second, "/a/b/hello", &key).0, 404);
    assert_eq!(put(second, "/a/b/hello", &key, "third"), 201, "{}", second.log());
    assert_eq!(get(first, "/a/b/hello", &key), (200, "third".to_owned()));
    let versions = ask(first, "GET", "/a/b/hello?versions", Some(&key), &[]);
    assert_eq!(versions.0, 200);
    let versions: Value = serde_json::from_slice(&versions.1).unwrap();
    assert_eq!(versions["versions"].as_array().unwrap().len(), 4, "{versions}");
}

#[test]
fn authority_is_the_same_at_every_node_and_what_changes_it_counts_there_at_once() {
    let home = tempfile::tempdir().unwrap();
    let (places, key) = together(home.path(), 2);
    let (first, second) = (&places[0], &places[1]);
    let send = |place: &Place, request: Request<'_>| {
        let request = request.header("Host", HOST).bearer(&key);
        Client::new(place.node.as_ref().unwrap().address()).send(&request).unwrap().status
    };

    // What was public and is private is nobody else's any more, and the other way round.
    assert_eq!(ask(first, "PUT", "/page?private=false", Some(&key), b"seen").0, 201);
    assert_eq!(ask(second, "GET", "/page", None, &[]), (200, b"seen".to_vec()));
    assert_eq!(ask(first, "PUT", "/page?private=true", Some(&key), b"hidden").0, 200, "{}", first.log());
    assert_eq!(ask(second, "GET", "/page", None, &[]).0, 404, "{}", second.log());
    assert_eq!(names(second, "/", Some(&key)), ["page"]);
    assert_eq!(get(second, "/page", &key), (200, "hidden".to_owned()), "{}", second.log());
    assert_eq!(ask(second, "PUT", "/page?private=false", Some(&key), b"shown").0, 200, "{}", second.log());
    assert_eq!(ask(first, "GET", "/page", None, &[]), (200, b"shown".to_vec()));

    // Each adds to what the other made.
    assert_eq!(put(first, "/log/file", &key, "one\n"), 201);
    for (place, line) in [(second, "two\n"), (first, "three\n"), (second, "four\n")] {
        assert_eq!(
            ask(place, "PUT", "/log/file?append=true", Some(&key), line.as_bytes()).0,
            200,
            "{}",
            place.log()
        );
    }
    assert_eq!(get(first, "/log/file", &key), (200, "one\ntwo\nthree\nfour\n".to_owned()));
    let typed = Request::new("PATCH", "/log/file").header("Content-Type", "application/json");
    assert_eq!(send(second, typed.body(br#"{"content_type":"text/plain"}"#)), 204, "{}", second.log());
    let moved = Request::new("MOVE", "/log/file").header("Destination", "/log/moved");
    assert!([201, 204].contains(&send(first, moved)), "{}", first.log());
    assert_eq!(get(second, "/log/file", &key).0, 404);
    assert_eq!(get(second, "/log/moved", &key).1, "one\ntwo\nthree\nfour\n", "{}", second.log());
    assert_eq!(names(second, "/log/", Some(&key)), ["moved"]);

    // A token opens what it is for wherever it is shown, until it is taken back anywhere.
    let address = "/example.shared/log/";
    let token = first.run(&["share", address, "--allow", "get,list,put"]);
    let token = token["token"].as_str().unwrap_or_else(|| panic!("{token}")).to_owned();
    assert_eq!(get(second, "/log/moved", &token).1, "one\ntwo\nthree\nfour\n", "{}", second.log());
    assert_eq!(put(second, "/log/by-token", &token, "token"), 201, "{}", second.log());
    assert_eq!(get(first, "/log/by-token", &key), (200, "token".to_owned()), "{}", first.log());
    assert_eq!(names(first, "/log/", Some(&key)), ["by-token", "moved"]);
    assert_eq!(put(second, "/page", &token, "beyond it"), 401, "not beyond it");
    first.run(&["revoke", &token, address]);
    assert_ne!(get(second, "/log/moved", &token).0, 200, "it was taken back at the other node");
}

pub(crate) fn bodies_of_versions(place: &Place, path: &str, key: &str) -> Vec<String> {
    let (status, told) = ask(place, "GET", &format!("{path}?versions"), Some(key), &[]);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&told));
    let told: Value = serde_json::from_slice(&told).unwrap();
    let versions = told["versions"].as_array().unwrap().iter();
    let numbers =
        versions.filter(|version| version["deleted"] != true).map(|version| version["version"].clone());
    numbers.map(|number| get(place, &format!("{path}?version={number}"), key).1).collect()
}

#[test]
fn five_nodes_are_one_whichever_two_are_gone_and_join_again_what_was_cut_in_two() {
    let home = tempfile::tempdir().unwrap();
    let (mut places, key) = together(home.path(), 5);
    assert_eq!(put(&places[0], "/d/one", &key, "one"), 201, "{}", places[0].log());
    assert_eq!(ask(&places[2], "PUT", "/d/open?private=false", Some(&key), b"for all").0, 201);
    for place in &places {
        assert_eq!(get(place, "/d/one", &key), (200, "one".to_owned()), "{}", place.log());
        assert_eq!(ask(place, "GET", "/d/open", None, &[]), (200, b"for all".to_vec()), "{}", place.log());
        assert_eq!(names(place, "/d/", Some(&key)), ["one", "open"]);
        assert_eq!(names(place, "/d/", None), ["open"], "strangers see what is public");
    }

    // What was read is here, and who has it would say if it were not so any more.
    let before = asked(&places[4]);
    assert_eq!(get(&places[4], "/d/one", &key), (200, "one".to_owned()));
    assert_eq!(names(&places[4], "/d/", Some(&key)), ["one", "open"]);
    assert_eq!(asked(&places[4]), before, "the second read asks nobody");

    // A change through one is told by another, and seen there at once.
    let mut watch = Watch::begin(&places[3], "/d/", &key);
    assert_eq!(put(&places[1], "/d/two", &key, "two"), 201);
    assert_eq!(get(&places[4], "/d/two", &key), (200, "two".to_owned()));
    watch.until("/d/two");
    assert_eq!(put(&places[2], "/d/one", &key, "one again"), 200);
    assert_eq!(get(&places[4], "/d/one", &key), (200, "one again".to_owned()), "what was cached is given up");
    watch.until("/d/one");
    drop(watch);

    // A condition holds for all of them.
    let request = |place: &Place, tag: &str, body: &str| {
        let request = Request::new("PUT", "/d/one").header("Host", HOST).bearer(&key).header("If-Match", tag);
        Client::new(place.node.as_ref().unwrap().address())
            .send(&request.body(body.as_bytes()))
            .unwrap()
            .status
    };
    let head = Request::new("HEAD", "/d/one").header("Host", HOST).bearer(&key);
    let head = Client::new(places[3].node.as_ref().unwrap().address()).send(&head).unwrap();
    let tag = head.header("etag").unwrap().to_owned();
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..4)
            .map(|at| {
                let (place, tag, request) = (&places[at], &tag, &request);
                scope.spawn(move || request(place, tag, &format!("by {at}")))
            })
            .collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|status| [200, 412].contains(status)), "{answers:?}");

    // Any two go at once, the writer among them.
    assert_eq!(put(&places[0], "/d/three", &key, "three"), 201);
    places[0].kill();
    places[1].kill();
    for place in &places[2..] {
        for (path, body) in [("/d/two", "two"), ("/d/three", "three")] {
            soon("an acknowledged write is read", || get(place, path, &key) == (200, body.to_owned()));
        }
    }
    assert_eq!(
        put(&places[2], "/d/four", &key, "four"),
        201,
        "three of five are enough\n{}",
        places[2].log()
    );
    places[0].start();
    places[1].start();
    for place in &places[..2] {
        soon("who was away has it", || get(place, "/d/four", &key) == (200, "four".to_owned()));
    }

    // Cut in two: three that go on, and two that keep what they are given.
    places[3].kill();
    places[4].kill();
    soon("the greater part goes on", || put(&places[0], "/d/two", &key, "two of three") == 200);
    (0..3).for_each(|at| places[at].kill());
    places[3].start();
    places[4].start();
    soon("the lesser part sees itself", || places[3].connected().len() == 2);
    assert_eq!(put(&places[3], "/d/two", &key, "two of two"), 202, "{}", places[3].log());
    assert_eq!(get(&places[3], "/d/two", &key), (200, "two of two".to_owned()));
    (0..3).for_each(|at| places[at].start());
    for place in &places {
        soon("all serve the same", || get(place, "/d/two", &key) == (200, "two of two".to_owned()));
        soon("both are kept, and what they were made from", || {
            let mut bodies = bodies_of_versions(place, "/d/two", &key);
            bodies.sort();
            bodies == ["two", "two of three", "two of two"]
        });
    }
}

#[test]
fn a_namespace_that_is_named_by_its_key_needs_no_grant_and_is_nobody_elses() {
    let home = tempfile::tempdir().unwrap();
    let (places, _) = together(home.path(), 2);
    let (admin, member) = (&places[0], &places[1]);
    let made = member.run(&["namespace", "add"]);
    let (name, host) = (made["name"].as_str().unwrap(), made["host"].as_str().unwrap());
    let key = member.setup.root_key();
    let ask = |place: &Place, method: &'static str, path: &str, key: &str, body: &[u8]| {
        let request = Request::new(method, path).header("Host", host).bearer(key);
        let request = if body.is_empty() { request } else { request.body(body) };
        Client::new(place.node.as_ref().unwrap().address()).send(&request).unwrap()
    };
    assert_eq!(ask(member, "PUT", "/mine", &key, b"mine").status, 201, "{}", member.log());
    let read = ask(admin, "GET", "/mine", &key, &[]);
    assert_eq!((read.status, read.text()), (200, "mine".to_owned()), "{}", admin.log());
    assert_eq!(ask(admin, "PUT", "/other", &admin.setup.root_key(), b"theirs").status, 401);
    let again = member.run(&["namespace", "add"]);
    assert_eq!((again["name"].as_str(), &again["created"]), (Some(name), &Value::Bool(false)));

    // Whoever may grant names that anybody can have cannot grant one that is a key.
    let other = admin.run(&["namespace", "add"]);
    assert_ne!(other["name"].as_str(), Some(name), "another key has another name");
    let told = admin.try_run(&["namespace", "set", host, "--public"]).unwrap_err().1;
    assert!(told.contains("the access key of this namespace"), "{told}");
}

#[test]
fn many_who_write_the_same_into_a_new_directory_at_once_are_all_answered_in_full() {
    const WRITERS: usize = 48;
    let home = tempfile::tempdir().unwrap();
    let (places, key) = together(home.path(), 2);
    for (name, private, body) in [("open/", false, "x"), ("shut/", true, "x"), ("open/again-", false, "same")]
    {
        let ready = Barrier::new(WRITERS);
        let answers: Vec<u16> = std::thread::scope(|scope| {
            let writer = |number: usize| {
                let (ready, key, place) = (&ready, &key, &places[number % 2]);
                scope.spawn(move || {
                    let path = format!("/{name}{number}?private={private}");
                    let request = Request::new("PUT", &path).header("Host", HOST).bearer(key);
                    let request = request.body(body.as_bytes());
                    ready.wait();
                    Client::new(place.node.as_ref().unwrap().address()).send(&request).unwrap().status
                })
            };
            let tasks: Vec<_> = (0..WRITERS).map(writer).collect();
            tasks.into_iter().map(|task| task.join().unwrap()).collect()
        });
        assert!(answers.iter().all(|status| *status == 201), "{answers:?}\n{}", places[0].log());
    }
    for place in &places {
        let records = &place.status()["records"];
        assert_eq!((&records["kept"], &records["waiting"]), (&Value::from(0), &Value::from(0)));
        assert_eq!(blocks::count(place, "short"), 0, "{}", place.log());
        assert_eq!(names(place, "/open/", None).len(), 2 * WRITERS);
        assert_eq!(names(place, "/shut/", Some(&key)).len(), WRITERS);
        assert_eq!(names(place, "/", Some(&key)), ["open/", "shut/"]);
    }
}

/// The first figure of a node whose line begins so.
pub(crate) fn metric(place: &Place, name: &str) -> Option<u64> {
    let (status, body) = ask(place, "GET", "/.jsfs/metrics", Some(&place.setup.root_key()), &[]);
    assert_eq!(status, 200);
    let text = String::from_utf8(body).unwrap();
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Commits of a node since its start.
fn commits(place: &Place) -> u64 {
    metric(place, "jsfs_store_commits_total ").expect("a node has commits")
}

#[test]
fn a_directory_is_taken_in_with_few_commits_whoever_may_see_it() {
    const COUNT: usize = 300;
    let home = tempfile::tempdir().unwrap();
    let (places, key) = together(home.path(), 2);
    let (first, second) = (&places[0], &places[1]);
    for number in 0..COUNT {
        let path = format!("/wide/{number:03}?private={}", number % 2 == 0);
        assert_eq!(put(first, &path, &key, "x"), 201, "{}", first.log());
    }
    // Changed and deleted ones are listed as they are.
    assert_eq!(put(first, "/wide/007", &key, "y"), 200);
    assert_eq!(ask(first, "DELETE", "/wide/008", Some(&key), &[]).0, 204);
    let before = commits(second);
    assert_eq!(names(second, "/wide/", Some(&key)).len(), COUNT - 1, "{}", second.log());
    let taken = commits(second) - before;
    eprintln!("{taken} commits for {COUNT} names");
    assert!(taken < 60, "{taken} commits");
    assert_eq!(get(second, "/wide/007", &key), (200, "y".to_owned()));
    assert_eq!(get(second, "/wide/009", &key), (200, "x".to_owned()));
    assert_eq!(get(second, "/wide/008", &key).0, 404);
    assert_eq!(names(second, "/wide/", None).len(), COUNT / 2, "a stranger sees what is public");
}
