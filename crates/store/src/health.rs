//! Whether a store is well, in words for its operator.
//!
//! A store is not well when it takes no writes, whatever the reason, and from the moment a read has met damage until it is opened again: then
//! something has to be restored, and whoever watches the node should hear of it.

use crate::{Store, index::Pressure, sync::hold};
use std::{
    fmt,
    sync::{Mutex, atomic::Ordering},
};

/// With less than this nothing can be stored, whatever floor the operator chose.
const FREE_MIN: u64 = 64 << 10;

/// Damage that reads have met since the store was opened: how often, and the first of it.
#[derive(Default)]
pub(crate) struct Met(Mutex<(u64, Option<String>)>);

impl Met {
    pub(crate) fn note(&self, what: &dyn fmt::Display) {
        let mut met = hold(&self.0);
        met.0 += 1;
        met.1.get_or_insert_with(|| what.to_string());
    }

    fn told(&self) -> Option<String> {
        let met = hold(&self.0);
        let (count, first) = (met.0, met.1.as_ref()?);
        Some(format!("{count} reads have met damage since the start, the first: {first}"))
    }
}

impl Store {
    /// What is wrong with the store now, if anything. Cheap: nothing is read for it.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if let Some(why) = self.read_only() {
            return Some(format!("the store takes no writes: {why}"));
        }
        if let Some(met) = self.inner.reading.damage.told() {
            return Some(met);
        }
        if let Some(doubt) = self.inner.reading.index.doubted() {
            return Some(format!("the index is damaged and is rebuilt at the next start: {doubt}"));
        }
        if let Pressure::Stuck(why) = self.inner.reading.index.pressure() {
            return Some(format!("writes are refused until the index can be written: {why}"));
        }
        let lacking = self.inner.status.lacking.load(Ordering::Relaxed);
        if lacking > 0 {
            return Some(format!(
                "{lacking} blocks have fewer copies than storage.copies says; the rest is being made"
            ));
        }
        let told = self.inner.reading.locations.iter().find_map(|backend| backend.trouble());
        told.or_else(|| self.lacks_room())
    }

    /// Why new data is refused, when there is no room for as many copies as are kept.
    fn lacks_room(&self) -> Option<String> {
        let reading = &self.inner.reading;
        let keeping = &reading.keeping;
        let backend = |at: u8| &reading.locations[usize::from(at)];
        let mut free: Vec<(u64, String)> = Vec::new();
        for at in keeping.active() {
            let space = backend(at).space().map_or(0, |space| space.free);
            free.push((space, backend(at).describe()));
        }
        free.sort_by_key(|(free, _)| std::cmp::Reverse(*free));
        // The fullest of those that the next block goes to.
        let (most, place) = free.get(keeping.copies() - 1)?;
        (*most < self.inner.floor.max(FREE_MIN)).then(|| match keeping.copies() {
            1 => format!(
                "new data is refused: {most} bytes are free, and storage.floor keeps {}",
                self.inner.floor
            ),
            copies => format!(
                "new data is refused: there is no room for {copies} copies: {most} bytes are free in {place}, and storage.floor keeps {}",
                self.inner.floor
            ),
        })
    }
}
