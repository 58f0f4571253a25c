//! Handing on: what a change of members made somebody else's, and what a home that is cut has no more place for, slot by slot, without comparing first.
//!
//! Of each home the best replica that was one before gives it to those that are new. A member that is a replica no more gives it to all, and
//! drops it when as many as an acknowledged write needs have said that they have it. So does every replica of a home that is cut with each entry there, which it
//! gives to those of the shard; where that is cut as well, to those of the next, and to as many as are needed that it is. Of each shard, the best replica tells those of the
//! homes above that they are cut, so that no loss of members there hides what is here. What does not arrive is found by the next round.

use super::super::compare::{Bound, after};
use super::super::message::{ANSWER_BYTES_MAX, STORE_MAX};
use super::super::{
    Home, Members, Request, Response, Row, Server, Shard, Shelf, ShelfError, Slot, Version, shelf,
};
use crate::membership::PeerId;
use jsfs_objects::record::RecordHash;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who is given something at a home, and how many requests are still to be answered; none after one was not carried out.
#[derive(Debug)]
struct Target {
    home: Home,
    peer: PeerId,
    left: Option<usize>,
}

/// A slot on its way, or word that a home is cut.
#[derive(Debug)]
struct Job {
    row: Row,
    /// The home that it goes to, and the shard of its group that this is, where it is an entry.
    to: Home,
    shard: Option<Shard>,
    targets: Vec<Target>,
    /// Whether somebody said that entries are stored elsewhere.
    elsewhere: bool,
    drops: bool,
    /// What was sent.
    sent: Vec<RecordHash>,
}

impl Job {
    fn new(row: Row, to: Home, shard: Option<Shard>, drops: bool, slot: &Slot) -> Self {
        let sent = slot.versions().iter().map(Version::hash).collect();
        Self { row, to, shard, targets: Vec::new(), elsewhere: false, drops, sent }
    }
}

#[derive(Debug)]
pub(super) struct Handing {
    /// The members before; none where only what is not this member's is looked for.
    earlier: Option<Arc<Members>>,
    /// Where to go on; none when the end was reached.
    cursor: Option<Bound>,
    until: Option<Bound>,
    jobs: BTreeMap<u64, Job>,
    next: u64,
    /// Entries that are to go to another shard than they did.
    again: Vec<(Row, Shard)>,
    /// Slots that were dropped here since that was asked for.
    pub(super) dropped: u64,
}

/// What goes to whom.
enum Plan {
    /// To these, at the same home.
    To { targets: Vec<PeerId>, drops: bool },
    /// To a shard below.
    Below,
    /// Nothing, but that there are entries here is told above.
    Told,
}

/// What handing on needs while it takes a step.
pub(super) struct Step<'a, S> {
    pub(super) server: &'a mut Server<S>,
    pub(super) members: &'a Members,
    pub(super) now_ms: u64,
    pub(super) send: &'a mut dyn FnMut(PeerId, (u64, Home), Request),
}

impl<S: Shelf> Step<'_, S> {
    fn replicas(&self, home: &Home) -> Vec<PeerId> {
        let replicas = self.server.quorum().among(self.members.keepers()).replicas;
        self.members.order(home).iter().take(replicas).copied().collect()
    }

    fn is_ours(&self, home: &Home) -> bool {
        self.replicas(home).contains(&self.server.me())
    }
}

impl Handing {
    pub(super) fn after(earlier: Arc<Members>) -> Self {
        Self { earlier: Some(earlier), ..Self::of_strays() }
    }

    /// What lies at a home that was cut.
    pub(super) fn of_home(home: &Home) -> Self {
        let cursor = Some(Row::first_of(*home).to_bytes());
        Self { cursor, until: shelf::after_home(home), ..Self::of_strays() }
    }

    pub(super) fn of_strays() -> Self {
        Self {
            earlier: None,
            cursor: Some(Row::FIRST),
            until: None,
            jobs: BTreeMap::new(),
            next: 0,
            again: Vec::new(),
            dropped: 0,
        }
    }

