//! GET and HEAD of objects: headers, ranges, conditions.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::node::Node;
use jsfs_testkit::http::{Answer, Request};

fn object(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect()
}

#[test]
fn an_object_comes_back_byte_for_byte_whatever_its_size() {
    let node = Node::start();
    for size in [0, 1, 4_095, 16_384, 65_535, 65_536, 65_537, 300_000, 3_000_001] {
        let bytes = object(size);
        let target = format!("/size/{size}");
        node.put(&target, &bytes);
        let read = node.get(&target);
        assert_eq!((read.status, read.header("content-length")), (200, Some(&*size.to_string())));
        assert!(read.body == bytes, "{size} bytes differ");
    }
}

#[test]
fn a_read_says_what_it_is() {
    let node = Node::start();
    let made = node.put("/r.html", b"<p>");
    let read = node.get("/r.html");
    assert_eq!(read.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(read.header("etag"), made.header("etag"));
    assert_eq!(read.header("last-modified"), made.header("last-modified"));
    assert_eq!(read.header("accept-ranges"), Some("bytes"));
    assert_eq!(read.header("cache-control"), Some("no-cache"));
    assert_eq!(read.header("x-version"), Some("1"));
    assert!(read.header("repr-digest").unwrap().starts_with("sha-256=:"));
    node.put_private("/p.html", b"<p>");
    assert_eq!(node.ask(&node.own("GET", "/p.html")).header("cache-control"), Some("private, no-cache"));
}

#[test]
fn head_is_get_without_the_body() {
    let node = Node::start();
    node.put("/h.txt", &object(100_000));
    node.put("/dir/index.html", b"index");
    node.put("/list/a", b"a");
    let strip = |mut answer: Answer| {
        answer.headers.retain(|(name, _)| name != "date");
        answer.headers.sort();
        (answer.status, answer.headers)
    };
    let etag = node.get("/h.txt").header("etag").unwrap().to_owned();
    for (target, name, value) in [
        ("/h.txt", "X-Nothing", "x"),
        ("/h.txt", "If-None-Match", &*etag),
        ("/h.txt", "If-Match", "\"other\""),
        ("/h.txt?versions", "X-Nothing", "x"),
        ("/h.txt?version=7", "X-Nothing", "x"),
        ("/absent", "X-Nothing", "x"),
        ("/dir", "X-Nothing", "x"),
        ("/dir/", "Accept", "text/html"),
        ("/list/", "Accept", "text/html"),
        ("/list/", "Accept", "application/json"),
        ("/.jsfs/status", "X-Nothing", "x"),
        ("/.jsfs/nothing", "X-Nothing", "x"),
        ("/%zz", "X-Nothing", "x"),
    ] {
        let ask = |method| strip(node.ask(&Request::new(method, target).header(name, value)));
        assert_eq!(ask("HEAD"), ask("GET"), "{target} {name}");
    }
    // Ranges are for GET only (RFC 9110 §14.2).
    let head = node.ask(&Request::new("HEAD", "/h.txt").header("Range", "bytes=0-9"));
    assert_eq!((head.status, head.header("content-length")), (200, Some("100000")));
}

#[test]
fn single_ranges() {
    let node = Node::start();
    let bytes = object(200_000);
    node.put("/range", &bytes);
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 200_000),
        ("bytes=-1", 199_999, 200_000),
        ("bytes=-300000", 0, 200_000),
        ("bytes=70000-130000", 70_000, 130_001),
        ("bytes=199999-500000", 199_999, 200_000),
        ("bytes=65536-65536", 65_536, 65_537),
    ] {
        let part = node.ask(&Request::new("GET", "/range").header("Range", range));
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(part.header("content-range"), Some(&*format!("bytes {from}-{}/200000", to - 1)));
        assert_eq!(part.header("content-length"), Some(&*(to - from).to_string()));
        assert!(part.body == bytes[from..to], "{range}");
    }
    for range in ["bytes=200000-", "bytes=5-4", "bytes=x", "bytes=-0"] {
        let refused = node.ask(&Request::new("GET", "/range").header("Range", range));
        assert_eq!(
            (refused.status, refused.header("content-range")),
            (416, Some("bytes */200000")),
            "{range}"
        );
    }
    assert_eq!(node.ask(&Request::new("GET", "/range").header("Range", "lines=1-2")).status, 200);
}

