//! The change log: every change in order, to those who may know of it, at the moment when it is given out.

use crate::world::{World, at, key, private, public, token};
use jsfs_objects::{
    Credentials, Cursor, Delete, EventKind, Expected, Manage, News, Notice, Read, ReadError, Refusal,
    Settings, Watch, Watching, Write, token::Method,
};
use std::time::Duration;

async fn watch_as(world: &World, credentials: &Credentials, address: &str, since: Option<&str>) -> Watching {
    let grant = world.objects.authorize::<Watch>(credentials, &at(address)).await.unwrap();
    let since = since.map(|text| Cursor::parse(text).unwrap());
    world.objects.watch(grant, since).await.unwrap()
}

/// From the beginning of the log.
async fn watch_all(world: &World, credentials: &Credentials, address: &str) -> Watching {
    watch_as(world, credentials, address, Some("0")).await
}

/// Everything that there is to say now.
fn all(watching: &mut Watching) -> Vec<Notice> {
    let mut notices = Vec::new();
    while let Some(news) = watching.now().unwrap() {
        let News::Changes(changes) = news else { panic!("a reset: {news:?}") };
        notices.extend(changes);
    }
    notices
}

fn seen(watching: &mut Watching) -> Vec<(EventKind, String, Option<u64>)> {
    all(watching).into_iter().map(|n| (n.kind, n.address.to_string(), n.version)).collect()
}

fn event(kind: EventKind, address: &str, version: u64) -> (EventKind, String, Option<u64>) {
    (kind, address.to_owned(), Some(version))
}

#[tokio::test]
async fn every_change_has_its_place_in_the_log() {
    let world = World::new().await;
    world.put("/localhost/a", b"1", private()).await;
    world.put("/localhost/a", b"22", private()).await;
    world.put("/localhost/dir/b", b"3", public()).await;
    world.delete_as(&world.root(), "/localhost/a").await.unwrap();
    let mut watching = watch_all(&world, &world.root(), "/localhost/").await;
    let notices = all(&mut watching);
    let told: Vec<_> = notices.iter().map(|n| (n.kind, n.address.as_str(), n.version, n.private)).collect();
    assert_eq!(
        told,
        [
            (EventKind::Access, "/localhost/", None, None),
            (EventKind::Created, "/localhost/a", Some(1), Some(true)),
            (EventKind::Updated, "/localhost/a", Some(2), Some(true)),
            (EventKind::Created, "/localhost/dir/b", Some(1), Some(false)),
            (EventKind::Deleted, "/localhost/a", Some(3), None),
        ]
    );
    let sizes: Vec<_> = notices.iter().map(|n| n.properties.as_ref().map(|p| p.size)).collect();
    assert_eq!(sizes, [None, Some(1), Some(2), Some(1), None]);
    let middle = notices[2].cursor.to_string();
    let mut rest = watch_as(&world, &world.root(), "/localhost/", Some(&middle)).await;
    assert_eq!(all(&mut rest).len(), 2);
    assert_eq!(rest.cursor(), watching.cursor());
}

#[tokio::test]
async fn a_watch_covers_what_lies_below_its_address_and_nothing_beside_it() {
    let world = World::new().await;
    for address in ["/localhost/d/a", "/localhost/d/e/b", "/localhost/da", "/localhost/c"] {
        world.put(address, b"1", public()).await;
    }
    let stranger = Credentials::none();
    let names = |watching: &mut Watching| seen(watching).into_iter().map(|(_, at, _)| at).collect::<Vec<_>>();
    let mut directory = watch_all(&world, &stranger, "/localhost/d/").await;
    assert_eq!(names(&mut directory), ["/localhost/d/a", "/localhost/d/e/b"]);
    let mut object = watch_all(&world, &stranger, "/localhost/c").await;
    assert_eq!(names(&mut object), ["/localhost/c"]);
}

#[tokio::test]
async fn a_stranger_sees_events_of_public_objects_only() {
    let world = World::new().await;
    world.put("/localhost/w/shut", b"1", private()).await;
    world.put("/localhost/w/open", b"1", public()).await;
    world.delete_as(&world.root(), "/localhost/w/shut").await.unwrap();
    world.delete_as(&world.root(), "/localhost/w/open").await.unwrap();
    let mut watching = watch_all(&world, &Credentials::none(), "/localhost/w/").await;
    let expected = [
        event(EventKind::Created, "/localhost/w/open", 1),
        event(EventKind::Deleted, "/localhost/w/open", 2),
    ];
    assert_eq!(seen(&mut watching), expected);
}

