//! What came back, as the answer to a call.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, LOCATION};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::call::{Id, Rendering};
use crate::body::Body;
use crate::problem::{Kind, Problem};
use crate::wire::{hex, rfc3339};

/// The most bytes that come in a result instead of a stream.
const INLINE_BYTES_MAX: u64 = 64 * 1024;

/// The longest JSON answer that becomes a result; the longest page of a listing is shorter.
const JSON_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How a call was answered.
pub(crate) enum Outcome {
    /// This is the result.
    Result(Value),
    /// This is the result, as JSON that was written already.
    Document(Bytes),
    /// This is the result but for the number of the stream, in which the body follows.
    Stream(Map<String, Value>, Body),
    /// This is the error.
    Refused(Value),
}

/// Renders what the front door answered.
pub(crate) async fn render(response: Response<Body>, rendering: Rendering, address: String) -> Outcome {
    let (head, body) = response.into_parts();
    let shown = head.status.is_success() || head.status == StatusCode::NOT_MODIFIED;
    if !shown {
        return Outcome::Refused(refused(head.status, &head.headers, body).await);
    }
    let result = match rendering {
        Rendering::Done => Ok(Value::Object(Map::new())),
        Rendering::Json => {
            return json(body)
                .await
                .map_or_else(|problem| Outcome::Refused(error(&problem)), Outcome::Document);
        }
        Rendering::Written => document(body).await.map(|mut document| {
            document["status"] = head.status.as_u16().into();
            document
        }),
        Rendering::Started => {
            let location =
                head.headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
            document(body).await.map(|mut document| {
                document["location"] = location.into();
                document
            })
        }
        Rendering::Head => Ok(Value::Object(object(head.status, &head.headers, &body, address))),
        Rendering::Object { inline } => {
            let result = object(head.status, &head.headers, &body, address);
            match body.length() {
                Some(0) => Ok(Value::Object(with(result, "text", Value::String(String::new())))),
                Some(length) if inline && length <= INLINE_BYTES_MAX => collect(body).await.map(|bytes| {
                    let (name, value) = match std::str::from_utf8(&bytes) {
                        Ok(text) => ("text", text.to_owned()),
                        Err(_) => ("base64", STANDARD.encode(&bytes)),
                    };
                    Value::Object(with(result, name, Value::String(value)))
                }),
                _ => return Outcome::Stream(result, body),
            }
        }
    };
    result.map_or_else(|problem| Outcome::Refused(error(&problem)), Outcome::Result)
}

fn with(mut map: Map<String, Value>, name: &str, value: Value) -> Map<String, Value> {
    map.insert(name.to_owned(), value);
    map
}

/// The head of an object, from the headers that HTTP has for it.
fn object(status: StatusCode, headers: &HeaderMap, body: &Body, address: String) -> Map<String, Value> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let named = |name: &'static str| text(&HeaderName::from_static(name));
    let range = text(&CONTENT_RANGE);
    let whole = range.and_then(|range| range.rsplit_once('/')).and_then(|(_, size)| size.parse::<u64>().ok());
    let mut map = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(name.to_owned(), value);
        }
    };
    set("status", Some(status.as_u16().into()));
    set("address", Some(address.into()));
    let size = body.length().filter(|_| status != StatusCode::NOT_MODIFIED);
    set("size", size.map(Into::into));
    set("file_size", whole.or(size).map(Into::into));
    set("etag", text(&ETAG).map(|tag| tag.trim_matches('"').into()));
    set("type", text(&CONTENT_TYPE).map(Into::into));
    set("modified", text(&LAST_MODIFIED).and_then(modified).map(Into::into));
    set("version", named("x-version").and_then(|text| text.parse::<u64>().ok()).map(Into::into));
    set("private", named("x-private").map(|text| (text == "true").into()));
    set("content_range", range.map(Into::into));
    set("sha256", named("repr-digest").and_then(sha256).map(Into::into));
    map
}

fn modified(date: &str) -> Option<String> {
    let since = httpdate::parse_http_date(date).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(rfc3339(u64::try_from(since.as_millis()).ok()?))
}

fn sha256(digest: &str) -> Option<String> {
    let text = digest.strip_prefix("sha-256=:")?.strip_suffix(':')?;
    Some(hex(&STANDARD.decode(text).ok()?))
}

async fn collect(body: Body) -> Result<Bytes, Problem> {
    let collected = body.collect().await.map_err(|error| Problem::internal(&error))?;
    Ok(collected.to_bytes())
}

/// The JSON of an answer; an empty object where there is none.
async fn json(body: Body) -> Result<Bytes, Problem> {
    let bytes = collect(body).await?;
    if bytes.len() > JSON_BYTES_MAX {
        return Err(Problem::new(Kind::TooLarge, "the answer is too long for one message; ask for less"));
    }
    Ok(if bytes.is_empty() { Bytes::from_static(b"{}") } else { bytes })
}

async fn document(body: Body) -> Result<Value, Problem> {
    serde_json::from_slice(&json(body).await?).map_err(|error| Problem::internal(&error))
}

/// The error of a refused request: its problem document, whatever it is.
async fn refused(status: StatusCode, headers: &HeaderMap, body: Body) -> Value {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let document = document(body).await.unwrap_or_default();
    let title = document["title"].as_str().map(str::to_owned);
    let data = match document {
        Value::Object(data) if title.is_some() => data,
        _ => Map::new(),
    };
    let title = title.unwrap_or_else(|| match status {
        StatusCode::TEMPORARY_REDIRECT => "It is a directory".to_owned(),
        status => status.canonical_reason().unwrap_or_default().to_owned(),
    });
    let mut data = with(data, "status", status.as_u16().into());
    if let Some(location) = location {
        data.insert("location".to_owned(), location.into());
    }
    json!({ "code": status.as_u16(), "message": title, "data": data })
}

/// A problem as the error of a call.
pub(crate) fn error(problem: &Problem) -> Value {
    coded(problem, i32::from(problem.status().as_u16()))
}

/// The same with a code of JSON-RPC.
pub(crate) fn coded(problem: &Problem, code: i32) -> Value {
    json!({ "code": code, "message": problem.kind.entry().2, "data": problem.document() })
}

/// The answer to a call, as a message.
pub(crate) fn message(id: Option<&Id>, part: &str, value: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id.map_or(&Value::Null, Id::value), part: value }).to_string()
}

/// The same around a result that is JSON already: what comes before it, and after it.
pub(crate) fn around(id: &Id) -> (String, &'static str) {
    (format!(r#"{{"jsonrpc":"2.0","id":{},"result":"#, id.value()), "}")
}

/// A notification, as a message.
pub(crate) fn notification(method: &str, params: &impl serde::Serialize) -> String {
    // What we send has text keys and no failing implementations.
    let params = serde_json::to_string(params).unwrap_or_default();
    format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#)
}
