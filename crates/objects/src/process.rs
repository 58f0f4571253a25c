//! What is kept of processes: their records, their images, what they wrote, what was sent to them and not taken yet.
//!
//! A process is a row, the blocks that its image is in, and rows beside it; all of it sealed under keys that only this node has. One keeper at a time
//! changes a process, so nothing here is conditional. A checkpoint is one commit: record, image, output and the inputs that were taken change
//! together or not at all. Blocks of an image are sealed under keys that derive from the process and their content, so what did not change since
//! the last checkpoint is neither written nor kept twice.

use crate::{
    Objects,
    crypto::{self, Secret},
    error::{ReadError, StorageError, WriteError},
    read,
    seal::{BlockKey, open_block, seal_block, seal_block_in_place},
    tables::{self, prefix_range},
};
use bytes::Bytes;
use jsfs_store::{BlockId, Commit, NewBlock, Op, REFERENCES_MAX, block};
use std::{collections::HashSet, fmt};

/// Bytes of one piece of an image, at most.
pub const PIECE_MAX: usize = block::PLAINTEXT_MAX;
/// Bytes of output that one row holds.
const OUTPUT_ROW_MAX: usize = 256 << 10;
/// Bytes of blocks that are handed to the store at once, ahead of the commit that refers to them.
const BATCH_BYTES: usize = 8 << 20;

const FORMAT: u8 = 1;
const SALT_BYTES: usize = 32;
const ROW_LABEL: &str = "jsfs process row 1";
const BLOCK_LABEL: &str = "jsfs process block 1";

/// The name of a process: 128 random bits, displayed as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub [u8; 16]);

impl fmt::Display for ProcessId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// What changes of a process, in one commit.
#[derive(Clone, Debug, Default)]
pub struct ProcessChange {
    /// What it is now. Opaque here.
    pub record: Vec<u8>,
    /// Its state, in pieces that are compared with those before; none leaves them as they are.
    pub pieces: Option<Vec<Bytes>>,
    /// More output, and how much was there before it.
    pub output: Option<(u64, Bytes)>,
    /// Output before this byte is not kept any longer; with the greatest number none of it is.
    pub output_from: Option<u64>,
    /// An input.
    pub input: Option<(u64, Bytes)>,
    /// The inputs up to this number were taken.
    pub inputs_to: Option<u64>,
    /// Calls whose markers nobody needs any longer.
    pub settled: Vec<u32>,
    /// Takes all markers away.
    pub unmarks: bool,
    /// Takes markers and inputs away: nothing comes after this.
    pub ends: bool,
}

/// The row of a process before it is sealed.
struct Row {
    record: Vec<u8>,
    pieces: Vec<[u8; 32]>,
}

impl Objects {
    /// A fresh name.
    pub fn new_process_id(&self) -> ProcessId {
        ProcessId(self.random().bytes())
    }

    /// The records of all processes.
    ///
    /// # Errors
    /// When the store cannot be read. A row that does not open is left out and logged.
    pub fn processes(&self) -> Result<Vec<(ProcessId, Vec<u8>)>, ReadError> {
        let mut found = Vec::new();
        for item in self.store().scan(tables::PROCESS, ..) {
            let (key, entry) = item?;
            let Ok(id) = <[u8; 16]>::try_from(&key[..]) else { continue };
            match self.row(&key, &entry.value) {
                Ok(row) => found.push((ProcessId(id), row.record)),
                Err(error) => tracing::error!(process = %ProcessId(id), %error, "a process cannot be read"),
            }
        }
        Ok(found)
    }

