//! Takes up a parcel: objects of a ROM become the node's, with the signatures, owners and seals that they had.
//!
//! Each object is a commit of its own, so what ends an import early leaves whole objects, and the same import goes on: what is here already is passed over, and so is
//! what is older than what is here. Nothing of the node's is replaced by something older, and an object that was deleted here since stays deleted. A directory
//! that belongs to another key here, or is sealed under another root, ends the import before any object of it.
//!
//! Everything is verified as if a stranger had sent it: ids of blocks, both signatures of each record, that a record is about the address under which it comes, and that
//! every block that it needs has come. Memory: the ids of the blocks of one object, and of the last that came.

use crate::{
    Objects,
    address::Address,
    chain::{Chain, DirectoryState},
    commit::{ATTEMPTS, Change, Newest, event_of},
    error::{StorageError, WriteError},
    event::Event,
    grant::{Grant, Root},
    owned::named_owner,
    read_key::Locator,
    record::{Envelope, Kind, Record},
    retention,
    tables::{self, Stored},
    tree,
};
use jsfs_store::{
    BlockId, Entry, NewBlock, Op, ParcelEntry, ParcelHead, Pin,
    backup::{BadItem, Decoder, Item, Kind as ItemKind},
    block, parcel_block, parcel_counts, parcel_entries,
};
use serde::Serialize;
use std::collections::{HashSet, VecDeque};

/// Blocks are handed to the store so many bytes at a time.
const APPEND_BYTES: usize = 4 << 20;
/// Blocks of objects that were passed over are kept for later ones, so many of them.
const PINS_MAX: usize = 65_536;

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RomImported {
    /// Objects that are here now and were not.
    pub objects: u64,
    /// Objects that were here already.
    pub present: u64,
    /// Objects that are newer here, or were deleted here since.
    pub newer: u64,
    /// Directories that were made.
    pub directories: u64,
    /// Blocks that came.
    pub blocks: u64,
}

/// An import under way.
pub struct RomImport {
    objects: Objects,
    decoder: Decoder,
    has_begun: bool,
    is_over: bool,
    /// Entries and blocks that came.
    came: (u64, u64),
    fresh: Vec<NewBlock>,
    fresh_bytes: usize,
    /// Of the entries that come next.
    pins: Vec<Pin>,
    earlier: VecDeque<Pin>,
    done: RomImported,
}

fn bad(error: BadItem) -> WriteError {
    WriteError::Invalid { what: format!("this is no usable ROM: {error}") }
}

fn invalid(address: &Address, what: &str) -> WriteError {
    WriteError::Invalid { what: format!("the ROM cannot be used: {address} {what}") }
}

impl Objects {
    /// Begins an import. The grant says that whoever asks may.
    pub fn import(&self, _grant: &Grant<Root>) -> RomImport {
        RomImport {
            objects: self.clone(),
            decoder: Decoder::default(),
            has_begun: false,
            is_over: false,
            came: (0, 0),
            fresh: Vec::new(),
            fresh_bytes: 0,
            pins: Vec::new(),
            earlier: VecDeque::new(),
            done: RomImported::default(),
        }
    }
}

impl RomImport {
    /// Takes more of the parcel.
    ///
    /// # Errors
    /// [`WriteError`]; what came before stays.
    pub async fn take(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.decoder.feed(bytes);
        while let Some(item) = self.decoder.take().map_err(bad)? {
            self.item(&item).await?;
        }
        Ok(())
    }

    /// What was done, where nothing is missing.
    ///
    /// # Errors
    /// The parcel was cut off.
    pub fn end(self) -> Result<RomImported, WriteError> {
        match self.is_over && self.decoder.is_empty() {
            true => Ok(self.done),
            false => Err(bad(BadItem::cut_off())),
        }
    }

