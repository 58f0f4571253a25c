//! Stored blocks, bodies and lists: any bytes give plaintext of at most 1 MiB or an error, and what was encoded comes back.
#![no_main]

use jsfs_objects::seal::{BlockKey, open_block, seal_block};
use jsfs_store::block::{self, Kind};
use libfuzzer_sys::fuzz_target;

const PLAINTEXT_MAX: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    if let Ok((kind, body)) = block::split(input) {
        assert!(body.len() < input.len() && matches!(kind, Kind::Clear | Kind::Sealed | Kind::List));
    }
    if let Ok(plaintext) = block::decode_body(input) {
        assert!(plaintext.len() <= PLAINTEXT_MAX);
    }
    let _ = block::decode_clear(input);
    if let Ok((level, ids)) = block::decode_list(input) {
        let again = block::encode_list(level, &ids).expect("what was read can be written");
        assert_eq!(again, input, "a list has one encoding");
    }
    let key = BlockKey::from_bytes([5; 32]);
    assert!(open_block(&key, input).is_err(), "nobody sealed this");
    if input.len() <= PLAINTEXT_MAX {
        let body = block::encode_body(input, block::LEVEL).expect("short enough");
        assert_eq!(block::decode_body(&body).expect("it was just encoded"), input);
        let sealed = seal_block(&key, &body);
        assert_eq!(open_block(&key, &sealed).expect("it was just sealed"), body);
    }
});
