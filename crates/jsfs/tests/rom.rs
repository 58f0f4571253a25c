//! ROMs by the command line: made of one node, shown by another, taken up by a third; and what is said of bad ones.

#![allow(clippy::unwrap_used, missing_docs)]

use jsfs_testkit::{
    http::{Answer, Client, Request},
    node::{Node, Setup},
    random::Random,
};
use std::{fs, path::Path, process::Output};

fn setup(place: &Path, name: &str) -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_jsfs"), &place.join(name))
}

fn run(setup: &Setup, arguments: &[&str]) -> Output {
    setup.command().args(arguments).args(["--json", "--data"]).arg(setup.data()).output().unwrap()
}

fn done(output: Output) -> serde_json::Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// What a failed command says, with its exit code.
fn said(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn ask(node: &Node, method: &str, target: &str, key: Option<&str>) -> Answer {
    let request = Request::new(method, target);
    let request = match key {
        Some(key) => request.bearer(key),
        None => request,
    };
    Client::new(node.address()).send(&request).unwrap()
}

#[test]
fn a_tree_goes_from_node_to_node_in_a_file_and_keeps_who_may_see_what() {
    let home = tempfile::tempdir().unwrap();
    let (first, second, third) =
        (setup(home.path(), "first"), setup(home.path(), "second"), setup(home.path(), "third"));
    let node = first.start();
    let content = Random::seeded(3).bytes(2_000_000);
    let file = home.path().join("file");
    fs::write(&file, &content).unwrap();
    let file = file.to_str().unwrap();
    done(run(&first, &["namespace", "add", "example.com"]));
    done(run(&first, &["put", file, "/com.example/docs/open", "--public"]));
    done(run(&first, &["put", file, "/com.example/docs/deep/secret"]));
    let program = home.path().join("who.js");
    fs::write(&program, "export default { fetch(_, env) { return Response.json({ env }); } };").unwrap();
    let program = program.to_str().unwrap();
    let attached = ["--executable", "--public", "--env", "WHO=only here"];
    done(run(&first, &[&["put", program, "/com.example/docs/who.js"], &attached[..]].concat()));
    assert_eq!(ask(&node, "GET", "/.com.example/docs/who.js", None).text(), r#"{"env":{"WHO":"only here"}}"#);
    let rom = home.path().join("docs.rom");
    let path = rom.to_str().unwrap();
    let made = done(run(&first, &["export", "/com.example/docs/", path]));
    assert_eq!(made["bytes"], fs::metadata(&rom).unwrap().len());
    let (code, text) = said(&run(&first, &["export", "/com.example/nothing", path]));
    assert!(code == 1 && text.contains("there is nothing at /com.example/nothing"), "{code} {text}");
    assert_eq!(made["bytes"], fs::metadata(&rom).unwrap().len(), "a failed export leaves what was there");
    let key = first.root_key();
    assert!(node.stop().success());

    let node = second.clone().set(&format!("rom.mount={path}")).start();
    let (open, secret) = ("/.com.example/docs/open", "/.com.example/docs/deep/secret");
    assert!(ask(&node, "GET", open, None).body == content);
    assert_eq!(ask(&node, "GET", secret, None).status, 404);
    assert!(ask(&node, "GET", secret, Some(&key)).body == content);
    let listed = ask(&node, "GET", "/.com.example/docs/?recursive=true", Some(&key));
    assert!(String::from_utf8_lossy(&listed.body).contains("deep/secret"));
    for (method, status) in [("PUT", 403), ("DELETE", 403), ("POST", 403)] {
        let answer = ask(&node, method, open, Some(&key));
        assert_eq!(answer.status, status, "{method}");
        assert!(String::from_utf8_lossy(&answer.body).contains("ROM"), "{method}");
    }
    assert_eq!(ask(&node, "PUT", open, None).status, 401);
    assert!(ask(&node, "GET", open, None).body == content);
    assert_eq!(ask(&node, "GET", "/.com.example/docs/who.js", None).status, 403, "nothing in it runs");
    assert!(node.stop().success());

    let node = third.start();
    let imported = done(run(&third, &["import", path]));
    assert_eq!((&imported["objects"], &imported["present"]), (&3.into(), &0.into()), "{imported}");
    let again = done(run(&third, &["import", path]));
    assert_eq!((&again["objects"], &again["present"]), (&0.into(), &3.into()), "{again}");
    assert!(ask(&node, "GET", open, None).body == content);
    assert!(ask(&node, "GET", secret, Some(&key)).body == content);
    // The program runs there with nothing of what was attached to it at home.
    assert_eq!(ask(&node, "GET", "/.com.example/docs/who.js", None).text(), r#"{"env":{}}"#);
    assert_eq!(ask(&node, "PUT", open, Some(&key)).status, 200, "its owner goes on there");
    assert!(run(&third, &["check", "--online"]).status.success());
    assert!(node.stop().success());
    assert!(third.check().status.success());
}

#[test]
fn a_bad_rom_is_named_with_what_is_wrong_and_nothing_of_it_is_used() {
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (setup(home.path(), "first"), setup(home.path(), "second"));
    let node = first.start();
    let file = home.path().join("file");
    fs::write(&file, Random::seeded(4).bytes(300_000)).unwrap();
    done(run(&first, &["put", file.to_str().unwrap(), "a/x", "--public"]));
    let rom = home.path().join("a.rom");
    let path = rom.to_str().unwrap();
    done(run(&first, &["export", "a/", path]));
    assert!(node.stop().success());
    let whole = fs::read(&rom).unwrap();
    let mut flipped = whole.clone();
    flipped[150_000] ^= 1;
    let cases = [
        (whole[..200_000].to_vec(), "bytes, and"),
        (flipped, "is damaged"),
        (b"a letter to somebody".to_vec(), "is no ROM"),
        (Vec::new(), "is no ROM"),
    ];
    let node = second.start();
    for (bytes, says) in &cases {
        fs::write(&rom, bytes).unwrap();
        let (code, text) = said(&run(&second, &["import", path]));
        assert!(code == 1 && text.contains(says) && text.contains("a.rom"), "{code} {text}");
    }
    // Its directory belongs to this node's own root key.
    fs::write(&rom, &whole).unwrap();
    let (code, text) = said(&run(&second, &["import", path]));
    assert!(code == 5 && text.contains("/localhost/"), "{code} {text}");
    assert_eq!(ask(&node, "GET", "/a/x", None).status, 404);
    assert!(node.stop().success());
    for (bytes, says) in cases {
        fs::write(&rom, bytes).unwrap();
        let mut serve = second.command();
        serve.args(["serve", "--listen", "127.0.0.1:0", "--set", &format!("rom.mount={path}"), "--data"]);
        let (code, text) = said(&serve.arg(second.data()).output().unwrap());
        assert!(code == 2 && text.contains(says) && text.contains("a.rom"), "{code} {text}");
    }
    let node = second.start();
    assert!(node.stop().success());
}
