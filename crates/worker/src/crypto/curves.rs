//! ECDSA (FIPS 186-5) and ECDH (SP 800-56A) with the curves P-256, P-384 and P-521.
//!
//! A public key is the point, uncompressed (SEC 1, section 2.3.3); a private key is the scalar and then the point. Signatures are
//! deterministic (RFC 6979), and written as r and s of the same length, one after the other.

use super::{Curve, Failure, Format, Hash, Output, Params, expect, generator, given, truth};

type Bytes = Result<Vec<u8>, Failure>;

/// What can be done with a curve; one implementation each.
struct Operations {
    generate: fn(&[u8]) -> Bytes,
    import: fn(Format, &[&[u8]]) -> Bytes,
    export: fn(Format, &[u8]) -> Bytes,
    derive: fn(&[u8], &[u8]) -> Bytes,
    sign: fn(&[u8], Hash, &[u8]) -> Bytes,
    verify: Verify,
}

type Verify = fn(&[u8], &[u8], Hash, &[u8]) -> Result<bool, Failure>;

impl Curve {
    fn operations(self) -> Result<Operations, Failure> {
        match self {
            Self::P256 => Ok(p256::OPERATIONS),
            Self::P384 => Ok(p384::OPERATIONS),
            Self::P521 => Ok(p521::OPERATIONS),
            Self::Ed25519 | Self::X25519 => Err(Failure::type_error("the curve is none of NIST's")),
        }
    }
}

fn operations(params: &Params) -> Result<Operations, Failure> {
    given(params.curve, "curve")?.operations()
}

pub(super) fn generate(params: &Params, [seed]: [&[u8]; 1]) -> Result<Output, Failure> {
    (operations(params)?.generate)(seed).map(Output::Bytes)
}

pub(super) fn import(params: &Params, buffers: &[&[u8]]) -> Result<Output, Failure> {
    (operations(params)?.import)(given(params.format, "format")?, buffers).map(Output::Bytes)
}

pub(super) fn export(params: &Params, [key]: [&[u8]; 1]) -> Result<Output, Failure> {
    (operations(params)?.export)(given(params.format, "format")?, key).map(Output::Bytes)
}

pub(super) fn derive(params: &Params, [private, public]: [&[u8]; 2]) -> Result<Output, Failure> {
    (operations(params)?.derive)(private, public).map(Output::Bytes)
}

pub(super) fn sign(params: &Params, [private, data]: [&[u8]; 2]) -> Result<Output, Failure> {
    (operations(params)?.sign)(private, given(params.hash, "hash")?, data).map(Output::Bytes)
}

pub(super) fn verify(params: &Params, [public, signature, data]: [&[u8]; 3]) -> Result<Output, Failure> {
    (operations(params)?.verify)(public, signature, given(params.hash, "hash")?, data).map(truth)
}

fn no_key() -> Failure {
    Failure::data("the data is no key of this curve")
}

