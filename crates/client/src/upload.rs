//! Where the bytes of an upload come from.
//!
//! Files are opened at the moment of sending and again for a repetition; standard input can be sent once. A file whose length
//! changes while it is read fails the upload, and a body that is cut off stores nothing.

use crate::error::Error;
use crate::transport::Activity;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use reqwest::Body;
use std::fs::Metadata;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

const READ_BYTES: usize = 256 * 1024;

/// The bytes of an upload.
pub enum Source {
    /// In memory.
    Bytes(Bytes),
    /// A regular file.
    File(PathBuf),
    /// A regular file from some place on.
    Part(Part),
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
            Source::Part(part) => write!(f, "Part({} from {})", part.path.display(), part.offset),
            Source::Reader(_) => f.write_str("Reader"),
            Source::Spent => f.write_str("Spent"),
        }
    }
}

/// The rest of a file that is still what it was when its beginning was sent.
#[derive(Debug, Clone)]
pub struct Part {
    pub(crate) path: PathBuf,
    pub(crate) stamp: Stamp,
    pub(crate) offset: u64,
}

/// By what a file is known to be unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) length: u64,
    pub(crate) modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp { length: metadata.len(), modified: metadata.modified().ok() }
    }

    /// The stamp of a regular file; none where it is no such or cannot be asked, which whoever opens it will hear.
    pub(crate) async fn read(path: &Path) -> Option<Stamp> {
        let metadata = tokio::fs::metadata(path).await.ok()?;
        metadata.is_file().then(|| Stamp::of(&metadata))
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
        matches!(self, Source::Bytes(_) | Source::File(_) | Source::Part(_))
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
                let (stream, length) = file_stream(path, None).await?;
                Ok((Body::wrap_stream(counted(stream, activity)), Some(length)))
            }
            Source::Part(part) => {
                *self = Source::Part(part.clone());
                let (stream, length) = file_stream(part.path.clone(), Some(&part)).await?;
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

/// Exactly as many bytes as the file has now, or those of a part, or an error.
async fn file_stream(
    path: PathBuf,
    part: Option<&Part>,
) -> Result<(impl Stream<Item = Result<Bytes, SourceError>> + Send + use<>, u64), SourceError> {
    let failed = |error: std::io::Error| SourceError { path: path.clone(), reason: error.to_string() };
    let mut file = File::open(&path).await.map_err(failed)?;
    let metadata = file.metadata().await.map_err(failed)?;
    if !metadata.is_file() {
        return Err(SourceError {
            path,
            reason: "it is not a regular file; send it through standard input (-)".into(),
        });
    }
    let changed =
        SourceError { path: path.clone(), reason: "it changed while it was being sent; try again".into() };
    let mut length = metadata.len();
    if let Some(part) = part {
        if part.stamp != Stamp::of(&metadata) {
            return Err(changed);
        }
        file.seek(SeekFrom::Start(part.offset)).await.map_err(failed)?;
        length = length.saturating_sub(part.offset);
    }
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

/// Whether a text is a media type that a header can carry.
pub fn is_content_type(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    is_plain && text.parse::<mime_guess::Mime>().is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn collect(path: PathBuf) -> Result<Vec<u8>, SourceError> {
        let (stream, _) = file_stream(path, None).await?;
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
            let (stream, _) = file_stream(path.clone(), None).await.unwrap();
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
