//! Moving a location to another directory while the store is in use.
//!
//! Packs are copied as they are, first while writing goes on, then, in the thread that writes, what has changed since: a pack that was closed when it was
//! copied and synced is remembered and not looked at again, and nobody mends packs in place meanwhile. When everything is synced there,
//! one small file is replaced in the old directory: `store.json` says from then on where the location is now. Before that moment the old directory
//! counts and the new one says that it does not; after it, it is the other way round. Only then packs are removed from the old one. Stopped or
//! killed at any point the same move can be asked for again: what is there already is compared, not copied.

use crate::{
    Store,
    backend::{Backend, LockGuard, PackFile},
    committer::{Committer, Request},
    error::{OpenError, WriteError},
    location::Location,
    params::Parameters,
    store::lock,
    sync::hold,
};
use std::{collections::BTreeMap, io, sync::Arc};
use tokio::sync::oneshot;

/// Bytes that are compared and copied at once.
const PIECE: usize = 1 << 20;
/// Most rounds of copying while writing goes on, and the bytes that are few enough to copy while it waits.
const ROUNDS_MAX: u32 = 8;
const REST_MAX: u64 = 8 << 20;

/// Why a location was not moved. Unless it says otherwise the old directory is whole and counts.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is no such location.
    #[error("{from} is no location of this store; its locations are {known}")]
    NoLocation {
        /// What was named.
        from: String,
        /// What there is.
        known: String,
    },
    /// It lies in more than a directory.
    #[error("{from} has its full packs elsewhere and cannot be moved; name another location")]
    Fixed {
        /// The location.
        from: String,
    },
    /// Something else is in the new directory.
    #[error("{to} is not empty: {what}; name an empty directory")]
    Occupied {
        /// The directory.
        to: String,
        /// What is there.
        what: &'static str,
    },
    /// The new directory cannot be locked or read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Copying failed.
    #[error(
        "cannot {action} {place}: {source}; {} counts as before, and the same command goes on from here",
        from
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        place: String,
        /// The old directory.
        from: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The store takes no writes, or is closed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Whoever asked for it has called it off.
    #[error("called off; {from} counts as before, and the same command goes on from here")]
    CalledOff {
        /// The old directory.
        from: String,
    },
}

/// What a move did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Packs that lie in the new directory.
    pub packs: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Packs that are left in the old directory because they could not be removed there.
    pub left: u64,
}

impl Store {
    /// Moves the location that is in `from` now to an empty directory. Blocks; reading and writing go on meanwhile. `watch` is told how many bytes of
    /// how many are done, and calls the move off by answering false.
    pub fn move_location(
        &self,
        from: &str,
        to: Arc<dyn Backend>,
        watch: &dyn Fn(u64, u64) -> bool,
    ) -> Result<Moved, MoveError> {
        let places = &self.inner.places;
        let Some(at) = places.iter().position(|place| place.describe() == from) else {
            let known: Vec<String> = places.iter().map(|place| place.describe()).collect();
            return Err(MoveError::NoLocation { from: from.to_owned(), known: known.join(", ") });
        };
        if let Some(why) = self.read_only() {
            return Err(WriteError::ReadOnly(why).into());
        }
        let _alone = hold(&self.inner.in_place);
        let old = places[at].current();
        if old.is_fixed() {
            return Err(MoveError::Fixed { from: from.to_owned() });
        }
        let lock = lock(to.as_ref())?;
        let Some(here) = Parameters::read(old.as_ref())? else {
            return Err(
                OpenError::BadParameters { place: from.to_owned(), what: "it is gone".to_owned() }.into()
            );
        };
        let mut there = Parameters { generation: here.generation + 1, ..here.clone() };
        there.incoming_from = Some(from.to_owned());
        there.moved_to = None;
        match Parameters::read(to.as_ref())? {
            Some(found) if found == there => {}
            Some(_) => return Err(occupied(to.as_ref(), "it belongs to a store already")),
            None if to.packs().is_ok_and(|packs| packs.is_empty()) => there.write(to.as_ref())?,
            None => return Err(occupied(to.as_ref(), "there are packs in it")),
        }
        let mut copying = Copying { from: from.to_owned(), old, to, watch, kept: BTreeMap::new() };
        for _ in 0..ROUNDS_MAX {
            let active = hold(&self.inner.status.active).get(at).copied().unwrap_or(0);
            if copying.round(active.saturating_sub(1))? <= REST_MAX {
                break;
            }
        }
        // With a new pack begun now, the end has only that to look at.
        let sealed = self.in_committer(move |committer| committer.seal(at))??;
        copying.round(sealed)?;
        self.switch(at, copying, here, there, lock)
    }

