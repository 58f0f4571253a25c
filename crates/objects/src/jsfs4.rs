//! What clients of JSFS 4 need of the object layer: keys of drop boxes that the node can prove tokens of old with.
//!
//! A token of JSFS 4 is `sha1(key + METHOD)` or `sha1(key + METHOD + end)`, so whoever checks one must hold the key's text. Where
//! `Settings::jsfs4` is on, the text of a key is kept once it has proved to own something in a drop box, sealed under the node's identity, filed
//! under its owner. A token that is right is exchanged for one of our own, for this address and this method and a minute: what it allows is decided as
//! for any other token. A lost row costs the tokens and nothing else: whoever sends the key again brings it back.

use crate::{
    Objects,
    address::Address,
    authority::Visibility,
    chain::Chain,
    commit::Change,
    credentials::Credentials,
    crypto::{self, Secret},
    error::{ReadError, Refusal, StorageError, WriteError},
    grant::Opener,
    key::{AccessKey, Owner},
    record::Create,
    seal::{BlockKey, open_block, seal_block},
    tables,
    token::{Method, Methods, Mint},
};
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use jsfs_store::Op;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const FORMAT: u8 = 1;
const SALT_BYTES: usize = 32;
const LABEL: &str = "jsfs 4 key 1";
/// How long the token lives that one of old is exchanged for: it is used at once.
const LIFETIME_S: u64 = 60;
/// JSFS 4 cut bodies into pieces of this size.
const BLOCK_BYTES: u64 = 1 << 20;
/// Pieces that are told of: those of 64 GiB.
const BLOCKS_MAX: usize = 1 << 16;

/// What a client of JSFS 4 can tell of an address in a drop box, whoever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldState {
    /// Whether an object is there.
    pub present: bool,
    /// Whether reading it needs a credential.
    pub private: bool,
}

impl Objects {
    /// Whether clients of JSFS 4 are answered as they were.
    pub fn answers_jsfs4(&self) -> bool {
        self.settings().jsfs4
    }

