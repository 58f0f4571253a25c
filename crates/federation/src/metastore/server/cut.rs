//! Homes that are cut, because a member has as many entries there as one home is to have.
//!
//! A home that is cut takes no entries any more: whoever stores one is told to go to the shard, and what is there still moves on (`keeper/handing`). That it is cut is a
//! row, the last of the home, so that it is compared and handed on as everything there is. It says who told of it, for whom it counts as bytes.

use super::super::compare::each_row;
use super::super::slot::shard_at;
use super::super::{Change, Home, Members, Response, Row, Shelf, ShelfError, Slot, Version};
use super::{ENTRIES_MAX, Server};
use crate::membership::PeerId;
use crate::wire::ErrorCode;
use std::collections::BTreeMap;

/// What a home that is cut counts for, in bytes.
const CUT_BYTES: i64 = 128;

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
    pub(super) fn is_elsewhere(&mut self, slot: &Slot, more: &[Version]) -> Result<bool, ShelfError> {
        let (home, locator) = (slot.home(), slot.locator());
        if home == Home::from(locator) {
            return Ok(false);
        }
        let shard = shard_at(&home, more.iter().chain(slot.versions()));
        if shard.is_none_or(|(_, shard)| shard.below(&locator).is_none()) {
            return Ok(false);
        }
        if self.is_cut(&home)? {
            return Ok(true);
        }
        let is_new = slot.versions().is_empty();
        Ok(is_new && self.entries_at(home)? >= self.limits.entries && self.cut(home, self.me)?)
    }

    /// How many entries there are at a home. They are counted once and then as they come and go.
    fn entries_at(&mut self, home: Home) -> Result<usize, ShelfError> {
        if let Some(entries) = self.entries.get(&home) {
            return Ok(*entries);
        }
        let from = Row::first_of(home).to_bytes();
        let (mut entries, mut last) = (0, None);
        each_row(&self.shelf, &from, super::after_home(&home).as_ref(), |row| {
            entries += usize::from(row.is_of_entry() && last != Some(row.locator));
            last = Some(row.locator);
        })?;
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.clear();
        }
        self.entries.insert(home, entries);
        Ok(entries)
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
