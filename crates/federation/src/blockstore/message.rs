//! `/jsfs/blockstore/1`: what nodes say to each other about blocks.
//!
//! Requests are CBOR, blocks are not: they go as frames of their own, in the order in which they were named, so that nobody copies or parses them. Whoever
//! opened the stream may send further requests before the answers have come; they are answered in order.

use crate::wire::ErrorCode;
use jsfs_objects::cbor::{Cbor, FormatError, Reader, Writer};
use jsfs_store::{BLOCK_MAX, BlockId};

/// The name of the protocol.
pub const BLOCKSTORE_PROTOCOL: &str = "/jsfs/blockstore/1";

/// The longest request or answer that is not a block, in bytes.
pub const BLOCK_MESSAGE_BYTES_MAX: usize = 64 << 10;

/// The longest frame: a block and what stands before it.
pub const BLOCK_FRAME_BYTES_MAX: usize = BLOCK_MAX + 1;

/// The most blocks that one request names.
pub const BLOCK_IDS_MAX: usize = 1_024;

/// The most blocks that are sent for one request.
pub const BLOCKS_SENT_MAX: usize = 64;

/// The longest lease, in seconds; it is renewed before it ends.
pub const LEASE_S_MAX: u64 = 90 * 86_400;

// As many ids as a request may name fit into it.
const _: () = assert!(BLOCK_IDS_MAX * 32 + 64 < BLOCK_MESSAGE_BYTES_MAX);

/// What whoever opened the stream asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockRequest {
    /// Which of these are there.
    Have {
        /// Their ids.
        ids: Vec<BlockId>,
    },
    /// These, in this order.
    Get {
        /// Their ids.
        ids: Vec<BlockId>,
    },
    /// To keep these; each follows as a frame, in this order.
    Put {
        /// Their ids.
        ids: Vec<BlockId>,
        /// For how long.
        lease_s: u64,
    },
    /// To keep these, which are there already.
    Pin {
        /// Their ids.
        ids: Vec<BlockId>,
        /// For how long from now on.
        lease_s: u64,
    },
    /// That they need not be kept for the sender any more.
    Unpin {
        /// Their ids.
        ids: Vec<BlockId>,
    },
}

/// What is answered. To [`BlockRequest::Get`] come [`Piece`]s instead, one for each id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockAnswer {
    /// No: the number of an [`ErrorCode`].
    Refused(u64),
    /// To have, pin and unpin: for which ids it is so.
    Marked(Bitmap),
    /// To put: for each id 0, or the number of the error.
    Kept(Vec<u8>),
}

/// One bit for each id of a request, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    bytes: Vec<u8>,
}

/// A frame that answers for one id of a get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<B> {
    /// The block. To be believed when its hash is its id.
    Block(B),
    /// The number of the error.
    Refused(u64),
}

impl Bitmap {
    /// Of these truths.
    pub fn of(bits: &[bool]) -> Self {
        let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        Self { bytes: bits.chunks(8).map(byte).collect() }
    }

    /// The truths, if it is of so many: bits beyond are 0.
    pub fn bits(&self, count: usize) -> Option<Vec<bool>> {
        if self.bytes.len() != count.div_ceil(8) {
            return None;
        }
        let bit = |at: usize| self.bytes[at / 8] >> (at % 8) & 1 == 1;
        (count..self.bytes.len() * 8).all(|at| !bit(at)).then(|| (0..count).map(bit).collect())
    }
}

impl BlockRequest {
    /// How many frames answer it.
    pub fn answers(&self) -> usize {
        match self {
            Self::Get { ids } => ids.len(),
            _ => 1,
        }
    }

    fn check(&self) -> Result<(), FormatError> {
        let (ids, most, lease_s) = match self {
            Self::Have { ids } | Self::Unpin { ids } => (ids, BLOCK_IDS_MAX, 1),
            Self::Get { ids } => (ids, BLOCKS_SENT_MAX, 1),
            Self::Put { ids, lease_s } => (ids, BLOCKS_SENT_MAX, *lease_s),
            Self::Pin { ids, lease_s } => (ids, BLOCK_IDS_MAX, *lease_s),
        };
        if !(1..=most).contains(&ids.len()) {
            return Err(FormatError::TooLarge { what: "a list of blocks", limit: most });
        }
        if !(1..=LEASE_S_MAX).contains(&lease_s) {
            return Err(FormatError::Contradiction { what: "a lease lasts 1 second to 90 days" });
        }
        Ok(())
    }
}

