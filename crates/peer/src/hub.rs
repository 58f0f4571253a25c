//! What the tasks of a node share: its federation, who is connected, and where to send what.
//!
//! Invariants: the lock is held for computing only, never while waiting. Every set is bounded. What the node itself did (founding, inviting,
//! admitting, revoking, joining) is on the disk before anybody is told; what it heard is written a moment later, since it would be told again.

use crate::driver::Command;
use crate::error::PeerError;
use crate::keep::{Keeper, Kept};
use crate::streams::OpenError;
use crate::{Permits, Service, identity};
use jsfs_federation::membership::{
    Admission, Announcement, Hello, Item, MEMBERSHIP_PROTOCOL, MembershipError, PeerId, Role, Roster,
};
use jsfs_objects::clock::{Clock, Random};
use jsfs_objects::key::SigningKey;
use libp2p::swarm::{ConnectionId, Stream};
use libp2p::{Multiaddr, StreamProtocol};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Streams that are served at once, over all peers.
const SERVED_MAX: u64 = 4_096;

/// Streams of strangers that are served at once.
const STRANGERS_MAX: u64 = 64;

/// Connections at once.
pub(crate) const CONNECTIONS_MAX: usize = 1_024;

/// Statements that wait to be handed on; those beyond go with the next comparison.
const FRESH_MAX: usize = 1_024;

/// A stranger must have shown a credential or a ticket within this time.
pub(crate) const STRANGER_TIME: Duration = Duration::from_secs(10);

/// The node's place in a federation.
pub(crate) struct Federation {
    pub(crate) roster: Roster,
    pub(crate) admission: Admission,
    /// The key that founded it, on the node that did.
    pub(crate) authority: Option<SigningKey>,
}

/// A connected peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connected {
    pub(crate) since: Instant,
    /// Whether it was a member when it was last looked at.
    pub(crate) was_member: bool,
    /// Whether it takes this node for a member: it connected to this one, or answered its hello.
    pub(crate) is_mutual: bool,
    /// When it last said something about membership.
    pub(crate) heard: Instant,
}

/// What was moved, counted for `status`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) membership_messages: AtomicU64,
    pub(crate) membership_bytes: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// What the tasks share.
pub(crate) struct Hub {
    pub(crate) key: SigningKey,
    pub(crate) me: PeerId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) counters: Counters,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// Told when there are statements to be handed on.
    pub(crate) fresh_news: Notify,
    announced: Vec<String>,
    keeper: Keeper,
    federation: Mutex<Option<Federation>>,
    connections: Mutex<BTreeMap<PeerId, Connected>>,
    listening: Mutex<Vec<String>>,
    fresh: Mutex<VecDeque<Vec<u8>>>,
    changed: watch::Sender<u64>,
    commands: mpsc::Sender<Command>,
    services: Vec<Arc<dyn Service>>,
    served: AtomicU64,
    strangers: AtomicU64,
}

/// What a hub is made of.
pub(crate) struct Parts {
    pub(crate) key: SigningKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) announced: Vec<String>,
    pub(crate) keeper: Keeper,
    pub(crate) kept: Option<Kept>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) services: Vec<Arc<dyn Service>>,
}

