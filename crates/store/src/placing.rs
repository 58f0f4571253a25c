//! Which directory holds which location of a store: what `store.json` says, where a location was moved to, and what is made for a store that is new.

use crate::{
    backend::{Backend, Directory},
    error::OpenError,
    options::OpenOptions,
    params::{FORMAT, Parameters},
    store::random_id,
};
use std::path::{Path, PathBuf};

/// Moves of a location that are followed from where it was first.
const MOVES_MAX: usize = 16;

/// The directory where a location is now that was configured to be here.
pub(crate) fn follow_moves(path: &Path) -> Result<PathBuf, OpenError> {
    let mut path = path.to_owned();
    for _ in 0..MOVES_MAX {
        // What cannot be read is told when it is opened.
        let Ok(Some(here)) = Parameters::read(&Directory::existing(&path)) else { return Ok(path) };
        if let Some(from) = &here.incoming_from {
            // It counts from the moment on at which the other says so.
            let other = Parameters::read(&Directory::existing(from))?;
            let is_moved = other.is_some_and(|other| {
                other.is_same_location(&here)
                    && other.generation == here.generation
                    && other.moved_to.as_ref().is_some_and(|to| Path::new(to) == path)
            });
            if !is_moved {
                let (place, from) = (path.display().to_string(), from.clone());
                return Err(OpenError::UnfinishedMove { place, from });
            }
            return Ok(path);
        }
        let Some(to) = &here.moved_to else { return Ok(path) };
        tracing::warn!(from = %path.display(), to, "a location was moved; name its new directory in storage.locations");
        let there = Parameters::read(&Directory::existing(to))?;
        let is_it =
            there.is_some_and(|there| there.is_same_location(&here) && there.generation >= here.generation);
        path = PathBuf::from(to);
        if !is_it {
            return Ok(path);
        }
    }
    Ok(path)
}

pub(crate) fn holds_packs(path: &Path) -> bool {
    Directory::existing(path).packs().is_ok_and(|packs| !packs.is_empty())
}

/// The parameters of each location, written where the store is new.
pub(crate) fn parameters(options: &OpenOptions) -> Result<(Vec<Parameters>, bool), OpenError> {
    let count = u32::try_from(options.locations.len()).unwrap_or(u32::MAX);
    let mut found = Vec::new();
    for backend in &options.locations {
        found.push(if backend.is_missing() { None } else { Parameters::read(backend.as_ref())? });
    }
    let first = found.iter().flatten().next().cloned();
    let is_new = first.is_none();
    let base = match first {
        Some(first) => first,
        None => Parameters::new(random_id()?, 0, count, options.chunking),
    };
    let mut all = Vec::new();
    for ((wanted, backend), found) in (0u32..).zip(&options.locations).zip(found) {
        let mut expected = Parameters::new(base.store_id, wanted, count, base.chunking);
        let place = backend.describe();
        match found {
            Some(found) if found.is_same_location(&expected) => {
                expected.generation = found.generation;
                // Programs that know no deltas must not open it from now on.
                let is_earlier = found.format < FORMAT && options.read_only.is_none();
                // A move was cut off after the moment at which it counted.
                if (found.incoming_from.is_some() || is_earlier) && !options.is_degraded {
                    expected.write(backend.as_ref())?;
                }
            }
            Some(found) => {
                let found = format!(
                    "it is location {} of {} of store {}",
                    found.location,
                    found.locations,
                    short(&found)
                );
                return Err(OpenError::WrongLocation { place, wanted, found });
            }
            None if backend.is_missing() => {}
            None => {
                refuse_orphaned_packs(backend.as_ref(), &expected)?;
                expected.write(backend.as_ref())?;
            }
        }
        all.push(expected);
    }
    Ok((all, is_new))
}

fn short(parameters: &Parameters) -> String {
    parameters.store_id[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Packs without `store.json` are not written over.
fn refuse_orphaned_packs(backend: &dyn Backend, expected: &Parameters) -> Result<(), OpenError> {
    let place = backend.describe();
    let packs = backend.packs().map_err(|error| OpenError::io("list packs", &place, error))?;
    let Some(number) = packs.first() else { return Ok(()) };
    let mut bytes = [0; 128];
    let read = backend.open_pack(*number).and_then(|file| file.read_at(&mut bytes, 0));
    let count = read.map_err(|error| OpenError::io("read a pack", &place, error))?;
    let restore = match crate::frame::PackHeader::decode(&bytes[..count]) {
        Ok(header) => {
            let (store_id, chunking) = (header.store_id, header.chunking);
            Parameters::new(store_id, header.location, expected.locations, chunking).to_json()
        }
        Err(_) => "(the first pack's header is damaged too)".to_owned(),
    };
    Err(OpenError::MissingParameters { place, restore })
}
