//! What a browser needs, and what it must be kept from.

use crate::node::Node;
use jsfs_testkit::http::Request;

#[test]
fn a_preflight_allows_every_verb_and_every_header_of_ours() {
    let node = Node::start();
    for target in ["/", "/anything", "/dir/", "/.jsfs/tokens", "*"] {
        let preflight = Request::new("OPTIONS", target)
            .header("Origin", "https://app.example")
            .header("Access-Control-Request-Method", "MOVE")
            .header("Access-Control-Request-Headers", "x-access-key,destination,x-private");
        let answer = node.ask(&preflight);
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{target}");
        let methods = answer.header("access-control-allow-methods").unwrap();
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "COPY", "MOVE", "EXECUTE", "OPTIONS"]
        {
            assert!(methods.split(", ").any(|known| known == method), "{method}");
        }
        let headers = answer.header("access-control-allow-headers").unwrap().to_ascii_lowercase();
        for name in [
            "x-access-key",
            "x-access-token",
            "authorization",
            "destination",
            "if-match",
            "range",
            "x-content-type",
        ] {
            assert!(headers.split(", ").any(|known| known == name), "{name}");
        }
        assert!(answer.header("allow").is_some());
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    let exposed = node.get("/x").header("access-control-expose-headers").unwrap().to_ascii_lowercase();
    for name in [
        "etag",
        "location",
        "content-range",
        "repr-digest",
        "accept-ranges",
        "retry-after",
        "last-modified",
        "x-media-type",
    ] {
        assert!(exposed.split(", ").any(|known| known == name), "{name}");
    }
}

#[test]
fn one_namespaces_markup_never_runs_in_the_origin_of_another() {
    let node = Node::start();
    node.add_namespace("com.evil");
    for (target, kind) in [
        ("/.com.evil/x.html", "text/html"),
        ("/.com.evil/x.svg", "image/svg+xml"),
        ("/.com.evil/x.xml", "application/xml"),
        ("/.com.evil/x.bin", "made/up"),
    ] {
        node.ask(
            &node.own("PUT", target).header("Content-Type", kind).header("X-Private", "false").body(b"<x/>"),
        );
        for spelling in
            [target.to_owned(), target.replace("/.", "/%2e"), format!("/a/..{target}"), format!("/{target}")]
        {
            let read = node.get(&spelling);
            assert_eq!(
                (read.status, read.header("content-security-policy")),
                (200, Some("sandbox")),
                "{spelling}"
            );
        }
        let own = Request::new("GET", &target["/.com.evil".len()..]).header("Host", "evil.com");
        assert_eq!(node.ask(&own).header("content-security-policy"), None);
    }
    node.put("/.com.evil/x.png", b"x");
    assert_eq!(node.get("/.com.evil/x.png").header("content-security-policy"), None);
    node.ask(&node.own("PUT", "/.com.evil/index.html").header("X-Private", "false").body(b"<x/>"));
    assert_eq!(node.get("/.com.evil/").header("content-security-policy"), Some("sandbox"));
}

#[test]
fn a_page_elsewhere_cannot_use_what_the_browser_remembers() {
    use base64::Engine;
    let node = Node::start();
    node.put_private("/mine", b"secret");
    let basic =
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("me:{}", node.key)));
    let ask = |site: Option<&str>| {
        let mut request = Request::new("GET", "/mine").header("Authorization", &basic);
        if let Some(site) = site {
            request = request.header("Sec-Fetch-Site", site);
        }
        node.ask(&request).status
    };
    assert_eq!((ask(None), ask(Some("same-origin")), ask(Some("none"))), (200, 200, 200));
    assert_eq!((ask(Some("cross-site")), ask(Some("same-site"))), (404, 404));
}

#[test]
fn a_listing_can_be_walked_with_a_token_in_its_links() {
    let node = Node::start();
    node.put("/walk/a.txt", b"x");
    let page =
        node.ask(&Request::new("GET", "/walk/?access_token=eyJ.some.token").header("Accept", "text/html"));
    assert!(page.text().contains("href=\"./a.txt?access_token=eyJ.some.token\""), "{}", page.text());
    let keyed = node
        .ask(&Request::new("GET", &format!("/walk/?access_key={}", node.key)).header("Accept", "text/html"));
    assert!(!keyed.text().contains("access_key"), "{}", keyed.text());
}
