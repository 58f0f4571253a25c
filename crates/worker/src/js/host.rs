//! The imports of the engine: what `guest/src/host.ts` calls the boundary, from below.
//!
//! Everything here answers at once. What takes time is noted and told to the node; its end comes back through `Running`.

use super::{
    Exports,
    value::{OutOfMemory, Ptr},
};
use crate::{Out, crypto, gate, limiter::Limiter, web};
use jsfs_exec::wire::{Bounds, FRAME_MAX, Level, RunId, ToNode};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};
use wasmtime::{Caller, Linker, Result, format_err};

/// The state of an instance.
pub(crate) struct Ctx {
    pub(crate) exports: Option<Arc<Exports>>,
    pub(crate) limits: Limiter,
    pub(crate) guest: Guest,
}

/// What the worker knows of the program in an instance.
pub(crate) struct Guest {
    pub(crate) run: RunId,
    pub(crate) out: Arc<Out>,
    pub(crate) bounds: Bounds,
    pub(crate) began: Instant,
    /// Since when its wall time counts.
    pub(crate) bounded_since: Instant,
    /// Milliseconds since 1970 when it began, for what cannot be told the time.
    pub(crate) began_ms: f64,
    /// No clock, no randomness, nothing begun.
    pub(crate) is_still: bool,
    /// Ids of what the node was told to do and has not ended.
    pub(crate) pending: BTreeSet<u32>,
    /// Timers by their end, in the order of their making.
    pub(crate) timers: BTreeMap<(Instant, u64), u32>,
    pub(crate) timers_made: u64,
    pub(crate) has_answered: bool,
    pub(crate) takes_events: bool,
    pub(crate) is_done: bool,
    /// An answer that goes with the run's last word.
    pub(crate) held: Option<(ToNode, Vec<u8>)>,
    /// It lasts until it ends by itself, and may be put away and gone on with.
    pub(crate) is_process: bool,
    /// The node was told that it waits for input only.
    pub(crate) rests: bool,
    /// How long it had lasted when its image was taken.
    pub(crate) went_before: Duration,
    pub(crate) requests_left: u32,
    pub(crate) log_left: u64,
    pub(crate) output_left: u64,
    pub(crate) exceeded: bool,
    /// While a program is prepared: where the sources of what it imports come from.
    pub(crate) imports: Option<mpsc::Receiver<std::result::Result<String, String>>>,
    /// Rejections that nobody has handled yet: calls of `runtime.rejection` that wait for the stack to be empty.
    pub(crate) rejections: Vec<(Ptr, Ptr, bool)>,
}

/// Most things under way at once for one run.
const PENDING_MAX: usize = 256;
/// Most timers of one run.
const TIMERS_MAX: usize = 4_096;
/// Longest line of a log.
pub(crate) const LINE_MAX: usize = 16 << 10;
/// What a frame needs beside the texts and bytes that a program chooses.
const FRAME_SPARE: usize = 64 << 10;
/// Longest stretch of randomness at once.
const RANDOM_MAX: usize = 65_536;

/// An error that JavaScript sees, by name.
pub(crate) struct Failure {
    pub(crate) name: &'static str,
    pub(crate) message: String,
}

impl Failure {
    fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, message: message.into() }
    }
}

impl From<crypto::Failure> for Failure {
    fn from(failure: crypto::Failure) -> Self {
        Self::new(failure.name, failure.message)
    }
}

/// What a call answers.
enum Given {
    Nothing,
    Text(String),
    Bytes(Vec<u8>),
    Number(f64),
}

type Called = Result<std::result::Result<Given, Failure>>;

