//! Reading what others wrote before it is needed: directories above an address, the object there, all directories below one (`listing` has what is read of each).
//!
//! What the metastore says is as it was read needs no reading. Everything else is observed first and read then, so that no change falls between. Where too
//! few members answer, what is here counts; what is not here is then not said to be absent, but to be asked for again.

use super::{Metastore, Versions, adopt::Found};
use crate::{
    Objects,
    address::Address,
    authority::Need,
    chain::{Chain, DirectoryState},
    credentials::Proven,
    error::Refusal,
    grant::Opener,
    read_key::{Group, Locator},
    record::{Create, Envelope},
};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Directories below one that are read for one request.
const DIRECTORIES_MAX: usize = 65_536;

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
    let observed = if observing { metastore.observe(home, false).await } else { None };
    let ticket = observed.map(|observed| observed.ticket);
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
            let home = *group.as_bytes();
            if metastore.is_fresh(home, true) {
                continue;
            }
            // Of many who watch or list it at the same time one reads it.
            let _turn = self.shared().reading.turns_of(std::iter::once(home.as_slice())).await;
            if !metastore.is_fresh(home, true) {
                sure &= self.refresh_group(metastore, directory, &chain, &openers, group).await?;
            }
        }
        Ok(sure)
    }
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
