//! Sealing: the bodies of private blocks and the content of private records.
//!
//! Every AES-GCM key here seals one message in its life (a block's random key, a record's key from a fresh salt), which is what makes the
//! fixed nonce of twelve zeros sound. Nothing is returned before it is authenticated.

use crate::clock::Random;
use crate::crypto::Secret;
use crate::key::Owner;
use crate::read_key::{Locator, ReadKey};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use jsfs_store::{BlockId, block};
use thiserror::Error;
use zeroize::Zeroizing;

/// The two header bytes of a sealed block: format version 1, kind sealed.
pub const SEALED_BLOCK_HEADER: [u8; block::HEADER] = block::header(block::Kind::Sealed);

/// How many bytes sealing a block adds to its body: header and authentication tag.
pub const SEALED_BLOCK_OVERHEAD: usize = SEALED_BLOCK_HEADER.len() + TAG_BYTES;

/// How many bytes sealing a record's content adds: salt and authentication tag.
pub const SEALED_CONTENT_OVERHEAD: usize = SALT_BYTES + TAG_BYTES;

const RECORD_LABEL: &str = "jsfs/v1/record";
const UPLOAD_LABEL: &str = "jsfs/v1/upload";
const TAG_BYTES: usize = 16;
const SALT_BYTES: usize = 32;

/// Something did not open: the key is another, or the bytes are damaged or belong elsewhere. Which of these cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("what is sealed does not open: it was sealed under another key, or it is damaged")]
pub struct Unopened;

/// The key of one private block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockKey(pub(crate) Secret);

impl BlockKey {
    /// A random key, for one block only.
    pub fn generate(random: &dyn Random) -> Self {
        Self::from_bytes(random.bytes())
    }

    /// A block key from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The secret bytes, for a manifest.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// The stored bytes of a sealed block, from its body. The key must never seal another.
pub fn seal_block(key: &BlockKey, body: &[u8]) -> Vec<u8> {
    let mut stored = vec![0; body.len() + SEALED_BLOCK_OVERHEAD];
    let (header, rest) = stored.split_at_mut(SEALED_BLOCK_HEADER.len());
    header.copy_from_slice(&SEALED_BLOCK_HEADER);
    let (ciphertext, tag) = rest.split_at_mut(body.len());
    aead(&key.0)
        .seal_out_of_place_scatter(nonce(), Aad::from(SEALED_BLOCK_HEADER), body, ciphertext, &[], tag)
        .expect("a block is within AES-GCM's limits and its buffers fit");
    stored
}

/// Seals a block in the buffer that holds it. The first two bytes are room for the header, the body follows. The key must never seal
/// another.
pub fn seal_block_in_place(key: &BlockKey, buffer: &mut Vec<u8>) {
    let (header, body) = buffer.split_at_mut(SEALED_BLOCK_HEADER.len());
    header.copy_from_slice(&SEALED_BLOCK_HEADER);
    let tag = aead(&key.0)
        .seal_in_place_separate_tag(nonce(), Aad::from(SEALED_BLOCK_HEADER), body)
        .expect("a block is within AES-GCM's limits");
    buffer.extend_from_slice(tag.as_ref());
}

/// The body of a sealed block, from its stored bytes.
pub fn open_block(key: &BlockKey, stored: &[u8]) -> Result<Vec<u8>, Unopened> {
    let sealed = stored.strip_prefix(&SEALED_BLOCK_HEADER).ok_or(Unopened)?;
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(Unopened)?;
    let mut body = vec![0; ciphertext.len()];
    aead(&key.0)
        .open_separate_gather(nonce(), Aad::from(SEALED_BLOCK_HEADER), ciphertext, tag, &mut body)
        .map_err(|_| Unopened)?;
    Ok(body)
}

/// The body of a sealed block, opened in the buffer that holds the stored bytes. After a failure the buffer holds nothing of use.
pub fn open_block_in_place<'buffer>(
    key: &BlockKey,
    stored: &'buffer mut [u8],
) -> Result<&'buffer mut [u8], Unopened> {
    let (header, sealed) = stored.split_at_mut_checked(SEALED_BLOCK_HEADER.len()).ok_or(Unopened)?;
    if header != SEALED_BLOCK_HEADER {
        return Err(Unopened);
    }
    aead(&key.0).open_in_place(nonce(), Aad::from(SEALED_BLOCK_HEADER), sealed).map_err(|_| Unopened)
}

