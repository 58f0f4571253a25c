//! A slot: the versions under one locator at one home, and which of them nothing follows.
//!
//! Merging is union, so members that have seen the same versions, in any order, have the same **heads**: those that no other follows. Two
//! heads of one owner are two edits that did not know of each other; both are kept, and [`Version::rank`] picks the one that is served.
//! Heads of different owners are claims that only a reader who knows the address can decide between; none takes another's place.
//!
//! What was followed is kept where versions are (the locator's home) for as long as retention says, and dropped at once where a directory is
//! listed. A **mark**, eight bytes, stays of what was dropped and of what that was made from: a version that comes back from a member that was away is known for what it is. Marks are a
//! member's own knowledge and never taken from one other; a reader believes two.

use super::placement::Members;
use super::shelf::{Change, Content, Row, Shelf, ShelfError, after_slot};
use super::{Home, Shard, Summary, Version};
use jsfs_objects::key::Owner;
use jsfs_objects::read_key::{Group, Locator};
use jsfs_objects::record::RecordHash;

/// The most heads of one owner in a slot.
pub const HEADS_MAX: usize = 8;

/// The most owners with heads in a slot.
pub const OWNERS_MAX: usize = 8;

/// The most followed versions that a slot keeps.
const PAST_MAX: usize = 100;

/// The most marks that a slot keeps.
const MARKS_MAX: usize = 1_024;

/// What stays of a version that was dropped: eight bytes of a hash over its hash and its owner.
pub type Mark = [u8; 8];

/// What became of a version that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It was there.
    Known,
    /// It is a head now.
    Head,
    /// Something follows from it already; it is kept among the past where that is kept.
    Behind,
    /// There are as many heads as there may be, all of which come before it.
    Full,
}

/// The versions of one locator at one home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    home: Home,
    locator: Locator,
    versions: Vec<Version>,
    marks: Vec<Mark>,
}

impl Slot {
    /// A slot with nothing in it.
    pub fn empty(home: Home, locator: Locator) -> Self {
        Self { home, locator, versions: Vec::new(), marks: Vec::new() }
    }

    /// Reads a slot off a shelf. A row that is damaged is left out: another member has it.
    pub fn load(shelf: &impl Shelf, home: Home, locator: Locator) -> Result<Self, ShelfError> {
        let from = Row::marks(home, locator).to_bytes();
        let contents = shelf.contents(&from, after_slot(&home, &locator).as_ref(), SLOT_ROWS_MAX)?;
        Ok(Self::of(home, locator, contents))
    }

    /// The slot that these rows are.
    pub(super) fn of(home: Home, locator: Locator, contents: impl IntoIterator<Item = Content>) -> Self {
        let mut slot = Self::empty(home, locator);
        for (row, value) in contents {
            if row.is_marks() {
                slot.marks = value.as_chunks::<8>().0.to_vec();
            } else if let Ok(version) = Version::kept(value)
                && version.hash() == row.hash
            {
                slot.versions.push(version);
            }
        }
        slot
    }

    /// Where it lies.
    pub fn home(&self) -> Home {
        self.home
    }

    /// What is filed in it.
    pub fn locator(&self) -> Locator {
        self.locator
    }

    /// Whether followed versions are kept: at the home of the locator itself.
    fn keeps_past(&self) -> bool {
        self.home == Home::from(self.locator)
    }

    /// The group that lists this here, and the shard of it whose home this is.
    pub fn shard(&self) -> Option<(Group, Shard)> {
        shard_at(&self.home, &self.versions)
    }

    /// Every version that is kept.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The newest marks.
    pub fn marks(&self, limit: usize) -> &[Mark] {
        &self.marks[self.marks.len().saturating_sub(limit)..]
    }

