//! A worker process as the node sees it, of which there are two: started when it is needed, started again when it dies.
//!
//! A worker that dies takes the runs in it along; each hears of it by the end of its channel. Nothing else is lost: programs and the base image
//! are loaded again into the next one.

use crate::{
    Artefact, Artefacts, Exec, PrepareError, Source, artefacts,
    calls::import,
    hold,
    interior::Authority,
    wire::{self, RunId, ToNode, ToWorker},
};
use bytes::Bytes;
use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Frames on their way to the worker.
const OUTGOING: usize = 1_024;
/// Messages of one run that wait for it; a run that sends more at once is ended.
const MESSAGES: usize = 1_024;
/// How long a worker whose socket has ended may take to end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a worker may take to start. Making the base image takes some seconds where the machine is slow.
const START_TIME: Duration = Duration::from_secs(60);

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// The worker is not there.
#[derive(Clone, Debug, thiserror::Error)]
#[error("programs cannot run: {0}")]
pub struct Unavailable(pub String);

/// A worker, whichever process that is now.
pub(crate) struct Sandbox {
    command: Command,
    runs_max: u32,
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
    /// The hash of the base image of this build, once that is known.
    base: Mutex<Option<[u8; 32]>>,
    artefacts: OnceLock<Arc<dyn Artefacts>>,
    /// Runs that were begun, here and in the node's other worker.
    runs_begun: Arc<AtomicU64>,
}

/// One worker process.
pub(crate) struct Connection {
    outgoing: mpsc::Sender<Vec<u8>>,
    runs: Mutex<HashMap<RunId, mpsc::Sender<(ToNode, Bytes)>>>,
    /// Programs that were sent to it. It may have forgotten some; then it says so.
    loaded: Mutex<HashSet<[u8; 32]>>,
    gone: CancellationToken,
    tasks: Mutex<JoinSet<()>>,
}

/// A run's end of the connection. Dropping it ends the run.
pub(crate) struct Channel {
    pub(crate) run: RunId,
    pub(crate) connection: Arc<Connection>,
    pub(crate) messages: mpsc::Receiver<(ToNode, Bytes)>,
    is_ended: bool,
}

impl Sandbox {
    pub(crate) fn new(command: Command, runs_max: u32, runs_begun: Arc<AtomicU64>) -> Self {
        Self {
            command,
            runs_max,
            connection: tokio::sync::Mutex::default(),
            base: Mutex::default(),
            artefacts: OnceLock::new(),
            runs_begun,
        }
    }

    pub(crate) fn keep_in(&self, artefacts: Arc<dyn Artefacts>) {
        // A second front door would be another node's.
        let _ = self.artefacts.set(artefacts);
    }

    pub(crate) fn artefacts(&self) -> Option<&Arc<dyn Artefacts>> {
        self.artefacts.get()
    }

    async fn kept_base(&self) -> Option<Bytes> {
        self.artefacts()?.get(Artefact::Base, artefacts::base_key()).await
    }

    /// The hash of the base image that programs are prepared by; none if no worker has ever made one.
    pub(crate) async fn base(&self) -> Option<[u8; 32]> {
        let known = *hold(&self.base);
        if known.is_some() {
            return known;
        }
        let kept = *blake3::hash(&self.kept_base().await?).as_bytes();
        Some(*hold(&self.base).get_or_insert(kept))
    }

    pub(crate) fn is_base(&self, hash: &[u8; 32]) -> bool {
        hold(&self.base).as_ref() == Some(hash)
    }

    /// A channel for a new run.
    pub(crate) async fn channel(&self) -> Result<Channel, Unavailable> {
        let run = self.runs_begun.fetch_add(1, Ordering::Relaxed) + 1;
        loop {
            let connection = self.connection().await?;
            let (sender, messages) = mpsc::channel(MESSAGES);
            hold(&connection.runs).insert(run, sender);
            if !connection.gone.is_cancelled() {
                return Ok(Channel { run, connection, messages, is_ended: false });
            }
            // A worker that has just ended knows nothing of it; the next one will.
            hold(&connection.runs).remove(&run);
        }
    }

    /// Ends the worker if it has nothing to do.
    pub(crate) fn rest(&self) {
        let Ok(mut held) = self.connection.try_lock() else { return };
        if held.as_ref().is_some_and(|connection| hold(&connection.runs).is_empty())
            && let Some(connection) = held.take()
        {
            connection.gone.cancel();
        }
    }

