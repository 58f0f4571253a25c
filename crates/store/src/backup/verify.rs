//! Reads everything that a backup consists of, and looks whether every block that an entry needs is there.
//!
//! The ids of blocks lie in an index of their own in the temporary directory, about 100 bytes each on the disk, so memory does not grow with the backup: one
//! segment (16 MiB), the manifest (52 bytes for each 64 KiB of entries, 48 for each segment) and what the index keeps (at most about 64 MiB).

use crate::{
    backup::{
        BackupError,
        archive::{Archive, items, segment_name, snapshot_name},
        item::{Kind, decode_block},
    },
    block,
    frame::Change,
    id::BlockId,
    index::{Index, IndexError, RowChange},
    recover::{REBUILD_ROWS, index_failed},
    rows::{BLOCK, BlockRow, Place, prefixed},
    store::temporary_path,
    view::list_ids,
};
use std::path::PathBuf;

/// Blocks that are named one by one when they are missing; the rest is counted.
const NAMED_MAX: u64 = 100;

impl Archive {
    /// Reads a backup whole and tells what is damaged or missing. `moved` is told of the bytes read; answers how many that were.
    pub fn verify(
        &self,
        number: u64,
        moved: &dyn Fn(u64),
        found: &mut dyn FnMut(BackupError),
    ) -> Result<u64, BackupError> {
        let manifest = self.manifest(number)?;
        let mut ids = Ids::new()?;
        let mut bytes = 0;
        for segment in &manifest.segments {
            match self.segment(segment) {
                Ok(whole) => {
                    bytes += whole.len() as u64;
                    moved(whole.len() as u64);
                    let name = segment_name(segment.number);
                    for item in items(&whole) {
                        let (kind, at, body) = item.map_err(|error| self.damaged(&name, error))?;
                        if kind != Kind::Block {
                            continue;
                        }
                        let (head, stored) =
                            decode_block(&body).map_err(|error| self.damaged(&name, error))?;
                        let is_list = matches!(block::split(&stored), Ok((block::Kind::List, _)));
                        ids.add(head.id, is_list, segment.number, at, body.len())?;
                    }
                }
                Err(error) => found(error),
            }
        }
        ids.end();
        let mut missing = 0;
        for chunk in &manifest.rows {
            let rows = match self.rows(chunk) {
                Ok(rows) => rows,
                Err(error) => {
                    found(error);
                    continue;
                }
            };
            for row in &rows {
                let Change::Put { references, .. } = &row.0.change else { continue };
                self.find_missing(&ids, references.clone(), &mut |error| {
                    missing += 1;
                    if missing <= NAMED_MAX {
                        found(self.damaged(&snapshot_name(number), error));
                    }
                })?;
            }
        }
        if missing > NAMED_MAX {
            let rest =
                format!("{} further references lead to blocks that are not there", missing - NAMED_MAX);
            found(self.damaged(&snapshot_name(number), rest));
        }
        Ok(bytes)
    }

    /// Follows references to blocks, and through lists to what they list.
    fn find_missing(
        &self,
        ids: &Ids,
        mut needed: Vec<BlockId>,
        missing: &mut dyn FnMut(String),
    ) -> Result<(), BackupError> {
        while let Some(id) = needed.pop() {
            let Some(row) = ids.find(&id)? else {
                missing(format!("block {id}, which an entry needs, is not there"));
                continue;
            };
            let Some(place) = row.places.first().filter(|_| row.is_list) else { continue };
            let (kind, body) = self.item(place.pack, place.offset, place.len)?;
            let listed = match kind {
                Kind::Block => decode_block(&body).ok().and_then(|(_, stored)| list_ids(&stored)),
                _ => None,
            };
            match listed {
                Some(listed) => needed.extend(listed),
                None => missing(format!("block {id}, a list, cannot be read")),
            }
        }
        Ok(())
    }
}

/// Which blocks there are, on the disk.
struct Ids {
    index: Index,
    path: PathBuf,
    rows: Vec<RowChange>,
}

impl Ids {
    fn new() -> Result<Self, BackupError> {
        let path = temporary_path()?;
        let index = Index::open(&path, true).map_err(|error| index_failed(&path, &error))?;
        Ok(Self { index, path, rows: Vec::new() })
    }

    fn add(
        &mut self,
        id: BlockId,
        is_list: bool,
        segment: u64,
        at: usize,
        body: usize,
    ) -> Result<(), BackupError> {
        let len = u32::try_from(body).unwrap_or(u32::MAX);
        let place = Place { location: 0, pack: segment, offset: at as u64, len, head: 0, plain: 0 };
        let row = BlockRow { references: 1, is_list, places: vec![place], ..BlockRow::default() };
        self.rows.push((prefixed(BLOCK, id.as_bytes()), Some(row.encode())));
        if self.rows.len() >= REBUILD_ROWS {
            self.end();
        }
        Ok(())
    }

    fn end(&mut self) {
        self.index.apply(std::mem::take(&mut self.rows), None);
        self.index.wait();
    }

    fn find(&self, id: &BlockId) -> Result<Option<BlockRow>, BackupError> {
        let failed = |error: IndexError| BackupError::Store(index_failed(&self.path, &error));
        self.index.block(id).map_err(failed)
    }
}
