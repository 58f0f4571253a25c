//! A member keeps what is private for others and knows nothing of it: its disk and its memory are searched for what was written.

use crate::records::HOST;
use crate::support::{Place, founded, soon};
use jsfs_testkit::http::{Client, Request};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What no other node may ever hold: a directory, a name, a type, and the content itself.
const PRIVATE: [&str; 4] =
    ["zinnober-directory", "quitten-name", "application/x-holunder", "marzipan-content"];
/// What everybody may see: it shows that what is searched for would be found.
const PUBLIC: &str = "mirabellen-name";

fn holds(bytes: &[u8], text: &str) -> bool {
    let (first, text) = (text.as_bytes()[0], text.as_bytes());
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(text) {
            return true;
        }
        from += at + 1;
    }
    false
}

/// Which of these a directory holds, in files or in their names.
fn on_disk<'t>(directory: &Path, texts: &[&'t str]) -> Vec<&'t str> {
    let mut found = Vec::new();
    for entry in walkdir(directory) {
        let mut bytes = entry.to_string_lossy().into_owned().into_bytes();
        // A file can be compacted away meanwhile.
        bytes.extend(std::fs::read(&entry).unwrap_or_default());
        found.extend(texts.iter().filter(|text| holds(&bytes, text)).copied());
    }
    found
}

fn walkdir(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(walkdir(&path)) } else { files.push(path) }
    }
    files
}

/// Which of these are in the memory of a process; none where that may not be read.
fn in_memory<'t>(process: u32, texts: &[&'t str]) -> Option<Vec<&'t str>> {
    let memory = File::open(format!("/proc/{process}/mem")).ok()?;
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).ok()?;
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw")))
    {
        let (from, until) = line.split(' ').next()?.split_once('-')?;
        let (from, until) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(until, 16).ok()?);
        let mut bytes = vec![0; usize::try_from(until - from).ok()?.min(256 << 20)];
        let read = memory.read_at(&mut bytes, from).unwrap_or(0);
        found.extend(texts.iter().filter(|text| holds(&bytes[..read], text)).copied());
    }
    Some(found)
}

#[test]
fn a_member_that_keeps_what_is_private_holds_nothing_of_it_that_can_be_read() {
    let home = tempfile::tempdir().unwrap();
    let first = founded(home.path());
    let second = Place::new(home.path(), "keeper");
    second.run(&["join", &first.ticket(&["--role", "meta", "--role", "store", "--space", "1"])]);
    soon("both see each other", || first.connected().len() == 2 && second.connected().len() == 2);
    soon("both have heard from each other", || second.status()["records"]["settled"] == true);
    first.run(&["namespace", "add", HOST]);
    let key = first.setup.root_key();
    let [directory, name, kind, content] = PRIVATE;
    let path = format!("/{directory}/{name}");
    let send = |request: Request<'_>| {
        let request = request.header("Host", HOST).bearer(&key);
        Client::new(first.node.as_ref().unwrap().address()).send(&request).unwrap().status
    };
    // More than fits into a record, so that there are blocks too.
    for version in 0..3_u64 {
        let lines = (0..5_000_u64).map(|line| format!("{content} {}\n", line * line * 7_919 + version));
        let body: String = lines.collect();
        let put = Request::new("PUT", &path).header("Content-Type", kind);
        assert!([200, 201].contains(&send(put.body(body.as_bytes()))));
    }
    let public = format!("/open/{PUBLIC}?private=false");
    assert_eq!(send(Request::new("PUT", &public).body(b"seen")), 201);
    let listed = Request::new("GET", "/").header("Host", HOST).bearer(&key);
    assert_eq!(Client::new(first.node.as_ref().unwrap().address()).send(&listed).unwrap().status, 200);
    soon("the keeper has blocks of it", || second.status()["blocks"]["leased_bytes"].as_u64() > Some(1_000));
    soon("the keeper has the records", || on_disk(second.setup.data(), &[PUBLIC]).contains(&PUBLIC));

    assert_eq!(on_disk(second.setup.data(), &PRIVATE), Vec::<&str>::new(), "on the disk of the keeper");
    let control = second.setup.data().to_str().unwrap();
    match in_memory(second.node.as_ref().unwrap().pid(), &[&PRIVATE[..], &[control]].concat()) {
        Some(found) => {
            assert!(found.contains(&control), "what is there is found: {found:?}");
            assert!(found.iter().all(|text| *text == control), "in the memory of the keeper: {found:?}");
        }
        None => eprintln!("skipped: the memory of another process may not be read here"),
    }
    assert_eq!(second.log().matches("quitten").count(), 0, "in its log");
    drop(second);
    let own = in_memory(first.node.as_ref().unwrap().pid(), &[name]);
    assert!(own.is_none_or(|found| found.contains(&name)), "who wrote it has read it");
}
