//! `jsfs serve`: puts the node together, says when it is ready, and ends it in good order.
//!
//! Order of starting: settings, socket, store (whose lock keeps a second node away), keys, object layer, other nodes, front door, `node.url`, the line that says
//! ready. Order of ending: `node.url`, front door (running requests get their time; processes are put
//! away meanwhile), connections to other nodes, background work, store. Whatever is cut off in
//! between loses nothing that was answered. SIGTERM and SIGINT end it, a second one at once; SIGHUP reads the settings again.

mod federation;
mod files;
pub(crate) mod keys;
mod logging;
mod programs;
mod records;
mod reload;
mod tending;
mod welcome;

use crate::allocator;
use crate::cli::{Connection, Serve};
use crate::commands::config::flags;
use crate::config::{self, Settings};
use crate::exit::{CouldNotRun, Exit, told};
use crate::output::Output;
use crate::session::NODE_URL_FILE;
use anyhow::Context;
use jsfs_exec::Exec;
use jsfs_http::Listener;
use jsfs_objects::clock::{SystemClock, SystemRandom};
use jsfs_objects::key::SigningKey;
use jsfs_objects::{Objects, Scrubbing};
use jsfs_store::Store;
use rustix::fs::Mode;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How often old versions and events are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

/// Connections that wait to be accepted, where the system allows so many: beyond that a client tries again a second later.
const WAITING_MAX: u32 = 4_096;

/// Runs a node until it is told to stop.
pub(crate) async fn run(connection: &Connection, arguments: &Serve, output: Output) -> anyhow::Result<Exit> {
    let flags = flags(connection, arguments.listen.as_ref(), &arguments.settings);
    let (merged, settings) = settings(&flags).map_err(cannot_run)?;
    // Before anything else, so that a signal during the start waits for its end instead of killing.
    let signals = Signals::new()?;
    let logging = logging::start(&settings).map_err(cannot_run)?;
    files::raise_limit();
    keep_to_oneself();
    let listener = bind(settings.listen).map_err(cannot_run)?;
    let address = listener.local_addr()?;
    let beside = beside(&settings).map_err(cannot_run)?;
    let (store, objects, node_key) = open(&settings, arguments).await.map_err(cannot_run)?;
    let exec = Exec::new(programs::settings(&settings).map_err(cannot_run)?);
    let limits = files::within(settings.limits.front());
    let peers = federation::start(&settings, node_key, &store, &objects).map_err(cannot_run)?;
    let version = env!("CARGO_PKG_VERSION");
    let federated = Arc::new(federation::Federated { node: peers.clone(), objects: objects.clone() });
    let server = jsfs_http::Server::whole(objects.clone(), version, limits, exec.clone(), federated)
        .map_err(|error| cannot_run(error.into()))?;
    let reload = reload::Reload::new(flags, merged, logging, server.handle());
    let url_file = UrlFile::write(&settings.data, address);
    welcome::say(address, &beside, &settings, output);

    let stop = CancellationToken::new();
    objects.start_sweeping(SWEEP_EVERY);
    if !settings.storage_scrub.is_zero() {
        let (every, bytes_per_second) = (settings.storage_scrub, settings.storage_scrub_rate);
        objects.start_scrubbing(Scrubbing { every, bytes_per_second });
    }
    exec.take_up()
        .await
        .map_err(|error| cannot_run(anyhow::anyhow!("processes cannot be taken up: {error}")))?;
    let serving =
        server.run(std::iter::once(listener.into()).chain(beside.listeners()).collect(), stop.clone());
    let rest = || {
        exec.rest();
        objects.rest();
    };
    let ended = tokio::select! {
        ended = until_told(serving, signals, &stop, &url_file, &exec, reload) => ended,
        never = allocator::give_back_at_rest(rest) => match never {},
    };
    exec.close().await;
    peers.close().await;
    objects.close().await;
    drop(objects);
    tokio::task::spawn_blocking(move || store.close()).await?.map_err(|error| cannot_run(error.into()))?;
    tracing::info!("stopped");
    Ok(ended)
}

