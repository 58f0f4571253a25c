//! Addresses: however a request spells a name, it is one name, and nothing else is.

use jsfs_objects::address::{ADDRESS_BYTES_MAX, Address, AddressError};
use proptest::prelude::*;

fn of(host: &str, path: &str) -> Result<String, AddressError> {
    Address::from_host_and_path(host, path).map(|address| address.to_string())
}

#[test]
fn every_spelling_of_a_host_is_one_namespace() {
    let cases = [
        ("files.example.com", "/com.example.files/x"),
        ("FILES.Example.COM", "/com.example.files/x"),
        ("files.example.com.", "/com.example.files/x"),
        ("files.example.com:7302", "/com.example.files/x"),
        ("files.example.com.:7302", "/com.example.files/x"),
        ("files.example.com:", "/com.example.files/x"),
        ("example.com.localhost:7302", "/com.example/x"),
        ("Example.com.LOCALHOST", "/com.example/x"),
        ("a.localhost.localhost", "/a/x"),
        ("localhost", "/localhost/x"),
        ("localhost.", "/localhost/x"),
        ("localhost.localhost", "/localhost/x"),
        ("127.0.0.1:7302", "/localhost/x"),
        ("127.0.0.1.localhost", "/localhost/x"),
        ("192.0.2.7", "/localhost/x"),
        ("[::1]:7302", "/localhost/x"),
        ("[::1]", "/localhost/x"),
        ("[fe80::1%25eth0]:80", "/localhost/x"),
        ("2001:db8::1", "/localhost/x"),
        ("jsfs:7302", "/jsfs/x"),
        ("my_host", "/my_host/x"),
        ("xn--bcher-kva.example", "/example.xn--bcher-kva/x"),
        ("bücher.example", "/example.xn--bcher-kva/x"),
        ("BÜCHER。example", "/example.xn--bcher-kva/x"),
    ];
    for (host, expected) in cases {
        assert_eq!(of(host, "/x").as_deref(), Ok(expected), "{host}");
    }
}

#[test]
fn what_is_no_host_is_refused() {
    let cases = [
        "",
        ".",
        "..",
        ".example.com",
        "example..com",
        "example.com..",
        "exa mple.com",
        "user@example.com",
        "example.com/path",
        "example.com:port",
        "example.com:65536",
        "example.com:99999",
        "example.com:123456",
        "localhost:65536",
        "[::1]:65536",
        "[::1]:99999",
        "example.com:1:2",
        "[::1",
        "[::1]x",
        "[::1]7302",
        "[example.com]",
        "[::1]:port",
        "::1::",
        "127.1",
        "1.2.3.4.5",
        "0x7f000001",
        "example.com\0",
        "exa%6dple.com",
        "exa*mple.com",
        "*.example.com",
        "xn--a.example",
        "a\u{200d}b.example",
    ];
    for host in cases {
        assert!(matches!(of(host, "/x"), Err(AddressError::Host { .. })), "{host:?}: {:?}", of(host, "/x"));
    }
    assert!(matches!(of(&format!("{}.com", "a".repeat(64)), "/x"), Err(AddressError::Host { .. })));
    assert!(matches!(of(&"a.".repeat(5_000), "/x"), Err(AddressError::Host { .. })));
    assert!(matches!(of(&"a".repeat(50_000), "/x"), Err(AddressError::Host { .. })));
}

#[test]
fn every_spelling_of_a_path_is_one_name() {
    let cases = [
        ("/", "/com.example/"),
        ("//", "/com.example/"),
        ("/.", "/com.example/"),
        ("/..", "/com.example/"),
        ("/../..", "/com.example/"),
        ("/a", "/com.example/a"),
        ("/a/", "/com.example/a/"),
        ("//a//b", "/com.example/a/b"),
        ("/a/./b", "/com.example/a/b"),
        ("/a/.", "/com.example/a/"),
        ("/a/..", "/com.example/"),
        ("/a/b/..", "/com.example/a/"),
        ("/a/../../../b", "/com.example/b"),
        ("/a/%2e%2E/b", "/com.example/b"),
        ("/a%2Fb", "/com.example/a/b"),
        ("/a%20b", "/com.example/a b"),
        ("/%61", "/com.example/a"),
        ("/%2561", "/com.example/%61"),
        ("/a%3Fb%23c", "/com.example/a?b#c"),
        ("/b%C3%BCcher", "/com.example/bücher"),
        ("/bücher", "/com.example/bücher"),
        ("/...", "/..."),
        ("/a/.hidden", "/com.example/a/.hidden"),
        ("/a/...", "/com.example/a/..."),
        ("/a/.jsfs/b", "/com.example/a/.jsfs/b"),
        ("/a\\..\\b", "/com.example/a\\..\\b"),
    ];
    for (path, expected) in cases {
        if expected == "/..." {
            // A first segment that begins with a dot is the absolute form, and `..` is no namespace.
            assert!(matches!(of("example.com", path), Err(AddressError::Host { .. })), "{path}");
        } else {
            assert_eq!(of("example.com", path).as_deref(), Ok(expected), "{path}");
        }
    }
}

