//! Bodies and `If` headers of WebDAV: any bytes give a tree or conditions within their bounds, or an error; a tree that was written out is read
//! as the same one.
#![no_main]

use jsfs_http::dav::{condition, xml};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(lists) = condition::parse(text)
    {
        assert!(!lists.is_empty() && lists.iter().all(|list| !list.conditions.is_empty()));
    }
    let Ok(tree) = xml::parse(input) else { return };
    if let Some(written) = tree.to_text(None, 1 << 20) {
        let around = format!("<n:x xmlns:n='n' xmlns='other'>{written}</n:x>");
        // One level deeper than it was: a tree at the bound is past it now.
        match xml::parse(around.as_bytes()) {
            Ok(again) => {
                let again = again.elements().next().expect("it is in there");
                assert_eq!(again.to_text(None, 1 << 20).as_deref(), Some(written.as_str()));
            }
            Err(error) => assert_eq!(error, xml::XmlError::TooMuch, "{written}"),
        }
    }
});
