//! Reading and writing when nothing goes wrong.

use crate::support::{
    T, commit, commit_with, delete, expect, get, keys, list_block, noise, open, open_at, put, run,
    sample_block, value,
};
use jsfs_store::{
    Commit, CommitError, KEY_MAX, NewBlock, Op, OpenError, OpenOptions, ReadError, Store, Table, WriteError,
    block,
};
use std::ops::Bound;

#[test]
fn what_was_committed_is_there_after_closing_and_opening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    assert!(store.opening().is_new);
    let block = sample_block(1, 100_000);
    let id = block.id;
    let committed =
        commit_with(&store, vec![put("a", "1", &[id]), put("b", "2", &[])], vec![block.clone()]).unwrap();
    store.close().unwrap();
    let store = open_at(dir.path());
    assert!(!store.opening().is_new);
    assert_eq!(store.opening().rebuilt, None);
    assert_eq!(store.opening().replayed, 0);
    let entry = get(&store, "a").unwrap();
    assert_eq!(
        (entry.sequence, entry.index, &entry.value[..], &entry.references[..]),
        (committed.sequence, 0, &b"1"[..], &[id][..])
    );
    assert_eq!(store.block(&id).unwrap(), block.bytes);
    assert_eq!(store.block_now(&id).unwrap(), Some(block.bytes));
    assert_eq!(keys(&store), [b"a", b"b"]);
}

