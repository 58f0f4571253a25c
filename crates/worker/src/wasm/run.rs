//! Driving one run of a WebAssembly program to its end.
//!
//! The program and the sending of its answer go on side by side, on one thread. Whatever ends the run drops both: the instance with its stack, and
//! what it had begun. Time is looked at whenever the engine's clock ticks, and while the program waits.

use super::{
    Ctx, Limits, Program, RequestHead, Told, Wasm,
    answer::{Head, deliver},
    calls::{Conversation, piece},
    cgi,
    outgoing::{Outgoing, nothing},
    still,
    streams::{Lines, Stdin, Stdout},
};
use crate::{
    Inbound, Out, cpu_time, hold,
    limiter::Limiter,
    way::{Account, BURST},
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, future::try_join, stream};
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jsfs_exec::wire::{Bound, Bounds, Handler, Level, Outcome, RunId, ToNode};
use serde::Deserialize;
use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};
use wasmtime::{InstancePre, Result, Store, UpdateDeadline, WasmBacktrace, error::Context, format_err};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder, WasiView, p2::bindings::CommandPre};
use wasmtime_wasi_http::{
    Error as HttpError, WasiHttpCtx, WasiHttpView,
    p2::bindings::{ProxyPre, http::types::Scheme},
};

/// Most resources (streams, requests, fields and so on) that a component holds at once.
const RESOURCES_MAX: usize = 16_384;
/// Most bytes of randomness at once.
const RANDOM_MAX: u64 = 1 << 20;

/// Why a run ends before its program does.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error("CPU time")]
    Cpu,
    #[error("wall time")]
    Wall,
    #[error("output")]
    Output,
    #[error("cancelled")]
    Cancelled,
    /// It has no answer, or none that could be sent: why, for the log.
    #[error("{0}")]
    Failed(String),
}

/// What a run is begun with.
pub(crate) struct Setting {
    pub(crate) run: RunId,
    pub(crate) out: Arc<Out>,
    pub(crate) bounds: Bounds,
    pub(crate) handler: Handler,
    pub(crate) params: String,
    pub(crate) inbox: mpsc::Receiver<Inbound>,
    pub(crate) cancelled: Arc<AtomicBool>,
}

/// Runs a program to its end, on this thread.
pub(crate) fn drive(wasm: &Wasm, program: &Program, setting: Setting) {
    let began_cpu = cpu_time();
    let (run, out) = (setting.run, Arc::clone(&setting.out));
    let memory_max = usize::try_from(setting.bounds.memory_bytes).unwrap_or(usize::MAX);
    let limits = Limits(Arc::new(Mutex::new(Limiter::new(memory_max))));
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime.block_on(Box::pin(converse(wasm, program, setting, &limits))),
        Err(error) => Outcome::Trapped(format!("there is no executor: {error}")),
    };
    let cpu = cpu_time().saturating_sub(began_cpu);
    let cpu_us = u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
    let memory_bytes = hold(&limits.0).most() as u64;
    out.send(&ToNode::Ended { run, outcome, cpu_us, memory_bytes }, &[]);
}

/// Has the program run, and hands it what the node says meanwhile.
async fn converse(wasm: &Wasm, program: &Program, setting: Setting, limits: &Limits) -> Outcome {
    let Setting { run, out, bounds, handler, params, mut inbox, cancelled } = setting;
    let conversation = Conversation::new(run, out, bounds);
    let ended = {
        let instance = Instance { wasm, conversation: &conversation, bounds, limits, cancelled };
        let mut work = Box::pin(instance.run(program, handler, &params));
        let mut deadline = pin!(tokio::time::sleep(Duration::from_millis(bounds.wall_ms)));
        loop {
            tokio::select! {
                biased;
                message = inbox.recv() => match message {
                    Some(Inbound::Settle { id, ok, json, bytes }) => {
                        let settled = if ok { Ok((json, bytes)) } else { Err(message_of(json.as_deref())) };
                        conversation.settle(id, settled);
                    }
                    Some(Inbound::Event { .. }) => conversation.say(|run| ToNode::Taken { run }, &[]),
                    // An instance has a stack, so there is no image of it.
                    Some(Inbound::Checkpoint) => {}
                    Some(Inbound::Cancel) | None => break Err(Stop::Cancelled.into()),
                },
                ended = &mut work => break ended,
                () = &mut deadline => break Err(Stop::Wall.into()),
            }
        }
    };
    ended.map_or_else(|error| outcome(&error, limits, &conversation), |()| Outcome::Done)
}

