//! Where a node listens, and how its name becomes a socket address.
//!
//! `localhost` and `*.localhost` are this machine without asking any resolver (RFC 6761): glibc does not know the latter.

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The base URL of a node: scheme, host and port, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUrl(Url);

/// Why a text is no node URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the URL of a node; write http://HOST:PORT")]
pub struct NodeUrlError {
    /// The text as written.
    pub text: String,
}

impl FromStr for NodeUrl {
    type Err = NodeUrlError;

    fn from_str(text: &str) -> Result<NodeUrl, NodeUrlError> {
        let bad = || NodeUrlError { text: text.to_owned() };
        let text = text.trim();
        let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
        let url = url.map_err(|_| bad())?;
        let plain = matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !plain || !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(bad());
        }
        Ok(NodeUrl(url))
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl NodeUrl {
    /// Whether the node is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(self.0.host_str().unwrap_or_default())
    }

    /// The port, also where the scheme implies it.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(80)
    }

    /// Whether both name the same socket: equal, or loopback with the same port.
    pub fn same_node(&self, other: &NodeUrl) -> bool {
        self == other || (self.is_loopback() && other.is_loopback() && self.port() == other.port())
    }

    /// Whether requests travel unencrypted over a network.
    pub fn is_exposed(&self) -> bool {
        self.0.scheme() == "http" && !self.is_loopback()
    }

    /// The URL of an (escaped) path and query on this node.
    pub(crate) fn with(&self, path_and_query: &str) -> Result<Url, NodeUrlError> {
        let text = format!("{self}{path_and_query}");
        Url::parse(&text).map_err(|_| NodeUrlError { text })
    }
}

/// `localhost`, `*.localhost` and loopback IP addresses.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Resolves `*.localhost` to loopback by itself, everything else as the system does.
#[derive(Debug)]
pub(crate) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            if is_loopback_host(name.as_str()) {
                let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                return Ok(Box::new(both.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs);
            }
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect::<Vec<_>>();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn node_urls_are_scheme_host_and_port_only() {
        let node: NodeUrl = "127.0.0.1:7302".parse().unwrap();
        assert_eq!(node.to_string(), "http://127.0.0.1:7302");
        assert_eq!(
            "http://a.localhost:7302/".parse::<NodeUrl>().unwrap().to_string(),
            "http://a.localhost:7302"
        );
        for text in ["", "ftp://x", "http://x/y", "http://x?y", "http://u@x", "http://", "::"] {
            assert!(text.parse::<NodeUrl>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn loopback_is_recognised_in_every_spelling() {
        let node: NodeUrl = "http://127.0.0.1:7302".parse().unwrap();
        for text in [
            "http://localhost:7302",
            "http://x.y.localhost:7302",
            "http://[::1]:7302",
            "http://127.0.0.2:7302",
        ] {
            assert!(node.same_node(&text.parse().unwrap()), "{text}");
        }
        for text in ["http://localhost:7303", "http://localhost.evil.com:7302", "http://example.com:7302"] {
            assert!(!node.same_node(&text.parse().unwrap()), "{text}");
        }
    }
}