#[test]
fn what_was_committed_is_there_when_the_process_ends_without_closing() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    for n in 0..50u64 {
        let block = sample_block(n, 5_000);
        commit_with(&store, vec![put(format!("k{n:02}"), "v", &[block.id])], vec![block]).unwrap();
    }
    copy_directory(dir.path(), copy.path());
    let again = open_at(copy.path());
    assert_eq!(again.opening().replayed, 50);
    assert_eq!(keys(&again), keys(&store));
    for n in 0..50 {
        again.block(&sample_block(n, 5_000).id).unwrap();
    }
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy_directory(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_commit_whose_expectation_fails_leaves_no_trace() {
    let store = open(OpenOptions::memory(64 << 20));
    let first = commit(&store, vec![put("a", "1", &[])]).unwrap();
    let try_with = |sequence, ops| {
        run(store.commit(Commit { expect: vec![expect("a", sequence)], ops, ..Commit::default() }))
    };
    for wrong in [0, first.sequence + 1] {
        match try_with(wrong, vec![put("a", "2", &[]), put("b", "2", &[])]) {
            Err(CommitError::Conflict { found, .. }) => assert_eq!(found, first.sequence),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(value(&store, "a").unwrap(), "1");
    assert_eq!(keys(&store), [b"a"]);
    let second = try_with(first.sequence, vec![delete("a")]).unwrap();
    assert!(second.sequence > first.sequence);
    assert_eq!(get(&store, "a"), None);
    try_with(0, vec![put("a", "3", &[])]).unwrap();
}

#[test]
fn of_writers_that_race_for_one_entry_exactly_one_wins() {
    let store = open(OpenOptions::memory(64 << 20));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|n: u32| {
            let store = store.clone();
            let ops = vec![put("a", n.to_string(), &[])];
            runtime.spawn(async move {
                store.commit(Commit { expect: vec![expect("a", 0)], ops, ..Commit::default() }).await
            })
        })
        .collect();
    let won = tasks
        .into_iter()
        .filter(|_| true)
        .map(|task| runtime.block_on(task).unwrap())
        .filter(Result::is_ok)
        .count();
    assert_eq!(won, 1);
}

#[test]
fn counters_add_up_and_stop_at_their_ceiling() {
    let store = open(OpenOptions::memory(64 << 20));
    let add = |delta, at_most| {
        commit(
            &store,
            vec![put("x", "side effect", &[]), Op::Add { table: T, key: b"n".to_vec(), delta, at_most }],
        )
    };
    let read = || u64::from_le_bytes(value(&store, "n").unwrap()[..].try_into().unwrap());
    add(5, Some(10)).unwrap();
    add(5, Some(10)).unwrap();
    assert_eq!(read(), 10);
    let before = get(&store, "x").unwrap().sequence;
    match add(1, Some(10)) {
        Err(CommitError::Exceeded { current: 10, at_most: 10, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(get(&store, "x").unwrap().sequence, before, "a refused commit changes nothing");
    // Over the ceiling already: less is always allowed.
    add(-3, Some(1)).unwrap();
    assert_eq!(read(), 7);
    add(-100, None).unwrap();
    assert_eq!(read(), 0);
    let twice = vec![Op::Add { table: T, key: b"n".to_vec(), delta: 2, at_most: None }; 2];
    commit(&store, twice).unwrap();
    assert_eq!(read(), 4);
    commit(&store, vec![put("text", "no counter", &[])]).unwrap();
    let bad = commit(&store, vec![Op::Add { table: T, key: b"text".to_vec(), delta: 1, at_most: None }]);
    assert!(matches!(bad, Err(CommitError::Invalid(_))));
}

#[test]
fn appended_keys_come_in_the_order_of_commits() {
    let store = open(OpenOptions::memory(64 << 20));
    let append =
        |value: &str| Op::Append { table: T, prefix: b"log/".to_vec(), value: value.to_owned().into() };
    let sequences: Vec<u64> =
        ["a", "b", "c"].map(|text| commit(&store, vec![append(text)]).unwrap().sequence).to_vec();
    let rows: Vec<_> = store.scan(T, ..).map(Result::unwrap).collect();
    let values: Vec<_> = rows.iter().map(|(_, entry)| &entry.value[..]).collect();
    assert_eq!(values, [b"a", b"b", b"c"]);
    assert_eq!(rows[1].0, [&b"log/"[..], &sequences[1].to_be_bytes(), &[0; 4]].concat());
    commit(&store, vec![append("d"), append("e")]).unwrap();
    let values: Vec<_> = store.scan(T, ..).map(|row| row.unwrap().1.value).collect();
    assert_eq!(values, ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_scan_shows_one_moment_from_both_ends() {
    let store = open(OpenOptions::memory(64 << 20));
    for n in 0..100 {
        commit(&store, vec![put(format!("{n:03}"), "old", &[])]).unwrap();
    }
    let mut scan = store.scan(T, b"010".to_vec()..b"020".to_vec());
    commit(&store, (0..100).map(|n| put(format!("{n:03}"), "new", &[])).collect()).unwrap();
    commit(&store, vec![put("0105", "new", &[]), delete("015")]).unwrap();
    assert_eq!(scan.next_back().unwrap().unwrap().0, b"019");
    let rest: Vec<_> = scan.map(Result::unwrap).collect();
    assert_eq!(rest.len(), 9);
    assert!(rest.iter().all(|(_, entry)| &entry.value[..] == b"old"));
    let count = |from, to| store.scan(T, (from, to)).count();
    assert_eq!(count(Bound::Excluded(b"098".to_vec()), Bound::Unbounded), 1);
    assert_eq!(count(Bound::Included(b"5".to_vec()), Bound::Excluded(b"1".to_vec())), 0);
    assert_eq!(count(Bound::Excluded(b"001".to_vec()), Bound::Excluded(b"001".to_vec())), 0);
    assert_eq!(store.scan(Table(T.0 + 1), ..).count(), 0);
    commit(
        &store,
        vec![Op::Put { table: Table(255), key: vec![255], value: "last".into(), references: vec![] }],
    )
    .unwrap();
    assert_eq!(store.scan(Table(255), ..).count(), 1);
}

#[test]
fn appended_blocks_are_found_by_their_tags_before_and_after_the_commit() {
    let store = open(OpenOptions::memory(64 << 20));
    let block = sample_block(1, 50_000);
    let pins = run(store.append(vec![block.clone()])).unwrap();
    assert_eq!(store.block(&block.id).unwrap(), block.bytes);
    let found = store.find_chunk(&block.tags[0].tag).unwrap().unwrap();
    assert_eq!(
        (found.block, found.offset, found.len, &found.extra[..]),
        (block.id, 0, 50_000, &[1, 2, 3][..])
    );
    run(store.commit(Commit { ops: vec![put("a", "1", &[block.id])], pins, ..Commit::default() })).unwrap();
    assert!(store.find_chunk(&block.tags[0].tag).unwrap().is_some());
    assert!(store.find_chunk(&[9; 32]).unwrap().is_none());
}

#[test]
fn a_commit_that_refers_to_a_missing_block_is_refused() {
    let store = open(OpenOptions::memory(64 << 20));
    let (here, missing) = (sample_block(1, 1_000), sample_block(2, 1_000));
    let refused = commit_with(&store, vec![put("a", "1", &[here.id, missing.id])], vec![here.clone()]);
    assert!(matches!(refused, Err(CommitError::MissingBlock(id)) if id == missing.id));
    assert!(matches!(store.block(&here.id), Err(ReadError::NotFound(_))), "no trace");
    let list = list_block(0, &[here.id, missing.id]);
    let refused = commit_with(&store, vec![put("a", "1", &[list.id])], vec![here.clone(), list.clone()]);
    assert!(matches!(refused, Err(CommitError::MissingBlock(id)) if id == missing.id));
    commit_with(&store, vec![put("a", "1", &[list.id])], vec![here, missing, list]).unwrap();
}

#[test]
fn what_the_format_does_not_hold_is_refused() {
    let store = open(OpenOptions::memory(64 << 20));
    assert!(matches!(commit(&store, vec![put("", "", &[])]), Err(CommitError::Invalid(_))));
    let too_large = |op| matches!(commit(&store, vec![op]), Err(CommitError::Write(WriteError::TooLarge(_))));
    assert!(too_large(put(vec![0; KEY_MAX + 1], "", &[])));
    assert!(too_large(put("k", vec![0; (1 << 20) + 1], &[])));
    assert!(too_large(put("k", "", &vec![sample_block(1, 1).id; 2_049])));
    commit(&store, vec![put(vec![0; KEY_MAX], vec![0; 1 << 20], &[])]).unwrap();
    let huge = NewBlock::new(
        [block::header(block::Kind::Clear).as_slice(), &noise(1, 1 << 21)].concat().into(),
        vec![],
    );
    assert!(matches!(run(store.append(vec![huge])), Err(WriteError::TooLarge(_))));
    let unknown = NewBlock::new(vec![1, 9, 0].into(), vec![]);
    assert!(matches!(run(store.append(vec![unknown])), Err(WriteError::BadBlock { .. })));
}

#[test]
fn a_directory_in_use_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    let error = Store::open(OpenOptions::directory(dir.path(), &[]).unwrap()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(error.to_string().contains("is in use by another process"), "{error}");
    store.close().unwrap();
    open_at(dir.path());
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("store.json"),
        r#"{"format":4,"written_by":"jsfs 6.1.0","shape":"unknown"}"#,
    )
    .unwrap();
    let error = Store::open(OpenOptions::directory(dir.path(), &[]).unwrap()).unwrap_err();
    assert!(error.to_string().contains("format 4, written by jsfs 6.1.0"), "{error}");
}

#[test]
fn packs_without_store_json_are_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    commit(&store, vec![put("a", "1", &[])]).unwrap();
    store.close().unwrap();
    let path = dir.path().join("store.json");
    let json = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = Store::open(OpenOptions::directory(dir.path(), &[]).unwrap()).unwrap_err();
    assert!(error.to_string().contains(&json), "{error}");
    std::fs::write(&path, json).unwrap();
    assert_eq!(value(&open_at(dir.path()), "a").unwrap(), "1");
}

#[test]
fn the_index_may_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    let block = sample_block(3, 10_000);
    commit_with(&store, vec![put("a", "1", &[block.id]), put("b", "1", &[])], vec![block.clone()]).unwrap();
    commit(&store, vec![delete("b"), put("a", "2", &[block.id])]).unwrap();
    store.close().unwrap();
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let store = open_at(dir.path());
    assert!(store.opening().rebuilt.is_some());
    assert_eq!(value(&store, "a").unwrap(), "2");
    assert_eq!(keys(&store), [b"a"]);
    assert_eq!(store.block(&block.id).unwrap(), block.bytes);
}

#[test]
fn a_closed_store_says_so() {
    let store = open(OpenOptions::memory(64 << 20));
    let other = store.clone();
    store.close().unwrap();
    assert!(matches!(commit(&other, vec![put("a", "1", &[])]), Err(CommitError::Write(WriteError::Closed))));
}

/// Whoever has seen one thing of a commit sees all of it, while the committer is still at work and the index is written to tables.
#[test]
fn readers_see_a_commit_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    let names: Vec<String> = (0..64).map(|n| format!("k{n:02}")).collect();
    let round_of = |name: &str| get(&store, name).map_or(0, |entry| number(&entry.value));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..=200_u64 {
                let block = sample_block(round, 200);
                let ops = names.iter().map(|name| put(name, round.to_string(), &[block.id])).collect();
                commit_with(&store, ops, vec![block]).unwrap();
                if round % 40 == 0 {
                    run(store.settle()).unwrap();
                }
            }
        });
        while !writer.is_finished() {
            let first = round_of(&names[0]);
            assert!(round_of(&names[63]) >= first, "a part of commit {first}");
            if let Some(entry) = get(&store, &names[0]) {
                store.block(&entry.references[0]).unwrap();
            }
        }
    });
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}
