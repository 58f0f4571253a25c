//! Telling the others of a change before it is made here.
//!
//! What a change rests on is compared with what is here first, while nobody else publishes or adopts at the same addresses; then its blocks are placed, then its names,
//! then its records are stored, each on the condition that what this node took for the newest version is what the others serve. What has moved on elsewhere
//! makes the whole change be tried again from what is there then. A tree is one commit here; others can see it piece by piece, and where one piece lost a
//! race, those before it have been told and are found done at the next try.

use super::{Metastore, Named, StoredAs, Storing, note_kept};
use crate::{
    Objects,
    address::Address,
    author::Author,
    chain::DirectoryState,
    commit::{Change, exceeded},
    error::{Refusal, StorageError, WriteError},
    gates::Turns,
    record::{Envelope, Record, RecordHash},
    tables::{self, Stored},
    tree,
};
use jsfs_store::{BlockId, Expect, Op, Table, block};
use std::{collections::HashSet, sync::Arc, time::Duration};

/// When to try again what others are too busy for.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A record of a change.
struct Publishing {
    address: Address,
    envelope: Vec<u8>,
    record: Record,
    before: Option<Before>,
}

/// What it takes the place of here.
struct Before {
    envelope: Vec<u8>,
    record: Record,
    hash: RecordHash,
}

impl Change {
    /// Stores the records of a change in the metastore, where its namespace is shared. None: it rests on what is not so any more.
    pub(crate) async fn publish(&mut self, objects: &Objects) -> Result<Option<Turns>, WriteError> {
        let Some(metastore) = self.metastore(objects)? else { return Ok(Some(Vec::new())) };
        let keys: Vec<Vec<u8>> = self.record_ops().map(|(_, key, _)| key.to_vec()).collect();
        // Of several writers below a new directory one makes its name.
        let names = self.names.iter().map(Named::row);
        let turns = objects.turns_of(keys.iter().map(Vec::as_slice).chain(names)).await;
        if !self.holds(objects)? {
            return Ok(None);
        }
        self.check_quotas(objects)?;
        self.keep_references(objects)?;
        let publishing = self.publishing(objects)?;
        self.place(objects).await?;
        for named in std::mem::take(&mut self.names) {
            if objects.store().get(tables::NAMED, named.row())?.is_none() {
                // That somebody else has stored it meanwhile is as good.
                put(&metastore, named.storing()).await?;
                self.commit.ops.push(named.op());
            }
        }
        for record in publishing {
            let (locator, group) = (record.record.locator, record.record.group);
            if !put(&metastore, record.storing()).await? {
                tracing::debug!(address = %record.address, "what others have is not what is here");
                metastore.distrust(*locator.as_bytes());
                metastore.distrust(*group.as_bytes());
                return Ok(None);
            }
        }
        for (hash, envelope) in std::mem::take(&mut self.moved) {
            let storing = Storing { envelope, before: None, condition: Some(Some(hash)) };
            if !put(&metastore, storing).await? {
                return Ok(None);
            }
        }
        // From here on it is so, whatever happens above it.
        let is_record = |Expect::Sequence { table, .. }: &Expect| *table == tables::CURRENT;
        self.commit.expect.retain(is_record);
        for op in &mut self.commit.ops {
            if let Op::Add { at_most, .. } = op {
                *at_most = None;
            }
        }
        Ok(Some(turns))
    }

    fn metastore(&self, objects: &Objects) -> Result<Option<Arc<dyn Metastore>>, WriteError> {
        if self.adopts {
            return Ok(None);
        }
        let Some((_, key, _)) = self.record_ops().next() else { return Ok(None) };
        let namespace = tree::address_of(key)?.namespace().to_owned();
        if self.founds {
            return Ok(objects.metastore().cloned());
        }
        Ok(objects.metastore_of(&namespace)?.cloned())
    }

    /// The ops that put records, with the bytes of their envelopes.
    fn record_ops(&self) -> impl Iterator<Item = (Table, &[u8], &[u8])> {
        self.commit.ops.iter().filter_map(|op| match op {
            Op::Put { table, key, value, .. } if *table == tables::CURRENT => {
                Some((*table, key.as_slice(), value.get(9..).unwrap_or_default()))
            }
            Op::Put { table, key, value, .. } if *table == tables::DIRECTORY => {
                Some((*table, key.as_slice(), &value[..]))
            }
            _ => None,
        })
    }

