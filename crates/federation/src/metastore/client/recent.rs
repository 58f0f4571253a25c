//! The newest versions that this node has written or served: a reader who has seen them is shown nothing older.

use super::Version;
use jsfs_objects::read_key::{Group, Locator};
use std::collections::{BTreeMap, HashMap};

/// Bytes of envelopes that are remembered.
const BYTES_MAX: usize = 16 << 20;

/// Versions by locator, the least lately seen forgotten first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    versions: HashMap<Locator, (Version, u64)>,
    order: BTreeMap<u64, Locator>,
    next: u64,
    bytes: usize,
}

impl Recent {
    /// The version seen last under a locator.
    pub(super) fn of(&self, locator: &Locator) -> Option<&Version> {
        self.versions.get(locator).map(|(version, _)| version)
    }

    /// Those that are listed in a group, or were.
    pub(super) fn of_group(&self, group: &Group) -> impl Iterator<Item = &Version> {
        let group = *group;
        let versions = self.versions.values().map(|(version, _)| version);
        versions.filter(move |version| version.record().group == group)
    }

    /// Takes note of a version, unless the one remembered is newer.
    pub(super) fn see(&mut self, version: &Version) {
        let locator = version.locator();
        if let Some((before, at)) = self.versions.get(&locator) {
            if before.owner() == version.owner() && before.record().is_newer_than(version.record()) {
                return;
            }
            self.bytes -= before.bytes().len();
            self.order.remove(at);
        }
        self.bytes += version.bytes().len();
        self.order.insert(self.next, locator);
        self.versions.insert(locator, (version.clone(), self.next));
        self.next += 1;
        while self.bytes > BYTES_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            if let Some((version, _)) = self.versions.remove(&oldest) {
                self.bytes -= version.bytes().len();
            }
        }
    }
}
