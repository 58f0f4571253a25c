//! The newest versions that this node has written or served: a reader who has seen them is shown nothing older.
//!
//! What is kept until enough replicas have it is remembered for as long; the rest within a bound, the least lately seen forgotten first.
//! Each is found by its locator and by its group, so that a page of a listing costs what lies in it.

use super::super::{HEADS_MAX, Home};
use super::Version;
use jsfs_objects::read_key::{Group, Locator};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::{Bound, RangeBounds};

/// Bytes of envelopes that are remembered.
const BYTES_MAX: usize = 16 << 20;

/// Homes that are remembered to be cut.
const CUTS_MAX: usize = 65_536;

/// Heads by locator.
#[derive(Debug, Default)]
pub(super) struct Recent {
    seen: HashMap<Locator, Seen>,
    kept: BTreeMap<Locator, Vec<Version>>,
    /// Where those that are seen or kept are listed.
    listed: BTreeSet<(Group, Locator)>,
    order: BTreeMap<u64, Locator>,
    next: u64,
    bytes: usize,
    /// Homes of which as many replicas know that they are cut as have taken an acknowledged write: whoever reads there hears of it.
    cuts: HashSet<Home>,
}

#[derive(Debug)]
struct Seen {
    heads: Vec<Version>,
    at: u64,
}

impl Recent {
    /// What was seen last under a locator, or is kept.
    pub(super) fn of(&self, locator: &Locator) -> impl Iterator<Item = &Version> {
        let seen = self.seen.get(locator).map(|seen| seen.heads.as_slice()).unwrap_or_default();
        seen.iter().chain(self.kept.get(locator).into_iter().flatten())
    }

    /// What of it is listed in a group, under these locators.
    pub(super) fn of_group(
        &self,
        group: Group,
        within: impl RangeBounds<Locator>,
    ) -> impl Iterator<Item = &Version> {
        let (least, most) = (Locator::from_bytes([0; 32]), Locator::from_bytes([0xff; 32]));
        let start = match within.start_bound().map(|locator| (group, *locator)) {
            Bound::Unbounded => Bound::Included((group, least)),
            bound => bound,
        };
        let end = match within.end_bound().map(|locator| (group, *locator)) {
            Bound::Unbounded => Bound::Included((group, most)),
            bound => bound,
        };
        let found = self.listed.range((start, end)).flat_map(|(_, locator)| self.of(locator));
        found.filter(move |version| version.record().group == group)
    }

    /// Whether everybody who reads at a home hears that it is cut, as far as this node knows.
    pub(super) fn is_cut(&self, home: &Home) -> bool {
        self.cuts.contains(home)
    }

    /// Takes note that it is so.
    pub(super) fn see_cut(&mut self, home: Home) {
        if self.cuts.len() >= CUTS_MAX {
            self.cuts.clear();
        }
        self.cuts.insert(home);
    }

    /// Takes note of a version beside those that it does not follow.
    pub(super) fn see(&mut self, version: &Version) {
        let seen = self.seen.get(&version.locator()).map(|seen| seen.heads.as_slice()).unwrap_or_default();
        if seen.iter().any(|head| head == version || head.follows(version)) {
            return;
        }
        let others = seen.iter().filter(|head| !version.follows(head)).cloned();
        let heads = std::iter::once(version.clone()).chain(others).take(HEADS_MAX).collect();
        self.see_all(version.locator(), heads);
    }

    /// Takes note of what is there, in which what was remembered has its part.
    pub(super) fn see_all(&mut self, locator: Locator, heads: Vec<Version>) {
        self.forget(&locator);
        let at = self.next;
        self.next += 1;
        self.bytes += bytes(&heads);
        self.order.insert(at, locator);
        self.listed.extend(heads.iter().map(|head| (head.record().group, locator)));
        self.seen.insert(locator, Seen { heads, at });
        while self.bytes > BYTES_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, locator: &Locator) {
        if let Some(Seen { heads, at }) = self.seen.remove(locator) {
            self.order.remove(&at);
            self.bytes -= bytes(&heads);
            self.unlist(*locator, &heads);
        }
    }

    /// Versions that are neither seen nor kept any more.
    fn unlist(&mut self, locator: Locator, gone: &[Version]) {
        for group in gone.iter().map(|version| version.record().group) {
            if !self.of(&locator).any(|other| other.record().group == group) {
                self.listed.remove(&(group, locator));
            }
        }
    }

    /// Remembers a version until [`Recent::let_go`].
    pub(super) fn keep(&mut self, version: &Version) {
        let kept = self.kept.entry(version.locator()).or_default();
        if !kept.contains(version) {
            kept.push(version.clone());
        }
        self.listed.insert((version.record().group, version.locator()));
    }

    /// It need not be remembered any more.
    pub(super) fn let_go(&mut self, version: &Version) {
        let locator = version.locator();
        if let Some(kept) = self.kept.get_mut(&locator) {
            kept.retain(|other| other != version);
            if kept.is_empty() {
                self.kept.remove(&locator);
            }
        }
        self.unlist(locator, std::slice::from_ref(version));
        self.see(version);
    }
}

fn bytes(heads: &[Version]) -> usize {
    heads.iter().map(|head| head.bytes().len()).sum()
}
