//! GET of what is in memory and everybody may read, or the one who presents its owner's key: answered at once, without a future of its own.
//!
//! Invariants: the answer is the one that the long way gives, header by header (`quick` in the tests compares them). Only requests are taken here
//! of which nothing can change that answer: no query, no condition, no range, nothing unknown. Who may read is decided by
//! `Objects::at_hand` and `Objects::at_hand_of_owner`, on what holds now; whatever it does not answer goes the long way.

use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, DNT, HOST,
    HeaderName, ORIGIN, PRAGMA, REFERER, UPGRADE_INSECURE_REQUESTS, USER_AGENT,
};
use hyper::{HeaderMap, Method, Request, Response, Version};
use jsfs_objects::address::Address;
use tokio::time::Instant;

use crate::body::Body;
use crate::credentials;
use crate::front::{self, Front};
use crate::live;
use crate::metadata;
use crate::parameters::Parameters;
use crate::request_id::{RequestId, X_REQUEST_ID};

/// Headers that change nothing about the answer to a plain GET, beside those that tell where a browser's request comes from.
const HARMLESS: [HeaderName; 11] = [
    HOST,
    USER_AGENT,
    ACCEPT,
    ACCEPT_LANGUAGE,
    CACHE_CONTROL,
    PRAGMA,
    REFERER,
    ORIGIN,
    CONNECTION,
    DNT,
    UPGRADE_INSECURE_REQUESTS,
];

/// The answer, where it can be given here.
pub(crate) fn answer(front: &Front, request: &Request<Incoming>) -> Option<Response<Body>> {
    let address = plainly_asked(request)?;
    let begun = Instant::now();
    let (object, bytes) = match front.objects().at_hand(&address) {
        None if request.headers().contains_key(AUTHORIZATION) => {
            let credentials = credentials::extract(&Parameters::default(), request.headers()).ok()?;
            front.objects().at_hand_of_owner(&credentials, &address)?
        }
        found => found?,
    };
    let described = metadata::described(&object);
    if object.metadata.executable || (described.gains && request.headers().contains_key(ACCEPT_ENCODING)) {
        return None;
    }
    let memory = front.counters().memory_now(bytes.len() as u64)?;
    let mut response = Response::new(Body::full(memory.keep(bytes)));
    *response.headers_mut() = described.headers.clone();
    let id = RequestId::of(request.headers());
    id.mark(response.headers_mut());
    front.metrics().count(request.method(), response.status(), begun.elapsed());
    front::note(&id, request.method(), request.uri(), &response, begun);
    Some(response)
}

/// What a request asks for that says nothing but the address.
fn plainly_asked(request: &Request<Incoming>) -> Option<Address> {
    let (uri, headers) = (request.uri(), request.headers());
    let is_plain = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && uri.authority().is_none()
        && uri.query().is_none()
        && request.body().is_end_stream()
        && is_harmless(headers);
    if !is_plain {
        return None;
    }
    let host = headers.get(HOST)?.to_str().ok()?;
    let address = Address::from_host_and_path(host, uri.path()).ok()?;
    // What is of another namespace than the host's is answered differently, however its path is written.
    let is_at_home = Address::of_host(host).is_ok_and(|own| own.namespace() == address.namespace());
    (is_at_home && !address.is_directory()).then_some(address)
}

fn is_harmless(headers: &HeaderMap) -> bool {
    let harmless = |name: &HeaderName| {
        HARMLESS.contains(name)
            || [ACCEPT_ENCODING, AUTHORIZATION].contains(name)
            || *name == X_REQUEST_ID
            || name.as_str().starts_with("sec-")
    };
    headers.keys().all(harmless)
        && headers.get_all(HOST).iter().count() == 1
        && !live::asks_for_events(headers)
}
