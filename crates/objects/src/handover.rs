//! Handing a directory or an object over to another key: a signed delegation, a new epoch, a new read root.
//!
//! What was sealed before stays readable through the older roots that the new record carries, wrapped under the new one, until it is sealed
//! again under the new root (`reseal`). The key that it was taken from opens nothing that is written from then on.

use crate::{
    Objects,
    address::Address,
    author::{Author, Body, Draft, Signer},
    chain::{DirectoryState, PlaceState},
    commit::{ATTEMPTS, Change},
    error::WriteError,
    event::Event,
    grant::{Access, Grant, Held, Manage, Opener},
    key::{AccessKey, Keys},
    read_key::{Group, Locator, ReadKey},
    record::{Delegation, Kind, PlaceRoot},
    tables,
};
use jsfs_store::Op;
use std::sync::Arc;

/// A place about to change hands.
pub(crate) struct Handover {
    address: Address,
    from: Option<Arc<Keys>>,
    to: Arc<Keys>,
    epoch: u64,
    root: ReadKey,
    /// The read keys of the place in the epochs before.
    older: Vec<(u64, ReadKey)>,
    /// The group of the directory's private children, where the one who hands over knows it.
    above: Option<Group>,
}

impl Handover {
    /// Prepares what a new owner needs.
    pub(crate) fn prepare(objects: &Objects, held: &Held, to: Arc<Keys>) -> Result<Self, WriteError> {
        let chain = &held.chain;
        let used = held.address.is_directory() || chain.object.is_some();
        // Its tokens would go on naming the owner, with the read key of an epoch that is over.
        if used && to.owner() == chain.place.owner {
            let what = format!("that key owns {} already; a replacement must be another key", held.address);
            return Err(WriteError::Invalid { what });
        }
        let from = match &held.access {
            Access::Owner(keys) => Some(Arc::clone(keys)),
            _ => None,
        };
        let opener = held.opener();
        let epoch_now = chain.place.epoch;
        let key_in =
            |address: &Address, epoch| opener.as_ref().and_then(|opener| opener.read_key(address, epoch));
        let older = chain.place.roots.iter().filter(|_| used);
        let older =
            older.filter_map(|entry| Some((entry.epoch, key_in(&held.address, entry.epoch)?))).collect();
        let above =
            held.address.parent().and_then(|parent| key_in(&parent, epoch_now)).map(|key| key.group());
        let epoch = epoch_now.checked_add(1).ok_or_else(|| WriteError::Invalid {
            what: format!("{} changed hands too often", held.address),
        })?;
        Ok(Handover {
            address: held.address.clone(),
            from,
            to,
            epoch,
            root: ReadKey::generate(objects.random()),
            older,
            above,
        })
    }

    /// The new owner, who signs and seals from now on.
    pub(crate) fn author(&self) -> Author {
        let mut keys = vec![(self.epoch, self.root.clone())];
        keys.extend(self.older.iter().cloned());
        Author {
            owner: self.to.owner(),
            epoch: self.epoch,
            signer: Signer::Owner(Arc::clone(&self.to)),
            opener: Some(Opener::new(self.address.clone(), keys, self.above)),
        }
    }

    /// The new owner's keys.
    pub(crate) fn keys(&self) -> &Keys {
        &self.to
    }

    /// The read key of the place from now on.
    pub(crate) fn root(&self) -> &ReadKey {
        &self.root
    }

    /// The new root for the new owner, and the older ones under the new.
    pub(crate) fn roots(&self) -> Vec<PlaceRoot> {
        let newest = PlaceRoot { epoch: self.epoch, wrapped: self.to.wrap_root(&self.root) };
        let wrap =
            |(epoch, key): &(u64, ReadKey)| PlaceRoot { epoch: *epoch, wrapped: self.root.wrap_older(key) };
        std::iter::once(newest).chain(self.older.iter().map(wrap)).collect()
    }

    /// The old owner's word for it; a drop box needs none, its policy is the proof.
    pub(crate) fn delegation(&self, objects: &Objects, private: bool) -> Option<Delegation> {
        let locator = if private { self.root.locator() } else { Locator::public(&self.address) };
        let from = self.from.as_ref()?;
        Some(Delegation::sign(from, locator, self.to.owner(), self.epoch, objects.hybrid_time()))
    }
}

impl Objects {
    /// The keys of an access key that a place is handed over to.
    pub(crate) async fn replacement_keys(
        &self,
        text: &str,
        namespace: &str,
    ) -> Result<Arc<Keys>, WriteError> {
        let key = AccessKey::parse(text)
            .map_err(|error| WriteError::Invalid { what: format!("replacement_access_key: {error}") })?;
        Ok(self.keys_of(key, namespace).await?)
    }

    /// Hands a directory, or an object without sending its bytes again, over to another key.
    pub async fn hand_over(&self, grant: Grant<Manage>, replacement_key: &str) -> Result<(), WriteError> {
        let mut held = Arc::clone(&grant.held);
        let keys = self.replacement_keys(replacement_key, held.address.namespace()).await?;
        if !held.address.is_directory() {
            return crate::change::hand_over_object(self, &grant, keys).await;
        }
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                // Sealing under an earlier key may have come to its end meanwhile.
                held = self.authorize_again::<Manage>(&held.proven, &held.address).await?.held;
            }
            let handover = Handover::prepare(self, &held, Arc::clone(&keys))?;
            if self.hand_over_directory(&held, &handover)?.commit(self).await?.is_some() {
                self.reseal_below(held.address.clone(), Arc::clone(&handover.to));
                return Ok(());
            }
        }
        Err(WriteError::Conflict { address: held.address.clone() })
    }

    /// The new record of a directory that is handed over, and its line in the log.
    fn hand_over_directory(&self, held: &Held, handover: &Handover) -> Result<Change, WriteError> {
        let own = held.chain.directories.last().filter(|directory| directory.address == held.address);
        let envelope = handover.author().sign(
            self,
            Draft {
                kind: Kind::Directory,
                address: &held.address,
                version: own.map_or(1, |own| own.record.version + 1),
                predecessor: own.map(|own| own.hash),
                blocks: Vec::new(),
                body: Body::Directory,
                place: Some(handover.roots()),
                delegation: handover.delegation(self, false),
                policy: own.and_then(|own| own.record.policy.clone()),
                purged: false,
            },
        )?;
        let mut change = Change::new();
        change.expect_chain(&held.chain);
        let key = tables::address_key(&held.address);
        change.expect(tables::DIRECTORY, key.clone(), own.map_or(0, |own| own.sequence));
        change.op(Op::Put {
            table: tables::DIRECTORY,
            key,
            value: envelope.encode().into(),
            references: Vec::new(),
        });
        change.log(&Event::access(&held.address, self.clock().now_ms()));
        Ok(change)
    }
}

impl DirectoryState {
    /// The place that this directory is, if it names an owner.
    pub(crate) fn place(&self) -> Option<PlaceState> {
        PlaceState::of(&self.address, &self.record)
    }
}
