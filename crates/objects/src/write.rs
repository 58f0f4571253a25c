//! PUT, POST and append: one new version of one object, in one commit.

use crate::{
    Done, Objects,
    address::Address,
    author::{Author, Body, Draft},
    authority::Visibility,
    chain::Chain,
    commit::{self, ATTEMPTS, Change, Newest, event_of},
    error::{ReadError, Refusal, WriteError},
    grant::{Access, Grant, Held, Opener, Read, STALE, Write},
    key::AccessKey,
    metadata::{BlockInfo, ETag, Metadata},
    read::{self, Opened},
    record::{Content, Kind, PROPERTIES_BYTES_MAX, PROPERTIES_MAX},
    stow::{Blocks, Pause, Sealing, Stowed, Stowing},
    tables::{self, Stored},
    tree,
    unfinished::Ending,
};
use aws_lc_rs::digest;
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc};

/// A condition on the newest version, tried when the write begins and again when it commits. A directory that is there has no version: its
/// condition is tried with none.
pub type Precondition = Arc<dyn Fn(Option<&Metadata>) -> bool + Send + Sync>;

/// The longest content type that is kept.
const CONTENT_TYPE_MAX: usize = 256;

/// How many entries beside the one that is written a token's read key is tried on, and how many are looked at to find them.
const SIBLINGS_COMPARED: usize = 4;
const SIBLINGS_SEEN: usize = 64;

/// What a write asks for beside its bytes. What is absent stays as it was, or follows the directory.
#[derive(Clone, Default)]
pub struct WriteOptions {
    /// The media type to serve it with.
    pub content_type: Option<String>,
    /// The media type of an object that is not there yet, where the request names none.
    pub content_type_if_new: Option<String>,
    /// Whether reading it needs a credential.
    pub private: Option<bool>,
    /// Whether it is a program.
    pub executable: Option<bool>,
    /// Add to the end instead of replacing.
    pub append: bool,
    /// Hand the object over to this key.
    pub replacement_key: Option<String>,
    /// What must hold of the newest version.
    pub precondition: Option<Precondition>,
    /// Properties of the object's own to set, or, with nothing as value, to remove.
    pub properties: BTreeMap<String, Option<String>>,
    /// How many bytes will come, if that is known: refused early where they cannot fit.
    pub size_hint: Option<u64>,
    /// When the object was made, where it was kept elsewhere before; an owner's to say.
    pub created_ms: Option<u64>,
    /// When its bytes were last changed, likewise.
    pub modified_ms: Option<u64>,
}

/// What a write made.
#[derive(Clone, Debug)]
pub struct Written {
    /// The new version's properties.
    pub metadata: Metadata,
    /// Whether nothing was there before.
    pub created: bool,
    /// The access key that this very write made, in a drop box written to without one.
    pub new_key: Option<String>,
    /// The first blocks of the bytes.
    pub blocks: Vec<BlockInfo>,
}

/// A write under way. Dropping it stores nothing.
pub struct Upload {
    objects: Objects,
    held: Arc<Held>,
    options: WriteOptions,
    private: bool,
    ownership: Ownership,
    stowing: Stowing,
    new_key: Option<String>,
    /// The unfinished upload that this write ends, if it came in more than one request.
    ending: Option<Ending>,
}

/// Whom the new version will belong to.
pub(crate) enum Ownership {
    /// The owner that the chain names.
    Chain,
    /// A new owner of its own.
    Handed(Box<crate::handover::Handover>),
}

impl Objects {
    /// Begins a write. The body follows; what cannot succeed is refused here, before it is sent.
    pub async fn begin(&self, grant: Grant<Write>, mut options: WriteOptions) -> Result<Upload, WriteError> {
        let held = grant.held;
        if held.address.is_directory() {
            return Err(WriteError::IsDirectory { address: held.address.clone() });
        }
        check_content_type(options.content_type.as_deref())?;
        check_content_type(options.content_type_if_new.as_deref())?;
        let chain = &held.chain;
        self.check_times(&held, &options)?;
        let (ownership, author, new_key) = self.ownership(&held, options.replacement_key.take()).await?;
        let before = before(&held, chain, author.opener.as_ref())?;
        check_precondition(options.precondition.as_ref(), &held.address, before.as_ref())?;
        let inherited = before.as_ref().map(|before| before.private);
        let private = options.private.or(inherited).unwrap_or(chain.policy.private);
        refuse_stale_token(self, &held, private)?;
        self.check_room(&held, options.size_hint)?;
        let sealing = Sealing::of(&author, private).ok_or(Refusal::Forbidden {
            needs: "the token's fourth part, which holds the key to seal with",
        })?;
        let stowing = Stowing::new(self, &held.address, sealing);
        Ok(Upload {
            objects: self.clone(),
            held,
            options,
            private,
            ownership,
            stowing,
            new_key,
            ending: None,
        })
    }

