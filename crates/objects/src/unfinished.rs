//! Unfinished uploads: a body that comes in several requests, kept durably in between, and the one commit at its end.
//!
//! What came is in the store as the blocks of a write are, and a line in the table `upload` refers to it, so that collection keeps it and a
//! crash loses at most what came after the last line. While bytes come the line is written anew every [`KEEP_BYTES`], at the end of a request, and
//! when a request is cut off. Each line is a commit that is conditional on the line before, so of two requests at once one loses. Authority is
//! decided for every request, and again with every line. Bytes count toward quotas as they come.
//!
//! The last request commits the version exactly as a write in one request does, and in the same commit the line becomes a note that the upload is
//! finished, so that a client that never heard the answer can ask. A line never says that all bytes are there before that.

mod line;
mod turns;

pub(crate) use turns::Turns;

use crate::{
    Objects,
    address::Address,
    author::Author,
    cbor::Cbor,
    chain::Chain,
    commit::{self, ATTEMPTS, Change},
    credentials::Credentials,
    crypto::RunningSha256,
    error::{Refusal, StorageError, WriteError},
    grant::{Access, Grant, Held, Write},
    manifest::{Manifest, Resume},
    read_key::ReadKey,
    seal,
    stow::{Blocks, Pause, Sealing, Stowing, Tail, Worker},
    tables, tree,
    write::{Precondition, Upload, WriteOptions, Written},
};
use bytes::Bytes;
use jsfs_store::{BlockId, Op, block};
use line::{Clear, Line, State};
use std::{fmt, sync::Arc};
use turns::Turn;

/// How many unfinished uploads a namespace may have.
pub const UNFINISHED_MAX: u64 = 1_000;

/// At most so many bytes come between two lines: what a crash of the node can cost a client.
const KEEP_BYTES: u64 = 16 << 20;

const HOUR_MS: u64 = 3_600_000;

/// Lines looked at or forgotten in one step of a sweep.
const STEP: usize = 256;

/// The name of an unfinished upload: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId([u8; 16]);

impl UploadId {
    /// Reads 32 hex digits, as [`fmt::Display`] writes them.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits)?;
        Some(UploadId(number.to_be_bytes()))
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// How an upload stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its name.
    pub id: UploadId,
    /// Where it goes.
    pub address: Address,
    /// How many bytes are kept.
    pub offset: u64,
    /// How many it will have, where that is known.
    pub length: Option<u64>,
    /// When it is forgotten if no byte comes, ms since 1970.
    pub expires_ms: u64,
    /// The version that it became, where it is finished.
    pub version: Option<u64>,
}

/// A line with what is needed to replace it.
struct Kept {
    clear: Clear,
    sealed: Vec<u8>,
    sequence: u64,
    references: Vec<BlockId>,
}

/// One request's part of an upload. Dropping it loses what came since the last line.
pub struct Resumed {
    turn: Turn,
    id: UploadId,
    objects: Objects,
    held: Arc<Held>,
    upload: Upload,
    /// The line as it is in the store.
    clear: Clear,
    sequence: u64,
    /// What the state repeats of the first request.
    asked: State,
    /// All bytes that came, those after the line included.
    offset: u64,
}

/// What the commit of the finished object does to the upload's line.
pub(crate) struct Ending {
    id: UploadId,
    sequence: u64,
    /// What the line has counted toward quotas.
    counted: u64,
    clear: Clear,
}

impl Objects {
    /// Decides whether the credentials allow going on with an upload: whether they allow writing where it goes. An upload that is
    /// absent, over or somebody else's is one answer. (The time that deciding takes tells an existing id from another; nobody guesses an id.)
    pub async fn authorize_upload(
        &self,
        credentials: &Credentials,
        id: &UploadId,
    ) -> Result<Grant<Write>, WriteError> {
        let kept = self.line(id)?.ok_or(WriteError::NoUpload)?;
        match self.authorize::<Write>(credentials, &kept.clear.address).await {
            Ok(grant) => Ok(grant),
            Err(refusal) if refusal.is_passing() => Err(refusal.into()),
            Err(_) => Err(WriteError::NoUpload),
        }
    }

