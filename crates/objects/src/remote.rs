//! Blocks of other nodes: the seam to whoever has them, what this node keeps for others, and what it keeps of others because it was read here.
//!
//! Alone there is no [`Remote`], and nothing here is asked. What a peer had kept lies under a **lease**, which it renews; what was fetched lies in the
//! **cache**, bounded, from which the least lately used goes first. Both are rows that refer to their block, so collection leaves it as long as they
//! stand, and neither touches what objects of this node refer to. Whoever keeps a block need not be able to open it.

use crate::{
    Objects,
    commit::Change,
    error::{ReadError, StorageError, WriteError},
    gates::{Gates, Turns},
    tables,
};
use bytes::Bytes;
use jsfs_store::{BlockId, CommitError, NewBlock, Op, Table, block};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicU64, atomic::Ordering},
};

/// Rows changed in one commit.
const STEP: usize = 256;

/// Uses of cached blocks that are remembered until they are written; later ones are forgotten.
const USES_MAX: usize = 65_536;

/// What a row counts as beside its block.
const ROW_CHARGE: u64 = 128;

/// Objects below this size need so few blocks that their records name them; larger ones may name lists of blocks.
pub(crate) const LISTS_FROM_BYTES: u64 = 1_024 * crate::record::RECORD_BLOCKS_MAX as u64;

/// The key of the number of bytes in all; keys of rows are longer.
const TOTAL: &[u8] = &[0];

/// An answer in the making.
pub type RemoteAnswer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The other nodes, as far as reading and writing objects needs them. Records will be asked for here as well.
pub trait Remote: Send + Sync {
    /// Whether what is stored in a namespace is for others to keep too.
    fn shares(&self, namespace: &str) -> bool;
    /// Has nodes keep new blocks, and others that are here already; done when all are on their disks, or on as many as could be reached.
    fn place(&self, new: Vec<(BlockId, Bytes)>, others: Vec<BlockId>) -> RemoteAnswer<'_, ()>;
    /// A block from whoever has it, verified; none if it is not to be had now.
    fn fetch(&self, block: BlockId) -> RemoteAnswer<'_, Option<Bytes>>;
}

/// Blocks that versions need.
#[derive(Default)]
pub(crate) struct Needs {
    /// Those that were found, each once.
    pub(crate) found: Vec<BlockId>,
    /// Those that were found, and others that are not to be.
    pub(crate) seen: HashSet<BlockId>,
    /// Blocks that are not in the store yet.
    pub(crate) coming: HashMap<BlockId, Bytes>,
}

/// The namespace of a key that begins with an address.
pub(crate) fn namespace_of(key: &[u8]) -> Option<&str> {
    let address = std::str::from_utf8(key.split(|byte| *byte == 0).next()?).ok()?;
    address.strip_prefix('/')?.split('/').next()
}

/// Where looking through blocks goes on.
#[derive(Clone, Debug)]
pub struct BlocksFrom {
    table: Table,
    after: Vec<u8>,
}

/// Who it is that a block is kept for: a peer's public key.
pub type Lessee = [u8; 32];

/// Why a block is not kept for a peer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LeaseError {
    /// All that this node keeps for others would be more than it was counted on for.
    #[error("no room for more blocks of others; this node is counted on for {limit} bytes")]
    Full {
        /// So many bytes.
        limit: u64,
    },
    /// What was sent is no block.
    #[error("not a block: {what}")]
    NoBlock {
        /// Why.
        what: String,
    },
    /// The store failed, or has no room.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What is remembered beside the store.
#[derive(Default)]
pub(crate) struct Elsewhere {
    remote: OnceLock<Arc<dyn Remote>>,
    /// Cached blocks that were read since uses were written last.
    used: Mutex<HashSet<BlockId>>,
    /// Whose turn it is to change leases of a block: what several writers send at once is the same block more often than not.
    leasing: Gates,
    trimming: tokio::sync::Mutex<()>,
    fetched: AtomicU64,
}

impl Objects {
    /// Sets who is asked for what is not here. Once, before requests are served.
    pub fn set_remote(&self, remote: Arc<dyn Remote>) {
        let _ = self.elsewhere().remote.set(remote);
    }