/// Nothing that happens before the node is ready is its failure: it could not run.
fn cannot_run(error: anyhow::Error) -> anyhow::Error {
    CouldNotRun(told(&error)).into()
}

fn settings(flags: &config::Flags) -> anyhow::Result<(config::Merged, Settings)> {
    let merged =
        config::merge(flags, &config::environment()).map_err(|fault| anyhow::anyhow!(fault.reason))?;
    let settings = Settings::of(&merged)?;
    Ok((merged, settings))
}

/// Whatever this process makes from here on is its owner's alone: names, keys and contents lie in it.
pub(crate) fn keep_to_oneself() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// A data directory that was there before the node may be open to others.
fn warn_of_others(data: &Path) {
    let mode = fs::metadata(data).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!("others on this machine can look into {}; run chmod 700 {0}", data.display());
    }
}

fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = || {
        let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // What is left of connections of a former run must not keep the address.
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        socket.listen(WAITING_MAX)
    };
    bound().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{listen} is in use, perhaps by a node that runs already; stop it, or choose another with --listen 127.0.0.1:0"
        ),
        io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!("no permission to listen on {listen}; ports below 1024 belong to root: choose another with --listen")
        }
        io::ErrorKind::AddrNotAvailable => {
            anyhow::anyhow!("this machine does not have the address {}; choose another with --listen", listen.ip())
        }
        _ => anyhow::anyhow!("cannot listen on {listen}: {error}; choose another with --listen"),
    })
}

/// Where the node listens beside its first address.
struct Beside {
    secured: Option<Listener>,
    metrics: Option<Listener>,
}

impl Beside {
    fn listeners(self) -> impl Iterator<Item = Listener> {
        self.secured.into_iter().chain(self.metrics)
    }
}

fn beside(settings: &Settings) -> anyhow::Result<Beside> {
    let metrics = match settings.metrics_listen {
        Some(listen) => Some(Listener::metrics(bind(listen)?)),
        None => None,
    };
    let Some(tls) = &settings.tls else { return Ok(Beside { secured: None, metrics }) };
    let certificate = jsfs_http::Tls::read(&tls.certificate, &tls.key)?;
    if fs::metadata(&tls.key).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        tracing::warn!("others on this machine can read {}; run chmod 600 {0}", tls.key.display());
    }
    Ok(Beside { secured: Some(Listener::secured(bind(tls.listen)?, certificate)), metrics })
}

/// Opens store and object layer; makes keys and namespace `localhost` at the first start.
async fn open(settings: &Settings, arguments: &Serve) -> anyhow::Result<(Store, Objects, SigningKey)> {
    let data = settings.data.clone();
    make_directory(&data)?;
    std::iter::once(&data).chain(&settings.storage_locations).for_each(|place| warn_of_others(place));
    let (place, takes_up) = (settings.clone(), arguments.from_bucket);
    let options = tokio::task::spawn_blocking(move || crate::locations::options(&place, takes_up))
        .await??
        .copies(settings.storage_copies)
        .degraded(arguments.degraded)
        .floor(settings.storage_floor)
        .synced(settings.storage_durability == "fsync");
    let store = tokio::task::spawn_blocking(move || Store::open(options)).await??;
    report_opening(&store);
    let node_seed = keys::node_key(&data)?;
    let node_key = node_seed.keys().signing().clone();
    let root_key = keys::root_key(&data)?;
    let options = |root_key| jsfs_objects::OpenOptions {
        store: store.clone(),
        node_key: node_key.clone(),
        root_key,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        settings: objects_settings(settings),
    };
    let objects = Objects::open(options(None)).await?;
    let objects = match (objects.root_owner()?, root_key) {
        (Some(owner), Some(seed)) if seed.keys().owner() != owner => {
            tracing::warn!(
                "root.key is not the key of namespace localhost; commands on this machine need the key that is"
            );
            objects
        }
        (Some(_), Some(_)) => objects,
        (Some(_), None) => {
            tracing::warn!("root.key is not there; put it back, or give its key to commands on this machine");
            objects
        }
        (None, Some(seed)) => Objects::open(options(Some(seed))).await?,
        (None, None) => Objects::open(options(Some(keys::make_root_key(&data)?))).await?,
    };
    objects.keep_node_seed(node_seed);
    mount(&objects, settings).await?;
    Ok((store, objects, node_key))
}

