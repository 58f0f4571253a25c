//! What each verb answers: the statuses of the contract.

use crate::node::Node;
use jsfs_testkit::http::Request;

#[test]
fn a_write_answers_with_the_metadata_and_where_it_is() {
    let node = Node::start();
    let made = node.ask(&node.own("PUT", "/docs/a%20b.txt?private=false").body(b"hello"));
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.header("location"), Some("/docs/a%20b.txt"));
    let json = made.json();
    assert_eq!(json["url"], "http://localhost/docs/a%20b.txt");
    assert_eq!(json["address"], "/localhost/docs/a b.txt");
    assert_eq!(
        (&json["version"], &json["private"], &json["executable"]),
        (&1.into(), &false.into(), &false.into())
    );
    assert_eq!((&json["content_type"], &json["file_size"]), (&"text/plain; charset=utf-8".into(), &5.into()));
    assert_eq!(made.header("etag"), Some(&*format!("\"{}\"", json["etag"].as_str().unwrap())));
    assert!(json["created"].as_str().unwrap().ends_with('Z'));
    assert_eq!(json["created"], json["modified"]);
    assert_eq!(json["blocks"][0]["size"], 5);
    assert!(json.get("access_key").is_none(), "no key was made");
    let again = node.ask(&node.own("PUT", "/docs/a%20b.txt").body(b"hello, world"));
    assert_eq!((again.status, &again.json()["version"]), (200, &2.into()), "{}", again.text());
    assert_eq!(again.json()["created"], json["created"]);
}

#[test]
fn a_write_inherits_what_it_does_not_change() {
    let node = Node::start();
    let first =
        node.own("PUT", "/x").header("Content-Type", "text/css").header("X-Private", "false").body(b"1");
    assert_eq!(node.ask(&first).status, 201);
    let json = node.ask(&node.own("PUT", "/x").body(b"2")).json();
    assert_eq!((&json["content_type"], &json["private"]), (&"text/css".into(), &false.into()));
    let json = node.ask(&node.own("POST", "/x?content_type=text/plain").body(b"3")).json();
    assert_eq!((&json["content_type"], &json["private"]), (&"text/plain".into(), &false.into()));
    let json = node.ask(&node.own("PUT", "/y").body(b"1")).json();
    assert_eq!((&json["content_type"], &json["private"]), (&"application/octet-stream".into(), &true.into()));
}

#[test]
fn a_client_may_do_without_the_metadata() {
    let node = Node::start();
    let minimal = |target| node.ask(&node.own("PUT", target).header("Prefer", "return=minimal").body(b"x"));
    let made = minimal("/m");
    assert_eq!((made.status, made.body.len()), (201, 0));
    assert_eq!(made.header("preference-applied"), Some("return=minimal"));
    assert!(made.header("etag").is_some() && made.header("location").is_some());
    assert_eq!(minimal("/m").status, 204);
}

#[test]
fn append_adds_to_the_end() {
    let node = Node::start();
    node.put("/log", b"one\n");
    let appended = node.ask(&node.own("POST", "/log?append=true").body(b"two\n"));
    assert_eq!((appended.status, &appended.json()["file_size"]), (200, &8.into()));
    assert_eq!(node.get("/log").text(), "one\ntwo\n");
    assert_eq!(node.ask(&node.own("PUT", "/log2?append=1").body(b"new")).status, 201);
}

#[test]
fn nobody_writes_without_a_key() {
    let node = Node::start();
    node.put("/public", b"x");
    node.put_private("/private", b"x");
    for target in ["/public", "/private", "/absent", "/absent/below", "/.com.victim/x"] {
        for method in ["PUT", "POST", "PATCH", "DELETE"] {
            for credential in [None, Some("wrong"), Some("jsfs_wrong"), Some("eyJh.eyJi.c")] {
                let mut request = Request::new(method, target).body(b"{}");
                if let Some(credential) = credential {
                    request = request.bearer(credential);
                }
                let answer = node.ask(&request);
                assert_eq!(answer.status, 401, "{method} {target} {credential:?}: {}", answer.text());
            }
        }
    }
    assert_eq!(node.get("/public").text(), "x");
}

