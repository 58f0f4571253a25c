//! RSASSA-PKCS1-v1_5, RSASSA-PSS and RSAES-OAEP (RFC 8017).
//!
//! A public key is a SubjectPublicKeyInfo, a private key is in PKCS #8. Private operations are blinded with numbers drawn from the key and
//! the data, so that they need no randomness from outside.

use ::rsa::pkcs1::der::Decode;
use ::rsa::pkcs1::{ALGORITHM_OID, RsaPrivateKey, RsaPublicKey, UintRef};
use ::rsa::pkcs8::spki::SubjectPublicKeyInfoRef;
use ::rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, PrivateKeyInfoRef};
use ::rsa::{BoxedUint, Oaep, Pkcs1v15Sign, PrivateKey, Pss, PublicKey};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::digest::with_hash;
use super::{Failure, Format, Hash, Output, Params, Scheme, expect, generator, given, truth};
use crate::way::make_way;

const MODULUS_BITS_MIN: usize = 1024;
const MODULUS_BITS_MAX: usize = 8192;
/// To find the primes of a longer key takes many seconds.
const GENERATED_BITS_MAX: usize = 4096;

pub(super) fn generate(params: &Params, [seed, exponent]: [&[u8]; 2]) -> Result<Output, Failure> {
    let bits = given(params.bits, "bits")?;
    if !(MODULUS_BITS_MIN..=GENERATED_BITS_MAX).contains(&bits) {
        return Err(Failure::operation(format!(
            "keys of RSA are generated here with {MODULUS_BITS_MIN} to {GENERATED_BITS_MAX} bits, not {bits}"
        )));
    }
    let refused = |_| Failure::operation("there is no key with such an exponent");
    // The library looks for primes without end where the exponent divides what they have in common, as an even one does.
    if exponent.last().is_none_or(|last| last % 2 == 0) || exponent == [1] || exponent.len() > 4 {
        return Err(Failure::operation("a public exponent is odd, at least 3 and has at most 32 bits"));
    }
    let exponent = BoxedUint::from_be_slice(exponent, precision(exponent)?).map_err(|_| bad_number())?;
    make_way();
    let key = PrivateKey::new_with_exp(&mut generator(seed)?, bits, exponent).map_err(refused)?;
    private_der(&key)
}

fn precision(number: &[u8]) -> Result<u32, Failure> {
    u32::try_from(number.len() * 8).map_err(|_| bad_number())
}

fn bad_number() -> Failure {
    Failure::data("a number of the key is too long")
}

fn no_key() -> Failure {
    Failure::data("the data is no key of RSA")
}

fn private_der(key: &PrivateKey) -> Result<Output, Failure> {
    Ok(Output::Bytes(key.to_pkcs8_der().map_err(|_| no_key())?.as_bytes().to_vec()))
}

fn public_der(key: &PublicKey) -> Result<Output, Failure> {
    Ok(Output::Bytes(key.to_public_key_der().map_err(|_| no_key())?.into_vec()))
}

fn private_key(der: &[u8]) -> Result<PrivateKey, Failure> {
    PrivateKey::from_pkcs8_der(der).map_err(|_| no_key())
}

fn public_key(der: &[u8]) -> Result<PublicKey, Failure> {
    PublicKey::from_public_key_der(der).map_err(|_| no_key())
}

pub(super) fn import(params: &Params, buffers: &[&[u8]]) -> Result<Output, Failure> {
    match given(params.format, "format")? {
        Format::Spki => {
            let [der] = expect(buffers)?;
            let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| no_key())?;
            let numbers = info
                .subject_public_key
                .as_bytes()
                .and_then(|bytes| RsaPublicKey::<UintRef<'_>>::from_der(bytes).ok());
            check(info.algorithm.oid == ALGORITHM_OID, numbers.ok_or_else(no_key)?.modulus.as_bytes())?;
            public_der(&public_key(der)?)
        }
        Format::Pkcs8 => {
            let [der] = expect(buffers)?;
            let info = PrivateKeyInfoRef::from_der(der).map_err(|_| no_key())?;
            let numbers =
                RsaPrivateKey::<UintRef<'_>>::from_der(info.private_key.as_bytes()).map_err(|_| no_key())?;
            check(info.algorithm.oid == ALGORITHM_OID, numbers.modulus.as_bytes())?;
            private_der(&private_key(der)?)
        }
        Format::Jwk if buffers.len() == 2 => {
            let [modulus, exponent]: [&[u8]; 2] = expect(buffers)?.map(without_zeros);
            check(true, modulus)?;
            let number = |bytes| BoxedUint::from_be_slice(bytes, precision(bytes)?).map_err(|_| bad_number());
            public_der(&PublicKey::new(number(modulus)?, number(exponent)?).map_err(|_| no_key())?)
        }
        Format::Jwk => import_numbers(expect(buffers)?),
        Format::Raw => Err(Failure::not_supported("a key of RSA is not imported as raw")),
    }
}

