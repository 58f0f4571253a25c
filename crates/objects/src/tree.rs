//! Whole directories: what lies below an address, within the bound of what one commit may hold.

use crate::{
    Objects,
    address::Address,
    commit::Change,
    error::{Refusal, StorageError, WriteError},
    grant::Held,
    record::Kind,
    tables::{self, Stored},
};

/// Operations that one commit may hold: a tree of about a hundred thousand objects.
const OPERATIONS_MAX: usize = 400_000;

/// Refuses a change that has grown past what one commit may hold.
pub(crate) fn check_size(change: &Change) -> Result<(), WriteError> {
    if change.len() <= OPERATIONS_MAX {
        return Ok(());
    }
    let what = format!(
        "one request changes at most {OPERATIONS_MAX} entries; take the directories below it one by one"
    );
    Err(WriteError::TooLarge { what })
}

/// A tree cannot be taken whole because of an object that somebody else owns. The directory's owner hears which; whoever came with a token
/// only that there is one.
pub(crate) fn blocked(top: &Held, address: Address) -> WriteError {
    match top.owns() {
        true => WriteError::Blocked {
            address,
            what: "belongs to another key; ask its owner to move it, or delete it where it came through a drop box",
        },
        false => {
            Refusal::Forbidden { needs: "the key of every object below, and some belong to others" }.into()
        }
    }
}

/// The addresses of the objects below a directory that are not deleted.
pub(crate) fn live_objects(objects: &Objects, top: &Address) -> Result<Vec<Address>, WriteError> {
    let range = tables::prefix_range(tables::address_key(top));
    let mut found = Vec::new();
    for item in objects.store().scan(tables::CURRENT, range) {
        let (key, entry) = item?;
        let address = address_of(&key)?;
        match Stored::decode(&address, entry) {
            Ok(stored) if stored.record.kind != Kind::Object => {}
            _ => found.push(address),
        }
    }
    Ok(found)
}

/// The address that a key of the current or directory table stands for.
pub(crate) fn address_of(key: &[u8]) -> Result<Address, StorageError> {
    let text = String::from_utf8_lossy(key);
    Address::parse_exact(&text).map_err(|error| {
        StorageError::Write(format!("the store holds an address that is none ({text}): {error}"))
    })
}

/// The directory at the top of the namespace that an address is in.
pub(crate) fn namespace_directory(address: &Address) -> Address {
    address.directories().last().unwrap_or_else(|| address.clone())
}