    /// Begins an upload of `length` bytes, or of a length that is not known yet. `conditions` is kept and given back by [`Resumed::conditions`]: what
    /// must hold at the end too. The options' own precondition is tried now.
    pub async fn begin_unfinished(
        &self,
        grant: Grant<Write>,
        options: WriteOptions,
        conditions: String,
        length: Option<u64>,
    ) -> Result<Unfinished, WriteError> {
        check_resumable(&grant, &options, &conditions)?;
        let held = Arc::clone(&grant.held);
        let asked = State {
            content_type: options.content_type.clone(),
            content_type_if_new: options.content_type_if_new.clone(),
            append: options.append,
            conditions,
            sha256: RunningSha256::resumable().state(),
            manifest: Manifest::empty(),
            tail: None,
            lists: 0,
        };
        let upload = self.begin(grant, WriteOptions { size_hint: length, ..options }).await?;
        let id = UploadId(self.random().bytes());
        let clear = Clear {
            address: held.address.clone(),
            epoch: held.chain.place.epoch,
            private: upload.is_private(),
            length,
            offset: 0,
            expires_ms: self.upload_expires_ms(),
            version: None,
        };
        let sealed = seal_state(self, &held, &held.chain, &id, &clear, &asked)?;
        let mut change = Change::new();
        change.expect(tables::UPLOAD, id.0.to_vec(), 0);
        change.op(put_line(&id, clear.clone(), sealed, Vec::new()));
        change.op(count_unfinished(&clear.address, 1));
        if change.commit(self).await?.is_none() {
            return Err(WriteError::Conflict { address: clear.address });
        }
        Ok(stands(id, clear))
    }

    /// How an upload stands. A request that works on it puts away what it has first.
    pub async fn unfinished(&self, grant: &Grant<Write>, id: &UploadId) -> Result<Unfinished, WriteError> {
        let _turn = self.turn(grant, id).await?;
        Ok(stands(*id, self.line_of(grant, id)?.clear))
    }

    /// Goes on with an upload; a request that works on it puts away what it has first. Of a finished upload nothing is left to go on with.
    pub async fn resume(&self, grant: &Grant<Write>, id: &UploadId) -> Result<Resumed, WriteError> {
        let turn = self.turn(grant, id).await?;
        let held = Arc::clone(&grant.held);
        let Kept { clear, sealed, sequence, references } = self.line_of(grant, id)?;
        if clear.version.is_some() {
            return Err(WriteError::Offset { offset: clear.offset });
        }
        let asked = open_state(&held, id, &clear, &sealed)?;
        let worker = self.take_up(&held, &clear, &asked, references).await?;
        let options = WriteOptions {
            content_type: asked.content_type.clone(),
            content_type_if_new: asked.content_type_if_new.clone(),
            append: asked.append,
            ..WriteOptions::default()
        };
        let stowing = Stowing::of(worker);
        let upload = Upload::taken_up(self, Arc::clone(&held), options, clear.private, stowing);
        let (objects, offset) = (self.clone(), clear.offset);
        Ok(Resumed { turn, id: *id, objects, held, upload, clear, sequence, asked, offset })
    }

    /// Forgets an upload and what came of it.
    pub async fn abandon(&self, grant: &Grant<Write>, id: &UploadId) -> Result<(), WriteError> {
        let _turn = self.turn(grant, id).await?;
        let kept = self.line_of(grant, id)?;
        if self.forget_upload(id, &kept).await? { Ok(()) } else { Err(WriteError::NoUpload) }
    }

    async fn turn(&self, grant: &Grant<Write>, id: &UploadId) -> Result<Turn, WriteError> {
        let turn = self.turns().take(*id).await;
        turn.ok_or_else(|| WriteError::Conflict { address: grant.address().clone() })
    }

    /// The line of an upload that has not expired.
    fn line(&self, id: &UploadId) -> Result<Option<Kept>, WriteError> {
        let Some(entry) = self.store().get(tables::UPLOAD, &id.0)? else { return Ok(None) };
        let kept = Kept::decode(entry)?;
        Ok(Some(kept).filter(|kept| kept.clear.expires_ms > self.clock().now_ms()))
    }

    /// The line of an upload that the grant is for.
    fn line_of(&self, grant: &Grant<Write>, id: &UploadId) -> Result<Kept, WriteError> {
        let held = &grant.held;
        self.line(id)?
            .filter(|kept| {
                kept.clear.address == held.address
                    && (kept.clear.version.is_some() || kept.clear.epoch == held.chain.place.epoch)
            })
            .ok_or(WriteError::NoUpload)
    }

