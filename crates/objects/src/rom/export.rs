//! Sends parts of the node as a parcel, of which whoever asked makes a ROM.
//!
//! The newest version of each object goes along, with the records of all directories above and below it, as they are: private objects stay sealed, and
//! what opens them opens them in the ROM too. Earlier versions, deletions and what was attached to programs stay here.

use super::{ROM_ROOTS_MAX, overlap};
use crate::{
    Objects,
    address::Address,
    backup::Backup,
    error::StorageError,
    grant::{Grant, Root},
    maintenance::MaintenanceError,
    owned::named_owner,
    record::Kind,
    tables::{self, Stored},
    tree,
};
use bytes::Bytes;
use jsfs_store::{Entry, Parcel, Sink, SnapshotError, Store, Table};
use serde_json::{Value, json};
use std::collections::BTreeSet;

impl Objects {
    /// Begins to send these objects and directories.
    ///
    /// # Errors
    /// [`MaintenanceError::Invalid`] where there is nothing at one of them, or they are too many; [`MaintenanceError::UnderWay`].
    pub fn export(&self, grant: &Grant<Root>, roots: Vec<Address>) -> Result<Backup, MaintenanceError> {
        let invalid = |what: String| MaintenanceError::Invalid { what };
        if roots.is_empty() || roots.len() > ROM_ROOTS_MAX {
            return Err(invalid(format!("name 1 to {ROM_ROOTS_MAX} objects or directories")));
        }
        for root in &roots {
            if let Some(other) = roots.iter().find(|other| *other != root && overlap(root, other)) {
                return Err(invalid(format!("{root} and {other} lie one below the other; name one of them")));
            }
            if !self.has_anything(root)? {
                return Err(invalid(format!("there is nothing at {root}")));
            }
        }
        let objects = self.clone();
        self.send(grant, "export", move |sink| {
            let texts: Vec<&str> = roots.iter().map(Address::as_str).collect();
            let about = json!({ "roots": texts, "created_ms": objects.now_ms() });
            let mut parcel = objects.store().parcel(about, sink)?;
            objects.send_directories(&roots, &mut parcel)?;
            for root in &roots {
                objects.send_objects(root, &mut parcel)?;
            }
            let key = tables::OWNED_COMPLETE;
            let entry = Entry { sequence: 1, index: 0, references: Vec::new(), value: Bytes::new() };
            parcel.entry(tables::OWNED, key, entry)?;
            parcel.end()
        })
    }

    fn has_anything(&self, root: &Address) -> Result<bool, StorageError> {
        if self.rom_at(root).is_some() {
            return Ok(false);
        }
        for item in self.store().scan(tables::CURRENT, at_or_below(root)) {
            let (key, entry) = item?;
            if Stored::decode(&tree::address_of(&key)?, entry)?.record.kind == Kind::Object {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn send_directories(&self, roots: &[Address], parcel: &mut Parcel<'_>) -> Result<(), SnapshotError> {
        let above: BTreeSet<Address> = roots.iter().flat_map(Address::directories).collect();
        for directory in above {
            self.send_entry(tables::DIRECTORY, directory.as_str().as_bytes(), parcel)?;
        }
        for root in roots.iter().filter(|root| root.is_directory()) {
            for item in self.store().scan(tables::DIRECTORY, at_or_below(root)) {
                let (key, entry) = item?;
                // The root itself is among those above.
                if key != root.as_str().as_bytes() {
                    parcel.entry(tables::DIRECTORY, &key, entry)?;
                }
            }
        }
        Ok(())
    }

    fn send_objects(&self, root: &Address, parcel: &mut Parcel<'_>) -> Result<(), SnapshotError> {
        for item in self.store().scan(tables::CURRENT, at_or_below(root)) {
            let (key, entry) = item?;
            let stored = tree::address_of(&key).and_then(|address| Stored::decode(&address, entry.clone()));
            let stored = stored.map_err(|error| jsfs_store::ReadError::Index(error.to_string()))?;
            if stored.record.kind != Kind::Object {
                continue;
            }
            if stored.held != stored.record.blocks {
                let what = format!(
                    "{} has blocks that lie on other nodes only; read it here first",
                    String::from_utf8_lossy(&key)
                );
                return Err(jsfs_store::ReadError::Index(what).into());
            }
            parcel.entry(tables::CURRENT, &key, entry)?;
            self.send_entry(tables::PUBLIC, &key, parcel)?;
            if let Some(owner) = named_owner(&stored.record) {
                let owned = [owner.as_bytes().as_slice(), &key].concat();
                self.send_entry(tables::OWNED, &owned, parcel)?;
            }
        }
        Ok(())
    }

    fn send_entry(&self, table: Table, key: &[u8], parcel: &mut Parcel<'_>) -> Result<(), SnapshotError> {
        match self.store().get(table, key)? {
            Some(entry) => parcel.entry(table, key, entry),
            None => Ok(()),
        }
    }
}

/// Sends all of an open ROM, records of directories first, for a node to take up. Blocks.
///
/// # Errors
/// The ROM cannot be read, or whoever takes it has left.
pub fn send_rom(rom: &Store, about: Value, sink: Sink<'_>) -> Result<(), SnapshotError> {
    let mut parcel = rom.parcel(about, sink)?;
    for table in [tables::DIRECTORY, tables::CURRENT] {
        for item in rom.scan(table, ..) {
            let (key, entry) = item?;
            parcel.entry(table, &key, entry)?;
        }
    }
    parcel.end()
}

/// The keys of an object, or of everything below a directory.
fn at_or_below(root: &Address) -> std::ops::Range<Vec<u8>> {
    let key = tables::address_key(root);
    match root.is_directory() {
        true => tables::prefix_range(key),
        false => {
            let end = [&key[..], &[0]].concat();
            key..end
        }
    }
}
