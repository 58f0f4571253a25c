//! `/jsfs/membership/1` over streams: answering others, greeting them, and keeping what all know the same.
//!
//! Answers are computed by [`answer`], which knows no stream. Every wait has an end; a peer that breaks the protocol loses the stream, a stranger its
//! connection.

use crate::error::PeerError;
use crate::frames::{self, StreamError};
use crate::hub::{Federation, Hub};
use jsfs_federation::membership::{
    Answer, Credential, Item, MEMBERSHIP_PROTOCOL, MESSAGE_BYTES_MAX, Mark, MembershipError, PeerId, Request,
    Role, STRANGER_BYTES_MAX, TicketSecret,
};
use jsfs_federation::wire::ErrorCode;
use jsfs_objects::cbor::Cbor;
use libp2p::swarm::{ConnectionId, Stream};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Time for one message to come or go.
const MESSAGE_TIME: Duration = Duration::from_secs(10);

/// Requests on one stream.
const REQUESTS_MAX: usize = 1_024;

/// Rounds of one comparison; what is left then comes with the next.
const ROUNDS_MAX: usize = 128;

/// Serves a stream that a peer opened, until the peer ends it or breaks the protocol.
pub(crate) async fn serve(hub: &Hub, peer: PeerId, mut stream: Stream) {
    for _ in 0..REQUESTS_MAX {
        let is_member = hub.is_member(&peer);
        let limit = if is_member { MESSAGE_BYTES_MAX } else { STRANGER_BYTES_MAX };
        let answer = match frames::receive(&mut stream, limit, MESSAGE_TIME).await {
            Ok(None) => return,
            Ok(Some(message)) => {
                count(hub, message.len());
                hub.heard(&peer);
                let request = Request::from_bytes(&message);
                match request {
                    Ok(request) => Box::pin(answered(hub, peer, request)).await,
                    Err(_) => Answer::Refused(ErrorCode::Malformed.number()),
                }
            }
            Err(StreamError::Frame(error)) => {
                tracing::debug!(%peer, %error, "a stream about membership is cut");
                Answer::Refused(ErrorCode::Malformed.number())
            }
            Err(_) => return,
        };
        let is_refused = matches!(answer, Answer::Refused(_));
        let message = answer.to_bytes();
        count(hub, message.len());
        let sent = frames::send(&mut stream, &message, MESSAGE_TIME).await;
        if is_refused {
            hub.counters.refused.fetch_add(1, Ordering::Relaxed);
            // The refusal is to arrive before the end of the connection does.
            let _ = futures_util::AsyncWriteExt::close(&mut stream).await;
            if !hub.is_member(&peer) {
                tokio::time::sleep(Duration::from_millis(200)).await;
                hub.close(&peer).await;
            }
            return;
        }
        if sent.is_err() {
            return;
        }
    }
}

