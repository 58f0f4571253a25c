//! Programs that mean ill: each ends with the documented status in bounded time, takes nothing that it was not given, and leaves the node, the worker
//! and everybody else's requests as they were.
//!
//! The programs are in `hostile/`; the first line of each says what it tries and how that ends: a status, several where the engine decides
//! which bound is met first, or `cut` for an answer that breaks off. 422 is the answer to storing it. `JSFS_HOSTILE` names one to run alone.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test program throughout")]

use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::node::{Node, Setup};
use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the private file holds, and no answer may.
const SECRET: &str = "the secret that nobody was granted";
/// Longest time that a program may take from being stored to its answer: loading one may take 30 s, and here many do at once.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Hostile programs at the same time.
const ATTACKERS: usize = 6;
const GOOD: &str = "export default { fetch(request) { return new Response('well'); } };";

/// One test at a time: each takes all of the machine that it gets, and the others' bounds count while they wait.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Hostile {
    name: String,
    tries: String,
    expects: Vec<String>,
    source: Vec<u8>,
}

fn hostile() -> Vec<Hostile> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let only = std::env::var("JSFS_HOSTILE").ok();
    let all = files.into_iter().map(|path| {
        let source = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&source).into_owned();
        let first = text.lines().next().unwrap().to_owned();
        let (tries, expects) = first
            .strip_prefix("// Tries: ")
            .and_then(|rest| rest.strip_suffix('.'))
            .and_then(|rest| rest.split_once(". Expects: "))
            .unwrap_or_else(|| panic!("{}: the first line says what it tries and expects", path.display()));
        let expects = expects.split(" or ").map(str::to_owned).collect();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        Hostile { name, tries: tries.to_owned(), expects, source }
    });
    all.filter(|one| only.as_ref().is_none_or(|only| *only == one.name)).collect()
}

/// A node with low bounds, a private file, and a program that means well.
fn start(folder: &Path, settings: &[&str]) -> (Node, String) {
    let mut setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.join("data")).set("log.level=info");
    for setting in settings {
        setup = setup.set(setting);
    }
    let node = setup.start();
    let key = setup.root_key();
    let mut client = Client::new(node.address());
    put(&mut client, &key, "/secret.txt?private=true", "text/plain", SECRET.as_bytes());
    put(&mut client, &key, "/good.txt?private=false", "text/plain", b"well");
    let stored =
        put(&mut client, &key, "/good.js?executable=true&private=false", "text/javascript", GOOD.as_bytes());
    assert!(matches!(stored.status, 200 | 201), "{} {}", stored.status, stored.text());
    (node, key)
}

fn put(client: &mut Client, key: &str, target: &str, kind: &str, body: &[u8]) -> Answer {
    let request =
        Request::new("PUT", target).header("x-access-key", key).header("Content-Type", kind).body(body);
    client.send(&request).unwrap()
}

/// The workers of a node: its children, those first that were started first.
fn workers(node: &Node) -> Vec<u32> {
    let parent = format!("PPid:\t{}", node.pid());
    let is_child = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line == parent)
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut workers: Vec<u32> =
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_child).collect();
    workers.sort_unstable();
    workers
}

fn worker(node: &Node) -> Option<u32> {
    workers(node).first().copied()
}

fn kill(process: u32) {
    let process = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
}

