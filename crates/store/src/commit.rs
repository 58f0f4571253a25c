//! What callers hand to the store: blocks, operations and expectations.

use crate::{
    block,
    error::{CommitError, WriteError},
    frame::{BLOCK_MAX, ChunkTag, KEY_MAX, REFERENCES_MAX, VALUE_MAX},
    id::{BlockId, Table},
    pins::Pin,
};
use bytes::Bytes;

/// Most bytes of one commit, or of one call of append.
pub const REQUEST_MAX: u64 = 48 << 20;

/// A block that is to be stored.
#[derive(Clone, Debug)]
pub struct NewBlock {
    /// Hash of `bytes`. The caller made it; the store relies on it.
    pub id: BlockId,
    /// The stored form: see [`crate::block`].
    pub bytes: Bytes,
    /// The chunks in it that deduplication may find.
    pub tags: Vec<ChunkTag>,
}

impl NewBlock {
    /// A block with these stored bytes and tags.
    #[must_use]
    pub fn new(bytes: Bytes, tags: Vec<ChunkTag>) -> Self {
        Self { id: BlockId::of(&bytes), bytes, tags }
    }

    pub(crate) fn check(&self) -> Result<(), WriteError> {
        if self.bytes.len() > BLOCK_MAX {
            return Err(WriteError::TooLarge("a block"));
        }
        let bad = |what| WriteError::BadBlock { id: self.id, what };
        let (kind, _) = block::split(&self.bytes).map_err(bad)?;
        if kind == block::Kind::List {
            block::decode_list(&self.bytes).map_err(bad)?;
        }
        block::split_delta(&self.bytes).map_err(bad)?;
        if self.tags.len() > usize::from(u16::MAX) || self.tags.iter().any(|tag| tag.extra.len() > 255) {
            return Err(WriteError::BadTags(self.id));
        }
        Ok(())
    }
}

/// What must hold for a commit to take place.
#[derive(Clone, Debug)]
pub enum Expect {
    /// The entry has this sequence number; 0 for: there is none.
    Sequence {
        /// Its table.
        table: Table,
        /// Its key.
        key: Vec<u8>,
        /// The number of [`Entry::sequence`].
        sequence: u64,
    },
}

/// One change of an entry. Operations of a commit take effect in their order.
#[derive(Clone, Debug)]
pub enum Op {
    /// Sets an entry.
    Put {
        /// Its table.
        table: Table,
        /// Its key, 1 to 8,192 bytes.
        key: Vec<u8>,
        /// Up to 1 MiB.
        value: Bytes,
        /// The blocks that it keeps, up to 2,048; they must exist when the commit takes place.
        references: Vec<BlockId>,
    },
    /// Removes an entry, if there is one.
    Delete {
        /// Its table.
        table: Table,
        /// Its key.
        key: Vec<u8>,
    },
    /// Adds to a counter: an entry whose value is a `u64`, little-endian, 0 when it is absent. It does not go below 0.
    Add {
        /// Its table.
        table: Table,
        /// Its key.
        key: Vec<u8>,
        /// What is added.
        delta: i64,
        /// The commit fails if a positive `delta` would make it more than this.
        at_most: Option<u64>,
    },
    /// Puts a value under a new key: `prefix`, then the commit's sequence number (u64) and the number of the operation in it (u32), both big-endian.
    Append {
        /// Its table.
        table: Table,
        /// The beginning of the key.
        prefix: Vec<u8>,
        /// Up to 1 MiB.
        value: Bytes,
    },
}

/// Changes that take place together or not at all.
#[derive(Debug, Default)]
pub struct Commit {
    /// Checked in their order before anything else.
    pub expect: Vec<Expect>,
    /// What changes.
    pub ops: Vec<Op>,
    /// Blocks that the operations refer to and that were not appended before.
    pub blocks: Vec<NewBlock>,
    /// Held until the commit has taken place.
    pub pins: Vec<Pin>,
}

impl Commit {
    /// Checks everything that needs no look at the store.
    pub(crate) fn check(&self) -> Result<(), CommitError> {
        for op in &self.ops {
            let (key, value, references) = match op {
                Op::Put { key, value, references, .. } => (key.len(), value.len(), references.len()),
                Op::Delete { key, .. } | Op::Add { key, .. } => (key.len(), 0, 0),
                Op::Append { prefix, value, .. } => (prefix.len() + 12, value.len(), 0),
            };
            if key == 0 {
                return Err(CommitError::Invalid("an empty key"));
            }
            if key > KEY_MAX {
                return Err(WriteError::TooLarge("a key").into());
            }
            if value > VALUE_MAX {
                return Err(WriteError::TooLarge("a value").into());
            }
            if references > REFERENCES_MAX {
                return Err(WriteError::TooLarge("a list of references").into());
            }
        }
        check_blocks(&self.blocks)?;
        if self.weight() > REQUEST_MAX {
            return Err(WriteError::TooLarge("a commit").into());
        }
        Ok(())
    }

    /// An upper bound of the bytes that it takes in a pack.
    pub(crate) fn weight(&self) -> u64 {
        let ops: u64 = self.ops.iter().map(op_weight).sum();
        256 + ops + blocks_weight(&self.blocks)
    }
}

/// An upper bound of the bytes that an operation takes in a pack.
pub(crate) fn op_weight(op: &Op) -> u64 {
    let bytes = match op {
        Op::Put { key, value, references, .. } => key.len() + value.len() + 32 * references.len(),
        Op::Delete { key, .. } | Op::Add { key, .. } => key.len(),
        Op::Append { prefix, value, .. } => prefix.len() + value.len(),
    };
    64 + bytes as u64
}

/// An upper bound of the bytes that blocks take in a pack.
pub(crate) fn blocks_weight(blocks: &[NewBlock]) -> u64 {
    blocks.iter().map(block_weight).sum()
}

/// The same for one block.
pub(crate) fn block_weight(block: &NewBlock) -> u64 {
    block.bytes.len() as u64 + u64::from(crate::frame::head_len(&block.tags))
}

/// Checks blocks as far as that needs no look at the store.
pub(crate) fn check_blocks(blocks: &[NewBlock]) -> Result<(), WriteError> {
    blocks.iter().try_for_each(NewBlock::check)?;
    if blocks_weight(blocks) > REQUEST_MAX {
        return Err(WriteError::TooLarge("a batch of blocks"));
    }
    Ok(())
}

/// A commit that took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its place in the order of all commits; what [`Entry::sequence`] says of the entries that it put.
    pub sequence: u64,
}

/// An entry as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The commit that put it.
    pub sequence: u64,
    /// The number of the operation in that commit.
    pub index: u32,
    /// The blocks that it keeps.
    pub references: Vec<BlockId>,
    /// Its value.
    pub value: Bytes,
}
