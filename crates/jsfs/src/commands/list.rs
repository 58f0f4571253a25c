//! `ls` and `stat`.

use crate::cli::{Ls, Stat};
use crate::output::{human_bytes, one_line};
use crate::session::Session;
use jsfs_client::{Entry, EntryKind};
use serde_json::json;

/// `jsfs ls`: page by page, so that memory does not grow with the directory.
pub(super) async fn ls(session: &Session, arguments: &Ls) -> anyhow::Result<()> {
    let (reference, client) = session.target(&arguments.address)?;
    let directory = reference.address.as_directory();
    let mut lister = client.list(&directory, arguments.recursive);
    let mut first = true;
    while let Some(page) = lister.page().await? {
        for entry in &page.entries {
            if session.output.json {
                let head = if first {
                    format!("{{\"address\": {}, \"entries\": [\n", json!(directory.to_string()))
                } else {
                    ",\n".to_owned()
                };
                crate::output::write_bytes(format!("{head}  {}", serde_json::to_string(entry)?).as_bytes())?;
            } else {
                session.output.line(&line(entry, arguments.long))?;
            }
            first = false;
        }
    }
    if session.output.json {
        let end = if first {
            format!("{{\"address\": {}, \"entries\": []}}\n", json!(directory.to_string()))
        } else {
            "\n]}\n".to_owned()
        };
        crate::output::write_bytes(end.as_bytes())?;
    }
    Ok(())
}

fn line(entry: &Entry, long: bool) -> String {
    let name = one_line(&entry.name);
    if !long {
        return name.into_owned();
    }
    let size = match entry.kind {
        EntryKind::Directory => "-".to_owned(),
        EntryKind::Object => entry.size.map_or_else(|| "?".to_owned(), human_bytes),
    };
    let visibility = match entry.private {
        Some(true) => "private",
        Some(false) => "public",
        None => "-",
    };
    let version = entry.version.map_or_else(|| "-".to_owned(), |version| format!("v{version}"));
    let modified = one_line(entry.modified.as_deref().unwrap_or("-"));
    format!("{size:>12}  {modified:<24}  {version:>5}  {visibility:<7}  {name}")
}

/// `jsfs stat`.
pub(super) async fn stat(session: &Session, arguments: &Stat) -> anyhow::Result<()> {
    let (reference, client) = session.target(&arguments.address)?;
    let address = reference.address;
    let info = client.head(&address, arguments.version.or(reference.version)).await?;
    if session.output.json {
        let mut value = serde_json::to_value(&info)?;
        value["address"] = address.to_string().into();
        return Ok(session.output.json(&value)?);
    }
    let yes_no = |flag: Option<bool>| flag.map(|flag| if flag { "yes".to_owned() } else { "no".to_owned() });
    let size = info.size.map(|size| format!("{size} bytes ({})", human_bytes(size)));
    let rows = [
        ("address", Some(address.to_string())),
        ("size", size),
        ("content type", info.content_type),
        ("modified", info.modified),
        ("version", info.version.map(|version| version.to_string())),
        ("private", yes_no(info.private)),
        ("executable", yes_no(info.executable)),
        ("etag", info.etag),
        ("sha256", info.sha256),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            session.output.line(&format!("{name:<13} {}", one_line(&value)))?;
        }
    }
    Ok(())
}
