//! `sync --watch`: after the first run, what changes on one side is brought to the other until the command is stopped.
//!
//! Nothing is missed: changes of the node come from its log, in order and across its restarts; changes of the directory are collected by the
//! operating system, and where it loses some, or a directory moves, everything is compared again. What cannot be brought over is named and tried
//! again with the next change of it. A node that cannot be reached is waited for.

use super::super::tree::{Relative, Tree, is_temporary};
use super::local::LocalFile;
use super::manifest::{self, Programs};
use super::{Job, Outcome, Remote, Summary, conclude, download, upload};
use crate::output::{human_bytes, one_line};
use anyhow::Context;
use jsfs_client::{Change, Error, Event};
use notify::{EventKind, RecursiveMode, Watcher};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// A file that was just written is often written again: so long nothing must happen before what changed is looked at.
const SETTLE: Duration = Duration::from_millis(100);

/// However much happens, it is looked at after this time.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// How long to wait for a node that cannot be reached before the next attempt.
const AWAY: Duration = Duration::from_secs(2);

/// More changed paths than this are not remembered one by one.
const PATHS_MAX: usize = 10_000;

/// Brings changes below the address to the directory.
pub(super) async fn download(job: &Job<'_>) -> anyhow::Result<()> {
    let mut changes = job.client.watch(&job.address, None);
    let directory = job.directory.clone();
    let opened = tokio::task::spawn_blocking(move || Tree::open(&directory)).await?;
    let tree = opened.with_context(|| format!("cannot write to {}", job.directory.display()))?;
    loop {
        match changes.next().await? {
            // Listed after the watch has begun: what changes meanwhile comes as an event.
            Change::Begun { .. } | Change::Reset { .. } => match download::run(job).await {
                Ok(summary) => report_run(job, &summary)?,
                // A directory that is empty yet.
                Err(error) if error.is::<crate::exit::Nothing>() => job.output.note(&format!("{error:#}")),
                Err(error) => return Err(error),
            },
            Change::Event(event) => {
                let name = event.address.strip_prefix(&job.address.to_string()).unwrap_or_default();
                if !name.is_empty() && !name.ends_with('/') {
                    let done = apply(job, &tree, name, &event).await;
                    report(job, name, "from", done)?;
                }
            }
        }
    }
}

/// Brings one change to the directory; says what was done.
async fn apply(job: &Job<'_>, tree: &Tree, name: &str, event: &Event) -> anyhow::Result<Done> {
    let path = Relative::parse(name)
        .map_err(|reason| anyhow::anyhow!("the node gave a name that cannot be a file: {reason}"))?;
    let there = match event.kind.as_str() {
        "deleted" => None,
        _ => match job.client.head(&job.address.join(name)?, None).await {
            Ok(info) => Some(Remote { size: info.size, sha256: info.sha256, private: info.private }),
            // It has gone since; that comes as an event of its own.
            Err(error) if matches!(error.status(), Some(404 | 410)) => return Ok(Done::Nothing),
            Err(error) => return Err(error.into()),
        },
    };
    match there {
        Some(there) => Ok(match download::one(job, Some(tree), &path, &there).await? {
            (_, Outcome::Transferred(bytes)) => Done::Transferred(bytes),
            _ => Done::Nothing,
        }),
        None if job.delete => {
            let tree = tree.clone();
            match tokio::task::spawn_blocking(move || tree.remove(&path)).await? {
                Ok(()) => Ok(Done::Deleted),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Done::Nothing),
                Err(error) => Err(error.into()),
            }
        }
        None => Ok(Done::Nothing),
    }
}

/// Brings changes below the directory to the address.
pub(super) async fn upload(mut job: Job<'_>) -> anyhow::Result<()> {
    let changed = Arc::new(Changed::default());
    let root = job.directory.canonicalize().with_context(|| job.directory.display().to_string())?;
    let (seen, below) = (Arc::clone(&changed), root.clone());
    let mut watcher = notify::recommended_watcher(move |event| seen.note(&below, event))?;
    watcher.watch(&root, RecursiveMode::Recursive).with_context(|| {
        format!(
            "cannot follow what changes below {}; fs.inotify.max_user_watches may be too low",
            root.display()
        )
    })?;
    // Compared after the watch has begun, for the first time.
    changed.everything();
    loop {
        changed.settle().await;
        let pending = changed.take();
        if pending.everything {
            match Programs::read(&root) {
                Ok(programs) => job.programs = programs,
                // It is being edited: what held before holds on until it can be read again.
                Err(error) => job.output.warn(&format!("{error:#}")),
            }
        }
        let job = &job;
        match bring(job, &root, &pending).await {
            Ok(()) => {}
            Err(error) if is_away(&error) => {
                job.output.note(&format!("{error:#}; going on when it is back"));
                tokio::time::sleep(AWAY).await;
                changed.everything();
            }
            Err(error) => return Err(error),
        }
    }
}

