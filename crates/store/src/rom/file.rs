//! The pack in a ROM as the one pack of a location. Only one that is being made is written.

use crate::backend::{Backend, LockGuard, PackFile, Space};
use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

/// The number of the one pack.
const PACK: u64 = 1;

/// A part of a file, from `base` to its end.
#[derive(Debug)]
pub(super) struct RomFile {
    file: File,
    base: u64,
    is_written: bool,
}

impl RomFile {
    pub(super) fn new(file: File, base: u64, is_written: bool) -> Self {
        Self { file, base, is_written }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    fn may_write(&self) -> io::Result<()> {
        if self.is_written { Ok(()) } else { Err(io::ErrorKind::ReadOnlyFilesystem.into()) }
    }
}

impl PackFile for RomFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len().saturating_sub(self.base))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], self.base + offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn read_now_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<Option<usize>> {
        Ok(None)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        self.may_write()?;
        let mut at = self.base + offset;
        for part in parts {
            self.file.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    fn allocate(&self, _length: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.may_write()?;
        self.file.set_len(self.base + length)
    }

    fn sync(&self) -> io::Result<()> {
        if self.is_written { self.file.sync_data() } else { Ok(()) }
    }
}

/// The location of which the ROM is.
#[derive(Debug)]
pub(super) struct Place {
    name: String,
    file: Arc<RomFile>,
    parameters: String,
}

impl Place {
    /// One to read, whose parameters the ROM says.
    pub(super) fn new(name: &str, file: RomFile, parameters: String) -> Self {
        Self { name: name.to_owned(), file: Arc::new(file), parameters }
    }

    /// One to write.
    pub(super) fn shared(name: &str, file: Arc<RomFile>) -> Self {
        Self { name: name.to_owned(), file, parameters: String::new() }
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Backend for Place {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn lock(&self) -> io::Result<LockGuard> {
        // Any number of nodes may read it.
        Ok(Box::new(()))
    }

    fn read_file(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok((name == "store.json").then(|| self.parameters.clone().into_bytes()))
    }

    fn write_file(&self, _name: &str, _bytes: &[u8]) -> io::Result<()> {
        refused()
    }

    fn keep_cut(&self, _name: &str, _bytes: &[u8]) -> io::Result<()> {
        refused()
    }

    fn packs(&self) -> io::Result<Vec<u64>> {
        Ok(vec![PACK])
    }

    fn create_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        self.file.may_write()?;
        self.open_pack(number)
    }

    fn open_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        match number {
            PACK => Ok(self.file.clone()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove_pack(&self, _number: u64) -> io::Result<()> {
        refused()
    }

    fn sync_packs(&self) -> io::Result<()> {
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space { free: 0, total: self.file.len()? })
    }

    fn is_fixed(&self) -> bool {
        true
    }
}
