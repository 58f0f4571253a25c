//! Following changes: what happened after a cursor, in order, to whoever may know of it.
//!
//! A [`Watching`] never misses and never reorders: it reads the durable log from its cursor on, and its cursor moves only with what it has
//! given out. Who may know of a line is decided when the line is given out, by the same rule as a request at that moment; when the credential
//! that a watch rests on has expired or was withdrawn, the watch is over.

use crate::{
    Objects,
    address::Address,
    authority::{Basis, Facts, Need, Visibility, decide},
    clock::HybridTime,
    credentials::Proven,
    error::{ReadError, Refusal, StorageError},
    event::{Event, EventKind},
    grant::{Access, Grant, Opener, Watch},
    metadata::ETag,
    read::Opened,
    record::Kind,
    tables::{self, Stored},
    tail::{Follower, Line},
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The most lines that are looked at before others get their turn.
const LINES_AT_ONCE: usize = 1_000;

/// A watch that rests on a token looks at least this often whether the token still holds.
const STANDING_EVERY: Duration = Duration::from_secs(60);

/// A place in a namespace's change log: lines up to here were seen. Its text means nothing to anybody else.
///
/// It names the line that it stands behind by number, and by a part of its hash: a cursor of another log, or of this one before it was restored from
/// a backup, names a line that is not here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    sequence: u64,
    index: u32,
    line: u32,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Cursor::default() {
            return out.write_str("0");
        }
        write!(out, "{:x}-{:x}-{:08x}", self.sequence, self.index, self.line)
    }
}

impl Cursor {
    /// Reads a cursor's text; `0` is the beginning of the log, as far as it reaches back.
    pub fn parse(text: &str) -> Option<Cursor> {
        if text == "0" {
            return Some(Cursor::default());
        }
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
            return None;
        }
        let mut parts = text.split('-');
        let sequence = u64::from_str_radix(parts.next()?, 16).ok()?;
        let index = u32::from_str_radix(parts.next()?, 16).ok()?;
        let line = u32::from_str_radix(parts.next()?, 16).ok()?;
        parts.next().is_none().then_some(Cursor { sequence, index, line })
    }

    /// The cursor behind a line of the log.
    pub(crate) fn of_line(key: &[u8], value: &[u8]) -> Option<Cursor> {
        let (rest, index) = key.split_last_chunk::<4>()?;
        let (_, sequence) = rest.split_last_chunk::<8>()?;
        Some(Cursor {
            sequence: u64::from_be_bytes(*sequence),
            index: u32::from_be_bytes(*index),
            line: mark(value),
        })
    }

    pub(crate) fn key(&self, namespace: &str) -> Vec<u8> {
        let mut key = tables::event_prefix(namespace);
        key.extend_from_slice(&self.sequence.to_be_bytes());
        key.extend_from_slice(&self.index.to_be_bytes());
        key
    }
}

/// What a cursor tells of the line that it stands behind.
fn mark(value: &[u8]) -> u32 {
    let [first, second, third, fourth, ..] = *blake3::hash(value).as_bytes();
    u32::from_be_bytes([first, second, third, fourth])
}

/// What a version looks like to whoever may read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Bytes.
    pub size: u64,
    /// Its validator.
    pub etag: ETag,
    /// The media type that it is served with.
    pub content_type: String,
}

/// A change as one watcher gets it.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Where to go on after it.
    pub cursor: Cursor,
    /// What happened, as far as this watcher can tell: an object that it may not read any more is deleted to it.
    pub kind: EventKind,
    /// Where.
    pub address: Address,
    /// Where it came from, for moves, if this watcher may know of that address.
    pub from: Option<Address>,
    /// The version that came to be; none for a directory.
    pub version: Option<u64>,
    /// When it was accepted, ms since 1970.
    pub time_ms: u64,
    /// Whether the version needs a credential to be read; none for directories and deletions.
    pub private: Option<bool>,
    /// What the version looks like, where it is still kept.
    pub properties: Option<Arc<Properties>>,
}

