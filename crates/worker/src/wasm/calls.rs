//! What a WebAssembly run says to the node and hears from it: the counterpart of `guest/src/host.ts`.
//!
//! A call is begun by a message and ends with its `Settle`; whoever drops it before has the node forget it. All bounds that are counted in
//! requests and bytes are counted here.

use super::run::Stop;
use crate::{Out, hold};
use bytes::Bytes;
use jsfs_exec::wire::{Bounds, Level, RunId, ToNode};
use serde_json::Value;
use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tokio::sync::oneshot;

/// Most calls under way at once for one run.
const PENDING_MAX: usize = 256;
/// Longest line of a log.
pub(super) const LINE_MAX: usize = 16 << 10;
/// What a line of a log counts at least, so that a run cannot send more of them than the node has room for.
const LINE_MIN: u64 = 64;

/// What a call came to: JSON, bytes, or why it failed.
pub(super) type Settled = Result<(Option<String>, Option<Bytes>), String>;

/// A run's end of the wire.
pub(super) struct Conversation {
    run: RunId,
    out: Arc<Out>,
    bounds: Bounds,
    state: Mutex<State>,
}

struct State {
    last_id: u32,
    waiting: HashMap<u32, oneshot::Sender<Settled>>,
    requests_left: u32,
    log_left: u64,
    output_left: u64,
}

/// A call under way.
pub(super) struct Call {
    conversation: Arc<Conversation>,
    id: u32,
    settled: oneshot::Receiver<Settled>,
    is_settled: bool,
}

/// What a request's answer is read by. Dropping it tells the node that nobody reads on.
pub(super) struct Fetched {
    conversation: Arc<Conversation>,
    pub(super) id: u32,
}

impl Conversation {
    pub(super) fn new(run: RunId, out: Arc<Out>, bounds: Bounds) -> Arc<Self> {
        let state = State {
            last_id: 0,
            waiting: HashMap::new(),
            requests_left: bounds.requests,
            log_left: bounds.log_bytes,
            output_left: bounds.output_bytes,
        };
        Arc::new(Self { run, out, bounds, state: Mutex::new(state) })
    }

    /// Sends a message about this run.
    pub(super) fn say(&self, message: impl FnOnce(RunId) -> ToNode, bytes: &[u8]) {
        self.out.send(&message(self.run), bytes);
    }

    /// Begins a call.
    pub(super) fn begin(
        self: &Arc<Self>,
        operation: &str,
        params: &Value,
        bytes: Option<&[u8]>,
    ) -> Result<Call, String> {
        let (sender, settled) = oneshot::channel();
        let mut state = hold(&self.state);
        if state.waiting.len() >= PENDING_MAX {
            return Err(format!("at most {PENDING_MAX} calls at once"));
        }
        // Zero is the request and its answer.
        state.last_id = state.last_id.checked_add(1).ok_or("a run cannot make more calls")?;
        let id = state.last_id;
        state.waiting.insert(id, sender);
        drop(state);
        let (operation, params) = (operation.to_owned(), params.to_string());
        let has_bytes = bytes.is_some();
        self.say(|run| ToNode::Start { run, id, operation, params, has_bytes }, bytes.unwrap_or_default());
        Ok(Call { conversation: Arc::clone(self), id, settled, is_settled: false })
    }

    /// Begins a request, if the run may make another. Answers also what its body is read by.
    pub(super) fn fetch(self: &Arc<Self>, params: &Value) -> Result<(Call, Fetched), String> {
        let mut state = hold(&self.state);
        if state.requests_left == 0 {
            let max = self.bounds.requests;
            return Err(format!("this run may make {max} requests; limit programs.requests"));
        }
        state.requests_left -= 1;
        drop(state);
        let call = self.begin("fetch", params, None)?;
        let fetched = Fetched { conversation: Arc::clone(self), id: call.id };
        Ok((call, fetched))
    }

    /// The next bytes of a body; none at its end.
    pub(super) fn read(self: &Arc<Self>, of: u32) -> Result<Call, String> {
        self.begin("read", &serde_json::json!({ "of": of }), None)
    }

    /// Ends a call.
    pub(super) fn settle(&self, id: u32, settled: Settled) {
        let waiting = hold(&self.state).waiting.remove(&id);
        // What is no longer waited for may have ended meanwhile.
        if let Some(waiting) = waiting {
            let _ = waiting.send(settled);
        }
    }

    /// Counts bytes of the answer.
    pub(super) fn take_output(&self, bytes: usize) -> Result<(), Stop> {
        let mut state = hold(&self.state);
        state.output_left = state.output_left.checked_sub(bytes as u64).ok_or(Stop::Output)?;
        Ok(())
    }

    /// A line of the log, as far as there is room for it.
    pub(super) fn log(&self, level: Level, line: &str) {
        let mut state = hold(&self.state);
        let room = usize::try_from(state.log_left).unwrap_or(usize::MAX).min(LINE_MAX);
        if room == 0 {
            return;
        }
        let end = (0..=room.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        state.log_left = state.log_left.saturating_sub((end as u64 + 1).max(LINE_MIN));
        drop(state);
        let text = line[..end].to_owned();
        self.say(|run| ToNode::Log { run, level, text }, &[]);
    }
}

impl Future for Call {
    type Output = Settled;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Settled> {
        let settled = std::task::ready!(Pin::new(&mut self.settled).poll(context));
        self.is_settled = true;
        Poll::Ready(settled.unwrap_or_else(|_| Err("the run ends".to_owned())))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_settled && hold(&self.conversation.state).waiting.remove(&self.id).is_some() {
            let id = self.id;
            self.conversation.say(|run| ToNode::Forget { run, id }, &[]);
        }
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        let id = self.id;
        self.conversation.say(|run| ToNode::Forget { run, id }, &[]);
    }
}

/// The bytes that a `read` came to; none at the end.
pub(super) fn piece(settled: Settled) -> Result<Option<Bytes>, String> {
    settled.map(|(_, bytes)| bytes)
}