#[test]
fn the_absolute_form_means_the_same_from_every_host() {
    let cases = [
        ("/.com.example.files/a/b.txt", "/com.example.files/a/b.txt"),
        ("/.com.EXAMPLE/a", "/com.example/a"),
        ("/.com.example", "/com.example/"),
        ("/.com.example/", "/com.example/"),
        ("/%2ecom.example/a", "/com.example/a"),
        ("/x/../.com.example/a", "/com.example/a"),
        ("/.com.example/.hidden", "/com.example/.hidden"),
        ("/.com.example/.well-known/x", "/com.example/.well-known/x"),
        ("/.hidden", "/hidden/"),
        ("/.localhost/a", "/localhost/a"),
        ("/.localhost.com.example/a", "/com.example/a"),
        ("/.1.0.0.127/a", "/localhost/a"),
        ("/.jsfs.com/a", "/jsfs.com/a"),
        ("/.example.bücher/a", "/example.xn--bcher-kva/a"),
    ];
    for host in ["example.com", "other.org:80", "[::1]:7302", "localhost"] {
        for (path, expected) in cases {
            assert_eq!(of(host, path).as_deref(), Ok(expected), "{host} {path}");
        }
    }
    for path in ["/..com.example/a", "/.com..example/a", "/.com.example./a", "/.com.exa mple/a", "/.9/a"] {
        assert!(
            matches!(of("example.com", path), Err(AddressError::Host { .. })),
            "{path}: {:?}",
            of("x", path)
        );
    }
    // `..` above the absolute form removes it, as browsers do before they send it.
    assert_eq!(of("example.com", "/.com.other/../a").as_deref(), Ok("/com.example/a"));
}

#[test]
fn nothing_is_stored_below_the_nodes_own_interface() {
    for path in [
        "/.jsfs",
        "/.jsfs/",
        "/.jsfs/x",
        "/%2ejsfs/x",
        "/.%6Asfs/x",
        "/a/../.jsfs/x",
        "/.JSFS/x",
        "//.jsfs//x",
        "/.com.example/.jsfs/x",
        "/.com.example/.jSfS",
    ] {
        assert_eq!(of("example.com", path), Err(AddressError::Reserved), "{path}");
    }
    assert_eq!(Address::parse("/com.example/.jsfs/x"), Err(AddressError::Reserved));
    assert_eq!(Address::parse("/com.example/a/../.jsfs/x"), Err(AddressError::Reserved));
    // It could not be told from the interface in the absolute form.
    assert_eq!(Address::parse("/jsfs/.a"), Err(AddressError::Reserved));
    assert_eq!(of("example.com", "/a/.jsfs").as_deref(), Ok("/com.example/a/.jsfs"));
}

#[test]
fn what_is_no_path_is_refused() {
    let cases = [
        ("", AddressError::NotAbsolute),
        ("a", AddressError::NotAbsolute),
        ("*", AddressError::NotAbsolute),
        ("/a?b", AddressError::Query),
        ("/a#b", AddressError::Query),
        ("/%", AddressError::Escape),
        ("/%2", AddressError::Escape),
        ("/%zz", AddressError::Escape),
        ("/%2", AddressError::Escape),
        ("/a%+1", AddressError::Escape),
        ("/%é0", AddressError::Escape),
        ("/%ff", AddressError::NotUtf8),
        ("/%c0%ae%c0%ae/x", AddressError::NotUtf8),
        ("/%ed%a0%80", AddressError::NotUtf8),
        ("/a%00b", AddressError::Control { code: 0 }),
        ("/a%0d%0aSet-Cookie", AddressError::Control { code: 13 }),
        ("/a%7f", AddressError::Control { code: 127 }),
        ("/a%C2%85", AddressError::Control { code: 133 }),
        ("/a\tb", AddressError::Control { code: 9 }),
    ];
    for (path, expected) in cases {
        assert_eq!(of("example.com", path), Err(expected), "{path:?}");
    }
}

