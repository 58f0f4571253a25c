//! Homes that are cut, because a member has as many entries there as one home is to have.
//!
//! A home that is cut takes no entries any more: whoever stores one is told to go to the shard, and what is there still moves on (`keeper/handing`). That it is cut is a
//! row, the last of the home, so that it is compared and handed on as everything there is. It says who told of it, for whom it counts as bytes.

use super::super::shelf::after_home;
use super::super::slot::{SLOT_ROWS_MAX, shard_at};
use super::super::{Change, Home, Members, Response, Row, Shelf, ShelfError, Slot, Version};
use super::{ENTRIES_MAX, Server};
use crate::membership::PeerId;
use crate::wire::ErrorCode;
use jsfs_objects::read_key::Locator;
use std::collections::{BTreeMap, BTreeSet};

/// What a home that is cut counts for, in bytes.
const CUT_BYTES: i64 = 128;

/// Rows that are read at a time to count entries: more than one slot has.
const ROWS: usize = 1_024;

const _: () = assert!(ROWS > SLOT_ROWS_MAX);

impl<S: Shelf> Server<S> {
    /// Whether a home is cut, as far as this member knows.
    pub fn is_cut(&self, home: &Home) -> Result<bool, ShelfError> {
        Ok(self.shelf.get(&Row::cut(*home))?.is_some())
    }

    /// Whether what lies in this row belongs to a shard below its home.
    pub(in super::super) fn moves_on(&self, row: &Row) -> Result<bool, ShelfError> {
        Ok(row.is_of_entry() && self.is_cut(&row.home)?)
    }

    /// Answers whoever says that a home is cut.
    pub(super) fn hear_cut(
        &mut self,
        home: Home,
        from: PeerId,
        members: &Members,
    ) -> Result<Response, ShelfError> {
        if !self.keeps(&home, members) {
            return Ok(Response::refused(ErrorCode::Role));
        }
        let noted = self.cut(home, from)?;
        Ok(if noted { Response::Noted } else { Response::refused(ErrorCode::Full) })
    }

    /// Takes note that a home is cut, as somebody says; false where that one has used up its bytes.
    pub(in super::super) fn cut(&mut self, home: Home, by: PeerId) -> Result<bool, ShelfError> {
        if self.is_cut(&home)? {
            return Ok(true);
        }
        let Some(mut changes) = self.account(by_whom(by, CUT_BYTES))? else { return Ok(false) };
        changes.push(Change::Put(Row::cut(home), by.as_bytes().to_vec()));
        self.generation += 1;
        self.entries.remove(&home);
        self.watched.wake(home);
        // What does not fit is found by the next round.
        if self.cuts.len() < ENTRIES_MAX {
            self.cuts.push(home);
        }
        self.shelf.apply(changes)?;
        Ok(true)
    }

    /// Forgets that a home is cut, which others know now.
    pub(in super::super) fn forget_cut(&mut self, home: Home) -> Result<(), ShelfError> {
        let row = Row::cut(home);
        let Some(by) = self.shelf.get(&row)? else { return Ok(()) };
        let by = by.try_into().map(PeerId::from_bytes).unwrap_or(self.me);
        let mut changes = self.account(by_whom(by, -CUT_BYTES))?.unwrap_or_default();
        changes.push(Change::Remove(row));
        self.generation += 1;
        self.shelf.apply(changes)
    }

    /// Homes that were cut since this was asked for.
    pub(in super::super) fn take_cuts(&mut self) -> Vec<Home> {
        std::mem::take(&mut self.cuts)
    }

    /// Whether entries like these are to be stored at a shard below this home. A home that would have too many with a new one is cut.
    pub(super) fn is_elsewhere(
        &mut self,
        home: Home,
        locator: Locator,
        versions: &[Version],
    ) -> Result<bool, ShelfError> {
        if home == Home::from(locator) {
            return Ok(false);
        }
        let slot = Slot::load(&self.shelf, home, locator)?;
        let shard = shard_at(&home, versions.iter().chain(slot.versions()));
        if shard.is_none_or(|(_, shard)| shard.below(&locator).is_none()) {
            return Ok(false);
        }
        if self.is_cut(&home)? {
            return Ok(true);
        }
        Ok(slot.versions().is_empty() && self.is_full(home)? && self.cut(home, self.me)?)
    }

    /// Whether a row that another member has is wanted here. What belongs to a shard below is, as long as this member can lack what it is to know of.
    pub(in super::super) fn wants(&self, row: &Row) -> Result<bool, ShelfError> {
        Ok(!self.moves_on(row)? || !self.is_settled(&row.home))
    }

    /// Takes note that something came to a home that is cut, from which it moves on.
    pub(in super::super) fn has_come(&mut self, row: &Row) -> Result<(), ShelfError> {
        // What does not fit is found by the next round.
        if self.moves_on(row)? && self.cuts.len() < ENTRIES_MAX && !self.cuts.contains(&row.home) {
            self.cuts.push(row.home);
        }
        Ok(())
    }

    /// Whether there are as many entries at a home as there may be. They are counted once, and then as they come and go.
    fn is_full(&mut self, home: Home) -> Result<bool, ShelfError> {
        if let Some(entries) = self.entries.get(&home) {
            return Ok(*entries >= self.limits.entries);
        }
        let (mut entries, mut next) = (0, Some(Row::first_of(home).to_bytes()));
        let until = after_home(&home);
        while let Some(from) = next.take()
            && entries < self.limits.entries
        {
            let rows = self.shelf.rows(&from, until.as_ref(), ROWS)?;
            let is_entry = |row: &&Row| row.is_of_entry() && !row.is_marks();
            let last = rows.last().map(|row| row.locator);
            // What may be a part of a slot is counted with the next ones.
            let is_whole = rows.len() < ROWS;
            let of_these = rows.iter().filter(is_entry).map(|row| row.locator);
            let of_these: BTreeSet<Locator> = of_these.filter(|at| is_whole || Some(*at) != last).collect();
            entries += of_these.len();
            next = last.filter(|_| !is_whole).map(|last| Row::marks(home, last).to_bytes());
        }
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.clear();
        }
        self.entries.insert(home, entries);
        Ok(entries >= self.limits.entries)
    }

    /// Counts an entry that has come or gone.
    pub(super) fn count_entry(&mut self, before: &Slot, after: &Slot) {
        let (was, is) = (!before.versions().is_empty(), !after.versions().is_empty());
        if after.home() != Home::from(after.locator())
            && let Some(entries) = self.entries.get_mut(&after.home())
        {
            *entries = (*entries + usize::from(is)).saturating_sub(usize::from(was));
        }
    }
}

fn by_whom(peer: PeerId, bytes: i64) -> BTreeMap<PeerId, i64> {
    BTreeMap::from([(peer, bytes)])
}