async fn bring(job: &Job<'_>, root: &Path, pending: &Pending) -> anyhow::Result<()> {
    if pending.everything {
        return report_run(job, &upload::run(job).await?);
    }
    for name in &pending.names {
        let done = bring_one(job, root, name).await;
        if let Err(error) = &done
            && is_away(error)
        {
            return done.map(drop);
        }
        report(job, name, "to", done)?;
    }
    Ok(())
}

async fn bring_one(job: &Job<'_>, root: &Path, name: &str) -> anyhow::Result<Done> {
    let path = root.join(name);
    let metadata = if job.follow_links { std::fs::metadata(&path) } else { std::fs::symlink_metadata(&path) };
    let address = job.address.join(name)?;
    match metadata {
        Ok(metadata) if metadata.is_file() => {
            let there = match job.client.head(&address, None).await {
                Ok(info) => Some(Remote { size: info.size, sha256: info.sha256, private: info.private }),
                Err(error) if matches!(error.status(), Some(404 | 410)) => None,
                Err(error) => return Err(error.into()),
            };
            let file = LocalFile { name: name.to_owned(), path, size: metadata.len() };
            Ok(match upload::one(job, &file, there.as_ref()).await? {
                Outcome::Transferred(bytes) => Done::Transferred(bytes),
                Outcome::Unchanged | Outcome::Changed => Done::Nothing,
            })
        }
        Ok(_) => Ok(Done::Nothing),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && job.delete => {
            // What is gone may have been a directory that moved away as a whole.
            for gone in [&address, &address.as_directory()] {
                match job.client.delete(gone).await {
                    Ok(()) => return Ok(Done::Deleted),
                    Err(error) if matches!(error.status(), Some(404 | 410)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(Done::Nothing)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Done::Nothing),
        Err(error) => Err(error.into()),
    }
}

/// What became of one change.
enum Done {
    Nothing,
    Transferred(u64),
    Deleted,
}

fn report(job: &Job<'_>, name: &str, direction: &str, done: anyhow::Result<Done>) -> anyhow::Result<()> {
    let shown = one_line(name);
    match done {
        Ok(Done::Nothing) => {}
        Ok(Done::Transferred(bytes)) => {
            job.output.done(&format!("{shown}: {} {direction} {}", human_bytes(bytes), job.address))?;
            job.output.json_line(&json!({ "name": name, "transferred": bytes }))?;
        }
        Ok(Done::Deleted) => {
            job.output.done(&format!("{shown}: deleted"))?;
            job.output.json_line(&json!({ "name": name, "deleted": true }))?;
        }
        Err(error) => job.output.warn(&format!("{shown}: {error:#}")),
    }
    crate::output::flush()?;
    Ok(())
}

/// Failures of single files were named already; the next change of them tries again.
fn report_run(job: &Job<'_>, summary: &Summary) -> anyhow::Result<()> {
    match conclude(job.output, summary) {
        Err(error) if error.is::<crate::exit::SomeFailed>() => Ok(()),
        other => other,
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    let client = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    client.is_some_and(|error| {
        matches!(error, Error::Unreachable { .. } | Error::Broken { .. } | Error::Stalled { .. })
            || matches!(error.status(), Some(429 | 503))
    })
}

/// Paths that have changed since they were last looked at, bounded.
#[derive(Default)]
struct Changed {
    pending: Mutex<Pending>,
    noted: Notify,
}

#[derive(Default)]
struct Pending {
    /// Below the directory, segments joined by `/`.
    names: BTreeSet<String>,
    /// Compare everything.
    everything: bool,
}

impl Changed {
    fn hold(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called by the thread that hears from the operating system.
    fn note(&self, root: &Path, event: notify::Result<notify::Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.everything(),
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
            Ok(event) => event.paths.iter().for_each(|path| self.note_path(root, path)),
            Err(_) => self.everything(),
        }
    }

    fn note_path(&self, root: &Path, path: &Path) {
        // A directory that comes or goes brings what is in it.
        let name = path.strip_prefix(root).ok().and_then(Path::to_str).filter(|name| !name.is_empty());
        let is_temporary = path.file_name().and_then(|name| name.to_str()).is_some_and(is_temporary);
        match name {
            _ if is_temporary => return,
            // It says what other files are.
            Some(manifest::FILE) => self.hold().everything = true,
            Some(name) if !path.is_dir() => {
                let mut pending = self.hold();
                if pending.names.len() < PATHS_MAX {
                    pending.names.insert(name.to_owned());
                } else {
                    pending.everything = true;
                }
            }
            _ => self.hold().everything = true,
        }
        self.noted.notify_one();
    }

    fn everything(&self) {
        self.hold().everything = true;
        self.noted.notify_one();
    }

    /// Waits until something has changed and then for the changes to pause.
    async fn settle(&self) {
        if !self.hold().everything {
            self.noted.notified().await;
        }
        let quiet = async { while tokio::time::timeout(SETTLE, self.noted.notified()).await.is_ok() {} };
        let _ = tokio::time::timeout(SETTLE_MAX, quiet).await;
    }

    fn take(&self) -> Pending {
        std::mem::take(&mut *self.hold())
    }
}
