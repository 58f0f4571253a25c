//! The stored form of a block: two header bytes, then the body of a clear or sealed block, the ids of a list, or a delta (`docs/storage.md`, "Block").
//!
//! Sealing is AES-GCM under keys that the store never sees, so the object layer does it: it encodes a body here and puts [`header`] before the
//! ciphertext. Decoding is bounded by the length that the body states, and that by [`PLAINTEXT_MAX`], so a hostile block cannot fill memory.

mod delta;

pub use delta::{
    DELTA_HEADER, DeltaParts, base_of, decode_clear_delta, decode_delta, delta_header, encode_delta_into,
    split_delta,
};

use crate::{frame::BLOCK_MAX, id::BlockId};
use bytes::{BufMut, Bytes, BytesMut};
use std::cell::RefCell;
use zstd::bulk::{Compressor, Decompressor};

/// The version in the first byte of a block.
pub const VERSION: u8 = 1;
/// Bytes of the header of a clear or sealed block.
pub const HEADER: usize = 2;
/// Bytes of a body before its payload.
pub const BODY_HEADER: usize = 8;
/// Longest plaintext of a block, in bytes.
pub const PLAINTEXT_MAX: usize = 1 << 20;
/// Most ids in a list block.
pub const LIST_MAX: usize = 1_024;
/// Deepest level of a list block; four levels hold 2^40 blocks.
pub const LIST_LEVEL_MAX: u8 = 4;
/// The compression level of zstd that the store uses.
pub const LEVEL: i32 = 3;

/// Bytes of the sample that decides whether compression is tried.
const SAMPLE: usize = 4_096;
/// Order-0 entropy in bits per byte above which data counts as incompressible.
const ENTROPY_MAX: f64 = 7.93;

/// What a block is, by its second byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A body that anyone can read.
    Clear = 0,
    /// A body under AES-256-GCM.
    Sealed = 1,
    /// Ids of other blocks.
    List = 2,
    /// The id of another block, then a body that needs that block's plaintext.
    Delta = 3,
    /// As [`Kind::Delta`], and what follows the id under AES-256-GCM.
    SealedDelta = 4,
}

/// Why bytes are not a block or a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Too short, too long, or inconsistent in its lengths.
    #[error("malformed block: {0}")]
    Malformed(&'static str),
    /// Written by a later version.
    #[error("block version {0} is newer than this program; upgrade jsfs to read it")]
    Version(u8),
    /// A codec that this program does not know.
    #[error("block codec {0} is unknown to this program; upgrade jsfs to read it")]
    Codec(u8),
}

/// The two bytes before the body; the associated data of a sealed block.
#[must_use]
pub const fn header(kind: Kind) -> [u8; HEADER] {
    [VERSION, kind as u8]
}

/// The kind of a stored block and what follows its header.
pub fn split(stored: &[u8]) -> Result<(Kind, &[u8]), BlockError> {
    match stored {
        _ if stored.len() > BLOCK_MAX => Err(BlockError::Malformed("longer than a block may be")),
        [VERSION, 0, rest @ ..] => Ok((Kind::Clear, rest)),
        [VERSION, 1, rest @ ..] => Ok((Kind::Sealed, rest)),
        [VERSION, 2, rest @ ..] => Ok((Kind::List, rest)),
        [VERSION, 3, rest @ ..] => Ok((Kind::Delta, rest)),
        [VERSION, 4, rest @ ..] => Ok((Kind::SealedDelta, rest)),
        [VERSION, ..] => Err(BlockError::Malformed("unknown kind")),
        [version, _, ..] => Err(BlockError::Version(*version)),
        _ => Err(BlockError::Malformed("shorter than its header")),
    }
}

/// Encodes a body: compressed where that helps. `plaintext` is at most [`PLAINTEXT_MAX`] bytes.
pub fn encode_body(plaintext: &[u8], level: i32) -> Result<Vec<u8>, BlockError> {
    let mut body = Vec::with_capacity(BODY_HEADER + plaintext.len());
    encode_body_into(plaintext, level, &mut body)?;
    Ok(body)
}

