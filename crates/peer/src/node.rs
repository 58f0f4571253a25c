//! What can be asked of a node: to found a federation, to invite, to join, to tell who is there, to revoke, to leave.
//!
//! Whatever is answered is on the disk of this node. What others have to know reaches those that are connected within a second, and the rest when they
//! are.

use crate::blocks::{BlockClient, BlockCounts, BlockService, Blocks, Placed};
use crate::driver::{self, Command};
use crate::error::PeerError;
use crate::hub::{Federation, Hub, Parts};
use crate::keep::Keeper;
use crate::membership::{Conversation, issuer, tell};
use crate::records::{self, RecordService, Records, Setup};
use crate::{Service, identity, tend};
use bytes::Bytes;
use jsfs_federation::blockstore::Patience;
use jsfs_federation::membership::{
    ADDRESSES_MAX, Admission, Answer, Certificate, Charter, Credential, Dismissal, FederationId, Invitation,
    Item, PeerId, Request, Revocation, Role, Roles, Roster, Terms, Ticket, TicketSecret,
};
use jsfs_federation::metastore::Limits;
use jsfs_objects::clock::{Clock, Random};
use jsfs_objects::key::{Seed, SigningKey};
use jsfs_store::{BlockId, Store};
use libp2p::Multiaddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// Commands that wait for the driver.
const COMMANDS_MAX: usize = 256;

/// A certificate that is renewed: ten years, since revoking takes effect at once.
const CERTIFICATE_MS: u64 = 3_650 * 86_400_000;

/// How often a node asks to be let in, where the connection ends under the question.
const JOIN_TRIES: usize = 3;
const JOIN_PAUSE: Duration = Duration::from_millis(300);

/// Time that others have to hear that this node leaves, or whom it revoked.
const FAREWELL_TIME: Duration = Duration::from_secs(3);

/// How a node is set up.
pub struct Options {
    /// Its data directory.
    pub data: PathBuf,
    /// Its identity.
    pub key: SigningKey,
    /// Where it listens for others.
    pub listen: Vec<Multiaddr>,
    /// Where others reach it; where it listens if empty.
    pub announce: Vec<Multiaddr>,
    /// What keeps blocks here.
    pub blocks: Arc<dyn Blocks>,
    /// How long other nodes are waited for.
    pub patience: Patience,
    /// Where records are kept.
    pub store: Store,
    /// How long a member may be out of reach until others keep what it kept of records.
    pub away_after: Duration,
    /// What is kept of them at most, and how many entries of a directory at one place.
    pub limits: Limits,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

/// Whom to invite.
#[derive(Clone, Copy, Debug)]
pub struct Invitee {
    /// What it will do.
    pub roles: Roles,
    /// How much it is counted on to keep, GiB.
    pub space: u64,
    /// How long the ticket is good, ms.
    pub ticket_ms: u64,
    /// How long it will be a member, ms; none for until it is revoked.
    pub member_ms: Option<u64>,
}

/// An invitation.
pub struct Invited {
    /// The line of text that lets its bearer in.
    pub ticket: Zeroizing<String>,
    /// Until when it is good, ms since 1970.
    pub expires_ms: u64,
}

/// What a node joined.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The federation's name, where it is known already.
    pub name: Option<String>,
    /// Which federation.
    pub federation: FederationId,
    /// As what.
    pub terms: Terms,
}

/// A member as this node sees it.
#[derive(Clone, Debug)]
pub struct Member {
    /// What its certificate says.
    pub terms: Terms,
    /// Where it says that it answers.
    pub addresses: Vec<String>,
    /// Whether it is connected; this node itself is.
    pub is_reachable: bool,
    /// Whether it is this node.
    pub is_self: bool,
}

