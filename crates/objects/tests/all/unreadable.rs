//! A record that its owner cannot open is contained: it is named to the owner, hidden from others, and keeps nothing else from working.
//!
//! How one comes to be: a token is made, the directory is handed to another key and back, and the token, whose owner is the owner again, seals
//! what it writes under the read key of an epoch that is over.

use crate::world::{World, at, key, private, token};
use jsfs_objects::{
    Delete, Expected, List, ListOptions, Listed, Manage, Purge, Read, ReadError, Refusal, Write, WriteError,
    token::Method,
};

/// `/localhost/d/` with two objects of its owner, and `odd`, which the owner cannot open.
async fn world_with_an_odd_one() -> World {
    let world = World::new().await;
    world.put("/localhost/d/a", b"a", private()).await;
    let old = token(&world.token_for(&world.root(), "/localhost/d/odd", &[Method::Put]).await);
    to_another_and_back(&world).await;
    world.put_as(&old, "/localhost/d/odd", b"odd", private()).await.unwrap();
    world.put("/localhost/d/z", b"z", private()).await;
    world
}

async fn to_another_and_back(world: &World) {
    let other = world.new_key();
    world.hand_over(&world.root(), "/localhost/d/", &other).await.unwrap();
    world.hand_over(&key(&other), "/localhost/d/", &world.root).await.unwrap();
}

async fn entries(world: &World, credentials: &jsfs_objects::Credentials) -> Vec<(String, bool)> {
    let grant = world.objects.authorize::<List>(credentials, &at("/localhost/d/")).await.unwrap();
    let listing = world.objects.list(&grant, ListOptions::default()).await.unwrap();
    let is_open = |what: &Listed| matches!(what, Listed::Object(_));
    listing.entries.iter().map(|entry| (entry.name.clone(), is_open(&entry.what))).collect()
}

async fn relocate(world: &World, from: &str, to: &str) -> Result<u64, WriteError> {
    let read = world.objects.authorize::<Read>(&world.root(), &at(from)).await?;
    let delete = world.objects.authorize::<Delete>(&world.root(), &at(from)).await?;
    let write = world.objects.authorize::<Write>(&world.root(), &at(to)).await?;
    Ok(world.objects.relocate(read, delete, write, Expected::default()).await?.objects)
}

#[tokio::test]
async fn a_listing_survives_an_entry_that_does_not_open_and_names_it_to_the_owner() {
    let world = world_with_an_odd_one().await;
    let own = [("a".to_owned(), true), ("odd".to_owned(), false), ("z".to_owned(), true)];
    assert_eq!(entries(&world, &world.root()).await, own);
    world.objects.close().await;
    let reader = token(&world.token_for(&world.root(), "/localhost/d/", &[Method::List]).await);
    let names: Vec<_> = entries(&world, &reader).await.into_iter().map(|(name, _)| name).collect();
    assert!(!names.contains(&"odd".to_owned()), "{names:?}");
    let refused = world.get_as(&world.root(), "/localhost/d/odd").await.unwrap_err();
    assert!(matches!(refused, ReadError::Unreadable { .. }), "{refused}");
}

