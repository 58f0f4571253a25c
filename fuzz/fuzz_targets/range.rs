//! `Range`: whatever is asked for, the parts lie within the object, are not empty, do not overlap and are few.
#![no_main]

use hyper::HeaderMap;
use hyper::header::{HeaderValue, RANGE};
use jsfs_http::range::{PARTS_MAX, Selection, select};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &[u8])| {
    let (size, text) = input;
    let Ok(value) = HeaderValue::from_bytes(text) else { return };
    let headers = HeaderMap::from_iter([(RANGE, value)]);
    if let Selection::Parts(parts) = select(&headers, size) {
        assert!(!parts.is_empty() && parts.len() <= PARTS_MAX);
        for part in &parts {
            assert!(part.start < part.end && part.end <= size);
        }
        let mut sorted = parts.clone();
        sorted.sort_by_key(|part| part.start);
        assert!(sorted.windows(2).all(|pair| pair[0].end <= pair[1].start));
    }
});
