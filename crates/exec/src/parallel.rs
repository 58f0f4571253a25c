//! One program over many parts of an input: `map` makes a value of each part, several at a time, and `reduce` makes one of several values until one is left.
//!
//! Both are deterministic, so what they made is kept by what it was made of: the program, what it was given, and the content. A map that looked at where its
//! part lies is kept by that too. Values are grouped for `reduce` where their content says so: a value that changes changes the
//! groups above it and no others.
//!
//! For that a value's hash and length are enough. They are kept beside the values, of many neighbouring parts together, and a value itself is read only
//! where one above it is made anew. So a job of which little changed reads little.

use crate::{
    Answer, AnswerBody, Artefact, Artefacts, Authority, Begin, BodyStream, Bounds, Handler, Params, Prepared,
    RunError,
    placement::Placement,
    said::{Given, PartHead},
    wire::Bound,
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Most parts of one job.
pub const PARTS_MAX: usize = 65_536;
/// Most bytes of one value.
pub const VALUE_MAX: u64 = 16 << 20;
/// Most bytes of the values of a job that wait to be reduced.
pub const VALUES_MAX: u64 = 128 << 20;
/// How often a part is tried that fails for a reason which is not its own.
const ATTEMPTS: usize = 3;
/// Values that are reduced at a time.
const GROUP_MAX: usize = 16;
/// Bytes of them.
const GROUP_BYTES_MAX: u64 = 32 << 20;
/// One value in so many ends a group.
const GROUP: u8 = 8;
/// Parts whose outlines are kept together.
const STRETCH_MAX: usize = 64;
/// One part in so many ends a stretch.
const STRETCH: u8 = 16;

/// A part of the input.
pub struct Part {
    /// Its content.
    pub identity: [u8; 32],
    /// What it lies in.
    pub address: String,
    /// Where it begins there.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
    /// Reads it, from the beginning each time.
    pub open: Box<dyn Fn() -> BodyStream + Send + Sync>,
}

/// What is to be done.
pub struct Job {
    /// The program.
    pub prepared: Prepared,
    /// Its address, which its log is kept under.
    pub address: String,
    /// What each run is told.
    pub params: Params,
    /// The input.
    pub parts: Vec<Part>,
    /// What one run may use.
    pub bounds: Bounds,
    /// Runs at the same time.
    pub at_once: usize,
    /// Whether what it logs is kept: lines may tell the input to whoever reads the log.
    pub is_logged: bool,
    /// Where values are kept; none where each is to be made anew.
    pub results: Option<Arc<dyn Artefacts>>,
}

/// A value that a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// JSON text.
    Json(Bytes),
    /// Bytes.
    Binary(Bytes),
}

/// What a job came to.
#[derive(Debug)]
pub struct Done {
    /// The value.
    pub value: Value,
    /// How many parts the input had.
    pub parts: usize,
    /// Of how many the value was known.
    pub cached: u64,
}

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A run failed.
    #[error("{of}: {error}")]
    Run {
        /// Which.
        of: String,
        /// How.
        error: RunError,
    },
    /// All values together are too many.
    #[error("the values of the parts have more than {VALUES_MAX} bytes together; return less from map")]
    TooMuch,
}

const JSON: u8 = 0;
const BINARY: u8 = 1;

/// What tells a value from others.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Outline {
    hash: [u8; 32],
    length: u64,
}

/// A value of which it is known how to come by it.
#[derive(Clone)]
struct Known {
    outline: Outline,
    origin: Origin,
    /// Itself, where it is in memory.
    value: Option<Value>,
}

#[derive(Clone)]
enum Origin {
    /// A part, by its number, and whether the value rests on where that lies.
    Part(usize, bool),
    /// Several values, reduced.
    Group(Arc<[Known]>),
}

struct Working {
    job: Job,
    placement: Arc<dyn Placement>,
    /// Everything that a value rests on besides the content.
    setting: [u8; 32],
    /// Of each part what its value is, where that was known and does not rest on where the part lies.
    notes: Vec<Option<Outline>>,
    cached: AtomicU64,
    /// Bytes of values in memory.
    bytes: AtomicU64,
}

