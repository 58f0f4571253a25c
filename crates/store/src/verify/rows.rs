//! The index's rows against what was found in packs, and the entries that damage touches.
//!
//! Rows are read from a snapshot; what looks wrong in it is looked at again as it is now before it is a finding.

use super::{FIRST, PackPlace, Verifier, VerifyError, block_mark, id_of, name, operation_mark};
use crate::{
    id::BlockId,
    index::IndexError,
    rows::{BLOCK, BlockRow, ENTRY, KeyRow, Place, TOMBSTONE},
    view::list_ids,
};
use std::{collections::HashSet, ops::Bound};

impl Verifier<'_> {
    /// Compares the index's rows with what was found in the packs of the group.
    pub(super) fn compare_group(&mut self) -> Result<(), VerifyError> {
        if self.group.is_empty() {
            return Ok(());
        }
        let index = &self.reading.index;
        let all = |prefix: u8| index.scan(Bound::Included(vec![prefix]), Bound::Excluded(vec![prefix + 1]));
        for (at, row) in all(BLOCK).enumerate() {
            self.go_on(at)?;
            let (key, value) = row?;
            let (Some(id), Some(row)) = (id_of(&key), BlockRow::decode(&value)) else {
                self.differ(FIRST, 0, "a row of a block is malformed".to_owned());
                continue;
            };
            for at in &row.places {
                let place = PackPlace { location: at.location, pack: at.pack };
                let is_read = self.group.get(&place).is_some_and(|end| at.end() <= *end);
                if is_read && !self.found.contains(&block_mark(&id, at)) && self.claims_block(&id, at)? {
                    self.differ(
                        place,
                        at.offset,
                        format!("the index says that block {id} lies here, and it does not"),
                    );
                }
            }
        }
        for prefix in [ENTRY, TOMBSTONE] {
            for (at, row) in all(prefix).enumerate() {
                self.go_on(at)?;
                let (key, value) = row?;
                let Some(row) = KeyRow::decode(&value, prefix == ENTRY) else {
                    self.differ(FIRST, 0, format!("a row is malformed: {}", name(&key[1..])));
                    continue;
                };
                for (location, copies) in (0u8..).zip(&row.copies) {
                    let place = PackPlace { location, pack: copies.pack };
                    // The pack that is being written may have got it after it was read.
                    let Some(end) = self.group.get(&place).copied() else { continue };
                    if !self.found.contains(&operation_mark(place, &key[1..], row.order()))
                        && self.claims_operation(&key[1..], &row, place, end)?
                    {
                        let what = format!(
                            "{} is not in this pack, where the index says that it is",
                            name(&key[1..])
                        );
                        self.differ(place, 0, what);
                    }
                }
            }
        }
        self.found.clear();
        self.group.clear();
        Ok(())
    }

    fn claims_block(&self, id: &BlockId, at: &Place) -> Result<bool, IndexError> {
        let still = self.reading.row(id)?.is_some_and(|row| row.places.contains(at));
        let place = PackPlace { location: at.location, pack: at.pack };
        Ok(still && self.row(place)?.is_some_and(|row| row.done < at.end()))
    }

    fn claims_operation(
        &self,
        key: &[u8],
        row: &KeyRow,
        place: PackPlace,
        end: u64,
    ) -> Result<bool, IndexError> {
        let copies = |row: &KeyRow| row.copies.get(usize::from(place.location)).copied();
        let still = self.current(key)?;
        let still = still.is_some_and(|now| {
            now.order() == row.order() && copies(&now).is_some_and(|copies| copies.pack == place.pack)
        });
        // Only of a pack that has not grown since it was read is everything known.
        Ok(still && self.row(place)?.is_some_and(|row| row.end == end))
    }

    /// Packs that are there and have no row: nothing in them would be read. The newest may not have got its row yet.
    pub(super) fn find_unknown_packs(&mut self) -> Result<(), VerifyError> {
        for (location, backend) in (0u8..).zip(&self.reading.locations) {
            // What cannot be listed cannot be opened either, which was told.
            let Ok(numbers) = backend.packs() else { continue };
            let rows = self.reading.index.packs()?;
            let newest = rows.iter().filter(|row| row.0 == location).map(|row| row.1).max().unwrap_or(0);
            for pack in numbers.into_iter().filter(|number| *number < newest) {
                // The row first: compaction removes it after the pack.
                let has_row = self.reading.index.pack(location, pack)?.is_some();
                if !has_row && backend.open_pack(pack).is_ok() {
                    let place = PackPlace { location, pack };
                    self.differ(place, 0, "the index does not know this pack".to_owned());
                }
            }
        }
        Ok(())
    }

    /// Every block that an entry needs has a place.
    pub(super) fn follow_references(&mut self) -> Result<(), VerifyError> {
        let index = &self.reading.index;
        for (at, row) in
            index.scan(Bound::Included(vec![ENTRY]), Bound::Excluded(vec![ENTRY + 1])).enumerate()
        {
            self.go_on(at)?;
            let (key, value) = row?;
            let Some(row) = KeyRow::decode(&value, true) else { continue };
            self.done.entries += 1;
            for id in row.put.iter().flat_map(|put| &put.references) {
                if self.has_place(id)? {
                    continue;
                }
                // The entry first: while it is current its blocks stay.
                let is_current = self.current(&key[1..])?.is_some_and(|now| now.order() == row.order());
                if is_current && !self.has_place(id)? {
                    let what = format!("{} needs block {id}, which is in no pack", name(&key[1..]));
                    self.report(FIRST, 0, what, false);
                }
            }
        }
        Ok(())
    }

    fn has_place(&self, id: &BlockId) -> Result<bool, IndexError> {
        Ok(self.reading.row(id)?.is_some_and(|row| !row.places.is_empty()))
    }

    /// Names the entries that need damaged blocks of which no good copy is left.
    pub(super) fn name_entries(&mut self) -> Result<(), VerifyError> {
        let mut lost = HashSet::new();
        for id in std::mem::take(&mut self.damaged) {
            let places = self.reading.row(&id)?.unwrap_or_default().places;
            if self.reading.block_at(&id, &places).is_err() {
                lost.insert(id);
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        self.add_lists(&mut lost)?;
        let index = &self.reading.index;
        for (at, row) in
            index.scan(Bound::Included(vec![ENTRY]), Bound::Excluded(vec![ENTRY + 1])).enumerate()
        {
            self.go_on(at)?;
            let (key, value) = row?;
            let Some(put) = KeyRow::decode(&value, true).and_then(|row| row.put) else { continue };
            if put.references.iter().any(|id| lost.contains(id)) {
                let what = format!("{} needs a block that is damaged", name(&key[1..]));
                self.report(FIRST, 0, what, false);
            }
        }
        Ok(())
    }

    /// Adds the lists in which damaged blocks stand, level by level.
    fn add_lists(&mut self, lost: &mut HashSet<BlockId>) -> Result<(), VerifyError> {
        loop {
            let before = lost.len();
            let index = &self.reading.index;
            for row in index.scan(Bound::Included(vec![BLOCK]), Bound::Excluded(vec![BLOCK + 1])) {
                let (key, value) = row?;
                let (Some(id), Some(row)) = (id_of(&key), BlockRow::decode(&value)) else { continue };
                if !row.is_list || lost.contains(&id) {
                    continue;
                }
                let stored = self.reading.block_at(&id, &row.places).unwrap_or_default();
                if list_ids(&stored).is_some_and(|ids| ids.iter().any(|id| lost.contains(id))) {
                    lost.insert(id);
                }
            }
            if lost.len() == before {
                return Ok(());
            }
        }
    }
}
