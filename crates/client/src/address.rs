//! Addresses as people write them, and as they travel.
//!
//! Three forms name the same object (`docs/command-line.md`):
//!
//! * `/com.example/a/b`: the address itself, taken literally (no percent-decoding);
//! * `http://example.com/a/b`: a URL, percent-decoded; its port is ignored and the request still goes to the client's node;
//! * `example.com:a/b`: a host and a path below it, taken literally; and without a host (`a/b`) a path below `localhost`.
//!
//! Invariant: an [`Address`] is normalised: lower-case namespace, no empty, `.` or `..` segment, no control character, at most
//! 4,096 bytes.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Url;
use std::fmt;

/// Longest address in bytes (`docs/formats.md`).
const ADDRESS_BYTES_MAX: usize = 4_096;

/// What is escaped in a path segment: everything but RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text is empty, or names no namespace.
    #[error("{0:?} names no namespace; write /NAMESPACE/PATH, http://HOST/PATH or HOST:PATH")]
    NoNamespace(String),
    /// The host or namespace is not a name that a host can have.
    #[error("{0:?} is not a host name; write labels of letters, digits and hyphens, as in example.com")]
    BadHost(String),
    /// A segment of the path is empty, `.` or `..`.
    #[error("{address:?} has the segment {segment:?}, which no address can have; remove it")]
    BadSegment {
        /// The address as written.
        address: String,
        /// The segment.
        segment: String,
    },
    /// A control character in the path.
    #[error("{0:?} contains a control character; no address can have one")]
    Control(String),
    /// Percent-escapes in a URL that do not give UTF-8.
    #[error("{0:?} has percent-escapes that do not decode to UTF-8; write %25 for a percent sign")]
    NotUtf8(String),
    /// Longer than 4,096 bytes.
    #[error("the address is {0} bytes long; at most 4096 are possible: shorten it")]
    TooLong(usize),
    /// `/.jsfs/…` is the node's own interface.
    #[error("{0:?} is the node's own interface; no object can have that address")]
    Reserved(String),
    /// A URL of a scheme that JSFS does not speak, or with parts that an address does not have.
    #[error("{url:?} is no address: {reason}")]
    BadUrl {
        /// The URL as written, without its query.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// A normalised address: a namespace and a path that begins with `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    namespace: String,
    path: String,
}

/// An address as a person gave it, with what a URL may carry besides.
#[derive(Clone, PartialEq, Eq)]
pub struct Reference {
    /// The address.
    pub address: Address,
    /// The token of a share link (`?access_token=…`). Secret.
    pub token: Option<String>,
    /// The version that a URL asks for (`?version=N`).
    pub version: Option<u64>,
    /// The port that a URL of this machine names, so that a caller can warn when it is another node's.
    pub local_port: Option<u16>,
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reference")
            .field("address", &self.address)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Reference {
    /// Reads any of the three forms.
    ///
    /// # Errors
    /// [`AddressError`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Reference, AddressError> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return from_url(text);
        }
        let address = if let Some(rest) = text.strip_prefix("/.") {
            Address::from_absolute(text, rest)?
        } else if let Some(rest) = text.strip_prefix('/') {
            Address::from_absolute(text, rest)?
        } else if let Some((host, path)) = split_host(text) {
            Address::new(&namespace_of_host(host)?, path)?
        } else if text.is_empty() {
            return Err(AddressError::NoNamespace(text.to_owned()));
        } else {
            Address::new("localhost", text)?
        };
        Ok(Reference { address, token: None, version: None, local_port: None })
    }
}

