//! Programs at the front door: a request for an object that is executable runs it, and its answer is the response.
//!
//! Invariants: the source is never sent to whoever asked for the program to be run; the program is told who asks and never with what; what it
//! may touch is what its owner attached to it, whoever asks. Storing a program prepares it, and what cannot be prepared is not stored.

mod artefacts;
mod inside;
mod parallel;
mod storing;

pub(crate) use artefacts::Kept;
pub(crate) use inside::Inside;
pub(crate) use storing::{Storing, storing};

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use hyper::Response;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use jsfs_exec::process::Start;
use jsfs_exec::{
    Answer, AnswerBody, Authority, Begin, BodyError, BodyStream, Bound, Caller, Exec, FetchHead, Given,
    Handler, Identity, Kind as ProgramKind, Params, PrepareError, Prepared, RunError, Source,
};
use jsfs_objects::address::Address;
use jsfs_objects::token::Method as TokenMethod;
use jsfs_objects::{
    Attachment, Credentials, Execute, Grant, Holder, Metadata, Object, Objects, Read, Refusal,
};

use crate::body::{Arriving, Body, BrokenOff};
use crate::front::Front;
use crate::headers;
use crate::leaving::Client;
use crate::parameters::Parameter;
use crate::problem::{Kind, Problem};
use crate::process;
use crate::request::Asked;

/// Largest program that is taken.
const PROGRAM_BYTES_MAX: u64 = 32 << 20;
/// What a stranger hears who asks for the source of a program that anybody may run.
const SOURCE: &str = "the source of a program is for whoever shows a key or token that may read it; without execute=false it runs";
/// How deep programs may ask programs.
const DEPTH_MAX: u8 = 8;

/// How deep in programs a request is.
#[derive(Clone, Copy)]
struct Depth(u8);

/// Fields of a request that a program is not told: credentials, and what belongs to the connection.
fn is_kept_from_program(name: &HeaderName) -> bool {
    *name == AUTHORIZATION
        || matches!(
            name.as_str(),
            "x-access-key" | "x-access-token" | "x-replacement-access-key" | "proxy-authorization"
        )
}

/// Fields of an answer that are the platform's to set.
fn is_kept_from_client(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
        || name.as_str().starts_with("access-control-")
}

/// Whether the caller asked for the source.
fn asks_for_source(asked: &Asked<'_>) -> Result<bool, Problem> {
    Ok(asked.parameters.boolean(Parameter::Executable)? == Some(false)
        || asked.parameters.has(Parameter::Version)
        || asked.parameters.has(Parameter::Versions))
}

/// Runs the object that a GET found, if it is a program and not its source is asked for.
pub(crate) async fn instead_of(
    front: &Front,
    asked: &Asked<'_>,
    read: &Grant<Read>,
    object: &Object,
) -> Result<Option<Response<Body>>, Problem> {
    if !object.metadata.executable {
        return Ok(None);
    }
    if asks_for_source(asked)? {
        return match read.holder() {
            // That anybody may run it gives nobody its source.
            Holder::Anyone => Err(Problem::new(Kind::Unauthorized, SOURCE)),
            Holder::Owner | Holder::Token { .. } => Ok(None),
        };
    }
    let credentials = asked.credentials()?;
    let grant = front.objects().authorize::<Execute>(&credentials, &object.metadata.address).await?;
    Box::pin(run(front, asked, &grant, Some(object), Arriving::nothing())).await.map(Some)
}

/// Runs a program for a caller who may not read it, if that is what this is.
pub(crate) async fn unread(
    front: &Front,
    asked: &Asked<'_>,
    credentials: &Credentials,
    address: &Address,
) -> Result<Option<Response<Body>>, Problem> {
    if credentials.is_empty() || front.exec().is_none() || asks_for_source(asked)? {
        return Ok(None);
    }
    let Ok(grant) = front.objects().authorize::<Execute>(credentials, address).await else { return Ok(None) };
    if front.objects().attachment(address)?.is_none() {
        return Ok(None);
    }
    Box::pin(run(front, asked, &grant, None, Arriving::nothing())).await.map(Some)
}