/// What an error of the node says.
fn message_of(json: Option<&str>) -> String {
    #[derive(Deserialize)]
    struct Failure {
        message: String,
    }
    let failure = json.and_then(|json| serde_json::from_str::<Failure>(json).ok());
    failure.map_or_else(|| "it failed".to_owned(), |failure| failure.message)
}

fn outcome(error: &wasmtime::Error, limits: &Limits, conversation: &Conversation) -> Outcome {
    match error.downcast_ref::<Stop>() {
        Some(Stop::Cpu) => Outcome::Exceeded(Bound::Cpu),
        Some(Stop::Wall) => Outcome::Exceeded(Bound::Wall),
        Some(Stop::Output) => Outcome::Exceeded(Bound::Output),
        Some(Stop::Cancelled) => Outcome::Cancelled,
        // What was denied memory may fail in any way.
        _ if hold(&limits.0).is_denied() => Outcome::Exceeded(Bound::Memory),
        Some(Stop::Failed(why)) => {
            let (name, message, stack) = ("Error".to_owned(), why.clone(), String::new());
            conversation.say(|run| ToNode::Fail { run, name, message, stack }, &[]);
            Outcome::Done
        }
        None => {
            let why = error.root_cause().to_string();
            Outcome::Trapped(match error.downcast_ref::<WasmBacktrace>() {
                Some(backtrace) => format!("{why}\n{backtrace}"),
                None => why,
            })
        }
    }
}

/// What an instance is made of.
struct Instance<'a> {
    wasm: &'a Wasm,
    conversation: &'a Arc<Conversation>,
    bounds: Bounds,
    limits: &'a Limits,
    cancelled: Arc<AtomicBool>,
}

