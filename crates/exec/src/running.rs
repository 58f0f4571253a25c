//! One run, from the node: it is begun, what it asks for is carried out, and its answer is handed on as it comes.
//!
//! A run has a task of its own, which ends with the worker's last word about it, or cancels it when nobody wants its answer any longer. What it
//! asks for runs beside that task, each bounded by the run's own bounds.

use crate::{
    BodyError, BodyStream, Exec, Prepared, hold,
    interior::{Authority, Interior},
    sandbox::{Channel, Unavailable},
    wire::{Bound, Bounds, Handler, Level, Outcome, ToNode, ToWorker},
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, mpsc, oneshot},
    task::JoinSet,
};

/// Pieces of an answer that wait for the client.
const PIECES: usize = 2;
/// Messages of a socket that wait for either side.
const FRAMES: usize = 16;
/// How long a run may wait for its turn.
const TURN: Duration = Duration::from_secs(10);
/// Largest module that a program may import.
const IMPORT_MAX: usize = 4 << 20;
/// Redirects that a program's request follows: as many as the Fetch Standard says.
const REDIRECTS_MAX: usize = 20;

/// Who asks, as the program is told.
#[derive(Clone, Debug, Serialize)]
pub struct Caller {
    /// "owner", "token" or "anonymous".
    pub kind: &'static str,
    /// The claims of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<serde_json::Value>,
}

/// The head of a request, as the program is told.
#[derive(Clone, Debug, Serialize)]
pub struct FetchHead {
    /// The whole URL.
    pub url: String,
    /// The method.
    pub method: String,
    /// The fields, credentials left out.
    pub headers: Vec<(String, String)>,
    /// Whether a body follows.
    pub body: bool,
}

/// What a run is told at its beginning: `RunParams` in guest/src/host.ts.
#[derive(Clone, Debug, Serialize)]
pub struct Params {
    /// The program's own URL.
    pub base: String,
    /// What its owner stored with it.
    pub env: std::collections::BTreeMap<String, String>,
    /// Who asks.
    pub caller: Caller,
    /// The request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<FetchHead>,
    /// The arguments of a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
}

/// What a program answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: AnswerBody,
}

/// The body of an answer.
pub enum AnswerBody {
    /// All of it.
    Full(Bytes),
    /// Pieces, as they are made.
    Stream(BodyStream),
    /// The connection becomes a WebSocket.
    Socket(Socket),
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Stream(_) => "Stream",
            Self::Socket(_) => "Socket",
        })
    }
}

/// One message of a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// The end.
    Close {
        /// The code of RFC 6455.
        code: u16,
        /// Why.
        reason: String,
    },
}

/// A program's end of a WebSocket.
pub struct Socket {
    /// From the client to the program.
    pub incoming: mpsc::Sender<Frame>,
    /// From the program to the client.
    pub outgoing: mpsc::Receiver<Frame>,
}

/// Why a program did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RunError {
    /// It went past a bound.
    #[error("the program used more {} than a run may", .0.names().0)]
    Exceeded(Bound),
    /// It failed: threw, trapped, or never answered. The log tells more under the run's id.
    #[error("the program failed; its log tells why under the id {id}")]
    Failed {
        /// The run's id.
        id: String,
    },
    /// The worker died with it.
    #[error("the program's worker ended while it ran; try again")]
    Crashed,
    /// Too much runs already.
    #[error("too many programs run at the moment; try again")]
    Busy,
    /// There is no worker.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Bound {
    /// What it bounds, and the setting that says how much.
    #[must_use]
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Cpu => ("CPU time", "programs.cpu_ms"),
            Self::Wall => ("time", "programs.wall_ms"),
            Self::Memory => ("memory", "programs.memory"),
            Self::Output => ("output", "programs.output"),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseHead {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: String,
    #[serde(default)]
    web_socket: bool,
}

/// A run to be begun.
pub struct Begin {
    /// The program.
    pub prepared: Prepared,
    /// Its address, which its log is kept under.
    pub address: String,
    /// What it may do.
    pub authority: Authority,
    /// How it begins.
    pub handler: Handler,
    /// What it is told.
    pub params: Params,
    /// The body of the request.
    pub body: Option<BodyStream>,
    /// What it may use.
    pub bounds: Bounds,
}