/// Runs the program at an address with the body of a POST. Hands the body back where there is none that this caller may run.
pub(crate) async fn post(
    front: &Front,
    asked: &Asked<'_>,
    address: &Address,
    body: Arriving,
) -> Result<Result<Response<Body>, Arriving>, Problem> {
    let says_otherwise =
        [Parameter::Executable, Parameter::CopyTo, Parameter::MoveTo, Parameter::Restore, Parameter::Append];
    if front.exec().is_none()
        || address.is_directory()
        || says_otherwise.iter().any(|one| asked.parameters.has(*one))
    {
        return Ok(Err(body));
    }
    let credentials = asked.credentials()?;
    let Ok(grant) = front.objects().authorize::<Execute>(&credentials, address).await else {
        return Ok(Err(body));
    };
    if !is_program(front.objects(), &credentials, address).await? {
        return Ok(Err(body));
    }
    body.check_announced()?;
    Box::pin(run(front, asked, &grant, None, body)).await.map(Ok)
}

/// EXECUTE: as GET or POST of a program, for clients that can name it.
pub(crate) async fn execute(
    front: &Front,
    asked: &Asked<'_>,
    address: &Address,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    if front.exec().is_none() {
        return Err(not_here());
    }
    let credentials = asked.credentials()?;
    let grant = front.objects().authorize::<Execute>(&credentials, address).await?;
    if address.is_directory() || !is_program(front.objects(), &credentials, address).await? {
        let detail = format!("{address} is no program, or nothing that you may run; GET reads an object");
        return Err(Problem::new(Kind::NotFound, detail));
    }
    Box::pin(run(front, asked, &grant, None, body)).await
}

/// Runs the program at an address for a handshake, if it handles messages and this caller may run it.
pub(crate) async fn connect(
    front: &Front,
    asked: &Asked<'_>,
    address: &Address,
) -> Option<Result<Answer, Problem>> {
    let credentials = asked.credentials().ok()?;
    let grant = front.objects().authorize::<Execute>(&credentials, address).await.ok()?;
    if !is_program(front.objects(), &credentials, address).await.ok()? {
        return None;
    }
    let exec = front.exec()?;
    let found = match find(front, exec, address, None, 0).await {
        Ok(found) => found,
        Err(problem) => return Some(Err(problem)),
    };
    if !found.prepared.handlers.iter().any(|handler| handler == "webSocketMessage") {
        return None;
    }
    let begin = begin(exec, asked, &grant, found, Arriving::nothing());
    Some(exec.fetch(begin).await.map_err(Problem::from))
}

async fn is_program(
    objects: &Objects,
    credentials: &Credentials,
    address: &Address,
) -> Result<bool, Problem> {
    if objects.attachment(address)?.is_some() {
        return Ok(true);
    }
    let Ok(read) = objects.authorize::<Read>(credentials, address).await else { return Ok(false) };
    Ok(objects.read(&read, None).await.is_ok_and(|object| object.metadata.executable))
}

/// A program as it is found: its properties, its bytes, and what was attached to it.
struct Found {
    prepared: Prepared,
    attachment: Attachment,
    authority: Authority,
}

async fn run(
    front: &Front,
    asked: &Asked<'_>,
    grant: &Grant<Execute>,
    object: Option<&Object>,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let exec = front.exec().ok_or_else(not_here)?;
    let depth = asked.extension::<Depth>().map_or(0, |Depth(depth)| *depth);
    if depth >= DEPTH_MAX {
        let detail = format!("programs asked each other {DEPTH_MAX} deep; one of them asks in a circle");
        return Err(Problem::new(Kind::LoopDetected, detail));
    }
    let address = grant.address();
    if process::is_wanted(asked.headers) {
        return start(front, exec, asked, grant, depth, body).await;
    }
    if let Some(client) = asked.extension::<Client>() {
        client.end_with_it();
    }
    let found = find(front, exec, address, object, depth).await?;
    if parallel::is_asked(asked, &found) {
        return Box::pin(parallel::run(front, exec, asked, grant, found)).await;
    }
    let answer = exec.fetch(begin(exec, asked, grant, found, body)).await?;
    respond(asked, address, answer)
}