/// Does a job.
///
/// # Errors
/// Names the part that failed.
pub async fn work(placement: Arc<dyn Placement>, job: Job) -> Result<Done, JobError> {
    let (at_once, parts) = (job.at_once.max(1), job.parts.len());
    let (cached, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut working = Working { setting: setting(&job), job, placement, notes: Vec::new(), cached, bytes };
    working.notes = working.noted().await;
    let working = Arc::new(working);
    let maps = stream::iter(0..parts).map(|at| Arc::clone(&working).map(at));
    let mut values: Vec<Known> = maps.buffered(at_once).try_collect().await?;
    working.note(&values).await;
    let mut is_reduced = false;
    while values.len() > 1 || !is_reduced {
        let is_last = values.len() <= 1;
        let reduces = stream::iter(groups(values)).map(|group| Arc::clone(&working).reduce(group, is_last));
        values = reduces.buffered(at_once).try_collect().await?;
        is_reduced = true;
    }
    let value = match values.pop() {
        Some(known) => working.value(&known).await?,
        None => Value::Json(Bytes::from_static(b"null")),
    };
    Ok(Done { value, parts, cached: working.cached.load(Ordering::Relaxed) })
}

fn setting(job: &Job) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("jsfs map and reduce 1");
    hasher.update(&job.prepared.source);
    let given = (&job.params.base, &job.params.env, &job.params.parameters);
    hasher.update(&serde_json::to_vec(&given).unwrap_or_default());
    *hasher.finalize().as_bytes()
}

/// Values that are reduced together, in their order. None has one value, but where there is no other.
fn groups(values: Vec<Known>) -> Vec<Vec<Known>> {
    let mut groups = Vec::new();
    let mut group: Vec<Known> = Vec::new();
    let mut bytes = 0;
    for known in values {
        let length = known.outline.length;
        let is_full = group.len() >= GROUP_MAX || bytes + length > GROUP_BYTES_MAX;
        let is_end =
            group.len() >= 2 && group.last().is_some_and(|last| last.outline.hash[0].is_multiple_of(GROUP));
        if is_full || is_end {
            groups.push(std::mem::take(&mut group));
            bytes = 0;
        }
        bytes += length;
        group.push(known);
    }
    groups.push(group);
    groups
}

impl Working {
    fn key(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.setting);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    /// Neighbouring parts whose outlines are kept together, and under which key. Where they end the parts say, so that an edit changes one
    /// stretch or two.
    fn stretches(&self) -> Vec<(Range<usize>, [u8; 32])> {
        let parts = &self.job.parts;
        let mut stretches = Vec::new();
        let mut from = 0;
        for at in 1..=parts.len() {
            let is_end = parts[at - 1].identity[1].is_multiple_of(STRETCH);
            if is_end || at - from == STRETCH_MAX || at == parts.len() {
                let identities = parts[from..at].iter().map(|part| part.identity.as_slice());
                let key: Vec<&[u8]> = std::iter::once(b"outlines".as_slice()).chain(identities).collect();
                stretches.push((from..at, self.key(&key)));
                from = at;
            }
        }
        stretches
    }

    /// What is known of all parts.
    async fn noted(&self) -> Vec<Option<Outline>> {
        let mut notes = vec![None; self.job.parts.len()];
        let Some(results) = &self.job.results else { return notes };
        for (range, key) in self.stretches() {
            let kept = results.get(Artefact::Value, key).await;
            let known = kept.and_then(|kept| postcard::from_bytes::<Vec<Option<Outline>>>(&kept).ok());
            if let Some(known) = known.filter(|known| known.len() == range.len()) {
                notes[range].copy_from_slice(&known);
            }
        }
        notes
    }

    /// Keeps what is known of all parts now.
    async fn note(&self, values: &[Known]) {
        for (range, key) in self.stretches() {
            let known: Vec<_> = values[range.clone()].iter().map(Known::note).collect();
            if known != self.notes[range] {
                self.keep(key, postcard::to_stdvec(&known).unwrap_or_default().into()).await;
            }
        }
    }

    async fn map(self: Arc<Self>, at: usize) -> Result<Known, JobError> {
        if let Some(outline) = self.notes[at] {
            self.cached.fetch_add(1, Ordering::Relaxed);
            return Ok(Known { outline, origin: Origin::Part(at, false), value: None });
        }
        for is_placed in [false, true] {
            if let Some(value) = self.found(&self.map_key(at, is_placed)).await {
                self.cached.fetch_add(1, Ordering::Relaxed);
                return self.held(Known::new(value, Origin::Part(at, is_placed)));
            }
        }
        let (value, is_placed) = self.mapped(at).await?;
        self.held(Known::new(value, Origin::Part(at, is_placed)))
    }

