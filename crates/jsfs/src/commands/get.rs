//! `get` and `cat`: objects into files and to standard output.
//!
//! A file appears under its name only when it is complete: it is written beside and renamed. What is there and is no regular file
//! (a device, a pipe) is written to directly.

use super::sync;
use crate::cli::{self, Part};
use crate::exit::Usage;
use crate::output::{human_bytes, one_line, write_bytes};
use crate::progress::Progress;
use crate::session::Session;
use anyhow::Context;
use jsfs_client::{Address, Client, Get};
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;

fn part(part: &Part, version: Option<u64>) -> Get {
    Get { range: part.range, version: part.version.or(version) }
}

/// `jsfs get`.
pub(super) async fn get(session: &Session, arguments: &cli::Get) -> anyhow::Result<()> {
    let (reference, client) = session.target(&arguments.address)?;
    let address = reference.address;
    if arguments.recursive {
        let path = arguments
            .path
            .clone()
            .unwrap_or_else(|| PathBuf::from(address.as_directory().name().trim_end_matches('/')));
        if path.as_os_str().is_empty() {
            return Err(Usage("say where the tree goes; write . for here".into()).into());
        }
        return sync::fetch(session, &client, &address, &path).await;
    }
    if address.is_directory() {
        return Err(Usage(format!("{address} is a directory; add -r to fetch all below it")).into());
    }
    let get = part(&arguments.part, reference.version);
    if arguments.path.as_deref() == Some(Path::new("-")) {
        return to_stdout(session, &client, &address, &get).await;
    }
    let path = match &arguments.path {
        Some(path) if path.is_dir() => path.join(local_name(&address)?),
        Some(path) => path.clone(),
        None => PathBuf::from(local_name(&address)?),
    };
    let size = to_file(session, &client, &address, &get, &path).await?;
    session.output.done(&format!("{} {}", path.display(), human_bytes(size)))?;
    session
        .output
        .json(&serde_json::json!({ "address": address.to_string(), "path": path, "size": size }))?;
    Ok(())
}

/// `jsfs cat`.
pub(super) async fn cat(session: &Session, arguments: &cli::Cat) -> anyhow::Result<()> {
    for text in &arguments.addresses {
        let (reference, client) = session.target(text)?;
        to_stdout(session, &client, &reference.address, &part(&arguments.part, reference.version)).await?;
    }
    Ok(())
}

/// The name of the file that an object goes to: the last segment of its address, which is no path.
fn local_name(address: &Address) -> anyhow::Result<String> {
    let name = address.name();
    if name.is_empty() || name.contains('/') {
        return Err(Usage(format!("{address} has no name for a file; say where it goes")).into());
    }
    Ok(name.to_owned())
}

async fn to_stdout(session: &Session, client: &Client, address: &Address, get: &Get) -> anyhow::Result<()> {
    let mut download = client.get(address, get).await?;
    let progress = Progress::new(session.output, &address.to_string(), download.length());
    while let Some(chunk) = download.chunk().await? {
        write_bytes(&chunk)?;
        progress.moved(chunk.len() as u64);
    }
    Ok(())
}

async fn to_file(
    session: &Session,
    client: &Client,
    address: &Address,
    get: &Get,
    path: &Path,
) -> anyhow::Result<u64> {
    let failed = || format!("cannot write {}", path.display());
    let mut download = client.get(address, get).await?;
    let mut file = super::tree::Replacement::new(path).await.with_context(failed)?;
    let progress = Progress::new(session.output, &one_line(&address.to_string()), download.length());
    let mut size = 0;
    while let Some(chunk) = download.chunk().await? {
        file.file().write_all(&chunk).await.with_context(failed)?;
        progress.moved(chunk.len() as u64);
        size += chunk.len() as u64;
    }
    file.finish().await.with_context(failed)?;
    Ok(size)
}
