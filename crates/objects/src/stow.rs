//! One body on its way in: chunked, hashed, deduplicated, compressed and sealed in pieces, so that memory does not grow with the object.
//!
//! Nothing is visible before a commit refers to the blocks; a body that is dropped half-way, or whose node dies, leaves blocks that nothing
//! refers to, which collection removes.

mod make;
mod pieces;
#[cfg(test)]
mod tests;

use crate::{
    Objects,
    address::Address,
    author::Author,
    crypto::RunningSha256,
    error::{StorageError, WriteError},
    manifest::{Builder, Extent, Manifest, NewPage},
    read_key::Convergence,
    recent::Recent,
    seal::{self, BlockKey},
    similar::Near,
};
use bytes::Bytes;
use jsfs_store::{BlockId, NewBlock, Pin, block, buffers::BLOCKS, chunk::Chunker};
use make::Maker;
use pieces::{Piece, Working};
pub(crate) use pieces::{places, rest};
use std::{collections::HashSet, sync::Arc};

/// A body no longer than this is worked on where it arrived: handing it to a thread would cost more.
const INLINE_BYTES: usize = 64 << 10;

/// Half of the chunks of this body that are remembered. The index learns of them when they are durable, some 20 MB later.
const REMEMBERED_HALF: usize = 4_096;

/// Blocks that are noted as needed, so that they are named once.
const NOTED_BLOCKS: usize = 65_536;

/// zstd's level: the trials found higher ones not worth their time.
const COMPRESSION_LEVEL: i32 = 3;

/// Blocks of so many bytes are made in buffers that are used again.
const POOLED_BYTES: usize = 64 << 10;

/// What a sealed block has beside its plaintext: headers and the authentication tag.
const SEALED_EXTRA_BYTES: usize = 32;

/// Blocks whose ids and sizes are told to the writer.
const BLOCKS_TOLD: usize = 1_024;

/// What became of a body.
pub(crate) struct Stowed {
    pub(crate) size: u64,
    pub(crate) sha256: [u8; 32],
    pub(crate) manifest: Manifest,
    pub(crate) blocks: Blocks,
    /// The body itself, where it is short.
    pub(crate) small: Option<Bytes>,
}

/// The blocks that a version needs, and those of them that are not in the store yet.
#[derive(Clone, Default)]
pub(crate) struct Blocks {
    /// To go into the commit.
    pub(crate) fresh: Vec<NewBlock>,
    /// Every block, in order of appearance.
    pub(crate) needs: Vec<BlockId>,
    pub(crate) pins: Vec<Pin>,
    /// Full list blocks, of what comes before all of `needs`.
    pub(crate) lists: Vec<BlockId>,
    /// Those of `needs` that are remembered, so that they come once: what bytes lie in, and bases of deltas.
    pub(crate) noted: [HashSet<BlockId>; 2],
    /// Ids and plaintext sizes of the first of them.
    pub(crate) told: Vec<(BlockId, u64)>,
}

/// A body so far, to be put away: what is chunked is in the manifest, what is not in the tail.
pub(crate) struct Pause {
    pub(crate) size: u64,
    pub(crate) sha256: Vec<u8>,
    pub(crate) manifest: Manifest,
    pub(crate) tail: Option<Tail>,
    /// Those of the whole body, and last those that only this pause needs.
    pub(crate) blocks: Blocks,
}

/// The bytes after the last chunk, in a block of their own: so a body is cut into the same chunks however often it is put away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) block: BlockId,
    pub(crate) key: Option<BlockKey>,
}

/// How the blocks of one body are made.
#[derive(Clone)]
pub(crate) enum Sealing {
    Public,
    Private(Arc<Convergence>),
}

impl Sealing {
    /// None where the author holds no read key to seal with.
    pub(crate) fn of(author: &Author, private: bool) -> Option<Sealing> {
        if !private {
            return Some(Sealing::Public);
        }
        author.opener.as_ref()?.convergence().map(|convergence| Sealing::Private(Arc::new(convergence)))
    }
}