    /// Changes a process, or makes it.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn keep_process(&self, id: ProcessId, change: ProcessChange) -> Result<(), WriteError> {
        let ProcessChange { record, pieces, output, output_from, input, inputs_to, settled, unmarks, ends } =
            change;
        let key = id.0.to_vec();
        let before = self.store().get(tables::PROCESS, &key).map_err(StorageError::from)?;
        let (before, references) = match before {
            Some(entry) => (Some(self.row(&key, &entry.value)?), entry.references),
            None => (None, Vec::new()),
        };
        let mut commit = Commit::default();
        let (pieces, references) = match pieces {
            None => (before.map(|row| row.pieces).unwrap_or_default(), references),
            Some(pieces) => self.put_pieces(id, pieces, &references, &mut commit).await?,
        };
        let clear = encode(&Row { record, pieces })?;
        let value = self.seal_process_row(&key, &clear).into();
        commit.ops.push(Op::Put { table: tables::PROCESS, key, value, references });
        if let Some((mut at, bytes)) = output {
            for piece in bytes.chunks(OUTPUT_ROW_MAX) {
                let key = numbered(id, at);
                let value = self.seal_process_row(&key, piece).into();
                commit.ops.push(Op::Put {
                    table: tables::PROCESS_OUTPUT,
                    key,
                    value,
                    references: Vec::new(),
                });
                at += piece.len() as u64;
            }
        }
        if let Some(from) = output_from {
            self.drop_output(id, from, &mut commit)?;
        }
        if let Some((number, input)) = input {
            commit.ops.push(self.input_row(id, number, &input));
        }
        if let Some(to) = inputs_to {
            let range = numbered(id, 0)..numbered(id, to.saturating_add(1));
            self.drop_rows(tables::PROCESS_INPUT, range, &mut commit)?;
        }
        for call in settled {
            self.drop_rows(tables::PROCESS_MARK, prefix_range(call_prefix(id, call)), &mut commit)?;
        }
        if unmarks || ends {
            self.drop_rows(tables::PROCESS_MARK, prefix_range(id.0.to_vec()), &mut commit)?;
        }
        if ends {
            self.drop_rows(tables::PROCESS_INPUT, prefix_range(id.0.to_vec()), &mut commit)?;
        }
        self.store().commit(commit).await?;
        Ok(())
    }

    /// Makes blocks of the pieces that are new. Those of which the row before speaks are there.
    async fn put_pieces(
        &self,
        id: ProcessId,
        pieces: Vec<Bytes>,
        before: &[BlockId],
        commit: &mut Commit,
    ) -> Result<(Vec<[u8; 32]>, Vec<BlockId>), WriteError> {
        let known: HashSet<BlockId> = before.iter().copied().collect();
        let objects = self.clone();
        let made = tokio::task::spawn_blocking(move || {
            let mut known = known;
            let (mut hashes, mut ids, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
            for piece in &pieces {
                let hash = *blake3::hash(piece).as_bytes();
                let block = objects.process_block(id, &hash, piece)?;
                hashes.push(hash);
                ids.push(block.id);
                if known.insert(block.id) {
                    fresh.push(block);
                }
            }
            Ok::<_, WriteError>((hashes, ids, fresh))
        });
        let (hashes, ids, fresh) = made.await.map_err(|_| StorageError::Stopping)??;
        if ids.len() > REFERENCES_MAX {
            let what =
                format!("the state of a process takes {} blocks; {REFERENCES_MAX} is the most", ids.len());
            return Err(WriteError::TooLarge { what });
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        for block in fresh {
            if bytes + block.bytes.len() > BATCH_BYTES {
                commit.pins.extend(self.store().append(std::mem::take(&mut batch)).await?);
                bytes = 0;
            }
            bytes += block.bytes.len();
            batch.push(block);
        }
        commit.blocks = batch;
        Ok((hashes, ids))
    }

    fn process_block(&self, id: ProcessId, hash: &[u8; 32], piece: &[u8]) -> Result<NewBlock, WriteError> {
        let mut stored = Vec::with_capacity(piece.len() + 64);
        stored.extend_from_slice(&block::header(block::Kind::Sealed));
        block::encode_body_into(piece, block::LEVEL, &mut stored)
            .map_err(|error| StorageError::Write(error.to_string()))?;
        seal_block_in_place(&self.process_block_key(id, hash), &mut stored);
        Ok(NewBlock::new(stored.into(), Vec::new()))
    }

    /// The state that the process was put away in.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn process_pieces(&self, id: ProcessId) -> Result<Vec<Bytes>, ReadError> {
        let key = id.0.to_vec();
        let Some(entry) = self.store().get(tables::PROCESS, &key)? else { return Ok(Vec::new()) };
        let row = self.row(&key, &entry.value)?;
        let objects = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut pieces = Vec::with_capacity(row.pieces.len());
            for (hash, block) in row.pieces.iter().zip(&entry.references) {
                let stored = objects.store().block(block)?;
                pieces.push(read::decode(&stored, Some(&objects.process_block_key(id, hash)))?);
            }
            Ok(pieces)
        });
        read.await.map_err(|_| StorageError::Stopping)?
    }

    /// Output from a byte on, as far as one row holds it, and where it begins: later than asked where the beginning is not kept any longer.
    ///
    /// # Errors
    /// When the store cannot be read, or what is there does not open.
    pub fn process_output(&self, id: ProcessId, from: u64) -> Result<Option<(u64, Bytes)>, ReadError> {
        let first = numbered(id, 0);
        let before = self.store().scan(tables::PROCESS_OUTPUT, first..numbered(id, from)).next_back();
        if let Some(item) = before {
            let (at, bytes) = self.output_row(item?)?;
            let skip = usize::try_from(from - at).unwrap_or(usize::MAX);
            if skip < bytes.len() {
                return Ok(Some((from, bytes.slice(skip..))));
            }
        }
        let end = prefix_range(id.0.to_vec()).end;
        let next = self.store().scan(tables::PROCESS_OUTPUT, numbered(id, from)..end).next();
        next.map(|item| self.output_row(item?)).transpose()
    }

    fn output_row(&self, (key, entry): (Vec<u8>, jsfs_store::Entry)) -> Result<(u64, Bytes), ReadError> {
        let bytes = self.open_process_row(&key, &entry.value)?;
        Ok((number_of(&key), bytes.into()))
    }

    /// The inputs that were not taken yet, in order.
    ///
    /// # Errors
    /// When the store cannot be read, or what is there does not open.
    pub fn process_inputs(&self, id: ProcessId) -> Result<Vec<(u64, Bytes)>, ReadError> {
        let mut inputs = Vec::new();
        for item in self.store().scan(tables::PROCESS_INPUT, prefix_range(id.0.to_vec())) {
            let (key, entry) = item?;
            inputs.push((number_of(&key), self.open_process_row(&key, &entry.value)?.into()));
        }
        Ok(inputs)
    }

    /// Keeps an input until it is taken.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn add_process_input(
        &self,
        id: ProcessId,
        number: u64,
        input: &[u8],
    ) -> Result<(), WriteError> {
        let op = self.input_row(id, number, input);
        self.store().commit(Commit { ops: vec![op], ..Commit::default() }).await?;
        Ok(())
    }

    fn input_row(&self, id: ProcessId, number: u64, input: &[u8]) -> Op {
        let key = numbered(id, number);
        let value = self.seal_process_row(&key, input).into();
        Op::Put { table: tables::PROCESS_INPUT, key, value, references: Vec::new() }
    }

    /// Forgets a process and everything about it.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn forget_process(&self, id: ProcessId) -> Result<(), WriteError> {
        let mut commit = Commit::default();
        for table in [tables::PROCESS, tables::PROCESS_MARK, tables::PROCESS_OUTPUT, tables::PROCESS_INPUT] {
            self.drop_rows(table, prefix_range(id.0.to_vec()), &mut commit)?;
        }
        if !commit.ops.is_empty() {
            self.store().commit(commit).await?;
        }
        Ok(())
    }

    /// Drops the rows of output that end before a byte.
    fn drop_output(&self, id: ProcessId, from: u64, commit: &mut Commit) -> Result<(), WriteError> {
        if from == u64::MAX {
            return self.drop_rows(tables::PROCESS_OUTPUT, prefix_range(id.0.to_vec()), commit);
        }
        let mut before: Option<Vec<u8>> = None;
        for item in self.store().scan(tables::PROCESS_OUTPUT, numbered(id, 0)..numbered(id, from + 1)) {
            let (key, _) = item.map_err(StorageError::from)?;
            if let Some(key) = before.replace(key) {
                commit.ops.push(Op::Delete { table: tables::PROCESS_OUTPUT, key });
            }
        }
        Ok(())
    }

    fn drop_rows(
        &self,
        table: jsfs_store::Table,
        range: std::ops::Range<Vec<u8>>,
        commit: &mut Commit,
    ) -> Result<(), WriteError> {
        for item in self.store().scan(table, range) {
            let (key, _) = item.map_err(StorageError::from)?;
            commit.ops.push(Op::Delete { table, key });
        }
        Ok(())
    }

    fn row(&self, key: &[u8], value: &[u8]) -> Result<Row, StorageError> {
        let clear = self.open_process_row(key, value)?;
        decode(&clear).ok_or_else(damaged)
    }

    /// Seals a row. Each has a salt of its own, because such a key seals once.
    pub(crate) fn seal_process_row(&self, key: &[u8], clear: &[u8]) -> Vec<u8> {
        let salt: [u8; SALT_BYTES] = self.random().bytes();
        let mut value = vec![FORMAT];
        value.extend_from_slice(&salt);
        value.extend_from_slice(&seal_block(&self.process_row_key(key, &salt), clear));
        value
    }

    pub(crate) fn open_process_row(&self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, StorageError> {
        let (salt, sealed) = match value.split_first() {
            Some((&FORMAT, rest)) => rest.split_first_chunk::<SALT_BYTES>().ok_or_else(damaged)?,
            _ => return Err(damaged()),
        };
        open_block(&self.process_row_key(key, salt), sealed).map_err(|_| damaged())
    }

    /// Bound to the row's place, so that no row passes for another.
    fn process_row_key(&self, key: &[u8], salt: &[u8; SALT_BYTES]) -> BlockKey {
        let node = Secret::new(*self.node_key().expose_secret());
        BlockKey(node.hkdf(&crypto::sha256(&[salt, key]), ROW_LABEL))
    }

    /// The key of a block of an image: another for each process and each content, so that it seals one thing only.
    fn process_block_key(&self, id: ProcessId, hash: &[u8; 32]) -> BlockKey {
        let node = Secret::new(*self.node_key().expose_secret());
        BlockKey(node.hkdf(&crypto::sha256(&[&id.0, hash]), BLOCK_LABEL))
    }
}

