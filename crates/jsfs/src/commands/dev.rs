//! `dev`: a directory served with its programs while it is edited.
//!
//! A node of its own runs on a data directory that lives as long as this does, and `sync --watch` brings every change of the directory to it. What
//! programs log is shown as it comes. Nothing of it touches the node that runs on this machine otherwise, and nothing is added to the pages.

use super::{program, sync};
use crate::cli::{Connection, Dev};
use crate::exit::{CouldNotRun, Exit, Usage};
use crate::output::Output;
use crate::session::{NODE_URL_FILE, Session};
use anyhow::Context;
use jsfs_client::{NamespaceChange, Reference};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// How long the node may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is asked whether it has started.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Where the directory is served: this machine's own namespace.
const NAMESPACE: &str = "/localhost/";

/// A directory that goes when this is dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> anyhow::Result<Temporary> {
        let path = std::env::temp_dir().join(format!("jsfs-dev-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| CouldNotRun(format!("cannot make {}: {error}; set TMPDIR", path.display())))?;
        Ok(Temporary(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Serves until it is told to stop.
pub(crate) async fn run(arguments: &Dev, output: Output) -> anyhow::Result<Exit> {
    let directory = &arguments.directory;
    if !directory.is_dir() {
        return Err(
            Usage(format!("{} is no directory; `jsfs new {0}` makes one", directory.display())).into()
        );
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let data = Temporary::new()?;
    let mut node = start(&data.0, &arguments.listen)?;
    let served = tokio::select! {
        served = serve(&data.0, directory, output) => served,
        status = node.wait() => {
            let text = format!("the node ended with {}; what it said is above", status?);
            Err(CouldNotRun(text).into())
        }
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
        _ = terminate.recv() => Ok(Exit::Done),
    };
    stop(&mut node).await;
    served
}

fn start(data: &Path, listen: &str) -> anyhow::Result<Child> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.args(["serve", "--quiet", "--listen", listen, "--set", "log.level=warn", "--data"]).arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    // A terminal tells all of a group to stop; the node is told once, by this.
    command.process_group(0);
    command.spawn().context("cannot start a node")
}

/// The node ends by itself so that its worker and its lock go with it.
async fn stop(node: &mut Child) {
    let pid = node.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
    let _ = tokio::time::timeout(PATIENCE, node.wait()).await;
}

async fn serve(data: &Path, directory: &Path, output: Output) -> anyhow::Result<Exit> {
    let begun = tokio::time::Instant::now();
    while !data.join(NODE_URL_FILE).exists() {
        if begun.elapsed() > PATIENCE {
            return Err(CouldNotRun("the node does not start".into()).into());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    let connection = Connection { data: Some(data.to_owned()), ..Connection::default() };
    let session = Session::find(&connection, output)?;
    let root = Reference::parse(NAMESPACE)?.address;
    let change = NamespaceChange { private: Some(false), ..NamespaceChange::default() };
    session.client.set_namespace(&root, &change).await?;
    let port = session.client.node().port();
    output.line(&format!("{} is at http://localhost:{port}/", directory.display()))?;
    output.json_line(
        &serde_json::json!({ "ready": true, "url": format!("http://localhost:{port}/"), "data": data }),
    )?;
    output.done(&format!("  commands find its node by --data {}", data.display()))?;
    crate::output::flush()?;
    tokio::select! {
        done = sync::serve(&session, directory, &root) => done?,
        done = program::follow_all(&session, directory, &root) => done?,
    }
    Ok(Exit::Done)
}
