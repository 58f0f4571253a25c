//! Measures how fast blocks go from one node to another, beside a plain copy over TCP in the same run: `bench/run blocks [MIB]`.
//!
//! Both nodes and both ends of the copy are this process, so they share its cores. Blocks have 1 MiB, are kept in memory and are verified where they
//! arrive; the copy is neither encrypted nor verified. Each round measures everything once; the medians of the rounds are printed.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "it measures, and says so")]

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use jsfs_federation::blockstore::Patience;
use jsfs_federation::membership::{PeerId, Role, Roles};
use jsfs_federation::metastore::Limits;
use jsfs_federation::wire::ErrorCode;
use jsfs_objects::clock::{SystemClock, SystemRandom};
use jsfs_objects::key::SigningKey;
use jsfs_peer::{Blocks, Invitee, Kept, Node, Options, parse_address};
use jsfs_store::backend::Memory;
use jsfs_store::{BlockId, OpenOptions, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BLOCK_BYTES: usize = 1 << 20;
const ROUNDS: usize = 5;

#[derive(Default)]
struct Shelf(Mutex<BTreeMap<BlockId, Bytes>>);

impl Blocks for Shelf {
    fn have(&self, ids: Vec<BlockId>) -> BoxFuture<'_, Vec<bool>> {
        Box::pin(async move { ids.iter().map(|id| self.0.lock().unwrap().contains_key(id)).collect() })
    }

    fn get(&self, id: BlockId) -> BoxFuture<'_, Option<Bytes>> {
        Box::pin(async move { self.0.lock().unwrap().get(&id).cloned() })
    }

    fn keep(&self, _: PeerId, _: Vec<(BlockId, Bytes)>, _: u64) -> Kept<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn pin(&self, _: PeerId, _: Vec<BlockId>, _: u64) -> Kept<'_, Vec<bool>> {
        Box::pin(async { Err(ErrorCode::Unknown) })
    }

    fn unpin(&self, _: PeerId, _: Vec<BlockId>) -> Kept<'_, Vec<bool>> {
        Box::pin(async { Err(ErrorCode::Unknown) })
    }
}

fn node(data: &Path, number: u8, shelf: Arc<Shelf>) -> Node {
    Node::start(Options {
        data: data.join(number.to_string()),
        key: SigningKey::from_secret(&[number; 32]),
        listen: vec![parse_address("/ip4/127.0.0.1/tcp/0").unwrap()],
        announce: Vec::new(),
        blocks: shelf,
        patience: Patience { hedge_ms: 10_000, silent_ms: 60_000, keep_ms: 10_000 },
        store: Store::open(OpenOptions::new(vec![Arc::new(Memory::new(64 << 20))])).unwrap(),
        away_after: Duration::from_secs(60),
        limits: Limits::default(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    })
    .unwrap()
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A reader, and a node that keeps the blocks.
async fn pair(data: &Path, shelf: &Arc<Shelf>) -> (Node, Node) {
    let reader = node(data, 1, Arc::default());
    let keeper = node(data, 2, Arc::clone(shelf));
    until(|| !reader.status().addresses.is_empty()).await;
    reader.found("bench", 1, 0).await.unwrap();
    let roles = Roles::default().with(Role::Store);
    let invitee = Invitee { roles, space: 1, ticket_ms: 60_000, member_ms: None };
    keeper.join(&reader.invite(invitee).await.unwrap().ticket).await.unwrap();
    until(|| reader.status().reachable == 2).await;
    (reader, keeper)
}

async fn fetch_all(reader: &Node, ids: &[BlockId], at_once: usize) -> Duration {
    let begun = Instant::now();
    let fetched = stream::iter(ids.iter().copied())
        .map(|id| async move { reader.fetch_block(id).await.map_or(0, |bytes| bytes.len()) })
        .buffer_unordered(at_once);
    let bytes: usize = fetched.fold(0, |sum, bytes| async move { sum + bytes }).await;
    assert_eq!(bytes, ids.len() * BLOCK_BYTES);
    begun.elapsed()
}

/// The same bytes over one connection.
async fn copy(blocks: &[Bytes]) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let begun = Instant::now();
    let receiving = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut block = vec![0; BLOCK_BYTES];
        for _ in blocks {
            stream.read_exact(&mut block).await.unwrap();
        }
    };
    let mut sending = tokio::task::JoinSet::new();
    let sent = blocks.to_vec();
    sending.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for block in &sent {
            stream.write_all(block).await.unwrap();
        }
    });
    receiving.await;
    sending.join_next().await.unwrap().unwrap();
    begun.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::main]
async fn main() {
    let count: usize = std::env::args().nth(1).map_or(256, |text| text.parse().unwrap());
    let data = tempfile::tempdir().unwrap();
    let blocks: Vec<Bytes> = (0..count)
        .map(|number| {
            let mut bytes = vec![0; BLOCK_BYTES];
            let word = |at: usize| (number * 7_919 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            bytes.chunks_mut(8).enumerate().for_each(|(at, chunk)| chunk.copy_from_slice(&word(at)));
            Bytes::from(bytes)
        })
        .collect();
    let ids: Vec<BlockId> = blocks.iter().map(|bytes| BlockId::of(bytes)).collect();
    let shelf = Arc::new(Shelf(Mutex::new(ids.iter().copied().zip(blocks.iter().cloned()).collect())));
    let (reader, keeper) = pair(data.path(), &shelf).await;
    let mut rows: BTreeMap<(usize, &str), Vec<Duration>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        rows.entry((0, "plain TCP, one connection")).or_default().push(copy(&blocks).await);
        for at_once in [1, 4, 16] {
            rows.entry((at_once, "a federation")).or_default().push(fetch_all(&reader, &ids, at_once).await);
        }
    }
    let plain = median(rows[&(0, "plain TCP, one connection")].clone());
    println!("{count} blocks of 1 MiB, medians of {ROUNDS} rounds");
    for ((at_once, name), times) in rows {
        let time = median(times);
        let rate = count as u128 * 1_048_576 / time.as_micros().max(1);
        let ratio = plain.as_secs_f64() / time.as_secs_f64();
        println!("{name:<26} {at_once:>3} at once  {rate:>6} MB/s  {ratio:.2} of plain TCP");
    }
    reader.close().await;
    keeper.close().await;
}
