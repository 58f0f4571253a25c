//! Every refusal that leaves this node, as RFC 9457 `application/problem+json`: the one table from kind to
//! status, type and title, and the rendering.
//!
//! Invariants: `detail` names the thing and the next step, and never holds a secret or tells an absent object from a
//! hidden one; a 500 says only an id, and what went wrong is in the log under that id. The text of `type` is an
//! anchor of `docs/http.md` (a test compares them).

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher, RandomState};

use bytes::Bytes;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::body::Body;
use crate::request_id::RequestId;

/// Where the types of problems are explained; the fragment is the slug of the kind.
pub const TYPE_BASE: &str = "https://github.com/jsfs/jsfs/blob/main/docs/http.md#";

/// What went wrong, as far as a client can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 400: the request cannot be understood.
    Malformed,
    /// 401: a credential is missing or proves nothing.
    Unauthorized,
    /// 403: the credential is good and not enough.
    Forbidden,
    /// 404: nothing there, or nothing that this caller may know of.
    NotFound,
    /// 405: the resource does not know the method.
    MethodNotAllowed,
    /// 408: the client stopped sending.
    RequestTimeout,
    /// 409: the state of the resource is in the way.
    Conflict,
    /// 410: purged for good.
    Gone,
    /// 412: an `If-…` header did not hold.
    PreconditionFailed,
    /// 413: the body is longer than this node takes.
    TooLarge,
    /// 414: the address is longer than 4,096 bytes.
    AddressTooLong,
    /// 415: the body is of a type that this resource does not read.
    UnsupportedType,
    /// 416: no byte of the range exists.
    RangeNotSatisfiable,
    /// 417: an expectation other than `100-continue`.
    ExpectationFailed,
    /// 421: a request for a scheme that is not spoken here.
    Misdirected,
    /// 422: what should become a program cannot run.
    Unprocessable,
    /// 429: this caller asks for too much.
    TooManyRequests,
    /// 431: the head of the request is too large.
    HeadTooLarge,
    /// 500: a fault of this node, in its log under an id.
    Internal,
    /// 501: promised by the protocol, not yet by this version.
    NotImplemented,
    /// 502: what ran for this request has died.
    BadGateway,
    /// 503: for the moment.
    Unavailable,
    /// 504: a program took too long.
    GatewayTimeout,
    /// 507: no room, or a quota is used up.
    InsufficientStorage,
    /// 508: programs ask each other in a circle.
    LoopDetected,
}

impl Kind {
    /// All kinds, in the order of their status.
    pub const ALL: [Self; 25] = [
        Self::Malformed,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::Gone,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::AddressTooLong,
        Self::UnsupportedType,
        Self::RangeNotSatisfiable,
        Self::ExpectationFailed,
        Self::Misdirected,
        Self::Unprocessable,
        Self::TooManyRequests,
        Self::HeadTooLarge,
        Self::Internal,
        Self::NotImplemented,
        Self::BadGateway,
        Self::Unavailable,
        Self::GatewayTimeout,
        Self::InsufficientStorage,
        Self::LoopDetected,
    ];

    /// The table: status, slug of the type, title.
    #[must_use]
    pub const fn entry(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "Malformed request"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "Credential needed"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Credential not sufficient"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            }
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "request-timeout", "Request too slow"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "Conflict"),
            Self::Gone => (StatusCode::GONE, "gone", "Purged"),
            Self::PreconditionFailed => {
                (StatusCode::PRECONDITION_FAILED, "precondition-failed", "Precondition failed")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large"),
            Self::AddressTooLong => (StatusCode::URI_TOO_LONG, "address-too-long", "Address too long"),
            Self::UnsupportedType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-type", "Unsupported media type")
            }
            Self::RangeNotSatisfiable => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "range-not-satisfiable", "Range not satisfiable")
            }
            Self::ExpectationFailed => {
                (StatusCode::EXPECTATION_FAILED, "expectation-failed", "Expectation failed")
            }
            Self::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "misdirected", "Misdirected request"),
            Self::Unprocessable => (StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", "Program cannot run"),
            Self::BadGateway => (StatusCode::BAD_GATEWAY, "bad-gateway", "Program died"),
            Self::GatewayTimeout => (StatusCode::GATEWAY_TIMEOUT, "gateway-timeout", "Program too slow"),
            Self::LoopDetected => (StatusCode::LOOP_DETECTED, "loop-detected", "Programs in a circle"),
            Self::TooManyRequests => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests")
            }
            Self::HeadTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "Request head too large")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::NotImplemented => (StatusCode::NOT_IMPLEMENTED, "not-implemented", "Not implemented"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable"),
            Self::InsufficientStorage => {
                (StatusCode::INSUFFICIENT_STORAGE, "insufficient-storage", "Insufficient storage")
            }
        }
    }
}

/// One refusal. Made where the fault is found, rendered in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong.
    pub kind: Kind,
    /// The thing and the next step, for a person.
    pub detail: Cow<'static, str>,
    /// `Allow`, with a 405.
    allow: Option<&'static str>,
    /// Seconds, with a 429 or 503.
    retry_after: Option<u64>,
    /// Size of the representation, with a 416.
    size: Option<u64>,
    /// The id under which the log tells more, with a 500.
    id: Option<String>,
    /// Line and column, with a 422 that knows them.
    position: Option<(u32, u32)>,
    /// The rest of the connection cannot be trusted.
    close: bool,
}

