//! Access keys and what is derived from them: seed, signing key, wrapping key, owner.
//!
//! A secret never leaves these types except through a method named `expose` or `to_text`; they are wiped on drop, compared in constant
//! time and do not print. Stretching a key that a person chose costs 19 MiB and tens of milliseconds: callers on a server limit how many
//! run at once.

use crate::clock::Random;
use crate::crypto::{Secret, Wrapped, sha256};
use crate::read_key::ReadKey;
use crate::seal::Unopened;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::BASE32_NOPAD;
use std::{fmt, str::FromStr, sync::Arc};
use thiserror::Error;
use zeroize::Zeroizing;

/// What the text of every generated access key begins with.
pub const ACCESS_KEY_PREFIX: &str = "jsfs_";

/// The longest access key that a person may choose, in bytes.
pub const CHOSEN_KEY_BYTES_MAX: usize = 1_024;

const CHECKSUM_BYTES: usize = 4;
const DID_KEY_PREFIX: &str = "did:key:z";
/// What multibase calls base32 in small letters.
const NAMED_BY_KEY: char = 'b';
const ED25519_MULTICODEC: [u8; 2] = [0xed, 0x01];
const STRETCH_MEMORY_KIB: u32 = 19_456;
const STRETCH_PASSES: u32 = 2;
const STRETCH_LANES: u32 = 1;

/// An Ed25519 signature.
pub type Signature = [u8; 64];

/// Why a text is no access key, or no owner. No message contains any part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Nothing at all.
    #[error("the access key is empty")]
    Empty,
    /// Longer than a chosen key may be.
    #[error("the access key has {length} bytes; at most {CHOSEN_KEY_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A generated key with a character that base58 does not have.
    #[error(
        "the access key begins with `jsfs_` but has a character that generated keys do not (no 0, O, I or l); \
         copy it again in full"
    )]
    NotBase58,
    /// A generated key that was cut off or has something added.
    #[error("the access key begins with `jsfs_` but is too short or too long; copy it again in full")]
    Length,
    /// A generated key with a typing error.
    #[error("the access key's checksum does not match: a character is wrong; copy it again")]
    Checksum,
    /// No `did:key` of an Ed25519 key.
    #[error("an owner is written as `did:key:z…` with an Ed25519 key")]
    Owner,
    /// There was no memory for stretching.
    #[error("there is not enough memory to stretch a typed access key (19 MiB); use the generated form")]
    Memory,
}

/// An access key as a person or program gives it: generated (it holds its seed) or chosen (it has yet to be stretched).
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Generated(Seed),
    Chosen(Chosen),
}

#[derive(Clone)]
struct Chosen(Zeroizing<String>);

impl PartialEq for Chosen {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_bytes(), other.0.as_bytes()).into()
    }
}

impl Eq for Chosen {}

impl AccessKey {
    /// A new key with 256 random bits.
    pub fn generate(random: &dyn Random) -> Self {
        Seed::generate(random).into()
    }