    fn map_key(&self, at: usize, is_placed: bool) -> [u8; 32] {
        let part = &self.job.parts[at];
        match is_placed {
            false => self.key(&[b"map", &part.identity]),
            true => {
                self.key(&[b"map at", &part.identity, part.address.as_bytes(), &part.offset.to_le_bytes()])
            }
        }
    }

    /// Runs `map`. Says whether it looked at where the part lies.
    async fn mapped(&self, at: usize) -> Result<(Value, bool), JobError> {
        let part = &self.job.parts[at];
        let looked = Arc::new(AtomicBool::new(false));
        let head = PartHead { address: part.address.clone(), offset: part.offset, size: part.size };
        let given = Given { part: Some(head), ..Given::default() };
        let run = self.run(Handler::Map, &given, Some(&part.open), &looked).await;
        let value = run.map_err(|error| JobError::Run {
            of: format!(
                "part {} of {}, bytes {} to {} of {}",
                at + 1,
                self.job.parts.len(),
                part.offset,
                part.offset + part.size,
                part.address
            ),
            error,
        })?;
        let is_placed = looked.load(Ordering::Relaxed);
        self.keep(self.map_key(at, is_placed), value.encode()).await;
        Ok((value, is_placed))
    }

    async fn reduce(self: Arc<Self>, mut group: Vec<Known>, is_last: bool) -> Result<Known, JobError> {
        if group.len() == 1 && !is_last {
            return Ok(group.remove(0));
        }
        let known = match self.outlined(&group).await {
            Some(outline) => Ok((outline, None)),
            None => self.reduced(&group).await.map(|value| (value.outline(), Some(value))),
        };
        for below in &mut group {
            let held = below.value.take().map_or(0, |value| value.bytes().len() as u64);
            self.bytes.fetch_sub(held, Ordering::Relaxed);
        }
        let (outline, value) = known?;
        self.held(Known { outline, origin: Origin::Group(group.into()), value })
    }

    /// What is known of what several values come to.
    async fn outlined(&self, group: &[Known]) -> Option<Outline> {
        let kept =
            self.job.results.as_ref()?.get(Artefact::Value, self.reduce_key(b"outline", group)).await?;
        postcard::from_bytes(&kept).ok()
    }

    fn reduce_key(&self, what: &[u8], group: &[Known]) -> [u8; 32] {
        let hashes = group.iter().map(|known| known.outline.hash.as_slice());
        self.key(&std::iter::once(what).chain(hashes).collect::<Vec<_>>())
    }

    /// What several values come to: as it is kept, or made.
    async fn reduced(&self, group: &[Known]) -> Result<Value, JobError> {
        let key = self.reduce_key(b"reduce", group);
        let value = match self.found(&key).await {
            Some(value) => value,
            None => {
                let mut values = Vec::with_capacity(group.len());
                for known in group {
                    values.push(Box::pin(self.value(known)).await?);
                }
                let of = format!("reduce of {} values", group.len());
                let value = self.run_reduce(values).await.map_err(|error| JobError::Run { of, error })?;
                self.keep(key, value.encode()).await;
                value
            }
        };
        let outline = postcard::to_stdvec(&value.outline()).unwrap_or_default();
        self.keep(self.reduce_key(b"outline", group), outline.into()).await;
        Ok(value)
    }

    /// Runs `reduce`: a command reads the values, and everything else is given them.
    async fn run_reduce(&self, values: Vec<Value>) -> Result<Value, RunError> {
        let looked = Arc::default();
        if !self.job.prepared.is_command() {
            return self.run(Handler::Reduce, &Given::values(&values), None, &looked).await;
        }
        let open = move || framed(&values);
        self.run(Handler::Reduce, &Given::default(), Some(&open), &looked).await
    }

    /// A value itself. One that is no longer kept is made again.
    async fn value(&self, known: &Known) -> Result<Value, JobError> {
        match (&known.value, &known.origin) {
            (Some(value), _) => Ok(value.clone()),
            (None, Origin::Part(at, is_placed)) => match self.found(&self.map_key(*at, *is_placed)).await {
                Some(value) => Ok(value),
                None => Ok(self.mapped(*at).await?.0),
            },
            (None, Origin::Group(group)) => self.reduced(group).await,
        }
    }

