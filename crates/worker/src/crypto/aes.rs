//! AES (FIPS 197) in the modes CBC and CTR (SP 800-38A) and GCM (SP 800-38D), and its key wrap (RFC 3394).
//!
//! GCM takes initialization vectors of 1 to 16, of 20, 24, 28, 32, 48, 64, 96 and 128 bytes: each length is a type of its own in the library.

use ::aes::cipher::block_padding::Pkcs7;
use ::aes::cipher::consts::{
    U1, U2, U3, U4, U5, U6, U7, U8, U9, U10, U11, U12, U13, U14, U15, U16, U20, U24, U28, U32, U48, U64, U96,
    U128,
};
use ::aes::cipher::{
    BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser, KeyInit, KeyIvInit, StreamCipher,
};
use ::aes::{Aes128, Aes192, Aes256};
use aes_gcm::AesGcm;
use aes_gcm::aead::{AeadInOut, Nonce};
use aes_kw::AesKw;
use subtle::ConstantTimeEq;

use super::{Failure, Mode, Output, Params, given};

const BLOCK_BYTES: usize = 16;
/// What a whole tag of GCM has; shorter ones are its beginning.
const TAG_BYTES: usize = 16;
/// What key wrapping puts before the wrapped key.
const WRAP_BYTES: usize = 8;

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Encrypt,
    Decrypt,
}

/// Evaluates an expression with a type alias for AES of the key's length.
macro_rules! with_key {
    ($key:expr, $alias:ident => $body:expr) => {
        match $key.len() {
            16 => {
                type $alias = Aes128;
                $body
            }
            24 => {
                type $alias = Aes192;
                $body
            }
            32 => {
                type $alias = Aes256;
                $body
            }
            length => Err(Failure::operation(format!("AES has no keys of {length} bytes"))),
        }
    };
}

pub(super) fn encrypt(params: &Params, buffers: [&[u8]; 4]) -> Result<Output, Failure> {
    cipher(params, buffers, Direction::Encrypt)
}

pub(super) fn decrypt(params: &Params, buffers: [&[u8]; 4]) -> Result<Output, Failure> {
    cipher(params, buffers, Direction::Decrypt)
}

fn cipher(
    params: &Params,
    [key, iv, data, additional]: [&[u8]; 4],
    direction: Direction,
) -> Result<Output, Failure> {
    let result = match given(params.mode, "mode")? {
        Mode::Cbc => with_key!(key, A => cbc_of::<A>(key, iv, data, direction)),
        Mode::Ctr => {
            let bits = given(params.counter, "counter")?;
            with_key!(key, A => counter::<A>(key, iv, data, bits))
        }
        Mode::Gcm => {
            let tag = given(params.tag, "tag")?;
            if !matches!(tag, 32 | 64 | 96 | 104 | 112 | 120 | 128) {
                return Err(Failure::operation(format!("AES-GCM has no tags of {tag} bits")));
            }
            let input = Gcm { iv, data, additional, tag_bytes: tag / 8, direction };
            with_key!(key, A => A::new_from_slice(key).map_err(|_| bad_length()).and_then(|aes| input.run(aes)))
        }
    };
    result.map(Output::Bytes)
}

fn bad_length() -> Failure {
    Failure::operation("the key or the initialization vector has another length")
}

fn cbc_of<A>(key: &[u8], iv: &[u8], data: &[u8], direction: Direction) -> Result<Vec<u8>, Failure>
where
    A: KeyInit + BlockCipherEncrypt + ::aes::cipher::BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>,
{
    match direction {
        Direction::Encrypt => {
            let cipher = cbc::Encryptor::<A>::new_from_slices(key, iv).map_err(|_| bad_length())?;
            Ok(cipher.encrypt_padded_vec::<Pkcs7>(data))
        }
        Direction::Decrypt => {
            let cipher = cbc::Decryptor::<A>::new_from_slices(key, iv).map_err(|_| bad_length())?;
            cipher
                .decrypt_padded_vec::<Pkcs7>(data)
                .map_err(|_| Failure::operation("the data was not encrypted with this key"))
        }
    }
}

