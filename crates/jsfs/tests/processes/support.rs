//! A node, its owner's key, and what is often asked of both.

use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::node::{Node, Setup};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Longest wait for anything.
const WAIT: Duration = Duration::from_secs(120);

pub(crate) struct Stage {
    _folder: tempfile::TempDir,
    pub(crate) setup: Setup,
    pub(crate) node: Option<Node>,
    pub(crate) key: String,
}

impl Stage {
    pub(crate) fn new(settings: &[&str]) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data"));
        let setup = settings.iter().fold(setup, |setup, setting| setup.set(setting));
        let node = setup.start();
        let key = setup.root_key();
        Stage { _folder: folder, setup, node: Some(node), key }
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    pub(crate) fn ask(&self, request: &Request<'_>) -> Answer {
        Client::new(self.node().address()).send(request).unwrap()
    }

    pub(crate) fn own<'a>(&self, method: &'a str, target: &'a str) -> Request<'a> {
        Request::new(method, target).header("X-Access-Key", &self.key)
    }

    pub(crate) fn stored(&self, target: &str, source: &str) {
        let request =
            self.own("PUT", target).header("Content-Type", "text/javascript").body(source.as_bytes());
        let answer = self.ask(&request);
        assert!(matches!(answer.status, 200 | 201), "{target}: {} {}", answer.status, answer.text());
    }

    pub(crate) fn put(&self, target: &str, bytes: &[u8]) {
        let answer = self.ask(&self.own("PUT", target).body(bytes));
        assert!(matches!(answer.status, 200 | 201), "{target}: {} {}", answer.status, answer.text());
    }

    pub(crate) fn token(&self, address: &str, methods: &[&str]) -> String {
        let body = json!({ "address": address, "methods": methods }).to_string();
        let answer = self.ask(&self.own("POST", "/.jsfs/tokens").body(body.as_bytes()));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    /// Starts a process with the owner's key; its path.
    pub(crate) fn started(&self, target: &str, body: &[u8]) -> String {
        let answer = self.ask(&self.own("POST", target).header("Prefer", "respond-async").body(body));
        assert_eq!(answer.status, 202, "{target}: {}", answer.text());
        answer.header("location").unwrap().to_owned()
    }

    pub(crate) fn status(&self, process: &str) -> Value {
        let answer = self.ask(&self.own("GET", process));
        assert_eq!(answer.status, 200, "{process}: {}", answer.text());
        answer.json()
    }

    pub(crate) fn output(&self, process: &str) -> String {
        self.ask(&self.own("GET", &format!("{process}/output"))).text()
    }

    pub(crate) fn send(&self, process: &str, input: &[u8]) {
        let answer = self.ask(&self.own("POST", process).body(input));
        assert!(matches!(answer.status, 200 | 202), "{process}: {} {}", answer.status, answer.text());
    }

    /// Waits until the status is as wanted.
    pub(crate) fn wait(&self, process: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + WAIT;
        loop {
            let status = self.status(process);
            if holds(&status) {
                return status;
            }
            let log = || self.node().log_text();
            assert!(Instant::now() < end, "{process} never was {what}: {status}\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn wait_for(&self, process: &str, state: &str) -> Value {
        self.wait(process, state, |status| {
            let is_end = ["done", "failed", "stopped"].contains(&status["state"].as_str().unwrap());
            assert!(!is_end || status["state"] == state, "not {state}: {status}\n{}", self.output(process));
            status["state"] == state
        })
    }

    pub(crate) fn wait_for_output(&self, process: &str, text: &str) {
        let end = Instant::now() + WAIT;
        while !self.output(process).contains(text) {
            assert!(Instant::now() < end, "no {text}: {} {}", self.status(process), self.output(process));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Process ids of the node's workers.
    pub(crate) fn workers(&self) -> Vec<i32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.node().pid())).unwrap();
        let children =
            tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        children
            .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect()
    }

    /// Kills the worker, if there is one now.
    pub(crate) fn kill_worker(&self) -> bool {
        let workers = self.workers();
        let killed = workers.into_iter().filter_map(rustix::process::Pid::from_raw);
        killed
            .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL))
            .filter(Result::is_ok)
            .count()
            > 0
    }

    /// Kills the node and starts it again.
    pub(crate) fn kill_node(&mut self) {
        self.node.take().unwrap().kill();
        self.node = Some(self.setup.start());
    }
}
