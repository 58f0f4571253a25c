//! The verbs of WebDAV that change something. Order in each: authority, then what is there, conditions and locks, then one commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use jsfs_objects::address::Address;
use jsfs_objects::{
    Delete, Expected, Metadata, Precondition, PropertyChange, Read, Write, WriteError, WriteOptions,
};

use super::lock::{self, NoLock, OWNER_BYTES_MAX, Wanted};
use super::properties::{LIVE, discovery, propstat};
use super::resource::{Call, Found, as_directory, as_object, href, locked};
use super::xml::{DAV, escape};
use super::{Answered, MARKER, document, refusal, unread, unwritten, xml_response};
use crate::body::{Arriving, Body};
use crate::metadata::no_content;
use crate::problem::{Kind, Problem};
use crate::put::{self, precondition};

const PROPERTY_BYTES_MAX: usize = 16 * 1024;
const MARKER_TYPE: &str = "application/x-jsfs-directory";

fn created() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::CREATED;
    response
}

fn absent() -> Precondition {
    Arc::new(|current: Option<&Metadata>| current.is_none())
}

pub(crate) async fn put(call: &Call<'_>, body: Arriving) -> Answered<Response<Body>> {
    let address = &call.address;
    if address.is_directory() {
        return Err(Problem::method_not_allowed(call.asked.method, super::METHODS).into());
    }
    call.objects().authorize::<Write>(&call.credentials, address).await.map_err(refusal)?;
    let tokens = call.submitted(address).await?;
    let found = call.find(address).await;
    match &found {
        Ok(Found::Directory(..)) => {
            return Err(Problem::method_not_allowed(call.asked.method, super::METHODS).into());
        }
        Ok(Found::Object(..)) => call.check_locks(address, false, &tokens)?,
        Err(_) => {
            call.check_membership(address, &tokens)?;
            call.check_parent(address).await?;
        }
    }
    Ok(put::store(call.front, call.asked, address, body).await?)
}

pub(crate) async fn mkcol(call: &Call<'_>, body: Arriving) -> Answered<Response<Body>> {
    let directory = as_directory(&call.address)?;
    let marker = directory.join(MARKER)?;
    let write = call.objects().authorize::<Write>(&call.credentials, &marker).await.map_err(refusal)?;
    if !body.at_most(1).collect().await.is_ok_and(|bytes| bytes.is_empty()) {
        return Err(Problem::new(Kind::UnsupportedType, "MKCOL takes no body").into());
    }
    let tokens = call.submitted(&directory).await?;
    if directory.is_namespace() || call.find(&as_object(&directory)?).await.is_ok() {
        return Err(Problem::method_not_allowed(call.asked.method, super::METHODS).into());
    }
    call.check_membership(&directory, &tokens)?;
    call.check_parent(&directory).await?;
    make(call, write, BTreeMap::new()).await?;
    Ok(created())
}

/// Stores the object that keeps a directory there.
async fn make(
    call: &Call<'_>,
    write: jsfs_objects::Grant<Write>,
    properties: BTreeMap<String, Option<String>>,
) -> Answered<()> {
    let options = WriteOptions {
        content_type: Some(MARKER_TYPE.into()),
        precondition: Some(absent()),
        properties,
        ..WriteOptions::default()
    };
    let upload = call.objects().begin(write, options).await.map_err(unwritten)?;
    upload.finish().await.map_err(unwritten)?;
    Ok(())
}

pub(crate) async fn delete(call: &Call<'_>) -> Answered<Response<Body>> {
    let mut address = call.address.clone();
    let mut grant = call.objects().authorize::<Delete>(&call.credentials, &address).await.map_err(refusal)?;
    if let Ok(Found::Directory(directory, _)) = call.find(&address).await {
        grant = call.objects().authorize::<Delete>(&call.credentials, &directory).await.map_err(refusal)?;
        address = directory;
    }
    if address.is_namespace() {
        let detail = "a namespace is not deleted as a folder is; delete what is in it";
        return Err(Problem::new(Kind::Forbidden, detail).into());
    }
    let tokens = call.submitted(&address).await?;
    call.check_membership(&address, &tokens)?;
    call.objects().delete(grant, precondition(call.asked, &address)?).await.map_err(unwritten)?;
    call.locks().forget(&address);
    Ok(no_content())
}

