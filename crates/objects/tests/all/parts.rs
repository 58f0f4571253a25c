//! Parts cover an object without gaps, end with records, and stay what they are when something else changes.

use crate::world::{World, at, noise, private, public};
use jsfs_objects::{Part, Read, Records};
use std::collections::HashSet;

/// Lines of different lengths.
fn lines(seed: u64, bytes: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let noise = noise(seed, bytes);
    for (number, piece) in noise.chunks(24).enumerate() {
        let length = usize::from(piece[0]) % 24;
        text.extend(piece.iter().take(length).map(|byte| b'a' + byte % 26));
        text.extend(format!(" {number}\n").bytes());
    }
    text.truncate(bytes);
    text
}

async fn parts(world: &World, address: &str, records: Records) -> Vec<Part> {
    let grant = world.objects.authorize::<Read>(&world.root(), &at(address)).await.unwrap();
    let object = world.objects.read(&grant, None).await.unwrap();
    object.parts(records, 10_000).await.unwrap().unwrap()
}

fn check(parts: &[Part], bytes: &[u8], records: Records) {
    let mut from = 0;
    for part in parts {
        assert_eq!(part.range.start, from);
        assert!(!part.range.is_empty());
        from = part.range.end;
        let end = usize::try_from(from).unwrap();
        assert!(records == Records::None || end == bytes.len() || bytes[end - 1] == b'\n');
    }
    assert_eq!(from, bytes.len() as u64);
}

fn identities(parts: &[Part]) -> HashSet<[u8; 32]> {
    parts.iter().map(|part| part.identity).collect()
}

#[tokio::test]
async fn parts_cover_everything_and_end_with_records() {
    let world = World::new().await;
    let text = lines(1, 8 << 20);
    for (name, bytes) in
        [("text", text.clone()), ("line", vec![b'x'; 3 << 20]), ("empty", Vec::new()), ("one", b"x".to_vec())]
    {
        let address = format!("/localhost/{name}");
        world.put(&address, &bytes, private()).await;
        for records in [Records::Lines, Records::None] {
            for _ in 0..2 {
                check(&parts(&world, &address, records).await, &bytes, records);
            }
        }
    }
    let count = parts(&world, "/localhost/text", Records::Lines).await.len();
    assert!((10..128).contains(&count), "{count} parts");
    assert_eq!(parts(&world, "/localhost/line", Records::Lines).await.len(), 1);
    assert_eq!(parts(&world, "/localhost/empty", Records::Lines).await, []);
}

#[tokio::test]
async fn an_edit_changes_the_parts_around_it_only() {
    let world = World::new().await;
    let text = lines(2, 8 << 20);
    world.put("/localhost/text", &text, private()).await;
    let before = parts(&world, "/localhost/text", Records::Lines).await;
    let middle = 4 << 20;
    let edited = [&text[..middle], b"a line that was not there\n", &text[middle..]].concat();
    world.put("/localhost/text", &edited, private()).await;
    let after = parts(&world, "/localhost/text", Records::Lines).await;
    let new = identities(&after).difference(&identities(&before)).count();
    assert!((1..=3).contains(&new), "{new} of {} parts", after.len());
}

#[tokio::test]
async fn what_a_part_is_known_by_is_the_content_and_who_may_read_it() {
    let world = World::new().await;
    let other = world.new_key();
    world.namespace("other", Some(&other)).await;
    let text = lines(3, 1 << 20);
    for address in ["/localhost/a", "/localhost/b"] {
        world.put(address, &text, private()).await;
    }
    world.put("/localhost/open", &text, public()).await;
    world.put_as(&crate::world::key(&other), "/other/a", &text, private()).await.unwrap();
    let known = parts(&world, "/localhost/a", Records::Lines).await;
    assert_eq!(known, parts(&world, "/localhost/b", Records::Lines).await);
    let open = parts(&world, "/localhost/open", Records::Lines).await;
    assert_eq!(
        open.iter().map(|part| &part.range).collect::<Vec<_>>(),
        known.iter().map(|part| &part.range).collect::<Vec<_>>()
    );
    assert!(identities(&open).is_disjoint(&identities(&known)));
    let grant = world.objects.authorize::<Read>(&crate::world::key(&other), &at("/other/a")).await.unwrap();
    let theirs =
        world.objects.read(&grant, None).await.unwrap().parts(Records::Lines, 10_000).await.unwrap().unwrap();
    assert!(identities(&theirs).is_disjoint(&identities(&known)));
}

#[tokio::test]
async fn more_parts_than_are_wanted_are_none() {
    let world = World::new().await;
    world.put("/localhost/text", &lines(4, 4 << 20), private()).await;
    let grant = world.objects.authorize::<Read>(&world.root(), &at("/localhost/text")).await.unwrap();
    let object = world.objects.read(&grant, None).await.unwrap();
    assert_eq!(object.parts(Records::Lines, 2).await.unwrap(), None);
}