    /// Who will own and sign the version: the chain's owner, or a new one that the request names.
    async fn ownership(
        &self,
        held: &Held,
        replacement: Option<String>,
    ) -> Result<(Ownership, Author, Option<String>), WriteError> {
        let namespace = held.address.namespace();
        let (keys, made) = match (&held.access, replacement) {
            (Access::Anyone(_), Some(text)) => (Some(self.replacement_keys(&text, namespace).await?), None),
            (Access::Anyone(Some(keys)), None) => (Some(Arc::clone(keys)), None),
            (Access::Anyone(None), None) => {
                let key = AccessKey::generate(self.random());
                let text = key.seed().map(|seed| seed.to_text().to_string()).unwrap_or_default();
                (Some(self.keys_of(key, namespace).await?), Some(text))
            }
            (Access::Owner(_), Some(text)) => (Some(self.replacement_keys(&text, namespace).await?), None),
            (_, Some(_)) => return Err(Refusal::Forbidden { needs: "an access key" }.into()),
            (_, None) => (None, None),
        };
        let Some(keys) = keys else {
            return Ok((Ownership::Chain, Author::of(&held.access, &held.chain)?, None));
        };
        let handover = crate::handover::Handover::prepare(self, held, keys)?;
        let author = handover.author();
        Ok((Ownership::Handed(Box::new(handover)), author, made))
    }

    /// Times of an object's life elsewhere are its owner's to say, and lie behind us.
    fn check_times(&self, held: &Held, options: &WriteOptions) -> Result<(), WriteError> {
        let Some(latest) = options.created_ms.max(options.modified_ms) else { return Ok(()) };
        if !matches!(held.access, Access::Owner(_)) {
            return Err(Refusal::Forbidden { needs: "an access key, to say when the object was made" }.into());
        }
        if latest > self.clock().now_ms() {
            let what = "`created` and `modified` are times that have been; leave them out for now".into();
            return Err(WriteError::Invalid { what });
        }
        Ok(())
    }

    fn check_room(&self, held: &Held, size: Option<u64>) -> Result<(), WriteError> {
        let Some(size) = size else { return Ok(()) };
        for (directory, limit) in &held.chain.policy.quotas {
            if self.usage(directory)?.saturating_add(size) > *limit {
                return Err(WriteError::Quota { directory: directory.clone(), limit: *limit });
            }
        }
        Ok(())
    }
}

impl Upload {
    /// A write that an earlier request began and put away; it belongs to the owner that the chain names.
    pub(crate) fn taken_up(
        objects: &Objects,
        held: Arc<Held>,
        options: WriteOptions,
        private: bool,
        stowing: Stowing,
    ) -> Self {
        let objects = objects.clone();
        Upload {
            objects,
            held,
            options,
            private,
            ownership: Ownership::Chain,
            stowing,
            new_key: None,
            ending: None,
        }
    }

    /// Whether reading the version will need a credential.
    pub(crate) fn is_private(&self) -> bool {
        self.private
    }

    pub(crate) fn options_mut(&mut self) -> &mut WriteOptions {
        &mut self.options
    }

    /// What has come so far, to be put away.
    pub(crate) async fn pause(&mut self) -> Result<Pause, WriteError> {
        self.stowing.pause().await
    }

    /// Commits as [`Upload::finish`] does, and ends the unfinished upload in the same commit.
    pub(crate) async fn finish_ending(self, ending: Ending) -> Result<Written, WriteError> {
        Upload { ending: Some(ending), ..self }.finish().await
    }

    /// Takes the next bytes of the body.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), WriteError> {
        self.stowing.write(bytes).await
    }

    /// The body is complete: makes the version durable and visible, or changes nothing.
    pub async fn finish(self) -> Result<Written, WriteError> {
        let Upload { objects, held, options, private, ownership, stowing, new_key, ending } = self;
        let stowed = stowing.finish().await?;
        let write = Finish { objects, held, options, private, ownership, new_key, ending };
        for attempt in 0..ATTEMPTS {
            let chain = write.chain(attempt).await?;
            if let Some(written) = write.attempt(&chain, &stowed).await? {
                return Ok(written);
            }
        }
        Err(WriteError::Conflict { address: write.held.address.clone() })
    }
}

