//! `import-jsfs4`: everything that a pool of JSFS 4 holds, into the running node.
//!
//! A client of the HTTP interface like every other command. The pool is only read. An object comes in by one request or not at all, and nothing
//! on the node is replaced, so a run that was killed is run again: what is in is found by its time and size and skipped. What is wrong with one
//! object is told of that object, and the rest goes on. Memory does not grow with pool or object (see the modules).

mod config_js;
mod content;
mod destination;
mod name;
mod pool;
mod report;

use crate::cli::ImportJsfs4;
use crate::exit::{CouldNotRun, Exit, SomeFailed};
use crate::progress::Progress;
use crate::session::Session;
use content::Damage;
use destination::{Destination, Failure, There};
use futures_util::{StreamExt, stream};
use jsfs_client::{AccessKey, Error, MovedIn, Write};
use pool::{Inode, OldKey, Pool, Sha1};
use report::{Line, Report, Status};
use std::sync::Arc;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::sync::mpsc;

/// Names of inodes that wait to be worked on.
const WAITING: usize = 64;
/// The longest content type that a node keeps.
const CONTENT_TYPE_MAX: usize = 255;

const RENAME: &str = "take its bytes from the old node and store them under another name with `jsfs put`";
const REPAIR: &str = "restore its blocks or inode from a backup of the pool and run again";
const TAKEN: &str = "move what is there, or store this one under another name with `jsfs put`";
const AGAIN: &str = "run again";

/// Brings a pool in.
pub(super) async fn run(session: &Session, arguments: &ImportJsfs4) -> anyhow::Result<()> {
    let pool = Arc::new(Pool::open(&arguments.locations)?);
    let namespaces = session.client.namespaces().await.map_err(|error| {
        let hint = "the node must run, and its root key be found or given (--data DIR, --key-file FILE)";
        CouldNotRun(format!("cannot see the namespaces of the node: {error}; {hint}"))
    })?;
    let known = namespaces.into_iter().map(|namespace| namespace.name).collect();
    let destination = Destination::new(session.client.clone(), known, arguments.dry_run, arguments.jsfs4);
    let progress = Progress::new(session.output, "counting", None);
    let mut report = Report::new(session.output, arguments.report.as_deref(), arguments.dry_run)?;
    progress.objects(count(&pool).await?);
    let (sender, names) = mpsc::channel(WAITING);
    let listing = {
        let pool = Arc::clone(&pool);
        tokio::task::spawn_blocking(move || pool.each(|name| sender.blocking_send(name).is_ok()))
    };
    let work = stream::unfold(names, |mut names| async { names.recv().await.map(|name| (name, names)) });
    let import = Import { pool: &pool, destination: &destination, dry_run: arguments.dry_run };
    let mut results =
        std::pin::pin!(work.map(|name| import.one(name)).buffer_unordered(usize::from(arguments.jobs)));
    while let Some(result) = results.next().await {
        match result {
            Ok(line) => {
                report.add(&progress, &line)?;
                progress.message(&line.name);
                progress.moved(1);
            }
            Err(error) => {
                report.finish()?;
                return Err(CouldNotRun(format!("{error}; what is in stays, run again to go on")).into());
            }
        }
    }
    listing.await?.map_err(|error| CouldNotRun(format!("cannot list a location: {error}")))?;
    drop(progress);
    report.finish()?;
    match report.summary.failed {
        0 => Ok(()),
        failed => Err(SomeFailed { failed, all: report.summary.objects, exit: Exit::Failed }.into()),
    }
}

/// How many objects there are.
async fn count(pool: &Arc<Pool>) -> anyhow::Result<u64> {
    let pool = Arc::clone(pool);
    let counted = tokio::task::spawn_blocking(move || {
        let mut count = 0;
        pool.each(|_| {
            count += 1;
            true
        })
        .map(|()| count)
    });
    Ok(counted.await?.map_err(|error| CouldNotRun(format!("cannot list a location: {error}")))?)
}

struct Import<'r> {
    pool: &'r Arc<Pool>,
    destination: &'r Destination,
    dry_run: bool,
}

