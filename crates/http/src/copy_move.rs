//! COPY and MOVE: new names for bytes that are here already.
//!
//! Invariants: both ends are authorised before anything is looked at; the conditions of the request speak of the source (RFC 9110
//! §13: it is the target of the request), `Overwrite: F` of the destination (RFC 4918 §10.6); one commit for a whole tree.

use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use jsfs_objects::address::Address;
use jsfs_objects::{Delete, Expected, Moved, Objects, Precondition, Read, Write};
use serde::Serialize;

use crate::body::Body;
use crate::metadata::{self, Made, json, no_content};
use crate::problem::Problem;
use crate::put::precondition;
use crate::request::Asked;

static DESTINATION: HeaderName = HeaderName::from_static("destination");
static OVERWRITE: HeaderName = HeaderName::from_static("overwrite");

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrying {
    Copy,
    Move,
}

/// What arrived, where it is more than one object.
#[derive(Serialize)]
struct Tree<'t> {
    url: String,
    address: &'t str,
    objects: u64,
}

/// Answers COPY and MOVE of an address.
pub(crate) async fn by_header(
    objects: &Objects,
    asked: &Asked<'_>,
    address: &Address,
    carrying: Carrying,
) -> Result<Response<Body>, Problem> {
    let mut values = asked.headers.get_all(&DESTINATION).iter();
    let destination = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    };
    let Some(destination) = destination else {
        return Err(Problem::malformed("the header destination must be there once; send Destination: /path"));
    };
    carry(objects, asked, address, carrying, destination.trim()).await
}

/// The same with a destination from elsewhere.
pub(crate) async fn carry(
    objects: &Objects,
    asked: &Asked<'_>,
    address: &Address,
    carrying: Carrying,
    destination: &str,
) -> Result<Response<Body>, Problem> {
    let target = asked.destination(destination)?;
    let overwrite = overwrite(asked)?;
    let source = precondition(asked, address)?;
    let credentials = asked.credentials()?;
    let read = objects.authorize::<Read>(&credentials, address).await?;
    objects.check_source(&read).await?;
    let delete = match carrying {
        Carrying::Copy => None,
        Carrying::Move => Some(objects.authorize::<Delete>(&credentials, address).await?),
    };
    let write = objects.authorize::<Write>(&credentials, &target).await?;
    let expected = Expected { source, target: overwrite, replaces: false };
    let moved = match delete {
        None => objects.copy(read, write, expected).await?,
        Some(delete) => objects.relocate(read, delete, write, expected).await?,
    };
    answer(asked, &target, &moved)
}

/// `Overwrite: F`: the destination must not exist.
fn overwrite(asked: &Asked<'_>) -> Result<Option<Precondition>, Problem> {
    match asked.headers.get(&OVERWRITE).map(HeaderValue::as_bytes) {
        None | Some(b"T" | b"t") => Ok(None),
        Some(b"F" | b"f") => Ok(Some(Arc::new(|current: Option<&jsfs_objects::Metadata>| current.is_none()))),
        Some(_) => Err(Problem::malformed("the header overwrite is neither T nor F")),
    }
}

fn answer(asked: &Asked<'_>, target: &Address, moved: &Moved) -> Result<Response<Body>, Problem> {
    if !moved.created {
        return Ok(no_content());
    }
    if let Some(metadata) = &moved.metadata {
        return metadata::written(asked, &Made { metadata, created: true, blocks: &[], new_key: None });
    }
    let tree = Tree { url: asked.url_of(target), address: target.as_str(), objects: moved.objects };
    let mut response = json(StatusCode::CREATED, &tree)?;
    if let Ok(value) = HeaderValue::try_from(asked.path_to(target)) {
        response.headers_mut().insert(LOCATION, value);
    }
    Ok(response)
}
