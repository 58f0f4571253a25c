//! What only the inside of a node can bring about.

use super::{Invitee, Node, Options};
use crate::blocks::{Blocks, Kept};
use crate::membership::greet;
use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use jsfs_federation::blockstore::Patience;
use jsfs_federation::membership::{PeerId, Roles};
use jsfs_federation::metastore::Limits;
use jsfs_objects::clock::{Clock, ManualClock, SystemClock, SystemRandom};
use jsfs_objects::key::SigningKey;
use jsfs_store::{BlockId, OpenOptions, Store};
use libp2p::swarm::ConnectionId;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Keeps nothing.
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

fn node(number: u8, data: &std::path::Path, clock: Arc<dyn Clock>) -> Node {
    Node::start(Options {
        data: data.to_owned(),
        key: SigningKey::from_secret(&[number; 32]),
        listen: vec![crate::parse_address("/ip4/127.0.0.1/tcp/0").unwrap()],
        announce: Vec::new(),
        blocks: Arc::new(Nothing),
        patience: Patience::default(),
        store: Store::open(OpenOptions::directory(data, &[]).unwrap()).unwrap(),
        away_after: Duration::from_secs(60),
        limits: Limits::default(),
        clock,
        random: Arc::new(SystemRandom),
    })
    .unwrap()
}

async fn soon(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greeting_that_fails_ends_its_own_connection_and_no_other() {
    let places = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let clock = || Arc::new(SystemClock);
    let (one, other) = (node(41, places[0].path(), clock()), node(42, places[1].path(), clock()));
    one.found("home", 1, 1).await.unwrap();
    soon(|| !one.status().addresses.is_empty()).await;
    let invitee = Invitee { roles: Roles::FULL, space: 1, ticket_ms: 60_000, member_ms: None };
    let ticket = one.invite(invitee).await.unwrap().ticket;
    other.join(&ticket).await.unwrap();
    soon(|| one.status().reachable == 2 && other.status().reachable == 2).await;
    let peer = other.status().peer;
    let since = one.hub.connected_since(&peer);
    assert!(since.is_some());
    // As when both connect at once and the connection of this node is the one that is given up.
    greet(&one.hub, peer, ConnectionId::new_unchecked(usize::MAX)).await;
    // What comes after it in the order of commands finds the connection as it was.
    drop(one.hub.open(&peer, jsfs_federation::membership::MEMBERSHIP_PROTOCOL).await.unwrap());
    assert_eq!(one.hub.connected_since(&peer), since, "the good connection was closed");
    assert_eq!(one.status().reachable, 2);
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_connection_ends_while_it_joins_asks_again() {
    let home = tempfile::tempdir().unwrap();
    let host = node(43, &home.path().join("host"), Arc::new(SystemClock));
    host.found("home", 1, 1).await.unwrap();
    soon(|| !host.status().addresses.is_empty()).await;
    for number in 44..48 {
        let other = node(number, &home.path().join(number.to_string()), Arc::new(SystemClock));
        let invitee = Invitee { roles: Roles::FULL, space: 1, ticket_ms: 60_000, member_ms: None };
        let (ticket, peer) = (host.invite(invitee).await.unwrap().ticket, other.status().peer);
        let cut = async {
            while host.hub.connected_since(&peer).is_none() {
                tokio::task::yield_now().await;
            }
            host.hub.close(&peer).await;
        };
        let (joined, ()) = tokio::join!(other.join(&ticket), cut);
        joined.unwrap();
        other.close().await;
    }
    host.close().await;
}

const YEAR_MS: u64 = 365 * 86_400_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_also_of_who_was_away_when_its_own_ended() {
    let places: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let clock = Arc::new(ManualClock::starting_at(SystemClock.now_ms()));
    let start = |which: usize| {
        node(50 + u8::try_from(which).unwrap(), places[which].path(), Arc::clone(&clock) as Arc<dyn Clock>)
    };
    let [one, other, guest, away] = [0, 1, 2, 3].map(start);
    one.found("home", 1, 1).await.unwrap();
    soon(|| !one.status().addresses.is_empty()).await;
    let stay = Invitee { roles: Roles::FULL, space: 1, ticket_ms: 60_000, member_ms: None };
    let visit = Invitee { member_ms: Some(9 * YEAR_MS), ..stay };
    for (node, invitee) in [(&other, stay), (&guest, visit), (&away, stay)] {
        node.join(&one.invite(invitee).await.unwrap().ticket).await.unwrap();
    }
    soon(|| one.status().reachable == 4).await;
    away.close().await;
    drop(away);
    let until = |node: &Node| node.status().terms.map(|terms| terms.expires_ms);
    let before = until(&other).unwrap();
    clock.advance(7 * YEAR_MS);
    soon(|| [&one, &other].iter().all(|node| until(node) > Some(before + 6 * YEAR_MS))).await;
    assert!(until(&guest).is_some_and(|until| until < before), "whose membership ends is not renewed");
    clock.advance(4 * YEAR_MS);
    soon(|| one.status().members == 3 && until(&guest).is_none()).await;
    let away = start(3);
    soon(|| [&one, &other, &away].iter().all(|node| node.status().reachable == 3)).await;
    assert!(until(&away) > Some(before + 6 * YEAR_MS));
    for node in [one, other, guest, away] {
        node.close().await;
    }
}
