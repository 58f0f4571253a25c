//! Uploads that come in several requests: what came is kept, what is made of it is what a single request makes, and nothing else remains.

use crate::world::{START_MS, World, at, key, noise, private, public};
use bytes::Bytes;
use jsfs_objects::{
    Credentials, Grant, Manage, PolicyChange, Resumed, UNFINISHED_MAX, Unfinished, UploadId, Write,
    WriteError, WriteOptions, Written, record::Create, token::Method,
};
use jsfs_store::Table;
use std::sync::Arc;

const HOUR_MS: u64 = 3_600_000;

/// Tables of the store, as `docs/storage.md` numbers them.
const USAGE: u8 = 5;
const LIVE: u8 = 6;
const UPLOAD: u8 = 9;
const UNFINISHED: u8 = 10;

impl World {
    async fn begin(&self, address: &str, options: WriteOptions, length: Option<u64>) -> Unfinished {
        self.begin_as(&self.root(), address, options, length).await.unwrap()
    }

    async fn begin_as(
        &self,
        credentials: &Credentials,
        address: &str,
        options: WriteOptions,
        length: Option<u64>,
    ) -> Result<Unfinished, WriteError> {
        let grant = self.objects.authorize::<Write>(credentials, &at(address)).await?;
        self.objects.begin_unfinished(grant, options, "as asked".into(), length).await
    }

    async fn grant_for(&self, id: &UploadId) -> Result<Grant<Write>, WriteError> {
        self.objects.authorize_upload(&self.root(), id).await
    }

    async fn resume(&self, id: &UploadId) -> Result<Resumed, WriteError> {
        self.objects.resume(&self.grant_for(id).await?, id).await
    }

    async fn stands(&self, id: &UploadId) -> Result<Unfinished, WriteError> {
        self.objects.unfinished(&self.grant_for(id).await?, id).await
    }

    /// One request that sends these bytes and is cut off.
    async fn send(&self, id: &UploadId, bytes: &[u8]) -> Unfinished {
        let mut resumed = self.resume(id).await.unwrap();
        write(&mut resumed, bytes).await;
        resumed.keep().await.unwrap()
    }

    /// One request that sends the last bytes.
    async fn send_last(&self, id: &UploadId, bytes: &[u8]) -> Result<Written, WriteError> {
        let mut resumed = self.resume(id).await?;
        write(&mut resumed, bytes).await;
        assert!(resumed.is_whole());
        resumed.finish().await
    }

    fn counter(&self, table: u8, key: &str) -> u64 {
        let entry = self.store.get(Table(table), key.as_bytes()).unwrap();
        entry.map_or(0, |entry| u64::from_le_bytes(entry.value[..].try_into().unwrap()))
    }

    /// Unfinished uploads, bytes kept, bytes of newest versions: of namespace `localhost`.
    fn counted(&self) -> [u64; 3] {
        [UNFINISHED, USAGE, LIVE].map(|table| self.counter(table, "/localhost/"))
    }

    fn live_bytes(&self) -> u64 {
        self.store.weigh(&jsfs_store::Unobserved).unwrap().stored
    }

    async fn quota(&self, bytes: u64) {
        let manage = self.objects.authorize::<Manage>(&self.root(), &at("/localhost/q/")).await.unwrap();
        let change = PolicyChange { quota: Some(Some(bytes)), ..PolicyChange::default() };
        self.objects.set_policy(manage, change).await.unwrap();
    }
}