/// The parts of a `multipart/byteranges` answer: content range and bytes.
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let boundary = answer.header("content-type").unwrap().split_once("boundary=").unwrap().1;
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let mut body = b"\r\n".to_vec();
    body.extend_from_slice(&answer.body);
    let mut found = Vec::new();
    let mut rest = &body[..];
    while let Some(at) = rest.windows(delimiter.len()).position(|window| window == delimiter) {
        rest = &rest[at + delimiter.len()..];
        let end = rest.windows(delimiter.len()).position(|window| window == delimiter).unwrap_or(0);
        let piece = &rest[..end];
        if let Some(head) = piece.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&piece[..head]).into_owned();
            let range = text.lines().find_map(|line| line.strip_prefix("Content-Range: ")).unwrap();
            found.push((range.to_owned(), piece[head + 4..].to_vec()));
        }
    }
    found
}

#[test]
fn many_ranges_come_in_parts() {
    let node = Node::start();
    let bytes = object(200_000);
    node.put("/many.txt", &bytes);
    let answer =
        node.ask(&Request::new("GET", "/many.txt").header("Range", "bytes=150000-150009, 0-99999, -1"));
    assert_eq!(answer.status, 206);
    assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
    let parts = parts(&answer);
    let want = [(150_000, 150_010), (0, 100_000), (199_999, 200_000)];
    assert_eq!(parts.len(), want.len());
    for ((range, data), (from, to)) in parts.iter().zip(want) {
        assert_eq!(range, &format!("bytes {from}-{}/200000", to - 1));
        assert!(*data == bytes[from..to]);
    }
    // Overlapping ones become one, and one is no multipart.
    let one = node.ask(&Request::new("GET", "/many.txt").header("Range", "bytes=0-9,5-19,7-7"));
    assert_eq!((one.status, one.header("content-range")), (206, Some("bytes 0-19/200000")));
    // Nobody gets more than the object and some headers for one small request.
    let greedy: Vec<_> = (0..1_000).map(|at| format!("{}-{}", at * 199, at * 199 + 1)).collect();
    let whole =
        node.ask(&Request::new("GET", "/many.txt").header("Range", &format!("bytes={}", greedy.join(","))));
    assert_eq!((whole.status, whole.body.len()), (200, 200_000));
}

