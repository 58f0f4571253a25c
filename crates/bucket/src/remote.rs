//! The bucket: what is asked of it, by whom, and how long that may take.
//!
//! The store below which this lies waits for its disks, so each call here waits too, while the request runs on threads of the bucket's own. Errors name the
//! bucket. What fails for a moment (a connection that broke, 503) is tried again for as long as the location's options say.

use crate::BucketError;
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
    WriteMultipart, aws::AmazonS3Builder, path::Path,
};
use std::{
    fmt,
    future::Future,
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::runtime::Runtime;
use url::Url;

/// How long a request that fails is tried again by default; each attempt has half of it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How many times as long one part of an upload may take.
const UPLOAD: u32 = 8;

/// What goes to the bucket at once, and how many of these are on their way together.
pub(crate) const PART: usize = 8 << 20;
const PARTS: usize = 3;

/// A bucket and a prefix in it: `s3://NAME/PREFIX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    name: String,
    prefix: String,
}

/// A text that names no bucket.
#[derive(Debug, thiserror::Error)]
#[error("a bucket is named s3://NAME or s3://NAME/PREFIX, of letters, digits, dots, dashes and underscores")]
pub struct PlaceError;

impl Place {
    /// Reads `s3://NAME` or `s3://NAME/PREFIX`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        let rest = text.strip_prefix("s3://").ok_or(PlaceError)?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let is_plain =
            |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
        let is_path = prefix.is_empty()
            || prefix.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && is_plain(part));
        if name.is_empty() || name.starts_with('.') || !is_plain(name) || !is_path {
            return Err(PlaceError);
        }
        Ok(Self { name: name.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.as_str() {
            "" => write!(f, "s3://{}", self.name),
            prefix => write!(f, "s3://{}/{prefix}", self.name),
        }
    }
}

/// Who asks.
#[derive(Clone)]
pub struct Keys {
    /// What is public of it.
    pub id: String,
    /// What is not.
    pub secret: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.id)
    }
}

/// What is asked of a bucket.
#[derive(Debug)]
pub(crate) struct Remote {
    store: Arc<dyn ObjectStore>,
    /// The same, with more time for each request: somebody waits for what is read, and nobody for an upload.
    up: Arc<dyn ObjectStore>,
    prefix: Path,
    called: String,
    runtime: Mutex<Option<Runtime>>,
}

impl Remote {
    /// A bucket of Amazon's or of whoever speaks as Amazon does.
    pub(crate) fn connect(
        place: &Place,
        endpoint: Option<&Url>,
        region: &str,
        keys: Option<&Keys>,
        patience: Duration,
    ) -> Result<Self, BucketError> {
        let unusable = |reason: String| BucketError::Unusable { bucket: place.to_string(), reason };
        let client = |answer| {
            let client = ClientOptions::new()
                .with_timeout(answer)
                .with_connect_timeout(patience / 4)
                .with_allow_http(endpoint.is_some_and(|url| url.scheme() == "http"));
            let (init_backoff, max_backoff) = (Duration::from_millis(100), Duration::from_secs(5));
            let backoff = BackoffConfig { init_backoff, max_backoff, base: 2.0 };
            let mut builder = AmazonS3Builder::from_env()
                .with_bucket_name(&place.name)
                .with_region(region)
                .with_client_options(client)
                .with_retry(RetryConfig { backoff, max_retries: 8, retry_timeout: patience });
            if let Some(endpoint) = endpoint {
                let endpoint = endpoint.as_str().trim_end_matches('/');
                builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
            }
            if let Some(keys) = keys {
                builder = builder.with_access_key_id(&keys.id).with_secret_access_key(&keys.secret);
            }
            builder.build().map_err(|error| unusable(error.to_string()))
        };
        let (store, up) = (client(patience / 2)?, client(patience * UPLOAD)?);
        Self::with(Arc::new(store), Arc::new(up), place).map_err(|error| unusable(error.to_string()))
    }

    /// Any object store.
    pub(crate) fn with(
        store: Arc<dyn ObjectStore>,
        up: Arc<dyn ObjectStore>,
        place: &Place,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(2)
            .thread_name("jsfs-bucket")
            .enable_all()
            .build()?;
        Ok(Self {
            store,
            up,
            prefix: Path::from(place.prefix.as_str()),
            called: place.to_string(),
            runtime: Mutex::new(Some(runtime)),
        })
    }

    /// What a person would look for.
    pub(crate) fn called(&self) -> &str {
        &self.called
    }

    fn path(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }

