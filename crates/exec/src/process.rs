//! Processes: programs that go on by themselves, are put away and taken up again, and whose changes take place once.
//!
//! A process is a row, an image, and what belongs to both ([`Keep`]). A task drives it (`drive`), stretch by stretch (`attempt`): each begins where the
//! last image left off and ends with the process, the worker or the node. What it is asked to be done for is `work`; why that takes place once:
//! before anything is changed an image that waits for the change is kept, and the change itself leaves a mark in its own commit ([`Once`]).

mod attempt;
mod bodies;
mod drive;
mod entry;
mod keep;
mod record;
mod work;

pub use entry::Status;
pub use keep::{Change, Keep, KeepError, NoProcessId, Once, ProcessId};
pub use record::{Response, Starter, State};

use crate::{Authority, BodyError, BodyStream, Exec, Handler, Params, Source, hold};
use bytes::Bytes;
use entry::Entry;
use futures_util::stream;
use record::{Record, Rest, Saved, SavedBody, cut};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, atomic::Ordering},
    time::Duration,
};
use tokio::sync::Semaphore;

/// Largest input, and largest request that a process is begun with.
pub const INPUT_MAX: usize = 256 << 10;
/// Inputs of one process that wait.
const INPUTS_MAX: u64 = 64;
/// Processes that have not ended, in all: more than can run wait their turn.
const UNFINISHED_MAX: usize = 1_000;
/// Ended processes that are kept: in all, of one program, and for how long.
const ENDED_MAX: usize = 1_000;
const ENDED_EACH_MAX: usize = 100;
const ENDED_MS: u64 = 7 * 86_400_000;
/// Processes that are taken up at the same time when the node starts.
const TAKEN_UP_AT_ONCE: usize = 4;

/// The first byte of an input: whether it is text.
pub(crate) const TEXT: u8 = 1;
const BINARY: u8 = 0;

/// A process to be begun.
pub struct Start {
    /// Its program.
    pub source: Source,
    /// The program's address.
    pub address: String,
    /// What it may do.
    pub authority: Authority,
    /// By whose authority it is started.
    pub starter: Starter,
    /// How it begins.
    pub handler: Handler,
    /// What it is told.
    pub params: Params,
    /// The body of the request: of a process with `main` the first input.
    pub body: Input,
}

/// What is sent to a process.
#[derive(Clone, Debug)]
pub struct Input {
    /// Whether the program gets a text.
    pub is_text: bool,
    /// The bytes.
    pub bytes: Bytes,
}

impl Input {
    fn encode(&self) -> Bytes {
        let kind = if self.is_text { TEXT } else { BINARY };
        [&[kind], &self.bytes[..]].concat().into()
    }
}

/// Why something cannot be done with a process.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProcessError {
    /// This node runs no processes.
    #[error("this node runs no processes; its setting programs.processes is 0")]
    None,
    /// There are too many.
    #[error("{0}")]
    Busy(String),
    /// It has ended.
    #[error("the process has ended; start another")]
    Ended,
    /// There are too many inputs, or this one is too large.
    #[error("{0}")]
    Input(String),
    /// The store failed.
    #[error("{0}")]
    Keep(#[from] KeepError),
}

/// All processes of a node.
pub(crate) struct Table {
    keep: OnceLock<Arc<dyn Keep>>,
    entries: Mutex<HashMap<ProcessId, Arc<Entry>>>,
    /// Processes that run.
    turns: Arc<Semaphore>,
    /// Processes that are being taken up.
    taking_up: Semaphore,
}

impl Table {
    pub(crate) fn new(processes_max: u32) -> Self {
        Self {
            keep: OnceLock::new(),
            entries: Mutex::default(),
            turns: Arc::new(Semaphore::new(processes_max as usize)),
            taking_up: Semaphore::new(TAKEN_UP_AT_ONCE),
        }
    }
}

impl Exec {
    /// Where processes are kept. Given once, when the front door stands.
    pub fn keep_processes_in(&self, keep: Arc<dyn Keep>) {
        // A second place would be another node's.
        let _ = self.0.processes.keep.set(keep);
    }

    fn kept(&self) -> Result<&Arc<dyn Keep>, ProcessError> {
        self.0.processes.keep.get().ok_or(ProcessError::None)
    }

