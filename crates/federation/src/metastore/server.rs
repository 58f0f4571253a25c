//! A member that keeps records: answers the requests of others over its shelf.
//!
//! What it answers follows from its shelf, the list of members, the time and the request. Nothing it takes in can undo what it has: merging is
//! union, and what is dropped leaves a mark. Holds are in memory alone: they are short, and a member that was started again lets a write
//! under an old hold fail, which the writer takes for an answer that did not come. Everything kept per sender or per slot is bounded.

mod cut;
mod past;
mod usage;

use super::compare::{
    Bound, Common, Compared, Fingerprint, Range, all_fingerprints, common_rows, compare, fingerprint,
};
use super::message::{ANSWER_BYTES_MAX, MARKS_TOLD};
use super::shelf::after_home;
use super::slot::SLOT_ROWS_MAX;
use super::watch::Watched;
use super::{
    Added, Change, Found, HoldId, Home, Listing, Members, Quorum, Request, Response, Row, Shelf, ShelfError,
    Slot, Summary, Version,
};
use crate::membership::PeerId;
use crate::wire::ErrorCode;
use jsfs_objects::key::Owner;
use jsfs_objects::read_key::Locator;
use jsfs_objects::record::RecordHash;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Members beyond the replicas from whom records are taken as well, because lists of members differ for a moment when one comes or goes.
const SPARE: usize = 3;

/// Envelopes larger than this are not in pages; the reader fetches them.
const ENTRY_BYTES_MAX: usize = 16 << 10;

/// Rows that are read at a time for a page: more than one slot has, and about as many as a page shows.
const LIST_ROWS: usize = 512;

const _: () = assert!(LIST_ROWS > SLOT_ROWS_MAX);

/// Marks of an entry in a page.
const ENTRY_MARKS: usize = 8;

/// What a member keeps at most, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Followed versions are kept until so long after they were accepted.
    pub past_ms: u64,
    /// All rows together, in bytes of envelopes.
    pub bytes: u64,
    /// Those that one member accepted from its clients.
    pub bytes_per_member: u64,
    /// Slots held at a time.
    pub holds: usize,
    /// The longest hold.
    pub hold_ms: u64,
    /// Entries at one home: with more, the home is cut.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            past_ms: 30 * 86_400_000,
            bytes: 64 << 30,
            bytes_per_member: 16 << 30,
            holds: 65_536,
            hold_ms: 10_000,
            entries: 8_192,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    id: HoldId,
    peer: PeerId,
    until_ms: u64,
}

/// Rows that one other said are past.
const PAST_HEARD_MAX: usize = 65_536;

/// The name of the note that counts how often this member was started.
const LIFE: &[u8] = b"life";

/// Homes of which the number of entries is remembered, and that were cut and wait for the keeper.
const ENTRIES_MAX: usize = 65_536;

/// Rows that are to be looked up.
const DOUBTS_MAX: usize = 1_024;

/// The name of the note that says that this member has compared itself with all others since the members changed.
const SETTLED: &[u8] = b"settled";

/// One member's part of the metastore.
#[derive(Debug)]
pub struct Server<S> {
    me: PeerId,
    quorum: Quorum,
    limits: Limits,
    shelf: S,
    holds: HashMap<Locator, Hold>,
    standing: Standing,
    /// Grows with every change of rows.
    generation: u64,
    fingerprints: Option<Fingerprints>,
    /// Rows that one other said are past, and who.
    past: HashMap<Row, PeerId>,
    /// Rows of which that is to be looked up where the versions are.
    doubts: Vec<Row>,
    watched: Watched,
    /// How many entries there are at homes that entries came to.
    entries: HashMap<Home, usize>,
    /// Homes that were cut, or got what moves on from there, and wait for the keeper.
    cuts: Vec<Home>,
}

/// For which homes this member can be without something that was acknowledged.
#[derive(Debug)]
enum Standing {
    /// For none that it is a replica of.
    Settled,
    /// For those that it is not a replica of among these earlier members.
    Since(Arc<Members>),
    /// For all: it is new, or its shelf is.
    New,
}

/// What was found in one run over the shelf.
#[derive(Debug)]
struct Fingerprints {
    generation: u64,
    members: u64,
    by_peer: HashMap<PeerId, Common>,
}

