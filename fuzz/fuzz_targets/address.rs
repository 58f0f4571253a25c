//! Host and path of a request: any text gives an address in its normal form or an error, and never one outside its namespace.
#![no_main]

use jsfs_objects::address::{Address, AddressError};
use libfuzzer_sys::fuzz_target;

fn must_be_normal(address: &Address) {
    let text = address.as_str();
    assert!(text.len() <= 4_096 && text.starts_with('/'));
    assert!(
        !text.contains("//") && !text.contains("/./") && !text.contains("/../") && !text.ends_with("/..")
    );
    assert!(!text.chars().any(char::is_control));
    assert_eq!(Address::parse_exact(text).as_ref(), Ok(address), "the normal form is stable");
    assert!(address.ancestors().count() < 4_096);
    let again = Address::from_host_and_path(&address.to_url_host(), &address.to_url_path());
    assert_eq!(again.as_ref(), Ok(address), "its URL leads back to it");
    let absolute = Address::from_host_and_path("elsewhere.example", &address.to_absolute_url_path());
    if address.namespace() == "jsfs" {
        assert_eq!(absolute, Err(AddressError::Reserved), "it would be the node's own interface");
    } else {
        assert_eq!(absolute.as_ref(), Ok(address), "its absolute URL leads to it from anywhere");
    }
}

fuzz_target!(|input: &str| {
    let (first, second) = input.split_once('\n').unwrap_or(("example.com", input));
    if let Ok(address) = Address::from_host_and_path(first, second) {
        must_be_normal(&address);
        // A path without dots and escapes is no absolute address and has nothing to resolve.
        if !second.contains(['.', '%']) {
            let host = Address::of_host(first);
            assert!(
                host.is_ok_and(|top| address.starts_with(&top)),
                "no path leads out of the host's namespace"
            );
        }
    }
    if let Ok(address) = Address::parse(second) {
        must_be_normal(&address);
        if address.is_directory()
            && let Ok(below) = address.join(first)
        {
            must_be_normal(&below);
            assert!(below.starts_with(&address), "a relative name does not lead out");
        }
    }
});
