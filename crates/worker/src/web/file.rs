//! `file:` addresses as the URL Standard has them (section 4.4, the states whose names begin with "file", and those of the path).
//!
//! The library that parses all others goes its own way with these: it drops hosts before drive letters and empty segments before names. Here
//! are the states that differ, written down as the standard has them; hosts are still parsed by the library.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Host;

const FRAGMENT: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\'');
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// An address of scheme `file`.
#[derive(Clone, Default)]
pub(super) struct FileUrl {
    pub(super) host: String,
    path: Vec<String>,
    pub(super) query: Option<String>,
    pub(super) fragment: Option<String>,
}

/// What an address begins with, as far as it matters here.
enum Scheme<'a> {
    /// The rest, after the colon.
    File(&'a str),
    Other,
    None,
}

impl FileUrl {
    /// The address, if it is one of `file` or a relative one with such a base. `None` says that it is for the library to parse, and
    /// `Some(None)` that it is no address.
    pub(super) fn parse(input: &str, base: Option<&Self>) -> Option<Option<Self>> {
        let trimmed = input.trim_matches(|c: char| c <= ' ');
        let clean = without_breaks(trimmed);
        match (scheme(&clean), base) {
            (Scheme::File(rest), _) => Some(Self::after_scheme(rest, base)),
            (Scheme::None, Some(_)) => Some(Self::after_scheme(&clean, base)),
            _ => None,
        }
    }

    /// The file state.
    fn after_scheme(rest: &str, base: Option<&Self>) -> Option<Self> {
        if let Some(rest) = without_slash(rest) {
            return Self::after_slash(rest, base);
        }
        let mut url = base.cloned().unwrap_or_default();
        url.fragment = None;
        match rest.chars().next() {
            None | Some('#') if base.is_some() => {}
            Some('?') if base.is_some() => url.query = None,
            _ => {
                url.query = None;
                if starts_with_drive(rest) {
                    url.path.clear();
                } else if base.is_some() {
                    url.shorten();
                }
                return Some(url.with_path(rest));
            }
        }
        Some(url.with_query(rest))
    }

    /// The file slash state.
    fn after_slash(rest: &str, base: Option<&Self>) -> Option<Self> {
        let mut url = Self::default();
        if let Some(rest) = without_slash(rest) {
            return url.after_two_slashes(rest);
        }
        if let Some(base) = base {
            url.host.clone_from(&base.host);
            let drive = base.path.first().filter(|first| is_normal_drive(first) && !starts_with_drive(rest));
            url.path.extend(drive.cloned());
        }
        Some(url.with_path(rest))
    }

    /// The file host state, and that in which the path begins.
    fn after_two_slashes(mut self, rest: &str) -> Option<Self> {
        let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        if is_drive(host) {
            return Some(self.with_path(rest));
        }
        self.host = parse_host(host)?;
        Some(self.with_path(without_slash(path).unwrap_or(path)))
    }

    /// The path state, up to the end of the address.
    fn with_path(mut self, rest: &str) -> Self {
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (path, tail) = rest.split_at(end);
        self.append_path(path);
        self.with_query(tail)
    }

    fn append_path(&mut self, path: &str) {
        let mut segments = path.split(['/', '\\']).peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            let segment = utf8_percent_encode(segment, PATH).to_string();
            match dots(&segment) {
                2 => self.shorten(),
                1 => {}
                _ if self.path.is_empty() && is_drive(&segment) => {
                    self.path.push(segment.replace('|', ":"));
                    continue;
                }
                _ => {
                    self.path.push(segment);
                    continue;
                }
            }
            if last {
                self.path.push(String::new());
            }
        }
    }

    fn with_query(mut self, tail: &str) -> Self {
        let (query, fragment) =
            tail.split_once('#').map_or((tail, None), |(query, fragment)| (query, Some(fragment)));
        if let Some(query) = query.strip_prefix('?') {
            self.query = Some(utf8_percent_encode(query, QUERY).to_string());
        }
        self.fragment = fragment.map(|fragment| utf8_percent_encode(fragment, FRAGMENT).to_string());
        self
    }

    /// Takes away the last segment, unless it is the drive.
    fn shorten(&mut self) {
        if !(self.path.len() == 1 && is_normal_drive(&self.path[0])) {
            self.path.pop();
        }
    }

    pub(super) fn pathname(&self) -> String {
        self.path.iter().flat_map(|segment| ["/", segment]).collect()
    }

    pub(super) fn href(&self) -> String {
        let mut href = format!("file://{}{}", self.host, self.pathname());
        if let Some(query) = &self.query {
            href.push('?');
            href.push_str(query);
        }
        if let Some(fragment) = &self.fragment {
            href.push('#');
            href.push_str(fragment);
        }
        href
    }

    /// Sets a part other than the scheme; what such an address cannot have changes nothing.
    pub(super) fn set(&mut self, part: &str, value: &str) {
        let value = without_breaks(value);
        match part {
            "host" | "hostname" => {
                let end = value.find(['/', '\\', '?', '#']).unwrap_or(value.len());
                if let Some(host) = parse_host(&value[..end]) {
                    self.host = host;
                }
            }
            "pathname" => {
                self.path.clear();
                self.append_path(without_slash(&value).unwrap_or(&value));
            }
            "search" => {
                let query = value.strip_prefix('?').unwrap_or(&value);
                self.query = (!value.is_empty()).then(|| utf8_percent_encode(query, QUERY).to_string());
            }
            "hash" => {
                let fragment = value.strip_prefix('#').unwrap_or(&value);
                self.fragment =
                    (!value.is_empty()).then(|| utf8_percent_encode(fragment, FRAGMENT).to_string());
            }
            _ => {}
        }
    }
}

fn without_breaks(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], "")
}

fn without_slash(text: &str) -> Option<&str> {
    text.strip_prefix(['/', '\\'])
}

fn scheme(text: &str) -> Scheme<'_> {
    let Some((name, rest)) = text.split_once(':') else { return Scheme::None };
    let legal = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    match legal {
        false => Scheme::None,
        true if name.eq_ignore_ascii_case("file") => Scheme::File(rest),
        true => Scheme::Other,
    }
}

fn parse_host(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    let host = Host::parse(text).ok()?.to_string();
    Some(if host == "localhost" { String::new() } else { host })
}

fn is_drive(text: &str) -> bool {
    matches!(text.as_bytes(), [letter, b':' | b'|'] if letter.is_ascii_alphabetic())
}

fn is_normal_drive(text: &str) -> bool {
    is_drive(text) && text.ends_with(':')
}

fn starts_with_drive(text: &str) -> bool {
    text.get(..2).is_some_and(is_drive)
        && text[2..].chars().next().is_none_or(|c| matches!(c, '/' | '\\' | '?' | '#'))
}

/// Of how many dots a segment is: 1, 2, or 0 for anything else.
fn dots(segment: &str) -> usize {
    match segment.to_ascii_lowercase().replace("%2e", ".").as_str() {
        "." => 1,
        ".." => 2,
        _ => 0,
    }
}
