//! Hostile members: what they forge is refused by every node, what they hide or replay does not take a reader back.

use crate::records::{Draft, START_MS, envelope, group, hash_of, keys, locator, node_key};
use crate::world::{Nature, World};
use jsfs_federation::metastore::{
    Home, Limits, Member, Members, MemoryShelf, Outcome, Quorum, Request, Response, Server, Version, Writing,
    Written,
};
use jsfs_federation::wire::ErrorCode;
use jsfs_objects::clock::HybridTime;
use jsfs_objects::record::Kind;

fn draft(owner: &jsfs_objects::key::Keys, after: Option<&Version>, salt: u64) -> Vec<u8> {
    let now = START_MS + salt;
    let draft = Draft {
        locator: locator(3),
        group: group(0),
        kind: Kind::Object,
        owner,
        after,
        time: HybridTime::from_ms(now),
        salt,
    };
    draft.envelope(&node_key(0), now)
}

struct Alone {
    server: Server<MemoryShelf>,
    members: Members,
}

impl Alone {
    fn new() -> Self {
        let me = node_key(0).public();
        let members = Members::new([Member { peer: me, keeps: true, reachable: true }], [], []);
        Self {
            server: Server::new(me, MemoryShelf::default(), Quorum::DEFAULT, Limits::default()).unwrap(),
            members,
        }
    }

    fn store(&mut self, home: Home, envelope: Vec<u8>) -> Response {
        let request = Request::Store { home, envelopes: vec![envelope], hold: None };
        self.server.handle(&node_key(0).public(), &request, &self.members, START_MS + 1_000).unwrap()
    }

    fn heads(&mut self) -> Vec<Vec<u8>> {
        let request = Request::Fetch { locators: vec![locator(3)], chain: 0 };
        match self.server.handle(&node_key(0).public(), &request, &self.members, START_MS + 1_000).unwrap() {
            Response::Versions { mut found, .. } => found.remove(0).envelopes,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_forged_misfiled_or_from_the_future_is_refused_and_changes_nothing() {
    let mut alone = Alone::new();
    let home = Home::from(locator(3));
    let owner = keys(1);
    let good = draft(&owner, None, 1);
    assert_eq!(alone.store(home, good.clone()), Response::Stored(vec![false]));
    let shelf = alone.server.shelf().len();
    for at in (0..good.len()).step_by(7) {
        let mut forged = good.clone();
        forged[at] ^= 4;
        assert!(alone.store(home, forged).refusal().is_some(), "a bit turned in byte {at}");
    }
    let elsewhere = alone.store(Home::from(locator(4)), good.clone());
    assert_eq!(elsewhere.refusal(), Some(ErrorCode::Misfiled));
    assert_eq!(alone.store(Home::from(group(1)), good.clone()).refusal(), Some(ErrorCode::Misfiled));
    let ahead = Draft {
        locator: locator(3),
        group: group(0),
        kind: Kind::Object,
        owner: &owner,
        after: None,
        time: HybridTime::from_ms(START_MS + 70_000),
        salt: 5,
    };
    let ahead = ahead.envelope(&node_key(0), START_MS + 1_000);
    assert_eq!(alone.store(home, ahead).refusal(), Some(ErrorCode::Ahead));
    assert_eq!(alone.server.shelf().len(), shelf);
    assert_eq!(alone.heads(), [good]);
}

#[test]
fn an_earlier_version_that_comes_again_changes_nothing_even_after_it_was_dropped() {
    let mut alone = Alone::new();
    let (home, owner) = (Home::from(locator(3)), keys(1));
    let mut versions: Vec<Version> = Vec::new();
    for number in 0..300 {
        let bytes = draft(&owner, versions.last(), number);
        alone.store(home, bytes.clone());
        versions.push(Version::kept(bytes).unwrap());
    }
    let newest = versions.last().unwrap().bytes().to_vec();
    for old in [0, 1, 150, 250, 298] {
        let answer = alone.store(home, versions[old].bytes().to_vec());
        assert_eq!(answer, Response::Stored(vec![true]), "version {old} is past");
        assert!(alone.heads() == [&newest[..]], "version {old} is not served again");
    }
    assert!(alone.server.shelf().len() < 110, "old versions are dropped");
}

#[test]
fn nobody_takes_the_place_of_another_owner_without_a_signature_of_theirs() {
    let mut alone = Alone::new();
    let (home, owner, thief) = (Home::from(locator(3)), keys(1), keys(2));
    let first = draft(&owner, None, 1);
    alone.store(home, first.clone());
    let first = Version::kept(first).unwrap();
    let mut record = Draft {
        locator: locator(3),
        group: group(0),
        kind: Kind::Tombstone,
        owner: &thief,
        after: Some(&first),
        time: HybridTime::from_ms(START_MS + 9),
        salt: 9,
    }
    .record();
    record.epoch = 1_000_000;
    record.version = 1_000_000;
    alone.store(home, envelope(&record, &thief, &node_key(0), START_MS + 9));
    let slot = jsfs_federation::metastore::Slot::load(alone.server.shelf(), home, locator(3)).unwrap();
    assert_eq!(slot.heads().len(), 2, "both claims are kept");
    assert_eq!(slot.served(Some(&owner.owner())), Some(&first), "a reader who knows the owner is not misled");
}

#[test]
fn liars_and_silent_members_are_survived_and_named() {
    for nature in [Nature::Forges, Nature::Replays, Nature::Withholds, Nature::Denies] {
        let mut world = World::new(5, 77);
        world.nodes[4].nature = nature;
        let owner = keys(1);
        let mut current: Option<Version> = None;
        for salt in 0..6 {
            let bytes = draft(&owner, current.as_ref(), salt);
            let writing = Writing { envelope: bytes.clone(), before: None, condition: None };
            let op = world.call(0, |client, members, now| client.store(writing, members, now)).unwrap();
            assert!(matches!(world.finish(0, op), Outcome::Written(Written::Settled)), "{nature:?}");
            while world.run_until(world.schedule.now_ms() + 2_000).is_some() {}
            let mut named = 0;
            for reader in 0..4 {
                let op = world
                    .call(reader, |client, members, now| client.fetch(locator(3), members, now))
                    .unwrap();
                let Outcome::Fetched { slot, suspects, settled } = world.finish(reader, op) else {
                    panic!("{nature:?}")
                };
                assert!(settled, "{nature:?}");
                let heads: Vec<_> = slot.heads().iter().map(|head| head.hash()).collect();
                assert_eq!(heads, [hash_of(&bytes)], "{nature:?}: reader {reader}, write {salt}");
                named += suspects.len();
                assert!(suspects.iter().all(|suspect| *suspect == world.nodes[4].peer));
            }
            assert!(nature != Nature::Forges || named > 0, "the forger is named");
            current = Some(Version::kept(bytes).unwrap());
        }
    }
}