/// A body being stowed. Dropping it ends the work.
pub(crate) struct Stowing {
    gathered: Piece,
    line: Line,
}

/// Where the pieces of a body go.
enum Line {
    Idle(Box<Worker>),
    Working(Working),
    /// A piece could not be stowed.
    Ended,
}

impl Stowing {
    pub(crate) fn new(objects: &Objects, address: &Address, sealing: Sealing) -> Self {
        Stowing::of(Worker::new(objects, address, sealing))
    }

    /// A body that goes on with what a worker has.
    pub(crate) fn of(worker: Worker) -> Self {
        Stowing { gathered: Piece::default(), line: Line::Idle(Box::new(worker)) }
    }

    /// Takes the next bytes; waits while as many pieces are being worked on as may be.
    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            self.gathered.take(&mut bytes);
            if self.gathered.is_full() {
                self.hand_over().await?;
            }
        }
        Ok(())
    }

    async fn hand_over(&mut self) -> Result<(), WriteError> {
        if matches!(self.line, Line::Idle(_)) {
            self.line = Line::Working(Working::begin(self.settled().await?));
        }
        let Line::Working(working) = &self.line else { return Err(StorageError::Stopping.into()) };
        let place = working.place().await.map_err(|_| StorageError::Stopping)?;
        let piece = std::mem::replace(&mut self.gathered, Piece::next());
        if !working.hand_over(piece, place) {
            return Err(self.settled().await.err().unwrap_or(StorageError::Stopping.into()));
        }
        Ok(())
    }

    /// The worker, when all that it was given is in the store.
    async fn settled(&mut self) -> Result<Box<Worker>, WriteError> {
        match std::mem::replace(&mut self.line, Line::Ended) {
            Line::Idle(worker) => Ok(worker),
            Line::Working(working) => working.end().await,
            Line::Ended => Err(StorageError::Stopping.into()),
        }
    }

    /// Works on all that came so far and gives what is needed to go on from here later. The body may go on at once as well.
    pub(crate) async fn pause(&mut self) -> Result<Pause, WriteError> {
        let mut worker = self.settled().await?;
        let rest = std::mem::take(&mut self.gathered).into_bytes();
        let work = tokio::task::spawn_blocking(move || -> Result<_, WriteError> {
            worker.take(&rest)?;
            let pause = worker.pause()?;
            Ok((worker, pause))
        });
        let (worker, pause) = work.await.map_err(stopping)??;
        self.line = Line::Idle(worker);
        Ok(pause)
    }

    /// The end of the body.
    pub(crate) async fn finish(mut self) -> Result<Stowed, WriteError> {
        let mut worker = self.settled().await?;
        let rest = self.gathered.into_bytes();
        let inline = worker.size == 0 && rest.len() <= INLINE_BYTES;
        let finish = move || {
            worker.take(&rest)?;
            worker.finish(inline.then_some(rest))
        };
        if inline { finish() } else { tokio::task::spawn_blocking(finish).await.map_err(stopping)? }
    }
}

fn stopping(_: tokio::task::JoinError) -> WriteError {
    StorageError::Stopping.into()
}

/// Chunks, looks up and notes, on whichever thread it is moved to.
pub(crate) struct Worker {
    /// Encodes and seals.
    maker: Arc<Maker>,
    /// The namespace of the object.
    namespace: String,
    chunker: Chunker,
    sha256: RunningSha256,
    size: u64,
    manifest: Builder,
    seen: Recent<Extent>,
    /// Chunks whose blocks are being made.
    coming: HashSet<[u8; 32]>,
    blocks: Blocks,
}

