//! Handing on: what a change of members made somebody else's, slot by slot, without comparing first.
//!
//! Of each home the best replica that was one before gives it to those that are new. A member that is a replica no more gives it to all, and
//! drops it when as many as an acknowledged write needs have said that they have it. What does not arrive is found by the next round.

use super::super::compare::{Bound, after};
use super::super::message::{ANSWER_BYTES_MAX, STORE_MAX};
use super::super::{Home, Members, Request, Row, Server, Shelf, ShelfError, Slot, Version, shelf};
use crate::membership::PeerId;
use jsfs_objects::read_key::Locator;
use jsfs_objects::record::RecordHash;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A slot on its way.
#[derive(Debug)]
struct Job {
    home: Home,
    locator: Locator,
    /// To whom, and how many requests are still to be answered; none after one was not stored.
    targets: Vec<(PeerId, Option<usize>)>,
    drops: bool,
    /// What was sent.
    sent: Vec<RecordHash>,
}

#[derive(Debug)]
pub(super) struct Handing {
    /// The members before; none where only what is not this member's is looked for.
    earlier: Option<Arc<Members>>,
    /// Where to go on; none when the end was reached.
    cursor: Option<Bound>,
    jobs: BTreeMap<u64, Job>,
    next: u64,
}

/// What goes to whom.
struct Plan {
    targets: Vec<PeerId>,
    drops: bool,
}

impl Handing {
    pub(super) fn after(earlier: Arc<Members>) -> Self {
        Self { earlier: Some(earlier), ..Self::of_strays() }
    }

    pub(super) fn of_strays() -> Self {
        Self { earlier: None, cursor: Some(Row::FIRST), jobs: BTreeMap::new(), next: 0 }
    }

    fn plan(&self, me: &PeerId, home: &Home, members: &Members, replicas: usize) -> Option<Plan> {
        let order = members.order(home);
        let now = &order[..replicas.min(order.len())];
        if !now.contains(me) {
            return Some(Plan { targets: now.to_vec(), drops: true });
        }
        let earlier = self.earlier.as_ref()?.order(home);
        let before = &earlier[..replicas.min(earlier.len())];
        let giver = now.iter().find(|peer| before.contains(peer));
        let targets: Vec<_> = now.iter().filter(|peer| !before.contains(peer)).copied().collect();
        (giver == Some(me) && !targets.is_empty()).then_some(Plan { targets, drops: false })
    }

    /// Sends slots until so many are on their way. True when there is nothing left.
    pub(super) fn go_on<S: Shelf>(
        &mut self,
        server: &Server<S>,
        members: &Members,
        at_once: usize,
        send: &mut impl FnMut(PeerId, u64, Request),
    ) -> Result<bool, ShelfError> {
        let replicas = server.quorum().among(members.keepers()).replicas;
        while self.jobs.len() < at_once
            && let Some(cursor) = self.cursor
        {
            let Some(row) = server.shelf().rows(&cursor, None, 1)?.first().copied() else {
                self.cursor = None;
                break;
            };
            match self.plan(&server.me(), &row.home, members, replicas) {
                // The whole home stays as it is.
                None => self.cursor = shelf::after_home(&row.home),
                Some(plan) => {
                    self.cursor =
                        shelf::after_slot(&row.home, &row.locator).or_else(|| after(&row.to_bytes()));
                    self.hand(server, row, plan, send)?;
                }
            }
        }
        Ok(self.cursor.is_none() && self.jobs.is_empty())
    }

    fn hand<S: Shelf>(
        &mut self,
        server: &Server<S>,
        row: Row,
        plan: Plan,
        send: &mut impl FnMut(PeerId, u64, Request),
    ) -> Result<(), ShelfError> {
        let slot = Slot::load(server.shelf(), row.home, row.locator)?;
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
        let job = self.next;
        self.next += 1;
        let targets = plan.targets.iter().map(|peer| (*peer, Some(requests.len()))).collect();
        if requests.is_empty() {
            return Ok(());
        }
        let sent = slot.versions().iter().map(Version::hash).collect();
        let drops = plan.drops;
        self.jobs.insert(job, Job { home: row.home, locator: row.locator, targets, drops, sent });
        for peer in plan.targets {
            for envelopes in &requests {
                let request = Request::Store { home: row.home, envelopes: envelopes.clone(), hold: None };
                send(peer, job, request);
            }
        }
        Ok(())
    }

    /// Takes an answer in; true if that slot was dropped here.
    pub(super) fn handed<S: Shelf>(
        &mut self,
        job: u64,
        to: PeerId,
        stored: bool,
        server: &mut Server<S>,
        members: &Members,
    ) -> Result<bool, ShelfError> {
        let Some(entry) = self.jobs.get_mut(&job) else { return Ok(false) };
        if let Some((_, left)) = entry.targets.iter_mut().find(|(peer, _)| *peer == to) {
            *left = left.filter(|_| stored).map(|left| left - 1);
        }
        if entry.targets.iter().any(|(_, left)| left.is_some_and(|left| left > 0)) {
            return Ok(false);
        }
        let Some(Job { home, locator, targets, drops, sent }) = self.jobs.remove(&job) else {
            return Ok(false);
        };
        let have = targets.iter().filter(|(_, left)| *left == Some(0)).count();
        let enough = have >= server.quorum().among(members.keepers()).write;
        // It can have become this member's again meanwhile.
        let replicas = server.quorum().among(members.keepers()).replicas;
        let is_ours = members.rank(&home, &server.me()).is_some_and(|rank| rank < replicas);
        let slot = Slot::load(server.shelf(), home, locator)?;
        let all_sent = slot.versions().iter().all(|version| sent.contains(&version.hash()));
        if drops && enough && !is_ours && all_sent {
            server.drop_slot(home, locator)?;
            return Ok(true);
        }
        Ok(false)
    }
}