#[tokio::test]
async fn a_tree_is_moved_deleted_and_sealed_again_around_an_entry_that_does_not_open() {
    let world = world_with_an_odd_one().await;
    let refused = relocate(&world, "/localhost/d/", "/localhost/e/").await.unwrap_err();
    assert!(
        matches!(&refused, WriteError::Blocked { address, .. } if *address == at("/localhost/d/odd")),
        "{refused}"
    );
    assert_eq!(world.names(&world.root(), "/localhost/e/", true).await, Vec::<String>::new());

    // Sealing under a new key leaves it aside and comes to its end, after which tokens of the new key open what is older than they are.
    let new = world.new_key();
    world.hand_over(&world.root(), "/localhost/d/", &new).await.unwrap();
    let mut is_open = false;
    for _ in 0..500 {
        let reader = token(&world.token_for(&key(&new), "/localhost/d/", &[Method::Get]).await);
        is_open = world.get_as(&reader, "/localhost/d/z").await.is_ok();
        if is_open {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(is_open);
    let status = loop {
        let root = world.objects.authorize_root(&world.root()).await.unwrap();
        let status = world.objects.status(&root).await.unwrap();
        if status.resealing == 0 {
            break status;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert!(status.unreadable > 0);
    assert_eq!(world.get_as(&key(&new), "/localhost/d/a").await.unwrap(), b"a");
    assert_eq!(entries(&world, &key(&new)).await.len(), 3);
    let reader = token(&world.token_for(&key(&new), "/localhost/d/", &[Method::Get]).await);
    let refused = world.get_as(&reader, "/localhost/d/odd").await.unwrap_err();
    assert!(matches!(refused, ReadError::Refused(Refusal::Hidden { note: Some(_) })), "{refused}");
    world.delete_as(&key(&new), "/localhost/d/").await.unwrap();
    assert!(world.names(&key(&new), "/localhost/d/", true).await.is_empty());
}

#[tokio::test]
async fn the_owner_replaces_restores_and_purges_what_nobody_can_open() {
    let world = World::new().await;
    world.put("/localhost/d/odd", b"before", private()).await;
    let old = token(&world.token_for(&world.root(), "/localhost/d/new", &[Method::Put]).await);
    to_another_and_back(&world).await;
    world.put_as(&old, "/localhost/d/new", b"odd", private()).await.unwrap();
    let condition: jsfs_objects::Precondition = std::sync::Arc::new(|now| now.is_none());
    let options = jsfs_objects::WriteOptions { precondition: Some(condition), ..Default::default() };
    let refused = world.put_as(&world.root(), "/localhost/d/new", b"mine", options).await.unwrap_err();
    assert!(matches!(refused, WriteError::Precondition { .. }), "something is there: {refused}");
    let written = world.put("/localhost/d/new", b"mine", jsfs_objects::WriteOptions::default()).await;
    assert!(!written.created && written.metadata.private && written.metadata.version == 2);
    assert_eq!(world.get("/localhost/d/new").await, b"mine");
    let read = world.objects.authorize::<Read>(&world.root(), &at("/localhost/d/new")).await.unwrap();
    let versions = world.objects.versions(&read).await.unwrap();
    assert_eq!(versions.iter().map(|version| version.metadata.is_some()).collect::<Vec<_>>(), [true, false]);
    let purge = world.objects.authorize::<Purge>(&world.root(), &at("/localhost/d/new")).await.unwrap();
    world.objects.purge(purge).await.unwrap();
    assert_eq!(entries(&world, &world.root()).await, [("odd".to_owned(), true)]);
}

#[tokio::test]
async fn a_token_from_before_its_directory_came_back_proves_nothing_and_is_no_damage() {
    let world = World::new().await;
    world.put("/localhost/d/a", b"a", private()).await;
    let methods = [Method::Get, Method::List, Method::Put];
    let old = token(&world.token_for(&world.root(), "/localhost/d/", &methods).await);
    to_another_and_back(&world).await;
    world.put("/localhost/d/b", b"b", private()).await;
    let refused = world.get_as(&old, "/localhost/d/b").await.unwrap_err();
    assert!(matches!(refused, ReadError::Refused(Refusal::Hidden { note: Some(_) })), "{refused}");
    for (name, there) in [("b", true), ("new", false)] {
        let refused = world.put_as(&old, &format!("/localhost/d/{name}"), b"x", private()).await.unwrap_err();
        let is_unauthenticated =
            matches!(refused, WriteError::Refused(Refusal::Unauthenticated { note: Some(_) }));
        assert!(is_unauthenticated, "{name} {there}: {refused}");
    }
    let manage = world.objects.authorize::<Manage>(&world.root(), &at("/localhost/d/")).await.unwrap();
    let refused = world.objects.hand_over(manage, &world.root).await.unwrap_err();
    assert!(matches!(refused, WriteError::Invalid { .. }), "a key is not replaced by itself: {refused}");
}
