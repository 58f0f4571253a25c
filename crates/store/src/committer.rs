//! The committer: the one thread that writes packs and the index.
//!
//! It takes everything that waits, decides each request against the index and what it has decided so far, writes all frames with one call for each location,
//! syncs each location once, applies the result to the index, and only then answers. A request that fails leaves no trace; a batch that
//! cannot be written or synced is cut off the packs again before anyone hears of it.
//!
//! Data frames are not synced on their own: their rows stay in memory until the next commit, or until 16 MiB have gathered. So the index never
//! knows a frame that a power loss could take away.

use crate::{
    commit::{Commit, Committed, NewBlock},
    decide::Decide,
    error::{CommitError, WriteError},
    frame::{EMPTY_FRAME, Kind, Operation},
    index::{IndexError, Pressure},
    log::{FramePlan, LocationLog},
    moving::{Carry, Fill},
    pins::Pin,
    read::Reading,
    rows::{Mark, Tip},
    status::{Alarm, Status},
    store::Limits,
    sync::hold,
    view::{Layer, View},
};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Most requests and bytes that share one sync.
const BATCH_REQUESTS: usize = 1_024;
const BATCH_BYTES: u64 = 8 << 20;
/// Data frames are synced when they have come to this many bytes or rows.
const UNSYNCED_BYTES: u64 = 16 << 20;
const UNSYNCED_ROWS: usize = 20_000;
/// The index is flushed after this many bytes of frames, which bounds what an opening replays.
const FLUSH_BYTES: u64 = 96 << 20;
/// How long a batch waits for the index to catch up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something for the committer to do.
pub(crate) enum Request {
    Append {
        blocks: Vec<NewBlock>,
        reply: oneshot::Sender<Result<Vec<Pin>, WriteError>>,
        permit: OwnedSemaphorePermit,
    },
    Commit {
        commit: Commit,
        reply: oneshot::Sender<Result<Committed, CommitError>>,
        permit: OwnedSemaphorePermit,
    },
    /// Carries a part of a pack over, or leaves it behind.
    Carry {
        carry: Carry,
        reply: oneshot::Sender<Result<u64, WriteError>>,
    },
    /// Writes copies that are lacking.
    Fill {
        fill: Fill,
        reply: oneshot::Sender<Result<u64, WriteError>>,
    },
    /// The pack holds nothing any more.
    Forget {
        location: u8,
        pack: u64,
        is_gone: bool,
        /// Hears the index's number of the change.
        reply: oneshot::Sender<Result<u64, WriteError>>,
    },
    /// Syncs, flushes the index and begins new packs where `roll` says so.
    Settle {
        roll: bool,
        reply: oneshot::Sender<Result<(), WriteError>>,
    },
    /// Something else that needs the packs to itself. It answers by itself, and not at all when it does not come to it.
    Change {
        change: Box<dyn FnOnce(&mut Committer) + Send>,
    },
    Close {
        reply: oneshot::Sender<Result<(), WriteError>>,
    },
}

pub(crate) struct Committer {
    pub(crate) reading: Arc<Reading>,
    pub(crate) status: Arc<Status>,
    pub(crate) limits: Limits,
    pub(crate) logs: Vec<LocationLog>,
    pub(crate) store_id: [u8; 16],
    /// The last frame that was written, and the last one known to be synced everywhere.
    pub(crate) sequence: u64,
    pub(crate) durable: u64,
    unsynced: Layer,
    unsynced_bytes: u64,
    unflushed_bytes: u64,
}

/// A request that was decided, to be answered when the batch is durable.
enum Answer {
    Append(oneshot::Sender<Result<Vec<Pin>, WriteError>>, Vec<Pin>),
    Commit(oneshot::Sender<Result<Committed, CommitError>>, Committed),
    Carry(oneshot::Sender<Result<u64, WriteError>>, u64),
    Done(oneshot::Sender<Result<(), WriteError>>),
}

impl Committer {
    pub(crate) fn new(
        reading: Arc<Reading>,
        status: Arc<Status>,
        limits: Limits,
        logs: Vec<LocationLog>,
        mark: &Mark,
    ) -> Self {
        status.sequence.store(mark.sequence, Ordering::Relaxed);
        status.durable.store(mark.durable, Ordering::Relaxed);
        let committer = Self {
            reading,
            status,
            limits,
            logs,
            store_id: mark.store_id,
            sequence: mark.sequence,
            durable: mark.durable,
            unsynced: Layer::default(),
            unsynced_bytes: 0,
            unflushed_bytes: 0,
        };
        committer.tell_status();
        committer
    }

