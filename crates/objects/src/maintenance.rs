//! Maintenance of a node that runs: long work on its store, watched line by line by whoever holds the root key.
//!
//! One of each kind at a time. The work has a thread of its own and ends at its next step when nobody takes its lines any more, or when the node
//! stops; each step leaves the store whole. Lines that wait for their reader are bounded: progress that finds no place is left out, findings wait.

mod location;
mod stats;

pub use location::Relocation;

use crate::{
    Objects,
    error::StorageError,
    grant::{Grant, Root},
};
use jsfs_store::{CompactError, Finding, Observer, Verification, VerifyError};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

/// Lines that wait for their reader.
const LINES_MAX: usize = 64;
/// Progress is told so often, ms.
const PROGRESS_EVERY_MS: u64 = 250;

/// What maintenance says.
#[derive(Clone, Debug)]
pub enum Line {
    /// So much of so much is done.
    Progress {
        /// How much is done.
        done: u64,
        /// How much there is; may grow.
        total: u64,
        /// What is counted: `bytes`, `objects`.
        unit: &'static str,
    },
    /// Something was found.
    Finding(Value),
    /// The end: what was done.
    Result(Value),
    /// The end: why it went no further.
    Failed(MaintenanceError),
}

/// Why maintenance was not begun, or ended early.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// One at a time.
    #[error("{kind} is under way already; wait for its end, or end it where it was started")]
    UnderWay {
        /// Which kind.
        kind: &'static str,
    },
    /// What was asked for cannot be.
    #[error("{what}")]
    Invalid {
        /// What, and what can be.
        what: String,
    },
    /// Not in the state that the node is in.
    #[error("{what}")]
    Impossible {
        /// Why, and what to do.
        what: String,
    },
    /// There is no room for it.
    #[error("no space left; free some or lower storage.floor")]
    NoSpace,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<CompactError> for MaintenanceError {
    fn from(error: CompactError) -> Self {
        use jsfs_store::WriteError as W;
        match error {
            CompactError::Write(W::NoSpace) => Self::NoSpace,
            CompactError::Write(W::ReadOnly(why)) => {
                Self::Impossible { what: format!("the store takes no writes: {why}") }
            }
            CompactError::Stopped | CompactError::CalledOff | CompactError::Write(W::Closed) => {
                StorageError::Stopping.into()
            }
            error => StorageError::Write(error.to_string()).into(),
        }
    }
}

/// Maintenance under way. Dropping it ends the work at the next step.
pub struct Maintenance {
    lines: mpsc::Receiver<Line>,
}

impl Maintenance {
    /// The next line; nothing after [`Line::Result`] or [`Line::Failed`].
    pub async fn next(&mut self) -> Option<Line> {
        self.lines.recv().await
    }
}

/// The kinds that are under way.
pub(crate) type UnderWay = Arc<Mutex<HashSet<&'static str>>>;

/// A kind's place among those under way.
pub(crate) struct Place {
    kind: &'static str,
    all: UnderWay,
}

impl Place {
    pub(crate) fn take(kind: &'static str, all: &UnderWay) -> Result<Place, MaintenanceError> {
        let is_free = all.lock().unwrap_or_else(PoisonError::into_inner).insert(kind);
        is_free.then(|| Place { kind, all: Arc::clone(all) }).ok_or(MaintenanceError::UnderWay { kind })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(self.kind);
    }
}

/// What the work tells its lines to. It is the observer of the store's own work, whose unit is bytes.
pub(crate) struct Teller {
    lines: mpsc::Sender<Line>,
    stop: CancellationToken,
    begun: Instant,
    told_ms: AtomicU64,
}

impl Teller {
    /// Tells how far the work is, unless that was told a moment ago or the reader is behind.
    pub(crate) fn progress_in(&self, unit: &'static str, done: u64, total: u64) {
        let now_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let told_ms = self.told_ms.load(Ordering::Relaxed);
        if told_ms > 0 && now_ms < told_ms + PROGRESS_EVERY_MS {
            return;
        }
        self.told_ms.store(now_ms.max(1), Ordering::Relaxed);
        // A reader that is behind hears of the next.
        let _ = self.lines.try_send(Line::Progress { done, total, unit });
    }

