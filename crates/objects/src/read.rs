//! Reading: an address and a grant to an object, an object and a range to verified bytes.

use crate::{
    Credentials, Objects,
    address::Address,
    authority::{self, Need, Presented},
    cache::BODY_MAX,
    chain::Chain,
    error::{ReadError, Refusal, StorageError},
    grant::{Grant, Opener, Read},
    key::Owner,
    manifest::{Cursor, LocatedExtent, Step},
    metadata::{BlockInfo, Metadata, VersionInfo},
    read_key::ReadKey,
    record::{Content, Kind, RecordHash},
    seal,
    seal::BlockKey,
    tables::{self, Stored},
};
use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, ready},
    stream::FuturesOrdered,
};
use jsfs_store::{BlockId, block};
use std::{
    any::Any,
    borrow::Cow,
    ops::Range,
    sync::{Arc, OnceLock},
};

/// Blocks that are fetched from other nodes at once for one reader.
const AHEAD: usize = 8;

/// A version of an object, opened: its properties, and its bytes on demand.
pub struct Object {
    /// Its properties.
    pub metadata: Arc<Metadata>,
    objects: Objects,
    content: Arc<Content>,
    /// What its bytes are kept under, where they are few.
    record: Option<RecordHash>,
    made: Made,
}

/// Something that a caller made of the properties.
type Made = Arc<OnceLock<Arc<dyn Any + Send + Sync>>>;

/// What readers are shown of a stored record, so that it is opened once and not for each of them.
#[derive(Clone)]
pub(crate) struct Shown {
    /// What it was sealed under: only who has it is shown this.
    key: Option<ReadKey>,
    metadata: Arc<Metadata>,
    content: Arc<Content>,
    made: Made,
}

/// A stored record with its content in the clear.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) address: Address,
    pub(crate) version: u64,
    pub(crate) private: bool,
    pub(crate) owner: Owner,
    pub(crate) content: Content,
}

/// What is stored, opened with whatever the reader holds.
fn open<'s>(
    address: &Address,
    stored: &'s Stored,
    opener: Option<&Opener>,
) -> Result<Cow<'s, Content>, ReadError> {
    let record = &stored.record;
    let content = if stored.is_sealed() {
        let opener = opener.ok_or(Refusal::Forbidden {
            needs: "the token's fourth part, which holds the key to read with",
        })?;
        let key = opener.read_key(address, record.epoch).ok_or_else(|| match opener.waits {
            true => ReadError::Resealing { address: address.clone() },
            false => ReadError::Unreadable { address: address.clone() },
        })?;
        Some(Cow::Owned(record.open(&key).map_err(|_| ReadError::Unreadable { address: address.clone() })?))
    } else {
        record.content.as_ref().map(Cow::Borrowed)
    };
    let content = content.ok_or_else(|| ReadError::Absent { address: address.clone() })?;
    if content.address != *address {
        let what = format!("it speaks of {}", content.address);
        return Err(StorageError::Record { address: address.clone(), what }.into());
    }
    Ok(content)
}

/// The properties of what is stored.
pub(crate) fn metadata_of(
    address: &Address,
    stored: &Stored,
    opener: Option<&Opener>,
) -> Result<Metadata, ReadError> {
    let content = open(address, stored, opener)?;
    Ok(metadata(address, stored.record.version, stored.is_sealed(), stored.record.owner, &content))
}

impl Opened {
    /// Opens what is stored, with whatever the reader holds.
    pub(crate) fn of(
        address: &Address,
        stored: &Stored,
        opener: Option<&Opener>,
    ) -> Result<Opened, ReadError> {
        Ok(Opened {
            address: address.clone(),
            version: stored.record.version,
            private: stored.is_sealed(),
            owner: stored.record.owner,
            content: open(address, stored, opener)?.into_owned(),
        })
    }

    pub(crate) fn metadata(&self) -> Metadata {
        metadata(&self.address, self.version, self.private, self.owner, &self.content)
    }
}

impl Shown {
    /// As [`Opened::of`], remembering what was opened.
    fn of(address: &Address, stored: &Stored, opener: Option<&Opener>) -> Result<Shown, ReadError> {
        let key = match stored.is_sealed() {
            false => None,
            true => opener.and_then(|opener| opener.read_key(address, stored.record.epoch)),
        };
        let shown = stored.shown.get().filter(|_| key.is_some() || !stored.is_sealed());
        if let Some(shown) = shown.filter(|shown| shown.key == key) {
            return Ok(shown.clone());
        }
        let opened = Opened::of(address, stored, opener)?;
        let (metadata, content) = (Arc::new(opened.metadata()), Arc::new(opened.content));
        let shown = Shown { key, metadata, content, made: Made::default() };
        let _ = stored.shown.set(shown.clone());
        Ok(shown)
    }
}

