//! Nodes, and short ways to ask them.

use jsfs_testkit::node::{Node, Setup};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// Until all know what one knows; seconds are promised, the rest is for a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(90);

pub(crate) struct Place {
    pub(crate) setup: Setup,
    pub(crate) node: Option<Node>,
}

impl Place {
    pub(crate) fn new(home: &Path, name: &str) -> Place {
        Place::with(home, name, &[])
    }

    pub(crate) fn with(home: &Path, name: &str, settings: &[&str]) -> Place {
        let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &home.join(name));
        let setup = setup.set("federation.listen=/ip4/127.0.0.1/tcp/0").set("log.level=info,jsfs_peer=debug");
        let setup = settings.iter().fold(setup, |setup, setting| setup.set(setting));
        let node = Some(setup.start());
        Place { setup, node }
    }

    pub(crate) fn try_run(&self, arguments: &[&str]) -> Result<Value, (i32, String)> {
        let data = self.setup.data();
        let output =
            self.setup.command().args(arguments).args(["--json", "--data"]).arg(data).output().unwrap();
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err((output.status.code().unwrap_or(-1), told));
        }
        Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        self.try_run(arguments).unwrap_or_else(|told| panic!("{arguments:?}: {told:?}\n{}", self.log()))
    }

    pub(crate) fn log(&self) -> String {
        self.node.as_ref().map(Node::log_text).unwrap_or_default()
    }

    pub(crate) fn status(&self) -> Value {
        self.run(&["federation", "status"])
    }

    pub(crate) fn peer(&self) -> String {
        self.status()["peer"].as_str().unwrap().to_owned()
    }

    pub(crate) fn ticket(&self, more: &[&str]) -> String {
        let invited = self.run(&[&["federation", "invite"], more].concat());
        invited["ticket"].as_str().unwrap().to_owned()
    }

    /// Ids of the members that this node sees connected, itself included.
    pub(crate) fn connected(&self) -> Vec<String> {
        let peers = self.run(&["federation", "members"]);
        let all = peers["peers"].as_array().unwrap().iter();
        let connected = all.filter(|peer| peer["reachable"] == true);
        connected.map(|peer| peer["peer"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn kill(&mut self) {
        self.node.take().unwrap().kill();
    }

    pub(crate) fn start(&mut self) {
        self.node = Some(self.setup.start());
    }
}

pub(crate) fn soon(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    begun.elapsed()
}

pub(crate) fn founded(home: &Path) -> Place {
    let first = Place::new(home, "n0");
    let made = first.run(&["federation", "create", "home"]);
    assert_eq!(made["name"], "home");
    first
}
