//! Copying, moving and deleting, of objects and of whole directories, without touching blocks.

use crate::world::{World, at, key, private, public};
use jsfs_objects::{Delete, Expected, Moved, Read, Write, WriteError};

async fn copy(world: &World, from: &str, to: &str) -> Result<Moved, WriteError> {
    let read = world.objects.authorize::<Read>(&world.root(), &at(from)).await?;
    let write = world.objects.authorize::<Write>(&world.root(), &at(to)).await?;
    world.objects.copy(read, write, Expected::default()).await
}

async fn relocate(world: &World, from: &str, to: &str) -> Result<Moved, WriteError> {
    let read = world.objects.authorize::<Read>(&world.root(), &at(from)).await?;
    let delete = world.objects.authorize::<Delete>(&world.root(), &at(from)).await?;
    let write = world.objects.authorize::<Write>(&world.root(), &at(to)).await?;
    world.objects.relocate(read, delete, write, Expected::default()).await
}

#[tokio::test]
async fn a_copy_has_the_same_blocks_and_a_life_of_its_own() {
    let world = World::new().await;
    let bytes = crate::world::noise(1, 500_000);
    for options in [public(), private()] {
        let written = world.put("/localhost/from", &bytes, options).await;
        let copied = copy(&world, "/localhost/from", "/localhost/to").await.unwrap();
        assert_eq!(copied.metadata.unwrap().private, written.metadata.private);
        let read = world.objects.authorize::<Read>(&world.root(), &at("/localhost/to")).await.unwrap();
        let blocks = world.objects.read(&read, None).await.unwrap().blocks(100).await.unwrap();
        assert_eq!(blocks, written.blocks);
        world.put("/localhost/from", b"changed", private()).await;
        assert!(world.get("/localhost/to").await == bytes);
    }
}

#[tokio::test]
async fn a_moved_tree_is_there_and_no_longer_here() {
    let world = World::new().await;
    for name in ["a", "b/c", "b/d/e"] {
        world.put(&format!("/localhost/old/{name}"), name.as_bytes(), private()).await;
    }
    world.put("/localhost/old/open", b"open", public()).await;
    let moved = relocate(&world, "/localhost/old/", "/localhost/new/place/").await.unwrap();
    assert_eq!((moved.objects, moved.created), (4, true));
    assert!(world.names(&world.root(), "/localhost/old/", true).await.is_empty());
    let names = world.names(&world.root(), "/localhost/new/place/", true).await;
    assert_eq!(names, ["a", "b/c", "b/d/e", "open"]);
    assert_eq!(world.get("/localhost/new/place/b/d/e").await, b"b/d/e");
    assert_eq!(
        world.get_as(&jsfs_objects::Credentials::none(), "/localhost/new/place/open").await.unwrap(),
        b"open"
    );
    let old = world.get_version(&world.root(), "/localhost/old/a", Some(1)).await.unwrap();
    assert_eq!(old, b"a", "the version that was moved away can be restored");
}

#[tokio::test]
async fn impossible_moves_are_refused_and_change_nothing() {
    let world = World::new().await;
    world.put("/localhost/d/a", b"a", private()).await;
    for (from, to) in [
        ("/localhost/d/", "/localhost/d/"),
        ("/localhost/d/", "/localhost/d/below/"),
        ("/localhost/d/", "/localhost/plain"),
        ("/localhost/d/a", "/localhost/other/"),
        ("/localhost/none", "/localhost/x"),
        ("/localhost/none/", "/localhost/x/"),
    ] {
        assert!(relocate(&world, from, to).await.is_err(), "{from} to {to}");
        assert!(copy(&world, from, to).await.is_err(), "{from} to {to}");
    }
    assert_eq!(world.names(&world.root(), "/localhost/", true).await, ["d/a"]);
}

#[tokio::test]
async fn deleting_a_directory_deletes_what_the_caller_owns_below_it() {
    let world = World::new().await;
    for name in ["x/a", "x/b/c", "y"] {
        world.put(&format!("/localhost/t/{name}"), b"1", private()).await;
    }
    world.delete_as(&world.root(), "/localhost/t/x/").await.unwrap();
    assert_eq!(world.names(&world.root(), "/localhost/t/", true).await, ["y"]);
    let stranger = key(&world.new_key());
    assert!(world.delete_as(&stranger, "/localhost/t/").await.is_err());
    assert_eq!(world.get("/localhost/t/y").await, b"1");
}
