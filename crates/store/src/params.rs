//! The parameters of a store: `store.json`, written once and repeated in every pack header.

use crate::{backend::Backend, error::OpenError};
use serde::{Deserialize, Serialize};

/// The format of a data directory that this program writes, and the newest that it knows. 2: it may have been moved; 3: there may be deltas.
pub(crate) const FORMAT: u32 = 3;
const FILE: &str = "store.json";

/// How content is cut into chunks, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunking {
    /// No chunk but the last is shorter.
    pub min: u32,
    /// What the cut points aim at.
    pub avg: u32,
    /// No chunk is longer.
    pub max: u32,
}

impl Default for Chunking {
    fn default() -> Self {
        Self { min: 16_384, avg: 65_536, max: 262_144 }
    }
}

/// What one location says about the store that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// The format in which it was found.
    pub(crate) format: u32,
    pub(crate) store_id: [u8; 16],
    pub(crate) location: u32,
    pub(crate) locations: u32,
    pub(crate) chunking: Chunking,
    /// How often the location was moved.
    pub(crate) generation: u64,
    /// It is being moved here from there and does not count yet, unless that place says that it was moved here.
    pub(crate) incoming_from: Option<String>,
    /// It was moved there and no longer counts.
    pub(crate) moved_to: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoreJson {
    format: u32,
    store_id: String,
    location: u32,
    locations: u32,
    chunk_min: u32,
    chunk_avg: u32,
    chunk_max: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incoming_from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved_to: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The one field that every version of the file has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
    #[serde(default)]
    written_by: Option<String>,
}

impl Parameters {
    /// Reads `store.json`; `None` when there is none.
    pub(crate) fn read(backend: &dyn Backend) -> Result<Option<Self>, OpenError> {
        let place = backend.describe();
        let Some(bytes) =
            backend.read_file(FILE).map_err(|error| OpenError::io("read store.json", &place, error))?
        else {
            return Ok(None);
        };
        let bad = |what: String| OpenError::BadParameters { place: place.clone(), what };
        let any: AnyFormat = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if any.format > FORMAT {
            let writer = any.written_by.unwrap_or_else(|| "a later version of jsfs".to_owned());
            return Err(OpenError::Newer { place, found: any.format, known: FORMAT, writer });
        }
        let json: StoreJson = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        let chunking = Chunking { min: json.chunk_min, avg: json.chunk_avg, max: json.chunk_max };
        if !chunking.is_usable() {
            return Err(bad("its chunk sizes cannot be used".to_owned()));
        }
        let store_id =
            from_hex(&json.store_id).ok_or_else(|| bad("its store_id is not 32 hex digits".to_owned()))?;
        let StoreJson { format, location, locations, generation, incoming_from, moved_to, .. } = json;
        Ok(Some(Self {
            format,
            store_id,
            location,
            locations,
            chunking,
            generation,
            incoming_from,
            moved_to,
        }))
    }

    /// A location of a store that was never moved.
    pub(crate) const fn new(store_id: [u8; 16], location: u32, locations: u32, chunking: Chunking) -> Self {
        Self {
            format: FORMAT,
            store_id,
            location,
            locations,
            chunking,
            generation: 0,
            incoming_from: None,
            moved_to: None,
        }
    }

    /// Whether it is the same place in the same store, however often it was moved.
    pub(crate) fn is_same_location(&self, other: &Self) -> bool {
        (self.store_id, self.location, self.locations, self.chunking)
            == (other.store_id, other.location, other.locations, other.chunking)
    }

    /// The file's bytes.
    pub(crate) fn to_json(&self) -> String {
        let json = StoreJson {
            format: FORMAT,
            store_id: to_hex(&self.store_id),
            location: self.location,
            locations: self.locations,
            chunk_min: self.chunking.min,
            chunk_avg: self.chunking.avg,
            chunk_max: self.chunking.max,
            generation: self.generation,
            incoming_from: self.incoming_from.clone(),
            moved_to: self.moved_to.clone(),
        };
        serde_json::to_string(&json).unwrap_or_default()
    }

    /// Writes `store.json`.
    pub(crate) fn write(&self, backend: &dyn Backend) -> Result<(), OpenError> {
        let written = backend.write_file(FILE, self.to_json().as_bytes());
        written.map_err(|error| OpenError::io("write store.json", &backend.describe(), error))
    }
}

impl Chunking {
    /// Whether the chunker can work with it.
    pub(crate) fn is_usable(&self) -> bool {
        let even = [self.min, self.avg, self.max].iter().all(|size| size % 2 == 0);
        even && self.min >= 64
            && self.avg >= 256
            && self.max >= 1_024
            && self.min <= self.avg
            && self.avg <= self.max
            && self.max <= 1 << 20
    }
}

pub(crate) fn to_hex(bytes: &[u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn from_hex(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, at) in bytes.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}
