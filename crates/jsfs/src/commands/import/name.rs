//! Where an object of an old pool goes: to the address that its old URL leads to on this node.
//!
//! JSFS 4 kept names as they were sent: escaped, with `//`, `.` and `..`, hosts in any case. Here a URL is decoded and normalised once, so
//! several old names can lead to one address. The plainest of them takes it; who that is follows from the names alone, so that every run
//! decides alike. A name that ends in `/` goes to the `index.html` of that directory, which is what the node serves there.

use jsfs_client::{Address, AddressError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What the node serves for a directory.
const INDEX: &str = "index.html";

/// What browsers leave as it is in a path.
const BROWSER: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Why a name leads nowhere.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unnameable {
    /// There is no path in it.
    #[error(
        "the name has no path behind its namespace: JSFS 4 took a path that begins with a dot for a namespace"
    )]
    NoPath,
    /// An escape that gives no UTF-8.
    #[error("the name has escapes that do not decode to UTF-8")]
    Escape,
    /// The address that it gives is not possible.
    #[error(transparent)]
    Address(#[from] AddressError),
}

/// An old name on the new node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The address.
    pub(super) address: Address,
    /// Old names that lead there too and come first.
    pub(super) before: Vec<String>,
    /// What became of the name, where it is not plainly the same.
    pub(super) note: Option<&'static str>,
}

/// The place of an old name.
///
/// # Errors
/// Says why there is none.
pub(super) fn place(url: &str) -> Result<Place, Unnameable> {
    let rest = url.strip_prefix('/').ok_or(Unnameable::NoPath)?;
    let (namespace, raw) = rest.split_once('/').ok_or(Unnameable::NoPath)?;
    let path = decoded(raw).ok_or(Unnameable::Escape)?;
    let is_directory = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    let mut segments = normal(&path);
    if is_directory {
        segments.push(INDEX);
    }
    let host = namespace.split('.').rev().collect::<Vec<_>>().join(".");
    let root = Address::of_host(if namespace == "[" { "localhost" } else { &host });
    let address = Address::new(root?.namespace(), &segments.join("/"))?;
    let plain = address.to_string();
    let escaped = utf8_percent_encode(&plain, BROWSER).to_string();
    let note = if is_directory {
        Some(
            "a directory has no bytes of its own here: it is the directory's index.html, served at the old URL",
        )
    } else if url == plain || url == escaped {
        None
    } else {
        Some("the old URL leads to this address, which is spelled otherwise")
    };
    let before = [plain, escaped].into_iter().take_while(|name| name != url).collect();
    Ok(Place { address, before, note })
}

/// Decodes escapes once; a `%` without two digits gives nothing.
fn decoded(raw: &str) -> Option<String> {
    let whole = raw
        .split('%')
        .skip(1)
        .all(|rest| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)));
    let text = percent_decode_str(raw).decode_utf8().ok().filter(|_| whole)?;
    Some(text.into_owned())
}

fn normal(path: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    segments
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_old_name_goes_where_its_url_leads() {
        for (url, address, is_noted) in [
            ("/com.example/hello.txt", "/com.example/hello.txt", false),
            ("/com.example/caf%C3%A9/a%20b.txt", "/com.example/café/a b.txt", false),
            ("/com.example/%7Etilde", "/com.example/~tilde", true),
            ("/com.FOO/x", "/com.foo/x", true),
            ("/.com.foo/x", "/com.foo/x", true),
            ("/1.0.0.127/x", "/localhost/x", true),
            ("/[/x", "/localhost/x", true),
            ("/com.example/dir//x", "/com.example/dir/x", true),
            ("/com.example/a/../b", "/com.example/b", true),
            ("/com.example/dir/", "/com.example/dir/index.html", true),
            ("/com.example/", "/com.example/index.html", true),
            ("/com.example/.x", "/com.example/.x", false),
        ] {
            let place = place(url).unwrap();
            assert_eq!(
                (place.address.to_string().as_str(), place.note.is_some()),
                (address, is_noted),
                "{url}"
            );
            assert!(!place.before.iter().any(|before| before == url), "{url} comes before itself");
        }
        for url in [
            "/hidden",
            "",
            "x",
            "/com.example/%zz",
            "/com.example/%ff",
            "/com.example/.jsfs/x",
            "/a b/x",
            "/com.example/x%00y",
        ] {
            assert!(place(url).is_err(), "{url}");
        }
        assert!(place(&format!("/com.example/{}", "L".repeat(8_000))).is_err());
    }

    #[test]
    fn of_two_names_for_one_address_one_comes_first() {
        assert_eq!(place("/com.example/~a").unwrap().before, Vec::<String>::new());
        assert_eq!(place("/com.example/%7Ea").unwrap().before, ["/com.example/~a", "/com.example/~a"]);
        assert_eq!(place("/com.example/a%20b").unwrap().before, ["/com.example/a b"]);
        assert_eq!(place("/com.example/d/").unwrap().before[0], "/com.example/d/index.html");
    }
}
