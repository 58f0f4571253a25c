//! A store over a bucket: what moves, what is read back, and what a failing, slow, foreign or emptied place does to it.

use crate::support::{MIB, T, has_all, put, run, sample, wait_until};
use async_trait::async_trait;
use futures_util::{StreamExt, stream::BoxStream};
use jsfs_bucket::{Bucket, BucketError, Options, PATIENCE, Place};
use jsfs_store::{
    Commit, Compaction, MoveError, Op, OpenOptions, Store,
    backend::{Backend, Directory, LockGuard, PackFile, Space},
    check,
};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, memory::InMemory, path::Path,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

/// A bucket in memory that fails from some request on, and counts them.
#[derive(Clone, Debug)]
pub(crate) struct Flaky {
    inner: Arc<InMemory>,
    /// How many requests are answered yet; negative: all.
    left: Arc<AtomicI64>,
    reads: Arc<AtomicU64>,
    /// The next object that is put arrives, its answer does not, and the client tries again.
    loses: Arc<AtomicBool>,
}

impl Flaky {
    pub(crate) fn new() -> Self {
        let (left, reads) = (Arc::new(AtomicI64::new(-1)), Arc::default());
        Flaky { inner: Arc::new(InMemory::new()), left, reads, loses: Arc::default() }
    }

    pub(crate) fn lose_an_answer(&self) {
        self.loses.store(true, Ordering::SeqCst);
    }

    fn fail_after(&self, requests: i64) {
        self.left.store(requests, Ordering::SeqCst);
    }

    fn mend(&self) {
        self.left.store(-1, Ordering::SeqCst);
    }

    fn ask(&self) -> Result<()> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            Some(if left > 0 { left - 1 } else { left })
        });
        match left {
            Ok(0) => Err(object_store::Error::Generic { store: "flaky", source: "503 slow down".into() }),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for Flaky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("flaky")
    }
}

#[derive(Debug)]
struct FlakyUpload(Flaky, Box<dyn MultipartUpload>);

#[async_trait]
impl MultipartUpload for FlakyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match self.0.ask() {
            Ok(()) => self.1.put_part(data),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.0.ask()?;
        self.1.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.1.abort().await
    }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.ask()?;
        if self.loses.swap(false, Ordering::SeqCst) {
            self.inner.put_opts(location, payload.clone(), options.clone()).await?;
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.ask()?;
        Ok(Box::new(FlakyUpload(self.clone(), self.inner.put_multipart_opts(location, options).await?)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.ask()?;
        if !options.head {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.ask() {
            Ok(()) => self.inner.delete_stream(locations),
            Err(error) => futures_util::stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.ask() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures_util::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.ask()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.ask()?;
        self.inner.copy_opts(from, to, options).await
    }
}

/// The store closes the location when it lets go of it; the test wants to look at it meanwhile.
#[derive(Debug)]
struct Shown(Arc<Bucket>);

impl Backend for Shown {
    fn describe(&self) -> String {
        self.0.describe()
    }
    fn lock(&self) -> io::Result<LockGuard> {
        self.0.lock()
    }
    fn read_file(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.0.read_file(name)
    }
    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.write_file(name, bytes)
    }
    fn keep_cut(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.keep_cut(name, bytes)
    }
    fn packs(&self) -> io::Result<Vec<u64>> {
        self.0.packs()
    }
    fn create_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        self.0.create_pack(number)
    }
    fn open_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        self.0.open_pack(number)
    }
    fn remove_pack(&self, number: u64) -> io::Result<()> {
        self.0.remove_pack(number)
    }
    fn sync_packs(&self) -> io::Result<()> {
        self.0.sync_packs()
    }
    fn space(&self) -> io::Result<Space> {
        self.0.space()
    }
    fn is_fixed(&self) -> bool {
        self.0.is_fixed()
    }
    fn trouble(&self) -> Option<String> {
        self.0.trouble()
    }
}

struct Stage {
    folder: tempfile::TempDir,
    remote: Flaky,
}

impl Stage {
    fn new() -> Stage {
        Stage { folder: tempfile::tempdir().unwrap(), remote: Flaky::new() }
    }

    fn options(&self, cache: u64) -> Options {
        let place = Place::parse("s3://packs/node/1").unwrap();
        let (directory, region) = (self.folder.path().join("data"), "x".to_owned());
        Options {
            directory,
            place,
            endpoint: None,
            region,
            keys: None,
            cache,
            patience: PATIENCE,
            takes_up: false,
        }
    }

    fn bucket(&self, cache: u64) -> std::result::Result<Arc<Bucket>, BucketError> {
        Bucket::open_in(&self.options(cache), Arc::new(self.remote.clone())).map(Arc::new)
    }

