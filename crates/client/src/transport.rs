//! One request to the node: credentials, repetition, patience, and the node's errors.
//!
//! Invariants: the credential goes to the client's node only (no redirects, no proxy for a node on this machine); a request is repeated
//! only if it is idempotent, its body can be sent again and the node said 503 or 429 with `Retry-After`; waiting is bounded. Dropping
//! the future aborts the request.

use crate::error::{Error, Problem};
use crate::key::{AccessKey, Credential, KeyError};
use crate::node::{NodeUrl, Resolver};
use crate::program::is_problem;
use crate::upload::{Source, SourceError};
use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Upgraded, redirect};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::error::Error as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Says to a node that also answers clients of JSFS 4 that this is none.
const API_VERSION: HeaderName = HeaderName::from_static("api-version");
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing may move, neither bytes of a body nor an answer.
const PATIENCE: Duration = Duration::from_secs(300);
const REPETITIONS_MAX: u32 = 5;
const RETRY_WAIT_MAX: Duration = Duration::from_secs(30);
/// Largest JSON answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest error text that is read.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;

/// Called with the number of bytes that moved; progress bars hang on it.
pub type Counter = Arc<dyn Fn(u64) + Send + Sync>;

/// A client of one node. Cloning is cheap and shares connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    node: NodeUrl,
    credential: Option<Credential>,
    /// Chosen keys, stretched, by namespace: each costs 30 ms once.
    stretched: Mutex<HashMap<String, Zeroizing<String>>>,
}

/// Notes that something moved, for whoever watches for stalls, and counts it.
#[derive(Clone)]
pub(crate) struct Activity {
    started: Instant,
    last_ms: Arc<AtomicU64>,
    counter: Option<Counter>,
}

impl Activity {
    pub(crate) fn new(counter: Option<Counter>) -> Activity {
        Activity { started: Instant::now(), last_ms: Arc::default(), counter }
    }

    pub(crate) fn moved(&self, bytes: u64) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
        if let Some(counter) = &self.counter {
            counter(bytes);
        }
    }

    /// Returns when nothing has moved for `patience`.
    async fn stalled(&self, patience: Duration) {
        loop {
            let until = self.started + Duration::from_millis(self.last_ms.load(Ordering::Relaxed)) + patience;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// What a request carries.
#[derive(Debug)]
pub(crate) enum Payload {
    Nothing,
    Json(Bytes),
    Source(Source),
}

/// A request, before the credential is added.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Escaped path and query.
    pub(crate) target: String,
    /// What errors name.
    pub(crate) subject: String,
    /// The namespace that a chosen key is stretched for.
    pub(crate) namespace: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    pub(crate) idempotent: bool,
    pub(crate) counter: Option<Counter>,
}

impl Call {
    pub(crate) fn new(method: Method, target: String, subject: String, namespace: &str) -> Call {
        let idempotent = method != Method::POST && method != Method::PATCH;
        Call {
            method,
            target,
            subject,
            namespace: namespace.to_owned(),
            headers: HeaderMap::new(),
            payload: Payload::Nothing,
            idempotent,
            counter: None,
        }
    }

    /// Adds a header.
    ///
    /// # Errors
    /// [`Error::Unexpected`] names a value that no header can carry.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Result<Call, Error> {
        let value = HeaderValue::from_str(value).map_err(|_| Error::Source {
            path: self.subject.clone().into(),
            reason: format!(
                "the value given for {name} has characters that a header cannot carry; change it"
            ),
        })?;
        self.headers.insert(name, value);
        Ok(self)
    }

    pub(crate) fn json(mut self, value: &impl serde::Serialize) -> Call {
        // The types that we serialise have text keys and no failing implementations.
        self.payload = Payload::Json(serde_json::to_vec(value).unwrap_or_default().into());
        self
    }

    fn repeatable(&self) -> bool {
        self.idempotent
            && match &self.payload {
                Payload::Nothing | Payload::Json(_) => true,
                Payload::Source(source) => source.repeatable(),
            }
    }
}