/// Stores and runs one. Answers what went wrong, if something did.
fn attack(address: SocketAddr, key: &str, one: &Hostile) -> Result<String, String> {
    let mut client = Client::new(address);
    let begun = Instant::now();
    let target = format!("/{}.js?executable=true&private=false", one.name);
    let stored = put(&mut client, key, &target, "text/javascript", &one.source);
    let mut body = stored.text();
    let ended = if matches!(stored.status, 200 | 201) {
        match Client::new(address).send(&Request::new("GET", &format!("/{}.js", one.name))) {
            Ok(answer) => {
                body = answer.text();
                answer.status.to_string()
            }
            Err(_) => "cut".to_owned(),
        }
    } else {
        stored.status.to_string()
    };
    let took = begun.elapsed();
    let shown: String = body.chars().take(160).collect();
    if body.contains(SECRET) || body.contains("root:") {
        return Err(format!("it read what it may not: {shown}"));
    }
    // A run that has made way gets on by what others leave it: on a busy machine its time is over before its CPU time is.
    let is_late = ended == "504" && one.expects.iter().any(|expected| expected == "503");
    if !one.expects.contains(&ended) && !is_late {
        return Err(format!("{ended} instead of {}: {shown}", one.expects.join(" or ")));
    }
    if took > TIME_MAX {
        return Err(format!("{ended} after {took:?}"));
    }
    Ok(format!("{ended} in {} ms", took.as_millis()))
}

/// A client that means well: one request after the other until it is told to stop. Answers how long they took.
fn well(address: SocketAddr, target: &str, stop: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut client = Client::new(address);
    let mut times = Vec::new();
    while !stop(times.len()) {
        let begun = Instant::now();
        let answer = client.send(&Request::new("GET", target)).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "well"), "{target}");
        times.push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    times.sort();
    times
}

fn percentile(times: &[Duration], of_thousand: usize) -> Duration {
    times[(times.len() * of_thousand / 1_000).min(times.len() - 1)]
}

fn print(what: &str, times: &[Duration]) {
    let (half, most) = (percentile(times, 500), percentile(times, 990));
    eprintln!(
        "{what}: {} requests, p50 {half:?}, p99 {most:?}, most {:?}",
        times.len(),
        times.last().unwrap()
    );
}

const BOUNDS: [&str; 6] = [
    "programs.cpu_ms=150",
    "programs.wall_ms=10000",
    "programs.memory=24MiB",
    "programs.output=1MiB",
    "programs.requests=20",
    "programs.runs=16",
];

#[test]
fn programs_that_mean_ill_end_as_documented_and_harm_nobody() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let (node, key) = start(folder.path(), &BOUNDS);
    let address = node.address();
    let before = worker(&node).expect("a worker");
    for target in ["/good.txt", "/good.js"] {
        print(&format!("alone  {target}"), &well(address, target, |made| made >= 200));
    }
    let waiting: Mutex<VecDeque<Hostile>> = Mutex::new(hostile().into());
    let total = waiting.lock().unwrap().len();
    let failures = Mutex::new(Vec::new());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let beside = ["/good.txt", "/good.js"].map(|target| {
            let over = &over;
            scope.spawn(move || (target, well(address, target, |_| over.load(Ordering::Relaxed))))
        });
        let attackers: Vec<_> = (0..ATTACKERS)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let Some(one) = waiting.lock().unwrap().pop_front() else { return };
                        match attack(address, &key, &one) {
                            Ok(ended) => eprintln!("{:<24} {ended}", one.name),
                            Err(why) => {
                                eprintln!("{:<24} FAILED {why}", one.name);
                                failures.lock().unwrap().push(format!("{} ({}): {why}", one.name, one.tries));
                            }
                        }
                    }
                })
            })
            .collect();
        attackers.into_iter().for_each(|attacker| attacker.join().unwrap());
        over.store(true, Ordering::Relaxed);
        for client in beside {
            let (target, times) = client.join().unwrap();
            print(&format!("beside {target}"), &times);
            assert!(percentile(&times, 990) < Duration::from_secs(5), "{target} is answered beside them");
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {total}:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(worker(&node), Some(before), "no program ended the worker: {}", node.log_text());
    assert!(node.log_text().contains("behind its walls"), "the walls are told: {}", node.log_text());
}

