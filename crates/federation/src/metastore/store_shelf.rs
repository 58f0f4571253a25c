//! A shelf in two tables of a node's store: rows in one, notes in the other.
//!
//! What was applied shows at once, from memory; it is durable when the commits that [`StoreShelf::take_commit`] gives have taken place, in
//! their order, and only then does an answer that rests on it go out. If a commit fails, whoever drives this forgets the shelf and opens it anew: what
//! was shown and not committed is gone, and nobody was told of it. Memory holds what is not committed yet.

use super::shelf::{Change, Content, Note, Row, Shelf, ShelfError};
use jsfs_store::{Commit, Op, ReadError, Store, Table};
use std::collections::{BTreeMap, VecDeque};
use std::iter::Peekable;
use std::ops::Bound;

/// The table of rows. Tables of objects count from 1.
pub const ROWS: Table = Table(96);

/// The table of notes.
pub const NOTES: Table = Table(97);

/// Bytes of values in one commit, unless one change has more.
const COMMIT_BYTES: usize = 8 << 20;

/// What a key will be when all is committed: a value, or none; and with which change.
type Pending = BTreeMap<Vec<u8>, (Option<Vec<u8>>, u64)>;

/// Rows and notes of one node.
#[derive(Debug)]
pub struct StoreShelf {
    store: Store,
    rows: Pending,
    notes: Pending,
    queue: VecDeque<(Vec<Op>, usize)>,
    /// Changes applied, and handed out in commits.
    applied: u64,
    taken: u64,
}

impl StoreShelf {
    /// The shelf in this store.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            rows: Pending::new(),
            notes: Pending::new(),
            queue: VecDeque::new(),
            applied: 0,
            taken: 0,
        }
    }

    /// What is to be committed next, and the number to say so with ([`StoreShelf::committed`]); none if nothing is left. One at a time.
    pub fn take_commit(&mut self) -> Option<(Commit, u64)> {
        let mut commit = Commit::default();
        let mut bytes = 0;
        while let Some((_, more)) = self.queue.front()
            && (commit.ops.is_empty() || bytes + more <= COMMIT_BYTES)
            && let Some((ops, more)) = self.queue.pop_front()
        {
            commit.ops.extend(ops);
            bytes += more;
            self.taken += 1;
        }
        (!commit.ops.is_empty()).then_some((commit, self.taken))
    }

    /// Says that a commit has taken place: what it changed is read from the store from now on.
    pub fn committed(&mut self, number: u64) {
        for pending in [&mut self.rows, &mut self.notes] {
            pending.retain(|_, (_, change)| *change > number);
        }
    }

    /// The number of the last change that was applied: what rests on it is durable when a commit of this number or a greater one has taken place.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// How many rows and notes are held in memory until they are committed.
    pub fn pending(&self) -> usize {
        self.rows.len() + self.notes.len()
    }

    fn get_from(&self, table: Table, pending: &Pending, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        match pending.get(key) {
            Some((value, _)) => Ok(value.clone()),
            None => Ok(self.store.get(table, key).map_err(failed)?.map(|entry| entry.value.to_vec())),
        }
    }

    /// The entries of a table from one on, what is pending before what is stored.
    fn entries(
        &self,
        table: Table,
        pending: &Pending,
        from: Bound<Vec<u8>>,
        until: Bound<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Note>, ShelfError> {
        let stored = self.store.scan(table, (from.clone(), until.clone()));
        let stored = stored.map(|item| item.map(|(key, entry)| (key, Some(entry.value.to_vec()))));
        let newer = pending.range((from, until)).map(|(key, (value, _))| (key.clone(), value.clone()));
        let (mut stored, mut newer) = (stored.peekable(), newer.peekable());
        let mut found = Vec::new();
        while found.len() < limit
            && let Some((key, value)) = next(&mut stored, &mut newer)?
        {
            found.extend(value.map(|value| (key, value)));
        }
        Ok(found)
    }
}

type Item = (Vec<u8>, Option<Vec<u8>>);

/// The least of two runs in order; of equal keys the newer counts.
fn next(
    stored: &mut Peekable<impl Iterator<Item = Result<Item, ReadError>>>,
    newer: &mut Peekable<impl Iterator<Item = Item>>,
) -> Result<Option<Item>, ShelfError> {
    let stored_key = match stored.peek() {
        Some(Ok((key, _))) => Some(key.clone()),
        Some(Err(_)) => return stored.next().transpose().map_err(failed),
        None => None,
    };
    match (stored_key, newer.peek()) {
        (Some(stored_key), Some((newer_key, _))) if *newer_key <= stored_key => {
            if *newer_key == stored_key {
                stored.next();
            }
            Ok(newer.next())
        }
        (Some(_), _) => stored.next().transpose().map_err(failed),
        (None, _) => Ok(newer.next()),
    }
}

fn failed(error: ReadError) -> ShelfError {
    ShelfError::Storage(error.to_string())
}

impl Shelf for StoreShelf {
    fn get(&self, row: &Row) -> Result<Option<Vec<u8>>, ShelfError> {
        self.get_from(ROWS, &self.rows, &row.to_bytes())
    }

    fn rows(
        &self,
        from: &[u8; Row::BYTES],
        until: Option<&[u8; Row::BYTES]>,
        limit: usize,
    ) -> Result<Vec<Row>, ShelfError> {
        Ok(self.contents(from, until, limit)?.into_iter().map(|(row, _)| row).collect())
    }

    fn contents(
        &self,
        from: &[u8; Row::BYTES],
        until: Option<&[u8; Row::BYTES]>,
        limit: usize,
    ) -> Result<Vec<Content>, ShelfError> {
        if until.is_some_and(|until| until <= from) {
            return Ok(Vec::new());
        }
        let end = until.map_or(Bound::Unbounded, |until| Bound::Excluded(until.to_vec()));
        let found = self.entries(ROWS, &self.rows, Bound::Included(from.to_vec()), end, limit)?;
        let content = |(key, value): Note| {
            let bytes =
                key.as_slice().try_into().map_err(|_| ShelfError::Damaged("the name of a row".into()))?;
            Ok((Row::from_bytes(bytes), value))
        };
        found.into_iter().map(content).collect()
    }

    fn note(&self, name: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        self.get_from(NOTES, &self.notes, name)
    }

    fn notes(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Note>, ShelfError> {
        let from =
            if after.is_empty() { Bound::Included(prefix.to_vec()) } else { Bound::Excluded(after.to_vec()) };
        let mut found = self.entries(NOTES, &self.notes, from, Bound::Unbounded, limit)?;
        found.retain(|(name, _)| name.starts_with(prefix));
        Ok(found)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), ShelfError> {
        self.applied += 1;
        let mut ops = Vec::new();
        let mut bytes = 0;
        for change in changes {
            let (table, key, value) = match change {
                Change::Put(row, value) => (ROWS, row.to_bytes().to_vec(), Some(value)),
                Change::Remove(row) => (ROWS, row.to_bytes().to_vec(), None),
                Change::Note(name, value) => (NOTES, name, value),
            };
            bytes += value.as_ref().map_or(0, Vec::len);
            ops.push(match &value {
                Some(value) => {
                    Op::Put { table, key: key.clone(), value: value.clone().into(), references: Vec::new() }
                }
                None => Op::Delete { table, key: key.clone() },
            });
            let pending = if table == ROWS { &mut self.rows } else { &mut self.notes };
            pending.insert(key, (value, self.applied));
        }
        self.queue.push_back((ops, bytes));
        Ok(())
    }
}
