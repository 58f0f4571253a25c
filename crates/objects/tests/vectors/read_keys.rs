//! Vectors of read keys, locators, groups, convergence and places.

use crate::{hex, key};
use jsfs_objects::address::Address;
use jsfs_objects::key::Seed;
use jsfs_objects::read_key::{Group, Locator, ReadKey};
use jsfs_objects::seal::BlockKey;
use serde_json::{Value, json};

fn descent(from: &str, to: &str) -> Value {
    let root = ReadKey::from_bytes(key(7));
    let [from, to] = [from, to].map(|text| Address::parse_exact(text).unwrap());
    let reached = root.descend(&from, &to);
    json!({
        "root": hex(root.expose()),
        "from": from,
        "to": to,
        "read_key": reached.as_ref().map(|key| hex(key.expose())),
        "locator": reached.as_ref().map(|key| hex(key.locator().as_bytes())),
        "group": reached.filter(|_| to.is_directory()).map(|key| hex(key.group().as_bytes())),
    })
}

fn public(text: &str) -> Value {
    let address = Address::parse_exact(text).unwrap();
    json!({
        "address": address,
        "locator": hex(Locator::public(&address).as_bytes()),
        "listed_in": hex(Group::listing(&address).as_bytes()),
    })
}

fn convergence(plaintext: &str) -> Value {
    let top = ReadKey::from_bytes(key(7));
    let secret = top.convergence();
    let hash = *blake3::hash(plaintext.as_bytes()).as_bytes();
    let block_key = BlockKey::from_bytes(key(90));
    json!({
        "read_key": hex(top.expose()),
        "convergence": hex(secret.expose()),
        "plaintext": plaintext,
        "hash": hex(hash),
        "tag": hex(secret.tag(&hash)),
        "directory": "/com.example/a/",
        "of_directory": hex(secret.of_directory(&Address::parse_exact("/com.example/a/").unwrap()).expose()),
        "block_key": hex(block_key.expose()),
        "wrapped": hex(secret.wrap(&hash, &block_key)),
    })
}

pub(crate) fn vectors() -> Value {
    let (owner, other) = (Seed::from_bytes(key(1)), Seed::from_bytes(key(2)));
    let (newest, older) = (ReadKey::from_bytes(key(30)), ReadKey::from_bytes(key(60)));
    let wrapped = owner.keys().wrap_root(&newest);
    assert!(other.keys().unwrap_root(&wrapped).is_err());
    let mut damaged = wrapped;
    damaged[39] ^= 1;
    assert!(owner.keys().unwrap_root(&damaged).is_err());
    json!({
        "descents": [
            descent("/com.example/", "/com.example/"),
            descent("/com.example/", "/com.example/a"),
            descent("/com.example/", "/com.example/a/"),
            descent("/com.example/", "/com.example/a/b/ü.txt"),
            descent("/com.example/", "/com.example/directory"),
            descent("/com.example/a", "/com.example/a"),
            descent("/com.example/a", "/com.example/a/"),
            descent("/com.example/a/", "/com.example/b"),
            descent("/com.example/", "/com.example.files/a"),
        ],
        "public": [public("/com.example/"), public("/com.example/a/"), public("/com.example/a/ü.txt")],
        "convergence": [convergence(""), convergence("a chunk")],
        "places": [{
            "seed": hex(owner.expose()),
            "root": hex(newest.expose()),
            "wrapped": hex(wrapped),
            "older_root": hex(older.expose()),
            "older_wrapped": hex(newest.wrap_older(&older)),
        }],
        "unopened_places": [
            {"seed": hex(other.expose()), "wrapped": hex(wrapped)},
            {"seed": hex(owner.expose()), "wrapped": hex(damaged)},
        ],
    })
}
