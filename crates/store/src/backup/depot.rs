//! Where a backup lies: named bytes that are put whole, listed, read and removed. A directory or a single file; whatever can do these four things may come.
//!
//! Invariant: what [`Depot::put`] has returned for is there after a power loss, whole; what was interrupted is not there.

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The first bytes of a backup in a single file: magic, version 1; 16 random bytes follow, which are in the hash of each entry, so that content that
/// somebody stores is never taken for one.
const FILE_HEAD: &[u8; 16] = b"JSFSBKP1\x01\0\0\0\0\0\0\0";
const FILE_ID: usize = 16;
const ENTRY_MAGIC: &[u8; 8] = b"JSFSENT1";
const ENTRY_HEAD: usize = 64;
/// Longest name.
const NAME_MAX: usize = 64;
const PUT: u8 = 1;
const REMOVED: u8 = 2;

/// A place for named bytes.
pub trait Depot: Send {
    /// What a person would look for.
    fn describe(&self) -> String;
    /// All names.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Keeps bytes under a new name, durably, all or nothing.
    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// As many bytes of these as there are.
    fn get(&self, name: &str, offset: u64, length: u64) -> io::Result<Vec<u8>>;
    /// Removes a name.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// How a place is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing is changed.
    Read,
    /// To be written by this process alone; made if it is not there, as a directory or, where that is asked for, a file.
    Write {
        /// A file, should it not be there.
        is_file: bool,
    },
}

/// Opens a backup's place.
pub fn open(path: &Path, access: Access) -> io::Result<Box<dyn Depot>> {
    let is_file = match fs::metadata(path) {
        Ok(metadata) => metadata.is_file(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match access {
            Access::Read => return Err(error),
            Access::Write { is_file } => is_file,
        },
        Err(error) => return Err(error),
    };
    let is_written = access != Access::Read;
    if is_file {
        Ok(Box::new(Single::open(path, is_written)?))
    } else {
        Ok(Box::new(Many::open(path, is_written)?))
    }
}

fn in_use() -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, "another backup is being written there; wait for its end")
}

/// A directory with a file for each name.
struct Many {
    path: PathBuf,
    /// Locked while it is written.
    directory: File,
}

