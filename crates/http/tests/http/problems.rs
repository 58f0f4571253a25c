//! The texts of refusals, as clients read them: one snapshot, so that a change of a text is seen and meant.

use std::fmt::Write as _;

use crate::node::{Node, check_every_answer};
use jsfs_testkit::http::{Request, send_raw};

/// What a client did, and the bytes of its request. `KEY` stands for the root key.
const MISTAKES: &[(&str, &str)] = &[
    ("no HTTP", "nonsense\r\n\r\n"),
    ("no host", "GET / HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("no host name", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("a user in the target", "GET http://u:p@a.com/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("another scheme", "GET https://a.com/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a path that is none", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a bad escape", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no UTF-8", "GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a control character", "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("the node's own name", "PUT /%2ejsfs/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
    ("an unknown resource of the node", "GET /.jsfs/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an unknown method", "BREW /x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a tunnel", "CONNECT a.com:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a program", "EXECUTE /x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a pony", "GET /x HTTP/1.1\r\nHost: a\r\nExpect: a-pony\r\n\r\n"),
    ("a parameter twice", "GET /x?private=1&private=0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an undecodable parameter", "GET /x?access_key=%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two keys", "GET /x?access_key=a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer b\r\n\r\n"),
    ("bad basic", "GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: Basic ?\r\n\r\n"),
    ("authorization twice", "GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: a b\r\nAuthorization: a b\r\n\r\n"),
    ("version zero", "GET /x?version=0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no boolean", "DELETE /x?purge=yes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\n\r\n"),
    ("nothing there, no key", "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("nothing there, the key", "GET /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\n\r\n"),
    (
        "nothing there, a wrong key",
        "GET /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer jsfs_x\r\n\r\n",
    ),
    (
        "a namespace that is not there",
        "GET /x HTTP/1.1\r\nHost: absent.example\r\nAuthorization: Bearer KEY\r\n\r\n",
    ),
    ("a write without a key", "PUT /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"),
    (
        "a write with a wrong key",
        "PUT /x HTTP/1.1\r\nHost: localhost\r\nX-Access-Key: jsfs_x\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        "a write with a bad token",
        "PUT /x HTTP/1.1\r\nHost: localhost\r\nX-Access-Token: eyJh.eyJi.c\r\nContent-Length: 1\r\n\r\nx",
    ),
    ("an unknown version", "GET /there?version=9 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("no such range", "GET /there HTTP/1.1\r\nHost: localhost\r\nRange: bytes=9-\r\n\r\n"),
    ("a range of nonsense", "GET /there HTTP/1.1\r\nHost: localhost\r\nRange: bytes=x\r\n\r\n"),
    ("a range without a unit", "GET /there HTTP/1.1\r\nHost: localhost\r\nRange: 0-1\r\n\r\n"),
    ("a tag without quotes", "GET /there HTTP/1.1\r\nHost: localhost\r\nIf-Match: x\r\n\r\n"),
    ("another tag", "GET /there HTTP/1.1\r\nHost: localhost\r\nIf-Match: \"x\"\r\n\r\n"),
    (
        "a write under another tag",
        "PUT /there HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nIf-Match: \"x\"\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        "no media type",
        "PUT /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Type: x\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        "a coding",
        "PUT /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        "a part",
        "PUT /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Range: bytes 0-0/2\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        "storing a program",
        "PUT /x?executable=true HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        "storing a directory",
        "PUT /x/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        "a broken chunk",
        "PUT /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ),
    ("no destination", "COPY /there HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\n\r\n"),
    (
        "a destination that is none",
        "COPY /there HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nDestination: x\r\n\r\n",
    ),
    (
        "onto itself",
        "COPY /there HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nDestination: /there\r\n\r\n",
    ),
    (
        "an object into a directory",
        "COPY /there HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nDestination: /d/\r\n\r\n",
    ),
    (
        "a directory into itself",
        "MOVE /d/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nDestination: /d/e/\r\n\r\n",
    ),
    (
        "no overwriting",
        "COPY /there HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nDestination: /d/a\r\nOverwrite: F\r\n\r\n",
    ),
    (
        "overwrite perhaps",
        "COPY /there HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nDestination: /d/a\r\nOverwrite: perhaps\r\n\r\n",
    ),
    (
        "copying nothing",
        "COPY /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nDestination: /y\r\n\r\n",
    ),
    (
        "restoring without a number",
        "POST /there?restore HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "restoring what is not kept",
        "POST /there?restore=9 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "restoring a directory",
        "POST /d/?restore=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 0\r\n\r\n",
    ),
    ("deleting nothing", "DELETE /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\n\r\n"),
    ("purging nothing", "DELETE /x?purge=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\n\r\n"),
    (
        "purging under a condition",
        "DELETE /there?purge=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nIf-Match: *\r\n\r\n",
    ),
    (
        "reading what was purged",
        "GET /purged HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\n\r\n",
    ),
    (
        "no JSON",
        "PATCH /there HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 1\r\n\r\n{",
    ),
    (
        "no object",
        "PATCH /there HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 2\r\n\r\n[]",
    ),
    (
        "no change",
        "PATCH /there HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 2\r\n\r\n{}",
    ),
    (
        "an unknown field",
        "PATCH /there HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 7\r\n\r\n{\"x\":1}",
    ),
    (
        "a field of another kind",
        "PATCH /there HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 13\r\n\r\n{\"private\":1}",
    ),
    (
        "no JSON by its type",
        "PATCH /there HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
    ),
    (
        "a policy for nobody",
        "PATCH /d/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 16\r\n\r\n{\"create\":\"all\"}",
    ),
    ("a page of nothing", "GET /d/?limit=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    (
        "a strange cursor",
        "GET /d/?after=..%2fx HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\n\r\n",
    ),
    ("an empty directory", "GET /nothing/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a policy that is not told", "GET /d/?properties HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    (
        "a token for nothing",
        "POST /.jsfs/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 2\r\n\r\n{}",
    ),
    (
        "a token for strange methods",
        "POST /.jsfs/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 46\r\n\r\n{\"address\":\"/localhost/a\",\"methods\":[\"BREW\"]} ",
    ),
    (
        "a token that has ended",
        "POST /.jsfs/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 38\r\n\r\n{\"address\":\"/localhost/a\",\"expires\":1} ",
    ),
    (
        "revoking nothing",
        "POST /.jsfs/revocations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 26\r\n\r\n{\"address\":\"/localhost/a\"}",
    ),
    ("namespaces for a stranger", "GET /.jsfs/namespaces HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    (
        "a namespace that is no name",
        "PUT /.jsfs/namespaces/a%20b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 2\r\n\r\n{}",
    ),
    (
        "changing a namespace that is not there",
        "PATCH /.jsfs/namespaces/org.x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\nContent-Length: 2\r\n\r\n{}",
    ),
];

#[test]
fn every_refusal_says_what_is_wrong_and_what_to_do() {
    let node = Node::start();
    node.put("/there", b"there");
    node.put("/d/a", b"a");
    node.put("/purged", b"x");
    assert_eq!(node.ask(&node.own("DELETE", "/purged?purge=true")).status, 204);
    let mut texts = String::new();
    for (what, bytes) in MISTAKES {
        let bytes = bytes.replace("KEY", &node.key);
        let answer =
            send_raw(node.address, bytes.as_bytes()).unwrap_or_else(|error| panic!("{what}: {error}"));
        check_every_answer(&answer);
        let problem = answer.json();
        let kind = problem["type"].as_str().unwrap_or_default().rsplit('#').next().unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or_default();
        writeln!(texts, "{what}\n    {} {kind}: {detail}", answer.status).unwrap();
        assert!(answer.status >= 400, "{what}: {}", answer.status);
        assert!(!detail.contains(&node.key), "{what} tells the key");
    }
    insta::assert_snapshot!(texts);
}

#[test]
fn every_kind_of_problem_is_explained_where_its_type_points() {
    let page = include_str!("../../../../docs/http.md");
    for kind in jsfs_http::problem::Kind::ALL {
        let (status, slug, _) = kind.entry();
        let section =
            page.split(&format!("\n### {slug}\n")).nth(1).unwrap_or_else(|| panic!("{slug} has no section"));
        let text = section.trim_start();
        assert!(
            text.starts_with(status.as_str()),
            "{slug} begins with its status: {}",
            &text[..40.min(text.len())]
        );
    }
    assert_eq!(
        page.matches("\n### ").count()
            - page.split("\n## Problems").next().unwrap().matches("\n### ").count(),
        jsfs_http::problem::Kind::ALL.len()
    );
}

#[test]
fn a_body_of_a_refusal_is_never_sent_with_head() {
    let node = Node::start();
    let answer = node.ask(&Request::new("HEAD", "/absent"));
    assert_eq!((answer.status, answer.body.len()), (404, 0));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
}