pub(crate) async fn carry(call: &Call<'_>, is_move: bool) -> Answered<Response<Body>> {
    let objects = call.objects();
    let destination = call.header("destination")?;
    let destination = destination.ok_or_else(|| Problem::malformed("the header destination is missing"))?;
    let target = call.below_prefix(destination.trim())?;
    call.refuse_reserved(&target)?;
    let overwrite = match call.header("overwrite")? {
        None | Some("T" | "t") => true,
        Some("F" | "f") => false,
        Some(_) => return Err(Problem::malformed("the header overwrite is neither T nor F").into()),
    };
    let shallow = match call.header("depth")? {
        Some("0") => true,
        None => false,
        Some(depth) if depth.eq_ignore_ascii_case("infinity") => false,
        Some(_) => return Err(Problem::malformed("the header depth is neither 0 nor infinity").into()),
    };
    let found = call.find(&call.address).await?;
    let source = found.address().clone();
    let is_directory = matches!(found, Found::Directory(..));
    let target = if is_directory { as_directory(&target)? } else { as_object(&target)? };
    let read = objects.authorize::<Read>(&call.credentials, &source).await.map_err(refusal)?;
    objects.check_source(&read).await.map_err(unread)?;
    let delete = match is_move {
        true => Some(objects.authorize::<Delete>(&call.credentials, &source).await.map_err(refusal)?),
        false => None,
    };
    let write = objects.authorize::<Write>(&call.credentials, &target).await.map_err(refusal)?;
    if source == target || source.is_namespace() && is_move || target.is_namespace() {
        return Err(
            Problem::new(Kind::Forbidden, "source and destination must be two, and no namespace").into()
        );
    }
    let tokens = call.submitted(&source).await?;
    if is_move {
        call.check_membership(&source, &tokens)?;
    }
    call.check_membership(&target, &tokens)?;
    call.check_parent(&target).await?;
    let there = call.find(&as_object(&target)?).await.is_ok();
    if there && !overwrite {
        return Err(
            Problem::new(Kind::PreconditionFailed, "the destination is there, and overwrite is F").into()
        );
    }
    let expected = Expected {
        source: precondition(call.asked, &source)?,
        target: (!overwrite).then(absent),
        replaces: overwrite,
    };
    if is_directory && shallow && !is_move {
        copy_directory_alone(call, &found, &target, there).await?;
    } else {
        let moved = match delete {
            None => objects.copy(read, write, expected).await,
            Some(delete) => objects.relocate(read, delete, write, expected).await,
        };
        moved.map_err(unwritten)?;
    }
    if is_move {
        call.locks().forget(&source);
    }
    Ok(if there { no_content() } else { created() })
}

/// COPY with depth 0: the directory with its properties and nothing that it holds.
async fn copy_directory_alone(call: &Call<'_>, found: &Found, target: &Address, there: bool) -> Answered<()> {
    let objects = call.objects();
    let write =
        objects.authorize::<Write>(&call.credentials, &target.join(MARKER)?).await.map_err(refusal)?;
    if there {
        let old = call.find(&as_object(target)?).await?;
        let delete = objects.authorize::<Delete>(&call.credentials, old.address()).await.map_err(refusal)?;
        objects.delete(delete, None).await.map_err(unwritten)?;
    }
    let properties = match found {
        Found::Directory(_, Some(marker)) => {
            marker.properties.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect()
        }
        _ => BTreeMap::new(),
    };
    // Authority was decided before the old one went.
    drop(write);
    let write =
        objects.authorize::<Write>(&call.credentials, &target.join(MARKER)?).await.map_err(refusal)?;
    make(call, write, properties).await
}

pub(crate) async fn proppatch(call: &Call<'_>, body: Arriving) -> Answered<Response<Body>> {
    let objects = call.objects();
    objects.authorize::<Write>(&call.credentials, &call.address).await.map_err(refusal)?;
    let malformed = || Problem::malformed("the body is no propertyupdate of set and remove");
    let root = document(call, body)
        .await?
        .filter(|root| root.name.is_dav("propertyupdate"))
        .ok_or_else(malformed)?;
    let found = call.find(&call.address).await?;
    let tokens = call.submitted(found.address()).await?;
    call.check_locks(found.address(), false, &tokens)?;
    let mut edits = BTreeMap::new();
    let (mut fine, mut barred) = (String::new(), String::new());
    for instruction in root.elements().filter(|one| &*one.name.namespace == DAV) {
        let removes = match instruction.name.local.as_str() {
            "set" => false,
            "remove" => true,
            _ => continue,
        };
        for group in instruction.elements().filter(|one| one.name.is_dav("prop")) {
            let language = group.language().or(instruction.language()).or(root.language());
            for property in group.elements() {
                let name = &property.name;
                if &*name.namespace == DAV && LIVE.contains(&name.local.as_str()) {
                    barred.push_str(&name.empty_element());
                    continue;
                }
                let value = match removes {
                    true => None,
                    false => Some(property.to_text(language, PROPERTY_BYTES_MAX).ok_or_else(too_long)?),
                };
                fine.push_str(&name.empty_element());
                edits.insert(name.key(), value);
            }
        }
    }
    let mut out = format!(
        "<D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>{}</D:href>",
        escape(&href(found.address()))
    );
    if barred.is_empty() {
        attach(call, &found, edits).await?;
        out.push_str(&propstat(&fine, "200 OK"));
    } else {
        out.push_str(&propstat(&barred, "403 Forbidden"));
        if !fine.is_empty() {
            out.push_str(&propstat(&fine, "424 Failed Dependency"));
        }
    }
    out.push_str("</D:response></D:multistatus>");
    Ok(xml_response(StatusCode::MULTI_STATUS, out))
}

fn too_long() -> Problem {
    Problem::new(
        Kind::TooLarge,
        format!("a property has at most {PROPERTY_BYTES_MAX} bytes; keep more in an object"),
    )
}

