//! Makes a data directory of a backup.
//!
//! Blocks and entries are written as frames that compaction would have written, with the numbers that the entries had; the first opening builds the index.
//! The store gets an id of its own, since from here on its history is another. Everything is made below [`UNFINISHED`] and moved in at the end,
//! `store.json` last: a restore that was killed leaves a directory that no node opens, and that the next restore begins anew.

use crate::{
    backend::{Backend, Directory},
    backup::{
        BackupError,
        archive::{Archive, items},
        item::{Item, Kind, decode_block},
    },
    frame::{BlockHead, Kind as FrameKind, Operation},
    log::{FramePlan, LocationLog, PACK_MAX},
    params::Parameters,
    rows::Tip,
    store::random_id,
};
use bytes::Bytes;
use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::Arc,
};

/// What an unfinished restore is made in.
pub const UNFINISHED: &str = "restore.unfinished";
/// Bytes of one frame.
const FRAME_BYTES: u64 = 1 << 20;
/// After so many frames everything is synced, which bounds what an opening must remember.
const SYNC_EVERY: u64 = 256;

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// Which backup.
    pub number: u64,
    /// Every commit up to this one is in it.
    pub sequence: u64,
    /// Entries of the store.
    pub entries: u64,
    /// Blocks that were written; some may be of earlier backups and needed by nobody.
    pub blocks: u64,
    /// Bytes of packs.
    pub bytes: u64,
    /// What is damaged and was left out.
    pub damage: Vec<String>,
}

