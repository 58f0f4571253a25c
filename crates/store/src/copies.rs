//! Makes the copies that are lacking: after `storage.copies` was raised, a location was added, or a crash took one copy of several.
//!
//! A pass looks through the index for blocks and entries in fewer locations than they are to be in, reads each of those blocks where it is whole, and has
//! the committer append it elsewhere as a moved frame, at a bounded rate. Stopped or killed at any point it leaves what was copied; the next pass goes on from there.

use crate::{
    committer::Request,
    compact::{CompactError, Stop},
    error::WriteError,
    frame::{BlockHead, Change, Operation, PACK_HEADER},
    id::{BlockId, Table},
    moving::Fill,
    read::Reading,
    rows::{BLOCK, BlockRow, ENTRY, KeyRow, counted},
    status::Status,
    walk::{Depth, Step, Walk},
};
use bytes::Bytes;
use std::{
    collections::BTreeSet,
    io,
    ops::Bound,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// Most bytes that are handed over at once.
const PART_BYTES: u64 = 1 << 20;
/// A pass that failed, for lack of room for instance, is made again after this time.
const RETRY: Duration = Duration::from_secs(30);

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Blocks that got copies.
    pub blocks: u64,
    /// Entries that got copies.
    pub entries: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// Blocks that stay short of copies because no copy of them can be read.
    pub unreadable: u64,
}

/// Makes copies, one pass at a time: whoever makes them holds the lock around it.
pub(crate) struct Filler {
    reading: Arc<Reading>,
    status: Arc<Status>,
    requests: mpsc::Sender<Request>,
    store_id: [u8; 16],
    stop: Arc<Stop>,
}

/// The thread that makes copies in the background, until none is lacking.
pub(crate) struct Filling {
    stop: Arc<Stop>,
    thread: thread::JoinHandle<()>,
}

