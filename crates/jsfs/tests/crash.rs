//! `kill -9` at random moments while clients write: what was answered is there afterwards, whole, and the store checks clean.
//!
//! Each writer owns its objects, so it knows for each what it must hold: the state of the last answered write, or, for the one
//! request that went unanswered, either that or what the request would have made. `JSFS_CRASH_ROUNDS` says how many kills
//! (ten unless it is set), `JSFS_SEED` repeats a run's choices.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test program throughout")]

use jsfs_store::{OpenOptions, Store, Table, block};
use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::node::{Node, Setup};
use jsfs_testkit::random::Random;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const ROUNDS_DEFAULT: usize = 10;
/// A store serves this many rounds; then a new one begins, so that checking it stays quick.
const ROUNDS_PER_STORE: usize = 25;
const WRITERS: u64 = 8;
const OBJECTS_PER_WRITER: u64 = 6;

/// Bytes made from a seed, so that contents need not be kept: one in four is random, the others are a text that a few words were put into, so that they are
/// stored as deltas of each other.
#[derive(Clone, Debug, PartialEq)]
struct Piece {
    seed: u64,
    length: usize,
}

impl Piece {
    fn bytes(&self) -> Vec<u8> {
        let mut own = Random::seeded(self.seed);
        if self.seed.is_multiple_of(4) {
            return own.bytes(self.length);
        }
        let mut random = Random::seeded(0);
        let mut text = Vec::with_capacity(self.length + 16);
        while text.len() < self.length {
            text.extend_from_slice(format!("{:x} ", random.bits()).as_bytes());
            if own.within(0..2_000) == 0 {
                text.extend_from_slice(format!("{:x} ", own.bits()).as_bytes());
            }
        }
        text.truncate(self.length);
        text
    }
}

/// What an object holds: pieces one after the other, by appending; `None` where there is no object.
type Content = Option<Vec<Piece>>;

fn bytes_of(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().flat_map(Piece::bytes).collect()
}

struct Object {
    path: String,
    private: bool,
    /// As the last answer said.
    certain: Content,
    /// What it may hold as well, because a request went unanswered.
    possible: Option<Content>,
    /// Versions that were answered since the object was last deleted.
    versions: Vec<(u64, Content)>,
}

struct Writer {
    random: Random,
    objects: Vec<Object>,
    key: String,
}

impl Writer {
    fn new(number: u64, seed: u64, key: &str) -> Writer {
        let objects = (0..OBJECTS_PER_WRITER)
            .map(|object| Object {
                path: format!("/crash/{number}/{object}"),
                private: object % 2 == 0,
                certain: None,
                possible: None,
                versions: Vec::new(),
            })
            .collect();
        Writer { random: Random::seeded(seed ^ number), objects, key: key.to_owned() }
    }

    fn new_piece(&mut self) -> Piece {
        let length = match self.random.within(0..100) {
            0..70 => self.random.within(0..4_096),
            70..95 => self.random.within(4_096..300_000),
            _ => self.random.within(300_000..3_000_000),
        };
        Piece { seed: self.random.bits(), length: usize::try_from(length).unwrap() }
    }

    /// Writes, overwrites, appends, deletes and reads until the node is gone.
    fn work(&mut self, node: SocketAddr, answered: &AtomicUsize) {
        let mut client = Client::new(node);
        loop {
            let chosen = usize::try_from(self.random.within(0..OBJECTS_PER_WRITER)).unwrap();
            let exists = self.objects[chosen].certain.is_some();
            let went = match self.random.within(0..100) {
                0..12 if exists => self.delete(&mut client, chosen),
                12..32 if exists => self.append(&mut client, chosen),
                32..42 => read_back(&mut client, &self.key, &self.objects[chosen]),
                _ => self.put(&mut client, chosen),
            };
            match went {
                Ok(()) => answered.fetch_add(1, Ordering::Relaxed),
                Err(_) => return,
            };
        }
    }

    fn put(&mut self, client: &mut Client, chosen: usize) -> std::io::Result<()> {
        let content = vec![self.new_piece()];
        let object = &mut self.objects[chosen];
        let target = format!("{}?private={}", object.path, object.private);
        let expected = if object.certain.is_some() { 200 } else { 201 };
        write(client, &self.key, object, "PUT", &target, &bytes_of(&content), Some(content.clone()), expected)
    }

    fn append(&mut self, client: &mut Client, chosen: usize) -> std::io::Result<()> {
        let piece = Piece {
            length: usize::try_from(self.random.within(1..9_000)).unwrap(),
            seed: self.random.bits(),
        };
        let object = &mut self.objects[chosen];
        let body = bytes_of(std::slice::from_ref(&piece));
        let mut content = object.certain.clone().unwrap_or_default();
        content.push(piece);
        let target = format!("{}?append=true", object.path);
        write(client, &self.key, object, "PUT", &target, &body, Some(content), 200)
    }

    fn delete(&mut self, client: &mut Client, chosen: usize) -> std::io::Result<()> {
        let object = &mut self.objects[chosen];
        let target = object.path.clone();
        write(client, &self.key, object, "DELETE", &target, &[], None, 204)?;
        object.versions.clear();
        Ok(())
    }

    /// After a restart: each object holds what it must, or what the unanswered request would have made of it; never a mixture.
    fn verify(&mut self, node: SocketAddr) {
        let mut client = Client::new(node);
        for object in &mut self.objects {
            let found = get(&mut client, &self.key, &object.path).unwrap();
            if let Some(possible) = object.possible.take()
                && !holds(&found, &object.certain)
                && holds(&found, &possible)
            {
                object.certain = possible;
                object.versions.clear();
            }
            assert!(holds(&found, &object.certain), "{}", described(object, &found));
            for (version, content) in object.versions.iter().rev().take(3) {
                let target = format!("{}?version={version}", object.path);
                let found = get(&mut client, &self.key, &target).unwrap();
                assert!(holds(&found, content), "version {version} of {}", described(object, &found));
            }
        }
    }
}