impl Exec {
    /// Runs a program for a request.
    ///
    /// # Errors
    /// Why it did not answer.
    pub async fn fetch(&self, begin: Begin) -> Result<Answer, RunError> {
        let permit = self.turn().await?;
        let channel = self.0.sandbox.channel().await?;
        let (head, answered) = oneshot::channel();
        let id = format!("{:08x}", channel.run);
        let run = Run::new(self.clone(), begin, channel, id, permit);
        self.0.tasks.spawn(run.drive(head));
        answered.await.unwrap_or(Err(RunError::Crashed))
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, RunError> {
        let turn = Arc::clone(&self.0.runs).acquire_owned();
        match tokio::time::timeout(TURN, turn).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(RunError::Busy),
        }
    }
}

type Shared<T> = Arc<AsyncMutex<T>>;

/// Bodies that the program reads or writes piece by piece, by the id of the call that they belong to; 0 is the request and its answer.
#[derive(Default)]
struct Bodies {
    readable: HashMap<u32, Shared<BodyStream>>,
    writable: HashMap<u32, mpsc::Sender<Result<Bytes, BodyError>>>,
}

/// What a call came to.
struct Settled {
    id: u32,
    result: Result<(Option<String>, Option<Bytes>), GuestError>,
    readable: Option<BodyStream>,
}

/// An error that the program sees.
#[derive(Serialize)]
struct GuestError {
    name: &'static str,
    message: String,
}

impl GuestError {
    fn network(message: impl Into<String>) -> Self {
        Self { name: "TypeError", message: message.into() }
    }
}

struct Run {
    exec: Exec,
    channel: Channel,
    id: String,
    address: String,
    authority: Authority,
    prepared: Prepared,
    handler: Handler,
    params: String,
    bounds: Bounds,
    bodies: Arc<Mutex<Bodies>>,
    calls: JoinSet<Settled>,
    cancels: HashMap<u32, tokio::task::AbortHandle>,
    /// From the client of a WebSocket; how many of them the program has room for.
    frames: Option<mpsc::Receiver<Frame>>,
    frames_out: Option<mpsc::Sender<Frame>>,
    room: usize,
    failed: bool,
    permit: OwnedSemaphorePermit,
}

impl Run {
    fn new(exec: Exec, begin: Begin, channel: Channel, id: String, permit: OwnedSemaphorePermit) -> Self {
        let Begin { prepared, address, authority, handler, params, body, bounds } = begin;
        let mut bodies = Bodies::default();
        if let Some(body) = body {
            bodies.readable.insert(0, Arc::new(AsyncMutex::new(body)));
        }
        Self {
            exec,
            channel,
            id,
            address,
            authority,
            prepared,
            handler,
            params: serde_json::to_string(&params).unwrap_or_default(),
            bounds,
            bodies: Arc::new(Mutex::new(bodies)),
            calls: JoinSet::new(),
            cancels: HashMap::new(),
            frames: None,
            frames_out: None,
            room: FRAMES,
            failed: false,
            permit,
        }
    }

    /// Begins the run in the worker.
    async fn begin(&self, again: bool) {
        self.channel.load(self.prepared.id, &self.prepared.image, again).await;
        let message = ToWorker::Run {
            run: self.channel.run,
            program: self.prepared.id,
            handler: self.handler,
            params: self.params.clone(),
            bounds: self.bounds,
            has_bytes: false,
        };
        self.channel.send(&message, &[]).await;
    }

    async fn drive(mut self, head: oneshot::Sender<Result<Answer, RunError>>) {
        let mut head = Some(head);
        self.begin(false).await;
        loop {
            tokio::select! {
                message = self.channel.next() => {
                    let Some((message, bytes)) = message else { break self.end(head, RunError::Crashed) };
                    if let Some(outcome) = self.take(message, bytes, &mut head).await {
                        let error = self.error_of(outcome);
                        break self.end(head, error);
                    }
                }
                Some(settled) = self.calls.join_next(), if !self.calls.is_empty() => {
                    if let Ok(settled) = settled {
                        self.settle(settled).await;
                    }
                }
                frame = next_frame(&mut self.frames), if self.room > 0 => self.hand_on(frame).await,
                // Nobody waits for the answer any longer.
                () = abandoned(&mut head) => break,
            }
        }
    }

    fn end(&mut self, head: Option<oneshot::Sender<Result<Answer, RunError>>>, error: RunError) {
        match head {
            Some(head) => drop(head.send(Err(error))),
            None => {
                // The body that follows the head tells the client by breaking off.
                if let Some(body) = hold(&self.bodies).writable.remove(&0) {
                    let _ = body.try_send(Err(BodyError(error.to_string())));
                }
            }
        }
    }

