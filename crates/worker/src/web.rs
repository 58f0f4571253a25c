//! URLs and encodings for programs: what the guest's `URL` and `TextDecoder` ask of the worker.
//!
//! All of it is a function of its parameters: no state is kept between calls, because an image of the guest may go on elsewhere. A decoder's
//! unfinished bytes stay with the guest, which asks `incomplete` how many there are.

mod file;

use encoding_rs::{DecoderResult, Encoding};
use file::FileUrl;
use serde::Serialize;
use url::{Url, quirks};

use super::crypto::Failure;

/// The parts of a URL as its interface shows them (URL Standard, section 6.1).
#[derive(Serialize)]
struct Parts<'a> {
    href: &'a str,
    origin: String,
    protocol: &'a str,
    username: &'a str,
    password: &'a str,
    host: &'a str,
    hostname: &'a str,
    port: &'a str,
    pathname: &'a str,
    search: &'a str,
    hash: &'a str,
}

fn parts(url: &Url) -> Result<String, Failure> {
    let parts = Parts {
        href: quirks::href(url),
        origin: origin(url),
        protocol: quirks::protocol(url),
        username: quirks::username(url),
        password: quirks::password(url),
        host: quirks::host(url),
        hostname: quirks::hostname(url),
        port: quirks::port(url),
        pathname: quirks::pathname(url),
        search: quirks::search(url),
        hash: quirks::hash(url),
    };
    serde_json::to_string(&parts).map_err(|error| Failure::operation(error.to_string()))
}

/// As the library has it, but that what is in a `blob:` address counts only if it is of HTTP.
fn origin(url: &Url) -> String {
    let counts = url.scheme() != "blob"
        || Url::parse(url.path()).is_ok_and(|inner| matches!(inner.scheme(), "http" | "https"));
    if counts { quirks::origin(url) } else { "null".to_owned() }
}

fn file_parts(url: &FileUrl) -> Result<String, Failure> {
    let part = |sign: char, text: &Option<String>| {
        text.as_ref().filter(|text| !text.is_empty()).map_or_else(String::new, |text| format!("{sign}{text}"))
    };
    let parts = Parts {
        href: &url.href(),
        origin: "null".to_owned(),
        protocol: "file:",
        username: "",
        password: "",
        host: &url.host,
        hostname: &url.host,
        port: "",
        pathname: &url.pathname(),
        search: &part('?', &url.query),
        hash: &part('#', &url.fragment),
    };
    serde_json::to_string(&parts).map_err(|error| Failure::operation(error.to_string()))
}

/// The parts of a URL as JSON, or nothing if it is none.
pub(crate) fn url_parse(url: &str, base: Option<&str>) -> Option<String> {
    let file_base = match base.and_then(|base| FileUrl::parse(base, None)) {
        Some(None) => return None,
        Some(base) => base,
        None => None,
    };
    if let Some(file) = FileUrl::parse(url, file_base.as_ref()) {
        // A base that is no URL makes none of anything.
        let sound = file_base.is_some() || base.is_none_or(|base| Url::parse(base).is_ok());
        return file.filter(|_| sound).and_then(|file| file_parts(&file).ok());
    }
    let parsed = match base {
        None => Url::parse(url),
        Some(base) => Url::parse(base).and_then(|base| join(&base, url)),
    };
    parts(&parsed.ok()?).ok()
}

/// As the library has it, but that before a host of a special scheme any number of slashes are as good as two.
fn join(base: &Url, url: &str) -> Result<Url, url::ParseError> {
    if matches!(base.scheme(), "http" | "https" | "ws" | "wss" | "ftp") {
        let clean = url.trim_start_matches(|c: char| c <= ' ').replace(['\t', '\n', '\r'], "");
        let rest = clean.trim_start_matches(['/', '\\']);
        if clean.len() - rest.len() > 2 {
            return base.join(&format!("//{rest}"));
        }
    }
    base.join(url)
}

