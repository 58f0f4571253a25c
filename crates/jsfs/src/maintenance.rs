//! Following maintenance of a node: a bar on a terminal, findings as they come, then the result.
//!
//! Interrupting the command closes the connection, which ends the work at its next step.

use crate::output::one_line;
use crate::progress::Progress;
use crate::session::Session;
use jsfs_client::MaintenanceLine;
use serde_json::Value;

/// Most findings that are kept for `--json`; the rest is counted.
const FINDINGS_MAX: usize = 10_000;

/// What maintenance came to.
pub(crate) struct Outcome {
    /// What the node says of what it did.
    pub(crate) result: Value,
    /// What it found.
    pub(crate) findings: Vec<Value>,
    /// Findings beyond those.
    pub(crate) more: u64,
}

/// Begins maintenance of the kind `name` and follows it to its end. `tell` puts a finding in words.
pub(crate) async fn follow(
    session: &Session,
    name: &str,
    parameters: &Value,
    tell: impl Fn(&Value) -> String,
) -> anyhow::Result<Outcome> {
    attend(session, name, parameters, |finding| Some(tell(finding))).await
}

/// As [`follow`], but what it finds is only kept.
pub(crate) async fn gather(session: &Session, name: &str, parameters: &Value) -> anyhow::Result<Outcome> {
    attend(session, name, parameters, |_| None).await
}

async fn attend(
    session: &Session,
    name: &str,
    parameters: &Value,
    tell: impl Fn(&Value) -> Option<String>,
) -> anyhow::Result<Outcome> {
    let mut work = session.client.maintain(name, parameters).await?;
    let bar = Progress::new(session.output, name, None);
    let (mut findings, mut more) = (Vec::new(), 0);
    while let Some(line) = work.next().await? {
        match line {
            MaintenanceLine::Progress(progress) => bar.at(progress.done, progress.total),
            MaintenanceLine::Finding(finding) => {
                if let Some(text) = tell(&finding) {
                    bar.suspend(|| session.output.line(&one_line(&text)))?;
                }
                if findings.len() < FINDINGS_MAX {
                    findings.push(finding);
                } else {
                    more += 1;
                }
            }
            MaintenanceLine::Result(result) => return Ok(Outcome { result, findings, more }),
            // The client turns it into an error.
            MaintenanceLine::Problem(_) => {}
        }
    }
    anyhow::bail!("the node ended {name} without a result; its log may say why")
}
