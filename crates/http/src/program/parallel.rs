//! Map and reduce: a program over the parts of objects that its caller names.
//!
//! Invariants: each input is read with what the caller shows and with nothing else, before anything of it is looked up or run; the program is given
//! the parts and no authority of its own, so that it can neither fetch what its owner granted it nor hand on what the caller may read. For the same
//! reason what it logs about an input is kept only where the caller is its owner, who reads the log.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use jsfs_exec::parallel::{Done, Job, JobError, PARTS_MAX, Part, Value};
use jsfs_exec::{
    Answer, AnswerBody, Artefacts, BodyError, BodyStream, Caller, Exec, Given, Handler, Params, RunError,
};
use jsfs_objects::address::Address;
use jsfs_objects::{
    Credentials, Execute, Grant, Holder, List, ListOptions, Listed, Object, Objects, Read, Records,
};

use super::{Found, Kept, respond, source_url};
use crate::body::Body;
use crate::front::Front;
use crate::parameters::{Parameter, others};
use crate::problem::{Kind, Problem};
use crate::request::Asked;

const ANYBODY: &str = "map and reduce take more of the machine than a request does: they need the key of the program, or a token with EXECUTE";

/// Whether the request is for a job: it names an input, and the program works on one.
pub(super) fn is_asked(asked: &Asked<'_>, found: &Found) -> bool {
    asked.parameters.has(Parameter::Input)
        && (found.prepared.has(Handler::Map) || asked.parameters.has(Parameter::Parallel))
}

/// Does the job that a request asks for.
pub(super) async fn run(
    front: &Front,
    exec: &Exec,
    asked: &Asked<'_>,
    grant: &Grant<Execute>,
    found: Found,
) -> Result<Response<Body>, Problem> {
    if matches!(grant.holder(), Holder::Anyone) {
        return Err(Problem::new(Kind::Unauthorized, ANYBODY));
    }
    let address = grant.address();
    for handler in [Handler::Map, Handler::Reduce] {
        if !found.prepared.has(handler) && !found.prepared.is_command() {
            let detail = format!(
                "{address} exports no {}; map(part, ctx) and reduce(parts, ctx) are needed, or a WebAssembly program",
                handler.name()
            );
            return Err(Problem::new(Kind::Unprocessable, detail));
        }
    }
    let at_once = exec.at_once(wanted(asked)?);
    let is_logged = matches!(grant.holder(), Holder::Owner);
    let parts = parts(front.objects(), asked, records(asked)?).await?;
    let results = is_cached(asked)?.then(|| Arc::new(Kept(front.objects().clone())) as Arc<dyn Artefacts>);
    let is_command = found.prepared.is_command();
    let job = Job {
        address: address.as_str().to_owned(),
        params: Params {
            base: source_url(address),
            env: found.attachment.env().clone(),
            // What it comes to is for whoever asks with the same input, so who that is makes no difference.
            caller: Caller { kind: "anonymous", claims: None },
            request: None,
            args: None,
            parameters: others(asked.query),
            given: Given::default(),
        },
        prepared: found.prepared,
        parts,
        bounds: exec.part_bounds(),
        at_once,
        is_logged,
        results,
    };
    let done = exec.work(job).await.map_err(|error| failed(error, is_logged))?;
    tracing::debug!(program = %address, parts = done.parts, cached = done.cached, "map and reduce");
    respond(asked, address, answer(done, is_command))
}

/// `parallel=N` or `auto`.
fn wanted(asked: &Asked<'_>) -> Result<Option<u64>, Problem> {
    match asked.parameters.get(Parameter::Parallel) {
        None | Some("auto") => Ok(None),
        Some(_) => asked.parameters.count(Parameter::Parallel),
    }
}

/// `record=line` or `none`.
fn records(asked: &Asked<'_>) -> Result<Records, Problem> {
    match asked.parameters.get(Parameter::Record) {
        None | Some("line") => Ok(Records::Lines),
        Some("none") => Ok(Records::None),
        Some(_) => Err(Problem::malformed("the parameter record is line or none")),
    }
}

/// `cache=no` makes everything anew.
fn is_cached(asked: &Asked<'_>) -> Result<bool, Problem> {
    match asked.parameters.get(Parameter::Cache) {
        None | Some("yes" | "true" | "1") => Ok(true),
        Some("no" | "false" | "0") => Ok(false),
        Some(_) => Err(Problem::malformed("the parameter cache is yes or no")),
    }
}

