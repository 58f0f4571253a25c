//! Conditional requests, RFC 9110 §13: `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`, `If-Range`.
//!
//! Invariants: evaluated in the order of §13.2.2 and only after authority; a list of entity tags that cannot be read is
//! a 400, never a condition that holds; a date that cannot be read is ignored, as the RFC demands.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::HeaderMap;
use hyper::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};

use jsfs_objects::address::Address;

use crate::coding::{Coding, uncoded_tag};
use crate::problem::{Kind, Problem};

/// What a representation is compared by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    /// The opaque part of the strong entity tag.
    pub etag: String,
    /// Milliseconds since 1970.
    pub modified_ms: u64,
    /// Whether this version has no predecessor: then nothing else can have had the same second of modification, and
    /// the date is a strong validator (§8.8.2.2).
    pub first: bool,
}

/// What the conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412.
    Failed,
}

/// One list of entity tags.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    Any,
    Some(Vec<Tag>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    opaque: String,
}

/// The conditions of one request, read once, evaluated as often as needed (a write does so again at its commit).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    matches: Option<Tags>,
    none_match: Option<Tags>,
    modified_since: Option<u64>,
    unmodified_since: Option<u64>,
}

impl Conditions {
    /// Reads the headers.
    ///
    /// # Errors
    /// 400 where a list of entity tags cannot be read.
    pub fn parse(headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            matches: tags(headers, &IF_MATCH)?,
            none_match: tags(headers, &IF_NONE_MATCH)?,
            modified_since: date(headers, &IF_MODIFIED_SINCE),
            unmodified_since: date(headers, &IF_UNMODIFIED_SINCE),
        })
    }

    /// Whether the request has no condition at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// For GET and HEAD of a representation that exists. A tag that came with a content coding counts where this request would be answered with
    /// the same one: whoever asks for a range, or takes no coding, does not have what it asks for.
    #[must_use]
    pub fn for_read(&self, current: &Validators, coding: Option<Coding>) -> Verdict {
        if !self.unchanged(Some(current)) {
            return Verdict::Failed;
        }
        match (&self.none_match, self.modified_since) {
            (Some(tags), _) if tags.contain(current, |tag, current| held(tag, current, coding)) => {
                Verdict::NotModified
            }
            (None, Some(since)) if current.modified_ms / 1000 <= since => Verdict::NotModified,
            _ => Verdict::Proceed,
        }
    }

    /// The tag by which the client has the representation, as it named it.
    #[must_use]
    pub fn tag_held<'c>(&'c self, current: &'c Validators, coding: Option<Coding>) -> &'c str {
        match &self.none_match {
            Some(Tags::Some(tags)) => {
                tags.iter().find(|tag| held(tag, current, coding)).map_or(&current.etag, |tag| &tag.opaque)
            }
            _ => &current.etag,
        }
    }

    /// For every other method; `None` where nothing is there yet. `If-Modified-Since` means nothing here.
    #[must_use]
    pub fn for_write(&self, current: Option<&Validators>) -> bool {
        let absent = match (&self.none_match, current) {
            (Some(tags), Some(current)) => !tags.contain(current, weak_equal),
            _ => true,
        };
        self.unchanged(current) && absent
    }

    /// For a directory that is there. It has no entity tag, so no list of tags can match (§13.1.1), and no date, so dates do not apply.
    #[must_use]
    pub fn for_directory(&self) -> Verdict {
        match (&self.matches, &self.none_match) {
            (Some(Tags::Some(_)), _) => Verdict::Failed,
            (_, Some(Tags::Any)) => Verdict::NotModified,
            _ => Verdict::Proceed,
        }
    }

    /// Steps 1 and 2 of §13.2.2.
    fn unchanged(&self, current: Option<&Validators>) -> bool {
        match (&self.matches, self.unmodified_since) {
            (Some(tags), _) => current.is_some_and(|current| tags.contain(current, strong_equal)),
            // A resource without a date: the condition does not apply.
            (None, Some(since)) => current.is_none_or(|current| current.modified_ms / 1000 <= since),
            (None, None) => true,
        }
    }
}

impl Tags {
    fn contain(&self, current: &Validators, equal: impl Fn(&Tag, &Validators) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::Some(tags) => tags.iter().any(|tag| equal(tag, current)),
        }
    }
}

/// 412 for a condition that a directory cannot meet.
pub(crate) fn no_tag(directory: &Address) -> Problem {
    let detail =
        format!("{directory} is a directory, which has no entity tag; send If-Match: * or no condition");
    Problem::new(Kind::PreconditionFailed, detail)
}

/// Ours are strong, so only the client's can be weak. A tag that came with a content coding names the same version.
fn strong_equal(tag: &Tag, current: &Validators) -> bool {
    !tag.weak && uncoded_tag(&tag.opaque) == current.etag
}