/// Starts a process instead of waiting for the answer: `main` where the program has it, else the handler that would have answered.
async fn start(
    front: &Front,
    exec: &Exec,
    asked: &Asked<'_>,
    grant: &Grant<Execute>,
    depth: u8,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let starter = process::starter(grant)?;
    let address = grant.address();
    let found = find(front, exec, address, None, depth).await?;
    let object = source_of(front.objects(), &found.attachment, address).await?;
    let handlers = [Handler::Main, Handler::Script, Handler::Fetch];
    let handler = handlers.into_iter().find(|handler| found.prepared.has(*handler)).unwrap_or(Handler::Fetch);
    let params = process::beginning(asked, handler, params(asked, grant, &found.attachment, &body));
    let start = Start {
        source: source(address, &object.metadata.content_type, whole(&object).await?),
        address: address.as_str().to_owned(),
        authority: found.authority,
        starter,
        handler,
        params,
        body: process::input(asked.headers, body).await?,
    };
    process::start(exec, asked, start).await
}

fn begin(exec: &Exec, asked: &Asked<'_>, grant: &Grant<Execute>, found: Found, body: Arriving) -> Begin {
    Begin {
        address: grant.address().as_str().to_owned(),
        authority: found.authority,
        handler: if found.prepared.has(Handler::Script) { Handler::Script } else { Handler::Fetch },
        params: params(asked, grant, &found.attachment, &body),
        body: (!body.is_empty()).then(|| stream_of(body)),
        bounds: exec.request_bounds(),
        is_logged: true,
        looked: None,
        prepared: found.prepared,
    }
}

/// Reads the program and prepares it, unless that was done before.
async fn find(
    front: &Front,
    exec: &Exec,
    address: &Address,
    object: Option<&Object>,
    depth: u8,
) -> Result<Found, Problem> {
    let objects = front.objects();
    let attachment = objects.attachment(address)?.unwrap_or_default();
    let authority = authority_of(&attachment, depth + 1);
    let own;
    let object = match object {
        Some(object) => object,
        None => {
            own = source_of(objects, &attachment, address).await?;
            &own
        }
    };
    let metadata = &object.metadata;
    let key = key_of(metadata);
    let known = front.programs().get(&key).filter(|prepared| exec.is_current(prepared));
    let prepared = match known {
        Some(prepared) => prepared,
        None => {
            let prepared = first(front, exec, address, object, &key, &authority).await?;
            front.programs().insert(key, prepared.clone());
            prepared
        }
    };
    Ok(Found { prepared, attachment, authority })
}

/// The program for its first request in a while. Where it is known what it was prepared as, its source is not read.
async fn first(
    front: &Front,
    exec: &Exec,
    address: &Address,
    object: &Object,
    key: &Key,
    authority: &Authority,
) -> Result<Prepared, Problem> {
    if let Some(identity) = front.identities().get(key)
        && let Some(prepared) = exec.found(&identity).await
    {
        return Ok(prepared);
    }
    let source = source(address, &object.metadata.content_type, whole(object).await?);
    let prepared = exec.prepared(&source, authority).await.map_err(|error| unprepared(error, address))?;
    front.identities().insert(key.clone(), source.identity());
    Ok(prepared)
}

