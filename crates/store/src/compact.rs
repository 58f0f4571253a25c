//! Compaction: frees the space of packs that hold mostly what nobody needs.
//!
//! A thread of the store looks at the packs from time to time. What lives in a pack is carried to the end of the log through the committer, in parts of at
//! most 1 MiB, at a bounded rate; the index notes after each part how far that has come. Then the pack is taken out of the index, the index is
//! written to disk, and only then the file is removed. A crash at any point leaves at most copies, or a pack that the next opening removes.

use crate::{
    backend::Backend,
    committer::Request,
    error::WriteError,
    frame::{Operation, PACK_HEADER},
    id::BlockId,
    index::IndexError,
    moving::{Carry, CarryBlock},
    read::Reading,
    rows::{PackRow, Place, counted},
    status::Status,
    sync::hold,
    task::{Observer, Unobserved},
    walk::{Depth, Frame, Step, Walk},
};
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// Most bytes that are carried at once.
const PART_BYTES: u64 = 1 << 20;
/// The dead share that is enough when space is short, and the size from which the pack being written is closed then.
const SHORT_DEAD_SHARE: f64 = 0.1;
const SHORT_PACK_MIN: u64 = 256 << 10;
/// The size from which it is closed for whoever asks for compaction.
const COLLECT_PACK_MIN: u64 = 4 << 10;

/// When and how fast packs are compacted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compaction {
    /// Packs of which more than this share is dead are compacted.
    pub dead_share: f64,
    /// Bytes that are read per second in the background; 0 for as fast as the disk.
    pub bytes_per_second: u64,
    /// How often the packs are looked at; `None` for never.
    pub every: Option<Duration>,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { dead_share: 0.5, bytes_per_second: 32 << 20, every: Some(Duration::from_secs(30)) }
    }
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Packs that are gone.
    pub packs: u64,
    /// Their size in bytes.
    pub freed: u64,
    /// Bytes that were written for what lives.
    pub carried: u64,
    /// Packs that could not be compacted because something in them is damaged.
    pub damaged: u64,
}

/// What a compaction would do now, by the index: frame headers and tombstones that are still needed come on top of what is carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collectable {
    /// Packs that would go.
    pub packs: u64,
    /// Their size in bytes.
    pub freed: u64,
    /// Bytes of that which live, and would be written again.
    pub carried: u64,
}

/// Why compaction stopped. What was done until then stays done, and the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// Carrying over was refused.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A pack cannot be read or removed.
    #[error("cannot read or remove a pack: {0}")]
    Pack(#[from] io::Error),
    /// The index cannot be read.
    #[error("cannot read the index: {0}")]
    Index(String),
    /// The store was closed.
    #[error("the store is closed")]
    Stopped,
    /// Whoever asked for it has called it off.
    #[error("called off; what was done stays done, and the next run goes on from there")]
    CalledOff,
    /// Somebody reads the pack as it was.
    #[error("a backup reads this pack; it is compacted after that")]
    Held,
}

impl From<IndexError> for CompactError {
    fn from(error: IndexError) -> Self {
        Self::Index(error.0)
    }
}

/// Compacts packs, one at a time: whoever compacts holds the lock around it, since two at one pack would miscount what they leave behind.
pub(crate) struct Compactor {
    reading: Arc<Reading>,
    status: Arc<Status>,
    requests: mpsc::Sender<Request>,
    store_id: [u8; 16],
    stop: Arc<Stop>,
    pub(crate) damaged: Damaged,
}

/// Packs with damage in them: they stay as they are until that is repaired.
pub(crate) type Damaged = Arc<Mutex<HashSet<(u8, u64)>>>;

#[derive(Default)]
pub(crate) struct Stop {
    is_stopped: Mutex<bool>,
    changed: Condvar,
}

/// The thread that compacts in the background.
pub(crate) struct Background {
    stop: Arc<Stop>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start(
        compaction: Compaction,
        floor: u64,
        compactor: Arc<Mutex<Compactor>>,
    ) -> io::Result<Self> {
        let stop = hold(&compactor).stop.clone();
        let stopped = stop.clone();
        let Some(every) = compaction.every else { return Ok(Self { stop, thread: None }) };
        let run = move || {
            while !stopped.wait(every) {
                let result = hold(&compactor).run_in_background(compaction, floor);
                match result {
                    Ok(done) if done.packs > 0 => tracing::info!(?done, "packs were compacted"),
                    Ok(_) | Err(CompactError::Stopped) => {}
                    Err(error) => tracing::warn!(%error, "compaction stopped; it is tried again"),
                }
            }
        };
        let thread = thread::Builder::new().name("jsfs-compact".to_owned()).spawn(run)?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends the thread; at most one part is carried meanwhile.
    pub(crate) fn stop(mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook; nothing is lost by it.
            let _ = thread.join();
        }
    }
}