/// The properties that content describes.
pub(crate) fn metadata(
    address: &Address,
    version: u64,
    private: bool,
    owner: Owner,
    content: &Content,
) -> Metadata {
    Metadata {
        address: address.clone(),
        version,
        private,
        executable: content.executable,
        content_type: content.content_type.clone(),
        size: content.size,
        etag: crate::ETag(content.etag),
        sha256: content.sha256,
        created_ms: content.created_ms,
        modified_ms: content.modified_ms,
        owner,
        properties: content.properties.clone(),
    }
}

impl Objects {
    /// The newest version, or an older one by number.
    pub async fn read(&self, grant: &Grant<Read>, version: Option<u64>) -> Result<Object, ReadError> {
        let held = &grant.held;
        let address = &held.address;
        if let Some(rom) = self.rom_at(address) {
            return Box::pin(rom.read(grant, version)).await;
        }
        let absent = || ReadError::Absent { address: address.clone() };
        let current = held.chain.object.as_deref().ok_or_else(absent)?;
        let older;
        let stored = match version {
            Some(number) if number != current.record.version => {
                older = self.older(address, number)?;
                older
                    .as_ref()
                    .ok_or_else(|| ReadError::VersionAbsent { address: address.clone(), version: number })?
            }
            _ => current,
        };
        match (stored.record.kind, stored.record.purged) {
            (Kind::Object, _) => {}
            (_, true) => return Err(ReadError::Purged { address: address.clone() }),
            _ => return Err(absent()),
        }
        let opener = held.opener();
        if stored.is_sealed() && opener.is_none() {
            // An older version that was private does not become readable because a newer one is public.
            return Err(ReadError::VersionAbsent {
                address: address.clone(),
                version: stored.record.version,
            });
        }
        let shown = held.convict(Shown::of(address, stored, opener.as_ref()))?;
        Ok(Object::from_shown(self, shown, stored.hash))
    }

    /// The newest version of what everybody may read, with its bytes, if both are in memory and as they are in the store. None says nothing: then
    /// [`Objects::authorize`] decides.
    pub fn at_hand(&self, address: &Address) -> Option<(Object, Bytes)> {
        if self.metastore().is_some() || self.rom_at(address).is_some() {
            return None;
        }
        let stored = self.memory().record(self.store(), address, false)?;
        let chain = Chain::at_hand(self, address, Arc::clone(&stored))?;
        authority::decide(Need::Read, chain.facts(address), &Presented::default()).ok()?;
        let shown = stored.shown.get().filter(|_| !stored.is_sealed())?.clone();
        let bytes = self.memory().body(&stored.hash)?;
        Some((Object::from_shown(self, shown, stored.hash), bytes))
    }

    /// The same of what is private, for whoever presents the key that owns it and the directory that it lies in.
    pub fn at_hand_of_owner(&self, credentials: &Credentials, address: &Address) -> Option<(Object, Bytes)> {
        if self.metastore().is_some() || self.rom_at(address).is_some() {
            return None;
        }
        let proven = self.proven_lately(credentials, address.namespace())?;
        // Before anything at the address is looked at: how long a refusal takes must not tell what is there.
        let above = self.memory().above(self.store(), &address.parent()?)?;
        let keys =
            proven.key_of(above.directory_place.owner).filter(|_| above.directory_place.roots.len() == 1)?;
        let stored = self.memory().record(self.store(), address, true)?;
        if stored.record.kind != Kind::Object || stored.record.place.is_some() {
            return None;
        }
        let chain = Chain::at_hand(self, address, Arc::clone(&stored))?;
        let (presented, _) = proven.at(address, &chain);
        authority::decide(Need::Read, chain.facts(address), &presented).ok()?;
        let key = chain.place.opener(keys)?.read_key(address, stored.record.epoch)?;
        let shown = stored.shown.get().filter(|shown| shown.key.as_ref() == Some(&key))?.clone();
        let bytes = self.memory().body(&stored.hash)?;
        Some((Object::from_shown(self, shown, stored.hash), bytes))
    }

