//! A node with a home of its own, and commands run against it.

use jsfs_testkit::node::{Node, Setup};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_jsfs");

/// A home directory, a node on it, and room for files.
pub(crate) struct Home {
    directory: TempDir,
    pub(crate) setup: Setup,
    pub(crate) node: Node,
}

/// How a command ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Home {
    pub(crate) fn new() -> Home {
        let directory = tempfile::tempdir().unwrap();
        let setup = Setup::new(BINARY, &directory.path().join("data"));
        let node = setup.start();
        Home { directory, setup, node }
    }

    /// A path in the home.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file with the directories above it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The program in this home, finding node and key by itself.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.setup.command();
        command.env("JSFS_DATA", self.setup.data()).current_dir(self.directory.path()).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        ran(&mut self.command(arguments))
    }

    /// Runs a command that must succeed; its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "jsfs {arguments:?}: {}{}", ran.out, ran.err);
        ran.out
    }

    /// Runs a command that must succeed, with `--json`; what it printed.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("jsfs {arguments:?} --json: {error}: {text}"))
    }

    /// Runs a command that must fail with this code; its standard error.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "jsfs {arguments:?}: {}{}", ran.out, ran.err);
        ran.err
    }

    /// Runs a command with standard input.
    pub(crate) fn with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeder = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        let _ = feeder.join().unwrap();
        text(output)
    }

    /// A command without any key: another home.
    pub(crate) fn stranger(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        let elsewhere = self.path("stranger");
        ran(command.env("JSFS_DATA", elsewhere).env("JSFS_NODE", self.url()))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.node.address())
    }
}

pub(crate) fn ran(command: &mut Command) -> Ran {
    text(command.output().unwrap())
}

fn text(output: Output) -> Ran {
    let code = output.status.code().unwrap_or(-1);
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    Ran { code, out, err: String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// Every regular file below a directory, with its content.
pub(crate) fn tree(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            files.push((
                entry.path().strip_prefix(root).unwrap().to_owned(),
                std::fs::read(entry.path()).unwrap(),
            ));
        }
    }
    files
}
