//! A directory that is cut while others remember it: nodes of this process over loopback, each of which takes few entries at one home.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that fails says where")]

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use jsfs_federation::blockstore::Patience;
use jsfs_federation::membership::{PeerId, Roles};
use jsfs_federation::metastore::{Home, Limits, Outcome, Writing, Written};
use jsfs_objects::clock::{Clock, HybridTime, SystemClock, SystemRandom};
use jsfs_objects::key::{Keys, Seed, SigningKey};
use jsfs_objects::read_key::{Group, Locator};
use jsfs_objects::record::{Envelope, Kind, Record, RecordHash, SignKey};
use jsfs_peer::{Blocks, Invitee, Kept, Node, Options, Reading, parse_address};
use jsfs_store::{BlockId, OpenOptions, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Keeps no blocks.
struct Nothing;

impl Blocks for Nothing {
    fn have(&self, ids: Vec<BlockId>) -> BoxFuture<'_, Vec<bool>> {
        Box::pin(ready(vec![false; ids.len()]))
    }

    fn get(&self, _: BlockId) -> BoxFuture<'_, Option<Bytes>> {
        Box::pin(ready(None))
    }

    fn keep(&self, _: PeerId, _: Vec<(BlockId, Bytes)>, _: u64) -> Kept<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn pin(&self, _: PeerId, ids: Vec<BlockId>, _: u64) -> Kept<'_, Vec<bool>> {
        Box::pin(ready(Ok(vec![false; ids.len()])))
    }

    fn unpin(&self, _: PeerId, ids: Vec<BlockId>) -> Kept<'_, Vec<bool>> {
        Box::pin(ready(Ok(vec![false; ids.len()])))
    }
}

const NODES: u8 = 6;
const ENTRIES: usize = 8;

fn key(number: u8) -> SigningKey {
    SigningKey::from_secret(&[number; 32])
}

fn node(number: u8, data: &std::path::Path) -> Node {
    Node::start(Options {
        data: data.to_owned(),
        key: key(number),
        listen: vec![parse_address("/ip4/127.0.0.1/tcp/0").unwrap()],
        announce: Vec::new(),
        blocks: Arc::new(Nothing),
        patience: Patience::default(),
        store: Store::open(OpenOptions::directory(data, &[]).unwrap()).unwrap(),
        away_after: Duration::from_secs(60),
        limits: Limits { entries: ENTRIES, ..Limits::default() },
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    })
    .unwrap()
}

