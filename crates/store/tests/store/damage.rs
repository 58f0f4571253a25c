//! Damage is named and never served, wherever it is.

use crate::{
    driver::fast_dir,
    support::{
        T, commit, commit_with, delete, get, keys, list_block, noise, open, open_at, put, quiet, run,
        sample_block, sample_delta, sample_group, value,
    },
};
use jsfs_store::{
    BlockId, Commit, CommitError, OpenError, OpenOptions, ReadError, Store, WriteError,
    backend::{Backend, Faulty},
    check,
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// What a sample store was told, entries and blocks.
struct Sample {
    disk: Faulty,
    index: tempfile::TempDir,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    blocks: Vec<(BlockId, Vec<u8>)>,
}

impl Sample {
    /// A store with one pack in which every kind of frame lies, left as by a crash: with zeros allocated ahead.
    fn new() -> Self {
        let disk = Faulty::new(1 << 20);
        let index = fast_dir();
        let options =
            || quiet(OpenOptions::new(vec![Arc::new(disk.clone())])).index(index.path().join("index"));
        let mut store = Store::open(options()).unwrap();
        let (mut values, mut blocks) = (BTreeMap::new(), Vec::new());
        for n in 0..6u8 {
            if n == 3 {
                // The index knows the first half; the rest is replayed.
                store.close().unwrap();
                store = Store::open(options()).unwrap();
            }
            let block = if n < 2 { sample_block } else { sample_group }(n.into(), 300);
            let (delta, _) = sample_delta(&block, n.into(), 300);
            let list = list_block(0, &[block.id, delta.id]);
            let op = put([n], vec![n; 40], &[list.id]);
            values.insert(vec![n], vec![n; 40]);
            blocks.extend([&block, &delta, &list].map(|block| (block.id, block.bytes.to_vec())));
            if n % 2 == 0 {
                let pins = run(store.append(vec![block, delta])).unwrap();
                run(store.commit(Commit { ops: vec![op], blocks: vec![list], pins, ..Commit::default() }))
                    .unwrap();
            } else {
                commit_with(&store, vec![op], vec![block, delta, list]).unwrap();
            }
        }
        commit(&store, vec![put("gone", "x", &[])]).unwrap();
        commit(&store, vec![delete("gone")]).unwrap();
        let disk = disk.fork();
        let kept = fast_dir();
        copy(index.path(), kept.path());
        drop(store);
        Self { disk, index: kept, values, blocks }
    }

    /// The same with one bit flipped, and its options, with the index as it was or without.
    fn flipped(&self, offset: u64, bit: u8, has_index: bool) -> (Faulty, tempfile::TempDir) {
        let disk = self.disk.fork();
        disk.flip_bit(1, offset, bit);
        let index = fast_dir();
        if has_index {
            copy(self.index.path(), index.path());
        }
        (disk, index)
    }
}

fn options(disk: &Faulty, index: &Path) -> OpenOptions {
    quiet(OpenOptions::new(vec![Arc::new(disk.clone())])).index(index.join("index"))
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_flipped_bit_is_never_served_and_always_named() {
    let sample = Sample::new();
    let bytes = sample.disk.pack_bytes(1);
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    assert!(bytes.len() as u64 > used + 1_000, "zeros were allocated ahead");
    let (disk, index) = sample.flipped(u64::MAX, 0, true);
    let report = check(&options(&disk, index.path())).unwrap();
    assert!(report.is_clean() && report.is_index_compared, "{:#?}", report.findings);

    let step = if std::env::var_os("JSFS_LONG").is_some() { 1 } else { 37 };
    let mut outcomes = [0; 3];
    for offset in (0..used).step_by(step).chain([used + 8, used + 999, bytes.len() as u64 - 1]) {
        let bit = u8::try_from(offset % 8).unwrap();
        for has_index in [true, false] {
            let (disk, index) = sample.flipped(offset, bit, has_index);
            let options = options(&disk, index.path());
            let report = check(&options).unwrap();
            let named = report.findings.iter().find(|finding| finding.pack == 1);
            let named = named
                .unwrap_or_else(|| panic!("bit {bit} of byte {offset} is not named: {:#?}", report.findings));
            assert!(named.offset <= offset, "{named}");
            let Ok(store) = Store::open(options) else { continue };
            outcomes[usize::from(store.read_only().is_some())
                + usize::from(!store.opening().cuts.is_empty()) * 2] += 1;
            for row in store.scan(T, ..) {
                let (key, entry) = row.unwrap();
                let expected = sample.values.get(&key).map(|value| &value[..]);
                // Nothing shows that the last frame was ever acknowledged, so without it the entry that it deletes is back.
                let is_undeleted = key == b"gone" && entry.value == "x" && !store.opening().cuts.is_empty();
                let is_undeleted = is_undeleted || (key == b"gone" && store.read_only().is_some());
                assert!(expected == Some(&entry.value[..]) || is_undeleted, "byte {offset}");
            }
            for (id, expected) in &sample.blocks {
                match store.block(id) {
                    Ok(found) => assert_eq!(&found, expected, "byte {offset}"),
                    Err(ReadError::Damaged { .. } | ReadError::NotFound(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > 0), "opened, read-only and cut: {outcomes:?}");
}

#[test]
fn damage_below_what_was_acknowledged_stops_writes_and_leaves_reads() {
    let sample = Sample::new();
    // In the payload of the first frames; later frames say that it was durable.
    let (disk, index) = sample.flipped(700, 3, false);
    let store = Store::open(options(&disk, index.path())).unwrap();
    assert_eq!(store.opening().damage.len(), 1, "{:?}", store.opening());
    assert!(store.opening().cuts.is_empty());
    assert!(store.read_only().unwrap().contains("000000000001.pack"));
    let refused = commit(&store, vec![put("new", "x", &[])]).unwrap_err();
    assert!(matches!(refused, CommitError::Write(WriteError::ReadOnly(_))), "{refused}");
    assert_eq!(value(&store, [5]).unwrap(), [5; 40][..], "what lies beyond is there");
    assert!(store.block(&sample.blocks[10].0).is_ok());
    drop(store);
    // Nothing was changed: the next opening finds the same.
    let again = Store::open(options(&disk, index.path())).unwrap();
    assert_eq!(again.opening().damage.len(), 1);
    drop(again);
    disk.flip_bit(1, 700, 3);
    let repaired = Store::open(options(&disk, index.path())).unwrap();
    assert_eq!(repaired.read_only(), None);
    assert_eq!(keys(&repaired).len(), 6);
}

#[test]
fn what_the_index_knows_and_the_packs_lack_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    for n in 0..3u8 {
        commit(&store, vec![put([n], vec![n; 100], &[])]).unwrap();
    }
    store.close().unwrap();
    let pack = dir.path().join("packs/000000000001.pack");
    let bytes = std::fs::read(&pack).unwrap();
    std::fs::write(&pack, &bytes[..bytes.len() - 200]).unwrap();
    for _ in 0..2 {
        let store = open_at(dir.path());
        assert!(!store.opening().damage.is_empty(), "{:?}", store.opening());
        assert!(store.read_only().is_some());
        assert_eq!(value(&store, [0]).unwrap(), [0; 100][..]);
    }
    std::fs::write(&pack, &bytes).unwrap();
    assert_eq!(keys(&open_at(dir.path())).len(), 3);
    std::fs::remove_file(&pack).unwrap();
    let store = open_at(dir.path());
    assert!(
        store.opening().damage.iter().any(|finding| finding.pack == 1 || finding.what.contains("missing")),
        "{:?}",
        store.opening()
    );
    assert!(store.read_only().is_some());
}

#[test]
fn a_lost_pack_header_is_damage_and_nothing_is_written_over_it() {
    let sample = Sample::new();
    let (disk, index) = sample.flipped(20, 0, false);
    let store = Store::open(options(&disk, index.path())).unwrap();
    assert!(store.read_only().is_some());
    assert_eq!(store.opening().damage[0].offset, 0);
    drop(store);
    disk.flip_bit(1, 20, 0);
    let store = Store::open(options(&disk, index.path())).unwrap();
    assert_eq!(keys(&store).len(), 6);
}

#[test]
fn what_the_index_knows_to_be_newer_is_never_answered_with_an_older_version() {
    let dir = fast_dir();
    let path = dir.path();
    let small = || quiet(OpenOptions::directory(path, &[]).unwrap()).pack_max(16 << 10);
    let store = Store::open(small()).unwrap();
    let mut last = Vec::new();
    for round in 0..3u64 {
        for n in 0..20u8 {
            let block = sample_block(round * 100 + u64::from(n), 1_000);
            commit_with(
                &store,
                vec![put([n], vec![u8::try_from(round).unwrap(); 40], &[block.id])],
                vec![block.clone()],
            )
            .unwrap();
            last.truncate(usize::from(n) + 20 * usize::from(round < 2));
            last.push(block.id);
        }
    }
    store.close().unwrap();
    let mut packs: Vec<_> =
        std::fs::read_dir(path.join("packs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    packs.sort();
    let newest = packs.last().unwrap();
    let whole = std::fs::read(newest).unwrap();
    for kept in [0, 200, whole.len() / 2, whole.len() - 300] {
        match kept {
            0 => std::fs::remove_file(newest).unwrap(),
            kept => std::fs::write(newest, &whole[..kept]).unwrap(),
        }
        let store = Store::open(small()).unwrap();
        assert!(store.read_only().is_some(), "{kept}");
        for n in 0..20u8 {
            assert_eq!(value(&store, [n]).unwrap(), [2; 40][..], "{kept}: an older version of {n}");
        }
        let unread = last.iter().rev().take(20).filter(|id| store.block(id).is_err()).count();
        assert!(unread > 0, "{kept}: what is lost cannot be read");
        assert!(store.trouble().is_some());
        drop(store);
        std::fs::write(newest, &whole).unwrap();
    }
    let store = Store::open(small()).unwrap();
    assert_eq!((store.trouble(), store.opening().rebuilt.as_ref()), (None, None));
}

#[test]
fn a_store_whose_only_pack_has_lost_its_header_can_still_be_read() {
    let sample = Sample::new();
    for has_index in [true, false] {
        let (disk, index) = sample.flipped(30, 5, has_index);
        let store = Store::open(options(&disk, index.path())).unwrap();
        assert!(store.read_only().unwrap().contains("the header of a pack"), "{has_index}");
        for (key, expected) in &sample.values {
            assert_eq!(value(&store, key).unwrap(), expected[..], "{has_index}");
        }
        for (id, bytes) in &sample.blocks {
            assert_eq!(store.block(id).unwrap(), bytes[..], "{has_index}");
        }
    }
}

#[test]
fn the_last_write_of_a_store_that_was_closed_is_never_rolled_back() {
    let (disk, index) = (Faulty::new(1 << 20), fast_dir());
    let store = Store::open(options(&disk, index.path())).unwrap();
    for n in 0..3u8 {
        commit(&store, vec![put([n], vec![n; 100], &[])]).unwrap();
    }
    let end = disk.pack_bytes(1).iter().rposition(|byte| *byte != 0).unwrap() as u64;
    store.close().unwrap();
    let closed = disk.pack_bytes(1).len() as u64;
    assert!(closed > end && closed < end + 300, "an empty frame follows: {end} {closed}");
    for offset in [end - 50, end - 250] {
        let disk = disk.fork();
        disk.flip_bit(1, offset, 1);
        // As after a backup without the index was put back.
        let store = Store::open(options(&disk, fast_dir().path())).unwrap();
        assert_eq!(store.opening().cuts, [], "{offset}");
        assert!(store.read_only().is_some(), "{offset}");
    }
    // The frame that says so may be lost without harm.
    let torn = disk.fork();
    torn.flip_bit(1, closed - 60, 1);
    let store = Store::open(options(&torn, fast_dir().path())).unwrap();
    assert_eq!((store.read_only(), keys(&store).len(), store.opening().cuts.len()), (None, 3, 1));
    drop(store);
    // A store that is opened and closed again and again does not grow.
    for _ in 0..3 {
        Store::open(options(&disk, index.path())).unwrap().close().unwrap();
    }
    assert_eq!(disk.pack_bytes(1).len() as u64, closed);
    assert!(check(&options(&disk, index.path())).unwrap().is_clean());
}

#[test]
fn an_interrupted_creation_of_a_pack_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    commit(&store, vec![put("a", "1", &[])]).unwrap();
    store.close().unwrap();
    let first = std::fs::read(dir.path().join("packs/000000000001.pack")).unwrap();
    for part in [&[][..], &first[..100], &[0; 4_096][..]] {
        std::fs::write(dir.path().join("packs/000000000002.pack"), part).unwrap();
        let store = open_at(dir.path());
        assert_eq!(value(&store, "a").unwrap(), "1");
        assert_eq!(store.read_only(), None);
        commit(&store, vec![put("b", "2", &[])]).unwrap();
        store.close().unwrap();
    }
}

#[test]
fn a_torn_tail_is_cut_off_kept_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    commit(&store, vec![put("a", "1", &[])]).unwrap();
    store.close().unwrap();
    let pack = dir.path().join("packs/000000000001.pack");
    let whole = std::fs::read(&pack).unwrap();
    std::fs::write(&pack, [&whole[..], b"JSFSFRM1 and no more"].concat()).unwrap();
    let store = open_at(dir.path());
    assert_eq!(store.opening().cuts.len(), 1);
    assert_eq!((store.opening().cuts[0].offset, store.opening().cuts[0].bytes), (whole.len() as u64, 20));
    let cut = std::fs::read_dir(dir.path().join("cut")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read(cut).unwrap(), b"JSFSFRM1 and no more");
    commit(&store, vec![put("b", "2", &[])]).unwrap();
    store.close().unwrap();
    assert!(check(&quiet(OpenOptions::directory(dir.path(), &[]).unwrap())).unwrap().is_clean());
}

#[test]
fn content_cannot_pose_as_a_frame() {
    // A block whose bytes are a frame of another store that calls everything durable; the frame that has it is torn.
    let (victim, index) = (Faulty::new(1 << 20), fast_dir());
    let other = Faulty::new(1 << 20);
    let donor = open(OpenOptions::new(vec![Arc::new(other.clone())]));
    for n in 0..50u8 {
        commit(&donor, vec![put([n], "x", &[])]).unwrap();
    }
    let bytes = other.pack_bytes(1);
    let last = bytes.windows(8).rposition(|window| window == b"JSFSFRM1").unwrap();
    let store = Store::open(options(&victim, index.path())).unwrap();
    commit(&store, vec![put("a", "1", &[])]).unwrap();
    // Six bytes bring the fake frame to a multiple of eight, whatever precedes it: try all.
    let blocks: Vec<_> = (0..8)
        .map(|shift| {
            let plain = [&noise(1, 4_096 + shift)[..], &bytes[last..]].concat();
            jsfs_store::NewBlock::new(jsfs_store::block::encode_clear(&plain, 3).unwrap(), vec![])
        })
        .collect();
    let before = victim.pack_bytes(1).iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    let ids: Vec<_> = blocks.iter().map(|block| block.id).collect();
    commit_with(&store, vec![put("b", "2", &ids)], blocks).unwrap();
    let torn = victim.fork();
    drop(store);
    torn.flip_bit(1, before.next_multiple_of(8) + 3, 0);
    let store = Store::open(options(&torn, fast_dir().path())).unwrap();
    assert_eq!(store.opening().damage, []);
    assert_eq!(keys(&store), [b"a"]);
}

#[test]
fn a_second_copy_serves_where_the_first_is_damaged() {
    let disk = Faulty::new(1 << 20);
    let index = fast_dir();
    let block = sample_block(1, 1_000);
    let store = Store::open(options(&disk, index.path())).unwrap();
    commit_with(&store, vec![put("a", "1", &[block.id])], vec![block.clone()]).unwrap();
    store.close().unwrap();
    let at =
        disk.pack_bytes(1).windows(64).position(|window| window == &block.bytes[100..164]).unwrap() as u64;
    disk.flip_bit(1, at, 0);
    let store = Store::open(options(&disk, index.path())).unwrap();
    assert!(matches!(store.block(&block.id), Err(ReadError::Damaged { .. })));
    assert!(store.find_chunk(&block.tags[0].tag).unwrap().is_none(), "a hit does not inherit damage");
    // Stored again, it is written again, because no good copy is known.
    commit_with(&store, vec![put("b", "2", &[block.id])], vec![block.clone()]).unwrap();
    assert_eq!(store.block(&block.id).unwrap(), block.bytes);
    assert!(store.find_chunk(&block.tags[0].tag).unwrap().is_some());
    drop(store);
    let store = Store::open(options(&disk, index.path())).unwrap();
    assert_eq!(store.block(&block.id).unwrap(), block.bytes);
}

#[test]
fn a_damaged_index_is_never_believed() {
    let dir = fast_dir();
    let store = open_at(dir.path());
    for n in 0..200u32 {
        let block = sample_block(n.into(), 100);
        commit_with(&store, vec![put(n.to_be_bytes(), n.to_string(), &[block.id])], vec![block]).unwrap();
    }
    store.close().unwrap();
    let files: Vec<_> = walk(&dir.path().join("index"));
    assert!(!files.is_empty());
    for (n, file) in files.iter().cycle().take(files.len() * 8).enumerate() {
        let whole = std::fs::read(dir.path().join("index").join(file)).unwrap();
        if whole.is_empty() {
            continue;
        }
        let kept = fast_dir();
        copy(dir.path(), kept.path());
        let mut bytes = whole;
        let at = (n * 7_919) % bytes.len();
        bytes[at] ^= 1 << (n % 8);
        std::fs::write(kept.path().join("index").join(file), bytes).unwrap();
        for attempt in 0..2 {
            let store = open_at(kept.path());
            let mut is_sound = true;
            for n in 0..200u32 {
                match store.get(T, &n.to_be_bytes()) {
                    Ok(entry) => assert_eq!(entry.unwrap().value, n.to_string()),
                    Err(ReadError::Index(_)) => is_sound = false,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(is_sound || attempt == 0, "{}: the next opening rebuilds", file.display());
        }
    }
}

fn walk(root: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path).into_iter().map(|file| Path::new(path.file_name().unwrap()).join(file)));
        } else {
            files.push(path.file_name().unwrap().into());
        }
    }
    files
}

#[test]
fn a_pack_of_a_later_version_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    commit(&store, vec![put("a", "1", &[])]).unwrap();
    store.close().unwrap();
    let pack = dir.path().join("packs/000000000001.pack");
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[8] = 2;
    let hash = *blake3::hash(&bytes[..96]).as_bytes();
    bytes[96..128].copy_from_slice(&hash);
    std::fs::write(&pack, bytes).unwrap();
    let error = Store::open(quiet(OpenOptions::directory(dir.path(), &[]).unwrap())).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 2, .. }), "{error}");
}

#[test]
fn locations_in_another_order_or_number_are_refused() {
    let disks: Vec<Faulty> = (0..3).map(|_| Faulty::new(1 << 20)).collect();
    let backends = |order: &[usize]| {
        order.iter().map(|at| Arc::new(disks[*at].clone()) as Arc<dyn Backend>).collect::<Vec<_>>()
    };
    commit(&open(OpenOptions::new(backends(&[0, 1]))), vec![put("a", "1", &[])]).unwrap();
    for wrong in [&[1, 0][..], &[0], &[1], &[0, 1, 2]] {
        let error = Store::open(quiet(OpenOptions::new(backends(wrong)))).unwrap_err();
        assert!(matches!(error, OpenError::WrongLocation { .. }), "{wrong:?}: {error}");
    }
    assert_eq!(get(&open(OpenOptions::new(backends(&[0, 1]))), "a").unwrap().value, "1");
}