/// A whole clear block around this plaintext.
pub fn encode_clear(plaintext: &[u8], level: i32) -> Result<Bytes, BlockError> {
    let mut stored = Vec::with_capacity(HEADER + BODY_HEADER + plaintext.len());
    stored.extend_from_slice(&header(Kind::Clear));
    encode_body_into(plaintext, level, &mut stored)?;
    Ok(stored.into())
}

/// Appends a body to `out`.
pub fn encode_body_into(plaintext: &[u8], level: i32, out: &mut Vec<u8>) -> Result<(), BlockError> {
    if plaintext.len() > PLAINTEXT_MAX {
        return Err(BlockError::Malformed("plaintext longer than 1 MiB"));
    }
    let length = u32::try_from(plaintext.len()).unwrap_or(u32::MAX);
    let start = out.len();
    out.extend_from_slice(&[1, 0, 0, 0]);
    out.extend_from_slice(&length.to_le_bytes());
    if is_compressible(plaintext) && compress(plaintext, level, out) {
        return Ok(());
    }
    out.truncate(start + BODY_HEADER);
    out[start] = 0;
    out.extend_from_slice(plaintext);
    Ok(())
}

/// Decodes a body. Never allocates more than the length that it states.
pub fn decode_body(body: &[u8]) -> Result<Bytes, BlockError> {
    let Some((head, payload)) = body.split_first_chunk::<BODY_HEADER>() else {
        return Err(BlockError::Malformed("shorter than a body"));
    };
    let [codec, zeros @ .., l0, l1, l2, l3] = head;
    let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
    if zeros != &[0; 3] || length > PLAINTEXT_MAX {
        return Err(BlockError::Malformed("bad body header"));
    }
    match codec {
        0 if payload.len() == length => Ok(Bytes::copy_from_slice(payload)),
        0 => Err(BlockError::Malformed("not as long as it says")),
        1 => decompress(payload, length),
        codec => Err(BlockError::Codec(*codec)),
    }
}

/// The plaintext of a clear block.
pub fn decode_clear(stored: &[u8]) -> Result<Bytes, BlockError> {
    match split(stored)? {
        (Kind::Clear, body) => decode_body(body),
        _ => Err(BlockError::Malformed("not a clear block")),
    }
}

/// As [`decode_body`], but shares the bytes of a body that is not compressed.
pub fn decode_body_of(body: &Bytes) -> Result<Bytes, BlockError> {
    match body.split_first_chunk::<BODY_HEADER>() {
        Some(([0, 0, 0, 0, length @ ..], payload))
            if u32::from_le_bytes(*length) as usize == payload.len() =>
        {
            Ok(body.slice(BODY_HEADER..))
        }
        _ => decode_body(body),
    }
}

/// As [`decode_clear`], but shares the bytes of a block that is not compressed.
pub fn decode_clear_of(stored: &Bytes) -> Result<Bytes, BlockError> {
    match split(stored)? {
        (Kind::Clear, _) => decode_body_of(&stored.slice(HEADER..)),
        _ => decode_clear(stored),
    }
}

/// A list block: level 0 lists data blocks, level n lists of level n − 1.
pub fn encode_list(level: u8, ids: &[BlockId]) -> Result<Bytes, BlockError> {
    if ids.len() > LIST_MAX || level > LIST_LEVEL_MAX {
        return Err(BlockError::Malformed("list too long or too deep"));
    }
    let mut stored = BytesMut::with_capacity(4 + 32 * ids.len());
    stored.put_slice(&header(Kind::List));
    stored.put_slice(&[level, 0]);
    for id in ids {
        stored.put_slice(id.as_bytes());
    }
    Ok(stored.freeze())
}

/// The level of a list block and the ids in it.
pub fn decode_list(stored: &[u8]) -> Result<(u8, Vec<BlockId>), BlockError> {
    let (Kind::List, [level, 0, ids @ ..]) = split(stored)? else {
        return Err(BlockError::Malformed("not a list block"));
    };
    let (ids, rest) = ids.as_chunks::<32>();
    if *level > LIST_LEVEL_MAX || ids.len() > LIST_MAX || !rest.is_empty() {
        return Err(BlockError::Malformed("list too long or too deep"));
    }
    Ok((*level, ids.iter().map(|id| BlockId::from_bytes(*id)).collect()))
}

