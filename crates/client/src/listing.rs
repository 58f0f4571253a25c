//! Directory listings, page by page.

use crate::address::Address;
use crate::error::Error;
use crate::transport::{Call, Client};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde::{Deserialize, Serialize};

/// Entries asked for at once.
const PAGE_ENTRIES: usize = 1_000;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// An object.
    Object,
    /// A directory; its name ends in `/`.
    Directory,
}

/// One entry of a listing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Name, or the path below the listed directory in a recursive listing. **Not to be trusted** as a local path.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EntryKind,
    /// Size in bytes; objects only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Content type; objects only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// When it was written, RFC 3339; objects only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Its version; objects only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Whether reading needs a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<bool>,
    /// Entity tag; objects only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// SHA-256 in hex where the node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// `true` where the caller's key does not open it, though the directory is the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<bool>,
}

/// One page of a listing.
#[derive(Debug, Clone, Deserialize)]
pub struct Page {
    /// The directory.
    #[serde(default)]
    pub address: String,
    /// Its entries, in order of their names.
    pub entries: Vec<Entry>,
    /// Where the next page begins.
    #[serde(default)]
    next: Option<String>,
}

/// A listing under way: holds one page at a time.
#[derive(Debug)]
pub struct Lister {
    client: Client,
    directory: Address,
    recursive: bool,
    after: Option<String>,
    done: bool,
}

impl Client {
    /// Lists a directory, with `recursive` the whole tree below it.
    pub fn list(&self, directory: &Address, recursive: bool) -> Lister {
        Lister {
            client: self.clone(),
            directory: directory.as_directory(),
            recursive,
            after: None,
            done: false,
        }
    }
}

impl Lister {
    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Unexpected`] also where the node's cursor does not advance.
    pub async fn page(&mut self) -> Result<Option<Page>, Error> {
        if self.done {
            return Ok(None);
        }
        let mut target = format!("{}?limit={PAGE_ENTRIES}", self.directory.wire());
        if self.recursive {
            target.push_str("&recursive=true");
        }
        if let Some(after) = &self.after {
            target.push_str("&after=");
            target.extend(utf8_percent_encode(after, NON_ALPHANUMERIC));
        }
        let subject = self.directory.to_string();
        let call = Call::new(Method::GET, target, subject.clone(), self.directory.namespace());
        let page = self.client.send_json::<Page>(call.header(ACCEPT, "application/json")?).await?;
        if page.next.is_some() && page.next == self.after {
            return Err(self.client.unexpected(&subject, "its cursor does not advance".into()));
        }
        self.done = page.next.is_none();
        self.after.clone_from(&page.next);
        Ok(Some(page))
    }
}
