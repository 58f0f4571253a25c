//! Front door: parses HTTP, asks the object layer, renders answers; decides nothing.
//!
//! [`Server::new`] takes the objects and the limits, [`Server::run`] the sockets. A request goes `server` → `front` → one file per verb;
//! every refusal comes back as a [`problem::Problem`] and is rendered in one place.

pub mod body;
pub mod coding;
pub mod conditional;
pub mod dav;
pub mod headers;
pub mod limits;
pub mod listing;
pub mod live;
pub mod media;
pub mod multipart;
pub mod node_interface;
pub mod parameters;
pub mod problem;
pub mod range;
pub mod server;
pub mod wire;

mod backup;
mod connections;
mod copy_move;
mod counters;
mod credentials;
mod delete;
mod document;
mod federation;
mod front;
mod gate;
mod get;
mod guard;
mod jsfs4;
mod leaving;
mod listener;
mod logs;
mod maintenance;
mod memory;
mod metadata;
mod metrics;
mod multiplexed;
mod opening;
mod options;
mod patch;
mod process;
mod program;
mod put;
mod quick;
mod refusals;
mod request;
mod request_id;
mod rom;
mod room;
mod status;
mod tls;
mod tus;
mod watch;

pub use federation::{
    BlocksStatus, Federation, FederationRefusal, FederationStatus, InvitationDocument, Invitee, Peer,
    RecordsStatus,
};
pub use limits::Limits;
pub use listener::Listener;
pub use server::{Handle, Load, Server};
pub use tls::{Tls, TlsError};