fn together(old: &Federation) -> PeerError {
    let name = old.roster.charter().map_or("that it has joined", |charter| charter.name()).to_owned();
    PeerError::Together { name }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub(crate) fn new(parts: Parts) -> Self {
        let federation = parts.kept.map(|kept| Federation {
            roster: kept.roster,
            admission: kept.admission,
            authority: kept.authority,
        });
        Self {
            me: parts.key.public(),
            key: parts.key,
            clock: parts.clock,
            random: parts.random,
            counters: Counters::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            fresh_news: Notify::new(),
            announced: parts.announced,
            keeper: parts.keeper,
            federation: Mutex::new(federation),
            connections: Mutex::default(),
            listening: Mutex::default(),
            fresh: Mutex::default(),
            changed: watch::channel(0).0,
            commands: parts.commands,
            services: parts.services,
            served: AtomicU64::new(0),
            strangers: AtomicU64::new(0),
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Computes on the federation; an error where the node is in none.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Federation) -> T) -> Result<T, PeerError> {
        locked(&self.federation).as_mut().map(work).ok_or(PeerError::Alone)
    }

    /// Whether the node is in a federation.
    pub(crate) fn is_alone(&self) -> bool {
        locked(&self.federation).is_none()
    }

    /// An error where the node is in a federation.
    pub(crate) fn check_alone(&self) -> Result<(), PeerError> {
        locked(&self.federation).as_ref().map_or(Ok(()), |old| Err(together(old)))
    }

    /// Enters a federation; an error where the node is in one.
    pub(crate) fn enter(&self, federation: Federation) -> Result<(), PeerError> {
        let mut place = locked(&self.federation);
        if let Some(old) = place.as_ref() {
            return Err(together(old));
        }
        *place = Some(federation);
        drop(place);
        self.has_changed();
        Ok(())
    }

    /// Forgets the federation and closes every connection.
    pub(crate) async fn part(&self) -> Result<(), PeerError> {
        *locked(&self.federation) = None;
        self.save().await?;
        for peer in self.connected_peers() {
            self.close(&peer).await;
        }
        self.has_changed();
        Ok(())
    }

    /// Writes what is known to the disk.
    pub(crate) async fn save(&self) -> Result<(), PeerError> {
        let snapshot = || {
            let place = locked(&self.federation);
            place.as_ref().map(|federation| Keeper::bytes(&federation.roster, &federation.admission))
        };
        self.keeper.save(snapshot).await
    }

    /// Keeps the key of a federation that this node founds.
    pub(crate) async fn keep_authority(&self, seed: &jsfs_objects::key::Seed) -> Result<(), PeerError> {
        self.keeper.found(seed).await
    }

    /// Takes in statements; those that are new are handed on. The first error is answered, if there is one, after the others were taken in.
    pub(crate) fn learn(&self, items: impl IntoIterator<Item = Item>) -> Result<u64, PeerError> {
        let now_ms = self.now_ms();
        let (mut new, mut failed) = (Vec::new(), None);
        self.with(|federation| {
            for item in items {
                let bytes = item.encode();
                match federation.roster.add(item, now_ms) {
                    Ok(true) => new.push(bytes),
                    Ok(false) => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        })?;
        let count = new.len() as u64;
        if count > 0 {
            let mut fresh = locked(&self.fresh);
            let room = FRESH_MAX.saturating_sub(fresh.len());
            fresh.extend(new.into_iter().take(room));
            drop(fresh);
            self.fresh_news.notify_one();
            self.has_changed();
        }
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(count),
        }
    }

    /// What is to be handed on.
    pub(crate) fn take_fresh(&self) -> Vec<Vec<u8>> {
        locked(&self.fresh).drain(..).collect()
    }

    /// Wakes whoever waits for a change.
    pub(crate) fn has_changed(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// A place to wait for changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Who this node says it is; an error where it is in no federation.
    pub(crate) fn hello(&self) -> Result<Hello, PeerError> {
        let me = self.me;
        self.with(|federation| {
            let credential = federation.roster.credential(&me).cloned();
            Ok(Hello {
                credential: credential.ok_or(MembershipError::Peer)?,
                announcement: federation.roster.announcement(&me).cloned(),
                digest: federation.roster.digest(),
            })
        })?
    }

    /// Where this node answers: what its settings say, else where it listens.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let addresses =
            if self.announced.is_empty() { locked(&self.listening).clone() } else { self.announced.clone() };
        addresses.into_iter().take(jsfs_federation::membership::ADDRESSES_MAX).collect()
    }

    /// Announces where this node answers, if that is not known yet.
    pub(crate) fn announce(&self) {
        let (me, now_ms, addresses) = (self.me, self.now_ms(), self.addresses());
        let news = self.with(|federation| {
            let held = federation.roster.announcement(&me);
            if held.is_some_and(|held| held.addresses() == addresses) {
                return None;
            }
            let sequence = held.map_or(0, |held| held.sequence() + 1).max(now_ms);
            Announcement::sign(federation.roster.federation(), sequence, addresses, &self.key).ok()
        });
        if let Ok(Some(announcement)) = news
            && let Err(error) = self.learn([Item::Announcement(announcement)])
        {
            tracing::warn!(%error, "cannot announce where this node answers");
        }
    }

    /// The driver tells where the node listens.
    pub(crate) fn listening(&self, addresses: Vec<String>) {
        tracing::info!(?addresses, "listening for the federation");
        *locked(&self.listening) = addresses;
        self.announce();
        self.has_changed();
    }

    /// The driver tells of a connection; which one, where this node made it.
    pub(crate) fn connected(self: &Arc<Self>, peer: PeerId, made: Option<ConnectionId>) {
        let dialed = made.is_some();
        let is_member = self.is_member(&peer);
        let now = Instant::now();
        let fresh = Connected { since: now, was_member: is_member, is_mutual: false, heard: now };
        locked(&self.connections).entry(peer).or_insert(fresh).is_mutual |= !dialed;
        if is_member && !dialed {
            let _ = self.with(|federation| federation.roster.set_reachable(peer, true));
        }
        if let Some(connection) = made.filter(|_| !self.is_alone()) {
            let hub = Arc::clone(self);
            self.spawn(async move { crate::membership::greet(&hub, peer, connection).await });
        }
        self.has_changed();
    }

    /// A peer has said something: its connection is one.
    pub(crate) fn heard(&self, peer: &PeerId) {
        if let Some(connected) = locked(&self.connections).get_mut(peer) {
            connected.heard = Instant::now();
        }
    }

    /// Members that are connected and have said nothing for so long.
    pub(crate) fn unheard(&self, time: Duration) -> Vec<PeerId> {
        let connections = locked(&self.connections);
        let silent = connections.iter().filter(|(_, connected)| connected.heard.elapsed() >= time);
        silent.map(|(peer, _)| *peer).collect()
    }

    /// A peer has answered this node's hello with its own.
    pub(crate) fn greeted(&self, peer: &PeerId) {
        if let Some(connected) = locked(&self.connections).get_mut(peer) {
            connected.is_mutual = true;
        }
        if self.is_member(peer) {
            let _ = self.with(|federation| federation.roster.set_reachable(*peer, true));
        }
        self.has_changed();
    }

    /// The driver tells that the last connection to a peer is closed.
    pub(crate) fn disconnected(&self, peer: PeerId) {
        locked(&self.connections).remove(&peer);
        let _ = self.with(|federation| federation.roster.set_reachable(peer, false));
        self.has_changed();
    }

    /// The driver hands over a stream that a peer opened. Beyond the bounds it is reset, which the peer sees at once.
    pub(crate) fn incoming(self: &Arc<Self>, peer: PeerId, protocol: &StreamProtocol, stream: Stream) {
        let is_member = self.is_member(&peer);
        let (count, most) =
            if is_member { (&self.served, SERVED_MAX) } else { (&self.strangers, STRANGERS_MAX) };
        if count.load(Ordering::Relaxed) >= most {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let hub = Arc::clone(self);
        if protocol.as_ref() == MEMBERSHIP_PROTOCOL {
            count.fetch_add(1, Ordering::Relaxed);
            self.spawn(async move {
                crate::membership::serve(&hub, peer, stream).await;
                let count = if is_member { &hub.served } else { &hub.strangers };
                count.fetch_sub(1, Ordering::Relaxed);
            });
            return;
        }
        let service = self.services.iter().find(|service| service.protocol() == protocol.as_ref());
        let Some(service) = service.filter(|_| is_member).cloned() else {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.spawn(async move {
            service.serve(peer, stream).await;
            hub.served.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Runs something until it is done or the node stops.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(work).await;
        });
    }

    /// Whether a peer is a member, now.
    pub(crate) fn is_member(&self, peer: &PeerId) -> bool {
        let now_ms = self.now_ms();
        self.with(|federation| federation.roster.terms(peer, now_ms).is_ok()).unwrap_or(false)
    }

    /// Whether a peer is a member with a role, now.
    pub(crate) fn has_role(&self, peer: &PeerId, role: Role) -> bool {
        let now_ms = self.now_ms();
        self.with(|federation| federation.roster.has_role(peer, role, now_ms)).unwrap_or(false)
    }

    /// Who is connected.
    pub(crate) fn connected_peers(&self) -> Vec<PeerId> {
        locked(&self.connections).keys().copied().collect()
    }

    /// Since when a peer has been connected.
    #[cfg(test)]
    pub(crate) fn connected_since(&self, peer: &PeerId) -> Option<Instant> {
        locked(&self.connections).get(peer).map(|connected| connected.since)
    }

    /// Looks at every connection again: who became a member answers now; who is one no more, or never became one, is to be closed.
    pub(crate) fn unwelcome(&self) -> Vec<PeerId> {
        let mut closing = Vec::new();
        let mut connections = locked(&self.connections);
        for (peer, connected) in connections.iter_mut() {
            let is_member = self.is_member(peer);
            if is_member {
                let is_mutual = connected.is_mutual;
                let _ = self.with(|federation| federation.roster.set_reachable(*peer, is_mutual));
            } else if connected.was_member || connected.since.elapsed() > STRANGER_TIME {
                closing.push(*peer);
            }
            connected.was_member = is_member;
        }
        closing
    }

    /// Opens a stream to a peer, connecting first where nobody is connected.
    pub(crate) async fn open(&self, peer: &PeerId, protocol: &'static str) -> Result<Stream, PeerError> {
        if !locked(&self.connections).contains_key(peer) {
            self.connect(peer).await?;
        }
        self.open_over(peer, None, protocol).await
    }

    /// Opens a stream over a connection, or whichever there is.
    pub(crate) async fn open_over(
        &self,
        peer: &PeerId,
        connection: Option<ConnectionId>,
        protocol: &'static str,
    ) -> Result<Stream, PeerError> {
        let there =
            identity::to_transport(peer).ok_or(PeerError::Unreachable { why: "no key".to_owned() })?;
        let (reply, answer) = oneshot::channel();
        let protocol = StreamProtocol::new(protocol);
        self.command(Command::Open { peer: there, connection, protocol, reply }).await?;
        match answer.await {
            Ok(opened) => opened.map_err(PeerError::from),
            Err(_) => Err(OpenError::NotConnected.into()),
        }
    }

    /// Connects to a member where it said that it answers.
    pub(crate) async fn connect(&self, peer: &PeerId) -> Result<(), PeerError> {
        let addresses = self.with(|federation| federation.roster.addresses(peer).to_vec())?;
        self.connect_at(peer, &addresses).await
    }

    /// Connects to a peer at one of these addresses.
    pub(crate) async fn connect_at(&self, peer: &PeerId, addresses: &[String]) -> Result<(), PeerError> {
        let there =
            identity::to_transport(peer).ok_or(PeerError::Unreachable { why: "no key".to_owned() })?;
        let mut known: Vec<Multiaddr> = Vec::new();
        for address in addresses {
            if let Ok(address) = address.parse() {
                known.extend(crate::addresses::resolved(address).await);
            }
        }
        if known.is_empty() {
            return Err(PeerError::Unreachable { why: "it does not say where it answers".to_owned() });
        }
        let (reply, answer) = oneshot::channel();
        self.command(Command::Dial { peer: there, addresses: known, reply }).await?;
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(PeerError::Unreachable { why }),
            Err(_) => Err(PeerError::Stopping),
        }
    }

    /// Closes every connection to a peer.
    pub(crate) async fn close(&self, peer: &PeerId) {
        if let Some(peer) = identity::to_transport(peer) {
            let _ = self.command(Command::Close { peer }).await;
        }
    }

    /// Closes one connection; others to the same peer stay.
    pub(crate) async fn close_one(&self, connection: ConnectionId) {
        let _ = self.command(Command::CloseOne { connection }).await;
    }

    async fn command(&self, command: Command) -> Result<(), PeerError> {
        self.commands.send(command).await.map_err(|_| PeerError::Stopping)
    }
}

impl Permits for Hub {
    fn offered(&self, peer: &PeerId) -> Vec<StreamProtocol> {
        let mut offered = vec![StreamProtocol::new(MEMBERSHIP_PROTOCOL)];
        if self.is_member(peer) {
            offered.extend(self.services.iter().map(|service| StreamProtocol::new(service.protocol())));
        }
        offered
    }

    fn is_admitted(&self, peer: &PeerId) -> bool {
        let connections = locked(&self.connections);
        let strangers = connections.values().filter(|connected| !connected.was_member).count();
        let room = connections.len() < CONNECTIONS_MAX;
        drop(connections);
        // A stranger may be a member of whom this node has not heard yet, or hold a ticket.
        !self.is_alone() && room && (self.is_member(peer) || strangers < crate::STRANGERS_CONNECTED_MAX)
    }
}
