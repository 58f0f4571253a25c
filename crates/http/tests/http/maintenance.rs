//! `/.jsfs/maintenance/…`: who may, what the lines say, one at a time, and that a client that leaves ends the work.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::node::Node;
use jsfs_testkit::http::Request;
use serde_json::Value;

/// Bytes that neither compress nor repeat.
fn noise(seed: u32, length: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            u8::try_from(state >> 24).unwrap()
        })
        .collect()
}

fn run(node: &Node, name: &str, parameters: &str) -> Vec<Value> {
    let target = format!("/.jsfs/maintenance/{name}");
    let answer = node.ask(&node.own("POST", &target).body(parameters.as_bytes()));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A node with much that nobody needs.
fn littered() -> Node {
    let node = Node::start();
    for at in 0..20 {
        node.put(&format!("/kept{at}"), &noise(at, 100_000));
        node.put(&format!("/gone{at}"), &noise(1_000 + at, 400_000));
    }
    for at in 0..20 {
        let gone = format!("/gone{at}?purge=true");
        assert_eq!(node.ask(&node.own("DELETE", &gone)).status, 204);
    }
    node
}

#[test]
fn gc_frees_what_it_said_it_would_and_loses_nothing() {
    let node = littered();
    let would = run(&node, "gc", r#"{"dry_run":true}"#).pop().unwrap()["result"].clone();
    let freed = |result: &Value| result["freed"].as_u64().unwrap();
    assert!(freed(&would) > 7_000_000, "{would}");
    let lines = run(&node, "gc", "{}");
    let (last, before) = lines.split_last().unwrap();
    assert!(before.iter().any(|line| line["progress"]["unit"] == "bytes"), "{lines:?}");
    let did = &last["result"];
    assert_eq!((&did["packs"], &did["removed"]), (&would["packs"], &would["removed"]));
    assert!(freed(did).abs_diff(freed(&would)) < freed(&would) / 50, "{did} after {would}");
    for at in 0..20 {
        assert_eq!(node.get(&format!("/kept{at}")).body, noise(at, 100_000));
    }
    let again = run(&node, "gc", "{}").pop().unwrap()["result"].clone();
    assert_eq!(again["packs"], 0, "{again}");
}

/// The result of `stats` and what it says of a namespace.
fn stats_of(node: &Node, namespace: &str) -> (Value, Value) {
    let mut lines = run(node, "stats", "{}");
    let result = lines.pop().unwrap()["result"].clone();
    let own = lines.iter().map(|line| &line["finding"]).find(|found| found["namespace"] == namespace);
    (result, own.unwrap().clone())
}

fn stats(node: &Node) -> (Value, Value) {
    stats_of(node, "localhost")
}

#[test]
fn stats_say_where_the_space_goes_and_the_parts_are_the_whole() {
    let node = Node::start();
    let number = |value: &Value| value.as_u64().unwrap();
    let content = noise(1, 300_000);
    node.put("/one", &content);
    let (before, _) = stats(&node);
    node.put("/same", &content);
    let text = "all work and no play makes a dull text. ".repeat(10_000);
    node.put("/text", text.as_bytes());
    node.put("/text", &noise(2, 100_000));
    let (all, own) = stats(&node);

    let text = u64::try_from(text.len()).unwrap();
    assert_eq!((number(&own["objects"]), number(&own["versions"])), (3, 1), "{own}");
    assert_eq!(number(&own["current"]), 700_000, "{own}");
    assert_eq!(number(&own["logical"]), 700_000 + text, "{own}");
    assert_eq!((&all["logical"], &all["current"]), (&own["logical"], &own["current"]));
    // The second copy is no new content, and the text repeats itself.
    assert_eq!(number(&before["unique"]), 300_000, "{before}");
    let unique = number(&all["unique"]);
    assert!((400_001..=400_000 + text).contains(&unique), "{all}");
    let compressed = number(&all["compressed"]);
    assert!((400_000..420_000).contains(&compressed), "{all}");
    // With one namespace its parts are the whole.
    for name in ["unique", "compressed", "stored"] {
        assert_eq!(all["of_objects"][name], own[name], "{name} of {all}");
    }
    assert_eq!([number(&own["unique"]), number(&own["compressed"])], [unique, compressed], "{own} of {all}");
    // What two objects share is counted once.
    let stored = number(&own["stored"]);
    assert!((compressed..compressed + 20_000).contains(&stored), "{own} of {all}");

    let (disk, besides) = (&all["disk"], &all["disk"]["besides"]);
    assert_eq!(disk["objects"], own["stored"]);
    let parts = [&disk["objects"], &disk["records"], &disk["dead"], &disk["index"]];
    let others = ["uploads", "programs", "other_nodes", "rest"].map(|name| &besides[name]);
    let sum: u64 = parts.into_iter().chain(others).map(number).sum();
    assert!(sum.abs_diff(number(&all["stored"])) < 8, "{sum} of {all}");

    // What is purged is dead, and in nobody's share.
    assert_eq!(node.ask(&node.own("DELETE", "/text?purge=true")).status, 204);
    let (after, own) = stats(&node);
    assert!((300_000..310_000).contains(&number(&own["stored"])), "{own}");
    assert_eq!(number(&after["unique"]), 300_000, "{after}");
    assert!(number(&after["disk"]["dead"]) > number(&disk["dead"]) + 100_000, "{after}");
}

#[test]
fn what_namespaces_share_is_in_each_by_halves_until_one_lets_go() {
    let node = Node::start();
    let number = |value: &Value| value.as_u64().unwrap();
    for name in ["one", "two"] {
        node.add_namespace(name);
    }
    let text = "what both have is kept once, and each has half of it. ".repeat(8_000);
    let length = u64::try_from(text.len()).unwrap();
    for target in ["/.one/text?private=false", "/.two/text?private=false", "/.two/own"] {
        let own = noise(7, 50_000);
        let body = if target.ends_with("own") { &own } else { text.as_bytes() };
        assert_eq!(node.ask(&node.own("PUT", target).body(body)).status, 201, "{target}");
    }
    let (whole, one) = stats_of(&node, "one");
    let (_, two) = stats_of(&node, "two");
    assert_eq!([number(&one["logical"]), number(&two["logical"])], [length, length + 50_000]);
    let unique = number(&one["unique"]);
    assert!(unique <= length / 2 && unique > 0, "{one}");
    assert_eq!(number(&two["unique"]), unique + 50_000);
    assert_eq!(number(&whole["of_objects"]["unique"]), 2 * unique + 50_000, "{whole}");
    assert!(number(&one["compressed"]) * 10 < unique, "{one}");
    assert!((50_000..52_000).contains(&number(&two["compressed"])), "{two}");

    assert_eq!(node.ask(&node.own("DELETE", "/.two/text?purge=true")).status, 204);
    let (_, one) = stats_of(&node, "one");
    let (_, two) = stats_of(&node, "two");
    assert!(number(&one["unique"]).abs_diff(2 * unique) < 2, "{one}");
    assert_eq!(number(&two["unique"]), 50_000, "{two}");
}

#[test]
fn nobody_but_the_holder_of_the_root_key_maintains() {
    let node = Node::start();
    let names = node.get("/.jsfs/namespaces");
    for name in ["gc", "stats", "nothing"] {
        let target = format!("/.jsfs/maintenance/{name}");
        for key in ["", "wrong"] {
            let asked = match key {
                "" => Request::new("POST", &target).body(b"{}"),
                key => Request::new("POST", &target).bearer(key).body(b"{}"),
            };
            assert_eq!(node.ask(&asked).status, names.status, "{name} {key}");
        }
    }
    assert_eq!(node.ask(&node.own("GET", "/.jsfs/maintenance/gc")).status, 405);
    for absent in ["/.jsfs/maintenance/", "/.jsfs/maintenance/gc/x", "/.jsfs/maintenance/nothing"] {
        assert_eq!(node.ask(&node.own("POST", absent).body(b"{}")).status, 404, "{absent}");
    }
}

#[test]
fn a_client_that_leaves_frees_the_place_and_the_next_goes_on() {
    let node = littered();
    for _ in 0..3 {
        let mut left = TcpStream::connect(node.address).unwrap();
        let head = format!(
            "POST /.jsfs/maintenance/gc HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 2\r\n\r\n{{}}",
            node.key
        );
        left.write_all(head.as_bytes()).unwrap();
        let mut begun = [0; 16];
        left.read_exact(&mut begun).unwrap();
        assert!(begun.starts_with(b"HTTP/1.1 200") || begun.starts_with(b"HTTP/1.1 409"), "{begun:?}");
        drop(left);
    }
    let answer = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let answer = node.ask(&node.own("POST", "/.jsfs/maintenance/gc").body(b"{}"));
        (answer.status == 200).then_some(answer)
    });
    let answer = answer.expect("the place is free again");
    let last: Value = serde_json::from_str(answer.text().lines().last().unwrap()).unwrap();
    assert!(last["result"].is_object(), "{last}");
    for at in 0..20 {
        assert_eq!(node.get(&format!("/kept{at}")).body, noise(at, 100_000));
    }
}
