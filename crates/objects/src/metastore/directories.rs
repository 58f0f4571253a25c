//! Directories below others, as they were found last: looking for them walks all names, of objects too, and each page of a listing asks.

use crate::{address::Address, tables};
use jsfs_store::Op;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Directories below which it is remembered what there is.
const TOPS_MAX: usize = 64;

/// The most that is remembered below one; to list more takes far longer than to find them.
const BELOW_MAX: usize = 1_024;

/// What was found since a directory became known last.
#[derive(Default)]
pub(crate) struct Directories(Mutex<Found>);

#[derive(Default)]
struct Found {
    changes: u64,
    below: HashMap<Address, Vec<Address>>,
}

impl Directories {
    fn locked(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found below a directory; else the number under which to keep what is looked for now.
    pub(super) fn below(&self, top: &Address) -> Result<Vec<Address>, u64> {
        let found = self.locked();
        found.below.get(top).cloned().ok_or(found.changes)
    }

    /// Keeps all that there is below a directory, unless one became known since it was looked for.
    pub(super) fn keep(&self, top: &Address, below: &[Address], changes: u64) {
        let mut found = self.locked();
        if found.changes != changes || below.len() > BELOW_MAX {
            return;
        }
        if found.below.len() >= TOPS_MAX {
            found.below.clear();
        }
        found.below.insert(top.clone(), below.to_vec());
    }

    /// Notes that a directory became known.
    pub(crate) fn changed(&self) {
        let mut found = self.locked();
        found.changes += 1;
        found.below.clear();
    }
}

/// Whether a commit makes a directory known.
pub(crate) fn names_directory(ops: &[Op]) -> bool {
    ops.iter().any(|op| {
        matches!(op, Op::Put { table: tables::NAMED, key, .. } if key.windows(2).any(|end| end == b"/\0"))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails says where")]
mod tests {
    use super::{Address, BELOW_MAX, Directories, TOPS_MAX};

    #[test]
    fn what_was_found_holds_until_a_directory_becomes_known_and_within_bounds() {
        let directories = Directories::default();
        let top = |number: usize| Address::parse_exact(&format!("/example/{number}/")).unwrap();
        let changes = directories.below(&top(1)).unwrap_err();
        directories.keep(&top(1), &[top(2)], changes);
        assert_eq!(directories.below(&top(1)), Ok(vec![top(2)]));
        directories.changed();
        let changes = directories.below(&top(1)).unwrap_err();
        // One became known while it was looked for.
        directories.changed();
        directories.keep(&top(1), &[top(2)], changes);
        let changes = directories.below(&top(1)).unwrap_err();
        directories.keep(&top(1), &vec![top(2); BELOW_MAX + 1], changes);
        assert!(directories.below(&top(1)).is_err(), "too many to remember");
        (0..2 * TOPS_MAX).for_each(|number| directories.keep(&top(number), &[], changes));
        assert!(directories.locked().below.len() <= TOPS_MAX);
    }
}
