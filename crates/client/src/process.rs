//! Processes: starting one, seeing how it is, following what it writes, sending to it, stopping it.

use crate::address::Address;
use crate::error::Error;
use crate::object::{call, method};
use crate::program::Ask;
use crate::transport::{Call, Client, Payload};
use crate::upload::Source;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderName;
use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};

/// A process, as the node tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub id: String,
    /// The address of its program.
    pub address: String,
    /// `queued`, `running`, `waiting`, `checkpointed`, `done`, `failed` or `stopped`.
    pub state: String,
    /// Whether it was asked to stop and has not yet.
    pub stopping: bool,
    /// When it was started, RFC 3339.
    pub started: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// CPU time, as of its last checkpoint.
    pub cpu_ms: u64,
    /// Bytes of memory, as of its last checkpoint.
    pub memory: u64,
    /// Bytes that it wrote.
    pub output: u64,
    /// Inputs that it has not taken.
    pub inputs: u64,
    /// How often it was put away.
    pub checkpoints: u64,
    /// How often it was taken up where it was.
    pub resumed: u64,
    /// How often it was begun again from its beginning.
    pub restarted: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Process {
    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "done" | "failed" | "stopped")
    }
}

/// Output of a process that is being received.
pub struct Output {
    client: Client,
    subject: String,
    response: Response,
}

impl Output {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Broken`] and [`Error::Stalled`] where it breaks off: ask again for what comes after.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.client.chunk(&self.subject, &mut self.response).await
    }
}

fn about(method: Method, id: &str, rest: &str) -> Call {
    let id: String = utf8_percent_encode(id, NON_ALPHANUMERIC).collect();
    Call::new(method, format!("/.jsfs/proc/{id}{rest}"), format!("process {id}"), "localhost")
}

impl Client {
    /// Starts a process of a program, with arguments for its handler `main`.
    ///
    /// # Errors
    /// [`Error::Refused`] where it is no program, this credential starts none, or there are too many.
    pub async fn start(&self, address: &Address, ask: Ask, arguments: &[String]) -> Result<Process, Error> {
        let arguments =
            arguments.iter().map(|text| format!("arg={}", utf8_percent_encode(text, NON_ALPHANUMERIC)));
        let query = ask.query.into_iter().chain(arguments).collect::<Vec<_>>().join("&");
        let query = if query.is_empty() { query } else { format!("?{query}") };
        let mut call = call(method(ask.method.as_deref().unwrap_or("EXECUTE")), address, &query);
        // Sent twice it would be two processes.
        call.idempotent = false;
        for (name, value) in ask.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())) {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Error::Source {
                path: name.into(),
                reason: "it is not the name of a header; write 'Name: value'".to_owned(),
            })?;
            call = call.header(name, value)?;
        }
        call = call.header(HeaderName::from_static("prefer"), "respond-async")?;
        if let Some(body) = ask.body {
            call.payload = Payload::Source(body);
        }
        self.send_json(call).await
    }

    /// The processes that this credential may see, the newest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn processes(&self) -> Result<Vec<Process>, Error> {
        #[derive(Deserialize)]
        struct Listed {
            processes: Vec<Process>,
        }
        let call = Call::new(Method::GET, "/.jsfs/proc/".to_owned(), "processes".to_owned(), "localhost");
        Ok(self.send_json::<Listed>(call).await?.processes)
    }

    /// How a process is.
    ///
    /// # Errors
    /// [`Error`]; a 404 where there is none, or none for this credential.
    pub async fn process(&self, id: &str) -> Result<Process, Error> {
        self.send_json(about(Method::GET, id, "")).await
    }

    /// What a process wrote after so many bytes; with `follow` also what it writes until it ends.
    ///
    /// # Errors
    /// As [`Client::process`].
    pub async fn process_output(&self, id: &str, after: u64, follow: bool) -> Result<Output, Error> {
        let call = about(Method::GET, id, &format!("/output?after={after}&follow={follow}"));
        let subject = call.subject.clone();
        Ok(Output { client: self.clone(), subject, response: self.send(call).await? })
    }

    /// Sends something to a process. When this returns the node has it.
    ///
    /// # Errors
    /// As [`Client::process`]; a 409 where it has ended, a 503 where too much waits for it.
    pub async fn send_to_process(&self, id: &str, input: Bytes) -> Result<Process, Error> {
        let mut call = about(Method::POST, id, "");
        call.payload = Payload::Source(Source::Bytes(input));
        self.send_json(call).await
    }

    /// Asks a process to stop, or ends it at once.
    ///
    /// # Errors
    /// As [`Client::process`].
    pub async fn stop_process(&self, id: &str, kill: bool) -> Result<Process, Error> {
        self.send_json(about(Method::DELETE, id, if kill { "?kill=true" } else { "" })).await
    }

    /// Has a process put away as it is now; it goes on.
    ///
    /// # Errors
    /// As [`Client::process`].
    pub async fn checkpoint_process(&self, id: &str) -> Result<Process, Error> {
        self.send_json(about(Method::POST, id, "/checkpoint")).await
    }
}
