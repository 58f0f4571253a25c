//! `watch`: changes as they happen, one line each, until it is stopped.

use crate::cli::Watch;
use crate::output::{flush, human_bytes, one_line};
use crate::session::Session;
use jsfs_client::{Change, Event};
use serde_json::json;

/// Tells of changes. With `--json` every line is one event as the node tells it, or `{"reset":CURSOR}`.
pub(super) async fn run(session: &Session, arguments: &Watch) -> anyhow::Result<()> {
    let (reference, client) = session.target(&arguments.address)?;
    let mut changes = client.watch(&reference.address, arguments.since.clone());
    let mut left = arguments.count;
    loop {
        match changes.next().await? {
            Change::Begun { cursor } => {
                session.output.note(&format!("watching {} from {cursor}", one_line(&arguments.address)));
            }
            Change::Event(event) => {
                session.output.line(&line(&event))?;
                session.output.json_line(&event)?;
                flush()?;
                left = left.map(|left| left - 1);
                if left == Some(0) {
                    return Ok(());
                }
            }
            Change::Reset { cursor } => {
                session.output.warn("the log does not reach back to that cursor: some changes are not told");
                session.output.json_line(&json!({ "reset": cursor }))?;
            }
        }
    }
}

/// `2026-01-02T03:04:05.678Z updated /localhost/a.txt version 2, 5 B`.
fn line(event: &Event) -> String {
    let mut text = format!("{} {:<7} {}", event.time, event.kind, one_line(&event.address));
    if let Some(from) = &event.from {
        text.push_str(&format!(" from {}", one_line(from)));
    }
    if let Some(version) = event.version {
        text.push_str(&format!(" version {version}"));
    }
    if let Some(size) = event.size {
        text.push_str(&format!(", {}", human_bytes(size)));
    }
    text
}
