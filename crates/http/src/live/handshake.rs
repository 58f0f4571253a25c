//! The handshake of RFC 6455, and what of it can be refused.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{
    AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Response, StatusCode, Version};
use percent_encoding::percent_decode_str;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::call::Base;
use super::parting::Parting;
use super::socket::Socket;
use crate::body::Body;
use crate::front::Front;
use crate::problem::Problem;
use crate::request::{Asked, Target};
use crate::server::Continuing;

/// What is spoken.
const SUBPROTOCOL: &str = "jsfs.v1";

/// Whether a request wants to become a socket.
pub(crate) fn asks_for_socket(parts: &Parts) -> bool {
    parts.method == Method::GET && lists(&parts.headers, &UPGRADE, "websocket")
}

/// Answers the handshake; the socket itself begins when the answer is out.
pub(crate) async fn open(front: &Arc<Front>, parts: &Parts) -> Result<Response<Body>, Problem> {
    let (asked, target) = Asked::parse(parts)?;
    let Target::Address(address) = target else {
        return Err(Problem::malformed("sockets open at addresses; the node's own interface has none"));
    };
    check(parts)?;
    let protocol = protocol(&parts.headers)?;
    let missing = || Problem::malformed("a socket needs HTTP/1.1 and connection: upgrade");
    let upgrade = parts.extensions.get::<OnUpgrade>().cloned().ok_or_else(missing)?;
    let continuing = parts.extensions.get::<Continuing>().cloned().ok_or_else(missing)?;
    let credentials = asked.credentials()?;
    let parting = match front.objects().examine(&credentials, &address).await? {
        Some(note) => Some(Parting::unauthorized(&note)),
        None if is_ambient(parts, asked.host()) => Some(Parting::foreign_page()),
        None => None,
    };
    let path = percent_decode_str(&asked.path_to(&address)).decode_utf8_lossy().into_owned();
    let host = HeaderValue::from_str(asked.host()).map_err(|error| Problem::internal(&error))?;
    let socket = Socket::new(Arc::clone(front), Base { host, path }, credentials, parting);
    continuing.with(Box::new(move |ending| Box::pin(socket.run(upgrade, ending))));

    let mut response = accept(parts)?;
    if let Some(protocol) = protocol {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

/// The answer to a well-formed handshake, whatever is spoken then.
pub(super) fn accept(parts: &Parts) -> Result<Response<Body>, Problem> {
    let accept = derive_accept_key(check(parts)?.as_bytes());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(
        SEC_WEBSOCKET_ACCEPT,
        HeaderValue::try_from(accept).map_err(|error| Problem::internal(&error))?,
    );
    Ok(response)
}

/// Whether the client wants to speak `jsfs.v1`, which is never spoken with a program.
pub(super) fn offers_jsfs(headers: &HeaderMap) -> bool {
    lists(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
}

/// The key of a well-formed handshake.
fn check(parts: &Parts) -> Result<HeaderValue, Problem> {
    let headers = &parts.headers;
    if parts.version != Version::HTTP_11 || !lists(headers, &CONNECTION, "upgrade") {
        return Err(Problem::malformed("a socket needs HTTP/1.1 and connection: upgrade"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Problem::malformed("a socket needs sec-websocket-version: 13"));
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .filter(|key| STANDARD.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16));
    key.cloned().ok_or_else(|| Problem::malformed("sec-websocket-key is 16 bytes in base64 (RFC 6455 §4.1)"))
}

/// The subprotocol to answer with: none where none was offered.
fn protocol(headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Ok(None);
    }
    if lists(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Ok(Some(HeaderValue::from_static(SUBPROTOCOL)));
    }
    Err(Problem::malformed("of subprotocols this node speaks jsfs.v1 only; offer it, or none"))
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|text| text.split(',')).any(|entry| entry.trim().eq_ignore_ascii_case(wanted))
}

/// Whether the credential is one that a browser added for a page of somebody else's: no page can set this header on a handshake itself.
fn is_ambient(parts: &Parts, host: &str) -> bool {
    let Some(origin) = parts.headers.get(ORIGIN) else { return false };
    let own =
        origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(_, at)| at == host);
    parts.headers.contains_key(AUTHORIZATION) && !own
}

#[cfg(test)]
mod tests {
    use super::{asks_for_socket, check, is_ambient, protocol};
    use hyper::Request;
    use hyper::http::request::Parts;

    fn parts(changes: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/a");
        let usual = [
            ("host", "a.com"),
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let kept = usual.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        for (name, value) in kept.chain(changes).filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn a_handshake_is_as_rfc_6455_has_it() {
        assert!(asks_for_socket(&parts(&[])) && check(&parts(&[])).is_ok());
        assert!(!asks_for_socket(&parts(&[("upgrade", "h2c")])));
        for broken in [
            ("connection", "close"),
            ("sec-websocket-version", "8"),
            ("sec-websocket-version", ""),
            ("sec-websocket-key", ""),
            ("sec-websocket-key", "c2hvcnQ="),
            ("sec-websocket-key", "not base64 at all......."),
        ] {
            assert!(check(&parts(&[broken])).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn who_offers_subprotocols_offers_ours() {
        let answer = |offered: &str| protocol(&parts(&[("sec-websocket-protocol", offered)]).headers);
        assert_eq!(answer("graphql-ws, jsfs.v1").expect("ours").expect("named"), "jsfs.v1");
        assert!(answer("graphql-ws").is_err());
        assert_eq!(answer("").expect("none offered"), None);
    }

    #[test]
    fn a_foreign_page_cannot_use_the_password_that_a_browser_remembers() {
        let basic = ("authorization", "Basic dTpr");
        let with = |origin| is_ambient(&parts(&[basic, ("origin", origin)]), "a.com");
        assert!(with("http://evil.com") && with("null"));
        assert!(
            !with("http://a.com") && !with("") && !is_ambient(&parts(&[("origin", "http://b.com")]), "a.com")
        );
    }
}