    fn error_of(&mut self, outcome: Outcome) -> RunError {
        let id = self.id.clone();
        match outcome {
            Outcome::Exceeded(bound) => {
                let (what, setting) = bound.names();
                self.log(Level::Error, format!("ended: more {what} than a run may use; limit {setting}"));
                RunError::Exceeded(bound)
            }
            Outcome::Trapped(why) => {
                self.log(Level::Error, format!("ended by the sandbox: {why}"));
                RunError::Failed { id }
            }
            Outcome::Stuck => {
                self.log(
                    Level::Error,
                    "it waits for something that never comes, and has not answered".to_owned(),
                );
                RunError::Failed { id }
            }
            Outcome::Done | Outcome::Cancelled => {
                if !self.failed {
                    self.log(Level::Error, "it ended without an answer".to_owned());
                }
                RunError::Failed { id }
            }
        }
    }

    fn log(&self, level: Level, text: String) {
        let now_ms = self.exec.interior().now_ms();
        self.exec.logs().add(&self.address, now_ms, level, &self.id, text);
    }

    /// Carries out what the worker says. Answers the outcome, which ends the run.
    async fn take(
        &mut self,
        message: ToNode,
        bytes: Bytes,
        head: &mut Option<oneshot::Sender<Result<Answer, RunError>>>,
    ) -> Option<Outcome> {
        match message {
            ToNode::Missing { .. } => self.begin(true).await,
            ToNode::Log { level, text, .. } => self.log(level, text),
            ToNode::Taken { .. } => self.room += 1,
            ToNode::Start { id, operation, params, has_bytes, .. } => {
                self.start(id, &operation, &params, has_bytes.then_some(bytes));
            }
            ToNode::Forget { id, .. } => {
                if let Some(call) = self.cancels.remove(&id) {
                    call.abort();
                }
                let mut bodies = hold(&self.bodies);
                bodies.readable.remove(&id);
                bodies.writable.remove(&id);
            }
            ToNode::Respond { head: answered, has_bytes, .. } => {
                let answer = self.answer(&answered, has_bytes.then_some(bytes));
                if let Some(head) = head.take() {
                    let _ = head.send(answer);
                }
            }
            ToNode::Answer { json, has_bytes, .. } => {
                if let Some(head) = head.take() {
                    let body = if has_bytes { bytes } else { Bytes::from(json.unwrap_or_default()) };
                    let headers = HeaderMap::new();
                    let _ = head.send(Ok(Answer {
                        status: StatusCode::OK,
                        headers,
                        body: AnswerBody::Full(body),
                    }));
                }
            }
            ToNode::Fail { name, message, stack, .. } => {
                self.failed = true;
                self.log(Level::Error, format!("{name}: {message}\n{}", stack.trim_end()));
            }
            ToNode::Ended { outcome, .. } => {
                if outcome == Outcome::Done && head.is_none() {
                    // All of it was sent: the pieces that wait are the last.
                    hold(&self.bodies).writable.remove(&0);
                }
                return Some(outcome);
            }
            _ => {}
        }
        None
    }

    fn answer(&mut self, head: &str, bytes: Option<Bytes>) -> Result<Answer, RunError> {
        let failed = |run: &Self, why: String| {
            run.log(Level::Error, why);
            RunError::Failed { id: run.id.clone() }
        };
        let head: ResponseHead =
            serde_json::from_str(head).map_err(|error| failed(self, error.to_string()))?;
        let status = StatusCode::from_u16(head.status).map_err(|error| failed(self, error.to_string()))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &head.headers {
            let field = (HeaderName::try_from(name.as_str()), latin1(value));
            let (Ok(name), Ok(value)) = field else {
                return Err(failed(self, format!("the answer's field {name} cannot be sent")));
            };
            headers.append(name, value);
        }
        let body = if head.web_socket {
            // Sockets last: they hold no place among the requests.
            self.permit = Arc::clone(&self.exec.0.sockets).try_acquire_owned().map_err(|_| RunError::Busy)?;
            let (incoming, frames) = mpsc::channel(FRAMES);
            let (frames_out, outgoing) = mpsc::channel(FRAMES);
            self.frames = Some(frames);
            self.frames_out = Some(frames_out);
            AnswerBody::Socket(Socket { incoming, outgoing })
        } else if head.body == "stream" {
            let (sender, receiver) = mpsc::channel(PIECES);
            hold(&self.bodies).writable.insert(0, sender);
            AnswerBody::Stream(pieces(receiver))
        } else {
            AnswerBody::Full(bytes.unwrap_or_default())
        };
        Ok(Answer { status, headers, body })
    }