#[tokio::test]
async fn an_object_that_becomes_private_is_deleted_to_a_stranger() {
    let world = World::new().await;
    world.put("/localhost/o", b"1", public()).await;
    let mut stranger = watch_as(&world, &Credentials::none(), "/localhost/", None).await;
    let mut owner = watch_as(&world, &world.root(), "/localhost/", None).await;
    world.put("/localhost/o", b"2", private()).await;
    world.put("/localhost/o", b"3", private()).await;
    assert_eq!(seen(&mut stranger), [(EventKind::Deleted, "/localhost/o".to_owned(), None)]);
    let expected =
        [event(EventKind::Updated, "/localhost/o", 2), event(EventKind::Updated, "/localhost/o", 3)];
    assert_eq!(seen(&mut owner), expected);
}

#[tokio::test]
async fn a_tree_that_moves_logs_each_object_at_both_ends() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        world.put(&format!("/localhost/t/{name}"), b"1", private()).await;
    }
    let root = world.root();
    let mut watching = watch_as(&world, &root, "/localhost/", None).await;
    let read = world.objects.authorize::<Read>(&root, &at("/localhost/t/")).await.unwrap();
    let delete = world.objects.authorize::<Delete>(&root, &at("/localhost/t/")).await.unwrap();
    let write = world.objects.authorize::<Write>(&root, &at("/localhost/u/")).await.unwrap();
    world.objects.relocate(read, delete, write, Expected::default()).await.unwrap();
    let notices = all(&mut watching);
    let count = |kind| notices.iter().filter(|notice| notice.kind == kind).count();
    assert_eq!((count(EventKind::Moved), count(EventKind::Deleted), notices.len()), (3, 3, 6));
    let moved: Vec<_> =
        notices.iter().filter_map(|notice| notice.from.as_ref().map(|f| f.as_str())).collect();
    assert_eq!(moved, ["/localhost/t/a", "/localhost/t/b", "/localhost/t/c"]);
}

#[tokio::test]
async fn where_a_private_object_came_from_is_told_to_nobody_else() {
    let world = World::new().await;
    let root = world.root();
    world.put("/localhost/secret/plan", b"1", private()).await;
    let mut stranger = watch_as(&world, &Credentials::none(), "/localhost/", None).await;
    let read = world.objects.authorize::<Read>(&root, &at("/localhost/secret/plan")).await.unwrap();
    let delete = world.objects.authorize::<Delete>(&root, &at("/localhost/secret/plan")).await.unwrap();
    let write = world.objects.authorize::<Write>(&root, &at("/localhost/open")).await.unwrap();
    world.objects.relocate(read, delete, write, Expected::default()).await.unwrap();
    let grant = world.objects.authorize::<Write>(&root, &at("/localhost/open")).await.unwrap();
    let change = jsfs_objects::PropertyChange { private: Some(false), ..Default::default() };
    world.objects.change(grant, change, None).await.unwrap();
    let notices = all(&mut stranger);
    assert_eq!(notices.len(), 1);
    assert!(notices.iter().all(|notice| notice.from.is_none()), "{notices:?}");
}

#[tokio::test]
async fn a_watcher_that_waits_is_woken_by_its_own_changes_only() {
    let world = World::new().await;
    let mut watching = watch_as(&world, &world.root(), "/localhost/d/", None).await;
    world.put("/localhost/elsewhere", b"1", private()).await;
    let early = tokio::time::timeout(Duration::from_millis(50), watching.next()).await;
    assert!(early.is_err(), "{early:?}");
    let objects = world.objects.clone();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { watching.next().await.map(|news| (news, objects)) });
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.put("/localhost/d/a", b"1", private()).await;
    let woken = tokio::time::timeout(Duration::from_secs(5), tasks.join_next()).await.expect("woken");
    let Some(Ok(Ok((News::Changes(changes), _)))) = woken else { panic!("no changes") };
    assert_eq!(changes[0].address, at("/localhost/d/a"));
}

#[tokio::test]
async fn no_change_is_missed_between_the_log_and_the_tail() {
    let world = World::new().await;
    let mut watching = watch_as(&world, &world.root(), "/localhost/", None).await;
    let objects = world.objects.clone();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < 6_000 {
            match watching.next().await.unwrap() {
                News::Changes(changes) => seen.extend(changes.into_iter().map(|n| (n.cursor, n.address))),
                News::Reset(_) => panic!("the log reaches back"),
            }
            // Slower than the writers, and further behind than the tail holds for a while.
            if seen.len() % 7 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        drop(objects);
        seen
    });
    for round in 0..6_u32 {
        let puts = (0..1_000).map(|number| {
            let address = format!("/localhost/{round}/{number}");
            let world = &world;
            async move { drop(world.put(&address, b"1", private()).await) }
        });
        futures_util::future::join_all(puts).await;
    }
    let seen = tasks.join_next().await.unwrap().unwrap();
    assert!(seen.is_sorted_by(|one, next| one.0 < next.0), "in the order of the log");
    let mut addresses: Vec<_> = seen.into_iter().map(|(_, address)| address).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 6_000);
}

