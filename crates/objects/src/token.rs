//! Tokens: what a key's holder lets somebody else do, as a JWT that any node can check.
//!
//! The first three parts are public: they go into records as proof. The fourth, where there is one, holds what the bearer needs and nobody
//! may publish. [`Token::parse`] checks the form alone; a token counts for nothing before [`Token::verify`].
//!
//! A claim that this program does not know is refused, not passed over: it could be a restriction.

use crate::address::{ADDRESS_BYTES_MAX, Address};
use crate::clock::Random;
use crate::key::{Keys, Owner, PublicKey, SigningKey};
use crate::read_key::ReadKey;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, dangerous};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// The longest token, in bytes of its text.
pub const TOKEN_BYTES_MAX: usize = 8_192;

/// The longest id of a token, in bytes.
pub const TOKEN_ID_BYTES_MAX: usize = 64;

/// Times past the year 9999 are mistakes.
const TIME_S_MAX: u64 = 253_402_300_799;

/// Why a token does not count. No message contains any part of the token but its times and subject.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Not the form of a token.
    #[error("the token is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// Not signed by the key that it names.
    #[error(
        "the token's signature is not that of the key which it names as its issuer; it was changed or cut off"
    )]
    Signature,
    /// Its time is over.
    #[error("the token expired at {expires_s} (s since 1970); ask its issuer for a new one")]
    Expired {
        /// When it expired.
        expires_s: u64,
    },
    /// Its time has not come.
    #[error("the token is not valid before {from_s} (s since 1970)")]
    NotYetValid {
        /// When it begins to be valid.
        from_s: u64,
    },
    /// It is about something else.
    #[error("the token is for {subject}, which does not cover this address")]
    Address {
        /// What it is for.
        subject: Address,
    },
    /// It does not grant this.
    #[error("the token does not grant {}", method.name())]
    Method {
        /// What it lacks.
        method: Method,
    },
}

/// What a token can grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// See bytes and properties.
    Get,
    /// See names.
    List,
    /// Follow changes.
    Watch,
    /// Create, replace, append, change properties.
    Put,
    /// Remove.
    Delete,
    /// Run.
    Execute,
}

impl Method {
    /// Every method, in the order in which tokens name them.
    pub const ALL: [Method; 6] =
        [Method::Get, Method::List, Method::Watch, Method::Put, Method::Delete, Method::Execute];

    /// As it stands in a token.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::List => "LIST",
            Method::Watch => "WATCH",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Execute => "EXECUTE",
        }
    }

    /// The method of a name, in any case.
    pub fn from_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name().eq_ignore_ascii_case(name))
    }
}

/// A set of methods.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Methods(u8);

impl Methods {
    /// Whether it is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a method is in it.
    pub fn contains(self, method: Method) -> bool {
        self.0 & Self::bit(method) != 0
    }

    /// This set and one more method.
    #[must_use]
    pub fn with(self, method: Method) -> Methods {
        Methods(self.0 | Self::bit(method))
    }

    /// The methods in it, in the order in which tokens name them.
    pub fn iter(self) -> impl Iterator<Item = Method> {
        Method::ALL.into_iter().filter(move |method| self.contains(*method))
    }

    /// Whether using it makes records, for which the bearer needs a key to sign with.
    pub fn writes(self) -> bool {
        self.contains(Method::Put) || self.contains(Method::Delete)
    }

    /// Whether using it needs the read key: anything but running and deleting does.
    pub fn reads(self) -> bool {
        self.iter().any(|method| !matches!(method, Method::Execute | Method::Delete))
    }

    fn bit(method: Method) -> u8 {
        1 << method as u8
    }
}

impl FromIterator<Method> for Methods {
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        methods.into_iter().fold(Methods::default(), Methods::with)
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter()).finish()
    }
}

