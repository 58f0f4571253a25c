//! Text messages of a socket: any text is a call or a fault of JSON-RPC, and a request never leaves the form that HTTP would have accepted.
#![no_main]

use hyper::header::HeaderValue;
use jsfs_http::live::call::{Action, Base, Payload, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let base = Base { host: HeaderValue::from_static("example.com"), path: "/docs/index.html".to_owned() };
    match parse(input, &base) {
        Err(fault) => {
            assert!((-32_700..=-32_600).contains(&fault.code));
            assert!(!fault.problem.detail.is_empty());
        }
        Ok(call) => {
            if let Some(id) = &call.id {
                assert!(id.value().is_string() || id.value().is_number());
            }
            if let Action::Request(asking) = call.action {
                let target = asking.parts.uri.to_string();
                assert!(target.starts_with('/') && target.is_ascii() && !target.contains(['?', '#']));
                assert_eq!(asking.parts.headers["host"], "example.com");
                if let Payload::Stream(number) = asking.payload {
                    assert_eq!(number % 2, 1);
                }
            }
        }
    }
});
