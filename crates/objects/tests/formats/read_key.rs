//! Read keys open what is below them, and what is derived from them gives nothing away.

use crate::samples::{address, random};
use jsfs_objects::read_key::{Group, Locator, ReadKey};
use jsfs_objects::seal::BlockKey;
use std::collections::HashSet;

#[test]
fn a_key_descends_to_what_is_below_and_nowhere_else() {
    let root = ReadKey::generate(&random(1));
    let top = address("/com.example/a/");
    let below = address("/com.example/a/b/c");
    let key = root.descend(&top, &below).unwrap();
    assert_eq!(key, root.child("b/").child("c"));
    assert_eq!(root.child("b/").descend(&address("/com.example/a/b/"), &below), Some(key.clone()));
    assert_eq!(root.descend(&top, &top), Some(root.clone()));
    for beside in
        ["/com.example/", "/com.example/ab", "/com.example/a", "/com.example/b/c", "/com.example.a/b/c"]
    {
        assert_eq!(root.descend(&top, &address(beside)), None, "{beside}");
    }
    let file = address("/com.example/f");
    assert_eq!(root.descend(&file, &file), Some(root.clone()));
    assert_eq!(root.descend(&file, &address("/com.example/f/")), None);
}

#[test]
fn nothing_derived_from_a_key_is_the_key_of_a_child() {
    let directory = ReadKey::generate(&random(2));
    let mut seen = HashSet::new();
    for name in
        ["a", "a/", "directory", "directory/", "locator", "locator/", "tag", "key", "jsfs/v1/convergence"]
    {
        assert!(seen.insert(*directory.child(name).expose()), "{name}");
    }
    assert!(seen.insert(*directory.group().as_bytes()), "the group is public and must open nothing");
    assert!(seen.insert(*directory.locator().as_bytes()), "the locator is public and must open nothing");
    assert!(seen.insert(*directory.convergence().expose()));
    assert!(seen.insert(directory.convergence().tag(&[0; 32])));
}

#[test]
fn public_things_are_filed_under_the_hash_of_their_address() {
    let file = address("/com.example/a/f");
    assert_eq!(Locator::public(&file).as_bytes(), blake3::hash(b"/com.example/a/f").as_bytes());
    assert_eq!(Group::listing(&file), Group::public(&address("/com.example/a/")));
    assert_eq!(Group::listing(&address("/com.example/")).as_bytes(), blake3::hash(b"/").as_bytes());
    let shown = Locator::from_bytes([0xab; 32]).to_string();
    assert_eq!(shown, "ab".repeat(32));
}

#[test]
fn a_block_key_is_found_again_in_the_same_tree_by_the_same_chunk_only() {
    let (one, two) =
        (ReadKey::generate(&random(1)).convergence(), ReadKey::generate(&random(2)).convergence());
    let key = BlockKey::generate(&random(3));
    let (hash, other) = ([5; 32], [6; 32]);
    let wrapped = one.wrap(&hash, &key);
    assert_eq!(one.unwrap(&hash, &wrapped), Some(key));
    assert_eq!(one.unwrap(&other, &wrapped), None);
    assert_eq!(two.unwrap(&hash, &wrapped), None);
    assert_eq!(one.unwrap(&hash, &wrapped[..39]), None);
    assert_eq!(one.unwrap(&hash, &[]), None);
    assert_ne!(one.tag(&hash), two.tag(&hash));
    assert_ne!(one.tag(&hash), hash);
}

#[test]
fn older_roots_open_under_the_newest_only() {
    let (newest, older) = (ReadKey::generate(&random(1)), ReadKey::generate(&random(2)));
    let wrapped = newest.wrap_older(&older);
    assert_eq!(newest.unwrap_older(&wrapped), Ok(older.clone()));
    assert!(older.unwrap_older(&wrapped).is_err());
}