/// The parts of a URL, as JSON, after one of them was set as the interface's attribute is: a value that cannot be changes nothing.
///
/// # Errors
/// TypeError if `href` is no URL or there is no such part, neither of which the guest asks for.
pub(crate) fn url_set(href: &str, part: &str, value: &str) -> Result<String, Failure> {
    if let Some(Some(mut file)) = FileUrl::parse(href, None) {
        // Without a host it stays a file, and with one the library knows how to change the scheme.
        if part != "protocol" || file.host.is_empty() {
            file.set(part, value);
            return file_parts(&file);
        }
    }
    let mut url =
        Url::parse(href).map_err(|error| Failure::type_error(format!("{href} is no URL: {error}")))?;
    if !url.has_authority() && !url.cannot_be_a_base() && matches!(part, "host" | "hostname" | "pathname") {
        return parts(&set_without_authority(&url, part, value).unwrap_or(url));
    }
    let url = &mut url;
    // What a setter refuses leaves the URL as it was, which is all that the standard asks for.
    match part {
        "protocol" => drop(quirks::set_protocol(url, value)),
        "username" => drop(quirks::set_username(url, value)),
        "password" => drop(quirks::set_password(url, value)),
        "host" => drop(quirks::set_host(url, value)),
        "hostname" => drop(quirks::set_hostname(url, value)),
        "port" => drop(quirks::set_port(url, value)),
        "pathname" => quirks::set_pathname(url, value),
        "search" => quirks::set_search(url, value),
        "hash" => quirks::set_hash(url, value),
        _ => return Err(Failure::type_error(format!("a URL has no part {part} to set"))),
    }
    parts(url)
}

/// Sets a part of a URL that has no host: its path may begin with two slashes, which only `/.` before it tells from a host, and the library
/// forgets that. `None` if nothing changes.
fn set_without_authority(url: &Url, part: &str, value: &str) -> Option<Url> {
    let tail = format!("{}{}", quirks::search(url), quirks::hash(url));
    let mut with_host = Url::parse(&format!("{}://h{}{tail}", url.scheme(), url.path())).ok()?;
    if part == "pathname" {
        quirks::set_pathname(&mut with_host, value);
        // Without a host the path is never empty.
        let path = if with_host.path().is_empty() { "/" } else { with_host.path() };
        let dot = if path.starts_with("//") { "/." } else { "" };
        return Url::parse(&format!("{}:{dot}{path}{tail}", url.scheme())).ok();
    }
    let set = if part == "host" { quirks::set_host } else { quirks::set_hostname };
    set(&mut with_host, value).ok()?;
    Some(with_host)
}

/// The name of the encoding that a label stands for, in lower case.
pub(crate) fn encoding_name(label: &str) -> Option<String> {
    Some(Encoding::for_label(label.as_bytes())?.name().to_ascii_lowercase())
}

fn encoding(name: &str) -> Result<&'static Encoding, Failure> {
    Encoding::for_label(name.as_bytes()).ok_or_else(|| Failure::type_error(format!("{name} is no encoding")))
}

/// The text of bytes. A byte order mark of the encoding at the beginning is dropped unless `keep_mark`.
///
/// # Errors
/// TypeError if `fatal` and the bytes are malformed, or if there is no such encoding.
pub(crate) fn decode(name: &str, bytes: &[u8], fatal: bool, keep_mark: bool) -> Result<String, Failure> {
    let encoding = encoding(name)?;
    if fatal {
        return decode_all(encoding, bytes, keep_mark)
            .ok_or_else(|| Failure::type_error(format!("the bytes are not well-formed {name}")));
    }
    let (text, _malformed) = if keep_mark {
        encoding.decode_without_bom_handling(bytes)
    } else {
        encoding.decode_with_bom_removal(bytes)
    };
    Ok(text.into_owned())
}

fn decode_all(encoding: &'static Encoding, bytes: &[u8], keep_mark: bool) -> Option<String> {
    let mut decoder = if keep_mark {
        encoding.new_decoder_without_bom_handling()
    } else {
        encoding.new_decoder_with_bom_removal()
    };
    let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len())?;
    let mut text = String::with_capacity(room);
    let (result, _read) = decoder.decode_to_string_without_replacement(bytes, &mut text, true);
    matches!(result, DecoderResult::InputEmpty).then_some(text)
}

/// No encoding has longer characters.
const CHARACTER_BYTES_MAX: usize = 4;