    /// Takes a version in, in memory. What the shelf has to change is told by [`Slot::changes_since`].
    pub fn add(&mut self, version: Version) -> Added {
        if self.versions.contains(&version) {
            return Added::Known;
        }
        if self.is_past(&version) {
            // Where followed versions are not kept, trimming forgets it, but for what shows that a record that left belongs here. That it was made from another is
            // remembered all the same: what came with it need not be known to be past.
            if !self.keeps_past() || !self.marks.contains(&mark(&version.hash(), &version.owner())) {
                self.versions.push(version);
            }
            return Added::Behind;
        }
        let hash = version.hash();
        let owners = self.heads().iter().filter(|head| head.owner() != version.owner()).fold(
            Vec::new(),
            |mut owners, head| {
                if !owners.contains(&head.owner()) {
                    owners.push(head.owner());
                }
                owners
            },
        );
        if owners.len() >= OWNERS_MAX && !self.versions.iter().any(|other| version.follows(other)) {
            return Added::Full;
        }
        self.versions.push(version);
        self.drop_the_least_heads();
        if self.versions.iter().any(|version| version.hash() == hash) { Added::Head } else { Added::Full }
    }

    /// Adds a mark for a version that others showed to be followed.
    pub fn mark_past(&mut self, version: &Version) {
        let mark = mark(&version.hash(), &version.owner());
        if !self.marks.contains(&mark) {
            self.marks.push(mark);
        }
    }

    fn drop_the_least_heads(&mut self) {
        let owners: Vec<Owner> = self.heads().iter().map(|head| head.owner()).collect();
        for owner in owners {
            let mut heads: Vec<_> = self.heads().into_iter().filter(|head| head.owner() == owner).collect();
            heads.sort_unstable_by_key(|head| std::cmp::Reverse(head.rank()));
            let least: Vec<RecordHash> = heads.iter().skip(HEADS_MAX).map(|head| head.hash()).collect();
            self.versions.retain(|version| !least.contains(&version.hash()));
        }
    }

    /// Whether something is known that follows from this version.
    pub fn is_past(&self, version: &Version) -> bool {
        self.versions.iter().any(|other| other.follows(version))
            || self.marks.contains(&mark(&version.hash(), &version.owner()))
    }

    /// The versions that nothing follows, the one that is served first.
    pub fn heads(&self) -> Vec<&Version> {
        let mut heads: Vec<_> = self.versions.iter().filter(|version| !self.is_past(version)).collect();
        heads.sort_unstable_by_key(|head| std::cmp::Reverse(head.rank()));
        heads
    }

    /// The version that every node picks: of those of the right owner, where that is known, else of all.
    pub fn served(&self, owner: Option<&Owner>) -> Option<&Version> {
        self.heads().into_iter().find(|head| owner.is_none_or(|owner| head.owner() == *owner))
    }

    /// What was edited by one owner without knowing of what is served: to be shown as conflicts. A delete beside an edit is none.
    pub fn conflicts(&self, owner: &Owner) -> Vec<&Version> {
        let heads = self.heads().into_iter().filter(|head| head.owner() == *owner);
        heads.skip(1).filter(|head| head.rank().0).collect()
    }

    /// What a reader is told: the heads, what shows who was given a namespace, and as many of the past, newest first, as are asked for.
    pub fn told(&self, chain: usize, members: &Members) -> Vec<&Version> {
        let heads = self.heads();
        let mut past: Vec<_> = self.versions.iter().filter(|version| !heads.contains(version)).collect();
        past.sort_unstable_by_key(|version| std::cmp::Reverse(version.rank()));
        let (roots, others): (Vec<_>, Vec<_>) =
            past.into_iter().partition(|version| is_root(version, members));
        heads.into_iter().chain(roots).chain(others.into_iter().take(chain)).collect()
    }

