//! Cutting a home, step by step: what one member takes in, what a writer makes of it, who hears of it, and what single faults do.

use crate::records::{Draft, START_MS, group, keys, locator, node_key};
use crate::world::{Nature, World};
use jsfs_federation::metastore::{
    DEPTH_MAX, Home, Limits, Member, Members, MemoryShelf, Outcome, Pace, Quorum, Request, Response, Server,
    Shard, Version, Writing, Written,
};
use jsfs_federation::wire::ErrorCode;
use jsfs_objects::clock::HybridTime;
use jsfs_objects::read_key::Locator;
use jsfs_objects::record::Kind;
use std::collections::BTreeSet;
use std::sync::Arc;

fn draft(locator: Locator, after: Option<&Version>, kind: Kind, now: u64) -> Vec<u8> {
    let time = HybridTime::from_ms(now);
    let draft = Draft { locator, group: group(0), kind, owner: &keys(1), after, time, salt: now };
    draft.envelope(&node_key(0), now)
}

/// One member by itself.
struct Alone {
    server: Server<MemoryShelf>,
    members: Members,
}

impl Alone {
    fn new(limits: Limits) -> Self {
        let me = node_key(0).public();
        let members = Members::new([Member { peer: me, keeps: true, reachable: true }], [], []);
        Self { server: Server::new(me, MemoryShelf::default(), Quorum::DEFAULT, limits).unwrap(), members }
    }

    /// The same member, started again under other limits.
    fn again(self, limits: Limits) -> Self {
        let (me, shelf) = (self.server.me(), self.server.into_shelf());
        Self { server: Server::new(me, shelf, Quorum::DEFAULT, limits).unwrap(), members: self.members }
    }

    fn ask(&mut self, request: &Request) -> Response {
        self.server.handle(&node_key(0).public(), request, &self.members, START_MS + 1_000).unwrap()
    }

    fn store(&mut self, home: Home, envelope: &[u8]) -> Response {
        self.ask(&Request::Store { home, envelopes: vec![envelope.to_vec()], hold: None })
    }

    fn listed(&mut self, home: Home) -> (usize, bool) {
        match self.ask(&Request::List { home, after: None, limit: 100 }) {
            Response::Page { entries, cut, .. } => (entries.len(), cut),
            other => panic!("{other:?}"),
        }
    }
}

fn at_most(entries: usize) -> Limits {
    Limits { entries, ..Limits::default() }
}

const STORED: fn(bool) -> Response = |behind| Response::Stored(vec![behind]);

fn first(number: u64) -> Vec<u8> {
    draft(locator(number), None, Kind::Object, START_MS + number)
}

#[test]
fn a_home_with_as_many_entries_as_there_may_be_is_cut_for_good() {
    let mut alone = Alone::new(at_most(3));
    let whole = Home::from(group(0));
    let watch = |cursor| Request::Watch { home: whole, cursor, lease_ms: 60_000 };
    for number in 0..3 {
        assert_eq!(alone.store(whole, &first(number)), STORED(false));
    }
    assert_eq!(alone.store(whole, &first(2)), STORED(false), "what is there may come again");
    assert!(matches!(alone.ask(&watch(None)), Response::Changes { cut: false, .. }));
    assert_eq!(alone.store(whole, &first(3)), Response::Elsewhere);
    assert_eq!(alone.server.take_notices(START_MS).len(), 1, "who watches it is told");
    assert!(matches!(alone.ask(&watch(None)), Response::Changes { cut: true, .. }));
    assert_eq!(alone.listed(whole), (3, true), "what is there is listed still");
    let mut alone = alone.again(at_most(100));
    let second = draft(locator(0), Version::kept(first(0)).ok().as_ref(), Kind::Object, START_MS + 9);
    assert_eq!(alone.store(whole, &second), Response::Elsewhere, "after a restart, and for what is there");
    // The directory's own record is no entry of it.
    let own = Locator::from_bytes(*group(0).as_bytes());
    assert_eq!(alone.store(whole, &draft(own, None, Kind::Object, START_MS)), STORED(false));
}

#[test]
fn an_entry_lies_at_the_shards_of_its_own_digits_and_the_last_of_them_is_never_cut() {
    let mut alone = Alone::new(at_most(0));
    let other = (1..).map(locator).find(|other| !Shard::of(&locator(0), 1).contains(other)).unwrap();
    for depth in 0..=DEPTH_MAX {
        let home = Shard::of(&locator(0), depth).home(group(0));
        // Anybody may say that anything is cut.
        assert_eq!(alone.ask(&Request::Cut { home }), Response::Noted);
        let expected = if depth < DEPTH_MAX { Response::Elsewhere } else { STORED(false) };
        assert_eq!(alone.store(home, &first(0)), expected, "{depth}");
        if depth > 0 {
            let misfiled = alone.store(Shard::of(&other, depth).home(group(0)), &first(0));
            assert_eq!(misfiled.refusal(), Some(ErrorCode::Misfiled));
        }
    }
}

