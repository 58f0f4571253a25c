//! Members that lie, are slow or say nothing are survived at a stated cost, and who may not gets no block: nodes of this process over loopback.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that fails says where")]

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jsfs_federation::blockstore::{Patience, Placement, Site};
use jsfs_federation::membership::{PeerId, Role, Roles};
use jsfs_federation::metastore::Limits;
use jsfs_federation::wire::ErrorCode;
use jsfs_objects::clock::{Clock, ManualClock, SystemClock, SystemRandom};
use jsfs_objects::key::SigningKey;
use jsfs_peer::{Blocks, Invitee, Kept, Node, Options, parse_address};
use jsfs_store::{BlockId, OpenOptions, Store};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Patience = Patience { hedge_ms: 150, silent_ms: 1_500, keep_ms: 500 };
const MINUTE_MS: u64 = 60_000;

/// How a node answers for blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Sends other bytes.
    Lying,
    /// After this many ms.
    Slow(u64),
    /// Never.
    Silent,
}

struct Shelf {
    manner: Manner,
    blocks: Mutex<BTreeMap<BlockId, Bytes>>,
}

impl Blocks for Shelf {
    fn have(&self, ids: Vec<BlockId>) -> BoxFuture<'_, Vec<bool>> {
        let blocks = self.blocks.lock().unwrap();
        let have = ids.iter().map(|id| blocks.contains_key(id)).collect();
        Box::pin(async move { have })
    }

    fn get(&self, id: BlockId) -> BoxFuture<'_, Option<Bytes>> {
        let found = self.blocks.lock().unwrap().get(&id).cloned();
        let manner = self.manner;
        Box::pin(async move {
            match manner {
                Manner::Honest => found,
                Manner::Lying => found.map(|bytes| Bytes::from([&bytes[..], b"!"].concat())),
                Manner::Slow(ms) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    found
                }
                Manner::Silent => std::future::pending().await,
            }
        })
    }

    fn keep(&self, _: PeerId, blocks: Vec<(BlockId, Bytes)>, _: u64) -> Kept<'_, ()> {
        if self.manner == Manner::Silent {
            return Box::pin(std::future::pending());
        }
        self.blocks.lock().unwrap().extend(blocks);
        Box::pin(async { Ok(()) })
    }

    fn pin(&self, _: PeerId, ids: Vec<BlockId>, _: u64) -> Kept<'_, Vec<bool>> {
        if self.manner == Manner::Silent {
            return Box::pin(std::future::pending());
        }
        Box::pin(async move { Ok(self.have(ids).await) })
    }

    fn unpin(&self, _: PeerId, _: Vec<BlockId>) -> Kept<'_, Vec<bool>> {
        Box::pin(async { Err(ErrorCode::Unknown) })
    }
}

struct Place {
    node: Node,
    shelf: Arc<Shelf>,
    _data: tempfile::TempDir,
}

impl Place {
    fn new(number: u8, manner: Manner, clock: Arc<dyn Clock>) -> Place {
        let data = tempfile::tempdir().unwrap();
        let shelf = Arc::new(Shelf { manner, blocks: Mutex::default() });
        let node = Node::start(Options {
            data: data.path().to_owned(),
            key: SigningKey::from_secret(&[number; 32]),
            listen: vec![parse_address("/ip4/127.0.0.1/tcp/0").unwrap()],
            announce: Vec::new(),
            blocks: Arc::clone(&shelf) as Arc<dyn Blocks>,
            patience: PATIENCE,
            store: Store::open(OpenOptions::directory(data.path(), &[]).unwrap()).unwrap(),
            away_after: Duration::from_secs(60),
            limits: Limits::default(),
            clock,
            random: Arc::new(SystemRandom),
        });
        Place { node: node.unwrap(), shelf, _data: data }
    }

    fn keep(&self, bytes: &Bytes) {
        self.shelf.blocks.lock().unwrap().insert(BlockId::of(bytes), bytes.clone());
    }
}

fn only(role: Role) -> Roles {
    Roles::default().with(role)
}

