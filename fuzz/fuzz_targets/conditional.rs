//! Conditional headers: any bytes give conditions or a 400, and a condition on another version never holds.
#![no_main]

use hyper::HeaderMap;
use hyper::header::{
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use jsfs_http::coding::Coding;
use jsfs_http::conditional::{Conditions, Validators, range_applies};
use libfuzzer_sys::fuzz_target;

const NAMES: [HeaderName; 5] = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE];

fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(16) {
        let Some((first, value)) = line.split_first() else { continue };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(NAMES[usize::from(*first) % NAMES.len()].clone(), value);
        }
    }
    // An entity tag that cannot be guessed by mutation: the input is never it.
    let etag = "0123456789abcdef0123456789abcdef-current".to_owned();
    let current = Validators { etag: etag.clone(), modified_ms: 1_700_000_000_000, first: false };
    let asks_for = |text: &str| input.windows(text.len()).any(|window| window == text.as_bytes());
    if let Ok(conditions) = Conditions::parse(&headers) {
        let _ = conditions.for_read(&current, Coding::negotiate(&headers));
        let holds = conditions.for_write(Some(&current));
        if headers.contains_key(IF_MATCH) && !asks_for("*") && !asks_for(&etag) {
            assert!(!holds, "If-Match names another version and holds");
        }
        let _ = conditions.for_write(None);
        let _ = range_applies(&headers, &current);
    }
});