    /// Waits for what runs on the bucket's threads; whoever calls may be on any thread.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let done = async move {
            let _ = answer.send(work.await);
        };
        match &*self.hold() {
            Some(runtime) => drop(runtime.spawn(done)),
            None => return Err(io::ErrorKind::NotConnected.into()),
        }
        match answered.recv() {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_) => Err(io::Error::other(format!("{}: the request was given up", self.called))),
        }
    }

    /// Lets go of the requests on their way: nothing rests on their answers any more. Waiting for them would be forbidden on some threads.
    pub(crate) fn close(&self) {
        if let Some(runtime) = self.hold().take() {
            runtime.shutdown_background();
        }
    }

    fn hold(&self) -> MutexGuard<'_, Option<Runtime>> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: &object_store::Error) -> io::Error {
        let kind = match error {
            object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
                io::ErrorKind::AlreadyExists
            }
            // The store takes this for a place that cannot be reached, and not for damage.
            _ => io::ErrorKind::NotConnected,
        };
        io::Error::new(kind, format!("{}: {error}", self.called))
    }

    /// A small object.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Bytes>> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        match self.wait(async move { store.get(&path).await?.bytes().await }) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a small object where there is none; `AlreadyExists` where there is one.
    pub(crate) fn create(&self, name: &str, bytes: Bytes) -> io::Result<()> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.wait(async move { store.put_opts(&path, bytes.into(), options).await.map(drop) })
    }

    /// Makes a small object, or puts it in the place of another.
    pub(crate) fn replace(&self, name: &str, bytes: Bytes) -> io::Result<()> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        self.wait(async move { store.put(&path, bytes.into()).await.map(drop) })
    }

    /// How long an object is.
    pub(crate) fn size(&self, name: &str) -> io::Result<u64> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        self.wait(async move { Ok(store.head(&path).await?.size) })
    }

    /// How long ago an object was written, by the bucket's own clock, which writing another one asks. None where there is none.
    pub(crate) fn age_of(&self, name: &str, probe: &str) -> io::Result<Option<Duration>> {
        let (store, path, probe) = (Arc::clone(&self.store), self.path(name), self.path(probe));
        let times = self.wait(async move {
            store.put(&probe, Bytes::new().into()).await?;
            let now = store.head(&probe).await?.last_modified;
            Ok(store.head(&path).await?.last_modified.signed_duration_since(now))
        });
        match times {
            Ok(ahead) => Ok(Some((-ahead).to_std().unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes of an object: exactly these, or an error.
    pub(crate) fn range(&self, name: &str, range: Range<u64>) -> io::Result<Bytes> {
        let (store, path, length) = (Arc::clone(&self.store), self.path(name), range.end - range.start);
        let bytes = self.wait(async move { store.get_range(&path, range).await })?;
        if bytes.len() as u64 != length {
            let what = format!("{}: {name} gave {} bytes of {length}", self.called, bytes.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        Ok(bytes)
    }

    /// What there is, with sizes.
    pub(crate) fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let (store, prefix) = (Arc::clone(&self.store), self.prefix.clone());
        self.wait(async move {
            let found = store.list(Some(&prefix));
            found
                .try_filter_map(|meta| async move {
                    Ok(meta.location.filename().map(|name| (name.to_owned(), meta.size)))
                })
                .try_collect()
                .await
        })
    }

    /// Removes an object; that there is none is fine.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        match self.wait(async move { store.delete(&path).await }) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Uploads what `next` gives, part by part, until it gives nothing. The object is there when all of it is, or not at all.
    pub(crate) fn upload(
        &self,
        name: &str,
        length: u64,
        mut next: impl FnMut() -> io::Result<Option<Bytes>> + Send + 'static,
    ) -> io::Result<()> {
        let (store, path, called) = (Arc::clone(&self.up), self.path(name), self.called.clone());
        let told = path.clone();
        let arrived = self.wait(async move {
            let mut writer = WriteMultipart::new_with_chunk_size(store.put_multipart(&path).await?, PART);
            loop {
                writer.wait_for_capacity(PARTS).await?;
                let part;
                (part, next) = tokio::task::spawn_blocking(move || (next(), next)).await?;
                match part {
                    Ok(Some(bytes)) => writer.put(bytes),
                    Ok(None) => break,
                    Err(error) => {
                        let _ = writer.abort().await;
                        return Err(object_store::Error::Generic {
                            store: "the directory",
                            source: error.into(),
                        });
                    }
                }
            }
            writer.finish().await?;
            Ok(store.head(&path).await?.size)
        })?;
        if arrived != length {
            return Err(io::Error::other(format!(
                "{called}: {told} arrived with {arrived} bytes of {length}"
            )));
        }
        Ok(())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for text in ["s3://packs", "s3://my.packs-1/a/b_c"] {
            assert_eq!(Place::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Place::parse("s3://packs/").unwrap().to_string(), "s3://packs");
        for wrong in [
            "packs",
            "s3://",
            "s3:///a",
            "s3://a/../b",
            "s3://a//b",
            "s3://a b",
            "https://a",
            "s3://..",
            "s3://a/b?c",
        ] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
