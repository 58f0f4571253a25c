//! What the node says about objects, in its JSON and its headers. Fields that this version does not know are kept for `--json`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, LAST_MODIFIED};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The answer to a write: the object's metadata.
#[derive(Clone, Serialize, Deserialize)]
pub struct Metadata {
    /// A URL of the object.
    #[serde(default)]
    pub url: String,
    /// Its address.
    #[serde(default)]
    pub address: String,
    /// The version written, from 1.
    #[serde(default)]
    pub version: u64,
    /// Whether reading needs a credential.
    #[serde(default)]
    pub private: bool,
    /// Its content type.
    #[serde(default)]
    pub content_type: String,
    /// Its size in bytes.
    #[serde(default)]
    pub file_size: u64,
    /// Its entity tag.
    #[serde(default)]
    pub etag: String,
    /// Everything else that the node said.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl std::fmt::Debug for Metadata {
    /// Without `other`, which may hold a key that the request made.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metadata")
            .field("address", &self.address)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// One version of an object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Version {
    /// Its number, from 1.
    pub version: u64,
    /// When it was written, RFC 3339.
    #[serde(default)]
    pub modified: String,
    /// Size in bytes.
    #[serde(default)]
    pub file_size: Option<u64>,
    /// Entity tag.
    #[serde(default)]
    pub etag: Option<String>,
    /// Content type.
    #[serde(default)]
    pub content_type: Option<String>,
    /// Whether reading needs a credential.
    #[serde(default)]
    pub private: Option<bool>,
    /// Whether this version is a deletion; deletions have no content.
    #[serde(default)]
    pub deleted: bool,
    /// Everything else that the node said.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What the headers of an answer say about an object.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ObjectInfo {
    /// Size in bytes of the whole object where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Content type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Entity tag, without its quotes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// The version served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Whether reading needs a credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<bool>,
    /// Whether it is a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
    /// SHA-256 of the whole object, hex, from `Repr-Digest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl ObjectInfo {
    pub(crate) fn of(headers: &HeaderMap) -> ObjectInfo {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let whole = text("content-range")
            .and_then(|range| range.rsplit('/').next().and_then(|size| size.parse().ok()));
        ObjectInfo {
            size: whole.or_else(|| text(CONTENT_LENGTH.as_str()).and_then(|size| size.parse().ok())),
            content_type: text(CONTENT_TYPE.as_str()),
            etag: text(ETAG.as_str()).map(|etag| etag.trim_matches('"').to_owned()),
            modified: text(LAST_MODIFIED.as_str()),
            version: text("x-version").and_then(|version| version.parse().ok()),
            private: text("x-private").and_then(|flag| flag.parse().ok()),
            executable: text("x-executable").and_then(|flag| flag.parse().ok()),
            sha256: text("repr-digest").as_deref().and_then(sha256_of_digest),
        }
    }
}

/// The SHA-256 of a `Repr-Digest` header (RFC 9530), in hex.
fn sha256_of_digest(header: &str) -> Option<String> {
    let member = header.split(',').map(str::trim).find_map(|member| member.strip_prefix("sha-256=:"))?;
    let bytes = STANDARD.decode(member.strip_suffix(':')?).ok()?;
    (bytes.len() == 32).then(|| hex(&bytes))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
