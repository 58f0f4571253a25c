//! Listings: the names below a directory that this caller may know of, page by page.
//!
//! Keys of the current table are whole addresses, so the children of a directory are found by seeking past each subdirectory; no
//! directory keeps a list of its own that a write would have to update. Who can open nothing below the directory walks the table of public
//! objects, and that of objects which name an owner whose key was presented, instead: what is hidden from them then costs no time that they
//! could measure.
//!
//! One entry that does not open does not spoil the rest. The owner of the directory sees that it is there; everybody else does not.

use crate::{
    Objects,
    address::Address,
    authority::{Basis, Need, Visibility, decide},
    chain::{Chain, DirectoryState},
    error::{ReadError, Refusal, StorageError},
    grant::{Grant, Held, List, Opener},
    metadata::Metadata,
    read::metadata_of,
    record::Kind,
    tables::{self, Stored},
    tree,
    turns::{self, NoTurn},
};
use std::{ops::Bound, sync::Arc};

/// The most entries that one page holds.
pub const PAGE_MAX: usize = 10_000;

/// What of a directory to list.
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// Entries after this name (as an entry of an earlier page had it).
    pub after: Option<String>,
    /// At most this many, and at most [`PAGE_MAX`].
    pub limit: usize,
    /// Everything below, not only the next level.
    pub recursive: bool,
}

impl Default for ListOptions {
    fn default() -> Self {
        ListOptions { after: None, limit: 1_000, recursive: false }
    }
}

/// One page of a listing, sorted by the bytes of the names.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The entries.
    pub entries: Vec<ListEntry>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// One entry of a listing.
#[derive(Clone, Debug)]
pub struct ListEntry {
    /// Its name, relative to the directory; a directory's ends in `/`.
    pub name: String,
    /// What it is.
    pub what: Listed,
}

/// What an entry of a listing is.
#[derive(Clone, Debug)]
pub enum Listed {
    /// Something lies below it.
    Directory,
    /// An object that the caller may read.
    Object(Box<Metadata>),
    /// An object in the caller's own directory that the caller's key does not open: somebody else's, or sealed under a key that is not the
    /// owner's.
    Unreadable,
}

impl Objects {
    /// One page of a directory. A directory without anything that this caller may know of is absent.
    pub async fn list(&self, grant: &Grant<List>, options: ListOptions) -> Result<Listing, ReadError> {
        self.list_as(grant, options, |listing| listing).await
    }

    /// The same, and what `render` makes of it where it holds up nobody.
    pub async fn list_as<T: Send + 'static>(
        &self,
        grant: &Grant<List>,
        options: ListOptions,
        render: impl FnOnce(Listing) -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        let held = Arc::clone(&grant.held);
        let objects = self.rom_at(&held.address).unwrap_or(self).clone();
        let list = move || Walk::new(&objects, &held, options).run().map(render);
        self.listing().run(list).await.map_err(|why| match why {
            NoTurn::Stopping => ReadError::from(StorageError::Stopping),
            NoTurn::Crowded => {
                let what = "this node is making as many listings as it does at a time; try again later";
                Refusal::Busy { what, retry_after: turns::WAIT_MAX }.into()
            }
        })?
    }
}

/// Keys in order, each with its entry where the table has it.
type Run = Box<dyn Iterator<Item = Result<(Vec<u8>, Option<jsfs_store::Entry>), jsfs_store::ReadError>>>;

/// One pass over the keys below a directory.
struct Walk<'a> {
    objects: &'a Objects,
    held: &'a Held,
    options: ListOptions,
    sight: Option<Sight>,
}

/// What the caller can see in one directory; remembered while the walk stays in it.
struct Sight {
    directory: Address,
    chain: Chain,
    presented: crate::authority::Presented,
    tokens: Vec<Arc<crate::token::Token>>,
}

impl<'a> Walk<'a> {
    fn new(objects: &'a Objects, held: &'a Held, mut options: ListOptions) -> Self {
        options.limit = options.limit.clamp(1, PAGE_MAX);
        Walk { objects, held, options, sight: None }
    }