impl<S: Shelf> Server<S> {
    /// The member `me`, over a shelf. One whose shelf does not say that it has heard from the others is not settled.
    pub fn new(me: PeerId, mut shelf: S, quorum: Quorum, limits: Limits) -> Result<Self, ShelfError> {
        let life = shelf.note(LIFE)?.and_then(|note| note.try_into().ok()).map_or(0, u64::from_be_bytes) + 1;
        shelf.apply(vec![Change::Note(LIFE.to_vec(), Some(life.to_be_bytes().to_vec()))])?;
        let standing = if shelf.note(SETTLED)?.is_some() { Standing::Settled } else { Standing::New };
        Ok(Self {
            me,
            quorum,
            limits,
            shelf,
            holds: HashMap::new(),
            standing,
            generation: 0,
            fingerprints: None,
            past: HashMap::new(),
            doubts: Vec::new(),
            watched: Watched::new(life),
            entries: HashMap::new(),
            cuts: Vec::new(),
        })
    }

    /// Who this member is.
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// How many replicas there are, and how many are needed.
    pub fn quorum(&self) -> Quorum {
        self.quorum
    }

    /// The shelf, for whoever makes it durable.
    pub fn shelf(&self) -> &S {
        &self.shelf
    }

    /// The same, to be changed by what belongs to this member alone.
    pub fn shelf_mut(&mut self) -> &mut S {
        &mut self.shelf
    }

    /// Takes the shelf back.
    pub fn into_shelf(self) -> S {
        self.shelf
    }

    /// Says that the members were others until now: for homes that become this member's with the change it can lack what was acknowledged.
    pub fn set_changed(&mut self, earlier: &Arc<Members>) -> Result<(), ShelfError> {
        if matches!(self.standing, Standing::Settled) {
            self.shelf.apply(vec![Change::Note(SETTLED.to_vec(), None)])?;
            self.standing = Standing::Since(Arc::clone(earlier));
        }
        Ok(())
    }

    /// Says that this member has compared itself with all others since the members changed.
    pub fn set_settled(&mut self) -> Result<(), ShelfError> {
        self.standing = Standing::Settled;
        self.shelf.apply(vec![Change::Note(SETTLED.to_vec(), Some(Vec::new()))])
    }

    /// Whether all that was acknowledged for this home until the members changed must have come here.
    pub fn is_settled(&self, home: &Home) -> bool {
        match &self.standing {
            Standing::Settled => true,
            Standing::New => false,
            Standing::Since(earlier) => {
                let replicas = self.quorum.among(earlier.keepers()).replicas;
                earlier.rank(home, &self.me).is_some_and(|rank| rank < replicas)
            }
        }
    }

    /// Whether it is so for every home.
    pub fn is_all_settled(&self) -> bool {
        matches!(self.standing, Standing::Settled)
    }

    /// Answers a request of another member, or of this node itself. The answer may go out when the shelf's changes are durable.
    pub fn handle(
        &mut self,
        from: &PeerId,
        request: &Request,
        members: &Members,
        now_ms: u64,
    ) -> Result<Response, ShelfError> {
        if !members.is_member(from) {
            return Ok(Response::refused(ErrorCode::NotMember));
        }
        match request {
            Request::Store { home, envelopes, hold } => self.store(*home, envelopes, *hold, members, now_ms),
            Request::Fetch { locators, chain } => self.fetch(locators, *chain, members),
            Request::List { home, after, limit } => self.list(*home, after.as_ref(), *limit),
            Request::Head { locators } => self.head(locators),
            Request::Hold { locator, owner, expected, id, ms } => {
                let hold = Hold {
                    id: *id,
                    peer: *from,
                    until_ms: now_ms.saturating_add(*ms.min(&self.limits.hold_ms)),
                };
                self.hold(*locator, owner, expected.as_ref(), hold, members, now_ms)
            }
            Request::Release { locator, id } => {
                if self.holds.get(locator).is_some_and(|hold| hold.id == *id) {
                    self.holds.remove(locator);
                }
                Ok(Response::Released)
            }
            Request::Compare { ranges } => {
                let said = ranges.iter().map(|range| self.compare(from, range, members));
                said.collect::<Result<_, _>>().map(Response::Compared)
            }
            Request::Pull { rows } => self.pull(rows),
            Request::Past { rows } => self.hear_past(from, rows, members, now_ms),
            Request::Watch { home, cursor, lease_ms } => {
                let cut = self.is_cut(home)?;
                Ok(match self.watched.watch(*from, *home, *cursor, *lease_ms, now_ms) {
                    Some((cursor, gap, locators)) => Response::Changes { cursor, gap, locators, cut },
                    None => Response::refused(ErrorCode::Busy),
                })
            }
            // For the watcher's client; a member that keeps records has nothing to do about it.
            Request::Notice { .. } => Ok(Response::Noted),
            Request::Cut { home } => self.hear_cut(*home, *from, members),
        }
    }

