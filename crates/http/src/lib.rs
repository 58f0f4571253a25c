//! Front door: parses HTTP, asks the object layer, renders answers; decides nothing.

pub mod body;
pub mod conditional;
pub mod headers;
pub mod limits;
pub mod listing;
pub mod media;
pub mod multipart;
pub mod parameters;
pub mod problem;
pub mod range;
pub mod server;
pub mod wire;

mod connections;
mod guard;