/// A write whose bytes are stowed, to be committed, if need be more than once.
struct Finish {
    objects: Objects,
    held: Arc<Held>,
    options: WriteOptions,
    private: bool,
    ownership: Ownership,
    new_key: Option<String>,
    ending: Option<Ending>,
}

impl Finish {
    /// The chain as it was when authority was decided, or as it is now that something changed; authority is then decided again.
    async fn chain(&self, attempt: usize) -> Result<Chain, WriteError> {
        if attempt == 0 {
            return Ok(self.held.chain.clone());
        }
        let again = self.objects.authorize_again::<Write>(&self.held.proven, &self.held.address).await?;
        let same_owner = again.held.chain.place.owner == self.held.chain.place.owner
            && again.held.chain.place.epoch == self.held.chain.place.epoch;
        if !same_owner {
            return Err(WriteError::Conflict { address: self.held.address.clone() });
        }
        Ok(again.held.chain.clone())
    }

    async fn attempt(&self, chain: &Chain, stowed: &Stowed) -> Result<Option<Written>, WriteError> {
        let Finish { objects, held, options, .. } = self;
        let address = &held.address;
        let author = match &self.ownership {
            Ownership::Chain => Author::of(&held.access, chain)?,
            Ownership::Handed(handover) => handover.author(),
        };
        let opener = held.access.opener(chain);
        let before = before(held, chain, opener.as_ref().or(author.opener.as_ref()))?;
        check_precondition(options.precondition.as_ref(), address, before.as_ref())?;
        let now_ms = objects.clock().now_ms();
        let mut content = self.content(before.as_ref(), stowed, now_ms);
        edit_properties(&mut content.properties, &options.properties)?;
        let mut blocks = Blocks { told: Vec::new(), ..stowed.blocks.clone() };
        if let (true, Some(_), Some(stored)) = (options.append, &before, &chain.object) {
            let mut joined = held.convict(Opened::of(address, stored, opener.as_ref()))?;
            blocks = self.append(&author, stored, &mut joined, stowed).await?;
            content = Content {
                content_type: content.content_type,
                created_ms: content.created_ms,
                modified_ms: content.modified_ms,
                executable: content.executable,
                ..joined.content
            };
        }
        let references = commit::references(&blocks.lists, &blocks.needs, &mut blocks.fresh)?;
        let version = chain.object.as_deref().map_or(1, |stored| stored.record.version + 1);
        let place = self.place(chain);
        let envelope = author.sign(
            objects,
            Draft {
                kind: Kind::Object,
                address,
                version,
                predecessor: chain.object.as_deref().map(|stored| stored.hash),
                blocks: references.clone(),
                body: if self.private {
                    Body::Private(&content, chain.object.as_deref().map(|stored| &stored.record))
                } else {
                    Body::Public(&content)
                },
                place: place.clone(),
                delegation: self.delegation(chain),
                policy: None,
                purged: false,
            },
        )?;
        let mut change = Change::new();
        change.expect_chain(chain);
        let newest = Newest {
            size: content.size,
            envelope: &envelope,
            references,
            kind: Kind::Object,
            owner: place.is_some().then_some(author.owner),
            public: !self.private,
        };
        change.put_current(address, chain, chain.object.as_deref(), newest);
        crate::retention::trim(objects, &mut change, address, chain)?;
        if matches!(self.ownership, Ownership::Handed(_)) {
            change.names_owner();
        }
        change.log(&event_of(address, chain.object.as_deref(), version, now_ms, !self.private));
        self.program(&mut change, chain, content.executable)?;
        objects.name(&mut change, &author, chain, address, self.private)?;
        objects.file_elsewhere(&mut change, &author, chain.object.as_deref(), &envelope)?;
        change.carry(blocks.fresh, blocks.pins);
        if let Some(ending) = &self.ending {
            ending.add_to(&mut change, chain, address, version);
        }
        let metadata = read::metadata(address, version, self.private, author.owner, &content);
        let created = before.is_none();
        change.answers(Done { metadata: Some(metadata.clone()), created, new_key: self.new_key.clone() });
        if change.commit(objects).await?.is_none() {
            return Ok(None);
        }
        let blocks =
            stowed.blocks.told.iter().map(|(id, size)| BlockInfo { hash: id.to_string(), size: *size });
        Ok(Some(Written { metadata, created, new_key: self.new_key.clone(), blocks: blocks.collect() }))
    }

