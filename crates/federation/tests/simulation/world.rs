//! A federation in one thread: real servers and clients, a network that does to their encoded messages what it is told to.

use crate::records::{START_MS, node_key};
use jsfs_federation::membership::PeerId;
use jsfs_federation::metastore::{
    Action, Asked, Client, Home, Keeper, Limits, Member, Members, MemoryShelf, OpId, Outcome, Pace, Quorum,
    Request, RequestId, Response, Server, Shard, Shelf, Timing, Version,
};
use jsfs_objects::cbor::Cbor;
use jsfs_objects::clock::SeededRandom;
use jsfs_objects::key::SigningKey;
use jsfs_objects::read_key::{Group, Locator};
use jsfs_testkit::random::Random;
use jsfs_testkit::simulation::{Links, Schedule};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How a member behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    Honest,
    /// Says that it has stored what it has not, and that nothing is there.
    Withholds,
    /// Answers with what it saw first, for ever.
    Replays,
    /// Answers with records that nobody signed.
    Forges,
    /// Says of everything that something follows it.
    Denies,
    /// Cuts every home at its first entry.
    Cuts,
}

/// What a node has in memory.
pub(crate) struct Running {
    pub(crate) server: Server<MemoryShelf>,
    pub(crate) client: Client,
    pub(crate) keeper: Option<Keeper>,
}

/// Who on a node asked, and with which number.
#[derive(Clone, Copy)]
pub(crate) enum Asker {
    Client(RequestId),
    Keeper(RequestId),
}

pub(crate) struct Node {
    pub(crate) key: SigningKey,
    pub(crate) peer: PeerId,
    /// None while it is down; then its shelf is kept.
    pub(crate) running: Option<Running>,
    shelf: MemoryShelf,
    pub(crate) skew_ms: i64,
    pub(crate) members: Arc<Members>,
    pub(crate) nature: Nature,
    replayed: BTreeMap<Vec<u8>, Response>,
    /// How often it was started and killed.
    pub(crate) life: u64,
    wakes_at: Option<u64>,
}

#[derive(Clone)]
pub(crate) enum Event {
    Request {
        from: usize,
        to: usize,
        asker: Asker,
        life: u64,
        bytes: Vec<u8>,
    },
    Response {
        to: usize,
        asker: Asker,
        life: u64,
        bytes: Vec<u8>,
    },
    Wake {
        node: usize,
        life: u64,
    },
    /// A node learns who can be reached.
    Look {
        node: usize,
    },
    /// A node is started again.
    Restart {
        node: usize,
    },
    /// What the test put there.
    Act(u64),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Links,
    pub(crate) schedule: Schedule<Event>,
    pub(crate) random: Random,
    pub(crate) quorum: Quorum,
    pub(crate) limits: Limits,
    pub(crate) timing: Timing,
    /// How replicas are kept the same; not at all without.
    pub(crate) pace: Option<Pace>,
    /// Whether nodes that start are those that the federation begins with, who lack nothing.
    pub(crate) founding: bool,
    /// What operations came to, and when.
    pub(crate) outcomes: BTreeMap<(usize, OpId), (u64, Outcome)>,
    pub(crate) completed: Vec<(usize, Outcome)>,
    pub(crate) traffic: Traffic,
    /// What of it keeps replicas the same.
    pub(crate) repair: Traffic,
    /// What of that only compares.
    pub(crate) comparing: Traffic,
    /// Nodes that are members no more.
    pub(crate) gone: BTreeSet<usize>,
    /// In a thousand messages, how often the receiver crashes after it has done what they ask and before it answers.
    pub(crate) crash_permille: u64,
    shared: Option<Arc<Members>>,
    by_peer: BTreeMap<PeerId, usize>,
}

impl World {
    pub(crate) fn new(nodes: usize, seed: u64) -> Self {
        Self::keeping(nodes, seed, None)
    }

