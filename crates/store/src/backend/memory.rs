//! A location in memory, for tests and for nodes that should forget everything.
//!
//! A clone is the same location, so a store can be closed and opened again. Its size is bounded: what does not fit fails with `StorageFull`.

use super::{Backend, LockGuard, PackFile, Space};
use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// A location in memory.
#[derive(Clone)]
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    packs: Mutex<BTreeMap<u64, Arc<MemoryPack>>>,
    locked: AtomicBool,
    room: Arc<Room>,
}

struct Room {
    total: AtomicU64,
    used: AtomicU64,
}

impl Memory {
    /// A location that takes at most `total` bytes.
    #[must_use]
    pub fn new(total: u64) -> Self {
        let room = Arc::new(Room { total: AtomicU64::new(total), used: AtomicU64::new(0) });
        Self {
            inner: Arc::new(Inner {
                files: Mutex::default(),
                packs: Mutex::default(),
                locked: AtomicBool::new(false),
                room,
            }),
        }
    }

    /// Changes how much it takes, as if somebody else had filled or cleared the disk.
    pub fn set_total(&self, total: u64) {
        self.inner.room.total.store(total, Ordering::SeqCst);
    }

    /// Every file that was kept with [`Backend::keep_cut`], by name.
    #[must_use]
    pub fn cuts(&self) -> Vec<(String, Vec<u8>)> {
        let files = hold(&self.inner.files);
        let cuts = files.iter().filter_map(|(name, bytes)| Some((name.strip_prefix("cut/")?, bytes)));
        cuts.map(|(name, bytes)| (name.to_owned(), bytes.clone())).collect()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

struct MemoryLock(Arc<Inner>);

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::SeqCst);
    }
}

impl Backend for Memory {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn lock(&self) -> io::Result<LockGuard> {
        if self.inner.locked.swap(true, Ordering::SeqCst) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock(self.inner.clone())))
    }

    fn read_file(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(hold(&self.inner.files).get(name).cloned())
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        hold(&self.inner.files).insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn keep_cut(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.write_file(&format!("cut/{name}"), bytes)
    }

    fn packs(&self) -> io::Result<Vec<u64>> {
        Ok(hold(&self.inner.packs).keys().copied().collect())
    }

    fn create_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        let mut packs = hold(&self.inner.packs);
        if packs.contains_key(&number) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let pack = Arc::new(MemoryPack { bytes: RwLock::default(), room: self.inner.room.clone() });
        packs.insert(number, pack.clone());
        Ok(pack)
    }

    fn open_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        match hold(&self.inner.packs).get(&number) {
            Some(pack) => Ok(pack.clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove_pack(&self, number: u64) -> io::Result<()> {
        let removed = hold(&self.inner.packs).remove(&number);
        removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_packs(&self) -> io::Result<()> {
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let total = self.inner.room.total.load(Ordering::SeqCst);
        let used = self.inner.room.used.load(Ordering::SeqCst);
        Ok(Space { free: total.saturating_sub(used), total })
    }
}

struct MemoryPack {
    bytes: RwLock<Vec<u8>>,
    room: Arc<Room>,
}

impl MemoryPack {
    fn grow(&self, bytes: &mut Vec<u8>, length: usize) -> io::Result<()> {
        let more = length.saturating_sub(bytes.len()) as u64;
        let used = self.room.used.fetch_add(more, Ordering::SeqCst) + more;
        if more > 0 && used > self.room.total.load(Ordering::SeqCst) {
            self.room.used.fetch_sub(more, Ordering::SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        if more > 0 {
            bytes.resize(length, 0);
        }
        Ok(())
    }
}

impl Drop for MemoryPack {
    fn drop(&mut self) {
        let length = self.bytes.get_mut().map_or(0, |bytes| bytes.len());
        self.room.used.fetch_sub(length as u64, Ordering::SeqCst);
    }
}

impl fmt::Debug for MemoryPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryPack")
    }
}

impl PackFile for MemoryPack {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.read().unwrap_or_else(PoisonError::into_inner).len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn read_now_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.read_at(buffer, offset).map(Some)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        let mut at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let length = at + parts.iter().map(|part| part.len()).sum::<usize>();
        self.grow(&mut bytes, length)?;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        self.grow(&mut bytes, length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        self.grow(&mut bytes, length)?;
        let less = bytes.len() - length;
        bytes.truncate(length);
        self.room.used.fetch_sub(less as u64, Ordering::SeqCst);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
