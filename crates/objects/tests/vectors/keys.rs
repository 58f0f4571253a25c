//! Vectors of access keys: their text, stretching, and what is derived from a seed.

use crate::{hex, key};
use jsfs_objects::clock::{Random, SeededRandom};
use jsfs_objects::key::{AccessKey, KeyError, Owner, Seed};
use serde_json::{Value, json};

fn generated(bytes: [u8; 32]) -> Value {
    let seed = Seed::from_bytes(bytes);
    let keys = seed.keys();
    let message = b"message";
    json!({
        "seed": hex(bytes),
        "text": *seed.to_text(),
        "signing_secret": hex(keys.signing().expose_secret().as_slice()),
        "owner_key": hex(keys.owner().as_bytes()),
        "owner": keys.owner(),
        "wrapping_key": hex(keys.wrapping().expose()),
        "signature_of_message": hex(keys.signing().sign(message)),
    })
}

fn chosen(text: &str, namespace: &str) -> Value {
    let seed = AccessKey::parse(text).unwrap().stretch(namespace).unwrap();
    json!({"text": text, "namespace": namespace, "seed": hex(seed.expose())})
}

fn invalid(text: String) -> Value {
    let error = match AccessKey::parse(&text).unwrap_err() {
        KeyError::Empty => "empty",
        KeyError::TooLong { .. } => "too long",
        KeyError::NotBase58 => "not base58",
        KeyError::Length => "length",
        KeyError::Checksum => "checksum",
        error => panic!("{error}"),
    };
    json!({"text": text, "error": error})
}

pub(crate) fn vectors() -> Value {
    let random: &dyn Random = &SeededRandom::new(1);
    let seeds = [[0; 32], [255; 32], key(1), random.bytes(), random.bytes()];
    let good = Seed::from_bytes(key(1)).to_text().to_string();
    let swapped = {
        let (head, tail) = good.split_at(10);
        let mut letters = tail.chars();
        let (one, two) = (letters.next().unwrap(), letters.next().unwrap());
        format!("{head}{two}{one}{}", letters.as_str())
    };
    let owner = Seed::from_bytes(key(1)).keys().owner().to_string();
    let no_owners = [
        String::new(),
        "did:key:z".into(),
        "did:web:example.com".into(),
        "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme".into(),
        owner[..owner.len() - 1].to_owned(),
        format!("{owner}1"),
    ];
    assert!(no_owners.iter().all(|text| text.parse::<Owner>().is_err()));
    json!({
        "generated": seeds.map(generated),
        "chosen": [
            chosen("correct horse battery staple", "com.example"),
            chosen("correct horse battery staple", "com.example.files"),
            chosen("pässwörd", "localhost"),
            chosen(&"x".repeat(1_024), "localhost"),
            chosen("JSFS_not_generated", "localhost"),
        ],
        "invalid": [
            invalid(String::new()),
            invalid("x".repeat(1_025)),
            invalid("jsfs_".into()),
            invalid("jsfs_password".into()),
            invalid(good.replace("jsfs_", "jsfs_1")),
            invalid(format!("{good}!")),
            invalid(swapped),
        ],
        "invalid_owners": no_owners,
    })
}