fn weak_equal(tag: &Tag, current: &Validators) -> bool {
    uncoded_tag(&tag.opaque) == current.etag
}

/// Whether the client has the representation that it would get.
fn held(tag: &Tag, current: &Validators, coding: Option<Coding>) -> bool {
    let suffix = tag.opaque.strip_prefix(&current.etag).and_then(|rest| rest.strip_prefix('-'));
    tag.opaque == current.etag || (suffix.is_some() && suffix == coding.map(Coding::name))
}

/// `If-Range`: whether the part that the client holds belongs to the current representation. True where there is no such header.
#[must_use]
pub fn range_applies(headers: &HeaderMap, current: &Validators) -> bool {
    let mut values = headers.get_all(IF_RANGE).iter();
    let Some(value) = values.next() else { return true };
    if values.next().is_some() {
        return false;
    }
    let Ok(text) = value.to_str() else { return false };
    match parse_tags(text.trim()) {
        // A part of a coded representation is no part of the bytes.
        Some(Tags::Some(tags)) => matches!(&*tags, [tag] if !tag.weak && tag.opaque == current.etag),
        Some(Tags::Any) => false,
        // §13.1.5: a date must be a strong validator and match exactly.
        None => current.first && date(headers, &IF_RANGE) == Some(current.modified_ms / 1000),
    }
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut found: Option<Tags> = None;
    for value in headers.get_all(name) {
        let malformed = || {
            Problem::malformed(format!(
                "the header {name} is not a list of entity tags; send \"tag\" with its quotes, or *"
            ))
        };
        let text = value.to_str().map_err(|_| malformed())?;
        match (parse_tags(text.trim()).ok_or_else(malformed)?, &mut found) {
            (more, None) => found = Some(more),
            (Tags::Some(more), Some(Tags::Some(before))) => before.extend(more),
            _ => return Err(malformed()),
        }
    }
    Ok(found)
}

/// `*` or `#entity-tag` (RFC 9110 §8.8.3, lists as §5.6.1 receives them).
fn parse_tags(text: &str) -> Option<Tags> {
    if text == "*" {
        return Some(Tags::Any);
    }
    let mut tags = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return (!tags.is_empty()).then_some(Tags::Some(tags));
        }
        let weak = rest.starts_with("W/");
        let quoted = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?;
        let (opaque, after) = quoted.split_once('"')?;
        if !opaque.bytes().all(|byte| byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80) {
            return None;
        }
        tags.push(Tag { weak, opaque: opaque.to_owned() });
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

/// Seconds since 1970, or nothing where the header is not exactly one HTTP date.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let time = httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// `Last-Modified` of a time in milliseconds since 1970.
#[must_use]
pub fn http_date(modified_ms: u64) -> String {
    // The format ends with the year 9999.
    let capped = Duration::from_millis(modified_ms).min(Duration::from_secs(253_402_300_799));
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + capped)
}

#[cfg(test)]
mod tests {
    use super::{Conditions, Validators, Verdict, http_date, range_applies};
    use crate::coding::Coding;
    use hyper::HeaderMap;
    use hyper::header::{HeaderName, HeaderValue};

    type Pairs<'p> = &'p [(&'static str, &'p str)];

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const EXACTLY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn current() -> Validators {
        Validators { etag: "abc".into(), modified_ms: 784_111_777_999, first: false }
    }