async fn attach(
    call: &Call<'_>,
    found: &Found,
    properties: BTreeMap<String, Option<String>>,
) -> Answered<()> {
    let (address, there) = match found {
        Found::Object(object, _) => (object.metadata.address.clone(), true),
        Found::Directory(directory, marker) => (directory.join(MARKER)?, marker.is_some()),
    };
    let write = call.objects().authorize::<Write>(&call.credentials, &address).await.map_err(refusal)?;
    if !there {
        return make(call, write, properties).await;
    }
    let change = PropertyChange { properties, ..PropertyChange::default() };
    call.objects().change(write, change, None).await.map_err(unwritten)?;
    Ok(())
}

pub(crate) async fn lock(call: &Call<'_>, body: Arriving) -> Answered<Response<Body>> {
    let write = call.objects().authorize::<Write>(&call.credentials, &call.address).await.map_err(refusal)?;
    let timeout = lock::timeout(call.header("timeout")?);
    let found = call.find(&call.address).await;
    let address = found.as_ref().map_or_else(|_| call.address.clone(), |found| found.address().clone());
    let tokens = call.submitted(&address).await?;
    let Some(root) = document(call, body).await? else {
        let Some(lock) = call.locks().refresh(&address, &tokens, timeout) else {
            return Err(
                Problem::new(Kind::PreconditionFailed, "the header if names no lock to refresh").into()
            );
        };
        return Ok(granted(&lock, StatusCode::OK));
    };
    let scope =
        root.dav("lockscope").filter(|_| root.name.is_dav("lockinfo") && root.dav("locktype").is_some());
    let exclusive = match scope {
        Some(scope) if scope.dav("exclusive").is_some() => true,
        Some(scope) if scope.dav("shared").is_some() => false,
        _ => return Err(Problem::malformed("the body is no lockinfo with a scope and a type").into()),
    };
    let infinite = match call.header("depth")? {
        Some("0") => false,
        None => true,
        Some(depth) if depth.eq_ignore_ascii_case("infinity") => true,
        Some(_) => return Err(Problem::malformed("the header depth is neither 0 nor infinity").into()),
    };
    let owner = root.dav("owner").map(|owner| owner.content_to_text(OWNER_BYTES_MAX).ok_or_else(too_long));
    let owner = owner.transpose()?.unwrap_or_default();
    if found.is_err() {
        if let Some(parent) = address.parent() {
            call.check_locks(&parent, false, &tokens)?;
        }
        call.check_parent(&address).await?;
    }
    let wanted = Wanted { root: address.clone(), infinite, exclusive, owner, timeout };
    let lock = match call.locks().take(wanted) {
        Ok(lock) => lock,
        Err(NoLock::Locked(root)) => return Err(locked(&root)),
        Err(NoLock::Full) => {
            return Err(Problem::unavailable(
                "there are as many locks as this node keeps; try again later",
                60,
            )
            .into());
        }
    };
    let status = match found {
        Ok(_) => StatusCode::OK,
        Err(_) => match reserve(call, write).await {
            Ok(status) => status,
            Err(refused) => {
                call.locks().release(&address, &lock.token);
                return Err(refused);
            }
        },
    };
    Ok(granted(&lock, status))
}

/// RFC 4918 §7.3: a lock on what is not there makes an empty object. Whoever may not read may still find that there is one.
async fn reserve(call: &Call<'_>, write: jsfs_objects::Grant<Write>) -> Answered<StatusCode> {
    let options = WriteOptions {
        content_type_if_new: Some(crate::media::by_name(call.address.name())),
        precondition: Some(absent()),
        ..WriteOptions::default()
    };
    let upload = match call.objects().begin(write, options).await {
        Ok(upload) => upload,
        Err(WriteError::Precondition { .. }) => return Ok(StatusCode::OK),
        Err(error) => return Err(unwritten(error)),
    };
    upload.finish().await.map_err(unwritten)?;
    Ok(StatusCode::CREATED)
}

fn granted(lock: &lock::Lock, status: StatusCode) -> Response<Body> {
    let text = format!("<D:prop xmlns:D=\"DAV:\">{}</D:prop>", discovery(std::slice::from_ref(lock)));
    let mut response = xml_response(status, text);
    if let Ok(value) = HeaderValue::try_from(format!("<{}>", lock.token)) {
        response.headers_mut().insert(HeaderName::from_static("lock-token"), value);
    }
    response
}

pub(crate) async fn unlock(call: &Call<'_>) -> Answered<Response<Body>> {
    call.objects().authorize::<Write>(&call.credentials, &call.address).await.map_err(refusal)?;
    let token = call.header("lock-token")?.and_then(|text| text.trim().strip_prefix('<')?.strip_suffix('>'));
    let token = token.ok_or_else(|| Problem::malformed("the header lock-token must be there, as <token>"))?;
    let directory = as_directory(&call.address)?;
    if call.locks().release(&call.address, token) || call.locks().release(&directory, token) {
        return Ok(no_content());
    }
    Err(Problem::new(Kind::Conflict, "there is no lock here with this token").into())
}
