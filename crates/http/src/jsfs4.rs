//! Clients of JSFS 4 in drop boxes, where `compat.jsfs4` is on: the statuses, fields and tokens that they know.
//!
//! Invariants: this is another way to say things and no other authority: who may do what is asked of `jsfs_objects` as everywhere. A request that
//! carries `Authorization` or `Api-Version`, or is for an address outside a drop box, is none of JSFS 4. What was a hole there stays closed
//! (docs/jsfs4.md has the list): a replaced object stays private and keeps its type and owner, HEAD tells no more than GET, what was asked to be
//! `encrypted` is private, no key follows from an address, a repeated key is none.

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use jsfs_objects::address::Address;
use jsfs_objects::jsfs4::{OldBlocks, OldState, old_fingerprint};
use jsfs_objects::{Credentials, Delete, Objects, Read, ReadError, Refusal, Write, WriteError, WriteOptions};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::body::{Arriving, Body};
use crate::front::Front;
use crate::media;
use crate::parameters::pairs;
use crate::problem::Problem;
use crate::request::Asked;
use crate::{get, options, program, put};

mod sound;

use sound::Sound;

/// A request says by this that it knows what came after JSFS 4.
static API_VERSION: HeaderName = HeaderName::from_static("api-version");

const BLOCK_BYTES: u64 = 1 << 20;

/// A request of a client of JSFS 4.
pub(crate) struct Old {
    address: Address,
    /// The name as JSFS 4 made it: raw.
    name: String,
    state: OldState,
}

/// What it asks for besides. Holds secrets: no `Debug`.
#[derive(Default)]
struct Asks {
    key: Option<Zeroizing<String>>,
    token: Option<Zeroizing<String>>,
    expires: Option<String>,
    content_type: Option<String>,
    private: bool,
    encrypted: bool,
    /// A parameter came twice, which made a list of it.
    repeated: bool,
}

impl Old {
    /// The request as one of JSFS 4, where it is one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn of(objects: &Objects, parts: &Parts) -> Result<Option<Old>, Problem> {
        let headers = &parts.headers;
        if !objects.answers_jsfs4()
            || headers.contains_key(AUTHORIZATION)
            || headers.contains_key(&API_VERSION)
        {
            return Ok(None);
        }
        let path = parts.uri.path();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let host = parts.uri.authority().map_or(host, |authority| authority.as_str());
        let is_interface = path == "/.jsfs" || path.starts_with("/.jsfs/");
        let Ok(mut address) = Address::from_host_and_path(host, path) else { return Ok(None) };
        if is_interface || headers.get_all(HOST).iter().count() > 1 {
            return Ok(None);
        }
        if address.is_directory() {
            let Ok(index) = address.join("index.html") else { return Ok(None) };
            address = index;
        }
        let state = objects.old_state(&address)?;
        Ok(state.map(|state| Old { address, name: name_of(host, path), state }))
    }
}

/// A name as JSFS 4 made it of a request.
fn name_of(host: &str, path: &str) -> String {
    if let Some(absolute) = path.strip_prefix("/.") {
        return format!("/{absolute}");
    }
    let host = host.split(':').next().unwrap_or_default();
    let labels: Vec<_> = host.split('.').rev().collect();
    format!("/{}{path}", labels.join("."))
}

impl Asks {
    fn of(parts: &Parts) -> Asks {
        let mut asks = Asks::default();
        let header =
            |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut query = |name: &str| {
            let mut values = pairs(parts.uri.query())
                .filter(|(found, _)| found == name)
                .map(|(_, value)| value.into_owned());
            let first = values.next();
            asks.repeated |= values.next().is_some();
            first
        };
        // A parameter in the query wins over the header.
        let mut given =
            |name: &str, field: &str| query(name).or_else(|| header(field)).filter(|value| !value.is_empty());
        let key = given("access_key", "x-access-key");
        let token = given("access_token", "x-access-token");
        let expires = given("expires", "x-expires");
        let content_type = given("content_type", CONTENT_TYPE.as_str());
        let private = given("private", "x-private").is_some();
        let encrypted = given("encrypted", "x-encrypted").is_some();
        Asks {
            key: key.map(Zeroizing::new),
            token: token.map(Zeroizing::new),
            expires,
            content_type,
            private,
            encrypted,
            ..asks
        }
    }

