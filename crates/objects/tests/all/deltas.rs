//! What is like something stored is stored as a delta, within what may share a base, and stays whole whatever becomes of the rest.

use crate::world::{World, at, key, noise, private, public};
use jsfs_objects::{Purge, Read, WriteOptions};
use jsfs_store::{BlockId, Unobserved, backend::Backend, block};

/// Text of so many bytes, another for each seed.
pub(crate) fn text(seed: u64, length: usize) -> Vec<u8> {
    let words = noise(0, 4_000);
    let order = noise(seed, length);
    let mut text = Vec::with_capacity(length + 8);
    for pair in order.chunks_exact(2) {
        let at = usize::from(pair[0]) * 8 + usize::from(pair[1] % 8);
        text.extend(words[at..at + 5].iter().map(|byte| b'a' + byte % 26));
        text.push(b' ');
        if text.len() >= length {
            break;
        }
    }
    text.truncate(length);
    text
}

/// The same with a few places changed.
pub(crate) fn edited(text: &[u8], by: u8) -> Vec<u8> {
    let mut text = text.to_vec();
    for at in (10_000..text.len()).step_by(40_000) {
        text.splice(at..at, [b'<', b'0' + by, b'>']);
    }
    text
}

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

async fn collect(world: &World) {
    world.store.settle().await.unwrap();
    let store = world.store.clone();
    tokio::task::spawn_blocking(move || store.compact(0.0).unwrap()).await.unwrap();
}

/// Forgets every version.
async fn purge(world: &World, address: &str) {
    let grant = world.objects.authorize::<Purge>(&world.root(), &at(address)).await.unwrap();
    world.objects.purge(grant).await.unwrap();
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
        purge(&world, gone).await;
        collect(&world).await;
        assert!(world.get("/localhost/c/three").await == three);
    }
    let world = world.restarted().await;
    assert!(world.get("/localhost/c/three").await == three);
    let four = edited(&one, 2);
    let after = added(&world, "/localhost/d/four", &four, public()).await;
    assert!(after < whole / 20, "{after} beside {whole}: features are found after a restart");
    purge(&world, "/localhost/c/three").await;
    purge(&world, "/localhost/d/four").await;
    collect(&world).await;
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
    purge(&world, "/localhost/a/one").await;
    collect(&world).await;
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
        purge(&world, "/localhost/1/lib/one.js").await;
        collect(&world).await;
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
        purge(&world, "/localhost/one").await;
        collect(&world).await;
        assert!(world.get("/localhost/two").await == two);
    }
}

/// The blocks that the entry of an object refers to.
fn references(world: &World, address: &str) -> Vec<BlockId> {
    world.store.get(jsfs_store::Table(1), address.as_bytes()).unwrap().unwrap().references
}

#[tokio::test]
async fn no_base_is_a_delta_and_every_base_is_among_what_the_record_names() {
    let world = World::new().await;
    let mut bytes = text(8, 700_000);
    let mut deltas = 0;
    for version in 0..6 {
        let address = format!("/localhost/{version}");
        world.put(&address, &bytes, public()).await;
        let needs = references(&world, &address);
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

#[tokio::test]
async fn a_base_that_is_damaged_is_named_with_all_that_rest_on_it_and_serves_nothing_new() {
    let world = World::new().await;
    let one = text(9, 60_000);
    world.put("/localhost/one", &one, public()).await;
    world.put("/localhost/two", &edited(&one, 1), public()).await;
    let base = references(&world, "/localhost/one")[0];
    assert!(references(&world, "/localhost/two").contains(&base));
    let stored = world.store.block(&base).unwrap();
    let pack = world.disk.open_pack(1).unwrap();
    let mut bytes = vec![0; usize::try_from(pack.len().unwrap()).unwrap()];
    pack.read_at(&mut bytes, 0).unwrap();
    let offset = bytes.windows(64).position(|window| window == &stored[100..164]).unwrap();
    pack.write_at(&[&[!bytes[offset]]], offset as u64).unwrap();
    for address in ["/localhost/one", "/localhost/two"] {
        assert!(world.get_as(&world.root(), address).await.is_err(), "{address}");
    }
    world.put("/localhost/three", &edited(&one, 2), public()).await;
    assert!(world.get("/localhost/three").await == edited(&one, 2));
    assert!(!references(&world, "/localhost/three").contains(&base));
}
