//! Stored blocks, bodies, lists and deltas: any bytes give plaintext of at most 1 MiB or an error, and what was encoded comes back.
#![no_main]

use jsfs_objects::seal::{BlockKey, open_block, open_delta, seal_block, seal_delta_in_place};
use jsfs_store::{
    BlockId,
    block::{self, Kind},
};
use libfuzzer_sys::fuzz_target;

const PLAINTEXT_MAX: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    if let Ok((kind, body)) = block::split(input) {
        assert!(body.len() < input.len());
        assert_eq!(
            block::base_of(input).is_some(),
            matches!(kind, Kind::Delta | Kind::SealedDelta) && body.len() >= 32
        );
    }
    if let Ok(plaintext) = block::decode_body(input) {
        assert!(plaintext.len() <= PLAINTEXT_MAX);
    }
    let _ = block::decode_clear(input);
    // A base and a delta of it, both from whoever sends the input.
    let (base, delta) = input.split_at(input.len() / 2);
    if let Ok(plaintext) = block::decode_delta(delta, base) {
        assert!(plaintext.len() <= PLAINTEXT_MAX);
    }
    if input.len() <= PLAINTEXT_MAX {
        let id = BlockId::of(base);
        let mut stored = block::delta_header(Kind::Delta, &id).to_vec();
        block::encode_delta_into(delta, base, block::LEVEL, &mut stored).expect("short enough");
        assert_eq!(block::decode_clear_delta(&stored, base).expect("it was just encoded"), delta);
    }
    if let Ok((level, ids)) = block::decode_list(input) {
        let again = block::encode_list(level, &ids).expect("what was read can be written");
        assert_eq!(again, input, "a list has one encoding");
    }
    let key = BlockKey::from_bytes([5; 32]);
    assert!(open_block(&key, input).is_err() && open_delta(&key, input).is_err(), "nobody sealed this");
    if input.len() <= PLAINTEXT_MAX {
        let body = block::encode_body(input, block::LEVEL).expect("short enough");
        assert_eq!(block::decode_body(&body).expect("it was just encoded"), input);
        let sealed = seal_block(&key, &body);
        assert_eq!(open_block(&key, &sealed).expect("it was just sealed"), body);
        let (id, base_key) = (BlockId::of(&sealed), BlockKey::from_bytes([6; 32]));
        let mut stored =
            [&block::delta_header(Kind::SealedDelta, &id)[..], base_key.expose(), &body].concat();
        seal_delta_in_place(&key, &id, &mut stored);
        assert!(open_delta(&key, &stored).expect("it was just sealed") == (base_key, body));
    }
});
