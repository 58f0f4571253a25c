//! How long old versions, tombstones and the change log are kept.
//!
//! A write forgets at once what passes the number of versions kept. A sweep, started by the node from time to time, forgets what is too old,
//! what goes beyond as many bytes as the live data, tombstones that outlived everything they deleted, old lines of the change log, and uploads
//! that nobody went on with. It also writes when derived values were used (`derived`).
//! Each step is a commit of its own, conditional on what it looked at: a sweep may stop anywhere.

use crate::{
    Objects,
    address::Address,
    chain::Chain,
    commit::Change,
    error::{StorageError, WriteError},
    record::Kind,
    tables::{self, Stored},
    tree,
};
use jsfs_store::Op;
use std::time::Duration;

/// Entries forgotten in one commit.
const STEP: usize = 256;

const DAY_MS: u64 = 86_400_000;

/// What a sweep forgot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Old versions.
    pub versions: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Lines of the change log.
    pub events: u64,
    /// Uploads that were not finished in time.
    pub uploads: u64,
}

/// Adds to a write what it makes too many: versions past the number that the directory keeps.
pub(crate) fn trim(
    objects: &Objects,
    change: &mut Change,
    address: &Address,
    chain: &Chain,
) -> Result<(), WriteError> {
    let Some(before) = &chain.object else { return Ok(()) };
    let keep = chain.policy.retention_versions;
    // `before` becomes an old version with this very commit.
    let Some(newest_dropped) = before.record.version.checked_sub(keep) else { return Ok(()) };
    let range = tables::version_key(address, 0)..tables::version_key(address, newest_dropped + 1);
    for item in objects.store().scan(tables::VERSION, range).take(STEP) {
        let stored = Stored::decode(address, item?.1)?;
        change.expect_version(address, stored.record.version, stored.sequence);
        change.drop_version(address, chain, stored.record.version, stored.size);
    }
    if keep == 0 {
        change.drop_version(address, chain, before.record.version, before.size);
    }
    Ok(())
}

/// A version that a sweep may forget.
struct Candidate {
    address: Address,
    version: u64,
    size: u64,
    sequence: u64,
}

