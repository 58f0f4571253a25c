//! Processes at the front door: `Prefer: respond-async` makes one of a request for a program, and `/.jsfs/proc/…` shows and controls it.
//!
//! Invariants: a process is there for who holds the key of its program's address, and for the token that started it as long as that may run the
//! program; to everybody else each verb says what it says of an id that never was. Anonymous callers start none, because nobody could be
//! told from them.

mod again;
mod keeping;

pub(crate) use again::answer as answer_again;
pub(crate) use keeping::Keeping;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{HeaderMap, Response, StatusCode};
use jsfs_exec::process::{INPUT_MAX, Input, ProcessError, ProcessId, Start, Starter, Status};
use jsfs_exec::{Exec, Handler, Params};
use jsfs_objects::address::Address;
use jsfs_objects::{Credentials, Execute, Grant, Holder, Manage, Refusal};
use serde::Serialize;
use std::collections::HashMap;

use crate::body::{Arriving, Body, BrokenOff};
use crate::front::Front;
use crate::metadata::json;
use crate::parameters::{Parameter, pairs};
use crate::problem::{Kind, Problem};
use crate::request::{Asked, prefers};
use crate::wire::rfc3339;

/// What a stranger hears, of a process that is there and of one that is not.
const ABSENT: &str = "there is no such process, or nothing that you may see; the key of its program opens it, and the token that started it";

/// Whether a request asks that its program goes on by itself (RFC 7240 §4.1).
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    prefers(headers, "respond-async")
}

/// Who starts a process, as it is kept.
pub(crate) fn starter(grant: &Grant<Execute>) -> Result<Starter, Problem> {
    match grant.holder() {
        Holder::Owner => Ok(Starter::Owner),
        Holder::Token { jti, .. } => Ok(Starter::Token(jti.to_owned())),
        Holder::Anyone => {
            let detail = "a process needs somebody to whom it belongs; send the program's key, or a token with EXECUTE for it";
            Err(Problem::new(Kind::Unauthorized, detail))
        }
    }
}

/// Starts a process and says where it is.
pub(crate) async fn start(exec: &Exec, asked: &Asked<'_>, start: Start) -> Result<Response<Body>, Problem> {
    let status = exec.start(start).await?;
    let mut response = json(StatusCode::ACCEPTED, &Document::from(status.clone()))?;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/.jsfs/proc/{}", status.id)) {
        headers.insert(LOCATION, location);
    }
    headers.insert("preference-applied", HeaderValue::from_static("respond-async"));
    tracing::debug!(process = %status.id, host = asked.host(), "a process was started");
    Ok(response)
}

/// What a process is told at its beginning: `main` gets arguments instead of a request.
pub(crate) fn beginning(asked: &Asked<'_>, handler: Handler, mut params: Params) -> Params {
    if handler == Handler::Main {
        params.request = None;
        params.args = Some(values(asked.query, "arg"));
    }
    params
}

/// The whole of a body that is sent to a process.
pub(crate) async fn input(headers: &HeaderMap, body: Arriving) -> Result<Input, Problem> {
    let mut body = body.at_most(INPUT_MAX as u64);
    body.check_announced()?;
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await? {
        bytes.extend_from_slice(&piece);
    }
    let says_bytes = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/octet-stream"));
    let is_text = !says_bytes && std::str::from_utf8(&bytes).is_ok();
    Ok(Input { is_text, bytes: bytes.freeze() })
}

/// The values of a parameter of the query, in order.
fn values(query: Option<&str>, wanted: &str) -> Vec<String> {
    pairs(query).filter(|(name, _)| name == wanted).map(|(_, value)| value.into_owned()).collect()
}

/// Whether a flag of the query is set.
fn flag(query: Option<&str>, wanted: &str) -> Result<bool, Problem> {
    match values(query, wanted).last().map(String::as_str) {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1" | "") => Ok(true),
        Some(_) => {
            Err(Problem::malformed(format!("the parameter {wanted} is a boolean; send true, false, 1 or 0")))
        }
    }
}

