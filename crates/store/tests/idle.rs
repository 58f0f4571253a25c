//! A store that has nothing to do does nothing. Alone in its process, so that the threads counted are its own.
#![allow(clippy::unwrap_used, reason = "a test program throughout")]

use jsfs_store::{Commit, Op, OpenOptions, Store, Table};
use std::time::Duration;

/// Clock ticks (mostly a hundredth of a second) that the store's threads have used.
fn ticks() -> u64 {
    let mut sum = 0;
    for thread in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(thread.path().join("stat")) else { continue };
        let (name, rest) = stat.rsplit_once(") ").unwrap();
        if name.contains("(jsfs-") {
            let fields: Vec<&str> = rest.split(' ').collect();
            sum += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    sum
}

#[test]
fn after_writing_its_index_a_store_rests() {
    let store = Store::open(OpenOptions::memory(64 << 20)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for number in 0..10_u8 {
        let value = vec![number; 1_000].into();
        let op = Op::Put { table: Table(1), key: vec![number], value, references: Vec::new() };
        runtime.block_on(store.commit(Commit { ops: vec![op], ..Commit::default() })).unwrap();
        runtime.block_on(store.settle()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    let before = ticks();
    std::thread::sleep(Duration::from_secs(1));
    let used = ticks() - before;
    assert!(used <= 20, "an idle store used {used} ticks of processor time in a second");
    store.close().unwrap();
}
