//! The bytes of an old object: blocks found in any location, plain or gzipped, each verified before a byte of it is given on.
//!
//! Memory: one block of up to [`BLOCK_HELD_MAX`] bytes; longer ones are read twice instead.

use super::pool::{Inode, Pool, Sha1};
use aws_lc_rs::cipher::{AES_256, DecryptionContext, StreamingDecryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use aws_lc_rs::iv::FixedLength;
use flate2::read::MultiGzDecoder;
use md5::{Digest, Md5};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Blocks up to this size are held while they are verified.
const BLOCK_HELD_MAX: usize = 4 << 20;
const PIECE_BYTES: usize = 64 << 10;
/// What JSFS 4 could add to a block: the padding of its cipher.
const PADDING_BYTES: u64 = 16;

/// What is wrong with the bytes of an object.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    /// No copy of a block anywhere.
    #[error("block {number} ({hash}) is missing in every location")]
    Missing {
        /// Counted from 1.
        number: usize,
        /// Its name.
        hash: Sha1,
    },
    /// Copies, and none is good.
    #[error("block {number} ({hash}) is damaged: {why}")]
    Block {
        /// Counted from 1.
        number: usize,
        /// Its name.
        hash: Sha1,
        /// Each copy and what is wrong with it.
        why: String,
    },
    /// It cannot be decrypted.
    #[error("block {number} cannot be decrypted with the key of the object")]
    Cipher {
        /// Counted from 1.
        number: usize,
    },
    /// The blocks are not what the inode says.
    #[error("its blocks hold {held} bytes, and its inode says {said}")]
    Size {
        /// Bytes of the blocks.
        held: u64,
        /// What the inode says.
        said: String,
    },
    /// Whoever takes the bytes does not want any more.
    #[error("the transfer ended: {0}")]
    Sink(#[from] io::Error),
}

/// What the bytes were.
pub(super) struct Sum {
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
}

/// Which blocks make the object, and how many of their bytes.
struct Layout<'i> {
    blocks: &'i [Sha1],
    /// Exactly so many, or so many of more where JSFS 4 stored the beginning of a sound twice.
    size: Option<u64>,
    may_be_longer: bool,
}

impl Layout<'_> {
    fn of(inode: &Inode) -> Layout<'_> {
        let twice = inode.is_wave && inode.blocks.len() > 1 && inode.blocks[0] == inode.blocks[1];
        match inode.size {
            Some(size) => Layout { blocks: &inode.blocks, size: Some(size), may_be_longer: twice },
            // Sounds of more than one block got no size, and their first block twice.
            None if twice => Layout {
                blocks: &inode.blocks[1..],
                size: inode.media_size.map(|size| size.saturating_add(8)),
                may_be_longer: false,
            },
            None => Layout { blocks: &inode.blocks, size: None, may_be_longer: false },
        }
    }
}

