//! Bytes come back as they went in, whatever their size and however they came.

use crate::world::{World, noise, private, public, text};
use jsfs_objects::{Read, WriteOptions};

const SIZES: [usize; 12] =
    [0, 1, 15, 4_096, 16_384, 65_535, 65_536, 262_144, 1 << 20, (1 << 20) + 1, 3_000_001, 9_000_000];

#[tokio::test]
async fn what_was_put_comes_back_byte_for_byte() {
    let world = World::new().await;
    for options in [public(), private()] {
        for (seed, size) in SIZES.into_iter().enumerate() {
            let bytes = noise(seed as u64, size);
            let written = world.put("/localhost/a.bin", &bytes, options.clone()).await;
            assert_eq!(written.metadata.size, size as u64);
            assert_eq!(Some(written.metadata.private), options.private);
            assert!(world.get("/localhost/a.bin").await == bytes, "{size} bytes");
        }
    }
}

/// Pieces of every kind take differently long, and what is in one comes again in those after it.
fn mixed(seed: u64) -> Vec<u8> {
    let (again, plain) = (noise(seed, 700_000), vec![0; 300_000]);
    let mut bytes = Vec::new();
    for part in 0..9 {
        bytes.extend_from_slice(&again);
        bytes.extend(text(seed + part, 300_000));
        bytes.extend_from_slice(&plain);
        bytes.extend(noise(seed + 100 + part, 100_000));
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_that_are_worked_on_at_once_come_back_in_order_and_what_they_share_is_stored_once() {
    for (seed, options) in (1_000..).step_by(1_000).zip([public(), private(), public(), private()]) {
        let world = World::new().await;
        let bytes = mixed(seed);
        let before = world.store.stats().unwrap().locations[0].used;
        let written = world.put("/localhost/m.bin", &bytes, options).await;
        assert_eq!(written.metadata.size, bytes.len() as u64);
        assert!(world.get("/localhost/m.bin").await == bytes);
        let stored = world.store.stats().unwrap().locations[0].used - before;
        // Noise once each but for the chunks at its ends, and of the text less than a half.
        let most = 700_000 + 9 * (100_000 + 200_000 + 150_000);
        assert!(stored < most, "{stored} bytes");
    }
}

#[tokio::test]
async fn any_range_of_an_object_is_the_same_range_of_its_bytes() {
    let world = World::new().await;
    let bytes = noise(7, 2_500_000);
    world.put("/localhost/r.bin", &bytes, private()).await;
    let grant =
        world.objects.authorize::<Read>(&world.root(), &crate::world::at("/localhost/r.bin")).await.unwrap();
    let object = world.objects.read(&grant, None).await.unwrap();
    for range in [0..1, 0..0, 1..2_499_999, 65_530..65_540, 2_499_999..2_500_000, 1_000_000..1_300_000] {
        let mut body = object.body(range.clone());
        let mut read = Vec::new();
        while let Some(piece) = body.next().await {
            read.extend_from_slice(&piece.unwrap());
        }
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert!(read == bytes[range.clone()], "{range:?}");
    }
}

#[tokio::test]
async fn the_same_bytes_are_stored_once_within_an_owners_tree_and_among_public_objects() {
    let world = World::new().await;
    let bytes = noise(3, 3_000_000);
    let first = world.put("/localhost/one.bin", &bytes, private()).await;
    let second = world.put("/localhost/deep/two.bin", &bytes, private()).await;
    assert_eq!(first.blocks, second.blocks);
    world.namespace("com.other", Some(&world.new_key())).await;
    let public_first = world.put("/localhost/three.bin", &bytes, public()).await;
    assert_ne!(first.blocks, public_first.blocks, "private blocks are never shared with public objects");
    assert_eq!(world.put("/localhost/four.bin", &bytes, public()).await.blocks, public_first.blocks);
}

#[tokio::test]
async fn private_bytes_of_different_owners_share_no_block() {
    let world = World::new().await;
    let other = world.new_key();
    world.namespace("com.other", Some(&other)).await;
    let bytes = noise(4, 200_000);
    let mine = world.put("/localhost/x", &bytes, private()).await;
    let theirs = world.put_as(&crate::world::key(&other), "/com.other/x", &bytes, private()).await.unwrap();
    assert!(mine.blocks.iter().all(|block| !theirs.blocks.contains(block)));
}

#[tokio::test]
async fn appending_adds_to_the_end_at_any_size() {
    for options in [public(), private()] {
        let world = World::new().await;
        let mut bytes = Vec::new();
        world.put("/localhost/log", &bytes, options).await;
        for (seed, size) in
            [10, 100, 0, 30_000, 40_000, 1, 200_000, 5, 2_000_000, 7, 70_000].into_iter().enumerate()
        {
            let more = noise(100 + seed as u64, size);
            bytes.extend_from_slice(&more);
            let written = world.append("/localhost/log", &more).await;
            assert_eq!(written.metadata.size, bytes.len() as u64);
            assert!(world.get("/localhost/log").await == bytes, "after {size} more bytes");
        }
    }
}

#[tokio::test]
async fn a_log_written_line_by_line_needs_few_blocks() {
    let world = World::new().await;
    let mut bytes = Vec::new();
    for line in 0..300 {
        let line = format!("line {line} of a log that grows by and by\n");
        bytes.extend_from_slice(line.as_bytes());
        world.append("/localhost/log.txt", line.as_bytes()).await;
    }
    assert!(world.get("/localhost/log.txt").await == bytes);
    let grant = world
        .objects
        .authorize::<Read>(&world.root(), &crate::world::at("/localhost/log.txt"))
        .await
        .unwrap();
    let object = world.objects.read(&grant, None).await.unwrap();
    assert_eq!(object.blocks(100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_append_to_a_large_object_keeps_every_byte_before_it() {
    let world = World::new().await;
    let mut bytes = noise(9, 80_000_000);
    world.put("/localhost/large", &bytes, public()).await;
    let more = noise(10, 100_000);
    bytes.extend_from_slice(&more);
    world.append("/localhost/large", &more).await;
    assert!(world.get("/localhost/large").await == bytes);
}

#[tokio::test]
async fn an_upload_that_is_dropped_stores_nothing() {
    let world = World::new().await;
    let address = crate::world::at("/localhost/dropped");
    let grant = world.objects.authorize::<jsfs_objects::Write>(&world.root(), &address).await.unwrap();
    let mut upload = world.objects.begin(grant, WriteOptions::default()).await.unwrap();
    upload.write(noise(1, 5_000_000).into()).await.unwrap();
    drop(upload);
    assert!(world.get_as(&world.root(), "/localhost/dropped").await.is_err());
}

#[tokio::test]
async fn a_property_that_a_write_does_not_name_stays() {
    let world = World::new().await;
    let options = WriteOptions { content_type: Some("text/x-mine".into()), ..public() };
    world.put("/localhost/p", b"1", options).await;
    let written = world.put("/localhost/p", b"2", WriteOptions::default()).await;
    assert_eq!(written.metadata.content_type, "text/x-mine");
    assert!(!written.metadata.private);
    assert_eq!(written.metadata.version, 2);
    assert!(!written.created);
}