impl Import<'_> {
    /// Brings one object in, and tells how it went; fails only where nothing can go on.
    async fn one(&self, name: Sha1) -> Result<Line, Error> {
        let pool = Arc::clone(self.pool);
        let found = match tokio::task::spawn_blocking(move || pool.inode(name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(reason)) => return Ok(Line::new(&format!("{name}.json")).failed(reason, REPAIR)),
            Err(error) => return Ok(Line::new(&format!("{name}.json")).failed(error, AGAIN)),
        };
        let mut line = Line { notes: found.notes, ..Line::new(&found.inode.url) };
        let inode = Arc::new(found.inode);
        let place = match name::place(&inode.url) {
            Ok(place) => place,
            Err(error) => return Ok(line.failed(error, RENAME)),
        };
        line.address = Some(place.address.to_string());
        line.notes.extend(place.note.map(str::to_owned));
        if let Some(first) = place.before.iter().find(|before| self.pool.has(before)) {
            let reason = format!("{first} leads to the same address and is the plainer name");
            return Ok(line.failed(reason, RENAME));
        }
        match self.bring(&inode, &place.address, &mut line).await {
            Ok(()) => Ok(line),
            Err(Failure::Damage(Damage::Sink(error))) => Ok(line.failed(error, AGAIN)),
            Err(Failure::Damage(damage)) => Ok(line.failed(damage, REPAIR)),
            Err(Failure::Refused(error)) => Ok(line.failed(told(&error), AGAIN)),
            Err(Failure::Stop(error)) => Err(*error),
        }
    }

    async fn bring(
        &self,
        inode: &Arc<Inode>,
        address: &jsfs_client::Address,
        line: &mut Line,
    ) -> Result<(), Failure> {
        let is_old = self.destination.namespace(address).await?;
        let key = self.destination.key(&inode.key, address).await;
        describe(inode, key.as_ref(), line);
        let modified = rfc3339(inode.created_ms);
        if is_old && self.is_there(inode, address, key.as_ref(), &modified, line).await? {
            return Ok(());
        }
        let write = Write {
            content_type: Some(content_type(inode, line)),
            private: line.private,
            moved_in: Some(MovedIn { modified: modified.clone(), owner: key.clone() }),
            ..Write::default()
        };
        match self.destination.bring(self.pool, inode, address, write).await {
            Ok(sum) => {
                line.status = if self.dry_run { Status::WouldImport } else { Status::Imported };
                line.size = Some(sum.size);
                line.sha256 = Some(hex(&sum.sha256));
                Ok(())
            }
            // Made in between: by a repetition of this very request, or under another of its names.
            Err(Failure::Refused(error)) if matches!(error.status(), Some(401 | 403 | 409 | 412)) => {
                if self.is_there(inode, address, key.as_ref(), &modified, line).await? {
                    return Ok(());
                }
                *line = std::mem::replace(line, Line::new("")).failed(told(&error), TAKEN);
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whether there is nothing to do any more; the line says why.
    async fn is_there(
        &self,
        inode: &Inode,
        address: &jsfs_client::Address,
        key: Option<&AccessKey>,
        modified: &str,
        line: &mut Line,
    ) -> Result<bool, Failure> {
        match self.destination.there(address, key, inode, modified).await? {
            There::Nothing => Ok(false),
            There::Itself { since } => {
                line.status = Status::Present;
                line.notes.extend(since.map(str::to_owned));
                Ok(true)
            }
            There::Another => {
                *line =
                    std::mem::replace(line, Line::new("")).failed("something else has its address", TAKEN);
                Ok(true)
            }
        }
    }
}

/// What the object will be, and what is not as it was.
fn describe(inode: &Inode, key: Option<&AccessKey>, line: &mut Line) {
    let note = match (&inode.key, key) {
        (OldKey::Default, _) => Some(
            "its key was the SHA-1 of its name, which is no secret: it belongs to the owner of its namespace now",
        ),
        (OldKey::None, _) => {
            Some("it had no key that anybody could present: it belongs to the owner of its namespace now")
        }
        (OldKey::Chosen(_), None) => {
            Some("its key cannot be one here (1 to 1024 bytes): it belongs to the owner of its namespace now")
        }
        (OldKey::Chosen(_), Some(_)) => None,
    };
    line.notes.extend(note.map(str::to_owned));
    if inode.encrypted {
        line.notes.push("it was `encrypted`: stored as private".to_owned());
    }
    if inode.executable {
        line.notes
            .push("it was a program of another engine: stored as bytes, see docs/programs.md".to_owned());
    }
    line.owner = Some(if key.is_some() { "key" } else { "namespace" });
    line.private = Some(inode.private || inode.encrypted);
    line.size = inode.size;
}

/// The content type, where it is one.
fn content_type(inode: &Inode, line: &mut Line) -> String {
    let octets = || "application/octet-stream".to_owned();
    let Some(text) = &inode.content_type else { return octets() };
    if text.len() <= CONTENT_TYPE_MAX && jsfs_client::is_content_type(text) {
        return text.clone();
    }
    line.notes.push(format!("its content type {text:?} is none: application/octet-stream instead"));
    octets()
}

fn told(error: &Error) -> String {
    error.to_string()
}

fn rfc3339(since_1970_ms: u64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(since_1970_ms) * 1_000_000).ok();
    time.and_then(|time| time.format(&format).ok()).unwrap_or_else(|| "1970-01-01T00:00:00.000Z".to_owned())
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
