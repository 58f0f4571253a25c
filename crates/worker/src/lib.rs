//! The worker: the process in which untrusted code is compiled and run.
//!
//! It has one socket, to the node, and nothing else: no files, no network, no secrets (`wall`). Frames come in on one thread and are handed to the
//! run that they belong to; each run has a thread of its own from a pool while it lasts, because it is CPU work with waits in between. If
//! the process dies, the node answers 502 to what ran in it and starts another: nothing is kept here that is not kept elsewhere.

mod crypto;
mod engine;
mod gate;
mod inbox;
mod js;
mod limiter;
mod out;
mod pool;
mod programs;
mod wall;
mod wasm;
mod way;
mod web;

use bytes::Bytes;
use engine::{WASM_STACK, engine};
use gate::Gate;
use inbox::Inbox;
use js::{Base, Begin, Guest, Image, Instances, OtherEngine, Running};
use jsfs_exec::wire::{self, Bounds, Fault, Handler, Kind, Level, Outcome, RunId, ToNode, ToWorker};
pub(crate) use out::Out;
use pool::Pool;
use programs::Programs;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{self, Read},
    num::NonZero,
    os::unix::net::UnixStream,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use wasm::Wasm;
use wasmtime::{Engine, Result, format_err};

/// How often the sandbox looks whether a run's time is over.
const TICK: Duration = Duration::from_millis(4);
/// After how many such looks instances that are idle for long are dropped.
const SWEEP_TICKS: u32 = 500;
/// Messages to one run that wait for it.
const INBOX: usize = 1_024;
/// Stack of a thread that runs or loads programs.
const STACK: usize = WASM_STACK * 2 + (256 << 10);
/// Largest image of a prepared program: what one frame carries.
const IMAGE_MAX: usize = 64 << 20;

/// Runs a worker on the socket that is its standard input, until the node closes it. `give_back` returns to the system what the allocator keeps; it is called
/// when nothing runs.
///
/// # Errors
/// When the socket fails, or the engine cannot be started.
pub fn run(give_back: fn()) -> io::Result<()> {
    let walls = wall::before_engine()?;
    let socket = UnixStream::from(rustix::io::dup(io::stdin())?);
    Worker::serve(socket, walls, give_back)
}

/// What a run is told while it runs.
pub(crate) enum Inbound {
    Settle { id: u32, ok: bool, json: Option<String>, bytes: Option<Bytes> },
    Event { event: String, params: String, bytes: Option<Bytes> },
    Checkpoint,
    Cancel,
}

struct Worker {
    engine: Engine,
    out: Arc<Out>,
    base: Base,
    wasm: Wasm,
    /// Threads for runs.
    pool: Pool,
    /// Threads that load programs.
    loaders: Pool,
    instances: Instances,
    /// Where programs in JavaScript go through to be loaded.
    loading: Arc<Gate>,
    runs: Mutex<HashMap<RunId, Run>>,
    loads: Mutex<HashMap<RunId, Load>>,
    programs: Mutex<Programs<Program>>,
    active: AtomicUsize,
}

/// A program that is being prepared. Without it what it imports is not waited for any longer.
struct Load {
    imports: SyncSender<std::result::Result<String, String>>,
    cancelled: Arc<AtomicBool>,
}

struct Run {
    messages: Messages,
    cancelled: Arc<AtomicBool>,
}

/// Where a run takes its messages from: waiting on its thread, or on its executor.
enum Messages {
    Thread(Inbox<Inbound>),
    Executor(mpsc::Sender<Inbound>),
}

impl Messages {
    /// Puts a message in, if there is room.
    fn take(&self, message: Inbound) -> bool {
        match self {
            Self::Thread(inbox) => inbox.put(message),
            Self::Executor(inbox) => inbox.try_send(message).is_ok(),
        }
    }
}

/// A prepared program.
enum Program {
    JavaScript(Image),
    Wasm(wasm::Program),
}

/// What the bytes of a prepared program begin with.
const JAVASCRIPT: u8 = 0;
const WASM: u8 = 1;

