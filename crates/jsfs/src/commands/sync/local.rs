//! What lies below a local directory, and what it hashes to.

use super::super::tree::is_temporary;
use super::manifest;
use aws_lc_rs::digest::{Context, SHA256};
use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

const READ_BYTES: usize = 256 * 1024;

/// A regular file.
#[derive(Debug, Clone)]
pub(super) struct LocalFile {
    /// Path below the directory, segments joined by `/`.
    pub(super) name: String,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its size when it was seen.
    pub(super) size: u64,
}

/// Everything below a directory.
#[derive(Debug, Default)]
pub(super) struct LocalTree {
    /// Regular files in order of their names.
    pub(super) files: Vec<LocalFile>,
    /// What is no regular file, with the reason.
    pub(super) skipped: Vec<(String, String)>,
    /// What could not be looked at.
    pub(super) failed: Vec<(String, io::Error)>,
}

/// Looks through a directory. Blocks.
pub(super) fn walk(root: &Path, follow_links: bool) -> LocalTree {
    let mut tree = LocalTree::default();
    for entry in
        WalkDir::new(root).follow_links(follow_links).follow_root_links(true).min_depth(1).sort_by_file_name()
    {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) => tree.add(root, &entry),
            Err(error) => {
                let name = error
                    .path()
                    .map_or_else(|| root.display().to_string(), |path| path.display().to_string());
                let reason = error.to_string();
                tree.failed.push((name, error.into_io_error().unwrap_or_else(|| io::Error::other(reason))));
            }
        }
    }
    tree
}

impl LocalTree {
    fn add(&mut self, root: &Path, entry: &walkdir::DirEntry) {
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let Some(name) = relative.to_str() else {
            let reason = io::Error::other("its name is not UTF-8; rename it");
            self.failed.push((relative.display().to_string(), reason));
            return;
        };
        let name = name.to_owned();
        let kind = entry.file_type();
        if kind.is_symlink() {
            self.skipped
                .push((name, "it is a symbolic link; --follow-links uploads what it points to".into()));
        } else if !kind.is_file() {
            self.skipped.push((name, "it is no regular file".into()));
        } else if name != manifest::FILE && !entry.file_name().to_str().is_some_and(is_temporary) {
            match entry.metadata() {
                Ok(metadata) => {
                    self.files.push(LocalFile { name, path: entry.path().to_owned(), size: metadata.len() })
                }
                Err(error) => self.failed.push((name, error.into())),
            }
        }
    }
}

/// SHA-256 in hex of what a reader gives, and how many bytes that was. Blocks.
pub(super) fn sha256(mut reader: impl Read) -> io::Result<(String, u64)> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// SHA-256 and length of bytes that come in pieces.
pub(super) struct Hasher(Context, u64);

impl Default for Hasher {
    fn default() -> Self {
        Self(Context::new(&SHA256), 0)
    }
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
        self.1 += bytes.len() as u64;
    }

    /// Hash in hex, and length.
    pub(super) fn finish(self) -> (String, u64) {
        let digest = self.0.finish();
        let hex = digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        (hex, self.1)
    }
}
