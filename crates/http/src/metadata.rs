//! Properties of an object as headers of a read, and as the JSON that answers a write.

use bytes::Bytes;
use std::sync::Arc;

use hyper::header::{ACCEPT_RANGES, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED, LOCATION};
use hyper::{HeaderMap, Response, StatusCode};
use jsfs_objects::{BlockInfo, Metadata, Object};
use serde::Serialize;

use crate::body::Body;
use crate::coding;
use crate::conditional::{Validators, http_date};
use crate::headers;
use crate::media;
use crate::problem::Problem;
use crate::request::{Asked, prefers_minimal};
use crate::wire::{hex, repr_digest, rfc3339};

static REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
static X_VERSION: HeaderName = HeaderName::from_static("x-version");
static X_PRIVATE: HeaderName = HeaderName::from_static("x-private");
static X_EXECUTABLE: HeaderName = HeaderName::from_static("x-executable");
static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What conditions compare.
pub(crate) fn validators(metadata: &Metadata) -> Validators {
    Validators {
        etag: metadata.etag.to_string(),
        modified_ms: metadata.modified_ms,
        first: metadata.version == 1,
    }
}

/// The entity tag as a header.
pub(crate) fn etag(metadata: &Metadata) -> HeaderValue {
    ascii(format!("\"{}\"", metadata.etag))
}

/// Headers of every answer that carries an object, or would. `is_foreign` says whether it is reached through the host of another namespace.
pub(crate) fn describe(headers: &mut HeaderMap, metadata: &Metadata, is_foreign: impl FnOnce() -> bool) {
    headers.insert(CONTENT_TYPE, content_type(metadata));
    headers.insert(ETAG, etag(metadata));
    headers.insert(LAST_MODIFIED, ascii(http_date(metadata.modified_ms)));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(sha256) = &metadata.sha256 {
        headers.insert(&REPR_DIGEST, ascii(repr_digest(sha256)));
    }
    headers.insert(&X_VERSION, HeaderValue::from(metadata.version));
    headers.insert(&X_PRIVATE, boolean(metadata.private));
    if metadata.executable {
        headers.insert(&X_EXECUTABLE, boolean(true));
    }
    choice(headers, metadata);
    headers::sandbox(headers, &metadata.content_type, is_foreign);
}

/// What is said of an object in each answer that carries it whole from its own namespace; made once for a version.
pub(crate) struct Described {
    pub(crate) headers: HeaderMap,
    /// Whether its bytes shrink under a content coding.
    pub(crate) gains: bool,
}

/// The same for all who read this version.
pub(crate) fn described(object: &Object) -> Arc<Described> {
    let make = |metadata: &Metadata| {
        let mut headers = HeaderMap::new();
        describe(&mut headers, metadata, || false);
        headers::finish(&mut headers);
        Described { headers, gains: coding::gains(&metadata.content_type) }
    };
    // Nobody else makes anything of an object.
    object.made(make).unwrap_or_else(|| Arc::new(make(&object.metadata)))
}

/// What a cache goes by: the same in a 200, in a 206 and in a 304 (RFC 9110 §15.3.7, §15.4.5).
pub(crate) fn choice(headers: &mut HeaderMap, metadata: &Metadata) {
    headers::caching(headers, metadata.private);
    if coding::gains(&metadata.content_type) {
        headers::vary(headers, "Accept-Encoding");
    }
}

/// Types are checked when they are stored; what an older node let through is served as bytes.
pub(crate) fn content_type(metadata: &Metadata) -> HeaderValue {
    media::validate(&metadata.content_type)
        .ok()
        .and_then(|text| HeaderValue::from_str(text).ok())
        .unwrap_or(HeaderValue::from_static(media::DEFAULT))
}

fn boolean(value: bool) -> HeaderValue {
    HeaderValue::from_static(if value { "true" } else { "false" })
}

/// A value made of characters that every header may hold.
pub(crate) fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// The answer to a write.
#[derive(Serialize)]
struct Document<'m> {
    url: String,
    address: &'m str,
    created: String,
    modified: String,
    version: u64,
    private: bool,
    executable: bool,
    content_type: &'m str,
    file_size: u64,
    etag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    owner: String,
    blocks: Vec<Block<'m>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key: Option<&'m str>,
}

#[derive(Serialize)]
struct Block<'m> {
    hash: &'m str,
    size: u64,
}

/// What a write made, as far as it is told.
pub(crate) struct Made<'m> {
    pub(crate) metadata: &'m Metadata,
    pub(crate) created: bool,
    pub(crate) blocks: &'m [BlockInfo],
    pub(crate) new_key: Option<&'m str>,
}

/// 201 or 200 with the metadata; without them where the client asked so and no key has to be told.
pub(crate) fn written(asked: &Asked<'_>, made: &Made<'_>) -> Result<Response<Body>, Problem> {
    let status = if made.created { StatusCode::CREATED } else { StatusCode::OK };
    let minimal = prefers_minimal(asked.headers) && made.new_key.is_none();
    let mut response = if minimal {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = if made.created { status } else { StatusCode::NO_CONTENT };
        response.headers_mut().insert(&PREFERENCE_APPLIED, HeaderValue::from_static("return=minimal"));
        response
    } else {
        json(status, &document(asked, made))?
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, etag(made.metadata));
    headers.insert(LOCATION, ascii(asked.path_to(&made.metadata.address)));
    headers.insert(LAST_MODIFIED, ascii(http_date(made.metadata.modified_ms)));
    headers.insert(&X_VERSION, HeaderValue::from(made.metadata.version));
    Ok(response)
}

fn document<'m>(asked: &Asked<'_>, made: &Made<'m>) -> Document<'m> {
    let metadata = made.metadata;
    Document {
        url: asked.url_of(&metadata.address),
        address: metadata.address.as_str(),
        created: rfc3339(metadata.created_ms),
        modified: rfc3339(metadata.modified_ms),
        version: metadata.version,
        private: metadata.private,
        executable: metadata.executable,
        content_type: &metadata.content_type,
        file_size: metadata.size,
        etag: metadata.etag.to_string(),
        sha256: metadata.sha256.as_ref().map(|sha256| hex(sha256)),
        owner: metadata.owner.to_string(),
        blocks: made.blocks.iter().map(|block| Block { hash: &block.hash, size: block.size }).collect(),
        access_key: made.new_key,
    }
}

/// A JSON document as an answer.
pub(crate) fn json<T: Serialize>(status: StatusCode, document: &T) -> Result<Response<Body>, Problem> {
    Ok(json_text(status, text_of(document)?.into()))
}

/// The text of a JSON document.
pub(crate) fn text_of<T: Serialize>(document: &T) -> Result<Vec<u8>, Problem> {
    let mut text = serde_json::to_vec(document).map_err(|error| Problem::internal(&error))?;
    text.push(b'\n');
    Ok(text)
}

/// The same where the text is there already.
pub(crate) fn json_text(status: StatusCode, text: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// 204.
pub(crate) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
