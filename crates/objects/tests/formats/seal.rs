//! What is sealed opens whole, with its own key, in its own place, or not at all.

use crate::samples::{bit_flips, keys, random};
use jsfs_objects::read_key::ReadKey;
use jsfs_objects::seal::{
    BlockKey, ContentBinding, SEALED_BLOCK_HEADER, SEALED_BLOCK_OVERHEAD, SEALED_CONTENT_OVERHEAD, Unopened,
    open_block, open_block_in_place, open_content, seal_block, seal_block_in_place, seal_content,
};
use proptest::prelude::*;

fn binding() -> ContentBinding {
    let locator = ReadKey::generate(&random(1)).locator();
    ContentBinding { locator, owner: keys(1).owner(), epoch: 2, version: 3 }
}

#[test]
fn a_block_opens_whole_or_not_at_all() {
    let key = BlockKey::generate(&random(1));
    for length in [0, 1, 15, 16, 17, 1_000] {
        let body: Vec<u8> = (0..=255).cycle().take(length).collect();
        let stored = seal_block(&key, &body);
        assert_eq!(stored.len(), length + SEALED_BLOCK_OVERHEAD);
        assert_eq!(stored[..2], SEALED_BLOCK_HEADER);
        assert_eq!(open_block(&key, &stored), Ok(body.clone()));
        let mut buffer = stored.clone();
        assert_eq!(open_block_in_place(&key, &mut buffer), Ok(body.clone().as_mut_slice()));
        let mut buffer = [&[0, 0], body.as_slice()].concat();
        seal_block_in_place(&key, &mut buffer);
        assert_eq!(buffer, stored);
        for cut in 0..stored.len() {
            assert_eq!(open_block(&key, &stored[..cut]), Err(Unopened));
            assert_eq!(open_block_in_place(&key, &mut stored[..cut].to_vec()), Err(Unopened));
        }
        assert_eq!(open_block(&BlockKey::generate(&random(2)), &stored), Err(Unopened));
    }
    let stored = seal_block(&key, b"twenty bytes of body");
    for mut damaged in bit_flips(&stored) {
        assert_eq!(open_block(&key, &damaged), Err(Unopened));
        assert_eq!(open_block_in_place(&key, &mut damaged), Err(Unopened));
    }
}

#[test]
fn content_opens_in_its_own_record_only() {
    let key = ReadKey::generate(&random(1));
    let sealed = seal_content(&key, &binding(), b"content", &random(2));
    assert_eq!(sealed.len(), b"content".len() + SEALED_CONTENT_OVERHEAD);
    assert_eq!(open_content(&key, &binding(), &sealed).unwrap().as_slice(), b"content");
    let others = [
        ContentBinding { locator: ReadKey::generate(&random(9)).locator(), ..binding() },
        ContentBinding { owner: keys(2).owner(), ..binding() },
        ContentBinding { epoch: 3, version: 2, ..binding() },
        ContentBinding { version: 4, ..binding() },
    ];
    for other in others {
        assert!(open_content(&key, &other, &sealed).is_err());
    }
    assert!(open_content(&key.child("x"), &binding(), &sealed).is_err());
    for damaged in bit_flips(&sealed) {
        assert!(open_content(&key, &binding(), &damaged).is_err());
    }
    for cut in 0..sealed.len() {
        assert!(open_content(&key, &binding(), &sealed[..cut]).is_err());
    }
}

#[test]
fn sealing_the_same_content_twice_looks_different() {
    let key = ReadKey::generate(&random(1));
    let random = random(2);
    let (one, two) = (
        seal_content(&key, &binding(), b"content", &random),
        seal_content(&key, &binding(), b"content", &random),
    );
    assert_ne!(one[32..], two[32..]);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_open_and_never_panic(mut bytes: Vec<u8>, sealed in any::<bool>()) {
        let key = BlockKey::generate(&random(1));
        if sealed {
            bytes.splice(0..0, SEALED_BLOCK_HEADER);
        }
        prop_assert_eq!(open_block(&key, &bytes), Err(Unopened));
        prop_assert!(open_content(&ReadKey::generate(&random(1)), &binding(), &bytes).is_err());
        prop_assert_eq!(open_block_in_place(&key, &mut bytes), Err(Unopened));
    }
}
