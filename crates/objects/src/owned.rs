//! Objects that name an owner of their own, by owner: so that a key finds what it owns in a directory of somebody else, and so that whether a
//! credential could prove something at an address is known without a look at what is there.

use crate::{
    Objects,
    address::Address,
    commit::Change,
    credentials::Proven,
    error::{StorageError, WriteError},
    key::Owner,
    record::Record,
    tables::{self, Stored},
    tree,
};
use bytes::Bytes;
use jsfs_store::Op;
use std::sync::atomic::{AtomicBool, Ordering};

/// Objects entered in one commit when a store of an earlier version is opened.
const STEP: usize = 1_000;

/// Whether the table holds every object that it should.
#[derive(Default)]
pub(crate) struct IsComplete(AtomicBool);

/// Whose an object is, where it says so itself.
pub(crate) fn named_owner(record: &Record) -> Option<Owner> {
    record.place.is_some().then_some(record.owner)
}

impl Change {
    /// Keeps the table of objects by owner true.
    pub(crate) fn own(&mut self, address: &Address, was: Option<Owner>, is: Option<Owner>) {
        if was == is {
            return;
        }
        if let Some(owner) = was {
            self.op(Op::Delete { table: tables::OWNED, key: tables::owned_key(owner, address.as_str()) });
        }
        if let Some(owner) = is {
            self.op(enter(owner, address.as_str()));
        }
    }
}

fn enter(owner: Owner, address: &str) -> Op {
    let key = tables::owned_key(owner, address);
    Op::Put { table: tables::OWNED, key, value: Bytes::new(), references: Vec::new() }
}

impl Objects {
    /// Enters what an earlier version did not. A store that takes no writes does without, and looks at each object instead.
    pub(crate) async fn complete_owned(&self) -> Result<(), WriteError> {
        if self.store().get(tables::OWNED, tables::OWNED_COMPLETE)?.is_none() {
            match self.enter_all().await {
                Err(WriteError::ReadOnly { .. } | WriteError::NoSpace) => return Ok(()),
                done => done?,
            }
        }
        self.owned_is_complete().0.store(true, Ordering::Release);
        Ok(())
    }

    async fn enter_all(&self) -> Result<(), WriteError> {
        let mut change = Change::new();
        for item in self.store().scan(tables::CURRENT, ..) {
            let (key, entry) = item?;
            let address = tree::address_of(&key)?;
            let Ok(stored) = Stored::decode(&address, entry) else { continue };
            if let Some(owner) = named_owner(&stored.record) {
                change.op(enter(owner, address.as_str()));
            }
            if change.len() >= STEP {
                std::mem::replace(&mut change, Change::new()).commit(self).await?;
            }
        }
        let key = tables::OWNED_COMPLETE.to_vec();
        change.op(Op::Put { table: tables::OWNED, key, value: Bytes::new(), references: Vec::new() });
        change.commit(self).await.map(|_| ())
    }

    /// Whether everybody may read what is at an address, or somebody whose credential was presented has it to themselves.
    pub(crate) fn is_shown_or_owned_by(
        &self,
        proven: &Proven,
        address: &Address,
    ) -> Result<bool, StorageError> {
        if !self.owned_is_complete().0.load(Ordering::Acquire) {
            return Ok(true);
        }
        // Alone what everybody may read: how long this takes does not tell what else is there.
        if self.memory().record(self.store(), address, false).is_some() {
            return Ok(true);
        }
        let mut found = self.store().get(tables::PUBLIC, address.as_str().as_bytes())?.is_some();
        for owner in proven.owners() {
            found |= self.store().get(tables::OWNED, &tables::owned_key(owner, address.as_str()))?.is_some();
        }
        Ok(found)
    }
}
