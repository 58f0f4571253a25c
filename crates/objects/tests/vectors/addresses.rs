//! Vectors of addresses: what a host and a path name, and what they do not.

use jsfs_objects::address::{Address, AddressError};
use serde_json::{Value, json};

const REQUESTS: &[(&str, &str)] = &[
    ("files.example.com", "/a/b.txt"),
    ("FILES.Example.COM.:7302", "/a/b.txt"),
    ("example.com.localhost:7302", "/"),
    ("a.localhost.localhost", "/x"),
    ("localhost", "/x"),
    ("localhost.localhost.", "/x"),
    ("127.0.0.1:7302", "/x"),
    ("127.0.0.1.localhost", "/x"),
    ("[::1]:7302", "/x"),
    ("[fe80::1%25eth0]", "/x"),
    ("2001:db8::1", "/x"),
    ("jsfs", "/x"),
    ("my_host", "/x"),
    ("bücher.example", "/x"),
    ("BÜCHER。example", "/x"),
    ("example.com", "/"),
    ("example.com", "//a//b"),
    ("example.com", "/a/./b/../c/"),
    ("example.com", "/../../x"),
    ("example.com", "/a/%2e%2E/b"),
    ("example.com", "/a%2Fb"),
    ("example.com", "/%2561"),
    ("example.com", "/a%20b%3Fc%23d"),
    ("example.com", "/b%C3%BCcher"),
    ("example.com", "/a/.hidden/.jsfs/x"),
    ("example.com", "/.com.example.files/a/b.txt"),
    ("other.org", "/.com.example.files/a/b.txt"),
    ("other.org", "/.com.EXAMPLE"),
    ("other.org", "/%2ecom.example/a"),
    ("other.org", "/x/../.com.example/a"),
    ("other.org", "/.com.example/../a"),
    ("other.org", "/.com.example/.hidden"),
    ("other.org", "/.hidden"),
    ("other.org", "/.localhost.com.example/a"),
    ("other.org", "/.1.0.0.127/a"),
    ("", "/x"),
    ("..", "/x"),
    (".example.com", "/x"),
    ("example..com", "/x"),
    ("user@example.com", "/x"),
    ("example.com:port", "/x"),
    ("example.com:65535", "/x"),
    ("example.com:65536", "/x"),
    ("[::1]:99999", "/x"),
    ("[::1", "/x"),
    ("[example.com]", "/x"),
    ("127.1", "/x"),
    ("0x7f000001", "/x"),
    ("exa*mple.com", "/x"),
    ("xn--a.example", "/x"),
    ("example.com", "a"),
    ("example.com", ""),
    ("example.com", "/a?b"),
    ("example.com", "/a#b"),
    ("example.com", "/%"),
    ("example.com", "/%4"),
    ("example.com", "/%zz"),
    ("example.com", "/%ff"),
    ("example.com", "/%c0%ae%c0%ae/x"),
    ("example.com", "/a%00b"),
    ("example.com", "/a%C2%85"),
    ("example.com", "/a%7F"),
    ("example.com", "/.jsfs/x"),
    ("example.com", "/.JSFS"),
    ("example.com", "/%2ejsfs/x"),
    ("example.com", "/a/../.jsfs/x"),
    ("example.com", "/.com.example/.jsfs/x"),
    ("example.com", "/..com.example/a"),
    ("example.com", "/.com..example/a"),
    ("example.com", "/.com.example./a"),
    ("example.com", "/..."),
];

const TEXTS: &[&str] = &[
    "/com.example/",
    "/com.example/a b/ü?#%41",
    "/localhost/.hidden",
    "/com.example",
    "/COM.example/a",
    "/com.example/a/../b",
    "/com.example//a",
    "/localhost.com.example/a",
    "/1.0.0.127/a",
    "/com.example/.jsfs",
    "/com.example/.JSFS/a",
    "/jsfs/.a",
    "/com.example/a\u{1}",
    "/",
    "",
    "com.example/a",
    "/.com.example/a",
];

fn outcome(result: Result<Address, AddressError>) -> (&'static str, Value) {
    let error = match result {
        Ok(address) => return ("address", address.as_str().into()),
        Err(AddressError::Host { .. }) => "host",
        Err(AddressError::NotAbsolute) => "not absolute",
        Err(AddressError::Query) => "query",
        Err(AddressError::Escape) => "escape",
        Err(AddressError::NotUtf8) => "not utf-8",
        Err(AddressError::Control { .. }) => "control",
        Err(AddressError::TooLong) => "too long",
        Err(AddressError::Reserved) => "reserved",
        Err(AddressError::NoNamespace) => "no namespace",
        Err(AddressError::NotDirectory { .. }) => "not a directory",
        Err(AddressError::NotNormal { .. }) => "not normal",
    };
    ("error", error.into())
}

fn request(host: &str, path: &str) -> Value {
    let (what, value) = outcome(Address::from_host_and_path(host, path));
    json!({"host": host, "path": path, what: value})
}

pub(crate) fn vectors() -> Value {
    let mut requests: Vec<Value> = REQUESTS.iter().map(|(host, path)| request(host, path)).collect();
    // The longest, and one byte more.
    requests.push(request("example.com", &format!("/{}", "a".repeat(4_083))));
    requests.push(request("example.com", &format!("/{}", "a".repeat(4_084))));
    let texts = TEXTS.iter().map(|text| {
        let (what, value) = outcome(Address::parse_exact(text));
        json!({"text": text, what: value})
    });
    let urls = [
        "/com.example.files/a b/ü?#%.txt",
        "/com.example/",
        "/localhost/.hidden/x",
        "/org.a/~!$&'()*+,;=:@-_.x/\"<>[]^`{|}\\",
    ];
    let urls = urls.map(|text| {
        let address = Address::parse_exact(text).unwrap();
        json!({
            "address": text,
            "host": address.to_url_host(),
            "path": address.to_url_path(),
            "absolute_path": address.to_absolute_url_path(),
        })
    });
    json!({"requests": requests, "texts": texts.collect::<Vec<_>>(), "urls": urls})
}