    /// Works until the store is closed or dropped.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let _alarm = Alarm(self.status.clone());
        while let Some(first) = requests.blocking_recv() {
            let mut batch = Vec::new();
            let mut bytes = 0;
            let mut next = Some(first);
            while let Some(request) = next.take() {
                // Compaction and maintenance have a batch of their own.
                let (weight, is_alone) = request.weight();
                if is_alone {
                    self.process(std::mem::take(&mut batch), bytes);
                    if self.process_alone(request) {
                        return;
                    }
                    bytes = 0;
                } else {
                    bytes += weight;
                    batch.push(request);
                }
                if batch.len() < BATCH_REQUESTS && bytes < BATCH_BYTES {
                    next = requests.try_recv().ok();
                }
            }
            self.process(batch, bytes);
        }
        // Dropped without being closed: leave the packs as a clean end would.
        let _ = self.close();
    }

    /// Decides, writes, syncs, indexes and answers one batch.
    fn process(&mut self, batch: Vec<Request>, bytes: u64) {
        if batch.is_empty() {
            return;
        }
        if let Err(error) = self.make_ready(bytes) {
            batch.into_iter().for_each(|request| request.refuse(&error));
            return;
        }
        let before = (self.sequence, self.logs.iter().map(LocationLog::tip).collect::<Vec<_>>());
        let mut answers = Vec::new();
        let mut permits = Vec::new();
        let reading = self.reading.clone();
        let read_list = |id: &_, row: &_| reading.read_list(id, row);
        let mut unsynced = std::mem::take(&mut self.unsynced);
        let view = View::new(&reading.index, Some(&unsynced), self.logs.len(), &read_list);
        let mut decide = Decide::new(self, view);
        let mut needs_sync = false;
        let mut commits = 0;
        for request in batch {
            match request {
                Request::Append { blocks, reply, permit } => {
                    match decide.append(blocks) {
                        Ok(pins) => answers.push(Answer::Append(reply, pins)),
                        Err(error) => drop(reply.send(Err(error))),
                    }
                    permits.push(permit);
                }
                Request::Commit { commit, reply, permit } => {
                    match decide.commit(commit) {
                        Ok(sequence) => {
                            needs_sync = true;
                            commits += 1;
                            answers.push(Answer::Commit(reply, Committed { sequence }));
                        }
                        Err(error) => drop(reply.send(Err(error))),
                    }
                    permits.push(permit);
                }
                _ => {}
            }
        }
        let (top, held_pins, broken) = decide.finish();
        let result = self.write(before.0, &before.1, broken).map(|()| {
            let blocks = top.placed_blocks().map(|(id, row)| (id, row.clone())).collect::<Vec<_>>();
            let tags = top.found_tags().map(|(tag, row)| (tag, row.clone())).collect::<Vec<_>>();
            unsynced.absorb(top);
            (blocks, tags)
        });
        self.unsynced = unsynced;
        if result.is_err() {
            // Taking the batch back synced what came before it; now that counts as durable too.
            let _ = self.sync();
        }
        let result = result.and_then(|(blocks, tags)| {
            needs_sync |= self.unsynced_bytes >= UNSYNCED_BYTES || self.unsynced.len() >= UNSYNCED_ROWS;
            if needs_sync {
                return self.sync();
            }
            self.reading.publish(blocks, tags);
            Ok(())
        });
        if result.is_ok() {
            self.status.commits.fetch_add(commits, Ordering::Relaxed);
        }
        self.tell_status();
        answers.into_iter().for_each(|answer| answer.send(&result));
        drop(held_pins);
    }

    /// Handles a request that shares its batch with no other. True when the committer is to end.
    fn process_alone(&mut self, request: Request) -> bool {
        match request {
            Request::Carry { carry, reply } => {
                let result = self.carry(carry);
                self.tell_status();
                Answer::Carry(reply, *result.as_ref().unwrap_or(&0)).send(&result.map(drop));
            }
            Request::Fill { fill, reply } => {
                let blocks = fill.blocks.iter().map(|(head, bytes)| (head, bytes.len() as u64));
                let bytes = blocks.map(|(head, len)| len + u64::from(head.encoded_len())).sum::<u64>();
                let bytes = bytes + weight_of(&fill.operations);
                let result = self.alone(bytes, |decide| decide.fill(fill));
                self.tell_status();
                Answer::Carry(reply, *result.as_ref().unwrap_or(&0)).send(&result.map(drop));
            }
            Request::Forget { location, pack, is_gone, reply } => {
                let result = self.forget(location, pack, is_gone);
                self.tell_status();
                Answer::Carry(reply, *result.as_ref().unwrap_or(&0)).send(&result.map(drop));
            }
            Request::Settle { roll, reply } => {
                let result = self.settle(roll);
                self.tell_status();
                Answer::Done(reply).send(&result);
            }
            Request::Change { change } => {
                change(self);
                self.tell_status();
            }
            Request::Close { reply } => {
                let result = self.close();
                Answer::Done(reply).send(&result);
                return true;
            }
            Request::Append { .. } | Request::Commit { .. } => {}
        }
        false
    }

    /// Makes sure that a batch of this size can be written: writes are allowed, the index keeps up, packs have room.
    fn make_ready(&mut self, bytes: u64) -> Result<(), WriteError> {
        if let Some(why) = self.status.read_only() {
            return Err(WriteError::ReadOnly(why));
        }
        let start = Instant::now();
        loop {
            match self.reading.index.pressure() {
                Pressure::None => break,
                Pressure::Wait if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(2)),
                Pressure::Wait => return Err(WriteError::Io("the index does not keep up".to_owned())),
                Pressure::Stuck(why) => {
                    tracing::warn!(why, "writes are refused until the index can be written");
                    return Err(WriteError::NoSpace);
                }
            }
        }
        if self.logs.iter().all(|log| log.has_room(bytes)) {
            return Ok(());
        }
        self.sync()?;
        for log in self.logs.iter_mut().filter(|log| !log.has_room(bytes)) {
            log.roll().map_err(|error| write_error(&log.named(error)))?;
        }
        Ok(())
    }

    /// Writes what was planned, unless deciding broke off. On failure the packs end again where they ended before.
    fn write(&mut self, sequence: u64, tips: &[Tip], broken: Option<WriteError>) -> Result<(), WriteError> {
        if let Some(error) = broken {
            self.logs.iter_mut().for_each(LocationLog::unplan);
            self.sequence = sequence;
            return Err(error);
        }
        let from: u64 = tips.iter().map(|tip| tip.end).sum();
        let to: u64 = self.logs.iter().map(|log| log.tip().end).sum();
        let failed = self.logs.iter_mut().find_map(|log| log.write().map_err(|error| log.named(error)).err());
        let Some(error) = failed else {
            self.unsynced_bytes += to - from;
            self.unflushed_bytes += to - from;
            return Ok(());
        };
        tracing::warn!(%error, "a batch could not be written");
        self.sequence = sequence;
        for (log, tip) in self.logs.iter_mut().zip(tips) {
            // What was synced before stays marked as synced only if nothing unsynced lies before it.
            if let Err(error) = log.roll_back(*tip) {
                let place = log.backend().describe();
                self.status.refuse_writes(format!(
                    "{place} has failed, and what was being written there could not be taken back: {error}; restart the node, or see docs/operating.md, Disks"
                ));
            }
        }
        Err(write_error(&error))
    }

    /// Makes everything written durable and brings it into the index.
    fn sync(&mut self) -> Result<(), WriteError> {
        self.sync_if(self.limits.is_synced)
    }

    /// As [`Committer::sync`]. Where the operator chose not to wait for the disk, nothing is called durable until it `is_real`.
    fn sync_if(&mut self, is_real: bool) -> Result<(), WriteError> {
        if let Some(error) = self.sync_logs(is_real) {
            tracing::error!(%error, "a sync failed; its batch is taken back and the pack is closed");
            return Err(write_error(&error));
        }
        if is_real {
            self.durable = self.sequence;
        }
        let layer = std::mem::take(&mut self.unsynced);
        if layer.len() > 0 {
            self.reading.index.apply(layer.into_changes(), Some(&self.mark()));
        }
        self.reading.clear_pending();
        self.unsynced_bytes = 0;
        if self.unflushed_bytes >= FLUSH_BYTES {
            self.unflushed_bytes = 0;
            self.reading.index.start_flush();
        }
        Ok(())
    }

    /// Syncs every location that needs it. After a failure all locations are back where they were synced before.
    fn sync_logs(&mut self, is_real: bool) -> Option<io::Error> {
        // A sync that only counted as one left nothing dirty behind, so a real one asks all.
        let is_due = |log: &&mut LocationLog| log.is_dirty() || (is_real && !self.limits.is_synced);
        let mut dirty: Vec<&mut LocationLog> = self.logs.iter_mut().filter(is_due).collect();
        self.status.syncs.fetch_add(u64::from(!dirty.is_empty()), Ordering::Relaxed);
        let before: Vec<Tip> = dirty.iter().map(|log| log.synced()).collect();
        let results: Vec<io::Result<()>> = match &mut dirty[..] {
            [] => return None,
            [log] => vec![log.sync(is_real)],
            logs => thread::scope(|scope| {
                let syncs: Vec<_> = logs.iter_mut().map(|log| scope.spawn(|| log.sync(is_real))).collect();
                let join = |sync: thread::ScopedJoinHandle<'_, _>| {
                    sync.join().unwrap_or_else(|_| Err(io::Error::other("a sync panicked")))
                };
                syncs.into_iter().map(join).collect()
            }),
        };
        if results.iter().all(Result::is_ok) {
            return None;
        }
        let mut first = None;
        for ((log, result), tip) in dirty.into_iter().zip(results).zip(before) {
            let undone = match result {
                Ok(()) => log.roll_back(tip),
                Err(error) => {
                    first.get_or_insert(log.named(error));
                    log.abandon()
                }
            };
            if let Err(error) = undone {
                tracing::error!(%error, "what was not synced could not be cut off; the next pack will tell where this one ends");
            }
        }
        self.unsynced = Layer::default();
        self.unsynced_bytes = 0;
        self.reading.clear_pending();
        let last = self.logs.iter().map(|log| log.tip().sequence).max().unwrap_or(0);
        self.sequence = last.max(self.durable);
        first
    }

    /// Carries the live part of a pack over. Answers how many bytes that took.
    fn carry(&mut self, carry: Carry) -> Result<u64, WriteError> {
        let bytes = carry.blocks.iter().map(|block| block.from.weight()).sum::<u64>();
        let bytes = bytes + weight_of(&carry.operations);
        let result = self.alone(bytes, |decide| decide.carry(carry));
        self.reading.pins.end_condemning();
        result
    }

    /// Decides, writes and syncs moved frames in a batch of their own. Answers how many bytes that took.
    fn alone(
        &mut self,
        bytes: u64,
        decide_it: impl FnOnce(&mut Decide<'_, '_>) -> Result<u64, WriteError>,
    ) -> Result<u64, WriteError> {
        self.make_ready(bytes)?;
        // Nothing unsynced below, so that taking back a failure is simple.
        self.sync()?;
        let before = (self.sequence, self.logs.iter().map(LocationLog::tip).collect::<Vec<_>>());
        let reading = self.reading.clone();
        let read_list = |id: &_, row: &_| reading.read_list(id, row);
        let view = View::new(&reading.index, None, self.logs.len(), &read_list);
        let mut decide = Decide::new(self, view);
        let decided = decide_it(&mut decide);
        let (top, _, broken) = decide.finish();
        let broken = broken.or(decided.as_ref().err().cloned());
        let result = self.write(before.0, &before.1, broken).and(decided);
        result.and_then(|bytes| {
            self.unsynced = top;
            self.sync().map(|()| bytes)
        })
    }

    /// Takes a pack out of the index: first marked, which begins to be written to disk, and removed when the file `is_gone`. Answers the index's number
    /// of the change; whoever removes the file waits until that is on disk.
    fn forget(&mut self, location: u8, pack: u64, is_gone: bool) -> Result<u64, WriteError> {
        self.sync_if(true)?;
        let mut layer = Layer::default();
        layer.forget_pack(location, pack);
        if !is_gone {
            let reading = self.reading.clone();
            let mut view = View::new(&reading.index, None, self.logs.len(), &|_, _| None);
            view.pack(location, pack)?.done = u64::MAX;
            layer = view.top;
        }
        let number = self.reading.index.apply(layer.into_changes(), Some(&self.mark()));
        if !is_gone {
            self.unflushed_bytes = 0;
            self.reading.index.start_flush();
        }
        Ok(number)
    }

    /// Ends the pack that is being written in one location; the next write begins another. Answers the highest number that is closed now.
    pub(crate) fn seal(&mut self, at: usize) -> Result<u64, WriteError> {
        self.sync_if(true)?;
        let log = &mut self.logs[at];
        log.seal().map_err(|error| write_error(&log.named(error)))?;
        let sealed = log.last_pack();
        self.unflushed_bytes = 0;
        self.reading.index.flush().map_err(|error| index_error(&error))?;
        Ok(sealed)
    }

    fn settle(&mut self, roll: bool) -> Result<(), WriteError> {
        self.sync_if(true)?;
        if roll {
            for log in self.logs.iter_mut().filter(|log| log.tip().end > crate::frame::PACK_HEADER) {
                log.roll().map_err(|error| write_error(&log.named(error)))?;
            }
        }
        self.unflushed_bytes = 0;
        self.reading.index.flush().map_err(|error| index_error(&error))
    }

    fn close(&mut self) -> Result<(), WriteError> {
        if self.status.read_only().is_some() {
            return Ok(());
        }
        self.sync_if(true)?;
        if let Err(error) = self.write_end() {
            tracing::debug!(%error, "the end could not be marked; damage to the last frame would look like a crash");
        }
        self.unflushed_bytes = 0;
        // Nothing is lost: the next opening reads from the packs what was not written.
        if let Err(error) = self.reading.index.flush() {
            tracing::warn!(%error, "the index was not written to its end; the next start reads more");
        }
        for log in &mut self.logs {
            log.trim().map_err(|error| write_error(&error))?;
        }
        Ok(())
    }

    /// Ends the packs with an empty frame, whose only word is that everything before it was synced. Without it nothing would tell damage to the
    /// last frame of a store that was closed in good order from a write that a crash interrupted.
    fn write_end(&mut self) -> Result<(), WriteError> {
        let is_empty = self.logs.iter().any(|log| log.active_pack() == 0);
        let is_marked = |log: &LocationLog| log.ends_with_empty_frame().map_err(|error| write_error(&error));
        if is_empty || self.logs.iter().map(is_marked).collect::<Result<Vec<_>, _>>()?.iter().all(|is| *is) {
            return Ok(());
        }
        self.make_ready(EMPTY_FRAME)?;
        let before = (self.sequence, self.logs.iter().map(LocationLog::tip).collect::<Vec<_>>());
        self.sequence += 1;
        let reading = self.reading.clone();
        let mut view = View::new(&reading.index, None, self.logs.len(), &|_, _| None);
        let mut broken = None;
        for (location, log) in (0u8..).zip(&mut self.logs) {
            let (sequence, durable) = (self.sequence, self.durable);
            let frame =
                FramePlan { kind: Kind::Commit, sequence, durable, blocks: Vec::new(), operations: &[] };
            let planned = log.plan(frame);
            if let Err(error) = view.end_pack(location, &planned) {
                broken = Some(index_error(&error));
            }
        }
        let top = view.top;
        self.write(before.0, &before.1, broken)?;
        self.unsynced = top;
        self.sync_if(true)
    }

    pub(crate) fn mark(&self) -> Mark {
        let tips = self.logs.iter().map(LocationLog::tip).collect();
        Mark { store_id: self.store_id, sequence: self.sequence, durable: self.durable, tips }
    }

    fn tell_status(&self) {
        self.status.sequence.store(self.sequence, Ordering::Relaxed);
        self.status.durable.store(self.durable, Ordering::Relaxed);
        *hold(&self.status.active) = self.logs.iter().map(LocationLog::active_pack).collect();
    }
}

