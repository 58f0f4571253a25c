//! Vectors of sealed blocks.

use crate::{hex, key};
use jsfs_objects::seal::{BlockKey, open_block, open_delta, seal_block, seal_delta_in_place};
use jsfs_store::{BlockId, block};
use serde_json::{Value, json};

pub(crate) fn vectors() -> Value {
    let secret = BlockKey::from_bytes(key(11));
    // Codec 0, so that the body does not depend on a compressor's version.
    let body = |plaintext: &[u8]| {
        let length = u32::try_from(plaintext.len()).unwrap().to_le_bytes();
        let body = [&[0, 0, 0, 0], length.as_slice(), plaintext].concat();
        assert_eq!(block::decode_body(&body).unwrap(), plaintext);
        body
    };
    let sealed = |plaintext: &[u8]| {
        let body = body(plaintext);
        let stored = seal_block(&secret, &body);
        json!({
            "key": hex(secret.expose()),
            "plaintext": hex(plaintext),
            "body": hex(body),
            "id": hex(BlockId::of(&stored).as_bytes()),
            "stored": hex(stored),
        })
    };
    // A frame of zstd with the bytes as they are, so that it does not depend on a compressor's version.
    let delta = |plaintext: &[u8]| {
        let length = u32::try_from(plaintext.len()).unwrap().to_le_bytes();
        let size = u32::try_from(plaintext.len() << 3 | 1).unwrap().to_le_bytes();
        let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0], &size[..3], plaintext].concat();
        let body = [&[2, 0, 0, 0], length.as_slice(), &frame].concat();
        let base = seal_block(&BlockKey::from_bytes(key(13)), &body);
        let base = BlockId::of(&base);
        assert_eq!(block::decode_delta(&body, b"base").unwrap(), plaintext);
        let clear = [&block::delta_header(block::Kind::Delta, &base)[..], &body].concat();
        assert_eq!(block::decode_clear_delta(&clear, b"base").unwrap(), plaintext);
        let mut stored = block::delta_header(block::Kind::SealedDelta, &base).to_vec();
        stored.extend_from_slice(&key::<32>(13));
        stored.extend_from_slice(&body);
        seal_delta_in_place(&secret, &base, &mut stored);
        assert_eq!(open_delta(&secret, &stored).unwrap(), (BlockKey::from_bytes(key(13)), body.clone()));
        json!({
            "key": hex(secret.expose()),
            "base": hex(base.as_bytes()),
            "base_key": hex(key::<32>(13)),
            "plaintext": hex(plaintext),
            "body": hex(body),
            "clear": hex(clear),
            "id": hex(BlockId::of(&stored).as_bytes()),
            "stored": hex(stored),
        })
    };
    let good = seal_block(&secret, &body(b"a chunk"));
    let damaged = [0, 1, 2, good.len() - 1].map(|at| {
        let mut stored = good.clone();
        stored[at] ^= 1;
        assert!(open_block(&secret, &stored).is_err());
        json!({"key": hex(secret.expose()), "stored": hex(stored)})
    });
    let mut unopened = damaged.to_vec();
    unopened.push(json!({"key": hex(key::<32>(12)), "stored": hex(&good)}));
    unopened.push(json!({"key": hex(secret.expose()), "stored": hex(&good[..good.len() - 1])}));
    unopened.push(json!({"key": hex(secret.expose()), "stored": hex(&good[..10])}));
    json!({
        "sealed": [sealed(b""), sealed(b"a chunk"), sealed(&[7; 1_000])],
        "deltas": [delta(b"a chunk"), delta(&[7; 1_000])],
        "unopened": unopened,
    })
}