fn count(hub: &Hub, bytes: usize) {
    hub.counters.membership_messages.fetch_add(1, Ordering::Relaxed);
    hub.counters.membership_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// What is answered. Whom this node lets in is on its disk before the answer goes out.
async fn answered(hub: &Hub, peer: PeerId, request: Request) -> Answer {
    let refused = |code: ErrorCode| Answer::Refused(code.number());
    let is_member = hub.is_member(&peer);
    match request {
        Request::Hello(hello) => {
            let shown = std::iter::once(Item::Member(hello.credential));
            let items = shown.chain(hello.announcement.map(Item::Announcement));
            // A credential of another peer is one that this peer did not have to show: it is looked at again below.
            let learned = hub.learn(items);
            if !hub.is_member(&peer) {
                return match learned {
                    Err(PeerError::Membership(error)) => Answer::refusing(error),
                    _ => refused(ErrorCode::NotMember),
                };
            }
            hub.has_changed();
            hub.hello().map_or_else(|_| refused(ErrorCode::NotMember), Answer::Hello)
        }
        Request::Join { secret } => match Box::pin(admit(hub, peer, &secret)).await {
            Ok(credential) => Answer::Welcome(credential),
            Err(PeerError::Membership(error)) => Answer::refusing(error),
            Err(error) => {
                tracing::warn!(%error, %peer, "cannot let a peer in");
                refused(ErrorCode::Full)
            }
        },
        _ if !is_member => refused(ErrorCode::NotMember),
        Request::Sync { marks } => {
            let summary: BTreeSet<Mark> = marks.into_iter().collect();
            let difference = hub.with(|federation| federation.roster.difference(&summary));
            difference.map_or_else(
                |_| refused(ErrorCode::NotMember),
                |difference| Answer::difference(difference.theirs, difference.ours),
            )
        }
        Request::Tell { items } => {
            let Ok(items) = items.iter().map(|item| Item::decode(item)).collect::<Result<Vec<_>, _>>() else {
                return refused(ErrorCode::Malformed);
            };
            match hub.learn(items) {
                Ok(new) => Answer::Heard { new },
                // A member that is behind may hand on what counts no more.
                Err(PeerError::Membership(error)) => {
                    tracing::debug!(%peer, %error, "a statement was not believed");
                    Answer::Heard { new: 0 }
                }
                Err(_) => refused(ErrorCode::NotMember),
            }
        }
    }
}

/// Lets a peer in on a ticket.
async fn admit(hub: &Hub, peer: PeerId, secret: &TicketSecret) -> Result<Credential, PeerError> {
    let (me, now_ms) = (hub.me, hub.now_ms());
    let credential = hub.with(|federation| {
        let issuer = issuer(federation, me, &hub.key, now_ms)?;
        let epoch = federation.roster.next_epoch(&peer);
        let by = (federation.roster.federation(), &issuer.key);
        let certificate = federation.admission.admit(secret, peer, epoch, by, now_ms)?;
        Ok::<_, PeerError>(Credential { certificate, issuer: issuer.certificate })
    })??;
    hub.learn([Item::Member(credential.clone())])?;
    hub.save().await?;
    Ok(credential)
}

/// Renews the certificates of members that this node let in, before they end.
pub(crate) async fn renew(hub: &Hub) -> Result<(), PeerError> {
    let (me, now_ms) = (hub.me, hub.now_ms());
    let renewed = hub.with(|federation| {
        let Ok(issuer) = issuer(federation, me, &hub.key, now_ms) else { return Ok(Vec::new()) };
        let by = (&issuer.key, issuer.certificate.as_ref());
        federation.admission.renew(&federation.roster, by, now_ms)
    });
    // Who is in no federation renews nothing.
    let Ok(renewed) = renewed else { return Ok(()) };
    let renewed = renewed?;
    if renewed.is_empty() {
        return Ok(());
    }
    tracing::info!(count = renewed.len(), "renewing certificates of members");
    hub.learn(renewed.into_iter().map(Item::Member))?;
    hub.save().await
}

/// Who signs for others here.
pub(crate) struct Issuer {
    pub(crate) key: jsfs_objects::key::SigningKey,
    /// What shows that it may; none for the authority.
    pub(crate) certificate: Option<jsfs_federation::membership::Certificate>,
}

/// The authority's key where it is here, else this node's own where it is an admin.
pub(crate) fn issuer(
    federation: &Federation,
    me: PeerId,
    key: &jsfs_objects::key::SigningKey,
    now_ms: u64,
) -> Result<Issuer, PeerError> {
    if let Some(authority) = &federation.authority {
        return Ok(Issuer { key: authority.clone(), certificate: None });
    }
    if !federation.roster.has_role(&me, Role::Admin, now_ms) {
        return Err(PeerError::NoAdmin);
    }
    let certificate = federation.roster.credential(&me).map(|credential| credential.certificate.clone());
    Ok(Issuer { key: key.clone(), certificate })
}

/// A conversation that this node began.
pub(crate) struct Conversation<'h> {
    hub: &'h Hub,
    stream: Stream,
}

impl<'h> Conversation<'h> {
    /// Opens a stream to a peer.
    pub(crate) async fn begin(hub: &'h Hub, peer: &PeerId) -> Result<Self, PeerError> {
        Self::over(hub, hub.open(peer, MEMBERSHIP_PROTOCOL)).await
    }

