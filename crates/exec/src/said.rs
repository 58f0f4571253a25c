//! What a run is told, and what it answers.

use crate::{BodyStream, sandbox::Unavailable, wire::Bound};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

/// Who asks, as the program is told.
#[derive(Clone, Debug, Serialize)]
pub struct Caller {
    /// "owner", "token" or "anonymous".
    pub kind: &'static str,
    /// The claims of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<serde_json::Value>,
}

/// The head of a request, as the program is told.
#[derive(Clone, Debug, Serialize)]
pub struct FetchHead {
    /// The whole URL.
    pub url: String,
    /// The method.
    pub method: String,
    /// The fields, credentials left out.
    pub headers: Vec<(String, String)>,
    /// Whether a body follows.
    pub body: bool,
}

/// What a run is told at its beginning: `RunParams` in guest/src/host.ts.
#[derive(Clone, Debug, Serialize)]
pub struct Params {
    /// The program's own URL.
    pub base: String,
    /// What its owner stored with it.
    pub env: std::collections::BTreeMap<String, String>,
    /// Who asks.
    pub caller: Caller,
    /// The request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<FetchHead>,
    /// The arguments of a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
}

/// What a program answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: AnswerBody,
}

/// The body of an answer.
pub enum AnswerBody {
    /// All of it.
    Full(Bytes),
    /// Pieces, as they are made.
    Stream(BodyStream),
    /// The connection becomes a WebSocket.
    Socket(Socket),
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Stream(_) => "Stream",
            Self::Socket(_) => "Socket",
        })
    }
}

/// One message of a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// The end.
    Close {
        /// The code of RFC 6455.
        code: u16,
        /// Why.
        reason: String,
    },
}

/// A program's end of a WebSocket.
pub struct Socket {
    /// From the client to the program.
    pub incoming: mpsc::Sender<Frame>,
    /// From the program to the client.
    pub outgoing: mpsc::Receiver<Frame>,
}

/// Why a program did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RunError {
    /// It went past a bound.
    #[error("the program used more {} than a run may", .0.names().0)]
    Exceeded(Bound),
    /// It failed: threw, trapped, or never answered. The log tells more under the run's id.
    #[error("the program failed; its log tells why under the id {id}")]
    Failed {
        /// The run's id.
        id: String,
    },
    /// The worker died with it.
    #[error("the program's worker ended while it ran; try again")]
    Crashed,
    /// Too much runs already.
    #[error("too many programs run at the moment; try again")]
    Busy,
    /// There is no worker.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Bound {
    /// What it bounds, and the setting that says how much.
    #[must_use]
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Cpu => ("CPU time", "programs.cpu_ms"),
            Self::Wall => ("time", "programs.wall_ms"),
            Self::Memory => ("memory", "programs.memory"),
            Self::Output => ("output", "programs.output"),
        }
    }

    /// The setting that bounds a process.
    #[must_use]
    pub fn process_setting(self) -> &'static str {
        match self {
            Self::Cpu => "programs.process_cpu_ms",
            other => other.names().1,
        }
    }
}
