//! `ls` and `stat`.

use crate::cli::{Ls, Stat};
use crate::exit::{Nothing, Usage};
use crate::output::{human_bytes, one_line};
use crate::session::Session;
use jsfs_client::{Address, Client, Entry, EntryKind};
use serde_json::{Value, json};

/// `jsfs ls`: page by page, so that memory does not grow with the directory.
pub(super) async fn ls(session: &Session, arguments: &Ls) -> anyhow::Result<()> {
    let (reference, client) = session.target(&arguments.address)?;
    let directory = reference.address.as_directory();
    let mut lister = client.list(&directory, arguments.recursive);
    let mut first = true;
    loop {
        let page = match lister.page().await {
            Ok(Some(page)) => page,
            Ok(None) => break,
            Err(error) if first && error.status() == Some(404) && !reference.address.is_directory() => {
                return one_object(session, &client, &reference.address, arguments.long).await;
            }
            Err(error) => return Err(error.into()),
        };
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
    if first && directory.path() != "/" {
        return one_object(session, &client, &reference.address, arguments.long).await;
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

/// A directory exists by what is in it; where there is nothing, an object of that name may have been meant.
async fn one_object(session: &Session, client: &Client, address: &Address, long: bool) -> anyhow::Result<()> {
    if address.is_directory() {
        return Err(Nothing(format!("there is nothing below {address}")).into());
    }
    let info = client.head(address, None).await?;
    let entry = Entry {
        name: address.name().to_owned(),
        kind: EntryKind::Object,
        size: info.size,
        content_type: info.content_type,
        modified: info.modified,
        version: info.version,
        private: info.private,
        etag: info.etag,
        sha256: info.sha256,
        unreadable: None,
    };
    session.output.json(&json!({ "address": address.to_string(), "entries": [entry] }))?;
    Ok(session.output.line(&line(&entry, long))?)
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
    if address.is_directory() {
        return directory(session, &client, &address, arguments.version.or(reference.version)).await;
    }
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
    print(session, rows)
}

/// What holds in a directory, its own or inherited.
async fn directory(
    session: &Session,
    client: &Client,
    address: &Address,
    version: Option<u64>,
) -> anyhow::Result<()> {
    if version.is_some() {
        return Err(Usage(format!("{address} is a directory; only objects have versions")).into());
    }
    let mut policy = client.properties(address).await?;
    policy["address"] = address.to_string().into();
    policy["type"] = "directory".into();
    if session.output.json {
        return Ok(session.output.json(&policy)?);
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let retention = &policy["retention"];
    let kept = retention["days"].as_u64().zip(retention["versions"].as_u64());
    let hosts = policy["hosts"].as_array().filter(|hosts| !hosts.is_empty());
    let rows = [
        ("address", Some(address.to_string())),
        ("owner", text(&policy["owner"])),
        ("private", policy["private"].as_bool().map(|private| if private { "yes" } else { "no" }.to_owned())),
        ("create", text(&policy["create"])),
        ("quota", policy["quota"].as_u64().map(|quota| format!("{quota} bytes ({})", human_bytes(quota)))),
        ("keeps", kept.map(|(days, versions)| format!("{versions} earlier versions for {days} days"))),
        ("hosts", hosts.map(|hosts| hosts.iter().filter_map(text).collect::<Vec<_>>().join(", "))),
    ];
    print(session, rows)
}

fn print<const N: usize>(session: &Session, rows: [(&str, Option<String>); N]) -> anyhow::Result<()> {
    for (name, value) in rows {
        if let Some(value) = value {
            session.output.line(&format!("{name:<13} {}", one_line(&value)))?;
        }
    }
    Ok(())
}