#[test]
fn what_was_stored_before_homes_were_cut_is_listed_and_counted() {
    let mut alone = Alone::new(at_most(usize::MAX));
    let whole = Home::from(group(0));
    (0..50).for_each(|number| drop(alone.store(whole, &first(number))));
    let mut alone = alone.again(at_most(50));
    assert_eq!(alone.listed(whole), (50, false));
    assert_eq!(alone.store(whole, &first(50)), Response::Elsewhere);
    assert_eq!(alone.listed(whole), (50, true));
}

#[test]
fn who_says_of_too_many_homes_that_they_are_cut_is_not_heard() {
    let mut alone = Alone::new(Limits { bytes_per_member: 1_000, ..Limits::default() });
    let answers = (0..20).map(|number| alone.ask(&Request::Cut { home: locator(number).into() }));
    let noted = answers.filter(|answer| *answer == Response::Noted).count();
    assert_eq!(noted, 7, "of 128 bytes each");
    assert_eq!(alone.ask(&Request::Cut { home: locator(0).into() }), Response::Noted, "known already");
}

fn pass(world: &mut World, ms: u64) {
    let until = world.schedule.now_ms() + ms;
    while world.run_until(until).is_some() {}
}

fn world(nodes: usize, entries: usize, pace: Option<Pace>) -> World {
    let mut world = World::keeping(nodes, 9, pace);
    world.limits.entries = entries;
    (0..nodes).for_each(|node| restart(&mut world, node));
    world.look_all();
    world
}

fn restart(world: &mut World, node: usize) {
    world.crash(node);
    world.start(node);
}

fn write(world: &mut World, node: usize, number: u64, after: Option<&Version>, kind: Kind) -> Version {
    let now = world.now_at(node);
    let envelope = draft(locator(number), after, kind, now);
    let before = after.map(|version| version.bytes().to_vec());
    let writing = Writing { envelope: envelope.clone(), before, condition: None };
    let op = world.call(node, |client, members, now| client.store(writing, members, now)).unwrap();
    let written = world.finish(node, op);
    assert!(matches!(written, Outcome::Written(Written::Settled)), "{written:?}");
    Version::kept(envelope).unwrap()
}

