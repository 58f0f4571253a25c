//! A node that lies: names that are paths, wrong bytes. Nothing outside the directory may change, nothing wrong may be kept.

use crate::support::{BINARY, Ran, ran, tree};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Answers every listing with these names, and every object with `evil`.
fn lying_node(names: &[&str], sha256: Option<&str>) -> String {
    let entries = names
        .iter()
        .map(|name| serde_json::json!({ "name": name, "type": "object", "size": 4, "sha256": sha256 }));
    let listing =
        serde_json::json!({ "address": "/localhost/x/", "entries": entries.collect::<Vec<_>>() }).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, listing) = (stream.unwrap(), listing.clone());
            std::thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                let mut target = None;
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
                    target = target.or_else(|| line.split(' ').nth(1).map(str::to_owned));
                    if line == "\r\n" {
                        let body = if target.take().unwrap().contains("?limit=") {
                            listing.as_str()
                        } else {
                            "evil"
                        };
                        let head = format!(
                            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                            body.len()
                        );
                        (&stream).write_all(format!("{head}{body}").as_bytes()).unwrap();
                    }
                    line.clear();
                }
            });
        }
    });
    url
}

fn sync(node: &str, home: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(BINARY);
    command.env_clear().env("HOME", home).env("JSFS_NODE", node).current_dir(home);
    ran(command.args(["sync", "/localhost/x/", "in"]).args(arguments))
}

#[test]
fn no_name_from_a_node_leads_out_of_the_directory() {
    let home = tempfile::tempdir().unwrap();
    let outside = home.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::create_dir(home.path().join("in")).unwrap();
    std::fs::write(outside.join("victim"), "safe").unwrap();
    symlink(&outside, home.path().join("in/link")).unwrap();
    symlink(outside.join("victim"), home.path().join("in/file")).unwrap();
    let absolute = outside.join("victim").display().to_string();
    let names = [
        "../outside/victim",
        "a/../../outside/victim",
        absolute.as_str(),
        "link/victim",
        "link/new",
        "file",
        "..",
        ".",
        "",
        "a//b",
        "nul\0",
        "esc\u{1b}[2J",
        "good",
        "good/../../evil",
        "../../../../../../../../tmp/jsfs-evil",
    ];
    let ran = sync(&lying_node(&names, None), home.path(), &["--delete"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(!ran.err.contains('\u{1b}'), "a name drove the terminal");
    assert_eq!(
        std::fs::read_to_string(home.path().join("in/good")).unwrap(),
        "evil",
        "the one good name failed: {}",
        ran.err
    );
    assert_eq!(std::fs::read_to_string(outside.join("victim")).unwrap(), "safe");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    let files = tree(home.path()).into_iter().map(|(path, _)| path.display().to_string()).collect::<Vec<_>>();
    assert_eq!(files, ["in/good", "outside/victim"]);
    assert!(!Path::new("/tmp/jsfs-evil").exists());
}

#[test]
fn an_interrupted_download_leaves_what_was_there_and_nothing_half() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("in")).unwrap();
    std::fs::write(home.path().join("in/a"), "mine").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut command = Command::new(BINARY);
    command.env_clear().env("HOME", home.path()).env("JSFS_NODE", url).current_dir(home.path().join("in"));
    let mut child = command.args(["get", "a"]).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let head = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    assert!(head.count() > 0);
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf").unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while std::fs::read_dir(home.path().join("in")).unwrap().count() < 2 {
        assert!(Instant::now() < end, "nothing was received");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(tree(&home.path().join("in")), [("a".into(), b"mine".to_vec())]);
}

#[test]
fn bytes_with_another_hash_are_not_kept() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("in")).unwrap();
    std::fs::write(home.path().join("in/a"), "mine").unwrap();
    let ran = sync(&lying_node(&["a", "b"], Some(&"0".repeat(64))), home.path(), &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("SHA-256"), "{}", ran.err);
    assert_eq!(tree(&home.path().join("in")), [("a".into(), b"mine".to_vec())]);
}