/// What a token is to say.
#[derive(Clone, Debug)]
pub struct Mint {
    /// The address that it is for; everything below it, where it ends in `/`.
    pub subject: Address,
    /// What it grants; at least one method.
    pub methods: Methods,
    /// When it ends, s since 1970.
    pub expires_s: u64,
    /// When it begins, s since 1970.
    pub not_before_s: Option<u64>,
    /// The read key of `subject`. It is left out of tokens that only run or delete.
    pub read: Option<ReadKey>,
}

impl Mint {
    /// Makes the token, with a random id, and with an ephemeral key if it writes.
    pub fn sign(self, keys: &Keys, random: &dyn Random) -> Result<Token, TokenError> {
        let jti = BASE64URL.encode(random.bytes::<16>());
        let key = self.methods.writes().then(|| SigningKey::generate(random));
        let read = self.read.filter(|_| self.methods.reads());
        let claims = Claims {
            iss: keys.owner().to_string(),
            sub: self.subject.to_string(),
            methods: self.methods.iter().map(|method| method.name().to_owned()).collect(),
            exp: self.expires_s,
            nbf: self.not_before_s,
            iat: None,
            jti,
            cnf: key.as_ref().map(|key| Confirmation { jwk: Jwk::of(key.public()) }),
            opens: read.as_ref().map(|read| BASE64URL.encode(read.commitment())),
        };
        let public = encode(&claims, keys.signing())?;
        let secrets = Secrets { read, key };
        let token = Token::from_parts(public, claims, secrets)?;
        if token.to_text().len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed { what: TOO_LONG });
        }
        Ok(token)
    }
}

/// A token whose form was checked. Holds secrets where the text had a fourth part.
#[derive(Clone, Debug)]
pub struct Token {
    issuer: Owner,
    subject: Address,
    methods: Methods,
    expires_s: u64,
    not_before_s: Option<u64>,
    jti: String,
    confirmation: Option<PublicKey>,
    public: String,
    secrets: Secrets,
}

#[derive(Clone, Debug, Default)]
struct Secrets {
    read: Option<ReadKey>,
    key: Option<SigningKey>,
}

impl Token {
    /// Whether a text looks like a token rather than like an access key.
    pub fn is_likely(text: &str) -> bool {
        text.starts_with("eyJ") && matches!(text.split('.').count(), 3 | 4)
    }

