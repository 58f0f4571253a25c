//! One body on its way in: chunked, hashed, deduplicated, compressed and sealed in pieces, so that memory does not grow with the object.
//!
//! Nothing is visible before a commit refers to the blocks; a body that is dropped half-way, or whose node dies, leaves blocks that nothing
//! refers to, which collection removes.

mod make;

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
use bytes::{Bytes, BytesMut};
use jsfs_store::{BlockId, NewBlock, Pin, block, chunk::Chunker};
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};
use tokio::task::JoinHandle;

/// Pieces whose blocks are on their way to other nodes at once.
const PLACING_MAX: usize = 4;

/// Pieces whose blocks are on their way into the store at once: while it syncs, the next are made.
const APPENDING_MAX: usize = 4;

/// Bytes gathered before a piece goes to a worker thread.
const PIECE_BYTES: usize = 1 << 20;

/// A body no longer than this is worked on where it arrived: handing it to a thread would cost more.
const INLINE_BYTES: usize = 64 << 10;

/// Half of the chunks of this body that are remembered. The index learns of them when they are durable, some 20 MB later.
const REMEMBERED_HALF: usize = 4_096;

/// Blocks that are noted as needed, so that they are named once.
const NOTED_BLOCKS: usize = 65_536;

/// zstd's level: the trials found higher ones not worth their time.
const COMPRESSION_LEVEL: i32 = 3;

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

/// A body being stowed.
pub(crate) struct Stowing {
    objects: Objects,
    namespace: String,
    /// Blocks on their way to the other nodes that keep them, the oldest first.
    placing: VecDeque<JoinHandle<()>>,
    gathered: BytesMut,
    idle: Option<Box<Worker>>,
    working: Option<Working>,
    /// Blocks on their way into the store, the oldest first.
    appending: VecDeque<JoinHandle<Result<Vec<Pin>, WriteError>>>,
    pins: Vec<Pin>,
}

/// A piece that is worked on: hashed as a whole on one thread, cut and encoded on another.
struct Working {
    hashing: JoinHandle<RunningSha256>,
    cutting: JoinHandle<Result<Box<Worker>, WriteError>>,
}

impl Stowing {
    pub(crate) fn new(objects: &Objects, address: &Address, sealing: Sealing) -> Self {
        Stowing::of(objects, address, Worker::new(objects, address, sealing))
    }

    /// A body that goes on with what a worker has.
    pub(crate) fn of(objects: &Objects, address: &Address, worker: Worker) -> Self {
        Stowing {
            objects: objects.clone(),
            namespace: address.namespace().to_owned(),
            placing: VecDeque::new(),
            gathered: BytesMut::new(),
            idle: Some(Box::new(worker)),
            working: None,
            appending: VecDeque::new(),
            pins: Vec::new(),
        }
    }

