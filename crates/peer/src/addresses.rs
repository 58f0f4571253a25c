//! Addresses of nodes: `/ip4/192.0.2.1/tcp/7303`, `/ip6/…/tcp/…` or `/dns/example.com/tcp/7303`.
//!
//! Names are resolved here, by the system, when somebody is to be reached.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Addresses that one name may give.
const RESOLVED_MAX: usize = 4;

/// The address as text, if it is one that a node listens on or is reached at.
///
/// # Errors
/// What addresses look like.
pub fn parse(text: &str) -> Result<Multiaddr, String> {
    let address: Option<Multiaddr> = text.parse().ok();
    let good = address.filter(|address| {
        let parts: Vec<Protocol<'_>> = address.iter().collect();
        let host = |part: &Protocol<'_>| {
            matches!(
                part,
                Protocol::Ip4(_)
                    | Protocol::Ip6(_)
                    | Protocol::Dns(_)
                    | Protocol::Dns4(_)
                    | Protocol::Dns6(_)
            )
        };
        matches!(parts.as_slice(), [first, Protocol::Tcp(_)] if host(first))
    });
    good.ok_or_else(|| {
        format!("{text:?} is no address such as /ip4/192.0.2.1/tcp/7303 or /dns/example.com/tcp/7303")
    })
}

/// The same with names replaced by what they stand for; nothing where the name is not known.
pub(crate) async fn resolved(address: Multiaddr) -> Vec<Multiaddr> {
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    let name = match parts.first() {
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => name.to_string(),
        _ => return vec![address],
    };
    let Ok(found) = tokio::net::lookup_host((name.as_str(), 0)).await else { return Vec::new() };
    let with = |ip: std::net::IpAddr| {
        let rest = parts.iter().skip(1).cloned();
        std::iter::once(Protocol::from(ip)).chain(rest).collect::<Multiaddr>()
    };
    let wanted = |ip: &std::net::IpAddr| match parts.first() {
        Some(Protocol::Dns4(_)) => ip.is_ipv4(),
        Some(Protocol::Dns6(_)) => ip.is_ipv6(),
        _ => true,
    };
    found.map(|socket| socket.ip()).filter(wanted).take(RESOLVED_MAX).map(with).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{parse, resolved};

    #[tokio::test]
    async fn addresses_are_of_hosts_and_ports_and_names_are_resolved() {
        for good in ["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/7303", "/dns/example.com/tcp/1"] {
            assert_eq!(parse(good).unwrap().to_string(), good);
        }
        for bad in
            ["", "127.0.0.1:0", "/ip4/127.0.0.1", "/ip4/127.0.0.1/udp/1", "/tcp/1", "/ip4/300.0.0.1/tcp/1"]
        {
            assert!(parse(bad).unwrap_err().contains("/ip4/"), "{bad}");
        }
        let here = resolved(parse("/dns4/localhost/tcp/9").unwrap()).await;
        assert_eq!(here.first().map(ToString::to_string).as_deref(), Some("/ip4/127.0.0.1/tcp/9"));
    }
}
