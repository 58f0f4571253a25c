//! Private pages in a browser: a code that is good once and for a minute is exchanged for a cookie that reads a part of one namespace.
//!
//! Whoever holds the key of an address has a code made (`POST /.jsfs/openings`); the browser brings it (`GET /.jsfs/open?code=…`) and is given a cookie with an
//! access token for that address, for GET and LIST only. Whoever holds the root key may have one made for the page of the node's status: there the cookie is a
//! number that this process knows, and shows that page alone.
//!
//! Invariants: a code works once, and at the namespace it was made for; a cookie counts only for GET and HEAD that a browser says come from
//! a page of the same origin or from the person: pages of others, also of the same site, are not helped by it, nor is a browser that does not say so. It proves what
//! its token proves, and that can be revoked. Scripts cannot read it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{COOKIE, HeaderName, HeaderValue, LOCATION, SET_COOKIE, UPGRADE};
use hyper::{HeaderMap, Method, Response, StatusCode};
use jsfs_objects::address::Address;
use jsfs_objects::token::{Method as TokenMethod, Methods};
use jsfs_objects::{Credentials, Manage};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::body::{Arriving, Body};
use crate::credentials::vouches;
use crate::document::{Document, wrong};
use crate::front::Front;
use crate::metadata::json;
use crate::node_interface::address_of;
use crate::problem::{Kind, Problem};
use crate::request::Asked;
use crate::wire::rfc3339;

/// How long a code waits for its browser.
const CODE_MS: u64 = 60_000;

/// How long the cookie is good unless the request says otherwise: half a day.
const COOKIE_S: u64 = 12 * 3_600;

/// The longest that it may be.
const COOKIE_S_MAX: u64 = 30 * 86_400;

/// Codes that wait at the same time; the oldest gives way.
const CODES_MAX: usize = 1_024;

/// The cookie's name.
const NAME: &str = "jsfs";

/// That of the page of the node's status, and where that page is.
const STATUS_NAME: &str = "jsfs-status";
const STATUS_PATH: &str = "/.jsfs/status";

/// Cookies of one request that are looked at: one for each directory that was opened.
const COOKIES_MAX: usize = 8;

/// What waits for its browser. No `Debug`: it holds a token.
struct Opening {
    /// None for the page of the node's status.
    address: Option<Address>,
    token: Zeroizing<String>,
    expires_s: u64,
    until_ms: u64,
}

/// A browser that may see the node's status. No `Debug`: it holds a secret.
struct Visitor {
    cookie: Zeroizing<String>,
    expires_s: u64,
}

/// Codes that were made and not used yet, and browsers that may see the node's status.
#[derive(Default)]
pub(crate) struct Openings(Mutex<HashMap<String, Opening>>, Mutex<Vec<Visitor>>);

impl Openings {
    fn hold(&self) -> std::sync::MutexGuard<'_, HashMap<String, Opening>> {
        // Nothing in here can be left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, code: &str, opening: Opening, now_ms: u64) {
        let mut openings = self.hold();
        openings.retain(|_, opening| opening.until_ms > now_ms);
        if openings.len() >= CODES_MAX
            && let Some(oldest) =
                openings.iter().min_by_key(|(_, opening)| opening.until_ms).map(|(code, _)| code.clone())
        {
            openings.remove(&oldest);
        }
        openings.insert(code.to_owned(), opening);
    }

    /// What the code opens, once, where the request is at home in its namespace.
    fn take(&self, code: &str, asked: &Asked<'_>, now_ms: u64) -> Option<Opening> {
        let mut openings = self.hold();
        let opening = openings.get(code)?;
        let is_at_home = opening.address.as_ref().is_none_or(|address| asked.is_at_home(address));
        if opening.until_ms <= now_ms || !is_at_home {
            return None;
        }
        openings.remove(code)
    }

    fn visitors(&self) -> std::sync::MutexGuard<'_, Vec<Visitor>> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the bearer of a cookie see the node's status until then.
    fn let_in(&self, cookie: Zeroizing<String>, expires_s: u64, now_s: u64) {
        let mut visitors = self.visitors();
        visitors.retain(|visitor| visitor.expires_s > now_s);
        if visitors.len() < CODES_MAX {
            visitors.push(Visitor { cookie, expires_s });
        }
    }
}