#[test]
fn an_address_of_4096_bytes_fits_and_one_more_does_not() {
    let room = ADDRESS_BYTES_MAX - "/com.example/".len();
    assert_eq!(
        of("example.com", &format!("/{}", "a".repeat(room))).map(|text| text.len()),
        Ok(ADDRESS_BYTES_MAX)
    );
    assert_eq!(of("example.com", &format!("/{}", "a".repeat(room + 1))), Err(AddressError::TooLong));
    assert_eq!(of("example.com", &format!("/{}/", "a".repeat(room))), Err(AddressError::TooLong));
    // What counts is the decoded name.
    assert!(of("example.com", &format!("/{}", "%61".repeat(room))).is_ok());
    assert_eq!(of("example.com", &format!("/{}", "a/../".repeat(100_000))), Err(AddressError::TooLong));
    assert_eq!(Address::parse(&format!("/com.example/{}", "a".repeat(room + 1))), Err(AddressError::TooLong));
}

#[test]
fn people_may_write_addresses_in_other_forms_but_signed_structures_may_not() {
    for (text, normal) in [
        ("/com.example/a", "/com.example/a"),
        ("/COM.Example/A", "/com.example/A"),
        ("/com.example", "/com.example/"),
        ("/com.example//a/./b/../c", "/com.example/a/c"),
        ("/com.example/../../x", "/com.example/x"),
        ("/com.example/%41", "/com.example/%41"),
        ("/localhost.com.example/a", "/com.example/a"),
    ] {
        let parsed = Address::parse(text).unwrap();
        assert_eq!(parsed.as_str(), normal);
        let exact = Address::parse_exact(text);
        if text == normal {
            assert_eq!(exact, Ok(parsed));
        } else {
            assert_eq!(exact, Err(AddressError::NotNormal { normal: parsed }), "{text}");
        }
    }
    assert_eq!(Address::parse("/"), Err(AddressError::NoNamespace));
    assert_eq!(Address::parse(""), Err(AddressError::NotAbsolute));
    assert_eq!(Address::parse("com.example/a"), Err(AddressError::NotAbsolute));
    assert!(matches!(Address::parse("/.com.example/a"), Err(AddressError::Host { .. })));
    assert_eq!(Address::parse("/com.example/a\nb"), Err(AddressError::Control { code: 10 }));
}

#[test]
fn an_address_knows_its_parts() {
    let file = Address::parse("/com.example/a/b/c.txt").unwrap();
    assert!(!file.is_directory() && !file.is_namespace());
    assert_eq!((file.namespace(), file.path(), file.name()), ("com.example", "/a/b/c.txt", "c.txt"));
    let texts = |addresses: Vec<Address>| addresses.iter().map(Address::to_string).collect::<Vec<_>>();
    let above = ["/com.example/a/b/", "/com.example/a/", "/com.example/"];
    assert_eq!(texts(file.ancestors().collect()), above);
    assert_eq!(texts(file.directories().collect()), above);
    assert_eq!(
        texts(file.directories_from_namespace().collect()),
        ["/com.example/", "/com.example/a/", "/com.example/a/b/"]
    );
    let directory = file.parent().unwrap();
    assert_eq!((directory.name(), directory.is_directory()), ("b/", true));
    assert_eq!(texts(directory.ancestors().collect()), above[1..]);
    assert_eq!(texts(directory.directories().collect()), above);
    let top = file.namespace_directory();
    assert_eq!((top.as_str(), top.name(), top.path()), ("/com.example/", "com.example/", "/"));
    assert!(
        top.is_namespace()
            && top.is_directory()
            && top.parent().is_none()
            && top.ancestors().next().is_none()
    );
    assert_eq!(Address::localhost().as_str(), "/localhost/");
    assert_eq!(Address::of_host("files.example.com:1").unwrap().as_str(), "/com.example.files/");
}

#[test]
fn a_prefix_covers_what_is_below_it_and_nothing_beside_it() {
    let covers = |prefix: &str, text: &str| {
        Address::parse(text).unwrap().starts_with(&Address::parse(prefix).unwrap())
    };
    assert!(covers("/com.example/a/", "/com.example/a/b"));
    assert!(covers("/com.example/a/", "/com.example/a/"));
    assert!(covers("/com.example/", "/com.example/a/b"));
    assert!(covers("/com.example/a", "/com.example/a"));
    assert!(!covers("/com.example/a", "/com.example/a/"));
    assert!(!covers("/com.example/a", "/com.example/a/b"));
    assert!(!covers("/com.example/a", "/com.example/ab"));
    assert!(!covers("/com.example/a/", "/com.example/a"));
    assert!(!covers("/com.example/a/", "/com.example/ab/"));
    assert!(!covers("/com.example/", "/com.example.files/a"));
}