/// Whether the order-0 entropy of a sample leaves hope for compression.
#[must_use]
pub fn is_compressible(plaintext: &[u8]) -> bool {
    if plaintext.len() < SAMPLE {
        return true;
    }
    // From the middle: the beginning of a compressed file is often a header that compresses well.
    let from = (plaintext.len() - SAMPLE) / 2;
    let mut counts = [0u32; 256];
    for byte in &plaintext[from..from + SAMPLE] {
        counts[usize::from(*byte)] += 1;
    }
    let total = SAMPLE as f64;
    let bits: f64 =
        counts.iter().filter(|count| **count > 0).map(|count| entropy_part(f64::from(*count), total)).sum();
    bits <= ENTROPY_MAX
}

fn entropy_part(count: f64, total: f64) -> f64 {
    -(count / total) * (count / total).log2()
}

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Appends a zstd frame; false when that would not be smaller than the plaintext.
pub(crate) fn compress(plaintext: &[u8], level: i32, out: &mut Vec<u8>) -> bool {
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(kept, _)| *kept != level) {
            *slot = Compressor::new(level).ok().map(|compressor| (level, compressor));
        }
        let Some((_, compressor)) = slot else { return false };
        let start = out.len();
        // Room for one byte less than the plaintext: what does not fit is not worth compressing.
        out.resize(start + plaintext.len().saturating_sub(1), 0);
        let Ok(length) = compressor.compress_to_buffer(plaintext, &mut out[start..]) else { return false };
        out.truncate(start + length);
        true
    })
}

pub(crate) fn decompress(payload: &[u8], length: usize) -> Result<Bytes, BlockError> {
    const BAD: BlockError = BlockError::Malformed("does not decompress to the length that it states");
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Decompressor::new().ok();
        }
        let decompressor = slot.as_mut().ok_or(BAD)?;
        let mut plaintext = vec![0; length];
        match decompressor.decompress_to_buffer(payload, &mut plaintext[..]) {
            Ok(count) if count == length => Ok(plaintext.into()),
            _ => Err(BAD),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that do not compress.
    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn a_body_comes_back_whatever_it_holds() {
        for plaintext in
            [vec![], vec![1], b"text ".repeat(20_000), noise(100), noise(300_000), vec![0; PLAINTEXT_MAX]]
        {
            let body = encode_body(&plaintext, LEVEL).unwrap();
            assert!(body.len() <= BODY_HEADER + plaintext.len());
            assert_eq!(decode_body(&body).unwrap(), plaintext);
        }
        assert!(encode_body(&vec![0; PLAINTEXT_MAX + 1], LEVEL).is_err());
    }

    #[test]
    fn text_is_compressed_and_noise_is_not() {
        assert_eq!(encode_body(&b"text ".repeat(20_000), LEVEL).unwrap()[0], 1);
        assert_eq!(encode_body(&noise(100_000), LEVEL).unwrap()[0], 0);
        assert!(!is_compressible(&noise(100_000)));
    }

    #[test]
    fn a_bomb_is_refused_before_it_unfolds() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        for stated in [0u32, 1_000, 1 << 20, u32::MAX] {
            let mut body = vec![1, 0, 0, 0];
            body.extend_from_slice(&stated.to_le_bytes());
            body.extend_from_slice(&bomb);
            assert!(decode_body(&body).is_err());
        }
    }

    #[test]
    fn bodies_and_lists_with_wrong_lengths_or_codecs_are_refused() {
        assert_eq!(decode_body(&[2, 0, 0, 0, 0, 0, 0, 0]), Err(BlockError::Codec(2)));
        assert!(decode_body(&[0, 0, 0, 0, 5, 0, 0, 0, 1]).is_err());
        assert!(decode_body(&[0, 1, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(decode_body(&[0; 7]).is_err());
        let ids = [BlockId::of(b"a"), BlockId::of(b"b")];
        let list = encode_list(1, &ids).unwrap();
        assert_eq!(decode_list(&list).unwrap(), (1, ids.to_vec()));
        assert!(decode_list(&list[..list.len() - 1]).is_err());
        assert!(encode_list(5, &ids).is_err());
        assert_eq!(split(&[2, 0]), Err(BlockError::Version(2)));
    }
}
