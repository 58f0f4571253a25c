//! Backups of a store on several disks: while one of them is moved, and without one of them.

use crate::{
    backup::{archive, back_up, contents, restored},
    disks::lies_in,
    driver::fast_dir,
    support::{commit, commit_with, delete, list_block, put, quiet, run, sample_block, sample_delta},
};
use jsfs_store::{
    Finding, Observer, OpenOptions, Store, Verification, VerifyError,
    backend::Directory,
    backup::{Ask, BackupError, Decoder, Kind},
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

fn options(root: &Path, further: &[PathBuf], copies: usize) -> OpenOptions {
    quiet(OpenOptions::directory(root, further).unwrap()).copies(copies).pack_max(40_000)
}

fn fill(store: &Store, range: std::ops::Range<u64>) {
    for block in range.map(|seed| sample_block(seed, 3_000)) {
        commit_with(store, vec![put(block.id.as_bytes(), "v", &[block.id])], vec![block]).unwrap();
    }
}

/// The same, each third with a delta of its block.
fn fill_with_deltas(store: &Store, range: std::ops::Range<u64>) {
    for seed in range {
        let block = sample_block(seed, 3_000);
        let id = block.id;
        let delta = seed.is_multiple_of(3).then(|| sample_delta(&block, seed, 3_000).0);
        let needs: Vec<_> = [id].into_iter().chain(delta.as_ref().map(|delta| delta.id)).collect();
        let blocks = [block].into_iter().chain(delta).collect();
        commit_with(store, vec![put(id.as_bytes(), "v", &needs)], blocks).unwrap();
    }
}

#[test]
fn a_backup_that_is_sent_while_its_location_is_moved_is_the_state_at_its_commit() {
    for at in 0..2 {
        let dir = fast_dir();
        let (root, other, new) = (dir.path().join("data"), dir.path().join("disk"), dir.path().join("new"));
        let store = Store::open(options(&root, std::slice::from_ref(&other), 2)).unwrap();
        fill_with_deltas(&store, 0..60);
        let expected = contents(&store);
        let mut archive = archive(&dir.path().join("backup"), false);
        let mut writer = archive.begin(false).unwrap();
        let ask = Ask::decode(&writer.ask().encode().into()).unwrap();
        let (mut decoder, mut blocks, mut written) = (Decoder::default(), 0, None);
        let from = [&root, &other][at].to_str().unwrap();
        let mut sink = |bytes: Vec<u8>| {
            decoder.feed(&bytes);
            while let Some(item) = decoder.take().unwrap() {
                blocks += u32::from(item.kind == Kind::Block);
                written = writer.take(&item, 1, |_| {}).unwrap().or(written.take());
            }
            if blocks == 5 {
                blocks += 1;
                let to = Arc::new(Directory::open(&new).unwrap());
                assert_eq!(store.move_location(from, to, &|_, _| true).unwrap().left, 0);
                for block in (0..40).map(|seed| sample_block(seed, 3_000)) {
                    commit(&store, vec![delete(block.id.as_bytes())]).unwrap();
                }
                fill_with_deltas(&store, 100..120);
                run(store.settle()).unwrap();
                store.compact(0.0).unwrap();
            }
            true
        };
        store.snapshot().unwrap().send(&ask, None, &mut sink).unwrap();
        let written = written.expect("the end came");
        assert_eq!((written.blocks, written.damage), (80, Vec::new()));
        assert_eq!(restored(&archive, written.number, &dir.path().join("restored")), expected);
        assert!(store.compact(0.0).unwrap().packs > 0, "what the backup held is compacted afterwards");
        let next = back_up(&store, &mut archive, false).unwrap();
        assert!(!next.is_full && next.blocks == 26, "{next:?}");
        let now = contents(&store);
        assert_eq!(restored(&archive, next.number, &dir.path().join("again")), now);
    }
}

#[test]
fn without_a_disk_a_backup_has_what_lies_elsewhere_and_names_what_does_not() {
    for lost in 0..2 {
        let dir = fast_dir();
        let root = dir.path().join("data");
        let mut further = [dir.path().join("disk1"), dir.path().join("disk2")];
        let store = Store::open(options(&root, &further, 2)).unwrap();
        fill(&store, 0..30);
        let expected = contents(&store);
        store.close().unwrap();
        let store = Store::open(options(&root, &further, 1)).unwrap();
        fill(&store, 100..130);
        let parts: Vec<_> = (300..303).map(|seed| sample_block(seed, 3_000)).collect();
        let list = list_block(0, &parts.iter().map(|part| part.id).collect::<Vec<_>>());
        let ids: Vec<_> = parts.iter().map(|part| part.id).collect();
        commit_with(&store, vec![put("parts", "v", &ids)], parts.clone()).unwrap();
        store.close().unwrap();
        let store = Store::open(options(&root, &further, 2)).unwrap();
        commit_with(&store, vec![put("listed", "v", &[list.id])], vec![list]).unwrap();
        store.close().unwrap();
        let away = std::mem::replace(&mut further[lost], dir.path().join("nothing here"));
        let store = Store::open(options(&root, &further, 1).degraded(true)).unwrap();
        let mut archive = archive(&dir.path().join("backup"), false);
        let written = back_up(&store, &mut archive, false).unwrap();
        let only_there = written.damage.len() as u64;
        let is_lost = |seed: &u64| lies_in(&away, &sample_block(*seed, 3_000));
        let lost_ones = (100..130).filter(is_lost).count() as u64;
        let lost_parts = (300..303).filter(is_lost).count() as u64;
        assert_eq!(only_there, lost_ones + lost_parts, "{written:?}");
        assert_eq!(written.blocks + only_there, 64);
        // What an entry refers to, and what a list lists that an entry refers to.
        let mut missing = 0;
        let count = &mut |error: BackupError| {
            assert!(error.to_string().contains("is not there"), "{error}");
            missing += 1;
        };
        archive.verify(written.number, &|_| {}, count).unwrap();
        assert_eq!(missing, lost_ones + 2 * lost_parts);
        let is_named = |what: &String| what.contains("nothing here") && what.contains("missing");
        assert!(written.damage.iter().all(is_named), "{:?}", written.damage);
        let at = dir.path().join("restored");
        jsfs_store::backup::restore(&archive, written.number, &at, true, &|_| {}, |_| Ok(())).unwrap();
        let restored = crate::support::open_at(&at);
        for id in (0..30).map(|seed| sample_block(seed, 3_000).id) {
            restored.block(&id).unwrap();
        }
        assert!(expected.keys().all(|key| crate::support::value(&restored, key).is_some()));
    }
}

/// Counts what it is told, and calls off after some time.
#[derive(Default)]
struct Impatient {
    asked: AtomicU64,
    has_begun: AtomicBool,
}

impl Observer for Impatient {
    fn progress(&self, _done: u64, _total: u64) {
        self.has_begun.store(true, Ordering::SeqCst);
    }
    fn found(&self, _finding: &Finding) {}
    fn is_stopped(&self) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst) > 3
    }
}

#[test]
fn nothing_is_mended_in_place_while_packs_are_copied_elsewhere() {
    let dir = fast_dir();
    let (root, new) = (dir.path().join("data"), dir.path().join("new"));
    let store = Store::open(options(&root, &[], 1)).unwrap();
    fill(&store, 0..20);
    let is_tried = AtomicBool::new(false);
    let watch = |_, _| {
        let watcher = Impatient::default();
        let how = Verification { is_repairing: true, ..Verification::default() };
        let ended = store.verify(how, &watcher);
        assert!(matches!(ended, Err(VerifyError::CalledOff)), "{ended:?}");
        assert!(!watcher.has_begun.load(Ordering::SeqCst), "a repair began while packs were copied");
        is_tried.store(true, Ordering::SeqCst);
        true
    };
    let to = Arc::new(Directory::open(&new).unwrap());
    store.move_location(root.to_str().unwrap(), to, &watch).unwrap();
    assert!(is_tried.load(Ordering::SeqCst));
    let how = Verification { is_repairing: true, ..Verification::default() };
    assert_eq!(store.verify(how, &jsfs_store::Unobserved).unwrap().damaged, 0);
}
