//! What single faults do, each by itself: a replica that was away, a writer that crashed, a member that comes or goes.

use crate::records::{Draft, group, hash_of, keys, locator};
use crate::world::World;
use jsfs_federation::metastore::{Home, Outcome, Pace, Request, Response, Slot, Version, Writing, Written};
use jsfs_objects::clock::HybridTime;
use jsfs_objects::record::{Kind, RecordHash};

fn pass(world: &mut World, ms: u64) {
    let until = world.schedule.now_ms() + ms;
    while world.run_until(until).is_some() {}
}

/// Writes the next version of an object through a node.
fn write(world: &mut World, node: usize, object: u64, after: Option<&Version>) -> (Version, Written) {
    let now = world.now_at(node);
    let owner = keys(1);
    let draft = Draft {
        locator: locator(object),
        group: group(0),
        kind: Kind::Object,
        owner: &owner,
        after,
        time: HybridTime::from_ms(now),
        salt: object,
    };
    let envelope = draft.envelope(&world.nodes[node].key, now);
    let before = after.map(|version| version.bytes().to_vec());
    let writing = Writing { envelope: envelope.clone(), before, condition: None };
    let op = world.call(node, |client, members, now| client.store(writing, members, now)).unwrap();
    let Outcome::Written(written) = world.finish(node, op) else { panic!("a write ends as one") };
    (Version::kept(envelope).unwrap(), written)
}

fn read(world: &mut World, node: usize, object: u64) -> (Vec<RecordHash>, bool) {
    let op = world.call(node, |client, members, now| client.fetch(locator(object), members, now)).unwrap();
    match world.finish(node, op) {
        Outcome::Fetched { slot, settled, .. } => {
            (slot.heads().iter().map(|head| head.hash()).collect(), settled)
        }
        other => panic!("{other:?}"),
    }
}

fn slot(world: &World, node: usize, home: Home, object: u64) -> Slot {
    let running = world.nodes[node].running.as_ref().unwrap();
    Slot::load(running.server.shelf(), home, locator(object)).unwrap()
}

fn heads(world: &World, node: usize, home: Home, object: u64) -> Vec<RecordHash> {
    slot(world, node, home, object).heads().iter().map(|head| head.hash()).collect()
}

#[test]
fn a_kept_write_survives_the_crash_of_its_writer_and_is_completed() {
    let mut world = World::new(8, 1);
    // A writer that is no replica has the write nowhere but in its notes.
    let order = world.nodes[0].members.order(&locator(1).into());
    let writer = (0..8).find(|node| !order[..5].contains(&world.nodes[*node].peer)).unwrap();
    world.links.cut([writer]);
    world.look_all();
    let (version, written) = write(&mut world, writer, 1, None);
    assert!(matches!(written, Written::Kept { replicas: 0, of: 3 }), "{written:?}");
    assert_eq!(
        read(&mut world, writer, 1),
        (vec![version.hash()], false),
        "its own write, and no more is said of it"
    );
    world.crash(writer);
    world.start(writer);
    assert_eq!(read(&mut world, writer, 1), (vec![version.hash()], false), "after a crash as well");
    world.links.cut([]);
    world.look_all();
    pass(&mut world, 120_000);
    assert_eq!(read(&mut world, (writer + 1) % 8, 1), (vec![version.hash()], true));
    assert!(matches!(world.completed[..], [(_, Outcome::Completed { .. })]));
}

#[test]
fn a_listing_shows_what_this_node_wrote_though_nobody_else_has_it() {
    let mut world = World::new(8, 2);
    let at_the_group = world.nodes[0].members.order(&group(0).into());
    let node = (0..8).find(|node| !at_the_group[..5].contains(&world.nodes[*node].peer)).unwrap();
    // One replica of the group stays reachable, so that there is an answer.
    let one = (0..8).find(|node| world.nodes[*node].peer == at_the_group[0]).unwrap();
    world.links.cut([node, one]);
    world.look_all();
    let (version, _) = write(&mut world, node, 1, None);
    let op = world.call(node, |client, members, now| client.list(group(0), None, 10, members, now)).unwrap();
    let Outcome::Listed(listed) = world.finish(node, op) else { panic!("no page") };
    assert_eq!((listed.entries.len(), listed.settled), (1, false));
    assert_eq!(listed.entries[0].slot.heads()[0].hash(), version.hash());
}