/// Counter mode, in which the last `bits` bits of the block count and return to zero after their highest value.
fn counter<A>(key: &[u8], iv: &[u8], data: &[u8], bits: u32) -> Result<Vec<u8>, Failure>
where
    A: KeyInit + BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    if !(1..=128).contains(&bits) {
        return Err(Failure::operation("the counter has 1 to 128 bits"));
    }
    let block: [u8; BLOCK_BYTES] = iv.try_into().map_err(|_| bad_length())?;
    let start = u128::from_be_bytes(block);
    let highest = u128::MAX >> (128 - bits);
    let blocks = u128::try_from(data.len().div_ceil(BLOCK_BYTES)).map_err(|_| bad_length())?;
    if blocks > 0 && blocks - 1 > highest {
        return Err(Failure::operation("the counter would repeat itself"));
    }
    // What the counter can still count before it returns to zero; there the cipher begins anew.
    let left = highest - (start & highest);
    let until = usize::try_from(left).ok().and_then(|left| left.checked_add(1)?.checked_mul(BLOCK_BYTES));
    let mut result = data.to_vec();
    let (before, after) = result.split_at_mut(until.unwrap_or(usize::MAX).min(data.len()));
    count_on::<A>(key, &block, before)?;
    count_on::<A>(key, &(start & !highest).to_be_bytes(), after)?;
    Ok(result)
}

fn count_on<A>(key: &[u8], block: &[u8], data: &mut [u8]) -> Result<(), Failure>
where
    A: KeyInit + BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    let mut cipher = ctr::Ctr128BE::<A>::new_from_slices(key, block).map_err(|_| bad_length())?;
    cipher.try_apply_keystream(data).map_err(|_| Failure::operation("the counter would repeat itself"))
}

struct Gcm<'a> {
    iv: &'a [u8],
    data: &'a [u8],
    additional: &'a [u8],
    tag_bytes: usize,
    direction: Direction,
}

impl Gcm<'_> {
    /// Calls `with_iv` for the type that the length of the initialization vector stands for.
    fn run<A>(&self, aes: A) -> Result<Vec<u8>, Failure>
    where
        A: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
    {
        macro_rules! by_length {
            ($($length:literal => $size:ty),*) => {
                match self.iv.len() {
                    $($length => {
                        let nonce = self.iv.try_into().map_err(|_| bad_length())?;
                        self.with_iv(&AesGcm::<A, $size>::from(aes), nonce)
                    })*
                    length => Err(Failure::operation(format!("AES-GCM here takes no initialization vector of {length} bytes: use 12"))),
                }
            };
        }
        by_length!(
            1 => U1, 2 => U2, 3 => U3, 4 => U4, 5 => U5, 6 => U6, 7 => U7, 8 => U8, 9 => U9, 10 => U10, 11 => U11, 12 => U12, 13 => U13,
            14 => U14, 15 => U15, 16 => U16, 20 => U20, 24 => U24, 28 => U28, 32 => U32, 48 => U48, 64 => U64, 96 => U96, 128 => U128
        )
    }

    fn with_iv<C: AeadInOut<TagSize = U16>>(&self, cipher: &C, nonce: &Nonce<C>) -> Result<Vec<u8>, Failure> {
        let refused =
            || Failure::operation("the data was not encrypted with this key, or is not what it was");
        let seal = |buffer: &mut [u8]| {
            cipher
                .encrypt_inout_detached(nonce, self.additional, buffer.into())
                .map_err(|_| Failure::operation("the data is too long"))
        };
        if self.direction == Direction::Encrypt {
            let mut sealed = self.data.to_vec();
            let tag = seal(&mut sealed)?;
            sealed.extend_from_slice(&tag[..self.tag_bytes]);
            return Ok(sealed);
        }
        let at = self.data.len().checked_sub(self.tag_bytes).ok_or_else(refused)?;
        let (text, given) = self.data.split_at(at);
        let mut opened = text.to_vec();
        if self.tag_bytes == TAG_BYTES {
            let tag = given.try_into().map_err(|_| refused())?;
            cipher
                .decrypt_inout_detached(nonce, self.additional, opened.as_mut_slice().into(), tag)
                .map_err(|_| refused())?;
            return Ok(opened);
        }
        // The library opens no data with a part of a tag. Its key stream is the same in both directions, so that sealing what is sealed opens
        // it, and sealing that again gives the tag that belongs to it.
        seal(&mut opened)?;
        let tag = seal(&mut opened.clone())?;
        if bool::from(tag[..self.tag_bytes].ct_eq(given)) { Ok(opened) } else { Err(refused()) }
    }
}

