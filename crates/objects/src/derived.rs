//! What can be computed again from content: compiled modules, images of prepared programs, results of map and reduce.
//!
//! It is kept by what it was computed from, and every answer but the bytes that were kept is "not here": whoever asks computes it again. A value lies under
//! a hash of its kind and key, sealed under a key that takes the node's secret and the caller's key. So a caller that puts secrets into the key (the keys of
//! the private blocks that a result rests on) keeps the value from everybody who does not have them, whoever has the disk and the node's key included.
//!
//! Small values stand in their row, larger ones in blocks that it refers to. All together are bounded; the least lately used go first. When something was
//! used is noted in memory and written with sweeps and trims, not with each read.

use crate::{
    Objects,
    commit::Change,
    crypto::{self, Secret},
    error::{ReadError, StorageError, WriteError},
    seal::{self, BlockKey},
    tables,
};
use bytes::Bytes;
use jsfs_store::{BlockId, Entry, NewBlock, Op, Pin, block};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, PoisonError},
};

/// The largest value that is kept.
pub const DERIVED_MAX: usize = 512 << 20;

/// Values up to this many bytes stand in their row.
const INLINE_MAX: usize = 2 << 10;
/// What a value counts as at least: its rows, and the work of looking through them.
const CHARGE_MIN: u64 = 4 << 10;
/// Plain bytes that are sealed and handed to the store at a time.
const BATCH_BYTES: usize = 8 << 20;
/// Rows changed in one commit.
const STEP: usize = 256;
/// Uses that are remembered until they are written; later ones are forgotten.
const USES_MAX: usize = 16_384;
/// A use is written only if the one written before is as old as this.
const USE_COARSE_MS: u64 = 3_600_000;

const FORMAT: u8 = 1;
const SALT_BYTES: usize = 32;
const LABEL: &str = "jsfs derived 1";
/// The key of the number of bytes in all. Keys of values are longer and begin with their kind.
const TOTAL: &[u8] = &[0];

const INLINE: u8 = 0;
const IN_BLOCKS: u8 = 1;
const PIECE_BYTES: usize = 64;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derived {
    /// A module compiled for this engine and machine.
    Compiled,
    /// The memory of a program after it was loaded.
    Image,
    /// What a function made of a part of its input.
    Result,
}

impl Derived {
    const fn number(self) -> u8 {
        match self {
            Derived::Compiled => 1,
            Derived::Image => 2,
            Derived::Result => 3,
        }
    }
}

/// What is remembered of values between writes.
#[derive(Default)]
pub(crate) struct Uses {
    /// Values used since uses were written last.
    noted: Mutex<HashSet<RowKey>>,
    /// One trim at a time.
    trimming: tokio::sync::Mutex<()>,
}

/// The key of both rows of a value.
type RowKey = [u8; 33];

/// The row that says how much a value takes and when it was used.
struct Use {
    key: RowKey,
    charge: u64,
    used_ms: u64,
    sequence: u64,
}

/// A block that holds a piece of a value.
struct Piece {
    block: BlockId,
    key: BlockKey,
}

/// A value as its row describes it.
enum Body {
    Inline(Bytes),
    Blocks { size: usize, pieces: Vec<Piece> },
}

