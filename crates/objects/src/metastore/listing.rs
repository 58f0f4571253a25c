//! What one directory lists: names, objects that name themselves, and objects whose names come apart from them.
//!
//! A group that was read once is not read again as long as those who keep it say what changed since. Memory does not grow with the directory: what names itself is
//! taken in page by page, and records that come before their names wait within a bound; what there was no room for is listed a second time.

use super::{Entry, Metastore, Versions, adopt::Found, names};
use crate::{
    Objects,
    address::Address,
    chain::Chain,
    error::{Refusal, StorageError},
    grant::Opener,
    read_key::{Group, Locator},
    record::Kind,
    tables::{self, Stored},
    tree,
};
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// Records that are asked for one by one at the same time.
const AT_ONCE: usize = 16;

/// Bytes of records that wait until the names in a group are known.
const WAITING_BYTES_MAX: usize = 16 << 20;

type Shared = Arc<dyn Metastore>;

impl Objects {
    /// Brings what is listed in a group here: what changed since it was read last where that is known, else all of it.
    pub(super) async fn refresh_group(
        &self,
        metastore: &Shared,
        directory: &Address,
        chain: &Chain,
        openers: &[Opener],
        group: Group,
    ) -> Result<bool, Refusal> {
        let observed = metastore.observe(*group.as_bytes(), true).await;
        let (ticket, changed) = observed.map_or((None, None), |it| (Some(it.ticket), it.changed));
        let mut all = None;
        if let Some(changed) = changed {
            all = self.refresh_changed(metastore, directory, chain, openers, group, changed).await?;
        }
        let all = match all {
            Some(all) => all,
            None => self.refresh_all(metastore, directory, chain, openers, group).await?,
        };
        if let Some(ticket) = ticket.filter(|_| all) {
            metastore.settle(*group.as_bytes(), ticket, true);
        }
        Ok(all)
    }