/// # Errors
/// `OperationError` if the modulus is longer than is allowed here.
fn check(is_rsa: bool, modulus: &[u8]) -> Result<(), Failure> {
    if !is_rsa {
        return Err(no_key());
    }
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    if modulus.len() - zeros > MODULUS_BITS_MAX / 8 {
        return Err(Failure::operation(format!("keys of RSA have at most {MODULUS_BITS_MAX} bits here")));
    }
    Ok(())
}

fn import_numbers(numbers: [&[u8]; 8]) -> Result<Output, Failure> {
    let [n, e, d, p, q, dp, dq, qi] = numbers.map(without_zeros);
    check(true, n)?;
    // The library wants those that go with the modulus as wide as it.
    let wide = |bytes| BoxedUint::from_be_slice(bytes, precision(n)?).map_err(|_| bad_number());
    let exponent = BoxedUint::from_be_slice(e, precision(e)?).map_err(|_| bad_number())?;
    let key = PrivateKey::from_components(wide(n)?, exponent, wide(d)?, vec![wide(p)?, wide(q)?])
        .map_err(|_| no_key())?;
    let der = key.to_pkcs8_der().map_err(|_| no_key())?;
    // The other three follow from these: a key that says otherwise is none.
    let info = PrivateKeyInfoRef::from_der(der.as_bytes()).map_err(|_| no_key())?;
    let numbers =
        RsaPrivateKey::<UintRef<'_>>::from_der(info.private_key.as_bytes()).map_err(|_| no_key())?;
    let same = |number: UintRef<'_>, given: &[u8]| number.as_bytes() == given;
    if same(numbers.exponent1, dp) && same(numbers.exponent2, dq) && same(numbers.coefficient, qi) {
        Ok(Output::Bytes(der.as_bytes().to_vec()))
    } else {
        Err(no_key())
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros.min(number.len().saturating_sub(1))..]
}

pub(super) fn public([der]: [&[u8]; 1]) -> Result<Output, Failure> {
    public_der(private_key(der)?.as_public_key())
}

/// The numbers of a key, in hexadecimal without leading zeros.
#[derive(Serialize)]
struct Numbers {
    n: String,
    e: String,
    #[serde(flatten)]
    private: Option<PrivateNumbers>,
}

#[derive(Serialize)]
struct PrivateNumbers {
    d: String,
    p: String,
    q: String,
    dp: String,
    dq: String,
    qi: String,
}

fn hexadecimal(number: UintRef<'_>) -> String {
    let digits: String = number.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    digits.trim_start_matches('0').to_owned()
}

pub(super) fn numbers(params: &Params, [der]: [&[u8]; 1]) -> Result<Output, Failure> {
    let numbers = if given(params.private, "private")? {
        let info = PrivateKeyInfoRef::from_der(der).map_err(|_| no_key())?;
        let key =
            RsaPrivateKey::<UintRef<'_>>::from_der(info.private_key.as_bytes()).map_err(|_| no_key())?;
        let private = PrivateNumbers {
            d: hexadecimal(key.private_exponent),
            p: hexadecimal(key.prime1),
            q: hexadecimal(key.prime2),
            dp: hexadecimal(key.exponent1),
            dq: hexadecimal(key.exponent2),
            qi: hexadecimal(key.coefficient),
        };
        Numbers { n: hexadecimal(key.modulus), e: hexadecimal(key.public_exponent), private: Some(private) }
    } else {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| no_key())?;
        let bytes = info.subject_public_key.as_bytes().ok_or_else(no_key)?;
        let key = RsaPublicKey::<UintRef<'_>>::from_der(bytes).map_err(|_| no_key())?;
        Numbers { n: hexadecimal(key.modulus), e: hexadecimal(key.public_exponent), private: None }
    };
    serde_json::to_string(&numbers).map(Output::Text).map_err(|error| Failure::operation(error.to_string()))
}