    pub(crate) fn remote(&self) -> Option<&Arc<dyn Remote>> {
        self.elsewhere().remote.get()
    }

    /// Hands new blocks of a namespace to the nodes that keep them as well.
    pub(crate) async fn place(&self, namespace: &str, blocks: &[NewBlock]) {
        if let Some(remote) = self.remote().filter(|remote| remote.shares(namespace)) {
            self.place_all(remote, blocks, Vec::new()).await;
        }
    }

    /// Has other nodes keep new blocks, and those of the others that are here.
    pub(crate) async fn place_all(
        &self,
        remote: &Arc<dyn Remote>,
        new: &[NewBlock],
        mut others: Vec<BlockId>,
    ) {
        // What is not here came from elsewhere, where it is kept.
        others.retain(|id| self.store().has_block(id).unwrap_or(false));
        if !(new.is_empty() && others.is_empty()) {
            remote.place(new.iter().map(|block| (block.id, block.bytes.clone())).collect(), others).await;
        }
    }

    /// A block that cannot be read here, from another node; it is kept within the cache.
    pub(crate) async fn fetch_elsewhere(&self, id: BlockId) -> Option<Bytes> {
        let bytes = self.remote()?.fetch(id).await.filter(|bytes| BlockId::of(bytes) == id)?;
        self.elsewhere().fetched.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.cache_block(id, bytes.clone()).await {
            tracing::warn!(%id, %error, "a block that was fetched could not be kept");
        }
        Some(bytes)
    }

    /// Blocks that came from other nodes since the start.
    #[must_use]
    pub fn blocks_fetched(&self) -> u64 {
        self.elsewhere().fetched.load(Ordering::Relaxed)
    }

    /// Blocks that versions of objects need in namespaces that are shared, about `limit` at a time, and where to go on. A block may come more than once.
    /// It reads from the disk.
    ///
    /// # Errors
    /// That the store failed.
    pub fn shared_blocks(
        &self,
        from: Option<BlocksFrom>,
        limit: usize,
        is_shared: impl Fn(&str) -> bool,
    ) -> Result<(Vec<BlockId>, Option<BlocksFrom>), ReadError> {
        let (table, after) = from.map_or((tables::CURRENT, Vec::new()), |from| (from.table, from.after));
        let mut found = Vec::new();
        for item in self.store().scan(table, after..) {
            let (key, entry) = item?;
            if namespace_of(&key).is_some_and(&is_shared) {
                let mut needs = Needs::default();
                self.add_needs(&entry.value, entry.references, &mut needs)?;
                found.append(&mut needs.found);
            }
            if found.len() >= limit {
                return Ok((found, Some(BlocksFrom { table, after: [key, vec![0]].concat() })));
            }
        }
        let rest = BlocksFrom { table: tables::VERSION, after: Vec::new() };
        Ok((found, (table == tables::CURRENT).then_some(rest)))
    }

    /// What a version needs, lists and what they name included.
    pub(crate) fn add_needs(
        &self,
        value: &[u8],
        references: Vec<BlockId>,
        needs: &mut Needs,
    ) -> Result<(), ReadError> {
        let size = value.get(1..9).map_or(0, tables::counter);
        let may_be_list = size >= LISTS_FROM_BYTES;
        // Of what another node wrote the record says what it needs.
        let references = if references.is_empty() { tables::blocks_of(value) } else { references };
        references.into_iter().try_for_each(|id| self.expand(id, may_be_list, needs))
    }

    /// A block, and if it is a list those that it names.
    fn expand(&self, id: BlockId, may_be_list: bool, needs: &mut Needs) -> Result<(), ReadError> {
        if !needs.seen.insert(id) {
            return Ok(());
        }
        needs.found.push(id);
        if !may_be_list {
            return Ok(());
        }
        let bytes = match needs.coming.get(&id) {
            Some(bytes) => bytes.clone(),
            None => match self.store().block(&id) {
                Ok(bytes) => bytes,
                Err(_) => return Ok(()),
            },
        };
        if let Ok((block::Kind::List, _)) = block::split(&bytes) {
            let damaged = |error: block::BlockError| StorageError::Write(error.to_string());
            let (level, ids) = block::decode_list(&bytes).map_err(damaged)?;
            for id in ids {
                self.expand(id, level > 0, needs)?;
            }
        }
        Ok(())
    }