impl Filling {
    pub(crate) fn start(filler: Arc<std::sync::Mutex<Filler>>, bytes_per_second: u64) -> io::Result<Self> {
        let stop = crate::sync::hold(&filler).stop.clone();
        let stopped = stop.clone();
        let run = move || {
            loop {
                let result = crate::sync::hold(&filler).run(bytes_per_second);
                match result {
                    Ok(filled) if filled == Filled::default() => return,
                    Ok(filled) => {
                        tracing::info!(?filled, "copies that were lacking were made");
                        return;
                    }
                    Err(CompactError::Stopped) => return,
                    Err(error) => tracing::warn!(%error, "copies are lacking; making them is tried again"),
                }
                if stopped.wait(RETRY) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("jsfs-copies".to_owned()).spawn(run)?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread; at most one part is written meanwhile.
    pub(crate) fn stop(self) {
        self.stop.stop();
        // A panic there has been reported by the panic hook; nothing is lost by it.
        let _ = self.thread.join();
    }
}

impl Filler {
    pub(crate) fn new(
        reading: Arc<Reading>,
        status: Arc<Status>,
        requests: mpsc::Sender<Request>,
        store_id: [u8; 16],
    ) -> Self {
        Self { reading, status, requests, store_id, stop: Arc::default() }
    }

    /// Makes every copy that is lacking now.
    pub(crate) fn run(&self, bytes_per_second: u64) -> Result<Filled, CompactError> {
        let mut filled = Filled::default();
        self.fill_entries(bytes_per_second, &mut filled)?;
        let packs = self.lacking()?;
        for (location, number) in packs {
            match self.fill_from(location, number, bytes_per_second, &mut filled) {
                // Compaction was there first, or the disk fails: what is left is looked at below.
                Err(CompactError::Pack(error)) => tracing::debug!(%error, "a pack is not read for copies"),
                result => result?,
            }
        }
        self.fill_rest(bytes_per_second, &mut filled)?;
        self.lacking()?;
        Ok(filled)
    }

    /// Counts the blocks that lack copies, and names the packs in which they lie.
    fn lacking(&self) -> Result<BTreeSet<(u8, u64)>, CompactError> {
        let mut packs = BTreeSet::new();
        let mut count = 0;
        for row in self.rows(BLOCK) {
            let (_, value) = row?;
            let Some(row) = BlockRow::decode(&value).filter(|row| self.lacks(row)) else { continue };
            count += 1;
            packs.extend(counted(&row.places).next().map(|place| (place.location, place.pack)));
        }
        self.status.lacking.store(count, Ordering::Relaxed);
        Ok(packs)
    }

    fn lacks(&self, row: &BlockRow) -> bool {
        row.references > 0 && !row.places.is_empty() && !self.reading.keeping.is_enough(&row.places)
    }

    fn fill_entries(&self, bytes_per_second: u64, filled: &mut Filled) -> Result<(), CompactError> {
        let active = self.reading.keeping.active();
        let mut fill = Fill::default();
        let mut bytes = 0;
        for row in self.rows(ENTRY) {
            let (key, value) = row?;
            let Some(row) = KeyRow::decode(&value, true) else { continue };
            let has = |at: &u8| row.copies.get(usize::from(*at)).is_some_and(|copies| copies.pack != 0);
            let Some(put) = row.put.as_ref().filter(|_| !active.iter().all(has)) else { continue };
            let change = Change::Put { references: put.references.clone(), value: put.value.clone() };
            let (sequence, index, table) = (row.sequence, row.index, Table(key[1]));
            let operation = Operation { sequence, index, table, key: key.slice(2..), change };
            bytes += operation.encoded_len();
            filled.entries += 1;
            fill.operations.push(operation);
            if bytes >= PART_BYTES {
                self.send(&mut fill, bytes_per_second, filled)?;
                bytes = 0;
            }
        }
        self.send(&mut fill, bytes_per_second, filled)
    }

    /// Copies what lacks copies and lies in this pack. What is damaged in it is left out.
    fn fill_from(
        &self,
        location: u8,
        number: u64,
        bytes_per_second: u64,
        filled: &mut Filled,
    ) -> Result<(), CompactError> {
        let end = self.reading.index.pack(location, number)?.map_or(0, |row| row.end);
        let file = self.reading.pack(location, number)?;
        let mut walk = Walk::new(file, self.store_id, Depth::Everything, PACK_HEADER)?;
        let mut fill = Fill::default();
        let mut bytes = 0;
        loop {
            let frame = match walk.step()? {
                Step::Frame(frame) if frame.start < end => frame,
                Step::Bad(bad) if bad.offset < end => {
                    let resume = match bad.next {
                        Some(next) => Some(next),
                        None => walk.find_frame(bad.offset + 8)?,
                    };
                    let Some(resume) = resume else { break };
                    walk.skip_to(resume);
                    continue;
                }
                _ => break,
            };
            for (head, place, stored) in frame.blocks(location, number) {
                let row = self.reading.row(&head.id)?;
                if !row.is_some_and(|row| self.lacks(&row) && row.places.contains(&place)) {
                    continue;
                }
                bytes += place.weight();
                fill.blocks.push((head.clone(), stored));
                if bytes >= PART_BYTES {
                    self.send(&mut fill, bytes_per_second, filled)?;
                    bytes = 0;
                }
            }
        }
        self.send(&mut fill, bytes_per_second, filled)
    }

    /// What still lacks copies: blocks whose first copy is damaged. They are read wherever they are whole; their tags are with the damaged one.
    fn fill_rest(&self, bytes_per_second: u64, filled: &mut Filled) -> Result<(), CompactError> {
        for row in self.rows(BLOCK) {
            let (key, value) = row?;
            let Some(row) = BlockRow::decode(&value) else { continue };
            let Some(id) = key.get(1..).and_then(|id| id.try_into().ok()).map(BlockId::from_bytes) else {
                continue;
            };
            // The scan shows the index as it was when it began.
            if !self.lacks(&row) || !self.reading.row(&id)?.is_some_and(|row| self.lacks(&row)) {
                continue;
            }
            match self.reading.block(&id) {
                Ok(stored) => {
                    let len = u32::try_from(stored.len()).unwrap_or(u32::MAX);
                    let blocks = vec![(BlockHead { id, len, tags: Vec::new() }, stored)];
                    self.send(&mut Fill { blocks, ..Fill::default() }, bytes_per_second, filled)?;
                }
                Err(error) => {
                    tracing::error!(%error, "a block that lacks copies cannot be read");
                    filled.unreadable += 1;
                }
            }
        }
        Ok(())
    }

    fn send(&self, fill: &mut Fill, bytes_per_second: u64, filled: &mut Filled) -> Result<(), CompactError> {
        let fill = std::mem::take(fill);
        if fill.blocks.is_empty() && fill.operations.is_empty() {
            return Ok(());
        }
        if self.stop.is_stopped() {
            return Err(CompactError::Stopped);
        }
        let started = Instant::now();
        let blocks = fill.blocks.len() as u64;
        let (reply, answer) = oneshot::channel();
        self.requests.blocking_send(Request::Fill { fill, reply }).map_err(|_| WriteError::Closed)?;
        let written = answer.blocking_recv().map_err(|_| WriteError::Closed)??;
        filled.blocks += blocks;
        filled.bytes += written;
        let _ = self.status.lacking.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |lacking| {
            Some(lacking.saturating_sub(blocks))
        });
        self.stop.throttle(written, bytes_per_second, started)
    }

    fn rows(&self, prefix: u8) -> impl Iterator<Item = Result<(Bytes, Bytes), crate::index::IndexError>> {
        self.reading.index.scan(Bound::Included(vec![prefix]), Bound::Excluded(vec![prefix + 1]))
    }
}