#[derive(Serialize)]
struct OpeningDocument {
    url: String,
    address: String,
    /// Until when the code can be used.
    code_expires: String,
    /// Until when the cookie is good.
    expires: String,
}

/// `POST /.jsfs/openings`: makes a code, for the key of the address.
pub(crate) async fn make(
    front: &Front,
    asked: &Asked<'_>,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let mut document = Document::read(asked.headers, body, front.json_bytes_max()).await?;
    let is_of_status = document.boolean("status")?.unwrap_or(false);
    let address = if is_of_status { None } else { Some(address_of(&mut document)?) };
    let lifetime_s = match document.take("expires_in") {
        None => COOKIE_S,
        Some(value) => value
            .as_u64()
            .filter(|seconds| (1..=COOKIE_S_MAX).contains(seconds))
            .ok_or_else(|| wrong("expires_in", "a number of seconds, at most 30 days"))?,
    };
    document.finish("address, status and expires_in")?;
    let objects = front.objects();
    let credentials = asked.credentials()?;
    let now_ms = objects.now_ms();
    let expires_s = now_ms / 1_000 + lifetime_s;
    let (token, home) = match &address {
        Some(address) => {
            let grant = objects.authorize::<Manage>(&credentials, address).await?;
            let methods: Methods = [TokenMethod::Get, TokenMethod::List].into_iter().collect();
            let minted = objects.mint_token(&grant, methods, expires_s).await?;
            (minted.text, home_of(address, asked.host()))
        }
        None => {
            objects.authorize_root(&credentials).await?;
            (URL_SAFE_NO_PAD.encode(objects.random_bytes::<32>()), asked.host().to_owned())
        }
    };
    let code = Zeroizing::new(URL_SAFE_NO_PAD.encode(objects.random_bytes::<32>()));
    let url = format!("{}://{home}/.jsfs/open?code={}", asked.scheme(), *code);
    let until_ms = now_ms + CODE_MS;
    let opening = OpeningDocument {
        url,
        address: address.as_ref().map_or_else(|| STATUS_PATH.to_owned(), Address::to_string),
        code_expires: rfc3339(until_ms),
        expires: rfc3339(expires_s.saturating_mul(1_000)),
    };
    let kept = Opening { address, token: Zeroizing::new(token), expires_s, until_ms };
    front.openings().keep(&code, kept, now_ms);
    json(StatusCode::CREATED, &opening)
}

/// `GET /.jsfs/open?code=…`: exchanges the code for a cookie and goes to the page.
pub(crate) fn exchange(front: &Front, asked: &Asked<'_>) -> Result<Response<Body>, Problem> {
    let code = asked
        .query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .find_map(|pair| pair.strip_prefix("code="));
    let now_ms = front.objects().now_ms();
    let Some(opening) = code.and_then(|code| front.openings().take(code, asked, now_ms)) else {
        let detail = "the link was used already, is older than a minute, or belongs to another host; make a new one: jsfs open";
        return Err(Problem::new(Kind::NotFound, detail));
    };
    let (name, path) = match &opening.address {
        Some(address) => (NAME, address.to_url_path()),
        None => {
            front.openings().let_in(opening.token.clone(), opening.expires_s, now_ms / 1_000);
            (STATUS_NAME, STATUS_PATH.to_owned())
        }
    };
    let lasts_s = opening.expires_s.saturating_sub(now_ms / 1_000);
    let secure = if asked.scheme() == "https" { "; Secure" } else { "" };
    let cookie = Zeroizing::new(format!(
        "{name}={}; Path={path}; Max-Age={lasts_s}; HttpOnly; SameSite=Strict{secure}",
        *opening.token
    ));
    let (Ok(cookie), Ok(location)) = (HeaderValue::try_from(&*cookie), HeaderValue::try_from(path)) else {
        return Err(Problem::internal(&"a cookie cannot be written"));
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(SET_COOKIE, cookie);
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// What the cookies of a request prove.
pub(crate) fn add_cookies(method: &Method, headers: &HeaderMap, credentials: &mut Credentials) {
    let reads = matches!(*method, Method::GET | Method::HEAD) && !headers.contains_key(UPGRADE);
    let own = vouches(headers) == Some(true);
    if !reads || !own {
        return;
    }
    for token in cookies(headers, NAME) {
        credentials.add_token(token);
    }
}

fn cookies<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let values = pairs.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    values.filter(move |(own, _)| *own == name).map(|(_, value)| value).take(COOKIES_MAX)
}

/// Whether a person looks at the node's status in a browser that was let in: not what a page loads or frames.
pub(crate) fn shows_status(front: &Front, asked: &Asked<'_>) -> bool {
    let says = |name: &'static str, what: &str| {
        asked.headers.get(HeaderName::from_static(name)).is_some_and(|value| value == what)
    };
    let is_person = vouches(asked.headers) == Some(true)
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document");
    let now_s = front.objects().now_ms() / 1_000;
    is_person
        && cookies(asked.headers, STATUS_NAME).any(|cookie| {
            let visitors = front.openings().visitors();
            visitors.iter().any(|visitor| *visitor.cookie == cookie && visitor.expires_s > now_s)
        })
}

