//! The chain of ownership above an address: which place it belongs to, which policy holds, what is there now.
//!
//! Read afresh for every request from the index: what was handed over or revoked a moment ago counts at once.

use crate::{
    Objects,
    address::Address,
    authority::{Facts, Visibility},
    error::StorageError,
    grant::Opener,
    key::{Keys, Owner},
    record::{Create, Envelope, Kind, PlaceRoot, Record},
    tables::{self, Stored},
};
use jsfs_store::Stamp;
use std::{
    collections::BTreeSet,
    ops::Deref,
    sync::{Arc, OnceLock},
};

/// The nearest directory or object that names an owner.
#[derive(Clone)]
pub(crate) struct PlaceState {
    pub(crate) address: Address,
    pub(crate) owner: Owner,
    pub(crate) epoch: u64,
    /// The wrapped read roots, newest first, one for each epoch that something is still sealed under.
    pub(crate) roots: Vec<PlaceRoot>,
    /// What its owner's key opens, once it was asked for.
    opener: OnceLock<Option<Opener>>,
}

/// A directory that has a record of its own.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryState {
    pub(crate) address: Address,
    pub(crate) record: Record,
    pub(crate) hash: [u8; 32],
    pub(crate) sequence: u64,
}

/// The policy that holds at an address, inherited from the directories above it.
#[derive(Clone, Debug)]
pub(crate) struct Effective {
    pub(crate) private: bool,
    pub(crate) create: Create,
    pub(crate) quotas: Vec<(Address, u64)>,
    pub(crate) retention_days: u64,
    pub(crate) retention_versions: u64,
    pub(crate) hosts: Vec<String>,
    pub(crate) revoked: BTreeSet<String>,
}

/// The directories above an address.
pub(crate) struct Above {
    /// Whoever owns the directory that it lies in.
    pub(crate) directory_place: Arc<PlaceState>,
    /// Every directory from the namespace down to the address, with the sequence number of its record, 0 where it has none.
    pub(crate) seen: Vec<(Address, u64)>,
    /// Those that have a record; the last may be the address itself.
    pub(crate) directories: Vec<DirectoryState>,
    pub(crate) policy: Effective,
    /// When they were read, as far as nothing was changing just then.
    pub(crate) stamps: Vec<Stamp>,
    /// How long their encodings are.
    pub(crate) bytes: u64,
}

/// Everything above an address that authority and writing need to know.
#[derive(Clone)]
pub(crate) struct Chain {
    above: Arc<Above>,
    pub(crate) place: Arc<PlaceState>,
    /// The newest version at the address, unless it is a directory.
    pub(crate) object: Option<Arc<Stored>>,
}

impl Deref for Chain {
    type Target = Above;

    fn deref(&self) -> &Above {
        &self.above
    }
}

impl Chain {
    /// Reads the chain above `address` and what is there; none if its namespace is not on this node.
    pub(crate) fn load(objects: &Objects, address: &Address) -> Result<Option<Chain>, StorageError> {
        let Some(mut chain) = Chain::above(objects, address)? else { return Ok(None) };
        chain.see_object(objects, address)?;
        Ok(Some(chain))
    }

    /// Reads the directories above `address` alone.
    pub(crate) fn above(objects: &Objects, address: &Address) -> Result<Option<Chain>, StorageError> {
        let Some(nearest) = address.directories().next() else { return Ok(None) };
        let above = match objects.memory().above(objects.store(), &nearest) {
            Some(above) => above,
            None => {
                let Some(above) = Above::load(objects, &nearest)?.map(Arc::new) else { return Ok(None) };
                objects.memory().keep_above(nearest, &above);
                above
            }
        };
        Ok(Some(Chain { place: Arc::clone(&above.directory_place), above, object: None }))
    }

    /// The chain of an object that is in memory, if all above it is too.
    pub(crate) fn at_hand(objects: &Objects, address: &Address, stored: Arc<Stored>) -> Option<Chain> {
        let above = objects.memory().above(objects.store(), &address.parent()?)?;
        Some(Chain { place: Arc::clone(&above.directory_place), above, object: Some(stored) })
    }

    /// Reads what is at the address.
    pub(crate) fn see_object(&mut self, objects: &Objects, address: &Address) -> Result<(), StorageError> {
        if address.is_directory() {
            return Ok(());
        }
        self.object = objects.current(address)?;
        if let Some(place) = self.object.as_ref().and_then(|stored| PlaceState::of(address, &stored.record)) {
            self.place = Arc::new(place);
        }
        Ok(())
    }