    /// A worker that goes on where the line stops.
    async fn take_up(
        &self,
        held: &Held,
        clear: &Clear,
        state: &State,
        references: Vec<BlockId>,
    ) -> Result<Worker, WriteError> {
        let author = Author::of(&held.access, &held.chain)?;
        let sealing = Sealing::of(&author, clear.private).ok_or(WriteError::NoUpload)?;
        let sha256 =
            RunningSha256::of_state(&state.sha256).ok_or_else(|| damaged("the state of its hash"))?;
        let mut blocks = self.blocks_of(references, state.lists).await?;
        let length = state.manifest.length();
        let mut resume = Resume::new(state.manifest.clone(), length).map_err(damaged)?;
        while let Some(page) = resume.need().cloned() {
            let plain = self.plaintext(page.block, page.key).await?;
            resume.supply(&plain).map_err(damaged)?;
            blocks.release(page.block);
        }
        let builder = resume.builder_afresh().map_err(damaged)?;
        let tail = match &state.tail {
            Some(Tail { block, key }) => self.plaintext(*block, key.clone()).await?,
            None => Bytes::new(),
        };
        state.tail.iter().for_each(|tail| blocks.release(tail.block));
        let new = Worker::new(self, &held.address, sealing);
        let worker = new.take_up(sha256, builder, blocks, &tail)?;
        if length + tail.len() as u64 != clear.offset {
            return Err(damaged("its bytes are not as many as it says"));
        }
        Ok(worker)
    }

    /// What a line refers to: the full list blocks as they are, the rest one by one.
    async fn blocks_of(&self, references: Vec<BlockId>, lists: u64) -> Result<Blocks, WriteError> {
        let store = self.store().clone();
        let read = move || -> Result<Blocks, WriteError> {
            let (mut ids, mut blocks) = (references, Blocks::default());
            while let Some(first) = ids.first() {
                let stored = store.block(first)?;
                if !matches!(block::split(&stored), Ok((block::Kind::List, _))) {
                    blocks.needs = ids;
                    return Ok(blocks);
                }
                if block::decode_list(&stored).map_err(damaged)?.0 == 0 {
                    let full = usize::try_from(lists).unwrap_or(usize::MAX).min(ids.len());
                    for id in ids.split_off(full) {
                        blocks.needs.extend(block::decode_list(&store.block(&id)?).map_err(damaged)?.1);
                    }
                    blocks.lists = ids;
                    return Ok(blocks);
                }
                let mut below = Vec::new();
                for id in &ids {
                    below.extend(block::decode_list(&store.block(id)?).map_err(damaged)?.1);
                }
                ids = below;
            }
            Ok(blocks)
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| StorageError::Stopping)?
    }

    fn upload_expires_ms(&self) -> u64 {
        self.clock().now_ms().saturating_add(self.settings().uploads_hours.saturating_mul(HOUR_MS))
    }

    /// Removes a line and what it counted. False where somebody else changed it meanwhile.
    async fn forget_upload(&self, id: &UploadId, kept: &Kept) -> Result<bool, WriteError> {
        let clear = &kept.clear;
        let mut change = Change::new();
        change.expect(tables::UPLOAD, id.0.to_vec(), kept.sequence);
        change.op(Op::Delete { table: tables::UPLOAD, key: id.0.to_vec() });
        if clear.version.is_none() {
            change.op(count_unfinished(&clear.address, -1));
            if let Some(chain) = Chain::load(self, &clear.address)? {
                change.expect_chain(&chain);
                count_bytes(&mut change, &chain, &clear.address, clear.offset, 0);
            }
        }
        Ok(change.commit(self).await?.is_some())
    }

    /// Forgets the uploads that nobody went on with in time.
    pub(crate) async fn sweep_uploads(&self) -> Result<u64, WriteError> {
        let now_ms = self.clock().now_ms();
        let mut swept = 0;
        let mut from = Vec::new();
        loop {
            let mut expired = Vec::new();
            let mut next = None;
            for (seen, item) in self.store().scan(tables::UPLOAD, from..).enumerate() {
                let (key, entry) = item?;
                if seen == STEP * 16 || expired.len() == STEP {
                    next = Some(key);
                    break;
                }
                let kept = Kept::decode(entry)?;
                if let (true, Ok(id)) = (kept.clear.expires_ms <= now_ms, key.try_into()) {
                    expired.push((UploadId(id), kept));
                }
            }
            for (id, kept) in expired {
                let forgotten = self.forget_upload(&id, &kept).await?;
                swept += u64::from(forgotten && kept.clear.version.is_none());
            }
            match next {
                Some(key) => from = key,
                None => return Ok(swept),
            }
        }
    }

    /// The bytes of unfinished uploads below a directory.
    pub(crate) fn unfinished_bytes(&self, directory: &Address) -> Result<u64, WriteError> {
        let mut bytes = 0_u64;
        for item in self.store().scan(tables::UPLOAD, ..) {
            let clear = Kept::decode(item?.1)?.clear;
            if clear.version.is_none() && clear.address.starts_with(directory) {
                bytes = bytes.saturating_add(clear.offset);
            }
        }
        Ok(bytes)
    }
}