#[tokio::test]
async fn a_cursor_that_the_log_does_not_reach_is_reset() {
    let world = World::with(Settings { events_days: 1, ..Settings::default() }).await;
    world.put("/localhost/a", b"1", private()).await;
    world.put("/localhost/b", b"1", private()).await;
    let mut before = watch_all(&world, &world.root(), "/localhost/").await;
    let old = all(&mut before)[0].cursor.to_string();
    world.clock.advance(3 * 86_400_000);
    world.put("/localhost/c", b"1", private()).await;
    world.objects.sweep().await.unwrap();
    let of_another_log =
        format!("{}00000000", &before.cursor().to_string()[..before.cursor().to_string().len() - 8]);
    for lost in [old.as_str(), "ffffffff-0-00000000", &of_another_log] {
        let mut watching = watch_as(&world, &world.root(), "/localhost/", Some(lost)).await;
        let Some(News::Reset(cursor)) = watching.now().unwrap() else { panic!("{lost} passes") };
        world.put("/localhost/d", b"1", private()).await;
        assert_eq!(seen(&mut watching).len(), 1);
        assert!(cursor > Cursor::parse(&old).unwrap());
    }
    let newest = before.cursor().to_string();
    assert!(Cursor::parse(&newest).is_some());
    for bad in ["", "1", "x-0-0", "1-2", "1--3", "-1", "1-+2-3", "1-2-3-4", "g-0-0", "1-2-100000000"] {
        assert_eq!(Cursor::parse(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn a_token_watches_its_own_directory_until_it_expires() {
    let world = World::new().await;
    let text = world.token_for(&world.root(), "/localhost/t/", &[Method::Watch]).await;
    let mut watching = watch_all(&world, &token(&text), "/localhost/t/").await;
    world.put("/localhost/t/a", b"1", private()).await;
    world.put("/localhost/u/b", b"1", private()).await;
    let notices = all(&mut watching);
    assert_eq!(notices.len(), 1);
    assert_eq!(
        notices[0].properties.as_ref().map(|p| p.size),
        Some(1),
        "its fourth part opens what it covers"
    );
    world.clock.advance(3_601_000);
    world.put("/localhost/t/c", b"1", private()).await;
    assert!(matches!(watching.now(), Err(ReadError::Refused(Refusal::Unauthenticated { .. }))));
}

#[tokio::test]
async fn a_revoked_token_and_a_replaced_key_end_their_watches_at_once() {
    let world = World::new().await;
    let text = world.token_for(&world.root(), "/localhost/t/", &[Method::Watch]).await;
    let mut by_token = watch_as(&world, &token(&text), "/localhost/t/", None).await;
    let mut by_key = watch_as(&world, &world.root(), "/localhost/t/", None).await;
    let mut stranger = watch_as(&world, &Credentials::none(), "/localhost/t/", None).await;
    world.put("/localhost/t/a", b"1", private()).await;
    let manage = world.objects.authorize::<Manage>(&world.root(), &at("/localhost/t/")).await.unwrap();
    let jti = jsfs_objects::token::Token::parse(&text).unwrap().jti().to_owned();
    world.objects.revoke(manage, &jti, None).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(1), by_token.next()).await.expect("at once");
    assert!(matches!(ended, Err(ReadError::Refused(Refusal::Unauthenticated { .. }))), "{ended:?}");
    assert_eq!(all(&mut by_key).len(), 1, "the owner's watch goes on");
    let other = world.new_key();
    world.hand_over(&world.root(), "/localhost/t/", &other).await.unwrap();
    world.put_as(&key(&other), "/localhost/t/b", b"1", private()).await.unwrap();
    assert!(matches!(by_key.now(), Err(ReadError::Refused(Refusal::Unauthenticated { .. }))));
    assert!(
        stranger.now().unwrap().is_none(),
        "whoever rested on nothing has lost nothing, and sees nothing"
    );
}

#[tokio::test]
async fn whoever_hands_a_directory_over_hears_of_it_and_of_nothing_after() {
    let world = World::new().await;
    world.put("/localhost/d/sub/a", b"1", private()).await;
    let mut before = watch_as(&world, &world.root(), "/localhost/d/", None).await;
    let other = world.new_key();
    world.hand_over(&world.root(), "/localhost/d/sub/", &other).await.unwrap();
    world.put_as(&key(&other), "/localhost/d/sub/b", b"2", private()).await.unwrap();
    assert_eq!(seen(&mut before), [(EventKind::Access, "/localhost/d/sub/".to_owned(), None)]);
}
