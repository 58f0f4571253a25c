//! How hosts are named: `api.example.com`, `api.example.com:8443`, `*.example.org`.

use std::fmt;
use url::Url;

/// A host, or all hosts below a name, at one port or at those that `http` and `https` have by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    host: url::Host<String>,
    /// Whether the names below are meant, and not the name itself.
    is_below: bool,
    port: Option<u16>,
}

impl Host {
    /// Reads a name. Its parts are normalised as the URL Standard says, so that every spelling of an address is the same.
    ///
    /// # Errors
    /// Says what a name looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let malformed = || {
            format!(
                "\"{text}\" is not the name of a host; write api.example.com, api.example.com:8443 or *.example.org"
            )
        };
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => {
                let digits = port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse::<u16>().ok().filter(|port| digits && *port != 0);
                (name, Some(port.ok_or_else(malformed)?))
            }
            _ => (text, None),
        };
        let below = name.strip_prefix("*.");
        let host = url::Host::parse(below.unwrap_or(name)).map_err(|_| malformed())?;
        let host = match host {
            url::Host::Domain(domain) => {
                let domain = domain.trim_end_matches('.');
                if domain.is_empty() || domain.len() > NAME_MAX || domain.contains('*') {
                    return Err(malformed());
                }
                url::Host::Domain(domain.to_owned())
            }
            _ if below.is_some() => return Err(malformed()),
            address => address,
        };
        Ok(Self { host, is_below: below.is_some(), port })
    }

    /// Whether this is said of a URL's host at this port.
    pub(super) fn covers(&self, host: &url::Host<&str>, url: &Url, port: u16) -> bool {
        let is_port = match self.port {
            Some(own) => own == port,
            None => matches!((url.scheme(), port), ("http", 80) | ("https", 443)),
        };
        let is_host = match (&self.host, host) {
            (url::Host::Domain(own), url::Host::Domain(host)) => {
                let host = host.trim_end_matches('.');
                match self.is_below {
                    true => host
                        .strip_suffix(own.as_str())
                        .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
                    false => own == host,
                }
            }
            (url::Host::Ipv4(own), url::Host::Ipv4(host)) => own == host,
            (url::Host::Ipv6(own), url::Host::Ipv6(host)) => own == host,
            _ => false,
        };
        is_port && is_host
    }
}

/// As long as a name of the Domain Name System can be.
const NAME_MAX: usize = 253;

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = if self.is_below { "*." } else { "" };
        write!(f, "{below}{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn covers(name: &str, url: &str) -> bool {
        let url = Url::parse(url).unwrap();
        Host::parse(name).unwrap().covers(&url.host().unwrap(), &url, url.port_or_known_default().unwrap())
    }

    #[test]
    fn a_name_is_said_of_its_host_and_port_and_nothing_else() {
        for (name, url, expected) in [
            ("api.example.com", "https://API.example.com/x", true),
            ("api.example.com", "http://api.example.com/", true),
            ("api.example.com.", "http://api.example.com/", true),
            ("api.example.com", "http://api.example.com./", true),
            ("api.example.com", "https://api.example.com:8443/", false),
            ("api.example.com", "http://api.example.com:443/", false),
            ("api.example.com:8443", "https://api.example.com:8443/", true),
            ("api.example.com:8443", "https://api.example.com/", false),
            ("api.example.com", "https://xapi.example.com/", false),
            ("api.example.com", "https://api.example.com.evil.org/", false),
            ("*.example.org", "https://a.example.org/", true),
            ("*.example.org", "https://a.b.example.org/", true),
            ("*.example.org", "https://example.org/", false),
            ("*.example.org", "https://an-example.org/", false),
            ("*.example.org:81", "http://a.example.org:81/", true),
            ("bücher.example", "https://xn--bcher-kva.example/", true),
            ("127.0.0.1:80", "http://0x7f000001/", true),
            ("*.0.0.example", "http://127.0.0.1/", false),
            ("[::1]:8080", "http://[0:0::1]:8080/", true),
            ("[::1]", "http://[::1]/", true),
        ] {
            assert_eq!(covers(name, url), expected, "{name} {url}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_and_what_is_shown_can_be_read_again() {
        let long = "a.".repeat(200);
        for text in [
            "",
            "*",
            "*.",
            "*.*.example.org",
            "a.*.b",
            "http://a",
            "a/b",
            "a:0",
            "a:65536",
            "a:",
            "a:+1",
            "a b",
            "u@a",
            "*.127.0.0.1",
            "::1",
            &long,
        ] {
            assert!(Host::parse(text).is_err(), "{text}");
        }
        for text in ["api.example.com", "*.example.org:8443", "[::1]:80", "10.0.0.1"] {
            assert_eq!(Host::parse(text).unwrap().to_string(), text);
        }
    }
}
