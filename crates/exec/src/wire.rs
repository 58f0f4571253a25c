//! What node and worker say to each other, over one socket.
//!
//! A frame is the length of the rest (u32, little-endian), the length of the head (u32), the head in postcard's encoding, and bytes that belong to
//! it. Both ends are the same build, so the encoding needs no versions; it is bounded all the same, because the worker runs what strangers
//! wrote and may be theirs after a fault: the node takes nothing from it that it would not take from them.

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;

/// Most bytes of one frame.
pub const FRAME_MAX: usize = 96 << 20;

/// One run, as node and worker call it.
pub type RunId = u64;

/// What a program is, as far as the worker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// An ECMAScript module, or a script of the JSFS-SX experiment.
    JavaScript,
    /// A WebAssembly component or core module.
    Wasm,
}

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Handler {
    /// A request.
    Fetch,
    /// One part of an input.
    Map,
    /// The values of the parts.
    Reduce,
    /// A process.
    Main,
    /// A message to a process.
    Message,
    /// A script of the JSFS-SX experiment.
    Script,
}

impl Handler {
    /// The name that the guest knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Map => "map",
            Self::Reduce => "reduce",
            Self::Main => "main",
            Self::Message => "message",
            Self::Script => "script",
        }
    }

    /// The name among the handlers of a program that does whatever its arguments say.
    pub const COMMAND: &str = "command";

    /// Whether the same input must give the same result: no clock, no randomness, no requests.
    pub fn is_deterministic(self) -> bool {
        matches!(self, Self::Map | Self::Reduce)
    }
}

/// What one run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// CPU time, ms.
    pub cpu_ms: u64,
    /// Wall time, ms.
    pub wall_ms: u64,
    /// Linear memory, bytes.
    pub memory_bytes: u64,
    /// Bytes that it may answer with.
    pub output_bytes: u64,
    /// Requests that it may make.
    pub requests: u32,
    /// Bytes that it may log.
    pub log_bytes: u64,
}

/// Which bound a run went past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// CPU time.
    Cpu,
    /// Wall time.
    Wall,
    /// Memory.
    Memory,
    /// Output.
    Output,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It had nothing left to do.
    Done,
    /// It went past a bound.
    Exceeded(Bound),
    /// The sandbox ended it: what for, for the log.
    Trapped(String),
    /// It waits for nothing and has not answered.
    Stuck,
    /// Nobody wants its answer any longer.
    Cancelled,
    /// The image that it was to go on from belongs to another version of the engine.
    OtherEngine,
}

/// Why a program was refused when it was prepared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What is wrong.
    pub message: String,
    /// Line and column from 1 for text, 0 and the byte's offset for wasm, where they are known.
    pub position: Option<(u32, u32)>,
}

/// From the node to the worker.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "what the fields are, the words of their variant say")]
pub enum ToWorker {
    /// The base image that was made before, if there is one; first of all.
    Begin { threads: u32, instances: u32, has_base: bool },
    /// Prepare a program; its source is in the bytes.
    Prepare { run: RunId, kind: Kind, name: String, base: String, bounds: Bounds },
    /// The source of a module that a program imports, or why there is none.
    Imported { run: RunId, error: Option<String> },
    /// A prepared program; the bytes are what `Prepared` gave.
    Load { program: [u8; 32] },
    /// Run it. The bytes go to the guest as they are.
    Run { run: RunId, program: [u8; 32], handler: Handler, params: String, bounds: Bounds, has_bytes: bool },
    /// What the guest began has ended.
    Settle { run: RunId, id: u32, ok: bool, json: Option<String>, has_bytes: bool },
    /// Something happened that the program did not ask for.
    Event { run: RunId, event: String, params: String, has_bytes: bool },
    /// Nobody waits any longer.
    Cancel { run: RunId },
    /// Put the run into an image as soon as its stack is empty; it goes on.
    Checkpoint { run: RunId },
    /// Go on from an image, which is in the bytes.
    Resume { run: RunId, bounds: Bounds },
}

