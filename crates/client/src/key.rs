//! Access keys as `docs/formats.md` freezes them: the generated form, strings chosen by a person, and the owner that a key gives.
//!
//! Invariants: secrets have no printing `Debug` and are wiped on drop; a string chosen by a person is stretched here, so that it
//! never leaves this machine.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use std::fmt;
use zeroize::Zeroizing;

const PREFIX: &str = "jsfs_";
const SEED_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;
const CHOSEN_BYTES_MAX: usize = 1_024;

/// Why a text is no key, or a key could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Begins with `jsfs_` but its checksum does not fit.
    #[error("the access key begins with jsfs_ but its checksum is wrong: a character is missing or mistyped")]
    Checksum,
    /// Empty or longer than 1,024 bytes.
    #[error("an access key has 1 to 1024 bytes")]
    Length,
    /// The credential cannot be sent in a header.
    #[error("an access token has letters, digits, '-', '_' and dots only; copy it again")]
    Token,
    /// The system's random source or a primitive failed.
    #[error("the system could not provide randomness or memory for a key; try again")]
    System,
}

/// A generated access key: 32 random bytes and their text form.
#[derive(Clone)]
pub struct AccessKey {
    seed: Zeroizing<[u8; SEED_BYTES]>,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKey(…)")
    }
}

impl AccessKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`KeyError::System`] where the system has no randomness.
    pub fn generate() -> Result<AccessKey, KeyError> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        rand::fill(seed.as_mut()).map_err(|_| KeyError::System)?;
        Ok(AccessKey { seed })
    }

    /// The key of its text form, `jsfs_…`.
    ///
    /// # Errors
    /// [`KeyError::Checksum`] where the text was not made by [`AccessKey::text`].
    pub fn parse(text: &str) -> Result<AccessKey, KeyError> {
        let body = text.strip_prefix(PREFIX).ok_or(KeyError::Checksum)?;
        let mut bytes = Zeroizing::new([0; SEED_BYTES + CHECK_BYTES]);
        let length = bs58::decode(body).onto(bytes.as_mut_slice()).map_err(|_| KeyError::Checksum)?;
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        seed.copy_from_slice(&bytes[..SEED_BYTES]);
        if length != bytes.len() || bytes[SEED_BYTES..] != checksum(&seed) {
            return Err(KeyError::Checksum);
        }
        Ok(AccessKey { seed })
    }

    /// The key of a string chosen by a person, for one namespace: Argon2id, about 30 ms and 19 MiB.
    ///
    /// # Errors
    /// [`KeyError::Length`] for strings that are empty or longer than 1,024 bytes, [`KeyError::System`] without memory.
    pub fn stretch(chosen: &str, namespace: &str) -> Result<AccessKey, KeyError> {
        if chosen.is_empty() || chosen.len() > CHOSEN_BYTES_MAX {
            return Err(KeyError::Length);
        }
        let mut salt = Context::new(&SHA256);
        salt.update(b"jsfs/v1/argon2");
        salt.update(namespace.as_bytes());
        let params = Params::new(19_456, 2, 1, Some(SEED_BYTES)).map_err(|_| KeyError::System)?;
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(chosen.as_bytes(), salt.finish().as_ref(), seed.as_mut())
            .map_err(|_| KeyError::System)?;
        Ok(AccessKey { seed })
    }

    /// The text form, `jsfs_…`. Secret.
    pub fn text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; SEED_BYTES + CHECK_BYTES]);
        bytes[..SEED_BYTES].copy_from_slice(self.seed.as_ref());
        bytes[SEED_BYTES..].copy_from_slice(&checksum(&self.seed));
        Zeroizing::new(format!("{PREFIX}{}", bs58::encode(bytes.as_slice()).into_string()))
    }

    /// The public half as `did:key:z…`: what records name as their owner.
    ///
    /// # Errors
    /// [`KeyError::System`] where the primitive fails, which it does for no seed.
    pub fn owner(&self) -> Result<String, KeyError> {
        let secret = self.derive(b"jsfs/v1/sign")?;
        let pair = Ed25519KeyPair::from_seed_unchecked(secret.as_ref()).map_err(|_| KeyError::System)?;
        let mut bytes = vec![0xed, 0x01];
        bytes.extend_from_slice(pair.public_key().as_ref());
        Ok(format!("did:key:z{}", bs58::encode(bytes).into_string()))
    }

    fn derive(&self, label: &[u8]) -> Result<Zeroizing<[u8; SEED_BYTES]>, KeyError> {
        let mut out = Zeroizing::new([0; SEED_BYTES]);
        Salt::new(HKDF_SHA256, &[])
            .extract(self.seed.as_ref())
            .expand(&[label], Length)
            .and_then(|okm| okm.fill(out.as_mut()))
            .map_err(|_| KeyError::System)?;
        Ok(out)
    }
}