#[test]
fn a_run_leaves_nothing_for_the_next_and_chance_does_not_repeat() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let (node, key) = start(folder.path(), &[]);
    let mut client = Client::new(node.address());
    for name in ["state-left", "chance-math"] {
        let source =
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/hostile/{name}.js")));
        let target = format!("/{name}.js?executable=true&private=false");
        put(&mut client, &key, &target, "text/javascript", &source.unwrap());
    }
    let mut ask = |name: &str| client.send(&Request::new("GET", &format!("/{name}.js"))).unwrap();
    let mut chances = std::collections::BTreeSet::new();
    for _ in 0..50 {
        assert_eq!(ask("state-left").status, 200, "a former run's globals are gone");
        let chance = ask("chance-math");
        assert_eq!(chance.status, 200);
        assert!(chances.insert(chance.body), "no two runs draw the same");
    }
}

#[test]
fn a_worker_that_dies_takes_its_runs_along_and_nothing_else() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let (node, key) = start(folder.path(), &[]);
    let address = node.address();
    let slow =
        "export default { async fetch() { await new Promise((resolve) => setTimeout(resolve, 20_000)); } };";
    let target = "/slow.js?executable=true&private=false";
    put(&mut Client::new(address), &key, target, "text/javascript", slow.as_bytes());
    let pid = worker(&node).expect("a worker");
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| Client::new(address).send(&Request::new("GET", "/slow.js")).unwrap()))
            .collect();
        std::thread::sleep(Duration::from_secs(2));
        kill(pid);
        for run in runs {
            let answer = run.join().unwrap();
            assert_eq!(answer.status, 502, "{}", answer.text());
        }
    });
    well(address, "/good.js", |made| made >= 5);
    assert_ne!(worker(&node), Some(pid), "another worker serves");
}

#[test]
fn a_program_that_takes_much_memory_runs_apart_and_its_worker_ends_at_rest() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let (node, key) = start(folder.path(), &[]);
    let mut client = Client::new(node.address());
    let large = "export default { fetch() { return new Response(String(new Uint8Array(32 << 20).fill(1).length)); } };";
    put(&mut client, &key, "/large.js?executable=true&private=false", "text/javascript", large.as_bytes());
    let mut run = |target: &str| {
        let answer = client.send(&Request::new("GET", target)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    run("/good.js");
    run("/large.js");
    let [first] = workers(&node)[..] else { panic!("nobody knows yet what it takes") };
    run("/large.js");
    let [_, apart] = workers(&node)[..] else { panic!("it runs apart") };
    kill(apart);
    wait_for("its end is noticed", || workers(&node) == [first]);
    run("/good.js");
    run("/large.js");
    assert_eq!((workers(&node).len(), worker(&node)), (2, Some(first)), "only one of them died");
    wait_for("the node rests", || workers(&node) == [first]);
    run("/large.js");
}

#[test]
fn a_client_that_leaves_a_stream_ends_its_run() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let (node, key) =
        start(folder.path(), &["programs.runs=2", "programs.wall_ms=120000", "programs.output=1TiB"]);
    let address = node.address();
    // A stream that the client does not read fills what lies between; then the client leaves.
    let source = "export default { fetch() { return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(65536)); } })); } };";
    let programs = [("streams", source)];
    for (name, source) in programs {
        let target = format!("/{name}.js?executable=true&private=false");
        put(&mut Client::new(address), &key, &target, "text/javascript", source.as_bytes());
        // As many as may run, so that none else can while they do. Nobody reads what they say.
        let clients: Vec<TcpStream> = (0..2)
            .map(|_| {
                let mut client = TcpStream::connect(address).unwrap();
                write!(client, "GET /{name}.js HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                client
            })
            .collect();
        std::thread::sleep(Duration::from_secs(1));
        drop(clients);
        let begun = Instant::now();
        well(address, "/good.js", |made| made >= 3);
        eprintln!("{name}: the next program ran after {:?}", begun.elapsed());
    }
}

/// Whether a thread of a process runs, or would if there were a processor for it.
fn is_busy(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    threads.into_iter().any(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('R'))
    })
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + TIME_MAX;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn loading_ends_at_its_bound_and_when_nobody_waits_for_it() {
    let _turn = turn();
    let source = "for (;;); export default { fetch() {} };";
    let target = "/loop.js?executable=true";
    let folder = tempfile::tempdir().unwrap();
    let (node, key) = start(folder.path(), &["programs.load_cpu_ms=500"]);
    let answer = put(&mut Client::new(node.address()), &key, target, "text/javascript", source.as_bytes());
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("programs.load_cpu_ms"), "{}", answer.text());
    drop(node);
    let folder = tempfile::tempdir().unwrap();
    let (node, key) = start(folder.path(), &["programs.load_cpu_ms=3600000"]);
    let worker = worker(&node).expect("a worker");
    let mut client = TcpStream::connect(node.address()).unwrap();
    let length = source.len();
    write!(
        client,
        "PUT {target} HTTP/1.1\r\nHost: localhost\r\nX-Access-Key: {key}\r\nContent-Type: text/javascript\r\nContent-Length: {length}\r\n\r\n{source}"
    )
    .unwrap();
    let often = |busy: bool| {
        (0..10).all(|_| {
            std::thread::sleep(Duration::from_millis(20));
            is_busy(worker) == busy
        })
    };
    wait_for("it is loaded", || often(true));
    drop(client);
    wait_for("it is not loaded any longer", || often(false));
}

