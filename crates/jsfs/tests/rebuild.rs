//! A node whose index was deleted answers every kind of credential as before; a stopped store is repaired; and a check goes through the node where one runs.

#![allow(clippy::unwrap_used, missing_docs)]

use aws_lc_rs::digest::{SHA256, digest};
use jsfs_testkit::{
    http::{Client, Request},
    node::{Node, Setup},
    random::Random,
};
use serde_json::Value;
use std::{fs, os::unix::fs::FileExt, path::Path, process::Output};

struct Place {
    home: tempfile::TempDir,
    setup: Setup,
}

impl Place {
    fn new() -> Place {
        let home = tempfile::tempdir().unwrap();
        let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &home.path().join("data"));
        Place { home, setup }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.setup
            .command()
            .args(arguments)
            .args(["--json", "--data"])
            .arg(self.setup.data())
            .output()
            .unwrap()
    }

    fn said(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// The text of the one field that holds a secret.
fn field(said: &Value, name: &str) -> String {
    said[name].as_str().unwrap_or_else(|| panic!("no {name} in {said}")).to_owned()
}

/// What every credential is answered for every request, as text.
fn answers(node: &Node, credentials: &[(&str, Option<String>)]) -> Vec<String> {
    let mut all = Vec::new();
    for (who, credential) in credentials {
        for (host, method, target) in [
            ("localhost", "GET", "/private"),
            ("localhost", "GET", "/private?version=1"),
            ("localhost", "GET", "/private?versions"),
            ("localhost", "GET", "/public"),
            ("localhost", "GET", "/gone"),
            ("localhost", "GET", "/gone?version=1"),
            ("localhost", "GET", "/dir/"),
            ("localhost", "GET", "/dir/deep/large"),
            ("localhost", "GET", "/program.js"),
            ("localhost", "GET", "/program.js?executable=false"),
            ("localhost", "GET", "/"),
            ("example.com", "GET", "/theirs"),
            ("example.com", "GET", "/open"),
            ("example.com", "GET", "/"),
            ("localhost", "GET", "/.jsfs/namespaces"),
            // Whoever may write is told that the condition fails, and nobody changes anything.
            ("localhost", "PUT", "/private"),
            ("localhost", "PUT", "/dir/new"),
            ("example.com", "PUT", "/theirs"),
            ("localhost", "DELETE", "/dir/deep/large"),
        ] {
            let mut request = Request::new(method, target).header("Host", host);
            if method != "GET" {
                request = request.header("If-Match", "\"no such version\"");
            }
            if let Some(credential) = credential {
                request = request.bearer(credential);
            }
            let answer = Client::new(node.address()).send(&request).unwrap();
            let body = digest(&SHA256, &answer.body);
            let kept =
                ["etag", "content-type", "last-modified"].map(|name| answer.header(name).map(str::to_owned));
            all.push(format!(
                "{who}: {method} {host}{target}: {} {kept:?} {:02x?}",
                answer.status,
                &body.as_ref()[..8]
            ));
        }
    }
    all
}

#[test]
fn a_node_whose_index_was_deleted_has_every_object_and_permission_back() {
    let place = Place::new();
    let node = place.setup.start();
    let own = field(&place.said(&["namespace", "add", "example.com", "--new-key"]), "access_key");
    for version in ["first", "second", "third"] {
        place.said(&["put", &place.file("private", version.as_bytes()), "private"]);
    }
    place.said(&["put", &place.file("public", b"for all"), "public", "--public"]);
    place.said(&["put", &place.file("gone", b"deleted"), "gone"]);
    assert!(place.run(&["rm", "gone"]).status.success());
    // Long enough for a list of blocks: its parts are found by what the list says.
    let large = Random::seeded(9).bytes(30_000_000);
    place.said(&["put", &place.file("large", &large), "dir/deep/large"]);
    let program = b"export default { async fetch(request, env) { return new Response(env.COLOUR + await (await fetch('/dir/word')).text()) } }";
    place.said(&["put", &place.file("word", b" word"), "dir/word"]);
    let text = place.file("program.js", program);
    place.said(&[
        "put",
        &text,
        "program.js",
        "--executable",
        "--env",
        "COLOUR=blue",
        "--grant",
        "GET:dir/",
        "--public",
    ]);
    let key_file = place.file("own.key", own.as_bytes());
    place.said(&["put", &place.file("theirs", b"theirs"), "/com.example/theirs", "--key-file", &key_file]);
    place.said(&[
        "put",
        &place.file("open", b"open"),
        "/com.example/open",
        "--public",
        "--key-file",
        &key_file,
    ]);
    let root = place.setup.root_key();
    let token = |address: &str, methods: &str| {
        let body = format!(r#"{{"address":"{address}","methods":[{methods}]}}"#);
        let request = Request::new("POST", "/.jsfs/tokens").bearer(&root).body(body.as_bytes());
        field(&Client::new(node.address()).send(&request).unwrap().json(), "token")
    };
    let revoked = token("/localhost/private", r#""GET""#);
    assert!(place.run(&["revoke", &revoked]).status.success());
    let stranger = Place::new();
    let credentials = [
        ("nobody", None),
        ("root key", Some(root.clone())),
        ("owner of example.com", Some(own)),
        ("reads one", Some(token("/localhost/private", r#""GET""#))),
        ("lists dir", Some(token("/localhost/dir/", r#""LIST""#))),
        ("writes dir", Some(token("/localhost/dir/", r#""PUT","DELETE""#))),
        ("runs", Some(token("/localhost/program.js", r#""EXECUTE""#))),
        ("revoked", Some(revoked)),
        ("another key", Some(field(&stranger.said(&["key", "new"]), "access_key"))),
    ];
    let before = answers(&node, &credentials);
    let ok = |all: &[String]| all.iter().filter(|line| line.contains(": 200 ")).count();
    assert!(ok(&before) > 35 && before.len() == 9 * 19, "{} of {}: {before:#?}", ok(&before), before.len());
    assert!(before.contains(&answers(&node, &credentials[1..2])[8]), "answers are the same twice");
    // With a node there it is not done; the check that is goes through the node.
    assert_eq!(place.run(&["check", "--rebuild"]).status.code(), Some(2));
    assert_eq!(place.said(&["check"])["online"], true);
    assert!(node.stop().success());

    let index = place.setup.data().join("index");
    for is_deleted in [true, false] {
        if is_deleted {
            fs::remove_dir_all(&index).unwrap();
        }
        let rebuilt = place.said(&["check", "--rebuild"]);
        assert!(rebuilt["clean"] == true && rebuilt["online"] == false, "{rebuilt}");
        assert!(index.is_dir());
        let node = place.setup.start();
        let after = answers(&node, &credentials);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after, "deleted: {is_deleted}");
        }
        assert!(node.stop().success());
    }
    // Without the command the start does the same.
    fs::remove_dir_all(&index).unwrap();
    let node = place.setup.start();
    assert_eq!(answers(&node, &credentials), before);
    assert!(node.stop().success());

    // Where the packs lack something the index stays: it may know what that was.
    let sound = fs::read_dir(&index).unwrap().count();
    flip(&place.setup.data().join("packs/000000000001.pack"), 20_000);
    let refused = place.run(&["check", "--rebuild"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("left as it is"), "{refused:?}");
    assert_eq!(fs::read_dir(&index).unwrap().count(), sound);
    assert!(!place.setup.data().join("index.doubt").exists());
}

fn flip(pack: &Path, offset: u64) {
    let pack = fs::File::options().read(true).write(true).open(pack).unwrap();
    let mut byte = [0];
    pack.read_exact_at(&mut byte, offset).unwrap();
    pack.write_all_at(&[byte[0] ^ 4], offset).unwrap();
}

#[test]
fn a_stopped_store_is_repaired_from_the_other_disk_and_what_is_known_nowhere_stays_damage() {
    let home = tempfile::tempdir().unwrap();
    let (data, disk) = (home.path().join("data"), home.path().join("disk"));
    let locations = format!("storage.locations={}", disk.display());
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &data).set(&locations).set("storage.copies=2");
    let run = |arguments: &[&str]| {
        let mut command = setup.command();
        command.args(arguments).args(["--json", "--data"]).arg(&data);
        if arguments[0] == "check" {
            command.args(["--set", &locations, "--set", "storage.copies=2"]);
        }
        command.output().unwrap()
    };
    let said = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    let node = setup.start();
    let content = Random::seeded(3).bytes(3_000_000);
    let file = home.path().join("file");
    fs::write(&file, &content).unwrap();
    assert!(run(&["put", file.to_str().unwrap(), "kept"]).status.success());
    assert!(node.stop().success());
    let pack = |place: &Path| place.join("packs/000000000001.pack");
    for offset in [200_000, 900_000, 1_700_000] {
        flip(&pack(&data), offset);
    }
    flip(&pack(&disk), 500_000);
    let checked = run(&["check"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(said(&checked)["findings"].as_array().unwrap().len() >= 4, "{checked:?}");
    let repaired = run(&["check", "--repair"]);
    assert_eq!(repaired.status.code(), Some(0), "{repaired:?}");
    assert!(
        said(&repaired)["repaired"].as_u64().unwrap() >= 4 && said(&repaired)["clean"] == true,
        "{repaired:?}"
    );
    let node = setup.start();
    assert!(run(&["cat", "kept"]).stdout == content);
    assert!(node.stop().success());
    // The same place on both disks.
    for place in [&data, &disk] {
        flip(&pack(place), 1_000_000);
    }
    let lost = run(&["check", "--repair"]);
    assert_eq!(lost.status.code(), Some(1), "{lost:?}");
    assert!(said(&lost)["clean"] == false && said(&lost)["repaired"] == 0, "{lost:?}");
}
