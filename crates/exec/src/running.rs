//! One run, from the node: it is begun, what it asks for is carried out, and its answer is handed on as it comes.
//!
//! A run has a task of its own, which ends with the worker's last word about it, or cancels it when nobody wants its answer any longer. What it
//! asks for runs beside that task, each bounded by the run's own bounds.

use crate::{
    BESIDE_BYTES, BodyError, BodyStream, Exec, Prepared, TURN,
    calls::{
        Bodies, Call, GuestError, PIECES, Settled, close, is_streamed, latin1, pieces, read, send_frame,
        socket_frame, word, write,
    },
    hold,
    interior::Authority,
    said::{Answer, AnswerBody, Frame, Params, RunError, Socket},
    sandbox::{Channel, Sandbox},
    turns::Turn,
    wire::{Bounds, Handler, Level, Outcome, ToNode, ToWorker},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc, oneshot},
    task::JoinSet,
};

/// Messages of a socket that wait for either side.
const FRAMES: usize = 16;

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
    /// Whether what it logs is kept.
    pub is_logged: bool,
    /// Told when a `map` looks at where its part lies.
    pub looked: Option<Arc<AtomicBool>>,
}

impl Exec {
    /// Runs a program for a request.
    ///
    /// # Errors
    /// Why it did not answer.
    pub async fn fetch(&self, begin: Begin) -> Result<Answer, RunError> {
        let turn = self.0.runs.take(namespace(&begin.address), TURN).await.ok_or(RunError::Busy)?;
        let channel = self.sandbox_of(&begin.prepared).channel().await?;
        let (head, answered) = oneshot::channel();
        let id = format!("{:08x}", channel.run);
        let run = Run::new(self.clone(), begin, channel, id, turn);
        self.0.tasks.spawn(run.drive(head));
        answered.await.unwrap_or(Err(RunError::Crashed))
    }

    /// The worker that a program runs in.
    fn sandbox_of(&self, prepared: &Prepared) -> &Sandbox {
        let is_apart = self.0.apart_programs.get(&prepared.source).is_some();
        if is_apart { &self.0.apart } else { &self.0.sandbox }
    }
}

struct Run {
    exec: Exec,
    channel: Channel,
    id: String,
    address: String,
    authority: Authority,
    /// Host and port of the program's own URL.
    home: String,
    prepared: Prepared,
    handler: Handler,
    params: String,
    given: Option<Bytes>,
    is_logged: bool,
    looked: Option<Arc<AtomicBool>>,
    bounds: Bounds,
    bodies: Arc<Mutex<Bodies>>,
    calls: JoinSet<Settled>,
    cancels: HashMap<u32, tokio::task::AbortHandle>,
    /// From the client of a WebSocket; how many of them the program has room for.
    frames: Option<mpsc::Receiver<Frame>>,
    frames_out: Option<mpsc::Sender<Frame>>,
    room: usize,
    failed: bool,
    turn: Turn,
}

impl Run {
    fn new(exec: Exec, begin: Begin, channel: Channel, id: String, turn: Turn) -> Self {
        let Begin { prepared, address, authority, handler, params, body, bounds, is_logged, looked } = begin;
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
            home: http::Uri::try_from(&params.base)
                .ok()
                .and_then(|base| Some(base.authority()?.as_str().to_owned()))
                .unwrap_or_default(),
            prepared,
            handler,
            params: params.json(),
            given: params.given.bytes,
            is_logged,
            looked,
            bounds,
            bodies: Arc::new(Mutex::new(bodies)),
            calls: JoinSet::new(),
            cancels: HashMap::new(),
            frames: None,
            frames_out: None,
            room: FRAMES,
            failed: false,
            turn,
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
            has_bytes: self.given.is_some(),
        };
        self.channel.send(&message, self.given.as_deref().unwrap_or_default()).await;
    }

    async fn drive(mut self, head: oneshot::Sender<Result<Answer, RunError>>) {
        let mut head = Some(head);
        self.begin(false).await;
        loop {
            tokio::select! {
                message = self.channel.next() => {
                    let Some((message, bytes)) = message else {
                        let error = self.cut_off();
                        break self.end(head, error);
                    };
                    if let Some(outcome) = self.take(message, bytes, &mut head).await {
                        if head.is_none() && matches!(outcome, Outcome::Done | Outcome::Cancelled) {
                            break;
                        }
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
                // Nobody waits for the answer any longer. What it took, nobody will know.
                () = abandoned(&mut head) => {
                    self.set_apart();
                    break;
                }
            }
        }
    }

    /// From now on the program runs in the other worker.
    fn set_apart(&self) {
        self.exec.0.apart_programs.insert(self.prepared.source, ());
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

    /// Why there are no more messages of the run, and its last word was not among them.
    fn cut_off(&self) -> RunError {
        self.set_apart();
        if !self.channel.is_open() {
            return RunError::Crashed;
        }
        self.log(Level::Error, "ended: it asked for more at once than the node listens to".to_owned());
        RunError::Failed { id: self.id.clone() }
    }

    fn error_of(&mut self, outcome: Outcome) -> RunError {
        let id = self.id.clone();
        match outcome {
            Outcome::Exceeded(bound) => {
                let (what, setting) = bound.names_in(self.handler);
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
            Outcome::Done | Outcome::Cancelled | Outcome::OtherEngine => {
                if !self.failed {
                    self.log(Level::Error, "it ended without an answer".to_owned());
                }
                RunError::Failed { id }
            }
        }
    }

    fn log(&self, level: Level, text: String) {
        if !self.is_logged {
            return;
        }
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
                    let kind = if has_bytes { "application/octet-stream" } else { "application/json" };
                    let body = if has_bytes { bytes } else { Bytes::from(json.unwrap_or_default()) };
                    let mut headers = HeaderMap::new();
                    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
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
            ToNode::Ended { outcome, memory_bytes, .. } => {
                if memory_bytes > BESIDE_BYTES {
                    self.set_apart();
                }
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
            let place = self.exec.0.sockets.take_now(namespace(&self.address));
            self.turn = place.ok_or(RunError::Busy)?;
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
                let call = Call {
                    interior: self.exec.interior(),
                    authority: self.authority.clone(),
                    home: self.home.clone(),
                    once: None,
                    outside: Arc::clone(&self.exec.0.outside),
                };
                // The program may write to the body at once, so what takes that must be there before the next message is heard.
                let streamed = is_streamed(&params).then(|| {
                    let (sender, receiver) = mpsc::channel(PIECES);
                    hold(&self.bodies).writable.insert(id, sender);
                    pieces(receiver)
                });
                self.calls.spawn(async move { call.fetch(id, &params, bytes, streamed).await })
            }
            "look" => {
                if let Some(looked) = &self.looked {
                    looked.store(true, Ordering::Relaxed);
                }
                self.calls.spawn(std::future::ready(Settled::nothing(id)))
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
        let (message, bytes) = word(self.channel.run, id, result);
        self.channel.send(&message, &bytes).await;
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

/// The namespace of an address.
fn namespace(address: &str) -> &str {
    address.trim_start_matches('/').split('/').next().unwrap_or_default()
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
