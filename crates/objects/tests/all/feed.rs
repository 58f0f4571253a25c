//! The change log: every change in order, to those who may know of it.

use crate::world::{World, at, private, public};
use jsfs_objects::{Credentials, Cursor, EventKind, Watch};

#[tokio::test]
async fn every_change_has_its_place_in_the_log() {
    let world = World::new().await;
    world.put("/localhost/a", b"1", private()).await;
    world.put("/localhost/a", b"2", private()).await;
    world.put("/localhost/dir/b", b"3", public()).await;
    world.delete_as(&world.root(), "/localhost/a").await.unwrap();
    let watch = world.objects.authorize::<Watch>(&world.root(), &at("/localhost/")).await.unwrap();
    let feed = world.objects.events(&watch, &Cursor::default(), 100).await.unwrap();
    let seen: Vec<_> = feed.events.iter().map(|(_, e)| (e.kind, e.address.to_string(), e.version)).collect();
    assert_eq!(
        seen,
        [
            (EventKind::Access, "/localhost/".to_owned(), 0),
            (EventKind::Created, "/localhost/a".to_owned(), 1),
            (EventKind::Updated, "/localhost/a".to_owned(), 2),
            (EventKind::Created, "/localhost/dir/b".to_owned(), 1),
            (EventKind::Deleted, "/localhost/a".to_owned(), 3),
        ]
    );
    let (after_first, _) = &feed.events[1];
    let cursor = Cursor::parse(&after_first.to_string()).unwrap();
    let rest = world.objects.events(&watch, &cursor, 100).await.unwrap();
    assert_eq!(rest.events.len(), 3);
    assert_eq!(rest.cursor, world.objects.newest_cursor(&watch).await.unwrap());
}

#[tokio::test]
async fn a_stranger_sees_events_of_public_objects_only() {
    let world = World::new().await;
    world.put("/localhost/w/shut", b"1", private()).await;
    world.put("/localhost/w/open", b"1", public()).await;
    world.delete_as(&world.root(), "/localhost/w/shut").await.unwrap();
    world.delete_as(&world.root(), "/localhost/w/open").await.unwrap();
    let watch = world.objects.authorize::<Watch>(&Credentials::none(), &at("/localhost/w/")).await.unwrap();
    let feed = world.objects.events(&watch, &Cursor::default(), 100).await.unwrap();
    let seen: Vec<_> =
        feed.events.iter().map(|(_, event)| (event.kind, event.address.name().to_owned())).collect();
    assert_eq!(seen, [(EventKind::Created, "open".to_owned()), (EventKind::Deleted, "open".to_owned())]);
}

#[tokio::test]
async fn a_tree_that_moves_logs_each_object() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        world.put(&format!("/localhost/t/{name}"), b"1", private()).await;
    }
    let root = world.root();
    let watch = world.objects.authorize::<Watch>(&root, &at("/localhost/")).await.unwrap();
    let before = world.objects.newest_cursor(&watch).await.unwrap();
    let read = world.objects.authorize(&root, &at("/localhost/t/")).await.unwrap();
    let delete = world.objects.authorize(&root, &at("/localhost/t/")).await.unwrap();
    let write = world.objects.authorize(&root, &at("/localhost/u/")).await.unwrap();
    world.objects.relocate(read, delete, write, None).await.unwrap();
    let mut cursor = before;
    let mut moved = 0;
    loop {
        let feed = world.objects.events(&watch, &cursor, 1).await.unwrap();
        let Some((_, event)) = feed.events.first() else { break };
        moved += usize::from(event.kind == EventKind::Moved);
        cursor = feed.cursor;
    }
    assert_eq!(moved, 3);
}