/// The host, with its port, at which a browser that reached the node by `host` finds the namespace of an address. On the own machine every namespace is a
/// name below localhost.
fn home_of(address: &Address, host: &str) -> String {
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    let port = if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        String::new()
    } else {
        format!(":{port}")
    };
    let name = host.strip_suffix(&port).unwrap_or(host);
    let own = address.to_url_host();
    let is_here =
        Address::of_host(host).is_ok_and(|home| home == Address::localhost()) || name.ends_with(".localhost");
    match own.as_str() {
        "localhost" if is_here => format!("localhost{port}"),
        own if is_here => format!("{own}.localhost{port}"),
        own => format!("{own}{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{add_cookies, home_of};
    use hyper::Method;
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};
    use jsfs_objects::Credentials;
    use jsfs_objects::address::Address;

    #[test]
    fn a_namespace_is_found_at_its_own_host() {
        let home = |address: &str, host: &str| home_of(&Address::parse(address).expect("an address"), host);
        assert_eq!(home("/localhost/a/", "127.0.0.1:7302"), "localhost:7302");
        assert_eq!(home("/site/", "localhost:7302"), "site.localhost:7302");
        assert_eq!(home("/com.example/", "[::1]:80"), "example.com.localhost:80");
        assert_eq!(home("/com.example/", "example.com"), "example.com");
        assert_eq!(home("/com.example.b/", "a.example.com:8443"), "b.example.com:8443");
        assert_eq!(home("/site/", "other.localhost:1"), "site.localhost:1");
    }

    #[test]
    fn a_cookie_counts_only_where_the_browser_vouches_for_the_page() {
        let counts = |method: Method, pairs: &[(&'static str, &str)]| {
            let headers: HeaderMap = pairs
                .iter()
                .map(|(name, value)| {
                    (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
                })
                .collect();
            let mut credentials = Credentials::none();
            add_cookies(&method, &headers, &mut credentials);
            !credentials.is_empty()
        };
        let cookie = ("cookie", "a=b; jsfs=eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIvYS8ifQ.c2ln");
        for site in ["same-origin", "none"] {
            assert!(counts(Method::GET, &[cookie, ("sec-fetch-site", site)]), "{site}");
            assert!(counts(Method::HEAD, &[cookie, ("sec-fetch-site", site)]), "{site}");
            for method in [Method::PUT, Method::POST, Method::DELETE] {
                assert!(!counts(method, &[cookie, ("sec-fetch-site", site)]), "{site}");
            }
            assert!(!counts(Method::GET, &[cookie, ("sec-fetch-site", site), ("upgrade", "websocket")]));
        }
        for site in ["same-site", "cross-site", ""] {
            assert!(!counts(Method::GET, &[cookie, ("sec-fetch-site", site)]), "{site}");
        }
        assert!(!counts(Method::GET, &[cookie]), "a browser that says nothing");
        assert!(!counts(Method::GET, &[("cookie", "xjsfs=a"), ("sec-fetch-site", "none")]));
    }
}