#[test]
fn conditions_of_reads_follow_the_rfc() {
    let node = Node::start();
    node.put("/cond", b"0123456789");
    let read = node.get("/cond");
    let (etag, modified) = (read.header("etag").unwrap(), read.header("last-modified").unwrap());
    let weak = format!("W/{etag}");
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[("If-Match", etag)], 200),
        (&[("If-Match", "*")], 200),
        (&[("If-Match", &weak)], 412),
        (&[("If-Match", "\"x\"")], 412),
        (&[("If-None-Match", etag)], 304),
        (&[("If-None-Match", &weak)], 304),
        (&[("If-None-Match", "*")], 304),
        (&[("If-None-Match", "\"x\"")], 200),
        (&[("If-None-Match", "x")], 400),
        (&[("If-Modified-Since", modified)], 304),
        (&[("If-Modified-Since", old)], 200),
        (&[("If-Modified-Since", "garbage")], 200),
        (&[("If-Unmodified-Since", old)], 412),
        (&[("If-Unmodified-Since", modified)], 200),
        (&[("If-None-Match", "\"x\""), ("If-Modified-Since", modified)], 200),
        (&[("If-Match", etag), ("If-Unmodified-Since", old)], 200),
        (&[("If-Match", "\"x\""), ("If-None-Match", etag)], 412),
        (&[("Range", "bytes=2-3"), ("If-Range", etag)], 206),
        (&[("Range", "bytes=2-3"), ("If-Range", &weak)], 200),
        (&[("Range", "bytes=2-3"), ("If-Range", "\"x\"")], 200),
        (&[("Range", "bytes=2-3"), ("If-Range", modified)], 206),
        (&[("Range", "bytes=2-3"), ("If-Range", old)], 200),
        (&[("Range", "bytes=50-"), ("If-Range", "\"x\"")], 200),
        (&[("Range", "bytes=50-")], 416),
        (&[("Range", "bytes=2-3"), ("If-None-Match", etag)], 304),
        (&[("Range", "bytes=2-3"), ("If-Match", "\"x\"")], 412),
    ];
    for (headers, status) in table {
        let mut request = Request::new("GET", "/cond");
        for (name, value) in *headers {
            request = request.header(name, value);
        }
        let answer = node.ask(&request);
        assert_eq!(answer.status, *status, "{headers:?}");
        match status {
            304 => assert_eq!((answer.header("etag"), answer.body.len()), (Some(etag), 0)),
            206 => assert_eq!(answer.text(), "23"),
            200 => assert_eq!(answer.text(), "0123456789"),
            _ => {}
        }
    }
    // After a change the date is no strong validator any more: another version may share its second.
    let changed = node.put("/cond", b"9876543210");
    let date = changed.header("last-modified").unwrap();
    let request = Request::new("GET", "/cond").header("Range", "bytes=2-3").header("If-Range", date);
    assert_eq!(node.ask(&request).status, 200);
}

#[test]
fn a_read_never_sees_half_of_a_write() {
    let node = Node::start();
    let versions: Vec<Vec<u8>> = (0..8_u8).map(|seed| vec![seed; 200_000]).collect();
    node.put("/torn", &versions[0]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..40 {
                node.put("/torn", &versions[round % versions.len()]);
            }
            done.store(true, Ordering::Relaxed);
        });
        for _ in 0..3 {
            scope.spawn(|| {
                let mut reads = 0;
                while !done.load(Ordering::Relaxed) || reads == 0 {
                    let read = node.get("/torn");
                    assert_eq!((read.status, read.body.len()), (200, 200_000));
                    assert!(read.body.iter().all(|byte| *byte == read.body[0]), "two versions in one answer");
                    reads += 1;
                }
            });
        }
    });
}

#[test]
fn what_is_answered_at_once_is_the_same_as_what_goes_the_long_way() {
    let node = Node::start();
    for (target, kind) in
        [("/plain", "text/plain"), ("/page.html", "text/html"), ("/noise", "application/zip")]
    {
        let body = vec![b'x'; 4_096];
        node.ask(
            &node.own("PUT", target).header("X-Private", "false").header("Content-Type", kind).body(&body),
        );
        // Any parameter that is not known, or a condition that does not hold, takes the long way.
        let long = Request::new("GET", target).header("If-None-Match", "\"another\"");
        let zipped = Request::new("GET", target).header("Accept-Encoding", "gzip");
        let (long, zipped) = (node.ask(&long), node.ask(&zipped));
        for _ in 0..3 {
            let quick = node.get(target);
            let headers = |answer: &Answer| {
                let mut headers = answer.headers.clone();
                headers.retain(|(name, _)| name != "date");
                headers.sort();
                headers
            };
            assert_eq!((quick.status, &quick.body), (200, &body));
            assert_eq!(headers(&quick), headers(&long), "{target}");
            let again = node.ask(&Request::new("GET", target).header("Accept-Encoding", "gzip"));
            assert_eq!(headers(&again), headers(&zipped), "{target}");
        }
        node.ask(&node.own("DELETE", target));
        assert_eq!(node.get(target).status, 404);
    }
}
