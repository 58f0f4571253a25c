//! `/.jsfs/federation…` and `/.jsfs/peers`: the nodes that answer as one with this one, for the holder of the root key.
//!
//! What a federation is, this crate does not know: it asks whoever implements [`Federation`] and renders the answer. A ticket is told once, in an
//! answer that is never cached.

use futures_util::future::BoxFuture;
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

use crate::body::{Arriving, Body};
use crate::document::{Document, wrong};
use crate::front::Front;
use crate::metadata::{json, no_content};
use crate::problem::{Kind, Problem};
use crate::request::Asked;
use crate::wire::rfc3339;

/// A ticket is good for a day unless the request says otherwise.
const TICKET_S: u64 = 86_400;

/// What a member is counted on for unless the request says otherwise, GiB.
const SPACE_GIB: u64 = 64;

/// How many members keep each block unless the request says otherwise.
const REPLICAS: u64 = 3;

/// What a new member is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitee {
    /// Names of roles; none for all that a full node does.
    pub roles: Vec<String>,
    /// How much it is counted on to keep, in GiB.
    pub space: u64,
    /// How long the ticket is good, in seconds.
    pub ticket_s: u64,
    /// How long it is a member, in seconds; none for until it is revoked.
    pub member_s: Option<u64>,
}

/// The federation as this node sees it.
#[derive(Clone, Debug, Serialize)]
pub struct FederationStatus {
    /// This node.
    pub peer: String,
    /// Its federation; none where it is alone.
    pub federation: Option<String>,
    /// What that is called.
    pub name: Option<String>,
    /// How many members keep each block.
    pub replicas: usize,
    /// What this node does in it.
    pub roles: Vec<&'static str>,
    /// Whether it may invite and revoke.
    pub admin: bool,
    /// Until when it is a member.
    #[serde(serialize_with = "time")]
    pub expires: Option<u64>,
    /// Where it answers other nodes.
    pub addresses: Vec<String>,
    /// Members, this one included.
    pub members: usize,
    /// Members that are connected, this one included.
    pub reachable: usize,
    /// Messages about membership since the start.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Streams and requests of peers that were refused since the start.
    pub refused: u64,
    /// What was asked and answered about records.
    pub records: RecordsStatus,
    /// What was moved and is kept of blocks.
    pub blocks: BlocksStatus,
}

/// Records that this node and others keep for each other; counted since the start.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct RecordsStatus {
    /// Requests to others.
    pub asked: u64,
    /// Requests of others.
    pub answered: u64,
    /// Bytes of requests and answers, both ways.
    pub bytes: u64,
    /// Those of them that went into comparing and repairing, as far as this node began it.
    pub repair_bytes: u64,
    /// Those of them that answered others.
    pub answered_bytes: u64,
    /// Reads that too few members answered.
    pub unsettled: u64,
    /// Writes that too few members took at once.
    pub kept: u64,
    /// Writes of this node that still wait for enough members.
    pub waiting: u64,
    /// Copies of versions kept here that lie with members out of reach, when that was last looked at.
    pub out_of_reach: u64,
    /// Members that are still to be compared with.
    pub to_compare: u64,
    /// Versions that comparing brought here.
    pub pulled: u64,
    /// Versions that it, and a change of members, gave to others.
    pub pushed: u64,
    /// Whether this member has heard from all others since members changed.
    pub settled: bool,
}

/// Blocks that this node shares with others; counted since the start but for what is kept.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct BlocksStatus {
    /// Fetched from others.
    pub fetched: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
    /// Copies that others took.
    pub placed: u64,
    /// Their bytes.
    pub placed_bytes: u64,
    /// Questions that were asked of others.
    pub questions: u64,
    /// Answers with other bytes than those asked for.
    pub lies: u64,
    /// Blocks of which there were too few copies when that was looked at.
    pub short: u64,
    /// Bytes that are kept for others.
    pub leased_bytes: u64,
    /// Bytes that are kept because they were read here.
    pub cached_bytes: u64,
}

/// A member.
#[derive(Clone, Debug, Serialize)]
pub struct Peer {
    /// Who it is.
    pub peer: String,
    /// What it does.
    pub roles: Vec<&'static str>,
    /// How much it is counted on to keep, in GiB.
    pub space: u64,
    /// Until when it is a member, ms since 1970.
    #[serde(serialize_with = "time")]
    pub expires: Option<u64>,
    /// Where it says that it answers.
    pub addresses: Vec<String>,
    /// Whether it is connected.
    pub reachable: bool,
    /// Whether it is this node.
    #[serde(rename = "self")]
    pub is_self: bool,
}

/// An invitation.
#[derive(Serialize)]
pub struct InvitationDocument {
    /// What lets its bearer in, once.
    pub ticket: String,
    /// Until when, ms since 1970.
    #[serde(serialize_with = "time")]
    pub expires: Option<u64>,
}

fn time<S: serde::Serializer>(time_ms: &Option<u64>, out: S) -> Result<S::Ok, S::Error> {
    match time_ms {
        Some(time_ms) => out.serialize_str(&rfc3339(*time_ms)),
        None => out.serialize_none(),
    }
}

/// Why the federation did not do what was asked.
#[derive(Clone, Debug)]
pub enum FederationRefusal {
    /// What was sent makes no sense.
    Malformed(String),
    /// There is no such thing.
    NotFound(String),
    /// Not in the state that this node is in.
    Conflict(String),
    /// Another node refused or cannot be reached.
    Elsewhere(String),
    /// A fault of this node.
    Internal(String),
}