impl Stop {
    pub(crate) fn stop(&self) {
        *hold(&self.is_stopped) = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *hold(&self.is_stopped)
    }

    /// Waits as long as so many bytes take at this rate; 0 is no bound.
    pub(crate) fn throttle(
        &self,
        bytes: u64,
        bytes_per_second: u64,
        started: Instant,
    ) -> Result<(), CompactError> {
        if bytes_per_second == 0 {
            return Ok(());
        }
        let due = Duration::from_secs_f64(bytes as f64 / bytes_per_second as f64);
        match self.wait(due.saturating_sub(started.elapsed())) {
            true => Err(CompactError::Stopped),
            false => Ok(()),
        }
    }

    /// Waits; true when it was stopped.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut is_stopped = hold(&self.is_stopped);
        while !*is_stopped {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            is_stopped = self
                .changed
                .wait_timeout(is_stopped, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
        true
    }
}

impl Compactor {
    pub(crate) fn new(
        reading: Arc<Reading>,
        status: Arc<Status>,
        requests: mpsc::Sender<Request>,
        store_id: [u8; 16],
    ) -> Self {
        Self { reading, status, requests, store_id, stop: Arc::default(), damaged: Damaged::default() }
    }

    /// One round in the background. When space is short, packs with little that is dead are compacted too, and the one being written is closed for it.
    fn run_in_background(&mut self, compaction: Compaction, floor: u64) -> Result<Compacted, CompactError> {
        if self.status.read_only().is_some() {
            return Ok(Compacted::default());
        }
        let is_short = |backend: &Arc<dyn Backend>| backend.space().is_ok_and(|space| space.free < floor * 2);
        if !self.reading.locations.iter().any(is_short) {
            return self.run(compaction.dead_share, compaction.bytes_per_second, &Unobserved);
        }
        let dead_share = compaction.dead_share.min(SHORT_DEAD_SHARE);
        self.close_active(dead_share, SHORT_PACK_MIN)?;
        self.run(dead_share, 0, &Unobserved)
    }

    /// Closes the packs that are being written where one of them is worth compacting.
    fn close_active(&self, dead_share: f64, at_least: u64) -> Result<(), CompactError> {
        let active = hold(&self.status.active).clone();
        for (location, number, row) in self.reading.index.packs()? {
            let is_active = active.get(usize::from(location)) == Some(&number);
            if is_active
                && row.end > at_least
                && self.dead_share(location, number, &row, &HashMap::new()) > dead_share
            {
                return self.ask(|reply| Request::Settle { roll: true, reply });
            }
        }
        Ok(())
    }

    /// What [`Compactor::collect`] would do.
    pub(crate) fn collectable(&self, dead_share: f64) -> Result<Collectable, CompactError> {
        let mut would = Collectable::default();
        let pinned = self.pinned()?;
        let active = hold(&self.status.active).clone();
        for (location, number, row) in self.reading.index.packs()? {
            let is_active = active.get(usize::from(location)).is_none_or(|active| *active <= number);
            let is_small = is_active && row.end <= COLLECT_PACK_MIN;
            let is_damaged = hold(&self.damaged).contains(&(location, number));
            if is_small || is_damaged || self.dead_share(location, number, &row, &pinned) <= dead_share {
                continue;
            }
            would.packs += 1;
            would.freed += row.end;
            if !row.is_forgotten() {
                let live = row.live + pinned.get(&(location, number)).copied().unwrap_or(0);
                would.carried += row.on_disk(live);
            }
        }
        Ok(would)
    }

    /// Compacts every pack whose dead share is above `dead_share`, also those that are being written.
    pub(crate) fn collect(
        &mut self,
        dead_share: f64,
        observer: &dyn Observer,
    ) -> Result<Compacted, CompactError> {
        self.close_active(dead_share, COLLECT_PACK_MIN)?;
        self.run(dead_share, 0, observer)
    }

