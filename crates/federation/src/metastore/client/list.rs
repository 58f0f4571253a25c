//! Reading a page of a group: at its home, and where that is cut at the shards that have what comes next.
//!
//! What is cut is read all the same, since entries that were there when it was cut move on one by one. Shards are in order of locators, so a page needs few of them: the
//! next one, and as long as those have little, twice as many at a time. A page ends where one of them has more, or before the first that was not read.

use super::super::{Home, LIST_MAX, Listing, Request, Response, Shard, Summary};
use super::merge::Merge;
use super::read::{Asking, repair_of};
use super::{Entry, Failure, Listed, Outcome, Step, Tag};
use crate::membership::PeerId;
use jsfs_objects::read_key::{Group, Locator};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeBounds};

/// Answers to reading are numbered by shard; those to repairing are not looked at.
const REPAIR: Tag = Tag::MAX;

/// Entries of a page that are repaired at once.
const REPAIRS_MAX: usize = 16;

/// Shards that are read at the same time.
const AT_ONCE: usize = 16;

#[derive(Debug)]
struct Page {
    peer: PeerId,
    entries: Vec<Listing>,
    more: bool,
    cut: bool,
}

/// The whole group, or a shard of it.
#[derive(Debug)]
struct Part {
    shard: Shard,
    home: Home,
    asking: Asking,
    pages: Vec<Page>,
    is_cut: bool,
    is_over: bool,
}

/// Reading a page of a group.
#[derive(Debug)]
pub(super) struct ListRead {
    group: Group,
    after: Option<Locator>,
    limit: u64,
    /// What is read or was.
    parts: Vec<Part>,
    /// What may be read next.
    left: BTreeSet<Shard>,
    /// How many of them next.
    ahead: usize,
    until_ms: u64,
    done: bool,
}

impl ListRead {
    pub(super) fn new(group: Group, after: Option<Locator>, limit: u64) -> Self {
        let limit = limit.clamp(1, LIST_MAX);
        let left = BTreeSet::from([Shard::WHOLE]);
        Self { group, after, limit, parts: Vec::new(), left, ahead: 1, until_ms: 0, done: false }
    }

    fn request(&self, home: Home) -> impl Fn() -> Request + use<> {
        let (after, limit) = (self.after, self.limit);
        move || Request::List { home, after, limit }
    }

    pub(super) fn begin(&mut self, step: &mut Step<'_>) {
        self.until_ms = step.now_ms + step.timing.operation_ms;
        self.open(1, step);
        self.advance(step);
    }

    /// Begins to read so many more, not counting what is known to be cut.
    fn open(&mut self, mut count: usize, step: &mut Step<'_>) {
        while count > 0
            && let Some(shard) = self.left.pop_first()
        {
            let home = shard.home(self.group);
            let mut asking = Asking::tagged(self.parts.len());
            asking.begin(step, &home, self.request(home));
            self.parts.push(Part { shard, home, asking, pages: Vec::new(), is_cut: false, is_over: false });
            if step.recent.is_cut(&home) {
                self.cut(self.parts.len() - 1);
            } else {
                count -= 1;
            }
        }
    }

    /// A part is cut: what it is cut into is read as well.
    fn cut(&mut self, part: Tag) {
        let part = &mut self.parts[part];
        if !part.is_cut {
            part.is_cut = part.shard.depth() < super::super::DEPTH_MAX;
            let is_due = |shard: &Shard| self.after.is_none_or(|after| shard.last() > after);
            self.left.extend(part.shard.parts().filter(is_due));
        }
    }

    pub(super) fn resolved(
        &mut self,
        step: &mut Step<'_>,
        peer: PeerId,
        tag: Tag,
        result: Result<Response, Failure>,
    ) {
        let Some(shard) = self.parts.get(tag).map(|part| part.shard) else { return };
        let request = self.request(shard.home(self.group));
        let page = match result {
            Ok(Response::Page { settled, entries, more, cut }) if self.is_in_order(shard, &entries, more) => {
                Some((settled, Page { peer, entries, more, cut }))
            }
            _ => None,
        };
        let part = &mut self.parts[tag];
        part.asking.waiting -= 1;
        match page {
            Some((settled, page)) => {
                part.asking.settled += usize::from(settled);
                part.pages.push(page);
            }
            None if !part.is_over => part.asking.ask_next(step, request),
            None => {}
        }
        self.advance(step);
    }

    /// Whether the entries ascend from what was asked for and belong there. A page that says there is more has something that the next can begin after.
    fn is_in_order(&self, shard: Shard, entries: &[Listing], more: bool) -> bool {
        let belongs = |entry: &Listing| {
            shard.contains(&entry.locator) && self.after.is_none_or(|after| entry.locator > after)
        };
        let ascends = entries.is_sorted_by(|one, next| one.locator < next.locator);
        ascends && entries.iter().all(belongs) && !(more && entries.is_empty())
    }

