//! The node's own keys in its data directory, each one line in the form of an access key, mode 0600.
//!
//! `root.key` owns namespace `localhost` and grants namespaces. `node.key` is the node's identity: what it accepts is countersigned with the signing
//! key that follows from it. A key is on the disk before anything is signed or founded with it. The store's lock is held meanwhile.

use crate::session::ROOT_KEY_FILE;
use anyhow::{Context, bail};
use jsfs_objects::clock::SystemRandom;
use jsfs_objects::key::Seed;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

pub(crate) const NODE_KEY_FILE: &str = "node.key";

/// The root key; `None` where there is none.
pub(super) fn root_key(data: &Path) -> anyhow::Result<Option<Seed>> {
    read(&data.join(ROOT_KEY_FILE))
}

/// Makes the root key.
pub(super) fn make_root_key(data: &Path) -> anyhow::Result<Seed> {
    make(data, ROOT_KEY_FILE)
}

/// The node's identity; made where there is none.
pub(super) fn node_key(data: &Path) -> anyhow::Result<Seed> {
    match read(&data.join(NODE_KEY_FILE))? {
        Some(seed) => Ok(seed),
        None => make(data, NODE_KEY_FILE),
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Seed>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => zeroize::Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => bail!("cannot read {}: {error}; run jsfs as the owner of that file", path.display()),
    };
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            "{} can be read by others; run chmod 600 on it, and replace the key if anybody may have seen it",
            path.display()
        );
    }
    let seed = Seed::parse(text.trim());
    Ok(Some(
        seed.with_context(|| format!("{} holds no key; put back the one that was there", path.display()))?,
    ))
}

fn make(data: &Path, name: &str) -> anyhow::Result<Seed> {
    let seed = Seed::generate(&SystemRandom);
    keep(data, name, &seed)?;
    Ok(seed)
}

/// Writes a key beside its place and renames it, so that there is never half a key.
pub(crate) fn keep(data: &Path, name: &str, seed: &Seed) -> anyhow::Result<()> {
    let (path, temporary) = (data.join(name), data.join(format!("{name}.new")));
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        writeln!(file, "{}", seed.to_text().as_str())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(data)?.sync_all()
    };
    write().with_context(|| format!("cannot keep a key in {}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_only_the_owner_can_read_them() {
        let data = tempfile::tempdir().unwrap();
        assert!(root_key(data.path()).unwrap().is_none());
        let made = make_root_key(data.path()).unwrap();
        assert_eq!(root_key(data.path()).unwrap().unwrap(), made);
        let node = node_key(data.path()).unwrap();
        assert_eq!(node_key(data.path()).unwrap(), node);
        for name in [ROOT_KEY_FILE, NODE_KEY_FILE] {
            let path = data.path().join(name);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        }
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_damaged_key_is_an_error_and_is_not_replaced() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(NODE_KEY_FILE), "jsfs_cut").unwrap();
        assert!(node_key(data.path()).is_err());
        assert_eq!(fs::read_to_string(data.path().join(NODE_KEY_FILE)).unwrap(), "jsfs_cut");
    }
}
