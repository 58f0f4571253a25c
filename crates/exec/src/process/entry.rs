//! One process as the node knows it: what is shown of it, and what is sent to whoever drives it.

use super::{
    keep::{Change, Keep, KeepError, ProcessId},
    record::{Record, Response, Starter, State},
};
use crate::hold;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};
use tokio_util::sync::CancellationToken;

/// What is shown of a process.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its name.
    pub id: ProcessId,
    /// The address of its program.
    pub address: String,
    /// By whose authority it was started.
    pub starter: Starter,
    /// Where it stands.
    pub state: State,
    /// Whether it was asked to stop.
    pub stopping: bool,
    /// When it was started and when it ended, ms since 1970.
    pub started_ms: u64,
    /// The latter.
    pub ended_ms: Option<u64>,
    /// CPU time, as of its last checkpoint.
    pub cpu_ms: u64,
    /// Memory, as of its last checkpoint.
    pub memory_bytes: u64,
    /// Bytes that it wrote, and the first of them that is still kept.
    pub output_bytes: u64,
    /// The latter.
    pub output_from: u64,
    /// Inputs that it has not taken.
    pub inputs_waiting: u64,
    /// How often it was put away, taken up where it was, and begun again from its beginning.
    pub checkpoints: u64,
    /// Taken up.
    pub resumes: u32,
    /// Begun again.
    pub restarts: u32,
    /// Why it failed.
    pub error: Option<String>,
    /// The head of what it answered, where it handles a request.
    pub response: Option<Response>,
}

/// A process.
pub(crate) struct Entry {
    pub(crate) id: ProcessId,
    /// As it was kept last.
    shown: Mutex<Record>,
    /// Where it stands since.
    state: Mutex<State>,
    /// Changes with everything that whoever follows it wants to know.
    news: watch::Sender<u64>,
    pub(crate) followers: AtomicUsize,
    /// Wakes whoever drives it.
    pub(crate) poked: Notify,
    /// A checkpoint was asked for.
    pub(crate) checkpoint: AtomicBool,
    pub(crate) stop: CancellationToken,
    pub(crate) kill: CancellationToken,
    /// The number of the newest input.
    inputs: AtomicU64,
    /// One input at a time is numbered and kept.
    pub(crate) numbering: AsyncMutex<()>,
    /// Bytes of output that are kept.
    output_max: u64,
}

impl Entry {
    pub(crate) fn new(id: ProcessId, record: Record, inputs: u64, output_max: u64) -> Arc<Self> {
        let stop = CancellationToken::new();
        if record.stopping {
            stop.cancel();
        }
        let (news, _) = watch::channel(0);
        Arc::new(Self {
            id,
            state: Mutex::new(record.state),
            news,
            followers: AtomicUsize::new(0),
            poked: Notify::new(),
            checkpoint: AtomicBool::new(false),
            stop,
            kill: CancellationToken::new(),
            inputs: AtomicU64::new(inputs.max(record.inputs_taken)),
            numbering: AsyncMutex::new(()),
            shown: Mutex::new(record),
            output_max,
        })
    }

    pub(crate) fn record(&self) -> Record {
        hold(&self.shown).clone()
    }

    pub(crate) fn address(&self) -> String {
        hold(&self.shown).address.clone()
    }

    pub(crate) fn state(&self) -> State {
        *hold(&self.state)
    }

    pub(crate) fn show_state(&self, state: State) {
        let before = std::mem::replace(&mut *hold(&self.state), state);
        if before != state {
            self.tell();
        }
    }

    /// Shows that it was taken up once more.
    pub(crate) fn show_resumes(&self, resumes: u32) {
        hold(&self.shown).resumes = resumes;
    }

    pub(crate) fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub(crate) fn inputs_made(&self) -> u64 {
        self.inputs.load(Ordering::Acquire)
    }

    pub(crate) fn input_was_made(&self, number: u64) {
        self.inputs.store(number, Ordering::Release);
        self.poked.notify_one();
    }

    pub(crate) fn inputs_taken(&self) -> u64 {
        hold(&self.shown).inputs_taken
    }

    /// Ended, and when.
    pub(crate) fn ended_ms(&self) -> Option<u64> {
        hold(&self.shown).ended_ms
    }

    /// Keeps the record with output and inputs, and whatever else the change says; shows it when it is kept.
    pub(crate) async fn commit(
        &self,
        keep: &Arc<dyn Keep>,
        record: &mut Record,
        taken: u64,
        output: &mut Vec<u8>,
        mut change: Change,
    ) -> Result<(), KeepError> {
        let mut next = record.clone();
        next.stopping |= self.stop.is_cancelled();
        if taken > next.inputs_taken {
            next.inputs_taken = taken;
            change.inputs_to = Some(taken);
        }
        if !output.is_empty() {
            change.output = Some((next.output_bytes, output.clone().into()));
            next.output_bytes += output.len() as u64;
            let from = next.output_bytes.saturating_sub(self.output_max);
            if from > next.output_from {
                next.output_from = from;
                change.output_from = Some(from);
            }
        }
        change.record = next.encode();
        keep.put(self.id, change).await?;
        output.clear();
        *record = next.clone();
        *hold(&self.shown) = next;
        self.tell();
        Ok(())
    }

    pub(crate) fn status(&self) -> Status {
        let record = self.record();
        Status {
            id: self.id,
            address: record.address,
            starter: record.starter,
            state: if record.state.is_end() { record.state } else { self.state() },
            stopping: record.stopping || self.stop.is_cancelled(),
            started_ms: record.started_ms,
            ended_ms: record.ended_ms,
            cpu_ms: record.cpu_us / 1_000,
            memory_bytes: record.memory_bytes,
            output_bytes: record.output_bytes,
            output_from: record.output_from,
            inputs_waiting: self.inputs_made().saturating_sub(record.inputs_taken),
            checkpoints: record.checkpoints,
            resumes: record.resumes,
            restarts: record.restarts,
            error: record.error,
            response: record.response,
        }
    }
}
