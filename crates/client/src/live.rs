//! Following changes over a socket (`docs/live.md`), across broken connections and restarts of the node.
//!
//! A [`Changes`] goes on by itself where it was: it remembers the cursor of the last change that it gave out, so each change comes at least once and
//! in the order of the node's log. It ends only with a refusal, for instance when the credential that it rests on does not hold any more.

use crate::address::Address;
use crate::error::{Error, Problem};
use crate::transport::{Call, Client};
use futures_util::{SinkExt, StreamExt};
use reqwest::header::{
    CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Method, Upgraded};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// The node says something every 30 s, and be it a ping.
const SILENCE_MAX: Duration = Duration::from_secs(100);

/// How long to wait before the first attempt to connect again; each further one waits twice as long.
const WAIT_FIRST: Duration = Duration::from_millis(100);

/// The longest wait between two attempts.
const WAIT_MAX: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<Upgraded>;

/// One change, as the node tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Where to go on after it.
    pub cursor: String,
    /// When the node accepted it, RFC 3339.
    pub time: String,
    /// `created`, `updated`, `deleted`, `moved` or `access`.
    pub kind: String,
    /// The address that changed.
    pub address: String,
    /// With `moved`: where it came from, where that may be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version that came to be; none for directories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Whether the version needs a credential to be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<bool>,
    /// Bytes of the version, where it is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its entity tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Its media type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// What a watch has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The watch begins here: whatever is accepted from now on will come. Once, and first.
    Begun {
        /// The cursor of the beginning.
        cursor: String,
    },
    /// Something changed.
    Event(Box<Event>),
    /// The node's log does not reach back far enough: list again. The watch goes on from here.
    Reset {
        /// The cursor from which it goes on.
        cursor: String,
    },
}

/// Changes at an address, or below a directory.
pub struct Changes {
    place: Place,
    cursor: Option<String>,
    begun: bool,
    socket: Option<Socket>,
    wait: Duration,
}

/// What is watched, and by whom.
struct Place {
    client: Client,
    address: Address,
}

/// A message of the node, as far as a watch needs it.
#[derive(Deserialize)]
struct Incoming {
    id: Option<u64>,
    result: Option<Begun>,
    error: Option<Refusal>,
    method: Option<String>,
    params: Option<Value>,
}

#[derive(Deserialize)]
struct Begun {
    cursor: String,
}

#[derive(Deserialize)]
struct Refusal {
    data: Problem,
}

#[derive(Deserialize)]
struct Ended {
    error: Problem,
}

impl Client {
    /// Follows what changes at an address or below a directory, after a cursor or from now on.
    pub fn watch(&self, address: &Address, since: Option<String>) -> Changes {
        let place = Place { client: self.clone(), address: address.clone() };
        Changes { place, cursor: since, begun: false, socket: None, wait: WAIT_FIRST }
    }
}

