//! Pieces of packs that were read from the bucket, kept in `cache/` within a bound; the least lately used goes first.
//!
//! A piece's file ends with the hash of its bytes, so one that a crash tore or a disk changed is fetched again and never served. Failing to keep one
//! is harmless. Nothing here is synced.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Bytes of a piece; the last one of a pack has fewer.
pub(crate) const PIECE: u64 = 256 << 10;

const HASH: usize = 32;

/// A pack, and which piece of it.
type Key = (u64, u64);

#[derive(Debug)]
pub(crate) struct Pieces {
    directory: PathBuf,
    max: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Size, and the turn of the last use.
    pieces: HashMap<Key, (u64, u64)>,
    by_turn: BTreeMap<u64, Key>,
    bytes: u64,
    turn: u64,
}

impl Pieces {
    /// Those in this directory; what does not look like one is left alone.
    pub(crate) fn open(directory: &Path, max: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut kept = Kept::default();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if let Some(key) = entry.file_name().to_str().and_then(key) {
                kept.add(key, entry.metadata()?.len());
            }
        }
        let pieces = Self { directory: directory.to_owned(), max, kept: Mutex::new(kept) };
        pieces.make_room();
        Ok(pieces)
    }

    /// A piece, if it is kept and whole.
    pub(crate) fn get(&self, key: Key) -> Option<Vec<u8>> {
        if !self.hold().touch(key) {
            return None;
        }
        let mut bytes = fs::read(self.path(key)).unwrap_or_default();
        let at = bytes.len().checked_sub(HASH)?;
        let is_whole = blake3::hash(&bytes[..at]).as_bytes() == &bytes[at..];
        bytes.truncate(at);
        if is_whole {
            return Some(bytes);
        }
        self.drop_piece(key);
        None
    }

    /// Keeps a piece. It is renamed into its place, so that nobody reads half of it.
    pub(crate) fn put(&self, key: Key, bytes: &[u8]) {
        let size = (bytes.len() + HASH) as u64;
        if size > self.max {
            return;
        }
        let (path, temporary) = (self.path(key), self.path(key).with_extension("new"));
        let whole = [bytes, blake3::hash(bytes).as_bytes()].concat();
        match fs::write(&temporary, whole).and_then(|()| fs::rename(&temporary, &path)) {
            Ok(()) => self.hold().add(key, size),
            Err(error) => tracing::debug!(%error, "a piece of a pack cannot be kept"),
        }
        self.make_room();
    }

    /// Forgets a pack.
    pub(crate) fn forget(&self, pack: u64) {
        let of_pack: Vec<Key> = self.hold().pieces.keys().filter(|key| key.0 == pack).copied().collect();
        of_pack.into_iter().for_each(|key| self.drop_piece(key));
    }

    fn make_room(&self) {
        loop {
            let oldest = {
                let kept = self.hold();
                if kept.bytes <= self.max {
                    return;
                }
                kept.by_turn.first_key_value().map(|(_, key)| *key)
            };
            let Some(key) = oldest else { return };
            self.drop_piece(key);
        }
    }

    fn drop_piece(&self, key: Key) {
        self.hold().remove(key);
        let _ = fs::remove_file(self.path(key));
    }

    fn path(&self, (pack, piece): Key) -> PathBuf {
        self.directory.join(format!("{pack:012}-{piece:06}"))
    }

    fn hold(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, key: Key, size: u64) {
        self.remove(key);
        self.turn += 1;
        self.bytes += size;
        self.pieces.insert(key, (size, self.turn));
        self.by_turn.insert(self.turn, key);
    }

    fn touch(&mut self, key: Key) -> bool {
        let Some(&(size, _)) = self.pieces.get(&key) else { return false };
        self.add(key, size);
        true
    }

    fn remove(&mut self, key: Key) {
        if let Some((size, turn)) = self.pieces.remove(&key) {
            self.by_turn.remove(&turn);
            self.bytes -= size;
        }
    }
}

fn key(name: &str) -> Option<Key> {
    let (pack, piece) = name.split_once('-')?;
    (pack.len() == 12 && piece.len() == 6).then_some(())?;
    Some((pack.parse().ok()?, piece.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_least_lately_used_goes_and_a_torn_one_is_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let piece = vec![7; 1_000];
        let pieces = Pieces::open(folder.path(), 3_200).unwrap();
        for number in 0..3 {
            pieces.put((1, number), &piece);
        }
        assert!(pieces.get((1, 0)).is_some());
        pieces.put((1, 3), &piece);
        let there =
            |pieces: &Pieces| (0..4).filter(|number| pieces.get((1, *number)).is_some()).collect::<Vec<_>>();
        assert_eq!(there(&pieces), [0, 2, 3]);

        let pieces = Pieces::open(folder.path(), 3_200).unwrap();
        assert_eq!(there(&pieces), [0, 2, 3], "they outlive a restart");
        let path = pieces.path((1, 2));
        let mut bytes = fs::read(&path).unwrap();
        bytes[500] ^= 1;
        fs::write(&path, &bytes).unwrap();
        fs::write(pieces.path((1, 3)), b"cut").unwrap();
        assert_eq!(there(&pieces), [0]);
        pieces.forget(1);
        assert_eq!((there(&pieces), fs::read_dir(folder.path()).unwrap().count()), (vec![], 0));
    }
}
