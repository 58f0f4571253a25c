//! What somebody with the disk finds: no content or type of private objects that are owned by a key of their own, and no secret in any file
//! or log line but the node's own key files. (Names and sizes are there, for listings and quotas: `docs/security.md`.)
#![allow(clippy::unwrap_used, reason = "a test program throughout")]

use jsfs_testkit::http::{Client, Request};
use jsfs_testkit::node::Setup;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Every file below a directory with its content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

/// The files that contain the text.
fn containing(found: &[(PathBuf, Vec<u8>)], text: &str) -> Vec<PathBuf> {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    found.iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path.clone()).collect()
}

#[test]
fn the_disk_tells_no_private_content_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data")).set("log.level=trace");
    let node = setup.start();
    let made = setup
        .command()
        .args(["namespace", "add", "diary", "--new-key"])
        .env("JSFS_NODE", format!("http://{}", node.address()))
        .env("JSFS_ACCESS_KEY", setup.root_key())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(key.starts_with("jsfs_"), "the new key is printed");

    let secret = "a sentence that nobody else has to read, ".repeat(40);
    let public = "a sentence for everybody to read, which is stored as it is";
    let mut client = Client::new(node.address());
    let mut put = |target: &str, body: &str, content_type: &str| {
        let request = Request::new("PUT", target).header("Host", "diary.localhost").bearer(&key);
        let answer =
            client.send(&request.header("Content-Type", content_type).body(body.as_bytes())).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
    };
    put("/letters/unsent-letter.txt", &secret, "text/x-unsent");
    put("/open.txt?private=false", public, "text/plain");
    // What came of an upload that nobody finished: its type, its conditions, its last bytes that are no chunk yet.
    let unfinished = "half a sentence that nobody else has to ";
    let begun = Request::new("POST", "/letters/half.txt").header("Host", "diary.localhost").bearer(&key);
    let begun = begun.header("Tus-Resumable", "1.0.0").header("Upload-Length", "1000");
    let begun =
        begun.header("X-Content-Type", "text/x-unfinished").header("If-None-Match", "\"y-condition\"");
    let begun = client.send(&begun).unwrap();
    let location = begun.header("location").unwrap().to_owned();
    let piece = Request::new("PATCH", &location).bearer(&key).header("Tus-Resumable", "1.0.0");
    let piece = piece.header("Upload-Offset", "0").header("Content-Type", "application/offset+octet-stream");
    assert_eq!(client.send(&piece.body(unfinished.as_bytes())).unwrap().status, 204);

    let by_query = format!("/letters/unsent-letter.txt?access_key={key}");
    let read = client.send(&Request::new("GET", &by_query).header("Host", "diary.localhost")).unwrap();
    assert_eq!((read.status, read.text()), (200, secret.clone()));
    let address = "/letters/unsent-letter.txt";
    let token = setup
        .command()
        .args(["share", &format!("/diary{address}"), "--for", "1h"])
        .env("JSFS_NODE", format!("http://{}", node.address()))
        .env("JSFS_ACCESS_KEY", &key)
        .output()
        .unwrap();
    let link = String::from_utf8(token.stdout).unwrap();
    let token = link.trim().split_once("access_token=").expect("a share link").1.to_owned();
    let shared =
        client.send(&Request::new("GET", address).header("Host", "diary.localhost").bearer(&token)).unwrap();
    assert_eq!(shared.status, 200);

    let root_key = setup.root_key();
    assert!(node.stop().success());
    let found = files(folder.path());
    assert!(!containing(&found, public).is_empty(), "the search finds what is stored as it is");
    for text in [&secret[..40], "text/x-unsent", unfinished, "text/x-unfinished", "y-condition"] {
        assert_eq!(containing(&found, text), Vec::<PathBuf>::new(), "{text:?} is on the disk");
    }
    let signature = token.split('.').nth(2).unwrap();
    for text in [key.as_str(), signature] {
        assert_eq!(containing(&found, text), Vec::<PathBuf>::new(), "a secret is on the disk or in the log");
    }
    assert_eq!(containing(&found, &root_key), [folder.path().join("data/root.key")]);
}

#[test]
fn whatever_the_node_makes_is_its_owners_alone_even_in_a_directory_that_others_may_enter() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    // As an earlier version left its index.
    std::fs::create_dir(data.join("index")).unwrap();
    let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    [data.clone(), data.join("index")].iter().for_each(|path| open(path));
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &data);
    let node = setup.start();
    let mut client = Client::new(node.address());
    let request = Request::new("PUT", "/a/name-of-a-private-object").bearer(&setup.root_key());
    assert_eq!(client.send(&request.body(b"x")).unwrap().status, 201);
    let log = node.log_text();
    assert!(log.contains(&format!("run chmod 700 {}", data.display())), "{log}");
    let wrong = |folder: &Path| -> Vec<String> {
        let mut wrong = Vec::new();
        let mut rest = vec![folder.to_owned()];
        while let Some(folder) = rest.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                if mode != if path.is_dir() { 0o700 } else { 0o600 } {
                    wrong.push(format!("{} {mode:o}", path.display()));
                }
                rest.extend(path.is_dir().then_some(path));
            }
        }
        wrong
    };
    assert_eq!(wrong(&data), Vec::<String>::new(), "while it runs");
    assert!(node.stop().success());
    assert_eq!(setup.check().status.code(), Some(0));
    assert_eq!(wrong(&data), Vec::<String>::new(), "after its end");
}