    fn open_options(&self, bucket: &Arc<Bucket>) -> OpenOptions {
        let compaction = Compaction { dead_share: 0.5, bytes_per_second: 0, every: None };
        OpenOptions::new(vec![Arc::new(Shown(Arc::clone(bucket)))])
            .index(self.folder.path().join("index"))
            .pack_max(MIB)
            .floor(0)
            .compaction(compaction)
    }

    fn open(&self, cache: u64) -> (Arc<Bucket>, Store) {
        let bucket = self.bucket(cache).unwrap();
        let store = Store::open(self.open_options(&bucket)).unwrap();
        (bucket, store)
    }

    fn here(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("data/packs")).unwrap().count()
    }

    fn there(&self) -> Vec<String> {
        let listed: Vec<_> = run(self.remote.inner.list(None).collect::<Vec<_>>());
        let mut names: Vec<String> =
            listed.into_iter().map(|meta| meta.unwrap().location.to_string()).collect();
        names.sort();
        names
    }
}

fn moved(bucket: &Bucket) {
    wait_until("all full packs are in the bucket", || bucket.waiting() == 0);
}

#[test]
fn full_packs_move_and_are_read_back_once() {
    let stage = Stage::new();
    let (bucket, store) = stage.open(64 * MIB);
    put(&store, 0..60);
    moved(&bucket);
    assert!(stage.here() <= 2, "{} packs are here", stage.here());
    assert!(stage.there().len() > 8, "{:?}", stage.there());
    has_all(&store, 0..60);
    let reads = stage.remote.reads.load(Ordering::SeqCst);
    assert!(reads > 0);
    has_all(&store, 0..60);
    assert_eq!(stage.remote.reads.load(Ordering::SeqCst), reads, "the second time all of it is here");
    store.close().unwrap();
    drop(bucket);

    let (bucket, store) = stage.open(64 * MIB);
    has_all(&store, 0..60);
    put(&store, 60..90);
    assert_eq!(stage.remote.reads.load(Ordering::SeqCst), reads, "also after a restart");
    moved(&bucket);
    store.close().unwrap();
    let report = check(&stage.open_options(&bucket)).unwrap();
    assert!(report.is_clean() && report.packs > 10, "{:?}", report.findings);
    drop(bucket);

    // It is more than a directory.
    let (bucket, store) = stage.open(64 * MIB);
    let to = Directory::open(stage.folder.path().join("elsewhere")).unwrap();
    let moved = store.move_location(&bucket.describe(), Arc::new(to), &|_, _| true);
    assert!(matches!(moved, Err(MoveError::Fixed { .. })));
    store.close().unwrap();
    drop(bucket);

    // The index is made again from what is here and there.
    std::fs::remove_dir_all(stage.folder.path().join("index")).unwrap();
    let (_bucket, store) = stage.open(MIB);
    has_all(&store, 0..90);
}

#[test]
fn a_bucket_that_fails_stops_no_write_and_is_no_damage() {
    let stage = Stage::new();
    let (bucket, store) = stage.open(MIB);
    put(&store, 0..30);
    moved(&bucket);
    stage.remote.fail_after(0);
    put(&store, 30..60);
    wait_until("the trouble is told", || store.trouble().is_some());
    let trouble = store.trouble().unwrap();
    assert!(trouble.contains("wait for the bucket") && trouble.contains("503 slow down"), "{trouble}");
    let error = store.block(&sample(0).id).unwrap_err().to_string();
    assert!(error.contains("503 slow down") && error.contains("s3://packs/node/1"), "{error}");
    has_all(&store, 55..60);
    stage.remote.mend();
    moved(&bucket);
    has_all(&store, 0..60);
    wait_until("nothing is wrong any more", || store.trouble().is_none());
}

#[test]
fn a_node_starts_without_its_bucket() {
    let stage = Stage::new();
    let (bucket, store) = stage.open(MIB);
    put(&store, 0..30);
    moved(&bucket);
    store.close().unwrap();
    drop(bucket);
    stage.remote.fail_after(0);
    let (_bucket, store) = stage.open(MIB);
    has_all(&store, 28..30);
    put(&store, 30..32);
}

#[test]
fn interrupted_at_each_request_nothing_is_lost_and_nothing_stays_behind() {
    let stage = Stage::new();
    let mut written = 0;
    for requests in 0..16 {
        stage.remote.mend();
        let (bucket, store) = stage.open(MIB);
        stage.remote.fail_after(requests);
        put(&store, written..written + 12);
        // Some of what was stored last goes, so that packs are removed too.
        for seed in (written..written + 12).filter(|seed| seed % 3 != 0) {
            let op = Op::Delete { table: T, key: seed.to_be_bytes().to_vec() };
            run(store.commit(Commit { ops: vec![op], ..Commit::default() })).unwrap();
        }
        written += 12;
        run(store.settle()).unwrap();
        let _ = store.compact(0.3);
        wait_until("it fails or is done", || bucket.trouble().is_some() || bucket.waiting() == 0);
        // No goodbye: what is open just goes.
        drop((store, bucket));
    }
    stage.remote.mend();
    let (bucket, store) = stage.open(MIB);
    moved(&bucket);
    for seed in (0..written).filter(|seed| seed % 3 == 0) {
        assert!(store.block(&sample(seed).id).unwrap() == sample(seed).bytes, "{seed}");
    }
    wait_until("nothing stays behind", || {
        stage.there().len() == bucket.packs().unwrap().len() + 1 - stage.here()
    });
    store.close().unwrap();
    assert!(check(&stage.open_options(&bucket)).unwrap().is_clean());
}