/// The length that HKDF is asked for.
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        SEED_BYTES
    }
}

fn checksum(seed: &[u8; SEED_BYTES]) -> [u8; CHECK_BYTES] {
    let mut hash = Context::new(&SHA256);
    hash.update(b"jsfs/v1/access-key");
    hash.update(seed);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash.finish().as_ref()[..CHECK_BYTES]);
    check
}

/// What a request proves itself with.
#[derive(Clone)]
pub enum Credential {
    /// A generated key.
    Key(AccessKey),
    /// A string chosen by a person; stretched for the namespace of each request.
    Chosen(Zeroizing<String>),
    /// A token, with its fourth part where it has one.
    Token(Zeroizing<String>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Key(_) => "Key(…)",
            Credential::Chosen(_) => "Chosen(…)",
            Credential::Token(_) => "Token(…)",
        })
    }
}

impl Credential {
    /// A key as a person gives it: generated (`jsfs_…`) or chosen.
    ///
    /// # Errors
    /// [`KeyError`] for mistyped generated keys and impossible lengths.
    pub fn key(text: &str) -> Result<Credential, KeyError> {
        if text.starts_with(PREFIX) {
            return AccessKey::parse(text).map(Credential::Key);
        }
        if text.is_empty() || text.len() > CHOSEN_BYTES_MAX {
            return Err(KeyError::Length);
        }
        Ok(Credential::Chosen(Zeroizing::new(text.to_owned())))
    }

    /// A token.
    ///
    /// # Errors
    /// [`KeyError::Token`] where the text cannot be one.
    pub fn token(text: &str) -> Result<Credential, KeyError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(KeyError::Token);
        }
        Ok(Credential::Token(Zeroizing::new(text.to_owned())))
    }

    /// A key or a token, told apart by its form: a JWT has three or four parts and begins with `eyJ`.
    ///
    /// # Errors
    /// As [`Credential::key`] and [`Credential::token`].
    pub fn parse(text: &str) -> Result<Credential, KeyError> {
        if text.starts_with("eyJ") && matches!(text.split('.').count(), 3 | 4) {
            return Credential::token(text);
        }
        Credential::key(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_text_form_and_a_typing_error_is_caught() {
        let key = AccessKey::generate().unwrap();
        let text = key.text();
        assert!(text.starts_with("jsfs_"));
        assert_eq!(AccessKey::parse(&text).unwrap().seed, key.seed);
        for position in 5..text.len() {
            let mut wrong = text.as_bytes().to_vec();
            wrong[position] = if wrong[position] == b'A' { b'B' } else { b'A' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(AccessKey::parse(&wrong).unwrap_err(), KeyError::Checksum, "position {position}");
        }
        assert!(AccessKey::parse(&text[..text.len() - 1]).is_err());
    }

    #[test]
    fn a_chosen_key_differs_by_namespace() {
        let one = AccessKey::stretch("correct horse", "com.example").unwrap();
        assert_eq!(one.seed, AccessKey::stretch("correct horse", "com.example").unwrap().seed);
        assert_ne!(one.seed, AccessKey::stretch("correct horse", "localhost").unwrap().seed);
        assert_eq!(AccessKey::stretch("", "localhost").unwrap_err(), KeyError::Length);
    }

    #[test]
    fn credentials_are_told_apart_and_never_printed() {
        assert!(matches!(Credential::parse("eyJhbGciOiJFZERTQSJ9.e.s.x").unwrap(), Credential::Token(_)));
        assert!(matches!(Credential::parse("my secret").unwrap(), Credential::Chosen(_)));
        assert_eq!(Credential::parse("jsfs_nonsense").unwrap_err(), KeyError::Checksum);
        assert_eq!(format!("{:?}", Credential::parse("my secret").unwrap()), "Chosen(…)");
        assert!(Credential::token("a b\r\nx: y").is_err());
    }

    #[test]
    fn the_owner_is_a_did_key_of_ed25519() {
        let owner = AccessKey::generate().unwrap().owner().unwrap();
        assert!(owner.starts_with("did:key:z6Mk"), "{owner}");
    }
}