/// The program as the node reads it: with the means that its owner attached, or as anybody does.
async fn source_of(objects: &Objects, attachment: &Attachment, address: &Address) -> Result<Object, Problem> {
    let mut credentials = Credentials::none();
    attachment.source().into_iter().for_each(|token| credentials.add_token(token));
    let detached = |_| {
        let detail = "what the program holds is no longer good: its key was replaced, or a token revoked; its owner stores it again";
        Problem::new(Kind::Conflict, detail)
    };
    let read = objects.authorize::<Read>(&credentials, address).await.map_err(|refusal| match refusal {
        Refusal::Storage(_) | Refusal::Busy { .. } | Refusal::Unsettled { .. } => Problem::from(refusal),
        other => detached(other),
    })?;
    Ok(objects.read(&read, None).await?)
}

async fn whole(object: &Object) -> Result<Bytes, Problem> {
    if object.metadata.size > PROGRAM_BYTES_MAX {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    let mut body = object.whole();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes.freeze())
}

fn too_large() -> Problem {
    Problem::new(Kind::TooLarge, format!("a program may have {PROGRAM_BYTES_MAX} bytes"))
}

fn source(address: &Address, content_type: &str, bytes: Bytes) -> Source {
    let kind = if bytes.starts_with(b"\0asm") || content_type.starts_with("application/wasm") {
        ProgramKind::Wasm
    } else {
        ProgramKind::JavaScript
    };
    Source { kind, base: source_url(address), path: address.to_url_path(), bytes }
}

/// A program's URL, whichever host it was asked at.
fn source_url(address: &Address) -> String {
    format!("http://{}{}", address.to_url_host(), address.to_url_path())
}

fn authority_of(attachment: &Attachment, depth: u8) -> Authority {
    let hosts = attachment.hosts().iter().cloned().collect();
    Authority { tokens: attachment.tokens().map(str::to_owned).collect(), hosts, depth }
}

pub(crate) fn not_here() -> Problem {
    Problem::new(Kind::NotImplemented, "this node runs no programs; execute=false reads the source")
}

fn unprepared(error: PrepareError, address: &Address) -> Problem {
    match error {
        PrepareError::Refused(fault) => {
            let place = match fault.position {
                Some((0, byte)) => format!(" at byte {byte}"),
                Some((line, column)) => format!(" at line {line}, column {column}"),
                None => String::new(),
            };
            let detail = format!("{address} cannot run{place}: {}", fault.message);
            Problem::new(Kind::Unprocessable, detail).at(fault.position)
        }
        PrepareError::Unavailable(error) => Problem::unavailable(error.to_string(), 5),
    }
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        let text = error.to_string();
        match error {
            RunError::Exceeded(bound) => {
                let detail = format!("{text}; the limit is {}", bound.names().1);
                match bound {
                    Bound::Cpu => Self::new(Kind::Unavailable, detail),
                    Bound::Wall => Self::new(Kind::GatewayTimeout, detail),
                    Bound::Memory | Bound::Output => Self::new(Kind::InsufficientStorage, detail),
                }
            }
            RunError::Failed { id } => Self::failed(text, id),
            RunError::Crashed => Self::new(Kind::BadGateway, text),
            RunError::Busy => Self::unavailable(text, 1),
            RunError::Unavailable(_) => Self::unavailable(text, 5),
        }
    }
}

fn params(asked: &Asked<'_>, grant: &Grant<Execute>, attachment: &Attachment, body: &Arriving) -> Params {
    let address = grant.address();
    let fields = asked.headers.iter().filter(|(name, _)| !is_kept_from_program(name));
    let text =
        |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect::<String>();
    let query = asked.query.map(without_credentials).filter(|query| !query.is_empty());
    let url = asked.url_of(address);
    let method = match asked.method.as_str() {
        "EXECUTE" if body.is_empty() => "GET",
        "EXECUTE" => "POST",
        other => other,
    };
    Params {
        base: url.clone(),
        env: attachment.env().clone(),
        caller: caller(grant),
        request: Some(FetchHead {
            url: query.map_or(url.clone(), |query| format!("{url}?{query}")),
            method: method.to_owned(),
            headers: fields.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
            body: !body.is_empty(),
        }),
        args: None,
        parameters: BTreeMap::new(),
        given: Given::default(),
    }
}

