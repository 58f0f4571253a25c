//! Versions are kept, listed, restored and forgotten.

use crate::world::{World, at, private, public};
use jsfs_objects::{Credentials, PropertyChange, Purge, Read, ReadError, Write, WriteError, WriteOptions};
use std::sync::Arc;

#[tokio::test]
async fn every_write_makes_a_version_that_can_be_read_and_restored() {
    let world = World::new().await;
    for text in ["one", "two", "three"] {
        world.put("/localhost/v", text.as_bytes(), private()).await;
    }
    world.delete_as(&world.root(), "/localhost/v").await.unwrap();
    assert!(matches!(world.get_as(&world.root(), "/localhost/v").await, Err(ReadError::Absent { .. })));
    let root = world.root();
    assert_eq!(world.get_version(&root, "/localhost/v", Some(2)).await.unwrap(), b"two");
    let read = world.objects.authorize::<Read>(&root, &at("/localhost/v")).await.unwrap();
    let versions = world.objects.versions(&read).await.unwrap();
    assert_eq!(
        versions.iter().map(|v| (v.version, v.deleted)).collect::<Vec<_>>(),
        [(4, true), (3, false), (2, false), (1, false)]
    );
    let write = world.objects.authorize::<Write>(&root, &at("/localhost/v")).await.unwrap();
    let restored = world.objects.restore(read, write, 1).await.unwrap();
    assert_eq!(restored.metadata.version, 5);
    assert_eq!(world.get("/localhost/v").await, b"one");
}

#[tokio::test]
async fn purging_forgets_every_version_and_says_so_to_the_owner_only() {
    let world = World::new().await;
    world.put("/localhost/p", b"one", public()).await;
    world.put("/localhost/p", b"two", public()).await;
    let manage = world.objects.authorize::<Purge>(&world.root(), &at("/localhost/p")).await.unwrap();
    world.objects.purge(manage).await.unwrap();
    let root = world.root();
    assert!(matches!(world.get_as(&root, "/localhost/p").await, Err(ReadError::Purged { .. })));
    for version in 1..=2 {
        assert!(world.get_version(&root, "/localhost/p", Some(version)).await.is_err());
    }
    assert!(matches!(
        world.get_as(&Credentials::none(), "/localhost/p").await,
        Err(ReadError::Refused(jsfs_objects::Refusal::Hidden { .. }))
    ));
    world.put("/localhost/p", b"again", public()).await;
    assert_eq!(world.get("/localhost/p").await, b"again");
}

#[tokio::test]
async fn a_public_version_of_what_is_private_now_stays_hidden() {
    let world = World::new().await;
    world.put("/localhost/h", b"public once", public()).await;
    world.put("/localhost/h", b"private now", private()).await;
    assert!(world.get_version(&Credentials::none(), "/localhost/h", Some(1)).await.is_err());
    world.put("/localhost/h", b"public again", public()).await;
    let stranger = world.get_version(&Credentials::none(), "/localhost/h", Some(2)).await;
    assert!(matches!(stranger, Err(ReadError::VersionAbsent { .. })), "and a private one too");
}

#[tokio::test]
async fn changing_private_rewrites_the_bytes_into_a_new_version_and_other_properties_do_not() {
    let world = World::new().await;
    world.put("/localhost/c", b"bytes", public()).await;
    let change = async |change| {
        let write = world.objects.authorize::<Write>(&world.root(), &at("/localhost/c")).await.unwrap();
        world.objects.change(write, change, None).await.unwrap()
    };
    let typed =
        change(PropertyChange { content_type: Some("text/x".into()), ..PropertyChange::default() }).await;
    assert_eq!((typed.version, typed.content_type.as_str()), (1, "text/x"));
    let sealed = change(PropertyChange { private: Some(true), ..PropertyChange::default() }).await;
    assert_eq!((sealed.version, sealed.private, sealed.content_type.as_str()), (2, true, "text/x"));
    assert!(world.get_as(&Credentials::none(), "/localhost/c").await.is_err());
    assert_eq!(world.get("/localhost/c").await, b"bytes");
}

#[tokio::test]
async fn of_writers_with_the_same_condition_exactly_one_succeeds() {
    let world = Arc::new(World::new().await);
    world.put("/localhost/race", b"start", private()).await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..16_u8 {
        let world = Arc::clone(&world);
        writers.spawn(async move {
            let options = WriteOptions {
                precondition: Some(Arc::new(|now| now.is_some_and(|now| now.version == 1))),
                ..WriteOptions::default()
            };
            world.put_as(&world.root(), "/localhost/race", &[number], options).await
        });
    }
    let mut succeeded = 0;
    while let Some(result) = writers.join_next().await {
        match result.unwrap() {
            Ok(_) => succeeded += 1,
            Err(WriteError::Precondition { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(succeeded, 1);
}

#[tokio::test]
async fn concurrent_appends_all_arrive() {
    let world = Arc::new(World::new().await);
    world.put("/localhost/log", b"", private()).await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..12_u8 {
        let world = Arc::clone(&world);
        writers.spawn(async move { world.append("/localhost/log", &[number; 10]).await });
    }
    while let Some(result) = writers.join_next().await {
        result.unwrap();
    }
    let bytes = world.get("/localhost/log").await;
    assert_eq!(bytes.len(), 120);
    let (pieces, _) = bytes.as_chunks::<10>();
    assert!(pieces.iter().all(|piece| piece.iter().all(|byte| *byte == piece[0])), "none is torn");
}
