//! What a run is told, and what it answers.

use crate::{
    BodyStream,
    parallel::Value,
    sandbox::Unavailable,
    wire::{Bound, Handler},
};
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
    /// What the request gave to `map` and `reduce`.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub parameters: std::collections::BTreeMap<String, String>,
    /// What `map` and `reduce` work on.
    #[serde(flatten)]
    pub given: Given,
}

/// What `map` and `reduce` work on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Given {
    /// For `map`; the content is the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<PartHead>,
    /// For `reduce`: which of the values are bytes, and how many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub binary: Vec<(usize, usize)>,
    /// For `reduce`: JSON of the values, null where they are bytes.
    #[serde(skip)]
    pub values: Option<String>,
    /// For `reduce`: the values that are bytes, one after the other.
    #[serde(skip)]
    pub bytes: Option<Bytes>,
}

/// Where a part lies.
#[derive(Clone, Debug, Serialize)]
pub struct PartHead {
    /// In which object.
    pub address: String,
    /// From which byte on.
    pub offset: u64,
    /// How many bytes.
    pub size: u64,
}

impl Given {
    /// Values to be reduced.
    pub(crate) fn values(values: &[Value]) -> Self {
        let mut given = Self::default();
        let mut json = Vec::from(*b"[");
        let mut bytes = Vec::new();
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            match value {
                Value::Json(text) => json.extend_from_slice(text),
                Value::Binary(own) => {
                    given.binary.push((at, own.len()));
                    bytes.extend_from_slice(own);
                    json.extend_from_slice(b"null");
                }
            }
        }
        json.push(b']');
        given.values = Some(String::from_utf8_lossy(&json).into_owned());
        given.bytes = (!given.binary.is_empty()).then(|| bytes.into());
        given
    }
}

impl Params {
    /// As the guest is given them. The values stand there as they came.
    pub(crate) fn json(&self) -> String {
        let mut json = serde_json::to_string(self).unwrap_or_default();
        if let Some(values) = &self.given.values
            && json.pop() == Some('}')
        {
            json.push_str(",\"parts\":");
            json.push_str(values);
            json.push('}');
        }
        json
    }
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

    /// The same for a run of this handler.
    #[must_use]
    pub fn names_in(self, handler: Handler) -> (&'static str, &'static str) {
        match (self, handler.is_deterministic()) {
            (Self::Cpu, true) => ("CPU time", "programs.part_cpu_ms"),
            _ => self.names(),
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