    fn headers(pairs: Pairs<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    fn read(pairs: Pairs<'_>) -> Verdict {
        let headers = headers(pairs);
        let coding = Coding::negotiate(&headers).filter(|_| !headers.contains_key("range"));
        Conditions::parse(&headers).expect("readable").for_read(&current(), coding)
    }

    #[test]
    fn reads_follow_the_order_of_rfc_9110() {
        use Verdict::{Failed, NotModified, Proceed};
        let table: &[(Pairs<'_>, Verdict)] = &[
            (&[], Proceed),
            (&[("if-match", "\"abc\"")], Proceed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", "\"x\", \"abc\"")], Proceed),
            (&[("if-match", "\"x\"")], Failed),
            (&[("if-match", "W/\"abc\"")], Failed),
            (&[("if-match", "\"abc\""), ("if-unmodified-since", BEFORE)], Proceed),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-unmodified-since", EXACTLY)], Proceed),
            (&[("if-unmodified-since", "yesterday")], Proceed),
            (&[("if-none-match", "\"abc\"")], NotModified),
            (&[("if-none-match", "W/\"abc\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"abc-gzip\""), ("accept-encoding", "gzip")], NotModified),
            (&[("if-none-match", "\"abc-gzip\""), ("accept-encoding", "zstd, gzip")], Proceed),
            (&[("if-none-match", "\"abc-gzip\"")], Proceed),
            (
                &[("if-none-match", "\"abc-gzip\""), ("accept-encoding", "gzip"), ("range", "bytes=0-3")],
                Proceed,
            ),
            (&[("if-none-match", "\"abc\""), ("accept-encoding", "gzip")], NotModified),
            (&[("if-match", "\"abc-zstd\"")], Proceed),
            (&[("if-none-match", "\"abc-other\"")], Proceed),
            (&[("if-none-match", "\"x\"")], Proceed),
            (&[("if-none-match", "\"x\""), ("if-modified-since", EXACTLY)], Proceed),
            (&[("if-modified-since", EXACTLY)], NotModified),
            (&[("if-modified-since", BEFORE)], Proceed),
            (&[("if-modified-since", "not a date")], Proceed),
            (&[("if-modified-since", EXACTLY), ("if-modified-since", EXACTLY)], Proceed),
            (&[("if-match", "\"x\""), ("if-none-match", "\"abc\"")], Failed),
            (&[("if-match", "\"abc\""), ("if-none-match", "\"abc\"")], NotModified),
            (&[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")], NotModified),
        ];
        for (pairs, want) in table {
            assert_eq!(read(pairs), *want, "{pairs:?}");
        }
    }

    #[test]
    fn writes_know_absent_from_present() {
        // Headers, whether they hold when something is there, and when nothing is.
        let table: &[(Pairs<'_>, bool, bool)] = &[
            (&[], true, true),
            (&[("if-match", "*")], true, false),
            (&[("if-match", "\"abc\"")], true, false),
            (&[("if-match", "\"x\"")], false, false),
            (&[("if-none-match", "*")], false, true),
            (&[("if-none-match", "\"abc\"")], false, true),
            (&[("if-none-match", "W/\"abc\"")], false, true),
            (&[("if-none-match", "\"x\"")], true, true),
            (&[("if-unmodified-since", BEFORE)], false, true),
            (&[("if-unmodified-since", EXACTLY)], true, true),
            (&[("if-modified-since", EXACTLY)], true, true),
        ];
        for (pairs, present, absent) in table {
            let conditions = Conditions::parse(&headers(pairs)).expect("readable");
            assert_eq!(conditions.for_write(Some(&current())), *present, "{pairs:?} present");
            assert_eq!(conditions.for_write(None), *absent, "{pairs:?} absent");
        }
    }

    #[test]
    fn a_directory_has_no_tag_and_no_date() {
        use Verdict::{Failed, NotModified, Proceed};
        let table: &[(Pairs<'_>, Verdict)] = &[
            (&[], Proceed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", "\"x\"")], Failed),
            (&[("if-match", "W/\"x\", \"y\"")], Failed),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"x\"")], Proceed),
            (&[("if-match", "\"x\""), ("if-none-match", "*")], Failed),
            (&[("if-match", "*"), ("if-none-match", "*")], NotModified),
            (&[("if-modified-since", EXACTLY)], Proceed),
            (&[("if-unmodified-since", BEFORE)], Proceed),
        ];
        for (pairs, want) in table {
            let conditions = Conditions::parse(&headers(pairs)).expect("readable");
            assert_eq!(conditions.for_directory(), *want, "{pairs:?}");
        }
    }

    #[test]
    fn a_list_of_tags_that_cannot_be_read_is_refused() {
        for bad in ["abc", "\"abc", "\"a\" \"b\"", "", ",", "w/\"a\"", "\"a b\"", "*, \"a\"", "\"a\", *"] {
            for name in ["if-match", "if-none-match"] {
                let problem = Conditions::parse(&headers(&[(name, bad)])).expect_err(bad);
                assert_eq!(problem.status(), 400, "{name}: {bad:?}");
            }
        }
        assert!(Conditions::parse(&headers(&[("if-match", "*"), ("if-match", "\"a\"")])).is_err());
        assert_eq!(read(&[("if-match", " , \"x\" ,, W/\"y\",\"abc\", ")]), Verdict::Proceed);
    }

    #[test]
    fn a_range_applies_only_to_the_same_strong_validator() {
        for (value, want) in [
            ("\"abc\"", true),
            ("W/\"abc\"", false),
            ("\"abc-gzip\"", false),
            ("\"x\"", false),
            ("*", false),
            (EXACTLY, false),
            ("abc", false),
        ] {
            assert_eq!(range_applies(&headers(&[("if-range", value)]), &current()), want, "{value}");
        }
        assert!(range_applies(&headers(&[]), &current()));
        let first = Validators { first: true, ..current() };
        assert!(range_applies(&headers(&[("if-range", EXACTLY)]), &first));
        assert!(!range_applies(&headers(&[("if-range", BEFORE)]), &first));
        assert!(!range_applies(&headers(&[("if-range", "\"abc\""), ("if-range", "\"abc\"")]), &current()));
    }

    #[test]
    fn dates_are_written_as_http_wants_them() {
        assert_eq!(http_date(784_111_777_999), EXACTLY);
        assert_eq!(http_date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
