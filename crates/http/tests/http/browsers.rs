//! What a browser needs, and what it must be kept from.

use std::io::Read;

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

/// What decides is where the address is, not how the path is written: `%2F` can hide the dot that makes it absolute.
#[test]
fn no_spelling_of_a_path_brings_markup_of_another_namespace_into_this_one() {
    let node = Node::start();
    let at = |host: &'static str| move |method, target| Request::new(method, target).header("Host", host);
    let (victim, evil) = (at("victim.localhost:7302"), at("evil.localhost:7302"));
    for name in ["victim", "evil"] {
        node.add_namespace(name);
    }
    for target in ["/.evil/x.html", "/.evil/index.html", "/.evil/dir/a.html", "/.evil/.well-known/x.html"] {
        assert_eq!(node.put(target, b"<script>steal()</script>").status, 201);
    }
    for target in [
        "/%2f.evil/x.html",
        "/%2F%2eevil/x.html",
        "/a%2f..%2f.evil/x.html",
        "/a/..%2f.evil%2fx.html",
        "/.%2f.evil/x.html",
        "/.EVIL/x.html",
        "/.localhost.evil/x.html",
        "/%2f.evil/",
        "/.evil%2f",
    ] {
        for request in [victim("GET", target), victim("HEAD", target)] {
            let answer = node.ask(&request);
            let policy = answer.header("content-security-policy");
            assert_eq!((answer.status, policy), (200, Some("sandbox")), "{target}");
        }
        for range in ["bytes=0-2", "bytes=0-0,-1"] {
            let part = node.ask(&victim("GET", target).header("Range", range));
            assert_eq!(part.header("content-security-policy"), Some("sandbox"), "{target} {range}");
        }
    }
    // In its own origin it is a page like any other, also where its path needs the absolute form.
    for target in ["/x.html", "/", "/.evil/x.html", "/%2f.evil/x.html", "/.evil/.well-known/x.html"] {
        let own = node.ask(&evil("GET", target));
        assert_eq!((own.status, own.header("content-security-policy")), (200, None), "{target}");
    }
    // Listings hold no script, and what leads there is the plain absolute form.
    let page = node.ask(&victim("GET", "/%2f.evil/dir/").header("Accept", "text/html"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let sent = node.ask(&victim("GET", "/%2f.evil/dir"));
    assert_eq!((sent.status, sent.header("location")), (307, Some("/.evil/dir/")));
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

fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut decoder: Box<dyn Read> = match coding {
        "zstd" => Box::new(zstd::Decoder::new(bytes).unwrap()),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        other => panic!("{other}"),
    };
    let mut plain = Vec::new();
    decoder.read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn text_is_sent_coded_to_who_asks_and_is_another_representation() {
    let node = Node::start();
    let text: String = (0..60_000).map(|line| format!("line {line}\n")).collect();
    node.put("/c.txt", text.as_bytes());
    let plain = node.get("/c.txt");
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("Accept-Encoding")));
    let etag = plain.header("etag").unwrap();
    for coding in ["zstd", "br", "gzip"] {
        let ask = |method| Request::new(method, "/c.txt").header("Accept-Encoding", coding);
        let coded = node.ask(&ask("GET"));
        assert_eq!(
            (coded.status, coded.header("content-encoding"), coded.header("vary")),
            (200, Some(coding), Some("Accept-Encoding"))
        );
        assert!(coded.body.len() < text.len() / 3, "{coding}: {}", coded.body.len());
        assert!(decoded(coding, &coded.body) == text.as_bytes(), "{coding}");
        for gone in ["content-length", "repr-digest", "accept-ranges"] {
            assert_eq!(coded.header(gone), None, "{gone}");
        }
        let own = coded.header("etag").unwrap();
        assert_eq!(own, format!("{}-{coding}\"", etag.trim_end_matches('"')));
        let again = node.ask(&ask("GET").header("If-None-Match", own));
        assert_eq!((again.status, again.header("etag")), (304, Some(own)));
        let head = node.ask(&ask("HEAD"));
        let names = |answer: &jsfs_testkit::http::Answer| {
            let mut headers = answer.headers.clone();
            headers.retain(|(name, _)| !["date", "transfer-encoding"].contains(&name.as_str()));
            headers.sort();
            headers
        };
        assert_eq!(names(&head), names(&coded));
        // Ranges are of the bytes themselves, and a part of coded ones does not go with them.
        let part = node.ask(&ask("GET").header("Range", "bytes=0-3"));
        assert_eq!((part.status, part.text().as_str(), part.header("content-encoding")), (206, "line", None));
        let mixed = ask("GET").header("Range", "bytes=0-3").header("If-Range", own);
        assert_eq!(node.ask(&mixed).status, 200);
    }
    // Who read it coded can still say which version is meant.
    let coded = node.ask(&Request::new("GET", "/c.txt").header("Accept-Encoding", "gzip"));
    let replaced = node.own("PUT", "/c.txt").header("If-Match", coded.header("etag").unwrap()).body(b"new");
    assert_eq!(node.ask(&replaced).status, 200);
}

#[test]
fn what_does_not_gain_is_sent_as_it_is() {
    let node = Node::start();
    node.put("/small.txt", b"short");
    node.put("/picture.png", &[0; 10_000]);
    node.put("/large.txt", &[b'x'; 10_000]);
    let ask = |target, coding| node.ask(&Request::new("GET", target).header("Accept-Encoding", coding));
    for (target, coding) in [
        ("/small.txt", "gzip"),
        ("/picture.png", "gzip"),
        ("/large.txt", "identity"),
        ("/large.txt", "gzip;q=0"),
        ("/large.txt", "made-up"),
        ("/absent", "gzip"),
    ] {
        let answer = ask(target, coding);
        assert_eq!(answer.header("content-encoding"), None, "{target} {coding}");
        assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
    }
    assert_eq!(ask("/picture.png", "gzip").header("vary"), None);
    // A listing gains as well.
    for at in 0..40 {
        node.put(&format!("/many/{at}"), b"x");
    }
    let listing = ask("/many/?limit=100", "br");
    assert_eq!(listing.header("content-encoding"), Some("br"));
    let json: serde_json::Value = serde_json::from_slice(&decoded("br", &listing.body)).unwrap();
    assert_eq!(json["entries"].as_array().unwrap().len(), 40);
}

#[test]
fn an_answer_names_every_header_that_chose_it() {
    let node = Node::start();
    node.put("/n.txt", &[b'x'; 2_000]);
    node.put("/n.png", b"x");
    node.put("/plain/a", b"x");
    node.put("/web/index.html", b"<h1>index</h1>");
    fn all<'a>(answer: &'a jsfs_testkit::http::Answer, name: &str) -> Vec<&'a str> {
        answer.headers.iter().filter(|(have, _)| have == name).map(|(_, value)| value.as_str()).collect()
    }
    for (target, accept, vary) in [
        ("/plain/", "application/json", &["Accept, Accept-Encoding"][..]),
        ("/plain/", "text/html", &["Accept, Accept-Encoding"]),
        ("/web/", "text/html", &["Accept, Accept-Encoding"]),
        ("/web/", "*/*", &["Accept, Accept-Encoding"]),
        ("/web/", "application/json", &["Accept, Accept-Encoding"]),
        ("/n.txt", "*/*", &["Accept-Encoding"]),
        ("/n.png", "*/*", &[]),
    ] {
        for coding in ["identity", "gzip"] {
            let ask = |method| {
                Request::new(method, target).header("Accept", accept).header("Accept-Encoding", coding)
            };
            let answer = node.ask(&ask("GET"));
            assert_eq!((answer.status, &all(&answer, "vary")[..]), (200, vary), "{target} {accept}");
            let Some(etag) = answer.header("etag") else { continue };
            let part = node.ask(&ask("GET").header("Range", "bytes=0-0"));
            assert_eq!((part.status, all(&part, "vary")), (206, all(&answer, "vary")), "{target} {accept}");
            // RFC 9110 §15.4.5: what a cache keeps must not change with a 304.
            for held in [etag, "*"] {
                let same = node.ask(&ask("GET").header("If-None-Match", held));
                assert_eq!(same.status, 304, "{target} {accept}");
                for name in ["vary", "cache-control"] {
                    assert_eq!(all(&same, name), all(&answer, name), "{target} {accept} {name}");
                }
            }
        }
    }
}