    /// Reads a key. A text that begins with `jsfs_` is a generated key or an error, never one that a person chose: a typing error must not
    /// become another key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.starts_with(ACCESS_KEY_PREFIX) {
            return Seed::parse(text).map(Self::from);
        }
        match text.len() {
            0 => Err(KeyError::Empty),
            length if length > CHOSEN_KEY_BYTES_MAX => Err(KeyError::TooLong { length }),
            _ => Ok(Self(Form::Chosen(Chosen(Zeroizing::new(text.to_owned()))))),
        }
    }

    /// The seed of a generated key; none for one that has to be stretched first.
    pub fn seed(&self) -> Option<&Seed> {
        match &self.0 {
            Form::Generated(seed) => Some(seed),
            Form::Chosen(_) => None,
        }
    }

    /// Whether a person chose this key, so that deriving from it is expensive.
    pub fn is_typed(&self) -> bool {
        self.seed().is_none()
    }

    /// What a cache of derived keys may file this key under in a namespace. As secret as the key.
    pub fn cache_id(&self, namespace: &str) -> [u8; 32] {
        let secret = match &self.0 {
            Form::Generated(seed) => seed.expose().as_slice(),
            Form::Chosen(chosen) => chosen.0.as_bytes(),
        };
        let form = [u8::from(self.is_typed())];
        sha256(&[b"jsfs/v1/cache", &form, namespace.as_bytes(), b"/", secret])
    }

    /// What follows from this key in a namespace. The cost is that of [`AccessKey::stretch`].
    pub fn keys(&self, namespace: &str) -> Result<Keys, KeyError> {
        Ok(self.stretch(namespace)?.keys())
    }

    /// The seed that this key has in a namespace (`com.example`). Free for generated keys; for chosen ones Argon2id with 19 MiB of memory,
    /// so the caller limits how many run at once.
    pub fn stretch(&self, namespace: &str) -> Result<Seed, KeyError> {
        let text = match &self.0 {
            Form::Generated(seed) => return Ok(seed.clone()),
            Form::Chosen(chosen) => &chosen.0,
        };
        let salt = sha256(&[b"jsfs/v1/argon2", namespace.as_bytes()]);
        let params = Params::new(STRETCH_MEMORY_KIB, STRETCH_PASSES, STRETCH_LANES, Some(32))
            .expect("the parameters are within Argon2's limits");
        let mut seed = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(text.as_bytes(), &salt, &mut *seed)
            .map_err(|_| KeyError::Memory)?;
        Ok(Seed::from_bytes(*seed))
    }
}

impl From<Seed> for AccessKey {
    fn from(seed: Seed) -> Self {
        Self(Form::Generated(seed))
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("AccessKey(secret)")
    }
}

/// The 32 secret bytes from which everything of an owner is derived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seed(Secret);

impl Seed {
    /// 256 random bits.
    pub fn generate(random: &dyn Random) -> Self {
        Self::from_bytes(random.bytes())
    }

    /// A seed from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The secret bytes, for sealing them elsewhere.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Reads the generated form, `jsfs_…`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let encoded = text.strip_prefix(ACCESS_KEY_PREFIX).ok_or(KeyError::Length)?;
        let mut bytes = Zeroizing::new([0; 32 + CHECKSUM_BYTES]);
        let length = bs58::decode(encoded).onto(&mut *bytes).map_err(|error| match error {
            bs58::decode::Error::BufferTooSmall => KeyError::Length,
            _ => KeyError::NotBase58,
        })?;
        if length != bytes.len() {
            return Err(KeyError::Length);
        }
        let (seed, checksum) = bytes.split_at(32);
        if checksum_of(seed) != checksum {
            return Err(KeyError::Checksum);
        }
        Ok(Self::from_bytes(seed.try_into().map_err(|_| KeyError::Length)?))
    }

    /// The generated form, for showing to the owner once.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; 32 + CHECKSUM_BYTES]);
        bytes[..32].copy_from_slice(self.expose());
        bytes[32..].copy_from_slice(&checksum_of(self.expose()));
        Zeroizing::new(format!("{ACCESS_KEY_PREFIX}{}", bs58::encode(&*bytes).into_string()))
    }

    /// The keys that follow from this seed.
    pub fn keys(&self) -> Keys {
        let signing = SigningKey::from_secret(self.0.hkdf(&[], "jsfs/v1/sign").expose());
        Keys { signing, wrapping: WrappingKey(self.0.hkdf(&[], "jsfs/v1/wrap")) }
    }
}

fn checksum_of(seed: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = sha256(&[b"jsfs/v1/access-key", seed]);
    std::array::from_fn(|index| hash[index])
}

/// What an access key's holder can do: sign, unwrap read roots, and be named as the owner.
#[derive(Clone, Debug)]
pub struct Keys {
    signing: SigningKey,
    wrapping: WrappingKey,
}

impl Keys {
    /// The public half, as records name it.
    pub fn owner(&self) -> Owner {
        Owner(self.signing.public())
    }

    /// Signs records, delegations and tokens.
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// Wraps and unwraps the read roots of places.
    pub fn wrapping(&self) -> &WrappingKey {
        &self.wrapping
    }

    /// Wraps the read root of a place for this owner.
    pub fn wrap_root(&self, root: &ReadKey) -> Wrapped {
        self.wrapping.0.wrap(&root.0)
    }

