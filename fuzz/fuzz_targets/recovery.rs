//! Opening a store whose pack was changed in any way: no crash, and nothing is served that was not stored.
//!
//! The input is a list of changes of seven bytes each: what, where (two bytes), and four bytes of detail.
#![no_main]

use jsfs_fuzz::Pristine;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let pristine = Pristine::get();
    let mut pack = pristine.pack.1.clone();
    let used = pristine.frames().last().copied().unwrap_or(128);
    for change in input.chunks_exact(7).take(64) {
        let at = usize::from(u16::from_le_bytes([change[1], change[2]])) % (used + 256);
        let detail = &change[3..7];
        match change[0] % 5 {
            0 if at < pack.len() => pack[at] ^= detail[0],
            1 => pack.truncate(at.max(1)),
            2 => pack.extend(std::iter::repeat_n(detail[0], usize::from(detail[1]) * 8)),
            3 => {
                // Part of the pack again, somewhere else: frames that are whole and in the wrong place.
                let from = usize::from(u16::from_le_bytes([detail[0], detail[1]])) % pack.len();
                let piece = pack[from..(from + usize::from(detail[2]) * 8).min(pack.len())].to_vec();
                let end = (at + piece.len()).min(pack.len());
                if at < end {
                    pack[at..end].copy_from_slice(&piece[..end - at]);
                }
            }
            _ => {
                let end = (at + usize::from(detail[0])).min(pack.len());
                if at < end {
                    pack[at..end].fill(detail[1]);
                }
            }
        }
    }
    pristine.open_with(&pack, false);
});
