//! Where the space goes: shares add up to the whole, through lists too.

use crate::support::{commit, commit_with, delete, list_block, open, put, sample_block};
use jsfs_store::{BlockId, OpenOptions, Share, Store, Unobserved};

fn share(store: &Store, references: &[BlockId]) -> u64 {
    let Share { stored, unreadable } = store.share(references).unwrap();
    assert_eq!(unreadable, 0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = stored.round() as u64;
    whole
}

#[test]
fn shares_of_what_is_shared_add_up_to_what_is_stored_in_all_locations() {
    for copies in [1, 2] {
        let places = tempfile::tempdir().unwrap();
        let further = [places.path().join("second")];
        let store =
            open(OpenOptions::directory(places.path().join("first"), &further).unwrap().copies(copies));
        let blocks: Vec<_> = (0..6).map(|seed| sample_block(seed, 10_000)).collect();
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

        let all = store.weigh(&Unobserved).unwrap();
        assert_eq!((all.blocks, all.chunks, all.unique), (8, 6, 60_000));
        assert!((60_000..60_400).contains(&all.compressed), "{all:?}");
        let wanted = all.compressed * copies as u64;
        assert!(
            (wanted..wanted + 2_000 * copies as u64).contains(&all.stored),
            "{all:?} with {copies} copies"
        );
        let shares: Vec<u64> = entries.iter().map(|references| share(&store, references)).collect();
        assert!(shares.iter().sum::<u64>().abs_diff(all.stored) < 4, "{shares:?} of {all:?}");
        // One block and a third of another; two thirds and one.
        assert!(shares[0].abs_diff(10_000 * copies as u64 * 4 / 3) < 1_000, "{shares:?}");
        assert!(shares[1].abs_diff(10_000 * copies as u64 * 5 / 3) < 1_000, "{shares:?}");
        store.close().unwrap();
    }
}
