//! What a run asks for: requests to the node, bodies piece by piece, messages of its socket.
//!
//! Each call is a task of its own beside the run and ends with a word to the program; what it hands on is bounded by short queues.

use crate::{
    BodyError, BodyStream, Exec, hold,
    interior::{Authority, Interior},
    outside::Outside,
    process::Once,
    said::Frame,
    wire::{RunId, ToWorker},
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri,
    header::{AUTHORIZATION, COOKIE},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

/// Pieces of a body that wait for whoever reads it.
pub(crate) const PIECES: usize = 2;
/// Largest module that a program may import.
const IMPORT_MAX: usize = 4 << 20;
/// Redirects that a program's request follows: as many as the Fetch Standard says.
const REDIRECTS_MAX: u8 = 20;

pub(crate) type Shared<T> = Arc<AsyncMutex<T>>;

/// Bodies that the program reads or writes piece by piece, by the id of the call that they belong to; 0 is the request and its answer.
#[derive(Default)]
pub(crate) struct Bodies {
    pub(crate) readable: HashMap<u32, Shared<BodyStream>>,
    pub(crate) writable: HashMap<u32, mpsc::Sender<Result<Bytes, BodyError>>>,
}

/// JSON, bytes, both or neither; or an error.
pub(crate) type CallResult = Result<(Option<String>, Option<Bytes>), GuestError>;

/// What a call came to.
pub(crate) struct Settled {
    pub(crate) id: u32,
    pub(crate) result: CallResult,
    pub(crate) readable: Option<BodyStream>,
}

/// The word to a run that a call has ended.
pub(crate) fn word(run: RunId, id: u32, result: CallResult) -> (ToWorker, Bytes) {
    let (ok, json, bytes) = match result {
        Ok((json, bytes)) => (true, json, bytes),
        Err(error) => (false, serde_json::to_string(&error).ok(), None),
    };
    (ToWorker::Settle { run, id, ok, json, has_bytes: bytes.is_some() }, bytes.unwrap_or_default())
}

/// An error that the program sees.
#[derive(Serialize)]
pub(crate) struct GuestError {
    name: &'static str,
    message: String,
}

impl GuestError {
    pub(crate) fn network(message: impl Into<String>) -> Self {
        Self { name: "TypeError", message: message.into() }
    }
}

pub(crate) fn pieces(receiver: mpsc::Receiver<Result<Bytes, BodyError>>) -> BodyStream {
    Box::pin(stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) }))
}

/// A field's value: JavaScript has it as a string of bytes.
pub(crate) fn latin1(value: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let bytes: Vec<u8> = value.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
    HeaderValue::from_bytes(&bytes)
}

impl Settled {
    pub(crate) fn failed(id: u32, error: GuestError) -> Self {
        Self { id, result: Err(error), readable: None }
    }

    pub(crate) fn nothing(id: u32) -> Self {
        Self { id, result: Ok((None, None)), readable: None }
    }
}

#[derive(Deserialize)]
pub(crate) struct Of {
    #[serde(alias = "to", alias = "of")]
    pub(crate) body: u32,
    #[serde(default)]
    pub(crate) error: Option<String>,
}

pub(crate) fn of(params: &str) -> Result<Of, GuestError> {
    serde_json::from_str(params).map_err(|error| GuestError::network(error.to_string()))
}