#[test]
fn private_and_absent_are_the_same_to_a_stranger() {
    let node = Node::start();
    node.put_private("/hidden/a", b"secret");
    node.put_private("/hidden/index.html", b"secret");
    let strip = |answer: jsfs_testkit::http::Answer, address: &str| {
        let headers: Vec<_> = answer.headers.into_iter().filter(|(name, _)| name != "date").collect();
        (answer.status, headers, String::from_utf8(answer.body).unwrap().replace(address, "ADDRESS"))
    };
    let etag = node.ask(&node.own("GET", "/hidden/a")).header("etag").unwrap().to_owned();
    for method in
        ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "COPY", "MOVE", "EXECUTE", "OPTIONS", "TRACE"]
    {
        for (hidden, absent) in [("/hidden/a", "/absent/a"), ("/hidden/", "/absent/"), ("/hidden", "/absent")]
        {
            let ask = |target: &str| {
                let request = Request::new(method, target)
                    .header("Destination", "/elsewhere")
                    .header("If-None-Match", &etag)
                    .header("Range", "bytes=0-");
                strip(node.ask(&request), &format!("/localhost{target}"))
            };
            assert_eq!(ask(hidden), ask(absent), "{method} {hidden}");
        }
    }
    // Nor does a destination tell: the answer comes from the source's and the destination's authority only.
    node.put("/public", b"x");
    let to =
        |destination| node.ask(&Request::new("COPY", "/public").header("Destination", destination)).text();
    assert_eq!(to("/hidden/a"), to("/absent/a"));
}

#[test]
fn deleting_keeps_versions_and_purging_forgets_them() {
    let node = Node::start();
    node.put("/d", b"one");
    assert_eq!(node.ask(&node.own("DELETE", "/d")).status, 204);
    assert_eq!(node.get("/d").status, 404);
    assert_eq!(node.ask(&node.own("DELETE", "/d")).status, 404);
    let restored = node.ask(&node.own("POST", "/d?restore=1"));
    assert_eq!(restored.status, 201, "{}", restored.text());
    assert_eq!(node.get("/d").text(), "one");
    assert_eq!(node.ask(&node.own("DELETE", "/d?purge=true")).status, 204);
    assert_eq!(node.ask(&node.own("GET", "/d")).status, 410);
    assert_eq!(node.ask(&node.own("POST", "/d?restore=1")).status / 100, 4);
}