/// Numbers to blind a private operation with, which nobody can foresee who has not the key.
fn blinding(der: &[u8], data: &[u8]) -> ChaCha20Rng {
    ChaCha20Rng::from_seed(Sha256::new().chain_update(der).chain_update(data).finalize().into())
}

fn hash_of(params: &Params) -> Result<Hash, Failure> {
    given(params.hash, "hash")
}

pub(super) fn sign(params: &Params, [der, data, seed]: [&[u8]; 3]) -> Result<Output, Failure> {
    let hash = hash_of(params)?;
    let key = private_key(der)?;
    let digest = hash.of(data);
    let salt = given(params.salt, "salt")?;
    let signature = match given(params.scheme, "scheme")? {
        Scheme::Pkcs1 => {
            with_hash!(hash, D => key.sign_with_rng(&mut blinding(der, data), Pkcs1v15Sign::new::<D>(), &digest))
        }
        // Without a salt nothing is random.
        Scheme::Pss if salt == 0 => {
            with_hash!(hash, D => key.sign_with_rng(&mut blinding(der, data), Pss::<D>::new_with_salt(0), &digest))
        }
        Scheme::Pss if salt > MODULUS_BITS_MAX / 8 => return Err(Failure::operation("the salt is too long")),
        Scheme::Pss => {
            with_hash!(hash, D => key.sign_with_rng(&mut generator(seed)?, Pss::<D>::new_with_salt(salt), &digest))
        }
    };
    signature.map(Output::Bytes).map_err(|error| Failure::operation(error.to_string()))
}

pub(super) fn verify(params: &Params, [der, signature, data]: [&[u8]; 3]) -> Result<Output, Failure> {
    let hash = hash_of(params)?;
    let key = public_key(der)?;
    let digest = hash.of(data);
    let salt = given(params.salt, "salt")?;
    let verified = match given(params.scheme, "scheme")? {
        Scheme::Pkcs1 => with_hash!(hash, D => key.verify(Pkcs1v15Sign::new::<D>(), &digest, signature)),
        Scheme::Pss if salt > MODULUS_BITS_MAX / 8 => return Ok(truth(false)),
        Scheme::Pss => with_hash!(hash, D => key.verify(Pss::<D>::new_with_salt(salt), &digest, signature)),
    };
    Ok(truth(verified.is_ok()))
}

pub(super) fn encrypt(params: &Params, [der, data, label, seed]: [&[u8]; 4]) -> Result<Output, Failure> {
    let key = public_key(der)?;
    let mut random = generator(seed)?;
    with_hash!(hash_of(params)?, D => key.encrypt(&mut random, Oaep::<D>::new_with_label(label), data))
        .map(Output::Bytes)
        .map_err(|_| Failure::operation("the data is too long for the key"))
}

