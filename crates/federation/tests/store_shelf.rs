//! The shelf in a store reads as the one in memory does, whatever of it is committed, and holds after the store was opened again.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use jsfs_federation::metastore::{Change, Home, MemoryShelf, Row, Shelf, StoreShelf};
use jsfs_objects::read_key::Locator;
use jsfs_store::{OpenOptions, Store};
use jsfs_testkit::random::Random;

fn row(random: &mut Random) -> Row {
    let fill = |random: &mut Random| [u8::try_from(random.within(1..5)).unwrap(); 32];
    Row {
        home: Home::from_bytes(fill(random)),
        locator: Locator::from_bytes(fill(random)),
        hash: fill(random),
    }
}

fn changes(random: &mut Random) -> Vec<Change> {
    let change = |random: &mut Random| match random.within(0..4) {
        0 | 1 => {
            let length = usize::try_from(random.within(0..40)).unwrap();
            Change::Put(row(random), random.bytes(length))
        }
        2 => Change::Remove(row(random)),
        _ => {
            let name = format!("{}/{}", random.within(0..3), random.within(0..6)).into_bytes();
            Change::Note(name, random.chance(60).then(|| vec![1, 2]))
        }
    };
    (0..random.within(1..6)).map(|_| change(random)).collect()
}

fn compare(shelf: &StoreShelf, model: &MemoryShelf, random: &mut Random) {
    let (from, until) = (row(random).to_bytes(), row(random).to_bytes());
    let limit = usize::try_from(random.within(0..30)).unwrap();
    let until = random.chance(70).then_some(&until);
    assert_eq!(shelf.rows(&from, until, limit).unwrap(), model.rows(&from, until, limit).unwrap());
    assert_eq!(shelf.rows(&Row::FIRST, None, 1_000).unwrap(), model.rows(&Row::FIRST, None, 1_000).unwrap());
    let one = row(random);
    assert_eq!(shelf.get(&one).unwrap(), model.get(&one).unwrap());
    for after in [&b""[..], b"1/2"] {
        assert_eq!(shelf.notes(b"1/", after, 4).unwrap(), model.notes(b"1/", after, 4).unwrap());
    }
    assert_eq!(shelf.note(b"2/3").unwrap(), model.note(b"2/3").unwrap());
}

async fn commit(shelf: &mut StoreShelf, store: &Store) {
    while let Some((commit, number)) = shelf.take_commit() {
        store.commit(commit).await.unwrap();
        shelf.committed(number);
    }
    assert_eq!(shelf.pending(), 0, "what is committed is not held in memory");
}

#[test]
fn a_shelf_in_a_store_reads_as_one_in_memory_and_holds_when_it_is_opened_again() {
    let seed = Random::seed_of_this_run();
    println!("JSFS_SEED={seed}");
    let mut random = Random::seeded(seed);
    let directory = tempfile::tempdir().unwrap();
    let open = || Store::open(OpenOptions::directory(directory.path(), &[]).unwrap()).unwrap();
    let mut store = open();
    let mut model = MemoryShelf::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut shelf = StoreShelf::new(store.clone());
        for step in 0..400 {
            let changes = changes(&mut random);
            shelf.apply(changes.clone()).unwrap();
            model.apply(changes).unwrap();
            compare(&shelf, &model, &mut random);
            if random.chance(20) {
                commit(&mut shelf, &store).await;
                compare(&shelf, &model, &mut random);
            }
            if step == 200 {
                commit(&mut shelf, &store).await;
                drop(shelf);
                store.close().unwrap();
                store = open();
                shelf = StoreShelf::new(store.clone());
                compare(&shelf, &model, &mut random);
            }
        }
    });
}
