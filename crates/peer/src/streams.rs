//! Streams over connections: a behaviour of the swarm that opens and accepts them, and loses none of them silently.
//!
//! A connection takes as many streams at once as the multiplexer allows; each that comes in goes to the driver, which waits for nobody, or the
//! connection waits. Whether a peer may speak a protocol is asked when it opens a stream: a stranger is offered the membership protocol and no other.

use crate::{Permits, identity};
use libp2p::StreamProtocol;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, Stream, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use thiserror::Error;
use tokio::sync::oneshot;

/// Streams that one connection has asked for and not got yet.
const OPENING_MAX: usize = 256;

/// Why a stream was not opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// Nobody is connected.
    #[error("the peer is not connected")]
    NotConnected,
    /// The other side does not speak the protocol, or not with us.
    #[error("the peer does not offer this protocol to this node")]
    Refused,
    /// Too many at once.
    #[error("too many streams to this peer are being opened")]
    Busy,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Connection(String),
}

/// Who waits for a stream.
pub(crate) type Reply = oneshot::Sender<Result<Stream, OpenError>>;

/// A stream to be opened.
#[derive(Debug)]
pub(crate) struct Opening {
    protocol: StreamProtocol,
    reply: Reply,
}

/// A stream that a peer opened.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Who.
    pub(crate) peer: libp2p::PeerId,
    /// What for.
    pub(crate) protocol: StreamProtocol,
    /// The stream.
    pub(crate) stream: Stream,
}

/// The behaviour.
pub(crate) struct Streams {
    permits: Arc<dyn Permits>,
    events: VecDeque<ToSwarm<Incoming, Opening>>,
}

impl Streams {
    /// Asks `permits` what is spoken with whom.
    pub(crate) fn new(permits: Arc<dyn Permits>) -> Self {
        Self { permits, events: VecDeque::new() }
    }

    /// Opens a stream to a connected peer, over one of its connections or whichever there is.
    pub(crate) fn open(
        &mut self,
        peer: libp2p::PeerId,
        connection: Option<ConnectionId>,
        protocol: StreamProtocol,
        reply: Reply,
    ) {
        let event = Opening { protocol, reply };
        let handler = connection.map_or(NotifyHandler::Any, NotifyHandler::One);
        self.events.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler, event });
    }

    fn handler(&self, peer: libp2p::PeerId) -> Result<Handler, ConnectionDenied> {
        let known = identity::from_transport(&peer);
        let ours = known.ok_or_else(|| ConnectionDenied::new(OpenError::Refused))?;
        Ok(Handler {
            peer: ours,
            permits: Arc::clone(&self.permits),
            asked: VecDeque::new(),
            opening: 0,
            incoming: VecDeque::new(),
        })
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = Incoming;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: libp2p::PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler = self.handler(peer)?;
        if self.permits.is_admitted(&handler.peer) {
            Ok(handler)
        } else {
            Err(ConnectionDenied::new(OpenError::Busy))
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: libp2p::PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(peer)
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(
        &mut self,
        peer: libp2p::PeerId,
        _: ConnectionId,
        (stream, protocol): THandlerOutEvent<Self>,
    ) {
        self.events.push_back(ToSwarm::GenerateEvent(Incoming { peer, protocol, stream }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // The driver polls again whenever it has asked for something.
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// One connection's streams.
pub(crate) struct Handler {
    peer: jsfs_federation::membership::PeerId,
    permits: Arc<dyn Permits>,
    /// To be asked of the multiplexer.
    asked: VecDeque<Opening>,
    /// How many were asked for and have not come yet.
    opening: usize,
    incoming: VecDeque<(Stream, StreamProtocol)>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Opening;
    type ToBehaviour = (Stream, StreamProtocol);
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(Offer(self.permits.offered(&self.peer)), ())
    }

    fn connection_keep_alive(&self) -> bool {
        // Strangers and connections that nobody wants any more are closed by the driver.
        true
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Offer, Reply, (Stream, StreamProtocol)>> {
        if let Some(incoming) = self.incoming.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(incoming));
        }
        if let Some(Opening { protocol, reply }) = self.asked.pop_front() {
            self.opening += 1;
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(Offer(vec![protocol]), reply),
            });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, opening: Opening) {
        if self.asked.len() + self.opening >= OPENING_MAX {
            let _ = opening.reply.send(Err(OpenError::Busy));
        } else {
            self.asked.push_back(opening);
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Offer, Offer, (), Reply>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.incoming.push_back(protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, _),
                info: reply,
            }) => {
                self.opening -= 1;
                // Whoever has stopped waiting drops the stream, which resets it.
                let _ = reply.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, info: reply }) => {
                self.opening -= 1;
                let _ = reply.send(Err(match error {
                    StreamUpgradeError::Timeout => OpenError::Connection("it does not answer".to_owned()),
                    StreamUpgradeError::Apply(never) => match never {},
                    StreamUpgradeError::NegotiationFailed => OpenError::Refused,
                    StreamUpgradeError::Io(error) => OpenError::Connection(error.to_string()),
                }));
            }
            _ => {}
        }
    }
}

/// Protocols that are offered, newest first; a stream goes to whoever negotiated it, as it is.
#[derive(Debug)]
pub(crate) struct Offer(Vec<StreamProtocol>);

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