    fn plan<S: Shelf>(&self, row: &Row, is_cut: bool, step: &Step<'_, S>) -> Option<Plan> {
        let now = step.replicas(&row.home);
        let me = step.server.me();
        if !now.contains(&me) {
            return Some(Plan::To { targets: now, drops: true });
        }
        if is_cut && row.is_of_entry() {
            return Some(Plan::Below);
        }
        let Some(earlier) = &self.earlier else {
            return (now.first() == Some(&me) && row.is_of_entry() && !is_cut).then_some(Plan::Told);
        };
        let earlier = earlier.order(&row.home);
        let before = &earlier[..now.len().min(earlier.len())];
        let giver = now.iter().find(|peer| before.contains(peer));
        let targets: Vec<_> = now.iter().filter(|peer| !before.contains(peer)).copied().collect();
        if giver == Some(&me) && !targets.is_empty() {
            return Some(Plan::To { targets, drops: false });
        }
        None
    }

    /// Sends slots until so many are on their way. True when there is nothing left.
    pub(super) fn go_on<S: Shelf>(
        &mut self,
        at_once: usize,
        step: &mut Step<'_, S>,
    ) -> Result<bool, ShelfError> {
        while self.jobs.len() < at_once {
            if let Some((row, shard)) = self.again.pop() {
                self.hand_below(row, Some(shard), step)?;
                continue;
            }
            let Some(cursor) = self.cursor else { break };
            let next = step.server.shelf().rows(&cursor, self.until.as_ref(), 1)?;
            let Some(row) = next.first().copied() else {
                self.cursor = None;
                break;
            };
            let is_cut = step.server.is_cut(&row.home)?;
            let plan = self.plan(&row, is_cut, step);
            self.cursor = if matches!(plan, None | Some(Plan::Told)) && !is_cut {
                // The whole home stays as it is.
                shelf::after_home(&row.home)
            } else {
                shelf::after_slot(&row.home, &row.locator).or_else(|| after(&row.to_bytes()))
            };
            match plan {
                Some(Plan::To { targets, drops }) => self.hand(row, &targets, drops, step)?,
                Some(Plan::Below) => self.hand_below(row, None, step)?,
                Some(Plan::Told) => self.tell_above(row, step)?,
                None => {}
            }
        }
        Ok(self.cursor.is_none() && self.jobs.is_empty() && self.again.is_empty())
    }

    /// Gives what is in a row's slot to other members, at the same home.
    fn hand<S: Shelf>(
        &mut self,
        row: Row,
        targets: &[PeerId],
        drops: bool,
        step: &mut Step<'_, S>,
    ) -> Result<(), ShelfError> {
        let to = row.home;
        if row.is_cut() {
            let job =
                Job { row, to, shard: None, targets: Vec::new(), elsewhere: false, drops, sent: vec![] };
            return self.begin(job, vec![(to, targets.to_vec(), vec![Request::Cut { home: to }])], step);
        }
        let slot = Slot::load(step.server.shelf(), row.home, row.locator)?;
        let shard = slot.shard().map(|(_, shard)| shard).filter(|_| row.is_of_entry());
        let job = Job::new(row, to, shard, drops, &slot);
        self.begin(job, vec![(to, targets.to_vec(), stores(to, &slot))], step)
    }

    /// Gives an entry to a shard: to one that is told, or to the first below its home. That those above are cut is told to their replicas.
    fn hand_below<S: Shelf>(
        &mut self,
        row: Row,
        shard: Option<Shard>,
        step: &mut Step<'_, S>,
    ) -> Result<(), ShelfError> {
        let slot = Slot::load(step.server.shelf(), row.home, row.locator)?;
        let Some((group, here)) = slot.shard() else { return Ok(()) };
        let Some(shard) = shard.or_else(|| here.below(&row.locator)) else { return Ok(()) };
        // Whoever asks this member, as long as it is a replica, hears so of its own home.
        let above = here.depth() + u8::from(step.is_ours(&row.home))..shard.depth();
        let above = above.map(|depth| Shard::of(&row.locator, depth).home(group));
        let cuts = above.map(|home| (home, step.replicas(&home), vec![Request::Cut { home }]));
        let to = shard.home(group);
        let mut all: Vec<_> = cuts.collect();
        all.push((to, step.replicas(&to), stores(to, &slot)));
        let job = Job::new(row, to, Some(shard), true, &slot);
        self.begin(job, all, step)
    }

    /// Tells the replicas of the homes above a shard that they are cut.
    fn tell_above<S: Shelf>(&mut self, row: Row, step: &mut Step<'_, S>) -> Result<(), ShelfError> {
        let slot = Slot::load(step.server.shelf(), row.home, row.locator)?;
        let Some((group, here)) = slot.shard().filter(|(_, here)| here.depth() > 0) else { return Ok(()) };
        let above = (0..here.depth()).map(|depth| Shard::of(&row.locator, depth).home(group));
        let all = above.map(|home| (home, step.replicas(&home), vec![Request::Cut { home }]));
        let all = all.collect();
        let job = Job::new(row, row.home, None, false, &slot);
        self.begin(job, all, step)
    }

