//! Records and contents: any bytes give one or an error, and what was accepted has exactly these bytes.
#![no_main]

use jsfs_objects::read_key::ReadKey;
use jsfs_objects::record::{Content, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(record) = Record::decode(input) {
        assert_eq!(record.encode(), input, "a record has one encoding");
        let _ = record.open(&ReadKey::from_bytes([6; 32]));
    }
    if let Ok(content) = Content::decode(input) {
        assert_eq!(content.encode().as_slice(), input, "a content has one encoding");
    }
});
