//! Large files: uploads that go on after a broken connection (tus 1.0, `docs/http.md`).
//!
//! Invariants: bytes are sent again only from where the node stands; waiting and repeating are bounded, and the bound begins anew with every
//! byte that the node keeps; a file that changes on the way fails the upload and is never stored as a mixture. The counter never counts a byte twice.

use crate::address::Address;
use crate::error::Error;
use crate::model::{Metadata, ObjectInfo};
use crate::object::Write;
use crate::transport::{Call, Client, Counter, Payload};
use crate::upload::{Part, Source, Stamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Files from this size on are sent this way: below it sending all again costs less than asking.
pub(crate) const RESUMABLE_BYTES: u64 = 64 << 20;

/// How often in a row an upload is tried without one byte more being kept.
const FRUITLESS_MAX: u32 = 10;
const WAIT_FIRST: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(30);

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Where the URLs of unfinished uploads are remembered between runs of a program.
pub trait Memory: Send + Sync {
    /// The path that was noted for this upload.
    fn recall(&self, upload: &str) -> Option<String>;
    /// Notes the path of an upload; `None` forgets it.
    fn note(&self, upload: &str, path: Option<&str>);
}

/// One upload of one file.
struct Upload<'a> {
    client: &'a Client,
    address: &'a Address,
    path: &'a Path,
    stamp: Stamp,
    write: &'a Write,
    counter: Option<Counter>,
    /// Bytes that the counter has been told of.
    counted: Arc<AtomicU64>,
}

impl Client {
    pub(crate) async fn put_resumable(
        &self,
        address: &Address,
        path: &Path,
        stamp: Stamp,
        write: Write,
    ) -> Result<Metadata, Error> {
        let counter = write.counter.clone();
        let counted = Arc::default();
        Upload { client: self, address, path, stamp, write: &write, counter, counted }.run().await
    }
}

