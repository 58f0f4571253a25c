//! Deltas: a body that is decoded with another block's plaintext, its base, before it.
//!
//! The base's id stands in the clear after the header, so that whoever holds a block can tell what else is needed to read it. A base is never a delta
//! itself: reading costs one more block and no chain of them.

use super::{BODY_HEADER, BlockError, HEADER, Kind, PLAINTEXT_MAX, header, split};
use crate::id::BlockId;
use bytes::Bytes;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound};

/// Bytes of the header of a delta: that of a block, then the id of its base.
pub const DELTA_HEADER: usize = HEADER + 32;

const CODEC: u8 = 2;

/// The bytes before a delta's body; the associated data of a sealed one.
#[must_use]
pub fn delta_header(kind: Kind, base: &BlockId) -> [u8; DELTA_HEADER] {
    let mut bytes = [0; DELTA_HEADER];
    bytes[..HEADER].copy_from_slice(&header(kind));
    bytes[HEADER..].copy_from_slice(base.as_bytes());
    bytes
}

/// A delta taken apart: its kind, its base, and a body or a sealed one.
pub type DeltaParts<'stored> = (Kind, BlockId, &'stored [u8]);

/// The base of a delta, and what follows its id: a body, or a sealed one. Nothing for blocks that are no delta.
pub fn split_delta(stored: &[u8]) -> Result<Option<DeltaParts<'_>>, BlockError> {
    let (kind @ (Kind::Delta | Kind::SealedDelta), rest) = split(stored)? else { return Ok(None) };
    let (base, rest) = rest.split_first_chunk().ok_or(BlockError::Malformed("shorter than its header"))?;
    Ok(Some((kind, BlockId::from_bytes(*base), rest)))
}

/// The base of a block, from as many of its bytes as [`DELTA_HEADER`] at least, if there are so many.
#[must_use]
pub fn base_of(stored: &[u8]) -> Option<BlockId> {
    split_delta(stored).ok().flatten().map(|(_, base, _)| base)
}

/// Appends the body of a delta to `out`, which decodes to `plaintext` again: this is tried. Whether it is worth it is for the caller to say.
pub fn encode_delta_into(
    plaintext: &[u8],
    base: &[u8],
    level: i32,
    out: &mut Vec<u8>,
) -> Result<(), BlockError> {
    const FAILED: BlockError = BlockError::Malformed("cannot be compressed");
    if plaintext.len() > PLAINTEXT_MAX || base.len() > PLAINTEXT_MAX {
        return Err(BlockError::Malformed("plaintext longer than 1 MiB"));
    }
    let mut frame = Vec::with_capacity(compress_bound(plaintext.len()));
    let mut context = CCtx::try_create().ok_or(FAILED)?;
    context.set_parameter(CParameter::CompressionLevel(level)).map_err(|_| FAILED)?;
    // The length stands in the body.
    context.set_parameter(CParameter::ContentSizeFlag(false)).map_err(|_| FAILED)?;
    context.ref_prefix(base).map_err(|_| FAILED)?;
    context.compress2(&mut frame, plaintext).map_err(|_| FAILED)?;
    if decompress(&frame, base, plaintext.len())? != plaintext {
        return Err(FAILED);
    }
    let length = u32::try_from(plaintext.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&[CODEC, 0, 0, 0]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&frame);
    Ok(())
}

/// Decodes the body of a delta, with the plaintext of its base. Never allocates more than the length that it states.
pub fn decode_delta(body: &[u8], base: &[u8]) -> Result<Bytes, BlockError> {
    let Some((head, frame)) = body.split_first_chunk::<BODY_HEADER>() else {
        return Err(BlockError::Malformed("shorter than a body"));
    };
    let [codec, zeros @ .., l0, l1, l2, l3] = head;
    let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
    if zeros != &[0; 3] || length > PLAINTEXT_MAX {
        return Err(BlockError::Malformed("bad body header"));
    }
    match *codec {
        CODEC => Ok(decompress(frame, base, length)?.into()),
        codec => Err(BlockError::Codec(codec)),
    }
}

