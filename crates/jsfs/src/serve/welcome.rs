//! What the node says when it is ready.

use crate::config::Settings;
use crate::output::Output;
use crate::session::ROOT_KEY_FILE;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Prints the line that scripts wait for, and for people how to go on. A closed standard output is no reason to stop.
pub(super) fn say(address: SocketAddr, settings: &Settings, output: Output) {
    let url = local_url(address);
    let data = settings.data.display();
    let _ = output
        .json(&json!({ "ready": true, "url": url, "listen": address.to_string(), "data": settings.data }));
    let _ = output.line(&format!("JSFS {} is ready at {url} (data: {data})", env!("CARGO_PKG_VERSION")));
    let program = std::env::args().next().unwrap_or_else(|| "jsfs".to_owned());
    let key = settings.data.join(ROOT_KEY_FILE);
    let _ = output.done(&format!(
        "  store a file    {program} put --public index.html site/\n  \
           see it          http://localhost:{}/site/\n  \
           store a tree    {program} sync DIR site/\n  \
           root key        {} ({program} finds it by itself; keep a copy)\n  \
           everything else {program} help",
        address.port(),
        key.display(),
    ));
    let _ = crate::output::flush();
    tracing::info!(listen = %address, data = %data, "ready");
    if !address.ip().is_loopback() {
        tracing::warn!(
            "listening on {address} without TLS: keys, tokens and private data travel in the clear to everybody on the way; \
             put a proxy with TLS in front, or listen on 127.0.0.1"
        );
    }
}

/// The URL at which programs on this machine reach a socket.
pub(super) fn local_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_listens_everywhere_is_reached_on_loopback() {
        let url = |text: &str| local_url(text.parse().expect("a socket address"));
        assert_eq!(url("0.0.0.0:7302"), "http://127.0.0.1:7302");
        assert_eq!(url("[::]:80"), "http://[::1]:80");
        assert_eq!(url("192.0.2.1:80"), "http://192.0.2.1:80");
    }
}