    /// Counts a value that is in memory, as long as all together are not too much.
    fn held(&self, known: Known) -> Result<Known, JobError> {
        let length = known.value.as_ref().map_or(0, |value| value.bytes().len() as u64);
        match self.bytes.fetch_add(length, Ordering::Relaxed) + length {
            total if total > VALUES_MAX => Err(JobError::TooMuch),
            _ => Ok(known),
        }
    }

    async fn found(&self, key: &[u8; 32]) -> Option<Value> {
        Value::decode(&self.job.results.as_ref()?.get(Artefact::Value, *key).await?)
    }

    async fn keep(&self, key: [u8; 32], bytes: Bytes) {
        if let Some(results) = &self.job.results {
            results.keep(Artefact::Value, key, bytes).await;
        }
    }

    /// Runs it, several times where that may help.
    async fn run(
        &self,
        handler: Handler,
        given: &Given,
        open: Option<&(dyn Fn() -> BodyStream + Send + Sync)>,
        looked: &Arc<AtomicBool>,
    ) -> Result<Value, RunError> {
        let job = &self.job;
        let mut attempt = 1;
        loop {
            let begin = Begin {
                prepared: job.prepared.clone(),
                address: job.address.clone(),
                authority: Authority::default(),
                handler,
                params: Params { given: given.clone(), ..job.params.clone() },
                body: open.map(|open| open()),
                bounds: job.bounds,
                is_logged: job.is_logged,
                looked: Some(Arc::clone(looked)),
            };
            match self.placement.run(begin).await {
                Ok(answer) => return value_of(answer).await,
                Err(
                    error @ (RunError::Crashed
                    | RunError::Busy
                    | RunError::Unavailable(_)
                    | RunError::Exceeded(Bound::Wall)),
                ) if attempt < ATTEMPTS => {
                    tracing::debug!(%error, attempt, "a part is run again");
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Values as a command reads them: of each a line that says how many bytes it has, and these.
fn framed(values: &[Value]) -> BodyStream {
    let frames = values.iter().flat_map(|value| {
        let bytes = value.bytes().clone();
        [Ok(Bytes::from(format!("{}\n", bytes.len()))), Ok(bytes)]
    });
    Box::pin(stream::iter(frames.collect::<Vec<_>>()))
}

async fn value_of(answer: Answer) -> Result<Value, RunError> {
    let is_json =
        answer.headers.get(http::header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    let bytes = match answer.body {
        AnswerBody::Full(bytes) => bytes,
        AnswerBody::Stream(mut pieces) => {
            let mut bytes = BytesMut::new();
            while let Some(Ok(piece)) = pieces.next().await {
                bytes.extend_from_slice(&piece);
            }
            bytes.freeze()
        }
        AnswerBody::Socket(_) => Bytes::new(),
    };
    Ok(if is_json { Value::Json(bytes) } else { Value::Binary(bytes) })
}

impl Value {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Json(bytes) | Self::Binary(bytes) => bytes,
        }
    }
}

impl Value {
    fn mark(&self) -> u8 {
        match self {
            Self::Json(_) => JSON,
            Self::Binary(_) => BINARY,
        }
    }

    fn outline(&self) -> Outline {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[self.mark()]);
        hasher.update(self.bytes());
        Outline { hash: *hasher.finalize().as_bytes(), length: self.bytes().len() as u64 }
    }

    fn encode(&self) -> Bytes {
        [&[self.mark()], &self.bytes()[..]].concat().into()
    }

    fn decode(kept: &Bytes) -> Option<Self> {
        match *kept.first()? {
            JSON => Some(Self::Json(kept.slice(1..))),
            BINARY => Some(Self::Binary(kept.slice(1..))),
            _ => None,
        }
    }
}

impl Known {
    fn new(value: Value, origin: Origin) -> Self {
        Self { outline: value.outline(), origin, value: Some(value) }
    }

    /// What is kept of a part's value beside it: nothing where it rests on where the part lies.
    fn note(&self) -> Option<Outline> {
        matches!(self.origin, Origin::Part(_, false)).then_some(self.outline)
    }
}

#[cfg(test)]
mod tests;
