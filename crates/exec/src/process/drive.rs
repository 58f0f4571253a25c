//! The life of a process, from its turn to its end.

use super::{
    attempt::{Attempt, End},
    entry::Entry,
    keep::{Change, Keep},
    record::{Record, Rest, Saved, SavedBody, State},
};
use crate::Exec;
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// Ends of the worker, one after the other without a checkpoint between, after which the process counts as their cause.
const CRASHES_MAX: u32 = 3;
/// How long a worker that is not there is waited for, first and at most.
const AGAIN_TIME: Duration = Duration::from_millis(100);
const AGAIN_TIME_MAX: Duration = Duration::from_secs(5);

impl Exec {
    /// Drives a process until it has ended or the node stops.
    pub(super) fn drive(&self, entry: Arc<Entry>) {
        let exec = self.clone();
        self.0.process_tasks.spawn(async move {
            let Some(keep) = exec.0.processes.keep.get().cloned() else { return };
            live(&exec, &keep, &entry).await;
            entry.tell();
        });
    }
}

async fn live(exec: &Exec, keep: &Arc<dyn Keep>, entry: &Arc<Entry>) {
    let mut record = entry.record();
    let turn = tokio::select! {
        turn = exec.turn_of_process() => turn,
        () = entry.stop.cancelled() => return over(exec, keep, entry, record, State::Stopped, None, (Vec::new(), 0)).await,
        () = exec.0.closing.cancelled() => return,
    };
    let Some(_turn) = turn else { return };
    let mut wait = AGAIN_TIME;
    loop {
        let taking_up = exec.0.processes.taking_up.acquire().await;
        let begun = Attempt::begin(exec, keep, entry, &mut record).await;
        drop(taking_up);
        let (end, rest) = match begun {
            Ok(mut attempt) => {
                wait = AGAIN_TIME;
                let end = attempt.drive().await;
                (end, attempt.rest().await)
            }
            Err(end) => (end, (Vec::new(), 0)),
        };
        match end {
            End::Over(state, error) => return over(exec, keep, entry, record, state, error, rest).await,
            End::Away => return entry.show_state(State::Checkpointed),
            End::Crashed { is_suspect } => {
                // What it did since its last checkpoint is as if it had not been.
                let crashes = record.crashes + u32::from(is_suspect);
                let resumes = record.resumes;
                record = entry.record();
                (record.crashes, record.resumes) = (crashes, resumes);
                entry.show_state(if record.engine.is_some() { State::Checkpointed } else { State::Queued });
                if crashes >= CRASHES_MAX {
                    let why = format!("the worker ended {crashes} times in a row while it ran");
                    return over(exec, keep, entry, record, State::Failed, Some(why), (Vec::new(), 0)).await;
                }
                if record.engine.is_none() && record.output_bytes > 0 {
                    restart(keep, entry, &mut record).await;
                }
            }
            End::OtherEngine => restart(keep, entry, &mut record).await,
            End::Unavailable => {
                tokio::select! {
                    () = tokio::time::sleep(wait) => wait = (wait * 2).min(AGAIN_TIME_MAX),
                    () = exec.0.closing.cancelled() => return,
                    () = entry.stop.cancelled() => {
                        return over(exec, keep, entry, record, State::Stopped, None, (Vec::new(), 0)).await;
                    }
                }
            }
        }
        if exec.0.closing.is_cancelled() {
            return entry.show_state(State::Checkpointed);
        }
    }
}

/// Puts a process back to its beginning: there is no image that it could go on from. What it changed stays changed.
async fn restart(keep: &Arc<dyn Keep>, entry: &Entry, record: &mut Record) {
    let kept = match keep.pieces(entry.id).await {
        Ok(pieces) => pieces,
        // The next stretch meets the same error and says so.
        Err(_) => return,
    };
    let source = kept.get(..record.source_pieces).unwrap_or_default().to_vec();
    let before =
        kept.get(record.source_pieces..record.source_pieces + record.saved_pieces).unwrap_or_default();
    let saved = Saved { bodies: first_body(before), ..Saved::default() }.encode();
    let taken = record.inputs_taken;
    let mut again = Record {
        engine: None,
        restarts: record.restarts + 1,
        output_bytes: 0,
        output_from: 0,
        response: None,
        state: State::Queued,
        saved_pieces: saved.len(),
        ..record.clone()
    };
    let change =
        Change { pieces: Some([source, saved].concat()), output_from: Some(u64::MAX), ..Change::default() };
    match entry.commit(keep, &mut again, taken, &mut Vec::new(), change).await {
        Ok(()) => *record = again,
        Err(error) => {
            tracing::warn!(process = %entry.id, %error, "a process could not be put back to its beginning")
        }
    }
}

/// The body of the request, from its beginning.
fn first_body(saved: &[Bytes]) -> Vec<SavedBody> {
    let saved = Saved::decode(saved).unwrap_or_default();
    let first = saved.bodies.into_iter().find(|body| body.id == 0);
    let rest = first.map_or(Rest::Kept(Vec::new()), |body| body.rest);
    vec![SavedBody { id: 0, taken: 0, is_ended: false, rest }]
}

/// Keeps the end of a process: its state and what it wrote last; image, inputs and marks go.
async fn over(
    exec: &Exec,
    keep: &Arc<dyn Keep>,
    entry: &Arc<Entry>,
    mut record: Record,
    state: State,
    error: Option<String>,
    (mut output, taken): (Vec<u8>, u64),
) {
    let mut wait = AGAIN_TIME;
    loop {
        let mut ended = record.clone();
        (ended.state, ended.error) = (state, error.clone());
        ended.ended_ms = Some(exec.interior().now_ms());
        (ended.source_pieces, ended.saved_pieces) = (0, 0);
        let taken = taken.max(record.inputs_taken);
        let change = Change { pieces: Some(Vec::new()), ends: true, ..Change::default() };
        match entry.commit(keep, &mut ended, taken, &mut output, change).await {
            Ok(()) => break,
            Err(error) => {
                tracing::warn!(process = %entry.id, %error, "the end of a process could not be kept; it is tried again")
            }
        }
        record = entry.record();
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(AGAIN_TIME_MAX),
            // It is taken up from its last checkpoint, and ends again.
            () = exec.0.closing.cancelled() => return,
        }
    }
    entry.show_state(state);
    exec.forget_old().await;
}