impl<'b> Piece<&'b [u8]> {
    /// What a frame says.
    ///
    /// # Errors
    /// That it is neither a block nor a refusal.
    pub fn decode(frame: &'b [u8]) -> Result<Self, FormatError> {
        match frame {
            [0, block @ ..] => Ok(Self::Block(block)),
            [1, code] if *code != 0 => Ok(Self::Refused(u64::from(*code))),
            _ => Err(FormatError::Malformed { what: "an answer to a request for blocks" }),
        }
    }
}

/// What stands before a block in its frame.
pub const PIECE_BLOCK: u8 = 0;

/// The frame that refuses one block.
pub fn refused_piece(code: ErrorCode) -> [u8; 2] {
    [1, code_byte(code)]
}

/// The byte by which an error stands in [`BlockAnswer::Kept`].
pub fn code_byte(code: ErrorCode) -> u8 {
    u8::try_from(code.number()).unwrap_or(1)
}

fn write_ids(ids: &[BlockId], out: &mut Writer) {
    out.bytes(&ids.iter().flat_map(|id| *id.as_bytes()).collect::<Vec<u8>>());
}

fn read_ids(input: &mut Reader<'_>) -> Result<Vec<BlockId>, FormatError> {
    const WHAT: &str = "a list of blocks";
    let (ids, rest) = input.bytes(WHAT, BLOCK_IDS_MAX * 32)?.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(FormatError::Malformed { what: WHAT });
    }
    Ok(ids.iter().map(|id| BlockId::from_bytes(*id)).collect())
}

impl Cbor for BlockRequest {
    const NAME: &'static str = "a request about blocks";
    const BYTES_MAX: usize = BLOCK_MESSAGE_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        let (kind, ids, lease_s) = match self {
            Self::Have { ids } => (1, ids, None),
            Self::Get { ids } => (2, ids, None),
            Self::Put { ids, lease_s } => (3, ids, Some(*lease_s)),
            Self::Pin { ids, lease_s } => (4, ids, Some(*lease_s)),
            Self::Unpin { ids } => (5, ids, None),
        };
        out.array(if lease_s.is_some() { 3 } else { 2 }).uint(kind);
        write_ids(ids, out);
        if let Some(lease_s) = lease_s {
            out.uint(lease_s);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let length = input.array(Self::NAME, 3)?;
        let kind = input.uint(Self::NAME)?;
        if length != if matches!(kind, 3 | 4) { 3 } else { 2 } {
            return Err(FormatError::Malformed { what: Self::NAME });
        }
        let ids = read_ids(input)?;
        let request = match kind {
            1 => Self::Have { ids },
            2 => Self::Get { ids },
            3 => Self::Put { ids, lease_s: input.uint("a lease")? },
            4 => Self::Pin { ids, lease_s: input.uint("a lease")? },
            5 => Self::Unpin { ids },
            _ => return Err(FormatError::Malformed { what: Self::NAME }),
        };
        request.check()?;
        Ok(request)
    }
}

impl Cbor for BlockAnswer {
    const NAME: &'static str = "an answer about blocks";
    const BYTES_MAX: usize = BLOCK_MESSAGE_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        out.array(2);
        match self {
            Self::Refused(number) => out.uint(0).uint(*number),
            Self::Marked(bitmap) => out.uint(1).bytes(&bitmap.bytes),
            Self::Kept(codes) => out.uint(2).bytes(codes),
        };
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 2)?;
        match input.uint(Self::NAME)? {
            0 => Ok(Self::Refused(input.uint("an error code")?)),
            1 => {
                let bytes = input.bytes(Self::NAME, BLOCK_IDS_MAX / 8)?.to_vec();
                Ok(Self::Marked(Bitmap { bytes }))
            }
            2 => Ok(Self::Kept(input.bytes(Self::NAME, BLOCKS_SENT_MAX)?.to_vec())),
            _ => Err(FormatError::Malformed { what: Self::NAME }),
        }
    }
}
