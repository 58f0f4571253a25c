//! Operations on objects: write, read, properties, copies and versions.

use crate::address::Address;
use crate::error::Error;
use crate::key::AccessKey;
use crate::model::{Metadata, ObjectInfo, Version};
use crate::program::Program;
use crate::resume::{Memory, RESUMABLE_BYTES};
use crate::transport::{Call, Client, Counter, Payload};
use crate::upload::{Source, Stamp};
use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderName, IF_NONE_MATCH, RANGE};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Says of a read that it is of the source, where the object is a program.
const EXECUTABLE: HeaderName = HeaderName::from_static("x-executable");
const REPLACEMENT_KEY: HeaderName = HeaderName::from_static("x-replacement-access-key");

/// Properties of a write; what is `None` is inherited.
#[derive(Default, Clone)]
pub struct Write {
    /// Content type.
    pub content_type: Option<String>,
    /// Whether reading needs a credential.
    pub private: Option<bool>,
    /// Makes it a program.
    pub program: Option<Program>,
    /// Counts the bytes sent.
    pub counter: Option<Counter>,
    /// Remembers uploads of large files, so that another run goes on with them.
    pub memory: Option<Arc<dyn Memory>>,
    /// It was kept elsewhere before.
    pub moved_in: Option<MovedIn>,
}

/// What an object that was kept elsewhere brings along. It is written only where nothing is yet.
#[derive(Clone)]
pub struct MovedIn {
    /// When it was made and last changed, RFC 3339.
    pub modified: String,
    /// Whose it becomes; else it belongs to its directory's owner.
    pub owner: Option<AccessKey>,
}

/// What part of which version to read.
#[derive(Default, Clone)]
pub struct Get {
    /// First byte, and last byte included where there is one.
    pub range: Option<(u64, Option<u64>)>,
    /// The version; the current one where `None`.
    pub version: Option<u64>,
}

/// An object that is being received.
pub struct Download {
    /// What the headers said.
    pub info: ObjectInfo,
    client: Client,
    subject: String,
    response: Response,
    left: Option<u64>,
}

