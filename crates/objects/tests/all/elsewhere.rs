//! What other nodes have is read with as few questions as it takes, however much it is. The metastore here is one map that several nodes share.

use crate::world::{World, at, noise, private, public};
use jsfs_objects::read_key::{Group, Locator};
use jsfs_objects::record::{Envelope, Kind, Record, RecordHash};
use jsfs_objects::{
    Entries, Entry, ListOptions, Metastore, Observed, Read, RemoteAnswer, StoredAs, Storing, Versions,
    WriteOptions,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Entries of a page.
const PAGE: usize = 100;

/// A page has no room for larger records.
const PAGE_RECORD_BYTES: usize = 16 << 10;

struct Head {
    envelope: Vec<u8>,
    record: Record,
    hash: RecordHash,
}

/// What all nodes have.
#[derive(Default)]
struct Common {
    heads: Mutex<BTreeMap<Locator, Vec<Head>>>,
    /// Changes so far.
    changes: Mutex<Vec<(Group, Locator)>>,
}

impl Common {
    /// Files all private names in one place, and says how many there are.
    fn file_names_together(&self) -> usize {
        let mut heads = self.heads.lock().unwrap();
        let is_name = |head: &Head| head.record.is_private() && head.record.blocks.is_empty();
        let names = heads.extract_if(.., |_, heads| heads.iter().all(is_name));
        let names: Vec<Head> = names.flat_map(|(_, heads)| heads).collect();
        let count = names.len();
        heads.insert(names[0].record.locator, names);
        count
    }
}

/// One node's way to it.
struct Way {
    common: Arc<Common>,
    /// After how many changes the versions or entries of a home were read.
    read: Mutex<HashMap<([u8; 32], bool), usize>>,
    pages: AtomicUsize,
    lookups: AtomicUsize,
    stale: watch::Sender<u64>,
}

impl Way {
    async fn of(world: &World, common: &Arc<Common>) -> Arc<Way> {
        let way = Arc::new(Way {
            common: Arc::clone(common),
            read: Mutex::default(),
            pages: AtomicUsize::new(0),
            lookups: AtomicUsize::new(0),
            stale: watch::channel(0).0,
        });
        world.objects.set_metastore(way.clone());
        way
    }

    /// What has changed in a home since it was read.
    fn changed(&self, home: [u8; 32], entries: bool) -> Option<Vec<Locator>> {
        let read = *self.read.lock().unwrap().get(&(home, entries))?;
        let changes = self.common.changes.lock().unwrap();
        let here = changes[read..].iter().filter(|(group, locator)| match entries {
            true => *group.as_bytes() == home,
            false => *locator.as_bytes() == home,
        });
        let changed: BTreeSet<Locator> = here.map(|(_, locator)| *locator).collect();
        Some(changed.into_iter().collect())
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
        let heads = self.common.heads.lock().unwrap();
        let heads = heads.get(&locator).into_iter().flatten().map(|head| head.envelope.clone()).collect();
        Box::pin(ready(Some(Versions { heads, past: Vec::new(), settled: true })))
    }

    fn entries(&self, group: Group, after: Option<Locator>) -> RemoteAnswer<'_, Option<Entries>> {
        self.pages.fetch_add(1, Ordering::Relaxed);
        let heads = self.common.heads.lock().unwrap();
        let is_listed = |head: &Head| head.record.group == group && head.record.kind != Kind::Tombstone;
        let listed = heads.iter().filter(|(locator, heads)| {
            after.is_none_or(|after| **locator > after) && heads.iter().any(is_listed)
        });
        let entry = |(locator, heads): (&Locator, &Vec<Head>)| Entry {
            locator: *locator,
            heads: heads
                .iter()
                .map(|head| head.envelope.clone())
                .filter(|it| it.len() <= PAGE_RECORD_BYTES)
                .collect(),
            incomplete: heads.iter().any(|head| head.envelope.len() > PAGE_RECORD_BYTES),
        };
        let mut entries: Vec<Entry> = listed.take(PAGE + 1).map(entry).collect();
        let more = entries.len() > PAGE;
        entries.truncate(PAGE);
        let next = entries.last().filter(|_| more).map(|entry| entry.locator);
        Box::pin(async move {
            // Others have their turn while a page is on its way.
            tokio::task::yield_now().await;
            Some(Entries { entries, next, settled: true })
        })
    }

    fn store(&self, storing: Storing) -> RemoteAnswer<'_, StoredAs> {
        let envelope = Envelope::decode(&storing.envelope).unwrap();
        let (record, hash) = (envelope.record().unwrap(), envelope.record_hash());
        let mut heads = self.common.heads.lock().unwrap();
        let here = heads.get(&record.locator).and_then(|heads| heads.first());
        let left = here.map(|head| head.record.group).filter(|group| *group != record.group);
        if storing.condition.is_some_and(|condition| here.map(|head| head.hash) != condition) {
            return Box::pin(ready(StoredAs::Conflict(Versions::default())));
        }
        let groups = left.into_iter().chain([record.group]);
        self.common.changes.lock().unwrap().extend(groups.map(|group| (group, record.locator)));
        let filed = heads.entry(record.locator).or_default();
        // What knows of nothing stands beside what is there.
        if storing.condition.is_some() || storing.before.is_some() {
            filed.clear();
        }
        filed.push(Head { envelope: storing.envelope, record, hash });
        Box::pin(ready(StoredAs::Settled))
    }

    fn is_fresh(&self, home: [u8; 32], entries: bool) -> bool {
        self.changed(home, entries).is_some_and(|changed| changed.is_empty())
    }

    fn observe(&self, home: [u8; 32], _: bool) -> RemoteAnswer<'_, Option<Observed>> {
        let ticket = self.common.changes.lock().unwrap().len() as u64;
        Box::pin(ready(Some(Observed { ticket, changed: self.changed(home, true) })))
    }

    fn settle(&self, home: [u8; 32], ticket: u64, entries: bool) {
        self.read.lock().unwrap().insert((home, entries), usize::try_from(ticket).unwrap());
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
        assert!(!more.is_empty(), "{} of {count} names", names.len());
        names.extend(more);
    }
    let wanted: Vec<String> = (0..count).map(|number| format!("{number:04}")).collect();
    assert_eq!(names, wanted);
    assert_eq!(way.take_asked(), (0, 0), "what was read is here");
    asked
}