fn listed(world: &mut World, node: usize) -> BTreeSet<Locator> {
    let (mut all, mut after) = (BTreeSet::new(), None);
    loop {
        let op = world.call(node, |client, members, now| client.list(group(0), after, 5, members, now));
        let Outcome::Listed(page) = world.finish(node, op.unwrap()) else { panic!("cannot be listed") };
        assert!(page.settled);
        all.extend(page.entries.iter().map(|entry| entry.locator));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

fn numbered(numbers: std::ops::Range<u64>) -> BTreeSet<Locator> {
    numbers.map(locator).collect()
}

fn knowing(world: &World) -> Vec<usize> {
    let whole = Home::from(group(0));
    let knows = |node: &usize| {
        world.nodes[*node].running.as_ref().is_some_and(|running| running.server.is_cut(&whole).unwrap())
    };
    (0..world.nodes.len()).filter(knows).collect()
}

#[test]
fn one_member_that_cuts_what_is_small_moves_no_writer_as_long_as_others_store() {
    let mut world = world(5, 100, None);
    world.nodes[4].nature = Nature::Cuts;
    restart(&mut world, 4);
    (0..4).for_each(|number| drop(write(&mut world, 0, number, None, Kind::Object)));
    assert_eq!(knowing(&world), [4]);
    assert_eq!(listed(&mut world, 1), numbered(0..4));
    // With two others down there are too few without it; then two more hear of it.
    [2, 3].into_iter().for_each(|node| world.crash(node));
    world.look_all();
    write(&mut world, 0, 4, None, Kind::Object);
    assert_eq!(knowing(&world), [0, 1, 4]);
    assert_eq!(listed(&mut world, 1), numbered(0..5));
    [2, 3].into_iter().for_each(|node| world.start(node));
    world.look_all();
    assert_eq!(listed(&mut world, 2), numbered(0..5), "by who has not heard of it");
}

#[test]
fn entries_of_a_home_that_is_cut_move_to_their_shards_and_nothing_stays() {
    let pace = Pace { round_ms: 1_000_000, ..Pace::default() };
    let mut world = world(7, 6, Some(pace));
    (0..40).for_each(|number| {
        drop(write(&mut world, usize::try_from(number % 7).unwrap(), number, None, Kind::Object))
    });
    pass(&mut world, 30_000);
    assert!(knowing(&world).len() >= 3);
    for number in 0..40 {
        let whole = Home::from(group(0));
        for node in knowing(&world) {
            let shelf = world.nodes[node].running.as_ref().unwrap().server.shelf();
            let slot = jsfs_federation::metastore::Slot::load(shelf, whole, locator(number)).unwrap();
            assert!(slot.versions().is_empty(), "entry {number} is still at node {node}");
        }
    }
    (0..7).for_each(|node| assert_eq!(listed(&mut world, node), numbered(0..40)));
}

#[test]
fn one_side_of_a_network_cuts_a_home_and_the_other_does_not() {
    let pace = Pace { round_ms: 5_000, ..Pace::default() };
    let mut world = world(6, 8, Some(pace));
    (0..4).for_each(|number| drop(write(&mut world, 0, number, None, Kind::Object)));
    // As many replicas as a write needs on one side.
    let order = world.nodes[0].members.order(&group(0).into());
    let many: Vec<usize> = (0..6).filter(|node| order[..3].contains(&world.nodes[*node].peer)).collect();
    let few = (0..6).find(|node| order[3..5].contains(&world.nodes[*node].peer)).unwrap();
    world.links.cut(many.clone());
    world.look_all();
    for (node, numbers) in [(many[0], 4..20), (few, 20..22)] {
        for number in numbers {
            let envelope = draft(locator(number), None, Kind::Object, world.now_at(node));
            let writing = Writing { envelope, before: None, condition: None };
            let op = world.call(node, |client, members, now| client.store(writing, members, now)).unwrap();
            world.finish(node, op);
        }
    }
    assert!(!knowing(&world).contains(&few) && knowing(&world).contains(&many[0]));
    world.links.cut([]);
    world.look_all();
    pass(&mut world, 120_000);
    (0..6).for_each(|node| assert_eq!(listed(&mut world, node), numbered(0..22)));
}

#[test]
fn the_loss_of_all_who_knew_that_a_home_is_cut_hides_nothing() {
    let pace = Pace { round_ms: 20_000, ..Pace::default() };
    let mut world = world(16, 8, Some(pace));
    (0..30).for_each(|number| drop(write(&mut world, 0, number, None, Kind::Object)));
    pass(&mut world, 60_000);
    let known = knowing(&world);
    assert_eq!(known.len(), 5, "all replicas hear of it by comparing");
    let order = |home: Home| world.nodes[0].members.order(&home)[..5].to_vec();
    let is_left = |number: &u64| {
        let home = world.listed_at(group(0), &locator(*number));
        order(home).iter().any(|peer| known.iter().all(|node| world.nodes[*node].peer != *peer))
    };
    let left: BTreeSet<Locator> = (0..30).filter(is_left).map(locator).collect();
    assert!(left.len() > 20);
    known.iter().for_each(|node| world.leave(*node));
    world.look_all();
    pass(&mut world, 90_000);
    for node in (0..16).filter(|node| !known.contains(node)) {
        assert_eq!(listed(&mut world, node), left, "{node}");
    }
}

#[test]
fn what_a_member_missed_while_a_home_was_cut_does_not_come_back() {
    let pace = Pace { round_ms: 10_000, ..Pace::default() };
    let mut world = world(5, 4, Some(pace));
    let old = write(&mut world, 0, 0, None, Kind::Object);
    pass(&mut world, 5_000);
    world.crash(4);
    world.look_all();
    let newer = write(&mut world, 0, 0, Some(&old), Kind::Object);
    write(&mut world, 0, 0, Some(&newer), Kind::Tombstone);
    (1..8).for_each(|number| drop(write(&mut world, 0, number, None, Kind::Object)));
    pass(&mut world, 30_000);
    assert_eq!(listed(&mut world, 1), numbered(1..8));
    world.start(4);
    world.look_all();
    pass(&mut world, 60_000);
    (0..5).for_each(|node| assert_eq!(listed(&mut world, node), numbered(1..8), "{node}"));
}

/// Who crashes between storing a version and listing it, beside somebody who deleted without knowing of what was there.
#[test]
fn what_follows_an_entry_and_was_never_listed_takes_its_place_and_not_nothing() {
    let pace = Pace { round_ms: 5_000, ..Pace::default() };
    let mut world = world(6, 100, Some(pace));
    let first = write(&mut world, 0, 0, None, Kind::Object);
    let second = draft(locator(0), Some(&first), Kind::Object, world.now_at(0));
    let home = Home::from(locator(0));
    let order = world.nodes[0].members.order(&home)[..5].to_vec();
    let replicas: Vec<usize> = (0..6).filter(|node| order.contains(&world.nodes[*node].peer)).collect();
    for node in replicas {
        let (now, members) = (world.now_at(node), Arc::clone(&world.nodes[node].members));
        let request = Request::Store { home, envelopes: vec![second.clone()], hold: None };
        let server = &mut world.nodes[node].running.as_mut().unwrap().server;
        assert_eq!(server.handle(&order[0], &request, &members, now).unwrap(), STORED(false));
    }
    write(&mut world, 1, 0, None, Kind::Tombstone);
    pass(&mut world, 30_000);
    (0..6).for_each(|node| assert_eq!(listed(&mut world, node), numbered(0..1), "{node}"));
}
