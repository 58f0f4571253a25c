//! After a directory changed hands: what lies below is sealed again under the new root, in the background, in small commits.
//!
//! Until then everything stays readable through the older roots that the directory's record carries. The keys for it come from the request
//! that handed the directory over and live in memory only: a node that stops half-way goes on when the new key is next used on the directory
//! (`Objects::resume_resealing`). When nothing is left under older roots, the record drops them.
//!
//! A record that the owner's key does not open (somebody sealed it under another) is left as it is, and counted: it keeps nothing else waiting.

use crate::{
    Objects,
    address::Address,
    author::{Author, Body, Draft, Signer},
    chain::Chain,
    commit::Change,
    error::{ReadError, StorageError, WriteError},
    grant::Opener,
    key::Keys,
    read::Opened,
    record::Kind,
    tables::{self, Stored},
    tree,
};
use jsfs_store::{Op, Table};
use std::sync::Arc;

/// Entries sealed again in one commit.
const STEP: usize = 64;

impl Objects {
    /// Starts sealing again what lies below a directory that `keys` now own.
    pub(crate) fn reseal_below(&self, directory: Address, keys: Arc<Keys>) {
        let objects = self.clone();
        self.spawn(async move {
            if let Err(error) = objects.reseal(&directory, &keys).await {
                tracing::warn!(%directory, %error, "sealing under the new key stopped; it goes on when the key is next used there");
            }
        });
    }

    /// Goes on with what a stop interrupted, now that the owner's key is here again.
    pub(crate) fn resume_resealing(&self, chain: &Chain, keys: &Arc<Keys>) {
        let place = &chain.place;
        if place.roots.len() > 1 && place.address.is_directory() && self.begin_resealing(&place.address) {
            self.reseal_below(place.address.clone(), Arc::clone(keys));
        }
    }

    async fn reseal(&self, directory: &Address, keys: &Arc<Keys>) -> Result<(), WriteError> {
        self.begin_resealing(directory);
        let done = self.reseal_all(directory, keys).await;
        self.end_resealing(directory);
        done
    }

    async fn reseal_all(&self, directory: &Address, keys: &Arc<Keys>) -> Result<(), WriteError> {
        // First, because these do not run until then.
        self.hand_on_programs_below(directory, keys).await?;
        for table in [tables::CURRENT, tables::VERSION] {
            let mut from = tables::address_key(directory);
            while let Some(next) = self.reseal_step(directory, keys, table, from).await? {
                from = next;
            }
        }
        self.drop_older_roots(directory, keys).await
    }

