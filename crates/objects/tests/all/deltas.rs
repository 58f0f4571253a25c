//! What is like something stored is stored as a delta, within what may share a base, and stays whole whatever becomes of the rest.

use crate::world::{World, at, edited, key, noise, private, public, text};
use jsfs_objects::{Read, Settings, WriteOptions};
use jsfs_store::{
    Finding, Observer, OpenOptions, Store, Unobserved, Verification,
    backend::{Backend, Memory},
    block, check,
};
use std::sync::{Arc, Mutex};

fn taken(world: &World) -> u64 {
    world.store.weigh(&Unobserved).unwrap().compressed
}

/// What storing something adds to the blocks.
async fn added(world: &World, address: &str, bytes: &[u8], options: WriteOptions) -> u64 {
    let before = taken(world);
    world.put(address, bytes, options).await;
    assert!(world.get(address).await == bytes, "{address}");
    taken(world) - before
}

#[tokio::test]
async fn what_is_like_public_content_takes_little_and_outlives_it() {
    let world = World::new().await;
    let one = text(1, 1_500_000);
    let whole = added(&world, "/localhost/a/one", &one, public()).await;
    let two = edited(&one, 1);
    let delta = added(&world, "/localhost/b/two", &two, public()).await;
    assert!(delta < whole / 20, "{delta} beside {whole}");
    // What is found in a delta needs its base as well.
    let three = [&two[..], b"!"].concat();
    let found = added(&world, "/localhost/c/three", &three, public()).await;
    assert!(found < whole / 20, "{found} beside {whole}");
    for gone in ["/localhost/a/one", "/localhost/b/two"] {
        world.purge(gone).await;
        world.collect().await;
        assert!(world.get("/localhost/c/three").await == three);
    }
    let world = world.restarted().await;
    assert!(world.get("/localhost/c/three").await == three);
    let four = edited(&one, 2);
    let after = added(&world, "/localhost/d/four", &four, public()).await;
    assert!(after < whole / 20, "{after} beside {whole}: features are found after a restart");
    world.purge("/localhost/c/three").await;
    world.purge("/localhost/d/four").await;
    world.collect().await;
    assert_eq!(taken(&world), 0, "nothing is kept that nothing needs");
}

#[tokio::test]
async fn any_range_of_a_delta_is_read() {
    let world = World::new().await;
    let one = text(2, 1_200_000);
    world.put("/localhost/one", &one, public()).await;
    let two = edited(&one, 1);
    world.put("/localhost/two", &two, public()).await;
    let grant = world.objects.authorize::<Read>(&world.root(), &at("/localhost/two")).await.unwrap();
    let object = world.objects.read(&grant, None).await.unwrap();
    for start in (0..two.len()).step_by(97_001) {
        let end = (start + 70_000).min(two.len());
        let mut body = object.body(start as u64..end as u64);
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        assert!(bytes == two[start..end], "from {start}");
    }
}

#[tokio::test]
async fn private_content_has_its_bases_in_its_own_directory_only() {
    let world = World::new().await;
    let one = text(3, 800_000);
    let whole = added(&world, "/localhost/a/one", &one, private()).await;
    let beside = added(&world, "/localhost/a/two", &edited(&one, 1), private()).await;
    assert!(beside < whole / 10, "{beside} beside {whole}");
    let elsewhere = added(&world, "/localhost/b/one", &edited(&one, 2), private()).await;
    assert!(elsewhere > whole / 2, "{elsewhere} beside {whole}: not with another directory");
    let in_public = added(&world, "/localhost/a/open", &edited(&one, 3), public()).await;
    assert!(in_public > whole / 2, "{in_public} beside {whole}: not with public content");
    // The same content as that of a delta: its block would open its base too, so elsewhere it is stored afresh.
    let same = added(&world, "/localhost/c/two", &edited(&one, 1), private()).await;
    assert!(same > whole / 2, "{same} beside {whole}: a delta is not shared with another directory");
    let again = added(&world, "/localhost/a/three", &edited(&one, 1), private()).await;
    assert!(again < whole / 10, "{again} beside {whole}: but within its own");
    // Of another owner.
    let other = world.new_key();
    world.namespace("com.example", Some(&other)).await;
    let before = taken(&world);
    world.put_as(&key(&other), "/com.example/one", &one, private()).await.unwrap();
    assert!(taken(&world) - before > whole / 2);
    world.purge("/localhost/a/one").await;
    world.collect().await;
    assert!(world.get("/localhost/a/two").await == edited(&one, 1));
    assert!(world.get("/localhost/a/three").await == edited(&one, 1));
}