    /// Reads a token of three or four parts. This checks its form, not its signature.
    pub fn parse(text: &str) -> Result<Token, TokenError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed { what: TOO_LONG });
        }
        let ends: Vec<usize> = text.match_indices('.').map(|(at, _)| at).collect();
        let (public, fourth) = match ends[..] {
            [_, _] => (text, None),
            [_, _, end] => (&text[..end], Some(&text[end + 1..])),
            _ => {
                return Err(TokenError::Malformed { what: "it has three parts, or four, with dots between" });
            }
        };
        let header = jsonwebtoken::decode_header(public);
        if header.ok() != Some(Header::new(Algorithm::EdDSA)) {
            return Err(TokenError::Malformed { what: r#"its header is not {"alg":"EdDSA","typ":"JWT"}"# });
        }
        let claims: Claims = dangerous::insecure_decode_claims(public)
            .map_err(|_| TokenError::Malformed { what: "its claims are not those of a JSFS token" })?;
        let secrets = fourth.map(Secrets::decode).transpose()?.unwrap_or_default();
        if fourth.is_some() && secrets.key.is_none() && claims.cnf.is_some() {
            return Err(TokenError::Malformed { what: "its fourth part lacks the key to sign with" });
        }
        Token::from_parts(public.to_owned(), claims, secrets)
    }

    fn from_parts(public: String, claims: Claims, secrets: Secrets) -> Result<Token, TokenError> {
        let malformed = |what| TokenError::Malformed { what };
        let methods = claims.methods()?;
        if claims.jti.is_empty()
            || claims.jti.len() > TOKEN_ID_BYTES_MAX
            || claims.jti.contains(char::is_control)
        {
            return Err(malformed("its jti does not have 1 to 64 bytes of text"));
        }
        if claims.exp > TIME_S_MAX || claims.nbf.is_some_and(|nbf| nbf >= claims.exp) {
            return Err(malformed("its times are out of order or range"));
        }
        if claims.sub.len() > ADDRESS_BYTES_MAX {
            return Err(malformed("its subject is too long"));
        }
        let confirmation = claims.cnf.as_ref().map(|cnf| cnf.jwk.key()).transpose()?;
        if methods.writes() != confirmation.is_some() {
            return Err(malformed("it names a key to sign with (cnf) exactly if it grants PUT or DELETE"));
        }
        if secrets.key.as_ref().is_some_and(|key| Some(key.public()) != confirmation) {
            return Err(malformed("the key in its fourth part is not the one that it names (cnf)"));
        }
        let opens = claims.opens.as_deref().map(decode_32).map(|bytes| {
            bytes
                .ok_or_else(|| malformed("what it says of its read key (opens) is not 32 bytes in base64url"))
        });
        let opens = opens.transpose()?;
        if opens.is_some() && !methods.reads() {
            return Err(malformed(
                "it speaks of a read key (opens), which a token that only deletes or runs has not",
            ));
        }
        if secrets.read.as_ref().is_some_and(|read| opens.as_deref() != Some(&read.commitment())) {
            return Err(malformed(
                "the read key in its fourth part is not the one that it was made with (opens)",
            ));
        }
        Ok(Token {
            issuer: claims
                .iss
                .parse()
                .map_err(|_| malformed("its issuer is not a did:key of an Ed25519 key"))?,
            subject: Address::parse_exact(&claims.sub)
                .map_err(|_| malformed("its subject is not an address in its normal form"))?,
            methods,
            expires_s: claims.exp,
            not_before_s: claims.nbf,
            jti: claims.jti,
            confirmation,
            public,
            secrets,
        })
    }

    /// Whether the issuer signed it, and now (s since 1970) lies within its time.
    pub fn verify(&self, now_s: u64) -> Result<(), TokenError> {
        self.verify_signature()?;
        self.check_time(now_s)
    }

    /// Whether the issuer signed it.
    pub fn verify_signature(&self) -> Result<(), TokenError> {
        let (message, signature) = self.public.rsplit_once('.').ok_or(TokenError::Signature)?;
        let key = DecodingKey::from_ed_der(self.issuer.as_bytes());
        match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, Algorithm::EdDSA) {
            Ok(true) => Ok(()),
            _ => Err(TokenError::Signature),
        }
    }

    /// Whether a time (s since 1970) lies within its own: from its beginning on, before its end.
    pub fn check_time(&self, now_s: u64) -> Result<(), TokenError> {
        match self.not_before_s {
            Some(from_s) if now_s < from_s => Err(TokenError::NotYetValid { from_s }),
            _ if now_s >= self.expires_s => Err(TokenError::Expired { expires_s: self.expires_s }),
            _ => Ok(()),
        }
    }

    /// Whether its subject covers an address. No place may lie between the two, which the caller knows.
    pub fn covers(&self, address: &Address) -> bool {
        address.starts_with(&self.subject)
    }

    /// Whether it grants a method at an address, going by what it says.
    pub fn check_grant(&self, method: Method, address: &Address) -> Result<(), TokenError> {
        if !self.covers(address) {
            return Err(TokenError::Address { subject: self.subject.clone() });
        }
        if self.methods.contains(method) { Ok(()) } else { Err(TokenError::Method { method }) }
    }

    /// Whose key made it.
    pub fn issuer(&self) -> Owner {
        self.issuer
    }

    /// The address that it is for, or the directory below which it holds.
    pub fn subject(&self) -> &Address {
        &self.subject
    }

    /// What it grants.
    pub fn methods(&self) -> Methods {
        self.methods
    }

    /// When it ends, s since 1970.
    pub fn expires_s(&self) -> u64 {
        self.expires_s
    }

    /// When it begins, s since 1970.
    pub fn not_before_s(&self) -> Option<u64> {
        self.not_before_s
    }

    /// Its id, by which it is revoked.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// The key that signs what it writes.
    pub fn confirmation(&self) -> Option<PublicKey> {
        self.confirmation
    }

    /// The three parts that may be published.
    pub fn public_text(&self) -> &str {
        &self.public
    }

    /// The read key of its subject, if the fourth part came with it.
    pub fn read_key(&self) -> Option<&ReadKey> {
        self.secrets.read.as_ref()
    }

    /// The secret half of the key that signs what it writes, if the fourth part came with it.
    pub fn sign_key(&self) -> Option<&SigningKey> {
        self.secrets.key.as_ref()
    }

    /// The whole text, with the fourth part where there is one: for the bearer alone.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(self.public.clone());
        if let Some(fourth) = self.secrets.encode() {
            text.push('.');
            text.push_str(&fourth);
        }
        text
    }
}

