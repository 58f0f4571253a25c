//! Makes pools as JSFS 4 made them: blocks in turn in two locations, inodes in both, a few of everything that a pool can hold.

use crate::support::{sha1, sha256};
use jsfs_testkit::random::Random;
use md5::{Digest, Md5};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

const BLOCK_BYTES: usize = 1 << 20;

/// A pool in the making.
pub(crate) struct Made {
    pub(crate) locations: Vec<PathBuf>,
    turn: usize,
}

/// An object to be put in.
pub(crate) struct Old<'o> {
    pub(crate) name: &'o str,
    pub(crate) body: &'o [u8],
    pub(crate) key: Option<&'o str>,
    pub(crate) private: bool,
    pub(crate) encrypted: bool,
    pub(crate) gzipped: bool,
}

impl<'o> Old<'o> {
    pub(crate) fn new(name: &'o str, body: &'o [u8]) -> Old<'o> {
        Old { name, body, key: None, private: false, encrypted: false, gzipped: false }
    }
}

/// What must come in.
pub(crate) struct Expected {
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) key: Option<String>,
    pub(crate) private: bool,
    pub(crate) created: u64,
}

impl Made {
    pub(crate) fn new(root: &Path) -> Made {
        let locations = ["one", "two"].map(|name| root.join(name)).to_vec();
        locations.iter().for_each(|location| std::fs::create_dir_all(location).unwrap());
        Made { locations, turn: 0 }
    }

    pub(crate) fn add(&mut self, old: &Old<'_>) -> Expected {
        let name_hash = sha1(old.name.as_bytes());
        let key = old.key.unwrap_or(&name_hash);
        let pieces: Vec<&[u8]> =
            if old.body.is_empty() { vec![&[]] } else { old.body.chunks(BLOCK_BYTES).collect() };
        let blocks: Vec<_> = pieces
            .into_iter()
            .map(|piece| {
                let stored = if old.encrypted { encrypt(key, piece) } else { piece.to_vec() };
                let hash = sha1(&stored);
                self.turn += 1;
                let location = &self.locations[self.turn % 2];
                if old.gzipped {
                    let file = std::fs::File::create(location.join(format!("{hash}.gz"))).unwrap();
                    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                    gzip.write_all(&stored).unwrap();
                    gzip.finish().unwrap();
                } else {
                    std::fs::write(location.join(&hash), &stored).unwrap();
                }
                json!({ "block_hash": hash, "last_seen": "./gone/" })
            })
            .collect();
        let created = 1_500_000_000_000 + self.turn as u64;
        let inode = json!({
            "url": old.name, "created": created, "version": 0, "private": old.private, "encrypted": old.encrypted,
            "fingerprint": name_hash, "access_key": key, "content_type": "text/x-old", "file_size": old.body.len(),
            "block_size": BLOCK_BYTES, "blocks_replicated": 0, "inode_replicated": 0, "blocks": blocks, "media_type": "unknown",
        });
        for location in &self.locations {
            std::fs::write(location.join(format!("{name_hash}.json")), inode.to_string()).unwrap();
        }
        Expected {
            name: old.name.to_owned(),
            sha256: sha256(old.body),
            key: old.key.map(str::to_owned),
            private: old.private || old.encrypted,
            created,
        }
    }

    /// So many objects of all kinds, under few keys.
    pub(crate) fn fill(&mut self, count: usize, random: &mut Random) -> Vec<Expected> {
        let mut body = Vec::new();
        (0..count)
            .map(|at| {
                body.clear();
                let length =
                    if at % 500 == 17 { 2 * BLOCK_BYTES + 5 } else { random.within(0..12_000) as usize };
                let mut piece = random.bits();
                while body.len() < length {
                    body.extend_from_slice(&piece.to_le_bytes());
                    // Half random, half compressible.
                    piece = if body.len() % 512 < 256 { random.bits() } else { piece };
                }
                body.truncate(length);
                let key = format!("key {}", random.within(0..5));
                let encrypted = random.chance(5);
                let name =
                    format!("/com.example/{}/{}/object-{at}.txt", random.within(0..20), random.within(0..20));
                self.add(&Old {
                    key: (encrypted || random.chance(50)).then_some(&*key),
                    private: random.chance(20),
                    encrypted,
                    gzipped: random.chance(10),
                    ..Old::new(&name, &body)
                })
            })
            .collect()
    }
}

/// As JSFS 4 encrypted a block.
fn encrypt(key: &str, plain: &[u8]) -> Vec<u8> {
    use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
    let mut derived: Vec<u8> = Vec::new();
    while derived.len() < 48 {
        let last = derived.len().saturating_sub(16);
        let hash = Md5::new().chain_update(&derived[last..]).chain_update(key.as_bytes()).finalize();
        derived.extend_from_slice(&hash);
    }
    let iv: [u8; 16] = derived[32..].try_into().unwrap();
    let cipher = UnboundCipherKey::new(&AES_256, &derived[..32]).unwrap();
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(cipher).unwrap();
    let mut bytes = plain.to_vec();
    cipher.less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(iv.into())).unwrap();
    bytes
}
