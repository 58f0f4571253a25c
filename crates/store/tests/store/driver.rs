//! Drives a store and a model of it side by side, by steps that proptest makes up.

use crate::support::{T, list_block, quiet, run, sample_block, sample_delta, sample_group};
use bytes::Bytes;
use jsfs_store::{
    BlockId, Commit, CommitError, NewBlock, Op, OpenOptions, Pin, Store, WriteError, backend::Backend, block,
    check,
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Something that is done to the store.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Two entries at once, with their own blocks, or with blocks below a list.
    Put {
        key: u8,
        seeds: Vec<u8>,
        is_list: bool,
    },
    Delete {
        key: u8,
    },
    Add {
        key: u8,
        delta: i8,
    },
    /// Blocks ahead of the next put, which then refers to them too.
    Append {
        seeds: Vec<u8>,
    },
    /// Several commits at once.
    Together {
        keys: Vec<u8>,
    },
    Settle,
    Compact,
    Reopen,
    LoseIndex,
}

pub(crate) fn steps(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let seeds = || prop::collection::vec(0u8..24, 0..4);
    let key = || 0u8..12;
    let step = prop_oneof![
        8 => (key(), seeds(), any::<bool>()).prop_map(|(key, seeds, is_list)| Step::Put { key, seeds, is_list }),
        4 => key().prop_map(|key| Step::Delete { key }),
        2 => (key(), any::<i8>()).prop_map(|(key, delta)| Step::Add { key, delta }),
        3 => seeds().prop_map(|seeds| Step::Append { seeds }),
        2 => prop::collection::vec(key(), 1..6).prop_map(|keys| Step::Together { keys }),
        2 => Just(Step::Settle),
        3 => Just(Step::Compact),
        1 => Just(Step::Reopen),
        1 => Just(Step::LoseIndex),
    ];
    prop::collection::vec(step, length)
}

/// What an entry should be: its value and the blocks that can be reached from it.
type Content = (Bytes, Vec<BlockId>);
type Model = BTreeMap<Vec<u8>, Content>;
/// What a commit makes of keys.
type Changes = Vec<(Vec<u8>, Option<Content>)>;

pub(crate) struct Driver {
    pub(crate) store: Option<Store>,
    disks: Vec<Arc<dyn Backend>>,
    index: PathBuf,
    copies: usize,
    pack_max: u64,
    pub(crate) model: Model,
    /// What a commit would have made of entries whose answer never came.
    doubt: HashMap<Vec<u8>, Option<Content>>,
    known: HashMap<BlockId, NewBlock>,
    /// What deltas hold.
    plain: HashMap<BlockId, Vec<u8>>,
    /// Deltas that were read and found to be whole.
    pub(crate) deltas: usize,
    ahead: Vec<(BlockId, Pin)>,
    counter: u64,
}

/// The power is off.
pub(crate) struct Off;

impl Driver {
    pub(crate) fn new(disks: Vec<Arc<dyn Backend>>, copies: usize, index: &Path) -> Self {
        let mut driver = Self {
            copies,
            store: None,
            disks,
            index: index.to_owned(),
            pack_max: 48 << 10,
            model: Model::new(),
            doubt: HashMap::new(),
            known: HashMap::new(),
            plain: HashMap::new(),
            deltas: 0,
            ahead: Vec::new(),
            counter: 0,
        };
        driver.open().unwrap();
        driver
    }

    pub(crate) fn options(&self) -> OpenOptions {
        quiet(OpenOptions::new(self.disks.clone()))
            .index(&self.index)
            .pack_max(self.pack_max)
            .copies(self.copies)
    }

    pub(crate) fn open(&mut self) -> Result<(), jsfs_store::OpenError> {
        self.store = Some(Store::open(self.options())?);
        Ok(())
    }

