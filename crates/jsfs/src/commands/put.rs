//! `put`: files and standard input into objects.

use crate::cli::Put;
use crate::exit::Usage;
use crate::output::{human_bytes, one_line};
use crate::progress::Progress;
use crate::session::Session;
use jsfs_client::{Address, Client, Error, Source, Write, content_type_of};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Stores every source; stops at the first that fails.
pub(super) async fn run(session: &Session, arguments: &Put) -> anyhow::Result<()> {
    let (reference, client) = session.target(&arguments.address)?;
    let directory = reference.address.is_directory();
    if !directory && arguments.sources.len() > 1 {
        let text = format!("several files need a directory to go to; write {}/", arguments.address);
        return Err(Usage(text).into());
    }
    let mut jobs = Vec::new();
    for source in &arguments.sources {
        jobs.push((source.clone(), destination(&reference.address, source)?));
    }
    let mut results = Vec::new();
    for (source, address) in &jobs {
        results.push(put_one(session, &client, arguments, source, address).await?);
    }
    if results.len() == 1 {
        session.output.json(&results[0])?;
    } else {
        session.output.json(&results)?;
    }
    Ok(())
}

/// Where a source goes.
fn destination(address: &Address, source: &Path) -> anyhow::Result<Address> {
    let stdin = source == Path::new("-");
    if !stdin && source.is_dir() {
        let text = format!("{} is a directory; use `jsfs sync {0} ADDRESS`", source.display());
        return Err(Usage(text).into());
    }
    if !address.is_directory() {
        return Ok(address.clone());
    }
    let name = source.file_name().filter(|_| !stdin);
    let name = name.ok_or_else(|| {
        Usage(format!("standard input has no name; write the address of an object, not {address}"))
    })?;
    let name = name.to_str().ok_or_else(|| {
        Usage(format!("the name of {} is not UTF-8; give the whole address", source.display()))
    })?;
    Ok(address.join(name)?)
}

async fn put_one(
    session: &Session,
    client: &Client,
    arguments: &Put,
    path: &PathBuf,
    address: &Address,
) -> anyhow::Result<jsfs_client::Metadata> {
    let (source, total, named) = if path == Path::new("-") {
        (Source::Reader(Box::new(standard_input()?)), None, Path::new(address.name()))
    } else {
        (
            Source::File(path.clone()),
            tokio::fs::metadata(path).await.ok().map(|metadata| metadata.len()),
            path.as_path(),
        )
    };
    let progress = Progress::new(session.output, &address.to_string(), total);
    let write = Write {
        content_type: arguments.content_type.clone().or_else(|| content_type_of(named)),
        private: arguments.visibility.private(),
        program: arguments.executable.program(),
        counter: Some(progress.counter()),
        memory: crate::memory::of_this_user(),
        moved_in: None,
    };
    let mut metadata = client.put(address, source, write).await.map_err(|error| placed(path, error))?;
    if !arguments.blocks {
        metadata.other.remove("blocks");
    }
    drop(progress);
    let visibility = if metadata.private { "private" } else { "public" };
    let size = human_bytes(metadata.file_size);
    session.output.done(&format!(
        "{} {size}, version {}, {visibility}",
        one_line(&address.to_string()),
        metadata.version
    ))?;
    Ok(metadata)
}

/// The fault of a program as compilers tell it, so that editors find the place: `api.js:3:7: unexpected token`.
pub(super) fn placed(path: &Path, error: Error) -> anyhow::Error {
    let Error::Refused { problem, .. } = &error else { return error.into() };
    match (problem.status, problem.line, problem.column) {
        (422, Some(line @ 1..), Some(column)) => {
            let words = problem.detail.split_once(&format!(" at line {line}, column {column}: "));
            let words = words.map_or(problem.detail.as_str(), |(_, words)| words);
            anyhow::anyhow!("{}:{line}:{column}: {words}", path.display())
        }
        _ => error.into(),
    }
}

/// Standard input as a file: read on tokio's blocking threads.
pub(super) fn standard_input() -> std::io::Result<tokio::fs::File> {
    Ok(std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned()?).into())
}
