//! Manifests: every byte is found where it was put, appending keeps what does not change, and a page that lies is found out.

use crate::cbor;
use crate::samples::extent;
use jsfs_objects::FormatError;
use jsfs_objects::clock::{Random, SeededRandom};
use jsfs_objects::manifest::{
    Builder, Cursor, Extent, Items, LocatedExtent, Manifest, NewPage, PAGE_BYTES_MAX, PageRef, Resume, Step,
};
use jsfs_objects::seal::BlockKey;
use jsfs_store::BlockId;
use proptest::prelude::*;
use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::Range;

/// Keeps pages as a store would, under random keys where they are private, and counts.
#[derive(Default)]
struct Pages {
    kept: HashMap<BlockId, Vec<u8>>,
    stored: usize,
    loaded: usize,
    private: bool,
}

impl Pages {
    fn keep(&mut self) -> impl FnMut(NewPage) -> Result<(BlockId, Option<BlockKey>), Infallible> + '_ {
        |page| {
            assert!(page.bytes.len() <= PAGE_BYTES_MAX);
            let decoded = Manifest::decode_page(&page.bytes, page.level, page.length).unwrap();
            assert_eq!(decoded.encode(), page.bytes);
            self.stored += 1;
            // Private pages have a fresh key each, and so a fresh id.
            let salt = if self.private { self.stored.to_be_bytes() } else { [0; 8] };
            let id = BlockId::of(&[page.bytes.as_slice(), &salt].concat());
            self.kept.insert(id, page.bytes);
            Ok((id, self.private.then(|| BlockKey::from_bytes([1; 32]))))
        }
    }

    fn load(&mut self) -> impl FnMut(&PageRef) -> Result<Vec<u8>, FormatError> + '_ {
        |page| {
            self.loaded += 1;
            Ok(self.kept[&page.block].clone())
        }
    }

    fn build(&mut self, extents: &[Extent]) -> Manifest {
        let mut builder = Builder::new();
        for extent in extents {
            builder.push(extent.clone(), &mut self.keep()).unwrap();
        }
        assert_eq!(builder.length(), extents.iter().map(Extent::length).sum::<u64>());
        builder.finish(&mut self.keep()).unwrap()
    }

    fn walk(&mut self, manifest: &Manifest, range: Range<u64>) -> Vec<LocatedExtent> {
        let mut cursor = Cursor::new(manifest.clone(), range);
        let mut found = Vec::new();
        while let Some(extent) = cursor.next_with(&mut self.load()).unwrap() {
            found.push(extent);
        }
        found
    }

    /// Every chunk of the manifest: block, place in it, and the object's byte it begins with.
    fn chunks(&mut self, manifest: &Manifest, range: Range<u64>) -> Vec<(u64, BlockId, u32, u32)> {
        let extents = self.walk(manifest, range.clone());
        let pieces = extents.iter().flat_map(|located| {
            let block = located.extent.block;
            located
                .pieces(range.clone())
                .map(move |piece| (piece.start, block, piece.wanted.start, piece.wanted.end))
        });
        pieces.collect()
    }
}

/// The same straight from the extents.
fn expected(extents: &[Extent], range: Range<u64>) -> Vec<(u64, BlockId, u32, u32)> {
    let mut start = 0;
    let mut found = Vec::new();
    for extent in extents {
        for chunk in &extent.chunks {
            let end = start + u64::from(chunk.length);
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                let within = |at: u64| chunk.offset + u32::try_from(at - start).unwrap();
                found.push((from, extent.block, within(from), within(to)));
            }
            start = end;
        }
    }
    found
}

fn many(count: u64, private: bool) -> Vec<Extent> {
    (0..count).map(|number| extent(number, &[1_000, 7, 64], private)).collect()
}

fn total(extents: &[Extent]) -> u64 {
    extents.iter().map(Extent::length).sum()
}

#[test]
fn an_empty_object_has_the_empty_manifest() {
    let manifest = Pages::default().build(&[]);
    assert_eq!(manifest, Manifest::empty());
    assert_eq!(manifest.encode(), [0x82, 0x00, 0x80]);
    assert_eq!(Manifest::decode(&[0x82, 0x00, 0x80]), Ok(manifest.clone()));
    assert_eq!(Cursor::new(manifest, 0..100).step(), Step::Done);
}

#[test]
fn a_small_object_has_no_pages_and_a_large_one_has_levels_of_them() {
    for (count, level) in [(1, 0), (20, 0), (300, 1), (60_000, 2)] {
        let mut pages = Pages { private: true, ..Pages::default() };
        let extents = many(count, true);
        let manifest = pages.build(&extents);
        assert_eq!(manifest.level(), level, "{count}");
        assert_eq!(manifest.length(), total(&extents));
        assert!(manifest.encode().len() <= 8_192 + 16);
        assert_eq!(pages.stored == 0, level == 0);
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
        assert_eq!(pages.chunks(&manifest, 0..u64::MAX), expected(&extents, 0..u64::MAX));
    }
}