/// Shows the ROMs that the settings name. One that cannot be used ends the start: whoever relies on it would miss it.
async fn mount(objects: &Objects, settings: &Settings) -> anyhow::Result<()> {
    let mut roms = Vec::new();
    for path in settings.rom_mount.clone() {
        let place = path.display().to_string();
        let opened = tokio::task::spawn_blocking(move || jsfs_store::open_rom(&path)).await?;
        let (store, about) = opened.with_context(|| format!("rom.mount: {place} cannot be mounted"))?;
        tracing::info!(rom = place, "mounted");
        roms.push((store, about, place));
    }
    Ok(objects.mount(roms).await?)
}

fn make_directory(data: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|error| {
        anyhow::anyhow!(
            "cannot make the data directory {}: {error}; choose another with --data",
            data.display()
        )
    })
}

fn report_opening(store: &Store) {
    let opening = store.opening();
    if let Some(reason) = &opening.rebuilt {
        tracing::info!(reason, "rebuilt the index from the packs");
    }
    for cut in &opening.cuts {
        tracing::warn!(
            location = cut.location,
            pack = cut.pack,
            offset = cut.offset,
            bytes = cut.bytes,
            "cut off what a crash left of writes that nobody was told of"
        );
    }
    for finding in &opening.damage {
        tracing::error!(%finding, "damage");
    }
    if let Some(reason) = store.read_only() {
        tracing::error!(reason, "the store takes no writes; stop the node and run `jsfs check`");
    }
}

fn objects_settings(settings: &Settings) -> jsfs_objects::Settings {
    jsfs_objects::Settings {
        versions_days: settings.versions_days,
        versions_count: settings.versions_count,
        versions_bytes_min: settings.versions_bytes,
        events_days: settings.events_days,
        uploads_hours: settings.uploads_hours,
        derived_bytes: settings.storage_derived,
        cache_bytes: settings.cache_size,
        memory_bytes: settings.cache_memory,
        jsfs4: settings.compat_jsfs4,
    }
}

/// What may tell the node to stop or to read its settings again.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// Serves until a signal says stop and everything has ended, or a second one says at once.
async fn until_told(
    serving: impl Future<Output = ()>,
    mut signals: Signals,
    stop: &CancellationToken,
    url_file: &UrlFile,
    exec: &Exec,
    mut reload: reload::Reload,
) -> Exit {
    let mut serving = std::pin::pin!(serving);
    loop {
        tokio::select! {
            () = &mut serving => return Exit::Done,
            _ = signals.hang_up.recv() => {
                reload.run();
                continue;
            }
            _ = signals.terminate.recv() => {}
            _ = signals.interrupt.recv() => {}
        }
        if stop.is_cancelled() {
            tracing::warn!("told to stop twice: requests that run are cut off");
            return Exit::Failed;
        }
        tracing::info!("stopping; running requests are finished first");
        url_file.remove();
        stop.cancel();
        // Whoever follows a process is told, and processes are put away while running requests are finished.
        exec.part();
    }
}

/// `node.url`, by which commands on this machine find the node. Removed when dropped.
struct UrlFile(PathBuf);

impl UrlFile {
    /// A node on a full disk runs without it; commands on this machine are told where it is by `--url`.
    fn write(data: &Path, address: SocketAddr) -> UrlFile {
        let path = data.join(NODE_URL_FILE);
        if let Err(error) = fs::write(&path, format!("{}\n", welcome::local_url(address))) {
            let _ = fs::remove_file(&path);
            tracing::warn!(%error, "cannot write {}; commands on this machine need --node", path.display());
        }
        UrlFile(path)
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for UrlFile {
    fn drop(&mut self) {
        self.remove();
    }
}
