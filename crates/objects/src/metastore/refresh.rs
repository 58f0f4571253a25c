//! Reading what others wrote before it is needed: directories above an address, the object there, names and objects below a directory.
//!
//! What the metastore says is as it was read needs no reading. Everything else is observed first and read then, so that no change falls between. Where too
//! few members answer, what is here counts; what is not here is then not said to be absent, but to be asked for again.

use super::{Metastore, Versions, adopt::Found, names};
use crate::{
    Objects,
    address::Address,
    authority::Need,
    chain::{Chain, DirectoryState},
    credentials::Proven,
    error::{Refusal, StorageError},
    grant::Opener,
    read_key::{Group, Locator},
    record::{Create, Envelope, Kind},
    tables::{self, Stored},
    tree,
};
use futures_util::{StreamExt, future::join_all, stream};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// Directories and entries that are looked at together.
const AT_ONCE: usize = 16;

/// Directories below one that are read for one request.
const DIRECTORIES_MAX: usize = 65_536;

/// Bytes of records that wait until the names in a group are known; others are fetched once more.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// When to ask again for what too few members answered.
const RETRY_AFTER: Duration = Duration::from_secs(2);

type Shared = Arc<dyn Metastore>;

/// What was found under a locator.
pub(super) enum Looked {
    Fresh,
    Found(Versions, Option<u64>),
    Nobody,
}

impl Looked {
    fn is_sure(&self) -> bool {
        match self {
            Looked::Fresh => true,
            Looked::Found(versions, _) => versions.settled,
            Looked::Nobody => false,
        }
    }
}

async fn look(metastore: &Shared, locator: Locator, observing: bool) -> Looked {
    let home = *locator.as_bytes();
    if metastore.is_fresh(home, false) {
        return Looked::Fresh;
    }
    let ticket = if observing { metastore.observe(home).await } else { None };
    match metastore.versions(locator, false).await {
        Some(versions) => Looked::Found(versions, ticket),
        None => Looked::Nobody,
    }
}

fn settle(metastore: &Shared, locator: Locator, looked: &Looked) {
    if let Looked::Found(Versions { settled: true, .. }, Some(ticket)) = looked {
        metastore.settle(*locator.as_bytes(), *ticket, false);
    }
}

/// What the credentials open at an address.
fn openers(proven: &Proven, address: &Address, chain: &Chain) -> Vec<Opener> {
    let owner = proven.key_of(chain.place.owner).and_then(|keys| Opener::of_owner(keys, chain));
    let tokens = proven.tokens.iter().filter(|token| token.issuer() == chain.place.owner);
    let tokens = tokens.filter(|token| token.subject().starts_with(address) || token.covers(address));
    owner.into_iter().chain(tokens.filter_map(|token| Opener::of_token(token, &chain.place))).collect()
}

impl Objects {
    /// Brings what decides about a request here, as far as other nodes have it.
    pub(crate) async fn refresh(
        &self,
        proven: &Proven,
        address: &Address,
        need: Need,
    ) -> Result<(), Refusal> {
        let Some(metastore) = self.metastore().cloned() else { return Ok(()) };
        if !self.may_be_shared(address)? {
            return Ok(());
        }
        let mut sure = self.refresh_directories(&metastore, address).await?;
        let is_known = DirectoryState::load(self, &address.namespace_directory())?.is_some();
        if is_known && address.is_directory() {
            if !matches!(need, Need::Write | Need::Execute) {
                sure &= self.refresh_tree(&metastore, proven, address).await?;
            }
        } else if is_known {
            // What is about to change is not as it was read for long.
            let observing = !matches!(need, Need::Write | Need::Delete | Need::Purge);
            sure &= self.refresh_object(&metastore, proven, address, observing).await?;
        }
        let is_here = is_known && (address.is_directory() || self.current(address)?.is_some());
        if !sure && !is_here && need.hides() {
            return Err(Refusal::Unsettled { retry_after: RETRY_AFTER });
        }
        Ok(())
    }