async fn size(world: &World, address: &str) -> u64 {
    let grant = world.objects.authorize::<Read>(&world.root(), &at(address)).await.unwrap();
    world.objects.read(&grant, None).await.unwrap().metadata.size
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

#[tokio::test]
async fn after_a_change_what_changed_is_read_and_not_all_of_the_directory() {
    let common = Arc::default();
    let (has, lacks) = (World::new().await, World::new().await);
    let way = Way::of(&lacks, &common).await;
    Way::of(&has, &common).await;
    has.namespace("example", None).await;
    let root = lacks.root();
    for (directory, options) in [("open", public as fn() -> WriteOptions), ("shut", private)] {
        let at = |name: &str| format!("/example/{directory}/{name}");
        for number in 0..3 * PAGE {
            has.put(&at(&format!("{number:04}")), b"x", options()).await;
        }
        let listed = async || lacks.names(&root, &at(""), false).await;
        let mut wanted: BTreeSet<String> = (0..3 * PAGE).map(|number| format!("{number:04}")).collect();
        assert_eq!(listed().await, wanted.iter().cloned().collect::<Vec<_>>());
        way.take_asked();
        // Of each kind one: new, changed, deleted, there again, and in a new directory.
        has.put(&at("new"), b"x", options()).await;
        has.put(&at("0001"), b"changed", options()).await;
        has.delete_as(&has.root(), &at("0002")).await.unwrap();
        has.put(&at("below/deep"), b"x", options()).await;
        wanted.extend(["new".to_owned(), "below/".to_owned()]);
        wanted.remove("0002");
        assert_eq!(listed().await, wanted.iter().cloned().collect::<Vec<_>>(), "{directory}");
        let (pages, lookups) = way.take_asked();
        eprintln!("{directory}: {pages} pages and {lookups} records after five changes");
        // What lies below is another directory, which is listed for the first time.
        assert!(pages <= 2 && lookups <= 8, "{pages} pages, {lookups} records");
        assert_eq!(size(&lacks, &at("0001")).await, 7);
        has.put(&at("0002"), b"again", options()).await;
        wanted.insert("0002".to_owned());
        assert_eq!(listed().await, wanted.iter().cloned().collect::<Vec<_>>(), "{directory}");
        // What becomes public or private leaves one group for another.
        let other = WriteOptions { private: Some(directory == "open"), ..WriteOptions::default() };
        has.put(&at("0003"), b"others", other).await;
        assert_eq!(listed().await, wanted.into_iter().collect::<Vec<_>>(), "{directory}");
        assert_eq!((size(&lacks, &at("0002")).await, size(&lacks, &at("0003")).await), (5, 6));
        way.take_asked();
        assert_eq!(listed().await.len(), 3 * PAGE + 2);
        assert_eq!(way.take_asked(), (0, 0));
    }
}

#[tokio::test]
async fn names_that_were_filed_in_one_place_are_all_listed() {
    let common: Arc<Common> = Arc::default();
    let (has, lacks) = (World::new().await, World::new().await);
    Way::of(&lacks, &common).await;
    Way::of(&has, &common).await;
    has.namespace("example", None).await;
    for name in ["a", "b", "c"] {
        has.put(&format!("/example/d/{name}"), &noise(1, 100_000), private()).await;
    }
    // One of the directory, three of what is in it.
    assert_eq!(common.file_names_together(), 4);
    assert_eq!(lacks.names(&lacks.root(), "/example/d/", false).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn of_many_who_list_the_same_at_once_one_reads_it() {
    let common = Arc::default();
    let (has, lacks) = (World::new().await, World::new().await);
    let way = Way::of(&lacks, &common).await;
    Way::of(&has, &common).await;
    has.namespace("example", None).await;
    for number in 0..2 * PAGE {
        has.put(&format!("/example/d/{number:04}"), b"x", public()).await;
    }
    let root = lacks.root();
    let listings = (0..20).map(|_| lacks.names(&root, "/example/d/", false));
    let listed = futures_util::future::join_all(listings).await;
    assert!(listed.iter().all(|names| names.len() == 2 * PAGE));
    let (pages, lookups) = way.take_asked();
    // Pages of what is public, and one of what is private.
    assert!(pages <= 3, "{pages} pages, {lookups} records");
}

#[tokio::test]
async fn records_that_a_page_has_no_room_for_are_listed() {
    let common = Arc::default();
    let (has, lacks) = (World::new().await, World::new().await);
    let way = Way::of(&lacks, &common).await;
    Way::of(&has, &common).await;
    has.namespace("example", None).await;
    for (directory, options) in [("open", public as fn() -> WriteOptions), ("shut", private)] {
        let properties = [("note".to_owned(), Some("x".repeat(PAGE_RECORD_BYTES - 100)))].into();
        let at = |name: &str| format!("/example/{directory}/{name}");
        has.put(&at("large"), b"x", WriteOptions { properties, ..options() }).await;
        has.put(&at("small"), b"x", options()).await;
        assert_eq!(lacks.names(&lacks.root(), &at(""), false).await, ["large", "small"]);
        assert!(way.take_asked().1 > 0, "what there is no room for is asked for by itself");
        assert_eq!(size(&lacks, &at("large")).await, 1);
    }
}