impl Objects {
    /// Sweeps in the background from now on, first after `every`, until the node stops.
    pub fn start_sweeping(&self, every: Duration) {
        let objects = self.clone();
        self.spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                match objects.sweep().await {
                    Ok(swept) if swept == Swept::default() => {}
                    Ok(swept) => {
                        tracing::info!(
                            ?swept,
                            "old versions, tombstones, log lines and uploads were forgotten"
                        )
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a sweep of old versions stopped; the next one goes on")
                    }
                }
            }
        });
    }

    /// Forgets what retention says, in small commits.
    pub async fn sweep(&self) -> Result<Swept, WriteError> {
        let mut swept = Swept::default();
        self.sweep_versions(&mut swept).await?;
        self.sweep_tombstones(&mut swept).await?;
        self.sweep_events(&mut swept).await?;
        swept.uploads = self.sweep_uploads().await?;
        self.write_uses().await?;
        self.sweep_leases().await?;
        Ok(swept)
    }

    async fn sweep_versions(&self, swept: &mut Swept) -> Result<(), WriteError> {
        let now_ms = self.clock().now_ms();
        let mut from = Vec::new();
        loop {
            let (candidates, next) = self.aged_versions(from, now_ms)?;
            swept.versions += self.forget(candidates).await?;
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        for namespace in self.namespace_directories()? {
            while self.excess(&namespace)? > 0 {
                let oldest = self.oldest_versions(&namespace)?;
                let forgotten = self.forget(oldest).await?;
                swept.versions += forgotten;
                if forgotten == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Old versions past their days, a step at a time.
    fn aged_versions(
        &self,
        from: Vec<u8>,
        now_ms: u64,
    ) -> Result<(Vec<Candidate>, Option<Vec<u8>>), WriteError> {
        let mut candidates = Vec::new();
        let mut directory: Option<(Address, u64)> = None;
        for (seen, item) in self.store().scan(tables::VERSION, from..).enumerate() {
            let (key, entry) = item?;
            if seen == STEP * 16 || candidates.len() == STEP {
                return Ok((candidates, Some(key)));
            }
            let Some((text, version)) = tables::split_version_key(&key) else { continue };
            let address = tree::address_of(text.as_bytes())?;
            let parent = address.parent().unwrap_or_else(|| address.clone());
            if directory.as_ref().is_none_or(|(of, _)| *of != parent) {
                let days = Chain::load(self, &parent)?.map_or(u64::MAX, |chain| chain.policy.retention_days);
                directory = Some((parent, days));
            }
            let stored = Stored::decode(&address, entry)?;
            // A version is old from when it was replaced, which is not later than when it was made plus what was kept since.
            let keep_ms = directory.as_ref().map_or(u64::MAX, |(_, days)| days.saturating_mul(DAY_MS));
            let replaced_ms = self.replaced_ms(&address, version)?.unwrap_or_else(|| stored.record.time.ms());
            if replaced_ms.saturating_add(keep_ms) <= now_ms {
                candidates.push(Candidate { address, version, size: stored.size, sequence: stored.sequence });
            }
        }
        Ok((candidates, None))
    }

    /// When a version was replaced: the time of the next one.
    fn replaced_ms(&self, address: &Address, version: u64) -> Result<Option<u64>, WriteError> {
        let next =
            tables::version_key(address, version + 1)..tables::after_prefix(&tables::version_prefix(address));
        if let Some(item) = self.store().scan(tables::VERSION, next).next() {
            return Ok(Some(Stored::decode(address, item?.1)?.record.time.ms()));
        }
        Ok(self.current(address)?.map(|current| current.record.time.ms()))
    }

    /// By how many bytes a namespace's old versions exceed its live data.
    fn excess(&self, namespace: &Address) -> Result<u64, WriteError> {
        let live = self.counter(tables::LIVE, namespace)?;
        Ok(self
            .usage(namespace)?
            .saturating_sub(live)
            .saturating_sub(live.max(self.settings().versions_bytes_min)))
    }

    /// The versions of a namespace that were replaced the longest ago: enough of them to bring it within bounds, as far as one step goes.
    fn oldest_versions(&self, namespace: &Address) -> Result<Vec<Candidate>, WriteError> {
        let range = tables::prefix_range(tables::address_key(namespace));
        let mut oldest = std::collections::BinaryHeap::new();
        for item in self.store().scan(tables::VERSION, range) {
            let (key, entry) = item?;
            let Some((text, version)) = tables::split_version_key(&key) else { continue };
            let address = tree::address_of(text.as_bytes())?;
            let stored = Stored::decode(&address, entry)?;
            oldest.push((stored.record.time.0, stored.size, address, version, stored.sequence));
            if oldest.len() > STEP {
                oldest.pop();
            }
        }
        let mut left = self.excess(namespace)?;
        let mut candidates = Vec::new();
        for (_, size, address, version, sequence) in oldest.into_sorted_vec() {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(size);
            candidates.push(Candidate { address, version, size, sequence });
        }
        Ok(candidates)
    }

    async fn forget(&self, candidates: Vec<Candidate>) -> Result<u64, WriteError> {
        let mut change = Change::new();
        let mut forgotten = 0;
        for Candidate { address, version, size, sequence } in candidates {
            let Some(chain) = Chain::load(self, &address)? else { continue };
            change.expect_version(&address, version, sequence);
            change.drop_version(&address, &chain, version, size);
            forgotten += 1;
        }
        if forgotten == 0 || change.commit(self).await?.is_none() {
            return Ok(0);
        }
        Ok(forgotten)
    }

    /// A tombstone goes when nothing that it deleted is left and its own days are over: it must not be outlived by a copy elsewhere.
    async fn sweep_tombstones(&self, swept: &mut Swept) -> Result<(), WriteError> {
        let now_ms = self.clock().now_ms();
        let mut from = Vec::new();
        loop {
            let mut change = Change::new();
            let mut next = None;
            let mut met = 0;
            for (seen, item) in self.store().scan(tables::CURRENT, from..).enumerate() {
                let (key, entry) = item?;
                if seen == STEP * 16 || met == STEP {
                    next = Some(key);
                    break;
                }
                let address = tree::address_of(&key)?;
                let stored = Stored::decode(&address, entry)?;
                if stored.record.kind != Kind::Tombstone
                    || !self.tombstone_is_over(&address, &stored, now_ms)?
                {
                    continue;
                }
                change.expect_current(&address, stored.sequence);
                change.op(Op::Delete { table: tables::CURRENT, key });
                change.own(&address, crate::owned::named_owner(&stored.record), None);
                met += 1;
            }
            if met > 0 && change.commit(self).await?.is_some() {
                swept.tombstones += met as u64;
            }
            match next {
                Some(key) => from = key,
                None => return Ok(()),
            }
        }
    }

    fn tombstone_is_over(&self, address: &Address, stored: &Stored, now_ms: u64) -> Result<bool, WriteError> {
        let days = Chain::load(self, address)?.map_or(0, |chain| chain.policy.retention_days);
        // Twice the days: once for what it deleted, once for whoever still has that.
        let over = stored.record.time.ms().saturating_add(days.saturating_mul(2 * DAY_MS)) <= now_ms;
        let versions = tables::prefix_range(tables::version_prefix(address));
        Ok(over && self.store().scan(tables::VERSION, versions).next().is_none())
    }

    async fn sweep_events(&self, swept: &mut Swept) -> Result<(), WriteError> {
        let keep_ms = self.settings().events_days.saturating_mul(DAY_MS);
        let oldest_ms = self.clock().now_ms().saturating_sub(keep_ms);
        for namespace in self.namespace_directories()? {
            loop {
                let range = tables::prefix_range(tables::event_prefix(namespace.namespace()));
                let mut change = Change::new();
                let mut old = 0;
                for item in self.store().scan(tables::EVENT, range).take(STEP) {
                    let (key, entry) = item?;
                    if crate::event::Event::decode(&entry.value)?.time_ms >= oldest_ms {
                        break;
                    }
                    change.op(Op::Delete { table: tables::EVENT, key });
                    old += 1;
                }
                if old == 0 || change.commit(self).await?.is_none() {
                    break;
                }
                swept.events += old;
            }
        }
        Ok(())
    }

    /// The directories that stand for the namespaces of this node.
    pub(crate) fn namespace_directories(&self) -> Result<Vec<Address>, StorageError> {
        let mut namespaces = Vec::new();
        let mut from = std::ops::Bound::Unbounded;
        // From one namespace straight to the next, past the records of directories below it.
        while let Some(item) = self.store().scan(tables::DIRECTORY, (from, std::ops::Bound::Unbounded)).next()
        {
            let directory = tree::namespace_directory(&tree::address_of(&item?.0)?);
            from = std::ops::Bound::Included(tables::after_prefix(directory.as_str().as_bytes()));
            namespaces.push(directory);
        }
        Ok(namespaces)
    }

    pub(crate) fn counter(&self, table: jsfs_store::Table, directory: &Address) -> Result<u64, StorageError> {
        let entry = self.store().get(table, directory.as_str().as_bytes())?;
        Ok(entry.map_or(0, |entry| tables::counter(&entry.value)))
    }

    /// Bytes kept below a directory whose bytes are counted: a namespace, or one with a quota.
    pub(crate) fn usage(&self, directory: &Address) -> Result<u64, StorageError> {
        self.counter(tables::USAGE, directory)
    }
}
