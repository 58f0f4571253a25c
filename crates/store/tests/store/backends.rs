//! One suite for every place that packs can live in.

use jsfs_store::backend::{Backend, Directory, Faulty, Memory};
use std::{io::ErrorKind, sync::Arc};

fn each(test: impl Fn(Arc<dyn Backend>)) {
    let dir = tempfile::tempdir().unwrap();
    let all: [Arc<dyn Backend>; 3] = [
        Arc::new(Directory::open(dir.path().join("data")).unwrap()),
        Arc::new(Memory::new(1 << 30)),
        Arc::new(Faulty::new(1 << 30)),
    ];
    for backend in all {
        test(backend);
    }
}

#[test]
fn a_lock_keeps_others_out_until_it_is_dropped() {
    each(|backend| {
        let lock = backend.lock().unwrap();
        assert_eq!(backend.lock().unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(lock);
        backend.lock().unwrap();
    });
}

#[test]
fn small_files_are_replaced_whole() {
    each(|backend| {
        assert_eq!(backend.read_file("store.json").unwrap(), None);
        backend.write_file("store.json", b"a longer text").unwrap();
        backend.write_file("store.json", b"short").unwrap();
        assert_eq!(backend.read_file("store.json").unwrap().unwrap(), b"short");
        backend.keep_cut("1.cut", b"tail").unwrap();
        assert_eq!(backend.read_file("cut/1.cut").unwrap().unwrap(), b"tail");
    });
}

#[test]
fn packs_are_listed_in_order_and_created_once() {
    each(|backend| {
        for number in [10, 2, 1] {
            backend.create_pack(number).unwrap();
        }
        assert_eq!(backend.create_pack(2).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(backend.packs().unwrap(), [1, 2, 10]);
        backend.remove_pack(2).unwrap();
        backend.sync_packs().unwrap();
        assert_eq!(backend.packs().unwrap(), [1, 10]);
        assert_eq!(backend.open_pack(2).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(backend.remove_pack(2).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn parts_are_written_one_after_the_other_and_read_up_to_the_end() {
    each(|backend| {
        let pack = backend.create_pack(1).unwrap();
        assert!(pack.is_empty().unwrap());
        let many: Vec<Vec<u8>> = (0..3_000u32).map(|n| n.to_le_bytes().to_vec()).collect();
        let parts: Vec<&[u8]> = many.iter().map(|part| &part[..]).collect();
        pack.write_at(&parts, 100).unwrap();
        pack.write_at(&[b"", b"front", b""], 0).unwrap();
        pack.sync().unwrap();
        assert_eq!(pack.len().unwrap(), 12_100);
        let mut all = vec![1; 20_000];
        assert_eq!(pack.read_at(&mut all, 0).unwrap(), 12_100);
        assert_eq!(&all[..5], b"front");
        assert!(all[5..100].iter().all(|byte| *byte == 0));
        assert_eq!(all[100..12_100], many.concat());
        assert_eq!(pack.read_at(&mut all, 50_000).unwrap(), 0);
        let mut some = vec![0; 4];
        let now = backend.open_pack(1).unwrap().read_now_at(&mut some, 104).unwrap();
        assert!(now.is_none_or(|count| count == 4 && some == 1u32.to_le_bytes()));
    });
}

#[test]
fn allocation_adds_zeros_and_truncation_takes_them() {
    each(|backend| {
        let pack = backend.create_pack(1).unwrap();
        pack.write_at(&[b"abc"], 0).unwrap();
        pack.allocate(10_000).unwrap();
        pack.allocate(5).unwrap();
        assert_eq!(pack.len().unwrap(), 10_000);
        let mut bytes = vec![1; 10_000];
        pack.read_at(&mut bytes, 0).unwrap();
        assert!(bytes[..3] == *b"abc" && bytes[3..].iter().all(|byte| *byte == 0));
        pack.truncate(2).unwrap();
        pack.sync().unwrap();
        assert_eq!(pack.len().unwrap(), 2);
        assert!(backend.space().unwrap().free > 0);
    });
}

#[test]
fn a_removed_pack_can_be_read_by_whoever_holds_it() {
    each(|backend| {
        let pack = backend.create_pack(1).unwrap();
        pack.write_at(&[b"abc"], 0).unwrap();
        let held = backend.open_pack(1).unwrap();
        backend.remove_pack(1).unwrap();
        let mut bytes = [0; 3];
        assert_eq!(held.read_at(&mut bytes, 0).unwrap(), 3);
        assert_eq!(&bytes, b"abc");
    });
}

#[test]
fn what_does_not_fit_is_refused_as_full() {
    let memory = Memory::new(1_000);
    let faulty = Faulty::new(1_000);
    let all: [&dyn Backend; 2] = [&memory, &faulty];
    for backend in all {
        let pack = backend.create_pack(1).unwrap();
        pack.write_at(&[&[1; 900]], 0).unwrap();
        assert_eq!(pack.write_at(&[&[1; 200]], 900).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(pack.allocate(2_000).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(pack.len().unwrap(), 900);
        assert_eq!(backend.space().unwrap().free, 100);
        pack.truncate(0).unwrap();
        assert_eq!(backend.space().unwrap().free, 1_000);
    }
}
