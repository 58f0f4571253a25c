//! Programs: what is attached when one is stored, running one, and what it has logged.
//!
//! Invariant: running is asked for by name (EXECUTE), so that an object that is no program is never mistaken for an answer.

use crate::address::Address;
use crate::error::{Error, Problem};
use crate::object::{call, method};
use crate::transport::{Call, Client, Payload};
use crate::upload::Source;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is attached to a program when it is stored; what is `None` stays as it is.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Program {
    /// What it may touch, each as `GET,PUT:data/`, relative to its directory.
    pub grant: Option<Vec<String>>,
    /// What it is given as its environment.
    pub env: Option<BTreeMap<String, String>>,
    /// Hosts outside the node that it may ask, each as `api.example.com:8443` or `*.example.org`.
    pub hosts: Option<Vec<String>>,
}

impl Program {
    /// Adds what says that an upload is a program.
    pub(crate) fn describe(&self, headers: &mut HeaderMap, subject: &str) -> Result<(), Error> {
        headers.insert(HeaderName::from_static("x-executable"), HeaderValue::from_static("true"));
        self.attach(headers, subject)
    }

    fn attach(&self, headers: &mut HeaderMap, subject: &str) -> Result<(), Error> {
        if let Some(grant) = &self.grant {
            headers.insert(HeaderName::from_static("x-grant"), text(&grant.join(" "), "grant", subject)?);
        }
        if let Some(env) = &self.env {
            // A map of texts always becomes JSON.
            let env = serde_json::to_string(env).unwrap_or_default();
            headers.insert(HeaderName::from_static("x-env"), text(&env, "env", subject)?);
        }
        if let Some(hosts) = &self.hosts {
            headers.insert(HeaderName::from_static("x-hosts"), text(&hosts.join(","), "hosts", subject)?);
        }
        Ok(())
    }
}

/// A header value in UTF-8.
fn text(value: &str, name: &str, subject: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| Error::Source {
        path: subject.into(),
        reason: format!("the value given for {name} has characters that a header cannot carry; change it"),
    })
}

/// What a program is asked.
#[derive(Debug, Default)]
pub struct Ask {
    /// `GET` or `POST`; EXECUTE where `None`, which is GET for a program without a body and POST with one.
    pub method: Option<String>,
    /// The query, without `?`.
    pub query: Option<String>,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Source>,
    /// What `map` and `reduce` of the program work on.
    pub over: Option<Over>,
}

/// An input, and how it is worked on.
#[derive(Debug, Default, Clone)]
pub struct Over {
    /// Objects, and directories with all that is below them.
    pub input: Vec<Address>,
    /// A number, or `auto`: how many parts are worked on at the same time.
    pub parallel: String,
    /// Where records end: `line` or `none`.
    pub record: Option<String>,
    /// Makes everything anew.
    pub is_fresh: bool,
}

impl Over {
    fn describe(&self, mut call: Call) -> Result<Call, Error> {
        let input: Vec<String> = self.input.iter().map(Address::wire).collect();
        let cache = if self.is_fresh { "no" } else { "yes" };
        let fields = [
            ("x-input", Some(input.join(" "))),
            ("x-parallel", Some(self.parallel.clone())),
            ("x-record", self.record.clone()),
            ("x-cache", Some(cache.to_owned())),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                call = call.header(HeaderName::from_static(name), &value)?;
            }
        }
        Ok(call)
    }
}

/// What a program answers.
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its header fields, in order; values that are no text are left out.
    pub headers: Vec<(String, String)>,
    client: Client,
    subject: String,
    response: Response,
}

impl Answer {
    /// The next piece of its body; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Broken`] where the program or the connection broke off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.client.chunk(&self.subject, &mut self.response).await
    }

    /// Nothing for a success, else the error that a status without a problem detail is.
    ///
    /// # Errors
    /// [`Error::Refused`] for 400 and above.
    pub fn succeeded(&self) -> Result<(), Error> {
        if self.status < 400 {
            return Ok(());
        }
        let detail = format!("{} answered", self.subject);
        let problem = Problem { status: self.status, detail, ..Problem::default() };
        Err(Error::Refused {
            subject: self.subject.clone(),
            problem,
            credential: self.client.has_credential(),
        })
    }
}

/// One line of a program's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Counts up within one program.
    pub number: u64,
    /// RFC 3339.
    pub time: String,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// Lines of one request have the same.
    pub run: String,
    /// What it says.
    pub text: String,
}

impl Client {
    /// Runs a program and gives the head of its answer, whatever its status.
    ///
    /// # Errors
    /// [`Error::Refused`] where node or program answered with a problem detail: it is none, it failed, or a limit was met.
    pub async fn run(&self, address: &Address, ask: Ask) -> Result<Answer, Error> {
        let query = ask.query.map_or_else(String::new, |query| format!("?{query}"));
        let mut call = call(method(ask.method.as_deref().unwrap_or("EXECUTE")), address, &query);
        for (name, value) in &ask.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Error::Source {
                path: name.into(),
                reason: "it is not the name of a header; write 'Name: value'".to_owned(),
            })?;
            call = call.header(name, value)?;
        }
        if let Some(over) = &ask.over {
            call = over.describe(call)?;
        }
        if let Some(body) = ask.body {
            call.payload = Payload::Source(body);
        }
        let response = self.exchange(call).await?;
        let status = response.status();
        let fields = response.headers().iter();
        let headers =
            fields.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let headers = headers.collect();
        Ok(Answer {
            status: status.as_u16(),
            headers,
            client: self.clone(),
            subject: address.to_string(),
            response,
        })
    }

    /// Makes what is stored already a program, or attaches to one, without sending it again.
    ///
    /// # Errors
    /// [`Error`]; a 422 where it cannot run.
    pub async fn attach(&self, address: &Address, program: &Program) -> Result<(), Error> {
        let attach = |properties| {
            let mut call = call(Method::PATCH, address, "").json(&properties);
            program.attach(&mut call.headers, &address.to_string())?;
            Ok::<_, Error>(call)
        };
        // A program only gets what is attached, and no new version; what is none is refused and becomes one.
        match self.send_empty(attach(serde_json::json!({}))?).await {
            Err(error) if error.status() == Some(400) => {
                self.send_empty(attach(serde_json::json!({ "executable": true }))?).await
            }
            other => other,
        }
    }

    /// What a program has logged lately, after the line of that number.
    ///
    /// # Errors
    /// [`Error`]; a 404 where this credential does not own it.
    pub async fn logs(&self, address: &Address, after: u64) -> Result<Vec<LogLine>, Error> {
        #[derive(Deserialize)]
        struct Lines {
            lines: Vec<LogLine>,
        }
        let name = address.to_string();
        let target =
            format!("/.jsfs/logs?address={}&after={after}", utf8_percent_encode(&name, NON_ALPHANUMERIC));
        let call = Call::new(Method::GET, target, name, address.namespace());
        Ok(self.send_json::<Lines>(call).await?.lines)
    }
}

/// Whether an answer is a problem detail.
pub(crate) fn is_problem(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/problem+json"))
}
