//! A location in a directory of a local disk: the real thing.
//!
//! Layout as in `docs/storage.md`: `packs/`, `cut/`, `lock` and small files beside them, all with mode 0600/0700. Small files are written to a
//! temporary name, synced, renamed, and the directory synced, so that a crash leaves the old or the new file.

use super::{Backend, LockGuard, PackFile, Space, pack_name, pack_number};
use rustix::{
    fs::{FallocateFlags, FlockOperation, Mode, OFlags},
    io::{Errno, ReadWriteFlags},
};
use std::{
    fs::{self, File},
    io::{self, IoSlice, IoSliceMut},
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// At most this many parts go into one `pwritev` (IOV_MAX of Linux).
const PARTS_MAX: usize = 1024;

/// A directory that holds packs.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Uses the directory, creating it and its subdirectories where they are missing.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        for part in ["packs", "cut"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(root.join(part))?;
        }
        sync_directory(&root)?;
        Ok(Self { root })
    }

    /// Uses a directory that is there already, without touching it.
    #[must_use]
    pub fn existing(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    fn pack_path(&self, number: u64) -> PathBuf {
        self.root.join("packs").join(pack_name(number))
    }

    fn replace(&self, directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = directory.join(format!("{name}.new"));
        let file = open(&temporary, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        fs::rename(&temporary, directory.join(name))?;
        sync_directory(directory)
    }
}

impl Backend for Directory {
    fn describe(&self) -> String {
        self.root.display().to_string()
    }

    fn lock(&self) -> io::Result<LockGuard> {
        let file = open(&self.root.join("lock"), OFlags::RDWR | OFlags::CREATE)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn read_file(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.root.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.replace(&self.root, name, bytes)
    }

    fn keep_cut(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.replace(&self.root.join("cut"), name, bytes)
    }

    fn packs(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(self.root.join("packs"))? {
            numbers.extend(entry?.file_name().to_str().and_then(pack_number));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn create_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        Ok(Arc::new(DirectoryPack(open(&self.pack_path(number), flags)?)))
    }

    fn open_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        Ok(Arc::new(DirectoryPack(open(&self.pack_path(number), OFlags::RDWR)?)))
    }

    fn remove_pack(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.pack_path(number))
    }

    fn sync_packs(&self) -> io::Result<()> {
        sync_directory(&self.root.join("packs"))
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(Space { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
    }
}

#[derive(Debug)]
struct DirectoryPack(File);

impl PackFile for DirectoryPack {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn read_now_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let mut done = 0;
        while done < buffer.len() {
            let mut parts = [IoSliceMut::new(&mut buffer[done..])];
            match rustix::io::preadv2(&self.0, &mut parts, offset + done as u64, ReadWriteFlags::NOWAIT) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                // Not in the page cache, or a file system that cannot tell.
                Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(done))
    }

    fn write_at(&self, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
        for group in parts.chunks(PARTS_MAX) {
            let mut slices: Vec<IoSlice<'_>> = group.iter().map(|part| IoSlice::new(part)).collect();
            let mut rest = &mut slices[..];
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                match rustix::io::pwritev(&self.0, rest, offset) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        offset += count as u64;
                        IoSlice::advance_slices(&mut rest, count);
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let now = self.len()?;
        if length > now {
            rustix::fs::fallocate(&self.0, FallocateFlags::empty(), now, length - now)?;
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(File::from(rustix::fs::open(path, flags | OFlags::CLOEXEC, mode)?))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