/// What a watch has to say at one time.
#[derive(Clone, Debug)]
pub enum News {
    /// Changes in order; never empty.
    Changes(Vec<Notice>),
    /// The log does not reach back to where the watch was: list again. It goes on from this cursor.
    Reset(Cursor),
}

/// How often what is watched is looked at on other nodes whatever they say.
const FOLLOW_EVERY: Duration = Duration::from_secs(30);

/// Changes that come within this time are brought together.
const GATHER_TIME: Duration = Duration::from_millis(10);

/// Follows what happens at an address, or below a directory. Keeps the credentials and no more of its grant: there may be very many.
pub struct Watching {
    objects: Objects,
    top: Address,
    proven: Arc<Proven>,
    follower: Follower,
    cursor: Cursor,
    /// Whether `cursor` was checked to lie within the log.
    is_placed: bool,
    standing: Standing,
    /// Ends following other nodes with the watch.
    _following: Option<DropGuard>,
}

/// When the watch was last found to be allowed, and what for.
struct Standing {
    by_credential: bool,
    generation: u64,
    /// A credential presented with the watch ends then, s since 1970.
    until_s: Option<u64>,
}

impl Standing {
    fn of(objects: &Objects, grant: &Grant<Watch>) -> Standing {
        let tokens = &grant.held.proven.tokens;
        let rests_on_key = matches!(grant.held.access, Access::Owner(_));
        Standing {
            by_credential: matches!(grant.held.access, Access::Owner(_) | Access::Token(_)),
            generation: objects.authority_generation(),
            until_s: tokens.iter().map(|token| token.expires_s()).min().filter(|_| !rests_on_key),
        }
    }
}

impl Objects {
    /// Begins to follow what happens at the grant's address: after `since`, or from now on.
    pub async fn watch(&self, grant: Grant<Watch>, since: Option<Cursor>) -> Result<Watching, ReadError> {
        // Followed first: what is committed from here on is either found in the log or wakes the follower.
        let follower = self.follow(grant.address())?;
        let newest = self.newest_cursor(grant.address().namespace())?;
        let standing = Standing::of(self, &grant);
        let (cursor, is_placed) = since.map_or((newest, true), |since| (since, false));
        let (top, proven) = (grant.address().clone(), Arc::clone(&grant.held.proven));
        let following = self.follow_others(&proven, &top)?;
        let objects = self.clone();
        Ok(Watching { objects, top, proven, follower, cursor, is_placed, standing, _following: following })
    }

    /// As long as somebody watches, what other nodes change below an address is brought here, where it wakes whoever follows the log.
    fn follow_others(&self, proven: &Arc<Proven>, top: &Address) -> Result<Option<DropGuard>, StorageError> {
        let Some(metastore) = self.metastore_of(top.namespace())? else { return Ok(None) };
        let (mut stale, stop) = (metastore.stale(), CancellationToken::new());
        let (objects, proven, top, until) = (self.clone(), Arc::clone(proven), top.clone(), stop.clone());
        self.spawn(async move {
            let following = async {
                loop {
                    stale.mark_unchanged();
                    if let Err(error) = objects.refresh(&proven, &top, Need::Watch).await {
                        tracing::debug!(%error, address = %top, "what is watched could not be brought from other nodes");
                    }
                    let _ = tokio::time::timeout(FOLLOW_EVERY, stale.changed()).await;
                    tokio::time::sleep(GATHER_TIME).await;
                }
            };
            until.run_until_cancelled(Box::pin(following)).await;
        });
        Ok(Some(stop.drop_guard()))
    }

    /// The end of a namespace's log as it is now.
    pub(crate) fn newest_cursor(&self, namespace: &str) -> Result<Cursor, ReadError> {
        let range = tables::prefix_range(tables::event_prefix(namespace));
        let last = self.store().scan(tables::EVENT, range).next_back().transpose()?;
        Ok(last.and_then(|(key, entry)| Cursor::of_line(&key, &entry.value)).unwrap_or_default())
    }

