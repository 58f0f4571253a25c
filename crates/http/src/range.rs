//! `Range` of RFC 9110 §14: which bytes of a representation are wanted.
//!
//! Invariants: what comes out lies within the representation, is not empty and does not overlap; the number of parts is
//! bounded, so a request of a few hundred bytes never makes an answer larger than the object and some headers.

use std::ops::Range;

use hyper::HeaderMap;
use hyper::header::RANGE;

/// More parts than this, after overlapping and neighbouring ones became one, are answered with the whole.
pub const PARTS_MAX: usize = 64;

/// More ranges than this in one header are not even looked at: the whole is sent.
const RANGES_MAX: usize = 1_024;

/// A gap smaller than this costs less to send than the head of another part.
const GAP_MIN: u64 = 128;

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// 200, everything.
    Whole,
    /// 206, these parts in this order; never empty.
    Parts(Vec<Range<u64>>),
    /// 416 with the reason.
    Unsatisfiable(&'static str),
}

/// Selects bytes of a representation of `size` bytes. The caller has checked the method (GET) and `If-Range`.
#[must_use]
pub fn select(headers: &HeaderMap, size: u64) -> Selection {
    let mut values = headers.get_all(RANGE).iter();
    let Some(value) = values.next() else { return Selection::Whole };
    if values.next().is_some() {
        return Selection::Unsatisfiable("the header range is given twice; send one with a list");
    }
    let Some((unit, set)) = value.to_str().ok().and_then(|text| text.split_once('=')) else {
        return Selection::Unsatisfiable("the header range is not unit=ranges; send bytes=FIRST-LAST");
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        // §14.2: a unit that is not understood is ignored.
        return Selection::Whole;
    }
    let mut parts = Vec::new();
    let mut ranges = 0;
    for text in set.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        ranges += 1;
        if ranges > RANGES_MAX {
            return Selection::Whole;
        }
        match resolve(text, size) {
            Some(range) if range.is_empty() => {}
            Some(range) => parts.push(range),
            None => {
                return Selection::Unsatisfiable(
                    "the header range holds something that is not FIRST-LAST, FIRST- or -LENGTH with FIRST <= LAST",
                );
            }
        }
    }
    if parts.is_empty() {
        return Selection::Unsatisfiable("no byte of the range exists; see content-range for the size");
    }
    let parts = coalesce(parts);
    if parts.len() > PARTS_MAX { Selection::Whole } else { Selection::Parts(parts) }
}

/// One range cut to the representation: empty where it lies outside, nothing where it cannot be read.
fn resolve(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim_end(), last.trim_start());
    if first.is_empty() {
        let length = number(last)?;
        return Some(size.saturating_sub(length)..size);
    }
    let first = number(first)?;
    if last.is_empty() {
        return Some(first.min(size)..size);
    }
    let last = number(last)?;
    (first <= last).then(|| first.min(size)..last.saturating_add(1).min(size))
}

