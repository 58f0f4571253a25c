//! Ed25519 (RFC 8032) and X25519 (RFC 7748), and their keys (RFC 8410).
//!
//! A public key is its 32 bytes; a private key is the 32 bytes of the seed and then those of the public key.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use pkcs8::der::asn1::{BitStringRef, OctetStringRef};
use pkcs8::der::{Decode, Encode};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use x25519_dalek::{PublicKey, StaticSecret};

use super::{Curve, Failure, Format, Output, Params, expect, given, truth};

const KEY_BYTES: usize = 32;
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");

impl Curve {
    fn identifier(self) -> Result<ObjectIdentifier, Failure> {
        match self {
            Self::Ed25519 => Ok(ED25519),
            Self::X25519 => Ok(X25519),
            _ => Err(Failure::type_error("the curve is not Curve25519")),
        }
    }

    /// The private key of a seed, as described above.
    fn material(self, seed: [u8; KEY_BYTES]) -> Vec<u8> {
        let public = if let Self::Ed25519 = self {
            SigningKey::from_bytes(&seed).verifying_key().to_bytes()
        } else {
            PublicKey::from(&StaticSecret::from(seed)).to_bytes()
        };
        [seed, public].concat()
    }
}

fn no_key() -> Failure {
    Failure::data("the data is no key of this curve")
}

fn key_bytes(bytes: &[u8]) -> Result<[u8; KEY_BYTES], Failure> {
    bytes.try_into().map_err(|_| no_key())
}

fn seed_of(private: &[u8]) -> Result<[u8; KEY_BYTES], Failure> {
    key_bytes(private.get(..KEY_BYTES).ok_or_else(no_key)?)
}

pub(super) fn generate(params: &Params, [seed]: [&[u8]; 1]) -> Result<Output, Failure> {
    let seed = seed.try_into().map_err(|_| Failure::type_error("a seed has 32 bytes"))?;
    let curve = given(params.curve, "curve")?;
    curve.identifier()?;
    Ok(Output::Bytes(curve.material(seed)))
}

pub(super) fn import(params: &Params, buffers: &[&[u8]]) -> Result<Output, Failure> {
    let curve = given(params.curve, "curve")?;
    let identifier = curve.identifier()?;
    let format = given(params.format, "format")?;
    if format == Format::Jwk && buffers.len() == 2 {
        let material = curve.material(key_bytes(buffers[1])?);
        if material[KEY_BYTES..] != *buffers[0] {
            return Err(Failure::data("the private key and the public key do not belong together"));
        }
        return Ok(Output::Bytes(material));
    }
    let [data] = expect(buffers)?;
    Ok(Output::Bytes(match format {
        Format::Raw | Format::Jwk => key_bytes(data)?.to_vec(),
        Format::Spki => {
            let info = SubjectPublicKeyInfoRef::from_der(data).map_err(|_| no_key())?;
            requires(&info.algorithm, identifier)?;
            key_bytes(info.subject_public_key.as_bytes().ok_or_else(no_key)?)?.to_vec()
        }
        Format::Pkcs8 => {
            let info = PrivateKeyInfoRef::from_der(data).map_err(|_| no_key())?;
            requires(&info.algorithm, identifier)?;
            let seed = <&OctetStringRef>::from_der(info.private_key.as_bytes()).map_err(|_| no_key())?;
            curve.material(key_bytes(seed.as_bytes())?)
        }
    }))
}

fn requires(algorithm: &AlgorithmIdentifierRef<'_>, identifier: ObjectIdentifier) -> Result<(), Failure> {
    if algorithm.oid == identifier && algorithm.parameters.is_none() { Ok(()) } else { Err(no_key()) }
}

pub(super) fn export(params: &Params, [key]: [&[u8]; 1]) -> Result<Output, Failure> {
    let algorithm =
        AlgorithmIdentifierRef { oid: given(params.curve, "curve")?.identifier()?, parameters: None };
    let written = match given(params.format, "format")? {
        Format::Spki => BitStringRef::from_bytes(key).and_then(|subject_public_key| {
            SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der()
        }),
        Format::Pkcs8 => {
            let seed = seed_of(key)?;
            OctetStringRef::new(&seed).and_then(|octets| octets.to_der()).and_then(|inner| {
                let private_key = OctetStringRef::new(&inner)?;
                PrivateKeyInfoRef { algorithm, private_key, public_key: None }.to_der()
            })
        }
        _ => return Err(Failure::not_supported("a key is exported as spki or pkcs8")),
    };
    Ok(Output::Bytes(written.map_err(|error| Failure::operation(error.to_string()))?))
}