    async fn item(&mut self, item: &Item) -> Result<(), WriteError> {
        if self.is_over || self.has_begun == (item.kind == ItemKind::Head) {
            return Err(bad(BadItem::out_of_place()));
        }
        match item.kind {
            ItemKind::Head => {
                ParcelHead::of(item).map_err(bad)?;
                self.has_begun = true;
            }
            ItemKind::Block => self.block(parcel_block(item).map_err(bad)?).await?,
            ItemKind::Rows => {
                self.append().await?;
                for entry in parcel_entries(item).map_err(bad)? {
                    self.came.0 += 1;
                    self.entry(entry).await?;
                }
                self.earlier.extend(self.pins.drain(..));
                let too_many = self.earlier.len().saturating_sub(PINS_MAX);
                self.earlier.drain(..too_many);
            }
            ItemKind::End => {
                if parcel_counts(item).map_err(bad)? != self.came {
                    return Err(bad(BadItem::cut_off()));
                }
                self.is_over = true;
            }
            _ => return Err(bad(BadItem::out_of_place())),
        }
        Ok(())
    }

    async fn block(&mut self, block: NewBlock) -> Result<(), WriteError> {
        self.came.1 += 1;
        self.done.blocks += 1;
        if let Some(pin) = self.objects.store().pin(&block.id).map_err(StorageError::from)? {
            self.pins.push(pin);
            return Ok(());
        }
        self.fresh_bytes += block.bytes.len();
        // A copy of its own: it would keep what it came with.
        let bytes = bytes::Bytes::copy_from_slice(&block.bytes);
        self.fresh.push(NewBlock { bytes, ..block });
        if self.fresh_bytes >= APPEND_BYTES { self.append().await } else { Ok(()) }
    }

    async fn append(&mut self) -> Result<(), WriteError> {
        self.fresh_bytes = 0;
        let fresh = std::mem::take(&mut self.fresh);
        if !fresh.is_empty() {
            self.pins.extend(self.objects.store().append(fresh).await?);
        }
        Ok(())
    }

    async fn entry(&mut self, entry: ParcelEntry) -> Result<(), WriteError> {
        match entry.table {
            tables::DIRECTORY => self.directory(entry).await,
            tables::CURRENT => self.object(entry).await,
            // They follow from the others.
            _ => Ok(()),
        }
    }

    async fn directory(&mut self, entry: ParcelEntry) -> Result<(), WriteError> {
        let objects = self.objects.clone();
        let address = tree::address_of(&entry.key)?;
        let envelope = verified(&objects, &address, &entry.value)?;
        let record = envelope.record().map_err(|error| invalid(&address, &error.to_string()))?;
        if record.kind != Kind::Directory
            || record.locator != Locator::public(&address)
            || !address.is_directory()
        {
            return Err(invalid(&address, "has the record of something else"));
        }
        if let Some(here) = DirectoryState::load(&objects, &address)? {
            return check_same(&address, &here.record, &record);
        }
        if Chain::above(&objects, &address)?.is_none() && (!address.is_namespace() || record.place.is_none())
        {
            return Err(invalid(&address, "lies in a namespace whose record is not in it"));
        }
        let key = tables::address_key(&address);
        let mut change = Change::new();
        change.expect(tables::DIRECTORY, key.clone(), 0);
        change.op(Op::Put {
            table: tables::DIRECTORY,
            key,
            value: entry.value.clone(),
            references: Vec::new(),
        });
        change.names_owner();
        change.log(&Event::access(&address, objects.now_ms()));
        match change.commit(&objects).await? {
            Some(_) => {
                self.done.directories += 1;
                Ok(())
            }
            None => Err(WriteError::Conflict { address }),
        }
    }