    /// Records must not go back in time because the system's clock did between two starts.
    pub(crate) fn catch_up_with_own_past(&self) -> Result<(), StorageError> {
        for namespace in self.namespace_directories()? {
            let range = tables::prefix_range(tables::event_prefix(namespace.namespace()));
            if let Some(item) = self.store().scan(tables::EVENT, range).next_back() {
                self.observe(HybridTime::from_ms(Event::decode(&item?.1.value)?.time_ms + 1));
            }
        }
        Ok(())
    }

    /// Whether the log holds everything after a cursor: the line that it stands behind is still there.
    fn log_reaches(&self, namespace: &str, since: &Cursor) -> Result<bool, ReadError> {
        if *since == Cursor::default() {
            return Ok(true);
        }
        let line = self.store().get(tables::EVENT, &since.key(namespace))?;
        Ok(line.is_some_and(|line| mark(&line.value) == since.line))
    }
}

impl Watching {
    /// Where the watch has got to: everything up to here was given out.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Waits until there is something to say. Cancelling it loses nothing.
    ///
    /// # Errors
    /// The watch is over: what it rested on does not hold any more, or the log cannot be read.
    pub async fn next(&mut self) -> Result<News, ReadError> {
        loop {
            if let Some(news) = self.now()? {
                return Ok(news);
            }
            tokio::select! {
                () = self.follower.woken() => {}
                () = tokio::time::sleep(STANDING_EVERY), if self.standing.until_s.is_some() => {}
            }
        }
    }

    /// What there is to say now, if anything.
    ///
    /// # Errors
    /// As [`Watching::next`].
    pub fn now(&mut self) -> Result<Option<News>, ReadError> {
        self.follower.look();
        self.stand()?;
        if !self.is_placed {
            self.is_placed = true;
            let namespace = self.top.namespace();
            if !self.objects.log_reaches(namespace, &self.cursor)? {
                self.cursor = self.objects.newest_cursor(namespace)?;
                return Ok(Some(News::Reset(self.cursor.clone())));
            }
        }
        loop {
            let lines = self.follower.lines(&self.cursor, LINES_AT_ONCE)?;
            let Some(last) = lines.last() else { return Ok(None) };
            let mut notices = Vec::new();
            for line in &lines {
                notices.extend(self.notice(line)?);
            }
            self.cursor = last.cursor.clone();
            if !notices.is_empty() {
                return Ok(Some(News::Changes(notices)));
            }
        }
    }

    /// Finds out whether what the watch rests on still holds.
    fn stand(&mut self) -> Result<(), ReadError> {
        let now_s = self.objects.clock().now_s();
        let expired = self.standing.until_s.is_some_and(|until_s| now_s >= until_s);
        if expired {
            let note = Some("a token of this watch has expired".to_owned());
            return Err(Refusal::Unauthenticated { note }.into());
        }
        if self.standing.generation == self.objects.authority_generation() {
            return Ok(());
        }
        // Read before authority is looked at: what changes in between is looked at again.
        let generation = self.objects.authority_generation();
        let withdrawn = || Refusal::Unauthenticated {
            note: Some("the credential of this watch was revoked or replaced".to_owned()),
        };
        let grant = match self.objects.authorize_proven::<Watch>(&self.proven, &self.top) {
            Err(Refusal::Storage(error)) => return Err(error.into()),
            Err(_) if self.standing.by_credential => return Err(withdrawn().into()),
            grant => grant?,
        };
        let now = Standing { generation, ..Standing::of(&self.objects, &grant) };
        if self.standing.by_credential && !now.by_credential {
            return Err(withdrawn().into());
        }
        self.standing = now;
        Ok(())
    }

