//! PUT and POST: a body becomes a version of an object.
//!
//! Invariants: authority, conditions, quota and room are checked before the first byte is asked for; a body that does not
//! arrive whole stores nothing; the answer goes out after the store has it durably.

use hyper::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE};
use hyper::{HeaderMap, Method, Response};
use jsfs_objects::address::Address;
use jsfs_objects::{Objects, Precondition, Read, Write, WriteOptions, Written};
use std::sync::Arc;

use crate::body::{Arriving, Body};
use crate::conditional::{Conditions, Verdict};
use crate::copy_move::{self, Carrying};
use crate::front::Front;
use crate::media;
use crate::metadata::{self, Made};
use crate::parameters::Parameter;
use crate::problem::{Kind, Problem};
use crate::program::{self, Storing};
use crate::request::Asked;

/// What a directory answers PUT, and POST without a parameter that names an operation.
const DIRECTORY_METHODS: &str = "GET, HEAD, PATCH, DELETE, COPY, MOVE, OPTIONS";

/// Answers PUT and POST of an address.
pub(crate) async fn put(
    front: &Front,
    asked: &Asked<'_>,
    address: &Address,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let objects = front.objects();
    let is_post = asked.method == Method::POST;
    for (parameter, carrying) in [(Parameter::CopyTo, Carrying::Copy), (Parameter::MoveTo, Carrying::Move)] {
        if let (true, Some(destination)) = (is_post, asked.parameters.get(parameter)) {
            return copy_move::carry(objects, asked, address, carrying, destination).await;
        }
    }
    if is_post && asked.parameters.has(Parameter::Restore) {
        return restore(objects, asked, address).await;
    }
    if address.is_directory() {
        return Err(Problem::method_not_allowed(asked.method, DIRECTORY_METHODS));
    }
    store(front, asked, address, body).await
}

pub(crate) async fn store(
    front: &Front,
    asked: &Asked<'_>,
    address: &Address,
    mut body: Arriving,
) -> Result<Response<Body>, Problem> {
    let objects = front.objects();
    let options = options(asked, address, &body)?;
    let credentials = asked.credentials()?;
    let grant = objects.authorize::<Write>(&credentials, address).await?;
    body.check_announced()?;
    let storing = match options.append {
        true => None,
        false => program::storing(front, asked, &credentials, address, options.executable).await?,
    };
    let content_type = options.content_type.clone().or_else(|| options.content_type_if_new.clone());
    let mut upload = objects.begin(grant, options).await?;
    if let Some(storing) = storing {
        let bytes = Storing::collect(body).await?;
        let content_type = content_type.as_deref().unwrap_or_default();
        let checked = storing.check(front, address, content_type, bytes.clone()).await?;
        storing.attach(front, checked.attachment.as_ref()).await?;
        upload.write(bytes).await?;
        let written = upload.finish().await?;
        checked.stored(front, &written.metadata);
        return told(asked, &written);
    }
    while let Some(bytes) = body.next().await? {
        upload.write(bytes).await?;
    }
    told(asked, &upload.finish().await?)
}

fn told(asked: &Asked<'_>, written: &Written) -> Result<Response<Body>, Problem> {
    let made = Made {
        metadata: &written.metadata,
        created: written.created,
        blocks: &written.blocks,
        new_key: written.new_key.as_deref(),
    };
    metadata::written(asked, &made)
}

fn options(asked: &Asked<'_>, address: &Address, body: &Arriving) -> Result<WriteOptions, Problem> {
    check_coding(asked.headers)?;
    Ok(WriteOptions {
        content_type: content_type(asked)?,
        content_type_if_new: Some(media::by_name(address.name())),
        private: asked.parameters.boolean(Parameter::Private)?,
        executable: asked.parameters.boolean(Parameter::Executable)?,
        append: asked.parameters.boolean(Parameter::Append)?.unwrap_or(false),
        replacement_key: asked.parameters.get(Parameter::ReplacementAccessKey).map(str::to_owned),
        precondition: precondition(asked, address)?,
        size_hint: body.announced(),
        created_ms: asked.parameters.time_ms(Parameter::Created)?,
        modified_ms: asked.parameters.time_ms(Parameter::Modified)?,
        ..WriteOptions::default()
    })
}

/// The parameter, else the header that describes the body. Browsers and curl add the latter by themselves, so the former
/// wins and is no contradiction.
pub(crate) fn content_type(asked: &Asked<'_>) -> Result<Option<String>, Problem> {
    if let Some(text) = asked.parameters.get(Parameter::ContentType) {
        return media::validate(text).map(|text| Some(text.to_owned()));
    }
    let mut values = asked.headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::malformed("the header content-type is given twice; send it once"));
    }
    // What is not ASCII fails the check.
    media::validate(value.to_str().unwrap_or_default()).map(|text| Some(text.to_owned()))
}

/// Bytes are stored as they come: a coding or a part of something would be served as if it were the whole in the clear.
pub(crate) fn check_coding(headers: &HeaderMap) -> Result<(), Problem> {
    if headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let detail = "content codings are not stored; send the bytes themselves, without content-encoding";
        return Err(Problem::new(Kind::UnsupportedType, detail));
    }
    if headers.contains_key(CONTENT_RANGE) {
        let detail =
            "a part of an object cannot be replaced; send the whole, or append=true to add to its end";
        return Err(Problem::malformed(detail));
    }
    Ok(())
}

/// The conditions of a request on what it names, as the object layer tries them.
pub(crate) fn precondition(asked: &Asked<'_>, address: &Address) -> Result<Option<Precondition>, Problem> {
    if !address.is_directory() {
        return precondition_of_object(asked.headers);
    }
    let conditions = Conditions::parse(asked.headers)?;
    if conditions.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(move |_| conditions.for_directory() == Verdict::Proceed)))
}

/// The conditions in these headers, on an object.
pub(crate) fn precondition_of_object(headers: &HeaderMap) -> Result<Option<Precondition>, Problem> {
    let conditions = Conditions::parse(headers)?;
    if conditions.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(move |current: Option<&jsfs_objects::Metadata>| {
        conditions.for_write(current.map(metadata::validators).as_ref())
    })))
}

async fn restore(objects: &Objects, asked: &Asked<'_>, address: &Address) -> Result<Response<Body>, Problem> {
    if address.is_directory() {
        return Err(Problem::malformed("only objects have versions; name one"));
    }
    let Some(version) = asked.parameters.count(Parameter::Restore)? else {
        return Err(Problem::malformed("the parameter restore names no version; see ?versions"));
    };
    let credentials = asked.credentials()?;
    let write = objects.authorize::<Write>(&credentials, address).await?;
    let read = objects.authorize::<Read>(&credentials, address).await?;
    let written = objects.restore(read, write, version).await?;
    let made = Made {
        metadata: &written.metadata,
        created: written.created,
        blocks: &written.blocks,
        new_key: None,
    };
    metadata::written(asked, &made)
}
