//! Programs: stored files that run when they are requested, in a sandboxed worker process.
//!
//! [`Exec`] is the node's end: it prepares programs, begins runs and carries out what they ask for. The other end is crate `jsfs-worker`, a process
//! of its own; [`wire`] is what they say to each other. A run asks for other objects through [`Interior`], which the front door implements, so
//! that a program meets the same verbs and the same authority as any other client, without a socket between.

mod artefacts;
mod body;
mod calls;
mod interior;
mod log;
mod outside;
pub mod parallel;
mod placement;
pub mod process;
mod running;
mod said;
mod sandbox;
mod turns;
mod url;
pub mod wire;

pub use artefacts::{Artefact, Artefacts};
pub use body::{BodyError, BodyStream};
pub use interior::{Authority, Interior, Nowhere};
pub use log::{Line, Logs};
pub use outside::Host;
pub use placement::{Here, Placement};
pub use running::Begin;
pub use said::{Answer, AnswerBody, Caller, FetchHead, Frame, Given, Params, PartHead, RunError, Socket};
pub use sandbox::Command;
pub use wire::{Bound, Bounds, Fault, Handler, Kind, Level, Outcome};

use bytes::Bytes;
use quick_cache::{Weighter, sync::Cache};
use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What the node lets programs use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the worker is started.
    pub command: Command,
    /// Runs at the same time, over all programs.
    pub runs_max: u32,
    /// Runs beside them whose connection has become a WebSocket.
    pub sockets_max: u32,
    /// What one request may use.
    pub request: Bounds,
    /// What one run of `map` or `reduce` may use.
    pub part: Bounds,
    /// What preparing a program may use.
    pub prepare: Bounds,
    /// Processes that run at the same time; more wait their turn.
    pub processes_max: u32,
    /// Processes of one program that have not ended.
    pub processes_each_max: u32,
    /// Ends of the worker within an hour after which a process that did something meanwhile counts as their cause; 0 counts none.
    pub process_crashes: u32,
    /// What a process may use in all.
    pub process: Bounds,
    /// Bytes of a process's output that are kept.
    pub process_output: u64,
    /// How long a process in which something happens goes without a checkpoint.
    pub checkpoint_every: Duration,
    /// Whether programs reach hosts outside the node that their owners named.
    pub outside: bool,
    /// Those among them that they reach though they are not open to everybody.
    pub private_hosts: Vec<Host>,
}

/// A program, ready to run.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What identifies it among prepared programs.
    pub id: [u8; 32],
    /// The handlers that it has, by name.
    pub handlers: Arc<[String]>,
    /// The same for the same text with the same imports, whenever it was prepared: `id` is of one image of it.
    pub source: [u8; 32],
    image: Bytes,
    /// The hash of the base image that it belongs to.
    base: [u8; 32],
}

impl Prepared {
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self { id: [0; 32], handlers: Arc::from([]), source: [0; 32], image: Bytes::new(), base: [0; 32] }
    }

    /// Whether it has this handler.
    #[must_use]
    pub fn has(&self, handler: Handler) -> bool {
        self.handlers.iter().any(|name| name == handler.name())
    }

    /// Whether it is a command, which maps and reduces where its arguments say so.
    #[must_use]
    pub fn is_command(&self) -> bool {
        self.handlers.iter().any(|name| name == Handler::COMMAND)
    }
}

/// What is to be prepared.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it is.
    pub kind: Kind,
    /// Its path, which stack traces name and imports are relative to.
    pub path: String,
    /// Its URL.
    pub base: String,
    /// Its text or module.
    pub bytes: Bytes,
}

/// What a program that was prepared is found by.
pub type Identity = [u8; 32];

impl Source {
    /// What it is found by once it was prepared: everything that preparing it depends on but its imports.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let mut hasher = blake3::Hasher::new();
        for part in [self.path.as_bytes(), self.base.as_bytes(), &self.bytes] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.update(&[u8::from(self.kind == Kind::Wasm)]);
        *hasher.finalize().as_bytes()
    }
}

/// Why a program cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It is no program, or fails while it is loaded.
    #[error("{}", .0.message)]
    Refused(Fault),
    /// The worker is not there.
    #[error("{0}")]
    Unavailable(#[from] sandbox::Unavailable),
}

/// Programs of one node. Clones share it.
#[derive(Clone)]
pub struct Exec(Arc<Inner>);