const TOO_LONG: &str = "it is longer than 8,192 bytes";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    sub: String,
    methods: Vec<String>,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    /// Many libraries add it; nothing follows from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    /// What the read key of the fourth part must be: else a bearer could seal what it writes under a key that its owner does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    opens: Option<String>,
}

impl Claims {
    fn methods(&self) -> Result<Methods, TokenError> {
        let mut methods = Methods::default();
        for name in &self.methods {
            let method = Method::ALL.into_iter().find(|method| method.name() == name);
            let method =
                method.ok_or(TokenError::Malformed { what: "it names a method that does not exist" })?;
            if methods.contains(method) {
                return Err(TokenError::Malformed { what: "it names a method twice" });
            }
            methods = methods.with(method);
        }
        if methods.is_empty() {
            Err(TokenError::Malformed { what: "it grants nothing" })
        } else {
            Ok(methods)
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    jwk: Jwk,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
}

impl Jwk {
    fn of(key: PublicKey) -> Self {
        Self { kty: "OKP".into(), crv: "Ed25519".into(), x: BASE64URL.encode(key.as_bytes()) }
    }

    fn key(&self) -> Result<PublicKey, TokenError> {
        let bytes = decode_32(&self.x).filter(|_| self.kty == "OKP" && self.crv == "Ed25519");
        bytes
            .map(|bytes| PublicKey::from_bytes(*bytes))
            .ok_or(TokenError::Malformed { what: "the key that it names (cnf) is not an Ed25519 key" })
    }
}

#[derive(Serialize, Deserialize, Zeroize)]
#[serde(deny_unknown_fields)]
#[zeroize(drop)]
struct SecretText {
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl Secrets {
    fn decode(fourth: &str) -> Result<Self, TokenError> {
        let malformed =
            || TokenError::Malformed { what: "its fourth part is not what a token carries there" };
        let json = Zeroizing::new(BASE64URL.decode(fourth).map_err(|_| malformed())?);
        let text: SecretText = serde_json::from_slice(&json).map_err(|_| malformed())?;
        let secret = |text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => decode_32(text).map(Some).ok_or_else(malformed),
        };
        Ok(Self {
            read: secret(&text.read)?.map(|bytes| ReadKey::from_bytes(*bytes)),
            key: secret(&text.key)?.map(|bytes| SigningKey::from_secret(&bytes)),
        })
    }

    fn encode(&self) -> Option<Zeroizing<String>> {
        let text = SecretText {
            read: self.read.as_ref().map(|key| BASE64URL.encode(key.expose())),
            key: self.key.as_ref().map(|key| BASE64URL.encode(key.expose_secret().as_slice())),
        };
        if text.read.is_none() && text.key.is_none() {
            return None;
        }
        let json = Zeroizing::new(serde_json::to_vec(&text).ok()?);
        Some(Zeroizing::new(BASE64URL.encode(&*json)))
    }
}

fn decode_32(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(BASE64URL.decode(text).ok()?);
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

fn encode(claims: &Claims, key: &SigningKey) -> Result<String, TokenError> {
    let header = Header::new(Algorithm::EdDSA);
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(&key.to_pkcs8()))
        .map_err(|_| TokenError::Malformed { what: "it could not be signed" })
}