    /// Which of these blocks are here.
    #[must_use]
    pub fn have_blocks(&self, ids: &[BlockId]) -> Vec<bool> {
        ids.iter().map(|id| self.store().has_block(id).unwrap_or(false)).collect()
    }

    /// A block that is here, verified; none if it is not, or damaged. It reads from the disk.
    #[must_use]
    pub fn block_here(&self, id: &BlockId) -> Option<Bytes> {
        self.store().block(id).ok()
    }

    /// Keeps verified blocks for a peer until a time, ms since 1970. All that is kept for others is at most `limit` bytes.
    ///
    /// # Errors
    /// [`LeaseError`]; none of the blocks is kept then.
    pub async fn lease_blocks(
        &self,
        lessee: &Lessee,
        blocks: Vec<(BlockId, Bytes)>,
        until_ms: u64,
        limit: u64,
    ) -> Result<(), LeaseError> {
        let ids: Vec<BlockId> = blocks.iter().map(|(id, _)| *id).collect();
        let _turns = self.turns_of_leases(&ids).await;
        let mut change = Change::new();
        let mut delta = 0;
        let mut fresh = Vec::new();
        for (id, bytes) in blocks {
            let row = Row { charge: bytes.len() as u64 + ROW_CHARGE, time_ms: until_ms };
            delta += self.lease_row(&mut change, lessee, id, row)?;
            fresh.push(NewBlock { id, bytes, tags: Vec::new() });
        }
        change.op(Op::Add { table: tables::LEASE, key: TOTAL.to_vec(), delta, at_most: Some(limit) });
        change.carry(fresh, Vec::new());
        match change.commit_shared(self).await {
            Err(CommitError::Exceeded { .. }) => Err(LeaseError::Full { limit }),
            Err(CommitError::Write(jsfs_store::WriteError::BadBlock { what, .. })) => {
                Err(LeaseError::NoBlock { what: what.to_string() })
            }
            Err(error) => Err(WriteError::from(error).into()),
            Ok(()) => Ok(()),
        }
    }

    /// Keeps those of these blocks that are here for a peer until a time; says which.
    ///
    /// # Errors
    /// [`LeaseError`]; nothing has changed then.
    pub async fn extend_leases(
        &self,
        lessee: &Lessee,
        ids: &[BlockId],
        until_ms: u64,
        limit: u64,
    ) -> Result<Vec<bool>, LeaseError> {
        let _turns = self.turns_of_leases(ids).await;
        let mut change = Change::new();
        let (mut delta, mut here, mut pins) = (0, Vec::new(), Vec::new());
        for id in ids {
            // Pinned until the row refers to it.
            let pin = self.store().pin(id).map_err(WriteError::from)?;
            here.push(pin.is_some());
            let Some(pin) = pin else { continue };
            pins.push(pin);
            let key = lease_key(id, lessee);
            let held = self.store().get(tables::LEASE, &key).map_err(WriteError::from)?;
            let held = held.and_then(|entry| Row::of(&entry.value));
            let charge = match held {
                Some(held) => held.charge,
                None => self.store().block(id).map_err(WriteError::from)?.len() as u64 + ROW_CHARGE,
            };
            delta += self.lease_row(&mut change, lessee, *id, Row { charge, time_ms: until_ms })?;
        }
        change.op(Op::Add { table: tables::LEASE, key: TOTAL.to_vec(), delta, at_most: Some(limit) });
        change.carry(Vec::new(), pins);
        match change.commit_shared(self).await {
            Err(CommitError::Exceeded { .. }) => Err(LeaseError::Full { limit }),
            Err(error) => Err(WriteError::from(error).into()),
            Ok(()) => Ok(here),
        }
    }

