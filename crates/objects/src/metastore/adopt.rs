//! Making what others wrote this node's own: the newest version becomes the current one, what it followed and what stands beside it old versions.
//!
//! The reader decides whose an address is: the owner of the place, whoever was handed it by them, and in a drop box whoever was first. What a token wrote counts
//! where the token covers the address. Each adoption is one commit, conditional on what was here; what somebody else adopted meanwhile is as good.
//!
//! A version that does not follow from the current one and has its number is kept under a number of its own: `N + K × 2^32`, for the K-th beside version N.

use super::{Metastore, Versions, refresh::is_open};
use crate::{
    Objects,
    address::Address,
    chain::{Chain, DirectoryState},
    clock::HybridTime,
    commit::{Change, Newest, event_of},
    error::{Refusal, StorageError, WriteError},
    event::{Event, EventKind},
    grant::Opener,
    key::Owner,
    owned::named_owner,
    read_key::Locator,
    record::{Envelope, Kind, Record, RecordHash},
    tables::{self, Stored},
    token::{Method, Token},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jsfs_store::Op;
use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

/// How often an adoption is tried again when something changed meanwhile.
const ATTEMPTS: usize = 4;

/// Objects that are taken in with one commit.
const TOGETHER: usize = 256;

/// Objects that are taken in one by one at the same time.
const AT_ONCE: usize = 16;

/// How far apart the numbers of versions beside each other are.
const BESIDE: u64 = 1 << 32;

/// A record that was found.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) envelope: Envelope,
    pub(super) record: Record,
    pub(super) hash: RecordHash,
    /// What it was written with, if not with the owner's key.
    pub(super) token: Option<Token>,
    /// Whether nothing follows it where it was found.
    pub(super) is_head: bool,
}

impl Found {
    /// What decides between versions that are filed in different places: an object before the tombstone that says that it went there.
    fn rank(&self) -> (u64, u64, bool, u64, RecordHash) {
        rank(&self.record, self.hash)
    }
}

fn rank(record: &Record, hash: RecordHash) -> (u64, u64, bool, u64, RecordHash) {
    (record.epoch, record.version, record.kind != Kind::Tombstone, record.time.0, hash)
}

/// Everybody to whom a place came from its owner, by the delegations that these records show.
fn heirs(owner: Owner, found: &[Found]) -> BTreeSet<[u8; 32]> {
    let mut heirs = BTreeSet::from([*owner.as_bytes()]);
    let mut delegated: Vec<_> = found.iter().filter_map(|found| found.record.delegation.as_ref()).collect();
    delegated.sort_by_key(|delegation| delegation.epoch());
    for delegation in delegated {
        if heirs.contains(delegation.from().as_bytes()) {
            heirs.insert(*delegation.to().as_bytes());
        }
    }
    heirs
}

/// Everything that was found and is rightful.
struct Judged {
    target: Found,
    /// What its owners wrote beside it without knowing of it.
    beside: Vec<Found>,
}

impl Objects {
    /// Takes in the record of a directory.
    pub(super) async fn adopt_directory(
        &self,
        metastore: &Arc<dyn Metastore>,
        directory: &Address,
        versions: &Versions,
    ) -> Result<(), Refusal> {
        let mut found = Found::of(versions);
        found.retain(|found| {
            found.record.kind == Kind::Directory && found.record.locator == Locator::public(directory)
        });
        if found.is_empty() {
            return Ok(());
        }
        let mut target = self.rightful_directory(directory, &found)?;
        if target.is_none() && found.iter().any(|found| found.record.delegation.is_some()) {
            let past = metastore.versions(Locator::public(directory), true).await.unwrap_or_default();
            found.extend(Found::of(&past).into_iter().map(|found| Found { is_head: false, ..found }));
            target = self.rightful_directory(directory, &found)?;
        }
        let Some(target) = target else {
            tracing::warn!(%directory, "other nodes have records of this directory by keys that do not own it; they are not used");
            return Ok(());
        };
        for _ in 0..ATTEMPTS {
            let key = tables::address_key(directory);
            let _turn = self.turns_of(std::iter::once(key.as_slice())).await;
            let here = DirectoryState::load(self, directory)?;
            let is_known = here.as_ref().is_some_and(|here| {
                here.hash == target.hash
                    || (!versions.settled && rank(&here.record, here.hash) >= target.rank())
            });
            if is_known {
                return Ok(());
            }
            let mut change = Change::adopting();
            change.expect(tables::DIRECTORY, key.clone(), here.as_ref().map_or(0, |here| here.sequence));
            change.op(Op::Put {
                table: tables::DIRECTORY,
                key,
                value: target.envelope.encode().into(),
                references: Vec::new(),
            });
            if directory.is_namespace() && here.is_none() {
                change.op(shared(directory.namespace()));
            }
            change.log(&Event::access(directory, self.clock().now_ms()));
            if change.commit(self).await.map_err(storage)?.is_some() {
                self.observe(target.record.time);
                return Ok(());
            }
        }
        Ok(())
    }

