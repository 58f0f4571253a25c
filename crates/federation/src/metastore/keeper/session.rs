//! One comparison with one other member: ranges are narrowed down to rows, then what either lacks is moved. One request is on its way at a time.

use super::super::compare::{Bound, Compared, RANGES_MAX, ROWS_TOLD_MAX, Range};
use super::super::message::{ANSWER_BYTES_MAX, STORE_MAX};
use super::super::{Home, Members, Request, Response, Row, Server, Shelf, ShelfError, Slot, Version};
use crate::membership::PeerId;
use jsfs_objects::read_key::Locator;
use std::collections::{BTreeMap, BTreeSet};

/// Rows that wait to be moved; ranges are narrowed down only while there are fewer.
const WAITING_MAX: usize = 4_096;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    Compare(Vec<Range>),
    Pull(Vec<Row>),
    Push(usize),
    Past,
}

#[derive(Debug)]
pub(super) struct Session {
    peer: PeerId,
    ranges: Vec<Range>,
    pulls: Vec<Row>,
    pushes: Vec<Row>,
    past: Vec<Row>,
    asked: Asked,
    pub(super) pulled: u64,
    pub(super) pushed: u64,
}

impl Session {
    pub(super) fn begin<S: Shelf>(
        server: &mut Server<S>,
        peer: PeerId,
        members: &Members,
    ) -> Result<Self, ShelfError> {
        let fingerprint = server.fingerprint(&peer, (&Row::FIRST, None), members)?;
        Ok(Self {
            peer,
            ranges: vec![Range { from: Row::FIRST, until: None, fingerprint }],
            pulls: Vec::new(),
            pushes: Vec::new(),
            past: Vec::new(),
            asked: Asked::Nothing,
            pulled: 0,
            pushed: 0,
        })
    }

    /// The next request; none if there is nothing left.
    pub(super) fn next<S: Shelf>(&mut self, server: &Server<S>) -> Result<Option<Request>, ShelfError> {
        if self.pulls.len() + self.pushes.len() < WAITING_MAX && !self.ranges.is_empty() {
            let ranges = self.ranges.split_off(self.ranges.len().saturating_sub(RANGES_MAX));
            self.asked = Asked::Compare(ranges.clone());
            return Ok(Some(Request::Compare { ranges }));
        }
        if !self.pulls.is_empty() {
            let rows = self.pulls.split_off(self.pulls.len().saturating_sub(ROWS_TOLD_MAX));
            self.asked = Asked::Pull(rows.clone());
            return Ok(Some(Request::Pull { rows }));
        }
        while let Some(first) = self.pushes.last().copied() {
            if first.is_cut() {
                self.pushes.pop();
                self.asked = Asked::Push(1);
                return Ok(Some(Request::Cut { home: first.home }));
            }
            let (rows, envelopes) = self.slot_to_push(server, first)?;
            if !envelopes.is_empty() {
                self.asked = Asked::Push(rows);
                return Ok(Some(Request::Store { home: first.home, envelopes, hold: None }));
            }
        }
        if !self.past.is_empty() {
            let rows = self.past.split_off(self.past.len().saturating_sub(ROWS_TOLD_MAX));
            self.asked = Asked::Past;
            return Ok(Some(Request::Past { rows }));
        }
        self.asked = Asked::Nothing;
        Ok(None)
    }

    /// Envelopes of the slot that is next, earlier versions first, as many as fit into one request.
    fn slot_to_push<S: Shelf>(
        &mut self,
        server: &Server<S>,
        first: Row,
    ) -> Result<(usize, Vec<Vec<u8>>), ShelfError> {
        let of_slot = |row: &Row| row.home == first.home && row.locator == first.locator;
        let slot = Slot::load(server.shelf(), first.home, first.locator)?;
        let wanted: BTreeSet<_> = self.pushes.iter().filter(|row| of_slot(row)).map(|row| row.hash).collect();
        let mut versions: Vec<_> =
            slot.versions().iter().filter(|version| wanted.contains(&version.hash())).collect();
        versions.sort_unstable_by_key(|version| order(version));
        let mut bytes = 0;
        let fitting = versions.into_iter().take(STORE_MAX).take_while(|version| {
            bytes += version.bytes().len();
            bytes <= ANSWER_BYTES_MAX || bytes == version.bytes().len()
        });
        let fitting: Vec<&Version> = fitting.collect();
        let sent: BTreeSet<_> = fitting.iter().map(|version| version.hash()).collect();
        let envelopes: Vec<_> = fitting.iter().map(|version| version.bytes().to_vec()).collect();
        // Rows that are not here any more are not pushed.
        let here: BTreeSet<_> = slot.versions().iter().map(Version::hash).collect();
        self.pushes.retain(|row| !of_slot(row) || (here.contains(&row.hash) && !sent.contains(&row.hash)));
        Ok((sent.len(), envelopes))
    }

