//! What a request presents, and proving it: keys are derived, tokens are verified against the owner of the address's nearest place.
//!
//! A credential that is malformed, expired or somebody else's never fails a request by itself: it proves nothing, and the note says why in
//! words that speak of the credential only.

use crate::{
    Objects,
    address::Address,
    authority::{Presented, ProvenToken},
    chain::Chain,
    error::Refusal,
    key::{AccessKey, Keys, Owner},
    token::Token,
    turns,
};
use std::sync::Arc;
use zeroize::Zeroizing;

/// At most this many credentials of one request are looked at.
const CREDENTIALS_MAX: usize = 8;

/// The keys and tokens that a request carries, as text. Holds secrets: no `Debug`.
#[derive(Clone, Default)]
pub struct Credentials {
    keys: Vec<Zeroizing<String>>,
    tokens: Vec<Zeroizing<String>>,
}

impl Credentials {
    /// No credential at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds an access key, generated or typed.
    pub fn add_key(&mut self, text: &str) {
        if self.keys.len() < CREDENTIALS_MAX {
            self.keys.push(Zeroizing::new(text.to_owned()));
        }
    }

    /// Adds an access token.
    pub fn add_token(&mut self, text: &str) {
        if self.tokens.len() < CREDENTIALS_MAX {
            self.tokens.push(Zeroizing::new(text.to_owned()));
        }
    }

    /// Adds those of another bundle.
    pub fn add_all(&mut self, other: &Credentials) {
        other.keys.iter().for_each(|key| self.add_key(key));
        other.tokens.iter().for_each(|token| self.add_token(token));
    }

    /// How many were presented.
    pub fn len(&self) -> usize {
        self.keys.len() + self.tokens.len()
    }

    /// The one key, where nothing else was presented.
    fn only_key(&self) -> Option<AccessKey> {
        match (&self.keys[..], &self.tokens[..]) {
            ([key], []) => AccessKey::parse(key).ok(),
            _ => None,
        }
    }

    /// Whether nothing was presented.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.tokens.is_empty()
    }
}

/// Credentials whose keys were derived and whose tokens' signatures were checked. What they prove depends on the place.
#[derive(Default)]
pub(crate) struct Proven {
    pub(crate) keys: Vec<Arc<Keys>>,
    pub(crate) tokens: Vec<Arc<Token>>,
    pub(crate) note: Option<String>,
}

impl Proven {
    /// Derives and verifies what is presented; typed keys are stretched for `namespace`.
    pub(crate) async fn check(
        objects: &Objects,
        credentials: &Credentials,
        namespace: &str,
    ) -> Result<Proven, Refusal> {
        let mut proven = Proven::default();
        for text in &credentials.keys {
            match AccessKey::parse(text) {
                Ok(key) => proven.keys.push(objects.keys_of(key, namespace).await?),
                Err(error) => proven.note = Some(error.to_string()),
            }
        }
        let now_s = objects.clock().now_ms() / 1_000;
        for text in &credentials.tokens {
            match Token::parse(text).and_then(|token| token.verify(now_s).map(|()| token)) {
                Ok(token) => proven.tokens.push(Arc::new(token)),
                Err(error) => proven.note = Some(error.to_string()),
            }
        }
        Ok(proven)
    }

    /// What these credentials prove at an address of the given chain, and the token behind each proof.
    pub(crate) fn at(&self, address: &Address, chain: &Chain) -> (Presented, Vec<Arc<Token>>) {
        let owner = chain.place.owner;
        let mut presented = Presented {
            owns: self.key_of(owner).is_some(),
            owns_directory: self.key_of(chain.directory_place.owner).is_some(),
            tokens: Vec::new(),
        };
        let mut behind = Vec::new();
        for token in &self.tokens {
            if token.issuer() != owner || chain.policy.revoked.contains(token.jti()) {
                continue;
            }
            let covers = token.covers(address) && !lies_above(token.subject(), &chain.place.address);
            presented.tokens.push(ProvenToken { covers, methods: token.methods() });
            behind.push(Arc::clone(token));
        }
        (presented, behind)
    }

    /// Whether any credential could prove something where `owner` owns.
    pub(crate) fn proves_for(&self, owner: Owner) -> bool {
        self.key_of(owner).is_some() || self.tokens.iter().any(|token| token.issuer() == owner)
    }

    /// Everybody for whom one of these credentials could prove something.
    pub(crate) fn owners(&self) -> impl Iterator<Item = Owner> {
        self.keys.iter().map(|keys| keys.owner()).chain(self.tokens.iter().map(|token| token.issuer()))
    }

    /// The presented key that belongs to an owner.
    pub(crate) fn key_of(&self, owner: Owner) -> Option<&Arc<Keys>> {
        self.keys.iter().find(|keys| keys.owner() == owner)
    }
}

/// Whether a place lies between a token's subject and what it would cover: then the token says nothing about it.
fn lies_above(subject: &Address, place: &Address) -> bool {
    subject != place && place.starts_with(subject)
}

impl Objects {
    /// What one key proves, if it is all that is presented and was derived lately.
    pub(crate) fn proven_lately(&self, credentials: &Credentials, namespace: &str) -> Option<Proven> {
        let keys = self.key_cache().get(&credentials.only_key()?.cache_id(namespace))?;
        Some(Proven { keys: vec![keys], ..Proven::default() })
    }

    /// What is wrong with credentials in themselves, whatever they are for: malformed, forged or expired.
    pub async fn examine(
        &self,
        credentials: &Credentials,
        address: &Address,
    ) -> Result<Option<String>, Refusal> {
        Ok(Proven::check(self, credentials, address.namespace()).await?.note)
    }

    /// Derives the keys of an access key, remembering recent ones; typed keys are stretched a few at a time.
    pub(crate) async fn keys_of(&self, key: AccessKey, namespace: &str) -> Result<Arc<Keys>, Refusal> {
        let id = key.cache_id(namespace);
        if let Some(keys) = self.key_cache().get(&id) {
            return Ok(keys);
        }
        let busy = || {
            let what = "too many typed access keys are being checked at once; use the generated form (`jsfs key show`)";
            Refusal::Busy { what, retry_after: turns::WAIT_MAX }
        };
        let keys = if key.is_typed() {
            let namespace = namespace.to_owned();
            self.stretching().run(move || key.keys(&namespace)).await.map_err(|_| busy())?
        } else {
            key.keys(namespace)
        };
        let keys = Arc::new(keys.map_err(|_| busy())?);
        self.key_cache().insert(id, Arc::clone(&keys));
        Ok(keys)
    }
}
