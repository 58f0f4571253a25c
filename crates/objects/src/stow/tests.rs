//! Pieces at work stay within their places, and leave none taken however the body ends.

use super::{
    Sealing, Stowing,
    pieces::{PIECE_BYTES, places},
};
use crate::{
    Objects, OpenOptions, Settings,
    address::Address,
    clock::{ManualClock, SeededRandom},
    crypto::sha256,
    key::SigningKey,
};
use bytes::Bytes;
use futures_util::FutureExt;
use jsfs_store::{
    Store,
    backend::{Backend, Fault, Faulty, Memory, Operation},
};
use std::{cell::Cell, io, sync::Arc, time::Duration};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

async fn over(disk: Arc<dyn Backend>) -> Objects {
    let random = Arc::new(SeededRandom::new(1));
    let options = OpenOptions {
        store: Store::open(jsfs_store::OpenOptions::new(vec![disk])).unwrap(),
        node_key: SigningKey::generate(&*random),
        root_key: None,
        clock: Arc::new(ManualClock::starting_at(1_800_000_000_000)),
        random,
        settings: Settings::default(),
    };
    Objects::open(options).await.unwrap()
}

fn stowing(objects: &Objects) -> Stowing {
    Stowing::new(objects, &Address::parse("/localhost/a.bin").unwrap(), Sealing::Public)
}

fn noise(seed: u8, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// Waits until no piece is at work.
async fn all_places_are_free(objects: &Objects) {
    let all = u32::try_from(places().available_permits()).unwrap();
    let taken = timeout(PATIENCE, objects.places().acquire_many(all)).await;
    drop(taken.expect("nobody keeps a place").unwrap());
}

#[tokio::test]
async fn without_a_place_no_more_is_taken_than_a_piece() {
    let objects = over(Arc::new(Memory::new(1 << 30))).await;
    let bytes = noise(8, 3 * PIECE_BYTES + 5);
    let all = u32::try_from(objects.places().available_permits()).unwrap();
    let taken = Arc::clone(objects.places()).acquire_many_owned(all).await.unwrap();
    let mut stowing = stowing(&objects);
    let (mut rest, took) = (bytes.clone(), Cell::new(0));
    let mut writing = Box::pin(async {
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(1_000));
            let length = part.len();
            stowing.write(part).await.unwrap();
            took.set(took.get() + length);
        }
    });
    for _ in 0..10 {
        assert!((&mut writing).now_or_never().is_none(), "it waits");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!((1..PIECE_BYTES).contains(&took.get()), "{} bytes", took.get());
    drop(taken);
    timeout(PATIENCE, &mut writing).await.expect("it goes on");
    drop(writing);
    let stowed = stowing.finish().await.unwrap();
    assert_eq!((stowed.size, stowed.sha256), (bytes.len() as u64, sha256(&[&bytes])));
    all_places_are_free(&objects).await;
}

#[tokio::test]
async fn who_sends_nothing_more_keeps_no_place() {
    let objects = over(Arc::new(Memory::new(1 << 30))).await;
    let bytes = noise(8, 3 * PIECE_BYTES / 2);
    let mut still = Vec::new();
    for _ in 0..places().available_permits() + 1 {
        let mut one = stowing(&objects);
        timeout(PATIENCE, one.write(bytes.clone())).await.expect("there is a place").unwrap();
        still.push(one);
    }
    all_places_are_free(&objects).await;
    for one in still {
        assert_eq!(one.finish().await.unwrap().sha256, sha256(&[&bytes]));
    }
}

#[tokio::test]
async fn who_goes_away_leaves_places_and_nothing_else() {
    let objects = over(Arc::new(Memory::new(1 << 30))).await;
    let bytes = noise(8, 4 * PIECE_BYTES);
    for pieces in 0..4 {
        for pause_ms in [0, 1, 20, 200] {
            let mut one = stowing(&objects);
            one.write(bytes.slice(..pieces * PIECE_BYTES + 7)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        all_places_are_free(&objects).await;
    }
}

#[tokio::test]
async fn a_disk_that_fails_in_the_middle_ends_the_body_with_its_error() {
    let disk = Faulty::new(1 << 30);
    let objects = over(Arc::new(disk.clone())).await;
    // So many pieces that they do not all go into fewer writes than that.
    for (seed, after) in [(0, 0), (1, 1), (2, 3)] {
        let failing = Fault { operation: Operation::Write, after, times: 1, error: io::ErrorKind::Other };
        disk.inject(failing);
        let bytes = noise(seed, 30 * PIECE_BYTES);
        let mut one = stowing(&objects);
        let written = timeout(PATIENCE, one.write(bytes)).await.expect("it ends");
        let told = match written {
            Ok(()) => one.finish().await.map(drop),
            Err(error) => {
                // It stays ended.
                assert!(one.write(noise(9, 2 * PIECE_BYTES)).await.is_err());
                Err(error)
            }
        };
        let told = told.expect_err("the disk failed").to_string();
        assert!(told.contains("faulty"), "{told}");
        all_places_are_free(&objects).await;
    }
    let mut one = stowing(&objects);
    one.write(noise(8, 3 * PIECE_BYTES)).await.unwrap();
    assert_eq!(one.finish().await.unwrap().size, 3 * PIECE_BYTES as u64);
}
