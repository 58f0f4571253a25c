//! COPY, MOVE and restoring an old version: new records for the same blocks. No block is read or written; a tree is one commit.

use crate::{
    Done, Objects,
    address::Address,
    author::{Author, Body, Draft},
    commit::{ATTEMPTS, Change, Newest},
    delete::present,
    error::{ReadError, Refusal, WriteError},
    event::{Event, EventKind},
    grant::{Access, Delete, Grant, Held, List, Read, Write},
    list::ListOptions,
    metadata::Metadata,
    owned::named_owner,
    program::{Attachment, Way},
    read::{self, Opened},
    record::Kind,
    rom::refuse_source,
    tables::Stored,
    tree,
    write::{self, Precondition, Written},
};
use std::{collections::HashSet, sync::Arc};

/// What a COPY or MOVE did.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Whether nothing was at the destination before.
    pub created: bool,
    /// How many objects arrived.
    pub objects: u64,
    /// The properties of the object that arrived, unless it was a tree.
    pub metadata: Option<Metadata>,
}

/// What must hold for a COPY or MOVE, tried at its commit.
#[derive(Clone, Default)]
pub struct Expected {
    /// Of what is carried.
    pub source: Option<Precondition>,
    /// Of what is at the destination.
    pub target: Option<Precondition>,
    /// What arrives takes the place of all that is at the destination, also of a directory where an object arrives and the other way round.
    /// Without it a tree is laid over what is there.
    pub replaces: bool,
}

/// One object on its way: where it lies, what it is, where it goes.
struct Leg {
    source: Arc<Held>,
    target: Arc<Held>,
    stored: Stored,
    opened: Opened,
    /// What it holds where it arrives, if it is a program.
    attachment: Option<Attachment>,
}

impl Objects {
    /// Copies the newest version of an object, or of everything below a directory.
    pub async fn copy(
        &self,
        from: Grant<Read>,
        to: Grant<Write>,
        expected: Expected,
    ) -> Result<Moved, WriteError> {
        self.carry(from, None, to, expected).await
    }

    /// Moves an object, or everything below a directory. Older versions stay where they were made, for as long as retention says.
    pub async fn relocate(
        &self,
        read: Grant<Read>,
        delete: Grant<Delete>,
        to: Grant<Write>,
        expected: Expected,
    ) -> Result<Moved, WriteError> {
        self.carry(read, Some(delete), to, expected).await
    }

    /// Refuses a directory that shows this caller nothing as a source, in the words for one that is not there at all. For the destination comes
    /// after it, and its refusal would tell the two apart.
    pub async fn check_source(&self, from: &Grant<Read>) -> Result<(), ReadError> {
        if !from.address().is_directory() || !matches!(from.held.access, Access::Public) {
            return Ok(());
        }
        let list = self.authorize_proven::<List>(&from.held.proven, from.address())?;
        self.list(&list, ListOptions { after: None, limit: 1, recursive: true }).await.map(|_| ())
    }