impl Address {
    /// The address of `path` (with or without its leading `/`) in `namespace` (labels reversed, as in `com.example`).
    ///
    /// # Errors
    /// [`AddressError`] where namespace or path are not allowed.
    pub fn new(namespace: &str, path: &str) -> Result<Address, AddressError> {
        let namespace = normal_namespace(namespace)?;
        let path = path.strip_prefix('/').unwrap_or(path);
        let whole = format!("/{namespace}/{path}");
        if whole.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong(whole.len()));
        }
        if path.chars().any(char::is_control) {
            return Err(AddressError::Control(whole));
        }
        let body = path.strip_suffix('/').unwrap_or(path);
        if !(body.is_empty() && path.is_empty())
            && let Some(segment) = body.split('/').find(|s| matches!(*s, "" | "." | ".."))
        {
            return Err(AddressError::BadSegment { segment: segment.to_owned(), address: whole });
        }
        // A namespace jsfs can be reached by its host only: /.jsfs/ means the node under every host.
        if namespace == "jsfs"
            || body.split('/').next().is_some_and(|first| first.eq_ignore_ascii_case(".jsfs"))
        {
            return Err(AddressError::Reserved(whole));
        }
        Ok(Address { namespace, path: format!("/{path}") })
    }

    /// The namespace of a host name as people write it: `files.example.com` gives the root of `com.example.files`.
    ///
    /// # Errors
    /// [`AddressError::BadHost`] where the text is no host name.
    pub fn of_host(host: &str) -> Result<Address, AddressError> {
        Address::new(&namespace_of_host(host)?, "")
    }

    fn from_absolute(text: &str, rest: &str) -> Result<Address, AddressError> {
        let (namespace, path) = rest.split_once('/').unwrap_or((rest, ""));
        match namespace {
            "" => Err(AddressError::NoNamespace(text.to_owned())),
            _ => Address::new(namespace, &format!("/{path}")),
        }
    }

    /// The namespace: the host's labels reversed.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The path with its leading `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host name of the namespace.
    pub fn host(&self) -> String {
        reversed(&self.namespace)
    }

    /// Whether the address names a directory.
    pub fn is_directory(&self) -> bool {
        self.path.ends_with('/')
    }

    /// The last segment, with the `/` of a directory; empty for the root of a namespace.
    pub fn name(&self) -> &str {
        let body = self.path.strip_suffix('/').unwrap_or(&self.path);
        &self.path[body.rfind('/').map_or(self.path.len(), |slash| slash + 1)..]
    }

    /// This address as a directory: with a `/` at the end.
    pub fn as_directory(&self) -> Address {
        let mut directory = self.clone();
        if !self.is_directory() {
            directory.path.push('/');
        }
        directory
    }

    /// The address of `relative` below this directory.
    ///
    /// # Errors
    /// [`AddressError`] where `relative` is not allowed as (several) segments.
    pub fn join(&self, relative: &str) -> Result<Address, AddressError> {
        if relative.starts_with('/') || relative.is_empty() {
            return Err(AddressError::BadSegment { address: relative.to_owned(), segment: String::new() });
        }
        Address::new(&self.namespace, &format!("{}{relative}", self.as_directory().path))
    }

    /// The path that reaches the address from any host, escaped for a request line: `/.com.example/a%20b`.
    pub fn wire(&self) -> String {
        let mut wire = format!("/.{}", self.namespace);
        for segment in self.path[1..].split('/') {
            wire.push('/');
            wire.extend(utf8_percent_encode(segment, SEGMENT));
        }
        wire
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}{}", self.namespace, self.path)
    }
}

/// `HOST:PATH`, where the text before the first colon has no slash.
fn split_host(text: &str) -> Option<(&str, &str)> {
    text.split_once(':').filter(|(host, _)| !host.contains('/'))
}

fn reversed(labels: &str) -> String {
    labels.split('.').rev().collect::<Vec<_>>().join(".")
}

/// The namespace of a host: labels reversed; `X.localhost` is `X`; `localhost` and bare IP addresses are `localhost`.
fn namespace_of_host(host: &str) -> Result<String, AddressError> {
    let bad = || AddressError::BadHost(host.to_owned());
    if host.is_empty() || host.contains(['/', '@', '?', '#', '\\', ':']) {
        return Err(bad());
    }
    let url = Url::parse(&format!("http://{host}/")).map_err(|_| bad())?;
    let Some(domain) = url.domain() else { return Ok("localhost".to_owned()) };
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let name = domain.strip_suffix(".localhost").unwrap_or(domain);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.split('.').any(str::is_empty) || !name.chars().all(allowed) {
        return Err(bad());
    }
    Ok(reversed(name))
}

/// A namespace in its one form: that of the host name which it is, read backwards.
fn normal_namespace(namespace: &str) -> Result<String, AddressError> {
    if namespace.split('.').any(str::is_empty) {
        return Err(AddressError::BadHost(namespace.to_owned()));
    }
    namespace_of_host(&reversed(namespace))
}