/// The plaintext of a clear delta, with that of its base.
pub fn decode_clear_delta(stored: &[u8], base: &[u8]) -> Result<Bytes, BlockError> {
    match split_delta(stored)? {
        Some((Kind::Delta, _, body)) => decode_delta(body, base),
        _ => Err(BlockError::Malformed("not a clear delta")),
    }
}

fn decompress(frame: &[u8], base: &[u8], length: usize) -> Result<Vec<u8>, BlockError> {
    const BAD: BlockError = BlockError::Malformed("does not decompress to the length that it states");
    let mut plaintext = vec![0; length];
    let mut context = DCtx::try_create().ok_or(BAD)?;
    context.ref_prefix(base).map_err(|_| BAD)?;
    match context.decompress(&mut plaintext[..], frame) {
        Ok(count) if count == length => Ok(plaintext),
        _ => Err(BAD),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{LEVEL, PLAINTEXT_MAX, decode_body, decode_clear, encode_clear},
        *,
    };
    use proptest::prelude::*;

    fn delta(plaintext: &[u8], base: &[u8]) -> Vec<u8> {
        let mut stored = delta_header(Kind::Delta, &BlockId::of(base)).to_vec();
        encode_delta_into(plaintext, base, LEVEL, &mut stored).unwrap();
        stored
    }

    proptest! {
        #[test]
        fn a_delta_comes_back_whatever_its_base(
            plaintext in prop::collection::vec(any::<u8>(), 0..5_000),
            base in prop::collection::vec(any::<u8>(), 0..5_000),
            shared in prop::collection::vec(any::<u8>(), 0..5_000),
        ) {
            let (plaintext, base) = ([&plaintext[..], &shared].concat(), [&shared[..], &base].concat());
            let stored = delta(&plaintext, &base);
            prop_assert_eq!(base_of(&stored), Some(BlockId::of(&base)));
            prop_assert_eq!(&decode_clear_delta(&stored, &base).unwrap()[..], &plaintext[..]);
        }

        #[test]
        fn any_bytes_and_any_base_give_an_error_or_so_many_bytes_as_are_stated(
            body in prop::collection::vec(any::<u8>(), 0..200),
            base in prop::collection::vec(any::<u8>(), 0..200),
            codec in 0_u8..4,
            length in 0_u32..2_000,
        ) {
            let body = [&[codec, 0, 0, 0][..], &length.to_le_bytes(), &body].concat();
            if let Ok(plaintext) = decode_delta(&body, &base) {
                prop_assert_eq!(plaintext.len(), length as usize);
            }
        }
    }

    #[test]
    fn what_is_like_its_base_takes_next_to_nothing() {
        let mut base = vec![0; 200_000];
        blake3::Hasher::new().update(b"base").finalize_xof().fill(&mut base);
        let mut plaintext = base.clone();
        plaintext.splice(100_000..100_000, *b"inserted");
        let stored = delta(&plaintext, &base);
        assert!(stored.len() < 300, "{}", stored.len());
        assert_eq!(decode_clear_delta(&stored, &base).unwrap(), plaintext);
        let other = vec![7; base.len()];
        assert_ne!(decode_clear_delta(&stored, &other).ok(), Some(plaintext.into()));
    }

    #[test]
    fn a_bomb_is_refused_before_it_unfolds() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        for stated in [0_u32, 1_000, 1 << 20, u32::MAX] {
            let body = [&[CODEC, 0, 0, 0][..], &stated.to_le_bytes(), &bomb].concat();
            assert!(decode_delta(&body, b"base").is_err());
        }
        assert!(encode_delta_into(&vec![0; PLAINTEXT_MAX + 1], b"", LEVEL, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_delta_is_not_taken_for_another_block_nor_another_block_for_a_delta() {
        let stored = delta(b"content", b"base");
        assert!(decode_clear(&stored).is_err());
        assert!(decode_body(&stored[DELTA_HEADER..]).is_err());
        let clear = encode_clear(b"content", LEVEL).unwrap();
        assert_eq!(base_of(&clear), None);
        assert!(decode_clear_delta(&clear, b"base").is_err());
        assert!(split_delta(&stored[..DELTA_HEADER - 1]).is_err());
    }
}
