//! A ROM has what was put into it, and nothing of one that is cut or has a flipped bit is believed.

use crate::support::{T, commit_with, get, list_block, open, put, run, sample_block};
use jsfs_store::{
    BlockId, Commit, OpenOptions, RomError, RomSize, RomWriter, Store,
    backup::{Decoder, Kind},
    open_rom,
};
use serde_json::json;
use std::{fs, path::Path};

/// A store with three entries, two of which share blocks; the third needs a list.
fn store() -> (Store, Vec<BlockId>) {
    let store = open(OpenOptions::memory(64 << 20));
    let blocks: Vec<_> = (0..6).map(|seed| sample_block(seed, 9_000)).collect();
    let ids: Vec<BlockId> = blocks.iter().map(|block| block.id).collect();
    let list = list_block(0, &ids[3..]);
    let listed = list.id;
    let fresh = blocks.into_iter().chain([list]).collect();
    let ops = vec![put("a", "one", &ids[..2]), put("b", "two", &ids[1..3]), put("c", "three", &[listed])];
    commit_with(&store, ops, fresh).unwrap();
    (store, ids)
}

/// Makes a ROM of these entries; `drop_last` leaves the last item out.
fn make(store: &Store, path: &Path, keys: &[&str], drop_last: bool) -> Result<Option<RomSize>, RomError> {
    let mut items = Vec::new();
    let mut sink = |bytes: Vec<u8>| {
        items.push(bytes);
        true
    };
    let mut parcel = store.parcel(json!({ "roots": keys }), &mut sink).unwrap();
    for key in keys {
        parcel.entry(T, key.as_bytes(), get(store, key).unwrap()).unwrap();
    }
    parcel.end().unwrap();
    let mut writer = RomWriter::create(path)?;
    let mut decoder = Decoder::default();
    let count = items.len() - usize::from(drop_last);
    items[..count].iter().for_each(|bytes| decoder.feed(bytes));
    let mut size = None;
    while let Some(item) = decoder.take().unwrap() {
        size = writer.take(&item)?;
        assert_eq!(size.is_some(), item.kind == Kind::End);
    }
    Ok(size)
}

#[test]
fn a_rom_has_its_entries_and_their_blocks_and_takes_no_writes() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.rom");
    let (store, ids) = store();
    let size = make(&store, &path, &["a", "c"], false).unwrap().unwrap();
    assert_eq!((size.entries, size.blocks, size.bytes), (2, 6, fs::metadata(&path).unwrap().len()));
    let before = fs::read(&path).unwrap();

    let (rom, about) = open_rom(&path).unwrap();
    assert_eq!(about, json!({ "roots": ["a", "c"] }));
    for key in ["a", "c"] {
        let (is, was) = (get(&rom, key).unwrap(), get(&store, key).unwrap());
        assert_eq!((is.value, is.references), (was.value, was.references));
    }
    assert!(get(&rom, "b").is_none() && !rom.has_block(&ids[2]).unwrap());
    for id in ids.iter().filter(|id| **id != ids[2]) {
        assert!(rom.block(id).unwrap() == store.block(id).unwrap());
    }
    let refused = run(rom.commit(Commit { ops: vec![put("d", "four", &[])], ..Commit::default() }));
    assert!(refused.unwrap_err().to_string().contains("ROM"));
    // Any number of readers.
    open_rom(&path).unwrap().0.close().unwrap();
    rom.close().unwrap();
    assert!(fs::read(&path).unwrap() == before, "reading has changed the file");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "something was left behind");
}

#[test]
fn a_rom_that_is_cut_longer_or_changed_anywhere_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.rom");
    make(&store().0, &path, &["a", "b", "c"], false).unwrap();
    let whole = fs::read(&path).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        let error = open_rom(&path).map(|_| ()).expect_err(what);
        assert!(
            matches!(error, RomError::Damaged { .. } | RomError::NoRom { .. } | RomError::Newer { .. }),
            "{what}: {error}"
        );
        assert!(error.to_string().contains("a.rom"), "{what}: {error}");
    };
    for length in [0, 7, 63, 64, 100, 4_095, 4_096, 4_300, whole.len() - 8, whole.len() - 1] {
        refused(&whole[..length], &format!("cut to {length}"));
    }
    refused(&[&whole[..], b"more"].concat(), "longer");
    let spread = (0..whole.len()).step_by(1_997);
    let telling = (0..80).step_by(3).chain(4_092..4_100).chain((whole.len() - 140..whole.len()).step_by(5));
    for at in telling.chain(spread) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        refused(&changed, &format!("a bit at {at}"));
    }
    fs::write(&path, &whole).unwrap();
    open_rom(&path).unwrap().0.close().unwrap();
}

#[test]
fn what_was_cut_off_makes_no_rom_and_leaves_what_was_there() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.rom");
    let (store, _) = store();
    assert!(make(&store, &path, &["a"], true).unwrap().is_none());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    make(&store, &path, &["a"], false).unwrap();
    make(&store, &path, &["b"], true).unwrap();
    let (rom, _) = open_rom(&path).unwrap();
    assert!(get(&rom, "a").is_some() && get(&rom, "b").is_none());
    rom.close().unwrap();
    let letter = place.path().join("letter");
    fs::write(&letter, "dear reader").unwrap();
    assert!(matches!(make(&store, &letter, &["a"], false), Err(RomError::NoRom { .. })));
    assert_eq!(fs::read(&letter).unwrap(), b"dear reader");
}
