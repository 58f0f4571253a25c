//! A node that keeps full packs in a bucket: its settings, its first start, and what refuses a start. What the location does is tested in `crates/bucket`.
#![allow(clippy::unwrap_used, reason = "a test program throughout")]

use jsfs_testkit::http::{Client, Request};
use jsfs_testkit::node::Setup;
use jsfs_testkit::s3::Server;
use std::path::Path;
use std::process::Output;

fn setup(folder: &Path, name: &str) -> Setup {
    let setup =
        Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.join(name)).set("storage.bucket=s3://packs/node");
    setup.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "secret")
}

/// A node that cannot start: what it says.
fn refusal(setup: &Setup, settings: &[&str]) -> Output {
    let mut command = setup.command();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(setup.data());
    for setting in settings {
        command.args(["--set", setting]);
    }
    command.output().unwrap()
}

fn says(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn a_node_takes_a_bucket_and_another_is_refused() {
    let Some(server) = Server::start("packs") else { return };
    let folder = tempfile::tempdir().unwrap();
    let endpoint = format!("storage.bucket_endpoint=http://{}", server.address());
    let setup = setup(folder.path(), "one").set(&endpoint);
    for text in ["one", "two"] {
        let node = setup.start();
        let key = setup.root_key();
        let mut client = Client::new(node.address());
        let stored = client.send(&Request::new("PUT", "/text").bearer(&key).body(text.as_bytes())).unwrap();
        assert!(matches!(stored.status, 200 | 201), "{}", stored.text());
        assert_eq!(client.send(&Request::new("GET", "/text").bearer(&key)).unwrap().text(), text);
        node.stop();
    }
    let listing = server.listing("packs");
    assert!(listing.contains("node/store.json"), "{listing}");
    assert!(setup.check().status.success());
    let other = self::setup(folder.path(), "other");
    let settings = ["storage.bucket=s3://packs/node", &endpoint];
    says(&refusal(&other, &settings), &["s3://packs/node", "has a store", "--from-bucket"]);
    assert!(!other.data().join("store.json").exists());
}

#[test]
fn a_bucket_that_does_not_answer_and_packs_that_lie_elsewhere_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = setup(folder.path(), "one");
    let settings = ["storage.bucket=s3://packs/node", "storage.bucket_endpoint=http://127.0.0.1:1"];
    says(&refusal(&nobody, &settings), &["s3://packs/node", "cannot be asked", "its keys and the network"]);
    let wrong = refusal(&nobody, &["storage.bucket=https://packs"]);
    says(&wrong, &["storage.bucket cannot be", "s3://NAME/PREFIX"]);

    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("two"));
    setup.start().stop();
    let record = r#"{"format":1,"bucket":"s3://packs/two","packs":{"7":{"length":9,"head":""}},"started":[],"removed":[]}"#;
    std::fs::write(setup.data().join("bucket.json"), record).unwrap();
    says(&refusal(&setup, &[]), &["lie in s3://packs/two", "set storage.bucket=s3://packs/two"]);
}
