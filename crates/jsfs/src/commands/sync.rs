//! `sync`: an address made equal to a local directory, or a local directory to an address.
//!
//! Files are compared by size, then by SHA-256, and only what differs moves, several requests at a time. One file that fails is named and the rest
//! goes on; nothing is deleted in a run in which anything failed. Interrupting it leaves whole files only; running it again goes on where it stopped.
//! Symbolic links, devices and pipes are skipped and named; empty directories do not exist on a node.

mod download;
mod follow;
mod local;
mod manifest;
mod upload;

use crate::cli::Sync;
use crate::exit::{Exit, SomeFailed, Usage};
use crate::output::{Output, human_bytes, one_line};
use crate::progress::Progress;
use crate::session::Session;
use jsfs_client::{Address, Client, EntryKind, Error, Reference};
pub(super) use manifest::Programs;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What both directions need.
struct Job<'a> {
    client: Client,
    address: Address,
    directory: PathBuf,
    output: Output,
    progress: &'a Progress,
    delete: bool,
    dry_run: bool,
    private: Option<bool>,
    follow_links: bool,
    requests: usize,
    /// Which files are programs.
    programs: Programs,
}

/// An object below the address.
#[derive(Debug, Clone)]
struct Remote {
    size: Option<u64>,
    sha256: Option<String>,
    private: Option<bool>,
}

/// What was done, or with `--dry-run` would be.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// Moved to the other side.
    transferred: usize,
    /// Bytes of those.
    bytes: u64,
    /// Had nothing but their visibility changed.
    changed: usize,
    deleted: usize,
    unchanged: usize,
    skipped: Vec<Named>,
    failed: Vec<Named>,
    dry_run: bool,
    /// With `--dry-run`: what would be done, as `+ name`, `~ name`, `- name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<String>,
    #[serde(skip)]
    exit: Option<Exit>,
}

/// Something with the reason why it was not moved.
#[derive(Debug, Serialize)]
struct Named {
    name: String,
    reason: String,
}

/// What happened to one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unchanged,
    Transferred(u64),
    Changed,
}

/// Which of the two arguments is local.
#[derive(Debug, PartialEq, Eq)]
enum Direction {
    Upload,
    Download,
}

/// `jsfs sync`.
pub(super) async fn run(session: &Session, arguments: &Sync) -> anyhow::Result<()> {
    let direction = direction(&arguments.from, Path::new(&arguments.from).is_dir())?;
    let (directory, address) = match direction {
        Direction::Upload => (&arguments.from, &arguments.to),
        Direction::Download => (&arguments.to, &arguments.from),
    };
    if direction == Direction::Download
        && (arguments.visibility.private().is_some() || arguments.follow_links)
    {
        return Err(Usage("--public, --private and --follow-links are for uploads".into()).into());
    }
    if direction == Direction::Upload && !address.contains("://") && Path::new(address).is_dir() {
        return Err(both_local(address).into());
    }
    let (reference, client) = session.target(address)?;
    let progress = Progress::new(session.output, "listing", None);
    let job = Job {
        client,
        address: reference.address.as_directory(),
        directory: directory.into(),
        output: session.output,
        progress: &progress,
        delete: arguments.delete,
        dry_run: arguments.dry_run,
        private: arguments.visibility.private(),
        follow_links: arguments.follow_links,
        requests: usize::from(arguments.jobs),
        programs: match direction {
            Direction::Upload => Programs::read(Path::new(directory))?,
            Direction::Download => Programs::default(),
        },
    };
    if arguments.watch {
        return match direction {
            Direction::Upload => follow::upload(job).await,
            Direction::Download => follow::download(&job).await,
        };
    }
    let summary = match direction {
        Direction::Upload => upload::run(&job).await?,
        Direction::Download => download::run(&job).await?,
    };
    drop(progress);
    conclude(session.output, &summary)
}

/// `jsfs dev`: an address made equal to a directory, also in what goes, until it is stopped.
pub(super) async fn serve(session: &Session, directory: &Path, address: &Address) -> anyhow::Result<()> {
    let progress = Progress::new(session.output, "listing", None);
    let job = Job {
        client: session.client.clone(),
        address: address.clone(),
        directory: directory.to_owned(),
        output: session.output,
        progress: &progress,
        // What programs have stored is not there on the disk and must stay.
        delete: false,
        dry_run: false,
        private: Some(false),
        follow_links: false,
        requests: 8,
        programs: Programs::default(),
    };
    follow::upload(job).await
}

/// `jsfs get -r`: a download that deletes nothing.
pub(super) async fn fetch(
    session: &Session,
    client: &Client,
    address: &Address,
    path: &Path,
) -> anyhow::Result<()> {
    let progress = Progress::new(session.output, "listing", None);
    let job = Job {
        client: client.clone(),
        address: address.as_directory(),
        directory: path.to_owned(),
        output: session.output,
        progress: &progress,
        delete: false,
        dry_run: false,
        private: None,
        follow_links: false,
        requests: 8,
        programs: Programs::default(),
    };
    let summary = download::run(&job).await?;
    drop(progress);
    conclude(session.output, &summary)
}