#[test]
fn packs_that_the_store_removes_leave_the_bucket() {
    let stage = Stage::new();
    let (bucket, store) = stage.open(MIB);
    put(&store, 0..60);
    moved(&bucket);
    let before = stage.there().len();
    for seed in 0..58u64 {
        let op = Op::Delete { table: T, key: seed.to_be_bytes().to_vec() };
        run(store.commit(Commit { ops: vec![op], ..Commit::default() })).unwrap();
    }
    run(store.settle()).unwrap();
    assert!(store.compact(0.5).unwrap().packs > 5);
    store.close().unwrap();
    drop(bucket);
    let (_bucket, store) = stage.open(MIB);
    wait_until("the bucket is emptier", || stage.there().len() < before / 2);
    has_all(&store, 58..60);
}

#[test]
fn a_pack_that_arrived_unnoted_leaves_the_bucket_too() {
    let stage = Stage::new();
    let (bucket, store) = stage.open(MIB);
    // Begun, one part, ended; and nobody can ask whether it is there.
    stage.remote.fail_after(3);
    put(&store, 0..16);
    wait_until("it fails", || bucket.trouble().is_some());
    let first = "node/1/000000000001.pack".to_owned();
    assert!(stage.there().contains(&first), "{:?}", stage.there());
    for seed in 0..16u64 {
        let op = Op::Delete { table: T, key: seed.to_be_bytes().to_vec() };
        run(store.commit(Commit { ops: vec![op], ..Commit::default() })).unwrap();
    }
    run(store.settle()).unwrap();
    assert!(store.compact(0.5).unwrap().packs > 0);
    assert!(!bucket.packs().unwrap().contains(&1));
    store.close().unwrap();
    drop(bucket);
    stage.remote.mend();
    let (_bucket, _store) = stage.open(MIB);
    wait_until("it is gone", || !stage.there().contains(&first));
}

#[test]
fn what_was_uploaded_outlives_the_directory() {
    let stage = Stage::new();
    let (bucket, store) = stage.open(MIB);
    put(&store, 0..60);
    moved(&bucket);
    store.close().unwrap();
    drop(bucket);
    std::fs::remove_dir_all(stage.folder.path().join("data")).unwrap();
    std::fs::remove_dir_all(stage.folder.path().join("index")).unwrap();
    assert!(
        matches!(stage.bucket(MIB), Err(BucketError::Held { .. })),
        "nobody said that the directory was lost"
    );
    let options = Options { takes_up: true, ..stage.options(MIB) };
    let bucket = Arc::new(Bucket::open_in(&options, Arc::new(stage.remote.clone())).unwrap());
    let store = Store::open(stage.open_options(&bucket)).unwrap();
    has_all(&store, 0..45);
    put(&store, 100..130);
    moved(&bucket);
    has_all(&store, 100..130);
    store.close().unwrap();
    assert!(check(&stage.open_options(&bucket)).unwrap().is_clean());
}

#[test]
fn the_bucket_of_another_store_is_refused() {
    let stage = Stage::new();
    drop(stage.open(MIB));
    let other = Stage { folder: tempfile::tempdir().unwrap(), remote: stage.remote.clone() };
    let alone = Stage::new();
    drop(alone.open(MIB));
    std::fs::create_dir_all(other.folder.path().join("data")).unwrap();
    let own = alone.folder.path().join("data/store.json");
    std::fs::copy(own, other.folder.path().join("data/store.json")).unwrap();
    assert!(matches!(other.bucket(MIB), Err(BucketError::Taken { .. })));

    // Nor can the packs be left where they are by naming another bucket.
    let (bucket, store) = stage.open(MIB);
    put(&store, 0..30);
    moved(&bucket);
    drop((store, bucket));
    let options = Options { place: Place::parse("s3://elsewhere").unwrap(), ..stage.options(MIB) };
    let error = Bucket::open_in(&options, Arc::new(Flaky::new())).unwrap_err().to_string();
    assert!(error.contains("s3://elsewhere") && error.contains("lie in s3://packs/node/1"), "{error}");
    assert_eq!(
        jsfs_bucket::is_used(&stage.options(MIB).directory).unwrap().as_deref(),
        Some("s3://packs/node/1")
    );
}
