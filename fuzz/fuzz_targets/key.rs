//! Access keys and owners as text: what is accepted is exactly what would be printed.
#![no_main]

use jsfs_objects::key::{AccessKey, Owner};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(key) = AccessKey::parse(text) {
        assert_eq!(key.is_typed(), !text.starts_with("jsfs_"));
        if let Some(seed) = key.seed() {
            assert_eq!(*seed.to_text(), text, "a generated key has one text");
        }
    }
    if let Ok(owner) = text.parse::<Owner>() {
        assert_eq!(owner.to_string(), text, "an owner has one text");
    }
});