/// # Errors
/// OperationError if the other key is of small order, so that the secret would be all zeros.
pub(super) fn derive([private, public]: [&[u8]; 2]) -> Result<Output, Failure> {
    let secret = StaticSecret::from(seed_of(private)?).diffie_hellman(&PublicKey::from(key_bytes(public)?));
    if !secret.was_contributory() {
        return Err(Failure::operation("the keys have nothing secret in common"));
    }
    Ok(Output::Bytes(secret.to_bytes().to_vec()))
}

pub(super) fn sign([private, data]: [&[u8]; 2]) -> Result<Output, Failure> {
    Ok(Output::Bytes(SigningKey::from_bytes(&seed_of(private)?).sign(data).to_bytes().to_vec()))
}

/// Keys and signatures with points of small order verify nothing, as the standard says.
pub(super) fn verify([public, signature, data]: [&[u8]; 3]) -> Result<Output, Failure> {
    let key = VerifyingKey::from_bytes(&key_bytes(public)?);
    let signature = Signature::from_slice(signature);
    Ok(truth(
        matches!((key, signature), (Ok(key), Ok(signature)) if key.verify_strict(data, &signature).is_ok()),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bytes, failure, hex, text};

    #[test]
    fn signatures_are_those_of_rfc_8032() {
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let private = bytes("okp.generate", r#"{"curve":"Ed25519"}"#, &[&seed]);
        assert_eq!(private[32..], hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"));
        let signature = bytes("ed25519.sign", "{}", &[&private, &[0x72]]);
        assert_eq!(signature[..32], hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"));
        assert_eq!(text("ed25519.verify", "{}", &[&private[32..], &signature, &[0x72]]), "true");
        assert_eq!(text("ed25519.verify", "{}", &[&private[32..], &signature, &[0x73]]), "false");
        assert_eq!(text("ed25519.verify", "{}", &[&private[32..], &signature[..63], &[0x72]]), "false");
    }

    #[test]
    fn a_key_of_small_order_verifies_nothing() {
        let mut signature = [0; 64];
        signature[0] = 1;
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(text("ed25519.verify", "{}", &[&identity, &signature, b"any"]), "false");
    }

    #[test]
    fn secrets_are_those_of_rfc_7748() {
        let mine = hex("77076d0a7318a57d3c16c17251b26645df4c1b8d8d9c8a8a0a1a1f2d8e8b5f2a");
        let private = bytes("okp.generate", r#"{"curve":"X25519"}"#, &[&mine]);
        let theirs = bytes("okp.generate", r#"{"curve":"X25519"}"#, &[&[9; 32]]);
        let secret = bytes("okp.derive", "{}", &[&private, &theirs[32..]]);
        assert_eq!(secret, bytes("okp.derive", "{}", &[&theirs, &private[32..]]));
        assert_eq!(failure("okp.derive", "{}", &[&private, &[0; 32]]), "OperationError");
        let scalar = hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
        let point = hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
        let known = hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
        assert_eq!(bytes("okp.derive", "{}", &[&scalar, &point]), known);
    }

    #[test]
    fn keys_go_through_every_format_unchanged() {
        for curve in ["Ed25519", "X25519"] {
            let private = bytes("okp.generate", &format!(r#"{{"curve":"{curve}"}}"#), &[&[3; 32]]);
            let with = |format: &str| format!(r#"{{"curve":"{curve}","format":"{format}"}}"#);
            let spki = bytes("okp.export", &with("spki"), &[&private[32..]]);
            assert_eq!(spki.len(), 44);
            assert_eq!(bytes("okp.import", &with("spki"), &[&spki]), private[32..]);
            let pkcs8 = bytes("okp.export", &with("pkcs8"), &[&private]);
            assert_eq!(pkcs8.len(), 48);
            assert_eq!(bytes("okp.import", &with("pkcs8"), &[&pkcs8]), private);
            assert_eq!(bytes("okp.import", &with("jwk"), &[&private[32..], &private[..32]]), private);
            assert_eq!(failure("okp.import", &with("jwk"), &[&private[..32], &private[..32]]), "DataError");
            assert_eq!(failure("okp.import", &with("raw"), &[b"short"]), "DataError");
            let other = if curve == "X25519" { "Ed25519" } else { "X25519" };
            let of_other = |format: &str| format!(r#"{{"curve":"{other}","format":"{format}"}}"#);
            assert_eq!(failure("okp.import", &of_other("spki"), &[&spki]), "DataError");
            assert_eq!(failure("okp.import", &of_other("pkcs8"), &[&pkcs8]), "DataError");
        }
    }
}
