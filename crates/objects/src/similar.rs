//! Finding blocks that new content may be stored as a delta against.
//!
//! What is alike has features in common (Odess: of a rolling hash over the bytes, sampled, the least value under each of twelve functions); two features
//! together are a tag in the store, so what was written before a restart is found as well. Objects too small for that are looked for by name: the last of the
//! same name, else of the same kind in the same directory, of those that this process has written.
//!
//! All of it is bounded by what may share a base: public content with public content of the node; private content with that of the same directory. Tags
//! are keyed accordingly.

use crate::{address::Address, crypto::blake3, read_key::Convergence, recent::Recent, seal::BlockKey};
use jsfs_store::{BlockId, Tag};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Content shorter than this has no features: their tags would take more than they save.
pub(crate) const FEATURES_FROM_BYTES: usize = 16 << 10;

/// One of so many values of the rolling hash is looked at, as a power of two.
const SAMPLED_BITS: u32 = 7;
const FUNCTIONS: usize = 12;
const TOGETHER: usize = 2;

/// Half of the names that are remembered.
const NAMES_HALF: usize = 16_384;

/// A number for each byte, for the rolling hash, and the functions: a factor and an addend.
struct Numbers {
    gear: [u64; 256],
    functions: [(u64, u64); FUNCTIONS],
}

static NUMBERS: LazyLock<Numbers> = LazyLock::new(|| {
    let mut numbers = ::blake3::Hasher::new().update(b"jsfs/v1/similar").finalize_xof();
    let mut next = || {
        let mut bytes = [0; 8];
        numbers.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    };
    let gear = std::array::from_fn(|_| next());
    Numbers { gear, functions: std::array::from_fn(|_| (next() | 1, next())) }
});

/// What content has in common with content that is like it, as hashes.
pub(crate) fn features(content: &[u8]) -> Vec<[u8; 32]> {
    let Numbers { gear, functions } = &*NUMBERS;
    let mut least = [u64::MAX; FUNCTIONS];
    let mut rolling = 0_u64;
    for byte in content {
        rolling = (rolling << 1).wrapping_add(gear[usize::from(*byte)]);
        if rolling >> (64 - SAMPLED_BITS) == 0 {
            for (least, (factor, addend)) in least.iter_mut().zip(functions) {
                *least = (*least).min(rolling.wrapping_mul(*factor).wrapping_add(*addend));
            }
        }
    }
    let pairs = least.chunks(TOGETHER).zip(0_u8..);
    pairs
        .map(|(values, at)| {
            blake3(&[b"jsfs/v1/similar", &[at], &values[0].to_le_bytes(), &values[1].to_le_bytes()])
        })
        .collect()
}

/// Within what a base may be shared, for one object.
pub(crate) struct Near {
    /// Keys the tags of private content; none for public content.
    pub(crate) secret: Option<Convergence>,
    name: [u8; 32],
    kind: [u8; 32],
}

impl Near {
    pub(crate) fn new(address: &Address, convergence: Option<&Convergence>) -> Self {
        let directory = address.parent().unwrap_or_else(|| address.namespace_directory());
        let secret = convergence.map(|convergence| convergence.of_directory(&directory));
        let text = address.as_str();
        let last_two = text.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at);
        let ending = address.name().rsplit_once('.').map_or("", |(_, ending)| ending);
        let key = secret.as_ref().map_or([0; 32], |secret| *secret.expose());
        Self {
            name: blake3(&[&key, b"name", &text.as_bytes()[last_two..]]),
            kind: blake3(&[&key, b"kind", directory.as_str().as_bytes(), ending.as_bytes()]),
            secret,
        }
    }

    /// What is looked up in the store, for a feature or for [`Near::key_of`].
    pub(crate) fn tag(&self, hash: &[u8; 32]) -> Tag {
        self.secret.as_ref().map_or(*hash, |secret| secret.tag(hash))
    }

    /// What the tag is made of beside which the key of a private block stands, for whoever writes what is like it.
    pub(crate) fn key_of(block: &BlockId) -> [u8; 32] {
        blake3(&[b"jsfs/v1/base", block.as_bytes()])
    }
}

/// A block that holds an object whole.
#[derive(Clone)]
pub(crate) struct Neighbour {
    pub(crate) block: BlockId,
    pub(crate) key: Option<BlockKey>,
}

/// What small objects that were written lately are stored in, or are deltas of.
pub(crate) struct Neighbours(Mutex<Recent<Neighbour>>);

impl Default for Neighbours {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(NAMES_HALF)))
    }
}

impl Neighbours {
    /// What the last of the same name rests on; else of the same kind beside it.
    pub(crate) fn find(&self, near: &Near) -> Option<Neighbour> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.get(&near.name).or_else(|| recent.get(&near.kind)).cloned()
    }

    pub(crate) fn insert(&self, near: &Near, neighbour: Neighbour) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.insert(near.name, neighbour.clone());
        recent.insert(near.kind, neighbour);
    }
}