/// The federation as this node sees it.
#[derive(Clone, Debug)]
pub struct Status {
    /// This node.
    pub peer: PeerId,
    /// Its federation; none where it is alone.
    pub federation: Option<FederationId>,
    /// What that is called.
    pub name: Option<String>,
    /// How many members keep each block.
    pub replicas: usize,
    /// What this node is in it.
    pub terms: Option<Terms>,
    /// Whether it may invite and revoke.
    pub is_admin: bool,
    /// Where it answers.
    pub addresses: Vec<String>,
    /// Members, this one included.
    pub members: usize,
    /// Members that are connected, this one included.
    pub reachable: usize,
    /// Messages about membership that this node sent and received since its start.
    pub membership_messages: u64,
    /// Their bytes.
    pub membership_bytes: u64,
    /// Streams and requests that were refused.
    pub refused: u64,
}

/// A node's side of a federation. Clones share it.
#[derive(Clone)]
pub struct Node {
    hub: Arc<Hub>,
    blocks: Arc<BlockClient>,
    records: Arc<Records>,
    source: Arc<dyn Blocks>,
}

impl Node {
    /// Reads what was kept, listens, and begins to keep in touch.
    ///
    /// # Errors
    /// That an address cannot be listened on, or that what was kept is damaged.
    pub fn start(options: Options) -> Result<Self, PeerError> {
        let service = Arc::new(BlockService::new(Arc::clone(&options.blocks)));
        let keeping = Arc::new(RecordService::default());
        let services: Vec<Arc<dyn Service>> =
            vec![Arc::clone(&service) as Arc<dyn Service>, Arc::clone(&keeping) as Arc<dyn Service>];
        let keeper = Keeper::new(&options.data);
        let kept = keeper.load(options.clock.now_ms())?;
        let (commands, receiver) = mpsc::channel::<Command>(COMMANDS_MAX);
        let hub = Arc::new(Hub::new(Parts {
            key: options.key.clone(),
            clock: options.clock,
            random: options.random,
            announced: options.announce.iter().map(Multiaddr::to_string).collect(),
            keeper,
            kept,
            commands,
            services,
        }));
        service.belongs_to(&hub);
        let mut swarm = driver::swarm(&options.key, &hub)?;
        driver::listen(&mut swarm, &options.listen)?;
        let driving = Arc::clone(&hub);
        hub.spawn(async move { driver::run(swarm, receiver, driving).await });
        tend::start(&hub);
        let (records, inbox) = Records::new(Arc::clone(&hub));
        keeping.belongs_to(records.inbox(), &records.counts);
        let setup = Setup { store: options.store, away_after: options.away_after, limits: options.limits };
        let (here, told) = (Arc::clone(&hub), Arc::clone(&records));
        hub.spawn(async move { records::run(here, told, setup, inbox).await });
        let blocks = Arc::new(BlockClient::new(Arc::clone(&hub), options.patience));
        Ok(Self { hub, blocks, records, source: options.blocks })
    }

    /// The records of its federation.
    pub fn records(&self) -> &Arc<Records> {
        &self.records
    }

    /// Ends every task and connection.
    pub async fn close(&self) {
        self.hub.stop.cancel();
        self.hub.tasks.close();
        self.hub.tasks.wait().await;
    }

    /// Founds a federation: makes its key, and this node its first member and admin.
    ///
    /// # Errors
    /// [`PeerError::Together`], or that the name is none.
    pub async fn found(&self, name: &str, replicas: u64, space: u64) -> Result<Joined, PeerError> {
        let hub = &self.hub;
        hub.check_alone()?;
        let seed = Seed::generate(&*hub.random);
        let authority = seed.keys().signing().clone();
        let now_ms = hub.now_ms();
        let charter = Charter::sign(now_ms, name, replicas, &authority)?;
        let terms = Terms {
            federation: authority.public(),
            peer: hub.me,
            roles: Roles::FULL.with(Role::Admin),
            space,
            from_ms: now_ms,
            expires_ms: now_ms + CERTIFICATE_MS,
            epoch: 1,
            issuer: authority.public(),
        };
        let credential = Credential { certificate: Certificate::sign(terms, &authority)?, issuer: None };
        let mut roster = Roster::new(authority.public());
        roster.add(Item::Charter(charter), now_ms)?;
        roster.add(Item::Member(credential), now_ms)?;
        hub.keep_authority(&seed).await?;
        let mut admission = Admission::default();
        admission.keep_renewed(hub.me);
        hub.enter(Federation { roster, admission, authority: Some(authority) })?;
        hub.save().await?;
        hub.announce();
        Ok(Joined { name: Some(name.to_owned()), federation: terms.federation, terms })
    }