    /// Whether somebody else than the directory's owner has the object, and nobody handed it to them: a drop box took it in. While the
    /// directory is one, that is so for all that others have in it.
    fn came_through_a_drop_box(&self) -> bool {
        let is_foreign = self.place.owner != self.directory_place.owner;
        let record = self.object.as_ref().map(|stored| &stored.record);
        let record = record.filter(|record| is_foreign && record.place.is_some());
        record.is_some_and(|record| record.delegation.is_none() || self.policy.create == Create::Anyone)
    }

    /// What authority needs to know of the address.
    pub(crate) fn facts(&self, address: &Address) -> Facts {
        let visibility = match &self.object {
            _ if address.is_directory() => Visibility::Directory,
            Some(stored) if stored.record.kind == Kind::Tombstone => Visibility::Absent,
            Some(stored) if stored.is_sealed() => Visibility::Private,
            Some(_) => Visibility::Public,
            None => Visibility::Absent,
        };
        Facts {
            visibility,
            create: self.policy.create,
            remembered: self.object.is_some(),
            removable: self.came_through_a_drop_box(),
        }
    }
}

impl Above {
    fn load(objects: &Objects, nearest: &Address) -> Result<Option<Above>, StorageError> {
        let (mut directories, mut seen, mut stamps) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for directory in nearest.directories_from_namespace() {
            let key = directory.as_str().as_bytes();
            let (entry, stamp) = objects.store().get_stamped(tables::DIRECTORY, key)?;
            let state = entry.map(|entry| {
                bytes += entry.value.len() as u64;
                DirectoryState::decode(&directory, &entry.value, entry.sequence)
            });
            let state = state.transpose()?;
            if state.is_none() && directories.is_empty() {
                return Ok(None);
            }
            seen.push((directory, state.as_ref().map_or(0, |state| state.sequence)));
            directories.extend(state);
            stamps.extend(stamp);
        }
        let mut place = None;
        for directory in &directories {
            place = PlaceState::of(&directory.address, &directory.record).or(place);
        }
        let Some(directory_place) = place.map(Arc::new) else { return Ok(None) };
        let policy = Effective::of(&directories, objects.settings());
        Ok(Some(Above { directory_place, seen, directories, policy, stamps, bytes }))
    }
}

impl PlaceState {
    /// What its owner's key opens.
    pub(crate) fn opener(&self, keys: &Keys) -> Option<Opener> {
        if keys.owner() != self.owner {
            return None;
        }
        self.opener.get_or_init(|| Opener::of_roots(keys, self)).clone()
    }

    pub(crate) fn of(address: &Address, record: &Record) -> Option<PlaceState> {
        let roots = record.place.clone()?;
        Some(PlaceState {
            address: address.clone(),
            owner: record.owner,
            epoch: record.epoch,
            roots,
            opener: OnceLock::new(),
        })
    }
}

impl DirectoryState {
    pub(crate) fn load(objects: &Objects, address: &Address) -> Result<Option<Self>, StorageError> {
        let Some(entry) = objects.store().get(tables::DIRECTORY, address.as_str().as_bytes())? else {
            return Ok(None);
        };
        Self::decode(address, &entry.value, entry.sequence).map(Some)
    }

    pub(crate) fn decode(address: &Address, value: &[u8], sequence: u64) -> Result<Self, StorageError> {
        let damaged = |what: String| StorageError::Record { address: address.clone(), what };
        let envelope = Envelope::decode(value).map_err(|error| damaged(error.to_string()))?;
        let record = envelope.record().map_err(|error| damaged(error.to_string()))?;
        Ok(DirectoryState { address: address.clone(), record, hash: envelope.record_hash(), sequence })
    }
}

impl Effective {
    fn of(directories: &[DirectoryState], settings: &crate::Settings) -> Effective {
        let mut effective = Effective {
            private: true,
            create: Create::Owner,
            quotas: Vec::new(),
            retention_days: settings.versions_days,
            retention_versions: settings.versions_count,
            hosts: Vec::new(),
            revoked: BTreeSet::new(),
        };
        for directory in directories {
            let Some(policy) = &directory.record.policy else { continue };
            effective.private = policy.private.unwrap_or(effective.private);
            effective.create = policy.create.unwrap_or(effective.create);
            if let Some(limit) = policy.quota {
                effective.quotas.push((directory.address.clone(), limit));
            }
            if let Some((days, versions)) = policy.retention {
                (effective.retention_days, effective.retention_versions) = (days, versions);
            }
            if let Some(hosts) = &policy.hosts {
                effective.hosts.clone_from(hosts);
            }
            effective.revoked.extend(policy.revoked.iter().map(|revoked| revoked.jti.clone()));
        }
        effective
    }
}
