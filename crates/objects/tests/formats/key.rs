//! Access keys: typing errors are caught, secrets stay inside, everything is derived the same way everywhere.

use crate::samples::random;
use jsfs_objects::clock::Random;
use jsfs_objects::key::{AccessKey, KeyError, Keys, Owner, PublicKey, Seed, SigningKey};
use jsfs_objects::read_key::ReadKey;
use proptest::prelude::*;

#[test]
fn a_generated_key_reads_back_as_itself() {
    for number in 0..200 {
        let seed = Seed::generate(&random(number));
        let text = seed.to_text();
        assert!(text.starts_with("jsfs_") && text.len() <= 56, "{}", text.len());
        assert_eq!(Seed::parse(&text), Ok(seed.clone()));
        assert_eq!(AccessKey::parse(&text).unwrap().seed(), Some(&seed));
    }
    for bytes in [[0; 32], [255; 32]] {
        let seed = Seed::from_bytes(bytes);
        assert_eq!(Seed::parse(&seed.to_text()), Ok(seed));
    }
}

#[test]
fn a_typing_error_in_a_generated_key_is_explained_and_never_another_key() {
    let text = Seed::generate(&random(1)).to_text();
    for at in "jsfs_".len()..text.len() {
        for replacement in ["1", "z", "0", "_", "é"] {
            let mut wrong = text.to_string();
            if wrong[at..=at] == *replacement {
                continue;
            }
            wrong.replace_range(at..=at, replacement);
            let error = AccessKey::parse(&wrong).unwrap_err();
            assert!(
                matches!(error, KeyError::Checksum | KeyError::NotBase58 | KeyError::Length),
                "{error:?}"
            );
        }
        let mut swapped = text.to_string().into_bytes();
        if at + 1 < text.len() && swapped[at] != swapped[at + 1] {
            swapped.swap(at, at + 1);
            assert!(AccessKey::parse(&String::from_utf8(swapped).unwrap()).is_err());
        }
    }
    for cut in "jsfs_".len()..text.len() {
        let error = AccessKey::parse(&text[..cut]).unwrap_err();
        assert!(matches!(error, KeyError::Checksum | KeyError::Length), "{error:?}");
    }
    assert_eq!(AccessKey::parse(&format!("{}1", *text)), Err(KeyError::Length));
    assert_eq!(AccessKey::parse(&format!("{} ", *text)), Err(KeyError::NotBase58));
    assert_eq!(AccessKey::parse("jsfs_"), Err(KeyError::Length));
    assert_eq!(AccessKey::parse(&format!("jsfs_{}", "z".repeat(100_000))), Err(KeyError::Length));
}

#[test]
fn a_key_that_a_person_chose_has_1_to_1024_bytes() {
    assert_eq!(AccessKey::parse(""), Err(KeyError::Empty));
    assert!(AccessKey::parse("a").unwrap().is_typed());
    assert!(AccessKey::parse(&"é".repeat(512)).unwrap().is_typed());
    assert_eq!(AccessKey::parse(&"a".repeat(1_025)), Err(KeyError::TooLong { length: 1_025 }));
    assert!(AccessKey::parse("JSFS_x").unwrap().is_typed());
}

#[test]
fn a_chosen_key_is_another_key_in_every_namespace_and_a_generated_one_is_not() {
    let chosen = AccessKey::parse("correct horse battery staple").unwrap();
    let here = chosen.stretch("com.example").unwrap();
    assert_eq!(
        here,
        AccessKey::parse("correct horse battery staple").unwrap().stretch("com.example").unwrap()
    );
    assert_ne!(here, chosen.stretch("com.example.files").unwrap());
    assert_ne!(
        here,
        AccessKey::parse("correct horse battery stapl").unwrap().stretch("com.example").unwrap()
    );
    assert_ne!(chosen.cache_id("a"), chosen.cache_id("b"));
    let generated = AccessKey::generate(&random(1));
    assert_eq!(generated.stretch("com.example").unwrap(), generated.stretch("org").unwrap());
    assert_eq!(generated.keys("a").unwrap().owner(), generated.keys("b").unwrap().owner());
}

#[test]
fn secrets_are_in_no_debug_text_and_no_error() {
    let seed = Seed::generate(&random(5));
    let keys: Keys = seed.keys();
    let chosen = AccessKey::parse("correct horse").unwrap();
    let shown =
        format!("{seed:?} {keys:?} {chosen:?} {:?} {:?}", AccessKey::from(seed.clone()), keys.wrapping());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for secret in [hex(seed.expose()), seed.to_text().to_string(), hex(&*keys.signing().expose_secret())] {
        assert!(!shown.contains(&secret) && !shown.contains(&secret[5..20]), "{shown}");
    }
    assert!(!shown.contains("correct") && !shown.contains(&format!("{:?}", seed.expose())[1..20]), "{shown}");
    let mistyped = "jsfs_3yQ0secretsecret";
    assert!(!format!("{} {0:?}", AccessKey::parse(mistyped).unwrap_err()).contains("secret"));
}

