//! The pieces of one body at work, several at once.
//!
//! A task takes them in order: each is hashed as a whole on one thread and cut and looked up on another; its blocks are made on a third while the next one is cut and
//! those before it go into the store. It goes on by itself: a client that stands still holds no more than what it has sent of the next piece.
//!
//! Invariants: pieces are noted in the order of the body, whichever is made first. A piece at work has a place among those of the body and among those of the
//! node from before it is cut until it is in the store; nobody who has a place waits for another, so places become free by themselves, and who has waited for longest comes next.

use super::{
    Worker,
    make::{Made, Plan},
    stopping,
};
use crate::{Objects, crypto::RunningSha256, error::WriteError};
use bytes::Bytes;
use jsfs_store::{
    NewBlock, Pin,
    buffers::{BLOCKS, Buffers},
};
use std::{collections::VecDeque, sync::Arc};
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::task::AbortOnDropHandle;

/// Bytes gathered before a piece goes to a worker thread.
pub(super) const PIECE_BYTES: usize = 1 << 20;

/// What a chunker holds back of the default chunks.
const ROOM: usize = 256 << 10;

static PIECES: Buffers = Buffers::new(ROOM + PIECE_BYTES, 8);

/// Pieces of one body that are on their way into the store at once, or to other nodes: while it syncs, the next are made.
const STORING_MAX: usize = 4;

/// Pieces of all bodies at work, for each processor and at most.
const AT_WORK: usize = 6;
const AT_WORK_MAX: usize = 64;

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Places of the node for pieces at work.
pub(crate) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new((AT_WORK * processors()).min(AT_WORK_MAX)))
}

/// Lets go of buffers that are free.
pub(crate) fn rest() {
    PIECES.give_back();
    BLOCKS.give_back();
}

/// Bytes that follow each other, and before them room for what the chunker holds back of those before them.
#[derive(Default)]
pub(super) struct Piece {
    buffer: Vec<u8>,
    room: usize,
}

impl Piece {
    /// An empty one that follows another.
    pub(super) fn next() -> Self {
        let mut buffer = PIECES.take();
        buffer.resize(ROOM, 0);
        Piece { buffer, room: ROOM }
    }

    fn len(&self) -> usize {
        self.buffer.len() - self.room
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= PIECE_BYTES
    }

    /// Takes what fits.
    pub(super) fn take(&mut self, bytes: &mut Bytes) {
        let free = PIECE_BYTES - self.len();
        self.buffer.extend_from_slice(&bytes.split_to(free.min(bytes.len())));
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.behind(&[])
    }

    /// The bytes, behind those that were held back.
    fn behind(mut self, held: &[u8]) -> Bytes {
        let Some(from) = self.room.checked_sub(held.len()) else {
            return [held, &self.buffer[self.room..]].concat().into();
        };
        self.buffer[from..self.room].copy_from_slice(held);
        Bytes::from(PIECES.lend(self.buffer)).slice(from..)
    }
}

/// Where a piece may be at work.
pub(super) struct Place {
    of_node: OwnedSemaphorePermit,
    of_body: OwnedSemaphorePermit,
}

/// The task that works on a body's pieces. Dropping it ends it.
pub(super) struct Working {
    pieces: mpsc::Sender<(Piece, Place)>,
    of_node: Arc<Semaphore>,
    of_body: Arc<Semaphore>,
    line: AbortOnDropHandle<Result<Box<Worker>, WriteError>>,
}

impl Working {
    pub(super) fn begin(mut worker: Box<Worker>) -> Self {
        let sha256 = std::mem::replace(&mut worker.sha256, RunningSha256::whole());
        let places = 1 + processors().min(STORING_MAX) + STORING_MAX;
        let of_body = Arc::new(Semaphore::new(places));
        let (pieces, coming) = mpsc::channel(places);
        let objects = worker.maker.objects.clone();
        let line = Line {
            namespace: worker.namespace.clone(),
            objects: objects.clone(),
            making: VecDeque::new(),
            storing: VecDeque::new(),
            pins: Vec::new(),
            hashing: objects.task(std::future::ready(sha256)),
        };
        let line = AbortOnDropHandle::new(objects.task(line.run(worker, coming)));
        Working { pieces, of_node: Arc::clone(objects.places()), of_body, line }
    }

    /// Waits until another piece may be worked on.
    pub(super) async fn place(&self) -> Result<Place, AcquireError> {
        // First among those of the body, which nobody else waits for.
        let of_body = Arc::clone(&self.of_body).acquire_owned().await?;
        let of_node = Arc::clone(&self.of_node).acquire_owned().await?;
        Ok(Place { of_node, of_body })
    }

