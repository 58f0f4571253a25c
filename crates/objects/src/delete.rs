//! DELETE and purge: tombstones that keep what they delete restorable, or forget it.

use crate::{
    Objects,
    address::Address,
    author::{Author, Body, Draft, Signer},
    chain::Chain,
    commit::{ATTEMPTS, Change, Newest},
    error::{Refusal, WriteError},
    event::{Event, EventKind},
    grant::{Access, Delete, Grant, Held, Purge},
    key::Keys,
    read_key::ReadKey,
    record::{Kind, PlaceRoot},
    tables::{self, Stored},
    tree,
    write::{self, Precondition},
};
use std::sync::Arc;

impl Objects {
    /// Deletes an object, or a whole directory tree in one commit; its versions stay for the time that retention says.
    pub async fn delete(
        &self,
        grant: Grant<Delete>,
        precondition: Option<Precondition>,
    ) -> Result<(), WriteError> {
        if grant.held.address.is_directory() {
            return self.delete_tree(&grant, precondition.as_ref()).await;
        }
        let mut held = Arc::clone(&grant.held);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                held = self.authorize_again::<Delete>(&held.proven, &held.address).await?.held;
            }
            let before = present(&held.address, &held.chain)?;
            check(&held, before, precondition.as_ref())?;
            let mut change = Change::new();
            self.bury(&mut change, &held, before, false)?;
            if change.commit(self).await?.is_some() {
                return Ok(());
            }
        }
        Err(WriteError::Conflict { address: held.address.clone() })
    }

    async fn delete_tree(
        &self,
        grant: &Grant<Delete>,
        precondition: Option<&Precondition>,
    ) -> Result<(), WriteError> {
        let top = &grant.held.address;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.authorize_again::<Delete>(&grant.held.proven, top).await?;
            }
            let mut change = Change::new();
            let mut met = false;
            for address in tree::live_objects(self, top)? {
                let each = match self.authorize_proven::<Delete>(&grant.held.proven, &address) {
                    Ok(each) => each.held,
                    Err(Refusal::Storage(error)) => return Err(error.into()),
                    Err(_) => return Err(tree::blocked(&grant.held, address)),
                };
                let Ok(before) = present(&address, &each.chain) else { continue };
                met = true;
                self.bury(&mut change, &each, before, false)?;
                tree::check_size(&change)?;
            }
            if !met {
                return Err(WriteError::Absent { address: top.clone() });
            }
            if precondition.is_some_and(|holds| !holds(None)) {
                return Err(WriteError::Precondition { address: top.clone() });
            }
            if change.commit(self).await?.is_some() {
                return Ok(());
            }
        }
        Err(WriteError::Conflict { address: top.clone() })
    }

    /// Adds to a change what puts a tombstone in the place of a version.
    pub(crate) fn bury(
        &self,
        change: &mut Change,
        held: &Held,
        before: &Stored,
        purged: bool,
    ) -> Result<(), WriteError> {
        let Held { address, chain, access, .. } = held;
        let version = before.record.version + 1;
        let (author, place) = match access {
            Access::Directory(keys) => {
                change.names_owner();
                let (author, root) = self.taken_back(keys, before)?;
                (author, Some(vec![root]))
            }
            access => (Author::of(access, chain)?, before.record.place.clone()),
        };
        // The policy of the drop box is the proof that the directory's owner may take an address back.
        let delegation = before.record.delegation.clone().filter(|_| !matches!(access, Access::Directory(_)));
        let owner = place.is_some().then_some(author.owner);
        let envelope = author.sign(
            self,
            Draft {
                kind: Kind::Tombstone,
                address,
                version,
                predecessor: Some(before.hash),
                blocks: Vec::new(),
                body: Body::Gone { locator: before.record.locator, group: before.record.group },
                place,
                delegation,
                policy: None,
                purged,
            },
        )?;
        change.expect_chain(chain);
        let newest = Newest {
            size: 0,
            envelope: &envelope,
            references: Vec::new(),
            kind: Kind::Tombstone,
            owner,
            public: false,
        };
        change.put_current(address, chain, Some(before), newest);
        change.detach_program(self, address)?;
        let time_ms = self.clock().now_ms();
        let (kind, public) = (EventKind::Deleted, before.is_public());
        change.log(&Event {
            kind,
            address: address.clone(),
            from: None,
            version,
            time_ms,
            public,
            was_public: public,
        });
        Ok(())
    }

    /// The directory's owner takes an address back that a drop box gave away: a place of the owner's from the next epoch on.
    fn taken_back(&self, keys: &Arc<Keys>, before: &Stored) -> Result<(Author, PlaceRoot), WriteError> {
        let epoch = before
            .record
            .epoch
            .checked_add(1)
            .ok_or_else(|| WriteError::Invalid { what: "the object changed hands too often".into() })?;
        let root = PlaceRoot { epoch, wrapped: keys.wrap_root(&ReadKey::generate(self.random())) };
        let author =
            Author { owner: keys.owner(), epoch, signer: Signer::Owner(Arc::clone(keys)), opener: None };
        Ok((author, root))
    }

    /// Forgets every version of an object. Only the tombstone that says so remains.
    pub async fn purge(&self, grant: Grant<Purge>) -> Result<(), WriteError> {
        let mut held = Arc::clone(&grant.held);
        if held.address.is_directory() {
            return Err(WriteError::IsDirectory { address: held.address.clone() });
        }
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                held = self.authorize_again::<Purge>(&held.proven, &held.address).await?.held;
            }
            let (address, chain) = (&held.address, &held.chain);
            let before =
                chain.object.as_deref().ok_or_else(|| WriteError::Absent { address: address.clone() })?;
            if before.record.purged {
                return Err(WriteError::Purged { address: address.clone() });
            }
            let mut change = Change::new();
            self.bury(&mut change, &held, before, true)?;
            let range = tables::prefix_range(tables::version_prefix(address));
            for item in self.store().scan(tables::VERSION, range) {
                let (key, entry) = item?;
                let Some((_, number)) = tables::split_version_key(&key) else { continue };
                let stored = Stored::decode(address, entry)?;
                change.expect_version(address, number, stored.sequence);
                change.drop_version(address, chain, number, stored.size);
                tree::check_size(&change)?;
            }
            // The version that `bury` has just moved aside goes as well.
            change.drop_version(address, chain, before.record.version, before.size);
            if change.commit(self).await?.is_some() {
                self.memory().forget_bodies();
                return Ok(());
            }
        }
        Err(WriteError::Conflict { address: held.address.clone() })
    }
}

/// The object that is there now, which a deletion needs.
pub(crate) fn present<'a>(address: &Address, chain: &'a Chain) -> Result<&'a Stored, WriteError> {
    match &chain.object {
        Some(stored) if stored.record.kind == Kind::Object => Ok(stored),
        Some(stored) if stored.record.purged => Err(WriteError::Purged { address: address.clone() }),
        _ => Err(WriteError::Absent { address: address.clone() }),
    }
}

fn check(held: &Held, before: &Stored, precondition: Option<&Precondition>) -> Result<(), WriteError> {
    let Some(holds) = precondition else { return Ok(()) };
    let sealed = before.is_sealed();
    let opener = held.opener();
    if sealed && opener.is_none() {
        return Err(
            Refusal::Forbidden { needs: "GET, to compare the version with the request's condition" }.into()
        );
    }
    let known = write::before(held, &held.chain, opener.as_ref())?;
    write::check_precondition(Some(holds), &held.address, known.as_ref())
}
