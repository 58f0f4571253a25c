//! What a request asks for: its target and host as an address, its parameters, its credentials.
//!
//! Invariants: the host that counts is the one RFC 9112 §3.2 names (the target's where it is absolute, else `Host`); it decides
//! which address is meant and nothing about authority. What cannot be understood is a 400 before anything is looked up.

use hyper::header::{EXPECT, HOST, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Version};
use jsfs_objects::Credentials;
use jsfs_objects::address::{Address, AddressError};

use crate::credentials;
use crate::opening;
use crate::parameters::Parameters;
use crate::problem::{Kind, Problem};
use crate::wire;

/// The prefix of the node's own interface.
const INTERFACE: &str = "/.jsfs";

/// What a request is about.
pub(crate) enum Target<'r> {
    /// `*`: the server as a whole.
    Server,
    /// The node's own interface; what follows `/.jsfs`.
    Interface(&'r str),
    /// An object or a directory.
    Address(Address),
}

/// Credentials that came otherwise than with the request: those of the socket that it is a call of.
#[derive(Clone)]
pub(crate) struct Beside(pub(crate) Credentials);

/// Marks a request that came under TLS.
#[derive(Clone, Copy)]
pub(crate) struct Secured;

/// One request, read but not yet decided.
pub(crate) struct Asked<'r> {
    pub(crate) method: &'r Method,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) query: Option<&'r str>,
    pub(crate) parameters: Parameters<'r>,
    host: &'r str,
    beside: Option<&'r Credentials>,
    extensions: &'r hyper::http::Extensions,
}

impl<'r> Asked<'r> {
    /// Reads the head of a request.
    ///
    /// # Errors
    /// 400 where it is malformed, 414 where the address is too long, 417 and 421 as RFC 9110 has them, 501 for a transfer coding.
    pub(crate) fn parse(parts: &'r Parts) -> Result<(Self, Target<'r>), Problem> {
        let host = host(parts)?;
        check_expectation(&parts.headers)?;
        check_transfer_coding(&parts.headers)?;
        let parameters = Parameters::parse(parts.uri.query(), &parts.headers)?;
        let target = target(parts, host)?;
        let asked = Self {
            method: &parts.method,
            headers: &parts.headers,
            query: parts.uri.query(),
            parameters,
            host,
            extensions: &parts.extensions,
            beside: parts.extensions.get::<Beside>().map(|Beside(credentials)| credentials),
        };
        Ok((asked, target))
    }

    /// The head of a request whose parameters are read elsewhere.
    ///
    /// # Errors
    /// 400 where there is no host to it.
    pub(crate) fn without_parameters(parts: &'r Parts) -> Result<Self, Problem> {
        Ok(Self {
            method: &parts.method,
            headers: &parts.headers,
            query: None,
            parameters: Parameters::default(),
            host: host(parts)?,
            extensions: &parts.extensions,
            beside: None,
        })
    }

    /// The credentials that the request carries.
    pub(crate) fn credentials(&self) -> Result<Credentials, Problem> {
        let mut credentials = credentials::extract(&self.parameters, self.headers)?;
        opening::add_cookies(self.method, self.headers, &mut credentials);
        if let Some(beside) = self.beside {
            credentials.add_all(beside);
        }
        Ok(credentials)
    }