#[test]
fn a_read_gives_a_replica_that_was_behind_what_it_lacks() {
    let mut world = World::new(5, 3);
    let (first, _) = write(&mut world, 0, 1, None);
    pass(&mut world, 5_000);
    world.crash(4);
    world.look_all();
    let (second, written) = write(&mut world, 0, 1, Some(&first));
    assert_eq!(written, Written::Settled);
    pass(&mut world, 5_000);
    world.start(4);
    world.look_all();
    let home = Home::from(locator(1));
    assert_eq!(heads(&world, 4, home, 1), [first.hash()], "it is behind");
    assert_eq!(read(&mut world, 4, 1), (vec![second.hash()], true));
    pass(&mut world, 1_000);
    assert_eq!(heads(&world, 4, home, 1), [second.hash()]);
}

#[test]
fn a_replica_that_was_away_for_many_versions_learns_that_what_it_had_is_past() {
    let pace = Pace { round_ms: 5_000, ..Pace::default() };
    let mut world = World::keeping(5, 4, Some(pace));
    let (mut version, _) = write(&mut world, 0, 1, None);
    pass(&mut world, 10_000);
    world.crash(4);
    world.look_all();
    for _ in 0..6 {
        version = write(&mut world, 0, 1, Some(&version)).0;
    }
    world.start(4);
    world.look_all();
    let op = world.call(4, |client, members, now| client.list(group(0), None, 10, members, now)).unwrap();
    let Outcome::Listed(listed) = world.finish(4, op) else { panic!("no page") };
    assert_eq!(listed.entries[0].slot.heads().len(), 1, "two others say that the old entry is past");
    pass(&mut world, 30_000);
    for home in [Home::from(locator(1)), world.listed_at(group(0), &locator(1))] {
        for node in 0..5 {
            assert_eq!(heads(&world, node, home, 1), [version.hash()], "node {node} at {home:?}");
        }
    }
}

#[test]
fn when_members_change_records_move_to_whose_they_are_and_only_those() {
    let pace = Pace { round_ms: 1_000_000, ..Pace::default() };
    let mut world = World::keeping(7, 5, Some(pace));
    let versions: Vec<_> = (0..20).map(|object| write(&mut world, 0, object, None).0).collect();
    pass(&mut world, 5_000);
    world.leave(2);
    world.join();
    world.join();
    world.look_all();
    pass(&mut world, 60_000);
    world.look_all();
    let view = world.nodes[0].members.clone();
    for (object, version) in (0..).zip(&versions) {
        for home in [Home::from(locator(object)), world.listed_at(group(0), &locator(object))] {
            let order = view.order(&home);
            for node in (0..9).filter(|node| *node != 2) {
                let is_replica = order[..5].contains(&world.nodes[node].peer);
                let expected = if is_replica { vec![version.hash()] } else { Vec::new() };
                assert_eq!(
                    heads(&world, node, home, object),
                    expected,
                    "object {object}, node {node}, {home:?}"
                );
            }
        }
    }
    for node in (0..9).filter(|node| *node != 2) {
        let running = world.nodes[node].running.as_ref().unwrap();
        assert!(running.server.is_settled(&locator(1).into()), "node {node} has met everybody");
    }
}

#[test]
fn a_member_that_has_not_met_the_others_does_not_count_for_a_settled_read() {
    let mut world = World::new(5, 6);
    let (version, _) = write(&mut world, 0, 1, None);
    pass(&mut world, 5_000);
    // Two lose their disks; without keepers they never catch up.
    for node in [3, 4] {
        world.leave(node);
        world.gone.remove(&node);
        world.start(node);
    }
    world.look_all();
    assert_eq!(read(&mut world, 4, 1), (vec![version.hash()], true), "three others know");
    world.crash(0);
    world.look_all();
    assert_eq!(read(&mut world, 4, 1), (vec![version.hash()], false), "only two that know are left");
}