    /// A federation whose members keep their replicas the same at some pace.
    pub(crate) fn keeping(nodes: usize, seed: u64, pace: Option<Pace>) -> Self {
        let mut world = Self {
            seed,
            nodes: Vec::new(),
            links: Links::calm(),
            schedule: Schedule::starting_at(START_MS),
            random: Random::seeded(seed),
            quorum: Quorum::DEFAULT,
            limits: Limits { entries: crate::entries(Limits::default().entries), ..Limits::default() },
            timing: Timing::default(),
            pace,
            founding: true,
            outcomes: BTreeMap::new(),
            completed: Vec::new(),
            traffic: Traffic::default(),
            repair: Traffic::default(),
            comparing: Traffic::default(),
            gone: BTreeSet::new(),
            crash_permille: 0,
            shared: None,
            by_peer: BTreeMap::new(),
        };
        for number in 0..nodes {
            world.add(number);
        }
        world.founding = false;
        world.look_all();
        world
    }

    /// Lets a new member join, with nothing.
    pub(crate) fn join(&mut self) -> usize {
        let number = self.nodes.len();
        self.add(number);
        self.look(number);
        self.look_soon();
        number
    }

    /// Lets a member leave for ever, with what it has.
    pub(crate) fn leave(&mut self, number: usize) {
        self.crash(number);
        self.nodes[number].shelf = MemoryShelf::default();
        self.gone.insert(number);
        self.look_soon();
    }

    fn add(&mut self, number: usize) {
        let key = node_key(number);
        let peer = key.public();
        self.by_peer.insert(peer, number);
        self.nodes.push(Node {
            key,
            peer,
            running: None,
            shelf: MemoryShelf::default(),
            skew_ms: 0,
            members: Arc::default(),
            nature: Nature::Honest,
            replayed: BTreeMap::new(),
            life: 0,
            wakes_at: None,
        });
        self.start(number);
    }

    /// The time that a node's clock shows.
    pub(crate) fn now_at(&self, node: usize) -> u64 {
        self.schedule.now_ms().saturating_add_signed(self.nodes[node].skew_ms)
    }

    pub(crate) fn start(&mut self, number: usize) {
        let (seed, now_ms) = (self.random.bits(), self.now_at(number));
        self.links.set_down(number, false);
        let node = &mut self.nodes[number];
        node.life += 1;
        node.wakes_at = None;
        let shelf = std::mem::take(&mut node.shelf);
        let notes = shelf.notes(Client::OUTBOX, &[], usize::MAX).unwrap();
        let entries = if node.nature == Nature::Cuts { 0 } else { self.limits.entries };
        let limits = Limits { entries, ..self.limits };
        let mut server = Server::new(node.peer, shelf, self.quorum, limits).unwrap();
        if self.founding {
            server.set_settled().unwrap();
        }
        let founding = self.founding;
        let keeper =
            self.pace.map(|pace| if founding { Keeper::resting(pace, now_ms) } else { Keeper::new(pace) });
        let random = Arc::new(SeededRandom::new(seed));
        let mut client = Client::new(node.peer, self.quorum, self.timing, random);
        client.resume(notes.into_iter().map(|(_, note)| note), now_ms);
        node.running = Some(Running { server, client, keeper });
        self.wake(number);
    }

    /// Kills a node: what it had in memory is gone.
    pub(crate) fn crash(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if let Some(running) = node.running.take() {
            node.shelf = running.server.into_shelf();
        }
        node.life += 1;
        self.links.set_down(number, true);
    }

    /// Lets a node see at once who is a member and who can be reached.
    pub(crate) fn look(&mut self, number: usize) {
        let members = match &self.shared {
            Some(shared) => Arc::clone(shared),
            None => Arc::new(self.seen_from(Some(number))),
        };
        let now_ms = self.now_at(number);
        let node = &mut self.nodes[number];
        let earlier = std::mem::replace(&mut node.members, Arc::clone(&members));
        if let Some(Running { server, keeper: Some(keeper), .. }) = &mut node.running
            && earlier.keepers() > 0
        {
            keeper.members_changed(server, &earlier, &members, now_ms).unwrap();
        }
        self.act_all(number);
    }