    /// What was handed along with the request.
    pub(crate) fn extension<T: Clone + Send + Sync + 'static>(&self) -> Option<&T> {
        self.extensions.get()
    }

    /// `https` where the request came under TLS.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.extension::<Secured>().is_some() { "https" } else { "http" }
    }

    /// The host that counts.
    pub(crate) fn host(&self) -> &str {
        self.host
    }

    /// Whether an address is in the namespace of this request's host, in whose origin a browser puts it. The address decides, not the
    /// path that led to it: there are more ways to write a path than anybody thinks of.
    pub(crate) fn is_at_home(&self, address: &Address) -> bool {
        Address::of_host(self.host).is_ok_and(|own| own.namespace() == address.namespace())
    }

    /// The path of an address at the host of this request, percent-encoded.
    pub(crate) fn path_to(&self, address: &Address) -> String {
        if self.is_at_home(address) { address.to_url_path() } else { address.to_absolute_url_path() }
    }

    /// A URL of an address, at the host of this request.
    pub(crate) fn url_of(&self, address: &Address) -> String {
        format!("{}://{}{}", self.scheme(), self.host, self.path_to(address))
    }

    /// The address that a `Destination` (or `copy_to`, `move_to`) means: a URL, or a path at the host of this request.
    pub(crate) fn destination(&self, text: &str) -> Result<Address, Problem> {
        let malformed = || {
            Problem::malformed(
                "the destination is neither a path nor an http URL; send /path, /.namespace/path or http://host/path",
            )
        };
        let (host, path) = match text.split_once("://") {
            Some(("http" | "https", rest)) => {
                let at = rest.find('/').ok_or_else(malformed)?;
                rest.split_at(at)
            }
            None if text.starts_with('/') => (self.host, text),
            _ => return Err(malformed()),
        };
        Ok(Address::from_host_and_path(or_localhost(host), path)?)
    }
}

/// The host that decides which address is meant.
fn host(parts: &Parts) -> Result<&str, Problem> {
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Problem::malformed("the header host is given twice; send it once").closing());
    }
    let field = field
        .map(|value| std::str::from_utf8(value.as_bytes()))
        .transpose()
        .map_err(|_| Problem::malformed("the header host is not a host name").closing())?;
    if field.is_none() && parts.version == Version::HTTP_11 {
        return Err(Problem::malformed("the header host is missing; HTTP/1.1 needs it").closing());
    }
    let host = match parts.uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            let detail = "the target names a user; send credentials in the header authorization";
            return Err(Problem::malformed(detail));
        }
        Some(authority) => authority.as_str(),
        None => field.unwrap_or_default(),
    };
    Ok(or_localhost(host))
}

/// A request without a host is for this machine's own namespace.
fn or_localhost(host: &str) -> &str {
    match host.trim() {
        "" => "localhost",
        host => host,
    }
}

fn target<'r>(parts: &'r Parts, host: &str) -> Result<Target<'r>, Problem> {
    let (method, uri) = (&parts.method, &parts.uri);
    let own = if parts.extensions.get::<Secured>().is_some() { "https" } else { "http" };
    match uri.scheme_str() {
        None => {}
        Some(scheme) if scheme == own => {}
        Some(_) => {
            let detail =
                "this node speaks for another scheme at this port; ask the host that the target names";
            return Err(Problem::new(Kind::Misdirected, detail));
        }
    }
    let path = uri.path();
    if method == Method::CONNECT {
        return Err(Problem::method_not_allowed(method, crate::headers::METHODS));
    }
    if path == "*" {
        return if method == Method::OPTIONS { Ok(Target::Server) } else { Err(not_a_path()) };
    }
    if let Some(rest) = path.strip_prefix(INTERFACE)
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return Ok(Target::Interface(rest));
    }
    Ok(Target::Address(Address::from_host_and_path(host, path)?))
}

fn not_a_path() -> Problem {
    Problem::malformed("the target is not a path; send /path or http://host/path")
}

impl From<AddressError> for Problem {
    fn from(error: AddressError) -> Self {
        match error {
            AddressError::TooLong => Self::new(Kind::AddressTooLong, error.to_string()),
            AddressError::Reserved => Self::new(Kind::NotFound, error.to_string()),
            other => Self::malformed(other.to_string()),
        }
    }
}

fn check_expectation(headers: &HeaderMap) -> Result<(), Problem> {
    let known = |value: &hyper::header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(EXPECT).iter().all(known) {
        return Ok(());
    }
    Err(Problem::new(
        Kind::ExpectationFailed,
        "only the expectation 100-continue is known; leave out the others",
    ))
}

