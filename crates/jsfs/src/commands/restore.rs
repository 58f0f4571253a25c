//! `restore`: makes a data directory of a backup. No node is needed, and none may run there.
//!
//! Everything is read, written and then checked as `jsfs check` does, before `store.json` is moved in: a restore that was killed leaves a directory that no
//! node opens, and the same command begins it anew.

use super::backup::{ROOT_KEY, open};
use crate::cli::{Connection, Restore};
use crate::exit::{Exit, Nothing, Usage, told};
use crate::output::{Output, human_bytes, one_line};
use crate::progress::Progress;
use crate::serve::keys::{self, NODE_KEY_FILE};
use crate::session::{ROOT_KEY_FILE, read_key_file};
use anyhow::Context;
use jsfs_objects::BackupNote;
use jsfs_objects::key::{AccessKey, Seed};
use jsfs_store::backup::{About, Restored, depot, restore};
use serde_json::Value;
use std::io;
use std::path::Path;

/// The keys that go into the directory.
struct Keys {
    /// With where it came from.
    root: Option<(Seed, &'static str)>,
    node: Option<Seed>,
}

/// Restores a backup.
pub(crate) fn run(connection: &Connection, arguments: &Restore, output: Output) -> anyhow::Result<Exit> {
    crate::serve::keep_to_oneself();
    let archive = open(&arguments.source, depot::Access::Read)?;
    let Some(number) = arguments.number.or(archive.numbers().last().copied()) else {
        return Err(Nothing(format!("there is no backup at {}", arguments.source.display())).into());
    };
    let about = archive.about(number)?;
    let keys = keys_of(connection, &about)?;
    let bar = Progress::new(output, "restore", Some(archive.size(number)?));
    let finish = |made: &Path| {
        write_keys(made, &keys)?;
        match arguments.damaged {
            true => Ok(()),
            false => check(made),
        }
    };
    let moved = |bytes| bar.moved(bytes);
    let restored = restore(&archive, number, &arguments.directory, arguments.damaged, &moved, finish)?;
    drop(bar);
    show(
        output,
        &arguments.directory,
        &restored,
        &keys,
        about.note.get("node_key").is_some_and(Value::is_string),
    )
}

/// The root key that is in the backup or was given, and the node's key that it opens.
fn keys_of(connection: &Connection, about: &About) -> anyhow::Result<Keys> {
    let note: Option<BackupNote> = serde_json::from_value(about.note.clone()).ok();
    let root = match (about.note.get(ROOT_KEY).and_then(Value::as_str), given(connection)?) {
        (_, Some(given)) => Some((given, "the key that was given")),
        (Some(kept), None) => {
            let seed = Seed::parse(kept).context("the root key in the backup is none")?;
            Some((seed, "the backup"))
        }
        (None, None) => None,
    };
    let (Some(note), Some((seed, _))) = (note, &root) else { return Ok(Keys { root, node: None }) };
    let keys = seed.keys();
    if keys.owner().to_string() != note.root_owner {
        let text = format!(
            "the key that was given is not the root key of this backup, which is that of {}; leave it out to restore without",
            note.root_owner
        );
        return Err(Usage(text).into());
    }
    let node =
        note.node_seed(&keys).context("the node's key in the backup does not open with the root key")?;
    Ok(Keys { root, node })
}

/// The key of the command line or the environment.
fn given(connection: &Connection) -> anyhow::Result<Option<Seed>> {
    let text = match (&connection.key, &connection.key_file) {
        (Some(text), _) => zeroize::Zeroizing::new(text.clone()),
        (None, Some(path)) => read_key_file(path)?,
        (None, None) => return Ok(None),
    };
    let key = AccessKey::parse(&text).map_err(|error| Usage(error.to_string()))?;
    Ok(Some(key.stretch("localhost").map_err(|error| Usage(error.to_string()))?))
}

fn write_keys(made: &Path, keys: &Keys) -> io::Result<()> {
    let named =
        [(ROOT_KEY_FILE, keys.root.as_ref().map(|(seed, _)| seed)), (NODE_KEY_FILE, keys.node.as_ref())];
    for (name, seed) in named {
        if let Some(seed) = seed {
            keys::keep(made, name, seed).map_err(|error| io::Error::other(told(&error)))?;
        }
    }
    Ok(())
}

/// Reads what was written, and that everything that something needs is there.
fn check(made: &Path) -> io::Result<()> {
    let options = jsfs_store::OpenOptions::directory(made, &[]).map_err(io::Error::other)?;
    let report = jsfs_store::check(&options).map_err(io::Error::other)?;
    match report.findings.first() {
        None => Ok(()),
        Some(first) => {
            let count = report.findings.len() as u64 + report.more;
            let what = format!("what was restored is not whole ({count} findings, the first: {first})");
            Err(io::Error::other(format!("{what}; --damaged keeps it all the same")))
        }
    }
}

fn show(
    output: Output,
    directory: &Path,
    restored: &Restored,
    keys: &Keys,
    has_node_key: bool,
) -> anyhow::Result<Exit> {
    let mut document = serde_json::to_value(restored)?;
    document["directory"] = directory.display().to_string().into();
    document["root_key"] = keys.root.is_some().into();
    document["node_key"] = keys.node.is_some().into();
    output.json(&document)?;
    let place = one_line(&directory.display().to_string()).into_owned();
    output.done(&format!(
        "backup {} is in {place}: {} entries, {} blocks, {}; the state at commit {}",
        restored.number,
        restored.entries,
        restored.blocks,
        human_bytes(restored.bytes),
        restored.sequence
    ))?;
    match &keys.root {
        Some((_, origin)) => output.note(&format!("root.key is there, from {origin}")),
        None => output.note(&format!("root.key is not there: put it into {place} before the node starts")),
    }
    if keys.node.is_none() && has_node_key {
        output.note(
            "without the root key the node's own key stays closed: what was attached to programs cannot be opened, and running processes are lost; restore with --key-file FILE to keep them",
        );
    }
    for damage in &restored.damage {
        output.line(&one_line(damage))?;
    }
    match restored.damage.len() {
        0 => Ok(Exit::Done),
        _ => {
            output.line(&format!("{} things are damaged and were left out", restored.damage.len()))?;
            Ok(Exit::Failed)
        }
    }
}
