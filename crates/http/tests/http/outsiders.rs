//! What holders of tokens and strangers who may write are kept from, seen from outside.

use crate::node::Node;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsfs_testkit::http::{Answer, Request};
use serde_json::{Value, json};

fn token(node: &Node, address: &str, methods: &[&str]) -> String {
    let body = json!({"address": address, "methods": methods}).to_string();
    let made = node.ask(&node.own("POST", "/.jsfs/tokens").body(body.as_bytes()));
    made.json()["token"].as_str().unwrap().to_owned()
}

fn listing(node: &Node, key: &str, target: &str) -> Value {
    let answer = node.ask(&Request::new("GET", target).bearer(key).header("Accept", "application/json"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The token with the `read` of another in its fourth part.
fn altered(token: &str, other: &str) -> String {
    let secrets = |token: &str| -> Value {
        let (_, fourth) = token.rsplit_once('.').unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(fourth).unwrap()).unwrap()
    };
    let mut fourth = secrets(token);
    fourth["read"] = secrets(other)["read"].clone();
    let (public, _) = token.rsplit_once('.').unwrap();
    format!("{public}.{}", URL_SAFE_NO_PAD.encode(fourth.to_string()))
}

#[test]
fn a_token_whose_read_key_was_altered_writes_nothing_and_harms_nothing() {
    let node = Node::start();
    node.put_private("/a/f1", b"data");
    let other = token(&node, "/localhost/b/", &["PUT"]);
    for address in ["/localhost/a/", "/localhost/a/new", "/localhost/a/f1"] {
        let forged = altered(&token(&node, address, &["GET", "PUT"]), &other);
        let ask = |method, target| -> Answer {
            node.ask(&Request::new(method, target).header("X-Access-Token", &forged).body(b"x"))
        };
        for target in ["/a/f1", "/a/new"] {
            let put = ask("PUT", target);
            assert_eq!(put.status, 401, "{address} {target}: {}", put.text());
            assert!(put.text().contains("the read key in its fourth part"), "{}", put.text());
            assert_eq!(ask("GET", target).status, 404, "{address} {target}");
        }
    }
    assert_eq!(listing(&node, &node.key, "/a/")["entries"].as_array().unwrap().len(), 1);
    assert_eq!(node.ask(&node.own("GET", "/a/f1")).body, b"data");
    let moved = node.ask(&node.own("MOVE", "/a/").header("Destination", "/c/"));
    assert_eq!(moved.status, 201, "{}", moved.text());
}

#[test]
fn a_token_that_only_writes_does_not_publish_what_it_cannot_read() {
    let node = Node::start();
    node.put_private("/a", b"secret");
    let writer = token(&node, "/localhost/a", &["PUT"]);
    let patch = Request::new("PATCH", "/a").bearer(&writer).header("Content-Type", "application/json");
    let answer = node.ask(&patch.body(br#"{"private":false}"#));
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.text().contains("GET as well as PUT"), "{}", answer.text());
    assert_eq!(node.get("/a").status, 404);
    let both = token(&node, "/localhost/a", &["PUT", "GET"]);
    let patch = Request::new("PATCH", "/a").bearer(&both).header("Content-Type", "application/json");
    assert_eq!(node.ask(&patch.body(br#"{"private":false}"#)).status, 204);
    assert_eq!(node.get("/a").body, b"secret");
}

#[test]
fn the_owner_of_a_drop_box_sees_that_something_is_there_and_clears_it() {
    let node = Node::start();
    let policy = node.own("PATCH", "/box/").header("Content-Type", "application/json");
    assert_eq!(node.ask(&policy.body(br#"{"create":"anyone"}"#)).status, 204);
    let left = node.ask(&Request::new("PUT", "/box/letter").body(b"dear"));
    assert_eq!(left.status, 201, "{}", left.text());
    let key = left.json()["access_key"].as_str().unwrap().to_owned();
    let entry = json!({"name": "letter", "type": "object", "private": true, "unreadable": true});
    assert_eq!(listing(&node, &node.key, "/box/")["entries"], json!([entry]));
    assert_eq!(listing(&node, &key, "/box/")["entries"][0]["size"], 4);
    assert_eq!(node.ask(&node.own("GET", "/box/letter")).status, 404);
    let moved = node.ask(&node.own("MOVE", "/box/").header("Destination", "/elsewhere/"));
    assert_eq!(moved.status, 409);
    assert!(moved.text().contains("/localhost/box/letter"), "{}", moved.text());
    assert_eq!(node.ask(&node.own("DELETE", "/box/letter")).status, 204);
    assert_eq!(node.ask(&Request::new("GET", "/box/letter").bearer(&key)).status, 404);
    assert_eq!(node.ask(&Request::new("PUT", "/box/other").body(b"dear")).status, 201);
    assert_eq!(node.ask(&node.own("DELETE", "/box/other?purge=true")).status, 204);
    assert_eq!(node.ask(&Request::new("PUT", "/box/third").body(b"dear")).status, 201);
    assert_eq!(node.ask(&node.own("DELETE", "/box/")).status, 204);
    assert_eq!(listing(&node, &node.key, "/box/")["entries"], json!([]));
}
