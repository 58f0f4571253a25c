//! The task that owns the swarm: it carries out commands and tells the hub what happened, and never waits for either.
//!
//! Dropped at the end of the node, it closes all connections.

use crate::hub::Hub;
use crate::identity::{self, from_transport};
use crate::streams::{OpenError, Reply, Streams};
use futures_util::StreamExt;
use jsfs_objects::key::SigningKey;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// Streams of one connection at once.
const STREAMS_MAX: usize = 256;

/// Streams of one connection whose protocol is being agreed on.
const NEGOTIATING_MAX: usize = 64;

/// Until when a connection must be set up.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Why the transport cannot be set up.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The node's key is none that the transport takes.
    #[error("the node's key cannot be used for connections; restore node.key")]
    Key,
    /// Encryption cannot be set up.
    #[error("encryption of connections cannot be set up: {0}")]
    Security(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {why}; change federation.listen")]
    Listen {
        /// Which.
        address: String,
        /// What the system says.
        why: String,
    },
}

/// What the driver is asked for.
pub(crate) enum Command {
    /// A stream to a connected peer, over this connection or whichever there is.
    Open { peer: libp2p::PeerId, connection: Option<ConnectionId>, protocol: StreamProtocol, reply: Reply },
    /// A connection to a peer at one of these addresses.
    Dial { peer: libp2p::PeerId, addresses: Vec<Multiaddr>, reply: oneshot::Sender<Result<(), String>> },
    /// An end of all connections to a peer.
    Close { peer: libp2p::PeerId },
    /// An end of one connection.
    CloseOne { connection: ConnectionId },
}

/// A swarm of the node's identity, without any connection.
pub(crate) fn swarm(key: &SigningKey, hub: &Arc<Hub>) -> Result<Swarm<Streams>, TransportError> {
    let keypair = identity::keypair(key).ok_or(TransportError::Key)?;
    let multiplexer = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS_MAX);
        config
    };
    let security = |error: &dyn std::fmt::Display| TransportError::Security(error.to_string());
    let built = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, multiplexer)
        .map_err(|error| security(&error))?
        .with_behaviour(|_| Streams::new(Arc::clone(hub) as Arc<dyn crate::Permits>))
        .map_err(|error| security(&error))?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(Duration::from_secs(60))
                .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        })
        .with_connection_timeout(CONNECT_TIME)
        .build();
    Ok(built)
}

/// Listens on every address.
pub(crate) fn listen(swarm: &mut Swarm<Streams>, addresses: &[Multiaddr]) -> Result<(), TransportError> {
    for address in addresses {
        swarm.listen_on(address.clone()).map_err(|error| TransportError::Listen {
            address: address.to_string(),
            why: error.to_string(),
        })?;
    }
    Ok(())
}

/// Runs until it is dropped.
pub(crate) async fn run(mut swarm: Swarm<Streams>, mut commands: mpsc::Receiver<Command>, hub: Arc<Hub>) {
    let mut dialing: HashMap<ConnectionId, oneshot::Sender<Result<(), String>>> = HashMap::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => carry_out(&mut swarm, command, &mut dialing),
                None => return,
            },
            event = swarm.select_next_some() => tell(&swarm, event, &mut dialing, &hub),
        }
    }
}

fn carry_out(
    swarm: &mut Swarm<Streams>,
    command: Command,
    dialing: &mut HashMap<ConnectionId, oneshot::Sender<Result<(), String>>>,
) {
    match command {
        Command::Open { peer, reply, .. } if !swarm.is_connected(&peer) => {
            let _ = reply.send(Err(OpenError::NotConnected));
        }
        Command::Open { peer, connection, protocol, reply } => {
            swarm.behaviour_mut().open(peer, connection, protocol, reply);
        }
        Command::Dial { peer, reply, .. } if swarm.is_connected(&peer) => {
            let _ = reply.send(Ok(()));
        }
        Command::Dial { peer, addresses, reply } => {
            // From a port of its own: from that where it listens, two that dial each other at once would be one connection, and one of them an error.
            let options = DialOpts::peer_id(peer).addresses(addresses).allocate_new_port().build();
            let connection = options.connection_id();
            match swarm.dial(options) {
                Ok(()) => {
                    dialing.insert(connection, reply);
                }
                Err(error) => {
                    let _ = reply.send(Err(error.to_string()));
                }
            }
        }
        Command::Close { peer } => {
            // Nobody connected is as good.
            let _ = swarm.disconnect_peer_id(peer);
        }
        Command::CloseOne { connection } => {
            swarm.close_connection(connection);
        }
    }
}

fn tell(
    swarm: &Swarm<Streams>,
    event: SwarmEvent<crate::streams::Incoming>,
    dialing: &mut HashMap<ConnectionId, oneshot::Sender<Result<(), String>>>,
    hub: &Arc<Hub>,
) {
    match event {
        SwarmEvent::Behaviour(incoming) => {
            if let Some(peer) = from_transport(&incoming.peer) {
                hub.incoming(peer, &incoming.protocol, incoming.stream);
            }
        }
        SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
            let dialed = matches!(endpoint, ConnectedPoint::Dialer { .. });
            if let Some(peer) = from_transport(&peer_id) {
                hub.connected(peer, dialed.then_some(connection_id));
            }
            if let Some(reply) = dialing.remove(&connection_id) {
                let _ = reply.send(Ok(()));
            }
        }
        SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
            if let Some(peer) = from_transport(&peer_id) {
                hub.disconnected(peer);
            }
        }
        SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
            if let Some(reply) = dialing.remove(&connection_id) {
                let _ = reply.send(Err(error.to_string()));
            }
        }
        SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => {
            hub.listening(swarm.listeners().map(Multiaddr::to_string).collect());
        }
        SwarmEvent::ListenerClosed { addresses, reason: Err(error), .. } => {
            tracing::error!(?addresses, %error, "the federation is not listened for any more");
        }
        _ => {}
    }
}
