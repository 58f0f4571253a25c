//! Disks that are missing, and locations that are moved to others.

use crate::{
    driver::fast_dir,
    support::{commit, commit_with, delete, keys, put, quiet, run, sample_block, value},
};
use jsfs_store::{
    CommitError, MoveError, NewBlock, OpenError, OpenOptions, ReadError, Store, WriteError,
    backend::{Backend, Directory, Faulty, LockGuard, Loss, PackFile, Space},
    check, clear_moved,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

fn options(root: &Path, further: &[PathBuf], copies: usize) -> OpenOptions {
    quiet(OpenOptions::directory(root, further).unwrap()).copies(copies).pack_max(40_000)
}

fn fill(store: &Store, range: std::ops::Range<u64>) -> Vec<NewBlock> {
    let blocks: Vec<NewBlock> = range.map(|seed| sample_block(seed, 3_000)).collect();
    for block in &blocks {
        commit_with(store, vec![put(block.id.as_bytes(), "v", &[block.id])], vec![block.clone()]).unwrap();
    }
    blocks
}

fn assert_all(store: &Store, blocks: &[NewBlock]) {
    assert_eq!(keys(store).len(), blocks.len());
    for block in blocks {
        assert_eq!(store.block(&block.id).unwrap(), block.bytes);
        assert_eq!(value(store, block.id.as_bytes()).unwrap(), "v");
    }
}

/// Whether the stored bytes lie in a pack there.
pub(crate) fn lies_in(path: &Path, block: &NewBlock) -> bool {
    let needle = &block.bytes[100..164];
    contents(path).iter().any(|(_, bytes)| bytes.windows(64).any(|part| part == needle))
}

fn packs(path: &Path) -> usize {
    Directory::existing(path).packs().map_or(0, |packs| packs.len())
}

#[test]
fn a_missing_location_refuses_the_opening_and_is_not_made_anew() {
    let dir = fast_dir();
    let (root, other) = (dir.path().join("data"), dir.path().join("disk"));
    let further = [other.clone()];
    let store = Store::open(options(&root, &further, 1)).unwrap();
    fill(&store, 0..4);
    store.close().unwrap();
    // Unmounted, a mount point is an empty directory; or nothing at all.
    let away = dir.path().join("away");
    std::fs::rename(&other, &away).unwrap();
    for makes_mount_point in [false, true] {
        if makes_mount_point {
            std::fs::create_dir(&other).unwrap();
        }
        let error = Store::open(options(&root, &further, 1)).unwrap_err();
        assert!(matches!(error, OpenError::MissingLocation { number: 1, .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(other.to_str().unwrap()) && text.contains("--degraded"), "{text}");
        assert!(!other.join("store.json").exists());
        let report = check(&options(&root, &further, 1)).unwrap();
        assert!(report.findings[0].to_string().contains("location 1 is missing"), "{:?}", report.findings);
    }
    std::fs::remove_dir(&other).unwrap();
    std::fs::rename(&away, &other).unwrap();
    assert_eq!(keys(&Store::open(options(&root, &further, 1)).unwrap()).len(), 4);
}

/// One of three disks is lost, with or without a clean end before, with or without an index.
#[test]
fn with_two_copies_everything_is_read_without_one_disk_and_nothing_is_written() {
    for lost in 1..3 {
        for (is_clean, has_index) in [(true, true), (true, false), (false, true), (false, false)] {
            let dir = fast_dir();
            let root = dir.path().join("data");
            let further = [dir.path().join("disk1"), dir.path().join("disk2")];
            let store = Store::open(options(&root, &further, 2)).unwrap();
            let blocks = fill(&store, 0..24);
            let copy = dir.path().join("copy");
            if is_clean {
                store.close().unwrap();
                std::fs::rename(&root, &copy).unwrap();
            } else {
                // As a crash leaves it.
                copy_directory(&root, &copy);
                drop(store);
            }
            if !has_index {
                std::fs::remove_dir_all(copy.join("index")).unwrap();
            }
            let missing = dir.path().join("nothing here");
            let mut there = further.clone();
            there[lost - 1].clone_from(&missing);
            let error = Store::open(options(&copy, &there, 2)).unwrap_err();
            assert!(matches!(error, OpenError::MissingLocation { .. }), "{error}");
            let before: Vec<_> = std::iter::once(&copy).chain(&further).map(|path| contents(path)).collect();
            let store = Store::open(options(&copy, &there, 2).degraded(true)).unwrap();
            assert_eq!(store.opening().damage, [], "{lost} {is_clean} {has_index}");
            assert_all(&store, &blocks);
            let why = store.trouble().unwrap();
            assert!(why.contains("nothing here") && why.contains("missing"), "{why}");
            let refused = commit(&store, vec![put("new", "v", &[])]).unwrap_err();
            assert!(
                matches!(&refused, CommitError::Write(WriteError::ReadOnly(why)) if why.contains("nothing here")),
                "{refused}"
            );
            store.close().unwrap();
            let after: Vec<_> = std::iter::once(&copy).chain(&further).map(|path| contents(path)).collect();
            assert!(before == after, "a degraded opening changes no pack");
            // With the disk back it is as it was.
            let store = Store::open(options(&copy, &further, 2)).unwrap();
            assert_all(&store, &blocks);
            assert_eq!(store.trouble(), None);
            store.close().unwrap();
            assert!(check(&options(&copy, &further, 2)).unwrap().is_clean());
        }
    }
}

#[test]
fn with_one_copy_what_lay_on_the_missing_disk_fails_by_its_name() {
    let dir = fast_dir();
    let (root, other) = (dir.path().join("data"), dir.path().join("disk"));
    let store = Store::open(options(&root, std::slice::from_ref(&other), 2)).unwrap();
    let mut blocks = fill(&store, 0..20);
    store.close().unwrap();
    let store = Store::open(options(&root, std::slice::from_ref(&other), 1)).unwrap();
    blocks.extend(fill(&store, 20..40));
    store.close().unwrap();
    let missing = [dir.path().join("nothing here")];
    let store = Store::open(options(&root, &missing, 1).degraded(true)).unwrap();
    let results: Vec<_> = blocks.iter().map(|block| (block, store.block(&block.id))).collect();
    assert_eq!(keys(&store).len(), 40, "names and records are in every location");
    let mut failed = 0;
    for (block, result) in results {
        match result {
            Ok(bytes) => assert_eq!(bytes, block.bytes),
            Err(error) => {
                failed += 1;
                assert!(matches!(&error, ReadError::Io { .. }), "{error}");
                assert!(
                    error.to_string().contains("nothing here") && error.to_string().contains("missing"),
                    "{error}"
                );
            }
        }
    }
    // Of those with one copy those that lay there; with equal room the last location takes them.
    let lost = blocks[20..].iter().filter(|block| lies_in(&other, block)).count();
    assert!(failed == lost && lost > 0, "{failed} {lost}");
}

/// Without another process: a child holds the locks of its parent until it begins.
fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Names and bytes of all packs.
fn contents(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(path.join("packs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect();
    all.sort();
    all
}

/// Files below a directory that this process has open.
fn held_open(path: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|file| std::fs::read_link(file.path()).ok())
        .filter(|file| file.starts_with(path.join("packs")))
        .count()
}

fn moving(store: &Store, from: &Path, to: &Path) -> Result<jsfs_store::Moved, MoveError> {
    let to = Arc::new(Directory::open(to).unwrap());
    store.move_location(from.to_str().unwrap(), to, &|_, _| true)
}

#[test]
fn a_location_moves_while_it_is_written_and_a_start_with_either_name_works() {
    for at in 0..2 {
        let dir = fast_dir();
        let (root, other, new) = (dir.path().join("data"), dir.path().join("disk"), dir.path().join("new"));
        let further = [other.clone()];
        let store = Store::open(options(&root, &further, 2)).unwrap();
        let mut blocks = fill(&store, 0..30);
        let from = [&root, &other][at];
        let writer = std::thread::spawn({
            let store = store.clone();
            move || fill(&store, 100..160)
        });
        let moved = moving(&store, from, &new).unwrap();
        assert!(moved.packs >= 2 && moved.left == 0, "{moved:?}");
        assert_eq!(packs(from), 0, "the old directory is left empty");
        assert_eq!(held_open(from), 0, "what was removed there is still held, and takes its room");
        blocks.extend(writer.join().unwrap());
        blocks.extend(fill(&store, 200..210));
        assert_all(&store, &blocks);
        assert!(moving(&store, from, &new).is_err(), "it is there no longer");
        // What lives on goes on: compaction, and another move.
        for block in blocks.drain(..20) {
            commit(&store, vec![delete(block.id.as_bytes())]).unwrap();
        }
        run(store.settle()).unwrap();
        assert!(store.compact(0.3).unwrap().packs > 0);
        assert_all(&store, &blocks);
        store.close().unwrap();

        // As it was configured; the other way round; and with the index lost.
        for changed in [false, true, false] {
            let further = if changed && at == 1 { [new.clone()] } else { further.clone() };
            let store = Store::open(options(&root, &further, 2)).unwrap();
            assert_eq!(store.opening().rebuilt, None);
            assert_all(&store, &blocks);
            store.close().unwrap();
            let report = check(&options(&root, &further, 2)).unwrap();
            assert!(report.is_clean() && report.is_index_compared, "{:#?}", report.findings);
        }
        std::fs::remove_dir_all(root.join("index")).unwrap();
        let store = Store::open(options(&root, &further, 2)).unwrap();
        assert_all(&store, &blocks);
        // And once more, to a third place, followed from the first.
        let third = dir.path().join("third");
        moving(&store, &new, &third).unwrap();
        store.close().unwrap();
        assert_all(&Store::open(options(&root, &further, 2)).unwrap(), &blocks);
        // The new disk is gone, the old directory is not taken for it.
        std::fs::rename(&third, dir.path().join("away")).unwrap();
        let error = Store::open(options(&root, &further, 2)).unwrap_err();
        assert!(
            matches!(&error, OpenError::MissingLocation { place, .. } if place.ends_with("third")),
            "{error}"
        );
    }
}

#[test]
fn writes_wait_only_for_what_was_written_since_packs_were_copied() {
    let index = fast_dir();
    let disk = |name| Faulty::new(1 << 24).named(name);
    let (first, from, to) = (disk("first"), disk("from"), disk("to"));
    let open = |other: &Faulty, first: &Faulty, index: &Path| {
        let all: Vec<Arc<dyn Backend>> = vec![Arc::new(first.clone()), Arc::new(other.clone())];
        Store::open(quiet(OpenOptions::new(all)).index(index).copies(2).pack_max(40_000)).unwrap()
    };
    let store = open(&from, &first, index.path());
    let mut blocks = fill(&store, 0..60);
    let (before_end, since) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let watch = |_, _| {
        // One after each piece, so there is always something that the last round did not see.
        let mut since = since.lock().unwrap();
        let seed = 1_000 + since.len() as u64;
        since.extend(fill(&store, seed..seed + 1));
        before_end.store(from.bytes_read() + to.bytes_read(), Ordering::SeqCst);
        true
    };
    let moved = store.move_location("from", Arc::new(to.clone()), &watch).unwrap();
    let at_end = from.bytes_read() + to.bytes_read() - before_end.load(Ordering::SeqCst);
    let since = since.into_inner().unwrap();
    assert!(since.len() >= 6 && moved.packs >= 6 && moved.bytes > 180_000, "{} {moved:?}", since.len());
    assert!(at_end > 3_000 && at_end < 12_000, "{at_end} bytes were read while writes waited");
    blocks.extend(since);
    assert_all(&store, &blocks);
    // All of it is on the disk, whichever round copied it.
    let (first, to) = (first.after_power_loss(Loss::Dropped, 0), to.after_power_loss(Loss::Dropped, 0));
    store.close().unwrap();
    let index = fast_dir();
    let store = open(&to, &first, index.path());
    assert_eq!(store.opening().damage, []);
    assert_all(&store, &blocks);
}

#[test]
fn what_compaction_removes_while_packs_are_copied_is_not_in_the_new_directory() {
    let dir = fast_dir();
    let (root, new) = (dir.path().join("data"), dir.path().join("new"));
    let store = Store::open(options(&root, &[], 1)).unwrap();
    let mut blocks = fill(&store, 0..60);
    let rounds = AtomicU64::new(0);
    let gone = Mutex::new(blocks.drain(..40).collect::<Vec<_>>());
    let watch = |_, _| {
        // When some packs are there already.
        if rounds.fetch_add(1, Ordering::SeqCst) == 4 {
            for block in gone.lock().unwrap().drain(..) {
                commit(&store, vec![delete(block.id.as_bytes())]).unwrap();
            }
            assert!(store.compact(0.5).unwrap().packs > 2);
        }
        true
    };
    let to = Arc::new(Directory::open(&new).unwrap());
    let moved = store.move_location(root.to_str().unwrap(), to, &watch).unwrap();
    assert_eq!(packs(&new) as u64, moved.packs);
    let known = store.stats().unwrap().locations[0].packs;
    assert!(packs(&new) as u64 <= known + 1, "{} packs there, {known} known", packs(&new));
    assert_all(&store, &blocks);
    store.close().unwrap();
    let report = check(&options(&root, &[], 1)).unwrap();
    assert!(report.is_clean() && report.is_index_compared, "{:#?}", report.findings);
}

#[test]
fn a_directory_that_holds_something_else_is_refused() {
    let dir = fast_dir();
    let (root, other, foreign) =
        (dir.path().join("data"), dir.path().join("disk"), dir.path().join("foreign"));
    let elsewhere = Store::open(options(&foreign, &[], 1)).unwrap();
    fill(&elsewhere, 0..3);
    let store = Store::open(options(&root, std::slice::from_ref(&other), 1)).unwrap();
    let blocks = fill(&store, 0..3);
    let error = moving(&store, &other, &foreign).unwrap_err();
    assert!(matches!(error, MoveError::Open(OpenError::InUse { .. })), "{error}");
    elsewhere.close().unwrap();
    let error = moving(&store, &other, &foreign).unwrap_err();
    assert!(matches!(error, MoveError::Occupied { .. }), "{error}");
    let error = moving(&store, &dir.path().join("unknown"), &dir.path().join("new")).unwrap_err();
    assert!(error.to_string().contains(other.to_str().unwrap()), "{error}");
    let to = Arc::new(Directory::open(dir.path().join("half")).unwrap());
    let error = store.move_location(other.to_str().unwrap(), to, &|_, _| false).unwrap_err();
    assert!(matches!(error, MoveError::CalledOff { .. }), "{error}");
    fill(&store, 10..12);
    assert_eq!(keys(&store).len(), blocks.len() + 2);
    // A directory that is half copied does not count.
    store.close().unwrap();
    let half = [dir.path().join("half")];
    let error = OpenOptions::directory(&root, &half).unwrap_err();
    assert!(matches!(&error, OpenError::UnfinishedMove { from, .. } if Path::new(from) == other), "{error}");
}

/// A directory whose process is killed before its n-th change: nothing more is written.
#[derive(Debug)]
struct Killed {
    inner: Directory,
    left: Arc<AtomicI64>,
}

#[derive(Debug)]
struct KilledPack {
    inner: Arc<dyn PackFile>,
    left: Arc<AtomicI64>,
}

fn tick(left: &AtomicI64) -> io::Result<()> {
    if left.fetch_sub(1, Ordering::SeqCst) <= 0 {
        return Err(io::Error::other("killed"));
    }
    Ok(())
}

impl Killed {
    fn wrap(&self, inner: Arc<dyn PackFile>) -> Arc<dyn PackFile> {
        Arc::new(KilledPack { inner, left: self.left.clone() })
    }
}

impl Backend for Killed {
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
        tick(&self.left)?;
        self.inner.write_file(name, bytes)
    }
    fn keep_cut(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        tick(&self.left)?;
        self.inner.keep_cut(name, bytes)
    }
    fn packs(&self) -> io::Result<Vec<u64>> {
        self.inner.packs()
    }
    fn create_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        tick(&self.left)?;
        Ok(self.wrap(self.inner.create_pack(number)?))
    }
    fn open_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        Ok(self.wrap(self.inner.open_pack(number)?))
    }
    fn remove_pack(&self, number: u64) -> io::Result<()> {
        tick(&self.left)?;
        self.inner.remove_pack(number)
    }
    fn sync_packs(&self) -> io::Result<()> {
        tick(&self.left)?;
        self.inner.sync_packs()
    }
    fn space(&self) -> io::Result<Space> {
        self.inner.space()
    }
}

impl PackFile for KilledPack {
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
        if tick(&self.left).is_err() {
            // A write that is cut leaves its beginning.
            let bytes = parts.concat();
            let _ = self.inner.write_at(&[&bytes[..bytes.len() / 2]], offset);
            return Err(io::Error::other("killed"));
        }
        self.inner.write_at(parts, offset)
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        tick(&self.left)?;
        self.inner.allocate(length)
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        tick(&self.left)?;
        self.inner.truncate(length)
    }
    fn sync(&self) -> io::Result<()> {
        tick(&self.left)?;
        self.inner.sync()
    }
}

