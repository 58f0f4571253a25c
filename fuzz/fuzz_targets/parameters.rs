//! Query and headers of a request: any bytes give parameters or a 400, and a parameter that is there was sent.
#![no_main]

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use jsfs_http::parameters::{Parameter, Parameters, header_names};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // First line: the query. Further lines: a header each, by the number of its name.
    let mut lines = input.split(|byte| *byte == b'\n');
    let query = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let names: Vec<&str> = header_names().collect();
    let mut headers = HeaderMap::new();
    for line in lines.take(32) {
        let Some((first, value)) = line.split_first() else { continue };
        let name = HeaderName::from_static(names[usize::from(*first) % names.len()]);
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    if let Ok(parameters) = Parameters::parse(query, &headers) {
        let _ = parameters.boolean(Parameter::Private);
        let _ = parameters.boolean(Parameter::Append);
        if let Ok(Some(version)) = parameters.count(Parameter::Version) {
            assert!(version > 0 && parameters.has(Parameter::Version));
        }
        assert!(query.is_some() || !headers.is_empty() || !parameters.has(Parameter::Private));
    }
});
