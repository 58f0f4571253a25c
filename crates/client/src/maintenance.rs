//! Maintenance of a node that runs: work that is begun with a request and followed line by line.
//!
//! Dropping what follows it closes the connection, which ends the work at its next step.

use crate::error::{Error, Problem};
use crate::transport::{Call, Client};
use bytes::BytesMut;
use reqwest::{Method, Response};
use serde::Deserialize;
use serde_json::Value;

/// Longest line that is read.
const LINE_BYTES_MAX: usize = 1 << 20;

/// How far the work is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// How much there is; may grow.
    pub total: u64,
    /// What is counted.
    pub unit: String,
}

/// What maintenance says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaintenanceLine {
    /// How far it is.
    Progress(Progress),
    /// Something that it found.
    Finding(Value),
    /// The end, in good order.
    Result(Value),
    /// The end, before its time.
    Problem(Problem),
}

/// Maintenance under way.
#[derive(Debug)]
pub struct Maintenance {
    client: Client,
    subject: String,
    response: Response,
    buffer: BytesMut,
    is_over: bool,
}

impl Client {
    /// Begins maintenance of the kind `name`, which takes these parameters.
    ///
    /// # Errors
    /// [`Error`]; status 409 where one of this kind is under way.
    pub async fn maintain(&self, name: &str, parameters: &Value) -> Result<Maintenance, Error> {
        let target = format!("/.jsfs/maintenance/{name}");
        let call = Call::new(Method::POST, target, name.to_owned(), "localhost").json(parameters);
        let response = self.send(call).await?;
        Ok(Maintenance {
            client: self.clone(),
            subject: name.to_owned(),
            response,
            buffer: BytesMut::new(),
            is_over: false,
        })
    }
}

impl Maintenance {
    /// The next progress or finding, or the result; nothing after that.
    ///
    /// # Errors
    /// [`Error::Refused`] with the problem that ended the work; [`Error::Unexpected`] where it ends without a last line.
    pub async fn next(&mut self) -> Result<Option<MaintenanceLine>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let bad = |what: String| self.client.unexpected(&self.subject, what);
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                let line = serde_json::from_slice(&line).map_err(|error| bad(error.to_string()))?;
                self.is_over = matches!(line, MaintenanceLine::Result(_) | MaintenanceLine::Problem(_));
                return match line {
                    MaintenanceLine::Problem(problem) => Err(Error::Refused {
                        subject: self.subject.clone(),
                        problem,
                        credential: self.client.has_credential(),
                    }),
                    line => Ok(Some(line)),
                };
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(bad(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
            }
            match self.client.chunk(&self.subject, &mut self.response).await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Err(bad("it ends without a result".to_owned())),
            }
        }
    }
}
