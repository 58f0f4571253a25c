//! Frames over a stream, with a time for each.
//!
//! Whoever sends nonsense, or nothing, costs this node a stream and what it had sent. A call that is dropped half-way leaves the stream in no state
//! to be used again; it is dropped with it.

use futures_util::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use jsfs_federation::wire::{FrameError, frame};
use std::io;
use std::time::Duration;
use thiserror::Error;

/// Why a stream is of no use any more.
#[derive(Debug, Error)]
pub(crate) enum StreamError {
    /// The other side sent what is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The connection failed or was closed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// Nothing came in time.
    #[error("the peer did not answer within {0:?}")]
    Silent(Duration),
    /// It ended where something was awaited.
    #[error("the peer closed the stream")]
    Ended,
}

/// Sends one message.
pub(crate) async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &[u8],
    within: Duration,
) -> Result<(), StreamError> {
    let bytes = frame(message);
    let sending = async {
        stream.write_all(&bytes).await?;
        stream.flush().await
    };
    tokio::time::timeout(within, sending).await.map_err(|_| StreamError::Silent(within))??;
    Ok(())
}

/// The next message of at most `limit` bytes; none where the other side has ended the stream between messages.
pub(crate) async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    limit: usize,
    within: Duration,
) -> Result<Option<Vec<u8>>, StreamError> {
    let receiving = receive_patiently(stream, limit);
    tokio::time::timeout(within, receiving).await.map_err(|_| StreamError::Silent(within))?
}

/// The same, however long it takes.
pub(crate) async fn receive_patiently(
    stream: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> Result<Option<Vec<u8>>, StreamError> {
    let mut length = 0;
    for index in 0..4 {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return if index == 0 { Ok(None) } else { Err(StreamError::Ended) };
        }
        length |= usize::from(byte[0] & 0x7f) << (7 * index);
        if byte[0] & 0x80 != 0 {
            continue;
        }
        if index > 0 && byte[0] == 0 {
            return Err(FrameError::Length.into());
        }
        if length > limit {
            return Err(FrameError::TooLong { length, limit }.into());
        }
        return body(stream, length).await.map(Some);
    }
    Err(FrameError::Length.into())
}

/// Room is made as bytes come, so that a length alone takes none.
async fn body(stream: &mut (impl AsyncRead + Unpin), length: usize) -> Result<Vec<u8>, StreamError> {
    const STEP: usize = 64 << 10;
    let mut bytes = Vec::with_capacity(length.min(STEP));
    while bytes.len() < length {
        let filled = bytes.len();
        bytes.resize(length.min(filled + filled.max(STEP)), 0);
        stream.read_exact(&mut bytes[filled..]).await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => StreamError::Ended,
            _ => error.into(),
        })?;
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{StreamError, receive, send};
    use futures_util::io::Cursor;
    use jsfs_federation::wire::{FrameError, frame};
    use std::time::Duration;

    const SHORTLY: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn messages_go_over_a_stream_and_what_is_too_long_or_cut_does_not() {
        let message: Vec<u8> = (0..200_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let mut sent = Vec::new();
        send(&mut sent, &message, SHORTLY).await.unwrap();
        assert_eq!(sent, frame(&message));
        let mut stream = Cursor::new(sent.clone());
        assert_eq!(receive(&mut stream, message.len(), SHORTLY).await.unwrap().unwrap(), message);
        assert!(receive(&mut stream, 9, SHORTLY).await.unwrap().is_none());
        let refused = receive(&mut Cursor::new(sent.clone()), message.len() - 1, SHORTLY).await;
        assert!(matches!(refused, Err(StreamError::Frame(FrameError::TooLong { .. }))));
        sent.truncate(1_000);
        let cut = receive(&mut Cursor::new(sent), message.len(), SHORTLY).await;
        assert!(matches!(cut, Err(StreamError::Ended)));
        for nonsense in [&[0x80, 0x00][..], &[0xff, 0xff, 0xff, 0xff]] {
            let read = receive(&mut Cursor::new(nonsense.to_vec()), 1 << 28, SHORTLY).await;
            assert!(matches!(read, Err(StreamError::Frame(FrameError::Length))));
        }
    }
}