    /// Tells a finding; waits for the reader. Nothing where it has left.
    pub(crate) fn finding(&self, finding: Value) {
        let _ = self.lines.blocking_send(Line::Finding(finding));
    }
}

impl Observer for Teller {
    fn progress(&self, done: u64, total: u64) {
        self.progress_in("bytes", done, total);
    }

    fn found(&self, finding: &Finding) {
        self.finding(serde_json::to_value(finding).unwrap_or_default());
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_cancelled() || self.lines.is_closed()
    }
}

/// How `gc` is to go.
#[derive(Clone, Copy, Debug)]
pub struct Collecting {
    /// Packs of which more than this share is dead are compacted, 0 to 1.
    pub dead_share: f64,
    /// Nothing is done but computed what would be.
    pub is_dry_run: bool,
}

impl Default for Collecting {
    fn default() -> Self {
        Self { dead_share: 0.1, is_dry_run: false }
    }
}

impl Objects {
    /// Frees the space of what nobody needs, now.
    ///
    /// # Errors
    /// [`MaintenanceError::UnderWay`], or that the share is none.
    pub fn collect(&self, grant: &Grant<Root>, how: Collecting) -> Result<Maintenance, MaintenanceError> {
        if !(0.0..=1.0).contains(&how.dead_share) {
            return Err(MaintenanceError::Invalid { what: "a dead share lies between 0 and 1".to_owned() });
        }
        let store = self.store().clone();
        self.maintain(grant, "gc", move |teller| {
            let would = store.collectable(how.dead_share)?;
            if how.is_dry_run {
                let net = would.freed.saturating_sub(would.carried);
                return Ok(json!({
                    "dry_run": true, "packs": would.packs, "removed": would.freed, "carried": would.carried, "freed": net, "damaged": 0,
                }));
            }
            let done = store.collect(how.dead_share, teller)?;
            Ok(json!({
                "dry_run": false, "packs": done.packs, "removed": done.freed, "carried": done.carried,
                "freed": done.freed.saturating_sub(done.carried), "damaged": done.damaged,
            }))
        })
    }

    /// Reads every byte of the store and compares the index with it, while the node goes on; with `is_repairing` puts right what can be.
    ///
    /// # Errors
    /// [`MaintenanceError::UnderWay`].
    pub fn check(&self, grant: &Grant<Root>, is_repairing: bool) -> Result<Maintenance, MaintenanceError> {
        let (objects, store) = (self.clone(), self.store().clone());
        let runtime = tokio::runtime::Handle::current();
        self.maintain(grant, "check", move |teller| {
            let how = Verification { is_repairing, ..Verification::default() };
            let done = store.verify(how, teller).map_err(|error| match error {
                VerifyError::CalledOff => StorageError::Stopping,
                VerifyError::Index(what) => StorageError::Write(what),
            })?;
            if is_repairing && done.index_differs > 0 {
                store.doubt_index("a check found that it differs from the packs");
            }
            if done.damaged == 0 {
                runtime.block_on(objects.scrub_is_over());
            }
            Ok(serde_json::to_value(done).unwrap_or_default())
        })
    }

    /// Runs work that blocks on a thread of its own, one of each kind at a time. The grant says that whoever asks may.
    pub(crate) fn maintain(
        &self,
        _grant: &Grant<Root>,
        kind: &'static str,
        work: impl FnOnce(&Teller) -> Result<Value, MaintenanceError> + Send + 'static,
    ) -> Result<Maintenance, MaintenanceError> {
        let place = Place::take(kind, &self.0.maintaining)?;
        let (sender, lines) = mpsc::channel(LINES_MAX);
        let teller = Teller {
            lines: sender.clone(),
            stop: self.0.stop.clone(),
            begun: Instant::now(),
            told_ms: AtomicU64::new(0),
        };
        self.0.tasks.spawn_blocking(move || {
            let ended = work(&teller);
            drop(place);
            let last = ended.map_or_else(Line::Failed, Line::Result);
            // Whoever has left needs no result.
            let _ = sender.blocking_send(last);
        });
        Ok(Maintenance { lines })
    }
}
