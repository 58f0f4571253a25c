//! Turning a change of one address into one commit: the new version, the old one kept, the change log, the counters.

use crate::{
    Done, Objects,
    address::Address,
    chain::Chain,
    error::{StorageError, WriteError},
    event::{Event, EventKind},
    key::Owner,
    metastore::{Named, names_directory},
    owned::named_owner,
    record::{Envelope, Kind, RECORD_BLOCKS_MAX, RecordHash},
    remote::{Needs, Remote, namespace_of},
    tables::{self, Stored},
    tree,
};
use jsfs_store::{BlockId, Commit, CommitError, Expect, NewBlock, Op, block};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// How often a change is tried again when others change the same address.
pub(crate) const ATTEMPTS: usize = 16;

/// A commit being put together. Counters of directories are added up, so that a tree costs one operation for each.
pub(crate) struct Change {
    pub(crate) commit: Commit,
    expected: HashSet<(u8, Vec<u8>)>,
    sums: BTreeMap<(u8, Address), i64>,
    quotas: Vec<(Address, u64)>,
    /// Namespaces whose log gets a line.
    logged: BTreeSet<String>,
    /// Whether it can change who may do what.
    concerns_authority: bool,
    /// What the change is answered with, for a process that asks again.
    done: Option<Done>,
    is_placed: bool,
    /// Whether it only takes in what other nodes have.
    pub(crate) adopts: bool,
    /// Whether it makes a namespace of the federation's.
    pub(crate) founds: bool,
    /// Names that others need to find what it writes.
    pub(crate) names: Vec<Named>,
    /// Tombstones for where an object was filed until now, each with the hash of what was there.
    pub(crate) moved: Vec<(RecordHash, Vec<u8>)>,
}

/// The version that becomes the newest.
pub(crate) struct Newest<'a> {
    pub(crate) size: u64,
    pub(crate) envelope: &'a Envelope,
    pub(crate) references: Vec<BlockId>,
    pub(crate) kind: Kind,
    /// Whose it is, where it says so itself.
    pub(crate) owner: Option<Owner>,
    /// Whether it is an object that anyone may read.
    pub(crate) public: bool,
}

impl Change {
    pub(crate) fn new() -> Self {
        let commit = Commit { expect: Vec::new(), ops: Vec::new(), blocks: Vec::new(), pins: Vec::new() };
        Change {
            commit,
            expected: HashSet::new(),
            sums: BTreeMap::new(),
            quotas: Vec::new(),
            logged: BTreeSet::new(),
            concerns_authority: false,
            done: None,
            is_placed: false,
            adopts: false,
            founds: false,
            names: Vec::new(),
            moved: Vec::new(),
        }
    }

    /// A change that makes what other nodes wrote this node's own.
    pub(crate) fn adopting() -> Self {
        Change { adopts: true, ..Change::new() }
    }

    /// Adds a name to be published with it.
    pub(crate) fn named(&mut self, named: Named) {
        self.names.push(named);
    }

    /// Adds what says that a version is filed elsewhere now.
    pub(crate) fn moved_on(&mut self, before: &Stored, envelope: &Envelope) {
        self.moved.push((before.hash, envelope.encode()));
    }

    pub(crate) fn quotas(&self) -> &[(Address, u64)] {
        &self.quotas
    }

    /// Has everything that it needs where it is shared on the nodes that keep it as well: new blocks, and those that were here before, whoever they were
    /// written for.
    pub(crate) async fn place(&mut self, objects: &Objects) -> Result<(), WriteError> {
        let Some(remote) = objects.remote() else { return Ok(()) };
        if std::mem::replace(&mut self.is_placed, true) || self.adopts {
            return Ok(());
        }
        let needed = self.needed(objects, &**remote)?;
        let is_shared = self.logged.iter().any(|namespace| remote.shares(namespace));
        let new = if is_shared { &self.commit.blocks[..] } else { &[] };
        Box::pin(objects.place_all(remote, new, needed)).await;
        Ok(())
    }

