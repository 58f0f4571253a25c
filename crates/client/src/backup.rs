//! Asking a node for a backup: what comes is for whoever keeps it to understand.
//!
//! Dropping what follows it closes the connection, which ends the work at its next item.

use crate::error::Error;
use crate::transport::{Call, Client, Payload};
use crate::upload::Source;
use bytes::Bytes;
use reqwest::{Method, Response};

/// A backup on its way.
#[derive(Debug)]
pub struct BackupStream {
    client: Client,
    subject: &'static str,
    response: Response,
}

const SUBJECT: &str = "the backup";

impl Client {
    /// Asks for the state of the node. `ask` says what is there already.
    ///
    /// # Errors
    /// [`Error`]; status 409 where a backup is under way.
    pub async fn back_up(&self, ask: Bytes) -> Result<BackupStream, Error> {
        let mut call = Call::new(Method::POST, "/.jsfs/backup".to_owned(), SUBJECT.to_owned(), "localhost");
        call.payload = Payload::Source(Source::Bytes(ask));
        let response = self.send(call).await?;
        Ok(self.stream(SUBJECT, response))
    }

    pub(crate) fn stream(&self, subject: &'static str, response: Response) -> BackupStream {
        BackupStream { client: self.clone(), subject, response }
    }
}

impl BackupStream {
    /// The next bytes; nothing at the end.
    ///
    /// # Errors
    /// [`Error::Broken`] where the node breaks off, [`Error::Stalled`] where nothing comes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.client.chunk(self.subject, &mut self.response).await
    }
}