macro_rules! curve {
    ($name:ident, $field_bytes:literal) => {
        mod $name {
            use ::$name::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
            use ::$name::ecdsa::{Signature, SigningKey, VerifyingKey};
            use ::$name::elliptic_curve::Generate;
            use ::$name::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
            use ::$name::{PublicKey, SecretKey};

            use super::{Failure, Format, Hash, Operations, expect, generator, no_key};

            const FIELD_BYTES: usize = $field_bytes;

            pub(super) const OPERATIONS: Operations =
                Operations { generate, import, export, derive, sign, verify };

            fn generate(seed: &[u8]) -> Result<Vec<u8>, Failure> {
                Ok(private_material(&SecretKey::generate_from_rng(&mut generator(seed)?)))
            }

            fn private_material(key: &SecretKey) -> Vec<u8> {
                let mut material = key.to_bytes().to_vec();
                material.extend_from_slice(&public_material(&key.public_key()));
                material
            }

            fn public_material(key: &PublicKey) -> Vec<u8> {
                key.to_sec1_bytes().into_vec()
            }

            fn private_key(material: &[u8]) -> Result<SecretKey, Failure> {
                SecretKey::from_slice(material.get(..FIELD_BYTES).ok_or_else(no_key)?).map_err(|_| no_key())
            }

            fn public_key(point: &[u8]) -> Result<PublicKey, Failure> {
                // The library also knows a form of its own, which has another first byte.
                if !matches!(point.first(), Some(2..=4)) {
                    return Err(no_key());
                }
                PublicKey::from_sec1_bytes(point).map_err(|_| no_key())
            }

            fn import(format: Format, buffers: &[&[u8]]) -> Result<Vec<u8>, Failure> {
                if format == Format::Jwk {
                    return import_numbers(buffers);
                }
                let [data] = expect(buffers)?;
                match format {
                    Format::Pkcs8 => {
                        Ok(private_material(&SecretKey::from_pkcs8_der(data).map_err(|_| no_key())?))
                    }
                    Format::Spki => {
                        Ok(public_material(&PublicKey::from_public_key_der(data).map_err(|_| no_key())?))
                    }
                    _ => Ok(public_material(&public_key(data)?)),
                }
            }

            fn import_numbers(buffers: &[&[u8]]) -> Result<Vec<u8>, Failure> {
                if buffers.iter().any(|number| number.len() != FIELD_BYTES) {
                    return Err(no_key());
                }
                let coordinates = buffers.get(..2).ok_or_else(no_key)?;
                let public = public_key(&[&[4], coordinates[0], coordinates[1]].concat())?;
                let Some(scalar) = buffers.get(2) else { return Ok(public_material(&public)) };
                let private = private_key(scalar)?;
                if private.public_key() != public {
                    return Err(Failure::data("the private key and the public key do not belong together"));
                }
                Ok(private_material(&private))
            }

            fn export(format: Format, material: &[u8]) -> Result<Vec<u8>, Failure> {
                let refused = |_| Failure::operation("the key cannot be written so");
                match format {
                    Format::Pkcs8 => {
                        Ok(private_key(material)?.to_pkcs8_der().map_err(refused)?.as_bytes().to_vec())
                    }
                    Format::Spki => {
                        Ok(public_key(material)?.to_public_key_der().map_err(|_| no_key())?.into_vec())
                    }
                    _ => Err(Failure::not_supported("a key is exported as spki or pkcs8")),
                }
            }

            fn derive(private: &[u8], public: &[u8]) -> Result<Vec<u8>, Failure> {
                let secret = private_key(private)?.diffie_hellman(&public_key(public)?);
                Ok(secret.raw_secret_bytes().to_vec())
            }

            /// The hash as the number that is signed: with zeros before it where it is shorter than the curve's field.
            fn prehash(hash: Hash, data: &[u8]) -> Vec<u8> {
                let digest = hash.of(data);
                let mut number = vec![0; FIELD_BYTES.saturating_sub(digest.len())];
                number.extend_from_slice(&digest);
                number
            }

            fn sign(private: &[u8], hash: Hash, data: &[u8]) -> Result<Vec<u8>, Failure> {
                let key = SigningKey::from(private_key(private)?);
                let signature: Signature = key
                    .sign_prehash(&prehash(hash, data))
                    .map_err(|error| Failure::operation(error.to_string()))?;
                Ok(signature.to_bytes().to_vec())
            }

            fn verify(public: &[u8], signature: &[u8], hash: Hash, data: &[u8]) -> Result<bool, Failure> {
                let key = VerifyingKey::from(public_key(public)?);
                let Ok(signature) = Signature::from_slice(signature) else { return Ok(false) };
                Ok(key.verify_prehash(&prehash(hash, data), &signature).is_ok())
            }
        }
    };
}

curve!(p256, 32);
curve!(p384, 48);
curve!(p521, 66);

#[cfg(test)]
mod tests {
    use super::super::tests::{bytes, failure, hex, text};

    const CURVES: [(&str, usize); 3] = [("P-256", 32), ("P-384", 48), ("P-521", 66)];