    async fn connection(&self) -> Result<Arc<Connection>, Unavailable> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = held.as_ref().filter(|connection| !connection.gone.is_cancelled()) {
            return Ok(Arc::clone(connection));
        }
        let base = self.kept_base().await;
        let known = base.as_ref().map(|base| *blake3::hash(base).as_bytes());
        let start = || {
            tokio::time::timeout(START_TIME, Connection::start(&self.command, self.runs_max, base.clone()))
        };
        let mut started = start().await;
        if let Ok(Err(error)) = &started {
            // What a machine lacks for a moment is no reason to refuse a program; what it lacks for good fails again.
            tracing::warn!(%error, "the worker of programs did not start; it is tried once more");
            started = start().await;
        }
        let (connection, base) = started
            .map_err(|_| Unavailable("the worker does not start in time".to_owned()))?
            .map_err(|error| Unavailable(format!("the worker does not start: {error}")))?;
        *hold(&self.base) = base.as_ref().map(|base| *blake3::hash(base).as_bytes()).or(known);
        if let (Some(base), Some(artefacts)) = (base, self.artefacts()) {
            artefacts.keep(Artefact::Base, artefacts::base_key(), base).await;
        }
        *held = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Has the worker prepare a program. Answers its handlers, its image, and a hash of what it imports.
    pub(crate) async fn prepare(
        &self,
        exec: &Exec,
        source: &Source,
        authority: &Authority,
    ) -> Result<(Vec<String>, Bytes, [u8; 32]), PrepareError> {
        let mut channel = self.channel().await?;
        let run = channel.run;
        let bounds = exec.0.settings.prepare;
        let (kind, name, base) = (source.kind, source.path.clone(), source.base.clone());
        channel.send(&ToWorker::Prepare { run, kind, name, base, bounds }, &source.bytes).await;
        let mut imported = blake3::Hasher::new();
        while let Some((message, bytes)) = channel.next().await {
            match message {
                ToNode::Prepared { handlers, .. } => {
                    channel.is_ended = true;
                    // A worker keeps what it prepared for a while; where it has forgotten it says so.
                    hold(&channel.connection.loaded).insert(*blake3::hash(&bytes).as_bytes());
                    return Ok((handlers, bytes, *imported.finalize().as_bytes()));
                }
                ToNode::Refused { fault, .. } => {
                    channel.is_ended = true;
                    return Err(PrepareError::Refused(fault));
                }
                ToNode::Import { url, .. } => {
                    let (error, text) = match import(exec, &source.base, &url, authority).await {
                        Ok(text) => {
                            for part in [url.as_bytes(), &text] {
                                imported.update(blake3::hash(part).as_bytes());
                            }
                            (None, text)
                        }
                        Err(why) => (Some(why), Bytes::new()),
                    };
                    channel.send(&ToWorker::Imported { run, error }, &text).await;
                }
                ToNode::Log { level, text, .. } => exec.logs().add(&source.path, 0, level, "prepare", text),
                _ => {}
            }
        }
        Err(Unavailable("the worker ended while it prepared a program".to_owned()).into())
    }

    pub(crate) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            connection.gone.cancel();
        }
    }
}

impl Channel {
    /// What the run says next; none when the worker is gone.
    pub(crate) async fn next(&mut self) -> Option<(ToNode, Bytes)> {
        let message = self.messages.recv().await?;
        self.is_ended |= matches!(message.0, ToNode::Ended { .. });
        Some(message)
    }

    pub(crate) async fn send(&self, message: &ToWorker, bytes: &[u8]) {
        self.connection.send(message, bytes).await;
    }

    /// Whether the worker is still there. Where it is and the messages have ended, the run said more than anybody could listen to.
    pub(crate) fn is_open(&self) -> bool {
        !self.connection.gone.is_cancelled()
    }