/// The first argument decides: a directory that exists here is local, anything else must be an address that says its namespace, so that a
/// mistyped directory is never taken for an address.
fn direction(from: &str, is_directory: bool) -> anyhow::Result<Direction> {
    if is_directory {
        return Ok(Direction::Upload);
    }
    let local = from.starts_with('.') || !(from.starts_with('/') || from.contains(':'));
    if local || Reference::parse(from).is_err() {
        let text = format!(
            "{from} is no directory here; to download, write the address with its namespace: /localhost/{}",
            from.trim_start_matches(['.', '/'])
        );
        return Err(Usage(text).into());
    }
    Ok(Direction::Download)
}

/// Two directories of this machine: the second would be taken for an address of the same name, which hardly anybody means.
fn both_local(to: &str) -> Usage {
    let address = match to.strip_prefix('/') {
        Some(rest) => {
            let (namespace, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{}:{path}", namespace.rsplit('.').collect::<Vec<_>>().join("."))
        }
        None => format!("/localhost/{}", to.trim_start_matches("./")),
    };
    Usage(format!(
        "{to} is a directory here, and one side must be an address; if that is what you mean, write {address}"
    ))
}

fn conclude(output: Output, summary: &Summary) -> anyhow::Result<()> {
    for action in &summary.actions {
        output.line(&one_line(action))?;
    }
    output.json(summary)?;
    let would = if summary.dry_run { "would be " } else { "" };
    let mut text = format!(
        "{} {would}transferred ({}), {} unchanged, {} {would}deleted",
        summary.transferred,
        human_bytes(summary.bytes),
        summary.unchanged,
        summary.deleted
    );
    if summary.changed > 0 {
        text.push_str(&format!(", {} {would}made public or private", summary.changed));
    }
    if !summary.skipped.is_empty() {
        text.push_str(&format!(", {} skipped", summary.skipped.len()));
    }
    output.done(&text)?;
    if summary.failed.is_empty() {
        return Ok(());
    }
    let all = summary.failed.len() + summary.transferred + summary.unchanged + summary.changed;
    Err(SomeFailed { failed: summary.failed.len(), all, exit: summary.exit.unwrap_or(Exit::Failed) }.into())
}

impl Summary {
    fn skip(&mut self, job: &Job<'_>, name: String, reason: String) {
        job.progress.suspend(|| job.output.note(&format!("skipped {}: {reason}", one_line(&name))));
        self.skipped.push(Named { name, reason });
    }

    /// Notes a failure; gives the error back where going on makes no sense.
    fn fail(&mut self, job: &Job<'_>, name: String, error: anyhow::Error) -> anyhow::Result<()> {
        if is_fatal(&error) {
            return Err(error);
        }
        let reason = crate::exit::told(&error);
        job.progress.suspend(|| job.output.warn(&format!("{}: {reason}", one_line(&name))));
        // A name that cannot be an address is one file's failure, not a usage error of the whole.
        let exit =
            Some(crate::exit::code(&error)).filter(|exit| *exit != Exit::CouldNotRun).unwrap_or(Exit::Failed);
        self.exit = Some(self.exit.filter(|worst| *worst as u8 >= exit as u8).unwrap_or(exit));
        self.failed.push(Named { name, reason });
        Ok(())
    }

    fn count(&mut self, job: &Job<'_>, name: &str, new: bool, outcome: Outcome) {
        let mark = if new { '+' } else { '~' };
        match outcome {
            Outcome::Unchanged => {
                self.unchanged += 1;
                return;
            }
            Outcome::Changed => self.changed += 1,
            Outcome::Transferred(bytes) => {
                self.transferred += 1;
                self.bytes += bytes;
            }
        }
        if job.dry_run {
            self.actions.push(format!("{mark} {name}"));
        }
    }
}

/// Errors that every further file would meet too.
fn is_fatal(error: &anyhow::Error) -> bool {
    error.chain().find_map(|cause| cause.downcast_ref::<Error>()).is_some_and(|error| match error {
        Error::Unreachable { .. } | Error::Key(_) => true,
        error => matches!(error.status(), Some(401 | 403 | 507)),
    })
}

/// Everything below the address. An address that does not exist (or is hidden) has nothing below it if `may_be_absent`.
async fn remote_tree(job: &Job<'_>, may_be_absent: bool) -> Result<BTreeMap<String, Remote>, Error> {
    let mut tree = BTreeMap::new();
    let mut lister = job.client.list(&job.address, true);
    loop {
        let page = match lister.page().await {
            Ok(Some(page)) => page,
            Ok(None) => return Ok(tree),
            Err(error) if may_be_absent && tree.is_empty() && error.status() == Some(404) => return Ok(tree),
            Err(error) => return Err(error),
        };
        let objects = page.entries.into_iter().filter(|entry| entry.kind == EntryKind::Object);
        // What others left here is theirs: it is neither fetched nor deleted.
        let objects = objects.filter(|entry| entry.unreadable != Some(true));
        tree.extend(objects.map(|entry| {
            (entry.name, Remote { size: entry.size, sha256: entry.sha256, private: entry.private })
        }));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_argument_decides_the_direction_and_a_mistyped_directory_is_no_address() {
        assert_eq!(direction("docs", true).unwrap(), Direction::Upload);
        assert_eq!(direction("/srv/docs", true).unwrap(), Direction::Upload);
        for address in ["/localhost/docs/", "http://localhost:7302/docs/", "example.com:docs"] {
            assert_eq!(direction(address, false).unwrap(), Direction::Download, "{address}");
        }
        for mistyped in ["dosc", "./dosc", "../dosc/", "a/b", "./a:b"] {
            assert!(direction(mistyped, false).is_err(), "{mistyped}");
        }
    }
}
