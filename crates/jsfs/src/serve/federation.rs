//! The node among others, as the front door asks for it: `jsfs-peer` below, HTTP above, each in its own types.

use super::records::Shared;
use super::tending;
use crate::config::Settings;
use anyhow::anyhow;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use jsfs_federation::blockstore::Patience;
use jsfs_federation::membership::{PeerId, Role, Roles};
use jsfs_federation::metastore::Limits;
use jsfs_federation::wire::ErrorCode;
use jsfs_http::{
    BlocksStatus, Federation, FederationRefusal, FederationStatus, InvitationDocument, Invitee, Peer,
    RecordsStatus,
};
use jsfs_objects::address::LOCALHOST;
use jsfs_objects::clock::{SystemClock, SystemRandom};
use jsfs_objects::key::SigningKey;
use jsfs_objects::{LeaseError, Objects, Remote, RemoteAnswer, WriteError};
use jsfs_peer::{Blocks, Kept, Node, Options, PeerError, parse_address};
use jsfs_store::{BlockId, Store};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Every role with its name.
const ROLES: [(&str, Role); 5] = [
    ("gateway", Role::Gateway),
    ("meta", Role::Meta),
    ("store", Role::Store),
    ("proc", Role::Proc),
    ("admin", Role::Admin),
];

/// How long others keep blocks of this node without hearing of it.
pub(super) const LEASE_S: u64 = 30 * 86_400;

/// Records of a member are not moved to others before it has been gone for so long, whatever is said of blocks: each move costs comparing with everybody.
const AWAY_MIN: Duration = Duration::from_secs(30);

/// Starts the node's side of its federation.
pub(super) fn start(
    settings: &Settings,
    key: SigningKey,
    store: &Store,
    objects: &Objects,
) -> anyhow::Result<Node> {
    let addresses = |texts: &[String]| {
        texts
            .iter()
            .map(|text| parse_address(text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| anyhow!(error))
    };
    let shelf = Arc::new(Shelf { objects: objects.clone(), node: OnceLock::new() });
    let node = Node::start(Options {
        data: settings.data.clone(),
        key,
        listen: addresses(&settings.federation_listen)?,
        announce: addresses(&settings.federation_announce)?,
        blocks: Arc::clone(&shelf) as Arc<dyn Blocks>,
        patience: Patience::default(),
        store: store.clone(),
        away_after: settings.federation_settle_time.max(AWAY_MIN),
        limits: Limits::default(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    })?;
    // The node outlives nothing that asks it: it is closed before the object layer is.
    let _ = shelf.node.set(node.clone());
    objects.set_remote(Arc::new(Others(node.clone())));
    objects.set_metastore(Arc::new(Shared(node.clone())));
    node.spawn(tending::run(node.clone(), objects.clone(), settings.federation_settle_time));
    Ok(node)
}

/// Blocks of this node as other nodes ask for them.
struct Shelf {
    objects: Objects,
    node: OnceLock<Node>,
}

impl Shelf {
    /// What this node is counted on for, in bytes.
    fn limit(&self) -> u64 {
        let terms = self.node.get().and_then(|node| node.status().terms);
        terms.map_or(0, |terms| terms.space << 30)
    }

    fn until_ms(&self, lease_s: u64) -> u64 {
        self.objects.now_ms().saturating_add(lease_s.saturating_mul(1_000))
    }
}

fn code(error: &LeaseError) -> ErrorCode {
    match error {
        LeaseError::Full { .. } | LeaseError::Write(WriteError::NoSpace | WriteError::ReadOnly { .. }) => {
            ErrorCode::Full
        }
        LeaseError::NoBlock { .. } => ErrorCode::Malformed,
        LeaseError::Write(error) => {
            tracing::warn!(%error, "blocks of another node could not be kept");
            ErrorCode::Busy
        }
    }
}

impl Blocks for Shelf {
    fn have(&self, ids: Vec<BlockId>) -> BoxFuture<'_, Vec<bool>> {
        let (objects, count) = (self.objects.clone(), ids.len());
        let look = tokio::task::spawn_blocking(move || objects.have_blocks(&ids));
        Box::pin(async move { look.await.unwrap_or_else(|_| vec![false; count]) })
    }

    fn get(&self, id: BlockId) -> BoxFuture<'_, Option<Bytes>> {
        let objects = self.objects.clone();
        let read = tokio::task::spawn_blocking(move || objects.block_here(&id));
        Box::pin(async move { read.await.ok().flatten() })
    }

    fn keep(&self, peer: PeerId, blocks: Vec<(BlockId, Bytes)>, lease_s: u64) -> Kept<'_, ()> {
        Box::pin(async move {
            let (until_ms, limit) = (self.until_ms(lease_s), self.limit());
            let kept = self.objects.lease_blocks(peer.as_bytes(), blocks, until_ms, limit).await;
            kept.map_err(|error| code(&error))
        })
    }

    fn pin(&self, peer: PeerId, ids: Vec<BlockId>, lease_s: u64) -> Kept<'_, Vec<bool>> {
        Box::pin(async move {
            let (until_ms, limit) = (self.until_ms(lease_s), self.limit());
            let kept = self.objects.extend_leases(peer.as_bytes(), &ids, until_ms, limit).await;
            kept.map_err(|error| code(&error))
        })
    }

    fn unpin(&self, peer: PeerId, ids: Vec<BlockId>) -> Kept<'_, Vec<bool>> {
        Box::pin(async move {
            let ended = self.objects.end_leases(peer.as_bytes(), &ids).await;
            ended.map_err(|error| code(&LeaseError::Write(error)))
        })
    }
}

