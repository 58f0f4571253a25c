//! OPTIONS: what a browser asks before it lets a script do something, and what a resource knows.

use hyper::Response;
use hyper::header::{ALLOW, HeaderValue};

use crate::body::Body;
use crate::front::Front;
use crate::headers;
use crate::metadata::no_content;
use crate::tus;

/// What an address knows, whatever is stored there.
pub(crate) fn of_addresses(front: &Front) -> Response<Body> {
    with_uploads(front, headers::METHODS)
}

/// The same for a resource that takes resumable uploads.
pub(crate) fn with_uploads(front: &Front, allow: &'static str) -> Response<Body> {
    let mut response = options(allow);
    tus::advertise(response.headers_mut(), front.body_bytes_max());
    response
}

/// 204 with the methods that a resource knows. Asks nothing and tells nothing about what is stored.
pub(crate) fn options(allow: &'static str) -> Response<Body> {
    let mut response = no_content();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    headers::preflight(response.headers_mut());
    response
}