    /// The read root of a place that was wrapped for this owner.
    pub fn unwrap_root(&self, wrapped: &Wrapped) -> Result<ReadKey, Unopened> {
        self.wrapping.0.unwrap(wrapped).map(ReadKey).ok_or(Unopened)
    }
}

/// The key under which read roots are wrapped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrappingKey(Secret);

impl WrappingKey {
    /// The secret bytes, for test vectors.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// An Ed25519 key that signs: an owner's, a node's, or a token's ephemeral one. A clone shares the key.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Ed25519KeyPair>,
    public: PublicKey,
}

impl SigningKey {
    /// A random key.
    pub fn generate(random: &dyn Random) -> Self {
        Self::from_secret(&Zeroizing::new(random.bytes()))
    }

    /// The key whose 32 secret bytes (the seed of RFC 8032) are given.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(secret).expect("any 32 bytes are an Ed25519 secret");
        let public = pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        Self { pair: Arc::new(pair), public: PublicKey(public) }
    }

    /// The secret bytes, for keeping or handing on.
    pub fn expose_secret(&self) -> Zeroizing<[u8; 32]> {
        let bytes: Curve25519SeedBin<'_> =
            self.pair.seed().and_then(|seed| seed.as_be_bytes()).expect("an Ed25519 key has a seed");
        Zeroizing::new(bytes.as_ref().try_into().expect("an Ed25519 secret has 32 bytes"))
    }

    /// The key as PKCS #8, the form in which libraries take it.
    pub(crate) fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let document = self.pair.to_pkcs8v1().expect("an Ed25519 key has a PKCS #8 form");
        Zeroizing::new(document.as_ref().to_vec())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.pair.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SigningKey(of {})", self.public)
    }
}

/// The public half of an Ed25519 key; displays as `did:key:z…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// A public key from its bytes. Bytes that are no key verify nothing.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether a signature over a message was made by this key's secret half.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 34];
        bytes[..2].copy_from_slice(&ED25519_MULTICODEC);
        bytes[2..].copy_from_slice(&self.0);
        write!(out, "{DID_KEY_PREFIX}{}", bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let encoded = text.strip_prefix(DID_KEY_PREFIX).ok_or(KeyError::Owner)?;
        let mut bytes = [0; 34];
        match bs58::decode(encoded).onto(&mut bytes) {
            Ok(34) if bytes[..2] == ED25519_MULTICODEC => {
                Ok(Self(bytes[2..].try_into().map_err(|_| KeyError::Owner)?))
            }
            _ => Err(KeyError::Owner),
        }
    }
}

/// The public half of an access key's signing key: who owns something. Displays as `did:key:z…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(PublicKey);

impl Owner {
    /// An owner from the 32 bytes in a record.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(PublicKey(bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key that verifies what the owner signs.
    pub fn key(&self) -> PublicKey {
        self.0
    }

    /// The namespace that is this key's by its name, whoever says otherwise: `b` and the key in base32, which is its `did:key` in letters
    /// that a host name has, 56 of them.
    pub fn namespace(&self) -> String {
        let bytes = [&ED25519_MULTICODEC[..], self.as_bytes()].concat();
        let mut name = BASE32_NOPAD.encode(&bytes);
        name.make_ascii_lowercase();
        name.insert(0, NAMED_BY_KEY);
        name
    }

    /// The key that a namespace is named by; none if it has another kind of name.
    pub fn of_namespace(name: &str) -> Option<Self> {
        let text = name.strip_prefix(NAMED_BY_KEY)?.to_ascii_uppercase();
        let bytes = BASE32_NOPAD.decode(text.as_bytes()).ok()?;
        let owner = Self::from_bytes(bytes.strip_prefix(&ED25519_MULTICODEC)?.try_into().ok()?);
        (owner.namespace() == name).then_some(owner)
    }
}

impl From<PublicKey> for Owner {
    fn from(key: PublicKey) -> Self {
        Self(key)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

impl FromStr for Owner {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        text.parse().map(Self)
    }
}

impl serde::Serialize for Owner {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