    /// Runs something in the thread that writes.
    fn in_committer<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Committer) -> T + Send + 'static,
    ) -> Result<T, WriteError> {
        let (reply, answer) = oneshot::channel();
        let change = Box::new(move |committer: &mut Committer| drop(reply.send(run(committer))));
        self.inner.requests.blocking_send(Request::Change { change }).map_err(|_| WriteError::Closed)?;
        answer.blocking_recv().map_err(|_| WriteError::Closed)
    }

    /// Ends a move: has the thread that writes copy the rest, and goes on in the new directory.
    fn switch(
        &self,
        at: usize,
        copying: Copying<'_>,
        here: Parameters,
        there: Parameters,
        lock: LockGuard,
    ) -> Result<Moved, MoveError> {
        // Nobody removes packs meanwhile, or reads a whole one.
        let compactor = hold(&self.inner.compactor);
        let _filler = hold(&self.inner.filler);
        let Copying { from, old, to, kept, .. } = copying;
        let place = self.inner.places[at].clone();
        let switching = Switching { at, from, old: old.clone(), to, kept, here, there, place };
        let mut moved = self.in_committer(move |committer| switching.run(committer))??;
        self.inner.keep_locked(lock);
        let location = u8::try_from(at).unwrap_or(u8::MAX);
        self.inner.reading.forget_location(location);
        drop(compactor);
        moved.left = remove_packs(old.as_ref());
        Ok(moved)
    }
}

/// Ends a move that counted but left packs behind: a crash came between. False where there was no such move.
pub fn clear_moved(from: &dyn Backend, to: &str) -> Result<bool, OpenError> {
    let Some(here) = Parameters::read(from)? else { return Ok(false) };
    if here.moved_to.as_deref() != Some(to) {
        return Ok(false);
    }
    let _lock = lock(from)?;
    Ok(remove_packs(from) == 0)
}

fn occupied(to: &dyn Backend, what: &'static str) -> MoveError {
    MoveError::Occupied { to: to.describe(), what }
}

/// Removes all packs of a directory that no longer counts; how many remain.
fn remove_packs(old: &dyn Backend) -> u64 {
    let numbers = old.packs().unwrap_or_default();
    let left = numbers.iter().filter(|number| old.remove_pack(**number).is_err()).count();
    if let Err(error) = old.sync_packs() {
        tracing::warn!(%error, place = old.describe(), "what was moved away was not removed for certain");
    }
    left as u64
}

/// The copying of one location's packs.
struct Copying<'w> {
    from: String,
    old: Arc<dyn Backend>,
    to: Arc<dyn Backend>,
    watch: &'w dyn Fn(u64, u64) -> bool,
    /// Packs that were closed when they were copied and synced, with their lengths: they are the same for good.
    kept: BTreeMap<u64, u64>,
}

impl Copying<'_> {
    /// Copies what differs; answers how many bytes that were. Packs up to `sealed` were closed before this began.
    fn round(&mut self, sealed: u64) -> Result<u64, MoveError> {
        let from = self.from.clone();
        let failed = |action, place: &dyn Backend, source| MoveError::Io {
            action,
            place: place.describe(),
            from: from.clone(),
            source,
        };
        let numbers = self.old.packs().map_err(|error| failed("list packs in", self.old.as_ref(), error))?;
        let mut files = Vec::new();
        self.kept.retain(|number, _| numbers.contains(number));
        for number in numbers.into_iter().filter(|number| !self.kept.contains_key(number)) {
            match self.old.open_pack(number) {
                Ok(file) => files.push((number, file)),
                // Compaction has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("read packs in", self.old.as_ref(), error)),
            }
        }
        let mut done: u64 = self.kept.values().sum();
        let total = done + files.iter().map(|(_, file)| file.len().unwrap_or(0)).sum::<u64>();
        let mut copied = 0;
        for (number, file) in files {
            let result = copy_pack(file.as_ref(), self.to.as_ref(), number, &mut |bytes| {
                done += bytes;
                (self.watch)(done, total)
            });
            match result {
                Ok(Some(pack)) => {
                    copied += pack.differed;
                    if number <= sealed {
                        self.kept.insert(number, pack.length);
                    }
                }
                Ok(None) => return Err(MoveError::CalledOff { from: self.from.clone() }),
                Err(error) => return Err(failed("copy a pack to", self.to.as_ref(), error)),
            }
        }
        self.to.sync_packs().map_err(|error| failed("sync", self.to.as_ref(), error))?;
        Ok(copied)
    }
}

