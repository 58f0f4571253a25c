//! Drop boxes: what others leave there is theirs to read and change, and the directory's owner's to see and remove.

use crate::world::{World, at, key, private, public, token};
use jsfs_objects::{
    Credentials, Delete, Expected, List, ListOptions, Listed, Manage, PolicyChange, Read, ReadError, Refusal,
    Settings, Write, WriteError, WriteOptions, record::Create, token::Method,
};

async fn world_with_a_box() -> World {
    let world = World::new().await;
    let_create(&world, Create::Anyone).await;
    world
}

async fn let_create(world: &World, create: Create) {
    let manage = world.objects.authorize::<Manage>(&world.root(), &at("/localhost/box/")).await.unwrap();
    let change = PolicyChange { create: Some(Some(create)), ..PolicyChange::default() };
    world.objects.set_policy(manage, change).await.unwrap();
}

#[tokio::test]
async fn the_owner_of_a_drop_box_removes_what_strangers_left_and_never_reads_it() {
    let world = world_with_a_box().await;
    let sender = key(&world.new_key());
    for name in ["one", "two", "three", "open"] {
        let options = if name == "open" { public() } else { private() };
        world.put_as(&sender, &format!("/localhost/box/{name}"), b"dear", options).await.unwrap();
    }
    let refused = world.get_as(&world.root(), "/localhost/box/one").await.unwrap_err();
    assert!(matches!(refused, ReadError::Refused(Refusal::Hidden { .. })), "{refused}");
    assert!(world.put_as(&world.root(), "/localhost/box/one", b"x", private()).await.is_err());
    assert!(world.delete_as(&key(&world.new_key()), "/localhost/box/one").await.is_err());
    let lister = world.token_for(&world.root(), "/localhost/box/", &[Method::Delete, Method::Put]).await;
    assert!(world.delete_as(&token(&lister), "/localhost/box/one").await.is_err(), "that takes the key");

    world.delete_as(&world.root(), "/localhost/box/one").await.unwrap();
    world.purge_as(&world.root(), "/localhost/box/two").await.unwrap();
    assert!(world.get_as(&sender, "/localhost/box/one").await.is_err());
    // The address has come back to the directory: the owner writes there, the sender does not.
    assert!(world.put_as(&sender, "/localhost/box/one", b"again", private()).await.is_err());
    world.put("/localhost/box/one", b"mine", private()).await;
    assert_eq!(world.get("/localhost/box/one").await, b"mine");
    let old = world.get_version(&world.root(), "/localhost/box/one", Some(1)).await.unwrap_err();
    assert!(matches!(old, ReadError::Unreadable { .. }), "what the sender wrote stays the sender's: {old}");
    // After the box was closed the rest can still be cleared, and in one go.
    let_create(&world, Create::Owner).await;
    world.delete_as(&world.root(), "/localhost/box/").await.unwrap();
    assert!(world.names(&world.root(), "/localhost/box/", true).await.is_empty());
}

#[tokio::test]
async fn the_tombstone_of_a_drop_boxs_owner_is_newer_than_what_it_removes_and_signed_by_that_owner() {
    let world = world_with_a_box().await;
    let sender = world.new_key();
    world.put_as(&key(&sender), "/localhost/box/a", b"dear", private()).await.unwrap();
    // Handed on, it belongs to somebody with the sender's word for it; in a drop box the directory's owner still removes it.
    world.hand_over(&key(&sender), "/localhost/box/a", &world.new_key()).await.unwrap();
    world.delete_as(&world.root(), "/localhost/box/a").await.unwrap();
    let read = world.objects.authorize::<Read>(&world.root(), &at("/localhost/box/a")).await.unwrap();
    assert_eq!(read.owner(), world.objects.root_owner().unwrap().unwrap());
    let versions = world.objects.versions(&read).await.unwrap();
    assert!(versions[0].deleted && versions[0].version == 2);
}

#[tokio::test]
async fn an_object_that_was_handed_over_is_its_new_owners_alone() {
    let world = World::new().await;
    world.put("/localhost/d/mine", b"m", private()).await;
    world.put("/localhost/d/theirs", b"t", private()).await;
    let new = world.new_key();
    world.hand_over(&world.root(), "/localhost/d/theirs", &new).await.unwrap();
    let refused = world.delete_as(&world.root(), "/localhost/d/theirs").await.unwrap_err();
    assert!(matches!(refused, WriteError::Refused(Refusal::Unauthenticated { .. })), "{refused}");
    assert!(world.purge_as(&world.root(), "/localhost/d/theirs").await.is_err());
    // A tree with it neither goes nor moves, and says why; nothing has changed.
    let blocked = |refused: &WriteError| matches!(refused, WriteError::Blocked { address, .. } if *address == at("/localhost/d/theirs"));
    let refused = world.delete_as(&world.root(), "/localhost/d/").await.unwrap_err();
    assert!(blocked(&refused), "{refused}");
    let read = world.objects.authorize::<Read>(&world.root(), &at("/localhost/d/")).await.unwrap();
    let delete = world.objects.authorize::<Delete>(&world.root(), &at("/localhost/d/")).await.unwrap();
    let write = world.objects.authorize::<Write>(&world.root(), &at("/localhost/e/")).await.unwrap();
    let refused = world.objects.relocate(read, delete, write, Expected::default()).await.unwrap_err();
    assert!(blocked(&refused), "{refused}");
    assert_eq!(world.get("/localhost/d/mine").await, b"m");
    assert_eq!(world.get_as(&key(&new), "/localhost/d/theirs").await.unwrap(), b"t");
    assert!(world.names(&world.root(), "/localhost/e/", true).await.is_empty());
    // Who holds a token hears that something is in the way, and not what.
    let methods = [Method::Get, Method::Delete, Method::Put];
    let holder = token(&world.token_for(&world.root(), "/localhost/d/", &methods).await);
    let refused = world.delete_as(&holder, "/localhost/d/").await.unwrap_err();
    assert!(matches!(refused, WriteError::Refused(Refusal::Forbidden { .. })), "{refused}");
}

