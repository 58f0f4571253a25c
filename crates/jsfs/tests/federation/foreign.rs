//! A node in JavaScript, written from the protocols alone (`examples/foreign-node`), joins by ticket and keeps blocks of real nodes.

use crate::blocks::{blocks, count, damage, get, noise, put};
use crate::support::{founded, soon};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

struct Foreign(Child);

impl Foreign {
    /// Starts it and waits for its line.
    fn start(example: &Path, arguments: &[&str]) -> (Foreign, String) {
        let mut command = Command::new("node");
        command.arg(example.join("node.js")).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Foreign(child), line)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_node_in_javascript_joins_by_ticket_and_keeps_blocks() {
    let example: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/foreign-node");
    if !example.join("node_modules/libp2p").is_dir() {
        eprintln!("left out: run `npm ci` in examples/foreign-node first");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let first = founded(home.path());
    first.run(&["namespace", "add", "shared.example", "--public"]);
    let data = home.path().join("foreign");
    let directory = data.to_str().unwrap();
    let ticket = first.ticket(&["--role", "store", "--space", "1"]);
    let (foreign, line) = Foreign::start(&example, &[directory, &ticket]);
    assert!(line.starts_with("ready "), "{line:?}");
    soon("it is connected", || first.connected().len() == 2);
    // Of two sites both keep everything.
    let body = noise(2_000_000);
    assert_eq!(put(&first, "/file", &body), 201);
    let told = blocks(&first);
    assert!(told["placed_bytes"].as_u64().unwrap() >= 2_000_000 && told["short"] == 0, "{told}");
    damage(first.setup.data());
    let (status, read) = get(&first, "/file");
    assert_eq!((status, read == body), (200, true), "the bytes come back from it");
    assert!(count(&first, "fetched_bytes") > 0);
    // It is who it was after a restart, and has what it had.
    drop(foreign);
    soon("it is missed", || first.connected().len() == 1);
    let (_foreign, again) = Foreign::start(&example, &[directory]);
    assert_eq!(again, line);
    soon("it is back", || first.connected().len() == 2);
    let before = count(&first, "fetched");
    let (status, read) = get(&first, "/file");
    assert_eq!((status, read == body), (200, true));
    assert!(count(&first, "fetched") >= before);
    assert_eq!(count(&first, "lies"), 0);
}