    async fn carry(
        &self,
        from: Grant<Read>,
        delete: Option<Grant<Delete>>,
        to: Grant<Write>,
        expected: Expected,
    ) -> Result<Moved, WriteError> {
        let (source, target) = (from.address().clone(), to.address().clone());
        check_ends(&source, &target)?;
        if expected.replaces && source.starts_with(&as_directory(&target)?) {
            let what = format!("{source} lies below {target}, which it would replace");
            return Err(WriteError::Invalid { what });
        }
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.authorize_again::<Read>(&from.held.proven, &source).await?;
                self.authorize_again::<Write>(&to.held.proven, &target).await?;
            }
            let legs = self.legs(&from, &to, delete.is_some())?;
            check_source(&source, &legs, expected.source.as_ref())?;
            let mut change = Change::new();
            let mut created = false;
            let mut arrived = None;
            for leg in &legs {
                let (new, metadata) =
                    self.arrive(&mut change, leg, expected.target.as_ref(), delete.is_some())?;
                created |= new;
                arrived = Some(metadata);
                if let Some(delete) = &delete {
                    self.leave(&mut change, leg, delete)?;
                }
                tree::check_size(&change)?;
            }
            if expected.replaces {
                created &= !self.make_way(&mut change, &to, &legs)?;
            }
            let metadata = arrived.filter(|_| !target.is_directory());
            change.answers(Done { metadata: metadata.clone(), created, new_key: None });
            if change.commit(self).await?.is_some() {
                return Ok(Moved { created, objects: legs.len() as u64, metadata });
            }
        }
        Err(WriteError::Conflict { address: target })
    }

    /// Every object that goes, with authority decided for both ends of each.
    fn legs(&self, from: &Grant<Read>, to: &Grant<Write>, is_move: bool) -> Result<Vec<Leg>, WriteError> {
        let (source, target) = (from.address(), to.address());
        refuse_source(self, source)?;
        let way = Way { from: source, to: target };
        if !source.is_directory() {
            let held = self.authorize_proven::<Read>(&from.held.proven, source)?.held;
            let to = self.authorize_proven::<Write>(&to.held.proven, target)?.held;
            return Ok(vec![self.leg(held, to, way)?]);
        }
        let mut legs = Vec::new();
        for address in tree::live_objects(self, source)? {
            refuse_source(self, &address)?;
            let held = match self.authorize_proven::<Read>(&from.held.proven, &address) {
                Ok(held) => held,
                Err(Refusal::Storage(error)) => return Err(error.into()),
                // A copy takes what its maker may read; a move that leaves something behind is none.
                Err(_) if is_move => return Err(tree::blocked(&from.held, address)),
                Err(_) => continue,
            };
            let below = address.as_str().strip_prefix(source.as_str()).unwrap_or_default();
            let destination = Address::parse_exact(&format!("{target}{below}"))
                .map_err(|error| WriteError::Invalid { what: format!("{target}{below}: {error}") })?;
            let to = self.authorize_proven::<Write>(&to.held.proven, &destination)?.held;
            legs.push(self.leg(held.held, to, way)?);
        }
        if legs.is_empty() {
            return Err(WriteError::of_source(from.held.nothing_there()));
        }
        Ok(legs)
    }

    fn leg(&self, source: Arc<Held>, target: Arc<Held>, way: Way<'_>) -> Result<Leg, WriteError> {
        let stored = present(&source.address, &source.chain)?.clone();
        let mut opened = source.open(&stored).map_err(WriteError::of_source)?;
        if opened.content.executable && matches!(source.access, Access::Public) {
            // That anybody may run a program gives nobody its source.
            return Err(Refusal::Unauthenticated { note: None }.into());
        }
        let attachment = self.carry_program(&source, &target, &mut opened, way)?;
        Ok(Leg { source, target, stored, opened, attachment })
    }

    fn arrive(
        &self,
        change: &mut Change,
        leg: &Leg,
        precondition: Option<&Precondition>,
        moved: bool,
    ) -> Result<(bool, Metadata), WriteError> {
        let Leg { source, target, stored, opened, attachment } = leg;
        let chain = &target.chain;
        let before = present(&target.address, chain).ok();
        let at_target = write::before(target, chain, target.opener().as_ref())?;
        write::check_precondition(precondition, &target.address, at_target.as_ref())?;
        write::refuse_stale_token(self, target, opened.private)?;
        let author = Author::of(&target.access, chain)?;
        let mut content = opened.content.clone();
        content.address = target.address.clone();
        content.modified_ms = self.clock().now_ms();
        if !moved {
            content.created_ms = at_target
                .and_then(|before| before.metadata)
                .map_or(content.modified_ms, |metadata| metadata.created_ms);
        }
        let version = chain.object.as_deref().map_or(1, |stored| stored.record.version + 1);
        let place = chain.object.as_deref().and_then(|stored| stored.record.place.clone());
        let envelope = author.sign(
            self,
            Draft {
                kind: Kind::Object,
                address: &target.address,
                version,
                predecessor: chain.object.as_deref().map(|stored| stored.hash),
                blocks: stored.references.clone(),
                body: if opened.private {
                    Body::Private(&content, chain.object.as_deref().map(|stored| &stored.record))
                } else {
                    Body::Public(&content)
                },
                place,
                delegation: chain.object.as_deref().and_then(|stored| stored.record.delegation.clone()),
                policy: None,
                purged: false,
            },
        )?;
        change.expect_chain(chain);
        change.expect_current(&source.address, stored.sequence);
        let references = stored.held.clone();
        let newest = Newest {
            size: stored.size,
            envelope: &envelope,
            references,
            kind: Kind::Object,
            owner: chain.object.as_deref().and_then(|stored| named_owner(&stored.record)),
            public: !opened.private,
        };
        change.put_current(&target.address, chain, chain.object.as_deref(), newest);
        self.name(change, &author, chain, &target.address, opened.private)?;
        self.file_elsewhere(change, &author, chain.object.as_deref(), &envelope)?;
        change.attach_program(self, &target.address, attachment.as_ref())?;
        let kind = match (moved, before) {
            (true, _) => EventKind::Moved,
            (false, Some(_)) => EventKind::Updated,
            (false, None) => EventKind::Created,
        };
        let from = moved.then(|| source.address.clone());
        let (address, time_ms, public) = (target.address.clone(), content.modified_ms, !opened.private);
        let was_public = before.is_some_and(Stored::is_public);
        change.log(&Event { kind, address, from, version, time_ms, public, was_public });
        let metadata = read::metadata(&target.address, version, opened.private, author.owner, &content);
        Ok((before.is_none(), metadata))
    }

    /// Removes what is at the destination and nothing arrives at, in the same commit. Whether there was any.
    fn make_way(&self, change: &mut Change, to: &Grant<Write>, legs: &[Leg]) -> Result<bool, WriteError> {
        let target = to.address();
        let arriving: HashSet<&Address> = legs.iter().map(|leg| &leg.target.address).collect();
        let mut left = tree::live_objects(self, &as_directory(target)?)?;
        if target.is_directory() && !target.is_namespace() {
            let object = target.as_str().trim_end_matches('/');
            left.extend(Address::parse_exact(object).ok());
        }
        let mut any = false;
        for address in left.into_iter().filter(|address| !arriving.contains(address)) {
            let held = match self.authorize_proven::<Delete>(&to.held.proven, &address) {
                Ok(grant) => grant.held,
                Err(Refusal::Storage(error)) => return Err(error.into()),
                Err(_) => return Err(tree::blocked(&to.held, address)),
            };
            let Ok(before) = present(&address, &held.chain) else { continue };
            self.bury(change, &held, before, false)?;
            tree::check_size(change)?;
            any = true;
        }
        Ok(any)
    }

    fn leave(&self, change: &mut Change, leg: &Leg, delete: &Grant<Delete>) -> Result<(), WriteError> {
        let address = &leg.source.address;
        let held = self.authorize_proven::<Delete>(&delete.held.proven, address)?.held;
        self.bury(change, &held, present(address, &held.chain)?, false)
    }

    /// Makes a new version that equals an older one.
    pub async fn restore(
        &self,
        read: Grant<Read>,
        write: Grant<Write>,
        version: u64,
    ) -> Result<Written, WriteError> {
        let address = write.address().clone();
        for _ in 0..ATTEMPTS {
            let source = self.authorize_proven::<Read>(&read.held.proven, &address)?.held;
            let target = self.authorize_proven::<Write>(&write.held.proven, &address)?.held;
            let absent = || WriteError::VersionAbsent { address: address.clone(), version };
            let current = source.chain.object.as_deref();
            let stored = match current {
                Some(current) if current.record.version == version => current.clone(),
                _ => self.older(&address, version)?.ok_or_else(absent)?,
            };
            if stored.record.kind != Kind::Object {
                return Err(absent());
            }
            let mut opened = source.open(&stored).map_err(|error| match error {
                ReadError::Resealing { .. } => absent(),
                // An older version that was private is not opened by who may read the newest because it is public.
                ReadError::Refused(Refusal::Forbidden { .. }) => absent(),
                other => other.into(),
            })?;
            // The version restored must still be kept when this commits.
            let mut change = Change::new();
            if current.is_none_or(|current| current.record.version != version) {
                change.expect_version(&address, version, stored.sequence);
            }
            let sequence = current.map_or(0, |current| current.sequence);
            let way = Way { from: &address, to: &address };
            let attachment = self.carry_program(&source, &target, &mut opened, way)?;
            let leg = Leg { source, target, stored: Stored { sequence, ..stored }, opened, attachment };
            let (created, metadata) = self.arrive(&mut change, &leg, None, false)?;
            change.answers(Done { metadata: Some(metadata.clone()), created, new_key: None });
            if change.commit(self).await?.is_some() {
                return Ok(Written { metadata, created, new_key: None, blocks: Vec::new() });
            }
        }
        Err(WriteError::Conflict { address })
    }
}

