//! Directories: listings for programs and people, pages, index, redirects.

use crate::node::Node;
use jsfs_testkit::http::Request;

fn names(json: &serde_json::Value) -> Vec<String> {
    json["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_listing_shows_what_the_caller_may_know() {
    let node = Node::start();
    node.put("/l/public.txt", b"12345");
    node.put_private("/l/secret.txt", b"x");
    node.put_private("/l/hidden/deep.txt", b"x");
    node.put("/l/sub/deep.txt", b"x");
    let stranger = node.get("/l/").json();
    assert_eq!(names(&stranger), ["public.txt", "sub/"]);
    assert_eq!(stranger["address"], "/localhost/l/");
    assert_eq!(stranger["next"], serde_json::Value::Null);
    let entry = &stranger["entries"][0];
    assert_eq!(
        (&entry["type"], &entry["size"], &entry["version"], &entry["private"]),
        (&"object".into(), &5.into(), &1.into(), &false.into())
    );
    for field in ["content_type", "modified", "etag", "sha256"] {
        assert!(entry[field].is_string(), "{field}");
    }
    assert_eq!(stranger["entries"][1], serde_json::json!({"name": "sub/", "type": "directory"}));
    let owner = node.ask(&node.own("GET", "/l/"));
    assert_eq!(names(&owner.json()), ["hidden/", "public.txt", "secret.txt", "sub/"]);
    assert_eq!(owner.header("cache-control"), Some("private, no-cache"));
    assert_eq!(owner.header("vary"), Some("Accept, Accept-Encoding"));
    let all = node.ask(&node.own("GET", "/l/?recursive=true")).json();
    assert_eq!(names(&all), ["hidden/deep.txt", "public.txt", "secret.txt", "sub/deep.txt"]);
}

#[test]
fn a_listing_comes_in_pages() {
    let node = Node::start();
    let want: Vec<_> = (0..25).map(|at| format!("n {at:02}")).collect();
    for name in &want {
        node.put(&format!("/pages/{}", name.replace(' ', "%20")), b"x");
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = node.get(&format!("/pages/?limit=10&after={}", after.replace(' ', "%20"))).json();
        seen.extend(names(&page));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(seen, want);
    for bad in ["limit=0", "limit=x", "limit=-1", "recursive=x"] {
        assert_eq!(node.get(&format!("/pages/?{bad}")).status, 400, "{bad}");
    }
}

#[test]
fn a_browser_gets_a_page_and_the_index_where_there_is_one() {
    let node = Node::start();
    node.put("/web/a.txt", b"x");
    let browse = |target: &str| {
        node.ask(&Request::new("GET", target).header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"))
    };
    let page = browse("/web/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(page.text().contains("href=\"./a.txt\""), "{}", page.text());
    node.put("/web/index.html", b"<h1>index</h1>");
    assert_eq!(browse("/web/").text(), "<h1>index</h1>");
    assert_eq!(node.get("/web/").text(), "<h1>index</h1>");
    let json = node.ask(&Request::new("GET", "/web/").header("Accept", "application/json"));
    assert_eq!(names(&json.json()), ["a.txt", "index.html"]);
    assert_eq!(names(&node.get("/web/?limit=5").json()), ["a.txt", "index.html"]);
    let etag = node.get("/web/").header("etag").unwrap().to_owned();
    assert_eq!(node.ask(&Request::new("GET", "/web/").header("If-None-Match", &etag)).status, 304);
}

#[test]
fn a_directory_without_its_slash_is_found_by_who_may_see_it() {
    let node = Node::start();
    node.put("/open/a", b"x");
    node.put_private("/closed/a", b"x");
    let sent = node.get("/open?limit=1&x=%2F");
    assert_eq!((sent.status, sent.header("location")), (307, Some("/open/?limit=1&x=%2F")));
    assert_eq!(node.ask(&Request::new("GET", "/.localhost/open")).header("location"), Some("/open/"));
    assert_eq!(node.get("/closed").status, 404);
    assert_eq!(node.ask(&node.own("GET", "/closed")).status, 307);
    // A key in the query is not written into a URL by us.
    assert_eq!(node.get(&format!("/closed?access_key={}", node.key)).status, 404);
}

#[test]
fn policies_of_directories_change_and_are_told_to_their_owner() {
    let node = Node::start();
    let patch = |body: &'static [u8]| node.ask(&node.own("PATCH", "/box/").body(body)).status;
    assert_eq!(patch(br#"{"private":false,"quota":1000000}"#), 204);
    let told = node.ask(&node.own("GET", "/box/?properties")).json();
    assert_eq!(
        (&told["private"], &told["quota"], &told["create"]),
        (&false.into(), &1_000_000.into(), &"owner".into())
    );
    assert_eq!(node.ask(&node.own("PUT", "/box/new").body(b"x")).json()["private"], false);
    assert_eq!(patch(br#"{"quota":null}"#), 204);
    for bad in [
        &b"{}"[..],
        br#"{"quota":-1}"#,
        br#"{"quota":"1"}"#,
        br#"{"create":"everyone"}"#,
        br#"{"retention":{"days":1}}"#,
        br#"{"hosts":"a.com"}"#,
        br#"{"content_type":"text/plain"}"#,
    ] {
        assert_eq!(patch(bad), 400, "{}", String::from_utf8_lossy(bad));
    }
    assert_eq!(node.get("/box/?properties").status, 401);
    assert_eq!(node.ask(&Request::new("PATCH", "/box/").body(b"{}")).status, 401);
}

#[test]
fn the_next_page_is_as_long_as_this_one() {
    let node = Node::start();
    for name in ["a", "b", "c"] {
        node.put(&format!("/long/{name}"), b"x");
    }
    let page = node.ask(&Request::new("GET", "/long/?limit=2&recursive=true").header("Accept", "text/html"));
    assert!(page.text().contains("href=\"./?after=b&amp;limit=2&amp;recursive=true\""), "{}", page.text());
}

#[test]
fn a_policy_that_nobody_can_mean_is_refused_with_its_bounds() {
    let node = Node::start();
    let many: Vec<_> = (0..257).map(|at| format!("h{at}.example")).collect();
    for (policy, bound) in [
        (serde_json::json!({"hosts": ["a b"]}), "a b"),
        (serde_json::json!({"hosts": ["a.example", ""]}), "host"),
        (serde_json::json!({"hosts": ["http://a.example/"]}), "host"),
        (serde_json::json!({"hosts": ["a.example:80"]}), "host"),
        (serde_json::json!({"hosts": many}), "256"),
        (serde_json::json!({"retention": {"days": 36_501, "versions": 1}}), "36500"),
        (serde_json::json!({"retention": {"days": 1, "versions": 1_000_001}}), "1000000"),
        (serde_json::json!({"retention": {"days": u64::MAX, "versions": u64::MAX}}), "36500"),
    ] {
        let refused = node.ask(&node.own("PATCH", "/p/").body(policy.to_string().as_bytes()));
        assert_eq!(refused.status, 400, "{policy}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(bound), "{policy}: {detail}");
    }
    for good in [
        serde_json::json!({"hosts": ["a.example", "192.0.2.1", "2001:db8::1", "b\u{fc}cher.example"]}),
        serde_json::json!({"hosts": []}),
        serde_json::json!({"retention": {"days": 36_500, "versions": 1_000_000}}),
        serde_json::json!({"retention": {"days": 0, "versions": 0}}),
    ] {
        assert_eq!(
            node.ask(&node.own("PATCH", "/p/").body(good.to_string().as_bytes())).status,
            204,
            "{good}"
        );
    }
}