#[tokio::test]
async fn small_objects_rest_on_those_beside_them_and_on_their_namesakes() {
    for (options, elsewhere) in [(public as fn() -> WriteOptions, true), (private, false)] {
        let world = World::new().await;
        let one = text(4, 6_000);
        let whole = added(&world, "/localhost/1/lib/one.js", &one, options()).await;
        let two = [&text(5, 500)[..], &one].concat();
        let beside = added(&world, "/localhost/1/lib/two.js", &two, options()).await;
        assert!(beside < whole / 2, "{beside} beside {whole}");
        let later = [&one[..], b"later"].concat();
        let namesake = added(&world, "/localhost/2/lib/one.js", &later, options()).await;
        assert_eq!(namesake < whole / 2, elsewhere, "{namesake} beside {whole}");
        let version = added(&world, "/localhost/1/lib/one.js", &later[1..], options()).await;
        assert!(version < whole / 2, "{version} beside {whole}");
        let other = added(&world, "/localhost/1/lib/one.css", &noise(6, 5_000), options()).await;
        assert!(other >= 5_000);
        world.purge("/localhost/1/lib/one.js").await;
        world.collect().await;
        assert!(world.get("/localhost/1/lib/two.js").await == two);
        assert!(world.get("/localhost/2/lib/one.js").await == later);
    }
}

#[tokio::test]
async fn what_is_appended_to_keeps_the_bases_of_what_was_there() {
    for options in [public as fn() -> WriteOptions, private] {
        let world = World::new().await;
        let one = text(7, 500_000);
        world.put("/localhost/one", &one, options()).await;
        let mut two = edited(&one, 1);
        world.put("/localhost/two", &two, options()).await;
        for line in 0..20 {
            let line = format!("line {line} of a log\n").into_bytes();
            world.append("/localhost/two", &line).await;
            two.extend_from_slice(&line);
        }
        world.purge("/localhost/one").await;
        world.collect().await;
        assert!(world.get("/localhost/two").await == two);
    }
}

#[tokio::test]
async fn no_base_is_a_delta_and_every_base_is_among_what_the_record_names() {
    let world = World::new().await;
    let mut bytes = text(8, 700_000);
    let mut deltas = 0;
    for version in 0..6 {
        let address = format!("/localhost/{version}");
        world.put(&address, &bytes, public()).await;
        let needs = world.references(&address);
        for id in &needs {
            let Some(base) = block::base_of(&world.store.block(id).unwrap()) else { continue };
            deltas += 1;
            assert!(needs.contains(&base));
            assert_eq!(block::base_of(&world.store.block(&base).unwrap()), None);
        }
        bytes = edited(&bytes, version);
    }
    assert!(deltas > 5, "{deltas}");
}

/// Flips a bit of a block wherever it lies on a disk.
fn flip(disk: &Memory, stored: &[u8]) {
    let mut flipped = 0;
    for number in disk.packs().unwrap() {
        let pack = disk.open_pack(number).unwrap();
        let mut bytes = vec![0; usize::try_from(pack.len().unwrap()).unwrap()];
        pack.read_at(&mut bytes, 0).unwrap();
        // Beyond what is flipped, so that it is found to be flipped back.
        let Some(end) = bytes.windows(64).position(|window| window == &stored[100..164]) else { continue };
        pack.write_at(&[&[bytes[end - 1] ^ 1]], end as u64 - 1).unwrap();
        flipped += 1;
    }
    assert!(flipped > 0, "the block is nowhere");
}

