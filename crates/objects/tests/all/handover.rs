//! Replacing a key: the new one opens everything, the old one nothing that comes after, and what was sealed is sealed again.

use crate::world::{World, key, private, public, token};
use jsfs_objects::{WriteOptions, token::Method};

#[tokio::test]
async fn after_a_directory_changed_hands_only_the_new_key_counts() {
    let world = World::new().await;
    world.put("/localhost/d/a", b"before", private()).await;
    world.put("/localhost/d/a", b"before 2", private()).await;
    world.put("/localhost/d/sub/open", b"public", public()).await;
    world.put("/localhost/beside", b"mine", private()).await;
    let old_token =
        token(&world.token_for(&world.root(), "/localhost/d/", &[Method::Get, Method::Put]).await);
    let new = world.new_key();
    world.hand_over(&world.root(), "/localhost/d/", &new).await.unwrap();
    let new = key(&new);
    assert_eq!(world.get_as(&new, "/localhost/d/a").await.unwrap(), b"before 2");
    assert_eq!(world.get_version(&new, "/localhost/d/a", Some(1)).await.unwrap(), b"before");
    for old in [world.root(), old_token] {
        assert!(world.get_as(&old, "/localhost/d/a").await.is_err());
        assert!(world.put_as(&old, "/localhost/d/a", b"x", WriteOptions::default()).await.is_err());
        assert!(world.put_as(&old, "/localhost/d/new", b"x", WriteOptions::default()).await.is_err());
        assert!(world.delete_as(&old, "/localhost/d/sub/open").await.is_err());
    }
    assert!(world.get_as(&new, "/localhost/beside").await.is_err());
    world.objects.close().await;
    assert_eq!(world.get_as(&new, "/localhost/d/a").await.unwrap(), b"before 2");
}

#[tokio::test]
async fn sealing_again_ends_and_everything_opens_under_the_new_root_alone() {
    let world = World::new().await;
    for number in 0..200 {
        world.put(&format!("/localhost/d/{number}"), format!("{number}").as_bytes(), private()).await;
    }
    world.put("/localhost/d/1", b"newer", private()).await;
    let (first, second) = (world.new_key(), world.new_key());
    world.hand_over(&world.root(), "/localhost/d/", &first).await.unwrap();
    world.hand_over(&key(&first), "/localhost/d/", &second).await.unwrap();
    let holder = key(&second);
    for _ in 0..500 {
        let reader = token(&world.token_for(&holder, "/localhost/d/", &[Method::Get]).await);
        // A token holds the newest root only.
        if world.get_as(&reader, "/localhost/d/99").await.is_ok()
            && world.get_version(&reader, "/localhost/d/1", Some(1)).await.is_ok()
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let reader = token(&world.token_for(&holder, "/localhost/d/", &[Method::Get]).await);
    for number in 2..200 {
        let bytes = world.get_as(&reader, &format!("/localhost/d/{number}")).await.unwrap();
        assert_eq!(bytes, format!("{number}").as_bytes());
    }
    assert_eq!(world.get_version(&reader, "/localhost/d/1", Some(1)).await.unwrap(), b"1");
}

#[tokio::test]
async fn a_single_object_can_be_handed_over_with_or_without_its_bytes() {
    let world = World::new().await;
    world.put("/localhost/o", b"one", private()).await;
    let (first, second) = (world.new_key(), world.new_key());
    let options = WriteOptions { replacement_key: Some(first.clone()), ..WriteOptions::default() };
    world.put("/localhost/o", b"two", options).await;
    assert!(world.get_as(&world.root(), "/localhost/o").await.is_err());
    assert_eq!(world.get_as(&key(&first), "/localhost/o").await.unwrap(), b"two");
    assert_eq!(world.get_version(&key(&first), "/localhost/o", Some(1)).await.unwrap(), b"one");
    world.hand_over(&key(&first), "/localhost/o", &second).await.unwrap();
    assert!(world.get_as(&key(&first), "/localhost/o").await.is_err());
    assert_eq!(world.get_as(&key(&second), "/localhost/o").await.unwrap(), b"two");
    assert_eq!(world.get_version(&key(&second), "/localhost/o", Some(1)).await.unwrap(), b"one");
    world.put_as(&key(&second), "/localhost/o", b"three", WriteOptions::default()).await.unwrap();
    assert_eq!(world.get_as(&key(&second), "/localhost/o").await.unwrap(), b"three");
}
