//! Where a store is and how it behaves: what [`Store::open`](crate::Store::open) is told.

use crate::{
    backend::{Backend, Directory, Memory},
    compact::Compaction,
    error::OpenError,
    location::Missing,
    params::Chunking,
    placing::{follow_moves, holds_packs},
};
use std::{path::PathBuf, sync::Arc};

/// Where a store is and how it behaves.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    pub(crate) locations: Vec<Arc<dyn Backend>>,
    pub(crate) index: Option<PathBuf>,
    pub(crate) floor: Option<u64>,
    pub(crate) is_synced: bool,
    pub(crate) pack_max: Option<u64>,
    pub(crate) chunking: Chunking,
    pub(crate) compaction: Compaction,
    pub(crate) copies: usize,
    pub(crate) is_degraded: bool,
    pub(crate) read_only: Option<&'static str>,
    /// The data directory, which is locked even where location 0 has been moved out of it.
    pub(crate) root: Option<Arc<dyn Backend>>,
}

impl OpenOptions {
    /// A store in these locations, in their order. Without [`OpenOptions::index`] the index is temporary and rebuilt at each opening.
    #[must_use]
    pub fn new(locations: Vec<Arc<dyn Backend>>) -> Self {
        Self {
            locations,
            index: None,
            floor: None,
            is_synced: true,
            pack_max: None,
            chunking: Chunking::default(),
            compaction: Compaction::default(),
            copies: 1,
            is_degraded: false,
            read_only: None,
            root: None,
        }
    }

    /// A store in a data directory, with packs in further directories too. Directories are made only for a store that is new; a location that was
    /// moved is found by what its old directory says.
    pub fn directory(root: impl Into<PathBuf>, further: &[PathBuf]) -> Result<Self, OpenError> {
        let root = root.into();
        let mut locations: Vec<Arc<dyn Backend>> = Vec::new();
        let mut paths = Vec::new();
        for path in std::iter::once(&root).chain(further) {
            paths.push(follow_moves(path)?);
        }
        let is_new = !paths.iter().any(|path| holds_packs(path));
        for path in paths {
            let is_there = path.join("store.json").exists() || holds_packs(&path);
            if !is_new && !is_there {
                locations.push(Arc::new(Missing { place: path.display().to_string() }));
                continue;
            }
            let opened = Directory::open(&path);
            let directory = opened
                .map_err(|error| OpenError::io("create directories", &path.display().to_string(), error))?;
            locations.push(Arc::new(directory));
        }
        let mut options = Self::new(locations).index(root.join("index"));
        options.root = Some(Arc::new(Directory::existing(root)));
        Ok(options)
    }

    /// A store in memory, of at most `total` bytes. Only its index uses the disk: a temporary directory.
    #[must_use]
    pub fn memory(total: u64) -> Self {
        Self::new(vec![Arc::new(Memory::new(total))])
    }

    /// Keeps the index in this directory, which nobody else uses.
    #[must_use]
    pub fn index(mut self, path: impl Into<PathBuf>) -> Self {
        self.index = Some(path.into());
        self
    }

    /// Refuses new blocks while fewer bytes than this are free.
    #[must_use]
    pub const fn floor(mut self, bytes: u64) -> Self {
        self.floor = Some(bytes);
        self
    }

    /// Whether commits wait for the disk. Without it a power loss takes back the last commits, in order; a crash of the process takes none.
    #[must_use]
    pub const fn synced(mut self, is_synced: bool) -> Self {
        self.is_synced = is_synced;
        self
    }

    /// How a store that is created cuts chunks. An existing one keeps its parameters.
    #[must_use]
    pub const fn chunking(mut self, chunking: Chunking) -> Self {
        self.chunking = chunking;
        self
    }

    /// Closes packs at this size, instead of 128 MiB or a sixteenth of a small disk.
    #[must_use]
    pub const fn pack_max(mut self, bytes: u64) -> Self {
        self.pack_max = Some(bytes);
        self
    }

    /// In how many locations a block is kept; metadata is kept in all.
    #[must_use]
    pub const fn copies(mut self, copies: usize) -> Self {
        self.copies = copies;
        self
    }

    /// Opens although locations are missing: what lies elsewhere is read, and nothing is written.
    #[must_use]
    pub const fn degraded(mut self, is_degraded: bool) -> Self {
        self.is_degraded = is_degraded;
        self
    }

    /// Takes no writes, for this reason.
    #[must_use]
    pub(crate) const fn read_only(mut self, why: &'static str) -> Self {
        self.read_only = Some(why);
        self
    }

    /// When and how fast packs are compacted in the background.
    #[must_use]
    pub const fn compaction(mut self, compaction: Compaction) -> Self {
        self.compaction = compaction;
        self
    }
}