#[test]
fn joining_stays_inside_the_directory() {
    let directory = Address::parse("/com.example/a/").unwrap();
    let join = |relative: &str| directory.join(relative).map(|address| address.to_string());
    assert_eq!(join("b").as_deref(), Ok("/com.example/a/b"));
    assert_eq!(join("b/c/").as_deref(), Ok("/com.example/a/b/c/"));
    assert_eq!(join("").as_deref(), Ok("/com.example/a/"));
    assert_eq!(join("../../b").as_deref(), Ok("/com.example/a/b"));
    assert_eq!(join("/b").as_deref(), Ok("/com.example/a/b"));
    assert_eq!(join("b\0"), Err(AddressError::Control { code: 0 }));
    assert_eq!(Address::parse("/com.example/").unwrap().join(".jsfs/x"), Err(AddressError::Reserved));
    let file = Address::parse("/com.example/a").unwrap();
    assert_eq!(file.join("b"), Err(AddressError::NotDirectory { address: file.clone() }));
}

#[test]
fn an_error_names_the_host_but_prints_no_control_characters() {
    let text = of("exa\u{1b}[31mmple", "/").unwrap_err().to_string();
    assert!(text.contains("mple") && !text.contains('\u{1b}'), "{text}");
}

/// What every address promises, written out again.
fn check(address: &Address) -> Result<(), TestCaseError> {
    let text = address.as_str();
    prop_assert!(text.len() <= ADDRESS_BYTES_MAX && text.starts_with('/') && !text.contains("//"));
    prop_assert!(!text.chars().any(char::is_control));
    let segments: Vec<&str> = text.trim_matches('/').split('/').collect();
    prop_assert!(segments.iter().all(|segment| !segment.is_empty() && *segment != "." && *segment != ".."));
    prop_assert!(segments.get(1).is_none_or(|first| !first.eq_ignore_ascii_case(".jsfs")));
    prop_assert_eq!(segments[0], address.namespace());
    prop_assert!(
        segments[0].bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
    );
    prop_assert!(!segments[0].starts_with("localhost."));
    prop_assert_eq!(Address::parse_exact(text), Ok(address.clone()));
    prop_assert_eq!(
        &Address::from_host_and_path(&address.to_url_host(), &address.to_url_path()).unwrap(),
        address
    );
    let absolute = Address::from_host_and_path("192.0.2.1", &address.to_absolute_url_path());
    // The absolute form of namespace `jsfs` is the node's own interface: it is reached at its own host only.
    let expected = if segments[0] == "jsfs" { Err(AddressError::Reserved) } else { Ok(address.clone()) };
    prop_assert_eq!(absolute, expected);
    Ok(())
}

fn pathish() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("/".to_owned()),
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just(".jsfs".to_owned()),
        Just(".com.a".to_owned()),
        Just("%2e".to_owned()),
        Just("%2F".to_owned()),
        Just("%".to_owned()),
        "[a-zA-Z0-9 %é.~?]{0,5}",
        "%[0-9a-f]{2}",
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| format!("/{}", parts.concat()))
}

proptest! {
    #[test]
    fn any_host_and_path_give_a_valid_address_or_an_error(host in ".*", path in ".*") {
        if let Ok(address) = Address::from_host_and_path(&host, &path) {
            check(&address)?;
        }
    }

    #[test]
    fn paths_made_to_confuse_give_a_valid_address_or_an_error(
        host in "(localhost|jsfs|a.b|\\[::1\\]|1.2.3.4)(.localhost)?(:80)?",
        path in pathish(),
    ) {
        if let Ok(address) = Address::from_host_and_path(&host, &path) {
            check(&address)?;
        }
    }

    #[test]
    fn any_text_parses_to_a_valid_address_or_an_error(text in "/?(.*|[a-c.]{0,8}(/[a.]{0,3}){0,5})") {
        if let Ok(address) = Address::parse(&text) {
            check(&address)?;
            let joined = address.namespace_directory().join(&text);
            prop_assert!(joined.is_err() || joined.unwrap().starts_with(&address.namespace_directory()));
        }
    }
}
