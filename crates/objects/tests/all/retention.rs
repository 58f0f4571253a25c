//! Quotas hold, and what retention says is forgotten, no more and no less.

use crate::world::{World, at, noise, private};
use jsfs_objects::{Cursor, Manage, News, PolicyChange, Purge, Settings, Watch, WriteError};

const DAY_MS: u64 = 86_400_000;

async fn policy(world: &World, directory: &str, change: PolicyChange) {
    let manage = world.objects.authorize::<Manage>(&world.root(), &at(directory)).await.unwrap();
    world.objects.set_policy(manage, change).await.unwrap();
}

#[tokio::test]
async fn a_quota_counts_kept_versions_and_refuses_before_anything_changes() {
    let world = World::new().await;
    world.put("/localhost/q/before", &noise(0, 40_000), private()).await;
    policy(&world, "/localhost/q/", PolicyChange { quota: Some(Some(100_000)), ..PolicyChange::default() })
        .await;
    world.put("/localhost/q/a", &noise(1, 40_000), private()).await;
    let refused = world.put_as(&world.root(), "/localhost/q/a", &noise(2, 40_000), private()).await;
    assert!(matches!(refused, Err(WriteError::Quota { limit: 100_000, .. })));
    assert!(world.get("/localhost/q/a").await == noise(1, 40_000));
    let purge = world.objects.authorize::<Purge>(&world.root(), &at("/localhost/q/before")).await.unwrap();
    world.objects.purge(purge).await.unwrap();
    world.put("/localhost/q/a", &noise(2, 40_000), private()).await;
    world.put("/localhost/elsewhere", &noise(3, 400_000), private()).await;
}

#[tokio::test]
async fn no_more_versions_are_kept_than_the_directory_says() {
    let world = World::new().await;
    policy(&world, "/localhost/", PolicyChange { retention: Some(Some((30, 3))), ..PolicyChange::default() })
        .await;
    for number in 0..10_u8 {
        world.put("/localhost/r", &[number], private()).await;
    }
    let root = world.root();
    for version in 1..=10 {
        let kept = world.get_version(&root, "/localhost/r", Some(version)).await.is_ok();
        assert_eq!(kept, version >= 7, "version {version}");
    }
}

#[tokio::test]
async fn a_sweep_forgets_what_was_replaced_longer_ago_than_retention_says() {
    let world = World::new().await;
    world.put("/localhost/s", b"one", private()).await;
    world.clock.advance(100 * DAY_MS);
    world.put("/localhost/s", b"two", private()).await;
    assert_eq!(world.objects.sweep().await.unwrap().versions, 0, "replaced just now, however old it is");
    world.clock.advance(31 * DAY_MS);
    assert_eq!(world.objects.sweep().await.unwrap().versions, 1);
    assert_eq!(world.get("/localhost/s").await, b"two");
    assert!(world.get_version(&world.root(), "/localhost/s", Some(1)).await.is_err());
}

#[tokio::test]
async fn old_versions_never_take_more_room_than_the_live_data() {
    let world = World::with(Settings { versions_bytes_min: 0, ..Settings::default() }).await;
    for number in 0..6 {
        world.put("/localhost/big", &noise(number, 100_000), private()).await;
        world.clock.advance(1_000);
    }
    world.objects.sweep().await.unwrap();
    let root = world.root();
    assert!(world.get_version(&root, "/localhost/big", Some(5)).await.is_ok());
    assert!(world.get_version(&root, "/localhost/big", Some(4)).await.is_err());
}

#[tokio::test]
async fn tombstones_and_the_log_end_when_nothing_needs_them() {
    let world = World::new().await;
    world.put("/localhost/t", b"x", private()).await;
    world.delete_as(&world.root(), "/localhost/t").await.unwrap();
    world.clock.advance(31 * DAY_MS);
    assert_eq!(world.objects.sweep().await.unwrap().tombstones, 0);
    world.clock.advance(31 * DAY_MS);
    world.put("/localhost/new", b"y", private()).await;
    let swept = world.objects.sweep().await.unwrap();
    assert_eq!(swept.tombstones, 1);
    let watch = world.objects.authorize::<Watch>(&world.root(), &at("/localhost/")).await.unwrap();
    let mut watching = world.objects.watch(watch, Some(Cursor::default())).await.unwrap();
    let Some(News::Changes(changes)) = watching.now().unwrap() else { panic!("no changes") };
    assert_eq!(changes.len(), 1, "only the newest line is left");
}
