//! Where processes are kept: what this crate needs of the object layer, which it does not name.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::{fmt, str::FromStr};

/// The name of a process: 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub [u8; 16]);

impl fmt::Display for ProcessId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A text that is no name of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a process is 32 hexadecimal digits in lower case")]
pub struct NoProcessId;

impl FromStr for ProcessId {
    type Err = NoProcessId;

    fn from_str(text: &str) -> Result<Self, NoProcessId> {
        let is_plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 32 || !is_plain {
            return Err(NoProcessId);
        }
        u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| NoProcessId)
    }
}

/// One request among the effects of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// Whose effect it is.
    pub process: ProcessId,
    /// The number of its call.
    pub call: u32,
    /// Which request of that call, where it was redirected.
    pub hop: u8,
    /// What is asked for, and the how-manieth time, where calls have no number that outlives the worker.
    pub request: Option<[u8; 16]>,
}

/// Something could not be kept, or read again: why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeepError(pub String);

/// What changes of a process, all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// What it is now.
    pub record: Bytes,
    /// Its state, in pieces; none leaves it as it is.
    pub pieces: Option<Vec<Bytes>>,
    /// More output, and how many bytes were there before it.
    pub output: Option<(u64, Bytes)>,
    /// Output before this byte is not kept any longer; all of it goes where the number is the greatest there is.
    pub output_from: Option<u64>,
    /// An input.
    pub input: Option<(u64, Bytes)>,
    /// The inputs up to this number were taken.
    pub inputs_to: Option<u64>,
    /// Calls that are not waited for any longer: nobody asks again what they came to.
    pub settled: Vec<u32>,
    /// Nobody asks again what any call came to: numbers begin anew.
    pub unmarks: bool,
    /// Nothing comes after this.
    pub ends: bool,
}

/// Keeps processes over crashes and restarts. What was put is there after it was answered.
pub trait Keep: Send + Sync {
    /// A name that no process has.
    fn fresh(&self) -> ProcessId;

    /// The records of all processes.
    fn all(&self) -> BoxFuture<'_, Result<Vec<(ProcessId, Bytes)>, KeepError>>;

    /// Changes a process, or makes it.
    fn put(&self, id: ProcessId, change: Change) -> BoxFuture<'_, Result<(), KeepError>>;

    /// The pieces that were put last.
    fn pieces(&self, id: ProcessId) -> BoxFuture<'_, Result<Vec<Bytes>, KeepError>>;

    /// Output from a byte on, as much as there is at hand, and where it begins.
    fn output(&self, id: ProcessId, from: u64) -> BoxFuture<'_, Result<Option<(u64, Bytes)>, KeepError>>;

    /// Adds an input.
    fn input(&self, id: ProcessId, number: u64, input: Bytes) -> BoxFuture<'_, Result<(), KeepError>>;

    /// The inputs that were not taken.
    fn inputs(&self, id: ProcessId) -> BoxFuture<'_, Result<Vec<(u64, Bytes)>, KeepError>>;

    /// Forgets a process.
    fn forget(&self, id: ProcessId) -> BoxFuture<'_, Result<(), KeepError>>;
}

#[cfg(test)]
mod tests {
    use super::ProcessId;

    #[test]
    fn a_name_comes_back_as_it_was_written_and_nothing_else_is_one() {
        let id = ProcessId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "ab", "AB".repeat(16).as_str(), "+b".repeat(16).as_str(), "ab".repeat(17).as_str()] {
            assert!(bad.parse::<ProcessId>().is_err(), "{bad}");
        }
    }
}
