//! Listings show what the caller may know of, in order, page by page.

use crate::world::{World, key, private, public};
use jsfs_objects::{Credentials, ListOptions};

#[tokio::test]
async fn a_listing_shows_names_in_order_and_directories_once() {
    let world = World::new().await;
    for name in ["b", "a", "a-c", "a/x", "a/y", "a/z/deep", "c d/e", "ü"] {
        world.put(&format!("/localhost/l/{name}"), b"x", private()).await;
    }
    let root = world.root();
    assert_eq!(world.names(&root, "/localhost/l/", false).await, ["a", "a-c", "a/", "b", "c d/", "ü"]);
    assert_eq!(world.names(&root, "/localhost/l/a/", false).await, ["x", "y", "z/"]);
    let all = ["a", "a-c", "a/x", "a/y", "a/z/deep", "b", "c d/e", "ü"];
    assert_eq!(world.names(&root, "/localhost/l/", true).await, all);
    for recursive in [false, true] {
        let whole = world.names(&root, "/localhost/l/", recursive).await;
        let mut paged = Vec::new();
        loop {
            let options = ListOptions { after: paged.last().cloned(), limit: 2, recursive };
            let page = world.list(&root, "/localhost/l/", options).await.unwrap();
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, whole);
    }
}

#[tokio::test]
async fn hidden_entries_are_listed_to_nobody_else_and_leave_no_directory() {
    let world = World::new().await;
    world.put("/localhost/m/open", b"x", public()).await;
    world.put("/localhost/m/shut", b"x", private()).await;
    world.put("/localhost/m/dark/shut", b"x", private()).await;
    let stranger = key(&world.new_key());
    for credentials in [Credentials::none(), stranger] {
        assert_eq!(world.names(&credentials, "/localhost/m/", true).await, ["open"]);
        assert_eq!(world.names(&credentials, "/localhost/m/", false).await, ["open"]);
        let hidden = world.list(&credentials, "/localhost/m/dark/", ListOptions::default()).await;
        let absent = world.list(&credentials, "/localhost/m/none/", ListOptions::default()).await;
        let blank = |error: String| error.replace("dark", "none");
        assert_eq!(blank(format!("{:?}", hidden.unwrap_err())), format!("{:?}", absent.unwrap_err()));
    }
    assert_eq!(world.names(&world.root(), "/localhost/m/", false).await, ["dark/", "open", "shut"]);
}

#[tokio::test]
async fn what_was_deleted_or_made_private_leaves_the_public_listing() {
    let world = World::new().await;
    world.put("/localhost/n/a", b"x", public()).await;
    world.put("/localhost/n/b", b"x", public()).await;
    world.delete_as(&world.root(), "/localhost/n/a").await.unwrap();
    assert_eq!(world.names(&Credentials::none(), "/localhost/n/", true).await, ["b"]);
    world.put("/localhost/n/b", b"x", private()).await;
    assert!(world.names(&Credentials::none(), "/localhost/n/", true).await.is_empty());
    assert_eq!(world.names(&world.root(), "/localhost/n/", true).await, ["b"]);
}