    /// Takes the next bytes; waits while the piece before is still being worked on.
    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let room = PIECE_BYTES - self.gathered.len();
            self.gathered.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
            if self.gathered.len() == PIECE_BYTES {
                self.hand_over().await?;
            }
        }
        Ok(())
    }

    async fn hand_over(&mut self) -> Result<(), WriteError> {
        let mut worker = self.worker().await?;
        let fresh = std::mem::take(&mut worker.blocks.fresh);
        let piece = std::mem::replace(&mut self.gathered, BytesMut::with_capacity(PIECE_BYTES)).freeze();
        let (mut sha256, whole) =
            (std::mem::replace(&mut worker.sha256, RunningSha256::whole()), piece.clone());
        let hashing = tokio::task::spawn_blocking(move || {
            sha256.update(&whole);
            sha256
        });
        let cutting = tokio::task::spawn_blocking(move || {
            worker.cut(&piece)?;
            Ok(worker)
        });
        self.working = Some(Working { hashing, cutting });
        // While the next are made.
        self.append(fresh).await
    }

    /// Waits for the worker to be done with its piece.
    async fn worker(&mut self) -> Result<Box<Worker>, WriteError> {
        match (self.idle.take(), self.working.take()) {
            (Some(worker), _) => Ok(worker),
            (None, Some(Working { hashing, cutting })) => {
                let mut worker = cutting.await.map_err(stopping)??;
                worker.sha256 = hashing.await.map_err(stopping)?;
                Ok(worker)
            }
            (None, None) => Err(StorageError::Stopping.into()),
        }
    }

    /// Hands finished blocks to the store, which makes them durable with the commit at the latest.
    async fn append(&mut self, fresh: Vec<NewBlock>) -> Result<(), WriteError> {
        if fresh.is_empty() {
            return Ok(());
        }
        if self.objects.remote().is_some() {
            self.place(fresh.clone()).await;
        }
        if self.appending.len() >= APPENDING_MAX {
            self.appended().await?;
        }
        let store = self.objects.store().clone();
        let appending = async move { store.append(fresh).await.map_err(WriteError::from) };
        self.appending.push_back(self.objects.task(appending));
        Ok(())
    }

    /// Waits for the oldest that are on their way into the store.
    async fn appended(&mut self) -> Result<(), WriteError> {
        if let Some(oldest) = self.appending.pop_front() {
            self.pins.extend(oldest.await.map_err(stopping)??);
        }
        Ok(())
    }

    /// The worker, when all that it made is in the store.
    async fn settled(&mut self) -> Result<Box<Worker>, WriteError> {
        let mut worker = self.worker().await?;
        self.append(std::mem::take(&mut worker.blocks.fresh)).await?;
        while !self.appending.is_empty() {
            self.appended().await?;
        }
        worker.blocks.pins.append(&mut self.pins);
        self.placed().await;
        Ok(worker)
    }

    /// Sends blocks to the other nodes that keep them while the next are made.
    async fn place(&mut self, fresh: Vec<NewBlock>) {
        if self.placing.len() >= PLACING_MAX
            && let Some(oldest) = self.placing.pop_front()
        {
            let _ = oldest.await;
        }
        let (objects, namespace) = (self.objects.clone(), self.namespace.clone());
        self.placing.push_back(self.objects.task(async move { objects.place(&namespace, &fresh).await }));
    }

    /// Waits until they are where they belong.
    async fn placed(&mut self) {
        while let Some(oldest) = self.placing.pop_front() {
            let _ = oldest.await;
        }
    }

    /// Works on all that came so far and gives what is needed to go on from here later. The body may go on at once as well.
    pub(crate) async fn pause(&mut self) -> Result<Pause, WriteError> {
        let mut worker = self.settled().await?;
        let rest = std::mem::take(&mut self.gathered).freeze();
        let work = tokio::task::spawn_blocking(move || -> Result<_, WriteError> {
            worker.take(&rest)?;
            let pause = worker.pause()?;
            Ok((worker, pause))
        });
        let (worker, pause) = work.await.map_err(stopping)??;
        self.idle = Some(worker);
        Ok(pause)
    }

    /// The end of the body.
    pub(crate) async fn finish(mut self) -> Result<Stowed, WriteError> {
        let mut worker = self.settled().await?;
        let rest = std::mem::take(&mut self.gathered).freeze();
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

/// Chunks, looks up, encodes and seals, on whichever thread it is moved to.
pub(crate) struct Worker {
    objects: Objects,
    sealing: Sealing,
    chunker: Chunker,
    sha256: RunningSha256,
    size: u64,
    manifest: Builder,
    seen: Recent<Extent>,
    blocks: Blocks,
    near: Near,
    /// Bases that were read last, and what they hold.
    bases: VecDeque<(BlockId, Bytes)>,
}

impl Worker {
    pub(crate) fn new(objects: &Objects, address: &Address, sealing: Sealing) -> Self {
        let near = match &sealing {
            Sealing::Public => Near::new(address, None),
            Sealing::Private(convergence) => Near::new(address, Some(convergence)),
        };
        Worker {
            near,
            bases: VecDeque::new(),
            chunker: objects.store().chunker(),
            objects: objects.clone(),
            sealing,
            sha256: RunningSha256::whole(),
            size: 0,
            manifest: Builder::new(),
            seen: Recent::new(REMEMBERED_HALF),
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
        self.place(&chunks)
    }

    fn finish(mut self, small: Option<Bytes>) -> Result<Stowed, WriteError> {
        let chunker = std::mem::replace(&mut self.chunker, self.objects.store().chunker());
        self.place(&chunker.finish())?;
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
        worker.place(&chunks)?;
        Ok(worker)
    }

    fn pause(&mut self) -> Result<Pause, WriteError> {
        self.blocks.fold()?;
        let Worker { objects, sealing, manifest, blocks, .. } = self;
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
        let Worker { objects, sealing, manifest, blocks, .. } = self;
        manifest.push(extent, &mut |page| store_page(objects, sealing, &page, blocks))
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
        let Worker { objects, sealing, manifest, mut blocks, .. } = self;
        let root = manifest.finish(&mut |page| store_page(&objects, &sealing, &page, &mut blocks))?;
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
    match sealing {
        Sealing::Public => Ok((block::encode_clear(plain, COMPRESSION_LEVEL).map_err(unfit)?, None)),
        Sealing::Private(_) => {
            let key = BlockKey::generate(objects.random());
            let mut stored = Vec::with_capacity(plain.len() + SEALED_EXTRA_BYTES);
            stored.extend_from_slice(&block::header(block::Kind::Sealed));
            block::encode_body_into(plain, COMPRESSION_LEVEL, &mut stored).map_err(unfit)?;
            seal::seal_block_in_place(&key, &mut stored);
            Ok((stored.into(), Some(key)))
        }
    }
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