struct Inner {
    settings: Settings,
    sandbox: sandbox::Sandbox,
    /// A second worker, for programs that took much memory. What a process does with its memory goes one after the other, also where it is
    /// done for a run that made way for all others; so whoever fills and frees memory slows down everybody in the same process.
    apart: sandbox::Sandbox,
    /// These programs, as far as they are remembered.
    apart_programs: Cache<[u8; 32], ()>,
    interior: std::sync::OnceLock<Arc<dyn Interior>>,
    prepared: Cache<[u8; 32], Prepared, Weight>,
    runs: turns::Turns,
    sockets: turns::Turns,
    /// Programs are prepared beside what runs, and few at a time, so that whoever stores endless ones keeps nobody from running.
    prepares: turns::Turns,
    /// Jobs over many parts: few at a time, because each holds its values.
    jobs: Semaphore,
    logs: Logs,
    outside: Arc<outside::Outside>,
    tasks: TaskTracker,
    processes: process::Table,
    process_tasks: TaskTracker,
    /// The node stops: processes are put away.
    closing: CancellationToken,
}

/// How long whatever needs the worker may wait for its turn.
pub(crate) const TURN: Duration = Duration::from_secs(10);
/// Programs that are prepared at the same time; more wait their turn.
const PREPARES_MAX: u32 = 16;
/// Bytes of prepared programs that the node keeps in memory after they were stored, until it rests.
const PREPARED_BYTES: u64 = 8 << 20;
/// How many these may be.
const PREPARED_ESTIMATE: usize = 256;
/// Bytes of memory that a run may end with for its program to run beside all others the next time.
pub(crate) const BESIDE_BYTES: u64 = 16 << 20;
/// Programs that are remembered to run apart.
const APART_PROGRAMS: usize = 4_096;
/// Jobs over many parts at the same time; more wait their turn.
const JOBS_MAX: usize = 4;

/// What a prepared program counts for.
#[derive(Clone)]
struct Weight;

impl Weighter<[u8; 32], Prepared> for Weight {
    fn weight(&self, _: &[u8; 32], prepared: &Prepared) -> u64 {
        prepared.weight()
    }
}