    /// Sends the requests of a job to those that they are for.
    fn begin<S: Shelf>(
        &mut self,
        job: Job,
        all: Vec<(Home, Vec<PeerId>, Vec<Request>)>,
        step: &mut Step<'_, S>,
    ) -> Result<(), ShelfError> {
        if all.iter().all(|(_, _, requests)| requests.is_empty()) {
            return Ok(());
        }
        let number = self.next;
        self.next += 1;
        let me = step.server.me();
        let mut own = Vec::new();
        let job = self.jobs.entry(number).or_insert(job);
        for (home, peers, requests) in all {
            for peer in peers {
                job.targets.push(Target { home, peer, left: Some(requests.len()) });
                for request in &requests {
                    if peer == me {
                        own.push((home, request.clone()));
                    } else {
                        (step.send)(peer, (number, home), request.clone());
                    }
                }
            }
        }
        for (home, request) in own {
            let answer = step.server.handle(&me, &request, step.members, step.now_ms)?;
            self.handed((number, home), me, Some(&answer), step)?;
        }
        Ok(())
    }

    /// Takes an answer in, or that there is none.
    pub(super) fn handed<S: Shelf>(
        &mut self,
        (number, home): (u64, Home),
        from: PeerId,
        answer: Option<&Response>,
        step: &mut Step<'_, S>,
    ) -> Result<(), ShelfError> {
        let Some(job) = self.jobs.get_mut(&number) else { return Ok(()) };
        job.elsewhere |= home == job.to && matches!(answer, Some(Response::Elsewhere));
        let has = matches!(answer, Some(Response::Stored(_) | Response::Noted));
        let mut targets = job.targets.iter_mut();
        if let Some(target) = targets.find(|target| target.peer == from && target.home == home) {
            target.left = target.left.filter(|_| has).map(|left| left - 1);
        }
        if job.targets.iter().any(|target| target.left.is_some_and(|left| left > 0)) {
            return Ok(());
        }
        match self.jobs.remove(&number) {
            Some(job) => self.end(&job, step),
            None => Ok(()),
        }
    }

    /// Drops what others have now, or finds out where it goes instead.
    fn end<S: Shelf>(&mut self, job: &Job, step: &mut Step<'_, S>) -> Result<(), ShelfError> {
        let Job { row, to, shard, targets, elsewhere, drops, sent } = job;
        let needed = step.server.quorum().among(step.members.keepers()).write;
        let have = |home: &Home| {
            targets.iter().filter(|target| target.home == *home && target.left == Some(0)).count()
        };
        if !drops {
            return Ok(());
        }
        if *elsewhere && have(to) < needed {
            self.again.extend(shard.and_then(|shard| shard.below(&row.locator)).map(|below| (*row, below)));
            return Ok(());
        }
        // It can have become this member's again meanwhile, or have changed.
        let may_go = !step.is_ours(&row.home) || step.server.moves_on(row)?;
        let slot = Slot::load(step.server.shelf(), row.home, row.locator)?;
        let all_sent = slot.versions().iter().all(|version| sent.contains(&version.hash()));
        if may_go && all_sent && targets.iter().all(|target| have(&target.home) >= needed) {
            if row.is_cut() {
                step.server.forget_cut(row.home)?;
            } else {
                step.server.drop_slot(row.home, row.locator)?;
                self.dropped += 1;
            }
        }
        Ok(())
    }
}

/// Requests that store all of a slot, earlier versions first.
fn stores(home: Home, slot: &Slot) -> Vec<Request> {
    let mut versions: Vec<_> = slot.versions().iter().collect();
    versions.sort_unstable_by_key(|version| (version.record().epoch, version.record().version));
    let mut requests: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut bytes = usize::MAX;
    for version in versions {
        bytes = bytes.saturating_add(version.bytes().len());
        if bytes > ANSWER_BYTES_MAX || requests.last().is_some_and(|request| request.len() >= STORE_MAX) {
            requests.push(Vec::new());
            bytes = version.bytes().len();
        }
        if let Some(request) = requests.last_mut() {
            request.push(version.bytes().to_vec());
        }
    }
    requests.into_iter().map(|envelopes| Request::Store { home, envelopes, hold: None }).collect()
}