    fn run(mut self) -> Result<Listing, ReadError> {
        let top = self.held.address.clone();
        let opens_something = self.opens_something()?;
        let mut from = self.start(&top)?;
        let end = tables::after_prefix(top.as_str().as_bytes());
        let mut entries: Vec<ListEntry> = Vec::new();
        'seek: loop {
            let range = (from, Bound::Excluded(end.clone()));
            for item in self.keys(opens_something, range) {
                let (key, entry) = item?;
                let address = tree::address_of(&key)?;
                let below = address.as_str().strip_prefix(top.as_str()).unwrap_or_default().to_owned();
                let stored = match entry {
                    None => self.objects.current(&address).transpose(),
                    Some(entry) => Some(Stored::decode(&address, entry).map(Arc::new)),
                };
                let Some(stored) = stored else { continue };
                let Some(what) = self.visible(&address, stored)? else { continue };
                if entries.len() == self.options.limit {
                    let next = entries.last().map(|last| last.name.clone());
                    return Ok(Listing { entries, next });
                }
                match below.split_once('/') {
                    Some((name, _)) if !self.options.recursive => {
                        entries.push(ListEntry { name: format!("{name}/"), what: Listed::Directory });
                        from = Bound::Included(tables::after_prefix(format!("{top}{name}/").as_bytes()));
                        continue 'seek;
                    }
                    _ => entries.push(ListEntry { name: below, what }),
                }
            }
            break;
        }
        if entries.is_empty() && !self.may_know() && !self.shows_something_before()? {
            return Err(Refusal::Hidden { note: self.held.proven.note.clone() }.into());
        }
        Ok(Listing { entries, next: None })
    }

    /// Whether an empty page is the end of something, rather than of nothing.
    fn shows_something_before(&self) -> Result<bool, ReadError> {
        if self.options.after.is_none() {
            return Ok(false);
        }
        let options = ListOptions { after: None, limit: 1, recursive: true };
        match Walk::new(self.objects, self.held, options).run() {
            Ok(_) => Ok(true),
            Err(ReadError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What to look at: everything, or what everybody may see and what the caller has to itself.
    fn keys(&self, everything: bool, range: (Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Run {
        let store = self.objects.store();
        if everything {
            return Box::new(
                store.scan(tables::CURRENT, range).map(|item| item.map(|(key, entry)| (key, Some(entry)))),
            );
        }
        let mut keys: Run =
            Box::new(store.scan(tables::PUBLIC, range.clone()).map(|item| item.map(|(key, _)| (key, None))));
        for own in &self.held.proven.keys {
            let owner = *own.owner().as_bytes();
            let below = |bound: &Bound<Vec<u8>>| bound.as_ref().map(|key| [&owner[..], key].concat());
            let owned = store.scan(tables::OWNED, (below(&range.0), below(&range.1)));
            let owned = owned.map(move |item| item.map(|(key, _)| (key[owner.len()..].to_vec(), None)));
            keys = Box::new(Merged { sides: [keys.peekable(), (Box::new(owned) as Run).peekable()] });
        }
        keys
    }

    /// Where the page begins: after a name, and past everything below it if it is a directory.
    fn start(&self, top: &Address) -> Result<Bound<Vec<u8>>, ReadError> {
        let Some(after) = &self.options.after else { return Ok(Bound::Included(tables::address_key(top))) };
        let invalid = |_| ReadError::Invalid {
            what: format!("`after` must be a name of an earlier page, not {after:?}"),
        };
        let after = Address::parse_exact(&format!("{top}{after}")).map_err(invalid)?;
        if after.is_directory() {
            return Ok(Bound::Included(tables::after_prefix(after.as_str().as_bytes())));
        }
        Ok(Bound::Excluded(tables::address_key(&after)))
    }

    /// Whether the credentials prove anything here, or own a directory further down.
    fn opens_something(&self) -> Result<bool, ReadError> {
        let proven = &self.held.proven;
        if proven.keys.is_empty() && proven.tokens.is_empty() {
            return Ok(false);
        }
        let (presented, _) = proven.at(&self.held.address, &self.held.chain);
        if presented.owns || !presented.tokens.is_empty() {
            return Ok(true);
        }
        let below = tables::prefix_range(tables::address_key(&self.held.address));
        for item in self.objects.store().scan(tables::DIRECTORY, below) {
            let (key, entry) = item?;
            let directory = DirectoryState::decode(&tree::address_of(&key)?, &entry.value, entry.sequence)?;
            let owner = directory.place().map(|place| place.owner);
            if owner.is_some_and(|owner| proven.proves_for(owner)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An empty directory shows itself only to whom it belongs.
    fn may_know(&self) -> bool {
        let (presented, _) = self.held.proven.at(&self.held.address, &self.held.chain);
        matches!(
            decide(Need::List, self.held.chain.facts(&self.held.address), &presented),
            Ok(Basis::Owner | Basis::Token(_))
        )
    }

    /// What an object is to the caller, if the caller may know that it is there.
    fn visible(
        &mut self,
        address: &Address,
        stored: Result<Arc<Stored>, StorageError>,
    ) -> Result<Option<Listed>, ReadError> {
        let opened = match stored {
            Ok(stored) if stored.record.kind != Kind::Object => return Ok(None),
            Ok(stored) => self.opened(address, &stored),
            Err(error) => Err(error.into()),
        };
        match opened {
            Ok(Some(metadata)) => return Ok(Some(Listed::Object(Box::new(metadata)))),
            Ok(None) | Err(ReadError::Resealing { .. } | ReadError::Unreadable { .. }) => {}
            Err(ReadError::Storage(error @ StorageError::Record { .. })) => {
                tracing::error!(%error, "an entry of a listing");
            }
            Err(error) => return Err(error),
        }
        let is_own = match address.parent() {
            Some(directory) => self.sight(directory)?.is_some_and(|sight| sight.presented.owns),
            None => false,
        };
        Ok(is_own.then_some(Listed::Unreadable))
    }

    /// Opens an object with what of the caller's credentials reaches it, if anything does.
    fn opened(&mut self, address: &Address, stored: &Stored) -> Result<Option<Metadata>, ReadError> {
        if !stored.is_sealed() {
            return metadata_of(address, stored, None).map(Some);
        }
        let opener = match &stored.record.place {
            Some(_) => self.opener_of_place(address)?,
            None => self.opener_in_directory(address)?,
        };
        opener.map(|opener| metadata_of(address, stored, Some(&opener))).transpose()
    }

    /// For an object that names its own owner.
    fn opener_of_place(&self, address: &Address) -> Result<Option<Opener>, ReadError> {
        let Some(chain) = Chain::load(self.objects, address)? else { return Ok(None) };
        let (presented, tokens) = self.held.proven.at(address, &chain);
        Ok(opener(Visibility::Private, &chain, &presented, &tokens, self.held))
    }

    /// For an object that belongs to its directory's owner.
    fn opener_in_directory(&mut self, address: &Address) -> Result<Option<Opener>, ReadError> {
        let Some(directory) = address.parent() else { return Ok(None) };
        let held = self.held;
        let Some(sight) = self.sight(directory)? else { return Ok(None) };
        Ok(opener(Visibility::Private, &sight.chain, &sight.presented, &sight.tokens, held))
    }

    /// What the caller can see in a directory.
    fn sight(&mut self, directory: Address) -> Result<Option<&Sight>, ReadError> {
        if self.sight.as_ref().is_none_or(|sight| sight.directory != directory) {
            let Some(chain) = Chain::load(self.objects, &directory)? else { return Ok(None) };
            let (presented, tokens) = self.held.proven.at(&directory, &chain);
            self.sight = Some(Sight { directory, chain, presented, tokens });
        }
        Ok(self.sight.as_ref())
    }
}

/// What opens private entries: the owner's key, or a token that lists and holds the read key.
fn opener(
    visibility: Visibility,
    chain: &Chain,
    presented: &crate::authority::Presented,
    tokens: &[Arc<crate::token::Token>],
    held: &Held,
) -> Option<Opener> {
    let create = chain.policy.create;
    let facts = crate::authority::Facts { visibility, create, remembered: true, removable: false };
    match decide(Need::List, facts, presented).ok()? {
        Basis::Owner => Opener::of_owner(held.proven.key_of(chain.place.owner)?, chain),
        Basis::Token(index) => Opener::of_token(&tokens[index], &chain.place),
        Basis::Public | Basis::Anyone | Basis::Directory => None,
    }
}

/// Two runs of keys as one, in order and each key once.
struct Merged {
    sides: [std::iter::Peekable<Run>; 2],
}

impl Iterator for Merged {
    type Item = Result<(Vec<u8>, Option<jsfs_store::Entry>), jsfs_store::ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let [left, right] = &mut self.sides;
        match (left.peek(), right.peek()) {
            (Some(Ok((one, _))), Some(Ok((other, _)))) if one == other => {
                right.next();
                left.next()
            }
            (Some(Ok((one, _))), Some(Ok((other, _)))) if one > other => right.next(),
            (None, _) => right.next(),
            _ => left.next(),
        }
    }
}