    /// Blocks that its versions need beside new ones, and beside what the versions before them needed: that was placed with those.
    fn needed(&self, objects: &Objects, remote: &dyn Remote) -> Result<Vec<BlockId>, WriteError> {
        let mut needs = Needs::default();
        for block in &self.commit.blocks {
            needs.coming.insert(block.id, block.bytes.clone());
        }
        for op in &self.commit.ops {
            let Op::Put { table: tables::CURRENT | tables::VERSION, key, value, references } = op else {
                continue;
            };
            if !namespace_of(key).is_some_and(|namespace| remote.shares(namespace)) {
                continue;
            }
            let address = key.split(|byte| *byte == 0).next().unwrap_or_default();
            if let Some(before) = objects.current(&tree::address_of(address)?)? {
                let mut past = Needs::default();
                objects.add_needs(&before.value, before.references.clone(), &mut past)?;
                needs.seen.extend(past.seen);
            }
            objects.add_needs(value, references.clone(), &mut needs)?;
        }
        needs.found.retain(|id| !needs.coming.contains_key(id));
        Ok(needs.found)
    }

    /// Makes what another node wrote the newest version; the one before is kept under this number, if any.
    pub(crate) fn adopt_current(
        &mut self,
        address: &Address,
        chain: &Chain,
        before: Option<&Stored>,
        newest: Newest<'_>,
        kept_as: Option<u64>,
    ) {
        let Newest { size, envelope, references, kind, owner, public } = newest;
        let key = tables::address_key(address);
        self.expect(tables::CURRENT, key.clone(), before.map_or(0, |stored| stored.sequence));
        if let (Some(before), Some(number)) = (before, kept_as) {
            self.commit.ops.push(Op::Put {
                table: tables::VERSION,
                key: tables::version_key(address, number),
                value: before.value.clone(),
                references: before.held.clone(),
            });
        }
        let value = tables::entry_value(size, envelope).into();
        self.commit.ops.push(Op::Put { table: tables::CURRENT, key: key.clone(), value, references });
        self.show(key, before.is_some_and(Stored::is_public), public);
        self.own(address, before.and_then(|stored| named_owner(&stored.record)), owner);
        let was = before.filter(|stored| stored.record.kind == Kind::Object);
        let is = i64::from(kind == Kind::Object);
        let left = before.filter(|_| kept_as.is_none()).map_or(0, |stored| signed(stored.size));
        self.count(tables::USAGE, chain, address, signed(size) - left);
        self.count(tables::LIVE, chain, address, signed(size) - was.map_or(0, |stored| signed(stored.size)));
        self.count(tables::COUNT, chain, address, is - i64::from(was.is_some()));
    }

    /// Adds an old version that another node wrote.
    pub(crate) fn put_version(
        &mut self,
        address: &Address,
        chain: &Chain,
        number: u64,
        size: u64,
        envelope: &Envelope,
    ) {
        let (key, value) = (tables::version_key(address, number), tables::entry_value(size, envelope).into());
        self.commit.ops.push(Op::Put { table: tables::VERSION, key, value, references: Vec::new() });
        self.count(tables::USAGE, chain, address, signed(size));
    }

    /// Nothing above the address may be handed over, given a policy or a quota meanwhile: what is committed rests on all of it.
    pub(crate) fn expect_chain(&mut self, chain: &Chain) {
        for (directory, sequence) in &chain.seen {
            self.expect(tables::DIRECTORY, tables::address_key(directory), *sequence);
        }
    }

    pub(crate) fn expect(&mut self, table: jsfs_store::Table, key: Vec<u8>, sequence: u64) {
        if self.expected.insert((table.0, key.clone())) {
            self.commit.expect.push(Expect::Sequence { table, key, sequence });
        }
    }

    /// An object that is only read, but must not change meanwhile.
    pub(crate) fn expect_current(&mut self, address: &Address, sequence: u64) {
        self.expect(tables::CURRENT, tables::address_key(address), sequence);
    }

    /// An old version that must still be kept.
    pub(crate) fn expect_version(&mut self, address: &Address, version: u64, sequence: u64) {
        self.expect(tables::VERSION, tables::version_key(address, version), sequence);
    }

    pub(crate) fn carry(&mut self, blocks: Vec<NewBlock>, pins: Vec<jsfs_store::Pin>) {
        self.commit.blocks.extend(blocks);
        self.commit.pins.extend(pins);
    }