    /// Where a group lists a locator, as far as any member knows.
    pub(crate) fn listed_at(&self, group: Group, locator: &Locator) -> Home {
        let is_cut = |home: &Home| {
            let running = self.nodes.iter().filter_map(|node| node.running.as_ref());
            running.into_iter().any(|running| running.server.is_cut(home).unwrap())
        };
        let mut shard = Shard::WHOLE;
        while let Some(below) = shard.below(locator).filter(|_| is_cut(&shard.home(group))) {
            shard = below;
        }
        shard.home(group)
    }

    fn seen_from(&self, number: Option<usize>) -> Members {
        let members = self.nodes.iter().enumerate().filter(|(at, _)| !self.gone.contains(at));
        let members = members.map(|(at, node)| Member {
            peer: node.peer,
            keeps: true,
            reachable: number.is_none_or(|number| self.links.passes(number, at)),
        });
        let former = self.gone.iter().map(|at| self.nodes[*at].peer);
        Members::new(members, former, [])
    }

    pub(crate) fn look_all(&mut self) {
        for number in 0..self.nodes.len() {
            self.look(number);
        }
    }

    /// One list for all, as where every node reaches every other: large federations would otherwise not fit.
    pub(crate) fn share_members(&mut self) {
        self.shared = Some(Arc::new(self.seen_from(None)));
        self.look_all();
    }

    /// Lets all nodes find out who can be reached, each after a while.
    pub(crate) fn look_soon(&mut self) {
        for node in 0..self.nodes.len() {
            let at = self.schedule.now_ms() + self.random.within(50..1_500);
            self.schedule.at(at, Event::Look { node });
        }
    }

    /// Calls a node's client and does what it says; none if the node is down.
    pub(crate) fn call<T>(
        &mut self,
        number: usize,
        call: impl FnOnce(&mut Client, &Members, u64) -> T,
    ) -> Option<T> {
        let now_ms = self.now_at(number);
        let node = &mut self.nodes[number];
        let running = node.running.as_mut()?;
        let answer = call(&mut running.client, &node.members, now_ms);
        self.act_all(number);
        Some(answer)
    }

    /// Lets a node's keeper do something.
    fn keep(
        &mut self,
        number: usize,
        keep: impl FnOnce(&mut Keeper, &mut Server<MemoryShelf>, &Members, u64),
    ) {
        let now_ms = self.now_at(number);
        let node = &mut self.nodes[number];
        if let Some(Running { server, keeper: Some(keeper), .. }) = &mut node.running {
            keep(keeper, server, &node.members, now_ms);
        }
        self.act_all(number);
    }

    /// Does what client and keeper of a node say.
    fn act_all(&mut self, number: usize) {
        let Some(running) = self.nodes[number].running.as_mut() else { return };
        let actions = running.client.actions();
        let asked = running.keeper.as_mut().map(Keeper::asked).unwrap_or_default();
        for action in actions {
            self.act(number, action);
        }
        for Asked { id, to, request } in asked {
            let before = self.traffic;
            self.ask(number, to, Asker::Keeper(id), &request);
            self.repair.messages += self.traffic.messages - before.messages;
            self.repair.bytes += self.traffic.bytes - before.bytes;
            if matches!(request, Request::Compare { .. }) {
                self.comparing.messages += self.traffic.messages - before.messages;
                self.comparing.bytes += self.traffic.bytes - before.bytes;
            }
        }
        self.wake(number);
    }

    fn ask(&mut self, from: usize, to: PeerId, asker: Asker, request: &Request) {
        let (to, life) = (self.by_peer[&to], self.nodes[from].life);
        self.post(from, to, Event::Request { from, to, asker, life, bytes: request.to_bytes() });
    }

