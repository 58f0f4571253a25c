//! A backup is the state at its commit, costs what changed, and is found out when it is not what was written.

use crate::{
    driver::fast_dir,
    support::{
        T, commit, commit_with, delete, list_block, noise, open_at, put, run, sample_block, sample_delta,
    },
};
use bytes::Bytes;
use jsfs_store::{
    BlockId, ReadError, Store,
    backup::{Archive, BackupError, Decoder, Written, depot, restore},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// What a commit did to a key: its value and block, or nothing.
type Done = (u64, Vec<u8>, Option<(Bytes, BlockId)>);

pub(crate) fn archive(path: &Path, is_file: bool) -> Archive {
    Archive::open(depot::open(path, depot::Access::Write { is_file }).unwrap()).unwrap()
}

/// Lets a store send its state into an archive, as a command does through HTTP: in pieces of any length.
pub(crate) fn back_up(store: &Store, archive: &mut Archive, is_full: bool) -> Result<Written, BackupError> {
    let mut writer = archive.begin(is_full)?;
    let ask = jsfs_store::backup::Ask::decode(&writer.ask().encode().into()).unwrap();
    let (mut decoder, mut written, mut failure) = (Decoder::default(), None, None);
    store
        .snapshot()
        .unwrap()
        .send(&ask, Some(b"{\"from\":\"a test\"}"), &mut |bytes| {
            for piece in bytes.chunks(7_919) {
                decoder.feed(piece);
                while let Some(item) = decoder.take().unwrap() {
                    match writer.take(&item, 1, |_| {}) {
                        Ok(done) => written = done.or(written.take()),
                        Err(error) => failure = Some(error),
                    }
                }
            }
            failure.is_none()
        })
        .map_err(|error| failure.take().unwrap_or_else(|| panic!("{error}")))?;
    Ok(written.expect("the end came"))
}

/// Everything in a store: keys with values, and that every block is readable.
pub(crate) fn contents(store: &Store) -> BTreeMap<Vec<u8>, Bytes> {
    let mut all = BTreeMap::new();
    for row in store.scan(T, ..) {
        let (key, entry) = row.unwrap();
        for id in &entry.references {
            assert_eq!(BlockId::of(&store.block(id).unwrap()), *id);
        }
        all.insert(key, entry.value);
    }
    all
}

pub(crate) fn restored(archive: &Archive, number: u64, at: &Path) -> BTreeMap<Vec<u8>, Bytes> {
    let done = restore(archive, number, at, false, &|_| {}, |_| Ok(())).unwrap();
    assert!(done.damage.is_empty());
    let store = open_at(at);
    assert!(store.read_only().is_none());
    let all = contents(&store);
    // It goes on, and what it finds at the next opening is whole.
    commit(&store, vec![put("afterwards", "goes on", &[])]).unwrap();
    store.close().unwrap();
    let options = jsfs_store::OpenOptions::directory(at, &[]).unwrap();
    let report = jsfs_store::check(&options).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    all
}

#[test]
fn a_backup_made_while_others_write_and_packs_are_compacted_is_the_state_at_its_commit() {
    let folder = fast_dir();
    let options =
        jsfs_store::OpenOptions::directory(folder.path().join("data"), &[]).unwrap().pack_max(1 << 20);
    let store = crate::support::open(options);
    let (journal, is_over) = (Mutex::new(Vec::<Done>::new()), AtomicBool::new(false));
    let mut archive = archive(&folder.path().join("backup"), false);
    let mut made = Vec::new();
    std::thread::scope(|scope| {
        for writer in 0..3u64 {
            let (store, journal, is_over) = (&store, &journal, &is_over);
            scope.spawn(move || {
                let mut round = 0u64;
                while !is_over.load(Ordering::Relaxed) {
                    round += 1;
                    let draw = noise(writer << 32 | round, 8);
                    let key = format!("{writer}-{}", draw[0] % 60).into_bytes();
                    let before = journal.lock().unwrap().len() as u64;
                    if draw[1] < 90 {
                        let done = commit(store, vec![delete(&key)]).unwrap();
                        journal.lock().unwrap().push((done.sequence, key, None));
                        continue;
                    }
                    // Some content comes again, long after what had it is gone.
                    let block = sample_block(u64::from(draw[2] % 40) | writer << 40, 20_000);
                    let (id, text) = (block.id, Bytes::from(format!("{round} {before}")));
                    // Every other time with a delta of it.
                    let delta =
                        draw[3].is_multiple_of(2).then(|| sample_delta(&block, u64::from(draw[3]), 20_000).0);
                    let blocks: Vec<_> = [block].into_iter().chain(delta).collect();
                    let needs: Vec<_> = blocks.iter().map(|block| block.id).collect();
                    let done = commit_with(store, vec![put(&key, text.clone(), &needs)], blocks).unwrap();
                    journal.lock().unwrap().push((done.sequence, key, Some((text, id))));
                }
            });
        }
        let (store, is_over) = (&store, &is_over);
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                run(store.settle()).unwrap();
                store.compact(0.0).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        for _ in 0..6 {
            std::thread::sleep(std::time::Duration::from_millis(120));
            let acknowledged = journal.lock().unwrap().iter().map(|done| done.0).max().unwrap_or(0);
            let written = back_up(store, &mut archive, false).unwrap();
            assert!(written.sequence >= acknowledged, "what was answered before is in it");
            assert!(written.damage.is_empty(), "{:?}", written.damage);
            made.push(written);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(made[0].is_full && made[1..].iter().all(|written| !written.is_full));
    let mut journal = journal.into_inner().unwrap();
    journal.sort_by_key(|done| done.0);
    eprintln!(
        "{} commits, backups at {:?}",
        journal.len(),
        made.iter().map(|made| made.sequence).collect::<Vec<_>>()
    );
    for written in &made {
        let mut expected = BTreeMap::new();
        for (_, key, change) in journal.iter().filter(|done| done.0 <= written.sequence) {
            match change {
                Some((value, _)) => drop(expected.insert(key.clone(), value.clone())),
                None => drop(expected.remove(key)),
            }
        }
        let at = folder.path().join(format!("restored-{}", written.number));
        assert_eq!(restored(&archive, written.number, &at), expected, "backup {}", written.number);
        let bad = &mut |error| panic!("{error}");
        archive.verify(written.number, &|_| {}, bad).unwrap();
    }
}

fn filled(at: &Path) -> Store {
    let options = jsfs_store::OpenOptions::directory(at, &[]).unwrap().pack_max(2 << 20);
    let store = crate::support::open(options);
    for n in 0..100u64 {
        let block = sample_block(n, 40_000);
        let delta = (n % 4 == 0).then(|| sample_delta(&block, n, 40_000).0);
        let blocks: Vec<_> = [block].into_iter().chain(delta).collect();
        let needs: Vec<_> = blocks.iter().map(|block| block.id).collect();
        commit_with(&store, vec![put(n.to_be_bytes(), noise(n, 900), &needs)], blocks).unwrap();
    }
    let parts: Vec<_> = (200..203u64).map(|n| sample_block(n, 10_000)).collect();
    let list = list_block(0, &parts.iter().map(|part| part.id).collect::<Vec<_>>());
    let needs = put("listed", "by a list", &[list.id]);
    commit_with(&store, vec![needs], parts.into_iter().chain([list]).collect()).unwrap();
    store
}

#[test]
fn a_second_backup_costs_what_changed() {
    for is_file in [false, true] {
        let folder = fast_dir();
        let store = filled(&folder.path().join("data"));
        let mut archive = archive(&folder.path().join("backup"), is_file);
        let full = back_up(&store, &mut archive, false).unwrap();
        assert!(full.is_full && full.blocks == 129, "{full:?}");
        let nothing = back_up(&store, &mut archive, false).unwrap();
        assert_eq!((nothing.blocks, nothing.chunks), (0, 0));

        let block = sample_block(777, 5_000);
        commit_with(&store, vec![put("small", "change", &[block.id])], vec![block]).unwrap();
        let small = back_up(&store, &mut archive, false).unwrap();
        assert_eq!((small.blocks, small.chunks), (1, 1));

        // An entry that moves on, keeping its blocks, as older versions do; and all packs written anew.
        let id = sample_block(3, 40_000).id;
        commit(&store, vec![delete(3u64.to_be_bytes()), put("as a version", noise(3, 900), &[id])]).unwrap();
        for n in 0..30u64 {
            commit(&store, vec![delete((n * 3 + 4).to_be_bytes())]).unwrap();
        }
        let kept = back_up(&store, &mut archive, false).unwrap();
        assert_eq!(kept.blocks, 0, "the entry is new and its block is not");
        run(store.settle()).unwrap();
        let compacted = store.compact(0.0).unwrap();
        assert!(compacted.packs >= 2 && compacted.carried > 1 << 20, "{compacted:?}");
        let moved = back_up(&store, &mut archive, false).unwrap();
        assert_eq!((moved.blocks, moved.chunks), (0, 0));
        for (what, written) in [("full", &full), ("nothing", &nothing), ("small", &small), ("moved", &moved)]
        {
            eprintln!(
                "{what}: {} bytes, {} blocks, {} chunks",
                written.bytes, written.blocks, written.chunks
            );
        }
        assert!(nothing.bytes < 2_000 && moved.bytes < 2_000 && small.bytes < full.bytes / 20);
        let expected = contents(&store);
        assert_eq!(restored(&archive, moved.number, &folder.path().join("restored")), expected);

        // Of what is kept each is whole; what only older ones needed is gone with them.
        back_up(&store, &mut archive, true).unwrap();
        assert_eq!(archive.thin(1).unwrap(), 5);
        assert_eq!(restored(&archive, 6, &folder.path().join("thinned")), expected);
    }
}

#[test]
fn what_dies_and_is_compacted_while_a_snapshot_is_read_is_in_it_and_goes_afterwards() {
    let folder = fast_dir();
    let store = filled(&folder.path().join("data"));
    let expected = contents(&store);
    let mut archive = archive(&folder.path().join("backup"), false);
    let mut writer = archive.begin(false).unwrap();
    let ask = writer.ask();
    let snapshot = store.snapshot().unwrap();
    for n in 0..90u64 {
        commit(&store, vec![delete(n.to_be_bytes())]).unwrap();
    }
    run(store.settle()).unwrap();
    // A pack of nothing but the latest deletes may go; those that the snapshot reads are held.
    assert!(store.compact(0.1).unwrap().freed < 100_000, "its packs are held");
    let (mut decoder, mut written) = (Decoder::default(), None);
    let mut sink = |bytes: Vec<u8>| {
        decoder.feed(&bytes);
        while let Some(item) = decoder.take().unwrap() {
            written = writer.take(&item, 1, |_| {}).unwrap().or(written.take());
        }
        true
    };
    snapshot.send(&ask, None, &mut sink).unwrap();
    let written = written.unwrap();
    assert!(written.damage.is_empty(), "{:?}", written.damage);
    assert_eq!(restored(&archive, 1, &folder.path().join("restored")), expected);
    assert!(store.compact(0.1).unwrap().packs >= 2, "nobody holds them any more");
}

#[test]
fn blocks_that_die_and_come_back_between_two_backups_are_in_the_second() {
    let folder = fast_dir();
    let store = filled(&folder.path().join("data"));
    let mut archive = archive(&folder.path().join("backup"), false);
    commit(&store, vec![delete(1u64.to_be_bytes())]).unwrap();
    // Dead at the first, and live again at the second by a hit of deduplication.
    back_up(&store, &mut archive, false).unwrap();
    let id = sample_block(1, 40_000).id;
    commit(&store, vec![put("again", "alive", &[id])]).unwrap();
    // An upload that was under way at the first.
    let block = sample_block(900, 30_000);
    let late = block.id;
    let pins = run(store.append(vec![block])).unwrap();
    back_up(&store, &mut archive, false).unwrap();
    commit(&store, vec![put("late", "committed", &[late])]).unwrap();
    drop(pins);
    store.close().unwrap();
    // An index that is built anew does not know since when: everything is sent once more.
    fs::remove_dir_all(folder.path().join("data/index")).unwrap();
    let store = open_at(&folder.path().join("data"));
    let last = back_up(&store, &mut archive, false).unwrap();
    assert!(!last.is_full);
    let expected = contents(&store);
    assert!(expected.contains_key(&b"late"[..]) && expected.contains_key(&b"again"[..]));
    assert_eq!(restored(&archive, last.number, &folder.path().join("restored")), expected);
    let again = back_up(&store, &mut archive, false).unwrap();
    assert_eq!(again.blocks, 0, "once is enough");
}

#[test]
fn a_copy_that_went_its_own_way_is_backed_up_in_full_and_another_store_is_refused() {
    let folder = fast_dir();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    filled(&here).close().unwrap();
    let copied = std::process::Command::new("cp").arg("-r").args([&here, &there]).status().unwrap();
    assert!(copied.success());
    let (one, other) = (open_at(&here), open_at(&there));
    let mut archive = archive(&folder.path().join("backup"), false);
    commit(&one, vec![put("one", "here", &[])]).unwrap();
    back_up(&one, &mut archive, false).unwrap();
    let block = sample_block(5_000, 9_000);
    commit_with(&other, vec![put("other", "there", &[block.id])], vec![block]).unwrap();
    commit(&other, vec![put("more", "there", &[])]).unwrap();
    let forked = back_up(&other, &mut archive, false).unwrap();
    assert!(forked.is_full, "frames under the same numbers are not the same");
    assert_eq!(restored(&archive, forked.number, &folder.path().join("restored")), contents(&other));
    let stranger = filled(&folder.path().join("stranger"));
    for is_full in [false, true] {
        let refused = back_up(&stranger, &mut archive, is_full);
        assert!(matches!(refused, Err(BackupError::OtherStore { .. })), "{refused:?}");
    }
    assert_eq!(archive.numbers(), [1, 2]);
}

/// The files of a destination.
fn files(at: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(at).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn what_a_killed_backup_leaves_is_the_backup_before() {
    let folder = fast_dir();
    let store = filled(&folder.path().join("data"));
    let single = folder.path().join("single");
    let many = folder.path().join("many");
    back_up(&store, &mut archive(&single, true), false).unwrap();
    back_up(&store, &mut archive(&many, false), false).unwrap();
    let expected = contents(&store);
    let length = fs::metadata(&single).unwrap().len();
    let before = files(&many);
    for n in 300..310u64 {
        let block = sample_block(n, 40_000);
        commit_with(&store, vec![put(n.to_be_bytes(), "later", &[block.id])], vec![block]).unwrap();
    }
    back_up(&store, &mut archive(&single, true), false).unwrap();
    back_up(&store, &mut archive(&many, false), false).unwrap();
    let whole = fs::read(&single).unwrap();
    // A single file: cut off anywhere, or with bytes of which the head, which is written last, is not there yet.
    let heads: Vec<usize> =
        whole.windows(8).enumerate().filter(|found| found.1 == b"JSFSENT1").map(|found| found.0).collect();
    assert_eq!(heads.len(), 4, "two segments and two manifests");
    let cuts = (length..whole.len() as u64).step_by(whole.len() / 60).chain([whole.len() as u64 - 1]);
    for (round, cut) in cuts.enumerate() {
        let mut torn = whole[..usize::try_from(cut).unwrap()].to_vec();
        if round % 2 == 1 {
            let head = heads.iter().rfind(|head| **head as u64 + 200 <= cut).copied().unwrap();
            if head as u64 >= length {
                torn[head..head + 130].fill(0);
            }
        }
        fs::write(&single, &torn).unwrap();
        let reading = Archive::open(depot::open(&single, depot::Access::Read).unwrap()).unwrap();
        assert_eq!(reading.numbers(), [1], "cut at {cut}");
        let mut again = archive(&single, true);
        again.verify(1, &|_| {}, &mut |error| panic!("{error}")).unwrap();
        if round % 20 == 0 {
            assert_eq!(restored(&again, 1, &folder.path().join(format!("single-{round}"))), expected);
            let written = back_up(&store, &mut again, false).unwrap();
            assert_eq!((written.number, written.blocks), (2, 10));
        }
    }
    // A directory: with the files that were there before any of the later ones was, and half of one.
    let later: Vec<_> = files(&many).into_iter().filter(|file| !before.contains(file)).collect();
    assert_eq!(later.len(), 2, "a segment and a manifest");
    let manifest = later.iter().find(|file| file.to_string_lossy().contains("snapshot")).unwrap();
    let bytes = fs::read(manifest).unwrap();
    fs::write(manifest.with_extension("part"), &bytes[..bytes.len() / 2]).unwrap();
    fs::remove_file(manifest).unwrap();
    let mut again = archive(&many, false);
    assert_eq!(again.numbers(), [1]);
    assert_eq!(restored(&again, 1, &folder.path().join("many-1")), expected);
    let written = back_up(&store, &mut again, false).unwrap();
    assert_eq!((written.number, written.blocks), (2, 10));
    assert_eq!(files(&many).len(), before.len() + 2, "what was left over is gone");
    assert_eq!(restored(&again, 2, &folder.path().join("many-2")), contents(&store));
}

#[test]
fn a_restore_that_was_killed_is_no_store_and_is_begun_anew() {
    let folder = fast_dir();
    let store = filled(&folder.path().join("data"));
    let mut archive = archive(&folder.path().join("backup"), false);
    back_up(&store, &mut archive, false).unwrap();
    let at = folder.path().join("restored");
    let killed = restore(&archive, 1, &at, false, &|_| {}, |_| Err(std::io::Error::other("killed")));
    assert!(killed.is_err() && !at.join("store.json").exists());
    // Killed between any two moves into place.
    let unfinished = at.join(jsfs_store::backup::UNFINISHED);
    for moved in [&[][..], &["cut"], &["cut", "packs"]] {
        for name in moved {
            let _ = fs::rename(unfinished.join(name), at.join(name));
        }
        assert!(!at.join("store.json").exists());
        assert_eq!(restored(&archive, 1, &at), contents(&store));
        fs::remove_dir_all(&at).unwrap();
        restore(&archive, 1, &at, false, &|_| {}, |_| Err(std::io::Error::other("killed"))).unwrap_err();
    }
    fs::remove_dir_all(&at).unwrap();
    fs::create_dir_all(at.join("something")).unwrap();
    assert!(matches!(restore(&archive, 1, &at, false, &|_| {}, |_| Ok(())), Err(BackupError::NotEmpty(_))));
}

#[test]
fn a_flipped_bit_is_found_and_the_rest_is_restored_on_demand() {
    let folder = fast_dir();
    let store = filled(&folder.path().join("data"));
    let mut archive = archive(&folder.path().join("backup"), false);
    back_up(&store, &mut archive, false).unwrap();
    let expected = contents(&store);
    let files = files(&folder.path().join("backup"));
    for round in 0..40u64 {
        let draw = noise(round | 1 << 50, 9);
        let file = &files[usize::from(draw[0]) % files.len()];
        let good = fs::read(file).unwrap();
        let at =
            usize::try_from(u64::from_le_bytes(draw[1..9].try_into().unwrap()) % good.len() as u64).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1 << (round % 8);
        fs::write(file, &bad).unwrap();
        let mut found = 0;
        let verified = archive.verify(1, &|_| {}, &mut |_| found += 1);
        assert!(verified.is_err() || found > 0, "byte {at} of {}", file.display());
        let place = folder.path().join(format!("restored-{round}"));
        assert!(restore(&archive, 1, &place, false, &|_| {}, |_| Ok(())).is_err());
        if file.to_string_lossy().contains("segment") && round % 4 == 0 {
            let done = restore(&archive, 1, &place, true, &|_| {}, |_| Ok(())).unwrap();
            assert!(!done.damage.is_empty() && done.blocks >= 103);
            let rest = open_at(&place);
            let mut lost = 0;
            for row in rest.scan(T, ..) {
                let (key, entry) = row.unwrap();
                assert_eq!(expected[&key], entry.value);
                let missing = |id: &BlockId| matches!(rest.block(id), Err(ReadError::NotFound(_)));
                lost += entry.references.iter().filter(|id| missing(id)).count();
            }
            assert!(lost <= 1, "one bit is in one block");
        }
        fs::write(file, &good).unwrap();
    }
}
