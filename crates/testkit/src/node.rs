//! A real node in a process of its own: started on a free port, stopped politely, killed, started again.
//!
//! Dropping a [`Node`] kills it, so a failed test leaves no process behind. What the node logs goes to a file beside its data
//! directory, into the message when it does not start, and its end to standard error when a test fails.

use crate::network::Host;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Longest wait for the line that says that the node is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest wait for a node that was told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest wait for a port that the node had before.
const PORT_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of the log a failed test shows.
const LINES_OF_A_FAILURE: usize = 40;

/// How to start a node.
#[derive(Clone, Debug)]
pub struct Setup {
    binary: PathBuf,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    settings: Vec<String>,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    host: Option<Host>,
}

impl Setup {
    /// A node with its data in `data`. The program is `JSFS_BIN` where that is set, else `built`, which a test of the
    /// `jsfs` crate gets from `env!("CARGO_BIN_EXE_jsfs")`.
    pub fn new(built: &str, data: &Path) -> Setup {
        Setup {
            binary: binary(built),
            data: data.to_owned(),
            log: data.with_extension("log"),
            port: 0,
            settings: Vec::new(),
            flags: Vec::new(),
            variables: Vec::new(),
            host: None,
        }
    }

    /// On this port instead of a free one, for a node that comes back.
    pub fn port(mut self, port: u16) -> Setup {
        self.port = port;
        self
    }

    /// Adds `--set KEY=VALUE`.
    pub fn set(mut self, setting: &str) -> Setup {
        self.settings.push(setting.to_owned());
        self
    }

    /// Adds a flag of `jsfs serve`.
    pub fn flag(mut self, flag: &str) -> Setup {
        self.flags.push(flag.to_owned());
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it and its commands on a host of a network.
    pub fn on(mut self, host: &Host) -> Setup {
        self.host = Some(host.clone());
        self
    }

    /// Writes the log elsewhere than beside the data directory.
    pub fn log(mut self, path: &Path) -> Setup {
        path.clone_into(&mut self.log);
        self
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The root access key, which the first start made.
    pub fn root_key(&self) -> String {
        let path = self.data.join("root.key");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim().to_owned()
    }

    /// A command of the same program, without this process's `JSFS_*` variables and with a home that is not the user's.
    pub fn command(&self) -> Command {
        let mut command = match &self.host {
            None => Command::new(&self.binary),
            Some(host) => {
                let [program, arguments @ ..] = host.prefix();
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.binary);
                command
            }
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("JSFS_") {
                command.env_remove(name);
            }
        }
        let home = self.data.parent().unwrap_or(&self.data);
        command
            .env("HOME", home)
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Starts the node without waiting for it.
    pub fn spawn(&self) -> Node {
        let log = File::options().create(true).append(true).open(&self.log).expect("the log can be written");
        let mut command = self.command();
        command
            .arg("serve")
            .arg("--data")
            .arg(&self.data)
            .args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.args(&self.flags);
        let child = command.stdout(Stdio::piped()).stderr(log).spawn();
        let child = child.unwrap_or_else(|e| panic!("{}: {e}", self.binary.display()));
        Node { child, log: self.log.clone(), address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
    }

    /// Starts the node and waits until it says that it is ready. The port of one that comes back may be somebody else's for a moment: while a node is away, any
    /// connection of this machine can be given it.
    pub fn start(&self) -> Node {
        let end = Instant::now() + PORT_TIMEOUT;
        loop {
            let logged = std::fs::metadata(&self.log).map_or(0, |log| log.len());
            let mut node = self.spawn();
            let Err(why) = node.wait_until_ready() else { return node };
            let log = node.log_text();
            let is_taken =
                log.get(usize::try_from(logged).unwrap_or(0)..).is_some_and(|log| log.contains("is in use"));
            assert!(self.port > 0 && is_taken && Instant::now() < end, "the node {why}: {log}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// `jsfs check` of the data directory, whose node must not run.
    pub fn check(&self) -> Output {
        self.command().arg("check").arg("--data").arg(&self.data).output().expect("jsfs check runs")
    }
}

/// The program to test: `JSFS_BIN`, else the one that cargo built for this test.
pub fn binary(built: &str) -> PathBuf {
    std::env::var_os("JSFS_BIN").map_or_else(|| built.into(), PathBuf::from)
}

/// A node that runs.
#[derive(Debug)]
pub struct Node {
    child: Child,
    log: PathBuf,
    address: SocketAddr,
}

impl Node {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        let end = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < end, "the node did not stop: {}", self.log_text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a process id"), signal).expect("the node runs");
    }

    /// What it has logged so far (all nodes on this data directory).
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Says what became of it where it is not.
    fn wait_until_ready(&mut self) -> Result<(), String> {
        let stdout = self.child.stdout.take().expect("stdout is a pipe");
        let (found, line) = sync_channel(1);
        // Ends when the node closes its standard output, at the latest when it dies.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(port) = port_of(&line) {
                    let _ = found.try_send(port);
                }
            }
        });
        match line.recv_timeout(READY_TIMEOUT) {
            Ok(port) => {
                self.address.set_port(port);
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Err("was not ready in time".into()),
            Err(RecvTimeoutError::Disconnected) => {
                Err(format!("ended before it was ready, {:?}", self.child.wait()))
            }
        }
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Node {
    #[allow(clippy::print_stderr, reason = "what a failed test shows")]
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let log = self.log_text();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(LINES_OF_A_FAILURE);
            eprintln!("the last lines that the node logged:\n{}", lines[last..].join("\n"));
        }
    }
}

/// The port of the first `http://…:PORT` in a line.
fn port_of(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("http://")?;
    let authority = rest.split(['/', ' ', ',', ')']).next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::port_of;

    #[test]
    fn the_ready_line_tells_the_port() {
        assert_eq!(port_of("JSFS 5.0.0 is ready at http://127.0.0.1:40123/ (data: x)"), Some(40123));
        assert_eq!(port_of("http://localhost:7302"), Some(7302));
        assert_eq!(port_of("opening the store"), None);
        assert_eq!(port_of("see http://example.com/help"), None);
    }
}