    /// Compacts every closed pack whose dead share is above `dead_share`, worst first.
    pub(crate) fn run(
        &mut self,
        dead_share: f64,
        bytes_per_second: u64,
        observer: &dyn Observer,
    ) -> Result<Compacted, CompactError> {
        let mut done = Compacted::default();
        let total = self.collectable(dead_share)?.freed;
        // Only packs that are closed now: those that this run fills are for the next.
        let active = hold(&self.status.active).clone();
        while let Some((location, number, row)) = self.worst(dead_share, &active)? {
            let task = Task { bytes_per_second, observer, before: done.freed, total };
            let outcome = match self.compact(location, number, row, &task, &mut done) {
                Err(CompactError::Held) => continue,
                outcome => outcome?,
            };
            match outcome {
                true => {
                    done.packs += 1;
                    done.freed += row.end;
                }
                false => {
                    hold(&self.damaged).insert((location, number));
                    done.damaged += 1;
                }
            }
        }
        Ok(done)
    }

    /// The pack that is most worth compacting, of those older than `active`.
    fn worst(&self, dead_share: f64, active: &[u64]) -> Result<Option<(u8, u64, PackRow)>, CompactError> {
        let pinned = self.pinned()?;
        let mut worst: Option<(f64, (u8, u64, PackRow))> = None;
        for (location, number, row) in self.reading.index.packs()? {
            let is_active = active.get(usize::from(location)).is_none_or(|active| *active <= number);
            let is_held = self.reading.pins.is_held(location, number);
            if is_active || is_held || hold(&self.damaged).contains(&(location, number)) {
                continue;
            }
            let share = self.dead_share(location, number, &row, &pinned);
            if share > dead_share && worst.as_ref().is_none_or(|(most, _)| share > *most) {
                worst = Some((share, (location, number, row)));
            }
        }
        Ok(worst.map(|(_, pack)| pack))
    }

    /// Bytes in each pack that nothing but a pin keeps.
    fn pinned(&self) -> Result<HashMap<(u8, u64), u64>, CompactError> {
        let mut pinned: HashMap<(u8, u64), u64> = HashMap::new();
        for id in self.reading.pins.all() {
            if let Some(row) = self.reading.row(&id)?.filter(|row| row.references == 0) {
                for place in counted(&row.places) {
                    *pinned.entry((place.location, place.pack)).or_default() += place.weight();
                }
            }
        }
        Ok(pinned)
    }

    /// The share of a pack that nobody needs. What was begun is finished and what was finished is removed, whatever it holds.
    fn dead_share(&self, location: u8, number: u64, row: &PackRow, pinned: &HashMap<(u8, u64), u64>) -> f64 {
        if row.done > 0 {
            return 2.0;
        }
        let live = row.live + pinned.get(&(location, number)).copied().unwrap_or(0);
        1.0 - live as f64 / (row.end + row.saved).saturating_sub(PACK_HEADER).max(1) as f64
    }

    /// Carries what lives in a pack and removes it. False when something in it is damaged.
    fn compact(
        &mut self,
        location: u8,
        number: u64,
        row: PackRow,
        task: &Task<'_>,
        done: &mut Compacted,
    ) -> Result<bool, CompactError> {
        if !row.is_forgotten() {
            let file = self.reading.pack(location, number)?;
            let mut walk = Walk::new(file.clone(), self.store_id, Depth::Everything, PACK_HEADER)?;
            let mut part = Part { done: row.done, ..Part::default() };
            loop {
                if self.reading.pins.is_held(location, number) {
                    return Err(CompactError::Held);
                }
                let frame = match walk.step()? {
                    Step::Frame(frame) if frame.end <= row.done => continue,
                    Step::Frame(frame) if frame.start < row.end => frame,
                    Step::Bad(bad) if bad.offset < row.end => {
                        let at = self.describe(location, number, bad.offset);
                        tracing::error!(
                            at,
                            what = bad.what,
                            "a pack is damaged and is not compacted; run jsfs check"
                        );
                        return Ok(false);
                    }
                    _ => break,
                };
                let started = Instant::now();
                let bytes = frame.end - frame.start;
                done.carried += self.take(location, number, &frame, &mut part)?;
                self.stop.throttle(bytes, task.bytes_per_second, started)?;
                task.observer.progress(task.before + frame.end, task.total.max(task.before + row.end));
                if task.observer.is_stopped() {
                    return Err(CompactError::CalledOff);
                }
            }
            done.carried += self.send(location, number, &mut part, row.end)?;
            let marked =
                self.ask(|reply| Request::Forget { location, pack: number, is_gone: false, reply })?;
            // Here, and not in the committer: no write waits for the index to reach the disk.
            self.reading.index.wait_persisted(marked)?;
        }
        let backend = &self.reading.locations[usize::from(location)];
        let removed = self.reading.pins.unless_held(location, number, || backend.remove_pack(number));
        match removed.ok_or(CompactError::Held)? {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => backend.sync_packs()?,
        }
        self.reading.forget_pack(location, number);
        self.ask(|reply| Request::Forget { location, pack: number, is_gone: true, reply })?;
        Ok(true)
    }