    /// The records of the directories above an address, and of itself where it is one.
    pub(super) async fn refresh_directories(
        &self,
        metastore: &Shared,
        address: &Address,
    ) -> Result<bool, Refusal> {
        let path: Vec<Address> = address.directories_from_namespace().collect();
        let looked =
            join_all(path.iter().map(|directory| look(metastore, Locator::public(directory), true))).await;
        let mut sure = true;
        for (directory, looked) in path.iter().zip(&looked) {
            sure &= looked.is_sure();
            if let Looked::Found(versions, _) = looked {
                self.adopt_directory(metastore, directory, versions).await?;
                settle(metastore, Locator::public(directory), looked);
            }
        }
        Ok(sure)
    }

    /// The object at an address, wherever it can be filed as far as the credentials tell.
    async fn refresh_object(
        &self,
        metastore: &Shared,
        proven: &Proven,
        address: &Address,
        observing: bool,
    ) -> Result<bool, Refusal> {
        let Some(chain) = Chain::above(self, address)? else { return Ok(true) };
        let openers = openers(proven, address, &chain);
        let mut places: BTreeMap<Locator, Option<Group>> = BTreeMap::new();
        places.insert(Locator::public(address), Some(Group::listing(address)));
        for opener in &openers {
            for epoch in opener.epochs() {
                if let Some(key) = opener.read_key(address, epoch) {
                    places.insert(key.locator(), opener.group(address, epoch));
                }
            }
        }
        if let Some(current) = self.current(address)? {
            places.insert(current.record.locator, Some(current.record.group));
        }
        let is_listed =
            |group: &Option<Group>| group.is_some_and(|group| metastore.is_fresh(*group.as_bytes(), true));
        let due: Vec<Locator> =
            places.iter().filter(|(_, group)| !is_listed(group)).map(|(locator, _)| *locator).collect();
        let looked = join_all(due.iter().map(|locator| look(metastore, *locator, observing))).await;
        let sure = looked.iter().all(Looked::is_sure);
        let mut found = Vec::new();
        for looked in &looked {
            if let Looked::Found(versions, _) = looked {
                found.extend(Found::of(versions));
            }
        }
        self.adopt_object(metastore, address, &chain, &openers, found, sure).await?;
        due.iter().zip(&looked).for_each(|(locator, looked)| settle(metastore, *locator, looked));
        Ok(sure)
    }

    /// Everything below a directory.
    pub(super) async fn refresh_tree(
        &self,
        metastore: &Shared,
        proven: &Proven,
        top: &Address,
    ) -> Result<bool, Refusal> {
        let mut sure = true;
        let mut done: BTreeSet<Address> = BTreeSet::new();
        loop {
            let below = self.named_directories(top, DIRECTORIES_MAX)?;
            let next: Vec<Address> = std::iter::once(top.clone())
                .chain(below)
                .filter(|directory| !done.contains(directory))
                .collect();
            if next.is_empty() {
                return Ok(sure);
            }
            if done.len() + next.len() > DIRECTORIES_MAX {
                tracing::warn!(directory = %top, "too many directories below it to look at all of them for one request");
                return Ok(false);
            }
            // Of a directory, what lies above is known before it is looked at.
            let mut levels: BTreeMap<usize, Vec<Address>> = BTreeMap::new();
            for directory in &next {
                levels.entry(directory.path().matches('/').count()).or_default().push(directory.clone());
            }
            for directory in levels.into_values().flatten() {
                sure &= self.refresh_listing(metastore, proven, &directory, directory != *top).await?;
            }
            done.extend(next);
        }
    }

    /// The names in one directory, and what they name.
    async fn refresh_listing(
        &self,
        metastore: &Shared,
        proven: &Proven,
        directory: &Address,
        and_itself: bool,
    ) -> Result<bool, Refusal> {
        let mut sure = true;
        if and_itself {
            let locator = Locator::public(directory);
            let looked = look(metastore, locator, true).await;
            sure &= looked.is_sure();
            if let Looked::Found(versions, _) = &looked {
                self.adopt_directory(metastore, directory, versions).await?;
                settle(metastore, locator, &looked);
            }
        }
        let Some(chain) = Chain::above(self, directory)? else { return Ok(sure) };
        let openers = openers(proven, directory, &chain);
        let mut groups = vec![Group::public(directory)];
        for opener in &openers {
            let keys = opener.epochs().filter_map(|epoch| opener.read_key(directory, epoch));
            groups.extend(keys.map(|key| key.group()));
        }
        for group in groups {
            if !metastore.is_fresh(*group.as_bytes(), true) {
                sure &= self.refresh_group(metastore, directory, &chain, &openers, group).await?;
            }
        }
        Ok(sure)
    }

