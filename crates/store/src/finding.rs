//! What is wrong with a store, in words that name the place.

use std::fmt;

/// One thing that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Finding {
    /// The location's directory.
    pub location: String,
    /// The pack; 0 when it is none in particular.
    pub pack: u64,
    /// Where in the pack, in bytes.
    pub offset: u64,
    /// What lies there and what is wrong with it.
    pub what: String,
    /// It was put right: what lies there now is bit for bit what was written.
    pub repaired: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.repaired { " (repaired)" } else { "" };
        if self.pack == 0 {
            return write!(f, "{}: {}{end}", self.location, self.what);
        }
        let name = crate::backend::pack_name(self.pack);
        write!(f, "{}/packs/{name} at offset {}: {}{end}", self.location, self.offset, self.what)
    }
}

/// A torn tail that opening cut off and kept in `cut/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The location's directory.
    pub location: String,
    /// The pack.
    pub pack: u64,
    /// Where its valid part ended.
    pub offset: u64,
    /// Bytes that were cut off, without zeros at their end.
    pub bytes: u64,
}

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// The store did not exist before.
    pub is_new: bool,
    /// Why the index was rebuilt from the packs, if it was.
    pub rebuilt: Option<String>,
    /// Frames that were read after the index's mark.
    pub replayed: u64,
    /// Torn tails.
    pub cuts: Vec<Cut>,
    /// Acknowledged data that is damaged; the store takes no writes then.
    pub damage: Vec<Finding>,
}
