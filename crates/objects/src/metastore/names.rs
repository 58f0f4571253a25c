//! Names: how whoever may list a directory learns what lies in it.
//!
//! A private record is sealed under the read key of its object, which only its name leads to. So a private name has a record of its own beside the
//! object's: in the same group, under the key `/name/TIME` of the directory, TIME being the record's own hybrid time, with a random counter; no name begins with `/`. What is sealed in it is the content of
//! an empty object whose address is the one that is named. A directory without a record has no name that others could see either: its name is that of an
//! empty object called as the directory is and U+FFFE, a noncharacter: public, or sealed as above. Names are never taken back: what is listed follows
//! from the objects.

use super::Storing;
use crate::{
    Objects,
    address::Address,
    author::Author,
    chain::Chain,
    clock::HybridTime,
    commit::Change,
    error::{Refusal, StorageError},
    grant::Opener,
    manifest::Manifest,
    read_key::{Group, Locator, ReadKey},
    record::{Content, Kind, Record},
    tables, tree,
};
use bytes::Bytes;
use jsfs_store::Op;
use std::collections::BTreeMap;

/// The end of the name of a directory: what content is of is an object.
const DIRECTORY_END: char = '\u{fffe}';

const MEDIA_TYPE: &str = "application/vnd.jsfs.name";

/// A name to be published with a change.
pub(crate) struct Named {
    envelope: Vec<u8>,
    row: Vec<u8>,
    private: bool,
}

/// What a name is known under here.
fn row_key(address: &Address, private: bool, epoch: u64) -> Vec<u8> {
    let mut key = tables::address_key(address);
    key.extend_from_slice(&[0, u8::from(private)]);
    key.extend_from_slice(&epoch.to_be_bytes());
    key
}

fn put(row: Vec<u8>) -> Op {
    Op::Put { table: tables::NAMED, key: row, value: Bytes::new(), references: Vec::new() }
}

impl Named {
    /// What says here that it is published.
    pub(crate) fn row(&self) -> &[u8] {
        &self.row
    }

    /// What others are told. A public name that is there is not told again: under its locator there is room for a few versions that do not know of each other.
    pub(super) fn storing(&self) -> Storing {
        let condition = if self.private { None } else { Some(None) };
        Storing { envelope: self.envelope.clone(), before: None, condition }
    }

    /// Notes that the name is published.
    pub(crate) fn op(&self) -> Op {
        put(self.row.clone())
    }
}

fn content(address: Address, now_ms: u64) -> Content {
    Content {
        address,
        size: 0,
        content_type: MEDIA_TYPE.to_owned(),
        etag: [0; 16],
        created_ms: now_ms,
        modified_ms: now_ms,
        executable: false,
        sha256: None,
        manifest: Manifest::empty(),
        properties: BTreeMap::new(),
    }
}

fn name_key(directory: &ReadKey, record_time: u64) -> ReadKey {
    directory.child(&format!("/name/{record_time}"))
}

/// The directory that content at this address is the name of.
pub(super) fn directory_named(address: &Address) -> Option<Address> {
    let name = address.as_str().strip_suffix(DIRECTORY_END)?;
    Address::parse_exact(&format!("{name}/")).ok()
}

/// The address of content that names something.
fn naming(named: &Address) -> Option<Address> {
    match named.as_str().strip_suffix('/') {
        None => Some(named.clone()),
        Some(name) => Address::parse_exact(&format!("{name}{DIRECTORY_END}")).ok(),
    }
}

/// What a sealed record names, if it is a name and lies in this directory.
pub(super) fn private_name(record: &Record, directory: &Address, opener: &Opener) -> Option<Address> {
    let key = name_key(&opener.read_key(directory, record.epoch)?, record.time.0);
    let content = record.open(&key).ok().filter(|content| content.content_type == MEDIA_TYPE)?;
    let named = directory_named(&content.address).unwrap_or(content.address);
    (named.parent().as_ref() == Some(directory)).then_some(named)
}

