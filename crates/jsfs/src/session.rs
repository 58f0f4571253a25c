//! Finding the node and the key, so that nothing has to be given on the machine where the node runs.
//!
//! Node: `--node`, `JSFS_NODE`, what the running node wrote into `node.url` of the data directory, else `http://127.0.0.1:7302`.
//! Key: `--key`, `--token`, their variables, else `root.key` of the data directory. Invariant: `root.key` is sent only to the node that
//! `node.url` of the same data directory names, and only while a node holds that directory's lock: never to another one, on this machine or
//! elsewhere, and never to whoever listens on the port of a node that was killed.

use crate::cli::Connection;
use crate::config::{self, Flags};
use crate::exit::Usage;
use crate::output::{Output, Report};
use anyhow::Context;
use jsfs_client::{Client, Credential, Error, NodeUrl, Reference};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The node's URL for programs on this machine, in its data directory while it runs.
pub(crate) const NODE_URL_FILE: &str = "node.url";
/// The root access key, in the data directory.
pub(crate) const ROOT_KEY_FILE: &str = "root.key";
const DEFAULT_NODE: &str = "http://127.0.0.1:7302";

/// How often the kernel's locks are looked at until one is believed not to be held: a reader misses a line when others give theirs back meanwhile.
const LOOKS: usize = 4;

/// Where the credential came from, for `key show` and for hints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyOrigin {
    /// `--key`, `--key-file`, `--token` or a variable.
    Given,
    /// `root.key` of this data directory.
    Root(PathBuf),
    /// None, for this reason.
    Missing(String),
}

/// A client with the best credential that was found.
pub(crate) struct Session {
    /// Talks to the node.
    pub(crate) client: Client,
    /// What it proves itself with.
    pub(crate) credential: Option<Credential>,
    /// Where that came from.
    pub(crate) origin: KeyOrigin,
    /// Prints.
    pub(crate) output: Output,
}

/// The data directory that flags, environment and configuration file name.
pub(crate) fn data_directory(connection: &Connection) -> anyhow::Result<Option<PathBuf>> {
    let flags =
        Flags { data: connection.data.as_ref().map(|path| path.display().to_string()), ..Flags::default() };
    let merged = config::merge(&flags, &config::environment()).map_err(|fault| Usage(fault.to_string()))?;
    Ok(merged.get("data").map(|(value, _)| PathBuf::from(value.to_string())))
}

impl Session {
    /// Finds node and key.
    pub(crate) fn find(connection: &Connection, output: Output) -> anyhow::Result<Session> {
        let data = data_directory(connection)?;
        let running = data.as_deref().and_then(running_node);
        let node = match (&connection.node, &running) {
            (Some(text), _) => text.parse::<NodeUrl>().map_err(|error| Usage(error.to_string()))?,
            (None, Some(running)) => running.clone(),
            (None, None) => DEFAULT_NODE.parse()?,
        };
        let own = running.as_ref().is_some_and(|running| running.same_node(&node));
        let (credential, origin) = find_key(connection, data.as_deref(), own, &node)?;
        if credential.is_some() && node.is_exposed() {
            output.note(&format!(
                "the key travels unencrypted to {node}; use https:// beyond your own machine"
            ));
        }
        Ok(Session { client: Client::new(node, credential.clone())?, credential, origin, output })
    }

    /// Reads an address and the client that it is to be used with: a share link brings its own token.
    pub(crate) fn target(&self, text: &str) -> anyhow::Result<(Reference, Client)> {
        let reference = Reference::parse(text)?;
        let node = self.client.node();
        if let Some(port) = reference.local_port
            && node.is_loopback()
            && port != node.port()
            && text.split('/').nth(2).is_some_and(|host| host.contains(':'))
        {
            let text = format!(
                "the URL names port {port} of this machine, but the node is {node}; add --node http://127.0.0.1:{port}"
            );
            return Err(Usage(text).into());
        }
        let client = match &reference.token {
            Some(token) => self.client.with_credential(Some(Credential::token(token)?)),
            None => self.client.clone(),
        };
        Ok((reference, client))
    }

    /// How an error is shown: what happened, and what to do.
    pub(crate) fn report(&self, error: &anyhow::Error) -> Report {
        let client = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
        Report { hint: client.and_then(|error| self.hint(error)), ..plain_report(error) }
    }

    fn hint(&self, error: &Error) -> Option<String> {
        match error {
            Error::Unreachable { .. } => {
                Some("start one with `jsfs serve`, or name the one you mean with --node URL or JSFS_NODE".into())
            }
            Error::Refused { problem, credential: false, .. } if matches!(problem.status, 401 | 403 | 404) => match &self.origin {
                KeyOrigin::Missing(reason) => Some(format!("no key was sent: {reason}; give one with JSFS_ACCESS_KEY or --key-file FILE, or name the node's --data DIR")),
                _ => None,
            },
            Error::Refused { problem, credential: true, .. } if matches!(problem.status, 401 | 403) => match &self.origin {
                KeyOrigin::Root(path) => Some(format!(
                    "the key of {} was sent; if another key owns this, give that with --key-file FILE or JSFS_ACCESS_KEY",
                    path.display()
                )),
                _ => Some("the key or token that was given does not allow this; `jsfs key show` says which it is".into()),
            },
            _ => None,
        }
    }
}

