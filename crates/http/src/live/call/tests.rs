//! Tests of reading calls.

use super::{Action, Base, Payload, Rendering, parse};
use hyper::header::HeaderValue;
use serde_json::{Value, json};

fn base() -> Base {
    Base { host: HeaderValue::from_static("example.com:7302"), path: "/docs/index.html".to_owned() }
}

/// Method, target and headers of the request that a call stands for.
fn request(method: &str, params: &Value) -> (String, Vec<(String, String)>, Payload, Rendering) {
    let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let call = parse(&text, &base()).map_err(|fault| fault.problem.detail).expect("a call");
    let Action::Request(asking) = call.action else { panic!("no request") };
    let head = format!("{} {}", asking.parts.method, asking.parts.uri);
    let headers = asking.parts.headers.iter().filter(|(name, _)| *name != "host");
    let headers = headers
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    (head, headers.collect(), asking.payload, asking.rendering)
}

fn code(text: &str) -> i32 {
    parse(text, &base()).err().expect("a fault").code
}

#[test]
fn every_method_of_the_list_is_there() {
    for method in super::METHODS {
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"x": 1}}).to_string();
        assert_eq!(code(&text), -32_602, "{method}: it is known and takes no x");
    }
}

#[test]
fn a_path_is_plain_text_and_relative_to_the_connection() {
    let target = |path: &str| request("head", &json!({ "path": path })).0;
    assert_eq!(target("a.txt"), "HEAD /docs/a.txt");
    assert_eq!(target("../a b%.txt"), "HEAD /docs/../a%20b%25.txt");
    assert_eq!(target("/ä?#"), "HEAD /%C3%A4%3F%23");
    assert_eq!(target("/.com.example/x"), "HEAD /.com.example/x");
    assert_eq!(target(""), "HEAD /docs/index.html");
}

#[test]
fn a_call_stands_for_one_request() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let params = json!({"path": "a", "text": "hi", "private": false, "if_none_match": "*"});
    let (head, headers, payload, rendering) = request("put", &params);
    assert_eq!(head, "PUT /docs/a");
    assert_eq!(headers, [header("x-private", "false"), header("if-none-match", "*")]);
    assert_eq!((payload, rendering), (Payload::Bytes("hi".into()), Rendering::Written));
    let params = json!({"path": "a", "range": "0-9", "if_match": "abc", "version": 3});
    let (_, headers, ..) = request("get", &params);
    let expected = [header("x-version", "3"), header("range", "bytes=0-9"), header("if-match", "\"abc\"")];
    assert_eq!(headers, expected);
    let (head, headers, ..) = request("move", &json!({"path": "a", "destination": "b c"}));
    assert_eq!((head.as_str(), &headers[..]), ("MOVE /docs/a", &[header("destination", "/docs/b%20c")][..]));
    let params = json!({"path": "work.js", "args": ["a b", "ä&?"], "text": "hi"});
    let (head, headers, payload, rendering) = request("start", &params);
    assert_eq!(head, "EXECUTE /docs/work.js?arg=a%20b&arg=%C3%A4%26%3F");
    assert_eq!(headers, [header("prefer", "respond-async")]);
    assert_eq!((payload, rendering), (Payload::Bytes("hi".into()), Rendering::Started));
    let (_, headers, payload, _) = request("append", &json!({"path": "a", "stream": 7}));
    assert_eq!((headers, payload), (vec![header("x-append", "true")], Payload::Stream(7)));
}

#[test]
fn what_is_no_call_gets_the_code_that_json_rpc_has_for_it() {
    assert_eq!(code("{"), -32_700);
    assert_eq!(code("[]"), -32_600);
    assert_eq!(code("7"), -32_600);
    assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"get"}"#), -32_600);
    assert_eq!(code(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#), -32_600);
    assert_eq!(code(r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#), -32_600);
    assert_eq!(code(r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#), -32_600);
    assert_eq!(code(r#"{"jsonrpc":"2.0","id":1}"#), -32_600);
    assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":"reboot"}"#), -32_601);
    for (method, params) in [
        ("ping", json!([])),
        ("ping", json!({"a": 1})),
        ("get", json!({})),
        ("get", json!({"path": 1})),
        ("get", json!({"path": "a", "range": "0-1,5-6"})),
        ("get", json!({"path": "a", "version": "3"})),
        ("get", json!({"path": "a", "pth": 1})),
        ("list", json!({"path": "a"})),
        ("put", json!({"path": "a"})),
        ("put", json!({"path": "a", "text": "a", "base64": "YQ=="})),
        ("put", json!({"path": "a", "stream": 2})),
        ("put", json!({"path": "a", "stream": 4_294_967_297_u64})),
        ("put", json!({"path": "a", "base64": "***"})),
        ("put", json!({"path": "a", "text": "a", "content_type": "a\u{1}"})),
        ("patch", json!({"path": "a", "properties": 1})),
        ("restore", json!({"path": "a"})),
        ("start", json!({"path": "a", "args": "b"})),
        ("start", json!({"path": "a", "args": [1]})),
        ("start", json!({"path": "a", "text": "a", "stream": 1})),
        ("authenticate", json!({})),
        ("unwatch", json!({})),
    ] {
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        assert_eq!(code(&text), -32_602, "{text}");
    }
}