    /// Opens an invitation, which this node answers as long as it is good.
    ///
    /// # Errors
    /// [`PeerError::NoAdmin`], [`PeerError::NotListening`].
    pub async fn invite(&self, invitee: Invitee) -> Result<Invited, PeerError> {
        let hub = &self.hub;
        let (me, now_ms) = (hub.me, hub.now_ms());
        let here = identity::to_transport(&me);
        let addresses: Vec<String> = hub
            .addresses()
            .iter()
            .filter_map(|address| Some(format!("{address}/p2p/{}", here?)))
            .take(ADDRESSES_MAX)
            .collect();
        let secret = TicketSecret::generate(&*hub.random);
        let expires_ms = now_ms.saturating_add(invitee.ticket_ms);
        let certificate_ms = invitee.member_ms.unwrap_or(CERTIFICATE_MS);
        let federation = hub.with(|federation| {
            issuer(federation, me, &hub.key, now_ms)?;
            if addresses.is_empty() {
                return Err(PeerError::NotListening);
            }
            let invitation = Invitation {
                roles: invitee.roles,
                space: invitee.space,
                expires_ms,
                certificate_ms,
                is_renewed: invitee.member_ms.is_none(),
                used_by: None,
            };
            // What its certificate will say is tried now, so that no ticket is handed out that admits nobody.
            let trial = Terms {
                federation: federation.roster.federation(),
                peer: me,
                roles: invitee.roles,
                space: invitee.space,
                from_ms: now_ms,
                expires_ms: now_ms.saturating_add(certificate_ms),
                epoch: 1,
                issuer: me,
            };
            let by = issuer(federation, me, &hub.key, now_ms)?.key;
            Certificate::sign(trial, &by)?;
            federation.admission.invite(&secret, invitation, now_ms)?;
            Ok(federation.roster.federation())
        })??;
        hub.save().await?;
        let ticket = Ticket { federation, secret, addresses, expires_ms };
        Ok(Invited { ticket: ticket.to_text()?, expires_ms })
    }