#[test]
fn a_range_loads_one_page_of_each_level() {
    let mut pages = Pages { private: true, ..Pages::default() };
    let extents = many(60_000, false);
    let manifest = pages.build(&extents);
    let middle = total(&extents) / 2;
    for range in [0..1, middle..middle + 10, total(&extents) - 1..u64::MAX] {
        pages.loaded = 0;
        assert_eq!(pages.chunks(&manifest, range.clone()), expected(&extents, range));
        assert_eq!(pages.loaded, 2);
    }
    pages.loaded = 0;
    for empty in [5..5, total(&extents)..u64::MAX, Range { start: 9, end: 3 }] {
        assert_eq!(pages.chunks(&manifest, empty), []);
    }
    assert_eq!(pages.loaded, 0);
}

#[test]
fn an_extent_of_any_number_of_chunks_fits() {
    let lengths = vec![16; 65_536];
    let huge = extent(1, &lengths, true);
    let mut pages = Pages::default();
    let manifest = pages.build(std::slice::from_ref(&huge));
    let all = pages.chunks(&manifest, 0..u64::MAX);
    assert_eq!(all, expected(&[huge], 0..u64::MAX));
}

#[test]
fn an_append_stores_a_page_for_each_level_and_keeps_the_others() {
    let mut pages = Pages { private: true, ..Pages::default() };
    let mut extents = many(60_000, true);
    let mut manifest = pages.build(&extents);
    for number in 0..50 {
        let before: Vec<BlockId> = pages.kept.keys().copied().collect();
        (pages.stored, pages.loaded) = (0, 0);
        let mut builder = Resume::with(manifest.clone(), manifest.length(), &mut pages.load()).unwrap();
        let added = extent(1_000_000 + number, &[500], true);
        extents.push(added.clone());
        builder.push(added, &mut pages.keep()).unwrap();
        manifest = builder.finish(&mut pages.keep()).unwrap();
        assert!(pages.stored <= 3 && pages.loaded <= 2, "{} stored, {} loaded", pages.stored, pages.loaded);
        let new = pages.kept.keys().filter(|id| !before.contains(id)).count();
        assert!(new <= pages.stored);
    }
    assert_eq!(pages.chunks(&manifest, 0..u64::MAX), expected(&extents, 0..u64::MAX));
}

#[test]
fn an_append_of_nothing_stores_no_leaf_again() {
    let mut pages = Pages { private: true, ..Pages::default() };
    let manifest = pages.build(&many(300, true));
    pages.stored = 0;
    let builder = Resume::with(manifest.clone(), manifest.length(), &mut pages.load()).unwrap();
    assert_eq!(builder.finish(&mut pages.keep()).unwrap(), manifest);
    assert_eq!(pages.stored, 0);
}

#[test]
fn bytes_are_kept_up_to_the_end_of_a_chunk_only() {
    let mut pages = Pages::default();
    let extents = many(300, false);
    let manifest = pages.build(&extents);
    for keep in [1, 999, 1_001, manifest.length() - 1, manifest.length() + 1, u64::MAX] {
        assert!(Resume::with(manifest.clone(), keep, &mut pages.load()).is_err(), "{keep}");
    }
    for keep in [0, 1_000, 1_007, 1_071, 107_100, manifest.length()] {
        let builder = Resume::with(manifest.clone(), keep, &mut pages.load()).unwrap();
        assert_eq!(builder.length(), keep);
        let kept = builder.finish(&mut pages.keep()).unwrap();
        assert_eq!(kept.length(), keep);
        assert_eq!(pages.chunks(&kept, 0..u64::MAX), expected(&extents, 0..keep));
    }
    let mut early = Resume::new(manifest.clone(), manifest.length()).unwrap();
    assert!(early.need().is_some());
    assert!(Resume::new(manifest.clone(), manifest.length()).unwrap().builder().is_err());
    assert!(early.supply(&Manifest::empty().encode()).is_err());
    assert!(Resume::new(Manifest::empty(), 0).unwrap().supply(&[]).is_err());
}

#[test]
fn a_page_that_is_not_the_one_promised_is_refused() {
    let mut pages = Pages::default();
    let manifest = pages.build(&many(2_000, false));
    let Items::Pages(refs) = manifest.items() else { panic!("expected pages") };
    let (first, last) = (&pages.kept[&refs[0].block], &pages.kept[&refs.last().unwrap().block]);
    let supply = |page: &[u8]| {
        let mut cursor = Cursor::new(manifest.clone(), 0..10);
        assert!(matches!(cursor.step(), Step::Page(_)));
        assert!(matches!(cursor.step(), Step::Page(_)), "asks again until it is supplied");
        cursor.supply(page)
    };
    assert_eq!(supply(first), Ok(()));
    assert!(supply(last).is_err(), "another page of another length");
    assert!(supply(&manifest.encode()).is_err(), "a page of another level");
    assert!(supply(&Manifest::empty().encode()).is_err());
    assert!(supply(&first[..first.len() - 1]).is_err());
    assert!(supply(&[]).is_err());
    assert!(Cursor::new(manifest.clone(), 0..10).supply(first).is_err(), "none was asked for");
}

