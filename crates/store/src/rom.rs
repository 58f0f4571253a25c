//! A ROM: some entries of a store with the blocks that they need, in one file that is only read. `docs/formats.md` has its bytes.
//!
//! After a header it is one pack, closed in good order, so a ROM opens as a store does: its index is made, in a temporary directory, from what is read,
//! and every byte is verified before anything of it counts. Nothing is ever written to it. A ROM that is being made lies beside its place under another name until
//! it is whole and on the disk; what was in its place stays there until then.

mod file;

use crate::{
    backup::{BadItem, Item, Kind, Restoring, decode_block, decode_rows},
    compact::Compaction,
    error::OpenError,
    frame::PACK_HEADER,
    log::LocationLog,
    options::OpenOptions,
    params::{Chunking, Parameters},
    parcel::{ParcelHead, parcel_counts},
    rows::Tip,
    store::{Store, random_id},
};
use file::{Place, RomFile};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

const MAGIC: &[u8; 8] = b"JSFSROM1";
/// The format that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;
/// Bytes before the description.
const HEAD: usize = 64;
/// Longest description.
const ABOUT_MAX: u32 = 1 << 20;
/// The pack begins at a multiple of this.
const ALIGN: u64 = 4_096;

/// Why a ROM cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum RomError {
    /// The disk says no.
    #[error("cannot read or write {place}: {source}")]
    Io {
        /// The file.
        place: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something else.
    #[error("{place} is no ROM; jsfs export makes one")]
    NoRom {
        /// The file.
        place: String,
    },
    /// A later version made it.
    #[error("{place} is a ROM of format {found}; this program knows format {FORMAT}: upgrade jsfs to use it")]
    Newer {
        /// The file.
        place: String,
        /// Its format.
        found: u32,
    },
    /// Not what was written.
    #[error("{place} is damaged: {what}; take another copy of it, or export it again")]
    Damaged {
        /// The file.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// What was sent is no parcel.
    #[error("what the node sent is no usable export: {0}")]
    Sent(BadItem),
    /// It cannot be opened, through no fault of its own.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What a ROM holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RomSize {
    /// Entries.
    pub entries: u64,
    /// Blocks.
    pub blocks: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Opens a ROM as a store that takes no writes, and says what the layer above has written of it. Reads and verifies all of it. Blocks.
pub fn open_rom(path: &Path) -> Result<(Store, Value), RomError> {
    let place = path.display().to_string();
    let io = |source| RomError::Io { place: path.display().to_string(), source };
    let damaged = |what: String| RomError::Damaged { place: path.display().to_string(), what };
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut head = [0; HEAD];
    match file.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(RomError::NoRom { place }),
        read => read.map_err(io)?,
    }
    if &head[..8] != MAGIC {
        return Err(RomError::NoRom { place });
    }
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (format, about) = (number(8), number(12));
    if format > FORMAT {
        return Err(RomError::Newer { place, found: format });
    }
    if about > ABOUT_MAX {
        return Err(damaged("its header".to_owned()));
    }
    let wanted = head[16..24].try_into().map_or(0, u64::from_le_bytes);
    let mut described = vec![0; about as usize];
    let read = file.read_exact(&mut described);
    let base = base_of(u64::from(about));
    let mut gap = vec![0; usize::try_from(base - (HEAD as u64 + u64::from(about))).unwrap_or(0)];
    let read = read.and_then(|()| file.read_exact(&mut gap));
    let is_zero = head[56..].iter().chain(&gap).all(|byte| *byte == 0);
    if read.is_err() || !is_zero || head_hash(&head, &described) != head[24..56] {
        return Err(damaged("its header".to_owned()));
    }
    if length != wanted {
        return Err(damaged(format!("it has {length} bytes, and {wanted} were written")));
    }
    let described: Value = serde_json::from_slice(&described).map_err(|error| damaged(error.to_string()))?;
    let file = RomFile::new(file, base, false);
    let options = OpenOptions::new(vec![Arc::new(Place::new(&place, file, described["store"].to_string()))])
        .floor(0)
        .compaction(Compaction { every: None, ..Compaction::default() })
        .read_only("it is a ROM");
    let store = Store::open(options).map_err(|error| match error {
        // What a damaged end leads to: it would have to be cut off.
        OpenError::Io { .. } | OpenError::BadParameters { .. } | OpenError::WrongLocation { .. } => {
            damaged(error.to_string())
        }
        error => error.into(),
    })?;
    if let Some(finding) = store.opening().damage.first() {
        return Err(damaged(finding.to_string()));
    }
    if let Some(cut) = store.opening().cuts.first() {
        return Err(damaged(format!("what lies at offset {} of its pack", cut.offset)));
    }
    Ok((store, described["about"].clone()))
}

/// Makes a ROM of a parcel. Dropped before its end it leaves nothing.
pub struct RomWriter {
    path: PathBuf,
    part: PathBuf,
    writing: Option<Writing>,
    size: RomSize,
    is_whole: bool,
}

struct Writing {
    log: Restoring,
    file: Arc<RomFile>,
    described: Vec<u8>,
}

impl RomWriter {
    /// Begins one at this place, where a ROM may be already, and nothing else.
    pub fn create(path: &Path) -> Result<Self, RomError> {
        let place = || path.display().to_string();
        let io = |source| RomError::Io { place: place(), source };
        if let Ok(mut there) = File::open(path) {
            let mut magic = [0; 8];
            if there.metadata().is_ok_and(|metadata| !metadata.is_file() || metadata.len() > 0)
                && (there.read_exact(&mut magic).is_err() || &magic != MAGIC)
            {
                return Err(RomError::NoRom { place: place() });
            }
        }
        let name = path.file_name().ok_or_else(|| io(io::ErrorKind::IsADirectory.into()))?;
        let part = path.with_file_name(format!(".{}.part", name.to_string_lossy()));
        let size = RomSize::default();
        Ok(Self { path: path.to_owned(), part, writing: None, size, is_whole: false })
    }

    /// Takes the next item. What was made comes back with the last.
    pub fn take(&mut self, item: &Item) -> Result<Option<RomSize>, RomError> {
        let place = self.path.display().to_string();
        let io = |source| RomError::Io { place: place.clone(), source };
        let Some(writing) = &mut self.writing else {
            if item.kind != Kind::Head {
                return Err(RomError::Sent(BadItem("it does not begin with its head")));
            }
            return self.begin(&ParcelHead::of(item).map_err(RomError::Sent)?).map(|()| None);
        };
        match item.kind {
            Kind::Block => {
                let (head, stored) = decode_block(&item.body).map_err(RomError::Sent)?;
                writing.log.block(head, stored).map_err(io)?;
                self.size.blocks += 1;
            }
            Kind::Rows => {
                for row in decode_rows(&item.body).map_err(RomError::Sent)?.1 {
                    writing.log.operation(row.0).map_err(io)?;
                    self.size.entries += 1;
                }
            }
            Kind::End => {
                if parcel_counts(item).map_err(RomError::Sent)? != (self.size.entries, self.size.blocks) {
                    return Err(RomError::Sent(BadItem("something is missing in it")));
                }
                return self.end().map(Some);
            }
            _ => return Err(RomError::Sent(BadItem("an item that a parcel does not have"))),
        }
        Ok(None)
    }

    fn begin(&mut self, head: &ParcelHead) -> Result<(), RomError> {
        let place = self.path.display().to_string();
        let io = |source| RomError::Io { place: place.clone(), source };
        let [min, avg, max] = head.chunking;
        let chunking = Chunking { min, avg, max };
        if !chunking.is_usable() {
            return Err(RomError::Sent(BadItem("its chunk sizes cannot be used")));
        }
        let parameters = Parameters::new(random_id()?, 0, 1, chunking);
        let store: Value = serde_json::from_str(&parameters.to_json()).unwrap_or_default();
        let described = json!({ "store": store, "about": head.about }).to_string().into_bytes();
        if described.len() > ABOUT_MAX as usize {
            return Err(RomError::Sent(BadItem("it says too much of itself")));
        }
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&self.part).map_err(io)?;
        let file = Arc::new(RomFile::new(file, base_of(described.len() as u64), true));
        let backend = Arc::new(Place::shared(&place, file.clone()));
        let tip = Tip { sequence: head.sequence, ..Tip::default() };
        let log = LocationLog::new(backend, parameters, u64::MAX, tip, 0).map_err(io)?;
        self.writing = Some(Writing { log: Restoring::new(log, head.sequence), file, described });
        Ok(())
    }

    fn end(&mut self) -> Result<RomSize, RomError> {
        let place = self.path.display().to_string();
        let io = |source| RomError::Io { place: place.clone(), source };
        let Some(Writing { mut log, file, described }) = self.writing.take() else {
            return Err(RomError::Sent(BadItem("it has no head")));
        };
        log.end().map_err(io)?;
        let file = file.file();
        let length = file.metadata().map_err(io)?.len();
        if length < base_of(described.len() as u64) + PACK_HEADER {
            return Err(RomError::Sent(BadItem("it is empty")));
        }
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        head[12..16].copy_from_slice(&u32::try_from(described.len()).unwrap_or(u32::MAX).to_le_bytes());
        head[16..24].copy_from_slice(&length.to_le_bytes());
        let hash = head_hash(&head, &described);
        head[24..56].copy_from_slice(&hash);
        file.write_all_at(&described, HEAD as u64).map_err(io)?;
        file.write_all_at(&head, 0).map_err(io)?;
        file.sync_all().map_err(io)?;
        fs::rename(&self.part, &self.path).map_err(io)?;
        self.is_whole = true;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;
        self.size.bytes = length;
        Ok(self.size)
    }
}

impl Drop for RomWriter {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = fs::remove_file(&self.part);
        }
    }
}

fn base_of(about: u64) -> u64 {
    (HEAD as u64 + about).next_multiple_of(ALIGN)
}

fn head_hash(head: &[u8; HEAD], described: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head[..24]).update(described);
    *hasher.finalize().as_bytes()
}