    /// What was attached stays with what its owner writes, and with nobody else's code.
    fn program(&self, change: &mut Change, chain: &Chain, executable: bool) -> Result<(), WriteError> {
        let (objects, address) = (&self.objects, &self.held.address);
        let owner = chain.place.owner;
        let stays = executable
            && matches!(self.held.access, Access::Owner(_))
            && objects.attachment_by(address, owner)?.is_some();
        match &self.ownership {
            _ if !stays => change.detach_program(objects, address)?,
            Ownership::Handed(handover) => objects.hand_on_program(change, address, handover)?,
            Ownership::Chain => {}
        }
        Ok(())
    }

    /// Puts the stowed bytes behind those of the version before.
    async fn append(
        &self,
        author: &Author,
        stored: &Stored,
        joined: &mut Opened,
        stowed: &Stowed,
    ) -> Result<Blocks, WriteError> {
        if joined.private != self.private {
            let what = "an append cannot change `private`; change it first, or replace the object".into();
            return Err(WriteError::Invalid { what });
        }
        let sealing = Sealing::of(author, self.private).ok_or(Refusal::Unauthenticated { note: None })?;
        crate::append::join(&self.objects, stored, joined, &sealing, stowed).await
    }

    fn content(&self, before: Option<&Before>, stowed: &Stowed, now_ms: u64) -> Content {
        let options = &self.options;
        // What was private is not told to everybody by whoever may not read it.
        let would_tell = |before: &&Before| before.private && !self.private && !self.may_read();
        let before = before.filter(|before| !would_tell(before)).and_then(|before| before.metadata.as_ref());
        let kept = |of: fn(&Metadata) -> String| before.map(of);
        Content {
            address: self.held.address.clone(),
            size: stowed.size,
            content_type: options
                .content_type
                .clone()
                .or_else(|| kept(|metadata| metadata.content_type.clone()))
                .or_else(|| options.content_type_if_new.clone())
                .unwrap_or_else(|| "application/octet-stream".into()),
            etag: etag_of(&stowed.sha256).0,
            created_ms: options
                .created_ms
                .or(before.map(|metadata| metadata.created_ms))
                .or(options.modified_ms)
                .unwrap_or(now_ms),
            modified_ms: options.modified_ms.unwrap_or(now_ms),
            executable: options.executable.or(before.map(|metadata| metadata.executable)).unwrap_or(false),
            sha256: Some(stowed.sha256),
            manifest: stowed.manifest.clone(),
            properties: before.map(|metadata| metadata.properties.clone()).unwrap_or_default(),
        }
    }

    fn may_read(&self) -> bool {
        self.objects.authorize_proven::<Read>(&self.held.proven, &self.held.address).is_ok()
    }

    /// The read roots that the new record carries, if it names its owner.
    fn place(&self, chain: &Chain) -> Option<Vec<crate::record::PlaceRoot>> {
        match &self.ownership {
            Ownership::Handed(handover) => Some(handover.roots()),
            Ownership::Chain if chain.place.address == self.held.address => {
                chain.object.as_deref().and_then(|stored| stored.record.place.clone())
            }
            Ownership::Chain => None,
        }
    }

    fn delegation(&self, chain: &Chain) -> Option<crate::record::Delegation> {
        match &self.ownership {
            Ownership::Handed(handover) => handover.delegation(&self.objects, self.private),
            Ownership::Chain => chain.object.as_deref().and_then(|stored| stored.record.delegation.clone()),
        }
    }
}

/// The validator of bytes with this SHA-256.
pub(crate) fn etag_of(sha256: &[u8; 32]) -> ETag {
    let mut etag = [0; 16];
    etag.copy_from_slice(&sha256[..16]);
    ETag(etag)
}

/// The validator of bytes that were added to others.
pub(crate) fn etag_of_joined(before: ETag, added: &[u8; 32]) -> ETag {
    let mut both = digest::Context::new(&digest::SHA256);
    both.update(&before.0);
    both.update(added);
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(both.finish().as_ref());
    etag_of(&sha256)
}

