//! The direction from a local directory to an address.

use super::super::put::placed;
use super::local::{self, LocalFile};
use super::{Job, Outcome, Remote, Summary, remote_tree};
use anyhow::Context;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jsfs_client::{Address, Source, Write, content_type_of};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;

/// Files up to this size are read once, for comparing and sending.
const SMALL_BYTES: u64 = 256 * 1024;

pub(super) async fn run(job: &Job<'_>) -> anyhow::Result<Summary> {
    let (root, follow_links) = (job.directory.clone(), job.follow_links);
    let local = tokio::task::spawn_blocking(move || local::walk(&root, follow_links)).await?;
    let mut remote = remote_tree(job, true).await?;
    let mut summary = Summary { dry_run: job.dry_run, ..Summary::default() };
    for (name, reason) in local.skipped {
        // What is skipped is still there: it is not deleted on the other side.
        remote.remove(&name);
        summary.skip(job, name, reason);
    }
    for (name, error) in local.failed {
        summary.fail(job, name, error.into())?;
    }
    job.progress.total(local.files.iter().map(|file| file.size).sum());
    let pairs = local.files.into_iter().map(|file| {
        let there = remote.remove(&file.name);
        (file, there)
    });
    let work = pairs.collect::<Vec<_>>();
    let mut results = stream::iter(work)
        .map(|(file, there)| async move {
            let result = one(job, &file, there.as_ref()).await;
            (file.name, there.is_none(), result)
        })
        .buffer_unordered(job.requests);
    while let Some((name, new, result)) = results.next().await {
        match result {
            Ok(outcome) => summary.count(job, &name, new, outcome),
            Err(error) => summary.fail(job, name, error)?,
        }
    }
    drop(results);
    if job.delete {
        delete(job, remote, &mut summary).await?;
    }
    Ok(summary)
}

pub(super) async fn one(job: &Job<'_>, file: &LocalFile, there: Option<&Remote>) -> anyhow::Result<Outcome> {
    let address = job.address.join(&file.name)?;
    job.progress.message(&file.name);
    let (small, sha256) = look(file, there).await?;
    let same = there.is_some_and(|there| {
        there.size == Some(file.size) && there.sha256.is_some() && there.sha256 == sha256
    });
    let program = job.programs.of(&file.name);
    if !same {
        if job.dry_run {
            job.progress.moved(file.size);
            return Ok(Outcome::Transferred(file.size));
        }
        return send(job, file, &address, small).await;
    }
    job.progress.moved(file.size);
    if let Some(program) = program.filter(|_| !job.dry_run) {
        // Its text is the same, what is attached to it may be not.
        job.client.attach(&address, program).await.map_err(|error| placed(&file.path, error))?;
    }
    let wanted = job.private.filter(|private| there.is_some_and(|there| there.private != Some(*private)));
    let Some(private) = wanted else { return Ok(Outcome::Unchanged) };
    if !job.dry_run {
        job.client.patch(&address, &json!({ "private": private })).await?;
    }
    Ok(Outcome::Changed)
}

async fn send(
    job: &Job<'_>,
    file: &LocalFile,
    address: &Address,
    small: Option<Bytes>,
) -> anyhow::Result<Outcome> {
    let size = small.as_ref().map_or(file.size, |bytes| bytes.len() as u64);
    let source = small.map_or_else(|| Source::File(file.path.clone()), Source::Bytes);
    let write = Write {
        content_type: content_type_of(&file.path),
        private: job.private,
        program: job.programs.of(&file.name).cloned(),
        counter: Some(job.progress.counter()),
        memory: crate::memory::of_this_user(),
        moved_in: None,
    };
    let metadata = job.client.put(address, source, write).await.map_err(|error| placed(&file.path, error))?;
    anyhow::ensure!(
        metadata.file_size == size || metadata.file_size > 0 && size != file.size,
        "the node stored {} bytes instead of {size}; try again",
        metadata.file_size
    );
    Ok(Outcome::Transferred(size))
}

/// The bytes of a small file, and the hash where it can decide.
async fn look(file: &LocalFile, there: Option<&Remote>) -> anyhow::Result<(Option<Bytes>, Option<String>)> {
    let compare = there.is_some_and(|there| there.size == Some(file.size) && there.sha256.is_some());
    let small = file.size <= SMALL_BYTES;
    if !compare && !small {
        return Ok((None, None));
    }
    let path = file.path.clone();
    let read = move || -> std::io::Result<(Option<Bytes>, Option<String>)> {
        if !small {
            return Ok((None, Some(local::sha256(File::open(&path)?)?.0)));
        }
        let bytes = Bytes::from(std::fs::read(&path)?);
        let hash = compare.then(|| local::sha256(bytes.as_ref())).transpose()?.map(|(hash, _)| hash);
        Ok((Some(bytes), hash))
    };
    tokio::task::spawn_blocking(read).await?.with_context(|| format!("cannot read {}", file.path.display()))
}

/// Deletes what only the node has; not in a run in which anything failed.
async fn delete(job: &Job<'_>, extra: BTreeMap<String, Remote>, summary: &mut Summary) -> anyhow::Result<()> {
    if !summary.failed.is_empty() {
        job.output.note("nothing was deleted, because something failed");
        return Ok(());
    }
    let mut results = stream::iter(extra.into_keys())
        .map(|name| async move {
            let result = match job.address.join(&name) {
                Ok(_) if job.dry_run => Ok(()),
                Ok(address) => job.client.delete(&address).await.map_err(anyhow::Error::from),
                Err(error) => Err(error.into()),
            };
            (name, result)
        })
        .buffer_unordered(job.requests);
    while let Some((name, result)) = results.next().await {
        match result {
            Ok(()) => {
                summary.deleted += 1;
                if job.dry_run {
                    summary.actions.push(format!("- {name}"));
                }
            }
            Err(error) => summary.fail(job, name, error)?,
        }
    }
    Ok(())
}