    fn act(&mut self, number: usize, action: Action) {
        match action {
            Action::Keep(changes) => {
                let Some(running) = self.nodes[number].running.as_mut() else { return };
                running.server.shelf_mut().apply(changes).unwrap();
            }
            Action::Send { id, to, request } => self.ask(number, to, Asker::Client(id), &request),
            Action::Done { outcome: Outcome::Dropped { code, .. }, .. } => {
                panic!("seed {}: a kept write of node {number} was dropped: {code:?}", self.seed)
            }
            Action::Done { outcome: outcome @ Outcome::Completed { .. }, .. } => {
                self.completed.push((number, outcome));
            }
            Action::Done { op, outcome } => {
                self.outcomes.insert((number, op), (self.schedule.now_ms(), outcome));
            }
        }
    }

    fn post(&mut self, from: usize, to: usize, event: Event) {
        if from != to {
            self.traffic.messages += 1;
            self.traffic.bytes += event.bytes().len() as u64;
        }
        for delay in self.links.delays(from, to, &mut self.random) {
            self.schedule.at(self.schedule.now_ms() + delay, event.clone());
        }
    }

    fn wake(&mut self, number: usize) {
        let node = &self.nodes[number];
        let Some(running) = &node.running else { return };
        let keeper = running.keeper.as_ref().map(Keeper::wakes_at);
        if let Some(at) = running.client.wakes_at().into_iter().chain(keeper).min() {
            // A node looks at its timers every 10 ms.
            let at = at.saturating_add_signed(-node.skew_ms).max(self.schedule.now_ms() + 10);
            if self.nodes[number].wakes_at.is_none_or(|before| at < before) {
                let life = node.life;
                self.nodes[number].wakes_at = Some(at);
                self.schedule.at(at, Event::Wake { node: number, life });
            }
        }
    }

    /// Lets everything happen until a time; what the test put into the schedule comes back when it is its turn.
    pub(crate) fn run_until(&mut self, until_ms: u64) -> Option<u64> {
        while let Some(event) = self.schedule.next(until_ms) {
            match event {
                Event::Act(number) => return Some(number),
                Event::Look { node } => self.look(node),
                Event::Restart { node } => {
                    if self.nodes[node].running.is_none() {
                        self.start(node);
                    }
                }
                Event::Wake { node, life } => {
                    if self.nodes[node].life == life {
                        self.nodes[node].wakes_at = None;
                        self.call(node, |client, members, now_ms| client.tick(members, now_ms));
                        self.keep(node, |keeper, server, members, now_ms| {
                            keeper.tick(server, members, now_ms).unwrap();
                        });
                    }
                }
                Event::Request { from, to, asker, life, bytes } => {
                    self.request(from, to, asker, life, &bytes)
                }
                Event::Response { to, asker, life, bytes } => {
                    if self.nodes[to].life == life {
                        self.respond(to, asker, Response::from_bytes(&bytes).unwrap());
                    }
                }
            }
        }
        None
    }

    fn respond(&mut self, to: usize, asker: Asker, response: Response) {
        match asker {
            Asker::Client(id) => {
                self.call(to, |client, members, now_ms| client.answered(id, response, members, now_ms));
            }
            Asker::Keeper(id) => self.keep(to, |keeper, server, members, now_ms| {
                keeper.answered(id, &response, server, members, now_ms).unwrap();
            }),
        }
    }

