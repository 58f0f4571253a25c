//! A store over a real server of object storage, and over a link to it that fails as networks do.

use crate::support::{MIB, has_all, put, sample, wait_until};
use jsfs_bucket::{Bucket, BucketError, Keys, Options, Place};
use jsfs_store::{Compaction, OpenOptions, Store, backend::Backend, check};
use jsfs_testkit::s3::{Fault, Link, Server};
use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

fn location(folder: &Path, server: SocketAddr) -> Options {
    Options {
        directory: folder.join("data"),
        place: Place::parse("s3://packs/a").unwrap(),
        endpoint: Some(format!("http://{server}").parse().unwrap()),
        region: "us-east-1".to_owned(),
        keys: Some(Keys { id: "test".to_owned(), secret: "secret".to_owned() }),
        cache: MIB,
        patience: Duration::from_secs(1),
        takes_up: true,
    }
}

fn options(folder: &Path, server: SocketAddr) -> Result<OpenOptions, BucketError> {
    let bucket: Arc<dyn Backend> = Arc::new(Bucket::open(&location(folder, server))?);
    let compaction = Compaction { dead_share: 0.5, bytes_per_second: 0, every: None };
    let options = OpenOptions::new(vec![bucket]).index(folder.join("index"));
    Ok(options.pack_max(MIB).floor(0).compaction(compaction))
}

fn packs_here(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("data/packs")).unwrap().count()
}

#[test]
fn packs_lie_on_a_real_server() {
    let Some(server) = Server::start("packs") else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(options(folder.path(), server.address()).unwrap()).unwrap();
    put(&store, 0..40);
    wait_until("packs have moved", || packs_here(folder.path()) <= 2);
    let listing = server.listing("packs");
    assert!(listing.contains("a/store.json") && listing.contains("a/000000000001.pack"), "{listing}");
    has_all(&store, 0..40);
    store.close().unwrap();
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let again = options(folder.path(), server.address()).unwrap();
    let store = Store::open(again.clone()).unwrap();
    has_all(&store, 0..40);
    store.close().unwrap();
    let report = check(&again).unwrap();
    assert!(report.is_clean() && report.packs >= 8, "{:?}", report.findings);
    // Without its directory, from the server alone.
    drop(again);
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let store = Store::open(options(folder.path(), server.address()).unwrap()).unwrap();
    has_all(&store, 0..30);
}

#[test]
fn a_network_that_fails_delays_packs_and_nothing_else() {
    let Some(server) = Server::start("packs") else { return };
    let folder = tempfile::tempdir().unwrap();
    let link = Link::to(server.address());
    let store = Store::open(options(folder.path(), link.address()).unwrap()).unwrap();
    put(&store, 0..20);
    wait_until("packs have moved", || packs_here(folder.path()) <= 2);
    let faults = [Fault::Refuse, Fault::Silence, Fault::Busy, Fault::Cut(300)];
    for (number, fault) in (1..).zip(faults) {
        link.does(fault);
        let begun = Instant::now();
        put(&store, 20 * number..20 * (number + 1));
        let oldest = sample(20 * (number - 1));
        let error = store.block(&oldest.id).map(drop).unwrap_err().to_string();
        assert!(error.contains("s3://packs/a"), "{fault:?}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{fault:?}: {:?}", begun.elapsed());
        wait_until("the trouble is told", || {
            store.trouble().is_some_and(|trouble| trouble.contains("wait for the bucket"))
        });
        link.does(Fault::None);
        wait_until("packs have moved", || packs_here(folder.path()) <= 2);
        assert!(store.block(&oldest.id).unwrap() == oldest.bytes, "{fault:?}");
    }
    link.does(Fault::Slow(5));
    has_all(&store, 0..3);
    link.does(Fault::None);
    has_all(&store, 0..100);
    assert!(store.trouble().is_none(), "{:?}", store.trouble());
    store.close().unwrap();
}

#[test]
fn a_listing_that_is_slow_is_waited_for_and_one_that_does_not_come_is_named() {
    let Some(server) = Server::start("packs") else { return };
    let folder = tempfile::tempdir().unwrap();
    let link = Link::to(server.address());
    let store = Store::open(options(folder.path(), link.address()).unwrap()).unwrap();
    put(&store, 0..40);
    wait_until("packs have moved", || packs_here(folder.path()) <= 2);
    store.close().unwrap();
    // The directory is lost: what there is only the bucket can tell.
    let forget = || ["data", "index"].map(|name| std::fs::remove_dir_all(folder.path().join(name)));
    for fault in [Fault::Silence, Fault::Busy, Fault::Cut(300)] {
        let _ = forget();
        link.does(fault);
        let begun = Instant::now();
        let opened = options(folder.path(), link.address()).map(|options| Store::open(options).map(drop));
        let said = match opened {
            Err(error) => error.to_string(),
            Ok(opened) => opened.unwrap_err().to_string(),
        };
        assert!(said.contains("s3://packs/a"), "{fault:?}: {said}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{fault:?}: {:?}", begun.elapsed());
    }
    let _ = forget();
    let late = Duration::from_millis(200);
    link.does(Fault::Late(200));
    let begun = Instant::now();
    let store = Store::open(options(folder.path(), link.address()).unwrap()).unwrap();
    assert!(begun.elapsed() > 8 * late, "{:?}", begun.elapsed());
    link.does(Fault::None);
    has_all(&store, 0..30);
    store.close().unwrap();
}

#[test]
fn a_bucket_that_is_not_there_is_named() {
    let Some(server) = Server::start("others") else { return };
    let folder = tempfile::tempdir().unwrap();
    let refused = |options: &Options| match Bucket::open(options) {
        Err(BucketError::Unreachable { bucket, source }) => format!("{bucket}: {source}"),
        other => panic!("{other:?}"),
    };
    let options = location(folder.path(), server.address());
    let found = Bucket::open(&options).map(drop);
    // Some servers say nothing about a bucket that is not there until something is stored.
    if found.is_ok() {
        assert!(Store::open(self::options(folder.path(), server.address()).unwrap()).is_err());
    }
    let nobody = Options { endpoint: Some("http://127.0.0.1:1".parse().unwrap()), ..options };
    assert!(refused(&nobody).contains("s3://packs/a"));
}
