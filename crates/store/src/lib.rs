//! Bytes at rest: chunks, blocks, packs (the log), the derived index, collection and check. No names, keys or sockets.
//!
//! `docs/storage.md` has every byte on disk and the rules; this crate implements that page. What a [`Store`] promises:
//!
//! 1. A commit that was answered is there after a crash or power cut, whole; one that was not answered, or was refused, leaves no trace.
//! 2. Every byte of a block is verified on its way from the disk; damage is named and never served.
//! 3. Readers never wait for writers. Compaction never stops writes and never takes what an entry refers to, what is [pinned](Pin), or what is being read.
//! 4. Memory is bounded, whatever the number of objects.
//! 5. The index can be thrown away: packs describe themselves.
//! 6. A full disk refuses writes; reads go on, and writes too as soon as there is room, without a restart.
//!
//! # How it fits together
//!
//! ```text
//! callers ── append, commit ──▶ queue ──▶ committer (one thread) ──▶ packs ──▶ index
//!    │                                      decide · log               │         │
//!    └──── get, scan, block, find_chunk ◀── reading ◀──────────────────┴─────────┘
//! ```
//!
//! [`chunk`] and [`block`] are what callers use before they hand anything over. Inside: `frame` has the bytes; `log` writes one location; `decide` and
//! `view` hold the rules by which commits change rows; `committer` batches and syncs; `index` keeps rows; `scan` and `recover` open;
//! `compact` frees space; `check` reads everything of a store that nobody has open, `verify` of one in use, and `mend` repairs; `snapshot` sends a state to
//! a [`backup`]. [`backend`] is the seam below.
//!
//! # Use
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use jsfs_store::{Commit, NewBlock, Op, OpenOptions, Store, Table, block};
//!
//! let store = Store::open(OpenOptions::memory(16 << 20))?;
//! let block = NewBlock::new(block::encode_clear(b"content", block::LEVEL)?, Vec::new());
//! let id = block.id;
//! let op = Op::Put { table: Table(1), key: b"name".to_vec(), value: "about it".into(), references: vec![id] };
//! let commit = Commit { ops: vec![op], blocks: vec![block], ..Commit::default() };
//! let committed = store.commit(commit).await?;
//! assert_eq!(store.get(Table(1), b"name")?.unwrap().sequence, committed.sequence);
//! assert_eq!(block::decode_clear(&store.block(&id)?)?, "content");
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

pub mod backend;
pub mod backup;
pub mod block;
pub mod buffers;
mod check;
pub mod chunk;
mod commit;
mod committer;
mod compact;
mod copies;
mod decide;
mod disks;
mod error;
mod finding;
mod frame;
mod health;
mod id;
mod index;
mod keeping;
mod location;
mod log;
mod mend;
mod moving;
mod options;
mod params;
mod parcel;
mod pins;
mod placing;
mod read;
mod rebuild;
mod recover;
mod rom;
mod rows;
mod scan;
mod snapshot;
mod stamp;
mod stats;
mod status;
mod store;
mod sync;
mod task;
mod verify;
mod view;
mod walk;
mod weigh;

pub use check::{Report, check};
pub use commit::{Commit, Committed, Entry, Expect, NewBlock, Op, REQUEST_MAX};
pub use compact::{Collectable, CompactError, Compacted, Compaction};
pub use copies::Filled;
pub use disks::{MoveError, Moved, clear_moved};
pub use error::{CommitError, OpenError, ReadError, WriteError};
pub use finding::{Cut, Finding, Opening};
pub use frame::{BLOCK_MAX, ChunkTag, KEY_MAX, REFERENCES_MAX, VALUE_MAX};
pub use id::{BlockId, Table, Tag};
pub use options::OpenOptions;
pub use params::Chunking;
pub use parcel::{
    PARCEL_FORMAT, Parcel, ParcelEntry, ParcelHead, parcel_block, parcel_counts, parcel_entries,
};
pub use pins::Pin;
pub use read::FoundChunk;
pub use rebuild::{MendError, rebuild, repair};
pub use rom::{RomError, RomSize, RomWriter, open_rom};
pub use snapshot::{Sink, Snapshot, SnapshotError};
pub use stamp::Stamp;
pub use stats::{LocationStats, Stats};
pub use store::{Scan, Store};
pub use task::{Observer, Unobserved};
pub use verify::{PackPlace, Verification, Verified, VerifyError};
pub use weigh::{Share, WeighError, Weights};
