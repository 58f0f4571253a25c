//! One thread that uploads packs that are full and removes from the bucket those that the store removed, the oldest first.
//!
//! Nobody waits for it. What fails is tried again, each time later, for as long as it takes; meanwhile the packs stay in the directory.

use crate::{
    location::Shared,
    record::{Full, HEAD},
    remote::PART,
};
use bytes::Bytes;
use jsfs_store::backend::{Backend, PackFile, pack_name};
use std::{
    io,
    sync::{Arc, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long it waits after a failure: so long at first, twice as long each time, and no longer than this.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// How long a pack that the store removed stays in the bucket, for those who had it open.
const LINGER: Duration = Duration::from_secs(20);

enum Task {
    Upload(u64),
    Remove(u64),
}

pub(crate) fn begin(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("jsfs-bucket-up".to_owned()).spawn(move || work(&shared))
}

fn work(shared: &Shared) {
    let mut pause = FIRST;
    loop {
        let task = match next(shared) {
            Ok(Some(task)) => task,
            Ok(None) => {
                let state = shared.hold();
                if state.is_closed {
                    return;
                }
                // What was told between looking and waiting is found a moment later.
                let _ = shared.changed.wait_timeout(state, LONGEST.min(Duration::from_secs(1)));
                continue;
            }
            Err(error) => {
                if is_over(shared, &error.to_string(), &mut pause) {
                    return;
                }
                continue;
            }
        };
        let done = match task {
            Task::Upload(number) => upload(shared, number),
            Task::Remove(number) => remove(shared, number),
        };
        match done {
            Ok(()) => {
                shared.hold().trouble = None;
                pause = FIRST;
            }
            Err(error) => {
                if is_over(shared, &error.to_string(), &mut pause) {
                    return;
                }
            }
        }
    }
}

/// Notes a failure and waits. Whether the location was closed meanwhile.
fn is_over(shared: &Shared, error: &str, pause: &mut Duration) -> bool {
    let mut state = shared.hold();
    if state.is_closed {
        return true;
    }
    if state.trouble.is_none() {
        tracing::warn!(
            error,
            "a pack cannot be moved to the bucket; it stays where it is, and is tried again"
        );
    }
    state.trouble = Some(error.to_owned());
    let waited = shared.changed.wait_timeout_while(state, *pause, |state| !state.is_closed);
    let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
    *pause = LONGEST.min(*pause * 2);
    state.is_closed
}

fn next(shared: &Shared) -> io::Result<Option<Task>> {
    let removed = {
        let state = shared.hold();
        if state.is_closed {
            return Ok(None);
        }
        let may_go = |number: &&u64| state.removed.get(*number).is_none_or(|at| at.elapsed() >= LINGER);
        state.record.removed.iter().find(may_go).copied()
    };
    if let Some(number) = removed {
        return Ok(Some(Task::Remove(number)));
    }
    // Files that a crash left beside their copies.
    let twice = shared.directory.packs()?;
    let twice: Vec<u64> = {
        let state = shared.hold();
        twice.into_iter().filter(|number| state.record.packs.contains_key(number)).collect()
    };
    for number in twice {
        shared.let_go(number)?;
    }
    Ok(shared.waiting()?.first().copied().map(Task::Upload))
}

fn upload(shared: &Shared, number: u64) -> io::Result<()> {
    {
        let _writing = shared.writing();
        shared.note(|record| {
            record.started.insert(number);
        })?;
    }
    let file = match shared.directory.open_pack(number) {
        Ok(file) => file,
        // Removed in the meantime.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let length = file.len()?;
    let mut head = vec![0; usize::try_from(HEAD.min(length)).unwrap_or_default()];
    file.read_at(&mut head, 0)?;
    let mut at = 0;
    let next = move || part(&*file, &mut at, length);
    shared.remote.upload(&pack_name(number), length, next)?;
    let _writing = shared.writing();
    let is_here = shared.directory.packs()?.contains(&number);
    shared.note(|record| {
        // Where it was removed meanwhile, that is noted already.
        if is_here {
            record.started.remove(&number);
            record.packs.insert(number, Full::new(length, &head));
        }
    })?;
    shared.let_go(number)
}

fn part(file: &dyn PackFile, at: &mut u64, length: u64) -> io::Result<Option<Bytes>> {
    let wanted = usize::try_from((length - *at).min(PART as u64)).unwrap_or(PART);
    if wanted == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0; wanted];
    if file.read_at(&mut bytes, *at)? < wanted {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    *at += wanted as u64;
    Ok(Some(bytes.into()))
}

fn remove(shared: &Shared, number: u64) -> io::Result<()> {
    shared.remote.remove(&pack_name(number))?;
    let _writing = shared.writing();
    shared.note(|record| {
        record.removed.remove(&number);
    })?;
    shared.hold().removed.remove(&number);
    Ok(())
}