    /// With a stream that is being opened.
    async fn over(
        hub: &'h Hub,
        opening: impl Future<Output = Result<Stream, PeerError>>,
    ) -> Result<Self, PeerError> {
        let stream = tokio::time::timeout(MESSAGE_TIME, opening).await;
        let silent = |_| PeerError::from(StreamError::Silent(MESSAGE_TIME));
        Ok(Self { hub, stream: stream.map_err(silent)?? })
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Answer, PeerError> {
        let message = request.to_bytes();
        count(self.hub, message.len());
        frames::send(&mut self.stream, &message, MESSAGE_TIME).await?;
        let answer = frames::receive(&mut self.stream, MESSAGE_BYTES_MAX, MESSAGE_TIME).await?;
        let answer = answer.ok_or(StreamError::Ended)?;
        count(self.hub, answer.len());
        match Answer::from_bytes(&answer).map_err(|error| PeerError::Protocol { what: error.to_string() })? {
            Answer::Refused(number) => {
                Err(PeerError::Refused { code: ErrorCode::from_number(number).unwrap_or(ErrorCode::Unknown) })
            }
            answer => Ok(answer),
        }
    }

    /// Shows who this node is, hears who the other is, and compares what both know.
    pub(crate) async fn greet(&mut self, peer: &PeerId) -> Result<(), PeerError> {
        let Answer::Hello(theirs) = self.ask(&Request::Hello(self.hub.hello()?)).await? else {
            return Err(out_of_turn());
        };
        let shown = std::iter::once(Item::Member(theirs.credential));
        let learned = self.hub.learn(shown.chain(theirs.announcement.map(Item::Announcement)));
        if !self.hub.is_member(peer) {
            learned?;
            return Err(MembershipError::Peer.into());
        }
        self.hub.greeted(peer);
        if self.hub.with(|federation| federation.roster.digest())? == theirs.digest {
            return Ok(());
        }
        self.compare().await
    }

    /// Hears what this node lacks and tells what the other lacks.
    pub(crate) async fn compare(&mut self) -> Result<(), PeerError> {
        for _ in 0..ROUNDS_MAX {
            let marks = self.hub.with(|federation| federation.roster.summary().collect())?;
            let Answer::Difference { items, wanted, more } = self.ask(&Request::Sync { marks }).await? else {
                return Err(out_of_turn());
            };
            let items: Result<Vec<Item>, _> = items.iter().map(|item| Item::decode(item)).collect();
            let items = items.map_err(|error| PeerError::Protocol { what: error.to_string() })?;
            let new = match self.hub.learn(items) {
                Err(PeerError::Membership(error)) => {
                    tracing::debug!(%error, "a statement was not believed");
                    0
                }
                learned => learned?,
            };
            let theirs = self.hub.with(|federation| federation.roster.wanted(wanted.iter()))?;
            for request in Request::tell(theirs) {
                self.ask(&request).await?;
            }
            // What is not believed comes again and again; it is left at that.
            if !more || new == 0 {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn out_of_turn() -> PeerError {
    PeerError::Protocol { what: "an answer to another request".to_owned() }
}

/// Greets a peer over a connection that this node has made; whoever is no member is left. Where both sides connected at once there is another connection, which is
/// as good as it was whatever becomes of this one.
pub(crate) async fn greet(hub: &Hub, peer: PeerId, connection: ConnectionId) {
    let opening = hub.open_over(&peer, Some(connection), MEMBERSHIP_PROTOCOL);
    let greeting = async { Conversation::over(hub, opening).await?.greet(&peer).await };
    if let Err(error) = greeting.await {
        tracing::debug!(%peer, %error, "greeting a peer failed");
        // Whoever refuses this node, or is no member, is of no use; the next try comes later.
        hub.close_one(connection).await;
    }
}

/// Makes sure that a connected member is there: nothing else tells when the network between has gone. One that does not answer is connected no more.
pub(crate) async fn knock(hub: &Hub, peer: PeerId, within: Duration) {
    let knocking = async {
        let nothing = Request::Tell { items: Vec::new() };
        Conversation::begin(hub, &peer).await?.ask(&nothing).await
    };
    match tokio::time::timeout(within, knocking).await {
        Ok(Ok(_)) => hub.heard(&peer),
        // Who answers with a refusal is there.
        Ok(Err(PeerError::Refused { .. })) => hub.heard(&peer),
        Ok(Err(error)) => {
            tracing::info!(%peer, %error, "closing the connection to a member that does not answer");
            hub.close(&peer).await;
        }
        Err(_) => {
            tracing::info!(%peer, ?within, "closing the connection to a member that did not answer in time");
            hub.close(&peer).await;
        }
    }
}

/// Hands statements on.
pub(crate) async fn tell(hub: &Hub, peer: PeerId, items: Vec<Vec<u8>>) -> Result<(), PeerError> {
    let mut conversation = Conversation::begin(hub, &peer).await?;
    for request in Request::tell(items) {
        conversation.ask(&request).await?;
    }
    Ok(())
}