impl Objects {
    /// Adds to a change the names that others need to find what it writes: of the object, if it is private, and of the directories above it that have none yet.
    pub(crate) fn name(
        &self,
        change: &mut Change,
        author: &Author,
        chain: &Chain,
        address: &Address,
        private: bool,
    ) -> Result<(), Refusal> {
        if self.metastore_of(address.namespace())?.is_none() {
            return Ok(());
        }
        let object = private.then(|| address.clone());
        // What lies above a place is its owner's to name.
        let directories = address
            .directories()
            .filter(|directory| !directory.is_namespace() && *directory != chain.place.address);
        let below = directories.take_while(|directory| directory.starts_with(&chain.place.address));
        for named in object.into_iter().chain(below.collect::<Vec<_>>()) {
            let row = row_key(&named, private, author.epoch);
            if self.store().get(tables::NAMED, &row).map_err(StorageError::from)?.is_some() {
                continue;
            }
            let record = if private {
                self.private_record(author, &named)
            } else {
                self.public_record(author, &named)
            };
            if let Some(record) = record {
                let envelope = author.sign_record(self, &record)?.encode();
                change.named(Named { envelope, row, private });
            }
        }
        Ok(())
    }

    fn record(&self, author: &Author, locator: Locator, group: Group) -> Record {
        Record {
            kind: Kind::Object,
            locator,
            group,
            owner: author.owner,
            epoch: author.epoch,
            version: 1,
            time: self.hybrid_time(),
            predecessor: None,
            blocks: Vec::new(),
            content: None,
            sealed: None,
            place: None,
            delegation: None,
            policy: None,
            purged: false,
        }
    }

    fn private_record(&self, author: &Author, named: &Address) -> Option<Record> {
        let directory = author.opener.as_ref()?.read_key(&named.parent()?, author.epoch)?;
        let mut record = self.record(author, Locator::from_bytes([0; 32]), directory.group());
        // Nodes that write in the same millisecond count from zero, each of them: what they count by would file their names in one place.
        let counter = u64::from(u16::from_be_bytes(self.random().bytes()));
        record.time = HybridTime(HybridTime::from_ms(record.time.ms()).0 | counter);
        let key = name_key(&directory, record.time.0);
        record.locator = key.locator();
        record.seal(&content(naming(named)?, self.clock().now_ms()), &key, self.random());
        Some(record)
    }

    fn public_record(&self, author: &Author, named: &Address) -> Option<Record> {
        let address = naming(named)?;
        let mut record = self.record(author, Locator::public(&address), Group::listing(&address));
        record.content = Some(content(address, self.clock().now_ms()));
        Some(record)
    }

    /// Notes names that were found.
    pub(super) async fn note_names(
        &self,
        names: &[(Address, bool, u64)],
    ) -> Result<(), crate::error::WriteError> {
        let mut change = Change::adopting();
        for (address, private, epoch) in names {
            let row = row_key(address, *private, *epoch);
            if self.store().get(tables::NAMED, &row)?.is_none() {
                change.op(put(row));
            }
        }
        if change.len() > 0 {
            change.commit(self).await?;
        }
        Ok(())
    }

    /// Directories below another whose names are known, at most so many.
    pub(super) fn named_directories(
        &self,
        top: &Address,
        limit: usize,
    ) -> Result<Vec<Address>, StorageError> {
        let changes = match self.shared().directories.below(top) {
            Ok(found) => return Ok(found),
            Err(changes) => changes,
        };
        let range = tables::prefix_range(tables::address_key(top));
        let mut found: Vec<Address> = Vec::new();
        for item in self.store().scan(tables::NAMED, range) {
            let (key, _) = item?;
            let Some(end) = key.iter().position(|byte| *byte == 0) else { continue };
            if !key[..end].ends_with(b"/") {
                continue;
            }
            let address = tree::address_of(&key[..end])?;
            if found.last() != Some(&address) && found.len() < limit {
                found.push(address);
            }
        }
        self.shared().directories.keep(top, &found, changes);
        Ok(found)
    }
}
