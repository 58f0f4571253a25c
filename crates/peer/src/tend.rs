//! What a node does by itself: it keeps connections to the others, hands news on, compares notes, and writes down what it knows.
//!
//! Each is a loop that ends with the node. Losing any of its steps costs time and nothing else: what was not told is found by comparing.

use crate::error::PeerError;
use crate::hub::Hub;
use crate::membership::{Conversation, knock, renew, tell};
use jsfs_federation::membership::PeerId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many others hear news from this node at first hand.
const FANOUT: usize = 8;

/// Members that this node keeps a connection to; to others it connects when it has something to say.
const KEPT_MAX: usize = 64;

/// Connections that are being tried at once.
const DIALS_MAX: usize = 16;

const DIAL_WAIT_MIN: Duration = Duration::from_millis(500);
const DIAL_WAIT_MAX: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Connected members that said nothing for so long are asked whether they are there.
const KNOCK_AFTER: Duration = Duration::from_secs(5);
/// How long one has to answer that. A connection that is closed in error costs little: it is made again at once.
const KNOCK_TIME: Duration = Duration::from_secs(6);
const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// News that come within this time go together.
const GATHER_TIME: Duration = Duration::from_millis(20);
const SAVE_AFTER: Duration = Duration::from_millis(300);

/// Starts everything.
pub(crate) fn start(hub: &Arc<Hub>) {
    let [first, second, third, fourth, fifth] = std::array::from_fn(|_| Arc::clone(hub));
    hub.spawn(async move { keep_connected(first).await });
    hub.spawn(async move { hand_on(second).await });
    hub.spawn(async move { compare(third).await });
    hub.spawn(async move { write_down(fourth).await });
    hub.spawn(async move { listen_for_silence(fifth).await });
}

/// A few of these, at random.
fn some_of(hub: &Hub, mut peers: Vec<PeerId>, count: usize) -> Vec<PeerId> {
    let mut chosen = Vec::new();
    while chosen.len() < count && !peers.is_empty() {
        let number = u64::from_le_bytes(hub.random.bytes());
        let which = usize::try_from(number % peers.len() as u64).unwrap_or(0);
        chosen.push(peers.swap_remove(which));
    }
    chosen
}

fn reachable(hub: &Hub) -> Vec<PeerId> {
    let now_ms = hub.now_ms();
    hub.with(|federation| federation.roster.reachable(now_ms).collect()).unwrap_or_default()
}

/// When to try a member again.
struct Backoff {
    wait: Duration,
    next: Instant,
}

/// Closes what must not stay and connects to members that are not connected.
async fn keep_connected(hub: Arc<Hub>) {
    let mut changes = hub.changes();
    let mut tried: BTreeMap<PeerId, Backoff> = BTreeMap::new();
    loop {
        for peer in hub.unwelcome() {
            tracing::info!(%peer, "closing the connection to who is no member");
            hub.close(&peer).await;
        }
        let missing = missing(&hub);
        // Connected is not enough: it may be closed again at once.
        let _ = hub.with(|federation| tried.retain(|peer, _| !federation.roster.is_reachable(peer)));
        let now = Instant::now();
        let due = missing.into_iter().filter(|peer| tried.get(peer).is_none_or(|tried| tried.next <= now));
        for peer in due.take(DIALS_MAX).collect::<Vec<_>>() {
            let before = tried.get(&peer).map_or(DIAL_WAIT_MIN, |tried| tried.wait * 2);
            let wait = before.min(DIAL_WAIT_MAX);
            tried.insert(peer, Backoff { wait, next: now + wait });
            let hub_here = Arc::clone(&hub);
            hub.spawn(async move {
                if let Err(error) = hub_here.connect(&peer).await {
                    tracing::debug!(%peer, %error, "a member cannot be reached");
                }
            });
        }
        // Changes come in bursts; the first is acted on at once.
        let _ = tokio::time::timeout(LOOK_EVERY, changes.changed()).await;
        tokio::time::sleep(GATHER_TIME).await;
    }
}

/// Members that should be connected and are not. Of two, that with the lesser id begins; the other helps when that has not worked for a while, since
/// every look of the loop that finds it missing gives it a turn.
fn missing(hub: &Hub) -> Vec<PeerId> {
    let now_ms = hub.now_ms();
    let connected = hub.connected_peers();
    let room = KEPT_MAX.saturating_sub(connected.len());
    let me = hub.me;
    hub.with(|federation| {
        let roster = &federation.roster;
        let others = roster.companions(&me, now_ms).into_iter();
        let others = others.filter(|peer| !connected.contains(peer) && !roster.addresses(peer).is_empty());
        others.take(room).collect()
    })
    .unwrap_or_default()
}

/// Hands news on to some who are connected, who do the same.
async fn hand_on(hub: Arc<Hub>) {
    loop {
        hub.fresh_news.notified().await;
        tokio::time::sleep(GATHER_TIME).await;
        let items = hub.take_fresh();
        if items.is_empty() {
            continue;
        }
        for peer in some_of(&hub, reachable(&hub), FANOUT) {
            let (hub_here, items) = (Arc::clone(&hub), items.clone());
            hub.spawn(async move {
                if let Err(error) = tell(&hub_here, peer, items).await {
                    tracing::debug!(%peer, %error, "news could not be handed on");
                }
            });
        }
    }
}

/// Now and then drops who is a member no more, renews what this node signed, and compares what it knows with somebody, which brings everything that was missed.
async fn compare(hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(COMPARE_EVERY).await;
        let now_ms = hub.now_ms();
        if hub.with(|federation| federation.roster.forget_expired(&hub.me, now_ms)).unwrap_or(false) {
            hub.has_changed();
        }
        if let Err(error) = renew(&hub).await {
            tracing::warn!(%error, "certificates of members could not be renewed; that is tried again");
        }
        for peer in some_of(&hub, reachable(&hub), 1) {
            let comparing = async { Conversation::begin(&hub, &peer).await?.greet(&peer).await };
            if let Err::<(), PeerError>(error) = comparing.await {
                tracing::debug!(%peer, %error, "comparing the roster failed");
            }
        }
    }
}

/// A connection over which nothing comes any more stays open for many minutes; whoever keeps it would wait for it with every request.
async fn listen_for_silence(hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let silent = hub.unheard(KNOCK_AFTER).into_iter().filter(|peer| hub.is_member(peer));
        let knocks = silent.map(|peer| knock(&hub, peer, KNOCK_TIME));
        futures_util::future::join_all(knocks).await;
    }
}

/// Writes what the node knows a moment after it changed.
async fn write_down(hub: Arc<Hub>) {
    let digest = |hub: &Hub| hub.with(|federation| federation.roster.digest()).ok();
    let mut changes = hub.changes();
    let mut written = digest(&hub);
    loop {
        if changes.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(SAVE_AFTER).await;
        let known = digest(&hub);
        if known == written || known.is_none() {
            continue;
        }
        match hub.save().await {
            Ok(()) => written = known,
            Err(error) => tracing::error!(%error, "what is known of the federation was not written"),
        }
    }
}
