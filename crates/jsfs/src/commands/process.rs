//! `ps`, `attach`, `stop`, `checkpoint`, and `run --detach`: processes.

use crate::cli::{Attach, OneProcess, Run, Stop};
use crate::output::{flush, human_bytes, one_line, write_bytes};
use crate::session::Session;
use bytes::Bytes;
use jsfs_client::{Ask, Error, Process};
use std::io::BufRead;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a node that is away is waited for before it is asked again.
const AGAIN_TIME: Duration = Duration::from_millis(500);
/// How often input is sent again for which the process has no room.
const INPUT_TIME: Duration = Duration::from_millis(200);

/// `jsfs run --detach`: the id of the process on standard output.
pub(super) async fn start(session: &Session, arguments: &Run, ask: Ask) -> anyhow::Result<()> {
    let (reference, client) = session.target(&arguments.address)?;
    let process = client.start(&reference.address, ask, &arguments.arguments).await?;
    session.output.line(&process.id)?;
    session.output.json(&process)?;
    Ok(())
}

/// `jsfs ps`: those that have not ended, or all.
pub(super) async fn list(session: &Session, all: bool) -> anyhow::Result<()> {
    let mut processes = session.client.processes().await?;
    processes.retain(|process| all || !process.is_over());
    for process in &processes {
        session.output.line(&shown(process))?;
    }
    session.output.json(&processes)?;
    if processes.is_empty() {
        session.output.note(if all {
            "there are no processes"
        } else {
            "no process is running; --all shows those that have ended"
        });
    }
    Ok(())
}

/// `jsfs attach`: output as it comes, and the lines of standard input to the process.
pub(super) async fn attach(session: &Session, arguments: &Attach) -> anyhow::Result<()> {
    let id = id_of(&arguments.process);
    // Whether there is one at all is told before anything is waited for.
    session.client.process(id).await?;
    let (lines, mut typed) = mpsc::channel(16);
    if arguments.input {
        // A thread of its own, which nobody waits for: a terminal may never say another line.
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if lines.blocking_send(line).is_err() {
                    return;
                }
            }
        });
    }
    let sending = async {
        while let Some(line) = typed.recv().await {
            send(session, id, line.into()).await?;
        }
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        followed = follow(session, id, arguments.after) => followed?,
        sent = sending => sent?,
    }
    let process = session.client.process(id).await?;
    match process.error {
        Some(why) => Err(anyhow::anyhow!("process {id} {}: {why}", process.state)),
        None => {
            session.output.note(&format!("process {id} {}", process.state));
            Ok(())
        }
    }
}

/// Writes output to its end, over broken connections and restarts of the node.
async fn follow(session: &Session, id: &str, mut after: u64) -> anyhow::Result<()> {
    loop {
        let ended = async {
            let mut output = session.client.process_output(id, after, true).await?;
            while let Some(piece) = output.chunk().await? {
                after += piece.len() as u64;
                write_bytes(&piece)?;
                flush()?;
            }
            Ok::<_, anyhow::Error>(())
        };
        match ended.await {
            Ok(()) => return Ok(()),
            Err(error) if passes(&error) => tokio::time::sleep(AGAIN_TIME).await,
            Err(error) => return Err(error),
        }
    }
}

fn passes(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<Error>();
    matches!(error, Some(Error::Unreachable { .. } | Error::Broken { .. } | Error::Stalled { .. }))
}

async fn send(session: &Session, id: &str, input: Bytes) -> anyhow::Result<()> {
    loop {
        match session.client.send_to_process(id, input.clone()).await {
            Ok(_) => return Ok(()),
            // It has ended: its last output says what is to be said.
            Err(error) if error.status() == Some(409) => return Ok(()),
            Err(error) if error.status() == Some(503) => tokio::time::sleep(INPUT_TIME).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// `jsfs stop`.
pub(super) async fn stop(session: &Session, arguments: &Stop) -> anyhow::Result<()> {
    for process in &arguments.processes {
        let process = session.client.stop_process(id_of(process), arguments.kill).await?;
        tell(session, &process)?;
    }
    Ok(())
}

/// `jsfs checkpoint`.
pub(super) async fn checkpoint(session: &Session, arguments: &OneProcess) -> anyhow::Result<()> {
    let process = session.client.checkpoint_process(id_of(&arguments.process)).await?;
    tell(session, &process)
}

fn tell(session: &Session, process: &Process) -> anyhow::Result<()> {
    session.output.line(&shown(process))?;
    session.output.json_line(process)?;
    Ok(())
}

/// An id, or the path that the node gave when the process was started.
fn id_of(text: &str) -> &str {
    text.rsplit_once("/.jsfs/proc/").map_or(text, |(_, id)| id)
}

/// `0123… running /localhost/work.js since 2026-01-02T03:04:05.678Z, 120 ms CPU, 5.0 MiB, output 1.2 KiB`.
fn shown(process: &Process) -> String {
    let state = if process.stopping { "stopping" } else { process.state.as_str() };
    let mut text =
        format!("{} {:<12} {}", one_line(&process.id), one_line(state), one_line(&process.address));
    text.push_str(&match &process.ended {
        Some(ended) => format!(" ended {}", one_line(ended)),
        None => format!(" since {}", one_line(&process.started)),
    });
    text.push_str(&format!(
        ", {} ms CPU, {}, output {}",
        process.cpu_ms,
        human_bytes(process.memory),
        human_bytes(process.output)
    ));
    if process.restarted > 0 {
        text.push_str(&format!(", begun again {} times", process.restarted));
    }
    if let Some(error) = &process.error {
        text.push_str(&format!(": {}", one_line(error)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::id_of;

    #[test]
    fn a_process_is_named_by_its_id_or_its_path() {
        for text in ["ab", "/.jsfs/proc/ab", "http://localhost:7302/.jsfs/proc/ab"] {
            assert_eq!(id_of(text), "ab");
        }
    }
}