    /// Whether everything that it rests on is here as it was.
    fn holds(&self, objects: &Objects) -> Result<bool, StorageError> {
        for expect in &self.commit.expect {
            let Expect::Sequence { table, key, sequence } = expect;
            let now = objects.store().get(*table, key)?.map_or(0, |entry| entry.sequence);
            if now != *sequence {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn check_quotas(&self, objects: &Objects) -> Result<(), WriteError> {
        for op in &self.commit.ops {
            if let Op::Add { table, key, delta, at_most: Some(limit) } = op {
                let now = objects.store().get(*table, key)?.map_or(0, |entry| tables::counter(&entry.value));
                if now.saturating_add_signed(*delta) > *limit {
                    return Err(exceeded(key, self.quotas()));
                }
            }
        }
        Ok(())
    }

    /// An entry refers to its blocks only where all of them are here; others are fetched when they are read.
    fn keep_references(&mut self, objects: &Objects) -> Result<(), WriteError> {
        let coming: HashSet<BlockId> = self.commit.blocks.iter().map(|block| block.id).collect();
        let lists: Vec<BlockId> = self
            .commit
            .blocks
            .iter()
            .filter_map(|block| block::decode_list(&block.bytes).ok())
            .flat_map(|(_, ids)| ids)
            .collect();
        let mut pins = Vec::new();
        let mut is_here = |id: &BlockId| -> Result<bool, WriteError> {
            if coming.contains(id) {
                return Ok(true);
            }
            let pin = objects.store().pin(id)?;
            let cached = objects.store().get(tables::CACHED, id.as_bytes())?.is_some();
            let is_here = pin.is_some();
            pins.extend(pin);
            // What a list that was fetched lists need not be here.
            let is_list = || match objects.store().block(id) {
                Ok(bytes) => matches!(block::split(&bytes), Ok((block::Kind::List, _))),
                Err(_) => true,
            };
            Ok(is_here && !(cached && is_list()))
        };
        let mut lists_are_here = true;
        for id in &lists {
            lists_are_here &= is_here(id)?;
        }
        for op in &mut self.commit.ops {
            if let Op::Put { references, .. } = op {
                let mut all = lists_are_here || lists.is_empty();
                for id in references.iter() {
                    all &= is_here(id)?;
                }
                if !all {
                    references.clear();
                }
            }
        }
        self.commit.pins.extend(pins);
        Ok(())
    }

    fn publishing(&self, objects: &Objects) -> Result<Vec<Publishing>, WriteError> {
        let mut publishing = Vec::new();
        for (table, key, envelope) in self.record_ops() {
            let address = tree::address_of(key)?;
            let damaged = |error: crate::FormatError| StorageError::Record {
                address: address.clone(),
                what: error.to_string(),
            };
            let record =
                Envelope::decode(envelope).and_then(|envelope| envelope.record()).map_err(damaged)?;
            let before = if table == tables::CURRENT {
                objects.current(&address)?.map(|stored| Before {
                    envelope: stored.value[9..].to_vec(),
                    record: stored.record.clone(),
                    hash: stored.hash,
                })
            } else {
                let here = objects.store().get(table, key)?;
                let state = here.map(|entry| {
                    let state = DirectoryState::decode(&address, &entry.value, entry.sequence)?;
                    let envelope = entry.value.to_vec();
                    Ok::<_, StorageError>(Before { envelope, record: state.record, hash: state.hash })
                });
                state.transpose()?
            };
            publishing.push(Publishing { address, envelope: envelope.to_vec(), record, before });
        }
        Ok(publishing)
    }
}

impl Objects {
    /// Adds what others need to be told where a version is filed elsewhere than the one before it, which everybody could read.
    pub(crate) fn file_elsewhere(
        &self,
        change: &mut Change,
        author: &Author,
        before: Option<&Stored>,
        envelope: &Envelope,
    ) -> Result<(), WriteError> {
        let Some(before) = before.filter(|before| before.is_public()) else { return Ok(()) };
        let damaged = |error: crate::FormatError| StorageError::Write(error.to_string());
        let record = envelope.record().map_err(damaged)?;
        if record.locator != before.record.locator {
            let tombstone = author.moved_on(self, before, record.version)?;
            change.moved_on(before, &tombstone);
        }
        Ok(())
    }
}

impl Publishing {
    fn storing(&self) -> Storing {
        let before = self.before.as_ref().filter(|before| before.record.locator == self.record.locator);
        let condition = match (&self.before, before) {
            (None, _) => Some(None),
            (_, Some(before)) if before.record.owner == self.record.owner => Some(Some(before.hash)),
            // Filed elsewhere or somebody else's until now: what is there is not known here.
            _ => None,
        };
        Storing {
            envelope: self.envelope.clone(),
            before: before.map(|before| before.envelope.clone()),
            condition,
        }
    }
}

/// Stores; false where the condition does not hold.
async fn put(metastore: &Arc<dyn Metastore>, storing: Storing) -> Result<bool, WriteError> {
    match metastore.store(storing).await {
        StoredAs::Settled => Ok(true),
        StoredAs::Kept { .. } => {
            note_kept();
            Ok(true)
        }
        StoredAs::Conflict(_) => Ok(false),
        StoredAs::Busy => Err(Refusal::Unsettled { retry_after: RETRY_AFTER }.into()),
        StoredAs::Refused(what) => Err(WriteError::Invalid { what }),
    }
}
