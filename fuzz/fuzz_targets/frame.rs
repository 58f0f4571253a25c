//! A frame whose hash and chain are right and whose description is anything: decoding it and opening the store never crash.
//!
//! No disk error makes such a frame; it stands for a store that somebody else made. The input: kind, four bytes that change sequence,
//! durable, predecessor and payload, the length of a payload in two bytes, the payload, and the description.
#![no_main]

use jsfs_fuzz::Pristine;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((fields, rest)) = input.split_first_chunk::<7>() else { return };
    let [kind, sequence, durable, before, payload, low, high] = *fields;
    let Some((content, description)) = rest.split_at_checked(u16::from_le_bytes([low, high]).into()) else {
        return;
    };

    let pristine = Pristine::get();
    let frames = pristine.frames();
    let [.., last, end] = frames[..] else { return };
    let mut pack = pristine.pack.1[..end].to_vec();
    let previous = u64::from_le_bytes(pack[last + 16..last + 24].try_into().expect("eight bytes"));
    let near = |change: u8| (previous + 1).wrapping_add_signed(i64::from(change.cast_signed()));

    let mut header = [0_u8; 128];
    header[..8].copy_from_slice(b"JSFSFRM1");
    header[8] = kind % 4;
    header[16..24].copy_from_slice(&near(sequence).to_le_bytes());
    header[24..32].copy_from_slice(&near(durable).to_le_bytes());
    header[32..36].copy_from_slice(&u32::try_from(description.len()).expect("a small input").to_le_bytes());
    header[40..48].copy_from_slice(&(content.len() as u64 + u64::from(payload)).to_le_bytes());
    header[56..64].copy_from_slice(&near(before.wrapping_sub(1)).to_le_bytes());
    header[64..96].copy_from_slice(blake3::hash(&pack[last..last + 128]).as_bytes());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&pristine.store_id).update(&header[..96]).update(description);
    header[96..].copy_from_slice(hasher.finalize().as_bytes());

    pack.extend_from_slice(&header);
    pack.extend_from_slice(description);
    pack.extend_from_slice(content);
    pack.resize(pack.len().next_multiple_of(8), 0);
    pristine.open_with(&pack, true);
});