    /// Begins something that the program asked for.
    fn start(&mut self, id: u32, operation: &str, params: &str, bytes: Option<Bytes>) {
        let bodies = Arc::clone(&self.bodies);
        let params = params.to_owned();
        let handle = match operation {
            "fetch" => {
                let call = Call { interior: self.exec.interior(), authority: self.authority.clone() };
                // The program may write to the body at once, so what takes that must be there before the next message is heard.
                let streamed = is_streamed(&params).then(|| {
                    let (sender, receiver) = mpsc::channel(PIECES);
                    hold(&self.bodies).writable.insert(id, sender);
                    pieces(receiver)
                });
                self.calls.spawn(async move { call.fetch(id, &params, bytes, streamed).await })
            }
            "read" => self.calls.spawn(async move { read(id, &params, &bodies).await }),
            "write" => self.calls.spawn(async move { write(id, &params, bytes, &bodies).await }),
            "close" => self.calls.spawn(async move { close(id, &params, &bodies).await }),
            "socketSend" | "socketClose" => {
                let frame = socket_frame(operation, &params, bytes);
                let frames = self.frames_out.clone();
                self.calls.spawn(async move { send_frame(id, frame, frames).await })
            }
            other => {
                let message = format!("there is no operation {other}");
                self.calls.spawn(std::future::ready(Settled::failed(id, GuestError::network(message))))
            }
        };
        self.cancels.insert(id, handle);
    }

    async fn settle(&mut self, settled: Settled) {
        let Settled { id, result, readable } = settled;
        self.cancels.remove(&id);
        if let Some(body) = readable {
            hold(&self.bodies).readable.insert(id, Arc::new(AsyncMutex::new(body)));
        }
        let (ok, json, bytes) = match result {
            Ok((json, bytes)) => (true, json, bytes),
            Err(error) => (false, serde_json::to_string(&error).ok(), None),
        };
        let has_bytes = bytes.is_some();
        let message = ToWorker::Settle { run: self.channel.run, id, ok, json, has_bytes };
        self.channel.send(&message, &bytes.unwrap_or_default()).await;
    }

    /// Hands a message of the client to the program.
    async fn hand_on(&mut self, frame: Option<Frame>) {
        let (event, params, bytes) = match frame {
            Some(Frame::Text(text)) => ("socketMessage", r#"{"text":true}"#.to_owned(), Bytes::from(text)),
            Some(Frame::Binary(bytes)) => ("socketMessage", r#"{"text":false}"#.to_owned(), bytes),
            Some(Frame::Close { code, reason }) => {
                self.frames = None;
                (
                    "socketClose",
                    serde_json::json!({ "code": code, "reason": reason }).to_string(),
                    Bytes::new(),
                )
            }
            None => {
                self.frames = None;
                ("socketClose", r#"{"code":1006,"reason":""}"#.to_owned(), Bytes::new())
            }
        };
        self.room -= 1;
        let message =
            ToWorker::Event { run: self.channel.run, event: event.to_owned(), params, has_bytes: true };
        self.channel.send(&message, &bytes).await;
    }
}

/// The next message of a client; none when it is gone. Waits for ever where there is no socket.
async fn next_frame(frames: &mut Option<mpsc::Receiver<Frame>>) -> Option<Frame> {
    match frames {
        Some(frames) => frames.recv().await,
        None => std::future::pending().await,
    }
}

/// Whoever waited for the answer has gone. Waits for ever where it was given.
async fn abandoned<T>(head: &mut Option<oneshot::Sender<T>>) {
    match head {
        Some(head) => head.closed().await,
        None => std::future::pending().await,
    }
}

fn pieces(receiver: mpsc::Receiver<Result<Bytes, BodyError>>) -> BodyStream {
    Box::pin(stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) }))
}

/// A field's value: JavaScript has it as a string of bytes.
fn latin1(value: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let bytes: Vec<u8> = value.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
    HeaderValue::from_bytes(&bytes)
}

impl Settled {
    fn failed(id: u32, error: GuestError) -> Self {
        Self { id, result: Err(error), readable: None }
    }

    fn nothing(id: u32) -> Self {
        Self { id, result: Ok((None, None)), readable: None }
    }
}

#[derive(Deserialize)]
struct Of {
    #[serde(alias = "to", alias = "of")]
    body: u32,
    #[serde(default)]
    error: Option<String>,
}

