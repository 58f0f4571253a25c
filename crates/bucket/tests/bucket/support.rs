//! Short words for what both do: commits, contents that do not compress, and waiting.

use jsfs_store::{Commit, NewBlock, Op, Store, Table, block};
use std::time::{Duration, Instant};

pub(crate) const T: Table = Table(7);
pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

pub(crate) fn sample(seed: u64) -> NewBlock {
    let mut plain = vec![0; 200_000];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut plain);
    NewBlock::new(block::encode_clear(&plain, block::LEVEL).unwrap(), Vec::new())
}

pub(crate) fn put(store: &Store, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let block = sample(seed);
        let op = Op::Put {
            table: T,
            key: seed.to_be_bytes().to_vec(),
            value: "v".into(),
            references: vec![block.id],
        };
        run(store.commit(Commit { ops: vec![op], blocks: vec![block], ..Commit::default() })).unwrap();
    }
}

pub(crate) fn has_all(store: &Store, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let block = sample(seed);
        assert!(store.get(T, &seed.to_be_bytes()).unwrap().is_some(), "{seed}");
        assert!(store.block(&block.id).unwrap() == block.bytes, "{seed}");
    }
}

pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