/// RFC 9112 §6.1: only `chunked` is undone here. What came under another coding would be stored as if it were the bytes themselves.
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut chunked = false;
    for value in headers.get_all(TRANSFER_ENCODING) {
        let codings = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for coding in codings.filter(|coding| !coding.is_empty()) {
            if !coding.eq_ignore_ascii_case(b"chunked") {
                let detail =
                    "of transfer codings only chunked is known; send the bytes themselves, whole or chunked";
                return Err(Problem::new(Kind::NotImplemented, detail).closing());
            }
            if chunked {
                return Err(
                    Problem::malformed("the transfer coding chunked is given twice; send it once").closing()
                );
            }
            chunked = true;
        }
    }
    Ok(())
}

/// Whether the answer may leave its representation out (RFC 7240).
pub(crate) fn prefers_minimal(headers: &HeaderMap) -> bool {
    prefers(headers, "return=minimal")
}

/// Whether the client named this preference (RFC 7240).
pub(crate) fn prefers(headers: &HeaderMap, preference: &str) -> bool {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split([',', ';']))
        .any(|named| named.trim().replace('"', "").eq_ignore_ascii_case(preference))
}

/// The time that a client means: seconds since 1970, or RFC 3339.
pub(crate) fn time_s(value: &serde_json::Value) -> Option<u64> {
    match value {
        serde_json::Value::Number(number) => number.as_u64(),
        serde_json::Value::String(text) => wire::parse_rfc3339(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Target, prefers_minimal};
    use hyper::http::request::Parts;
    use hyper::{Method, Request, Version};

    fn parts(method: Method, uri: &str, version: Version, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    /// The address that is meant, or the status of the refusal.
    fn meant(uri: &str, version: Version, headers: &[(&str, &str)]) -> Result<String, u16> {
        let parts = parts(Method::GET, uri, version, headers);
        match Asked::parse(&parts) {
            Ok((_, Target::Address(address))) => Ok(address.to_string()),
            Ok((_, Target::Interface(rest))) => Ok(format!("interface {rest}")),
            Ok((_, Target::Server)) => Ok("server".into()),
            Err(problem) => Err(problem.status().as_u16()),
        }
    }

    #[test]
    fn the_host_comes_from_where_rfc_9112_says() {
        let at = |uri, host| meant(uri, Version::HTTP_11, &[("host", host)]);
        assert_eq!(at("/a/b.txt", "files.example.com:7302"), Ok("/com.example.files/a/b.txt".into()));
        assert_eq!(at("/a", "FILES.example.com."), Ok("/com.example.files/a".into()));
        assert_eq!(at("/a", "example.com.localhost:7302"), Ok("/com.example/a".into()));
        assert_eq!(at("/a", "[::1]:7302"), Ok("/localhost/a".into()));
        assert_eq!(at("http://target.org/a", "ignored.com"), Ok("/org.target/a".into()));
        assert_eq!(at("/.com.example/a", "other.org"), Ok("/com.example/a".into()));
        assert_eq!(at("/a", ""), Ok("/localhost/a".into()));
        assert_eq!(meant("/a", Version::HTTP_10, &[]), Ok("/localhost/a".into()));
    }

    #[test]
    fn what_no_host_or_target_can_be_is_refused() {
        let at = |uri, host| meant(uri, Version::HTTP_11, &[("host", host)]);
        assert_eq!(meant("/a", Version::HTTP_11, &[]), Err(400));
        assert_eq!(meant("http://a.com/a", Version::HTTP_11, &[]), Err(400));
        assert_eq!(meant("/a", Version::HTTP_11, &[("host", "a.com"), ("host", "a.com")]), Err(400));
        for host in ["a b", "a/b", "[::1", "a:port", "1.2.3.4.5", "-.-..", "a?b"] {
            assert_eq!(at("/a", host), Err(400), "{host}");
        }
        assert_eq!(at("http://user:pass@a.com/a", "a.com"), Err(400));
        assert_eq!(at("https://a.com/a", "a.com"), Err(421));
        assert_eq!(at("/%zz", "a.com"), Err(400));
        assert_eq!(at("/%00", "a.com"), Err(400));
        assert_eq!(at("/%ff", "a.com"), Err(400));
        let long = format!("/{}", "x".repeat(4_100));
        assert_eq!(at(&long, "a.com"), Err(414));
        assert_eq!(at("*", "a.com"), Err(400));
    }

    #[test]
    fn the_interface_is_the_same_under_every_host_and_nothing_is_stored_there() {
        let at = |uri| meant(uri, Version::HTTP_11, &[("host", "any.example.com")]);
        assert_eq!(at("/.jsfs/status"), Ok("interface /status".into()));
        assert_eq!(at("/.jsfs"), Ok("interface ".into()));
        for uri in ["/.JSFS/x", "/%2ejsfs/x", "/a/../.jsfs/x", "/.com.example/.jsfs/x"] {
            assert_eq!(at(uri), Err(404), "{uri}");
        }
        assert_eq!(at("/.jsfsx/y"), Ok("/jsfsx/y".into()));
    }

    #[test]
    fn expectations_other_than_continue_fail() {
        let expecting = |text| meant("/a", Version::HTTP_11, &[("host", "a.com"), ("expect", text)]);
        assert!(expecting("100-Continue").is_ok());
        assert_eq!(expecting("a-pony"), Err(417));
    }

    #[test]
    fn a_destination_is_a_url_or_a_path_at_the_same_host() {
        let parts = parts(Method::GET, "/a", Version::HTTP_11, &[("host", "example.com:7302")]);
        let Ok((asked, _)) = Asked::parse(&parts) else { panic!("it is fine") };
        let to = |text| {
            asked.destination(text).map(|address| address.to_string()).map_err(|p| p.status().as_u16())
        };
        assert_eq!(to("/b%20c"), Ok("/com.example/b c".into()));
        assert_eq!(to("/.org.other/b"), Ok("/org.other/b".into()));
        assert_eq!(to("http://other.org:80/b"), Ok("/org.other/b".into()));
        for bad in ["", "b", "ftp://a.com/b", "http://a.com", "/b?x", "/b#x", "http://a b/c", "/%zz", "//"] {
            if bad != "//" {
                assert_eq!(to(bad), Err(400), "{bad}");
            }
        }
        let other = asked.destination("http://other.org/b c").expect("an address");
        assert_eq!(asked.url_of(&other), "http://example.com:7302/.org.other/b%20c");
    }

    #[test]
    fn an_address_of_another_namespace_is_noticed_however_its_path_is_written() {
        let at_home = |path: &str| {
            let parts = parts(Method::GET, path, Version::HTTP_11, &[("host", "victim.com:7302")]);
            let Ok((asked, Target::Address(address))) = Asked::parse(&parts) else { panic!("{path}") };
            asked.is_at_home(&address)
        };
        for path in [
            "/.com.evil/x",
            "/%2ecom.evil/x",
            "/a/../.com.evil/x",
            "//.com.evil/x",
            "/%2f.com.evil/x",
            "/a%2f..%2f.com.evil/x",
            "/.com.victim.evil/x",
        ] {
            assert!(!at_home(path), "{path}");
        }
        for path in ["/", "/a.b/c.d", "/a/.b/c", "/%2e%2e/a", "/.com.victim/.b/x", "/%2F.COM.victim%2Fx"] {
            assert!(at_home(path), "{path}");
        }
    }

    #[test]
    fn a_client_may_do_without_the_metadata() {
        for (value, want) in
            [("return=minimal", true), ("wait=1, Return=\"minimal\"", true), ("return=representation", false)]
        {
            let parts = parts(Method::PUT, "/a", Version::HTTP_11, &[("prefer", value)]);
            assert_eq!(prefers_minimal(&parts.headers), want, "{value}");
        }
    }
}
