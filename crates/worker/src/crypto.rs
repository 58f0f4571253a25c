//! Web Cryptography for programs: one function for each operation of the table in the guest's `crypto/worker.ts`.
//!
//! Every operation is a function of its parameters alone. What needs randomness is given a seed, which the guest drew before, so that a run
//! that must be repeatable has none; keys are given whole, because they are in the guest's memory and go where its image goes.
//!
//! A call cannot be interrupted, so that whatever takes long is bounded here: see the constants named `…_MAX` in the modules.

mod aes;
mod curves;
mod derive;
mod digest;
mod okp;
mod rsa;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use serde::Deserialize;

/// What an operation answers.
#[derive(Debug, PartialEq)]
pub(crate) enum Output {
    Bytes(Vec<u8>),
    Text(String),
}

/// Why an operation was not done: the name and the message of the exception that the program sees.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) name: &'static str,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn type_error(message: impl Into<String>) -> Self {
        Self { name: "TypeError", message: message.into() }
    }

    pub(crate) fn operation(message: impl Into<String>) -> Self {
        Self { name: "OperationError", message: message.into() }
    }

    pub(crate) fn data(message: impl Into<String>) -> Self {
        Self { name: "DataError", message: message.into() }
    }

    fn not_supported(message: impl Into<String>) -> Self {
        Self { name: "NotSupportedError", message: message.into() }
    }
}

#[derive(Clone, Copy, Deserialize)]
enum Hash {
    #[serde(rename = "SHA-1")]
    Sha1,
    #[serde(rename = "SHA-256")]
    Sha256,
    #[serde(rename = "SHA-384")]
    Sha384,
    #[serde(rename = "SHA-512")]
    Sha512,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Cbc,
    Ctr,
    Gcm,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scheme {
    Pkcs1,
    Pss,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Format {
    Raw,
    Spki,
    Pkcs8,
    Jwk,
}

#[derive(Clone, Copy, Deserialize)]
enum Curve {
    #[serde(rename = "P-256")]
    P256,
    #[serde(rename = "P-384")]
    P384,
    #[serde(rename = "P-521")]
    P521,
    Ed25519,
    X25519,
}

/// The parameters of all operations; each has those of its line in the table.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Params {
    hash: Option<Hash>,
    mode: Option<Mode>,
    scheme: Option<Scheme>,
    format: Option<Format>,
    curve: Option<Curve>,
    /// Bits of the counter.
    counter: Option<u32>,
    /// Bits of the tag.
    tag: Option<usize>,
    /// Bytes to derive.
    length: Option<usize>,
    iterations: Option<u32>,
    /// Bits of the modulus.
    bits: Option<usize>,
    /// Bytes of the salt.
    salt: Option<usize>,
    private: Option<bool>,
}

fn given<T>(value: Option<T>, name: &str) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::type_error(format!("the parameter {name} is missing")))
}

/// The buffers of an operation, which must be so many.
fn expect<'a, const N: usize>(buffers: &[&'a [u8]]) -> Result<[&'a [u8]; N], Failure> {
    buffers
        .try_into()
        .map_err(|_| Failure::type_error(format!("{N} buffers expected, {} given", buffers.len())))
}

fn truth(value: bool) -> Output {
    Output::Text(if value { "true" } else { "false" }.to_owned())
}

/// A generator that goes on from a seed of 32 bytes.
fn generator(seed: &[u8]) -> Result<ChaCha20Rng, Failure> {
    let seed: [u8; 32] = seed.try_into().map_err(|_| Failure::type_error("a seed has 32 bytes"))?;
    Ok(ChaCha20Rng::from_seed(seed))
}

/// Does one operation. `params` is JSON; the buffers are in the order of the table.
///
/// # Errors
/// `DataError` for key material that is none, `OperationError` for what cannot be done or is beyond a bound, `NotSupportedError` for an operation
/// that there is not, `TypeError` for parameters that the guest never gives.
pub(crate) fn perform(operation: &str, params: &str, buffers: &[&[u8]]) -> Result<Output, Failure> {
    let params: Params =
        serde_json::from_str(params).map_err(|error| Failure::type_error(error.to_string()))?;
    match operation {
        "digest" => digest::digest(&params, expect(buffers)?),
        "hmac.sign" => digest::hmac_sign(&params, expect(buffers)?),
        "hmac.verify" => digest::hmac_verify(&params, expect(buffers)?),
        "aes.encrypt" => aes::encrypt(&params, expect(buffers)?),
        "aes.decrypt" => aes::decrypt(&params, expect(buffers)?),
        "aes.wrap" => aes::wrap(expect(buffers)?),
        "aes.unwrap" => aes::unwrap(expect(buffers)?),
        "hkdf" => derive::hkdf(&params, expect(buffers)?),
        "pbkdf2" => derive::pbkdf2(&params, expect(buffers)?),
        "ec.generate" => curves::generate(&params, expect(buffers)?),
        "ec.import" => curves::import(&params, buffers),
        "ec.export" => curves::export(&params, expect(buffers)?),
        "ec.derive" => curves::derive(&params, expect(buffers)?),
        "ecdsa.sign" => curves::sign(&params, expect(buffers)?),
        "ecdsa.verify" => curves::verify(&params, expect(buffers)?),
        "okp.generate" => okp::generate(&params, expect(buffers)?),
        "okp.import" => okp::import(&params, buffers),
        "okp.export" => okp::export(&params, expect(buffers)?),
        "okp.derive" => okp::derive(expect(buffers)?),
        "ed25519.sign" => okp::sign(expect(buffers)?),
        "ed25519.verify" => okp::verify(expect(buffers)?),
        "rsa.generate" => rsa::generate(&params, expect(buffers)?),
        "rsa.import" => rsa::import(&params, buffers),
        "rsa.public" => rsa::public(expect(buffers)?),
        "rsa.numbers" => rsa::numbers(&params, expect(buffers)?),
        "rsa.sign" => rsa::sign(&params, expect(buffers)?),
        "rsa.verify" => rsa::verify(&params, expect(buffers)?),
        "rsa.encrypt" => rsa::encrypt(&params, expect(buffers)?),
        "rsa.decrypt" => rsa::decrypt(&params, expect(buffers)?),
        _ => Err(Failure::not_supported(format!("there is no operation {operation}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that hexadecimal stands for.
    pub(super) fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    pub(super) fn bytes(operation: &str, params: &str, buffers: &[&[u8]]) -> Vec<u8> {
        match perform(operation, params, buffers).unwrap() {
            Output::Bytes(bytes) => bytes,
            Output::Text(text) => panic!("text where bytes were expected: {text}"),
        }
    }

    pub(super) fn text(operation: &str, params: &str, buffers: &[&[u8]]) -> String {
        match perform(operation, params, buffers).unwrap() {
            Output::Text(text) => text,
            Output::Bytes(_) => panic!("bytes where text was expected"),
        }
    }

    pub(super) fn failure(operation: &str, params: &str, buffers: &[&[u8]]) -> &'static str {
        perform(operation, params, buffers).unwrap_err().name
    }

    #[test]
    fn what_is_not_in_the_table_is_refused() {
        assert_eq!(failure("des.encrypt", "{}", &[]), "NotSupportedError");
        assert_eq!(failure("digest", "{}", &[b"a"]), "TypeError");
        assert_eq!(failure("digest", r#"{"hash":"MD5"}"#, &[b"a"]), "TypeError");
        assert_eq!(failure("digest", r#"{"hash":"SHA-1"}"#, &[]), "TypeError");
        assert_eq!(failure("digest", "nothing", &[b"a"]), "TypeError");
    }
}