/// Other nodes as the object layer asks for them.
struct Others(Node);

impl Remote for Others {
    fn shares(&self, namespace: &str) -> bool {
        namespace != LOCALHOST && !self.0.is_alone()
    }

    fn place(&self, new: Vec<(BlockId, Bytes)>, others: Vec<BlockId>) -> RemoteAnswer<'_, ()> {
        Box::pin(async move {
            let placed = self.0.place_blocks(new, others, LEASE_S).await;
            if placed.short > 0 {
                let (short, wanted) = (placed.short, placed.wanted);
                tracing::warn!(short, wanted, "blocks are on fewer nodes than they should be");
            }
        })
    }

    fn fetch(&self, block: BlockId) -> RemoteAnswer<'_, Option<Bytes>> {
        Box::pin(self.0.fetch_block(block))
    }
}

/// What the front door asks.
pub(super) struct Federated {
    pub(super) node: Node,
    pub(super) objects: Objects,
}

fn refusal(error: PeerError) -> FederationRefusal {
    let text = error.to_string();
    match error {
        PeerError::Alone
        | PeerError::Together { .. }
        | PeerError::NoAdmin
        | PeerError::NotListening
        | PeerError::Founder
        | PeerError::Membership(_) => FederationRefusal::Conflict(text),
        PeerError::NoMember { .. } => FederationRefusal::NotFound(text),
        PeerError::Ticket(_) | PeerError::Format(_) => FederationRefusal::Malformed(text),
        PeerError::Unreachable { .. }
        | PeerError::Refused { .. }
        | PeerError::Protocol { .. }
        | PeerError::Broken(_) => FederationRefusal::Elsewhere(text),
        PeerError::Keep { .. }
        | PeerError::Damaged { .. }
        | PeerError::Transport(_)
        | PeerError::Stopping => FederationRefusal::Internal(text),
    }
}

fn names(roles: Roles) -> Vec<&'static str> {
    ROLES.iter().filter(|(_, role)| roles.contains(*role)).map(|(name, _)| *name).collect()
}

fn roles(names: &[String]) -> Result<Roles, FederationRefusal> {
    if names.is_empty() {
        return Ok(Roles::FULL);
    }
    names.iter().try_fold(Roles::default(), |roles, name| {
        let known = ROLES.iter().find(|(known, _)| known == name);
        let unknown = || {
            FederationRefusal::Malformed(format!(
                "there is no role {name:?}; there are gateway, meta, store, proc and admin"
            ))
        };
        known.map(|(_, role)| roles.with(*role)).ok_or_else(unknown)
    })
}

