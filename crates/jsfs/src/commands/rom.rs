//! `export` and `import`: parts of a node into a ROM, and out of one into a node.
//!
//! The file is on this machine, the node anywhere. A ROM counts once it is whole and on the disk. One that is to be imported is read and verified whole
//! before the node hears of it.

use crate::cli::{Export, Import};
use crate::output::{human_bytes, one_line};
use crate::progress::Progress;
use crate::session::Session;
use anyhow::bail;
use bytes::Bytes;
use jsfs_store::backup::{Decoder, Kind};
use jsfs_store::{RomSize, RomWriter, SnapshotError, open_rom};
use serde_json::Value;
use std::path::PathBuf;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

/// Pieces of the node's answer that wait to be written.
const PIECES_MAX: usize = 8;
/// Bytes of a ROM that wait to be sent.
const WAITING_BYTES: usize = 1 << 20;

/// Makes a ROM.
pub(super) async fn export(session: &Session, arguments: &Export) -> anyhow::Result<()> {
    let targets = arguments.addresses.iter().map(|address| session.target(address));
    let targets = targets.collect::<anyhow::Result<Vec<_>>>()?;
    let addresses: Vec<String> = targets.iter().map(|(reference, _)| reference.address.to_string()).collect();
    let bar = Progress::new(session.output, "export", None);
    let (pieces, waiting) = mpsc::channel(PIECES_MAX);
    let file = arguments.file.clone();
    let written = tokio::task::spawn_blocking(move || write(file, waiting));
    // A file that cannot be made ends the receiver, and says why below.
    let sent = async {
        let mut stream = session.client.export_rom(&addresses).await?;
        while let Some(bytes) = stream.next().await? {
            bar.moved(bytes.len() as u64);
            if pieces.send(bytes).await.is_err() {
                break;
            }
        }
        drop(pieces);
        Ok::<(), jsfs_client::Error>(())
    };
    sent.await?;
    let size = written.await??;
    drop(bar);
    let mut document = serde_json::to_value(size)?;
    document["file"] = arguments.file.display().to_string().into();
    document["addresses"] = addresses.into();
    session.output.json(&document)?;
    let place = arguments.file.display().to_string();
    let text = format!("{}: {} blocks, {}", one_line(&place), size.blocks, human_bytes(size.bytes));
    Ok(session.output.done(&text)?)
}

fn write(file: PathBuf, mut pieces: mpsc::Receiver<Bytes>) -> anyhow::Result<RomSize> {
    let mut writer = RomWriter::create(&file)?;
    let mut decoder = Decoder::default();
    while let Some(piece) = pieces.blocking_recv() {
        decoder.feed(&piece);
        while let Some(item) = decoder.take()? {
            let done = writer.take(&item)?;
            if let Some(size) = done.filter(|_| item.kind == Kind::End) {
                return Ok(size);
            }
        }
    }
    bail!("the export was cut off, and no ROM was made; run it again")
}

/// Hands a ROM to the node.
pub(super) async fn import(session: &Session, arguments: &Import) -> anyhow::Result<()> {
    let file = arguments.file.clone();
    session.output.say(&format!("verifying {}", one_line(&file.display().to_string())));
    let (store, about) = tokio::task::spawn_blocking(move || open_rom(&file)).await??;
    let bar = Progress::new(session.output, "import", None);
    let counter = bar.counter();
    let (mut sending, receiving) = tokio::io::duplex(WAITING_BYTES);
    let runtime = tokio::runtime::Handle::current();
    let sent = tokio::task::spawn_blocking(move || {
        let mut sink = |bytes: Vec<u8>| {
            counter(bytes.len() as u64);
            runtime.block_on(sending.write_all(&bytes)).is_ok()
        };
        let sent = jsfs_objects::send_rom(&store, about, &mut sink);
        drop(store);
        sent
    });
    let done = session.client.import_rom(Box::new(receiving)).await;
    match sent.await? {
        // The node has ended it, and says why.
        Ok(()) | Err(SnapshotError::Left) => {}
        Err(error) => return Err(error.into()),
    }
    let done = done?;
    drop(bar);
    session.output.json(&done)?;
    let number = |name: &str| done.get(name).and_then(Value::as_u64).unwrap_or(0);
    session.output.done(&format!(
        "{} objects imported, {} were here already, {} are newer here or were deleted here",
        number("objects"),
        number("present"),
        number("newer")
    ))?;
    Ok(())
}
