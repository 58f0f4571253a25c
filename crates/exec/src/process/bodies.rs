//! Bodies of a process: those that it reads, which are gone on with after it was put away, and those that it sends piece by piece.
//!
//! A short body is held whole, and put away with the process. A longer one is read on where it was: the same version is asked for again, by its
//! entity tag. What is neither short nor has a version cannot be read on, and says so.

use crate::{
    BodyStream,
    calls::{Call, Shared},
    process::record::{Rest, SavedBody},
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Request, StatusCode, Uri, header};
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::Mutex as AsyncMutex;

/// Bodies up to this size are held whole.
const SHORT_MAX: usize = 64 << 10;
/// Bytes of a held body that are handed over at once.
const PIECE: usize = 64 << 10;

/// A body that the program reads.
pub(crate) struct Open {
    /// Bytes that the program has.
    pub(crate) taken: u64,
    /// The read that was answered last, and how many bytes it got: where the program had not heard of it, it asks again.
    pub(crate) last: Option<(u32, u64)>,
    pub(crate) is_ended: bool,
    pub(crate) rest: Rest,
    pub(crate) stream: Shared<Option<BodyStream>>,
}

#[derive(Deserialize)]
struct Fetched {
    status: u16,
    url: String,
    headers: Vec<(String, String)>,
}

impl Open {
    pub(crate) fn of(saved: &SavedBody) -> Self {
        let SavedBody { taken, is_ended, rest, .. } = saved.clone();
        Open { taken, last: None, is_ended, rest, stream: Arc::new(AsyncMutex::new(None)) }
    }

    /// The body of an answer, by its head. A short one is waited for.
    pub(crate) async fn answered(head: &str, is_safe: bool, mut body: BodyStream) -> Self {
        let mut begun = BytesMut::new();
        let mut pieces = Vec::new();
        let whole = loop {
            match body.next().await {
                None => break true,
                Some(Ok(piece)) => {
                    begun.extend_from_slice(&piece);
                    pieces.push(Ok(piece));
                }
                Some(Err(error)) => {
                    pieces.push(Err(error));
                    break false;
                }
            }
            if begun.len() > SHORT_MAX {
                break false;
            }
        };
        let rest = match whole {
            true => Rest::Kept(begun.to_vec()),
            false => {
                serde_json::from_str(head).ok().and_then(|head| again(head, is_safe)).unwrap_or(Rest::Lost)
            }
        };
        let on: Option<BodyStream> =
            (!whole).then(|| Box::pin(stream::iter(pieces).chain(body)) as BodyStream);
        Open { taken: 0, last: None, is_ended: false, rest, stream: Arc::new(AsyncMutex::new(on)) }
    }

    /// The next bytes of a body that is here.
    pub(crate) fn held(&self) -> Option<Option<Bytes>> {
        if self.is_ended {
            return Some(None);
        }
        let Rest::Kept(bytes) = &self.rest else { return None };
        let from = usize::try_from(self.taken).unwrap_or(usize::MAX).min(bytes.len());
        let piece = &bytes[from..bytes.len().min(from + PIECE)];
        Some((!piece.is_empty()).then(|| Bytes::copy_from_slice(piece)))
    }

    /// Notes what a read got.
    pub(crate) fn took(&mut self, read: u32, piece: Option<&Bytes>) {
        let length = piece.map_or(0, |piece| piece.len() as u64);
        self.is_ended |= piece.is_none();
        self.taken += length;
        self.last = Some((read, length));
    }

    /// As it is to be put away: without what the program has not heard of.
    pub(crate) fn saved(&self, id: u32, pending: &[u32]) -> SavedBody {
        let unheard = self.last.filter(|(read, _)| pending.contains(read));
        let is_ended = self.is_ended && unheard.is_none();
        let taken = self.taken - unheard.map_or(0, |(_, length)| length);
        SavedBody { id, taken, is_ended, rest: self.rest.clone() }
    }

    /// Bytes that it holds.
    pub(crate) fn weight(&self) -> usize {
        match &self.rest {
            Rest::Kept(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// How the rest of an answer is asked for again: by its version, which only what is stored has.
fn again(head: Fetched, is_safe: bool) -> Option<Rest> {
    let field = |name: &str| head.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value);
    let etag = field("etag").filter(|etag| !etag.starts_with("W/"))?;
    let is_stored = field("x-version").is_some() && field("content-encoding").is_none();
    (is_safe && head.status == 200 && is_stored).then(|| Rest::Again { url: head.url, etag: etag.clone() })
}

/// The next piece of a body that comes from elsewhere. `rest` says how it is gone on with where its stream is gone.
pub(crate) async fn read(
    stream: Shared<Option<BodyStream>>,
    call: Call,
    rest: Rest,
    taken: u64,
) -> Result<Option<Bytes>, String> {
    let mut held = stream.lock().await;
    if held.is_none() {
        *held = Some(reopen(&call, &rest, taken).await?);
    }
    match held.as_mut() {
        Some(body) => body.next().await.transpose().map_err(|error| error.0),
        None => Ok(None),
    }
}

async fn reopen(call: &Call, rest: &Rest, taken: u64) -> Result<BodyStream, String> {
    let Rest::Again { url, etag } = rest else {
        return Err("the process was put away while this body was read, and it has no version by which it could be read on; \
                    read it again from its beginning"
            .to_owned());
    };
    let mut request = Request::new(None);
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let host = uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
    *request.uri_mut() = uri;
    let fields = request.headers_mut();
    let texts =
        [(header::HOST, host), (header::IF_MATCH, etag.clone()), (header::RANGE, format!("bytes={taken}-"))];
    for (name, text) in texts {
        if let Ok(value) = HeaderValue::try_from(text) {
            fields.insert(name, value);
        }
    }
    let response = call.interior.answer(request, call.authority.clone()).await;
    let nothing = || Box::pin(stream::empty()) as BodyStream;
    match response.status() {
        StatusCode::PARTIAL_CONTENT => Ok(response.into_body().unwrap_or_else(nothing)),
        StatusCode::RANGE_NOT_SATISFIABLE => Ok(nothing()),
        status => Err(format!(
            "the process was put away while {url} was read, and that version cannot be read on ({status}); \
             read it again from its beginning"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bytes: &[u8]) -> Open {
        let rest = Rest::Kept(bytes.to_vec());
        Open::of(&SavedBody { id: 1, taken: 0, is_ended: false, rest })
    }

    #[test]
    fn what_the_program_had_not_heard_of_is_read_again() {
        let mut body = kept(b"abc");
        let piece = body.held().unwrap();
        assert_eq!(piece.as_deref(), Some(&b"abc"[..]));
        body.took(9, piece.as_ref());
        assert_eq!((body.saved(1, &[9]).taken, body.saved(1, &[]).taken), (0, 3));
        let end = body.held().unwrap();
        assert_eq!(end, None);
        body.took(10, end.as_ref());
        assert!(!body.saved(1, &[10]).is_ended && body.saved(1, &[]).is_ended);
    }

    #[test]
    fn only_a_stored_version_is_asked_for_again() {
        let head = |extra: &str| {
            format!(
                r#"{{"status":200,"url":"http://localhost/a","headers":[["etag","\"x\""],["x-version","1"]{extra}]}}"#
            )
        };
        let rest = |extra, is_safe| again(serde_json::from_str(&head(extra)).unwrap(), is_safe);
        assert!(rest("", true).is_some());
        assert!(rest("", false).is_none());
        assert!(rest(r#",["content-encoding","gzip"]"#, true).is_none());
    }
}
