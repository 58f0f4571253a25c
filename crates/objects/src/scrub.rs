//! The scrub: every byte of the store is verified once in a period, some packs at a time, so that damage is found while a second copy is still good.
//!
//! A pass is spread over the period: what has been read of it never lags behind the share of the period that has gone by, and is not ahead by more than a step.
//! A step reads at a bounded rate. After each the place to go on from is kept in the store, so a restart repeats one step at most, and what was found
//! is known after it too. Damage is put right as `check --repair` does, unless the store takes no writes; what cannot be is told by [`Objects::trouble`] until
//! a later pass, or a check of everything, finds the store clean.

use crate::{Objects, error::WriteError, tables};
use jsfs_store::{Commit, Finding, Observer, Op, PackPlace, Verification, Verified, VerifyError};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Steps of a pass, where there are as many packs: each compares the packs that it has read with the whole index.
const STEPS: u64 = 120;
/// Longest and shortest time between two looks whether a step is due.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(3_600);
const LOOK_EVERY_MIN: Duration = Duration::from_millis(50);
/// After a step that failed the next one waits for so long.
const RETRY: Duration = Duration::from_secs(60);

/// How the store is scrubbed.
#[derive(Clone, Copy, Debug)]
pub struct Scrubbing {
    /// Time in which everything is read once.
    pub every: Duration,
    /// Bytes that are read per second at most; 0 for as fast as the disk.
    pub bytes_per_second: u64,
}

/// A pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubPass {
    /// When it began, ms since 1970.
    pub begun_ms: u64,
    /// When it ended, ms since 1970; 0 while it is under way.
    pub ended_ms: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong and stays so.
    pub damaged: u64,
    /// What was wrong and was put right.
    pub repaired: u64,
}

/// What is kept of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pass: ScrubPass,
    /// Where it goes on.
    next: Option<PackPlace>,
    last: Option<ScrubPass>,
}

impl Kept {
    fn damaged(&self) -> u64 {
        self.pass.damaged.max(self.last.map_or(0, |last| last.damaged))
    }
}

/// What is known of the scrub; nothing where there is none.
#[derive(Default)]
pub(crate) struct Scrub(Mutex<Option<(Scrubbing, Kept)>>);

impl Scrub {
    fn get(&self) -> Option<(Scrubbing, Kept)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, how: Scrubbing, kept: Kept) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((how, kept));
    }
}

/// The state of the scrub, for the node's owner.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ScrubStatus {
    /// Time in which everything is read once, s.
    pub every_s: u64,
    /// The pass under way.
    pub pass: ScrubPass,
    /// The one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<ScrubPass>,
}