    /// What the rows that this member and another both keep in a range come to. The whole is found for all others in one run.
    pub(super) fn fingerprint(
        &mut self,
        other: &PeerId,
        (from, until): (&Bound, Option<&Bound>),
        members: &Members,
    ) -> Result<Fingerprint, ShelfError> {
        if *from != Row::FIRST || until.is_some() {
            return Ok(fingerprint(&self.common_rows(other, (from, until), members)?));
        }
        let found = self.in_common(members)?.get(other);
        Ok(found.map_or_else(|| fingerprint(&[]), |common| common.fingerprint))
    }

    /// What this member keeps in common with each other one.
    fn in_common(&mut self, members: &Members) -> Result<&HashMap<PeerId, Common>, ShelfError> {
        let (generation, id) = (self.generation, members.id());
        let known = self.fingerprints.take_if(|known| known.generation == generation && known.members == id);
        let known = match known {
            Some(known) => known,
            None => {
                let by_peer = all_fingerprints(&self.shelf, &self.me, members, self.quorum)?;
                Fingerprints { generation, members: id, by_peer }
            }
        };
        Ok(&self.fingerprints.insert(known).by_peer)
    }

    /// Copies of versions kept here that lie with members out of reach. Looks at every row where something has changed.
    pub fn out_of_reach(&mut self, members: &Members) -> Result<u64, ShelfError> {
        if members.keeping().iter().all(|peer| members.is_reachable(peer)) {
            return Ok(0);
        }
        let common = self.in_common(members)?.iter();
        Ok(common.filter(|(peer, _)| !members.is_reachable(peer)).map(|(_, common)| common.rows).sum())
    }

    pub(super) fn common_rows(
        &self,
        other: &PeerId,
        range: (&Bound, Option<&Bound>),
        members: &Members,
    ) -> Result<Vec<Row>, ShelfError> {
        common_rows(&self.shelf, range, (&self.me, other), members, self.quorum)
    }

    fn compare(&mut self, from: &PeerId, range: &Range, members: &Members) -> Result<Compared, ShelfError> {
        let bounds = (&range.from, range.until.as_ref());
        if self.fingerprint(from, bounds, members)? == range.fingerprint {
            return Ok(Compared::Same);
        }
        Ok(compare(range, self.common_rows(from, bounds, members)?))
    }

    fn pull(&self, rows: &[Row]) -> Result<Response, ShelfError> {
        let mut envelopes = Vec::new();
        let mut bytes = 0;
        for row in rows.iter().filter(|row| !row.is_marks()) {
            let envelope = self.shelf.get(row)?;
            bytes += envelope.as_ref().map_or(0, Vec::len);
            if bytes > ANSWER_BYTES_MAX && !envelopes.is_empty() {
                break;
            }
            envelopes.push(envelope);
        }
        Ok(Response::Pulled(envelopes))
    }

    /// Makes the shelf hold a slot as it is now, and tells who watches it; false where that would be more than anybody may have.
    fn change(&mut self, before: &Slot, after: &Slot) -> Result<bool, ShelfError> {
        let has_room = self.put(before, after)?;
        if has_room && before.versions() != after.versions() {
            self.watched.changed(after.home(), after.locator());
        }
        Ok(has_room)
    }

    fn put(&mut self, before: &Slot, after: &Slot) -> Result<bool, ShelfError> {
        let mut changes = after.changes_since(before);
        let Some(notes) = self.account(usage::grown(before, after))? else { return Ok(false) };
        changes.extend(notes);
        if !changes.is_empty() {
            self.generation += 1;
            self.count_entry(before, after);
            self.shelf.apply(changes)?;
        }
        Ok(true)
    }

    /// Who is to be sent a notice for which home.
    pub fn take_notices(&mut self, now_ms: u64) -> BTreeSet<(PeerId, Home)> {
        self.watched.take_notices(now_ms)
    }

    /// Drops a slot that others keep now. What is listed does not change with that, so nobody is told.
    pub(super) fn drop_slot(&mut self, home: Home, locator: Locator) -> Result<(), ShelfError> {
        let before = Slot::load(&self.shelf, home, locator)?;
        let changed = self.put(&before, &Slot::empty(home, locator))?;
        debug_assert!(changed, "what is dropped needs no room");
        Ok(())
    }

