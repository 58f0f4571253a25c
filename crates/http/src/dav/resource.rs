//! What a request of WebDAV is about: the object or directory at its path, conditions and locks on it, and GET of it.

use std::sync::Arc;

use hyper::Response;
use jsfs_objects::address::Address;
use jsfs_objects::{
    Credentials, Grant, Holder, List, ListOptions, Metadata, Object, Objects, Read, ReadError,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::condition::{self, State};
use super::lock::Locks;
use super::xml::escape;
use super::{Answered, MARKER, PREFIX, Refused, refusal, unread};
use crate::body::Body;
use crate::front::Front;
use crate::problem::{Kind, Problem};
use crate::request::Asked;
use hyper::StatusCode;

const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// One request.
pub(crate) struct Call<'c> {
    pub(crate) front: &'c Front,
    pub(crate) asked: &'c Asked<'c>,
    pub(crate) credentials: Credentials,
    pub(crate) address: Address,
}

/// What is there, as far as the caller may know of it.
pub(crate) enum Found {
    Object(Box<Object>, bool),
    /// With the object that keeps it there, if it has one.
    Directory(Address, Option<Arc<Metadata>>),
}

impl Found {
    pub(crate) fn address(&self) -> &Address {
        match self {
            Self::Object(object, _) => &object.metadata.address,
            Self::Directory(address, _) => address,
        }
    }
}

/// The path of an address below the prefix.
pub(crate) fn href(address: &Address) -> String {
    format!("{PREFIX}{}", utf8_percent_encode(address.path(), PATH))
}

pub(crate) fn as_directory(address: &Address) -> Answered<Address> {
    if address.is_directory() {
        Ok(address.clone())
    } else {
        Ok(Address::parse_exact(&format!("{address}/"))?)
    }
}

pub(crate) fn as_object(address: &Address) -> Answered<Address> {
    Ok(Address::parse_exact(address.as_str().trim_end_matches('/'))?)
}

impl<'c> Call<'c> {
    pub(crate) fn new(front: &'c Front, asked: &'c Asked<'c>, path: &str) -> Answered<Self> {
        let address = super::address(asked.host(), path)?;
        let call = Self { front, asked, credentials: asked.credentials()?, address };
        call.refuse_reserved(&call.address)?;
        Ok(call)
    }

