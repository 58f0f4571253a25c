//! Typed client of a node's HTTP interface (`docs/http.md`), used by the command line.
//!
//! Invariants: links no crate of the server; a credential goes to the one node that the client was made for and nowhere else
//! (redirects are not followed); bodies are streamed, so memory does not grow with an object; errors carry the node's own
//! problem detail. Dropping a future of this crate aborts its request: a write that was cut off stores nothing.

mod address;
mod backup;
mod error;
mod federation;
mod key;
mod listing;
mod live;
mod maintenance;
mod model;
mod namespace;
mod node;
mod object;
mod process;
mod program;
mod resume;
mod rom;
mod token;
mod transport;
mod upload;

pub use address::{Address, AddressError, Reference};
pub use backup::BackupStream;
pub use error::{Error, Problem};
pub use key::{AccessKey, Credential, KeyError};
pub use listing::{Entry, EntryKind, Lister, Page};
pub use live::{Change, Changes, Event};
pub use maintenance::{Maintenance, MaintenanceLine, Progress};
pub use model::{Metadata, ObjectInfo, Version};
pub use namespace::{Namespace, NamespaceChange, Policy, Retention};
pub use node::{NodeUrl, NodeUrlError};
pub use object::{Download, Get, MovedIn, Write};
pub use process::{Output, Process};
pub use program::{Answer, Ask, LogLine, Over, Program};
pub use resume::Memory;
pub use token::{Opening, Token, TokenRequest, token_claims};
pub use transport::{Client, Counter};
pub use upload::{Source, content_type_of, is_content_type};
