//! Mending a store that nobody has open: its index built anew from the packs alone, and its packs repaired from what is known elsewhere.
//!
//! Both only leave a note that the index is doubted, and open the store: what happens then is what a node's start does, under the same lock, and is
//! begun again where it was cut off.

use crate::{
    check::{Report, check},
    compact::Compaction,
    error::{OpenError, WriteError},
    index,
    options::OpenOptions,
    store::Store,
    task::Observer,
    verify::{Verification, Verified, VerifyError},
};

/// Why a store could not be mended.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its index cannot be read, or whoever asked for it has called it off.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// It cannot be closed in good order.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Throws the index away and builds it from the packs. Not where these are damaged: the index knows then what is newer than what is left of them, and
/// is kept. Answers what the packs are like.
pub fn rebuild(options: OpenOptions) -> Result<Report, MendError> {
    let mut packs = options.clone();
    packs.index = None;
    let report = check(&packs)?;
    if !report.is_clean() {
        return Ok(report);
    }
    if let Some(path) = &options.index {
        index::doubt_at(path)
            .map_err(|error| OpenError::io("write beside the index", &path.display().to_string(), error))?;
    }
    quiet(options)?.close()?;
    Ok(report)
}

/// Puts right what is known elsewhere bit for bit: from another copy, another location, or the index; an index that differs is built anew.
pub fn repair(options: OpenOptions, observer: &dyn Observer) -> Result<Verified, MendError> {
    let store = quiet(options.clone())?;
    let done = store.verify(Verification { is_repairing: true, ..Verification::default() }, observer)?;
    if done.index_differs > 0 {
        store.doubt_index("a check found that it differs from the packs");
    }
    let is_other = done.index_differs > 0 || !store.opening().damage.is_empty();
    store.close()?;
    if is_other {
        quiet(options)?.close()?;
    }
    Ok(done)
}

/// Opens it without any work in the background.
fn quiet(options: OpenOptions) -> Result<Store, OpenError> {
    let compaction = Compaction { every: None, ..options.compaction };
    Store::open(options.compaction(compaction))
}