impl Objects {
    /// The value that was kept under this key; none if there is none, or if it is damaged.
    pub async fn derived(&self, kind: Derived, key: &[u8; 32]) -> Option<Bytes> {
        let row_key = row_key(kind, key);
        match self.open_derived(kind, key, &row_key).await {
            Ok(Some(bytes)) => {
                self.note_use(row_key);
                Some(bytes)
            }
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(?kind, %error, "a derived value does not open; it is computed again");
                self.forget_derived(kind, key).await;
                None
            }
        }
    }

    /// Keeps a value, instead of what was there. Where that fails it is as if it had been forgotten at once.
    pub async fn keep_derived(&self, kind: Derived, key: &[u8; 32], bytes: Bytes) {
        let bound = self.settings().derived_bytes;
        if bytes.len() > DERIVED_MAX || bytes.len() as u64 > bound / 2 {
            return;
        }
        match self.try_keep_derived(kind, key, bytes).await {
            Ok(()) if self.derived_total() > bound => {
                self.trim_derived(bound - bound / 8).await;
            }
            Ok(()) => {}
            Err(error) => tracing::warn!(?kind, %error, "a derived value could not be kept"),
        }
    }

    /// Forgets a value, if it is there.
    pub async fn forget_derived(&self, kind: Derived, key: &[u8; 32]) {
        let row_key = row_key(kind, key);
        let forgotten = match self.use_of(&row_key) {
            Ok(Some(known)) => self.forget_values(&[known]).await,
            Ok(None) => return,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = forgotten {
            tracing::warn!(?kind, %error, "a derived value could not be forgotten");
        }
    }

    /// Forgets the values that were used the longest ago, until the others count for at most so many bytes. Says how many went.
    pub async fn trim_derived(&self, at_most: u64) -> u64 {
        let Ok(_turn) = self.uses().trimming.try_lock() else { return 0 };
        self.try_trim_derived(at_most).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "derived values could not be trimmed");
            0
        })
    }

    /// What all values count for.
    #[must_use]
    pub fn derived_total(&self) -> u64 {
        let total = self.store().get(tables::DERIVED_USE, TOTAL);
        total.ok().flatten().map_or(0, |entry| tables::counter(&entry.value))
    }

    async fn open_derived(
        &self,
        kind: Derived,
        key: &[u8; 32],
        row_key: &RowKey,
    ) -> Result<Option<Bytes>, ReadError> {
        let Some(entry) = self.store().get(tables::DERIVED, row_key)? else { return Ok(None) };
        let Some(body) = self.open_row(kind, key, &entry) else {
            return Err(
                StorageError::Write("its row was sealed under another key, or is damaged".into()).into()
            );
        };
        let (size, pieces) = match body {
            Body::Inline(bytes) => return Ok(Some(bytes)),
            Body::Blocks { size, pieces } => (size, pieces),
        };
        let store = self.store().clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::with_capacity(size);
            for piece in pieces {
                bytes.extend_from_slice(&crate::read::decode(&store.block(&piece.block)?, Some(&piece.key))?);
            }
            Ok::<_, ReadError>(Bytes::from(bytes))
        });
        Ok(Some(read.await.map_err(|_| StorageError::Stopping)??).filter(|bytes| bytes.len() == size))
    }

    fn open_row(&self, kind: Derived, key: &[u8; 32], entry: &Entry) -> Option<Body> {
        let (&FORMAT, rest) = entry.value.split_first()? else { return None };
        let (salt, sealed) = rest.split_first_chunk::<SALT_BYTES>()?;
        let clear = seal::open_block(&self.derived_key(kind, key, salt), sealed).ok()?;
        match clear.split_first()? {
            (&INLINE, body) => block::decode_body(body).ok().map(Body::Inline),
            (&IN_BLOCKS, rest) => {
                let (size, pieces) = rest.split_first_chunk::<8>()?;
                let size =
                    usize::try_from(u64::from_le_bytes(*size)).ok().filter(|size| *size <= DERIVED_MAX)?;
                let (pieces, left) = pieces.as_chunks::<PIECE_BYTES>();
                left.is_empty().then(|| Body::Blocks { size, pieces: pieces.iter().map(Piece::of).collect() })
            }
            _ => None,
        }
    }

    async fn try_keep_derived(&self, kind: Derived, key: &[u8; 32], bytes: Bytes) -> Result<(), WriteError> {
        let row_key = row_key(kind, key);
        let before = self.use_of(&row_key)?;
        let mut clear = Vec::new();
        let mut charge = 0;
        let mut references = Vec::new();
        let mut pins: Vec<Pin> = Vec::new();
        if bytes.len() <= INLINE_MAX {
            clear.push(INLINE);
            block::encode_body_into(&bytes, block::LEVEL, &mut clear).map_err(unfit)?;
        } else {
            clear.push(IN_BLOCKS);
            clear.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            let mut rest = bytes;
            while !rest.is_empty() {
                let batch = rest.split_to(rest.len().min(BATCH_BYTES));
                let objects = self.clone();
                let sealed = tokio::task::spawn_blocking(move || objects.seal_pieces(&batch));
                let (pieces, fresh) = sealed.await.map_err(|_| StorageError::Stopping)??;
                charge += fresh.iter().map(|block| block.bytes.len() as u64).sum::<u64>();
                references.extend(pieces.iter().map(|piece| piece.block));
                pieces.iter().for_each(|piece| clear.extend_from_slice(&piece.bytes()));
                pins.extend(self.store().append(fresh).await?);
            }
        }
        let charge = charge.max(CHARGE_MIN);
        let salt: [u8; SALT_BYTES] = self.random().bytes();
        let mut value = vec![FORMAT];
        value.extend_from_slice(&salt);
        value.extend_from_slice(&seal::seal_block(&self.derived_key(kind, key, &salt), &clear));
        let used = Use { key: row_key, charge, used_ms: self.clock().now_ms(), sequence: 0 };
        let delta = signed(charge) - before.as_ref().map_or(0, |before| signed(before.charge));
        let mut change = Change::new();
        change.expect(tables::DERIVED_USE, row_key.to_vec(), before.map_or(0, |before| before.sequence));
        change.op(Op::Put { table: tables::DERIVED, key: row_key.to_vec(), value: value.into(), references });
        change.op(used.put());
        change.op(add(delta));
        change.carry(Vec::new(), pins);
        // Whoever was quicker with the same key has kept the same.
        change.commit(self).await?;
        Ok(())
    }

    fn seal_pieces(&self, bytes: &[u8]) -> Result<(Vec<Piece>, Vec<NewBlock>), WriteError> {
        let mut pieces = Vec::new();
        let mut fresh = Vec::new();
        for plain in bytes.chunks(block::PLAINTEXT_MAX) {
            let key = BlockKey::generate(self.random());
            let mut stored =
                Vec::with_capacity(plain.len() + seal::SEALED_BLOCK_OVERHEAD + block::BODY_HEADER);
            stored.extend_from_slice(&seal::SEALED_BLOCK_HEADER);
            block::encode_body_into(plain, block::LEVEL, &mut stored).map_err(unfit)?;
            seal::seal_block_in_place(&key, &mut stored);
            let block = NewBlock::new(stored.into(), Vec::new());
            pieces.push(Piece { block: block.id, key });
            fresh.push(block);
        }
        Ok((pieces, fresh))
    }

    /// The key of one row. Each has a salt of its own, because such a key seals once.
    fn derived_key(&self, kind: Derived, key: &[u8; 32], salt: &[u8; SALT_BYTES]) -> BlockKey {
        let node = Secret::new(*self.node_key().expose_secret());
        BlockKey(node.hkdf(&[salt.as_slice(), &[kind.number()], key].concat(), LABEL))
    }

    fn use_of(&self, key: &RowKey) -> Result<Option<Use>, ReadError> {
        let entry = self.store().get(tables::DERIVED_USE, key)?;
        Ok(entry.and_then(|entry| Use::of(key, &entry)))
    }

    fn note_use(&self, key: RowKey) {
        let mut noted = self.uses().noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < USES_MAX {
            noted.insert(key);
        }
    }

    /// Writes what was used since this was done last.
    pub(crate) async fn write_uses(&self) -> Result<(), WriteError> {
        let noted = std::mem::take(&mut *self.uses().noted.lock().unwrap_or_else(PoisonError::into_inner));
        let now_ms = self.clock().now_ms();
        let noted: Vec<RowKey> = noted.into_iter().collect();
        for keys in noted.chunks(STEP) {
            let mut change = Change::new();
            for key in keys {
                let Some(known) = self.use_of(key)? else { continue };
                if known.used_ms.saturating_add(USE_COARSE_MS) <= now_ms {
                    change.expect(tables::DERIVED_USE, key.to_vec(), known.sequence);
                    change.op(Use { used_ms: now_ms, ..known }.put());
                }
            }
            if change.len() > 0 {
                // What was kept anew or forgotten meanwhile takes its neighbours' uses with it: they are noted again with the next.
                change.commit(self).await?;
            }
        }
        Ok(())
    }

    async fn try_trim_derived(&self, at_most: u64) -> Result<u64, WriteError> {
        self.write_uses().await?;
        let mut total = self.derived_total();
        let objects = self.clone();
        let found = tokio::task::spawn_blocking(move || objects.values_by_use());
        let by_use = found.await.map_err(|_| StorageError::Stopping)??;
        let mut oldest = by_use.into_values();
        let mut forgotten = 0;
        while total > at_most {
            let mut step = Vec::new();
            while step.len() < STEP
                && total > at_most
                && let Some(known) = oldest.next()
            {
                total = total.saturating_sub(known.charge);
                step.push(known);
            }
            if step.is_empty() {
                break;
            }
            forgotten += self.forget_values(&step).await?;
        }
        Ok(forgotten)
    }

    /// All values, the least lately used first. There are at most as many as the bound has room for.
    fn values_by_use(&self) -> Result<BTreeMap<(u64, RowKey), Use>, ReadError> {
        let mut found = BTreeMap::new();
        for item in self.store().scan(tables::DERIVED_USE, vec![1]..) {
            let (key, entry) = item?;
            let known = <&RowKey>::try_from(key.as_slice()).ok().and_then(|key| Use::of(key, &entry));
            found.extend(known.map(|known| ((known.used_ms, known.key), known)));
        }
        Ok(found)
    }

    async fn forget_values(&self, values: &[Use]) -> Result<u64, WriteError> {
        let mut change = Change::new();
        for known in values {
            change.expect(tables::DERIVED_USE, known.key.to_vec(), known.sequence);
            for table in [tables::DERIVED, tables::DERIVED_USE] {
                change.op(Op::Delete { table, key: known.key.to_vec() });
            }
            change.op(add(-signed(known.charge)));
        }
        Ok(change.commit(self).await?.map_or(0, |_| values.len() as u64))
    }
}

