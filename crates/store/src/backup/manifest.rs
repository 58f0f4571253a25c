//! What one backup is: the state that it has, the segments that hold it, and the chunks of entries in their order. Pure encoding and decoding.

use crate::{
    backup::item::RowsId,
    frame::Reader,
    params::{Chunking, from_hex, to_hex},
    rows::Tip,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"JSFSSNP1";
/// The format that this program writes, and the newest that it reads. 2: there may be deltas among the blocks.
pub(crate) const FORMAT: u32 = 2;

/// The state that a node sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the items and of this.
    pub format: u32,
    /// The store, 32 hex digits.
    pub store: String,
    /// Every commit up to this number is in it, and no later one.
    pub sequence: u64,
    /// Blocks that were live at this number already are not sent; 0 when everything is.
    pub after: u64,
    /// How content is cut into chunks: minimum, average, maximum.
    pub chunking: [u32; 3],
    /// The last frame of each location.
    pub tips: Vec<HeadTip>,
}

/// A frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadTip {
    pub(crate) pack: u64,
    pub(crate) start: u64,
    pub(crate) sequence: u64,
    /// Hash of its header, hex.
    pub(crate) chain: String,
}

impl HeadTip {
    pub(crate) fn of(tip: &Tip) -> Self {
        let chain = tip.chain.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { pack: tip.pack, start: tip.start, sequence: tip.sequence, chain }
    }
}

impl Head {
    pub(crate) fn store_id(&self) -> Option<[u8; 16]> {
        from_hex(&self.store)
    }

    pub(crate) fn chunking(&self) -> Chunking {
        let [min, avg, max] = self.chunking;
        Chunking { min, avg, max }
    }

    pub(crate) fn name_store(store_id: &[u8; 16]) -> String {
        to_hex(store_id)
    }
}

/// What is said of one backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Version of the manifest.
    pub format: u32,
    /// Its number in this destination.
    pub number: u64,
    /// When it was made, ms since 1970.
    pub created_ms: u64,
    /// The state.
    pub head: Head,
    /// What the layer above said.
    pub note: serde_json::Value,
    /// What could not be read.
    pub damage: Vec<String>,
}

/// A segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRef {
    pub(crate) number: u64,
    pub(crate) length: u64,
    pub(crate) hash: [u8; 32],
}

/// A chunk of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowsRef {
    pub(crate) id: RowsId,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub(crate) about: About,
    pub(crate) segments: Vec<SegmentRef>,
    pub(crate) rows: Vec<RowsRef>,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let about = serde_json::to_vec(&self.about).unwrap_or_default();
        let mut out = Vec::with_capacity(64 + about.len() + 48 * self.segments.len() + 52 * self.rows.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        let count = |out: &mut Vec<u8>, length: usize| {
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        };
        count(&mut out, about.len());
        out.extend_from_slice(&about);
        count(&mut out, self.segments.len());
        for segment in &self.segments {
            out.extend_from_slice(&segment.number.to_le_bytes());
            out.extend_from_slice(&segment.length.to_le_bytes());
            out.extend_from_slice(&segment.hash);
        }
        count(&mut out, self.rows.len());
        for rows in &self.rows {
            out.extend_from_slice(&rows.id);
            out.extend_from_slice(&rows.segment.to_le_bytes());
            out.extend_from_slice(&rows.offset.to_le_bytes());
            out.extend_from_slice(&rows.length.to_le_bytes());
        }
        let hash = blake3::hash(&out);
        out.extend_from_slice(hash.as_bytes());
        out
    }

    /// Reads a manifest; the error says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let damaged = || "it is damaged".to_owned();
        let (Some(said), true) = (bytes.get(8..12), bytes.starts_with(MAGIC)) else { return Err(damaged()) };
        let format = u32::from_le_bytes([said[0], said[1], said[2], said[3]]);
        let Some((content, hash)) = bytes.split_last_chunk::<32>() else { return Err(damaged()) };
        if blake3::hash(content).as_bytes() != hash {
            return Err(damaged());
        }
        if !(1..=FORMAT).contains(&format) {
            return Err(format!(
                "it has format {format}; this program knows format {FORMAT}: upgrade jsfs to read it"
            ));
        }
        let content = Bytes::copy_from_slice(content);
        Self::parse(&mut Reader { bytes: &content, at: 12 }).ok_or_else(damaged)
    }

    fn parse(reader: &mut Reader<'_>) -> Option<Self> {
        let length = reader.u32()? as usize;
        let about = serde_json::from_slice(&reader.take(length)?).ok()?;
        let mut segments = Vec::new();
        for _ in 0..reader.u32()? {
            segments.push(SegmentRef { number: reader.u64()?, length: reader.u64()?, hash: reader.array()? });
        }
        let mut rows = Vec::new();
        for _ in 0..reader.u32()? {
            let (id, segment) = (reader.array()?, reader.u64()?);
            rows.push(RowsRef { id, segment, offset: reader.u64()?, length: reader.u32()? });
        }
        (reader.at == reader.bytes.len()).then_some(Self { about, segments, rows })
    }
}
