//! Programs that nobody here wrote run unchanged: what others publish is fetched, made by its own means, stored and asked.
//!
//! Each is skipped, with the reason, where its registry cannot be reached or its compiler is not there.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test program throughout")]

use jsfs_testkit::cargo::{cargo, is_offline};
use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::node::{Node, Setup};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest wait for a program to be compiled, by a compiler that was itself compiled for debugging.
const STORING: Duration = Duration::from_secs(300);

struct World {
    client: Client,
    key: String,
    _node: Node,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &directory.path().join("data"));
        let node = setup.start();
        let client = Client::new(node.address()).patient(STORING);
        World { client, key: setup.root_key(), _node: node, _directory: directory }
    }

    fn store(&mut self, path: &str, program: &[u8]) {
        let began = Instant::now();
        let target = format!("{path}?executable=true&private=false");
        let stored = self.client.send(&Request::new("PUT", &target).bearer(&self.key).body(program)).unwrap();
        assert_eq!(stored.status, 201, "{}", stored.text());
        eprintln!("{path}: {} bytes stored in {} ms", program.len(), began.elapsed().as_millis());
    }

    fn get(&mut self, target: &str) -> Answer {
        self.client.send(&Request::new("GET", target)).unwrap()
    }

    fn post(&mut self, target: &str, body: &[u8]) -> Answer {
        self.client.send(&Request::new("POST", target).body(body)).unwrap()
    }
}

/// Where programs are made: beside what cargo makes for these tests.
fn workshop() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreign")
}

/// Installs a package from crates.io for a target of WebAssembly, with the versions of its own lock file. None where that cannot be done, which is said.
fn installed(package: &str, target: &str, chosen: &[&str], file: &str) -> Option<Vec<u8>> {
    let mut cargo = match cargo(target) {
        Ok(cargo) => cargo,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return None;
        }
    };
    let root = workshop();
    cargo.args(["install", package, "--locked", "--target", target]).args(chosen);
    cargo.arg("--root").arg(&root).arg("--target-dir").arg(root.join("target"));
    let output = cargo.output().unwrap();
    if is_offline(&output) {
        eprintln!("skipped: crates cannot be fetched: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(std::fs::read(root.join("bin").join(file)).unwrap())
}

#[test]
fn a_command_from_crates_io_filters_what_is_posted() {
    let Some(program) = installed("pulldown-cmark@0.13.6", "wasm32-wasip1", &[], "pulldown-cmark.wasm")
    else {
        return;
    };
    let mut world = World::new();
    world.store("/markdown.wasm", &program);
    let answer = world.post("/markdown.wasm", b"# Hello\n\n* one\n* *two*\n");
    let html = "<h1>Hello</h1>\n<ul>\n<li>one</li>\n<li><em>two</em></li>\n</ul>\n";
    assert_eq!((answer.status, answer.text().as_str()), (200, html));
    let long = "a line of *text*\n\n".repeat(10_000);
    let answer = world.post("/markdown.wasm", long.as_bytes());
    assert_eq!((answer.status, answer.text().matches("<em>").count()), (200, 10_000));
}

/// The example server of the crate `wstd`, as it is published. It looks at the path that it is asked for, so it is stored at those it knows.
#[test]
fn the_example_server_of_wstd_serves() {
    let chosen = ["--example", "http_server"];
    let Some(program) = installed("wstd@0.6.8", "wasm32-wasip2", &chosen, "http_server.wasm") else { return };
    let mut world = World::new();
    world.store("/echo", &program);
    let answer = world.post("/echo", b"there and back");
    assert_eq!((answer.status, answer.text().as_str()), (200, "there and back"));
    world.store("/stream-body", &program);
    let answer = world.get("/stream-body");
    assert_eq!((answer.status, answer.text().lines().count()), (200, 5), "{}", answer.text());
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    world.store("/wait-body", &program);
    let answer = world.get("/wait-body");
    assert!(answer.status == 200 && answer.text().starts_with("slept for 1"), "{}", answer.text());
    world.store("/echo-headers", &program);
    let answer = world.client.send(&Request::new("GET", "/echo-headers").header("X-Thing", "a")).unwrap();
    assert_eq!((answer.status, answer.header("x-thing")), (200, Some("a")));
    world.store("/response-status", &program);
    let answer =
        world.client.send(&Request::new("GET", "/response-status").header("X-Response-Status", "418"));
    assert_eq!(answer.unwrap().status, 418);
    world.store("/response-fail", &program);
    assert_eq!(world.get("/response-fail").status, 500);
    world.store("/elsewhere", &program);
    assert_eq!(world.get("/elsewhere").status, 404, "the program's own");
}

/// Runs a command in a folder; the error is what it said.
fn done(command: &mut Command) -> Result<(), String> {
    let output =
        command.output().map_err(|error| format!("{:?} cannot be run: {error}", command.get_program()))?;
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).trim().to_owned()) }
}

/// Makes a component of `tests/foreign/program.js`. The error says why that cannot be done here.
fn componentized() -> Result<Vec<u8>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/foreign");
    if !folder.join("node_modules/@bytecodealliance/componentize-js").is_dir() {
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        done(Command::new("npm").args(install).current_dir(&folder))?;
    }
    let file = workshop().join("program.wasm");
    std::fs::create_dir_all(workshop()).unwrap();
    let made = done(Command::new("node").arg("componentize.mjs").arg(&file).current_dir(&folder));
    // What is installed works, so this is a failure.
    made.unwrap();
    Ok(std::fs::read(file).unwrap())
}

#[test]
fn a_component_of_componentize_js_answers_and_reaches_its_node() {
    let program = match componentized() {
        Ok(program) => program,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let mut world = World::new();
    world.store("/js.wasm", &program);
    let answer = world.get("/js.wasm");
    assert_eq!((answer.status, answer.text().as_str()), (200, "/js.wasm in StarlingMonkey\n"));
    assert_eq!(answer.header("x-made-by"), Some("componentize-js"));
    let answer = world.post("/js.wasm", br#"{"name":"world"}"#);
    assert_eq!((answer.status, answer.text().as_str()), (201, r#"{"greeting":"Hello, world"}"#));
    let key = world.key.clone();
    let put = Request::new("PUT", "/data.txt?private=false").bearer(&key).body(b"from the store");
    assert_eq!(world.client.send(&put).unwrap().status, 201);
    let answer = world.get("/js.wasm?fetch=/data.txt");
    assert_eq!((answer.status, answer.text().as_str()), (200, "from the store"), "{}", answer.text());
}
