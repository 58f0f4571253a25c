//! One stretch of a process in one worker: from its beginning or its last image until it ends, is put away, or the worker dies.
//!
//! What the worker says is taken in order, so everything that was said before an image belongs to it: output, inputs that were taken, calls that
//! were begun. A checkpoint is one commit of all that, and only then does what waited for it go on.

use super::{
    entry::Entry,
    keep::{Change, Keep},
    record::{Record, Saved, State},
    work::{OUTPUT_ROOM, Told, Work},
};
use crate::{
    Exec, PrepareError, Prepared, RunError,
    calls::word,
    sandbox::Channel,
    wire::{Bounds, Level, Outcome, ToNode, ToWorker},
};
use bytes::Bytes;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// How long output and taken inputs wait for a checkpoint, and output that somebody follows.
const OUTPUT_TIME: Duration = Duration::from_secs(1);
const FOLLOWED_TIME: Duration = Duration::from_millis(200);
/// How long a process has after it was asked to stop.
const STOP_TIME: Duration = Duration::from_secs(10);
/// How long a checkpoint may take when the node stops.
const PARTING_TIME: Duration = Duration::from_secs(5);
/// How long a checkpoint that could not be kept waits until it is tried again.
const AGAIN_TIME: Duration = Duration::from_secs(1);
/// Inputs that the program has room for, and of which not all need be kept as taken.
const ROOM: u64 = 16;
/// Calls that are remembered until a checkpoint shows that the program has heard of their end.
const CALLS_MAX: usize = 1_024;

/// How a stretch ends.
pub(super) enum End {
    /// For good.
    Over(State, Option<String>),
    /// The node stops, and the process is put away.
    Away,
    /// The worker died. Whether the process may have had to do with that.
    Crashed { is_suspect: bool },
    /// There is no worker at the moment.
    Unavailable,
    /// Its image belongs to another version.
    OtherEngine,
}

pub(super) struct Attempt<'a> {
    exec: &'a Exec,
    keep: &'a Arc<dyn Keep>,
    entry: &'a Arc<Entry>,
    record: &'a mut Record,
    channel: Channel,
    work: Work,
    prepared: Option<Prepared>,
    source: Vec<Bytes>,
    /// CPU time before this stretch.
    cpu_before: u64,
    /// An image was asked for and has not come.
    is_imaging: bool,
    /// The node stops: the next image is the last thing, if it comes until then.
    parting_at: Option<Instant>,
    /// Since when output or a taken input waits for a checkpoint.
    waits_since: Option<Instant>,
    /// Since when anything at all happened after the last checkpoint.
    changed_since: Option<Instant>,
    not_before: Instant,
    /// Numbers of the inputs that were sent and taken.
    sent: u64,
    taken: u64,
    stop_at: Option<Instant>,
    failed: bool,
    is_suspect: bool,
}

impl<'a> Attempt<'a> {
    /// Begins a stretch.
    pub(super) async fn begin(
        exec: &'a Exec,
        keep: &'a Arc<dyn Keep>,
        entry: &'a Arc<Entry>,
        record: &'a mut Record,
    ) -> Result<Self, End> {
        let failed = |error: String| End::Over(State::Failed, Some(error));
        let pieces = keep.pieces(entry.id).await.map_err(|error| failed(error.to_string()))?;
        let (source, rest) = pieces.split_at(record.source_pieces.min(pieces.len()));
        let (saved, image) = rest.split_at(record.saved_pieces.min(rest.len()));
        let saved = Saved::decode(saved).map_err(|error| failed(error.to_string()))?;
        let prepared = match image.is_empty() {
            false => None,
            true => Some(prepared(exec, record, source).await?),
        };
        let channel = exec.0.sandbox.channel().await.map_err(|_| End::Unavailable)?;
        let can_be_kept = record.kind == crate::Kind::JavaScript;
        let work = Work::new(entry.id, exec, record.authority(), record.home(), can_be_kept);
        let now = Instant::now();
        let mut attempt = Self {
            exec,
            keep,
            entry,
            cpu_before: record.cpu_us,
            sent: record.inputs_taken,
            taken: record.inputs_taken,
            record,
            channel,
            work,
            prepared,
            source: source.to_vec(),
            is_imaging: false,
            parting_at: None,
            waits_since: None,
            changed_since: None,
            not_before: now,
            stop_at: None,
            failed: false,
            is_suspect: false,
        };
        attempt.start(saved, image).await;
        Ok(attempt)
    }

    async fn start(&mut self, saved: Saved, image: &[Bytes]) {
        let (run, bounds) = (self.channel.run, self.bounds());
        if self.prepared.is_some() {
            self.is_suspect = true;
            self.note_begin().await;
            self.work.take_up(saved);
            self.run(false).await;
        } else {
            self.record.resumes += 1;
            self.entry.show_resumes(self.record.resumes);
            self.channel.send(&ToWorker::Resume { run, bounds }, &image.concat()).await;
            let told = self.work.take_up(saved);
            self.tell(told).await;
        }
        self.entry.show_state(State::Running);
    }

