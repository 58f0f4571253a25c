//! DELETE and purge: tombstones that keep what they delete restorable, or forget it.

use crate::{
    Objects,
    address::Address,
    author::{Author, Body, Draft},
    chain::Chain,
    commit::{ATTEMPTS, Change, Newest},
    error::{Refusal, WriteError},
    event::{Event, EventKind},
    grant::{Delete, Grant, Held, Manage},
    read::Opened,
    record::Kind,
    tables::{self, Stored},
    tree,
    write::Precondition,
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
                held = self.authorize_proven::<Delete>(&held.proven, &held.address)?.held;
            }
            let before = present(&held.address, &held.chain)?;
            check(&held, before, precondition.as_ref())?;
            let mut change = Change::new();
            self.bury(
                &mut change,
                &held.address,
                &held.chain,
                before,
                &Author::of(&held.access, &held.chain)?,
                false,
            )?;
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
        for _ in 0..ATTEMPTS {
            let mut change = Change::new();
            let mut met = false;
            for address in tree::live_objects(self, top)? {
                let each = self.authorize_proven::<Delete>(&grant.held.proven, &address)?.held;
                let Ok(before) = present(&address, &each.chain) else { continue };
                met = true;
                let author = Author::of(&each.access, &each.chain)?;
                self.bury(&mut change, &address, &each.chain, before, &author, false)?;
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
        address: &Address,
        chain: &Chain,
        before: &Stored,
        author: &Author,
        purged: bool,
    ) -> Result<(), WriteError> {
        let version = before.record.version + 1;
        let envelope = author.sign(
            self,
            Draft {
                kind: Kind::Tombstone,
                address,
                version,
                predecessor: Some(before.hash),
                blocks: Vec::new(),
                body: Body::Gone { locator: before.record.locator, group: before.record.group },
                place: before.record.place.clone(),
                delegation: before.record.delegation.clone(),
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
            public: false,
        };
        change.put_current(address, chain, Some(before), newest);
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

    /// Forgets every version of an object. Only the tombstone that says so remains.
    pub async fn purge(&self, grant: Grant<Manage>) -> Result<(), WriteError> {
        let mut held = Arc::clone(&grant.held);
        if held.address.is_directory() {
            return Err(WriteError::IsDirectory { address: held.address.clone() });
        }
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                held = self.authorize_proven::<Manage>(&held.proven, &held.address)?.held;
            }
            let (address, chain) = (&held.address, &held.chain);
            let before =
                chain.object.as_ref().ok_or_else(|| WriteError::Absent { address: address.clone() })?;
            if before.record.purged {
                return Err(WriteError::Purged { address: address.clone() });
            }
            let mut change = Change::new();
            self.bury(&mut change, address, chain, before, &Author::of(&held.access, chain)?, true)?;
            let range = tables::prefix_range(tables::version_prefix(address));
            for item in self.store().scan(tables::VERSION, range) {
                let stored = Stored::decode(address, item?.1)?;
                change.expect_version(address, stored.record.version, stored.sequence);
                change.drop_version(address, chain, stored.record.version, stored.size);
                tree::check_size(&change)?;
            }
            // The version that `bury` has just moved aside goes as well.
            change.drop_version(address, chain, before.record.version, before.size);
            if change.commit(self).await?.is_some() {
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
    let metadata = Opened::of(&held.address, before, opener.as_ref())?.metadata();
    if holds(Some(&metadata)) {
        Ok(())
    } else {
        Err(WriteError::Precondition { address: held.address.clone() })
    }
}