impl From<FederationRefusal> for Problem {
    fn from(refusal: FederationRefusal) -> Self {
        match refusal {
            FederationRefusal::Malformed(text) => Self::malformed(text),
            FederationRefusal::NotFound(text) => Self::new(Kind::NotFound, text),
            FederationRefusal::Conflict(text) => Self::new(Kind::Conflict, text),
            FederationRefusal::Elsewhere(text) => Self::new(Kind::BadGateway, text),
            FederationRefusal::Internal(text) => Self::internal(&text),
        }
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, FederationRefusal>>;

/// This node among others. Whoever calls has shown the root key.
pub trait Federation: Send + Sync {
    /// How the federation is.
    fn status(&self) -> FederationStatus;
    /// Its members.
    fn peers(&self) -> Result<Vec<Peer>, FederationRefusal>;
    /// Founds one of that name.
    fn found(&self, name: String, replicas: u64, space: u64) -> Answer<'_, ()>;
    /// Opens an invitation.
    fn invite(&self, invitee: Invitee) -> Answer<'_, InvitationDocument>;
    /// Joins that of a ticket.
    fn join(&self, ticket: String) -> Answer<'_, ()>;
    /// Takes back what a member holds.
    fn revoke(&self, peer: String) -> Answer<'_, ()>;
    /// Leaves.
    fn leave(&self) -> Answer<'_, ()>;
}

/// One resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    /// The federation.
    Whole,
    /// Its members.
    Peers,
    Invitations,
    Join,
    Revocations,
}

impl Resource {
    /// The resource at what follows `/.jsfs`.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            "/federation" => Some(Self::Whole),
            "/peers" => Some(Self::Peers),
            "/federation/invitations" => Some(Self::Invitations),
            "/federation/join" => Some(Self::Join),
            "/federation/revocations" => Some(Self::Revocations),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct Peers {
    peers: Vec<Peer>,
}

/// Answers a request to one of them.
pub(crate) async fn answer(
    front: &Front,
    asked: &Asked<'_>,
    resource: Resource,
    methods: &'static str,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let is_known = methods.split(", ").any(|method| method == asked.method.as_str());
    if !is_known {
        return Err(Problem::method_not_allowed(asked.method, methods));
    }
    front.objects().authorize_root(&asked.credentials()?).await?;
    let federation = || {
        let none = || Problem::new(Kind::NotImplemented, "this node cannot be in a federation");
        front.federation().ok_or_else(none)
    };
    match (resource, asked.method) {
        (Resource::Peers, _) => json(StatusCode::OK, &Peers { peers: federation()?.peers()? }),
        (Resource::Whole, &Method::DELETE) => {
            federation()?.leave().await?;
            Ok(no_content())
        }
        (Resource::Whole, &Method::GET | &Method::HEAD) => json(StatusCode::OK, &federation()?.status()),
        _ => {
            let document = Document::read(asked.headers, body, front.json_bytes_max()).await?;
            change(federation()?, resource, document).await
        }
    }
}

async fn change(
    federation: &dyn Federation,
    resource: Resource,
    mut document: Document,
) -> Result<Response<Body>, Problem> {
    match resource {
        Resource::Invitations => {
            let invitee = Invitee {
                roles: roles(&mut document)?,
                space: number(&mut document, "space")?.unwrap_or(SPACE_GIB),
                ticket_s: number(&mut document, "expires_in")?.unwrap_or(TICKET_S),
                member_s: number(&mut document, "member_for")?,
            };
            document.finish("roles, space, expires_in and member_for")?;
            json(StatusCode::CREATED, &federation.invite(invitee).await?)
        }
        Resource::Join => {
            let ticket = document.text("ticket")?.ok_or_else(|| wrong("ticket", "a ticket"))?;
            document.finish("ticket")?;
            federation.join(ticket).await?;
            json(StatusCode::OK, &federation.status())
        }
        Resource::Revocations => {
            let peer = document.text("peer")?.ok_or_else(|| wrong("peer", "the id of a member"))?;
            document.finish("peer")?;
            federation.revoke(peer).await?;
            Ok(no_content())
        }
        Resource::Whole | Resource::Peers => {
            let name = document.text("name")?.ok_or_else(|| wrong("name", "a name"))?;
            let replicas = number(&mut document, "replicas")?.unwrap_or(REPLICAS);
            let space = number(&mut document, "space")?.unwrap_or(SPACE_GIB);
            document.finish("name, replicas and space")?;
            federation.found(name, replicas, space).await?;
            json(StatusCode::CREATED, &federation.status())
        }
    }
}

fn number(document: &mut Document, name: &'static str) -> Result<Option<u64>, Problem> {
    let value = document.take(name);
    value.map(|value| value.as_u64().ok_or_else(|| wrong(name, "a number"))).transpose()
}

fn roles(document: &mut Document) -> Result<Vec<String>, Problem> {
    let Some(value) = document.take("roles") else { return Ok(Vec::new()) };
    let names = value.as_array().map(|names| names.iter().map(|name| name.as_str().map(str::to_owned)));
    names.and_then(Iterator::collect).ok_or_else(|| wrong("roles", "a list of names of roles"))
}