pub(super) fn decrypt(params: &Params, [der, data, label]: [&[u8]; 3]) -> Result<Output, Failure> {
    let key = private_key(der)?;
    let mut random = blinding(der, data);
    with_hash!(hash_of(params)?, D => key.decrypt_blinded(&mut random, Oaep::<D>::new_with_label(label), data))
        .map(Output::Bytes)
        .map_err(|_| Failure::operation("the data was not encrypted with this key"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bytes, failure, hex, text};

    const SEED: [u8; 32] = [1; 32];

    fn pair() -> (Vec<u8>, Vec<u8>) {
        let private = bytes("rsa.generate", r#"{"bits":1024}"#, &[&SEED, &[1, 0, 1]]);
        let public = bytes("rsa.public", "{}", &[&private]);
        (private, public)
    }

    #[test]
    fn what_is_signed_verifies_and_nothing_else() {
        let (private, public) = pair();
        for scheme in
            [r#""scheme":"pkcs1","salt":0"#, r#""scheme":"pss","salt":20"#, r#""scheme":"pss","salt":0"#]
        {
            for hash in ["SHA-1", "SHA-256", "SHA-384"] {
                let params = format!(r#"{{{scheme},"hash":"{hash}"}}"#);
                let mut signature = bytes("rsa.sign", &params, &[&private, b"data", &SEED]);
                assert_eq!(text("rsa.verify", &params, &[&public, &signature, b"data"]), "true");
                assert_eq!(text("rsa.verify", &params, &[&public, &signature, b"date"]), "false");
                signature[9] ^= 1;
                assert_eq!(text("rsa.verify", &params, &[&public, &signature, b"data"]), "false");
                assert_eq!(text("rsa.verify", &params, &[&public, b"short", b"data"]), "false");
            }
        }
        let long = r#"{"scheme":"pss","salt":100,"hash":"SHA-512"}"#;
        assert_eq!(failure("rsa.sign", long, &[&private, b"data", &SEED]), "OperationError");
        let endless = r#"{"scheme":"pss","salt":4000000000,"hash":"SHA-512"}"#;
        assert_eq!(failure("rsa.sign", endless, &[&private, b"data", &SEED]), "OperationError");
        assert_eq!(text("rsa.verify", endless, &[&public, b"x", b"data"]), "false");
    }

    #[test]
    fn what_is_encrypted_is_decrypted_with_the_same_label_only() {
        let (private, public) = pair();
        let params = r#"{"hash":"SHA-256"}"#;
        let sealed = bytes("rsa.encrypt", params, &[&public, b"data", b"label", &SEED]);
        assert_eq!(bytes("rsa.decrypt", params, &[&private, &sealed, b"label"]), b"data");
        assert_eq!(failure("rsa.decrypt", params, &[&private, &sealed, b"other"]), "OperationError");
        assert_eq!(failure("rsa.encrypt", params, &[&public, &[0; 63], b"", &SEED]), "OperationError");
    }

    #[test]
    fn keys_go_through_every_format_unchanged() {
        let (private, public) = pair();
        assert_eq!(bytes("rsa.import", r#"{"format":"pkcs8"}"#, &[&private]), private);
        assert_eq!(bytes("rsa.import", r#"{"format":"spki"}"#, &[&public]), public);
        let numbers: serde_json::Value =
            serde_json::from_str(&text("rsa.numbers", r#"{"private":true}"#, &[&private])).unwrap();
        let number = |name: &str| {
            let digits = numbers[name].as_str().unwrap();
            assert!(!digits.starts_with('0'));
            hex(&if digits.len().is_multiple_of(2) { digits.to_owned() } else { format!("0{digits}") })
        };
        let mut all: Vec<Vec<u8>> = ["n", "e", "d", "p", "q", "dp", "dq", "qi"].map(number).to_vec();
        assert_eq!(all[0].len(), 128);
        let jwk = r#"{"format":"jwk"}"#;
        let given: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        assert_eq!(bytes("rsa.import", jwk, &given[..2]), public);
        assert_eq!(bytes("rsa.import", jwk, &given), private);
        all[2].insert(0, 0);
        let given: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        assert_eq!(bytes("rsa.import", jwk, &given), private);
        all[5][3] ^= 1;
        let given: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        assert_eq!(failure("rsa.import", jwk, &given), "DataError");
    }

    #[test]
    fn what_would_take_too_long_is_refused() {
        let generate = |bits: u32, exponent: &[u8]| {
            failure("rsa.generate", &format!(r#"{{"bits":{bits}}}"#), &[&SEED, exponent])
        };
        assert_eq!(generate(4104, &[1, 0, 1]), "OperationError");
        assert_eq!(generate(256, &[1, 0, 1]), "OperationError");
        assert_eq!(generate(1024, &[2]), "OperationError");
        assert_eq!(generate(1024, &[1]), "OperationError");
        assert_eq!(generate(1024, &[]), "OperationError");
        let mut modulus = vec![0xff; 1025];
        assert_eq!(failure("rsa.import", r#"{"format":"jwk"}"#, &[&modulus, &[1, 0, 1]]), "OperationError");
        modulus.truncate(1024);
        assert_eq!(failure("rsa.import", r#"{"format":"jwk"}"#, &[&modulus, &[0xff; 9]]), "DataError");
        assert_eq!(failure("rsa.import", r#"{"format":"spki"}"#, &[b"nothing"]), "DataError");
    }
}