impl Exec {
    /// Programs with these settings. The worker is started by the first that is needed.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let runs = turns::Turns::new(settings.runs_max);
        let sockets = turns::Turns::new(settings.sockets_max);
        let threads = [settings.sockets_max, settings.processes_max, PREPARES_MAX]
            .into_iter()
            .fold(settings.runs_max, u32::saturating_add);
        let runs_begun = Arc::<AtomicU64>::default();
        let worker = || sandbox::Sandbox::new(settings.command.clone(), threads, Arc::clone(&runs_begun));
        let (sandbox, apart) = (worker(), worker());
        let processes = process::Table::new(settings.processes_max);
        let outside = outside::Outside::new(settings.outside, settings.private_hosts.clone());
        Self(Arc::new(Inner {
            settings,
            sandbox,
            apart,
            apart_programs: Cache::new(APART_PROGRAMS),
            interior: std::sync::OnceLock::new(),
            prepared: Cache::with_weighter(PREPARED_ESTIMATE, PREPARED_BYTES, Weight),
            runs,
            sockets,
            prepares: turns::Turns::new(PREPARES_MAX),
            jobs: Semaphore::new(JOBS_MAX),
            logs: Logs::default(),
            outside: Arc::new(outside),
            tasks: TaskTracker::new(),
            processes,
            process_tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        }))
    }

    /// How many programs run now for a request or a socket; processes are counted apart.
    #[must_use]
    pub fn running(&self) -> usize {
        self.0.runs.taken() + self.0.sockets.taken()
    }

    /// What programs reach by `fetch`. Given once, when the front door stands.
    pub fn reach(&self, interior: Arc<dyn Interior>) {
        // A second front door would be another node's.
        let _ = self.0.interior.set(interior);
    }

    /// Where what can be made again is kept. Given once, before anything runs.
    pub fn keep_artefacts_in(&self, artefacts: Arc<dyn Artefacts>) {
        self.0.sandbox.keep_in(Arc::clone(&artefacts));
        self.0.apart.keep_in(artefacts);
    }

    /// What programs have logged lately.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.0.logs
    }

    /// The bounds of a request.
    #[must_use]
    pub fn request_bounds(&self) -> Bounds {
        self.0.settings.request
    }

    /// The bounds of a run of `map` or `reduce`.
    #[must_use]
    pub fn part_bounds(&self) -> Bounds {
        let part = self.0.settings.part;
        Bounds { output_bytes: part.output_bytes.min(parallel::VALUE_MAX), requests: 0, ..part }
    }

    /// Runs that a job may have at the same time: as many as it wants or the machine has processors, and never all of the node's.
    #[must_use]
    pub fn at_once(&self, wanted: Option<u64>) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let wanted = wanted.map_or(processors, |wanted| usize::try_from(wanted).unwrap_or(usize::MAX));
        wanted.min(self.0.settings.runs_max as usize / 2).max(1)
    }

    /// Does a job over many parts.
    ///
    /// # Errors
    /// Names the part that failed.
    pub async fn work(&self, job: parallel::Job) -> Result<parallel::Done, parallel::JobError> {
        let turn = tokio::time::timeout(TURN, self.0.jobs.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            let error = RunError::Busy;
            return Err(parallel::JobError::Run { of: "map and reduce".to_owned(), error });
        };
        parallel::work(Arc::new(Here(self.clone())), job).await
    }

    pub(crate) fn interior(&self) -> Arc<dyn Interior> {
        self.0.interior.get().map_or_else(|| Arc::new(Nowhere) as Arc<dyn Interior>, Arc::clone)
    }

    /// Finds a program prepared, or prepares it.
    ///
    /// # Errors
    /// As [`Exec::prepare`].
    pub async fn prepared(&self, source: &Source, authority: &Authority) -> Result<Prepared, PrepareError> {
        match self.found(&source.identity()).await {
            Some(prepared) => Ok(prepared),
            None => self.prepare(source, authority).await,
        }
    }

    /// Finds a program prepared, without its text.
    pub async fn found(&self, identity: &Identity) -> Option<Prepared> {
        if let Some(prepared) = self.0.prepared.get(identity).filter(|prepared| self.is_current(prepared)) {
            return Some(prepared);
        }
        let prepared = self.prepared_before(identity).await?;
        self.0.prepared.insert(*identity, prepared.clone());
        Some(prepared)
    }

    /// Forgets what is kept in memory though it lies in the store too, and ends the second worker: the node rests.
    pub fn rest(&self) {
        self.0.prepared.clear();
        self.0.apart.rest();
    }

    /// Prepares a program, what it imports included, also where the same text was prepared before.
    ///
    /// # Errors
    /// When it does not parse or validate, throws while it is loaded, or the worker is not there.
    pub async fn prepare(&self, source: &Source, authority: &Authority) -> Result<Prepared, PrepareError> {
        let Some(_turn) = self.0.prepares.take(&url::host(&source.base), TURN).await else {
            return Err(
                sandbox::Unavailable("too many are loaded at the moment; try again".to_owned()).into()
            );
        };
        let (handlers, image, imported) = self.0.sandbox.prepare(self, source, authority).await?;
        tracing::debug!(path = source.path, bytes = image.len(), "a program was prepared");
        let base = self.0.sandbox.base().await.unwrap_or_default();
        let (prepared, identity) =
            (Prepared::new(handlers, text_of(source, &imported), image, base), source.identity());
        self.0.prepared.insert(identity, prepared.clone());
        if let Some(artefacts) = self.0.sandbox.artefacts() {
            let key = artefacts::program_key(&identity, &base);
            artefacts.keep(Artefact::Program, key, prepared.encode()).await;
        }
        Ok(prepared)
    }

    /// A program that was prepared by the base image that there is.
    async fn prepared_before(&self, identity: &[u8; 32]) -> Option<Prepared> {
        let artefacts = self.0.sandbox.artefacts()?;
        let base = self.0.sandbox.base().await?;
        let kept = artefacts.get(Artefact::Program, artefacts::program_key(identity, &base)).await?;
        Prepared::decode(&kept, base)
    }

    /// Whether a program was prepared by the base image that runs are made of now.
    #[must_use]
    pub fn is_current(&self, prepared: &Prepared) -> bool {
        self.0.sandbox.is_base(&prepared.base)
    }

    /// From now on nothing new is begun, and processes are put away: the node stops.
    pub fn part(&self) {
        self.0.closing.cancel();
    }

    /// Ends what runs and the worker.
    pub async fn close(&self) {
        self.part();
        self.0.process_tasks.close();
        self.0.process_tasks.wait().await;
        self.0.sandbox.close().await;
        self.0.apart.close().await;
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

/// What a program says, what it imports included, and to which version of the engine.
fn text_of(source: &Source, imported: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&source.identity());
    hasher.update(imported);
    hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
    *hasher.finalize().as_bytes()
}

pub(crate) fn hold<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
