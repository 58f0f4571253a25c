//! Where packs live: the one seam below the store.
//!
//! A [`Backend`] is one location. It keeps numbered pack files, a few small named files and an advisory lock. Three implementations run
//! the same conformance suite (`tests/backends.rs`): [`Directory`], [`Memory`] and [`Faulty`].
//!
//! What a backend promises: bytes that [`PackFile::sync`] has returned for survive a power loss; a pack that was created or removed before
//! [`Backend::sync_packs`] returned is still created or removed; [`Backend::write_file`] replaces the whole file or nothing. Everything else
//! may be lost, kept or torn.

use std::{any::Any, fmt, io, sync::Arc};

mod directory;
mod faulty;
mod memory;

pub use directory::Directory;
pub use faulty::{Fault, Faulty, Loss, Operation};
pub use memory::Memory;

/// Keeps a location locked until it is dropped.
pub type LockGuard = Box<dyn Any + Send + Sync>;

/// Room in a location, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What may still be written.
    pub free: u64,
    /// The size of the whole.
    pub total: u64,
}

/// One location: a disk's directory, or something that behaves like it.
pub trait Backend: fmt::Debug + Send + Sync {
    /// What a person would look for: the path of a directory.
    fn describe(&self) -> String;

    /// Whether nothing is there but the name.
    fn is_missing(&self) -> bool {
        false
    }

    /// Takes the location for this process; `WouldBlock` when somebody else has it.
    fn lock(&self) -> io::Result<LockGuard>;

    /// Reads a small file; `None` when there is none.
    fn read_file(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Replaces a small file, atomically and durably.
    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Keeps a torn tail for inspection, durably, in `cut/`.
    fn keep_cut(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// The numbers of all packs, ascending.
    fn packs(&self) -> io::Result<Vec<u64>>;

    /// Creates an empty pack; `AlreadyExists` when the number is taken.
    fn create_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>>;

    /// Opens a pack; `NotFound` when there is none.
    fn open_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>>;

    /// Removes a pack. Whoever holds it open goes on reading.
    fn remove_pack(&self, number: u64) -> io::Result<()>;

    /// Makes creations and removals of packs durable.
    fn sync_packs(&self) -> io::Result<()>;

    /// How much room there is now.
    fn space(&self) -> io::Result<Space>;

    /// Whether the location cannot be moved to another directory.
    fn is_fixed(&self) -> bool {
        false
    }

    /// What an operator should know of, if anything. Cheap.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// One pack file.
pub trait PackFile: fmt::Debug + Send + Sync {
    /// Size in bytes, with what was allocated ahead.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads until `buffer` is full or the file ends; returns how much.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// As [`PackFile::read_at`], but returns `None` rather than wait for a disk.
    fn read_now_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>>;

    /// Writes the parts one after the other from `offset` on.
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;

    /// Makes the file at least `length` bytes long with zeros that take room on the disk. Failing is harmless.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Cuts the file to `length` bytes.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes everything written, and the length, durable.
    fn sync(&self) -> io::Result<()>;
}

/// The file name of a pack.
#[must_use]
pub fn pack_name(number: u64) -> String {
    format!("{number:012}.pack")
}

/// The number in a pack's file name; `None` for any other file.
#[must_use]
pub fn pack_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".pack")?;
    (digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}