fn damaged() -> StorageError {
    StorageError::Write("what is kept of a process does not open; stop the process".to_owned())
}

/// The row's own form: the record's length, the record, and the hashes of the pieces.
fn encode(row: &Row) -> Result<Vec<u8>, StorageError> {
    let length =
        u32::try_from(row.record.len()).map_err(|_| StorageError::Write("a record is too long".into()))?;
    let mut out = Vec::with_capacity(4 + row.record.len() + 32 * row.pieces.len());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&row.record);
    row.pieces.iter().for_each(|hash| out.extend_from_slice(hash));
    Ok(out)
}

fn decode(bytes: &[u8]) -> Option<Row> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (record, hashes) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let (hashes, more) = hashes.as_chunks::<32>();
    more.is_empty().then(|| Row { record: record.to_vec(), pieces: hashes.to_vec() })
}

/// The key of one of a process's rows, in the order of their numbers.
fn numbered(id: ProcessId, number: u64) -> Vec<u8> {
    [&id.0[..], &number.to_be_bytes()].concat()
}

fn number_of(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |number| u64::from_be_bytes(*number))
}

/// What the markers of one call begin with.
pub(crate) fn call_prefix(id: ProcessId, call: u32) -> Vec<u8> {
    [&id.0[..], &call.to_be_bytes()].concat()
}