/// What is there now, as far as the writer can open it.
pub(crate) struct Before {
    pub(crate) private: bool,
    /// Its properties, unless it was sealed under a key to which the owner's does not lead.
    pub(crate) metadata: Option<Metadata>,
}

pub(crate) fn before(
    held: &Held,
    chain: &Chain,
    opener: Option<&Opener>,
) -> Result<Option<Before>, WriteError> {
    let address = &held.address;
    let is_there = matches!(chain.facts(address).visibility, Visibility::Public | Visibility::Private);
    let Some(stored) = chain.object.as_deref().filter(|_| is_there) else { return Ok(None) };
    let metadata = match held.convict(Opened::of(address, stored, opener)) {
        Ok(opened) => Some(opened.metadata()),
        // The owner may replace what nobody can read.
        Err(ReadError::Unreadable { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Some(Before { private: stored.is_sealed(), metadata }))
}

/// A condition on properties that are not known does not hold.
pub(crate) fn check_precondition(
    precondition: Option<&Precondition>,
    address: &Address,
    before: Option<&Before>,
) -> Result<(), WriteError> {
    let Some(holds) = precondition else { return Ok(()) };
    let fulfilled = match before {
        None => holds(None),
        Some(before) => before.metadata.as_ref().is_some_and(|metadata| holds(Some(metadata))),
    };
    if fulfilled { Ok(()) } else { Err(WriteError::Precondition { address: address.clone() }) }
}

/// Refuses a token whose read key is that of an epoch before, as far as that can be told: its owner vouched for the key when the token was
/// made, but the place may have been handed on and back since. What is sealed below the token's subject now opens with the right one.
pub(crate) fn refuse_stale_token(objects: &Objects, held: &Held, private: bool) -> Result<(), WriteError> {
    let (Access::Token(token), Some(opener)) = (&held.access, held.opener()) else { return Ok(()) };
    if !private || !token.subject().is_directory() {
        return Ok(());
    }
    let place = &held.chain.place;
    let mut compared = 0;
    let range = tables::prefix_range(tables::address_key(token.subject()));
    for item in objects.store().scan(tables::CURRENT, range).take(SIBLINGS_SEEN) {
        let (key, entry) = item?;
        let address = tree::address_of(&key)?;
        let Ok(Stored { record, .. }) = Stored::decode(&address, entry) else { continue };
        let is_of_place =
            record.place.is_none() && record.owner == place.owner && record.epoch == place.epoch;
        if !record.is_private() || !is_of_place {
            continue;
        }
        let above = Chain::above(objects, &address)?;
        if above.is_none_or(|above| above.place.address != place.address) {
            continue;
        }
        if opener.read_key(&address, record.epoch).is_some_and(|key| key.locator() == record.locator) {
            return Ok(());
        }
        compared += 1;
        if compared == SIBLINGS_COMPARED {
            break;
        }
    }
    match compared {
        0 => Ok(()),
        _ => Err(Refusal::Unauthenticated { note: Some(STALE.to_owned()) }.into()),
    }
}

/// Sets and removes properties of an object's own, within the bound of what one may have.
pub(crate) fn edit_properties(
    properties: &mut BTreeMap<String, String>,
    edits: &BTreeMap<String, Option<String>>,
) -> Result<(), WriteError> {
    for (name, value) in edits {
        match value {
            Some(value) => properties.insert(name.clone(), value.clone()),
            None => properties.remove(name),
        };
    }
    let bytes: usize = properties.iter().map(|(name, value)| name.len() + value.len()).sum();
    if properties.len() <= PROPERTIES_MAX && bytes <= PROPERTIES_BYTES_MAX {
        return Ok(());
    }
    let what = format!(
        "an object has at most {PROPERTIES_MAX} properties of its own with {PROPERTIES_BYTES_MAX} bytes; keep more in an object"
    );
    Err(WriteError::TooLarge { what })
}

/// A content type must be one that can be sent back as a header.
pub(crate) fn check_content_type(content_type: Option<&str>) -> Result<(), WriteError> {
    let Some(text) = content_type else { return Ok(()) };
    let sendable = !text.is_empty()
        && text.len() <= CONTENT_TYPE_MAX
        && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    if sendable {
        return Ok(());
    }
    Err(WriteError::Invalid {
        what: format!("the content type must be 1 to {CONTENT_TYPE_MAX} printable ASCII characters"),
    })
}