    /// Notes that what has no images was begun: the next time it begins again.
    async fn note_begin(&mut self) {
        if self.work.can_be_kept || self.record.begun {
            return;
        }
        self.record.begun = true;
        let (mut nothing, taken) = (Vec::new(), self.record.inputs_taken);
        let kept = self.entry.commit(self.keep, self.record, taken, &mut nothing, Change::default());
        if let Err(error) = kept.await {
            tracing::warn!(process = %self.entry.id, %error, "it could not be noted that a process was begun");
        }
    }

    /// Begins the program at its beginning.
    async fn run(&mut self, again: bool) {
        let Some(prepared) = &self.prepared else { return };
        self.channel.load(prepared.id, &prepared.image, again).await;
        let message = ToWorker::Run {
            run: self.channel.run,
            program: prepared.id,
            handler: self.record.handler,
            params: self.record.params.clone(),
            bounds: self.bounds(),
            has_bytes: false,
        };
        self.channel.send(&message, &[]).await;
    }

    fn bounds(&self) -> Bounds {
        let bounds = self.exec.0.settings.process;
        Bounds { cpu_ms: bounds.cpu_ms.saturating_sub(self.cpu_before / 1_000), ..bounds }
    }

    /// Drives it until it ends.
    pub(super) async fn drive(&mut self) -> End {
        let closing = self.exec.0.closing.clone();
        let entry = Arc::clone(self.entry);
        loop {
            if let Some(end) = self.send_inputs().await {
                return end;
            }
            let due = self.due();
            tokio::select! {
                message = self.channel.next() => {
                    let Some((message, bytes)) = message else { return self.cut_off().await };
                    if let Some(end) = self.take(message, bytes).await {
                        return end;
                    }
                }
                told = self.work.next() => self.tell(told).await,
                () = tokio::time::sleep_until(due), if !self.is_imaging => self.ask_for_image().await,
                () = entry.poked.notified() => {
                    if entry.checkpoint.swap(false, Ordering::Relaxed) {
                        self.changed();
                        self.not_before = Instant::now();
                        self.ask_for_image().await;
                    }
                }
                () = entry.kill.cancelled() => return End::Over(State::Stopped, None),
                () = entry.stop.cancelled(), if self.stop_at.is_none() => {
                    if let Some(end) = self.ask_to_stop().await {
                        return end;
                    }
                }
                () = until(self.stop_at) => return End::Over(State::Stopped, None),
                () = closing.cancelled(), if self.parting_at.is_none() => {
                    self.parting_at = Some(Instant::now() + PARTING_TIME);
                    if !self.work.can_be_kept {
                        return End::Away;
                    }
                    self.ask_for_image().await;
                }
                () = until(self.parting_at) => return End::Away,
            }
        }
    }

    /// When the next image is to be asked for.
    fn due(&self) -> Instant {
        let now = Instant::now();
        let far = now + Duration::from_secs(3_600);
        if !self.work.can_be_kept {
            return if self.work.output.is_empty() {
                far
            } else {
                self.waits_since.unwrap_or(now) + OUTPUT_TIME
            };
        }
        let is_urgent = self.work.wants_checkpoint()
            || self.work.told() > CALLS_MAX
            || self.work.output.len() >= OUTPUT_ROOM
            || self.taken - self.record.inputs_taken >= ROOM;
        if is_urgent {
            return self.not_before;
        }
        let wait = if self.entry.followers.load(Ordering::Relaxed) > 0 { FOLLOWED_TIME } else { OUTPUT_TIME };
        let period = self.exec.0.settings.checkpoint_every;
        let times =
            [self.waits_since.map(|since| since + wait), self.changed_since.map(|since| since + period)];
        times.into_iter().flatten().min().unwrap_or(far).max(self.not_before)
    }

    fn changed(&mut self) {
        self.changed_since.get_or_insert_with(Instant::now);
    }

    fn waits(&mut self) {
        self.changed();
        self.waits_since.get_or_insert_with(Instant::now);
    }

    async fn ask_for_image(&mut self) {
        if !self.work.can_be_kept {
            // There are no images of it: its output alone is kept.
            self.keep_output().await;
        } else if !self.is_imaging {
            self.is_imaging = true;
            self.channel.send(&ToWorker::Checkpoint { run: self.channel.run }, &[]).await;
        }
    }

