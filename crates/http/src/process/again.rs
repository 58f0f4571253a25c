//! The answer to a change that a process asks for again because it never heard of the first answer.

use hyper::header::ETAG;
use hyper::http::request::Parts;
use hyper::{Method, Response};
use jsfs_objects::Done;

use crate::body::Body;
use crate::metadata::{self, Made, no_content};
use crate::parameters::Parameter;
use crate::request::Asked;

/// What the request was answered with, but for the blocks that its bytes went into.
pub(crate) fn answer(parts: &Parts, done: &Done) -> Response<Body> {
    let answered = Asked::parse(parts).and_then(|(asked, _)| {
        let Some(metadata) = &done.metadata else { return Ok(no_content()) };
        if *asked.method == Method::PATCH {
            let mut response = no_content();
            response.headers_mut().insert(ETAG, metadata::etag(metadata));
            response.headers_mut().insert("x-version", metadata.version.into());
            return Ok(response);
        }
        let carries = matches!(asked.method.as_str(), "COPY" | "MOVE")
            || [Parameter::CopyTo, Parameter::MoveTo].iter().any(|one| asked.parameters.has(*one));
        if carries && !done.created {
            return Ok(no_content());
        }
        let new_key = done.new_key.as_deref();
        metadata::written(&asked, &Made { metadata, created: done.created, blocks: &[], new_key })
    });
    answered.unwrap_or_else(|problem| problem.response())
}
