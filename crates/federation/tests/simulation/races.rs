//! Conditional writes: of those that race for the same version exactly one wins, and the others are told what is there.

use crate::records::{Draft, group, hash_of, keys, locator};
use crate::seeds;
use crate::world::World;
use jsfs_federation::metastore::{OpId, Outcome, Version, Writing, Written};
use jsfs_objects::clock::HybridTime;
use jsfs_objects::record::{Kind, RecordHash};

fn race(
    world: &mut World,
    node: usize,
    object: u64,
    after: Option<&Version>,
    salt: u64,
) -> (usize, OpId, RecordHash) {
    let now = world.now_at(node);
    let owner = keys(1);
    let draft = Draft {
        locator: locator(object),
        group: group(0),
        kind: Kind::Object,
        owner: &owner,
        after,
        time: HybridTime::from_ms(now),
        salt,
    };
    let envelope = draft.envelope(&world.nodes[node].key, now);
    let hash = hash_of(&envelope);
    let writing = Writing {
        envelope,
        before: after.map(|version| version.bytes().to_vec()),
        condition: Some(after.map(Version::hash)),
    };
    let op = world.call(node, |client, members, now| client.store(writing, members, now)).unwrap();
    (node, op, hash)
}

/// Lets some nodes race for the next version again and again, and answers how often nobody won.
fn contest(seed: u64, lost_permille: u64) -> u64 {
    let mut world = World::new(7, seed);
    world.links.lost_permille = lost_permille;
    world.links.late_permille = lost_permille;
    let mut current: Option<Version> = None;
    let mut nobody = 0;
    for round in 0..6 {
        let racers = world.random.within(2..5);
        let ops: Vec<_> = (0..racers)
            .map(|racer| {
                let pause = world.random.within(0..30);
                while world.run_until(world.schedule.now_ms() + pause).is_some() {}
                let node = usize::try_from((racer + seed) % 7).unwrap();
                race(&mut world, node, 9, current.as_ref(), round * 100 + racer)
            })
            .collect();
        let mut winners = Vec::new();
        let mut kept = 0;
        for (node, op, hash) in ops {
            match world.finish(node, op) {
                Outcome::Written(Written::Settled) => winners.push(hash),
                Outcome::Written(Written::Kept { .. }) => kept += 1,
                Outcome::Written(Written::Conflict(slot)) => assert!(
                    !slot.heads().is_empty() || lost_permille > 0,
                    "seed {seed}: a conflict with nothing"
                ),
                Outcome::Written(Written::Refused(_)) => {}
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert!(winners.len() <= 1, "seed {seed}: {} writers won the same race", winners.len());
        if lost_permille == 0 {
            assert_eq!(
                (winners.len(), kept),
                (1, 0),
                "seed {seed}: somebody wins, and nothing is left half done"
            );
        }
        nobody += u64::from(winners.is_empty());
        while world.run_until(world.schedule.now_ms() + 10_000).is_some() {}
        let op = world.call(0, |client, members, now| client.fetch(locator(9), members, now)).unwrap();
        let Outcome::Fetched { slot, .. } = world.finish(0, op) else { panic!("seed {seed}: unreadable") };
        if let Some(winner) = winners.first() {
            let shown = slot.heads().iter().any(|head| head.hash() == *winner);
            assert!(shown, "seed {seed}: the winner is not there");
            assert!(lost_permille > 0 || slot.heads().len() == 1, "seed {seed}: a loser was stored");
        }
        current = slot.served(None).cloned();
    }
    nobody
}

#[test]
fn exactly_one_of_racing_conditional_writes_wins() {
    for seed in seeds(6) {
        contest(seed, 0);
    }
}

/// The replicas that the loser of a race reads need not have the winner yet: those that told it of a conflict do.
#[test]
fn whoever_loses_a_race_is_told_what_won() {
    contest(117, 0);
}

#[test]
fn at_most_one_wins_where_messages_are_lost_and_late() {
    let nobody: u64 = seeds(6).map(|seed| contest(seed, 60)).sum();
    println!("{nobody} races without a winner");
}