    async fn refresh_group(
        &self,
        metastore: &Shared,
        directory: &Address,
        chain: &Chain,
        openers: &[Opener],
        group: Group,
    ) -> Result<bool, Refusal> {
        let ticket = metastore.observe(*group.as_bytes()).await;
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
        let names: Vec<_> = std::mem::take(&mut listing.names).into_iter().collect();
        self.note_names(&names).await.map_err(|error| StorageError::Write(error.to_string()))?;
        let (mut listed, mut others) = (Vec::new(), Vec::new());
        for (address, private, epoch) in names.into_iter().filter(|(address, ..)| !address.is_directory()) {
            debug_assert!(private, "a public object names itself");
            let key = openers.iter().find_map(|opener| opener.read_key(&address, epoch));
            let Some(locator) = key.map(|key| key.locator()) else { continue };
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
        let adopted = stream::iter(others).map(|(address, locator)| async move {
            let Some(versions) = metastore.versions(locator, false).await else { return Ok(false) };
            let found = Found::of(&versions);
            self.adopt_object(metastore, &address, chain, openers, found, complete).await.map(|()| true)
        });
        let adopted: Vec<Result<bool, Refusal>> = adopted.buffer_unordered(AT_ONCE).collect().await;
        let mut all = complete;
        for adopted in adopted {
            all &= adopted?;
        }
        if let Some(ticket) = ticket.filter(|_| all) {
            metastore.settle(*group.as_bytes(), ticket, true);
        }
        Ok(all)
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
        entry: super::Entry,
    ) {
        listing.seen.insert(entry.locator);
        let found = read_all(&entry.heads);
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
                return;
            }
        }
        // A tombstone of a public object says nothing of its name; who knows the name asks for it.
        let bytes: usize = entry.heads.iter().map(Vec::len).sum();
        if listing.waiting_bytes + bytes <= WAITING_BYTES_MAX {
            listing.waiting_bytes += bytes;
            listing.waiting.insert(entry.locator, found);
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
    /// Objects whose records did not wait.
    missed: HashMap<Locator, Address>,
    complete: bool,
}

fn read_all(heads: &[Vec<u8>]) -> Vec<Found> {
    heads.iter().filter_map(|bytes| Found::read(bytes)).collect()
}

/// Entries with all of their heads: what a page has no room for is fetched.
async fn whole(metastore: &Shared, entries: Vec<super::Entry>) -> Vec<super::Entry> {
    let fetched = stream::iter(entries).map(|entry| async move {
        match entry.incomplete {
            false => entry,
            true => match metastore.versions(entry.locator, false).await {
                Some(versions) => super::Entry { heads: versions.heads, incomplete: false, ..entry },
                None => entry,
            },
        }
    });
    fetched.buffered(AT_ONCE).collect().await
}

/// Whether strangers may have put something into a directory.
pub(super) fn is_open(chain: &Chain) -> bool {
    chain.policy.create == Create::Anyone
}

impl Found {
    /// What the metastore answered: signatures were checked before it did.
    pub(super) fn read(bytes: &[u8]) -> Option<Found> {
        let envelope = Envelope::decode(bytes).ok()?;
        let (record, token) = (envelope.record().ok()?, envelope.claimed_token().ok()?);
        Some(Found { hash: envelope.record_hash(), envelope, record, token, is_head: true })
    }

    pub(super) fn of(versions: &Versions) -> Vec<Found> {
        let heads = versions.heads.iter().filter_map(|bytes| Found::read(bytes));
        let past = versions.past.iter().filter_map(|bytes| Found::read(bytes));
        heads.chain(past.map(|found| Found { is_head: false, ..found })).collect()
    }
}
