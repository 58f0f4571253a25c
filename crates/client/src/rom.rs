//! Asking a node for parts of it, and giving it parts of another: what goes over the wire is for whoever makes or reads ROMs to understand.

use crate::backup::BackupStream;
use crate::error::Error;
use crate::transport::{Call, Client, Payload};
use crate::upload::Source;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncRead;

const TARGET: &str = "/.jsfs/rom";

impl Client {
    /// Asks for these objects and directories.
    ///
    /// # Errors
    /// [`Error`]; status 400 where there is nothing at one of them.
    pub async fn export_rom(&self, addresses: &[String]) -> Result<BackupStream, Error> {
        let call = Call::new(Method::POST, TARGET.to_owned(), "the export".to_owned(), "localhost");
        let response = self.send(call.json(&json!({ "addresses": addresses }))).await?;
        Ok(self.stream("the export", response))
    }

    /// Hands the content of a ROM to the node, and says what it did.
    ///
    /// # Errors
    /// [`Error`]; status 409 where a directory belongs to another key there. What came before stays there.
    pub async fn import_rom(&self, items: Box<dyn AsyncRead + Send + Unpin>) -> Result<Value, Error> {
        let mut call = Call::new(Method::PUT, TARGET.to_owned(), "the import".to_owned(), "localhost");
        call.payload = Payload::Source(Source::Reader(items));
        self.send_json(call).await
    }
}
