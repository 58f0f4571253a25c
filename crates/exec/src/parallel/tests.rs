//! Jobs over a program that joins lists, with what is kept in memory.

use super::{Done, GROUP_MAX, JSON, Job, Part, Value, work};
use crate::{
    Answer, AnswerBody, Artefact, Artefacts, Begin, Bounds, Params, Prepared, RunError,
    placement::Placement,
    said::{Caller, Given},
    wire::Bound,
};
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
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

/// Keeps everything, and counts the values (not their outlines) that are read.
#[derive(Default)]
struct Memory {
    kept: Mutex<HashMap<[u8; 32], Bytes>>,
    read: AtomicUsize,
}

fn is_value(kept: &Bytes) -> bool {
    kept.starts_with(&[JSON, b'['])
}

impl Artefacts for Memory {
    fn get(&self, _: Artefact, key: [u8; 32]) -> BoxFuture<'_, Option<Bytes>> {
        let kept = self.kept.lock().unwrap().get(&key).cloned();
        self.read.fetch_add(usize::from(kept.as_ref().is_some_and(is_value)), Ordering::SeqCst);
        Box::pin(std::future::ready(kept))
    }

    fn keep(&self, _: Artefact, key: [u8; 32], value: Bytes) -> BoxFuture<'_, ()> {
        self.kept.lock().unwrap().insert(key, value);
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
        bounds: Bounds { cpu_ms: 1, wall_ms: 1, memory_bytes: 1, output_bytes: 1, requests: 0, log_bytes: 0 },
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
async fn of_a_job_of_which_little_changed_few_values_are_read() {
    let results = Arc::new(Memory::default());
    let place = Arc::new(Joining::default());
    work(Arc::clone(&place) as _, job(400, 2, Some(Arc::clone(&results) as _))).await.unwrap();
    assert_eq!(results.read.swap(0, Ordering::SeqCst), 0);
    let again = work(Arc::clone(&place) as _, job(400, 2, Some(Arc::clone(&results) as _))).await.unwrap();
    assert_eq!((list(&again).len(), again.cached), (400, 400));
    assert_eq!(results.read.swap(0, Ordering::SeqCst), 1, "the last value");
    let mut changed = job(400, 2, Some(Arc::clone(&results) as _));
    changed.parts.remove(200);
    assert_eq!(list(&work(place, changed).await.unwrap()).len(), 399);
    let read = results.read.load(Ordering::SeqCst);
    assert!((1..60).contains(&read), "the groups above the part that went read {read}");
}

#[tokio::test]
async fn values_that_are_gone_are_made_again() {
    let results = Arc::new(Memory::default());
    let place = Arc::new(Joining::default());
    work(Arc::clone(&place) as _, job(100, 2, Some(Arc::clone(&results) as _))).await.unwrap();
    results.kept.lock().unwrap().retain(|_, kept| !is_value(kept));
    let (maps, reduces) = (&place.maps, &place.reduces);
    let before = (maps.load(Ordering::SeqCst), reduces.load(Ordering::SeqCst));
    let again = work(Arc::clone(&place) as _, job(100, 2, Some(results as _))).await.unwrap();
    assert_eq!((list(&again), again.cached), ((0..100).collect(), 100));
    assert_eq!((maps.load(Ordering::SeqCst), reduces.load(Ordering::SeqCst)), (before.0 * 2, before.1 * 2));
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
