//! One program over many parts of an input: `map` makes a value of each part, several at a time, and `reduce` makes one of several values until one is left.
//!
//! Both are deterministic, so what they made is kept by what it was made of: the program, what it was given, and the content. A map that looked at where its
//! part lies is kept by that too. Values are grouped for `reduce` where their content says so: a value that changes changes the
//! groups above it and no others.

use crate::{
    Answer, AnswerBody, Artefact, Artefacts, Authority, Begin, BodyStream, Bounds, Handler, Params, Prepared,
    RunError,
    placement::Placement,
    said::{Given, PartHead},
    wire::Bound,
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
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
const GROUP_BYTES_MAX: usize = 32 << 20;
/// One value in so many ends a group.
const GROUP: u8 = 8;

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
const LOOKED: u8 = 2;

/// A value, and what it is known by.
#[derive(Clone)]
struct Known {
    value: Value,
    hash: [u8; 32],
}

struct Working {
    job: Job,
    placement: Arc<dyn Placement>,
    /// Everything that a value rests on besides the content.
    setting: [u8; 32],
    cached: AtomicU64,
    bytes: AtomicU64,
}

/// Does a job.
///
/// # Errors
/// Names the part that failed.
pub async fn work(placement: Arc<dyn Placement>, job: Job) -> Result<Done, JobError> {
    let (at_once, parts) = (job.at_once.max(1), job.parts.len());
    let (cached, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let working = Arc::new(Working { setting: setting(&job), job, placement, cached, bytes });
    let maps = stream::iter(0..parts).map(|at| Arc::clone(&working).map(at));
    let mut values: Vec<Known> = maps.buffered(at_once).try_collect().await?;
    let mut is_reduced = false;
    while values.len() > 1 || !is_reduced {
        let is_last = values.len() <= 1;
        let reduces = stream::iter(groups(values)).map(|group| Arc::clone(&working).reduce(group, is_last));
        values = reduces.buffered(at_once).try_collect().await?;
        is_reduced = true;
    }
    let value = values.pop().map_or_else(|| Value::Json(Bytes::from_static(b"null")), |known| known.value);
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
        let length = known.value.bytes().len();
        let is_full = group.len() >= GROUP_MAX || bytes + length > GROUP_BYTES_MAX;
        let is_end = group.len() >= 2 && group.last().is_some_and(|last| last.hash[0].is_multiple_of(GROUP));
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

    async fn map(self: Arc<Self>, at: usize) -> Result<Known, JobError> {
        let part = &self.job.parts[at];
        let plain = self.key(&[b"map", &part.identity]);
        let placed =
            self.key(&[b"map at", &part.identity, part.address.as_bytes(), &part.offset.to_le_bytes()]);
        if let Some(known) = self.found(&plain, Some(&placed)).await {
            self.cached.fetch_add(1, Ordering::Relaxed);
            return self.counted(known);
        }
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
        if let Some(results) = &self.job.results {
            if looked.load(Ordering::Relaxed) {
                results.keep(Artefact::Value, placed, value.encode()).await;
                results.keep(Artefact::Value, plain, Bytes::from_static(&[LOOKED])).await;
            } else {
                results.keep(Artefact::Value, plain, value.encode()).await;
            }
        }
        self.counted(value)
    }

    async fn reduce(self: Arc<Self>, group: Vec<Known>, is_last: bool) -> Result<Known, JobError> {
        if group.len() == 1 && !is_last {
            return Ok(group.into_iter().next().unwrap_or_else(|| Known::of(Value::Json(Bytes::new()))));
        }
        let hashes: Vec<&[u8]> = group.iter().map(|known| known.hash.as_slice()).collect();
        let key = self.key(&[&[b"reduce".as_slice()], hashes.as_slice()].concat());
        let before: u64 = group.iter().map(|known| known.value.bytes().len() as u64).sum();
        let known = match self.found(&key, None).await {
            Some(known) => known,
            None => {
                let values = group_values(&group);
                let known = self.reduced(values).await.map_err(|error| JobError::Run {
                    of: format!("reduce of {} values", group.len()),
                    error,
                })?;
                if let Some(results) = &self.job.results {
                    results.keep(Artefact::Value, key, known.encode()).await;
                }
                known
            }
        };
        self.bytes.fetch_sub(before, Ordering::Relaxed);
        self.counted(known)
    }

    /// Runs `reduce`: a command reads the values, and everything else is given them.
    async fn reduced(&self, values: Vec<Value>) -> Result<Known, RunError> {
        let looked = Arc::default();
        if !self.job.prepared.is_command() {
            return self.run(Handler::Reduce, &Given::values(&values), None, &looked).await;
        }
        let open = move || framed(&values);
        self.run(Handler::Reduce, &Given::default(), Some(&open), &looked).await
    }

    fn counted(&self, known: Known) -> Result<Known, JobError> {
        let length = known.value.bytes().len() as u64;
        match self.bytes.fetch_add(length, Ordering::Relaxed) + length {
            total if total > VALUES_MAX => Err(JobError::TooMuch),
            _ => Ok(known),
        }
    }

    async fn found(&self, key: &[u8; 32], placed: Option<&[u8; 32]>) -> Option<Known> {
        let results = self.job.results.as_ref()?;
        let kept = results.get(Artefact::Value, *key).await?;
        match (kept.first(), placed) {
            (Some(&LOOKED), Some(placed)) => Known::decode(results.get(Artefact::Value, *placed).await?),
            _ => Known::decode(kept),
        }
    }

    /// Runs it, several times where that may help.
    async fn run(
        &self,
        handler: Handler,
        given: &Given,
        open: Option<&(dyn Fn() -> BodyStream + Send + Sync)>,
        looked: &Arc<AtomicBool>,
    ) -> Result<Known, RunError> {
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
                Ok(answer) => return value_of(answer).await.map(Known::of),
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

fn group_values(group: &[Known]) -> Vec<Value> {
    group.iter().map(|known| known.value.clone()).collect()
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

impl Known {
    fn of(value: Value) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[value.mark()]);
        hasher.update(value.bytes());
        Self { hash: *hasher.finalize().as_bytes(), value }
    }

    fn encode(&self) -> Bytes {
        [&[self.value.mark()], &self.value.bytes()[..]].concat().into()
    }

    fn decode(kept: Bytes) -> Option<Self> {
        let value = match *kept.first()? {
            JSON => Value::Json(kept.slice(1..)),
            BINARY => Value::Binary(kept.slice(1..)),
            _ => return None,
        };
        Some(Self::of(value))
    }
}

impl Value {
    fn mark(&self) -> u8 {
        match self {
            Self::Json(_) => JSON,
            Self::Binary(_) => BINARY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::said::Caller;
    use futures_util::future::BoxFuture;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use std::{
        collections::{BTreeMap, HashMap},
        sync::{Mutex, atomic::AtomicUsize},
    };

    /// Makes a list of one of each part, and joins lists; says how many runs there were and how many at once.
    #[derive(Default)]
    struct Joining {
        running: AtomicUsize,
        most: AtomicUsize,
        maps: AtomicUsize,
        reduces: AtomicUsize,
        /// Runs that fail before one succeeds.
        failures: Mutex<Vec<RunError>>,
    }

    impl Placement for Joining {
        fn run(&self, begin: Begin) -> BoxFuture<'_, Result<Answer, RunError>> {
            Box::pin(async move {
                let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(running, Ordering::SeqCst);
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                self.running.fetch_sub(1, Ordering::SeqCst);
                if let Some(error) = self.failures.lock().unwrap().pop() {
                    return Err(error);
                }
                let body = match (&begin.params.given.part, &begin.params.given.values) {
                    (Some(part), _) => {
                        self.maps.fetch_add(1, Ordering::SeqCst);
                        format!("[{}]", part.offset)
                    }
                    (None, values) => {
                        self.reduces.fetch_add(1, Ordering::SeqCst);
                        let lists: Vec<Vec<u64>> = serde_json::from_str(values.as_ref().unwrap()).unwrap();
                        assert!(lists.len() <= GROUP_MAX);
                        serde_json::to_string(&lists.concat()).unwrap()
                    }
                };
                let mut headers = HeaderMap::new();
                headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok(Answer { status: StatusCode::OK, headers, body: AnswerBody::Full(body.into()) })
            })
        }
    }

    #[derive(Default)]
    struct Memory(Mutex<HashMap<[u8; 32], Bytes>>);

    impl Artefacts for Memory {
        fn get(&self, _: Artefact, key: [u8; 32]) -> BoxFuture<'_, Option<Bytes>> {
            Box::pin(std::future::ready(self.0.lock().unwrap().get(&key).cloned()))
        }

        fn keep(&self, _: Artefact, key: [u8; 32], value: Bytes) -> BoxFuture<'_, ()> {
            self.0.lock().unwrap().insert(key, value);
            Box::pin(std::future::ready(()))
        }
    }

    fn job(parts: u64, at_once: usize, results: Option<Arc<dyn Artefacts>>) -> Job {
        let part = |offset: u64| Part {
            identity: *blake3::hash(&offset.to_le_bytes()).as_bytes(),
            address: "/a".to_owned(),
            offset,
            size: 1,
            open: Box::new(|| Box::pin(stream::empty())),
        };
        Job {
            prepared: Prepared::for_tests(),
            address: "/p".to_owned(),
            params: Params {
                base: String::new(),
                env: BTreeMap::new(),
                caller: Caller { kind: "anonymous", claims: None },
                request: None,
                args: None,
                parameters: BTreeMap::new(),
                given: Given::default(),
            },
            parts: (0..parts).map(part).collect(),
            bounds: Bounds {
                cpu_ms: 1,
                wall_ms: 1,
                memory_bytes: 1,
                output_bytes: 1,
                requests: 0,
                log_bytes: 0,
            },
            at_once,
            is_logged: true,
            results,
        }
    }

    fn list(done: &Done) -> Vec<u64> {
        serde_json::from_slice(done.value.bytes()).unwrap()
    }

    #[tokio::test]
    async fn values_keep_their_order_and_runs_their_number() {
        for (parts, at_once) in [(0, 1), (1, 1), (2, 1), (17, 3), (400, 7)] {
            let place = Arc::new(Joining::default());
            let done = work(Arc::clone(&place) as _, job(parts, at_once, None)).await.unwrap();
            assert_eq!(list(&done), (0..parts).collect::<Vec<_>>());
            assert!(place.most.load(Ordering::SeqCst) <= at_once, "{parts} parts, {at_once} at once");
            assert!(place.reduces.load(Ordering::SeqCst) >= 1, "reduce is always called");
        }
    }

    #[tokio::test]
    async fn a_new_part_changes_the_values_above_it_and_no_others() {
        let results: Arc<dyn Artefacts> = Arc::new(Memory::default());
        let place = Arc::new(Joining::default());
        work(Arc::clone(&place) as _, job(400, 2, Some(Arc::clone(&results)))).await.unwrap();
        let before = place.reduces.swap(0, Ordering::SeqCst);
        place.maps.store(0, Ordering::SeqCst);
        let mut changed = job(400, 2, Some(results));
        let new = job(1_000, 2, None).parts.pop().unwrap();
        changed.parts.insert(200, new);
        let done = work(Arc::clone(&place) as _, changed).await.unwrap();
        assert_eq!((list(&done).len(), done.cached, place.maps.load(Ordering::SeqCst)), (401, 400, 1));
        let after = place.reduces.load(Ordering::SeqCst);
        assert!(after * 4 < before, "{after} of {before}");
    }

    #[tokio::test]
    async fn what_is_not_a_parts_own_fault_is_tried_again_and_what_is_ends_the_job() {
        let tried = async |failures: Vec<RunError>| {
            let place = Arc::new(Joining { failures: failures.into(), ..Joining::default() });
            work(place as _, job(1, 1, None)).await
        };
        assert!(tried(vec![RunError::Crashed, RunError::Busy]).await.is_ok());
        assert!(tried(vec![RunError::Crashed, RunError::Crashed, RunError::Busy]).await.is_err());
        let error = tried(vec![RunError::Exceeded(Bound::Cpu)]).await.unwrap_err().to_string();
        assert!(error.starts_with("part 1 of 1, bytes 0 to 1 of /a: "), "{error}");
    }

    #[test]
    fn bytes_among_values_are_told_apart() {
        let values = [Value::Json("1".into()), Value::Binary("xy".into()), Value::Json("[2]".into())];
        let given = Given::values(&values);
        assert_eq!(given.values.unwrap(), "[1,null,[2]]");
        assert_eq!((given.binary, given.bytes.unwrap()), (vec![(1, 2)], Bytes::from("xy")));
    }
}
