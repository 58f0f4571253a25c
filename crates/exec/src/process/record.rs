//! What a process is, and what is put away with its image: the record, and the calls and bodies under way.

use crate::{
    Authority, Source,
    process::keep::KeepError,
    wire::{Handler, Kind},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes of one piece of what is put away beside the image.
const PIECE: usize = 256 << 10;

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for its turn.
    Queued,
    /// It runs.
    Running,
    /// It waits for input and nothing else.
    Waiting,
    /// It is put away and waits to be taken up.
    Checkpointed,
    /// It ended by itself.
    Done,
    /// It ended because something went wrong.
    Failed,
    /// It was asked to stop, and has.
    Stopped,
}

impl State {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Checkpointed => "checkpointed",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Stopped)
    }
}

/// By whose authority a process was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Starter {
    /// The key of the program's address.
    Owner,
    /// The token with this id.
    Token(String),
}

/// The head of the answer of a process that handles a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The fields.
    pub headers: Vec<(String, String)>,
}

/// A process as it is kept. Holds tokens: no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) address: String,
    pub(crate) starter: Starter,
    /// What it acts with.
    pub(crate) tokens: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) depth: u8,
    pub(crate) kind: Kind,
    pub(crate) path: String,
    pub(crate) base: String,
    /// The hash of the program's text.
    pub(crate) program: [u8; 32],
    pub(crate) handler: Handler,
    pub(crate) params: String,
    pub(crate) state: State,
    /// Counts up with everyone who takes the process over: who has a smaller number has lost it.
    pub(crate) lease: u64,
    /// The base image that its image belongs to; none before the first checkpoint.
    pub(crate) engine: Option<[u8; 32]>,
    pub(crate) started_ms: u64,
    pub(crate) ended_ms: Option<u64>,
    pub(crate) cpu_us: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) output_bytes: u64,
    pub(crate) output_from: u64,
    pub(crate) inputs_taken: u64,
    pub(crate) checkpoints: u64,
    pub(crate) resumes: u32,
    pub(crate) restarts: u32,
    /// Ends of the worker since the last checkpoint.
    pub(crate) crashes: u32,
    /// When the worker ended while it did something, lately; ms since 1970.
    #[serde(default)]
    pub(crate) crash_times: Vec<u64>,
    /// Whether it was begun, of what begins again from its beginning.
    #[serde(default)]
    pub(crate) begun: bool,
    pub(crate) stopping: bool,
    pub(crate) error: Option<String>,
    pub(crate) response: Option<Response>,
    /// How many pieces the program's text takes, and what is put away beside the image.
    pub(crate) source_pieces: usize,
    pub(crate) saved_pieces: usize,
}

impl Record {
    pub(crate) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, KeepError> {
        serde_json::from_slice(bytes)
            .map_err(|error| KeepError(format!("a process does not decode: {error}")))
    }

    pub(crate) fn authority(&self) -> Authority {
        Authority { tokens: self.tokens.clone().into(), hosts: self.hosts.clone().into(), depth: self.depth }
    }

    /// Host and port at which the program was reached when it was started.
    pub(crate) fn home(&self) -> String {
        #[derive(Deserialize)]
        struct Told {
            base: String,
        }
        let base = serde_json::from_str(&self.params).ok().and_then(|Told { base }| base.parse().ok());
        let home = base.and_then(|base: http::Uri| Some(base.authority()?.as_str().to_owned()));
        home.unwrap_or_default()
    }

    pub(crate) fn source(&self, bytes: Bytes) -> Source {
        Source { kind: self.kind, path: self.path.clone(), base: self.base.clone(), bytes }
    }
}

/// A call that the program waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedCall {
    pub(crate) id: u32,
    pub(crate) operation: String,
    pub(crate) params: String,
    pub(crate) bytes: Option<Vec<u8>>,
}

/// Where the rest of a body comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Rest {
    /// It is here, all of it.
    Kept(Vec<u8>),
    /// The same version is asked for again.
    Again { url: String, etag: String },
    /// Nowhere.
    Lost,
}

/// A body that the program may read on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedBody {
    pub(crate) id: u32,
    pub(crate) taken: u64,
    pub(crate) is_ended: bool,
    pub(crate) rest: Rest,
}

/// A body that the program sends piece by piece: what came of it so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedUpload {
    pub(crate) id: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_closed: bool,
}

/// What is put away beside the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) calls: Vec<SavedCall>,
    pub(crate) bodies: Vec<SavedBody>,
    pub(crate) uploads: Vec<SavedUpload>,
}

impl Saved {
    pub(crate) fn encode(&self) -> Vec<Bytes> {
        // Encoding into memory does not fail.
        cut(&postcard::to_stdvec(self).unwrap_or_default().into())
    }

    pub(crate) fn decode(pieces: &[Bytes]) -> Result<Self, KeepError> {
        let error = |error| KeepError(format!("what is kept of a process does not decode: {error}"));
        postcard::from_bytes(&pieces.concat()).map_err(error)
    }
}

/// Bytes in pieces.
pub(crate) fn cut(bytes: &Bytes) -> Vec<Bytes> {
    (0..bytes.len()).step_by(PIECE).map(|at| bytes.slice(at..bytes.len().min(at + PIECE))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_away_comes_back() {
        let saved = Saved {
            calls: vec![SavedCall {
                id: 7,
                operation: "fetch".into(),
                params: "{}".into(),
                bytes: Some(vec![255; 600_000]),
            }],
            bodies: vec![SavedBody { id: 3, taken: 9, is_ended: false, rest: Rest::Lost }],
            uploads: vec![SavedUpload { id: 7, bytes: vec![2], is_closed: true }],
        };
        let pieces = saved.encode();
        assert_eq!(pieces.len(), 3);
        assert_eq!(Saved::decode(&pieces).unwrap(), saved);
        assert!(Saved::decode(&pieces[1..]).is_err());
    }
}