pub(crate) async fn read(id: u32, params: &str, bodies: &Mutex<Bodies>) -> Settled {
    let Of { body, .. } = match of(params) {
        Ok(of) => of,
        Err(error) => return Settled::failed(id, error),
    };
    let stream = hold(bodies).readable.get(&body).cloned();
    let piece = match stream {
        Some(stream) => stream.lock().await.next().await,
        None => None,
    };
    let done = || Some(r#"{"done":true}"#.to_owned());
    let result = match piece {
        Some(Ok(bytes)) => Ok((None, Some(bytes))),
        Some(Err(error)) => Err(GuestError::network(error.0)),
        None => {
            hold(bodies).readable.remove(&body);
            Ok((done(), None))
        }
    };
    Settled { id, result, readable: None }
}

pub(crate) async fn write(id: u32, params: &str, bytes: Option<Bytes>, bodies: &Mutex<Bodies>) -> Settled {
    let Of { body, .. } = match of(params) {
        Ok(of) => of,
        Err(error) => return Settled::failed(id, error),
    };
    let sender = hold(bodies).writable.get(&body).cloned();
    let sent = match sender {
        Some(sender) => sender.send(Ok(bytes.unwrap_or_default())).await.is_ok(),
        None => false,
    };
    match sent {
        true => Settled::nothing(id),
        false => Settled::failed(id, GuestError::network("nobody reads this body any longer")),
    }
}

pub(crate) async fn close(id: u32, params: &str, bodies: &Mutex<Bodies>) -> Settled {
    let Of { body, error } = match of(params) {
        Ok(of) => of,
        Err(error) => return Settled::failed(id, error),
    };
    let sender = hold(bodies).writable.remove(&body);
    if let (Some(sender), Some(error)) = (sender, error) {
        let _ = sender.send(Err(BodyError(error))).await;
    }
    Settled::nothing(id)
}

#[derive(Deserialize)]
pub(crate) struct SocketParams {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    code: Option<u16>,
    #[serde(default)]
    reason: Option<String>,
}

pub(crate) fn socket_frame(operation: &str, params: &str, bytes: Option<Bytes>) -> Option<Frame> {
    let SocketParams { text, code, reason } = serde_json::from_str(params).ok()?;
    Some(match operation {
        "socketClose" => Frame::Close { code: code.unwrap_or(1000), reason: reason.unwrap_or_default() },
        _ => match text {
            Some(text) => Frame::Text(text),
            None => Frame::Binary(bytes.unwrap_or_default()),
        },
    })
}

pub(crate) async fn send_frame(
    id: u32,
    frame: Option<Frame>,
    frames: Option<mpsc::Sender<Frame>>,
) -> Settled {
    let (Some(frame), Some(frames)) = (frame, frames) else {
        return Settled::failed(id, GuestError::network("this run has no WebSocket"));
    };
    match frames.send(frame).await {
        Ok(()) => Settled::nothing(id),
        Err(_) => Settled::failed(id, GuestError::network("the WebSocket is closed")),
    }
}

#[derive(Deserialize)]
pub(crate) struct FetchParams {
    url: String,
    method: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    redirect: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FetchedHead<'a> {
    status: u16,
    status_text: &'a str,
    url: &'a str,
    redirected: bool,
    headers: Vec<(&'a str, String)>,
    body: bool,
}

/// Whether the body of a request is written piece by piece.
pub(crate) fn is_streamed(params: &str) -> bool {
    serde_json::from_str::<FetchParams>(params).is_ok_and(|params| params.body == "stream")
}

/// What a call of a program needs.
pub(crate) struct Call {
    pub(crate) interior: Arc<dyn Interior>,
    pub(crate) authority: Authority,
    /// Host and port that the program itself was reached at.
    pub(crate) home: String,
    /// Under what a change is made at most once.
    pub(crate) once: Option<Once>,
    /// What leads to other hosts.
    pub(crate) outside: Arc<Outside>,
}

/// Whether a program may reach what a URL names: its own host, or another name of this node at the same port. Never an IP address but its own
/// host's: what such an address means depends on who asks.
fn is_reachable(interior: &dyn Interior, home: &str, url: &Uri) -> bool {
    let Some(authority) = url.authority() else { return false };
    if authority.as_str() == home {
        return true;
    }
    let is_address = authority.host().trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let home_port = home.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let is_our_port = authority.port_u16().is_none_or(|port| port == 80 || Some(port) == home_port);
    !is_address && is_our_port && interior.is_here(authority.as_str())
}

impl Call {
    pub(crate) async fn fetch(
        self,
        id: u32,
        params: &str,
        bytes: Option<Bytes>,
        streamed: Option<BodyStream>,
    ) -> Settled {
        match self.fetch_inner(params, bytes, streamed).await {
            Ok((json, readable)) => Settled { id, result: Ok((Some(json), None)), readable },
            Err(error) => Settled::failed(id, error),
        }
    }

    async fn fetch_inner(
        &self,
        params: &str,
        bytes: Option<Bytes>,
        streamed: Option<BodyStream>,
    ) -> Result<(String, Option<BodyStream>), GuestError> {
        let params: FetchParams =
            serde_json::from_str(params).map_err(|error| GuestError::network(error.to_string()))?;
        let mut method = Method::try_from(params.method.as_str())
            .map_err(|error| GuestError::network(error.to_string()))?;
        let mut fields = HeaderMap::new();
        for (name, value) in &params.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), latin1(value)) {
                fields.append(name, value);
            }
        }
        let mut body: Option<BodyStream> = match params.body.as_str() {
            "stream" => streamed,
            _ => bytes.clone().map(|bytes| Box::pin(stream::iter([Ok(bytes)])) as BodyStream),
        };
        if let Some(bytes) = &bytes {
            fields.insert(http::header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        let mut url: Uri =
            params.url.parse().map_err(|error| GuestError::network(format!("{}: {error}", params.url)))?;
        let mut redirects: u8 = 0;
        let mut has_left = false;
        loop {
            let host = url.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
            let is_ours = is_reachable(&*self.interior, &self.home, &url);
            if is_ours && has_left {
                // Whoever is outside does not say what is asked for within, with what the program was granted.
                let why =
                    format!("another host redirects to {host}, which is of this node; fetch it by itself");
                return Err(GuestError::network(why));
            }
            let mut request = Request::new(body.take());
            *request.method_mut() = method.clone();
            *request.uri_mut() = url.clone();
            *request.headers_mut() = fields.clone();
            if let Ok(host) = HeaderValue::try_from(host) {
                request.headers_mut().insert(http::header::HOST, host);
            }
            let response = match self.once {
                _ if !is_ours => {
                    has_left = true;
                    let answer = self.outside.answer(&self.authority.hosts, request, bytes.clone()).await;
                    answer.map_err(GuestError::network)?
                }
                Some(once) if !method.is_safe() => {
                    let once = Once { hop: redirects, ..once };
                    self.interior.answer_once(request, self.authority.clone(), once).await
                }
                _ => self.interior.answer(request, self.authority.clone()).await,
            };
            let (head, body_out) = response.into_parts();
            let target = location(&url, &head).filter(|_| params.redirect != "manual");
            let Some(target) = target else {
                return Ok((fetched(&url, redirects > 0, &head, body_out.is_some()), body_out));
            };
            redirects += 1;
            if params.redirect == "error" || redirects > REDIRECTS_MAX {
                return Err(GuestError::network(format!("{url} redirects")));
            }
            let becomes_get = head.status == StatusCode::SEE_OTHER && method != Method::HEAD
                || matches!(head.status.as_u16(), 301 | 302) && method == Method::POST;
            if becomes_get {
                method = Method::GET;
                fields.remove(http::header::CONTENT_LENGTH);
                fields.remove(http::header::CONTENT_TYPE);
            } else if let Some(bytes) = &bytes {
                let bytes = bytes.clone();
                body = Some(Box::pin(stream::iter([Ok(bytes)])));
            } else if params.body == "stream" {
                return Err(GuestError::network("a streamed body cannot follow a redirect"));
            }
            if (url.scheme(), url.authority()) != (target.scheme(), target.authority()) {
                // What proves who asks is for whom it was meant.
                [AUTHORIZATION, COOKIE].iter().for_each(|name| drop(fields.remove(name)));
            }
            url = target;
        }
    }
}

/// Where an answer redirects to.
pub(crate) fn location(url: &Uri, head: &http::response::Parts) -> Option<Uri> {
    if !matches!(head.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let target = head.headers.get(http::header::LOCATION)?.to_str().ok()?;
    crate::url::join(&url.to_string(), target)?.parse().ok()
}

pub(crate) fn fetched(url: &Uri, redirected: bool, head: &http::response::Parts, body: bool) -> String {
    let url = url.to_string();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str(), value.as_bytes().iter().map(|byte| char::from(*byte)).collect::<String>())
    });
    let head = FetchedHead {
        status: head.status.as_u16(),
        status_text: head.status.canonical_reason().unwrap_or_default(),
        url: &url,
        redirected,
        headers: headers.collect(),
        body,
    };
    serde_json::to_string(&head).unwrap_or_default()
}