/// Why a step of the scrub failed.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// The store could not be verified.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Its figures could not be read.
    #[error(transparent)]
    Read(#[from] jsfs_store::ReadError),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Goes on until the node stops. What is found, the store logs.
struct Quiet(CancellationToken);

impl Observer for Quiet {
    fn progress(&self, _done: u64, _total: u64) {}

    fn found(&self, _finding: &Finding) {}

    fn is_stopped(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl Objects {
    /// Scrubs in the background from now on, until the node stops.
    pub fn start_scrubbing(&self, how: Scrubbing) {
        self.know_scrub(how);
        let objects = self.clone();
        self.spawn(async move {
            loop {
                let wait = match objects.scrub(how).await {
                    Ok(due_ms) => Duration::from_millis(due_ms.saturating_sub(objects.now_ms())),
                    Err(ScrubError::Stopping | ScrubError::Verify(VerifyError::CalledOff)) => return,
                    Err(error) => {
                        tracing::warn!(%error, "the scrub could not go on; it is tried again");
                        RETRY
                    }
                };
                tokio::time::sleep(wait.clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX)).await;
            }
        });
    }

    /// Reads what is due by now. When the next step is due, ms since 1970, comes back.
    ///
    /// # Errors
    /// [`ScrubError`]; the next call goes on with the step that failed.
    pub async fn scrub(&self, how: Scrubbing) -> Result<u64, ScrubError> {
        let mut kept = self.know_scrub(how);
        let every_ms = u64::try_from(how.every.as_millis()).unwrap_or(u64::MAX);
        loop {
            let now_ms = self.now_ms();
            if kept.pass.begun_ms == 0 || kept.pass.begun_ms > now_ms.saturating_add(every_ms) {
                // The first pass of all; or the clock was set back.
                kept.pass.begun_ms = now_ms;
            }
            let locations = self.store().stats()?.locations;
            let total: u64 = locations.iter().map(|location| location.used).sum();
            let packs: u64 = locations.iter().map(|location| location.packs).sum();
            let due_ms = kept.pass.begun_ms.saturating_add(part(every_ms, kept.pass.bytes, total));
            if due_ms > now_ms {
                return Ok(due_ms);
            }
            let step = Verification {
                from: kept.next,
                packs_max: usize::try_from(packs.div_ceil(STEPS)).unwrap_or(usize::MAX).max(1),
                bytes_per_second: how.bytes_per_second,
                is_repairing: self.store().read_only().is_none(),
            };
            let done = self.verify_step(step).await?;
            kept = self.went_on(how, kept, &done, every_ms).await;
        }
    }

    /// The state of the scrub; nothing where there is none.
    pub(crate) fn scrub_status(&self) -> Option<ScrubStatus> {
        let (how, kept) = self.scrub_state().get()?;
        Some(ScrubStatus { every_s: how.every.as_secs(), pass: kept.pass, last: kept.last })
    }

    /// What the scrub has found and could not put right.
    pub(crate) fn scrub_trouble(&self) -> Option<String> {
        let (_, kept) = self.scrub_state().get()?;
        let damaged = kept.damaged();
        (damaged > 0).then(|| {
            format!("the scrub has found damage that it could not put right, in {damaged} places; `jsfs check` names them")
        })
    }

    /// A check of everything has found it clean: what the scrub found before is over.
    pub(crate) async fn scrub_is_over(&self) {
        let Some((how, mut kept)) = self.scrub_state().get().filter(|(_, kept)| kept.damaged() > 0) else {
            return;
        };
        kept.pass.damaged = 0;
        if let Some(last) = &mut kept.last {
            last.damaged = 0;
        }
        self.keep_scrub(how, &kept).await;
    }

    /// What is known of it: what this process knows, else what is kept.
    fn know_scrub(&self, how: Scrubbing) -> Kept {
        let known = self.scrub_state().get().map(|(_, kept)| kept);
        let kept = known.unwrap_or_else(|| {
            let entry = self.store().get(tables::SCRUB, tables::SCRUB_KEY).ok().flatten();
            // What does not decode is of a newer version; the pass begins anew.
            entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default()
        });
        self.scrub_state().set(how, kept.clone());
        kept
    }

    async fn verify_step(&self, how: Verification) -> Result<Verified, ScrubError> {
        let (store, observer) = (self.store().clone(), Quiet(self.stopping().clone()));
        let verified = self.task_blocking(move || {
            let done = store.verify(how, &observer)?;
            if how.is_repairing && done.index_differs > 0 {
                store.doubt_index("the scrub found that it differs from the packs");
            }
            Ok::<_, VerifyError>(done)
        });
        Ok(verified.await.map_err(|_| ScrubError::Stopping)??)
    }

    /// Notes what a step has read, and keeps it.
    async fn went_on(&self, how: Scrubbing, before: Kept, done: &Verified, every_ms: u64) -> Kept {
        // A check may have found everything clean meanwhile.
        let mut kept = self.scrub_state().get().map_or(before.clone(), |(_, kept)| kept);
        kept.pass.begun_ms = before.pass.begun_ms;
        kept.pass.bytes = kept.pass.bytes.saturating_add(done.bytes);
        kept.pass.damaged += done.damaged;
        kept.pass.repaired += done.repaired;
        kept.next = done.next;
        if done.next.is_none() {
            let now_ms = self.now_ms();
            let ended = ScrubPass { ended_ms: now_ms, ..kept.pass };
            let ScrubPass { bytes, damaged, repaired, .. } = ended;
            tracing::info!(bytes, damaged, repaired, "the scrub has read everything once");
            let begun_ms = kept.pass.begun_ms.saturating_add(every_ms).max(now_ms);
            kept.pass = ScrubPass { begun_ms, ..ScrubPass::default() };
            kept.last = Some(ended);
        }
        self.keep_scrub(how, &kept).await;
        kept
    }

    async fn keep_scrub(&self, how: Scrubbing, kept: &Kept) {
        self.scrub_state().set(how, kept.clone());
        let value = serde_json::to_vec(kept).unwrap_or_default();
        let op = Op::Put {
            table: tables::SCRUB,
            key: tables::SCRUB_KEY.to_vec(),
            value: value.into(),
            references: Vec::new(),
        };
        let kept = self.store().commit(Commit { ops: vec![op], ..Commit::default() }).await;
        // A store that takes no writes is scrubbed all the same; after a restart from where it was.
        if let Err(error) = kept.map_err(WriteError::from) {
            tracing::debug!(%error, "how far the scrub has come is not kept");
        }
    }
}

/// The part of a time that such a part of all bytes stands for.
fn part(every_ms: u64, bytes: u64, total: u64) -> u64 {
    let part = u128::from(every_ms) * u128::from(bytes) / u128::from(total.max(1));
    u64::try_from(part).unwrap_or(u64::MAX).min(every_ms)
}