/// The parts of everything that `input` names, in that order.
async fn parts(objects: &Objects, asked: &Asked<'_>, records: Records) -> Result<Vec<Part>, Problem> {
    let credentials = asked.credentials()?;
    let mut parts = Vec::new();
    for text in asked.parameters.get(Parameter::Input).unwrap_or_default().split_whitespace() {
        let input = asked.destination(text).map_err(|_| {
            let detail = format!(
                "the input {text} is neither a path nor an http URL; send /path, several separated by spaces"
            );
            Problem::malformed(detail)
        })?;
        if input.is_directory() {
            below(objects, &credentials, &input, records, &mut parts).await?;
        } else {
            one(objects, &credentials, &input, records, &mut parts).await?;
        }
    }
    Ok(parts)
}

/// All objects below a directory.
async fn below(
    objects: &Objects,
    credentials: &Credentials,
    directory: &Address,
    records: Records,
    parts: &mut Vec<Part>,
) -> Result<(), Problem> {
    let grant = objects
        .authorize::<List>(credentials, directory)
        .await
        .map_err(|error| of(directory, error.into()))?;
    let mut after = None;
    loop {
        let options = ListOptions { after, recursive: true, ..ListOptions::default() };
        let listing = objects.list(&grant, options).await.map_err(|error| of(directory, error.into()))?;
        for entry in listing.entries {
            match entry.what {
                Listed::Directory => {}
                Listed::Object(metadata) => {
                    one(objects, credentials, &metadata.address, records, parts).await?
                }
                Listed::Unreadable => {
                    let detail = format!(
                        "the input {directory}{} does not open with your key; name the others one by one",
                        entry.name
                    );
                    return Err(Problem::new(Kind::Conflict, detail));
                }
            }
        }
        after = listing.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn one(
    objects: &Objects,
    credentials: &Credentials,
    input: &Address,
    records: Records,
    parts: &mut Vec<Part>,
) -> Result<(), Problem> {
    let grant =
        objects.authorize::<Read>(credentials, input).await.map_err(|error| of(input, error.into()))?;
    let object = objects.read(&grant, None).await.map_err(|error| of(input, error.into()))?;
    let cut =
        object.parts(records, PARTS_MAX - parts.len()).await.map_err(|error| of(input, error.into()))?;
    let cut = cut.filter(|cut| cut.len() <= PARTS_MAX - parts.len());
    let Some(cut) = cut else {
        let detail = format!("the input has more than {PARTS_MAX} parts; divide it among several requests");
        return Err(Problem::new(Kind::TooLarge, detail));
    };
    let object = Arc::new(object);
    parts.extend(cut.into_iter().map(|part| {
        let object = Arc::clone(&object);
        Part {
            identity: part.identity,
            address: input.as_str().to_owned(),
            offset: part.range.start,
            size: part.range.end - part.range.start,
            open: Box::new(move || stream_of(&object, part.range.clone())),
        }
    }));
    Ok(())
}

/// Says of which input something is.
fn of(input: &Address, mut problem: Problem) -> Problem {
    problem.detail = format!("the input {input}: {}", problem.detail).into();
    problem
}

fn stream_of(object: &Object, range: std::ops::Range<u64>) -> BodyStream {
    Box::pin(stream::unfold(object.body(range), |mut body| async {
        let piece = body.next().await?;
        Some((piece.map_err(|error| BodyError(error.to_string())), body))
    }))
}

fn failed(error: JobError, is_logged: bool) -> Problem {
    match error {
        JobError::TooMuch => Problem::new(Kind::InsufficientStorage, error.to_string()),
        JobError::Run { of, error } => {
            let bound = match &error {
                RunError::Exceeded(bound) => Some(bound.names_in(Handler::Map)),
                _ => None,
            };
            let why = match (&error, bound) {
                (_, Some((what, setting))) => format!("it used more {what} than a run may; the limit is {setting}"),
                (RunError::Failed { .. }, _) if !is_logged => {
                    "the program failed; nothing about it is logged, because the program's owner would read of your input".to_owned()
                }
                _ => error.to_string(),
            };
            let mut problem = Problem::from(error);
            problem.detail = format!("{of}: {why}").into();
            problem
        }
    }
}

fn answer(done: Done, is_command: bool) -> Answer {
    let (kind, body) = match done.value {
        // A text is sent as it is, and everything else as JSON.
        Value::Json(json) => match serde_json::from_slice::<String>(&json) {
            Ok(text) => ("text/plain;charset=UTF-8", Bytes::from(text)),
            Err(_) => ("application/json", json),
        },
        // WebAssembly says what it gives no other way than by what that is.
        Value::Binary(bytes) if is_command && is_text(&bytes) => ("text/plain;charset=UTF-8", bytes),
        Value::Binary(bytes) => ("application/octet-stream", bytes),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("x-parts", HeaderValue::from(done.parts));
    headers.insert("x-parts-cached", HeaderValue::from(done.cached));
    Answer { status: StatusCode::OK, headers, body: AnswerBody::Full(body) }
}

fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}
