//! Verifying a store in use, mending it, and compaction under load.
//!
//! `JSFS_MAINTENANCE_SECONDS=600` makes the last two tests as long, half of it alone and half of it with maintenance, on the disk of `TMPDIR`; `JSFS_MAINTENANCE_SEED` chooses other places for damage.

#![allow(clippy::print_stdout, reason = "figures and seeds")]

use crate::{
    driver::fast_dir,
    support::{T, commit, commit_with, delete, noise, put, quiet, run, sample_block, sample_delta},
};
use jsfs_store::{
    BlockId, Commit, Finding, Observer, OpenOptions, Store, Unobserved, Verification,
    backend::{Backend, Faulty},
    block, check,
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

#[derive(Default)]
struct Heard {
    findings: Mutex<Vec<Finding>>,
    stop: AtomicBool,
}

impl Observer for Heard {
    fn progress(&self, _: u64, _: u64) {}

    fn found(&self, finding: &Finding) {
        self.findings.lock().unwrap().push(finding.clone());
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

const REPAIR: Verification =
    Verification { from: None, packs_max: 0, bytes_per_second: 0, is_repairing: true };

fn length() -> Duration {
    let seconds = std::env::var("JSFS_MAINTENANCE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// A small random generator whose seed is printed.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let seed = std::env::var("JSFS_MAINTENANCE_SEED").ok().and_then(|text| text.parse().ok());
        let seed: u64 = seed.unwrap_or(1);
        println!("JSFS_MAINTENANCE_SEED={seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

fn options(disks: &[Faulty]) -> OpenOptions {
    let locations = disks.iter().map(|disk| Arc::new(disk.clone()) as Arc<dyn Backend>).collect();
    quiet(OpenOptions::new(locations)).pack_max(64 << 10)
}

/// A block with its bytes, and how many entries need it.
struct Known {
    id: BlockId,
    bytes: Vec<u8>,
    needed_by: usize,
}

/// Fills a store with entries: of each three one has a block, the second a delta of it, the third one more.
fn fill(store: &Store) -> Vec<Known> {
    let mut blocks: Vec<Known> = Vec::new();
    for n in 0..120u64 {
        let base = sample_block(n - n % 3, 1_500);
        let own = match n % 3 {
            0 => base.clone(),
            1 => sample_delta(&base, n - 1, 1_500).0,
            _ => sample_block(n, 1_500),
        };
        blocks.push(Known { id: own.id, bytes: own.bytes.to_vec(), needed_by: 1 });
        let mut needs = vec![own.id];
        if n % 3 == 1 {
            needs.push(base.id);
            blocks[usize::try_from(n - 1).unwrap()].needed_by += 1;
        }
        commit_with(store, vec![put(n.to_be_bytes(), noise(n, 60), &needs)], vec![own]).unwrap();
        commit(store, vec![put(format!("plain {n}"), noise(n + 1_000, 200), &[])]).unwrap();
    }
    blocks
}

#[test]
fn damage_at_100_places_is_named_never_served_and_mended_where_it_is_known_elsewhere() {
    let disks = [Faulty::new(64 << 20), Faulty::new(64 << 20)];
    let store = Store::open(options(&disks)).unwrap();
    let blocks = fill(&store);
    run(store.settle()).unwrap();
    let whole = store.verify(REPAIR, &Unobserved).unwrap();
    assert_eq!((whole.damaged, whole.repaired, whole.index_differs), (0, 0, 0));
    let mut chance = Chance::new();
    let (mut repaired, mut blocks_lost, mut bases_lost) = (0, 0, 0);
    for round in 0..100 {
        let disk = &disks[usize::try_from(chance.below(2)).unwrap()];
        let packs = disk.packs().unwrap();
        let pack = packs[usize::try_from(chance.below(packs.len() as u64 - 1)).unwrap()];
        let before = disk.pack_bytes(pack);
        let offset = chance.below(before.len() as u64);
        let bit = u8::try_from(chance.below(8)).unwrap();
        disk.flip_bit(pack, offset, bit);
        let heard = Heard::default();
        let done = store.verify(REPAIR, &heard).unwrap();
        let findings = heard.findings.into_inner().unwrap();
        let here: Vec<_> =
            findings.iter().filter(|found| found.location == disk.describe() && found.pack == pack).collect();
        assert!(!here.is_empty(), "round {round}: pack {pack}, offset {offset}: {findings:#?}");
        for Known { id, bytes, .. } in &blocks {
            assert!(store.block(id).is_ok_and(|read| read == *bytes) || done.damaged > 0, "round {round}");
            if let Ok(read) = store.block(id) {
                assert_eq!(read, *bytes, "round {round}: damage was served");
            }
        }
        if done.damaged == 0 {
            assert_eq!(disk.pack_bytes(pack), before, "round {round}: mended otherwise than it was");
            repaired += 1;
        } else {
            // Only block bytes have no second copy: entries and frames go to both locations.
            let is_block = here.iter().any(|found| found.what.starts_with("block "));
            assert!(is_block, "round {round}: pack {pack}, offset {offset}: {findings:#?}");
            // Each entry that needs it is named: of a base that of its delta as well.
            let lost = blocks
                .iter()
                .find(|known| here.iter().any(|found| found.what.contains(&known.id.to_string())));
            let named = findings.iter().filter(|found| found.what.ends_with("needs a block that is damaged"));
            assert_eq!(
                Some(named.count()),
                lost.map(|known| known.needed_by),
                "round {round}: {findings:#?}"
            );
            blocks_lost += 1;
            bases_lost += usize::from(lost.is_some_and(|known| known.needed_by > 1));
            disk.flip_bit(pack, offset, bit);
            assert_eq!(disk.pack_bytes(pack), before);
        }
    }
    println!("{repaired} repaired, {blocks_lost} in blocks of which there was one copy");
    assert!(repaired > 10 && blocks_lost > 10 && bases_lost > 3, "{bases_lost} of them bases");
    let whole = store.verify(REPAIR, &Unobserved).unwrap();
    assert_eq!((whole.damaged, whole.repaired), (0, 0));
    store.close().unwrap();
    let report = check(&options(&disks)).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[test]
fn a_check_can_be_stopped_and_gone_on_with_pack_by_pack() {
    let disks = [Faulty::new(64 << 20)];
    let store = Store::open(options(&disks)).unwrap();
    fill(&store);
    let mut from = None;
    let mut packs = 0;
    loop {
        let how = Verification { from, packs_max: 1, ..Verification::default() };
        let done = store.verify(how, &Unobserved).unwrap();
        assert_eq!(done.damaged, 0);
        packs += done.packs;
        from = done.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(packs, store.stats().unwrap().locations[0].packs);
    let stopped = Heard::default();
    stopped.stop.store(true, Ordering::Relaxed);
    assert!(store.verify(REPAIR, &stopped).is_err());
}

/// How much longer a write may take while the store is maintained than the longest of the same run without that: figures, never asserted.
const STALL: Duration = Duration::from_millis(100);

/// How long commits took, in order.
struct Load(Vec<Duration>);

impl Load {
    fn longest(&self) -> Duration {
        self.0[self.0.len() - 1]
    }

    fn of_1000(&self, share: usize) -> Duration {
        self.0[(self.0.len() - 1) * share / 1_000]
    }

    fn longer_than(&self, time: Duration) -> usize {
        self.0.iter().filter(|took| **took > time).count()
    }
}

/// Writes from several threads for a while.
fn load(store: &Store, time: Duration, round: u64) -> Load {
    let begun = Instant::now();
    let times: Mutex<Vec<Duration>> = Mutex::default();
    thread::scope(|scope| {
        for writer in 0..4u64 {
            let times = &times;
            scope.spawn(move || {
                let mut own = Vec::new();
                let mut n = 0u64;
                while begun.elapsed() < time {
                    n += 1;
                    // Of each three one has a base of its own with a delta of it, the second that base alone.
                    let seed = round << 48 | writer << 40;
                    let base = sample_block(seed | (n - n % 3), 4_096);
                    let blocks = match n % 3 {
                        0 => vec![sample_delta(&base, seed | n, 4_096).0, base],
                        1 => vec![base],
                        _ => vec![sample_block(seed | n, 4_096)],
                    };
                    let ids: Vec<BlockId> = blocks.iter().map(|block| block.id).collect();
                    let key = [writer.to_be_bytes(), (n % 200).to_be_bytes()].concat();
                    let op = put(&key, ids[0].as_bytes().to_vec(), &ids);
                    let started = Instant::now();
                    commit_with(store, vec![op], blocks).unwrap();
                    own.push(started.elapsed());
                    if n.is_multiple_of(7) {
                        let gone = [writer.to_be_bytes(), ((n * 31) % 200).to_be_bytes()].concat();
                        run(store.commit(Commit { ops: vec![delete(gone)], ..Commit::default() })).unwrap();
                    }
                }
                times.lock().unwrap().extend(own);
            });
        }
    });
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    Load(times)
}

/// What every entry says that it refers to is there and right.
fn read_back(store: &Store) -> u64 {
    let (mut read, mut deltas) = (0, 0);
    for row in store.scan(T, ..) {
        let (_, entry) = row.unwrap();
        assert_eq!(entry.value, entry.references[0].as_bytes().as_slice());
        for id in &entry.references {
            let bytes = store.block(id).unwrap();
            assert_eq!(BlockId::of(&bytes), *id);
            if let Some(base) = block::base_of(&bytes) {
                let base = block::decode_clear(&store.block(&base).unwrap()).unwrap();
                block::decode_clear_delta(&bytes, &base).unwrap();
                deltas += 1;
            }
        }
        read += 1;
    }
    assert!(deltas > 20, "only {deltas} deltas");
    read
}

#[test]
fn compaction_under_load_loses_nothing_and_a_check_meanwhile_raises_no_alarm() {
    let time = length() / 2;
    // What is to say something of disks needs one; what is short needs none.
    let is_long = time >= Duration::from_secs(10);
    let directory = if is_long { tempfile::tempdir().unwrap() } else { fast_dir() };
    let pack_max = if is_long { 64 << 20 } else { 4 << 20 };
    let options = || quiet(OpenOptions::directory(directory.path(), &[]).unwrap()).pack_max(pack_max);
    let store = Store::open(options()).unwrap();
    let alone = load(&store, time, 1);
    let is_over = AtomicBool::new(false);
    let (mut packs, mut checks) = (0, 0);
    let busy = thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut packs = 0;
            while !is_over.load(Ordering::Relaxed) {
                packs += store.collect(0.1, &Unobserved).unwrap().packs;
                thread::sleep(Duration::from_millis(50));
            }
            packs
        });
        let checker = scope.spawn(|| {
            let mut checks = 0;
            while !is_over.load(Ordering::Relaxed) {
                let heard = Heard::default();
                let done = store.verify(Verification::default(), &heard).unwrap();
                let findings = heard.findings.into_inner().unwrap();
                assert_eq!((done.damaged, done.repaired), (0, 0), "false alarms: {findings:#?}");
                checks += 1;
            }
            checks
        });
        let times = load(&store, time, 2);
        is_over.store(true, Ordering::Relaxed);
        packs = collector.join().unwrap();
        checks = checker.join().unwrap();
        times
    });
    let stalls = busy.longer_than(alone.longest() + STALL);
    println!(
        "alone: {} commits, 99.9 % in {:?}, longest {:?}; with compaction and checks: {} commits, 99.9 % in {:?}, longest {:?}; \
         {stalls} took {STALL:?} longer than the longest alone; {packs} packs compacted, {checks} checks",
        alone.0.len(),
        alone.of_1000(999),
        alone.longest(),
        busy.0.len(),
        busy.of_1000(999),
        busy.longest(),
    );
    assert!(packs > 0 && checks > 0);
    assert!(read_back(&store) > 0);
    let would = store.collectable(0.1).unwrap();
    let done = store.collect(0.1, &Unobserved).unwrap();
    println!("computed {would:?}, did {done:?}");
    assert_eq!((would.packs, would.freed), (done.packs, done.freed));
    // Tombstones that nothing needs any more count as live until they are looked at.
    assert!(done.carried.abs_diff(would.carried) < would.carried / 50 + (64 << 10));
    let kept = read_back(&store);
    store.close().unwrap();
    let report = check(&options()).unwrap();
    assert!(report.is_clean() && report.is_index_compared, "{:#?}", report.findings);
    assert_eq!(read_back(&Store::open(options()).unwrap()), kept);
}
