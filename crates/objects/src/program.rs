//! What an owner attached to a program: what it may touch when it runs, its environment, and the means by which this node reads its source.
//!
//! An attachment is made of access tokens, minted with the owner's key when the program is stored: a program meets the same authority as any
//! bearer of them, and revoking a token or replacing the owner's key takes them away. It is sealed under a key that only this node has. Only
//! the owner's key attaches; whoever else writes the program detaches it in the same commit, so that nobody's code acts with what was
//! granted to other code. An attachment remembers whose key made it: what goes to another owner runs on, and what that owner writes in its
//! place begins with nothing attached.

mod carried;

pub(crate) use carried::Way;

use crate::{
    Objects,
    address::Address,
    crypto::Secret,
    error::{ReadError, Refusal, StorageError, WriteError},
    grant::{Access, Grant, Manage},
    key::Owner,
    seal::{BlockKey, open_block, seal_block},
    tables,
    token::{Method, Methods, Token},
};
use jsfs_store::{Commit, Op};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Places that a program can be granted: each is one token, and a request carries at most eight.
pub const GRANTS_MAX: usize = 7;
/// Hosts outside the node that a program can be let reach.
pub const HOSTS_MAX: usize = 32;
/// Bytes of the names and values of an environment.
pub const ENV_BYTES_MAX: usize = 64 << 10;
/// How long an attachment holds: as long as a token can.
const LIFETIME_S: u64 = 10 * 365 * 86_400;

const FORMAT: u8 = 1;
const SALT_BYTES: usize = 32;

/// What a program holds. Holds secrets: no `Debug`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Attachment {
    /// The token that reads the program itself; none where everybody may.
    source: Option<String>,
    /// One token for each place that it was granted.
    tokens: Vec<String>,
    /// What was granted, for whoever asks.
    granted: Vec<(String, Vec<String>)>,
    /// Names and values that it is given.
    env: BTreeMap<String, String>,
    /// Hosts outside the node that it may ask.
    #[serde(default)]
    hosts: Vec<String>,
    /// Whose key attached it, where that is not who made the token for the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

impl Attachment {
    /// The tokens that it acts with.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(String::as_str)
    }

    /// The token by which the node reads the program itself. Never the program's own: it does not read its source by it.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Its environment.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The hosts outside the node that it may ask.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Whose key attached it.
    pub(crate) fn attached_by(&self) -> Option<Owner> {
        match &self.by {
            Some(owner) => owner.parse().ok(),
            None => self.source().and_then(|token| Token::parse(token).ok()).map(|token| token.issuer()),
        }
    }

    /// The places that it was granted, with the methods.
    pub fn granted(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.granted.iter().map(|(place, methods)| (place.as_str(), methods.as_slice()))
    }
}

impl Objects {
    /// Makes an attachment for the program at the grant's address, without keeping it. What is left out stays as this owner attached it.
    ///
    /// # Errors
    /// When a place is not the caller's to grant, or there is too much of anything.
    pub async fn prepare_attachment(
        &self,
        grant: &Grant<Manage>,
        places: Option<&[(Address, Methods)]>,
        env: Option<BTreeMap<String, String>>,
        hosts: Option<Vec<String>>,
    ) -> Result<Attachment, WriteError> {
        let address = grant.address();
        let before = self.attachment_by(address, grant.owner())?.unwrap_or_default();
        let expires_s = self.clock().now_ms() / 1_000 + LIFETIME_S;
        let source = Methods::default().with(Method::Get);
        let mut attachment = Attachment {
            source: Some(self.mint_token(grant, source, expires_s).await?.text),
            env: env.unwrap_or(before.env),
            hosts: hosts.unwrap_or(before.hosts),
            ..Attachment::default()
        };
        let bytes: usize = attachment.env.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > ENV_BYTES_MAX {
            let what =
                format!("the environment of a program may have {ENV_BYTES_MAX} bytes; this one has {bytes}");
            return Err(WriteError::Invalid { what });
        }
        if attachment.hosts.len() > HOSTS_MAX {
            let what = format!(
                "a program can be let reach {HOSTS_MAX} hosts; name those below one together, as in *.example.org"
            );
            return Err(WriteError::Invalid { what });
        }
        let Some(places) = places else {
            return Ok(Attachment { tokens: before.tokens, granted: before.granted, ..attachment });
        };
        if places.len() > GRANTS_MAX {
            let what = format!("a program can be granted {GRANTS_MAX} places; grant directories above them");
            return Err(WriteError::Invalid { what });
        }
        for (place, methods) in places {
            let manage = self.authorize_proven::<Manage>(&grant.held.proven, place)?;
            attachment.tokens.push(self.mint_token(&manage, *methods, expires_s).await?.text);
            let methods = methods.iter().map(|method| method.name().to_owned()).collect();
            attachment.granted.push((place.as_str().to_owned(), methods));
        }
        Ok(attachment)
    }

    /// Keeps an attachment, instead of what was there.
    ///
    /// # Errors
    /// When the caller is not the owner, or the store refuses.
    pub async fn attach(&self, grant: &Grant<Manage>, attachment: &Attachment) -> Result<(), WriteError> {
        let Access::Owner(_) = &grant.held.access else {
            return Err(Refusal::Forbidden { needs: "an access key" }.into());
        };
        let op = self.attaching(grant.address(), attachment)?;
        let commit = Commit { expect: Vec::new(), ops: vec![op], blocks: Vec::new(), pins: Vec::new() };
        self.store().commit(commit).await?;
        Ok(())
    }

    /// The operation that keeps an attachment, instead of what was there.
    fn attaching(&self, address: &Address, attachment: &Attachment) -> Result<Op, StorageError> {
        let clear = serde_json::to_vec(attachment).map_err(|error| StorageError::Write(error.to_string()))?;
        let salt: [u8; SALT_BYTES] = self.random().bytes();
        let mut value = vec![FORMAT];
        value.extend_from_slice(&salt);
        value.extend_from_slice(&seal_block(&self.program_key(&salt), &clear));
        Ok(Op::Put {
            table: tables::PROGRAM,
            key: tables::address_key(address),
            value: value.into(),
            references: Vec::new(),
        })
    }

    /// What was attached to the program at this address, if anything.
    ///
    /// # Errors
    /// When the store cannot be read, or what is there does not open.
    pub fn attachment(&self, address: &Address) -> Result<Option<Attachment>, ReadError> {
        let entry = self.store().get(tables::PROGRAM, &tables::address_key(address))?;
        entry.map(|entry| self.open_attachment(address, &entry.value)).transpose()
    }

    fn open_attachment(&self, address: &Address, value: &[u8]) -> Result<Attachment, ReadError> {
        let damaged = || StorageError::Record {
            address: address.clone(),
            what: "what is attached to the program does not open; store the program again".to_owned(),
        };
        let (salt, sealed) = match value.split_first() {
            Some((&FORMAT, rest)) => rest.split_first_chunk::<SALT_BYTES>().ok_or_else(damaged)?,
            _ => return Err(damaged().into()),
        };
        let clear = open_block(&self.program_key(salt), sealed).map_err(|_| damaged())?;
        Ok(serde_json::from_slice(&clear).map_err(|_| damaged())?)
    }

    /// The key of one attachment. Each has a salt of its own, because such a key seals once.
    fn program_key(&self, salt: &[u8; SALT_BYTES]) -> BlockKey {
        let node = Secret::new(*self.node_key().expose_secret());
        BlockKey(node.hkdf(salt, "jsfs program attachment 1"))
    }
}
