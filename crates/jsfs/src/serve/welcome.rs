//! What the node says when it is ready.

use crate::config::{self, Flags, Settings};
use crate::output::{Output, shell_word};
use crate::serve::Beside;
use crate::session::ROOT_KEY_FILE;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// Prints the line that scripts wait for, and for people how to go on. A closed standard output is no reason to stop.
pub(super) fn say(address: SocketAddr, beside: &Beside, settings: &Settings, output: Output) {
    let url = local_url(address);
    let data = settings.data.display();
    let mut said = json!({ "ready": true, "url": url, "listen": address.to_string(), "data": settings.data });
    let beside = [("tls_listen", &beside.secured), ("metrics_listen", &beside.metrics)]
        .map(|(name, listener)| (name, listener.as_ref().and_then(|listener| listener.local_addr().ok())));
    for (name, address) in beside {
        if let Some(address) = address {
            said[name] = json!(address.to_string());
        }
    }
    let _ = output.json(&said);
    let _ = output.line(&format!("JSFS {} is ready at {url} (data: {data})", env!("CARGO_PKG_VERSION")));
    let program = program(&settings.data);
    let _ = output.done(&format!(
        "  store a file    {program} put --public index.html site/\n  \
           see it          {}/site/\n  \
           store a tree    {program} sync DIR /localhost/site/\n  \
           root key        {}\n  \
           everything else {program} help",
        page_url(address),
        root_key(&settings.data),
    ));
    let _ = crate::output::flush();
    let [(_, secured), (_, metrics)] =
        beside.map(|(name, address)| (name, address.map(tracing::field::display)));
    tracing::info!(listen = %address, tls_listen = secured, metrics_listen = metrics, data = %data, "ready");
    if !address.ip().is_loopback() {
        tracing::warn!(
            "listening on {address} without TLS: keys, tokens and private data travel in the clear to everybody on the way; \
             give the node a certificate (tls.listen, tls.certificate, tls.key) and listen on 127.0.0.1 besides, or put a proxy with TLS in front"
        );
    }
}

/// How commands of the same program are written so that they find this node from wherever they are run.
fn program(data: &Path) -> String {
    let name = std::env::args().next().unwrap_or_else(|| "jsfs".to_owned());
    let name = match name.contains('/') {
        true => std::path::absolute(&name).map_or(name, |path| path.display().to_string()),
        false => name,
    };
    let name = shell_word(&name);
    if is_found(data) {
        return name.into_owned();
    }
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    format!("{name} --data {}", shell_word(&data.display().to_string()))
}

/// Whether commands look into this data directory where nobody tells them to: another terminal has neither our flags nor our variables.
fn is_found(data: &Path) -> bool {
    let mut elsewhere = config::environment();
    elsewhere.retain(|name, _| !name.starts_with("JSFS_"));
    let merged = config::merge(&Flags::default(), &elsewhere);
    merged.is_ok_and(|merged| {
        merged.get("data").is_some_and(|(value, _)| value.to_string() == data.display().to_string())
    })
}

fn root_key(data: &Path) -> String {
    let path = data.join(ROOT_KEY_FILE);
    match path.exists() {
        true => format!("{} (commands on this machine find it by themselves; keep a copy)", path.display()),
        false => {
            format!("missing: put it back as {}, or give it to commands with --key-file FILE", path.display())
        }
    }
}

/// The URL at which a browser on this machine sees namespace `localhost`.
fn page_url(address: SocketAddr) -> String {
    let ip = address.ip();
    let by_name = ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST;
    if by_name { format!("http://localhost:{}", address.port()) } else { local_url(address) }
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
        let page = |text: &str| page_url(text.parse().expect("a socket address"));
        assert_eq!(page("0.0.0.0:7302"), "http://localhost:7302");
        assert_eq!(page("[::1]:7302"), "http://localhost:7302");
        assert_eq!(page("192.0.2.1:80"), "http://192.0.2.1:80");
    }
}
