//! Making tokens for the holder of a key.

use crate::{
    Objects,
    address::Address,
    error::WriteError,
    grant::{Grant, Manage},
    key::Keys,
    read_key::ReadKey,
    token::{Methods, Mint, Token},
};

/// The longest that a token is made for: ten years.
const LIFETIME_S_MAX: u64 = 10 * 366 * 86_400;

/// A token that was just made.
pub struct MintedToken {
    /// Its whole text, fourth part included: a secret.
    pub text: String,
    /// Its id, by which it can be revoked.
    pub jti: String,
    /// When it expires, s since 1970.
    pub expires_s: u64,
}

impl Objects {
    /// Makes a token for an address, or for everything below it where it ends in `/`.
    pub async fn mint_token(
        &self,
        grant: &Grant<Manage>,
        methods: Methods,
        expires_s: u64,
    ) -> Result<MintedToken, WriteError> {
        self.mint(grant, methods, expires_s)
    }

    /// The same, where nothing is waited for.
    pub(crate) fn mint(
        &self,
        grant: &Grant<Manage>,
        methods: Methods,
        expires_s: u64,
    ) -> Result<MintedToken, WriteError> {
        let held = &grant.held;
        let now_s = self.clock().now_ms() / 1_000;
        if methods.is_empty() {
            return Err(WriteError::Invalid { what: "a token needs at least one method".into() });
        }
        if expires_s <= now_s || expires_s > now_s + LIFETIME_S_MAX {
            let what = "a token's end must lie ahead, and within ten years".into();
            return Err(WriteError::Invalid { what });
        }
        let crate::grant::Access::Owner(keys) = &held.access else {
            return Err(crate::Refusal::Forbidden { needs: "an access key" }.into());
        };
        let read = held.opener().and_then(|opener| opener.read_key(&held.address, held.chain.place.epoch));
        let token = self.sign_token(keys, &held.address, read, methods, expires_s)?;
        Ok(MintedToken { text: token.to_text().to_string(), jti: token.jti().to_owned(), expires_s })
    }

    /// A token by the holder of these keys, whose place the subject lies in.
    pub(crate) fn sign_token(
        &self,
        keys: &Keys,
        subject: &Address,
        read: Option<ReadKey>,
        methods: Methods,
        expires_s: u64,
    ) -> Result<Token, WriteError> {
        let mint = Mint { subject: subject.clone(), methods, expires_s, not_before_s: None, read };
        mint.sign(keys, self.random()).map_err(|error| WriteError::Invalid { what: error.to_string() })
    }
}
