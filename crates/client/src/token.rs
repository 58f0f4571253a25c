//! Access tokens: made by the node from the key of the request, and revoked in the directory's policy.

use crate::address::Address;
use crate::error::Error;
use crate::transport::{Call, Client};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A token to be made.
#[derive(Debug, Clone, Serialize)]
pub struct TokenRequest {
    /// The object, or the directory with all below it.
    #[serde(serialize_with = "as_text")]
    pub address: Address,
    /// What it allows: `GET`, `LIST`, `WATCH`, `PUT`, `DELETE`, `EXECUTE`.
    pub methods: Vec<String>,
    /// How long, in seconds.
    pub expires_in: u64,
}

/// A token made. Holds a secret: no printing `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Token {
    /// The token's text. Secret.
    pub token: String,
    /// What `revoke` takes.
    pub jti: String,
    /// What it is for.
    #[serde(default)]
    pub address: String,
    /// What it allows.
    #[serde(default)]
    pub methods: Vec<String>,
    /// A link that carries the token. Secret.
    #[serde(default)]
    pub url: String,
    /// Everything else that the node said, `expires` among it.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A link for one browser. Holds a secret: no printing `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Opening {
    /// The link. Secret.
    pub url: String,
    /// What it opens.
    #[serde(default)]
    pub address: String,
    /// Everything else that the node said, `expires` among it.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening").field("address", &self.address).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("jti", &self.jti)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// What a token's text says about itself: `sub`, `jti` and `exp`, unverified. `None` where the text is no token.
pub fn token_claims(token: &str) -> Option<(String, String, u64)> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
        jti: String,
        exp: u64,
    }
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_)) = (parts.next(), parts.next(), parts.next()) else { return None };
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some((claims.sub, claims.jti, claims.exp))
}

fn as_text<S: serde::Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}

impl Client {
    /// Makes a token; the request must carry the key that owns the address.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn make_token(&self, request: &TokenRequest) -> Result<Token, Error> {
        let subject = request.address.to_string();
        let call = Call::new(Method::POST, "/.jsfs/tokens".into(), subject, request.address.namespace());
        self.send_json(call.json(request)).await
    }

    /// Makes a link that opens an address in one browser, for so many seconds. It works once, and for a minute.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn make_opening(&self, address: &Address, lifetime_s: u64) -> Result<Opening, Error> {
        let body = serde_json::json!({ "address": address.to_string(), "expires_in": lifetime_s });
        let call =
            Call::new(Method::POST, "/.jsfs/openings".into(), address.to_string(), address.namespace());
        self.send_json(call.json(&body)).await
    }

    /// Makes a link that shows the node's status in one browser, for so many seconds. It works once, and for a minute; it needs the root key.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn make_status_opening(&self, lifetime_s: u64) -> Result<Opening, Error> {
        let body = serde_json::json!({ "status": true, "expires_in": lifetime_s });
        let subject = "the node's status".to_owned();
        let call = Call::new(Method::POST, "/.jsfs/openings".into(), subject, "localhost");
        self.send_json(call.json(&body)).await
    }

    /// Revokes a token by its `jti`; `expires` (seconds since 1970) says until when the revocation must be kept.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke(&self, address: &Address, jti: &str, expires: Option<u64>) -> Result<(), Error> {
        let mut body = serde_json::json!({ "address": address.to_string(), "jti": jti });
        if let Some(expires) = expires {
            body["expires"] = expires.into();
        }
        let subject = format!("token {jti} for {address}");
        let call = Call::new(Method::POST, "/.jsfs/revocations".into(), subject, address.namespace());
        self.send_empty(call.json(&body)).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_it_is_for() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"/localhost/a/","jti":"abc","exp":9,"iss":"x"}"#);
        let text = format!("eyJ.{claims}.sig.secret");
        assert_eq!(token_claims(&text).unwrap(), ("/localhost/a/".to_owned(), "abc".to_owned(), 9));
        for text in ["abc", "a.b.c", "eyJ..x"] {
            assert!(token_claims(text).is_none(), "{text}");
        }
    }
}