/// The source of a module that a program imports, read with the program's authority.
pub(crate) async fn import(
    exec: &Exec,
    base: &str,
    url: &str,
    authority: &Authority,
) -> Result<Bytes, String> {
    let url = crate::url::join(base, url).ok_or("it is no address")?;
    let uri: Uri = url.parse().map_err(|_| "it is no address")?;
    let host = uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
    let interior = exec.interior();
    if !interior.is_here(&host) {
        return Err("it is not an address of this node".to_owned());
    }
    let mut request = Request::new(None);
    let separator = if url.contains('?') { '&' } else { '?' };
    *request.uri_mut() = format!("{url}{separator}execute=false").parse().map_err(|_| "it is no address")?;
    if let Ok(host) = HeaderValue::try_from(host) {
        request.headers_mut().insert(http::header::HOST, host);
    }
    let response = interior.answer(request, authority.clone()).await;
    if !response.status().is_success() {
        return Err(format!("the answer is {}", response.status()));
    }
    let mut bytes = BytesMut::new();
    let mut body = response.into_body();
    while let Some(body) = body.as_mut()
        && let Some(piece) = body.next().await
    {
        bytes.extend_from_slice(&piece.map_err(|error| error.0)?);
        if bytes.len() > IMPORT_MAX {
            return Err(format!("a module may have {IMPORT_MAX} bytes"));
        }
    }
    Ok(bytes.freeze())
}