    /// Goes on with other disks, as after a power loss.
    pub(crate) fn plug_in(&mut self, disks: Vec<Arc<dyn Backend>>) {
        self.ahead.clear();
        self.store = None;
        self.disks = disks;
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// The blocks of seeds: of each three one has a block of one chunk, one of several, and one a delta of either, after its base.
    fn blocks(&mut self, seeds: &[u8]) -> Vec<NewBlock> {
        let whole = |seed: u8| {
            let length = 200 + usize::from(seed) * 300;
            let block = if seed % 3 == 1 { sample_group } else { sample_block };
            (block(seed.into(), length), length)
        };
        let mut blocks = Vec::new();
        for seed in seeds {
            if seed % 3 < 2 {
                blocks.push(whole(*seed).0);
                continue;
            }
            let base = seed - 1 - seed % 2;
            let (block, length) = whole(base);
            let (delta, plain) = sample_delta(&block, base.into(), length);
            self.plain.insert(delta.id, plain);
            blocks.extend([block, delta]);
        }
        self.known.extend(blocks.iter().map(|block| (block.id, block.clone())));
        blocks
    }

    fn value(&mut self) -> Bytes {
        self.counter += 1;
        format!("value {}", self.counter).into()
    }

    pub(crate) fn step(&mut self, step: &Step) -> Result<(), Off> {
        match step {
            Step::Put { key, seeds, is_list } => self.put(*key, seeds, *is_list),
            Step::Delete { key } => {
                let (a, b) = pair(*key);
                let ops = [&a, &b].map(|key| Op::Delete { table: T, key: key.clone() }).to_vec();
                self.commit(Commit { ops, ..Commit::default() }, vec![(a, None), (b, None)])
            }
            Step::Add { key, delta } => self.add(*key, (*delta).into()),
            Step::Append { seeds } => {
                let blocks = self.blocks(seeds);
                let ids = ids(&blocks);
                let pins = run(self.store().append(blocks)).map_err(|error| off(&error.into()))?;
                self.ahead.extend(ids.into_iter().zip(pins));
                Ok(())
            }
            Step::Together { keys } => self.together(keys),
            Step::Settle => run(self.store().settle()).map_err(|error| off(&error.into())),
            Step::Compact => self.store().compact(0.05).map(drop).map_err(|_| Off),
            Step::Reopen | Step::LoseIndex => {
                self.ahead.clear();
                self.store.take().unwrap().close().map_err(|error| off(&error.into()))?;
                if matches!(step, Step::LoseIndex) {
                    std::fs::remove_dir_all(&self.index).unwrap();
                }
                self.open().map_err(|_| Off)
            }
        }
    }

    fn put(&mut self, key: u8, seeds: &[u8], is_list: bool) -> Result<(), Off> {
        let mut blocks = self.blocks(seeds);
        let mut reachable = ids(&blocks);
        let ahead = std::mem::take(&mut self.ahead);
        reachable.extend(ahead.iter().map(|(id, _)| *id));
        let mut references = reachable.clone();
        if is_list && !reachable.is_empty() {
            let lower = list_block(0, &reachable);
            let upper = list_block(1, &[lower.id]);
            references = vec![upper.id];
            reachable.extend([lower.id, upper.id]);
            blocks.extend([lower, upper]);
        }
        for block in &blocks {
            self.known.insert(block.id, block.clone());
        }
        let (value, (a, b)) = (self.value(), pair(key));
        let put = |key: &Vec<u8>| Op::Put {
            table: T,
            key: key.clone(),
            value: value.clone(),
            references: references.clone(),
        };
        let ops = vec![put(&a), put(&b)];
        let pins = ahead.into_iter().map(|(_, pin)| pin).collect();
        let new = Some((value.clone(), reachable));
        self.commit(Commit { ops, blocks, pins, ..Commit::default() }, vec![(a, new.clone()), (b, new)])
    }

    fn add(&mut self, key: u8, delta: i64) -> Result<(), Off> {
        let key = vec![b'n', key];
        let current =
            self.model.get(&key).map_or(0, |(value, _)| u64::from_le_bytes(value[..].try_into().unwrap()));
        let value = Bytes::copy_from_slice(&current.saturating_add_signed(delta).to_le_bytes());
        let ops = vec![Op::Add { table: T, key: key.clone(), delta, at_most: None }];
        self.commit(Commit { ops, ..Commit::default() }, vec![(key, Some((value, Vec::new())))])
    }

    fn together(&mut self, keys: &[u8]) -> Result<(), Off> {
        let mut keys: Vec<u8> = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let changes: Vec<_> =
            keys.iter().map(|key| (pair(*key).0, self.value(), self.blocks(&[*key]))).collect();
        let store = self.store().clone();
        let results = run(async {
            let mut set = tokio::task::JoinSet::new();
            for (at, (key, value, blocks)) in changes.iter().cloned().enumerate() {
                let store = store.clone();
                set.spawn(async move {
                    let references = ids(&blocks);
                    let ops = vec![Op::Put { table: T, key, value, references }];
                    (at, store.commit(Commit { ops, blocks, ..Commit::default() }).await)
                });
            }
            set.join_all().await
        });
        let mut outcome = Ok(());
        for (at, result) in results {
            let (key, value, blocks) = &changes[at];
            let new = Some((value.clone(), ids(blocks)));
            match result {
                Ok(_) => self.apply(vec![(key.clone(), new)]),
                Err(error) => {
                    self.doubt.insert(key.clone(), new);
                    outcome = Err(off(&error));
                }
            }
        }
        outcome
    }

    fn commit(&mut self, commit: Commit, changes: Changes) -> Result<(), Off> {
        match run(self.store().commit(commit)) {
            Ok(_) => {
                self.apply(changes);
                Ok(())
            }
            Err(error) => {
                self.doubt.extend(changes);
                Err(off(&error))
            }
        }
    }

    fn apply(&mut self, changes: Changes) {
        for (key, new) in changes {
            match new {
                Some(new) => drop(self.model.insert(key, new)),
                None => drop(self.model.remove(&key)),
            }
        }
    }

    /// The store holds what the model says. What is in doubt may be there or not, and then is settled; a pair is never half there.
    pub(crate) fn verify(&mut self) {
        let store = self.store().clone();
        let found: BTreeMap<Vec<u8>, _> = store.scan(T, ..).map(Result::unwrap).collect();
        for (key, new) in std::mem::take(&mut self.doubt) {
            let entry = found.get(&key).map(|entry| &entry.value);
            if entry == new.as_ref().map(|(value, _)| value) {
                self.apply(vec![(key, new)]);
            }
        }
        for (key, (value, reachable)) in &self.model {
            let entry = found.get(key).unwrap_or_else(|| panic!("lost {}", key.escape_ascii()));
            assert_eq!(&entry.value, value, "{}", key.escape_ascii());
            for id in reachable {
                let bytes = store.block(id).unwrap_or_else(|error| panic!("{}: {error}", key.escape_ascii()));
                assert_eq!(bytes, self.known[id].bytes);
                self.deltas += usize::from(self.plain.contains_key(id));
            }
            for id in reachable {
                self.check_tags(&store, id);
            }
        }
        let made = store.make_copies().unwrap();
        assert_eq!(
            made,
            jsfs_store::Filled::default(),
            "acknowledged with fewer copies than there are to be"
        );
        let extra: Vec<_> = found
            .keys()
            .filter(|key| !self.model.contains_key(*key))
            .map(|key| key.escape_ascii().to_string())
            .collect();
        assert!(extra.is_empty(), "came back: {extra:?}");
    }

    /// Each chunk of a block that lives is found where it lies, with what that is a delta of; and a delta gives what it was made of.
    fn check_tags(&self, store: &Store, id: &BlockId) {
        let NewBlock { bytes, tags, .. } = &self.known[id];
        let base = block::base_of(bytes);
        for tag in tags.iter().filter(|tag| tag.len > 0) {
            let found =
                store.find_chunk(&tag.tag).unwrap().unwrap_or_else(|| panic!("a chunk of {id} is not found"));
            assert_eq!((found.block, found.offset, found.len), (*id, tag.offset, tag.len));
            assert_eq!(found.base.map(|pin| pin.block()), base);
        }
        if let Some(base) = base {
            let base = block::decode_clear(&store.block(&base).unwrap()).unwrap();
            assert_eq!(block::decode_clear_delta(bytes, &base).unwrap(), self.plain[id]);
        }
    }

    /// Closes the store, checks every byte and opens it again.
    pub(crate) fn verify_on_disk(&mut self) {
        self.ahead.clear();
        self.store.take().unwrap().close().unwrap();
        let report = check(&self.options()).unwrap();
        assert!(report.is_clean(), "{:#?}", report.findings);
        assert!(report.is_index_compared);
        self.open().unwrap();
        self.verify();
    }
}

fn ids(blocks: &[NewBlock]) -> Vec<BlockId> {
    blocks.iter().map(|block| block.id).collect()
}

/// The two keys that a put sets and a delete removes together.
fn pair(key: u8) -> (Vec<u8>, Vec<u8>) {
    (vec![b'a', key], vec![b'b', key])
}

/// Any failure but that of a disk without power is the store's fault.
fn off(error: &CommitError) -> Off {
    match error {
        CommitError::Write(WriteError::Io(_) | WriteError::ReadOnly(_) | WriteError::Closed) => Off,
        error => panic!("{error:?}"),
    }
}

/// A fast place for indexes.
pub(crate) fn fast_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