impl Program {
    fn encode(kind: u8, mut prepared: Vec<u8>) -> Vec<u8> {
        prepared.insert(0, kind);
        prepared
    }

    /// Answers with it the bytes that it keeps in this process.
    fn decode(base: &Base, wasm: &Wasm, bytes: &Bytes) -> Result<(Self, usize)> {
        match bytes.first() {
            Some(&JAVASCRIPT) => {
                let image = Image::decode(&bytes.slice(1..), base)?;
                let weight = image.pages.weight();
                Ok((Self::JavaScript(image), weight))
            }
            Some(&WASM) => wasm.load(&bytes[1..]).map(|(program, weight)| (Self::Wasm(program), weight)),
            _ => Err(format_err!("it is of no known kind")),
        }
    }
}

/// CPU time of the calling thread.
pub(crate) fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_frame(socket: &mut impl Read) -> io::Result<(ToWorker, Bytes)> {
    let mut four = [0; 4];
    socket.read_exact(&mut four)?;
    let mut frame = vec![0; wire::length(four)?];
    socket.read_exact(&mut frame)?;
    wire::decode(frame.into())
}

impl Worker {
    fn serve(socket: UnixStream, mut walls: wall::Walls, give_back: fn()) -> io::Result<()> {
        let out = Arc::new(Out::new(socket.try_clone()?));
        let mut socket = io::BufReader::with_capacity(64 << 10, socket);
        let (ToWorker::Begin { threads, instances, has_base }, kept) = read_frame(&mut socket)? else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the first frame is not the first"));
        };
        let engine = engine(instances).map_err(io::Error::other)?;
        // Before the base image is made: that starts threads, which inherit it, and needs nothing that it forbids.
        wall::after_engine(&mut walls);
        let nobody = guest(&out, 0, UNBOUNDED, None);
        let opened = if has_base { Base::open(&engine, &kept, nobody).ok() } else { None };
        let (base, kept) = match opened {
            Some(base) => (base, None),
            None => {
                // Without clock and randomness, so that it comes out the same wherever and whenever it is made: images of processes need that.
                let mut nobody = guest(&out, 0, UNBOUNDED, None);
                (nobody.is_still, nobody.began_ms) = (true, 0.0);
                let (base, kept) = Base::make(&engine, nobody).map_err(io::Error::other)?;
                (base, Some(kept))
            }
        };
        wall::before_runs(&mut walls);
        out.begin()?;
        let ready = ToNode::Ready { has_base: kept.is_some(), walls: walls.to_string() };
        out.send(&ready, kept.as_deref().unwrap_or_default());
        let wasm = Wasm::new(&engine).map_err(io::Error::other)?;
        let worker = Arc::new(Worker {
            engine,
            out,
            base,
            wasm,
            pool: Pool::new(threads as usize, STACK, || ()),
            loaders: Pool::new(threads as usize, STACK, wall::before_loading),
            instances: Instances::default(),
            loading: Arc::new(Gate::new(thread::available_parallelism().map_or(1, NonZero::get) / 2)),
            runs: Mutex::default(),
            loads: Mutex::default(),
            programs: Mutex::default(),
            active: AtomicUsize::default(),
        });
        // What making or opening the base image took.
        give_back();
        worker.start_ticking(give_back)?;
        loop {
            match read_frame(&mut socket) {
                Ok((message, bytes)) => worker.take(message, bytes),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// While something runs, the engine's clock ticks. When nothing has run for some time, memory is given back.
    fn start_ticking(self: &Arc<Self>, give_back: fn()) -> io::Result<()> {
        let worker = Arc::clone(self);
        let tick = move || {
            let mut has_worked = false;
            for ticks in (0..SWEEP_TICKS).cycle() {
                thread::sleep(TICK);
                worker.pool.tend();
                worker.loaders.tend();
                if worker.active.load(Ordering::Relaxed) > 0 {
                    worker.engine.increment_epoch();
                    has_worked = true;
                }
                if ticks == 0 && worker.instances.sweep() && worker.is_empty() && has_worked {
                    give_back();
                    // The threads that compile have memory of their own. They are not waited for: this one has to be on time.
                    rayon::spawn_broadcast(move |_| give_back());
                    has_worked = false;
                }
            }
        };
        thread::Builder::new().name("tick".to_owned()).stack_size(64 << 10).spawn(tick).map(drop)
    }

    fn take(self: &Arc<Self>, message: ToWorker, bytes: Bytes) {
        match message {
            ToWorker::Begin { .. } => {}
            ToWorker::Prepare { run, kind, name, base, bounds } => {
                self.prepare(run, kind, name, base, bounds, bytes);
            }
            ToWorker::Imported { run, error } => {
                let source = match error {
                    Some(why) => Err(why),
                    None => String::from_utf8(bytes.to_vec()).map_err(|_| "it is not UTF-8".to_owned()),
                };
                if let Some(load) = hold(&self.loads).get(&run) {
                    // Whoever does not wait any longer needs no answer.
                    let _ = load.imports.try_send(source);
                }
            }
            ToWorker::Load { program } => match Program::decode(&self.base, &self.wasm, &bytes) {
                Ok((loaded, weight)) => drop(hold(&self.programs).insert(program, loaded, weight)),
                Err(error) => self.log(0, format!("a program cannot be loaded: {error}")),
            },
            ToWorker::Run { run, program, handler, params, bounds, has_bytes } => {
                let bytes = has_bytes.then_some(bytes);
                self.run(run, &program, bounds, handler, params, bytes);
            }
            ToWorker::Resume { run, bounds } => match Image::of_pieces(&bytes) {
                Ok(image) => {
                    self.run_image(run, Arc::new(Program::JavaScript(image)), bounds, false, Begin::Resumed);
                }
                Err(error) => self.end(run, Outcome::Trapped(error.to_string())),
            },
            ToWorker::Settle { run, id, ok, json, has_bytes } => {
                let bytes = has_bytes.then_some(bytes);
                self.tell(run, Inbound::Settle { id, ok, json, bytes });
            }
            ToWorker::Event { run, event, params, has_bytes } => {
                let bytes = has_bytes.then_some(bytes);
                self.tell(run, Inbound::Event { event, params, bytes });
            }
            ToWorker::Checkpoint { run } => self.tell(run, Inbound::Checkpoint),
            ToWorker::Cancel { run } => {
                if let Some(run) = hold(&self.runs).get(&run) {
                    run.cancelled.store(true, Ordering::Relaxed);
                    // A full inbox holds something that wakes the run, and then it sees the mark.
                    let _ = run.messages.take(Inbound::Cancel);
                }
                if let Some(load) = hold(&self.loads).remove(&run) {
                    load.cancelled.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// Hands something to a run. One whose inbox is full does not take its messages: it is ended rather than waited for.
    fn tell(&self, run: RunId, message: Inbound) {
        if let Some(run) = hold(&self.runs).get(&run)
            && !run.messages.take(message)
        {
            run.cancelled.store(true, Ordering::Relaxed);
        }
    }

    fn log(&self, run: RunId, text: String) {
        self.out.send(&ToNode::Log { run, level: Level::Error, text }, &[]);
    }

    fn end(&self, run: RunId, outcome: Outcome) {
        self.out.send(&ToNode::Ended { run, outcome, cpu_us: 0, memory_bytes: 0 }, &[]);
    }

    fn prepare(
        self: &Arc<Self>,
        run: RunId,
        kind: Kind,
        name: String,
        base: String,
        bounds: Bounds,
        source: Bytes,
    ) {
        let (imports, receiver) = sync_channel(1);
        let cancelled = Arc::<AtomicBool>::default();
        hold(&self.loads).insert(run, Load { imports, cancelled: Arc::clone(&cancelled) });
        let worker = Arc::clone(self);
        self.spawn(&self.loaders, run, move || {
            // Nobody may be waiting for it by the time that it has a thread.
            if !cancelled.load(Ordering::Relaxed) {
                worker.prepare_here(run, kind, &name, &base, bounds, &source, receiver, cancelled);
            }
            hold(&worker.loads).remove(&run);
        });
    }

    #[allow(clippy::too_many_arguments, reason = "they are the message")]
    fn prepare_here(
        &self,
        run: RunId,
        kind: Kind,
        name: &str,
        base: &str,
        bounds: Bounds,
        source: &Bytes,
        imports: Receiver<std::result::Result<String, String>>,
        cancelled: Arc<AtomicBool>,
    ) {
        let refuse = |message: String| {
            let fault = Fault { message, position: None };
            self.out.send(&ToNode::Refused { run, fault }, &[]);
        };
        if kind == Kind::Wasm {
            return match self.wasm.prepare(source) {
                Ok((artefact, program, weight)) => {
                    let handlers = vec![Handler::Fetch.name().to_owned(), Handler::COMMAND.to_owned()];
                    let prepared = Program::encode(WASM, artefact);
                    self.keep(&prepared, Program::Wasm(program), weight);
                    self.out.send(&ToNode::Prepared { run, handlers }, &prepared);
                }
                Err(fault) => self.out.send(&ToNode::Refused { run, fault }, &[]),
            };
        }
        let source = match std::str::from_utf8(source) {
            Ok(source) => source,
            Err(error) => {
                return refuse(format!("it is not UTF-8 from byte {} on", error.valid_up_to()));
            }
        };
        let mut guest = guest(&self.out, run, bounds, Some(imports));
        guest.is_still = true;
        let _place = self.loading.enter();
        match js::prepare(&self.base, guest, name, base, source, cancelled) {
            Ok(Ok((image, vm))) => match image.encode(&self.base) {
                Ok(bytes) if bytes.len() > IMAGE_MAX => {
                    refuse(format!(
                        "what it keeps in memory when it is loaded takes more than {IMAGE_MAX} bytes"
                    ));
                }
                Ok(bytes) => {
                    let handlers = image.handlers.clone();
                    let (prepared, weight) = (Program::encode(JAVASCRIPT, bytes), image.pages.weight());
                    let program = self.keep(&prepared, Program::JavaScript(image), weight);
                    if let Program::JavaScript(image) = &*program {
                        self.instances.put_fresh(&self.base, Arc::clone(&program), image, vm);
                    }
                    self.out.send(&ToNode::Prepared { run, handlers }, &prepared);
                }
                Err(error) => refuse(error.to_string()),
            },
            Ok(Err(fault)) => self.out.send(&ToNode::Refused { run, fault }, &[]),
            Err(error) => refuse(error.to_string()),
        }
    }

    /// Keeps a program that was just prepared until its first run.
    fn keep(&self, prepared: &[u8], program: Program, weight: usize) -> Arc<Program> {
        hold(&self.programs).insert_fresh(*blake3::hash(prepared).as_bytes(), program, weight)
    }

    fn run(
        self: &Arc<Self>,
        run: RunId,
        id: &[u8; 32],
        bounds: Bounds,
        handler: Handler,
        params: String,
        bytes: Option<Bytes>,
    ) {
        let program = hold(&self.programs).get(id);
        match program {
            Some(program) if matches!(*program, Program::Wasm(_)) => {
                self.run_wasm(run, program, bounds, handler, params)
            }
            Some(program) => {
                let begin = Begin::Handler { handler, params, bytes };
                self.run_image(run, program, bounds, handler.is_deterministic(), begin);
            }
            None => self.out.send(&ToNode::Missing { run, program: *id }, &[]),
        }
    }

    fn run_wasm(
        self: &Arc<Self>,
        run: RunId,
        program: Arc<Program>,
        bounds: Bounds,
        handler: Handler,
        params: String,
    ) {
        let (inbox, messages) = mpsc::channel(INBOX);
        let cancelled = self.admit(run, Messages::Executor(inbox));
        let worker = Arc::clone(self);
        self.spawn(&self.pool, run, move || {
            if let Program::Wasm(program) = &*program {
                let out = Arc::clone(&worker.out);
                let setting = wasm::Setting { run, out, bounds, handler, params, inbox: messages, cancelled };
                wasm::drive(&worker.wasm, program, setting);
            }
            hold(&worker.runs).remove(&run);
        });
    }

    /// From now on the run has messages.
    fn admit(&self, run: RunId, messages: Messages) -> Arc<AtomicBool> {
        let cancelled = Arc::new(AtomicBool::new(false));
        hold(&self.runs).insert(run, Run { messages, cancelled: Arc::clone(&cancelled) });
        cancelled
    }

    fn run_image(
        self: &Arc<Self>,
        run: RunId,
        program: Arc<Program>,
        bounds: Bounds,
        is_still: bool,
        begin: Begin,
    ) {
        let inbox = Inbox::default();
        let cancelled = self.admit(run, Messages::Thread(inbox.clone()));
        let worker = Arc::clone(self);
        self.spawn(&self.pool, run, move || {
            let mut guest = guest(&worker.out, run, bounds, None);
            guest.is_still = is_still;
            if is_still {
                guest.began_ms = 0.0;
            }
            if let Program::JavaScript(image) = &*program {
                let idle = worker.instances.take(&worker.base, &program, image);
                match Running::new(&worker.base, image, idle, guest, inbox, cancelled) {
                    Ok(running) => {
                        let is_whole = !matches!(begin, Begin::Resumed);
                        // The image of a run that was resumed is of no use to any other.
                        if let Some(vm) = running.drive(begin).filter(|_| is_whole) {
                            worker.instances.put(&worker.base, Arc::clone(&program), image, vm);
                        }
                    }
                    Err(error) if error.is::<OtherEngine>() => worker.end(run, Outcome::OtherEngine),
                    Err(error) => worker.end(run, Outcome::Trapped(error.to_string())),
                }
            }
            hold(&worker.runs).remove(&run);
        });
    }

    /// Whether it has no threads for programs.
    fn is_empty(&self) -> bool {
        self.pool.is_empty() && self.loaders.is_empty()
    }

    /// Runs it on a thread of this pool, with the engine's clock ticking. A fault of ours ends the run that met it, and no other.
    fn spawn(self: &Arc<Self>, pool: &Pool, run: RunId, work: impl FnOnce() + Send + 'static) {
        let worker = Arc::clone(self);
        pool.run(Box::new(move || {
            worker.active.fetch_add(1, Ordering::Relaxed);
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                hold(&worker.runs).remove(&run);
                hold(&worker.loads).remove(&run);
                let fault = Fault { message: "the worker failed".to_owned(), position: None };
                worker.out.send(&ToNode::Refused { run, fault }, &[]);
                worker.end(
                    run,
                    Outcome::Trapped("the worker failed; its last words are in the node's log".to_owned()),
                );
            }
            worker.active.fetch_sub(1, Ordering::Relaxed);
        }));
    }
}

fn guest(
    out: &Arc<Out>,
    run: RunId,
    bounds: Bounds,
    imports: Option<Receiver<std::result::Result<String, String>>>,
) -> Guest {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Guest {
        run,
        out: Arc::clone(out),
        bounds,
        began: Instant::now(),
        bounded_since: Instant::now(),
        #[allow(clippy::cast_precision_loss, reason = "milliseconds with fractions, as JavaScript has them")]
        began_ms: now.tv_sec as f64 * 1_000.0 + now.tv_nsec as f64 / 1_000_000.0,
        is_still: false,
        pending: BTreeSet::new(),
        timers: BTreeMap::new(),
        timers_made: 0,
        has_answered: false,
        takes_events: false,
        is_done: false,
        held: None,
        is_process: false,
        rests: false,
        went_before: Duration::ZERO,
        requests_left: bounds.requests,
        log_left: bounds.log_bytes,
        output_left: bounds.output_bytes,
        exceeded: false,
        imports,
        rejections: Vec::new(),
    }
}

/// Bounds of our own code.
const UNBOUNDED: Bounds = Bounds {
    cpu_ms: u64::MAX,
    wall_ms: u64::MAX,
    memory_bytes: u64::MAX,
    output_bytes: u64::MAX,
    requests: 0,
    log_bytes: u64::MAX,
};