async fn write(resumed: &mut Resumed, bytes: &[u8]) {
    for piece in bytes.chunks(100_000) {
        resumed.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
}

#[tokio::test]
async fn an_object_in_pieces_is_the_object_in_one_and_costs_no_block_more() {
    for options in [private(), public()] {
        let world = World::new().await;
        let bytes = noise(1, 9_000_000);
        let whole = world.put("/localhost/whole", &bytes, options.clone()).await;
        let before = world.live_bytes();
        world.put("/localhost/again", &bytes, options.clone()).await;
        let once_more = world.live_bytes() - before;
        let before = world.live_bytes();
        let id = world.begin("/localhost/pieces", options, Some(bytes.len() as u64)).await.id;
        // Past five million there are pages of the manifest, of which the last is replaced by each piece, and by an empty one too.
        let cuts = [
            0, 1, 70_000, 70_001, 4_000_000, 4_000_000, 6_000_000, 7_000_000, 8_000_000, 8_000_000, 8_999_999,
        ];
        for cut in cuts.windows(2) {
            let stands = world.send(&id, &bytes[cut[0]..cut[1]]).await;
            assert_eq!((stands.offset, stands.length), (cut[1] as u64, Some(9_000_000)));
            world.collect().await;
        }
        let written = world.send_last(&id, &bytes[8_999_999..]).await.unwrap();
        assert!(written.created);
        assert_eq!(written.metadata.sha256, whole.metadata.sha256);
        assert_eq!(written.metadata.etag, whole.metadata.etag);
        assert!(world.get("/localhost/pieces").await == bytes);
        let grown = world.live_bytes() - before;
        assert!(
            grown < once_more + 2_000,
            "{grown} bytes more are kept, and {once_more} for one that came in one"
        );
        world.collect().await;
        assert!(world.get("/localhost/pieces").await == bytes, "after collection");
        let stands = world.stands(&id).await.unwrap();
        assert_eq!((stands.offset, stands.version), (9_000_000, Some(1)));
    }
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_restart_and_after_collection() {
    let world = World::new().await;
    // More blocks than one record names, so that list blocks are made and taken up.
    let bytes = noise(2, 150_000_000);
    let id = world.begin("/localhost/long", private(), Some(bytes.len() as u64)).await.id;
    let mut resumed = world.resume(&id).await.unwrap();
    write(&mut resumed, &bytes[..100_000_000]).await;
    drop(resumed);
    let world = world.restarted().await;
    let offset = world.stands(&id).await.unwrap().offset;
    assert!((84_000_000..100_000_000).contains(&offset), "{offset}: a crash costs at most 16 MiB");
    world.send(&id, &bytes[usize::try_from(offset).unwrap()..120_000_000]).await;
    world.collect().await;
    let world = world.restarted().await;
    world.send_last(&id, &bytes[120_000_000..]).await.unwrap();
    assert!(world.get("/localhost/long").await == bytes);
    world.collect().await;
    assert!(world.get("/localhost/long").await == bytes, "after collection");
    assert_eq!(world.counted(), [0, 150_000_000, 150_000_000]);
    let disk = Arc::clone(&world.disk);
    world.objects.close().await;
    drop(world.objects);
    world.store.close().unwrap();
    let report = jsfs_store::check(&jsfs_store::OpenOptions::new(vec![disk])).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[tokio::test]
async fn of_two_requests_at_once_the_newer_goes_on_and_the_older_keeps_what_it_has() {
    let world = World::new().await;
    let bytes = noise(3, 1_000_000);
    let id = world.begin("/localhost/two", private(), Some(1_000_000)).await.id;
    let mut first = world.resume(&id).await.unwrap();
    write(&mut first, &bytes[..300_000]).await;
    let mut older = tokio::task::JoinSet::new();
    older.spawn(async move {
        first.interrupted().await;
        first.keep().await
    });
    let mut second = world.resume(&id).await.unwrap();
    assert_eq!(older.join_next().await.unwrap().unwrap().unwrap().offset, 300_000);
    assert_eq!(second.offset(), 300_000, "the newer one sees what the older one kept");
    write(&mut second, &bytes[300_000..]).await;
    second.finish().await.unwrap();
    assert!(world.get("/localhost/two").await == bytes);
    assert!(matches!(world.resume(&id).await.err(), Some(WriteError::Offset { offset: 1_000_000 })));
}

#[tokio::test]
async fn a_line_that_changed_meanwhile_is_never_written_over() {
    let world = World::new().await;
    let id = world.begin("/localhost/race", private(), Some(10)).await.id;
    let mut resumed = world.resume(&id).await.unwrap();
    write(&mut resumed, b"12345").await;
    // As another process on the same store would: past the turns, straight into the table.
    let entry = world.store.get(Table(UPLOAD), &id_bytes(&id)).unwrap().unwrap();
    let op = jsfs_store::Op::Put {
        table: Table(UPLOAD),
        key: id_bytes(&id),
        value: entry.value,
        references: entry.references,
    };
    world.store.commit(jsfs_store::Commit { ops: vec![op], ..Default::default() }).await.unwrap();
    assert!(matches!(resumed.keep().await, Err(WriteError::Offset { offset: 0 })));
    assert_eq!(world.counted(), [1, 0, 0]);
}

fn id_bytes(id: &UploadId) -> Vec<u8> {
    u128::from_str_radix(&id.to_string(), 16).unwrap().to_be_bytes().to_vec()
}

#[tokio::test]
async fn whoever_may_not_write_at_the_address_finds_no_upload() {
    let world = World::new().await;
    let id = world.begin("/localhost/mine/a", private(), Some(10)).await.id;
    let owner = world.new_key();
    world.namespace("com.other", Some(&owner)).await;
    let reader = world.token_for(&world.root(), "/localhost/mine/", &[Method::Get, Method::List]).await;
    let beside = world.token_for(&world.root(), "/localhost/else/", &[Method::Put]).await;
    let writer = world.token_for(&world.root(), "/localhost/mine/", &[Method::Put]).await;
    for stranger in
        [Credentials::none(), key(&owner), crate::world::token(&reader), crate::world::token(&beside)]
    {
        let refused = world.objects.authorize_upload(&stranger, &id).await.err();
        assert!(matches!(refused, Some(WriteError::NoUpload)), "{refused:?}");
    }
    let writer = crate::world::token(&writer);
    let grant = world.objects.authorize_upload(&writer, &id).await.unwrap();
    let mut resumed = world.objects.resume(&grant, &id).await.unwrap();
    write(&mut resumed, b"0123456789").await;
    resumed.finish().await.unwrap();
    assert_eq!(world.get("/localhost/mine/a").await, b"0123456789");
    let elsewhere = world.objects.authorize::<Write>(&world.root(), &at("/localhost/b")).await.unwrap();
    assert!(matches!(world.objects.resume(&elsewhere, &id).await.err(), Some(WriteError::NoUpload)));
    assert!(UploadId::parse(&id.to_string()) == Some(id));
    for wrong in ["", "0", "+0000000000000000000000000000000", "ABCDEF00000000000000000000000000"] {
        assert_eq!(UploadId::parse(wrong), None, "{wrong:?}");
    }
}

#[tokio::test]
async fn another_owner_of_the_place_makes_the_upload_void() {
    let world = World::new().await;
    let id = world.begin("/localhost/given/a", private(), Some(10)).await.id;
    world.send(&id, b"01234").await;
    let heir = world.new_key();
    world.hand_over(&world.root(), "/localhost/given/", &heir).await.unwrap();
    assert!(matches!(world.stands(&id).await, Err(WriteError::NoUpload)));
    let grant = world.objects.authorize_upload(&key(&heir), &id).await.unwrap();
    assert!(matches!(world.objects.resume(&grant, &id).await.err(), Some(WriteError::NoUpload)));
    world.clock.advance(25 * HOUR_MS);
    assert_eq!(world.objects.sweep().await.unwrap().uploads, 1);
    assert_eq!(world.counted(), [0, 0, 0]);
}

#[tokio::test]
async fn what_expired_or_was_given_up_leaves_nothing() {
    let world = World::new().await;
    let before = world.live_bytes();
    let expiring = world.begin("/localhost/e", private(), Some(2_000_000)).await;
    assert_eq!(expiring.expires_ms, START_MS + 24 * HOUR_MS);
    world.clock.advance(20 * HOUR_MS);
    let stands = world.send(&expiring.id, &noise(4, 1_000_000)).await;
    assert_eq!(stands.expires_ms, START_MS + 44 * HOUR_MS, "every byte puts the end off");
    assert_eq!(world.counted(), [1, 1_000_000, 1_000_000]);
    world.clock.advance(23 * HOUR_MS);
    assert_eq!(world.objects.sweep().await.unwrap().uploads, 0);
    assert_eq!(world.stands(&expiring.id).await.unwrap().offset, 1_000_000);
    world.clock.advance(HOUR_MS);
    assert!(matches!(world.stands(&expiring.id).await, Err(WriteError::NoUpload)), "expired, not swept yet");
    assert_eq!(world.objects.sweep().await.unwrap().uploads, 1);

    let given_up = world.begin("/localhost/g", private(), None).await.id;
    world.send(&given_up, &noise(5, 500_000)).await;
    let grant = world.grant_for(&given_up).await.unwrap();
    world.objects.abandon(&grant, &given_up).await.unwrap();
    assert!(matches!(world.stands(&given_up).await, Err(WriteError::NoUpload)));
    assert_eq!(world.counted(), [0, 0, 0]);
    assert!(world.live_bytes() < before + 2_000, "{} {before}", world.live_bytes());
    assert!(world.get_as(&world.root(), "/localhost/e").await.is_err());

    let finished = world.begin("/localhost/f", private(), Some(3)).await.id;
    world.send_last(&finished, b"abc").await.unwrap();
    world.clock.advance(25 * HOUR_MS);
    assert_eq!(world.objects.sweep().await.unwrap().uploads, 0, "a finished one is none that was given up");
    assert!(world.store.get(Table(UPLOAD), &id_bytes(&finished)).unwrap().is_none());
    assert_eq!(world.get("/localhost/f").await, b"abc");
}

#[tokio::test]
async fn bytes_count_toward_the_quota_as_they_come_and_once() {
    let world = World::new().await;
    let early = world.begin("/localhost/q/early", private(), Some(60_000)).await.id;
    world.send(&early, &noise(6, 40_000)).await;
    world.quota(100_000).await;
    assert_eq!(world.counter(USAGE, "/localhost/q/"), 40_000, "what came before the quota counts");
    let too_long = world.begin_as(&world.root(), "/localhost/q/b", private(), Some(70_000)).await;
    assert!(
        matches!(too_long, Err(WriteError::Quota { limit: 100_000, .. })),
        "refused before a byte is sent"
    );
    let open = world.begin("/localhost/q/open", private(), None).await.id;
    let mut resumed = world.resume(&open).await.unwrap();
    write(&mut resumed, &noise(7, 70_000)).await;
    assert!(matches!(resumed.keep().await, Err(WriteError::Quota { .. })));
    assert_eq!(world.stands(&open).await.unwrap().offset, 0);
    world.send_last(&early, &noise(8, 20_000)).await.unwrap();
    assert_eq!(world.counter(USAGE, "/localhost/q/"), 60_000);
    assert_eq!(world.counted(), [1, 60_000, 60_000]);
}

#[tokio::test]
async fn a_large_upload_under_way_pushes_no_old_version_out() {
    let settings = jsfs_objects::Settings { versions_bytes_min: 0, ..jsfs_objects::Settings::default() };
    let world = World::with(settings).await;
    for seed in 0..2 {
        world.put("/localhost/kept", &noise(seed, 100_000), private()).await;
    }
    let id = world.begin("/localhost/large", private(), None).await.id;
    world.send(&id, &noise(9, 3_000_000)).await;
    world.objects.sweep().await.unwrap();
    assert!(world.get_version(&world.root(), "/localhost/kept", Some(1)).await.is_ok());
}

#[tokio::test]
async fn conditions_are_tried_at_the_beginning_and_again_at_the_end() {
    let world = World::new().await;
    world.put("/localhost/there", b"x", private()).await;
    let absent = || -> Option<jsfs_objects::Precondition> { Some(Arc::new(|current| current.is_none())) };
    let options = || WriteOptions { precondition: absent(), ..private() };
    let refused = world.begin_as(&world.root(), "/localhost/there", options(), Some(3)).await;
    assert!(matches!(refused, Err(WriteError::Precondition { .. })));
    let id = world.begin("/localhost/new", options(), Some(3)).await.id;
    world.put("/localhost/new", b"quicker", private()).await;
    let mut resumed = world.resume(&id).await.unwrap();
    assert_eq!(resumed.conditions(), "as asked");
    resumed.require(absent());
    write(&mut resumed, b"abc").await;
    assert!(matches!(resumed.finish().await, Err(WriteError::Precondition { .. })));
    assert_eq!(world.get("/localhost/new").await, b"quicker");
    assert_eq!(
        world.stands(&id).await.unwrap().offset,
        0,
        "a failed end never says that all bytes are there"
    );
}

#[tokio::test]
async fn what_was_asked_for_first_holds_at_the_end() {
    let world = World::new().await;
    let options = WriteOptions { content_type: Some("text/x-note".into()), ..public() };
    let id = world.begin("/localhost/note", options, None).await.id;
    world.send(&id, b"one ").await;
    let mut resumed = world.resume(&id).await.unwrap();
    assert!(resumed.set_length(3).is_err(), "shorter than what is there");
    resumed.set_length(7).unwrap();
    assert!(resumed.set_length(8).is_err());
    assert!(matches!(resumed.write(Bytes::from_static(b"four")).await, Err(WriteError::TooLarge { .. })));
    write(&mut resumed, b"two").await;
    let written = resumed.finish().await.unwrap();
    assert_eq!((written.metadata.content_type.as_str(), written.metadata.private), ("text/x-note", false));
    assert_eq!(world.get_as(&Credentials::none(), "/localhost/note").await.unwrap(), b"one two");

    let append = WriteOptions { append: true, ..WriteOptions::default() };
    let id = world.begin("/localhost/note", append, Some(6)).await.id;
    world.send(&id, b", so").await;
    assert_eq!(world.send_last(&id, b"on").await.err().map(|e| e.to_string()), None);
    assert_eq!(world.get("/localhost/note").await, b"one two, soon");
}

#[tokio::test]
async fn what_needs_a_key_that_nobody_has_yet_is_refused() {
    let world = World::new().await;
    let handed = WriteOptions { replacement_key: Some(world.new_key()), ..WriteOptions::default() };
    let refused = world.begin_as(&world.root(), "/localhost/h", handed, Some(3)).await;
    assert!(matches!(refused, Err(WriteError::Invalid { .. })));
    let manage = world.objects.authorize::<Manage>(&world.root(), &at("/localhost/box/")).await.unwrap();
    let change = PolicyChange { create: Some(Some(Create::Anyone)), ..PolicyChange::default() };
    world.objects.set_policy(manage, change).await.unwrap();
    let refused = world.begin_as(&Credentials::none(), "/localhost/box/a", private(), Some(3)).await;
    assert!(matches!(refused, Err(WriteError::Invalid { .. })));
}

#[tokio::test]
async fn a_namespace_has_so_many_unfinished_uploads_and_no_more() {
    let world = World::new().await;
    world.namespace("com.other", None).await;
    let mut last = None;
    for _ in 0..UNFINISHED_MAX {
        last = Some(world.begin("/localhost/many", private(), Some(1)).await.id);
    }
    let refused = world.begin_as(&world.root(), "/localhost/many", private(), Some(1)).await;
    assert!(matches!(refused, Err(WriteError::TooManyUploads { limit: UNFINISHED_MAX })));
    world.begin("/com.other/a", private(), Some(1)).await;
    world.send_last(&last.unwrap(), b"x").await.unwrap();
    world.begin("/localhost/many", private(), Some(1)).await;
    world.clock.advance(25 * HOUR_MS);
    assert_eq!(world.objects.sweep().await.unwrap().uploads, UNFINISHED_MAX + 1);
    assert_eq!(world.counted(), [0, 1, 1]);
}

#[tokio::test]
async fn a_crash_before_the_end_never_leaves_an_upload_that_says_it_has_all() {
    let world = World::new().await;
    // The last byte falls together with a line that would be due.
    let bytes = noise(10, 16 << 20);
    let id = world.begin("/localhost/exact", private(), Some(16 << 20)).await.id;
    let mut resumed = world.resume(&id).await.unwrap();
    write(&mut resumed, &bytes).await;
    assert!(resumed.is_whole());
    assert_eq!(resumed.keep().await.unwrap().offset, 0);
    assert_eq!(world.stands(&id).await.unwrap().offset, 0);
    world.send_last(&id, &bytes).await.unwrap();
    assert!(world.get("/localhost/exact").await == bytes);
}
