//! Hosts outside the node, which a program reaches where its owner named them.
//!
//! Invariants: what the owner named is asked and nothing else, hop by hop. What is not open to everybody (this machine, its networks, what is
//! reserved) is reached only where the operator of the node named it too: names are judged by what they resolve to, at the moment when
//! the connection is made, so that a name that means another address a moment later gains nothing. Nothing of the node's goes with a request.

mod address;
mod host;

pub use host::Host;

use crate::{BodyError, BodyStream, TURN};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderName, Method, Request, Response, StatusCode, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    error::Error,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::Semaphore;
use url::Url;

/// How long a connection may take to come about.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Requests to hosts outside at the same time, of all programs; each is an open file.
const REQUESTS_MAX: usize = 256;
/// Names that are looked up at the same time: each needs a thread for as long as it takes, whether anybody still waits for it or not.
const LOOKUPS_MAX: usize = 32;
/// Fields of an answer's head. Its bytes are bounded by the client: about 400 KiB.
const FIELDS_MAX: usize = 100;
/// Connections to one host that rest, and for how long.
const RESTING_MAX: usize = 4;
const RESTING_TIME: Duration = Duration::from_secs(15);

/// What leads out of the node.
pub(crate) struct Outside {
    is_allowed: bool,
    /// What the operator lets programs reach though it is not open to everybody.
    private: Vec<Host>,
    clients: OnceLock<Clients>,
    turns: Arc<Semaphore>,
}

struct Clients {
    /// Reaches addresses that are open to everybody, and no others.
    open: reqwest::Client,
    /// For what the operator named.
    private: reqwest::Client,
}

impl Outside {
    pub(crate) fn new(is_allowed: bool, private: Vec<Host>) -> Self {
        let turns = Arc::new(Semaphore::new(REQUESTS_MAX));
        Self { is_allowed, private, clients: OnceLock::new(), turns }
    }

    /// Asks a host outside, if the owner named it. `whole` is the body where all of it is there.
    ///
    /// # Errors
    /// Names the host, and what to do.
    pub(crate) async fn answer(
        &self,
        named: &[String],
        request: Request<Option<BodyStream>>,
        whole: Option<Bytes>,
    ) -> Result<Response<Option<BodyStream>>, String> {
        let (mut head, body) = request.into_parts();
        let url = Url::parse(&head.uri.to_string()).map_err(|error| format!("{}: {error}", head.uri))?;
        let (host, is_private) = self.check(named, &url)?;
        if [Method::CONNECT, Method::TRACE].contains(&head.method) {
            return Err(format!("{} is not for programs; {host} was not asked", head.method));
        }
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(format!(
                "{host} was not asked: too many requests leave the node at the moment; try again"
            ));
        };
        for name in OF_THE_CONNECTION {
            head.headers.remove(name);
        }
        let clients = self.clients()?;
        let client = if is_private { &clients.private } else { &clients.open };
        let is_head = head.method == Method::HEAD;
        let mut asked = client.request(head.method, url).headers(head.headers);
        asked = match (body, whole) {
            (None, _) => asked,
            (Some(_), Some(bytes)) => asked.body(bytes),
            (Some(pieces), None) => asked.body(reqwest::Body::wrap_stream(pieces)),
        };
        let answer =
            asked.send().await.map_err(|error| format!("{host} was not reached: {}", cause(&error)))?;
        let status = answer.status();
        if status.is_informational() {
            return Err(format!("{host} answered {status}, which is no answer"));
        }
        let mut response = Response::new(None);
        *response.status_mut() = status;
        *response.headers_mut() = answer.headers().clone();
        for name in OF_THE_CONNECTION.iter().filter(|name| **name != header::CONTENT_LENGTH) {
            response.headers_mut().remove(name);
        }
        let has_none = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
        if !is_head && !has_none.contains(&status) {
            let pieces = answer.bytes_stream().map(move |piece| {
                let _turn = &turn;
                piece.map_err(|error| BodyError(format!("the answer of {host} broke off: {}", cause(&error))))
            });
            *response.body_mut() = Some(Box::pin(pieces) as BodyStream);
        }
        Ok(response)
    }

    /// Whether a program may ask what a URL names. Answers how the host is called, and whether it is one that the operator named.
    fn check(&self, named: &[String], url: &Url) -> Result<(String, bool), String> {
        let (Some(host), Some(port), "http" | "https") =
            (url.host(), url.port_or_known_default(), url.scheme())
        else {
            return Err(format!("{url} is no address of a host; http and https can be fetched"));
        };
        let called = url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("{called} was not asked: a URL must not have a name and a password"));
        }
        if !self.is_allowed {
            return Err(format!(
                "{called} is not a host of this node, and its operator lets programs reach no others (setting programs.outside)"
            ));
        }
        let is_named =
            named.iter().filter_map(|text| Host::parse(text).ok()).any(|one| one.covers(&host, url, port));
        if !is_named {
            return Err(format!(
                "{called} is not among the hosts that the program's owner named; store it with hosts={called}"
            ));
        }
        let is_private = self.private.iter().any(|one| one.covers(&host, url, port));
        let literal = match host {
            url::Host::Ipv4(ip) => Some(ip.into()),
            url::Host::Ipv6(ip) => Some(ip.into()),
            url::Host::Domain(_) => None,
        };
        if !is_private && literal.is_some_and(|ip| !address::is_open(ip)) {
            return Err(Private(called).to_string());
        }
        Ok((called, is_private))
    }

    /// The clients, made when they are first needed: the certificates of the system are read for them.
    fn clients(&self) -> Result<&Clients, String> {
        if let Some(clients) = self.clients.get() {
            return Ok(clients);
        }
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        let make = |is_private| {
            reqwest::Client::builder()
                .user_agent(concat!("JSFS/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
                .referer(false)
                .connect_timeout(CONNECT_TIME)
                .http1_max_headers(FIELDS_MAX)
                .pool_max_idle_per_host(RESTING_MAX)
                .pool_idle_timeout(RESTING_TIME)
                .dns_resolver(Resolver { is_private, lookups: Arc::clone(&lookups) })
                .build()
        };
        let made = make(false).and_then(|open| Ok(Clients { open, private: make(true)? }));
        let clients = made.map_err(|error| {
            tracing::error!(error = cause(&error), "programs cannot reach hosts outside the node");
            "this node cannot reach hosts outside at the moment; its log says why".to_owned()
        })?;
        Ok(self.clients.get_or_init(|| clients))
    }
}

/// Fields that belong to a connection or to how a body is sent, not to what a program says.
const OF_THE_CONNECTION: [HeaderName; 12] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONNECTION,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A host that is not open to everybody.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} is not open to everybody: it lies on this machine or in a network of its own; whoever runs the node can let programs reach it with the setting programs.private_hosts"
)]
struct Private(String);