/// What became of a pack.
struct Copied {
    differed: u64,
    length: u64,
}

/// Makes a pack there like this one, durably. `None` when it was called off.
fn copy_pack(
    file: &dyn PackFile,
    to: &dyn Backend,
    number: u64,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> io::Result<Option<Copied>> {
    let copy = match to.open_pack(number) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => to.create_pack(number)?,
        opened => opened?,
    };
    let length = file.len()?;
    let (mut wanted, mut found) = (vec![0; PIECE], vec![0; PIECE]);
    let (mut at, mut differed) = (0, 0);
    while at < length {
        let piece = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
        let count = file.read_at(&mut wanted[..piece], at)?;
        let there = copy.read_at(&mut found[..count], at)?;
        if wanted[..count] != found[..there] {
            copy.write_at(&[&wanted[..count]], at)?;
            differed += count as u64;
        }
        if !go_on(count as u64) {
            return Ok(None);
        }
        if count < piece {
            break;
        }
        at += count as u64;
    }
    if copy.len()? != length {
        copy.truncate(length)?;
        differed += 1;
    }
    // Also where nothing differed: what a process wrote that was killed may not be on the disk.
    if let Err(error) = copy.sync() {
        // What was lost may still be seen, so the next try must not find it here.
        let _ = copy.truncate(0);
        return Err(error);
    }
    Ok(Some(Copied { differed, length }))
}

/// The last part of a move, in the thread that writes.
struct Switching {
    at: usize,
    from: String,
    old: Arc<dyn Backend>,
    to: Arc<dyn Backend>,
    kept: BTreeMap<u64, u64>,
    here: Parameters,
    there: Parameters,
    place: Arc<Location>,
}

impl Switching {
    fn run(self, committer: &mut Committer) -> Result<Moved, MoveError> {
        let sealed = committer.seal(self.at)?;
        let mut copying = Copying {
            from: self.from.clone(),
            old: self.old.clone(),
            to: self.to.clone(),
            watch: &|_, _| true,
            kept: self.kept,
        };
        copying.round(sealed)?;
        let failed = |action, place: &dyn Backend, source| MoveError::Io {
            action,
            place: place.describe(),
            from: self.from.clone(),
            source,
        };
        let numbers = self.old.packs().map_err(|error| failed("list packs in", self.old.as_ref(), error))?;
        let copied = self.to.packs().map_err(|error| failed("list packs in", self.to.as_ref(), error))?;
        // What compaction has removed since it was copied.
        for number in copied.iter().filter(|number| !numbers.contains(number)) {
            let removed = self.to.remove_pack(*number);
            removed.map_err(|error| failed("remove a pack from", self.to.as_ref(), error))?;
        }
        let moved = Moved { packs: numbers.len() as u64, bytes: copying.kept.values().sum(), left: 0 };
        self.to.sync_packs().map_err(|error| failed("sync", self.to.as_ref(), error))?;
        let mut left = self.here.clone();
        left.generation = self.there.generation;
        left.moved_to = Some(self.to.describe());
        // The moment at which it counts.
        if let Err(error) = left.write(self.old.as_ref()) {
            // Whether the file was replaced is not known, so neither directory may be written until an opening has looked.
            committer.status.refuse_writes(format!(
                "moving {} to {} was interrupted at its end ({error}); restart the node",
                self.from,
                self.to.describe()
            ));
            return Err(error.into());
        }
        let mut final_one = self.there.clone();
        final_one.incoming_from = None;
        if let Err(error) = final_one.write(self.to.as_ref()) {
            tracing::warn!(%error, "the next start finishes what the move has to say in the new directory");
        }
        self.place.exchange(self.to.clone());
        Ok(moved)
    }
}