#[test]
fn signing_is_ed25519_of_rfc_8032() {
    let from_hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let secret = from_hex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
    let key = SigningKey::from_secret(&secret.clone().try_into().unwrap());
    let public = from_hex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025");
    assert_eq!(key.public().as_bytes().as_slice(), public);
    let signature = key.sign(&[0xaf, 0x82]);
    let expected = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";
    assert_eq!(signature.as_slice(), from_hex(expected));
    assert!(key.public().verifies(&[0xaf, 0x82], &signature));
    assert!(!key.public().verifies(&[0xaf, 0x83], &signature));
    assert_eq!(key.expose_secret().as_slice(), secret);
}

#[test]
fn a_signature_with_another_encoding_of_the_same_number_does_not_verify() {
    let key = SigningKey::generate(&random(2));
    let mut signature = key.sign(b"message");
    // The order of the group, added to the second half: the same number to a careless verifier.
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    assert!(!key.public().verifies(b"message", &signature));
}

#[test]
fn an_owner_reads_back_as_itself_and_other_dids_are_refused() {
    let owner = Seed::generate(&random(3)).keys().owner();
    let text = owner.to_string();
    assert!(text.starts_with("did:key:z6Mk"), "{text}");
    assert_eq!(text.parse::<Owner>(), Ok(owner));
    assert_eq!(serde_json::to_string(&owner).unwrap(), format!("\"{text}\""));
    let secp256k1 = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme";
    for wrong in
        ["", "did:key:", "did:key:z", "did:web:example.com", secp256k1, &text[..text.len() - 1], &text[8..]]
    {
        assert_eq!(wrong.parse::<Owner>(), Err(KeyError::Owner), "{wrong}");
    }
    assert_eq!(format!("{text}1").parse::<Owner>(), Err(KeyError::Owner));
    assert_eq!(format!("did:key:z{}", "z".repeat(100_000)).parse::<PublicKey>(), Err(KeyError::Owner));
}

#[test]
fn a_read_root_opens_for_its_owner_only() {
    let (owner, other) = (Seed::generate(&random(1)).keys(), Seed::generate(&random(2)).keys());
    let root = ReadKey::generate(&random(3));
    let wrapped = owner.wrap_root(&root);
    assert_eq!(owner.unwrap_root(&wrapped), Ok(root.clone()));
    assert!(other.unwrap_root(&wrapped).is_err());
    assert!(root.unwrap_older(&wrapped).is_err());
}

proptest! {
    #[test]
    fn any_text_is_a_key_or_an_error(text in "(jsfs_)?.*") {
        if let Ok(key) = AccessKey::parse(&text) {
            prop_assert_eq!(key.is_typed(), !text.starts_with("jsfs_"));
        }
    }

    #[test]
    fn any_bytes_are_a_public_key_that_verifies_nothing_by_chance(seed: u64) {
        let random: &dyn Random = &random(seed);
        let key = PublicKey::from_bytes(random.bytes());
        prop_assert!(!key.verifies(b"message", &random.bytes()));
        prop_assert_eq!(key.to_string().parse::<PublicKey>(), Ok(key));
    }
}

#[test]
fn a_namespace_that_is_named_by_a_key_names_that_key_and_nothing_else_does() {
    let owner = Owner::from_bytes(std::array::from_fn(|at| u8::try_from(at).unwrap()));
    let name = "b5uaqaaicamcakbqhbaequcymbuha6earcijrifiwc4mbsgq3dqor4hy";
    assert_eq!((owner.namespace().as_str(), Owner::of_namespace(name)), (name, Some(owner)));
    for at in 0..name.len() {
        let mut other = name.to_owned().into_bytes();
        other[at] = if other[at] == b'c' { b'd' } else { b'c' };
        let other = String::from_utf8(other).unwrap();
        assert_ne!(Owner::of_namespace(&other), Some(owner), "{other}");
    }
    let upper = name.to_ascii_uppercase();
    let longer = format!("{name}a");
    for no_key in ["", "b", "bread", "com.example", &name[..55], &name[1..], &upper, &longer] {
        assert_eq!(Owner::of_namespace(no_key), None, "{no_key}");
    }
}
