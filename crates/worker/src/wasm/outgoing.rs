//! Requests that a component makes: carried out by the node, with what the program was granted, and never by a socket.

use super::calls::{Conversation, piece};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Request, Response, uri::Scheme};
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame};
use jsfs_exec::wire::Level;
use serde::Deserialize;
use serde_json::json;
use std::{future::Future, sync::Arc};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

/// Sends what a component asks for over the run's wire.
pub(super) struct Outgoing(pub(super) Arc<Conversation>);

type Ending = Box<dyn Future<Output = Result<()>> + Send>;

impl WasiHttpHooks for Outgoing {
    fn set_host_header(&mut self) -> bool {
        // The node says whom it asks.
        false
    }

    fn default_scheme(&mut self) -> Option<Scheme> {
        Some(Scheme::HTTP)
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _ended: Ending,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Ending)>> + Send> {
        let conversation = Arc::clone(&self.0);
        Box::new(async move {
            let sent = send(&conversation, request);
            match options.and_then(|options| options.first_byte_timeout) {
                Some(wait) => {
                    tokio::time::timeout(wait, sent).await.unwrap_or(Err(Error::ConnectionReadTimeout))
                }
                None => sent.await,
            }
        })
    }
}

#[derive(Deserialize)]
struct FetchedHead {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: bool,
}

async fn send(
    conversation: &Arc<Conversation>,
    request: Request<WasiBody>,
) -> Result<(Response<WasiBody>, Ending)> {
    let refused = |why: String| {
        conversation.log(Level::Warn, &format!("a request was not sent: {why}"));
        Error::InternalError(Some(why))
    };
    let (head, body) = request.into_parts();
    let fields: Vec<(&str, String)> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes().iter().map(|byte| char::from(*byte)).collect()))
        .collect();
    let has_body = !body.is_end_stream() && body.size_hint().exact() != Some(0);
    let params = json!({
        "url": head.uri.to_string(),
        "method": head.method.as_str(),
        "headers": fields,
        "body": if has_body { "stream" } else { "none" },
        "redirect": "manual",
    });
    let (call, fetched) = conversation.fetch(&params).map_err(refused)?;
    let writing = has_body.then(|| spawn(write(Arc::clone(conversation), fetched.id, body)));
    let (answered, _) = call.await.map_err(refused)?;
    let answered: FetchedHead = serde_json::from_str(&answered.unwrap_or_default())
        .map_err(|error| Error::InternalError(Some(error.to_string())))?;
    let body = match answered.body {
        true => {
            let pieces =
                stream::unfold((Arc::clone(conversation), fetched), |(conversation, fetched)| async {
                    let read = match conversation.read(fetched.id) {
                        Ok(call) => piece(call.await),
                        Err(why) => Err(why),
                    };
                    let frame = match read {
                        Ok(bytes) => Ok(Frame::data(bytes?)),
                        Err(why) => Err(Error::InternalError(Some(why))),
                    };
                    Some((frame, (conversation, fetched)))
                });
            BodyExt::boxed_unsync(StreamBody::new(pieces))
        }
        false => nothing(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answered.status.try_into().map_err(|_| Error::HttpProtocolError)?;
    for (name, value) in &answered.headers {
        let value: Vec<u8> = value.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_bytes(&value))
        {
            response.headers_mut().append(name, value);
        }
    }
    Ok((response, Box::new(ended(writing))))
}

/// A body without anything in it.
pub(super) fn nothing() -> UnsyncBoxBody<Bytes, Error> {
    Empty::new().map_err(Error::from).boxed_unsync()
}

/// The body of a request is sent on while its answer is read.
async fn ended(writing: Option<AbortOnDropJoinHandle<()>>) -> Result<()> {
    if let Some(writing) = writing {
        writing.await;
    }
    Ok(())
}

/// Sends a request's body as the component produces it.
async fn write(conversation: Arc<Conversation>, to: u32, mut body: WasiBody) {
    let mut error = None;
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(bytes)) if bytes.is_empty() => {}
            Ok(Ok(bytes)) => {
                let Ok(call) = conversation.begin("write", &json!({ "to": to }), Some(&bytes)) else {
                    return;
                };
                if call.await.is_err() {
                    // Whoever was asked does not want the rest of it.
                    return;
                }
            }
            // Trailers go no further.
            Ok(Err(_)) => {}
            Err(why) => {
                error = Some(why.to_string());
                break;
            }
        }
    }
    let params = match error {
        Some(error) => json!({ "to": to, "error": error }),
        None => json!({ "to": to }),
    };
    if let Ok(call) = conversation.begin("close", &params, None) {
        let _ = call.await;
    }
}