fn of(params: &str) -> Result<Of, GuestError> {
    serde_json::from_str(params).map_err(|error| GuestError::network(error.to_string()))
}

async fn read(id: u32, params: &str, bodies: &Mutex<Bodies>) -> Settled {
    let Of { body, .. } = match of(params) {
        Ok(of) => of,
        Err(error) => return Settled::failed(id, error),
    };
    let stream = hold(bodies).readable.get(&body).cloned();
    let piece = match stream {
        Some(stream) => stream.lock().await.next().await,
        None => None,
    };
    let done = || Some(r#"{"done":true}"#.to_owned());
    let result = match piece {
        Some(Ok(bytes)) => Ok((None, Some(bytes))),
        Some(Err(error)) => Err(GuestError::network(error.0)),
        None => {
            hold(bodies).readable.remove(&body);
            Ok((done(), None))
        }
    };
    Settled { id, result, readable: None }
}

async fn write(id: u32, params: &str, bytes: Option<Bytes>, bodies: &Mutex<Bodies>) -> Settled {
    let Of { body, .. } = match of(params) {
        Ok(of) => of,
        Err(error) => return Settled::failed(id, error),
    };
    let sender = hold(bodies).writable.get(&body).cloned();
    let sent = match sender {
        Some(sender) => sender.send(Ok(bytes.unwrap_or_default())).await.is_ok(),
        None => false,
    };
    match sent {
        true => Settled::nothing(id),
        false => Settled::failed(id, GuestError::network("nobody reads this body any longer")),
    }
}

async fn close(id: u32, params: &str, bodies: &Mutex<Bodies>) -> Settled {
    let Of { body, error } = match of(params) {
        Ok(of) => of,
        Err(error) => return Settled::failed(id, error),
    };
    let sender = hold(bodies).writable.remove(&body);
    if let (Some(sender), Some(error)) = (sender, error) {
        let _ = sender.send(Err(BodyError(error))).await;
    }
    Settled::nothing(id)
}

#[derive(Deserialize)]
struct SocketParams {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    code: Option<u16>,
    #[serde(default)]
    reason: Option<String>,
}

fn socket_frame(operation: &str, params: &str, bytes: Option<Bytes>) -> Option<Frame> {
    let SocketParams { text, code, reason } = serde_json::from_str(params).ok()?;
    Some(match operation {
        "socketClose" => Frame::Close { code: code.unwrap_or(1000), reason: reason.unwrap_or_default() },
        _ => match text {
            Some(text) => Frame::Text(text),
            None => Frame::Binary(bytes.unwrap_or_default()),
        },
    })
}

async fn send_frame(id: u32, frame: Option<Frame>, frames: Option<mpsc::Sender<Frame>>) -> Settled {
    let (Some(frame), Some(frames)) = (frame, frames) else {
        return Settled::failed(id, GuestError::network("this run has no WebSocket"));
    };
    match frames.send(frame).await {
        Ok(()) => Settled::nothing(id),
        Err(_) => Settled::failed(id, GuestError::network("the WebSocket is closed")),
    }
}

#[derive(Deserialize)]
struct FetchParams {
    url: String,
    method: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    redirect: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FetchedHead<'a> {
    status: u16,
    status_text: &'a str,
    url: &'a str,
    redirected: bool,
    headers: Vec<(&'a str, String)>,
    body: bool,
}

/// Whether the body of a request is written piece by piece.
fn is_streamed(params: &str) -> bool {
    serde_json::from_str::<FetchParams>(params).is_ok_and(|params| params.body == "stream")
}

/// What a call of a program needs.
struct Call {
    interior: Arc<dyn Interior>,
    authority: Authority,
}

impl Call {
    async fn fetch(
        self,
        id: u32,
        params: &str,
        bytes: Option<Bytes>,
        streamed: Option<BodyStream>,
    ) -> Settled {
        match self.fetch_inner(params, bytes, streamed).await {
            Ok((json, readable)) => Settled { id, result: Ok((Some(json), None)), readable },
            Err(error) => Settled::failed(id, error),
        }
    }

    async fn fetch_inner(
        &self,
        params: &str,
        bytes: Option<Bytes>,
        streamed: Option<BodyStream>,
    ) -> Result<(String, Option<BodyStream>), GuestError> {
        let params: FetchParams =
            serde_json::from_str(params).map_err(|error| GuestError::network(error.to_string()))?;
        let mut method = Method::try_from(params.method.as_str())
            .map_err(|error| GuestError::network(error.to_string()))?;
        let mut fields = HeaderMap::new();
        for (name, value) in &params.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), latin1(value)) {
                fields.append(name, value);
            }
        }
        let mut body: Option<BodyStream> = match params.body.as_str() {
            "stream" => streamed,
            _ => bytes.clone().map(|bytes| Box::pin(stream::iter([Ok(bytes)])) as BodyStream),
        };
        if let Some(bytes) = &bytes {
            fields.insert(http::header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        let mut url: Uri =
            params.url.parse().map_err(|error| GuestError::network(format!("{}: {error}", params.url)))?;
        let mut redirects = 0;
        loop {
            let host = url.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
            if !self.interior.is_here(&host) {
                let why = format!("{host} is not a host of this node, and programs reach no others");
                return Err(GuestError::network(why));
            }
            let mut request = Request::new(body.take());
            *request.method_mut() = method.clone();
            *request.uri_mut() = url.clone();
            *request.headers_mut() = fields.clone();
            if let Ok(host) = HeaderValue::try_from(host) {
                request.headers_mut().insert(http::header::HOST, host);
            }
            let response = self.interior.answer(request, self.authority.clone()).await;
            let (head, body_out) = response.into_parts();
            let target = location(&url, &head).filter(|_| params.redirect != "manual");
            let Some(target) = target else {
                return Ok((fetched(&url, redirects > 0, &head, body_out.is_some()), body_out));
            };
            redirects += 1;
            if params.redirect == "error" || redirects > REDIRECTS_MAX {
                return Err(GuestError::network(format!("{url} redirects")));
            }
            let becomes_get = head.status == StatusCode::SEE_OTHER && method != Method::HEAD
                || matches!(head.status.as_u16(), 301 | 302) && method == Method::POST;
            if becomes_get {
                method = Method::GET;
                fields.remove(http::header::CONTENT_LENGTH);
                fields.remove(http::header::CONTENT_TYPE);
            } else if let Some(bytes) = &bytes {
                let bytes = bytes.clone();
                body = Some(Box::pin(stream::iter([Ok(bytes)])));
            } else if params.body == "stream" {
                return Err(GuestError::network("a streamed body cannot follow a redirect"));
            }
            url = target;
        }
    }
}

/// Where an answer redirects to.
fn location(url: &Uri, head: &http::response::Parts) -> Option<Uri> {
    if !matches!(head.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let target = head.headers.get(http::header::LOCATION)?.to_str().ok()?;
    crate::url::join(&url.to_string(), target)?.parse().ok()
}

fn fetched(url: &Uri, redirected: bool, head: &http::response::Parts, body: bool) -> String {
    let url = url.to_string();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str(), value.as_bytes().iter().map(|byte| char::from(*byte)).collect::<String>())
    });
    let head = FetchedHead {
        status: head.status.as_u16(),
        status_text: head.status.canonical_reason().unwrap_or_default(),
        url: &url,
        redirected,
        headers: headers.collect(),
        body,
    };
    serde_json::to_string(&head).unwrap_or_default()
}

