//! `backup`: keeps the state of a node in a directory or a file, and looks at what is kept there.
//!
//! The node sends, this process writes: a backup can be made from another machine. It counts once its last piece is on the disk; whatever ends it before
//! leaves the backups that were there. What the destination is and means stands in `jsfs_store::backup`.

use crate::cli::Backup;
use crate::exit::{CouldNotRun, Exit, Nothing, Usage, told};
use crate::output::{Output, human_bytes, one_line};
use crate::progress::Progress;
use crate::session::Session;
use anyhow::{Context, bail};
use bytes::Bytes;
use jsfs_bucket::{DepotOptions, PATIENCE, Place, open_depot};
use jsfs_client::{AccessKey, Credential};
use jsfs_objects::clock::{Clock, SystemClock};
use jsfs_store::backup::{
    About, Archive, BackupError, Decoder, Item, Kind, Writer, Written,
    depot::{self, Depot},
};
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use url::Url;

/// What a backup in a single file is called.
const FILE_EXTENSION: &str = "jsfsbackup";
/// Where the root key lies in what a backup says of itself.
pub(crate) const ROOT_KEY: &str = "root_key";
/// Pieces of the node's answer that wait to be written.
const PIECES_MAX: usize = 8;
/// Findings that are kept for `--json`.
const FINDINGS_MAX: usize = 10_000;

/// Makes a backup.
pub(super) async fn run(session: &Session, arguments: &Backup) -> anyhow::Result<()> {
    let root_key = if arguments.with_root_key { Some(root_key(session)?) } else { None };
    let bar = Arc::new(Progress::new(session.output, "backup", None));
    let (pieces, waiting) = mpsc::channel(PIECES_MAX);
    let (tell, told) = oneshot::channel();
    let keeping = Keeping {
        destination: arguments.destination.clone(),
        is_full: arguments.full,
        keep: arguments.keep,
        root_key,
        bar: Arc::clone(&bar),
    };
    let kept = tokio::task::spawn_blocking(move || keeping.run(tell, waiting));
    let sent = async {
        // Without a question what keeps it has failed already, and says why.
        let Ok(ask) = told.await else { return Ok(()) };
        let mut stream = session.client.back_up(ask).await?;
        while let Some(bytes) = stream.next().await? {
            if pieces.send(bytes).await.is_err() {
                break;
            }
        }
        drop(pieces);
        Ok::<(), jsfs_client::Error>(())
    };
    sent.await?;
    let kept = kept.await??;
    drop(bar);
    show(session.output, &arguments.destination, &kept)
}

/// The text of the key that the request proves itself with.
fn root_key(session: &Session) -> anyhow::Result<zeroize::Zeroizing<String>> {
    match &session.credential {
        Some(Credential::Key(key)) => Ok(key.text()),
        Some(Credential::Chosen(text)) => Ok(AccessKey::stretch(text, "localhost")?.text()),
        _ => {
            Err(Usage("--with-root-key needs the root key itself; give it with --key-file FILE".into())
                .into())
        }
    }
}

/// What was kept, and what else there is.
struct Kept {
    written: Written,
    has_root_key: bool,
    /// Backups there, this one included, and those that have the root key in them.
    numbers: Vec<u64>,
    with_root_key: Vec<u64>,
    forgotten: usize,
}

/// The end that writes.
struct Keeping {
    destination: PathBuf,
    is_full: bool,
    keep: Option<u32>,
    root_key: Option<zeroize::Zeroizing<String>>,
    bar: Arc<Progress>,
}

impl Keeping {
    fn run(self, tell: oneshot::Sender<Bytes>, mut pieces: mpsc::Receiver<Bytes>) -> anyhow::Result<Kept> {
        let is_file = self.destination.extension().is_some_and(|extension| extension == FILE_EXTENSION);
        let mut archive = open(&self.destination, depot::Access::Write { is_file })?;
        let mut writer = archive.begin(self.is_full)?;
        // Whoever asks has left: nothing comes.
        let _ = tell.send(writer.ask().encode().into());
        let mut decoder = Decoder::default();
        let written = loop {
            let Some(piece) = pieces.blocking_recv() else {
                bail!("the backup was cut off; the backups that were there are as they were, run it again")
            };
            decoder.feed(&piece);
            if let Some(written) = self.take(&mut decoder, &mut writer)? {
                break written;
            }
        };
        drop(writer);
        let forgotten = match self.keep {
            Some(keep) => archive.thin(keep as usize)?,
            None => 0,
        };
        let numbers = archive.numbers().to_vec();
        let has_key =
            |number: &u64| archive.about(*number).is_ok_and(|about| about.note.get(ROOT_KEY).is_some());
        let with_root_key = numbers.iter().copied().filter(has_key).collect();
        Ok(Kept { written, has_root_key: self.root_key.is_some(), numbers, with_root_key, forgotten })
    }

    /// Keeps the items that are whole.
    fn take(&self, decoder: &mut Decoder, writer: &mut Writer<'_>) -> anyhow::Result<Option<Written>> {
        loop {
            let item = decoder.take().map_err(|error| BackupError::Sent(error.to_string()))?;
            let Some(item) = item else { return Ok(None) };
            self.count(&item);
            let note = |note: &mut Value| {
                if let Some(key) = &self.root_key {
                    note[ROOT_KEY] = key.as_str().into();
                }
            };
            if let Some(written) = writer.take(&item, SystemClock.now_ms(), note)? {
                return Ok(Some(written));
            }
        }
    }

    fn count(&self, item: &Item) {
        match item.kind {
            Kind::Size => {
                let total = item.body.get(8..16).and_then(|bytes| bytes.try_into().ok());
                self.bar.total(total.map_or(0, u64::from_le_bytes));
            }
            Kind::Block => self.bar.moved(item.body.len() as u64),
            _ => {}
        }
    }
}

