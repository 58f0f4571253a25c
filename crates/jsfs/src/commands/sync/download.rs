//! The direction from an address to a local directory. Names that the node gives are hostile until [`Relative`] has passed them.

use super::super::tree::{Relative, Tree};
use super::local::{self, Hasher};
use super::{Job, Outcome, Remote, Summary, remote_tree};
use crate::exit::Nothing;
use anyhow::Context;
use futures_util::{StreamExt, stream};
use jsfs_client::{Error, Get};
use std::collections::BTreeSet;
use tokio::io::AsyncWriteExt;

pub(super) async fn run(job: &Job<'_>) -> anyhow::Result<Summary> {
    let remote = remote_tree(job, false).await?;
    // A directory exists by what is in it; an address that was mistyped must not empty a local directory.
    if remote.is_empty() {
        return Err(Nothing(format!("there is nothing below {}", job.address)).into());
    }
    let mut summary = Summary { dry_run: job.dry_run, ..Summary::default() };
    let directory = job.directory.clone();
    let tree = match job.dry_run && !directory.exists() {
        true => None,
        false => {
            let opened = tokio::task::spawn_blocking(move || Tree::open(&directory)).await?;
            Some(opened.with_context(|| format!("cannot write to {}", job.directory.display()))?)
        }
    };
    job.progress.total(remote.values().filter_map(|there| there.size).sum());
    let mut files = Vec::new();
    for (name, there) in remote {
        match Relative::parse(&name) {
            Ok(path) => files.push((path, there)),
            Err(reason) => summary.fail(
                job,
                name,
                anyhow::anyhow!("the node gave a name that cannot be a file: {reason}"),
            )?,
        }
    }
    let keep = files.iter().map(|(path, _)| path.to_string()).collect::<BTreeSet<_>>();
    let tree = tree.as_ref();
    let mut results = stream::iter(files)
        .map(|(path, there)| async move {
            let result = one(job, tree, &path, &there).await;
            (path.to_string(), result)
        })
        .buffer_unordered(job.requests);
    while let Some((name, result)) = results.next().await {
        match result {
            Ok((new, outcome)) => summary.count(job, &name, new, outcome),
            Err(error) => summary.fail(job, name, error)?,
        }
    }
    drop(results);
    if let (true, Some(tree)) = (job.delete, tree) {
        delete(job, tree, &keep, &mut summary).await?;
    }
    Ok(summary)
}

/// Brings one file up to date; says whether it is new.
pub(super) async fn one(
    job: &Job<'_>,
    tree: Option<&Tree>,
    path: &Relative,
    there: &Remote,
) -> anyhow::Result<(bool, Outcome)> {
    job.progress.message(&path.to_string());
    let here = match tree {
        Some(tree) => compare(tree.clone(), path.clone(), there.clone()).await?,
        None => None,
    };
    let size = there.size.unwrap_or_default();
    if here == Some(true) || job.dry_run {
        job.progress.moved(size);
        let outcome = if here == Some(true) { Outcome::Unchanged } else { Outcome::Transferred(size) };
        return Ok((here.is_none(), outcome));
    }
    let tree = tree.context("the directory is not open")?;
    let size = receive(job, tree, path, there).await?;
    Ok((here.is_none(), Outcome::Transferred(size)))
}

/// Whether the file here is the same; `None` where there is none.
async fn compare(tree: Tree, path: Relative, there: Remote) -> anyhow::Result<Option<bool>> {
    let failed = path.clone();
    let look = move || -> std::io::Result<Option<bool>> {
        let Some(file) = tree.read(&path)? else { return Ok(None) };
        let (Some(size), Some(sha256)) = (there.size, there.sha256) else { return Ok(Some(false)) };
        if file.metadata()?.len() != size {
            return Ok(Some(false));
        }
        Ok(Some(local::sha256(file)?.0 == sha256))
    };
    tokio::task::spawn_blocking(look).await?.with_context(|| format!("cannot look at {failed}"))
}

/// Receives an object into its file; what does not have the promised hash is not kept.
async fn receive(job: &Job<'_>, tree: &Tree, path: &Relative, there: &Remote) -> anyhow::Result<u64> {
    let address = job.address.join(&path.to_string())?;
    let mut download = job.client.get(&address, &Get::default()).await?;
    let failed = || format!("cannot write {path} below {}", job.directory.display());
    let (below, name) = (tree.clone(), path.clone());
    let mut pending = tokio::task::spawn_blocking(move || below.create(&name)).await?.with_context(failed)?;
    let mut hasher = Hasher::default();
    while let Some(chunk) = download.chunk().await? {
        hasher.update(&chunk);
        pending.file().write_all(&chunk).await.with_context(failed)?;
        job.progress.moved(chunk.len() as u64);
    }
    let (sha256, size) = hasher.finish();
    // The answer's own digest counts before that of the listing: the object may have been replaced since.
    if let Some(promised) = download.info.sha256.as_ref().or(there.sha256.as_ref())
        && *promised != sha256
    {
        let reason = format!("its SHA-256 is {sha256}, not {promised}");
        return Err(Error::Damaged { subject: address.to_string(), reason }.into());
    }
    pending.finish().await.with_context(failed)?;
    Ok(size)
}

/// Deletes what only the directory has; not in a run in which anything failed. Links and other things that are no files stay.
async fn delete(
    job: &Job<'_>,
    tree: &Tree,
    keep: &BTreeSet<String>,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    if !summary.failed.is_empty() {
        job.output.note("nothing was deleted, because something failed");
        return Ok(());
    }
    let root = job.directory.clone();
    let local = tokio::task::spawn_blocking(move || local::walk(&root, false)).await?;
    for (name, error) in local.failed {
        summary.fail(job, name, error.into())?;
    }
    for file in local.files.into_iter().filter(|file| !keep.contains(&file.name)) {
        let removed = match Relative::parse(&file.name) {
            Ok(_) if job.dry_run => Ok(()),
            Ok(path) => {
                let tree = tree.clone();
                tokio::task::spawn_blocking(move || tree.remove(&path)).await?.map_err(anyhow::Error::from)
            }
            Err(reason) => Err(anyhow::anyhow!("it cannot be deleted by its name: {reason}")),
        };
        match removed {
            Ok(()) => {
                summary.deleted += 1;
                if job.dry_run {
                    summary.actions.push(format!("- {}", file.name));
                }
            }
            Err(error) => summary.fail(job, file.name, error)?,
        }
    }
    Ok(())
}
