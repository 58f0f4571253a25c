//! Moves a location of the store to another directory of the machine, while the node goes on.
//!
//! Ended or killed at any point the old directory counts, and the same request goes on from there; past the moment at which the new one counts, the same
//! request removes what was left in the old one. The paths are those of the node's machine: whoever has the root key has the node write there.

use super::{Maintenance, MaintenanceError, Teller};
use crate::{
    Objects,
    error::StorageError,
    grant::{Grant, Root},
};
use jsfs_store::{
    LocationStats, MoveError, Observer, OpenError, Store, WriteError,
    backend::{Backend, Directory},
    clear_moved,
};
use serde_json::{Value, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What may lie in a directory that a location is moved to: what the store makes, and what a new file system holds.
const OWN: [&str; 5] = ["store.json", "lock", "packs", "cut", "lost+found"];

/// Which location goes where.
#[derive(Clone, Debug)]
pub struct Relocation {
    /// Its directory.
    pub from: PathBuf,
    /// The new one; none for one of its own beside the location that has most room.
    pub to: Option<PathBuf>,
}

impl Objects {
    /// Moves a location.
    ///
    /// # Errors
    /// [`MaintenanceError::UnderWay`], or that a path is not absolute.
    pub fn move_location(
        &self,
        grant: &Grant<Root>,
        which: Relocation,
    ) -> Result<Maintenance, MaintenanceError> {
        for path in [Some(&which.from), which.to.as_ref()].into_iter().flatten() {
            if !path.is_absolute() {
                let what =
                    format!("{} is not absolute; name directories by their whole path", path.display());
                return Err(MaintenanceError::Invalid { what });
            }
        }
        let store = self.store().clone();
        self.maintain(grant, "move-location", move |teller| relocate(&store, &which, teller))
    }
}

fn relocate(store: &Store, which: &Relocation, teller: &Teller) -> Result<Value, MaintenanceError> {
    let locations = store.stats().map_err(StorageError::from)?.locations;
    let Some(at) = locations.iter().position(|location| is_same(Path::new(&location.place), &which.from))
    else {
        return clear(&which.from, which.to.as_deref(), &locations);
    };
    let from = &locations[at];
    let to = match &which.to {
        Some(to) => to.clone(),
        None => beside(store, &locations, at)?,
    };
    refuse_foreign(&to)?;
    let to = Directory::open(&to)
        .map_err(|error| impossible(format!("{} cannot be used: {error}", to.display())))?;
    refuse_full(from, &to)?;
    let (place, to) = (to.describe(), Arc::new(to));
    let watch = |done, total| {
        teller.progress(done, total);
        !teller.is_stopped()
    };
    let moved = store.move_location(&from.place, to, &watch)?;
    Ok(json!({
        "from": from.place, "to": place, "packs": moved.packs, "bytes": moved.bytes, "left": moved.left, "location": at,
    }))
}

/// Where a location goes when nobody says where to: to the disk with most room, in a directory of its own.
fn beside(store: &Store, locations: &[LocationStats], at: usize) -> Result<PathBuf, MaintenanceError> {
    let from = &locations[at].place;
    if store.copies() > 1 {
        let what = format!(
            "{} copies are kept, each on a disk of its own; say where {from} is to go",
            store.copies()
        );
        return Err(MaintenanceError::Invalid { what });
    }
    let others = locations.iter().enumerate().filter(|(other, _)| *other != at);
    let Some((_, most)) = others.max_by_key(|(_, location)| location.free) else {
        let what = format!("{from} is the only location; say where it is to go");
        return Err(MaintenanceError::Invalid { what });
    };
    Ok(Path::new(&most.place).join(format!("location-{at}")))
}

/// Ends a move that was cut off after the new directory counted.
fn clear(from: &Path, to: Option<&Path>, locations: &[LocationStats]) -> Result<Value, MaintenanceError> {
    let of_it = |location: &&LocationStats| {
        let place = Path::new(&location.place);
        let is_meant = to.is_none_or(|to| is_same(place, to));
        is_meant && clear_moved(&Directory::existing(from), &location.place).is_ok_and(|is_clear| is_clear)
    };
    match locations.iter().find(of_it) {
        Some(location) => Ok(json!({
            "from": from.display().to_string(), "to": location.place, "packs": location.packs, "bytes": 0, "left": 0,
        })),
        None => {
            let known: Vec<&str> = locations.iter().map(|location| &location.place[..]).collect();
            let (from, known) = (from.display().to_string(), known.join(", "));
            Err(MoveError::NoLocation { from, known }.into())
        }
    }
}

/// Whether two paths lead to one directory.
fn is_same(one: &Path, other: &Path) -> bool {
    one == other
        || fs::canonicalize(one).is_ok_and(|one| fs::canonicalize(other).is_ok_and(|other| one == other))
}

/// A directory with something else in it may be there for a purpose.
fn refuse_foreign(to: &Path) -> Result<(), MaintenanceError> {
    let entries = match fs::read_dir(to) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(impossible(format!("{} cannot be read: {error}", to.display()))),
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !OWN.iter().any(|own| name == *own) {
            let what = format!("{} holds {}; name an empty directory", to.display(), name.to_string_lossy());
            return Err(impossible(what));
        }
    }
    Ok(())
}

fn refuse_full(from: &LocationStats, to: &Directory) -> Result<(), MaintenanceError> {
    let failed = |error: io::Error| impossible(format!("{} cannot be read: {error}", to.describe()));
    let mut there = 0;
    for number in to.packs().map_err(failed)? {
        there += to.open_pack(number).and_then(|pack| pack.len()).map_err(failed)?;
    }
    let needed = from.used.saturating_sub(there);
    let free = to.space().map_err(failed)?.free;
    if free < needed {
        let place = to.describe();
        return Err(impossible(format!(
            "{} bytes are to be moved to {place}, and {free} are free there; name a directory with more room",
            from.used
        )));
    }
    Ok(())
}

fn impossible(what: String) -> MaintenanceError {
    MaintenanceError::Impossible { what }
}

impl From<MoveError> for MaintenanceError {
    fn from(error: MoveError) -> Self {
        match error {
            MoveError::CalledOff { .. } | MoveError::Write(WriteError::Closed) => {
                StorageError::Stopping.into()
            }
            MoveError::NoLocation { .. } | MoveError::Fixed { .. } => {
                Self::Invalid { what: error.to_string() }
            }
            MoveError::Occupied { .. }
            | MoveError::Open(OpenError::InUse { .. })
            | MoveError::Write(WriteError::ReadOnly(_)) => impossible(error.to_string()),
            error => StorageError::Write(error.to_string()).into(),
        }
    }
}