async fn soon(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn group() -> Group {
    Group::from_bytes([7; 32])
}

fn locator(number: u64) -> Locator {
    Locator::from_bytes(*blake3::hash(&number.to_be_bytes()).as_bytes())
}

/// A version of a record, accepted by a node.
fn envelope(owner: &Keys, number: u64, kind: Kind, after: Option<&Envelope>, by: u8) -> Envelope {
    let record = Record {
        kind,
        locator: locator(number),
        group: group(),
        owner: owner.owner(),
        epoch: 1,
        version: if after.is_some() { 2 } else { 1 },
        time: HybridTime::from_ms(SystemClock.now_ms()),
        predecessor: after.map(Envelope::record_hash),
        blocks: Vec::new(),
        content: None,
        sealed: (kind == Kind::Object).then(|| vec![1; 220]),
        place: None,
        delegation: None,
        policy: None,
        purged: false,
    };
    Envelope::sign(&record, SignKey::Owner(owner)).unwrap().countersigned(&key(by), SystemClock.now_ms())
}

/// What a node that remembers the directory knows of it, and how often it had to read all of it.
#[derive(Default)]
struct Memory {
    entries: BTreeMap<Locator, BTreeSet<RecordHash>>,
    whole: usize,
}

impl Memory {
    /// Brings it up to date, as the object layer does.
    async fn refresh(&mut self, node: &Node) {
        let (records, home) = (node.records(), Home::from(group()));
        // Where something changes meanwhile, it is not.
        let Some(observed) = records.observe(home, Reading::Entries).await else { return };
        match observed.changed {
            Some(changed) => {
                for locator in changed {
                    let Outcome::Fetched { slot, settled: true, .. } = records.fetch(locator, false).await
                    else {
                        panic!("not read")
                    };
                    self.learn(locator, &slot);
                }
            }
            None => self.read(node).await,
        }
        records.settle(home, observed.ticket, Reading::Entries);
    }

    /// Reads all of it.
    async fn read(&mut self, node: &Node) {
        self.whole += 1;
        self.entries.clear();
        let mut after = None;
        loop {
            let Outcome::Listed(page) = node.records().list(group(), after).await else {
                panic!("not listed")
            };
            assert!(page.settled);
            page.entries.iter().for_each(|entry| self.learn(entry.locator, &entry.slot));
            after = page.next;
            if after.is_none() {
                return;
            }
        }
    }

    fn learn(&mut self, locator: Locator, slot: &jsfs_federation::metastore::Slot) {
        self.entries.remove(&locator);
        let live = slot.heads().into_iter().filter(|head| head.record().kind != Kind::Tombstone);
        let heads: BTreeSet<RecordHash> = live.map(|head| head.hash()).collect();
        if !heads.is_empty() {
            self.entries.insert(locator, heads);
        }
    }

    fn is_fresh(node: &Node) -> bool {
        node.records().is_fresh(group().into(), Reading::Entries)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_remembers_a_directory_hears_of_every_change_at_any_shard_of_it() {
    let home = tempfile::tempdir().unwrap();
    let nodes: Vec<Node> =
        (1..=NODES).map(|number| node(number, &home.path().join(number.to_string()))).collect();
    nodes[0].found("home", 3, 1).await.unwrap();
    soon("it listens", async || !nodes[0].status().addresses.is_empty()).await;
    for other in &nodes[1..] {
        let invitee = Invitee { roles: Roles::FULL, space: 1, ticket_ms: 60_000, member_ms: None };
        other.join(&nodes[0].invite(invitee).await.unwrap().ticket).await.unwrap();
    }
    let begun = Instant::now();
    let standing = || nodes.iter().map(|node| (node.status().reachable, node.records().counts().settled));
    while !standing().all(|standing| standing == (nodes.len(), true)) {
        let all: Vec<_> = standing().collect();
        assert!(begun.elapsed() < Duration::from_secs(90), "connected, and compared with all: {all:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let owner = Seed::from_bytes([9; 32]).keys();
    let reader = &nodes[5];
    let mut memory = Memory::default();
    memory.refresh(reader).await;
    let mut written: BTreeMap<Locator, BTreeSet<RecordHash>> = BTreeMap::new();
    let mut first: Vec<Envelope> = Vec::new();
    // Created, then changed or deleted, through all in turn.
    for step in 0..60 {
        let (number, by) = (step % 40, u8::try_from(step % 5).unwrap() + 1);
        let before = first.get(usize::try_from(number).unwrap()).filter(|_| step >= 40);
        let kind = if step >= 40 && step % 2 == 0 { Kind::Tombstone } else { Kind::Object };
        let made = envelope(&owner, number, kind, before, by);
        let writing =
            Writing { envelope: made.encode(), before: before.map(Envelope::encode), condition: None };
        soon("what was remembered is right", async || {
            if !Memory::is_fresh(reader) {
                memory.refresh(reader).await;
            }
            Memory::is_fresh(reader)
        })
        .await;
        assert_eq!(memory.entries, written, "before step {step}");
        assert_eq!(nodes[usize::from(by) - 1].records().store(writing).await, Written::Settled);
        assert!(!Memory::is_fresh(reader), "step {step} was acknowledged and the reader has not heard of it");
        match kind {
            Kind::Tombstone => written.remove(&locator(number)),
            _ => written.insert(locator(number), BTreeSet::from([made.record_hash()])),
        };
        if step < 40 {
            first.push(made);
        }
    }
    assert!(memory.whole < 12, "what did not change is not read again: {}", memory.whole);
    for node in &nodes {
        let mut anew = Memory::default();
        anew.read(node).await;
        assert_eq!(anew.entries, written);
    }
    for node in &nodes {
        node.close().await;
    }
}