    /// The newest record of a directory by somebody who owns it.
    fn rightful_directory(
        &self,
        directory: &Address,
        found: &[Found],
    ) -> Result<Option<Found>, StorageError> {
        let here = DirectoryState::load(self, directory)?;
        let named = directory.is_namespace().then(|| Owner::of_namespace(directory.namespace())).flatten();
        let above = match directory.parent() {
            Some(parent) => Chain::above(self, &parent)?.map(|chain| chain.place.owner),
            None => named,
        };
        // Who was granted a namespace that is not named by a key, the metastore has made sure of.
        let was_granted = directory.is_namespace() && named.is_none();
        let mut owners = BTreeSet::new();
        for owner in above.into_iter().chain(here.map(|here| here.record.owner)) {
            owners.extend(heirs(owner, found));
        }
        let is_rightful = |found: &&Found| {
            let owned = was_granted || owners.contains(found.record.owner.as_bytes());
            found.is_head
                && found.token.is_none()
                && owned
                && (!directory.is_namespace() || found.record.place.is_some())
        };
        Ok(found.iter().filter(is_rightful).max_by_key(|found| found.rank()).cloned())
    }

    /// Takes in an object. `chain` is that of the directory that it lies in.
    pub(super) async fn adopt_object(
        &self,
        metastore: &Arc<dyn Metastore>,
        address: &Address,
        chain: &Chain,
        openers: &[Opener],
        mut found: Vec<Found>,
        sure: bool,
    ) -> Result<(), Refusal> {
        if found.is_empty() {
            return Ok(());
        }
        let Some((first, lacks_past)) = self.judge_first(address, chain, openers, &found)? else {
            return Ok(());
        };
        if lacks_past {
            let past = metastore.versions(first.target.record.locator, true).await.unwrap_or_default();
            found.extend(
                past.past
                    .iter()
                    .filter_map(|bytes| Found::read(bytes))
                    .map(|found| Found { is_head: false, ..found }),
            );
        }
        for _ in 0..ATTEMPTS {
            let key = tables::address_key(address);
            let _turn = self.turns_of(std::iter::once(key.as_slice())).await;
            if self.adopt_once(address, openers, &found, sure).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What is served at an address, and whether versions before it are to be asked for.
    fn judge_first(
        &self,
        address: &Address,
        chain: &Chain,
        openers: &[Opener],
        found: &[Found],
    ) -> Result<Option<(Judged, bool)>, StorageError> {
        let here = self.current(address)?;
        let Some(first) = self.judge(address, chain, openers, found, here.as_deref()) else {
            return Ok(None);
        };
        let goes_on = |hash: &RecordHash| first.target.record.predecessor.as_ref() == Some(hash);
        let is_known =
            here.as_ref().is_some_and(|here| here.hash == first.target.hash || goes_on(&here.hash));
        let lacks_past = !is_known && first.target.record.version > 1;
        Ok(Some((first, lacks_past)))
    }

    /// Takes in the objects that one directory lists, many with each commit.
    pub(super) async fn adopt_listed(
        &self,
        metastore: &Arc<dyn Metastore>,
        chain: &Chain,
        openers: &[Opener],
        listed: Vec<(Address, Vec<Found>)>,
        sure: bool,
    ) -> Result<(), Refusal> {
        let (mut together, mut alone) = (Vec::new(), Vec::new());
        for (address, found) in listed {
            match self.judge_first(&address, chain, openers, &found)? {
                None => {}
                Some((_, true)) => alone.push((address, found)),
                Some((_, false)) => together.push((address, found)),
            }
        }
        // A change that counts on what one before it did would not be seen: each address comes once.
        together.sort_by(|(one, _), (other, _)| one.cmp(other));
        for some in together.chunk_by(|(one, _), (other, _)| one != other) {
            for some in some.chunks(TOGETHER) {
                if !self.adopt_together(openers, some, sure).await? {
                    alone.extend_from_slice(some);
                }
            }
        }
        let adopting = stream::iter(alone)
            .map(|(address, found)| async move {
                self.adopt_object(metastore, &address, chain, openers, found, sure).await
            })
            .buffer_unordered(AT_ONCE);
        adopting.try_collect().await
    }

    /// Takes in several objects with one commit; false if something changed meanwhile.
    async fn adopt_together(
        &self,
        openers: &[Opener],
        some: &[(Address, Vec<Found>)],
        sure: bool,
    ) -> Result<bool, Refusal> {
        let keys: Vec<Vec<u8>> = some.iter().map(|(address, _)| tables::address_key(address)).collect();
        let _turns = self.turns_of(keys.iter().map(Vec::as_slice)).await;
        let mut change = Change::adopting();
        let mut latest = None;
        for (address, found) in some {
            latest = latest.max(self.adopt_into(&mut change, address, openers, found, sure)?);
        }
        self.commit_adopted(change, latest).await
    }

    /// The same for whoever has the turn at this address already.
    pub(super) async fn adopt_once(
        &self,
        address: &Address,
        openers: &[Opener],
        found: &[Found],
        sure: bool,
    ) -> Result<bool, Refusal> {
        let mut change = Change::adopting();
        let latest = self.adopt_into(&mut change, address, openers, found, sure)?;
        self.commit_adopted(change, latest).await
    }

    async fn commit_adopted(&self, change: Change, latest: Option<HybridTime>) -> Result<bool, Refusal> {
        let Some(latest) = latest else { return Ok(true) };
        let adopted = change.commit(self).await.map_err(storage)?.is_some();
        if adopted {
            self.observe(latest);
        }
        Ok(adopted)
    }

    /// Adds to a change what takes an object in; the time of what is taken in, if there is anything.
    fn adopt_into(
        &self,
        change: &mut Change,
        address: &Address,
        openers: &[Opener],
        found: &[Found],
        sure: bool,
    ) -> Result<Option<HybridTime>, Refusal> {
        let Some(chain) = Chain::load(self, address)? else { return Ok(None) };
        let before = chain.object.clone();
        let above = Chain::above(self, address)?;
        let judged = above.and_then(|above| self.judge(address, &above, openers, found, before.as_deref()));
        let Some(Judged { target, beside }) = judged else { return Ok(None) };
        // What was not asked for where it is filed can be newer here.
        let is_older = before.as_ref().is_some_and(|here| {
            let asked = found.iter().any(|found| found.record.locator == here.record.locator);
            !(sure && asked) && rank(&here.record, here.hash) >= target.rank()
        });
        let is_known = before.as_ref().is_some_and(|here| here.hash == target.hash);
        if is_older || (is_known && beside.is_empty()) {
            return Ok(None);
        }
        let before_it = change.len();
        change.expect_chain(&chain);
        let mut taken = BTreeSet::new();
        if !is_known {
            let Some(size) = size_of(&target.record, address, openers) else { return Ok(None) };
            let follows = |here: &Stored| {
                target.record.predecessor == Some(here.hash) || here.record.version < target.record.version
            };
            let kept_as = match &before {
                Some(here)
                    if here.record.version == target.record.version
                        && (follows(here) || here.record.kind == Kind::Tombstone) =>
                {
                    None
                }
                Some(here) if follows(here) || here.record.version > target.record.version => {
                    Some(here.record.version)
                }
                Some(here) => Some(self.number_beside(address, here.record.version, here.hash)?),
                None => None,
            };
            taken.extend(kept_as);
            let public = target.record.kind == Kind::Object && !target.record.is_private();
            let newest = Newest {
                size,
                envelope: &target.envelope,
                references: Vec::new(),
                kind: target.record.kind,
                owner: named_owner(&target.record),
                public,
            };
            change.adopt_current(address, &chain, before.as_deref(), newest, kept_as);
            if target.token.is_some() || target.record.kind != Kind::Object {
                change.detach_program(self, address)?;
            }
            if target.record.place.is_some() {
                change.names_owner();
            }
            change.log(&self.event(address, before.as_deref(), &target));
        }
        let past =
            found.iter().filter(|found| !found.is_head && found.record.version < target.record.version);
        for version in past.chain(&beside) {
            let Some(size) = size_of(&version.record, address, openers) else { continue };
            let number = match version.is_head && version.record.version >= target.record.version {
                true => self.number_beside(address, version.record.version, version.hash)?,
                false => version.record.version,
            };
            let row = tables::version_key(address, number);
            let is_there = self.store().get(tables::VERSION, &row).map_err(StorageError::from)?.is_some();
            let is_here = before.as_ref().is_some_and(|here| here.hash == version.hash);
            if !is_there && !is_here && taken.insert(number) {
                change.put_version(address, &chain, number, size, &version.envelope);
            }
        }
        Ok((change.len() > before_it).then_some(target.record.time))
    }

    /// What is served at an address, of what was found.
    fn judge(
        &self,
        address: &Address,
        chain: &Chain,
        openers: &[Opener],
        found: &[Found],
        here: Option<&Stored>,
    ) -> Option<Judged> {
        let owners = heirs(chain.place.owner, found);
        let first = here.filter(|_| is_open(chain)).map(|here| here.record.owner);
        let is_readable = |found: &&Found| {
            found.is_head
                && Self::is_about(found, address)
                && size_of(&found.record, address, openers).is_some()
        };
        let heads: Vec<&Found> = found.iter().filter(is_readable).collect();
        let mut own: Vec<&Found> =
            heads.iter().filter(|found| owners.contains(found.record.owner.as_bytes())).copied().collect();
        if own.is_empty() && is_open(chain) {
            let mut others: Vec<&Found> =
                heads.into_iter().filter(|found| found.record.place.is_some()).collect();
            others.sort_by_key(|found| {
                (Some(found.record.owner) != first, found.envelope.accepted_ms(), found.hash)
            });
            let whose = others.first().map(|found| found.record.owner)?;
            own = others.into_iter().filter(|found| found.record.owner == whose).collect();
        }
        // Under one locator an edit beats a delete; of what lies in several places, the newest counts.
        let mut served: Vec<&Found> = Vec::new();
        for found in &own {
            let order = |found: &Found| (found.record.kind != Kind::Tombstone, found.rank());
            match served.iter_mut().find(|other| other.record.locator == found.record.locator) {
                Some(other) if order(found) > order(other) => *other = found,
                Some(_) => {}
                None => served.push(found),
            }
        }
        let target = served.into_iter().max_by_key(|found| found.rank())?.clone();
        let is_beside = |found: &&&Found| {
            found.hash != target.hash
                && found.record.locator == target.record.locator
                && found.record.kind == Kind::Object
        };
        let mut beside: Vec<Found> = own.iter().filter(is_beside).map(|found| (*found).clone()).collect();
        beside.sort_by_key(|found| Reverse(found.rank()));
        Some(Judged { target, beside })
    }

    /// Whether whoever wrote a record could write at this address, as far as the record tells.
    fn is_about(found: &Found, address: &Address) -> bool {
        let wanted = match found.record.kind {
            Kind::Object => Method::Put,
            Kind::Tombstone => Method::Delete,
            Kind::Directory => return false,
        };
        // Replacing what was public by what is not leaves a tombstone.
        let allows = |token: &Token| {
            token.covers(address)
                && (token.methods().contains(wanted) || token.methods().contains(Method::Put))
        };
        found.token.as_ref().is_none_or(allows)
    }

    /// A number for a version beside one that has its own.
    fn number_beside(&self, address: &Address, version: u64, hash: RecordHash) -> Result<u64, StorageError> {
        let mut number = version;
        loop {
            number = number.saturating_add(BESIDE);
            let row = self.store().get(tables::VERSION, &tables::version_key(address, number))?;
            match row.map(|entry| Stored::decode(address, entry)).transpose()? {
                Some(stored) if stored.hash != hash => {}
                _ => return Ok(number),
            }
        }
    }

    fn event(&self, address: &Address, before: Option<&Stored>, target: &Found) -> Event {
        let (version, now_ms) = (target.record.version, self.clock().now_ms());
        if target.record.kind == Kind::Object {
            return event_of(address, before, version, now_ms, !target.record.is_private());
        }
        let public = before.is_some_and(Stored::is_public);
        let (kind, address) = (EventKind::Deleted, address.clone());
        Event { kind, address, from: None, version, time_ms: now_ms, public, was_public: public }
    }
}

/// The size of a version of this object; none if it does not open, or is of another.
fn size_of(record: &Record, address: &Address, openers: &[Opener]) -> Option<u64> {
    if record.kind == Kind::Tombstone {
        return Some(0);
    }
    let content = match &record.content {
        Some(content) => Some(content.clone()),
        None => openers
            .iter()
            .filter_map(|opener| opener.read_key(address, record.epoch))
            .find_map(|key| record.open(&key).ok()),
    };
    content.filter(|content| content.address == *address).map(|content| content.size)
}

/// The row that says that a namespace is the federation's.
pub(crate) fn shared(namespace: &str) -> Op {
    let (key, value) = (namespace.as_bytes().to_vec(), bytes::Bytes::new());
    Op::Put { table: tables::SHARED, key, value, references: Vec::new() }
}

pub(super) fn storage(error: WriteError) -> StorageError {
    match error {
        WriteError::Storage(error) => error,
        error => StorageError::Write(error.to_string()),
    }
}