#[test]
fn a_move_that_is_killed_at_any_step_has_lost_nothing_and_ends_when_it_is_asked_for_again() {
    let dir = fast_dir();
    let template = dir.path().join("template");
    let blocks = {
        let store = Store::open(options(&template.join("data"), &[template.join("disk")], 1)).unwrap();
        fill(&store, 0..40)
    };
    let (mut unfinished, mut finished) = (0, 0);
    for step in 0.. {
        let here = dir.path().join(format!("step{step}"));
        copy_directory(&template, &here);
        let (root, from, to) = (here.join("data"), here.join("disk"), here.join("new"));
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let killed = |path: &Path| -> Arc<dyn Backend> {
            Arc::new(Killed { inner: Directory::open(path).unwrap(), left: left.clone() })
        };
        let locations = vec![killed(&root), killed(&from)];
        let open = quiet(OpenOptions::new(locations)).index(root.join("index")).pack_max(40_000);
        let store = Store::open(open).unwrap();
        left.store(step, Ordering::SeqCst);
        let result = store.move_location(from.to_str().unwrap(), killed(&to), &|_, _| true);
        let is_over = left.load(Ordering::SeqCst) > 0;
        left.store(0, Ordering::SeqCst);
        drop(store);

        // Whatever the configuration says, what opens is whole; what does not open says why.
        let edited = OpenOptions::directory(&root, std::slice::from_ref(&to));
        match edited {
            Ok(edited) => match Store::open(quiet(edited)) {
                Ok(store) => {
                    assert_all(&store, &blocks);
                    finished += 1;
                }
                Err(error) => {
                    assert!(matches!(error, OpenError::MissingLocation { .. }), "step {step}: {error}")
                }
            },
            Err(error) => {
                assert!(matches!(error, OpenError::UnfinishedMove { .. }), "step {step}: {error}");
                unfinished += 1;
            }
        }
        let store = Store::open(options(&root, std::slice::from_ref(&from), 1)).unwrap();
        assert_eq!(store.opening().damage, [], "step {step}");
        assert_all(&store, &blocks);
        match moving(&store, &from, &to) {
            Ok(moved) => assert!(result.is_err() && moved.left == 0),
            Err(MoveError::NoLocation { .. }) => {
                assert!(clear_moved(&Directory::existing(&from), to.to_str().unwrap()).unwrap());
            }
            Err(error) => panic!("step {step}: {error}"),
        }
        assert_eq!(packs(&from), 0, "step {step}");
        assert_all(&store, &blocks);
        store.close().unwrap();
        let report = check(&options(&root, std::slice::from_ref(&from), 1)).unwrap();
        assert!(report.is_clean(), "step {step}: {:#?}", report.findings);
        std::fs::remove_dir_all(&here).unwrap();
        if is_over {
            assert!(step > 12 && result.is_ok(), "{step}: {result:?}");
            break;
        }
    }
    assert!(unfinished > 5 && finished > 1, "{unfinished} {finished}");
}