    /// The key, unless it came twice.
    fn key(&self) -> Option<&str> {
        self.key.as_ref().filter(|_| !self.repeated).map(|key| key.as_str())
    }

    async fn credentials(
        &self,
        objects: &Objects,
        old: &Old,
        method: &Method,
    ) -> Result<Credentials, Problem> {
        let mut credentials = Credentials::none();
        if let Some(key) = self.key() {
            credentials.add_key(key);
        }
        if let Some(token) = self.token.as_ref().filter(|_| !self.repeated) {
            let expires = self.expires.as_deref();
            objects.add_old_token(&mut credentials, &old.address, method.as_str(), token, expires).await?;
        }
        Ok(credentials)
    }
}

/// Answers a request of a client of JSFS 4.
pub(crate) async fn answer(
    front: &Front,
    old: &Old,
    parts: &Parts,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let asks = Asks::of(parts);
    match parts.method.as_str() {
        "GET" | "HEAD" => read(front, old, &asks, parts).await,
        "POST" | "PUT" => Box::pin(write(front, old, &asks, parts, body)).await,
        "DELETE" => delete(front.objects(), old, &asks).await,
        "OPTIONS" => Ok(options::of_addresses(front)),
        method => {
            let mut response = Response::new(Body::full(format!("method {method} is not supported").into()));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            Ok(response)
        }
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

/// Whether a refusal means that the credential does not do.
fn is_no_credential(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Hidden { .. } | Refusal::Unauthenticated { .. } | Refusal::Forbidden { .. })
}

async fn read(front: &Front, old: &Old, asks: &Asks, parts: &Parts) -> Result<Response<Body>, Problem> {
    let objects = front.objects();
    if !old.state.present {
        return Ok(empty(StatusCode::NOT_FOUND));
    }
    // What everybody may read needs no key, and a wrong one does no harm.
    let credentials = if old.state.private {
        asks.credentials(objects, old, &parts.method).await?
    } else {
        Credentials::none()
    };
    let grant = match objects.authorize::<Read>(&credentials, &old.address).await {
        Ok(grant) => grant,
        Err(refusal) if is_no_credential(&refusal) => return Ok(empty(StatusCode::UNAUTHORIZED)),
        Err(refusal) => return Err(refusal.into()),
    };
    if let (true, Some(key)) = (old.state.private, asks.key()) {
        objects.keep_old_key(&old.address, key).await?;
    }
    let object = match objects.read(&grant, None).await {
        Ok(object) => object,
        Err(ReadError::Absent { .. }) => return Ok(empty(StatusCode::NOT_FOUND)),
        Err(ReadError::Refused(refusal)) if is_no_credential(&refusal) => {
            return Ok(empty(StatusCode::UNAUTHORIZED));
        }
        Err(error) => return Err(error.into()),
    };
    let asked = Asked::without_parameters(parts)?;
    if let Some(response) = program::instead_of(front, &asked, &grant, &object).await? {
        return Ok(response);
    }
    let sound = match parts.method == Method::HEAD {
        true => Some(Sound::of_object(&object).await?),
        false => None,
    };
    let mut response = get::represent(front, &asked, object).await?;
    if let Some(sound) = sound {
        sound.describe(response.headers_mut());
    }
    Ok(response)
}

async fn delete(objects: &Objects, old: &Old, asks: &Asks) -> Result<Response<Body>, Problem> {
    if !old.state.present {
        return Ok(empty(StatusCode::NOT_FOUND));
    }
    let mut credentials = Credentials::none();
    if let Some(key) = asks.key() {
        credentials.add_key(key);
    }
    match objects.authorize::<Delete>(&credentials, &old.address).await {
        Ok(grant) => {
            objects.delete(grant, None).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        Err(refusal) if is_no_credential(&refusal) => Ok(empty(StatusCode::UNAUTHORIZED)),
        Err(refusal) => Err(refusal.into()),
    }
}

async fn write(
    front: &Front,
    old: &Old,
    asks: &Asks,
    parts: &Parts,
    mut body: Arriving,
) -> Result<Response<Body>, Problem> {
    let objects = front.objects();
    if asks.repeated {
        return Err(Problem::malformed("a parameter is given twice; send it once"));
    }
    let options = options_of(asks, &parts.headers, &body)?;
    let credentials = asks.credentials(objects, old, &parts.method).await?;
    let grant = match objects.authorize::<Write>(&credentials, &old.address).await {
        Ok(grant) => grant,
        Err(refusal) if is_no_credential(&refusal) => return Ok(empty(StatusCode::UNAUTHORIZED)),
        Err(refusal) => return Err(refusal.into()),
    };
    body.check_announced()?;
    let mut upload = match objects.begin(grant, options).await {
        Ok(upload) => upload,
        Err(WriteError::Refused(refusal)) if is_no_credential(&refusal) => {
            return Ok(empty(StatusCode::UNAUTHORIZED));
        }
        Err(error) => return Err(error.into()),
    };
    let mut blocks = OldBlocks::default();
    let mut beginning = Vec::new();
    while let Some(bytes) = body.next().await? {
        blocks.update(&bytes);
        sound::keep_beginning(&mut beginning, &bytes);
        upload.write(bytes).await?;
    }
    let written = upload.finish().await?;
    // A token changes no key, and is told none.
    let key = written.new_key.as_deref().or(asks.key());
    if let Some(key) = key {
        objects.keep_old_key(&old.address, key).await?;
    }
    let metadata = &written.metadata;
    let document = Document {
        url: &old.name,
        created: metadata.created_ms,
        version: 0,
        private: metadata.private,
        encrypted: asks.encrypted,
        fingerprint: old_fingerprint(&old.name),
        access_key: if asks.token.is_some() && written.new_key.is_none() { None } else { key },
        content_type: &metadata.content_type,
        file_size: metadata.size,
        block_size: BLOCK_BYTES,
        blocks_replicated: 0,
        inode_replicated: 0,
        blocks: blocks.finish().into_iter().map(|block_hash| Block { block_hash, last_seen: "" }).collect(),
        sound: Sound::of_beginning(&beginning, metadata.size),
    };
    let text = serde_json::to_vec(&document).map_err(|error| Problem::internal(&error))?;
    let mut response = Response::new(Body::full(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn options_of(asks: &Asks, headers: &HeaderMap, body: &Arriving) -> Result<WriteOptions, Problem> {
    put::check_coding(headers)?;
    let content_type = match &asks.content_type {
        Some(text) => Some(media::validate(text)?.to_owned()),
        None => None,
    };
    Ok(WriteOptions {
        content_type,
        content_type_if_new: Some(media::DEFAULT.to_owned()),
        private: (asks.private || asks.encrypted).then_some(true),
        precondition: put::precondition_of_object(headers)?,
        size_hint: body.announced(),
        ..WriteOptions::default()
    })
}

/// The answer to a write, field by field in the order of JSFS 4.
#[derive(Serialize)]
struct Document<'d> {
    url: &'d str,
    created: u64,
    version: u64,
    private: bool,
    encrypted: bool,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key: Option<&'d str>,
    content_type: &'d str,
    file_size: u64,
    block_size: u64,
    blocks_replicated: u64,
    inode_replicated: u64,
    blocks: Vec<Block>,
    #[serde(flatten)]
    sound: Sound,
}

#[derive(Serialize)]
struct Block {
    block_hash: String,
    last_seen: &'static str,
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn names_are_raw() {
        for (host, path, name) in [
            ("example.com:7302", "/a%20b", "/com.example/a%20b"),
            ("FOO.com", "/x", "/com.FOO/x"),
            ("any.host", "/.com.other/x", "/com.other/x"),
        ] {
            assert_eq!(name_of(host, path), name);
        }
    }
}