pub(super) fn wrap([key, data]: [&[u8]; 2]) -> Result<Output, Failure> {
    let mut wrapped = vec![0; data.len() + WRAP_BYTES];
    with_key!(key, A => AesKw::<A>::new_from_slice(key).map_err(|_| bad_length()).and_then(|cipher| {
        cipher.wrap_key(data, &mut wrapped).map(|_| ()).map_err(|error| Failure::operation(error.to_string()))
    }))?;
    Ok(Output::Bytes(wrapped))
}

pub(super) fn unwrap([key, data]: [&[u8]; 2]) -> Result<Output, Failure> {
    let refused = || Failure::operation("the data is no key that was wrapped with this one");
    let mut unwrapped = vec![0; data.len().checked_sub(WRAP_BYTES).ok_or_else(refused)?];
    with_key!(key, A => AesKw::<A>::new_from_slice(key).map_err(|_| bad_length()).and_then(|cipher| {
        cipher.unwrap_key(data, &mut unwrapped).map(|_| ()).map_err(|_| refused())
    }))?;
    Ok(Output::Bytes(unwrapped))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bytes, failure, hex};

    const KEY: [u8; 16] = [7; 16];

    #[test]
    fn cbc_is_that_of_sp_800_38a() {
        let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
        let iv = hex("000102030405060708090a0b0c0d0e0f");
        let text = hex("6bc1bee22e409f96e93d7e117393172a");
        let sealed = bytes("aes.encrypt", r#"{"mode":"cbc"}"#, &[&key, &iv, &text, b""]);
        assert_eq!(sealed[..16], hex("7649abac8119b246cee98e9b12e9197d"));
        assert_eq!(bytes("aes.decrypt", r#"{"mode":"cbc"}"#, &[&key, &iv, &sealed, b""]), text);
        assert_eq!(
            failure("aes.decrypt", r#"{"mode":"cbc"}"#, &[&key, &iv, &sealed[..16], b""]),
            "OperationError"
        );
        assert_eq!(
            failure("aes.decrypt", r#"{"mode":"cbc"}"#, &[&key, &iv, &sealed[..7], b""]),
            "OperationError"
        );
    }

    #[test]
    fn ctr_is_that_of_sp_800_38a() {
        let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
        let iv = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        let text = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let sealed = hex("874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff");
        assert_eq!(bytes("aes.encrypt", r#"{"mode":"ctr","counter":128}"#, &[&key, &iv, &text, b""]), sealed);
        assert_eq!(bytes("aes.decrypt", r#"{"mode":"ctr","counter":64}"#, &[&key, &iv, &sealed, b""]), text);
    }

    #[test]
    fn a_short_counter_returns_to_zero_and_never_repeats() {
        let of = |counter: u32, iv: &[u8], blocks: usize| {
            bytes(
                "aes.encrypt",
                &format!(r#"{{"mode":"ctr","counter":{counter}}}"#),
                &[&KEY, iv, &vec![0; blocks * 16], b""],
            )
        };
        let mut iv = [9; 16];
        iv[15] = 0xff;
        let mut zero = [9; 16];
        zero[15] = 0;
        // The second block's counter is zero in its last byte, and nothing is carried.
        assert_eq!(of(8, &iv, 2)[16..], of(8, &zero, 1));
        assert_ne!(of(16, &iv, 2)[16..], of(8, &zero, 1));
        assert_eq!(of(8, &iv, 256).len(), 4096);
        assert_eq!(
            failure("aes.encrypt", r#"{"mode":"ctr","counter":8}"#, &[&KEY, &iv, &[0; 257 * 16], b""]),
            "OperationError"
        );
        assert_eq!(
            failure("aes.encrypt", r#"{"mode":"ctr","counter":0}"#, &[&KEY, &iv, &[0; 16], b""]),
            "OperationError"
        );
        assert_eq!(of(128, &[0xff; 16], 2)[16..], of(128, &[0; 16], 1));
    }

    #[test]
    fn gcm_is_that_of_its_specification() {
        let key = hex("feffe9928665731c6d6a8f9467308308");
        let iv = hex("cafebabefacedbaddecaf888");
        let text = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let additional = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let sealed = bytes("aes.encrypt", r#"{"mode":"gcm","tag":128}"#, &[&key, &iv, &text, &additional]);
        assert_eq!(sealed[text.len()..], hex("5bc94fbc3221a5db94fae95ae7121a47"));
        // The same with an initialization vector of 8 bytes.
        let short =
            bytes("aes.encrypt", r#"{"mode":"gcm","tag":128}"#, &[&key, &iv[..8], &text, &additional]);
        assert_eq!(short[text.len()..], hex("3612d2e79e3b0785561be14aaca2fccb"));
    }

    #[test]
    fn gcm_opens_only_what_was_sealed_whatever_the_tag() {
        for tag in [32, 64, 96, 104, 112, 120, 128] {
            let params = format!(r#"{{"mode":"gcm","tag":{tag}}}"#);
            for iv in [12, 1, 16, 32, 128] {
                let iv = vec![3; iv];
                let mut sealed = bytes("aes.encrypt", &params, &[&KEY, &iv, b"text", b"more"]);
                assert_eq!(sealed.len(), 4 + tag / 8);
                assert_eq!(bytes("aes.decrypt", &params, &[&KEY, &iv, &sealed, b"more"]), b"text");
                assert_eq!(failure("aes.decrypt", &params, &[&KEY, &iv, &sealed, b"less"]), "OperationError");
                sealed[5] ^= 1;
                assert_eq!(failure("aes.decrypt", &params, &[&KEY, &iv, &sealed, b"more"]), "OperationError");
                assert_eq!(failure("aes.decrypt", &params, &[&KEY, &iv, b"abc", b"more"]), "OperationError");
            }
        }
        assert_eq!(
            failure("aes.encrypt", r#"{"mode":"gcm","tag":128}"#, &[&KEY, &[0; 17], b"", b""]),
            "OperationError"
        );
        assert_eq!(
            failure("aes.encrypt", r#"{"mode":"gcm","tag":72}"#, &[&KEY, &[0; 12], b"", b""]),
            "OperationError"
        );
    }

    #[test]
    fn keys_are_wrapped_as_in_rfc_3394() {
        let key = hex("000102030405060708090a0b0c0d0e0f");
        let data = hex("00112233445566778899aabbccddeeff");
        let wrapped = bytes("aes.wrap", "{}", &[&key, &data]);
        assert_eq!(wrapped, hex("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"));
        assert_eq!(bytes("aes.unwrap", "{}", &[&key, &wrapped]), data);
        assert_eq!(failure("aes.unwrap", "{}", &[&data, &wrapped]), "OperationError");
        assert_eq!(failure("aes.unwrap", "{}", &[&key, b"short"]), "OperationError");
        assert_eq!(failure("aes.wrap", "{}", &[&key, b"no multiple"]), "OperationError");
        assert_eq!(failure("aes.wrap", "{}", &[b"no key", &data]), "OperationError");
    }
}