    /// Sends a program before it is run, unless the worker has it.
    pub(crate) async fn load(&self, program: [u8; 32], image: &Bytes, again: bool) {
        if hold(&self.connection.loaded).insert(program) || again {
            tracing::debug!(bytes = image.len(), "a program goes to the worker");
            self.send(&ToWorker::Load { program }, image).await;
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        hold(&self.connection.runs).remove(&self.run);
        if !self.is_ended
            && let Ok(frame) = wire::encode(&ToWorker::Cancel { run: self.run }, &[])
        {
            // Where no frame fits, the worker takes nothing, and the run ends by its bounds.
            let _ = self.connection.outgoing.try_send(frame);
        }
    }
}

impl Connection {
    async fn start(
        command: &Command,
        runs_max: u32,
        base: Option<Bytes>,
    ) -> io::Result<(Arc<Connection>, Option<Bytes>)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut child = tokio::process::Command::new(&command.program)
            .args(&command.arguments)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let (read, write) = UnixStream::from_std(ours)?.into_split();
        let mut read = BufReader::with_capacity(64 << 10, read);
        let (outgoing, frames) = mpsc::channel(OUTGOING);
        let connection = Arc::new(Connection {
            outgoing,
            runs: Mutex::default(),
            loaded: Mutex::default(),
            gone: CancellationToken::new(),
            tasks: Mutex::default(),
        });
        let gone = connection.gone.clone();
        hold(&connection.tasks).spawn(write_frames(write, frames, gone.clone()));
        let begin = ToWorker::Begin { threads: runs_max, instances: runs_max + 8, has_base: base.is_some() };
        connection.send(&begin, &base.unwrap_or_default()).await;
        let (ready, base) = match read_frame(&mut read).await {
            Ok(first) => first,
            Err(error) => {
                // How it ended says more than that it did.
                let ended = tokio::time::timeout(LAST_WORDS, child.wait()).await;
                let ended = ended.map_or_else(
                    |_| Ok("it still runs".to_owned()),
                    |status| status.map(|status| status.to_string()),
                )?;
                return Err(io::Error::other(format!("{error}; {ended}")));
            }
        };
        let ToNode::Ready { has_base, walls } = ready else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the worker's first word is not its first",
            ));
        };
        let image = if has_base { "made" } else { "kept" };
        tracing::info!(walls, image, "the worker of programs stands behind its walls");
        let reading = Arc::downgrade(&connection);
        hold(&connection.tasks).spawn(async move {
            let mut read = read;
            let ended = loop {
                let frame = tokio::select! {
                    frame = read_frame(&mut read) => frame,
                    () = gone.cancelled() => break "the node stops".to_owned(),
                };
                let Some(connection) = reading.upgrade() else { break "nobody needs it".to_owned() };
                match frame {
                    Ok((message, bytes)) => connection.dispatch(message, bytes),
                    Err(error) => break error.to_string(),
                }
            };
            if !gone.is_cancelled() {
                tracing::warn!(why = ended, "the worker of programs has ended; the next run starts another");
            }
            gone.cancel();
            if let Some(connection) = reading.upgrade() {
                hold(&connection.runs).clear();
            }
            let _ = child.start_kill();
            let _ = child.wait().await;
        });
        Ok((connection, has_base.then_some(base)))
    }

    pub(crate) async fn send(&self, message: &ToWorker, bytes: &[u8]) {
        match wire::encode(message, bytes) {
            // A worker that is gone takes nothing; its runs hear of that by the end of their channels.
            Ok(frame) => drop(self.outgoing.send(frame).await),
            Err(error) => tracing::warn!(%error, "a message to the worker of programs is too large"),
        }
    }

    fn dispatch(&self, message: ToNode, bytes: Bytes) {
        let run = message.run();
        let runs = hold(&self.runs);
        let Some(sender) = runs.get(&run) else { return };
        let is_line = matches!(message, ToNode::Log { .. });
        // A line of a log for which there is no room is lost; nobody else waits for it.
        if sender.try_send((message, bytes)).is_err() && !is_line {
            drop(runs);
            // It says more than anybody can listen to, or nobody listens any longer.
            hold(&self.runs).remove(&run);
        }
    }
}

async fn write_frames(
    mut write: OwnedWriteHalf,
    mut frames: mpsc::Receiver<Vec<u8>>,
    gone: CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        batch.clear();
        let received = tokio::select! {
            received = frames.recv_many(&mut batch, 64) => received,
            () = gone.cancelled() => 0,
        };
        if received == 0 {
            return;
        }
        let all = if batch.len() == 1 { std::mem::take(&mut batch[0]) } else { batch.concat() };
        if write.write_all(&all).await.is_err() {
            gone.cancel();
            return;
        }
    }
}

async fn read_frame(read: &mut BufReader<OwnedReadHalf>) -> io::Result<(ToNode, Bytes)> {
    let mut four = [0; 4];
    read.read_exact(&mut four).await?;
    let mut frame = vec![0; wire::length(four)?];
    read.read_exact(&mut frame).await?;
    wire::decode(frame.into())
}