/// Finds what a name resolves to, and leaves out what is not open to everybody.
struct Resolver {
    is_private: bool,
    lookups: Arc<Semaphore>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (is_private, lookups) = (self.is_private, Arc::clone(&self.lookups));
        Box::pin(async move {
            let turn = lookups.acquire_owned().await?;
            let host = name.as_str().to_owned();
            let found = tokio::task::spawn_blocking(move || {
                let found = (host.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>);
                drop(turn);
                found
            });
            let mut found = found.await??;
            found.retain(|address| is_private || address::is_open(address.ip()));
            if found.is_empty() {
                return Err(Private(name.as_str().to_owned()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The innermost of an error's causes: the others say that something was being sent.
fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(named: &[&str], private: &[&str], url: &str) -> Result<(String, bool), String> {
        let private = private.iter().map(|text| Host::parse(text).unwrap()).collect();
        let named: Vec<String> = named.iter().map(|text| (*text).to_owned()).collect();
        Outside::new(true, private).check(&named, &Url::parse(url).unwrap())
    }

    #[test]
    fn an_address_that_is_not_open_to_everybody_needs_both_names() {
        let odd = [
            "http://127.1:80/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
        ];
        for url in odd {
            let named = ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"];
            let error = check(&named, &[], url).unwrap_err();
            assert!(error.contains("programs.private_hosts"), "{url}: {error}");
            assert!(check(&named, &named, url).unwrap().1, "{url}");
            assert!(check(&[], &named, url).unwrap_err().contains("store it with hosts="), "{url}");
        }
        assert_eq!(
            check(&["93.184.216.34"], &[], "https://93.184.216.34/"),
            Ok(("93.184.216.34".into(), false))
        );
    }

    #[test]
    fn what_is_refused_is_named_with_the_next_step() {
        let error = check(&["api.example.com"], &[], "https://api.example.com:8443/x").unwrap_err();
        assert!(error.contains("store it with hosts=api.example.com:8443"), "{error}");
        assert!(check(&["example.com"], &[], "ftp://example.com/").unwrap_err().contains("http and https"));
        assert!(check(&["example.com"], &[], "http://a:b@example.com/").unwrap_err().contains("password"));
        let none = Outside::new(false, Vec::new());
        let url = Url::parse("http://example.com/").unwrap();
        let error = none.check(&["example.com".to_owned()], &url).unwrap_err();
        assert!(error.contains("programs.outside"), "{error}");
    }
}