/// A problem as JSON.
#[derive(Serialize)]
pub(crate) struct Document<'p> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
}

impl Problem {
    /// A refusal of the given kind.
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            allow: None,
            retry_after: None,
            size: None,
            id: None,
            position: None,
            close: false,
        }
    }

    /// 400.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Malformed, detail)
    }

    /// 405 with the methods that are allowed.
    #[must_use]
    pub fn method_not_allowed(method: &hyper::Method, allow: &'static str) -> Self {
        let name: String = method.as_str().chars().take(32).collect();
        let detail = format!("this resource does not know the method {name}; it knows {allow}");
        Self { allow: Some(allow), ..Self::new(Kind::MethodNotAllowed, detail) }
    }

    /// 416 with the size of the representation.
    #[must_use]
    pub fn range_not_satisfiable(detail: String, size: u64) -> Self {
        Self { size: Some(size), ..Self::new(Kind::RangeNotSatisfiable, detail) }
    }

    /// 503 to be tried again after some seconds.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after_s: u64) -> Self {
        Self { retry_after: Some(retry_after_s.max(1)), ..Self::new(Kind::Unavailable, detail) }
    }

    /// 429 to be tried again after some seconds.
    pub fn too_many_requests(detail: impl Into<Cow<'static, str>>, retry_after_s: u64) -> Self {
        Self { retry_after: Some(retry_after_s.max(1)), ..Self::new(Kind::TooManyRequests, detail) }
    }

    /// 500: logs `cause` under the id of the request and tells the client the id only.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        let id = RequestId::current().as_str().to_owned();
        tracing::error!(id, "internal error: {cause}");
        let detail = format!("the node failed to answer; its log tells why under the id {id}");
        Self { id: Some(id), ..Self::new(Kind::Internal, detail) }
    }

    /// 500 of a program: its log tells why under the id.
    #[must_use]
    pub fn failed(detail: String, id: String) -> Self {
        Self { id: Some(id), ..Self::new(Kind::Internal, detail) }
    }

    /// Where in a text the fault is: line and column from 1.
    #[must_use]
    pub fn at(self, position: Option<(u32, u32)>) -> Self {
        Self { position, ..self }
    }

    /// The same in other words.
    #[must_use]
    pub fn saying(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// The connection ends with this answer.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.kind.entry().0
    }

    /// The JSON text of the body.
    #[must_use]
    pub fn json(&self) -> Bytes {
        let mut text = serde_json::to_vec(&self.document()).unwrap_or_default();
        text.push(b'\n');
        Bytes::from(text)
    }

    /// What the body says.
    pub(crate) fn document(&self) -> Document<'_> {
        let (status, slug, title) = self.kind.entry();
        Document {
            r#type: format!("{TYPE_BASE}{slug}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            id: self.id.as_deref(),
            line: self.position.map(|(line, _)| line),
            column: self.position.map(|(_, column)| column),
        }
    }

    /// The answer. Headers that every answer carries are added by [`crate::headers`].
    #[must_use]
    pub fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.json()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind == Kind::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"jsfs\""));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(value) = self.size.and_then(|size| HeaderValue::try_from(format!("bytes */{size}")).ok())
        {
            headers.insert(CONTENT_RANGE, value);
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A number that nobody can guess from outside. Not for keys.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::{Kind, Problem};

    #[test]
    fn every_kind_has_a_slug_and_a_status_of_its_own() {
        let mut slugs: Vec<_> = Kind::ALL.iter().map(|kind| kind.entry().1).collect();
        let mut statuses: Vec<_> = Kind::ALL.iter().map(|kind| kind.entry().0).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert!(statuses.is_sorted());
        statuses.dedup();
        assert_eq!((slugs.len(), statuses.len()), (Kind::ALL.len(), Kind::ALL.len()));
    }

    #[test]
    fn an_internal_error_tells_its_id_and_not_its_cause() {
        let problem = Problem::internal(&"pack 7 is unreadable at /srv/secret");
        let text = String::from_utf8(problem.json().to_vec()).expect("utf-8");
        assert!(!text.contains("secret"), "{text}");
        let id = problem.id.expect("an id");
        assert!(text.contains(&format!("\"id\":\"{id}\"")), "{text}");
    }

    #[test]
    fn a_401_names_its_challenge_and_a_405_the_methods() {
        let challenge = Problem::new(Kind::Unauthorized, "no").response();
        assert_eq!(challenge.headers()["www-authenticate"], "Bearer realm=\"jsfs\"");
        let refused = Problem::method_not_allowed(&hyper::Method::TRACE, "GET, HEAD").response();
        assert_eq!(refused.headers()["allow"], "GET, HEAD");
        let busy = Problem::unavailable("busy", 0).response();
        assert_eq!(busy.headers()["retry-after"], "1");
        let range = Problem::range_not_satisfiable("no".into(), 9).response();
        assert_eq!(range.headers()["content-range"], "bytes */9");
    }
}