/// A tree has no version of its own: its condition is tried with none.
fn check_source(source: &Address, legs: &[Leg], holds: Option<&Precondition>) -> Result<(), WriteError> {
    let single = legs.first().filter(|_| !source.is_directory());
    let metadata = single.map(|leg| leg.opened.metadata());
    match holds.is_none_or(|holds| holds(metadata.as_ref())) {
        true => Ok(()),
        false => Err(WriteError::Precondition { address: source.clone() }),
    }
}

/// The address of a directory with this name.
fn as_directory(address: &Address) -> Result<Address, WriteError> {
    if address.is_directory() {
        return Ok(address.clone());
    }
    Address::parse_exact(&format!("{address}/"))
        .map_err(|error| WriteError::Invalid { what: format!("{address}/: {error}") })
}

/// Objects go to objects, directories to directories, and nothing goes into itself.
fn check_ends(source: &Address, target: &Address) -> Result<(), WriteError> {
    let what = match (source.is_directory(), target.is_directory()) {
        _ if source == target => format!("{source} is both source and destination"),
        (true, false) => format!("{source} is a directory, so its destination must end in `/` ({target}/)"),
        (false, true) => {
            format!("{target} is a directory; name the object in it, as in {target}{}", source.name())
        }
        (true, true) if target.starts_with(source) => format!("{target} lies below {source}"),
        _ => return Ok(()),
    };
    Err(WriteError::Invalid { what })
}
