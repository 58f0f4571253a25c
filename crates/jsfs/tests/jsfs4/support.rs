//! A node with a home, the program run against it, and what is carried of JSFS 4.

use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::node::{Node, Setup};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub(crate) struct Home {
    pub(crate) directory: TempDir,
    pub(crate) setup: Setup,
    pub(crate) node: Node,
}

/// How a command ended, and what it printed: lines of JSON.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) lines: Vec<Value>,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Ran {
        let text = String::from_utf8_lossy(&output.stdout);
        Ran {
            code: output.status.code().unwrap_or(-1),
            lines: text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn summary(&self) -> &Value {
        let last = self.lines.last().unwrap_or_else(|| panic!("nothing printed: {}", self.err));
        &last["summary"]
    }

    /// `(imported, present, failed)`.
    pub(crate) fn sums(&self) -> (u64, u64, u64) {
        let sum = |name: &str| self.summary()[name].as_u64().unwrap();
        (sum("imported"), sum("present"), sum("failed"))
    }

    pub(crate) fn line(&self, name: &str) -> &Value {
        let line = self.lines.iter().find(|line| line["name"] == name);
        line.unwrap_or_else(|| panic!("no line for {name}: {:#?}", self.lines))
    }

    pub(crate) fn has_note(&self, name: &str, words: &str) -> bool {
        let notes = self.line(name)["notes"].as_array().cloned().unwrap_or_default();
        notes.iter().any(|note| note.as_str().unwrap().contains(words))
    }
}

impl Home {
    pub(crate) fn new() -> Home {
        Home::with(&[])
    }

    pub(crate) fn with(settings: &[&str]) -> Home {
        let directory = tempfile::tempdir().unwrap();
        let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &directory.path().join("data"));
        let setup = settings.iter().fold(setup, |setup, setting| setup.set(setting));
        let node = setup.start();
        Home { directory, setup, node }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.setup.command();
        command.env("JSFS_DATA", self.setup.data()).args(arguments);
        command
    }

    pub(crate) fn import(&self, locations: &[PathBuf], flags: &[&str]) -> Ran {
        Ran::of(&self.importing(locations, flags).output().unwrap())
    }

    pub(crate) fn importing(&self, locations: &[PathBuf], flags: &[&str]) -> Command {
        let mut command = self.command(&["import-jsfs4", "--json"]);
        command.args(locations).args(flags);
        command
    }

    pub(crate) fn ask(&self, request: &Request<'_>) -> Answer {
        Client::new(self.node.address()).send(request).unwrap()
    }

    /// Reads with a key, or with none.
    pub(crate) fn get(&self, host: &str, path: &str, key: Option<&str>) -> Answer {
        let request = Request::new("GET", path).header("Host", host);
        self.ask(&match key {
            Some(key) => request.header("X-Access-Key", key),
            None => request,
        })
    }
}

/// What is carried of JSFS 4.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/jsfs4")
}

/// A copy of the sample pool that may be damaged; its locations.
pub(crate) fn copied_pool(to: &Path) -> Vec<PathBuf> {
    ["blocks1", "blocks2"]
        .map(|name| {
            let location = to.join(name);
            std::fs::create_dir_all(&location).unwrap();
            for entry in std::fs::read_dir(fixtures().join("pool").join(name)).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), location.join(entry.file_name())).unwrap();
            }
            location
        })
        .to_vec()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

pub(crate) fn sha1(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
