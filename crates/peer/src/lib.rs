//! A node among nodes: connections, streams and tasks that carry what the federation's state machines say.
//!
//! `federation` computes, this crate moves bytes: libp2p below, HTTP nowhere. A node that is in no federation and does not listen has no socket here
//! and no connection. All tasks end with [`Node::close`].
//!
//! | question | where |
//! |---|---|
//! | what can be asked of a node | `node` |
//! | what its tasks share, and who is connected | `hub` |
//! | the swarm: dialing, listening, streams | `driver`, `streams` (all libp2p), `identity` and `addresses` (its notations) |
//! | who is a member, over the wire | `membership` (answering and asking), `tend` (by itself) |
//! | blocks, over the wire | `blocks` (serving, fetching, placing) |
//! | records, over the wire | `records` (asking, `records/keeper` for the state machines, `records/leases` for what is known to be current) |
//! | frames over a stream | `frames` |
//! | what is kept on the disk | `keep` |

mod addresses;
mod blocks;
mod driver;
mod error;
mod frames;
mod hub;
mod identity;
mod idle;
mod keep;
mod membership;
mod node;
mod records;
mod streams;
mod tend;

pub use addresses::parse as parse_address;
pub use blocks::{BlockCounts, Blocks, Kept, Placed};
pub use driver::TransportError;
pub use error::PeerError;
pub use node::{Invited, Invitee, Joined, Member, Node, Options, Status};
pub use records::{Observation, Reading, RecordCounts, Records, Ticket};

use futures_util::future::BoxFuture;
use jsfs_federation::membership::PeerId;
use libp2p::StreamProtocol;
use libp2p::swarm::Stream;

/// Strangers that are connected at once.
const STRANGERS_CONNECTED_MAX: usize = 64;

/// What the streams ask: what is spoken with whom.
pub(crate) trait Permits: Send + Sync {
    /// The protocols that a peer may open streams of, newest first.
    fn offered(&self, peer: &PeerId) -> Vec<StreamProtocol>;
    /// Whether there is room for a connection that a peer opened.
    fn is_admitted(&self, peer: &PeerId) -> bool;
}

/// A protocol that members may speak with this node.
pub(crate) trait Service: Send + Sync {
    /// Its name.
    fn protocol(&self) -> &'static str;
    /// Serves a stream of a member until it ends.
    fn serve(&self, peer: PeerId, stream: Stream) -> BoxFuture<'static, ()>;
}
