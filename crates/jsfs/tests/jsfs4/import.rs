//! `jsfs import-jsfs4`: everything comes in as it was, damage is told of the object that has it, and a run that was killed is run again.

use crate::pool::{Expected, Made, Old};
use crate::support::{Home, Ran, copied_pool, fixtures, sha256};
use jsfs_testkit::http::{Client, Request};
use jsfs_testkit::random::Random;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

const OBJECTS: usize = 300;

fn sample() -> Vec<PathBuf> {
    ["blocks1", "blocks2"].map(|name| fixtures().join("pool").join(name)).to_vec()
}

fn manifest() -> Vec<Value> {
    serde_json::from_str(&std::fs::read_to_string(fixtures().join("pool.json")).unwrap()).unwrap()
}

/// Every file of a pool with its length and time.
fn state(locations: &[PathBuf]) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let files = locations.iter().flat_map(|location| std::fs::read_dir(location).unwrap());
    let mut files: Vec<_> = files
        .map(|entry| {
            let metadata = entry.as_ref().unwrap().metadata().unwrap();
            (entry.unwrap().path(), metadata.len(), metadata.modified().unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_sample_pool_comes_in_as_it_was() {
    let home = Home::new();
    let before = state(&sample());
    let dry = home.import(&sample(), &["--dry-run"]);
    assert_eq!((dry.code, dry.sums()), (0, (16, 0, 0)), "{}", dry.err);
    let root = home.setup.root_key();
    let namespaces = || home.ask(&Request::new("GET", "/.jsfs/namespaces").bearer(&root)).json();
    assert_eq!(namespaces()["namespaces"].as_array().unwrap().len(), 1, "a dry run made a namespace");

    let report = home.path("report");
    let ran = home.import(&sample(), &["--report", report.to_str().unwrap()]);
    assert_eq!((ran.code, ran.sums()), (0, (16, 0, 0)), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(&report).unwrap().lines().count(), 16);
    assert_eq!(state(&sample()), before, "the pool was written to");
    for object in manifest() {
        let text = |name: &str| object[name].as_str().unwrap();
        let private = object["private"] == true || object["encrypted"] == true;
        let key = object["key"].as_str();
        let path = text("path");
        let anonymous = home.get(text("host"), path, None);
        assert_eq!(anonymous.status, if private { 404 } else { 200 }, "{object}");
        let read = home.get(text("host"), path, Some(key.unwrap_or(&root)));
        assert_eq!((read.status, sha256(&read.body).as_str()), (200, text("sha256")), "{object}");
        assert_eq!(read.header("content-type"), Some(text("content_type")), "{object}");
        assert_eq!(read.header("x-private"), Some(if private { "true" } else { "false" }));
        assert!(read.header("last-modified").unwrap().contains("23 Nov 2026"), "{:?}", read.headers);
        let stranger = home.get(text("host"), path, Some(text("sha256")));
        assert_eq!(stranger.status, anonymous.status);
        let line = ran.line(text("name"));
        assert_eq!(line["owner"], if key.is_some() { "key" } else { "namespace" });
        assert_eq!(line["sha256"], object["sha256"]);
        if key.is_none() {
            assert!(ran.has_note(text("name"), "SHA-1 of its name"));
        }
    }
    assert!(ran.has_note("/com.example/multi/a.bin", "is damaged"), "its torn inode is told of");
    assert!(ran.has_note("/com.example/dir/", "index.html"));
    // Whoever has the key owns it.
    let own = Request::new("DELETE", "/updated.txt").header("Host", "example.com");
    assert_eq!(home.ask(&own.clone()).status, 401);
    assert_eq!(home.ask(&own.header("X-Access-Key", "upd")).status, 204);

    let again = home.import(&sample(), &[]);
    assert_eq!((again.code, again.sums()), (0, (0, 16, 0)), "{}", again.err);
    assert_eq!(again.summary()["bytes"], 0);
    assert!(again.has_note("/com.example/updated.txt", "deleted on the node since"));
}

#[test]
fn damage_is_told_and_the_rest_comes_in() {
    let home = Home::new();
    let locations = copied_pool(&home.path("pool"));
    let find = |name: &str| {
        let found = locations.iter().map(|location| location.join(name)).find(|path| path.exists());
        found.unwrap_or_else(|| panic!("{name}"))
    };
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    // A block of multi/a.bin, gone; one of the diary, flipped; the encrypted one, flipped; the gzipped one, cut.
    std::fs::remove_file(find("b5f027ab4603542f75b12f6fde536013060915ae")).unwrap();
    flip(&find("3523f63a122db78bb4474092671493fa7cde793f"));
    flip(&find("9d186ca28c2bc920fc2f5d4657a925649fce3aff"));
    let gzipped = find("2bb5a98a8f87fc072af5cef05a9e4ed3dc429e2d.gz");
    let whole = std::fs::read(&gzipped).unwrap();
    std::fs::write(&gzipped, &whole[..whole.len() / 2]).unwrap();
    // Both inodes of updated.txt, torn; that of moved.bin under a name that is not its own; that of the empty object with a wrong size.
    for location in &locations {
        std::fs::write(location.join("4ed11e1868316546cf8100a707bd11016a54c09f.json"), "{\"url\":\"/com.ex")
            .unwrap();
        std::fs::rename(
            location.join("41937d8250b4d13a2c3b52077bd85c25e7f50dc1.json"),
            location.join("0000000000000000000000000000000000000000.json"),
        )
        .unwrap();
        let empty = location.join("595f98f9b7e40ef29981c63845f89e27f688ffe7.json");
        let text = std::fs::read_to_string(&empty).unwrap();
        std::fs::write(&empty, text.replace("\"file_size\":0", "\"file_size\":7")).unwrap();
    }
    let ran = home.import(&locations, &[]);
    assert_eq!((ran.code, ran.sums()), (1, (9, 0, 7)), "{:#?}", ran.lines);
    for (name, words) in [
        ("/com.example/multi/a.bin", "b5f027ab4603542f75b12f6fde536013060915ae) is missing"),
        ("/com.example/private/diary.txt", "have the SHA-1"),
        ("/com.example/enc/secret.bin", "have the SHA-1"),
        ("/com.example/compressible.txt", "is damaged"),
        ("4ed11e1868316546cf8100a707bd11016a54c09f.json", "is damaged"),
        ("0000000000000000000000000000000000000000.json", "not named by the SHA-1"),
        ("/com.example/empty", "hold 0 bytes, and its inode says 7"),
    ] {
        let line = ran.line(name);
        assert!(line["reason"].as_str().unwrap().contains(words), "{line}");
        assert!(line["advice"].is_string());
    }
    assert_eq!(
        home.get("example.com", "/multi/a.bin", Some(&home.setup.root_key())).status,
        404,
        "half of it is there"
    );
    // Mended, and run again.
    copied_pool(&home.path("pool"));
    for location in &locations {
        std::fs::remove_file(location.join("0000000000000000000000000000000000000000.json")).unwrap();
    }
    let again = home.import(&locations, &[]);
    assert_eq!((again.code, again.sums()), (0, (7, 9, 0)), "{:#?}", again.lines);
}

#[test]
fn names_that_lead_nowhere_or_to_one_place_are_told() {
    let home = Home::new();
    let mut made = Made::new(&home.path("pool"));
    for (name, body) in [
        ("/com.example/a", "plain"),
        ("/com.example/a/b", "below an object"),
        ("/com.example/%61", "escaped"),
        ("/com.example//a", "doubled"),
        ("/com.example/%7ex", "one"),
        ("/com.example/%7Ex", "two"),
        ("/com.example/d/", "directory"),
        ("/com.example/d/index.html", "index"),
        ("/com.example/%zz", "no escape"),
        ("/hidden", "no namespace"),
        ("/com.example/.jsfs/x", "reserved"),
        ("/com.example/.x", "dotted"),
        ("/com.EXAMPLE/upper", "case"),
    ] {
        made.add(&Old::new(name, body.as_bytes()));
    }
    for _ in 0..2 {
        let ran = home.import(&made.locations, &["--jobs", "1"]);
        assert_eq!(ran.code, 1, "{}", ran.err);
        let failed = |name: &str| ran.line(name)["status"] == "failed";
        for name in ["/com.example/%61", "/com.example//a", "/com.example/d/"] {
            assert!(failed(name) && ran.line(name)["reason"].as_str().unwrap().contains("plainer"), "{name}");
        }
        for name in ["/com.example/%zz", "/hidden", "/com.example/.jsfs/x"] {
            assert!(failed(name), "{name}");
        }
        assert!(failed("/com.example/%7ex") != failed("/com.example/%7Ex"), "one of two takes the place");
        assert_eq!(ran.summary()["failed"], 7);
    }
    let root = home.setup.root_key();
    for (path, body) in [("/a", "plain"), ("/a/b", "below an object"), ("/d/", "index"), ("/upper", "case")] {
        assert_eq!(home.get("example.com", path, Some(&root)).text(), body, "{path}");
    }
    assert_eq!(home.get("other.com", "/.com.example/.x", Some(&root)).text(), "dotted");
}

#[test]
fn what_is_there_already_is_never_replaced() {
    let home = Home::new();
    let root = home.setup.root_key();
    let mut made = Made::new(&home.path("pool"));
    made.add(&Old { key: Some("mine"), private: true, ..Old::new("/localhost/a", b"old") });
    made.add(&Old::new("/localhost/b", b"old"));
    let put = |body: &[u8]| home.ask(&Request::new("PUT", "/a").bearer(&root).body(body)).status;
    assert_eq!(put(b"new"), 201);
    let ran = home.import(&made.locations, &[]);
    assert_eq!((ran.code, ran.sums()), (1, (1, 0, 1)), "{:#?}", ran.lines);
    assert_eq!(home.get("localhost", "/a", Some(&root)).text(), "new");
    // Written since by its owner: that stays.
    assert_eq!(home.ask(&Request::new("PUT", "/b").bearer(&root).body(b"newer")).status, 200);
    let ran = home.import(&made.locations, &[]);
    assert!(ran.has_note("/localhost/b", "changed on the node since"));
    assert_eq!(home.get("localhost", "/b", Some(&root)).text(), "newer");
}

#[test]
fn a_run_that_cannot_begin_says_so() {
    let home = Home::new();
    let nowhere = home.import(&[home.path("nowhere")], &[]);
    assert_eq!(nowhere.code, 2, "{}", nowhere.err);
    let mut stranger = home.importing(&sample(), &[]);
    let stranger = Ran::of(
        &stranger
            .env("JSFS_DATA", home.path("x"))
            .env("JSFS_NODE", format!("http://{}", home.node.address()))
            .output()
            .unwrap(),
    );
    assert_eq!(stranger.code, 2, "{}", stranger.err);
    copied_pool(&home.path("old"));
    let config = home.path("old").join("config.js");
    std::fs::write(
        &config,
        "module.exports = { STORAGE_LOCATIONS: [{ path: './blocks1/' }, { path: \"blocks2\" }] };",
    )
    .unwrap();
    assert_eq!(home.import(std::slice::from_ref(&config), &["-n"]).sums(), (16, 0, 0));
    std::fs::remove_dir_all(home.path("old/blocks2")).unwrap();
    assert_eq!(home.import(&[config], &["-n"]).code, 2);
}

/// The most memory that a process has had, in MiB.
fn peak_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

fn check(home: &Home, expected: &[Expected]) {
    let root = home.setup.root_key();
    let mut client = Client::new(home.node.address());
    for object in expected {
        let path = format!("/.{}", &object.name[1..]);
        let get = Request::new("GET", &path);
        let key = object.key.as_deref().unwrap_or(&root);
        let read = client.send(&get.clone().header("X-Access-Key", key)).unwrap();
        assert_eq!((read.status, sha256(&read.body)), (200, object.sha256.clone()), "{path}");
        assert_eq!(read.header("content-type"), Some("text/x-old"));
        let anonymous = client.send(&get).unwrap().status;
        assert_eq!(anonymous, if object.private { 404 } else { 200 }, "{path}");
        let versions = client
            .send(&Request::new("GET", &format!("{path}?versions")).header("X-Access-Key", key))
            .unwrap();
        let seconds = object.created / 1_000 - 1_500_000_000;
        let modified = format!(
            "2017-07-14T02:{:02}:{:02}.{:03}Z",
            40 + seconds / 60,
            seconds % 60,
            object.created % 1_000
        );
        assert_eq!(versions.json()["versions"][0]["modified"], modified, "{}", versions.text());
    }
}

#[test]
fn a_killed_run_is_run_again_and_everything_is_in() {
    let count =
        std::env::var("JSFS_JSFS4_OBJECTS").ok().and_then(|text| text.parse().ok()).unwrap_or(OBJECTS);
    let seed = Random::seed_of_this_run();
    println!("JSFS_SEED={seed}, {count} objects");
    let home = Home::new();
    let mut made = Made::new(&home.path("pool"));
    let expected = made.fill(count, &mut Random::seeded(seed));
    let mut first = home.importing(&made.locations, &["--report", home.path("cut").to_str().unwrap()]);
    let mut first = first.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(first.stdout.take().unwrap());
    let mut line = String::new();
    for _ in 0..count / 3 {
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    }
    first.kill().unwrap();
    first.wait().unwrap();

    let begun = Instant::now();
    let mut second = home.importing(&made.locations, &[]);
    let second = second.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = second.id();
    let watch = std::thread::spawn(move || {
        let mut peak = 0;
        while let Some(now) = peak_mib(pid) {
            peak = peak.max(now);
            std::thread::sleep(Duration::from_millis(20));
        }
        peak
    });
    let second = Ran::of(&second.wait_with_output().unwrap());
    let seconds = begun.elapsed().as_secs_f64();
    let (imported, present, failed) = second.sums();
    assert_eq!((second.code, imported + present, failed), (0, count as u64, 0), "{}", second.err);
    assert!(
        imported > 0 && present >= count as u64 / 3,
        "{imported} {present}: it was not killed in the middle"
    );
    let node = peak_mib(home.node.pid()).unwrap();
    println!(
        "{imported} imported and {present} skipped in {seconds:.1} s; peak memory: command {} MiB, node {node} MiB",
        watch.join().unwrap()
    );
    check(&home, &expected);
    let begun = Instant::now();
    let third = home.import(&made.locations, &[]);
    assert_eq!((third.code, third.sums()), (0, (0, count as u64, 0)));
    assert_eq!(third.summary()["bytes"], 0);
    println!("{count} skipped in {:.1} s", begun.elapsed().as_secs_f64());
}
