//! Headers that answers carry whatever they say: CORS, and what keeps a browser from doing harm with them.
//!
//! Invariants: every answer may be read by scripts of any origin and none carries `Access-Control-Allow-Credentials`, so
//! what a browser adds by itself never opens anything; no answer is sniffed; nothing is cached that does not say so.

use hyper::HeaderMap;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};

use crate::media;

/// Every method that some resource knows, for CORS.
pub const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, COPY, MOVE, EXECUTE, OPTIONS";

/// Request headers that a script of another origin may send. `*` would not cover `Authorization`.
const ALLOWED: &str = "Accept, Accept-Version, Api-Version, Authorization, Cache-Control, Content-Digest, Content-Type, \
     Destination, If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, Last-Event-ID, Origin, \
     Overwrite, Prefer, Range, Repr-Digest, Tus-Resumable, Upload-Defer-Length, Upload-Length, Upload-Metadata, \
     Upload-Offset, Want-Repr-Digest, X_FILENAME, X-Access-Key, X-Access-Token, X-After, X-Append, \
     X-Cache, X-Content-Type, X-Copy-To, X-Created, X-Encrypted, X-Env, X-Executable, X-Execute, X-Expires, X-Grant, X-Hosts, X-HTTP-Method-Override, X-Input, X-Limit, X-Modified, X-Move-To, X-Node, \
     X-Parallel, X-Private, X-Properties, X-Purge, X-Record, X-Recursive, X-Replacement-Access-Key, X-Request-ID, X-Requested-With, X-Restore, \
     X-Since, X-Version, X-Versions";

/// Answer headers that a script of another origin may read.
const EXPOSED: &str = "Accept-Ranges, Allow, Content-Encoding, Content-Length, Content-Location, Content-Range, Date, ETag, \
     Last-Modified, Link, Location, Preference-Applied, Repr-Digest, Retry-After, Tus-Extension, Tus-Max-Size, Tus-Resumable, \
     Tus-Version, Upload-Defer-Length, Upload-Expires, Upload-Length, Upload-Metadata, Upload-Offset, WWW-Authenticate, X-Executable, \
     X-Media-Bitrate, X-Media-Channels, X-Media-Duration, X-Media-Resolution, X-Media-Size, X-Media-Type, X-Parts, X-Parts-Cached, X-Private, X-Request-ID, X-Version";

/// What a page of ours that holds no script may do: nothing but be looked at.
const POLICY_OF_PAGES: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Tells proxies of the nginx kind to hand on what comes at once.
static X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Tells of an answer that comes line by line, as things happen.
pub fn hand_on_at_once(headers: &mut HeaderMap) {
    headers.insert(&X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

/// Adds what every answer carries.
pub fn finish(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Adds what an answer to OPTIONS carries.
pub fn preflight(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
}

/// `Cache-Control` of a representation: to be asked for again each time (there is always an entity tag to ask with), and
/// to be kept by the one who asked only where it is private.
pub fn caching(headers: &mut HeaderMap, private: bool) {
    let value = if private { "private, no-cache" } else { "no-cache" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(value));
}

/// Adds to `Vary` a header of requests that chose this answer: one list, whoever adds to it and in whatever order.
pub fn vary(headers: &mut HeaderMap, by: &'static str) {
    if !headers.contains_key(VARY) {
        headers.insert(VARY, HeaderValue::from_static(by));
        return;
    }
    let before = headers.get(VARY).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut names: Vec<_> = before.split(", ").filter(|name| !name.is_empty()).chain([by]).collect();
    names.sort_unstable();
    names.dedup();
    if let Ok(value) = HeaderValue::try_from(names.join(", ")) {
        headers.insert(VARY, value);
    }
}

/// A document of one namespace that is reached through the host of another (`/.com.example/…`) must not run as if it
/// were the other's: it gets an origin of its own.
pub fn sandbox(headers: &mut HeaderMap, content_type: &str, is_foreign: impl FnOnce() -> bool) {
    if !media::is_passive(content_type) && is_foreign() {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    }
}

/// What a program answers is never taken for what the host that was asked says, and never sniffed.
pub fn sandbox_program(headers: &mut HeaderMap, is_foreign: impl FnOnce() -> bool) {
    if is_foreign() {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    }
}

/// Headers of a page that this node writes itself.
pub fn page(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY_OF_PAGES));
}

/// The same as [`finish`] as text, for answers that are written without hyper.
#[must_use]
pub fn as_text() -> String {
    let mut headers = HeaderMap::new();
    finish(&mut headers);
    headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{ALLOWED, EXPOSED, METHODS, as_text, finish, preflight, sandbox, vary};
    use crate::parameters;
    use hyper::HeaderMap;

    fn listed(list: &str, name: &str) -> bool {
        list.split(", ").any(|entry| entry.eq_ignore_ascii_case(name))
    }

    #[test]
    fn a_script_may_send_every_parameter_as_a_header() {
        for name in parameters::header_names() {
            assert!(listed(ALLOWED, name), "{name}");
        }
        for name in ["authorization", "content-type", "range", "if-match", "destination", "prefer"] {
            assert!(listed(ALLOWED, name), "{name}");
        }
    }

    #[test]
    fn what_jsfs_4_allowed_is_still_allowed() {
        let allowed = "Accept,Accept-Version,Api-Version,Content-Type,Origin,Range,X_FILENAME,X-Access-Key,\
                       X-Access-Token,X-Append,X-Encrypted,X-Private,X-Replacement-Access-Key,X-Requested-With";
        assert!(allowed.split(',').all(|name| listed(ALLOWED, name)));
        assert!("GET,POST,PUT,DELETE,OPTIONS".split(',').all(|name| listed(METHODS, name)));
        let exposed =
            "X-Media-Bitrate,X-Media-Channels,X-Media-Duration,X-Media-Resolution,X-Media-Size,X-Media-Type";
        assert!(exposed.split(',').all(|name| listed(EXPOSED, name)));
    }

    #[test]
    fn vary_is_one_list_in_one_order() {
        for names in [["Accept", "Accept-Encoding"], ["Accept-Encoding", "Accept"]] {
            let mut headers = HeaderMap::new();
            for name in [names[0], names[1], names[0]] {
                vary(&mut headers, name);
            }
            assert_eq!(headers["vary"], "Accept, Accept-Encoding");
        }
    }

    #[test]
    fn no_answer_allows_credentials() {
        let mut headers = HeaderMap::new();
        finish(&mut headers);
        preflight(&mut headers);
        assert!(!headers.contains_key("access-control-allow-credentials"));
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert!(as_text().contains("x-content-type-options: nosniff\r\n"));
    }

    #[test]
    fn markup_of_another_namespace_is_sandboxed_and_nothing_else() {
        for (foreign, kind, want) in [
            (true, "text/html; charset=utf-8", true),
            (true, "image/svg+xml", true),
            (true, "application/xml", true),
            (true, "image/png", false),
            (false, "text/html", false),
        ] {
            let mut headers = HeaderMap::new();
            sandbox(&mut headers, kind, || foreign);
            assert_eq!(headers.contains_key("content-security-policy"), want, "{foreign} {kind}");
        }
    }
}