    fn keeps(&self, home: &Home, members: &Members) -> bool {
        let replicas = self.quorum.among(members.keepers()).replicas;
        members.rank(home, &self.me).is_some_and(|rank| rank < replicas + SPARE)
    }

    fn store(
        &mut self,
        home: Home,
        envelopes: &[Vec<u8>],
        hold: Option<HoldId>,
        members: &Members,
        now_ms: u64,
    ) -> Result<Response, ShelfError> {
        if !self.keeps(&home, members) {
            return Ok(Response::refused(ErrorCode::Role));
        }
        let judged: Result<Vec<_>, _> =
            envelopes.iter().map(|bytes| Version::judge(bytes, members, now_ms)).collect();
        let versions = match judged {
            Ok(versions) => versions,
            Err(code) => return Ok(Response::refused(code)),
        };
        let Some(last) = versions.last() else { return Ok(Response::refused(ErrorCode::Malformed)) };
        let locator = last.locator();
        if versions.iter().any(|version| version.locator() != locator) {
            return Ok(Response::refused(ErrorCode::Malformed));
        }
        // What was stored under the hold already may come again, because the answer was lost.
        let row = Row { home, locator, hash: last.hash() };
        if hold.is_some() && !self.is_held_by(&locator, hold, now_ms) && self.shelf.get(&row)?.is_none() {
            return Ok(Response::refused(ErrorCode::Conflict));
        }
        if self.is_elsewhere(home, locator, &versions)? {
            return Ok(Response::Elsewhere);
        }
        let answer = self.take_in(home, locator, versions, members, now_ms)?;
        if self.is_held_by(&locator, hold, now_ms) {
            self.holds.remove(&locator);
        }
        Ok(answer)
    }

    fn is_held_by(&self, locator: &Locator, id: Option<HoldId>, now_ms: u64) -> bool {
        self.holds.get(locator).is_some_and(|hold| Some(hold.id) == id && hold.until_ms > now_ms)
    }

    /// Merges judged versions of one locator into a slot.
    pub(super) fn take_in(
        &mut self,
        home: Home,
        locator: Locator,
        versions: Vec<Version>,
        members: &Members,
        now_ms: u64,
    ) -> Result<Response, ShelfError> {
        let before = Slot::load(&self.shelf, home, locator)?;
        let mut slot = before.clone();
        let mut behind = Vec::new();
        for (at, version) in versions.iter().enumerate() {
            // What comes before it in the request shows where it belongs, though it may be past here already.
            if !is_filed_at(version, &home, slot.versions()) && !is_filed_at(version, &home, &versions[..at])
            {
                return Ok(Response::refused(ErrorCode::Misfiled));
            }
            if !version.may_join(slot.versions(), members) {
                return Ok(Response::refused(ErrorCode::Signature));
            }
            let added = slot.add(version.clone());
            if added == Added::Full {
                return Ok(Response::refused(ErrorCode::Full));
            }
            behind.push(slot.is_past(version));
        }
        slot.trim(now_ms.saturating_sub(self.limits.past_ms), members);
        let has_room = self.change(&before, &slot)?;
        self.doubt(&slot);
        Ok(if has_room { Response::Stored(behind) } else { Response::refused(ErrorCode::Full) })
    }