impl Client {
    /// A client of `node` that proves itself with `credential`.
    ///
    /// # Errors
    /// [`Error::Unreachable`] where TLS or the runtime cannot be set up.
    pub fn new(node: NodeUrl, credential: Option<Credential>) -> Result<Client, Error> {
        let mut builder = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .dns_resolver(Resolver)
            .connect_timeout(CONNECT_TIMEOUT)
            .default_headers(HeaderMap::from_iter([(API_VERSION, HeaderValue::from_static("5"))]))
            .user_agent(concat!("jsfs/", env!("CARGO_PKG_VERSION")));
        if node.is_loopback() {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| Error::Unreachable { node: node.to_string(), reason: chain(&error) })?;
        Ok(Client { http, shared: Arc::new(Shared { node, credential, stretched: Mutex::default() }) })
    }

    /// The same client with another credential.
    pub fn with_credential(&self, credential: Option<Credential>) -> Client {
        let shared = Shared { node: self.shared.node.clone(), credential, stretched: Mutex::default() };
        Client { http: self.http.clone(), shared: Arc::new(shared) }
    }

    /// The node that this client talks to.
    pub fn node(&self) -> &NodeUrl {
        &self.shared.node
    }

    /// Whether requests carry a key or token.
    pub fn has_credential(&self) -> bool {
        self.shared.credential.is_some()
    }

