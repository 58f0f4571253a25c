//! Standard input, output and error of a run: the request's body, the answer's, and the log.
//!
//! Nothing here waits on a thread. Output that nobody has taken yet is bounded; a program that writes more waits for room.

use super::calls::{Call, Conversation, LINE_MAX, piece};
use crate::hold;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use jsfs_exec::wire::Level;
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
};
use wasmtime::format_err;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdinStream, StdoutStream},
    p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult},
};

/// Bytes of output that wait for whoever takes them.
const PIPE_BYTES: usize = 64 << 10;

/// Standard input. Clones read from the same body.
#[derive(Clone)]
pub(super) struct Stdin(Arc<Mutex<Reading>>);

struct Reading {
    conversation: Arc<Conversation>,
    /// What has come and was not read yet.
    bytes: Bytes,
    /// The call for more. It outlives whoever waits for it, because waiting can be given up at any time.
    call: Option<Call>,
    is_over: bool,
    failed: Option<String>,
}

impl Stdin {
    pub(super) fn new(conversation: &Arc<Conversation>, has_body: bool) -> Self {
        Self(Arc::new(Mutex::new(Reading {
            conversation: Arc::clone(conversation),
            bytes: Bytes::new(),
            call: None,
            is_over: !has_body,
            failed: None,
        })))
    }
}

impl Reading {
    /// Ready when there are bytes or there will never be any.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.bytes.is_empty() && !self.is_over {
            if !self.begin() {
                break;
            }
            let Some(call) = self.call.as_mut() else { break };
            let settled = std::task::ready!(Pin::new(call).poll(context));
            self.call = None;
            match piece(settled) {
                Ok(Some(bytes)) => self.bytes = bytes,
                Ok(None) => self.is_over = true,
                Err(why) => self.fail(why),
            }
        }
        Poll::Ready(())
    }

    /// Asks for more, unless that was done.
    fn begin(&mut self) -> bool {
        if self.call.is_none() {
            match self.conversation.read(0) {
                Ok(call) => self.call = Some(call),
                Err(why) => self.fail(why),
            }
        }
        !self.is_over
    }

    fn fail(&mut self, why: String) {
        self.is_over = true;
        self.failed = Some(why);
    }
}

#[async_trait]
impl Pollable for Stdin {
    async fn ready(&mut self) {
        poll_fn(|context| hold(&self.0).poll_ready(context)).await;
    }
}

#[async_trait]
impl InputStream for Stdin {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut reading = hold(&self.0);
        if reading.bytes.is_empty() && !reading.is_over {
            // Whoever only reads and never waits gets on, too.
            reading.begin();
        }
        if !reading.bytes.is_empty() {
            let size = size.min(reading.bytes.len());
            return Ok(reading.bytes.split_to(size));
        }
        match (reading.failed.take(), reading.is_over) {
            (Some(why), _) => Err(StreamError::LastOperationFailed(format_err!("{why}"))),
            (None, true) => Err(StreamError::Closed),
            (None, false) => Ok(Bytes::new()),
        }
    }
}

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        // Asked for by WASI 0.3 only, which is not offered.
        Box::new(tokio::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

/// Standard output of a command: what goes in comes out as a stream.
#[derive(Clone, Default)]
pub(super) struct Stdout(Arc<Pipe>);

#[derive(Default)]
struct Pipe {
    state: Mutex<Waiting>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Default)]
struct Waiting {
    bytes: BytesMut,
    written: bool,
    is_closed: bool,
}

impl Stdout {
    /// Nothing more will be written.
    pub(super) fn close(&self) {
        hold(&self.0.state).is_closed = true;
        self.0.filled.notify_one();
    }

    /// Whether anything was ever written.
    pub(super) fn has_any(&self) -> bool {
        hold(&self.0.state).written
    }

    async fn next(&self) -> Option<Bytes> {
        loop {
            {
                let mut waiting = hold(&self.0.state);
                if !waiting.bytes.is_empty() {
                    let bytes = waiting.bytes.split().freeze();
                    drop(waiting);
                    self.0.emptied.notify_one();
                    return Some(bytes);
                }
                if waiting.is_closed {
                    return None;
                }
            }
            self.0.filled.notified().await;
        }
    }

    /// What is written, until it is closed.
    pub(super) fn pieces(&self) -> impl Stream<Item = Result<Bytes, String>> + Send + use<> {
        stream::unfold(self.clone(), |stdout| async { Some((Ok(stdout.next().await?), stdout)) })
    }

    fn room(&self) -> usize {
        PIPE_BYTES.saturating_sub(hold(&self.0.state).bytes.len())
    }
}

#[async_trait]
impl Pollable for Stdout {
    async fn ready(&mut self) {
        while self.room() == 0 {
            self.0.emptied.notified().await;
        }
    }
}

#[async_trait]
impl OutputStream for Stdout {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > self.room() {
            return Err(StreamError::trap("more is written than there was room for"));
        }
        if !bytes.is_empty() {
            let mut waiting = hold(&self.0.state);
            waiting.bytes.extend_from_slice(&bytes);
            waiting.written = true;
            drop(waiting);
            self.0.filled.notify_one();
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.room())
    }
}

impl IsTerminal for Stdout {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stdout {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

/// A stream whose lines go to the log.
#[derive(Clone)]
pub(super) struct Lines(Arc<Mutex<Unfinished>>);

struct Unfinished {
    conversation: Arc<Conversation>,
    level: Level,
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn new(conversation: &Arc<Conversation>, level: Level) -> Self {
        Self(Arc::new(Mutex::new(Unfinished {
            conversation: Arc::clone(conversation),
            level,
            line: Vec::new(),
        })))
    }

    /// What follows the last line's end is a line, too.
    pub(super) fn finish(&self) {
        let mut unfinished = hold(&self.0);
        if !unfinished.line.is_empty() {
            unfinished.log();
        }
    }
}

impl Unfinished {
    fn log(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        self.conversation.log(self.level, line.trim_end_matches('\r'));
        self.line.clear();
    }
}

#[async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut unfinished = hold(&self.0);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = LINE_MAX.saturating_sub(unfinished.line.len());
            unfinished.line.extend_from_slice(&text[..text.len().min(room)]);
            if is_whole {
                unfinished.log();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PIPE_BYTES)
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}