    /// Sends the inputs that came meanwhile, as far as there is room.
    async fn send_inputs(&mut self) -> Option<End> {
        // After the word to stop nothing comes: its receipt would pass for that of an input.
        if self.stop_at.is_some() || self.sent >= self.entry.inputs_made() || self.sent - self.taken >= ROOM {
            return None;
        }
        let inputs = match self.keep.inputs(self.entry.id).await {
            Ok(inputs) => inputs,
            Err(error) => return Some(End::Over(State::Failed, Some(error.to_string()))),
        };
        for (number, input) in inputs {
            if number <= self.sent {
                continue;
            }
            if self.sent - self.taken >= ROOM {
                break;
            }
            let Some((kind, bytes)) = input.split_first() else { continue };
            self.sent = number;
            self.is_suspect = true;
            let params = format!(r#"{{"text":{}}}"#, *kind == super::TEXT);
            self.event("input", params, bytes).await;
        }
        None
    }

    async fn event(&self, event: &str, params: String, bytes: &[u8]) {
        let message =
            ToWorker::Event { run: self.channel.run, event: event.to_owned(), params, has_bytes: true };
        self.channel.send(&message, bytes).await;
    }

    async fn tell(&mut self, told: impl IntoIterator<Item = Told>) {
        for Told { id, result } in told {
            self.is_suspect = true;
            self.entry.show_state(State::Running);
            let (message, bytes) = word(self.channel.run, id, result);
            self.channel.send(&message, &bytes).await;
        }
    }

    /// Carries out what the worker says.
    async fn take(&mut self, message: ToNode, bytes: Bytes) -> Option<End> {
        match message {
            ToNode::Missing { .. } => self.run(true).await,
            ToNode::Log { level, text, .. } => self.log(level, text),
            ToNode::Idle { .. } => self.entry.show_state(State::Waiting),
            ToNode::Taken { .. } => {
                self.entry.show_state(State::Running);
                // Of the word to stop there is one, and it has no number.
                if self.taken < self.sent {
                    self.taken += 1;
                    self.waits();
                }
            }
            ToNode::Start { id, operation, params, has_bytes, .. } => {
                self.changed();
                let before = self.work.output.len();
                let told = self.work.start(id, operation, params, has_bytes.then_some(bytes));
                if self.work.output.len() > before {
                    self.waits();
                }
                self.tell(told).await;
            }
            ToNode::Forget { id, .. } => self.work.forget(id),
            ToNode::Respond { head, has_bytes, .. } => {
                match serde_json::from_str(&head) {
                    Ok(response) => self.record.response = Some(response),
                    Err(error) => self.log(Level::Error, format!("its answer has no head: {error}")),
                }
                self.write(&if has_bytes { bytes } else { Bytes::new() });
            }
            ToNode::Answer { json, has_bytes, .. } => {
                let text = if has_bytes { bytes } else { text_of(&json.unwrap_or_default()) };
                self.write(&text);
            }
            ToNode::Fail { name, message, stack, .. } => {
                self.failed = true;
                self.log(Level::Error, format!("{name}: {message}\n{}", stack.trim_end()));
            }
            ToNode::Image { pending, base, pieces, cpu_us, memory_bytes, .. } => {
                self.record.cpu_us = self.cpu_before + cpu_us;
                self.record.memory_bytes = memory_bytes;
                return self.image(&pending, base, &pieces, &bytes).await;
            }
            ToNode::Ended { outcome, cpu_us, memory_bytes, .. } => {
                self.record.cpu_us = self.cpu_before + cpu_us;
                self.record.memory_bytes = memory_bytes;
                return Some(self.over(outcome));
            }
            _ => {}
        }
        None
    }

    fn write(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.work.output.extend_from_slice(bytes);
            self.waits();
        }
    }

    /// Keeps an image and all that belongs to it, in one commit.
    async fn image(
        &mut self,
        pending: &[u32],
        base: [u8; 32],
        lengths: &[u32],
        bytes: &Bytes,
    ) -> Option<End> {
        self.is_imaging = false;
        let mut pieces = self.source.clone();
        let saved = self.work.saved(pending).encode();
        let saved_pieces = saved.len();
        pieces.extend(saved);
        let mut at = 0_usize;
        for length in lengths {
            let end = at.saturating_add(*length as usize);
            if end > bytes.len() {
                return Some(End::Over(State::Failed, Some("its image is malformed".to_owned())));
            }
            pieces.push(bytes.slice(at..end));
            at = end;
        }
        let heard_of = self.work.heard_of(pending);
        let before = self.record.clone();
        self.record.engine = Some(base);
        self.record.saved_pieces = saved_pieces;
        self.record.checkpoints += 1;
        self.record.crashes = 0;
        self.record.state = if self.parting_at.is_some() { State::Checkpointed } else { State::Running };
        let change = Change { pieces: Some(pieces), settled: heard_of.clone(), ..Change::default() };
        if let Err(error) =
            self.entry.commit(self.keep, self.record, self.taken, &mut self.work.output, change).await
        {
            tracing::warn!(process = %self.entry.id, %error, "a process could not be put away; it is tried again");
            *self.record = before;
            self.not_before = Instant::now() + AGAIN_TIME;
            self.changed();
            return None;
        }
        if self.parting_at.is_some() {
            return Some(End::Away);
        }
        self.is_suspect = false;
        (self.waits_since, self.changed_since) = (None, None);
        let told = self.work.kept(pending, &heard_of);
        self.tell(told).await;
        None
    }

