//! The outbox: writes that found too few replicas, until they have enough.
//!
//! Each has a note on this node's shelf, which is durable before the writer hears that the write is kept. A crash loses only when it would
//! have been tried again.

use super::super::{Change, Version};
use super::Step;
use super::alarms::Alarms;
use super::write::{Note, Write};
use jsfs_objects::cbor::{Cbor, FormatError, Reader, Writer};
use jsfs_objects::read_key::Locator;
use jsfs_objects::record::{ENVELOPE_BYTES_MAX, RecordHash};
use std::collections::BTreeMap;

/// Writes that are kept until they have enough replicas.
const OUTBOX_MAX: usize = 16_384;

/// The longest wait between two attempts to complete a kept write.
const RETRY_MS_MAX: u64 = 60_000;

/// Kept writes that are tried at a time.
const TRIED_AT_ONCE: usize = 64;

/// A write as its note has it.
pub(super) struct KeptWrite {
    pub(super) envelope: Vec<u8>,
    pub(super) before: Option<Vec<u8>>,
}

impl Cbor for KeptWrite {
    const NAME: &'static str = "a kept write";
    const BYTES_MAX: usize = 2 * ENVELOPE_BYTES_MAX + 16;

    fn write(&self, out: &mut Writer) {
        out.array(2).bytes(&self.envelope);
        match &self.before {
            Some(before) => out.bytes(before),
            None => out.null(),
        };
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 2)?;
        let envelope = input.bytes(Self::NAME, ENVELOPE_BYTES_MAX)?.to_vec();
        let before =
            if input.null() { None } else { Some(input.bytes(Self::NAME, ENVELOPE_BYTES_MAX)?.to_vec()) };
        Ok(Self { envelope, before })
    }
}

#[derive(Debug)]
struct Waiting {
    version: Version,
    before: Option<Version>,
    /// When it is tried again.
    from_ms: u64,
    tries: u32,
}

type Key = (Locator, RecordHash);

/// Writes that wait for more replicas.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: BTreeMap<Key, Waiting>,
    /// When those are tried again that are not being tried.
    resting: Alarms<Key>,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < OUTBOX_MAX
    }

    pub(super) fn resume(&mut self, note: &[u8], now_ms: u64) -> Option<Version> {
        let KeptWrite { envelope, before } = KeptWrite::from_bytes(note).ok()?;
        let version = Version::kept(envelope).ok()?;
        let before = before.and_then(|bytes| Version::kept(bytes).ok());
        self.insert(version.clone(), before, now_ms);
        Some(version)
    }

    fn insert(&mut self, version: Version, before: Option<Version>, from_ms: u64) {
        let key = (version.locator(), version.hash());
        self.resting.set(key, Some(from_ms));
        self.waiting.insert(key, Waiting { version, before, from_ms, tries: 0 });
    }

    /// Does what a write says about itself.
    pub(super) fn take_note(&mut self, write: &mut Write, step: &mut Step<'_>) {
        let key = (write.version().locator(), write.version().hash());
        match write.take_note() {
            None => {}
            Some(Note::Keep) => {
                let from_ms = step.now_ms + step.timing.retry_ms;
                step.recent.keep(write.version());
                self.insert(write.version().clone(), write.before().cloned(), from_ms);
            }
            Some(Note::Later) => {
                self.resting.set(key, self.waiting.get(&key).map(|waiting| waiting.from_ms));
            }
            Some(Note::Forget) if self.waiting.remove(&key).is_some() => {
                self.resting.set(key, None);
                step.recent.let_go(write.version());
                step.keep(vec![Change::Note(write.note_name(), None)]);
            }
            Some(Note::Forget) => {}
        }
    }

    /// The writes whose time has come, as far as there is room for more operations.
    pub(super) fn due(&mut self, now_ms: u64, retry_ms: u64, room: usize) -> Vec<Write> {
        let due = self.resting.due(now_ms, self.places().min(room)).into_iter();
        due.filter_map(|key| {
            let waiting = self.waiting.get_mut(&key)?;
            self.resting.set(key, None);
            waiting.tries = waiting.tries.saturating_add(1);
            waiting.from_ms = now_ms + (retry_ms << waiting.tries.min(16)).min(RETRY_MS_MAX);
            let mut write = Write::new(waiting.version.clone(), waiting.before.clone(), None);
            write.kept = Some(now_ms);
            Some(write)
        })
        .collect()
    }

    /// How many more can be tried at the same time.
    fn places(&self) -> usize {
        (TRIED_AT_ONCE + self.resting.len()).saturating_sub(self.waiting.len())
    }

    /// When the next is tried; with no place for it, when one ends.
    pub(super) fn wakes_at(&self) -> Option<u64> {
        self.resting.first().filter(|_| self.places() > 0)
    }
}
