//! Listings of directories, as JSON for programs and as a plain page for a person's browser.
//!
//! Invariants: everything that a client has named is escaped; the page holds no script and loads nothing; a link carries
//! a token where the visitor came with one in the query, never a key.

use std::fmt::Write as _;

use hyper::HeaderMap;
use hyper::header::ACCEPT;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::wire;

/// Entries of a page where the client names no limit.
pub const LIMIT_DEFAULT: u64 = 1_000;

/// Most entries of a page.
pub const LIMIT_MAX: u64 = 10_000;

/// What may stand in a path segment as it is (RFC 3986 `unreserved`).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One page of a directory.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The address of the directory.
    pub address: String,
    /// What it holds, in the order of the names.
    pub entries: Vec<Entry>,
    /// The cursor of the next page.
    pub next: Option<String>,
}

/// One entry: `type` is `object` or `directory`; the rest is there for objects only.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Entry {
    /// Relative to the directory; a directory's ends in `/`.
    pub name: String,
    /// `object` or `directory`.
    pub r#type: &'static str,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Whether a credential is needed to read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<bool>,
    /// The entity tag without its quotes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Hex, where the whole was seen at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// `true` where the caller's key does not open it, though the directory is the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<bool>,
}

/// Whether the client would rather have HTML than JSON (RFC 9110 §12.5.1). A tie that the client did not mean, such as
/// `*/*`, goes to JSON.
#[must_use]
pub fn prefers_html(headers: &HeaderMap) -> bool {
    let ranges = || {
        headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
    };
    let quality = |kind: &str, subtype: &str| {
        let mut best = (0, 0.0);
        for (range, q) in ranges().map(split_quality) {
            let specificity = match range.split_once('/') {
                Some((k, s)) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subtype) => 3,
                Some((k, "*")) if k.eq_ignore_ascii_case(kind) => 2,
                Some(("*", "*")) => 1,
                _ => continue,
            };
            if specificity > best.0 {
                best = (specificity, q);
            }
        }
        best
    };
    let (html_specificity, html) = quality("text", "html");
    let (json_specificity, json) = quality("application", "json");
    html > json || (html > 0.0 && html == json && html_specificity > json_specificity)
}

/// One element of an `Accept…` list and its weight (RFC 9110 §12.4.2).
pub(crate) fn split_quality(range: &str) -> (&str, f32) {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let q = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .map_or(1.0, |(_, value)| value.trim().parse().unwrap_or(0.0));
    (name, if (0.0..=1.0).contains(&q) { q } else { 0.0 })
}

/// What the page shows beside the entries.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'s> {
    /// The path of the directory as the visitor's browser asks for it, decoded, from `/` to `/`.
    pub path: &'s str,
    /// The token that came in the query, to be carried along.
    pub token: Option<&'s str>,
    /// Whether the whole tree is shown.
    pub recursive: bool,
    /// How long pages are, where the visitor said so.
    pub limit: Option<u64>,
}