impl Instance<'_> {
    async fn run(self, program: &Program, handler: Handler, params: &str) -> Result<()> {
        let told: Told = serde_json::from_str(params).context("the run's parameters are malformed")?;
        match program {
            Program::Module(pre) if handler.is_deterministic() => {
                self.part(&told, handler, Start::Module(pre)).await
            }
            Program::Command(pre) if handler.is_deterministic() => {
                self.part(&told, handler, Start::Component(pre)).await
            }
            Program::Module(pre) => self.command(&told, Start::Module(pre)).await,
            Program::Command(pre) => self.command(&told, Start::Component(pre)).await,
            Program::Proxy(pre) => self.proxy(&told, handler, pre).await,
        }
    }

    fn store(&self, wasi: &mut WasiCtxBuilder) -> Store<Ctx> {
        let mut wasi = wasi.allow_tcp(false).allow_udp(false).max_random_size(RANDOM_MAX).build_p1();
        wasi.ctx().table.set_max_capacity(RESOURCES_MAX);
        let (limits, http) = (self.limits.clone(), WasiHttpCtx::new());
        let ctx = Ctx { limits, wasi, http, outgoing: Outgoing(Arc::clone(self.conversation)) };
        let mut store = Store::new(self.wasm.engine(), ctx);
        store.limiter(|ctx| &mut ctx.limits);
        let (bounds, began, account) = (self.bounds, Instant::now(), Account::new(BURST));
        let cancelled = Arc::clone(&self.cancelled);
        store.epoch_deadline_callback(move |_| {
            if cancelled.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled.into());
            }
            let used = account.used();
            if used > Duration::from_millis(bounds.cpu_ms) {
                return Err(Stop::Cpu.into());
            }
            if began.elapsed() > Duration::from_millis(bounds.wall_ms) {
                return Err(Stop::Wall.into());
            }
            account.settle(used);
            // What it has written goes out while it computes on.
            Ok(UpdateDeadline::Yield(1))
        });
        store.set_epoch_deadline(1);
        store
    }

    /// A command: the request goes in at one end, and what comes out at the other is the answer.
    async fn command(self, told: &Told, start: Start<'_>) -> Result<()> {
        let has_body = told.request.as_ref().is_some_and(|request| request.body);
        let (stdout, errors) = (Stdout::default(), Lines::new(self.conversation, Level::Warn));
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdin(Stdin::new(self.conversation, has_body)).stdout(stdout.clone()).stderr(errors.clone());
        wasi.arg(cgi::name(told));
        for (name, value) in cgi::variables(told) {
            wasi.env(name, value);
        }
        let mut store = self.store(&mut wasi);
        let program = async {
            let ended = start.run(&mut store).await;
            errors.finish();
            let code = ended?;
            if code != 0 {
                let why = format!("it ended with exit code {code}");
                if !stdout.has_any() {
                    return Err(Stop::Failed(why).into());
                }
                self.conversation.log(Level::Warn, &why);
            }
            stdout.close();
            Ok(())
        };
        let answer = async { answer_of(self.conversation, &stdout).await.map_err(wasmtime::Error::from) };
        try_join(program, answer).await.map(drop)
    }

    /// A command that makes a value of a part of an input, or one of several: which, its argument says. It has nothing that may differ the next time.
    async fn part(self, told: &Told, handler: Handler, start: Start<'_>) -> Result<()> {
        let (stdout, errors) = (Stdout::default(), Lines::new(self.conversation, Level::Warn));
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdin(Stdin::new(self.conversation, true)).stdout(stdout.clone()).stderr(errors.clone());
        wasi.arg(cgi::name(told)).arg(handler.name());
        for (name, value) in &told.parameters {
            wasi.arg(format!("{name}={value}").replace('\0', ""));
        }
        for (name, value) in cgi::own(told) {
            wasi.env(name, value);
        }
        still::make(&mut wasi);
        let mut store = self.store(&mut wasi);
        let program = async {
            let ended = start.run(&mut store).await;
            errors.finish();
            match ended? {
                0 => stdout.close(),
                code => return Err(Stop::Failed(format!("it ended with exit code {code}")).into()),
            }
            Ok(())
        };
        let value = self.collect(stdout.pieces());
        let ((), value) = try_join(program, value).await?;
        self.give(&value);
        Ok(())
    }

    /// The whole of a value, as far as a run may answer.
    async fn collect(
        &self,
        pieces: impl Stream<Item = std::result::Result<Bytes, String>>,
    ) -> Result<BytesMut> {
        let (mut pieces, mut value) = (pin!(pieces), BytesMut::new());
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(Stop::Failed)?;
            self.conversation.take_output(piece.len())?;
            value.extend_from_slice(&piece);
        }
        Ok(value)
    }

    fn give(&self, value: &[u8]) {
        self.conversation.say(|run| ToNode::Answer { run, json: None, has_bytes: true }, value);
    }

    /// A component that handles requests. For a part or several values the request is made here, and the body of the answer is the value.
    async fn proxy(self, told: &Told, handler: Handler, pre: &ProxyPre<Ctx>) -> Result<()> {
        let (output, errors) =
            (Lines::new(self.conversation, Level::Info), Lines::new(self.conversation, Level::Warn));
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(output.clone()).stderr(errors.clone());
        for (name, value) in &told.env {
            wasi.env(name, value);
        }
        let of_part = handler.is_deterministic().then(|| cgi::request_of_part(told, handler));
        if of_part.is_some() {
            still::make(&mut wasi);
        }
        let mut store = self.store(&mut wasi);
        let head = of_part.as_ref().or(told.request.as_ref());
        let head = head.ok_or_else(|| format_err!("there is no request to handle"))?;
        let scheme = if head.url.starts_with("https:") { Scheme::Https } else { Scheme::Http };
        let request = request(self.conversation, head)?;
        let (sender, answered) = oneshot::channel();
        let request = store.data_mut().http().new_incoming_request(scheme, request)?;
        let sender = store.data_mut().http().new_response_outparam(sender)?;
        let program = async {
            // The instance goes when its handler has returned; what it has not finished by then breaks off.
            let mut store = store;
            let proxy = pre.instantiate_async(&mut store).await?;
            let ended = proxy.wasi_http_incoming_handler().call_handle(&mut store, request, sender).await;
            output.finish();
            errors.finish();
            ended
        };
        let answer = async {
            let response = match answered.await {
                Ok(Ok(response)) => response,
                Ok(Err(code)) => {
                    return Err(Stop::Failed(format!("it answered with the error {code:?}")).into());
                }
                Err(_) => {
                    return Err(Stop::Failed("its handler returned without an answer".to_owned()).into());
                }
            };
            let (parts, body) = response.into_parts();
            let pieces = stream::unfold(body, |mut body| async {
                let frame = body.frame().await?;
                // Trailers go no further.
                let piece = frame
                    .map(|frame| frame.into_data().unwrap_or_default())
                    .map_err(|error| error.to_string());
                Some((piece, body))
            });
            if of_part.is_some() {
                return match parts.status.is_success() {
                    true => self.collect(pieces).await.map(Some),
                    false => {
                        Err(Stop::Failed(format!("it answered with the status {}", parts.status)).into())
                    }
                };
            }
            let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
            let fields =
                parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())));
            let head = Head { status: parts.status.as_u16(), fields: fields.collect() };
            deliver(self.conversation, head, Bytes::new(), pieces).await?;
            Ok(None)
        };
        let ((), value) = try_join(program, answer).await?;
        // Not before the handler has returned: what breaks has no value.
        if let Some(value) = value {
            self.give(&value);
        }
        Ok(())
    }
}