/// Sends one write and takes note of what it changes: at once what may be, with the answer what is.
#[expect(clippy::too_many_arguments, reason = "the parts of one request and what it should bring about")]
fn write(
    client: &mut Client,
    key: &str,
    object: &mut Object,
    method: &str,
    target: &str,
    body: &[u8],
    becomes: Content,
    expected: u16,
) -> std::io::Result<()> {
    object.possible = Some(becomes.clone());
    let answer = client.send(&Request::new(method, target).bearer(key).body(body))?;
    assert_eq!(answer.status, expected, "{method} {target}: {}", answer.text());
    object.possible = None;
    object.certain = becomes;
    if let Some(version) = answer.json()["version"].as_u64() {
        object.versions.push((version, object.certain.clone()));
    }
    Ok(())
}

fn get(client: &mut Client, key: &str, target: &str) -> std::io::Result<Answer> {
    client.send(&Request::new("GET", target).bearer(key))
}

fn read_back(client: &mut Client, key: &str, object: &Object) -> std::io::Result<()> {
    let found = get(client, key, &object.path)?;
    assert!(holds(&found, &object.certain), "{}", described(object, &found));
    Ok(())
}

fn holds(found: &Answer, content: &Content) -> bool {
    match content {
        None => found.status == 404,
        Some(pieces) => found.status == 200 && found.body == bytes_of(pieces),
    }
}

fn described(object: &Object, found: &Answer) -> String {
    let lengths =
        object.certain.as_ref().map(|pieces| pieces.iter().map(|piece| piece.length).collect::<Vec<_>>());
    format!(
        "{} must hold {lengths:?} (private: {}), found {} with {} bytes",
        object.path,
        object.private,
        found.status,
        found.body.len()
    )
}

/// Runs `work` for every writer at once.
fn together(writers: &mut [Writer], work: impl Fn(&mut Writer) + Sync) {
    std::thread::scope(|scope| {
        for writer in writers {
            scope.spawn(|| work(writer));
        }
    });
}

/// Lets the writers write, kills the node under them, and says how many requests had been answered.
fn write_until_killed(node: Node, writers: &mut [Writer], after: Duration) -> usize {
    let answered = AtomicUsize::new(0);
    let address = node.address();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(after);
            node.kill();
        });
        together(writers, |writer| writer.work(address, &answered));
    });
    answered.into_inner()
}

/// One kill (sometimes a second during the recovery), then everything is compared, stopped and checked.
fn round(setup: &Setup, node: Node, writers: &mut [Writer], random: &mut Random) -> usize {
    let after = Duration::from_millis(random.within(5..700));
    let answered = write_until_killed(node, writers, after);
    while random.chance(25) {
        let starting = setup.spawn();
        std::thread::sleep(Duration::from_millis(random.within(0..60)));
        starting.kill();
    }
    let node = setup.start();
    together(writers, |writer| writer.verify(node.address()));
    assert!(node.stop().success(), "the node ends with status 0 when it is told to stop");
    let check = setup.check();
    let (said, errors) = (String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
    assert_eq!(check.status.code(), Some(0), "jsfs check: {said}{errors}");
    answered
}

/// Deltas that entries of the store need, in the tables of objects and their versions, clear ones and sealed ones; each with its base.
fn deltas(data: &Path) -> [usize; 2] {
    let store = Store::open(OpenOptions::directory(data, &[]).unwrap()).unwrap();
    let mut counts = [0; 2];
    for row in [Table(1), Table(2)].into_iter().flat_map(|table| store.scan(table, ..)) {
        for id in row.unwrap().1.references {
            let stored = store.block(&id).unwrap();
            let Some((kind, base, _)) = block::split_delta(&stored).unwrap() else { continue };
            counts[usize::from(kind == block::Kind::SealedDelta)] += 1;
            store.block(&base).unwrap();
        }
    }
    store.close().unwrap();
    counts
}

#[test]
fn a_write_that_was_answered_survives_kill_9() {
    let rounds = std::env::var("JSFS_CRASH_ROUNDS").map_or(ROUNDS_DEFAULT, |text| text.parse().unwrap());
    let seed = Random::seed_of_this_run();
    eprintln!("{rounds} kills, JSFS_SEED={seed}");
    let mut random = Random::seeded(seed);
    let (mut done, mut answered, mut written) = (0, 0, [0; 2]);
    while done < rounds {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data"));
        let mut node = setup.start();
        let store_seed = random.bits();
        let mut writers: Vec<Writer> =
            (0..WRITERS).map(|number| Writer::new(number, store_seed, &setup.root_key())).collect();
        for _ in 0..ROUNDS_PER_STORE.min(rounds - done) {
            answered += round(&setup, node, &mut writers, &mut random);
            done += 1;
            node = setup.start();
        }
        node.kill();
        let [clear, sealed] = deltas(setup.data());
        written = [written[0] + clear, written[1] + sealed];
        eprintln!(
            "{done} kills, {answered} requests answered before them, none lost, none torn; {clear} clear and {sealed} sealed deltas left"
        );
    }
    let [clear, sealed] = written;
    assert!(clear > 0 && sealed > 0 && clear + sealed > rounds, "only {written:?} deltas in {rounds} rounds");
    assert!(answered > rounds * 10, "only {answered} requests were answered in {rounds} rounds");
}
