//! The scrub: everything once in a period, spread over it, and where it was is known after a restart.

use crate::world::{START_MS, World, noise, public};
use jsfs_objects::{ScrubStatus, Scrubbing, Settings};
use jsfs_store::{OpenOptions, Store, backend::Memory};
use std::{sync::Arc, time::Duration};

const EVERY_MS: u64 = 1_000_000;
const HOW: Scrubbing = Scrubbing { every: Duration::from_millis(EVERY_MS), bytes_per_second: 0 };

async fn status(world: &World) -> ScrubStatus {
    let root = world.objects.authorize_root(&world.root()).await.unwrap();
    world.objects.status(&root).await.unwrap().scrub.unwrap()
}

fn used(world: &World) -> u64 {
    world.store.stats().unwrap().locations[0].used
}

#[tokio::test]
async fn everything_is_read_once_in_a_period_and_a_restart_goes_on_where_it_was() {
    let disk = Arc::new(Memory::new(4 << 30));
    let options = OpenOptions::new(vec![disk.clone()]).pack_max(256 << 10);
    let world = World::over(disk, Store::open(options).unwrap(), Settings::default()).await;
    for at in 0..20 {
        world.put(&format!("/localhost/{at}"), &noise(at, 200_000), public()).await;
    }
    let (total, pack) = (used(&world), 300_000);

    let due = world.objects.scrub(HOW).await.unwrap();
    let first = status(&world).await.pass;
    assert!(due > START_MS && (1..=pack).contains(&first.bytes), "{first:?}");
    let again = world.objects.scrub(HOW).await.unwrap();
    assert!(again.abs_diff(due) < 1_000 && status(&world).await.pass.bytes == first.bytes, "nothing is due");

    world.clock.advance(EVERY_MS / 2);
    world.objects.scrub(HOW).await.unwrap();
    let half = status(&world).await.pass;
    assert!(half.bytes.abs_diff(total / 2) <= pack, "{half:?} of {total}");

    let world = world.restarted().await;
    world.objects.scrub(HOW).await.unwrap();
    let restarted = status(&world).await.pass;
    assert_eq!((restarted.begun_ms, restarted.bytes), (half.begun_ms, half.bytes));

    world.clock.advance(EVERY_MS / 2);
    let due = world.objects.scrub(HOW).await.unwrap();
    let after = status(&world).await;
    let last = after.last.unwrap();
    assert!(last.bytes.abs_diff(total) <= 2 * pack && last.ended_ms > 0, "{last:?} of {total}");
    assert_eq!((last.damaged, last.repaired), (0, 0));
    // The next pass has begun, and not more of it was read than is due.
    assert_eq!(after.pass.begun_ms, last.begun_ms + EVERY_MS);
    assert!(after.pass.bytes <= pack && due > START_MS + EVERY_MS, "{after:?}");
}

#[tokio::test]
async fn a_node_that_was_off_for_long_reads_what_is_due_and_a_clock_that_was_set_back_stops_nothing() {
    let world = World::new().await;
    world.put("/localhost/x", &noise(1, 200_000), public()).await;
    world.objects.scrub(HOW).await.unwrap();
    world.clock.advance(10 * EVERY_MS);
    world.objects.scrub(HOW).await.unwrap();
    // Passes that were missed are not made up for.
    let ahead = status(&world).await;
    assert_eq!(ahead.last.unwrap().ended_ms, START_MS + 10 * EVERY_MS);
    world.clock.set(START_MS);
    let due = world.objects.scrub(HOW).await.unwrap();
    assert!(due <= START_MS + EVERY_MS, "{due}");
}