#[tokio::test]
async fn a_base_that_is_damaged_serves_nothing_new() {
    let world = World::new().await;
    let one = text(9, 60_000);
    world.put("/localhost/one", &one, public()).await;
    world.put("/localhost/two", &edited(&one, 1), public()).await;
    let base = world.references("/localhost/one")[0];
    assert!(world.references("/localhost/two").contains(&base));
    flip(&world.disk, &world.store.block(&base).unwrap());
    for address in ["/localhost/one", "/localhost/two"] {
        assert!(world.get_as(&world.root(), address).await.is_err(), "{address}");
    }
    world.put("/localhost/three", &edited(&one, 2), public()).await;
    assert!(world.get("/localhost/three").await == edited(&one, 2));
    assert!(!world.references("/localhost/three").contains(&base));
}

#[derive(Default)]
struct Heard(Mutex<Vec<Finding>>);

impl Observer for Heard {
    fn progress(&self, _: u64, _: u64) {}

    fn found(&self, finding: &Finding) {
        self.0.lock().unwrap().push(finding.clone());
    }

    fn is_stopped(&self) -> bool {
        false
    }
}

/// The objects that findings name.
fn named(findings: &[Finding]) -> Vec<&str> {
    let after = findings.iter().filter_map(|found| found.what.split_once("/localhost/a/"));
    let mut names: Vec<_> = after.map(|(_, rest)| rest.split(',').next().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[tokio::test]
async fn a_damaged_base_is_named_with_every_object_that_needs_it_and_put_right_from_another_copy() {
    const REPAIR: Verification =
        Verification { from: None, packs_max: 0, bytes_per_second: 0, is_repairing: true };
    for options in [public as fn() -> WriteOptions, private] {
        let disks = [(); 2].map(|()| Arc::new(Memory::new(1 << 30)));
        let index = tempfile::tempdir().unwrap();
        let store = || {
            let locations = disks.iter().map(|disk| disk.clone() as Arc<dyn Backend>).collect();
            OpenOptions::new(locations).copies(2).index(index.path().join("index"))
        };
        let world = World::over(disks[0].clone(), Store::open(store()).unwrap(), Settings::default()).await;
        let one = text(10, 60_000);
        world.put("/localhost/a/one", &one, options()).await;
        world.put("/localhost/a/two", &edited(&one, 1), options()).await;
        world.put("/localhost/a/same", &edited(&one, 1), options()).await;
        world.put("/localhost/a/other", &text(11, 60_000), options()).await;
        let needing = ["one", "same", "two"];
        let base = world.references("/localhost/a/one")[0];
        let deltas = ["two", "same"].map(|name| world.references(&format!("/localhost/a/{name}")));
        assert!(deltas.iter().all(|needs| needs.contains(&base)), "{deltas:?}");
        let stored = world.store.block(&base).unwrap();

        // Both copies: nothing is left to put it right from.
        disks.iter().for_each(|disk| flip(disk, &stored));
        let heard = Heard::default();
        let done = world.store.verify(REPAIR, &heard).unwrap();
        assert_eq!(done.repaired, 0);
        assert_eq!(named(&heard.0.into_inner().unwrap()), needing);
        for name in needing {
            assert!(world.get_as(&world.root(), &format!("/localhost/a/{name}")).await.is_err(), "{name}");
        }
        flip(&disks[0], &stored);

        // One copy: it is read from the other, and put right from it.
        let heard = Heard::default();
        assert!(world.get("/localhost/a/two").await == edited(&one, 1));
        let done = world.store.verify(REPAIR, &heard).unwrap();
        assert_eq!((done.damaged, done.repaired), (0, 1), "{heard:?}", heard = heard.0);
        flip(&disks[0], &stored);
        assert!(world.get("/localhost/a/one").await == one);
        assert!(world.get("/localhost/a/same").await == edited(&one, 1));

        // The same without the node.
        flip(&disks[1], &stored);
        world.objects.close().await;
        let World { objects, store: opened, .. } = world;
        drop(objects);
        opened.close().unwrap();
        let findings = check(&store()).unwrap().findings;
        assert_eq!(named(&findings), needing, "{findings:#?}");
    }
}