    /// Takes up every process that had not ended when the node did.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn take_up(&self) -> Result<(), KeepError> {
        let Some(keep) = self.0.processes.keep.get() else { return Ok(()) };
        let mut taken_up = 0_u32;
        for (id, record) in keep.all().await? {
            let mut record = match Record::decode(&record) {
                Ok(record) => record,
                Err(error) => {
                    tracing::error!(process = %id, %error, "a process cannot be taken up");
                    continue;
                }
            };
            let inputs = keep.inputs(id).await?.last().map_or(0, |(number, _)| *number);
            if !record.state.is_end() {
                record.state = if record.engine.is_some() { State::Checkpointed } else { State::Queued };
            }
            let is_over = record.state.is_end();
            let entry = Entry::new(id, record, inputs, self.0.settings.process_output);
            hold(&self.0.processes.entries).insert(id, Arc::clone(&entry));
            if !is_over {
                taken_up += 1;
                self.drive(entry);
            }
        }
        if taken_up > 0 {
            tracing::info!(processes = taken_up, "processes are taken up where they were");
        }
        self.forget_old().await;
        Ok(())
    }

    /// Starts a process. When this returns it is kept, and runs as soon as it is its turn.
    ///
    /// # Errors
    /// When there are too many, or it cannot be kept.
    pub async fn start(&self, start: Start) -> Result<Status, ProcessError> {
        let keep = self.kept()?;
        let Start { source, address, authority, starter, handler, params, body } = start;
        if self.0.settings.processes_max == 0 {
            return Err(ProcessError::None);
        }
        if body.bytes.len() > INPUT_MAX {
            return Err(ProcessError::Input(format!("a process is begun with at most {INPUT_MAX} bytes")));
        }
        let source_pieces = cut(&source.bytes);
        let is_input = handler == Handler::Main && !body.bytes.is_empty();
        let rest = if is_input { Vec::new() } else { body.bytes.to_vec() };
        let body_0 = SavedBody { id: 0, taken: 0, is_ended: false, rest: Rest::Kept(rest) };
        let saved = Saved { bodies: vec![body_0], ..Saved::default() }.encode();
        let now_ms = self.interior().now_ms();
        let record = Record {
            address,
            starter,
            tokens: authority.tokens.to_vec(),
            hosts: authority.hosts.to_vec(),
            depth: authority.depth,
            kind: source.kind,
            path: source.path,
            base: source.base,
            program: *blake3::hash(&source.bytes).as_bytes(),
            handler,
            params: serde_json::to_string(&params).unwrap_or_default(),
            state: State::Queued,
            lease: 1,
            engine: None,
            started_ms: now_ms,
            ended_ms: None,
            cpu_us: 0,
            memory_bytes: 0,
            output_bytes: 0,
            output_from: 0,
            inputs_taken: 0,
            checkpoints: 0,
            resumes: 0,
            restarts: 0,
            crashes: 0,
            crash_times: Vec::new(),
            begun: false,
            stopping: false,
            error: None,
            response: None,
            source_pieces: source_pieces.len(),
            saved_pieces: saved.len(),
        };
        let id = keep.fresh();
        let entry = Entry::new(id, record.clone(), u64::from(is_input), self.0.settings.process_output);
        self.admit(&entry)?;
        let change = Change {
            record: record.encode(),
            pieces: Some([source_pieces, saved].concat()),
            input: is_input.then(|| (1, body.encode())),
            ..Change::default()
        };
        if let Err(error) = keep.put(id, change).await {
            hold(&self.0.processes.entries).remove(&id);
            return Err(error.into());
        }
        let status = entry.status();
        self.drive(entry);
        Ok(status)
    }

    /// Adds a process to the table, if there is room.
    fn admit(&self, entry: &Arc<Entry>) -> Result<(), ProcessError> {
        let each = self.0.settings.processes_each_max as usize;
        let address = entry.address();
        let mut entries = hold(&self.0.processes.entries);
        let unfinished = entries.values().filter(|entry| entry.ended_ms().is_none());
        let (mut all, mut own) = (0, 0);
        for other in unfinished {
            all += 1;
            own += usize::from(other.address() == address);
        }
        if own >= each {
            let what =
                format!("{own} processes of this program have not ended; limit programs.processes_each");
            return Err(ProcessError::Busy(what));
        }
        if all >= UNFINISHED_MAX {
            let what = format!("{all} processes of this node have not ended; try again when some have");
            return Err(ProcessError::Busy(what));
        }
        entries.insert(entry.id, Arc::clone(entry));
        Ok(())
    }

    /// A process's turn to run; none when the node ends.
    async fn turn_of_process(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        Arc::clone(&self.0.processes.turns).acquire_owned().await.ok()
    }

    fn entry(&self, id: ProcessId) -> Option<Arc<Entry>> {
        hold(&self.0.processes.entries).get(&id).cloned()
    }

    /// What is shown of a process.
    #[must_use]
    pub fn process(&self, id: ProcessId) -> Option<Status> {
        self.entry(id).map(|entry| entry.status())
    }

    /// All processes, the newest first.
    #[must_use]
    pub fn processes(&self) -> Vec<Status> {
        let entries: Vec<_> = hold(&self.0.processes.entries).values().cloned().collect();
        let mut all: Vec<_> = entries.iter().map(|entry| entry.status()).collect();
        all.sort_by_key(|status| (std::cmp::Reverse(status.started_ms), status.id));
        all
    }

    /// Sends something to a process. When this returns it is kept and will be handed over once.
    ///
    /// # Errors
    /// When it has ended, too much waits, or the input cannot be kept.
    pub async fn send_input(&self, id: ProcessId, input: Input) -> Result<(), ProcessError> {
        let keep = self.kept()?;
        let entry = self.entry(id).ok_or(ProcessError::Ended)?;
        if input.bytes.len() > INPUT_MAX {
            return Err(ProcessError::Input(format!(
                "an input may have {INPUT_MAX} bytes; store it and send its address"
            )));
        }
        let _one = entry.numbering.lock().await;
        if entry.ended_ms().is_some() || entry.stop.is_cancelled() {
            return Err(ProcessError::Ended);
        }
        let number = entry.inputs_made() + 1;
        if number > entry.inputs_taken() + INPUTS_MAX {
            return Err(ProcessError::Busy(format!(
                "{INPUTS_MAX} inputs wait for the process; try again later"
            )));
        }
        keep.input(id, number, input.encode()).await?;
        entry.input_was_made(number);
        Ok(())
    }

    /// Asks a process to stop, or ends it at once. Answers when that is kept, for `kill` when it has ended.
    pub async fn stop_process(&self, id: ProcessId, kill: bool) {
        let Some(entry) = self.entry(id) else { return };
        let mut news = entry.follow();
        entry.stop.cancel();
        if kill {
            entry.kill.cancel();
        }
        let noted = async {
            while !(entry.ended_ms().is_some() || !kill && entry.record().stopping)
                && news.changed().await.is_ok()
            {}
        };
        // A node that stops notes it with the last checkpoint.
        tokio::select! {
            () = noted => {}
            () = self.0.closing.cancelled() => {}
        }
    }

    /// Has a process put away as it is now; it goes on. Answers when that is done, or when it has ended.
    pub async fn checkpoint_process(&self, id: ProcessId) {
        let Some(entry) = self.entry(id) else { return };
        let mut news = entry.follow();
        let before = entry.record().checkpoints;
        entry.checkpoint.store(true, Ordering::Relaxed);
        entry.poked.notify_one();
        let done = async {
            while entry.ended_ms().is_none()
                && entry.record().checkpoints == before
                && news.changed().await.is_ok()
            {}
        };
        // Something may run for long before its stack is empty.
        let _ = tokio::time::timeout(Duration::from_secs(10), done).await;
    }

    /// The output of a process from a byte on, as far as it is kept; with `follow` also what it writes later, until it ends.
    #[must_use]
    pub fn process_output(&self, id: ProcessId, from: u64, follow: bool) -> BodyStream {
        let reading = self.entry(id).map(|entry| Reading::new(self.clone(), entry, from, follow));
        Box::pin(stream::unfold(reading, |reading| async {
            let mut reading = reading?;
            match reading.next().await {
                Some(Ok(bytes)) => Some((Ok(bytes), Some(reading))),
                Some(Err(error)) => Some((Err(error), None)),
                None => None,
            }
        }))
    }

    /// Forgets ended processes that are old or too many.
    async fn forget_old(&self) {
        let Some(keep) = self.0.processes.keep.get() else { return };
        let now_ms = self.interior().now_ms();
        let mut ended: Vec<_> = {
            let entries = hold(&self.0.processes.entries);
            entries
                .values()
                .filter_map(|entry| Some((entry.ended_ms()?, entry.id, entry.address())))
                .collect()
        };
        ended.sort_by_key(|(ended_ms, id, _)| (std::cmp::Reverse(*ended_ms), *id));
        let mut each: HashMap<&str, usize> = HashMap::new();
        for (nth, (ended_ms, id, address)) in ended.iter().enumerate() {
            let own = each.entry(address).or_default();
            *own += 1;
            if nth < ENDED_MAX && *own <= ENDED_EACH_MAX && ended_ms.saturating_add(ENDED_MS) > now_ms {
                continue;
            }
            match keep.forget(*id).await {
                Ok(()) => drop(hold(&self.0.processes.entries).remove(id)),
                Err(error) => {
                    tracing::warn!(process = %id, %error, "an ended process could not be forgotten")
                }
            }
        }
    }
}

