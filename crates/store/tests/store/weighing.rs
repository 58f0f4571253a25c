//! Where the space goes: shares add up to the whole, through lists too, and are the same after a rebuild.

use crate::support::{commit, commit_with, delete, list_block, noise, open, put, sample_block};
use jsfs_store::{BlockId, ChunkTag, NewBlock, OpenOptions, Share, Store, Unobserved, Weights, block};

fn whole(bytes: f64) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = bytes.round() as u64;
    whole
}

/// What a share is of unique, compressed and stored bytes.
fn share(store: &Store, references: &[BlockId]) -> [u64; 3] {
    let Share { unique, compressed, stored, unreadable } = store.share(references).unwrap();
    assert_eq!(unreadable, 0);
    [unique, compressed, stored].map(whole)
}

fn weights(store: &Store) -> [u64; 3] {
    let Weights { unique, compressed, stored, .. } = store.weigh(&Unobserved).unwrap();
    [unique, compressed, stored]
}

/// A clear block of bytes that compress to about a tenth of their length.
fn text_block(seed: u64, length: usize) -> NewBlock {
    let plain = noise(seed, length / 10).repeat(10);
    let (tag, len) = (*blake3::hash(&plain).as_bytes(), u32::try_from(plain.len()).unwrap());
    let tag = ChunkTag { tag, offset: 0, len, extra: Vec::new() };
    NewBlock::new(block::encode_clear(&plain, block::LEVEL).unwrap(), vec![tag])
}

#[test]
fn shares_of_what_is_shared_add_up_to_what_is_stored_in_all_locations() {
    for copies in [1, 2] {
        let places = tempfile::tempdir().unwrap();
        let further = [places.path().join("second")];
        let options =
            || OpenOptions::directory(places.path().join("first"), &further).unwrap().copies(copies);
        let store = open(options());
        let blocks: Vec<_> = (0..6)
            .map(|seed| if seed == 1 { text_block(seed, 10_000) } else { sample_block(seed, 10_000) })
            .collect();
        let ids: Vec<BlockId> = blocks.iter().map(|block| block.id).collect();
        let list = list_block(0, &ids[3..]);
        let upper = list_block(1, &[list.id]);
        let (list, upper_id) = (vec![list, upper.clone()], upper.id);
        let fresh = blocks.iter().cloned().chain(list).collect();
        // Two entries need the second block, one of them twice; three are in lists, and one of these stands in an entry as well.
        let entries =
            [vec![ids[0], ids[1]], vec![ids[1], ids[1], ids[2]], vec![upper_id], vec![upper_id, ids[3]]];
        let ops = (0_u8..).zip(&entries).map(|(name, references)| put([name], "", references)).collect();
        commit_with(&store, ops, fresh).unwrap();
        let dead = sample_block(99, 50_000);
        commit_with(&store, vec![put("gone", "", &[dead.id])], vec![dead]).unwrap();
        commit(&store, vec![delete("gone")]).unwrap();

        let all = weights(&store);
        assert_eq!((store.weigh(&Unobserved).unwrap().blocks, all[0]), (8, 60_000));
        assert!((51_000..52_000).contains(&all[1]), "{all:?}");
        let wanted = all[1] * copies as u64;
        assert!((wanted..wanted + 2_000 * copies as u64).contains(&all[2]), "{all:?} with {copies} copies");
        let shares: Vec<[u64; 3]> = entries.iter().map(|references| share(&store, references)).collect();
        for figure in 0..3 {
            let sum: u64 = shares.iter().map(|share| share[figure]).sum();
            assert!(sum.abs_diff(all[figure]) < 4, "{shares:?} of {all:?}");
        }
        // One block and a third of another; two thirds of that and one.
        assert_eq!([shares[0][0], shares[1][0]], [13_333, 16_667]);
        assert!(shares[0][1].abs_diff(10_400) < 200 && shares[1][1].abs_diff(10_700) < 200, "{shares:?}");
        assert!(shares[0][2].abs_diff(10_400 * copies as u64) < 1_000, "{shares:?}");
        store.close().unwrap();

        // What was long before it was compressed is in the packs.
        std::fs::remove_dir_all(places.path().join("first/index")).unwrap();
        let store = open(options());
        assert_eq!(weights(&store), all);
        assert_eq!(share(&store, &entries[1]), shares[1]);
        store.close().unwrap();
    }
}

#[test]
fn what_came_without_tags_counts_as_long_as_it_is_stored() {
    let place = tempfile::tempdir().unwrap();
    let store = open(OpenOptions::directory(place.path(), &[]).unwrap());
    let (known, unknown) = (text_block(1, 100_000), NewBlock { tags: Vec::new(), ..text_block(2, 100_000) });
    let (known_id, unknown_id, length) = (known.id, unknown.id, unknown.bytes.len() as u64);
    commit_with(&store, vec![put("a", "", &[known_id])], vec![known]).unwrap();
    commit_with(&store, vec![put("b", "", &[unknown_id])], vec![unknown]).unwrap();
    assert_eq!(share(&store, &[known_id])[0], 100_000);
    assert_eq!(share(&store, &[unknown_id])[..2], [length, length]);
    assert_eq!(weights(&store)[0], 100_000 + length);
}