/// The source of a module that a program imports, read with the program's authority.
pub(crate) async fn import(
    exec: &Exec,
    base: &str,
    url: &str,
    authority: &Authority,
) -> Result<Bytes, String> {
    let url = crate::url::join(base, url).ok_or("it is no address")?;
    let uri: Uri = url.parse().map_err(|_| "it is no address")?;
    let host = uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
    let interior = exec.interior();
    if !interior.is_here(&host) {
        return Err("it is not an address of this node".to_owned());
    }
    let mut request = Request::new(None);
    let separator = if url.contains('?') { '&' } else { '?' };
    *request.uri_mut() = format!("{url}{separator}execute=false").parse().map_err(|_| "it is no address")?;
    if let Ok(host) = HeaderValue::try_from(host) {
        request.headers_mut().insert(http::header::HOST, host);
    }
    let response = interior.answer(request, authority.clone()).await;
    if !response.status().is_success() {
        return Err(format!("the answer is {}", response.status()));
    }
    let mut bytes = BytesMut::new();
    let mut body = response.into_body();
    while let Some(body) = body.as_mut()
        && let Some(piece) = body.next().await
    {
        bytes.extend_from_slice(&piece.map_err(|error| error.0)?);
        if bytes.len() > IMPORT_MAX {
            return Err(format!("a module may have {IMPORT_MAX} bytes"));
        }
    }
    Ok(bytes.freeze())
}