    pub(crate) fn objects(&self) -> &'c Objects {
        self.front.objects()
    }

    pub(crate) fn locks(&self) -> &'c Locks {
        self.front.locks()
    }

    pub(crate) fn refuse_reserved(&self, address: &Address) -> Answered<()> {
        if address.path().split('/').any(|segment| segment == MARKER) {
            let detail = format!("the name {MARKER} is kept for directories themselves; choose another");
            return Err(Problem::new(Kind::Forbidden, detail).into());
        }
        Ok(())
    }

    pub(crate) fn header(&self, name: &str) -> Answered<Option<&'c str>> {
        let mut values = self.asked.headers.get_all(name).iter();
        let value = values.next().map(|value| std::str::from_utf8(value.as_bytes()));
        match (value.transpose(), values.next()) {
            (Ok(value), None) => Ok(value),
            _ => Err(Problem::malformed(format!("the header {name} must be UTF-8 and there once")).into()),
        }
    }

    /// What is at an address.
    pub(crate) async fn find(&self, address: &Address) -> Answered<Found> {
        let mut why = None;
        if !address.is_directory() {
            match self.objects().authorize::<Read>(&self.credentials, address).await {
                Ok(grant) => match self.objects().read(&grant, None).await {
                    Ok(object) => {
                        return Ok(Found::Object(Box::new(object), matches!(grant.holder(), Holder::Anyone)));
                    }
                    Err(
                        error @ (ReadError::Absent { .. } | ReadError::Purged { .. } | ReadError::Refused(_)),
                    ) => {
                        why = Some(unread(error));
                    }
                    Err(error) => return Err(unread(error)),
                },
                Err(refused) => why = Some(refusal(refused)),
            }
        }
        let directory = as_directory(address)?;
        match self.something_in(&directory).await {
            Ok(true) => Ok(Found::Directory(directory.clone(), self.marker(&directory).await)),
            Ok(false) => {
                let absent = || Problem::new(Kind::NotFound, format!("there is nothing at {address}")).into();
                Err(why.unwrap_or_else(absent))
            }
            Err(refused) => Err(why.unwrap_or(refused)),
        }
    }

    async fn something_in(&self, directory: &Address) -> Answered<bool> {
        let grant = self.objects().authorize::<List>(&self.credentials, directory).await.map_err(refusal)?;
        let options = ListOptions { after: None, limit: 1, recursive: true };
        let listing = self.objects().list(&grant, options).await.map_err(unread)?;
        Ok(directory.is_namespace() || !listing.entries.is_empty())
    }

    /// The properties of the object that keeps a directory there.
    pub(crate) async fn marker(&self, directory: &Address) -> Option<Arc<Metadata>> {
        let address = directory.join(MARKER).ok()?;
        let grant = self.objects().authorize::<Read>(&self.credentials, &address).await.ok()?;
        Some(self.objects().read(&grant, None).await.ok()?.metadata)
    }

    /// Refuses to put something where there is no directory. To whoever may not list it nothing is told of it.
    pub(crate) async fn check_parent(&self, address: &Address) -> Answered<()> {
        let Some(parent) = address.parent() else { return Ok(()) };
        let Ok(grant) = self.objects().authorize::<List>(&self.credentials, &parent).await else {
            return Ok(());
        };
        if matches!(grant.holder(), Holder::Anyone) || self.something_in(&parent).await? {
            return Ok(());
        }
        let detail = format!("there is no directory {parent}; make it first, with MKCOL");
        Err(Problem::new(Kind::Conflict, detail).into())
    }

    /// Tries the header `If`, and tells which locks' tokens the request brings.
    pub(crate) async fn submitted(&self, address: &Address) -> Answered<Vec<String>> {
        let Some(text) = self.header("if")? else { return Ok(Vec::new()) };
        let lists = condition::parse(text).map_err(|error| Problem::malformed(error.to_string()))?;
        let mut holds = false;
        let mut tokens = Vec::new();
        for list in &lists {
            let at = match &list.resource {
                None => Some(address.clone()),
                Some(url) => self.below_prefix(url).ok(),
            };
            let mut all = true;
            for condition in &list.conditions {
                let is = match (&condition.state, &at) {
                    (State::Token(token), at) => {
                        tokens.push(token.clone());
                        at.as_ref().is_some_and(|at| self.has_lock(at, token))
                    }
                    (State::Tag(tag), Some(at)) => match self.find(at).await {
                        Ok(Found::Object(object, _)) => *tag == format!("\"{}\"", object.metadata.etag),
                        _ => false,
                    },
                    (State::Tag(_), None) => false,
                };
                all &= is != condition.not;
            }
            holds |= all;
        }
        if holds {
            return Ok(tokens);
        }
        Err(Problem::new(Kind::PreconditionFailed, "the header if does not hold").into())
    }

    fn has_lock(&self, address: &Address, token: &str) -> bool {
        self.locks().has(address, token)
            || as_directory(address).is_ok_and(|directory| self.locks().has(&directory, token))
    }

    /// The address that a URL below the prefix means, at whatever host.
    pub(crate) fn below_prefix(&self, url: &str) -> Answered<Address> {
        let elsewhere = || Refused::Xml(StatusCode::BAD_GATEWAY, String::new());
        let (host, path) = match url.split_once("://") {
            Some(("http" | "https", rest)) => rest.split_at(rest.find('/').ok_or_else(elsewhere)?),
            None if url.starts_with('/') => (self.asked.host(), url),
            _ => return Err(Problem::malformed("the destination is neither a path nor an http URL").into()),
        };
        let path = path.strip_prefix(PREFIX).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        super::address(host, path.ok_or_else(elsewhere)?)
    }

    /// Refuses a change that a lock bars.
    pub(crate) fn check_locks(&self, address: &Address, tree: bool, tokens: &[String]) -> Answered<()> {
        match self.locks().bars(address, tree, tokens) {
            None => Ok(()),
            Some(root) => Err(locked(&root)),
        }
    }

    /// The same where something appears or disappears: the directory that it is in changes as well.
    pub(crate) fn check_membership(&self, address: &Address, tokens: &[String]) -> Answered<()> {
        self.check_locks(address, true, tokens)?;
        match address.parent() {
            Some(parent) => self.check_locks(&parent, false, tokens),
            None => Ok(()),
        }
    }
}

pub(crate) fn locked(root: &Address) -> Refused {
    let text =
        format!("<D:lock-token-submitted><D:href>{}</D:href></D:lock-token-submitted>", escape(&href(root)));
    Refused::Xml(StatusCode::LOCKED, text)
}

/// GET and HEAD: the bytes of an object, of a program too; of a directory its listing.
pub(crate) async fn get(call: &Call<'_>) -> Answered<Response<Body>> {
    match call.find(&call.address).await? {
        Found::Object(object, true) if object.metadata.executable => {
            let detail = "the source of a program is for whoever shows a key or token that may read it";
            Err(Problem::new(Kind::Unauthorized, detail).into())
        }
        Found::Object(object, _) => Ok(crate::get::represent(call.front, call.asked, *object).await?),
        Found::Directory(directory, _) => {
            Ok(crate::get::directory(call.front, call.asked, &directory).await?)
        }
    }
}

pub(crate) type ListGrant = Grant<List>;
