//! Hashes (FIPS 180-4) and HMAC (FIPS 198-1).

use ::hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{Failure, Hash, Output, Params, given, truth};

/// Evaluates an expression with a type alias for the hash that was asked for.
macro_rules! with_hash {
    ($hash:expr, $alias:ident => $body:expr) => {
        match $hash {
            super::Hash::Sha1 => {
                type $alias = ::sha1::Sha1;
                $body
            }
            super::Hash::Sha256 => {
                type $alias = ::sha2::Sha256;
                $body
            }
            super::Hash::Sha384 => {
                type $alias = ::sha2::Sha384;
                $body
            }
            super::Hash::Sha512 => {
                type $alias = ::sha2::Sha512;
                $body
            }
        }
    };
}
pub(super) use with_hash;

impl Hash {
    pub(super) fn of(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha384 => Sha384::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    /// The bytes of its results.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

pub(super) fn digest(params: &Params, [data]: [&[u8]; 1]) -> Result<Output, Failure> {
    Ok(Output::Bytes(given(params.hash, "hash")?.of(data)))
}

pub(super) fn hmac_sign(params: &Params, [key, data]: [&[u8]; 2]) -> Result<Output, Failure> {
    with_hash!(given(params.hash, "hash")?, D => {
        Ok(Output::Bytes(keyed::<Hmac<D>>(key, data)?.finalize().into_bytes().to_vec()))
    })
}

pub(super) fn hmac_verify(params: &Params, [key, signature, data]: [&[u8]; 3]) -> Result<Output, Failure> {
    with_hash!(given(params.hash, "hash")?, D => {
        Ok(truth(keyed::<Hmac<D>>(key, data)?.verify_slice(signature).is_ok()))
    })
}

fn keyed<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Result<M, Failure> {
    let mut mac =
        <M as KeyInit>::new_from_slice(key).map_err(|_| Failure::operation("the key has another length"))?;
    mac.update(data);
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bytes, hex, text};

    #[test]
    fn hashes_are_those_of_fips_180() {
        let of = |hash: &str| bytes("digest", &format!(r#"{{"hash":"{hash}"}}"#), &[b"abc"]);
        assert_eq!(of("SHA-1"), hex("a9993e364706816aba3e25717850c26c9cd0d89d"));
        assert_eq!(of("SHA-256"), hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
        assert!(of("SHA-384").starts_with(&hex("cb00753f45a35e8bb5a03d699ac65007")));
        assert!(of("SHA-512").starts_with(&hex("ddaf35a193617abacc417349ae204131")));
    }

    #[test]
    fn hmac_is_that_of_rfc_4231_and_verifies_only_itself() {
        let params = r#"{"hash":"SHA-256"}"#;
        let signature = bytes("hmac.sign", params, &[b"Jefe", b"what do ya want for nothing?"]);
        assert_eq!(signature, hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
        let verify = |signature: &[u8], data: &[u8]| text("hmac.verify", params, &[b"Jefe", signature, data]);
        assert_eq!(verify(&signature, b"what do ya want for nothing?"), "true");
        assert_eq!(verify(&signature, b"what do ya want for something?"), "false");
        assert_eq!(verify(&signature[..31], b"what do ya want for nothing?"), "false");
    }
}
