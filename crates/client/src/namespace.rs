//! Namespaces of the node, properties of directories, and the node's status.

use crate::address::Address;
use crate::error::Error;
use crate::key::AccessKey;
use crate::transport::{Call, Client};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A namespace of the node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Namespace {
    /// Labels reversed, as in addresses: `com.example`.
    pub name: String,
    /// The host name: `example.com`.
    #[serde(default)]
    pub host: String,
    /// Its owner, `did:key:…`.
    #[serde(default)]
    pub owner: String,
    /// Whether what is stored there is private unless it says otherwise.
    #[serde(default)]
    pub private: bool,
    /// Bytes that it may hold.
    #[serde(default)]
    pub quota: Option<u64>,
    /// Bytes that it holds.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Objects that it holds.
    #[serde(default)]
    pub objects: Option<u64>,
    /// Whether it is the federation's, or the node's alone; none where there is no federation.
    #[serde(default)]
    pub shared: Option<bool>,
    /// Everything else that the node said.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What to make or change of a namespace.
#[derive(Default, Clone)]
pub struct NamespaceChange {
    /// Private by default.
    pub private: Option<bool>,
    /// Bytes that it may hold.
    pub quota: Option<u64>,
    /// A key of its own; else the root key owns it.
    pub owner_key: Option<AccessKey>,
}

/// Properties that what lies below a directory inherits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Private by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<bool>,
    /// Who may create objects: `owner` or `anyone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<String>,
    /// Bytes that it may hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// How long earlier versions are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// How long earlier versions are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Retention {
    /// Days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<u64>,
    /// Number of versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<u64>,
}

impl Client {
    /// The node's status; with the root key it says more.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn status(&self) -> Result<Value, Error> {
        self.send_json(node_call(Method::GET, "/.jsfs/status".into(), "the node")).await
    }

    /// The namespaces that the credential may see.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn namespaces(&self) -> Result<Vec<Namespace>, Error> {
        #[derive(Deserialize)]
        struct Namespaces {
            namespaces: Vec<Namespace>,
        }
        let call = node_call(Method::GET, "/.jsfs/namespaces".into(), "namespaces");
        Ok(self.send_json::<Namespaces>(call).await?.namespaces)
    }

    /// What holds in a directory, its own or inherited.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn properties(&self, directory: &Address) -> Result<Value, Error> {
        let target = format!("{}?properties", directory.wire());
        self.send_json(Call::new(Method::GET, target, directory.to_string(), directory.namespace())).await
    }

    /// Makes a namespace (or finds it there); says what it is, and whether it is new.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_namespace(
        &self,
        root: &Address,
        change: &NamespaceChange,
    ) -> Result<(Namespace, bool), Error> {
        let response = self.send(namespace_call(Method::PUT, root, change)).await?;
        let new = response.status() == StatusCode::CREATED;
        Ok((self.read_json(&root.host(), response).await?, new))
    }

    /// Makes the namespace that is named by its key (or finds it there); says what it is, and whether it is new.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_namespace_of_key(&self, change: &NamespaceChange) -> Result<(Namespace, bool), Error> {
        let subject = "a namespace named by its key";
        let call = with_change(node_call(Method::POST, "/.jsfs/namespaces".into(), subject), change);
        let response = self.send(call).await?;
        let new = response.status() == StatusCode::CREATED;
        Ok((self.read_json(subject, response).await?, new))
    }

    /// Changes a namespace.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_namespace(&self, root: &Address, change: &NamespaceChange) -> Result<(), Error> {
        self.send_empty(namespace_call(Method::PATCH, root, change)).await
    }
}

/// A request to the node's own interface. A root key chosen by a person is stretched for `localhost`.
fn node_call(method: Method, target: String, subject: &str) -> Call {
    Call::new(method, target, subject.to_owned(), "localhost")
}

fn namespace_call(method: Method, root: &Address, change: &NamespaceChange) -> Call {
    let target = format!("/.jsfs/namespaces/{}", root.namespace());
    with_change(node_call(method, target, &format!("namespace {}", root.host())), change)
}

fn with_change(call: Call, change: &NamespaceChange) -> Call {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        private: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        quota: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        owner_key: Option<&'a str>,
    }
    let key = change.owner_key.as_ref().map(AccessKey::text);
    let body = Body {
        private: change.private,
        quota: change.quota,
        owner_key: key.as_ref().map(|key| key.as_str()),
    };
    call.json(&body)
}
