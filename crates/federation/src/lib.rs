//! Nodes that answer as one: who is a member, what they say to each other, and how they keep records and blocks together.
//!
//! Nothing here waits, reads a clock, opens a socket or starts a task. A transport goes below and the object layer above; both hand in what
//! happened and carry out what comes back. So the same code runs in a node and, by the hundred, in a simulation that repeats by its seed.
//! `docs/protocols/` specifies everything here for other implementations.
//!
//! | question | where |
//! |---|---|
//! | who belongs to the federation, and who said so | `membership` |
//! | how messages are cut out of a stream, and what errors are called | `wire` |
//! | which members keep a block | `blockstore` |
//! | how records are stored, found, listed and kept the same on several members | `metastore` |

pub mod blockstore;
pub mod membership;
pub mod metastore;
pub mod wire;
