//! One socket: reads calls and pieces of bodies, writes answers, events and bodies, until one side has had enough.
//!
//! Tasks: one per socket, which reads, writes and watches over the others; one per call that is being worked on and one per watch, all in one
//! set that ends with the socket. Dropping a call stores nothing that was not answered. Everything that waits is bounded: answers and events by one
//! short queue, bodies by another and by their credit, calls and watches by limits. A call has its place among the node's requests from before it has a
//! task until its answer was written; a client that takes nothing is cut off by the connection's own marks, or when others wait for such places.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::http::request::Parts;
use hyper::upgrade::{OnUpgrade, Parts as Upgraded};
use hyper_util::rt::TokioIo;
use jsfs_objects::address::Address;
use jsfs_objects::{Credentials, News, Watch as WatchVerb, Watching};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes as WsBytes, Message};

use super::answer::{self, Outcome};
use super::call::{self, Action, Asking, Base, Call, Fault, Id, Payload, Rendering, Secrets};
use super::event::Event;
use super::frame::{Frame, MESSAGE_BYTES_MAX};
use super::outbox::{Outbox, Over, Queues, outboxes};
use super::parting::{Parting, RETRY_AFTER_S, short};
use super::sse::parse_cursor;
use super::streams::Streams;
use crate::body::{Arriving, Held};
use crate::front::{self, Front};
use crate::gate::{Gate, Permit};
use crate::guard::Guard;
use crate::limits::Limits;
use crate::problem::{Kind, Problem};
use crate::request::Beside;
use crate::server::Ending;
use crate::tls::Wire;
use crate::watch::{Doom, Watch};

/// After this time of silence the node asks whether the client is there.
pub(super) const PING_AFTER: Duration = Duration::from_secs(30);

/// After this time of silence the client is gone.
pub(super) const GONE_AFTER: Duration = Duration::from_secs(90);

/// How long the end of a socket may take.
pub(super) const PARTING_TIME_MAX: Duration = Duration::from_secs(2);

/// A connection has one call for so many that it may have, while more than half of the places for requests are taken.
const BUSY_SHARE: usize = 32;

/// How long a client that was slow may take to hear that others had its place.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);

/// Small, because most sockets are idle; a long message brings a buffer of its own.
const READ_BUFFER_BYTES: usize = 1024;

/// The longest message to a program.
const PROGRAM_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Messages are gathered up to here and then written at once.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

pub(super) type Stream = WebSocketStream<Guard<Wire>>;

/// A socket that was asked for and begins when its handshake is answered.
pub(crate) struct Socket {
    front: Arc<Front>,
    base: Base,
    credentials: Credentials,
    parting: Option<Parting>,
}

/// What the tasks of a socket share.
struct Session {
    front: Arc<Front>,
    base: Base,
    credentials: Mutex<Credentials>,
    streams: Arc<Streams>,
    /// The connection's marks.
    watch: Arc<Watch>,
    /// Answers and events.
    messages: Outbox,
    /// Bodies, each after the answer that announces it.
    pieces: Outbox,
    calls: Arc<Gate>,
    watches: Arc<Gate>,
    following: Mutex<HashMap<String, AbortHandle>>,
    last_watch: AtomicU64,
}

impl Socket {
    pub(crate) fn new(
        front: Arc<Front>,
        base: Base,
        credentials: Credentials,
        parting: Option<Parting>,
    ) -> Self {
        Socket { front, base, credentials, parting }
    }

    /// Serves the socket to its end.
    pub(crate) async fn run(self, upgrade: OnUpgrade, ending: Ending) {
        let config = config(&self.front.counters().limits());
        let Some(stream) = upgraded(upgrade, &ending, config).await else { return };
        let (mut sink, mut stream) = stream.split();
        let (messages, pieces, mut queues) = outboxes();
        let parting = match self.parting {
            Some(parting) => parting,
            None => {
                let session = Arc::new(Session {
                    front: self.front,
                    base: self.base,
                    credentials: Mutex::new(self.credentials),
                    watch: Arc::clone(&ending.watch),
                    streams: Arc::default(),
                    messages,
                    pieces,
                    calls: Arc::default(),
                    watches: Arc::default(),
                    following: Mutex::default(),
                    last_watch: AtomicU64::new(0),
                });
                tokio::select! {
                    parting = read(&session, &mut stream, &ending) => parting,
                    () = queues.write(&mut sink) => Parting::gone(),
                    () = ending.cut.cancelled() => return,
                }
            }
        };
        // Whatever happens to the goodbye, the connection ends here.
        let _ =
            tokio::time::timeout(PARTING_TIME_MAX, part(parting, queues, sink, stream, &ending.watch)).await;
    }
}