impl Resumed {
    /// How many bytes came, those of this request included.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many it will have, where that is known.
    pub fn length(&self) -> Option<u64> {
        self.clear.length
    }

    /// Where it goes.
    pub fn address(&self) -> &Address {
        &self.held.address
    }

    /// Whether all bytes are there.
    pub fn is_whole(&self) -> bool {
        self.clear.length == Some(self.offset)
    }

    /// What was handed over at the beginning, to be tried at the end.
    pub fn conditions(&self) -> &str {
        &self.asked.conditions
    }

    /// What must hold of the newest version when the upload is finished.
    pub fn require(&mut self, precondition: Option<Precondition>) {
        self.upload.options_mut().precondition = precondition;
    }

    /// Says how long the upload is, where that was left open.
    pub fn set_length(&mut self, length: u64) -> Result<(), WriteError> {
        match self.clear.length {
            Some(known) if known != length => Err(WriteError::Invalid {
                what: format!("the upload was begun with a length of {known} bytes, which cannot change"),
            }),
            _ if length < self.offset => Err(WriteError::Invalid {
                what: format!(
                    "the upload has {} bytes already; it cannot be {length} bytes long",
                    self.offset
                ),
            }),
            _ => {
                self.clear.length = Some(length);
                Ok(())
            }
        }
    }

    /// Takes the next bytes. Those past the end are refused, and none of them is taken.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), WriteError> {
        let end = self.offset + bytes.len() as u64;
        if let Some(length) = self.clear.length.filter(|length| end > *length) {
            let what =
                format!("the upload is {length} bytes long, and more came; begin another one for more");
            return Err(WriteError::TooLarge { what });
        }
        self.upload.write(bytes).await?;
        self.offset = end;
        if self.offset - self.clear.offset >= KEEP_BYTES {
            self.put_away().await?;
        }
        Ok(())
    }

    /// Returns when another request wants to go on with this upload; then [`Resumed::keep`] what came, and end.
    pub async fn interrupted(&self) {
        self.turn.interrupted().await;
    }

    /// Makes durable what came and says how the upload stands.
    pub async fn keep(mut self) -> Result<Unfinished, WriteError> {
        self.put_away().await?;
        Ok(stands(self.id, self.clear))
    }

    /// All bytes came: makes the object durable and visible, and ends the upload.
    pub async fn finish(self) -> Result<Written, WriteError> {
        let Resumed { turn, id, objects, upload, clear, sequence, offset, .. } = self;
        let ended =
            Clear { length: Some(offset), offset, expires_ms: objects.upload_expires_ms(), ..clear.clone() };
        let ending = Ending { id, sequence, counted: clear.offset, clear: ended };
        let written = upload.finish_ending(ending).await;
        drop(turn);
        written
    }

    async fn put_away(&mut self) -> Result<(), WriteError> {
        if self.is_whole() {
            // Only a finished upload may say that it has all its bytes: a client that reads so goes away.
            return Ok(());
        }
        let pause = self.upload.pause().await?;
        debug_assert_eq!(pause.size, self.offset, "all that came was worked on");
        for _ in 0..ATTEMPTS {
            if self.try_put_away(&pause).await? {
                return Ok(());
            }
            // Something above the address changed, or another request was quicker with this upload.
            let kept = self.objects.line(&self.id)?.ok_or(WriteError::NoUpload)?;
            if kept.sequence != self.sequence {
                return Err(WriteError::Offset { offset: kept.clear.offset });
            }
        }
        Err(WriteError::Conflict { address: self.held.address.clone() })
    }

    async fn try_put_away(&mut self, pause: &Pause) -> Result<bool, WriteError> {
        let held = self.objects.authorize_proven::<Write>(&self.held.proven, &self.held.address)?.held;
        if held.chain.place.epoch != self.clear.epoch {
            return Err(WriteError::NoUpload);
        }
        let clear =
            Clear { offset: pause.size, expires_ms: self.objects.upload_expires_ms(), ..self.clear.clone() };
        let state = State {
            sha256: pause.sha256.clone(),
            manifest: pause.manifest.clone(),
            tail: pause.tail.clone(),
            lists: pause.blocks.lists.len() as u64,
            ..self.asked.clone()
        };
        let sealed = seal_state(&self.objects, &held, &held.chain, &self.id, &clear, &state)?;
        let mut fresh = pause.blocks.fresh.clone();
        let references = commit::references(&pause.blocks.lists, &pause.blocks.needs, &mut fresh)?;
        let mut change = Change::new();
        change.expect_chain(&held.chain);
        change.expect(tables::UPLOAD, self.id.0.to_vec(), self.sequence);
        change.op(put_line(&self.id, clear.clone(), sealed, references));
        count_bytes(&mut change, &held.chain, &clear.address, self.clear.offset, clear.offset);
        change.carry(fresh, pause.blocks.pins.clone());
        let Some(sequence) = change.commit(&self.objects).await? else { return Ok(false) };
        (self.sequence, self.clear) = (sequence, clear);
        Ok(true)
    }
}

