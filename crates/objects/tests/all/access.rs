//! Who may, and what nobody else can tell.

use crate::world::{World, at, key, private, public, token};
use jsfs_objects::{
    Credentials, Delete, Manage, PolicyChange, PropertyChange, Read, ReadError, Refusal, Write, WriteError,
    WriteOptions, record::Create, token::Method,
};

#[tokio::test]
async fn without_a_credential_nothing_can_be_written_anywhere() {
    let world = World::new().await;
    for address in ["/localhost/new", "/com.unknown/x", "/localhost/a/b/c"] {
        let refused = world.put_as(&Credentials::none(), address, b"x", public()).await;
        assert!(matches!(refused, Err(WriteError::Refused(Refusal::Unauthenticated { .. }))), "{address}");
    }
}

#[tokio::test]
async fn absent_and_private_look_the_same_to_whoever_may_not_read() {
    let world = World::new().await;
    world.put("/localhost/secret", b"s", private()).await;
    let other = world.new_key();
    let elsewhere = world.token_for(&world.root(), "/localhost/elsewhere", &[Method::Get]).await;
    for credentials in
        [Credentials::none(), key(&other), key("typed by a person"), token(&elsewhere), token("x.y.z")]
    {
        let mut answers = Vec::new();
        for address in ["/localhost/secret", "/localhost/absent", "/com.unknown/absent"] {
            let read =
                world.objects.authorize::<Read>(&credentials, &at(address)).await.map(|_| ()).unwrap_err();
            let write =
                world.objects.authorize::<Write>(&credentials, &at(address)).await.map(|_| ()).unwrap_err();
            let delete =
                world.objects.authorize::<Delete>(&credentials, &at(address)).await.map(|_| ()).unwrap_err();
            answers.push([read, write, delete].map(|refusal| format!("{refusal:?}")));
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0], answers[2]);
        assert!(answers[0][0].starts_with("Hidden"));
        assert!(answers[0][1].starts_with("Unauthenticated"));
    }
}

#[tokio::test]
async fn a_token_opens_what_it_names_and_nothing_else() {
    let world = World::new().await;
    for name in ["a", "b", "dir/c", "dir/sub/d"] {
        world.put(&format!("/localhost/{name}"), name.as_bytes(), private()).await;
    }
    let one = token(&world.token_for(&world.root(), "/localhost/a", &[Method::Get]).await);
    assert_eq!(world.get_as(&one, "/localhost/a").await.unwrap(), b"a");
    let below = token(&world.token_for(&world.root(), "/localhost/dir/", &[Method::Get, Method::List]).await);
    assert_eq!(world.get_as(&below, "/localhost/dir/sub/d").await.unwrap(), b"dir/sub/d");
    assert_eq!(world.names(&below, "/localhost/dir/", true).await, ["c", "sub/d"]);
    for (credentials, address) in
        [(&one, "/localhost/b"), (&one, "/localhost/dir/c"), (&below, "/localhost/a")]
    {
        assert!(matches!(
            world.get_as(credentials, address).await,
            Err(ReadError::Refused(Refusal::Hidden { .. }))
        ));
    }
    let write = world.objects.authorize::<Write>(&one, &at("/localhost/a")).await;
    assert!(matches!(write, Err(Refusal::Forbidden { needs: "PUT" })));
    let manage = world.objects.authorize::<Manage>(&one, &at("/localhost/a")).await;
    assert!(matches!(manage, Err(Refusal::Forbidden { .. })));
}

#[tokio::test]
async fn a_token_writes_what_its_owner_reads() {
    let world = World::new().await;
    let writer = token(&world.token_for(&world.root(), "/localhost/in/", &[Method::Put]).await);
    world.put_as(&writer, "/localhost/in/new", b"first", WriteOptions::default()).await.unwrap();
    assert_eq!(world.get("/localhost/in/new").await, b"first");
    world.put("/localhost/in/new", b"second", WriteOptions::default()).await;
    world.put_as(&writer, "/localhost/in/new", b"third", WriteOptions::default()).await.unwrap();
    assert_eq!(world.get("/localhost/in/new").await, b"third");
    assert!(world.delete_as(&writer, "/localhost/in/new").await.is_err());
}

#[tokio::test]
async fn a_revoked_or_expired_token_opens_nothing() {
    let world = World::new().await;
    world.put("/localhost/dir/a", b"a", private()).await;
    let text = world.token_for(&world.root(), "/localhost/dir/", &[Method::Get]).await;
    let other = world.token_for(&world.root(), "/localhost/dir/", &[Method::Get]).await;
    let jti = jsfs_objects::token::Token::parse(&text).unwrap().jti().to_owned();
    let manage = world.objects.authorize::<Manage>(&world.root(), &at("/localhost/dir/")).await.unwrap();
    world.objects.revoke(manage, &jti, None).await.unwrap();
    assert!(world.get_as(&token(&text), "/localhost/dir/a").await.is_err());
    assert_eq!(world.get_as(&token(&other), "/localhost/dir/a").await.unwrap(), b"a");
    world.clock.advance(3_601_000);
    assert!(world.get_as(&token(&other), "/localhost/dir/a").await.is_err());
}

