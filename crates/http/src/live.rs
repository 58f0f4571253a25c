//! The interface over WebSockets, and changes as they happen (`docs/live.md`).
//!
//! A call over a socket is turned into the HTTP request that it stands for and goes through the same code; nothing here decides who may do
//! what. `handshake` opens a socket, `socket` keeps it and `parting` says why it ends, `call` reads calls, `answer` renders what came back, `outbox` writes it, `streams` moves bodies under
//! credit, `frame` is their form on the wire, `event` the form of a change, `sse` the same changes as Server-Sent Events, and `program` and
//! `process` sockets to programs.

pub mod call;
pub mod frame;

mod answer;
mod event;
mod handshake;
mod outbox;
mod parting;
mod process;
mod program;
mod socket;
mod sse;
mod streams;

pub(crate) use handshake::{asks_for_socket, open};
pub(crate) use process::open as open_process;
pub(crate) use program::open as open_program;
pub(crate) use sse::{asks_for_events, follow};
pub(crate) use streams::{CutOff, Incoming};