/// The page for a browser.
#[must_use]
pub fn html(page: &Page, setting: Setting<'_>) -> String {
    let mut out = String::with_capacity(2_048 + page.entries.len() * 320);
    let title = escape(setting.path);
    out.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    let _ = write!(out, "<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n");
    crumbs(&mut out, setting);
    out.push_str("<table>\n<thead><tr><th scope=\"col\">Name</th><th scope=\"col\" class=\"n\">Size</th>");
    out.push_str("<th scope=\"col\">Modified</th><th scope=\"col\">Type</th></tr></thead>\n<tbody>\n");
    if setting.path != "/" && !setting.path.starts_with("/.") {
        let _ = writeln!(
            out,
            "<tr><td><a href=\"../{}\">../</a></td><td></td><td></td><td></td></tr>",
            query(setting, None)
        );
    }
    for entry in &page.entries {
        row(&mut out, entry, setting);
    }
    out.push_str("</tbody>\n</table>\n");
    if let Some(next) = &page.next {
        let _ =
            writeln!(out, "<p><a rel=\"next\" href=\"./{}\">Next page</a></p>", query(setting, Some(next)));
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn crumbs(out: &mut String, setting: Setting<'_>) {
    out.push_str("<h1>");
    let names: Vec<_> = setting.path.trim_matches('/').split('/').filter(|name| !name.is_empty()).collect();
    let up = |levels: usize| if levels == 0 { "./".to_owned() } else { "../".repeat(levels) };
    // Above the namespace in `/.com.example/…` there is nothing to link to.
    let absolute = setting.path.starts_with("/.");
    if absolute {
        out.push('/');
    } else {
        let _ = write!(out, "<a href=\"{}{}\">/</a>", up(names.len()), query(setting, None));
    }
    for (at, name) in names.iter().enumerate() {
        let href = up(names.len() - 1 - at);
        let _ = write!(out, "<a href=\"{href}{}\">{}/</a>", query(setting, None), escape(name));
    }
    out.push_str("</h1>\n");
}

fn row(out: &mut String, entry: &Entry, setting: Setting<'_>) {
    let href: Vec<_> =
        entry.name.split('/').map(|name| utf8_percent_encode(name, SEGMENT).to_string()).collect();
    let lock = if entry.private == Some(true) { " <small>private</small>" } else { "" };
    let modified = entry.modified.as_deref().unwrap_or_default();
    let shown = modified.get(..16).unwrap_or(modified).replace('T', " ");
    let _ = writeln!(
        out,
        "<tr><td><a href=\"./{}{}\">{}</a>{lock}</td><td class=\"n\">{}</td><td><time datetime=\"{modified}\">{shown}</time></td><td>{}</td></tr>",
        href.join("/"),
        query(setting, None),
        escape(&entry.name),
        entry.size.map(wire::human_size).unwrap_or_default(),
        escape(entry.content_type.as_deref().unwrap_or_default()),
    );
}

/// The query of a link, already escaped for an attribute (what is percent-encoded needs no more than its `&`).
fn query(setting: Setting<'_>, after: Option<&str>) -> String {
    let encode = |text: &str| utf8_percent_encode(text, SEGMENT).to_string();
    let mut pairs = Vec::new();
    if let Some(after) = after {
        pairs.push(format!("after={}", encode(after)));
        if let Some(limit) = setting.limit {
            pairs.push(format!("limit={limit}"));
        }
        if setting.recursive {
            pairs.push("recursive=true".to_owned());
        }
    }
    if let Some(token) = setting.token {
        pairs.push(format!("access_token={}", encode(token)));
    }
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&amp;")) }
}

/// Text for an element or an attribute in quotes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // What would reorder the text around it must not make one name look like another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// How pages of ours look.
pub(crate) const STYLE: &str = "\
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}body{margin:0}main{max-width:64rem;margin:0 auto;padding:1.5rem}\
h1{font-size:1.25rem;font-weight:600;overflow-wrap:anywhere}table{width:100%;border-collapse:collapse}\
th{text-align:left;font-weight:600;border-bottom:2px solid}td{border-bottom:1px solid #8884;overflow-wrap:anywhere}\
th,td{padding:.35rem .75rem .35rem 0;vertical-align:top}.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
time{white-space:nowrap;font-variant-numeric:tabular-nums}a{text-decoration:none}a:hover,a:focus{text-decoration:underline}small{opacity:.7}";

#[cfg(test)]
mod tests {
    use super::{Entry, Page, Setting, html, prefers_html};
    use hyper::HeaderMap;
    use hyper::header::{ACCEPT, HeaderValue};

    #[test]
    fn browsers_get_html_and_everybody_else_json() {
        for (accept, want) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", true),
            ("text/html", true),
            ("text/*", true),
            ("TEXT/HTML;q=0.5", true),
            ("application/json;q=0.5, text/html;q=0.9", true),
            ("text/html, */*", true),
            ("*/*", false),
            ("application/json", false),
            ("text/html, application/json", false),
            ("text/html;q=0.5, application/json", false),
            ("text/html;q=0", false),
            ("text/html;q=x", false),
            ("image/png", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(prefers_html(&headers), want, "{accept}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }

    fn page() -> Page {
        let object = |name: &str, private| Entry {
            name: name.into(),
            r#type: "object",
            size: Some(1_536),
            content_type: Some("text/plain; charset=utf-8".into()),
            modified: Some("2026-01-02T03:04:05.678Z".into()),
            version: Some(1),
            private: Some(private),
            etag: Some("00".into()),
            sha256: None,
            unreadable: None,
        };
        Page {
            address: "/com.example/docs/".into(),
            entries: vec![
                Entry { name: "sub dir/".into(), r#type: "directory", ..Entry::default() },
                object("a&<b>\"'.txt", true),
                object("100%?#é.txt", false),
                object("javascript:alert(1)", false),
                object("evil\u{202e}txt.exe", false),
            ],
            next: Some("100%?#é.txt".into()),
        }
    }

    #[test]
    fn the_page_escapes_everything_that_has_a_name() {
        let text =
            html(&page(), Setting { path: "/docs & <x>/", token: None, recursive: false, limit: None });
        assert!(!text.contains("<b>") && !text.contains("<x>") && !text.contains("<script"));
        assert!(!text.contains('\u{202e}'));
        assert!(text.contains("href=\"./sub%20dir/\""), "{text}");
        assert!(text.contains("href=\"./javascript%3Aalert%281%29\""));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn links_carry_a_token_that_came_in_the_query() {
        let setting = Setting { path: "/docs/", token: Some("eyJ.a.b"), recursive: true, limit: Some(5) };
        let text = html(&page(), setting);
        let links = text.matches("<a ").count();
        assert_eq!(text.matches("access_token=eyJ.a.b").count(), links);
        assert!(text.contains(
            "?after=100%25%3F%23%C3%A9.txt&amp;limit=5&amp;recursive=true&amp;access_token=eyJ.a.b"
        ));
    }

    #[test]
    fn the_json_names_what_there_is() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&page()).expect("json"));
    }
}