/// Opens a place of backups.
pub(crate) fn open(place: &Path, access: depot::Access) -> anyhow::Result<Archive> {
    if let Some(bucket) = place.to_str().filter(|text| text.starts_with("s3://")) {
        let depot = in_bucket(bucket, access).map_err(|error| CouldNotRun(told(&error)))?;
        return Ok(Archive::open(depot)?);
    }
    let depot = depot::open(place, access).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            anyhow::Error::from(Nothing(format!("there is no backup at {}", place.display())))
        }
        io::ErrorKind::InvalidData => CouldNotRun(format!("{}: {error}", place.display())).into(),
        _ => CouldNotRun(format!("cannot open {}: {error}", place.display())).into(),
    })?;
    Ok(Archive::open(depot)?)
}

/// A place in object storage. Who has it, and the keys, are the environment's to say.
fn in_bucket(text: &str, access: depot::Access) -> anyhow::Result<Box<dyn Depot>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let endpoint = match variable("AWS_ENDPOINT_URL") {
        Some(text) => Some(Url::parse(&text).with_context(|| format!("AWS_ENDPOINT_URL is no URL: {text}"))?),
        None => None,
    };
    let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    let options = DepotOptions {
        place: Place::parse(text)?,
        endpoint,
        region: region.unwrap_or_else(|| "us-east-1".to_owned()),
        keys: None,
        patience: PATIENCE,
    };
    Ok(open_depot(&options, access != depot::Access::Read)?)
}

fn show(output: Output, destination: &Path, kept: &Kept) -> anyhow::Result<()> {
    let Kept { written, has_root_key, numbers, with_root_key, forgotten } = kept;
    let mut document = serde_json::to_value(written)?;
    document["destination"] = destination.display().to_string().into();
    document["root_key"] = (*has_root_key).into();
    document["backups"] = json!(numbers);
    document["backups_with_root_key"] = json!(with_root_key);
    document["forgotten"] = (*forgotten).into();
    output.json(&document)?;
    let what = if written.is_full { "everything" } else { "what changed" };
    output.done(&format!(
        "backup {} in {}: {what}, {} blocks, {} written; the state at commit {}",
        written.number,
        one_line(&destination.display().to_string()),
        written.blocks,
        human_bytes(written.bytes),
        written.sequence
    ))?;
    output.note(match (has_root_key, with_root_key.is_empty()) {
        (true, _) => "root.key is in it: whoever has this backup can read everything in it",
        (false, true) => {
            "root.key is not in it: keep that elsewhere, without it nobody reads private objects"
        }
        (false, false) => "root.key is not in it, but in an earlier backup at the same place",
    });
    if written.damage.is_empty() {
        return Ok(());
    }
    for damage in &written.damage {
        output.warn(&one_line(damage));
    }
    bail!(
        "things that could not be read and are not in the backup: {}; run `jsfs check --repair`",
        written.damage.len()
    )
}

/// Lists or verifies what is in a place; no node is needed.
pub(crate) fn look(arguments: &Backup, output: Output) -> anyhow::Result<Exit> {
    let archive = open(&arguments.destination, depot::Access::Read)?;
    if arguments.list {
        return list(&archive, output);
    }
    let Some(number) = arguments.number.or(archive.numbers().last().copied()) else {
        return Err(Nothing(format!("there is no backup at {}", arguments.destination.display())).into());
    };
    let bar = Progress::new(output, "verify", Some(archive.size(number)?));
    let (mut findings, mut count) = (Vec::new(), 0_u64);
    let mut printed = Ok(());
    let bytes = archive.verify(number, &|bytes| bar.moved(bytes), &mut |error| {
        let text = error.to_string();
        if printed.is_ok() {
            printed = bar.suspend(|| output.line(&one_line(&text)));
        }
        count += 1;
        if findings.len() < FINDINGS_MAX {
            findings.push(text);
        }
    })?;
    printed?;
    drop(bar);
    let about = archive.about(number)?;
    output.json(&json!({
        "number": number, "clean": count == 0, "findings": findings, "count": count, "bytes": bytes, "sequence": about.head.sequence,
        "root_key": about.note.get(ROOT_KEY).is_some(), "unread": about.damage,
    }))?;
    for damage in &about.damage {
        output.line(&format!("not in it, because it could not be read then: {}", one_line(damage)))?;
    }
    let read = format!("backup {number}: {} read", human_bytes(bytes));
    if count == 0 && about.damage.is_empty() {
        output.done(&format!("clean: {read}"))?;
        return Ok(Exit::Done);
    }
    output.line(&format!("{} things are damaged or missing: {read}", count + about.damage.len() as u64))?;
    Ok(Exit::Failed)
}

fn list(archive: &Archive, output: Output) -> anyhow::Result<Exit> {
    let mut all = Vec::new();
    for number in archive.numbers() {
        let about = archive.about(*number).with_context(|| format!("backup {number} cannot be read"))?;
        output.line(&line(&about))?;
        all.push(json!({
            "number": number, "created_ms": about.created_ms, "sequence": about.head.sequence, "store": about.head.store,
            "root_key": about.note.get(ROOT_KEY).is_some(), "unread": about.damage,
        }));
    }
    output.json(&all)?;
    Ok(Exit::Done)
}

fn line(about: &About) -> String {
    let key = if about.note.get(ROOT_KEY).is_some() { ", with root.key" } else { "" };
    let time = jsfs_http::wire::rfc3339(about.created_ms);
    format!("{}  {time}  commit {}{key}", about.number, about.head.sequence)
}