    /// Seals some entries again; where to go on comes back.
    async fn reseal_step(
        &self,
        directory: &Address,
        keys: &Arc<Keys>,
        table: Table,
        from: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, WriteError> {
        let Some(chain) = Chain::load(self, directory)?.filter(|chain| chain.place.owner == keys.owner())
        else {
            return Ok(None);
        };
        let opener = Opener::of_owner(keys, &chain);
        let author = Author {
            owner: keys.owner(),
            epoch: chain.place.epoch,
            signer: Signer::Owner(Arc::clone(keys)),
            opener: Opener::of_owner(keys, &chain),
        };
        let end = tables::after_prefix(directory.as_str().as_bytes());
        let mut change = Change::new();
        change.expect_chain(&chain);
        let mut sealed = 0;
        for (seen, item) in self.store().scan(table, from.clone()..end).enumerate() {
            let (key, entry) = item?;
            if sealed == STEP || seen == STEP * 16 {
                return Ok(Some(if sealed == 0 || change.commit(self).await?.is_some() {
                    key
                } else {
                    from
                }));
            }
            let text = if table == tables::VERSION { tables::split_version_key(&key) } else { None };
            let address = tree::address_of(text.map_or(key.as_slice(), |(text, _)| text.as_bytes()))?;
            let stored = match Stored::decode(&address, entry) {
                Ok(stored) => stored,
                Err(error) => {
                    tracing::error!(%error, "not sealed again");
                    continue;
                }
            };
            let due = stored.record.epoch < chain.place.epoch
                && stored.record.place.is_none()
                && stored.record.kind != Kind::Directory
                && self.place_of(&address)? == Some(directory.clone());
            if due && self.reseal_one(&mut change, table, key, &address, &stored, &author, opener.as_ref())? {
                sealed += 1;
            }
        }
        let again = sealed > 0 && change.commit(self).await?.is_none();
        Ok(again.then_some(from))
    }

    /// The address of the place that a path belongs to.
    pub(crate) fn place_of(&self, address: &Address) -> Result<Option<Address>, WriteError> {
        Ok(Chain::load(self, address)?.map(|chain| chain.place.address.clone()))
    }

    #[expect(clippy::too_many_arguments, reason = "each is a part of the entry that is sealed again")]
    fn reseal_one(
        &self,
        change: &mut Change,
        table: Table,
        key: Vec<u8>,
        address: &Address,
        stored: &Stored,
        author: &Author,
        opener: Option<&Opener>,
    ) -> Result<bool, WriteError> {
        let tombstone = stored.record.kind == Kind::Tombstone;
        let opened = match Opened::of(address, stored, opener) {
            _ if tombstone => None,
            Ok(opened) => Some(opened),
            Err(ReadError::Unreadable { .. } | ReadError::Refused(_)) => {
                self.leave_sealed(address);
                return Ok(false);
            }
            Err(ReadError::Storage(error @ StorageError::Record { .. })) => {
                tracing::error!(%error, "not sealed again");
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let body = match &opened {
            Some(opened) if opened.private => Body::Private(&opened.content, None),
            Some(opened) => Body::Public(&opened.content),
            None => Body::Gone { locator: stored.record.locator, group: stored.record.group },
        };
        let envelope = author.sign(
            self,
            Draft {
                kind: stored.record.kind,
                address,
                version: stored.record.version,
                predecessor: Some(stored.hash),
                blocks: stored.record.blocks.clone(),
                body,
                place: None,
                delegation: None,
                policy: None,
                purged: stored.record.purged,
            },
        )?;
        change.expect(table, key.clone(), stored.sequence);
        let value = tables::entry_value(stored.size, &envelope).into();
        change.op(Op::Put { table, key, value, references: stored.held.clone() });
        Ok(true)
    }

    /// Nothing is sealed under the older roots any more.
    async fn drop_older_roots(&self, directory: &Address, keys: &Arc<Keys>) -> Result<(), WriteError> {
        let Some(chain) = Chain::load(self, directory)? else { return Ok(()) };
        let own = chain.directories.last().filter(|own| own.address == *directory);
        let Some(own) = own.filter(|own| own.record.owner == keys.owner()) else { return Ok(()) };
        let Some(mut place) = own.record.place.clone() else { return Ok(()) };
        place.truncate(1);
        let author = Author {
            owner: keys.owner(),
            epoch: chain.place.epoch,
            signer: Signer::Owner(Arc::clone(keys)),
            opener: None,
        };
        let envelope = author.sign(
            self,
            Draft {
                kind: Kind::Directory,
                address: directory,
                version: own.record.version + 1,
                predecessor: Some(own.hash),
                blocks: Vec::new(),
                body: Body::Directory,
                place: Some(place),
                delegation: own.record.delegation.clone(),
                policy: own.record.policy.clone(),
                purged: false,
            },
        )?;
        let key = tables::address_key(directory);
        let mut change = Change::new();
        change.expect(tables::DIRECTORY, key.clone(), own.sequence);
        change.op(Op::Put {
            table: tables::DIRECTORY,
            key,
            value: envelope.encode().into(),
            references: Vec::new(),
        });
        // If somebody changed the directory meanwhile, the older roots stay until the next time: they do no harm.
        change.commit(self).await.map(|_| ())
    }
}