impl Use {
    fn of(key: &RowKey, entry: &Entry) -> Option<Use> {
        let (charge, used_ms) = entry.value.split_first_chunk::<8>()?;
        Some(Use {
            key: *key,
            charge: u64::from_le_bytes(*charge),
            used_ms: u64::from_le_bytes(used_ms.try_into().ok()?),
            sequence: entry.sequence,
        })
    }

    fn put(&self) -> Op {
        let value = [self.charge.to_le_bytes(), self.used_ms.to_le_bytes()].concat().into();
        Op::Put { table: tables::DERIVED_USE, key: self.key.to_vec(), value, references: Vec::new() }
    }
}

impl Piece {
    fn of(bytes: &[u8; PIECE_BYTES]) -> Piece {
        let (mut block, mut key) = ([0; 32], [0; 32]);
        block.copy_from_slice(&bytes[..32]);
        key.copy_from_slice(&bytes[32..]);
        Piece { block: BlockId::from_bytes(block), key: BlockKey::from_bytes(key) }
    }

    fn bytes(&self) -> [u8; PIECE_BYTES] {
        let mut bytes = [0; PIECE_BYTES];
        bytes[..32].copy_from_slice(self.block.as_bytes());
        bytes[32..].copy_from_slice(self.key.expose());
        bytes
    }
}

/// Where a value lies: the key itself is not on the disk.
fn row_key(kind: Derived, key: &[u8; 32]) -> RowKey {
    let hash = crypto::blake3(&[LABEL.as_bytes(), &[kind.number()], key]);
    let mut row_key = [kind.number(); 33];
    row_key[1..].copy_from_slice(&hash);
    row_key
}

fn add(delta: i64) -> Op {
    Op::Add { table: tables::DERIVED_USE, key: TOTAL.to_vec(), delta, at_most: None }
}

fn signed(charge: u64) -> i64 {
    i64::try_from(charge).unwrap_or(i64::MAX)
}

fn unfit(error: block::BlockError) -> WriteError {
    StorageError::Write(error.to_string()).into()
}
