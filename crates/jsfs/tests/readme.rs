//! The README works as written: its command blocks run, in order, in one shell, against a node that its first command starts.
//!
//! A line `# → TEXT` in a block says that TEXT appears in what the block prints, in order; `…` at its end is left out. Under plain
//! `cargo test` the node is the program that cargo just built, on a free port. With `JSFS_README=real` (CI) everything is literal:
//! `cargo run --release` in the repository, port 7302.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test program throughout")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

const RUN: &str = "cargo run --release";
const TEST: &str = "cargo test";
/// A release build from nothing on a small machine, and then some.
const READY_TIMEOUT: Duration = Duration::from_secs(1_800);

/// The `sh` blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut inside: Option<String> = None;
    for line in page.lines() {
        match (&mut inside, line) {
            (None, "```sh") => inside = Some(String::new()),
            (Some(_), "```") => blocks.extend(inside.take()),
            (Some(block), line) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

/// What a block says that it prints.
fn expectations(block: &str) -> Vec<&str> {
    block
        .lines()
        .filter_map(|line| line.strip_prefix("# → "))
        .map(|text| text.trim_end_matches('…').trim())
        .collect()
}

/// The expectations that do not appear in the output in their order.
fn unmet<'a>(block: &'a str, output: &str) -> Vec<&'a str> {
    let mut rest = output;
    let mut unmet = Vec::new();
    for expected in expectations(block) {
        match rest.find(expected) {
            Some(at) => rest = &rest[at + expected.len()..],
            None => unmet.push(expected),
        }
    }
    unmet
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Where the blocks run, with a home that is not the user's.
struct Place {
    folder: tempfile::TempDir,
    /// Where `target/release/jsfs` is.
    project: PathBuf,
    port: u16,
    real: bool,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let real = std::env::var("JSFS_README").is_ok_and(|how| how == "real");
        let project = if real { root() } else { folder.path().join("jsfs") };
        if !real {
            std::fs::create_dir_all(project.join("target/release")).unwrap();
            let binary = jsfs_testkit::node::binary(env!("CARGO_BIN_EXE_jsfs"));
            std::os::unix::fs::symlink(binary, project.join("target/release/jsfs")).unwrap();
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Place { project, port: if real { 7302 } else { free }, real, folder }
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        // The checks compile tests with Clippy; what the README starts is what everybody builds.
        command.env_remove("RUSTC_WORKSPACE_WRAPPER").env_remove("CLIPPY_ARGS");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("JSFS_") {
                command.env_remove(name);
            }
        }
        let home = std::env::var("HOME").unwrap_or_default();
        // cargo and rustup find themselves by the home directory unless told.
        for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            if std::env::var_os(name).is_none() {
                command.env(name, Path::new(&home).join(folder));
            }
        }
        if !self.real {
            command.env("JSFS_LISTEN", format!("127.0.0.1:{}", self.port));
            command.env("JSFS_NODE", format!("http://localhost:{}", self.port));
        }
        command.args(["-c", script]).env("HOME", self.folder.path()).env_remove("XDG_DATA_HOME");
        command.env_remove("XDG_CONFIG_HOME").current_dir(&self.project).stdin(Stdio::null());
        command
    }
}

/// The node that the first block starts, and everything below it.
struct Running(Child);

impl Running {
    /// Starts it and waits for its ready line.
    fn start(place: &Place) -> Running {
        let script = if place.real { RUN } else { "exec target/release/jsfs" };
        let mut command = place.shell(script);
        let mut child = command.stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let (ready, waiting) = sync_channel(1);
        let stdout = child.stdout.take().unwrap();
        // Ends with the node's standard output.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.contains("http://") {
                    let _ = ready.try_send(line);
                }
            }
        });
        let running = Running(child);
        let line = waiting.recv_timeout(READY_TIMEOUT).expect("the node starts");
        assert!(line.contains(&format!(":{}", place.port)), "the node is elsewhere: {line}");
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = group.map(|group| rustix::process::kill_process_group(group, rustix::process::Signal::TERM));
        let _ = self.0.wait();
    }
}

#[test]
fn every_block_of_the_readme_works_as_written() {
    let page = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = blocks(&page);
    assert_eq!(blocks[0].trim(), RUN, "the first command starts a node");
    assert_eq!(
        blocks[1].trim(),
        TEST,
        "the second command tests everything; CI runs it as a step of its own"
    );
    let tour = &blocks[2..];
    assert!(tour.len() >= 6, "found only {} blocks", tour.len());

    let place = Place::new();
    let _node = Running::start(&place);
    let mut script = String::from("set -euo pipefail\n");
    for (number, block) in tour.iter().enumerate() {
        let block = block.replace(":7302", &format!(":{}", place.port));
        script.push_str(&format!("echo '@@ block {number}'\n{block}"));
    }
    let output = place.shell(&script).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    for (number, block) in tour.iter().enumerate() {
        let after = said.split(&format!("@@ block {number}\n")).nth(1);
        let printed = after.and_then(|text| text.split("@@ block ").next()).unwrap_or_default();
        let unmet = unmet(block, printed);
        assert!(unmet.is_empty(), "\n{block}\nprinted\n{printed}\nand not {unmet:?}; errors:\n{errors}");
    }
    assert!(output.status.success(), "{}\n{said}\n{errors}", output.status);
    eprintln!("{} blocks of README.md ran", tour.len());
}

#[test]
fn an_expectation_that_is_not_met_is_found() {
    let page = "text\n```sh\necho one\n# → one\necho two\n# → two…\n```\n```text\nnot run\n```\n";
    let block = &blocks(page)[0];
    assert_eq!(expectations(block), ["one", "two"]);
    assert_eq!(unmet(block, "one\ntwo and more\n"), Vec::<&str>::new());
    assert_eq!(unmet(block, "two\none\n"), ["two"]);
    assert_eq!(blocks(page).len(), 1);
}