    async fn turns_of_leases(&self, ids: &[BlockId]) -> Turns {
        let keys: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
        self.elsewhere().leasing.turns_of(keys.into_iter()).await
    }

    /// Sets one row; answers how much more is kept by it.
    fn lease_row(
        &self,
        change: &mut Change,
        lessee: &Lessee,
        id: BlockId,
        row: Row,
    ) -> Result<i64, WriteError> {
        let key = lease_key(&id, lessee);
        let held = self.store().get(tables::LEASE, &key)?;
        change.expect(tables::LEASE, key.clone(), held.as_ref().map_or(0, |held| held.sequence));
        let before = held.and_then(|held| Row::of(&held.value)).map_or(0, |held| signed(held.charge));
        change.op(Op::Put { table: tables::LEASE, key, value: row.bytes(), references: vec![id] });
        Ok(signed(row.charge) - before)
    }

    /// Keeps these no more for a peer; says for which it did.
    ///
    /// # Errors
    /// That the store failed.
    pub async fn end_leases(&self, lessee: &Lessee, ids: &[BlockId]) -> Result<Vec<bool>, WriteError> {
        let _turns = self.turns_of_leases(ids).await;
        let mut ended = Vec::new();
        let mut rows = Vec::new();
        for id in ids {
            let key = lease_key(id, lessee);
            let row = self.store().get(tables::LEASE, &key)?.and_then(|entry| Row::of(&entry.value));
            ended.push(row.is_some());
            rows.extend(row.map(|row| (key, row)));
        }
        self.remove_rows(tables::LEASE, &rows).await?;
        Ok(ended)
    }

    /// Forgets leases that have ended; says how many there were.
    pub(crate) async fn sweep_leases(&self) -> Result<u64, WriteError> {
        let now_ms = self.clock().now_ms();
        let objects = self.clone();
        let over = move || {
            let rows = objects
                .rows(tables::LEASE)?
                .filter(|row| row.as_ref().is_ok_and(|(_, row)| row.time_ms <= now_ms));
            rows.collect::<Result<Vec<_>, ReadError>>()
        };
        let over = tokio::task::spawn_blocking(over).await.map_err(|_| StorageError::Stopping)??;
        for some in over.chunks(STEP) {
            self.remove_rows(tables::LEASE, some).await?;
        }
        Ok(over.len() as u64)
    }

    /// What is kept for others, in bytes.
    #[must_use]
    pub fn leased_bytes(&self) -> u64 {
        self.total(tables::LEASE)
    }

    /// What the cache counts for, in bytes.
    #[must_use]
    pub fn cached_bytes(&self) -> u64 {
        self.total(tables::CACHED)
    }

    fn total(&self, table: Table) -> u64 {
        let total = self.store().get(table, TOTAL);
        total.ok().flatten().map_or(0, |entry| tables::counter(&entry.value))
    }