/// How many bytes at the end begin a character that is not complete: as many as must go for the decoder to have nothing left over.
///
/// # Errors
/// TypeError if there is no such encoding.
pub(crate) fn incomplete(name: &str, bytes: &[u8]) -> Result<usize, Failure> {
    let encoding = encoding(name)?;
    let longest = bytes.len().min(CHARACTER_BYTES_MAX - 1);
    let complete = (0..=longest).find(|held| !leaves_something(encoding, &bytes[..bytes.len() - held]));
    Ok(complete.unwrap_or(0))
}

/// Whether the end of the input would make the decoder report an error that the bytes alone do not.
fn leaves_something(encoding: &'static Encoding, bytes: &[u8]) -> bool {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut piece = [0_u8; 4096];
    let mut at = 0;
    loop {
        let (result, read, _written, _replaced) = decoder.decode_to_utf8(&bytes[at..], &mut piece, false);
        at += read;
        if matches!(result, encoding_rs::CoderResult::InputEmpty) {
            break;
        }
    }
    let (_result, _read, written, _replaced) = decoder.decode_to_utf8(&[], &mut piece, true);
    written > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(json: &str, name: &str) -> String {
        let parts: serde_json::Value = serde_json::from_str(json).unwrap();
        parts[name].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_url_has_all_its_parts() {
        let json = url_parse("HTTP://user:pass@EXAMPLE.com:8080/a/../b?q#f", None).unwrap();
        assert_eq!(part(&json, "href"), "http://user:pass@example.com:8080/b?q#f");
        assert_eq!(part(&json, "origin"), "http://example.com:8080");
        assert_eq!(part(&json, "host"), "example.com:8080");
        assert_eq!(part(&json, "search"), "?q");
        assert_eq!(part(&json, "hash"), "#f");
    }

    #[test]
    fn a_relative_url_needs_a_base() {
        assert!(url_parse("/a", None).is_none());
        assert_eq!(part(&url_parse("../c", Some("http://h/a/b/x")).unwrap(), "href"), "http://h/a/c");
        assert!(url_parse("/a", Some("nothing")).is_none());
        assert_eq!(part(&url_parse("/\\\t/c", Some("http://h/a")).unwrap(), "href"), "http://c/");
        assert_eq!(part(&url_parse("///c", Some("foo://h/a")).unwrap(), "href"), "foo:///c");
    }

    #[test]
    fn a_part_that_cannot_be_set_changes_nothing() {
        assert_eq!(part(&url_set("http://h:80/", "port", "x").unwrap(), "href"), "http://h/");
        assert_eq!(part(&url_set("http://h/", "port", "8080").unwrap(), "href"), "http://h:8080/");
        assert_eq!(part(&url_set("http://h/?a=b", "search", "").unwrap(), "href"), "http://h/");
        assert_eq!(part(&url_set("x:/", "pathname", "//p").unwrap(), "href"), "x:/.//p");
        assert_eq!(part(&url_set("x:/.//p", "hostname", "h").unwrap(), "href"), "x://h//p");
        assert_eq!(part(&url_set("x:/a?b#c", "hostname", "h i").unwrap(), "href"), "x:/a?b#c");
        assert_eq!(url_set("http://h/", "colour", "red").err().unwrap().name, "TypeError");
    }

    #[test]
    fn files_are_addressed_as_the_standard_says() {
        for (input, base, href) in [
            ("file:", None, "file:///"),
            ("FILE:\\\\C|\\a", None, "file:///C:/a"),
            ("file:////a//b", None, "file:////a//b"),
            ("file://LOCALHOST/a b", None, "file:///a%20b"),
            ("file://Host/C:/x?q\'#f`", None, "file://host/C:/x?q%27#f%60"),
            ("file:///C:/..", None, "file:///C:/"),
            ("file:///a/%2E./b/.", None, "file:///b/"),
            ("/", Some("file://h/C:/a/b"), "file://h/C:/"),
            ("x", Some("file:///a/b?q#f"), "file:///a/x"),
            ("", Some("file:///a/b?q#f"), "file:///a/b?q"),
            ("#g", Some("file:///a/b?q#f"), "file:///a/b?q#g"),
            ("?r", Some("file:///a/b?q#f"), "file:///a/b?r"),
            ("C|/x", Some("file://h/dir/file"), "file://h/C:/x"),
            ("//other/x", Some("file:///C:/a"), "file://other/x"),
            ("file:x", Some("file:///a/b"), "file:///a/x"),
            ("file:x", Some("http://h/a/b"), "file:///x"),
            ("http://h/", Some("file:///a"), "http://h/"),
        ] {
            assert_eq!(
                url_parse(input, base).map(|json| part(&json, "href")).as_deref(),
                Some(href),
                "{input}"
            );
        }
        assert!(url_parse("file://a b/", None).is_none());
        assert!(url_parse("file:x", Some("nothing")).is_none());
        let set = |href: &str, name: &str, value: &str| part(&url_set(href, name, value).unwrap(), "href");
        assert_eq!(set("file:///a", "pathname", "//b?c"), "file:////b%3Fc");
        assert_eq!(set("file:///a", "hostname", "H"), "file://h/a");
        assert_eq!(set("file:///a", "host", "h:1"), "file:///a");
        assert_eq!(set("file:///a", "port", "1"), "file:///a");
        assert_eq!(set("file:///a", "search", "?b"), "file:///a?b");
        assert_eq!(set("file:///a#f", "hash", ""), "file:///a");
        assert_eq!(set("file:///a", "protocol", "http"), "file:///a");
        assert_eq!(set("file://h/a", "protocol", "http"), "http://h/a");
    }

    #[test]
    fn labels_name_encodings() {
        assert_eq!(encoding_name(" LATIN1\n").unwrap(), "windows-1252");
        assert_eq!(encoding_name("utf8").unwrap(), "utf-8");
        assert_eq!(encoding_name("iso-2022-kr").unwrap(), "replacement");
        assert!(encoding_name("utf-7").is_none());
    }

    #[test]
    fn malformed_bytes_are_replaced_or_refused() {
        assert_eq!(decode("utf-8", b"a\xffb", false, false).unwrap(), "a\u{fffd}b");
        assert_eq!(decode("utf-8", b"a\xffb", true, false).err().unwrap().name, "TypeError");
        assert_eq!(decode("utf-8", b"\xe2\x82", true, false).err().unwrap().name, "TypeError");
        assert_eq!(decode("shift_jis", b"\x90\x85", true, false).unwrap(), "水");
    }

    #[test]
    fn a_byte_order_mark_is_dropped_unless_it_is_kept() {
        assert_eq!(decode("utf-8", b"\xef\xbb\xbfa", true, false).unwrap(), "a");
        assert_eq!(decode("utf-8", b"\xef\xbb\xbfa", false, true).unwrap(), "\u{feff}a");
        assert_eq!(decode("utf-16le", b"\xff\xfea\0", false, false).unwrap(), "a");
        // The mark of another encoding is text like any other.
        assert_eq!(decode("utf-8", b"\xff\xfea", false, false).unwrap(), "\u{fffd}\u{fffd}a");
    }

    #[test]
    fn the_beginning_of_a_character_is_incomplete() {
        assert_eq!(incomplete("shift_jis", b"a\x90").unwrap(), 1);
        assert_eq!(incomplete("shift_jis", b"a\x90\x85").unwrap(), 0);
        assert_eq!(incomplete("shift_jis", b"\xff").unwrap(), 0);
        assert_eq!(incomplete("gb18030", b"\x81\x30\x81").unwrap(), 3);
        assert_eq!(incomplete("gb18030", b"\x81\x30").unwrap(), 2);
        assert_eq!(incomplete("iso-2022-jp", b"abc\x1b").unwrap(), 1);
        assert_eq!(incomplete("iso-2022-jp", b"\x1b$").unwrap(), 2);
        assert_eq!(incomplete("iso-2022-jp", b"\x1b$B\x30").unwrap(), 1);
        assert_eq!(incomplete("euc-jp", b"").unwrap(), 0);
        assert_eq!(incomplete("euc-jp", b"\x8f\xb0").unwrap(), 2);
    }
}