    /// Gathers a frame's contents, sending parts on the way. Answers the bytes written.
    fn take(&self, location: u8, number: u64, frame: &Frame, part: &mut Part) -> Result<u64, CompactError> {
        let mut written = 0;
        let before = part.done;
        for (head, from, bytes) in frame.blocks(location, number).filter(|(_, from, _)| from.end() > before) {
            let is_redundant = self.has_other_copy(&head.id, &from)?;
            part.bytes += from.weight();
            part.done = from.end();
            part.blocks.push(CarryBlock { head: head.clone(), from, bytes, is_redundant });
            if part.bytes >= PART_BYTES {
                written += self.send(location, number, part, part.done)?;
            }
        }
        // A frame's operations are carried at once with the note that the frame is done: leaving one behind twice would miscount.
        for operation in &frame.description.operations {
            part.bytes += operation.encoded_len();
            part.operations.push(operation.clone());
        }
        part.done = frame.end;
        if part.bytes >= PART_BYTES {
            written += self.send(location, number, part, part.done)?;
        }
        Ok(written)
    }

    /// Whether it lies elsewhere too, whole: in the same location, or in as many others as there are to be copies.
    fn has_other_copy(&self, id: &BlockId, from: &Place) -> Result<bool, CompactError> {
        let keeping = &self.reading.keeping;
        let row = self.reading.row(id)?.unwrap_or_default();
        if row.places.len() < 2 || !keeping.is_enough_without(&row.places, from) {
            return Ok(false);
        }
        let others = |at| row.places.iter().filter(move |place| *place != from && place.location == at);
        let is_whole = |at| self.reading.block_at(id, &others(at).copied().collect::<Vec<_>>()).is_ok();
        if others(from.location).next().is_some() && is_whole(from.location) {
            return Ok(true);
        }
        let elsewhere = keeping.kept(&row.places).into_iter().filter(|at| *at != from.location);
        Ok(elsewhere.filter(|at| is_whole(*at)).count() >= keeping.copies())
    }

    fn send(&self, location: u8, pack: u64, part: &mut Part, done: u64) -> Result<u64, CompactError> {
        let Part { blocks, operations, .. } = std::mem::take(part);
        part.done = done;
        let carry = Carry { location, pack, blocks, operations, done };
        self.ask(|reply| Request::Carry { carry, reply })
    }

    /// Hands a request to the committer and waits.
    fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, WriteError>>) -> Request,
    ) -> Result<T, CompactError> {
        if *hold(&self.stop.is_stopped) {
            return Err(CompactError::Stopped);
        }
        let (reply, answer) = oneshot::channel();
        self.requests.blocking_send(request(reply)).map_err(|_| WriteError::Closed)?;
        Ok(answer.blocking_recv().map_err(|_| WriteError::Closed)??)
    }

    fn describe(&self, location: u8, number: u64, offset: u64) -> String {
        crate::read::describe_at(&self.reading.locations, location, number, offset)
    }
}

/// How a run compacts, and what it has done before this pack.
struct Task<'a> {
    bytes_per_second: u64,
    observer: &'a dyn Observer,
    before: u64,
    total: u64,
}

/// What is carried next.
#[derive(Default)]
struct Part {
    blocks: Vec<CarryBlock>,
    operations: Vec<Operation>,
    bytes: u64,
    /// The end of the last block or frame that is in this part or an earlier one. A frame's operations come with its end.
    done: u64,
}