    fn fetch(&self, locators: &[Locator], chain: u64, members: &Members) -> Result<Response, ShelfError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let chain = usize::try_from(chain).unwrap_or(usize::MAX);
        for locator in locators {
            let slot = Slot::load(&self.shelf, (*locator).into(), *locator)?;
            let mut envelopes = Vec::new();
            for version in slot.told(chain, members) {
                bytes += version.bytes().len();
                // One is always told; of a slot, at least the version that is served.
                if bytes > ANSWER_BYTES_MAX && !(found.is_empty() && envelopes.is_empty()) {
                    break;
                }
                envelopes.push(version.bytes().to_vec());
            }
            if bytes > ANSWER_BYTES_MAX && !found.is_empty() {
                break;
            }
            found.push(Found { envelopes, marks: slot.marks(MARKS_TOLD).to_vec() });
        }
        let settled = locators.iter().all(|locator| self.is_settled(&(*locator).into()));
        Ok(Response::Versions { settled, found })
    }

    fn list(&self, home: Home, after: Option<&Locator>, limit: u64) -> Result<Response, ShelfError> {
        let (settled, cut) = (self.is_settled(&home), self.is_cut(&home)?);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut from = match after {
            None => Some(Row::first_of(home).to_bytes()),
            Some(after) => super::shelf::after_slot(&home, after),
        };
        let end = after_home(&home);
        while let Some(start) = from.take() {
            let mut contents = self.shelf.contents(&start, end.as_ref(), LIST_ROWS)?;
            // What may be a part of a slot is read with the next ones.
            if contents.len() == LIST_ROWS
                && let Some((Row { locator: last, .. }, _)) = contents.last()
            {
                let last = *last;
                contents.retain(|(row, _)| row.locator != last);
                from = Some(Row::marks(home, last).to_bytes());
            }
            let mut contents = contents.into_iter().peekable();
            while let Some((Row { locator, .. }, _)) = contents.peek() {
                if entries.len() >= limit || bytes > ANSWER_BYTES_MAX {
                    return Ok(Response::Page { settled, entries, more: true, cut });
                }
                let locator = *locator;
                let slot = std::iter::from_fn(|| contents.next_if(|(row, _)| row.locator == locator));
                let slot = Slot::of(home, locator, slot);
                // The versions of the record that is filed here by its own locator are no entry.
                if home == Home::from(locator) {
                    continue;
                }
                let entry = listing(&slot, locator);
                let sizes = entry.heads.iter().map(|(_, bytes)| 192 + bytes.as_ref().map_or(0, Vec::len));
                bytes += 128 + sizes.sum::<usize>();
                if !entry.heads.is_empty() {
                    entries.push(entry);
                }
            }
        }
        Ok(Response::Page { settled, entries, more: false, cut })
    }

    fn head(&self, locators: &[Locator]) -> Result<Response, ShelfError> {
        let heads = |locator: &Locator| {
            let slot = Slot::load(&self.shelf, (*locator).into(), *locator)?;
            Ok(slot.heads().into_iter().map(Summary::of).collect())
        };
        let found = locators.iter().map(heads).collect::<Result<_, ShelfError>>()?;
        let settled = locators.iter().all(|locator| self.is_settled(&(*locator).into()));
        Ok(Response::Heads { settled, found })
    }

    fn hold(
        &mut self,
        locator: Locator,
        owner: &Owner,
        expected: Option<&RecordHash>,
        hold: Hold,
        members: &Members,
        now_ms: u64,
    ) -> Result<Response, ShelfError> {
        if !self.keeps(&locator.into(), members) {
            return Ok(Response::refused(ErrorCode::Role));
        }
        let slot = Slot::load(&self.shelf, locator.into(), locator)?;
        if slot.served(Some(owner)).map(Version::hash).as_ref() != expected {
            return Ok(Response::Conflict(slot.heads().into_iter().map(Summary::of).collect()));
        }
        if let Some(held) = self.holds.get(&locator)
            && held.id != hold.id
            && held.until_ms > now_ms
        {
            return Ok(Response::refused(ErrorCode::Busy));
        }
        let of_peer =
            |holds: &HashMap<Locator, Hold>| holds.values().filter(|held| held.peer == hold.peer).count();
        if self.holds.len() >= self.limits.holds {
            self.holds.retain(|_, held| held.until_ms > now_ms);
            if self.holds.len() >= self.limits.holds || of_peer(&self.holds) > self.limits.holds / 4 {
                return Ok(Response::refused(ErrorCode::Busy));
            }
        }
        self.holds.insert(locator, hold);
        Ok(Response::Held)
    }
}

/// A record lies at its locator, in its group, and in a group that an earlier version of its owner's was in, so that it is known there to have left.
fn is_filed_at(version: &Version, home: &Home, others: &[Version]) -> bool {
    *home == Home::from(version.locator())
        || version.is_listed_at(home)
        || others.iter().any(|other| {
            other.is_listed_at(home) && (version.owner() == other.owner() || version.follows(other))
        })
}

fn listing(slot: &Slot, locator: Locator) -> Listing {
    let heads = slot.heads().into_iter().map(|head| {
        let bytes = head.bytes();
        (Summary::of(head), (bytes.len() <= ENTRY_BYTES_MAX).then(|| bytes.to_vec()))
    });
    Listing { locator, heads: heads.collect(), marks: slot.marks(ENTRY_MARKS).to_vec() }
}
