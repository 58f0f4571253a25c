//! Where a write goes: replicas of its homes, and how each of them stands.
//!
//! A home at which it cannot be stored any more because it is cut counts as done when as many replicas know that as would have to store it: then whoever reads
//! there hears of it, and reads at the shard, where the write goes next.

use super::super::{Home, Request, Response, Shard};
use super::{Failure, Step, Tag};
use crate::membership::PeerId;
use crate::wire::ErrorCode;
use jsfs_objects::read_key::{Group, Locator};

/// How one replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Not asked yet, or to be asked again from this time on.
    Idle {
        from_ms: u64,
    },
    Asked,
    Stored,
    /// It knows that the home is cut.
    Cut,
    Refused(ErrorCode),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) home: Home,
    peer: PeerId,
    standing: Standing,
    /// Whether it could not store when it was asked.
    failed: bool,
    /// Whether it holds the slot for this write.
    pub(super) holds: bool,
}

/// A home of a write.
#[derive(Clone, Copy, Debug)]
struct Place {
    home: Home,
    /// The shard of a group that this is.
    shard: Option<(Group, Shard)>,
    /// Whether it is cut, and the write goes on.
    is_cut: bool,
}

/// The homes of a write, and their replicas.
#[derive(Debug, Default)]
pub(super) struct Places {
    homes: Vec<Place>,
    targets: Vec<Target>,
}

impl Places {
    /// Adds a home, if it is not there.
    pub(super) fn add(&mut self, home: Home, shard: Option<(Group, Shard)>, step: &Step<'_>) {
        if self.homes.iter().any(|place| place.home == home) {
            return;
        }
        self.homes.push(Place { home, shard, is_cut: false });
        let target = |peer| Target {
            home,
            peer,
            standing: Standing::Idle { from_ms: 0 },
            failed: false,
            holds: false,
        };
        self.targets.extend(step.replicas(&home).into_iter().map(target));
    }

    /// Adds where a group lists a locator, as far as is known here.
    pub(super) fn add_group(&mut self, group: Group, locator: &Locator, step: &Step<'_>) {
        let mut shard = Shard::WHOLE;
        while let Some(below) = shard.below(locator)
            && step.recent.is_cut(&shard.home(group))
        {
            shard = below;
        }
        self.add(shard.home(group), Some((group, shard)), step);
    }

    /// Takes in what one replica answered to storing, or to hearing that a home is cut.
    pub(super) fn answered(&mut self, step: &Step<'_>, tag: Tag, result: &Result<Response, Failure>) {
        let Some(target) = self.targets.get_mut(tag) else { return };
        let is_cut = self.homes.iter().any(|place| place.home == target.home && place.is_cut);
        target.standing = match result {
            Ok(Response::Elsewhere | Response::Noted) => Standing::Cut,
            Ok(Response::Stored(_)) if is_cut => Standing::Idle { from_ms: step.now_ms },
            Ok(Response::Stored(_)) => Standing::Stored,
            Ok(answer) => match answer.refusal() {
                Some(ErrorCode::Busy | ErrorCode::Role | ErrorCode::Full | ErrorCode::Conflict) | None => {
                    target.holds &= answer.refusal() != Some(ErrorCode::Conflict);
                    target.failed = true;
                    Standing::Idle { from_ms: step.now_ms + step.timing.hedge_ms }
                }
                Some(code) => Standing::Refused(code),
            },
            Err(Failure::Lost) => {
                target.failed = true;
                Standing::Idle { from_ms: step.now_ms + step.timing.hedge_ms }
            }
        };
    }

