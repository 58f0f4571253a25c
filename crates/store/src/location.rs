//! One location of a store as its parts see it: the same thing while what lies behind it is exchanged, and something to name while it is missing.

use crate::{
    backend::{Backend, LockGuard, PackFile, Space},
    sync::{own, share},
};
use std::{
    io,
    sync::{Arc, RwLock},
};

/// A location that can be moved to another place while it is in use.
#[derive(Debug)]
pub(crate) struct Location {
    current: RwLock<Arc<dyn Backend>>,
}

impl Location {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { current: RwLock::new(backend) }
    }

    pub(crate) fn current(&self) -> Arc<dyn Backend> {
        share(&self.current).clone()
    }

    /// From now on it is this. Files that are open stay what they are.
    pub(crate) fn exchange(&self, to: Arc<dyn Backend>) {
        *own(&self.current) = to;
    }
}

impl Backend for Location {
    fn describe(&self) -> String {
        self.current().describe()
    }

    fn is_missing(&self) -> bool {
        self.current().is_missing()
    }

    fn is_fixed(&self) -> bool {
        self.current().is_fixed()
    }

    fn trouble(&self) -> Option<String> {
        self.current().trouble()
    }

    fn lock(&self) -> io::Result<LockGuard> {
        self.current().lock()
    }

    fn read_file(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.current().read_file(name)
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.current().write_file(name, bytes)
    }

    fn keep_cut(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.current().keep_cut(name, bytes)
    }

    fn packs(&self) -> io::Result<Vec<u64>> {
        self.current().packs()
    }

    fn create_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        self.current().create_pack(number)
    }

    fn open_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        self.current().open_pack(number)
    }

    fn remove_pack(&self, number: u64) -> io::Result<()> {
        self.current().remove_pack(number)
    }

    fn sync_packs(&self) -> io::Result<()> {
        self.current().sync_packs()
    }

    fn space(&self) -> io::Result<Space> {
        self.current().space()
    }
}

/// A location that is not there: it has a name, and nothing else.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) place: String,
}

/// What everything in a missing location answers. The kind tells it from all that a disk says.
fn missing<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::NotConnected, "this location is missing"))
}

impl Backend for Missing {
    fn describe(&self) -> String {
        self.place.clone()
    }

    fn is_missing(&self) -> bool {
        true
    }

    fn lock(&self) -> io::Result<LockGuard> {
        Ok(Box::new(()))
    }

    fn read_file(&self, _name: &str) -> io::Result<Option<Vec<u8>>> {
        missing()
    }

    fn write_file(&self, _name: &str, _bytes: &[u8]) -> io::Result<()> {
        missing()
    }

    fn keep_cut(&self, _name: &str, _bytes: &[u8]) -> io::Result<()> {
        missing()
    }

    fn packs(&self) -> io::Result<Vec<u64>> {
        missing()
    }

    fn create_pack(&self, _number: u64) -> io::Result<Arc<dyn PackFile>> {
        missing()
    }

    fn open_pack(&self, _number: u64) -> io::Result<Arc<dyn PackFile>> {
        missing()
    }

    fn remove_pack(&self, _number: u64) -> io::Result<()> {
        missing()
    }

    fn sync_packs(&self) -> io::Result<()> {
        missing()
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space { free: 0, total: 0 })
    }
}
