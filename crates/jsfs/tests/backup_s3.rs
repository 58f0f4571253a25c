//! Backups of a real node in object storage that others wrote: the second costs what changed, one of them is restored, and what is damaged, taken or not there is told.

#![allow(clippy::unwrap_used, missing_docs)]

use jsfs_bucket::{DepotOptions, Keys, PATIENCE, Place, open_depot};
use jsfs_testkit::{
    http::{Client, Request},
    node::Setup,
    random::Random,
    s3::Server,
};
use std::{fs, process::Output};

const PLACE: &str = "s3://backups/node";

fn said(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_node_is_kept_in_a_bucket_and_comes_back() {
    let Some(server) = Server::start("backups") else { return };
    let home = tempfile::tempdir().unwrap();
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &home.path().join("data"));
    let endpoint = format!("http://{}", server.address());
    let run = |arguments: &[&str]| {
        let mut command = setup.command();
        command.env("AWS_ENDPOINT_URL", &endpoint);
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "secret");
        command.args(arguments).args(["--json", "--data"]).arg(setup.data()).output().unwrap()
    };
    let done = |output: Output| -> serde_json::Value {
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let node = setup.start();
    let put = |name: &str, bytes: &[u8]| {
        let key = setup.root_key();
        let request = Request::new("PUT", name).bearer(&key).body(bytes);
        assert_eq!(Client::new(node.address()).send(&request).unwrap().status, 201);
    };
    let (one, two) = (Random::seeded(1).bytes(1_000_000), Random::seeded(2).bytes(100_000));
    put("/one", &one);
    assert_eq!(run(&["backup", PLACE, "--list"]).stdout, b"[]\n");
    assert_eq!(run(&["backup", PLACE, "--verify"]).status.code(), Some(3), "there is none yet");
    let first = done(run(&["backup", PLACE, "--with-root-key"]));
    assert!(first["bytes"].as_u64().unwrap() > 1_000_000, "{first}");
    put("/two", &two);
    let second = done(run(&["backup", PLACE, "--with-root-key"]));
    let bytes = second["bytes"].as_u64().unwrap();
    assert!((100_000..300_000).contains(&bytes) && second["is_full"] == false, "{second}");
    assert_eq!(done(run(&["backup", PLACE, "--verify"]))["clean"], true);
    assert_eq!(done(run(&["backup", PLACE, "--list"])).as_array().unwrap().len(), 2);
    assert!(!server.listing("backups").contains("node/lock"), "the lock is gone");

    // While somebody writes, nobody else does; reading goes on.
    let options = DepotOptions {
        place: Place::parse(PLACE).unwrap(),
        endpoint: Some(endpoint.parse().unwrap()),
        region: "us-east-1".to_owned(),
        keys: Some(Keys { id: "test".to_owned(), secret: "secret".to_owned() }),
        patience: PATIENCE,
    };
    let held = open_depot(&options, true).unwrap();
    let (code, text) = said(&run(&["backup", PLACE]));
    assert!(code == 2 && text.contains("another backup") && text.contains(PLACE), "{code} {text}");
    assert_eq!(done(run(&["backup", PLACE, "--list"])).as_array().unwrap().len(), 2);
    drop(held);
    assert!(node.stop().success());

    let restored = home.path().join("restored");
    done(run(&["restore", PLACE, restored.to_str().unwrap()]));
    let again = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &restored);
    let node = again.start();
    let key = setup.root_key();
    for (name, bytes) in [("/one", &one), ("/two", &two)] {
        let got = Client::new(node.address()).send(&Request::new("GET", name).bearer(&key)).unwrap();
        assert!(got.body == *bytes, "{name}: {}", got.status);
    }
    assert!(node.stop().success());
    assert!(again.check().status.success());

    // A segment that is not what was written.
    let mut depot = open_depot(&options, true).unwrap();
    let name = depot.list().unwrap().into_iter().find(|name| name.starts_with("segment-")).unwrap();
    let mut bytes = depot.get(&name, 0, u64::MAX).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    depot.remove(&name).unwrap();
    depot.put(&name, &bytes).unwrap();
    drop(depot);
    let verified = run(&["backup", PLACE, "--verify"]);
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    let refused = home.path().join("refused");
    assert_eq!(said(&run(&["restore", PLACE, refused.to_str().unwrap()])).0, 1);
    assert!(!refused.join("store.json").exists());
}

#[test]
fn a_bucket_that_does_not_answer_or_is_none_is_named() {
    let home = tempfile::tempdir().unwrap();
    for (place, endpoint, says) in [
        ("s3://backups/../x", "http://127.0.0.1:1", "s3://NAME/PREFIX"),
        ("s3://backups/node", "nonsense", "AWS_ENDPOINT_URL"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_jsfs"));
        command.env("HOME", home.path()).env("AWS_ENDPOINT_URL", endpoint);
        let (code, text) = said(&command.args(["backup", place, "--list"]).output().unwrap());
        assert!(code == 2 && text.contains(says), "{code} {text}");
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing is made");
}