impl Request {
    /// An upper bound of the bytes that it takes, and whether it has a batch of its own.
    fn weight(&self) -> (u64, bool) {
        match self {
            Self::Append { blocks, .. } => (256 + crate::commit::blocks_weight(blocks), false),
            Self::Commit { commit, .. } => (commit.weight(), false),
            _ => (0, true),
        }
    }

    /// Answers without doing anything. Whoever has gone away needs no answer.
    fn refuse(self, error: &WriteError) {
        let error = error.clone();
        match self {
            Self::Change { change } => drop(change),
            Self::Append { reply, .. } => drop(reply.send(Err(error))),
            Self::Commit { reply, .. } => drop(reply.send(Err(error.into()))),
            Self::Carry { reply, .. } | Self::Forget { reply, .. } | Self::Fill { reply, .. } => {
                drop(reply.send(Err(error)));
            }
            Self::Settle { reply, .. } | Self::Close { reply } => {
                drop(reply.send(Err(error)));
            }
        }
    }
}

impl Answer {
    fn send(self, result: &Result<(), WriteError>) {
        let result = result.clone();
        match self {
            Self::Append(reply, pins) => drop(reply.send(result.map(|()| pins))),
            Self::Commit(reply, committed) => {
                drop(reply.send(result.map(|()| committed).map_err(CommitError::from)))
            }
            Self::Carry(reply, bytes) => drop(reply.send(result.map(|()| bytes))),
            Self::Done(reply) => drop(reply.send(result)),
        }
    }
}

/// An upper bound of the bytes that operations of one frame take in a pack.
fn weight_of(operations: &[Operation]) -> u64 {
    1_024 + operations.iter().map(Operation::encoded_len).sum::<u64>()
}

pub(crate) fn write_error(error: &io::Error) -> WriteError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => WriteError::NoSpace,
        _ => WriteError::Io(error.to_string()),
    }
}

pub(crate) fn index_error(error: &IndexError) -> WriteError {
    WriteError::Io(format!("the index: {error}"))
}