    /// Keeps a block that was fetched, and makes room where the cache is full.
    async fn cache_block(&self, id: BlockId, bytes: Bytes) -> Result<(), WriteError> {
        let bound = self.settings().cache_bytes;
        let charge = bytes.len() as u64 + ROW_CHARGE;
        if charge > bound / 2 {
            return Ok(());
        }
        let key = id.as_bytes().to_vec();
        while self.store().get(tables::CACHED, &key)?.is_none() {
            let row = Row { charge, time_ms: self.clock().now_ms() };
            let mut change = Change::new();
            change.expect(tables::CACHED, key.clone(), 0);
            change.op(Op::Put {
                table: tables::CACHED,
                key: key.clone(),
                value: row.bytes(),
                references: vec![id],
            });
            change.op(Op::Add {
                table: tables::CACHED,
                key: TOTAL.to_vec(),
                delta: signed(charge),
                at_most: Some(bound),
            });
            change.carry(vec![NewBlock { id, bytes: bytes.clone(), tags: Vec::new() }], Vec::new());
            match change.commit_shared(self).await {
                Err(CommitError::Exceeded { .. }) => {}
                // Whoever was quicker has kept the same block.
                Ok(()) | Err(CommitError::Conflict { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            // So much that not every block has to wait for room.
            if !self.trim_cache(charge, bound / 8).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Notes that a block was read, if any are cached.
    pub(crate) fn note_block_use(&self, id: BlockId) {
        if self.remote().is_none() || self.elsewhere().fetched.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut used = self.elsewhere().used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() < USES_MAX {
            used.insert(id);
        }
    }

    /// Forgets the cached blocks that were used the longest ago where there is no room for so many bytes, until there is for so many more; says whether there is room.
    async fn trim_cache(&self, needed: u64, more: u64) -> Result<bool, WriteError> {
        let _turn = self.elsewhere().trimming.lock().await;
        let bound = self.settings().cache_bytes;
        if self.cached_bytes() + needed <= bound {
            return Ok(true);
        }
        let at_most = bound.saturating_sub(needed + more);
        let used = std::mem::take(&mut *self.elsewhere().used.lock().unwrap_or_else(PoisonError::into_inner));
        let objects = self.clone();
        let by_use = move || {
            let mut by_use = BTreeMap::new();
            for row in objects.rows(tables::CACHED)? {
                let (key, row) = row?;
                let id = <[u8; 32]>::try_from(key.as_slice()).map(BlockId::from_bytes);
                let is_used = id.is_ok_and(|id| used.contains(&id));
                by_use.insert((is_used, row.time_ms, key), row);
            }
            Ok::<_, ReadError>(by_use)
        };
        let by_use = tokio::task::spawn_blocking(by_use).await.map_err(|_| StorageError::Stopping)??;
        let mut total = self.cached_bytes();
        let mut step = Vec::new();
        for ((_, _, key), row) in by_use {
            if total <= at_most {
                break;
            }
            total = total.saturating_sub(row.charge);
            step.push((key, row));
            if step.len() == STEP {
                self.remove_rows(tables::CACHED, &std::mem::take(&mut step)).await?;
            }
        }
        self.remove_rows(tables::CACHED, &step).await?;
        Ok(self.cached_bytes() + needed <= bound)
    }

    /// Removes rows and what they count for. A row that changed meanwhile stays, and so do its neighbours: they go with the next sweep.
    async fn remove_rows(&self, table: Table, rows: &[(Vec<u8>, Row)]) -> Result<(), WriteError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut change = Change::new();
        let mut delta = 0;
        for (key, row) in rows {
            let Some(held) = self.store().get(table, key)? else { continue };
            if Row::of(&held.value).as_ref() != Some(row) {
                continue;
            }
            change.expect(table, key.clone(), held.sequence);
            change.op(Op::Delete { table, key: key.clone() });
            delta -= signed(row.charge);
        }
        change.op(Op::Add { table, key: TOTAL.to_vec(), delta, at_most: None });
        change.commit(self).await?;
        Ok(())
    }

    fn rows(
        &self,
        table: Table,
    ) -> Result<impl Iterator<Item = Result<(Vec<u8>, Row), ReadError>>, ReadError> {
        let rows = self.store().scan(table, vec![0, 0]..);
        Ok(rows.filter_map(|item| match item {
            Ok((key, entry)) => Row::of(&entry.value).map(|row| Ok((key, row))),
            Err(error) => Some(Err(error.into())),
        }))
    }
}

/// What a row says: what it counts for, and until when it stands or when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    charge: u64,
    time_ms: u64,
}

impl Row {
    fn of(value: &[u8]) -> Option<Row> {
        let (charge, time_ms) = value.split_first_chunk::<8>()?;
        Some(Row {
            charge: u64::from_le_bytes(*charge),
            time_ms: u64::from_le_bytes(time_ms.try_into().ok()?),
        })
    }

    fn bytes(self) -> Bytes {
        [self.charge.to_le_bytes(), self.time_ms.to_le_bytes()].concat().into()
    }
}

fn lease_key(id: &BlockId, lessee: &Lessee) -> Vec<u8> {
    [id.as_bytes().as_slice(), lessee].concat()
}

fn signed(charge: u64) -> i64 {
    i64::try_from(charge).unwrap_or(i64::MAX)
}