    /// Replaces the newest version; the one before is kept as an old version.
    pub(crate) fn put_current(
        &mut self,
        address: &Address,
        chain: &Chain,
        before: Option<&Stored>,
        newest: Newest<'_>,
    ) {
        let Newest { size, envelope, references, kind, owner, public } = newest;
        let key = tables::address_key(address);
        self.expect(tables::CURRENT, key.clone(), before.map_or(0, |stored| stored.sequence));
        if let Some(before) = before {
            self.commit.ops.push(Op::Put {
                table: tables::VERSION,
                key: tables::version_key(address, before.record.version),
                value: before.value.clone(),
                references: before.held.clone(),
            });
        }
        let value = tables::entry_value(size, envelope);
        self.commit.ops.push(Op::Put {
            table: tables::CURRENT,
            key: key.clone(),
            value: value.into(),
            references,
        });
        self.show(key, before.is_some_and(Stored::is_public), public);
        self.own(address, before.and_then(|stored| named_owner(&stored.record)), owner);
        let was = before.filter(|stored| stored.record.kind == Kind::Object);
        let is = i64::from(kind == Kind::Object);
        self.count(tables::USAGE, chain, address, signed(size));
        self.count(tables::LIVE, chain, address, signed(size) - was.map_or(0, |stored| signed(stored.size)));
        self.count(tables::COUNT, chain, address, is - i64::from(was.is_some()));
    }

    /// Takes away what was attached to a program: what is there from now on is not what its owner attached it to.
    pub(crate) fn detach_program(
        &mut self,
        objects: &Objects,
        address: &Address,
    ) -> Result<(), StorageError> {
        self.attach_program(objects, address, None)
    }

    /// Keeps the table of public objects true.
    pub(crate) fn show(&mut self, key: Vec<u8>, was: bool, is: bool) {
        match (was, is) {
            (false, true) => {
                self.op(Op::Put {
                    table: tables::PUBLIC,
                    key,
                    value: bytes::Bytes::new(),
                    references: Vec::new(),
                });
            }
            (true, false) => self.op(Op::Delete { table: tables::PUBLIC, key }),
            _ => {}
        }
    }

    /// Forgets an old version.
    pub(crate) fn drop_version(&mut self, address: &Address, chain: &Chain, version: u64, size: u64) {
        self.commit
            .ops
            .push(Op::Delete { table: tables::VERSION, key: tables::version_key(address, version) });
        self.count(tables::USAGE, chain, address, -signed(size));
    }

    pub(crate) fn op(&mut self, op: Op) {
        self.commit.ops.push(op);
    }

    /// Adds to a counter of the namespace and of each directory with a quota.
    pub(crate) fn count(&mut self, table: jsfs_store::Table, chain: &Chain, address: &Address, delta: i64) {
        if delta == 0 {
            return;
        }
        *self.sums.entry((table.0, tree::namespace_directory(address))).or_default() += delta;
        for (directory, limit) in &chain.policy.quotas {
            if !self.quotas.iter().any(|(known, _)| known == directory) {
                self.quotas.push((directory.clone(), *limit));
            }
            if !directory.is_namespace() {
                *self.sums.entry((table.0, directory.clone())).or_default() += delta;
            }
        }
    }

    /// Notes a change in the namespace's log.
    pub(crate) fn log(&mut self, event: &Event) {
        self.concerns_authority |= event.kind == EventKind::Access;
        self.logged.insert(event.address.namespace().to_owned());
        let prefix = tables::event_prefix(event.address.namespace());
        self.commit.ops.push(Op::Append { table: tables::EVENT, prefix, value: event.encode().into() });
    }

    /// Notes that it names an owner: what is known of who may do what counts as old from then on.
    pub(crate) fn names_owner(&mut self) {
        self.concerns_authority = true;
    }

    /// Notes what the change is answered with.
    pub(crate) fn answers(&mut self, done: Done) {
        self.done = Some(done);
    }

    /// How many operations it has so far.
    pub(crate) fn len(&self) -> usize {
        self.commit.ops.len()
    }

    /// Commits what belongs to no object; every refusal is the caller's to word.
    pub(crate) async fn commit_shared(self, objects: &Objects) -> Result<(), CommitError> {
        objects.store().commit(self.commit).await.map(|_| ())
    }