/// Digits of any length; what is beyond 64 bits is beyond every object as well.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Keeps the client's order unless parts overlap or nearly touch; then sorts and joins them (§15.3.7.2).
fn coalesce(parts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted = parts.clone();
    sorted.sort_unstable_by_key(|part| part.start);
    let joins = |left: &Range<u64>, right: &Range<u64>| right.start < left.end.saturating_add(GAP_MIN);
    if !sorted.windows(2).any(|pair| joins(&pair[0], &pair[1])) {
        return parts;
    }
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for part in sorted {
        match joined.last_mut() {
            Some(last) if joins(last, &part) => last.end = last.end.max(part.end),
            _ => joined.push(part),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::{PARTS_MAX, Selection, select};
    use hyper::HeaderMap;
    use hyper::header::{HeaderValue, RANGE};
    use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};

    fn selected(value: &str, size: u64) -> Selection {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(value).expect("a value"));
        select(&headers, size)
    }

    fn parts(value: &str, size: u64) -> Vec<(u64, u64)> {
        match selected(value, size) {
            Selection::Parts(parts) => parts.into_iter().map(|part| (part.start, part.end)).collect(),
            other => panic!("{value}: {other:?}"),
        }
    }

    #[test]
    fn single_ranges() {
        for (value, want) in [
            ("bytes=0-0", (0, 1)),
            ("bytes=0-", (0, 1000)),
            ("bytes=10-19", (10, 20)),
            ("bytes=990-5000", (990, 1000)),
            ("bytes=-1", (999, 1000)),
            ("bytes=-5000", (0, 1000)),
            ("bytes=999-", (999, 1000)),
            ("bytes=0-99999999999999999999999", (0, 1000)),
            ("Bytes = 5 - 6 ", (5, 7)),
            ("bytes=,5-6,", (5, 7)),
            ("bytes=5000-,3-4", (3, 5)),
        ] {
            assert_eq!(parts(value, 1000), [want], "{value}");
        }
    }

    #[test]
    fn many_ranges_keep_their_order_unless_they_touch() {
        assert_eq!(parts("bytes=900-909,0-9", 1000), [(900, 910), (0, 10)]);
        assert_eq!(parts("bytes=500-509,0-9,5-20", 1000), [(0, 21), (500, 510)]);
        assert_eq!(parts("bytes=0-9,100-109", 1000), [(0, 110)]);
        assert_eq!(parts("bytes=0-,0-,0-,-1", 1000), [(0, 1000)]);
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        for bad in [
            "bytes=1000-",
            "bytes=-0",
            "bytes=5-4",
            "bytes=",
            "bytes",
            "bytes=a-b",
            "bytes=--5",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=0x1-2",
            "bytes=1 2-3",
            "bytes=0-1,x",
        ] {
            assert!(matches!(selected(bad, 1000), Selection::Unsatisfiable(_)), "{bad}");
        }
        for any in ["bytes=0-", "bytes=-1", "bytes=0-0"] {
            assert!(matches!(selected(any, 0), Selection::Unsatisfiable(_)), "{any} of nothing");
        }
        let mut twice = HeaderMap::new();
        twice.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        twice.append(RANGE, HeaderValue::from_static("bytes=2-3"));
        assert!(matches!(select(&twice, 10), Selection::Unsatisfiable(_)));
    }

    #[test]
    fn other_units_and_too_many_parts_get_the_whole() {
        assert_eq!(selected("items=0-5", 1000), Selection::Whole);
        assert_eq!(select(&HeaderMap::new(), 1000), Selection::Whole);
        let list = |count: u64| {
            let ranges: Vec<_> = (0..count).map(|at| format!("{0}-{0}", at * 1_000)).collect();
            format!("bytes={}", ranges.join(","))
        };
        assert_eq!(parts(&list(PARTS_MAX as u64), 1 << 30).len(), PARTS_MAX);
        assert_eq!(selected(&list(PARTS_MAX as u64 + 1), 1 << 30), Selection::Whole);
        assert_eq!(selected(&list(2_000), 1 << 30), Selection::Whole);
    }

    fn spec() -> impl Strategy<Value = String> {
        prop_oneof![
            (0..3_000_u64, 0..3_000_u64).prop_map(|(a, b)| format!("{a}-{b}")),
            (0..3_000_u64).prop_map(|a| format!("{a}-")),
            (0..3_000_u64).prop_map(|a| format!("-{a}")),
            Just(String::new()),
            any::<u64>().prop_map(|a| format!("{a}-")),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn parts_lie_within_the_object_and_never_overlap(
            specs in proptest::collection::vec(spec(), 0..20), size in 0..2_000_u64,
        ) {
            if let Selection::Parts(mut parts) = selected(&format!("bytes={}", specs.join(",")), size) {
                prop_assert!(!parts.is_empty() && parts.len() <= PARTS_MAX);
                parts.sort_by_key(|part| part.start);
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
                prop_assert!(parts.windows(2).all(|pair| pair[0].end <= pair[1].start));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[ -~]{0,40}", size in any::<u64>()) {
            let _ = selected(&format!("bytes={text}"), size);
        }
    }
}