    fn with(curve: &str, more: &str) -> String {
        format!(r#"{{"curve":"{curve}"{more}}}"#)
    }

    #[test]
    fn keys_go_through_every_format_unchanged() {
        for (curve, size) in CURVES {
            let private = bytes("ec.generate", &with(curve, ""), &[&[1; 32]]);
            assert_eq!(private.len(), size + 1 + 2 * size);
            assert_eq!(private, bytes("ec.generate", &with(curve, ""), &[&[1; 32]]));
            let (scalar, public) = private.split_at(size);
            let import = |format: &str, data: &[&[u8]]| {
                bytes("ec.import", &with(curve, &format!(r#","format":"{format}""#)), data)
            };
            let export = |format: &str, key: &[u8]| {
                bytes("ec.export", &with(curve, &format!(r#","format":"{format}""#)), &[key])
            };
            assert_eq!(import("raw", &[public]), public);
            assert_eq!(import("spki", &[&export("spki", public)]), public);
            assert_eq!(import("pkcs8", &[&export("pkcs8", &private)]), private);
            let (x, y) = (&public[1..=size], &public[1 + size..]);
            assert_eq!(import("jwk", &[x, y]), public);
            assert_eq!(import("jwk", &[x, y, scalar]), private);
            let mut compressed = vec![2 + (y[size - 1] & 1)];
            compressed.extend_from_slice(x);
            assert_eq!(import("raw", &[&compressed]), public);
        }
    }

    #[test]
    fn what_is_no_key_of_the_curve_is_refused() {
        let jwk = r#"{"curve":"P-256","format":"jwk"}"#;
        let raw = r#"{"curve":"P-256","format":"raw"}"#;
        let private = bytes("ec.generate", r#"{"curve":"P-256"}"#, &[&[1; 32]]);
        let other = bytes("ec.generate", r#"{"curve":"P-256"}"#, &[&[2; 32]]);
        let p384 = bytes("ec.generate", r#"{"curve":"P-384"}"#, &[&[1; 32]]);
        assert_eq!(failure("ec.import", raw, &[&[4; 65]]), "DataError");
        assert_eq!(failure("ec.import", raw, &[&[0]]), "DataError");
        assert_eq!(failure("ec.import", raw, &[b""]), "DataError");
        assert_eq!(failure("ec.import", jwk, &[&private[33..65], &private[65..], &other[..32]]), "DataError");
        assert_eq!(failure("ec.import", jwk, &[&private[33..65], &private[65..], &[0; 32]]), "DataError");
        assert_eq!(failure("ec.import", jwk, &[&private[33..65]]), "DataError");
        let spki = bytes("ec.export", r#"{"curve":"P-384","format":"spki"}"#, &[&p384[48..]]);
        assert_eq!(failure("ec.import", r#"{"curve":"P-256","format":"spki"}"#, &[&spki]), "DataError");
        assert_eq!(failure("ec.import", r#"{"curve":"P-256","format":"pkcs8"}"#, &[&spki]), "DataError");
        assert_eq!(failure("ec.generate", r#"{"curve":"Ed25519"}"#, &[&[1; 32]]), "TypeError");
    }

    #[test]
    fn every_hash_signs_with_every_curve() {
        for (curve, size) in CURVES {
            let private = bytes("ec.generate", &with(curve, ""), &[&[5; 32]]);
            for hash in ["SHA-1", "SHA-256", "SHA-384", "SHA-512"] {
                let params = with(curve, &format!(r#","hash":"{hash}""#));
                let signature = bytes("ecdsa.sign", &params, &[&private, b"message"]);
                assert_eq!(signature.len(), 2 * size);
                assert_eq!(
                    text("ecdsa.verify", &params, &[&private[size..], &signature, b"message"]),
                    "true"
                );
                assert_eq!(
                    text("ecdsa.verify", &params, &[&private[size..], &signature, b"another"]),
                    "false"
                );
                assert_eq!(
                    text("ecdsa.verify", &params, &[&private[size..], &signature[1..], b"message"]),
                    "false"
                );
            }
        }
    }

    #[test]
    fn signatures_are_those_of_rfc_6979() {
        let scalar = hex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
        let signature = bytes("ecdsa.sign", r#"{"curve":"P-256","hash":"SHA-256"}"#, &[&scalar, b"sample"]);
        assert_eq!(signature[..32], hex("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"));
    }

    #[test]
    fn both_sides_derive_the_same_secret() {
        for (curve, size) in CURVES {
            let mine = bytes("ec.generate", &with(curve, ""), &[&[1; 32]]);
            let theirs = bytes("ec.generate", &with(curve, ""), &[&[2; 32]]);
            let secret = bytes("ec.derive", &with(curve, ""), &[&mine, &theirs[size..]]);
            assert_eq!(secret.len(), size);
            assert_eq!(secret, bytes("ec.derive", &with(curve, ""), &[&theirs, &mine[size..]]));
        }
    }
}
