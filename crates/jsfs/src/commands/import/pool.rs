//! A pool of JSFS 4: its storage directories, and the inodes in them.
//!
//! An inode is `<sha1 of the name>.json`, in every location or in some; the newest copy that is whole counts. Nothing is ever written here.
//! Memory: names are taken from the directories one after the other, an inode costs 20 bytes for each block.

use super::config_js;
use crate::exit::CouldNotRun;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The largest inode that is read: that of an object of several terabytes.
const INODE_BYTES_MAX: u64 = 1 << 30;

/// A SHA-1, by which JSFS 4 named everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Sha1([u8; 20]);

impl Sha1 {
    pub(super) fn of(bytes: &[u8]) -> Sha1 {
        Sha1::from_digest(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref())
    }

    pub(super) fn from_digest(bytes: &[u8]) -> Sha1 {
        let mut sha1 = [0; 20];
        sha1.copy_from_slice(&bytes[..20]);
        Sha1(sha1)
    }

    pub(super) fn parse(text: &str) -> Option<Sha1> {
        let mut sha1 = [0; 20];
        let is_hex = text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hex {
            return None;
        }
        for (at, byte) in sha1.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
        }
        Some(Sha1(sha1))
    }
}

impl fmt::Display for Sha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<'de> Deserialize<'de> for Sha1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Sha1::parse(&text).ok_or_else(|| serde::de::Error::custom("a block has no SHA-1 for a name"))
    }
}

#[derive(Deserialize)]
struct Block {
    block_hash: Sha1,
}

/// An inode as it stands in its file. Holds a key: no `Debug`.
#[derive(Deserialize)]
struct Written {
    url: String,
    #[serde(default)]
    created: f64,
    #[serde(default)]
    private: Value,
    #[serde(default)]
    encrypted: Value,
    #[serde(default)]
    executable: Value,
    #[serde(default)]
    access_key: Value,
    #[serde(default)]
    content_type: Value,
    #[serde(default)]
    file_size: Option<u64>,
    #[serde(default)]
    block_size: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    media_size: Option<u64>,
    blocks: Vec<Block>,
}

/// The key of an old object.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum OldKey {
    /// The SHA-1 of its name, which everybody can compute.
    Default,
    /// A secret.
    Chosen(Zeroizing<String>),
    /// None, or something that nobody can present.
    None,
}

/// What an old pool says of an object. Holds a key: no `Debug`.
pub(super) struct Inode {
    pub(super) url: String,
    pub(super) created_ms: u64,
    pub(super) private: bool,
    pub(super) encrypted: bool,
    pub(super) executable: bool,
    pub(super) key: OldKey,
    /// The text of the key, which encrypted blocks are encrypted with.
    pub(super) key_text: Zeroizing<String>,
    pub(super) content_type: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) block_size: Option<u64>,
    pub(super) is_wave: bool,
    pub(super) media_size: Option<u64>,
    pub(super) blocks: Vec<Sha1>,
}

impl Inode {
    fn of(written: Written) -> Inode {
        let Written { url, created, access_key, content_type, .. } = written;
        let key_text = Zeroizing::new(access_key.as_str().unwrap_or_default().to_owned());
        let key = match key_text.as_str() {
            "" => OldKey::None,
            text if text == Sha1::of(url.as_bytes()).to_string() => OldKey::Default,
            _ => OldKey::Chosen(key_text.clone()),
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let created_ms = created as u64;
        Inode {
            created_ms,
            private: is_true(&written.private),
            encrypted: is_true(&written.encrypted),
            executable: is_true(&written.executable),
            key,
            key_text,
            content_type: content_type.as_str().map(str::to_owned),
            size: written.file_size,
            block_size: written.block_size,
            is_wave: written.media_type.as_deref() == Some("wave"),
            media_size: written.media_size,
            blocks: written.blocks.into_iter().map(|block| block.block_hash).collect(),
            url,
        }
    }
}

/// Whether JavaScript takes it for true.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// An inode, and what is wrong with its other copies.
pub(super) struct Found {
    pub(super) inode: Inode,
    pub(super) notes: Vec<String>,
}

/// The directories of a pool.
pub(super) struct Pool {
    pub(super) locations: Vec<PathBuf>,
}

impl Pool {
    /// The pool in these directories, or of this `config.js`.
    ///
    /// # Errors
    /// Names what is no directory, or cannot be read.
    pub(super) fn open(named: &[PathBuf]) -> Result<Pool, CouldNotRun> {
        let mut locations: Vec<PathBuf> = Vec::new();
        for path in named {
            let cannot = |why: String| CouldNotRun(format!("cannot read {}: {why}", path.display()));
            let metadata = std::fs::metadata(path).map_err(|error| cannot(error.to_string()))?;
            let several = if metadata.is_dir() {
                vec![path.clone()]
            } else {
                let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
                config_js::locations(&text, path).map_err(|error| cannot(error.to_string()))?
            };
            for location in several {
                let cannot = |error: io::Error| {
                    CouldNotRun(format!(
                        "cannot read the location {}: {error}; name the directories that are left, if it is gone for good",
                        location.display()
                    ))
                };
                let location = std::fs::canonicalize(&location).map_err(cannot)?;
                std::fs::read_dir(&location).map_err(cannot)?;
                if !locations.contains(&location) {
                    locations.push(location);
                }
            }
        }
        Ok(Pool { locations })
    }

    /// Every object once, as long as `take` says to go on.
    ///
    /// # Errors
    /// Where a directory cannot be read.
    pub(super) fn each(&self, mut take: impl FnMut(Sha1) -> bool) -> io::Result<()> {
        for (at, location) in self.locations.iter().enumerate() {
            for entry in std::fs::read_dir(location)? {
                let name = entry?.file_name();
                let Some(name) =
                    name.to_str().and_then(|name| name.strip_suffix(".json")).and_then(Sha1::parse)
                else {
                    continue;
                };
                let earlier = self.locations[..at].iter().any(|location| inode_in(location, name).exists());
                if !earlier && !take(name) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether the pool has an object of this name.
    pub(super) fn has(&self, url: &str) -> bool {
        let name = Sha1::of(url.as_bytes());
        self.locations.iter().any(|location| inode_in(location, name).exists())
    }

    /// The newest whole copy of an inode.
    ///
    /// # Errors
    /// What is wrong with each, where none is whole.
    pub(super) fn inode(&self, name: Sha1) -> Result<Found, String> {
        let mut best: Option<Inode> = None;
        let mut notes = Vec::new();
        for location in &self.locations {
            let path = inode_in(location, name);
            match read(&path, name) {
                Ok(inode) if best.as_ref().is_none_or(|best| best.created_ms < inode.created_ms) => {
                    best = Some(inode);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => notes.push(format!("{} is damaged: {error}", path.display())),
            }
        }
        match best {
            Some(inode) => Ok(Found { inode, notes }),
            None if notes.is_empty() => Err("its inode is gone".to_owned()),
            None => Err(notes.join("; ")),
        }
    }
}

fn inode_in(location: &Path, name: Sha1) -> PathBuf {
    location.join(format!("{name}.json"))
}

fn read(path: &Path, name: Sha1) -> io::Result<Inode> {
    let file = BufReader::new(File::open(path)?.take(INODE_BYTES_MAX));
    let written: Written = serde_json::from_reader(file).map_err(io::Error::other)?;
    if Sha1::of(written.url.as_bytes()) != name {
        return Err(io::Error::other("it is not named by the SHA-1 of the name in it"));
    }
    Ok(Inode::of(written))
}
