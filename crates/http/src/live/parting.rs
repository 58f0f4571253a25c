//! How a socket ends: what is said to the client, if it is still there.

use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError};
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;

use super::frame::FrameError;
use super::streams::Overdrawn;

/// What a client is told to wait before it comes back to a node that stops, in seconds.
pub(super) const RETRY_AFTER_S: u64 = 1;

/// How a socket ends: the close code and the reason; nothing is said to a client that is gone.
#[derive(Debug)]
pub(crate) struct Parting(Option<(u16, String)>);

impl Parting {
    pub(super) fn with(code: u16, reason: impl Into<String>) -> Self {
        Parting(Some((code, reason.into())))
    }

    /// The credential of the handshake proves nothing.
    pub(crate) fn unauthorized(note: &str) -> Self {
        Self::with(4401, note)
    }

    /// The credential of the handshake was added by a browser, for a page of another origin.
    pub(crate) fn foreign_page() -> Self {
        Self::with(
            4403,
            "a page of this origin cannot use a password that the browser remembers; send authenticate",
        )
    }

    pub(super) fn stopping() -> Self {
        Self::with(1001, format!("the node stops; retry in {RETRY_AFTER_S} s"))
    }

    /// The client closed, or its connection broke.
    pub(super) fn gone() -> Self {
        Parting(None)
    }

    /// What is said.
    pub(super) fn said(self) -> Option<(u16, String)> {
        self.0
    }
}

impl From<WsError> for Parting {
    fn from(error: WsError) -> Self {
        match error {
            WsError::Capacity(CapacityError::MessageTooLong { .. }) => {
                Self::with(1009, "the message is too long")
            }
            WsError::Protocol(error) => Self::with(1002, error.to_string()),
            WsError::Utf8(_) => Self::with(1007, "a text message is UTF-8"),
            _ => Self::gone(),
        }
    }
}

impl From<FrameError> for Parting {
    fn from(error: FrameError) -> Self {
        Self::with(if error == FrameError::Long { 1009 } else { 1002 }, error.to_string())
    }
}

impl From<Overdrawn> for Parting {
    fn from(error: Overdrawn) -> Self {
        Self::with(1008, error.to_string())
    }
}

/// The reason of a close frame has at most 123 bytes (RFC 6455 §5.5).
pub(super) fn short(reason: &str) -> Utf8Bytes {
    let end = (0..=reason.len().min(123)).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
    reason[..end].into()
}