    fn advance(&mut self, step: &mut Step<'_>) {
        if self.done {
            return;
        }
        for at in 0..self.parts.len() {
            let part = &mut self.parts[at];
            if !part.is_over && part.asking.is_over(step) {
                part.is_over = true;
                let cut = part.pages.iter().filter(|page| page.cut).count();
                if cut >= step.quorum().write {
                    step.recent.see_cut(part.home);
                }
                if cut > 0 {
                    self.cut(at);
                }
            }
        }
        if self.parts.iter().any(|part| !part.is_over) {
            return;
        }
        if self.parts[0].pages.is_empty() {
            self.done = true;
            return step.done(Outcome::Unreached);
        }
        // Where time runs out, a page that goes on from where it began is enough.
        let goes_on =
            self.left.first().and_then(|next| next.before()).is_some_and(|end| Some(end) > self.after);
        let is_late = step.now_ms >= self.until_ms && goes_on;
        let found =
            self.parts.iter().flat_map(|part| &part.pages).map(|page| page.entries.len()).sum::<usize>();
        let has_more = self.parts.iter().flat_map(|part| &part.pages).any(|page| page.more);
        let is_enough = found >= step.quorum().read * usize::try_from(self.limit).unwrap_or(usize::MAX);
        if self.left.is_empty() || (goes_on && (is_late || has_more || is_enough)) {
            return self.finish(step);
        }
        let ahead = self.ahead;
        self.ahead = (2 * ahead).min(AT_ONCE);
        self.open(ahead, step);
        self.advance(step);
    }

    fn finish(&mut self, step: &mut Step<'_>) {
        self.done = true;
        // What lies beyond the shortest page, or in what was not read, was not heard of by all.
        let pages = self.parts.iter().flat_map(|part| &part.pages);
        let ends = pages.filter(|page| page.more).filter_map(|page| page.entries.last());
        let rest = self.left.first().and_then(|next| next.before());
        let end = ends.map(|entry| entry.locator).chain(rest).min();
        let mut merges = self.merge(step, end);
        let read = step.quorum().read;
        let mut entries = Vec::new();
        let mut repaired = 0;
        for (locator, (merge, large)) in &mut merges {
            let slot = merge.slot(step.members, read);
            for (home, peer, lacking) in merge.take_lacking(&slot) {
                // What is cut takes nothing in.
                let is_cut = self.parts.iter().any(|part| part.home == home && part.is_cut);
                if repaired < REPAIRS_MAX && !is_cut {
                    repaired += 1;
                    step.send(peer, REPAIR, repair_of(home, &lacking));
                }
            }
            let is_here = |head: &&super::Version| head.rank().0 && head.record().group == self.group;
            if !large.is_empty() || slot.heads().iter().any(is_here) {
                entries.push(Entry { locator: *locator, slot, large: std::mem::take(large) });
            }
        }
        let settled = self.parts.iter().all(|part| part.asking.is_settled(step));
        step.done(Outcome::Listed(Listed { entries, next: end, settled }));
    }

    fn merge(&self, step: &Step<'_>, end: Option<Locator>) -> Merges {
        let mut merges = Merges::new();
        let within = (
            self.after.map_or(Bound::Unbounded, Bound::Excluded),
            end.map_or(Bound::Unbounded, Bound::Included),
        );
        let home = Home::from(self.group);
        for version in step.recent.of_group(self.group, within) {
            let locator = version.locator();
            let (merge, _) = merges.entry(locator).or_insert_with(|| (Merge::new(home, locator), Vec::new()));
            merge.know(version);
        }
        let pages = self.parts.iter().flat_map(|part| &part.pages);
        for locator in pages.flat_map(|page| page.entries.iter().map(|entry| entry.locator)) {
            if within.contains(&locator) {
                merges.entry(locator).or_insert_with(|| (Merge::new(home, locator), Vec::new()));
            }
        }
        for part in &self.parts {
            for page in &part.pages {
                part.hear(page, &mut merges, step);
            }
        }
        merges
    }

    pub(super) fn tick(&mut self, step: &mut Step<'_>) {
        if self.done {
            return;
        }
        for at in 0..self.parts.len() {
            if !self.parts[at].is_over {
                let request = self.request(self.parts[at].home);
                self.parts[at].asking.tick(step, request);
            }
        }
        self.advance(step);
    }

    pub(super) fn wakes_at(&self) -> Option<u64> {
        let asking = self.parts.iter().filter(|part| !part.is_over).map(|part| part.asking.wakes_at());
        asking.min().filter(|_| !self.done)
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }
}

impl Part {
    /// Takes in what one replica said of the entries that belong here.
    fn hear(&self, page: &Page, merges: &mut Merges, step: &Step<'_>) {
        let (whom, members, now_ms) = ((self.home, page.peer), step.members, step.now_ms);
        let mut listed: BTreeMap<_, _> = page.entries.iter().map(|entry| (entry.locator, entry)).collect();
        let first = self.shard.before().map_or(Bound::Unbounded, Bound::Excluded);
        for (locator, (merge, large)) in merges.range_mut((first, Bound::Included(self.shard.last()))) {
            let Some(entry) = listed.remove(locator) else {
                // That something is not there any more says nothing.
                if !self.is_cut {
                    merge.hear(whom, std::iter::empty(), &[], members, now_ms);
                }
                continue;
            };
            for (summary, _) in entry.heads.iter().filter(|(_, envelope)| envelope.is_none()) {
                if !large.contains(summary) {
                    large.push(*summary);
                }
            }
            let envelopes = entry.heads.iter().filter_map(|(_, envelope)| envelope.as_deref());
            merge.hear(whom, envelopes, &entry.marks, members, now_ms);
        }
    }
}

/// What replicas said of each entry, and what of it was too large for a page.
type Merges = BTreeMap<Locator, (Merge, Vec<Summary>)>;