    /// What this watcher gets of a line.
    fn notice(&self, line: &Line) -> Result<Option<Notice>, ReadError> {
        let event = &line.event;
        if !covers(&self.top, &event.address) {
            return Ok(None);
        }
        let is_directory = event.address.is_directory();
        let mut notice = Notice {
            cursor: line.cursor.clone(),
            kind: event.kind,
            address: event.address.clone(),
            from: None,
            version: (!is_directory).then_some(event.version),
            time_ms: event.time_ms,
            private: None,
            properties: None,
        };
        let opener = match self.reach(line)? {
            Reach::Open(opener) => opener,
            // It was public until this very change made it private.
            Reach::Nothing if event.was_public => {
                return Ok(Some(Notice { kind: EventKind::Deleted, version: None, ..notice }));
            }
            Reach::Nothing => return Ok(None),
        };
        if let Some(from) = &event.from
            && self.may_know_of(from)?
        {
            notice.from = Some(from.clone());
        }
        if !is_directory && event.kind != EventKind::Deleted {
            notice.private = Some(!event.public);
            notice.properties = self.properties(line, opener.as_ref())?;
        }
        Ok(Some(notice))
    }

    /// Whether this watcher may know of what a line tells, and what it can open there.
    fn reach(&self, line: &Line) -> Result<Reach, ReadError> {
        if line.event.public {
            return Ok(Reach::Open(None));
        }
        let proven = &self.proven;
        if proven.keys.is_empty() && proven.tokens.is_empty() {
            return Ok(Reach::Nothing);
        }
        // Whoever owns the directory above hears that something in it was handed over: it has just lost what lies there.
        if line.event.kind == EventKind::Access
            && let Some(above) = line.event.address.parent()
            && self.may_know_of(&above)?
        {
            return Ok(Reach::Open(None));
        }
        let Some(chain) = line.chain(&self.objects)? else { return Ok(Reach::Nothing) };
        let address = &line.event.address;
        let (presented, tokens) = proven.at(address, &chain);
        let facts = Facts { visibility: Visibility::Private, ..chain.facts(address) };
        Ok(match decide(Need::Watch, facts, &presented) {
            Ok(Basis::Owner) => {
                let keys = proven.key_of(chain.place.owner);
                Reach::Open(keys.and_then(|keys| Opener::of_owner(keys, &chain)))
            }
            Ok(Basis::Token(index)) => Reach::Open(Opener::of_token(&tokens[index], &chain.place)),
            _ => Reach::Nothing,
        })
    }

    /// Whether a credential of this watcher reaches another address.
    fn may_know_of(&self, address: &Address) -> Result<bool, ReadError> {
        match self.objects.authorize_proven::<Watch>(&self.proven, address) {
            Ok(grant) => Ok(!matches!(grant.held.access, Access::Public | Access::Anyone(_))),
            Err(Refusal::Storage(error)) => Err(error.into()),
            Err(_) => Ok(false),
        }
    }

    /// What the version of a line looks like. Whoever may know of it may read it, so one who looked has looked for all.
    fn properties(&self, line: &Line, opener: Option<&Opener>) -> Result<Option<Arc<Properties>>, ReadError> {
        if let Some(known) = line.properties.get() {
            return Ok(known.clone());
        }
        let properties = match self.stored(&line.event)? {
            None => None,
            Some(stored) if stored.is_sealed() && opener.is_none() => return Ok(None),
            Some(stored) => match Opened::of(&line.event.address, &stored, opener) {
                Ok(opened) => Some(Arc::new(Properties {
                    size: opened.content.size,
                    etag: ETag(opened.content.etag),
                    content_type: opened.content.content_type,
                })),
                Err(ReadError::Resealing { .. } | ReadError::Unreadable { .. }) => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        Ok(line.properties.get_or_init(|| properties).clone())
    }

    /// The version that a line tells of, if it is still kept.
    fn stored(&self, event: &Event) -> Result<Option<Arc<Stored>>, ReadError> {
        let stored = match self.objects.current(&event.address)? {
            Some(current) if current.record.version == event.version => Some(current),
            Some(_) => self.objects.older(&event.address, event.version)?.map(Arc::new),
            None => None,
        };
        Ok(stored.filter(|stored| stored.record.kind == Kind::Object))
    }
}

/// How far a watcher's credentials reach.
enum Reach {
    /// It may know, and opens what it can with this.
    Open(Option<Opener>),
    /// Not so far.
    Nothing,
}

fn covers(top: &Address, address: &Address) -> bool {
    if top.is_directory() { address.starts_with(top) } else { address == top }
}
