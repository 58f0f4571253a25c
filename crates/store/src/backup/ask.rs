//! What a destination tells the node that it has, so that only the rest is sent. Pure encoding and decoding.

use crate::{
    backup::item::RowsId,
    backup::manifest::{HeadTip, Manifest},
    frame::Reader,
};
use bytes::Bytes;
use std::collections::HashSet;

const MAGIC: &[u8; 8] = b"JSFSASK1";
/// Longest request that a node takes.
pub const ASK_MAX: usize = 64 << 20;

/// What the destination has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    pub(crate) after: u64,
    /// Which store and which frames of it: JSON of a head.
    pub(crate) store: String,
    pub(crate) tips: Vec<HeadTip>,
    pub(crate) known: HashSet<RowsId>,
}

impl Ask {
    /// Everything, or what is new since a backup.
    pub(crate) fn since(parent: Option<&Manifest>) -> Self {
        let Some(parent) = parent else { return Self::default() };
        let head = &parent.about.head;
        let known = parent.rows.iter().map(|rows| rows.id).collect();
        Self { after: head.sequence, store: head.store.clone(), tips: head.tips.clone(), known }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let tips = serde_json::to_vec(&(&self.store, &self.tips)).unwrap_or_default();
        let mut out = Vec::with_capacity(32 + tips.len() + 32 * self.known.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.after.to_le_bytes());
        out.extend_from_slice(&u32::try_from(tips.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&tips);
        for id in &self.known {
            out.extend_from_slice(id);
        }
        out
    }

    /// Reads a request; `None` where it is none.
    #[must_use]
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        if &reader.array::<8>()? != MAGIC {
            return None;
        }
        let after = reader.u64()?;
        let length = reader.u32()? as usize;
        let (store, tips) = serde_json::from_slice(&reader.take(length)?).ok()?;
        let mut known = HashSet::new();
        while reader.at < bytes.len() {
            known.insert(reader.array()?);
        }
        Some(Self { after, store, tips, known })
    }
}