/// The connection after its handshake, as a socket.
async fn upgraded(upgrade: OnUpgrade, ending: &Ending, config: WebSocketConfig) -> Option<Stream> {
    let Upgraded { io, read_buf, .. } = upgrade.await.ok()?.downcast::<TokioIo<Guard<Wire>>>().ok()?;
    ending.watch.begin_socket();
    // What came after the handshake; the buffer that it lies in was made for requests and is given back.
    let early = read_buf.to_vec();
    drop(read_buf);
    Some(WebSocketStream::from_partially_read(io.into_inner(), early, Role::Server, Some(config)).await)
}

/// The same for a socket to a program.
pub(super) async fn opened(upgrade: OnUpgrade, ending: &Ending) -> Option<Stream> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(PROGRAM_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(PROGRAM_MESSAGE_BYTES_MAX));
    upgraded(upgrade, ending, config).await
}

fn config(limits: &Limits) -> WebSocketConfig {
    let longest = MESSAGE_BYTES_MAX.max(limits.json_bytes_max);
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(longest))
        .max_frame_size(Some(longest))
}

/// Says what is still to be said, and goodbye.
async fn part(
    parting: Parting,
    mut queues: Queues,
    mut sink: SplitSink<Stream, Message>,
    stream: SplitStream<Stream>,
    watch: &Watch,
) {
    let Some((code, reason)) = parting.said() else { return };
    if queues.write_the_last(&mut sink).await.is_err() {
        return;
    }
    let frame = CloseFrame { code: code.into(), reason: short(&reason) };
    if sink.send(Message::Close(Some(frame))).await.is_err() {
        return;
    }
    let Ok(mut socket) = sink.reunite(stream) else { return };
    while let Some(Ok(_)) = socket.next().await {}
    // What the client is still sending, such as the rest of a message that is too long, is read: closing now would lose our goodbye.
    watch.left_unread();
    let _ = socket.into_inner().shutdown().await;
}

/// Takes what the client sends. Running calls may end when the node stops, watches need not: they lose nothing.
async fn read(session: &Arc<Session>, stream: &mut SplitStream<Stream>, ending: &Ending) -> Parting {
    let mut tasks = JoinSet::new();
    let mut heard = Instant::now();
    let mut look = tokio::time::interval(PING_AFTER);
    let mut stopping = false;
    loop {
        tokio::select! {
            message = stream.next() => {
                heard = Instant::now();
                let taken = match message {
                    // Boxed, so that a socket that only watches keeps no room for it.
                    Some(Ok(Message::Text(text))) => {
                        Box::pin(session.take_text(text.as_str(), &mut tasks, stopping)).await
                    }
                    Some(Ok(Message::Binary(bytes))) => session.take_binary(bytes),
                    // The library answers by itself. More is read when that was written.
                    Some(Ok(Message::Ping(_))) => session.messages.room().await.map_err(|Over| Parting::gone()),
                    Some(Ok(Message::Pong(_) | Message::Frame(_))) => Ok(()),
                    Some(Ok(Message::Close(_))) | None => return Parting::gone(),
                    Some(Err(error)) => return error.into(),
                };
                if let Err(parting) = taken {
                    return parting;
                }
            }
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            _ = look.tick() => {
                if heard.elapsed() >= GONE_AFTER {
                    return Parting::gone();
                }
                if heard.elapsed() >= PING_AFTER {
                    // A full queue means that the client is there and slow.
                    session.messages.message_now(Message::Ping(WsBytes::new()));
                }
            }
            () = ending.shutdown.cancelled(), if !stopping => {
                stopping = true;
                session.hold_following().drain().for_each(|(_, watch)| watch.abort());
            }
        }
        if stopping && session.calls.inside() == 0 {
            return Parting::stopping();
        }
    }
}

