//! `watch` and `sync --watch`: changes as they happen, also across a restart of the node.

use crate::support::{Home, tree};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A command that goes on until it is dropped.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn new(home: &Home, arguments: &[&str]) -> Running {
        let mut command = home.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Running { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what} within 30 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The files below an address, as a fresh download has them.
fn remote(home: &Home, address: &str) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let to = home.path("fresh");
    let _ = std::fs::remove_dir_all(&to);
    if home.run(&["sync", address, "fresh"]).code != 0 {
        return Vec::new();
    }
    tree(&to)
}

#[test]
fn watch_tells_of_changes_one_line_each_and_resumes_at_a_cursor() {
    let home = Home::new();
    home.write("a.txt", "hello");
    home.ok(&["put", "a.txt", "/localhost/d/before.txt"]);
    let mut watch = Running::new(&home, &["watch", "/localhost/d/", "--count", "2", "--json"]);
    // There is no line before the first change, so changes are made until one is told.
    let done = AtomicBool::new(false);
    let (first, second) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                home.ok(&["put", "a.txt", "/localhost/d/a.txt"]);
            }
        });
        let told = (watch.line(), watch.line());
        done.store(true, Ordering::Relaxed);
        told
    });
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    let second: serde_json::Value = serde_json::from_str(&second).unwrap();
    assert_eq!((&first["address"], &first["size"]), (&"/localhost/d/a.txt".into(), &5.into()));
    assert!(watch.child.wait().unwrap().success(), "--count ends it");
    home.ok(&["rm", "/localhost/d/before.txt"]);
    let cursor = second["cursor"].as_str().unwrap();
    let all = home.ok(&["watch", "/localhost/d/before.txt", "--since", cursor, "--count", "1", "--quiet"]);
    assert!(all.contains(" deleted /localhost/d/before.txt"), "{all}");
    let text = home.fails(1, &["watch", "/localhost/d/", "--since", "yesterday"]);
    assert!(text.contains("since is not a cursor"), "{text}");
}

#[test]
fn watching_what_is_hidden_or_absent_is_refused() {
    let home = Home::new();
    home.write("a.txt", "hello");
    home.ok(&["put", "a.txt", "/localhost/secret.txt"]);
    let hidden = home.stranger(&["watch", "/localhost/secret.txt"]);
    let absent = home.stranger(&["watch", "/localhost/absent.txt"]);
    assert_eq!((hidden.code, hidden.err.replace("secret", "absent")), (absent.code, absent.err));
}

#[test]
fn sync_watch_brings_local_changes_to_the_address_also_after_a_restart() {
    let mut home = Home::new();
    home.write("from/one.txt", "1");
    let port = home.node.address().port();
    let _sync = Running::new(&home, &["sync", "from", "/localhost/t/", "--watch", "--delete"]);
    let equal = |home: &Home| tree(&home.path("from")) == remote(home, "/localhost/t/");
    eventually("the first run", || equal(&home));
    home.write("from/two.txt", "22");
    home.write("from/deep/er/three.txt", "333");
    home.write("from/one.txt", "one");
    eventually("new and changed files", || equal(&home));
    std::fs::remove_file(home.path("from/two.txt")).unwrap();
    std::fs::rename(home.path("from/deep"), home.path("elsewhere")).unwrap();
    eventually("files and directories that went", || equal(&home));
    std::fs::rename(home.path("elsewhere"), home.path("from/back")).unwrap();
    eventually("a directory that came as a whole", || equal(&home));
    let setup = home.setup.clone().port(port);
    home.node.signal(rustix::process::Signal::KILL);
    home.write("from/while-away.txt", "w");
    home.node = setup.start();
    eventually("what changed while the node was away", || equal(&home));
}

#[test]
fn sync_watch_brings_changes_of_the_address_to_a_directory() {
    let home = Home::new();
    home.write("a.txt", "1");
    home.ok(&["put", "a.txt", "/localhost/t/a.txt"]);
    let _sync = Running::new(&home, &["sync", "/localhost/t/", "to", "--watch", "--delete"]);
    let at = |name: &str| std::fs::read_to_string(home.path("to").join(name)).ok();
    eventually("the first run", || at("a.txt").as_deref() == Some("1"));
    home.write("a.txt", "2");
    home.ok(&["put", "a.txt", "/localhost/t/a.txt"]);
    home.ok(&["put", "a.txt", "/localhost/t/deep/b.txt"]);
    eventually("a new version", || at("a.txt").as_deref() == Some("2") && at("deep/b.txt").is_some());
    home.ok(&["mv", "/localhost/t/a.txt", "/localhost/t/c.txt"]);
    home.ok(&["rm", "/localhost/t/deep/b.txt"]);
    eventually("a move and a deletion", || {
        at("a.txt").is_none() && at("c.txt").as_deref() == Some("2") && at("deep/b.txt").is_none()
    });
    assert!(!Path::new(&home.path("to/deep")).exists(), "no empty directory is left");
}