/// Somebody reads output.
struct Reading {
    exec: Exec,
    entry: Arc<Entry>,
    news: tokio::sync::watch::Receiver<u64>,
    at: u64,
    follow: bool,
}

impl Reading {
    fn new(exec: Exec, entry: Arc<Entry>, at: u64, follow: bool) -> Self {
        if follow {
            entry.followers.fetch_add(1, Ordering::Relaxed);
            entry.poked.notify_one();
        }
        Self { exec, news: entry.follow(), entry, at, follow }
    }

    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        let failed = |error: &dyn std::fmt::Display| Some(Err(BodyError(error.to_string())));
        loop {
            // Looked at before the output, so that what is written last is not missed.
            let is_over = self.entry.ended_ms().is_some() || !self.follow;
            self.news.mark_unchanged();
            let keep = match self.exec.kept() {
                Ok(keep) => keep,
                Err(error) => return failed(&error),
            };
            match keep.output(self.entry.id, self.at).await {
                Ok(Some((at, bytes))) => {
                    self.at = at + bytes.len() as u64;
                    return Some(Ok(bytes));
                }
                Ok(None) if is_over => return None,
                Ok(None) => {}
                Err(error) => return failed(&error),
            }
            tokio::select! {
                changed = self.news.changed() => changed.ok()?,
                () = self.exec.0.closing.cancelled() => return failed(&"the node stops; ask again with after"),
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.follow {
            self.entry.followers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