/// Defines every import of the engine.
pub(crate) fn link(linker: &mut Linker<Ctx>) -> Result<()> {
    linker.func_wrap("env", "host_call", call)?;
    linker.func_wrap("env", "host_interrupt", |_: Caller<'_, Ctx>| 0_u32)?;
    linker.func_wrap("env", "host_promise_rejection", rejection)?;
    linker.func_wrap("env", "host_module_normalize", normalize)?;
    linker.func_wrap("env", "host_module_load", load)?;
    linker.func_wrap("env", "host_get_timezone_offset", |_: Caller<'_, Ctx>, _: u32, _: u32| 0_u32)?;
    let wasi = "wasi_snapshot_preview1";
    linker.func_wrap(wasi, "clock_time_get", clock)?;
    linker.func_wrap(wasi, "random_get", random)?;
    linker.func_wrap(wasi, "fd_close", |_: Caller<'_, Ctx>, _: u32| NOT_SUPPORTED)?;
    linker.func_wrap(wasi, "fd_fdstat_get", |_: Caller<'_, Ctx>, _: u32, _: u32| BAD_DESCRIPTOR)?;
    linker.func_wrap(wasi, "fd_seek", |_: Caller<'_, Ctx>, _: u32, _: u64, _: u32, _: u32| NOT_SUPPORTED)?;
    linker
        .func_wrap(wasi, "fd_write", |_: Caller<'_, Ctx>, _: u32, _: u32, _: u32, _: u32| BAD_DESCRIPTOR)?;
    Ok(())
}

// WASI preview 1, `errno`.
const NOT_SUPPORTED: u32 = 52;
const BAD_DESCRIPTOR: u32 = 8;

fn exports(caller: &Caller<'_, Ctx>) -> Result<Arc<Exports>> {
    caller.data().exports.clone().ok_or_else(|| format_err!("the engine is not linked yet"))
}

impl Guest {
    /// How long the run has lasted, what it had lasted before it was gone on with included.
    pub(crate) fn elapsed(&self) -> Duration {
        self.went_before + self.began.elapsed()
    }

    /// Milliseconds since 1970 and since the run began.
    fn time(&self) -> (f64, f64) {
        if self.is_still {
            return (self.began_ms, 0.0);
        }
        let here = self.began.elapsed().as_secs_f64() * 1_000.0;
        (self.began_ms + here, self.elapsed().as_secs_f64() * 1_000.0)
    }
}

fn clock(mut caller: Caller<'_, Ctx>, clock: u32, _precision: u64, at: u32) -> Result<u32> {
    let (now, elapsed) = caller.data().guest.time();
    let ms = if clock == 0 { now } else { elapsed };
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time in nanoseconds fits until 2554"
    )]
    let ns = (ms * 1_000_000.0) as u64;
    let memory = exports(&caller)?.memory;
    memory.write(&mut caller, at as usize, &ns.to_le_bytes())?;
    Ok(0)
}

fn random(mut caller: Caller<'_, Ctx>, at: u32, length: u32) -> Result<u32> {
    let mut bytes = vec![0; (length as usize).min(RANDOM_MAX)];
    if !caller.data().guest.is_still {
        getrandom::fill(&mut bytes).map_err(|error| format_err!("no randomness: {error}"))?;
    }
    let memory = exports(&caller)?.memory;
    memory.write(&mut caller, at as usize, &bytes)?;
    Ok(0)
}

/// The arguments of a call.
struct Arguments<'a, 'c> {
    caller: &'a mut Caller<'c, Ctx>,
    exports: Arc<Exports>,
    pointers: Vec<Ptr>,
}

impl Arguments<'_, '_> {
    fn text(&mut self, at: usize) -> Result<String> {
        let pointer = self.pointers.get(at).copied().ok_or_else(|| format_err!("an argument is missing"))?;
        self.exports.text_of(&mut *self.caller, pointer)
    }

    fn optional_text(&mut self, at: usize) -> Result<Option<String>> {
        if self.is_absent(at)? { Ok(None) } else { self.text(at).map(Some) }
    }

    fn bytes(&mut self, at: usize) -> Result<Option<Vec<u8>>> {
        if self.is_absent(at)? {
            return Ok(None);
        }
        let pointer = self.pointers[at];
        match self.exports.is_array_buffer.call(&mut *self.caller, pointer)? {
            0 => Err(format_err!("an argument is no ArrayBuffer")),
            _ => self.exports.bytes_of(&mut *self.caller, pointer).map(Some),
        }
    }

    fn number(&mut self, at: usize) -> Result<f64> {
        let pointer = self.pointers.get(at).copied().ok_or_else(|| format_err!("an argument is missing"))?;
        self.exports.get_float64.call(&mut *self.caller, pointer)
    }

    fn id(&mut self, at: usize) -> Result<u32> {
        let number = self.number(at)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
        match number {
            0.0..=4_294_967_295.0 => Ok(number as u32),
            _ => Err(format_err!("an id is out of range")),
        }
    }

    fn boolean(&mut self, at: usize) -> Result<bool> {
        let pointer = self.pointers.get(at).copied().ok_or_else(|| format_err!("an argument is missing"))?;
        Ok(self.exports.get_bool.call(&mut *self.caller, pointer)? == 1)
    }

    fn is_absent(&mut self, at: usize) -> Result<bool> {
        let Some(pointer) = self.pointers.get(at).copied() else { return Ok(true) };
        Ok(self.exports.is_undefined.call(&mut *self.caller, pointer)? != 0
            || self.exports.is_null.call(&mut *self.caller, pointer)? != 0)
    }

    fn guest(&mut self) -> &mut Guest {
        &mut self.caller.data_mut().guest
    }
}

fn call(
    mut caller: Caller<'_, Ctx>,
    name_at: u32,
    name_length: u32,
    _this: u32,
    count: u32,
    list: u32,
) -> Result<u32> {
    let exports = exports(&caller)?;
    let mut name = [0; 16];
    let length = (name_length as usize).min(name.len());
    exports.memory.read(&caller, name_at as usize, &mut name[..length])?;
    let mut pointers = Vec::with_capacity(count.min(16) as usize);
    for at in 0..count.min(16) {
        pointers.push(exports.read_u32(&caller, list + 4 * at)?);
    }
    let mut arguments = Arguments { caller: &mut caller, exports: Arc::clone(&exports), pointers };
    match answer(&name[..length], &mut arguments)? {
        Ok(Given::Nothing) => exports.get_undefined.call(&mut caller, ()),
        Ok(Given::Text(text)) => exports.string(&mut caller, &text),
        Ok(Given::Bytes(bytes)) => exports.buffer(&mut caller, &bytes),
        Ok(Given::Number(number)) => exports.new_number.call(&mut caller, number),
        Err(failure) => {
            exports.throw_error(&mut caller, failure.name, &failure.message)?;
            Ok(0)
        }
    }
}

fn answer(name: &[u8], arguments: &mut Arguments<'_, '_>) -> Called {
    match name {
        b"log" => log(arguments),
        b"random" => randomness(arguments),
        b"now" => Ok(Ok(Given::Number(arguments.guest().time().0))),
        b"elapsed" => Ok(Ok(Given::Number(arguments.guest().time().1))),
        b"encode" => Ok(Ok(Given::Bytes(arguments.text(0)?.into_bytes()))),
        b"decode" => decode(arguments),
        b"encodingName" => {
            let label = arguments.text(0)?;
            Ok(Ok(web::encoding_name(&label).map_or(Given::Nothing, Given::Text)))
        }
        b"urlParse" => {
            let (url, base) = (arguments.text(0)?, arguments.optional_text(1)?);
            Ok(Ok(web::url_parse(&url, base.as_deref()).map_or(Given::Nothing, Given::Text)))
        }
        b"urlSet" => {
            let (href, part, value) = (arguments.text(0)?, arguments.text(1)?, arguments.text(2)?);
            Ok(web::url_set(&href, &part, &value).map(Given::Text).map_err(Failure::from))
        }
        b"incomplete" => incomplete(arguments),
        b"crypto" => cryptography(arguments),
        b"start" => start(arguments),
        b"cancel" => cancel(arguments),
        b"respond" => respond(arguments),
        b"answer" => value(arguments),
        b"fail" => fail(arguments),
        b"done" => {
            arguments.guest().is_done = true;
            Ok(Ok(Given::Nothing))
        }
        _ => Ok(Err(Failure::new("TypeError", "there is no such function"))),
    }
}

fn log(arguments: &mut Arguments<'_, '_>) -> Called {
    let level = match arguments.text(0)?.as_str() {
        "debug" => Level::Debug,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => Level::Info,
    };
    let text = arguments.text(1)?;
    let guest = arguments.guest();
    let room = usize::try_from(guest.log_left).unwrap_or(usize::MAX).min(LINE_MAX);
    let text = clipped(text, room);
    if text.is_empty() && guest.log_left == 0 {
        return Ok(Ok(Given::Nothing));
    }
    guest.log_left = guest.log_left.saturating_sub(text.len() as u64 + 1);
    let run = guest.run;
    guest.out.send(&ToNode::Log { run, level, text }, &[]);
    Ok(Ok(Given::Nothing))
}

/// A text without what is beyond its bound.
pub(crate) fn clipped(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    text
}

fn randomness(arguments: &mut Arguments<'_, '_>) -> Called {
    let length = arguments.id(0)? as usize;
    if arguments.guest().is_still {
        return Ok(Err(Failure::new(
            "NotSupportedError",
            "there is no randomness here: the same input must give the same result",
        )));
    }
    if length > RANDOM_MAX {
        return Ok(Err(Failure::new("QuotaExceededError", "at most 65,536 random bytes at once")));
    }
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).map_err(|error| format_err!("no randomness: {error}"))?;
    Ok(Ok(Given::Bytes(bytes)))
}

fn decode(arguments: &mut Arguments<'_, '_>) -> Called {
    let label = arguments.text(0)?;
    let bytes = arguments.bytes(1)?.unwrap_or_default();
    let (fatal, keep_mark) = (arguments.boolean(2)?, arguments.boolean(3)?);
    Ok(match web::decode(&label, &bytes, fatal, keep_mark) {
        Ok(text) => Ok(Given::Text(text)),
        Err(failure) => Err(failure.into()),
    })
}

/// How many bytes at the end begin a character that is not complete.
fn incomplete(arguments: &mut Arguments<'_, '_>) -> Called {
    let label = arguments.text(0)?;
    let bytes = arguments.bytes(1)?.unwrap_or_default();
    #[allow(clippy::cast_precision_loss, reason = "a character has a few bytes")]
    Ok(web::incomplete(&label, &bytes).map(|held| Given::Number(held as f64)).map_err(Failure::from))
}

fn cryptography(arguments: &mut Arguments<'_, '_>) -> Called {
    let (operation, params) = (arguments.text(0)?, arguments.text(1)?);
    let mut buffers = Vec::new();
    for at in 2..arguments.pointers.len() {
        buffers.push(arguments.bytes(at)?.unwrap_or_default());
    }
    let buffers: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
    Ok(match crypto::perform(&operation, &params, &buffers) {
        Ok(crypto::Output::Bytes(bytes)) => Ok(Given::Bytes(bytes)),
        Ok(crypto::Output::Text(text)) => Ok(Given::Text(text)),
        Err(failure) => Err(failure.into()),
    })
}

fn start(arguments: &mut Arguments<'_, '_>) -> Called {
    let id = arguments.id(0)?;
    let operation = arguments.text(1)?;
    let params = arguments.text(2)?;
    let bytes = arguments.bytes(3)?;
    let guest = arguments.guest();
    // A map reads its part, and tells that it looked at where that lies.
    let is_given = guest.imports.is_none() && matches!(operation.as_str(), "read" | "look");
    if guest.is_still && !is_given {
        let why = "nothing can be begun while a program is loaded, nor in map and reduce: the same input must give the same result";
        return Ok(Err(Failure::new("NotSupportedError", why)));
    }
    if operation == "timer" {
        return Ok(timer(guest, id, &params));
    }
    if guest.pending.len() >= PENDING_MAX {
        return Ok(Err(Failure::new("QuotaExceededError", format!("at most {PENDING_MAX} calls at once"))));
    }
    if operation == "fetch" {
        if guest.requests_left == 0 {
            let why =
                format!("this run may make {} requests; limit programs.requests", guest.bounds.requests);
            return Ok(Err(Failure::new("QuotaExceededError", why)));
        }
        guest.requests_left -= 1;
    }
    // Bodies of requests too: the node holds them while it carries the requests out.
    take_output(guest, params.len(), bytes.as_ref())?;
    guest.pending.insert(id);
    let run = guest.run;
    let has_bytes = bytes.is_some();
    let message = ToNode::Start { run, id, operation, params, has_bytes };
    guest.out.send(&message, bytes.as_deref().unwrap_or_default());
    Ok(Ok(Given::Nothing))
}

#[derive(serde::Deserialize)]
struct TimerParams {
    ms: f64,
}

fn timer(guest: &mut Guest, id: u32, params: &str) -> std::result::Result<Given, Failure> {
    let Ok(TimerParams { ms }) = serde_json::from_str(params) else {
        return Err(Failure::new("TypeError", "a timer without its time"));
    };
    if guest.timers.len() >= TIMERS_MAX {
        return Err(Failure::new("QuotaExceededError", format!("at most {TIMERS_MAX} timers at once")));
    }
    let ms = ms.clamp(0.0, 2_147_483_647.0);
    let end = Instant::now() + Duration::from_secs_f64(ms / 1_000.0);
    guest.timers_made += 1;
    guest.timers.insert((end, guest.timers_made), id);
    Ok(Given::Nothing)
}

fn cancel(arguments: &mut Arguments<'_, '_>) -> Called {
    let id = arguments.id(0)?;
    let guest = arguments.guest();
    let before = guest.timers.len();
    guest.timers.retain(|_, timer| *timer != id);
    if guest.timers.len() == before {
        // Of a fetch whose head has come nothing is pending any longer, but its body waits at the node.
        guest.pending.remove(&id);
        let run = guest.run;
        guest.out.send(&ToNode::Forget { run, id }, &[]);
    }
    Ok(Ok(Given::Nothing))
}

/// Counts what an answer takes of the output.
fn take_output(guest: &mut Guest, head: usize, bytes: Option<&Vec<u8>>) -> Result<()> {
    let length = bytes.map_or(0, Vec::len);
    let sent = length as u64;
    // A frame that does not fit would end the worker, and what else runs in it.
    if sent > guest.output_left || head.saturating_add(length) > FRAME_MAX - FRAME_SPARE {
        guest.exceeded = true;
        return Err(format_err!("more output than allowed"));
    }
    guest.output_left -= sent;
    Ok(())
}

fn respond(arguments: &mut Arguments<'_, '_>) -> Called {
    let head = arguments.text(0)?;
    let bytes = arguments.bytes(1)?;
    let is_last = arguments.boolean(2)?;
    let guest = arguments.guest();
    if guest.has_answered {
        return Ok(Err(Failure::new("TypeError", "a run answers once")));
    }
    take_output(guest, head.len(), bytes.as_ref())?;
    guest.has_answered = true;
    guest.takes_events = head.contains("\"webSocket\":true");
    let run = guest.run;
    let has_bytes = bytes.is_some();
    let message = ToNode::Respond { run, head, has_bytes };
    if is_last {
        // The run's last word follows at once, and one write is cheaper than two.
        guest.held = Some((message, bytes.unwrap_or_default()));
    } else {
        guest.out.send(&message, bytes.as_deref().unwrap_or_default());
    }
    Ok(Ok(Given::Nothing))
}

fn value(arguments: &mut Arguments<'_, '_>) -> Called {
    let json = arguments.optional_text(0)?;
    let bytes = arguments.bytes(1)?;
    let guest = arguments.guest();
    if guest.has_answered {
        return Ok(Err(Failure::new("TypeError", "a run answers once")));
    }
    let text = json.as_ref().map_or(0, String::len);
    if text as u64 > guest.output_left {
        guest.exceeded = true;
        return Err(format_err!("more output than allowed"));
    }
    take_output(guest, text, bytes.as_ref())?;
    guest.has_answered = true;
    let run = guest.run;
    let has_bytes = bytes.is_some();
    guest.out.send(&ToNode::Answer { run, json, has_bytes }, bytes.as_deref().unwrap_or_default());
    Ok(Ok(Given::Nothing))
}

fn fail(arguments: &mut Arguments<'_, '_>) -> Called {
    let mut line = |at| arguments.text(at).map(|text| clipped(text, LINE_MAX));
    let (name, message, stack) = (line(0)?, line(1)?, line(2)?);
    let is_short = arguments.caller.data().is_short();
    let guest = arguments.guest();
    guest.has_answered = true;
    guest.exceeded |= is_short;
    let run = guest.run;
    guest.out.send(&ToNode::Fail { run, name, message, stack }, &[]);
    Ok(Ok(Given::Nothing))
}

/// A promise was rejected without a handler, or got one later. What it means is the guest's business, once its stack is empty.
fn rejection(mut caller: Caller<'_, Ctx>, promise: u32, reason: u32, handled: u32) -> Result<()> {
    if caller.data().guest.rejections.len() < PENDING_MAX {
        caller.data_mut().guest.rejections.push((promise, reason, handled != 0));
        return Ok(());
    }
    let exports = exports(&caller)?;
    exports.free_value.call(&mut caller, promise)?;
    exports.free_value.call(&mut caller, reason)
}

/// `import "./x.js"`: the URL that it means.
fn normalize(mut caller: Caller<'_, Ctx>, base_at: u32, name_at: u32) -> Result<u32> {
    let exports = exports(&caller)?;
    let (base, name) = (exports.c_string(&caller, base_at)?, exports.c_string(&caller, name_at)?);
    let is_relative = ["./", "../", "/"].iter().any(|start| name.starts_with(start));
    let resolved = if is_relative || name.contains("://") { resolve(&base, &name) } else { None };
    match resolved {
        Some(url) => Ok(exports.give_text(&mut caller, &url)?.0),
        None => {
            let message = format!("cannot import \"{name}\": give a relative address, such as \"./{name}\"");
            exports.throw_error(&mut caller, "TypeError", &message)?;
            Ok(0)
        }
    }
}

/// Names of modules are paths; whatever host they are read from.
fn resolve(base: &str, name: &str) -> Option<String> {
    let host = url::Url::parse("http://module.invalid/").ok()?;
    let url = host.join(base).ok()?.join(name).ok()?;
    let is_here = url.host_str() == host.host_str();
    Some(if is_here { url[url::Position::BeforePath..].to_owned() } else { url.into() })
}

/// The source of a module that is imported. Only while a program is prepared: then its thread may wait for it.
fn load(mut caller: Caller<'_, Ctx>, name_at: u32, length_at: u32) -> Result<u32> {
    let exports = exports(&caller)?;
    let url = exports.c_string(&caller, name_at)?;
    let guest = &caller.data().guest;
    let source = match &guest.imports {
        Some(imports) => {
            guest.out.send(&ToNode::Import { run: guest.run, url: url.clone() }, &[]);
            let wait = Duration::from_millis(guest.bounds.wall_ms);
            gate::outside(|| imports.recv_timeout(wait))
                .unwrap_or_else(|_| Err("it did not come in time".to_owned()))
        }
        None => Err("modules are imported when the program is stored, not while it runs".to_owned()),
    };
    match source {
        Ok(source) => {
            let (at, length) = exports.give_text(&mut caller, &source)?;
            exports.memory.write(&mut caller, length_at as usize, &length.to_le_bytes())?;
            Ok(at)
        }
        Err(why) => {
            exports.throw_error(&mut caller, "TypeError", &format!("cannot import {url}: {why}"))?;
            Ok(0)
        }
    }
}

/// Whether an error of the sandbox means that its memory is used up.
pub(crate) fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    error.downcast_ref::<OutOfMemory>().is_some()
}
