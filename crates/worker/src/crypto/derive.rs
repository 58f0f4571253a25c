//! HKDF (RFC 5869) and PBKDF2 (RFC 8018).

use super::digest::with_hash;
use super::{Failure, Output, Params, given};
use crate::way::make_way;

/// The most rounds of SHA-1 or SHA-256 that one call makes, iterations times blocks of the result: about a second's work.
const PBKDF2_ROUNDS_MAX: u64 = 2_000_000;
/// So many take no longer than a run may compute at a time.
const PBKDF2_ROUNDS_QUICK: u64 = 20_000;
/// A round of the two longer hashes takes as long as so many of the shorter ones.
const LONG_HASH_COST: u64 = 3;

pub(super) fn hkdf(params: &Params, [key, salt, info]: [&[u8]; 3]) -> Result<Output, Failure> {
    let hash = given(params.hash, "hash")?;
    let length = given(params.length, "length")?;
    if length > 255 * hash.size() {
        return Err(Failure::operation("HKDF gives at most 255 times the bytes of its hash"));
    }
    let mut derived = vec![0; length];
    with_hash!(hash, D => ::hkdf::Hkdf::<D>::new(Some(salt), key).expand(info, &mut derived))
        .map_err(|error| Failure::operation(error.to_string()))?;
    Ok(Output::Bytes(derived))
}

pub(super) fn pbkdf2(params: &Params, [password, salt]: [&[u8]; 2]) -> Result<Output, Failure> {
    let hash = given(params.hash, "hash")?;
    let length = given(params.length, "length")?;
    let iterations = given(params.iterations, "iterations")?;
    let blocks = u64::try_from(length.div_ceil(hash.size())).unwrap_or(u64::MAX);
    if iterations == 0 {
        return Err(Failure::operation("PBKDF2 has at least one iteration"));
    }
    let cost = if hash.size() > 32 { LONG_HASH_COST } else { 1 };
    let (rounds, rounds_max) = (blocks.saturating_mul(u64::from(iterations)), PBKDF2_ROUNDS_MAX / cost);
    if rounds > rounds_max {
        return Err(Failure::operation(format!(
            "PBKDF2 with this hash is limited here to {rounds_max} iterations, over all blocks of {} bytes of the result",
            hash.size()
        )));
    }
    if rounds * cost > PBKDF2_ROUNDS_QUICK {
        make_way();
    }
    let mut derived = vec![0; length];
    with_hash!(hash, D => ::pbkdf2::pbkdf2_hmac::<D>(password, salt, iterations, &mut derived));
    Ok(Output::Bytes(derived))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bytes, failure, hex};

    #[test]
    fn hkdf_is_that_of_rfc_5869() {
        let derived = bytes(
            "hkdf",
            r#"{"hash":"SHA-256","length":42}"#,
            &[&[0x0b; 22], &hex("000102030405060708090a0b0c"), &hex("f0f1f2f3f4f5f6f7f8f9")],
        );
        assert_eq!(
            derived,
            hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
        );
        assert_eq!(
            failure("hkdf", r#"{"hash":"SHA-256","length":8161}"#, &[b"k", b"", b""]),
            "OperationError"
        );
    }

    #[test]
    fn pbkdf2_is_that_of_rfc_6070() {
        let derived =
            bytes("pbkdf2", r#"{"hash":"SHA-1","length":20,"iterations":4096}"#, &[b"password", b"salt"]);
        assert_eq!(derived, hex("4b007901b765489abead49d926f721d065a429c1"));
    }

    #[test]
    fn pbkdf2_is_bounded_by_iterations_and_length_together() {
        let attempt = |hash: &str, length: u64, iterations: u64| {
            let params = format!(r#"{{"hash":"{hash}","length":{length},"iterations":{iterations}}}"#);
            failure("pbkdf2", &params, &[b"password", b"salt"])
        };
        assert_eq!(attempt("SHA-256", 32, 2_000_001), "OperationError");
        assert_eq!(attempt("SHA-512", 64, 666_667), "OperationError");
        assert_eq!(attempt("SHA-256", 320_000_000, 1_000), "OperationError");
        assert_eq!(attempt("SHA-256", 32, 0), "OperationError");
    }
}