    /// Commits. `None`: somebody else changed what it rests on; read again and try again.
    pub(crate) async fn commit(mut self, objects: &Objects) -> Result<Option<u64>, WriteError> {
        for ((table, directory), delta) in std::mem::take(&mut self.sums) {
            let limit = self.quotas.iter().find(|(of, _)| *of == directory).map(|(_, limit)| *limit);
            let at_most = limit.filter(|_| table == tables::USAGE.0 && delta > 0);
            let key = tables::address_key(&directory);
            self.commit.ops.push(Op::Add { table: jsfs_store::Table(table), key, delta, at_most });
        }
        self.commit.ops.extend(objects.marker(self.done.as_ref())?);
        // Before it is committed: what is answered is where it belongs.
        let Some(_turns) = Box::pin(self.publish(objects)).await? else { return Ok(None) };
        self.place(objects).await?;
        if self.adopts {
            // Quotas are for who writes.
            for op in &mut self.commit.ops {
                if let Op::Add { at_most, .. } = op {
                    *at_most = None;
                }
            }
        }
        let names_directory = names_directory(&self.commit.ops);
        match objects.store().commit(self.commit).await {
            Ok(committed) => {
                if names_directory {
                    objects.shared().directories.changed();
                }
                if self.concerns_authority {
                    objects.authority_changed();
                }
                self.logged.iter().for_each(|namespace| objects.announce(namespace));
                Ok(Some(committed.sequence))
            }
            Err(CommitError::Conflict { .. }) => Ok(None),
            Err(CommitError::Exceeded { table: tables::UNFINISHED, at_most, .. }) => {
                Err(WriteError::TooManyUploads { limit: at_most })
            }
            Err(CommitError::Exceeded { key, .. }) => Err(exceeded(&key, &self.quotas)),
            Err(error) => Err(error.into()),
        }
    }
}

pub(crate) fn exceeded(key: &[u8], quotas: &[(Address, u64)]) -> WriteError {
    let of = |(directory, _): &&(Address, u64)| directory.as_str().as_bytes() == key;
    match quotas.iter().find(of) {
        Some((directory, limit)) => WriteError::Quota { directory: directory.clone(), limit: *limit },
        None => StorageError::Write("a counter that has no quota was refused".into()).into(),
    }
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// What an entry refers to: the blocks themselves, or list blocks where they are many. `lists` are full list blocks made before, of what
/// comes before `needs`.
pub(crate) fn references(
    lists: &[BlockId],
    needs: &[BlockId],
    fresh: &mut Vec<NewBlock>,
) -> Result<Vec<BlockId>, WriteError> {
    if lists.is_empty() && needs.len() <= RECORD_BLOCKS_MAX {
        return Ok(needs.to_vec());
    }
    let mut ids = [lists, &list_blocks(0, needs, fresh)?].concat();
    let mut level = 1;
    while ids.len() > RECORD_BLOCKS_MAX {
        ids = list_blocks(level, &ids, fresh)?;
        level += 1;
    }
    Ok(ids)
}

fn list_blocks(level: u8, ids: &[BlockId], fresh: &mut Vec<NewBlock>) -> Result<Vec<BlockId>, WriteError> {
    let lists =
        ids.chunks(block::LIST_MAX).map(|ids| Ok(NewBlock::new(block::encode_list(level, ids)?, Vec::new())));
    let lists: Result<Vec<_>, block::BlockError> = lists.collect();
    let lists = lists.map_err(|error| StorageError::Write(error.to_string()))?;
    let ids = lists.iter().map(|list| list.id).collect();
    fresh.extend(lists);
    Ok(ids)
}

impl From<CommitError> for WriteError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Write(error) => error.into(),
            other => StorageError::Write(other.to_string()).into(),
        }
    }
}

impl From<jsfs_store::WriteError> for WriteError {
    fn from(error: jsfs_store::WriteError) -> Self {
        match error {
            jsfs_store::WriteError::NoSpace => WriteError::NoSpace,
            jsfs_store::WriteError::ReadOnly(what) => WriteError::ReadOnly { what },
            jsfs_store::WriteError::TooLarge(what) => WriteError::TooLarge {
                what: format!(
                    "{what} is larger than one commit may be; take the directories below one by one"
                ),
            },
            jsfs_store::WriteError::Closed => StorageError::Stopping.into(),
            other => StorageError::Write(other.to_string()).into(),
        }
    }
}

/// The event that a new current version is.
pub(crate) fn event_of(
    address: &Address,
    before: Option<&Stored>,
    version: u64,
    time_ms: u64,
    public: bool,
) -> Event {
    let existed = before.is_some_and(|stored| stored.record.kind == Kind::Object);
    let kind = if existed { EventKind::Updated } else { EventKind::Created };
    let was_public = before.is_some_and(Stored::is_public);
    Event { kind, address: address.clone(), from: None, version, time_ms, public, was_public }
}
