//! The blockstore: which members keep a block.

mod placement;

pub use placement::{Placement, REPLICAS_MAX, Site};
