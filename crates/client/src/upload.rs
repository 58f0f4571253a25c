//! Where the bytes of an upload come from.
//!
//! Files are opened at the moment of sending and again for a repetition; standard input can be sent once. A file whose length
//! changes while it is read fails the upload, and a body that is cut off stores nothing.

use crate::error::Error;
use crate::transport::Activity;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use reqwest::Body;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::ReaderStream;

const READ_BYTES: usize = 256 * 1024;

/// The bytes of an upload.
pub enum Source {
    /// In memory.
    Bytes(Bytes),
    /// A regular file.
    File(PathBuf),
    /// Anything that can be read once, of unknown length.
    Reader(Box<dyn AsyncRead + Send + Unpin>),
    /// A reader that was used up.
    Spent,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Source::File(path) => write!(f, "File({})", path.display()),
            Source::Reader(_) => f.write_str("Reader"),
            Source::Spent => f.write_str("Spent"),
        }
    }
}

/// An error of the source, found again inside reqwest's error.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct SourceError {
    pub(crate) path: PathBuf,
    pub(crate) reason: String,
}

impl From<SourceError> for Error {
    fn from(error: SourceError) -> Error {
        Error::Source { path: error.path, reason: error.reason }
    }
}

impl Source {
    /// Whether the same bytes can be sent again.
    pub(crate) fn repeatable(&self) -> bool {
        matches!(self, Source::Bytes(_) | Source::File(_))
    }

    /// A body, and its length where it is known. A reader is used up by this.
    pub(crate) async fn body(&mut self, activity: &Activity) -> Result<(Body, Option<u64>), SourceError> {
        match std::mem::replace(self, Source::Spent) {
            Source::Bytes(bytes) => {
                *self = Source::Bytes(bytes.clone());
                activity.moved(bytes.len() as u64);
                Ok((Body::from(bytes.clone()), Some(bytes.len() as u64)))
            }
            Source::File(path) => {
                *self = Source::File(path.clone());
                let (stream, length) = file_stream(path).await?;
                Ok((Body::wrap_stream(counted(stream, activity)), Some(length)))
            }
            Source::Reader(reader) => {
                let path = PathBuf::from("-");
                let stream = ReaderStream::with_capacity(reader, READ_BYTES)
                    .map_err(move |error| SourceError { path: path.clone(), reason: error.to_string() });
                Ok((Body::wrap_stream(counted(stream, activity)), None))
            }
            Source::Spent => {
                Err(SourceError { path: "-".into(), reason: "standard input was read already".into() })
            }
        }
    }
}

/// Exactly as many bytes as the file has now, or an error.
async fn file_stream(
    path: PathBuf,
) -> Result<(impl Stream<Item = Result<Bytes, SourceError>> + Send, u64), SourceError> {
    let failed = |error: std::io::Error| SourceError { path: path.clone(), reason: error.to_string() };
    let file = File::open(&path).await.map_err(failed)?;
    let metadata = file.metadata().await.map_err(failed)?;
    if !metadata.is_file() {
        return Err(SourceError {
            path,
            reason: "it is not a regular file; send it through standard input (-)".into(),
        });
    }
    let length = metadata.len();
    let changed =
        SourceError { path: path.clone(), reason: "it changed while it was being sent; try again".into() };
    // One byte more than promised is read so that a file that grew is noticed.
    let chunks = ReaderStream::with_capacity(file.take(length.saturating_add(1)), READ_BYTES)
        .map_err(move |error| SourceError { path: path.clone(), reason: error.to_string() })
        .map(Some)
        .chain(stream::iter([None]));
    let checked = stream::unfold(
        (Box::pin(chunks), length, Some(changed)),
        |(mut chunks, left, mut changed)| async move {
            let item = match chunks.next().await? {
                Some(Ok(bytes)) => match left.checked_sub(bytes.len() as u64) {
                    Some(rest) => return Some((Ok(bytes), (chunks, rest, changed))),
                    None => Err(changed.take()?),
                },
                Some(Err(error)) => Err(error),
                None if left == 0 => return None,
                None => Err(changed.take()?),
            };
            Some((item, (chunks, left, None)))
        },
    );
    Ok((checked, length))
}

fn counted(
    stream: impl Stream<Item = Result<Bytes, SourceError>> + Send + 'static,
    activity: &Activity,
) -> impl Stream<Item = Result<Bytes, SourceError>> + Send + 'static {
    let activity = activity.clone();
    stream.inspect_ok(move |bytes| activity.moved(bytes.len() as u64))
}

/// The content type that a file name suggests; text gets `charset=utf-8`, unknown names `None`.
pub fn content_type_of(name: &Path) -> Option<String> {
    let mime = mime_guess::from_path(name).first()?;
    Some(if mime.type_() == "text" { format!("{mime}; charset=utf-8") } else { mime.to_string() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn collect(path: PathBuf) -> Result<Vec<u8>, SourceError> {
        let (stream, _) = file_stream(path).await?;
        Ok(stream.try_collect::<Vec<_>>().await?.concat())
    }

    #[tokio::test]
    async fn a_file_is_sent_as_it_is_and_a_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for size in [0, 1, READ_BYTES, READ_BYTES + 1] {
            let path = directory.path().join("file");
            std::fs::write(&path, vec![7; size]).unwrap();
            assert_eq!(collect(path).await.unwrap().len(), size);
        }
        assert!(collect(directory.path().to_owned()).await.is_err());
    }

    #[tokio::test]
    async fn a_file_that_grows_or_shrinks_fails_the_upload() {
        let directory = tempfile::tempdir().unwrap();
        for new in [0, 5, READ_BYTES * 3, READ_BYTES * 4 + 1] {
            let path = directory.path().join("file");
            std::fs::write(&path, vec![7; READ_BYTES * 4]).unwrap();
            let (stream, _) = file_stream(path.clone()).await.unwrap();
            std::fs::write(&path, vec![8; new]).unwrap();
            let result = stream.try_collect::<Vec<_>>().await;
            assert!(result.unwrap_err().reason.contains("changed"), "{new}");
        }
    }

    #[test]
    fn content_types_follow_the_name() {
        let guess = |name: &str| content_type_of(Path::new(name));
        assert_eq!(guess("a.html").as_deref(), Some("text/html; charset=utf-8"));
        assert_eq!(guess("a.PNG").as_deref(), Some("image/png"));
        assert_eq!(guess("a.js").as_deref(), Some("text/javascript; charset=utf-8"));
        assert_eq!(guess("a.json").as_deref(), Some("application/json"));
        assert_eq!(guess("LICENSE"), None);
    }
}
