//! What a member learns of the past from others, where what it keeps does not show it.
//!
//! Where a directory is listed, followed versions are not kept. So of two versions here one may follow the other by a third that was never here, or is not any more.
//! Others who dropped a version say so, and are believed in twos; otherwise the versions at the home of the locator tell. What is forgotten of this costs looking
//! again.

use super::super::compare::each_row;
use super::super::{Home, Members, Response, Row, Shelf, ShelfError, Slot, Version};
use super::{DOUBTS_MAX, PAST_HEARD_MAX, Server};
use crate::membership::PeerId;
use std::collections::BTreeSet;

impl<S: Shelf> Server<S> {
    /// Believes two others, or one where one is all that a read needs.
    pub(super) fn hear_past(
        &mut self,
        from: &PeerId,
        rows: &[Row],
        members: &Members,
        now_ms: u64,
    ) -> Result<Response, ShelfError> {
        let alone = self.quorum.among(members.keepers()).read == 1;
        for row in rows.iter().filter(|row| !row.is_marks()) {
            match self.past.get(row) {
                Some(first) if first != from => {}
                None if alone => {}
                _ => {
                    if self.past.len() >= PAST_HEARD_MAX {
                        self.past.clear();
                    }
                    self.past.insert(*row, *from);
                    if self.doubts.len() < DOUBTS_MAX && self.shelf.get(row)?.is_some() {
                        self.doubts.push(*row);
                    }
                    continue;
                }
            }
            self.past.remove(row);
            self.take_for_past(row, |_| true, members, now_ms)?;
        }
        Ok(Response::Noted)
    }

    /// Rows that one other says are past, to be looked up at the home of their locator.
    pub(in super::super) fn take_doubts(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.doubts)
    }

    /// Takes a doubtful row for past if one of these versions, all judged, follows it. What follows it in the end and belongs here, but never came, is taken in: else nothing
    /// would be listed in its place.
    pub(in super::super) fn resolve_doubt(
        &mut self,
        row: &Row,
        versions: &[Version],
        members: &Members,
        now_ms: u64,
    ) -> Result<(), ShelfError> {
        let slot = Slot::load(&self.shelf, row.home, row.locator)?;
        let Some(version) = slot.versions().iter().find(|version| version.hash() == row.hash) else {
            return Ok(());
        };
        let (mut later, mut last) = (Vec::new(), Vec::new());
        let mut next = vec![version];
        while let Some(at) = next.pop() {
            let following = versions.iter().filter(|other| other.follows(at));
            let before = next.len();
            next.extend(following);
            if next.len() == before {
                last.push(at);
            }
            later.push(at);
        }
        let is_here = |later: &&Version| later.is_listed_at(&row.home);
        let comes: Vec<Version> =
            last.iter().filter(|at| **at != version).copied().filter(is_here).cloned().collect();
        let has_left = slot
            .versions()
            .iter()
            .any(|other| other.owner() == version.owner() && !other.is_listed_at(&row.home));
        let is_known = later.iter().any(|at| *at != version && slot.versions().contains(at));
        if comes.is_empty() && !has_left && !is_known {
            return Ok(());
        }
        for version in comes.iter().filter(|version| !slot.versions().contains(version)) {
            self.take_in(row.home, row.locator, vec![version.clone()], members, now_ms)?;
        }
        let is_past = |version: &Version| versions.iter().any(|other| other.follows(version));
        self.take_for_past(row, is_past, members, now_ms)
    }

    /// Leaves a mark of a version, and forgets it, unless it shows that the record that has left belongs here.
    fn take_for_past(
        &mut self,
        row: &Row,
        is_past: impl Fn(&Version) -> bool,
        members: &Members,
        now_ms: u64,
    ) -> Result<(), ShelfError> {
        let before = Slot::load(&self.shelf, row.home, row.locator)?;
        let found = before.versions().iter().find(|version| version.hash() == row.hash);
        let Some(version) = found.filter(|version| is_past(version)) else { return Ok(()) };
        let mut slot = before.clone();
        slot.mark_past(version);
        slot.trim(now_ms.saturating_sub(self.limits.past_ms), members);
        self.change(&before, &slot).map(|_| ())
    }

    /// Finds again what is doubtful: what was known of that is in memory, and an answer about it can have been lost.
    pub(in super::super) fn look_for_doubts(&mut self) -> Result<(), ShelfError> {
        let mut last = None;
        let mut several = BTreeSet::new();
        each_row(&self.shelf, &Row::FIRST, None, |row| {
            let slot = (row.home, row.locator);
            if last == Some(slot) && row.home != Home::from(row.locator) && several.len() < DOUBTS_MAX {
                several.insert(slot);
            }
            last = Some(slot);
        })?;
        for (home, locator) in several {
            let slot = Slot::load(&self.shelf, home, locator)?;
            self.doubt(&slot);
        }
        Ok(())
    }

    /// Where a directory is listed, of two heads of one owner either may follow the other by what is not kept here.
    pub(super) fn doubt(&mut self, slot: &Slot) {
        let (home, locator) = (slot.home(), slot.locator());
        if home == Home::from(locator) {
            return;
        }
        let heads = slot.heads();
        for head in &heads {
            let another = heads.iter().any(|other| other != head && other.owner() == head.owner());
            if another && self.doubts.len() < DOUBTS_MAX {
                self.doubts.push(Row { home, locator, hash: head.hash() });
            }
        }
    }
}