    /// What is at an address, where it lies in a drop box and clients of JSFS 4 are answered; none elsewhere. Existence cannot be hidden there.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn old_state(&self, address: &Address) -> Result<Option<OldState>, StorageError> {
        if !self.answers_jsfs4() || address.is_directory() {
            return Ok(None);
        }
        let Some(mut chain) = Chain::above(self, address)? else { return Ok(None) };
        if chain.policy.create != Create::Anyone {
            return Ok(None);
        }
        chain.see_object(self, address)?;
        let visibility = chain.facts(address).visibility;
        Ok(Some(OldState {
            present: visibility != Visibility::Absent,
            private: visibility == Visibility::Private,
        }))
    }

    /// Keeps the text of a key that owns what is at an address of a drop box, so that tokens of old made from it can be proved. Any other
    /// key is not kept.
    ///
    /// # Errors
    /// When the key cannot be derived or the row not be written.
    pub async fn keep_old_key(&self, address: &Address, text: &str) -> Result<(), WriteError> {
        if self.old_state(address)?.is_none() {
            return Ok(());
        }
        let Some(chain) = Chain::load(self, address)? else { return Ok(()) };
        let (Ok(key), true) = (AccessKey::parse(text), chain.place.address == *address) else {
            return Ok(());
        };
        let owner = self.keys_of(key, address.namespace()).await?.owner();
        let row = row_of(owner);
        if owner != chain.place.owner
            || self.store().get(tables::OLD_KEY, &row).map_err(StorageError::from)?.is_some()
        {
            return Ok(());
        }
        let salt: [u8; SALT_BYTES] = self.random().bytes();
        let sealed = seal_block(&self.old_key_key(&row, &salt), text.as_bytes());
        let value = [&[FORMAT], &salt[..], &sealed].concat();
        let mut change = Change::new();
        change.op(Op::Put { table: tables::OLD_KEY, key: row, value: value.into(), references: Vec::new() });
        change.commit(self).await?;
        Ok(())
    }

    /// Adds to `credentials` what a token of JSFS 4 is worth at an address of a drop box; nothing where it is wrong or over.
    ///
    /// # Errors
    /// When the store cannot be read, or too many keys are being stretched.
    pub async fn add_old_token(
        &self,
        credentials: &mut Credentials,
        address: &Address,
        method: &str,
        token: &str,
        expires: Option<&str>,
    ) -> Result<(), ReadError> {
        let is_hash =
            token.len() == 40 && token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let allowed = match method {
            "GET" | "HEAD" => Method::Get,
            "POST" | "PUT" => Method::Put,
            _ => return Ok(()),
        };
        let expires = expires.filter(|expires| !expires.is_empty());
        if !is_hash
            || expires.is_some_and(|expires| !self.lies_ahead(expires))
            || self.old_state(address)?.is_none()
        {
            return Ok(());
        }
        let Some(chain) = Chain::load(self, address)? else { return Ok(()) };
        let row = row_of(chain.place.owner);
        let Some(kept) = self.store().get(tables::OLD_KEY, &row).map_err(StorageError::from)? else {
            return Ok(());
        };
        let Some(text) = self.open_old_key(&row, &kept.value) else { return Ok(()) };
        if !bool::from(old_token(&text, method, expires).as_bytes().ct_eq(token.as_bytes())) {
            return Ok(());
        }
        let Ok(key) = AccessKey::parse(&text) else { return Ok(()) };
        let keys = self.keys_of(key, address.namespace()).await?;
        if keys.owner() != chain.place.owner {
            return Ok(());
        }
        let read =
            Opener::of_owner(&keys, &chain).and_then(|opener| opener.read_key(address, chain.place.epoch));
        let mint = Mint {
            subject: address.clone(),
            methods: Methods::default().with(allowed),
            expires_s: self.clock().now_ms() / 1_000 + LIFETIME_S,
            not_before_s: None,
            read,
        };
        let minted = mint.sign(&keys, self.random());
        let minted = minted.map_err(|error| Refusal::from(StorageError::Write(error.to_string())))?;
        credentials.add_token(&minted.to_text());
        Ok(())
    }

    /// Whether a time in ms since 1970 has not passed.
    fn lies_ahead(&self, expires: &str) -> bool {
        let is_number = expires.bytes().all(|byte| byte.is_ascii_digit());
        is_number && expires.parse::<u64>().is_ok_and(|end| end >= self.clock().now_ms())
    }

    /// The key of one row, which seals once.
    fn old_key_key(&self, row: &[u8], salt: &[u8; SALT_BYTES]) -> BlockKey {
        let node = Secret::new(*self.node_key().expose_secret());
        BlockKey(node.hkdf(&crypto::sha256(&[salt, row]), LABEL))
    }

    fn open_old_key(&self, row: &[u8], value: &[u8]) -> Option<Zeroizing<String>> {
        let (&FORMAT, rest) = value.split_first()? else { return None };
        let (salt, sealed) = rest.split_first_chunk::<SALT_BYTES>()?;
        let clear = open_block(&self.old_key_key(row, salt), sealed).ok()?;
        String::from_utf8(clear).ok().map(Zeroizing::new)
    }
}

fn row_of(owner: Owner) -> Vec<u8> {
    owner.as_bytes().to_vec()
}

/// The token that JSFS 4 would have taken.
fn old_token(key: &str, method: &str, expires: Option<&str>) -> String {
    let mut sha1 = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in [key, method, expires.unwrap_or_default()] {
        sha1.update(part.as_bytes());
    }
    hex(sha1.finish().as_ref())
}

/// The SHA-1 of a text, as JSFS 4 named what has that name.
pub fn old_fingerprint(name: &str) -> String {
    let mut sha1 = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    sha1.update(name.as_bytes());
    hex(sha1.finish().as_ref())
}

/// The SHA-1 of each piece of a body, as JSFS 4 told them.
pub struct OldBlocks {
    sha1: Context,
    filled: u64,
    done: Vec<[u8; 20]>,
    any: bool,
}

impl Default for OldBlocks {
    fn default() -> Self {
        OldBlocks { sha1: Context::new(&SHA1_FOR_LEGACY_USE_ONLY), filled: 0, done: Vec::new(), any: false }
    }
}

impl OldBlocks {
    /// Takes the next bytes of the body.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(BLOCK_BYTES - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.sha1.update(now);
            self.filled += now.len() as u64;
            if self.filled == BLOCK_BYTES {
                self.end_block();
            }
            bytes = later;
        }
    }

    fn end_block(&mut self) {
        let sha1 = std::mem::replace(&mut self.sha1, Context::new(&SHA1_FOR_LEGACY_USE_ONLY)).finish();
        if let (true, Ok(hash)) = (self.done.len() < BLOCKS_MAX, sha1.as_ref().try_into()) {
            self.done.push(hash);
        }
        (self.filled, self.any) = (0, true);
    }

    /// The hashes; that of nothing where there was no byte.
    pub fn finish(mut self) -> Vec<String> {
        if self.filled > 0 || !self.any {
            self.end_block();
        }
        self.done.iter().map(|hash| hex(hash)).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
