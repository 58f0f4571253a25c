//! PROPFIND of a resource, and of what a directory holds, page by page: memory does not grow with the directory.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use jsfs_objects::address::Address;
use jsfs_objects::{Credentials, Holder, List, ListEntry, ListOptions, Listed, Objects, Read};

use super::properties::{View, Wanted};
use super::resource::{Call, Found, ListGrant};
use super::{Answered, Locks, MARKER, Refused, document, refusal};
use crate::body::{Arriving, Body, BrokenOff};
use crate::problem::Problem;
use std::sync::Arc;

/// Entries that are looked up at a time.
const PAGE: usize = 200;

const BEGIN: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">";

pub(crate) async fn propfind(call: &Call<'_>, body: Arriving) -> Answered<Response<Body>> {
    let depth = call.header("depth")?.unwrap_or("infinity").to_owned();
    let wanted = Wanted::of(document(call, body).await?.as_ref())?;
    let found = call.find(&call.address).await?;
    let members = match depth.as_str() {
        "0" => false,
        "1" => true,
        depth if depth.eq_ignore_ascii_case("infinity") => {
            return Err(Refused::Xml(StatusCode::FORBIDDEN, "<D:propfind-finite-depth/>".into()));
        }
        _ => return Err(Problem::malformed("the header depth is neither 0, 1 nor infinity").into()),
    };
    let (anyone, metadata, directory) = match &found {
        Found::Object(object, anyone) => (*anyone, Some(&*object.metadata), None),
        Found::Directory(address, marker) => {
            let grant =
                call.objects().authorize::<List>(&call.credentials, address).await.map_err(refusal)?;
            (matches!(grant.holder(), Holder::Anyone), marker.as_deref(), Some(grant))
        }
    };
    let locks = (!anyone).then(|| Arc::clone(call.front.shared_locks()));
    let view = View { address: found.address(), metadata, locks: locks.as_deref() };
    let first = format!("{BEGIN}{}", view.response(&wanted));
    let body = match directory.filter(|_| members) {
        None => Body::full(Bytes::from(format!("{first}</D:multistatus>\n"))),
        Some(grant) => {
            let members = Members {
                objects: call.objects().clone(),
                credentials: call.credentials.clone(),
                grant,
                wanted,
                locks,
                entries: VecDeque::new(),
                after: None,
                ended: false,
            };
            let pieces = stream::unfold(members, |mut members| async {
                let piece = members.next().await?;
                Some((piece, members))
            });
            let first = stream::once(std::future::ready(Ok(Bytes::from(first))));
            let last = stream::once(std::future::ready(Ok(Bytes::from_static(b"</D:multistatus>\n"))));
            Body::of_unknown_length(Box::pin(first.chain(pieces).chain(last)))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::MULTI_STATUS;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    Ok(response)
}

/// What a directory holds, on its way out.
struct Members {
    objects: Objects,
    credentials: Credentials,
    grant: ListGrant,
    wanted: Wanted,
    locks: Option<Arc<Locks>>,
    entries: VecDeque<ListEntry>,
    after: Option<String>,
    ended: bool,
}

impl Members {
    async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        let mut out = String::new();
        while out.len() < 32 * 1024 {
            let Some(entry) = self.entries.pop_front() else {
                if self.ended {
                    break;
                }
                let options = ListOptions { after: self.after.take(), limit: PAGE, recursive: false };
                match self.objects.list(&self.grant, options).await {
                    Ok(listing) => {
                        self.ended = listing.next.is_none();
                        self.after = listing.next;
                        self.entries = listing.entries.into();
                    }
                    Err(error) => return Some(Err(BrokenOff(error.to_string()))),
                }
                continue;
            };
            if entry.name == MARKER {
                continue;
            }
            let Ok(address) = Address::parse_exact(&format!("{}{}", self.grant.address(), entry.name)) else {
                continue;
            };
            let metadata = match entry.what {
                Listed::Object(metadata) => Some(Arc::from(metadata)),
                Listed::Directory => self.marker(&address).await,
                Listed::Unreadable => None,
            };
            let view =
                View { address: &address, metadata: metadata.as_deref(), locks: self.locks.as_deref() };
            out.push_str(&view.response(&self.wanted));
        }
        (!out.is_empty()).then(|| Ok(Bytes::from(out)))
    }

    async fn marker(&self, directory: &Address) -> Option<Arc<jsfs_objects::Metadata>> {
        let address = directory.join(MARKER).ok()?;
        let grant = self.objects.authorize::<Read>(&self.credentials, &address).await.ok()?;
        Some(self.objects.read(&grant, None).await.ok()?.metadata)
    }
}
