//! Shelves: where a member keeps what lies with it, as rows in order.
//!
//! A row is one version at one home; so two members compare what both keep by running through their rows. Beside the rows there are notes,
//! of the member's own. [`Shelf::apply`] shows at once in what is read next; the member answers nobody until it is durable, which is the
//! business of who drives it.

use super::Home;
use jsfs_objects::read_key::Locator;
use jsfs_objects::record::RecordHash;
use std::collections::BTreeMap;
use std::ops::Bound;
use thiserror::Error;

/// What a shelf cannot do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShelfError {
    /// The storage below failed.
    #[error("the metastore's storage: {0}")]
    Storage(String),
    /// What lies there is not what was put there.
    #[error("a record of the metastore is damaged: {0}; it comes back from another member")]
    Damaged(String),
}

/// The name of a row: home, locator, hash of the record. The order of rows is that of these bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Row {
    /// Where it lies.
    pub home: Home,
    /// What its record is filed under.
    pub locator: Locator,
    /// Which version it is. All zeros name the slot's marks; all ones, here and as the locator, say that the home is cut.
    pub hash: RecordHash,
}

impl Row {
    /// The bytes of a row's name.
    pub const BYTES: usize = 96;

    /// The first row that there can be.
    pub const FIRST: [u8; Self::BYTES] = [0; Self::BYTES];

    /// The row of a slot's marks, which is the first of the slot.
    pub fn marks(home: Home, locator: Locator) -> Self {
        Self { home, locator, hash: [0; 32] }
    }

    /// The first row that a home can have.
    pub(super) fn first_of(home: Home) -> Self {
        Self::marks(home, Locator::from_bytes([0; 32]))
    }

    /// The row that says that a home is cut, which is the last of the home.
    pub fn cut(home: Home) -> Self {
        Self { home, locator: Locator::from_bytes([0xff; 32]), hash: [0xff; 32] }
    }

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..32].copy_from_slice(self.home.as_bytes());
        bytes[32..64].copy_from_slice(self.locator.as_bytes());
        bytes[64..].copy_from_slice(&self.hash);
        bytes
    }

    /// A row from its bytes.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let part = |at: usize| std::array::from_fn(|index| bytes[at + index]);
        Self { home: Home::from_bytes(part(0)), locator: Locator::from_bytes(part(32)), hash: part(64) }
    }

    /// Whether this is where a slot's marks are, which no other member is told of.
    pub fn is_marks(&self) -> bool {
        self.hash == [0; 32]
    }

    /// Whether this says that its home is cut.
    pub fn is_cut(&self) -> bool {
        *self == Self::cut(self.home)
    }

    /// Whether this is of something that a group lists there: what is filed under the home itself is not.
    pub(super) fn is_of_entry(&self) -> bool {
        self.home != Home::from(self.locator) && !self.is_cut()
    }
}

/// A change of a shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Puts a row.
    Put(Row, Vec<u8>),
    /// Takes a row away.
    Remove(Row),
    /// Writes a note, or with none takes it away.
    Note(Vec<u8>, Option<Vec<u8>>),
}

/// A note: its name and what it says.
pub type Note = (Vec<u8>, Vec<u8>);

/// A row and what is in it.
pub type Content = (Row, Vec<u8>);

/// Where rows and notes are kept. Reads are of single rows and of runs of names with a limit.
pub trait Shelf {
    /// A row.
    fn get(&self, row: &Row) -> Result<Option<Vec<u8>>, ShelfError>;
    /// The names of rows from one on, at most so many, in order, as long as they are less than `until` (none: to the end).
    fn rows(
        &self,
        from: &[u8; Row::BYTES],
        until: Option<&[u8; Row::BYTES]>,
        limit: usize,
    ) -> Result<Vec<Row>, ShelfError>;
    /// The same with what is in them.
    fn contents(
        &self,
        from: &[u8; Row::BYTES],
        until: Option<&[u8; Row::BYTES]>,
        limit: usize,
    ) -> Result<Vec<Content>, ShelfError>;
    /// A note.
    fn note(&self, name: &[u8]) -> Result<Option<Vec<u8>>, ShelfError>;
    /// The notes whose names begin so, after one of them, at most so many.
    fn notes(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Note>, ShelfError>;
    /// Makes changes, all or none.
    fn apply(&mut self, changes: Vec<Change>) -> Result<(), ShelfError>;
}

/// A shelf that is gone with the process.
#[derive(Clone, Debug, Default)]
pub struct MemoryShelf {
    rows: BTreeMap<[u8; Row::BYTES], Vec<u8>>,
    notes: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryShelf {
    /// How many rows there are, marks included.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Shelf for MemoryShelf {
    fn get(&self, row: &Row) -> Result<Option<Vec<u8>>, ShelfError> {
        Ok(self.rows.get(&row.to_bytes()).cloned())
    }

    fn rows(
        &self,
        from: &[u8; Row::BYTES],
        until: Option<&[u8; Row::BYTES]>,
        limit: usize,
    ) -> Result<Vec<Row>, ShelfError> {
        if until.is_some_and(|until| until <= from) {
            return Ok(Vec::new());
        }
        let end = until.map_or(Bound::Unbounded, |until| Bound::Excluded(*until));
        let found = self.rows.range((Bound::Included(*from), end)).take(limit);
        Ok(found.map(|(bytes, _)| Row::from_bytes(bytes)).collect())
    }

    fn contents(
        &self,
        from: &[u8; Row::BYTES],
        until: Option<&[u8; Row::BYTES]>,
        limit: usize,
    ) -> Result<Vec<Content>, ShelfError> {
        let rows = self.rows(from, until, limit)?.into_iter();
        let contents = rows.filter_map(|row| Some((row, self.rows.get(&row.to_bytes())?.clone())));
        Ok(contents.collect())
    }

    fn note(&self, name: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        Ok(self.notes.get(name).cloned())
    }

    fn notes(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Note>, ShelfError> {
        let from =
            if after.is_empty() { Bound::Included(prefix.to_vec()) } else { Bound::Excluded(after.to_vec()) };
        let found = self.notes.range((from, Bound::Unbounded));
        let found = found.take_while(|(name, _)| name.starts_with(prefix)).take(limit);
        Ok(found.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), ShelfError> {
        for change in changes {
            match change {
                Change::Put(row, value) => {
                    self.rows.insert(row.to_bytes(), value);
                }
                Change::Remove(row) => {
                    self.rows.remove(&row.to_bytes());
                }
                Change::Note(name, Some(value)) => {
                    self.notes.insert(name, value);
                }
                Change::Note(name, None) => {
                    self.notes.remove(&name);
                }
            }
        }
        Ok(())
    }
}

/// Names past those of this home.
pub(super) fn after_home(home: &Home) -> Option<[u8; Row::BYTES]> {
    let mut bytes = [0; Row::BYTES];
    bytes[..32].copy_from_slice(home.as_bytes());
    increment(&mut bytes, 32)
}

/// Names past those of this slot.
pub(super) fn after_slot(home: &Home, locator: &Locator) -> Option<[u8; Row::BYTES]> {
    let mut bytes = Row::marks(*home, *locator).to_bytes();
    increment(&mut bytes, 64)
}

fn increment(bytes: &mut [u8; Row::BYTES], length: usize) -> Option<[u8; Row::BYTES]> {
    for byte in bytes[..length].iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(*bytes);
        }
    }
    None
}