impl Download {
    /// Length of the body that follows, where the node said it.
    pub fn length(&self) -> Option<u64> {
        self.left
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Broken`] and [`Error::Stalled`] where the transfer ends early.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = self.client.chunk(&self.subject, &mut self.response).await?;
        let moved = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        self.left = self.left.map(|left| left.saturating_sub(moved));
        if chunk.is_none() && self.left.is_some_and(|left| left > 0) {
            return Err(Error::Damaged {
                subject: self.subject.clone(),
                reason: "the transfer ended early".into(),
            });
        }
        Ok(chunk)
    }
}

pub(crate) fn call(method: Method, address: &Address, query: &str) -> Call {
    Call::new(method, format!("{}{query}", address.wire()), address.to_string(), address.namespace())
}

fn query(version: Option<u64>) -> String {
    version.map_or_else(String::new, |version| format!("?version={version}"))
}

/// A method that `http` has no constant for.
pub(crate) fn method(name: &str) -> Method {
    Method::from_bytes(name.as_bytes()).unwrap_or(Method::POST)
}

impl Client {
    /// Writes an object. A large file goes on where it was after a broken connection; everything else is one request.
    ///
    /// # Errors
    /// [`Error`]; on any of them the object is what it was, or (after [`Error::Broken`]) the new one, never a mixture.
    pub async fn put(&self, address: &Address, source: Source, write: Write) -> Result<Metadata, Error> {
        if write.program.is_none()
            && write.moved_in.is_none()
            && let Source::File(path) = &source
            && let Some(stamp) = Stamp::read(path).await
            && stamp.length >= RESUMABLE_BYTES
        {
            return Box::pin(self.put_resumable(address, path, stamp, write)).await;
        }
        let mut call = call(Method::PUT, address, "");
        if let Some(content_type) = &write.content_type {
            call = call.header(CONTENT_TYPE, content_type)?;
        }
        if let Some(private) = write.private {
            call =
                call.header(HeaderName::from_static("x-private"), if private { "true" } else { "false" })?;
        }
        if let Some(program) = &write.program {
            program.describe(&mut call.headers, &address.to_string())?;
        }
        if let Some(moved_in) = &write.moved_in {
            call = call.header(IF_NONE_MATCH, "*")?;
            for name in ["x-created", "x-modified"] {
                call = call.header(HeaderName::from_static(name), &moved_in.modified)?;
            }
            if let Some(owner) = &moved_in.owner {
                call = call.header(REPLACEMENT_KEY, &owner.text())?;
            }
        }
        call.payload = Payload::Source(source);
        call.counter = write.counter;
        self.send_json(call).await
    }

    /// Reads an object; of a program, its source.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, address: &Address, get: &Get) -> Result<Download, Error> {
        let mut call = call(Method::GET, address, &query(get.version)).header(ACCEPT_ENCODING, "identity")?;
        call = call.header(EXECUTABLE, "false")?;
        if let Some((first, last)) = get.range {
            let last = last.map_or_else(String::new, |last| last.to_string());
            call = call.header(RANGE, &format!("bytes={first}-{last}"))?;
        }
        let response = self.send(call).await?;
        let subject = address.to_string();
        if get.range.is_some() && response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(
                self.unexpected(&subject, "it is the whole object, not the part that was asked for".into())
            );
        }
        let left = response.content_length();
        Ok(Download {
            info: ObjectInfo::of(response.headers()),
            client: self.clone(),
            subject,
            response,
            left,
        })
    }

    /// What the node says about an object without its bytes.
    ///
    /// # Errors
    /// [`Error`]; a `HEAD` has no body, so refusals carry the status only.
    pub async fn head(&self, address: &Address, version: Option<u64>) -> Result<ObjectInfo, Error> {
        let call = call(Method::HEAD, address, &query(version)).header(ACCEPT_ENCODING, "identity")?;
        let call = call.header(EXECUTABLE, "false")?;
        Ok(ObjectInfo::of(self.send(call).await?.headers()))
    }

    /// Deletes an object; a version of it is kept as the retention says.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete(&self, address: &Address) -> Result<(), Error> {
        self.send_empty(call(Method::DELETE, address, "")).await
    }

    /// Forgets all versions of an object.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn purge(&self, address: &Address) -> Result<(), Error> {
        self.send_empty(call(Method::DELETE, address, "?purge=true")).await
    }

    /// Changes properties (JSON merge patch).
    ///
    /// # Errors
    /// [`Error`].
    pub async fn patch(&self, address: &Address, properties: &Value) -> Result<(), Error> {
        self.send_empty(call(Method::PATCH, address, "").json(properties)).await
    }

    /// Hands an object or directory over to another key.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn hand_over(&self, address: &Address, to: &AccessKey) -> Result<(), Error> {
        let call = call(Method::PATCH, address, "").header(REPLACEMENT_KEY, &to.text())?;
        self.send_empty(call.json(&serde_json::json!({}))).await
    }

    /// Copies an object, or a directory with all below it, without moving its bytes.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn copy(&self, from: &Address, to: &Address) -> Result<(), Error> {
        self.send_to("COPY", from, to).await
    }

    /// Moves an object, or a directory with all below it, without moving its bytes.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn rename(&self, from: &Address, to: &Address) -> Result<(), Error> {
        self.send_to("MOVE", from, to).await
    }

    async fn send_to(&self, name: &str, from: &Address, to: &Address) -> Result<(), Error> {
        let mut call =
            call(method(name), from, "").header(HeaderName::from_static("destination"), &to.wire())?;
        call.subject = format!("{from} to {to}");
        // A repetition of a move that was done would answer 404.
        call.idempotent = name == "COPY";
        self.send_empty(call).await
    }

    /// All versions, as the node orders them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn versions(&self, address: &Address) -> Result<Vec<Version>, Error> {
        #[derive(Deserialize)]
        struct Versions {
            versions: Vec<Version>,
        }
        Ok(self.send_json::<Versions>(call(Method::GET, address, "?versions")).await?.versions)
    }

    /// Makes a new version that equals version `version`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn restore(&self, address: &Address, version: u64) -> Result<Metadata, Error> {
        self.send_json(call(Method::POST, address, &format!("?restore={version}"))).await
    }
}