#[test]
fn an_edit_and_a_delete_on_both_sides_of_a_cut_leave_the_edit_and_two_edits_a_conflict() {
    let pace = Pace { round_ms: 5_000, ..Pace::default() };
    let mut world = World::keeping(6, 7, Some(pace));
    let (first, _) = write(&mut world, 0, 1, None);
    pass(&mut world, 5_000);
    world.links.cut([0, 1, 2]);
    world.look_all();
    let (left, _) = write(&mut world, 0, 1, Some(&first));
    let owner = keys(1);
    let now = world.now_at(5);
    let draft = Draft {
        locator: locator(1),
        group: group(0),
        kind: Kind::Tombstone,
        owner: &owner,
        after: Some(&first),
        time: HybridTime::from_ms(now + 1),
        salt: 99,
    };
    let envelope = draft.envelope(&world.nodes[5].key, now);
    let deleted = hash_of(&envelope);
    let writing = Writing { envelope, before: Some(first.bytes().to_vec()), condition: None };
    let op = world.call(5, |client, members, now| client.store(writing, members, now)).unwrap();
    world.finish(5, op);
    let (right, _) = write(&mut world, 4, 2, None);
    let (other, _) = write(&mut world, 1, 2, None);
    world.links.cut([]);
    world.look_all();
    pass(&mut world, 120_000);
    for node in 0..6 {
        let op = world.call(node, |client, members, now| client.fetch(locator(1), members, now)).unwrap();
        let Outcome::Fetched { slot, .. } = world.finish(node, op) else { panic!("unreadable") };
        assert_eq!(slot.served(None), Some(&left), "an edit beats a delete");
        assert!(slot.conflicts(&owner.owner()).is_empty() && slot.heads().len() == 2);
        assert!(slot.heads().iter().any(|head| head.hash() == deleted), "the delete is kept");
        let op = world.call(node, |client, members, now| client.fetch(locator(2), members, now)).unwrap();
        let Outcome::Fetched { slot, .. } = world.finish(node, op) else { panic!("unreadable") };
        assert_eq!(slot.conflicts(&owner.owner()).len(), 1, "both edits are kept");
        let mut both: Vec<_> = slot.heads().iter().map(|head| head.hash()).collect();
        both.sort_unstable();
        let mut expected = [right.hash(), other.hash()];
        expected.sort_unstable();
        assert_eq!(both, expected);
    }
}

#[test]
fn a_watcher_hears_of_every_change_and_of_a_restart() {
    let mut world = World::new(5, 8);
    let watch = |world: &mut World, cursor| {
        let (peer, now, members) = (world.nodes[1].peer, world.now_at(0), world.nodes[0].members.clone());
        let server = &mut world.nodes[0].running.as_mut().unwrap().server;
        let request = Request::Watch { home: group(0).into(), cursor, lease_ms: 60_000 };
        match server.handle(&peer, &request, &members, now).unwrap() {
            Response::Changes { cursor, gap, locators, .. } => (cursor, gap, locators),
            other => panic!("{other:?}"),
        }
    };
    let (cursor, ..) = watch(&mut world, None);
    let (first, _) = write(&mut world, 2, 1, None);
    pass(&mut world, 1_000);
    let now = world.now_at(0);
    let server = &mut world.nodes[0].running.as_mut().unwrap().server;
    assert_eq!(server.take_notices(now).len(), 1, "the watcher is told");
    let (cursor, gap, changed) = watch(&mut world, Some(cursor));
    assert_eq!((gap, changed), (false, vec![locator(1)]));
    write(&mut world, 2, 1, Some(&first));
    pass(&mut world, 1_000);
    assert_eq!(
        watch(&mut world, Some(cursor)).2,
        [locator(1)],
        "what comes between two questions is not missed"
    );
    world.crash(0);
    world.start(0);
    // More changes than before: the number alone would pass.
    for object in 10..16 {
        write(&mut world, 2, object, None);
    }
    pass(&mut world, 1_000);
    assert!(watch(&mut world, Some(cursor)).1, "a log that began anew is a gap");
}