/// Makes a store of a backup in a new or empty directory. Damage ends it, unless it `may_be_damaged`. `finish` adds further files to the directory that it
/// is given, before anything counts. `moved` is told of the bytes read.
pub fn restore(
    archive: &Archive,
    number: u64,
    directory: &Path,
    may_be_damaged: bool,
    moved: &dyn Fn(u64),
    finish: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<Restored, BackupError> {
    let io = |error| BackupError::io(&directory.display().to_string(), error);
    let manifest = archive.manifest(number)?;
    let unfinished = directory.join(UNFINISHED);
    make_room(directory, &unfinished)?;
    let backend: Arc<dyn Backend> = Arc::new(Directory::open(&unfinished).map_err(io)?);
    let head = &manifest.about.head;
    let store_id = random_id()?;
    let parameters = Parameters::new(store_id, 0, 1, head.chunking());
    let tip = Tip { sequence: head.sequence, ..Tip::default() };
    let log = LocationLog::new(backend.clone(), parameters.clone(), PACK_MAX, tip, 0).map_err(io)?;
    let mut restoring = Restoring::new(log, head.sequence);
    let mut restored = Restored {
        number,
        sequence: head.sequence,
        damage: manifest.about.damage.clone(),
        ..Restored::default()
    };
    let mut damaged = |error: BackupError| match may_be_damaged {
        true => {
            restored.damage.push(error.to_string());
            Ok(())
        }
        false => Err(error),
    };
    for segment in &manifest.segments {
        match archive.segment(segment) {
            Ok(whole) => {
                moved(whole.len() as u64);
                for item in items(&whole) {
                    let (kind, at, body) = item.map_err(|error| archive.damaged("a segment", error))?;
                    if kind == Kind::Block {
                        let what = |error| archive.damaged("a segment", format!("{error} at byte {at}"));
                        let (head, stored) = decode_block(&body).map_err(what)?;
                        restoring.block(head, stored).map_err(io)?;
                        restored.blocks += 1;
                    }
                }
            }
            Err(error) => {
                damaged(error)?;
                let Ok(rest) = archive.salvage(segment.number) else { continue };
                for (head, stored) in salvage(&rest) {
                    restoring.block(head, stored).map_err(io)?;
                    restored.blocks += 1;
                }
            }
        }
    }
    for chunk in &manifest.rows {
        match archive.rows(chunk) {
            Ok(rows) => {
                restored.entries += rows.len() as u64;
                for row in rows {
                    restoring.operation(row.0).map_err(io)?;
                }
            }
            Err(error) => damaged(error)?,
        }
    }
    restoring.end().map_err(io)?;
    for number in backend.packs().map_err(io)? {
        restored.bytes += backend.open_pack(number).and_then(|pack| pack.len()).map_err(io)?;
    }
    parameters.write(backend.as_ref())?;
    finish(&unfinished).map_err(io)?;
    move_in(directory, &unfinished).map_err(io)?;
    Ok(restored)
}

/// Blocks that are whole in a segment that is not.
fn salvage(segment: &Bytes) -> impl Iterator<Item = (BlockHead, Bytes)> {
    let (segment, mut at) = (segment.clone(), crate::backup::archive::SEGMENT_HEAD);
    std::iter::from_fn(move || {
        while at < segment.len() {
            match Item::decode(&segment[at..]) {
                Ok(Some((kind, length))) => {
                    let body = segment.slice(at + crate::backup::item::ITEM_HEADER..at + length);
                    at += length;
                    if kind == Kind::Block
                        && let Ok(block) = decode_block(&body)
                    {
                        return Some(block);
                    }
                }
                // The next item begins somewhere behind; its hash tells it from anything else.
                _ => at += 1,
            }
        }
        None
    })
}

/// Makes the directory, and takes away what an interrupted restore left in it.
fn make_room(directory: &Path, unfinished: &Path) -> Result<(), BackupError> {
    let place = directory.display().to_string();
    let io = |error| BackupError::io(&place, error);
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
    let names = || fs::read_dir(directory).map_err(io);
    let is_begun = unfinished.exists();
    for entry in names()? {
        let name = entry.map_err(io)?.file_name();
        let is_ours =
            is_begun && ["packs", "cut", "root.key", "node.key", UNFINISHED].iter().any(|own| name == **own);
        if !is_ours {
            return Err(BackupError::NotEmpty(place));
        }
    }
    // What marks it as ours goes last.
    let others = names()?.flatten().map(|entry| entry.path()).filter(|path| path != unfinished);
    for path in others.chain(is_begun.then(|| unfinished.to_owned())) {
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.map_err(io)?;
    }
    DirBuilder::new().mode(0o700).create(unfinished).map_err(io)
}

/// Moves everything to its place; `store.json`, without which nothing opens it, last.
fn move_in(directory: &Path, unfinished: &Path) -> io::Result<()> {
    let sync = |path: &Path| File::open(path)?.sync_all();
    sync(unfinished)?;
    let mut names: Vec<_> = fs::read_dir(unfinished)?.flatten().map(|entry| entry.file_name()).collect();
    names.retain(|name| name != "lock");
    names.sort_by_key(|name| name == "store.json");
    for name in names {
        if name == "store.json" {
            sync(directory)?;
        }
        fs::rename(unfinished.join(&name), directory.join(&name))?;
    }
    fs::remove_dir_all(unfinished)?;
    sync(directory)
}

/// A log that is written from blocks and entries, with the numbers that these had.
pub(crate) struct Restoring {
    log: LocationLog,
    sequence: u64,
    durable: u64,
    part: Part,
}

/// The next frame.
#[derive(Default)]
struct Part {
    blocks: Vec<(BlockHead, Bytes)>,
    operations: Vec<Operation>,
    bytes: u64,
}

impl Restoring {
    /// Goes on after this number, which no entry exceeds.
    pub(crate) fn new(log: LocationLog, sequence: u64) -> Self {
        Self { log, sequence, durable: sequence, part: Part::default() }
    }

    pub(crate) fn block(&mut self, head: BlockHead, stored: Bytes) -> io::Result<()> {
        self.part.bytes += u64::from(head.len) + u64::from(head.encoded_len());
        // A copy of its own: it would keep the whole segment.
        self.part.blocks.push((head, Bytes::copy_from_slice(&stored)));
        self.write_if(FRAME_BYTES)
    }

    pub(crate) fn operation(&mut self, operation: Operation) -> io::Result<()> {
        self.part.bytes += operation.encoded_len();
        self.part.operations.push(operation);
        self.write_if(FRAME_BYTES)
    }

    fn write_if(&mut self, bytes: u64) -> io::Result<()> {
        if self.part.bytes < bytes || self.part.bytes == 0 {
            return Ok(());
        }
        let Part { blocks, operations, bytes } = std::mem::take(&mut self.part);
        self.frame(FrameKind::Moved, blocks, &operations, bytes)?;
        if self.sequence - self.durable >= SYNC_EVERY { self.mark() } else { Ok(()) }
    }

    fn frame(
        &mut self,
        kind: FrameKind,
        blocks: Vec<(BlockHead, Bytes)>,
        operations: &[Operation],
        bytes: u64,
    ) -> io::Result<()> {
        if !self.log.has_room(bytes + 1_024) {
            self.log.sync(true)?;
            self.log.roll()?;
        }
        self.sequence += 1;
        let (sequence, durable) = (self.sequence, self.durable);
        self.log.plan(FramePlan { kind, sequence, durable, blocks, operations });
        self.log.write()
    }

    /// Syncs, and says so in an empty frame.
    fn mark(&mut self) -> io::Result<()> {
        self.log.sync(true)?;
        self.durable = self.sequence;
        self.frame(FrameKind::Commit, Vec::new(), &[], 0)
    }

    /// Writes the rest, and that everything is synced.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.write_if(0)?;
        self.mark()?;
        self.log.sync(true)?;
        self.log.trim()?;
        self.log.backend().sync_packs()
    }
}