/// From the worker to the node.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "what the fields are, the words of their variant say")]
pub enum ToNode {
    /// It is ready: which walls stand around it. Where the base image was made afresh, it is in the bytes, to be kept.
    Ready { has_base: bool, walls: String },
    /// The program is prepared: its handlers and what is needed to run it, in the bytes.
    Prepared { run: RunId, handlers: Vec<String> },
    /// It is no program.
    Refused { run: RunId, fault: Fault },
    /// It imports this module, by URL.
    Import { run: RunId, url: String },
    /// The program is not here; load it and ask again.
    Missing { run: RunId, program: [u8; 32] },
    /// The guest begins something that takes time.
    Start { run: RunId, id: u32, operation: String, params: String, has_bytes: bool },
    /// The guest no longer waits for it.
    Forget { run: RunId, id: u32 },
    /// An event was handed to the guest: there is room for another.
    Taken { run: RunId },
    /// A line for the program's log.
    Log { run: RunId, level: Level, text: String },
    /// The head of the answer, and its body if that is complete.
    Respond { run: RunId, head: String, has_bytes: bool },
    /// The value that a handler came to.
    Answer { run: RunId, json: Option<String>, has_bytes: bool },
    /// The handler failed.
    Fail { run: RunId, name: String, message: String, stack: String },
    /// An image of the run, in pieces of these lengths; the calls under way beside it, by id, as `Start` told them.
    Image { run: RunId, pending: Vec<u32>, base: [u8; 32], pieces: Vec<u32>, cpu_us: u64, memory_bytes: u64 },
    /// A process has nothing under way and waits for input.
    Idle { run: RunId },
    /// The last word about a run.
    Ended { run: RunId, outcome: Outcome, cpu_us: u64, memory_bytes: u64 },
}

impl ToNode {
    /// The run that it is about.
    pub fn run(&self) -> RunId {
        match self {
            Self::Ready { .. } => 0,
            Self::Prepared { run, .. }
            | Self::Refused { run, .. }
            | Self::Import { run, .. }
            | Self::Missing { run, .. }
            | Self::Start { run, .. }
            | Self::Forget { run, .. }
            | Self::Taken { run }
            | Self::Log { run, .. }
            | Self::Respond { run, .. }
            | Self::Answer { run, .. }
            | Self::Fail { run, .. }
            | Self::Image { run, .. }
            | Self::Idle { run }
            | Self::Ended { run, .. } => *run,
        }
    }
}

/// How much a line of a log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// For whoever looks for a mistake.
    Debug,
    /// What happened.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
}

/// A frame, ready to be written.
///
/// # Errors
/// When it would be larger than a frame may be.
pub fn encode<T: Serialize>(head: &T, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(head, vec![0; 8]).map_err(io::Error::other)?;
    let head_len = frame.len() - 8;
    let total = 4 + head_len + bytes.len();
    if total > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a frame is too large"));
    }
    let length = |n: usize| u32::try_from(n).map_err(io::Error::other);
    frame[..4].copy_from_slice(&length(total)?.to_le_bytes());
    frame[4..8].copy_from_slice(&length(head_len)?.to_le_bytes());
    frame.extend_from_slice(bytes);
    Ok(frame)
}

/// The rest of a frame, after its length.
///
/// # Errors
/// When it is malformed.
pub fn decode<T: DeserializeOwned>(mut frame: Bytes) -> io::Result<(T, Bytes)> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a frame is malformed");
    if frame.len() < 4 {
        return Err(malformed());
    }
    let head_len = frame.get_u32_le() as usize;
    if head_len > frame.len() {
        return Err(malformed());
    }
    let head = frame.split_to(head_len);
    Ok((postcard::from_bytes(&head).map_err(|_| malformed())?, frame))
}

/// The length that a frame begins with, within bounds.
///
/// # Errors
/// When it is out of bounds.
pub fn length(four: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(four) as usize;
    match length {
        4..=FRAME_MAX => Ok(length),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a frame's length is out of bounds")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_went() {
        let head =
            ToNode::Start { run: 7, id: 3, operation: "fetch".into(), params: "{}".into(), has_bytes: true };
        let frame = Bytes::from(encode(&head, b"body").unwrap());
        assert_eq!(length(frame[..4].try_into().unwrap()).unwrap(), frame.len() - 4);
        let (back, bytes) = decode::<ToNode>(frame.slice(4..)).unwrap();
        assert_eq!(format!("{back:?}"), format!("{head:?}"));
        assert_eq!(&bytes[..], b"body");
    }

    #[test]
    fn a_frame_that_lies_about_its_lengths_is_refused() {
        assert!(length(u32::MAX.to_le_bytes()).is_err());
        assert!(length(3_u32.to_le_bytes()).is_err());
        assert!(decode::<ToNode>(Bytes::from_static(&[9, 0, 0, 0, 1])).is_err());
        assert!(decode::<ToNode>(Bytes::from_static(&[1, 0, 0, 0, 255])).is_err());
    }
}