#[tokio::test]
async fn a_listing_shows_each_its_own_and_to_the_directorys_owner_that_the_rest_is_there() {
    let world = world_with_a_box().await;
    let (first, second, third) = (world.new_key(), world.new_key(), world.new_key());
    world.put_as(&key(&first), "/localhost/box/1", b"x", private()).await.unwrap();
    world.put_as(&key(&second), "/localhost/box/2", b"x", private()).await.unwrap();
    world.put_as(&key(&second), "/localhost/box/3", b"x", public()).await.unwrap();
    world.put_as(&key(&second), "/localhost/box/deep/4", b"x", private()).await.unwrap();
    let names = async |of: &Credentials| world.names(of, "/localhost/box/", true).await;
    assert_eq!(names(&Credentials::none()).await, ["3"]);
    assert_eq!(names(&key(&first)).await, ["1", "3"]);
    assert_eq!(names(&key(&second)).await, ["2", "3", "deep/4"]);
    assert_eq!(world.names(&key(&second), "/localhost/", false).await, ["box/"]);
    let options = ListOptions { limit: 2, recursive: true, ..ListOptions::default() };
    assert_eq!(world.list(&key(&second), "/localhost/box/", options).await.unwrap(), ["2", "3"]);
    let grant = world.objects.authorize::<List>(&world.root(), &at("/localhost/box/")).await.unwrap();
    let listing = world.objects.list(&grant, ListOptions::default()).await.unwrap();
    let what = |what: &Listed| match what {
        Listed::Directory => "directory",
        Listed::Object(_) => "open",
        Listed::Unreadable => "shut",
    };
    let seen: Vec<_> = listing.entries.iter().map(|entry| (&entry.name[..], what(&entry.what))).collect();
    assert_eq!(seen, [("1", "shut"), ("2", "shut"), ("3", "open"), ("deep/", "directory")]);
    // Handed on, it shows to the new key and no longer to the old.
    world.hand_over(&key(&second), "/localhost/box/2", &third).await.unwrap();
    assert_eq!(names(&key(&third)).await, ["2", "3"]);
    assert_eq!(names(&key(&second)).await, ["3", "deep/4"]);
    let options = WriteOptions { replacement_key: Some(first.clone()), ..WriteOptions::default() };
    world.put_as(&key(&third), "/localhost/box/2", b"y", options).await.unwrap();
    assert_eq!(names(&key(&third)).await, ["3"]);
    assert_eq!(names(&key(&first)).await, ["1", "2", "3"]);
    world.delete_as(&key(&first), "/localhost/box/1").await.unwrap();
    world.delete_as(&world.root(), "/localhost/box/2").await.unwrap();
    assert_eq!(names(&key(&first)).await, ["3"]);
}

/// A store of an earlier version has no table of objects by owner.
#[tokio::test]
async fn a_store_of_an_earlier_version_keeps_every_owners_access() {
    let world = World::new().await;
    let (disk, store) = (world.disk.clone(), world.store.clone());
    let other = world.new_key();
    for number in 0..3 {
        world.put(&format!("/localhost/o/{number}"), b"x", private()).await;
        world.hand_over(&world.root(), &format!("/localhost/o/{number}"), &other).await.unwrap();
    }
    world.objects.close().await;
    let table = jsfs_store::Table(11);
    let rows: Vec<_> = store.scan(table, ..).map(|row| row.unwrap().0).collect();
    assert_eq!(rows.len(), 4, "three objects, and that none is missing");
    let ops = rows.into_iter().map(|key| jsfs_store::Op::Delete { table, key }).collect();
    store.commit(jsfs_store::Commit { ops, ..jsfs_store::Commit::default() }).await.unwrap();
    let again = World::over(disk, store, Settings::default()).await;
    assert_eq!(again.get_as(&key(&other), "/localhost/o/1").await.unwrap(), b"x");
    assert_eq!(again.names(&key(&other), "/localhost/o/", true).await, ["0", "1", "2"]);
}
