//! What reads remember never outlives a change: of bytes, of who may read them, of what is there.

use crate::world::{World, at, key, noise, private, public, token};
use jsfs_objects::token::Method;
use jsfs_objects::{
    Credentials, Manage, PropertyChange, Purge, Read, ReadError, Refusal, Settings, Write, WriteOptions,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use tokio::task::JoinSet;

const PLACE: &str = "/localhost/a/b/c";

/// Reads several times, so that the later ones are from memory.
async fn read(world: &World, credentials: &Credentials) -> Result<Vec<u8>, ReadError> {
    let first = world.get_as(credentials, PLACE).await;
    let everybodys = world.get_as(&Credentials::none(), PLACE).await.ok();
    let at_hand = world.objects.at_hand(&at(PLACE)).map(|(_, bytes)| bytes.to_vec());
    assert_eq!(at_hand, everybodys, "all that everybody may read is at hand, and nothing else");
    if let Some((_, bytes)) = world.objects.at_hand_of_owner(credentials, &at(PLACE)) {
        assert_eq!(Some(bytes.to_vec()), first.as_ref().ok().cloned());
        assert_ne!(at_hand.as_deref(), Some(&bytes[..]), "what is public is found without a key");
    }
    for _ in 0..3 {
        let again = world.get_as(credentials, PLACE).await;
        assert_eq!(again.as_ref().ok(), first.as_ref().ok());
    }
    first
}

fn is_hidden(read: &Result<Vec<u8>, ReadError>) -> bool {
    matches!(read, Err(ReadError::Refused(Refusal::Hidden { .. })))
}

async fn set_private(world: &World, private: bool) {
    let grant = world.objects.authorize::<Write>(&world.root(), &at(PLACE)).await.unwrap();
    let change = PropertyChange { private: Some(private), ..PropertyChange::default() };
    world.objects.change(grant, change, None).await.unwrap();
}

#[tokio::test]
async fn each_change_shows_in_the_next_read() {
    let world = World::new().await;
    let nobody = Credentials::none();
    assert!(is_hidden(&read(&world, &nobody).await));
    for number in 0..3_u8 {
        world.put(PLACE, &[number; 100], public()).await;
        assert_eq!(read(&world, &nobody).await.unwrap(), [number; 100]);
    }
    world.append(PLACE, b"!").await;
    assert_eq!(read(&world, &nobody).await.unwrap().len(), 101);
    set_private(&world, true).await;
    assert!(is_hidden(&read(&world, &nobody).await));
    assert_eq!(read(&world, &world.root()).await.unwrap().len(), 101);
    set_private(&world, false).await;
    assert_eq!(read(&world, &nobody).await.unwrap().len(), 101);
    world.delete_as(&world.root(), PLACE).await.unwrap();
    assert!(is_hidden(&read(&world, &nobody).await));
    assert!(matches!(read(&world, &world.root()).await, Err(ReadError::Absent { .. })));
    world.put(PLACE, b"again", public()).await;
    assert_eq!(read(&world, &nobody).await.unwrap(), b"again");
    let grant = world.objects.authorize::<Purge>(&world.root(), &at(PLACE)).await.unwrap();
    world.objects.purge(grant).await.unwrap();
    assert!(is_hidden(&read(&world, &nobody).await));
    assert!(matches!(read(&world, &world.root()).await, Err(ReadError::Purged { .. })));
}

#[tokio::test]
async fn what_somebody_may_not_read_is_not_read_from_what_others_left_in_memory() {
    let world = World::new().await;
    world.put(PLACE, &noise(1, 4_096), private()).await;
    let bearer = token(&world.token_for(&world.root(), PLACE, &[Method::Get]).await);
    let elsewhere = token(&world.token_for(&world.root(), "/localhost/a/b/d", &[Method::Get]).await);
    let only_lists = token(&world.token_for(&world.root(), "/localhost/a/", &[Method::List]).await);
    let stranger = key(&world.new_key());
    assert_eq!(read(&world, &world.root()).await.unwrap(), noise(1, 4_096));
    assert!(world.objects.at_hand_of_owner(&world.root(), &at(PLACE)).is_some());
    for credentials in [&Credentials::none(), &elsewhere, &stranger] {
        assert!(is_hidden(&read(&world, credentials).await));
        assert!(world.objects.at_hand_of_owner(credentials, &at(PLACE)).is_none());
    }
    assert!(read(&world, &only_lists).await.is_err());
    assert_eq!(read(&world, &bearer).await.unwrap(), noise(1, 4_096));
}

#[tokio::test]
async fn a_revoked_token_and_a_former_owner_read_nothing_that_is_remembered() {
    let world = World::new().await;
    world.put(PLACE, b"secret", private()).await;
    let manage = world.objects.authorize::<Manage>(&world.root(), &at("/localhost/a/")).await.unwrap();
    let methods = jsfs_objects::token::Methods::default().with(Method::Get);
    let expires_s = crate::world::START_MS / 1_000 + 3_600;
    let minted = world.objects.mint_token(&manage, methods, expires_s).await.unwrap();
    let bearer = token(&minted.text);
    assert_eq!(read(&world, &bearer).await.unwrap(), b"secret");
    world.objects.revoke(manage, &minted.jti, None).await.unwrap();
    assert!(is_hidden(&read(&world, &bearer).await));
    let heir = world.new_key();
    assert!(is_hidden(&read(&world, &key(&heir)).await));
    world.hand_over(&world.root(), "/localhost/a/", &heir).await.unwrap();
    assert!(is_hidden(&read(&world, &world.root()).await));
    assert_eq!(read(&world, &key(&heir)).await.unwrap(), b"secret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_beside_a_writer_never_go_back_nor_lag_behind_what_was_answered() {
    let world = Arc::new(World::new().await);
    world.put(PLACE, &0_u64.to_le_bytes(), public()).await;
    let (answered, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let (world, answered, ended) = (Arc::clone(&world), Arc::clone(&answered), Arc::clone(&ended));
        readers.spawn(async move {
            let (mut last, mut reads) = (0, 0_u64);
            while !ended.load(SeqCst) {
                let least = answered.load(SeqCst);
                let number = match world.objects.at_hand(&at(PLACE)) {
                    Some((_, bytes)) => bytes,
                    None => {
                        let grant =
                            world.objects.authorize::<Read>(&Credentials::none(), &at(PLACE)).await.unwrap();
                        let object = world.objects.read(&grant, None).await.unwrap();
                        object.at_once(0..8).await.unwrap().unwrap()
                    }
                };
                let number = u64::from_le_bytes(number[..].try_into().unwrap());
                assert!(number >= least && number >= last, "{number} after {last}, {least} was answered");
                (last, reads) = (number, reads + 1);
            }
            reads
        });
    }
    for number in 1..=300_u64 {
        world.put(PLACE, &number.to_le_bytes(), WriteOptions::default()).await;
        answered.store(number, SeqCst);
    }
    ended.store(true, SeqCst);
    for reads in readers.join_all().await {
        assert!(reads > 0);
    }
}

#[tokio::test]
async fn without_memory_all_is_as_with_it() {
    let world = World::with(Settings { memory_bytes: 0, ..Settings::default() }).await;
    world.put(PLACE, b"one", public()).await;
    assert_eq!(world.get_as(&Credentials::none(), PLACE).await.unwrap(), b"one");
    assert!(world.objects.at_hand(&at(PLACE)).is_none());
    world.delete_as(&world.root(), PLACE).await.unwrap();
    assert!(is_hidden(&world.get_as(&Credentials::none(), PLACE).await));
}