impl Many {
    fn open(path: &Path, is_written: bool) -> io::Result<Self> {
        if is_written {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        let directory = File::open(path)?;
        if is_written {
            flock(&directory, FlockOperation::NonBlockingLockExclusive).map_err(|_| in_use())?;
            for file in fs::read_dir(path)?.flatten() {
                if file.path().extension().is_some_and(|extension| extension == "part") {
                    fs::remove_file(file.path())?;
                }
            }
        }
        Ok(Self { path: path.to_owned(), directory })
    }
}

impl Depot for Many {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for file in fs::read_dir(&self.path)? {
            names.extend(file?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let part = self.path.join(format!("{name}.part"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, self.path.join(name))?;
        self.directory.sync_all()
    }

    fn get(&self, name: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        read(&File::open(self.path.join(name))?, offset, length)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))?;
        self.directory.sync_all()
    }
}

/// Reads up to `length` bytes; never allocates for more than the file has.
fn read(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let there = file.metadata()?.len().saturating_sub(offset);
    let mut bytes = vec![0; usize::try_from(length.min(there)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// A file to which entries are appended.
struct Single {
    path: PathBuf,
    file: File,
    id: [u8; FILE_ID],
    names: BTreeMap<String, (u64, u64)>,
    end: u64,
}

impl Single {
    fn open(path: &Path, is_written: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(is_written).create(is_written).truncate(false).mode(0o600);
        let file = options.open(path)?;
        if is_written {
            flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| in_use())?;
        }
        let end = (FILE_HEAD.len() + FILE_ID) as u64;
        let head = read(&file, 0, end)?;
        let id = match head.strip_prefix(FILE_HEAD).and_then(|id| id.try_into().ok()) {
            Some(id) => id,
            None if is_written && (FILE_HEAD.starts_with(&head) || head.starts_with(FILE_HEAD)) => {
                let id = crate::store::random_id().map_err(io::Error::other)?;
                file.set_len(0)?;
                file.write_all_at(&[FILE_HEAD, &id[..]].concat(), 0)?;
                file.sync_all()?;
                id
            }
            None => return Err(damaged("it is no backup, or of a later version")),
        };
        let mut single = Self { path: path.to_owned(), file, id, names: BTreeMap::new(), end };
        single.read_names()?;
        let length = single.file.metadata()?.len();
        if is_written && length > single.end {
            single.file.set_len(single.end)?;
            single.file.sync_all()?;
        }
        Ok(single)
    }

    /// Follows the entries to the last that is whole. What comes then must be what an interrupted write leaves.
    fn read_names(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        while let Some(entry) = self.entry_at(self.end, length)? {
            self.end = entry.end;
            if entry.is_put {
                self.names.insert(entry.name, (entry.data, entry.end - entry.data));
            } else {
                self.names.remove(&entry.name);
            }
        }
        let mut at = self.end + 1;
        while at + ENTRY_HEAD as u64 <= length {
            let window = read(&self.file, at, 1 << 20)?;
            for found in
                window.windows(ENTRY_MAGIC.len()).enumerate().filter(|(_, bytes)| bytes == ENTRY_MAGIC)
            {
                if self.entry_at(at + found.0 as u64, u64::MAX)?.is_some() {
                    return Err(damaged(&format!(
                        "it is damaged at byte {}, and goes on after that",
                        self.end
                    )));
                }
            }
            at += (window.len() - ENTRY_MAGIC.len() + 1).max(1) as u64;
        }
        Ok(())
    }

    fn entry_at(&self, at: u64, length: u64) -> io::Result<Option<Entry>> {
        let head = read(&self.file, at, (ENTRY_HEAD + NAME_MAX + 32) as u64)?;
        let number = |range: std::ops::Range<usize>| {
            head.get(range).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
        };
        let (name, data) = (usize::try_from(number(16..24)).unwrap_or(usize::MAX), number(24..32));
        if !head.starts_with(ENTRY_MAGIC) || name > NAME_MAX {
            return Ok(None);
        }
        let described = ENTRY_HEAD + name;
        let (Some(bytes), Some(hash)) = (head.get(..described), head.get(described..described + 32)) else {
            return Ok(None);
        };
        if self.entry_hash(bytes) != hash {
            return Ok(None);
        }
        let Ok(text) = std::str::from_utf8(&bytes[ENTRY_HEAD..]) else { return Ok(None) };
        let start = at + (described + 32) as u64;
        let Some(end) = start.checked_add(data).filter(|end| *end <= length) else { return Ok(None) };
        Ok(Some(Entry { name: text.to_owned(), is_put: head[8] == PUT, data: start, end }))
    }

    fn entry_hash(&self, entry: &[u8]) -> [u8; 32] {
        *blake3::Hasher::new().update(&self.id).update(entry).finalize().as_bytes()
    }

    fn append(&mut self, kind: u8, name: &str, bytes: &[u8]) -> io::Result<u64> {
        let mut entry = Vec::with_capacity(ENTRY_HEAD + NAME_MAX + 32);
        entry.extend_from_slice(ENTRY_MAGIC);
        entry.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        entry.extend_from_slice(&(name.len() as u64).to_le_bytes());
        entry.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        entry.extend_from_slice(blake3::hash(bytes).as_bytes());
        entry.extend_from_slice(name.as_bytes());
        let hash = self.entry_hash(&entry);
        entry.extend_from_slice(&hash);
        // The head last: without it nothing of the entry is there.
        let start = self.end + entry.len() as u64;
        self.file.write_all_at(bytes, start)?;
        self.file.set_len(start + bytes.len() as u64)?;
        self.file.sync_data()?;
        self.file.write_all_at(&entry, self.end)?;
        self.file.sync_all()?;
        self.end = start + bytes.len() as u64;
        Ok(start)
    }
}

struct Entry {
    name: String,
    is_put: bool,
    data: u64,
    end: u64,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Depot for Single {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names.keys().cloned().collect())
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let start = self.append(PUT, name, bytes)?;
        self.names.insert(name.to_owned(), (start, bytes.len() as u64));
        Ok(())
    }

    fn get(&self, name: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let (start, there) = self.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        let offset = offset.min(there);
        read(&self.file, start + offset, length.min(there - offset))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let (start, length) = self.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        self.append(REMOVED, name, &[])?;
        self.names.remove(name);
        if length > 0 {
            // Gives the room back where the file system can; the bytes are no longer needed either way.
            let _ =
                fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, start, length);
        }
        Ok(())
    }
}
