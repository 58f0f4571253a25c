//! The client's own reading of keys and addresses, against the test vectors of the frozen formats.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use jsfs_client::{AccessKey, Credential, Reference};
use serde_json::Value;

fn vectors(name: &str) -> Value {
    let path = format!("{}/../../docs/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn list<'a>(vectors: &'a Value, name: &str) -> impl Iterator<Item = impl Fn(&str) -> Option<&'a str>> {
    let list = vectors[name].as_array().unwrap();
    assert!(!list.is_empty(), "{name}");
    list.iter().map(|entry| move |field: &str| entry[field].as_str())
}

/// The seed in a key's text, in hex.
fn seed(key: &AccessKey) -> String {
    let bytes = bs58::decode(&key.text()[5..]).into_vec().unwrap();
    bytes[..32].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn generated_keys_have_the_owners_of_the_vectors() {
    for entry in list(&vectors("keys.json"), "generated") {
        let key = AccessKey::parse(entry("text").unwrap()).unwrap();
        assert_eq!(seed(&key), entry("seed").unwrap());
        assert_eq!(key.text().as_str(), entry("text").unwrap());
        assert_eq!(key.owner().unwrap(), entry("owner").unwrap());
    }
}

#[test]
fn chosen_keys_stretch_to_the_seeds_of_the_vectors() {
    for entry in list(&vectors("keys.json"), "chosen") {
        let (text, namespace) = (entry("text").unwrap(), entry("namespace").unwrap());
        assert!(matches!(Credential::key(text), Ok(Credential::Chosen(_))), "{text:?}");
        assert_eq!(
            seed(&AccessKey::stretch(text, namespace).unwrap()),
            entry("seed").unwrap(),
            "{text:?} for {namespace}"
        );
    }
}

#[test]
fn what_is_no_key_is_refused() {
    for entry in list(&vectors("keys.json"), "invalid") {
        assert!(Credential::key(entry("text").unwrap()).is_err(), "{:?}", entry("text"));
    }
}

#[test]
fn urls_lead_to_the_addresses_of_the_vectors_and_back() {
    for entry in list(&vectors("addresses.json"), "urls") {
        let address = Reference::parse(entry("address").unwrap()).unwrap().address;
        for path in ["path", "absolute_path"] {
            let url = format!("http://{}{}", entry("host").unwrap(), entry(path).unwrap());
            assert_eq!(Reference::parse(&url).unwrap().address, address, "{url}");
        }
        let wire = format!("http://anything{}", address.wire());
        assert_eq!(Reference::parse(&wire).unwrap().address, address, "{wire}");
    }
}

#[test]
fn hosts_and_paths_mean_what_the_vectors_say_or_are_refused() {
    let vectors = vectors("addresses.json");
    for entry in list(&vectors, "requests") {
        let url = format!("http://{}{}", entry("host").unwrap(), entry("path").unwrap());
        let read = Reference::parse(&url);
        match entry("address") {
            // No URL can hold these hosts (a bare IPv6 address, a zone), and jsfs is reached by its host only.
            Some(_) if entry("host").unwrap().contains("::1%") || entry("host").unwrap() == "2001:db8::1" => {
            }
            Some("/jsfs/x") => assert!(read.is_err()),
            Some(address) => assert_eq!(
                read.unwrap_or_else(|error| panic!("{url}: {error}")).address.to_string(),
                address,
                "{url}"
            ),
            // A URL without a path means the root, one with a fragment is cut there by every URL parser, 127.1 is an address to browsers.
            None if matches!(entry("error"), Some("not absolute" | "query"))
                || matches!(entry("host"), Some("127.1" | "0x7f000001")) => {}
            None => assert!(read.is_err(), "{url} is {:?}", read.map(|read| read.address)),
        }
    }
    for entry in list(&vectors, "texts").filter(|entry| entry("error").is_none()) {
        assert_eq!(
            Reference::parse(entry("text").unwrap()).unwrap().address.to_string(),
            entry("address").unwrap()
        );
    }
}