    /// Reads a whole group; says whether nothing can be missing.
    async fn refresh_all(
        &self,
        metastore: &Shared,
        directory: &Address,
        chain: &Chain,
        openers: &[Opener],
        group: Group,
    ) -> Result<bool, Refusal> {
        let mut listing = Sorted { complete: true, ..Sorted::default() };
        let mut after = None;
        loop {
            let Some(page) = metastore.entries(group, after).await else { return Ok(false) };
            listing.complete &= page.settled;
            for entry in whole(metastore, page.entries).await {
                listing.complete &= !entry.incomplete;
                self.sort_entry(&mut listing, directory, chain, openers, entry);
            }
            // What names itself is taken in page by page, however many there are.
            let named = std::mem::take(&mut listing.objects);
            self.adopt_listed(metastore, chain, openers, named, page.settled).await?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let (mut listed, mut others) = (Vec::new(), Vec::new());
        for (address, locator) in self.take_names(&mut listing, openers).await? {
            match listing.waiting.remove(&locator) {
                Some(found) => listed.push((address, found)),
                None if listing.seen.contains(&locator) => {
                    listing.missed.insert(locator, address);
                }
                // A name stays when its object is gone.
                None if listing.complete => {}
                None => others.push((address, locator)),
            }
        }
        self.adopt_listed(metastore, chain, openers, listed, listing.complete).await?;
        self.adopt_missed(metastore, chain, openers, group, &mut listing).await?;
        others.extend(
            std::mem::take(&mut listing.missed).into_iter().map(|(locator, address)| (address, locator)),
        );
        // What is not listed any more was deleted, or is filed elsewhere.
        for (address, stored) in self.children(directory)? {
            if stored.record.group == group
                && stored.record.kind == Kind::Object
                && !listing.seen.contains(&stored.record.locator)
            {
                others.push((address, stored.record.locator));
            }
        }
        let complete = listing.complete;
        Ok(self.adopt_each(metastore, chain, openers, others, complete).await? && complete)
    }

    /// Reads these records of a group, and what they name. None: one of them is an object whose name is not among what is known here, or there are too many.
    async fn refresh_changed(
        &self,
        metastore: &Shared,
        directory: &Address,
        chain: &Chain,
        openers: &[Opener],
        group: Group,
        changed: Vec<Locator>,
    ) -> Result<Option<bool>, Refusal> {
        let looked = stream::iter(changed)
            .map(|locator| async move { (locator, metastore.versions(locator, false).await) })
            .buffer_unordered(AT_ONCE);
        let looked: Vec<(Locator, Option<Versions>)> = looked.collect().await;
        let mut listing = Sorted { complete: true, ..Sorted::default() };
        let mut left = HashMap::new();
        for (locator, versions) in looked {
            let Some(versions) = versions else { return Ok(Some(false)) };
            listing.complete &= versions.settled;
            let found = Found::of(&versions);
            let is_listed =
                |found: &Found| found.record.group == group && found.record.kind != Kind::Tombstone;
            if found.iter().any(is_listed) {
                let entry = Entry { locator, heads: versions.heads, incomplete: false };
                self.sort_entry(&mut listing, directory, chain, openers, entry);
            } else {
                left.insert(locator, found);
            }
        }
        let mut listed = std::mem::take(&mut listing.objects);
        let mut others = Vec::new();
        for (address, locator) in self.take_names(&mut listing, openers).await? {
            match listing.waiting.remove(&locator) {
                Some(found) => listed.push((address, found)),
                None => others.push((address, locator)),
            }
        }
        left.extend(std::mem::take(&mut listing.waiting));
        // What is gone from here, and private objects that had names before.
        if !left.is_empty() {
            for (address, stored) in self.children(directory)? {
                let found = left.remove(&stored.record.locator);
                listed.extend(found.map(|found| (address, found)));
            }
        }
        let is_nameless = |found: &Found| found.record.group == group && found.record.kind == Kind::Object;
        if listing.is_full || (!openers.is_empty() && left.values().flatten().any(is_nameless)) {
            return Ok(None);
        }
        let complete = listing.complete;
        self.adopt_listed(metastore, chain, openers, listed, complete).await?;
        Ok(Some(self.adopt_each(metastore, chain, openers, others, complete).await? && complete))
    }

    /// Asks for these objects one by one; says whether somebody answered for each.
    async fn adopt_each(
        &self,
        metastore: &Shared,
        chain: &Chain,
        openers: &[Opener],
        objects: Vec<(Address, Locator)>,
        sure: bool,
    ) -> Result<bool, Refusal> {
        let adopted = stream::iter(objects).map(|(address, locator)| async move {
            let Some(versions) = metastore.versions(locator, false).await else { return Ok(false) };
            let found = Found::of(&versions);
            self.adopt_object(metastore, &address, chain, openers, found, sure).await.map(|()| true)
        });
        let adopted: Vec<Result<bool, Refusal>> = adopted.buffer_unordered(AT_ONCE).collect().await;
        adopted.into_iter().try_fold(true, |all, adopted| Ok(all & adopted?))
    }

    /// Takes note of the names that were found; what they name, but for directories, and where that is filed.
    async fn take_names(
        &self,
        listing: &mut Sorted,
        openers: &[Opener],
    ) -> Result<Vec<(Address, Locator)>, Refusal> {
        let names: Vec<_> = std::mem::take(&mut listing.names).into_iter().collect();
        self.note_names(&names).await.map_err(|error| StorageError::Write(error.to_string()))?;
        let objects = names.into_iter().filter(|(address, ..)| !address.is_directory());
        let filed = objects.filter_map(|(address, private, epoch)| {
            debug_assert!(private, "a public object names itself");
            let key = openers.iter().find_map(|opener| opener.read_key(&address, epoch))?;
            Some((address, key.locator()))
        });
        Ok(filed.collect())
    }

    /// Lists once more what there was no room for until its name was known.
    async fn adopt_missed(
        &self,
        metastore: &Shared,
        chain: &Chain,
        openers: &[Opener],
        group: Group,
        listing: &mut Sorted,
    ) -> Result<(), Refusal> {
        let mut after = None;
        while !listing.missed.is_empty()
            && let Some(page) = metastore.entries(group, after).await
        {
            let named = page.entries.iter().filter(|entry| !entry.incomplete).filter_map(|entry| {
                let address = listing.missed.remove(&entry.locator)?;
                Some((address, read_all(&entry.heads)))
            });
            let named = named.collect();
            self.adopt_listed(metastore, chain, openers, named, page.settled).await?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// The objects of this node that lie in a directory itself.
    fn children(&self, directory: &Address) -> Result<Vec<(Address, Stored)>, StorageError> {
        let mut found = Vec::new();
        let end = tables::after_prefix(directory.as_str().as_bytes());
        let mut from = tables::address_key(directory);
        'seek: loop {
            for item in self.store().scan(tables::CURRENT, from..end.clone()) {
                let (key, entry) = item?;
                let address = tree::address_of(&key)?;
                let below = address.as_str().strip_prefix(directory.as_str()).unwrap_or_default();
                if let Some((name, _)) = below.split_once('/') {
                    from = tables::after_prefix(format!("{directory}{name}/").as_bytes());
                    continue 'seek;
                }
                found.push((address.clone(), Stored::decode(&address, entry)?));
            }
            return Ok(found);
        }
    }

    /// Whether an entry is a name, an object that names itself, or waits for its name.
    fn sort_entry(
        &self,
        listing: &mut Sorted,
        directory: &Address,
        chain: &Chain,
        openers: &[Opener],
        entry: Entry,
    ) {
        listing.seen.insert(entry.locator);
        let found = read_all(&entry.heads);
        let mut is_name = false;
        // Nodes may have filed different names in one place.
        for head in &found {
            let is_owners = head.record.owner == chain.place.owner;
            if let Some(content) = &head.record.content {
                match names::directory_named(&content.address) {
                    None => listing.objects.push((content.address.clone(), found)),
                    Some(named) if is_owners => {
                        listing.names.insert((named, false, head.record.epoch));
                    }
                    Some(_) => {}
                }
                return;
            }
            let named =
                openers.iter().find_map(|opener| names::private_name(&head.record, directory, opener));
            if let Some(named) = named.filter(|_| is_owners) {
                listing.names.insert((named, true, head.record.epoch));
                is_name = true;
            }
        }
        if is_name {
            return;
        }
        // A tombstone of a public object says nothing of its name; who knows the name asks for it.
        let bytes: usize = entry.heads.iter().map(Vec::len).sum();
        if listing.waiting_bytes + bytes <= WAITING_BYTES_MAX {
            listing.waiting_bytes += bytes;
            listing.waiting.insert(entry.locator, found);
        } else {
            listing.is_full = true;
        }
    }
}

/// A group as far as it was read.
#[derive(Default)]
struct Sorted {
    names: BTreeSet<(Address, bool, u64)>,
    /// Objects that name themselves.
    objects: Vec<(Address, Vec<Found>)>,
    seen: HashSet<Locator>,
    /// What may be an object whose name comes later.
    waiting: HashMap<Locator, Vec<Found>>,
    waiting_bytes: usize,
    is_full: bool,
    /// Objects whose records did not wait.
    missed: HashMap<Locator, Address>,
    complete: bool,
}

fn read_all(heads: &[Vec<u8>]) -> Vec<Found> {
    heads.iter().filter_map(|bytes| Found::read(bytes)).collect()
}

/// Entries with all of their heads: what a page has no room for is fetched.
async fn whole(metastore: &Shared, entries: Vec<Entry>) -> Vec<Entry> {
    let fetched = stream::iter(entries).map(|entry| async move {
        match entry.incomplete {
            false => entry,
            true => match metastore.versions(entry.locator, false).await {
                Some(versions) => Entry { heads: versions.heads, incomplete: false, ..entry },
                None => entry,
            },
        }
    });
    fetched.buffered(AT_ONCE).collect().await
}
