//! Whose turn it is: places for what runs at once, shared between namespaces.
//!
//! No namespace holds more than three quarters of the places, so that the others always find some; and a place that becomes free goes to the namespace
//! that holds the fewest, to whoever has waited longest there. So whoever starts endless runs waits for their own.

use crate::hold;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::oneshot;

/// The places.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<State>>);

struct State {
    free: usize,
    /// Places that one namespace may hold.
    each_max: usize,
    held: HashMap<String, usize>,
    waiting: HashMap<String, VecDeque<Waiting>>,
    arrived: u64,
}

struct Waiting {
    arrived: u64,
    turn: oneshot::Sender<Turn>,
}

/// A place, held until this is dropped.
pub(crate) struct Turn {
    turns: Option<Turns>,
    namespace: String,
}

impl Turns {
    pub(crate) fn new(places: u32) -> Self {
        let places = places as usize;
        Self(Arc::new(Mutex::new(State {
            free: places,
            each_max: (places * 3 / 4).max(1),
            held: HashMap::new(),
            waiting: HashMap::new(),
            arrived: 0,
        })))
    }

    /// How many places are held.
    pub(crate) fn taken(&self) -> usize {
        hold(&self.0).held.values().sum()
    }

    /// A place for this namespace, if there is one now.
    pub(crate) fn take_now(&self, namespace: &str) -> Option<Turn> {
        hold(&self.0).may(namespace).then(|| self.given(namespace))
    }

    /// A place for this namespace; none if there is none in time.
    pub(crate) async fn take(&self, namespace: &str, wait: Duration) -> Option<Turn> {
        let waiting = {
            let mut state = hold(&self.0);
            if state.may(namespace) {
                drop(state);
                return Some(self.given(namespace));
            }
            let (turn, waiting) = oneshot::channel();
            state.arrived += 1;
            let arrived = state.arrived;
            state.waiting.entry(namespace.to_owned()).or_default().push_back(Waiting { arrived, turn });
            waiting
        };
        tokio::time::timeout(wait, waiting).await.ok()?.ok()
    }

    fn given(&self, namespace: &str) -> Turn {
        Turn { turns: Some(self.clone()), namespace: namespace.to_owned() }
    }

    /// A place is free again.
    fn give_back(&self, namespace: &str) {
        let mut state = hold(&self.0);
        state.free += 1;
        if let Some(held) = state.held.get_mut(namespace) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(namespace);
            }
        }
        while let Some((namespace, next)) = state.next() {
            if let Err(mut turn) = next.turn.send(self.given(&namespace)) {
                // Whoever waited has gone; the place was not taken.
                turn.turns = None;
            } else {
                state.take(&namespace);
            }
        }
    }
}

impl State {
    fn held(&self, namespace: &str) -> usize {
        self.held.get(namespace).copied().unwrap_or(0)
    }

    fn take(&mut self, namespace: &str) {
        self.free -= 1;
        *self.held.entry(namespace.to_owned()).or_default() += 1;
    }

    /// Takes a place, if there is one.
    fn may(&mut self, namespace: &str) -> bool {
        let may = self.free > 0 && self.held(namespace) < self.each_max;
        if may {
            self.take(namespace);
        }
        may
    }

    /// Whoever is next, if there is a place.
    fn next(&mut self) -> Option<(String, Waiting)> {
        if self.free == 0 {
            return None;
        }
        self.waiting.retain(|_, waiting| {
            waiting.retain(|one| !one.turn.is_closed());
            !waiting.is_empty()
        });
        let first = |waiting: &VecDeque<Waiting>| waiting.front().map_or(u64::MAX, |one| one.arrived);
        let eligible = self.waiting.iter().filter(|(namespace, _)| self.held(namespace) < self.each_max);
        let next = eligible.min_by_key(|(namespace, waiting)| (self.held(namespace), first(waiting)));
        let namespace = next?.0.clone();
        let waiting = self.waiting.get_mut(&namespace)?.pop_front()?;
        Some((namespace, waiting))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.give_back(&self.namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn no_namespace_takes_all_places() {
        let turns = Turns::new(8);
        let greedy: Vec<Turn> = (0..20).map_while(|_| turns.take_now("greedy")).collect();
        assert_eq!(greedy.len(), 6);
        assert!(turns.take("greedy", SOON).await.is_none());
        let others = (turns.take_now("a"), turns.take_now("b"));
        assert!(others.0.is_some() && others.1.is_some());
        assert!(turns.take_now("c").is_none());
        assert_eq!(turns.taken(), 8);
        drop((greedy, others));
        assert_eq!(hold(&turns.0).free, 8);
        assert_eq!(turns.taken(), 0);
        assert!(hold(&turns.0).held.is_empty());
        assert!(Turns::new(1).take_now("alone").is_some());
    }

    #[tokio::test]
    async fn a_free_place_goes_to_who_holds_the_fewest() {
        let turns = Turns::new(4);
        let mut greedy: Vec<Turn> = (0..3).map_while(|_| turns.take_now("greedy")).collect();
        let other = turns.take_now("other");
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for namespace in ["greedy", "greedy", "late", "other"] {
            let (turns, order) = (turns.clone(), Arc::clone(&order));
            tasks.spawn(async move {
                let turn = turns.take(namespace, Duration::from_secs(10)).await;
                hold(&order).push(namespace);
                tokio::time::sleep(SOON).await;
                drop(turn);
            });
            tokio::task::yield_now().await;
        }
        greedy.pop();
        while hold(&order).len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hold(&order)[..2], ["late", "other"]);
        drop((greedy, other));
        tasks.join_all().await;
        assert_eq!(hold(&turns.0).free, 4);
    }

    #[tokio::test]
    async fn who_has_gone_is_given_nothing() {
        let turns = Turns::new(1);
        let held = turns.take_now("a");
        assert!(turns.take("b", SOON).await.is_none());
        drop(held);
        assert_eq!(hold(&turns.0).free, 1);
        assert!(turns.take("c", SOON).await.is_some());
    }
}