#[test]
fn versions_are_listed_and_read_by_number() {
    let node = Node::start();
    for body in [b"one", b"two"] {
        node.put("/v", body);
    }
    assert_eq!(node.get("/v?version=1").text(), "one");
    assert_eq!(node.get("/v?version=2").text(), "two");
    assert_eq!(node.get("/v?version=3").status, 404);
    assert_eq!(node.get("/v?version=0").status, 400);
    let json = node.get("/v?versions").json();
    let versions = json["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2);
    assert_eq!(
        (&versions[0]["version"], &versions[0]["file_size"], &versions[0]["deleted"]),
        (&2.into(), &3.into(), &false.into())
    );
    for field in ["version", "modified", "file_size", "etag", "content_type", "private", "deleted"] {
        assert!(versions[1].get(field).is_some(), "{field}");
    }
}

#[test]
fn properties_change_without_the_body() {
    let node = Node::start();
    node.put("/p", b"body");
    let patch = |body: &'static [u8]| {
        node.ask(&node.own("PATCH", "/p").header("Content-Type", "application/json").body(body))
    };
    let changed = patch(br#"{"content_type":"text/css","private":true}"#);
    assert_eq!((changed.status, changed.body.len()), (204, 0), "{}", changed.text());
    assert!(changed.header("etag").is_some());
    assert_eq!(node.get("/p").status, 404);
    let read = node.ask(&node.own("GET", "/p"));
    assert_eq!((read.text().as_str(), read.header("content-type")), ("body", Some("text/css")));
    assert_eq!(node.ask(&node.own("PATCH", "/p?private=false")).status, 204);
    assert_eq!(node.get("/p").status, 200);
    for (bad, status) in [
        (&b"{"[..], 400),
        (b"[]", 400),
        (b"{}", 400),
        (br#"{"privat":true}"#, 400),
        (br#"{"private":"yes"}"#, 400),
        (br#"{"private":null}"#, 400),
        (br#"{"content_type":"nonsense"}"#, 400),
        (br#"{"executable":true}"#, 501),
    ] {
        assert_eq!(patch(bad).status, status, "{}", String::from_utf8_lossy(bad));
    }
    let typed = node.ask(&node.own("PATCH", "/p").header("Content-Type", "text/plain").body(b"{}"));
    assert_eq!(typed.status, 415);
    let long = format!("{{\"content_type\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(node.ask(&node.own("PATCH", "/p").body(long.as_bytes())).status, 413);
    assert_eq!(node.ask(&node.own("PATCH", "/absent").body(br#"{"private":true}"#)).status, 404);
}

#[test]
fn copies_and_moves_go_where_they_are_sent() {
    let node = Node::start();
    node.put("/from", b"bytes");
    let carry = |method, to: &str| node.ask(&node.own(method, "/from").header("Destination", to));
    let copied = carry("COPY", "/to%20here");
    assert_eq!((copied.status, copied.header("location")), (201, Some("/to%20here")), "{}", copied.text());
    assert_eq!(node.get("/to%20here").text(), "bytes");
    assert_eq!(carry("COPY", "http://localhost/to%20here").status, 204);
    assert_eq!(
        node.ask(&node.own("COPY", "/from").header("Destination", "/to%20here").header("Overwrite", "F"))
            .status,
        412
    );
    assert_eq!(carry("MOVE", "/.localhost/moved").status, 201);
    assert_eq!((node.get("/from").status, node.get("/moved").text().as_str()), (404, "bytes"));
    assert_eq!(node.ask(&node.own("POST", "/moved?copy_to=/again")).status, 201);
    assert_eq!(node.ask(&node.own("POST", "/again?move_to=/last")).status, 201);
    assert_eq!(node.get("/last").text(), "bytes");
    for bad in ["", "relative", "ftp://a/b", "http://a.com", "/%zz", "/a?b"] {
        assert_eq!(node.ask(&node.own("COPY", "/last").header("Destination", bad)).status, 400, "{bad:?}");
    }
    assert_eq!(node.ask(&node.own("COPY", "/last")).status, 400);
    assert_eq!(node.ask(&node.own("COPY", "/nothing").header("Destination", "/x")).status, 404);
    let stale = node.own("MOVE", "/last").header("Destination", "/x").header("If-Match", "\"other\"");
    assert_eq!(node.ask(&stale).status, 412);
    assert_eq!(node.get("/last").status, 200);
}

#[test]
fn conditions_of_writes_hold() {
    let node = Node::start();
    let put = |target: &'static str, name: &str, value: &str| {
        node.ask(&node.own("PUT", target).header(name, value).body(b"x"))
    };
    assert_eq!(put("/c", "If-Match", "*").status, 412);
    let made = put("/c", "If-None-Match", "*");
    assert_eq!(made.status, 201);
    let etag = made.header("etag").unwrap().to_owned();
    assert_eq!(put("/c", "If-None-Match", "*").status, 412);
    assert_eq!(put("/c", "If-Match", "\"0\"").status, 412);
    assert_eq!(put("/c", "If-Match", &etag).status, 200);
    assert_eq!(put("/c", "If-Match", "no quotes").status, 400);
    assert_eq!(node.ask(&node.own("DELETE", "/c").header("If-Match", "\"0\"")).status, 412);
    assert_eq!(node.ask(&node.own("DELETE", "/c").header("If-Match", "*")).status, 204);
    // A stranger's condition is not even looked at.
    assert_eq!(node.ask(&Request::new("PUT", "/c").header("If-Match", "*").body(b"x")).status, 401);
}

#[test]
fn methods_that_nobody_knows_are_refused_with_those_that_are() {
    let node = Node::start();
    node.put("/x", b"x");
    for method in ["TRACE", "BREW", "PROPFIND", "LOCK", "get"] {
        for target in ["/x", "/", "/absent", "/.jsfs/status"] {
            let answer = node.ask(&Request::new(method, target));
            assert_eq!(answer.status, 405, "{method} {target}");
            assert!(answer.header("allow").unwrap().contains("GET"), "{answer:?}");
        }
    }
    let answer = node.ask(&node.own("PUT", "/dir/").body(b"x"));
    assert_eq!((answer.status, answer.header("allow").unwrap().contains("PUT")), (405, false));
    assert_eq!(node.ask(&node.own("EXECUTE", "/x")).status, 501);
    assert_eq!(node.ask(&node.own("PUT", "/program?executable=true").body(b"x")).status, 501);
    assert_eq!(node.ask(&node.own("PUT", "/program").header("X-Executable", "1").body(b"x")).status, 501);
    assert_eq!(node.ask(&node.own("PUT", "/program?execute=false").body(b"x")).status, 201);
}

#[test]
fn bad_parameters_change_nothing() {
    let node = Node::start();
    node.put("/b", b"before");
    for (target, header) in [
        ("/b?private=yes", None),
        ("/b?private=true", Some(("X-Private", "false"))),
        ("/b?append=maybe", None),
        ("/b?access_key=other", None),
        ("/b?content_type=nonsense", None),
        ("/b?content_type=text/html%0d%0ax:y", None),
        ("/b?content_type=text/%E4%BD%A0", None),
        ("/b?private=%zz", None),
        ("/b", Some(("Content-Type", "text"))),
        ("/b", Some(("Content-Range", "bytes 0-1/2"))),
        ("/b", Some(("If-Match", "x"))),
    ] {
        let mut request = node.own("PUT", target).body(b"after");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        assert_eq!(node.ask(&request).status, 400, "{target} {header:?}");
    }
    assert_eq!(
        node.ask(&node.own("PUT", "/b").header("Content-Encoding", "gzip").body(b"after")).status,
        415
    );
    assert_eq!(node.get("/b").text(), "before");
}

/// A directory has no entity tag and no date: a list of tags names another state for sure, `*` asks whether it is there.
#[test]
fn conditions_of_directories_hold_or_refuse() {
    let node = Node::start();
    node.put("/tree/a", b"a");
    node.put("/tree/b/c", b"c");
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    let refused: &[(&str, &str)] =
        &[("If-Match", "\"x\""), ("If-Match", "\"x\", W/\"y\""), ("If-None-Match", "*")];
    for (name, value) in refused {
        for method in ["DELETE", "COPY", "MOVE", "PATCH"] {
            let request = node.own(method, "/tree/").header("Destination", "/other/").header(name, value);
            let answer = node.ask(&request.body(br#"{"private":false}"#));
            assert_eq!(answer.status, 412, "{method} {name}: {value}: {}", answer.text());
        }
        let by_post = node.own("POST", "/tree/?move_to=/other/").header(name, value);
        assert_eq!(node.ask(&by_post).status, 412, "{name}: {value}");
        let by_purge = node.own("DELETE", "/tree/?purge=true").header(name, value);
        assert_eq!(node.ask(&by_purge).status, 400, "{name}: {value}");
    }
    for method in ["DELETE", "PATCH"] {
        let garbled = node.own(method, "/tree/").header("If-Match", "x").body(br#"{"private":false}"#);
        assert_eq!(node.ask(&garbled).status, 400, "{method}");
    }
    assert_eq!(node.get("/tree/b/c").text(), "c", "all of it is there");
    assert_eq!(node.ask(&node.own("GET", "/other/")).json()["entries"], serde_json::json!([]));
    // What is not there is 404 whatever the condition, and to a stranger 401.
    let absent = node.own("DELETE", "/nothing/").header("If-Match", "\"x\"");
    assert_eq!(node.ask(&absent).status, 404);
    let absent = node.own("MOVE", "/nothing/").header("Destination", "/x/").header("If-None-Match", "*");
    assert_eq!(node.ask(&absent).status, 404);
    assert_eq!(node.ask(&Request::new("DELETE", "/tree/").header("If-Match", "\"x\"")).status, 401);
    // Reading follows the same rules.
    let read = |name, value| node.ask(&Request::new("GET", "/tree/").header(name, value)).status;
    assert_eq!(
        (read("If-Match", "\"x\""), read("If-None-Match", "*"), read("If-Match", "x")),
        (412, 304, 400)
    );
    assert_eq!(
        (read("If-Match", "*"), read("If-None-Match", "\"x\""), read("If-Unmodified-Since", old)),
        (200, 200, 200)
    );
    for (method, name, value, status) in [
        ("PATCH", "If-Match", "*", 204),
        ("PATCH", "If-None-Match", "\"x\"", 204),
        ("PATCH", "If-Unmodified-Since", old, 204),
        ("COPY", "If-Match", "*", 201),
        ("COPY", "If-None-Match", "\"x\"", 204),
        ("DELETE", "If-Unmodified-Since", old, 204),
    ] {
        let request = node.own(method, "/tree/").header("Destination", "/copy/").header(name, value);
        assert_eq!(node.ask(&request.body(br#"{"private":false}"#)).status, status, "{method} {name}");
    }
    assert_eq!(node.ask(&node.own("DELETE", "/copy/").header("If-Match", "*")).status, 204);
    assert_eq!(node.get("/copy/a").status, 404);
}

#[test]
fn a_parameter_that_contradicts_the_verb_changes_nothing() {
    let node = Node::start();
    node.put("/x", b"one");
    node.put("/x", b"two");
    node.put("/d/x", b"x");
    for (method, target) in [
        ("DELETE", "/x?version=1"),
        ("DELETE", "/x?versions"),
        ("DELETE", "/x?restore=1"),
        ("DELETE", "/x?copy_to=/y"),
        ("DELETE", "/x?move_to=/y"),
        ("DELETE", "/x?append=true"),
        ("DELETE", "/d/?properties"),
        ("DELETE", "/d/?limit=1"),
        ("DELETE", "/d/?after=a"),
        ("DELETE", "/d/?recursive=false"),
        ("PUT", "/x?version=1"),
        ("PUT", "/x?versions"),
        ("PUT", "/x?restore=1"),
        ("PUT", "/x?copy_to=/y"),
        ("PUT", "/x?move_to=/y"),
        ("PUT", "/x?purge=true"),
        ("POST", "/x?version=1"),
        ("POST", "/x?purge=true"),
        ("POST", "/x?copy_to=/y&move_to=/z"),
        ("POST", "/x?copy_to=/y&restore=1"),
        ("POST", "/x?copy_to=/y&append=true"),
        ("POST", "/x?restore=1&append=1"),
        ("PATCH", "/x?version=1&private=true"),
        ("PATCH", "/x?restore=1&private=true"),
        ("COPY", "/x?version=1"),
        ("MOVE", "/x?copy_to=/z"),
        ("GET", "/x?restore=1"),
        ("GET", "/x?purge=true"),
        ("GET", "/x?copy_to=/y"),
        ("HEAD", "/x?move_to=/y"),
    ] {
        let request = node.own(method, target).header("Destination", "/y").body(b"three");
        let answer = node.ask(&request);
        assert_eq!(answer.status, 400, "{method} {target}: {}", answer.text());
    }
    let by_header = node.own("DELETE", "/x").header("X-Version", "1");
    assert_eq!(node.ask(&by_header).status, 400);
    let detail = node.ask(&node.own("DELETE", "/x?version=1")).json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("version") && detail.contains("GET") && detail.contains("DELETE"), "{detail}");
    let read = node.get("/x");
    assert_eq!((read.text().as_str(), read.header("x-version")), ("two", Some("2")));
    assert_eq!((node.get("/y").status, node.get("/d/x").status), (404, 200));
}

#[test]
fn what_asks_for_nothing_else_is_no_contradiction() {
    let node = Node::start();
    for (method, target, status) in [
        (
            "PUT",
            "/x?private=false&content_type=text/css&append=false&purge=0&expires=9&unknown=1&encrypted=true",
            201,
        ),
        (
            "GET",
            "/x?private=true&content_type=text/html&append=false&executable=0&node=a&cache=1&parallel=1",
            200,
        ),
        ("HEAD", "/x?replacement_access_key=a", 200),
        ("OPTIONS", "/x?version=1&restore=1", 204),
        ("POST", "/x?copy_to=/d/x&append=false", 201),
        ("DELETE", "/d/?recursive=true&private=false", 204),
        ("DELETE", "/x?purge=false", 204),
    ] {
        let answer = node.ask(&node.own(method, target).body(b"x"));
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
    }
}

#[test]
fn a_deletion_says_nothing_of_privacy() {
    let node = Node::start();
    node.put_private("/secret", b"x");
    assert_eq!(node.ask(&node.own("DELETE", "/secret")).status, 204);
    let versions = node.ask(&node.own("GET", "/secret?versions")).json();
    let (deletion, before) = (&versions["versions"][0], &versions["versions"][1]);
    assert_eq!((&deletion["deleted"], &deletion["private"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!((&before["deleted"], &before["private"]), (&false.into(), &true.into()));
}

#[test]
fn a_field_that_is_given_twice_is_refused() {
    let node = Node::start();
    node.put("/x", b"x");
    for (method, target, body) in [
        ("PATCH", "/x", r#"{"private":true,"private":false}"#),
        ("PATCH", "/d/", r#"{"private":true,"private":true}"#),
        ("PATCH", "/d/", r#"{"retention":{"days":1,"versions":1,"days":2}}"#),
        ("POST", "/.jsfs/tokens", r#"{"address":"/localhost/a","address":"/localhost/"}"#),
        ("PUT", "/.jsfs/namespaces/twice", r#"{"private":true,"private":false}"#),
    ] {
        let answer = node.ask(&node.own(method, target).body(body.as_bytes()));
        assert_eq!(answer.status, 400, "{method} {target}: {}", answer.text());
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("twice"), "{detail}");
    }
    assert_eq!(node.get("/x").status, 200, "still public");
}

#[test]
fn a_handover_holds_its_condition_too() {
    let node = Node::start();
    let etag = node.put_private("/h", b"x").header("etag").unwrap().to_owned();
    let body = br#"{"replacement_access_key":"the key of another"}"#;
    for (target, tag, status) in [("/h", "\"x\"", 412), ("/h/", "\"x\"", 412), ("/h", &*etag, 204)] {
        let answer = node.ask(&node.own("PATCH", target).header("If-Match", tag).body(body));
        assert_eq!(answer.status, status, "{target} {tag}: {}", answer.text());
        let own = node.ask(&node.own("GET", "/h")).status;
        assert_eq!(own, if status == 412 { 200 } else { 404 }, "{target} {tag}");
    }
}

#[test]
fn an_owner_says_when_an_object_was_made_and_nobody_else() {
    let node = Node::start();
    let made = "2001-02-03T04:05:06.789Z";
    let put = |request: Request<'_>| node.ask(&request.header("X-Created", made).body(b"x"));
    let json = put(node.own("PUT", "/old").header("X-Modified", "2002-02-03T04:05:06Z")).json();
    assert_eq!((&json["created"], &json["modified"]), (&made.into(), &"2002-02-03T04:05:06.000Z".into()));
    let again = node.ask(&node.own("PUT", "/old").body(b"y")).json();
    assert_eq!(again["created"], made);
    assert_ne!(again["modified"], "2002-02-03T04:05:06.000Z");
    let future = node.own("PUT", "/new").header("X-Modified", "2999-01-01T00:00:00Z").body(b"x");
    assert_eq!(node.ask(&future).status, 400);
    for nonsense in ["yesterday", "1", "1969-01-01T00:00:00Z", ""] {
        assert_eq!(node.ask(&node.own("PUT", "/new").header("X-Modified", nonsense).body(b"x")).status, 400);
    }
    let body = br#"{"address":"/localhost/old","methods":["GET","PUT"]}"#;
    let token = node.ask(&node.own("POST", "/.jsfs/tokens").body(body)).json()["token"].clone();
    let by_token = Request::new("PUT", "/old").header("X-Access-Token", token.as_str().unwrap());
    assert_eq!(put(by_token).status, 403);
    assert_eq!(node.ask(&node.own("PATCH", "/?properties").body(br#"{"create":"anyone"}"#)).status, 204);
    assert_eq!(put(Request::new("PUT", "/dropped")).status, 403);
}