impl Changes {
    /// The next change; waits for it. Cancelling this loses nothing.
    ///
    /// # Errors
    /// [`Error::Refused`] where the node will not let this be watched, or not any more; [`Error::Unexpected`] where it is no JSFS node.
    /// Broken connections are no errors: they are made anew.
    pub async fn next(&mut self) -> Result<Change, Error> {
        loop {
            match self.attempt().await {
                Ok(change) => return Ok(change),
                Err(error) if passes(&error) => {
                    self.socket = None;
                    tokio::time::sleep(self.wait).await;
                    self.wait = (self.wait * 2).min(WAIT_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn attempt(&mut self) -> Result<Change, Error> {
        let Changes { place, cursor, begun, socket, wait } = self;
        let socket = match socket {
            Some(socket) => socket,
            None => {
                let (connected, from) = place.connect(cursor.as_deref()).await?;
                socket.get_or_insert(connected);
                *wait = WAIT_FIRST;
                let cursor = cursor.get_or_insert(from).clone();
                if !std::mem::replace(begun, true) {
                    return Ok(Change::Begun { cursor });
                }
                return Box::pin(self.attempt()).await;
            }
        };
        loop {
            let text = next_text(socket).await.map_err(|reason| place.broken(reason))?;
            let message = place.parse(&text)?;
            let params = message.params.unwrap_or_default();
            match message.method.as_deref() {
                Some("event") => {
                    let event: Event = place.read(params)?;
                    *cursor = Some(event.cursor.clone());
                    return Ok(Change::Event(Box::new(event)));
                }
                Some("reset") => {
                    let Begun { cursor: from } = place.read(params)?;
                    *cursor = Some(from.clone());
                    return Ok(Change::Reset { cursor: from });
                }
                Some("ended") => {
                    let Ended { error } = place.read(params)?;
                    return Err(place.refused(error));
                }
                // Notifications of a later version say more than this program knows of.
                _ => {}
            }
        }
    }
}

impl Place {
    /// Opens a socket and a watch on it; gives where the watch begins.
    async fn connect(&self, since: Option<&str>) -> Result<(Socket, String), Error> {
        let name = self.address.to_string();
        let call = Call::new(Method::GET, self.address.wire(), name, self.address.namespace())
            .header(CONNECTION, "upgrade")?
            .header(UPGRADE, "websocket")?
            .header(SEC_WEBSOCKET_VERSION, "13")?
            .header(SEC_WEBSOCKET_PROTOCOL, "jsfs.v1")?
            .header(SEC_WEBSOCKET_KEY, &generate_key())?;
        let upgraded = self.client.upgrade(call).await?;
        let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
        let mut params = json!({ "path": "" });
        if let Some(since) = since {
            params["since"] = since.into();
        }
        let watch = json!({ "jsonrpc": "2.0", "id": 1, "method": "watch", "params": params });
        let sent = socket.send(Message::text(watch.to_string())).await;
        sent.map_err(|error| self.broken(error.to_string()))?;
        loop {
            let text = next_text(&mut socket).await.map_err(|reason| self.broken(reason))?;
            let message = self.parse(&text)?;
            if message.id == Some(1) {
                return match (message.result, message.error) {
                    (Some(Begun { cursor }), _) => Ok((socket, cursor)),
                    (None, Some(refusal)) => Err(self.refused(refusal.data)),
                    (None, None) => Err(self.unexpected("an answer without a result".to_owned())),
                };
            }
        }
    }

    fn parse(&self, text: &str) -> Result<Incoming, Error> {
        serde_json::from_str(text).map_err(|error| self.unexpected(error.to_string()))
    }

    fn read<T: serde::de::DeserializeOwned>(&self, params: Value) -> Result<T, Error> {
        serde_json::from_value(params).map_err(|error| self.unexpected(error.to_string()))
    }

    fn refused(&self, problem: Problem) -> Error {
        Error::Refused {
            subject: self.address.to_string(),
            problem,
            credential: self.client.has_credential(),
        }
    }

    fn broken(&self, reason: String) -> Error {
        Error::Broken { node: self.client.node().to_string(), subject: self.address.to_string(), reason }
    }

    fn unexpected(&self, reason: String) -> Error {
        self.client.unexpected(&self.address.to_string(), reason)
    }
}

/// The next text message; pings are answered on the way. The error is the reason why there is none.
async fn next_text(socket: &mut Socket) -> Result<Utf8Bytes, String> {
    loop {
        match tokio::time::timeout(SILENCE_MAX, socket.next()).await {
            Err(_) => return Err("nothing came for too long".to_owned()),
            Ok(None) => return Err("it was closed".to_owned()),
            Ok(Some(Err(error))) => return Err(error.to_string()),
            Ok(Some(Ok(Message::Text(text)))) => return Ok(text),
            Ok(Some(Ok(Message::Close(frame)))) => {
                let reason = frame.map(|frame| format!("{}: {}", u16::from(frame.code), frame.reason));
                return Err(reason.unwrap_or_else(|| "it was closed".to_owned()));
            }
            Ok(Some(Ok(_))) => {}
        }
    }
}

/// Whether trying again later can help.
fn passes(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::Broken { .. } | Error::Stalled { .. } => true,
        error => matches!(error.status(), Some(429 | 500 | 502 | 503 | 504)),
    }
}