    async fn object(&mut self, entry: ParcelEntry) -> Result<(), WriteError> {
        let objects = self.objects.clone();
        let address = tree::address_of(&entry.key)?;
        if objects.rom_at(&address).is_some() {
            return Err(invalid(&address, "is mounted here; unmount the ROM before it is imported"));
        }
        if objects.is_shared(address.namespace())? {
            return Err(invalid(
                &address,
                "lies in a namespace that is shared with other nodes; import it into one that is in no federation",
            ));
        }
        let value = entry.value.get(9..).ok_or_else(|| invalid(&address, "is cut short"))?;
        let envelope = verified(&objects, &address, value)?;
        let ParcelEntry { references, value, .. } = entry;
        let stored = Stored::decode(&address, Entry { sequence: 0, index: 0, references, value })?;
        check_object(&address, &stored)?;
        for _ in 0..ATTEMPTS {
            let Some(chain) = Chain::load(&objects, &address)? else {
                return Err(invalid(&address, "lies in a namespace whose record is not in it"));
            };
            check_owner(&address, &stored.record, &chain)?;
            let here = chain.object.as_deref();
            if here.is_some_and(|here| here.hash == stored.hash) {
                self.done.present += 1;
                return Ok(());
            }
            if here.is_some_and(|here| !stored.record.is_newer_than(&here.record)) {
                self.done.newer += 1;
                return Ok(());
            }
            let (mut pins, mut bases) = (Vec::new(), HashSet::new());
            self.pin(&address, &stored.references, block::LIST_LEVEL_MAX + 1, &mut pins, &mut bases)?;
            for pin in &pins {
                bases.remove(&pin.block());
            }
            if !bases.is_empty() {
                return Err(invalid(&address, "does not name the base of a delta that it needs"));
            }
            let mut change = Change::new();
            change.expect_chain(&chain);
            let (version, public) = (stored.record.version, stored.is_public());
            let newest = Newest {
                size: stored.size,
                envelope: &envelope,
                references: stored.references.clone(),
                kind: Kind::Object,
                owner: named_owner(&stored.record),
                public,
            };
            change.put_current(&address, &chain, here, newest);
            change.detach_program(&objects, &address)?;
            retention::trim(&objects, &mut change, &address, &chain)?;
            change.log(&event_of(&address, here, version, objects.now_ms(), public));
            change.carry(Vec::new(), pins);
            if change.commit(&objects).await?.is_some() {
                self.done.objects += 1;
                return Ok(());
            }
        }
        Err(WriteError::Conflict { address })
    }

    /// Pins what an object needs, what lists list included, and notes the bases of deltas among it. All of it must be here.
    fn pin(
        &self,
        address: &Address,
        ids: &[BlockId],
        levels: u8,
        pins: &mut Vec<Pin>,
        bases: &mut HashSet<BlockId>,
    ) -> Result<(), WriteError> {
        let store = self.objects.store();
        for id in ids {
            let pin = store.pin(id).map_err(StorageError::from)?;
            pins.push(pin.ok_or_else(|| invalid(address, "needs a block that is not in it"))?);
            let stored = store.block(id).map_err(StorageError::from)?;
            bases.extend(block::base_of(&stored));
            if let Ok((_, listed)) = block::decode_list(&stored) {
                if levels == 0 {
                    return Err(invalid(address, "needs lists of blocks that go too deep"));
                }
                self.pin(address, &listed, levels - 1, pins, bases)?;
            }
        }
        Ok(())
    }
}

/// An envelope whose signatures are right.
fn verified(objects: &Objects, address: &Address, bytes: &[u8]) -> Result<Envelope, WriteError> {
    let envelope = Envelope::decode(bytes).map_err(|error| invalid(address, &error.to_string()))?;
    envelope.verify(objects.now_ms()).map_err(|error| invalid(address, &error.to_string()))?;
    Ok(envelope)
}

/// What a record of an object can be held to without its key.
fn check_object(address: &Address, stored: &Stored) -> Result<(), WriteError> {
    let record = &stored.record;
    if record.kind != Kind::Object || address.is_directory() {
        return Err(invalid(address, "is no object"));
    }
    if record.content.as_ref().is_some_and(|content| content.address != *address) {
        return Err(invalid(address, "has the record of something else"));
    }
    if record.blocks != stored.held {
        return Err(invalid(address, "does not name the blocks that it needs"));
    }
    Ok(())
}

/// A directory that is here must have the same owner and the same read roots: else what is sealed below it would open for nobody.
fn check_same(address: &Address, here: &Record, there: &Record) -> Result<(), WriteError> {
    let is_same = here.owner == there.owner && here.epoch == there.epoch && here.place == there.place;
    if is_same {
        return Ok(());
    }
    Err(WriteError::Blocked {
        address: address.clone(),
        what: "is here already, of another owner or sealed under other keys than in the ROM; import it into a node without that namespace, or mount the ROM",
    })
}

fn check_owner(address: &Address, record: &Record, chain: &Chain) -> Result<(), WriteError> {
    let place = &chain.directory_place;
    let is_own = record.owner == place.owner && place.roots.iter().any(|root| root.epoch == record.epoch);
    match record.place.is_some() || is_own {
        true => Ok(()),
        false => Err(invalid(address, "belongs to another key than its directory")),
    }
}
