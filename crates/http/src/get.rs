//! GET and HEAD: objects, their versions, directories.
//!
//! Invariants: authority first; then existence, conditions, range, in that order. The first bytes are read and verified before
//! the head of the answer is written, so damage that can be known by then is a 500 and not a broken answer.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use hyper::header::{CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, LOCATION, RANGE};
use hyper::{Method, Response, StatusCode};
use jsfs_objects::address::Address;
use jsfs_objects::{Credentials, List, ListOptions, Listed, Object, Objects, Read, ReadError, Refusal};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::body::{Body, BrokenOff};
use crate::coding::Coding;
use crate::conditional::{Conditions, Verdict, no_tag, range_applies};
use crate::counters::Counters;
use crate::front::Front;
use crate::headers;
use crate::listing::{self, Entry, Page, Setting};
use crate::memory::PIECE_BYTES_MAX;
use crate::metadata::{self, json};
use crate::multipart::Frame;
use crate::parameters::Parameter;
use crate::problem::{Kind, Problem, random};
use crate::program;
use crate::range::{Selection, select};
use crate::request::Asked;
use crate::wire::{hex, rfc3339};

/// What an entry of a listing takes, text and what it is made of, where names are not very long.
const ENTRY_BYTES: u64 = 1_024;

/// Answers GET and HEAD of an address.
pub(crate) async fn get(
    front: &Front,
    asked: &Asked<'_>,
    address: &Address,
) -> Result<Response<Body>, Problem> {
    let objects = front.objects();
    if address.is_directory() {
        return directory(front, asked, address).await;
    }
    let version = asked.parameters.count(Parameter::Version)?;
    let credentials = asked.credentials()?;
    let grant = match objects.authorize::<Read>(&credentials, address).await {
        Ok(grant) => grant,
        Err(refusal @ (Refusal::Hidden { .. } | Refusal::Forbidden { .. })) => {
            if let Some(response) = program::unread(front, asked, &credentials, address).await? {
                return Ok(response);
            }
            if let Refusal::Forbidden { .. } = refusal {
                return Err(refusal.into());
            }
            return elsewhere(objects, asked, &credentials, address, refusal.into()).await;
        }
        Err(refusal) => return Err(refusal.into()),
    };
    if asked.parameters.has(Parameter::Versions) {
        return versions(objects, &grant).await;
    }
    match objects.read(&grant, version).await {
        Ok(object) => match program::instead_of(front, asked, &grant, &object).await? {
            Some(response) => Ok(response),
            None => represent(front, asked, object).await,
        },
        Err(error @ ReadError::Absent { .. }) => {
            elsewhere(objects, asked, &credentials, address, error.into()).await
        }
        Err(error) => Err(error.into()),
    }
}

/// The answer for an object that the caller may read.
pub(crate) async fn represent(
    front: &Front,
    asked: &Asked<'_>,
    object: Object,
) -> Result<Response<Body>, Problem> {
    let counters = front.counters();
    let validators = metadata::validators(&object.metadata);
    let conditions = Conditions::parse(asked.headers)?;
    let coding = Coding::negotiate(asked.headers).filter(|_| !asked.headers.contains_key(RANGE));
    match conditions.for_read(&validators, coding) {
        Verdict::Proceed => {}
        Verdict::NotModified => return Ok(not_modified(&object, conditions.tag_held(&validators, coding))),
        Verdict::Failed => {
            let detail =
                format!("{} is not what the condition of the request names", object.metadata.address);
            return Err(Problem::new(Kind::PreconditionFailed, detail));
        }
    }
    let size = object.metadata.size;
    let ranged = asked.method == Method::GET && range_applies(asked.headers, &validators);
    let selection = if ranged { select(asked.headers, size) } else { Selection::Whole };
    let mut response = match selection {
        _ if asked.method == Method::HEAD => Response::new(unread(size)),
        Selection::Whole => Response::new(stream_of(counters, &object, 0..size).await?),
        Selection::Unsatisfiable(why) => return Err(Problem::range_not_satisfiable(why.into(), size)),
        Selection::Parts(parts) if parts.len() == 1 => {
            part(counters, &object, parts[0].clone(), size).await?
        }
        Selection::Parts(parts) => return multipart(counters, asked, object, parts),
    };
    let metadata = &object.metadata;
    let mut headers = metadata::described(&object).headers.clone();
    headers::sandbox(&mut headers, &metadata.content_type, || !asked.is_at_home(&metadata.address));
    headers.extend(std::mem::take(response.headers_mut()));
    *response.headers_mut() = headers;
    Ok(response)
}

