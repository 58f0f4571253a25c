//! `/.jsfs/…`: status, tokens, revocations, namespaces.

use crate::node::Node;
use jsfs_testkit::http::Request;

#[test]
fn anybody_may_ask_for_the_status_and_the_root_key_hears_more() {
    let node = Node::start();
    for request in [
        Request::new("GET", "/.jsfs/status"),
        Request::new("GET", "/.jsfs/status").bearer("wrong"),
        Request::new("GET", "/.jsfs/status").header("Host", "any.example"),
    ] {
        let answer = node.ask(&request);
        assert_eq!(answer.json(), serde_json::json!({"status": "ok", "version": "5.0.0-test"}));
    }
    let more = node.ask(&node.own("GET", "/.jsfs/status")).json();
    assert_eq!(more["status"], "ok");
    assert!(more["node"].is_object() && more["load"]["requests"] == 1, "{more}");
}

#[test]
fn a_node_that_has_met_damage_says_so_to_everybody_and_where_to_the_root_key() {
    let (node, disk) = Node::faulty();
    let body: Vec<u8> =
        (0..100_000_u32).map(|at| u8::try_from(at.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    node.put("/damaged", &body);
    assert_eq!(node.get("/.jsfs/status").json()["status"], "ok");
    let length = disk.pack_bytes(1).len() as u64;
    (0..length).step_by(997).skip(4).for_each(|offset| disk.flip_bit(1, offset, 3));
    assert_eq!(node.get("/damaged").status, 500);
    let all = node.get("/.jsfs/status");
    assert_eq!(all.json(), serde_json::json!({"status": "degraded", "version": "5.0.0-test"}));
    let root = node.ask(&node.own("GET", "/.jsfs/status")).json();
    assert!(root["reason"].as_str().unwrap().contains("000000000001.pack"), "{root}");
}

#[test]
fn tokens_are_made_for_the_holder_of_the_key_and_revoked_by_him() {
    let node = Node::start();
    let post = |body: &serde_json::Value| {
        node.ask(&node.own("POST", "/.jsfs/tokens").body(body.to_string().as_bytes()))
    };
    let made = post(
        &serde_json::json!({"address": "/localhost/shared/", "methods": ["GET", "LIST"], "expires_in": 3600}),
    );
    assert_eq!(made.status, 201, "{}", made.text());
    let json = made.json();
    let token = json["token"].as_str().unwrap();
    assert_eq!(
        (&json["address"], &json["methods"]),
        (&"/localhost/shared/".into(), &serde_json::json!(["GET", "LIST"]))
    );
    assert_eq!(json["url"], format!("http://localhost/shared/?access_token={token}"));
    assert!(json["expires"].as_str().unwrap().ends_with('Z') && !json["jti"].as_str().unwrap().is_empty());
    assert_eq!(made.header("cache-control"), Some("no-store"));
    for bad in [
        serde_json::json!({}),
        serde_json::json!({"address": "no slash"}),
        serde_json::json!({"address": 5}),
        serde_json::json!({"address": "/localhost/a", "methods": []}),
        serde_json::json!({"address": "/localhost/a", "methods": ["MANAGE"]}),
        serde_json::json!({"address": "/localhost/a", "methods": "GET"}),
        serde_json::json!({"address": "/localhost/a", "expires_in": -5}),
        serde_json::json!({"address": "/localhost/a", "expires": "tomorrow"}),
        serde_json::json!({"address": "/localhost/a", "expires": 99, "expires_in": 5}),
        serde_json::json!({"address": "/localhost/a", "lifetime": 5}),
        serde_json::json!([]),
    ] {
        assert_eq!(post(&bad).status, 400, "{bad}");
    }
    let body = br#"{"address":"/localhost/shared/"}"#;
    assert_eq!(node.ask(&Request::new("POST", "/.jsfs/tokens").body(body)).status, 401);
    let revoke = |body: &serde_json::Value| {
        node.ask(&node.own("POST", "/.jsfs/revocations").body(body.to_string().as_bytes())).status
    };
    assert_eq!(revoke(&serde_json::json!({"address": "/localhost/shared/", "jti": json["jti"]})), 204);
    for bad in [
        serde_json::json!({"address": "/localhost/shared/"}),
        serde_json::json!({"jti": "x"}),
        serde_json::json!({"address": "/localhost/shared/", "jti": "x", "token": "y"}),
        serde_json::json!({"address": "/localhost/shared/", "token": "not a token"}),
        serde_json::json!({"address": "/localhost/shared/", "jti": "x", "expires": true}),
    ] {
        assert_eq!(revoke(&bad), 400, "{bad}");
    }
    let body = br#"{"address":"/localhost/shared/","jti":"x"}"#;
    assert_eq!(node.ask(&Request::new("POST", "/.jsfs/revocations").body(body)).status, 401);
}

#[test]
fn namespaces_belong_to_the_root_key() {
    let node = Node::start();
    let put = |name: &str, body: &str| {
        node.ask(&node.own("PUT", &format!("/.jsfs/namespaces/{name}")).body(body.as_bytes()))
    };
    let made = put("com.example", r#"{"private":false,"quota":1000000}"#);
    assert_eq!(
        (made.status, made.header("location")),
        (201, Some("/.jsfs/namespaces/com.example")),
        "{}",
        made.text()
    );
    assert_eq!((&made.json()["private"], &made.json()["quota"]), (&false.into(), &1_000_000.into()));
    assert_eq!(put("com.example", "{}").status, 200);
    let patched = node.ask(&node.own("PATCH", "/.jsfs/namespaces/com.example").body(br#"{"quota":null}"#));
    assert_eq!((patched.status, &patched.json()["quota"]), (200, &serde_json::Value::Null));
    let listed = node.ask(&node.own("GET", "/.jsfs/namespaces")).json();
    let example =
        listed["namespaces"].as_array().unwrap().iter().find(|entry| entry["name"] == "com.example").unwrap();
    for field in ["name", "host", "owner", "private", "quota", "bytes", "objects"] {
        assert!(example.get(field).is_some(), "{field}");
    }
    for (method, target) in [
        ("GET", "/.jsfs/namespaces"),
        ("PUT", "/.jsfs/namespaces/org.other"),
        ("PATCH", "/.jsfs/namespaces/com.example"),
    ] {
        assert_eq!(node.ask(&Request::new(method, target).body(b"{}")).status, 401, "{method} {target}");
        assert_eq!(
            node.ask(&Request::new(method, target).bearer("wrong").body(b"{}")).status,
            401,
            "{method} {target}"
        );
    }
    assert_eq!(node.ask(&node.own("PATCH", "/.jsfs/namespaces/org.absent").body(b"{}")).status, 404);
    assert_eq!(put("com.example", r#"{"private":"no"}"#).status, 400);
    assert_eq!(put("com.example", r#"{"unknown":1}"#).status, 400);
}

#[test]
fn a_name_that_is_a_key_belongs_to_that_key() {
    let node = Node::start();
    let key = jsfs_objects::key::Seed::generate(&jsfs_objects::clock::SystemRandom);
    let (name, text) = (key.keys().owner().namespace(), key.to_text());
    let add = |method: &'static str, target: &str, key: Option<&str>| {
        let body = key.map_or_else(|| "{}".to_owned(), |key| format!(r#"{{"owner_key":"{key}"}}"#));
        node.ask(&node.own(method, target).body(body.as_bytes()))
    };
    let target = format!("/.jsfs/namespaces/{name}");
    let taken = add("PUT", &target, None);
    assert_eq!(taken.status, 400, "the root key is another: {}", taken.text());
    assert!(taken.text().contains("belongs to the key that it is named by"), "{}", taken.text());
    let made = add("POST", "/.jsfs/namespaces", Some(&text));
    assert_eq!((made.status, made.header("location")), (201, Some(target.as_str())), "{}", made.text());
    assert_eq!(made.json()["owner"], key.keys().owner().to_string());
    assert_eq!(add("POST", "/.jsfs/namespaces", Some(&text)).status, 200, "it is there already");
    let other = jsfs_objects::key::Seed::generate(&jsfs_objects::clock::SystemRandom).to_text();
    assert_eq!(add("PUT", &target, Some(&other)).status, 400, "nor can another key have it now");
    let chosen = add("POST", "/.jsfs/namespaces", Some("correct horse"));
    assert_eq!(chosen.status, 400, "{}", chosen.text());
    assert!(chosen.text().contains("only a generated key"), "{}", chosen.text());
    // A name that only looks like one is a name like any other.
    assert_eq!(add("PUT", "/.jsfs/namespaces/bread", None).status, 201);
}

#[test]
fn the_interface_is_nobodys_namespace() {
    let node = Node::start();
    for target in
        ["/.jsfs", "/.jsfs/", "/.jsfs/nothing", "/.JSFS/status", "/%2ejsfs/status", "/.com.example/.jsfs/x"]
    {
        assert_eq!(node.get(target).status, 404, "{target}");
        assert_eq!(node.ask(&node.own("PUT", target).body(b"x")).status, 404, "{target}");
    }
}

#[test]
fn a_namespace_whose_absolute_addresses_are_the_nodes_own_cannot_be_made() {
    let node = Node::start();
    for name in ["jsfs", "JSFS", "%6asfs", "localhost.jsfs"] {
        let made = node.ask(&node.own("PUT", &format!("/.jsfs/namespaces/{name}")).body(b"{}"));
        assert_eq!(made.status, 400, "{name}: {}", made.text());
        let detail = made.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("/.jsfs/") && detail.contains("interface"), "{detail}");
    }
    node.add_namespace("jsfs.files");
    node.put("/.jsfs.files/x", b"x");
    assert_eq!(node.get("/.jsfs.files/x").text(), "x");
}