impl Worker {
    pub(crate) fn new(objects: &Objects, address: &Address, sealing: Sealing) -> Self {
        let near = match &sealing {
            Sealing::Public => Near::new(address, None),
            Sealing::Private(convergence) => Near::new(address, Some(convergence)),
        };
        Worker {
            maker: Arc::new(Maker::new(objects, sealing, near)),
            namespace: address.namespace().to_owned(),
            chunker: objects.store().chunker(),
            sha256: RunningSha256::whole(),
            size: 0,
            manifest: Builder::new(),
            seen: Recent::new(REMEMBERED_HALF),
            coming: HashSet::new(),
            blocks: Blocks::default(),
        }
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), WriteError> {
        self.sha256.update(piece);
        self.cut(piece)
    }

    /// All but the hash of the whole.
    fn cut(&mut self, piece: &[u8]) -> Result<(), WriteError> {
        self.size += piece.len() as u64;
        let chunks = self.chunker.push(piece);
        self.place(chunks)
    }

    fn finish(mut self, small: Option<Bytes>) -> Result<Stowed, WriteError> {
        let chunker = std::mem::replace(&mut self.chunker, self.maker.objects.store().chunker());
        self.place(chunker.finish())?;
        let sha256 = self.sha256.finish();
        let size = self.size;
        let (manifest, blocks) = self.end()?;
        Ok(Stowed { size, sha256, manifest, blocks, small })
    }

    /// Continues a manifest, for an append.
    pub(crate) fn resume(objects: &Objects, address: &Address, sealing: Sealing, manifest: Builder) -> Self {
        Worker { manifest, ..Worker::new(objects, address, sealing) }
    }

    /// Takes up a body that was put away: its hash, its manifest, the blocks of both, and the bytes after the last chunk.
    pub(crate) fn take_up(
        self,
        sha256: RunningSha256,
        manifest: Builder,
        blocks: Blocks,
        tail: &[u8],
    ) -> Result<Self, WriteError> {
        let size = manifest.length() + tail.len() as u64;
        let mut worker = Worker { sha256, size, manifest, blocks, ..self };
        let chunks = worker.chunker.push(tail);
        worker.place(chunks)?;
        Ok(worker)
    }

    fn pause(&mut self) -> Result<Pause, WriteError> {
        self.blocks.fold()?;
        let Worker { maker, manifest, blocks, .. } = self;
        let Maker { objects, sealing, .. } = &**maker;
        let mut edge = Blocks::default();
        let manifest = manifest.clone().finish(&mut |page| store_page(objects, sealing, &page, &mut edge))?;
        let tail = match self.chunker.held() {
            [] => None,
            held => Some(store_tail(objects, sealing, held, &mut edge)?),
        };
        let paused = Blocks {
            fresh: std::mem::take(&mut blocks.fresh).into_iter().chain(edge.fresh).collect(),
            needs: blocks.needs.iter().copied().chain(edge.needs).collect(),
            pins: std::mem::take(&mut blocks.pins),
            lists: blocks.lists.clone(),
            ..Blocks::default()
        };
        Ok(Pause { size: self.size, sha256: self.sha256.state(), manifest, tail, blocks: paused })
    }

    /// Adds an extent whose block is already there.
    pub(crate) fn adopt(&mut self, extent: Extent) -> Result<(), WriteError> {
        let Worker { maker, manifest, blocks, .. } = self;
        manifest.push(extent, &mut |page| store_page(&maker.objects, &maker.sealing, &page, blocks))
    }

    /// Takes over the blocks that adopted extents lie in.
    pub(crate) fn share(&mut self, stowed: &Blocks) {
        self.blocks.fresh.extend(stowed.fresh.iter().cloned());
        self.blocks.needs.extend(stowed.needs.iter().copied());
        self.blocks.pins.extend(stowed.pins.iter().cloned());
        self.blocks.lists.extend(stowed.lists.iter().copied());
    }