fn not_modified(object: &Object, tag_held: &str) -> Response<Body> {
    let mut response = unchanged();
    if let Ok(tag) = HeaderValue::try_from(format!("\"{tag_held}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    metadata::choice(response.headers_mut(), &object.metadata);
    response
}

/// 304.
fn unchanged() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// A body that only its length is wanted of.
fn unread(length: u64) -> Body {
    Body::pieces(Box::pin(stream::empty()), length)
}

async fn part(
    counters: &Counters,
    object: &Object,
    range: Range<u64>,
    size: u64,
) -> Result<Response<Body>, Problem> {
    let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
    let mut response = Response::new(stream_of(counters, object, range).await?);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    if let Ok(value) = HeaderValue::try_from(content_range) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    Ok(response)
}

/// One stretch of an object. Its first piece is read here and now.
async fn stream_of(counters: &Counters, object: &Object, range: Range<u64>) -> Result<Body, Problem> {
    let length = range.end - range.start;
    let memory = counters.memory(length.min(PIECE_BYTES_MAX)).await?;
    if let Some(bytes) = object.at_once(range.clone()).await {
        return Ok(Body::full(memory.keep(bytes?)));
    }
    let mut body = object.body(range);
    let Some(first) = body.next().await.transpose()? else { return Ok(Body::empty()) };
    if first.len() as u64 == length {
        return Ok(Body::full(memory.keep(first)));
    }
    let first = std::future::ready(Ok(memory.keep(first)));
    let pieces = stream::once(first).chain(pieces_of(counters.clone(), body));
    Ok(Body::pieces(Box::pin(pieces), length))
}

fn pieces_of(
    counters: Counters,
    body: jsfs_objects::Body,
) -> impl Stream<Item = Result<Bytes, BrokenOff>> + Send {
    stream::unfold((counters, body), |(counters, mut body)| async {
        let memory = counters.next_memory(body.left().min(PIECE_BYTES_MAX)).await;
        let piece = body.next().await?;
        let piece = piece.map(|bytes| memory.keep(bytes)).map_err(|error| BrokenOff(error.to_string()));
        Some((piece, (counters, body)))
    })
}

fn multipart(
    counters: &Counters,
    asked: &Asked<'_>,
    object: Object,
    parts: Vec<Range<u64>>,
) -> Result<Response<Body>, Problem> {
    let part_type = metadata::content_type(&object.metadata);
    let part_type = part_type.to_str().unwrap_or(crate::media::DEFAULT);
    let frame = Frame::new(&parts, object.metadata.size, part_type, random());
    let content_type =
        HeaderValue::try_from(frame.content_type()).map_err(|error| Problem::internal(&error))?;
    let (length, tail) = (frame.length(), frame.tail());
    let (properties, counters) = (object.metadata.clone(), counters.clone());
    let parts = stream::iter(parts.into_iter().enumerate()).flat_map(move |(at, range)| {
        let head = stream::iter(frame.head(at)).map(Ok);
        head.chain(pieces_of(counters.clone(), object.body(range)))
    });
    let pieces = parts.chain(stream::once(std::future::ready(Ok(tail))));
    let mut response = Response::new(Body::pieces(Box::pin(pieces), length));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    metadata::describe(response.headers_mut(), &properties, || !asked.is_at_home(&properties.address));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}

/// Nothing that this caller may read. Where a directory of that name shows them something, that is where they are sent.
async fn elsewhere(
    objects: &Objects,
    asked: &Asked<'_>,
    credentials: &Credentials,
    address: &Address,
    otherwise: Problem,
) -> Result<Response<Body>, Problem> {
    // A key that came in the query must not be written into a URL by us.
    let special = asked.parameters.has(Parameter::Version)
        || asked.parameters.has(Parameter::Versions)
        || asked.parameters.is_in_query(Parameter::AccessKey);
    if special {
        return Err(otherwise);
    }
    let Ok(directory) = Address::parse_exact(&format!("{address}/")) else { return Err(otherwise) };
    let Ok(grant) = objects.authorize::<List>(credentials, &directory).await else { return Err(otherwise) };
    let options = ListOptions { after: None, limit: 1, recursive: false };
    match objects.list(&grant, options).await {
        Ok(listing) if !listing.entries.is_empty() => Ok(redirect(asked, &directory)),
        _ => Err(otherwise),
    }
}

fn redirect(asked: &Asked<'_>, directory: &Address) -> Response<Body> {
    let query = asked.query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    if let Ok(value) = HeaderValue::try_from(format!("{}{query}", asked.path_to(directory))) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

#[derive(Serialize)]
struct Versions {
    versions: Vec<Version>,
}

#[derive(Serialize)]
struct Version {
    version: u64,
    modified: String,
    file_size: Option<u64>,
    etag: Option<String>,
    content_type: Option<String>,
    private: Option<bool>,
    deleted: bool,
}

async fn versions(objects: &Objects, grant: &jsfs_objects::Grant<Read>) -> Result<Response<Body>, Problem> {
    let versions = objects.versions(grant).await?;
    let versions = versions
        .into_iter()
        .map(|info| Version {
            version: info.version,
            modified: rfc3339(info.modified_ms),
            file_size: info.metadata.as_ref().map(|metadata| metadata.size),
            etag: info.metadata.as_ref().map(|metadata| metadata.etag.to_string()),
            content_type: info.metadata.map(|metadata| metadata.content_type),
            private: info.private,
            deleted: info.deleted,
        })
        .collect();
    let mut response = json(StatusCode::OK, &Versions { versions })?;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// A directory: its `index.html` where it has one that the caller may read, else what it holds.
pub(crate) async fn directory(
    front: &Front,
    asked: &Asked<'_>,
    address: &Address,
) -> Result<Response<Body>, Problem> {
    let objects = front.objects();
    let recursive = asked.parameters.boolean(Parameter::Recursive)?.unwrap_or(false);
    let limit = asked.parameters.count(Parameter::Limit)?.unwrap_or(listing::LIMIT_DEFAULT);
    let after = asked.parameters.get(Parameter::After).filter(|after| !after.is_empty()).map(str::to_owned);
    let credentials = asked.credentials()?;
    if asked.parameters.has(Parameter::Properties) {
        return crate::patch::properties(objects, &credentials, address).await;
    }
    // Whoever pages or asks for JSON wants the listing.
    let plain = after.is_none() && !recursive && !asked.parameters.has(Parameter::Limit);
    let html = listing::prefers_html(asked.headers);
    if plain
        && (html || accepts_anything(asked))
        && let Some(index) = index(objects, &credentials, address).await?
    {
        let mut response = represent(front, asked, index).await?;
        headers::vary(response.headers_mut(), "Accept");
        return Ok(response);
    }
    let grant = objects.authorize::<List>(&credentials, address).await?;
    let limit = usize::try_from(limit.min(listing::LIMIT_MAX)).unwrap_or(usize::MAX);
    let options = ListOptions { after, limit, recursive };
    let memory = front.counters().memory((limit as u64).saturating_mul(ENTRY_BYTES)).await?;
    let text = objects.list_as(&grant, options, rendering(asked, address, recursive, html)).await?;
    let mut response = match Conditions::parse(asked.headers)?.for_directory() {
        Verdict::Proceed if html => page_as_html(memory.keep(text?.into())),
        Verdict::Proceed => metadata::json_text(StatusCode::OK, memory.keep(text?.into())),
        Verdict::NotModified => unchanged(),
        Verdict::Failed => return Err(no_tag(address)),
    };
    let headers = response.headers_mut();
    headers::caching(headers, !credentials.is_empty());
    headers::vary(headers, "Accept");
    headers::vary(headers, "Accept-Encoding");
    Ok(response)
}

/// A client that names no type it wants (curl, a script) gets the index as well.
fn accepts_anything(asked: &Asked<'_>) -> bool {
    let mut accepted = asked.headers.get_all(hyper::header::ACCEPT).iter();
    accepted.all(|value| {
        value.to_str().is_ok_and(|text| text.split(',').any(|range| range.trim().starts_with("*/*")))
    })
}

async fn index(
    objects: &Objects,
    credentials: &Credentials,
    address: &Address,
) -> Result<Option<Object>, Problem> {
    let Ok(index) = address.join("index.html") else { return Ok(None) };
    let grant = match objects.authorize::<Read>(credentials, &index).await {
        Ok(grant) => grant,
        Err(Refusal::Storage(error)) => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    match objects.read(&grant, None).await {
        Ok(object) => Ok(Some(object)),
        Err(ReadError::Absent { .. } | ReadError::Purged { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What makes the text of a page where the listing is made: ten thousand entries take a while.
fn rendering(
    asked: &Asked<'_>,
    address: &Address,
    recursive: bool,
    html: bool,
) -> impl FnOnce(jsfs_objects::Listing) -> Result<Vec<u8>, Problem> + Send + 'static {
    let address = address.clone();
    let path = asked.path_to(&address);
    let token = asked
        .parameters
        .get(Parameter::AccessToken)
        .filter(|_| asked.parameters.is_in_query(Parameter::AccessToken))
        .map(|token| Zeroizing::new(token.to_owned()));
    let limit = asked.parameters.count(Parameter::Limit).ok().flatten();
    move |listing| {
        let page = Page {
            address: address.to_string(),
            entries: listing.entries.into_iter().map(entry).collect(),
            next: listing.next,
        };
        if !html {
            return metadata::text_of(&page);
        }
        let absolute = path.starts_with("/.").then(|| format!("/.{}", &address.as_str()[1..]));
        let path = absolute.as_deref().unwrap_or(address.path());
        let token = token.as_ref().map(|token| token.as_str());
        Ok(listing::html(&page, Setting { path, token, recursive, limit }).into_bytes())
    }
}

fn page_as_html(text: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    headers::page(response.headers_mut());
    response
}

fn entry(listed: jsfs_objects::ListEntry) -> Entry {
    let metadata = match listed.what {
        Listed::Directory => return Entry { name: listed.name, r#type: "directory", ..Entry::default() },
        Listed::Unreadable => {
            let (private, unreadable) = (Some(true), Some(true));
            return Entry { name: listed.name, r#type: "object", private, unreadable, ..Entry::default() };
        }
        Listed::Object(metadata) => metadata,
    };
    Entry {
        name: listed.name,
        r#type: "object",
        size: Some(metadata.size),
        modified: Some(rfc3339(metadata.modified_ms)),
        version: Some(metadata.version),
        private: Some(metadata.private),
        etag: Some(metadata.etag.to_string()),
        sha256: metadata.sha256.as_ref().map(|sha256| hex(sha256)),
        content_type: Some(metadata.content_type),
        unreadable: None,
    }
}