    /// The versions that are kept, newest first.
    pub async fn versions(&self, grant: &Grant<Read>) -> Result<Vec<VersionInfo>, ReadError> {
        let held = &grant.held;
        if let Some(rom) = self.rom_at(&held.address) {
            return Box::pin(rom.versions(grant)).await;
        }
        let absent = || ReadError::Absent { address: held.address.clone() };
        let current = held.chain.object.as_deref().ok_or_else(absent)?;
        let opener = held.opener();
        let mut versions = Vec::new();
        let range = tables::prefix_range(tables::version_prefix(&held.address));
        let older = self.store().scan(tables::VERSION, range).rev();
        let older = older.map(|item| {
            let (key, entry) = item?;
            let number = tables::split_version_key(&key).map(|(_, number)| number);
            Ok((number, Stored::decode(&held.address, entry)?))
        });
        for item in std::iter::once(Ok((None, Stored::clone(current)))).chain(older) {
            let (number, stored): (Option<u64>, Stored) = item.map_err(|error: ReadError| error)?;
            if stored.is_sealed() && opener.is_none() {
                continue;
            }
            let info = version_info(&held.address, &stored, opener.as_ref())?;
            // What another node wrote beside a version has its number in its record, and one of its own here.
            versions.push(VersionInfo { version: number.unwrap_or(info.version), ..info });
        }
        Ok(versions)
    }

    pub(crate) fn older(&self, address: &Address, version: u64) -> Result<Option<Stored>, ReadError> {
        let key = tables::version_key(address, version);
        let entry = self.store().get(tables::VERSION, &key)?;
        Ok(entry.map(|entry| Stored::decode(address, entry)).transpose()?)
    }

    pub(crate) fn current(&self, address: &Address) -> Result<Option<Arc<Stored>>, StorageError> {
        let kept = |is_private| self.memory().record(self.store(), address, is_private);
        if let Some(stored) = kept(false).or_else(|| kept(true)) {
            return Ok(Some(stored));
        }
        let (entry, stamp) = self.store().get_stamped(tables::CURRENT, address.as_str().as_bytes())?;
        let Some(entry) = entry else { return Ok(None) };
        let stored = Arc::new(Stored::decode(address, entry)?);
        self.memory().keep_record(address.clone(), &stored, stamp);
        Ok(Some(stored))
    }

    /// The plaintext of a block, verified on the way.
    pub(crate) async fn plaintext(&self, id: BlockId, key: Option<BlockKey>) -> Result<Bytes, ReadError> {
        if let Some(plain) = key.as_ref().and_then(|key| self.opened_now(&id, key)) {
            self.note_block_use(id);
            return Ok(plain);
        }
        let stored = self.stored(id).await?;
        self.plaintext_of(&stored, key.as_ref()).await
    }

    /// The plaintext of the stored bytes of a block.
    async fn plaintext_of(&self, stored: &Bytes, key: Option<&BlockKey>) -> Result<Bytes, ReadError> {
        let Some(base) = block::base_of(stored) else { return decode(stored, key) };
        let delta = Delta::open(stored, key)?;
        let base = self.stored(base).await?;
        delta.decode(&decode(&base, delta.base_key.as_ref())?)
    }

    /// The stored bytes of a block, from here or from elsewhere.
    async fn stored(&self, id: BlockId) -> Result<Bytes, ReadError> {
        self.note_block_use(id);
        if let Ok(Some(stored)) = self.store().block_now(&id) {
            return Ok(stored);
        }
        let store = self.store().clone();
        let here = tokio::task::spawn_blocking(move || store.block(&id));
        match here.await.map_err(|_| StorageError::Stopping)? {
            Ok(stored) => Ok(stored),
            // Not here, or damaged: somebody else may have it.
            Err(error) => Box::pin(self.fetch_elsewhere(id)).await.ok_or_else(|| error.into()),
        }
    }

    /// The plaintext of a sealed block that needs not be waited for. Its key, which is no other block's, opens nothing that is not as it was sealed, so
    /// the bytes are not hashed as well. Whatever is wrong is found out in the usual way.
    fn opened_now(&self, id: &BlockId, key: &BlockKey) -> Option<Bytes> {
        let mut stored = self.store().unverified_now(id).ok()??;
        let length = seal::open_block_in_place(key, &mut stored).ok()?.len();
        let body = Bytes::from(stored).slice(block::HEADER..block::HEADER + length);
        block::decode_body_of(&body).ok()
    }
}

/// A delta whose base is still to be read.
struct Delta {
    body: Bytes,
    base_key: Option<BlockKey>,
}

