//! The federation of a node, for the holder of its root key.

use crate::error::Error;
use crate::transport::{Call, Client};
use reqwest::Method;
use serde_json::{Value, json};

fn about(method: Method, rest: &str) -> Call {
    Call::new(method, format!("/.jsfs/{rest}"), "the federation".to_owned(), "localhost")
}

impl Client {
    /// How the node's federation is; `federation` is null where it is in none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn federation(&self) -> Result<Value, Error> {
        self.send_json(about(Method::GET, "federation")).await
    }

    /// The members of the node's federation.
    ///
    /// # Errors
    /// [`Error`]; status 409 where it is in none.
    pub async fn peers(&self) -> Result<Value, Error> {
        self.send_json(about(Method::GET, "peers")).await
    }

    /// Makes the node the first of a new federation.
    ///
    /// # Errors
    /// [`Error`]; status 409 where it is in one.
    pub async fn found_federation(&self, what: &Value) -> Result<Value, Error> {
        self.send_json(about(Method::POST, "federation").json(what)).await
    }

    /// Opens an invitation; `ticket` of the answer lets its bearer in.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn invite(&self, whom: &Value) -> Result<Value, Error> {
        self.send_json(about(Method::POST, "federation/invitations").json(whom)).await
    }

    /// Makes the node a member of a ticket's federation.
    ///
    /// # Errors
    /// [`Error`]; status 502 where nobody lets it in.
    pub async fn join_federation(&self, ticket: &str) -> Result<Value, Error> {
        self.send_json(about(Method::POST, "federation/join").json(&json!({ "ticket": ticket }))).await
    }

    /// Takes back what a member holds.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke_member(&self, peer: &str) -> Result<(), Error> {
        self.send_empty(about(Method::POST, "federation/revocations").json(&json!({ "peer": peer }))).await
    }

    /// Makes the node leave its federation.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn leave_federation(&self) -> Result<(), Error> {
        self.send_empty(about(Method::DELETE, "federation")).await
    }
}