type Answer<'a, T> = BoxFuture<'a, Result<T, FederationRefusal>>;

impl Federation for Federated {
    fn status(&self) -> FederationStatus {
        let (status, blocks) = (self.node.status(), self.node.block_counts());
        let records = self.node.records().counts();
        FederationStatus {
            peer: status.peer.to_string(),
            federation: status.federation.map(|federation| federation.to_string()),
            name: status.name,
            replicas: status.replicas,
            roles: status.terms.map(|terms| names(terms.roles)).unwrap_or_default(),
            admin: status.is_admin,
            expires: status.terms.map(|terms| terms.expires_ms),
            addresses: status.addresses,
            members: status.members,
            reachable: status.reachable,
            messages: status.membership_messages,
            bytes: status.membership_bytes,
            refused: status.refused,
            records: RecordsStatus {
                asked: records.asked,
                answered: records.answered,
                bytes: records.bytes,
                repair_bytes: records.repair_bytes,
                answered_bytes: records.answered_bytes,
                unsettled: records.unsettled,
                kept: records.kept,
                waiting: records.waiting,
                out_of_reach: records.out_of_reach,
                to_compare: records.to_compare,
                pulled: records.repaired.pulled,
                pushed: records.repaired.pushed,
                settled: records.settled,
            },
            blocks: BlocksStatus {
                fetched: blocks.fetched,
                fetched_bytes: blocks.fetched_bytes,
                placed: blocks.placed,
                placed_bytes: blocks.placed_bytes,
                questions: blocks.questions,
                lies: blocks.lies,
                short: blocks.short,
                leased_bytes: self.objects.leased_bytes(),
                cached_bytes: self.objects.cached_bytes(),
            },
        }
    }

    fn peers(&self) -> Result<Vec<Peer>, FederationRefusal> {
        let members = self.node.members().map_err(refusal)?;
        let peer = |member: jsfs_peer::Member| Peer {
            peer: member.terms.peer.to_string(),
            roles: names(member.terms.roles),
            space: member.terms.space,
            expires: Some(member.terms.expires_ms),
            addresses: member.addresses,
            reachable: member.is_reachable,
            is_self: member.is_self,
        };
        Ok(members.into_iter().map(peer).collect())
    }

    fn found(&self, name: String, replicas: u64, space: u64) -> Answer<'_, ()> {
        Box::pin(async move { self.node.found(&name, replicas, space).await.map(|_| ()).map_err(refusal) })
    }

    fn invite(&self, invitee: Invitee) -> Answer<'_, InvitationDocument> {
        Box::pin(async move {
            let roles = roles(&invitee.roles)?;
            let space = if roles.contains(Role::Store) { invitee.space } else { 0 };
            let ticket_ms = invitee.ticket_s.saturating_mul(1_000);
            let member_ms = invitee.member_s.map(|member_s| member_s.saturating_mul(1_000));
            let invitee = jsfs_peer::Invitee { roles, space, ticket_ms, member_ms };
            let invited = self.node.invite(invitee).await.map_err(refusal)?;
            Ok(InvitationDocument { ticket: invited.ticket.to_string(), expires: Some(invited.expires_ms) })
        })
    }

    fn join(&self, ticket: String) -> Answer<'_, ()> {
        Box::pin(async move { self.node.join(&ticket).await.map(|_| ()).map_err(refusal) })
    }

    fn revoke(&self, peer: String) -> Answer<'_, ()> {
        Box::pin(async move {
            let no_member = |_| PeerError::NoMember { peer: peer.clone() };
            let peer: PeerId = peer.parse().map_err(no_member).map_err(refusal)?;
            self.node.revoke(peer).await.map_err(refusal)
        })
    }

    fn leave(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.node.leave().await.map_err(refusal) })
    }
}
