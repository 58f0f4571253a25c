//! The primitives that the formats are made of, bound to the sizes that the formats use. Every one comes from a library.
//!
//! Secrets live in [`Secret`]: wiped on drop, compared in constant time, never printed.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use aws_lc_rs::{digest, hkdf, hmac};
use sha2::Digest;
use sha2::digest::common::hazmat::SerializableState;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The length of a 32-byte key wrapped by AES-KW.
pub const WRAPPED_BYTES: usize = 40;

/// A 32-byte key wrapped by AES-KW (RFC 3394).
pub type Wrapped = [u8; WRAPPED_BYTES];

/// 32 secret bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// HMAC-SHA256 keyed with this secret.
    pub(crate) fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        parts.iter().for_each(|part| context.update(part));
        array(context.sign().as_ref())
    }

    /// HKDF-SHA256 of this secret, 32 bytes.
    pub(crate) fn hkdf(&self, salt: &[u8], info: &str) -> Secret {
        let mut out = Secret([0; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
            .extract(&self.0)
            .expand(&[info.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut out.0))
            .expect("32 bytes are a valid length for HKDF");
        out
    }

    /// AES-KW of another secret under this one.
    pub(crate) fn wrap(&self, key: &Secret) -> Wrapped {
        let mut out = [0; WRAPPED_BYTES];
        AesKek::new(&AES_256, &self.0)
            .and_then(|kek| kek.wrap(&key.0, &mut out).map(|_| ()))
            .expect("32-byte keys are valid for AES-KW");
        out
    }

    /// The secret that was wrapped under this one; none if it was another or the bytes are damaged.
    pub(crate) fn unwrap(&self, wrapped: &Wrapped) -> Option<Secret> {
        let mut out = Secret([0; 32]);
        let kek = AesKek::new(&AES_256, &self.0).ok()?;
        kek.unwrap(wrapped, &mut out.0).ok()?;
        Some(out)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(secret)")
    }
}

/// SHA-256 of the parts, joined.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    array(context.finish().as_ref())
}

/// A SHA-256 under way.
pub(crate) enum RunningSha256 {
    /// Of a body that comes in one request.
    Whole(digest::Context),
    /// Of one that can be put away and taken up again, which aws-lc's context cannot. The other way, reading the stored bytes once more at the
    /// end, makes whoever sent the last byte wait for as long as all of them take (`docs/decisions/0005-tus-for-resumable-uploads.md` has the numbers).
    Resumable(sha2::Sha256),
}

impl RunningSha256 {
    pub(crate) fn whole() -> Self {
        Self::Whole(digest::Context::new(&digest::SHA256))
    }

    pub(crate) fn resumable() -> Self {
        Self::Resumable(sha2::Sha256::new())
    }

    /// Takes up what [`RunningSha256::state`] put away; none if it is no such state.
    pub(crate) fn of_state(state: &[u8]) -> Option<Self> {
        sha2::Sha256::deserialize(state.try_into().ok()?).ok().map(Self::Resumable)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Whole(context) => context.update(bytes),
            Self::Resumable(hasher) => Digest::update(hasher, bytes),
        }
    }

    pub(crate) fn finish(&self) -> [u8; 32] {
        match self {
            Self::Whole(context) => array(context.clone().finish().as_ref()),
            Self::Resumable(hasher) => hasher.clone().finalize().into(),
        }
    }

    /// Its state, which may hold the last bytes in the clear; empty where it cannot be put away.
    pub(crate) fn state(&self) -> Vec<u8> {
        match self {
            Self::Whole(_) => Vec::new(),
            Self::Resumable(hasher) => hasher.serialize().to_vec(),
        }
    }
}

/// BLAKE3 of the parts, joined.
pub(crate) fn blake3(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

fn array(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::{RunningSha256, Secret, array, sha256};

    #[test]
    fn a_wrapped_key_opens_under_its_own_key_only() {
        let (one, two, key) = (Secret::new([1; 32]), Secret::new([2; 32]), Secret::new([3; 32]));
        let wrapped = one.wrap(&key);
        assert_eq!(one.unwrap(&wrapped), Some(key));
        assert_eq!(two.unwrap(&wrapped), None);
        for index in 0..wrapped.len() {
            let mut damaged = wrapped;
            damaged[index] ^= 1;
            assert_eq!(one.unwrap(&damaged), None);
        }
    }

    #[test]
    fn key_wrapping_is_rfc_3394() {
        let kek: Vec<u8> = (0..32).collect();
        let key: Vec<u8> = (0..16).map(|byte| byte * 0x11).chain(0..16).collect();
        let expected = "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21";
        let wrapped = Secret::new(array(&kek)).wrap(&Secret::new(array(&key)));
        assert_eq!(wrapped.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
    }

    #[test]
    fn a_hash_that_was_put_away_goes_on_as_if_it_had_not_been() {
        let bytes: Vec<u8> = (0..1_000_u32).map(|at| (at % 251) as u8).collect();
        for cut in [0, 1, 63, 64, 65, 999, 1_000] {
            let mut first = RunningSha256::resumable();
            first.update(&bytes[..cut]);
            let mut second = RunningSha256::of_state(&first.state()).expect("a state");
            second.update(&bytes[cut..]);
            assert_eq!(second.finish(), sha256(&[&bytes]), "{cut}");
        }
        assert!(RunningSha256::of_state(&[0; 7]).is_none());
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Secret::new([7; 32])), "(secret)");
    }
}
