//! Reading the change log: events after a cursor, in order, of what the reader may know of.

use crate::{
    Objects,
    address::Address,
    authority::{Basis, Facts, Need, Visibility, decide},
    chain::Chain,
    clock::HybridTime,
    error::{ReadError, StorageError},
    event::Event,
    grant::{Grant, Watch},
    tables,
};

/// The most events that one call gives.
pub const EVENTS_MAX: usize = 1_000;

/// A place in a namespace's change log: events up to here were seen. Its text means nothing to anybody else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor(u64, u32);

impl std::fmt::Display for Cursor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:x}-{:x}", self.0, self.1)
    }
}

impl Cursor {
    /// Reads a cursor's text.
    pub fn parse(text: &str) -> Option<Cursor> {
        let (sequence, index) = text.split_once('-')?;
        Some(Cursor(u64::from_str_radix(sequence, 16).ok()?, u32::from_str_radix(index, 16).ok()?))
    }

    fn of_key(key: &[u8]) -> Option<Cursor> {
        let (rest, index) = key.split_last_chunk::<4>()?;
        let (_, sequence) = rest.split_last_chunk::<8>()?;
        Some(Cursor(u64::from_be_bytes(*sequence), u32::from_be_bytes(*index)))
    }

    fn key(&self, namespace: &str) -> Vec<u8> {
        let mut key = tables::event_prefix(namespace);
        key.extend_from_slice(&self.0.to_be_bytes());
        key.extend_from_slice(&self.1.to_be_bytes());
        key
    }
}

/// Events after a cursor.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The events, each with the cursor that stands after it.
    pub events: Vec<(Cursor, Event)>,
    /// Where to go on; it moves past events that the reader may not know of.
    pub cursor: Cursor,
    /// The log no longer reaches back to the cursor given: list again.
    pub reset: bool,
}

impl Objects {
    /// The end of a namespace's log as it is now.
    pub async fn newest_cursor(&self, grant: &Grant<Watch>) -> Result<Cursor, ReadError> {
        let range = tables::prefix_range(tables::event_prefix(grant.address().namespace()));
        let last = self.store().scan(tables::EVENT, range).next_back().transpose()?;
        Ok(last.and_then(|(key, _)| Cursor::of_key(&key)).unwrap_or_default())
    }

    /// Events after `since` at or below the grant's address.
    pub async fn events(
        &self,
        grant: &Grant<Watch>,
        since: &Cursor,
        limit: usize,
    ) -> Result<Feed, ReadError> {
        let top = grant.address();
        let namespace = top.namespace();
        let reset = self.is_before_log(namespace, since)?;
        let end = tables::after_prefix(&tables::event_prefix(namespace));
        let from = std::ops::Bound::Excluded(since.key(namespace));
        let mut feed = Feed { events: Vec::new(), cursor: since.clone(), reset };
        let limit = limit.clamp(1, EVENTS_MAX);
        for item in self.store().scan(tables::EVENT, (from, std::ops::Bound::Excluded(end))).take(limit * 16)
        {
            let (key, entry) = item?;
            let damaged = || StorageError::Write("a key of the change log is cut short".into());
            let cursor = Cursor::of_key(&key).ok_or_else(damaged)?;
            let event = Event::decode(&entry.value)?;
            if covers(top, &event.address) && self.may_know(grant, &event)? {
                feed.events.push((cursor.clone(), event));
            }
            feed.cursor = cursor;
            if feed.events.len() == limit {
                break;
            }
        }
        Ok(feed)
    }

    /// Records must not go back in time because the system's clock did between two starts.
    pub(crate) fn catch_up_with_own_past(&self) -> Result<(), StorageError> {
        for namespace in self.namespace_directories()? {
            let range = tables::prefix_range(tables::event_prefix(namespace.namespace()));
            if let Some(item) = self.store().scan(tables::EVENT, range).next_back() {
                self.observe(HybridTime::from_ms(Event::decode(&item?.1.value)?.time_ms + 1));
            }
        }
        Ok(())
    }

    /// Whether lines after the cursor have been forgotten already.
    fn is_before_log(&self, namespace: &str, since: &Cursor) -> Result<bool, ReadError> {
        if *since == Cursor::default() {
            return Ok(false);
        }
        let known = self.store().get(tables::EVENT, &since.key(namespace))?.is_some();
        let mut older =
            self.store().scan(tables::EVENT, tables::event_prefix(namespace)..since.key(namespace));
        Ok(!known && older.next().is_none())
    }

    /// Who may not read the object gets no event of it.
    fn may_know(&self, grant: &Grant<Watch>, event: &Event) -> Result<bool, ReadError> {
        if event.public {
            return Ok(true);
        }
        let Some(chain) = Chain::load(self, &event.address)? else { return Ok(false) };
        let (presented, _) = grant.held.proven.at(&event.address, &chain);
        let facts = Facts { visibility: Visibility::Private, ..chain.facts(&event.address) };
        Ok(matches!(decide(Need::Watch, facts, &presented), Ok(Basis::Owner | Basis::Token(_))))
    }
}

fn covers(top: &Address, address: &Address) -> bool {
    if top.is_directory() { address.starts_with(top) } else { address == top }
}
