//! `key new|show|export|replace`.
//!
//! Invariants: a new key is on the disk, or printed, before anything is handed over to it: a lost key is lost private data. Keys are printed
//! where that was asked for and nowhere else.

use crate::exit::{Exit, Usage};
use crate::output::{self, Output, one_line, shell_word};
use crate::session::{KeyOrigin, Session, read_key_file};
use anyhow::Context;
use jsfs_client::{AccessKey, Address, Credential};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The namespace whose key is the node's root key.
const ROOT: &str = "/localhost/";

const WARNING: &str = "keep this key in a safe place: whoever has it owns everything under it, and without it private data is lost";

/// `jsfs key new`.
pub(crate) fn new(file: Option<&Path>, output: Output) -> anyhow::Result<Exit> {
    let key = AccessKey::generate()?;
    hand_out(&key, file, output, json!({}))?;
    output.note(WARNING);
    Ok(Exit::Done)
}

/// `jsfs key show`.
pub(super) fn show(session: &Session, namespace: &str) -> anyhow::Result<()> {
    let origin = match &session.origin {
        KeyOrigin::Given => "given by flag or variable".to_owned(),
        KeyOrigin::Root(path) => path.display().to_string(),
        KeyOrigin::Missing(reason) => return Err(Usage(format!("there is no key to show: {reason}")).into()),
    };
    let owner = owner_key(session, &Address::of_host(namespace)?)?.owner()?;
    session
        .output
        .json(&json!({ "owner": owner, "origin": origin, "node": session.client.node().to_string() }))?;
    session.output.line(&format!("owner   {owner}\norigin  {origin}\nnode    {}", session.client.node()))?;
    Ok(())
}

/// `jsfs key export`.
pub(super) fn export(session: &Session, file: Option<&Path>) -> anyhow::Result<()> {
    let key = match &session.credential {
        Some(Credential::Key(key)) => key.clone(),
        Some(Credential::Chosen(_)) => {
            return Err(
                Usage("the key in use was chosen by a person; there is nothing to export".into()).into()
            );
        }
        Some(Credential::Token(_)) => {
            return Err(Usage("a token is no key and cannot be exported".into()).into());
        }
        None => return Err(Usage("there is no key to export; `jsfs key show` says why".into()).into()),
    };
    hand_out(&key, file, session.output, json!({}))?;
    session.output.note(WARNING);
    Ok(())
}

/// `jsfs key replace`.
pub(super) async fn replace(
    session: &Session,
    address: &str,
    to_file: Option<&Path>,
    file: Option<&Path>,
) -> anyhow::Result<()> {
    let (reference, client) = session.target(address)?;
    let address = reference.address;
    let key = match to_file {
        Some(path) => key_of(Credential::key(&read_key_file(path)?)?, &address)?,
        None => AccessKey::generate()?,
    };
    let staying = staying(session, &address).await;
    let facts = json!({ "address": address.to_string() });
    match to_file {
        Some(_) => session.output.json(&json!({ "address": address.to_string(), "owner": key.owner()? }))?,
        None => hand_out(&key, file, session.output, facts)?,
    }
    client.hand_over(&address, &key).await.context(if to_file.is_none() {
        "the new key was not put to use"
    } else {
        "nothing was changed"
    })?;
    session.output.say(&format!("{address} belongs to {} now", key.owner()?));
    if let (KeyOrigin::Root(path), ROOT) = (&session.origin, address.to_string().as_str()) {
        let before = replace_root_key(path, &key)?;
        session.output.say(&format!(
            "{} holds it now; the one before is {}",
            path.display(),
            before.display()
        ));
        let word = |path: &Path| shell_word(&path.display().to_string()).into_owned();
        say_what_stays(session, &staying, &word(&before), &word(path));
    } else {
        say_what_stays(session, &staying, "OLD-KEY", "NEW-KEY");
    }
    if to_file.is_none() {
        session.output.note(WARNING);
    }
    Ok(())
}

/// Other namespaces of the key that is about to be replaced, where it is the root key: each names its owner for itself.
async fn staying(session: &Session, address: &Address) -> Vec<String> {
    if address.to_string() != ROOT {
        return Vec::new();
    }
    let owner = owner_key(session, address).and_then(|key| Ok(key.owner()?));
    let (Ok(owner), Ok(all)) = (owner, session.client.namespaces().await) else { return Vec::new() };
    let theirs = all.into_iter().filter(|namespace| namespace.owner == owner);
    theirs.map(|namespace| format!("/{}/", namespace.name)).filter(|root| root != ROOT).collect()
}

fn say_what_stays(session: &Session, staying: &[String], before: &str, now: &str) {
    if staying.is_empty() {
        return;
    }
    let namespaces = if staying.len() == 1 { "namespace still belongs" } else { "namespaces still belong" };
    let commands = staying.iter().map(|root| {
        format!("\n  jsfs key replace {} --key-file {before} --to-file {now}", one_line(&shell_word(root)))
    });
    session.output.warn(&format!(
        "{} {namespaces} to the key before; hand each over with{}",
        staying.len(),
        commands.collect::<String>()
    ));
}

/// The key of namespace `localhost` is the root key: the file that commands on this machine find must hold it. Tells where the one before is.
fn replace_root_key(path: &Path, key: &AccessKey) -> anyhow::Result<PathBuf> {
    let failed = || format!("cannot keep the new root key in {}; write it there yourself", path.display());
    let new = path.with_extension("key.new");
    // Left by a crash before it was put to use.
    let _ = std::fs::remove_file(&new);
    write_key(&new, key).with_context(failed)?;
    let before = (1..).map(|n| path.with_extension(format!("key.{n}"))).find(|path| !path.exists());
    let before = before.unwrap_or_default();
    std::fs::hard_link(path, &before).with_context(failed)?;
    std::fs::rename(&new, path).with_context(failed)?;
    Ok(before)
}

fn write_key(path: &Path, key: &AccessKey) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", key.text().as_str())?;
    file.sync_all()
}

/// The key of a credential: generated, or stretched for the namespace.
pub(super) fn key_of(credential: Credential, address: &Address) -> anyhow::Result<AccessKey> {
    match credential {
        Credential::Key(key) => Ok(key),
        Credential::Chosen(chosen) => Ok(AccessKey::stretch(&chosen, address.namespace())?),
        Credential::Token(_) => Err(Usage("a token owns nothing; give a key".into()).into()),
    }
}

fn owner_key(session: &Session, address: &Address) -> anyhow::Result<AccessKey> {
    let credential = session.credential.clone().ok_or_else(|| Usage("there is no key".into()))?;
    key_of(credential, address)
}

/// Prints a secret key, or keeps it in a new file of mode 0600; either is done when this returns.
pub(super) fn hand_out(
    key: &AccessKey,
    file: Option<&Path>,
    output: Output,
    facts: serde_json::Value,
) -> anyhow::Result<()> {
    let mut facts = facts;
    facts["owner"] = key.owner()?.into();
    match file {
        None => {
            facts["access_key"] = key.text().as_str().into();
            output.line(&key.text())?;
        }
        Some(path) => {
            let failed = || format!("cannot keep the key in {}", path.display());
            write_key(path, key).with_context(failed)?;
            facts["path"] = path.display().to_string().into();
            output.done(&format!("kept the key in {}", path.display()))?;
        }
    }
    output.json(&facts)?;
    output::flush()?;
    Ok(())
}