impl Delta {
    fn open(stored: &Bytes, key: Option<&BlockKey>) -> Result<Self, ReadError> {
        let Some(key) = key else {
            return match block::split_delta(stored).map_err(undecodable)? {
                Some((block::Kind::Delta, _, body)) => {
                    Ok(Self { body: stored.slice_ref(body), base_key: None })
                }
                _ => Err(undecodable("not a clear delta").into()),
            };
        };
        let (base_key, body) = seal::open_delta(key, stored).map_err(undecodable)?;
        Ok(Self { body: body.into(), base_key: Some(base_key) })
    }

    fn decode(&self, base: &[u8]) -> Result<Bytes, ReadError> {
        Ok(block::decode_delta(&self.body, base).map_err(undecodable)?)
    }
}

fn undecodable(what: impl std::fmt::Display) -> StorageError {
    StorageError::Write(format!("a block does not decode: {what}"))
}

/// The plaintext of a block that is no delta.
pub(crate) fn decode(stored: &Bytes, key: Option<&BlockKey>) -> Result<Bytes, ReadError> {
    let Some(key) = key else {
        return Ok(block::decode_clear_of(stored).map_err(undecodable)?);
    };
    let body = seal::open_block(key, stored).map_err(undecodable)?.into();
    Ok(block::decode_body_of(&body).map_err(undecodable)?)
}