/// Threads of a process that get what nobody else wants of the processors: scheduled as `SCHED_IDLE`.
fn making_way(process: u32) -> usize {
    const POLICY: usize = 38;
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let is_one = |stat: String| {
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').nth(POLICY).map(str::to_owned);
        fields.as_deref() == Some("5")
    };
    threads
        .into_iter()
        .filter(|thread| std::fs::read_to_string(thread.path().join("stat")).is_ok_and(is_one))
        .count()
}

#[test]
fn a_run_that_computes_for_long_makes_way_and_no_later_run_inherits_that() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let (node, key) = start(folder.path(), &["programs.cpu_ms=600000", "programs.wall_ms=600000"]);
    let address = node.address();
    let worker = worker(&node).expect("a worker");
    let module = wat::parse_str(r#"(module (func (export "_start") (loop (br 0))))"#).unwrap();
    let wait =
        "export default { async fetch() { await new Promise((resolve) => setTimeout(resolve, 600_000)); } };";
    let programs: [(&str, &str, &[u8]); 3] = [
        ("/loop.js", "text/javascript", b"export default { fetch() { for (;;); } };"),
        ("/loop.wasm", "application/wasm", &module),
        ("/wait.js", "text/javascript", wait.as_bytes()),
    ];
    for (path, kind, source) in programs {
        let target = format!("{path}?executable=true&private=false");
        let stored = put(&mut Client::new(address), &key, &target, kind, source);
        assert_eq!(stored.status, 201, "{}", stored.text());
    }
    let ask = |path: &str| {
        let mut client = TcpStream::connect(address).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        client
    };
    let _waits = ask("/wait.js");
    for path in ["/loop.js", "/loop.wasm"] {
        assert_eq!(making_way(worker), 0, "nothing computes");
        let client = ask(path);
        wait_for("the loop makes way", || making_way(worker) == 1);
        well(address, "/good.js", |made| made >= 20);
        assert_eq!(making_way(worker), 1, "and nobody else does");
        drop(client);
        // Threads that have ended a run wait for the next in turn, so one that had not gone would be met again and again.
        wait_for("its thread goes with it", || {
            well(address, "/good.js", |made| made >= 5);
            making_way(worker) == 0
        });
    }
}

#[test]
fn two_hundred_requests_at_once_are_all_answered() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = start(folder.path(), &[]);
    let address = node.address();
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..200).map(|_| scope.spawn(move || well(address, "/good.js", |made| made >= 3))).collect();
        let mut times: Vec<Duration> =
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        times.sort();
        print("200 at once", &times);
    });
}
