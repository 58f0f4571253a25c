//! The newest lines of a namespace's change log, decoded once for all who follow it.
//!
//! There is a tail as long as somebody watches something in the namespace. Whoever commits a change pulls its lines in and wakes the watchers whose
//! address they concern; a watcher that is further behind than the tail reaches reads the store. Lines never change, so all watchers
//! share them; what each of them may see of a line is decided in `feed`. Nothing here is the only copy of anything: a crash loses no line.

use crate::{
    Objects,
    address::Address,
    chain::Chain,
    error::{ReadError, StorageError},
    event::{Event, EventKind},
    feed::{Cursor, Properties},
    tables,
};
use std::{
    collections::{HashMap, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use tokio::sync::watch;

/// How many lines a tail holds. A watcher further behind reads the store.
const LINES_MAX: usize = 4_096;

/// One line of the log, shared by all who get it.
pub(crate) struct Line {
    /// The place after it.
    pub(crate) cursor: Cursor,
    /// What happened.
    pub(crate) event: Event,
    /// What the version looks like to whoever may read it, once somebody has looked.
    pub(crate) properties: OnceLock<Option<Arc<Properties>>>,
    /// The chain above the address, and the generation of authority in which it was read.
    chain: Mutex<Option<(u64, Arc<Chain>)>>,
}

impl Line {
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Line, StorageError> {
        let damaged = || StorageError::Write("a key of the change log is cut short".into());
        let cursor = Cursor::of_line(key, value).ok_or_else(damaged)?;
        let event = Event::decode(value)?;
        Ok(Line { cursor, event, properties: OnceLock::new(), chain: Mutex::default() })
    }

    /// Who owns what above the address, as it is now.
    pub(crate) fn chain(&self, objects: &Objects) -> Result<Option<Arc<Chain>>, StorageError> {
        // Read before the chain is: what changes in between makes the chain count as old.
        let generation = objects.authority_generation();
        if let Some((of, chain)) = &*hold(&self.chain)
            && *of == generation
        {
            return Ok(Some(Arc::clone(chain)));
        }
        let Some(chain) = Chain::load(objects, &self.event.address)?.map(Arc::new) else { return Ok(None) };
        *hold(&self.chain) = Some((generation, Arc::clone(&chain)));
        Ok(Some(chain))
    }
}

/// The tails of all namespaces that somebody watches.
#[derive(Default)]
pub(crate) struct Tails(Mutex<HashMap<String, Arc<Tail>>>);

impl Tails {
    /// The tail of a namespace, if somebody watches there.
    fn get(&self, namespace: &str) -> Option<Arc<Tail>> {
        hold(&self.0).get(namespace).cloned()
    }
}

/// The tail of one namespace.
pub(crate) struct Tail(Mutex<State>);

struct State {
    /// In the order of the log, without gaps.
    lines: VecDeque<Arc<Line>>,
    /// The place before the first line.
    begin: Cursor,
    /// The addresses that are watched.
    followers: HashMap<Address, watch::Sender<()>>,
}

impl State {
    fn end(&self) -> &Cursor {
        self.lines.back().map_or(&self.begin, |line| &line.cursor)
    }

    fn push(&mut self, line: Arc<Line>) {
        self.lines.push_back(line);
        if self.lines.len() > LINES_MAX
            && let Some(dropped) = self.lines.pop_front()
        {
            self.begin = dropped.cursor.clone();
        }
    }

    /// Wakes whoever watches the address of a line, or a directory above it.
    fn wake(&self, event: &Event) {
        // Who may see what can have changed for everybody: each looks whether it still may.
        if event.kind == EventKind::Access {
            return self.wake_all();
        }
        let above = event.address.ancestors();
        for address in std::iter::once(event.address.clone()).chain(above) {
            if let Some(follower) = self.followers.get(&address) {
                follower.send_replace(());
            }
        }
    }

    fn wake_all(&self) {
        self.followers.values().for_each(|follower| follower.send_replace(()));
    }
}

/// A place among the followers of a tail; given up on drop.
pub(crate) struct Follower {
    objects: Objects,
    tail: Arc<Tail>,
    address: Address,
    woken: Option<watch::Receiver<()>>,
}

impl Objects {
    /// Follows an address from now on: every line that is committed later wakes the follower.
    pub(crate) fn follow(&self, address: &Address) -> Result<Follower, ReadError> {
        let namespace = address.namespace();
        let mut tails = hold(&self.tails().0);
        let tail = match tails.get(namespace) {
            Some(tail) => Arc::clone(tail),
            None => {
                let tail = Arc::new(Tail(Mutex::new(State {
                    lines: VecDeque::new(),
                    begin: self.newest_cursor(namespace)?,
                    followers: HashMap::new(),
                })));
                tails.insert(namespace.to_owned(), Arc::clone(&tail));
                tail
            }
        };
        let mut state = hold(&tail.0);
        let sender = state.followers.entry(address.clone()).or_insert_with(|| watch::Sender::new(()));
        let woken = Some(sender.subscribe());
        drop(state);
        Ok(Follower { objects: self.clone(), tail, address: address.clone(), woken })
    }

    /// Pulls in what was committed and wakes the watchers that it concerns.
    pub(crate) fn announce(&self, namespace: &str) {
        let Some(tail) = self.tails().get(namespace) else { return };
        let mut state = hold(&tail.0);
        let lines = match self.lines_after(namespace, state.end(), usize::MAX) {
            Ok(lines) => lines,
            // Watchers find the same error and say so.
            Err(_) => return state.wake_all(),
        };
        for line in lines {
            let line = Arc::new(line);
            state.push(Arc::clone(&line));
            state.wake(&line.event);
        }
    }

    /// Lines of the log after a cursor, from the store.
    pub(crate) fn lines_after(
        &self,
        namespace: &str,
        after: &Cursor,
        limit: usize,
    ) -> Result<Vec<Line>, StorageError> {
        let from = Bound::Excluded(after.key(namespace));
        let to = Bound::Excluded(tables::after_prefix(&tables::event_prefix(namespace)));
        let rows = self.store().scan(tables::EVENT, (from, to)).take(limit);
        rows.map(|row| {
            row.map_err(StorageError::from).and_then(|(key, entry)| Line::decode(&key, &entry.value))
        })
        .collect()
    }
}

impl Follower {
    /// Lines after a cursor as far as they are known, at most `limit`, in order and without gaps.
    pub(crate) fn lines(&self, after: &Cursor, limit: usize) -> Result<Vec<Arc<Line>>, StorageError> {
        {
            let state = hold(&self.tail.0);
            if *after >= state.begin {
                let first = state.lines.partition_point(|line| line.cursor <= *after);
                return Ok(state.lines.range(first..).take(limit).cloned().collect());
            }
        }
        let lines = self.objects.lines_after(self.address.namespace(), after, limit)?;
        Ok(lines.into_iter().map(Arc::new).collect())
    }

    /// Notes that everything up to now is about to be looked at.
    pub(crate) fn look(&mut self) {
        if let Some(woken) = &mut self.woken {
            woken.borrow_and_update();
        }
    }

    /// Waits for the first line since [`Follower::look`]. Cancelling it loses nothing.
    pub(crate) async fn woken(&mut self) {
        match &mut self.woken {
            // The sender lives as long as its last follower.
            Some(woken) => drop(woken.changed().await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.woken = None;
        let mut tails = hold(&self.objects.tails().0);
        let mut state = hold(&self.tail.0);
        if state.followers.get(&self.address).is_some_and(|sender| sender.receiver_count() == 0) {
            state.followers.remove(&self.address);
        }
        if state.followers.is_empty() {
            tails.remove(self.address.namespace());
        }
    }
}

/// Nothing behind these locks is left half done by a panic.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