fn caller(grant: &Grant<Execute>) -> Caller {
    match grant.holder() {
        Holder::Owner => Caller { kind: "owner", claims: None },
        Holder::Token { subject, methods, expires_s, jti } => {
            let methods: Vec<&str> = methods.iter().map(TokenMethod::name).collect();
            let claims = serde_json::json!({ "sub": subject.as_str(), "methods": methods, "exp": expires_s, "jti": jti });
            Caller { kind: "token", claims: Some(claims) }
        }
        Holder::Anyone => Caller { kind: "anonymous", claims: None },
    }
}

/// The query without what proves who asks.
fn without_credentials(query: &str) -> String {
    let is_secret = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
        matches!(name.as_str(), "access_key" | "access_token" | "replacement_access_key")
    };
    query.split('&').filter(|pair| !is_secret(pair)).collect::<Vec<_>>().join("&")
}

fn stream_of(body: Arriving) -> BodyStream {
    Box::pin(stream::unfold(body, |mut body| async {
        match body.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), body)),
            Ok(None) => None,
            Err(problem) => Some((Err(BodyError(problem.detail.into_owned())), body)),
        }
    }))
}

pub(crate) fn respond(
    asked: &Asked<'_>,
    address: &Address,
    answer: Answer,
) -> Result<Response<Body>, Problem> {
    let body = match answer.body {
        AnswerBody::Full(bytes) => Body::full(bytes),
        AnswerBody::Stream(pieces) => {
            let pieces = pieces.map(|piece| piece.map_err(|error| BrokenOff(error.0)));
            Body::of_unknown_length(Box::pin(pieces))
        }
        AnswerBody::Socket(_) => {
            let detail = "the program answers sockets here; connect with a WebSocket";
            return Err(Problem::malformed(detail));
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    for (name, value) in &answer.headers {
        if !is_kept_from_client(name) {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    headers::sandbox_program(response.headers_mut(), || !asked.is_at_home(address));
    Ok(response)
}

/// What a program is remembered by: address, version, and entity tag, because what was forgotten for good begins again with version 1.
pub(crate) type Key = (Address, u64, String);

fn key_of(metadata: &Metadata) -> Key {
    (metadata.address.clone(), metadata.version, metadata.etag.to_string())
}

/// What programs were prepared as.
pub(crate) type Identities = quick_cache::sync::Cache<Key, Identity>;

/// Programs of which that is remembered.
const IDENTITIES_REMEMBERED: usize = 4_096;

pub(crate) fn identities() -> Identities {
    Identities::new(IDENTITIES_REMEMBERED)
}

/// Programs that were prepared a short time ago.
pub(crate) type Programs = quick_cache::sync::Cache<Key, Prepared, Weight>;

/// Programs remembered so.
const PROGRAMS_REMEMBERED: usize = 1_024;
/// Bytes that they may have.
const PROGRAMS_BYTES: u64 = 64 << 20;

/// What a program counts for.
#[derive(Clone)]
pub(crate) struct Weight;

impl quick_cache::Weighter<Key, Prepared> for Weight {
    fn weight(&self, _: &Key, prepared: &Prepared) -> u64 {
        prepared.weight()
    }
}

pub(crate) fn remembered() -> Programs {
    Programs::with_weighter(PROGRAMS_REMEMBERED, PROGRAMS_BYTES, Weight)
}

#[cfg(test)]
mod tests {
    use super::without_credentials;

    #[test]
    fn what_proves_who_asks_is_not_in_the_url_that_a_program_sees() {
        assert_eq!(without_credentials("a=1&access_key=k&b=2"), "a=1&b=2");
        assert_eq!(without_credentials("access%5Fkey=k&ACCESS_TOKEN=t"), "");
        assert_eq!(without_credentials("x"), "x");
    }
}