    /// Sends a request and returns the answer if its status is a success.
    pub(crate) async fn send(&self, mut call: Call) -> Result<Response, Error> {
        let mut repetitions = 0;
        loop {
            let response = self.attempt(&mut call).await?;
            let status = response.status();
            if status.is_success() || status == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            match retry_after(&response) {
                Some(wait) if call.repeatable() && repetitions < REPETITIONS_MAX => {
                    repetitions += 1;
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(self.refusal(call.subject, response).await),
            }
        }
    }

    /// Sends a request once and returns the answer whatever its status, unless it is a problem detail.
    pub(crate) async fn exchange(&self, mut call: Call) -> Result<Response, Error> {
        let response = self.attempt(&mut call).await?;
        let failed = response.status().is_client_error() || response.status().is_server_error();
        if failed && is_problem(response.headers()) {
            return Err(self.refusal(call.subject, response).await);
        }
        Ok(response)
    }

    /// Sends a handshake and gives the connection that it becomes.
    pub(crate) async fn upgrade(&self, mut call: Call) -> Result<Upgraded, Error> {
        let response = self.attempt(&mut call).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.refusal(call.subject, response).await);
        }
        response.upgrade().await.map_err(|error| self.broken(&call.subject, &error))
    }

    /// Sends a request and reads its JSON answer.
    pub(crate) async fn send_json<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let subject = call.subject.clone();
        let response = self.send(call).await?;
        self.read_json(&subject, response).await
    }

    /// What is in an answer.
    pub(crate) async fn read_json<T: DeserializeOwned>(
        &self,
        subject: &str,
        response: Response,
    ) -> Result<T, Error> {
        let body = self.read(subject, response, ANSWER_BYTES_MAX).await?;
        serde_json::from_slice(&body).map_err(|error| self.unexpected(subject, error.to_string()))
    }

    /// Sends a request whose answer has nothing to say.
    pub(crate) async fn send_empty(&self, call: Call) -> Result<(), Error> {
        let subject = call.subject.clone();
        let response = self.send(call).await?;
        self.read(&subject, response, ANSWER_BYTES_MAX).await.map(drop)
    }

    pub(crate) fn unexpected(&self, subject: &str, reason: String) -> Error {
        Error::Unexpected { node: self.shared.node.to_string(), subject: subject.to_owned(), reason }
    }

    /// The next piece of a body, within the limits of patience.
    pub(crate) async fn chunk(&self, subject: &str, response: &mut Response) -> Result<Option<Bytes>, Error> {
        match tokio::time::timeout(PATIENCE, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(self.broken(subject, &error)),
            Err(_) => Err(self.stalled(subject)),
        }
    }

    async fn attempt(&self, call: &mut Call) -> Result<Response, Error> {
        let url = self
            .shared
            .node
            .with(&call.target)
            .map_err(|error| self.unexpected(&call.subject, error.to_string()))?;
        let activity = Activity::new(call.counter.clone());
        let mut request = self.http.request(call.method.clone(), url).headers(call.headers.clone());
        if let Some((name, value)) = self.proof(&call.namespace).await? {
            request = request.header(name, value);
        }
        request = match &mut call.payload {
            Payload::Nothing => request,
            Payload::Json(bytes) => request.header(CONTENT_TYPE, "application/json").body(bytes.clone()),
            Payload::Source(source) => {
                let (body, length) = source.body(&activity).await?;
                let request = request.body(body);
                match length {
                    Some(length) => request.header(CONTENT_LENGTH, length),
                    None => request,
                }
            }
        };
        tokio::select! {
            result = request.send() => result.map_err(|error| self.failure(&call.subject, &error)),
            () = activity.stalled(PATIENCE) => Err(self.stalled(&call.subject)),
        }
    }

    /// The header that proves authority over `namespace`.
    async fn proof(&self, namespace: &str) -> Result<Option<(&'static str, HeaderValue)>, Error> {
        let (name, text) = match &self.shared.credential {
            None => return Ok(None),
            Some(Credential::Key(key)) => ("x-access-key", key.text()),
            Some(Credential::Chosen(chosen)) => ("x-access-key", self.stretched(chosen, namespace).await?),
            Some(Credential::Token(token)) => ("x-access-token", token.clone()),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| KeyError::Token)?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }

    async fn stretched(
        &self,
        chosen: &Zeroizing<String>,
        namespace: &str,
    ) -> Result<Zeroizing<String>, Error> {
        let known = || self.shared.stretched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = known().get(namespace) {
            return Ok(text.clone());
        }
        let (chosen, salt) = (chosen.clone(), namespace.to_owned());
        let key = tokio::task::spawn_blocking(move || AccessKey::stretch(&chosen, &salt)).await;
        let text = key.map_err(|_| KeyError::System)??.text();
        known().insert(namespace.to_owned(), text.clone());
        Ok(text)
    }

    /// The error of a request that got no answer.
    fn failure(&self, subject: &str, error: &reqwest::Error) -> Error {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(source) = inner.downcast_ref::<SourceError>() {
                return Error::Source { path: source.path.clone(), reason: source.reason.clone() };
            }
            cause = inner.source();
        }
        if error.is_connect() {
            return Error::Unreachable { node: self.shared.node.to_string(), reason: chain(error) };
        }
        self.broken(subject, error)
    }

    fn broken(&self, subject: &str, error: &reqwest::Error) -> Error {
        Error::Broken {
            node: self.shared.node.to_string(),
            subject: subject.to_owned(),
            reason: chain(error),
        }
    }

    fn stalled(&self, subject: &str) -> Error {
        Error::Stalled { node: self.shared.node.to_string(), subject: subject.to_owned(), after: PATIENCE }
    }

    async fn read(&self, subject: &str, mut response: Response, limit: usize) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(subject, &mut response).await? {
            if body.len() + chunk.len() > limit {
                return Err(self.unexpected(subject, format!("it is longer than {limit} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The node's problem detail; where it sent none, what its status says.
    async fn refusal(&self, subject: String, response: Response) -> Error {
        let status = response.status();
        let json = is_problem(response.headers());
        let body = self.read(&subject, response, PROBLEM_BYTES_MAX).await.unwrap_or_default();
        let mut problem = if json {
            serde_json::from_slice::<Problem>(&body).unwrap_or_default()
        } else {
            Problem::default()
        };
        problem.status = status.as_u16();
        if status == StatusCode::TEMPORARY_REDIRECT {
            problem.title = "it is a directory; write its address with / at the end".to_owned();
        }
        if problem.title.is_empty() {
            problem.title = status.canonical_reason().unwrap_or_default().to_lowercase();
        }
        Error::Refused { subject, problem, credential: self.has_credential() }
    }
}

/// How long the node asks to wait before the request is sent again; `None` where it does not ask, or for too long.
fn retry_after(response: &Response) -> Option<Duration> {
    if !matches!(response.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        return None;
    }
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds)).filter(|wait| *wait <= RETRY_WAIT_MAX)
}

/// The innermost reason of an error: what the system said, without the URL.
fn chain(error: &reqwest::Error) -> String {
    let mut reason = error.source();
    let mut text = None;
    while let Some(inner) = reason {
        text = Some(inner.to_string());
        reason = inner.source();
    }
    text.unwrap_or_else(|| {
        if error.is_timeout() { "it took too long".into() } else { "the request failed".into() }
    })
}
