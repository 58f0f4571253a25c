//! What can be computed again is kept within bounds, opens under its own key only, and is never an error.

use crate::world::{World, noise};
use bytes::Bytes;
use jsfs_objects::{Derived, Settings};
use jsfs_store::{OpenOptions, Table, check};

const KEY: [u8; 32] = [7; 32];
const DERIVED: Table = Table(13);
const USE: Table = Table(14);

async fn keep(world: &World, key: [u8; 32], bytes: &[u8]) {
    world.objects.keep_derived(Derived::Result, &key, Bytes::copy_from_slice(bytes)).await;
}

async fn kept(world: &World, key: [u8; 32]) -> Option<Vec<u8>> {
    world.objects.derived(Derived::Result, &key).await.map(|bytes| bytes.to_vec())
}

async fn bounded(derived_bytes: u64) -> World {
    World::with(Settings { derived_bytes, ..Settings::default() }).await
}

#[tokio::test]
async fn values_of_every_size_come_back_after_a_restart_and_under_their_own_key_only() {
    let mut world = World::new().await;
    let values: Vec<Vec<u8>> = [0_u32, 1, 2_048, 2_049, 1 << 20, (1 << 20) + 1, (9 << 20) + 17]
        .map(|size| noise(u64::from(size), size as usize))
        .into();
    let key = |at: usize| [u8::try_from(at).unwrap(); 32];
    for (at, value) in values.iter().enumerate() {
        assert_eq!(kept(&world, key(at)).await, None);
        keep(&world, key(at), value).await;
    }
    for _ in 0..2 {
        for (at, value) in values.iter().enumerate() {
            assert!(kept(&world, key(at)).await.as_ref() == Some(value), "{at}");
            assert_eq!(world.objects.derived(Derived::Image, &key(at)).await, None);
        }
        world = world.restarted().await;
    }
}

#[tokio::test]
async fn a_value_is_replaced_and_forgotten_and_nothing_of_it_is_counted() {
    let world = World::new().await;
    keep(&world, KEY, &noise(1, 300_000)).await;
    assert!((300_000..310_000).contains(&world.objects.derived_total()));
    keep(&world, KEY, b"short").await;
    assert_eq!(kept(&world, KEY).await.unwrap(), b"short");
    assert_eq!(world.objects.derived_total(), 4_096, "the least that a value counts for");
    world.objects.forget_derived(Derived::Result, &KEY).await;
    assert_eq!(kept(&world, KEY).await, None);
    assert_eq!(world.objects.derived_total(), 0);
    assert_eq!(world.store.scan(DERIVED, ..).count(), 0);
}

#[tokio::test]
async fn what_was_used_the_longest_ago_goes_first_when_there_is_too_much() {
    let world = bounded(1 << 20).await;
    for number in 0..9 {
        keep(&world, [number; 32], &noise(number.into(), 100_000)).await;
        world.clock.advance(1_000);
    }
    // The first is used again, later than the bound on how often that is written.
    world.clock.advance(3_600_000);
    assert!(kept(&world, [0; 32]).await.is_some());
    keep(&world, [9; 32], &noise(9, 100_000)).await;
    keep(&world, [10; 32], &noise(10, 100_000)).await;
    let mut left = Vec::new();
    for number in 0..11 {
        if kept(&world, [number; 32]).await.is_some() {
            left.push(number);
        }
    }
    assert_eq!(left, [0, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert!(world.objects.derived_total() <= 1 << 20);
}

#[tokio::test]
async fn a_value_that_would_push_out_most_others_is_not_kept() {
    let world = bounded(1 << 20).await;
    keep(&world, KEY, &noise(1, (1 << 19) + 1)).await;
    assert_eq!(kept(&world, KEY).await, None);
    let none = bounded(0).await;
    keep(&none, KEY, b"x").await;
    assert_eq!(kept(&none, KEY).await, None);
}

#[tokio::test]
async fn uses_are_written_with_sweeps_and_not_with_reads() {
    let world = World::new().await;
    keep(&world, KEY, b"value").await;
    let sequence = || world.store.scan(USE, vec![1]..).next().unwrap().unwrap().1.sequence;
    let kept_at = sequence();
    world.clock.advance(3_600_000);
    for _ in 0..3 {
        kept(&world, KEY).await.unwrap();
    }
    assert_eq!(sequence(), kept_at);
    world.objects.sweep().await.unwrap();
    assert!(sequence() > kept_at);
}

#[tokio::test]
async fn what_is_damaged_is_absent_and_forgotten() {
    let world = World::new().await;
    keep(&world, KEY, b"in its row").await;
    keep(&world, [8; 32], b"another").await;
    // The values of two rows change places: each is whole, and neither belongs where it is.
    let rows: Vec<_> = world.store.scan(DERIVED, ..).map(Result::unwrap).collect();
    let put = |key: &[u8], value: &Bytes| jsfs_store::Op::Put {
        table: DERIVED,
        key: key.to_vec(),
        value: value.clone(),
        references: Vec::new(),
    };
    let ops = vec![put(&rows[0].0, &rows[1].1.value), put(&rows[1].0, &rows[0].1.value)];
    world.store.commit(jsfs_store::Commit { ops, ..jsfs_store::Commit::default() }).await.unwrap();
    assert_eq!(kept(&world, KEY).await, None);
    assert_eq!(world.store.scan(DERIVED, ..).count(), 1, "what does not open is not kept");
    assert_eq!(kept(&world, [8; 32]).await, None);
    keep(&world, KEY, b"made again").await;
    assert_eq!(kept(&world, KEY).await.unwrap(), b"made again");
}

#[tokio::test]
async fn the_key_is_not_on_the_disk_and_another_node_key_opens_nothing() {
    let world = World::new().await;
    keep(&world, KEY, b"value").await;
    for (key, entry) in world.store.scan(DERIVED, ..).map(Result::unwrap) {
        assert!([&key[..], &entry.value].iter().all(|bytes| !bytes.windows(32).any(|window| window == KEY)));
    }
    let world = world.restarted().await;
    assert_eq!(kept(&world, KEY).await.unwrap(), b"value");
    let world = world.restarted_without_its_key().await;
    assert_eq!(kept(&world, KEY).await, None);
}

#[tokio::test]
async fn blocks_outlive_compaction_while_their_value_is_kept_and_go_with_it() {
    let world = World::new().await;
    keep(&world, KEY, &noise(1, 5 << 20)).await;
    world.store.settle().await.unwrap();
    let compact = || {
        let store = world.store.clone();
        tokio::task::spawn_blocking(move || store.compact(0.0).unwrap())
    };
    compact().await.unwrap();
    assert!(kept(&world, KEY).await.unwrap() == noise(1, 5 << 20));
    let block = world.store.scan(DERIVED, ..).next().unwrap().unwrap().1.references[0];
    world.objects.trim_derived(0).await;
    world.store.settle().await.unwrap();
    compact().await.unwrap();
    assert!(!world.store.has_block(&block).unwrap());
    let World { objects, store, disk, .. } = world;
    objects.close().await;
    drop(objects);
    store.close().unwrap();
    let report = check(&OpenOptions::new(vec![disk])).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}
