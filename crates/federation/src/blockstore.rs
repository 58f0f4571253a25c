//! The blockstore: which members keep a block, what they say to each other about blocks, and how one is fetched.

mod fetch;
mod message;
mod placement;

pub use fetch::{CANDIDATES_MAX, Fetch, FetchStep, Patience, Verdict, order};
pub use message::{
    BLOCK_FRAME_BYTES_MAX, BLOCK_IDS_MAX, BLOCK_MESSAGE_BYTES_MAX, BLOCKS_SENT_MAX, BLOCKSTORE_PROTOCOL,
    Bitmap, BlockAnswer, BlockRequest, LEASE_S_MAX, PIECE_BLOCK, Piece, code_byte, refused_piece,
};
pub use placement::{Placement, REPLICAS_MAX, Site};