fn version_info(
    address: &Address,
    stored: &Stored,
    opener: Option<&Opener>,
) -> Result<VersionInfo, ReadError> {
    let deleted = stored.record.kind != Kind::Object;
    let metadata = match Opened::of(address, stored, opener) {
        _ if deleted => None,
        Ok(opened) => Some(opened.metadata()),
        // Sealed by somebody else, or under a key that is gone: that it is there is all there is to say.
        Err(ReadError::Unreadable { .. } | ReadError::Resealing { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(VersionInfo {
        version: stored.record.version,
        modified_ms: metadata.as_ref().map_or(stored.record.time.ms(), |metadata| metadata.modified_ms),
        deleted,
        private: (!deleted).then_some(stored.is_sealed()),
        metadata,
    })
}

impl Object {
    pub(crate) fn from_opened(objects: &Objects, opened: Opened) -> Object {
        let metadata = Arc::new(opened.metadata());
        Object {
            metadata,
            objects: objects.clone(),
            content: Arc::new(opened.content),
            record: None,
            made: Made::default(),
        }
    }

    fn from_shown(objects: &Objects, shown: Shown, record: RecordHash) -> Object {
        let Shown { metadata, content, made, .. } = shown;
        let record = (metadata.size <= BODY_MAX).then_some(record);
        Object { metadata, objects: objects.clone(), content, record, made }
    }

    /// What is made of the properties, once for all who read this version, by a caller that always makes the same of them.
    pub fn made<T: Any + Send + Sync>(&self, make: impl FnOnce(&Metadata) -> T) -> Option<Arc<T>> {
        let made = self.made.get_or_init(|| Arc::new(make(&self.metadata)));
        Arc::clone(made).downcast().ok()
    }

    /// The bytes of a range in one piece, where the object is short: from memory, or read and remembered there.
    pub async fn at_once(&self, range: Range<u64>) -> Option<Result<Bytes, ReadError>> {
        let record = self.record?;
        let whole = match self.objects.memory().body(&record) {
            Some(whole) => whole,
            None if !self.objects.memory().wants_body(&record, self.metadata.size) => return None,
            None => match Box::pin(self.read_whole()).await {
                Ok(whole) => {
                    self.objects.memory().keep_body(record, &whole);
                    whole
                }
                Err(error) => return Some(Err(error)),
            },
        };
        let place = |at: u64| usize::try_from(at).map_or(whole.len(), |at| at.min(whole.len()));
        let (start, end) = (place(range.start), place(range.end));
        Some(Ok(part(&whole, start.min(end)..end)))
    }

    async fn read_whole(&self) -> Result<Bytes, ReadError> {
        let mut body = self.whole();
        let Some(first) = body.next().await.transpose()? else { return Ok(Bytes::new()) };
        let size = usize::try_from(self.metadata.size).unwrap_or(usize::MAX);
        let mut all = Vec::with_capacity(size);
        all.extend_from_slice(&first);
        while let Some(piece) = body.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all.into())
    }

    /// The bytes of a range; what lies past the end is left out.
    pub fn body(&self, range: Range<u64>) -> Body {
        let end = range.end.min(self.metadata.size);
        let range = range.start.min(end)..end;
        let cursor = Cursor::new(self.content.manifest.clone(), range.clone());
        let address = self.metadata.address.clone();
        let ahead = FuturesOrdered::new();
        Body { objects: self.objects.clone(), address, cursor, place: range.start, range, ahead }
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// All bytes.
    pub fn whole(&self) -> Body {
        self.body(0..self.metadata.size)
    }

    /// The first blocks that the bytes are in.
    pub async fn blocks(&self, limit: usize) -> Result<Vec<BlockInfo>, ReadError> {
        let mut body = self.whole();
        let mut blocks = Vec::new();
        while blocks.len() < limit
            && let Some(located) = body.extent().await?
        {
            blocks.push(BlockInfo { hash: located.extent.block.to_string(), size: located.extent.length() });
        }
        Ok(blocks)
    }
}

/// The bytes of a range, block by block. Every block is verified before any byte of it is given out.
pub struct Body {
    objects: Objects,
    address: Address,
    cursor: Cursor,
    range: Range<u64>,
    place: u64,
    ahead: FuturesOrdered<BoxFuture<'static, Coming>>,
}

/// What comes next, and the block that it lies in where that had to be fetched from elsewhere.
type Coming = Result<(LocatedExtent, Option<Bytes>), ReadError>;

impl Body {
    /// Bytes that are still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.range.end - self.place
    }

    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        if self.place >= self.range.end {
            return None;
        }
        let piece = self.piece().await;
        match &piece {
            Ok(bytes) => self.place += bytes.len() as u64,
            Err(_) => self.place = self.range.end,
        }
        Some(piece)
    }

    async fn piece(&mut self) -> Result<Bytes, ReadError> {
        self.look_ahead().await;
        let Some((located, fetched)) = self.ahead.next().await.transpose()? else {
            return Err(self.damaged("its manifest does not cover its size"));
        };
        let (id, key) = (located.extent.block, located.extent.key.clone());
        let plain = match fetched {
            Some(stored) => self.objects.plaintext_of(&stored, key.as_ref()).await?,
            None => self.objects.plaintext(id, key).await?,
        };
        let pieces: Vec<_> = located.pieces(self.range.clone()).collect();
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
            return Err(self.damaged("its manifest does not cover its size"));
        };
        // Chunks of one block that follow each other in the object most often follow each other in the block as well.
        let bytes = if pieces.windows(2).all(|two| two[0].wanted.end == two[1].wanted.start) {
            slice(&plain, first.wanted.start, last.wanted.end)
        } else {
            let parts: Option<Vec<_>> =
                pieces.iter().map(|p| slice(&plain, p.wanted.start, p.wanted.end)).collect();
            parts.map(|parts| Bytes::from(parts.concat()))
        };
        bytes.ok_or_else(|| self.damaged("a chunk lies outside its block"))
    }

    /// Begins to fetch what comes next, and what follows it where other nodes have blocks: one after the other would cost a round trip each.
    async fn look_ahead(&mut self) {
        let most = if self.objects.remote().is_some() { AHEAD } else { 1 };
        while self.ahead.len() < most {
            let located = match self.extent().await {
                Ok(None) => return,
                Ok(Some(located)) => located,
                Err(error) => return self.ahead.push_back(ready(Err(error)).boxed()),
            };
            let id = located.extent.block;
            // Where that cannot be said it is read in the usual way.
            let is_here = most == 1 || self.objects.store().has_block(&id).unwrap_or(true);
            let objects = self.objects.clone();
            self.ahead.push_back(match is_here {
                true => ready(Ok((located, None))).boxed(),
                false => async move { Ok((located, objects.fetch_elsewhere(id).await)) }.boxed(),
            });
        }
    }

    /// The next extent of the range.
    pub(crate) async fn extent(&mut self) -> Result<Option<LocatedExtent>, ReadError> {
        loop {
            match self.cursor.step() {
                Step::Done => return Ok(None),
                Step::Extent(located) => return Ok(Some(located)),
                Step::Page(page) => {
                    let plain = self.objects.plaintext(page.block, page.key).await?;
                    self.cursor.supply(&plain).map_err(|error| self.damaged(&error.to_string()))?;
                }
            }
        }
    }

    fn damaged(&self, what: &str) -> ReadError {
        StorageError::Record { address: self.address.clone(), what: what.to_owned() }.into()
    }
}

fn slice(plain: &Bytes, start: u32, end: u32) -> Option<Bytes> {
    let (start, end) = (start as usize, end as usize);
    (start <= end && end <= plain.len()).then(|| part(plain, start..end))
}

/// A part of what is in memory. A small one is copied: otherwise it would keep all of it there for as long as somebody has it.
fn part(whole: &Bytes, range: Range<usize>) -> Bytes {
    match range.len() < whole.len() / 2 {
        true => Bytes::copy_from_slice(&whole[range]),
        false => whole.slice(range),
    }
}