/// How an error is shown where there is no node to speak of.
pub(crate) fn plain_report(error: &anyhow::Error) -> Report {
    let status = error.chain().find_map(|cause| cause.downcast_ref::<Error>()).and_then(Error::status);
    Report { message: crate::exit::told(error), hint: None, status, exit: crate::exit::code(error) as u8 }
}

fn find_key(
    connection: &Connection,
    data: Option<&Path>,
    own: bool,
    node: &NodeUrl,
) -> anyhow::Result<(Option<Credential>, KeyOrigin)> {
    if let Some(text) = &connection.key {
        return Ok((Some(Credential::parse(text)?), KeyOrigin::Given));
    }
    if let Some(path) = &connection.key_file {
        return Ok((Some(Credential::parse(&read_key_file(path)?)?), KeyOrigin::Given));
    }
    if let Some(text) = &connection.token {
        return Ok((Some(Credential::token(text)?), KeyOrigin::Given));
    }
    let Some(data) = data else {
        return Ok((None, KeyOrigin::Missing("there is no data directory to look in".into())));
    };
    let path = data.join(ROOT_KEY_FILE);
    if !own {
        let reason = format!("{node} is not the node that runs on {}", data.display());
        return Ok((None, KeyOrigin::Missing(reason)));
    }
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let key =
                Credential::key(text.trim()).with_context(|| format!("{} holds no key", path.display()))?;
            Ok((Some(key), KeyOrigin::Root(path)))
        }
        Err(error) => Ok((None, KeyOrigin::Missing(format!("{} cannot be read: {error}", path.display())))),
    }
}

/// The key in a file; `-` is standard input.
pub(crate) fn read_key_file(path: &Path) -> anyhow::Result<zeroize::Zeroizing<String>> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|error| Usage(format!("cannot read the key in {}: {error}", path.display())))?;
    Ok(zeroize::Zeroizing::new(text.trim().to_owned()))
}

/// The node that runs on a data directory.
pub(crate) fn running_node(data: &Path) -> Option<NodeUrl> {
    let text = std::fs::read_to_string(data.join(NODE_URL_FILE)).ok()?;
    let node = text.lines().next()?.parse().ok()?;
    let lock = data.join("lock");
    (0..LOOKS).any(|_| is_held(&lock)).then_some(node)
}

/// Whether a process holds the lock of a store. The kernel is asked (`/proc/locks`) instead of trying to take it, so that a node that starts
/// at this moment is not disturbed; where it cannot be asked the answer is yes.
fn is_held(lock: &Path) -> bool {
    let Ok(locks) = std::fs::read_to_string("/proc/locks") else { return true };
    let Ok(metadata) = std::fs::metadata(lock) else { return false };
    let inode = metadata.ino().to_string();
    // 1: FLOCK  ADVISORY  WRITE 4711 fe:01:131077 0 EOF
    let held = |line: &str| {
        let fields = line.split_whitespace().collect::<Vec<_>>();
        fields.get(1) == Some(&"FLOCK")
            && fields.get(5).and_then(|place| place.rsplit(':').next()) == Some(inode.as_str())
    };
    locks.lines().any(held)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use jsfs_client::AccessKey;

    fn connection(data: &Path, node: Option<&str>) -> Connection {
        Connection { node: node.map(str::to_owned), data: Some(data.to_owned()), ..Connection::default() }
    }

    fn found(connection: &Connection) -> Session {
        Session::find(connection, Output { json: false, quiet: true }).unwrap()
    }

    #[test]
    fn the_root_key_goes_to_the_node_of_its_data_directory_and_to_no_other() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(ROOT_KEY_FILE), AccessKey::generate().unwrap().text().as_str())
            .unwrap();
        assert!(
            !found(&connection(data.path(), None)).client.has_credential(),
            "sent to whoever listens on the default port"
        );
        std::fs::write(data.path().join(NODE_URL_FILE), "http://127.0.0.1:7399\n").unwrap();
        let lock = std::fs::File::create(data.path().join("lock")).unwrap();
        let killed = found(&connection(data.path(), None));
        assert!(
            !killed.client.has_credential(),
            "sent to whoever listens on the port of a node that was killed"
        );
        lock.lock().unwrap();
        for node in [None, Some("http://localhost:7399"), Some("http://a.localhost:7399")] {
            let session = found(&connection(data.path(), node));
            assert!(matches!(session.origin, KeyOrigin::Root(_)), "{node:?}");
        }
        for node in ["http://127.0.0.1:7302", "http://example.com:7399", "https://localhost.example.com:7399"]
        {
            assert!(!found(&connection(data.path(), Some(node))).client.has_credential(), "sent to {node}");
        }
    }

    #[test]
    fn a_url_of_another_node_on_this_machine_is_not_mistaken() {
        let data = tempfile::tempdir().unwrap();
        let session = found(&connection(data.path(), Some("http://127.0.0.1:7399")));
        assert!(session.target("http://localhost:7302/a").is_err());
        assert!(session.target("http://localhost:7399/a").is_ok());
        assert!(session.target("http://example.com/a").is_ok());
        assert!(session.target("http://localhost/a").is_ok());
    }
}