    /// Goes on to a shard where a home is cut and those that may still store there are too few.
    pub(super) fn go_on(&mut self, locator: &Locator, step: &mut Step<'_>) {
        let needed = step.quorum().write;
        let mut at = 0;
        while let Some(Place { home, shard, is_cut }) = self.homes.get(at).copied() {
            at += 1;
            let Some((group, shard)) = shard else { continue };
            let knowing = self.count(&home, |target| target.standing == Standing::Cut);
            let can_store = self.count(&home, |target| match target.standing {
                Standing::Stored => true,
                Standing::Asked | Standing::Idle { .. } => !target.failed && step.is_reachable(&target.peer),
                Standing::Cut | Standing::Refused(_) => false,
            });
            if !is_cut
                && knowing > 0
                && can_store < needed
                && let Some(below) = shard.below(locator)
            {
                self.homes[at - 1].is_cut = true;
                for target in self.targets.iter_mut().filter(|target| target.home == home) {
                    if matches!(target.standing, Standing::Stored | Standing::Refused(_)) {
                        target.standing = Standing::Idle { from_ms: step.now_ms };
                    }
                }
                self.add(below.home(group), Some((group, below)), step);
            }
            if self.homes[at - 1].is_cut && knowing >= needed {
                step.recent.see_cut(home);
            }
        }
    }

    fn count(&self, home: &Home, which: impl Fn(&Target) -> bool) -> usize {
        self.targets.iter().filter(|target| target.home == *home && which(target)).count()
    }

    pub(super) fn stored(&self, home: &Home) -> usize {
        self.count(home, |target| target.standing == Standing::Stored)
    }

    /// Replicas that have stored it, or hold the slot for it.
    pub(super) fn can_store_held(&self, home: &Home) -> usize {
        self.count(home, |target| target.holds || target.standing == Standing::Stored)
    }

    /// How many replicas have it, or know where it is, where they are fewest.
    pub(super) fn fewest(&self) -> usize {
        let done = |place: &Place| {
            let wanted = if place.is_cut { Standing::Cut } else { Standing::Stored };
            self.count(&place.home, |target| target.standing == wanted)
        };
        self.homes.iter().map(done).min().unwrap_or(0)
    }

    /// Refused by so many that the others cannot make it enough: what they refused it for is final.
    pub(super) fn refusal(&self, step: &Step<'_>) -> Option<ErrorCode> {
        let quorum = step.quorum();
        self.homes.iter().find_map(|place| {
            let at_home = self.targets.iter().filter(|target| target.home == place.home);
            let refused = at_home.filter_map(|target| match target.standing {
                Standing::Refused(code) => Some(code),
                _ => None,
            });
            let refused: Vec<_> = refused.collect();
            refused.first().copied().filter(|_| refused.len() > quorum.replicas - quorum.write)
        })
    }

    /// Whether somebody who can be reached has not answered, or is to be asked again.
    pub(super) fn is_waiting(&self, step: &Step<'_>) -> bool {
        self.targets.iter().any(|target| {
            matches!(target.standing, Standing::Asked | Standing::Idle { .. })
                && step.is_reachable(&target.peer)
        })
    }

    /// The replica of a home.
    pub(super) fn target(&mut self, home: &Home, peer: &PeerId) -> Option<&mut Target> {
        self.targets.iter_mut().find(|target| target.home == *home && target.peer == *peer)
    }

    /// Asks those of some replicas whose time has come.
    pub(super) fn send_due(
        &mut self,
        step: &mut Step<'_>,
        which: impl Fn(&Target) -> bool,
        store: impl Fn(&Target) -> Request,
    ) {
        for (tag, target) in self.targets.iter_mut().enumerate() {
            let is_due = matches!(target.standing, Standing::Idle { from_ms } if from_ms <= step.now_ms);
            if !is_due || !which(target) {
                continue;
            }
            if !step.is_reachable(&target.peer) {
                target.standing = Standing::Idle { from_ms: step.now_ms + step.timing.hedge_ms };
                continue;
            }
            target.standing = Standing::Asked;
            let is_cut = self.homes.iter().any(|place| place.home == target.home && place.is_cut);
            let request = if is_cut { Request::Cut { home: target.home } } else { store(target) };
            step.send(target.peer, tag, request);
        }
    }

    /// When somebody is to be asked again.
    pub(super) fn wakes_at(&self) -> Option<u64> {
        let idle = self.targets.iter().filter_map(|target| match target.standing {
            Standing::Idle { from_ms } if from_ms > 0 => Some(from_ms),
            _ => None,
        });
        idle.min()
    }
}