/// What a command begins with.
enum Start<'a> {
    Module(&'a InstancePre<Ctx>),
    Component(&'a CommandPre<Ctx>),
}

impl Start<'_> {
    /// Runs it. Answers its exit code.
    async fn run(self, store: &mut Store<Ctx>) -> Result<i32> {
        let ended = match self {
            Self::Module(pre) => {
                let instance = pre.instantiate_async(&mut *store).await?;
                let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
                start.call_async(&mut *store, ()).await.map(|()| 0)
            }
            Self::Component(pre) => {
                let command = pre.instantiate_async(&mut *store).await?;
                let ended = command.wasi_cli_run().call_run(&mut *store).await;
                ended.map(|ended| i32::from(ended.is_err()))
            }
        };
        match ended {
            Ok(code) => Ok(code),
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(I32Exit(code)) => Ok(*code),
                None => Err(error),
            },
        }
    }
}

/// Sends what a command writes: its head if there is one, and the rest.
async fn answer_of(conversation: &Arc<Conversation>, stdout: &Stdout) -> Result<(), Stop> {
    // Fused, because what follows asks again after the end.
    let mut pieces = pin!(stdout.pieces().fuse());
    let mut begin = BytesMut::new();
    let (head, at) = loop {
        match cgi::head(&begin) {
            cgi::Begins::Head(head, at) => break (head, at),
            cgi::Begins::Body => break (cgi::no_head(&begin), 0),
            cgi::Begins::Unknown => {}
        }
        match pieces.next().await {
            Some(piece) => begin.extend_from_slice(&piece.map_err(Stop::Failed)?),
            None => break (cgi::no_head(&begin), 0),
        }
    };
    deliver(conversation, head, begin.freeze().slice(at..), pieces).await
}

/// The request as a component is given it.
fn request(
    conversation: &Arc<Conversation>,
    head: &RequestHead,
) -> Result<Request<http_body_util::combinators::UnsyncBoxBody<Bytes, HttpError>>> {
    let body = if head.body {
        let pieces = stream::unfold(Arc::clone(conversation), |conversation| async {
            let read = match conversation.read(0) {
                Ok(call) => piece(call.await),
                Err(why) => Err(why),
            };
            let frame = match read {
                Ok(bytes) => Ok(Frame::data(bytes?)),
                Err(why) => Err(HttpError::InternalError(Some(why))),
            };
            Some((frame, conversation))
        });
        StreamBody::new(pieces).boxed_unsync()
    } else {
        nothing()
    };
    let mut request = Request::builder().method(head.method.as_str()).uri(head.url.as_str());
    for (name, value) in &head.headers {
        let value: Vec<u8> = value.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        request = request.header(name, value);
    }
    request.body(body).context("the request cannot be handed on")
}
