//! What the committer is asked to write a second time: what compaction carries over, and copies that are lacking.

use crate::{
    frame::{BlockHead, Operation},
    rows::Place,
};
use bytes::Bytes;

/// A part of a pack that is being compacted.
pub(crate) struct Carry {
    pub(crate) location: u8,
    pub(crate) pack: u64,
    pub(crate) blocks: Vec<CarryBlock>,
    pub(crate) operations: Vec<Operation>,
    /// Everything before this offset was carried, with this part: frames, and blocks of the frame that it lies in.
    pub(crate) done: u64,
}

/// A block of such a part.
pub(crate) struct CarryBlock {
    pub(crate) head: BlockHead,
    pub(crate) from: Place,
    pub(crate) bytes: Bytes,
    /// Another copy of it was verified, so this one may go.
    pub(crate) is_redundant: bool,
}

/// Blocks and operations of which copies are lacking.
#[derive(Default)]
pub(crate) struct Fill {
    pub(crate) blocks: Vec<(BlockHead, Bytes)>,
    pub(crate) operations: Vec<Operation>,
}