impl Session {
    fn hold_following(&self) -> MutexGuard<'_, HashMap<String, AbortHandle>> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> Arc<Limits> {
        self.front.counters().limits()
    }

    fn take_binary(&self, bytes: Bytes) -> Result<(), Parting> {
        let (number, frame) = Frame::decode(bytes)?;
        Ok(self.streams.take(number, frame)?)
    }

    async fn take_text(
        self: &Arc<Self>,
        text: &str,
        tasks: &mut JoinSet<()>,
        stopping: bool,
    ) -> Result<(), Parting> {
        if text.len() > self.limits().json_bytes_max {
            return Err(Parting::with(1009, "the text message is longer than limits.json_bytes"));
        }
        let Call { id, action } = match call::parse(text, &self.base) {
            Ok(call) => call,
            Err(Fault { id, code, problem }) => {
                self.say(answer::message(id.as_ref(), "error", &answer::coded(&problem, code))).await;
                return Ok(());
            }
        };
        match action {
            Action::Ping => self.result(id.as_ref(), &json!({})).await,
            Action::Authenticate(secrets) => self.authenticate(id.as_ref(), &secrets).await,
            Action::Unwatch { watch } => self.unwatch(id.as_ref(), &watch).await,
            Action::Watch { path, since, secrets } => self.begin_watch(id, path, since, secrets, tasks).await,
            Action::Request(asking) => return self.begin_request(id, asking, tasks, stopping).await,
        }
        Ok(())
    }

    async fn say(&self, text: String) {
        // Where nobody writes any more the connection is at its end.
        let _ = self.messages.message(Message::text(text)).await;
    }

    async fn result(&self, id: Option<&Id>, value: &Value) {
        if id.is_some() {
            self.say(answer::message(id, "result", value)).await;
        }
    }

    async fn refuse(&self, id: Option<&Id>, problem: &Problem) {
        if id.is_some() {
            self.say(answer::message(id, "error", &answer::error(problem))).await;
        }
    }

    /// The credentials of the connection and those of one call.
    fn credentials_with(&self, secrets: &Secrets) -> Credentials {
        let mut credentials = self.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone();
        add(&mut credentials, secrets);
        credentials
    }

    /// Looked at before the calls that follow are.
    async fn authenticate(&self, id: Option<&Id>, secrets: &Secrets) {
        let mut new = Credentials::none();
        add(&mut new, secrets);
        let checked = match Address::from_host_and_path(self.host(), "/") {
            Ok(address) => self.front.objects().examine(&new, &address).await.map_err(Problem::from),
            Err(error) => Err(error.into()),
        };
        match checked {
            Ok(None) => {}
            Ok(Some(note)) => return self.refuse(id, &Problem::new(Kind::Unauthorized, note)).await,
            Err(problem) => return self.refuse(id, &problem).await,
        }
        let count = {
            let mut credentials = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
            add(&mut credentials, secrets);
            credentials.len()
        };
        self.result(id, &json!({ "credentials": count })).await;
    }

    fn host(&self) -> &str {
        self.base.host.to_str().unwrap_or_default()
    }

    async fn begin_request(
        self: &Arc<Self>,
        id: Option<Id>,
        asking: Box<Asking>,
        tasks: &mut JoinSet<()>,
        stopping: bool,
    ) -> Result<(), Parting> {
        let limits = self.limits();
        // Announced first: what the client sends for it is on its way already.
        let incoming = match asking.payload {
            Payload::Stream(number) => {
                Some(self.streams.announce(number, self.messages.clone(), limits.progress_time)?)
            }
            Payload::Nothing | Payload::Bytes(_) => None,
        };
        if stopping {
            let problem = Problem::unavailable("the node is stopping; try again shortly", RETRY_AFTER_S);
            self.refuse(id.as_ref(), &problem).await;
            return Ok(());
        }
        let Some(permit) = self.enter_calls(&limits) else {
            let detail = "this connection has as many calls under way as limits.socket_calls allows, or fewer because the node is busy; wait for one";
            self.refuse(id.as_ref(), &Problem::too_many_requests(detail, RETRY_AFTER_S)).await;
            return Ok(());
        };
        let Asking { mut parts, payload, rendering, secrets } = *asking;
        parts.extensions.insert(Beside(self.credentials_with(&secrets)));
        let place = self.front.counters().begin_call(self.watch.origin());
        let watch = place.watch();
        let arriving = match (incoming, payload) {
            (Some(incoming), _) => Arriving::from_stream(incoming, Arc::clone(&watch), limits.body_bytes_max),
            (None, Payload::Bytes(bytes)) => Arriving::from_bytes(bytes, limits.body_bytes_max),
            (None, _) => Arriving::nothing(),
        };
        // Before it has a task: those that are refused take no room while they wait to hear it.
        match front::admit(&self.front, &parts, &arriving, Some(place)) {
            Ok(held) => {
                let session = Arc::clone(self);
                tasks.spawn(async move {
                    let _permit = permit;
                    session.request(id, parts, arriving, rendering, held).await;
                });
            }
            Err(full) => {
                drop((arriving, permit));
                self.refuse(id.as_ref(), &full).await;
            }
        }
        Ok(())
    }

    /// A place among the calls of this connection. Where the node has not many for all, a connection with many calls leaves room for others.
    fn enter_calls(&self, limits: &Limits) -> Option<Permit> {
        let most = limits.socket_calls_max;
        let has_room = self.front.counters().has_room();
        self.calls.enter(if has_room { most } else { (most / BUSY_SHARE).max(1) })
    }

    /// Works on one call until its answer was written, the bytes that it answers with included.
    async fn request(
        &self,
        id: Option<Id>,
        parts: Parts,
        arriving: Arriving,
        rendering: Rendering,
        mut held: Held,
    ) {
        let address = Address::from_host_and_path(self.host(), parts.uri.path());
        let address = address.map_or_else(|_| parts.uri.path().to_owned(), |address| address.to_string());
        let watch = Arc::clone(&held.watch);
        let answering = async {
            let response = front::call(&self.front, parts, arriving, &mut held).await;
            answer::render(response, rendering, address).await
        };
        let outcome = tokio::select! {
            outcome = answering => outcome,
            () = watch.doomed() => {
                let Some(id) = &id else { return };
                let text = answer::message(Some(id), "error", &answer::error(&made_room()));
                return self.part_with(self.messages.message(Message::text(text))).await;
            }
        };
        let Some(id) = &id else { return };
        match outcome {
            Outcome::Result(value) => self.answer(id, "result", value, &watch).await,
            Outcome::Refused(mut error) => {
                if let Some(request) = &held.id {
                    error["data"]["id"] = request.as_str().into();
                }
                self.answer(id, "error", error, &watch).await;
            }
            Outcome::Document(json) => {
                let (before, after) = answer::around(id);
                self.write([before.into(), json, Bytes::from_static(after.as_bytes())], &watch).await;
            }
            Outcome::Stream(mut head, body) => {
                let stream = self.streams.open();
                head.insert("stream".to_owned(), stream.number.into());
                let text = answer::message(Some(id), "result", &Value::Object(head));
                let mut body = body.holding(held);
                let sending = async {
                    // Through the same queue as its pieces, so that none overtakes it.
                    if self.pieces.message(Message::text(text)).await.is_ok() {
                        stream.send(&mut body, &self.pieces, self.limits().progress_time).await;
                    }
                };
                tokio::select! {
                    () = sending => {}
                    () = watch.doomed() => self.part_with(stream.fail(&made_room(), &self.pieces)).await,
                }
            }
        }
    }

    /// Writes what is not JSON yet.
    async fn answer(&self, id: &Id, part: &str, value: Value, watch: &Watch) {
        let text = answer::message(Some(id), part, &value);
        drop(value);
        // Escapes can make it several times as long as what it was made of.
        match self.front.counters().memory(text.len() as u64).await {
            Ok(memory) => self.write([memory.keep(text.into()), Bytes::new(), Bytes::new()], watch).await,
            Err(full) => self.part_with(self.refuse(Some(id), &full)).await,
        }
    }

    /// Writes an answer. Where the client does not take it and others wait for its place, the connection ends.
    async fn write(&self, parts: [Bytes; 3], watch: &Watch) {
        watch.handed_over(parts.iter().map(Bytes::len).sum());
        tokio::select! {
            _ = self.messages.text_to_the_end(parts) => {}
            () = watch.doomed() => self.watch.end(Doom::Answer),
        }
    }

    /// Tells a client that was slow that others have its place now; one that does not even take that loses the connection.
    async fn part_with(&self, telling: impl Future) {
        if tokio::time::timeout(FAREWELL_TIME_MAX, telling).await.is_err() {
            self.watch.end(Doom::Answer);
        }
    }

    async fn begin_watch(
        self: &Arc<Self>,
        id: Option<Id>,
        path: String,
        since: Option<String>,
        secrets: Secrets,
        tasks: &mut JoinSet<()>,
    ) {
        let Some(permit) = self.watches.enter(self.limits().socket_watches_max) else {
            let detail = "this connection follows as many watches as limits.socket_watches allows; end one";
            return self.refuse(id.as_ref(), &Problem::too_many_requests(detail, RETRY_AFTER_S)).await;
        };
        let name = format!("w{}", self.last_watch.fetch_add(1, Relaxed) + 1);
        let credentials = self.credentials_with(&secrets);
        let session = Arc::clone(self);
        // Held until the handle is in: a watch that ends at once takes its name out only then.
        let mut following = self.hold_following();
        let watch = name.clone();
        let task = tasks.spawn(async move {
            let _permit = permit;
            match Box::pin(session.watching(&path, since, &credentials)).await {
                Ok(watching) => session.follow(id.as_ref(), &watch, watching).await,
                Err(problem) => session.refuse(id.as_ref(), &problem).await,
            }
            session.hold_following().remove(&watch);
        });
        following.insert(name, task);
    }

    async fn watching(
        &self,
        path: &str,
        since: Option<String>,
        credentials: &Credentials,
    ) -> Result<(Watching, Permit), Problem> {
        let since = since.as_deref().map(parse_cursor).transpose()?;
        let address = Address::from_host_and_path(self.host(), path)?;
        let objects = self.front.objects();
        let grant = objects.authorize::<WatchVerb>(credentials, &address).await?;
        let permit = self.front.counters().enter_watches().ok_or_else(|| {
            let detail = "this node follows as many watches as it takes at a time; try again later";
            Problem::unavailable(detail, RETRY_AFTER_S)
        })?;
        Ok((objects.watch(grant, since).await?, permit))
    }

    /// Tells of changes until the watch is over or the connection is.
    async fn follow(&self, id: Option<&Id>, name: &str, (mut watching, _permit): (Watching, Permit)) {
        let begun = json!({ "watch": name, "cursor": watching.cursor().to_string() });
        self.result(id, &begun).await;
        loop {
            match watching.next().await {
                Ok(News::Changes(notices)) => {
                    for notice in &notices {
                        self.say(answer::notification("event", &Event::of(notice, Some(name)))).await;
                    }
                }
                Ok(News::Reset(cursor)) => {
                    let params = json!({ "watch": name, "cursor": cursor.to_string() });
                    self.say(answer::notification("reset", &params)).await;
                }
                Err(error) => {
                    let params = json!({ "watch": name, "error": Problem::from(error).document() });
                    return self.say(answer::notification("ended", &params)).await;
                }
            }
        }
    }

    async fn unwatch(&self, id: Option<&Id>, name: &str) {
        let task = self.hold_following().remove(name);
        match task {
            Some(task) => {
                task.abort();
                self.result(id, &json!({})).await;
            }
            None => {
                let detail = "this connection has no watch of that name";
                self.refuse(id, &Problem::new(Kind::NotFound, detail)).await;
            }
        }
    }
}

fn made_room() -> Problem {
    Problem::new(Kind::RequestTimeout, "the client was slow and others waited for its place; try again")
}

fn add(credentials: &mut Credentials, secrets: &Secrets) {
    if let Some(key) = &secrets.key {
        credentials.add_key(key);
    }
    if let Some(token) = &secrets.token {
        credentials.add_token(token);
    }
}