/// Gives every byte of an object to `sink`, verified block by block. Blocking.
///
/// # Errors
/// The first [`Damage`]; what was given on until then is right.
pub(super) fn read(
    pool: &Pool,
    inode: &Inode,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Sum, Damage> {
    let layout = Layout::of(inode);
    let mut sha256 = Context::new(&SHA256);
    let (mut given, mut held) = (0_u64, 0_u64);
    for (at, hash) in layout.blocks.iter().enumerate() {
        let mut take = |bytes: &[u8]| {
            held += bytes.len() as u64;
            let room = layout.size.filter(|_| layout.may_be_longer).map_or(u64::MAX, |size| size - given);
            let bytes = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
            given += bytes.len() as u64;
            sha256.update(bytes);
            if bytes.is_empty() { Ok(()) } else { sink(bytes) }
        };
        let number = at + 1;
        if inode.encrypted {
            let mut cipher = Cipher::new(&inode.key_text).ok_or(Damage::Cipher { number })?;
            block(pool, inode, number, *hash, |bytes| {
                let plain = cipher.update(bytes).ok_or_else(|| io::Error::other(NotDecrypted))?;
                take(plain)
            })?;
            take(cipher.finish().ok_or(Damage::Cipher { number })?.as_slice())?;
        } else {
            block(pool, inode, number, *hash, take)?;
        }
    }
    match layout.size {
        Some(size) if given == size => {}
        said => {
            return Err(Damage::Size {
                held,
                said: said.map_or("nothing of them".into(), |said| said.to_string()),
            });
        }
    }
    let mut sum = Sum { size: given, sha256: [0; 32] };
    sum.sha256.copy_from_slice(sha256.finish().as_ref());
    Ok(sum)
}

/// Says inside an `io::Error` that it is the cipher's.
#[derive(Debug, thiserror::Error)]
#[error("it cannot be decrypted")]
struct NotDecrypted;

/// Gives the bytes of the first good copy of a block.
fn block(
    pool: &Pool,
    inode: &Inode,
    number: usize,
    hash: Sha1,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Damage> {
    let limit = inode.block_size.map_or(u64::MAX, |size| size.saturating_add(PADDING_BYTES));
    let mut faults = Vec::new();
    for path in candidates(pool, hash) {
        match verified(&path, hash, limit) {
            Ok(Verified::Held(bytes)) => return taken(take(&bytes), number),
            Ok(Verified::Long) => {
                let mut reader = open(&path)?;
                let mut piece = vec![0; PIECE_BYTES];
                loop {
                    match reader.read(&mut piece)? {
                        0 => return Ok(()),
                        length => taken(take(&piece[..length]), number)?,
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => faults.push(format!("{}: {error}", path.display())),
        }
    }
    if faults.is_empty() {
        return Err(Damage::Missing { number, hash });
    }
    Err(Damage::Block { number, hash, why: faults.join("; ") })
}

fn taken(result: io::Result<()>, number: usize) -> Result<(), Damage> {
    result.map_err(|error| match error.get_ref() {
        Some(inner) if inner.is::<NotDecrypted>() => Damage::Cipher { number },
        _ => Damage::Sink(error),
    })
}

/// Where a block can be: in each location plain, then gzipped.
fn candidates(pool: &Pool, hash: Sha1) -> impl Iterator<Item = PathBuf> {
    let plain = pool.locations.iter().map(move |location| location.join(hash.to_string()));
    plain.chain(pool.locations.iter().map(move |location| location.join(format!("{hash}.gz"))))
}

enum Verified {
    Held(Vec<u8>),
    Long,
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    let is_gzipped = path.extension().is_some_and(|extension| extension == "gz");
    Ok(if is_gzipped { Box::new(MultiGzDecoder::new(io::BufReader::new(file))) } else { Box::new(file) })
}

/// Reads a copy of a block and compares its SHA-1.
fn verified(path: &Path, hash: Sha1, limit: u64) -> io::Result<Verified> {
    let mut reader = open(path)?;
    let mut sha1 = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    let mut held = Vec::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut length = 0_u64;
    loop {
        let bytes = match reader.read(&mut piece)? {
            0 => break,
            read => &piece[..read],
        };
        length += bytes.len() as u64;
        if length > limit {
            return Err(io::Error::other(format!("it is longer than the {limit} bytes that a block has")));
        }
        sha1.update(bytes);
        if length <= BLOCK_HELD_MAX as u64 {
            held.extend_from_slice(bytes);
        } else {
            held = Vec::new();
        }
    }
    let found = Sha1::from_digest(sha1.finish().as_ref());
    if found != hash {
        return Err(io::Error::other(format!("its {length} bytes have the SHA-1 {found}")));
    }
    Ok(if length <= BLOCK_HELD_MAX as u64 { Verified::Held(held) } else { Verified::Long })
}

/// AES-256-CBC as JSFS 4 used it: key and IV from the access key by OpenSSL's old derivation, one after the other by MD5.
struct Cipher {
    key: StreamingDecryptingKey,
    out: Vec<u8>,
}

impl Cipher {
    fn new(access_key: &str) -> Option<Cipher> {
        let mut derived = Zeroizing::new([0_u8; 48]);
        let mut last: &[u8] = &[];
        for part in derived.chunks_exact_mut(16) {
            let hash = Md5::new().chain_update(last).chain_update(access_key.as_bytes()).finalize();
            part.copy_from_slice(&hash);
            last = part;
        }
        let key = UnboundCipherKey::new(&AES_256, &derived[..32]).ok()?;
        let iv: [u8; 16] = derived[32..].try_into().ok()?;
        let context = DecryptionContext::Iv128(FixedLength::from(iv));
        Some(Cipher { key: StreamingDecryptingKey::cbc_pkcs7(key, context).ok()?, out: Vec::new() })
    }

    fn update(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        self.out.resize(bytes.len() + 16, 0);
        let update = self.key.update(bytes, &mut self.out).ok()?;
        let length = update.written().len();
        Some(&self.out[..length])
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        self.out.resize(16, 0);
        let update = self.key.finish(&mut self.out).ok()?;
        Some(update.written().to_vec())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_cipher_is_that_of_openssl() {
        // printf 'hello, old world' | openssl enc -aes-256-cbc -md md5 -nosalt -pass pass:enc-key
        let encrypted = include_bytes!("../../../../../fixtures/jsfs4/openssl.bin");
        for cut in 0..encrypted.len() {
            let mut cipher = Cipher::new("enc-key").unwrap();
            let mut plain = cipher.update(&encrypted[..cut]).unwrap().to_vec();
            plain.extend_from_slice(cipher.update(&encrypted[cut..]).unwrap());
            plain.extend(cipher.finish().unwrap());
            assert_eq!(plain, b"hello, old world", "cut at {cut}");
        }
        let mut wrong = Cipher::new("another").unwrap();
        wrong.update(encrypted).unwrap();
        assert!(wrong.finish().is_none());
    }
}