/// One resource below `/.jsfs/proc/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource<'r> {
    List,
    One(&'r str),
    Output(&'r str),
    Checkpoint(&'r str),
}

impl<'r> Resource<'r> {
    /// `path` is what follows `/.jsfs`.
    pub(crate) fn of(path: &'r str) -> Option<Self> {
        let rest = path.strip_prefix("/proc/")?;
        match rest.split_once('/') {
            None if rest.is_empty() => Some(Self::List),
            None => Some(Self::One(rest)),
            Some((id, "output")) => Some(Self::Output(id)),
            Some((id, "checkpoint")) => Some(Self::Checkpoint(id)),
            Some(_) => None,
        }
    }
}

/// Answers a request about processes.
pub(crate) async fn answer(
    front: &Front,
    asked: &Asked<'_>,
    resource: Resource<'_>,
    allow: &'static str,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let method = asked.method.as_str();
    match (resource, method) {
        (Resource::List, "GET" | "HEAD") => list(front, asked).await,
        (Resource::One(id), "GET" | "HEAD") => {
            let (_, status) = find(front, asked, id).await?;
            json(StatusCode::OK, &Document::from(status))
        }
        (Resource::One(id), "POST") => {
            let (exec, status) = find(front, asked, id).await?;
            exec.send_input(status.id, input(asked.headers, body).await?).await?;
            shown(exec, status.id, StatusCode::ACCEPTED)
        }
        (Resource::One(id), "DELETE") => {
            let kill = flag(asked.query, "kill")?;
            let (exec, status) = find(front, asked, id).await?;
            exec.stop_process(status.id, kill).await;
            shown(exec, status.id, StatusCode::ACCEPTED)
        }
        (Resource::Checkpoint(id), "POST") => {
            let (exec, status) = find(front, asked, id).await?;
            exec.checkpoint_process(status.id).await;
            shown(exec, status.id, StatusCode::OK)
        }
        (Resource::Output(id), "GET" | "HEAD") => output(front, asked, id).await,
        _ => Err(Problem::method_not_allowed(asked.method, allow)),
    }
}

/// What is to be seen of a process now.
fn shown(exec: &Exec, id: ProcessId, status: StatusCode) -> Result<Response<Body>, Problem> {
    let process = exec.process(id).ok_or_else(absent)?;
    let status = if process.state.is_end() { StatusCode::OK } else { status };
    json(status, &Document::from(process))
}

async fn output(front: &Front, asked: &Asked<'_>, id: &str) -> Result<Response<Body>, Problem> {
    let follow = flag(asked.query, "follow")?;
    let after = after(asked)?;
    let (exec, status) = find(front, asked, id).await?;
    let body = match asked.method.as_str() {
        "HEAD" => Body::empty(),
        _ => {
            let pieces = exec.process_output(status.id, after, follow);
            let pieces = Box::pin(pieces.map(|piece| piece.map_err(|error| BrokenOff(error.0))));
            if follow { Body::lasting(pieces) } else { Body::of_unknown_length(pieces) }
        }
    };
    let mut response = Response::new(body);
    // Never anything that a browser would run: it is read at the origin of whatever namespace was asked.
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

/// How many bytes of the output the caller has.
pub(crate) fn after(asked: &Asked<'_>) -> Result<u64, Problem> {
    let Some(text) = asked.parameters.get(Parameter::After) else { return Ok(0) };
    text.parse()
        .map_err(|_| Problem::malformed("after is a number of bytes; send how many of the output you have"))
}

fn absent() -> Problem {
    Problem::new(Kind::NotFound, ABSENT)
}

/// The process of that id, if there is one that this caller may see.
pub(crate) async fn find<'f>(
    front: &'f Front,
    asked: &Asked<'_>,
    id: &str,
) -> Result<(&'f Exec, Status), Problem> {
    let exec = front.exec().ok_or_else(absent)?;
    let credentials = asked.credentials()?;
    let status = id.parse::<ProcessId>().ok().and_then(|id| exec.process(id)).ok_or_else(absent)?;
    match Holding::of(front, &credentials, &status.address).await?.reaches(&status.starter) {
        true => Ok((exec, status)),
        false => Err(absent()),
    }
}

/// What a caller may do with processes of one program.
enum Holding {
    Nothing,
    All,
    Token(String),
}

impl Holding {
    async fn of(front: &Front, credentials: &Credentials, address: &str) -> Result<Self, Problem> {
        let Ok(address) = Address::parse(address) else { return Ok(Self::Nothing) };
        let objects = front.objects();
        match objects.authorize::<Manage>(credentials, &address).await {
            Ok(_) => return Ok(Self::All),
            Err(refusal @ (Refusal::Storage(_) | Refusal::Busy { .. } | Refusal::Unsettled { .. })) => {
                return Err(refusal.into());
            }
            Err(_) => {}
        }
        match objects.authorize::<Execute>(credentials, &address).await {
            Ok(grant) => Ok(match grant.holder() {
                Holder::Token { jti, .. } => Self::Token(jti.to_owned()),
                Holder::Owner | Holder::Anyone => Self::Nothing,
            }),
            Err(refusal @ (Refusal::Storage(_) | Refusal::Busy { .. } | Refusal::Unsettled { .. })) => {
                Err(refusal.into())
            }
            Err(_) => Ok(Self::Nothing),
        }
    }

    fn reaches(&self, starter: &Starter) -> bool {
        match (self, starter) {
            (Self::All, _) => true,
            (Self::Token(own), Starter::Token(started)) => own == started,
            _ => false,
        }
    }
}

#[derive(Serialize)]
struct Listed {
    processes: Vec<Document>,
}

/// The processes that the caller may see, the newest first.
async fn list(front: &Front, asked: &Asked<'_>) -> Result<Response<Body>, Problem> {
    let credentials = asked.credentials()?;
    let mut processes = Vec::new();
    if let (Some(exec), false) = (front.exec(), credentials.is_empty()) {
        let mut known: HashMap<String, Holding> = HashMap::new();
        for status in exec.processes() {
            if !known.contains_key(&status.address) {
                let holding = Holding::of(front, &credentials, &status.address).await?;
                known.insert(status.address.clone(), holding);
            }
            if known.get(&status.address).is_some_and(|holding| holding.reaches(&status.starter)) {
                processes.push(Document::from(status));
            }
        }
    }
    json(StatusCode::OK, &Listed { processes })
}

#[derive(Serialize)]
struct Document {
    id: String,
    address: String,
    state: &'static str,
    stopping: bool,
    started_by: &'static str,
    started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    cpu_ms: u64,
    memory: u64,
    output: u64,
    output_from: u64,
    inputs: u64,
    checkpoints: u64,
    resumed: u32,
    restarted: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Head>,
}

/// The head of what a process answered that handles a request.
#[derive(Serialize)]
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
}

impl From<Status> for Document {
    fn from(status: Status) -> Self {
        Self {
            id: status.id.to_string(),
            address: status.address,
            state: status.state.name(),
            stopping: status.stopping && !status.state.is_end(),
            started_by: match status.starter {
                Starter::Owner => "owner",
                Starter::Token(_) => "token",
            },
            started: rfc3339(status.started_ms),
            ended: status.ended_ms.map(rfc3339),
            cpu_ms: status.cpu_ms,
            memory: status.memory_bytes,
            output: status.output_bytes,
            output_from: status.output_from,
            inputs: status.inputs_waiting,
            checkpoints: status.checkpoints,
            resumed: status.resumes,
            restarted: status.restarts,
            error: status.error,
            response: status.response.map(|head| Head { status: head.status, headers: head.headers }),
        }
    }
}

impl From<ProcessError> for Problem {
    fn from(error: ProcessError) -> Self {
        let text = error.to_string();
        match error {
            ProcessError::None => Self::new(Kind::NotImplemented, text),
            ProcessError::Busy(_) => Self::unavailable(text, 5),
            ProcessError::Ended => Self::new(Kind::Conflict, text),
            ProcessError::Input(_) => Self::new(Kind::TooLarge, text),
            ProcessError::Keep(_) => Self::unavailable(text, 5),
        }
    }
}

/// What of an output is one message of a socket: text where it is that.
pub(crate) fn as_text(bytes: &Bytes) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{Resource, flag, values};

    #[test]
    fn paths_of_processes() {
        assert_eq!(Resource::of("/proc/"), Some(Resource::List));
        assert_eq!(Resource::of("/proc/ab"), Some(Resource::One("ab")));
        assert_eq!(Resource::of("/proc/ab/output"), Some(Resource::Output("ab")));
        assert_eq!(Resource::of("/proc/ab/checkpoint"), Some(Resource::Checkpoint("ab")));
        for other in ["/proc", "/proc/ab/", "/proc/ab/x", "/proc/ab/output/x"] {
            assert_eq!(Resource::of(other), None, "{other}");
        }
    }

    #[test]
    fn arguments_come_in_order_and_flags_are_booleans() {
        assert_eq!(values(Some("arg=a+b&x=1&arg=%2B&arg"), "arg"), ["a b", "+", ""]);
        assert!(flag(Some("kill"), "kill").is_ok_and(|is| is) && flag(None, "kill").is_ok_and(|is| !is));
        assert!(flag(Some("kill=yes"), "kill").is_err());
    }
}