/// Seals a delta in the buffer that holds it. The first bytes are room for the header, the key of the base and the delta's body follow. The key must never
/// seal another.
pub fn seal_delta_in_place(key: &BlockKey, base: &BlockId, buffer: &mut Vec<u8>) {
    let bound = block::delta_header(block::Kind::SealedDelta, base);
    let (header, body) = buffer.split_at_mut(bound.len());
    header.copy_from_slice(&bound);
    let tag = aead(&key.0)
        .seal_in_place_separate_tag(nonce(), Aad::from(bound), body)
        .expect("a block is within AES-GCM's limits");
    buffer.extend_from_slice(tag.as_ref());
}

/// The key of the base of a sealed delta, and the delta's body, from its stored bytes.
pub fn open_delta(key: &BlockKey, stored: &[u8]) -> Result<(BlockKey, Vec<u8>), Unopened> {
    let Ok(Some((block::Kind::SealedDelta, base, sealed))) = block::split_delta(stored) else {
        return Err(Unopened);
    };
    let bound = block::delta_header(block::Kind::SealedDelta, &base);
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(Unopened)?;
    let mut opened = Zeroizing::new(vec![0; ciphertext.len()]);
    aead(&key.0)
        .open_separate_gather(nonce(), Aad::from(bound), ciphertext, tag, &mut opened)
        .map_err(|_| Unopened)?;
    let (base_key, body) = opened.split_first_chunk().ok_or(Unopened)?;
    Ok((BlockKey::from_bytes(*base_key), body.to_vec()))
}

/// What binds sealed content to its record: the content of one version opens in no other record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentBinding {
    /// The record's locator.
    pub locator: Locator,
    /// The record's owner.
    pub owner: Owner,
    /// The record's epoch.
    pub epoch: u64,
    /// The record's version.
    pub version: u64,
}

impl ContentBinding {
    fn associated_data(&self) -> [u8; 80] {
        let mut bytes = [0; 80];
        bytes[..32].copy_from_slice(self.locator.as_bytes());
        bytes[32..64].copy_from_slice(self.owner.as_bytes());
        bytes[64..72].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[72..].copy_from_slice(&self.version.to_be_bytes());
        bytes
    }
}

/// Seals an encoded content map under an object's read key, with a fresh salt.
pub fn seal_content(
    read_key: &ReadKey,
    binding: &ContentBinding,
    content: &[u8],
    random: &dyn Random,
) -> Vec<u8> {
    seal_salted(read_key, RECORD_LABEL, &binding.associated_data(), content, random)
}

/// The encoded content map of a private record.
pub fn open_content(
    read_key: &ReadKey,
    binding: &ContentBinding,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    open_salted(read_key, RECORD_LABEL, &binding.associated_data(), sealed)
}

/// Seals the state of an unfinished upload under the object's read key, with a fresh salt. It opens only beside the same clear part of its line.
pub(crate) fn seal_upload(read_key: &ReadKey, clear: &[u8], state: &[u8], random: &dyn Random) -> Vec<u8> {
    seal_salted(read_key, UPLOAD_LABEL, clear, state, random)
}

/// The state of an unfinished upload.
pub(crate) fn open_upload(
    read_key: &ReadKey,
    clear: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    open_salted(read_key, UPLOAD_LABEL, clear, sealed)
}

fn seal_salted(
    read_key: &ReadKey,
    label: &str,
    associated: &[u8],
    content: &[u8],
    random: &dyn Random,
) -> Vec<u8> {
    let mut sealed = vec![0; SALT_BYTES + content.len() + TAG_BYTES];
    let (salt, rest) = sealed.split_at_mut(SALT_BYTES);
    random.fill(salt);
    let (ciphertext, tag) = rest.split_at_mut(content.len());
    aead(&read_key.0.hkdf(salt, label))
        .seal_out_of_place_scatter(nonce(), Aad::from(associated), content, ciphertext, &[], tag)
        .expect("content is within AES-GCM's limits and its buffers fit");
    sealed
}

fn open_salted(
    read_key: &ReadKey,
    label: &str,
    associated: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    let (salt, rest) = sealed.split_first_chunk::<SALT_BYTES>().ok_or(Unopened)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(Unopened)?;
    let mut content = Zeroizing::new(vec![0; ciphertext.len()]);
    aead(&read_key.0.hkdf(salt, label))
        .open_separate_gather(nonce(), Aad::from(associated), ciphertext, tag, &mut content)
        .map_err(|_| Unopened)?;
    Ok(content)
}

fn aead(key: &Secret) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose()).expect("AES-256 takes 32 bytes"))
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}