fn from_url(text: &str) -> Result<Reference, AddressError> {
    // Without what may be secret: query and credentials.
    let shown = text.split(['?', '#']).next().unwrap_or(text);
    let shown = match (shown.split_once("://"), shown.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => shown.to_owned(),
    };
    let bad = |reason| AddressError::BadUrl { url: shown.clone(), reason };
    let url = Url::parse(text).map_err(|_| bad("it does not parse; write http://HOST/PATH"))?;
    if text.split_once("://").is_some_and(|(_, rest)| rest.starts_with(['/', '\\'])) {
        return Err(bad("it names no host; write http://HOST/PATH"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("credentials do not belong into a URL; use --key or --token"));
    }
    let host = url.host_str().unwrap_or_default();
    let escapes = url.path().split('%').skip(1);
    let decodes = |escape: &str| escape.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    let path = percent_decode_str(url.path()).decode_utf8().ok().filter(|_| escapes.into_iter().all(decodes));
    let path = path.ok_or_else(|| AddressError::NotUtf8(shown.clone()))?;
    // Doubled slashes are one in a URL, as the node reads them.
    let path = merged_slashes(&path);
    let address = match path.strip_prefix("/.") {
        Some(rest) => Address::from_absolute(&path, rest)?,
        None if host.starts_with('[') => Address::new("localhost", &path)?,
        None => Address::new(&namespace_of_host(host)?, &path)?,
    };
    let mut reference = Reference { address, token: None, version: None, local_port: None };
    for (name, value) in url.query_pairs() {
        match &*name {
            "access_token" => reference.token = Some(value.into_owned()),
            "version" => {
                let version = value.parse().map_err(|_| bad("version= needs a number, counted from 1"))?;
                reference.version = Some(version);
            }
            _ => return Err(bad("it has a query; write ? as %3F where it belongs to the name")),
        }
    }
    if crate::node::is_loopback_host(host) {
        reference.local_port = url.port_or_known_default();
    }
    Ok(reference)
}

fn merged_slashes(path: &str) -> String {
    let mut before = '\0';
    path.chars().filter(|c| std::mem::replace(&mut before, *c) != '/' || *c != '/').collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Reference::parse(text).unwrap().address.to_string()
    }

    #[test]
    fn the_three_forms_name_the_same_object() {
        for text in [
            "/com.example/a b",
            "/.com.example/a b",
            "http://example.com/a%20b",
            "http://EXAMPLE.com.localhost:9/a%20b",
            "example.com:a b",
            "example.com:/a b",
        ] {
            assert_eq!(shown(text), "/com.example/a b", "{text}");
        }
        for text in [
            "docs/",
            "/localhost/docs/",
            "localhost:docs/",
            "http://localhost:7302/docs/",
            "http://127.0.0.1/docs/",
            "http://[::1]:7302/docs/",
        ] {
            assert_eq!(shown(text), "/localhost/docs/", "{text}");
        }
        assert_eq!(shown("/localhost"), "/localhost/");
        assert_eq!(shown("example.com:"), "/com.example/");
        assert_eq!(shown("http://files.example.com./x"), "/com.example.files/x");
    }

    #[test]
    fn literal_forms_are_not_decoded_and_survive_the_wire() {
        let address = Reference::parse("/localhost/100%25 ?#\"é'/x").unwrap().address;
        assert_eq!(address.path(), "/100%25 ?#\"é'/x");
        assert_eq!(address.wire(), "/.localhost/100%2525%20%3F%23%22%C3%A9%27/x");
        let back = Reference::parse(&format!("http://h{}", address.wire())).unwrap().address;
        assert_eq!(back, address);
    }

    #[test]
    fn what_no_address_can_have_is_refused() {
        for text in [
            "",
            "/",
            "/.jsfs/status",
            "http://localhost/.jsfs/status",
            "/localhost/.jsfs/x",
            "/localhost/a//b",
            "/localhost/../b",
            "/localhost/.",
            "/localhost//",
            "/localhost/a\nb",
            "http://h/%ff",
            "http://u:p@h/x",
            "http://h/x?y=1",
            ":x/",
            "a..b:x",
            "http://h/x%2F%2E%2E%2Fy",
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?} was accepted");
        }
        assert!(Reference::parse(&format!("/localhost/{}", "x".repeat(4_096))).is_err());
    }

    #[test]
    fn a_share_link_gives_its_token_and_never_shows_it() {
        let reference = Reference::parse("http://localhost:7399/a?access_token=e.y.J&version=3").unwrap();
        assert_eq!(reference.token.as_deref(), Some("e.y.J"));
        assert_eq!((reference.version, reference.local_port), (Some(3), Some(7399)));
        assert!(!format!("{reference:?}").contains("e.y.J"));
        let error = Reference::parse("http://h/a?access_token=e.y.J&z=1").unwrap_err();
        assert!(!error.to_string().contains("e.y.J"), "{error}");
        let error = Reference::parse("http://user:secret@h/a").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn names_and_children() {
        let root = Address::of_host("example.com").unwrap();
        assert_eq!((root.name(), root.host().as_str()), ("", "example.com"));
        assert_eq!(root.join("a/b").unwrap().name(), "b");
        assert_eq!(root.join("a/").unwrap().name(), "a/");
        assert!(root.join("../x").is_err());
        assert!(root.join("/x").is_err());
    }
}