impl Ending {
    /// The line becomes a note of the version; what it counted is counted by the version from now on.
    pub(crate) fn add_to(&self, change: &mut Change, chain: &Chain, address: &Address, version: u64) {
        change.expect(tables::UPLOAD, self.id.0.to_vec(), self.sequence);
        let clear = Clear { version: Some(version), ..self.clear.clone() };
        change.op(put_line(&self.id, clear, Vec::new(), Vec::new()));
        change.op(count_unfinished(address, -1));
        count_bytes(change, chain, address, self.counted, 0);
    }
}

impl Kept {
    fn decode(entry: jsfs_store::Entry) -> Result<Kept, WriteError> {
        let Line { clear, sealed } = Line::from_bytes(&entry.value).map_err(damaged)?;
        Ok(Kept { clear, sealed, sequence: entry.sequence, references: entry.references })
    }
}

impl Blocks {
    /// One use less of a block that was among the last to be needed.
    fn release(&mut self, id: BlockId) {
        if let Some(at) = self.needs.iter().rposition(|needed| *needed == id) {
            self.needs.remove(at);
        }
    }
}

fn check_resumable(grant: &Grant<Write>, options: &WriteOptions, conditions: &str) -> Result<(), WriteError> {
    let what = match &grant.held.access {
        _ if options.replacement_key.is_some() => {
            "a resumable upload cannot hand the object over; send replacement_access_key with PATCH afterwards"
        }
        Access::Anyone(_) => {
            "a drop box takes objects in one request only; use PUT, or a key or token that may write here"
        }
        _ if conditions.len() > line::conditions_bytes_max() => {
            "the conditions are too long to be kept; name fewer entity tags"
        }
        _ => return Ok(()),
    };
    Err(WriteError::Invalid { what: what.into() })
}

fn stands(id: UploadId, clear: Clear) -> Unfinished {
    let Clear { address, length, offset, expires_ms, version, .. } = clear;
    Unfinished { id, address, offset, length, expires_ms, version }
}

fn put_line(id: &UploadId, clear: Clear, sealed: Vec<u8>, references: Vec<BlockId>) -> Op {
    let value = Line { clear, sealed }.to_bytes().into();
    Op::Put { table: tables::UPLOAD, key: id.0.to_vec(), value, references }
}

fn count_unfinished(address: &Address, delta: i64) -> Op {
    let key = tables::address_key(&tree::namespace_directory(address));
    Op::Add { table: tables::UNFINISHED, key, delta, at_most: Some(UNFINISHED_MAX) }
}

/// Bytes of uploads count as live ones: they are no old versions, for which there may be too many.
fn count_bytes(change: &mut Change, chain: &Chain, address: &Address, before: u64, after: u64) {
    let delta = i64::try_from(after).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX);
    change.count(tables::USAGE, chain, address, delta);
    change.count(tables::LIVE, chain, address, delta);
}

/// The read key of the object that the upload will be.
fn read_key(held: &Held, chain: &Chain, epoch: u64) -> Result<ReadKey, WriteError> {
    let key = held.access.opener(chain).and_then(|opener| opener.read_key(&held.address, epoch));
    let needs = "the token's fourth part, which holds the key to seal with";
    Ok(key.ok_or(Refusal::Forbidden { needs })?)
}

fn seal_state(
    objects: &Objects,
    held: &Held,
    chain: &Chain,
    id: &UploadId,
    clear: &Clear,
    state: &State,
) -> Result<Vec<u8>, WriteError> {
    let key = read_key(held, chain, clear.epoch)?;
    Ok(seal::seal_upload(&key, &clear.bound(&id.0), &state.to_bytes(), objects.random()))
}

fn open_state(held: &Held, id: &UploadId, clear: &Clear, sealed: &[u8]) -> Result<State, WriteError> {
    let key = read_key(held, &held.chain, clear.epoch)?;
    let opened = seal::open_upload(&key, &clear.bound(&id.0), sealed).map_err(damaged)?;
    State::from_bytes(&opened).map_err(damaged)
}

fn damaged(what: impl fmt::Display) -> WriteError {
    StorageError::Write(format!("an unfinished upload is damaged: {what}")).into()
}