#[tokio::test]
async fn a_directorys_policy_decides_what_new_objects_are() {
    let world = World::new().await;
    assert!(world.put("/localhost/p/a", b"a", WriteOptions::default()).await.metadata.private);
    let manage = world.objects.authorize::<Manage>(&world.root(), &at("/localhost/p/")).await.unwrap();
    let change = PolicyChange { private: Some(Some(false)), ..PolicyChange::default() };
    world.objects.set_policy(manage, change).await.unwrap();
    assert!(!world.put("/localhost/p/deep/b", b"b", WriteOptions::default()).await.metadata.private);
    assert!(
        world.put("/localhost/p/a", b"a2", WriteOptions::default()).await.metadata.private,
        "what is stays"
    );
    assert_eq!(world.get_as(&Credentials::none(), "/localhost/p/deep/b").await.unwrap(), b"b");
}

#[tokio::test]
async fn anyone_can_leave_something_in_a_drop_box_and_only_the_sender_can_change_it() {
    let world = World::new().await;
    let manage = world.objects.authorize::<Manage>(&world.root(), &at("/localhost/box/")).await.unwrap();
    let change = PolicyChange { create: Some(Some(Create::Anyone)), ..PolicyChange::default() };
    world.objects.set_policy(manage, change).await.unwrap();
    let sender = world.new_key();
    world.put_as(&key(&sender), "/localhost/box/letter", b"dear", private()).await.unwrap();
    assert_eq!(world.get_as(&key(&sender), "/localhost/box/letter").await.unwrap(), b"dear");
    let nameless =
        world.put_as(&Credentials::none(), "/localhost/box/note", b"hey", private()).await.unwrap();
    let made = nameless.new_key.expect("a key of its own");
    assert_eq!(world.get_as(&key(&made), "/localhost/box/note").await.unwrap(), b"hey");
    let stranger = key(&world.new_key());
    assert!(world.get_as(&stranger, "/localhost/box/letter").await.is_err());
    assert!(world.put_as(&stranger, "/localhost/box/letter", b"mine", private()).await.is_err());
    assert!(world.put_as(&Credentials::none(), "/localhost/box/letter", b"mine", private()).await.is_err());
    assert!(world.delete_as(&stranger, "/localhost/box/letter").await.is_err());
    world.delete_as(&key(&sender), "/localhost/box/letter").await.unwrap();
    assert!(
        world.put_as(&stranger, "/localhost/box/letter", b"mine", private()).await.is_err(),
        "a deleted letter's address stays its sender's"
    );
}

#[tokio::test]
async fn a_key_that_a_person_chose_works_in_its_namespace_only() {
    let world = World::new().await;
    world.namespace("com.one", Some("correct horse")).await;
    world.namespace("com.two", Some("correct horse")).await;
    let typed = key("correct horse");
    world.put_as(&typed, "/com.one/a", b"a", private()).await.unwrap();
    assert_eq!(world.get_as(&typed, "/com.one/a").await.unwrap(), b"a");
    let root = world.objects.authorize_root(&world.root()).await.unwrap();
    let namespaces = world.objects.namespaces(&root).await.unwrap();
    assert_ne!(namespaces[0].owner, namespaces[1].owner);
    assert!(
        world.get_as(&world.root(), "/com.one/a").await.is_err(),
        "the root key grants, it does not read"
    );
}

#[tokio::test]
async fn what_is_private_is_shown_to_everybody_by_who_may_read_it_and_nobody_else() {
    let world = World::new().await;
    world
        .put(
            "/localhost/s/a",
            b"secret",
            WriteOptions { content_type: Some("text/x-secret".into()), ..private() },
        )
        .await;
    world.put("/localhost/s/a", b"secret 2", private()).await;
    let holder =
        async |methods: &[Method]| token(&world.token_for(&world.root(), "/localhost/s/", methods).await);
    let publish = async |credentials: &Credentials| {
        let grant = world.objects.authorize::<Write>(credentials, &at("/localhost/s/a")).await.unwrap();
        let change = PropertyChange { private: Some(false), ..PropertyChange::default() };
        world.objects.change(grant, change, None).await
    };
    let writer = holder(&[Method::Put]).await;
    let refused = publish(&writer).await.unwrap_err();
    assert!(matches!(refused, WriteError::Refused(Refusal::Forbidden { .. })), "{refused}");
    assert!(world.get_as(&Credentials::none(), "/localhost/s/a").await.is_err());
    // Neither restoring an old version nor adding to the newest one is a way round it.
    assert!(world.objects.authorize::<Read>(&writer, &at("/localhost/s/a")).await.is_err());
    let append = WriteOptions { append: true, ..public() };
    assert!(world.put_as(&writer, "/localhost/s/a", b"!", append).await.is_err());
    assert!(world.get_as(&Credentials::none(), "/localhost/s/a").await.is_err());
    // The writer's own bytes are the writer's to show; what was there before says nothing through them.
    let written = world.put_as(&writer, "/localhost/s/a", b"own", public()).await.unwrap();
    assert!(!written.metadata.private && written.metadata.content_type != "text/x-secret");
    assert!(world.get_version(&Credentials::none(), "/localhost/s/a", Some(2)).await.is_err());
    world.put("/localhost/s/a", b"secret 3", private()).await;
    publish(&holder(&[Method::Get, Method::Put]).await).await.unwrap();
    assert_eq!(world.get_as(&Credentials::none(), "/localhost/s/a").await.unwrap(), b"secret 3");
    world.put("/localhost/s/a", b"secret 4", private()).await;
    publish(&world.root()).await.unwrap();
}
