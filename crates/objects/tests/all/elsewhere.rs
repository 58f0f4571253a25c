//! What other nodes have is read with as few questions as it takes, however much it is. The metastore here is one map that several nodes share.

use crate::world::{World, at, private, public};
use jsfs_objects::read_key::{Group, Locator};
use jsfs_objects::record::{Envelope, Kind, Record, RecordHash};
use jsfs_objects::{
    Entries, Entry, ListOptions, Metastore, RemoteAnswer, StoredAs, Storing, Versions, WriteOptions,
};
use std::collections::{BTreeMap, HashSet};
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Entries of a page.
const PAGE: usize = 100;

struct Head {
    envelope: Vec<u8>,
    record: Record,
    hash: RecordHash,
}

/// What all nodes have.
#[derive(Default)]
struct Common {
    heads: Mutex<BTreeMap<Locator, Head>>,
    /// Changes so far.
    changes: AtomicUsize,
}

/// One node's way to it.
struct Way {
    common: Arc<Common>,
    /// What was read, and after how many changes.
    fresh: Mutex<HashSet<([u8; 32], bool, usize)>>,
    pages: AtomicUsize,
    lookups: AtomicUsize,
    stale: watch::Sender<u64>,
}

impl Way {
    async fn of(world: &World, common: &Arc<Common>) -> Arc<Way> {
        let way = Arc::new(Way {
            common: Arc::clone(common),
            fresh: Mutex::default(),
            pages: AtomicUsize::new(0),
            lookups: AtomicUsize::new(0),
            stale: watch::channel(0).0,
        });
        world.objects.set_metastore(way.clone());
        way
    }

    fn now(&self) -> usize {
        self.common.changes.load(Ordering::Relaxed)
    }

    /// Pages and single records that were asked for since this was asked last.
    fn take_asked(&self) -> (usize, usize) {
        (self.pages.swap(0, Ordering::Relaxed), self.lookups.swap(0, Ordering::Relaxed))
    }
}

impl Metastore for Way {
    fn is_together(&self) -> bool {
        true
    }

    fn grants(&self) -> bool {
        true
    }

    fn versions(&self, locator: Locator, _: bool) -> RemoteAnswer<'_, Option<Versions>> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let heads = self.common.heads.lock().unwrap().get(&locator).map(|head| head.envelope.clone());
        let heads = heads.into_iter().collect();
        Box::pin(ready(Some(Versions { heads, past: Vec::new(), settled: true })))
    }

    fn entries(&self, group: Group, after: Option<Locator>) -> RemoteAnswer<'_, Option<Entries>> {
        self.pages.fetch_add(1, Ordering::Relaxed);
        let heads = self.common.heads.lock().unwrap();
        let listed = heads.iter().filter(|(locator, head)| {
            after.is_none_or(|after| **locator > after)
                && head.record.group == group
                && head.record.kind != Kind::Tombstone
        });
        let entry = |(locator, head): (&Locator, &Head)| Entry {
            locator: *locator,
            heads: vec![head.envelope.clone()],
            incomplete: false,
        };
        let mut entries: Vec<Entry> = listed.take(PAGE + 1).map(entry).collect();
        let more = entries.len() > PAGE;
        entries.truncate(PAGE);
        let next = entries.last().filter(|_| more).map(|entry| entry.locator);
        Box::pin(ready(Some(Entries { entries, next, settled: true })))
    }

    fn store(&self, storing: Storing) -> RemoteAnswer<'_, StoredAs> {
        let envelope = Envelope::decode(&storing.envelope).unwrap();
        let (record, hash) = (envelope.record().unwrap(), envelope.record_hash());
        let mut heads = self.common.heads.lock().unwrap();
        let here = heads.get(&record.locator);
        if storing.condition.is_some_and(|condition| here.map(|head| head.hash) != condition) {
            return Box::pin(ready(StoredAs::Conflict(Versions::default())));
        }
        heads.insert(record.locator, Head { envelope: storing.envelope, record, hash });
        self.common.changes.fetch_add(1, Ordering::Relaxed);
        Box::pin(ready(StoredAs::Settled))
    }

    fn is_fresh(&self, home: [u8; 32], entries: bool) -> bool {
        self.fresh.lock().unwrap().contains(&(home, entries, self.now()))
    }

    fn observe(&self, _: [u8; 32]) -> RemoteAnswer<'_, Option<u64>> {
        Box::pin(ready(Some(self.now() as u64)))
    }

    fn settle(&self, home: [u8; 32], ticket: u64, entries: bool) {
        self.fresh.lock().unwrap().insert((home, entries, usize::try_from(ticket).unwrap()));
    }

    fn distrust(&self, _: [u8; 32]) {}

    fn stale(&self) -> watch::Receiver<u64> {
        self.stale.subscribe()
    }
}

/// Objects whose records are so large that those of 1,500 are more than wait for their names at a time.
fn large(options: WriteOptions) -> WriteOptions {
    let properties = [("note".to_owned(), Some("x".repeat(14_000)))].into();
    WriteOptions { properties, ..options }
}

/// What a node that has none of so many names asks to list them, and what of it to list them page by page once more.
async fn asked_to_list(count: usize, options: fn() -> WriteOptions) -> (usize, usize) {
    let common = Arc::default();
    let (has, lacks) = (World::new().await, World::new().await);
    let way = Way::of(&lacks, &common).await;
    Way::of(&has, &common).await;
    has.namespace("example", None).await;
    for number in 0..count {
        has.put(&format!("/example/d/{number:04}"), b"x", large(options())).await;
    }
    let page = |after: Option<String>| ListOptions { after, limit: 400, recursive: false };
    let mut names = lacks.list(&lacks.root(), "/example/d/", page(None)).await.unwrap();
    let asked = way.take_asked();
    while names.len() < count {
        let more = lacks.list(&lacks.root(), "/example/d/", page(names.last().cloned())).await.unwrap();
        names.extend(more);
    }
    let wanted: Vec<String> = (0..count).map(|number| format!("{number:04}")).collect();
    assert_eq!(names, wanted);
    assert_eq!(way.take_asked(), (0, 0), "what was read is here");
    let last = format!("/example/d/{:04}", count - 1);
    let grant = lacks.objects.authorize::<jsfs_objects::Read>(&lacks.root(), &at(&last)).await.unwrap();
    assert_eq!(lacks.objects.read(&grant, None).await.unwrap().metadata.properties["note"].len(), 14_000);
    asked
}

#[tokio::test]
async fn what_it_takes_to_list_a_directory_grows_with_its_pages_and_not_by_its_names() {
    for (options, most) in [(public as fn() -> WriteOptions, 1), (private, 2)] {
        let (few, many) = (asked_to_list(150, options).await, asked_to_list(1_500, options).await);
        eprintln!("pages and records asked for: {few:?} for 150 names, {many:?} for 1,500");
        assert_eq!(few.1, many.1, "records that were asked for one by one");
        // A private object comes with a record of its name, and is listed again where there was no room for it until then.
        let pages = 1_500 / PAGE * most;
        assert!(many.0 <= pages * most + 4, "{} pages", many.0);
    }
}