    /// Takes an answer in; false if it is none, and the session is over.
    pub(super) fn answered<S: Shelf>(
        &mut self,
        response: &Response,
        server: &mut Server<S>,
        members: &Members,
        now_ms: u64,
    ) -> Result<bool, ShelfError> {
        match (std::mem::replace(&mut self.asked, Asked::Nothing), response) {
            (Asked::Compare(ranges), Response::Compared(said)) if said.len() == ranges.len() => {
                for (range, said) in ranges.iter().zip(said) {
                    if !self.narrow(range, said, server, members)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Asked::Pull(rows), Response::Pulled(envelopes))
                if (1..=rows.len()).contains(&envelopes.len()) =>
            {
                self.pulls.extend(&rows[envelopes.len()..]);
                self.take_in(&rows, envelopes, server, members, now_ms)?;
                Ok(true)
            }
            (Asked::Push(rows), Response::Stored(_) | Response::Noted) => {
                self.pushed += rows as u64;
                Ok(true)
            }
            // What one of the two refuses stays different; the rest goes on.
            (Asked::Push(_), Response::Refused(_) | Response::Elsewhere) | (Asked::Past, Response::Noted) => {
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn narrow<S: Shelf>(
        &mut self,
        range: &Range,
        said: &Compared,
        server: &mut Server<S>,
        members: &Members,
    ) -> Result<bool, ShelfError> {
        match said {
            Compared::Same => {}
            Compared::Parts(parts) => {
                if !are_parts(range, parts) {
                    return Ok(false);
                }
                for part in parts {
                    let bounds = (&part.from, part.until.as_ref());
                    let fingerprint = server.fingerprint(&self.peer, bounds, members)?;
                    if fingerprint != part.fingerprint {
                        self.ranges.push(Range { fingerprint, ..*part });
                    }
                }
            }
            Compared::Rows(theirs) => {
                let bounds = (&range.from, range.until.as_ref());
                let ours = server.common_rows(&self.peer, bounds, members)?;
                let within = |row: &&Row| is_within(range, &row.to_bytes()) && !row.is_marks();
                let theirs: BTreeSet<Row> = theirs.iter().filter(within).copied().collect();
                let ours: BTreeSet<Row> = ours.into_iter().collect();
                for row in theirs.difference(&ours).filter(|row| row.is_cut()) {
                    self.pulled += u64::from(server.cut(row.home, self.peer)?);
                }
                for row in theirs.difference(&ours).filter(|row| !row.is_cut()) {
                    self.pulls.extend(server.wants(row)?.then_some(*row));
                }
                // What belongs to a shard goes there, and nowhere else.
                for row in ours.difference(&theirs) {
                    self.pushes.extend((!server.moves_on(row)?).then_some(*row));
                }
            }
        }
        Ok(true)
    }

    /// Judges and keeps what was pulled. What is past here is told.
    fn take_in<S: Shelf>(
        &mut self,
        rows: &[Row],
        envelopes: &[Option<Vec<u8>>],
        server: &mut Server<S>,
        members: &Members,
        now_ms: u64,
    ) -> Result<(), ShelfError> {
        let mut slots: BTreeMap<(Home, Locator), Vec<Version>> = BTreeMap::new();
        for (row, envelope) in rows.iter().zip(envelopes) {
            let judged = envelope.as_deref().map(|bytes| Version::judge(bytes, members, now_ms));
            if let Some(Ok(version)) = judged
                && version.hash() == row.hash
                && version.locator() == row.locator
            {
                slots.entry((row.home, row.locator)).or_default().push(version);
            }
        }
        for ((home, locator), mut versions) in slots {
            versions.sort_unstable_by_key(order);
            // Together, since one can show that another belongs there; one by one where one of them is refused.
            let together = server.take_in(home, locator, versions.clone(), members, now_ms)?;
            for (at, version) in versions.into_iter().enumerate() {
                let row = Row { home, locator, hash: version.hash() };
                let is_past = match &together {
                    Response::Stored(past) => past.get(at) == Some(&true),
                    _ => {
                        let answer = server.take_in(home, locator, vec![version], members, now_ms)?;
                        answer == Response::Stored(vec![true])
                    }
                };
                server.has_come(&row)?;
                let kept = server.shelf().get(&row)?.is_some();
                self.pulled += u64::from(kept);
                if !kept && is_past {
                    self.past.push(row);
                }
            }
        }
        Ok(())
    }
}

/// Earlier versions first, so that what shows that a later one belongs there is there before it.
fn order(version: &Version) -> (u64, u64, [u8; 32]) {
    (version.record().epoch, version.record().version, version.hash())
}

fn is_within(range: &Range, name: &Bound) -> bool {
    *name >= range.from && range.until.is_none_or(|until| *name < until)
}

/// Whether these are parts of the range, in order and without gaps: more than one, so that narrowing ends.
fn are_parts(range: &Range, parts: &[Range]) -> bool {
    let ends = parts.first().is_some_and(|part| part.from == range.from)
        && parts.last().is_some_and(|part| part.until == range.until);
    ends && parts.len() > 1
        && parts.is_sorted_by(|one, next| one.until == Some(next.from) && one.from < next.from)
}