    /// Forgets what retention says: what was followed and is past the number kept, or accepted before `before_ms`; all that was followed
    /// where that is not kept, and the versions of an owner who purged them.
    pub fn trim(&mut self, before_ms: u64, members: &Members) {
        let mut past: Vec<Version> =
            self.versions.iter().filter(|version| self.is_past(version)).cloned().collect();
        past.sort_unstable_by_key(|version| std::cmp::Reverse(version.rank()));
        let purgers: Vec<Owner> =
            self.heads().iter().filter(|head| head.record().purged).map(|head| head.owner()).collect();
        let mut kept = 0;
        let mut left = self.left_from();
        for version in past {
            let purged = purgers.contains(&version.owner());
            if left.take_if(|left| *left == version).is_some() {
                continue;
            }
            let kept_by_rule = (is_root(&version, members) && kept < 2 * PAST_MAX)
                || (self.keeps_past() && kept < PAST_MAX && version.accepted_ms() >= before_ms && !purged);
            if kept_by_rule {
                kept += 1;
            } else {
                self.forget(&version);
            }
        }
        self.marks.drain(..self.marks.len().saturating_sub(MARKS_MAX));
    }

    /// Where a directory is listed, what it has left from: it shows that the record that left belongs here, so that other members take that in.
    fn left_from(&self) -> Option<Version> {
        let is_here = |version: &&Version| version.is_listed_at(&self.home);
        let heads = self.heads();
        // What left and has been followed elsewhere since shows nothing any more.
        if self.keeps_past() || heads.is_empty() || heads.iter().any(is_here) {
            return None;
        }
        self.versions.iter().filter(is_here).max_by_key(|version| version.rank()).cloned()
    }

    fn forget(&mut self, version: &Version) {
        if let Some(predecessor) = version.record().predecessor {
            let before = mark(&predecessor, &version.owner());
            if !self.marks.contains(&before) {
                self.marks.push(before);
            }
        }
        self.mark_past(version);
        self.versions.retain(|other| other != version);
    }

    /// What a shelf that holds `before` has to change to hold this.
    pub fn changes_since(&self, before: &Slot) -> Vec<Change> {
        let row = |version: &Version| Row { home: self.home, locator: self.locator, hash: version.hash() };
        let added = self.versions.iter().filter(|version| !before.versions.contains(version));
        let removed = before.versions.iter().filter(|version| !self.versions.contains(version));
        let mut changes: Vec<_> =
            added.map(|version| Change::Put(row(version), version.bytes().to_vec())).collect();
        changes.extend(removed.map(|version| Change::Remove(row(version))));
        let marks = Row::marks(self.home, self.locator);
        if self.marks.is_empty() && !before.marks.is_empty() {
            changes.push(Change::Remove(marks));
        } else if self.marks != before.marks {
            changes.push(Change::Put(marks, self.marks.concat()));
        }
        changes
    }
}

/// The group that lists any of these at a home, and its shard there.
pub(super) fn shard_at<'v>(
    home: &Home,
    versions: impl IntoIterator<Item = &'v Version>,
) -> Option<(Group, Shard)> {
    versions.into_iter().find_map(|version| {
        let record = version.record();
        Shard::at(home, record.group, &record.locator).map(|shard| (record.group, shard))
    })
}

/// Rows of one slot: heads, past, and the marks.
pub(super) const SLOT_ROWS_MAX: usize = HEADS_MAX * OWNERS_MAX + 2 * PAST_MAX + 1;

/// What shows how a namespace came to its owner is kept for as long as the namespace.
fn is_root(version: &Version, members: &Members) -> bool {
    version.is_granted(members) || (version.is_namespace() && version.record().delegation.is_some())
}

pub(super) fn mark(hash: &RecordHash, owner: &Owner) -> Mark {
    let hash = blake3::Hasher::new().update(hash).update(owner.as_bytes()).finalize();
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

impl Summary {
    /// What a head is.
    pub fn of(version: &Version) -> Self {
        let record = version.record();
        Self {
            hash: version.hash(),
            owner: record.owner,
            epoch: record.epoch,
            version: record.version,
            time: record.time.0,
            kind: record.kind,
        }
    }
}