    /// Stores the pages that are left and gives the root.
    pub(crate) fn end(self) -> Result<(Manifest, Blocks), WriteError> {
        let Worker { maker, manifest, mut blocks, .. } = self;
        let Maker { objects, sealing, .. } = &*maker;
        let root = manifest.finish(&mut |page| store_page(objects, sealing, &page, &mut blocks))?;
        Ok((root, blocks))
    }
}

impl Blocks {
    /// Makes full list blocks of what is needed, so that what is put away does not grow with the body.
    fn fold(&mut self) -> Result<(), WriteError> {
        while self.needs.len() >= block::LIST_MAX {
            let listed: Vec<BlockId> = self.needs.drain(..block::LIST_MAX).collect();
            let bytes = block::encode_list(0, &listed).map_err(unfit)?;
            let list = NewBlock::new(bytes, Vec::new());
            self.lists.push(list.id);
            self.fresh.push(list);
        }
        Ok(())
    }

    /// A block that the bytes lie in, and so many of them.
    fn note(&mut self, id: BlockId, size: u64) {
        if self.need(id, 0) && self.told.len() < BLOCKS_TOLD {
            self.told.push((id, size));
        }
    }

    /// The base of a delta. One that bytes lie in as well comes twice, so that an append which replaces those bytes can tell.
    fn note_base(&mut self, id: BlockId) {
        self.need(id, 1);
    }

    /// Whether it is the first time.
    fn need(&mut self, id: BlockId, as_base: usize) -> bool {
        let noted = &mut self.noted[as_base];
        // Forgetting them costs ids that stand there once more.
        if noted.len() >= NOTED_BLOCKS {
            noted.clear();
        }
        let is_first = noted.insert(id);
        if is_first {
            self.needs.push(id);
        }
        is_first
    }
}

/// Compresses, and seals under a fresh key where the data is private.
fn encode_block(
    objects: &Objects,
    sealing: &Sealing,
    plain: &[u8],
) -> Result<(Bytes, Option<BlockKey>), WriteError> {
    let is_large = plain.len() >= POOLED_BYTES;
    let mut stored =
        if is_large { BLOCKS.take() } else { Vec::with_capacity(plain.len() + SEALED_EXTRA_BYTES) };
    let key = match sealing {
        Sealing::Public => {
            stored.extend_from_slice(&block::header(block::Kind::Clear));
            block::encode_body_into(plain, COMPRESSION_LEVEL, &mut stored).map_err(unfit)?;
            None
        }
        Sealing::Private(_) => {
            let key = BlockKey::generate(objects.random());
            stored.extend_from_slice(&block::header(block::Kind::Sealed));
            block::encode_body_into(plain, COMPRESSION_LEVEL, &mut stored).map_err(unfit)?;
            seal::seal_block_in_place(&key, &mut stored);
            Some(key)
        }
    };
    Ok((if is_large { BLOCKS.lend(stored).into() } else { stored.into() }, key))
}

fn unfit(error: block::BlockError) -> WriteError {
    StorageError::Write(error.to_string()).into()
}

/// Stores bytes that are no chunk yet.
fn store_tail(
    objects: &Objects,
    sealing: &Sealing,
    bytes: &[u8],
    blocks: &mut Blocks,
) -> Result<Tail, WriteError> {
    let (bytes, key) = encode_block(objects, sealing, bytes)?;
    let block = BlockId::of(&bytes);
    blocks.fresh.push(NewBlock { id: block, bytes, tags: Vec::new() });
    blocks.needs.push(block);
    Ok(Tail { block, key })
}

/// Stores one page of a manifest.
fn store_page(
    objects: &Objects,
    sealing: &Sealing,
    page: &NewPage,
    blocks: &mut Blocks,
) -> Result<(BlockId, Option<BlockKey>), WriteError> {
    let (bytes, key) = encode_block(objects, sealing, &page.bytes)?;
    let id = BlockId::of(&bytes);
    blocks.fresh.push(NewBlock { id, bytes, tags: Vec::new() });
    blocks.needs.push(id);
    Ok((id, key))
}
