//! Private pages in a browser: a code that works once, and a cookie that reads and does nothing else, for pages of its own origin only.

use crate::node::Node;
use jsfs_testkit::http::{Answer, Request};

/// A node with a private page in a namespace of its own.
fn node() -> Node {
    let node = Node::start();
    node.add_namespace("site");
    node.put_private("/.site/docs/index.html", b"<h1>Private</h1>");
    node.put_private("/.site/other.txt", b"other");
    node
}

/// The code of a new link, and where it is to be used.
fn code(node: &Node, address: &str) -> (String, String) {
    let body = format!(r#"{{"address":"{address}"}}"#);
    let host = format!("127.0.0.1:{}", node.address.port());
    let made = node.ask(&node.own("POST", "/.jsfs/openings").header("Host", &host).body(body.as_bytes()));
    assert_eq!(made.status, 201, "{}", made.text());
    let url =
        serde_json::from_slice::<serde_json::Value>(&made.body).unwrap()["url"].as_str().unwrap().to_owned();
    let rest = url.strip_prefix("http://").unwrap();
    let (host, target) = rest.split_at(rest.find('/').unwrap());
    (host.to_owned(), target.to_owned())
}

fn at(node: &Node, host: &str, method: &str, target: &str, headers: &[(&'static str, &str)]) -> Answer {
    let mut request = Request::new(method, target).header("Host", host);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    node.ask(&request)
}

/// What a browser keeps of `Set-Cookie`.
fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

/// How long a cookie lasts: until a moment that was named when its link was made.
fn lasts_s(set: &str) -> u64 {
    set.split("; Max-Age=").nth(1).unwrap().split(';').next().unwrap().parse().unwrap()
}

#[test]
fn a_link_opens_what_it_is_for_once_and_in_its_own_origin() {
    let node = node();
    let port = node.address.port();
    let (host, target) = code(&node, "/site/docs/");
    assert_eq!(host, format!("site.localhost:{port}"));
    let elsewhere = at(&node, &format!("localhost:{port}"), "GET", &target, &[]);
    assert_eq!(elsewhere.status, 404, "another origin does not get it");
    let opened = at(&node, &host, "GET", &target, &[]);
    assert_eq!(opened.status, 303, "{}", opened.text());
    assert_eq!(opened.header("location"), Some("/docs/"));
    let set = opened.header("set-cookie").unwrap();
    for part in ["; Path=/docs/; ", "; HttpOnly", "; SameSite=Strict"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Secure") && lasts_s(set).abs_diff(43_200) < 30, "{set}");
    assert_eq!(at(&node, &host, "GET", &target, &[]).status, 404, "it worked once");

    let cookie = cookie(&opened);
    let ask = |method: &str, path: &str, site: Option<&str>| {
        let mut headers = vec![("Cookie", cookie.as_str())];
        headers.extend(site.map(|site| ("Sec-Fetch-Site", site)));
        at(&node, &host, method, path, &headers)
    };
    for site in ["none", "same-origin"] {
        assert_eq!(ask("GET", "/docs/", Some(site)).text(), "<h1>Private</h1>", "{site}");
        assert_eq!(ask("HEAD", "/docs/index.html", Some(site)).status, 200);
    }
    for site in [Some("same-site"), Some("cross-site"), None] {
        assert_eq!(ask("GET", "/docs/", site).status, 404, "{site:?}");
    }
    assert_eq!(ask("GET", "/other.txt", Some("none")).status, 404, "beside what was opened");
    assert_eq!(ask("GET", "/docs/?access_token=x", Some("none")).status, 200, "beside another credential");
    for (method, path) in [("PUT", "/docs/new"), ("DELETE", "/docs/index.html")] {
        assert_eq!(ask(method, path, Some("same-origin")).status, 401, "{method}");
    }
    assert_eq!(ask("GET", "/.jsfs/namespaces", Some("same-origin")).status, 401);
}

#[test]
fn who_has_no_key_makes_no_link_and_a_revoked_one_shows_nothing() {
    let node = node();
    let ask = |request: &Request<'_>| node.ask(request).status;
    let body = br#"{"address":"/site/docs/"}"#;
    assert_eq!(ask(&Request::new("POST", "/.jsfs/openings").body(body)), 401);
    let long = br#"{"address":"/site/docs/","expires_in":2592001}"#;
    assert_eq!(ask(&node.own("POST", "/.jsfs/openings").body(long)), 400);
    for target in ["/.jsfs/open", "/.jsfs/open?code=", "/.jsfs/open?code=AAAA", "/.jsfs/open?x=1"] {
        assert_eq!(node.get(target).status, 404, "{target}");
    }
    let (host, target) = code(&node, "/site/docs/");
    let opened = at(&node, &host, "GET", &target, &[]);
    let cookie = cookie(&opened);
    let token = cookie.strip_prefix("jsfs=").unwrap();
    let revocation = format!(r#"{{"address":"/site/docs/","token":"{token}"}}"#);
    assert_eq!(ask(&node.own("POST", "/.jsfs/revocations").body(revocation.as_bytes())), 204);
    let read = at(&node, &host, "GET", "/docs/", &[("Cookie", &cookie), ("Sec-Fetch-Site", "none")]);
    assert_eq!(read.status, 404, "{}", read.text());
}

#[test]
fn the_page_of_the_status_shows_strangers_little_and_the_rest_only_to_a_person_who_was_let_in() {
    let node = Node::start();
    let host = format!("localhost:{}", node.address.port());
    let page = |headers: &[(&'static str, &str)]| {
        let answer =
            at(&node, &host, "GET", "/.jsfs/status", &[&[("Accept", "text/html")], headers].concat());
        assert_eq!((answer.status, answer.header("vary")), (200, Some("Accept, Accept-Encoding")));
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let policies: Vec<_> =
            answer.headers.iter().filter(|(name, _)| name == "content-security-policy").collect();
        assert!(
            policies.len() == 2 && policies[0].1.contains("default-src 'none'") && policies[1].1 == "sandbox"
        );
        let text = answer.text();
        assert!(text.contains("5.0.0-test") && !text.contains("<script"), "{text}");
        text
    };
    let is_whole = |text: &str| text.contains("Running for") && text.contains("Namespaces");
    assert!(!is_whole(&page(&[])) && !is_whole(&page(&[("Authorization", "Bearer wrong")])));
    assert!(is_whole(&page(&[("Authorization", &format!("Bearer {}", node.key))])));

    let ask = |body: &[u8], key: &str| {
        node.ask(&Request::new("POST", "/.jsfs/openings").header("Host", &host).bearer(key).body(body))
    };
    assert_eq!(ask(br#"{"status":true}"#, "jsfs_nonsense").status, 401);
    let made = ask(br#"{"status":true,"expires_in":60}"#, &node.key).json();
    let target = made["url"].as_str().unwrap().strip_prefix(&format!("http://{host}")).unwrap();
    let opened = at(&node, &host, "GET", target, &[]);
    assert_eq!((opened.status, opened.header("location")), (303, Some("/.jsfs/status")));
    let set = opened.header("set-cookie").unwrap();
    for part in ["; Path=/.jsfs/status; ", "; HttpOnly", "; SameSite=Strict"] {
        assert!(set.contains(part), "{set}");
    }
    assert!((30..=60).contains(&lasts_s(set)), "{set}");
    assert_eq!(at(&node, &host, "GET", target, &[]).status, 404, "it worked once");

    let cookie = cookie(&opened);
    let person = [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
    assert!(is_whole(&page(&[&person[..], &[("Cookie", &cookie)]].concat())));
    assert!(!is_whole(&page(&person)));
    assert!(!is_whole(&page(&[&person[..], &[("Cookie", "jsfs-status=guessed")]].concat())));
    // Neither a script of a page beside it nor a frame, nor a page of another site, sees it.
    for (at, value) in
        [(0, "same-site"), (0, "cross-site"), (1, "cors"), (1, "same-origin"), (2, "iframe"), (2, "empty")]
    {
        let mut other = person;
        other[at].1 = value;
        assert!(!is_whole(&page(&[&other[..], &[("Cookie", &cookie)]].concat())), "{value}");
    }
    // It is good for the page alone.
    let plain = at(&node, &host, "GET", "/.jsfs/status", &[&person[..], &[("Cookie", &cookie)]].concat());
    assert_eq!(plain.json(), serde_json::json!({"status": "ok", "version": "5.0.0-test"}));
    assert_eq!(
        at(&node, &host, "GET", "/.jsfs/namespaces", &[&person[..], &[("Cookie", &cookie)]].concat()).status,
        401
    );
}