impl Upload<'_> {
    async fn run(&self) -> Result<Metadata, Error> {
        let (mut location, mut offset) = self.begin_or_recall().await?;
        let (mut fruitless, mut wait) = (0, WAIT_FIRST);
        loop {
            let error = match self.send(&location, offset).await {
                Ok(metadata) => return self.done(metadata),
                Err(error) if is_passing(&error) => error,
                Err(error) => return Err(error),
            };
            let stands = loop {
                if fruitless == FRUITLESS_MAX {
                    return Err(error);
                }
                tokio::time::sleep(wait).await;
                (fruitless, wait) = (fruitless + 1, (wait * 2).min(WAIT_MAX));
                match self.stands(&location).await {
                    Ok(stands) => break stands,
                    Err(error) if is_passing(&error) => {}
                    Err(error) if error.status() == Some(404) => break None,
                    Err(error) => return Err(error),
                }
            };
            match stands {
                Some(stands) if stands == self.stamp.length => return self.done(self.describe().await?),
                Some(stands) => {
                    if stands > offset {
                        (fruitless, wait) = (0, WAIT_FIRST);
                    }
                    offset = stands;
                }
                // Expired or given up: from the beginning.
                None => (location, offset) = (self.begin().await?, 0),
            }
        }
    }

    fn done(&self, metadata: Metadata) -> Result<Metadata, Error> {
        self.note(None);
        self.count_to(self.stamp.length);
        Ok(metadata)
    }

    /// The upload that an earlier run began, if the node still has it; else a new one.
    async fn begin_or_recall(&self) -> Result<(String, u64), Error> {
        let noted = self.write.memory.as_ref().and_then(|memory| memory.recall(&self.name()));
        if let Some(location) = noted
            && let Ok(Some(offset)) = self.stands(&location).await
            && offset < self.stamp.length
        {
            return Ok((location, offset));
        }
        Ok((self.begin().await?, 0))
    }

    async fn begin(&self) -> Result<String, Error> {
        let mut call = self.call(Method::POST, &self.address.wire())?;
        call = call.header(UPLOAD_LENGTH, &self.stamp.length.to_string())?;
        if let Some(content_type) = &self.write.content_type {
            call = call.header(HeaderName::from_static("x-content-type"), content_type)?;
        }
        if let Some(private) = self.write.private {
            call =
                call.header(HeaderName::from_static("x-private"), if private { "true" } else { "false" })?;
        }
        let response = self.client.send(call).await?;
        let location = text(response.headers(), &LOCATION).filter(|path| path.starts_with("/.jsfs/uploads/"));
        let location = location.map(str::to_owned).ok_or_else(|| {
            let reason = "it named no place for the upload".to_owned();
            self.client.unexpected(&self.address.to_string(), reason)
        })?;
        self.note(Some(&location));
        Ok(location)
    }

    /// Sends everything from `offset` on.
    async fn send(&self, location: &str, offset: u64) -> Result<Metadata, Error> {
        let mut call = self.call(Method::PATCH, location)?;
        call = call.header(UPLOAD_OFFSET, &offset.to_string())?;
        call = call.header(CONTENT_TYPE, "application/offset+octet-stream")?;
        call = call.header(PREFER, "return=representation")?;
        call.payload =
            Payload::Source(Source::Part(Part { path: self.path.to_owned(), stamp: self.stamp, offset }));
        call.counter = Some(self.counter_from(offset));
        self.client.send_json(call).await
    }

    /// How many bytes the node has; none where it knows of no such upload.
    async fn stands(&self, location: &str) -> Result<Option<u64>, Error> {
        match self.client.send(self.call(Method::HEAD, location)?).await {
            Ok(response) => {
                let offset = text(response.headers(), &UPLOAD_OFFSET).and_then(|text| text.parse().ok());
                let reason = || "it does not say where the upload stands".to_owned();
                let subject = self.address.to_string();
                offset.map(Some).ok_or_else(|| self.client.unexpected(&subject, reason()))
            }
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the finished object is, where the answer that said so was lost.
    async fn describe(&self) -> Result<Metadata, Error> {
        let ObjectInfo { size, content_type, etag, version, private, sha256, .. } =
            self.client.head(self.address, None).await?;
        let mut other = Map::new();
        if let Some(sha256) = sha256 {
            other.insert("sha256".into(), Value::String(sha256));
        }
        Ok(Metadata {
            url: format!("{}{}", self.client.node(), self.address.wire()),
            address: self.address.to_string(),
            version: version.unwrap_or_default(),
            private: private.unwrap_or_default(),
            content_type: content_type.unwrap_or_default(),
            file_size: size.unwrap_or_default(),
            etag: etag.unwrap_or_default(),
            other,
        })
    }

    fn call(&self, method: Method, target: &str) -> Result<Call, Error> {
        let subject = self.address.to_string();
        Call::new(method, target.to_owned(), subject, self.address.namespace()).header(TUS_RESUMABLE, "1.0.0")
    }

    /// Counts bytes that are read from `offset` on, each once however often it is sent.
    fn counter_from(&self, offset: u64) -> Counter {
        self.count_to(offset);
        let (counter, counted) = (self.counter.clone(), Arc::clone(&self.counted));
        let place = AtomicU64::new(offset);
        Arc::new(move |bytes| {
            let now = place.fetch_add(bytes, Ordering::Relaxed) + bytes;
            count(counter.as_ref(), &counted, now);
        })
    }

    fn count_to(&self, place: u64) {
        count(self.counter.as_ref(), &self.counted, place);
    }

    /// What names this upload in a memory: the same file, as it is now, to the same place with the same properties.
    fn name(&self) -> String {
        let Stamp { length, modified } = self.stamp;
        let Write { content_type, private, .. } = self.write;
        let path = std::path::absolute(self.path).unwrap_or_else(|_| self.path.to_owned());
        let node = self.client.node();
        format!(
            "{node}\n{}\n{}\n{length}\n{modified:?}\n{content_type:?}\n{private:?}",
            self.address,
            path.display()
        )
    }

    fn note(&self, location: Option<&str>) {
        if let Some(memory) = &self.write.memory {
            memory.note(&self.name(), location);
        }
    }
}

fn count(counter: Option<&Counter>, counted: &AtomicU64, place: u64) {
    let before = counted.fetch_max(place, Ordering::Relaxed);
    if let (Some(counter), Some(more)) = (counter, place.checked_sub(before).filter(|more| *more > 0)) {
        counter(more);
    }
}

/// Whether trying again can help.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Broken { .. } | Error::Stalled { .. } | Error::Unreachable { .. } => true,
        error => {
            matches!(error.status(), Some(408 | 409 | 423 | 429 | 500 | 502 | 503 | 504)) || is_cut_off(error)
        }
    }
}

/// A node, or a proxy before it, may call a body malformed that was cut off on the way.
fn is_cut_off(error: &Error) -> bool {
    matches!(error, Error::Refused { problem, .. }
        if problem.status == StatusCode::BAD_REQUEST.as_u16() && problem.detail.contains("cut off"))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::{AtomicU64, Counter, count};
    use std::sync::{Arc, Mutex};

    #[test]
    fn bytes_that_are_sent_again_are_not_counted_again() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let counter: Counter = {
            let told = Arc::clone(&told);
            Arc::new(move |bytes| told.lock().expect("no panic").push(bytes))
        };
        let counted = AtomicU64::new(0);
        for place in [10, 30, 20, 30, 31] {
            count(Some(&counter), &counted, place);
        }
        assert_eq!(*told.lock().expect("no panic"), [10, 20, 1]);
    }
}
