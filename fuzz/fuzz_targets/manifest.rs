//! Manifests: any bytes give one or an error; a walk over it ends, covers what it says and takes no page that does not fit.
#![no_main]

use jsfs_objects::manifest::{Cursor, Manifest, Step};
use libfuzzer_sys::fuzz_target;

/// More steps than the largest input can have items.
const STEPS_MAX: usize = 100_000;

/// The input: start and length of a range, then the root and pages, each behind its length (big-endian, 4, 4 and 2 bytes).
fn split(input: &[u8]) -> Option<(u64, u64, Vec<&[u8]>)> {
    let (start, rest) = input.split_first_chunk()?;
    let (length, mut rest) = rest.split_first_chunk()?;
    let mut pages = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let (page, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        pages.push(page);
        rest = after;
    }
    Some((u32::from_be_bytes(*start).into(), u32::from_be_bytes(*length).into(), pages))
}

fuzz_target!(|input: &[u8]| {
    let Some((start, length, pages)) = split(input) else { return };
    let mut pages = pages.into_iter();
    let Some(root) = pages.next() else { return };
    let Ok(manifest) = Manifest::decode(root) else { return };
    assert_eq!(manifest.encode(), root, "a manifest has one encoding");
    let end = start + length;
    let mut cursor = Cursor::new(manifest.clone(), start..end);
    let mut position = None;
    for _ in 0..STEPS_MAX {
        match cursor.step() {
            Step::Done => return,
            Step::Page(_) => {
                let Some(page) = pages.next() else { return };
                if cursor.supply(page).is_err() {
                    return;
                }
            }
            Step::Extent(located) => {
                let until = located.start + located.extent.length();
                assert!(located.start < end && until > start, "an extent that the range does not touch");
                assert!(until <= manifest.length());
                assert!(position.is_none_or(|before| before == located.start), "a hole in the walk");
                position = Some(until);
                for piece in located.pieces(start..end) {
                    let _ = piece;
                }
            }
        }
    }
    panic!("the walk does not end");
});