    /// Keeps what was written by what has no images.
    async fn keep_output(&mut self) {
        self.waits_since = None;
        self.record.crashes = 0;
        let kept = self
            .entry
            .commit(self.keep, self.record, self.taken, &mut self.work.output, Change::default())
            .await;
        if let Err(error) = kept {
            tracing::warn!(process = %self.entry.id, %error, "output of a process could not be kept; it is tried again");
            self.waits_since = Some(Instant::now() + AGAIN_TIME);
        }
    }

    async fn ask_to_stop(&mut self) -> Option<End> {
        // What was acknowledged before comes before it.
        if let Some(end) = self.send_inputs().await {
            return Some(end);
        }
        self.stop_at = Some(Instant::now() + STOP_TIME);
        let (mut nothing, taken) = (Vec::new(), self.record.inputs_taken);
        let kept = self.entry.commit(self.keep, self.record, taken, &mut nothing, Change::default());
        if let Err(error) = kept.await {
            tracing::warn!(process = %self.entry.id, %error, "it could not be noted that a process is to stop");
        }
        self.event("stop", "{}".to_owned(), &[]).await;
        None
    }

    fn over(&mut self, outcome: Outcome) -> End {
        let id = self.entry.id;
        let failed = |run: &Self, why: String, shown: String| {
            run.log(Level::Error, why);
            End::Over(State::Failed, Some(shown))
        };
        match outcome {
            Outcome::OtherEngine => End::OtherEngine,
            Outcome::Done if self.failed => {
                End::Over(State::Failed, Some(RunError::Failed { id: id.to_string() }.to_string()))
            }
            Outcome::Done if self.entry.stop.is_cancelled() => End::Over(State::Stopped, None),
            Outcome::Done => End::Over(State::Done, None),
            Outcome::Exceeded(bound) => {
                let what = bound.names().0;
                let setting = bound.process_setting();
                let why = format!("ended: more {what} than a process may use; limit {setting}");
                failed(
                    self,
                    why,
                    format!("the program used more {what} than a process may; the limit is {setting}"),
                )
            }
            Outcome::Trapped(why) => {
                let shown = RunError::Failed { id: id.to_string() }.to_string();
                failed(self, format!("ended by the sandbox: {why}"), shown)
            }
            Outcome::Stuck => {
                let why = "it waits for something that never comes, and has not answered".to_owned();
                failed(self, why, RunError::Failed { id: id.to_string() }.to_string())
            }
            Outcome::Cancelled => {
                let why = "it ended without an answer".to_owned();
                failed(self, why, RunError::Failed { id: id.to_string() }.to_string())
            }
        }
    }

    /// There are no more messages, and the last word was not among them.
    async fn cut_off(&mut self) -> End {
        self.work.finish_effects().await;
        if !self.channel.is_open() {
            return End::Crashed { is_suspect: self.is_suspect };
        }
        self.log(Level::Error, "ended: it asked for more at once than the node listens to".to_owned());
        End::Over(State::Failed, Some(RunError::Failed { id: self.entry.id.to_string() }.to_string()))
    }

    fn log(&self, level: Level, text: String) {
        let now_ms = self.exec.interior().now_ms();
        self.exec.logs().add(&self.record.address, now_ms, level, &self.entry.id.to_string(), text);
    }

    /// What was written and not kept, and how far inputs were taken.
    pub(super) async fn rest(mut self) -> (Vec<u8>, u64) {
        self.work.finish_effects().await;
        (std::mem::take(&mut self.work.output), self.taken)
    }
}

/// The program, from the text that was put away with the process.
async fn prepared(exec: &Exec, record: &Record, source: &[Bytes]) -> Result<Prepared, End> {
    let source = record.source(source.concat().into());
    exec.prepared(&source, &record.authority()).await.map_err(|error| match error {
        PrepareError::Refused(fault) => {
            End::Over(State::Failed, Some(format!("it cannot run: {}", fault.message)))
        }
        PrepareError::Unavailable(_) => End::Unavailable,
    })
}

/// What a handler returned, as output: nothing for nothing, a text as it is, anything else as JSON.
fn text_of(json: &str) -> Bytes {
    match serde_json::from_str(json) {
        Ok(serde_json::Value::Null) => Bytes::new(),
        Ok(serde_json::Value::String(text)) => text.into(),
        _ => Bytes::copy_from_slice(json.as_bytes()),
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
