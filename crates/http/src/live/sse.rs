//! Server-Sent Events: `GET ADDRESS` with `Accept: text/event-stream`.
//!
//! A stream holds no place among the requests that are being answered but one among the watches, and ends when the node stops. What a client does
//! not take stays in the log: nothing is queued here.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response};
use jsfs_objects::address::Address;
use jsfs_objects::{Cursor, News, Watch, Watching};
use tokio_util::sync::CancellationToken;

use super::event::Event;
use crate::body::{Body, BrokenOff};
use crate::front::Front;
use crate::headers;
use crate::leaving::Client;
use crate::parameters::Parameter;
use crate::problem::Problem;
use crate::request::Asked;

static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// After this time a line goes out even if nothing happened, so that proxies and clients know the stream alive.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// After how many seconds to come back when there are as many watches as the node takes.
const RETRY_AFTER_S: u64 = 10;

/// Whether a request names this type of its own accord (`*/*` does not).
pub(crate) fn asks_for_events(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    ranges.flat_map(|text| text.split(',')).any(|range| {
        range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// Answers with the changes at an address, for as long as the client listens.
pub(crate) async fn follow(
    front: &Front,
    asked: &Asked<'_>,
    address: &Address,
) -> Result<Response<Body>, Problem> {
    let since = since(asked)?;
    let grant = front.objects().authorize::<Watch>(&asked.credentials()?, address).await?;
    let permit = front.counters().enter_watches().ok_or_else(|| {
        let detail = "this node follows as many watches as it takes at a time; try again later";
        Problem::unavailable(detail, RETRY_AFTER_S)
    })?;
    // Those of HTTP/2 share a connection, which has a bound of its own.
    let place = asked.extension::<Client>().map(|_| front.counters().enter_lasting()).transpose()?;
    let watching = front.objects().watch(grant, since).await?;
    // A browser whose connection breaks before the first change goes on from here.
    let first = format!(": watching {}\nid: {}\n\n", one_line(address.as_str()), watching.cursor());
    let feed = Feed { watching: Some(watching), stopping: front.counters().stopping(), first: Some(first) };
    let pieces = stream::unfold((feed, permit, place), |(mut feed, permit, place)| async move {
        let piece = feed.piece().await?;
        Some((Ok::<_, BrokenOff>(Bytes::from(piece)), (feed, permit, place)))
    });
    let mut response = Response::new(Body::lasting(Box::pin(pieces)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers::hand_on_at_once(headers);
    Ok(response)
}

/// The cursor that the stream begins after: the parameter, else what a browser says when it reconnects.
fn since(asked: &Asked<'_>) -> Result<Option<Cursor>, Problem> {
    let header = asked.headers.get(&LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    // A browser repeats the URL with its old `since`: what it has seen last counts.
    let text = header.or_else(|| asked.parameters.get(Parameter::Since)).filter(|text| !text.is_empty());
    text.map(parse_cursor).transpose()
}

/// Reads a cursor that a client sent.
///
/// # Errors
/// 400 where it is none.
pub(crate) fn parse_cursor(text: &str) -> Result<Cursor, Problem> {
    Cursor::parse(text).ok_or_else(|| {
        Problem::malformed("since is not a cursor; send one that came with an event, or none to begin now")
    })
}

/// What a stream goes through.
struct Feed {
    /// None once it is over.
    watching: Option<Watching>,
    stopping: CancellationToken,
    first: Option<String>,
}

impl Feed {
    /// The next text; none at the end.
    async fn piece(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let watching = self.watching.as_mut()?;
        let news = tokio::select! {
            () = self.stopping.cancelled() => return None,
            news = watching.next() => news,
            () = tokio::time::sleep(SILENCE_MAX) => return Some(":\n\n".to_owned()),
        };
        Some(match news {
            Ok(News::Changes(notices)) => {
                notices.iter().map(|n| message(None, Some(&n.cursor), &Event::of(n, None))).collect()
            }
            Ok(News::Reset(cursor)) => {
                let data = serde_json::json!({ "cursor": cursor.to_string() });
                message(Some("reset"), Some(&cursor), &data)
            }
            Err(error) => {
                self.watching = None;
                let problem = Problem::from(error);
                message(Some("ended"), None, &problem.document())
            }
        })
    }
}

fn message(event: Option<&str>, id: Option<&Cursor>, data: &impl serde::Serialize) -> String {
    let event = event.map(|event| format!("event: {event}\n")).unwrap_or_default();
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    // JSON text has no line breaks, and ours has text keys only.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("{event}{id}data: {data}\n\n")
}

/// Addresses hold no control characters; this keeps the promise where it is needed.
fn one_line(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::{asks_for_events, message};
    use hyper::HeaderMap;
    use hyper::header::{ACCEPT, HeaderValue};

    #[test]
    fn only_whoever_names_the_type_gets_events() {
        for (accept, want) in [
            ("text/event-stream", true),
            ("Text/Event-Stream;q=0.9, */*", true),
            ("*/*", false),
            ("text/*", false),
            ("text/html,application/xml", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(asks_for_events(&headers), want, "{accept}");
        }
    }

    #[test]
    fn a_message_has_one_line_of_data() {
        let text = message(Some("reset"), None, &serde_json::json!({"a": "b\nc"}));
        assert_eq!(text, "event: reset\ndata: {\"a\":\"b\\nc\"}\n\n");
    }
}