    /// Gives it the next piece; false when it has failed.
    pub(super) fn hand_over(&self, piece: Piece, place: Place) -> bool {
        self.pieces.try_send((piece, place)).is_ok()
    }

    /// The worker, when all that was handed over is in the store.
    pub(super) async fn end(self) -> Result<Box<Worker>, WriteError> {
        drop(self.pieces);
        self.line.await.map_err(stopping)?
    }
}

/// A piece whose blocks are being made; its place goes with the work.
type Making = JoinHandle<(Result<Made, WriteError>, Place)>;

struct Line {
    objects: Objects,
    namespace: String,
    /// The oldest first.
    making: VecDeque<Making>,
    storing: VecDeque<JoinHandle<Result<Vec<Pin>, WriteError>>>,
    pins: Vec<Pin>,
    /// The hash of the whole up to the piece that was cut last.
    hashing: JoinHandle<RunningSha256>,
}

impl Line {
    async fn run(
        mut self,
        mut worker: Box<Worker>,
        mut pieces: mpsc::Receiver<(Piece, Place)>,
    ) -> Result<Box<Worker>, WriteError> {
        loop {
            let is_full = self.making.len() >= processors();
            let next = match self.making.front_mut() {
                None => pieces.recv().await,
                Some(oldest) => tokio::select! {
                    biased;
                    made = oldest => {
                        self.making.pop_front();
                        self.note(&mut worker, made.map_err(stopping)?).await?;
                        continue;
                    }
                    next = pieces.recv(), if !is_full => next,
                },
            };
            let Some(piece) = next else { break };
            let (plan, place);
            (worker, plan, place) = self.cut(worker, piece).await?;
            let maker = Arc::clone(&worker.maker);
            let make = move || (maker.make(plan), place);
            self.making.push_back(tokio::task::spawn_blocking(make));
        }
        while let Some(oldest) = self.making.pop_front() {
            self.note(&mut worker, oldest.await.map_err(stopping)?).await?;
        }
        while let Some(oldest) = self.storing.pop_front() {
            self.pins.extend(oldest.await.map_err(stopping)??);
        }
        worker.blocks.pins.append(&mut self.pins);
        worker.sha256 = self.hashing.await.map_err(stopping)?;
        Ok(worker)
    }

    /// Cuts a piece and looks up its chunks, while it is hashed as a whole behind those before it.
    async fn cut(
        &mut self,
        mut worker: Box<Worker>,
        (piece, place): (Piece, Place),
    ) -> Result<(Box<Worker>, Plan, Place), WriteError> {
        let bytes = piece.behind(worker.chunker.held());
        let new = bytes.slice(worker.chunker.held().len()..);
        let length = new.len() as u64;
        let cutting = tokio::task::spawn_blocking(move || -> Result<_, WriteError> {
            worker.size += length;
            let chunks = worker.chunker.cut(bytes);
            let plan = worker.plan(chunks)?;
            Ok((worker, plan, place))
        });
        let mut sha256 = (&mut self.hashing).await.map_err(stopping)?;
        self.hashing = tokio::task::spawn_blocking(move || {
            sha256.update(&new);
            sha256
        });
        cutting.await.map_err(stopping)?
    }

    /// Notes where the chunks of the next piece lie, and hands its blocks to the store, which makes them durable with the commit at the latest.
    async fn note(
        &mut self,
        worker: &mut Worker,
        (made, place): (Result<Made, WriteError>, Place),
    ) -> Result<(), WriteError> {
        worker.settle(made?)?;
        while self.storing.front().is_some_and(JoinHandle::is_finished) {
            let Some(oldest) = self.storing.pop_front() else { break };
            self.pins.extend(oldest.await.map_err(stopping)??);
        }
        let fresh = std::mem::take(&mut worker.blocks.fresh);
        if !fresh.is_empty() {
            let (objects, namespace) = (self.objects.clone(), self.namespace.clone());
            self.storing.push_back(self.objects.task(store(objects, namespace, fresh, place)));
        }
        Ok(())
    }
}

/// Brings blocks into the store, and to the other nodes that keep them.
async fn store(
    objects: Objects,
    namespace: String,
    fresh: Vec<NewBlock>,
    place: Place,
) -> Result<Vec<Pin>, WriteError> {
    let Place { of_node, of_body } = place;
    let copies = objects.remote().is_some().then(|| fresh.clone());
    let appending = async {
        let pins = objects.store().append(fresh).await;
        // Other nodes may be slow; what waits for them is of this body alone.
        drop(of_node);
        pins
    };
    let placing = async {
        if let Some(copies) = copies {
            objects.place(&namespace, &copies).await;
        }
    };
    let (pins, ()) = tokio::join!(appending, placing);
    drop(of_body);
    Ok(pins?)
}
