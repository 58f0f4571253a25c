//! WebDAV (RFC 4918, classes 1 and 2) at `/.jsfs/dav/`: `/.jsfs/dav/PATH` is the object or directory PATH of the request's host.
//!
//! Invariants: every verb asks the object layer for its grant before it looks at anything, locks included. What is hidden from a caller is
//! a 401 that asks for a password, the same whether it is there or not. A browser's remembered password is never taken here, and a
//! browser is never asked for one: pages of the same origin would act with it.

pub mod condition;
pub mod xml;

mod change;
mod lock;
mod properties;
mod propfind;
mod resource;

use hyper::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use jsfs_objects::address::Address;
use jsfs_objects::{ReadError, Refusal, WriteError};

use crate::body::{Arriving, Body};
use crate::front::Front;
use crate::options::options;
use crate::problem::Problem;
use crate::request::Asked;

pub(crate) use lock::Locks;

/// Where it is.
pub(crate) const PREFIX: &str = "/.jsfs/dav";

/// What its resources know.
pub(crate) const METHODS: &str =
    "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND, PROPPATCH, MKCOL, COPY, MOVE, LOCK, UNLOCK";

/// The object that keeps a directory there while nothing else is in it, and its properties. WebDAV does not show it.
pub(crate) const MARKER: &str = ".jsfs-directory";

/// A refusal: of the node's own, or with the XML that WebDAV prescribes.
pub(crate) enum Refused {
    Problem(Problem),
    Xml(StatusCode, String),
}

impl<T: Into<Problem>> From<T> for Refused {
    fn from(problem: T) -> Self {
        Self::Problem(problem.into())
    }
}

pub(crate) type Answered<T> = Result<T, Refused>;

/// What is hidden asks for a password: whether it is there or not.
pub(crate) fn refusal(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::Hidden { note } => Refusal::Unauthenticated { note }.into(),
        other => other.into(),
    }
}

pub(crate) fn unread(error: ReadError) -> Refused {
    match error {
        ReadError::Refused(refused) => refusal(refused),
        other => other.into(),
    }
}

pub(crate) fn unwritten(error: WriteError) -> Refused {
    match error {
        WriteError::Refused(refused) => refusal(refused),
        other => other.into(),
    }
}

/// Takes a browser's remembered password off a request to this interface, before anything reads it.
pub(crate) fn disarm(parts: &mut Parts) {
    let basic = |value: &HeaderValue| {
        value.as_bytes().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic"))
    };
    if parts.uri.path().starts_with(PREFIX)
        && parts.headers.get_all(AUTHORIZATION).iter().any(basic)
        && is_browser(&parts.headers)
    {
        parts.headers.remove(AUTHORIZATION);
    }
}

/// Whether a page or a person's browser sent this, as far as it says so: `Sec-Fetch-…`, or an origin that is not this host.
fn is_browser(headers: &HeaderMap) -> bool {
    let says = |name: &HeaderName| name.as_str().starts_with("sec-fetch-");
    let foreign = headers.get(ORIGIN).is_some_and(|origin| {
        let host = headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
        let origin = origin.as_bytes();
        let at = origin.windows(3).position(|window| window == b"://").map_or(origin.len(), |at| at + 3);
        !origin[at..].eq_ignore_ascii_case(host)
    });
    headers.keys().any(says) || foreign
}

/// Answers a request; `path` is what follows the prefix.
pub(crate) async fn answer(front: &Front, asked: &Asked<'_>, path: &str, body: Arriving) -> Response<Body> {
    let answered = match resource::Call::new(front, asked, path) {
        Ok(call) => route(&call, body).await,
        Err(refused) => Err(refused),
    };
    let mut response = match answered {
        Ok(response) => response,
        Err(Refused::Problem(problem)) => problem.response(),
        Err(Refused::Xml(status, text)) => {
            xml_response(status, format!("<D:error xmlns:D=\"DAV:\">{text}</D:error>"))
        }
    };
    if response.status() == StatusCode::UNAUTHORIZED && !would_prompt(asked) {
        let challenge = HeaderValue::from_static("Basic realm=\"jsfs\", charset=\"UTF-8\"");
        let bearer = response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        if let Some(bearer) = bearer {
            response.headers_mut().append(WWW_AUTHENTICATE, bearer);
        }
    }
    response
}

/// Whether a challenge would make a browser ask for a key and remember it.
fn would_prompt(asked: &Asked<'_>) -> bool {
    let html = asked
        .headers
        .get_all(ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|text| text.contains("text/html")));
    is_browser(asked.headers) || (html && matches!(*asked.method, Method::GET | Method::HEAD))
}

async fn route(call: &resource::Call<'_>, body: Arriving) -> Answered<Response<Body>> {
    match call.asked.method.as_str() {
        "OPTIONS" => {
            let mut response = options(METHODS);
            *response.status_mut() = StatusCode::OK;
            let headers = response.headers_mut();
            headers.insert(HeaderName::from_static("dav"), HeaderValue::from_static("1, 2"));
            headers.insert(HeaderName::from_static("ms-author-via"), HeaderValue::from_static("DAV"));
            headers.insert(ALLOW, HeaderValue::from_static(METHODS));
            Ok(response)
        }
        "GET" | "HEAD" => resource::get(call).await,
        "PROPFIND" => propfind::propfind(call, body).await,
        "PROPPATCH" => change::proppatch(call, body).await,
        "PUT" => change::put(call, body).await,
        "MKCOL" => change::mkcol(call, body).await,
        "DELETE" => change::delete(call).await,
        "COPY" => change::carry(call, false).await,
        "MOVE" => change::carry(call, true).await,
        "LOCK" => change::lock(call, body).await,
        "UNLOCK" => change::unlock(call).await,
        _ => Err(Problem::method_not_allowed(call.asked.method, METHODS).into()),
    }
}

pub(crate) fn xml_response(status: StatusCode, text: String) -> Response<Body> {
    let text = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n{text}\n");
    let mut response = Response::new(Body::full(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    response
}

/// The XML of a request's body, if there is any.
pub(crate) async fn document(call: &resource::Call<'_>, body: Arriving) -> Answered<Option<xml::Element>> {
    let bytes = body.at_most(call.front.json_bytes_max() as u64).collect().await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    match xml::parse(&bytes) {
        Ok(root) => Ok(Some(root)),
        Err(error) => Err(Problem::malformed(error.to_string()).into()),
    }
}

/// The address of `path` (percent-encoded, after the prefix) in the namespace of a host.
pub(crate) fn address(host: &str, path: &str) -> Answered<Address> {
    let escapes =
        path.split('%').skip(1).all(|rest| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2);
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8();
    match decoded {
        Ok(decoded) if escapes => Ok(Address::of_host(host)?.namespace_directory().join(&decoded)?),
        _ => Err(Problem::malformed("the path is not percent-encoded UTF-8").into()),
    }
}