#[test]
fn only_the_deterministic_encoding_is_read() {
    let mut pages = Pages::default();
    for manifest in [pages.build(&many(3, true)), pages.build(&many(400, true))] {
        for (what, bytes) in cbor::deviations(&manifest.encode()) {
            let read = Manifest::decode(&bytes);
            // Fewer or more items may be a manifest again, but a different one.
            assert!(read.is_err() || read.as_ref().is_ok_and(|read| *read != manifest), "{what}");
            assert!(read.is_err() || what.contains("ItemMissing"), "{what}");
        }
    }
}

#[test]
fn hostile_manifests_are_refused_without_harm() {
    let chunk = |offset: u64, length: u64| {
        let uint = |argument| cbor::Item::Head { major: 0, argument };
        let bytes = |length| cbor::Item::Bytes { major: 2, bytes: vec![0; length] };
        let chunk = cbor::Item::Array(vec![uint(offset), uint(length), bytes(32)]);
        let null = cbor::Item::Head { major: 7, argument: 22 };
        let extent = cbor::Item::Array(vec![bytes(32), null, cbor::Item::Array(vec![chunk])]);
        cbor::write(&cbor::Item::Array(vec![uint(0), cbor::Item::Array(vec![extent])]))
    };
    assert!(Manifest::decode(&chunk(0, 1 << 20)).is_ok());
    for (offset, length) in [(0, 0), (1, 1 << 20), (1 << 20, 1), (0, u64::MAX), (u64::MAX, 1), (1 << 32, 5)] {
        assert!(Manifest::decode(&chunk(offset, length)).is_err(), "{offset} {length}");
    }
    // An array that claims to have four thousand million items; a level out of reach; pages without items.
    assert!(Manifest::decode(&[0x82, 0x00, 0x9a, 0xff, 0xff, 0xff, 0xff]).is_err());
    assert!(Manifest::decode(&[0x82, 0x00, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err());
    assert!(Manifest::decode(&[0x82, 0x09, 0x80]).is_err());
    assert!(Manifest::decode(&[0x82, 0x01, 0x80]).is_err());
    assert!(Manifest::decode(&vec![0x81; PAGE_BYTES_MAX]).is_err(), "deep nesting");
    assert!(Manifest::decode(&vec![0; PAGE_BYTES_MAX + 1]).is_err());
}

#[test]
fn lengths_that_overflow_are_refused() {
    let page = |length| {
        let uint = |argument| cbor::Item::Head { major: 0, argument };
        let null = cbor::Item::Head { major: 7, argument: 22 };
        cbor::Item::Array(vec![cbor::Item::Bytes { major: 2, bytes: vec![0; 32] }, null, uint(length)])
    };
    let root = |pages| {
        cbor::write(&cbor::Item::Array(vec![
            cbor::Item::Head { major: 0, argument: 1 },
            cbor::Item::Array(pages),
        ]))
    };
    assert!(Manifest::decode(&root(vec![page(u64::MAX)])).is_ok());
    assert!(Manifest::decode(&root(vec![page(u64::MAX), page(1)])).is_err());
    assert!(Manifest::decode(&root(vec![page(0)])).is_err());
}

fn extents() -> impl Strategy<Value = Vec<Extent>> {
    let lengths = proptest::collection::vec(1_u32..5_000, 1..20);
    proptest::collection::vec((any::<u64>(), lengths, any::<bool>()), 0..300).prop_map(|all| {
        all.into_iter().map(|(number, lengths, private)| extent(number, &lengths, private)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_range_is_found_where_it_was_put(extents in extents(), from: u64, length: u32) {
        let mut pages = Pages::default();
        let manifest = pages.build(&extents);
        let from = if total(&extents) == 0 { from } else { from % (total(&extents) + 10) };
        let range = from..from.saturating_add(u64::from(length % 200_000));
        prop_assert_eq!(pages.chunks(&manifest, range.clone()), expected(&extents, range));
    }

    #[test]
    fn resuming_at_any_chunk_keeps_what_is_before(extents in extents(), more in extents(), cut: u64) {
        let mut pages = Pages::default();
        let manifest = pages.build(&extents);
        let all = expected(&extents, 0..u64::MAX);
        let keep = all.get(usize::try_from(cut % (all.len() as u64 + 1)).unwrap()).map_or(manifest.length(), |chunk| chunk.0);
        let mut builder = Resume::with(manifest, keep, &mut pages.load()).unwrap();
        for extent in &more {
            builder.push(extent.clone(), &mut pages.keep()).unwrap();
        }
        let joined = builder.finish(&mut pages.keep()).unwrap();
        let mut wanted = expected(&extents, 0..keep);
        wanted.extend(expected(&more, 0..u64::MAX).into_iter().map(|(at, id, from, to)| (at + keep, id, from, to)));
        prop_assert_eq!(pages.chunks(&joined, 0..u64::MAX), wanted);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_back_the_same(seed: u64, length in 0_usize..300) {
        let mut bytes = vec![0; length];
        SeededRandom::new(seed).fill(&mut bytes);
        bytes.splice(0..0, [0x82, 0x00]);
        if let Ok(manifest) = Manifest::decode(&bytes) {
            prop_assert_eq!(manifest.encode(), bytes);
        }
    }
}