    fn request(&mut self, from: usize, to: usize, asker: Asker, life: u64, bytes: &[u8]) {
        let request = Request::from_bytes(bytes).unwrap();
        let now_ms = self.now_at(to);
        let peer = self.nodes[from].peer;
        let node = &mut self.nodes[to];
        let Some(Running { server, .. }) = node.running.as_mut() else { return };
        let response = match misbehave(node.nature, &request, bytes, &mut node.replayed) {
            Some(response) => response,
            None => server.handle(&peer, &request, &node.members, now_ms).unwrap(),
        };
        // What was cut is the keeper's business at once.
        self.keep(to, |keeper, server, members, now_ms| keeper.tick(server, members, now_ms).unwrap());
        let node = &mut self.nodes[to];
        let response = match node.nature {
            Nature::Replays => node.replayed.entry(bytes.to_vec()).or_insert(response).clone(),
            Nature::Forges => forged(response),
            Nature::Denies => denied(response),
            _ => response,
        };
        if self.crash_permille > 0 && from != to && self.random.within(0..1_000) < self.crash_permille {
            self.crash(to);
            self.schedule.at(self.schedule.now_ms() + 1_500, Event::Restart { node: to });
            return;
        }
        let before = self.traffic;
        self.post(to, from, Event::Response { to: from, asker, life, bytes: response.to_bytes() });
        if matches!(asker, Asker::Keeper(_)) {
            self.repair.messages += self.traffic.messages - before.messages;
            self.repair.bytes += self.traffic.bytes - before.bytes;
            if matches!(request, Request::Compare { .. }) {
                self.comparing.messages += self.traffic.messages - before.messages;
                self.comparing.bytes += self.traffic.bytes - before.bytes;
            }
        }
    }

    /// Runs until an operation of a node is over.
    pub(crate) fn finish(&mut self, node: usize, op: OpId) -> Outcome {
        let limit = self.schedule.now_ms() + 20_000;
        while self.schedule.now_ms() < limit {
            self.run_until(self.schedule.now_ms() + 5);
            if let Some((_, outcome)) = self.outcomes.remove(&(node, op)) {
                return outcome;
            }
        }
        panic!("seed {}: operation {op} of node {node} does not end", self.seed);
    }
}

impl Event {
    fn bytes(&self) -> &[u8] {
        match self {
            Event::Request { bytes, .. } | Event::Response { bytes, .. } => bytes,
            _ => &[],
        }
    }
}

fn misbehave(
    nature: Nature,
    request: &Request,
    bytes: &[u8],
    replayed: &mut BTreeMap<Vec<u8>, Response>,
) -> Option<Response> {
    match (nature, request) {
        (Nature::Withholds, Request::Store { envelopes, .. }) => {
            Some(Response::Stored(vec![false; envelopes.len()]))
        }
        (Nature::Withholds, Request::Fetch { locators, .. }) => Some(Response::Versions {
            settled: true,
            found: locators.iter().map(|_| Default::default()).collect(),
        }),
        (Nature::Withholds, Request::List { .. }) => {
            Some(Response::Page { settled: true, entries: Vec::new(), more: false, cut: false })
        }
        (Nature::Replays, _) => replayed.get(bytes).cloned(),
        _ => None,
    }
}

/// Turns a bit of every envelope.
fn forged(response: Response) -> Response {
    let turn = |envelope: &mut Vec<u8>| {
        let at = envelope.len() / 2;
        envelope[at] ^= 1;
    };
    match response {
        Response::Versions { settled, mut found } => {
            found.iter_mut().flat_map(|found| &mut found.envelopes).for_each(turn);
            Response::Versions { settled, found }
        }
        other => other,
    }
}

/// Adds a mark for every envelope.
fn denied(response: Response) -> Response {
    match response {
        Response::Versions { settled, mut found } => {
            for slot in &mut found {
                let versions = slot.envelopes.iter().map(|bytes| Version::kept(bytes.clone()).unwrap());
                let hashes = versions.map(|version| {
                    let hash = blake3::Hasher::new()
                        .update(&version.hash())
                        .update(version.owner().as_bytes())
                        .finalize();
                    *hash.as_bytes().first_chunk::<8>().unwrap()
                });
                slot.marks = hashes.collect();
            }
            Response::Versions { settled, found }
        }
        other => other,
    }
}
