//! A store that is not well says so: whoever watches a node should not have to find out by a failing request.

use crate::{
    driver::fast_dir,
    support::{T, commit, commit_with, get, open, open_at, put, quiet, sample_block},
};
use jsfs_store::{
    OpenOptions, Store,
    backend::{Backend, Faulty, LockGuard, Memory, PackFile, Space},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

#[test]
fn damage_that_a_read_has_met_is_told_until_the_store_is_opened_again() {
    let disk = Faulty::new(1 << 20);
    let store = open(OpenOptions::new(vec![Arc::new(disk.clone())]));
    let block = sample_block(1, 4_000);
    commit_with(&store, vec![put("a", "1", &[block.id])], vec![block.clone()]).unwrap();
    assert_eq!(store.trouble(), None);
    let at = disk.pack_bytes(1).windows(64).position(|part| part == &block.bytes[100..164]).unwrap();
    disk.flip_bit(1, at as u64, 0);
    assert!(store.block(&block.id).is_err());
    let trouble = store.trouble().unwrap();
    assert!(trouble.contains("damage") && trouble.contains("000000000001.pack"), "{trouble}");
    commit(&store, vec![put("b", "2", &[])]).expect("one bad block does not stop writes");
    disk.flip_bit(1, at as u64, 0);
    drop(store);
    assert_eq!(open(OpenOptions::new(vec![Arc::new(disk)])).trouble(), None);
}

#[test]
fn a_store_without_room_says_so() {
    let store = Store::open(quiet(OpenOptions::memory(1 << 20)).floor(2 << 20)).unwrap();
    assert!(store.trouble().unwrap().contains("storage.floor"));
}

/// A disk whose driver brings the writing thread down.
#[derive(Debug)]
struct Bomb {
    inner: Memory,
    is_armed: Arc<AtomicBool>,
}

#[derive(Debug)]
struct BombPack {
    inner: Arc<dyn PackFile>,
    is_armed: Arc<AtomicBool>,
}

impl Bomb {
    fn wrap(&self, inner: Arc<dyn PackFile>) -> Arc<dyn PackFile> {
        Arc::new(BombPack { inner, is_armed: self.is_armed.clone() })
    }
}

impl Backend for Bomb {
    fn describe(&self) -> String {
        self.inner.describe()
    }
    fn lock(&self) -> io::Result<LockGuard> {
        self.inner.lock()
    }
    fn read_file(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.inner.read_file(name)
    }
    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_file(name, bytes)
    }
    fn keep_cut(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.inner.keep_cut(name, bytes)
    }
    fn packs(&self) -> io::Result<Vec<u64>> {
        self.inner.packs()
    }
    fn create_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        Ok(self.wrap(self.inner.create_pack(number)?))
    }
    fn open_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        Ok(self.wrap(self.inner.open_pack(number)?))
    }
    fn remove_pack(&self, number: u64) -> io::Result<()> {
        self.inner.remove_pack(number)
    }
    fn sync_packs(&self) -> io::Result<()> {
        self.inner.sync_packs()
    }
    fn space(&self) -> io::Result<Space> {
        self.inner.space()
    }
}

impl PackFile for BombPack {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }
    fn read_now_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.inner.read_now_at(buffer, offset)
    }
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        assert!(!self.is_armed.load(Ordering::SeqCst), "the disk's driver fails");
        self.inner.write_at(parts, offset)
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.inner.allocate(length)
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.inner.truncate(length)
    }
    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
}

#[test]
fn a_store_whose_writing_thread_has_failed_says_so_and_goes_on_reading() {
    let is_armed = Arc::new(AtomicBool::new(false));
    let disk = Bomb { inner: Memory::new(1 << 20), is_armed: is_armed.clone() };
    let store = open(OpenOptions::new(vec![Arc::new(disk)]));
    commit(&store, vec![put("a", "1", &[])]).unwrap();
    is_armed.store(true, Ordering::SeqCst);
    assert!(commit(&store, vec![put("b", "2", &[])]).is_err());
    let begin = std::time::Instant::now();
    let trouble = loop {
        match store.trouble() {
            Some(trouble) => break trouble,
            None => assert!(begin.elapsed().as_secs() < 10),
        }
        std::thread::yield_now();
    };
    assert!(trouble.contains("restart the node"), "{trouble}");
    assert!(commit(&store, vec![put("c", "3", &[])]).is_err());
    assert_eq!(get(&store, "a").unwrap().value, "1");
    assert!(store.close().is_err());
}

#[test]
fn a_pack_that_is_shorter_than_the_index_knows_is_damage_at_the_start() {
    let dir = fast_dir();
    let path = dir.path();
    let small = || quiet(OpenOptions::directory(path, &[]).unwrap()).pack_max(64 << 10);
    let store = Store::open(small()).unwrap();
    for n in 0..20u8 {
        let block = sample_block(n.into(), 16_000);
        commit_with(&store, vec![put([n], vec![n; 40], &[block.id])], vec![block]).unwrap();
    }
    store.close().unwrap();
    let pack = path.join("packs/000000000002.pack");
    let whole = std::fs::read(&pack).unwrap();
    std::fs::write(&pack, &whole[..whole.len() / 2]).unwrap();
    let store = Store::open(small()).unwrap();
    assert!(store.trouble().unwrap().contains("000000000002.pack"), "{:?}", store.trouble());
    assert!(store.opening().damage[0].what.contains("shorter"), "{:?}", store.opening());
    assert!(commit(&store, vec![put("new", "x", &[])]).is_err());
    assert_eq!(store.scan(T, ..).count(), 20, "what the index knows is there");
    drop(store);
    std::fs::write(&pack, &whole).unwrap();
    assert_eq!(Store::open(small()).unwrap().trouble(), None);
    let _ = open_at(path);
}
