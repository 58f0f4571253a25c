//! OPTIONS: what a browser asks before it lets a script do something, and what a resource knows.

use hyper::Response;
use hyper::header::{ALLOW, HeaderValue};

use crate::body::Body;
use crate::headers;
use crate::metadata::no_content;

/// 204 with the methods that a resource knows. Asks nothing and tells nothing about what is stored.
pub(crate) fn options(allow: &'static str) -> Response<Body> {
    let mut response = no_content();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    headers::preflight(response.headers_mut());
    response
}
