//! A write that was answered is readable elsewhere when its node dies at once, wherever its blocks came from: also those that this node had before for
//! something that is not shared.

use crate::blocks::count;
use crate::records::{HOST, ask, together};
use crate::support::{Place, soon};
use jsfs_testkit::http::{Client, Request};
use jsfs_testkit::random::Random;
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Text of so many words that does compress, and begins and changes like every text of the same seed.
fn text(seed: u64, words: u64, changed_every: u64) -> Vec<u8> {
    let random = Random::seeded(seed).bytes(usize::try_from(words).unwrap() * 3);
    let word = |(at, bytes): (u64, &[u8])| match changed_every > 0 && at % changed_every == 7 {
        true => format!("changed-{at} "),
        false => format!("{:02x}{:02x}{:02x} ", bytes[0], bytes[1], bytes[2]),
    };
    (0..).zip(random.chunks(3)).map(word).collect::<String>().into_bytes()
}

/// Something public of this machine alone.
fn put_alone(place: &Place, path: &str, body: &[u8]) {
    let key = place.setup.root_key();
    let request = Request::new("PUT", path).header("Host", "localhost").bearer(&key).body(body);
    assert_eq!(Client::new(place.node.as_ref().unwrap().address()).send(&request).unwrap().status, 201);
}

/// An upload in two requests; answers with the status of the last.
fn put_in_pieces(place: &Place, path: &str, key: &str, body: &[u8]) -> u16 {
    let mut client = Client::new(place.node.as_ref().unwrap().address());
    let tus = |method, path| {
        Request::new(method, path).header("Host", HOST).bearer(key).header("Tus-Resumable", "1.0.0")
    };
    let length = body.len().to_string();
    let begun = client.send(&tus("POST", path).header("Upload-Length", &length)).unwrap();
    let location = begun.header("location").unwrap().to_owned();
    let (mut offset, mut status) = (0, begun.status);
    for piece in body.chunks(body.len() / 2 + 1) {
        let request = tus("PATCH", &location).header("Content-Type", "application/offset+octet-stream");
        let at = offset.to_string();
        status = client.send(&request.header("Upload-Offset", &at).body(piece)).unwrap().status;
        offset += piece.len();
    }
    status
}

#[test]
fn what_rests_on_what_was_here_before_is_elsewhere_before_it_is_answered() {
    let home = tempfile::tempdir().unwrap();
    let (mut places, key) = together(home.path(), 4);
    let (same, base) = (text(1, 40_000, 0), text(2, 40_000, 0));
    put_alone(&places[0], "/same?private=false", &same);
    put_alone(&places[0], "/base?private=false", &base);
    let (first, pieces) = (&places[0], Random::seeded(3).bytes(700_000));
    // One word of a thousand is another: deltas, whose bases nobody else has.
    let like = text(2, 40_000, 1_000);
    let longer = [&same[..], b"and more"].concat();
    assert_eq!(ask(first, "PUT", "/same?private=false", Some(&key), &same).0, 201);
    assert_eq!(ask(first, "PUT", "/like?private=false", Some(&key), &like).0, 201);
    assert_eq!(put_in_pieces(first, "/pieces?private=false", &key, &pieces), 204);
    assert_eq!(ask(first, "POST", "/same?append=true", Some(&key), b"and more").0, 200);
    let asked = count(first, "questions");
    assert_eq!(ask(first, "PUT", "/again?private=false", Some(&key), &like).0, 201);
    let sent = count(first, "questions") - asked;
    assert!(sent <= 4, "{sent} questions for what all keepers have");
    let local = Request::new("COPY", "/base")
        .header("Host", "localhost")
        .bearer(&key)
        .header("Destination", "http://shared.example/copied");
    assert_eq!(Client::new(first.node.as_ref().unwrap().address()).send(&local).unwrap().status, 201);
    places[0].kill();
    let read =
        [("/same", &longer), ("/like", &like), ("/again", &like), ("/pieces", &pieces), ("/copied", &base)];
    let mut lost = Vec::new();
    for (path, wanted) in read {
        for place in &places[1..] {
            let (status, body) = ask(place, "GET", path, Some(&key), &[]);
            if status != 200 || body != *wanted {
                lost.push((path, status, body.len()));
            }
        }
    }
    assert!(lost.is_empty(), "answered, and not to be had: {lost:?}\n{}", places[1].log());
}

#[test]
fn members_that_stop_in_silence_delay_a_write_by_seconds_and_the_next_by_less() {
    let home = tempfile::tempdir().unwrap();
    let (places, key) = together(home.path(), 5);
    let first = &places[0];
    let put = |path: &str, seed| {
        let begun = Instant::now();
        let (status, _) = ask(first, "PUT", path, Some(&key), &Random::seeded(seed).bytes(200_000));
        (status, begun.elapsed())
    };
    assert_eq!(put("/before", 1).0, 201);
    let silent = &places[3..];
    silent.iter().for_each(|place| place.node.as_ref().unwrap().signal(Signal::STOP));
    let took: Vec<_> = (2..6).map(|seed| put(&format!("/silent-{seed}"), seed)).collect();
    silent.iter().for_each(|place| place.node.as_ref().unwrap().signal(Signal::CONT));
    eprintln!("two of five members silent: {took:?}");
    for (status, time) in took {
        assert_eq!(status, 201, "three of five have the record, and three the blocks");
        assert!(time < Duration::from_secs(20), "{time:?}");
    }
}

#[test]
fn whichever_two_of_five_are_killed_at_once_what_was_answered_is_read() {
    let home = tempfile::tempdir().unwrap();
    let (mut places, key) = together(home.path(), 5);
    let bodies: Vec<Vec<u8>> = (0..5).map(|seed| Random::seeded(seed).bytes(200_000)).collect();
    let pairs = (0..5).flat_map(|one| (one + 1..5).map(move |other| (one, other)));
    for (round, (one, other)) in pairs.enumerate() {
        for (at, body) in bodies.iter().enumerate() {
            let path = format!("/{round}-{at}?private={}", at % 2 == 0);
            assert_eq!(ask(&places[at], "PUT", &path, Some(&key), body).0, 201, "{}", places[at].log());
        }
        places[one].kill();
        places[other].kill();
        for place in places.iter().filter(|place| place.node.is_some()) {
            for (at, body) in bodies.iter().enumerate() {
                let path = format!("/{round}-{at}");
                soon("what was answered is read", || {
                    ask(place, "GET", &path, Some(&key), &[]) == (200, body.clone())
                });
            }
        }
        places[one].start();
        places[other].start();
        soon("all see all again", || places.iter().all(|place| place.connected().len() == 5));
    }
}