async fn soon(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ticket(by: &Place, roles: Roles, member_ms: u64) -> String {
    soon("it listens", || !by.node.status().addresses.is_empty()).await;
    let space = if roles.contains(Role::Store) { 1 } else { 0 };
    let invitee = Invitee { roles, space, ticket_ms: MINUTE_MS, member_ms: Some(member_ms) };
    by.node.invite(invitee).await.unwrap().ticket.to_string()
}

/// A reader that keeps nothing, and members that keep blocks in these manners.
async fn federation(manners: &[Manner]) -> (Place, Vec<Place>) {
    federation_at(manners, Arc::new(SystemClock)).await
}

/// The same by a clock of its own.
async fn federation_at(manners: &[Manner], clock: Arc<dyn Clock>) -> (Place, Vec<Place>) {
    let reader = Place::new(100, Manner::Honest, Arc::clone(&clock));
    // The founder has every role, and space for nothing.
    reader.node.found("home", 3, 0).await.unwrap();
    let mut keepers = Vec::new();
    for (number, manner) in (1..).zip(manners) {
        let place = Place::new(number, *manner, Arc::clone(&clock));
        let ticket = ticket(&reader, only(Role::Store), 10 * MINUTE_MS).await;
        place.node.join(&ticket).await.unwrap();
        keepers.push(place);
    }
    let count = keepers.len() + 1;
    soon("all are connected", || {
        keepers.iter().chain([&reader]).all(|place| place.node.status().reachable == count)
    })
    .await;
    // Connections that both sides began at once have been put right by then.
    tokio::time::sleep(Duration::from_millis(500)).await;
    (reader, keepers)
}

/// A block that lies at this place first, on the shelf of everybody.
fn block_first_at(at: usize, keepers: &[Place], salt: u32) -> Bytes {
    let site = |place: &Place| Site { peer: place.node.status().peer, space: 1 };
    let placement = Placement::new(keepers.iter().map(site));
    let first = keepers[at].node.status().peer;
    let mut numbers = (salt * 100_000)..;
    let block = numbers.find_map(|number: u32| {
        let bytes = Bytes::from([&[1, 0][..], &number.to_le_bytes(), &[7; 10_000]].concat());
        (placement.of(&BlockId::of(&bytes), 1) == [first]).then_some(bytes)
    });
    let block = block.unwrap();
    keepers.iter().for_each(|place| place.keep(&block));
    block
}

async fn close(reader: Place, keepers: Vec<Place>) {
    for place in keepers.into_iter().chain([reader]) {
        place.node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_costs_one_question_is_reported_and_not_asked_again() {
    let (reader, keepers) = federation(&[Manner::Honest, Manner::Lying, Manner::Honest]).await;
    let block = block_first_at(1, &keepers, 0);
    let begun = Instant::now();
    assert_eq!(reader.node.fetch_block(BlockId::of(&block)).await.as_ref(), Some(&block));
    let took = begun.elapsed();
    let counts = reader.node.block_counts();
    assert_eq!((counts.lies, counts.questions, counts.fetched), (1, 2, 1), "{counts:?}");
    eprintln!("a liar: {took:?}, two questions");
    let another = block_first_at(1, &keepers, 1);
    assert_eq!(reader.node.fetch_block(BlockId::of(&another)).await.as_ref(), Some(&another));
    let counts = reader.node.block_counts();
    assert_eq!((counts.lies, counts.questions), (1, 3), "the liar was not asked again");
    close(reader, keepers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_and_a_silent_member_cost_the_time_to_ask_another() {
    let (reader, keepers) = federation(&[Manner::Slow(20_000), Manner::Silent, Manner::Honest]).await;
    for (at, what) in [(0, "slow"), (1, "silent")] {
        let block = block_first_at(at, &keepers, 0);
        let before = reader.node.block_counts().questions;
        let begun = Instant::now();
        assert_eq!(reader.node.fetch_block(BlockId::of(&block)).await.as_ref(), Some(&block));
        let took = begun.elapsed();
        let asked = reader.node.block_counts().questions - before;
        assert!(took < Duration::from_secs(10), "{what}: {took:?}");
        assert!((2..=3).contains(&asked), "{what}: {asked} questions");
        eprintln!("a {what} member: {took:?}, {asked} questions");
    }
    let nowhere = BlockId::of(b"nobody has it");
    let begun = Instant::now();
    assert!(reader.node.fetch_block(nowhere).await.is_none());
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "a block that nobody has is given up: {:?}",
        begun.elapsed()
    );
    close(reader, keepers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_go_to_those_that_keep_them_and_round_those_that_do_not_answer() {
    let (reader, mut keepers) = federation(&[Manner::Honest; 5]).await;
    let blocks = forty();
    let placed = reader.node.place_blocks(blocks.clone(), Vec::new(), 60).await;
    assert_eq!((placed.wanted, placed.short, placed.sent), (3, 0, 120));
    let total = |keepers: &[Place]| -> usize {
        keepers.iter().map(|place| place.shelf.blocks.lock().unwrap().len()).sum()
    };
    assert_eq!(total(&keepers), 120);
    let ids: Vec<BlockId> = blocks.iter().map(|(id, _)| *id).collect();
    blocks.iter().for_each(|(_, bytes)| reader.keep(bytes));
    let questions = reader.node.block_counts().questions;
    assert_eq!(reader.node.place_blocks(Vec::new(), ids.clone(), 60).await.short, 0);
    assert_eq!(reader.node.block_counts().questions, questions, "what was placed is remembered");
    let again = reader.node.renew_blocks(ids.clone(), 60).await;
    assert_eq!((again.short, again.sent), (0, 0), "everything is where it belongs");
    // One goes without a word; its copies are made on those that come next.
    let lost = keepers.pop().unwrap();
    let had = lost.shelf.blocks.lock().unwrap().len();
    lost.node.close().await;
    drop(lost);
    soon("it is missed", || reader.node.status().reachable == 5).await;
    let repaired = reader.node.renew_blocks(ids, 60).await;
    assert_eq!((repaired.short, repaired.sent), (0, had), "as many as were lost, and nothing else");
    assert_eq!(total(&keepers), 120);
    let others: Vec<Bytes> =
        (0..3_u8).map(|number| Bytes::from([&[1, 0][..], &[number; 999]].concat())).collect();
    others.iter().for_each(|bytes| reader.keep(bytes));
    let others = others.iter().map(|bytes| BlockId::of(bytes)).collect();
    let placed = reader.node.place_blocks(Vec::new(), others, 60).await;
    assert_eq!((placed.short, placed.sent), (0, 9), "nobody had what was here before");
    close(reader, keepers).await;
}

fn forty() -> Vec<(BlockId, Bytes)> {
    let bytes = (0..40_u8).map(|number| Bytes::from([&[1, 0][..], &[number; 30_000]].concat()));
    bytes.map(|bytes| (BlockId::of(&bytes), bytes)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_says_nothing_costs_a_write_the_time_to_ask_another() {
    let honest = [Manner::Honest; 4];
    let (reader, keepers) = federation(&[&honest[..], &[Manner::Silent]].concat()).await;
    let blocks = forty();
    let (some, more) = blocks.split_at(20);
    let begun = Instant::now();
    let placed = reader.node.place_blocks(some.to_vec(), Vec::new(), 60).await;
    let first = begun.elapsed();
    assert_eq!((placed.short, placed.sent), (0, 60));
    assert!(first < Duration::from_millis(2_000), "{first:?}");
    let begun = Instant::now();
    let placed = reader.node.place_blocks(more.to_vec(), Vec::new(), 60).await;
    let second = begun.elapsed();
    assert_eq!((placed.short, placed.sent), (0, 60));
    assert!(second < Duration::from_millis(450), "it is asked last: {second:?}");
    eprintln!("a silent member among five: {first:?}, then {second:?}");
    close(reader, keepers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_says_nothing_is_given_up_where_there_is_no_other() {
    let (reader, keepers) = federation(&[Manner::Honest, Manner::Honest, Manner::Silent]).await;
    let blocks = forty();
    let (some, more) = blocks.split_at(20);
    let begun = Instant::now();
    let placed = reader.node.place_blocks(some.to_vec(), Vec::new(), 60).await;
    let first = begun.elapsed();
    assert_eq!((placed.wanted, placed.short, placed.sent), (3, 20, 40));
    assert!((PATIENCE.silent_ms.into()..4_000).contains(&first.as_millis()), "{first:?}");
    let begun = Instant::now();
    let placed = reader.node.place_blocks(more.to_vec(), Vec::new(), 60).await;
    let second = begun.elapsed();
    assert_eq!((placed.short, placed.sent), (20, 40));
    assert!(second < Duration::from_millis(PATIENCE.silent_ms), "{second:?}");
    eprintln!("a silent member of three: {first:?}, then {second:?}");
    close(reader, keepers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_and_one_of_another_role_open_nothing() {
    let now_ms = SystemClock.now_ms();
    let ours = Arc::new(ManualClock::starting_at(now_ms));
    let (reader, keepers) = federation_at(&[Manner::Honest], Arc::clone(&ours) as Arc<dyn Clock>).await;
    let block = block_first_at(0, &keepers, 0);
    let id = BlockId::of(&block);
    // Its clock stands still, so that it takes itself for a member when nobody else does.
    let clock = Arc::new(ManualClock::starting_at(now_ms));
    let late = Place::new(50, Manner::Honest, clock);
    late.node.join(&ticket(&reader, only(Role::Gateway), MINUTE_MS).await).await.unwrap();
    let admin = Place::new(51, Manner::Honest, Arc::clone(&ours) as Arc<dyn Clock>);
    admin.node.join(&ticket(&reader, only(Role::Admin), MINUTE_MS).await).await.unwrap();
    soon("both know the keeper", || {
        [&late, &admin].iter().all(|place| place.node.members().is_ok_and(|members| members.len() >= 3))
    })
    .await;
    soon("the first may read", || late.node.status().reachable >= 2).await;
    // The keeper answers once it has heard of the member.
    let begun = Instant::now();
    while late.node.fetch_block(id).await.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(10), "as long as it is a member");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(admin.node.fetch_block(id).await.is_none(), "a certificate for something else opens nothing");
    ours.advance(2 * MINUTE_MS);
    soon("its time is over", || reader.node.members().is_ok_and(|members| members.len() == 2)).await;
    assert!(late.node.fetch_block(id).await.is_none());
    close(reader, keepers).await;
    late.node.close().await;
    admin.node.close().await;
}
