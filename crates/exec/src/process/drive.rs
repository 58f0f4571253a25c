//! The life of a process, from its turn to its end.
//!
//! A process that does something while the worker ends may be the cause. Whoever is suspected often waits longer and longer before it is taken up,
//! so that what is innocent gets on meanwhile, and ends in the end, whether it made checkpoints between or not.

use super::{
    attempt::{Attempt, End},
    entry::Entry,
    keep::{Change, Keep},
    record::{Record, Rest, Saved, SavedBody, State},
};
use crate::{Exec, Kind};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// Ends of the worker, one after the other without a checkpoint between, after which the process counts as their cause.
const CRASHES_MAX: u32 = 3;
/// For how long such an end is remembered though a checkpoint was made since.
const CRASH_TIME_MS: u64 = 3_600_000;
/// So many of those that are remembered are taken for chance; after more a process waits, at first and at most so long.
const CRASHES_BY_CHANCE: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
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
    if record.begun && record.engine.is_none() {
        restart(keep, entry, &mut record).await;
    }
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
                record = after_crash(exec, entry, record, is_suspect);
                if let Some(why) = cause(exec, &record) {
                    return over(exec, keep, entry, record, State::Failed, Some(why), (Vec::new(), 0)).await;
                }
                if is_suspect && let Some(ended) = paused(exec, entry, waits(exec, entry, &record)).await {
                    return ended.of(exec, keep, entry, record).await;
                }
                if record.engine.is_none() && (record.begun || record.output_bytes > 0) {
                    restart(keep, entry, &mut record).await;
                }
            }
            End::OtherEngine => restart(keep, entry, &mut record).await,
            End::Unavailable => {
                if let Some(ended) = paused(exec, entry, wait).await {
                    return ended.of(exec, keep, entry, record).await;
                }
                wait = (wait * 2).min(AGAIN_TIME_MAX);
            }
        }
        if exec.0.closing.is_cancelled() {
            return entry.show_state(State::Checkpointed);
        }
    }
}

/// What a process is after the worker ended: what it did since its last checkpoint is as if it had not been.
fn after_crash(exec: &Exec, entry: &Entry, record: Record, is_suspect: bool) -> Record {
    let now_ms = exec.interior().now_ms();
    let mut after = entry.record();
    (after.resumes, after.crash_times) = (record.resumes, record.crash_times);
    after.crashes = record.crashes + u32::from(is_suspect);
    if is_suspect {
        after.crash_times.retain(|then| then.saturating_add(CRASH_TIME_MS) > now_ms);
        after.crash_times.push(now_ms);
    }
    entry.show_state(if after.engine.is_some() { State::Checkpointed } else { State::Queued });
    after
}

/// Why a process counts as the cause of what happened to the worker, if it does.
fn cause(exec: &Exec, record: &Record) -> Option<String> {
    if record.crashes >= CRASHES_MAX {
        return Some(format!("the worker ended {} times in a row while it ran", record.crashes));
    }
    let (lately, max) = (record.crash_times.len(), exec.0.settings.process_crashes as usize);
    (max > 0 && lately >= max).then(|| {
        format!("the worker ended {lately} times within an hour while it ran; limit programs.process_crashes")
    })
}

/// How long a process waits that was there when the worker ended.
fn waits(exec: &Exec, entry: &Entry, record: &Record) -> Duration {
    match exec.0.settings.process_crashes {
        0 => Duration::ZERO,
        _ => pause(record.crash_times.len(), entry.id.0[0]),
    }
}

/// No two wait equally long, so that they do not meet again at once.
fn pause(lately: usize, chance: u8) -> Duration {
    let Some(more) = u32::try_from(lately).unwrap_or(u32::MAX).checked_sub(CRASHES_BY_CHANCE + 1) else {
        return Duration::ZERO;
    };
    let pause = PAUSE.saturating_mul(1 << more.min(16)).min(PAUSE_MAX);
    pause + pause * u32::from(chance) / 256
}

/// What ended a pause before its time.
enum Ended {
    Stopped,
    Closing,
}

impl Ended {
    async fn of(self, exec: &Exec, keep: &Arc<dyn Keep>, entry: &Arc<Entry>, record: Record) {
        match self {
            Self::Stopped => {
                over(exec, keep, entry, record, State::Stopped, None, (Vec::new(), 0)).await;
            }
            Self::Closing => entry.show_state(State::Checkpointed),
        }
    }
}

async fn paused(exec: &Exec, entry: &Entry, time: Duration) -> Option<Ended> {
    tokio::select! {
        () = tokio::time::sleep(time) => None,
        () = exec.0.closing.cancelled() => Some(Ended::Closing),
        () = entry.stop.cancelled() => Some(Ended::Stopped),
    }
}

/// Puts a process back to its beginning: there is no image that it could go on from. What it changed stays changed. Marks of changes that are known by
/// the number of their call go, because those begin anew.
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
    let change = Change {
        pieces: Some([source, saved].concat()),
        output_from: Some(u64::MAX),
        unmarks: record.kind == Kind::JavaScript,
        ..Change::default()
    };
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

#[cfg(test)]
mod tests {
    use super::pause;
    use std::time::Duration;

    #[test]
    fn who_is_suspected_often_waits_longer_and_longer_up_to_a_bound() {
        assert_eq!([0, 1, 3].map(|lately| pause(lately, 255)), [Duration::ZERO; 3]);
        assert_eq!([4, 5, 8].map(|lately| pause(lately, 0).as_secs()), [1, 2, 16]);
        assert_eq!([20, usize::MAX].map(|lately| pause(lately, 0).as_secs()), [60, 60]);
        assert_eq!(pause(4, 128), Duration::from_millis(1_500));
    }
}