    /// Joins the federation of a ticket.
    ///
    /// # Errors
    /// [`PeerError::Together`], that the ticket is none or not good, or that nobody of whom it tells can be reached.
    pub async fn join(&self, text: &str) -> Result<Joined, PeerError> {
        let hub = &self.hub;
        hub.check_alone()?;
        let ticket = Ticket::parse(text)?;
        if hub.now_ms() >= ticket.expires_ms {
            return Err(jsfs_federation::membership::MembershipError::Ticket.into());
        }
        let mut last = PeerError::Unreachable { why: "the ticket names no address of this kind".to_owned() };
        for address in &ticket.addresses {
            let Some((address, peer)) = host_of(address) else { continue };
            for attempt in 0..JOIN_TRIES {
                if attempt > 0 {
                    // Until both sides know that the connection is gone.
                    tokio::time::sleep(JOIN_PAUSE).await;
                }
                // Whoever cannot be reached will not be reached a moment later.
                if let Err(error) = hub.connect_at(&peer, std::slice::from_ref(&address)).await {
                    last = error;
                    break;
                }
                match self.join_at(&ticket, peer).await {
                    Ok(joined) => return Ok(joined),
                    // Whoever refuses has been reached; the others were told of by the same node.
                    Err(error @ (PeerError::Refused { .. } | PeerError::Keep { .. })) => return Err(error),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    /// Joins at a node that is connected.
    async fn join_at(&self, ticket: &Ticket, host: PeerId) -> Result<Joined, PeerError> {
        let hub = &self.hub;
        let mut conversation = Conversation::begin(hub, &host).await?;
        let request = Request::Join { secret: ticket.secret.clone() };
        let Answer::Welcome(credential) = conversation.ask(&request).await? else {
            return Err(PeerError::Protocol { what: "an answer to another request".to_owned() });
        };
        let now_ms = hub.now_ms();
        let mut roster = Roster::new(ticket.federation);
        let terms = credential.verify(ticket.federation, hub.me, &roster.revocations().clone(), now_ms)?;
        roster.add(Item::Member(credential), now_ms)?;
        hub.enter(Federation { roster, admission: Admission::default(), authority: None })?;
        hub.save().await?;
        hub.announce();
        if let Err(error) = conversation.greet(&host).await {
            // The node is a member; it hears the rest when it compares notes.
            tracing::warn!(%error, "joined, but the first comparison failed");
        }
        hub.announce();
        hub.save().await?;
        let name = hub.with(|federation| federation.roster.charter().map(|c| c.name().to_owned()))?;
        Ok(Joined { name, federation: ticket.federation, terms })
    }

    /// Takes back what a member holds; it loses its connections to every node that hears of it.
    ///
    /// # Errors
    /// [`PeerError::NoMember`], [`PeerError::NoAdmin`], or that it is an admin and this node does not hold the federation's key.
    pub async fn revoke(&self, peer: PeerId) -> Result<(), PeerError> {
        let hub = &self.hub;
        let (me, now_ms) = (hub.me, hub.now_ms());
        let dismissal = hub.with(|federation| {
            let roster = &federation.roster;
            let no_member = || PeerError::NoMember { peer: peer.to_string() };
            let target = roster.credential(&peer).cloned().ok_or_else(no_member)?;
            let by = issuer(federation, me, &hub.key, now_ms)?;
            if peer == me {
                return Err(PeerError::NoMember {
                    peer: "other than this node; use `jsfs federation leave`".to_owned(),
                });
            }
            let epoch = target.certificate.terms().epoch;
            let revocation = Revocation::sign(roster.federation(), peer, epoch, &by.key);
            let admin = by.certificate.map(|certificate| Credential { certificate, issuer: None });
            let target = admin.is_some().then_some(target);
            Ok(Dismissal { revocation, admin, target })
        })??;
        let item = Item::Dismissal(Box::new(dismissal));
        hub.learn([item.clone()])?;
        hub.save().await?;
        self.tell_all(&item).await;
        Ok(())
    }

    /// Leaves the federation: says so to who is connected, and forgets it.
    ///
    /// # Errors
    /// [`PeerError::Alone`], [`PeerError::Founder`].
    pub async fn leave(&self) -> Result<(), PeerError> {
        let hub = &self.hub;
        let (me, now_ms) = (hub.me, hub.now_ms());
        let dismissal = hub.with(|federation| {
            let roster = &federation.roster;
            if federation.authority.is_some() && roster.members(now_ms).count() > 1 {
                return Err(PeerError::Founder);
            }
            let target = roster.credential(&me).cloned();
            Ok(target.map(|target| {
                let epoch = target.certificate.terms().epoch;
                let revocation = Revocation::sign(roster.federation(), me, epoch, &hub.key);
                Dismissal { revocation, admin: None, target: Some(target) }
            }))
        })??;
        if let Some(dismissal) = dismissal {
            self.tell_all(&Item::Dismissal(Box::new(dismissal))).await;
        }
        hub.part().await
    }

    /// Tells everybody who is connected, and waits a moment for it.
    async fn tell_all(&self, item: &Item) {
        let hub = &self.hub;
        let now_ms = hub.now_ms();
        let peers: Vec<PeerId> =
            hub.with(|federation| federation.roster.reachable(now_ms).collect()).unwrap_or_default();
        let items = vec![item.encode()];
        let telling = peers.into_iter().map(|peer| tell(hub, peer, items.clone()));
        let all = futures_util::future::join_all(telling);
        if tokio::time::timeout(FAREWELL_TIME, all).await.is_err() {
            tracing::warn!("not every member has heard of it yet; those that have tell the others");
        }
    }

    /// A block from a member that has it, verified; none if it is not to be had now.
    pub async fn fetch_block(&self, block: BlockId) -> Option<Bytes> {
        self.blocks.fetch(block).await
    }

    /// Has blocks of this node kept by the members that keep them, for so many seconds; they are on their disks when this answers. New ones are sent;
    /// of others, which are here, nobody is asked where it is remembered that they were placed.
    pub async fn place_blocks(
        &self,
        new: Vec<(BlockId, Bytes)>,
        others: Vec<BlockId>,
        lease_s: u64,
    ) -> Placed {
        self.blocks.place(new, others, lease_s, &*self.source).await
    }

    /// Has blocks that are on this node kept for so many seconds from now on, and sends them to whoever should have them and does not.
    pub async fn renew_blocks(&self, ids: Vec<BlockId>, lease_s: u64) -> Placed {
        self.blocks.renew(ids, lease_s, &*self.source).await
    }

    /// Woken when who is a member, or connected, may have changed.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.hub.changes()
    }

    /// The members that can be relied on now: this node, and those that are connected. Empty where the node is alone.
    pub fn member_ids(&self) -> Vec<PeerId> {
        let now_ms = self.hub.now_ms();
        self.hub.with(|federation| federation.roster.reachable(now_ms).collect()).unwrap_or_default()
    }

    /// Runs something until it is done or the node stops.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.hub.spawn(work);
    }

    /// Whether there is anybody to ask for blocks.
    pub fn is_alone(&self) -> bool {
        self.hub.is_alone()
    }

    /// What was moved of blocks since the start.
    pub fn block_counts(&self) -> BlockCounts {
        self.blocks.counts.told()
    }

    /// The federation as this node sees it.
    pub fn status(&self) -> Status {
        let hub = &self.hub;
        let (me, now_ms, count) =
            (hub.me, hub.now_ms(), |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed));
        let alone = Status {
            peer: me,
            federation: None,
            name: None,
            replicas: 1,
            terms: None,
            is_admin: false,
            addresses: hub.addresses(),
            members: 0,
            reachable: 0,
            membership_messages: count(&hub.counters.membership_messages),
            membership_bytes: count(&hub.counters.membership_bytes),
            refused: count(&hub.counters.refused),
        };
        let told = alone.clone();
        hub.with(|federation| {
            let roster = &federation.roster;
            Status {
                federation: Some(roster.federation()),
                name: roster.charter().map(|charter| charter.name().to_owned()),
                replicas: roster.charter().map_or(1, Charter::replicas),
                terms: roster.terms(&me, now_ms).ok(),
                is_admin: issuer(federation, me, &hub.key, now_ms).is_ok(),
                members: roster.members(now_ms).count(),
                reachable: roster.reachable(now_ms).filter(|peer| *peer != me).count() + 1,
                ..told
            }
        })
        .unwrap_or(alone)
    }

    /// Every member, in the order of their ids.
    ///
    /// # Errors
    /// [`PeerError::Alone`].
    pub fn members(&self) -> Result<Vec<Member>, PeerError> {
        let hub = &self.hub;
        let (me, now_ms) = (hub.me, hub.now_ms());
        hub.with(|federation| {
            let roster = &federation.roster;
            let member = |terms: Terms| Member {
                addresses: roster.addresses(&terms.peer).to_vec(),
                is_reachable: terms.peer == me || roster.is_reachable(&terms.peer),
                is_self: terms.peer == me,
                terms,
            };
            roster.members(now_ms).map(member).collect()
        })
    }
}

/// Host and address of `/ip4/…/tcp/…/p2p/PEER`. The peer is needed: a ticket's secret is for it and nobody else.
fn host_of(address: &str) -> Option<(String, PeerId)> {
    let (address, peer) = address.rsplit_once("/p2p/")?;
    let peer: libp2p::PeerId = peer.parse().ok()?;
    Some((address.to_owned(), identity::from_transport(&peer)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails says where")]
mod tests;
